"""Whole runs of `python train.py`: what each stage does, and how it goes for sums, countdown and programs.
Claims C8 and C11, of lesson 16.

    python lessons/studies/pipeline.py [--seeds 5]
    python lessons/studies/pipeline.py --fast      one run of the preset smoke

It also asks every stage the easiest problems of all, sums of two digits, which RL and the scores leave out: a
model may unlearn what it is not asked any more. What is counted of a run is kept in lessons/results/arms/.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))      # lessons/, where runs.py is

import runs
from runs import bits, row
from shared import group_bars, label

from minireason.inference import which_are_right
from minireason.stats import bootstrap_interval
from minireason.tasks import parse_prompt
from minireason.tokenizer import get_tokenizer
from minireason.tools.compare import over_seeds
from minireason.tools.plots import PALETTE, new_figure
from minireason.tools.scores import mean_of_reasoning, tasks_of

NUM_SMOKE = 20_000      # documents of the base with --fast: with fewer, it solves nothing
NUM_SAMPLED = 400       # problems for rejection with --fast: so small a model is seldom right
HABITS = {"mixing": "#8a6fb0", "leaks": "#e0a030", "over-refusals": "#999999"}
STEPS = ("rl - cold-start", "rejection - rl", "align - rejection")


def numbers_of(scores, tasks):
    """{name: number} of one stage of one run."""
    numbers = {name: mean_of_reasoning(scores, name) or 0.0 for name in ("well_formed", "tokens")}
    for task in tasks:
        for level, share in scores[task]["levels"].items():
            if share["num_problems"]:
                numbers[f"{task} level {level}"] = share["value"]
    for name in ("tries", "false_yes", "accuracy_after_failed_try"):
        numbers[f"countdown {name}"] = scores["countdown"][name] or 0.0
    return numbers


def more_rows(results, stages, tasks):
    """The numbers of each stage as means over the seeds, with the lowest and the highest run."""
    rows = []
    for stage in stages:
        by_seed = [numbers_of(result["stages"][stage], tasks) for result in results]
        for name in by_seed[0]:
            values = [numbers[name] for numbers in by_seed if name in numbers]
            rows.append(runs.row_of_runs(f"{stage} {name}", values))
    return rows


def sums_of_digits():
    """All problems a+b and a-b of two digits from 1 to 9 whose result is not negative: 126."""
    problems = []
    for left in range(1, 10):
        for right in range(1, 10):
            problems.append(parse_prompt(f"compute {left}+{right}"))
            if left >= right:
                problems.append(parse_prompt(f"compute {left}-{right}"))
    return problems


def right_sums(folder, stage, seed):
    """Which of `sums_of_digits` a stage of a run gets right with one answer: "0110..."."""
    model, problems = runs.open_model(folder, stage)[0], sums_of_digits()
    return runs.digits(which_are_right(model, get_tokenizer(), problems, max_new_tokens=60, seed=seed))


def sums_rows(results, stages):
    """A row for each stage: the share of `sums_of_digits` that it gets right."""
    rows = []
    for stage in stages:
        right = []
        for result in results:
            right.append(bits(result["sums"][stage]))
        rows.append(row(f"{stage} sums of two digits", *bootstrap_interval(right)))
    return rows


def gains(results, rows, tasks, seeds):
    """The rows of C11: accuracies as far as RL, and what RL gained over the base by seed."""
    gained = []
    for line in rows:
        if line["name"].startswith(("base", "cold", "rl")) and line["name"].endswith(tuple(tasks)):
            gained.append(line)
    for task in tasks:
        for seed, result in zip(seeds, results):
            before, after = [bits(result["stages"][stage][task]["outcomes"]) for stage in ("base", "rl")]
            gained.append(row(f"rl - base {task}, seed {seed}", *bootstrap_interval([after], [before])))
    return gained


def in_percent(rows):
    """{name: (value, low, high)}; what stands in parentheses behind a name is left out."""
    intervals = {}
    for line in rows:
        if line["low"] is not None:
            name = line["name"].split(" (")[0]
            intervals[name] = runs.in_percent(line)
    return intervals


def table_of(intervals, labels, names):
    """{label: {name: interval}}; `labels` maps the first part of a row's name to the label of its group."""
    table = {}
    for first, text in labels.items():
        table[text] = {name: intervals[f"{first} {name}"] for name in names}
    return table


def draw(rows, stages, tasks):
    """Accuracies, habits and changes by stage."""
    intervals = in_percent(rows)
    figure, axes = new_figure(1, 3, figsize=(11, 3.6))
    colors = dict(zip(tasks, PALETTE))
    titles = {stage: stage for stage in stages}         # the label of a group of bars is its name
    steps = {step: step.replace(" - ", "\nminus ") for step in STEPS}
    group_bars(axes[0], table_of(intervals, titles, tasks), colors)
    group_bars(axes[1], table_of(intervals, titles, HABITS), HABITS)
    group_bars(axes[2], table_of(intervals, steps, tasks), colors)
    axes[2].axhline(0, color="black", lw=0.6)
    label(axes[0], "right answers (lines: 95%)", ylabel="held-out problems right, %")
    label(axes[1], "habits (lines: lowest to highest run)", ylabel="% of thoughts, and of chats")
    label(axes[2], "what a stage changed (lines: 95%)", ylabel="percentage points")
    axes[0].set_ylim(0, 115)
    axes[1].set_ylim(0, 75)
    for axis in axes:
        axis.tick_params(labelsize=7)
    return figure


def whole_run(seed, args):
    """Makes a whole run, if it is not there; with --fast one of the preset smoke. Returns its folder."""
    if args.fast:
        runs.ensure(f"smoke-{seed}", "--preset", "smoke", "--seed", seed, *runs.FAST_FLAGS,
                    "--base-num-examples", NUM_SMOKE, "--sampling-num-problems", NUM_SAMPLED,
                    *args.given_flags)
        return runs.STUDIES / f"smoke-{seed}"
    return runs.whole_run(seed, args)


def measure(seed, args):
    """What is kept of a whole run: its config, and of each stage the seconds, the scores and `right_sums`."""
    folder = whole_run(seed, args)
    results = runs.or_exit(runs.read_results, folder)
    for scores in results["stages"].values():
        for of_task in scores.values():
            for name in ("samples", "distributions"):       # long, and not needed here
                of_task.pop(name, None)
    sums = {stage: right_sums(folder, stage, seed) for stage in results["stages"]}
    return {name: results[name] for name in ("config", "seconds", "stages")} | {"sums": sums}


def main():
    args = runs.parse(runs.make_parser(__doc__.splitlines()[0], num_seeds=5))
    jobs = {}
    for seed in args.seeds:
        jobs["whole", seed] = (runs.arm, f"C8-whole-{seed}", args, measure, seed, args)
    [results] = runs.by_seed(runs.work_off(jobs)).values()
    stages, tasks = list(results[0]["stages"]), tasks_of(results[0]["stages"]["rl"])
    rows = over_seeds(results) + more_rows(results, stages, tasks) + sums_rows(results, stages)
    seconds = {}
    for stage in stages:
        seconds[stage] = sum(result["seconds"][stage] for result in results) / len(results)
    settings = results[0]["config"]["evaluate"]
    runs.save_claim(8, "The four-step pipeline", args.command, args.seeds, settings["num_problems"], rows,
                    seconds=seconds)
    runs.save_figure(draw(rows, stages, tasks), "C8")
    runs.save_claim(11, "On math and code", args.command, args.seeds, settings["num_problems"],
                    gains(results, rows, tasks, args.seeds), num_programs=settings["num_programs"])


if __name__ == "__main__":
    main()
