"""What the model imitates: a messy toy internet, and a few golden examples.

    python -m minireason.corpus base|golden|expert|chat [--seed N]     prints a page to read

A document is (prompt, completion), both text. The base corpus has everything in it that reinforcement learning can
find use for, and nothing that says which part is good: answers without thinking (often wrong), worked solutions in
two languages and in both at once, slips, some of them noticed and repaired, tries and retries, and giving up.
"""

import argparse
import random
import sys
from collections.abc import Iterable
from typing import Any

from minireason.upkeep.command import exit_codes
from minireason.config import TaskConfig
from minireason.upkeep.seeding import derive_rng
from minireason.tasks import TASKS, draw_problem
from minireason.tasks.arithmetic import apply
from minireason.tasks.chat import draw_chat, write_reply
from minireason.tasks.words import THINKING, Voice
from minireason.verifier import verify

Document = tuple[str, str]      # prompt, completion
SCORED_LEVELS, TASK_SHARES = TaskConfig().levels(), TaskConfig().shares()
DIRECT_SHARES = {"arithmetic": 0.5, "countdown": 0.4, "program": 0.4}    # answers without thinking, mostly wrong
SHORT = {"arithmetic": ("=", 2), "countdown": ("try", 2), "program": ("try", 2)}   # golden: at most two steps, or tries


def wrap(thinking: str, answer: str) -> str:
    return f"<think>{thinking}</think><answer>{answer}</answer>"


def draw_task(rng: random.Random, tasks: Iterable[str]) -> str:
    return rng.choices(list(tasks), weights=[TASK_SHARES[task] for task in tasks])[0]


def up_to(level: int) -> list[int]:
    """Levels to draw from, the harder ones more often: up_to(3) is [1, 2, 2, 3, 3, 3]."""
    return [each for each in range(1, level + 1) for _ in range(each)]


def fact_sheet(rng: random.Random) -> Document:
    """Plain sums, as a multiplication table on the wall: knowledge without any use of it.

    They are the steps that the teachers write.
    """
    facts = []
    while len(facts) < 8:
        operator = rng.choice("++--*")
        left, right = rng.randint(-20, 99), rng.randint(1, rng.choice((9, 20, 81)))
        if operator == "*":
            left, right = rng.randint(1, 20), rng.randint(1, 20)
        if -40 <= (result := apply(left, operator, right)) <= 120:
            facts.append(f"{left}{operator}{right}={result}")
    return "", " ".join(facts)


def base_document(rng: random.Random, levels: dict[str, tuple[int, ...]], aha: bool = True) -> Document:
    """One document of the base corpus; {task: levels} are those trained on, easier ones come too.

    Without `aha` nothing in it checks, repairs or tries again (a control).
    """
    draw = rng.random()
    if draw < 0.08:
        return fact_sheet(rng)
    if draw < 0.18:
        chat = draw_chat(rng)
        return chat.prompt, wrap(*write_reply(chat, rng, good=0.5))
    task = draw_task(rng, levels)
    problem = draw_problem(task, rng, rng.choice(up_to(max(levels[task]))))
    if rng.random() < DIRECT_SHARES[task]:
        return problem.prompt, wrap("", TASKS[task].write_guess(problem, rng))
    language = rng.choice(("en", "es", "mixed", "mixed"))
    options = {
        "arithmetic": {"slip": 0.10, "check": 0.25 if aha else 0.0},
        "countdown": {"slip": 0.05, "careless": 0.15, "blind": 0.05,
                      "max_tries": rng.choice((1, 2, 3, 4, 6, 10)) if aha else 1},
        "program": {"slip": 0.03, "careless": 0.15, "max_tries": rng.choice((1, 2, 4)) if aha else 1},
    }[task]
    return problem.prompt, wrap(*TASKS[task].write_thinking(problem, rng, Voice(rng, language), **options))


def base_corpus(seed: int, num_documents: int, levels: dict[str, tuple[int, ...]] = SCORED_LEVELS,
                aha: bool = True) -> list[Document]:
    """The toy internet: [(prompt, completion)]."""
    rng = derive_rng(seed, "base corpus")
    return [base_document(rng, levels, aha) for _ in range(num_documents)]


def golden_examples(seed: int, number: int, levels: dict[str, tuple[int, ...]] = SCORED_LEVELS,
                    expert: bool = False) -> list[Document]:
    """Clean, correct, English only. Short and below the hardest level, or with `expert` of all scored levels."""
    rng, examples = derive_rng(seed, "expert" if expert else "golden"), []
    while len(examples) < number:
        task = draw_task(rng, levels)
        easier = up_to(max(1, max(levels[task]) - 1))
        problem = draw_problem(task, rng, rng.choice(levels[task] if expert else easier))
        thinking, answer = TASKS[task].write_thinking(problem, rng, Voice(rng, "en"))
        sign, most = SHORT[task]
        lucky = THINKING["giveup"][0] in thinking     # nothing was found, and then it was guessed
        if verify(problem, wrap(thinking, answer)).correct and not lucky and (expert or thinking.count(sign) <= most):
            examples.append((problem.prompt, wrap(thinking, answer)))
    return examples


def chat_examples(seed: int, number: int, good: float = 0.95) -> list[Document]:
    """Conversations as annotators write them: nearly always helpful, with secrets told at times."""
    rng = derive_rng(seed, "chat examples")
    chats = [draw_chat(rng) for _ in range(number)]
    return [(chat.prompt, wrap(*write_reply(chat, rng, good))) for chat in chats]


def tokenize(tokenizer: Any, documents: list[Document]) -> list[tuple[list[int], list[int]]]:
    """[(prompt_ids, completion_ids)] with the end token on each completion; a text without a prompt has none."""
    return [(tokenizer.encode_prompt(prompt) if prompt else [], tokenizer.encode_tagged(completion) + [tokenizer.eos_id])
            for prompt, completion in documents]


@exit_codes("corpus")
def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Print a page of what the model imitates.")
    parser.add_argument("which", choices=("base", "golden", "expert", "chat"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--lines", type=int, default=25)
    args = parser.parse_args(argv)
    documents = {"base": lambda: base_corpus(args.seed, args.lines),
                 "chat": lambda: chat_examples(args.seed, args.lines),
                 "golden": lambda: golden_examples(args.seed, args.lines),
                 "expert": lambda: golden_examples(args.seed, args.lines, expert=True)}[args.which]()
    for prompt, completion in documents:
        print(f"{prompt}\n    {completion}")


if __name__ == "__main__":
    sys.exit(main())
