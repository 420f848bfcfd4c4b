"""Random and hostile text against a second, independent implementation (reference.py): no crash, no false
accept, no false refusal, and bounded time and memory.

MINIREASON_LONG=1 python -m pytest tests/test_fuzz.py     a million cases of each kind instead of 20,000
"""

import os
import random
import re
import time
import tracemalloc

import pytest
from helpers import SHIPPED
from reference import encode, expression_value, form, read_prompt, run_program, second_opinion

from minireason.behaviour import observe
from minireason.tasks import make_problem, parse_prompt
from minireason.tasks import program as programs
from minireason.tokenizer import EOS, PAD, SPECIAL, TAGS, get_tokenizer
from minireason.verifier import canonical_answer, verify

CASES = 1_000_000 if os.environ.get("MINIREASON_LONG") == "1" else 20_000


def wrap(answer, thinking=""):
    return f"<think>{thinking}</think><answer>{answer}</answer>"


# -----------------------------------------------------------------------------
# Problems with a right answer, and what is near it

def arithmetic_case(rng):
    problem = make_problem("arithmetic", rng, rng.choice((1, 2, 3)))
    if rng.random() < 0.3:      # typed ones may be negative, and often zero
        a, b, c = rng.randint(1, 9), rng.randint(1, 9), rng.randint(1, 30)
        problem = parse_prompt(rng.choice((f"compute {a}*{b}-{a * b}", f"compute {a}-{c}*{b}",
                                           f"compute -{a}+{b}")))
    return problem, str(problem.target)


def countdown_case(rng):
    """A random expression, and the problem that it solves."""
    def write(numbers):
        if len(numbers) == 1:
            return str(numbers[0])
        cut = rng.randint(1, len(numbers) - 1)
        a, b = write(numbers[:cut]), write(numbers[cut:])
        space = rng.choice(("", "", " "))
        text = f"{a}{space}{rng.choice('+-*')}{space}{b}"
        return f"({text})" if rng.random() < 0.6 else text
    while True:
        numbers = [rng.choice((0, 1, 2, 3, 5, 6, 7, 8, 9, 11, 12, 25)) for _ in range(rng.randint(2, 5))]
        answer = write(numbers)
        if abs(target := expression_value(answer)) <= 9999:
            rng.shuffle(numbers)
            return parse_prompt(f"make {target} from {' '.join(map(str, numbers))}"), answer


def program_case(rng):
    """A random program, and the problem that it solves,
    except where a shorter program means something else."""
    while True:
        words = ["x"]
        for _ in range(rng.choice((0, 1, 1, 2, 2, 3))):
            words += [rng.choice(("x", *"0123456789", "12")), rng.choice("+-*")]
        pairs = [(x, run_program(" ".join(words), x)) for x in rng.sample(range(1, 7), 3)]
        if all(abs(y) <= 9999 for _, y in pairs):
            return parse_prompt("program " + " ".join(f"{x}->{y}" for x, y in pairs)), " ".join(words)


# A task of your own takes its place in these three tables. Without it, test_own_task.py tries it out.
DRAWN = {"arithmetic": arithmetic_case, "countdown": countdown_case, "program": program_case}
SYMBOLS = {"arithmetic": list("0123456789-+ .e_٣\n\x00"),
           "countdown": [*"0123456789+-*() /٣\n", "--", "()", "**"],
           "program": ["x", "+", "-", "*", *"0123456789", "10", "x +", " ", "  ", "/", "y", "٣", "\n"]}
# How many changed answers are still right, at least; 0 where a right answer has one spelling only.
MIN_CHANGED = {"arithmetic": 1, "countdown": CASES // 60, "program": CASES // 200}


def mutate(rng, answer, task):
    """The answer with one to three changes: a symbol dropped, doubled, swapped, replaced, put in,
    or all shuffled."""
    symbols = answer.split(" ") if task == "program" else list(answer)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        i, j = (rng.randrange(len(symbols)) if symbols else 0 for _ in "ab")
        kind, new = rng.randrange(7), rng.choice(SYMBOLS[task])
        if kind == 0:
            symbols[i:i + 1] = []
        elif kind == 1:
            symbols[i:i + 1] = symbols[i:i + 1] * 2
        elif kind == 2 and symbols:
            symbols[i], symbols[j] = symbols[j], symbols[i]
        elif kind == 3:
            symbols[i:i + 1] = [new]
        elif kind == 4:
            symbols.insert(i, new)
        elif kind == 5 and symbols:
            old = symbols[i]
            symbols[i] = rng.choice((f"({old})", f"{old} ")) if task == "countdown" else f"{old} {new}"
        else:
            rng.shuffle(symbols)
    return (" " if task == "program" else "").join(symbols)


HOSTILE = ["", " ", "-", "0", "-0", "00", "007", "+5", "--5", "- 5", "5**2", "7//2", "9**9**9", "9" * 400,
           "1e9", "0x10", "1_0", "5.0", "٥", "５", "²", "Ⅷ", "½", "−5", "5\u200b", "\ufeff5", "5\x00",
           "\ud800", "\udfff5", "5\n", "\t5", "5 5", "5(5)",
           "(((((5", "5)))))", "(" * 300 + "5" + ")" * 300, "()" * 200, "-(5)", "(-5)", "5*-5", "5--5",
           "+" * 500, "x", "x x", "x x *", "x 0 *", "x " * 99 + "x", "99 99 * 99 * 99 *", "x" + " x *" * 40,
           "x" + " 1 +" * 49, "x" + " 1 +" * 50, "x 2 /",
           "</answer>", "<answer>5</answer>", "<think>", "5</answer><answer>5", "</think><answer>5", "<eos>",
           "<pad>", "%s", "{}",
           "__import__('os')", "lambda x: x", "nan", "None", "True", "\\x35", "&#53;", "5;5", "5#", "'5'"]


def answers(task, number):
    """`number` times (problem, answer): a right one, seven mutations of it, a random string,
    a hostile one."""
    rng, made = random.Random(f"fuzz {task}"), 0
    while made < number:
        problem, answer = DRAWN[task](rng)
        hostile = rng.choice(HOSTILE)
        for text in (answer, *(mutate(rng, answer, task) for _ in range(7)),
                     "".join(rng.choices(SYMBOLS[task], k=rng.randint(0, 12))),
                     rng.choice((hostile, answer + hostile, hostile + answer))):
            made += 1
            yield problem, text, text is answer


# -----------------------------------------------------------------------------
# The verifier

@pytest.mark.parametrize("task", DRAWN)
def test_no_false_accept_and_no_false_refusal(task):
    accepted, changed = 0, 0
    for problem, text, drawn in answers(task, CASES // 3):
        got, right = verify(problem, wrap(text)), second_opinion(problem, text)
        alone = form(wrap(text)) is not None
        assert got.correct is (right and alone) and got.well_formed is alone, (problem.prompt, text, got)
        assert got.reason.isprintable() and len(got.reason) < 200, got.reason
        assert right or not drawn or task == "program"        # where a shorter program means something else
        accepted, changed = accepted + right, changed + (right and not drawn)
    assert 0.08 < accepted / (CASES // 3) < 0.8
    assert changed >= MIN_CHANGED.get(task, 0)


@pytest.mark.parametrize("task", DRAWN)
def test_completions_are_judged_as_their_form_and_answer_are(task):
    rng, well_formed, correct, number = random.Random(f"forms {task}"), 0, 0, CASES // 12
    pieces = ["<think>", "</think>", "<answer>", "</answer>", "<", ">", "/", " ", "\n", "64", "\ud800",
              "try 2+3=5 is 5 yes"]
    for _ in range(number):
        problem, answer = DRAWN[task](rng)
        text = wrap(answer, rng.choice(("", "so", "7*7=49")))
        for _ in range(rng.choice((0, 1, 1, 2))):
            i = rng.randrange(len(text) + 1)
            text = text[:i] + rng.choice(("", rng.choice(pieces))) + text[i + rng.choice((0, 0, 1, 8)):]
        got, parts = verify(problem, text), form(text)
        assert got.well_formed == (parts is not None) == observe(problem, text).well_formed, text
        assert got.correct == (parts is not None and second_opinion(problem, parts[1])), text
        well_formed, correct = well_formed + got.well_formed, correct + got.correct
    assert 0.25 * number < correct <= well_formed < 0.95 * number


@pytest.mark.parametrize("task", DRAWN)
def test_what_right_answers_share_is_a_right_answer(task):
    rng = random.Random(task)
    for _ in range(300):
        problem, answer = DRAWN[task](rng)
        canonical = canonical_answer(problem, answer)
        assert verify(problem, wrap(canonical)) == verify(problem, wrap(answer))
        assert canonical_answer(problem, canonical) == canonical


@pytest.mark.parametrize("task", DRAWN)
@pytest.mark.parametrize("piece", ["(", "5", "9**", "x ", "x 2 * ", "</answer>", "\ud800", "٥", "5*", "()"])
def test_time_and_memory_grow_with_the_text_and_no_faster(task, piece):
    """A thousand characters take less than a millisecond of this process's time, or five on a busy machine,
    and a hundred thousand no more than 60 bytes a character."""
    problem, _ = DRAWN[task](random.Random(0))
    took = []
    for _ in range(5):
        began = time.process_time()
        verify(problem, wrap(piece * (1000 // len(piece))))
        took.append(time.process_time() - began)
    assert min(took) < 0.005
    text = wrap(piece * (100_000 // len(piece)))
    tracemalloc.start()
    verify(problem, text)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60 * len(text)


# -----------------------------------------------------------------------------
# Prompts

def drawn_prompt(rng):
    """A prompt of one of the tasks that read_prompt knows, of our own or as a user may type it."""
    task = rng.choice(SHIPPED)
    if rng.random() < 0.5:
        return make_problem(task, rng, rng.choice((1, 2, 3))).prompt

    def small():
        return str(rng.choice((0, 1, 5, 9, 10, 42, 999, 9999, 10_000)))

    def sign():
        return rng.choice(("", "", "-"))

    if task == "arithmetic":
        space = rng.choice(("", "", " "))
        return f"compute {sign()}{small()}" + "".join(f"{space}{rng.choice('+-*')}{space}{small()}"
                                                      for _ in range(rng.choice((0, 1, 2, 3, 7, 41))))
    if task == "countdown":
        return f"make {sign()}{small()} from " + " ".join(small() for _ in range(rng.randint(1, 7)))

    def example():
        return f"{sign() if rng.random() < 0.1 else ''}{rng.randint(0, 9)}->{sign()}{small()}"

    return "program " + " ".join(example() for _ in range(rng.choice((1, 1, 2, 3, 7))))


@pytest.mark.slow
def test_prompts_are_read_as_a_second_reader_reads_them():
    """And what is refused is refused in one line; what is read reads the same once more."""
    rng, good = random.Random("prompts"), 0
    symbols = [*"0123456789+-*/()", " ", "  ", "->", "-", "from", "compute", "make", "program", "\n", "\t",
               "\x00", "٣", "３", "²", "−", "\u2028", "\ud800", "x", "=", ",", "_", ".", "99999", "00"]
    for case in range(CASES):
        text = drawn_prompt(rng)
        for _ in range(rng.choice((0, 0, 1, 1, 2, 3))):
            i = rng.randrange(len(text) + 1)
            text = text[:i] + rng.choice(("", rng.choice(symbols))) + text[i + rng.choice((0, 0, 1, 1, 3)):]
        if case % 50 == 0:
            text = rng.choice(("", "compute ", "make 5 from ", "program ")) + rng.choice(HOSTILE)
        expected = read_prompt(text)
        try:
            problem = parse_prompt(text)
        except ValueError as error:
            assert expected is None, text
            assert str(error) and len(str(error).splitlines()) == 1 and len(str(error)) < 300, text
        else:
            assert (problem.task, problem.target, problem.numbers, problem.examples) == expected, text
            assert parse_prompt(problem.prompt) == problem, text
            good += 1
    assert 0.2 * CASES < good < 0.8 * CASES


# -----------------------------------------------------------------------------
# The interpreter

@pytest.mark.slow
def test_programs_run_as_rewriting_says():
    rng, good = random.Random("programs"), 0
    for case in range(CASES):
        words = ["x"]
        for _ in range(rng.choice((0, 1, 2, 2, 3, 3, 4, 6))):
            words += [rng.choice(("x", str(rng.randint(0, 99)), str(rng.randint(1, 9)))), rng.choice("+-*")]
        program = " ".join(words) if rng.random() < 0.4 else mutate(rng, " ".join(words), "program")
        if case % 40 == 0:
            program = rng.choice(HOSTILE)
        x = rng.choice((0, 1, 3, 17, -5, rng.randint(-99, 99)))
        try:
            value = programs.run(program, x)
        except programs.ProgramError as error:
            value = None
            assert str(error).isprintable() and len(str(error)) < 200
        assert value == run_program(program, x), (program, x)
        good += value is not None
    assert 0.3 * CASES < good < 0.9 * CASES


# -----------------------------------------------------------------------------
# The tokenizer

@pytest.mark.slow
def test_texts_are_cut_and_joined_as_the_rule_of_byte_pairs_says():
    tokenizer, rng = get_tokenizer(), random.Random("texts")
    ranks = {tokenizer.encoding.decode_single_token_bytes(i): i      # the special tokens come first
             for i in range(len(SPECIAL), tokenizer.vocab_size)}
    words = [piece.decode() for piece in ranks if piece.isalpha() or piece[:1] == b" "]
    pieces = [*TAGS, PAD, EOS, *"0123456789+-*()=<>", "  ", "\n", "\r\n", "\x00", "é", "é", "٣", "👩‍👩",
              "\u2028", "sand", "THE", "a" * 30, "the1", "_", "\ud800", "\udfff", "\ud83d\ude00"]
    for _ in range(CASES):
        text = "".join(rng.choice(words) if rng.random() < 0.5 else rng.choice(pieces)
                       for _ in range(rng.randint(0, 9)))
        if rng.random() < 0.3:
            i = rng.randrange(len(text) + 1)
            text = text[:i] + chr(rng.randrange(0x110000)) + text[i + 1:]
        # half a character is U+FFFD
        plain = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        ids = tokenizer.encode(text)
        assert ids == encode(plain, ranks) and tokenizer.decode(ids) == plain, text
        tagged = []
        for part in re.split(f"({'|'.join(TAGS)})", plain):
            tagged += [SPECIAL.index(part)] if part in TAGS else encode(part, ranks)
        assert tokenizer.encode_tagged(text) == tagged and tokenizer.decode(tagged) == plain, text
        drawn = [rng.randrange(tokenizer.vocab_size) for _ in range(rng.randint(0, 6))]
        spelled = b"".join(tokenizer.encoding.decode_single_token_bytes(i) for i in drawn
                           if i not in (tokenizer.pad_id, tokenizer.eos_id))
        assert tokenizer.decode(drawn) == spelled.decode("utf-8", "replace"), drawn
