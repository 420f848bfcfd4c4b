"""Three studies of how thoughts grow: what they count, on texts and numbers that a person wrote."""

import importlib
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from minireason.tasks import parse_prompt

LESSONS = Path(__file__).parent.parent / "lessons"


@pytest.fixture
def study(monkeypatch):
    """A function that imports a study by its name."""
    monkeypatch.setattr(sys, "path", [str(LESSONS / "studies"), str(LESSONS), *sys.path])
    names = ("runs", "distance", "longer", "more_tokens", "two_plots")
    for name in names:
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield importlib.import_module
    for name in names:
        sys.modules.pop(name, None)


@pytest.fixture
def distance(study):
    return study("distance")


def test_a_move_is_right_if_target_and_number_are_those_of_its_letter(distance):
    problem = parse_prompt("make 42 from 3 8 6")
    thinking = ("try c 42-6=36 3*8=24 is 36 no wait try d 42/3=13 8+6=14 is 13 no wait try e 42/8 no "
                "wait try f 24/6=4 3+8=11 is 4 no wait try h 42+6=48 3*8=24 is 48 no")
    # a wrong result is no misreading, but 24 is not the target, and h adds the 8
    assert distance.right_moves(problem, thinking) == [True, True, True, False, False]


def test_counts_go_by_the_number_of_the_try(distance, monkeypatch):
    class Answer:
        text, ended = "<think>try a 1-1=0 is 0 no wait try b 2", False

    monkeypatch.setattr(distance.runs, "open_model", lambda *_: (None, None))
    monkeypatch.setattr(distance, "answers_with_ends", lambda *_, **__: [Answer] * 5)
    counts = distance.measure("with gaps", "rl", 5, 0, SimpleNamespace(fast=True, flags=[]))
    assert counts["moves"][:3] == [5, 0, 0] and counts["right"][0] == 0         # the last try was cut off
    assert counts["cut_off"] == counts["num_problems"] == 5 and counts["solved"] == 0
    assert distance.added([counts, counts])["moves"][0] == 10


def test_the_figure_leaves_out_what_was_counted_on_few_moves(distance):
    counts = {"moves": [50, 30, 5], "right": [45, 20, 5], "num_problems": 50, "solved": 1, "cut_off": 0}
    figure = distance.draw({(arm, stage): counts for arm in distance.ARMS for stage in distance.STAGES})
    for axis in figure.axes:
        assert [list(line.get_xdata()) for line in axis.lines] == [[1, 2], [1, 2]]
        assert list(axis.lines[0].get_ydata()) == pytest.approx([90, 100 * 20 / 30])


def test_the_two_plots_show_the_numbers_of_all_seeds(study):
    two_plots = study("two_plots")
    measured = []
    for right in (1, 0):            # two seeds: one solves all that the other does not
        training = []
        for iteration, sampled in ((0, 0), (10, 2_000_000), (20, 4_000_000)):
            outcomes = dict.fromkeys(two_plots.COLORS, f"{right}010")
            training.append({"iteration": iteration, "sampled": sampled, "tries": 1 + iteration / 10 + right,
                             "tokens": 30, "right": outcomes})
        points = [{"budget": budget, "right": f"{right}{right}11"} for budget in (8, 64)]
        measured.append({"training": training, "thinking": dict.fromkeys(two_plots.COLORS, points)})
    rows = {line["name"]: line for line in two_plots.rows_of(measured)}
    assert rows["iteration 10: countdown, right"]["value"] == pytest.approx(3 / 8)
    tries = rows["iteration 20: tries at countdown (mean, lowest, highest run)"]
    assert (tries["value"], tries["low"], tries["high"]) == (3.5, 3, 4)
    assert rows["at most 64 tokens of thinking: program, right"]["value"] == pytest.approx(3 / 4)

    learned, grown, thought = two_plots.draw(list(rows.values()), most_tries=3).axes
    assert list(learned.lines[0].get_xdata()) == [2, 4]                 # the start is a dotted line
    assert list(grown.lines[0].get_ydata()) == [2.5, 3.5] and list(grown.lines[1].get_ydata()) == [1.5, 1.5]
    assert list(thought.lines[0].get_xdata()) == [8, 64]


# -----------------------------------------------------------------------------
# longer.py

def answers(right, tries, tokens=50, length=()):
    """What `longer.measure` returns, of answers that all think and end."""
    every = "1" * len(right)
    return {"right": right, "thinks": every, "ended": every, "tries": tries, "tokens": [tokens] * len(right),
            "length": list(length)}


def test_tries_are_counted_in_right_and_in_wrong_answers(study):
    longer = study("longer")
    arm = answers("1101", [1, 1, 9, 3]) | {"thinks": "1011", "ended": "1101"}       # the second is a guess
    kept = longer.answers_of([arm])
    values = {title: statistic(kept) for title, statistic in longer.STATISTICS.items()}
    assert values == {"right": 0.75, "tries": pytest.approx(13 / 3), "tries of right answers": 2,
                      "tries of wrong answers": 9, "tokens": 50, "cut off": 0.25}


def test_an_arm_is_compared_with_the_usual_loss_of_the_same_seeds_and_problems(study):
    longer = study("longer")
    usual = [answers("10", [2, 4], 50, (60, 70)), answers("10", [2, 2], 60, (62, 72))]
    other = [answers("11", [3, 5], 55, (60, 80)), answers("10", [6, 6], 70, (62, 84))]
    measured = {longer.BEFORE: usual, **dict.fromkeys(longer.FLAGS, other), longer.USUAL: usual}
    rows = longer.rows_of({name: longer.answers_of(arms) for name, arms in measured.items()})
    found = {line["name"]: line for line in rows}
    assert found["Dr. GRPO less all tokens: tries"]["value"] == pytest.approx(2.5)
    assert found["Dr. GRPO less all tokens: tokens"]["low"] == 5
    assert found["Dr. GRPO: tokens"]["value"] == 62.5
    assert found["Dr. GRPO less all tokens: right"]["value"] == pytest.approx(1 / 4)
    assert not any(name.startswith("all tokens less") for name in found)
    kept = {name: longer.answers_of(arms) for name, arms in measured.items()}
    with_another_base = longer.rows_of(kept | {longer.BEFORE: kept["Dr. GRPO"]})
    assert found["Dr. GRPO less all tokens: tries"] in with_another_base
    grown, tries = longer.draw(measured, rows).axes
    assert [list(line.get_ydata()) for line in grown.lines][:2] == [[61, 66], [61, 71.5]]    # smoothed
    assert [bar.get_height() for bar in tries.patches[:2]] == [2, 3]      # the base: right ones, wrong ones


def test_a_model_is_kept_with_what_it_answered(study, monkeypatch):
    longer = study("longer")

    class Answer:
        text, num_tokens, ended = "<think>try a 1-1=0 is 0 no wait try b 2", 9, False

    config = SimpleNamespace(tasks=SimpleNamespace(levels={"countdown": (2,)}),
                             evaluate=SimpleNamespace(seed=1234, max_new_tokens=9))
    for name, value in (("whole_run", "whole"), ("open_model", (None, None)), ("config_of_source", config)):
        monkeypatch.setattr(longer.runs, name, lambda *_, value=value: value)
    monkeypatch.setattr(longer, "answers_with_ends", lambda *_, **__: [Answer] * 3)
    kept = longer.measure(longer.BEFORE, 3, 0, SimpleNamespace(flags=[]))
    assert kept == {"right": "000", "thinks": "111", "ended": "000", "tries": [2, 2, 2], "tokens": [9, 9, 9],
                    "length": []}


def test_each_arm_asks_train_py_for_its_own_loss(study, monkeypatch):
    longer, asked = study("longer"), {}
    monkeypatch.setattr(longer.runs, "whole_run", lambda *_: "whole")
    monkeypatch.setattr(longer.runs, "ensure", lambda name, *flags: asked.update({name: list(flags)}))
    for arm in longer.FLAGS:
        longer.trained_run(arm, 0, SimpleNamespace(flags=[]))
    losses = {name: flags[6:] for name, flags in asked.items()}
    assert asked["pure-0"] == ["rl", "--pure-rl", "--seed", 0, "--from", "whole"]
    assert losses == {
        "pure-0": [], "longer-each-completion-0": ["--rl-normalize", "sequence"],
        "longer-all-tokens-no-std-0": ["--no-rl-scale-advantages"],
        "longer-Dr.-GRPO-0": ["--rl-normalize", "constant", "--no-rl-scale-advantages"]}
