"""Saving so that nothing is ever half written, and loading so that nothing is ever run.

A checkpoint is one dict: model, optimizer, config, stage, iteration (the next one to run), done, seconds of training
until here, extra weights by name.
All randomness is derived from the seed and the iteration, so these are enough to go on bit for bit.
"""

import json
import os
from pathlib import Path

import torch

from minireason.config import from_dict
from minireason.model import GPT

KEYS = {"model", "optimizer", "config", "stage", "iteration", "done", "seconds", "extra"}


class CheckpointError(ValueError):
    """A file that is no checkpoint of ours; the message says what to do."""


def write_atomically(path, write):
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
    except RuntimeError as error:   # how torch reports that a write failed
        raise OSError(str(error).splitlines()[0]) from error
    finally:
        temporary.unlink(missing_ok=True)


def save_json(path, value):
    write_atomically(path, lambda file: file.write((json.dumps(value, indent=1) + "\n").encode()))


def save(path, **state):
    """Writes a checkpoint; the old one stays until the new one is whole."""
    assert set(state) == KEYS, set(state) ^ KEYS
    write_atomically(path, lambda file: torch.save(state, file))


def load(path):
    """The dict that `save` wrote, on the CPU. Raises CheckpointError; no code in the file is ever run."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"there is no checkpoint {path}: train that stage first") from None
    except (PermissionError, IsADirectoryError) as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from None
    except Exception as error:      # torch raises many kinds on bytes that are not its own
        raise CheckpointError(f"{path} is damaged or no checkpoint ({type(error).__name__}): "
                              "delete its folder and train that stage again") from None
    if not isinstance(state, dict) or set(state) != KEYS:
        raise CheckpointError(f"{path} is no checkpoint of minireason")
    return state


def pick_device(name=None):
    """cuda, mps or cpu, whichever is there; or the one asked for. Raises ValueError where it is not to be had."""
    best = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name or best)
        torch.zeros(1, device=device)
        return device
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(f"device {name!r} is not to be had here: {str(error).splitlines()[0][:100]}") from None


def load_model(path, device="cpu"):
    """The model of a checkpoint, ready to use, and the whole state. Raises CheckpointError."""
    state = load(path)
    try:
        model = GPT(from_dict(state["config"]).model)
        model.load_state_dict(state["model"])
    except (ValueError, RuntimeError, TypeError, KeyError, AttributeError) as error:
        raise CheckpointError(f"{path} was written by another version: {str(error).splitlines()[0]}") from None
    return model.to(device).eval(), state
