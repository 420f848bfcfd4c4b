"""What our own code never does, so that it can be read line by line. tests/count.py explains each word."""

import ast
import functools

import count
import pytest

NEVER = ["nested_comprehensions", "nested_conditionals", "named_lambdas", "times_truth", "over_110"]


@functools.cache
def lines_of_each_kind(file):
    return count.find(file.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", count.PACKAGE)
@pytest.mark.parametrize("kind", NEVER)
def test_the_package_and_its_commands_have_none(kind, path):
    places = []
    for file in count.python_files([path], count.ROOT):
        for line in lines_of_each_kind(file)[kind]:
            places.append(f"{file.relative_to(count.ROOT).as_posix()}:{line}")
    assert not places, f"{kind}: {', '.join(places)}"


def test_every_kind_is_one_that_is_counted():
    assert set(NEVER) < set(count.COLUMNS)


def test_durations_are_measured_with_a_clock_that_is_never_set_back():
    """time.time() follows the system's clock, which may be set back an hour in the middle of a run."""
    places = []
    for file in count.python_files([*count.PACKAGE, "lessons", "tests"], count.ROOT):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and ast.unparse(node) == "time.time":
                places.append(f"{file.relative_to(count.ROOT).as_posix()}:{node.lineno}")
            if isinstance(node, ast.ImportFrom) and node.module == "time":
                places += [f"{file}: {name.name}" for name in node.names if name.name == "time"]
    assert not places
