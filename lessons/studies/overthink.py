"""Do reasoners overthink, and what is a price of length? Claim C20.

    python lessons/studies/overthink.py [--seeds 3]
    python lessons/studies/overthink.py --fast

1. The RL model of each whole run answers each problem four times. How long are right answers and wrong ones:
   by level, by how many of the four are right, and for one and the same problem?
2. RL from the same cold start, with a price of length: the longest completion pays PRICE, a shorter one its
   part of that (`--rl-overlong-penalty PRICE`, with a buffer as long as the longest). Accuracy and tokens
   along the price say how many tokens can go for one point.

These runs do not divide advantages by a group's deviation, and nor does the one without a price. Where all
answers of a group are right, only their lengths differ, and dividing would make any price, however small, as
large as the difference of right and wrong.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))      # lessons/, where runs.py is

import numpy as np
import runs
from runs import bootstrap, mean_where, row
from shared import error_bars, label

from minireason.inference import answer_all
from minireason.tasks import TASKS, test_problems
from minireason.tasks.trace import split_tries
from minireason.tokenizer import get_tokenizer
from minireason.tools.plots import new_figure
from minireason.verifier import split_completion, verify

COLORS = {"arithmetic": "#1b6ca8", "countdown": "#d1495b"}
LEVELS = (2, 3)
PRICES = (0, 0.1, 0.3, 1, 3)
DROPS = (0, 1, 2, 5)        # points of accuracy that somebody would give for shorter answers
AT_RIGHT = {"xytext": (4, -1), "ha": "left", "va": "top"}               # where a price stands at its point
PLACES = {0.1: {"xytext": (0, 12), "ha": "center", "va": "bottom"},     # three points lie close together
          0.3: {"xytext": (-6, 3), "ha": "right", "va": "center"}}


# -----------------------------------------------------------------------------
# Runs and answers

def priced_run(price, seed, args):
    """Does RL from the cold start of a whole run, with this price of the longest completion.

    It is trained if it is not there. Returns the folder of the run.
    """
    longest = runs.config_asked(args.flags).rl.max_new_tokens
    name = f"price-{price:g}-{seed}"
    runs.ensure(name, "rl", "--seed", seed, "--from", runs.whole_run(seed, args, needs="rl"), *args.flags,
                "--no-rl-scale-advantages", "--rl-overlong-penalty", price, "--rl-overlong-buffer", longest)
    return runs.STUDIES / name


def measure(source, sizes):
    """{task: {"level", "right", "tokens", "went_on"}} of an RL model.

    "level" has a number for each problem; the others have a list for each, with an entry for each answer.
    """
    model, _ = runs.open_model(source, "rl")
    number, measured = sizes["num_answers"], {}
    for task in COLORS:
        problems = test_problems(task, LEVELS, sizes["num_problems"], seed=1234)
        prompts = []
        for problem in problems:
            prompts += [problem.prompt] * number
        answers = answer_all(model, get_tokenizer(), prompts, sizes["max_new_tokens"], seed=4)
        of_task = {"level": [problem.level for problem in problems], "right": [], "tokens": [], "went_on": []}
        for i, problem in enumerate(problems):
            of_problem = answers[i * number:(i + 1) * number]
            of_task["right"].append([int(verify(problem, text).correct) for text, _ in of_problem])
            of_task["tokens"].append([num_tokens for _, num_tokens in of_problem])
            of_task["went_on"].append([int(went_on(problem, text)) for text, _ in of_problem])
        measured[task] = of_task
    return measured


def measure_plain(seed, args, sizes):
    """`measure` of a whole run, which is trained if it is not there."""
    return measure(runs.whole_run(seed, args, needs="rl"), sizes)


def measure_priced(price, seed, args, sizes):
    """`measure` of the run with this price, which is trained if it is not there."""
    return measure(priced_run(price, seed, args), sizes)


def went_on(problem, text):
    """Whether a try made the target, and another one followed."""
    task, parts = TASKS[problem.task], split_completion(text)
    if task.succeeds is None or parts is None:
        return False
    return any(task.succeeds(problem, attempt.text) for attempt in split_tries(parts[0])[:-1])


class Answers:
    """The answers of one model of each seed to one task, as arrays (seeds, problems, answers)."""

    def __init__(self, measured, task):
        self.level = np.array(measured[0][task]["level"])                               # (problems,)
        self.right = np.array([of_seed[task]["right"] for of_seed in measured], dtype=float)
        self.tokens = np.array([of_seed[task]["tokens"] for of_seed in measured], dtype=float)
        self.went_on = np.array([of_seed[task]["went_on"] for of_seed in measured], dtype=float)


# -----------------------------------------------------------------------------
# Numbers. NaN where there is nothing to divide by.

def tokens_of_right(right, tokens):
    return mean_where(tokens, right == 1)


def tokens_of_wrong(right, tokens):
    return mean_where(tokens, right == 0)


def wrong_less_right(right, tokens):
    """For one and the same problem: the mean tokens of its wrong answers less those of its right ones."""
    num_right, num_answers = right.sum(2), right.shape[2]
    both = (num_right > 0) & (num_right < num_answers)
    of_right = (tokens * right).sum(2) / np.maximum(num_right, 1)
    of_wrong = (tokens * (1 - right)).sum(2) / np.maximum(num_answers - num_right, 1)
    return mean_where(of_wrong - of_right, both)


def tokens_spared(points, drop):
    """The largest share of the tokens that can go for a loss of at most `drop` in the share right.

    `points` are (tokens, share right) along the price, the first one without a price. Between two prices
    lies a straight line.
    """
    first_tokens, first_share = points[0]
    allowed = first_share - drop - 1e-12
    fewest = first_tokens
    for (tokens, share), (next_tokens, next_share) in zip(points, points[1:]):
        if next_share >= allowed:
            fewest = min(fewest, next_tokens)
        if (share >= allowed) != (next_share >= allowed):                # the line crosses what is allowed
            part = (allowed - share) / (next_share - share)
            fewest = min(fewest, tokens + part * (next_tokens - tokens))
    return 1 - fewest / first_tokens


def spared_of(drop):
    """`tokens_spared` as a function of the arrays right and tokens, (seeds, problems, answers, prices)."""
    def statistic(right, tokens):
        shares, means = right.mean((0, 1, 2)), tokens.mean((0, 1, 2))
        return tokens_spared(list(zip(means, shares)), drop)
    return statistic


# -----------------------------------------------------------------------------
# All seeds

def add(rows, name, interval):
    """Adds a row, unless there was nothing to divide by."""
    if not np.isnan(interval).any():
        rows.append(row(name, *interval))


def rows_of_lengths(task, answers):
    """Right and wrong answers of the RL model, by difficulty."""
    rows, num_answers = [], answers.right.shape[2]
    for level in LEVELS:
        chosen = answers.level == level
        columns = answers.right[:, chosen], answers.tokens[:, chosen]
        for name, statistic in (("right", tokens_of_right), ("wrong", tokens_of_wrong)):
            add(rows, f"{task}, level {level}: tokens, {name}", bootstrap(statistic, *columns))
    num_right = answers.right.sum(2, keepdims=True)
    for number in range(num_answers + 1):
        def of_difficulty(tokens, num_right, number=number):
            return mean_where(tokens, np.broadcast_to(num_right == number, tokens.shape))
        title = f"{task}, {number} of {num_answers} right"
        add(rows, f"{title}: tokens", bootstrap(of_difficulty, answers.tokens, num_right))
        share = bootstrap(lambda num_right, number=number: float((num_right == number).mean()), num_right)
        add(rows, f"{title}: share of the problems", share)
    gap = bootstrap(wrong_less_right, answers.right, answers.tokens)
    add(rows, f"{task}, same problem: tokens, wrong less right", gap)
    if TASKS[task].succeeds:        # a sum has no tries, so nothing can go on after one
        add(rows, f"{task}: went on after a success", bootstrap(np.mean, answers.went_on))
    return rows


def rows_of_prices(task, priced):
    """Accuracy and tokens along the price, and what can go for a point. `priced` is {price: Answers}."""
    rows, plain = [], priced[0]
    for price, answers in priced.items():
        title = f"{task}, price {price:g}"
        add(rows, f"{title}: right", bootstrap(np.mean, answers.right))
        add(rows, f"{title}: tokens", bootstrap(np.mean, answers.tokens))
        if price:
            add(rows, f"{title}: right, less price 0", bootstrap(np.mean, answers.right - plain.right))
            add(rows, f"{title}: tokens, less price 0", bootstrap(np.mean, answers.tokens - plain.tokens))
    right = np.stack([answers.right for answers in priced.values()], axis=3)
    tokens = np.stack([answers.tokens for answers in priced.values()], axis=3)
    for drop in DROPS:
        spared = bootstrap(spared_of(drop / 100), right, tokens)
        add(rows, f"{task}: share of tokens that can go for {drop} points", spared)
    return rows


def draw(rows, prices, num_answers):
    """Length by difficulty; accuracy and tokens along the price; what can go for a point."""
    found = {line["name"]: (line["value"], line["low"], line["high"]) for line in rows}
    figure, axes = new_figure(1, 3, figsize=(10, 3.4))

    def curve(axis, task, names, scale=1.0):
        """A curve with error bars, through the rows {x: name} that are there."""
        places, intervals = [], []
        for x, name in names.items():
            if name in found:
                places.append(x)
                intervals.append([scale * end for end in found[name]])
        middles, errors = error_bars(intervals)
        axis.errorbar(places, middles, errors, fmt="o-", ms=3, color=COLORS[task], label=task, capsize=2)

    for task, color in COLORS.items():
        by_difficulty = {}
        for number in range(num_answers + 1):
            by_difficulty[number] = f"{task}, {number} of {num_answers} right: tokens"
        curve(axes[0], task, by_difficulty)
        x = [found[f"{task}, price {price:g}: tokens"][0] for price in prices]
        shares = [found[f"{task}, price {price:g}: right"] for price in prices]
        y, errors = error_bars(100 * np.array(shares))
        axes[1].errorbar(x, y, errors, fmt="o-", ms=3, color=color, label=task, capsize=2)
        named = prices if max(x) > 1.1 * min(x) else prices[:1]      # of arithmetic all points are one
        for i, price in enumerate(named):
            text = f"{price:g}" if named == prices else f"{prices[0]:g} to {prices[-1]:g}"
            axes[1].annotate(text, (x[i], y[i]), textcoords="offset points", fontsize=7,
                             **PLACES.get(price, AT_RIGHT))
        by_drop = {drop: f"{task}: share of tokens that can go for {drop} points" for drop in DROPS}
        curve(axes[2], task, by_drop, scale=100)
    axes[0].set_xticks(range(num_answers + 1))
    axes[1].set_ylim(top=100)
    label(axes[0], "hard problems take long", f"how many of {num_answers} answers are right", "tokens, mean")
    label(axes[1], "numbers: the price of length", "tokens of an answer, mean", "right, %", legend=False)
    axes[1].legend(frameon=False, fontsize=8, loc="lower right")
    label(axes[2], "what a price can save", "points of accuracy given up", "% of the tokens saved")
    return figure


def main():
    args = runs.parse(runs.make_parser(__doc__.splitlines()[0], num_seeds=3))
    sizes, prices = {"num_problems": 1000, "num_answers": 4, "max_new_tokens": 208}, PRICES
    if args.fast:
        sizes, prices = {"num_problems": 8, "num_answers": 2, "max_new_tokens": 60}, (0, 1)
    jobs = {}
    for seed in args.seeds:
        jobs["plain", seed] = (runs.arm, f"C20-whole-{seed}", args, measure_plain, seed, args, sizes)
        for price in prices:
            file = f"C20-price-{price:g}-{seed}"
            jobs[price, seed] = (runs.arm, file, args, measure_priced, price, seed, args, sizes)
    priced = runs.by_seed(runs.work_off(jobs))                     # {price: an arm of each seed}
    plain = priced.pop("plain")
    rows = []
    for task in COLORS:
        rows += rows_of_lengths(task, Answers(plain, task))
        rows += rows_of_prices(task, {price: Answers(measured, task) for price, measured in priced.items()})
    runs.save_claim(20, "Reasoners overthink", args.command, args.seeds, sizes["num_problems"], rows,
                    prices=list(prices), num_answers=sizes["num_answers"])
    runs.save_figure(draw(rows, prices, sizes["num_answers"]), "C20")


if __name__ == "__main__":
    main()
