"""Problems: drawn by seed, as their level says, with a right target, one key for one problem,
and a clean split."""

import collections
import itertools
import random
import re
from fractions import Fraction
from string import ascii_lowercase

import pytest
from reference import (
    expression_value,
    fails_with_one_line,
    numbers_used,
    reachable,
    run_program,
    steps_of,
    true_step,
)

from minireason import tasks
from minireason.tasks import countdown, draw_problem, make_problem, parse_prompt
from minireason.tasks import program as programs
from minireason.tasks.problem import is_test
from minireason.tasks.words import ENGLISH, SPANISH, Voice
from minireason.tools.verdict import explain
from minireason.upkeep.seeding import derive_rng, derive_seed
from minireason.verifier import verify

TASKS, LEVELS = ("arithmetic", "countdown", "program"), (1, 2, 3, 4)
SCORED = {"arithmetic": (2, 3), "countdown": (2, 3), "program": (2, 3, 4)}


def draws(task, level, number, seed=0):
    rng = random.Random(seed)
    return [make_problem(task, rng, level) for _ in range(number)]


def chain(problem):
    return problem.prompt.removeprefix("compute ")


def terms_of(text):
    """The signed products of a chain: `8*3-9` -> Counter of ("+", (3, 8)) and ("-", (9,))."""
    return collections.Counter((sign or "+", tuple(sorted(map(int, term.split("*")))))
                               for sign, term in re.findall("([+-]?)([0-9*]+)", text))


# -----------------------------------------------------------------------------
# Drawing

@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("level", LEVELS)
def test_the_same_state_draws_the_same_problem(task, level):
    first, second = random.Random(7), random.Random(7)
    for _ in range(20):
        assert make_problem(task, first, level) == make_problem(task, second, level)
    assert first.getstate() == second.getstate()
    assert len({p.prompt for p in draws(task, level, 50, seed=8)}) > 25   # and another state another one


def test_the_global_generator_is_left_alone():
    random.seed(3)
    before = random.getstate()
    for task in TASKS:
        draws(task, 2, 5)
    tasks.test_problems("arithmetic", (2,), 5, 0)
    assert random.getstate() == before


@pytest.mark.parametrize("task", ["chat", "", "Arithmetic", "countdown ", None, 1])
def test_unknown_tasks_raise(task):
    fails_with_one_line(make_problem, task, random.Random(0))


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("level", [0, 5, -1, 10**9, 1.5, "1", None])
def test_unknown_levels_raise(task, level):
    if (task, level) == ("arithmetic", 0):
        return      # the smoke preset's
    fails_with_one_line(make_problem, task, random.Random(0), level)


def test_seeds_depend_on_every_name():
    """Worked by hand: the first 8 bytes of sha256("0/a") are 0x957ac4e2... ;
    here only that nothing collides."""
    names = [(0,), (1,), (0, "a"), (0, "b"), (0, "a", 1), (0, "a", 2), (1, "a", 1), (0, "a", "b", 1)]
    seeds = [derive_seed(*name) for name in names]
    assert len(set(seeds)) == len(seeds) and all(0 <= seed < 2**63 for seed in seeds)
    assert derive_rng(0, "a").random() == derive_rng(0, "a").random() != derive_rng(0, "b").random()


# -----------------------------------------------------------------------------
# Levels and targets

@pytest.mark.parametrize("level, fewest, most", [(1, 2, 2), (2, 3, 3), (3, 4, 5), (4, 6, 8)])
def test_arithmetic_levels(level, fewest, most):
    """Two, three, four or five, six to eight terms; digits or products of two digits from 2;
    results 0 to 99."""
    lengths = set()
    for problem in draws("arithmetic", level, 400):
        terms = re.split("[+-]", chain(problem))
        lengths.add(len(terms))
        for term in terms:
            assert re.fullmatch("[1-9]|[2-9][*][2-9]", term), problem.prompt
        assert 0 <= problem.target <= 99 and problem.level == level
        assert problem.target == expression_value(chain(problem))
    assert lengths == set(range(fewest, most + 1))


def test_level_0_of_arithmetic_is_few_facts_and_many_problems():
    """Four digits, all totals 0 to 20: hundreds of facts, thousands of problems, and enough to test."""
    facts, keys = set(), set()
    for problem in draws("arithmetic", 0, 8000):
        assert re.fullmatch("[1-9]([+-][1-9]){3}", chain(problem)), problem.prompt
        assert problem.target == expression_value(chain(problem)) and problem.level == 0
        for end in (1, 3, 5):
            total, operator, digit = expression_value(chain(problem)[:end]), *chain(problem)[end:end + 2]
            assert 0 <= total <= 20
            facts.add((total, operator, digit))
        assert 0 <= problem.target <= 20
        keys.add(problem.key)
    assert len(facts) < 360 and len(keys) > 2000
    assert len(tasks.test_problems("arithmetic", (0,), 250, seed=1)) == 250


def test_golden_examples_of_level_0_take_three_steps():
    short, long = "7-3=4 so 4+8=12 so 12-5=7", "2*3=6 so 6+4=10 so 10-5=5"
    assert tasks.TASKS["arithmetic"].is_short(short) and not tasks.TASKS["arithmetic"].is_short(long)


@pytest.mark.parametrize("level, count, largest", [(1, 2, 9), (2, 3, 9), (3, 3, 20), (4, 4, 9)])
def test_countdown_levels(level, count, largest):
    seen = set()
    for problem in draws("countdown", level, 400):
        target, numbers = re.fullmatch("make ([0-9]+) from ([0-9 ]+)", problem.prompt).groups()
        numbers = tuple(map(int, numbers.split(" ")))
        assert (int(target), numbers, level) == (problem.target, problem.numbers, problem.level)
        assert len(numbers) == count and 1 <= min(numbers) and 1 <= problem.target <= 99
        assert problem.target in reachable(tuple(sorted(numbers)))
        seen.update(numbers)
    assert max(seen) == largest


@pytest.mark.parametrize("level", LEVELS)
def test_program_levels(level):
    for problem in draws("program", level, 100):
        inputs, outputs = zip(*problem.examples)
        assert len(set(inputs)) == 3 and len(set(outputs)) > 1 and all(0 <= y <= 99 for y in outputs)
        assert problem.prompt == "program " + " ".join(f"{x}->{y}" for x, y in problem.examples)
        assert problem.hidden and problem.level == level


def whole_polynomial(examples):
    """The coefficients of Lagrange's polynomial through the examples, lowest first;
    None where one is a fraction."""
    total = [Fraction(0)] * len(examples)
    for x, y in examples:
        term = [Fraction(y)]
        for other, _ in examples:
            if other != x:      # times (X - other) / (x - other)
                shifted, lowered = [Fraction(0), *term], [-other * factor for factor in term] + [Fraction(0)]
                term = [(a + b) / (x - other) for a, b in zip(shifted, lowered)]
        total = [a + b for a, b in zip(total, term)]
    return [int(a) for a in total] if all(a.denominator == 1 for a in total) else None


def test_examples_mean_the_polynomial_of_the_lowest_degree_through_them():
    rng, fractions = random.Random(0), 0
    for _ in range(600):
        inputs = rng.sample(range(-9, 10), rng.randint(2, 6))
        if rng.random() < 0.5:
            a, b, c, d = (rng.randint(-4, 4) for _ in range(4))
            examples = tuple((x, a * x**3 + b * x * x + c * x + d) for x in inputs)
        else:
            examples = tuple((x, rng.randint(-99, 99)) for x in inputs)
        problem = parse_prompt("program " + " ".join(f"{x}->{y}" for x, y in examples))
        expected = whole_polynomial(examples)
        fractions += expected is None
        assert (problem.hidden == ()) is (expected is None)
        for x, y in problem.hidden:
            assert y == sum(factor * x**power for power, factor in enumerate(expected))
    assert 100 < fractions < 400


@pytest.mark.parametrize("level, squares", [(1, {0}), (2, {0}), (3, {1}), (4, {2})])
def test_levels_of_programs_are_lines_and_parabolas(level, squares):
    """Read off the hidden outputs, of which three are enough."""
    found = set()
    for problem in draws("program", level, 150):
        offset, slope, square = (*whole_polynomial(problem.hidden[:3]), 0, 0)[:3]
        assert all(y == square * x * x + slope * x + offset for x, y in problem.examples + problem.hidden)
        assert len(problem.hidden) == programs.NUM_HIDDEN
        assert not dict(problem.examples).keys() & dict(problem.hidden)
        assert abs(slope) <= programs.MAX_SLOPE and abs(offset) <= programs.MAX_OFFSET
        assert level > 1 or slope == 1 or offset == 0
        (first, second, third), _ = zip(*problem.examples)
        assert 1 <= first == second - 1 < third - 1 <= programs.MAX_INPUT - 1
        found.add(square)
    assert found == squares


@pytest.mark.slow
def test_a_thousand_held_out_programs_are_of_three_hundred_functions():
    levels = tasks.TASKS["program"].presets["laptop"].levels
    keys = collections.Counter(problem.key for problem in tasks.test_problems("program", levels, 1000, 1234))
    assert len(keys) >= 300 and max(keys.values()) <= 10        # no function has more than ten prompts


def test_each_function_has_hidden_inputs_of_its_own():
    inputs = {problem.key: frozenset(x for x, _ in problem.hidden) for problem in draws("program", 2, 300)}
    assert len(set(inputs.values())) == len(inputs) > 100
    uses = collections.Counter(x for chosen in inputs.values() for x in chosen)
    assert set(uses) == set(programs.HIDDEN_INPUTS) and max(uses.values()) < 0.5 * len(inputs)


# -----------------------------------------------------------------------------
# How many problems there are

def test_countdown_of_three_digits_has_1864_problems():
    """Counted by writing every expression: both bracketings of every order and every pair of operators."""
    operations = {"+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b}.values()
    problems = set()
    for numbers in itertools.combinations_with_replacement(range(1, 10), 3):
        for a, b, c in itertools.permutations(numbers):
            for f, g in itertools.product(operations, repeat=2):
                problems |= {(value, numbers) for value in (g(f(a, b), c), f(a, g(b, c))) if 1 <= value <= 99}
    assert len(problems) == 1864
    drawn = {(p.target, tuple(sorted(p.numbers))) for p in draws("countdown", 2, 5000)}
    assert drawn <= problems and len(drawn) > 1200


def test_counts_in_the_text_are_right():
    counts = [sum(1 <= value <= 99
                  for numbers in itertools.combinations_with_replacement(range(1, largest + 1), count)
                  for value in reachable(numbers)) for count, largest in ((3, 9), (3, 20), (4, 9))]
    for count in counts:
        assert f"{count:,}" in countdown.__doc__
    drawn = 0           # at level 4, where it makes a difference to take one number after the other
    for numbers in itertools.combinations_with_replacement(range(1, 10), 4):
        targets = set()
        for first, *others in set(itertools.permutations(numbers)):
            values = {first}
            for number in others:
                sums, products = {value + number for value in values}, {value * number for value in values}
                values = sums | products | {abs(value - number) for value in values}
            targets |= values
        drawn += sum(1 <= target <= 99 for target in targets)
    assert f"{drawn:,}" in countdown.__doc__
    assert counts[1] > 10_000   # a scored level has ten times its thousand test problems


# -----------------------------------------------------------------------------
# Keys

@pytest.mark.parametrize("a, b, same", [
    ("compute 7*7+8*3-9", "compute 3*8-9+7*7", True),
    ("compute 7*7+8*3-9", "compute -9+7*7+8*3", True),
    ("compute 2*3+4", "compute 4 + 3*2", True),
    ("compute 2*3+4", "compute 2+3*4", False),
    ("compute 8-3", "compute 3-8", False),
    ("compute 6+4", "compute 2*3+4", False),          # another way to the same number is another problem
    ("compute 1+2-3", "compute 1-2+3", False),
    ("compute 23+4", "compute 2*3+4", False),
    ("make 42 from 3 8 6", "make 42 from 6 3 8", True),
    ("make 42 from 3 8 6", "make 41 from 3 8 6", False),
    ("make 42 from 3 8 6", "make 42 from 3 8 8", False),
    ("make 14 from 2 3 8", "make 1 from 42 3 8", False),
    ("make 42 from 3 8", "make 4 from 2 3 8", False),
    ("program 1->3 2->5 4->9", "program 2->5 3->7 5->11", True),   # one function, 2x+1
    ("program 1->3 2->5 4->9", "program 1->3 2->6 4->12", False),
])
def test_keys_by_hand(a, b, same):
    assert (parse_prompt(a).key == parse_prompt(b).key) is same


@pytest.mark.parametrize("level", LEVELS)
def test_keys_are_the_canonical_form(level):
    """Equal keys exactly where an independent canonical form is equal."""
    for task, form in (("arithmetic", lambda p: frozenset(terms_of(chain(p)).items())),
                       ("countdown", lambda p: (p.target, tuple(sorted(p.numbers))))):
        problems = draws(task, level, 1500)
        forms = [form(p) for p in problems]
        keys = [p.key for p in problems]
        assert len(set(forms)) == len(set(keys)) == len(set(zip(keys, forms)))


def test_shuffled_problems_keep_their_key():
    rng = random.Random(1)
    for level in LEVELS:
        for problem in draws("arithmetic", level, 100):
            terms = [(sign or "+", term.split("*"))
                     for sign, term in re.findall("([+-]?)([0-9*]+)", chain(problem))]
            rng.shuffle(terms)
            text = "".join(sign + "*".join(rng.sample(factors, len(factors))) for sign, factors in terms)
            assert parse_prompt("compute " + text.removeprefix("+")).key == problem.key
        for problem in draws("countdown", level, 100):
            numbers = rng.sample(problem.numbers, len(problem.numbers))
            prompt = f"make {problem.target} from {' '.join(map(str, numbers))}"
            assert parse_prompt(prompt).key == problem.key


# -----------------------------------------------------------------------------
# The split

@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_train_and_test_problems_are_disjoint(task):
    rng = random.Random(0)
    train = [draw_problem(task, rng, level) for level in SCORED[task] for _ in range(1500)]
    test = tasks.test_problems(task, SCORED[task], 300, seed=1234)
    test += [draw_problem(task, rng, level, test=True) for level in SCORED[task] for _ in range(50)]
    assert not {p.key for p in train} & {p.key for p in test}
    assert not {p.prompt for p in train} & {p.prompt for p in test}
    assert not any(map(is_test, train)) and all(map(is_test, test))


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_about_a_tenth_is_for_testing(task):
    keys = {p.key: p for level in (2, 3, 4) for p in draws(task, level, 4000)}
    share = sum(map(is_test, keys.values())) / len(keys)
    assert len(keys) > 1000 and 0.06 < share < 0.14


@pytest.mark.parametrize("task", TASKS)
def test_test_problems_are_distinct_and_seeded(task):
    problems = tasks.test_problems(task, SCORED[task], 200, seed=5)
    assert len(problems) == len({p.prompt for p in problems}) == 200
    assert task == "program" or len({p.key for p in problems}) == 200
    assert problems == tasks.test_problems(task, SCORED[task], 200, seed=5)
    assert problems != tasks.test_problems(task, SCORED[task], 200, seed=6)
    assert {p.level for p in problems} == set(SCORED[task])


def test_a_side_of_the_split_that_is_empty_raises(monkeypatch):
    """Where no problem is for testing, looking for one must come to an end."""
    monkeypatch.setattr(tasks, "is_test", lambda problem: False)
    fails_with_one_line(lambda: draw_problem("countdown", random.Random(0), 1, test=True))


def test_too_few_test_problems_raise():
    """Two digits make 125 problems, a tenth of them for testing."""
    fails_with_one_line(tasks.test_problems, "countdown", (1,), 100, 0)


# -----------------------------------------------------------------------------
# What a user types

@pytest.mark.parametrize("level", LEVELS)
def test_prompts_parse_back(level):
    for problem in draws("arithmetic", level, 300) + draws("countdown", level, 300):
        again = parse_prompt(problem.prompt)
        assert (again.key, again.task, again.prompt) == (problem.key, problem.task, problem.prompt)
        assert (again.target, again.numbers) == (problem.target, problem.numbers)


@pytest.mark.parametrize("level", LEVELS)
def test_program_prompts_parse_back(level):
    """The hidden pairs are worked out anew from the examples alone, at the levels that are not scored too."""
    for problem in draws("program", level, 200):
        assert parse_prompt(problem.prompt) == problem


def test_typed_problems_may_be_unsolvable():
    assert parse_prompt("make 100 from 1 1").target == 100
    assert parse_prompt("make -5 from 3 8").target == -5
    assert parse_prompt("  compute 1 + 2*3 - 4  ").target == 3
    assert parse_prompt("compute -7-8").target == -15
    assert parse_prompt("compute 9999*9999*9999").target == 9999**3
    assert parse_prompt("program 1->1 2->7 3->2").hidden == ()


@pytest.mark.parametrize("text", [
    "", " ", "\n", "hello", "compute", "compute ", "make", "program", "zebra 2+2", "COMPUTE 2+2", "2+2",
    "compute2+2", "compute 2+", "compute +", "compute *2", "compute 2**3", "compute 7//2", "compute 7/2",
    "compute 9**9**9", "compute (2+3)", "compute 02+3", "compute 2+03", "compute 00", "compute 2 3",
    "compute 2+3 4", "compute 2.5+1", "compute 1e3", "compute 1_000", "compute 0x10", "compute ٣+٤",
    "compute ３+4", "compute ²", "compute 2−1",
    "compute 2+3=5", "compute 2+3;", "compute 2\n+3", "compute 2+3\x00", "compute 2+\ud800", "compute\t2+2",
    "compute 12345+1", "compute " + "1+" * 60 + "1", "compute " + "2*" * 7 + "2",
    "compute " + "9" * 1_000_000, "compute " + "(" * 100_000 + "1" + ")" * 100_000,
    "compute __import__('os')", "make 42", "make 42 from", "make 42 from 3", "make from 3 8 6",
    "make 42 from 3,8,6", "make 42 from 3  8 6",
    "make 42 from 03 8 6", "make 042 from 3 8 6", "make 42 from 3 8 -6", "make 4.2 from 3 8 6",
    "make x from 3 8 6", "make 42 from 3 8 6 6 6 6 6", "make 42 from 3 8 60000", "make 99999 from 3 8 6",
    "make ٤٢ from 3 8 6", "make 42 from 3 8 6 please", "make 42 from " + "3 " * 100_000,
    "make --42 from 3 8", "make 42 from 3\x008",
    "program ", "program 1", "program 1->", "program ->3", "program 1->3,2->5", "program 1->3  2->5",
    "program 1-3", "program 1->3 1->3", "program 1->3 1->4", "program 01->3", "program 1->03",
    "program -0->3", "program 1->99999", "program 1->x", "program ١->3",
    "program 1->3 2->4 3->5 4->6 5->7 6->8 7->9", "program " + "1->3 " * 100_000,
])
def test_malformed_prompts_raise_one_line(text):
    fails_with_one_line(parse_prompt, text)


@pytest.mark.parametrize("text", ["compute 5+ +3", "compute 5 - - 3", "compute 5* *3", "compute 5* -3",
                                  "compute 5+ *3", "compute 5 + * 3"])
def test_two_operators_with_a_space_between_raise_too(text):
    """`5 - - 3` must not become another problem than the one that was typed."""
    fails_with_one_line(parse_prompt, text)


# -----------------------------------------------------------------------------
# The teacher: what the corpus writes without slips is right

@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("language, words", [("en", ENGLISH), ("es", SPANISH)])
def test_worked_chains_are_true(level, language, words):
    rng = random.Random(level)
    for problem in draws("arithmetic", level, 150):
        thinking, answer = tasks.TASKS["arithmetic"].write_thinking(problem, rng, Voice(rng, language),
                                                                    check_chance=0.5)
        assert int(answer) == expression_value(chain(problem))
        steps = steps_of(thinking)
        assert steps and len(steps) == thinking.count("=") and all(map(true_step, steps))
        assert set(re.findall("[a-z]+", thinking)) <= words
        assert int(steps[-1].split("=")[1]) == problem.target or "check" in thinking or "revisa" in thinking


@pytest.mark.parametrize("level", LEVELS)
def test_every_way_of_the_countdown_teacher_is_a_solution(level):
    """Each way back to two numbers, put together again, uses every number once and makes the target.

    A way ends early at a division that is not even.
    """
    solutions = 0
    for problem in draws("countdown", level, 60):
        for way in countdown.ways(problem.target, list(problem.numbers)):
            steps = [step.split(" ")[1] for step in way.steps]
            if way.needed is None:
                target, number = steps.pop().split("/")
                assert int(target) % int(number) != 0
            assert all(map(true_step, steps))
            if way.needed is None:
                continue
            for expression, value in countdown.pair_results(way.pair):
                assert value == expression_value(expression)
                if value == way.needed:
                    answer = way.fill(expression)
                    assert expression_value(answer) == problem.target, (problem.prompt, way.steps, answer)
                    assert numbers_used(answer) == sorted(problem.numbers)
                    solutions += 1
    assert solutions >= 60


@pytest.mark.parametrize("level", LEVELS)
def test_countdown_traces_that_end_in_yes_are_right(level):
    rng, right = random.Random(level), 0
    for problem in draws("countdown", level, 150):
        thinking, answer = countdown.write_thinking(problem, rng, Voice(rng, "en"))
        assert all(map(true_step, steps_of(thinking))) and thinking.startswith("try ")
        if thinking.endswith(" yes"):
            assert expression_value(answer) == problem.target
            assert numbers_used(answer) == sorted(problem.numbers)
            assert verify(problem, f"<think>{thinking}</think><answer>{answer}</answer>").correct
            right += 1
    assert right > 30


@pytest.mark.parametrize("level", LEVELS)
def test_program_traces_end_in_a_program_that_is_right(level):
    """There are as many curves to try as levels have squares. One of them is the function that was drawn."""
    rng = random.Random(level)
    for problem in draws("program", level, 100):
        thinking, answer = programs.write_thinking(problem, rng, Voice(rng, "en"))
        assert all(map(true_step, steps_of(thinking))) and len(steps_of(thinking)) == thinking.count("=")
        assert thinking.endswith(" yes") and thinking.count("try") <= programs.MAX_SQUARES + 1
        assert all(run_program(answer, x) == y for x, y in problem.examples + problem.hidden)


def squares_of(program, problem):
    """How often x*x is in a program, by its second difference."""
    first, second, third = (run_program(program, x) for x in (0, 1, 2))
    return (third - 2 * second + first) // 2


def test_texts_of_two_tries_show_every_next_step():
    """From the line to one square, to two, and again to the line. Every try fits two examples; one that is
    followed by another misses the third."""
    rng, shown = random.Random(0), set()
    for problem in draws("program", 2, 100) + draws("program", 3, 100) + draws("program", 4, 100):
        thinking, _ = programs.write_thinking(problem, rng, Voice(rng, "en"), max_tries=2)
        tried = [" ".join(programs.candidate(problem, text)) for text in thinking.split("try")[1:]]
        for program in tried:
            assert all(run_program(program, x) == y for x, y in problem.examples[:2])
        assert len(tried) <= 2 and all(programs.check(problem, program) for program in tried[:-1])
        assert len(tried) == 2 or programs.check(problem, tried[0]) is None
        shown.add(tuple(squares_of(program, problem) for program in tried))
    assert {squares for squares in shown if len(squares) == 2} == {(0, 1), (1, 2), (2, 0)}


def documented_ways(target, numbers):
    """The moves of every way back to two numbers, as `moves_back` describes their order, by text alone."""
    if len(numbers) == 2:
        return [()]
    ordered, letters = [], iter(ascii_lowercase)
    for operator in "-/+":
        for i, number in enumerate(numbers):
            move = next(letters) + " "
            if operator == "/" and target % number != 0:
                ordered.append((move + f"{target}/{number}",))
                continue
            if operator == "-":
                left, right = max(target, number), min(target, number)
                needed = left - right
            else:
                left, right = target, number
                needed = target // number if operator == "/" else target + number
            for later in documented_ways(needed, numbers[:i] + numbers[i + 1:]):
                ordered.append((move + f"{left}{operator}{right}={needed}", *later))
    return ordered


def moves_of(text):
    """The moves of what follows the word `try`, such as ("c 70-10=60",): without the two numbers' step."""
    words = re.split(" is | no", text.strip())[0].split(" ")
    if " is " in text:
        words.pop()
    return tuple(" ".join(move) for move in zip(words[::2], words[1::2], strict=True))


@pytest.mark.parametrize("level, max_tries", [(2, 10), (3, 2), (3, 10), (4, 3), (4, 10)])
def test_each_try_of_countdown_follows_from_the_one_before_it(level, max_tries):
    """The writer begins anywhere in the documented order, and goes on after the last way with the first."""
    rng, starts, wrapped = random.Random(level), collections.Counter(), 0
    for problem in draws("countdown", level, 300):
        ordered = documented_ways(problem.target, list(problem.numbers))
        for _ in range(3):
            thinking, _ = countdown.write_thinking(problem, rng, Voice(rng, "en"), max_tries=max_tries)
            tried = [moves_of(text) for text in thinking.split("try ")[1:]]
            assert 1 <= len(tried) <= min(max_tries, len(ordered))
            assert len(tried) == min(max_tries, len(ordered)) or thinking.endswith(" yes")
            first = ordered.index(tried[0])
            assert tried == (ordered + ordered)[first:first + len(tried)], (problem.prompt, thinking)
            starts[first] += 1
            wrapped += first + len(tried) > len(ordered)
    assert len(starts) >= 5 and max(starts.values()) < 0.4 * starts.total() and wrapped > 0


@pytest.mark.parametrize("level", [2, 3])
def test_letters_of_tries_follow_the_alphabet_and_a_follows_i(level):
    """Three numbers, nine moves: also where numbers are equal, or a division is not even."""
    rng, pairs = random.Random(level), set()
    for problem in draws("countdown", level, 300):
        thinking, _ = countdown.write_thinking(problem, rng, Voice(rng, "en"))
        letters = re.findall("try ([a-z]) ", thinking)
        assert len(letters) == thinking.count("try")
        pairs.update(map("".join, itertools.pairwise(letters)))
    assert pairs == {"ab", "bc", "cd", "de", "ef", "fg", "gh", "hi", "ia"}


def test_a_thought_of_countdown_by_hand(monkeypatch):
    """The picture in the docstring: the third move is tried first, and two divisions are not even."""
    rng, problem = random.Random(0), parse_prompt("make 70 from 6 13 10")
    monkeypatch.setattr(rng, "randrange", lambda stop: 2)
    thinking, answer = countdown.write_thinking(problem, rng, Voice(rng, "en"))
    assert thinking == ("try c 70-10=60 6*13=78 is 60 no wait try d 70/6 no wait try e 70/13 no wait "
                        "try f 70/10=7 13-6=7 is 7 yes")
    assert answer == "(13-6)*10" and thinking in " ".join(countdown.write_thinking.__doc__.split())
    given_up, _ = countdown.write_thinking(problem, rng, Voice(rng, "en"), max_tries=2)
    assert given_up == "try c 70-10=60 6*13=78 is 60 no wait try d 70/6 no enough"


def test_equal_numbers_of_countdown_keep_their_letters():
    steps = [step for step, *_ in countdown.moves_back(42, [6, 6, 8])]
    assert steps == ["a 42-6=36", "b 42-6=36", "c 42-8=34", "d 42/6=7", "e 42/6=7", "f 42/8",
                     "g 42+6=48", "h 42+6=48", "i 42+8=50"]


def test_nothing_is_divided_by_0_and_a_number_above_the_target_is_the_minuend():
    assert countdown.moves_back(3, [0, 5, 1]) == [
        ("a 3-0=3", 3, [5, 1], "{}+0"), ("b 5-3=2", 2, [0, 1], "5-{}"), ("c 3-1=2", 2, [0, 5], "{}+1"),
        ("d 3/0", None, [5, 1], "{}"), ("e 3/5", None, [0, 1], "{}"), ("f 3/1=3", 3, [0, 5], "{}*1"),
        ("g 3+0=3", 3, [5, 1], "{}-0"), ("h 3+5=8", 8, [0, 1], "{}-5"), ("i 3+1=4", 4, [0, 5], "{}-1")]


@pytest.mark.parametrize("prompt, squares, texts", [
    ("program 1->5 2->7 4->17", 0, "7-5=2 1*2=2 5-2=3 try x 2 * 3 + 4*2=8 8+3=11 is 17 no wait "
     "try x 2 - 2 + x 1 - * 5 + 4-2=2 2+2=4 4-1=3 4*3=12 12+5=17 is 17 yes"),
    ("program 2->8 3->14 5->38", 2, "14-8=6 try x 3 - 2 * 6 + x 2 - * 8 + "
     "5-3=2 2*2=4 4+6=10 5-2=3 10*3=30 30+8=38 is 38 yes"),
    ("program 1->9 2->9 3->11", 0, "9-9=0 1*0=0 9-0=9 try 9 is 11 no wait "
     "try x 2 - x 1 - * 9 + 3-2=1 3-1=2 1*2=2 2+9=11 is 11 yes"),
    ("program 2->9 3->7 4->5", 0, "7-9=-2 2*2=4 9+4=13 try 13 x 2 * - 4*2=8 13-8=5 is 5 yes"),
])
def test_thoughts_of_programs_by_hand(prompt, squares, texts, monkeypatch):
    rng, problem = random.Random(0), parse_prompt(prompt)
    monkeypatch.setattr(rng, "choice", lambda curves: squares)      # which one is tried first
    assert programs.write_thinking(problem, rng, Voice(rng, "en"))[0] == texts


def test_guesses_are_right_as_often_as_asked():
    """A guess asked to be right is; one asked to be wrong is at most right by luck."""
    rng = random.Random(0)
    for task in ("arithmetic", "countdown"):
        for problem in draws(task, 2, 100):
            answer = tasks.TASKS[task].write_guess(problem, rng, right=1.0)
            assert verify(problem, f"<think></think><answer>{answer}</answer>").correct, (problem, answer)
            wrong = tasks.TASKS[task].write_guess(problem, rng, right=0.0)
            assert task == "countdown" or int(wrong) != problem.target
            assert task == "arithmetic" or numbers_used(wrong) == sorted(problem.numbers)


# -----------------------------------------------------------------------------
# The interpreter

def ran(program, x):
    try:
        return programs.run(program, x)
    except programs.ProgramError as error:
        assert str(error) and len(str(error).splitlines()) == 1
        return None


@pytest.mark.parametrize("program, x, value", [
    ("x", 7, 7), ("x 2 * 1 +", 4, 9), ("x 3 -", 1, -2), ("3 x -", 1, 2), ("0", 5, 0), ("x x *", -3, 9),
    ("1 2 3 * +", 0, 7), ("1 2 + 3 *", 0, 9),
])
def test_programs_by_hand(program, x, value):
    assert programs.run(program, x) == value == run_program(program, x)


@pytest.mark.parametrize("program", [
    "", " ", "x ", " x", "x  2 +", "+", "x +", "x x", "1 2", "x 2 * +", "x 2 /", "x 2 **", "x 2 //", "y",
    "X", "x 02 +", "x 100 +", "x -1 +", "x 2 * 1 + x", "x\n2 +", "x\t2\t+", "x 2 *\n", "٣", "x ３ +",
    "x 2 ＋", "x,2,+", "\ud800", "\x00", "x 1e1 +", "lambda x: x", "1->3", "if",
    "x" * 1_000_000, "9" * 1_000_000, "x " * 1_000_000, "(" * 100_000,
])
def test_no_programs(program):
    with pytest.raises(programs.ProgramError):
        programs.run(program, 3)


def test_random_programs_against_rewriting():
    rng, good = random.Random(0), 0
    for _ in range(4000):
        words = ["x"]
        for _ in range(rng.randint(0, 6)):
            words += rng.choice((["x"], [str(rng.randint(0, 99))])) + [rng.choice("+-*")]
        if rng.random() < 0.5:
            rng.shuffle(words)
        program, x = " ".join(words), rng.randint(-20, 20)
        assert ran(program, x) == run_program(program, x), (program, x)
        good += ran(program, x) is not None
    assert good > 1500


@pytest.mark.parametrize("program, formula", [
    ("x", "x"), ("x 2 * 3 +", "x*2+3"), ("9 x 2 * -", "9-x*2"), ("1 x 2 + -", "1-(x+2)"),
    ("x 2 - 3 + x 1 - * 3 +", "(x-2+3)*(x-1)+3"), ("x 3 2 + *", "x*(3+2)"), ("x 3 2 + +", "x+3+2")])
def test_formulas_by_hand(program, formula):
    assert programs.formula(program) == formula


def test_a_formula_has_the_value_of_its_program_by_pythons_own_parser():
    rng, checked = random.Random(1), 0
    while checked < 1000:
        words = ["x", str(rng.randint(0, 9)), rng.choice("+-*")]
        for _ in range(rng.randint(0, 5)):
            words.insert(rng.randint(0, len(words)), rng.choice(("x", str(rng.randint(0, 99)), *"+-*")))
        program, x = " ".join(words), rng.randint(0, 20)
        value = ran(program, x)
        if value is not None:
            checked += 1
            assert expression_value(programs.formula(program).replace("x", str(x))) == value, program


def test_a_right_program_is_also_shown_as_a_formula():
    problem = parse_prompt("program 1->5 2->7 6->15")
    right, wrong = (explain(problem, f"<think></think><answer>{answer}</answer>").reason
                    for answer in ("x 2 * 3 +", "x 2 *"))
    assert right == "correct; as a formula: x*2+3" and "formula" not in wrong
    assert explain(parse_prompt("compute 1+1"), "<think></think><answer>2</answer>").reason == "correct"


def test_the_bound_on_steps():
    assert programs.run("x" + " 1 +" * 49, 0) == 49          # 99 words
    assert ran("x" + " 1 +" * 50, 0) is None                 # 101
    assert ran("x" + " x *" * 49, 2) is None                 # within the steps, beyond the values


def test_the_bound_on_values():
    """99*99*99 + 99*99*3 + 3*99 + 1 is a million exactly."""
    million = "99 99 * 99 * 99 99 * 3 * + 3 99 * + 1 +"
    assert programs.run(million, 0) == 10**6
    assert ran(million + " 1 +", 0) is None and ran(f"0 {million} - 1 -", 0) is None
    assert ran(million + " 1 + 1 -", 0) is None              # on the way counts too


def test_a_table_of_the_examples_is_no_program():
    """2x+1 + (x-1)(x-2)(x-4) fits every example shown, and is told apart on what is hidden."""
    problem = parse_prompt("program 1->3 2->5 4->9")
    table = "x 2 * 1 + x 1 - x 2 - * x 4 - * +"
    assert all(run_program(table, x) == y for x, y in problem.examples)
    verdict = verify(problem, f"<think></think><answer>{table}</answer>")
    assert verdict.well_formed and not verdict.correct and "hidden" in verdict.reason
    assert verify(problem, "<think></think><answer>x 2 * 1 +</answer>").correct
    # another writing of the function
    assert verify(problem, "<think></think><answer>x x + 1 +</answer>").correct
    assert not verify(problem, "<think></think><answer>1->3 2->5 4->9</answer>").correct


def polynomial(roots):
    """A program whose value is 0 at all roots: products of up to five factors, multiplied at the end."""
    groups = []
    for start in range(0, len(roots), 5):
        first, *others = [f"x {root} -" if root >= 0 else f"x {-root} +" for root in roots[start:start + 5]]
        groups.append(first + "".join(f" {factor} *" for factor in others))
    return " ".join(groups) + " *" * (len(groups) - 1)


def test_a_polynomial_through_hidden_inputs_is_no_way_around_them():
    """2x+1 + (x-1)(x-2)(x-4)x(x-3)(x-5)(x-10)(x-11)(x-17) once fitted every input that was ever tested. And
    who knows the hidden inputs of a problem passes the interpreter's bound before the last factor is 0."""
    problem = parse_prompt("program 1->3 2->5 4->9")
    once = "x 2 * 1 + " + polynomial([1, 2, 4, 0, 3, 5, 10, 11, 17]) + " +"
    assert all(run_program(once, x) == 2 * x + 1 for x in (1, 2, 4, 0, 3, 5, 10, 11, 17))
    assert not verify(problem, f"<think></think><answer>{once}</answer>").correct
    rng = random.Random(0)
    for problem in draws("program", 2, 40):
        right = programs.write_guess(problem, rng, right=1.0)
        roots = [x for x, _ in problem.examples + problem.hidden]
        for _ in range(20):
            rng.shuffle(roots)
            answer = f"{right} {polynomial(roots)} +"
            assert not verify(problem, f"<think></think><answer>{answer}</answer>").correct
        assert verify(problem, f"<think></think><answer>{right}</answer>").correct


@pytest.mark.parametrize("prompt, answer, correct, said", [
    ("program 1->3 2->5 4->9", "x 2 * 1 +", True, ""),
    ("program 1->3 2->5", "x 2 * 1 +", True, "two examples"),
    ("program 1->3 2->5", "x 2 * 1 + x 1 - x 2 - * +", False, "two examples"),         # fits them too
    ("program 1->3 4->6", "x 2 +", True, "two examples"),
    ("program 3->17 2->0", "x 2 - 17 *", True, "two examples"),
    ("program 2->4", "x 2 +", True, "examples alone"),                                 # or x * 2, or x * x
    ("program 2->4", "x x *", True, "examples alone"),
    ("program 1000->9999 1001->0", "91 11 * x - 99 * 99 2 + *", True, "tested on 0 of 10 hidden inputs"),
    ("program 1->0 2->0 3->0 4->0 5->0 6->9960", "x 1 - x 2 - * x 3 - * x 4 - * x 5 - * 83 *", True,
     "tested on 7 of 10 hidden inputs"),                       # -3 to 0 and 7 to 9: else it passes a million
    ("program 1->99 2->98 3->97 4->96 5->95 6->0", "x", False, ""),
    ("program 1->1 2->7 3->2", "x", False, ""),                # 2->7 is not 2: that needs no explanation
])
def test_a_verdict_says_what_it_does_not_know(prompt, answer, correct, said):
    verdict = verify(parse_prompt(prompt), f"<think></think><answer>{answer}</answer>")
    assert verdict.correct == correct, verdict
    assert said in verdict.reason and (said or ";" not in verdict.reason), verdict.reason
