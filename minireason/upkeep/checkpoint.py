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
from minireason.upkeep.files import check_shape, short, why_unreadable

PATIENCE = 2     # seconds for which a file that another program holds is waited for


class CheckpointError(Fault):
    """A file that is not a checkpoint of ours, or does not fit; the message says what to do."""


# -----------------------------------------------------------------------------
# The shape of a checkpoint, as files.py describes shapes

def plain_tensor(value: Any, name: str) -> None:
    """Raises ValueError if a value is not a plain tensor of finite numbers."""
    check_shape(value, torch.Tensor, name)
    # A tensor that is not contiguous may repeat a few bytes without end.
    is_plain = value.layout == torch.strided and value.device.type == "cpu" and value.is_contiguous()
    if not is_plain or value.dtype not in (torch.float32, torch.float16):
        raise ValueError(f"{name} has {value.dtype}, and not plain numbers")
    if not value.isfinite().all():
        raise ValueError(f"{name} holds numbers that are infinite or undefined")


def one_number(value: Any, name: str) -> None:
    """Raises ValueError if a value is not a plain tensor of one finite number."""
    plain_tensor(value, name)
    if value.numel() != 1:
        raise ValueError(f"{name} is not one number")


def count(value: Any, name: str) -> None:
    """Raises ValueError if a value is not a whole number, 0 or more."""
    check_shape(value, int, name)
    if value < 0:
        raise ValueError(f"{name} is negative")


SCALAR = (bool, int, float, str)
SETTINGS = {str: (*SCALAR, {str: SCALAR})}
NOTES = {str: (str, {str: int})}
MOMENTS = {"step": one_number, "exp_avg": plain_tensor, "exp_avg_sq": plain_tensor}
OPTIMIZER = {"state": {int: MOMENTS}, "param_groups": [{"params": [int]}]}
KEYS = {        # of a checkpoint, and the shape of what stands behind each
    "model": {str: plain_tensor}, "optimizer": dict, "extra": {str: {str: plain_tensor}},
    "config": SETTINGS | {"model": {str: SCALAR}}, "vocabulary": [str], "stage": str,
    "iteration": count, "done": bool, "seconds": float, "notes": NOTES}


def check_state(state: dict) -> None:
    """Raises ValueError if a state lacks the shape of a checkpoint, or its parts contradict one another."""
    check_shape(state, KEYS)
    if not state["optimizer"]:
        return
    if state["done"]:
        raise ValueError("it is finished, and still has an optimizer")
    check_shape(state["optimizer"], OPTIMIZER, "optimizer")
    # Parameter i of the optimizer is weight i of the model or, after these, of the critic.
    weights = list(state["model"].values())
    for network in state["extra"].values():
        weights += network.values()
    for number, moments in state["optimizer"]["state"].items():
        for name in ("exp_avg", "exp_avg_sq"):
            if not 0 <= number < len(weights) or moments[name].shape != weights[number].shape:
                raise ValueError("it has the optimizer of another model")


# -----------------------------------------------------------------------------
# Saving


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
    """Moves a file to `path`. If that is refused, tries again for PATIENCE seconds.

    On Windows a virus scanner or a reader may hold `path` for a moment.
    """
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
        # Only after torch.save: if it fails, both older files stay.
        previous(path).unlink(missing_ok=True)
        if Path(path).exists() and not state["done"]:
            try:
                os.link(path, previous(path))   # a second name, so that `path` is there at every moment
            except OSError:                     # a file system without hard links
                shutil.copyfile(path, previous(path))
    write_atomically(path, write)


# -----------------------------------------------------------------------------
# Loading

def read(path: Path | str) -> Any:
    """What torch.save wrote, on the CPU. Raises whatever zipfile and torch raise.

    The checksums in the file are checked first, because torch.load alone would accept a flipped bit. No
    code in the file is ever run.
    """
    with zipfile.ZipFile(path) as archive:
        num_bytes = sum(member.file_size for member in archive.infolist())
        if num_bytes > os.path.getsize(path):       # ours are not compressed
            raise zipfile.BadZipFile("it would grow")
        if damaged := archive.testzip():
            raise zipfile.BadZipFile(damaged)
    return torch.load(path, map_location="cpu", weights_only=True)


def halved(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weights in half precision: to look at a model, and not to train it further."""
    return {name: tensor.half() for name, tensor in weights.items()}


def load(path: Path | str, advice: str = "delete its folder and train that stage again") -> dict:
    """The dict that `save` wrote. Raises CheckpointError, with the advice."""
    path = Path(path)
    if previous(path).exists():
        advice = f"move {previous(path).name} to {path.name} and go on with --resume"
    if not os.path.lexists(path):
        raise CheckpointError(f"there is no checkpoint {path}: train that stage first")
    if reason := why_unreadable(path):
        raise CheckpointError(f"{path} {reason}: {advice}")
    try:
        state = read(path)
    except Exception as error:      # torch raises many kinds on bytes that are not its own
        if is_out_of_memory(error):
            raise       # the file may be whole
        if isinstance(error, OSError):
            raise CheckpointError(f"{path} cannot be read ({error.strerror}): {advice}") from None
        kind = type(error).__name__
        raise CheckpointError(f"{path} is damaged or not a checkpoint ({kind}): {advice}") from None
    if not isinstance(state, dict) or set(state) != set(KEYS):
        raise CheckpointError(f"{path} is not a checkpoint of minireason: {advice}")
    try:
        check_state(state)
    except ValueError as error:
        raise CheckpointError(f"{path} is damaged ({error}): {advice}") from None
    return state


def load_weights(module: torch.nn.Module, weights: dict[str, torch.Tensor]) -> None:
    """Puts weights into a network. Raises ValueError if their names, shapes or types are not the network's.

    `load_state_dict` alone would convert another type without a word.
    """
    check_weights(weights, module.state_dict())
    module.load_state_dict(weights)


def check_weights(weights: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    """Raises ValueError if weights are not of the names, shapes and types that are expected."""
    if differing := sorted(set(weights) ^ set(expected)):
        raise ValueError(f"it has other weights ({short(differing[0])})")
    for name, tensor in expected.items():
        if weights[name].shape != tensor.shape:
            raise ValueError(f"{name} has shape {list(weights[name].shape)}, not {list(tensor.shape)}")
        if weights[name].dtype != tensor.dtype:
            raise ValueError(f"{name} has {weights[name].dtype}, not {tensor.dtype}")


def load_optimizer(optimizer: torch.optim.Optimizer, state: dict) -> None:
    """Loads the moments in `state`, which a `state_dict()` returned. The settings stay those of `optimizer`.

    Raises ValueError if a parameter has no moments, or moments have no parameter: torch would start missing
    moments at zero without a warning. A state from before the first step has none at all, which is allowed.
    """
    if not state:
        raise ValueError("it has no optimizer")
    settings = optimizer.state_dict()["param_groups"]
    numbers = [group["params"] for group in settings]       # of the parameters, a list for each group
    saved_numbers = [group["params"] for group in state["param_groups"]]
    all_numbers = set(sum(numbers, []))
    if numbers != saved_numbers or set(state["state"]) not in (set(), all_numbers):
        raise ValueError("it has the optimizer of another model")
    optimizer.load_state_dict({"state": state["state"], "param_groups": settings})
