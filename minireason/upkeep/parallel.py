"""Several processes that learn as one: each works on its share of the data, and their gradients are added up.

    torchrun --nproc_per_node=2 train.py

Every process holds the whole model and takes the same step, so only gradients and counts have to travel.
Losses are divided by the tokens of all processes, so that the sum of gradients is the gradient of the whole
batch. In a run of one process, everything here leaves things as they are.
"""

import os
import sys
from typing import Any

import torch
import torch.distributed as dist

DEVICES = ("cuda", "mps", "cpu")


def pick_device(name: str | None = None) -> torch.device:
    """The device asked for, or the best there is. Raises ValueError if it is not available."""
    best = "cpu"
    if torch.cuda.is_available():
        best = "cuda"
    elif torch.backends.mps.is_available():
        best = "mps"
    if name is None:
        name = best
    kind, _, number = name.partition(":")
    # torch knows more names. Some, such as meta, hold no numbers, and others fail later or print warnings.
    if kind not in DEVICES or (kind != "cuda" and number not in ("", "0")):
        raise ValueError(f"there is no device {name!r}: choose {', '.join(DEVICES)}")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
        return device
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device {name!r} is not available: {str(error).splitlines()[0][:100]}") from None


def start(device: torch.device) -> torch.device:
    """Joins the other processes, if torchrun started this one. Returns the device for this process."""
    if "RANK" not in os.environ or dist.is_initialized():
        return device
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return device


def stop() -> None:
    """Waits for all processes, then leaves the group. Leaving early would break the others' communication."""
    if dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()


def leave(code: int) -> None:
    """Ends this process. One of several skips Python's shutdown, in which a gloo thread sometimes aborts."""
    if "RANK" in os.environ:
        sys.stderr.flush()      # `exit_codes` has flushed stdout
        os._exit(code)
    sys.exit(code)


def rank() -> int:
    """Which of the processes this is; number 0 writes the files."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def share(items: list) -> list:
    """This process's part of a list: every n-th item, where there are n processes."""
    return items[rank()::world_size()]


def total(number: float) -> float:
    """The sum of a number over all processes, as a float."""
    return sum(gather(float(number)))


def gather(value: Any) -> list:
    """[value of process 0, of process 1, ...]; anything that can be pickled."""
    if world_size() == 1:
        return [value]
    values = [None] * world_size()
    dist.all_gather_object(values, value)
    return values


def from_first(value: Any) -> Any:
    """Process 0's value, in every process."""
    return gather(value)[0]


def add_up(dicts: list[dict[str, float]]) -> dict[str, float]:
    """The sum of some dicts of numbers, and of those of all other processes. A process may have none."""
    all_dicts = []
    for dicts_of_a_process in gather(dicts):
        all_dicts += dicts_of_a_process
    if not all_dicts:
        return {}
    sums = {}
    for key in all_dicts[0]:
        sums[key] = sum(numbers[key] for numbers in all_dicts)
    return sums


def average(numbers: dict[str, float]) -> dict[str, float]:
    """The mean over all processes of a dict of numbers."""
    all_numbers = gather(numbers)
    means = {}
    for key in numbers:
        means[key] = sum(other[key] for other in all_numbers) / len(all_numbers)
    return means


@torch.no_grad()
def add_gradients(*modules: torch.nn.Module) -> None:
    """Replaces each gradient by its sum over all processes. A missing gradient counts as zero."""
    if world_size() == 1:
        return
    parameters = []
    for module in modules:
        parameters += [parameter for parameter in module.parameters() if parameter.requires_grad]
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    gradients = torch.cat([parameter.grad.flatten() for parameter in parameters])
    dist.all_reduce(gradients)
    sizes = [parameter.numel() for parameter in parameters]
    for parameter, gradient in zip(parameters, gradients.split(sizes)):
        parameter.grad = gradient.view_as(parameter).clone()


@torch.no_grad()
def same_weights(*modules: torch.nn.Module) -> None:
    """Gives every process the weights of process 0."""
    if world_size() > 1:
        for module in modules:
            for parameter in module.parameters():
                dist.broadcast(parameter.data, 0)
