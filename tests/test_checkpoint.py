"""Nothing half written, nothing run, one clear line for each bad file."""

import os
import pickle
import random
import signal

import pytest
import torch

from minireason.config import Config, ModelConfig
from minireason.model import GPT
from minireason.run import open_model
from minireason.settings import to_dict
from minireason.tokenizer import get_tokenizer
from minireason.upkeep import checkpoint


def small_config():
    config = Config()
    config.model = ModelConfig(vocab_size=get_tokenizer().vocab_size, width=16, num_layers=1, num_heads=2,
                               mlp_width=16)
    return config


def write(path, **changes):
    config = small_config()
    model = GPT(config.model).init_weights(0)
    state = dict(model=model.state_dict(), optimizer={}, config=to_dict(config), stage="base", iteration=3,
                 done=True, seconds=1.5, extra={}, vocabulary=list(get_tokenizer().words), notes={})
    checkpoint.save(path, **{**state, **changes})
    return model


def test_what_is_saved_comes_back(tmp_path):
    model = write(tmp_path / "deep" / "base" / "checkpoint.pt")
    loaded, state = open_model(tmp_path / "deep", "base")
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), loaded.parameters()))
    assert not loaded.training and (state["stage"], state["iteration"], state["done"]) == ("base", 3, True)
    assert [p.name for p in (tmp_path / "deep" / "base").iterdir()] == ["checkpoint.pt"]


class Bomb:
    def __reduce__(self):
        return (open, ("exploded", "w"))


def test_code_in_a_file_is_never_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"model": Bomb()}, "bomb.pt")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(Bomb()))
    for name in ("bomb.pt", "plain.pt"):
        with pytest.raises(checkpoint.CheckpointError, match="damaged or not a checkpoint"):
            checkpoint.load(tmp_path / name)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 not really a zip", bytes(5000)])
def test_a_damaged_file(tmp_path, content):
    (tmp_path / "checkpoint.pt").write_bytes(content)
    with pytest.raises(checkpoint.CheckpointError) as error:
        checkpoint.load(tmp_path / "checkpoint.pt")
    assert "checkpoint.pt" in str(error.value) and "\n" not in str(error.value)


def test_a_truncated_file(tmp_path):
    path = tmp_path / "checkpoint.pt"
    write(path)
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(checkpoint.CheckpointError, match="damaged"):
        checkpoint.load(path)


def test_a_flipped_bit_is_found_or_changes_nothing(tmp_path):
    path, rng, found = tmp_path / "checkpoint.pt", random.Random(0), 0
    write(path)
    good, content = checkpoint.load(path), path.read_bytes()
    for _ in range(100):
        flipped = bytearray(content)
        flipped[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        path.write_bytes(flipped)
        try:
            state = checkpoint.load(path)
        except checkpoint.CheckpointError as error:
            assert "damaged" in str(error)
            found += 1
        else:
            assert state["config"] == good["config"] and set(state["model"]) == set(good["model"])
            assert all(torch.equal(state["model"][name], good["model"][name]) for name in good["model"])
    assert found > 80


@pytest.mark.parametrize("links", [True, False])
def test_the_checkpoint_before_stays_until_the_stage_is_done(tmp_path, monkeypatch, links):
    if not links:       # as on a file system without hard links
        monkeypatch.setattr("os.link",
                            lambda *_: (_ for _ in ()).throw(OSError(1, "Operation not permitted")))
    path, before = tmp_path / "checkpoint.pt", tmp_path / "checkpoint.previous.pt"
    write(path, done=False, iteration=3)
    assert not before.exists()
    for iteration in (4, 5):
        write(path, done=False, iteration=iteration)
        assert checkpoint.load(path)["iteration"] == iteration
        assert checkpoint.load(before)["iteration"] == iteration - 1
    path.write_bytes(b"half")
    with pytest.raises(checkpoint.CheckpointError, match="move checkpoint.previous.pt to checkpoint.pt"):
        checkpoint.load(path)
    before.replace(path)
    write(path, done=True, iteration=5)
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_missing_foreign_and_other_versions(tmp_path):
    with pytest.raises(checkpoint.CheckpointError, match="train that stage first"):
        checkpoint.load(tmp_path / "none.pt")
    torch.save({"weights": torch.zeros(3)}, tmp_path / "foreign.pt")
    with pytest.raises(checkpoint.CheckpointError, match="not a checkpoint of minireason"):
        checkpoint.load(tmp_path / "foreign.pt")
    config = to_dict(small_config())
    config["model"]["width"] = 32
    write(tmp_path / "shapes" / "base" / "checkpoint.pt", config=config)
    config["model"] = to_dict(small_config())["model"] | {"momentum": 1}
    write(tmp_path / "fields" / "base" / "checkpoint.pt", config=config)
    for name in ("shapes", "fields"):
        with pytest.raises(checkpoint.CheckpointError, match="does not fit"):
            open_model(tmp_path / name, "base")


@pytest.mark.parametrize("fails",
                         [OSError(28, "No space left on device"), RuntimeError("PytorchStreamWriter failed")])
def test_when_the_disk_is_full_the_old_file_stays(tmp_path, monkeypatch, fails):
    path = tmp_path / "checkpoint.pt"
    write(path)
    before = path.read_bytes()

    def save(state, file):
        file.write(b"half")
        raise fails
    monkeypatch.setattr(torch, "save", save)
    with pytest.raises(OSError):
        write(path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_a_signal_waits_until_the_file_is_whole(tmp_path, monkeypatch):
    """Within torch.save it would be reported as a full disk."""
    plain, path = torch.save, tmp_path / "checkpoint.pt"

    def save(state, file):
        class Interrupted:
            def write(self, content):
                signal.raise_signal(signal.SIGINT)
                return file.write(content)

            def flush(self):
                file.flush()
        plain(state, Interrupted())
    monkeypatch.setattr(torch, "save", save)
    with pytest.raises(KeyboardInterrupt):
        write(path)
    assert checkpoint.load(path)["iteration"] == 3 and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("seconds, is_moved", [(1, True), (10, False)])
def test_a_file_that_another_program_holds_is_waited_for(tmp_path, monkeypatch, seconds, is_moved):
    """As a virus scanner on Windows does. The clock is the test's own."""
    now, plain = 0.0, os.replace

    def sleep(duration):
        nonlocal now
        now += duration

    def replace(source, target):
        if now < seconds:
            raise PermissionError(13, "Permission denied")
        plain(source, target)
    monkeypatch.setattr("time.monotonic", lambda: now)
    monkeypatch.setattr("time.sleep", sleep)
    monkeypatch.setattr("os.replace", replace)
    if is_moved:
        checkpoint.save_json(tmp_path / "results.json", {})
    else:
        with pytest.raises(PermissionError):
            checkpoint.save_json(tmp_path / "results.json", {})
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"] * is_moved
