"""Several processes that learn as one: each works on its share of the data, and their gradients are added up.

    torchrun --nproc_per_node=2 train.py

Every process holds the whole model and takes the same step, so nothing but gradients and counts has to travel. Losses are
divided by the tokens of all processes, so that a sum of gradients is the gradient of the whole batch. A process on its own
is the only one, and then everything here leaves things as they are.
"""

import os
import sys
from typing import Any

import torch
import torch.distributed as dist


def pick_device(name: str | None = None) -> torch.device:
    """cuda, mps or cpu, whichever is there; or the one asked for. Raises ValueError where it is not available."""
    best = "cpu"
    if torch.cuda.is_available():
        best = "cuda"
    elif torch.backends.mps.is_available():
        best = "mps"
    try:
        device = torch.device(name or best)
        torch.zeros(1, device=device)
        return device
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(f"device {name!r} is not available: {str(error).splitlines()[0][:100]}") from None


def start(device: torch.device) -> torch.device:
    """Joins the other processes where torchrun started this one. Returns the device that is this one's to use."""
    if "RANK" not in os.environ or dist.is_initialized():
        return device
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return device


def stop() -> None:
    """Leaves the others, all at once: who goes while another still talks to it tears it down."""
    if dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()


def leave(code: int) -> None:
    """Ends this process; one of several without Python's own end, in which a thread of gloo's at times aborts."""
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
    """Every n-th item of a list, this process's part of it."""
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


def sum_of(dicts: list[dict[str, float]]) -> dict[str, float]:
    """Sum of dicts of numbers, of those of all processes; a process may have none."""
    every = [each for part in gather(dicts) for each in part]
    return {key: sum(each[key] for each in every) for key in (every[0] if every else ())}


def mean_of(numbers: dict[str, float]) -> dict[str, float]:
    """Mean over the processes of a dict of numbers."""
    every = gather(numbers)
    return {key: sum(each[key] for each in every) / len(every) for key in numbers}


@torch.no_grad()
def add_gradients(*modules: torch.nn.Module) -> None:
    """Puts the sum over all processes into the place of each gradient; who has none has zeros."""
    if world_size() == 1:
        return
    parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
    flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in parameters])
    dist.all_reduce(flat)
    for p, gradient in zip(parameters, flat.split([p.numel() for p in parameters])):
        p.grad = gradient.view_as(p).clone()


@torch.no_grad()
def same_weights(*modules: torch.nn.Module) -> None:
    """Gives every process the weights of process 0."""
    if world_size() > 1:
        for module in modules:
            for parameter in module.parameters():
                dist.broadcast(parameter.data, 0)
