"""Every lesson runs from top to bottom, quickly, and what it says of the tests is true."""

import functools
import importlib
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import count
import pytest

from minireason import stats

FOLDER = Path(__file__).parent.parent / "lessons"
LESSONS = sorted(FOLDER.glob("[0-9][0-9]_*.py"))
NAMES = {}      # path: the names that this lesson had defined at its end, of those that have run
MAX_LINE, MAX_CELL = 100, 40
FIRST_LINES = """
# Where to find `shared`: in this file's folder or, in a notebook, in the working folder or its lessons/.
FOLDER = Path(globals().get("__file__", "notebook")).resolve().parent
sys.path[:0] = [str(FOLDER), str(FOLDER / "lessons")]
"""


@pytest.fixture
def shared(monkeypatch, tmp_path):
    """lessons/shared.py, made to save figures in tmp_path."""
    monkeypatch.syspath_prepend(str(FOLDER))
    module = importlib.import_module("shared")
    monkeypatch.setattr(module, "ROOT", tmp_path)
    for variable in ("LESSON_FAST", "LESSON_RENEW"):
        monkeypatch.delenv(variable, raising=False)
    return module


def run(path, monkeypatch):
    """Runs a lesson quickly, with intervals of few resamples. Puts its names into NAMES."""
    monkeypatch.setenv("LESSON_FAST", "1")
    few = functools.partial(stats.bootstrap_interval, num_resamples=50)
    monkeypatch.setattr(stats, "bootstrap_interval", few)
    NAMES[path] = runpy.run_path(str(path), run_name="__main__")


@pytest.mark.slow
@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_a_lesson_runs(path, monkeypatch, capsys, shared, tmp_path):
    """From any folder. It saves its figure where the others are, and leaves the repository's own alone."""
    before = {result: result.stat().st_mtime_ns for result in shared.RESULTS.rglob("*")}
    monkeypatch.chdir(tmp_path)
    run(path, monkeypatch)
    figure = tmp_path / "runs" / "lessons" / f"{path.stem}-fast.png"
    assert f"the figure is in {figure}" in capsys.readouterr().out and figure.stat().st_size > 2000
    assert {result: result.stat().st_mtime_ns for result in shared.RESULTS.rglob("*")} == before
    lines = path.read_text().splitlines()
    assert lines[0] == "# %% [markdown]" and lines[1].startswith(f"# # {int(path.name[:2])}. ")
    assert any(line.startswith("# ## Exercises") for line in lines)
    assert any("Solutions" in line for line in lines)


@pytest.mark.slow
def test_a_lesson_in_a_process_of_its_own_runs_from_anywhere(tmp_path):
    """With the backend of a notebook that started it, and which is not installed.

    Without -P Python would put the lesson's folder into sys.path. test_a_lesson_runs shows that runpy works.
    """
    environment = os.environ | {"LESSON_FAST": "1", "MPLBACKEND": "not-installed"}
    done = subprocess.run([sys.executable, "-P", str(LESSONS[1])], cwd=tmp_path, env=environment,
                          capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    [path] = re.findall("the figure is in (.*)", done.stdout)
    assert Path(path) == FOLDER.parent / "runs" / "lessons" / f"{LESSONS[1].stem}-fast.png"
    assert Path(path).stat().st_size > 2000


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_a_lesson_on_one_idea_has_its_parts(path):
    """From the question to the solutions, in one order, and a figure under the lesson's own name."""
    text, found = path.read_text(), -1
    for part in ("# Question: ", "# You need: ", "Time: ", "by hand", "show_figure(", "does not show",
                 "# ## Exercises", "Solutions"):
        at = text.lower().find(part.lower(), found + 1)
        assert at > found, f"{path.name} has no {part!r} behind what comes before it"
        found = at
    assert "from minireason" in text and "trap" in text.lower() and text.count("# %% [markdown]\n") >= 4
    assert f', "{path.stem}")' in text and (path.parent / "results" / f"{path.stem}.png").exists()


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_a_lesson_finds_the_repository_by_the_same_lines(path):
    """A notebook has no `__file__`. What test_notebooks.py finds of some lessons is then true of all."""
    text = path.read_text()
    assert text.count(FIRST_LINES) == 1 and text.count("__file__") == 1
    before, _, behind = text.partition(FIRST_LINES)
    assert "import minireason" not in before and "from minireason" not in before
    assert "from shared import" in behind


@pytest.fixture
def excerpts(shared):
    """lessons/excerpts.py: what it puts into a lesson is as long as it is in the source."""
    return importlib.import_module("excerpts")


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_a_lesson_can_be_read_line_by_line(path, excerpts):
    text = path.read_text(encoding="utf-8")
    assert not count.find(text)["nested_comprehensions"] and not count.find(text)["named_lambdas"]
    own_text = excerpts.without_excerpts(text).replace(FIRST_LINES, "\n\n\n")
    assert [line for line in own_text.splitlines() if len(line) > MAX_LINE] == []
    for cell in re.split(r"^# %%", own_text, flags=re.MULTILINE)[1:]:
        lines = cell.strip().splitlines()
        assert cell.startswith(" [markdown]") or len(lines) <= MAX_CELL, lines[:2]


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_a_lesson_says_what_to_look_at_before_its_figure(path):
    """Its name stands in the prose before the cell that draws it, and every axis of it has a label."""
    text = path.read_text(encoding="utf-8")
    before, figure = text.rsplit(f"# ## The figure: `{path.stem}`\n", 1)
    assert "# %%\n" not in figure.split("new_figure(")[0].replace("# %%\n", "", 1)
    calls = re.findall(r"^ *label\(ax.*$", figure, re.MULTILINE)
    assert calls and all(call.count(",") >= 3 and '""' not in call for call in calls)      # two labels each


def test_the_figures_of_the_repository_are_renewed_on_demand_only(shared, monkeypatch, tmp_path):
    own_figures = Path(shared.RESULTS)
    assert shared.figure_path("05_name") == tmp_path / "runs" / "lessons" / "05_name.png"
    monkeypatch.setenv("LESSON_RENEW", "1")
    assert shared.figure_path("05_name") == own_figures / "05_name.png"
    monkeypatch.setenv("LESSON_FAST", "1")
    assert shared.figure_path("05_name") == tmp_path / "runs" / "lessons" / "05_name-fast.png"


@pytest.mark.slow
def test_each_bug_is_caught_by_the_test_that_is_named(monkeypatch):
    """The named test passes as it is, and fails with the bug on: the proof that it looks where the bug is."""
    path = FOLDER / "10_break_it.py"
    if path not in NAMES:
        run(path, monkeypatch)
    lesson = NAMES[path]
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    for name, (switch, _, _) in lesson["BUGS"].items():
        _, test = lesson["SHOWN_BY"][name]
        file, function = test.split("::")
        module = importlib.import_module(Path(file).stem)
        arguments = {"kl_coef": 0.1, "num_tokens": None, "gamma": 0.9, "gae_lambda": 0.95}

        def check():
            called = getattr(module, function)
            wanted = called.__code__.co_varnames[:called.__code__.co_argcount]
            with pytest.MonkeyPatch.context() as patch:
                called(**{key: patch if key == "monkeypatch" else arguments[key] for key in wanted})
        check()
        with switch():
            with pytest.raises(AssertionError):
                check()
            print("caught", name, file=sys.stderr)
