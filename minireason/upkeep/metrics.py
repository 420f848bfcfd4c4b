"""One line of JSON per iteration; figures and tables read nothing else."""

import json
import os
from pathlib import Path

from minireason.upkeep.command import Fault


def append(path: Path, values: dict[str, float]) -> None:
    """Adds one line. Raises OSError where the disk is full."""
    with open(path, "a", encoding="ascii") as file:
        file.write(json.dumps(values) + "\n")


def read(path: Path) -> list[dict[str, float]]:
    """All lines of a metrics file, in order; none where there is no file."""
    if not path.exists():
        return []
    return [parse(line, path) for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]


def parse(line: bytes, path: Path) -> dict[str, float]:
    """One line of the file. Raises Fault where it is none of ours."""
    try:
        values = json.loads(line)
        values["iteration"] + 0
    except (ValueError, KeyError, TypeError):
        raise Fault(f"{path} is damaged: delete the stage's folder and train that stage again") from None
    return values


def truncate(path: Path, iteration: int) -> None:
    """Forgets the lines from `iteration` on, and what is left of half a line: a resumed run writes them again.

    The file is cut, not written anew, so that there is no moment without the lines before.
    """
    if path.exists():
        kept = [line for line in path.read_bytes().splitlines(keepends=True)
                if line.endswith(b"\n") and parse(line, path)["iteration"] < iteration]
        os.truncate(path, sum(map(len, kept)))
