"""One line of JSON per iteration; figures and tables read nothing else."""

import json


def append(path, values):
    """Adds one line. Raises OSError where the disk is full."""
    with open(path, "a", encoding="ascii") as file:
        file.write(json.dumps(values) + "\n")


def read(path):
    """All lines of a metrics file, in order; none where there is no file."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="ascii").splitlines() if line.endswith("}")]


def truncate(path, iteration):
    """Forgets the lines from `iteration` on: a resumed run writes them again."""
    kept = [line for line in read(path) if line["iteration"] < iteration]
    path.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="ascii")
