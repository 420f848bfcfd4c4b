"""What our own code never does, so that it can be read line by line. tests/count.py explains each word."""

import count
import pytest

NEVER = ["nested_comprehensions", "nested_conditionals", "named_lambdas", "times_truth", "over_110"]


@pytest.mark.parametrize("path", count.PACKAGE)
@pytest.mark.parametrize("kind", NEVER)
def test_the_package_and_its_commands_have_none(kind, path):
    places = []
    for file in count.python_files([path], count.ROOT):
        for line in count.find(file.read_text(encoding="utf-8"))[kind]:
            places.append(f"{file.relative_to(count.ROOT).as_posix()}:{line}")
    assert not places, f"{kind}: {', '.join(places)}"


def test_every_kind_is_one_that_is_counted():
    assert set(NEVER) < set(count.COLUMNS)
