"""How far does guessing get in countdown? What C7 and C14 have to be compared with.

    python lessons/studies/guess.py

There is no model here. An expression uses each given number once, with + - * and parentheses. One is drawn at
random, each as likely as another, k times, and the draws are independent. If a share p of all is right, the
chance that at least one of k is right is 1 - (1 - p)^k. Expressions that are equal for all numbers, such as
3*6 and 6*3, count once. Of three numbers 26 can be made.
"""

import itertools
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))      # lessons/, where runs.py is

import runs
from runs import row

from minireason.stats import bootstrap_interval
from minireason.tasks import test_problems
from minireason.tasks.problem import calculate

PRIMES = (1009, 10007, 100003, 1000003)      # equal expressions make the same of them, others do not
NAME = "a random expression"
KS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


def values_of(numbers, operators):
    """What each way to set parentheses makes of numbers in this order: [2, 3, 4], ["+", "*"] -> [14, 20]."""
    if len(numbers) == 1:
        return [numbers[0]]
    values = []
    for i, operator in enumerate(operators):        # the one that is applied last
        left = values_of(numbers[:i + 1], operators[:i])
        right = values_of(numbers[i + 1:], operators[i + 1:])
        for first, second in itertools.product(left, right):
            values.append(calculate(first, operator, second))
    return values


def share_right(problem):
    """Which share of all expressions over the numbers of a countdown problem makes its target."""
    found = {}      # {what an expression makes of PRIMES: what it makes of the numbers}
    places = range(len(problem.numbers))
    for order in itertools.permutations(places):
        for operators in itertools.product("+-*", repeat=len(places) - 1):
            names = values_of([PRIMES[i] for i in order], operators)
            values = values_of([problem.numbers[i] for i in order], operators)
            found |= dict(zip(names, values))
    return list(found.values()).count(problem.target) / len(found)


def rows_of(problems, ks):
    """A row for each k: the chance that one of k guesses is right, a mean over the problems of countdown."""
    shares = [share_right(problem) for problem in problems]
    rows = []
    for k in ks:
        chances = [1 - (1 - share) ** k for share in shares]
        rows.append(row(f"countdown, {NAME}: pass@{k}", *bootstrap_interval([chances])))
    return rows


def main():
    parser = runs.make_parser(__doc__.splitlines()[0], num_seeds=1)
    args = runs.parse(parser)
    num_problems = 20 if args.fast else 1000
    rows = rows_of(test_problems("countdown", (2, 3), num_problems, seed=1234), KS)
    runs.save_rows("guess", "a random expression is right now and then", args.command, [], num_problems, rows)
    for line in rows:
        value, low, high = runs.in_percent(line)
        print(f"{line['name']:45} {value:5.1f} [{low:.1f}, {high:.1f}]")


if __name__ == "__main__":
    main()
