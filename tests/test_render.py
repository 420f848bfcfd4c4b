"""The pages that show lessons with their output: made of small lessons here, and those of the repository."""

import difflib
import importlib
import inspect
import re
from pathlib import Path

import pytest

from minireason import grpo, ppo

FOLDER = Path(__file__).parent.parent / "lessons"
RENDERED = sorted((FOLDER / "rendered").glob("*.md"))
LESSON = '''# %% [markdown]
# # 1. One
#
# See [a page](results/README.md) and [another](https://example.org),
# as [lesson 02](02_two.py#next) shows.
#
#     a = b

# %%
from shared import show_figure
a = 1
print("a is", a)

# %%
b = a + 1
# %% [markdown]
# ## Next
# %%
from minireason.tools.plots import new_figure
figure, axis = new_figure(figsize=(1, 1))
show_figure(figure, "01_one")
'''


@pytest.fixture
def render(monkeypatch, tmp_path):
    """lessons/render.py on a folder of its own, with one lesson."""
    monkeypatch.syspath_prepend(str(FOLDER))
    module = importlib.import_module("render")
    monkeypatch.setattr(module, "FOLDER", tmp_path)
    monkeypatch.setattr(module, "PAGES", tmp_path / "rendered")
    monkeypatch.setattr(module.shared, "RESULTS", tmp_path)
    monkeypatch.setattr(module.shared, "show_figure", module.shared.show_figure)      # put back afterwards
    monkeypatch.setattr("sys.argv", ["render.py", "01"])
    monkeypatch.delenv("LESSON_FAST", raising=False)
    (tmp_path / "01_one.py").write_text(LESSON, encoding="utf-8")
    return module


def test_a_page_shows_text_code_output_and_figures(render, tmp_path):
    assert render.main() == 0
    page = (tmp_path / "rendered" / "01_one.md").read_text(encoding="utf-8")
    assert "# 1. One\n\nSee [a page](../results/README.md) and [another](https://example.org),\n" in page
    assert "\n    a = b\n" in page and "\n## Next\n" in page
    assert re.findall("^```text\n(.*?)\n```", page, re.DOTALL | re.MULTILINE) == ["a is 1"]
    assert re.findall(r"!\[.*\]\((.*)\)", page) == ["../01_one.png"] and (tmp_path / "01_one.png").exists()
    assert "as [lesson 02](02_two.md#next) shows" in page
    assert page.endswith("[all lessons](../README.md) | [glossary](../README.md#glossary)\n")
    assert [output.count("\n") for output in render.code_and_outputs(page)[1]] == [3, 0, 1]


def test_new_prose_keeps_the_output_and_new_code_does_not(render, tmp_path, monkeypatch):
    render.main()
    lesson, page = tmp_path / "01_one.py", tmp_path / "rendered" / "01_one.md"
    before = page.read_text(encoding="utf-8")
    lesson.write_text(LESSON.replace("## Next", "## Then"), encoding="utf-8")
    monkeypatch.setattr("sys.argv", ["render.py", "--prose", "01"])
    monkeypatch.setattr(render, "run", None)      # nothing is run
    assert render.main() == 0
    assert page.read_text(encoding="utf-8") == before.replace("## Next", "## Then")
    lesson.write_text(LESSON.replace("a = 1", "a = 2"), encoding="utf-8")
    with pytest.raises(ValueError, match="the code of 01_one.py changed"):
        render.main()


def test_a_quick_run_and_a_lesson_that_is_not_there_are_refused(render, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("sys.argv", ["render.py", "99"])
    assert render.main() == 2
    monkeypatch.setattr("sys.argv", ["render.py", "01"])
    monkeypatch.setenv("LESSON_FAST", "1")
    assert render.main() == 2 and "no LESSON_FAST=1" in capsys.readouterr().err
    assert not (tmp_path / "rendered").exists()


@pytest.mark.parametrize("page", RENDERED, ids=lambda page: page.stem)
def test_a_page_shows_the_lesson_as_it_is(page, monkeypatch):
    """After a change of prose: `python lessons/render.py --prose NN`. After one of code: without --prose."""
    monkeypatch.syspath_prepend(str(FOLDER))
    render = importlib.import_module("render")
    text = page.read_text(encoding="utf-8")
    cells = render.cells_of((FOLDER / f"{page.stem}.py").read_text(encoding="utf-8"))
    code = [source for is_markdown, source in cells if not is_markdown]
    shown, outputs = render.code_and_outputs(text)
    assert shown == code and text == render.page_of(page.stem, cells, outputs)
    for image in re.findall(r"!\[[^]]*\]\(([^)]+)\)", text):
        assert 2000 < (page.parent / image).stat().st_size < render.MAX_BYTES


def test_lesson_07_prints_the_lines_that_the_files_have_today(capsys, monkeypatch):
    """A change of grpo.py or ppo.py moves them: then `python lessons/render.py 07`."""
    monkeypatch.syspath_prepend(str(FOLDER))
    render = importlib.import_module("render")
    page = (FOLDER / "rendered" / "07_grpo_is_a_diff.md").read_text(encoding="utf-8")
    names = {"inspect": inspect, "difflib": difflib, "ppo": ppo, "grpo": grpo}
    num_cells = 0
    for code, output in zip(*render.code_and_outputs(page)):
        if "SequenceMatcher" in code or "DIFFERENCES" in code:
            exec(code, names)
            assert f"```text\n{capsys.readouterr().out}```\n" == output
            num_cells += 1
    assert num_cells == 2
