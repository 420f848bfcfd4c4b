"""The studies of claims C13, C16, C17, C19 and C20: each number against a loop, an exact sum or a hand-made
case, and their tables from made-up arms. None of them trains a run here."""

import functools
import importlib.util
import itertools
import json
import math
import random
import re
import sys
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers import tiny_model, toy_world
from test_studies import LESSONS, run_study
from test_studies import runs as runs  # the fixture

import train
from minireason import stats
from minireason.batch import Batch
from minireason.config import RLConfig, preset
from minireason.rollout import overlong_price
from minireason.run import open_model
from minireason.settings import check_model
from minireason.stats import bootstrap_interval
from minireason.tasks import countdown
from minireason.tasks.problem import Problem
from minireason.tokenizer import get_tokenizer
from minireason.tools import command_line
from minireason.tools.flags import apply_flags
from minireason.verifier import verify

CLAIMS = {"distill": 13, "generalize": 16, "sizes": 17, "trade": 19, "overthink": 20}


@pytest.fixture
def study(runs, monkeypatch):
    """study("trade") imports lessons/studies/trade.py, with the folders of `runs` elsewhere."""
    loaded = [*CLAIMS, "compare_imitation_rl", "more_tokens"]
    for name in loaded:
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield importlib.import_module
    for name in loaded:
        sys.modules.pop(name, None)


# -----------------------------------------------------------------------------
# What they share

def test_a_bootstrap_of_a_mean_is_that_of_stats(runs):
    rng = np.random.default_rng(1)
    first, second = rng.integers(0, 2, (3, 40)), rng.integers(0, 2, (3, 40))
    expected = bootstrap_interval(first, second)
    found = runs.bootstrap(lambda one, other: (one - other).mean(), first, second, num_resamples=2000)
    assert found == pytest.approx(expected, abs=0.001)
    shifted = first[..., None] + np.array([0.0, 10.0])      # a third axis stays as it is
    assert runs.bootstrap(lambda x: x[..., 1].mean(), shifted)[0] == pytest.approx(10 + first.mean())


def test_a_bootstrap_may_be_infinite(runs):
    values = np.array([[0.0, 1.0, 1.0, 1.0]])
    value, low, high = runs.bootstrap(lambda x: math.inf if x.mean() == 1 else x.mean(), values)
    assert value == 0.75 and low < 0.75 and math.isinf(high)


def test_a_trained_model_is_kept_and_never_trained_again(runs, monkeypatch):
    monkeypatch.setattr(runs, "config_of_run", lambda _: preset("laptop"))

    def train_once(model, number):
        assert not (runs.STUDIES / "model.json").exists()
        with torch.no_grad():
            model.embedding.weight.fill_(number)
        return {"cost": number}

    trained, notes = runs.kept_model("model", tiny_model(0, 8), train_once, 3)
    found, notes_again = runs.kept_model("model", tiny_model(1, 8), train_once, 3)
    assert notes == notes_again == {"cost": 3}
    with pytest.raises(SystemExit) as exit:
        runs.kept_model("model", tiny_model(1, 8), train_once, 4)       # of another size
    assert exit.value.code == 2
    run = Path("runs/a")
    runs.kept_model("begun", tiny_model(0, 8), lambda model: 1, start=run)
    monkeypatch.setattr(runs, "config_of_run", lambda _: preset("smoke"))
    with pytest.raises(SystemExit) as exit:
        runs.kept_model("begun", tiny_model(0, 8), lambda model: 1, start=run)      # made anew, otherwise
    assert exit.value.code == 2
    for name, tensor in trained.state_dict().items():
        assert torch.equal(tensor, found.state_dict()[name])


def test_an_arm_is_one_line_and_is_measured_once(runs, monkeypatch):
    args = parsed(runs, monkeypatch, "trade.py")
    assert runs.arm("a", args, lambda x: {"right": x}, "0110") == {"right": "0110"}
    assert (runs.RESULTS / "arms" / "a.json").read_text().count("\n") == 1
    assert runs.arm("a", args, None, "0110") == {"right": "0110"}
    other = parsed(runs, monkeypatch, "trade.py", "--rl-learning-rate", "1e-4")
    with pytest.raises(SystemExit) as exit:
        runs.arm("a", other, None, "0110")
    assert exit.value.code == 2


def parsed(runs, monkeypatch, *command):
    monkeypatch.setattr(sys, "argv", list(command))
    return runs.parse(runs.make_parser("a study", num_seeds=3))


# -----------------------------------------------------------------------------
# C16

def test_problems_out_of_distribution_are_what_no_training_draws(study):
    generalize = study("generalize")
    for draw in (generalize.larger_sum, generalize.larger_countdown, generalize.steeper_program,
                 generalize.longer_program):
        problems = generalize.draw_distinct(draw, 20)
        assert len({problem.prompt for problem in problems}) == 20
        assert generalize.draw_distinct(draw, 10) == problems[:10]
        for problem in problems:
            if problem.task == "arithmetic":
                chain = problem.prompt.removeprefix("compute ")
                assert eval(chain) == problem.target and 0 <= problem.target <= 99
                assert len([number for number in re.findall("[0-9]+", chain) if int(number) > 9]) == 1
            elif problem.task == "countdown":
                assert sorted(problem.numbers)[1] <= 20 < max(problem.numbers)
                assert countdown.is_solvable(problem.target, list(problem.numbers))
            else:       # the second divided difference of a parabola is its number of squares
                (x1, y1), (x2, y2), (x3, y3), *more = problem.examples
                rise, next_rise = Fraction(y2 - y1, x2 - x1), Fraction(y3 - y2, x3 - x2)
                squares = (next_rise - rise) / (x3 - x1)
                assert squares == (0 if more else 3) and len(problem.hidden) > 5
                assert all(y == y1 + rise * (x - x1) for x, y in more)


def test_four_numbers_are_scored_although_three_letters_are_no_words():
    tokenizer = get_tokenizer()
    problem = countdown.build(30, [2, 4, 6, 8])
    thinking, answer = countdown.write_thinking(problem, random.Random(0), lambda word: word, max_tries=40)
    text = f"<think>{thinking} try j 1+1=2 k l</think><answer>{answer}</answer>"
    assert tokenizer.decode(tokenizer.encode_tagged(text)) == text
    assert len(tokenizer.encode(" j ")) > len(tokenizer.encode(" a ")) == 1
    assert verify(problem, text).correct == countdown.is_solvable(30, [2, 4, 6, 8])
    moves = [step.split()[0] for step, *_ in countdown.moves_back(30, [2, 4, 6, 8])]
    assert moves == list("abcdefghijkl")


def test_a_fact_is_known_where_greedy_writing_gives_it(study, monkeypatch):
    """The included base, and eight facts, each written token by token. Three of them are wrong."""
    generalize = study("generalize")
    sheet = "7+8=15 3*9=28 40-12=28 9-20=-11 6*6=35 56/7=8 20*5=100 33+9=43"
    monkeypatch.setattr(generalize, "fact_sheet", lambda *_: ("", sheet))
    model, _ = open_model("pretrained", "base")
    tokenizer, facts, expected = get_tokenizer(), sheet.split(" "), []
    for i, fact in enumerate(facts):
        question, result = fact.split("=")
        ids, written = tokenizer.encode(" ".join([*facts[:i], f"{question}="])), ""
        while len(written) < len(result):
            with torch.no_grad():
                ids.append(int(model(torch.tensor([ids]))[0, -1].argmax()))
            written += tokenizer.decode(ids[-1:])
        expected.append(written == result)
    found = generalize.facts_known(model, len(facts))
    assert found == generalize.runs.digits(expected) and found[0] == "1" and found[1] == "0"


# -----------------------------------------------------------------------------
# C19

def test_lines_of_equal_accuracy_are_those_of_a_grid_made_by_hand(study):
    """At iteration 0 the share rises by 0.1 with each doubling from 16 tokens on, later from 8 and from 4."""
    trade = study("trade")
    for first in (16, 8, 4):
        points = [(first * 2**i, 0.1 * (i + 1)) for i in range(6)]
        random.Random(0).shuffle(points)
        points.append((first * 3, 0.05))      # dearer and worse: not on the frontier
        for level in range(1, 7):
            assert trade.tokens_needed(points, level / 10) == pytest.approx(first * 2**(level - 1))
        assert trade.tokens_needed(points, 0.25) == pytest.approx(first * 2**1.5)
        assert trade.tokens_needed(points, 0.05) == first      # the cheapest point is better than that
        assert math.isinf(trade.tokens_needed(points, 0.61))


def test_the_frontier_has_no_point_that_is_dearer_and_no_better(study):
    points = [(10, 0.5), (5, 0.2), (20, 0.5), (8, 0.1), (40, 0.9), (30, 0.4)]
    assert study("trade").frontier(points) == [(5, 0.2), (10, 0.5), (40, 0.9)]


def test_tokens_of_training_count_what_is_learned_from(study):
    lines = [{"num_tokens": 100, "zero_std_frac": 0.25}, {"num_tokens": 200, "zero_std_frac": 1.0},
             {"num_tokens": 999, "zero_std_frac": 0.0}]
    assert study("trade").training_tokens(lines, 2) == 100 + 3 * 75 + 200
    assert study("trade").evenly(list(range(8)), 6) == [0, 1, 3, 4, 6, 7]


def test_the_cost_of_rl_is_a_mean_over_the_seeds(study, runs, monkeypatch):
    lines = {0: [{"num_tokens": 100, "zero_std_frac": 1.0}] * 2,
             1: [{"num_tokens": 100, "zero_std_frac": 0.0}] * 2}
    trade = study("trade")
    monkeypatch.setattr(runs, "whole_run", lambda seed, args, needs: seed)
    monkeypatch.setattr(runs, "curve", lambda source, stage: lines[source])
    costs = trade.mean_costs([0, 1, 2], SimpleNamespace(seeds=[0, 1]))
    assert costs == {"0": 0.0, "1": (100 + 400) / 2, "2": (200 + 800) / 2}


# -----------------------------------------------------------------------------
# C20

def test_the_price_of_length_is_in_proportion_to_the_length(study, runs, monkeypatch):
    overthink, given = study("overthink"), []
    monkeypatch.setattr(runs, "whole_run", lambda *_, **__: "pretrained")
    monkeypatch.setattr(runs, "ensure", lambda *flags: given.extend(flags))
    overthink.priced_run(0.3, 0, parsed(runs, monkeypatch, "overthink.py"))
    args = train.parse([str(flag) for flag in given[1:]])
    config = apply_flags(preset("laptop"), command_line.given_flags(args)).rl
    lengths = torch.tensor([1, 52, 104, config.max_new_tokens])
    assert torch.allclose(overlong_price(lengths, config), 0.3 * lengths / config.max_new_tokens)
    assert not config.scale_advantages and RLConfig().scale_advantages


def test_tokens_that_can_go_are_read_off_the_broken_line(study):
    points = [(100, 0.70), (80, 0.70), (60, 0.66), (20, 0.10)]
    spared = study("overthink").tokens_spared
    assert spared(points, 0.0) == pytest.approx(0.20)
    assert spared(points, 0.01) == pytest.approx(1 - 75 / 100)      # a quarter of the way from 80 to 60
    assert spared(points, 0.04) == pytest.approx(0.40)
    assert spared(points, 0.32) == pytest.approx(1 - 40 / 100)      # half of the way from 60 to 20
    assert spared([(100, 0.5), (90, 0.4)], 0.0) == pytest.approx(0)
    assert spared([(100, 0.5), (120, 0.6)], 0.0) == 0               # longer answers spare nothing


def test_wrong_and_right_answers_to_one_problem_are_compared_as_in_a_loop(study):
    rng = np.random.default_rng(0)
    right = rng.integers(0, 2, (2, 30, 4)).astype(float)
    tokens = rng.integers(5, 100, (2, 30, 4)).astype(float)
    gaps = []
    for seed, problem in itertools.product(range(2), range(30)):
        lengths = {0: [], 1: []}
        for is_right, length in zip(right[seed, problem], tokens[seed, problem]):
            lengths[int(is_right)].append(length)
        if lengths[0] and lengths[1]:
            gaps.append(sum(lengths[0]) / len(lengths[0]) - sum(lengths[1]) / len(lengths[1]))
    overthink = study("overthink")
    assert overthink.wrong_less_right(right, tokens) == pytest.approx(sum(gaps) / len(gaps))
    assert math.isnan(overthink.wrong_less_right(np.ones((1, 2, 4)), tokens[:1, :2]))


@pytest.mark.parametrize("thinking, expected", [
    ("try a 42-3=39 try c 42-6=36 3*8=24 is 36 no wait try b 42-8=34", False),
    ("try c 42-6=36 3*12=36 is 36 yes", False), ("try c 42-6=36 3*12=36 is 36 yes wait try a 42-3=39", True)])
def test_who_tries_on_after_a_success_went_on(study, thinking, expected):
    problem = countdown.build(42, [3, 12, 6])
    text = f"<think>{thinking}</think><answer>(3*12)+6</answer>"
    assert study("overthink").went_on(problem, text) is expected
    assert not study("overthink").went_on(Problem("arithmetic", "compute 2+3", ""), text)


# -----------------------------------------------------------------------------
# C17

def test_the_share_without_a_signal_is_the_sum_over_all_groups(study):
    p, group_size, expected = 0.3, 5, 0.0
    for group in itertools.product((0, 1), repeat=group_size):
        if len(set(group)) == 1:
            expected += math.prod(p if is_right else 1 - p for is_right in group)
    assert study("sizes").silent_share(p, group_size) == pytest.approx(expected)


def test_a_run_without_a_step_has_no_wrong_step(study):
    """As tiny bases have it, on some processors: there the share is None."""
    measured = [{"wrong_steps": {"rl": {"countdown": share}}} for share in (None, 0.5)]
    assert study("sizes").shares_of(measured, "wrong_steps", "rl", "countdown") == [0.0, 0.5]


def test_each_width_is_a_model_and_the_usual_one_has_the_usual_settings(study, runs, monkeypatch):
    sizes, args = study("sizes"), parsed(runs, monkeypatch, "sizes.py")
    usual = preset("laptop")
    for width, _ in sizes.SIZES:
        flags = [str(flag) for flag in runs.flags_of_width(width, args)]
        config = apply_flags(preset("laptop"), command_line.given_flags(train.parse(["base", *flags])))
        check_model(config.model)
        for stage in ("base", "cold_start", "rl"):
            rate = getattr(usual, stage).learning_rate * 128 / width
            assert getattr(config, stage).learning_rate == pytest.approx(rate)
        assert config.model.width == width and (width != 128 or config.model == usual.model)


# -----------------------------------------------------------------------------
# C13

def all_completions(model, prompt, length):
    """{completion: log-probability}, of all completions of so many tokens."""
    sums = {}
    for completion in itertools.product(range(model.config.vocab_size), repeat=length):
        with torch.no_grad():
            logprobs = model(torch.tensor([prompt + list(completion)]))[0].double().log_softmax(-1)
        sums[completion] = sum(float(logprobs[len(prompt) - 1 + t, token])
                               for t, token in enumerate(completion))
    return sums


def rollout_of(prompt, completions):
    B, L = len(completions), len(completions[0])
    return Batch(ids=torch.tensor([prompt + list(completion) for completion in completions]),
                         prompt_lengths=torch.full((B,), len(prompt)),
                         completion_ids=torch.tensor(completions), completion_mask=torch.ones(B, L),
                         old_logprobs=torch.zeros(B, L), rewards=torch.zeros(B))


def test_the_reverse_kl_of_tokens_sums_to_that_of_whole_completions(study):
    """sum over x of P(x) log P(x)/Q(x), over all 36 completions of two tokens, is the mean under P of what
    the study adds up for each token."""
    distill = study("distill")
    student, teacher = tiny_model(1, 6, sharpness=20), tiny_model(2, 6, sharpness=20)
    prompt = [1, 2]
    p, q = all_completions(student, prompt, 2), all_completions(teacher, prompt, 2)
    expected = sum(math.exp(p[x]) * (p[x] - q[x]) for x in p)
    by_token = distill.reverse_kl(student, teacher, rollout_of(prompt, list(p)))     # (36, 2)
    weights = torch.tensor([math.exp(logprob) for logprob in p.values()])
    assert expected > 0.01
    assert float((weights * by_token.sum(1).detach()).sum()) == pytest.approx(expected, rel=1e-4)
    to_itself = distill.reverse_kl(student, student, rollout_of(prompt, list(p)))
    assert float(to_itself.detach().abs().max()) < 1e-6


def test_on_policy_distillation_brings_the_student_to_the_teacher(study):
    distill = study("distill")
    student, teacher = tiny_model(1, 6, sharpness=20), tiny_model(2, 6, sharpness=20)
    config = RLConfig(num_iterations=12, num_prompts=32, group_size=1, max_new_tokens=4, learning_rate=3e-3)
    before = [parameter.clone() for parameter in teacher.parameters()]
    lines = list(distill.distill_on_policy(student, teacher, toy_world(), config, seed=0))
    assert len(lines) == 12 and lines[-1]["kl"] < 0.5 * lines[0]["kl"]
    for parameter, old in zip(teacher.parameters(), before):
        assert torch.equal(parameter, old) and parameter.grad is None


def test_rl_is_taken_at_its_best_within_as_many_seconds(study):
    """A long run that is on its way may be behind a short one that has ended."""
    def points(*pairs):
        return [{"seconds": seconds, "arithmetic": "1" * right + "0" * (9 - right), "countdown": "0"}
                for seconds, right in pairs]

    arms = {"RL": points((5, 1), (50, 3), (100, 6)), "RL, four times": points((5, 1), (150, 4), (400, 9))}
    found = {seconds: study("distill").rl_until(arms, seconds) for seconds in (4, 60, 120, 200, 500)}
    assert [point and point["seconds"] for point in found.values()] == [None, 50, 100, 100, 400]


def test_a_comparison_is_of_the_seeds_that_have_both_arms(study):
    """The longest run may be made for some seeds alone."""
    def point(bits, seconds=1.0):
        return [{"seconds": seconds, "samples": 1, "arithmetic": bits, "countdown": bits}]

    by_seed = [{"RL": point("00"), "on-policy": point("11"), "RL, four times": point("01", 4.0)},
               {"RL": point("10"), "on-policy": point("10")}]
    distill = study("distill")
    ends, others = distill.ends_of(by_seed, "on-policy", "RL, four times")
    assert [end["arithmetic"] for end in ends + others] == ["11", "01"]
    [ends] = distill.ends_of(by_seed, "RL")
    assert [end["arithmetic"] for end in ends] == ["00", "10"]
    counted = [arms | {"teacher": [{"seconds": 100.0}]} for arms in by_seed]
    title = "on-policy less RL, equal seconds, teacher counted"
    rows = {row["name"]: row for row in distill.rows_at_equal_seconds("on-policy", True, counted)}
    assert rows[f"{title}: both"]["value"] == 0.5                   # seed 0 alone, against the longer run


def test_points_are_taken_at_even_distances(study, monkeypatch):
    distill = study("distill")
    monkeypatch.setattr(distill, "point_of", lambda model, seconds, samples, sizes: samples)
    assert distill.follow(range(10), 10, None, 7, 0.0, 100, {"num_looks": 3}) == [121, 142, 170]


# -----------------------------------------------------------------------------
# From the arms to the page

def some_bits(name, number=20):
    rng = random.Random(name)
    return "".join(rng.choice("01") for _ in range(number))


def made_up(name):
    """What an arm of this name might hold."""
    rng = random.Random(name)
    if name.startswith("C16"):
        groups = {"in distribution": ("arithmetic", "countdown", "program"), "not trained": ("chat", "facts"),
                  "out of distribution": ("longer sums", "larger sums", "four numbers", "larger numbers",
                                          "three squares", "four examples")}
        return {group: {world: some_bits(name + world) for world in worlds}
                for group, worlds in groups.items()}
    if name.startswith("C19-cost"):
        return {str(iteration): 1e4 * iteration for iteration in (0, 14, 42, 57, 85, 100)}
    if name.startswith("C19"):
        names = ("budget 0", "budget 64", *(f"vote {2**i}" for i in range(5)))
        return {"points": [{"name": point, "tokens": 10.0 * 2**i,
                            "right": [int(bit) for bit in some_bits(name + point)]}
                           for i, point in enumerate(names)]}
    if name.startswith("C20"):
        right = [[rng.randint(0, 1) for _ in range(4)] for _ in range(20)]
        tokens = [[rng.randint(5, 90) for _ in range(4)] for _ in range(20)]
        one = {"level": [2, 3] * 10, "right": right, "tokens": tokens, "went_on": right}
        return {"arithmetic": one, "countdown": one}
    if name.startswith("C17"):
        scores = {}
        for stage in ("base", "rl"):
            scores[stage] = {task: some_bits(name + stage + task) for task in ("arithmetic", "countdown")}
        curve = [round(rng.random(), 4) for _ in range(12)]
        steps = {"base": {"arithmetic": 0.1, "countdown": 0.2}, "rl": {"arithmetic": 0.3, "countdown": 0.4}}
        thinks = {"base": {"arithmetic": 0.5, "countdown": 0.6}, "rl": {"arithmetic": 0.7, "countdown": 0.8}}
        return {**scores, "wrong_steps": steps, "thinks": thinks, "reward": curve, "zero_std_frac": curve}
    return {"points": [{"seconds": 10.0 * (i + 1), "samples": 384 * i, "arithmetic": some_bits(f"{name}{i}"),
                        "countdown": some_bits(f"{name}{i}c")} for i in range(4)]}


@pytest.fixture
def write(runs, monkeypatch):
    """lessons/results/write.py, which reads the results that `runs` writes."""
    spec = importlib.util.spec_from_file_location("write_claims", LESSONS / "results" / "write.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "HERE", runs.RESULTS)
    return module


@pytest.mark.slow
@pytest.mark.parametrize("name", CLAIMS)
def test_the_tables_and_the_figure_of_a_claim_come_from_its_arms(name, study, runs, write, monkeypatch):
    number = CLAIMS[name]
    tables = [key for key in write.TABLES if key.startswith(f"C{number}-")]
    for needs_a_run in ("whole_run", "ensure", "kept", "rl_models"):
        monkeypatch.setattr(runs, needs_a_run, None)        # as in a clone, which has no runs
    monkeypatch.setattr(stats, "bootstrap_interval", functools.partial(bootstrap_interval, num_resamples=40))
    monkeypatch.setattr(runs, "bootstrap", functools.partial(runs.bootstrap, num_resamples=40))
    monkeypatch.setattr(runs, "arm", lambda arm, args, measure, *arguments: made_up(arm))
    run_study(name, monkeypatch, "--seeds", "2")
    claim = json.loads((runs.RESULTS / f"C{number}.json").read_text())
    assert claim["seeds"] == [0, 1] and claim["command"].endswith(f"{name}.py --seeds 2")
    assert (runs.RESULTS / f"C{number}.png").stat().st_size > 5000
    for row in claim["rows"]:
        ends = [end for end in (row["low"], row["value"], row["high"]) if end is not None]
        assert ends == sorted(ends) and all(map(math.isfinite, ends)), row
    for key in tables:
        text = write.TABLES[key]()
        assert text.count("\n") >= 4, key


@pytest.mark.parametrize("name", CLAIMS)
def test_a_study_of_scale_says_how_it_is_used(name, runs, monkeypatch, capsys):
    with pytest.raises(SystemExit) as exit:
        run_study(name, monkeypatch, "--help")
    shown = capsys.readouterr().out
    assert exit.value.code == 0 and "--fast" in shown and "--seeds" in shown and "train.py" in shown


def test_the_table_of_where_a_critic_pays_subtracts_the_second_from_the_first(write):
    write.HERE.mkdir()
    rows = []
    for name, value in (("a: ppo", 0.75), ("a: grpo", 0.5), ("lead", 0.25), ("lead, seed 4", 0.125)):
        rows.append({"name": name, "value": value, "low": value, "high": value})
    claim = {"rows": rows, "seeds": [4], "num_problems": 2, "pairs": {"lead": ["a: ppo", "a: grpo"]}}
    (write.HERE / "critic.json").write_text(json.dumps(claim))
    assert write.where_a_critic_pays().splitlines()[3] == (
        "| lead | 75.0 [75.0, 75.0] | 50.0 [50.0, 50.0] | +25.0 [25.0, 25.0] | +12.5 |")


def test_the_comparison_shows_what_was_measured(write):
    rows = []
    planned, once = "ppo in the seconds of grpo", "ppo with one update in the seconds of grpo"
    by_seed, preset = "ppo - grpo, seed 0", "grpo with the preset"
    arms = ("grpo", "ppo", "ppo - grpo", by_seed, planned, f"{planned} - grpo", once, f"{once} - grpo",
            preset, f"grpo - {preset}")
    for place, arm in enumerate(arms):
        for what in (*write.TASKS, "all tasks", "on the way by completions", "on the way by seconds"):
            value = 0.1 * (place + 1)
            rows.append({"name": f"cold start: {arm}, {what}", "value": value, "low": value - 0.01,
                         "high": value + 0.01})
    claim = {"seeds": [0], "num_problems": 3000, "rows": rows}
    write.HERE.mkdir(exist_ok=True)
    (write.HERE / "C5.json").write_text(json.dumps(claim))
    text = write.comparison("cold start")
    starts = ["from the cold start", "---", "GRPO | 10.0", "PPO | 20.0", "PPO minus GRPO | +30.0",
              "PPO minus GRPO, seed 0 | +40.0", "PPO in GRPO's seconds | 50.0", "the same minus GRPO | +60.0",
              "PPO with one update, in GRPO's seconds | 70.0", "the same minus GRPO | +80.0",
              "GRPO, preset | 90.0", "GRPO minus GRPO, preset | +100.0"]
    assert once in (LESSONS / "studies" / "compare_ppo_grpo.py").read_text(encoding="utf-8")
    for line, start in zip(text.strip().splitlines(), starts, strict=True):
        assert line.lstrip("| ").startswith(start)


def test_a_goal_that_is_never_reached_keeps_the_end_that_is_known(write):
    assert write.rounded_interval({"value": 1205.4, "low": 1100, "high": None}) == "1,205 [1,100, never]"
    assert write.rounded_interval({"value": None, "low": 1100, "high": None}) == "never [1,100, never]"
    assert write.rounded_interval({"value": None, "low": None, "high": None}) == "never"
