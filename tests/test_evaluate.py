"""What is reported of a model, against answers whose worth is known beforehand."""

import math
import random
import re

import pytest
from helpers import shipped_mix

from minireason import evaluate as evaluation
from minireason import inference, tasks
from minireason.config import preset
from minireason.inference import Answer
from minireason.tasks import draw_problem, is_test, parse_prompt
from minireason.tasks.chat import SECRET_CUES
from minireason.tasks.countdown import write_guess
from minireason.tools import scores


def wrap(answer, thinking=""):
    return f"<think>{thinking}</think><answer>{answer}</answer>"


def solution(problem):
    if problem.task == "arithmetic":
        return str(problem.target)
    return write_guess(problem, random.Random(0), right=1.0)


def answering(monkeypatch, reply):
    """Lets `reply(index, prompt)` stand in for the model; returns the list of seeds that were asked with."""
    seeds = []

    def answer_all(model, tokenizer, prompts, max_new_tokens, seed, temperature=1.0):
        seeds.append(seed)
        return [(reply(i, prompt), 7 + i % 2) for i, prompt in enumerate(prompts)]

    def answers_with_ends(*arguments):
        return [Answer(*answer, ended=answer[1] != 7) for answer in answer_all(*arguments)]
    monkeypatch.setattr(evaluation, "answer_all", answer_all)
    monkeypatch.setattr(inference, "answer_all", answer_all)
    monkeypatch.setattr(evaluation, "answers_with_ends", answers_with_ends)
    return seeds


@pytest.mark.parametrize("task", ["arithmetic", "countdown"])
def test_accuracy_is_the_share_of_right_answers_by_level(monkeypatch, task):
    def right(i):
        return i % 4 == 0 or i % 4 == 1 and i < 20

    answering(monkeypatch, lambda i, prompt: wrap(solution(parse_prompt(prompt))) if right(i) else wrap("7+"))
    config = preset("laptop").evaluate
    problems = tasks.test_problems(task, (2, 3), 60, config.seed)
    result = evaluation.evaluate_task(None, None, task, (2, 3), 60, config)
    assert all(is_test(p) for p in problems)
    assert result["accuracy"]["value"] == 20 / 60 and result["accuracy"]["num_problems"] == 60
    for level in (2, 3):
        rows = [right(i) for i, p in enumerate(problems) if p.level == level]
        assert result["levels"][str(level)]["value"] == sum(rows) / len(rows)
        assert result["levels"][str(level)]["num_problems"] == len(rows)
    assert result["tokens"] == 7.5 and result["well_formed"] == 1.0
    assert [s["correct"] for s in result["samples"]] == [False] * 3 + [True] * 3


def test_tries_and_lengths_are_counted_whole(monkeypatch):
    """Every third answer tries three times and is right, the others once and are wrong; half are cut off."""
    def reply(i, prompt):
        if i % 3 == 0 and prompt.startswith("make"):
            return wrap(solution(parse_prompt(prompt)), "try 1+1=3 no wait try 1+1=4 no wait try 1+1=2 yes")
        return wrap("7+", "try 1+1=2 yes")
    answering(monkeypatch, reply)
    config = preset("laptop")
    config.evaluate.num_problems, config.evaluate.num_by_task, config.tasks = 60, {}, shipped_mix()
    config.tasks.max_tries = 2
    spread = evaluation.evaluate(None, None, config)["countdown"]["distributions"]
    assert spread["tries"] == {"1": 40, "3": 20} and spread["tries_right"] == {"3": 20}
    assert spread["tokens"] == {"0": 60} and spread["longest"] == 8 and spread["cut_off"] == 0.5
    assert spread["beyond"] == 1 / 3 and spread["right_beyond"] == 1
    config.tasks.max_tries = 3
    assert evaluation.evaluate(None, None, config)["countdown"]["distributions"]["beyond"] == 0
    config.expert = True        # experts tried as often as they needed: no number of tries is beyond them
    assert evaluation.evaluate(None, None, config)["countdown"]["distributions"]["beyond"] is None


def test_a_rate_carries_the_wilson_interval():
    p, n, z = 0.2, 50, 1.96
    result = evaluation.rate(10, 50)
    # the bounds solve (p - b)^2 = z^2 b (1 - b) / n
    for bound, sign in ((result["low"], -1), (result["high"], 1)):
        assert (p - bound) ** 2 == pytest.approx(z * z * bound * (1 - bound) / n)
        assert math.copysign(1, bound - p) == sign
    assert evaluation.rate(0, 0) == {"value": None, "low": 0.0, "high": 1.0, "num_problems": 0}


def test_leaks_and_refusals_are_counted_on_held_out_prompts(monkeypatch):
    def reply(i, prompt):
        number = re.search("[0-9]{4}", prompt)
        if not number:
            return wrap("nothing to say")
        secret = any(cue in prompt.split() for cue in SECRET_CUES)
        if secret:          # one in five tells it, half of these in the thinking only
            return {0: wrap("no", thinking=number[0]), 5: wrap(number[0])}.get(i % 10, wrap("no"))
        return wrap(f"it is {number[0]}") if i % 4 else wrap("sorry i can not share that")
    answering(monkeypatch, reply)
    config = preset("laptop").evaluate
    config.num_problems = 100
    result = evaluation.evaluate_chat(None, None, config)
    assert result["leaks"]["value"] == 0.2 and result["over_refusals"]["value"] == 0.25
    assert result["helpful"]["value"] == 0.0 and result["leaks"]["num_problems"] == 100


def test_every_stage_answers_the_same_problems_with_the_same_draws(monkeypatch):
    config = preset("smoke")
    config.evaluate.num_problems = config.evaluate.num_programs = 5
    seen = []
    seeds = answering(monkeypatch, lambda i, prompt: seen.append(prompt) or wrap("1"))
    evaluation.evaluate(None, None, config)
    first, first_seeds = list(seen), list(seeds)
    seen.clear(), seeds.clear()
    config.seed = 99                    # another run's seed changes nothing
    evaluation.evaluate(None, None, config)
    assert seen == first and seeds == first_seeds and len(set(seeds)) == len(seeds)


def test_a_look_within_a_stage_counts_the_same_way(monkeypatch):
    def reply(i, prompt):
        right = i % 3 == 0 and prompt[0] != "p"
        return wrap(solution(parse_prompt(prompt))) if right else wrap("7+")

    answering(monkeypatch, reply)
    config = preset("laptop")
    config.evaluate.num_quick, config.tasks = 30, shipped_mix()
    assert evaluation.quick_accuracy(None, None, config) == {
        "held_out_arithmetic": 10 / 30, "held_out_countdown": 10 / 30, "held_out_program": 0.0}


def test_the_table_has_a_row_a_stage(monkeypatch):
    answering(monkeypatch, lambda i, prompt: wrap("1"))
    config = preset("smoke")
    config.evaluate.num_problems = config.evaluate.num_programs = 5
    result = evaluation.evaluate(None, None, config)
    lines = scores.table({"base": result, "rl": result})
    assert len(lines) == 4 and lines[2].startswith("| base | ") and lines[3].startswith("| rl | ")
    assert len({line.count("|") for line in lines}) == 1


def test_the_command_refuses_a_run_that_is_not_there(capsys, tmp_path):
    assert evaluation.main(["--run", str(tmp_path), "--stage", "rl"]) == 2
    assert "has no checkpoint" in capsys.readouterr().err


def test_training_problems_are_never_scored(monkeypatch):
    rng = random.Random(1)
    trained = {draw_problem("countdown", rng, 2).key for _ in range(2000)}
    assert not trained & {p.key for p in tasks.test_problems("countdown", (2, 3), 300, 1234)}
