"""Does RL solve what its base never solves? Sums that are harder than those of the training. A part of C14.

    python lessons/studies/harder.py [--seeds 3] [--samples 1024] [--problems 100]
    python lessons/studies/harder.py --fast

The base solves every problem of beyond_the_base.py in 1,024 answers, so RL could not solve any more. Here
both answer two of the new kinds of problems of generalize.py:

    longer sums     six to eight terms; the training has two to five
    larger sums     one number from 10 to 30; the training has digits, and products of two digits

RL begins at the base itself, without a cold start (GRPO's whole runs of compare_ppo_grpo.py). So nothing but
RL lies between the two models.

Of 1,024 answers to a sum some are right by luck, whatever their thoughts say. So a second count takes only
answers whose thought is *complete*: it has each step of the sum from left to right, in this order, with its
right result. Left out are the other new kinds. Nobody solves four numbers and three squares, and in the rest
the answer is an expression or a program, which needs no thought to prove it.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))      # lessons/, where runs.py is

import beyond_the_base as beyond
import compare_ppo_grpo as comparison
import generalize
import runs
from shared import label, plot_band

from minireason.tasks import arithmetic
from minireason.tasks.words import Voice
from minireason.tools.flags import number
from minireason.tools.plots import new_figure
from minireason.upkeep.seeding import derive_rng, derive_seed
from minireason.verifier import split_completion, verify

KINDS = ("longer sums", "larger sums")
COLORS = {"base": beyond.COLORS["base"], "RL": "#1b6ca8"}       # not beyond's RL, which had a cold start
MODELS = ("base", "RL")
COUNTS = {"complete": "complete thoughts", "right": "all right answers"}    # how rows call what is counted
RIGHT, COMPLETE = 1, 2          # the grades of an answer; a wrong one has 0


# -----------------------------------------------------------------------------
# Is a thought complete?

def steps_needed(problem):
    """The steps of a sum, from its first term to its last, as texts: 7*7+8*3 -> 7*7=49 8*3=24 49+24=73."""
    rng = derive_rng(0, "no slips")         # without slips and checks only words are drawn
    thinking, _ = arithmetic.write_thinking(problem, rng, Voice(rng, "en"))
    return steps_in(thinking)


def steps_in(thinking):
    """The steps of a thought as texts, right or wrong."""
    return [f"{''.join(step.question)}={step.result}" for step in arithmetic.find_steps(thinking)]


def is_complete(problem, thinking):
    """Whether a thought has all steps that a sum needs, in their order. Others may stand in between."""
    found, place = steps_in(thinking), 0
    for needed in steps_needed(problem):
        if needed not in found[place:]:
            return False
        place = found.index(needed, place) + 1
    return True


def grade(problem, text):
    """0, RIGHT, or COMPLETE: the answer is right, and the thought is complete, too."""
    if not verify(problem, text).correct:
        return 0
    thinking, _ = split_completion(text)
    return COMPLETE if is_complete(problem, thinking) else RIGHT


# -----------------------------------------------------------------------------
# Models and answers

def model_of(name, settings, seed, args):
    """The base of this seed, or what RL made of it; trains what is missing."""
    if name == "base":
        return runs.open_model(runs.whole_run(seed, args, needs="cold-start"), "base")[0]
    folder_name, _ = comparison.train_run("whole", "grpo", "base", settings, [], seed, args)
    return runs.open_model(runs.STUDIES / folder_name, "rl")[0]


def measure(name, kind, settings, seed, args):
    """What is kept of one model and one kind of problem.

    {"trained with", "enough", "right", "complete"}: the last two have (answers, how many of them are right or
    complete) for each problem, as `beyond.cut` counts them.
    """
    problems = generalize.worlds(args.problems)["out of distribution"][kind]
    limit = runs.config_asked(args.flags).rl.max_new_tokens if args.fast else generalize.MAX_NEW_TOKENS
    grades = beyond.grades_until_enough(
        model_of(name, settings, seed, args), problems, args.samples, limit,
        derive_seed(generalize.SEED, "harder", kind), grade, best=COMPLETE)
    counts = {"right": [], "complete": []}
    for of_problem in grades:
        counts["right"].append(beyond.cut([one >= RIGHT for one in of_problem], beyond.ENOUGH))
        counts["complete"].append(beyond.cut([one >= COMPLETE for one in of_problem], beyond.ENOUGH))
    return {"trained with": comparison.how(settings, []), "enough": beyond.ENOUGH, **counts}


def arm_of(name, kind, settings, seed, args):
    """What `measure` returns: measured, or found in the file of this arm."""
    file = f"C14-harder-{name}-{runs.in_file_name(kind)}-{args.problems}x{args.samples}-{seed}"
    arm = runs.arm(file, args, measure, name, kind, settings, seed, args)
    comparison.refuse_others(file, arm["trained with"], comparison.how(settings, []))
    return arm


# -----------------------------------------------------------------------------
# Results

def counted(arms, counts):
    """The arms as beyond_the_base.py has them, with one of their two counts: "right" or "complete"."""
    return [{"enough": arm["enough"], "counts": arm[counts]} for arm in arms]


def draw(rows, ks):
    """The share of problems that k answers solve, by both counts."""
    found = {line["name"]: runs.in_percent(line) for line in rows}
    figure, axes = new_figure(1, len(KINDS), figsize=(9, 3.8), sharey=True)
    for axis, kind in zip(axes, KINDS):
        for counts, thoughts in COUNTS.items():
            for name in MODELS:
                solved = [found[f"{kind}, {thoughts}, {name}: pass@{k}"] for k in ks]
                style = "-" if counts == "complete" else ":"
                plot_band(axis, ks, solved, COLORS[name], f"{name}, {thoughts}", style)
        axis.set_xscale("log", base=2)
        axis.xaxis.set_major_formatter(lambda number, _: f"{number:g}")
        axis.set_ylim(0, 102)
        ylabel = "solved by k answers, %" if axis is axes[0] else ""
        label(axis, kind, "k, number of answers", ylabel, legend=axis is axes[0])
    return figure


def main():
    parser = runs.make_parser(__doc__.splitlines()[0], num_seeds=3)
    at_least_1 = number(int, 1, 100_000)
    parser.add_argument("--samples", type=at_least_1,
                        help="answers to a problem (default: 1,024, with --fast 16)")
    parser.add_argument("--problems", type=at_least_1, help="of each kind (default: 100, with --fast 5)")
    args = runs.parse(parser)
    comparison.refuse_tuning_seeds(parser, args)
    args.samples = args.samples or (16 if args.fast else 1024)
    args.problems = args.problems or (5 if args.fast else 100)
    if args.fast:
        comparison.make_small()
    comparison.make_trials(args)
    settings = comparison.best_of(comparison.tune("grpo", args))["settings"]
    jobs = {}
    for seed in args.seeds:
        for kind in KINDS:
            for name in MODELS:
                jobs[(kind, name), seed] = (arm_of, name, kind, settings, seed, args)
    measured = runs.by_seed(runs.work_off(jobs))                   # {(kind, model): an arm of each seed}

    ks, fine = beyond.powers_of_two(args.samples), beyond.between_powers_of_two(args.samples)
    rows, crossings = [], {}
    for kind in KINDS:
        for counts, thoughts in COUNTS.items():
            title = f"{kind}, {thoughts}"
            arms = {name: counted(measured[kind, name], counts) for name in MODELS}
            curves = {name: beyond.curves_of(arms[name], ks) for name in MODELS}
            rows += beyond.rows_of(title, arms, curves, ks)
            curves = {name: beyond.curves_of(arms[name], fine) for name in MODELS}
            place = beyond.crossing_interval(curves["base"], curves["RL"], fine)
            crossings[f"{title}, base and RL"] = place
    runs.save_rows("harder", "RL solves what its base never solves", args.command, args.seeds, args.problems,
                   rows, crossings=crossings, samples=args.samples)
    runs.save_figure(draw(rows, ks), "harder")


if __name__ == "__main__":
    main()
