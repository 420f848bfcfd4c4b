"""The verifier accepts what is right and nothing else: by hand, and on texts of a million characters, on
which anything but linear time would hang. test_fuzz.py holds it against a second checker."""

import random
import sys

import pytest
from reference import form

from minireason.tasks import parse_prompt
from minireason.verifier import canonical_answer, split_completion, verify

SUM, ZERO, MINUS = map(parse_prompt, ("compute 7*7+8*3-9", "compute 4-2*2", "compute 3-8"))   # 64, 0, -5
MAKE, PAIR = map(parse_prompt, ("make 42 from 3 8 6", "make 25 from 5 5"))
LINE = parse_prompt("program 1->3 2->5 4->9")                                                 # 2x+1
MILLION = 1_000_000


def wrap(answer, thinking=""):
    return f"<think>{thinking}</think><answer>{answer}</answer>"


def verdict(problem, completion):
    """The verdict on any text, after what holds for every verdict."""
    got = verify(problem, completion)
    assert type(got.correct) is bool and type(got.well_formed) is bool
    assert got.well_formed or not got.correct
    assert got.well_formed == (split_completion(completion) is not None)
    assert got.reason.strip() and len(got.reason.splitlines()) == 1 and len(got.reason) < 200, got.reason
    assert got.reason.encode() and "\x00" not in got.reason           # it can be printed and stored
    return got


def is_right(problem, answer):
    got = verdict(problem, wrap(answer))
    assert got.well_formed
    return got.correct


# -----------------------------------------------------------------------------
# The form

@pytest.mark.parametrize("thinking",
                         ["", "7*7=49", "\n", "so <b> so", "\ud800", "\x00", "< think>", "<THINK>", "٣"])
def test_whatever_is_thought_a_right_answer_is_right(thinking):
    assert verdict(SUM, wrap("64", thinking)) == (True, True, "correct")
    assert verdict(SUM, wrap("63", thinking))[:2] == (False, True)


@pytest.mark.parametrize("text", [
    "", "64", "<think>", "<think></think>", "<answer>64</answer>", "<think></think>64", "<think>64</answer>",
    "<think></think><answer>64", "<think></think><answer>64</answer", "<answer>64</answer><think></think>",
    "</think><think><answer>64</answer>", "<think></think></answer>64<answer>",
    " " + wrap("64"), wrap("64") + " ", wrap("64") + "\n", "\n" + wrap("64"), "a" + wrap("64"),
    wrap("64") + "64", wrap("64") + "\x00", "\ufeff" + wrap("64"), wrap("64") + "<eos>",
    "<think></think> <answer>64</answer>", "<think></think>\n<answer>64</answer>",
    "<think></think>so<answer>64</answer>", wrap("64") * 2, wrap("64") + "<answer>64</answer>",
    wrap("64</answer><answer>64"), wrap("63</answer><answer>64"),
    wrap("64", "<answer>64</answer>"), wrap("64", "<think>"), wrap("64", "</think>"), wrap("64", "</answer>"),
    wrap("<answer>64</answer>"), wrap("64<think>"), wrap("<think>64</think>"), wrap("64</answer>"),
    wrap("64", wrap("64")), "<think><think></think><answer>64</answer>",
    "<think></think></think><answer>64</answer>",
    wrap(wrap("64")), "<THINK></THINK><ANSWER>64</ANSWER>", "< think></think><answer>64</answer>",
    "＜think></think><answer>64</answer>", "<think/><answer>64</answer>",
    "<think></think><answer >64</answer>", "[think][/think][answer]64[/answer]",
])
def test_any_other_form_is_refused_whatever_the_answer(text):
    assert form(text) is None and split_completion(text) is None
    assert verdict(SUM, text)[:2] == (False, False)
    assert verdict(MAKE, text.replace("64", "(8+6)*3"))[:2] == (False, False)
    assert verdict(LINE, text.replace("64", "x 2 * 1 +"))[:2] == (False, False)


@pytest.mark.parametrize("thinking, answer", [("", ""), ("a", "b"), (" a ", " b\n"), ("<", "</answer")])
def test_a_completion_splits_into_its_two_texts_unchanged(thinking, answer):
    assert split_completion(wrap(answer, thinking)) == (thinking, answer) == form(wrap(answer, thinking))


def test_the_form_of_random_sequences_of_tags_is_judged_as_by_cutting_at_the_tags():
    rng, good = random.Random(0), 0
    pieces = ["<think>", "</think>", "<answer>", "</answer>"]
    for _ in range(20_000):
        sequence = list(pieces)
        for _ in range(rng.choice((0, 1, 1, 2, 3))):
            i = rng.randrange(len(sequence) + 1)
            sequence[i:i + rng.randrange(2)] = rng.choice((["64"], ["64"], [" "], [rng.choice(pieces)],
                                                           ["<"], ["\n"]))
        text = "".join(sequence)
        assert split_completion(text) == form(text), text
        good += verdict(SUM, text).well_formed
    assert 2000 < good < 18_000


# -----------------------------------------------------------------------------
# Answers by hand

@pytest.mark.parametrize("prompt, answers", [
    ("compute 7*7+8*3-9", ["64"]), ("compute 4-2*2", ["0", "-0"]), ("compute 3-8", ["-5"]),
    ("make 42 from 3 8 6",
     ["(8+6)*3", "3*(8+6)", "((8)+(6))*((3))", "( 8 + 6 ) * 3", "(8 +6)* 3", "3*(6+8)"]),
    ("make 25 from 5 5", ["5*5", "5 * 5", "(5)*(5)", "((5*5))"]), ("make 12 from 1 11", ["1+11", "11+1"]),
    ("make -5 from 3 8", ["3-8", "(3-8)"]), ("make 5 from 0 5", ["0+5", "5-0"]),
    ("make 1 from 9 4 4", ["9-4-4", "(9-4)-4", "9-(4+4)"]),          # from left to right
    ("make 14 from 2 3 4", ["2+3*4", "3*4+2", "(3*4)+2"]),           # the product first
    ("make 3 from 9 2 3", ["9-2*3", "9-(2*3)"]),
    ("program 1->3 2->5 4->9",
     ["x 2 * 1 +", "1 x 2 * +", "x x + 1 +", "2 x * 1 +", "x 1 + x +", "x 2 * 1 + 0 -"]),
])
def test_right_answers_are_accepted(prompt, answers):
    for answer in answers:
        assert is_right(parse_prompt(prompt), answer), answer


NO_INTEGERS = ["", " ", "64 ", " 64", "64\n", "\n64", "\t64", "064", "0064", "+64", "--64", "- 64", "6 4",
               "6_4", "64.", "64.0", "6.4e1", "0x40", "1e2", "sixty", "64,", "64=64", "8*8", "8**2",
               "128//2", "128/2", "60+4", "(64)", "[64]", "'64'", "６４", "٦٤", "६४", "6٤", "²", "64\x00",
               "\x0064", "64\u200b", "64\ud800", "−64", "-64-", "64 64", "64;64", "6" + "4" * 5000, "nan",
               "None", "True", "target"]


@pytest.mark.parametrize("answer", NO_INTEGERS)
def test_what_is_no_plain_integer_is_no_answer_to_arithmetic(answer):
    for problem in (SUM, ZERO, MINUS):
        assert not is_right(problem, answer)


@pytest.mark.parametrize("answer",
                         ["00", "-00", "+0", "--0", "0.0", "", "٠", "-", "0 ", "- 0", "0-0", "64", "−0"])
def test_zero_has_two_writings_and_no_third(answer):
    assert not is_right(ZERO, answer)


@pytest.mark.parametrize("answer",
                         ["5", "−5", "--5", "- 5", "-05", "+-5", "-+5", "5-", "(-5)", "0-5", "-5.0", "-5-0"])
def test_a_negative_target_wants_its_one_sign(answer):
    assert not is_right(MINUS, answer)


@pytest.mark.parametrize("rule, target, answers", [
    ("no other operator", "25 from 5 5",
     ["5**2", "5^2", "5***5", "5**5", "5* *5", "5×5", "5x5", "5//5", "5/5", "5%5",
      "5<<5", "5==5", "5*5=25", "5,5", "9**9**9", "~5*5", "5 if 5 else 5"]),
    ("no other operator", "9 from 9 9 9", ["9**9**9"]), ("no division", "1 from 5 5", ["5/5", "5//5"]),
    ("no division", "3 from 7 2", ["7//2"]),
    ("no other operator", "1 from 3 2", ["3%2", "3^2", "3>2", "3-2or 1"]),
    ("no sign", "25 from 5 5",
     ["+5*5", "-5*-5", "5*+5", "--5*5", "(-5)*(-5)", "-(5)*-5", "5*--5", "- 5 * - 5"]),
    ("no sign", "10 from 5 5", ["5--5", "5- -5", "5-(-5)", "5++5", "+5+5", "5+(+5)"]),
    ("no sign", "2 from 3 5", ["-3+5"]), ("no sign", "-8 from 3 5", ["-3-5", "-(3+5)"]),
    ("no implicit product", "25 from 5 5", ["5(5)", "(5)5", "(5)(5)", "5 5"]),
    ("no joined digits", "55 from 5 5", ["55", "5 5"]),
    ("no joined digits", "111 from 11 1", ["111", "11 1"]),
    ("no other number", "42 from 3 8 6", ["42", "6*7", "(8+6)*3+0", "(8+6)*3*1", "42+0*3*8*6"]),
    ("no number twice", "42 from 3 8 6", ["(8+6)*3+3-3", "6*8-6"]),
    ("not thrice", "25 from 5 5", ["5*5*5", "5*5+5-5"]),
    ("no number twice", "12 from 1 11", ["11+1+1-1", "1+1*11-0", "12", "1+1"]),
    ("every number", "42 from 3 8 6", ["3", "8+6", "6*8"]), ("every number", "3 from 3 8", ["3", "(3)"]),
    ("the right value", "42 from 3 8 6", ["3+8+6", "8+6*3", "(8-6)*3", "3*6+8", "8*6-3"]),
    ("the right value", "25 from 5 5", ["5+5", "5-5"]), ("the right value", "-5 from 8 3", ["8-3"]),
    ("plain numbers", "25 from 5 5",
     ["05*5", "5*05", "5.0*5", "5_*5", "0x5*5", "5e0*5", "5j*5", "５*5", "٥*٥", "5*5²",
      "V*V", "5*5\u200b"]),
    ("plain numbers", "5 from 0 5", ["00+5", "-0+5", "0+05"]),
    ("parentheses match", "25 from 5 5",
     ["(5*5", "5*5)", "5)*(5", ")5*5(", "()5*5", "5*()5", "()", "(5*5))", "((5*5)",
      "[5*5]", "{5*5}", "(5*)5", "5(*5)", "(5*5)()", "(", ")", "(((", "((5)*5"]),
    ("single spaces inside", "25 from 5 5",
     [" 5*5", "5*5 ", "5  *5", "5*  5", "5\t*5", "5*5\n", "\n5*5", "5\n*5", " ",
      "5\u00a0*5", "5\u2009*5", "5*5\r\n"]),
    ("nothing else", "25 from 5 5",
     ["5*5\x00", "5\x00*5", "5*5\ud800", "\udfff5*5", "5*5 yes", "x", "5*5#", "5*5;5",
      "", "__import__('os')", "25 or 5*5", "sum([5,5])", "lambda: 5*5", "5*5 5*5"]),
    ("a whole expression", "25 from 5 5", ["5*", "*5", "5*5*", "5*5+", "-", "*", "5", "25"]),
])
def test_expressions_that_break_a_rule_are_refused(rule, target, answers):
    for answer in answers:
        assert not is_right(parse_prompt(f"make {target}"), answer), (rule, answer)


@pytest.mark.parametrize("answer", [
    "", " ", "x", "x 2 *", "x 2 * 1 + ", " x 2 * 1 +", "x  2 * 1 +", "x\n2 * 1 +", "x\t2\t*\t1\t+",
    "x 2 * 1 +\n", "x 2*1+", "2*x+1", "x 2 × 1 +", "x 2 ** 1 +", "x 2 * +1 +", "x 2 * 01 +", "x 2 * 1.0 +",
    "x ２ * 1 +", "x 2 * 1 +\x00", "x 2 * 1 \ud800", "x 2 * 1 + x", "x 2 * 1 + +", "+ 1 * 2 x", "x 2 * 1 + ;",
    "X 2 * 1 +", "x 2 * -1 -", "x 2 * 1 + 0 /", "9 9 * 9 * 9 * 9 * 9 * 9 * 9 *", "x 99 * 99 * 99 * 99 *",
    "3", "1 2 +", "x x *",
    "1->3 2->5 4->9", "3 5 9", "x 2 * 1 + x 1 - x 2 - * x 4 - * +",      # fits what is shown: a table of it
    "if x 1 3", "lambda x: 2*x+1", "__import__('os')", "x 2 * 1 + or x",
])
def test_programs_that_break_a_rule_or_only_fit_what_is_shown_are_refused(answer):
    assert not is_right(LINE, answer)


def test_a_program_may_take_a_hundred_words_and_no_more():
    longest = "x 2 * 1 +" + " 1 + 1 -" * 23 + " 0 +"           # 99 words; a program's number of words is odd
    assert longest.count(" ") == 98 and is_right(LINE, longest)
    assert is_right(LINE, "x x + 1 +" + " 0 +" * 47)
    assert not is_right(LINE, longest + " 0 +") and not is_right(LINE, longest + " 0 +" * 1000)


def test_a_reason_names_what_is_wrong():
    for problem, answer, says in ((SUM, "63", "64"), (SUM, "sixty", "integer"), (MAKE, "(8+6)*9", "9"),
                                  (MAKE, "8+6", "unused: 3"), (MAKE, "3+8+6", "17"),
                                  (MAKE, "(8+6)*3)", "parenthesis"),
                                  (MAKE, "(8+6", "never closed"), (MAKE, "", "empty"),
                                  (LINE, "x 2 +", "not 5"),
                                  (LINE, "y", "'y'"), (LINE, "x x", "2 values"),
                                  (LINE, "x 2 * 1 + 1", "2 values")):
        assert says in verdict(problem, wrap(answer)).reason
    assert "<think>" in verdict(SUM, "64").reason


def test_a_reason_stays_one_short_line_whatever_was_written():
    """A reason quotes the answer, and may not carry its line breaks, NUL or half characters into a log."""
    for piece in (*"\n\r\x0b\x1c\x85\u2028\x00\ud800\udfff\\'\"é", "{}", "%s"):
        for text in (piece, piece * 50, "5" + piece, f"x {piece} +", f"5*{piece}5", f"x{piece}2 *",
                     f"1{piece * 20}"):
            for problem in (SUM, PAIR, LINE):
                assert not is_right(problem, text)
                assert not verdict(problem, text).well_formed


# -----------------------------------------------------------------------------
# Size

@pytest.mark.parametrize("prompt, write", [
    ("make 25 from 5 5", lambda n: f"{'(' * n}5{')' * n}*5"),
    ("make 25 from 5 5", lambda n: f"{'( ' * n}5 * 5{' )' * n}"),
    ("make 25 from 5 5", lambda n: "(" * n), ("make 25 from 5 5", lambda n: "5*5" + ")" * n),
    ("compute 7*7", lambda n: "4" * n), ("program 1->3 2->5 4->9", lambda n: "x " * n),
])
def test_twice_the_length_takes_at_most_twice_the_lines(prompt, write):
    """Time is linear, counted in lines of Python that run."""
    problem = parse_prompt(prompt)

    def lines(n):
        count = 0

        def trace(frame, event, argument):
            nonlocal count
            count += event == "line"
            return trace
        completion, before = wrap(write(n)), sys.gettrace()
        sys.settrace(trace)
        try:
            verify(problem, completion)
        finally:
            sys.settrace(before)
        return count
    assert 0 < lines(2000) <= 2 * lines(1000) <= 100_000


@pytest.mark.slow
@pytest.mark.parametrize("depth", [1000, 100_000])
def test_parentheses_may_be_as_deep_as_they_like(depth):
    """No recursion, whether they match or not."""
    for left, right, good in ((depth, depth, True), (depth, depth - 1, False), (depth, depth + 1, False),
                              (depth, 0, False), (0, depth, False)):
        assert is_right(PAIR, f"{'(' * left}5{')' * right}*5") is good
        assert is_right(PAIR, f"5*{'(' * left}5{')' * right}") is good
    assert not is_right(PAIR, "(" * depth) and not is_right(PAIR, ")" * depth)
    assert not is_right(PAIR, "()" * depth)
    assert is_right(MAKE, f"{'(' * depth}8+6{')' * depth}*3")
    assert is_right(MAKE, f"{'( ' * depth}3 * ( 8 + 6{' )' * depth} )")


@pytest.mark.parametrize("piece", ["(", ")", "()", "5", "5*", "-", " ", "x ", "x 2 * ", "9**", "<", "<think>",
                                   "</answer>", "</think><answer>", "\ud800", "\n", "٥", "(5)", "+ ",
                                   "-5", "1 + "])
def test_a_million_characters_are_judged_at_once(piece):
    """Whoever reads a text again at each of its characters would hang here; nobody has to look at a clock."""
    text = piece * (MILLION // len(piece))
    for problem in (SUM, PAIR, LINE):
        for completion in (text, wrap(text), wrap("64", text) + "x", wrap(text, text)):
            assert not verdict(problem, completion).correct


@pytest.mark.slow
def test_a_million_characters_of_thinking_or_of_parentheses_are_read_to_the_end():
    assert verdict(SUM, wrap("64", "7*7=49 so " * (MILLION // 10))).correct
    assert not verdict(SUM, wrap("64", "7*7=49 so " * (MILLION // 10) + "<answer>")).well_formed
    half = MILLION // 2
    assert is_right(PAIR, f"{'(' * half}5*5{')' * half}")
    assert "never closed" in verdict(PAIR, wrap(f"{'(' * half}5*5{')' * (half - 1)}")).reason


# -----------------------------------------------------------------------------
# One vote

def test_spaces_do_not_split_a_vote():
    assert canonical_answer(MAKE, "( 8 + 6 ) * 3") == canonical_answer(MAKE, "(8+6)*3") == "(8+6)*3"
    assert canonical_answer(SUM, "64") == "64" != canonical_answer(SUM, "63")
    # another writing, another vote
    assert canonical_answer(MAKE, "(8+6)*3") != canonical_answer(MAKE, "3*(8+6)")


def test_the_words_of_a_program_stay_apart():
    """`x 12 +` and `x 1 2 +` are two programs, of which one is none."""
    assert canonical_answer(LINE, "x 12 +") != canonical_answer(LINE, "x 1 2 +")
    assert canonical_answer(LINE, "x 2 * 1 +") == "x 2 * 1 +"
