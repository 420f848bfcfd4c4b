r"""What a thought is made of: steps such as `42-6=36`, and tries from the word `try` to their verdict.

    try b 42-8=35 3*6=18 is 35 no wait try c 42-6=36 3*8=24 is 36 yes
    \_/   \_____/              \/      \_/                        \_/
    try   step (wrong)         verdict the next try               verdict

behaviour.py counts them, and the page of a run marks them.
"""

import re
from typing import NamedTuple

from minireason.tasks.problem import calculate
from minireason.tasks.words import THINKING

STEP = re.compile(r"(?<![0-9/*+-])(-?[0-9]{1,6})([-+*/])([0-9]{1,6})=(-?[0-9]{1,6})(?![0-9])", re.ASCII)
TRY = re.compile(r"\b(?:try|prueba)\b")
WORD = re.compile(r"[a-z]+", re.ASCII)
SAYS_YES, SAYS_NO = set(THINKING["yes"]), set(THINKING["no"])

Span = tuple[int, int]      # where something starts and ends in the text


class Step(NamedTuple):
    """One thing that was worked out."""
    span: Span
    question: tuple[str, ...]      # what was asked, such as ("42", "-", "6")
    result: str                    # what was written as its answer, such as "36"
    right: bool | None             # is that true? None: a division that does not come out even, 36/7=6


class Try(NamedTuple):
    """One candidate, and what was said of it."""
    word: Span                     # where the word `try` stands
    text: str                      # what follows it, up to the next try
    verdict: bool | None           # said to be a success, or a failure; None: nothing was said
    verdict_span: Span | None      # where that was said


def evaluate_step(left: str, operator: str, right: str) -> int | None:
    """The value of one step, or None where a division does not come out even."""
    first, second = int(left), int(right)
    if operator != "/":
        return calculate(first, operator, second)
    if second == 0 or first % second:
        return None
    return first // second


def find_steps(thinking: str) -> list[Step]:
    """Every `left operator right = result` with integers, in order."""
    steps = []
    for match in STEP.finditer(thinking):
        left, operator, right, result = match.groups()
        value = evaluate_step(left, operator, right)
        is_right = None if value is None else value == int(result)
        steps.append(Step(match.span(), (left, operator, right), result, is_right))
    return steps


def split_tries(thinking: str) -> list[Try]:
    """Every try, in order. Its verdict is the last word for yes or no before the next try."""
    words = list(TRY.finditer(thinking))
    ends = [following.start() for following in words[1:]] + [len(thinking)]
    tries = []
    for word, end in zip(words, ends):
        verdict, verdict_span = None, None
        for match in WORD.finditer(thinking, word.end(), end):
            if match[0] in SAYS_YES or match[0] in SAYS_NO:
                verdict, verdict_span = match[0] in SAYS_YES, match.span()
        tries.append(Try(word.span(), thinking[word.end():end], verdict, verdict_span))
    return tries
