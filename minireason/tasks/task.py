"""One record holds everything that the project knows about a kind of problem. README.md shows an example.

A task is a file with a few functions and, at its end, a `Task(...)` that names them. All other code uses the
record: nothing outside this folder names a task. (These files of the folder are no tasks: chat, contract,
harm, problem, prompts, trace and words.)
"""

import random
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import NamedTuple

from minireason.tasks.problem import Problem
from minireason.tasks.trace import Step, find_steps
from minireason.tasks.words import Voice

PRESETS = ("smoke", "laptop", "gpu")


class Mix(NamedTuple):
    """How much a preset uses a task, and at which levels."""
    levels: tuple[int, ...]                 # RL trains on them, and they are scored; the corpus adds easier
    share: float                            # weight in RL's prompts and in the corpus; 0: not trained on
    num_test_problems: int | None = None    # to score; None: as --evaluate-num-problems says


class Habits(NamedTuple):
    """How the writer of one document of the base corpus works. Some give up at once, others try again."""
    checks: bool    # may it write checks such as `check 7+8=15`, and repairs? Only arithmetic asks
    tries: int      # tries before giving up, from 1 to TaskConfig.max_tries


def at_most_two_steps(thinking: str) -> bool:
    return thinking.count("=") <= 2


def same_text(answer: str) -> str:
    return answer


@dataclass(frozen=True, kw_only=True)
class Task:
    """A kind of problem. The first group of fields is required, the others have defaults."""

    # What it is called
    name: str       # one lower-case word: its name in results, and in flags such as --tasks-NAME-share
    word: str       # the word that begins each of its prompts
    example: str    # a prompt to show to a user, such as "make 42 from 3 8 6"

    # Its problems
    levels: tuple[int, ...]                                  # from 1 (trivial) up; 0: even easier
    presets: dict[str, Mix]                                  # one Mix for each of smoke, laptop and gpu
    make_problem: Callable[[random.Random, int], Problem]    # (rng, level) -> a problem of that level
    parse: Callable[[str], Problem]                          # a prompt -> a problem, or ValueError

    # (problem, answer) -> None if right, else one short line that says why not. Must accept any text.
    check: Callable[[Problem, str], str | None]

    # Its part of the corpus. `voice("wait")` is the word in the document's language. Texts contain no tags.
    write_thinking: Callable[..., tuple[str, str]]         # (problem, rng, voice) -> (thinking, answer)
    # The same with flaws, as people write: (problem, rng, voice, habits) -> (thinking, answer)
    write_messy: Callable[[Problem, random.Random, Voice, Habits], tuple[str, str]]
    write_guess: Callable[..., str]                        # (problem, rng) -> an answer, often wrong
    guess_share: float = 0.25                              # share of its texts in the base corpus
    # Is a thought short enough for an example of the cold start? Not asked of a task with tries: there the
    # number of tries decides.
    is_short: Callable[[str], bool] = at_most_two_steps
    # (7, "+", 8) -> the problem that the fact 7+8=15 asks and answers, with its level; or None
    problem_of_fact: Callable[[int, str, int], Problem | None] | None = None
    words: tuple[str, ...] = ()                            # get a token each; others are split into letters

    # What its thoughts do, for counting behaviour
    find_steps: Callable[[str], list[Step]] = find_steps    # by default `left op right=result`
    # (problem, the text behind the word `try`) -> what is tried, and whether it succeeds. None: no tries.
    candidate: Callable[[Problem, str], Hashable] | None = None
    succeeds: Callable[[Problem, str], bool] | None = None
    # (problem, thinking, answer) -> does the answer follow? None: it is the result of the last step
    follows: Callable[[Problem, str, str], bool] | None = None

    # How it is scored and shown
    canonical_answer: Callable[[str], str] = same_text    # answers of one form are one vote
    remark: Callable[[Problem], str] | None = None        # what to add to "wrong": "no solution exists"
    unseen: Callable[[Problem], str] | None = None        # what in it no preset draws: "numbers above 9"
    caveat: Callable[[Problem], str] | None = None        # what to add to "correct", if little was tested
    formula: Callable[[str], str] | None = None           # a right answer as people would write it
    test_by_prompt: bool = False                          # are test problems told apart by prompt, not key?
    averaged: bool = False                                # do the tables' means over tasks include it?

    def hardest_of_presets(self) -> int:
        """The hardest level that a preset uses. Those above it are for trials of one's own."""
        return max(max(mix.levels) for mix in self.presets.values())
