"""Saving so that nothing is ever half written, and loading so that nothing is ever run.

A checkpoint is one dict: model, optimizer, config, stage, iteration (the next one to run), done, seconds of training
until here, extra weights by name.
All randomness is derived from the seed and the iteration, so these are enough to go on bit for bit.
"""

import json
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import torch

from minireason.upkeep.command import Fault
from minireason.config import from_dict
from minireason.model import GPT

KEYS = {"model", "optimizer", "config", "stage", "iteration", "done", "seconds", "extra"}


class CheckpointError(Fault):
    """A file that is no checkpoint of ours; the message says what to do."""


def write_atomically(path: Path | str, write: Callable[[BinaryIO], Any]) -> None:
    """Calls write(file) on a temporary file beside `path`, then moves it there in one step. Raises OSError."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    try:
        with open(temporary, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except RuntimeError as error:   # how torch reports that a write failed, in words of its own
        raise OSError(f"{path} could not be written: is the disk full? ({str(error).splitlines()[0]})") from error
    finally:
        temporary.unlink(missing_ok=True)


def save_json(path: Path | str, value: Any) -> None:
    write_atomically(path, lambda file: file.write((json.dumps(value, indent=1) + "\n").encode()))


def previous(path: Path | str) -> Path:
    """Where the checkpoint before the newest one is kept while a stage is being trained."""
    return Path(path).with_suffix(".previous.pt")


def save(path: Path | str, **state) -> None:
    """Writes a checkpoint; the old one stays until the new one is whole, and beside it until the stage is done."""
    assert set(state) == KEYS, set(state) ^ KEYS

    def write(file):
        torch.save(state, file)
        previous(path).unlink(missing_ok=True)
        if Path(path).exists() and not state["done"]:
            try:
                os.link(path, previous(path))            # a second name, so that there is no moment without `path`
            except OSError:                              # a file system without hard links
                shutil.copyfile(path, previous(path))
    write_atomically(path, write)


def read(path: Path | str) -> Any:
    """What torch.save wrote, on the CPU, checked against the sums in the file: torch.load alone takes a flipped bit for a
    weight. No code in the file is ever run. Raises whatever zipfile and torch raise."""
    with zipfile.ZipFile(path) as archive:
        if damaged := archive.testzip():
            raise zipfile.BadZipFile(damaged)
    return torch.load(path, map_location="cpu", weights_only=True)


def load(path: Path | str) -> dict:
    """The dict that `save` wrote. Raises CheckpointError."""
    try:
        state = read(path)
    except FileNotFoundError:
        raise CheckpointError(f"there is no checkpoint {path}: train that stage first") from None
    except (PermissionError, IsADirectoryError) as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from None
    except Exception as error:      # torch raises many kinds on bytes that are not its own
        advice = (f"move {previous(path).name} to {Path(path).name} and go on with --resume" if previous(path).exists()
                  else "delete its folder and train that stage again")
        raise CheckpointError(f"{path} is damaged or no checkpoint ({type(error).__name__}): {advice}") from None
    if not isinstance(state, dict) or set(state) != KEYS:
        raise CheckpointError(f"{path} is no checkpoint of minireason")
    return state


def pick_device(name: str | None = None) -> torch.device:
    """cuda, mps or cpu, whichever is there; or the one asked for. Raises ValueError where it is not to be had."""
    best = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name or best)
        torch.zeros(1, device=device)
        return device
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(f"device {name!r} is not to be had here: {str(error).splitlines()[0][:100]}") from None


def load_model(path: Path | str, device: torch.device | str = "cpu") -> tuple[GPT, dict]:
    """The model of a checkpoint, ready to use, and the whole state. Raises CheckpointError."""
    state = load(path)
    try:
        model = GPT(from_dict(state["config"]).model)
        model.load_state_dict(state["model"])
    except (ValueError, RuntimeError, TypeError, KeyError, AttributeError) as error:
        raise CheckpointError(f"{path} was written by another version: {str(error).splitlines()[0]}") from None
    return model.to(device).eval(), state
