"""Weights of a recorded run that come with the package: sample.py, the lessons, the inspector and the export work at once.

    python -m minireason.pretrained runs/laptop      stores base, cold-start, rl and align of that run in minireason/weights/

Half precision, about 1.6 MB each; weights/record.json says which command and seed made them and what they scored.
"""

import json
import sys
from pathlib import Path

import torch

from minireason.upkeep.checkpoint import CheckpointError, load_model, read, save_json, write_atomically
from minireason.upkeep.command import BadInput, exit_codes
from minireason.config import ModelConfig, preset, to_dict
from minireason.model import GPT

FOLDER = Path(__file__).parent / "weights"
STAGES = ("base", "cold-start", "rl", "align")
PRETRAINED = "pretrained"      # their name where a run's folder is asked for


def load_pretrained(stage: str = "align", device: torch.device | str = "cpu") -> GPT:
    """A model of the recorded run, ready to use. Raises BadInput on any other stage, CheckpointError on a file that is missing
    or damaged."""
    if stage not in STAGES:
        raise BadInput(f"no weights of stage {stage!r} come with the package: choose {', '.join(STAGES)}")
    path = FOLDER / f"{stage}.pt"
    try:
        stored = read(path)
        model = GPT(ModelConfig(**stored["config"]))
        model.load_state_dict({name: value.float() for name, value in stored["model"].items()})
    except Exception as error:      # torch raises many kinds on bytes that are not its own
        raise CheckpointError(f"{path} is damaged ({type(error).__name__}): get the file anew") from None
    return model.to(device).eval()


def load_stage(run: Path | str, stage: str) -> tuple[GPT, dict]:
    """The model that a stage of a run left, and the state of its checkpoint; of the run "pretrained" what comes along, with
    the laptop preset's config and no extra weights. Raises BadInput where there is none, CheckpointError."""
    if str(run) == PRETRAINED:
        model = load_pretrained(stage)
        return model, {"config": to_dict(preset("laptop")) | {"model": to_dict(model.config)}, "extra": {}}
    path = Path(run) / stage / "checkpoint.pt"
    if not path.exists():
        raise BadInput(f"{run} has no checkpoint of a stage {stage!r}: train it first"
                       + f", or give --run {PRETRAINED}" * (stage in STAGES))
    return load_model(path)


def read_record() -> dict:
    """{"command", "seed", "evaluate", "tasks", "scores": {stage: {task: {"value", "low", "high"}}}} of the recorded run."""
    return json.loads((FOLDER / "record.json").read_text(encoding="utf-8"))


def store(run: Path | str) -> list[Path]:
    """Writes the weights and the record of a finished run into the package. Returns the paths."""
    run = Path(run)
    results, paths = json.loads((run / "results.json").read_text(encoding="utf-8")), []
    for stage in STAGES:
        model, state = load_model(run / stage / "checkpoint.pt")
        weights = {name: value.half() for name, value in model.state_dict().items()}
        paths.append(FOLDER / f"{stage}.pt")
        write_atomically(paths[-1], lambda file: torch.save({"config": state["config"]["model"], "model": weights}, file))
    scores = {stage: {task: results["stages"][stage][task]["accuracy"] for task in ("arithmetic", "countdown", "program")}
              | {name: results["stages"][stage]["chat"][name] for name in ("leaks", "over_refusals")} for stage in STAGES}
    paths.append(FOLDER / "record.json")
    save_json(paths[-1], {"command": results["command"], "seed": results["config"]["seed"],
                          "evaluate": results["config"]["evaluate"], "tasks": results["config"]["tasks"], "scores": scores})
    return paths


@exit_codes("pretrained")
def main(argv: list[str] | None = None) -> None:
    folders = sys.argv[1:] if argv is None else argv
    if len(folders) != 1 or folders[0].startswith("-"):
        raise BadInput("give the folder of one finished run, such as runs/laptop")
    try:
        print("\n".join(map(str, store(folders[0]))))
    except KeyError as missing:
        raise BadInput(f"{folders[0]} is no finished run: its results have no {missing}") from None


if __name__ == "__main__":
    sys.exit(main())
