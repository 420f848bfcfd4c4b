"""metrics.jsonl: one line of JSON for each iteration of a stage. Curves are drawn from this file alone."""

import json
import os
from pathlib import Path

from minireason.upkeep.command import Fault


def append(path: Path, values: dict[str, float]) -> None:
    """Adds one line. Raises OSError if the disk is full."""
    with open(path, "a", encoding="ascii") as file:
        file.write(json.dumps(values) + "\n")


def read(path: Path) -> list[dict[str, float]]:
    """All lines of a metrics file, in order; an empty list if there is no file. Raises Fault on damage."""
    if not path.exists():
        return []
    return [parse(line, path) for line in complete_lines(path)]


def complete_lines(path: Path) -> list[bytes]:
    """The lines of the file, each with its line break.

    A process that was killed may have left half a line at the end. It has no line break, and it is dropped.
    """
    lines = path.read_bytes().splitlines(keepends=True)
    return [line for line in lines if line.endswith(b"\n")]


def parse(line: bytes, path: Path) -> dict[str, float]:
    """The numbers of one line. Raises Fault if `append` cannot have written it."""
    try:
        values = json.loads(line)
    except ValueError:
        values = None
    if not isinstance(values, dict) or not isinstance(values.get("iteration"), int):
        raise Fault(f"{path} is damaged: delete the stage's folder and train that stage again")
    return values


def truncate(path: Path, iteration: int) -> None:
    """Removes the lines from `iteration` on, and half a line at the end: a resumed run writes them again.

    The file is cut and not written anew, so there is no moment at which the earlier lines are missing.
    """
    if not path.exists():
        return
    num_bytes_kept = 0
    for line in complete_lines(path):
        if parse(line, path)["iteration"] < iteration:
            num_bytes_kept += len(line)
    os.truncate(path, num_bytes_kept)
