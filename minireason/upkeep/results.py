"""The shape of results.json, as files.py describes shapes. minireason/run.py reads it, train.py writes it.

A function here is a shape: it returns nothing, and raises ValueError if the value does not have it.

    stages        {stage: {task: scores, "chat": scores}}, what minireason/evaluate.py counted
    seconds       of training and of scoring, by stage
    iterations    how many lines the metrics.jsonl of a stage has
    ran with      how many threads and processes trained a stage
    command, config, notes, and what the machine was
"""

from typing import Any

from minireason.upkeep.checkpoint import NOTES, SCALAR, SETTINGS, count
from minireason.upkeep.files import check_shape, short

ROUNDING = 1e-9     # a share may lie outside its interval by this


def rate(value: Any, name: str) -> None:
    """Raises ValueError if a value is not a share with its interval and the number of problems."""
    check_shape(value, {"value": float, "low": float, "high": float, "num_problems": count}, name)
    share, low, high = value["value"], value["low"], value["high"]
    if not (0 <= low <= high <= 1 and low - ROUNDING <= share <= high + ROUNDING):
        raise ValueError(f"{short(name)} is not a share within its interval")


def rate_of_level(value: Any, name: str) -> None:
    """Raises ValueError if a value is not the share at one level. Without problems there is no share."""
    check_shape(value, {"num_problems": count}, name)
    if value["num_problems"]:
        rate(value, name)


def histogram(value: Any, name: str) -> None:
    """Raises ValueError if a value does not say how often each number occurs, as {"0": 12, "1": 3} does."""
    check_shape(value, {str: count}, name)
    if not all(key.isascii() and key.isdecimal() for key in value):
        raise ValueError(f"{short(name)} has a key that is not a number")


def outcomes(value: Any, name: str) -> None:
    """Raises ValueError if a value is not a text of 1 (right) and 0 (wrong), such as "0110"."""
    check_shape(value, str, name)
    if not set(value) <= {"0", "1"}:
        raise ValueError(f"{short(name)} should be a text of 0 and 1")


DISTRIBUTIONS = {
    "tries": histogram, "tries_right": histogram, "tokens": histogram, "tokens_right": histogram,
    str: (None, float)}
SHARE = (None, float)      # null where there was nothing to count
CHAT = {"leaks": rate, "over_refusals": rate, "samples": [{"prompt": str, "completion": str}]}
TASK = {
    "accuracy": rate, "levels": {str: rate_of_level}, "outcomes": outcomes, "distributions": DISTRIBUTIONS,
    "samples": [{"prompt": str, "completion": str, "correct": bool}],
    "well_formed": SHARE, "mixing": SHARE, "tokens": SHARE, str: SHARE}


CONFIG = SETTINGS | {
    "seed": int, "algo": str, "tasks": {str: SCALAR}, "evaluate": {"num_problems": int, str: SCALAR}}
RESULTS = {
    "command": str, "config": CONFIG, "stages": {str: {"chat": CHAT, str: TASK}},
    "seconds": {str: float}, "iterations": {str: count}, "notes": NOTES}


def results(value: Any, name: str) -> None:
    """Raises ValueError if a value is not the content of results.json.

    Every stage needs a task and its seconds, and all stages need the same tasks and levels.
    """
    check_shape(value, RESULTS, name)
    check_shape(value.get("ran with", {}), {str: str}, "ran with")      # an unscored run may lack it
    all_levels = []         # for each stage, {task: its levels}
    for stage, scores_of in value["stages"].items():
        levels = {task: set(scores["levels"]) for task, scores in scores_of.items() if task != "chat"}
        if not levels or stage not in value["seconds"]:
            raise ValueError(f"the stage {short(stage)} is incomplete")
        for task in levels:
            if len(scores_of[task]["outcomes"]) != scores_of[task]["accuracy"]["num_problems"]:
                raise ValueError(f"{short(task)} has not as many outcomes as problems")
        all_levels.append(levels)
    if any(levels != all_levels[0] for levels in all_levels):
        raise ValueError("its stages were not scored on the same tasks and levels")
