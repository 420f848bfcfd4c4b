"""Where does a critic pay? PPO and GRPO, where a critic should help most. A part of claim C5.

    python lessons/studies/critic.py [--seeds 3]
    python lessons/studies/critic.py --fast
    python lessons/studies/critic.py --only few lambda        two of the questions

A critic says at each token what reward is still to come. The mean of a group says it once for a whole
completion, and only if the problem has several. So a critic should pay in three cases:

    few         where a problem has one completion, and no group; beside it 8 completions of each
    lambda      where credit is given token by token: a lambda of 0.95 hands a token what the critic says soon
                after it, a lambda of 1 what came at the end
    price       where there is more to foresee than right or wrong: longer answers pay a price

It also counts what the critic of a whole run of PPO knows of the reward, from the first token of an answer to
the last, beside what the mean of a group knows: `measure_knowledge`. These numbers come first. They are of
the five whole runs of compare_ppo_grpo.py, however many seeds are asked for.

Both algorithms have the start, the samples, the scoring and the tuned settings of compare_ppo_grpo.py, whose
trials it finds in lessons/results/arms/. All runs have a third of the length. `runs_of` says what each
question changes. A pair may differ in more than the critic: in groups, and so in problems, or in the divisor.
Writes lessons/results/critic.json and critic.png.
"""

import dataclasses
import itertools
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))      # lessons/, where runs.py is

import compare_ppo_grpo as comparison
import numpy as np
import runs
import torch
from compare_ppo_grpo import ALGOS, COLORS, Curves, at_end, lead_at_end
from runs import bootstrap, row
from shared import error_bars, label, plot_band

from minireason.policy import make_critic
from minireason.rewards import price_of_mixing, reasoning_world
from minireason.rollout import by_micro_batch, collect_rollout
from minireason.settings import from_dict
from minireason.tokenizer import get_tokenizer
from minireason.tools.plots import new_figure
from minireason.upkeep.checkpoint import load_weights
from minireason.upkeep.seeding import derive_seed

QUESTIONS = ("few", "lambda", "price")
FEW = (1, 8)                    # completions of a problem
LAMBDAS = ("1", "0.95")
CHOSEN_LAMBDA = "0.95"          # by the trials: so in PAIRS "lambda-0.95" stands for the chosen settings
PAIRS = {                       # what is compared: the first minus the second, each a name and its algorithm
    "PPO minus GRPO, one completion a problem": (("group-1", "ppo"), ("group-1", "grpo")),
    "PPO minus GRPO, eight completions a problem": (("group-8", "ppo"), ("group-8", "grpo")),
    "GRPO, one completion minus eight": (("group-1", "grpo"), ("group-8", "grpo")),
    "PPO, one completion minus eight": (("group-1", "ppo"), ("group-8", "ppo")),
    "PPO, eight completions minus sixteen": (("group-8", "ppo"), ("lambda-0.95", "ppo")),
    "PPO minus GRPO, a price of length": (("length-price", "ppo"), ("length-price", "grpo")),
    "PPO, a price of length minus none": (("length-price", "ppo"), ("lambda-0.95", "ppo")),
    "PPO, lambda 0.95 minus lambda 1": (("lambda-0.95", "ppo"), ("lambda-1", "ppo"))}
PART = 3                        # a run has the third part of the iterations
LENGTH_PRICE = 0.5              # of the longest completion; a shorter one pays its part
NUM_PROBLEMS, GROUP_SIZE = 600, 16      # of the answers that show what a critic knows
SIZES = (2, 4, 8, 16)           # of groups whose mean is compared with it
NUM_PLACES = 11                 # of an answer, from its first token to its last
NUM_KNOWN = 5                   # whole runs of PPO whose critics are asked
STYLES = {                      # of the curves of PPO's critic
    "group-1": ("one completion a problem", "#3f7f8c"), "group-8": ("eight completions a problem", "#e0a030"),
    "length-price": ("a price of length", "#4f8a5b"), "lambda-1": ("lambda 1", "#444444"),
    "lambda-0.95": ("chosen settings (lambda 0.95)", "#9a6fb0")}


def runs_of(question, chosen, args):
    """The runs of a question: [(name, algorithm, settings, more flags)].

    `chosen` is {algorithm: the settings that its trials chose}.
    """
    asked, rl = [], runs.config_asked(args.flags).rl
    shorter = ["--rl-num-iterations", max(1, rl.num_iterations // PART)]
    if question == "few":
        for group_size, algo in itertools.product(FEW, ALGOS):
            settings = {**chosen[algo], "group-size": group_size}
            # One completion has no group: GRPO's baseline is the mean of the whole batch then.
            flags = ["--rl-batch-baseline"] if (algo, group_size) == ("grpo", 1) else []
            asked.append((f"group-{group_size}", algo, settings, shorter + flags))
    elif question == "lambda":
        for value in LAMBDAS:
            asked.append((f"lambda-{value}", "ppo", {**chosen["ppo"], "gae-lambda": value}, shorter))
    else:
        for algo in ALGOS:
            flags = ["--rl-overlong-penalty", LENGTH_PRICE, "--rl-overlong-buffer", rl.max_new_tokens]
            if algo == "grpo":
                # Divided by its group's deviation, a difference of lengths would count like right and wrong.
                flags.append("--no-rl-scale-advantages")
            asked.append(("length-price", algo, chosen[algo], shorter + flags))
    return asked


# -----------------------------------------------------------------------------
# What a critic knows, and what a group knows

def measure_knowledge(settings, seed, args):
    """How much of the reward is known: by the critic of a whole run of PPO, and by the mean of a group.

    The trained policy answers new problems GROUP_SIZE times each. The critic reads these answers, and says at
    each token what is still to come: with gamma 1, the reward. Of a group, the mean of the other answers says
    it. Known is the explained variance: 1 all of it, 0 no more than a constant. Returns {"trained with",
    "critic": [for each of NUM_PLACES places of an answer], "group": {size: of the others in such a group}}.
    """
    folder_name, results = comparison.train_run("whole", "ppo", "cold-start", settings, [], seed, args)
    config = from_dict(results["config"])
    policy, state = runs.open_model(runs.STUDIES / folder_name, "rl")
    critic = make_critic(policy, shared=False).to(runs.device)
    load_weights(critic, state["extra"]["critic"])
    tasks, price = config.tasks, price_of_mixing(config)
    world = reasoning_world(get_tokenizer(), tasks.levels, tasks.shares, price)
    larger = dataclasses.replace(config.rl, num_prompts=NUM_PROBLEMS, group_size=GROUP_SIZE)
    rollout = collect_rollout(policy, None, world, larger, derive_seed(seed, "knowledge"), 0)
    values = by_micro_batch(rollout, larger, critic)                                    # (B, L)
    return {"trained with": comparison.how(settings, []),
            "critic": known_along(rollout.rewards, values, rollout.completion_mask.sum(1)),
            "group": {str(size): known_by_group(rollout.rewards, size) for size in SIZES}}


def knowledge_arm(settings, seed, args):
    """What `measure_knowledge` returns: measured, or found in the file of this arm."""
    name = f"C5-known-{seed}"
    arm = runs.arm(name, args, measure_knowledge, settings, seed, args)
    comparison.refuse_others(name, arm["trained with"], comparison.how(settings, []))
    return arm


def explained_variance(rewards, guesses):
    """1 if the guesses are the rewards, 0 if they are no better than a constant. Both (N,)."""
    return 1 - float((rewards - guesses).var() / rewards.var())


def known_along(rewards, values, lengths):
    """The explained variance of the values (B, L) at NUM_PLACES places of each answer, as many tokens apart.

    `rewards` (B,) are what was to come, `lengths` (B,) the numbers of tokens.
    """
    guesses = []
    for of_answer, length in zip(values, lengths.tolist()):
        places = torch.linspace(0, length - 1, NUM_PLACES).round().long()
        guesses.append(of_answer[places])
    guesses = torch.stack(guesses)                                                      # (B, places)
    return [explained_variance(rewards, guesses[:, place]) for place in range(NUM_PLACES)]


def known_by_group(rewards, size):
    """The explained variance of the mean of the others, in groups of `size` answers. `rewards` (B,)."""
    groups = rewards.view(-1, size)                                                     # (groups, size)
    others = (groups.sum(1, keepdim=True) - groups) / (size - 1)
    return explained_variance(rewards, others.flatten())


def rows_of_knowledge(known):
    """`known` is what `measure_knowledge` returned, for each seed."""
    rows, along = [], np.array([arm["critic"] for arm in known])                        # (seeds, places)
    for place in range(NUM_PLACES):
        rows.append(row(f"known by the critic at {100 * place // (NUM_PLACES - 1)}% of an answer "
                        "(mean, lowest, highest run)", *spread(along[:, place])))
    for size in SIZES:
        of_size = [arm["group"][str(size)] for arm in known]
        rows.append(row(f"known by the mean of the others in a group of {size} (mean, lowest, highest run)",
                        *spread(of_size)))
    return rows


# -----------------------------------------------------------------------------
# Rows and pictures

def spread(values):
    """(mean, lowest, highest) of one number of each run."""
    return float(np.mean(values)), float(np.min(values)), float(np.max(values))


def rows_of(answers, seeds):
    """Rows of each arm at its end, and of each pair: how far the first is ahead of the second.

    `answers` is {name: {algorithm: [what `compared_run` returned, for each of the seeds]}}.
    """
    rows, curves = [], {}
    for name, arms in answers.items():
        for algo, of_algo in arms.items():
            # 1.0 stands for the seconds of a token: no row is of seconds
            mine = curves[name, algo] = Curves(of_algo, 1.0)
            rows.append(row(f"{name}: {algo}, all tasks", *bootstrap(at_end, mine.all)))
            if "explained_variance" in of_algo[0]:
                lines = np.array([arm["explained_variance"] for arm in of_algo])
                for part, columns in (("first", lines[:, :10]), ("last", lines[:, -10:])):
                    rows.append(row(f"{name}: explained variance of its targets, {part} ten rollouts "
                                    "(mean, lowest, highest run)", *spread(columns.mean(1))))
            rows.append(row(f"{name}: {algo}, tokens of an answer (mean, lowest, highest run)",
                            *spread([arm["tokens of an answer"] for arm in of_algo])))
    for title in pairs_of(answers):
        first, second = [curves[pair].all for pair in PAIRS[title]]
        rows.append(row(title, *bootstrap(lead_at_end, first, second)))
        for place, seed in enumerate(seeds):
            of_seed = (first[place:place + 1], second[place:place + 1])
            rows.append(row(f"{title}, seed {seed}", *bootstrap(lead_at_end, *of_seed)))
    return rows


def pairs_of(answers):
    """The PAIRS of which both arms were asked."""
    titles = []
    for title, pair in PAIRS.items():
        if all(algo in answers.get(name, {}) for name, algo in pair):
            titles.append(title)
    return titles


def draw(rows, answers, known, seeds):
    """Which arm of a pair is ahead; what PPO's critic learns on the way; what it knows after a whole run."""
    figure, (left, middle, right) = new_figure(1, 3, figsize=(10, 3.6))
    points = {row["name"]: 100 * np.array([row["value"], row["low"], row["high"]]) for row in rows}
    titles = pairs_of(answers)
    for place, title in enumerate(titles):
        lead = points[title]
        _, errors = error_bars([lead])
        left.errorbar(lead[0], place, xerr=errors, fmt="o", ms=5, capsize=3, color="#444444")
        of_runs = [points[f"{title}, seed {seed}"][0] for seed in seeds]
        left.plot(of_runs, [place + 0.2] * len(of_runs), "o", ms=4, mfc="none", color="#888888")
    left.axvline(0, color="#999999", lw=0.8)
    left.set_yticks(range(len(titles)), [title.replace(", ", ",\n", 1) for title in titles])
    left.set_ylim(max(1, len(titles)) - 0.5, -0.5)
    label(left, "after a third of a whole run", "points by which the first is ahead")
    for name, arms in answers.items():
        lines = np.array([arm["explained_variance"] for arm in arms["ppo"]])
        words, color = STYLES[name]
        middle.plot(range(1, lines.shape[1] + 1), lines.mean(0), lw=1.2, label=words, color=color)
    middle.axhline(0, color="#999999", lw=0.8)
    middle.set_ylim(-0.1, 1.35)         # above 1 is room for the legend
    middle.set_yticks([0, 0.2, 0.4, 0.6, 0.8, 1])
    label(middle, "what PPO's critic learns", "rollout", "explained variance of its targets", legend=False)
    middle.legend(frameon=False, fontsize=7, loc="upper left")
    along = np.array([arm["critic"] for arm in known])                                  # (seeds, places)
    percent = np.linspace(0, 100, NUM_PLACES)
    plot_band(right, percent, [spread(column) for column in along.T], COLORS["ppo"],
              f"PPO's critic ({len(known)} runs)")
    for size, line in ((SIZES[-2], "--"), (SIZES[0], ":")):
        mean, _, _ = spread([arm["group"][str(size)] for arm in known])
        right.axhline(mean, ls=line, color=COLORS["grpo"], label=f"mean of the others, group of {size}")
    right.set_ylim(-0.4, 1)
    right.axhline(0, color="#999999", lw=0.8)
    label(right, "after a whole run", "% of the answer that is written", "explained variance of the reward")
    return figure


def main():
    parser = runs.make_parser(__doc__.splitlines()[0], num_seeds=3)
    parser.add_argument("--only", nargs="+", choices=QUESTIONS, default=QUESTIONS,
                        help="these questions; critic.json then holds these alone")
    args = runs.parse(parser)
    comparison.refuse_tuning_seeds(parser, args)
    if args.fast:
        make_small()
    comparison.make_trials(args)
    chosen = {algo: comparison.best_of(comparison.tune(algo, args))["settings"] for algo in ALGOS}
    if not args.fast and chosen["ppo"]["gae-lambda"] != CHOSEN_LAMBDA:
        parser.error(f"the trials chose lambda {chosen['ppo']['gae-lambda']}: PAIRS expects {CHOSEN_LAMBDA}")
    jobs = {}
    for seed in range(NUM_KNOWN):
        jobs["known", seed] = (knowledge_arm, chosen["ppo"], seed, args)
    known = runs.by_seed(runs.work_off(jobs))["known"]
    jobs = {}
    for seed, question in itertools.product(args.seeds, args.only):
        for name, algo, settings, flags in runs_of(question, chosen, args):
            jobs[(name, algo), seed] = (
                comparison.run_arm, name, algo, "cold-start", settings, flags, seed, args)
    answers = {}
    for (name, algo), arms in runs.by_seed(runs.work_off(jobs)).items():
        answers.setdefault(name, {})[algo] = arms
    rows = rows_of(answers, args.seeds) + rows_of_knowledge(known)
    some_arm = next(iter(answers.values()))["ppo"][0]
    num_problems = sum(len(of_task) for of_task in some_arm["marks"][0]["right"].values())
    pairs = {}          # {title of a difference: the names of its two rows}
    for title in pairs_of(answers):
        pairs[title] = [f"{name}: {algo}, all tasks" for name, algo in PAIRS[title]]
    runs.save_rows("critic", "Where a critic pays", args.command, args.seeds, num_problems, rows,
                   chosen=chosen, pairs=pairs, known_seeds=list(range(NUM_KNOWN)))
    runs.save_figure(draw(rows, answers, known, args.seeds), "critic")
    for line in rows:
        print("{name:75} {value:.3f} [{low:.3f}, {high:.3f}]".format(**line))


def make_small():
    """For --fast: two trials of each algorithm, fewer runs and fewer answers."""
    global FEW, LAMBDAS, NUM_PROBLEMS, NUM_KNOWN
    FEW, LAMBDAS, NUM_PROBLEMS, NUM_KNOWN = (1,), ("0.95",), 20, 1
    comparison.make_small()


if __name__ == "__main__":
    main()
