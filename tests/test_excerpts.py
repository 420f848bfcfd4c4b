"""The code in a lesson is the code of the package, and the script that puts it there finds what differs."""

import importlib
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / "lessons"
SOURCE = '''
import functools

@functools.cache
def double(x):
    """Twice x."""
    return 2 * x


class Box:
    def open(self):
        return "air"
'''


@pytest.fixture
def excerpts(monkeypatch, tmp_path):
    """lessons/excerpts.py on a repository of its own: two source files and, as 01_a.py, a lesson."""
    monkeypatch.syspath_prepend(str(FOLDER))
    module = importlib.import_module("excerpts")
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "FOLDER", tmp_path)
    monkeypatch.setattr("sys.argv", ["excerpts.py", "--check"])
    (tmp_path / "one.py").write_text(SOURCE, encoding="utf-8")
    (tmp_path / "two.py").write_text(SOURCE.replace("2 * x", "x + x"), encoding="utf-8")
    return module


def test_the_code_in_the_lessons_is_that_of_the_source(excerpts, monkeypatch, capsys):
    monkeypatch.setattr(excerpts, "ROOT", FOLDER.parent)
    monkeypatch.setattr(excerpts, "FOLDER", FOLDER)
    assert excerpts.main() == 0, capsys.readouterr().out


def test_a_function_comes_with_its_decorator_and_a_method_without_its_class(excerpts):
    lesson = ("# From one.py: double\nold\n# End of excerpt\nx = double(1)\n"
              "# From one.py: Box.open\n# End of excerpt\n")
    assert excerpts.filled(lesson) == (
        '# From one.py: double\n@functools.cache\ndef double(x):\n    """Twice x."""\n    return 2 * x\n'
        '# End of excerpt\nx = double(1)\n'
        '# From one.py: Box.open\ndef open(self):\n    return "air"\n# End of excerpt\n')
    assert excerpts.filled(excerpts.filled(lesson)) == excerpts.filled(lesson)
    assert "return" not in excerpts.without_excerpts(excerpts.filled(lesson))
    assert "x = double(1)" in excerpts.without_excerpts(lesson)


def test_prose_gets_code_and_differences_in_fences(excerpts):
    lesson = "# <!-- From one.py: Box.open -->\n# <!-- End of excerpt -->\n"
    assert excerpts.filled(lesson).splitlines()[1:-1] == [
        "# ```python", "# def open(self):", '#     return "air"', "# ```"]
    lesson = "# <!-- From one.py to two.py: double -->\n# <!-- End of excerpt -->\n"
    assert excerpts.filled(lesson).splitlines()[-5:-1] == [
        '#       """Twice x."""', "# -     return 2 * x", "# +     return x + x", "# ```"]


def test_a_changed_source_is_found_and_put_right(excerpts, tmp_path, monkeypatch, capsys):
    lesson = tmp_path / "01_a.py"
    lesson.write_text("# From one.py: double\n# End of excerpt\n", encoding="utf-8")
    assert excerpts.main() == 1 and "01_a.py differs" in capsys.readouterr().out
    assert "return" not in lesson.read_text(encoding="utf-8")
    monkeypatch.setattr("sys.argv", ["excerpts.py"])
    assert excerpts.main() == 0 and "return 2 * x" in lesson.read_text(encoding="utf-8")
    monkeypatch.setattr("sys.argv", ["excerpts.py", "--check"])
    assert excerpts.main() == 0


@pytest.mark.parametrize("lesson, error", [
    ("# From one.py: triple\n# End of excerpt\n", "one.py defines no triple"),
    ("# From one.py: double\nx = 1\n", "no `# End of excerpt` after `# From one.py: double`"),
])
def test_what_cannot_be_filled_in_is_one_line(excerpts, tmp_path, capsys, lesson, error):
    (tmp_path / "01_a.py").write_text(lesson, encoding="utf-8")
    assert excerpts.main() == 2 and capsys.readouterr().err == f"01_a.py: {error}\n"
