"""Problems by task and level, and back from what a user types."""

import random

from minireason.upkeep.seeding import derive_rng
from minireason.tasks import arithmetic, countdown, program
from minireason.tasks.problem import Problem, is_test  # noqa: F401

TASKS = {"arithmetic": arithmetic, "countdown": countdown, "program": program}


def make_problem(task: str, rng: random.Random, level: int = 1) -> Problem:
    """Draws a Problem of a task at a level from 1 (trivial) to 4 (hard). Raises ValueError on any other."""
    if task not in TASKS:
        raise ValueError(f"unknown task {task!r}: choose from {', '.join(TASKS)}")
    if level not in TASKS[task].LEVELS:
        raise ValueError(f"unknown level {level!r} of {task}: choose from {', '.join(map(str, TASKS[task].LEVELS))}")
    return TASKS[task].make_problem(rng, level)


def draw_problem(task: str, rng: random.Random, level: int, test: bool = False) -> Problem:
    """Draws a Problem from the training side of the split, or from the test side. Raises ValueError where it is empty:
    the 22 functions of program level 1, for example, all happen to be for training."""
    for _ in range(10_000):
        problem = make_problem(task, rng, level)
        if is_test(problem) == test:
            return problem
    raise ValueError(f"{task} level {level} has no problem for {'testing' if test else 'training'}")


def test_problems(task: str, levels: tuple[int, ...], number: int, seed: int) -> list[Problem]:
    """`number` distinct held-out problems, the levels in turn. Raises ValueError where there are too few."""
    chosen, rng = {}, derive_rng(seed, "test", task)
    for attempt in range(500 * number):
        problem = make_problem(task, rng, levels[attempt % len(levels)])
        if is_test(problem):
            chosen.setdefault(problem.prompt if task == "program" else problem.key, problem)
            if len(chosen) == number:
                return list(chosen.values())
    raise ValueError(f"{task} has fewer than {number} test problems at levels {levels}: ask for fewer or add a level")


def parse_prompt(text: str) -> Problem:
    """The Problem in a user's words, solvable or not. Raises ValueError with one clear line."""
    text = text.strip()
    name = text.split(" ", 1)[0][:20]
    for task, word in (("arithmetic", "compute"), ("countdown", "make"), ("program", "program")):
        if name == word:
            return TASKS[task].parse(text)
    raise ValueError(f"{name!r} starts no problem: begin with compute, make or program")
