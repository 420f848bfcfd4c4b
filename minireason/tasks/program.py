"""Tiny programs: `program 1->3 2->5 4->9`. Find a postfix program like `x 2 * 1 +` that fits the examples.

Level 1: x+7 or 3*x; 2: a line, 2*x+1; 3: a parabola with one square, x*x+5*x-2; 4: one with two squares,
2*x*x+5*x-2.
A program is a list of words run on a stack: `x` pushes the input, a number pushes itself, + - * take two
values and push one. It is verified on the examples shown and on hidden inputs, so a table of the examples is
not enough. Two prompts for one function share their key.

Every program computes a polynomial with whole coefficients. What a prompt means follows from its examples
alone: the polynomial of the lowest degree through them, a line through two and a parabola through three. So
training, sample.py and a run's page read one problem alike. Each function has hidden inputs of its own.
"""

import functools
import itertools
import math
import random
import re
from collections.abc import Callable, Hashable

from minireason.tasks.problem import Problem, calculate
from minireason.tasks.task import Habits, Mix, Task
from minireason.tasks.trace import TRY
from minireason.tasks.words import Voice
from minireason.upkeep.seeding import derive_rng

LEVELS = {1: 0, 2: 0, 3: 1, 4: 2}                   # level -> squares: squares*x*x + slope*x + offset
MAX_SQUARES, MAX_SLOPE, MAX_OFFSET = 2, 20, 30      # of the functions that are drawn
MAX_INPUT = 6                                       # of the examples that are drawn
KEY_INPUTS = (0, 3, 5, 10, 11, 17)                  # a function's outputs here are its key
# A program is also tested at 10 of these, drawn for each function. Were the ten the same for all functions, a
# long program could be right at them alone. A wrong program that is right at all of these has values above
# MAX_VALUE on its way.
HIDDEN_INPUTS, NUM_HIDDEN = range(-20, 31), 10
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
    """Draws a function of the level, and three examples of it. The first two inputs are neighbours."""
    while True:
        squares = LEVELS[level]
        slope, offset = rng.randint(-MAX_SLOPE, MAX_SLOPE), rng.randint(-MAX_OFFSET, MAX_OFFSET)
        if level == 1:
            slope, offset = rng.choice(((1, offset), (slope, 0)))
        first = rng.randint(1, MAX_INPUT - 2)
        inputs = (first, first + 1, rng.randint(first + 2, MAX_INPUT))
        outputs = [squares * x * x + slope * x + offset for x in inputs]
        if min(outputs) >= 0 and max(outputs) <= 99 and len(set(outputs)) > 1:
            return build(tuple(zip(inputs, outputs)), level)


def build(examples: Pairs, level: int = 0) -> Problem:
    """The problem of these examples. Its hidden pairs are drawn from a seed of the key.

    Pairs with outputs above MAX_VALUE are left out. A problem has no hidden pairs if all are left out, if no
    polynomial with whole coefficients fits the examples, or if there is only one example, which many
    functions fit.
    """
    coefficients = interpolate(examples)
    if coefficients is None or len(examples) < 2:
        return Problem("program", write_pairs(examples), write_pairs(examples), level, examples=examples)
    key = write_pairs(tuple((x, evaluate(examples, coefficients, x)) for x in KEY_INPUTS))
    shown = {x for x, _ in examples}
    hidden = []
    for x in shuffled_inputs(key):
        if len(hidden) == NUM_HIDDEN:
            break
        y = evaluate(examples, coefficients, x)
        if x not in shown and abs(y) <= MAX_VALUE:
            hidden.append((x, y))
    return Problem("program", write_pairs(examples), key, level, examples=examples, hidden=tuple(hidden))


@functools.lru_cache(maxsize=10_000)
def shuffled_inputs(key: str) -> list[int]:
    """All possible hidden inputs, in a random order that depends on the key alone."""
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

def interpolate(examples: Pairs) -> list[int] | None:
    """The polynomial of the lowest degree through the examples; None if a coefficient is not a whole number.

    Returns the coefficients [a, b, c ...] of its Newton form a + b*(x-x1) + c*(x-x1)*(x-x2) ... The terms
    found so far miss the next example by some amount. The next term is 0 at all earlier examples, so it is
    free to add this amount here: its coefficient is the amount divided by the product (x-x1)*(x-x2)...
    """
    coefficients = []
    for x, y in examples:
        missing = y - evaluate(examples, coefficients, x)
        product = math.prod(x - earlier for earlier, _ in examples[:len(coefficients)])
        if missing % product != 0:
            return None
        coefficients.append(missing // product)
    return coefficients


def evaluate(examples: Pairs, coefficients: list[int], x: int) -> int:
    """The value at x of a polynomial in Newton's form: a + (x-x1) * (b + (x-x2) * (c + ...))."""
    value = 0
    for coefficient, (x_i, _) in reversed(list(zip(coefficients, examples))):     # from the inmost bracket
        value = coefficient + (x - x_i) * value
    return value


def fits(program: str, examples: Pairs) -> bool:
    """Whether a program turns each input into its output."""
    try:
        return all(run(program, x) == y for x, y in examples)
    except ProgramError:
        return False


# -----------------------------------------------------------------------------
# Answers

def check(problem: Problem, answer: str) -> str | None:
    """Why a program is refused, or None. It is run on the examples that are shown and on hidden inputs."""
    try:
        for x, y in problem.examples:
            if run(answer, x) != y:
                return f"for input {x} the program gives {run(answer, x)}, not {y}"
        for x, y in problem.hidden:
            if run(answer, x) != y:
                reason = f"on hidden input {x} the program gives {run(answer, x)}, not {y}"
                note = caveat(problem)
                return f"{reason}; {note}" if note else reason
    except ProgramError as error:
        return str(error)
    return None


def caveat(problem: Problem) -> str:
    """What to add to a verdict if fewer than three examples or not all hidden inputs were tested; else ""."""
    num_hidden = len(problem.hidden)
    if len(problem.examples) < 2 or interpolate(problem.examples) is None:
        return "tested on the examples alone: they do not fix a function"
    if num_hidden < NUM_HIDDEN:
        return f"tested on {num_hidden} of {NUM_HIDDEN} hidden inputs: the others' outputs are too large"
    if len(problem.examples) < 3:
        return "two examples fit many functions: the line through them is taken as meant"
    return ""


def formula(program: str) -> str:
    """A program that runs, in the usual notation: `x*2+3` for `x 2 * 3 +`."""
    stack = []                          # (text, is it a sum or a difference?)
    for word in program.split(" "):
        if word not in "+-*":
            stack.append((word, False))
            continue
        (right, right_is_sum), (left, left_is_sum) = stack.pop(), stack.pop()
        if left_is_sum and word == "*":
            left = f"({left})"
        if right_is_sum and word != "+":
            right = f"({right})"
        stack.append((left + word + right, word != "*"))
    return stack[0][0]


# -----------------------------------------------------------------------------
# What the corpus shows

def write_line(slope: int, offset: int) -> str:
    """The program of slope * x + offset: `x 2 * 1 +`, or `9 x 2 * -` where the slope is negative."""
    if slope > 0:
        return f"x{times(slope)}{plus(offset)}"
    return f"{offset} x{times(-slope)} -" if slope < 0 else str(offset)


def write_parabola(examples: Pairs, squares: int, slope: int) -> str:
    """The program of ((x-x2) * squares + slope) * (x-x1) + y1, such as `x 2 - 3 * 5 + x 1 - * 4 +`.

    It fits the first example, and the second one too if `slope` is that of the line through both.
    """
    (x1, y1), (x2, _) = examples[:2]
    return f"x {x2} -{times(squares)}{plus(slope)} x {x1} - *{plus(y1)}"


def times(factor: int) -> str:
    """The words that multiply the value before them: " 3 *", or "" for the factor 1."""
    return f" {factor} *" if factor != 1 else ""


def plus(number: int) -> str:
    """The words that add a number to the value before them: " 5 +", " 5 -" for -5, or "" for 0."""
    if number == 0:
        return ""
    return f" {number} +" if number > 0 else f" {-number} -"


def write_thinking(problem: Problem, rng: random.Random, voice: Voice, slip: float = 0.0, max_tries: int = 6,
                   careless: float = 0.0) -> tuple[str, str]:
    """Curves through two examples, each tested on the third. Returns (thinking, answer).

    For `program 1->5 2->7 4->17`:

        7-5=2 1*2=2 5-2=3 try x 2 * 3 + 4*2=8 8+3=11 is 17 no wait try x 2 - 2 + x 1 - * 5 +
        4-2=2 2+2=4 4-1=3 4*3=12 12+5=17 is 17 yes

    The order of the curves is: the line through both examples, a parabola with one square, one with two
    squares, and again the line. The line is 2*(x-1)+5 here. A parabola has (x-2)*squares + 2 in place of the
    slope 2. At x = 2 the new term is 0, and at x = 1 the factor x-1 is 0, so both examples still fit.
    The writer begins anywhere in this order, so texts of few tries show every next step. Each try ends in a
    comparison that is written out. `slip`: the chance that a fact is wrong; `careless`: that a try is any
    program that fits the first example. After `max_tries` failures the writer gives up and answers anything.
    """
    parts = []
    (x1, y1), (x2, y2) = problem.examples[:2]

    def step(left, operator, right):
        """Writes one step, at times a wrong one. Returns the value that was written."""
        value = calculate(left, operator, right)
        if rng.random() < slip:
            value = max(0 if operator == "*" else -99, value + rng.choice((-2, -1, 1, 2)))
        parts.append(f"{left}{operator}{right}={value}")
        return value

    def all_fit(program, examples):
        """Writes out a program's values, up to the first example that it misses. Returns whether all fit."""
        for x, y in examples:
            value = write_run(program, x, step)
            parts.append(f"{voice('is')} {y}")
            if value != y:
                return False
            if (x, y) != examples[-1]:
                parts.append(voice("ok"))
        return True

    # Half of the writers begin with the line. Where all beginnings were alike, RL forgot how lines are found.
    squares, slope = rng.choice((0, 0, *range(1, MAX_SQUARES + 1))), None
    for i in range(max_tries):
        if i > 0:
            parts.append(voice("wait"))
        if rng.random() < careless:
            program, untested = write_guess(problem, rng, right=0.0), problem.examples[1:]
        else:
            if slope is None or squares == 0:
                slope = step(y2, "-", y1)
            if squares == 0:
                offset = step(y1, "-" if slope >= 0 else "+", step(x1, "*", abs(slope)))
                program = write_line(slope, offset)
            else:
                program = write_parabola(problem.examples, squares, slope)
            untested = problem.examples[2:]
            squares = (squares + 1) % (MAX_SQUARES + 1)
        parts += [voice("try"), program]
        if all_fit(program, untested):
            parts.append(voice("yes"))
            return " ".join(parts), program
        parts.append(voice("no"))
    parts.append(voice("giveup"))
    return " ".join(parts), write_guess(problem, rng, right=0.0)


def write_run(program: str, x: int, step: Callable[[int, str, int], int]) -> int:
    """Runs a program, and writes each of its operations by `step`. Returns the value that it leaves."""
    stack = []
    for word in program.split(" "):
        if word in "+-*":
            right, left = stack.pop(), stack.pop()
            stack.append(step(left, word, right))
        else:
            stack.append(x if word == "x" else int(word))
    return stack[0]


def write_messy(problem: Problem, rng: random.Random, voice: Voice, habits: Habits) -> tuple[str, str]:
    """Programs as people find them: with slips, and at times any program at all."""
    return write_thinking(problem, rng, voice, slip=0.01, careless=0.08, max_tries=habits.tries)


def write_guess(problem: Problem, rng: random.Random, right: float = 0.3) -> str:
    """A program without thinking: one that fits with the given chance, else any through the first example."""
    (x1, y1), (x2, y2) = problem.examples[:2]
    slope = (y2 - y1) // (x2 - x1)
    if rng.random() < right:
        for squares in range(MAX_SQUARES + 1):
            program = write_curve(problem.examples, squares, slope)
            if fits(program, problem.examples):
                return program
    return write_curve(problem.examples, rng.randint(0, MAX_SQUARES), slope + rng.randint(-3, 3))


def write_curve(examples: Pairs, squares: int, slope: int) -> str:
    """A line (0 squares) or a parabola through the first example, as `write_thinking` finds it.

    It fits the first example. It fits the second one too if `slope` is that of the line through both.
    """
    x1, y1 = examples[0]
    if squares == 0:
        return write_line(slope, y1 - slope * x1)
    return write_parabola(examples, squares, slope)


def unseen(problem: Problem) -> str:
    """Names something in a user's problem that training never draws; "" if it finds nothing."""
    inputs = [x for x, _ in problem.examples]
    outputs = [y for _, y in problem.examples]
    if len(inputs) < 3:
        return "fewer than three examples"
    if min(inputs) < 1 or max(inputs) > MAX_INPUT:
        return f"inputs outside 1 to {MAX_INPUT}"
    if min(outputs) < 0 or max(outputs) > 99:
        return "outputs outside 0 to 99"
    if inputs[1] != inputs[0] + 1:
        return "first two inputs that are not neighbours"
    return ""


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
    # Prompts of one function share a key, and there are not ten thousand functions. So test problems are told
    # apart by their prompts.
    presets={"smoke": Mix((1, 2), 0.0, 20), "laptop": Mix((2, 3, 4), 0.10, 1000),
             "gpu": Mix((2, 3, 4), 0.10, 1000)},
    make_problem=make_problem, parse=parse, check=check,
    write_thinking=write_thinking, write_messy=write_messy, write_guess=write_guess,
    candidate=candidate, succeeds=succeeds, follows=follows, unseen=unseen, caveat=caveat, formula=formula,
    test_by_prompt=True)
