"""Is this answer right? Exact, bounded, and total: any string gets a Verdict, and none is ever given to eval.

A completion is well formed when it is `<think>...</think><answer>...</answer>` and nothing else. The
problem's task decides whether its answer is right: `check` in tasks/NAME.py reads the answer with a parser
of its own.

Only ASCII counts; time is linear in the length of the text.
"""

from typing import NamedTuple

from minireason.tasks import TASKS
from minireason.tasks.problem import Problem
from minireason.tasks.words import TAGS

MALFORMED = "not of the form <think>...</think><answer>...</answer>"


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
        return Verdict(False, False, MALFORMED)
    task = TASKS[problem.task]
    refusal = task.check(problem, parts[1])
    if refusal is not None:
        return Verdict(False, True, refusal)
    caveat = task.caveat(problem) if task.caveat else ""
    return Verdict(True, True, f"correct; {caveat}" if caveat else "correct")


def canonical_answer(problem: Problem, answer: str) -> str:
    """The answer as votes count it: equal forms are one answer. Chat answers stay as they are."""
    if problem.task not in TASKS:
        return answer
    return TASKS[problem.task].canonical_answer(answer)
