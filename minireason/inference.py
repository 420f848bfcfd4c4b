"""More thought for one question: many answers and a vote, or a budget of thinking with a forced answer.

Thinking ends where its budget does: `</think><answer>` is then written for the model, which has only to
answer (budget forcing, arXiv:2501.19393). Without the forced answer, a budget would measure nothing but
truncation.
"""

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from minireason.model import GPT
from minireason.sampling import generate
from minireason.tasks.problem import Problem
from minireason.tokenizer import Tokenizer
from minireason.upkeep.seeding import derive_seed
from minireason.verifier import canonical_answer, split_completion, verify

MAX_ANSWER = 40     # tokens of an answer that was forced
NUM_TAGS = 3        # tokens before it that are not thinking: <think>, </think>, <answer>


class Answer(NamedTuple):
    text: str
    num_tokens: int     # the end token included
    ended: bool         # False where it was cut off: there is no end token


def answer_all(model: GPT, tokenizer: Tokenizer, prompts: list[str], max_new_tokens: int, seed: int,
               temperature: float = 1.0,
               on_token: Callable[[int, int], None] | None = None) -> list[tuple[str, int]]:
    """One completion for each prompt. Returns [(text, number of tokens)]; a text may be cut off."""
    answers = answers_with_ends(model, tokenizer, prompts, max_new_tokens, seed, temperature, on_token)
    return [(answer.text, answer.num_tokens) for answer in answers]


def which_are_right(model: GPT, tokenizer: Tokenizer, problems: list[Problem], max_new_tokens: int,
                    seed: int) -> list[bool]:
    """Whether the model's answer to each problem is right, one answer each at temperature 1."""
    prompts = [problem.prompt for problem in problems]
    answers = answer_all(model, tokenizer, prompts, max_new_tokens, seed)
    return [verify(problem, text).correct for problem, (text, _) in zip(problems, answers)]


def answers_with_ends(model: GPT, tokenizer: Tokenizer, prompts: list[str], max_new_tokens: int, seed: int,
                      temperature: float = 1.0,
                      on_token: Callable[[int, int], None] | None = None) -> list[Answer]:
    """The same as `answer_all`, and whether each one ended."""
    ids = [tokenizer.encode_prompt(prompt) for prompt in prompts]
    generation = generate(model, ids, max_new_tokens, temperature, seed, eos_id=tokenizer.eos_id,
                          on_token=on_token)
    rows = generation.unpadded()
    return [Answer(tokenizer.decode(row), len(row), row[-1] == tokenizer.eos_id) for row in rows]


def answer_within(model: GPT, tokenizer: Tokenizer, prompts: list[str], budget: int, seed: int,
                  temperature: float = 1.0, on_token: Callable[[int, int], None] | None = None,
                  max_new_tokens: int | None = None) -> list[tuple[str, int]]:
    """As `answer_all`, but with at most `budget` tokens of thinking. Returns [(text, number of tokens)].

    `max_new_tokens` limits thinking, tags and answer together. Raises ValueError if it leaves no answer.
    """
    longest_answer = MAX_ANSWER
    if max_new_tokens is not None:
        longest_answer = min(MAX_ANSWER, max_new_tokens - budget - NUM_TAGS)
    if longest_answer < 1:
        raise ValueError(f"{max_new_tokens} tokens have no room for an answer after {budget} of thinking")
    prompt_ids = [tokenizer.encode_prompt(prompt) for prompt in prompts]
    # one token more than the budget, for the <think> that comes first
    generation = generate(model, prompt_ids, budget + 1, temperature, seed, eos_id=tokenizer.eos_id,
                          on_token=on_token)
    rows = generation.unpadded()                               # the ids of each completion
    forced = tokenizer.encode_tagged("</think><answer>")
    unfinished = [i for i, row in enumerate(rows) if row[-1] != tokenizer.eos_id]
    # thinking that has not ended is ended here; an answer that has begun goes on below
    for i in unfinished:
        thinking_ended = forced[0] in rows[i]                  # forced[0] is </think>
        if not thinking_ended:
            rows[i] = rows[i] + forced
            if on_token:
                for token in forced:
                    on_token(i, token)

    def on_unfinished_token(row: int, token: int) -> None:
        if on_token:
            on_token(unfinished[row], token)

    if unfinished:
        inputs = [prompt_ids[i] + rows[i] for i in unfinished]
        generation = generate(model, inputs, longest_answer, temperature, derive_seed(seed, "forced answer"),
                              eos_id=tokenizer.eos_id, on_token=on_unfinished_token)
        for i, rest in zip(unfinished, generation.unpadded()):
            rows[i] = rows[i] + rest
    return [(tokenizer.decode(row), len(row)) for row in rows]


def vote(problem: Problem, texts: list[str]) -> tuple[int, dict[str, int]]:
    """The majority among completions of one problem (arXiv:2203.11171). Returns (index, {answer: votes}).

    `index` is the first completion that gives the winning answer. Among equals the answer given first wins.
    What is not well formed has no vote; if nothing is well formed, the index is 0.
    """
    votes, first_index = Counter(), {}
    for i, text in enumerate(texts):
        parts = split_completion(text)                # (thinking, answer)
        if parts is None:
            continue                                  # not well formed: no vote
        answer = canonical_answer(problem, parts[1])
        votes[answer] += 1
        first_index.setdefault(answer, i)
    if not votes:
        return 0, {}
    winner = max(votes, key=votes.get)                # of equals, `max` takes the one that came first
    return first_index[winner], dict(votes)
