"""What a completion does, counted exactly from its text: thinking, trying, checking, repairing, mixing.

A step is `left op right = result` with integers. A try (countdown, program) runs from its word to its verdict.
    thinks        at least one step that can be evaluated
    retry         a new candidate after one stated as failed; giving up: an answer after a failed try without another
    false yes     a candidate stated as a success that is none
    repair        a step that evaluates wrong, then the same sub-problem evaluated right before the answer
    mixing        words of both languages in the thinking
    readable      well formed, one language, and the answer follows from the last step
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from minireason.tasks.arithmetic import apply
from minireason.tasks.problem import Problem
from minireason.tasks.words import ENGLISH, SPANISH, THINKING
from minireason.verifier import split_completion, verify

STEP = re.compile(r"(?<![0-9/*+-])(-?[0-9]{1,6})([-+*/])([0-9]{1,6})=(-?[0-9]{1,6})(?![0-9])", re.ASCII)
CHECK = re.compile(rf"\b(?:check|revisa) {STEP.pattern}", re.ASCII)
TRY = re.compile(r"\b(?:try|prueba)\b")
WORD = re.compile(r"[a-z]+", re.ASCII)
PROGRAM_WORDS = re.compile(r"(?: (?:x|[0-9]{1,2}|[-+*])(?![^ ]))*", re.ASCII)   # up to the first step or word
SAYS_YES, SAYS_NO = set(THINKING["yes"]), set(THINKING["no"])


@dataclass
class Behaviour:
    well_formed: bool
    thinks: bool = False
    num_steps: int = 0
    num_wrong_steps: int = 0
    num_repairs: int = 0
    num_tries: int = 0
    num_distinct_tries: int = 0
    num_failed_tries: int = 0       # tries stated as failed
    num_retries: int = 0            # of these, followed by another try
    num_yes: int = 0                # tries stated as a success
    num_false_yes: int = 0          # of these, none
    first_try_failed: bool = False
    mixed: bool = False
    readable: bool = False


def evaluate_step(left: str, operator: str, right: str) -> int | None:
    """The value of one step, or None where a division does not come out even."""
    left, right = int(left), int(right)
    if operator == "/":
        return left // right if right and left % right == 0 else None
    return apply(left, operator, right)


def observe(problem: Problem, completion: str) -> Behaviour:
    """Counts what one completion does. Returns a Behaviour; never raises."""
    parts = split_completion(completion)
    thinking = parts[0] if parts else completion
    seen = Behaviour(well_formed=parts is not None)
    steps = STEP.findall(thinking)
    values = [evaluate_step(left, op, b) for left, op, b, _ in steps]
    right = [value == int(step[3]) for step, value in zip(steps, values)]
    seen.thinks = any(value is not None for value in values)
    seen.num_steps, seen.num_wrong_steps = len(steps), right.count(False)
    done_right = set()                                     # what is yet evaluated right, reading backward
    for step, good in zip(reversed(steps), reversed(right)):
        if good:
            done_right.add(step[:3])
        else:
            seen.num_repairs += step[:3] in done_right
    words = set(WORD.findall(thinking))
    seen.mixed = bool(words & ENGLISH) and bool(words & SPANISH)
    if problem.task != "arithmetic":
        count_tries(problem, thinking, seen)
    seen.readable = bool(parts) and not seen.mixed and follows(problem, thinking, parts[1], steps)
    return seen


def count_tries(problem: Problem, thinking: str, seen: Behaviour) -> None:
    """Fills in what happens between the words `try` and their verdicts."""
    pieces = TRY.split(thinking)[1:]
    candidates, verdicts = [], []
    for piece in pieces:
        words = WORD.findall(piece)
        said = [word for word in words if word in SAYS_YES | SAYS_NO]
        verdicts.append(None if not said else said[-1] in SAYS_YES)
        candidates.append(candidate_of(problem, piece))
    seen.num_tries, seen.num_distinct_tries = len(pieces), len(set(candidates))
    for i, verdict in enumerate(verdicts):
        if verdict is False:
            seen.num_failed_tries += 1
            seen.num_retries += i + 1 < len(pieces)
        if verdict is True:
            seen.num_yes += 1
            seen.num_false_yes += not succeeds(problem, pieces[i])
    seen.first_try_failed = bool(verdicts) and verdicts[0] is False


def candidate_of(problem: Problem, piece: str) -> tuple:
    """What a try tries: its steps' left sides, or for a program its words."""
    if problem.task == "program":
        return tuple(PROGRAM_WORDS.match(piece)[0].split())
    return tuple(step[:3] for step in STEP.findall(piece))


def succeeds(problem: Problem, piece: str) -> bool:
    """Whether a try is the success it is said to be.

    In countdown: true steps that strip one given number after the other off the target, and a last one that makes
    what is then needed of the two that are left.
    """
    if problem.task == "program":
        program = " ".join(candidate_of(problem, piece))
        return verify(problem, f"<think></think><answer>{program}</answer>").correct
    needed, left_over = str(problem.target), [str(number) for number in problem.numbers]
    steps = STEP.findall(piece)
    if not steps or any(evaluate_step(a, op, b) != int(result) for a, op, b, result in steps):
        return False
    for a, op, b, result in steps[:-1]:
        stripped = b if a == needed else a if b == needed and op == "-" else None
        if stripped not in left_over:
            return False
        left_over.remove(stripped)
        needed = result
    a, _, b, result = steps[-1]
    return sorted(left_over) == sorted((a, b)) and result == needed


def follows(problem: Problem, thinking: str, answer: str, steps: list[tuple[str, str, str, str]]) -> bool:
    """Whether the answer is what the last step (one that is no check of another) or the last try arrived at."""
    if problem.task == "arithmetic":
        worked = STEP.findall(CHECK.sub("", thinking))
        return not worked or answer == worked[-1][3]
    if problem.task == "program":
        pieces = TRY.split(thinking)
        return len(pieces) < 2 or tuple(answer.split()) == candidate_of(problem, pieces[-1])
    last = "".join(steps[-1][:3]) if steps else ""
    return not steps or bool(re.search(rf"(?<![0-9]){re.escape(last)}(?![0-9])", answer.replace(" ", "")))


def share(numerator: float, denominator: float) -> float | None:
    return numerator / denominator if denominator else None


def summarize(behaviours: list[Behaviour], correct: Sequence[bool], lengths: Sequence[int]) -> dict[str, float | None]:
    """Rates over many completions: a dict of name -> number, None where there is nothing to divide by."""
    n = len(behaviours)
    total = lambda name, rows=None: sum(getattr(b, name) for b in (behaviours if rows is None else rows))
    thinking = [b for b in behaviours if b.thinks]
    failed_first = [(b, ok) for b, ok in zip(behaviours, correct) if b.thinks and b.first_try_failed]
    after_failure = [ok for _, ok in failed_first]
    retried = sum(ok for b, ok in failed_first if b.num_retries)
    gave_up = sum(b.well_formed and b.num_failed_tries > b.num_retries for b in thinking)
    return {
        "well_formed": share(total("well_formed"), n),
        "thinks": share(len(thinking), n),
        "tokens": share(sum(lengths), n),
        "tokens_thinking": share(sum(l for b, l in zip(behaviours, lengths) if b.thinks), len(thinking)),
        "tries": share(total("num_tries"), n),
        "tries_thinking": share(total("num_tries", thinking), len(thinking)),
        "distinct_tries": share(total("num_distinct_tries"), n),
        "retry_after_failure": share(total("num_retries"), total("num_failed_tries")),
        "giving_up": share(gave_up, len(thinking)),
        "false_yes": share(total("num_false_yes"), total("num_yes")),
        "first_try_failed": share(len(after_failure), len(thinking)),
        "accuracy_after_failed_try": share(sum(after_failure), len(after_failure)),
        "won_by_retrying": share(retried, sum(correct)),     # of the right answers
        "wrong_steps": share(total("num_wrong_steps"), total("num_steps")),
        "repairs": share(total("num_repairs"), total("num_wrong_steps")),
        "mixing": share(total("mixed", thinking), len(thinking)),
        "readable": share(total("readable"), n),
    }
