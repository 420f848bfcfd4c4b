"""Counts what makes code hard to read, with ast and tokenize alone; nothing is imported or run.

    python tests/count.py                              minireason/ with train.py and sample.py, and lessons/
    python tests/count.py minireason/grpo.py lessons   these paths, one row each
    python tests/count.py --where nested_comprehensions        the places, as FILE:LINE
    python tests/count.py --json                       the same numbers for a program
    python tests/count.py --diff main                  what changed since a git revision: +/- lines a file
    python tests/count.py --root ../other-clone        another copy of the repository

The table says how many there are in 100 lines of code. A line of code is not blank, not only a comment and
not part of a docstring.
"""

import argparse
import ast
import io
import json
import subprocess
import sys
import tokenize
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ["minireason", "train.py", "sample.py"]
LONG_FILES = ["train.py", "sample.py", "minireason/model.py"]      # files that grow when nobody looks

COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
HAVE_DOCSTRINGS = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
SEQUENCES = (ast.JoinedStr, ast.List, ast.Tuple, ast.ListComp)
LAYOUT = {tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}

# what is counted: name -> heading of its column
COLUMNS = {
    "comprehensions": "compr.",
    "nested_comprehensions": "nested",
    "conditionals": "if-else",
    "nested_conditionals": "nested",
    "lambdas": "lambdas",
    "named_lambdas": "named",
    "times_truth": "x * (a > b)",
    "over_100": "> 100",
    "over_110": "> 110",
    "comment_lines": "comments",
}


# -----------------------------------------------------------------------------
# Kinds of lines

def docstring_lines(tree: ast.Module) -> set[int]:
    """The numbers of all lines that a docstring of the module, a class or a function covers."""
    lines = set()
    for node in ast.walk(tree):
        if isinstance(node, HAVE_DOCSTRINGS) and ast.get_docstring(node, clean=False) is not None:
            docstring = node.body[0]
            lines.update(range(docstring.lineno, docstring.end_lineno + 1))
    return lines


def code_and_comment_lines(source: str, tree: ast.Module) -> tuple[set[int], set[int]]:
    """The numbers of the lines with code, and of those with nothing but a comment."""
    code, comments = set(), set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            comments.add(token.start[0])
        elif token.type not in LAYOUT:
            code.update(range(token.start[0], token.end[0] + 1))
    blank = {number for number, line in enumerate(source.splitlines(), 1) if not line.strip()}
    return code - docstring_lines(tree) - blank, comments - code


# -----------------------------------------------------------------------------
# Kinds of expressions

def is_nested_comprehension(node: ast.AST, ancestors: list[ast.AST]) -> bool:
    """A comprehension inside another one's element, condition or iterable, or one with two `for`."""
    if not isinstance(node, COMPREHENSIONS):
        return False
    return len(node.generators) > 1 or any(isinstance(ancestor, COMPREHENSIONS) for ancestor in ancestors)


def is_nested_conditional(node: ast.AST, ancestors: list[ast.AST]) -> bool:
    """`a if b else (c if d else e)`: the inner one."""
    return isinstance(node, ast.IfExp) and any(isinstance(ancestor, ast.IfExp) for ancestor in ancestors)


def is_named_lambda(node: ast.AST, ancestors: list[ast.AST]) -> bool:
    """`f = lambda: 0`, `f: Callable = lambda: 0`, `(f := lambda: 0)` or a part of `f, g = lambda: 0, 1`."""
    if not isinstance(node, ast.Lambda):
        return False
    holder, name_type = ancestors[-1], ast.Name
    if isinstance(holder, ast.Tuple):
        holder, name_type = ancestors[-2], ast.Tuple
    if isinstance(holder, ast.Assign):
        return any(isinstance(target, name_type) for target in holder.targets)
    return isinstance(holder, (ast.AnnAssign, ast.NamedExpr)) and isinstance(holder.target, name_type)


def is_truth(node: ast.AST) -> bool:
    """Surely True or False: a comparison, `not a`, `bool(a)`, or such joined by `and` and `or`."""
    if isinstance(node, ast.BoolOp):
        return all(is_truth(value) for value in node.values)
    if isinstance(node, ast.UnaryOp):
        return isinstance(node.op, ast.Not)
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id in ("bool", "isinstance", "any", "all")
    return isinstance(node, ast.Compare) or isinstance(node, ast.Constant) and isinstance(node.value, bool)


def is_sequence(node: ast.AST) -> bool:
    """A string, list or tuple that is written out. A name may hold a number: `mask * (ids > 0)` is fine."""
    return isinstance(node, SEQUENCES) or isinstance(node, ast.Constant) and isinstance(node.value, str)


def is_times_truth(node: ast.AST) -> bool:
    """`"s" * (count != 1)` and `[flag] * bool(path)`: a condition that is hidden in a product."""
    if not (isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult)):
        return False
    left, right = node.left, node.right
    return is_sequence(left) and is_truth(right) or is_truth(left) and is_sequence(right)


def kinds_of(node: ast.AST, ancestors: list[ast.AST]) -> list[str]:
    """Which columns of the table the expression counts in."""
    answers = {
        "comprehensions": isinstance(node, COMPREHENSIONS),
        "nested_comprehensions": is_nested_comprehension(node, ancestors),
        "conditionals": isinstance(node, ast.IfExp),
        "nested_conditionals": is_nested_conditional(node, ancestors),
        "lambdas": isinstance(node, ast.Lambda),
        "named_lambdas": is_named_lambda(node, ancestors),
        "times_truth": is_times_truth(node),
    }
    return [kind for kind, answer in answers.items() if answer]


# -----------------------------------------------------------------------------
# One source, many files

def find(source: str) -> dict[str, list[int]]:
    """For each name in COLUMNS, and for "code" and "lines", the numbers of the lines where it occurs."""
    tree = ast.parse(source)
    code, comments = code_and_comment_lines(source, tree)
    lines = source.splitlines()
    places = {kind: [] for kind in COLUMNS}
    places["lines"] = list(range(1, len(lines) + 1))
    places["code"] = sorted(code)
    places["comment_lines"] = sorted(comments)
    places["over_100"] = [number for number, line in enumerate(lines, 1) if len(line) > 100]
    places["over_110"] = [number for number, line in enumerate(lines, 1) if len(line) > 110]

    def visit(node, ancestors):
        for kind in kinds_of(node, ancestors):
            places[kind].append(node.lineno)
        for child in ast.iter_child_nodes(node):
            visit(child, [*ancestors, node])

    visit(tree, [])
    return places


def python_files(paths: list[str], root: Path) -> list[Path]:
    """The Python files among the paths and in the folders among them."""
    files = []
    for path in paths:
        path = root / path
        if not path.exists():
            sys.exit(f"{path} does not exist")
        files += sorted(path.rglob("*.py")) if path.is_dir() else [path]
    return files


def count(paths: list[str], root: Path = ROOT) -> dict:
    """{"lines", "code" and each name in COLUMNS: how many in all Python files among and below the paths}."""
    totals = Counter()
    for file in python_files(paths, root):
        for kind, numbers in find(file.read_text(encoding="utf-8")).items():
            totals[kind] += len(numbers)
    return {kind: totals[kind] for kind in ["lines", "code", *COLUMNS]}


def per_100(counts: dict, kind: str) -> float:
    return 100 * counts[kind] / max(1, counts["code"])


def sizes(root: Path = ROOT) -> dict[str, int]:
    """Lines of the files that are to stay small, and how many entries a visitor sees in minireason/."""
    lengths = {}
    for name in LONG_FILES:
        if (root / name).exists():
            lengths[name] = len((root / name).read_text(encoding="utf-8").splitlines())
    entries = [entry for entry in (root / "minireason").iterdir() if entry.name != "__pycache__"]
    return lengths | {"entries in minireason/": len(entries)}


# -----------------------------------------------------------------------------
# Differences to a revision

def git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, encoding="utf-8")
    if done.returncode:
        sys.exit(done.stderr.strip())
    return done.stdout


def diff(revision: str, root: Path = ROOT) -> dict[str, tuple[int, int]]:
    """{file: (lines added, lines removed)} of the working tree, new files too; a binary file has (0, 0)."""
    changes = {}
    for line in git(root, "diff", "--numstat", "--no-renames", revision, "--").splitlines():
        added, removed, name = line.split("\t")
        changes[name] = (0, 0) if added == "-" else (int(added), int(removed))
    for name in git(root, "ls-files", "--others", "--exclude-standard").splitlines():
        content = (root / name).read_bytes()
        changes[name] = (0 if b"\0" in content else len(content.splitlines()), 0)
    return changes


# -----------------------------------------------------------------------------
# What is printed

def print_table(groups: dict[str, dict]) -> None:
    title = "in 100 lines of code"
    width = max(map(len, [title, *groups]))
    headings = [f"{heading:>{max(8, len(heading))}}" for heading in COLUMNS.values()]
    print(f"{title:{width}} {'lines':>7} {'code':>7}", *headings)
    for name, counts in groups.items():
        numbers = [f"{per_100(counts, kind):{len(heading)}.1f}" for kind, heading in zip(COLUMNS, headings)]
        print(f"{name:{width}} {counts['lines']:7,} {counts['code']:7,}", *numbers)


def print_diff(changes: dict[str, tuple[int, int]]) -> None:
    for name, (added, removed) in sorted(changes.items()):
        print(f"{added:+6} {-removed:6}  {name}")
    added, removed = (sum(numbers) for numbers in zip((0, 0), *changes.values()))
    print(f"{added:+6} {-removed:6}  {len(changes)} files")


def print_places(kind: str, paths: list[str], root: Path) -> None:
    for file in python_files(paths, root):
        for number in find(file.read_text(encoding="utf-8"))[kind]:
            print(f"{file.relative_to(root).as_posix()}:{number}")


def main(arguments: list[str] | None = None) -> None:
    raw = argparse.RawDescriptionHelpFormatter      # keeps the lines of the docstring
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("paths", nargs="*", help="files and folders; default: the package, and lessons/")
    parser.add_argument("--where", metavar="KIND", choices=list(COLUMNS), help=f"one of {', '.join(COLUMNS)}")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--diff", metavar="REV", help="compare the working tree with a git revision")
    parser.add_argument("--root", type=Path, default=ROOT, help="folder of the repository")
    args = parser.parse_args(arguments)
    root = args.root.resolve()

    if args.diff:
        changes = diff(args.diff, root)
        print(json.dumps(changes, indent=1)) if args.json else print_diff(changes)
        return
    if args.where:
        print_places(args.where, args.paths or [*PACKAGE, "lessons"], root)
        return
    groups = {path: [path] for path in args.paths}
    if not groups:
        groups = {"package and commands": PACKAGE, "lessons": ["lessons"]}
    counts = {name: count(paths, root) for name, paths in groups.items()}
    if args.json:
        print(json.dumps({"counts": counts, "sizes": sizes(root)}, indent=1))
        return
    print_table(counts)
    print()
    for name, size in sizes(root).items():
        print(f"{size:6,}  {name}")


if __name__ == "__main__":
    main()
