"""Figures, drawn only from saved numbers (results.json and metrics.jsonl)."""

import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PALETTE = ("#1b6ca8", "#d1495b", "#5a9a5a", "#e0a030", "#7a4fa3", "#5b6875")
CURVES = {      # key of a metric -> title of its curve
    "reward": "reward",
    "completion_length": "tokens per completion",
    "entropy": "entropy (nats)",
    "kl": "KL to the start",
    "approx_kl": "KL of one update",
    "zero_std_frac": "groups without a signal",
}
Curve = tuple[list[int], list[float]]      # (steps, values) of one run
HELD_OUT = "held_out_"      # begins the keys of held-out pass@1 in metrics.jsonl; the name of a task follows
HELD_OUT_TITLE = "held-out "     # stands in the title of such a curve in `plot_groups`, before the task
MEBIBYTE = 2**20


def import_matplotlib() -> None:
    """Imports matplotlib, whatever the environment variable MPLBACKEND says.

    A process started from a notebook inherits the notebook's backend. Where that is not installed, the import
    would fail, although no figure here needs a backend. Where it is installed, it stays the caller's choice.
    """
    if "matplotlib" in sys.modules:
        return
    backend = os.environ.pop("MPLBACKEND", None)
    import matplotlib
    if backend:
        os.environ["MPLBACKEND"] = backend
        try:
            matplotlib.rcParams["backend"] = backend
        except ValueError:      # not installed
            pass


def new_figure(*shape: int, figsize: tuple[float, float], **settings) -> tuple:
    """A new figure and its axes: one, or an array of them if `shape` gives (rows, columns).

    Does not use pyplot, so no window, backend or close() is needed. Matplotlib is imported here because the
    import takes half a second, and commands that draw nothing should not wait for it.
    """
    import_matplotlib()
    from matplotlib.figure import Figure
    figure = Figure(figsize=figsize, layout="constrained")
    return figure, figure.subplots(*shape, **settings)


def color_of(position: int) -> str:
    """The colour of the task, or group of runs, at a position. After the last colour they start again."""
    return PALETTE[position % len(PALETTE)]


WINDOW = 9      # values of which a smoothed curve shows the mean


def smooth(values: Sequence[float], window: int = WINDOW) -> list[float]:
    """Running mean over the last `window` values."""
    means = []
    for end in range(1, len(values) + 1):
        recent = values[max(0, end - window):end]
        means.append(sum(recent) / len(recent))
    return means


# -----------------------------------------------------------------------------
# Stages

def bar_offsets(num_tasks: int) -> tuple[list[float], float]:
    """Where the bars of one stage stand, from the middle of the stage. Returns (offsets, width of a bar)."""
    distance = min(0.26, 0.78 / num_tasks)      # all bars of a stage fit into 0.78; the next stage is 1 away
    width = distance - 0.02                     # leaves a gap between two bars
    middle = (num_tasks - 1) / 2
    return [(position - middle) * distance for position in range(num_tasks)], width


def plot_stages(stages: dict, tasks: list[str], path: Path) -> None:
    """Bars of held-out pass@1 by stage and task, with their 95% intervals."""
    figure, axes = new_figure(figsize=(7.2, 3.6))
    offsets, width = bar_offsets(len(tasks))
    for position, task in enumerate(tasks):
        rates = [result[task]["accuracy"] for result in stages.values()]
        x = [stage + offsets[position] for stage in range(len(stages))]
        percents = [100 * rate["value"] for rate in rates]
        below = [100 * (rate["value"] - rate["low"]) for rate in rates]
        above = [100 * (rate["high"] - rate["value"]) for rate in rates]
        axes.bar(x, percents, width, yerr=[below, above], capsize=2, color=color_of(position),
                 label=f"{task} (n={rates[0]['num_problems']})")
        for bar_x, percent, below_it, error in zip(x, percents, below, above):
            if percent - below_it > 10:
                axes.text(bar_x, 3, f"{percent:.0f}", ha="center", color="white", fontsize=8)
            else:       # in so low a bar the line of the interval would cross the number
                top = percent + error
                axes.text(bar_x, top + 1, f"{percent:.0f}", ha="center", color="#444444", fontsize=8)
    axes.set_xticks(range(len(stages)), list(stages))
    axes.set_ylabel("held-out pass@1, %")
    axes.set_ylim(0, 100)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(frameon=False, fontsize=8, ncols=3, loc="outside upper left")      # above the bars
    figure.savefig(path, dpi=150)


# -----------------------------------------------------------------------------
# Training curves

def has_curve(lines: list[dict[str, float]], key: str) -> bool:
    """Whether a metric is ever more than rounding. With one update per rollout, `approx_kl` is not."""
    return any(abs(line.get(key, 0)) > 1e-6 for line in lines)


def whole_steps(axes: Any) -> None:
    """Has the ticks of the x axis at whole numbers alone."""
    axes.xaxis.get_major_locator().set_params(integer=True)


def plot_curves(lines: list[dict[str, float]], path: Path, title: str) -> None:
    """The metrics of CURVES over the iterations of a stage. `lines` is what `metrics.read` returned."""
    keys = [key for key in CURVES if has_curve(lines, key)]
    figure, grid = new_figure(2, 3, figsize=(9, 4.6))
    for axes, key in zip(grid.flat, keys):
        iterations = [line["iteration"] + 1 for line in lines if key in line]
        values = [line[key] for line in lines if key in line]
        axes.plot(iterations, values, color="#b9c7d6", linewidth=0.8)
        axes.plot(iterations, smooth(values), color="#1b6ca8", linewidth=1.6)
        axes.set_title(CURVES[key], fontsize=9, loc="left")
        whole_steps(axes)
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in grid.flat[len(keys):]:
        axes.set_visible(False)
    for axes in grid[1]:
        axes.set_xlabel("iteration", fontsize=8)
    figure.suptitle(title, fontsize=10)
    figure.savefig(path, dpi=150)


def held_out_tasks(lines: list[dict[str, float]]) -> list[str]:
    """The tasks whose held-out pass@1 was measured during a stage, in the order of the lines' keys."""
    tasks = []
    for line in lines:
        for key in line:
            task = key.removeprefix(HELD_OUT)
            if key.startswith(HELD_OUT) and task not in tasks:
                tasks.append(task)
    return tasks


def plot_held_out(lines: list[dict[str, float]], path: Path, title: str) -> None:
    """Held-out pass@1 during a stage, at the steps at which --evaluate-every measured it."""
    figure, axes = new_figure(figsize=(5.4, 3.2))
    for position, task in enumerate(held_out_tasks(lines)):
        measured = [line for line in lines if HELD_OUT + task in line]
        steps = [line["iteration"] + 1 for line in measured]
        percents = [100 * line[HELD_OUT + task] for line in measured]
        axes.plot(steps, percents, marker="o", markersize=3, color=color_of(position), label=task)
    whole_steps(axes)
    axes.set_xlabel("steps", fontsize=9)
    axes.set_ylabel("held-out pass@1, %", fontsize=9)
    axes.set_ylim(0, 100)
    axes.set_title(title, fontsize=10, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=150)


def plot_groups(panels: dict[str, list[list[Curve]]], labels: list[str], path: Path) -> None:
    """The curves of several groups of runs over each other, a panel for each metric.

    `panels` is {title: a list for each group, with a curve for each of its runs}. A thin line is one run, a
    thick one the mean of its group. `labels` are the names of the groups. A title with
    HELD_OUT_TITLE in it is of a curve that was not smoothed.
    """
    num_rows = math.ceil(len(panels) / 3)
    figure, grid = new_figure(num_rows, 3, figsize=(9, 2.2 * num_rows + 0.4), squeeze=False)
    for axes, (title, groups) in zip(grid.flat, panels.items()):
        for position, curves in enumerate(groups):
            draw_group(axes, curves, color_of(position))
        axes.set_title(title, fontsize=9, loc="left")
        whole_steps(axes)
        axes.tick_params(labelsize=8)
        is_smoothed = HELD_OUT_TITLE not in title
        axes.set_xlabel(f"step (means of the last {WINDOW})" if is_smoothed else "step", fontsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in grid.flat[len(panels):]:
        axes.set_visible(False)
    for position, label in enumerate(labels):      # empty lines, for the legend alone
        grid[0][0].plot([], [], color=color_of(position), label=label)
    figure.legend(loc="outside upper left", frameon=False, fontsize=8, ncols=min(2, len(labels)))
    figure.savefig(path, dpi=150)


def draw_group(axes: Any, curves: list[Curve], color: str) -> None:
    """One metric of a group: a thin line for each run, a thick one for their mean at steps that all have."""
    by_step = []        # {step: value} of each run
    for steps, values in curves:
        axes.plot(steps, values, color=color, linewidth=0.7, alpha=0.5)
        by_step.append(dict(zip(steps, values)))
    if not curves:
        return
    common = set(by_step[0])
    for of_run in by_step:
        common &= of_run.keys()
    steps, means = sorted(common), []
    for step in steps:
        means.append(sum(of_run[step] for of_run in by_step) / len(by_step))
    axes.plot(steps, means, color=color, linewidth=1.6)


# -----------------------------------------------------------------------------
# Memory

def memory_label(mebibytes: int) -> str:
    """Example: 4096 is "4 GiB"."""
    if mebibytes < 2**10:
        return f"{mebibytes} MiB"
    if mebibytes < 2**20:
        return f"{mebibytes // 2**10} GiB"
    return f"{mebibytes // 2**20} TiB"


def plot_memory(panels: Sequence, sizes: list[int], curves: dict[str, tuple[list[int], int]]) -> None:
    """Draws peak memory against group size into panels (axes), one for each kind of accounting.

    `curves` is {kind: (bytes of GRPO at each size, bytes of PPO with one completion a prompt)}.
    """
    for axes, (kind, (grpo_bytes, ppo_bytes)) in zip(panels, curves.items()):
        grpo_mebibytes = [number / MEBIBYTE for number in grpo_bytes]
        axes.plot(sizes, grpo_mebibytes, "o-", ms=3, color="#1b6ca8", label="GRPO")
        axes.axhline(ppo_bytes / MEBIBYTE, color="#d1495b", label="PPO, one completion a prompt")
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xticks(sizes[1::2], sizes[1::2])
        lowest = min(grpo_mebibytes) / 2
        highest = 2 * max(*grpo_mebibytes, 4 * ppo_bytes / MEBIBYTE)    # leaves room for the legend
        factor = 2 if highest < 64 * lowest else 4                      # from one tick to the next
        ticks = [factor**power for power in range(24)]                  # 1 MiB, and more
        axes.set_yticks(ticks, [memory_label(tick) for tick in ticks])
        axes.minorticks_off()
        axes.set_ylim(lowest, highest)
        axes.set_xlabel("completions a prompt, G")
        axes.set_title(kind, fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("peak memory, by formula")
    panels[0].legend(frameon=False, fontsize=8)


BYTE_COLORS = {      # row of the ledger -> colour; the three of the policy's own state are blue
    "weights": "#12507f", "gradients": "#4d94c7", "optimizer": "#b9d3e8", "reference": "#5a9a5a",
    "critic": "#d1495b", "rollout": "#7a4fa3", "activations": "#e0a030", "key-value cache": "#5b6875"}


def plot_bytes(axes: Any, ledgers: dict[str, dict[str, int]], title: str) -> None:
    """Draws a stacked bar for each ledger {row: bytes} of `ledgers` {name: ledger}.

    A label says how high the bar is, and how many times as high as the first one. Updates hold activations
    and sampling holds a cache, but never at once: so only the larger of the two is drawn.
    """
    first_peak = None
    for position, rows in enumerate(ledgers.values()):
        smaller = min("activations", "key-value cache", key=rows.get)
        bottom = 0.0
        for row, num_bytes in rows.items():
            if row != smaller:
                axes.bar([position], [num_bytes / MEBIBYTE], 0.62, bottom=bottom, color=BYTE_COLORS[row])
                bottom += num_bytes / MEBIBYTE
        first_peak = first_peak or bottom
        size = f"{bottom / 2**10:,.0f} GiB" if bottom >= 2**10 else f"{bottom:,.0f} MiB"
        label = size if position == 0 else f"{size}\n{bottom / first_peak:.2f} times"
        axes.text(position, bottom, label, ha="center", va="bottom", fontsize=8)
    axes.set_ylim(0, axes.get_ylim()[1] * 1.15)        # room for the labels
    axes.set_xticks(range(len(ledgers)), list(ledgers), fontsize=8)
    axes.set_yticks([])
    axes.set_title(title, fontsize=9)
    axes.spines[["top", "right", "left"]].set_visible(False)


def byte_legend(figure: Any, axes: Any, rows: list[str]) -> None:
    """Adds a legend to the figure that says which row of a ledger has which colour in `plot_bytes`."""
    for row in reversed(rows):                  # from top to bottom, as in the bars
        axes.bar([0], [0], color=BYTE_COLORS[row], label=row)       # of height 0: for the legend alone
    figure.legend(loc="outside right center", frameon=False, fontsize=8)


# -----------------------------------------------------------------------------
# Thinking

SCALES = "each histogram is scaled to its own highest bar; answers cut off stand in the last bar of tokens"

def plot_thinking(panels: list[dict], path: Path) -> None:
    """How many tries and tokens texts and answers have: a column for each panel, a row for each histogram.

    A panel is a dict with
        title   of its column
        width   of a bar: 1 try, or several tokens
        most    the most tries that any text has: a line is drawn there; None for no line
        rows    {name: (histogram of all, histogram of the right ones, mean of all)}
    A histogram is {tries or tokens: how many}.
    """
    names = list(panels[0]["rows"])
    figure, grid = new_figure(len(names), len(panels), sharex="col", squeeze=False,
                              figsize=(0.6 + 2.2 * len(panels), 0.7 + 0.85 * len(names)))
    for column, panel in zip(grid.T, panels):
        for axes, name in zip(column, names):
            draw_thinking(axes, *panel["rows"][name], panel["width"], panel["most"])
        column[0].set_title(panel["title"], fontsize=9, loc="left")
        column[-1].set_xlabel("tries" if panel["width"] == 1 else "tokens", fontsize=8)
    for axes, name in zip(grid[:, 0], names):
        axes.set_ylabel(name, fontsize=8, rotation=0, ha="right", va="center")
    grid[0][0].bar([1], [0], color="#b9c7d6", label="all")        # no bars: for the legend alone
    grid[0][0].bar([1], [0], color=PALETTE[0], label="of these, right")
    grid[0][0].plot([], [], color=PALETTE[1], linewidth=1, label="the most of corpus and golden examples")
    figure.legend(loc="outside upper left", frameon=False, fontsize=8, ncols=3)
    figure.supxlabel(SCALES, fontsize=8)
    figure.savefig(path, dpi=150)


def draw_thinking(axes: Any, everything: dict[int, int], right: dict[int, int], mean: float | None,
                  width: int, most: int | None) -> None:
    """Draws one histogram as shares of all: everything pale, and the right ones in front of it.

    The arguments are those of a panel of `plot_thinking`.
    """
    num_all = sum(everything.values())
    for counts, color in ((everything, "#b9c7d6"), (right, PALETTE[0])):
        shares = [number / num_all for number in counts.values()]
        middle = width / 2 if width > 1 else 0      # a bin begins at its value; a number of tries is a point
        axes.bar([value + middle for value in counts], shares, 0.9 * width, color=color)
    if mean is not None:
        axes.text(0.98, 0.92, f"mean {mean:.3g}", transform=axes.transAxes, fontsize=7, ha="right", va="top",
                  backgroundcolor="white")
    if most is not None:
        axes.axvline(most + 0.5, color=PALETTE[1], linewidth=1)
    axes.set_yticks([])
    whole_steps(axes)
    axes.tick_params(labelsize=7)
    axes.spines[["top", "right", "left"]].set_visible(False)
