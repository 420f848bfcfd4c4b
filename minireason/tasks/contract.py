"""Checks, when a task is registered, that its record keeps the rules: README.md lists them."""

import math
import random
import re
from collections.abc import Callable

from minireason.tasks.problem import Problem
from minireason.tasks.task import PRESETS, Habits, Mix, Task
from minireason.tasks.trace import Step, split_tries
from minireason.tasks.words import TAGS, Voice

RESERVED_NAMES = ("all", "chat", "problem")     # these already mean something in results and flags
NUM_TRIALS = 3          # problems of each level that a task is tried out on, at every start
USUAL_TRIES = 3         # --tasks-max-tries, unless it is given
NUM_GOLDEN_TRIALS = 200     # problems of a level among which an example for the cold start has to be found
# Answers that a check has to refuse or accept without an exception.
STRANGE_ANSWERS = (
    "", " ", "no", "0", "-1", "((", "1 2 3", "x x x", "1+", "9" * 60, "a\nb", "\u00e9\u0661", "<think>",
    "1 " * 500, "(" * 1000)


class BrokenContract(ValueError):
    """A task does not keep a rule; the message is one line that names it."""


def check_task(task: Task, taken_names: list[str], taken_words: list[str]) -> None:
    """Checks a task's fields and tries its functions. Raises BrokenContract, which names the broken rule.

    `taken_names` and `taken_words` are those of the tasks that are registered already.
    """
    def require(condition, message):
        """Raises BrokenContract with this message unless the condition holds."""
        if not condition:
            raise BrokenContract(f"task {str(task.name)[:30]!r}: {message}")

    try:
        check_fields(task, taken_names, taken_words, require)
        num_solved = sum(try_out(task, level, require) for level in task.levels)
        require(num_solved > 0, "its check refuses all answers of write_thinking")
        levels = set()
        for mix in task.presets.values():
            levels.update(golden_levels(task, mix.levels))
        for level in sorted(levels):
            is_found = has_golden_example(task, level)
            require(is_found, f"no right thought of level {level} is short: the cold start needs some")
    except BrokenContract:
        raise
    except Exception as error:      # anyone may write a task, so any error is possible
        reason = str(error).splitlines()[0] if str(error) else ""
        require(False, f"it raises {type(error).__name__}: {reason}")


def check_fields(task: Task, taken_names: list[str], taken_words: list[str], require: Callable) -> None:
    """Checks what the record holds, without calling its functions. `require` is that of `check_task`."""
    is_name = isinstance(task.name, str) and re.fullmatch("[a-z][a-z0-9]*", task.name)
    require(is_name, "its name is one lower-case word")
    require(task.name not in (*taken_names, *RESERVED_NAMES), "this name is taken")
    is_word = isinstance(task.word, str) and re.fullmatch("[a-z]+", task.word)
    require(is_word, "its word is made of small letters")
    require(task.word not in taken_words, f"the prompt word {task.word!r} is taken")
    levels = task.levels if isinstance(task.levels, tuple) else ()
    are_levels = all(level == 0 or is_count(level) for level in levels)
    require(levels and are_levels, "it has no levels, such as (1, 2)")
    require(isinstance(task.presets, dict), "its presets are not a dict")
    for preset in PRESETS:
        require(preset in task.presets, f"its presets lack {preset!r}")
        mix = task.presets[preset]
        require(isinstance(mix, Mix), f"preset {preset!r} is not a Mix(levels, share)")
        has_levels = isinstance(mix.levels, tuple) and mix.levels and set(mix.levels) <= set(task.levels)
        require(has_levels, f"preset {preset!r} needs some of its levels, as a tuple")
        require(is_number(mix.share) and mix.share >= 0, f"the share of preset {preset!r} is not a weight")
        is_whole = mix.num_test_problems is None or is_count(mix.num_test_problems)
        require(is_whole, f"num_test_problems of preset {preset!r} is not a whole number above 0")
    is_share = is_number(task.guess_share) and 0 <= task.guess_share <= 1
    require(is_share, "guess_share is not between 0 and 1")
    for name in ("make_problem", "parse", "check", "write_thinking", "write_messy", "write_guess", "is_short",
                 "find_steps", "canonical_answer"):
        require(callable(getattr(task, name)), f"{name} is not a function")
    require((task.candidate is None) == (task.succeeds is None), "candidate and succeeds go together")
    require(isinstance(task.words, tuple), "its words are not a tuple, such as ('sort',)")
    require(len(set(task.words)) == len(task.words), "it lists a word twice")
    for word in task.words:
        is_word = isinstance(word, str) and re.fullmatch("[A-Za-z]+", word)
        require(is_word, f"{word!r} of its words is not made of letters")


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def try_out(task: Task, level: int, require: Callable) -> int:
    """Draws some problems of a level, and calls most of the task's functions on them.

    Returns how many of them `write_thinking` solves. `require` is that of `check_task`.
    """
    problems = [task.make_problem(rng, level) for rng in seeded(NUM_TRIALS, level)]
    again = [task.make_problem(rng, level) for rng in seeded(NUM_TRIALS, level)]
    require(problems == again, "make_problem draws from something else than rng: one seed gives two problems")
    num_solved = 0
    for problem, rng in zip(problems, seeded(NUM_TRIALS, level)):
        check_problem(task, problem, level, require)
        num_solved += check_texts(task, problem, rng, require)
    distinct = {problem.prompt for problem in problems}
    require(len(distinct) > 1, f"all problems of level {level} are the same")
    require(isinstance(task.parse(task.example), Problem),
            f"parse does not read the example {task.example!r}")
    return num_solved


def golden_levels(task: Task, scored: tuple[int, ...]) -> list[int]:
    """The levels of a cold start's examples: below the hardest that is scored, where there is such a level.

    (Level 0 is of another kind.) corpus.py draws the harder ones more often.
    """
    easier = [level for level in task.levels if 0 < level < max(scored)]
    return easier or [max(scored)]


def is_short(task: Task, thinking: str, max_tries: int) -> bool:
    """Whether a golden example may hold this: few tries, or few steps where the task has no tries."""
    if task.candidate is not None:
        return len(split_tries(thinking)) <= max_tries
    return task.is_short(thinking)


def has_golden_example(task: Task, level: int) -> bool:
    """Whether a short and right solution is soon found. Else the cold start would search for it in vain."""
    for rng in seeded(NUM_GOLDEN_TRIALS, level):
        problem = task.make_problem(rng, level)
        thinking, answer = task.write_thinking(problem, rng, Voice(rng, "en"))
        if is_short(task, thinking, USUAL_TRIES) and task.check(problem, answer) is None:
            return True
    return False


def seeded(number: int, level: int) -> list[random.Random]:
    """Some generators of random numbers: new ones at each call, which draw the same numbers."""
    return [random.Random(f"{level} {i}") for i in range(number)]


def check_problem(task: Task, problem: Problem, level: int, require: Callable) -> None:
    """Requires that a problem's fields fit its task and level, and that `parse` reads its prompt back."""
    require(isinstance(problem, Problem), f"make_problem returns {type(problem).__name__}, not a Problem")
    require(problem.task == task.name, f"its problems say task {problem.task!r}")
    require(problem.level == level, f"its problems of level {level} say level {problem.level}")
    prompt = problem.prompt
    require(prompt.startswith(f"{task.word} "), f"its prompts do not begin with {task.word!r} and a space")
    require(prompt.isascii() and prompt.isprintable(), "its prompts are not plain ASCII on one line")
    require(prompt == prompt.lower(), "its prompts have capitals: what a user types is made lower case")
    require(problem.key.startswith(task.name), "a problem's key does not begin with the task's name")
    require(task.parse(prompt).prompt == prompt, f"parse does not read its own prompt {prompt!r}")


def check_texts(task: Task, problem: Problem, rng: random.Random, require: Callable) -> bool:
    """Checks the texts that the task writes about a problem, and calls its functions on them.

    `check` has to take any answer. Returns whether it accepts the answer of `write_thinking`. Where a result
    is not used, the call only shows that the function raises no error.
    """
    habits = Habits(checks=True, tries=2)
    thinking, solution = task.write_thinking(problem, rng, Voice(rng, "en"))
    texts = [(thinking, solution),
             task.write_messy(problem, rng, Voice(rng, "mixed"), habits),
             ("", task.write_guess(problem, rng))]
    for thinking, answer in texts:
        are_texts = isinstance(thinking, str) and isinstance(answer, str)
        require(are_texts, "what it writes is not (thinking, answer), two texts")
        require(not any(tag in thinking + answer for tag in TAGS), "what it writes holds tags")
        task.is_short(thinking)
        steps = task.find_steps(thinking)
        are_steps = isinstance(steps, list) and all(isinstance(step, Step) for step in steps)
        require(are_steps, "find_steps does not return a list of Step")
        if task.follows is not None:
            task.follows(problem, thinking, answer)
        if task.candidate is not None:
            hash(task.candidate(problem, thinking))
            task.succeeds(problem, thinking)
    written_answers = [answer for _, answer in texts]
    for answer in (*STRANGE_ANSWERS, *written_answers):
        try:
            reason = task.check(problem, answer)
        except Exception as error:
            require(False, f"its check raises {type(error).__name__} on {answer[:20]!r}")
        require(reason is None or isinstance(reason, str), "its check returns a reason or None")
        task.canonical_answer(answer)
    require(task.check(problem, ""), "its check accepts an empty answer")
    return task.check(problem, solution) is None
