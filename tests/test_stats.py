"""Intervals against brute force, closed forms and published values."""

import itertools
import math
import random
from pathlib import Path

import pytest

from minireason.stats import bootstrap_interval, pass_at_k, wilson_interval


def test_pass_at_k_is_the_share_of_all_choices_with_a_hit():
    for n, c, k in itertools.product(range(1, 7), range(7), range(1, 7)):
        if c <= n and k <= n:
            chosen = list(itertools.combinations([i < c for i in range(n)], k))
            assert pass_at_k(n, c, k) == pytest.approx(sum(map(any, chosen)) / len(chosen))
    with pytest.raises(ValueError):
        pass_at_k(3, 1, 4)


def test_wilson_interval():
    """Newcombe 1998, table I: 81 of 263 is 0.2553 to 0.3662, 0 of 20 is 0 to 0.1611."""
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson_interval(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    low, high = wilson_interval(20, 20)
    assert (low, high) == pytest.approx((1 - 0.1611, 1.0), abs=5e-5) and high <= 1.0
    assert wilson_interval(0, 0) == (0.0, 1.0)


def test_bootstrap_of_one_seed_is_the_interval_of_a_share():
    outcomes = [[1] * 300 + [0] * 700]
    mean, low, high = bootstrap_interval(outcomes)
    spread = 1.96 * math.sqrt(0.3 * 0.7 / 1000)
    assert mean == pytest.approx(0.3) and low == pytest.approx(0.3 - spread, abs=0.006)
    assert high == pytest.approx(0.3 + spread, abs=0.006)


def test_a_paired_difference_is_tighter_than_an_unpaired_one():
    rng = random.Random(0)
    before = [[rng.random() < 0.5 for _ in range(500)] for _ in range(3)]
    after = [[old or rng.random() < 0.1 for old in row] for row in before]  # a few more are right, none fewer
    mean, low, high = bootstrap_interval(after, before)
    assert 0 < low < mean < high and high - low < 0.06
    assert bootstrap_interval(before, before) == (0.0, 0.0, 0.0)


def test_seeds_that_disagree_widen_the_interval():
    agreeing, disagreeing = [[1, 0] * 200] * 4, [[1] * 400, [0] * 400] * 2

    def width(outcomes):
        _, low, high = bootstrap_interval(outcomes)
        return high - low

    assert width(disagreeing) > 3 * width(agreeing)


NUM_STUDIES = 200


@pytest.mark.slow
@pytest.mark.parametrize("num_seeds, covered", [(2, 0.50), (3, 0.75), (5, 0.84)])
def test_the_interval_of_few_seeds_holds_the_truth_as_rarely_as_the_results_page_says(num_seeds, covered):
    """Runs that differ more than problems do: each run is one number, and the truth is 0. With two runs the
    interval goes from one to the other, and both lie on one side of the truth half of the time."""
    rng = random.Random(0)
    num_holding = 0
    for _ in range(NUM_STUDIES):
        _, low, high = bootstrap_interval([[rng.gauss(0, 1)] for _ in range(num_seeds)], num_resamples=200)
        num_holding += low <= 0 <= high
    assert num_holding / NUM_STUDIES == pytest.approx(covered, abs=0.07)      # two standard errors at 50%
    page = Path(__file__).parent.parent / "lessons" / "results" / "README.md"
    sentence = "in about 50% of the cases with two seeds, 75% with three and 84% with five"
    assert sentence in " ".join(page.read_text().split()) and f"{100 * covered:.0f}%" in sentence
