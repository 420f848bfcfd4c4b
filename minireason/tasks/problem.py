"""What a problem is, and which problems are kept for testing."""

from dataclasses import dataclass, field

from minireason.upkeep.seeding import derive_seed

TEST_SHARE = 10  # one canonical problem in ten is for testing and never trained on


@dataclass(frozen=True)
class Problem:
    """One question with an exact verifier.

    `prompt` is what the model reads, `key` the canonical form: two problems with equal keys are the same
    problem for de-duplication. `target` is the value sought (arithmetic, countdown), `numbers` what countdown
    may use, `examples` the input-output pairs shown (program), `hidden` further pairs that are not shown.
    """
    task: str
    prompt: str
    key: str
    level: int = field(default=0, compare=False)   # 0: typed by a user
    target: int = 0
    numbers: tuple[int, ...] = ()
    examples: tuple[tuple[int, int], ...] = ()
    hidden: tuple[tuple[int, int], ...] = ()


def is_test(problem: Problem) -> bool:
    """Whether this problem, however it is written, is kept for testing. Depends on its key alone."""
    return derive_seed("test-split", problem.key) % TEST_SHARE == 0
