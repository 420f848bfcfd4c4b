"""One record holds everything that the project knows about a kind of problem. README.md shows an example.

A task is a file with a few functions and, at its end, a `Task(...)` that names them. All other code uses the
record: nothing outside this folder names a task. (chat, words, trace and problem are not tasks.)
"""

import math
import random
import re
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import NamedTuple

from minireason.tasks.problem import Problem
from minireason.tasks.trace import Step, find_steps
from minireason.tasks.words import TAGS, Voice

PRESETS = ("smoke", "laptop", "gpu")
RESERVED_NAMES = ("all", "chat")        # these already mean something in results and flags
# Answers that a check has to refuse or accept without an exception.
STRANGE_ANSWERS = (
    "", " ", "no", "0", "-1", "((", "1 2 3", "x x x", "1+", "9" * 60, "a\nb", "\u00e9\u0661", "<think>")


class Mix(NamedTuple):
    """How much a preset uses a task, and at which levels."""
    levels: tuple[int, ...]                 # RL trains on them, and they are scored; the corpus adds easier
    share: float                            # weight in RL's prompts and in the corpus; 0: not trained on
    num_test_problems: int | None = None    # to score; None: as --evaluate-num-problems says


class Habits(NamedTuple):
    """How the writer of one document of the base corpus works. Some give up at once, others try ten times."""
    checks: bool      # False in a control corpus: this writer never checks, repairs or retries
    tries: int        # tries before giving up, from 1 to 10
    few_tries: int    # tries before giving up where one try is long, from 1 to 4


def at_most_two_steps(thinking: str) -> bool:
    return thinking.count("=") <= 2


def same_text(answer: str) -> str:
    return answer


class BrokenContract(ValueError):
    """A task does not keep a rule; the message is one line that names it."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """A kind of problem. The first group of fields is required, the others have defaults."""

    # What it is called
    name: str       # one lower-case word: its name in results, and in flags such as --tasks-NAME-share
    word: str       # the word that begins each of its prompts
    example: str    # a prompt to show to a user, such as "make 42 from 3 8 6"

    # Its problems
    levels: tuple[int, ...]                                  # from 1 (trivial) up
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
    guess_share: float = 0.4                               # share of the base corpus that is guesses
    is_short: Callable[[str], bool] = at_most_two_steps    # is it short enough for the golden examples?
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
    test_by_prompt: bool = False                          # test problems may share a key, not a prompt
    averaged: bool = False                                # do the tables' means over tasks include it?


def check_task(task: Task, taken_names: list[str], taken_words: list[str]) -> None:
    """Raises BrokenContract with one line that names the broken rule."""
    def require(condition, message):
        if not condition:
            raise BrokenContract(f"task {str(task.name)[:30]!r}: {message}")

    is_name = isinstance(task.name, str) and re.fullmatch("[a-z][a-z0-9]*", task.name)
    require(is_name, "its name is one lower-case word")
    require(task.name not in (*taken_names, *RESERVED_NAMES), "this name is taken")
    is_word = isinstance(task.word, str) and re.fullmatch("[a-z]+", task.word)
    require(is_word, "its word is made of small letters")
    require(task.word not in taken_words, f"the prompt word {task.word!r} is taken")
    whole_numbers = [level for level in task.levels if isinstance(level, int) and level >= 1]
    require(task.levels and len(whole_numbers) == len(task.levels), "it has no levels, such as (1, 2)")
    for preset in PRESETS:
        require(preset in task.presets, f"its presets lack {preset!r}")
        mix = task.presets[preset]
        has_levels = mix.levels and set(mix.levels) <= set(task.levels)
        require(has_levels, f"preset {preset!r} needs some of its levels")
        is_weight = math.isfinite(mix.share) and mix.share >= 0
        require(is_weight, f"the share of preset {preset!r} is not a weight")
    for name in ("make_problem", "parse", "check", "write_thinking", "write_messy", "write_guess", "is_short",
                 "find_steps", "canonical_answer"):
        require(callable(getattr(task, name)), f"{name} is not a function")
    require((task.candidate is None) == (task.succeeds is None), "candidate and succeeds go together")
    for word in task.words:
        is_word = isinstance(word, str) and re.fullmatch("[A-Za-z]+", word)
        require(is_word, f"{word!r} of its words is not made of letters")
    for level in task.levels:
        try:
            try_out(task, level, require)
        except BrokenContract:
            raise
        except Exception as error:      # anyone may write a task, so any error is possible
            require(False, f"level {level} does not work: {type(error).__name__}: {error}")


def try_out(task: Task, level: int, require: Callable) -> None:
    """Uses every function once, on one problem of a level."""
    rng = random.Random(level)
    problem = task.make_problem(rng, level)
    require(isinstance(problem, Problem), f"make_problem returns {type(problem).__name__}, not a Problem")
    require(problem.task == task.name, f"its problems say task {problem.task!r}")
    require(problem.prompt.startswith(f"{task.word} "),
            f"its prompts do not begin with {task.word!r} and a space")
    require(problem.key.startswith(task.name),
            "the key of a problem begins with the task's name, to differ from others'")
    require(task.parse(problem.prompt).prompt == problem.prompt,
            f"parse does not read its own prompt {problem.prompt!r}")
    habits = Habits(checks=True, tries=2, few_tries=2)
    texts = [task.write_thinking(problem, rng, Voice(rng, "en")),
             task.write_messy(problem, rng, Voice(rng, "mixed"), habits),
             ("", task.write_guess(problem, rng))]
    for thinking, answer in texts:
        require(isinstance(thinking, str) and isinstance(answer, str),
                "what it writes is not (thinking, answer), two texts")
        require(not any(tag in thinking + answer for tag in TAGS), "what it writes holds tags")
        if task.follows is not None:
            task.follows(problem, thinking, answer)
        task.is_short(thinking)
        task.find_steps(thinking)
    written_answers = [answer for _, answer in texts]
    for answer in (*STRANGE_ANSWERS, *written_answers):
        try:
            reason = task.check(problem, answer)
        except Exception as error:
            require(False, f"its check raises {type(error).__name__} on {answer[:20]!r}")
        require(reason is None or isinstance(reason, str), "its check returns a reason or None")
        task.canonical_answer(answer)
    require(task.check(problem, ""), "its check accepts an empty answer")
