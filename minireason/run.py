"""A run: the order of the stages, the folder they are kept in, and `open_model`, which loads their models.

    runs/laptop/config.json  results.json  report.html  report.md  *.png  lock
    runs/laptop/<stage>/checkpoint.pt  metrics.jsonl

train.py, sample.py, the tools and the lessons all load models with `open_model`.
"""

import contextlib
import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import torch

from minireason.config import (
    Config,
    ModelConfig,
    changed_settings,
    check,
    check_model,
    from_dict,
    settings_of,
    to_dict,
)
from minireason.model import GPT
from minireason.tasks import TASKS, test_problems
from minireason.tokenizer import get_tokenizer, pieces_of
from minireason.upkeep import checkpoint, parallel
from minireason.upkeep.command import BadInput, Fault, is_out_of_memory, visible
from minireason.upkeep.seeding import derive_seed
from minireason.upkeep.vocabulary import first_pieces, move_to_vocabulary

# Each stage and the one whose weights it starts from. Rejection starts from the base, but learns from the
# RL model's answers.
STARTS_FROM = {
    "base": None, "cold-start": "base", "rl": "cold-start", "rejection": "base", "align": "rejection"}
STAGES = tuple(STARTS_FROM)
PRETRAINED = "pretrained"                                        # a run's name: the weights in the repository
WEIGHTS = Path(__file__).parent / "upkeep" / "weights"           # they are laid out as a run's folder
LOCK = "lock"                                                    # a running train.py locks this file
RESULTS = {"command", "config", "stages", "seconds", "notes"}    # keys that results.json must have


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


class Run:
    """A run's folder, its settings, and the device it trains on."""

    def __init__(self, folder: Path | str, config: Config, device: torch.device):
        self.folder, self.config, self.device = Path(folder), config, device
        # A task that came later adds no words to this run: it ends with the bits that it would have had.
        self.tokenizer = get_tokenizer(config.tasks.levels)

    def checkpoint_path(self, stage: str) -> Path:
        return checkpoint_path(self.folder, stage)

    def metrics_path(self, stage: str) -> Path:
        return self.folder / stage / "metrics.jsonl"

    def seed(self, stage: str) -> int:
        return derive_seed(self.config.seed, stage)

    def load(self, stage: str) -> GPT:
        """Loads the model of a finished stage. Raises BadInput if there is none."""
        if not self.checkpoint_path(stage).exists():
            raise BadInput(f"{self.folder} has no finished stage {stage!r}: run 'python train.py {stage} "
                           f"--out {self.folder}' first")
        model, state = open_model(self.folder, stage, self.device, self.tokenizer.words)
        if not state["done"]:
            raise BadInput(f"stage {stage!r} of {self.folder} is unfinished: add --resume")
        return model


# -----------------------------------------------------------------------------
# Opening a model

@contextlib.contextmanager
def must_fit(path: Path | str) -> Iterator[None]:
    """Raises CheckpointError, whatever a damaged or foreign file makes Python raise within the block."""
    try:
        yield
    except checkpoint.CheckpointError as error:
        raise checkpoint.CheckpointError(f"{path} does not fit: {error}") from None
    except (ValueError, RuntimeError, TypeError, LookupError, AttributeError, ArithmeticError) as error:
        if is_out_of_memory(error):
            raise
        reason = str(error).splitlines()[0] if str(error) else ""
        kind = type(error).__name__
        raise checkpoint.CheckpointError(f"{path} does not fit this version: {kind}: {reason}") from None


def open_state(path: Path, words: tuple[str, ...] | None = None) -> dict:
    """Loads a checkpoint, and moves its rows to the token ids of `words`; by default of all known words.

    Raises CheckpointError.
    """
    state = checkpoint.load(path)
    words = words or get_tokenizer().words
    stored = state["vocabulary"]
    with must_fit(path):
        pieces = first_pieces() if stored is None else pieces_of(stored)
        new_words = move_to_vocabulary(state, pieces, pieces_of(words))
    state["vocabulary"] = list(words)
    if new_words:
        added = ", ".join(new_words)
        line = f"{path}: words that were added after this model was trained: {added}"
        print(visible(line), file=sys.stderr)
    return state


def open_model(run: Path | str, stage: str, device: torch.device | str = "cpu",
               words: tuple[str, ...] | None = None) -> tuple[GPT, dict]:
    """Loads the model of a stage, ready to use. Returns (model, the state of its checkpoint).

    `run` is a folder, or "pretrained" for the weights in the repository. The model gets an embedding for each
    of `words`, by default all known words. Raises BadInput if there is no checkpoint, CheckpointError if it
    is damaged or does not fit.
    """
    folder = folder_of(run)
    path = checkpoint_path(folder, stage)
    if not path.exists():
        available = [name for name in STAGES if checkpoint_path(folder, name).exists()]
        if available:
            raise BadInput(f"{run} has no checkpoint of a stage {stage!r}: choose {', '.join(available)}")
        raise BadInput(f"{run} has no checkpoint: train one with python train.py, or give --run {PRETRAINED}")
    state = open_state(path, words)
    with must_fit(path):
        config = from_dict(state["config"]["model"], ModelConfig)
        check_model(config)
        model = GPT(config)
        model.load_state_dict(state["model"])
    return model.to(device).eval(), state


def settings_of_run(state: dict) -> Config:
    """The settings stored in a checkpoint. Raises CheckpointError if one is unknown or out of range."""
    with must_fit(f"the checkpoint of stage {state['stage']}"):
        config = from_dict(state["config"])
        check(config)
    return config


def newest_model(stage: str | None = None) -> tuple[Path | str, str]:
    """Finds the newest run in runs/ that has a finished stage, or has finished `stage`. Returns (run, stage).

    If there is none: the weights in the repository.
    """
    candidates = [stage] if stage else list(reversed(STAGES))
    for folder in reversed(runs_by_age()):
        for name in candidates:
            path = checkpoint_path(folder, name)
            if path.exists() and checkpoint.load(path)["done"]:
                return folder, name
    return PRETRAINED, stage or last_stage(PRETRAINED)


def last_stage(run: Path | str) -> str:
    """The last stage with a checkpoint in this run. Raises BadInput if there is none."""
    for stage in reversed(STAGES):
        if checkpoint_path(folder_of(run), stage).exists():
            return stage
    raise BadInput(f"{run} has no checkpoint: train one with python train.py, or give --run {PRETRAINED}")


def runs_by_age() -> list[Path]:
    """The folders of runs in runs/, the newest last."""
    paths = sorted(Path("runs").glob("*/config.json"), key=lambda path: path.stat().st_mtime)
    return [path.parent for path in paths]


# -----------------------------------------------------------------------------
# Beginning a run, and resuming one

def fresh_folder(config: Config) -> Path:
    """Makes a folder in runs/ with a name that is not taken: laptop, laptop-2, laptop-ppo, laptop-pure ..."""
    name = config.preset
    if config.algo == "ppo":
        name += "-ppo"
    if config.pure_rl:
        name += "-pure"
    Path("runs").mkdir(exist_ok=True)
    folder, number = Path("runs") / name, 1
    while not make_folder(folder):
        number += 1
        folder = Path("runs") / f"{name}-{number}"
    return folder


def make_folder(folder: Path) -> bool:
    """Makes a folder. Returns whether this process did: of several that try at once, one gets True."""
    try:
        folder.mkdir()
    except FileExistsError:
        return False
    return True


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Locks a folder while the block runs. Raises BadInput if another train.py holds the lock.

    If the process is killed, the system releases the lock.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / LOCK, "ab") as file, contextlib.ExitStack() as stack:
        try:
            import fcntl
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The folder is locked too: if the file is deleted, the next train.py makes and locks another one.
            descriptor = os.open(folder, os.O_RDONLY)
            stack.callback(os.close, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BadInput(f"another train.py is at work in {folder}: "
                           "let it finish or choose another --out") from None
        except (ImportError, OSError):      # Windows, or a file system without locks: no lock is possible
            pass
        yield


def holds_run(folder: Path) -> bool:
    """Whether a folder holds a run. Raises BadInput if it holds something else."""
    if folder.exists() and not folder.is_dir():
        raise BadInput(f"{folder} is a file: choose another --out")
    if (folder / "config.json").exists():
        return True
    if (folder / "config.json.tmp").exists():
        return False        # a beginning that was killed: see `new_run`
    if folder.exists() and any(path.name != LOCK for path in folder.iterdir()):
        raise BadInput(f"{folder} is not empty and holds no run: choose another --out")
    return False


def check_new_run(stage: str, config: Config, source: Path | str | None) -> None:
    """Raises BadInput or ValueError if a run cannot be trained or scored. Nothing is written yet."""
    check_stage(stage, config)
    check_shares(stage, config)
    if source and stage == "base":
        raise BadInput("--from copies the stages before STAGE, and nothing comes before base: leave it out")
    if not source and stage not in ("all", "base"):
        raise BadInput(f"stage {stage} needs a run with the stages before it: give its folder with --out, "
                       f"or copy those stages with --from; --from {PRETRAINED} takes the included weights")
    check_test_problems(config)         # now, and not an hour into training
    if source:
        check_source(source, stage, config)


def check_stage(stage: str, config: Config) -> None:
    """Raises BadInput if a run with these settings does not have this stage."""
    if stage not in ("all", *stages_of(config)):
        raise BadInput(f"a run with --pure-rl has no stage {stage}: choose {' or '.join(stages_of(config))}")


def check_test_problems(config: Config) -> None:
    """Raises BadInput if a task has too few held-out problems to be scored."""
    settings = config.evaluate
    for task, levels in config.tasks.levels.items():
        flag, number = "--evaluate-num-problems", settings.num_problems
        if task in settings.num_by_task:
            flag, number = f"--evaluate-num-{task}s", settings.num_by_task[task]
        if settings.every and settings.num_quick > number:
            flag, number = "--evaluate-num-quick", settings.num_quick
        try:
            test_problems(task, levels, number, settings.seed)
        except ValueError as error:
            raise BadInput(f"{flag}: {error}") from None


def check_shares(stage: str, config: Config) -> None:
    """Raises BadInput if a step of the stage has fewer prompts or documents than there are processes."""
    for name in stages_of(config) if stage == "all" else (stage,):
        settings = getattr(config, name.replace("-", "_"))
        key = "num_prompts" if hasattr(settings, "num_prompts") else "batch_size"
        number = getattr(settings, key)
        if number < parallel.world_size():
            flag = f"--{name}-{key}".replace("_", "-")
            raise BadInput(f"{flag} {number} is too few for {parallel.world_size()} processes: each of them "
                           "needs one at least")


def new_run(folder: Path, config: Config, stage: str, source: Path | str | None, command: str) -> None:
    """Begins a run in a locked folder: writes its settings and first results, copies stages from `source`.

    The folder is a run from the moment at which config.json has its name. Until then there is a
    config.json.tmp: it says that all the rest is of a beginning, which the same command may begin anew.
    """
    if (folder / "config.json").exists():
        raise BadInput(f"another train.py has just begun a run in {folder}: choose another --out")

    def write(file):
        remove_beginning(folder)      # of a process that was killed
        results = new_results(config, command)
        if source:
            copy_stages(source, folder, stages_before(stage, config), results)
        checkpoint.save_json(folder / "results.json", results)
        file.write(checkpoint.json_bytes(to_dict(config)))
    try:
        checkpoint.write_atomically(folder / "config.json", write)
    finally:
        if not (folder / "config.json").exists():       # the disk is full
            remove_beginning(folder)


def remove_beginning(folder: Path) -> None:
    """Removes what `new_run` writes before the folder is a run."""
    for stage in STAGES:
        shutil.rmtree(folder / stage, ignore_errors=True)
    (folder / "results.json").unlink(missing_ok=True)


def stages_before(stage: str, config: Config) -> tuple[str, ...]:
    """The stages that must exist before `stage` is trained, if they are copied. `all` needs only the base."""
    stages = stages_of(config)
    if stage not in stages:
        return ("base",)
    return stages[:max(1, stages.index(stage))]


def check_source(source: Path | str, stage: str, config: Config) -> None:
    """Raises BadInput if `source` lacks a stage to copy, or its model has another size; Fault on damage."""
    read_results(folder_of(source))
    words = get_tokenizer(config.tasks.levels).words
    for name in stages_before(stage, config):
        path = checkpoint_path(folder_of(source), name)
        state = open_state(path, words) if path.exists() else None
        if state is None or not state["done"]:
            available = [other for other in STAGES if checkpoint_path(folder_of(source), other).exists()]
            raise BadInput(f"{source} has no finished stage {name!r} to start from: "
                           f"it holds {', '.join(available) or 'no stage'}")
        with must_fit(path):
            sizes = from_dict(state["config"]["model"], ModelConfig)
        sizes.vocab_size = config.model.vocab_size      # words that came later are added when it is opened
        if differing := changed_settings(sizes, config.model):
            values = {setting.name: setting.get() for setting in settings_of(sizes)}
            flags = [f"--model-{name.replace('_', '-')} {values[name]}" for name in differing]
            raise BadInput(f"{source} holds another size of model: "
                           f"add {' '.join(flags)}, or give another --from")


def copy_stages(source: Path | str, folder: Path, stages: tuple[str, ...], results: dict) -> None:
    """Copies finished stages of another run: checkpoints and curves, and into `results` their scores."""
    for stage in stages:
        shutil.copytree(folder_of(source) / stage, folder / stage,
                        ignore=shutil.ignore_patterns("*.tmp", "wandb"))
    results["notes"]["started from"] = f"{', '.join(stages)} of {source}"
    # Scores on other problems are left out: `train.py all` scores the stages again.
    scored = read_results(folder_of(source))
    if scored and scored_on(scored["config"]) == scored_on(results["config"]):
        for stage in stages:
            if stage in scored["stages"]:
                results["stages"][stage] = scored["stages"][stage]
                results["seconds"][stage] = scored["seconds"][stage]


def stored_config(folder: Path) -> Config:
    """The settings that a run was begun with. Raises Fault if the file is damaged or a setting unknown."""
    path = folder / "config.json"
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        missing = {"seed", "model", "tasks"} - set(values)       # what every version stored
        if missing:
            raise ValueError(f"it lacks {', '.join(sorted(missing))}")
        config = from_dict(values)
        check(config)
    except (ValueError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        raise Fault(f"{path} is damaged, or of another version or other tasks: {error}") from None
    config.model.vocab_size = get_tokenizer(config.tasks.levels).vocab_size     # older runs had fewer words
    return config


def check_same_settings(folder: Path, stored: Config, wanted: Config) -> None:
    """Raises BadInput if the command line contradicts the run's stored settings."""
    differing = ", ".join(changed_settings(stored, wanted)[:4])
    if differing:
        raise BadInput(f"{folder} was made with other settings ({differing}): choose another --out")


def check_not_begun(folder: Path, stages: tuple[str, ...]) -> None:
    """Raises BadInput if one of the stages already has a checkpoint: only --resume may continue it."""
    begun = ", ".join(stage for stage in stages if checkpoint_path(folder, stage).exists())
    if begun:
        raise BadInput(f"{folder} already holds {begun}: go on with --resume or choose another --out")


# -----------------------------------------------------------------------------
# Results

def new_results(config: Config, command: str) -> dict:
    return {"command": command, "config": to_dict(config), "stages": {}, "seconds": {}, "notes": {}}


def read_results(folder: Path) -> dict | None:
    """The content of a run's results.json, None if there is no such file. Raises Fault if it is damaged."""
    path = folder / "results.json"
    if not path.exists():
        return None
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        results = None
    if not are_results(results):
        raise Fault(f"{path} is damaged or not a run's: delete it, and `train.py --resume --out {folder}` "
                    "writes it again")
    return results


def are_results(results: object) -> bool:
    """Whether a value has the form of what results.json holds."""
    if not isinstance(results, dict) or not RESULTS <= set(results):
        return False
    if not all(isinstance(results[name], dict) for name in ("config", "stages", "seconds", "notes")):
        return False
    config, stages = results["config"], list(results["stages"].values())
    has_sections = isinstance(config.get("tasks"), dict) and isinstance(config.get("evaluate"), dict)
    has_scores = all(isinstance(result, dict) and "chat" in result and len(result) > 1 for result in stages)
    return has_sections and {"seed", "algo"} <= set(config) and has_scores


def scored_on(config: dict) -> list:
    """The settings that select the scored problems. Runs can be compared if these are equal."""
    levels = [config["tasks"].get(f"{task}_levels") for task in TASKS]
    settings = dict(config["evaluate"])
    for name in ("every", "num_quick"):     # these do not affect the scores at a stage's end
        settings.pop(name, None)
    return [levels, settings]
