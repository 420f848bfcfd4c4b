"""The command: what a run leaves behind, exact resume,
and one clear line with its exit code for what goes wrong."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from helpers import last_error

import train
from minireason import evaluate, sft, stages
from minireason.upkeep import checkpoint, metrics

ROOT = Path(train.__file__).parent
TINY = ["--preset", "smoke", "--device", "cpu", "--model-width", "32", "--model-num-layers", "1",
        "--model-mlp-width", "32", "--base-num-examples", "120", "--base-batch-size", "2",
        "--base-learning-rate", "0.01", "--cold-start-num-examples", "30", "--cold-start-num-epochs", "2",
        "--rl-num-iterations", "3", "--rl-num-epochs", "2", "--rl-num-prompts", "4", "--rl-group-size", "4",
        "--rl-max-new-tokens", "24", "--align-num-iterations", "2", "--align-num-prompts", "4",
        "--align-group-size", "4", "--align-max-new-tokens", "24", "--num-preference-prompts", "64",
        "--sampling-num-problems", "20", "--sampling-num-chat", "20", "--evaluate-num-problems", "12",
        "--evaluate-num-programs", "6", "--evaluate-max-new-tokens", "24"]
WITH_KL = ["--rl-kl-coef", "0.01"]
pytestmark = pytest.mark.usefixtures("no_figures")      # only `finished`, which is made before, has a report


def run(*arguments):
    return train.main([str(a) for a in arguments])


def small_world(monkeypatch):
    """So small a model answers nothing right: pay it for coming to an end,
    and give rejection sampling something."""
    plain = stages.reasoning_world

    def paid_for_ending(*arguments):
        world = plain(*arguments)
        world.reward = lambda problems, completions: [float(bool(text)) for text in completions]
        return world
    monkeypatch.setattr(stages, "reasoning_world", paid_for_ending)
    monkeypatch.setattr(stages.rejection_sampling, "sample_and_filter", lambda *a, **k: (
        [("compute 2+3", "<think>2+3=5</think><answer>5</answer>")] * 4, {"sampled": 80, "kept": 4}))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """One whole tiny run, to look at and to compare with."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    with pytest.MonkeyPatch.context() as monkeypatch:
        small_world(monkeypatch)
        assert run(*TINY, *WITH_KL, "--out", folder) == 0
    return folder


def weights(folder, stage):
    return checkpoint.load(folder / stage / "checkpoint.pt")["model"]


def assert_equal_weights(a, b):
    assert a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_a_run_leaves_everything_it_promises(finished):
    results = json.loads((finished / "results.json").read_text())
    assert list(results["stages"]) == list(train.STAGES)
    for stage in train.STAGES:
        lines = [json.loads(line) for line in (finished / stage / "metrics.jsonl").read_text().splitlines()]
        assert [line["iteration"] for line in lines] == list(range(len(lines))) and lines
        state = checkpoint.load(finished / stage / "checkpoint.pt")
        assert state["done"] and state["iteration"] == len(lines)
        for task, number in (("arithmetic", 12), ("countdown", 12), ("program", 6)):
            accuracy = results["stages"][stage][task]["accuracy"]
            assert accuracy["num_problems"] == number
            assert accuracy["low"] <= accuracy["value"] <= accuracy["high"]
        assert results["stages"][stage]["chat"]["leaks"]["num_problems"] == 12
        assert results["seconds"][stage] > 0
    lines = [json.loads(line) for line in (finished / "rl" / "metrics.jsonl").read_text().splitlines()]
    with_signal = [line for line in lines if 0 < line["reward"] < 1]
    assert with_signal                                    # else the exact-resume test would compare nothing
    assert {"reward", "completion_length", "entropy", "zero_std_frac"} <= set(with_signal[0])
    assert "kl" in json.loads((finished / "align" / "metrics.jsonl").read_text().splitlines()[0])
    report = (finished / "report.md").read_text()
    assert "| align |" in report and "Wilson" in report
    for figure in ("stages.png", "rl.png", "align.png"):
        assert (finished / figure).stat().st_size > 5000 and figure in report


def test_its_end_says_where_everything_is(finished, capsys):
    assert run("--resume", "--out", finished) == 0              # nothing left to do: it only says so again
    out = capsys.readouterr().out
    assert str(finished) in out and "report.md" in out and "python sample.py" in out
    assert "  rejection      align\n" in out           # the end of the table's first line
    assert "\nto do: nothing\n" in out


@pytest.mark.parametrize("results, to_do", [(None, ["base", "rl"]), ({"stages": {"base": {}}}, ["rl"])])
def test_the_stages_without_scores_are_still_to_do(results, to_do, monkeypatch):
    monkeypatch.setattr(train, "read_results", lambda folder: results)
    assert train.without_scores(SimpleNamespace(folder="run"), ("base", "rl")) == to_do


def test_evaluating_again_gives_the_same_numbers(finished, capsys):
    assert evaluate.main(["--run", str(finished), "--stage", "rl", "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    stored = json.loads((finished / "results.json").read_text())["stages"]["rl"]
    assert again == stored


def interrupted_stages(monkeypatch, calls, folder, *flags):
    """Begins a run and goes on with it until it ends. Returns the stages in which Ctrl-C was pressed.

    Ctrl-C comes in the middle of an update, between the gradients and the step of the optimizer. `calls` says
    before which calls of the function that is called there.
    """
    count, plain_clip, interrupted = 0, torch.nn.utils.clip_grad_norm_, []

    def interrupt_sometimes(*arguments):
        nonlocal count
        count += 1
        if count in calls:
            signal.raise_signal(signal.SIGINT)
        return plain_clip(*arguments)
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", interrupt_sometimes)
    code = run(*flags, "--out", folder)
    while code == 130:
        begun = [stage for stage in train.STAGES if (folder / stage / "checkpoint.pt").exists()]
        assert not checkpoint.load(folder / begun[-1] / "checkpoint.pt")["done"]
        interrupted.append(begun[-1])
        code = run("--resume", "--out", folder)
    assert code == 0
    return interrupted


def assert_equal_runs(whole, broken):
    for stage in train.STAGES:
        assert_equal_weights(weights(whole, stage), weights(broken, stage))
        assert (whole / stage / "metrics.jsonl").read_text() == (broken / stage / "metrics.jsonl").read_text()
    first, second = (json.loads((f / "results.json").read_text())["stages"] for f in (whole, broken))
    assert first == second


@pytest.mark.slow
@pytest.mark.parametrize("algo, calls, stages", [       # the five stages of GRPO make 60, 2, 6, 4 and 4 calls
    ("grpo", (3, 20, 61, 65, 69, 74), "base base cold-start rl rejection align"),
    ("ppo", (1, 6, 15, 20), "cold-start rl rejection align")])
def test_a_run_that_is_interrupted_and_resumed_equals_one_that_was_not(finished, tmp_path, monkeypatch,
                                                                       algo, calls, stages):
    """The run of PPO begins with the base of GRPO's."""
    small_world(monkeypatch)
    whole, flags = finished, [*TINY, *WITH_KL]
    if algo == "ppo":
        whole, flags = tmp_path / "whole", [*flags, "--algo", "ppo", "--from", finished]
        assert run(*flags, "--out", whole) == 0
    assert interrupted_stages(monkeypatch, calls, tmp_path / "broken", *flags) == stages.split()
    assert not torch.equal(weights(whole, "rl")["embedding.weight"],
                           weights(whole, "cold-start")["embedding.weight"])
    assert_equal_runs(whole, tmp_path / "broken")


@pytest.fixture
def threads():
    """Sets the number of threads, for this test."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def interrupt(monkeypatch):
    """Ctrl-C in the first step from here on."""
    plain_clip = torch.nn.utils.clip_grad_norm_

    def press(*arguments):
        signal.raise_signal(signal.SIGINT)
        return plain_clip(*arguments)
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", press)


def test_another_number_of_threads_is_said_on_resume_and_kept(tmp_path, monkeypatch, capsys, threads):
    folder = tmp_path / "run"
    threads(2)
    with monkeypatch.context() as patch:
        interrupt(patch)
        assert run("base", *TINY, "--base-num-examples", "20", "--out", folder) == 130
        assert run("base", "--resume", "--out", folder) == 130
    out, error = capsys.readouterr()
    assert "bits" not in error and "base goes on after step 1, once its texts are written again" in out
    threads(1)
    assert run("base", "--resume", "--out", folder) == 0
    assert ("base was trained with threads=2 processes=1 and goes on with threads=1 processes=1, so it will "
            "end with other bits: for the same, set OMP_NUM_THREADS") in capsys.readouterr().err
    results = json.loads((folder / "results.json").read_text())
    assert results["ran with"] == {"base": "threads=2 processes=1; then threads=1 processes=1"}
    assert (results["threads"], results["processes"]) == (1, 1) and "ran with" not in results["notes"]


def test_a_stage_whose_folder_was_deleted_is_trained_and_scored_again(tmp_path, monkeypatch):
    folder = tmp_path / "run"
    assert run("base", *TINY, "--base-num-examples", "20", "--out", folder) == 0
    path = folder / "results.json"
    results = json.loads(path.read_text())
    results["stages"]["base"]["arithmetic"]["accuracy"]["value"] = 0.123
    results["ran with"]["base"] = "threads=99 processes=1"
    path.write_text(json.dumps(results))
    shutil.rmtree(folder / "base")
    with monkeypatch.context() as patch:
        interrupt(patch)
        assert run("base", "--resume", "--out", folder) == 130
    results = json.loads(path.read_text())
    assert results["stages"] == {} == results["seconds"]
    assert run("base", "--resume", "--out", folder) == 0
    results = json.loads(path.read_text())
    assert results["stages"]["base"]["arithmetic"]["accuracy"]["value"] != 0.123
    assert "99" not in results["ran with"]["base"]


def test_a_text_that_is_longer_than_the_model_reads_is_told_before_the_first_step(tmp_path, capsys):
    arguments = ["base", *TINY, "--tasks-arithmetic-share", "0", "--tasks-countdown-share", "0",
                 "--tasks-program-share", "1", "--tasks-max-tries", "10", "--model-max-length", "128"]
    assert run(*arguments, "--out", tmp_path / "run") == 2
    told = capsys.readouterr().err.splitlines()[-1]
    assert "and the model reads 128: begin a new run, from base on, with --model-max-length" in told
    assert not (tmp_path / "run" / "base" / "metrics.jsonl").exists()


@pytest.mark.slow
def test_stages_one_by_one_equal_all_at_once(finished, tmp_path, monkeypatch):
    small_world(monkeypatch)
    for stage in train.STAGES:
        assert run(stage, *TINY, *WITH_KL, "--out", tmp_path / "steps") == 0
    assert_equal_weights(weights(finished, "align"), weights(tmp_path / "steps", "align"))


@pytest.mark.slow
def test_the_reward_model_is_kept_in_the_checkpoint_and_not_trained_again(finished, tmp_path, monkeypatch):
    small_world(monkeypatch)
    folder = tmp_path / "run"
    shutil.copytree(finished, folder, ignore=shutil.ignore_patterns("align", "results.json"))
    monkeypatch.setattr(train, "SAVE_EVERY", 0)
    with monkeypatch.context() as first_step:
        plain = metrics.append

        def stop_in_the_second_iteration(path, values):
            if values["iteration"] == 1:
                raise KeyboardInterrupt
            plain(path, values)
        first_step.setattr(metrics, "append", stop_in_the_second_iteration)
        assert run("align", "--resume", "--out", folder) == 130
    assert "reward_model" in checkpoint.load(folder / "align" / "checkpoint.pt")["extra"]

    def never(*_):
        raise AssertionError("the reward model is trained again")
    monkeypatch.setattr(stages, "trained_reward_model", never)
    assert run("align", "--resume", "--out", folder) == 0
    assert_equal_weights(weights(finished, "align"), weights(folder, "align"))
    notes = json.loads((folder / "results.json").read_text())["notes"]
    assert "agrees with the judge on" in notes["reward model"]


@pytest.mark.slow
def test_pure_rl_goes_from_base_to_rl(tmp_path):
    assert run(*TINY, "--pure-rl", "--out", tmp_path / "pure") == 0
    assert sorted(p.name for p in (tmp_path / "pure").iterdir() if p.is_dir()) == ["base", "rl"]


@pytest.mark.slow
def test_a_run_can_start_from_the_stages_of_another(finished, tmp_path, capsys):
    assert run("rl", *TINY, "--algo", "ppo", "--from", finished, "--out", tmp_path / "ppo") == 0
    assert sorted(p.name for p in (tmp_path / "ppo").iterdir() if p.is_dir()) == ["base", "cold-start", "rl"]
    assert_equal_weights(weights(finished, "cold-start"), weights(tmp_path / "ppo", "cold-start"))
    results = json.loads((tmp_path / "ppo" / "results.json").read_text())
    stored = json.loads((finished / "results.json").read_text())
    assert list(results["stages"]) == ["base", "cold-start", "rl"]
    assert results["stages"]["cold-start"] == stored["stages"]["cold-start"]
    assert run(*TINY, "--pure-rl", "--from", finished, "--out", tmp_path / "pure") == 0
    # and not trained again
    assert_equal_weights(weights(finished, "base"), weights(tmp_path / "pure", "base"))
    capsys.readouterr()
    for arguments, says in (
            (["rl", *TINY, "--from", tmp_path, "--out", tmp_path / "a"], "no finished stage 'base'"),
            (["rl", *TINY, "--from", finished, "--out", tmp_path / "b", "--model-width", "64"], "size"),
            (["rl", *TINY, "--from", finished, "--out", tmp_path / "ppo"], "holds a run already")):
        assert run(*arguments) == 2
        assert says in capsys.readouterr().err
    assert not (tmp_path / "a").exists() and not (tmp_path / "b").exists()


@pytest.mark.slow
def test_a_run_from_a_run_from_a_run_whose_first_stages_were_not_scored(finished, tmp_path):
    """The second scores other problems than the first, and of its own stage alone."""
    others = [*TINY, "--evaluate-seed", "7"]
    assert run("cold-start", *others, "--from", finished, "--out", tmp_path / "second") == 0
    assert list(json.loads((tmp_path / "second" / "results.json").read_text())["stages"]) == ["cold-start"]
    assert run("rl", *others, "--from", tmp_path / "second", "--out", tmp_path / "third") == 0
    stages = json.loads((tmp_path / "third" / "results.json").read_text())["stages"]
    assert list(stages) == ["cold-start", "rl"]


@pytest.mark.slow
def test_accuracy_can_be_looked_at_within_a_stage(finished, tmp_path):
    """The looks change nothing of the training itself."""
    looks = ["--evaluate-every", "9", "--evaluate-num-quick", "5"]
    assert run("base", *TINY, *looks, "--out", tmp_path / "looked") == 0
    lines = [json.loads(line)
             for line in (tmp_path / "looked" / "base" / "metrics.jsonl").read_text().splitlines()]
    at = [line["iteration"] + 1 for line in lines if "held_out_arithmetic" in line]
    assert at == sorted({*range(9, len(lines) + 1, 9), len(lines)})
    assert_equal_weights(weights(tmp_path / "looked", "base"), weights(finished, "base"))


@pytest.mark.slow
def test_another_seed_is_another_run(finished, tmp_path):
    assert run("base", *TINY, "--seed", 1, "--out", tmp_path / "other") == 0
    assert not torch.equal(weights(finished, "base")["embedding.weight"],
                           weights(tmp_path / "other", "base")["embedding.weight"])


@pytest.mark.parametrize("arguments, says", [
    (["strange"], "unknown stage 'strange'"),
    (["--preset", "huge"], "--preset: must be smoke, laptop or gpu, not 'huge'"),
    (["--rl-learning-rate", "0"], "--rl-learning-rate: must be a number from 1e-09 to 10, not '0'"),
    (["--seed", "many"], "--seed: must be a whole number"),
    (["--model-num-heads", "3"], "--model-num-heads must be an even"),
    (["--rl-max-new-tokens", "5000"], "no room"),
    (["--device", "abacus"], "device 'abacus'"),
    (["rl"], "needs a run with the stages before it"),
    (["--resume"], "no run to resume"),
    (["--resume", "--out", "nowhere"], "no run to resume"),
])
def test_bad_input_is_one_line_and_code_2(tmp_path, monkeypatch, capsys, arguments, says):
    monkeypatch.chdir(tmp_path)
    assert run(*arguments) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1 and "Traceback" not in error
    assert not list(tmp_path.iterdir())         # a refused command leaves nothing behind


@pytest.mark.slow
def test_a_run_is_never_overwritten_or_mixed(finished, tmp_path, capsys):
    before = (finished / "align" / "checkpoint.pt").read_bytes()
    assert run(*TINY, *WITH_KL, "--out", finished) == 2
    assert "already holds" in capsys.readouterr().err
    assert run(*TINY, *WITH_KL, "--resume", "--out", finished, "--rl-learning-rate", "1e-5") == 2
    assert "rl.learning_rate" in capsys.readouterr().err
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years")
    assert run(*TINY, "--out", tmp_path / "mine") == 2
    assert run(*TINY, "--out", tmp_path / "mine" / "thesis.txt") == 2
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years"
    assert (finished / "align" / "checkpoint.pt").read_bytes() == before


@pytest.mark.slow
def test_without_out_a_fresh_folder_is_chosen(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    short = ["base", *TINY, "--base-num-examples", "8"]
    assert run(*short) == 0 and run(*short) == 0
    assert sorted(p.name for p in (tmp_path / "runs").iterdir()) == ["smoke", "smoke-2"]
    assert run("cold-start", "--resume") == 0                       # the newest one
    assert (tmp_path / "runs" / "smoke-2" / "cold-start" / "checkpoint.pt").exists()


@pytest.mark.slow
def test_a_damaged_checkpoint_is_code_1(tmp_path, capsys):
    assert run("base", *TINY, "--base-num-examples", "8", "--out", tmp_path / "run") == 0
    (tmp_path / "run" / "base" / "checkpoint.pt").write_bytes(b"scrambled")
    assert run("cold-start", "--resume", "--out", tmp_path / "run") == 1
    error = capsys.readouterr().err
    assert "damaged" in error and "Traceback" not in error
    (tmp_path / "run" / "config.json").write_text("{}")
    assert run("--resume", "--out", tmp_path / "run") == 1
    assert "config.json" in capsys.readouterr().err


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_good_checkpoint(tmp_path, monkeypatch, capsys):
    plain = sft.train
    monkeypatch.setattr(train, "SAVE_EVERY", 0)

    def breaks(model, *rest):
        for values in plain(model, *rest):
            if values["iteration"] == 2:
                with torch.no_grad():
                    model.embedding.weight.fill_(float("nan"))
                values["loss"] = float("nan")
            yield values
    monkeypatch.setattr(sft, "train", breaks)
    assert run("base", *TINY, "--out", tmp_path / "run") == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert "iteration 2" in error and "a lower --base-learning-rate" in error
    state = checkpoint.load(tmp_path / "run" / "base" / "checkpoint.pt")
    assert state["iteration"] == 2 and not state["done"]
    assert all(tensor.isfinite().all() for tensor in state["model"].values())


def test_a_full_disk_is_code_1_and_one_line(tmp_path, monkeypatch, capsys):
    def full(state, file):
        raise OSError(28, "No space left on device")
    monkeypatch.setattr(torch, "save", full)
    assert run("base", *TINY, "--out", tmp_path / "run") == 1
    error = capsys.readouterr().err
    assert "No space left" in error and "Traceback" not in error


@pytest.mark.slow
def test_ctrl_c_saves_and_says_how_to_go_on(tmp_path):
    """A real process and a real signal."""
    command = [sys.executable, str(ROOT / "train.py"), "base", *TINY, "--base-num-examples", "3000",
               "--out", str(tmp_path / "run")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
                               env={**os.environ, "OMP_NUM_THREADS": "1"})
    lines = tmp_path / "run" / "base" / "metrics.jsonl"
    while process.poll() is None and not (lines.exists() and lines.read_text().count("\n") > 3):
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    error = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert "--resume" in error and "Traceback" not in error
    state = checkpoint.load(tmp_path / "run" / "base" / "checkpoint.pt")
    assert not state["done"] and state["iteration"] == lines.read_text().count("\n") > 3


# -----------------------------------------------------------------------------
# Signals, at a certain moment

def signals_at(monkeypatch, module, name, call, *numbers):
    """Sends signals to this process before the n-th call of a function."""
    plain, calls = getattr(module, name), 0

    def interrupted(*arguments, **keywords):
        nonlocal calls
        calls += 1
        if calls == call:
            for number in numbers:
                signal.raise_signal(number)
        return plain(*arguments, **keywords)
    monkeypatch.setattr(module, name, interrupted)


@pytest.fixture
def small_run(tmp_path):
    """The folder of a base that takes 12 steps, with its flags."""
    return tmp_path / "run", ["base", *TINY, "--base-num-examples", "24", "--evaluate-num-problems", "5",
                              "--evaluate-num-programs", "5", "--evaluate-max-new-tokens", "8",
                              "--out", tmp_path / "run"]


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_in_a_step_is_followed_by_a_save(small_run, monkeypatch, capsys, number, code):
    folder, flags = small_run
    with monkeypatch.context() as patch:
        signals_at(patch, torch.nn.utils, "clip_grad_norm_", 3, number)
        assert run(*flags) == code
    advice = f"python train.py base --resume --out {folder}"
    assert last_error(capsys) == f"stopped and saved; go on with: {advice}"
    assert checkpoint.load(folder / "base" / "checkpoint.pt")["iteration"] == 3


def test_a_second_ctrl_c_within_one_step_does_not_say_that_anything_was_saved(small_run, monkeypatch, capsys):
    folder, flags = small_run
    with monkeypatch.context() as patch:
        signals_at(patch, torch.nn.utils, "clip_grad_norm_", 3, signal.SIGINT, signal.SIGINT)
        assert run(*flags) == 130
    assert last_error(capsys) == f"stopped; go on with: python train.py base --resume --out {folder}"
    assert not (folder / "base" / "checkpoint.pt").exists()


@pytest.mark.slow
@pytest.mark.parametrize("save_every, save", [(1000, 1), (0, 12), (0, 13)])
def test_ctrl_c_in_a_last_save_stops_after_it(small_run, monkeypatch, capsys, save_every, save):
    """With a checkpoint after each of 12 steps, the 12th is that of the last step, the 13th of the stage."""
    folder, flags = small_run
    monkeypatch.setattr(train, "SAVE_EVERY", save_every)
    with monkeypatch.context() as patch:
        signals_at(patch, checkpoint, "save", save, signal.SIGINT)
        assert run(*flags) == 130
    advice = f"python train.py base --resume --out {folder}"
    assert last_error(capsys) == f"stopped and saved; go on with: {advice}"
    assert checkpoint.load(folder / "base" / "checkpoint.pt")["done"]
    assert run("base", "--resume", "--out", folder) == 0
    assert list(json.loads((folder / "results.json").read_text())["stages"]) == ["base"]


@pytest.mark.slow
def test_what_is_known_before_a_stage_is_scored_is_kept(small_run, monkeypatch):
    """The command, which --resume does not know, and the notes of the stage."""
    folder, flags = small_run
    plain = stages.base

    def base(run):
        stage = plain(run)
        stage.notes["base"] = "a remark"
        return stage
    with monkeypatch.context() as patch:
        patch.setattr(stages, "base", base)
        signals_at(patch, train, "evaluate", 1, signal.SIGTERM)
        assert run(*flags) == 143
    assert run("base", "--resume", "--out", folder) == 0
    results = json.loads((folder / "results.json").read_text())
    assert results["command"] == f"python train.py base {' '.join(map(str, flags[1:]))}"
    assert results["notes"] == {"base": "a remark"}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no full device here")
def test_a_training_whose_messages_nobody_can_read_goes_on(small_run, monkeypatch):
    """What `train.py 2>&1 | head -1` does once head has its line; and stderr goes to a full disk."""
    folder, flags = small_run
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w") as broken, open("/dev/full", "w") as full, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", broken)
        patch.setattr(sys, "stderr", full)
        assert run(*flags) == 0
    assert list(json.loads((folder / "results.json").read_text())["stages"]) == ["base"]


# -----------------------------------------------------------------------------
# A beginning that was killed

@pytest.mark.slow
def test_a_run_that_was_killed_while_it_began_is_begun_anew_by_the_same_command(small_run, capsys):
    folder, flags = small_run
    (folder / "rl").mkdir(parents=True)
    for name in ("config.json.tmp", "results.json", "rl/checkpoint.pt", "rl/metrics.jsonl.tmp"):
        (folder / name).write_text("half a file")
    assert run("--resume", "--out", folder) == 2
    assert last_error(capsys).endswith("holds no run to resume: leave out --resume to start one")
    assert run(*flags) == 0
    assert sorted(path.name for path in folder.iterdir()) == ["base", "config.json", "lock", "results.json"]


def test_a_folder_that_lost_its_settings_is_not_taken_for_a_beginning(small_run, capsys):
    """Its stages are somebody's work."""
    folder, flags = small_run
    (folder / "base").mkdir(parents=True)
    (folder / "base" / "checkpoint.pt").write_text("a week")
    assert run(*flags) == 2
    assert last_error(capsys).endswith("is not empty and holds no run: choose another --out")
    assert (folder / "base" / "checkpoint.pt").read_text() == "a week"


@pytest.mark.slow
def test_a_copy_that_does_not_fit_on_the_disk_is_removed(small_run, tmp_path, monkeypatch):
    folder, flags = small_run
    assert run(*flags) == 0
    plain, copies = shutil.copyfile, []

    def copyfile(source, target, **keywords):
        copies.append(target)
        if len(copies) == 2:
            raise OSError(28, "No space left on device")
        return plain(source, target, **keywords)
    again = ["cold-start", *flags[1:-1], tmp_path / "copy", "--from", folder]
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfile", copyfile)
        assert run(*again) == 1
    assert [path.name for path in (tmp_path / "copy").iterdir()] == ["lock"]
    assert run(*again) == 0
    (folder / "results.json").write_text("{")
    # nor does a damaged source leave anything
    assert run(*again[:-3], tmp_path / "new", "--from", folder) == 1
    assert not (tmp_path / "new").exists()
