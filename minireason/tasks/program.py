"""Tiny programs: `program 1->3 2->5 4->9`. Find a postfix program like `x 2 * 1 +` that fits the examples.

Level 1: one operation; 2: two; 3: three; 4: four. A program is a list of words run on a stack: `x` pushes the
input, a number pushes itself, + - * take two values and push one. It is verified on the examples shown and on
hidden inputs, so a table of the examples is not enough. Two prompts for one function share their key.

What a prompt means follows from its examples alone: the function of the shortest programs that fit them. So
training, sample.py and a run's page read one problem alike. Each function has hidden inputs of its own.
"""

import functools
import itertools
import random
import re
from collections.abc import Hashable, Iterable

from minireason.tasks.problem import Problem, calculate
from minireason.tasks.task import Habits, Mix, Task
from minireason.tasks.trace import TRY
from minireason.tasks.words import Voice
from minireason.upkeep.seeding import derive_rng

LEVELS = {1: 1, 2: 2, 3: 3, 4: 4}                   # level -> number of operations
KEY_INPUTS = (0, 3, 5, 10, 11, 17)                  # a function's outputs here are its key
# Where a program is tested besides: at 10 of these, drawn for each function. A polynomial through all of them
# and the examples would need values above MAX_VALUE on its way.
HIDDEN_INPUTS, NUM_HIDDEN = range(-20, 31), 10
OPERATIONS = tuple(itertools.product((*map(str, range(1, 10)), "x"), "+-*"))     # (argument, operator)
MAX_STEPS, MAX_VALUE = 100, 10**6                   # bounds of the interpreter
MAX_EXAMPLES, MAX_DIGITS = 6, 4                     # bounds on what a user may type
PROMPT = re.compile(r"program (-?[0-9]+->-?[0-9]+(?: -?[0-9]+->-?[0-9]+)*)", re.ASCII)
WORD = re.compile(r"x|[-+*]|0|[1-9][0-9]?", re.ASCII)
WORDS = re.compile(r"(?: (?:x|[0-9]{1,2}|[-+*])(?![^ ]))*", re.ASCII)    # of a try, up to its first step

Pairs = tuple[tuple[int, int], ...]                 # inputs and outputs


class ProgramError(ValueError):
    """Why a text is not a program, or why a program stopped."""


def run(program: str, x: int) -> int:
    """The value a program leaves for input x. Raises ProgramError, after at most MAX_STEPS steps."""
    if program.count(" ") >= MAX_STEPS:
        raise ProgramError(f"a program has at most {MAX_STEPS} words")
    stack = []
    for word in program.split(" "):
        if not WORD.fullmatch(word):
            raise ProgramError(f"{word[:12]!r} is not a word of the language")
        if word == "x":
            stack.append(x)
        elif word in "+-*":
            if len(stack) < 2:
                raise ProgramError(f"{word} needs two values on the stack")
            right, left = stack.pop(), stack.pop()
            stack.append(calculate(left, word, right))
            if abs(stack[-1]) > MAX_VALUE:
                raise ProgramError(f"a value passed {MAX_VALUE}")
        else:
            stack.append(int(word))
    if len(stack) != 1:
        raise ProgramError(f"the program leaves {len(stack)} values, not one")
    return stack[0]


def make_problem(rng: random.Random, level: int) -> Problem:
    """Draws a program of the level, and examples that no other function of as few operations fits."""
    while True:
        program = draw_program(rng, LEVELS[level])
        inputs = sorted(rng.sample(range(1, 7), 3))
        try:
            examples = tuple((x, run(program, x)) for x in inputs)
            signature = tuple((x, run(program, x)) for x in KEY_INPUTS)
        except ProgramError:      # `x x * x * x * x *` grows too large
            continue
        plain = all(0 <= y <= 99 for _, y in examples) and len({y for _, y in examples}) > 1
        if not plain:
            continue
        problem = build(examples, level)
        if problem.key == write_pairs(signature):     # else a shorter program has taken the examples
            return problem


def draw_program(rng: random.Random, num_operations: int) -> str:
    words = ["x"]
    for _ in range(num_operations):
        is_number = rng.random() < 0.85 or num_operations == 1
        words.append(str(rng.randint(1, 9)) if is_number else "x")
        words.append(rng.choice("+-*"))
    return " ".join(words)


def build(examples: Pairs, level: int = 0) -> Problem:
    """The problem of these examples.

    Its hidden pairs are inputs on which the shortest programs that fit agree, drawn from a seed of the key.
    They are few where the examples fit several functions, and none where no program of four operations fits.
    """
    programs = shortest_programs(examples)
    signature = agreed(programs, KEY_INPUTS)
    if len(signature) == len(KEY_INPUTS):
        # All of them are one function: a polynomial of degree 5 at most, which its values at six inputs
        # determine. So one is enough.
        programs = programs[:1]
    key = write_pairs(signature or examples)
    shown = {x for x, _ in examples}
    others = [x for x in shuffled_inputs(key) if x not in shown]
    return Problem("program", write_pairs(examples), key, level, examples=examples,
                   hidden=agreed(programs, others, NUM_HIDDEN))


@functools.lru_cache(maxsize=10_000)
def shuffled_inputs(key: str) -> list[int]:
    """The hidden inputs in an order of this key's own."""
    return derive_rng("hidden inputs", key).sample(HIDDEN_INPUTS, len(HIDDEN_INPUTS))


def write_pairs(pairs: Pairs) -> str:
    """How a prompt and a key list pairs: `program 1->3 2->5`."""
    return "program " + " ".join(f"{x}->{y}" for x, y in pairs)


def parse(prompt: str) -> Problem:
    """The problem that a user typed. Raises ValueError with one clear line."""
    match = PROMPT.fullmatch(prompt) if len(prompt) <= 100 else None
    if not match:
        raise ValueError("expected 'program' and pairs input->output, such as: program 1->3 2->5 4->9")
    pairs = [pair.split("->") for pair in match[1].split(" ")]
    for number in itertools.chain.from_iterable(pairs):
        if len(number.lstrip("-")) > MAX_DIGITS or re.match("-?0[0-9]|-0", number):
            raise ValueError(f"numbers have no leading zeros and at most {MAX_DIGITS} digits")
    examples = tuple((int(x), int(y)) for x, y in pairs)
    if len(examples) > MAX_EXAMPLES or len(dict(examples)) != len(examples):
        raise ValueError(f"at most {MAX_EXAMPLES} pairs, each with another input")
    return build(examples)


# -----------------------------------------------------------------------------
# What examples mean

def shortest_programs(examples: Pairs) -> list[str]:
    """The programs of the fewest operations that fit all examples; none where four operations do not do."""
    for num_operations in range(max(LEVELS.values()) + 1):
        fitting = fitting_programs(examples, num_operations)
        if fitting:
            return fitting
    return []


def fitting_programs(examples: Pairs, num_operations: int) -> list[str]:
    """The programs `x a op b op ...` that fit all examples. An argument is a digit from 1 to 9, or x.

    Up to two operations are looked up. More are found backward: `4->27` by `... 3 *` needs `4->9` before.
    """
    if num_operations <= 2:
        inputs, outputs = zip(*examples)
        return programs_by_outputs(num_operations, inputs).get(outputs, [])
    programs = []
    searched = tuple((x, y) for x, y in examples if x != 0)     # at 0, anything may stand before `x *`
    if not searched:
        return programs
    for argument, operator in OPERATIONS:
        needed = undo(searched, argument, operator)
        if needed is None:
            continue
        for program in fitting_programs(needed, num_operations - 1):
            programs.append(f"{program} {argument} {operator}")
    return [program for program in programs if fits(program, examples)]


def undo(examples: Pairs, argument: str, operator: str) -> Pairs | None:
    """What must stand before a last operation that makes these examples; None where nothing can."""
    needed = []
    for x, y in examples:
        right = x if argument == "x" else int(argument)
        if operator == "*":
            if y % right != 0:
                return None
            left = y // right
        else:
            left = y - right if operator == "+" else y + right
        needed.append((x, left))
    return tuple(needed)


@functools.cache
def short_programs(num_operations: int) -> list[str]:
    """All programs of so many operations, up to two."""
    operations = [f" {argument} {operator}" for argument, operator in OPERATIONS]
    return ["x" + "".join(chosen) for chosen in itertools.product(operations, repeat=num_operations)]


@functools.lru_cache(maxsize=1000)
def outputs_at(x: int, num_operations: int) -> list[int | None]:
    """What each of the short programs gives for input x."""
    return [output(program, x) for program in short_programs(num_operations)]


@functools.lru_cache(maxsize=1000)
def programs_by_outputs(num_operations: int, inputs: tuple[int, ...]) -> dict[tuple, list[str]]:
    """{outputs: the short programs that turn the inputs into them}"""
    programs = {}
    columns = [outputs_at(x, num_operations) for x in inputs]
    for program, *outputs in zip(short_programs(num_operations), *columns):
        programs.setdefault(tuple(outputs), []).append(program)
    return programs


@functools.lru_cache(maxsize=50_000)
def output(program: str, x: int) -> int | None:
    """What a program gives for input x; None where it stops."""
    try:
        return run(program, x)
    except ProgramError:
        return None


def fits(program: str, examples: Pairs) -> bool:
    """Whether a program turns each input into its output."""
    return all(output(program, x) == y for x, y in examples)


def agreed(programs: list[str], inputs: Iterable[int], most: int | None = None) -> Pairs:
    """(x, y) for the inputs x on which all programs give the same y; of the first `most` such inputs."""
    if not programs:
        return ()
    pairs = []
    for x in inputs:
        y = output(programs[0], x)
        if y is not None and all(output(program, x) == y for program in programs):
            pairs.append((x, y))
            if len(pairs) == most:
                break
    return tuple(pairs)


# -----------------------------------------------------------------------------
# Answers

def check(problem: Problem, answer: str) -> str | None:
    """Why a program is refused, or None. It is run on the examples that are shown and on hidden inputs."""
    try:
        for x, y in problem.examples:
            if run(answer, x) != y:
                return f"on example {x} the program gives {run(answer, x)}, not {y}"
        for x, y in problem.hidden:
            if run(answer, x) != y:
                reason = f"on hidden input {x} the program gives {run(answer, x)}, not {y}"
                note = caveat(problem)
                return f"{reason}; {note}" if note else reason
    except ProgramError as error:
        return str(error)
    return None


def caveat(problem: Problem) -> str:
    """What a verdict leaves open, or "": three examples that fix a function, tested on all hidden inputs."""
    num_hidden = len(problem.hidden)
    if num_hidden == 0:
        return "tested on the examples alone: they do not fix a function"
    if num_hidden < NUM_HIDDEN:
        return f"the examples fit several functions: tested on {num_hidden} of {NUM_HIDDEN} hidden inputs"
    if len(problem.examples) < 3:
        return "so few examples fit many functions: the shortest program is taken as meant"
    return ""


# -----------------------------------------------------------------------------
# What the corpus shows

def has_line(examples: Pairs) -> bool:
    """Whether the first two examples lie on a line with a whole, positive slope."""
    (x1, y1), (x2, y2) = examples[:2]
    return y2 > y1 and (y2 - y1) % (x2 - x1) == 0


def write_thinking(problem: Problem, rng: random.Random, voice: Voice, slip: float = 0.0, max_tries: int = 6,
                   careless: float = 0.0) -> tuple[str, str]:
    """Programs, each tested on examples that it was not made from. Returns (thinking, answer).

        2-1=1 7-5=2 2/1=2 so 1*2=2 5-2=3 try x 2 * 3 + 6*2=12 12+3=15 is 15 yes

    Each test ends in a comparison that is written out. First comes the line through two examples; after it,
    or with chance `careless` before it, any program that fits the first example. `slip`: the chance that a
    fact is wrong. After `max_tries` failures the writer gives up.
    """
    parts = []

    def step(left, operator, right):
        """Writes one step, at times a wrong one. Returns the value that was written."""
        value = left // right if operator == "/" else calculate(left, operator, right)
        if rng.random() < slip:
            value = max(0 if operator in "*/" else -99, value + rng.choice((-2, -1, 1, 2)))
        parts.append(f"{left}{operator}{right}={value}")
        return value

    def line():
        """Writes out the line through the first two examples. Returns the program that it is."""
        (x1, y1), (x2, y2) = problem.examples[:2]
        parts.extend([f"{x2}-{x1}={x2 - x1}", f"{y2}-{y1}={y2 - y1}"])
        slope = step(y2 - y1, "/", x2 - x1)
        parts.append(voice("so"))
        offset = step(y1, "-", step(x1, "*", slope))
        program = "x"
        if slope != 1:
            program += f" {slope} *"
        if offset != 0:
            program += f" {abs(offset)} {'+' if offset > 0 else '-'}"
        return program

    def test(program, examples):
        """Writes out a program's values, up to the first example that it misses. Returns whether all fit."""
        words = program.split(" ")
        for x, y in examples:
            value = x
            for argument, operator in zip(words[1::2], words[2::2]):
                value = step(value, operator, x if argument == "x" else int(argument))
            parts.append(f"{voice('is')} {y}")
            if value != y:
                return False
            ok = voice("ok")        # drawn for the last example too, so the texts of a seed stay the same
            if (x, y) != examples[-1]:
                parts.append(ok)
        return True

    straight = has_line(problem.examples)
    others = []     # programs that fit the first example, and are not lines where a line has been tried
    for num_operations in (1, 2):
        for program in fitting_programs(problem.examples[:1], num_operations):
            if "x" in program[1:] or not straight:
                others.append(program)
    rng.shuffle(others)
    for i in range(max_tries):
        wait = voice("wait")        # drawn for the first try too
        if i > 0:
            parts.append(wait)
        if straight and (i == 0 or slip) and rng.random() >= careless:
            program, untested = line(), problem.examples[2:]
        elif others:
            program, untested = others.pop(), problem.examples[1:]
        else:
            break
        parts += [voice("try"), program]
        if test(program, untested):
            parts.append(voice("yes"))
            return " ".join(parts), program
        parts.append(voice("no"))
    parts.append(voice("giveup"))
    return " ".join(parts), write_guess(problem, rng, right=0.0)


def write_messy(problem: Problem, rng: random.Random, voice: Voice, habits: Habits) -> tuple[str, str]:
    """Programs as people find them: with slips, and at times any program that fits the first example."""
    return write_thinking(problem, rng, voice, slip=0.03, careless=0.15, max_tries=habits.tries)


def write_guess(problem: Problem, rng: random.Random, right: float = 0.3) -> str:
    """A program without thinking: one that fits with the given chance, else a random one."""
    if rng.random() < right:
        for num_operations in (1, 2):
            if fitting := fitting_programs(problem.examples, num_operations):
                return fitting[0]
    return draw_program(rng, rng.choice((1, 2)))


def is_short(thinking: str) -> bool:
    """At most two tries."""
    return thinking.count("try") <= 2


def candidate(problem: Problem, text: str) -> Hashable:
    """What a try tries: the words of its program."""
    return tuple(WORDS.match(text)[0].split())


def succeeds(problem: Problem, text: str) -> bool:
    return check(problem, " ".join(candidate(problem, text))) is None


def follows(problem: Problem, thinking: str, answer: str) -> bool:
    """Whether the answer is the last program that was tried."""
    tries = TRY.split(thinking)
    return len(tries) < 2 or tuple(answer.split()) == candidate(problem, tries[-1])


TASK = Task(
    name="program", word="program", example="program 1->5 2->7 6->15", words=("program", "x"),
    levels=tuple(LEVELS),
    # These levels have few functions, and prompts of one function share a key. So there are 300 test problems
    # only, and they are told apart by their prompts.
    presets={"smoke": Mix((1, 2), 0.0, 20), "laptop": Mix((1, 2), 0.10, 300), "gpu": Mix((1, 2), 0.10, 300)},
    make_problem=make_problem, parse=parse, check=check,
    write_thinking=write_thinking, write_messy=write_messy, write_guess=write_guess, is_short=is_short,
    candidate=candidate, succeeds=succeeds, follows=follows, caveat=caveat, test_by_prompt=True)
