"""Makes problems by task and level, and reads those that a user types.

Each task is a file of this folder; README.md beside them says how to add one.
"""

import math
import random

from minireason.tasks import arithmetic, countdown, program
from minireason.tasks.contract import check_task
from minireason.tasks.problem import Problem, is_test
from minireason.tasks.task import Task
from minireason.upkeep.seeding import derive_rng

ATTEMPTS_PER_PROBLEM = 500      # of `test_problems`; a tenth of the problems are for testing
FEWEST_ATTEMPTS = 4096          # before it gives up

TASKS: dict[str, Task] = {}     # draws depend on the order, so a new one goes last


def register(task: Task) -> Task:
    """Adds a task to the world. Raises ValueError with one line where it breaks the contract."""
    check_task(task, list(TASKS), [other.word for other in TASKS.values()])
    TASKS[task.name] = task
    return task


register(arithmetic.TASK)
register(countdown.TASK)
register(program.TASK)


def make_problem(task: str, rng: random.Random, level: int = 1) -> Problem:
    """Draws a Problem of a task at one of its levels. Raises ValueError on another task or level."""
    if task not in TASKS:
        raise ValueError(f"unknown task {task!r}: choose from {', '.join(TASKS)}")
    levels = TASKS[task].levels
    if level not in levels:
        raise ValueError(f"unknown level {level!r} of {task}: choose from {', '.join(map(str, levels))}")
    return TASKS[task].make_problem(rng, level)


def draw_problem(task: str, rng: random.Random, level: int, test: bool = False) -> Problem:
    """Draws a Problem from the training side of the split, or from the test side.

    Raises ValueError if that side is empty. A task of your own may have so few problems that all of them are
    for training.
    """
    for _ in range(10_000):
        problem = make_problem(task, rng, level)
        if is_test(problem) == test:
            return problem
    raise ValueError(f"{task} level {level} has no problem for {'testing' if test else 'training'}")


def test_problems(task: str, levels: tuple[int, ...], number: int, seed: int) -> list[Problem]:
    """Draws held-out problems from each level in turn until `number` are distinct. Returns them in order.

    Raises ValueError if there are too few.
    """
    rng = derive_rng(seed, "test", task)
    problems = {}       # {key or prompt: the first problem that has it}
    found = []          # how many there were after 1, 2, 4, 8 ... attempts
    for attempt in range(ATTEMPTS_PER_PROBLEM * number):
        problem = make_problem(task, rng, levels[attempt % len(levels)])
        if is_test(problem):
            identity = problem.prompt if TASKS[task].test_by_prompt else problem.key
            problems.setdefault(identity, problem)
            if len(problems) == number:
                return list(problems.values())
        if attempt + 1 == 2 ** len(found):
            found.append(len(problems))
            if is_hopeless(found, number):
                break
    raise ValueError(f"{task} has fewer than {number} test problems at levels {','.join(map(str, levels))} "
                     f"({len(problems)} were found): ask for fewer or add a level")


def is_hopeless(found: list[int], number: int) -> bool:
    """Whether a search will probably not find `number` distinct problems, so that it can stop early.

    `found` says how many it had found after 1, 2, 4, 8 ... attempts. The last doubling of the attempts added
    `gain` problems, the one before it `gain_before`. While most draws are new, a doubling adds twice as many
    as the one before. If it adds no more than that one, the supply runs out: each later doubling is then
    expected to add `gain` problems at most.
    """
    if 2 ** len(found) <= FEWEST_ATTEMPTS:
        return False
    gain, gain_before = found[-1] - found[-2], found[-2] - found[-3]
    doublings_left = math.log2(ATTEMPTS_PER_PROBLEM * number) - len(found) + 1
    slack = 2       # the last few problems come late
    return gain <= gain_before and found[-1] + (gain + slack) * doublings_left < number


def prompt_words() -> str:
    """The words that begin a problem, as a sentence lists them: `compute, make or program`."""
    *others, last = [task.word for task in TASKS.values()]
    return f"{', '.join(others)} or {last}" if others else last


def parse_prompt(text: str) -> Problem:
    """Turns what a user typed into a Problem, solvable or not. Raises ValueError with one clear line."""
    text = text.strip()
    word = text.split(" ", 1)[0][:20]
    for task in TASKS.values():
        if word == task.word:
            return task.parse(text)
    raise ValueError(f"{word!r} does not begin a problem: begin with {prompt_words()}")
