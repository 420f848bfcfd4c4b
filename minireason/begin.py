"""How a run begins. All that can be refused is refused here, before anything is written.

train.py calls `choose_run`, locks the folder, and calls `open_run`, which begins the run or goes on with
it. minireason/run.py says what a run is.
"""

import argparse
import contextlib
import copy
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from minireason.config import Config
from minireason.run import (
    PRETRAINED,
    STAGES,
    checkpoint_path,
    config_of_run,
    folder_of,
    has_checkpoint,
    model_config_of,
    new_results,
    open_state,
    read_results,
    runs_by_age,
    scored_on,
    stages_of,
)
from minireason.settings import changed_settings, check_variants, settings_of, to_dict
from minireason.tasks import test_problems
from minireason.tokenizer import get_tokenizer
from minireason.tools.command_line import config_asked, given_flags
from minireason.tools.flags import apply_flags
from minireason.upkeep import checkpoint, metrics, parallel
from minireason.upkeep.command import BadInput

LOCK = "lock"       # a running train.py locks this file


# -----------------------------------------------------------------------------
# Which run

def choose_run(args: argparse.Namespace) -> tuple[Path | None, Config | None]:
    """Finds out which run is meant. Returns (folder, settings). Writes nothing yet. Raises BadInput.

        (folder, None)        the folder holds a run
        (folder, settings)    a new run, in the folder that --out names
        (None, settings)      a new run, in a folder that `fresh_folder` is still to make
    """
    folder = None
    if args.out:
        folder = Path(args.out)
    elif args.resume:
        folders = runs_by_age()
        if not folders:
            raise BadInput("there is no run to resume in runs/")
        folder = folders[-1]
    if folder is not None and holds_run(folder):
        return folder, None
    if args.resume:
        raise BadInput(f"{folder} holds no run to resume: leave out --resume to start one")
    config = config_asked(args)
    check_new_run(args.stage, config, args.source)
    return folder, config


def open_run(args: argparse.Namespace, folder: Path, config: Config | None) -> Config:
    """Begins a new run with the settings `config`, or goes on with an old one (None). Returns its settings.

    What an old one was begun with has to agree with what is asked now. Call it with the folder locked.
    """
    if config is not None:
        new_run(folder, config, args.stage, args.source, args.command)
        return config
    if args.source and not args.resume:
        raise BadInput(f"{folder} holds a run already: go on with --resume or choose another --out")
    stored = config_of_run(folder)
    check_stage(args.stage, stored)
    if hasattr(args, "preset"):         # a flag that was not given is no attribute (tools/flags.py)
        wanted = config_asked(args)
    else:                               # only the given flags must agree with the stored settings
        wanted = apply_flags(copy.deepcopy(stored), given_flags(args))
    check_same_settings(folder, stored, wanted)
    check_enough_for_processes(args.stage, stored)
    if not args.resume:
        check_not_begun(folder, stages_of(stored) if args.stage == "all" else (args.stage,))
    return stored


# -----------------------------------------------------------------------------
# The folder

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
    if os.path.lexists(folder / "config.json"):
        return True
    if (folder / "config.json.tmp").exists():
        return False        # a beginning that was killed: see `new_run`
    if folder.exists() and any(path.name != LOCK for path in folder.iterdir()):
        raise BadInput(f"{folder} is not empty and holds no run: choose another --out")
    return False


# -----------------------------------------------------------------------------
# What is refused before a run begins

def check_new_run(stage: str, config: Config, source: Path | str | None) -> None:
    """Raises BadInput or ValueError if a run cannot be trained or scored. Nothing is written yet."""
    check_stage(stage, config)
    check_enough_for_processes(stage, config)
    check_variants(config)
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


def check_enough_for_processes(stage: str, config: Config) -> None:
    """Raises BadInput if a step of the stage has fewer prompts or documents than there are processes."""
    for name in stages_of(config) if stage == "all" else (stage,):
        settings = getattr(config, name.replace("-", "_"))
        key = "num_prompts" if hasattr(settings, "num_prompts") else "batch_size"
        number = getattr(settings, key)
        if number < parallel.world_size():
            flag = f"--{name}-{key}".replace("_", "-")
            raise BadInput(f"{flag} {number} is too few for {parallel.world_size()} processes: each of them "
                           "needs one at least")


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


def check_source(source: Path | str, stage: str, config: Config) -> None:
    """Raises BadInput if `source` lacks a stage to copy, or its model has another size; Fault on damage."""
    folder = folder_of(source)
    if not folder.exists():
        raise BadInput(f"there is no {source} to start from: give the folder of a run, or pretrained")
    read_results(folder)      # raises Fault on damage
    words = get_tokenizer(config.tasks.levels).words
    for name in stages_before(stage, config):
        state = open_state(folder, name, words) if has_checkpoint(folder, name) else None
        if state is None or not state["done"]:
            available = [other for other in STAGES if has_checkpoint(folder, other)]
            raise BadInput(f"{source} has no finished stage {name!r} to start from: "
                           f"it holds {', '.join(available) or 'no stage'}")
        metrics.read(folder / name / "metrics.jsonl", state["iteration"])      # raises Fault on damage
        sizes = model_config_of(state)
        sizes.vocab_size = config.model.vocab_size      # words that came later are added when it is opened
        if differing := changed_settings(sizes, config.model):
            values = {setting.name: setting.get() for setting in settings_of(sizes)}
            flags = [f"--model-{name.replace('_', '-')} {values[name]}" for name in differing]
            raise BadInput(f"{source} holds another size of model: "
                           f"add {' '.join(flags)}, or give another --from")
    warn_of_unread_tasks(source, state["config"]["tasks"], config)


def warn_of_unread_tasks(source: Path | str, its_tasks: dict, config: Config) -> None:
    """Says which tasks are trained now, and were not when the model of `source` was.

    `its_tasks` are that model's settings of tasks, such as {"countdown_share": 0.54}.
    """
    shares = config.tasks.shares
    for name in config.tasks.trained():
        if not its_tasks.get(f"{name}_share"):
            percent = 100 * shares[name] / sum(shares.values())
            print(f"the model of {source} has never read {name}, and {percent:.0f}% of the problems are of "
                  f"this task: leave it out with --tasks-{name}-share 0, or train a base", file=sys.stderr)


def stages_before(stage: str, config: Config) -> tuple[str, ...]:
    """The stages that --from copies, so that `stage` can be trained next. For `all` it is the base alone."""
    stages = stages_of(config)
    if stage not in stages:
        return ("base",)
    return stages[:max(1, stages.index(stage))]


# -----------------------------------------------------------------------------
# Beginning

def new_run(folder: Path, config: Config, stage: str, source: Path | str | None, command: str) -> None:
    """Begins a run in a locked folder: writes its settings and first results, copies stages from `source`.

    The folder is a run from the moment at which config.json has its name. Until then there is a
    config.json.tmp. If the process is killed, this file stays and shows that the rest is unfinished, so the
    same command may begin anew.
    """
    if (folder / "config.json").exists():
        raise BadInput(f"another train.py has just begun a run in {folder}: choose another --out")

    def write(file):      # is called while the file is named config.json.tmp
        remove_beginning(folder)      # of a process that was killed
        results, copied = new_results(config, command), {}
        if source:
            copy_stages(source, folder, stages_before(stage, config), results)
            for name in stages_before(stage, config):
                copied[name] = checkpoint.load(checkpoint_path(folder, name))["config"]
        checkpoint.save_json(folder / "results.json", results)
        file.write(checkpoint.json_bytes(to_dict(config) | {"copied": copied}))
    try:
        checkpoint.write_atomically(folder / "config.json", write)
    finally:
        if not (folder / "config.json").exists():       # the disk is full
            remove_beginning(folder)


def copy_stages(source: Path | str, folder: Path, stages: tuple[str, ...], results: dict) -> None:
    """Copies finished stages of another run: checkpoints and curves, and into `results` their scores.

    The snapshots stay behind. They show how the other run learned, and that run still has them.
    """
    for stage in stages:
        shutil.copytree(folder_of(source) / stage, folder / stage,
                        ignore=shutil.ignore_patterns("*.tmp", "wandb", "snapshots"))
    results["notes"]["started from"] = f"{', '.join(stages)} of {source}"
    # Scores on other problems are left out: `train.py all` scores the stages again.
    scored = read_results(folder_of(source))
    if scored and scored_on(scored["config"]) == scored_on(results["config"]):
        for stage in stages:
            if stage in scored["stages"]:
                results["stages"][stage] = scored["stages"][stage]
                results["seconds"][stage] = scored["seconds"][stage]
                results["iterations"][stage] = len(metrics.read(folder / stage / "metrics.jsonl"))


def remove_beginning(folder: Path) -> None:
    """Removes what `new_run` writes before the folder is a run."""
    for stage in STAGES:
        shutil.rmtree(folder / stage, ignore_errors=True)
    (folder / "results.json").unlink(missing_ok=True)


# -----------------------------------------------------------------------------
# What is refused before a run goes on

def check_same_settings(folder: Path, stored: Config, wanted: Config) -> None:
    """Raises BadInput if the command line contradicts the run's stored settings."""
    differing = ", ".join(changed_settings(stored, wanted)[:4])
    if differing:
        raise BadInput(f"{folder} was made with other settings ({differing}): choose another --out")


def check_not_begun(folder: Path, stages: tuple[str, ...]) -> None:
    """Raises BadInput if one of the stages already has a checkpoint: only --resume may continue it."""
    begun = ", ".join(stage for stage in stages if has_checkpoint(folder, stage))
    if begun:
        raise BadInput(f"{folder} already holds {begun}: go on with --resume or choose another --out")
