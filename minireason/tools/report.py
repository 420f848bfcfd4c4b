"""The report of a run: report.md, report.html and figures, made again from results.json and metrics.jsonl.

    python -m minireason.report runs/a                              one run: makes its report again
    python -m minireason.report runs/a runs/b runs/c [--json FILE]  several seeds: means and differences
"""

import argparse
import sys
from pathlib import Path

from minireason.evaluate import averaged_tasks, mean_of_reasoning, table
from minireason.run import read_results, scored_on
from minireason.stats import bootstrap_interval
from minireason.tokenizer import printable
from minireason.tools import page, plots
from minireason.upkeep import metrics
from minireason.upkeep.checkpoint import save_json, write_atomically
from minireason.upkeep.command import BadInput, exit_codes

RL_STAGES = ("rl", "align")
BEHAVIOURS = (
    "thinks", "tokens", "tries", "distinct_tries", "retry_after_failure", "giving_up", "false_yes",
    "accuracy_after_failed_try", "won_by_retrying", "wrong_steps", "repairs", "mixing", "well_formed",
    "readable",
)


def tasks_of(result: dict) -> list[str]:
    """The tasks on which a stage was scored. `result` is what `evaluate` returned for the stage."""
    return [name for name in result if name != "chat"]


def means_sentence(stages: dict) -> str:
    """Says in the report over which tasks some columns of the stage table are means."""
    return f"Tokens, form and mixing are means over {' and '.join(averaged_tasks(list(stages.values())[0]))}."


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
        lines = metrics.read(run / stage / "metrics.jsonl")
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
    """Some answers of one stage: every third problem, and four of the chat."""
    lines = []
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
    lines += ["## Time", ""]
    lines += [f"- {stage}: {seconds:.0f} s" for stage, seconds in results["seconds"].items()]
    lines += [""]
    lines += [f"- {name}: {printable(str(value))}" for name, value in results["notes"].items()]
    lines += ["", "## Samples", ""]
    for stage, result in stages.items():
        lines += [f"### {stage}", "", "```", *sample_lines(result), "```", ""]
    return "\n".join(lines)


def write_report(run: Path | str, results: dict) -> list[Path]:
    """Writes report.md, report.html and the figures into the run's folder. Returns the paths written."""
    run, stages = Path(run), results["stages"]
    if not stages:
        raise BadInput(f"{run} has no stage that was scored yet")
    last_result = list(stages.values())[-1]
    behaviours = {task: behaviour_table(stages, task) for task in tasks_of(last_result)}
    figures = draw_figures(run, results)
    html = page.as_html(run, results, figures, level_table(stages), behaviours, means_sentence(stages))
    texts = {run / "report.md": as_markdown(results, figures), run / "report.html": html}
    for path, text in texts.items():
        write_atomically(path, lambda file: file.write(text.encode()))
    return [*texts, *figures]


# -----------------------------------------------------------------------------
# Several runs of the same recipe

DIFFERENCES = (     # (later stage, earlier stage)
    ("rl", "base"), ("rl", "cold-start"), ("rejection", "rl"), ("align", "rejection"), ("align", "rl"))


def over_seeds(runs: list[dict]) -> list[dict]:
    """Means over runs by stage and task, and the differences that a stage makes.

    `runs` are the contents of their results.json. All runs are scored on the same held-out problems, so the
    intervals come from a paired bootstrap over problems and runs. Raises ValueError if the problems differ.

    Returns rows {"name", "value", "low", "high"}.
    """
    for run in runs:
        if scored_on(run["config"]) != scored_on(runs[0]["config"]):
            raise ValueError("these runs were scored on different problems and cannot be put together")
    rows = []
    for stage in shared_stages(runs):
        results = [run["stages"][stage] for run in runs]
        for task in tasks_of(results[0]):
            rows.append(interval_row(f"{stage} {task}", *bootstrap_interval(outcomes(runs, stage, task))))
        for name, values in chat_and_mixing(results).items():
            rows.append(interval_row(f"{stage} {name} (mean, lowest, highest run)",
                                     sum(values) / len(values), min(values), max(values)))
    for later, earlier in DIFFERENCES:
        if later not in shared_stages(runs) or earlier not in shared_stages(runs):
            continue
        for task in tasks_of(runs[0]["stages"][later]):
            interval = bootstrap_interval(outcomes(runs, later, task), outcomes(runs, earlier, task))
            rows.append(interval_row(f"{later} - {earlier} {task}", *interval))
    return rows


def shared_stages(runs: list[dict]) -> list[str]:
    """The stages that were scored in every run."""
    stages = list(runs[0]["stages"])
    for run in runs[1:]:
        stages = [stage for stage in stages if stage in run["stages"]]
    return stages


def outcomes(runs: list[dict], stage: str, task: str) -> list[list[int]]:
    """1 for each problem that a run solved, 0 for each that it did not: (runs, problems)."""
    rows = []
    for run in runs:
        bits = run["stages"][stage][task]["outcomes"]      # such as "0110"
        rows.append([int(bit) for bit in bits])
    return rows


def chat_and_mixing(results: list[dict]) -> dict[str, list[float]]:
    """The other rates of the table, with a value for each run. `results` are those of one stage."""
    return {
        "mixing": [mean_of_reasoning(result, "mixing") or 0.0 for result in results],
        "leaks": [result["chat"]["leaks"]["value"] for result in results],
        "over-refusals": [result["chat"]["over_refusals"]["value"] for result in results],
    }


def interval_row(name: str, value: float, low: float, high: float) -> dict:
    return {"name": name, "value": value, "low": low, "high": high}


@exit_codes("report")
def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description="Make the report of one run again, or compute means over several runs.")
    parser.add_argument("runs", nargs="+", help="folders of runs")
    parser.add_argument("--json", help="also write the rows to this file")
    args = parser.parse_args(argv)
    runs = []
    for folder in args.runs:
        results = read_results(Path(folder))
        if results is None:
            raise BadInput(f"there is no {Path(folder) / 'results.json'}: give the folder of a run")
        runs.append(results)
    if len(runs) == 1:
        for path in write_report(args.runs[0], runs[0]):
            print(path)
        return
    rows = over_seeds(runs)
    if args.json:
        save_json(args.json, {
            "command": runs[0]["command"],
            "seeds": [run["config"]["seed"] for run in runs],
            "num_problems": runs[0]["config"]["evaluate"]["num_problems"],
            "rows": rows,
        })
    for row in rows:
        value, low, high = 100 * row["value"], 100 * row["low"], 100 * row["high"]
        print(f"{row['name']:55} {value:6.1f} [{low:6.1f}, {high:6.1f}]")


if __name__ == "__main__":
    sys.exit(main())
