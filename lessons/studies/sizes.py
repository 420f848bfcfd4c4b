"""Does RL work only from some size on? Claim C17.

    python lessons/studies/sizes.py [--seeds 3]
    python lessons/studies/sizes.py --fast

Bases of some widths, and bases of one width that read fewer documents. Each goes on with pure RL, straight
from the base. What RL gains is shown against the base's pass@1. Two reasons are looked at. Groups without a
signal: if all answers are wrong, or all are right, GRPO learns nothing from them. And wrong steps: a thought
is worth its tokens only if its steps are mostly right.

Learning rates are those of the preset laptop times 128 / width, as the best rate of Adam falls with the
width. None was searched for.
"""

import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))      # lessons/, where runs.py is

import runs
from runs import row
from shared import error_bars, label

from minireason.config import ModelConfig, preset
from minireason.stats import bootstrap_interval
from minireason.tokenizer import get_tokenizer
from minireason.tools.memory import count_parameters
from minireason.tools.plots import new_figure

TASKS = ("arithmetic", "countdown")
STAGES = ("base", "rl")
SHARES = {"wrong_steps": "wrong steps", "thinks": "answers that think"}     # of all steps, of all answers
COLORS = {"arithmetic": "#1b6ca8", "countdown": "#d1495b"}
NO_TASK = "#444444"         # the colour of what is of all tasks
SHAPES = "vso*XDP"          # of the bases, in the order of SIZES
FULL = preset("laptop").base.num_examples
SIZES = ((32, FULL), (64, FULL), (128, FULL), (256, FULL),      # width, and documents of the base
         (128, 20_000), (128, 40_000), (128, 80_000))
FIRST = 10          # iterations of RL over which groups without a signal are counted


# -----------------------------------------------------------------------------
# Runs

def measure(width, num_documents, seed, args):
    """Of one run: {"base" and "rl": {task: "0110..."}, "wrong_steps" and "thinks": {stage: {task: a share}},
    "reward" and "zero_std_frac": [by iteration]}."""
    folder = runs.sized_run(width, num_documents, seed, args)
    scores = runs.or_exit(runs.read_results, folder)["stages"]
    measured = {name: {} for name in SHARES}
    for stage in STAGES:
        measured[stage] = {task: scores[stage][task]["outcomes"] for task in TASKS}
        for name in SHARES:
            measured[name][stage] = {task: scores[stage][task][name] for task in TASKS}
    lines = runs.curve(folder, "rl")
    for name in ("reward", "zero_std_frac"):
        measured[name] = [round(line[name], 4) for line in lines]
    return measured


def right(measured, stage, task):
    """0 or 1 on each problem, for each seed."""
    by_seed = []
    for of_seed in measured:
        by_seed.append(runs.bits(of_seed[stage][task]))
    return by_seed


def shares_of(measured, name, stage, task):
    """One of SHARES, for each seed. A run without any step, as --fast may have, has no wrong one: 0."""
    return [of_seed[name][stage][task] or 0.0 for of_seed in measured]


def at_first(measured, name):
    """The mean of a curve over the first iterations, for each seed."""
    means = []
    for of_seed in measured:
        values = of_seed[name][:FIRST]
        means.append(sum(values) / len(values))
    return means


# -----------------------------------------------------------------------------
# Numbers

def silent_share(p, group_size):
    """The share of groups without a signal, if each answer of each problem is right with chance p."""
    return p**group_size + (1 - p)**group_size


def num_parameters(width):
    vocab_size = get_tokenizer().vocab_size
    config = ModelConfig(vocab_size=vocab_size, width=width, mlp_width=runs.mlp_width(width))
    return count_parameters(config)[0]


def title_of(size):
    width, num_documents = size
    return f"width {width}, {num_documents:,} documents"


def rows_of(by_size):
    """Each size: pass@1 of the base and after RL, the gain, and its groups without a signal."""
    rows = []
    for size, measured in by_size.items():
        rows.append(row(f"{title_of(size)}: parameters", num_parameters(size[0])))
        for task in TASKS:
            before, after = right(measured, "base", task), right(measured, "rl", task)
            rows.append(row(f"{title_of(size)}: {task}, base", *bootstrap_interval(before)))
            rows.append(row(f"{title_of(size)}: {task}, RL", *bootstrap_interval(after)))
            rows.append(row(f"{title_of(size)}: {task}, RL less base", *bootstrap_interval(after, before)))
            for name, title in SHARES.items():
                for stage in STAGES:
                    shares = shares_of(measured, name, stage, task)
                    rows.append(runs.row_of_runs(f"{title_of(size)}: {task}, {title}, {stage}", shares))
        for name, key in (("reward at first", "reward"), ("no signal at first", "zero_std_frac")):
            shares = at_first(measured, key)
            rows.append(row(f"{title_of(size)}: {name}", sum(shares) / len(shares), min(shares), max(shares)))
    return rows


def draw(by_size, group_size):
    """Gain against the base's pass@1; groups without a signal; wrong steps before and after RL."""
    figure, axes = new_figure(1, 3, figsize=(10, 3.6))
    for task, color in COLORS.items():
        for shape, measured in zip(SHAPES, by_size.values()):
            before, after = right(measured, "base", task), right(measured, "rl", task)
            share = 100 * bootstrap_interval(before)[0]
            gain = [100 * end for end in bootstrap_interval(after, before)]
            y, errors = error_bars([gain])
            axes[0].errorbar([share], y, errors, fmt=shape, ms=6, color=color, lw=1, capsize=2)
    axes[0].axhline(0, color="black", lw=0.6)
    axes[0].set_xlim(left=0)
    for task, color in COLORS.items():
        axes[0].plot([], [], lw=3, color=color, label=task)
    axes[0].legend(frameon=False, fontsize=8, loc="upper right")
    label(axes[0], "what RL gains", "pass@1 of the base, %", "points gained by RL", legend=False)

    for shape, (size, measured) in zip(SHAPES, by_size.items()):
        reward, silent = at_first(measured, "reward"), at_first(measured, "zero_std_frac")
        axes[1].plot(reward, silent, shape, ms=6, color=NO_TASK, markeredgecolor="white", markeredgewidth=0.5)
        axes[1].plot([], [], shape, ms=6, color=NO_TASK, label=name_of(size))
    chances = [i / 100 for i in range(101)]
    axes[1].plot(chances, [silent_share(p, group_size) for p in chances], color="#999999",
                 label="if all problems were equally hard")
    axes[1].set_ylim(-0.02, 1.02)
    label(axes[1], f"groups of {group_size} without a signal",
          f"mean reward, first {FIRST} iterations of a run",
          "share of these groups", legend=False)
    axes[1].legend(frameon=False, fontsize=8, loc="upper center")

    for place, (shape, measured) in enumerate(zip(SHAPES, by_size.values())):
        for task, color in COLORS.items():
            before, after = (100 * statistics.mean(shares_of(measured, "wrong_steps", stage, task))
                             for stage in STAGES)
            x = place + 0.2 * TASKS.index(task)
            axes[2].plot((x, x), (before, after), lw=1, color=color)
            axes[2].plot(x, before, shape, ms=6, color=color)
            axes[2].plot(x, after, shape, ms=6, color=color, markerfacecolor="white")
    axes[2].set_xticks(range(len(by_size)), [short_title(size) for size in by_size])
    axes[2].set_ylim(0, 100)
    label(axes[2], "wrong steps (filled: base, hollow: RL)", "base: its width, or documents it read",
          "% of the steps", legend=False)
    return figure


def short_title(size):
    """The width of a base, or how many documents it read if that is less: `64`, `20k`."""
    width, num_documents = size
    return f"{width}" if num_documents == FULL else f"{num_documents / 1000:g}k"


def name_of(size):
    """The name of a base in the legend: `width 64`, `20k documents`."""
    return f"width {short_title(size)}" if size[1] == FULL else f"{short_title(size)} documents"


def main():
    parser = runs.make_parser(__doc__.splitlines()[0], num_seeds=3)
    args = runs.parse(parser)
    sizes = ((32, 100), (32, 400)) if args.fast else SIZES
    jobs = {}
    for size in sizes:
        for seed in args.seeds:
            width, num_documents = size
            name = f"C17-{width}-{num_documents}-{seed}"
            jobs[size, seed] = (runs.arm, name, args, measure, width, num_documents, seed, args)
    by_size = runs.by_seed(runs.work_off(jobs))                    # {size: an arm of each seed}
    config = runs.config_asked(args.flags)
    runs.save_claim(17, "It only works from some size on", args.command, args.seeds,
                    config.evaluate.num_problems, rows_of(by_size),
                    sizes=[title_of(size) for size in by_size])
    runs.save_figure(draw(by_size, config.rl.group_size), "C17")


if __name__ == "__main__":
    main()
