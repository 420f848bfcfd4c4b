"""Lessons in a real Jupyter kernel, such as Jupyter, VS Code and Spyder start, and in IPython in a terminal.

Skipped without `pip install -r tests/notebooks/requirements.txt`.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("ipykernel", reason="needs tests/notebooks/requirements.txt")
nbclient = pytest.importorskip("nbclient", reason="needs tests/notebooks/requirements.txt")
from nbformat.v4 import new_code_cell, new_notebook

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parent.parent
LESSONS = sorted((ROOT / "lessons").glob("[0-9][0-9]_*.py"))
QUICK = LESSONS[1]
# Each lesson runs as a script in test_lessons.py. In a kernel every fourth one has to do, unless all are
# asked for: ALL_LESSONS=1 python -m pytest tests/test_notebooks.py takes two minutes longer.
IN_A_KERNEL = LESSONS if os.environ.get("ALL_LESSONS") else LESSONS[2::4]      # those that take few seconds
PLOT = "import matplotlib.pyplot as plt\nplt.plot([1, 2]);"


@pytest.fixture(autouse=True)
def quick_lessons_and_a_folder_for_ipython(monkeypatch, tmp_path):
    monkeypatch.setenv("LESSON_FAST", "1")
    for variable in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(variable, str(tmp_path / variable))


def code_cells(lesson):
    """The cells of a lesson that hold code."""
    cells = re.split(r"^# %%", lesson.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    return [cell for cell in cells if not cell.startswith(" [markdown]")]


def first_cell(lesson):
    """The cell that finds the repository. Lesson 01 has another one before it, which needs nothing."""
    return next(cell for cell in code_cells(lesson) if "FOLDER = " in cell)


def run_cells(sources, folder):
    """Runs cells in a kernel of their own, from a working folder. Returns the cells with their outputs.

    Raises CellExecutionError where a cell fails.
    """
    notebook = new_notebook(cells=[new_code_cell(source) for source in sources])
    client = nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(folder)}})
    return client.execute().cells


def images(cell):
    """How many PNG images a cell shows."""
    return sum("image/png" in output.get("data", {}) for output in cell.outputs)


def figures_on_disk(lesson):
    """{path: when it was written} of a lesson's figures: what a script saves, and the repository's own."""
    found = []
    for folder in (ROOT / "runs" / "lessons", ROOT / "lessons" / "results"):
        found += folder.glob(f"{lesson.stem}*.png")
    return {path: path.stat().st_mtime_ns for path in found}


@pytest.mark.parametrize("place", ["lessons", "root", "elsewhere"])
def test_the_first_cell_of_each_lesson_finds_the_repository(place, tmp_path):
    """From lessons/ and from the root, as in Jupyter. VS Code and Spyder set __file__, wherever they are."""
    folder = {"lessons": ROOT / "lessons", "root": ROOT, "elsewhere": tmp_path}[place]
    sources = ["import sys\nPATH_BEFORE = list(sys.path)"]
    for lesson in LESSONS:
        if place == "elsewhere":
            sources.append(f"__file__ = {str(lesson)!r}")
        sources.append(first_cell(lesson))
        sources.append("import shared\nassert shared.in_notebook()\n"
                       "sys.path[:] = PATH_BEFORE\ndel sys.modules['shared']")      # for the next lesson
    run_cells(sources, folder)


@pytest.mark.parametrize("lesson", IN_A_KERNEL, ids=lambda lesson: lesson.stem)
def test_a_lesson_shows_its_figure_under_a_cell_and_saves_none(lesson):
    """Some are run from lessons/, the others from the root."""
    before = figures_on_disk(lesson)
    cells = run_cells(code_cells(lesson), lesson.parent if lesson.stem < "09" else ROOT)
    assert sum(images(cell) for cell in cells) >= 1
    assert figures_on_disk(lesson) == before


def test_figures_stay_inline_after_a_lesson_was_run():
    """Where pyplot is imported after the lesson, and where it was there before."""
    cells = run_cells([f"%run {QUICK}", PLOT, f"%run {QUICK}", PLOT], ROOT)
    assert [images(cell) for cell in cells] == [1, 1, 1, 1]


def test_the_lesson_that_registers_a_task_can_be_run_again():
    [lesson] = [path for path in LESSONS if "register(" in path.read_text(encoding="utf-8")]
    cells = code_cells(lesson)
    last = next(position for position, cell in enumerate(cells) if "register(" in cell)
    run_cells(2 * cells[:last + 1], ROOT)


def test_ipython_in_a_terminal_saves(tmp_path):
    """There is nothing under which a figure could be shown."""
    command = [sys.executable, "-m", "IPython", "-c", f"%run {QUICK}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    path = ROOT / "runs" / "lessons" / f"{QUICK.stem}-fast.png"
    assert f"the figure is in {path}" in done.stdout, done.stderr
