"""Several processes that learn as one: each works on its share of the data, and their gradients are added up.

    torchrun --nproc_per_node=2 train.py

Every process holds the whole model and takes the same step, so only gradients and counts have to travel.
Losses are divided by the tokens of all processes, so that the sum of gradients is the gradient of the whole
batch. In a run of one process, everything here leaves things as they are.
"""

import contextlib
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from minireason.upkeep.command import BadInput, Fault

DEVICES = ("cuda", "mps", "cpu")
JOIN_SECONDS = 300                  # to wait for the other processes; MINIREASON_JOIN_SECONDS changes it
PATIENCE = timedelta(days=30)       # with one that works alone, as the first does when it scores a stage
PLACE = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")      # torchrun sets these variables

store = None                        # a dict that all processes see; None before they have joined


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


# -----------------------------------------------------------------------------
# Coming together, and leaving

def start() -> None:
    """Joins the other processes, if there are to be several.

    Raises BadInput if a variable of PLACE is missing or out of range, and Fault if the others do not come.
    """
    global store
    several = "RANK" in os.environ or os.environ.get("WORLD_SIZE", "1") != "1"
    if dist.is_initialized() or not several:
        return
    if missing := [name for name in PLACE if not os.environ.get(name)]:
        raise BadInput("RANK or WORLD_SIZE asks for several processes, but there is no "
                       f"{', '.join(missing)}: start with torchrun, or unset both")
    size = number_in("WORLD_SIZE", 1, 1_000_000)
    number = number_in("RANK", 0, size - 1)
    port = number_in("MASTER_PORT", 1, 65_535)
    store = join(number, size, os.environ["MASTER_ADDR"], port)
    # Gradients travel from GPU to GPU, all else by way of the CPUs.
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() and dist.is_nccl_available() else "gloo"
    dist.init_process_group(backend, store=store, rank=number, world_size=size, timeout=PATIENCE)


def number_in(variable: str, low: int, high: int, default: int | None = None) -> int:
    """The whole number in an environment variable, or `default` if that is not set.

    Raises BadInput if it is not a whole number from `low` to `high`.
    """
    text = os.environ.get(variable, str(default))
    is_number = text.isascii() and text.isdigit() and len(text) < 10
    if not is_number or not low <= int(text) <= high:
        raise BadInput(f"{variable} is {text!r}, and must be a whole number from {low} to {high}")
    return int(text)


def join(number: int, size: int, host: str, port: int) -> dist.Store:
    """Waits until all processes have come. Returns the store: a dict that all of them read and write."""
    seconds = number_in("MINIREASON_JOIN_SECONDS", 1, 1_000_000, JOIN_SECONDS)
    give_up = time.monotonic() + seconds
    advice = (f"within {seconds} seconds (MINIREASON_JOIN_SECONDS): start all {size} with torchrun, "
              f"or unset {' and '.join(PLACE[:2])}")

    def wait() -> bool:
        """Sleeps a moment. Returns whether there is time for another try."""
        time.sleep(0.05)
        return time.monotonic() < give_up

    has_host = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"     # torchrun keeps the store
    is_host = number == 0 and not has_host
    # Torch waits too, but says so in 50 lines, and Ctrl-C would have to wait with it.
    while not is_host and not answers(host, port):
        if not wait():
            raise Fault(f"process 0 did not answer at {host}:{port} {advice}")
    try:
        store = dist.TCPStore("localhost" if is_host else host, port, size, is_host,
                              timedelta(seconds=seconds), wait_for_workers=False)
        store.add("minireason/joined", 1)
        while (present := store.add("minireason/joined", 0)) < size:      # adding 0 reads the number
            if not wait():
                raise Fault(f"only {present} of {size} processes came {advice}")
    except dist.DistError as error:
        raise Fault(f"process {number} cannot join the others at {host}:{port}: "
                    f"{str(error).splitlines()[0]}") from None
    return store


def answers(host: str, port: int) -> bool:
    """Whether there is a program at this address."""
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True


def starter() -> list[str]:
    """The words before a script's name that start it in as many processes as this run has.

    For example ["torchrun", "--nproc_per_node=2"].
    """
    if world_size() == 1:
        return ["python"]
    num_machines = int(os.environ.get("GROUP_WORLD_SIZE", 1))
    if num_machines == 1:
        return ["torchrun", f"--nproc_per_node={world_size()}"]
    return ["torchrun", f"--nnodes={num_machines}", f"--nproc_per_node={world_size() // num_machines}"]


def own_device(device: torch.device) -> torch.device:
    """The device of this process: each of several has its own GPU. Raises BadInput if there are too few."""
    if world_size() == 1 or device.type != "cuda":
        return device
    number = int(os.environ.get("LOCAL_RANK", rank()))
    if number >= torch.cuda.device_count():
        raise BadInput(f"this machine has {torch.cuda.device_count()} GPU, too few for a process each: start "
                       "fewer processes, or add --device cpu")
    torch.cuda.set_device(number)
    return torch.device("cuda", number)


def stop() -> None:
    """Waits for all processes, then leaves the group. Leaving early would break the others' communication."""
    if dist.is_initialized():
        with contact():
            dist.barrier()
        dist.destroy_process_group()


def leave(main: Callable[[], int]) -> None:
    """Calls `main` and ends this process with the exit code that it returns.

    One of several skips Python's shutdown, in which a gloo thread sometimes aborts.
    """
    try:
        code = main()
    except SystemExit as error:     # argparse has printed what was wrong, or the help
        code = error.code or 0
    if "RANK" in os.environ:
        sys.stderr.flush()      # `exit_codes` has flushed stdout
        os._exit(code)
    sys.exit(code)


def speaks() -> bool:
    """Whether this process may print why it ends. Of several, the first that asks may: one line is enough."""
    if not dist.is_initialized():
        return True
    try:
        return store.add("minireason/ended", 1) == 1
    except dist.DistError:      # process 0, which kept the store, has spoken and left
        return False


@contextlib.contextmanager
def contact() -> Iterator[None]:
    """Turns an error of communication within the block into a Fault: another process has ended."""
    try:
        yield
    except RuntimeError as error:       # gloo has no kind of its own for this
        raise Fault("another process has ended, or cannot be reached; go on with --resume "
                    f"({str(error).splitlines()[0].split('. ')[0]})") from None


# -----------------------------------------------------------------------------
# Working together

def rank() -> int:
    """Which of the processes this is; number 0 writes the files."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def numbers() -> dict[str, int]:
    """{"threads": number, "processes": number} of this run. With others, its sums would round differently."""
    return {"threads": torch.get_num_threads(), "processes": world_size()}


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
    with contact():
        dist.all_gather_object(values, value)
    return values


def from_first(function: Callable, *arguments: Any) -> Any:
    """Calls a function in process 0. Returns its result, or raises its error, in every process."""
    result = error = None
    if rank() == 0:
        try:
            result = function(*arguments)
        except (Exception, SystemExit) as raised:
            error = raised
    result, copied_error = gather((result, error))[0]
    if error:
        raise error             # process 0 raises its own, which knows where it comes from
    if copied_error:
        raise copied_error
    return result


def add_up(dicts: list[dict[str, float]]) -> dict[str, float]:
    """{key: the sum over the dicts of all processes}. A process may give none; without any, returns {}."""
    all_dicts = []
    for dicts_of_a_process in gather(dicts):
        all_dicts += dicts_of_a_process
    if not all_dicts:
        return {}
    sums = {}
    for key in all_dicts[0]:
        sums[key] = sum(values[key] for values in all_dicts)
    return sums


def average(means: dict[str, float], counts: dict[str, float]) -> dict[str, float]:
    """{key: mean over all processes}, from this process's means and {key: how many things a mean is of}.

    Larger counts weigh more: the processes may have unequal shares of the prompts.
    """
    everyone = gather((means, counts))
    averages = {}
    for key in means:
        # (m * n) / n == m in float64, for a mean m in float32: one process logs its own means, bit for bit.
        weighted_sum = sum(their_means[key] * their_counts[key] for their_means, their_counts in everyone)
        averages[key] = weighted_sum / sum(their_counts[key] for _, their_counts in everyone)
    return averages


def concatenate(vector: torch.Tensor) -> torch.Tensor:
    """The vectors of all processes as one vector on the CPU, in the order of the processes."""
    return torch.cat(gather(vector.cpu()))


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
    with contact():
        dist.all_reduce(gradients)
    sizes = [parameter.numel() for parameter in parameters]
    for parameter, gradient in zip(parameters, gradients.split(sizes)):
        parameter.grad = gradient.view_as(parameter).clone()


@torch.no_grad()
def same_weights(*modules: torch.nn.Module) -> None:
    """Gives every process the weights of process 0."""
    if world_size() == 1:
        return
    with contact():
        for module in modules:
            for parameter in module.parameters():
                dist.broadcast(parameter.data, 0)
