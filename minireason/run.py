"""A run: the order of the stages, the folder they are kept in, and `open_model`, which loads their models.

    runs/laptop/config.json  results.json  report.html  report.md  *.png  lock
    runs/laptop/<stage>/checkpoint.pt  metrics.jsonl
    runs/laptop/rl/snapshots/*.pt                      RL's weights on the way: see snapshots.py

What opens what:

    open_model(run, stage)        the model of a stage, and its checkpoint: sample.py, the tools, the lessons
    Run.load(stage)               the model of a finished stage, for the next stage of a run in training
    Run.saved(stage)              the checkpoint of a stage that may be half done, or None
    config_of_run(folder)         the settings in config.json
    config_of(checkpoint)         the settings in a checkpoint
"""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import torch

from minireason.config import Config, ModelConfig
from minireason.model import GPT
from minireason.settings import check, check_model, from_dict, to_dict
from minireason.tasks import TASKS
from minireason.tokenizer import get_tokenizer, pieces_of
from minireason.upkeep import checkpoint
from minireason.upkeep.belonging import check_belongs, check_same_run, read_settings, settings_if_readable
from minireason.upkeep.checkpoint import CheckpointError
from minireason.upkeep.command import BadInput, Fault, visible
from minireason.upkeep.files import read_json
from minireason.upkeep.results import results as results_shape
from minireason.upkeep.seeding import derive_seed
from minireason.upkeep.vocabulary import move_to_vocabulary

# Each stage and the one whose weights it starts from. Rejection starts from the base, but learns from the
# RL model's answers.
STARTS_FROM = {
    "base": None, "cold-start": "base", "rl": "cold-start", "rejection": "base", "align": "rejection"}
STAGES = tuple(STARTS_FROM)
PRETRAINED = "pretrained"                                        # a run's name: the weights in the repository
WEIGHTS = Path(__file__).parent / "upkeep" / "weights"           # they are laid out as a run's folder


def stages_of(config: Config) -> tuple[str, ...]:
    """The stages that `train.py all` trains."""
    return ("base", "rl") if config.pure_rl else STAGES


def start_of(stage: str, config: Config) -> str | None:
    """The stage whose weights a stage starts from; None for random weights."""
    if stage == "rl" and config.pure_rl:
        return "base"
    return STARTS_FROM[stage]


def folder_of(run: Path | str) -> Path:
    """The folder of a run. "pretrained" is the one in the repository."""
    return WEIGHTS if str(run) == PRETRAINED else Path(run)


def checkpoint_path(folder: Path, stage: str) -> Path:
    return folder / stage / "checkpoint.pt"


def has_checkpoint(folder: Path, stage: str) -> bool:
    """Whether a stage has a checkpoint. A broken link counts, since it shows that the stage was begun."""
    return os.path.lexists(checkpoint_path(folder, stage))


class Run:
    """A run's folder, its settings, and the device it trains on."""

    def __init__(self, folder: Path | str, config: Config, device: torch.device):
        self.folder, self.config, self.device = Path(folder), config, device
        # A task that was added after this run began adds no words to it, so the run ends with the same bits.
        self.tokenizer = get_tokenizer(config.tasks.levels)

    def checkpoint_path(self, stage: str) -> Path:
        return checkpoint_path(self.folder, stage)

    def metrics_path(self, stage: str) -> Path:
        return self.folder / stage / "metrics.jsonl"

    def seed(self, stage: str) -> int:
        return derive_seed(self.config.seed, stage)

    def saved(self, stage: str) -> dict | None:
        """The checkpoint of a stage; None if the stage was not begun. Raises Fault if it is damaged."""
        if not has_checkpoint(self.folder, stage):
            return None
        return open_state(self.folder, stage, self.tokenizer.words)

    def load(self, stage: str) -> GPT:
        """Loads the model of a finished stage. Raises BadInput if there is none."""
        state = self.saved(stage)
        if state is None:
            raise BadInput(f"{self.folder} has no finished stage {stage!r}: run 'python train.py {stage} "
                           f"--out {self.folder}' first")
        if not state["done"]:
            raise BadInput(f"stage {stage!r} of {self.folder} is unfinished: add --resume")
        return model_of(state).to(self.device).eval()


# -----------------------------------------------------------------------------
# Opening a model

@contextlib.contextmanager
def blame(path: Path | str) -> Iterator[None]:
    """Turns an error within the block into a CheckpointError which says that the file `path` does not fit."""
    try:
        yield
    except (ValueError, CheckpointError) as error:
        raise CheckpointError(f"{path} does not fit: {error}") from None


def open_state(folder: Path, stage: str, words: tuple[str, ...] | None = None,
               snapshot: Path | None = None) -> dict:
    """Loads the checkpoint of a stage, or the file `snapshot` of this stage. Returns its state, a dict.

    The rows of its embedding are moved to the ids of a tokenizer that knows `words`; by default it knows all
    words of this version. Raises CheckpointError if the file is damaged, or of another stage or run.
    """
    path = snapshot or checkpoint_path(folder, stage)
    if snapshot:
        state = checkpoint.load(path, "delete it: no stage needs a snapshot")
    else:
        state = checkpoint.load(path)
    words = words or get_tokenizer().words
    with blame(path):
        check_belongs(folder, stage, state, is_snapshot=snapshot is not None)
        new_words = move_to_vocabulary(state, pieces_of(state["vocabulary"]), pieces_of(words))
        widen(state)
        check_sizes(state)
    state["vocabulary"] = list(words)
    if new_words:
        added = ", ".join(new_words)
        line = f"{path}: the model was trained before these words came, and cannot read them: {added}"
        print(visible(line), file=sys.stderr)
    return state


def widen(state: dict) -> None:
    """Turns weights in half precision, as pretrained.py and snapshots.py store them, into full ones."""
    types = {tensor.dtype for tensor in state["model"].values()}
    if types == {torch.float16}:
        state["model"] = {name: tensor.float() for name, tensor in state["model"].items()}


def check_sizes(state: dict) -> None:
    """Raises ValueError if the weights of a checkpoint are not those of a model of its settings.

    The model is built on the device `meta`, which needs no memory: damaged settings may ask for more than
    there is.
    """
    config = model_config_of(state)
    check_model(config)
    if config.num_layers > len(state["model"]):
        raise ValueError(f"it has no weights for {config.num_layers} layers")
    with torch.device("meta"):
        checkpoint.check_weights(state["model"], GPT(config).state_dict())


def model_config_of(state: dict) -> ModelConfig:
    """The sizes of a checkpoint's model."""
    return from_dict(state["config"]["model"], ModelConfig)


def model_of(state: dict) -> GPT:
    """The model of a state that `open_state` returned."""
    model = GPT(model_config_of(state))
    checkpoint.load_weights(model, state["model"])
    return model


def open_model(run: Path | str, stage: str, device: torch.device | str = "cpu",
               words: tuple[str, ...] | None = None) -> tuple[GPT, dict]:
    """Loads the model of a stage, ready to use. Returns (model, the state of its checkpoint).

    `run` is a folder, or "pretrained" for the weights in the repository. The model gets an embedding for each
    of `words`, by default all known words. Raises BadInput if there is no checkpoint, CheckpointError if it
    is damaged or does not fit.
    """
    folder = folder_of(run)
    if not has_checkpoint(folder, stage):
        available = [name for name in STAGES if has_checkpoint(folder, name)]
        if available:
            raise BadInput(f"{run} has no checkpoint of a stage {stage!r}: choose {', '.join(available)}")
        raise no_checkpoint(run)
    state = open_state(folder, stage, words)
    return model_of(state).to(device).eval(), state


def no_checkpoint(run: Path | str) -> BadInput:
    return BadInput(f"{run} has no checkpoint: train one with python train.py, or give --run {PRETRAINED}")


def config_of(state: dict) -> Config:
    """The settings stored in a checkpoint. Raises CheckpointError if one is unknown or out of range."""
    with blame(f"the checkpoint of stage {state['stage']}"):
        config = from_dict(state["config"])
        check(config)
    return config


def config_of_run(folder: Path) -> Config:
    """The settings that a run was begun with. Raises Fault if the file is damaged or a setting unknown."""
    settings, _ = read_settings(folder)
    try:
        config = from_dict(settings)
        check(config)
    except ValueError as error:
        path = folder / "config.json"
        raise Fault(f"{path} is damaged, or of another version or other tasks: {error}") from None
    config.model.vocab_size = get_tokenizer(config.tasks.levels).vocab_size     # older runs had fewer words
    return config


def newest_model(stage: str | None = None) -> tuple[Path | str, str]:
    """Finds the newest run in runs/ that has trained a stage, or has trained `stage`. Returns (run, stage).

    Only finished stages count, and none that --from copied. Runs of the preset smoke do not: they only try
    whether all works. If there is none: the weights in the repository.
    """
    candidates = [stage] if stage else list(reversed(STAGES))
    for folder in reversed(runs_by_age()):
        settings, copied = settings_if_readable(folder)
        if (settings or {}).get("preset") == "smoke":
            continue
        for name in candidates:
            if name in (copied or {}):
                continue
            if has_checkpoint(folder, name) and checkpoint.load(checkpoint_path(folder, name))["done"]:
                return folder, name
    return PRETRAINED, stage or last_stage(PRETRAINED)


def last_stage(run: Path | str) -> str:
    """The last stage with a checkpoint in this run. Raises BadInput if there is none."""
    for stage in reversed(STAGES):
        if has_checkpoint(folder_of(run), stage):
            return stage
    raise no_checkpoint(run)


def runs_by_age() -> list[Path]:
    """The folders of runs in runs/, the newest last."""
    paths = sorted(Path("runs").glob("*/config.json"), key=lambda path: path.lstat().st_mtime)
    return [path.parent for path in paths]


# -----------------------------------------------------------------------------
# Results

# these parts of results.json have an entry for each stage
BY_STAGE = ("stages", "seconds", "iterations", "ran with")


def new_results(config: Config, command: str) -> dict:
    """The content of results.json when a run begins: no stage is scored yet."""
    return {"command": command, "config": to_dict(config), "stages": {}, "seconds": {}, "iterations": {},
            "ran with": {}, "notes": {}}


def read_results(folder: Path) -> dict | None:
    """The content of a run's results.json, None if there is no such file. Raises Fault if it is damaged."""
    path = folder / "results.json"
    if not os.path.lexists(path):
        return None
    advice = f"delete it, and `train.py --resume --out {folder}` writes it again"
    if folder == WEIGHTS:
        advice = "fetch the repository's own file again"
    results = read_json(path, results_shape, advice)
    results.setdefault("ran with", {})
    if not set(results["stages"]) <= set(STAGES):
        raise Fault(f"{path} is damaged (it has an unknown stage): {advice}")
    settings, _ = settings_if_readable(folder)
    if settings is not None:
        with blame(path):
            check_same_run(results["config"], settings)
    return results


def scored_on(config: dict) -> list:
    """The settings that select the scored problems. Runs can be compared if these are equal."""
    levels = [config["tasks"].get(f"{task}_levels") for task in TASKS]
    settings = dict(config["evaluate"])
    for name in ("every", "num_quick"):     # these do not affect the scores at a stage's end
        settings.pop(name, None)
    return [levels, settings]
