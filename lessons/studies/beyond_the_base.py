"""Does RL teach nothing that the base cannot do? Claim C14.

    python lessons/studies/beyond_the_base.py [--seeds 3] [--samples 1024] [--problems 300] [--long 200]
    python lessons/studies/beyond_the_base.py --fast

The base, the cold start, RL, and an RL of --long iterations answer each held-out problem up to --samples
times. pass@k is the chance that at least one of k answers is right. If RL only makes likely what the base
finds seldom, the base catches up where k is large: its curve crosses that of RL. And no problem is solved by
RL, but never by the base.

A problem is left alone once ENOUGH of its answers are right, so an easy one takes 32 answers and not 1,024.
`pass_at` says why the estimate stays unbiased.
"""

import math
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))      # lessons/, where runs.py is

import guess
import runs
from runs import row
from shared import label, plot_band

from minireason.inference import answer_all
from minireason.stats import bootstrap_interval, pass_at_k
from minireason.tasks import test_problems
from minireason.tokenizer import get_tokenizer
from minireason.tools.plots import new_figure
from minireason.upkeep.seeding import derive_seed
from minireason.verifier import verify

ENOUGH = 16         # right answers of a problem, after which it is not asked again
AT_ONCE = 32        # answers of each problem, before it is looked at
COLORS = {"base": "#999999", "cold start": "#e0a030", "RL": "#7a4fa3", "longer RL": "#d1495b"}
LOWEST = 0.1        # % of the problems: the lower end of the figure
COMPARED = (("RL", "base"), ("longer RL", "base"), ("RL", "cold start"), ("longer RL", "RL"))
WITH_BAND = ("base", "RL")          # the bands of all four would hide each other
NUM_RESAMPLES = 2000
tokenizer = get_tokenizer()


# -----------------------------------------------------------------------------
# Sampling, and the estimate

def count_right(model, problems, num_samples, max_new_tokens, seed):
    """Answers each problem until ENOUGH answers are right, or `num_samples` are made.

    Returns a pair for each problem: (answers that count, right ones among them). See `cut`.
    """
    def grade(problem, text):
        return int(verify(problem, text).correct)

    grades = grades_until_enough(model, problems, num_samples, max_new_tokens, seed, grade)
    return [cut(of_problem, ENOUGH) for of_problem in grades]


def grades_until_enough(model, problems, num_samples, max_new_tokens, seed, grade, best=1):
    """Answers each problem until ENOUGH answers have the grade `best`, or `num_samples` are made.

    grade(problem, text) is a number; none is above `best`. Returns the grades of each problem's answers, in
    the order in which they were made.
    """
    grades = [[] for _ in problems]
    unfinished = list(range(len(problems)))
    for number in range(math.ceil(num_samples / AT_ONCE)):
        size = min(AT_ONCE, num_samples - number * AT_ONCE)
        prompts = []
        for i in unfinished:
            prompts += [problems[i].prompt] * size
        answers = answer_all(model, tokenizer, prompts, max_new_tokens, derive_seed(seed, number))
        for place, i in enumerate(unfinished):
            for text, _ in answers[place * size:(place + 1) * size]:
                grades[i].append(grade(problems[i], text))
        unfinished = [i for i in unfinished if grades[i].count(best) < ENOUGH]
        if not unfinished:
            break
    return grades


def cut(outcomes, enough):
    """Counts answers until `enough` of them are right, the last of these included; all if there are too few.

    `outcomes` are true or false, in their order. Returns (answers counted, right ones among them).
    """
    num_right = 0
    for number, is_right in enumerate(outcomes, start=1):
        num_right += is_right
        if num_right == enough:
            return number, num_right
    return len(outcomes), num_right


def pass_at(k, num_answers, num_right, enough):
    """Unbiased chance that one of k answers to a problem is right, from what `cut` returned.

    Sampling that went on to its end has the usual formula. If it stopped at a right answer, that last one is
    not a fair draw, since it is right by construction. So it is left out. The answers before it were right
    and wrong in an order of which none is likelier than another, and the usual formula holds for them. Where
    k reaches the last one, a right answer is among the k.
    """
    if num_right < enough:
        return pass_at_k(num_answers, num_right, k)
    if k >= num_answers:
        return 1.0
    return pass_at_k(num_answers - 1, num_right - 1, k)


def powers_of_two(largest):
    """1, 2, 4 ... up to the largest number, which comes last."""
    ks = [1]
    while 2 * ks[-1] <= largest:
        ks.append(2 * ks[-1])
    return ks if ks[-1] == largest else [*ks, largest]


def between_powers_of_two(largest):
    """1, 2, 3 ... up to the largest number, eight steps to a doubling: for the places where curves cross."""
    ks = {round(2 ** (step / 8)) for step in range(8 * largest.bit_length())}
    return sorted({k for k in ks if k < largest} | {largest})


# -----------------------------------------------------------------------------
# The models

def model_of(name, seed, args):
    """Returns the model of this name, a key of COLORS, and this seed; trains what is missing."""
    stage = {"base": "base", "cold start": "cold-start", "RL": "rl", "longer RL": "rl"}[name]
    source = runs.whole_run(seed, args, needs="rl" if name == "RL" else "cold-start")
    if name == "longer RL":
        run_name = f"long-{args.long}-{seed}"
        runs.ensure(run_name, "rl", "--seed", seed, "--from", source, *args.flags,
                    "--rl-num-iterations", args.long)
        source = runs.STUDIES / run_name
    return runs.open_model(source, stage)[0]


def problems_of(task, args):
    """The held-out problems that all models answer."""
    config = runs.config_asked(args.flags)
    return test_problems(task, config.tasks.levels[task], args.problems, config.evaluate.seed)


def measure(name, task, seed, args):
    """Returns what is kept of one model and task; "counts" has (answers, right ones) for each problem."""
    config = runs.config_asked(args.flags)
    problems = problems_of(task, args)
    model, began = model_of(name, seed, args), time.process_time()
    counts = count_right(model, problems, args.samples, config.evaluate.max_new_tokens,
                         derive_seed(config.evaluate.seed, "pass@k", task))
    return {"enough": ENOUGH, "counts": counts, "seconds": round(time.process_time() - began)}


# -----------------------------------------------------------------------------
# Curves, and where they cross

def curves_of(arms, ks):
    """Returns pass@k as an array (seeds, problems, ks). `arms` are what `measure` returned, one a seed."""
    by_seed = []
    for arm in arms:
        lines = []
        for num_answers, num_right in arm["counts"]:
            lines.append([pass_at(k, num_answers, num_right, arm["enough"]) for k in ks])
        by_seed.append(lines)
    return np.array(by_seed)


def crossing(before, after, ks):
    """The k from which the curve `before` is never below `after`, and somewhere above. None without such a k.

    Both curves hold pass@k, a value for each of `ks`. In between they are taken as straight lines over log k.
    They may end alike: with enough answers both can solve everything.
    """
    lead = np.asarray(before) - np.asarray(after)
    behind = [i for i in range(len(ks)) if lead[i] < -1e-9]
    first = behind[-1] + 1 if behind else 0             # from here on `before` is not behind
    if not (lead[first:] > 1e-9).any():
        return None
    if first == 0:
        return float(ks[0])
    share = lead[first - 1] / (lead[first - 1] - lead[first])
    return float(ks[first - 1] * (ks[first] / ks[first - 1]) ** share)


def crossing_interval(before, after, ks):
    """Returns the crossing of two arrays (seeds, problems, ks) with its 95% interval.

    For that seeds and problems are drawn anew, the same for both. Returns {"k", "low", "high", "share"}: None
    stands for "not up to the largest k", and "share" is the share of the resamples in which they cross.
    """
    generator, places = np.random.default_rng(0), []
    num_seeds, num_problems, _ = before.shape
    for _ in range(NUM_RESAMPLES):
        seeds = generator.integers(0, num_seeds, num_seeds)
        problems = generator.integers(0, num_problems, num_problems)
        drawn = [curves[seeds].mean(0)[problems].mean(0) for curves in (before, after)]
        place = crossing(*drawn, ks)
        places.append(math.inf if place is None else place)
    places.sort()
    ends = [places[round(share * (NUM_RESAMPLES - 1))] for share in (0.025, 0.975)]
    low, high = [None if end == math.inf else end for end in ends]
    num_crossing = sum(place < math.inf for place in places)
    return {"k": crossing(before.mean((0, 1)), after.mean((0, 1)), ks), "low": low, "high": high,
            "share": num_crossing / NUM_RESAMPLES}


def solved(arms):
    """1 for each problem with a right answer, else 0, for each seed."""
    by_seed = []
    for arm in arms:
        by_seed.append([int(num_right > 0) for _, num_right in arm["counts"]])
    return by_seed


def alone(first, second):
    """1 for each problem that the first models solve and the second never do, else 0, for each seed."""
    by_seed = []
    for ours, theirs in zip(solved(first), solved(second)):
        by_seed.append([int(our and not their) for our, their in zip(ours, theirs)])
    return by_seed


# -----------------------------------------------------------------------------
# Results

def pairs_of(arms):
    """The pairs (after, before) of COMPARED whose models are there."""
    return [pair for pair in COMPARED if set(pair) <= set(arms)]


def rows_of(task, arms, curves, ks):
    """Rows of one task: the curves, their differences, and what one model solves and another never does.

    `arms` is {model: [what `measure` returned, for each seed]}, `curves` {model: what `curves_of` returned}.
    """
    rows = []
    for i, k in enumerate(ks):
        for name in curves:
            rows.append(row(f"{task}, {name}: pass@{k}", *bootstrap_interval(curves[name][:, :, i])))
        for after, before in pairs_of(arms):
            difference = bootstrap_interval(curves[after][:, :, i], curves[before][:, :, i])
            rows.append(row(f"{task}, {after} less {before}: pass@{k}", *difference))
    for after, before in pairs_of(arms):
        for first, second in ((after, before), (before, after)):
            share = bootstrap_interval(alone(arms[first], arms[second]))
            rows.append(row(f"{task}: solved by {first}, never by {second}", *share))
    return rows


def draw(tasks, rows, crossings, ks):
    """The share of problems that k answers leave unsolved, 1 - pass@k, and where the base passes RL.

    Both axes are logarithmic. So the difference between 98 and 99.5% solved can be seen.
    """
    found = {}
    for line in rows:
        found[line["name"]] = runs.in_percent(line)
    figure, axes = new_figure(1, len(tasks), figsize=(11, 3.6))
    for axis, task in zip(axes, tasks):
        for name, color in COLORS.items():
            if f"{task}, {name}: pass@1" not in found:
                continue
            unsolved = []
            for k in ks:
                value, low, high = found[f"{task}, {name}: pass@{k}"]
                unsolved.append([max(LOWEST, 100 - solved) for solved in (value, high, low)])
            if name in WITH_BAND:
                plot_band(axis, ks, unsolved, color, name)
            else:
                axis.plot(ks, [value for value, _, _ in unsolved], color=color, lw=1.4, label=name)
        if f"{task}, {guess.NAME}: pass@1" in found:
            unsolved = [max(LOWEST, 100 - found[f"{task}, {guess.NAME}: pass@{k}"][0]) for k in ks]
            axis.plot(ks, unsolved, ":", color="#333333", label=guess.NAME)
        place = crossings[f"{task}, base and RL"]["k"]
        if place is not None:
            axis.axvline(place, color="black", lw=0.6)
        axis.set_xscale("log", base=2)
        axis.set_yscale("log")
        axis.set_ylim(LOWEST, 100)
        for direction in (axis.xaxis, axis.yaxis):
            direction.set_major_formatter(lambda number, _: f"{number:g}")
        ylabel = "not solved by k answers, %" if axis is axes[0] else ""
        label(axis, task, "k, number of answers", ylabel, legend=task == "countdown")
    return figure


def main():
    parser = runs.make_parser(__doc__.splitlines()[0], num_seeds=3)
    parser.add_argument("--samples", type=int, help="answers to a problem (default: 1,024, with --fast 16)")
    parser.add_argument("--problems", type=int, help="of each task (default: 300, with --fast 5)")
    parser.add_argument("--long", type=int,
                        help="iterations of the longer RL (default: 200, with --fast 4); 0 leaves it out")
    args = runs.parse(parser)
    defaults = (16, 5, 4) if args.fast else (1024, 300, 200)
    for name, default in zip(("samples", "problems", "long"), defaults):
        if getattr(args, name) is None:
            setattr(args, name, default)
        least = 0 if name == "long" else 1
        if getattr(args, name) < least:
            parser.error(f"--{name} is at least {least}")
    names = [name for name in COLORS if args.long or name != "longer RL"]

    ks, fine = powers_of_two(args.samples), between_powers_of_two(args.samples)
    size = f"{args.problems}x{args.samples}"
    tasks, jobs = list(runs.config_asked(args.flags).tasks.levels), {}
    for seed in args.seeds:
        for task in tasks:
            for name in names:
                kind = f"longer-RL-{args.long}" if name == "longer RL" else runs.in_file_name(name)
                file = f"C14-{kind}-{task}-{size}-{seed}"
                jobs[(task, name), seed] = (runs.arm, file, args, measure, name, task, seed, args)
    measured = runs.by_seed(runs.work_off(jobs))                   # {(task, name): an arm of each seed}
    rows, crossings, seconds = [], {}, {}
    for task in tasks:
        arms = {name: measured[task, name] for name in names}
        curves = {name: curves_of(arms[name], ks) for name in names}
        rows += rows_of(task, arms, curves, ks)
        if task == "countdown":
            rows += guess.rows_of(problems_of(task, args), ks)
        curves = {name: curves_of(arms[name], fine) for name in names}
        for after, before in pairs_of(arms):
            place = crossing_interval(curves[before], curves[after], fine)
            crossings[f"{task}, {before} and {after}"] = place
        seconds[task] = {}
        for name in names:
            seconds[task][name] = [arm["seconds"] for arm in arms[name]]
    runs.save_claim(14, "RL teaches nothing that the base cannot do", args.command, args.seeds, args.problems,
                    rows, crossings=crossings, samples=args.samples, seconds=seconds)
    runs.save_figure(draw(list(seconds), rows, crossings, ks), "C14")


if __name__ == "__main__":
    main()
