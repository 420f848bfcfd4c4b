"""A trace of a version: does a refactoring keep the numbers?

    python tests/record_trace.py record /tmp/before                       of this checkout; four minutes
    python tests/record_trace.py record /tmp/after --repo ../other        of another one
    python tests/record_trace.py compare /tmp/before /tmp/after           prints what differs, and by how much

Recorded are small runs by the command line alone, so that any version can be traced: every stage of the smoke
preset, and five steps of RL with each algorithm and each normalisation. Compared are the metrics of every
step, the scores and samples of every stage, and all weights. One thread, since bits depend on the number of
threads; and one machine, for the same reason.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parent.parent
SMOKE = ["--preset", "smoke", "--device", "cpu", "--seed", "3"]
FIVE_STEPS = ["rl", *SMOKE, "--rl-num-iterations", "5"]
SMALL = ["--device", "cpu", "--seed", "5", "--model-width", "64", "--model-mlp-width", "96",
         "--model-num-layers", "2", "--base-num-examples", "6000", "--evaluate-num-problems", "40",
         "--evaluate-num-programs", "20", "--evaluate-max-new-tokens", "100", "--rl-num-prompts", "9",
         "--rl-group-size", "4", "--rl-num-iterations", "5"]
RUNS = {        # name -> flags; "FROM name" is the folder of another one
    "smoke": SMOKE,
    "ppo": [*FIVE_STEPS, "--algo", "ppo", "--rl-kl-coef", "0.02", "FROM smoke"],
    "ppo-shared": [*FIVE_STEPS, "--algo", "ppo", "--rl-shared-critic", "FROM smoke"],
    "grpo-sequence": [*FIVE_STEPS, "--rl-normalize", "sequence", "--rl-leave-one-out", "FROM smoke"],
    "grpo-constant": [*FIVE_STEPS, "--rl-normalize", "constant", "--no-rl-scale-advantages", "FROM smoke"],
    "all-tasks": [*SMALL, "--pure-rl"],
    "experts": ["cold-start", *SMALL, "--expert", "--cold-start-num-examples", "96", "FROM all-tasks"],
    "without-aha": ["base", *SMALL, "--base-num-examples", "240", "--no-aha"],
}


def record(folder: Path, repo: Path) -> None:
    """Trains every run of RUNS with the code of a checkout."""
    for name, flags in RUNS.items():
        arguments = []
        for flag in flags:
            is_source = flag.startswith("FROM ")
            arguments += ["--from", str(folder / flag.removeprefix("FROM "))] if is_source else [flag]
        command = [sys.executable, "train.py", *arguments, "--out", str(folder / name)]
        subprocess.run(command, cwd=repo, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})


def differences(before: object, after: object, place: str = "") -> list[tuple[str, float]]:
    """(place, relative difference) of each number or text that is not the same;
    what is no number differs by infinity."""
    if isinstance(before, dict) and isinstance(after, dict):
        rows = []
        for key in before.keys() & after.keys():
            rows += differences(before[key], after[key], f"{place} {key}")
        return rows
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        rows = []
        for i, (left, right) in enumerate(zip(before, after)):
            rows += differences(left, right, f"{place} {i}")
        return rows
    if before == after:
        return []
    if isinstance(before, float | int) and isinstance(after, float | int):
        return [(place, abs(before - after) / max(abs(before), 1e-4))]
    return [(place, float("inf"))]


def read(path: Path) -> object:
    """What is compared of a file: lines of metrics, the scores of the stages,
    or weights as one number each."""
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    if path.suffix == ".json":
        return json.loads(path.read_text(encoding="utf-8"))["stages"]
    return torch.load(path, map_location="cpu", weights_only=True)["model"]


def compare(before: Path, after: Path) -> int:
    """Prints what differs. Returns the number of files that do."""
    num_files, num_different = 0, 0
    for name in ("metrics.jsonl", "results.json", "checkpoint.pt"):
        for path in sorted(before.rglob(name)):
            num_files += 1
            place = path.relative_to(before)
            if not (after / place).exists():
                rows = [("missing", float("inf"))]
            elif name == "checkpoint.pt":
                old, new = read(path), read(after / place)
                rows = []
                for key in old:
                    if not torch.equal(old[key], new[key]):
                        rows.append((key, (old[key] - new[key]).abs().max().item()))
            else:
                rows = differences(read(path), read(after / place))
            if rows:
                num_different += 1
                worst = max(rows, key=lambda row: row[1])
                print(f"{place}: {len(rows)} differences, the largest at{worst[0]}: {worst[1]:.1e}")
    print(f"{num_files - num_different} of {num_files} files are equal bit for bit")
    return num_different


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Record small runs of a version, or compare those of two.")
    parser.add_argument("what", choices=("record", "compare"))
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--repo", type=Path, default=ROOT, help="record: the checkout whose code runs")
    args = parser.parse_args()
    if args.what == "record":
        record(args.folders[0].resolve(), args.repo)
    else:
        sys.exit(1 if compare(*args.folders) else 0)
