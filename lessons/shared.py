"""What the lessons share: the place of the repository, and how a figure is shown.

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
