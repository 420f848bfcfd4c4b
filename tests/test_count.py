"""tests/count.py on small sources of which a person can count everything."""

import subprocess

import count
import pytest


@pytest.mark.parametrize("kind, source, lines", [
    ("comprehensions", "a = [x for x in b]\nc = {x for x in b}\nd = {x: 1 for x in b}", [1, 2, 3]),
    ("comprehensions", "a = sum(x for x in b)\nfor x in b:\n    c += x", [1]),
    ("nested_comprehensions", "a = [x for x in b]\nc = sum(1 for x in b if x)", []),
    ("nested_comprehensions", "a = [x\n     for row in b\n     for x in row]", [1]),      # two `for`
    ("nested_comprehensions", "a = [\n    [x for x in row] for row in b]", [2]),      # in the element
    ("nested_comprehensions", "a = [x for x in b\n     if any(x for y in c)]", [2]),      # in the condition
    ("nested_comprehensions", "a = [x for x in\n     {y for y in b}]", [2]),      # in the iterable
    ("nested_comprehensions", "a = {k: [\n    v for v in b[k]] for k in b}", [1]),
    ("conditionals", "a = 1 if b else 2\nif b:\n    a = 1\nelse:\n    a = 2", [1]),
    ("nested_conditionals", "a = 1 if b else 2", []),
    ("nested_conditionals", "a = 1 if b else (\n    2 if c else 3)", [2]),
    ("nested_conditionals", "a = f(1 if b else 2) if c else 3", [1]),
    ("lambdas", "a = sorted(b, key=lambda x: -x)\nf = lambda: 0", [1, 2]),
    ("named_lambdas", "a = sorted(b, key=lambda x: -x)\nc = {'f': lambda: 0}\nd = (lambda: 0,)[0]", []),
    ("named_lambdas", "f = lambda: 0\ng: object = lambda: 0\n", [1, 2]),
    ("named_lambdas", "f, g = lambda: 0, 1\nif (h := lambda: 0): pass", [1, 2]),
    ("times_truth", "a = 's' * (n != 1)\nb = [1] * (not c)\nd = (c and n > 1) * ('s',)", [1, 2]),
    ("times_truth", "a = (b > 1 or not d) * ['s']\nf = f'{a}' * bool(a)", [1, 2]),
    ("times_truth", "a = 's' * 3\nb = [0] * n\nc = ids * (ids > 0)\nd = 2 * (a > 1)\ne = 's' * (n or 1)", []),
    ("over_100", f"a = 1\n# {'x' * 98}\n# {'x' * 99}\n# {'x' * 109}", [3, 4]),
    ("over_110", f"a = 1\n# {'x' * 98}\n# {'x' * 108}\n# {'x' * 109}", [4]),
    ("comment_lines", "# one\na = 1  # behind code\n    # two\nb = '''\n# a string\n'''", [1, 3]),
    ("code", '"""What\n\nit is."""\n\n# a comment\ndef f():\n    """Doc."""\n    return 1\n', [6, 8]),
    ("code", 'a = """b\n\n# c"""\n', [1, 3]),
    ("code", "class A:\n    '''Doc.'''\n    x = 1\n    '''a string behind it is code'''\n", [1, 3, 4]),
    ("lines", "a = 1\n\n# b\n", [1, 2, 3]),
])
def test_the_places_are_found(kind, source, lines):
    assert count.find(source)[kind] == lines


def test_counts_are_sums_over_folders_and_files(tmp_path):
    (tmp_path / "package" / "inner").mkdir(parents=True)
    (tmp_path / "package" / "a.py").write_text("a = [x for x in b]\n")
    (tmp_path / "package" / "inner" / "b.py").write_text("# comment\nf = lambda: 0\ng = 1\n")
    (tmp_path / "package" / "c.txt").write_text("not Python\n")
    (tmp_path / "d.py").write_text("'''Doc.'''\n")
    counts = count.count(["package", "d.py"], tmp_path)
    assert (counts["lines"], counts["code"]) == (5, 3)
    assert (counts["comprehensions"], counts["named_lambdas"]) == (1, 1)
    assert count.per_100(counts, "lambdas") == pytest.approx(100 / 3)
    assert count.per_100(count.count(["d.py"], tmp_path), "lambdas") == 0      # no code, no division by zero


def test_a_path_that_is_missing_is_named(tmp_path):
    with pytest.raises(SystemExit, match="nothing.py does not exist"):
        count.count(["nothing.py"], tmp_path)


def test_the_diff_knows_changed_new_and_removed_files(tmp_path):
    def git(*arguments):
        identity = ["-c", "user.name=A", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True)

    git("init")
    (tmp_path / "changed.py").write_text("a\nb\nc\n")
    (tmp_path / "removed.py").write_text("a\nb\n")
    (tmp_path / "same.py").write_text("a\n")
    (tmp_path / ".gitignore").write_text("ignored.py\n")
    git("add", ".")
    git("commit", "-m", "first")
    (tmp_path / "changed.py").write_text("a\nB\nc\nd\n")
    (tmp_path / "removed.py").unlink()
    (tmp_path / "new.py").write_text("1\n2\n3\n")
    (tmp_path / "figure.png").write_bytes(b"\0\n\n")
    (tmp_path / "ignored.py").write_text("1\n")
    changes = {"changed.py": (2, 1), "removed.py": (0, 2), "new.py": (3, 0), "figure.png": (0, 0)}
    assert count.diff("HEAD", tmp_path) == changes


@pytest.mark.parametrize("arguments", [
    [], ["--json", "tests/count.py"], ["tests/count.py"], ["--where", "comprehensions", "tests/count.py"]])
def test_the_command_prints_something(arguments, capsys):
    count.main(arguments)
    assert capsys.readouterr().out.strip()
