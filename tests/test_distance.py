"""The study of how well a prompt is read from far away: what it counts, on texts that a person wrote."""

import importlib
import sys
from pathlib import Path

import pytest

from minireason.tasks import parse_prompt

LESSONS = Path(__file__).parent.parent / "lessons"


@pytest.fixture
def distance(monkeypatch):
    """lessons/studies/distance.py as a module."""
    monkeypatch.setattr(sys, "path", [str(LESSONS / "studies"), str(LESSONS), *sys.path])
    for name in ("runs", "distance"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield importlib.import_module("distance")
    for name in ("runs", "distance"):
        sys.modules.pop(name, None)


def test_a_move_is_right_if_target_and_number_are_those_of_its_letter(distance):
    problem = parse_prompt("make 42 from 3 8 6")
    thinking = ("try c 42-6=36 3*8=24 is 36 no wait try d 42/3=13 8+6=14 is 13 no wait try e 42/8 no "
                "wait try f 24/6=4 3+8=11 is 4 no wait try h 42+6=48 3*8=24 is 48 no")
    # a wrong result is no misreading, but 24 is not the target, and h adds the 8
    assert distance.right_moves(problem, thinking) == [True, True, True, False, False]


def test_counts_go_by_the_number_of_the_try(distance, monkeypatch):
    class Answer:
        text, ended = "<think>try a 1-1=0 is 0 no wait try b 2", False

    monkeypatch.setattr(distance, "open_model", lambda *_: (None, None))
    monkeypatch.setattr(distance, "answers_with_ends", lambda *_, **__: [Answer] * 5)
    counts = distance.measure(distance.PRETRAINED, "rl", 5)
    assert counts["moves"][:3] == [5, 0, 0] and counts["right"][0] == 0         # the last try was cut off
    assert counts["cut_off"] == counts["num_problems"] == 5 and counts["solved"] == 0
    assert distance.added([counts, counts])["moves"][0] == 10


def test_the_figure_leaves_out_what_was_counted_on_few_moves(distance):
    counts = {"moves": [50, 30, 5], "right": [45, 20, 5], "num_problems": 50, "solved": 1, "cut_off": 0}
    figure = distance.draw({(arm, stage): counts for arm in distance.ARMS for stage in distance.STAGES})
    for axis in figure.axes:
        assert [list(line.get_xdata()) for line in axis.lines] == [[1, 2], [1, 2]]
        assert list(axis.lines[0].get_ydata()) == pytest.approx([90, 100 * 20 / 30])
