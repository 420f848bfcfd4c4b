"""Which files belong together: a run's settings tell it from other runs, so files of two runs are not mixed.

minireason/run.py opens models and results, and asks these functions first. A learner may skip them.
"""

from pathlib import Path
from typing import Any

import torch

from minireason.settings import changed_settings, from_dict
from minireason.upkeep.checkpoint import SCALAR, SETTINGS
from minireason.upkeep.command import Fault
from minireason.upkeep.files import check_shape, read_json, short

PUT_BACK = "put back the file of this run, or delete the stage's folder and train that stage again"


def check_belongs(folder: Path, stage: str, state: dict, is_snapshot: bool = False) -> None:
    """Raises ValueError if a checkpoint is of another stage or run than the folder in which it lies.

    Settings, the seed among them, tell one run from another: equal settings give equal bits. config.json
    holds them, and so does every file that was made with them: each checkpoint, results.json and
    rejection/examples.json. If they differ, files of two runs are mixed. A stage that --from copied was
    trained with settings of its own, and often with another seed. These are in config.json as well, under
    "copied". Such a stage may have these settings or those of the run.

    Nothing is compared if the folder has no config.json. Nor are finished stages if it does not say which of
    them were copied: so it is with the included weights, whose stages are stored in half precision.
    """
    if state["stage"] != stage:
        raise ValueError(f"it is of stage {short(state['stage'])}, not {stage}; {PUT_BACK}")
    settings, copied = settings_if_readable(folder)
    if settings is None or (copied is None and state["done"]):
        return
    is_copied = stage in (copied or {}) and not different_settings(copied[stage], state["config"])
    if not is_copied:
        check_same_run(state["config"], settings)
    # Training on from weights in half precision would give other bits.
    is_half = any(tensor.dtype == torch.float16 for tensor in state["model"].values())
    if is_half and not is_copied and not is_snapshot:
        raise ValueError(f"its weights are in half precision; {PUT_BACK}")


def check_same_run(stored: Any, settings: dict) -> None:
    """Raises ValueError if the settings that a file stores are not those of config.json (`settings`)."""
    check_shape(stored, SETTINGS, "config")
    if differing := different_settings(settings, stored):
        names = ", ".join(differing[:4])
        raise ValueError(f"it was made with other settings than those in config.json ({names}): files of two "
                         "runs are mixed, or one was edited; put it back")


def different_settings(one: dict, other: dict) -> list[str]:
    """Names of the settings in which two dicts of settings differ, of those that this version knows.

    The size of the vocabulary does not count, since it grows when a word is added.
    """
    if one == other:
        return []
    configs = []
    for values in (one, other):
        config = from_dict(values, skip_unknown=True)
        config.model.vocab_size = 0
        configs.append(config)
    # `changed_settings` goes through the settings of the first alone; a task may be only in the second.
    return changed_settings(*configs) or changed_settings(*reversed(configs))


def read_settings(folder: Path) -> tuple[dict, dict | None]:
    """Reads config.json. Returns (the settings of the run, {copied stage: its settings}).

    The second is None if the file has no "copied", as that of the included weights. Raises Fault if the file
    is missing or damaged.
    """
    values = read_json(folder / "config.json", check_settings,
                       "put it back, or take its settings from results.json, where they are under \"config\"")
    copied = values.pop("copied", None)
    return values, copied


def check_settings(value: Any, name: str) -> None:
    """Raises ValueError if a value is not settings, perhaps with "copied", as config.json should hold."""
    check_shape(value, dict, name)
    settings = value.copy()
    check_shape(settings.pop("copied", {}), {str: SETTINGS}, "copied")
    check_shape(settings, SETTINGS | {"seed": int, "model": {str: SCALAR}, "tasks": {str: SCALAR}}, name)


def settings_if_readable(folder: Path) -> tuple[dict | None, dict | None]:
    """What `read_settings` returns, but (None, None) if config.json is missing or damaged.

    train.py refuses such a run. But a model in it can still be asked, and its results can be reported.
    """
    try:
        settings, copied = read_settings(folder)
        from_dict(settings, skip_unknown=True)
    except (Fault, ValueError):
        return None, None
    return settings, copied
