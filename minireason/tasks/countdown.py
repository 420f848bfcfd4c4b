"""Countdown: `make 42 from 3 8 6`. Use every number exactly once, with + - * and parentheses.

Level 1: two numbers; 2: three digits; 3: three numbers up to 20; 4: four digits. Targets are 1 to 99.
Canonical problems: 1,864 at level 2, 13,217 at level 3 (level 2 among them), 20,387 at level 4.
"""

import random
import re

from minireason.tasks.arithmetic import apply
from minireason.tasks.problem import Problem
from minireason.tasks.words import Voice

LEVELS = {1: (2, 9), 2: (3, 9), 3: (3, 20), 4: (4, 9)}   # level -> how many numbers, the largest
MAX_NUMBERS, MAX_DIGITS = 6, 4                           # bounds on what a user may type
PROMPT = re.compile(r"make (-?[0-9]+) from ([0-9]+(?: [0-9]+)*)", re.ASCII)


def make_problem(rng: random.Random, level: int) -> Problem:
    """Draws numbers, and a target that some expression over them reaches."""
    count, largest = LEVELS[level]
    while True:
        numbers = [rng.randint(1, largest) for _ in range(count)]
        target = numbers[0]
        for number in numbers[1:]:
            operator = rng.choice("+-*")
            target = abs(target - number) if operator == "-" else apply(target, operator, number)
        if 1 <= target <= 99:
            rng.shuffle(numbers)
            return build(target, numbers, level)


def build(target: int, numbers: list[int], level: int = 0) -> Problem:
    text = " ".join(map(str, numbers))
    canonical = " ".join(map(str, sorted(numbers)))
    return Problem("countdown", f"make {target} from {text}", f"countdown {target} {canonical}", level,
                   target=target, numbers=tuple(numbers))


def parse(prompt: str) -> Problem:
    """The problem that a user typed, solvable or not. Raises ValueError with one clear line."""
    match = PROMPT.fullmatch(prompt) if len(prompt) <= 100 else None
    if not match:
        raise ValueError("expected 'make', a target, 'from' and the numbers, such as: make 42 from 3 8 6")
    words = [match[1].lstrip("-"), *match[2].split(" ")]
    if any(len(word) > MAX_DIGITS or (len(word) > 1 and word[0] == "0") for word in words):
        raise ValueError(f"numbers have no leading zeros and at most {MAX_DIGITS} digits")
    if not 1 < len(words) - 1 <= MAX_NUMBERS:
        raise ValueError(f"between 2 and {MAX_NUMBERS} numbers, please")
    return build(int(match[1]), [int(word) for word in words[1:]])


def is_solvable(target: int, numbers: list[int]) -> bool:
    """Whether some expression over all the numbers makes the target: join any two and go on with one fewer."""
    if len(numbers) == 1:
        return numbers[0] == target
    for i, a in enumerate(numbers):
        for j, b in enumerate(numbers[:i]):
            rest = [n for k, n in enumerate(numbers) if k not in (i, j)]
            if any(is_solvable(target, [*rest, value]) for value in {a + b, a - b, b - a, a * b}):
                return True
    return False


def strips(target: int, numbers: list[int]) -> list[tuple[str, int, list[int], str]]:
    """Backward moves: the last number used, what the others must then make, and how to put it back.

    Returns [(step, needed, rest, template)], e.g. ("42-6=36", 36, [3, 8], "{}+6") for 42 from 3 8 6.
    """
    moves = {}
    for i, last in enumerate(numbers):
        rest = numbers[:i] + numbers[i + 1:]
        if target >= last:
            moves[f"{target}-{last}={target - last}"] = (target - last, rest, f"{{}}+{last}")
        if last > target:
            moves[f"{last}-{target}={last - target}"] = (last - target, rest, f"{last}-{{}}")
        if last > 1 and target % last == 0:
            moves[f"{target}/{last}={target // last}"] = (target // last, rest, f"{{}}*{last}")
        if target + last <= 99:
            moves[f"{target}+{last}={target + last}"] = (target + last, rest, f"{{}}-{last}")
    return [(step, *move) for step, move in moves.items()]


def tries(target: int, numbers: list[int]) -> list[tuple[tuple[str, ...], int, list[int], str]]:
    """Every way of working backward to two numbers. Returns [(steps, needed, (a, b), template)]."""
    if len(numbers) == 2:
        return [((), target, numbers, "{}")]
    return [((step, *steps), last_needed, pair, template.format(inner if inner == "{}" else f"({inner})"))
            for step, needed, rest, template in strips(target, numbers)
            for steps, last_needed, pair, inner in tries(needed, rest)]


def pair_results(pair: list[int]) -> list[tuple[str, int]]:
    """The three ways to combine two numbers: [(expression, value)]."""
    high, low = max(pair), min(pair)
    return [(f"{pair[0]}+{pair[1]}", high + low), (f"{high}-{low}", high - low), (f"{pair[0]}*{pair[1]}", high * low)]


def write_thinking(problem: Problem, rng: random.Random, voice: Voice, slip: float = 0.0, max_tries: int = 10,
                   careless: float = 0.0, blind: float = 0.0) -> tuple[str, str]:
    """Tries written out, each ending in a comparison that is on the page; returns (thinking, answer).

        try 42-6=36 3+8=11 is 36 no wait try 42/6=7 8-3=5 is 7 no wait try 42-8=34 3*6=18 is 34 no ...

    What is needed stands beside what was found, so that the verdict is a glance at two neighbours: where it was left
    to memory, a small model said yes to two tries in three that had failed. A try strips a number off the target and
    combines the last two so as to come nearest to what is needed.
    `slip`: the chance that a fact is wrong; `careless`: that the combination is a random one; `blind`: that a failed
    try is called a success. After `max_tries` failures the writer gives up and answers anything.
    """
    parts, found = [], None
    ways = tries(problem.target, list(problem.numbers))
    rng.shuffle(ways)
    for i, (steps, needed, pair, template) in enumerate(ways[:max_tries]):
        parts += [voice("wait")] * (i > 0) + [voice("try"), *steps]
        results = pair_results(pair)
        best = min(results, key=lambda result: abs(result[1] - needed))
        expression, value = rng.choice(results) if rng.random() < careless else best
        if rng.random() < slip:
            value = max(0, value + rng.choice((-10, -2, -1, 1, 2, 10)))
        parts.append(f"{expression}={value} {voice('is')} {needed}")
        if value == needed or rng.random() < blind:
            parts.append(voice("yes"))
            found = template.format(expression if template == "{}" else f"({expression})")
            break
        parts.append(voice("no"))
    if found is None:
        parts.append(voice("giveup"))
        found = write_guess(problem, rng, right=0.0)
    return " ".join(parts), found


def write_guess(problem: Problem, rng: random.Random, right: float = 0.3) -> str:
    """An answer without thinking: a solution with the given chance, else any expression over the numbers."""
    ways = tries(problem.target, list(problem.numbers))
    rng.shuffle(ways)
    if rng.random() < right:
        for _, needed, pair, template in ways:
            for expression, value in pair_results(pair):
                if value == needed:
                    return template.format(expression if template == "{}" else f"({expression})")
    numbers = list(problem.numbers)
    rng.shuffle(numbers)
    text = rng.choice(pair_results(numbers[:2]))[0]
    for number in numbers[2:]:
        text = f"({text}){rng.choice('+-*')}{number}"
    return text
