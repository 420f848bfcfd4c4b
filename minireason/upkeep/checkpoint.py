"""Saving so that nothing is ever half written, and loading so that nothing is ever run.

A checkpoint is one dict:
    model, optimizer    their state
    extra               weights of further networks by name: a critic, a reward model
    config, vocabulary  all settings, and the words that are tokens
    stage, iteration    which stage, and the next iteration to run
    done, seconds       whether the stage is finished, and seconds of training until here
    notes               what the report says of the stage
All randomness is derived from the seed and the iteration, so these are enough to go on bit for bit.
"""

import json
import os
import shutil
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import torch

from minireason.upkeep.command import Fault, is_out_of_memory, signals_wait

PATIENCE = 2     # seconds for which a file that another program holds is waited for
KEYS = {        # and what stands behind each
    "model": dict, "optimizer": dict, "extra": dict, "config": dict, "vocabulary": list | None, "stage": str,
    "iteration": int, "done": bool, "seconds": float | int, "notes": dict}


class CheckpointError(Fault):
    """A file that is not a checkpoint of ours, or does not fit; the message says what to do."""


def write_atomically(path: Path | str, write: Callable[[BinaryIO], Any]) -> None:
    """Calls write(file) on a temporary file, then moves that to `path` in one step. Raises OSError.

    Ctrl-C and its like wait until that is done.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    with signals_wait():
        try:
            with open(temporary, "wb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            replace(temporary, path)
        except RuntimeError as error:   # torch reports a failed write so
            if is_out_of_memory(error):
                raise
            reason = str(error).splitlines()[0]
            raise OSError(f"{path} could not be written: is the disk full? ({reason})") from error
        finally:
            temporary.unlink(missing_ok=True)


def replace(temporary: Path, path: Path) -> None:
    """Moves a file to `path`. On Windows a virus scanner or a reader may hold `path` for a moment."""
    give_up = time.monotonic() + PATIENCE
    while True:
        try:
            os.replace(temporary, path)
            return
        except PermissionError:
            if time.monotonic() > give_up:
                raise
        time.sleep(0.05)


def save_json(path: Path | str, value: Any) -> None:
    write_atomically(path, lambda file: file.write(json_bytes(value)))


def json_bytes(value: Any) -> bytes:
    """A value as the text of a JSON file."""
    return (json.dumps(value, indent=1) + "\n").encode()


def previous(path: Path | str) -> Path:
    """Where the checkpoint before the newest one is kept while a stage is being trained."""
    return Path(path).with_suffix(".previous.pt")


def save(path: Path | str, **state) -> None:
    """Writes a checkpoint. Keeps the one before it, as `previous(path)`, until the stage is done.

    Raises TypeError if a part is missing or unknown.
    """
    if set(state) != set(KEYS):
        raise TypeError(f"not the parts of a checkpoint: {', '.join(sorted(set(state) ^ set(KEYS)))}")

    def write(file):
        torch.save(state, file)
        previous(path).unlink(missing_ok=True)
        if Path(path).exists() and not state["done"]:
            try:
                os.link(path, previous(path))   # a second name, so that `path` is there at every moment
            except OSError:                     # a file system without hard links
                shutil.copyfile(path, previous(path))
    write_atomically(path, write)


def read(path: Path | str) -> Any:
    """What torch.save wrote, on the CPU. Raises whatever zipfile and torch raise.

    The checksums in the file are checked first, because torch.load alone would accept a flipped bit. No
    code in the file is ever run.
    """
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
        if is_out_of_memory(error):
            raise       # the file may be whole
        kind = type(error).__name__
        advice = "delete its folder and train that stage again"
        if previous(path).exists():
            advice = f"move {previous(path).name} to {Path(path).name} and go on with --resume"
        raise CheckpointError(f"{path} is damaged or not a checkpoint ({kind}): {advice}") from None
    if isinstance(state, dict):
        state = {"vocabulary": None, "notes": {}} | state       # older checkpoints lack these two
    if not isinstance(state, dict) or set(state) != set(KEYS):
        raise CheckpointError(f"{path} is not a checkpoint of minireason")
    for key, kind in KEYS.items():
        if not isinstance(state[key], kind):
            raise CheckpointError(f"{path} is damaged: its {key} is {type(state[key]).__name__}")
    return state
