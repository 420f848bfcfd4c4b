"""Snapshots: the weights of RL's model on its way, so that one can see how an answer changes in training.

    runs/laptop/rl/snapshots/014.pt  028.pt  ...        the number is that of iterations done

A snapshot is a checkpoint in half precision without an optimizer, about 1.6 MB. `--rl-snapshots 6` keeps six,
evenly spaced. RL's start and end are not stored twice: the stage before RL has the one, RL's checkpoint the
other. `rl_models` gives all of them in order:

    limit = preset("laptop").rl.max_new_tokens
    for iteration, model in rl_models("runs/laptop"):
        print(iteration, answer_all(model, get_tokenizer(), ["make 42 from 3 8 6"], limit, seed=0))
"""

from collections.abc import Iterator
from pathlib import Path

import torch

from minireason.config import Config
from minireason.model import GPT
from minireason.run import (
    Run,
    blame,
    config_of,
    folder_of,
    has_checkpoint,
    model_of,
    open_model,
    open_state,
    start_of,
)
from minireason.settings import to_dict
from minireason.upkeep import checkpoint

FOLDER = "snapshots"      # in the folder of the stage


def iterations_to_keep(config: Config) -> list[int]:
    """The numbers of iterations after which a snapshot is written, evenly spaced between start and end."""
    number, num_iterations = config.rl_snapshots, config.rl.num_iterations
    spaced = {i * num_iterations // (number + 1) for i in range(1, number + 1)}
    return sorted(spaced - {0})      # a short run has fewer iterations than snapshots


def snapshot_path(stage_folder: Path, iteration: int) -> Path:
    return stage_folder / FOLDER / f"{iteration:03}.pt"


def save_snapshot(run: Run, model: GPT, iteration: int, seconds: float) -> None:
    """Writes the snapshot of an iteration. `seconds` is how long RL has been training."""
    checkpoint.save(
        snapshot_path(run.folder / "rl", iteration), model=checkpoint.halved(model.state_dict()),
        optimizer={}, extra={}, config=to_dict(run.config), vocabulary=list(run.tokenizer.words), stage="rl",
        iteration=iteration, done=False, seconds=seconds, notes={})


def snapshots_in(stage_folder: Path) -> list[int]:
    """The iterations of which a stage's folder has a snapshot, in order."""
    iterations = []
    for path in (stage_folder / FOLDER).glob("*.pt"):
        digits = path.stem
        # other files may lie here: only a name that `snapshot_path` makes is that of a snapshot
        if digits.isascii() and digits.isdecimal() and path == snapshot_path(stage_folder, int(digits)):
            iterations.append(int(digits))
    return sorted(iterations)


def remove_after(stage_folder: Path, iteration: int) -> None:
    """Removes the snapshots of iterations after this one, since a resumed run writes them again."""
    for later in snapshots_in(stage_folder):
        if later > iteration:
            snapshot_path(stage_folder, later).unlink()


def open_snapshot(run: Path | str, iteration: int) -> tuple[GPT, dict]:
    """Loads a snapshot, ready to use, as `run.open_model` loads a stage. Returns (model, its state).

    Raises CheckpointError if it is missing, is damaged, or is of another run.
    """
    folder = folder_of(run)
    path = snapshot_path(folder / "rl", iteration)
    state = open_state(folder, "rl", snapshot=path)
    with blame(path):
        if state["iteration"] != iteration:
            raise ValueError(f"it is of iteration {state['iteration']}: give it its name back")
    return model_of(state).eval(), state


def rl_models(run: Path | str, device: torch.device | str = "cpu") -> Iterator[tuple[int, GPT]]:
    """RL's model at its start, at each snapshot and at its end: (iterations done, model) in order.

    `run` is a folder, or "pretrained". Without snapshots there are start and end, and without the stage
    before RL there is no start. Raises BadInput if the run has no RL.
    """
    folder = folder_of(run)
    newest, state = open_model(run, "rl", device)
    start = start_of("rl", config_of(state))
    if has_checkpoint(folder, start):
        yield 0, open_model(run, start, device)[0]
    for iteration in snapshots_in(folder / "rl"):
        if iteration < state["iteration"]:      # others are of the future of an unfinished RL
            yield iteration, open_snapshot(run, iteration)[0].to(device)
    yield state["iteration"], newest
