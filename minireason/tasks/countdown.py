"""Countdown: `make 42 from 3 8 6`. Use every number exactly once, with + - * and parentheses.

Level 1: two numbers; 2: three digits; 3: three numbers up to 20; 4: four digits. Targets are 1 to 99.
Different problems, whatever the order of the numbers: 1,864 at level 2, 13,217 at level 3 (level 2 among
them), 20,387 at level 4. Of these 19,286 are drawn: `make_problem` takes one number after the other.
"""

import random
import re
from collections.abc import Hashable, Iterator
from string import ascii_lowercase
from typing import NamedTuple

from minireason.tasks.problem import Problem, calculate
from minireason.tasks.task import Habits, Mix, Task
from minireason.tasks.trace import find_steps
from minireason.tasks.words import Voice

LEVELS = {1: (2, 9), 2: (3, 9), 3: (3, 20), 4: (4, 9)}   # level -> how many numbers, the largest
MAX_NUMBERS, MAX_DIGITS = 6, 4                           # bounds on what a user may type
PROMPT = re.compile(r"make (-?[0-9]+) from ([0-9]+(?: [0-9]+)*)", re.ASCII)
SYMBOL = re.compile(r"([0-9]+|[-+*()])( ?)", re.ASCII)
QUESTION = re.compile(r"(?<![0-9])[0-9]+[-+*/][0-9]+", re.ASCII)     # the left side of a step
PRECEDENCE = {"+": 1, "-": 1, "*": 2}


def make_problem(rng: random.Random, level: int) -> Problem:
    """Draws numbers, and a target that some expression over them reaches."""
    count, largest = LEVELS[level]
    while True:
        numbers = [rng.randint(1, largest) for _ in range(count)]
        target = numbers[0]
        for number in numbers[1:]:
            operator = rng.choice("+-*")
            # of a difference the larger one is first: either order is an expression
            target = abs(target - number) if operator == "-" else calculate(target, operator, number)
        if 1 <= target <= 99:
            rng.shuffle(numbers)
            return build(target, numbers, level)


def build(target: int, numbers: list[int], level: int = 0) -> Problem:
    """The problem with this target and these numbers. Its key forgets their order."""
    text = " ".join(map(str, numbers))
    canonical = " ".join(map(str, sorted(numbers)))
    return Problem("countdown", f"make {target} from {text}", f"countdown {target} {canonical}", level,
                   target=target, numbers=tuple(numbers))


def parse(prompt: str) -> Problem:
    """The problem that a user typed, solvable or not. Raises ValueError with one clear line."""
    match = PROMPT.fullmatch(prompt) if len(prompt) <= 100 else None
    if not match:
        raise ValueError("expected 'make', a target, 'from' and whole numbers, such as: make 42 from 3 8 6")
    words = [match[1].lstrip("-"), *match[2].split(" ")]
    if any(len(word) > MAX_DIGITS or (len(word) > 1 and word[0] == "0") for word in words):
        raise ValueError(f"numbers have no leading zeros and at most {MAX_DIGITS} digits")
    if not 1 < len(words) - 1 <= MAX_NUMBERS:
        raise ValueError(f"between 2 and {MAX_NUMBERS} numbers, please")
    return build(int(match[1]), [int(word) for word in words[1:]])


def check(problem: Problem, answer: str) -> str | None:
    """Why an answer is refused, or None if it is right.

    An answer uses every given number once, with + - * and parentheses, single spaces between symbols at most.
    It is read from left to right with two stacks, without recursion (the shunting-yard algorithm). Values and
    operators wait there: in 2+3*4 the + is applied after the *. An operator is applied when one that binds no
    more tightly follows, or when its parenthesis or the answer ends.
    Values stay small whatever is written: a number that was not given ends the reading at once.
    """
    remaining = [str(number) for number in problem.numbers]
    values, operators = [], []   # `operators` holds + - * and open parentheses

    def combine():
        right, left = values.pop(), values.pop()
        values.append(calculate(left, operators.pop(), right))

    position, expect_value = 0, True
    while position < len(answer):
        match = SYMBOL.match(answer, position)
        if not match:
            return f"unexpected {answer[position]!r} in the expression"
        symbol, position = match[1], match.end()
        if match[2] and position == len(answer):
            return "the expression ends in a space"
        if symbol.isdigit() or symbol == "(":
            if not expect_value:
                return "two values without an operator between them"
            if symbol == "(":
                operators.append(symbol)
                continue
            if symbol not in remaining:
                return f"{symbol[:8]} is not among the numbers left to use"
            remaining.remove(symbol)
            values.append(int(symbol))
            expect_value = False
        elif expect_value:
            return f"a value is missing before {symbol!r}"
        elif symbol == ")":
            while operators and operators[-1] != "(":
                combine()
            if not operators:
                return "a parenthesis is closed that was never opened"
            operators.pop()
        else:
            while operators and operators[-1] != "(" and PRECEDENCE[operators[-1]] >= PRECEDENCE[symbol]:
                combine()
            operators.append(symbol)
            expect_value = True
    if expect_value:
        return "the expression is empty or ends in an operator"
    while operators:
        if operators[-1] == "(":
            return "a parenthesis is never closed"
        combine()
    if remaining:
        return f"unused: {' '.join(remaining)}"
    return None if values == [problem.target] else f"the expression makes {values[0]}, not {problem.target}"


def canonical_answer(answer: str) -> str:
    """The expression without its optional spaces."""
    return re.sub(" ?([-+*()]) ?", r"\1", answer)


def is_solvable(target: int, numbers: list[int]) -> bool:
    """Whether an expression over all numbers makes the target.

    Replaces each pair of numbers by each value that it can make, and asks the same of the shorter list.
    """
    if len(numbers) == 1:
        return numbers[0] == target
    for i, a in enumerate(numbers):
        for j, b in enumerate(numbers[:i]):
            rest = [number for k, number in enumerate(numbers) if k not in (i, j)]
            for value in {a + b, a - b, b - a, a * b}:
                if is_solvable(target, [*rest, value]):
                    return True
    return False


def remark(problem: Problem) -> str:
    """Says that there is no solution; "" if there is one, or if six numbers would take too long to search."""
    if len(problem.numbers) < 6 and not is_solvable(problem.target, list(problem.numbers)):
        return "there is no solution with + - * that uses each number once"
    return ""


class Move(NamedTuple):
    """One step backward from the target: it undoes an operation with which an answer may end.

    For 42 from 3 6 8 an answer may end in +6. Then 3 and 8 have to make 36.
    """
    step: str                   # "b 42-6=36"
    needed: int | None          # 36: what the other numbers have to make; None: a division is not even
    rest: list[int]             # [3, 8], the other numbers
    template: str               # "{}+6": how their expression becomes the answer


def moves_back(target: int, numbers: list[int]) -> list[Move]:
    """All moves backward from the target. Each has a letter, in this order.

    Of three numbers the first, second and third one is taken away from the target (a, b, c), divides it
    (d, e, f) and is added to it (g, h, i). Four numbers have the letters a to l.
    """
    others = [numbers[:i] + numbers[i + 1:] for i in range(len(numbers))]
    moves = []

    def add(step: str, needed: int | None, rest: list[int], template: str) -> None:
        letter = ascii_lowercase[len(moves)]
        moves.append(Move(f"{letter} {step}", needed, rest, template))

    for last, rest in zip(numbers, others):
        if target >= last:
            add(f"{target}-{last}={target - last}", target - last, rest, f"{{}}+{last}")
        else:
            add(f"{last}-{target}={last - target}", last - target, rest, f"{last}-{{}}")
    for last, rest in zip(numbers, others):
        if last and target % last == 0:
            add(f"{target}/{last}={target // last}", target // last, rest, f"{{}}*{last}")
        else:
            add(f"{target}/{last}", None, rest, "{}")
    for last, rest in zip(numbers, others):
        add(f"{target}+{last}={target + last}", target + last, rest, f"{{}}-{last}")
    return moves


class Way(NamedTuple):
    """One way of working backward from the target to two numbers."""
    steps: tuple[str, ...]      # such as ("b 42-6=36",)
    needed: int | None          # what the last two numbers must make; None: a division on the way is not even
    pair: list[int]             # these two
    template: str               # how their expression becomes the answer: "{}+6"

    def fill(self, expression: str) -> str:
        """The answer, with the expression of the last two numbers in its place."""
        return self.template.format(expression if self.template == "{}" else f"({expression})")


def ways(target: int, numbers: list[int]) -> Iterator[Way]:
    """Every way of working backward from the target to two numbers."""
    if len(numbers) == 2:
        yield Way((), target, numbers, "{}")
        return
    for move in moves_back(target, numbers):
        if move.needed is None:
            yield Way((move.step,), None, [], "{}")
            continue
        for way in ways(move.needed, move.rest):    # `fill` adds the parentheses of the last two numbers
            inner = way.template if way.template == "{}" else f"({way.template})"
            yield Way((move.step, *way.steps), way.needed, way.pair, move.template.format(inner))


def pair_results(pair: list[int]) -> list[tuple[str, int]]:
    """The three ways to combine two numbers: [(expression, value)]."""
    first, second = pair
    high, low = max(pair), min(pair)
    return [(f"{first}+{second}", first + second),
            (f"{high}-{low}", high - low),
            (f"{first}*{second}", first * second)]


def write_thinking(problem: Problem, rng: random.Random, voice: Voice, slip: float = 0.0, max_tries: int = 10,
                   careless: float = 0.0, blind: float = 0.0) -> tuple[str, str]:
    """Tries written out, each ending in a verdict. Returns (thinking, answer). For 70 from 6 13 10:

        try c 70-10=60 6*13=78 is 60 no wait try d 70/6 no wait try e 70/13 no wait
        try f 70/10=7 13-6=7 is 7 yes

    A try strips numbers off the target, and combines the last two to come nearest to the needed value. This
    value is written beside the result (`78 is 60`), so the verdict needs no memory. Without it, a small model
    said yes to two of three tries that had failed. Tries follow their letters from a random one on, and a
    follows i. The letters show at a glance what was tried, and a model that knows the alphabet may go on for
    longer than any text did. Without letters a small model repeated itself in every fifth answer.
    `slip`: the chance that a fact is wrong; `careless`: that the combination is a random one; `blind`: that a
    failed try is called a success. After `max_tries` failures the writer gives up and answers anything.
    """
    parts = []
    candidates = list(ways(problem.target, list(problem.numbers)))
    first = rng.randrange(len(candidates))
    candidates = candidates[first:] + candidates[:first]
    for i, way in enumerate(candidates[:max_tries]):
        if i > 0:
            parts.append(voice("wait"))
        parts += [voice("try"), *way.steps]
        if way.needed is None:
            parts.append(voice("no"))
            continue
        results = pair_results(way.pair)
        expression, value = min(results, key=lambda result: abs(result[1] - way.needed))
        if rng.random() < careless:
            expression, value = rng.choice(results)
        if rng.random() < slip:
            value = max(0, value + rng.choice((-10, -2, -1, 1, 2, 10)))
        parts.append(f"{expression}={value} {voice('is')} {way.needed}")
        if value == way.needed or rng.random() < blind:
            parts.append(voice("yes"))
            return " ".join(parts), way.fill(expression)
        parts.append(voice("no"))
    parts.append(voice("giveup"))
    return " ".join(parts), write_guess(problem, rng, right=0.0)


def write_messy(problem: Problem, rng: random.Random, voice: Voice, habits: Habits) -> tuple[str, str]:
    """Tries as people write them: slips, careless combinations, and failures that are called a success."""
    return write_thinking(problem, rng, voice, slip=0.015, careless=0.08, blind=0.015, max_tries=habits.tries)


def write_guess(problem: Problem, rng: random.Random, right: float = 0.3) -> str:
    """An answer without thinking: a solution with the given chance, else any expression over the numbers."""
    candidates = [way for way in ways(problem.target, list(problem.numbers)) if way.needed is not None]
    rng.shuffle(candidates)
    if rng.random() < right:
        for way in candidates:
            for expression, value in pair_results(way.pair):
                if value == way.needed:
                    return way.fill(expression)
    numbers = list(problem.numbers)
    rng.shuffle(numbers)
    text = rng.choice(pair_results(numbers[:2]))[0]
    for number in numbers[2:]:
        text = f"({text}){rng.choice('+-*')}{number}"
    return text


def unseen(problem: Problem) -> str:
    """Names something in a user's problem that no preset's training draws; "" if it finds nothing."""
    most_numbers, largest = LEVELS[TASK.hardest_of_presets()]
    if max(problem.numbers) > largest:
        return f"numbers above {largest}"
    if len(problem.numbers) > most_numbers:
        return f"more than {most_numbers} numbers"
    return "" if 1 <= problem.target <= 99 else "targets outside 1 to 99"


def problem_of_fact(left: int, operator: str, right: int) -> Problem | None:
    """The problem of level 1 that a fact such as 7*8=56 solves, or None."""
    target = calculate(left, operator, right)
    are_digits = 1 <= left <= 9 and 1 <= right <= 9
    return build(target, [left, right], level=1) if are_digits and 1 <= target <= 99 else None


def candidate(problem: Problem, text: str) -> Hashable:
    """What a try tries: the left sides of its steps and of a division that is not even: ("42-6", "3*8").

    Two tries of one thought with the same candidate count as one distinct try.
    """
    return tuple(QUESTION.findall(text))


def succeeds(problem: Problem, text: str) -> bool:
    """Whether a try makes the target.

    Each step must be true and strip a given number off the target, by - + or /, which the answer undoes by
    + - or *. The last one must make what is then needed from the two numbers that are left, by + - or *.
    """
    steps = find_steps(text)
    if not steps or not all(step.right for step in steps):
        return False
    needed, left_over = str(problem.target), [str(number) for number in problem.numbers]
    for step in steps[:-1]:
        left, operator, right = step.question
        if left == needed and operator in "-+/":
            stripped = right            # 42-6=36 strips the 6
        elif right == needed and operator == "-":
            stripped = left             # 50-42=8 strips the 50
        else:
            return False
        if stripped not in left_over:
            return False
        left_over.remove(stripped)
        needed = step.result
    left, operator, right = steps[-1].question
    makes_needed = operator in "-+*" and steps[-1].result == needed
    return makes_needed and sorted(left_over) == sorted((left, right))


def follows(problem: Problem, thinking: str, answer: str) -> bool:
    """Whether the left side of the last step stands in the answer: 13-6 of `13-6=7` stands in (13-6)*10.

    True where nothing was worked out.
    """
    steps = find_steps(thinking)
    if not steps:
        return True
    last = re.escape("".join(steps[-1].question))
    return bool(re.search(rf"(?<![0-9]){last}(?![0-9])", answer.replace(" ", "")))


TASK = Task(
    name="countdown", word="make", example="make 45 from 3 6 8", words=("make", "from", *"abcdefghi"),
    levels=tuple(LEVELS),
    presets={"smoke": Mix((1, 2), 0.0), "laptop": Mix((2, 3), 0.54), "gpu": Mix((2, 3), 0.54)},
    make_problem=make_problem, parse=parse, check=check,
    write_thinking=write_thinking, write_messy=write_messy, write_guess=write_guess,
    problem_of_fact=problem_of_fact, candidate=candidate, succeeds=succeeds, follows=follows,
    canonical_answer=canonical_answer, remark=remark, unseen=unseen, averaged=True)
