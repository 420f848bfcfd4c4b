"""Arithmetic chains: `compute 7*7+8*3-9`. Terms are digits or products of two digits, joined by + and -.

Level 1: two terms; 2: three; 3: four or five; 4: six to eight. Results are 0 to 99; values on the way may be
negative. Levels 2 and 3 are scored: chains have far more canonical forms than any test set needs.
Level 0 is a world of its own, for the smoke preset: four digits, such as `compute 7-3+8-5`, and every
total is 0 to 20. So few facts, shared by so many problems, are learned in a minute.
"""

import math
import random
import re

from minireason.tasks.problem import Problem, calculate
from minireason.tasks.task import Habits, Mix, Task
from minireason.tasks.trace import STEP, find_steps
from minireason.tasks.words import Voice

LEVELS = {1: (2, 2), 2: (3, 3), 3: (4, 5), 4: (6, 8)}   # level -> fewest and most terms
EASY_LENGTH, EASY_TOTAL = 4, 20                        # of level 0: digits, and the highest total
PRODUCT_SHARE = 0.4                                    # share of terms that are products
MAX_CHARACTERS, MAX_TERMS = 200, 40                    # bounds on what a user may type
PROMPT = re.compile(r"compute +(-? *[0-9]+(?: *[-+*] *[0-9]+)*)", re.ASCII)
INTEGER = re.compile(r"-?(?:0|[1-9][0-9]*)", re.ASCII)
CHECK = re.compile(rf"\b(?:check|revisa) {STEP.pattern}", re.ASCII)      # a step that only tests another one

Term = tuple[str, tuple[int, ...]]                     # sign and factors: `-8*3` is ("-", (8, 3))


def make_problem(rng: random.Random, level: int) -> Problem:
    """Draws a chain of the level's length whose result lies in 0..99."""
    if level == 0:
        return build(easy_terms(rng), level)
    fewest, most = LEVELS[level]
    while True:
        terms = []
        for i in range(rng.randint(fewest, most)):
            sign = rng.choice("+-") if i else "+"
            if rng.random() < PRODUCT_SHARE:
                terms.append((sign, (rng.randint(2, 9), rng.randint(2, 9))))
            else:
                terms.append((sign, (rng.randint(1, 9),)))
        if 0 <= value_of(terms) <= 99:
            return build(terms, level)


def easy_terms(rng: random.Random) -> list[Term]:
    """Draws the terms of level 0: four digits, whose running total stays between 0 and 20."""
    terms = []
    while len(terms) < EASY_LENGTH:
        term = (rng.choice("+-"), (rng.randint(1, 9),))
        if 0 <= value_of([*terms, term]) <= EASY_TOTAL:
            terms.append(term)
    return terms


def build(terms: list[Term], level: int = 0) -> Problem:
    """The problem of a list of terms (sign, factors). Its key forgets the order of terms and factors."""
    text, canonical = "", []
    for sign, factors in terms:
        if text or sign == "-":
            text += sign
        text += "*".join(map(str, factors))
        canonical.append(sign + "*".join(map(str, sorted(factors))))
    key = "arithmetic " + "".join(sorted(canonical))
    return Problem("arithmetic", f"compute {text}", key, level, target=value_of(terms))


def parse(prompt: str) -> Problem:
    """The problem that a user typed. Raises ValueError with one clear line."""
    match = PROMPT.fullmatch(prompt) if len(prompt) <= MAX_CHARACTERS else None
    if not match:
        raise ValueError("expected 'compute' and numbers with + - or * between them, such as 7*7+8*3-9: "
                         f"no brackets, no division, at most {MAX_CHARACTERS} characters")
    text = match[1].replace(" ", "")
    if re.search(r"[0-9] +[0-9]", match[1]) or re.search(r"(?<![0-9])0[0-9]|[0-9]{5}", text):
        raise ValueError("numbers have no spaces inside, no leading zeros and at most four digits")
    terms = split_terms(text)
    if len(terms) > MAX_TERMS or any(len(factors) > 6 for _, factors in terms):
        raise ValueError(f"at most {MAX_TERMS} terms of at most 6 factors each")
    return build(terms)


def split_terms(text: str) -> list[Term]:
    """`7*7-9` -> [("+", (7, 7)), ("-", (9,))]"""
    terms = []
    for sign, product in re.findall(r"([-+]?)([0-9*]+)", text):
        factors = tuple(int(factor) for factor in product.split("*"))
        terms.append((sign or "+", factors))
    return terms


def value_of(terms: list[Term]) -> int:
    total = 0
    for sign, factors in terms:
        product = math.prod(factors)
        total += product if sign == "+" else -product
    return total


def check(problem: Problem, answer: str) -> str | None:
    """Why an answer is refused, or None. An answer is `-?(0|[1-9][0-9]*)`."""
    if not INTEGER.fullmatch(answer):
        return "the answer is not a plain integer"
    if answer == "-0":
        answer = "0"
    return None if answer == str(problem.target) else f"the right answer is {problem.target}"


def unseen(problem: Problem) -> str:
    """Names what in a user's problem no preset's training draws; "" if it finds nothing."""
    terms = split_terms(problem.prompt.removeprefix("compute "))
    numbers = [int(number) for number in re.findall("[0-9]+", problem.prompt)]
    products = [factors for _, factors in terms if len(factors) > 1]
    most_terms = LEVELS[TASK.hardest_of_presets()][1]
    checks = {
        "a product alone": len(terms) == 1 and bool(products),
        "a number alone": len(terms) == 1 and not products,
        f"more than {most_terms} terms": len(terms) > most_terms,
        "numbers above 9": max(numbers) > 9,
        "a 0": 0 in numbers,
        "a factor of 1": any(1 in factors for factors in products),
        "products of three numbers": any(len(factors) > 2 for factors in products),
        "a minus in front": terms[0][0] == "-",
        "results outside 0 to 99": not 0 <= problem.target <= 99,
    }
    return " or ".join(name for name, found in checks.items() if found)


def write_thinking(problem: Problem, rng: random.Random, voice: Voice, slip: float = 0.0,
                   check_chance: float = 0.0) -> tuple[str, str]:
    """A worked solution; returns (thinking, answer).

    `slip` is the chance that a step comes out wrong, `check_chance` that the writer tests each sum and
    difference by its inverse and then repairs what it finds: `49+24=83 check 83-24=59 no wait 49+24=73`. (The
    inverse of a product is a division, which these texts do not have.)
    """
    parts = []
    checking = rng.random() < check_chance

    def step(left, operator, right):
        """Writes one step, and its check where the writer checks. Returns the result to go on with."""
        result = calculate(left, operator, right)
        written = result
        if rng.random() < slip:
            written += rng.choice((-10, -2, -1, 1, 2, 10))
        if operator == "*":
            written = abs(written)      # no `58--2`: only a total may be negative
        link = voice("so")              # drawn for the first step too, so the texts of a seed stay the same
        if parts:
            parts.append(link)
        parts.append(f"{left}{operator}{right}={written}")
        if not checking or operator == "*":
            return written
        inverse = "-" if operator == "+" else "+"
        back = calculate(written, inverse, right)
        parts.append(f"{voice('check')} {written}{inverse}{right}={back}")
        if back == left:
            parts.append(voice("ok"))
            return written
        parts.append(f"{voice('no')} {voice('wait')} {left}{operator}{right}={result}")
        return result

    total = None
    for sign, factors in split_terms(problem.prompt.removeprefix("compute ")):
        value = factors[0]
        for factor in factors[1:]:
            value = step(value, "*", factor)
        if total is None:
            total = value if sign == "+" else -value
        else:
            total = step(total, sign, value)
    return " ".join(parts), str(total)


def write_messy(problem: Problem, rng: random.Random, voice: Voice, habits: Habits) -> tuple[str, str]:
    """A solution as people write it: one step in thirty is wrong, one writer in four checks."""
    return write_thinking(problem, rng, voice, slip=0.03, check_chance=0.25 if habits.checks else 0.0)


def write_guess(problem: Problem, rng: random.Random, right: float = 0.3) -> str:
    """An answer without thinking, right with the given chance and near otherwise."""
    if rng.random() < right:
        return str(problem.target)
    return str(problem.target + rng.choice((-10, -3, -2, -1, 1, 2, 3, 10)))


def problem_of_fact(left: int, operator: str, right: int) -> Problem | None:
    """The problem of level 1 that a fact such as 7+8=15 or -5+9=4 answers, or None."""
    if operator == "*":
        return None
    sign = "-" if left < 0 else "+"
    problem = build([(sign, (abs(left),)), (operator, (right,))], level=1)
    are_digits = 1 <= abs(left) <= 9 and 1 <= right <= 9
    return problem if are_digits and 0 <= problem.target <= 99 else None


def is_short(thinking: str) -> bool:
    """Whether a thought has at most two steps, or three if none is a product: level 0 takes three."""
    return thinking.count("=") <= (2 if "*" in thinking else 3)


def follows(problem: Problem, thinking: str, answer: str) -> bool:
    """Whether the answer is the result of the last step that does not only check another one.

    True if there is no such step.
    """
    steps = find_steps(CHECK.sub("", thinking))
    return not steps or answer == steps[-1].result


TASK = Task(
    name="arithmetic", word="compute", example="compute 7*7+8*3-9", words=("compute",), levels=(0, *LEVELS),
    presets={"smoke": Mix((0,), 1.0), "laptop": Mix((2, 3), 0.36), "gpu": Mix((2, 3), 0.36)},
    make_problem=make_problem, parse=parse, check=check,
    write_thinking=write_thinking, write_messy=write_messy, write_guess=write_guess, guess_share=0.3,
    is_short=is_short,
    problem_of_fact=problem_of_fact, follows=follows, unseen=unseen, averaged=True)
