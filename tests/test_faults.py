"""What goes wrong on other people's machines: one line that says so, an exit code,
and nothing that was trained is lost.

MINIREASON_LONG=1 python -m pytest tests/test_faults.py     interrupts a run 100 times instead of 6
"""

import io
import os
import pickle
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from helpers import last_error
from test_train import ROOT, TINY, assert_equal_weights, run, weights

import sample
import train
from minireason import evaluate, settings, stages
from minireason.begin import LOCK, locked
from minireason.tools import export, flags, inspector
from minireason.upkeep import checkpoint

THREADS = {"OMP_NUM_THREADS": str(torch.get_num_threads())}      # as many as here: bits depend on it

INTERRUPTS = 100 if os.environ.get("MINIREASON_LONG") == "1" else 6
TINY = [*TINY, "--pure-rl", "--evaluate-num-problems", "5", "--evaluate-num-programs", "5",
        "--evaluate-max-new-tokens", "8"]
SLOW = ("import sys, time, train; plain = train.metrics.append; train.SAVE_EVERY = 0; "
        "train.metrics.append = lambda *a: (plain(*a), time.sleep(0.5)); sys.exit(train.main(sys.argv[1:]))")
pytestmark = pytest.mark.usefixtures("no_figures")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A base that nothing happened to."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(train.report, "write_report", lambda *_: None)
        assert run("base", *TINY, "--out", folder) == 0
    return folder


def assert_same(whole, folder):
    assert_equal_weights(weights(whole, "base"), weights(folder, "base"))
    assert (whole / "base" / "metrics.jsonl").read_text() == (folder / "base" / "metrics.jsonl").read_text()


# -----------------------------------------------------------------------------
# Two runs on one folder

@pytest.mark.slow
def test_a_second_run_keeps_out_of_a_folder_and_a_killed_one_leaves_it_open(whole, tmp_path, capsys):
    folder = tmp_path / "run"
    first = subprocess.Popen([sys.executable, "-c", SLOW, "base", *TINY, "--out", str(folder)], cwd=ROOT,
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                             env={**os.environ, **THREADS})
    try:
        lines = folder / "base" / "metrics.jsonl"
        while first.poll() is None and not (lines.exists() and lines.read_text().count("\n") > 1):
            time.sleep(0.05)
        before = (folder / "config.json").read_bytes()
        for arguments in (["base", *TINY], ["--resume"], ["base", *TINY, "--seed", "1"]):
            assert run(*arguments, "--out", folder) == 2
            refusal = f"another train.py is at work in {folder}: let it finish or choose another --out"
            assert last_error(capsys) == f"train.py: {refusal}"
        assert first.poll() is None and (folder / "config.json").read_bytes() == before
    finally:
        first.kill()
        first.wait()
    assert run("base", "--resume", "--out", folder) == 0       # the lock of a dead process is no lock
    assert_same(whole, folder)


@pytest.mark.skipif(sys.platform == "win32", reason="no fcntl")
def test_two_that_begin_at_once_are_told_apart(tmp_path, capsys):
    """A folder that another has locked but not yet written to."""
    import fcntl
    (tmp_path / "run").mkdir()
    with open(tmp_path / "run" / LOCK, "wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert run("base", *TINY, "--out", tmp_path / "run") == 2
    assert "another train.py" in last_error(capsys) and os.listdir(tmp_path / "run") == [LOCK]


@pytest.mark.skipif(sys.platform == "win32", reason="no fcntl")
def test_a_lock_holds_when_its_file_is_deleted(tmp_path, capsys):
    folder = tmp_path / "run"
    with locked(folder):
        (folder / LOCK).unlink()
        assert run("base", *TINY, "--out", folder) == 2
        assert "another train.py" in last_error(capsys)
    with locked(folder):        # released, and its own to take
        pass


# -----------------------------------------------------------------------------
# Disks and folders

@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no limits on files")
@pytest.mark.parametrize("limit, says", [
    (10, "[Errno 27] File too large"),
    (20_000, "{}/base/checkpoint.pt could not be written: is the disk full?")])
def test_a_full_disk_is_one_line_and_the_run_goes_on_where_there_is_room(whole, tmp_path, capsys,
                                                                         limit, says):
    """A real limit of the system on what a file may hold:
    the configuration does not fit, or the checkpoint does not."""
    import resource
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        assert run("base", *TINY, "--out", tmp_path / "run") == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert last_error(capsys).startswith("train.py: " + says.format(tmp_path / "run"))
    assert not list((tmp_path / "run").rglob("*.tmp")) and not list((tmp_path / "run").rglob("*.pt"))
    flags = ["--resume"] if limit > 10 else TINY
    assert run("base", *flags, "--out", tmp_path / "run") == 0
    assert_same(whole, tmp_path / "run")


def test_a_folder_that_cannot_be_written_to(tmp_path, capsys):
    folder = tmp_path / "mine"
    folder.mkdir(mode=0o500)
    if os.access(folder, os.W_OK):          # root may write anywhere but here
        folder = Path("/sys")
    if os.access(folder, os.W_OK) and not folder.samefile("/sys"):
        pytest.skip("every folder can be written to")
    assert run("base", *TINY, "--out", folder / "run") == 1
    assert last_error(capsys).startswith("train.py: [Errno")
    assert str(folder / "run") not in map(str, folder.iterdir())


# -----------------------------------------------------------------------------
# Damaged and foreign checkpoints

class Bomb:
    def __reduce__(self):
        return open, ("exploded", "w")


def spoil(path, how):
    content = path.read_bytes()
    if how == "truncated":
        path.write_bytes(content[:len(content) // 2])
    elif how == "flipped":
        half = len(content) // 2
        path.write_bytes(content[:half] + bytes([content[half] ^ 16]) + content[half + 1:])
    elif how == "foreign":
        torch.save({"model": torch.zeros(3)}, path)
    elif how == "pickle":
        path.write_bytes(pickle.dumps(Bomb()))
    else:
        torch.save({**checkpoint.load(path), "extra": Bomb()}, path)


@pytest.mark.slow
@pytest.mark.parametrize("how, says", [
    ("truncated", "is damaged or not a checkpoint (BadZipFile)"),
    ("flipped", "is damaged or not a checkpoint (BadZipFile)"),
    ("foreign", "is not a checkpoint of minireason"),
    ("pickle", "is damaged or not a checkpoint (BadZipFile)"),
    ("code inside", "is damaged or not a checkpoint (UnpicklingError)")])
def test_every_command_refuses_a_bad_checkpoint(whole, tmp_path, monkeypatch, capsys, how, says):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "run" / "base" / "checkpoint.pt"
    path.parent.mkdir(parents=True)
    (tmp_path / "run" / "rl").symlink_to(path.parent)
    for name in ("base/checkpoint.pt", "config.json", "base/metrics.jsonl"):
        (tmp_path / "run" / name).write_bytes((whole / name).read_bytes())
    spoil(path, how)
    for name, main, arguments in (
            ("train.py", train.main, ["base", "--resume", "--out", "run"]),
            ("train.py", train.main, ["rl", *TINY, "--from", "run", "--out", "new"]),
            ("sample.py", sample.main, ["compute 1+1", "--run", "run", "--stage", "base"]),
            ("evaluate", evaluate.main, ["--run", "run", "--stage", "base"]),
            ("inspector", inspector.main, ["compute 1+1", "--run", "run"]),
            ("export", export.main, ["--run", "run", "--stage", "base", "--to", "to"])):
        assert main(arguments) == 1
        line = last_error(capsys)
        assert line.startswith(f"{name}: run/") and says in line
    assert not Path("exploded").exists() and not Path("to").exists() and not Path("new").exists()


# -----------------------------------------------------------------------------
# Numbers that are none

@pytest.mark.slow
@pytest.mark.parametrize("algo", ["sft", "grpo", "ppo"])
def test_a_training_that_explodes_stops_and_says_why(whole, tmp_path, monkeypatch, capsys, algo):
    """With a learning rate that no weight survives: its range does not hold one."""
    for module in (settings, flags):
        monkeypatch.setattr(module, "in_range", lambda *_: True)
    stage = "base" if algo == "sft" else "rl"
    monkeypatch.setattr(stages, "reasoning_world", paid_by_length(stages.reasoning_world))
    given = [f"--{stage}-learning-rate", "1e37", f"--{stage}-max-grad-norm", "1e30",
             "--rl-warmup-iterations", "1"]
    given += [] if algo == "sft" else ["--algo", algo, "--from", whole]
    assert run(stage, *TINY, *given, "--out", tmp_path / "run") == 1
    line = last_error(capsys)
    assert line.startswith(f"train.py: {stage}: a number became infinite or undefined at iteration")
    assert not (tmp_path / "run" / "report.md").exists()
    # what it advises can be done
    source = [] if algo == "sft" else ["--algo", algo, "--from", tmp_path / "run"]
    if source:
        assert line.endswith(f"--from {tmp_path / 'run'}")
    assert f"a new run with a lower --{stage}-learning-rate" in line
    assert run(stage, *TINY, f"--{stage}-learning-rate", "1e-4", *source, "--out", tmp_path / "lower") == 0


def paid_by_length(plain):
    """So small a model answers nothing right, and without a reward nothing moves."""
    def world(*arguments):
        made = plain(*arguments)
        made.reward = lambda problems, completions: [float(len(text)) for text in completions]
        return made
    return world


# -----------------------------------------------------------------------------
# Ctrl-C

@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGVTALRM"), reason="no such timer")
def test_ctrl_c_at_any_time_loses_nothing(whole, tmp_path, monkeypatch, capsys):
    """The key is pressed after a random time of computing:
    in a step, in a save, in an evaluation, before, between."""
    monkeypatch.setattr(train, "SAVE_EVERY", 0)
    began = os.times().user
    assert run("base", *TINY, "--out", tmp_path / "uninterrupted") == 0
    whole_time = os.times().user - began        # so a fast machine is interrupted earlier
    rng, folder, codes = random.Random(0), tmp_path / "run", []
    before = signal.signal(signal.SIGVTALRM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        while codes[-1:] != [0] or codes.count(130) < INTERRUPTS:
            if codes[-1:] == [0]:       # it ended before it was interrupted often enough
                shutil.rmtree(folder)
            flags = ["--resume"] if (folder / "config.json").exists() else TINY
            wait = whole_time * (0.05 + 0.5 * rng.random()) if codes.count(130) < INTERRUPTS else 10_000
            signal.setitimer(signal.ITIMER_VIRTUAL, wait)
            codes.append(run("base", *flags, "--out", folder))
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
            error = capsys.readouterr().err
            assert "Traceback" not in error and ("stopped" in error or codes[-1] == 0)
            if codes[-1] == 0:
                assert_same(whole, folder)
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
    assert set(codes) == {0, 130}


# -----------------------------------------------------------------------------
# Terminals

ASCII = {"PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", **THREADS}


@pytest.mark.slow
def test_without_any_terminal_a_run_is_trained_all_the_same(whole, tmp_path):
    command = [sys.executable, str(ROOT / "train.py"), "base", *TINY, "--out", str(tmp_path / "run")]
    done = subprocess.run(["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *command], timeout=600,
                          env={**os.environ, **ASCII})
    assert done.returncode == 0
    assert_same(whole, tmp_path / "run")


@pytest.mark.slow
def test_a_file_is_answered_until_its_reader_leaves(whole, tmp_path):
    (tmp_path / "problems.txt").write_text("compute 1+1\n" * 3)
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([sys.executable, str(ROOT / "sample.py"), "--file", str(tmp_path / "problems.txt"),
                           "--run", str(whole)],
                          stdout=writer, stderr=subprocess.PIPE, timeout=600, env={**os.environ, **ASCII})
    os.close(writer)
    assert done.returncode == 1 and done.stderr == b""


@pytest.mark.slow
def test_no_command_needs_utf_8(tmp_path, monkeypatch, capsys):
    """A folder with an accent, a model that writes one, a user who types one,
    and a terminal that knows ASCII."""
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    folder = tmp_path / "año"
    assert run("base", *TINY, "--out", folder) == 0
    state = checkpoint.load(folder / "base" / "checkpoint.pt")
    checkpoint.save(folder / "rl" / "checkpoint.pt", **state | {"stage": "rl"})
    assert evaluate.main(["--run", str(folder), "--stage", "base"]) == 0
    assert inspector.main(["compute 1+1", "--run", str(folder), "--html", str(tmp_path / "ñ.html"),
                           "--group-size", "2"]) == 0
    assert export.main(["--run", str(folder), "--stage", "base", "--to", str(tmp_path / "más")]) == 0
    monkeypatch.setattr(sample, "answer_all", lambda *_: [("<think>é</think><answer>٣</answer>", 3)] * 2)
    assert sample.main(["compute 1+1", "--run", str(folder), "--votes", "2"]) == 0
    assert sample.main(["compute ٣+1", "--run", str(folder)]) == 2
    sys.stdout.flush()
    shown = sys.stdout.buffer.getvalue().decode("ascii")
    assert r"a\xf1o" in shown and r"thinking  \xe9" in shown and r"answer    \u0663" in shown
    assert r"m\xe1s" in shown
