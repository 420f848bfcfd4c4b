"""Is this answer right? Exact, bounded, and total: any string gets a Verdict, and nothing is ever evaluated.

A completion is well formed when it is `<think>...</think><answer>...</answer>` and nothing else. The answers:

    arithmetic   -?(0|[1-9][0-9]*)
    countdown    every given number once, + - * and parentheses, single spaces between symbols
    program      words of the postfix language, run on the examples shown and on hidden inputs

Only ASCII counts; time is linear in the length of the text.
"""

import re
from typing import NamedTuple

from minireason.tasks import program as programs
from minireason.tasks.arithmetic import apply
from minireason.tasks.problem import Problem

TAGS = ("<think>", "</think>", "<answer>", "</answer>")
INTEGER = re.compile(r"-?(?:0|[1-9][0-9]*)", re.ASCII)
SYMBOL = re.compile(r"([0-9]+|[-+*()])( ?)", re.ASCII)
PRECEDENCE = {"+": 1, "-": 1, "*": 2}


class Verdict(NamedTuple):
    correct: bool
    well_formed: bool
    reason: str


def split_completion(completion: str) -> tuple[str, str] | None:
    """(thinking, answer) of a well-formed completion, else None."""
    if not (completion.startswith("<think>") and completion.endswith("</answer>")):
        return None
    if any(completion.count(tag) != 1 for tag in TAGS):
        return None
    thinking, middle, answer = completion[len("<think>"):-len("</answer>")].partition("</think><answer>")
    return (thinking, answer) if middle else None


def verify(problem: Problem, completion: str) -> Verdict:
    """Checks a completion of a problem. Returns Verdict(correct, well_formed, reason); never raises."""
    parts = split_completion(completion)
    if parts is None:
        return Verdict(False, False, "not of the form <think>...</think><answer>...</answer>")
    check = {"arithmetic": check_integer, "countdown": check_expression, "program": check_program}[problem.task]
    refusal = check(problem, parts[1])
    return Verdict(refusal is None, True, refusal or "correct")


def check_integer(problem: Problem, answer: str) -> str | None:
    """Why an answer to arithmetic is refused, or None."""
    if not INTEGER.fullmatch(answer):
        return "the answer is no plain integer"
    if answer.removeprefix("-") == "0":
        answer = "0"
    return None if answer == str(problem.target) else f"the answer is not {problem.target}"


def check_program(problem: Problem, answer: str) -> str | None:
    """Why a program is refused, or None."""
    try:
        for shown, pairs in (("example", problem.examples), ("hidden input", problem.hidden)):
            for x, y in pairs:
                if (result := programs.run(answer, x)) != y:
                    return f"on {shown} {x} the program gives {result}, not {y}"
    except programs.ProgramError as error:
        return str(error)
    return None


def check_expression(problem: Problem, answer: str) -> str | None:
    """Why an answer to countdown is refused, or None. A shunting-yard evaluator without recursion.

    Values stay small whatever is written: a number that was not given ends the reading at once.
    """
    remaining = [str(number) for number in problem.numbers]
    values, operators = [], []   # operators holds + - * and open parentheses

    def reduce():
        right, left = values.pop(), values.pop()
        values.append(apply(left, operators.pop(), right))

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
                reduce()
            if not operators:
                return "a parenthesis is closed that was never opened"
            operators.pop()
        else:
            while operators and operators[-1] != "(" and PRECEDENCE[operators[-1]] >= PRECEDENCE[symbol]:
                reduce()
            operators.append(symbol)
            expect_value = True
    if expect_value:
        return "the expression is empty or ends in an operator"
    while operators:
        if operators[-1] == "(":
            return "a parenthesis is never closed"
        reduce()
    if remaining:
        return f"unused: {' '.join(remaining)}"
    return None if values == [problem.target] else f"the expression makes {values[0]}, not {problem.target}"


def canonical_answer(problem: Problem, answer: str) -> str:
    """What two answers must share to count as one vote: in countdown the text without its optional spaces."""
    return re.sub(" ?([-+*()]) ?", r"\1", answer) if problem.task == "countdown" else answer
