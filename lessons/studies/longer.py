"""Why do thoughts grow in RL: because long ones are right more often, or by a bias of the loss? Part of C12.

    python lessons/studies/longer.py [--seeds 3]
    python lessons/studies/longer.py --fast

Dr. GRPO (arXiv:2503.20783) found two biases in GRPO as it was published. The loss of a completion is
averaged over the completion's own tokens. So a wrong completion loses less for each of its tokens the
longer it is, and wrong answers could grow. And advantages are divided by the standard deviation (std) of
their group, so problems that are nearly always or hardly ever solved count more. Here pure RL goes on from
the base four times for each seed:

    all tokens            the average of train.py: one over all tokens. The run `pure-N` that others share
    each completion       GRPO as it was published: each completion by itself, so it has the bias of length
    all tokens, no std    advantages are not divided
    Dr. GRPO              neither bias: not divided, and averaged over the most tokens that there can be

Each run then answers held-out problems of countdown. If the loss were the reason, thoughts would grow only
where it has a bias.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))      # lessons/, where runs.py is

import numpy as np
import runs
from runs import bootstrap, mean_where, row
from shared import group_bars, label

from minireason.behaviour import observe
from minireason.inference import answers_with_ends
from minireason.tasks import test_problems
from minireason.tokenizer import get_tokenizer
from minireason.tools.plots import new_figure, smooth
from minireason.verifier import verify

TASK = "countdown"      # the only task of which an answer may have many tries
FLAGS = {               # arm: what train.py is told
    "all tokens": [],
    "each completion": ["--rl-normalize", "sequence"],
    "all tokens, no std": ["--no-rl-scale-advantages"],
    "Dr. GRPO": ["--rl-normalize", "constant", "--no-rl-scale-advantages"],
}
USUAL = "all tokens"
BEFORE = "the base"
COLORS = {"the base": "#999999", "all tokens": "#1b6ca8", "each completion": "#d1495b",
          "all tokens, no std": "#e0a030", "Dr. GRPO": "#5a9a5a"}


def trained_run(arm, seed, args):
    """Does pure RL with the loss of an arm, if it is not done. Returns the folder of the run."""
    if arm == USUAL:
        return runs.pure_run(seed, args)
    name = f"longer-{runs.in_file_name(arm)}-{seed}"
    runs.ensure(name, "rl", "--pure-rl", "--seed", seed, "--from", runs.whole_run(seed, args, "rl"),
                *args.flags, *FLAGS[arm])
    return runs.STUDIES / name


def measure(arm, num_problems, seed, args):
    """What is kept of one model: see `look_at`."""
    if arm == BEFORE:
        return look_at(runs.whole_run(seed, args, "rl"), "base", num_problems)
    return look_at(trained_run(arm, seed, args), "rl", num_problems)


def look_at(source, stage, num_problems):
    """What is kept of the model of a run's stage: how it answers held-out problems of countdown, once each.

    {"right", "thinks", "ended": "0110...", "tries", "tokens": [a number for each problem], "length": [mean
    tokens of a completion of all tasks, for each iteration of RL]}.
    """
    lengths = []
    if stage == "rl":
        lengths = [round(line["completion_length"], 2) for line in runs.curve(source, "rl")]
    model, _ = runs.open_model(source, stage)
    config = runs.config_of_source(source)
    problems = test_problems(TASK, config.tasks.levels[TASK], num_problems, config.evaluate.seed)
    answers = answers_with_ends(model, get_tokenizer(), [problem.prompt for problem in problems],
                                config.evaluate.max_new_tokens, seed=5)
    behaviours = [observe(problem, answer.text) for problem, answer in zip(problems, answers)]
    is_right = [verify(problem, answer.text).correct for problem, answer in zip(problems, answers)]
    return {"right": runs.digits(is_right),
            "thinks": runs.digits(behaviour.thinks for behaviour in behaviours),
            "ended": runs.digits(answer.ended for answer in answers),
            "tries": [behaviour.num_tries for behaviour in behaviours],
            "tokens": [answer.num_tokens for answer in answers], "length": lengths}


# -----------------------------------------------------------------------------
# Numbers

NUMBERS = np.dtype([("right", bool), ("thinks", bool), ("ended", bool), ("tries", int), ("tokens", int)])


def answers_of(arms):
    """The answers of one arm: an array (seeds, problems) of NUMBERS. `arms` are what `measure` returned."""
    answers = np.empty((len(arms), len(arms[0]["tries"])), NUMBERS)
    for seed, arm in enumerate(arms):
        for name in ("right", "thinks", "ended"):
            answers[name][seed] = [bit == "1" for bit in arm[name]]
        for name in ("tries", "tokens"):
            answers[name][seed] = arm[name]
    return answers


def share_right(answers):
    return answers["right"].mean()


def mean_tries(answers):
    return mean_where(answers["tries"], answers["thinks"])


def tries_of_right(answers):
    return mean_where(answers["tries"], answers["thinks"] & answers["right"])


def tries_of_wrong(answers):
    return mean_where(answers["tries"], answers["thinks"] & ~answers["right"])


def mean_tokens(answers):
    return answers["tokens"].mean()


def share_cut_off(answers):
    return 1 - answers["ended"].mean()


STATISTICS = {"right": share_right, "tries": mean_tries, "tries of right answers": tries_of_right,
              "tries of wrong answers": tries_of_wrong, "tokens": mean_tokens, "cut off": share_cut_off}


def rows_of(answers):
    """Each number of each arm, and of each arm less the usual one, with 95% over seeds and problems.

    `answers` is {arm: what `answers_of` returned}.
    """
    rows = []
    for name, mine in answers.items():
        for title, statistic in STATISTICS.items():
            rows.append(row(f"{name}: {title}", *bootstrap(statistic, mine)))
    for name, mine in answers.items():
        if name in (BEFORE, USUAL):
            continue
        for title, statistic in STATISTICS.items():
            def difference(mine, usual, statistic=statistic):
                return statistic(mine) - statistic(usual)
            rows.append(row(f"{name} less {USUAL}: {title}", *bootstrap(difference, mine, answers[USUAL])))
    return rows


def draw(measured, rows):
    """Left: the length of completions on the way. Right: tries of right and of wrong answers at the end."""
    found = {line["name"]: (line["value"], line["low"], line["high"]) for line in rows}
    figure, axes = new_figure(1, 2, figsize=(10, 3.8))
    for name in FLAGS:
        lengths = [arm["length"] for arm in measured[name]]
        means = [sum(of_iteration) / len(lengths) for of_iteration in zip(*lengths)]
        axes[0].plot(range(1, len(means) + 1), smooth(means), color=COLORS[name], label=name)
    bars = {}
    for kind in ("right", "wrong"):
        bars[f"{kind} answers"] = {name: found[f"{name}: tries of {kind} answers"] for name in COLORS}
    group_bars(axes[1], bars, COLORS)
    label(axes[0], "length in RL, by what the loss averages over", "iteration of RL",
          "tokens of an answer, all tasks")
    label(axes[1], "countdown: the base, and after RL", ylabel="tries of an answer that thinks", legend=False)
    axes[1].set_ylim(top=1.45 * axes[1].get_ylim()[1])      # room for the names
    axes[1].legend(frameon=False, fontsize=8, ncols=2, loc="upper center")
    return figure


def main():
    args = runs.parse(runs.make_parser(__doc__.splitlines()[0], num_seeds=3))
    num_problems, jobs = 30 if args.fast else 1000, {}
    for seed in args.seeds:
        for name in (BEFORE, *FLAGS):
            file = f"longer-{runs.in_file_name(name)}-{seed}"
            jobs[name, seed] = (runs.arm, file, args, measure, name, num_problems, seed, args)
    measured = runs.by_seed(runs.work_off(jobs))                   # {arm: its numbers of each seed}
    rows = rows_of({name: answers_of(arms) for name, arms in measured.items()})
    runs.save_rows("longer", "Thoughts grow by a bias of the loss", args.command, args.seeds, num_problems,
                   rows)
    runs.save_figure(draw(measured, rows), "longer")


if __name__ == "__main__":
    main()
