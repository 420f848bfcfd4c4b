"""Rejection sampling: the model's own best answers become the data of its successor.

    sample  ->  verify  ->  keep what is readable and short  ->  drop duplicates  ->  fine-tune the base

This file returns the data; sft.py does the learning. As in the third step of R1 (arXiv:2501.12948, 2.3.3).
"""

import math
import random
from collections.abc import Callable, Collection

from minireason.behaviour import observe
from minireason.config import RejectionConfig
from minireason.inference import answer_all
from minireason.model import GPT
from minireason.tasks.problem import Problem
from minireason.tokenizer import Tokenizer
from minireason.upkeep.seeding import derive_rng, derive_seed
from minireason.verifier import verify

FATES = ("sampled", "wrong", "unreadable", "too long", "repeated", "enough", "kept")


def sample_and_filter(model: GPT, tokenizer: Tokenizer, draw: Callable, config: RejectionConfig, seed: int,
                      max_new_tokens: int, progress: Callable = iter,
                      pieces: int = 20) -> tuple[list[tuple[str, str]], dict[str, int]]:
    """Answers training problems, drawn by `draw(rng)`, and keeps the good answers.

    Returns (examples [(prompt, completion)], counts). `counts` is {one of FATES: number of samples}, where
    "sampled" counts them all. The problems are answered in `pieces` parts. `progress` wraps the loop over
    these, as tqdm does to show a bar.
    """
    problems = distinct_problems(draw, config.num_problems, derive_rng(seed, "rejection problems"))
    counts = dict.fromkeys(FATES, 0)
    examples = []
    piece_size = math.ceil(len(problems) / pieces)
    for start in progress(range(0, len(problems), piece_size)):
        repeated_problems = []
        for problem in problems[start:start + piece_size]:
            repeated_problems += [problem] * config.samples_per_problem
        prompts = [problem.prompt for problem in repeated_problems]
        answers = answer_all(model, tokenizer, prompts, max_new_tokens,
                             derive_seed(seed, "rejection samples", start))

        problem_texts = {}      # {prompt: the texts kept so far}
        for problem, (text, num_tokens) in zip(repeated_problems, answers):
            texts = problem_texts.setdefault(problem.prompt, [])
            fate = fate_of(problem, text, num_tokens, texts, config)
            counts["sampled"] += 1
            counts[fate] += 1
            if fate == "kept":
                texts.append(text)
                examples.append((problem.prompt, text))
    return examples, counts


def distinct_problems(draw: Callable, number: int, rng: random.Random) -> list[Problem]:
    """Draws a number of problems, and leaves out those whose prompt was drawn before."""
    problems = {}       # by prompt
    for _ in range(number):
        problem = draw(rng)
        problems[problem.prompt] = problem
    return list(problems.values())


def fate_of(problem: Problem, text: str, num_tokens: int, kept_texts: Collection[str],
            config: RejectionConfig) -> str:
    """What becomes of one sample: "kept", or the filter that took it.

    `kept_texts` are those that were kept of the same problem before. A text that was cut off is "wrong", as
    it is not well formed. One exception: if nothing but the end token is missing, it may stay, since
    `corpus.tokenize` writes that token. (RL pays nothing for such a text.)
    """
    if not verify(problem, text).correct:
        return "wrong"
    if not observe(problem, text).readable:
        return "unreadable"
    if num_tokens > config.max_tokens:
        return "too long"
    if text in kept_texts:
        return "repeated"
    return "kept" if len(kept_texts) < config.max_per_problem else "enough"
