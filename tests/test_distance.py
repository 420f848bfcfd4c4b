"""Four studies of how thoughts grow: what they count, on texts and numbers that a person wrote."""

import importlib
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from minireason.tasks import parse_prompt

LESSONS = Path(__file__).parent.parent / "lessons"
EVERY_RUN = "(mean, lowest, highest run)"


@pytest.fixture
def study(monkeypatch):
    """A function that imports a study by its name."""
    monkeypatch.setattr(sys, "path", [str(LESSONS / "studies"), str(LESSONS), *sys.path])
    names = ("runs", "distance", "fewer_tries", "longer", "more_tokens", "two_plots")
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


def test_a_move_that_was_cut_off_is_not_counted(distance, monkeypatch):
    class Answer:
        text, ended = "<think>try a 1-1=0 is 0 no wait try b 2", False

    monkeypatch.setattr(distance.runs, "open_model", lambda *_: (None, None))
    monkeypatch.setattr(distance, "answers_with_ends", lambda *_, **__: [Answer] * 5)
    arm = distance.measure("with gaps", "rl", 5, 0, SimpleNamespace(fast=True, flags=[]))
    assert arm == {"solved": "00000", "ended": "00000", "moves": ["0"] * 5}


def test_shares_go_by_the_number_of_the_try(distance):
    """Two seeds of 25 answers. All have a first move, 40 of 50 are right. Only one seed has second ones."""
    first = {"solved": "1" * 25, "ended": "1" * 25, "moves": ["11"] * 15 + ["10"] * 10}
    second = {"solved": "0" * 25, "ended": "01" * 12 + "0", "moves": ["1"] * 15 + ["0"] * 10}
    points = distance.by_try([first, second])
    assert [point[:3] for point in points] == [(1, 50, 0.8), (2, 25, 0.6)]
    low, high = points[0][3:]
    assert 0.4 < low < 0.8 < high == 1      # the seeds are drawn, too: twice the first, all are right
    rows = {line["name"]: line for line in distance.rows_of("without", "rl", [first, second])}
    assert rows["without, rl: right"]["value"] == 0.5
    assert rows["without, rl: cut off"]["value"] == pytest.approx(13 / 50)
    of_second = rows["without, rl: right numbers in try 2 of 25"]       # some draws have no such move at all
    assert 0.3 < of_second["low"] < of_second["value"] < of_second["high"] < 0.9


def test_the_figure_leaves_out_what_was_counted_on_few_moves(distance):
    arm = {"moves": ["110"] * 5 + ["10"] * 25 + ["0"] * 20}
    figure = distance.draw({(name, stage): [arm] for name in distance.ARMS for stage in distance.STAGES})
    for axis in figure.axes:
        assert [list(line.get_xdata()) for line in axis.lines] == [[1, 2], [1, 2]]
        assert list(axis.lines[0].get_ydata()) == pytest.approx([60, 100 * 5 / 30])


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
    monkeypatch.setattr(longer.runs, "curve", lambda source, stage: [{"completion_length": 31.234}])
    assert longer.look_at("run", "rl", 3)["length"] == [31.23]
    assert longer.look_at("run", "base", 3)["length"] == []


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


# -----------------------------------------------------------------------------
# fewer_tries.py

def test_tries_are_compared_with_the_most_of_any_text(study):
    fewer_tries, longer = study("fewer_tries"), study("longer")
    three_think = {"thinks": "1110"}                # the fourth answer is a guess
    base = longer.answers_of([answers("1000", [1, 1, 1, 0]) | three_think,
                              answers("0000", [1, 1, 2, 0]) | three_think])
    rl = longer.answers_of([answers("1101", [1, 3, 12, 9]) | three_think,
                            answers("1101", [2, 2, 4, 9]) | three_think])
    models = {}
    for most in fewer_tries.MOST:
        models |= {(most, "base"): base, (most, "rl"): rl}
    rows = fewer_tries.rows_of(models)
    found = {line["name"]: line["value"] for line in rows}
    assert found["at most 1, rl: beyond all texts"] == pytest.approx(5 / 6)
    assert found["at most 2, rl: beyond all texts"] == pytest.approx(3 / 6)
    assert found["at most 2, rl: right beyond all texts"] == pytest.approx(1 / 3)
    assert found["at most 3, rl: right beyond all texts"] == 0
    assert found["at most 2, rl less base: tries"] == pytest.approx(24 / 6 - 7 / 6)
    assert found["at most 2, rl: thinks"] == 3 / 4
    assert found["at most 2, rl: right"] == 3 / 4
    assert found["at most 2, rl: right if it thinks"] == pytest.approx(2 / 3)
    by_run = next(line for line in rows if line["name"] == f"at most 3, rl: tries {EVERY_RUN}")
    assert (by_run["low"], by_run["high"]) == (pytest.approx(8 / 3), pytest.approx(16 / 3))
    assert list(fewer_tries.shares_by_tries(rl)) == pytest.approx(
        [100 * number / 6 for number in (1, 2, 1, 1, 0, 0, 0, 0, 0, 1)])        # twelve count as ten

    shown, tries, right = fewer_tries.draw(models, rows).axes
    assert [bar.get_height() for bar in shown.patches[:2]] == pytest.approx([100 / 6, 200 / 6])
    assert [bar.get_height() for bar in tries.patches] == pytest.approx(3 * [7 / 6] + 3 * [4])
    assert [list(line.get_ydata()) for line in tries.lines if line.get_linestyle() == "--"] == [
        [1, 1], [2, 2], [3, 3]]
    assert [bar.get_height() for bar in right.patches] == pytest.approx(3 * [100 / 8] + 3 * [600 / 8])


def test_where_no_answer_goes_beyond_all_texts_it_is_neither_right_nor_wrong(study):
    fewer_tries, longer = study("fewer_tries"), study("longer")
    once = longer.answers_of([answers("10", [1, 1])])
    models = {}
    for most in fewer_tries.MOST:
        models |= {(most, "base"): once, (most, "rl"): once}
    found = {line["name"]: line["value"] for line in fewer_tries.rows_of(models)}
    assert found["at most 1, rl: beyond all texts"] == 0
    assert "at most 1, rl: right beyond all texts" not in found


def test_texts_that_may_try_more_often_end_right_more_often(study):
    shares = [study("fewer_tries").right_thoughts(most, 3000) for most in (1, 2, 3)]
    assert 0.3 < shares[0] < shares[1] - 0.02 < shares[2] - 0.04 < 0.6


def test_texts_with_fewer_tries_make_runs_of_their_own(study, monkeypatch):
    fewer_tries, longer, asked = study("fewer_tries"), study("longer"), {}
    monkeypatch.setattr(fewer_tries.runs, "ensure", lambda name, *flags, needs: asked.update({name: flags}))
    monkeypatch.setattr(longer, "look_at", lambda source, *arguments: (source.name, *arguments))
    args = SimpleNamespace(flags=["--device", "cpu"])
    function, name, _, measure, *arguments = fewer_tries.job_of(2, "rl", 10, 1, args)
    assert (name, measure(*arguments)) == ("tries-2-rl-1", ("tries-2-1", "rl", 10))
    assert asked == {"tries-2-1": ("--tasks-max-tries", 2, "--pure-rl", "--seed", 1, "--device", "cpu")}
    assert fewer_tries.job_of(3, "base", 10, 1, args)[1] == "longer-the-base-1"      # arms of longer.py
    assert fewer_tries.job_of(3, "rl", 10, 1, args)[1] == "longer-all-tokens-1"
