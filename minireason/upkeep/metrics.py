"""metrics.jsonl: one line of JSON for each iteration of a stage. Curves are drawn from this file alone.

Its lines are counted from 0 without a gap, so a line that was lost is noticed. Only at the end may something
be cut off: a process that was killed may have left half a line.
"""

import io
import json
import os
from collections.abc import Iterator
from pathlib import Path

from minireason.upkeep.command import Fault
from minireason.upkeep.files import check_shape, parse_json, read_bytes

LINE = {"iteration": int, str: float}
ADVICE = "delete the stage's folder and train that stage again"


def append(path: Path, values: dict[str, float]) -> None:
    """Adds one line. Raises OSError if the disk is full."""
    with open(path, "a", encoding="ascii") as file:
        file.write(json.dumps(values) + "\n")


def read(path: Path, num_lines: int | None = None) -> list[dict[str, float]]:
    """The lines of a metrics file, in order; an empty list if there is no file.

    Raises Fault if it is damaged, or has not as many lines as it should have.
    """
    if not os.path.lexists(path):
        return []
    lines = [values for values, _ in parsed_lines(path)]
    if num_lines is not None and len(lines) != num_lines:
        raise Fault(f"{path} has {len(lines)} lines, and the stage {num_lines} iterations: {ADVICE}")
    return lines


def parsed_lines(path: Path) -> Iterator[tuple[dict[str, float], int]]:
    """Yields (values, number of bytes) for each line. Raises Fault at the first that `append` did not write.

    Half a line at the end has no line break, and is left out.
    """
    for number, line in enumerate(io.BytesIO(read_bytes(path, ADVICE))):
        if not line.endswith(b"\n"):
            return
        try:
            values = parse_json(line)
            check_shape(values, LINE)
        except ValueError as error:
            raise Fault(f"{path} is damaged in line {number + 1} ({error}): {ADVICE}") from None
        if values["iteration"] != number:
            raise Fault(f"{path} has iteration {values['iteration']} where {number} should be, so a line was "
                        f"lost or added: {ADVICE}")
        yield values, len(line)


def truncate(path: Path, iteration: int) -> None:
    """Removes the lines from `iteration` on, and half a line at the end: a resumed run writes them again.

    Raises Fault if an earlier line is missing. The file is cut and not written anew, so there is no moment at
    which the earlier lines are missing.
    """
    if not os.path.lexists(path) and not iteration:
        return
    num_lines, num_bytes_kept = 0, 0
    for _, num_bytes in parsed_lines(path):
        num_lines += 1
        if num_lines <= iteration:
            num_bytes_kept += num_bytes
    if num_lines < iteration:
        raise Fault(f"{path} lost the last {iteration - num_lines} of {iteration} lines: {ADVICE}")
    os.truncate(path, num_bytes_kept)


def secure(path: Path) -> None:
    """Waits until the lines are on the disk. Call it before a checkpoint is saved that counts on them."""
    with open(path, "ab") as file:
        os.fsync(file.fileno())
