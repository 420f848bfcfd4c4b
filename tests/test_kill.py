"""Stopped or killed anywhere, and gone on with: the same bits in every file, and nothing lost but a step.

Ten kills; MINIREASON_LONG=1 python -m pytest tests/test_kill.py makes 100. kill_server.py trains the runs.
"""

import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from minireason.upkeep import checkpoint

ROOT = Path(__file__).parent.parent
KILLS = 50 if os.environ.get("MINIREASON_LONG") == "1" else 5            # of each algorithm
FLAGS = ["--preset", "smoke", "--device", "cpu", "--out", "run",
         "--model-width", "32", "--model-num-layers", "1", "--model-mlp-width", "32",
         "--base-num-examples", "36", "--base-batch-size", "4", "--base-learning-rate", "0.02",
         "--cold-start-num-examples", "12", "--cold-start-batch-size", "4",
         "--rl-num-iterations", "4", "--rl-num-prompts", "4", "--rl-group-size", "4",
         "--rl-max-new-tokens", "16", "--rl-kl-coef", "0.01",
         "--sampling-num-problems", "12", "--sampling-num-chat", "4", "--rejection-batch-size", "16",
         "--num-preference-prompts", "32", "--align-num-iterations", "3", "--align-num-prompts", "4",
         "--align-group-size", "4", "--align-max-new-tokens", "16",
         "--evaluate-num-problems", "5", "--evaluate-num-programs", "5", "--evaluate-max-new-tokens", "8"]
WAYS = [[signal.SIGKILL], [signal.SIGTERM], [signal.SIGINT, signal.SIGINT], [signal.SIGHUP],
        [signal.SIGINT], [signal.SIGTERM, signal.SIGKILL]]
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")]


@pytest.fixture(scope="module")
def server():
    """The process that trains."""
    command = [sys.executable, str(ROOT / "tests" / "kill_server.py")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                          env={**os.environ, "OMP_NUM_THREADS": "1"}) as process:
        yield process
        process.stdin.close()


def train(server, folder, arguments, event=0, delay=0.0, signals=()):
    """The exit code of `train.py arguments` in a folder. Signals come before event number `event`."""
    order = {"folder": str(folder), "arguments": [*map(str, arguments)], "event": event, "delay": delay,
             "signals": [*map(int, signals)]}
    server.stdin.write(json.dumps(order) + "\n")
    server.stdin.flush()
    code = int(server.stdout.readline())
    error = (folder / "stderr").read_text()
    assert "Traceback" not in error, error
    return code


@pytest.fixture(scope="module")
def whole(server, tmp_path_factory):
    """The folders of two runs that nothing happened to. PPO's starts from the base of GRPO's."""
    folders = {algo: tmp_path_factory.mktemp(algo) for algo in ("grpo", "ppo")}
    for algo, folder in folders.items():
        assert train(server, folder, flags_of(algo, folders)) == 0
    return folders


def flags_of(algo, whole):
    source = [] if algo == "grpo" else ["--from", whole["grpo"] / "run"]
    return [*FLAGS, "--algo", algo, *source]


def next_arguments(folder, flags):
    """What a user types after a kill: the same, until there is a run."""
    is_begun = (folder / "run" / "config.json").exists()
    return ["--resume", "--out", "run"] if is_begun else flags


def kill_while_it_starts(folder, flags, seconds, signals):
    """A real train.py, that gets signals in its first seconds."""
    process = subprocess.Popen([sys.executable, str(ROOT / "train.py"), *map(str, flags)], cwd=folder,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                               env={**os.environ, "OMP_NUM_THREADS": "1"})
    time.sleep(seconds)
    for number in signals:
        process.send_signal(number)
    assert process.wait(timeout=300) in expected_codes(signals)


def expected_codes(signals):
    """By the handlers of a command; or, before it has any, by the system."""
    return [128 + number for number in signals] + [-number for number in signals]


def assert_true(folder):
    """If it said that it saved, the last checkpoint has all steps that were logged."""
    if "stopped and saved" not in (folder / "stderr").read_text():
        return
    checkpoints = sorted(folder.glob("run/*/checkpoint.pt"), key=lambda path: path.stat().st_mtime_ns)
    lines = checkpoints[-1].with_name("metrics.jsonl").read_text()
    assert checkpoint.load(checkpoints[-1])["iteration"] == lines.count("\n")


def content(path):
    """What has to be the same in both runs, of one file: all but times and memory."""
    if path.suffix == ".pt":
        state = checkpoint.load(path)
        return {**state, "model": None, "extra": None, "seconds": None}
    if path.name == "results.json":
        results = json.loads(path.read_text())
        times = dict.fromkeys(results.pop("seconds"))
        return results | {"seconds": times, "peak_memory_mib": None}
    return path.read_bytes()


def tensors(value, name=""):
    """All tensors in a dict of dicts, by name."""
    if torch.is_tensor(value):
        return {name: value}
    found = {}
    for key, inner in value.items():
        found |= tensors(inner, f"{name}.{key}")
    return found


def assert_same(whole, broken):
    """No difference in any file, and no file more or less."""
    names = sorted(path.relative_to(whole) for path in whole.rglob("*"))
    assert names == sorted(path.relative_to(broken) for path in broken.rglob("*"))
    for name in names:
        if (whole / name).is_dir():
            continue
        assert content(whole / name) == content(broken / name), name
        if name.suffix == ".pt":
            state, other = checkpoint.load(whole / name), checkpoint.load(broken / name)
            for part in ("model", "extra"):
                first, second = tensors(state[part]), tensors(other[part])
                assert first.keys() == second.keys()
                assert all(torch.equal(first[key], second[key]) for key in first), name


@pytest.mark.parametrize("algo, first_way", [("grpo", 0), ("ppo", 3)])
def test_a_killed_run_ends_with_the_bits_of_one_that_was_not(server, whole, tmp_path, algo, first_way):
    """Over the whole pipeline, and while the base is copied. As many runs are made as the kills take."""
    rng, flags = random.Random(algo), flags_of(algo, whole)
    num_events = int((whole[algo] / "events").read_text())
    furthest = max(30, 2 * num_events // (KILLS - 2))      # then the kills are spread over the run
    ways, kills = itertools.cycle(WAYS[first_way:] + WAYS[:first_way]), 0
    while kills < KILLS:
        folder = tmp_path / f"after-{kills}"
        folder.mkdir()
        kill_while_it_starts(folder, flags, 1.5 * rng.random(), next(ways))
        event = rng.randint(1, 8)                    # while the run is begun
        code = train(server, folder, next_arguments(folder, flags), event, 0, [signal.SIGKILL])
        assert code == -signal.SIGKILL
        kills += 2
        while code != 0:
            arguments, signals = next_arguments(folder, flags), next(ways)
            event = rng.randint(1, furthest) if kills < KILLS else 0
            code = train(server, folder, arguments, event, rng.choice([0, 0.03 * rng.random()]), signals)
            kills += code != 0
            assert code == 0 or event and code in expected_codes(signals)
            assert_true(folder)
        assert_same(whole[algo] / "run", folder / "run")
