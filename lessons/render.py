"""Runs lessons and keeps what they print and draw, as pages that GitHub shows to somebody who runs nothing.

    python lessons/render.py                 all lessons, a process for each
    python lessons/render.py 05 06           these
    python lessons/render.py --prose 05      after a change of the prose: nothing runs, old output stays

The page of lessons/05_policy_gradient.py is lessons/rendered/05_policy_gradient.md. It shows the repository's
own figures in lessons/results/, and a run draws them anew.
"""

import contextlib
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import shared

FOLDER = Path(__file__).resolve().parent
PAGES = FOLDER / "rendered"
MAX_BYTES = 300_000      # of a figure

CELL = re.compile(r"^# %%( \[markdown\])?\n", re.MULTILINE)
LINK = re.compile(r"\]\((?!https?:|#)")
LINK_TO_LESSON = re.compile(r"\]\(\.\./([0-9]{2}_\w+)\.py")
CODE = re.compile(r"^<!-- code -->\n```python\n(.*?)\n```\n<!-- output -->\n(.*?)<!-- end of output -->\n",
                  re.MULTILINE | re.DOTALL)


# -----------------------------------------------------------------------------
# From a lesson to a page

def cells_of(text):
    """The cells of a lesson: (whether it is Markdown, its text)."""
    _, *parts = CELL.split(text)        # behind what precedes the first cell: a kind, a text, a kind, ...
    cells = []
    for kind, source in zip(parts[::2], parts[1::2]):
        if kind:
            lines = [re.sub("^# ?", "", line) for line in source.splitlines()]
            source = LINK.sub("](../", "\n".join(lines))      # a page lies one folder deeper
            source = LINK_TO_LESSON.sub(r"](\1.md", source)    # whoever reads a page goes on to another page
        cells.append((bool(kind), source.strip("\n")))
    return cells


def page_of(name, cells, outputs):
    """The page of a lesson, from its cells and the output of each code cell."""
    number = name[:2]
    blocks = [f"*This page shows [{name}.py](../{name}.py) with its output. It was made by "
              f"`python lessons/render.py {number}`.*\n"]
    outputs = iter(outputs)
    for is_markdown, source in cells:
        if is_markdown:
            blocks.append(f"{source}\n")
            continue
        output = next(outputs)
        block = (f"<!-- code -->\n```python\n{source}\n```\n<!-- output -->\n{output}"
                 "<!-- end of output -->\n")
        if source.startswith("import ") and not output:      # read to change a setting
            block = f"<details><summary>Imports and settings</summary>\n\n{block}\n</details>\n"
        blocks.append(block)
    return "\n".join([*blocks, where_to_go(name)])


def where_to_go(name):
    """The last line of a lesson's page: links to the lesson before and the next one, to all, to the words."""
    names = sorted(path.stem for path in FOLDER.glob("[0-9][0-9]_*.py"))
    place = names.index(name)
    links = [f"[Lesson {before[:2]}]({before}.md)" for before in names[max(0, place - 1):place]]
    links += ["[all lessons](../README.md)", "[glossary](../README.md#glossary)"]
    links += [f"[Lesson {after[:2]}]({after}.md)" for after in names[place + 1:place + 2]]
    return f"---\n\n{' | '.join(links)}\n"


def code_and_outputs(page):
    """The code cells of a page, and the output of each."""
    pairs = CODE.findall(page)
    return [code for code, _ in pairs], [output for _, output in pairs]


# -----------------------------------------------------------------------------
# Running a lesson

def run(path, cells):
    """Runs the code cells in their order. Returns the output of each, as Markdown."""
    figures = []

    def keep_figure(figure, name):
        file = shared.RESULTS / f"{name}.png"
        figure.savefig(file, dpi=120)
        if file.stat().st_size > MAX_BYTES:
            raise ValueError(f"{file} has more than {MAX_BYTES} bytes")
        figures.append(f"![{name}]({os.path.relpath(file, PAGES)})\n")

    shared.show_figure = keep_figure        # so the lesson's figures are saved where the page shows them
    sys.argv = [str(path)]
    names = {"__name__": "__main__", "__file__": str(path)}
    outputs = []
    for is_markdown, source in cells:
        if is_markdown:
            continue
        printed = io.StringIO()
        figures.clear()
        with contextlib.redirect_stdout(printed):
            exec(compile(source, str(path), "exec"), names)
        text = printed.getvalue().rstrip("\n")
        output = [f"```text\n{text}\n```\n"] if text else []
        outputs.append("\n".join(output + figures))
    return outputs


def render(path, prose_only=False):
    """Writes the page of a lesson. ValueError if its code changed and only its prose was asked for."""
    cells = cells_of(path.read_text(encoding="utf-8"))
    page = PAGES / f"{path.stem}.md"
    if prose_only:
        code, outputs = code_and_outputs(page.read_text(encoding="utf-8"))
        if code != [source for is_markdown, source in cells if not is_markdown]:
            raise ValueError(f"the code of {path.name} changed: run it, without --prose")
    else:
        outputs = run(path, cells)
    PAGES.mkdir(exist_ok=True)
    page.write_text(page_of(path.stem, cells, outputs), encoding="utf-8")
    print(f"wrote {page}")


def main():
    arguments = sys.argv[1:]
    prose_only = "--prose" in arguments
    numbers = [argument for argument in arguments if argument != "--prose"]
    lessons = sorted(FOLDER.glob("[0-9][0-9]_*.py"))
    chosen = [path for path in lessons if not numbers or path.name[:2] in numbers]
    if not chosen or os.environ.get("LESSON_FAST") == "1":
        print("needs numbers of lessons such as 05, and no LESSON_FAST=1", file=sys.stderr)
        return 2
    if len(chosen) == 1 or prose_only:
        for path in chosen:
            render(path, prose_only)
        return 0
    for path in chosen:      # lesson 17 registers a task, which the next one should not find
        done = subprocess.run([sys.executable, __file__, path.name[:2]])
        if done.returncode:
            return done.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main())
