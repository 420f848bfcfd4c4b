"""The page of a run: report.md, report.html and figures, made anew from results.json and metrics.jsonl.

    python -m minireason.report runs/a                              makes the page again
    python -m minireason.report runs/a runs/b runs/c [--json FILE]  several seeds: means, differences, intervals
"""

import argparse
import json
import sys
from pathlib import Path

from minireason.evaluate import mean_of_reasoning, table
from minireason.run import scored_on
from minireason.stats import bootstrap_interval
from minireason.tasks import TASKS
from minireason.tokenizer import printable
from minireason.tools import page, plots
from minireason.upkeep import metrics
from minireason.upkeep.checkpoint import save_json, write_atomically
from minireason.upkeep.command import BadInput, Fault, exit_codes

RESULTS = {"command", "config", "stages", "seconds", "notes"}    # what results.json holds at least
BEHAVIOURS = ("thinks", "tokens", "tries", "distinct_tries", "retry_after_failure", "giving_up", "false_yes",
              "accuracy_after_failed_try", "won_by_retrying", "wrong_steps", "repairs", "mixing", "well_formed", "readable")


def read_results(path: Path) -> dict:
    """What a results.json holds. Raises Fault on a damaged one."""
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        results = None
    if not isinstance(results, dict) or not RESULTS <= set(results):
        raise Fault(f"{path} is damaged or no run's")
    return results


def behaviour_table(stages: dict, task: str) -> list[str]:
    """Rows of behaviours, a column a stage, as lines of Markdown."""
    lines = [f"| {task} | " + " | ".join(stages) + " |", "|---|" + "---|" * len(stages)]
    for name in BEHAVIOURS:
        values = [result[task].get(name) for result in stages.values()]
        if any(value is not None for value in values):
            lines.append(f"| {name.replace('_', ' ')} | " + " | ".join(
                "-" if value is None else f"{value:.2f}" for value in values) + " |")
    return lines


def level_table(stages: dict) -> list[str]:
    """A row a stage, a column for each level of each task, as lines of Markdown."""
    levels = [(task, level, rate["num_problems"]) for task in TASKS
              for level, rate in list(stages.values())[-1][task]["levels"].items() if rate["num_problems"]]
    lines = ["| stage | " + " | ".join(f"{task} level {level} (n={number}) %" for task, level, number in levels) + " |",
             "|---|" + "---|" * len(levels)]
    for stage, result in stages.items():
        rates = [result[task]["levels"][level] for task, level, _ in levels]
        lines.append(f"| {stage} | " + " | ".join(
            f"{100 * r['value']:.1f} [{100 * r['low']:.1f}, {100 * r['high']:.1f}]" for r in rates) + " |")
    return lines


def write_report(run: Path | str, results: dict) -> list[Path]:
    """Writes report.md, report.html and the figures into the run's folder. Returns the paths written."""
    run, stages = Path(run), results["stages"]
    if not stages:
        raise BadInput(f"{run} has no stage that was scored yet")
    figures = [run / "stages.png"]
    plots.plot_stages(results, figures[0])
    for stage in stages:
        lines = metrics.read(run / stage / "metrics.jsonl")
        if lines and stage in ("rl", "align"):
            figures.append(run / f"{stage}.png")
            plots.plot_curves(lines, figures[-1], f"{stage} with {results['config']['algo'].upper()}")
        if any("held_out_arithmetic" in line for line in lines):
            figures.append(run / f"{stage}-held-out.png")
            plots.plot_held_out(lines, figures[-1], f"within {stage}")
    text = ["# A run of minireason", "", f"`{printable(results['command'])}`, seed {results['config']['seed']}. Held-out problems,",
            "one answer each at temperature 1; brackets are 95% Wilson intervals of this one run.", "", *table(stages), "",
            "Tokens, form and mixing are means over arithmetic and countdown.", "",
            *(f"![]({figure.name})\n" for figure in figures), "## By level", "", *level_table(stages), "",
            "## What the model does", ""]
    for task in TASKS:
        text += [*behaviour_table(stages, task), ""]
    text += ["## Time", "", *(f"- {stage}: {seconds:.0f} s" for stage, seconds in results["seconds"].items()), ""]
    for name, value in results.get("notes", {}).items():
        text += [f"- {name}: {printable(str(value))}"]
    text += ["", "## Samples", ""]
    for stage, result in stages.items():
        text += [f"### {stage}", "", "```"]
        for task in TASKS:
            text += [f"{'right' if s['correct'] else 'wrong'}  {printable(s['prompt'])}\n       {printable(s['completion'])}"
                     for s in result[task]["samples"][::3]]
        text += [f"chat   {printable(s['prompt'])}\n       {printable(s['completion'])}"
                 for s in result["chat"]["samples"][:4]] + ["```", ""]
    as_html = page.as_html(run, results, figures, level_table(stages), [behaviour_table(stages, task) for task in TASKS])
    pages = {run / "report.md": "\n".join(text), run / "report.html": as_html}
    for path, content in pages.items():
        write_atomically(path, lambda file: file.write(content.encode()))
    return [*pages, *figures]


# -----------------------------------------------------------------------------
# Several runs of the same recipe

STEPS = (("rl", "base"), ("rl", "cold-start"), ("rejection", "rl"), ("align", "rejection"), ("align", "rl"))


def over_seeds(runs: list[dict]) -> list[dict]:
    """Means over runs (what their results.json hold) by stage and task, and the differences that a stage makes.

    Returns rows {"name", "value", "low", "high"}; accuracies are of the same held-out problems in every run, with a
    paired bootstrap over problems and runs. Raises ValueError where runs were scored on other problems.
    """
    stages = [stage for stage in runs[0]["stages"] if all(stage in run["stages"] for run in runs)]
    if any(scored_on(run["config"]) != scored_on(runs[0]["config"]) for run in runs):
        raise ValueError("these runs were scored on different problems and cannot be put together")

    def outcomes(stage, task):
        return [[int(bit) for bit in run["stages"][stage][task]["outcomes"]] for run in runs]    # (seeds, problems)

    rows = []
    def add(name, *values):
        rows.append(dict(zip(("name", "value", "low", "high"), (name, *values))))
    for stage in stages:
        for task in TASKS:
            add(f"{stage} {task}", *bootstrap_interval(outcomes(stage, task)))
        for name, value in (("mixing", lambda r: mean_of_reasoning(r, "mixing") or 0.0),
                            ("leaks", lambda r: r["chat"]["leaks"]["value"]),
                            ("over-refusals", lambda r: r["chat"]["over_refusals"]["value"])):
            seen = [value(run["stages"][stage]) for run in runs]
            add(f"{stage} {name} (mean, lowest, highest run)", sum(seen) / len(seen), min(seen), max(seen))
    for later, earlier in STEPS:
        for task in TASKS if later in stages and earlier in stages else ():
            add(f"{later} - {earlier} {task}", *bootstrap_interval(outcomes(later, task), outcomes(earlier, task)))
    return rows


@exit_codes("report")
def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Make the page of a run again, or put several seeds together.")
    parser.add_argument("runs", nargs="+", help="folders of runs")
    parser.add_argument("--json", help="also write the rows to this file")
    args = parser.parse_args(argv)
    paths = [Path(folder) / "results.json" for folder in args.runs]
    for path in paths:
        if not path.exists():
            raise BadInput(f"there is no {path}: give the folder of a run")
    runs = [read_results(path) for path in paths]
    if len(runs) == 1:
        print("\n".join(map(str, write_report(args.runs[0], runs[0]))))
        return
    rows = over_seeds(runs)
    if args.json:
        save_json(args.json, {"command": runs[0]["command"], "seeds": [run["config"]["seed"] for run in runs],
                              "num_problems": runs[0]["config"]["evaluate"]["num_problems"], "rows": rows})
    for row in rows:
        print(f"{row['name']:55} {100 * row['value']:6.1f} [{100 * row['low']:6.1f}, {100 * row['high']:6.1f}]")


if __name__ == "__main__":
    sys.exit(main())
