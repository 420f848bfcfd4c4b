"""Snapshots of RL: which there are, that they are the weights of that moment, and what happens to them."""

import shutil
import signal

import pytest
import torch
from test_train import TINY, run, small_world

import train
from minireason.begin import copy_stages
from minireason.config import Config
from minireason.run import config_of_run, new_results, open_model
from minireason.snapshots import (
    iterations_to_keep,
    open_snapshot,
    rl_models,
    snapshot_path,
    snapshots_in,
)
from minireason.upkeep import checkpoint
from minireason.upkeep.checkpoint import CheckpointError

pytestmark = pytest.mark.usefixtures("no_figures")
PURE = [*TINY, "--pure-rl", "--rl-num-iterations", "5", "--rl-snapshots", "4"]


# -----------------------------------------------------------------------------
# Which iterations

@pytest.mark.parametrize("number, num_iterations, expected", [
    (6, 300, [42, 85, 128, 171, 214, 257]), (1, 300, [150]), (0, 300, []), (3, 4, [1, 2, 3]),
    (6, 3, [1, 2]), (100, 1, []),
])
def test_the_iterations_by_hand(number, num_iterations, expected):
    config = Config(rl_snapshots=number)
    config.rl.num_iterations = num_iterations
    assert iterations_to_keep(config) == expected


@pytest.mark.parametrize("number", range(1, 30))
def test_they_are_evenly_spaced_and_leave_out_both_ends(number):
    config = Config(rl_snapshots=number)
    for num_iterations in (number + 1, 97, 300):
        config.rl.num_iterations = num_iterations
        iterations = [0, *iterations_to_keep(config), num_iterations]
        assert len(iterations) == number + 2
        gaps = {after - before for before, after in zip(iterations, iterations[1:])}
        assert max(gaps) - min(gaps) <= 1 and min(gaps) >= 1


# -----------------------------------------------------------------------------
# A run that writes them

@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A base and five iterations of RL, with four snapshots: after 1, 2, 3 and 4."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    with pytest.MonkeyPatch.context() as monkeypatch:
        small_world(monkeypatch)
        assert run(*PURE, "--out", folder) == 0
    return folder


@pytest.fixture
def stopped(whole, tmp_path, monkeypatch):
    """The same with Ctrl-C in the third iteration of RL: the checkpoint is that after three."""
    small_world(monkeypatch)
    plain = train.metrics.append

    def append(path, values):
        plain(path, values)
        if path.parent.name == "rl" and values["iteration"] == 2:
            signal.raise_signal(signal.SIGINT)
    with monkeypatch.context() as while_it_runs:
        while_it_runs.setattr(train.metrics, "append", append)
        assert run("rl", *PURE, "--from", whole, "--out", tmp_path / "stopped") == 130
    return tmp_path / "stopped"


def same(weights, others):
    return weights.keys() == others.keys() and all(torch.equal(weights[key], others[key]) for key in weights)


def weights_of(folder, iteration):
    return checkpoint.load(snapshot_path(folder / "rl", iteration))["model"]


@pytest.mark.slow
def test_a_snapshot_is_half_of_the_weights_of_its_iteration(stopped):
    state = checkpoint.load(stopped / "rl" / "checkpoint.pt")
    assert state["iteration"] == 3 and snapshots_in(stopped / "rl") == [1, 2, 3]
    assert same(weights_of(stopped, 3), {name: weight.half() for name, weight in state["model"].items()})
    assert not same(weights_of(stopped, 3), weights_of(stopped, 2))
    snapshot = checkpoint.load(snapshot_path(stopped / "rl", 3))
    assert snapshot["optimizer"] == snapshot["extra"] == {} and snapshot["iteration"] == 3


@pytest.mark.slow
def test_a_resumed_run_completes_the_same_set(whole, stopped):
    """A snapshot of the time after the checkpoint is of a training that was lost: it is written anew."""
    shutil.copy(snapshot_path(stopped / "rl", 1), snapshot_path(stopped / "rl", 4))
    kept = snapshot_path(stopped / "rl", 2).stat().st_mtime_ns
    assert run("rl", "--resume", "--out", stopped) == 0
    assert snapshots_in(stopped / "rl") == snapshots_in(whole / "rl") == [1, 2, 3, 4]
    assert snapshot_path(stopped / "rl", 2).stat().st_mtime_ns == kept
    for iteration in (1, 2, 3, 4):
        assert same(weights_of(whole, iteration), weights_of(stopped, iteration))


@pytest.mark.slow
def test_a_stage_that_is_trained_again_drops_those_of_before(stopped):
    for name in ("checkpoint.pt", "metrics.jsonl"):
        (stopped / "rl" / name).unlink()
    shutil.copy(snapshot_path(stopped / "rl", 1), snapshot_path(stopped / "rl", 77))
    assert run("rl", "--resume", "--out", stopped) == 0
    assert snapshots_in(stopped / "rl") == [1, 2, 3, 4]


@pytest.mark.slow
def test_all_models_of_rl_come_in_order_with_both_ends(whole, stopped):
    models = list(rl_models(whole))
    assert [iteration for iteration, _ in models] == [0, 1, 2, 3, 4, 5]
    assert same(models[0][1].state_dict(), open_model(whole, "base")[0].state_dict())
    assert same(models[-1][1].state_dict(), open_model(whole, "rl")[0].state_dict())
    assert same(checkpoint.halved(models[2][1].state_dict()), weights_of(whole, 2))
    shutil.copy(snapshot_path(whole / "rl", 4), snapshot_path(stopped / "rl", 4))
    assert [iteration for iteration, _ in rl_models(stopped)] == [0, 1, 2, 3]
    shutil.rmtree(stopped / "rl" / "snapshots")
    shutil.rmtree(stopped / "base")
    assert [iteration for iteration, _ in rl_models(stopped)] == [3]


@pytest.mark.slow
def test_none_are_written_where_none_are_wanted_and_the_training_is_the_same(whole, tmp_path, monkeypatch):
    small_world(monkeypatch)
    assert run("rl", *PURE, "--rl-snapshots", "0", "--from", whole, "--out", tmp_path / "run") == 0
    assert not (tmp_path / "run" / "rl" / "snapshots").exists()
    assert same(*(checkpoint.load(folder / "rl" / "checkpoint.pt")["model"]
                  for folder in (whole, tmp_path / "run")))


@pytest.mark.slow
def test_a_copied_stage_leaves_its_snapshots_behind(whole, tmp_path):
    results = new_results(config_of_run(whole), "python train.py")
    copy_stages(whole, tmp_path, ("rl",), results)
    assert (tmp_path / "rl" / "checkpoint.pt").exists() and snapshots_in(tmp_path / "rl") == []


# -----------------------------------------------------------------------------
# Files that are damaged, or of something else

DAMAGES = {
    "empty": (lambda path, state: path.write_bytes(b""), "damaged"),
    "cut": (lambda path, state: path.write_bytes(path.read_bytes()[:-20]), "damaged"),
    "missing": (lambda path, state: path.unlink(), "no checkpoint"),
    "of another moment": (lambda path, state: torch.save(state | {"iteration": 3}, path), "iteration 3"),
    "of another stage": (lambda path, state: torch.save(state | {"stage": "base"}, path), "stage base"),
    "of another run": (lambda path, state: torch.save(
        state | {"config": state["config"] | {"seed": 9}}, path), "other settings"),
    "not a number": (lambda path, state: torch.save(
        state | {"model": {name: weight * torch.nan for name, weight in state["model"].items()}}, path),
        "undefined"),
    "another size": (lambda path, state: torch.save(
        state | {"model": {name: weight[:1].clone() for name, weight in state["model"].items()}}, path),
        "does not fit"),
}


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_snapshot_is_one_line(whole, tmp_path, damage):
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    change, says = DAMAGES[damage]
    assert open_snapshot(folder, 2)[1]["iteration"] == 2
    change(snapshot_path(folder / "rl", 2), checkpoint.load(snapshot_path(folder / "rl", 2)))
    with pytest.raises(CheckpointError, match=says) as error:
        open_snapshot(folder, 2)
    assert "\n" not in str(error.value)


def test_other_files_are_no_snapshots(tmp_path):
    for name in ("007.pt", "7.pt", "x.pt", "012.pt.tmp", "-12.pt", "１２３.pt", "1200.pt", "0120.pt"):
        snapshot_path(tmp_path, 1).with_name(name).parent.mkdir(exist_ok=True)
        snapshot_path(tmp_path, 1).with_name(name).write_bytes(b"")
    assert snapshots_in(tmp_path) == [7, 1200]
