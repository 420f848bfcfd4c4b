"""The studies run from beginning to end, and the runs that they share are made once and found again."""

import contextlib
import functools
import json
import runpy
import shutil
import signal
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from test_pretrained import SHORT
from test_train import TINY, small_world

import train
from minireason import stats
from minireason.config import preset
from minireason.run import WEIGHTS, open_model
from minireason.settings import check_variants, to_dict
from minireason.stats import bootstrap_interval
from minireason.tasks import test_problems as held_out
from minireason.tools import command_line
from minireason.tools.flags import apply_flags
from minireason.upkeep import checkpoint

LESSONS = Path(__file__).parent.parent / "lessons"
CLAIMS = {      # study: the claims that it writes
    "compare_imitation_rl": [1], "compare_verifiers": [2], "aha": [3], "languages": [6], "more_tokens": [7],
    "pipeline": [8, 11], "own_teacher": [9], "alignment": [10]}
WITHOUT_FIGURE = {2, 11}
SHORTER = [*SHORT, "--rl-max-new-tokens", "40", "--align-max-new-tokens", "24", "--base-num-examples", "48",
           "--num-preference-prompts", "32"]


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """lessons/runs.py, with its folders elsewhere."""
    monkeypatch.setattr(sys, "path", [str(LESSONS / "studies"), str(LESSONS), *sys.path])
    monkeypatch.delitem(sys.modules, "runs", raising=False)
    import runs
    monkeypatch.setattr(runs, "STUDIES", tmp_path / "studies")
    monkeypatch.setattr(runs, "RESULTS", tmp_path / "results")
    # figures and 2,000 resamples for each interval take longer than all the rest
    monkeypatch.setattr(runs.train.report, "write_report", lambda *_: [])
    monkeypatch.setattr(stats, "bootstrap_interval", functools.partial(bootstrap_interval, num_resamples=20))
    yield runs
    sys.modules.pop("runs")


def run_study(name, monkeypatch, *arguments):
    """Runs a study as a script."""
    path = str(LESSONS / "studies" / f"{name}.py")
    monkeypatch.setattr(sys, "argv", [path, *arguments])
    return runpy.run_path(path, run_name="__main__")


def test_every_study_is_tested():
    names = {path.stem for path in (LESSONS / "studies").glob("*.py")}
    elsewhere = {"on_a_gpu"}                                                   # in test_on_a_gpu.py
    elsewhere |= {"distance", "fewer_tries", "longer", "two_plots"}            # in test_distance.py
    elsewhere |= {"distill", "generalize", "overthink", "sizes", "trade"}      # in test_claims_scale.py
    # in test_claims_rewards.py
    elsewhere |= {"beyond_the_base", "guess", "harder", "random_rewards", "process_rewards"}
    assert names == {*CLAIMS, "compare_ppo_grpo", "critic", "variants"} | elsewhere


@pytest.mark.parametrize("name", [*CLAIMS, "critic", "variants"])
def test_a_study_says_how_it_is_used(name, runs, monkeypatch, capsys):
    with pytest.raises(SystemExit) as exit:
        run_study(name, monkeypatch, "--help")
    assert exit.value.code == 0
    shown = capsys.readouterr().out
    assert "--fast" in shown and "--seeds" in shown and "train.py" in shown


def test_a_flag_that_is_unknown_to_train_py_as_well_is_refused(runs, monkeypatch, capsys):
    with pytest.raises(SystemExit) as exit:
        run_study("more_tokens", monkeypatch, "--num-sedes", "3")
    assert exit.value.code == 2 and "--num-sedes" in capsys.readouterr().err
    assert not runs.STUDIES.exists()


@pytest.mark.parametrize("flags, says", [
    (["--seed", "3"], "a study has --seeds N"), (["rl"], "a study has no stage 'rl'"),
    (["--from", "pretrained"], "a study knows its runs"), (["--out", "runs/a"], "a study knows its runs"),
    (["--resume"], "a study knows its runs"), (["all"], "a study has no stage"),
    (["--rl-gae-lambda", "0.5"], "is for PPO"), (["--model-width", "33"], "must be an even whole number")])
def test_what_would_break_the_runs_of_a_study_is_refused(runs, monkeypatch, capsys, flags, says):
    monkeypatch.setattr(sys, "argv", ["more_tokens.py", *flags])
    assert code_of(runs.parse, runs.make_parser("", 3)) == 2
    error = capsys.readouterr().err
    assert says in error.splitlines()[-1] and "Traceback" not in error and not runs.STUDIES.exists()


@pytest.mark.parametrize("name", ["compare_imitation_rl", "languages", "generalize", "guess",
                                  "compare_verifiers"])
def test_a_study_with_settings_of_its_own_refuses_those_of_train_py(name, runs, monkeypatch, capsys):
    flags = ["--device", "cpu", "--rl-micro-batch-size", "8", "--rl-learning-rate", "1e-4"]
    with pytest.raises(SystemExit) as exit:
        run_study(name, monkeypatch, *flags)
    error = capsys.readouterr().err.splitlines()[-1]
    assert exit.value.code == 2 and error.endswith("and cannot take: rl.learning_rate")


@pytest.mark.slow
@pytest.mark.parametrize("name", CLAIMS)
def test_a_quick_study_writes_its_claim_elsewhere(name, runs, monkeypatch, capsys):
    """With sizes that are smaller still. What it says is not looked at."""
    arguments = ["--fast"]
    if name == "pipeline":      # it begins with random weights; so small a model answers nothing right
        small_world(monkeypatch)
        arguments += TINY[2:]
    monkeypatch.setattr(runs, "FAST_FLAGS", (*runs.FAST_FLAGS, *SHORTER))
    folder = runs.STUDIES / "fast"
    run_study(name, monkeypatch, *arguments)
    assert "their numbers mean nothing" in capsys.readouterr().out
    for number in CLAIMS[name]:
        claim = json.loads((folder / f"C{number}.json").read_text())
        assert claim["rows"] and claim["command"] == f"python lessons/studies/{name}.py {' '.join(arguments)}"
        assert number in WITHOUT_FIGURE or (folder / f"C{number}.png").stat().st_size > 5000
    assert not (runs.STUDIES.parent / "results").exists()


def code_of(function, *arguments):
    with pytest.raises(SystemExit) as exit:
        function(*arguments)
    return exit.value.code


def test_a_refused_run_leaves_nothing_that_blocks_the_next(runs, capsys):
    flags = ["rl", *SHORT, "--from"]
    assert code_of(runs.ensure, "ppo-0", *flags, "nowhere") == 2
    assert [path.name for path in runs.STUDIES.iterdir()] == ["ppo-0.lock"]
    assert code_of(runs.ensure, "ppo-0", *flags, "nowhere-else") == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 2 and "there is no nowhere-else to start from" in errors[1]


@pytest.mark.slow
def test_flags_without_a_run_claim_nothing(runs, monkeypatch, capsys):
    """They are left by a process that was killed at its beginning, or by a reader who deletes the folder."""
    runs.STUDIES.mkdir()
    (runs.STUDIES / "a.flags.json").write_text('["rl", "--from", "elsewhere"]')
    flags = ["base", *TINY, "--base-num-examples", "8"]
    first = runs.ensure("a", *flags)
    assert list(first["stages"]) == ["base"]
    stored = json.loads((runs.STUDIES / "a.flags.json").read_text())
    assert stored == flags
    monkeypatch.setattr(runs.train, "main", None)       # found again, and not trained again
    assert runs.ensure("a", *flags) == first
    capsys.readouterr()
    assert code_of(runs.ensure, "a", *flags, "--seed", "5") == 2
    error = capsys.readouterr().err
    assert "made with other flags (base --preset smoke" in error and "delete or rename it" in error


def begun_run(runs, name, *flags, **changed):
    """A run's folder as `ensure(name, *flags)` leaves it, but for some settings of its config.json."""
    config = apply_flags(preset("smoke"), command_line.given_flags(train.parse(list(flags))))
    values = to_dict(config)
    values["rl"] |= changed
    (runs.STUDIES / name).mkdir(parents=True)
    (runs.STUDIES / name / "config.json").write_text(json.dumps(values | {"copied": {}}))
    (runs.STUDIES / f"{name}.flags.json").write_text(json.dumps(list(flags)))
    return runs.STUDIES / name


def test_a_run_of_an_older_recipe_is_refused_in_one_line_although_its_flags_are_the_same(runs, monkeypatch,
                                                                                         capsys):
    flags = ["rl", "--preset", "smoke", "--seed", "3", "--from", "pretrained"]
    monkeypatch.setattr(runs, "read_results", lambda folder: {"stages": {"rl": {}}})
    begun_run(runs, "today", *flags)
    assert runs.ensure("today", *flags) == {"stages": {"rl": {}}}
    folder = begun_run(runs, "old", *flags, learning_rate=7e-4, group_size=5)
    assert code_of(runs.ensure, "old", *flags) == 2
    assert capsys.readouterr().err == (
        f"{folder} was made with settings that these flags do not mean today (rl.group_size, "
        "rl.learning_rate): delete or rename it\n")


def test_what_was_measured_of_another_run_or_with_other_sizes_is_not_taken_for_todays(runs, capsys):
    folder = begun_run(runs, "a", "rl", "--preset", "smoke")

    def measure(source, max_new_tokens, problems):
        return [max_new_tokens, len(problems)]

    assert runs.kept("m", measure, folder, 208, ["p"]) == [208, 1]
    assert runs.kept("m", measure, folder, 208, ["p"]) == [208, 1]
    assert code_of(runs.kept, "m", measure, folder, 160, ["p"]) == 2
    (folder / "config.json").unlink()
    folder.rmdir()
    begun_run(runs, "a", "rl", "--preset", "smoke", learning_rate=7e-4)
    assert code_of(runs.kept, "m", measure, folder, 208, ["p"]) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert "m.json was measured with other settings (max_new_tokens): delete or rename it" in first
    assert "other settings (source.rl.learning_rate): delete or rename it" in second
    (runs.STUDIES / "m.json").write_text("[208, 1]")        # as an earlier version kept it
    with pytest.raises(SystemExit, match="m.json .*: delete it"):
        runs.kept("m", measure, folder, 208, ["p"])


def test_a_study_waits_for_another_one_that_makes_the_same_run(runs, monkeypatch):
    """As `variants.py --only gspo` and `--only cispo` do, which need the same GRPO."""
    finished, found, said = {}, [], threading.Event()
    flags = ["rl", "--preset", "smoke"]
    second = threading.Thread(target=lambda: found.append(runs.ensure("grpo-2-0", *flags)))

    def train_slowly(arguments):
        second.start()
        assert said.wait(60)        # the second has come, and waits
        begun_run(runs, "grpo-2-0", *flags)
        finished["grpo-2-0"] = {"stages": {"rl": {}}}

    monkeypatch.setattr(runs, "print", lambda *_, **__: said.set(), raising=False)
    monkeypatch.setattr(runs, "read_results", lambda folder: finished.get(folder.name))
    monkeypatch.setattr(runs.train, "main", train_slowly)       # a second call could not start the thread
    assert runs.ensure("grpo-2-0", *flags) == {"stages": {"rl": {}}}
    second.join(60)
    assert found == [{"stages": {"rl": {}}}]


# -----------------------------------------------------------------------------
# Several processes beside each other. A lock keeps out whoever opens it again, in one process as in two.

@pytest.fixture
def shared_work(runs, monkeypatch):
    """(jobs a and b, the order in which they are measured, what another process holds: the arm a)."""
    monkeypatch.setattr(runs, "PAUSE", 0)
    args, order, others = SimpleNamespace(flags=[]), [], contextlib.ExitStack()

    def measure(value):
        order.append(value)
        return {"value": value}

    others.enter_context(runs.alone("arm-a"))
    jobs = {name: (runs.arm, name, args, measure, name) for name in ("a", "b")}
    yield jobs, order, others
    others.close()


def test_what_another_process_makes_is_put_off(shared_work, runs, monkeypatch):
    jobs, order, others = shared_work
    monkeypatch.setattr(runs, "print", lambda text, **_: others.close() if "waiting" in text else None,
                        raising=False)
    assert list(runs.work_off(jobs).items()) == [("a", {"value": "a"}), ("b", {"value": "b"})]
    assert order == ["b", "a"] and runs.may_wait


def test_a_process_that_shares_ends_where_the_rest_is_with_others(shared_work, runs, monkeypatch):
    jobs, order, _ = shared_work
    monkeypatch.setattr(runs, "shares", True)
    assert code_of(runs.work_off, jobs) == runs.BUSY and order == ["b"]
    assert [path.name for path in (runs.RESULTS / "arms").iterdir()] == ["b.json"]


def test_what_is_not_an_arm_is_done_by_one_process(runs, monkeypatch):
    """Two of them would write one file at the same time."""
    monkeypatch.setattr(sys, "argv", ["aha.py", "--share"])
    runs.parse(runs.make_parser("", 1))

    def is_free():
        with runs.alone("study-aha"):
            return True

    assert code_of(is_free) == runs.BUSY
    assert runs.work_off({"an arm": (is_free,)}) == {"an arm": True}
    assert code_of(is_free) == runs.BUSY
    runs.study_lock.close()


def test_an_arm_of_other_pieces_is_taken_and_one_of_another_rate_is_not(runs, capsys):
    """The pieces that are computed at a time change its rounding alone, and a GPU has larger ones."""
    path = runs.RESULTS / "arms" / "a.json"
    path.parent.mkdir(parents=True)
    settings = to_dict(preset("laptop"))
    settings["rl"]["micro_batch_size"] = settings["base"]["micro_batch_tokens"] = 4096
    path.write_text(json.dumps({"settings": settings, "value": 1}))
    assert runs.arm("a", args_of(), None) == {"value": 1}
    settings["rl"]["learning_rate"] = 1e-4
    path.write_text(json.dumps({"settings": settings, "value": 1}))
    assert code_of(runs.arm, "a", args_of(), None) == 2
    assert "other settings (rl.learning_rate): leave these out" in capsys.readouterr().err


@pytest.fixture
def queue(runs, monkeypatch, tmp_path):
    """lessons/run_studies.py, whose studies are texts of Python: queue(name=text, ...)."""
    monkeypatch.delitem(sys.modules, "run_studies", raising=False)
    import run_studies
    monkeypatch.setattr(run_studies, "PAUSE", 0.01)
    monkeypatch.setattr(run_studies, "FOLDER", tmp_path)

    def run(*arguments, **studies):
        for name, text in studies.items():
            (tmp_path / f"{name}.py").write_text(f"import os, signal, sys, time\n{text}")
        monkeypatch.setattr(run_studies, "STUDIES", tuple(studies))
        return run_studies.main(list(arguments))

    yield run
    sys.modules.pop("run_studies")


def test_workers_come_back_to_a_study_whose_rest_was_with_others(queue, tmp_path, capsys):
    begun = tmp_path / "begun"
    first = f"if not os.path.exists({str(begun)!r}): open({str(begun)!r}, 'w').close(); sys.exit(3)"
    assert queue("--seeds", "2", "--workers", "1", first=first, second="print(sys.argv)") == 0
    shown = capsys.readouterr().out
    assert shown.index("second is done") < shown.index("first is done")
    assert "second.py', '--share', '--seeds', '2']" in (tmp_path / "studies" / "worker-0.log").read_text()


def test_a_study_that_fails_ends_the_queue_in_one_line(queue, tmp_path, capsys):
    assert queue("--workers", "1", bad="sys.exit('no space')", good="") == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "bad ended with exit code 1" in error and "worker-0.log" in error
    assert "no space" in (tmp_path / "studies" / "worker-0.log").read_text()
    assert queue("worse", good="") == 2 and queue("--workers", "0", good="") == 2
    assert queue("--workers", "1", "good", good="") == 2
    unknown, number, misplaced = capsys.readouterr().err.splitlines()
    assert "unknown study 'worse': choose good" in unknown and "at least 1" in number
    assert "name the studies first: good comes after a flag" in misplaced


def test_a_queue_with_settings_leaves_out_the_studies_that_have_their_own(queue, runs, capsys):
    assert runs.OWN_SETTINGS[-1] == "languages"
    assert queue("--workers", "1", "--rl-learning-rate", "1e-4", languages="sys.exit(2)", good="") == 0
    shown = capsys.readouterr().out
    assert "own: languages" in shown and "good is done" in shown
    assert queue("languages", "--rl-learning-rate", "1e-4", languages="", good="") == 2
    assert "languages: this study has settings of its own" in capsys.readouterr().err
    assert queue("--workers", "1", "--rl-micro-batch-size", "8", languages="", good="") == 0
    assert "languages is done" in capsys.readouterr().out
    assert queue("good", "--workers", "1", "--rl-learning-rate", "1e-4", languages="", good="") == 0
    assert "left out" not in capsys.readouterr().out        # none of those that are named


def test_a_signal_stops_the_studies_of_all_workers(queue, tmp_path, capsys):
    """A study is asked once, since a second signal would end it before it has saved."""
    saved = tmp_path / "saved"
    study = f"""
def finish(number, frame):
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    time.sleep(1)
    open({str(saved)!r}, "w").close()
    sys.exit(143)
signal.signal(signal.SIGTERM, finish)
os.kill(os.getppid(), signal.SIGTERM)
time.sleep(60)"""
    assert queue("--workers", "1", long=study) == 128 + signal.SIGTERM
    assert saved.exists()
    assert "stopped; the same command goes on" in capsys.readouterr().err


def test_the_queue_knows_all_studies(runs, monkeypatch):
    monkeypatch.delitem(sys.modules, "run_studies", raising=False)
    import run_studies
    names = {path.stem for path in (LESSONS / "studies").glob("*.py")}
    assert sorted(run_studies.STUDIES + run_studies.TIMED) == sorted(names - {"on_a_gpu"})
    sys.modules.pop("run_studies")


def test_a_whole_run_begins_with_the_base_that_is_kept(runs, monkeypatch, tmp_path):
    monkeypatch.setattr(runs, "BASES", tmp_path / "bases")
    folder = runs.STUDIES / "seed-7"
    state = open_model("pretrained", "base")[1]
    whole = {name: weight.float() for name, weight in state["model"].items()}
    checkpoint.save(folder / "base" / "checkpoint.pt", **state | {"model": whole})
    config = json.loads((WEIGHTS / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"copied": {}}))
    of_stages = {"base": {}, "rl": {}}
    monkeypatch.setattr(runs, "read_results", lambda folder: {
        "config": config, "stages": of_stages, "seconds": of_stages, "iterations": of_stages,
        "ran with": of_stages, "command": f"python train.py base --out {runs.ROOT}/runs/studies/seed-7"})
    runs.keep_base(7)
    assert sorted(path.name for path in (tmp_path / "bases" / "seed-7").iterdir()) == [
        "base", "config.json", "results.json"]
    assert (tmp_path / "bases" / "seed-7" / "base" / "checkpoint.pt").stat().st_size < 2 * 2**20
    kept = json.loads((tmp_path / "bases" / "seed-7" / "results.json").read_text())
    assert list(kept["stages"]) == ["base"]
    assert kept["command"] == "python train.py base --out runs/studies/seed-7"      # no path of this machine

    before, _ = open_model("pretrained", "base")
    after, _ = open_model(tmp_path / "bases" / "seed-7", "base")
    assert all(weight.equal(after.state_dict()[name]) for name, weight in before.state_dict().items())

    shutil.rmtree(folder)
    asked = []
    monkeypatch.setattr(runs.train, "main", lambda words: asked.append(words))
    monkeypatch.setattr(runs, "read_results", lambda folder: None)
    config = json.loads((tmp_path / "bases" / "seed-7" / "config.json").read_text())
    (tmp_path / "bases" / "seed-7" / "config.json").write_text(json.dumps(config | {"seed": 7}))
    assert runs.whole_run(7, args_of("--rl-num-iterations", "9"), needs="rl") == folder
    assert [words[0] for words in asked] == ["cold-start", "rl"]
    assert asked[0][-2:] == ["--from", str(tmp_path / "bases" / "seed-7")]
    asked.clear()
    runs.whole_run(7, args_of("--model-width", "64"), needs="rl")       # another base: from random weights
    assert [words[0] for words in asked] == ["base", "cold-start", "rl"]


@pytest.mark.parametrize("flags, needs, stages", [
    (["--seed", 3], "rl", ["base", "cold-start", "rl"]), (["--seed", 3, "--pure-rl"], "rl", ["base", "rl"]),
    (["--seed", 3], "align", ["--seed"]), (["rl", "--seed", 3], None, ["rl"])])
def test_a_run_is_trained_no_further_than_needed(runs, monkeypatch, flags, needs, stages):
    asked = []
    monkeypatch.setattr(runs.train, "main", lambda words: asked.append(words[0]))
    monkeypatch.setattr(runs, "read_results", lambda folder: None)
    runs.ensure("a", *flags, needs=needs)
    assert asked == stages


def test_rl_after_a_cold_start_has_an_arm_that_is_rewarded_as_pure_rl_is(runs, monkeypatch):
    """Pure RL pays no price for mixing languages, so without that arm a cold start would get its credit."""
    asked = {}
    monkeypatch.setattr(runs, "ensure", lambda name, *flags, **_: asked.update({name: flags}))
    args = SimpleNamespace(fast=False, flags=["--rl-num-iterations", "9"])
    assert runs.unpriced_run(4, args) == runs.STUDIES / "unpriced-4"
    flags = [str(flag) for flag in asked["unpriced-4"]]
    given = command_line.given_flags(train.parse(flags))
    assert given == {"language_price": 0.0, "seed": 4, "rl.num_iterations": 9}
    assert flags[0] == "rl" and flags[flags.index("--from") + 1] == str(runs.STUDIES / "seed-4")
    import aha
    import languages
    assert runs.model_of_arm("RL after it", 4, args) == (runs.STUDIES / "unpriced-4", "rl")
    assert runs.model_of_arm("RL, mixing priced", 4, args) == (runs.STUDIES / "seed-4", "rl")
    assert languages.START == {"RL, one language": "RL after it", "pure RL, one language": "base"}
    expected = {"base": ("seed-4", "base"), "pure RL": ("pure-4", "rl"),
                "cold start": ("seed-4", "cold-start"), "RL after it": ("unpriced-4", "rl"),
                "RL, mixing priced": ("seed-4", "rl"),
                "control base": ("control-4", "base"), "control, RL": ("control-4", "rl")}
    for arm in aha.ARMS:
        folder, stage = aha.model_of(arm, 4, args)
        assert (folder.name, stage) == expected[arm]
    assert {*languages.COLORS} - {"corpus", *languages.RATES} < {*expected}
    for name in ("aha", "languages"):
        sys.modules.pop(name)


def test_a_level_without_a_problem_has_no_accuracy(runs, monkeypatch):
    import aha
    monkeypatch.setattr(aha, "answer_all", lambda *_, **__: [("<think></think><answer>none</answer>", 5)])
    rates = aha.rates_by_level(None, held_out("arithmetic", (2,), 1, seed=1), 8)
    assert rates["2"]["accuracy"] == 0 and rates["3"]["accuracy"] is None
    sys.modules.pop("aha")


# -----------------------------------------------------------------------------
# PPO and GRPO

@pytest.fixture
def comparison(runs, monkeypatch):
    """lessons/studies/compare_ppo_grpo.py."""
    monkeypatch.delitem(sys.modules, "compare_ppo_grpo", raising=False)
    import compare_ppo_grpo
    yield compare_ppo_grpo
    sys.modules.pop("compare_ppo_grpo")


def args_of(*flags):
    return SimpleNamespace(fast=False, flags=list(flags))


def test_both_algorithms_get_as_many_trials_the_preset_first_and_none_twice(comparison):
    for algo in comparison.ALGOS:
        trials = comparison.trials_of(algo)
        assert len(trials) == comparison.NUM_TRIALS and trials[0] == comparison.PRESET[algo]
        assert trials == comparison.trials_of(algo)
        assert all(trials.count(trial) == 1 for trial in trials)
        for trial in trials:
            assert all(trial[name] in values for name, values in comparison.GRIDS[algo].items())


def test_the_first_trial_is_what_train_py_does_by_itself(comparison, runs):
    """So the preset takes part, under the same conditions as all others."""
    for algo in comparison.ALGOS:
        flags = comparison.flags_of(algo, comparison.PRESET[algo], args_of())
        asked = runs.config_asked([str(flag) for flag in flags])
        assert asked.algo == algo and asked.rl == preset("laptop").rl


def test_a_trial_with_another_group_size_samples_as_many_completions(comparison, runs):
    for size in (8, 32):
        settings = {**comparison.PRESET["grpo"], "group-size": size}
        asked = runs.config_asked([str(flag) for flag in comparison.flags_of("grpo", settings, args_of())])
        assert asked.rl.group_size == size and asked.rl.num_prompts * size == 24 * 16


def test_trials_answer_other_problems_than_those_that_are_scored(comparison):
    assert comparison.TUNING_PROBLEMS != preset("laptop").evaluate.seed
    assert not set(comparison.TUNING_SEEDS) & set(range(5))


@pytest.mark.parametrize("name", ["compare_ppo_grpo", "critic", "harder"])
def test_seeds_on_which_the_settings_were_chosen_are_not_scored(name, runs, monkeypatch, capsys):
    with pytest.raises(SystemExit) as exit:
        run_study(name, monkeypatch, "--seeds", "6")
    assert exit.value.code == 2 and "--seeds is at most 5" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("name, flags", [("harder", ["--samples", "0"]), ("harder", ["--samples", "-5"]),
                                         ("harder", ["--problems", "0"]), ("distill", ["--longer", "-1"])])
def test_a_number_that_means_nothing_is_refused(name, flags, runs, monkeypatch, capsys):
    with pytest.raises(SystemExit) as exit:
        run_study(name, monkeypatch, *flags)
    assert exit.value.code == 2 and "must be a whole number from" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("name, file", [("compare_imitation_rl", "C1-RL-30-0"),
                                        ("generalize", "C16-RL-30-0")])
def test_a_quick_study_of_imitation_takes_iterations_too(name, file, runs, monkeypatch):
    asked = []
    monkeypatch.delitem(sys.modules, "compare_imitation_rl", raising=False)

    def look(jobs):
        asked.extend(job[1] for job in jobs.values())
        sys.exit()

    monkeypatch.setattr(runs, "work_off", look)
    with pytest.raises(SystemExit):
        run_study(name, monkeypatch, "--fast", "--iterations", "30")
    assert file in asked
    sys.modules.pop("compare_imitation_rl", None)


def test_a_best_rate_on_the_edge_is_followed_by_the_next_one_beyond(comparison, monkeypatch):
    asked = []

    def result(algo, number, settings, args):
        asked.append((number, settings["learning-rate"]))
        return {"settings": settings, "right": float(settings["learning-rate"]), "by seed": []}

    monkeypatch.setattr(comparison, "result_of", result)
    tried = comparison.tune("grpo", None)
    assert asked[-1] == (comparison.NUM_TRIALS, "2e-3")
    assert comparison.best_of(tried)["settings"]["learning-rate"] == "2e-3"
    monkeypatch.setattr(comparison, "result_of", lambda algo, number, settings, args: {
        "settings": settings, "right": float(settings["learning-rate"] == "3e-4")})
    assert len(comparison.tune("ppo", None)) == comparison.NUM_TRIALS


def test_the_way_is_measured_as_one_does_by_hand(comparison):
    """Two marks and a half: from 0.2 to 0.4 to 0.8 at 0, 10 and 20."""
    right = comparison.np.zeros((1, 10, 3))
    for mark, share in enumerate((2, 4, 8)):
        right[:, :share, mark] = 1
    assert comparison.at_end(right) == 0.8
    assert comparison.area([0, 10, 20], right, 20) == pytest.approx((0.3 + 0.6) / 2, abs=1e-3)
    assert comparison.area([0, 10, 20], right, 10) == pytest.approx(0.3, abs=1e-3)
    assert comparison.needed([0, 10, 20], right, 0.1) == pytest.approx(5.0)
    assert comparison.needed([0, 10, 20], right, 0.4) == pytest.approx(15.0)
    assert comparison.needed([0, 10, 20], right, 0.7) == float("inf")


def test_ppo_gets_as_many_iterations_as_fit_into_the_seconds_of_grpo(comparison):
    seconds_of = {"grpo": [0.1, 0.2, 0.9], "ppo": [0.8, 0.7, 0.9]}          # medians 0.2 and 0.8
    assert comparison.iterations_for(seconds_of, args_of()) == 25           # of 100
    slower_day = {"grpo": [0.4], "ppo": [1.2]}
    assert comparison.pace_of(seconds_of, slower_day) == pytest.approx(0.6)     # three times GRPO's 0.2


def test_the_ppo_that_learns_once_is_the_best_of_these_trials(comparison):
    tried = [{"settings": {"num-epochs": num_epochs, "name": i}, "right": right}
             for i, (num_epochs, right) in enumerate(((1, 0.5), (4, 0.9), (1, 0.7), (2, 0.8)))]
    assert comparison.best_with_one_update(tried)["settings"]["name"] == 2


def test_a_run_from_another_start_than_the_kept_arms_is_refused(comparison, runs, monkeypatch, capsys):
    path = runs.RESULTS / "arms" / "C5-whole-grpo-cold-start-1.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"marks": [{"right": {"sums": "011" * 100, "words": "0" * 100}}]}))
    monkeypatch.setattr(runs, "open_model", lambda source, stage: (stage, {}))
    answers = {"sums": "011" * 99 + "110", "words": "0" * 98 + "01"}      # 3 of 400 differ
    monkeypatch.setattr(runs, "right_answers", lambda model, tasks, config: answers)
    comparison.refuse_another_start("cold-start", "a run", 1, args_of())
    answers["words"] = "0" * 95 + "00111"                                   # 5 of 400
    comparison.refuse_another_start("base", "a run", 1, args_of())           # no arm began there
    comparison.refuse_another_start("cold-start", "a run", 2, args_of())     # nor with this seed
    with pytest.raises(SystemExit) as exit:
        comparison.refuse_another_start("cold-start", "a run", 1, args_of())
    told = capsys.readouterr().err
    assert exit.value.code == 2 and "cold-start-1.json began with another model than a run has" in told
    assert "1.2% of the answers before RL" in told


@pytest.mark.slow
def test_ppo_and_grpo_are_compared_from_the_included_weights(comparison, runs, monkeypatch, capsys):
    """The whole study, with the shortest of runs."""
    make_tiny(comparison, monkeypatch)
    monkeypatch.setattr(comparison, "NUM_TIMED", 2)
    monkeypatch.setattr(runs, "FAST_FLAGS", (*runs.FAST_FLAGS, *SHORTER))
    monkeypatch.setattr(sys, "argv", ["compare_ppo_grpo.py", "--fast"])
    comparison.main()
    claim = json.loads((runs.RESULTS / "C5.json").read_text())
    rows = {row["name"]: row for row in claim["rows"]}
    assert "cold start: ppo - grpo, countdown" in rows
    assert "cold start: ppo in the seconds of grpo - grpo, all tasks" in rows
    assert "cold start: ppo with one update in the seconds of grpo - grpo, all tasks" in rows
    assert "cold start: grpo - grpo with the preset, all tasks" in rows
    assert len(claim["tried"]["ppo"]) == 1 and claim["chosen"]["grpo"] == comparison.PRESET["grpo"]
    assert set(claim["bytes"]) == set(comparison.ALGOS)
    assert "ppo, all tasks" in capsys.readouterr().out


def make_tiny(comparison, monkeypatch):
    """One trial of each algorithm, and scores at the start and the end."""
    monkeypatch.setattr(comparison, "make_small", lambda: None)
    monkeypatch.setattr(comparison, "NUM_TRIALS", 1)
    monkeypatch.setattr(comparison, "NUM_LOOKS", 1)


# -----------------------------------------------------------------------------
# Where a critic pays

@pytest.fixture
def critic(comparison, monkeypatch):
    """lessons/studies/critic.py, which takes the tuning and the runs from that."""
    monkeypatch.delitem(sys.modules, "critic", raising=False)
    import critic
    yield critic
    sys.modules.pop("critic")


def test_questions_about_the_critic_change_one_thing_each(critic):
    chosen, answered = critic.comparison.PRESET, {}
    for question in critic.QUESTIONS:
        for name, algo, settings, flags in critic.runs_of(question, chosen, args_of()):
            assert flags[:2] == ["--rl-num-iterations", 33]      # of 100: all are as short
            words = ["rl", *critic.comparison.flags_of(algo, settings, args_of()), *flags]
            given = command_line.given_flags(train.parse([str(word) for word in words]))
            check_variants(apply_flags(preset("laptop"), given))     # train.py does not refuse it
            changed = {key for key in settings if settings[key] != chosen[algo].get(key)}
            assert len(changed) + bool(flags[2:]) <= 2 and algo in critic.ALGOS, name
            answered.setdefault(name, {})[algo] = flags[2:]
    assert answered["group-1"]["grpo"] == ["--rl-batch-baseline"]   # else a group of one has no advantage
    assert set(answered) == set(critic.STYLES) and set(answered["lambda-1"]) == {"ppo"}
    assert critic.pairs_of(answered) == list(critic.PAIRS)
    del answered["group-1"]["grpo"], answered["lambda-0.95"]
    assert critic.pairs_of(answered) == [list(critic.PAIRS)[i] for i in (1, 3, 5)]


def test_pairs_that_would_name_other_settings_than_the_chosen_ones_are_refused(critic, monkeypatch, capsys):
    tried = [{"settings": {"gae-lambda": "1"}, "right": 1.0}]
    monkeypatch.setattr(critic.comparison, "make_trials", lambda args: None)
    monkeypatch.setattr(critic.comparison, "tune", lambda algo, args: tried)
    monkeypatch.setattr(sys, "argv", ["critic.py"])
    assert code_of(critic.main) == 2
    assert "the trials chose lambda 1: PAIRS expects 0.95" in capsys.readouterr().err


def test_what_a_critic_brings_is_counted_by_hand(critic):
    """Ten problems, two seeds: PPO solves 6 and 8 at the end, GRPO 5. Its critic explains 0, then half."""
    def arm(number, **more):
        marks = []
        for i, right in enumerate((2, number)):
            solved = "1" * right + "0" * (10 - right)
            marks.append({"completions": 8 * i, "tokens": 80 * i, "right": {"sums": solved}})
        return {"marks": marks, "tokens of an answer": 10.0 * number, **more}
    explained = {"explained_variance": [0.0] * 10 + [0.5] * 10}
    answers = {"lambda-1": {"ppo": [arm(4, **explained), arm(4, **explained)]},
               "lambda-0.95": {"ppo": [arm(6, **explained), arm(8, **explained)]},
               "group-8": {"ppo": [arm(6, **explained), arm(8, **explained)], "grpo": [arm(5), arm(5)]}}
    rows = {row["name"]: row for row in critic.rows_of(answers, seeds=(0, 3))}
    assert rows["lambda-0.95: ppo, all tasks"]["value"] == pytest.approx(0.7)
    lead = "PPO minus GRPO, eight completions a problem"
    assert rows[lead]["value"] == pytest.approx(0.2)
    assert rows[f"{lead}, seed 0"]["value"] == pytest.approx(0.1)
    assert rows[f"{lead}, seed 3"]["value"] == pytest.approx(0.3)
    assert rows["PPO, lambda 0.95 minus lambda 1"]["value"] == pytest.approx(0.3)
    last = rows["lambda-1: explained variance of its targets, last ten rollouts (mean, lowest, highest run)"]
    assert (last["value"], last["low"], last["high"]) == (0.5, 0.5, 0.5)
    tokens = rows["lambda-0.95: ppo, tokens of an answer (mean, lowest, highest run)"]
    assert (tokens["value"], tokens["low"], tokens["high"]) == (70.0, 60.0, 80.0)


def test_what_a_critic_and_a_group_know_is_counted_by_hand(critic, monkeypatch):
    """Four answers. The critic knows nothing at first, three quarters in the middle, all at the end."""
    torch, nan = critic.torch, float("nan")
    monkeypatch.setattr(critic, "NUM_PLACES", 3)
    rewards = torch.tensor([1.0, 0.0, 1.0, 0.0])
    values = torch.tensor([[0.5, 0.75, 1.0, nan, nan], [0.5, 0.5, 0.25, 0.0, 0.0],
                           [0.5, 0.75, 1.0, nan, nan], [0.5, 0.5, 0.25, 0.0, 0.0]])
    # errors in the middle: 0.25 and -0.25, whose variance is a quarter of that of the rewards
    assert critic.known_along(rewards, values, torch.tensor([3, 5, 3, 5])) == pytest.approx([0, 0.75, 1])
    # pairs (1, 1) and (0, 0) know all; in pairs (1, 0) the other is always the opposite: error 1 or -1
    assert critic.known_by_group(torch.tensor([1.0, 1.0, 0.0, 0.0]), 2) == pytest.approx(1)
    assert critic.known_by_group(rewards, 2) == pytest.approx(1 - 4)
    # groups of 3: the others of 1, 1, 0 have means 0.5, 0.5, 1
    assert critic.known_by_group(torch.tensor([1.0, 1.0, 0.0]), 3) == pytest.approx(1 - (3 / 4) / (1 / 3))


@pytest.mark.slow
def test_the_questions_about_the_critic_are_answered_from_the_included_weights(critic, runs, monkeypatch):
    make_tiny(critic.comparison, monkeypatch)
    monkeypatch.setattr(runs, "FAST_FLAGS", (*runs.FAST_FLAGS, *SHORTER))
    monkeypatch.setattr(critic, "SIZES", (2, 4))
    monkeypatch.setattr(critic, "GROUP_SIZE", 4)
    monkeypatch.setattr(sys, "argv", ["critic.py", "--fast", "--only", "few", "lambda"])
    critic.main()
    saved = json.loads((runs.RESULTS / "critic.json").read_text())
    names = {row["name"] for row in saved["rows"]}
    assert "PPO minus GRPO, one completion a problem, seed 0" in names
    assert "lambda-0.95: ppo, all tasks" in names
    assert list(saved["pairs"]) == ["PPO minus GRPO, one completion a problem"]
    assert "known by the critic at 100% of an answer (mean, lowest, highest run)" in names
    assert not any("length-price" in name for name in names)
    assert saved["command"].endswith("--only few lambda")
    assert (runs.RESULTS / "critic.png").stat().st_size > 5000


# -----------------------------------------------------------------------------
# GRPO and its relatives

@pytest.fixture
def variants(runs, monkeypatch):
    """lessons/studies/variants.py, with its folders elsewhere."""
    monkeypatch.syspath_prepend(str(LESSONS / "studies"))
    monkeypatch.delitem(sys.modules, "variants", raising=False)
    import variants
    yield variants
    sys.modules.pop("variants")


def test_each_relative_is_a_command_that_is_not_refused_and_has_its_lines(variants):
    assert len(variants.RELATIVES) > 15
    flags = []
    for name, relative in variants.RELATIVES.items():
        args = train.parse(["rl", *relative.flags.split()])
        check_variants(apply_flags(preset("laptop"), command_line.given_flags(args)))
        flags.append((relative.flags, relative.other_draws))
        assert (variants.num_lines(relative) == 0) == (name in variants.NO_RELATIVES)
        assert relative.less in variants.BASELINES
    assert len(set(flags)) == len(flags)
    gspo = variants.RELATIVES["gspo"]       # its paper's loss is a mean over completions
    assert all("--rl-normalize sequence" in variants.RELATIVES[name].flags for name in ("gspo", gspo.less))


def test_a_line_that_is_not_in_the_code_any_more_is_named(variants):
    gone = variants.Relative("gone", "", lines=((variants.grpo, "no such line"),))
    with pytest.raises(ValueError, match="minireason.grpo has no line 'no such line'"):
        variants.num_lines(gone)


def test_two_runs_are_compared_where_they_have_cost_as_much(variants):
    """The relative samples twice as much in an iteration and takes half of the seconds."""
    num_completions, clock = {"dapo": 20, "grpo": 10}, {"dapo": 0.5, "grpo": 1.0}

    def outcomes(name, seed, iteration):    # of 40 problems, so many more with each iteration, and by seed
        number = (6 if name == "dapo" else 5) * iteration + seed
        return "1" * number + "0" * (40 - number)

    arms = {}
    for name, completions in num_completions.items():
        arms[name] = []
        for seed in (0, 1):
            marks = []
            for i in range(5):
                right = outcomes(name, seed, i)
                marks.append({"iteration": i, "completions": i * completions,
                              "right": {"arithmetic": right[:20], "countdown": right[20:]}})
            arms[name].append({"marks": marks})
    arms = variants.with_seconds(arms, clock)

    def as_bits(name, iteration):
        return [[int(bit) for bit in outcomes(name, seed, iteration)] for seed in (0, 1)]

    by_completions = variants.compare(arms, "dapo", "completions")  # 40: its iteration 2 and 4 of GRPO
    expected = stats.bootstrap_interval(as_bits("dapo", 2), as_bits("grpo", 4))
    assert by_completions == tuple(100 * share for share in expected)
    assert by_completions[0] == pytest.approx(100 * (12 - 20) / 40)
    by_seconds = variants.compare(arms, "dapo", "seconds")          # 2: its iteration 4 and 2 of GRPO
    assert by_seconds[0] == pytest.approx(100 * (24 - 10) / 40)
    assert variants.differences(arms, "dapo", "completions") == pytest.approx([-20, -20])
    assert variants.differences(arms, "dapo", "seconds") == pytest.approx([35, 35])
    halfway = variants.right_at(arms["grpo"][0], "seconds", 2.5)    # between iterations 2 and 3: 10 and 15
    assert sum(halfway) == pytest.approx(12.5) and set(halfway) == {0, 0.5, 1}
    line = variants.table_line(arms, "dapo")
    assert line["at the end"][0] == pytest.approx(100 * 24.5 / 40) and line["by seconds"] == by_seconds
    assert line["time"] == 0.5


def test_relatives_that_are_one_algorithm_differ_by_no_more_than_chance(variants, monkeypatch):
    """Points of five relatives in three runs: drawn alike, and then with one that is ahead in each run."""
    names = ["sequence", "dr-grpo", "rloo", "entropy", "overlong"]
    rng = variants.np.random.default_rng(3)
    points = dict(zip(names, rng.normal(size=(5, 3)), strict=True))
    monkeypatch.setattr(variants, "differences", lambda arms, name, cost: {"completions": points[name]}[cost])
    arms = dict.fromkeys([*variants.BASELINES, "grpo-again", "gspo", *names])      # gspo has another GRPO
    alike = variants.chance_of(arms)
    assert alike["compared"] == 5 and alike["as far"] > 0.1 and alike["as wide"] > 0.1
    assert alike["lead"] == max(of_runs.mean() for of_runs in points.values())
    # One that is far ahead: all three nines come to one relative, and not to GRPO, with 5/6 * 1/6 * 1/6; and
    # then GRPO must not be further behind than it is.
    points["rloo"] = variants.np.array([9.0, 9.0, 9.0])
    ahead = variants.chance_of(arms)
    assert ahead["lead"] == 9 and 0 < ahead["as far"] < 5 / 6 ** 3 + 0.005 and 0 < ahead["as wide"] < 0.03
    # All are as far ahead of GRPO: that shows, although they are alike.
    for name in names:
        points[name] = variants.np.array([9.0, 9.0, 9.0]) + points[name] / 100 * (name != "rloo")
    assert variants.chance_of(arms)["as wide"] < 0.05
    assert variants.chance_of({"grpo": None, "rloo": None}) is None


def test_grpo_drawn_anew_has_another_seed_and_nothing_else(variants):
    usual, anew = (variants.flags_of(name, 2, 30, []) for name in ("grpo", "grpo-again"))
    assert anew == [usual[0], 2 + variants.OTHER_DRAWS, *usual[2:]]


def test_the_clock_makes_the_run_of_grpo_that_it_starts_from(variants, runs, monkeypatch):
    """`--fast --only gspo` compares with another GRPO, so it has not made this one."""
    made, model = [], open_model("pretrained", "rl")
    monkeypatch.setattr(runs, "ensure", lambda name, *_: made.append(name))
    monkeypatch.setattr(variants, "snapshots_in", lambda folder: [1] if made else [])
    monkeypatch.setattr(runs, "open_snapshot", lambda folder, iteration: model)
    monkeypatch.setattr(runs, "in_turn", lambda steps, number: [(name, 1.0, {}) for name in steps] * 2)
    args = SimpleNamespace(fast=True, iterations=2, flags=[], seeds=range(1))
    assert variants.clock_of(["gspo"], args) == {"gspo": 1.0} and made == ["variants-grpo-0"]
    # another choice is timed anew, since those that are compared run in turn
    assert variants.clock_of(["gspo", "cispo"], args) == {"gspo": 1.0, "cispo": 1.0}


def test_the_sentence_says_what_the_intervals_say(variants):
    table = [{"variant": "GRPO, drawn anew", "by seconds": (2, 1, 3)},
             {"variant": "a", "by seconds": (2, 1, 3)}, {"variant": "b", "by seconds": (-2, -3, -1)},
             {"variant": "c", "by seconds": (1, -1, 3)}, {"variant": "GRPO"}]
    assert variants.sentence(table, "by seconds") == (
        "by seconds, of 3 compared (some may look different by chance): "
        "better than GRPO: a; worse: b; no difference that these runs could show: 1")


@pytest.mark.parametrize("arguments, says", [
    (["--only", "grpx"], "--only: invalid choice: 'grpx'"),
    (["--fast", "--seeds", "0"], "--seeds is at least 1"),
    (["--iterations", "1"], "--iterations: must be a whole number from 2")])
def test_a_study_of_the_relatives_that_cannot_be_made_is_refused(variants, monkeypatch, capsys, arguments,
                                                                 says):
    monkeypatch.setattr(sys, "argv", ["variants.py", *arguments])
    assert code_of(variants.main) == 2
    out, error = capsys.readouterr()
    assert says in error.splitlines()[-1] and not out


def test_an_arm_of_a_relative_is_found_without_a_run_and_only_with_the_same_settings(variants, runs,
                                                                                     monkeypatch, capsys):
    measured = []
    monkeypatch.setattr(runs, "whole_run", lambda seed, args, needs: measured.append(needs))
    monkeypatch.setattr(variants, "measure", lambda *arguments: {"marks": list(arguments)})
    args = SimpleNamespace(fast=False, iterations=9, flags=["--rl-group-size", "4"])
    assert variants.arm_of("dapo", 3, args) == {"marks": ["dapo", 3, None, 9, args.flags]}
    stored = json.loads((runs.RESULTS / "arms" / "variants-dapo-3.json").read_text())["settings"]["rl"]
    assert (stored["num_iterations"], stored["group_size"], stored["max_refills"]) == (9, 4, 8)
    assert variants.arm_of("dapo", 3, args) and measured == ["cold-start"]      # not asked for a second time
    args.iterations = 10
    assert code_of(variants.arm_of, "dapo", 3, args) == 2
    assert "(rl.num_iterations): leave these out" in capsys.readouterr().err


@pytest.mark.slow
def test_the_table_of_the_relatives_is_made_from_arms_alone(variants, runs, monkeypatch, capsys):
    monkeypatch.setattr(variants, "FAST", ("grpo", "dapo"))
    monkeypatch.setattr(variants, "NUM_TIMED", 2)
    monkeypatch.setattr(runs, "FAST_FLAGS", (*runs.FAST_FLAGS, *SHORTER))
    monkeypatch.setattr(sys, "argv", ["variants.py", "--fast"])
    folder, results = runs.STUDIES / "fast", runs.RESULTS
    variants.main()
    assert "dynamic sampling + price" in capsys.readouterr().out
    first = json.loads((folder / "variants.json").read_text())
    assert [line["variant"] for line in first["table"]] == ["GRPO", "dynamic sampling + price of length"]
    assert {"claim", "command", "seeds", "num_problems", "rows"} <= set(first)
    assert len(first["rows"]) == 4 and (folder / "variants.png").stat().st_size > 5000
    assert not results.exists()                         # the repository's own table is left alone

    clock = json.loads((folder / "arms" / "variants-clock-grpo-dapo.json").read_text())["seconds"]
    assert set(clock) == {"grpo", "dapo"} and all(len(seconds) == 1 for seconds in clock.values())
    marks = json.loads((folder / "arms" / "variants-dapo-0.json").read_text())["marks"]
    assert [mark["iteration"] for mark in marks] == [0, 1, 2] and marks[0]["completions"] == 0
    trained = json.loads((folder / "variants-dapo-0" / "results.json").read_text())["stages"]["rl"]
    for task, outcomes in marks[-1]["right"].items():
        assert outcomes == trained[task]["outcomes"] and len(marks[1]["right"][task]) == len(outcomes)

    monkeypatch.setattr(runs, "ensure", None)           # as in a clone: no run is looked for
    monkeypatch.setattr(runs, "STUDIES", runs.STUDIES.parent)
    variants.main()
    assert json.loads((folder / "variants.json").read_text()) == first
