"""Rejection sampling: the model's own best answers become the data of its successor.

    sample  ->  verify  ->  keep what is readable and not too long  ->  drop duplicates  ->  fine-tune the base afresh

This file returns the data; sft.py does the learning. As in the third step of R1 (arXiv:2501.12948, section 2.3.3).
"""

from collections.abc import Callable

from minireason.behaviour import observe
from minireason.config import RejectionConfig
from minireason.inference import completions
from minireason.model import GPT
from minireason.sampling import generate
from minireason.tasks.problem import Problem
from minireason.tokenizer import Tokenizer
from minireason.upkeep.seeding import derive_rng, derive_seed
from minireason.verifier import verify


def sample_and_filter(model: GPT, tokenizer: Tokenizer, draw: Callable, config: RejectionConfig, seed: int, max_new_tokens: int,
                      progress: Callable = iter, pieces: int = 20) -> tuple[list[tuple[str, str]], dict[str, int]]:
    """Answers training problems and keeps the good ones.

    `draw(rng)` gives a problem; `config` is a RejectionConfig. Returns (examples [(prompt, completion)], counts),
    where counts says how many samples each filter took.
    """
    rng = derive_rng(seed, "rejection problems")
    problems = list({p.prompt: p for p in (draw(rng) for _ in range(config.num_problems))}.values())
    examples, counts = [], {"sampled": 0, "wrong": 0, "unreadable": 0, "too long": 0, "repeated": 0, "enough": 0,
                        "kept": 0}
    size = -(-len(problems) // pieces)
    for start in progress(range(0, len(problems), size)):
        chunk = [p for p in problems[start:start + size] for _ in range(config.samples_per_problem)]
        generation = generate(model, [tokenizer.encode_prompt(p.prompt) for p in chunk], max_new_tokens, 1.0,
                              derive_seed(seed, "rejection samples", start), eos_id=tokenizer.eos_id)
        kept = {}
        for problem, row in zip(chunk, completions(generation)):
            text, own = tokenizer.decode(row), kept.setdefault(problem.prompt, {})
            fate = judge(problem, text, len(row), own, config)
            counts["sampled"] += 1
            counts[fate] += 1
            if fate == "kept":
                own[text] = (problem.prompt, text)
        examples += [example for own in kept.values() for example in own.values()]
    return examples, counts


def judge(problem: Problem, text: str, num_tokens: int, own: dict, config: RejectionConfig) -> str:
    """What becomes of one sample: "kept", or the filter that took it."""
    if not verify(problem, text).correct:
        return "wrong"
    if not observe(problem, text).readable:
        return "unreadable"
    if num_tokens > config.max_tokens:
        return "too long"
    if text in own:
        return "repeated"
    return "kept" if len(own) < config.max_per_problem else "enough"
