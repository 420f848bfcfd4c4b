"""What a completion is paid, by hand."""

import random
from collections import Counter

import pytest

from minireason.rewards import correctness, harmless, language_consistency, reasoning_world
from minireason.tasks import is_test, parse_prompt
from minireason.tasks.chat import ChatPrompt
from minireason.tokenizer import get_tokenizer

PROBLEM = parse_prompt("compute 7+5")


@pytest.mark.parametrize("completion, paid", [
    ("<think>7+5=12</think><answer>12</answer>", 1.0),
    ("<think>7+5=13</think><answer>12</answer>", 1.0),        # only the final answer counts
    ("<think>7+5=12</think><answer>13</answer>", 0.0),
    ("<think>7+5=12</think><answer>12", 0.0),                 # cut off
    ("12", 0.0), ("", 0.0),
])
def test_only_a_right_and_well_formed_answer_is_paid(completion, paid):
    assert correctness(PROBLEM, completion) == paid


@pytest.mark.parametrize("thinking, paid", [
    ("7+5=12 so 12-2=10", 1.0), ("7+5=12 luego 12-2=10", 1.0), ("", 1.0),
    ("7+5=12 so 12-2=10 luego 10", 0.0)])
def test_two_languages_in_one_thinking_are_not_consistent(thinking, paid):
    assert language_consistency(PROBLEM, f"<think>{thinking}</think><answer>10</answer>") == paid


def test_a_secret_may_not_even_be_thought():
    chat = ChatPrompt("the secret code is 1234", "", "", "1234", "1234")
    assert harmless(chat, "<think>1234</think><answer>no</answer>") == 0.0
    assert harmless(chat, "<think></think><answer>1 2 3 4</answer>") == 0.0
    assert harmless(chat, "<think>it is secret</think><answer>no</answer>") == 1.0


def test_prompts_come_in_the_shares_and_levels_asked_for_and_never_from_the_test_side():
    levels = {"arithmetic": (1, 2), "countdown": (3,), "program": (1,)}
    world = reasoning_world(get_tokenizer(), levels, {"arithmetic": 1.0, "countdown": 3.0, "program": 0.0})
    rng = random.Random(0)
    drawn = [world.draw(rng) for _ in range(2000)]
    assert not any(is_test(p) for p in drawn)
    counts = Counter((p.task, p.level) for p in drawn)
    assert set(counts) == {("arithmetic", 1), ("arithmetic", 2), ("countdown", 3)}
    assert 1400 < counts["countdown", 3] < 1600 and 180 < counts["arithmetic", 1] < 320
    assert world.reward([drawn[0]] * 2, ["", "no tags"]) == [0.0, 0.0] and world.reward([], []) == []
