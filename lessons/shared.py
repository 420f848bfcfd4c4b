"""What lessons and studies share: the place of the repository, and how a figure is labelled and shown.

A lesson runs as a script from any folder, with %run, and cell by cell in Jupyter, VS Code and Spyder.
Importing this file makes `import minireason` work in all of them.
"""

import io
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "lessons" / "results"      # the figures and numbers that belong to the repository
sys.path.insert(0, str(ROOT))


def label(axis, title, xlabel="", ylabel="", legend=True):
    """Labels one picture of a figure, and its curves if they have names. Only two sides of the frame stay."""
    axis.set_title(title, fontsize=10)
    axis.set_xlabel(xlabel, fontsize=9)
    axis.set_ylabel(ylabel, fontsize=9)
    axis.tick_params(labelsize=8)
    axis.spines[["top", "right"]].set_visible(False)
    if legend and axis.get_legend_handles_labels()[1]:
        axis.legend(frameon=False, fontsize=8)


def error_bars(intervals):
    """Intervals (middle, low, high) as matplotlib takes them: middles, and how far the bars reach from them.

    Rounding may put a middle a little outside of its interval; a bar has no negative length.
    """
    middles = [middle for middle, low, high in intervals]
    below = [max(0.0, middle - low) for middle, low, high in intervals]
    above = [max(0.0, high - middle) for middle, low, high in intervals]
    return middles, [below, above]


def plot_band(axis, x, intervals, color, name, line="-"):
    """A curve through the middles of intervals (middle, low, high), and a pale band from low to high."""
    lows = [low for middle, low, high in intervals]
    highs = [high for middle, low, high in intervals]
    axis.fill_between(x, lows, highs, color=color, alpha=0.2, lw=0)
    axis.plot(x, [middle for middle, low, high in intervals], line, color=color, label=name)


def group_bars(axis, table, colors):
    """Bars of {group: {name: (middle, low, high)}}: those of a group stand side by side.

    `colors` is {name: color}. A bar of height 0 gets a 0 above it; a name that a group lacks has no bar.
    """
    width = 0.84 / len(colors)      # of a bar; groups lie 1 apart, so a gap of 0.16 is left between them
    for position, (name, color) in enumerate(colors.items()):
        places, intervals = [], []
        for place, group in enumerate(table.values()):
            if name in group:
                places.append(place + (position - (len(colors) - 1) / 2) * width)
                intervals.append(group[name])
        middles, errors = error_bars(intervals)
        axis.bar(places, middles, 0.92 * width, yerr=errors, color=color, label=name, error_kw={"lw": 0.8})
        for place, (middle, low, high) in zip(places, intervals):
            if middle == 0:
                axis.text(place, max(0.0, high), "0", ha="center", va="bottom", fontsize=8, color="#666666")
    axis.set_xticks(range(len(table)), list(table))


def legend_above(axis, top, ncols, end=1):
    """A legend in the room between `end` and `top`, where it covers nothing.

    The axis stops at `end`, which is 1 for shares, since none is higher.
    """
    axis.set_ylim(top=top)
    bottom, _ = axis.get_ylim()
    axis.set_yticks([tick for tick in axis.get_yticks() if bottom <= tick < 1.001 * end])
    axis.spines["left"].set_bounds(bottom, end)
    axis.legend(frameon=False, fontsize=8, ncols=ncols, loc="upper center", handlelength=1.2,
                columnspacing=1.2)


def show_figure(figure, name):
    """Shows a figure under its cell. A script has no cells: there, saves it and prints where.

    No matplotlib backend is used, so none is switched on or off, and no window opens.
    """
    if in_notebook():
        from IPython.display import Image, display  # only where it is installed, and running
        png = io.BytesIO()
        figure.savefig(png, dpi=120)
        display(Image(png.getvalue()))
    else:
        path = figure_path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=120)
        print(f"the figure is in {path}")


def in_notebook():
    """Whether a Jupyter kernel runs this code, as it does in VS Code and Spyder. A terminal has none."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")


def figure_path(name):
    """Where a script saves a figure: in runs/lessons/, which git ignores.

    LESSON_RENEW=1 writes the repository's own figure instead. A quick one (LESSON_FAST=1) never replaces it.
    """
    if os.environ.get("LESSON_FAST") == "1":
        return ROOT / "runs" / "lessons" / f"{name}-fast.png"
    if os.environ.get("LESSON_RENEW") == "1":
        return RESULTS / f"{name}.png"
    return ROOT / "runs" / "lessons" / f"{name}.png"
