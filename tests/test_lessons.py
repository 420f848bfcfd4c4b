"""Every lesson runs from top to bottom, quickly, and what it says of the tests is true."""

import importlib
import runpy
import sys
from pathlib import Path

import pytest

from minireason.tasks import TASKS

LESSONS = sorted((Path(__file__).parent.parent / "lessons").glob("[0-9][0-9]_*.py"))


@pytest.fixture(autouse=True)
def same_tasks_afterwards():
    """Lesson 17 registers a task of its own, which other tests must not see."""
    before = dict(TASKS)
    yield
    TASKS.clear()
    TASKS.update(before)


def run(path, monkeypatch):
    monkeypatch.setenv("LESSON_FAST", "1")
    return runpy.run_path(str(path), run_name="__main__")


@pytest.mark.slow
@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_a_lesson_runs(path, monkeypatch, capsys):
    run(path, monkeypatch)
    assert capsys.readouterr().out.strip()
    lines = path.read_text().splitlines()
    assert lines[0] == "# %% [markdown]" and lines[1].startswith(f"# # {int(path.name[:2])}. ")
    assert any(line.startswith("# ## Exercises") for line in lines)
    assert any("Solutions" in line for line in lines)


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_a_lesson_on_one_idea_has_its_parts(path):
    """From the question to the solutions, in one order, and a figure under the lesson's own name."""
    text, found = path.read_text(), -1
    for part in ("# Question: ", "# You need: ", "Time: ", "from minireason", "by hand", "savefig",
                 "does not show",
                 "# ## Exercises", "Solutions"):
        at = text.lower().find(part.lower(), found + 1)
        drawn_elsewhere = part == "savefig" and "plot_" in text
        assert at > found or drawn_elsewhere, f"{path.name} has no {part!r} behind what comes before it"
        found = max(found, at)
    assert "trap" in text.lower() and text.count("# %% [markdown]\n") >= 4
    assert (path.parent / "results" / f"{path.stem}.png").exists()


@pytest.mark.slow
def test_each_bug_is_caught_by_the_test_that_is_named(monkeypatch):
    """The named test passes as it is, and fails with the bug on: the proof that it looks where the bug is."""
    lesson = run(Path(__file__).parent.parent / "lessons" / "10_break_it.py", monkeypatch)
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    for name, (switch, *_, test) in lesson["BUGS"].items():
        file, function = test.split("::")
        module = importlib.import_module(file.removesuffix(".py"))
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
