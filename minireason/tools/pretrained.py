"""Puts the weights of a finished run into the repository: sample.py, lessons and tools then work at once.

    python -m minireason.pretrained runs/laptop

They are laid out as a run's folder. <stage>/checkpoint.pt holds the weights in half precision, all settings
and the vocabulary, but no optimizer: about 1.6 MB. record.json holds the command, the seed and the scores.
"""

import sys
from pathlib import Path

from minireason.evaluate import percent
from minireason.run import PRETRAINED, WEIGHTS, open_model, read_results
from minireason.tools.flags import Parser
from minireason.upkeep import checkpoint
from minireason.upkeep.checkpoint import SCALAR
from minireason.upkeep.command import BadInput, exit_codes
from minireason.upkeep.files import read_json
from minireason.upkeep.results import rate

STORED = ("base", "cold-start", "rl", "align")      # rejection is left out to save space
RECORD = {      # the shape of record.json
    "command": str, "seed": int, "evaluate": {str: SCALAR}, "tasks": {str: SCALAR},
    "scores": {str: {str: rate}}}


def read_record() -> dict:
    """What record.json says of the stored run: "command", "seed", "evaluate", "tasks" and "scores".

    The scores are {stage: {task: {"value", "low", "high"}}}. Raises Fault if the file is damaged.
    """
    return read_json(WEIGHTS / "record.json", RECORD, "fetch the repository's own file again")


def store(run: Path | str) -> list[Path]:
    """Writes the weights and the record of a run. Returns the paths. Raises BadInput on an unfinished run."""
    results = read_results(Path(run))
    if results is None:
        raise BadInput(f"{run} has no results.json: give the folder of a finished run")
    unfinished = [stage for stage in STORED if stage not in results["stages"]]
    if unfinished:
        raise BadInput(f"{run} is not a finished run: it lacks {', '.join(unfinished)}")
    states = {stage: open_model(run, stage)[1] for stage in STORED}      # all, before anything is written
    paths, scores = [], {}
    for stage, state in states.items():
        half = {name: tensor.half() for name, tensor in state["model"].items()}
        path = WEIGHTS / stage / "checkpoint.pt"
        checkpoint.save(path, **state | {"model": half, "optimizer": {}, "extra": {}})
        paths.append(path)
        scores[stage] = scores_of(results["stages"][stage])
    config = results["config"]
    record = {"command": results["command"], "seed": config["seed"], "evaluate": config["evaluate"],
              "tasks": config["tasks"], "scores": scores}
    checkpoint.save_json(WEIGHTS / "record.json", record)
    checkpoint.save_json(WEIGHTS / "config.json", results["config"])
    return [*paths, WEIGHTS / "config.json", WEIGHTS / "record.json"]


def scores_of(result: dict) -> dict:
    """What the record keeps of a stage: the accuracy of each task, leaks and over-refusals."""
    scores = {task: result[task]["accuracy"] for task in result if task != "chat"}
    return scores | {name: result["chat"][name] for name in ("leaks", "over_refusals")}


def record_as_text(record: dict) -> list[str]:
    """The scores of the stored run with their 95% intervals, for a terminal of 80 columns."""
    lines = [f"The included weights were made by `{record['command']}` with seed {record['seed']}.",
             "Held-out pass@1 in percent on n problems; leaks and over-refusals in n chats."]
    names = list(record["scores"][STORED[0]])
    for first in range(0, len(names), 3):       # three columns fit
        shown = names[first:first + 3]
        titles = [f"{name} n={record['scores'][STORED[0]][name]['num_problems']}" for name in shown]
        lines += ["", " ".join([f"{'stage':11}", *(f"{title:21}" for title in titles)]).rstrip()]
        for stage, scores in record["scores"].items():
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
