"""--log: a copy of metrics.jsonl in another program, which here is a stub that records what it is sent."""

import json
import random
import signal
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from test_train import TINY, assert_equal_weights, weights

import train
from minireason.upkeep import logs, metrics
from minireason.upkeep.command import BadInput

pytestmark = pytest.mark.usefixtures("no_figures")


def draw_everywhere():
    """Uses the random numbers of all that a careless program might share with us."""
    torch.rand(3)
    np.random.rand(3)
    random.random()


@pytest.fixture
def tensorboard(monkeypatch):
    """A stand-in for TensorBoard that draws random numbers. Returns the events of each writer.

    An event is (name, value, step).
    """
    writers = []

    class SummaryWriter:
        def __init__(self, folder, purge_step, flush_secs):
            assert purge_step == 0 and folder.endswith(("base", "rl"))
            draw_everywhere()
            self.events = []
            writers.append(self.events)

        def add_scalar(self, *event):
            draw_everywhere()
            self.events.append(event)

        def close(self):
            self.events.append("closed")

    module = ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = SummaryWriter
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return writers


@pytest.fixture
def wandb(monkeypatch):
    """A stand-in for wandb. Returns what `init` was told, with the steps that were sent to each run."""
    runs = []

    def init(**told):
        run = SimpleNamespace(told=told, step=0, sent={}, finished=False)
        run.log = lambda values, step: run.sent.update({step: values})
        run.finish = lambda: setattr(run, "finished", True)
        runs.append(run)
        return run

    module = ModuleType("wandb")
    module.init = init
    monkeypatch.setitem(sys.modules, "wandb", module)
    return runs


def events_of(path):
    """What a log has to hold of a metrics.jsonl."""
    events = []
    for values in metrics.read(path):
        events += [(name, values[name], values["iteration"]) for name in values if name != "iteration"]
    return events


def write_metrics(folder, steps):
    folder.mkdir(parents=True, exist_ok=True)
    for step in steps:
        metrics.append(folder / "metrics.jsonl", {"iteration": step, "loss": 1 / (step + 1), "reward": 0.5})


@pytest.mark.slow
def test_a_log_has_the_names_and_steps_of_metrics_and_changes_no_bit(tmp_path, monkeypatch, tensorboard):
    """Interrupted once: the log of the second process holds every step again."""
    flags, plain_clip = ["base", *TINY], torch.nn.utils.clip_grad_norm_
    assert train.main([*flags, "--out", str(tmp_path / "plain")]) == 0
    calls = []

    def interrupt_once(*arguments):
        calls.append(1)
        if len(calls) == 20:
            signal.raise_signal(signal.SIGINT)
        return plain_clip(*arguments)

    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", interrupt_once)
    logged = tmp_path / "logged"
    assert train.main([*flags, "--log", "tensorboard", "--out", str(logged)]) == 130
    assert train.main(["base", "--log", "tensorboard", "--resume", "--out", str(logged)]) == 0
    assert_equal_weights(weights(logged, "base"), weights(tmp_path / "plain", "base"))
    lines = (logged / "base" / "metrics.jsonl").read_text()
    assert lines == (tmp_path / "plain" / "base" / "metrics.jsonl").read_text()
    whole = [*events_of(logged / "base" / "metrics.jsonl"), "closed"]
    first, second = tensorboard
    assert second == whole and len(whole) > 200
    assert first == [*whole[:20 * len(json.loads(lines.splitlines()[0])) - 20], "closed"]


@pytest.mark.slow
def test_a_log_that_fails_is_shown_and_training_goes_on(tmp_path, monkeypatch, tensorboard, capsys):
    class Broken(sys.modules["torch.utils.tensorboard"].SummaryWriter):
        def add_scalar(self, name, value, step):
            if step == 7:
                raise RuntimeError("the server said no")
            super().add_scalar(name, value, step)

    monkeypatch.setattr(sys.modules["torch.utils.tensorboard"], "SummaryWriter", Broken)
    folder = tmp_path / "run"
    assert train.main(["base", *TINY, "--log", "tensorboard", "--out", str(folder)]) == 0
    error = capsys.readouterr().err
    assert error.count("RuntimeError: the server said no") == 1 and "off for the rest" in error
    assert [line["iteration"] for line in metrics.read(folder / "base" / "metrics.jsonl")] == list(range(60))
    assert {event[2] for event in tensorboard[0][:-1]} == set(range(7)) and tensorboard[0][-1] == "closed"


@pytest.mark.parametrize("name, module", [("tensorboard", "torch.utils.tensorboard"), ("wandb", "wandb")])
def test_a_program_that_is_missing_is_one_line_and_nothing_is_written(
        tmp_path, monkeypatch, capsys, name, module):
    monkeypatch.setitem(sys.modules, module, None)
    assert train.main(["base", *TINY, "--log", name, "--out", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert f"pip install {name}" in error and error.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_folder_that_has_the_name_of_the_program_is_not_taken_for_it(tmp_path, monkeypatch):
    """wandb itself makes a folder `wandb` wherever it runs, and Python imports a folder."""
    (tmp_path / "wandb").mkdir()
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    with pytest.raises(BadInput, match="pip install wandb"):
        logs.check_installed("wandb")
    sys.modules.pop("wandb")


def test_without_a_log_nothing_is_imported(tmp_path, tensorboard, wandb):
    with logs.Log(None, tmp_path / "base" / "metrics.jsonl", {}) as log:
        log.write({"iteration": 0, "loss": 1.0})
    assert not tensorboard and not wandb


def test_wandb_gets_a_run_for_each_stage_and_goes_on_with_it(tmp_path, monkeypatch, wandb):
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    folder = tmp_path / "laptop" / "rl"
    write_metrics(folder, range(3))
    with logs.Log("wandb", folder / "metrics.jsonl", {"seed": 5}) as log:
        log.write({"iteration": 3, "loss": 0.25})
    [run] = wandb
    assert run.told["project"] == "minireason" and run.told["name"] == "laptop/rl"
    assert run.told["id"] is None and run.told["config"] == {"seed": 5} and run.finished
    assert run.sent == {0: {"loss": 1.0, "reward": 0.5}, 1: {"loss": 0.5, "reward": 0.5},
                        2: {"loss": 1 / 3, "reward": 0.5}, 3: {"loss": 0.25}}
    (folder / "wandb" / "offline-run-20250131_120000-ab12cd34").mkdir(parents=True)
    (folder / "wandb" / "latest-run").symlink_to("offline-run-20250131_120000-ab12cd34")
    with logs.Log("wandb", folder / "metrics.jsonl", {}):
        pass
    assert wandb[1].told["id"] == "ab12cd34" and wandb[1].told["resume"] == "allow"


def test_wandb_is_not_sent_a_step_that_it_has(tmp_path, wandb, monkeypatch):
    """The steps of its own run only grow: a smaller one would be refused with a warning."""
    write_metrics(tmp_path / "rl", range(5))
    plain_init = sys.modules["wandb"].init

    def init_with_three_steps(**told):
        run = plain_init(**told)
        run.step = 3
        return run

    monkeypatch.setattr(sys.modules["wandb"], "init", init_with_three_steps)
    with logs.Log("wandb", tmp_path / "rl" / "metrics.jsonl", {}):
        pass
    assert list(wandb[0].sent) == [3, 4]


def test_a_log_that_cannot_be_opened_stops_nothing(tmp_path, monkeypatch, wandb, capsys):
    def init(**told):
        raise RuntimeError("api_key not configured")

    monkeypatch.setattr(sys.modules["wandb"], "init", init)
    write_metrics(tmp_path / "rl", range(2))
    with logs.Log("wandb", tmp_path / "rl" / "metrics.jsonl", {}) as log:
        log.write({"iteration": 2, "loss": 1.0})
    assert capsys.readouterr().err.count("api_key not configured") >= 1
