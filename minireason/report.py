"""The page of a run: report.md and its figures, made anew from results.json and metrics.jsonl."""

from pathlib import Path

from minireason import metrics, plots
from minireason.checkpoint import write_atomically
from minireason.evaluate import table
from minireason.tokenizer import printable

BEHAVIOURS = ("thinks", "tokens", "tries", "distinct_tries", "retry_after_failure", "giving_up", "false_yes",
              "accuracy_after_failed_try", "wrong_steps", "repairs", "mixing", "well_formed", "readable")


def behaviour_table(stages, task):
    """Rows of behaviours, a column a stage, as lines of Markdown."""
    lines = [f"| {task} | " + " | ".join(stages) + " |", "|---|" + "---|" * len(stages)]
    for name in BEHAVIOURS:
        values = [result[task].get(name) for result in stages.values()]
        if any(value is not None for value in values):
            lines.append(f"| {name.replace('_', ' ')} | " + " | ".join(
                "-" if value is None else f"{value:.2f}" for value in values) + " |")
    return lines


def write_report(run, results):
    """Writes report.md and the figures into the run's folder. Returns the paths written."""
    run, stages = Path(run), results["stages"]
    figures = [run / "stages.png"]
    plots.plot_stages(results, figures[0])
    for stage in ("rl", "align"):
        lines = metrics.read(run / stage / "metrics.jsonl")
        if lines and stage in stages:
            figures.append(run / f"{stage}.png")
            plots.plot_curves(lines, figures[-1], f"{stage} with {results['config']['algo'].upper()}")
    levels = [f"- {stage}: " + "; ".join(
        f"{task} level {level} {100 * r['value']:.1f}% [{100 * r['low']:.1f}, {100 * r['high']:.1f}] of {r['num_problems']}"
        for task in ("arithmetic", "countdown", "program") for level, r in result[task]["levels"].items() if r["num_problems"])
        for stage, result in stages.items()]
    text = ["# A run of minireason", "", f"`{results['command']}`, seed {results['config']['seed']}. Held-out problems, one answer",
            "each at temperature 1; brackets are 95% Wilson intervals of this one run.", "", *table(stages), "",
            "Tokens, form and mixing are means over arithmetic and countdown.", "",
            *(f"![]({figure.name})\n" for figure in figures), "## By level", "", *levels, "", "## What the model does", ""]
    for task in ("arithmetic", "countdown", "program"):
        text += [*behaviour_table(stages, task), ""]
    text += ["## Time", "", *(f"- {stage}: {seconds:.0f} s" for stage, seconds in results["seconds"].items()), ""]
    for name, value in results.get("notes", {}).items():
        text += [f"- {name}: {value}"]
    text += ["", "## Samples", ""]
    for stage, result in stages.items():
        text += [f"### {stage}", "", "```"]
        for task in ("arithmetic", "countdown", "program"):
            text += [f"{'right' if s['correct'] else 'wrong'}  {s['prompt']}\n       {printable(s['completion'])}"
                     for s in result[task]["samples"][::3]]
        text += [f"chat   {s['prompt']}\n       {printable(s['completion'])}" for s in result["chat"]["samples"][:4]] + ["```", ""]
    page = run / "report.md"
    write_atomically(page, lambda file: file.write("\n".join(text).encode()))
    return [page, *figures]
