"""A second copy of metrics.jsonl in TensorBoard or Weights & Biases, for readers who have one of them.

    python train.py --log tensorboard      pip install tensorboard; tensorboard --logdir runs
    python train.py --log wandb            pip install wandb; WANDB_MODE=offline needs no network

metrics.jsonl stays the record: curves and reports are made from it. The copy has the same names and steps.
"""

import importlib
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from minireason.upkeep import metrics
from minireason.upkeep.command import BadInput

NEEDED = {"tensorboard": ("torch.utils.tensorboard", "SummaryWriter"), "wandb": ("wandb", "init")}
NAMES = tuple(NEEDED)


def check_installed(name: str) -> None:
    """Raises BadInput if the package behind --log `name` cannot be imported."""
    module, function = NEEDED[name]
    try:
        getattr(importlib.import_module(module), function)      # a mere folder `wandb` can be imported too
    except (ImportError, AttributeError) as error:
        reason = str(error).splitlines()[0]
        raise BadInput(f"--log {name} needs the package {name} ({reason}): pip install {name}") from None


class Log:
    """The copy of one stage's metrics. `name` is one of NAMES; with None there is no copy.

    If the other program fails, its traceback is shown, and training goes on without the copy.
    """

    def __init__(self, name: str | None, metrics_path: Path, settings: dict):
        self.name = name
        self.send: Callable[[dict[str, float]], None] | None = None
        self.finish: Callable[[], None] | None = None
        if name is None:
            return
        opener = {"tensorboard": open_tensorboard, "wandb": open_wandb}[name]
        try:
            self.send, self.finish = opener(metrics_path.parent, settings)
        except Exception:
            self.give_up()
        # All steps so far are sent again. The last ones before a kill may never have arrived.
        for values in metrics.read(metrics_path):
            self.write(values)

    def write(self, values: dict[str, float]) -> None:
        """Sends the metrics of one step."""
        if self.send is None:
            return
        try:
            self.send(values)
        except Exception:
            self.give_up()

    def give_up(self) -> None:
        """Shows what went wrong, and ends the copy."""
        traceback.print_exc()
        print(f"--log {self.name} failed and is off for the rest of this stage; training goes on, and "
              "metrics.jsonl has every step", file=sys.stderr)
        self.send = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        """Closes the copy, if one is open."""
        if self.finish is None:
            return
        try:
            self.finish()
        except Exception:
            self.give_up()


def open_tensorboard(folder: Path, settings: dict) -> tuple[Callable, Callable]:
    """Writes into a stage's folder. Returns two functions: one sends the metrics of a step, one closes."""
    from torch.utils.tensorboard import SummaryWriter
    # `purge_step`: TensorBoard forgets what an earlier, interrupted process wrote.
    writer = SummaryWriter(str(folder), purge_step=0, flush_secs=30)

    def send(values: dict[str, float]) -> None:
        for name, value in values.items():
            if name != "iteration":
                writer.add_scalar(name, value, values["iteration"])

    return send, writer.close


def open_wandb(folder: Path, settings: dict) -> tuple[Callable, Callable]:
    """Begins a run for this stage, or goes on with it. Returns functions as `open_tensorboard` does."""
    import wandb
    earlier = sorted((folder / "wandb").glob("*run-*-*"))       # such as offline-run-20250131_120000-ab12cd34
    run_id = earlier[0].name.rsplit("-", 1)[1] if earlier else None
    name = folder.parent.resolve().name
    run = wandb.init(
        project=os.environ.get("WANDB_PROJECT", "minireason"), group=name, name=f"{name}/{folder.name}",
        dir=str(folder), id=run_id, resume="allow", config=settings,
        settings={"console": "off"})                            # stdout and stderr stay untouched

    def send(values: dict[str, float]) -> None:
        if values["iteration"] >= run.step:                     # it refuses steps that it has already
            sent = {name: value for name, value in values.items() if name != "iteration"}
            run.log(sent, step=values["iteration"])

    return send, run.finish
