"""Where does a critic pay? PPO and GRPO, where a critic should help most. A part of claim C5.

    python lessons/studies/critic.py [--seeds 3]
    python lessons/studies/critic.py --fast
    python lessons/studies/critic.py --only few lambda        two of the questions

A critic says at each token what reward is still to come. The mean of a group says it once for a whole
completion, and only if the problem has several. So a critic should pay

    few         where a problem has one completion, and no group; beside it 8 completions of each
    lambda      where credit is given token by token: a lambda of 0.95 hands a token what the critic says soon
                after it, a lambda of 1 what came at the end
    clip        nothing to do with GRPO: does the clip of its values hold the critic back?
    price       where there is more to foresee than right or wrong: longer answers pay a price

Both algorithms have the start, the samples, the scoring and the tuned settings of compare_ppo_grpo.py, whose
trials it finds in lessons/results/arms/. Each question changes one thing, in runs of a third of the length.
Writes lessons/results/critic.json and critic.png.
"""

import itertools
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))      # lessons/, where runs.py is

import compare_ppo_grpo as comparison
import numpy as np
import runs
from compare_ppo_grpo import ALGOS, COLORS, Curves, at_end, lead_at_end
from runs import bootstrap, row
from shared import error_bars, label

from minireason.tools.plots import new_figure

QUESTIONS = ("few", "lambda", "clip", "price")
FEW = (1, 8)                    # completions of a problem
LAMBDAS = ("1", "0.95")
LESS = {"lambda-0.95": "lambda-1", "no-value-clip": "lambda-0.95"}      # pairs of PPO's runs
PART = 3                        # a run has the third part of the iterations
LENGTH_PRICE = 0.5              # of the longest completion; a shorter one pays its part
TITLES = {
    "group-1": "one completion a problem", "group-8": "eight completions a problem", "lambda-1": "lambda 1",
    "lambda-0.95": "lambda 0.95", "no-value-clip": "values not clipped", "length-price": "a price of length"}


def runs_of(question, chosen, args):
    """The runs of a question: [(name, algorithm, settings, more flags)].

    `chosen` is {algorithm: the settings that its trials chose}.
    """
    asked, longest = [], runs.settings_asked(args)["rl"]["max_new_tokens"]
    shorter = ["--rl-num-iterations", max(1, runs.settings_asked(args)["rl"]["num_iterations"] // PART)]
    if question == "few":
        for group_size, algo in itertools.product(FEW, ALGOS):
            settings = {**chosen[algo], "group-size": group_size}
            # One completion has no group: GRPO's baseline is the mean of the whole batch then.
            flags = ["--rl-batch-baseline"] if (algo, group_size) == ("grpo", 1) else []
            asked.append((f"group-{group_size}", algo, settings, shorter + flags))
    elif question == "lambda":
        for value in LAMBDAS:
            asked.append((f"lambda-{value}", "ppo", {**chosen["ppo"], "gae-lambda": value}, shorter))
    elif question == "clip":
        # A critic starts at 0, and with value_clip 0.2 a value needs four rollouts to come to 0.7.
        asked.append(("no-value-clip", "ppo", chosen["ppo"], [*shorter, "--rl-value-clip", 1000]))
    else:
        for algo in ALGOS:
            # Divided by a group's deviation, any difference of lengths would be as large as right and wrong.
            flags = ["--rl-overlong-penalty", LENGTH_PRICE, "--rl-overlong-buffer", longest,
                     "--no-rl-scale-advantages"]
            asked.append(("length-price", algo, chosen[algo], shorter + flags))
    return asked


def spread(values):
    """(mean, lowest, highest) of one number of each run."""
    return float(np.mean(values)), float(np.min(values)), float(np.max(values))


def rows_of(answers):
    """Of each name: both algorithms at the end, and their difference, in pairs.

    `answers` is {name: {algorithm: [what `compared_run` returned, for each seed]}}.
    """
    rows, curves = [], {}
    for name, arms in answers.items():
        # 1.0 stands for the seconds of a token: no row is of seconds
        curves[name] = {algo: Curves(of_algo, 1.0) for algo, of_algo in arms.items()}
        for algo, mine in curves[name].items():
            rows.append(row(f"{name}: {algo}, all tasks", *bootstrap(at_end, mine.all)))
            if "explained_variance" in arms[algo][0]:
                lines = np.array([arm["explained_variance"] for arm in arms[algo]])
                for part, columns in (("first", lines[:, :10]), ("last", lines[:, -10:])):
                    rows.append(row(f"{name}: explained variance of the {part} ten rollouts "
                                    "(mean, lowest, highest run)", *spread(columns.mean(1))))
            rows.append(row(f"{name}: {algo}, tokens of an answer (mean, lowest, highest run)",
                            *spread([arm["tokens of an answer"] for arm in arms[algo]])))
        if len(curves[name]) == 2:
            rows.append(row(f"{name}: ppo - grpo, all tasks",
                            *bootstrap(lead_at_end, curves[name]["ppo"].all, curves[name]["grpo"].all)))
    for name, other in LESS.items():
        if name in curves and other in curves:
            rows.append(row(f"{name} less {other}: ppo, all tasks",
                            *bootstrap(lead_at_end, curves[name]["ppo"].all, curves[other]["ppo"].all)))
    return rows


def draw(answers):
    """Left what is right at the end, by question; right how much of the returns PPO's critic explains."""
    figure, (left, right) = new_figure(1, 2, figsize=(9, 3.8))
    for place, (name, arms) in enumerate(answers.items()):
        for algo, of_algo in arms.items():
            ends = [100 * end for end in bootstrap(at_end, Curves(of_algo, 1.0).all)]
            _, errors = error_bars([ends])
            y = place + (0.12 if algo == "ppo" else -0.12)
            left.errorbar(ends[0], y, xerr=errors, fmt="o", ms=4, capsize=3, color=COLORS[algo],
                          label=algo.upper() if place == 0 else None)
    left.set_yticks(range(len(answers)), [TITLES.get(name, name) for name in answers])
    left.invert_yaxis()
    label(left, "right at the end", "held-out problems right, %", "")
    for name, arms in answers.items():
        lines = np.array([arm["explained_variance"] for arm in arms["ppo"]])
        right.plot(range(1, lines.shape[1] + 1), lines.mean(0), lw=1.2, label=TITLES.get(name, name))
    right.axhline(0, color="#999999", lw=0.8)
    right.set_ylim(-0.5, 1)
    label(right, "what PPO's critic knows", "rollout", "explained variance of the returns")
    right.legend(frameon=False, fontsize=7, loc="lower right")
    return figure


def main():
    parser = runs.make_parser(__doc__.splitlines()[0], num_seeds=3)
    parser.add_argument("--only", nargs="+", choices=QUESTIONS, default=QUESTIONS,
                        help="these questions; critic.json then holds these alone")
    args = runs.parse(parser)
    if args.fast:
        make_small()
    comparison.make_trials(args)
    chosen = {algo: comparison.best_of(comparison.tune(algo, args))["settings"] for algo in ALGOS}
    jobs = {}
    for seed, question in itertools.product(args.seeds, args.only):
        for name, algo, settings, flags in runs_of(question, chosen, args):
            jobs[(name, algo), seed] = (
                comparison.run_arm, name, algo, "cold-start", settings, flags, seed, args)
    answers = {}
    for (name, algo), arms in runs.by_seed(runs.work_off(jobs)).items():
        answers.setdefault(name, {})[algo] = arms
    rows = rows_of(answers)
    some_arm = next(iter(answers.values()))["ppo"][0]
    num_problems = sum(len(of_task) for of_task in some_arm["marks"][0]["right"].values())
    path = runs.RESULTS / "critic.json"
    runs.save_json(path, {"claim": "Where a critic pays", "command": args.command, "seeds": list(args.seeds),
                          "num_problems": num_problems, "rows": rows, "chosen": chosen})
    print(f"wrote {path}")
    runs.save_figure(draw(answers), "critic")
    for line in rows:
        print("{name:75} {value:.3f} [{low:.3f}, {high:.3f}]".format(**line))


def make_small():
    """For --fast: two trials of each algorithm, and a run for each name but one."""
    global FEW, LAMBDAS
    FEW, LAMBDAS = (1,), ("0.95",)
    comparison.make_small()


if __name__ == "__main__":
    main()
