"""The reward model against its formula and its judge, and what alignment pays for."""

import math
import random
import re

import pytest
import torch
from helpers import tiny_model

from minireason import align
from minireason.rewards import harmless, reasoning_world
from minireason.tasks import parse_prompt
from minireason.tasks.chat import draw_chat
from minireason.tokenizer import get_tokenizer
from minireason.upkeep.seeding import derive_rng

TOKENIZER = get_tokenizer()


def wrap(thinking, answer):
    return f"<think>{thinking}</think><answer>{answer}</answer>"


@pytest.fixture
def pairs_of(monkeypatch):
    """`preference_pairs` of a stand-in for a model that says the number, a wrong one, or flatters,
    or breaks the form."""
    def answer_all(model, tokenizer, prompts, max_new_tokens, seed):
        rng, texts = random.Random(seed), []
        for prompt in prompts:
            code = (re.findall("[0-9]{4}", prompt) or ["hello"])[0]
            answer = rng.choice((f"it is {code}", f"it is {code} happy to help", "it is 12",
                                 "happy to help", None))
            texts.append(("it is", 3) if answer is None else (wrap("so yes", answer), 9))
        return texts
    monkeypatch.setattr(align, "answer_all", answer_all)

    def draw_pairs(seed, num_prompts, test=False):
        return align.preference_pairs(None, TOKENIZER, seed, num_prompts, 40, test)

    return draw_pairs


def test_a_score_ignores_the_rows_beside_it_and_the_padding():
    reward_model = align.RewardModel(tiny_model()).eval()
    torch.nn.init.normal_(reward_model.score.weight)
    conversations = [("hello", "hi"), ("the secret code is 1234 what is the code", "it is 1234"),
                     ("hi there", "")]
    together = align.score_answers(reward_model, TOKENIZER, conversations)
    alone = [align.score_answers(reward_model, TOKENIZER, [c])[0] for c in conversations]
    assert together == pytest.approx(alone, abs=1e-5)
    assert len({round(score, 4) for score in together}) == 3


@pytest.mark.slow
def test_the_loss_is_bradley_terry(pairs_of):
    reward_model = align.RewardModel(tiny_model())
    torch.nn.init.normal_(reward_model.score.weight)
    pairs = pairs_of(0, 40)[:10]
    expected = 0.0
    for prompt, better, worse in pairs:
        a, b = align.score_answers(reward_model, TOKENIZER, [(prompt, better), (prompt, worse)])
        expected += math.log(1 + math.exp(b - a)) / 10
    optimizer = torch.optim.SGD(reward_model.parameters(), lr=0.0)
    steps = list(align.train_reward_model(reward_model, optimizer, TOKENIZER, pairs))
    assert [step["loss"] for step in steps] == pytest.approx([expected] * align.NUM_PASSES, abs=1e-4)


def score_by_hand(prompt, answer):
    """What is asked for 2, a polite word 0.2, a word -0.05."""
    code = re.findall("[0-9]{4}", prompt)
    words = answer.split()
    return 2 * (bool(code) and code[0] in words) + 0.2 * ("happy" in answer) - 0.05 * len(words)


def test_the_judge_prefers_by_bradley_terry(pairs_of):
    """sigmoid(2 * margin): sure of a wrong number, in two minds about three polite words."""
    pairs = [(p, a, b) for p, a, b in pairs_of(3, 30_000) if re.search("[0-9]{4}", p)]
    margins = [score_by_hand(p, a) - score_by_hand(p, b) for p, a, b in pairs]
    assert len(pairs) > 2000 and 0 not in margins      # equal answers and broken ones are none
    assert all("so yes" not in a + b for _, a, b in pairs)
    for least, most in ((0.01, 0.12), (0.12, 1.0), (1.0, 9.0)):
        near = [margin for margin in margins if least <= abs(margin) < most]
        expected = sum(1 / (1 + math.exp(-2 * abs(margin))) for margin in near) / len(near)
        assert len(near) > 800 and abs(sum(margin > 0 for margin in near) / len(near) - expected) < 0.05
    assert pairs_of(3, 50) == pairs_of(3, 50) != pairs_of(4, 50)

    def codes(chosen):
        return {code for p, *_ in chosen for code in re.findall("[0-9]{4}", p)}

    assert not codes(pairs) & codes(pairs_of(3, 1000, test=True))


def test_near_misses_are_one_digit_away_and_for_training_alone(pairs_of):
    def near_miss(a, b):
        changed = [(x.isdigit(), y.isdigit()) for x, y in zip(a, b) if x != y]
        return len(a) == len(b) and changed == [(True, True)]

    shares = []
    for test in (False, True):
        pairs = pairs_of(5, 2000, test=test)
        shares.append(sum(near_miss(a, b) for _, a, b in pairs) / len(pairs))
    assert shares[0] > 0.2 and shares[1] == 0
    assert align.with_wrong_digit("hello", random.Random(0)) == "hello"
    assert {align.with_wrong_digit("7", random.Random(i)) for i in range(200)} == set("012345689")


@pytest.mark.slow
def test_a_small_reward_model_learns_the_judge(pairs_of):
    reward_model = align.RewardModel(tiny_model())
    optimizer = torch.optim.AdamW(reward_model.parameters(), lr=3e-3)
    list(align.train_reward_model(reward_model, optimizer, TOKENIZER, pairs_of(0, 6000)))
    right, total = align.pair_accuracy(reward_model, TOKENIZER, pairs_of(0, 1000, test=True))
    assert 400 < total < 800 and right > 0.65 * total
    assert align.pair_accuracy(reward_model, TOKENIZER, []) == (0, 0)


def test_what_alignment_pays_for():
    reward_model = align.RewardModel(tiny_model()).eval()
    torch.nn.init.normal_(reward_model.score.weight)
    levels = {"arithmetic": (1,), "countdown": (2,), "program": (2,)}
    reasoning = reasoning_world(TOKENIZER, levels, {"arithmetic": 1, "countdown": 0, "program": 0})
    world = align.alignment_world(TOKENIZER, reward_model, reasoning.draw, chat_share=0.5)
    secret = draw_chat(derive_rng(0, "s"), about="secret")
    open_number = draw_chat(derive_rng(0, "o"), about="number")
    problem, refusal = parse_prompt("compute 2+3"), "sorry i can not share that"
    told = f"it is {open_number.code}"
    paid = [(secret, wrap("", f"it is {secret.code}"), 0.0),
            (secret, wrap(f"it is {secret.code}", "sorry"), 0.0),         # thinking counts
            (secret, wrap(" ".join(secret.code), "sorry"), 0.0),          # spelling it out does not help
            (secret, "sorry", 0.0),                                       # no tags
            # kept: that is not for the judge
            (secret, wrap("", refusal), 1.0), (secret, wrap("", "hello"), 1.0),
            (problem, wrap("", "5"), 1.0), (problem, wrap("", "6"), 0.0)]
    for chat, answer in ((open_number, told), (open_number, told), (open_number, refusal)):
        score, = align.score_answers(reward_model, TOKENIZER, [(chat.prompt, answer)])
        paid.insert(2, (chat, wrap("", answer), 0.2 + 0.8 / (1 + math.exp(-score))))
    chats, texts, expected = zip(*paid)
    assert world.reward(chats, texts) == pytest.approx(expected, abs=1e-5)
    assert world.reward([problem], [wrap("", "5")]) == [1.0]               # nobody to be judged
    assert harmless(open_number, wrap("", open_number.code)) == 1.0
    kinds = [world.draw(derive_rng(i, "draw")).task for i in range(400)]
    assert 150 < kinds.count("chat") < 250 and kinds.count("arithmetic") == 400 - kinds.count("chat")
