"""Puts the code that a lesson teaches into the lesson, as it stands in the source.

    python lessons/excerpts.py             after a change of the source, or for a new excerpt
    python lessons/excerpts.py --check     writes nothing; ends with 1 where a lesson differs from the source

A lesson asks for a function, a class or a method in a code cell, where the reader can change and run it:

    # From minireason/grpo.py: group_advantages
    # End of excerpt

or in a Markdown cell, where it is only read. The difference between two functions stands in Markdown too:

    # <!-- From minireason/ppo.py: Critic.forward -->
    # <!-- End of excerpt -->

    # <!-- From minireason/ppo.py to minireason/grpo.py: compute_advantages -->
    # <!-- End of excerpt -->

What stands between the two lines is replaced.
"""

import ast
import difflib
import re
import sys
import textwrap
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parent
FIRST_LINE = re.compile(r"# (<!-- )?From (\S+\.py)(?: to (\S+\.py))?: ([\w.]+)( -->)?")
LAST_LINE = re.compile(r"# (<!-- )?End of excerpt( -->)?")


def definition(path, name):
    """The source of a function, a class or, as Class.method, a method. ValueError if there is none."""
    source = (ROOT / path).read_text(encoding="utf-8")
    node = ast.parse(source)
    for part in name.split("."):
        found = [child for child in node.body if getattr(child, "name", None) == part]
        if not found:
            raise ValueError(f"{path} defines no {name}")
        [node] = found
    first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
    return textwrap.dedent("\n".join(source.splitlines()[first - 1:node.end_lineno]))


def difference(first, second, name):
    """The lines of both definitions: `-` before those of the first file alone, `+` of the second alone.

    Where they differ, all lines of the first file come before those of the second, so that both can be read.
    """
    ours, theirs = definition(first, name).splitlines(), definition(second, name).splitlines()
    lines = []
    for tag, start, end, other_start, other_end in difflib.SequenceMatcher(None, ours, theirs).get_opcodes():
        if tag == "equal":
            lines += [f"  {line}" for line in ours[start:end]]
        else:
            lines += [f"- {line}" for line in ours[start:end]]
            lines += [f"+ {line}" for line in theirs[other_start:other_end]]
    return "\n".join(line.rstrip() for line in lines)


def excerpt(first_line):
    """Returns the lines that belong under the first line of an excerpt.

    `first_line` is its match with FIRST_LINE. In a code cell these are lines of code. In a Markdown cell they
    are comments, as all of its lines are.
    """
    comment, path, second, name, _ = first_line.groups()
    if not comment:
        return definition(path, name).splitlines()
    if second:
        text = f"```diff\n{difference(path, second, name)}\n```"
    else:
        text = f"```python\n{definition(path, name)}\n```"
    return [f"# {line}".rstrip() for line in text.splitlines()]


def filled(text):
    """A lesson's text with its excerpts as they are in the source. ValueError if one has no last line."""
    lines = []
    first_line = None      # of the excerpt that is being replaced
    for line in text.splitlines():
        if first_line is None:
            lines.append(line)
            first_line = FIRST_LINE.fullmatch(line)
        elif LAST_LINE.fullmatch(line):
            lines += [*excerpt(first_line), line]
            first_line = None
    if first_line is not None:
        raise ValueError(f"no `# End of excerpt` after `{first_line[0]}`")
    return "\n".join(lines) + "\n"


def without_excerpts(text):
    """A lesson's text without the lines that this script puts in."""
    lines = []
    inside = False
    for line in text.splitlines():
        inside = inside and not LAST_LINE.fullmatch(line)
        if not inside:
            lines.append(line)
        inside = inside or bool(FIRST_LINE.fullmatch(line))
    return "\n".join(lines) + "\n"


def main():
    old_lessons = []
    for path in sorted(FOLDER.glob("[0-9][0-9]_*.py")):
        text = path.read_text(encoding="utf-8")
        try:
            new_text = filled(text)
        except ValueError as error:
            print(f"{path.name}: {error}", file=sys.stderr)
            return 2
        if new_text == text:
            continue
        old_lessons.append(path.name)
        if "--check" in sys.argv:
            print(f"{path.name} differs from the source: run python lessons/excerpts.py")
        else:
            path.write_text(new_text, encoding="utf-8")
            print(f"wrote {path.name}")
    return 1 if old_lessons and "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
