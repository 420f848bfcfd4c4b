"""What a problem is, which problems are kept for testing, and the arithmetic that every task shares."""

from dataclasses import dataclass, field

from minireason.upkeep.seeding import derive_seed

TEST_SHARE = 10  # one canonical problem in ten is for testing and never trained on


@dataclass(frozen=True)
class Problem:
    """One question with an exact verifier.

    `prompt` is what the model reads. `key` is the canonical form: two problems with equal keys are the same
    problem, so one cannot be trained on while the other is a test. The other fields hold what the task's
    check needs; a task uses those that suit it, and `data` for anything else.
    """
    task: str
    prompt: str
    key: str
    # What a user types has level 0, however hard it is. `==` leaves the level out: a drawn problem equals its
    # prompt, read again.
    level: int = field(default=0, compare=False)
    target: int = 0                                # the value that is looked for
    numbers: tuple[int, ...] = ()                  # the numbers that may be used
    examples: tuple[tuple[int, int], ...] = ()     # input-output pairs that are shown
    hidden: tuple[tuple[int, int], ...] = ()       # further pairs, which are not shown
    data: tuple = ()                               # whatever else a task wants to keep


def is_test(problem: Problem) -> bool:
    """Whether a problem is kept for testing. This depends on its key alone, not on how it is written.

    No text that a model trains on asks a test problem of a scored level. No fact sheet states one with its
    answer: `7+8=15` answers `compute 7+8`, and `make 15 from 7 8`. Three things are allowed, even if they
    solve a test problem, since their text asks something else and no solution can be written without them:
    a step of a longer solution, such as 4+7=11 of `compute 2*2+7`;
    a failed try, whose steps reach another target, or whose program is another function;
    a wrong answer, which would be right for another problem.
    """
    return derive_seed("test-split", problem.key) % TEST_SHARE == 0


def calculate(left: int, operator: str, right: int) -> int:
    """left + right, left - right or left * right."""
    if operator == "+":
        return left + right
    if operator == "-":
        return left - right
    if operator == "*":
        return left * right
    raise ValueError(f"unknown operator {operator!r}")
