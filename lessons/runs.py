"""The trained runs that the lessons share: each is made once, found again, and gone on with where it was
interrupted.

    python lessons/07_grpo_is_a_diff.py --full

makes the runs it needs in runs/studies/ and writes lessons/results/
"""

import os
import sys
from pathlib import Path

from shared import RESULTS, ROOT

import train
from minireason.run import read_results
from minireason.upkeep import metrics
from minireason.upkeep.checkpoint import save_json
from minireason.upkeep.command import Fault
from minireason.upkeep.files import read_json

STUDIES = ROOT / "runs" / "studies"


def ensure(name, *flags, needs=None):
    """Results of the run runs/studies/`name` of `python train.py *flags`; trains what of it is not there yet.

    `needs` is the stage that has to be there (default: the first of the flags, or align). Ends the program
    with the exit code of train.py if that fails, and with 2 if the run was made with other flags.
    """
    folder, flags_path = STUDIES / name, STUDIES / f"{name}.flags.json"
    stage = needs
    if stage is None:
        stage = "align"
        if flags and not flags[0].startswith("-"):
            stage = flags[0]
    flags_as_text = []
    for flag in flags:
        flags_as_text.append(flag.relative_to(ROOT).as_posix() if isinstance(flag, Path) else str(flag))
    has_begun = (folder / "config.json").exists()
    if has_begun and os.path.lexists(flags_path):
        begun_with = or_exit(read_json, flags_path, [str], "delete it")
        if begun_with != flags_as_text:
            print(f"{folder} was made with other flags ({' '.join(begun_with)}): delete or rename it",
                  file=sys.stderr)
            sys.exit(2)
    else:       # flags without a run are those of one that was refused: they claim nothing
        STUDIES.mkdir(parents=True, exist_ok=True)
        save_json(flags_path, flags_as_text)
    results = or_exit(read_results, folder)
    if results is None or stage not in results["stages"]:
        if has_begun and "--from" in flags:        # the stages before were copied when it began
            at = flags.index("--from")
            flags = flags[:at] + flags[at + 2:]
        resume = ["--resume"] if has_begun else []
        code = train.main([*map(str, flags), "--out", str(folder), *resume])
        if code and not (folder / "config.json").exists():
            flags_path.unlink()
        if code:
            sys.exit(code)
        results = or_exit(read_results, folder)
    return results


def or_exit(read, *arguments):
    """What `read` returns. A damaged file ends the program with one line."""
    try:
        return read(*arguments)
    except Fault as error:
        sys.exit(str(error))


def behind_full(num_seeds):
    """What stands behind --full on a lesson's command line: flags for train.py, and `--seeds N`. Returns (the
    whole command, flags, seeds)."""
    flags = sys.argv[sys.argv.index("--full") + 1:]
    if "--seeds" in flags:
        at = flags.index("--seeds")
        num_seeds, flags = int(flags[at + 1]), flags[:at] + flags[at + 2:]
    command = " ".join([f"python lessons/{Path(sys.argv[0]).name}", *sys.argv[1:]])
    return command, flags, range(num_seeds)


def curve(name, stage):
    """metrics.jsonl of a stage, as a list of dicts."""
    return or_exit(metrics.read, STUDIES / name / stage / "metrics.jsonl")


def outcomes(results, stage, task):
    """Right or wrong on each held-out problem, as a list of 0 and 1."""
    return [int(bit) for bit in results["stages"][stage][task]["outcomes"]]


def save_claim(number, claim, command, seeds, num_problems, rows, **more):
    """Writes lessons/results/C<number>.json; `rows` are {"name", "value", "low", "high"}."""
    save_json(RESULTS / f"C{number}.json", {"claim": claim, "command": command, "seeds": seeds,
                                            "num_problems": num_problems, "rows": rows, **more})


def row(name, value, low=None, high=None):
    return {"name": name, "value": value, "low": low, "high": high}


if __name__ == "__main__":
    for path in sorted(STUDIES.glob("*/results.json")):
        results = read_results(path.parent)
        rounded = {}
        for stage in results["stages"]:
            parts = [seconds for name, seconds in results["seconds"].items() if name.startswith(stage)]
            rounded[stage] = round(sum(parts))
        print(path.parent.name, rounded)
