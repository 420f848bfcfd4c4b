"""o1's two plots, on a laptop: right answers against training by RL, and against thinking when it answers.

    python lessons/studies/two_plots.py [--seeds 3]
    python lessons/studies/two_plots.py --fast

All of it is of pure RL, which starts at the base, as R1-Zero did. Left and middle: the model at its start, at
its snapshots and at its end answers held-out problems. Right: the model after RL may think for so many
tokens, and then its answer is forced (lesson 13).
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))      # lessons/, where runs.py is

import runs
from more_tokens import try_budgets
from runs import row
from shared import label, plot_band

from minireason.evaluate import evaluate_task
from minireason.stats import bootstrap_interval
from minireason.tasks import test_problems
from minireason.tokenizer import get_tokenizer
from minireason.tools.plots import new_figure

COLORS = {"arithmetic": "#1b6ca8", "countdown": "#d1495b", "program": "#5a9a5a"}
BUDGETS = (8, 16, 32, 64, 128, 208)


def tokens_sampled(source, iterations):
    """How many tokens RL had sampled after so many of its iterations."""
    return sum(line["num_tokens"] for line in runs.curve(source, "rl")[:iterations])


def measure(seed, num_problems, budgets, args):
    """What is kept of one seed: which problems are right, by RL and by the tokens of a thought.

    {"training": a point for each model of RL's way, "thinking": {task: a point for each budget}}.
    """
    source = runs.pure_run(seed, args)
    config = runs.config_of_source(source)
    config.evaluate.num_problems = num_problems
    training = []
    for iteration, model in runs.rl_models(source):
        point = {"iteration": iteration, "sampled": tokens_sampled(source, iteration), "right": {}}
        for task, levels in config.tasks.levels.items():
            scores = evaluate_task(model, get_tokenizer(), task, levels, num_problems, config.evaluate)
            point["right"][task] = scores["outcomes"]           # "0110..."
            if task == "countdown":
                point["tries"], point["tokens"] = scores["tries"], scores["tokens"]
        training.append(point)
    model, _ = runs.open_model(source, "rl")
    thinking = {}
    for task, levels in config.tasks.levels.items():
        problems = test_problems(task, levels, num_problems, config.evaluate.seed)
        thinking[task] = []
        for point in try_budgets(model, problems, budgets):
            thinking[task].append({"budget": point["x"], "right": runs.digits(point["right"])})
    return {"training": training, "thinking": thinking}


def rows_of(measured):
    """Every point of the figure; each interval is over problems and seeds.

    `measured` has what `measure` returned, for each seed.
    """
    titles = {"sampled": "tokens sampled so far", "tries": "tries at countdown",
              "tokens": "tokens at countdown"}
    rows = []
    for i, first in enumerate(measured[0]["training"]):
        points = [of_seed["training"][i] for of_seed in measured]
        for task in COLORS:
            interval = interval_of([point["right"][task] for point in points])
            rows.append(row(f"iteration {first['iteration']}: {task}, right", *interval))
        for name, words in titles.items():
            values = [point[name] for point in points]
            rows.append(runs.row_of_runs(f"iteration {first['iteration']}: {words}", values))
    for task in COLORS:
        for i, first in enumerate(measured[0]["thinking"][task]):
            interval = interval_of([of_seed["thinking"][task][i]["right"] for of_seed in measured])
            rows.append(row(f"at most {first['budget']} tokens of thinking: {task}, right", *interval))
    return rows


def interval_of(outcomes):
    """(share right, low, high) over seeds and problems, from one "0110..." for each seed."""
    by_seed = []
    for of_seed in outcomes:
        by_seed.append(runs.bits(of_seed))
    return bootstrap_interval(by_seed)


def in_percent(intervals):
    """Intervals (middle, low, high) of shares, in percent."""
    return [(100 * middle, 100 * low, 100 * high) for middle, low, high in intervals]


def draw(rows, most_tries):
    """Three panels: right answers and tries against RL, and right answers against thinking."""
    values = {line["name"]: (line["value"], line["low"], line["high"]) for line in rows}
    # names begin with "iteration 43: " or "at most 16 tokens "
    iterations = sorted({int(name.split(" ")[1][:-1]) for name in values if name.startswith("iteration")})
    budgets = sorted({int(name.split(" ")[2]) for name in values if name.startswith("at most")})
    figure, (learned, grown, thought) = new_figure(1, 3, figsize=(11, 3.5))
    spread = " (mean, lowest, highest run)"
    sampled = {i: values[f"iteration {i}: tokens sampled so far{spread}"][0] for i in iterations}
    later = [i for i in iterations if sampled[i] > 0]       # a logarithmic axis has no 0
    x = [sampled[i] / 1e6 for i in later]
    for task, color in COLORS.items():
        points = [values[f"iteration {i}: {task}, right"] for i in later]
        plot_band(learned, x, in_percent(points), color, task)
        start = 100 * values[f"iteration {iterations[0]}: {task}, right"][0]
        learned.axhline(start, color=color, lw=1, ls=":")
        points = [values[f"at most {budget} tokens of thinking: {task}, right"] for budget in budgets]
        plot_band(thought, budgets, in_percent(points), color, task)
    tries = [values[f"iteration {i}: tries at countdown{spread}"] for i in later]
    plot_band(grown, x, tries, COLORS["countdown"], "in RL")
    grown.axhline(values[f"iteration {iterations[0]}: tries at countdown{spread}"][0],
                  color=COLORS["countdown"], lw=1, ls=":", label="at its start")
    grown.axhline(most_tries, color="#333333", lw=1, ls="--", label="the most in any text it read")
    left, right = 0.9 * x[0], 1.1 * x[-1]
    ticks = [tick for tick in (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1, 2, 3, 5, 10) if left < tick < right]
    for axis, places in ((learned, ticks), (grown, ticks), (thought, budgets)):
        axis.set_xscale("log")
        axis.set_xticks(places, [f"{place:g}" for place in places])
        axis.minorticks_off()
    for axis in (learned, grown):       # both show the same training
        axis.set_xlim(left, right)
    for axis in (learned, thought):
        axis.set_ylim(0, 102)
    grown.set_ylim(bottom=0)
    learned.plot([], [], color="#333333", lw=1, ls=":", label="before RL")       # for the legend
    label(learned, "training: more RL", "million tokens sampled in RL", "held-out problems solved (%)")
    learned.legend(frameon=False, fontsize=8, loc="lower center", ncols=2)
    label(grown, "thoughts grow", "million tokens sampled in RL", "tries in an answer (countdown)")
    label(thought, "answering: more thinking", "tokens that it may think", "held-out problems solved (%)",
          legend=False)
    return figure


def main():
    parser = runs.make_parser("o1's two plots: more training, and more thinking.", num_seeds=3)
    args = runs.parse(parser)
    num_problems, budgets = (20, BUDGETS[1::3]) if args.fast else (1000, BUDGETS)
    jobs = {}
    for seed in args.seeds:
        file = f"two-plots-{num_problems}x{budgets[-1]}-{seed}"
        jobs[seed] = (runs.arm, file, args, measure, seed, num_problems, budgets, args)
    rows = rows_of(list(runs.work_off(jobs).values()))
    most_tries = runs.config_asked(args.flags).tasks.max_tries
    runs.save_rows("two_plots", "more training and more thinking both bring right answers", args.command,
                   args.seeds, num_problems, rows, most_tries=most_tries)
    runs.save_figure(draw(rows, most_tries), "two_plots")


if __name__ == "__main__":
    main()
