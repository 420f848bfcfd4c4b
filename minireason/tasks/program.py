"""Tiny programs: `program 1->3 2->5 4->9`. Find a postfix program, such as `x 2 * 1 +`, that fits the examples.

Level 1: one operation; 2: two; 3: three; 4: four. A program is a list of words run on a stack: `x` pushes the
input, a number pushes itself, + - * take two values and push one. It is verified on the examples shown and on
inputs that are not: a table of the examples is no program. Two prompts for one function share their key.
"""

import functools
import itertools
import random
import re

from minireason.tasks.arithmetic import apply
from minireason.tasks.problem import Problem
from minireason.tasks.words import Voice

LEVELS = {1: 1, 2: 2, 3: 3, 4: 4}                   # level -> number of operations
INPUTS = tuple(range(10))                           # shown examples come from here
HIDDEN_INPUTS = (0, 3, 5, 10, 11, 17)               # where a program is tested besides
MAX_STEPS, MAX_VALUE = 100, 10**6                   # bounds of the interpreter
MAX_EXAMPLES, MAX_DIGITS = 6, 4                     # bounds on what a user may type
PROMPT = re.compile(r"program (-?[0-9]+->-?[0-9]+(?: -?[0-9]+->-?[0-9]+)*)", re.ASCII)
WORD = re.compile(r"x|[-+*]|0|[1-9][0-9]?", re.ASCII)

Pairs = tuple[tuple[int, int], ...]                 # inputs and outputs


class ProgramError(ValueError):
    """Why a text is no program, or why a program stopped."""


def run(program: str, x: int) -> int:
    """The value a program leaves for input x. Raises ProgramError, after at most MAX_STEPS steps."""
    if program.count(" ") >= MAX_STEPS:
        raise ProgramError(f"a program has at most {MAX_STEPS} words")
    stack = []
    for word in program.split(" "):
        if not WORD.fullmatch(word):
            raise ProgramError(f"{word[:12]!r} is no word of the language")
        if word == "x":
            stack.append(x)
        elif word in "+-*":
            if len(stack) < 2:
                raise ProgramError(f"{word} needs two values on the stack")
            right, left = stack.pop(), stack.pop()
            stack.append(apply(left, word, right))
            if abs(stack[-1]) > MAX_VALUE:
                raise ProgramError(f"a value passed {MAX_VALUE}")
        else:
            stack.append(int(word))
    if len(stack) != 1:
        raise ProgramError(f"the program leaves {len(stack)} values, not one")
    return stack[0]


def make_problem(rng: random.Random, level: int) -> Problem:
    """Draws a program of the level, and examples that no simpler or equally short function fits."""
    while True:
        program = draw_program(rng, LEVELS[level])
        inputs = sorted(rng.sample(range(1, 7), 3))
        try:
            examples = tuple((x, run(program, x)) for x in inputs)
            hidden = tuple((x, run(program, x)) for x in HIDDEN_INPUTS)
        except ProgramError:      # `x x * x * x * x *` grows too large
            continue
        plain = all(0 <= y <= 99 for _, y in examples) and len({y for _, y in examples}) > 1
        if plain and (level > 2 or occam(examples) == hidden):
            return build(examples, hidden, level)


def draw_program(rng: random.Random, num_operations: int) -> str:
    words = ["x"]
    for _ in range(num_operations):
        words += [str(rng.randint(1, 9)) if rng.random() < 0.85 or num_operations == 1 else "x", rng.choice("+-*")]
    return " ".join(words)


def build(examples: Pairs, hidden: Pairs, level: int = 0) -> Problem:
    text = " ".join(f"{x}->{y}" for x, y in examples)
    signature = hidden or examples
    return Problem("program", f"program {text}", "program " + " ".join(f"{x}->{y}" for x, y in signature), level,
                   examples=tuple(examples), hidden=tuple(hidden))


def parse(prompt: str) -> Problem:
    """The problem that a user typed. Raises ValueError with one clear line.

    The hidden pairs are those of the shortest programs that fit the examples, where these agree; where no program
    of up to two operations fits, nothing is hidden.
    """
    match = PROMPT.fullmatch(prompt) if len(prompt) <= 100 else None
    if not match:
        raise ValueError("expected 'program' and pairs input->output, such as: program 1->3 2->5 4->9")
    pairs = [pair.split("->") for pair in match[1].split(" ")]
    if any(len(word.lstrip("-")) > MAX_DIGITS or re.match("-?0[0-9]|-0", word) for pair in pairs for word in pair):
        raise ValueError(f"numbers have no leading zeros and at most {MAX_DIGITS} digits")
    examples = tuple((int(x), int(y)) for x, y in pairs)
    if len(examples) > MAX_EXAMPLES or len(dict(examples)) != len(examples):
        raise ValueError(f"at most {MAX_EXAMPLES} pairs, each with another input")
    return build(examples, occam(examples))


@functools.cache
def short_programs(num_operations: int) -> list[str]:
    """All programs `x a op`, or `x a op b op` with constants 1 to 9 or x."""
    arguments = [*map(str, range(1, 10)), "x"]
    operations = [f" {argument} {operator}" for argument in arguments for operator in "+-*"]
    return ["x" + "".join(chosen) for chosen in itertools.product(operations, repeat=num_operations)]


@functools.cache
def programs_by_output(num_operations: int, x: int) -> dict[int, list[str]]:
    """{y: the short programs that turn x into y}"""
    found = {}
    for program in short_programs(num_operations):
        found.setdefault(run(program, x), []).append(program)
    return found


def fitting_programs(examples: Pairs, num_operations: int) -> list[str]:
    """The short programs that fit all examples."""
    x, y = examples[0]
    near = programs_by_output(num_operations, x).get(y, ()) if x in INPUTS else short_programs(num_operations)
    return [program for program in near if fits(program, examples)]


def fits(program: str, examples: Pairs) -> bool:
    """Whether a program turns each input into its output; one whose values grow too large fits nothing."""
    try:
        return all(run(program, x) == y for x, y in examples)
    except ProgramError:
        return False


def occam(examples: Pairs) -> Pairs:
    """What the shortest fitting programs (up to two operations) all answer on the hidden inputs."""
    for num_operations in (0, 1, 2):
        if fitting := fitting_programs(examples, num_operations):
            outputs = [tuple(run(program, x) for x in HIDDEN_INPUTS) for program in fitting]
            return tuple((x, column[0]) for x, column in zip(HIDDEN_INPUTS, zip(*outputs)) if len(set(column)) == 1)
    return ()


def has_line(examples: Pairs) -> bool:
    """Whether the first two examples lie on a line with a whole, positive slope."""
    (x1, y1), (x2, y2) = examples[:2]
    return y2 > y1 and (y2 - y1) % (x2 - x1) == 0


def write_thinking(problem: Problem, rng: random.Random, voice: Voice, slip: float = 0.0, max_tries: int = 6,
                   careless: float = 0.0) -> tuple[str, str]:
    """Programs, each tested on examples that it was not made from, with the comparison on the page; returns
    (thinking, answer).

        2-1=1 7-5=2 2/1=2 so 1*2=2 5-2=3 try x 2 * 3 + 6*2=12 12+3=15 is 15 yes

    First comes the line through two examples; after it, or with chance `careless` before it, any program that fits
    the first example. `slip`: the chance that a fact is wrong. After `max_tries` failures the writer gives up.
    """
    parts, found = [], None

    def step(left, operator, right):
        value = left // right if operator == "/" else apply(left, operator, right)
        if rng.random() < slip:
            value = max(0 if operator in "*/" else -99, value + rng.choice((-2, -1, 1, 2)))
        parts.append(f"{left}{operator}{right}={value}")
        return value

    def line():
        (x1, y1), (x2, y2) = problem.examples[:2]
        parts.extend([f"{x2}-{x1}={x2 - x1}", f"{y2}-{y1}={y2 - y1}"])
        slope = step(y2 - y1, "/", x2 - x1)
        parts.append(voice("so"))
        offset = step(y1, "-", step(x1, "*", slope))
        return "x" + f" {slope} *" * (slope != 1) + f" {abs(offset)} {'+' if offset > 0 else '-'}" * (offset != 0)

    straight = has_line(problem.examples)
    others = [p for n in (1, 2) for p in fitting_programs(problem.examples[:1], n) if "x" in p[1:] or not straight]
    rng.shuffle(others)
    for i in range(max_tries):
        parts += [voice("wait")] * (i > 0)
        if straight and (i == 0 or slip) and rng.random() >= careless:
            program, tests = line(), problem.examples[2:]
        elif others:
            program, tests = others.pop(), problem.examples[1:]
        else:
            break
        parts += [voice("try"), program]
        words = program.split(" ")
        for x, y in tests:
            value = x
            for argument, operator in zip(words[1::2], words[2::2]):
                value = step(value, operator, x if argument == "x" else int(argument))
            parts.append(f"{voice('is')} {y}")
            if value != y:
                break
            parts += [voice("ok")] * ((x, y) != tests[-1])
        if value == y:
            parts.append(voice("yes"))
            found = program
            break
        parts.append(voice("no"))
    if found is None:
        parts.append(voice("giveup"))
        found = write_guess(problem, rng, right=0.0)
    return " ".join(parts), found


def write_guess(problem: Problem, rng: random.Random, right: float = 0.3) -> str:
    """A program without thinking: one that fits with the given chance, else a random one."""
    if rng.random() < right:
        for num_operations in (1, 2):
            if fitting := fitting_programs(problem.examples, num_operations):
                return fitting[0]
    return draw_program(rng, rng.choice((1, 2)))
