"""One line of JSON per iteration; figures and tables read nothing else."""

import json
import os
from pathlib import Path


def append(path: Path, values: dict[str, float]) -> None:
    """Adds one line. Raises OSError where the disk is full."""
    with open(path, "a", encoding="ascii") as file:
        file.write(json.dumps(values) + "\n")


def read(path: Path) -> list[dict[str, float]]:
    """All lines of a metrics file, in order; none where there is no file."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="ascii").splitlines() if line.endswith("}")]


def truncate(path: Path, iteration: int) -> None:
    """Forgets the lines from `iteration` on, and what is left of half a line: a resumed run writes them again.

    The file is cut, not written anew, so that there is no moment without the lines before.
    """
    if path.exists():
        kept = [line for line in path.read_bytes().splitlines(keepends=True)
                if line.endswith(b"\n") and json.loads(line)["iteration"] < iteration]
        os.truncate(path, sum(map(len, kept)))
