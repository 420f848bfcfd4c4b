"""What is counted in a completion, against completions counted by hand; what a list of them comes to."""

import random

import pytest

from minireason.behaviour import Behaviour, distributions, observe, summarize
from minireason.tasks import TASKS, parse_prompt
from minireason.verifier import split_completion

CHAIN = parse_prompt("compute 7*7+8*3-9")             # 49+24-9=64
MAKE = parse_prompt("make 42 from 3 8 6")             # (8+6)*3
PAIR = parse_prompt("make 11 from 3 8")               # 3+8
FOUR = parse_prompt("make 20 from 1 5 3 2")           # (1+5)*3+2
LINE = parse_prompt("program 1->3 2->5 4->9")         # x 2 * 1 +


def wrap(thinking, answer="0"):
    return f"<think>{thinking}</think><answer>{answer}</answer>"


def counts(problem, thinking, answer="0"):
    """(tries, distinct, failed, retries, yes, false yes)"""
    seen = observe(problem, wrap(thinking, answer))
    return (seen.num_tries, seen.num_distinct_tries, seen.num_failed_tries, seen.num_retries, seen.num_yes,
            seen.num_false_yes)


# -----------------------------------------------------------------------------
# Steps

@pytest.mark.parametrize("thinking, steps, wrong, repairs", [
    ("", 0, 0, 0),
    ("7*7=49", 1, 0, 0),
    ("7*7=49 so 8*3=24 so 49+24=73 so 73-9=64", 4, 0, 0),
    ("3-9=-6 so -6+9=3 so -6-1=-7 so -2*4=-8", 4, 0, 0),           # a result and a left side may be negative
    ("42/6=7 42/3=14 0/5=0", 3, 0, 0),
    ("7*7=48", 1, 1, 0),
    ("7*7=-49", 1, 1, 0),
    ("42/5=8 42/5=9 7/2=3 1+1=2", 4, 3, 0),                        # a division comes out even or is wrong
    ("2+2=5 3+3=7 4+4=8", 3, 2, 0),
    ("7*7=48 no wait 7*7=49", 2, 1, 1),                            # repaired
    ("7*7=48 mal espera 7*7=49", 2, 1, 1),
    ("7*7=48 check 48/7=7 no wait 7*7=49 so 49+1=50", 4, 2, 1),    # 48/7 does not come out even
    ("7*7=48 so 48+24=72 wait 7*7=49 so 49+24=73", 4, 1, 1),       # later is soon enough
    ("7*7=49 so 7*7=48", 2, 1, 0),                                 # the other way round is no repair
    ("7*7=48 no wait 7*7=47", 2, 2, 0),
    ("7*7=48 no wait 7*7=47 no wait 7*7=49", 3, 2, 2),
    ("7*7=48 no wait 49+0=49", 2, 1, 0),                           # another sub-problem
    ("7*7=48 2+2=5 7*7=49", 3, 2, 1),
    ("7*7=48 2+2=5 2+2=4 7*7=49", 4, 2, 2),
])
def test_steps_wrong_steps_and_repairs(thinking, steps, wrong, repairs):
    for problem in (CHAIN, MAKE, LINE):
        seen = observe(problem, wrap(thinking))
        assert (seen.num_steps, seen.num_wrong_steps, seen.num_repairs) == (steps, wrong, repairs)
        assert seen.thinks == (steps > 0)


@pytest.mark.parametrize("thinking", [
    "hello", "so so wait", "64", "7*7", "7*7=", "=49", "*7=49", "7 * 7 = 49", "7*7 =49", "7**2=49", "7//2=3",
    "1+2+3=6", "7*7=x", "x*7=49", "7^2=49", "(3+4)=7", "7*-7=-49", "7*+7=49", "٣+٤=٧", "７*7=49", "7*7＝49",
    "x 2 * 1 +", "try", "yes", "7*7==49", "7*7\n=49", "1234567+1=1234568", "1+1=12345678",
])
def test_what_is_no_step_is_no_thinking(thinking):
    for problem in (CHAIN, MAKE, LINE):
        seen = observe(problem, wrap(thinking))
        assert not seen.thinks and seen.num_steps == seen.num_wrong_steps == seen.num_repairs == 0


def test_steps_in_the_answer_are_not_thought():
    seen = observe(CHAIN, wrap("7*7=48", "7*7=49"))
    assert (seen.num_steps, seen.num_wrong_steps, seen.num_repairs) == (1, 1, 0)
    assert not observe(CHAIN, wrap("", "7*7=49")).thinks


# -----------------------------------------------------------------------------
# Tries

@pytest.mark.parametrize("thinking, expected", [
    # tries, distinct, failed, retries, yes, false yes
    ("", (0, 0, 0, 0, 0, 0)),
    ("42/3=14 8+6=14", (0, 0, 0, 0, 0, 0)),                                       # no word, no try
    ("try 42/3=14 8+6=14", (1, 1, 0, 0, 0, 0)),                                   # no verdict
    ("try 42/3=14 8+6=14 yes", (1, 1, 0, 0, 1, 0)),
    ("try 42-6=36 3+8=11 no", (1, 1, 1, 0, 0, 0)),                                # gives up
    ("try 42-6=36 3+8=11 no enough", (1, 1, 1, 0, 0, 0)),
    ("try 42-6=36 3+8=11 no wait try 42/3=14 8+6=14 yes", (2, 2, 1, 1, 1, 0)),    # a retry
    ("prueba 42-6=36 3+8=11 mal espera prueba 42/3=14 8+6=14 vale", (2, 2, 1, 1, 1, 0)),
    ("try 42-6=36 3+8=11 mal wait prueba 42/3=14 8+6=14 vale", (2, 2, 1, 1, 1, 0)),
    ("try 42-6=36 3+8=11 no wait try 42/6=7 8-3=5 no wait try 42/3=14 8+6=14 yes", (3, 3, 2, 2, 1, 0)),
    ("try 42-6=36 3+8=11 no wait try 42/6=7 8-3=5 no wait try 42-6=36 3*8=24 no", (3, 3, 3, 2, 0, 0)),
    ("try 42-6=36 3+8=11 no wait try 42-6=36 3+8=11 no wait try 42-6=36 3+8=11 no", (3, 1, 3, 2, 0, 0)),
    ("try 42-6=36 3+8=11 no wait try 42-6=36 3*8=24 no wait try 42-6=36 3+8=12 no", (3, 2, 3, 2, 0, 0)),
    ("try 42-6=36 3+8=11 no wait try", (2, 2, 1, 1, 0, 0)),                       # cut off
    ("try 42-6=36 3*8=24 yes", (1, 1, 0, 0, 1, 1)),                               # 24 is not 36
    ("try 42/3=14 8+6=14 yes try 42-6=36 3*8=24 yes", (2, 2, 0, 0, 2, 1)),
    ("try 42-6=36 3*8=36 yes", (1, 1, 0, 0, 1, 1)),                               # by a wrong step
    ("try 42-6=24 3*8=24 yes", (1, 1, 0, 0, 1, 1)),                               # by the one before
    ("try 42/3=14 8+6=14 no", (1, 1, 1, 0, 0, 0)),                                # what is stated counts
    ("try d 42/3=14 8+6=14 is 14 yes", (1, 1, 0, 0, 1, 0)),                       # a letter is no part of it
    ("try b 42-8=34 3*6=18 is 34 no wait try 42-8=34 3*6=18 no", (2, 1, 2, 1, 0, 0)),
    ("try e 42/8 no wait try d 42/3=14 8+6=14 is 14 yes", (2, 2, 1, 1, 1, 0)),    # a division is not even
    ("try e 42/8 no wait try e 42/8 no wait try f 42/5 no", (3, 2, 3, 2, 0, 0)),
    ("try e 42/8 no wait try b 42-8=34 3*6=18 is 34 no", (2, 2, 2, 1, 0, 0)),
    ("try e 42/8 yes", (1, 1, 0, 0, 1, 1)), ("try e 42/8 3*6=18 yes", (1, 1, 0, 0, 1, 1)),
    ("try yes", (1, 1, 0, 0, 1, 1)),
    ("try hello yes", (1, 1, 0, 0, 1, 1)),
])
def test_tries_of_countdown_by_hand(thinking, expected):
    assert counts(MAKE, thinking) == expected


def test_a_division_that_is_not_even_is_a_try_and_no_step():
    seen = observe(MAKE, wrap("try e 42/8 no wait try b 42-8=34 3*6=18 is 34 no enough", "3+8+6"))
    assert (seen.num_tries, seen.num_steps, seen.num_wrong_steps, seen.num_repairs) == (2, 2, 0, 0)
    assert seen.first_try_failed and not observe(MAKE, wrap("try e 42/8 no enough")).thinks


@pytest.mark.parametrize("problem, thinking, false_yes", [
    (PAIR, "try 3+8=11 yes", 0), (PAIR, "try 8-3=5 yes", 1), (PAIR, "try 3*8=11 yes", 1),
    (PAIR, "try 3+8=12 yes", 1),
    (FOUR, "try 20-2=18 18/3=6 1+5=6 yes", 0), (FOUR, "try 20-2=18 18/3=6 5-1=4 yes", 1),
    (FOUR, "try 20-2=18 18/3=7 1+5=6 yes", 1), (FOUR, "try 20-2=18 18/3=6 1+5=18 yes", 1),
])
def test_a_success_is_what_the_step_before_the_last_one_needs_or_the_target(problem, thinking, false_yes):
    assert counts(problem, thinking)[4:] == (1, false_yes)


@pytest.mark.parametrize("thinking, expected", [
    ("try x 2 * 1 + 2*2=4 4+1=5 is 5 ok 4*2=8 8+1=9 is 9 ok yes", (1, 1, 0, 0, 1, 0)),
    ("try x 2 + 2+2=4 is 5 no", (1, 1, 1, 0, 0, 0)),
    ("try x 2 + 2+2=4 is 5 no wait try x 2 * 1 + 2*2=4 4+1=5 is 5 ok 4*2=8 8+1=9 is 9 ok yes",
     (2, 2, 1, 1, 1, 0)),
    ("prueba x 2 + 2+2=4 da 5 mal espera prueba x 2 * 1 + 2*2=4 4+1=5 da 5 bien vale", (2, 2, 1, 1, 1, 0)),
    ("try x 2 + 2+2=4 is 5 no wait try x 3 * 2*3=6 is 5 no wait try x 2 + 2+2=4 is 5 no enough",
     (3, 2, 3, 2, 0, 0)),
    ("try x 2 + 2+2=4 is 5 ok yes", (1, 1, 0, 0, 1, 1)),                  # says yes, and is none
    ("try x 2 * 1 + 2*2=4 4+1=6 is 5 yes", (1, 1, 0, 0, 1, 0)),           # the program counts
    ("try x 2 * 1 + x 1 - x 2 - * x 4 - * + yes", (1, 1, 0, 0, 1, 1)),    # a table is none
    ("try x 2 * 1 + 2*2=4 4+1=5 is 5 ok", (1, 1, 0, 0, 0, 0)),            # `ok` is no verdict
    ("try yes", (1, 1, 0, 0, 1, 1)),
    ("try x 12 + no wait try x 1 2 + no", (2, 2, 2, 1, 0, 0)),
])
def test_tries_of_programs_by_hand(thinking, expected):
    assert counts(LINE, thinking) == expected


def test_chains_have_no_tries():
    assert counts(CHAIN, "try 7*7=49 yes try 7*7=49 no") == (0, 0, 0, 0, 0, 0)


@pytest.mark.parametrize("thinking, failed", [
    ("try 42-6=36 3+8=11 no wait try 42/3=14 8+6=14 yes", True), ("try 42/3=14 8+6=14 yes", False),
    ("", False),
    ("try 42/3=14 8+6=14 yes try 42-6=36 3+8=11 no", False),
    ("try 42-6=36 wait try 42-6=36 3+8=11 no", False),
])
def test_whether_the_first_try_failed(thinking, failed):
    assert observe(MAKE, wrap(thinking)).first_try_failed is failed


def test_words_inside_other_words_do_not_count():
    assert counts(MAKE, "country retry tryout trying") == (0, 0, 0, 0, 0, 0)
    assert counts(MAKE, "try 42-6=36 3+8=11 now yesterday know") == (1, 1, 0, 0, 0, 0)


# -----------------------------------------------------------------------------
# Languages, and whether a person can follow

@pytest.mark.parametrize("thinking, mixed", [
    ("", False), ("7*7=49", False), ("7*7=49 so 8*3=24 check 24/3=8 ok", False),
    ("7*7=49 luego 8*3=24 revisa bien", False),
    ("7*7=49 so 8*3=24 luego 49+24=73", True), ("try prueba", True), ("no mal", True), ("hello vale", False),
    ("solo sobre trying prueba", False),             # whole words only
])
def test_mixing_is_words_of_both_languages_in_the_thinking(thinking, mixed):
    for problem in (CHAIN, MAKE, LINE):
        assert observe(problem, wrap(thinking)).mixed is mixed


def test_the_answer_is_no_part_of_the_mixing():
    assert not observe(CHAIN, wrap("so", "luego")).mixed


@pytest.mark.parametrize("problem, thinking, answer, readable", [
    (CHAIN, "7*7=49 so 8*3=24 so 49+24=73 so 73-9=64", "64", True),
    (CHAIN, "7*7=49 so 8*3=24 so 49+24=73 so 73-9=64", "65", False),
    (CHAIN, "7*7=49 so 8*3=24 so 49+24=73 so 73-9=65", "65", True),      # it follows, though it is wrong
    (CHAIN, "7*7=49 luego 8*3=24 so 49+24=73 so 73-9=64", "64", False),
    (CHAIN, "7*7=49 luego 8*3=24 luego 49+24=73 luego 73-9=64", "64", True),
    (CHAIN, "73-9=64", "6", False), (CHAIN, "3-9=-6", "-6", True), (CHAIN, "3-9=-6", "6", False),
    (MAKE, "try 42/3=14 8+6=14 yes", "(8+6)*3", True),
    (MAKE, "try 42/3=14 8+6=14 yes", "( 8 + 6 ) * 3", True),
    (MAKE, "try 42/3=14 8+6=14 yes", "(3+8)*6", False), (MAKE, "try 42-6=36 3*8=24 yes", "(3*8)+6", True),
    (MAKE, "try 42-6=36 3*8=24 no wait try 42/3=14 8+6=14 yes", "(8+6)*3", True),
    (MAKE, "try 42-6=36 3*8=24 no wait try 42/3=14 8+6=14 yes", "(3*8)+6", False),
    (MAKE, "prueba 42-6=36 3*8=24 no wait try 42/3=14 8+6=14 yes", "(8+6)*3", False),
    (LINE, "try x 2 * 1 + 2*2=4 4+1=5 is 5 ok yes", "x 2 * 1 +", True),
    (LINE, "try x 2 * 1 + 2*2=4 4+1=5 is 5 ok yes", "x 2 +", False),
    (LINE, "try x 2 + 2+2=4 is 5 no wait try x 2 * 1 + 2*2=4 4+1=5 is 5 ok yes", "x 2 * 1 +", True),
    (LINE, "try x 2 + 2+2=4 is 5 no wait try x 2 * 1 + 2*2=4 4+1=5 is 5 ok yes", "x 2 +", False),
])
def test_readable_is_one_language_and_an_answer_that_follows(problem, thinking, answer, readable):
    assert observe(problem, wrap(thinking, answer)).readable is readable


@pytest.mark.parametrize("completion", [
    "", "<think>73-9=64</think>", "73-9=64</think><answer>64</answer>",
    "<think>73-9=64</think><answer>64</answer> ",
    "<think>73-9=64</think><answer>64</answer><answer>64</answer>", "<think>73-9=64<answer>64</answer>",
])
def test_what_is_not_well_formed_is_not_readable_but_still_counted(completion):
    seen = observe(CHAIN, completion)
    assert not seen.well_formed and not seen.readable
    assert seen.thinks == ("73-9=64" in completion) and seen.num_steps == completion.count("=")
    assert observe(CHAIN, wrap("73-9=64", "64")).readable


# -----------------------------------------------------------------------------
# Any text

@pytest.mark.parametrize("problem", [CHAIN, MAKE, LINE], ids=lambda problem: problem.task)
def test_any_text_is_counted_and_the_counts_agree(problem):
    rng, useful = random.Random(0), 0
    pieces = ["<think>", "</think>", "<answer>", "</answer>", " ", " ", "try", "prueba", " no", " yes",
              " mal", " vale", " so", " x 2 *", " 42/3=14", " 8+6=14", " 8+6=13", "7*7=49", "7*7=48", "/",
              "0", "=", "-", "9" * 50, "\n", "\ud800", "٣", "\x00", "try x 2 * 1 + yes",
              "try 42-6=36 3*8=24 no wait"]
    for _ in range(3000):
        text = "".join(rng.choices(pieces, k=rng.randint(0, 30)))
        text = wrap(text.replace("<", ""), "64") if rng.random() < 0.5 else text
        seen = observe(problem, text)
        assert seen.well_formed == (split_completion(text) is not None)
        assert seen.thinks == (seen.num_steps > 0)
        assert seen.num_repairs <= seen.num_wrong_steps <= seen.num_steps
        assert (seen.num_distinct_tries > 0) == (seen.num_tries > 0)
        assert seen.num_distinct_tries <= seen.num_tries
        # only the last can stay alone
        assert seen.num_retries <= seen.num_failed_tries <= seen.num_retries + 1
        assert seen.num_failed_tries + seen.num_yes <= seen.num_tries and seen.num_false_yes <= seen.num_yes
        assert seen.num_failed_tries > 0 or not seen.first_try_failed
        assert not seen.readable or seen.well_formed and not seen.mixed
        useful += seen.num_repairs > 0 or seen.num_retries > 0
    assert useful > 300


@pytest.mark.parametrize("text",
                         ["(" * 100_000, "9" * 100_000, "try " * 20_000, "-" * 100_000, "\ud800" * 1000,
                          "=" * 100_000, "1+" * 50_000, "try x" + " 2 +" * 20_000, "<think>" * 10_000])
def test_long_texts_are_counted(text):
    for problem in (CHAIN, MAKE, LINE):
        for completion in (text, wrap(text, text)):
            seen = observe(problem, completion)
            assert seen.num_steps == 0 and seen.num_tries in (0, text.count("try"))


@pytest.mark.parametrize("prompt, text, is_success", [
    ("make 42 from 3 8 6", "42-6=36 3+8=11", False),
    ("make 12 from 3 2 2", "12/3=4 2+2=4", True),           # (2+2)*3
    ("make 1 from 3 2 2", "1+3=4 2*2=4", True),             # 2*2-3
    ("make 3 from 8 7 2", "8-3=5 7-2=5", True),             # 8-(7-2)
    ("make 2 from 6 3 1", "2*3=6 6*1=6", False),            # (6*1)/3 has a division
    ("make 3 from 9 3", "9/3=3", False),
    ("make 5 from 8 4 3", "5-3=2 8/4=2", False),
    ("make 27 from 9 3", "9*3=27", True),
])
def test_a_try_succeeds_if_its_steps_are_an_answer_without_division(prompt, text, is_success):
    assert TASKS["countdown"].succeeds(parse_prompt(prompt), text) == is_success


# -----------------------------------------------------------------------------
# Many completions

def test_a_summary_by_hand():
    completions = [   # (problem, thinking, answer, right, tokens)
        # a retry that succeeds
        (MAKE, "try 42-6=36 3*8=24 no wait try 42/3=14 8+6=14 yes", "(8+6)*3", True, 40),
        # again, and gives up
        (MAKE, "try 42-6=36 3*8=24 no wait try 42-6=36 3*8=24 no enough", "3+8+6", False, 36),
        (MAKE, "try 42-6=36 3*8=24 vale", "(3*8)+6", False, 20),                      # a false yes, mixed
        (MAKE, "", "(8+6)*3", True, 4),                                               # no thinking, and right
        # one repair of two
        (CHAIN, "7*7=48 no wait 7*7=49 so 8*3=25 so 49+25=74 so 74-9=65", "65", False, 50),
    ]
    seen = [observe(problem, wrap(thinking, answer)) for problem, thinking, answer, _, _ in completions]
    seen.append(observe(CHAIN, "compute"))                                                  # not well formed
    summary = summarize(seen, [right for *_, right, _ in completions] + [False],
                        [n for *_, n in completions] + [2])
    assert summary == pytest.approx({
        "well_formed": 5 / 6, "thinks": 4 / 6, "tokens": 152 / 6, "tokens_thinking": 146 / 4, "tries": 5 / 6,
        "tries_thinking": 5 / 4, "distinct_tries": 4 / 6, "retry_after_failure": 2 / 3, "giving_up": 1 / 4,
        "false_yes": 1 / 2, "first_try_failed": 2 / 4, "accuracy_after_failed_try": 1 / 2,
        "won_by_retrying": 1 / 2, "wrong_steps": 2 / 15, "repairs": 1 / 2, "mixing": 1 / 4, "readable": 3 / 6,
    })


def test_a_lucky_guess_after_giving_up_is_not_won_by_retrying():
    given_up = observe(MAKE, wrap("try 42-6=36 3*8=24 no enough", "(8+6)*3"))
    assert summarize([given_up], [True], [9])["won_by_retrying"] == 0
    tried_on = observe(MAKE, wrap("try 42-6=36 3*8=24 no wait try 42/3=14 8+6=14 yes", "(8+6)*3"))
    assert summarize([given_up, tried_on], [True, True], [9, 9])["won_by_retrying"] == 1 / 2


def test_where_there_is_nothing_to_divide_by_stands_none():
    assert set(summarize([], [], []).values()) == {None}
    summary = summarize([observe(MAKE, wrap("", "3*8*6"))] * 2, [False, False], [4, 6])
    assert {name for name, value in summary.items() if value is None} == {
        "tokens_thinking", "tries_thinking", "retry_after_failure", "giving_up", "false_yes",
        "first_try_failed", "accuracy_after_failed_try", "won_by_retrying", "wrong_steps", "repairs",
        "mixing"}
    assert (summary["well_formed"], summary["thinks"], summary["tokens"], summary["tries"]) == (1, 0, 5, 0)


def test_a_summary_does_not_depend_on_the_order_of_completions():
    rng = random.Random(0)

    def chance(share):
        return rng.random() < share

    rows = [(Behaviour(True, thinks=chance(0.8), num_steps=5, num_wrong_steps=rng.randrange(3), num_tries=3,
                       num_failed_tries=rng.randrange(3), mixed=chance(0.3), first_try_failed=chance(0.5)),
             chance(0.5), rng.randint(5, 50)) for _ in range(50)]
    expected = summarize(*zip(*rows))
    rng.shuffle(rows)
    assert summarize(*zip(*rows)) == expected and None not in (expected["giving_up"], expected["wrong_steps"])


def test_distributions_by_hand():
    three = "try 42-6=36 3+8=11 no wait try 42/6=7 8-3=5 no wait try 42/3=14 8+6=14 yes"
    circle = "try 42-6=36 3+8=11 no wait try 42-6=36 3+8=11 no wait try 42-6=36 3+8=11 no"
    rows = [   # (thinking, right, tokens, ended)
        (three, True, 60, True), (circle, False, 160, False), ("try 42/3=14 8+6=14 yes", True, 19, True),
        ("try 42/3=14 8+6=14 yes", False, 20, True), ("", True, 9, True)]
    seen = [observe(MAKE, wrap(thinking)) for thinking, *_ in rows]
    _, right, lengths, ended = zip(*rows)
    assert distributions(seen, right, lengths, ended, most_tries=2) == {
        "tries": {"1": 2, "3": 2}, "tries_right": {"1": 1, "3": 1},
        "tokens": {"0": 1, "10": 1, "20": 1, "60": 1, "160": 1}, "tokens_right": {"0": 1, "10": 1, "60": 1},
        "distinct_tries_thinking": 6 / 4, "most_tries": 3, "longest": 160, "longest_right": 60,
        "cut_off": 1 / 5, "beyond": 2 / 5, "right_beyond": 1 / 3}
    assert distributions(seen, right, lengths, ended, most_tries=3)["beyond"] == 0
    assert distributions(seen, right, lengths, ended)["right_beyond"] is None
    assert distributions([], [], [], [], 2)["beyond"] is None


def test_a_histogram_is_in_the_order_of_its_numbers():
    seen = [Behaviour(True, thinks=True, num_tries=number) for number in (10, 9, 2, 10)]
    spread = distributions(seen, [False] * 4, [100, 20, 9, 105], [True] * 4)
    assert list(spread["tries"]) == ["2", "9", "10"] and list(spread["tokens"]) == ["0", "20", "100"]
