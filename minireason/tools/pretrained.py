"""Puts the weights of a finished run into the repository: sample.py, lessons and tools then work at once.

    python -m minireason.pretrained runs/laptop

They are laid out as a run's folder. <stage>/checkpoint.pt holds the weights in half precision, all settings
and the vocabulary, but no optimizer: about 1.6 MB. rl/snapshots/ holds the weights at some iterations of RL
(snapshots.py), and rl/metrics.jsonl the curves of RL: the playground's film shows both. results.json and
config.json are those of the run. A training that begins --from pretrained shows what it began with,
if it is scored on the same problems.
"""

import io
import shutil
import sys
from pathlib import Path

import torch

from minireason.run import PRETRAINED, STAGES, WEIGHTS, checkpoint_path, open_model, read_results
from minireason.snapshots import FOLDER, open_snapshot, snapshot_path, snapshots_in
from minireason.tools.flags import Parser
from minireason.tools.scores import percent
from minireason.upkeep import checkpoint, metrics
from minireason.upkeep.command import BadInput, Fault, exit_codes

MOST_SNAPSHOTS = 8
MOST_BYTES = 20_000_000      # of all weights: everyone who fetches the repository fetches them


def store(run: Path | str) -> list[Path]:
    """Writes the weights, the settings and the scores of a run. Returns the paths.

    Raises BadInput if the run is unfinished, or its weights are too many bytes.
    """
    results = read_results(Path(run))
    if results is None:
        raise BadInput(f"{run} has no results.json: give the folder of a finished run")
    unfinished = [stage for stage in STAGES if stage not in results["stages"]]
    if unfinished:
        raise BadInput(f"{run} is not a finished run: it lacks {', '.join(unfinished)}")
    states = states_of(run)      # all, before anything is written
    check_sizes(run, states)
    curves = Path(run) / "rl" / "metrics.jsonl"
    metrics.read(curves, states[checkpoint_path(WEIGHTS, "rl")]["iteration"])      # raises Fault on damage
    shutil.rmtree(WEIGHTS / "rl" / FOLDER, ignore_errors=True)      # of the run that was stored before
    for path, state in states.items():
        checkpoint.save(path, **state)
    shutil.copyfile(curves, WEIGHTS / "rl" / "metrics.jsonl")
    checkpoint.save_json(WEIGHTS / "results.json", results)
    checkpoint.save_json(WEIGHTS / "config.json", results["config"])
    return [*states, WEIGHTS / "rl" / "metrics.jsonl", WEIGHTS / "config.json", WEIGHTS / "results.json"]


def states_of(run: Path | str) -> dict[Path, dict]:
    """What is stored of a run, {path: checkpoint}: stages and snapshots, in half precision, no optimizer."""
    states = {}
    for stage in STAGES:
        _, states[checkpoint_path(WEIGHTS, stage)] = open_model(run, stage)
    for iteration in snapshots_in(Path(run) / "rl"):
        _, states[snapshot_path(WEIGHTS / "rl", iteration)] = open_snapshot(run, iteration)
    for path, state in states.items():
        states[path] = state | {"model": checkpoint.halved(state["model"]), "optimizer": {}, "extra": {}}
    return states


def check_sizes(run: Path | str, states: dict[Path, dict]) -> None:
    """Raises BadInput if there are too many snapshots, or too many bytes in all."""
    num_snapshots = len(states) - len(STAGES)
    if num_snapshots > MOST_SNAPSHOTS:
        raise BadInput(f"{run} has {num_snapshots} snapshots of RL: at most {MOST_SNAPSHOTS} are stored, so "
                       f"remove some from {Path(run) / 'rl' / FOLDER}")
    num_bytes = 0
    for state in states.values():
        file = io.BytesIO()
        torch.save(state, file)
        num_bytes += file.tell()
    if num_bytes >= MOST_BYTES:
        raise BadInput(f"the weights of {run} are {num_bytes / 1e6:.1f} MB, and all that is stored must be "
                       f"below {MOST_BYTES / 1e6:.0f} MB: remove snapshots or train a smaller model")


def stored_results() -> dict:
    """The results of the stored run. Raises Fault if they are missing, damaged or without a stage."""
    results = read_results(WEIGHTS)
    if results is None or set(results["stages"]) != set(STAGES):
        raise Fault(f"{WEIGHTS / 'results.json'} is missing or lacks a stage: "
                    "fetch the repository's own file again")
    return results


def scores_of(result: dict) -> dict:
    """The accuracy of each task at a stage, leaks and over-refusals: {name: rate}."""
    scores = {task: result[task]["accuracy"] for task in result if task != "chat"}
    return scores | {name: result["chat"][name] for name in ("leaks", "over_refusals")}


def results_as_text(results: dict) -> list[str]:
    """The scores of the stored run with their 95% intervals, for a terminal of 80 columns."""
    command, seed = results["command"], results["config"]["seed"]
    lines = [f"The included weights were made by `{command}` with seed {seed}.",
             "Held-out pass@1 in percent on n problems; leaks and over-refusals in n chats."]
    by_stage = {stage: scores_of(result) for stage, result in results["stages"].items()}
    first_stage = by_stage["base"]
    names = list(first_stage)
    for first in range(0, len(names), 3):       # three columns fit
        shown = names[first:first + 3]
        titles = [f"{name.replace('_', '-')} n={first_stage[name]['num_problems']}" for name in shown]
        lines += ["", " ".join([f"{'stage':11}", *(f"{title:21}" for title in titles)]).rstrip()]
        for stage, scores in by_stage.items():
            cells = [percent(scores[name]) for name in shown]
            lines.append(" ".join([f"{stage:11}", *(f"{cell:21}" for cell in cells)]).rstrip())
    return lines


@exit_codes("pretrained")
def main(argv: list[str] | None = None) -> None:
    parser = Parser("Put the weights of a finished run into the repository.")
    parser.add_argument("run", help="the run's folder, such as runs/laptop")
    args = parser.parse_args(argv)
    if args.run == PRETRAINED:
        raise BadInput("give the folder of a finished run: these weights are there already")
    for path in store(args.run):
        print(path)


if __name__ == "__main__":
    sys.exit(main())
