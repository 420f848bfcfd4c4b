"""Honest intervals: how far a measured share may be from the true one.

What PPO and GRPO compute of tokens, such as the KL, is in token_math.py.
"""

import math
from collections.abc import Sequence

import numpy as np


def wilson_interval(successes: int, total: int, z: float = 1.96) -> tuple[float, float]:
    """95% interval (low, high) of a share, which stays within 0..1. Wilson 1927."""
    if total == 0:
        return 0.0, 1.0
    share = successes / total
    z2_over_n = z * z / total
    center = share + z2_over_n / 2
    spread = z * math.sqrt(share * (1 - share) / total + z2_over_n / (4 * total))
    low, high = (center - spread) / (1 + z2_over_n), (center + spread) / (1 + z2_over_n)
    return max(0.0, low), min(1.0, high)


def bootstrap_interval(first: Sequence, second: Sequence | None = None, seed: int = 0,
                       num_resamples: int = 2000) -> tuple[float, float, float]:
    """95% interval of the mean of outcomes (seeds, problems), or of the difference first - second.

    Seeds and problems are drawn anew with replacement. Both sides of a difference get the same draws
    (paired). Returns (mean, low, high). Efron 1979.
    """
    outcomes = np.asarray(first, dtype=float)                                       # (seeds, problems)
    if second is not None:
        outcomes = outcomes - np.asarray(second, dtype=float)
    num_seeds, num_problems = outcomes.shape
    generator = np.random.default_rng(seed)
    means = []
    for _ in range(num_resamples):
        seeds = generator.integers(0, num_seeds, num_seeds)
        problems = generator.integers(0, num_problems, num_problems)
        means.append(outcomes[seeds].mean(0)[problems].mean())
    low, high = np.quantile(means, (0.025, 0.975))
    return float(outcomes.mean()), float(low), float(high)


def pass_at_k(num_samples: int, num_correct: int, k: int) -> float:
    """Unbiased chance that one of k samples is right: 1 - C(n-c, k) / C(n, k). arXiv:2107.03374."""
    if not 0 <= num_correct <= num_samples or not 1 <= k <= num_samples:
        raise ValueError("pass_at_k needs 0 <= num_correct <= num_samples and 1 <= k <= num_samples")
    return 1.0 - math.comb(num_samples - num_correct, k) / math.comb(num_samples, k)
