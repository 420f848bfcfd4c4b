"""The film of RL: one prompt, answered by the model at moments of its training, beside the curves of RL.

The moments are those that snapshots.py keeps. All of them sample with the same seed, so what differs between
two answers is the weights alone.
"""

from pathlib import Path

from minireason.model import GPT
from minireason.run import folder_of
from minireason.snapshots import rl_models, snapshots_in
from minireason.tasks import Problem
from minireason.tasks.chat import ChatPrompt
from minireason.tokenizer import get_tokenizer
from minireason.tools.playground.thinking import Send, Speaker, think
from minireason.upkeep import metrics

MOST_POINTS = 150       # of a curve; each is a mean of neighbours where a run has more iterations


def film(run: str, problem: Problem | ChatPrompt, temperature: float, seed: int, send: Send) -> None:
    """Sends the curves of RL, then one answer of each model that is kept.

    The first event is {"iterations": of these models, "points": of the curves, "missing": a sentence or ""}.
    The others are those of `think`, each with its "iteration". Raises BadInput if the run has no RL.
    """
    models = list(rl_models(run))
    folder = folder_of(run) / "rl"
    points = curve_points(metrics.read(folder / "metrics.jsonl"))
    send({"iterations": [iteration for iteration, _ in models], "points": points,
          "missing": what_is_missing(run, folder, has_curves=bool(points))})
    for iteration, model in models:
        show_moment(iteration, model, problem, temperature, seed, send)


def show_moment(iteration: int, model: GPT, problem: Problem | ChatPrompt, temperature: float, seed: int,
                send: Send) -> None:
    """Sends one answer. Each of its events says to which iteration it belongs."""
    def send_with_iteration(event: dict) -> None:
        send({"iteration": iteration, **event})

    think(Speaker(model, get_tokenizer()), problem, written=[], temperature=temperature, seed=seed,
          budget=None, send=send_with_iteration)


def curve_points(lines: list[dict]) -> list[dict]:
    """The reward and the completion length of RL's iterations, at most MOST_POINTS of each."""
    lines = [line for line in lines if {"reward", "completion_length"} <= line.keys()]
    size = max(1, -(-len(lines) // MOST_POINTS))        # iterations per point, rounded up
    points = []
    for start in range(0, len(lines), size):
        some = lines[start:start + size]
        points.append({"iteration": some[-1]["iteration"] + 1,
                       "reward": sum(line["reward"] for line in some) / len(some),
                       "length": sum(line["completion_length"] for line in some) / len(some)})
    return points


def what_is_missing(run: str, folder: Path, has_curves: bool) -> str:
    """What this run lacks for a film, and what to do about it; "" if it lacks nothing."""
    missing = []
    if not snapshots_in(folder):
        missing.append("no snapshots between RL's start and its end")
    if not has_curves:
        missing.append("no rl/metrics.jsonl, so no curves")
    if not missing:
        return ""
    return (f"{run} has {' and '.join(missing)}. A run that you train has both: "
            f"python train.py rl --from {run} --rl-snapshots 6")
