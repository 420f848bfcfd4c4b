"""The studies of rewards, C14, C15 and C18: what they count, against counts by hand, and each of them from
beginning to end. `runs` and `run_study` are those of test_studies.py."""

import importlib.util
import itertools
import json
import random
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from helpers import tiny_model
from test_pretrained import SHORT
from test_studies import run_study, runs  # noqa: F401      a fixture

from minireason import stages
from minireason.align import RewardModel
from minireason.stats import bootstrap_interval
from minireason.tasks import arithmetic, parse_prompt
from minireason.tasks.words import Voice
from minireason.tokenizer import get_tokenizer

ROOT = Path(__file__).parent.parent
STUDIES = {"beyond_the_base": 14, "random_rewards": 15, "process_rewards": 18}
SUM, MAKE = parse_prompt("compute 2+3"), parse_prompt("make 42 from 3 8 6")


IMPORTED = ("beyond_the_base", "compare_imitation_rl", "compare_ppo_grpo", "generalize")     # by a study


@pytest.fixture
def study(runs, request):  # noqa: F811
    """The module that a test's parameter names, with the folders of `runs`."""
    for name in IMPORTED:
        sys.modules.pop(name, None)
    module = importlib.import_module(request.param)
    yield module
    for name in (request.param, *IMPORTED):
        sys.modules.pop(name, None)


def use(name):
    return pytest.mark.parametrize("study", [name], indirect=True)


def answer(text, thinking="2+3=5"):
    return f"<think>{thinking}</think><answer>{text}</answer>"


# -----------------------------------------------------------------------------
# Arms, which are kept, and runs with another reward

def asked(runs, monkeypatch, *arguments):  # noqa: F811
    monkeypatch.setattr(sys, "argv", ["study.py", *arguments])
    return runs.parse(runs.make_parser("A study.", num_seeds=1))


def test_an_arm_is_measured_once_and_refused_with_other_settings(runs, monkeypatch, capsys):  # noqa: F811
    args, calls = asked(runs, monkeypatch), []

    def measure(value):
        calls.append(value)
        return {"value": value}

    assert runs.arm("a", args, measure, 1.5) == {"value": 1.5} == runs.arm("a", args, measure, 2.5)
    assert calls == [1.5]
    text = (runs.RESULTS / "arms" / "a.json").read_text()
    assert text.count("\n") == 1 and ": " not in text
    other = asked(runs, monkeypatch, "--rl-learning-rate", "0.001")
    with pytest.raises(SystemExit) as exit:
        runs.arm("a", other, measure, 3.5)
    error = capsys.readouterr().err
    assert exit.value.code == 2 and "(rl.learning_rate): leave these out" in error and calls == [1.5]


def test_only_the_rewarded_run_gets_the_other_reward(runs, monkeypatch):  # noqa: F811
    """The whole run that it goes on from is trained with its own, if it is not there yet."""
    plain_world, worlds = stages.rl_world, {}

    def ensure(name, *flags, **_):
        worlds[name] = stages.rl_world

    def reward(problems, completions):
        return [0.25] * len(problems)

    monkeypatch.setattr(runs, "ensure", ensure)
    monkeypatch.setattr(stages, "rl_world", lambda run: stages.World("draw", "exact", "tokenizer"))
    plain_world = stages.rl_world
    folder = runs.rewarded_run("reward", reward, 3, asked(runs, monkeypatch))
    assert folder == runs.STUDIES / "reward-3" and list(worlds) == ["seed-3", "reward-3"]
    assert worlds["seed-3"] is plain_world is stages.rl_world
    assert worlds["reward-3"](None) == stages.World("draw", reward, "tokenizer")


# -----------------------------------------------------------------------------
# C15: rewards that know less than the verifier, or nothing

GROUPS = [      # (problem, what a group answered, whom the majority pays), worked out by hand
    (SUM, [answer("5"), answer("6"), answer("6"), "6", answer("6")], [0, 1, 1, 0, 1]),      # wrong, and paid
    (SUM, [answer("5"), answer("6"), answer("7"), "5", ""], [0, 0, 0, 0, 0]),               # no two agree
    (MAKE, [answer("6*(3+4)"), answer("6 * (3+4)"), answer("3*8"), answer("3*8*6"), ""], [1, 1, 0, 0, 0]),
    (MAKE, ["", "", "", "", ""], [0, 0, 0, 0, 0])]


def rows_of_groups():
    problems, texts, pays = [], [], []
    for problem, of_group, paid in GROUPS:
        problems += [parse_prompt(problem.prompt)] * len(of_group)      # an object of its own for each group
        texts += of_group
        pays += paid
    return problems, texts, pays


@use("random_rewards")
def test_the_majority_of_each_group_is_paid(study):
    problems, texts, pays = rows_of_groups()
    assert study.majority(problems, texts) == pays


@use("random_rewards")
def test_a_coin_knows_the_rate_and_nothing_else(study):
    problems = [SUM] * 4000
    texts = [answer("5")] * 1000 + [answer("6")] * 3000
    coins = study.coin(problems, texts)
    assert set(coins) == {0.0, 1.0} and abs(sum(coins) / 4000 - 0.25) < 0.03
    assert abs(sum(coins[:1000]) / 1000 - 0.25) < 0.06         # right answers are paid no more often
    assert study.coin(problems, texts[::-1]) == coins          # so a resumed run gets the same
    assert study.coin([MAKE] * 4000, texts) == [0.0] * 4000    # nothing is right, so nothing is paid


@use("random_rewards")
def test_form_and_inverted_rewards(study):
    texts = [answer("5"), answer("6"), answer("5", thinking=" "), "5", ""]
    assert study.exact([SUM] * 5, texts) == [1, 0, 1, 0, 0]
    assert study.inverted([SUM] * 5, texts) == [0, 1, 0, 1, 1]
    assert study.form([SUM] * 5, texts) == [1, 1, 0, 0, 0]


# -----------------------------------------------------------------------------
# C14: pass@k

@pytest.mark.parametrize("enough", [1, 2, 3, 9])
@use("beyond_the_base")
def test_pass_at_k_is_unbiased_although_sampling_stops(study, enough):
    """Over all sequences of six answers, each with its probability, the mean is exactly 1 - (1-p)^k."""
    for chance in (0.1, 0.6):
        means = dict.fromkeys(range(1, 7), 0.0)
        for outcomes in itertools.product((False, True), repeat=6):
            weight = chance ** sum(outcomes) * (1 - chance) ** (6 - sum(outcomes))
            num_answers, num_right = study.cut(outcomes, enough)
            for k in means:
                means[k] += weight * study.pass_at(k, num_answers, num_right, enough)
        for k, mean in means.items():
            assert mean == pytest.approx(1 - (1 - chance) ** k)


@use("beyond_the_base")
def test_a_problem_is_left_alone_once_it_was_solved_often_enough(study, monkeypatch):
    """One problem is always solved, one at each third answer, one never."""
    asked_for, problems = [], [SUM, MAKE, parse_prompt("compute 2+4")]

    def answer_all(model, tokenizer, prompts, max_new_tokens, seed):
        asked_for.append({problem.prompt: prompts.count(problem.prompt) for problem in problems})
        texts = []
        for i, prompt in enumerate(prompts):
            text = "5" if prompt == SUM.prompt else "1"
            if prompt == MAKE.prompt and i % 3 == 0:
                text = "(8+6)*3"
            texts.append((answer(text), 9))
        return texts

    monkeypatch.setattr(study, "answer_all", answer_all)
    monkeypatch.setattr(study, "AT_ONCE", 6)
    monkeypatch.setattr(study, "ENOUGH", 3)
    counts = study.count_right(None, problems, 10, 8, seed=0)
    assert counts == [(3, 3), (7, 3), (10, 0)]
    assert [list(sizes.values()) for sizes in asked_for] == [[6, 6, 6], [0, 4, 4]]


@use("beyond_the_base")
def test_where_two_curves_cross(study):
    ks = [1, 2, 4]
    assert study.crossing([0.2, 0.4, 0.8], [0.4, 0.5, 0.6], ks) == pytest.approx(2 * 2 ** (1 / 3))
    assert study.crossing([0.2, 0.4, 0.5], [0.4, 0.5, 0.6], ks) is None
    assert study.crossing([0.2, 0.9, 1.0], [0.4, 1.0, 1.0], ks) is None       # both solve all
    assert study.crossing([0.2, 0.9, 1.0], [0.4, 0.7, 1.0], ks) == pytest.approx(2 ** (1 / 2))
    assert study.crossing([0.5, 0.9, 1.0], [0.4, 0.9, 1.0], ks) == 1
    assert study.crossing([0.5, 0.6, 0.7], [0.6, 0.6, 0.6], ks) == 2          # level at 2, above at 4
    assert study.crossing([0.6, 0.4, 0.8], [0.4, 0.5, 0.6], ks) == pytest.approx(2 * 2 ** (1 / 3))
    assert study.powers_of_two(8) == [1, 2, 4, 8] and study.powers_of_two(6) == [1, 2, 4, 6]
    assert study.between_powers_of_two(10) == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
    fine = study.between_powers_of_two(1024)
    assert fine[-1] == 1024 and max(b / a for a, b in zip(fine[8:], fine[9:])) < 1.2


@use("beyond_the_base")
def test_the_interval_of_a_crossing(study, monkeypatch):
    """Problems that are all alike leave no doubt. Where half of them never cross, some resamples do not."""
    monkeypatch.setattr(study, "NUM_RESAMPLES", 200)
    ks, crosses = [1, 2, 4], [0.2, 0.4, 0.8]
    after = study.np.array([[[0.4, 0.5, 0.6]] * 4] * 2)
    place = study.crossing_interval(study.np.array([[crosses] * 4] * 2), after, ks)
    assert place["low"] == pytest.approx(place["k"]) == pytest.approx(place["high"]) and place["share"] == 1
    mixed = study.np.array([[crosses, crosses, [0, 0.1, 0.41], [0, 0.1, 0.41]]] * 2)
    place = study.crossing_interval(mixed, after, ks)
    assert place["high"] is None and place["k"] is not None and 0.3 < place["share"] < 1


@use("beyond_the_base")
def test_what_one_model_solves_alone(study):
    first = [{"counts": [[64, 0], [64, 3], [40, 32]]}, {"counts": [[64, 1], [64, 1], [64, 0]]}]
    second = [{"counts": [[64, 1], [64, 0], [50, 32]]}, {"counts": [[64, 0], [64, 0], [64, 0]]}]
    assert study.alone(first, second) == [[0, 1, 0], [1, 1, 0]]
    assert study.alone(second, first) == [[1, 0, 0], [0, 0, 0]]


def test_a_random_expression_is_right_by_chance(monkeypatch):
    """Of three numbers: a+b+c, abc; 3 each of a+b-c, a-b-c, ab+c, ab-c, c-ab, (a+b)c; 6 of (a-b)c: 26."""
    monkeypatch.syspath_prepend(str(ROOT / "lessons" / "studies"))
    monkeypatch.syspath_prepend(str(ROOT / "lessons"))
    guess = importlib.import_module("guess")
    assert guess.values_of([2, 3, 4], ["+", "*"]) == [14, 20]
    assert guess.share_right(parse_prompt("make 6 from 2 3")) == 1 / 4                 # 2+3 2*3 2-3 3-2
    assert guess.share_right(parse_prompt("make 35 from 2 5 9")) == 1 / 26             # (9-2)*5
    assert guess.share_right(parse_prompt("make 6 from 1 2 3")) == 2 / 26              # 1+2+3 1*2*3
    once, many = [row["value"] for row in guess.rows_of([parse_prompt("make 6 from 2 3")], (1, 3))]
    assert once == 0.25 and many == pytest.approx(1 - 0.75 ** 3)


# -----------------------------------------------------------------------------
# C14 on harder problems: which thoughts are complete

LONG = parse_prompt("compute 7*7+8*3-9")
NEEDED = "7*7=49 8*3=24 49+24=73 73-9=64"


@use("harder")
def test_the_steps_that_a_sum_needs(study):
    assert study.steps_needed(LONG) == NEEDED.split()
    assert study.steps_needed(parse_prompt("compute 2*3*4-5")) == ["2*3=6", "6*4=24", "24-5=19"]
    assert study.steps_needed(parse_prompt("compute -5+9")) == ["-5+9=4"]
    assert study.steps_needed(parse_prompt("compute 3-8+2")) == ["3-8=-5", "-5+2=-3"]


@pytest.mark.parametrize("thinking, complete", [
    (NEEDED, True), (f"so {NEEDED.replace(' ', ' so ')}", True),
    ("7*7=49 8*3=24 49+24=83 check 83-24=59 no wait 49+24=73 so 73-9=64", True),      # repaired
    ("7*7=49 49+24=73 73-9=64", False), ("7*7=49 8*3=24 73-9=64", False),             # a step is missing
    ("7*7=49 8*3=25 49+24=73 73-9=64", False), ("73-9=64", False), ("", False),
    ("8*3=24 49+24=73 73-9=64 7*7=49", False), ("is 64 yes", False)])
@use("harder")
def test_a_thought_is_complete_if_it_has_all_steps(study, thinking, complete):
    assert study.is_complete(LONG, thinking) == complete
    assert study.grade(LONG, answer("64", thinking)) == (study.COMPLETE if complete else study.RIGHT)
    assert study.grade(LONG, answer("65", thinking)) == 0 == study.grade(LONG, thinking)


@use("harder")
def test_thoughts_without_slips_are_complete_and_no_step_may_be_another(study):
    rng = random.Random(3)
    for _ in range(100):
        problem = arithmetic.make_problem(rng, rng.choice((2, 3, 4)))
        thinking, final = arithmetic.write_thinking(problem, rng, Voice(rng, "en"), check_chance=0.5)
        assert study.grade(problem, answer(final, thinking)) == study.COMPLETE
        needed = study.steps_needed(problem)
        changed = rng.choice(needed)
        assert study.grade(problem, answer(final, thinking.replace(changed, f"{changed}0"))) == study.RIGHT


@use("harder")
def test_sampling_goes_on_until_enough_answers_have_the_best_grade(study, monkeypatch):
    """All answers are right, and each second one is complete."""
    def answer_all(model, tokenizer, prompts, max_new_tokens, seed):
        return [(answer("64", NEEDED if i % 2 else "7*7=49"), 9) for i in range(len(prompts))]

    monkeypatch.setattr(study.beyond, "answer_all", answer_all)
    monkeypatch.setattr(study.beyond, "AT_ONCE", 4)
    monkeypatch.setattr(study.beyond, "ENOUGH", 3)
    assert study.beyond.count_right(None, [LONG], 20, 8, seed=0) == [(3, 3)]
    [grades] = study.beyond.grades_until_enough(None, [LONG], 20, 8, 0, study.grade, best=study.COMPLETE)
    assert grades == [1, 2, 1, 2, 1, 2, 1, 2]
    monkeypatch.setattr(study.generalize, "worlds", lambda number: {"out of distribution": {"sums": [LONG]}})
    monkeypatch.setattr(study, "model_of", lambda *_: None)
    arm = study.measure("base", "sums", {}, 0, SimpleNamespace(flags=[], fast=True, problems=1, samples=20))
    assert arm["right"] == [(3, 3)] and arm["complete"] == [(6, 3)] and arm["enough"] == 3


# -----------------------------------------------------------------------------
# C18: steps, and a scorer that learns to judge them

THOUGHT = "try b 42-8=35 3*6=18 is 35 no wait try c 42-6=36 3*8=24 is 36 no wait try e 42/8=5 42-6=36"


@use("process_rewards")
def test_the_pay_of_steps_is_that_of_a_hand_counted_text(study):
    """Six steps: 42-8=35 is wrong, 42/8 does not come out even, four are right, one of them a second time."""
    _, steps = study.steps_of(MAKE, answer("1", THOUGHT))
    assert [step.right for step in steps] == [False, True, True, True, None, True]
    for text in (answer("1", THOUGHT), THOUGHT):                       # well formed or not
        assert study.each_step(MAKE, text) == pytest.approx(4 * study.STEP_PAY)
        assert study.no_wrong_step(MAKE, text) == 0
    assert study.count_repeated(steps) == 1
    assert study.no_wrong_step(MAKE, answer("1", "try b 42-8=34 3*6=18 is 34 no")) == 1
    assert study.no_wrong_step(MAKE, answer("1", "")) == 0 == study.each_step(MAKE, "")


@use("process_rewards")
def test_the_scorer_reads_each_step_to_its_end(study):
    ids, ends = study.encode_steps(MAKE, answer("1", THOUGHT))
    tokenizer = get_tokenizer()
    whole = tokenizer.encode_prompt(MAKE.prompt) + tokenizer.encode_tagged(f"<think>{THOUGHT}")
    assert ids == whole[:len(ids)]
    read = [tokenizer.decode(ids[:end + 1]) for end in ends]
    steps = [text.split()[-1] for text in read]
    assert steps == ["42-8=35", "3*6=18", "42-6=36", "3*8=24", "42/8=5", "42-6=36"]


@use("process_rewards")
def test_a_step_is_judged_alike_alone_and_among_others(study):
    scorer = RewardModel(tiny_model())
    torch.nn.init.normal_(scorer.score.weight, generator=torch.Generator().manual_seed(0))
    texts = [answer("1", "42-8=34"), "", answer("1", THOUGHT)]
    together = study.chances(scorer, [MAKE] * 3, texts)
    assert [len(values) for values in together] == [1, 0, 6]
    for text, values in zip(texts, together):
        if values:
            [alone] = study.chances(scorer, [MAKE], [text])
            assert values == pytest.approx(alone, abs=1e-5)
            assert len(set(values)) == len(values)      # also of a step that is repeated


@use("process_rewards")
def test_what_the_scorer_called_right_is_counted(study):
    _, steps = study.steps_of(MAKE, answer("1", THOUGHT))
    judged = {"right": [0, 0], "wrong": [0, 0]}
    study.judge(judged, steps, [0.9, 0.9, 0.9, 0.1, 0.2, 0.9])
    assert judged == {"right": [4, 3], "wrong": [2, 1]}


# -----------------------------------------------------------------------------
# From beginning to end

@pytest.mark.parametrize("name", [*STUDIES, "harder"])
def test_a_study_of_rewards_says_how_it_is_used(name, runs, monkeypatch, capsys):  # noqa: F811
    with pytest.raises(SystemExit) as exit:
        run_study(name, monkeypatch, "--help")
    shown = capsys.readouterr().out
    assert exit.value.code == 0 and "--fast" in shown and "--seeds" in shown and "train.py" in shown


@pytest.mark.slow
@pytest.mark.parametrize("study", STUDIES, indirect=True)
def test_a_quick_study_of_rewards_writes_its_claim_and_keeps_its_arms(study, runs, monkeypatch):  # noqa: F811
    """With sizes that are smaller still. What it says is not looked at."""
    number, folder = STUDIES[study.__name__], runs.STUDIES / "fast"
    monkeypatch.setattr(runs, "FAST_FLAGS", (*runs.FAST_FLAGS, *SHORT, "--evaluate-num-quick", "2"))
    monkeypatch.setattr(runs.train.report, "write_report", lambda *_: [])      # saves half of the time
    monkeypatch.setattr(study, "bootstrap_interval", partial(bootstrap_interval, num_resamples=20))
    flags = []
    if number == 14:
        flags = ["--samples", "2", "--problems", "2", "--long", "1"]
        monkeypatch.setattr(study, "NUM_RESAMPLES", 20)
    if number == 15:
        monkeypatch.setattr(study, "REWARDS", {"exact": study.exact, "vote": study.majority})
    if number == 18:
        monkeypatch.setattr(study, "ARMS", ("outcome", "learned"))
        monkeypatch.setattr(study, "COLORS", {"base": "black", "outcome": "blue", "learned": "red"})
    monkeypatch.setattr(sys, "argv", [f"{study.__name__}.py", "--fast", *flags])
    study.main()
    claim = json.loads((folder / f"C{number}.json").read_text())
    assert claim["rows"] and (folder / f"C{number}.png").stat().st_size > 5000
    for row in claim["rows"]:
        assert row["low"] <= row["value"] <= row["high"], row
    assert not (folder.parent.parent / "results").exists()
    assert len(list((folder / "arms").glob(f"C{number}-*-0.json"))) == (12 if number == 14 else 3)


@pytest.mark.slow
@use("harder")
def test_a_quick_study_of_harder_sums(study, runs, monkeypatch):  # noqa: F811
    """RL begins with the very base that it is compared with. What the numbers say is not looked at."""
    folder, asked_for, train = runs.STUDIES / "fast", [], runs.ensure
    monkeypatch.setattr(runs, "ensure", lambda name, *flags, **more: (
        asked_for.append([name, *map(str, flags)]), train(name, *flags, **more))[1])
    opened, open_model = [], runs.open_model
    monkeypatch.setattr(runs, "open_model", lambda *arguments: (
        opened.append(tuple(map(str, arguments))), open_model(*arguments))[1])
    monkeypatch.setattr(runs, "FAST_FLAGS", (*runs.FAST_FLAGS, *SHORT, "--evaluate-num-quick", "2"))
    monkeypatch.setattr(runs.train.report, "write_report", lambda *_: [])
    monkeypatch.setattr(study.beyond, "bootstrap_interval", partial(bootstrap_interval, num_resamples=20))
    monkeypatch.setattr(study.beyond, "NUM_RESAMPLES", 20)
    monkeypatch.setattr(sys, "argv", ["harder.py", "--fast", "--samples", "2", "--problems", "2"])
    study.main()
    [asked] = [flags for flags in asked_for if flags[0] == "compare-whole-grpo-base-0"][:1]
    source = asked[asked.index("--from") + 1]
    assert "--pure-rl" in asked and (source, "base") in opened
    claim = json.loads((folder / "harder.json").read_text())
    assert claim["rows"] and (folder / "harder.png").stat().st_size > 5000


# -----------------------------------------------------------------------------
# The tables that the page shows, from arms that were made up

@pytest.fixture
def write(tmp_path, monkeypatch):
    """lessons/results/write.py, with no results yet."""
    path = ROOT / "lessons" / "results" / "write.py"
    spec = importlib.util.spec_from_file_location("write_results", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "HERE", tmp_path)
    return module


def tables_of(write, number, **claim):
    """{name: text} of all tables of a claim, from its file."""
    names = [name for name in write.TABLES if name.startswith(f"C{number}-")]
    claim = {"seeds": [0, 1], "num_problems": 4, **claim}
    (write.HERE / f"C{number}.json").write_text(json.dumps(claim))
    return {name: write.TABLES[name]() for name in names}


def scores(outcomes, thinks):
    task = {"outcomes": outcomes, "well_formed": 1.0, "thinks": thinks, "wrong_steps": 0.0, "tokens": 30.0}
    return {"scores": dict.fromkeys(("arithmetic", "countdown", "program"), task)}


@use("random_rewards")
def test_the_tables_of_random_rewards(study, write, monkeypatch):
    monkeypatch.setattr(study, "bootstrap_interval", partial(bootstrap_interval, num_resamples=20))
    measured = {name: [scores("0100", 0.6)] * 2 for name in ("base", *study.REWARDS)}
    measured["exact"] = [scores("0111", 1.0), scores("1111", 0.8)]
    tables = tables_of(write, 15, rows=study.rows_of(measured))
    assert "| right answers | 87.5 [" in tables["C15-table"] and "2 seeds, 4 problems" in tables["C15-table"]
    assert "| a coin | +0.0 [0.0, 0.0] |" in tables["C15-gains-table"]
    assert "| 90.0 [80.0, 100.0] | 0.0 [0.0, 0.0] | 30.00 [30.00, 30.00] |" in tables["C15-habits-table"]


@use("process_rewards")
def test_the_tables_of_process_rewards(study, write, monkeypatch):
    monkeypatch.setattr(study, "bootstrap_interval", partial(bootstrap_interval, num_resamples=20))
    steps = {"tokens": 40.0, "right_steps": 3.0, "wrong_steps": None, "repeated": 0.25}
    best = {"prompt": MAKE.prompt, "text": "<think>try a no wait try b</think>", "steps": 9,
            "repeated": 4, "right": False}
    arm = {**scores("0100", 0.6), "steps": dict.fromkeys(("arithmetic", "countdown", "program"), steps),
           "scorer": {"right": [10, 9], "wrong": [4, 1]}}
    measured = {name: [arm, arm] for name in study.COLORS}
    tables = tables_of(write, 18, rows=study.rows_of(measured), transcripts=dict.fromkeys(study.COLORS, best))
    assert "| each step | 25.0 [" in tables["C18-table"]
    assert "| no wrong step | +0.0 [0.0, 0.0] |" in tables["C18-differences-table"]
    cells = 2 * ["3.00 [3.00, 3.00]"] + 2 * ["0.0 [0.0, 0.0]"]      # right steps and wrong ones, both tasks
    assert tables["C18-steps-table"].count(" | ".join(cells)) == 5
    assert tables["C18-steps-table"].count("| 25.0 [25.0, 25.0] | 100.0 [100.0, 100.0] |") == 5
    assert "| of the base | 90.0 [90.0, 90.0] | 25.0 [25.0, 25.0] |" in tables["C18-scorer-table"]
    assert "| 9 | 4 | wrong |" in tables["C18-transcripts-table"]
    assert "\n    <think>try a no\n    wait try b</think>\n" in tables["C18-transcripts-table"]


@pytest.mark.parametrize("left_out", [[], ["longer RL"]])
@use("beyond_the_base")
def test_the_tables_of_pass_at_k(study, write, monkeypatch, left_out):
    """The base solves two of four problems, one of them always; RL solves all of them half of the time."""
    monkeypatch.setattr(study, "bootstrap_interval", partial(bootstrap_interval, num_resamples=20))
    monkeypatch.setattr(study, "NUM_RESAMPLES", 20)
    ks, rows, crossings = [1, 2, 4], [], {}
    counts = {name: [[4, 2]] * 4 for name in study.COLORS} | {"base": [[4, 4], [4, 1], [4, 0], [4, 0]]}
    arms = {}
    for name in counts.keys() - set(left_out):
        arms[name] = [{"counts": counts[name], "enough": 9}] * 2
    curves = {name: study.curves_of(arms[name], ks) for name in arms}
    for task in ("arithmetic", "countdown", "program"):
        rows += study.rows_of(task, arms, curves, ks)
        for after, before in study.pairs_of(arms):
            crossing = study.crossing_interval(curves[before], curves[after], ks)
            crossings[f"{task}, {before} and {after}"] = crossing
    of_harder = []
    for line in rows:
        for task, kind in (("arithmetic", "longer sums, complete thoughts"),
                           ("countdown", "larger sums, complete thoughts"),
                           ("arithmetic", "longer sums, all right answers"),
                           ("program", "larger sums, all right answers")):
            if line["name"].startswith(task):
                of_harder.append({**line, "name": line["name"].replace(task, kind)})
    kinds = {line["name"].partition(", base: ")[0] for line in of_harder if ", base: pass@1" in line["name"]}
    places = {f"{kind}, base and RL": crossings["arithmetic, base and RL"] for kind in kinds}
    (write.HERE / "harder.json").write_text(json.dumps(
        {"rows": of_harder, "crossings": places, "samples": 4, "seeds": [0, 1], "num_problems": 4}))
    table = write.TABLES["harder-table"]()
    lines = {line.split(" | ")[0]: line.split(" | ")[1:] for line in table.splitlines() if " | " in line}
    assert len(kinds) == 4 == len(lines["| pass@1, base"])
    assert all(cell.startswith("31.2 [") for cell in lines["| pass@1, base"])
    assert all(cell.startswith("50.0 [") for cell in lines["| solved by RL, never by base"])
    assert lines["| base passes RL, from this k on"][0] == "above 4 [above 4, above 4]"
    tables = tables_of(write, 14, rows=rows, crossings=crossings, samples=4)
    assert "| pass@1, base | 31.2 [" in tables["C14-table"]
    assert "| pass@4, RL | 100.0 [" in tables["C14-table"]
    assert "| base passes RL | above 4 [above 4, above 4]" in tables["C14-crossings-table"]
    assert "| solved by RL, never by base | 50.0 [" in tables["C14-alone-table"]
    assert "| solved by base, never by RL | 0.0 [0.0, 0.0] |" in tables["C14-alone-table"]
    assert all(("longer RL" in text) == (not left_out) for text in tables.values())
