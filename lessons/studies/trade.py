"""Do compute for training and compute for thinking trade? Claim C19.

    python lessons/studies/trade.py [--seeds 3]
    python lessons/studies/trade.py --fast

Six models of RL's way, from its start to its end, answer as in more_tokens.py: within budgets of thinking,
and several times with a vote. So each has a curve: the share right against the tokens of a question. Where
such curves reach, for example, 60% is a line of equal accuracy: less training and longer answers, or the
reverse.
"""

import itertools
import math
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))      # lessons/, where runs.py is

import numpy as np
import runs
from more_tokens import BUDGETS, TASK_COLORS, TASKS, try_budgets, try_many_answers
from runs import row
from shared import label

from minireason.run import PRETRAINED
from minireason.snapshots import iterations_to_keep
from minireason.stats import bootstrap_interval
from minireason.tasks import test_problems
from minireason.tools.plots import new_figure

LEVELS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)        # of the lines of equal accuracy
QUESTIONS = {10**4: "#eda9b1", 10**5: "#d1495b", 10**6: "#7a1626"}      # that share the cost of training
TICKS = (24, 32, 48, 64, 96, 128, 192, 256, 512, 1024)        # of tokens, in the figure
LEARNING = 3            # a token that is learned from costs so many times one that is read: forward, backward


# -----------------------------------------------------------------------------
# Curves: [(tokens, share right)]

def frontier(points):
    """The points that are more often right than every cheaper one, the cheapest first."""
    kept = []
    for tokens, share in sorted(points):
        if not kept or share > kept[-1][1]:
            kept.append((tokens, share))
    return kept


def tokens_needed(points, level):
    """With how many tokens the frontier of the points reaches the level; infinite if it does not.

    Between two points it is a straight line over the logarithm of the tokens.
    """
    before = None
    for tokens, share in frontier(points):
        if share < level:
            before = (tokens, share)
            continue
        if before is None:
            return tokens
        part = (level - before[1]) / (share - before[1])
        return math.exp(math.log(before[0]) + part * (math.log(tokens) - math.log(before[0])))
    return math.inf


def training_tokens(lines, iterations):
    """The cost of the first iterations of RL: how many tokens could be read for it.

    Each token is sampled once, which counts as reading it. The share in groups with a signal is learned from
    as well, which costs LEARNING times as much.
    """
    total = 0.0
    for line in lines[:iterations]:
        total += line["num_tokens"] * (1 + LEARNING * (1 - line["zero_std_frac"]))
    return total


# -----------------------------------------------------------------------------
# Measuring

def measure(model, task, sizes):
    """{"points": [{"name", "tokens": of a question, "right": a number for each problem}]} of one model."""
    problems = test_problems(task, (2, 3), sizes["num_problems"], seed=1234)
    points = []
    for point in try_budgets(model, problems, sizes["budgets"]):
        points.append({"name": f"budget {point['x']}", "tokens": point["tokens"], "right": point["right"]})
    many = try_many_answers(model, problems, sizes["num_samples"], sizes["budgets"][-1])
    for point in many:
        points.append({"name": f"vote {point['x']}", "tokens": point["tokens"], "right": point["vote"]})
    for point in points:
        point["tokens"] = round(point["tokens"], 2)
        point["right"] = [round(share, 4) for share in point["right"]]
    return {"points": points}


def evenly(items, number):
    """So many of the items, the first and the last among them."""
    if len(items) <= number:
        return items
    return [items[round(i * (len(items) - 1) / (number - 1))] for i in range(number)]


def iterations_of(number, args):
    """After how many iterations of RL the models answer: so many, from its start to its end.

    The settings say it, so a clone that has the arms needs no run.
    """
    config = runs.config_of_source(PRETRAINED) if args.fast else runs.config_asked(args.flags)
    return evenly([0, *iterations_to_keep(config), config.rl.num_iterations], number)


def measure_model(iteration, task, sizes, seed, args):
    """`measure` of one model of a whole run, which is trained if it is not there."""
    models = dict(runs.rl_models(runs.whole_run(seed, args, needs="rl")))
    return measure(models[iteration], task, sizes)


def mean_costs(iterations, args):
    """{iteration: `training_tokens` until there, the mean over the seeds}. As in JSON, the keys are texts."""
    lines_of_seeds = []
    for seed in args.seeds:
        source = runs.whole_run(seed, args, needs="rl")
        lines_of_seeds.append(runs.curve(source, "rl"))
    costs = {}
    for iteration in iterations:
        of_seeds = [training_tokens(lines, iteration) for lines in lines_of_seeds]
        costs[str(iteration)] = float(np.mean(of_seeds))
    return costs


class Curve:
    """One model on one task, over the seeds. `arms` are what `measure` returned, one for each seed.

    `training` is what its RL cost, in tokens.
    """

    def __init__(self, iteration, arms, training):
        self.iteration, self.training = iteration, training
        self.names = [point["name"] for point in arms[0]["points"]]
        right, tokens = [], []
        for arm in arms:
            right.append([point["right"] for point in arm["points"]])
            tokens.append([point["tokens"] for point in arm["points"]])
        self.right = np.array(right, dtype=float).transpose(0, 2, 1)      # (seeds, problems, points)
        # tokens are means over the problems: (seeds, points), repeated for each problem
        self.tokens = np.broadcast_to(np.array(tokens)[:, None], self.right.shape)

    def right_of(self, name):
        """(seeds, problems) at one point."""
        return self.right[:, :, self.names.index(name)]

    def points(self):
        """[(tokens, share right)]."""
        return points_of(self.right, self.tokens)

    def needed_interval(self, level):
        """(value, low, high) of `tokens_needed`, over seeds and problems. All three may be infinite."""
        def needed(right, tokens):
            return tokens_needed(points_of(right, tokens), level)
        return runs.bootstrap(needed, self.right, self.tokens)


def points_of(right, tokens):
    """[(tokens, share right)] from arrays (seeds, problems, points)."""
    return list(zip(tokens.mean((0, 1)).tolist(), right.mean((0, 1)).tolist()))


# -----------------------------------------------------------------------------
# All seeds

def rows_of(task, curves):
    """Each point of each model, what each level needs, and one answer of the last model less the first's
    votes."""
    rows = []
    for curve in curves:
        title = f"{task}, iteration {curve.iteration}"
        rows.append(row(f"{title}: training tokens", curve.training))
        for name, (tokens, _) in zip(curve.names, curve.points()):
            rows.append(row(f"{title}, {name}: right", *bootstrap_interval(curve.right_of(name))))
            rows.append(row(f"{title}, {name}: tokens", tokens))
        for level in LEVELS:
            value, low, high = curve.needed_interval(level)
            if not math.isinf(value):
                rows.append(row(f"{title}, {level:.0%}: tokens needed", value, low, high))
    first, last = curves[0], curves[-1]
    for name in first.names:
        if name.startswith("vote"):
            difference = bootstrap_interval(last.right_of("vote 1"), first.right_of(name))
            rows.append(row(f"{task}: one answer at the end less {name} at the start", *difference))
    return rows


def draw_lines(axis, task, curves):
    """Lines of equal accuracy: tokens of RL, and tokens of a question."""
    color, lowest_label = TASK_COLORS[task], math.inf
    for level in reversed(LEVELS):
        found = []
        for curve in curves:
            needed = tokens_needed(curve.points(), level)
            if not math.isinf(needed):
                found.append((curve.training / 1e6, needed))
        if found:
            x, y = zip(*found)
            axis.plot(x, y, "o-", ms=3, color=color, alpha=0.3 + 0.7 * level)
            if y[-1] < lowest_label / 1.06:         # else the labels would lie on each other
                axis.annotate(f"{level:.0%}", (x[-1], y[-1]), (4, -3), textcoords="offset points", fontsize=7)
                lowest_label = y[-1]
    axis.set_yscale("log", base=2)
    lowest, highest = axis.get_ylim()
    axis.set_yticks([tokens for tokens in TICKS if lowest < tokens < highest])
    axis.yaxis.set_major_formatter(lambda y, _: f"{y:g}")
    label(axis, f"{task}: lines of equal accuracy", "cost of RL, million tokens",
          "tokens spent on a question")


def draw_totals(axis, curves, task):
    """The best share right against the tokens of a question, its part of the cost of RL included.

    A curve for each of QUESTIONS: how many questions share that cost.
    """
    for number, color in QUESTIONS.items():
        points = []
        for curve in curves:
            for tokens, share in curve.points():
                points.append((tokens + curve.training / number, 100 * share))
        x, y = zip(*frontier(points))
        axis.step(x, y, where="post", color=color, label=f"{number:,} questions")
    axis.set_xscale("log", base=2)
    axis.xaxis.set_major_formatter(lambda x, _: f"{x:g}")
    label(axis, f"{task}: training counted", "tokens of a question, with its part of RL",
          "right at best, %")


def draw(by_task):
    figure, axes = new_figure(1, 3, figsize=(10, 3.4))
    for axis, task in zip(axes, TASKS):
        draw_lines(axis, task, by_task[task])
    draw_totals(axes[2], by_task["countdown"], "countdown")
    return figure


def main():
    args = runs.parse(runs.make_parser(__doc__.splitlines()[0], num_seeds=3))
    # num_samples is a power of two: `share_of_votes` needs votes of equal size
    sizes = {"num_problems": 1000, "num_samples": 16, "budgets": BUDGETS, "num_models": 6}
    if args.fast:
        sizes = {"num_problems": 8, "num_samples": 2, "budgets": (0, 16, 48), "num_models": 3}
    iterations, jobs = iterations_of(sizes["num_models"], args), {}
    for seed, iteration, task in itertools.product(args.seeds, iterations, TASKS):
        file = f"C19-{task}-{iteration}-{seed}"
        jobs[(task, iteration), seed] = (
            runs.arm, file, args, measure_model, iteration, task, sizes, seed, args)
    measured = runs.by_seed(runs.work_off(jobs))                   # {(task, iteration): an arm of each seed}
    file = f"C19-cost-of-{len(args.seeds)}-seeds-{len(iterations)}-models"
    costs = runs.arm(file, args, mean_costs, iterations, args)
    by_task, rows = {}, []
    for task in TASKS:
        by_task[task] = []
        for iteration in iterations:
            by_task[task].append(Curve(iteration, measured[task, iteration], costs[str(iteration)]))
        rows += rows_of(task, by_task[task])
    runs.save_claim(19, "Train compute and inference compute trade", args.command, args.seeds,
                    sizes["num_problems"], rows,
                    iterations=iterations)
    runs.save_figure(draw(by_task), "C19")


if __name__ == "__main__":
    main()
