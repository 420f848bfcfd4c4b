"""More thought for one question: many answers and a vote, or a budget of thinking with a forced answer.

Thinking ends where its budget does: `</think><answer>` is then written for the model, which has only to answer
(budget forcing, arXiv:2501.19393). Without the forced answer a budget would measure nothing but truncation.
"""

from collections import Counter
from collections.abc import Callable

from minireason.model import GPT
from minireason.sampling import Generation, generate
from minireason.upkeep.seeding import derive_seed
from minireason.tasks.problem import Problem
from minireason.tokenizer import Tokenizer
from minireason.verifier import canonical_answer, split_completion

MAX_ANSWER = 40     # tokens of an answer that was forced


def answer_all(model: GPT, tokenizer: Tokenizer, prompts: list[str], max_new_tokens: int, seed: int, temperature: float = 1.0,
               on_token: Callable[[int, int], None] | None = None) -> list[tuple[str, int]]:
    """One completion for each prompt. Returns [(text, number of tokens)]; a text cut off before its end stays as it is."""
    ids = [tokenizer.encode_prompt(prompt) for prompt in prompts]
    generation = generate(model, ids, max_new_tokens, temperature, seed, eos_id=tokenizer.eos_id, on_token=on_token)
    return [(tokenizer.decode(row), len(row)) for row in completions(generation)]


def answer_within(model: GPT, tokenizer: Tokenizer, prompts: list[str], budget: int, seed: int, temperature: float = 1.0,
                  on_token: Callable[[int, int], None] | None = None) -> list[tuple[str, int]]:
    """As `answer_all`, but nobody thinks for more than `budget` tokens. Returns [(text, number of tokens)]."""
    ids = [tokenizer.encode_prompt(prompt) for prompt in prompts]
    generation = generate(model, ids, budget + 1, temperature, seed, eos_id=tokenizer.eos_id, on_token=on_token)
    answers = completions(generation)                          # <think> and the budget
    forced = tokenizer.encode_tagged("</think><answer>")
    unfinished = [i for i, row in enumerate(answers) if row[-1] != tokenizer.eos_id]
    for i in unfinished:
        if forced[0] not in answers[i]:
            answers[i] = answers[i] + forced
            for token in forced if on_token else ():
                on_token(i, token)
    if unfinished:
        generation = generate(model, [ids[i] + answers[i] for i in unfinished], MAX_ANSWER, temperature,
                              derive_seed(seed, "forced answer"), eos_id=tokenizer.eos_id,
                              on_token=on_token and (lambda row, token: on_token(unfinished[row], token)))
        for i, rest in zip(unfinished, completions(generation)):
            answers[i] = answers[i] + rest
    return [(tokenizer.decode(row), len(row)) for row in answers]


def completions(generation: Generation) -> list[list[int]]:
    """The ids of each completion, up to and including its end token, as lists."""
    lengths = generation.completion_mask.sum(1).long().tolist()
    return [row[:length] for row, length in zip(generation.completion_ids.tolist(), lengths)]


def vote(problem: Problem, texts: list[str]) -> tuple[int, dict[str, int]]:
    """The majority among completions of one problem (arXiv:2203.11171). Returns (index, {answer: votes}).

    `index` is the first completion that gives the winning answer; among equals the one given first wins, and where
    nothing is well formed it is 0. What is not well formed has no vote.
    """
    votes, first = Counter(), {}
    for i, text in enumerate(texts):
        if parts := split_completion(text):
            answer = canonical_answer(problem, parts[1])
            votes[answer] += 1
            first.setdefault(answer, i)
    return (first[max(votes, key=votes.get)] if votes else 0), dict(votes)
