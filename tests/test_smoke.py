"""The whole loop on the smoke preset, and that learning happened in it."""

import functools
import json

from minireason.config import preset
from minireason.evaluate import evaluate_task
from minireason.run import STAGES, open_model
from minireason.tokenizer import get_tokenizer


def results(run):
    return json.loads((run / "results.json").read_text())["stages"]


def lines(run, stage):
    return [json.loads(line) for line in (run / stage / "metrics.jsonl").read_text().splitlines()]


@functools.cache
def on_many_sums(run):
    """The scores of cold start and RL on 280 held-out sums: the run's own 100 are too few to tell by."""
    config, scores = preset("smoke"), {}
    for stage in ("cold-start", "rl"):
        model, _ = open_model(run, stage)
        levels = config.tasks.levels["arithmetic"]
        scores[stage] = evaluate_task(model, get_tokenizer(), "arithmetic", levels, 280, config.evaluate)
    return scores


def test_every_stage_ran_and_was_scored(smoke_run):
    assert list(results(smoke_run)) == list(STAGES)
    assert (smoke_run / "report.md").exists()


def test_imitation_learned(smoke_run):
    losses = [line["loss"] for line in lines(smoke_run, "base")]
    assert sum(losses[-20:]) / 20 < 0.4 * losses[0]


def test_thinking_spreads_in_rl(smoke_run):
    """Nobody pays for thinking; it spreads because its answers are right more often than guesses."""
    scores = on_many_sums(smoke_run)
    before, after = (scores[stage]["thinks"] for stage in ("cold-start", "rl"))
    assert after > before + 0.05 and after > 0.95


def test_rl_raises_the_accuracy(smoke_run):
    """By 20 to 22 points in three seeds on one processor (lessons/results/CHANGES.md)."""
    scores = on_many_sums(smoke_run)
    before, after = (scores[stage]["accuracy"]["value"] for stage in ("cold-start", "rl"))
    assert after > before + 0.05


def test_the_cold_start_taught_the_form(smoke_run):
    """Nearly a third of the base corpus is guesses. No golden example is one."""
    stages = results(smoke_run)
    assert stages["base"]["arithmetic"]["thinks"] < 0.85
    assert stages["cold-start"]["arithmetic"]["thinks"] > stages["base"]["arithmetic"]["thinks"] + 0.1


def test_the_student_keeps_what_its_teacher_knew(smoke_run):
    stages = results(smoke_run)
    teacher, student = (stages[stage]["arithmetic"]["accuracy"]["value"] for stage in ("rl", "rejection"))
    assert student > teacher - 0.2
