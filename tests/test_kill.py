"""Killed without warning, in the middle of a save too, and gone on with:
the same bits, and nothing lost but an iteration.

MINIREASON_LONG=1 python -m pytest tests/test_kill.py     kills each run 20 times instead of twice
"""

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
KILLS = 20 if os.environ.get("MINIREASON_LONG") == "1" else 2
FLAGS = ["--preset", "smoke", "--device", "cpu", "--pure-rl", "--model-width", "32",
         "--model-num-layers", "1", "--model-mlp-width", "32", "--base-num-examples", "240",
         "--base-batch-size", "8", "--rl-num-prompts", "4",
         "--rl-group-size", "4", "--rl-max-new-tokens", "24", "--rl-num-iterations", "20",
         "--rl-kl-coef", "0.01", "--evaluate-num-problems", "5", "--evaluate-num-programs", "5",
         "--evaluate-max-new-tokens", "8"]
# saves after every step
PROGRAM = "import sys, train; train.SAVE_EVERY = 0; sys.exit(train.main(sys.argv[1:]))"


def start(*arguments):
    return subprocess.Popen([sys.executable, "-c", PROGRAM, *map(str, arguments)], cwd=ROOT,
                            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                            env={**os.environ, "OMP_NUM_THREADS": "1"})


def steps_done(folder):
    return sum(path.read_bytes().count(b"\n") for path in folder.glob("*/metrics.jsonl"))


@pytest.mark.slow
@pytest.mark.parametrize("algo", ["grpo", "ppo"])
def test_a_killed_run_ends_with_the_bits_of_one_that_was_not(tmp_path, algo):
    whole, broken, rng = tmp_path / "whole", tmp_path / "broken", random.Random(0)
    process = start(*FLAGS, "--algo", algo, "--out", whole)
    assert process.wait(timeout=300) == 0, process.stderr.read()
    kills, arguments = 0, [*FLAGS, "--algo", algo, "--out", broken]
    while True:
        process, before = start(*arguments), steps_done(broken)
        if (broken / "config.json").exists():
            arguments = ["--resume", "--out", broken]
        if kills == KILLS:
            break
        # until it has come further
        while process.poll() is None and steps_done(broken) < before + 1 + 40 // KILLS:
            time.sleep(0.005)
        time.sleep(0.02 * rng.random())      # and is anywhere in a step
        process.send_signal(signal.SIGKILL)
        process.communicate()
        arguments = ["--resume", "--out", broken]
        kills += 1
    error = process.communicate(timeout=300)[1]
    assert process.returncode == 0, error
    for stage in ("base", "rl"):
        first, second = (checkpoint.load(folder / stage / "checkpoint.pt") for folder in (whole, broken))
        assert first["iteration"] == second["iteration"] > 0 and second["done"]
        assert all(torch.equal(first["model"][name], second["model"][name]) for name in first["model"])
        assert (whole / stage / "metrics.jsonl").read_text() == (broken / stage / "metrics.jsonl").read_text()
        assert not list((broken / stage).glob("*previous*"))
