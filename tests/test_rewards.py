"""What a completion is paid, by hand."""

import random
from collections import Counter
from types import SimpleNamespace

import pytest

from minireason import stages
from minireason.config import Config
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


RIGHT_AND_MIXED = "<think>7+5=12 so 12-2=10 luego 10</think><answer>12</answer>"
PAID = [      # a completion, and what it is worth where mixing languages has a price of 0.5
    (RIGHT_AND_MIXED, 0.5),
    (RIGHT_AND_MIXED.replace("luego", "so"), 1.0), (RIGHT_AND_MIXED.replace("so", "luego"), 1.0),
    ("<think></think><answer>12</answer>", 1.0),
    (RIGHT_AND_MIXED.replace("12</answer>", "13</answer>"), 0.0),
    (RIGHT_AND_MIXED.replace("luego", "so").replace("12</answer>", "13</answer>"), 0.0),
    (RIGHT_AND_MIXED.removesuffix("</answer>"), 0.0)]


@pytest.mark.parametrize("price", [0.0, 0.25, 0.5, 1.0])
def test_a_right_answer_that_mixes_languages_loses_the_price(price):
    completions, _ = zip(*PAID)
    reward = reasoning_world(get_tokenizer(), {}, {}, language_price=price).reward
    expected = [1 - price if completion == RIGHT_AND_MIXED else paid for completion, paid in PAID]
    assert reward([PROBLEM] * len(PAID), completions) == expected


@pytest.mark.parametrize("pure_rl", [False, True])
def test_the_rl_stage_asks_the_price_and_pure_rl_pays_for_right_answers_alone(pure_rl):
    config = Config(pure_rl=pure_rl)
    reward = stages.rl_world(SimpleNamespace(config=config, tokenizer=get_tokenizer())).reward
    completions, paid = zip(*PAID)
    expected = [1.0 if pure_rl and value else value for value in paid]
    assert config.language_price == 0.5 and reward([PROBLEM] * len(PAID), completions) == expected


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
