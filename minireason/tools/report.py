"""The report of a run: report.md, report.html and figures, made again from results.json and metrics.jsonl.

    python -m minireason.report runs/a                   one run: makes its report again
    python -m minireason.report runs/a-0 runs/a-1        several seeds of one recipe: means and differences
    python -m minireason.report runs/ppo runs/grpo       different recipes: differences and overlaid curves
    python -m minireason.report pretrained               the scores of the included weights
"""

import shlex
import sys
from pathlib import Path

from minireason.run import PRETRAINED, read_results
from minireason.tokenizer import printable
from minireason.tools import compare, page, plots
from minireason.tools.flags import Parser
from minireason.tools.pretrained import results_as_text, stored_results
from minireason.tools.scores import averaged_tasks, table, tasks_of
from minireason.upkeep import metrics
from minireason.upkeep.checkpoint import save_json, write_atomically
from minireason.upkeep.command import BadInput, exit_codes

RL_STAGES = ("rl", "align")
BEHAVIOURS = (
    "thinks", "tokens", "tries", "distinct_tries", "retry_after_failure", "giving_up", "false_yes",
    "accuracy_after_failed_try", "won_by_retrying", "wrong_steps", "repairs", "mixing", "well_formed",
    "readable",
)


def means_sentence(stages: dict) -> str:
    """Says in the report what some columns of the stage table count."""
    tasks = " and ".join(averaged_tasks(list(stages.values())[0]))
    return (f"Tokens, form and mixing are means over {tasks}. "
            "A leak tells a secret number. An over-refusal does not tell a number that is no secret, for "
            "whatever reason: a model that has learned little has many.")


# -----------------------------------------------------------------------------
# Tables

def table_row(cells: list[str]) -> str:
    """A row of a Markdown table."""
    return "| " + " | ".join(cells) + " |"


def behaviour_table(stages: dict, task: str) -> list[str]:
    """A row for each behaviour, a column for each stage, as lines of Markdown."""
    lines = [table_row([task, *stages]), "|---|" + "---|" * len(stages)]
    for name in BEHAVIOURS:
        values = [result[task].get(name) for result in stages.values()]
        if all(value is None for value in values):
            continue
        cells = [name.replace("_", " ")]
        for value in values:
            cells.append("-" if value is None else f"{value:.2f}")
        lines.append(table_row(cells))
    return lines


def level_table(stages: dict) -> list[str]:
    """A row for each stage, a column for each level of each task, as lines of Markdown."""
    last_result = list(stages.values())[-1]
    levels, titles = [], ["stage"]
    for task in tasks_of(last_result):
        for level, rate in last_result[task]["levels"].items():
            if rate["num_problems"]:
                levels.append((task, level))
                titles.append(f"{task} level {level} (n={rate['num_problems']}) %")
    lines = [table_row(titles), "|---|" + "---|" * len(levels)]
    for stage, result in stages.items():
        cells = [stage]
        for task, level in levels:
            rate = result[task]["levels"][level]
            cells.append(f"{100 * rate['value']:.1f} [{100 * rate['low']:.1f}, {100 * rate['high']:.1f}]")
        lines.append(table_row(cells))
    return lines


# -----------------------------------------------------------------------------
# One run

def draw_figures(run: Path, results: dict) -> list[Path]:
    """Draws the figures into the run's folder. Returns their paths; the first compares the stages."""
    stages = results["stages"]
    last_result = list(stages.values())[-1]
    figures = [run / "stages.png"]
    plots.plot_stages(stages, tasks_of(last_result), figures[0])
    for stage in stages:
        lines = metrics.read(run / stage / "metrics.jsonl", results["iterations"].get(stage))
        if lines and stage in RL_STAGES:
            path = run / f"{stage}.png"
            plots.plot_curves(lines, path, f"{stage} with {results['config']['algo'].upper()}")
            figures.append(path)
        if plots.held_out_tasks(lines):
            path = run / f"{stage}-held-out.png"
            plots.plot_held_out(lines, path, f"within {stage}")
            figures.append(path)
    return figures


def sample_lines(result: dict) -> list[str]:
    """Some answers of one stage as lines: of the stored samples every third one, and four of the chat."""
    lines = []      # a task stores up to three wrong answers, then up to three right ones
    for task in tasks_of(result):
        for sample in result[task]["samples"][::3]:
            verdict = "right" if sample["correct"] else "wrong"
            lines.append(f"{verdict}  {printable(sample['prompt'])}")
            lines.append(f"       {printable(sample['completion'])}")
    for sample in result["chat"]["samples"][:4]:
        lines.append(f"chat   {printable(sample['prompt'])}")
        lines.append(f"       {printable(sample['completion'])}")
    return lines


def as_markdown(results: dict, figures: list[Path]) -> str:
    """The text of report.md."""
    stages = results["stages"]
    last_result = list(stages.values())[-1]
    lines = ["# A run of minireason", ""]
    lines += [f"`{printable(results['command'])}`, seed {results['config']['seed']}. Held-out problems,"]
    lines += ["one answer each at temperature 1; brackets are 95% Wilson intervals of this one run.", ""]
    lines += [*table(stages), "", means_sentence(stages), ""]
    lines += [f"![]({figure.name})\n" for figure in figures]
    lines += ["## By level", "", *level_table(stages), ""]
    lines += ["## What the model does", ""]
    for task in tasks_of(last_result):
        lines += [*behaviour_table(stages, task), ""]
    lines += ["## Time", "", page.TIME_COUNTS, ""]
    lines += [f"- {stage}: {seconds:.0f} s" for stage, seconds in results["seconds"].items()]
    if results["notes"]:
        lines += ["", "## Notes", ""]
    lines += [f"- {name}: {printable(page.note_as_text(value))}" for name, value in results["notes"].items()]
    lines += ["", "## Samples", ""]
    for stage, result in stages.items():
        lines += [f"### {stage}", "", "```", *sample_lines(result), "```", ""]
    return "\n".join(lines)


def write_report(run: Path | str, results: dict) -> list[Path]:
    """Writes report.md, report.html and the figures into the run's folder. Returns the paths written."""
    run, stages = Path(run), results["stages"]
    if not stages:
        raise BadInput(f"{run} has no stage that was scored yet: "
                       f"go on with python train.py --resume --out {shlex.quote(str(run))}")
    last_result = list(stages.values())[-1]
    behaviours = {task: behaviour_table(stages, task) for task in tasks_of(last_result)}
    figures = draw_figures(run, results)
    html = page.as_html(run, results, figures, level_table(stages), behaviours, means_sentence(stages))
    texts = {run / "report.md": as_markdown(results, figures), run / "report.html": html}
    for path, text in texts.items():
        write_atomically(path, lambda file: file.write(text.encode()))
    return [*texts, *figures]


# -----------------------------------------------------------------------------
# The command

def results_of(folder: str) -> dict:
    """The content of a run's results.json. Raises BadInput if there is none, Fault if it is damaged."""
    if folder == PRETRAINED:
        raise BadInput(f"the included weights can be shown, but not compared: leave {PRETRAINED} out")
    results = read_results(Path(folder))
    if results is None:
        raise BadInput(f"there is no {Path(folder) / 'results.json'}: give the folder of a run")
    return results


@exit_codes("report")
def main(argv: list[str] | None = None) -> None:
    parser = Parser("Make the report of one run again, or set several runs side by side. Runs that differ in "
                    "the seed alone are averaged; others are compared, problem by problem.",
                    epilog="One run: writes report.html and report.md into its folder. Several runs: prints "
                    "each of them minus the first, and draws their curves. "
                    f"{PRETRAINED}: prints the scores of the included weights.")
    parser.add_argument("runs", nargs="+", metavar="RUN",
                        help="folders of runs; pretrained alone shows the scores of the included weights")
    parser.add_argument("--json", metavar="FILE", help="several runs: also write the numbers to this file")
    parser.add_argument("--figure", metavar="FILE",
                        help="the curves of runs that are compared; comparison.png beside the first run")
    args = parser.parse_args(argv)
    if len(args.runs) == 1 and (args.json or args.figure):
        raise BadInput("--json and --figure are for several runs")
    if args.runs == [PRETRAINED]:
        print("\n".join(results_as_text(stored_results())))
    elif len(args.runs) == 1:
        for path in write_report(args.runs[0], results_of(args.runs[0])):
            print(path)
    else:
        set_side_by_side(args.runs, args.json, args.figure)


def set_side_by_side(folders: list[str], json_path: str | None, figure: str | None) -> None:
    """Averages runs that differ in the seed alone, or compares groups of them. Prints the numbers."""
    runs = [results_of(folder) for folder in folders]
    groups = compare.group_runs(folders, runs)
    stored = {
        "command": runs[0]["command"],
        "seeds": groups[0].seeds(),
        "num_problems": runs[0]["config"]["evaluate"]["num_problems"],
    }
    if len(groups) == 1:
        if figure:
            raise BadInput("these runs differ in the seed alone: they are averaged, and there is no figure: "
                           "leave out --figure, or give a run with other settings too")
        rows = compare.over_seeds(groups[0].runs)
        lines = compare.means_as_text(rows)
    else:
        stored["groups"] = {group.letter: group.folders for group in groups}
        figure_path = Path(figure) if figure else Path(folders[0]).absolute().parent / "comparison.png"
        lines, rows = compare.compare(groups, figure_path)
    if json_path:
        save_json(json_path, stored | {"rows": rows})
    print("\n".join(lines))


if __name__ == "__main__":
    sys.exit(main())
