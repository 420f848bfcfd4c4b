"""How much does a model think? Tries and tokens in what it was taught from, and in what it answers.

    python -m minireason.thinking --run runs/a [runs/b ...] [--json FILE] [--figure FILE]

The texts of base and cold start are written again from the run's settings. Rejection learns from the model's
own answers, so these are counted apart. Every stage answers the same held-out problems, as evaluate.py asks
them. A try is what behaviour.py counts as one. The default preset takes two minutes a run.
"""

import math
import os
import sys
from collections import Counter
from pathlib import Path

from minireason.behaviour import BIN, distributions, observe, summarize
from minireason.corpus import Document, base_documents, cold_start_documents
from minireason.evaluate import check_enough_problems, evaluate_task, rate
from minireason.run import STAGES, config_of, folder_of, has_checkpoint, last_stage, open_model
from minireason.stages import EXAMPLES, progress
from minireason.tasks import TASKS, parse_prompt
from minireason.tokenizer import Tokenizer, get_tokenizer
from minireason.tools import plots
from minireason.tools.flags import Parser, like
from minireason.upkeep.checkpoint import save_json
from minireason.upkeep.command import exit_codes
from minireason.upkeep.files import read_json
from minireason.upkeep.parallel import pick_device
from minireason.verifier import verify

LEGEND = """\
corpus, golden, own texts: what base, cold-start and rejection learned from
n        texts, or held-out problems with one answer each
right    percent that the verifier finds right
think    percent with a step that can be evaluated
tries    mean over those that think; distinct: how many of them are different
>N       percent with more tries than any text of corpus and golden examples
right>N  the same of the right ones
tokens   mean; longest: the most; cut: percent without an end token"""
DRAWN = ("corpus", "golden", "base", "cold-start", "rl", "pure RL")      # the printed tables have all rows
COLUMNS = 10        # of a printed histogram


# -----------------------------------------------------------------------------
# Counting

def texts_by_task(documents: list[Document]) -> dict[str, list]:
    """{task: [(problem, completion)]}. Chats and fact sheets are left out: they have no tries."""
    texts = {}
    for prompt, completion in documents:
        try:
            problem = parse_prompt(prompt)
        except ValueError:
            continue
        texts.setdefault(problem.task, []).append((problem, completion))
    return texts


def count_texts(texts: list, tokenizer: Tokenizer) -> dict:
    """Accuracy and behaviours of texts [(problem, completion)], counted as `evaluate_task` counts answers."""
    behaviours = [observe(problem, completion) for problem, completion in texts]
    correct = [verify(problem, completion).correct for problem, completion in texts]
    lengths = [len(tokenizer.encode_tagged(completion)) + 1 for _, completion in texts]    # + the end token
    ended = [True] * len(texts)
    return {"accuracy": rate(sum(correct), len(correct)), **summarize(behaviours, correct, lengths),
            "distributions": distributions(behaviours, correct, lengths, ended)}


def taught_texts(run: Path | str, num_documents: int | None) -> tuple[dict[str, list[Document]], int]:
    """What base and cold start learned from, by the settings in their checkpoints.

    Returns ({"corpus": documents, "golden": documents}, the size of the whole corpus). With `num_documents`
    only the first ones of the corpus are written. What the run has no stage for is left out.
    """
    folder, documents, size = folder_of(run), {}, 0
    if has_checkpoint(folder, "base"):
        config = config_of(open_model(run, "base")[1])
        size = config.base.num_examples
        config.base.num_examples = min(num_documents or size, size)
        documents["corpus"] = base_documents(config, progress("writing documents", "document"))
    if has_checkpoint(folder, "cold-start"):
        config = config_of(open_model(run, "cold-start")[1])
        documents["golden"] = cold_start_documents(config)
    return documents, size


def own_texts(run: Path | str) -> list[Document]:
    """What rejection learned from: the RL model's answers. Empty where the run has none."""
    path = folder_of(run) / "rejection" / "examples.json"
    if not os.path.lexists(path):
        return []
    return read_json(path, EXAMPLES, "put it back, or delete it")["documents"]


def most_tries_of(task: str, rows: dict[str, dict]) -> int | None:
    """The most tries of any text among rows; None if there are no texts, or the task has no tries."""
    if TASKS[task].candidate is None:
        return None
    return max((row["distributions"]["most_tries"] for row in rows.values()), default=None)


def measure(run: Path | str, num_problems: int | None, num_documents: int | None, device: str) -> dict:
    """Counts texts and answers of a run. Returns what one entry of the JSON file holds.

        run, seed
        documents, documents_counted    how many the corpus has, and how many of them were counted
        most_tries                      {task: the most tries of any text of corpus and golden, or None}
        tasks                           {task: {"corpus": counts, "golden": counts, "base": counts, ...}}
    """
    config = config_of(open_model(run, last_stage(run))[1])
    if num_problems is not None:
        config.evaluate.num_problems, config.evaluate.num_by_task = num_problems, {}
    check_enough_problems(config)
    documents, corpus_size = taught_texts(run, num_documents)
    tokenizer = get_tokenizer()
    tasks = {task: {} for task in config.tasks.levels}
    for name, some in documents.items():
        add_texts(tasks, name, some, tokenizer)
    most_tries = {task: most_tries_of(task, rows) for task, rows in tasks.items()}
    add_texts(tasks, "own texts", own_texts(run), tokenizer)    # after most_tries: the model wrote these
    for stage in STAGES:
        if has_checkpoint(folder_of(run), stage):
            model, state = open_model(run, stage, device)
            if state["done"]:
                for task in progress(f"{stage} answers", "task")(tasks):
                    levels, number = config.tasks.levels[task], config.evaluate.number_of(task)
                    tasks[task][stage] = evaluate_task(
                        model, tokenizer, task, levels, number, config.evaluate, most_tries[task])
    return {"run": str(run), "seed": config.seed, "documents": corpus_size,
            "documents_counted": len(documents.get("corpus", [])), "most_tries": most_tries, "tasks": tasks}


def add_texts(tasks: dict, name: str, documents: list[Document], tokenizer: Tokenizer) -> None:
    """Counts documents, and puts a row of this name into each task that they have."""
    for task, texts in texts_by_task(documents).items():
        if task in tasks:
            tasks[task][name] = count_texts(texts, tokenizer)


# -----------------------------------------------------------------------------
# Printing

def cell(value: float | None, factor: float = 1, digits: int = 1) -> str:
    return "-" if value is None else f"{factor * value:.{digits}f}"


def means_table(rows: dict[str, dict], most_tries: int | None) -> list[str]:
    """A line for each row: what the LEGEND explains."""
    most = "N" if most_tries is None else most_tries
    titles = ["n", "right", "think", "tries", "distinct", f">{most}", f"right>{most}",
              "tokens", "longest", "cut"]
    widths = [7, 6, 6, 6, 9, 6, 9, 7, 8, 5]
    lines = ["".join([f"{'':10}", *(f"{title:>{width}}" for title, width in zip(titles, widths))])]
    for name, row in rows.items():
        spread, accuracy = row["distributions"], row["accuracy"]
        cells = [str(accuracy["num_problems"]), cell(accuracy["value"], 100), cell(row["thinks"], 100),
                 cell(row["tries_thinking"], digits=2), cell(spread["distinct_tries_thinking"], digits=2),
                 cell(spread["beyond"], 100), cell(spread["right_beyond"], 100), cell(row["tokens"]),
                 str(spread["longest"]), cell(spread["cut_off"], 100)]
        lines.append("".join([f"{name:10}", *(f"{text:>{width}}" for text, width in zip(cells, widths))]))
    return lines


def histogram_table(title: str, histograms: dict[str, dict[str, int]], width: int) -> list[str]:
    """A line of percentages for each histogram, in columns that begin at 0, width, 2 * width ..."""
    starts = [width * i for i in range(COLUMNS)]
    last = f"{starts[-1]}+"
    lines = [title, "".join([f"{'':10}", *(f"{start:>6}" for start in starts[:-1]), f"{last:>6}"])]
    for name, histogram in histograms.items():
        columns = Counter()
        for value, number in histogram.items():
            columns[min(int(value) // width, COLUMNS - 1)] += number
        total = sum(columns.values())
        cells = [cell(columns[i] / total, 100) if total else "-" for i in range(COLUMNS)]
        lines.append("".join([f"{name:10}", *(f"{text:>6}" for text in cells)]))
    return lines


def as_text(measured: dict) -> list[str]:
    """The lines that are printed of one run: `measured` is what `measure` returned."""
    lines = [f"{measured['run']}, seed {measured['seed']}; of the corpus {measured['documents_counted']} of "
             f"{measured['documents']} documents were counted"]
    for task, rows in measured["tasks"].items():
        lines += ["", task, *means_table(rows, measured["most_tries"][task])]
        spreads = {name: row["distributions"] for name, row in rows.items()}
        if TASKS[task].candidate is not None:
            tries = {name: spread["tries"] for name, spread in spreads.items()}
            lines += ["", *histogram_table(f"{task}: tries, percent of those that think", tries, 1)]
        longest = max((spread["longest"] for spread in spreads.values()), default=0)
        width = BIN * math.ceil((longest + 1) / (BIN * COLUMNS))    # the longest fits into the columns
        tokens = {name: spread["tokens"] for name, spread in spreads.items()}
        lines += ["", *histogram_table(f"{task}: tokens, percent of all", tokens, width)]
    return lines


# -----------------------------------------------------------------------------
# The figure

def pooled(runs: list[dict], task: str, name: str, key: str) -> dict[int, int]:
    """The histogram `key` of the row `name`, {value: how many}, added up over the runs that have this row."""
    counts = Counter()
    for measured in runs:
        row = measured["tasks"].get(task, {}).get(name)
        if row:
            counts.update({int(value): number for value, number in row["distributions"][key].items()})
    return dict(counts)


def mean_over(runs: list[dict], task: str, name: str, key: str) -> float | None:
    """The mean of the number `key` of the row `name`, over the runs that have it; None if no run has it."""
    rows = [measured["tasks"].get(task, {}).get(name) for measured in runs]
    values = [row[key] for row in rows if row and row[key] is not None]
    return sum(values) / len(values) if values else None


def told_apart(runs: list[dict]) -> list[dict]:
    """Copies of the runs in which RL without a cold start before it is called "pure RL".

    If there is a whole run with the same seed, we assume that the pure run started from its base. The pure
    run then loses its own rows "corpus" and "base", so that they count once.
    """
    whole_seeds = set()
    for run in runs:
        first_task = next(iter(run["tasks"].values()))
        if "cold-start" in first_task:
            whole_seeds.add(run["seed"])
    renamed = []
    for run in runs:
        tasks = {}
        for task, rows in run["tasks"].items():
            tasks[task] = rows
            if "cold-start" not in rows:
                shared = ("corpus", "base") if run["seed"] in whole_seeds else ()
                tasks[task] = {name: row for name, row in rows.items() if name not in (*shared, "rl")}
                if "rl" in rows:
                    tasks[task]["pure RL"] = rows["rl"]
        renamed.append({**run, "tasks": tasks})
    return renamed


def has_row(runs: list[dict], tasks: list[str], name: str) -> bool:
    """Whether one of the runs has this row for one of the tasks."""
    for measured in runs:
        if any(name in measured["tasks"].get(task, {}) for task in tasks):
            return True
    return False


def draw(runs: list[dict], path: Path) -> None:
    """Draws tries and tokens of each task that has tries. Several runs are added up."""
    runs = told_apart(runs)
    panels = []
    tasks = [task for task in runs[0]["tasks"] if TASKS[task].candidate is not None]
    names = [name for name in DRAWN if has_row(runs, tasks, name)]
    for task in tasks:
        for key, width, mean_key in (("tries", 1, "tries_thinking"), ("tokens", BIN, "tokens")):
            rows = {}
            for name in names:
                rows[name] = (pooled(runs, task, name, key), pooled(runs, task, name, f"{key}_right"),
                              mean_over(runs, task, name, mean_key))
            most = runs[0]["most_tries"][task] if key == "tries" else None
            panels.append({"title": f"{task}: {key}", "width": width, "most": most, "rows": rows})
    path.absolute().parent.mkdir(parents=True, exist_ok=True)
    plots.plot_thinking(panels, path)


@exit_codes("thinking", less_memory="lower --documents")
def main(argv: list[str] | None = None) -> None:
    parser = Parser("Count tries and tokens in what a model was taught from and in what it answers.")
    parser.add_argument("--run", nargs="+", required=True, metavar="RUN",
                        help="folders of runs, or pretrained")
    parser.add_argument("--num-problems", type=like("evaluate.num_problems"),
                        help="held-out problems of each task; by default the run's")
    parser.add_argument("--documents", type=like("base.num_examples"),
                        help="read only the first documents of the corpus")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", metavar="FILE", help="write everything to this file")
    parser.add_argument("--figure", metavar="FILE", help="draw the histograms; runs are added up")
    args = parser.parse_args(argv)
    runs = []
    for run in args.run:
        runs.append(measure(run, args.num_problems, args.documents, pick_device(args.device)))
        print("\n".join([*as_text(runs[-1]), ""]), flush=True)
    print(LEGEND)
    if args.json:
        save_json(args.json, {"runs": runs})
    if args.figure:
        draw(runs, Path(args.figure))


if __name__ == "__main__":
    sys.exit(main())
