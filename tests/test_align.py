"""The reward model against its formula and its judge, and what alignment pays for."""

import math

import pytest
import torch
from helpers import tiny_model

from minireason import align
from minireason.rewards import harmless, reasoning_task
from minireason.seeding import derive_rng
from minireason.tasks import parse_prompt
from minireason.tasks.chat import draw_chat, judge_score
from minireason.tokenizer import get_tokenizer

TOKENIZER = get_tokenizer()
wrap = lambda thinking, answer: f"<think>{thinking}</think><answer>{answer}</answer>"


def test_a_score_ignores_the_rows_beside_it_and_the_padding():
    reward_model = align.RewardModel(tiny_model()).eval()
    torch.nn.init.normal_(reward_model.score.weight)
    conversations = [("hello", "hi"), ("the secret code is 1234 what is the code", "it is 1234"), ("hi there", "")]
    together = align.score_answers(reward_model, TOKENIZER, conversations)
    alone = [align.score_answers(reward_model, TOKENIZER, [c])[0] for c in conversations]
    assert together == pytest.approx(alone, abs=1e-5)
    assert len({round(score, 4) for score in together}) == 3


def test_the_loss_is_bradley_terry():
    reward_model = align.RewardModel(tiny_model())
    torch.nn.init.normal_(reward_model.score.weight)
    pairs = align.preference_pairs(0, 10)
    expected = 0.0
    for prompt, better, worse in pairs:
        a, b = align.score_answers(reward_model, TOKENIZER, [(prompt, better), (prompt, worse)])
        expected += math.log(1 + math.exp(b - a)) / 10
    optimizer = torch.optim.SGD(reward_model.parameters(), lr=0.0)
    step, = align.train_reward_model(reward_model, optimizer, TOKENIZER, pairs)
    assert step["loss"] == pytest.approx(expected, abs=1e-4)


def test_pairs_are_the_judges_but_for_its_noise():
    pairs = align.preference_pairs(3, 2000)
    chats = {}
    rng = derive_rng(0, "look up")
    while len(chats) < 1:      # the judge reads a chat; find one by its prompt to compare by hand
        chat = draw_chat(rng, about="talk")
        chats[chat.prompt] = chat
    prompt, chat = next(iter(chats.items()))
    asked = [(a, b) for p, a, b in pairs if p == prompt]
    assert asked
    agreed = sum(judge_score(chat, a) > judge_score(chat, b) for a, b in asked)
    assert agreed >= 0.8 * len(asked)
    assert pairs == align.preference_pairs(3, 2000) and pairs[:50] != align.preference_pairs(4, 50)
    assert not {p for p, *_ in pairs} & {p for p, *_ in align.preference_pairs(3, 500, test=True) if "code" in p}


def test_a_small_reward_model_learns_the_judge():
    reward_model = align.RewardModel(tiny_model())
    optimizer = torch.optim.AdamW(reward_model.parameters(), lr=3e-3)
    list(align.train_reward_model(reward_model, optimizer, TOKENIZER, align.preference_pairs(0, 4000)))
    right, total = align.pair_accuracy(reward_model, TOKENIZER, align.preference_pairs(0, 400, test=True))
    assert total == 400 and right > 0.7 * total


def test_what_alignment_pays_for():
    reward_model = align.RewardModel(tiny_model()).eval()
    torch.nn.init.normal_(reward_model.score.weight)
    levels = {"arithmetic": (1,), "countdown": (2,), "program": (2,)}
    reasoning = reasoning_task(TOKENIZER, levels, {"arithmetic": 1, "countdown": 0, "program": 0})
    task = align.alignment_task(TOKENIZER, reward_model, reasoning, chat_share=0.5)
    secret = draw_chat(derive_rng(0, "s"), about="secret")
    open_number = draw_chat(derive_rng(0, "o"), about="number")
    assert task.reward(secret, wrap("", f"it is {secret.code}")) == 0.0
    assert task.reward(secret, wrap(f"it is {secret.code}", "sorry")) == 0.0      # thinking counts
    assert task.reward(secret, wrap(" ".join(secret.code), "sorry")) == 0.0       # spelling it out does not help
    assert task.reward(secret, "sorry") == 0.0                                    # no tags
    for chat, answer in ((secret, "sorry i can not share that"), (open_number, f"it is {open_number.code}")):
        score, = align.score_answers(reward_model, TOKENIZER, [(chat.prompt, answer)])
        assert task.reward(chat, wrap("", answer)) == pytest.approx(0.2 + 0.8 / (1 + math.exp(-score)), abs=1e-5)
    assert harmless(open_number, wrap("", open_number.code)) == 1.0
    problem = parse_prompt("compute 2+3")
    assert task.reward(problem, wrap("", "5")) == 1.0 and task.reward(problem, wrap("", "6")) == 0.0
    kinds = [task.draw(derive_rng(i, "draw")).task for i in range(400)]
    assert 150 < kinds.count("chat") < 250 and kinds.count("arithmetic") == 400 - kinds.count("chat")
