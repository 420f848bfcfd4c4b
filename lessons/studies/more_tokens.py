"""What do more tokens buy when a model answers? Claim C7, of lesson 13.

    python lessons/studies/more_tokens.py [--seeds 3]
    python lessons/studies/more_tokens.py --fast

The RL model thinks within budgets, and its answer is forced. The base, the cold start and the RL model answer
each problem 32 times: votes are counted, and pass@n, the chance that one of n answers is right. What is
measured of a run is kept in lessons/results/arms/.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))      # lessons/, where runs.py is

import runs
from runs import row
from shared import label, plot_band

from minireason.inference import answer_all, answer_within, vote
from minireason.stats import bootstrap_interval, pass_at_k
from minireason.tasks import test_problems
from minireason.tokenizer import get_tokenizer
from minireason.tools.plots import new_figure
from minireason.verifier import verify

TASKS = ("arithmetic", "countdown")
STAGES = {"base": "base", "cold start": "cold-start", "RL": "rl"}
COLORS = {"base": "#999999", "cold start": "#e0a030", "RL": "#7a4fa3"}
TASK_COLORS = {"arithmetic": "#1b6ca8", "countdown": "#d1495b"}
BUDGETS = (0, 8, 16, 32, 64, 128, 256)
tokenizer = get_tokenizer()


# -----------------------------------------------------------------------------
# Measuring one model. A point of a curve is a dict; "right" and the like hold a number for each problem.

def try_budgets(model, problems, budgets, seed=2):
    """A point for each budget: {"x": the budget, "tokens": mean length, "right", "unforced"}."""
    prompts = [problem.prompt for problem in problems]
    unforced = answer_all(model, tokenizer, prompts, budgets[-1] + 1, seed)
    points = []
    for budget in budgets:
        point = {"x": budget, "right": [], "unforced": []}
        forced = answer_within(model, tokenizer, prompts, budget, seed)
        point["tokens"] = sum(num_tokens for _, num_tokens in forced) / len(forced)
        for problem, (text, _), (plain_text, num_tokens) in zip(problems, forced, unforced):
            in_time = num_tokens <= budget + 1
            point["right"].append(int(verify(problem, text).correct))
            point["unforced"].append(int(in_time and verify(problem, plain_text).correct))
        points.append(point)
    return points


def share_of_votes(problem, texts, right, n):
    """Of the votes among n of the texts: the share that elects a right one."""
    num_right = 0
    for first in range(0, len(texts), n):
        elected, _ = vote(problem, texts[first:first + n])
        num_right += right[first + elected]
    return n / len(texts) * num_right


def try_many_answers(model, problems, num_samples, max_new_tokens, seed=3):
    """A point for n = 1, 2, 4 ...: {"x": n, "tokens": of n answers, "vote", "pass"}."""
    prompts = []
    for problem in problems:
        prompts += [problem.prompt] * num_samples
    answers = answer_all(model, tokenizer, prompts, max_new_tokens, seed)
    mean_tokens = sum(num_tokens for _, num_tokens in answers) / len(answers)
    points = []
    for exponent in range(num_samples.bit_length()):
        n = 2**exponent
        points.append({"x": n, "tokens": n * mean_tokens, "vote": [], "pass": []})
    for i, problem in enumerate(problems):
        texts = [text for text, _ in answers[i * num_samples:(i + 1) * num_samples]]
        right = [verify(problem, text).correct for text in texts]
        for point in points:
            point["vote"].append(share_of_votes(problem, texts, right, point["x"]))
            point["pass"].append(pass_at_k(num_samples, sum(right), point["x"]))
    return points


# -----------------------------------------------------------------------------
# All seeds

def measure(task, sizes, seed, args):
    """{"budget": points of the RL model, and for each stage the points of its answers}."""
    source = runs.whole_run(seed, args, needs="rl")
    problems = test_problems(task, (2, 3), sizes["num_problems"], seed=1234)
    curves = {}
    for name, stage in STAGES.items():
        model, _ = runs.open_model(source, stage)
        curves[name] = try_many_answers(model, problems, sizes["num_samples"], sizes["budgets"][-1])
        if name == "RL":
            curves["budget"] = try_budgets(model, problems, sizes["budgets"])
    return curves


def interval(measured, kind, i, key, other=None):
    """(value, low, high) of the i-th point of a curve, over seeds and problems.

    `other` is (kind, i, key) of a point whose value is subtracted, problem by problem.
    """
    columns = [[curves[kind][i][key] for curves in measured]]
    if other is not None:
        other_kind, j, other_key = other
        columns.append([curves[other_kind][j][other_key] for curves in measured])
    return bootstrap_interval(*columns)


def mean_tokens(measured, kind, i):
    return sum(curves[kind][i]["tokens"] for curves in measured) / len(measured)


def compared_with(measured, kind, i):
    """[(name, (kind, i, key))] that the i-th point of a curve is compared with."""
    if kind in ("base", "cold start"):
        return [("one answer of RL", ("RL", 0, "vote")), ("that of RL", ("RL", i, "pass"))]
    key = "right" if kind == "budget" else "vote"
    earlier = sorted({0, max(0, i - 1)} - {i})                       # the first point, and the one before
    return [(f"that of {measured[0][kind][j]['x']}", (kind, j, key)) for j in earlier]


def rows_of(task, measured):
    """Each point of each curve, and its differences."""
    rows = []
    for kind in ("budget", *STAGES):
        names = {"vote": "vote", "pass": "pass@n"}
        if kind == "budget":
            names = {"right": "right", "unforced": "right, nothing forced"}
        for i, point in enumerate(measured[0][kind]):
            title = f"{task}, {kind} {point['x']:2}, {mean_tokens(measured, kind, i):.0f} tokens"
            for key, name in names.items():
                rows.append(row(f"{title}: {name}", *interval(measured, kind, i, key)))
            for other_name, other in compared_with(measured, kind, i):
                key = other[2]
                difference = interval(measured, kind, i, key, other)
                rows.append(row(f"{title}: {names[key]}, less {other_name}", *difference))
    return rows


def plot_curve(axis, measured, kind, key, color, name, against_tokens=True):
    """A curve with its 95% band, against the mean tokens of an answer or against n."""
    x, intervals = [], []
    for i, point in enumerate(measured[0][kind]):
        x.append(mean_tokens(measured, kind, i) if against_tokens else point["x"])
        intervals.append(interval(measured, kind, i, key))
    plot_band(axis, x, intervals, color, name)
    return x, intervals


def draw(by_task, title):
    """Three pictures: a budget of thinking, many answers of the RL model, and pass@k of three models."""
    figure, axes = new_figure(1, 3, figsize=(10, 3.6))
    for task, color in TASK_COLORS.items():
        measured = by_task[task]
        x, intervals = plot_curve(axes[0], measured, "budget", "right", color, task)
        for i, point in enumerate(measured[0]["budget"]):
            axes[0].plot(x[i], intervals[i][0], "o", ms=3, color=color)
            is_apart = i > 0 and x[i] > 1.1 * x[i - 1] and intervals[i][0] > 0.2
            if i == 0 or is_apart:          # low points crowd, and some lie on each other
                offset, side = ((-3, 3), "right") if i > 0 else ((0, 4), "center")
                axes[0].annotate(point["x"], (x[i], intervals[i][0]), offset, color=color, fontsize=7,
                                 textcoords="offset points", ha=side)
        unforced = [interval(measured, "budget", i, "unforced")[0] for i in range(len(x))]
        axes[0].plot(x, unforced, ":", color=color)
        plot_curve(axes[1], measured, "RL", "vote", color, f"{task}, vote")
        x, intervals = plot_curve(axes[1], measured, "RL", "pass", color, None)
        axes[1].plot(x, [middle for middle, low, high in intervals], "--", color="white", lw=0.8)
    for name, color in COLORS.items():
        plot_curve(axes[2], by_task["countdown"], name, "pass", color, name, against_tokens=False)
    label(axes[0], "numbers: the budget of thinking", "tokens of an answer, mean",
          "right, % (dotted: nothing forced)", legend=False)
    label(axes[1], title, "tokens of n = 1, 2, 4 ... answers", "right, %, from 70 up (broken line: pass@n)")
    label(axes[2], "countdown: pass@k", "k, number of answers", "pass@k, %")
    for axis in axes:
        axis.set_xscale("log", base=2)
        axis.xaxis.set_major_formatter(lambda x, _: f"{x:g}")
        axis.set_ylim(0, 1.02)
        axis.yaxis.set_major_formatter(lambda y, _: f"{100 * y:g}")
    axes[1].set_ylim(0.7, 1.005)
    axes[0].legend(frameon=False, fontsize=7, loc="upper left")
    return figure


def main():
    args = runs.parse(runs.make_parser(__doc__.splitlines()[0], num_seeds=3))
    # num_samples is a power of two: `share_of_votes` needs votes of equal size
    sizes = {"num_problems": 1000, "num_samples": 32, "budgets": BUDGETS}
    if args.fast:
        sizes = {"num_problems": 10, "num_samples": 4, "budgets": (0, 16, 64)}
    jobs, rows = {}, []
    for task in TASKS:
        for seed in args.seeds:
            file = f"C7-{task}-{sizes['num_problems']}x{sizes['num_samples']}-{seed}"
            jobs[task, seed] = (runs.arm, file, args, measure, task, sizes, seed, args)
    by_task = runs.by_seed(runs.work_off(jobs))
    for task in TASKS:
        rows += rows_of(task, by_task[task])
    runs.save_claim(7, "more thought is more often right", args.command, args.seeds, sizes["num_problems"],
                    rows)
    title = f"many answers ({len(args.seeds)} seeds)"
    runs.save_figure(draw(by_task, title), "C7")


if __name__ == "__main__":
    main()
