"""Beside other programs the threads sleep where they would spin; the results are the same bits."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from minireason.upkeep import neighbours

ROOT = Path(__file__).parent.parent
ON_LINUX = pytest.mark.skipif(neighbours.waited() is None, reason="the system tells no waiting times")

# Prints how often threads beside neighbours went to sleep during 300 operations that are split among two.
SLEEPS = """
import resource, time, torch
from minireason.upkeep import neighbours
torch.set_num_threads(2)
neighbours.IdleTeam()
time.sleep(1)
numbers = torch.ones(2**17)
numbers.exp()
before = resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw
for _ in range(300):
    numbers.exp()
print(resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw - before)
"""

# Prints a hash of what training and sampling with two threads make, alone and then beside neighbours.
BITS = """
import hashlib, sys, torch
sys.path.insert(0, "tests")
from helpers import tiny_model
from minireason import sft
from minireason.config import SFTConfig
from minireason.sampling import generate
from minireason.upkeep import neighbours
torch.set_num_threads(2)
examples = [([1, 2], [3, 4] * n) for n in range(1, 40)]
for place in ("alone", "beside neighbours"):
    if place == "beside neighbours":
        neighbours.IdleTeam()
    model = tiny_model()
    for _ in sft.train(model, torch.optim.SGD(model.parameters()), examples, SFTConfig(batch_size=8), seed=0):
        pass
    generation = generate(model, [[1, 2, 3]] * 40, 30, seed=0)
    weights = b"".join(parameter.detach().numpy().tobytes() for parameter in model.parameters())
    print(hashlib.sha256(weights + generation.logprobs.numpy().tobytes()).hexdigest())
"""


def printed(program):
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "2"}, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


@ON_LINUX
@pytest.mark.slow
@pytest.mark.skipif(os.cpu_count() < 2, reason="one core: nothing is split")
def test_threads_beside_neighbours_sleep_and_do_not_spin():
    assert int(printed(SLEEPS)) > 150      # an operation in two, at least


@ON_LINUX
@pytest.mark.slow
def test_how_threads_wait_changes_no_bit():
    alone, beside_neighbours = printed(BITS).split()
    assert alone == beside_neighbours


@ON_LINUX
def test_the_watcher_looks_at_time_without_a_core():
    assert 0 <= neighbours.waited() <= neighbours.waited()


def watched(monkeypatch, shares):
    """What the watcher does when our threads wait for these shares of the time: [(look, event), ...]."""
    events, look = [], 0
    total, clock = 0.0, 0.0

    class Team:
        def __init__(self):
            events.append((look, "sleep"))

        def leave(self):
            events.append((look, "spin"))

    class End(Exception):
        pass

    def sleep(seconds):
        nonlocal look, total, clock
        if look == len(shares):
            raise End
        share = shares[look]
        look += 1
        clock += seconds
        total = None if share is None else (total or 0.0) + share * seconds

    monkeypatch.setattr(neighbours, "IdleTeam", Team)
    monkeypatch.setattr(neighbours.torch, "get_num_threads", lambda: 2)
    monkeypatch.setattr(neighbours, "waited", lambda: total)
    monkeypatch.setattr(neighbours.time, "monotonic", lambda: clock)
    monkeypatch.setattr(neighbours.time, "sleep", sleep)
    with pytest.raises(End):
        neighbours.keep_watch()
    return events


def test_neighbours_that_come_are_noticed_at_once_and_that_go_after_five_seconds(monkeypatch):
    assert watched(monkeypatch, [0, 0.1, 0.9, 0.8] + [0] * 12) == [(3, "sleep"), (14, "spin")]
    assert watched(monkeypatch, [0.2, 0.04] * 20) == []                     # little is not enough
    assert watched(monkeypatch, [0.9] + [0, 0.1] * 20) == [(1, "sleep")]    # one calm look is not enough


def test_a_look_that_fails_decides_nothing(monkeypatch):
    assert watched(monkeypatch, [None, None, 0, 0.1]) == []


def test_a_process_of_one_thread_needs_no_watcher(monkeypatch):
    monkeypatch.setattr(neighbours, "watcher", None)
    monkeypatch.setattr(neighbours.torch, "get_num_threads", lambda: 1)
    neighbours.watch()
    assert neighbours.watcher is None
