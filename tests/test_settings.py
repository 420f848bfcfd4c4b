"""What a command line allows: every number within its range, a hint after a typing error, help in 80 columns.

The cases are made from the list of settings. What must come out is written down here: a flag has the name of
its setting, and a refusal is one line with the flag and both ends of its range.
"""

import itertools
import json
import math
import random
import re
import shlex
from collections import Counter
from pathlib import Path

import pytest
from helpers import awake, tiny_model

import sample
import train
from minireason import corpus, evaluate, sft, stages, tasks
from minireason.config import SFTConfig, preset
from minireason.model import GPT
from minireason.policy import make_critic
from minireason.run import WEIGHTS, config_of_run
from minireason.settings import check, from_dict, settings_of, to_dict
from minireason.tasks import TASKS
from minireason.tokenizer import get_tokenizer
from minireason.tools import command_line, inspector, memory, scores
from minireason.tools.flags import FIRST, apply_flags, similar_flags
from minireason.tools.playground import __main__ as playground
from minireason.upkeep.seeding import derive_rng

ROOT = Path(train.__file__).parent
SETTINGS = list(settings_of(preset("laptop")))
NUMBERS = [setting for setting in SETTINGS if type(setting.get()) in (int, float)]
PARSER = command_line.make_parser(preset("laptop"), [])
NO_NUMBERS = ["nan", "inf", "-inf", "", " ", "many", "1e400", "0x10", "1,5", "--", "9" * 5000]


def flag_of(setting):
    return "--" + "-".join(re.split("[._]", setting.name))


def outside(kind, low, high):
    """Numbers that are just outside of a range, and far outside."""
    if kind is int:
        return [low - 1, high + 1, -10**30, 10**30]
    return [math.nextafter(low, -math.inf), math.nextafter(high, math.inf), -1e308, 1e308]


def refused(main, arguments, capsys):
    """The line that a command ends with."""
    assert main(arguments) == 2
    out, error = capsys.readouterr()
    assert not out and error.count("\n") == 1 and "Traceback" not in error
    return error


def never(*_):
    raise AssertionError("this was not refused")


@pytest.fixture
def one_parser(monkeypatch):
    """To build it takes longer than to read a command line. And nothing goes on from there."""
    monkeypatch.setattr(command_line, "make_parser", lambda *_: PARSER)
    monkeypatch.setattr(train, "choose_run", never)


# -----------------------------------------------------------------------------
# Ranges

def test_every_number_has_a_range_with_both_ends_around_its_values():
    assert len(NUMBERS) > 75
    for name in ("smoke", "laptop", "gpu"):
        check(preset(name))
    for setting in NUMBERS:
        low, high = setting.metadata["low"], setting.metadata["high"]
        assert low < high < math.inf, setting.name


@pytest.mark.parametrize("setting", NUMBERS, ids=flag_of)
def test_a_number_outside_of_its_range_is_one_line_and_nothing_is_written(
        setting, tmp_path, one_parser, capsys):
    flag, kind = flag_of(setting), type(setting.get())
    low, high = setting.metadata["low"], setting.metadata["high"]
    values = [*map(repr, outside(kind, low, high)), *NO_NUMBERS]
    if kind is int:
        values += ["1.5", "1e3", "True"]
    for value in values:
        for arguments in ([flag, value], [f"{flag}={value}"]):
            if arguments == [flag, "--"]:
                continue        # it ends the flags, and this one lacks its number
            error = refused(train.main, [*arguments, "--out", str(tmp_path / "run")], capsys)
            assert error.startswith(f"train.py: {flag}: must be a"), value
            assert f"number from {low} to {high}, not " in error and len(error) < 200
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("setting", NUMBERS, ids=flag_of)
def test_both_ends_of_a_range_belong_to_it(setting, one_parser):
    for value in (setting.metadata["low"], setting.metadata["high"]):
        assert vars(train.parse([flag_of(setting), repr(value)]))[setting.name] == value


@pytest.mark.parametrize("arguments, says", [
    (["--preset", ""], "--preset: must be smoke, laptop or gpu, not ''"),
    (["--preset", "huge"], "--preset: must be smoke, laptop or gpu, not 'huge'"),
    (["--algo", "dpo"], "--algo: must be grpo or ppo, not 'dpo'"),
    (["--rl-normalize", ""], "--rl-normalize: must be token, sequence or constant"),
    (["--tasks-countdown-levels", ""], "--tasks-countdown-levels: must be levels from 1 to 4"),
    (["--tasks-countdown-levels", "2,9"], "--tasks-countdown-levels: must be levels from 1 to 4"),
    (["--tasks-program-levels", "two"], "--tasks-program-levels: must be levels from 1 to"),
    (["--pure-rl=maybe"], "--pure-rl"),
    (["--seed"], "--seed"),
    (["cold-start", "--pure-rl"], "--pure-rl has no stage cold-start"),
    (["rejection", "--pure-rl", "--from", "pretrained"], "--pure-rl has no stage rejection"),
    (["--preset", "smoke", "--tasks-program-levels", "1", "--evaluate-num-programs", "90"],
     "--evaluate-num-programs: program has fewer than 90 test problems at levels 1 ("),
    (["--tasks-arithmetic-levels", "1"], "--evaluate-num-problems: arithmetic has fewer than 1000 "),
    (["--preset", "smoke", "--tasks-arithmetic-levels", "1", "--evaluate-every", "5", "--evaluate-num-quick",
      "900"], "--evaluate-num-quick: arithmetic has fewer than 900 "),
    (["--rl-group-size", "1"], "--rl-group-size must be at least 2"),
    (["--model-width", "132", "--model-num-heads", "8"], "--model-width / --model-num-heads must be"),
])
def test_other_settings_are_refused_by_name(arguments, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(train, "train_stages", never)
    assert says in refused(train.main, arguments, capsys)
    assert not list(tmp_path.iterdir())


OWN_NUMBERS = {
    memory.main: ([], {"--num-prompts": (1, 10_000), "--group-size": (2, 4096), "--kl-coef": (0, 1000),
                       "--micro-batch-size": (1, 10**6), "--prompt-length": (1, 65_536),
                       "--max-new-tokens": (1, 65_536)}),
    evaluate.main: (["--run", "pretrained", "--stage", "rl"], {"--num-problems": (1, 10_000)}),
    inspector.main: (["make 42 from 3 8 6"],
                     {"--group-size": (2, 1024), "--show": (0, 1024), "--seed": (0, 2**63 - 1)}),
    sample.main: (["compute 2+3"], {"--votes": (1, 1024), "--budget": (0, 255), "--temperature": (0, 10),
                                    "--max-new-tokens": (1, 256), "--seed": (0, 2**63 - 1)}),
    playground.main: ([], {"--port": (0, 65_535)}),
    corpus.main: (["base"], {"--lines": (1, 10_000), "--seed": (0, 2**63 - 1)}),
}


@pytest.mark.parametrize("main", OWN_NUMBERS, ids=lambda main: main.__module__)
def test_the_other_commands_refuse_numbers_in_the_same_words(main, capsys):
    others, ranges = OWN_NUMBERS[main]
    for flag, (low, high) in ranges.items():
        kind = float if flag in ("--kl-coef", "--temperature") else int
        for value in [*map(repr, outside(kind, low, high)), *NO_NUMBERS]:
            error = refused(main, [*others, f"{flag}={value}"], capsys)
            assert f": {flag}: must be a" in error and f"number from {low} to {high}, not " in error


@pytest.mark.parametrize("setting", SETTINGS, ids=flag_of)
def test_a_stored_setting_of_another_type_or_out_of_its_range_is_refused_by_name(setting):
    values = [None, [], {}, [1], {"a": 1}, b"", 10**400, -10**30, math.nan, math.inf, -math.inf]
    if not isinstance(setting.get(), str):
        values += ["1", "many"]
    values += [1, 0.5] if isinstance(setting.get(), bool) else [True]
    for value in values:
        stored = to_dict(preset("laptop"))
        section, _, key = setting.name.rpartition(".")
        (stored[section] if section else stored)[key] = value
        with pytest.raises(ValueError, match=f"^{flag_of(setting)} must be ") as error:
            from_dict(stored)
        assert "\n" not in str(error.value) and len(str(error.value)) < 200


def test_stored_runs_are_within_the_ranges():
    for folder in (WEIGHTS, ROOT / "tests" / "data" / "run-of-83179b8"):
        check(config_of_run(folder))
    assert from_dict(json.loads((WEIGHTS / "config.json").read_text())).preset == "laptop"


# -----------------------------------------------------------------------------
# Huge counts

def test_the_test_problems_are_the_first_that_are_drawn():
    examples = ("arithmetic", (2, 3), 300), ("countdown", (2,), 184), ("program", (2,), 50)
    for task, levels, number in examples:
        rng, expected = derive_rng(7, "test", task), {}
        attempt = 0
        while len(expected) < number:
            problem = tasks.make_problem(task, rng, levels[attempt % len(levels)])
            attempt += 1
            if tasks.is_test(problem):
                expected.setdefault(problem.prompt if TASKS[task].test_by_prompt else problem.key, problem)
        assert tasks.test_problems(task, levels, number, seed=7) == list(expected.values())


@pytest.mark.parametrize("task, levels, number, at_most", [
    ("program", (1,), 1000, 4096), ("countdown", (2,), 10_000, 8192), ("arithmetic", (1,), 1000, 16_384),
    ("countdown", (2, 3), 10_000, 65_536)])
def test_too_many_test_problems_are_refused_before_long(monkeypatch, task, levels, number, at_most):
    calls, plain = Counter(), tasks.make_problem
    monkeypatch.setattr(tasks, "make_problem", lambda *a: calls.update([0]) or plain(*a))
    with pytest.raises(ValueError, match=f"{task} has fewer than {number} test problems") as error:
        tasks.test_problems(task, levels, number, seed=1234)
    assert calls[0] <= at_most
    found = int(re.search(r"\(([0-9]+) were found\)", str(error.value))[1])
    assert len(tasks.test_problems(task, levels, found, seed=1234)) == found < number


def found_while_drawing(rng, weights, number):
    """How many different things were found after 1, 2, 4 ... draws, of which a tenth counts."""
    seen, found, sums = set(), [], list(itertools.accumulate(weights))
    for attempt in range(tasks.ATTEMPTS_PER_PROBLEM * number):
        if rng.random() < 0.1:
            seen.update(rng.choices(range(len(weights)), cum_weights=sums))
        if len(seen) == number:
            break
        if attempt + 1 == 2 ** len(found):
            found.append(len(seen))
    return found


@pytest.mark.parametrize("total, number, weight", [
    (30_000, 1000, 0), (3000, 1000, 0), (1100, 1000, 0), (2000, 1000, 1), (100, 100, 0), (60, 60, 0.5)])
def test_what_can_be_found_is_not_given_up(total, number, weight):
    """Things that are equally frequent, or (weight) that are rarer the later they stand in the list."""
    weights = [1 / (1 + i) ** weight for i in range(total)]
    for seed in range(3):
        found = found_while_drawing(random.Random(seed), weights, number)
        for length in range(1, len(found) + 1):
            assert not tasks.is_hopeless(found[:length], number)


def test_a_long_preparation_says_what_it_does(capsys):
    seen = []
    documents = corpus.base_corpus(0, 5, progress=lambda steps: seen.append(steps) or steps)
    assert seen == [range(5)] and documents == corpus.base_corpus(0, 5)
    assert corpus.golden_examples(0, 3, progress=reversed) == corpus.golden_examples(0, 3)
    assert list(stages.progress("writing documents", "document")(range(3))) == [0, 1, 2]
    assert "writing documents" in capsys.readouterr().err


def test_a_training_of_many_epochs_is_not_planned_before_it_begins(monkeypatch):
    epochs, plain = [], sft.derive_rng
    monkeypatch.setattr(sft, "derive_rng", lambda *key: epochs.append(key[-1]) or plain(*key))
    config = SFTConfig(num_epochs=1000, batch_size=7)
    assert len(next(sft.indices_of_steps(20, config, 0))) == 7 and epochs == [0]
    assert len(next(sft.indices_of_steps(20, config, 0, start=302))) == 6 and epochs == [0, 100]
    assert sft.num_steps_of(20, config) == 3000


# -----------------------------------------------------------------------------
# Typing errors

@pytest.mark.parametrize("typed, meant", [
    ("--lr 1e-4", "--rl-learning-rate"), ("--lr=1e-4", "--rl-learning-rate"),
    ("-lr 1e-4", "--base-learning-rate"),
    ("--learning-rate 1e-4", "--align-learning-rate"), ("--batch-size 8", "--base-batch-size"),
    ("--layers 2", "--model-num-layers"), ("--n-layers 2", "--model-num-layers"),
    ("--epochs 2", "--base-num-epochs"), ("--iterations 5", "--rl-num-iterations"),
    ("--steps 5", "--rl-num-iterations"), ("--rl-lr 1e-4", "--rl-learning-rate"),
    ("--rl_learning_rate 1e-4", "--rl-learning-rate"), ("--rl-learning-rte 1e-4", "--rl-learning-rate"),
    ("--temperature 1", "--rl-temperature"), ("--beta 0.1", "--rl-kl-coef"), ("--output x", "--out"),
    ("--group 8", "--rl-group-size"), ("--width 64", "--model-width"), ("--no-pure", "--no-pure-rl"),
])
def test_a_flag_that_does_not_exist_is_answered_with_those_that_do(typed, meant, capsys):
    error = refused(train.main, shlex.split(typed), capsys)
    word = re.split("[ =]", typed)[0]
    assert error.startswith(f"train.py: there is no flag {word}: did you mean --")
    suggested = re.findall(r"--[a-z-]+", error.partition("did you mean")[2])
    assert meant in suggested and len(suggested) <= 6


def test_what_resembles_nothing_is_said_too(capsys):
    assert "there is no flag --frobnicate: --help lists them" in refused(train.main, ["--frobnicate"], capsys)
    assert "'extra'" in refused(train.main, ["rl", "extra"], capsys)
    assert "unknown stage 'cold-strat'" in refused(train.main, ["cold-strat"], capsys)
    assert similar_flags("--", ["--seed"]) == similar_flags("--xyz", []) == []


@pytest.mark.parametrize("setting", SETTINGS, ids=flag_of)
def test_no_beginning_of_a_flag_is_taken_for_it(setting, one_parser, capsys):
    assert "there is no flag" in refused(train.main, [f"{flag_of(setting)[:-1]}=1"], capsys)


def test_every_command_reads_its_flags_in_this_way():
    files = [*(ROOT / "minireason").rglob("*.py"), ROOT / "train.py", ROOT / "sample.py"]
    plain = [path.name for path in files if "argparse.ArgumentParser(" in path.read_text(encoding="utf-8")]
    assert plain == []


# -----------------------------------------------------------------------------
# Help, and what is printed

def help_lines(arguments, capsys):
    with pytest.raises(SystemExit) as exit:
        train.main([*arguments, "--help"])
    assert exit.value.code == 0
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("columns", ["40", "80", "200"])
@pytest.mark.parametrize("arguments, shown", [
    ([], FIRST), (["all"], [setting.name for setting in SETTINGS]), (["--preset", "gpu"], FIRST),
    *(([stage], None) for stage in train.STAGES)])
def test_help_shows_each_setting_and_its_default_on_one_line_of_80_columns(
        arguments, shown, columns, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", columns)
    lines = help_lines(arguments, capsys)
    assert max(map(len, lines)) < 80
    config = preset("gpu" if "gpu" in arguments else "laptop")
    num_shown = 0
    for setting in settings_of(config):
        flag = f"  {flag_of(setting)} "
        matching = [line for line in lines if line.startswith(flag) and "  " in line[len(flag):]]
        if shown is None and not matching:
            continue
        assert len(matching) == (1 if shown is None or setting.name in shown else 0), setting.name
        num_shown += len(matching)
        for line in matching:
            default = str(setting.get())
            if isinstance(setting.get(), bool):
                default = "(on)" if setting.get() else "(off)"
            assert f" {default} " in line and line.endswith(setting.metadata["meaning"])
    assert num_shown == len(shown) if shown else num_shown > 8


def test_the_first_help_is_one_screen_with_the_ten_that_are_changed_first(capsys):
    lines = help_lines([], capsys)
    assert len(FIRST) == 10 and len(lines) <= 48
    assert any("train.py all --help" in line for line in lines)


def test_help_of_a_stage_shows_its_own_settings(capsys):
    text = "\n".join(help_lines(["rl"], capsys))
    assert "--rl-clip-high" in text and "--base-batch-size" not in text and "settings of rl" in text
    shown = set()
    for stage in train.STAGES:
        for line in help_lines([stage], capsys):
            shown.update(re.findall(r"^  (--[a-z-]+)", line))
    missing = {flag_of(setting) for setting in SETTINGS} - shown
    assert all(flag.startswith("--evaluate") or flag in ("--preset", "--seed") for flag in missing)


def said_at_the_start(arguments, device="cpu"):
    args = train.parse(arguments)
    config = apply_flags(preset(getattr(args, "preset", "laptop")), command_line.given_flags(args))
    config.model.vocab_size = get_tokenizer().vocab_size
    return train.size_and_time(config, args, device)


def test_a_run_says_how_large_its_model_is_and_how_long_it_takes_where_that_is_known():
    config = preset("laptop")
    config.model.vocab_size = get_tokenizer().vocab_size
    size = sum(parameter.numel() for parameter in GPT(config.model).parameters())
    plain = f"{size / 1e6:.2f}M parameters"
    assert said_at_the_start(["--seed", "3"]) == f"{plain}; about 22 to 33 minutes on two cores"
    assert "2 to 3 minutes" in said_at_the_start(["--preset", "smoke"])
    for other in (["base"], ["--rl-num-iterations", "5"], ["--algo", "ppo"]):
        assert said_at_the_start(other) == plain
    assert said_at_the_start([], device="cuda") == plain


def result_of_a_stage(names):
    share = {"value": 1.0, "low": 0.999, "high": 1.0}
    numbers = {"accuracy": share, "well_formed": 0.999, "mixing": None, "tokens": 100.0}
    return {**{name: numbers for name in names}, "chat": {"leaks": share, "over_refusals": share}}


@pytest.mark.parametrize("names", [tuple(TASKS), (*TASKS, "sort", "a" * 60)])
def test_the_table_of_the_stages_fits_80_columns(names):
    result = result_of_a_stage(names)
    whole = scores.screen_table({stage: result for stage in train.STAGES})
    alone = scores.screen_table({"cold-start": result})
    assert max(map(len, [*whole, *alone])) < 80
    assert "100.0 [99.9, 100.0]" in alone[1] and "[" not in "".join(whole)
    assert all(whole[1].split().count("100.0") == len(train.STAGES) for _ in names)
    assert len(whole) == len(names) + 6


@pytest.mark.parametrize("name", ["smoke", "laptop", "gpu", *memory.LARGE])
def test_the_ledger_fits_80_columns(name):
    settings = preset("gpu").rl
    model = memory.LARGE.get(name) or preset(name).model
    formula = {algo: memory.ledger(model, settings, algo, 20) for algo in memory.ALGORITHMS}
    for measured in ({}, formula):
        lines = memory.page(formula, measured)
        assert max(map(len, lines)) < 80 and len(set(map(len, lines[1:]))) == 1
        for line in lines[2:]:
            assert len(line.rsplit(maxsplit=len(lines[1].split()) - 1)) == len(lines[1].split())


def test_a_rollout_fits_80_columns():
    """With a critic, and ratios that are far from 1."""
    policy, old = awake(tiny_model(1)), tiny_model(0, sharpness=30.0)
    critic = make_critic(policy, shared=False)
    problem = tasks.parse_prompt("make 42 from 3 8 6")
    settings = preset("smoke").rl
    [completion, *_] = inspector.inspect_rollout(policy, old, critic, problem, settings, seed=0)
    lines = inspector.as_text(completion).splitlines()
    assert max(map(len, lines)) < 80 and lines[1].split()[:4] == ["token", "logprob", "old", "ratio"]


@pytest.mark.parametrize("value", [0.0, -0.5, 12.3456, -12.3456, 123.456, -1234.5, 1e5, -1e30, 1e-30])
def test_a_number_in_a_column_is_short_and_true(value):
    text = inspector.six_characters(value)
    assert len(text) <= 7 and math.isclose(float(text), value, rel_tol=0.06, abs_tol=0.0006)
