"""Votes counted by hand, and budgets of thinking on a model that always says the same sentence."""

from types import SimpleNamespace

import pytest
import torch

from minireason.config import ModelConfig
from minireason.inference import answer_all, answer_within, answers_with_ends, vote
from minireason.tasks import parse_prompt
from minireason.tokenizer import get_tokenizer

TOKENIZER = get_tokenizer()
WORDS = "try so wait check ok yes no is"
SENTENCE = f"<think>{WORDS}</think><answer>9</answer>"      # no token twice: each one tells the next


def wrap(answer):
    return f"<think></think><answer>{answer}</answer>"


def parrot():
    """A stand-in for GPT: whatever was said last decides what comes next, with certainty."""
    ids = [TOKENIZER.encode_prompt("hello")[-1], *TOKENIZER.encode_tagged(SENTENCE), TOKENIZER.eos_id]
    assert len(set(ids)) == len(ids)
    table = torch.zeros(TOKENIZER.vocab_size, TOKENIZER.vocab_size)
    for now, then in zip(ids, ids[1:]):
        table[now, then] = 100.0
    config = ModelConfig(vocab_size=TOKENIZER.vocab_size, num_layers=1)
    return SimpleNamespace(config=config, embedding=SimpleNamespace(weight=table),
                           hidden=lambda ids, cache=None: table[ids], head=lambda hidden: hidden)


def test_without_a_budget_the_whole_sentence_is_said():
    (text, num_tokens), = answer_all(parrot(), TOKENIZER, ["hello"], 40, seed=0)
    assert text == SENTENCE and num_tokens == len(TOKENIZER.encode_tagged(SENTENCE)) + 1


def test_a_text_that_is_cut_off_stays_as_it_is():
    assert answer_all(parrot(), TOKENIZER, ["hello"], 3, seed=0) == [("<think>try so ", 3)]


def test_an_answer_ended_if_its_end_token_is_there():
    """At the limit too: the last token that fits may be the end token, or the one before it."""
    full = len(TOKENIZER.encode_tagged(SENTENCE)) + 1
    for limit, ended in ((full + 5, True), (full, True), (full - 1, False), (3, False)):
        [answer] = answers_with_ends(parrot(), TOKENIZER, ["hello"], limit, seed=0)
        assert answer.ended == ended and answer.num_tokens == min(limit, full)
        assert [(answer.text, answer.num_tokens)] == answer_all(parrot(), TOKENIZER, ["hello"], limit, seed=0)


def test_a_budget_cuts_the_thinking_and_forces_an_answer():
    thinking = TOKENIZER.encode_tagged(WORDS)
    full = len(thinking)
    for budget in (0, 1, 4, full - 1):
        (text, num_tokens), = answer_within(parrot(), TOKENIZER, ["hello"], budget, seed=0, temperature=0)
        cut = TOKENIZER.decode(thinking[:budget])
        assert text == f"<think>{cut}</think><answer>9</answer>"
        assert num_tokens == 1 + budget + 2 + 3    # <think>, thoughts, the two forced tags, 9 </answer> <eos>


def test_a_budget_that_is_enough_changes_nothing():
    for budget in (8, 20, 60):
        free = answer_all(parrot(), TOKENIZER, ["hello"], 60, seed=0, temperature=0)
        assert answer_within(parrot(), TOKENIZER, ["hello"], max(budget, 12), seed=0, temperature=0) == free


def test_a_budget_and_a_limit_hold_together():
    """The limit is for everything: <think>, thoughts, the two forced tags, and what is left to answer."""
    for budget, limit in ((0, 4), (2, 7), (4, 100), (300, 500), (8, 12)):
        for text, num_tokens in answer_within(parrot(), TOKENIZER, ["hello"] * 3, budget, seed=0,
                                              max_new_tokens=limit):
            assert num_tokens <= limit and "<answer>9" in text
            thinking = text.partition("</think>")[0].removeprefix("<think>")
            assert len(TOKENIZER.encode(thinking)) <= budget
    for budget, limit in ((4, 7), (60, 63)):       # the text ends within 60 tokens: refused all the same
        with pytest.raises(ValueError, match="no room for an answer"):
            answer_within(parrot(), TOKENIZER, ["hello"], budget, seed=0, max_new_tokens=limit)


def test_what_is_streamed_is_what_is_said():
    heard = {0: [], 1: []}
    answers = answer_within(parrot(), TOKENIZER, ["hello", "hello"], 3, seed=0, temperature=0,
                            on_token=lambda row, token: heard[row].append(token))
    for row, (text, num_tokens) in enumerate(answers):
        assert TOKENIZER.decode(heard[row]) == text and len(heard[row]) == num_tokens


@pytest.mark.parametrize("answers, index, votes", [
    (["24", "25", "25"], 1, {"24": 1, "25": 2}),
    (["24", "25"], 0, {"24": 1, "25": 1}),                 # a tie goes to the one given first
    (["8 - 3", "8-3", "24"], 0, {"8-3": 2, "24": 1}),      # spaces do not make another answer
])
def test_the_majority_by_hand(answers, index, votes):
    assert vote(parse_prompt("make 24 from 3 8"), [wrap(answer) for answer in answers]) == (index, votes)


def test_what_is_not_well_formed_has_no_vote():
    problem = parse_prompt("compute 2+3")
    assert vote(problem, ["5", "5", "", wrap("6")]) == (3, {"6": 1})
    assert vote(problem, ["5", "<think>"]) == (0, {})
