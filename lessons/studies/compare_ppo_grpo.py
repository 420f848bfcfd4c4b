"""PPO against GRPO: held-out accuracy by samples, by seconds and by bytes. Claims C4 and C5.

    python lessons/studies/compare_ppo_grpo.py [--seeds 5]
    python lessons/studies/compare_ppo_grpo.py --fast
    python lessons/studies/compare_ppo_grpo.py --tune         the trials alone: tuning.json, tuning.png
    python lessons/studies/compare_ppo_grpo.py --starts cold-start      a part of the runs
    python lessons/studies/compare_ppo_grpo.py --memory       counts bytes alone (C4): seconds, and no run

The contract of fairness. Both algorithms have

    the same start      the cold start of a whole run, and in a second comparison its base; each seed has its
                        own corpus, base and cold start. Their answers before RL have to be the same
    the same problems   drawn from the same stream, and judged by the same verifier
    the same samples    as many rollouts as the preset has, of as many completions. GRPO may choose to draw
                        them in smaller groups of more problems; critic.py asks PPO the same
    the same tuning     NUM_TRIALS settings each: the preset's, and others drawn at random from GRIDS. Each is
                        tried in a run of a third of the length, from the cold starts of two other seeds, and
                        answers held-out problems that are drawn with another seed than those that are
                        scored. Few are held out, so many of the 500 of each task are, by their key, among
                        the scored ones as well: 436 of countdown, 476 programs, 88 of arithmetic. The best
                        mean of the two seeds is taken. If its learning rate is the lowest or the highest of
                        RATES, the next one beyond is tried as well. From the base the same settings are used
    the same scoring    the held-out problems of all tasks, at the start and after each tenth of the way

Seconds are measured apart, with nothing else running: `measure_clock`. So it does not matter on which machine
a run was trained, or what ran beside it. From the cold start PPO also makes runs that are planned for the
seconds of GRPO's: with fewer rollouts, after which its learning rate has fallen to 0 as well. Cut off on its
way, a long run would look worse than it needs to. There are two: one has PPO's best settings, and since these
may learn several times from each rollout, the other has the best of the trials that learn once (`PLANNED`).
From the base such a plan fails: answers grow in RL, so fewer rollouts also have shorter answers, and end long
before GRPO. (Five such runs are kept in lessons/results/arms/ and not compared.) Bytes are those of the
ledger, which C4 compares with tensors.

Where a critic could pay is asked by critic.py, with runs of a third of the length.
"""

import copy
import dataclasses
import itertools
import sys
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))      # lessons/, where runs.py is

import numpy as np
import runs
import torch
from runs import bootstrap, row
from shared import error_bars, label, plot_band

from minireason import grpo, ppo
from minireason.config import RLConfig
from minireason.optimizer import adamw
from minireason.policy import make_critic
from minireason.rewards import reasoning_world
from minireason.run import config_of
from minireason.settings import from_dict
from minireason.stats import wilson_interval
from minireason.tokenizer import get_tokenizer
from minireason.tools.memory import ALGORITHMS, ledger, measure, peak
from minireason.tools.plots import new_figure
from minireason.tools.scores import mean_of_reasoning
from minireason.upkeep import kernels
from minireason.upkeep.files import read_json
from minireason.upkeep.seeding import derive_rng, derive_seed

ALGOS = ("grpo", "ppo")
COLORS = {"grpo": "#1b6ca8", "ppo": "#d1495b"}
RATES = ("1e-4", "2e-4", "3e-4", "6e-4", "1e-3")        # learning rates of the policy
BEYOND = {"1e-4": "5e-5", "1e-3": "2e-3"}               # where the best rate is on the edge
GRIDS = {
    "grpo": {"learning-rate": RATES, "group-size": (8, 16, 32), "num-epochs": (1, 2, 4),
             "normalize": ("token", "sequence", "constant")},
    "ppo": {"learning-rate": RATES, "critic-learning-rate": ("2e-4", "5e-4", "1e-3", "2e-3"),
            "num-epochs": (1, 2, 4), "gae-lambda": ("1", "0.98", "0.95"), "critic-warmup": (0, 3, 6)}}
PRESET = {
    "grpo": {"learning-rate": "3e-4", "group-size": 16, "num-epochs": 1, "normalize": "token"},
    "ppo": {"learning-rate": "3e-4", "critic-learning-rate": "5e-4", "num-epochs": 1, "gae-lambda": "1",
            "critic-warmup": 0}}
NUM_TRIALS = 16
TUNING_SEEDS = (5, 6)
TUNING_PROBLEMS = 77            # the seed of the problems that trials answer; scores use another one
STARTS = ("cold-start", "base")
NUM_LOOKS = 10                  # scores on the way, after the first
ROUNDING = 0.01                 # of the answers of one model may be others on another processor
GOALS = {"cold-start": (0.05, 0.10), "base": (0.20, 0.30)}       # on the way: so much above the start
NUM_TIMED = 4                   # rollouts of each algorithm, from each of two models
PLANNED = {"planned": "ppo in the seconds of grpo",                      # runs of PPO, and how rows call them
           "once": "ppo with one update in the seconds of grpo"}
STYLES = {"planned": (":", ""), "once": ("-.", ", one update")}         # of lines, and words in the legend
PROMPT_LENGTH = 20              # tokens, for the ledger
tokenizer = get_tokenizer()


# -----------------------------------------------------------------------------
# Tuning

def trials_of(algo):
    """The settings that are tried, as dicts: the preset's, then others, drawn at random."""
    rng, trials = derive_rng("trials", algo), [PRESET[algo]]
    while len(trials) < NUM_TRIALS:
        trial = {name: rng.choice(values) for name, values in GRIDS[algo].items()}
        if trial not in trials:
            trials.append(trial)
    return trials


def beyond(trial):
    """The same settings with the next learning rate outside of RATES; None if theirs is not on the edge."""
    rate = BEYOND.get(trial["learning-rate"])
    return {**trial, "learning-rate": rate} if rate else None


def flags_of(algo, settings, args):
    """The flags of some settings for train.py. Another group size keeps the number of completions."""
    flags = ["--algo", algo]
    for name, value in settings.items():
        flags += [f"--rl-{name}", value]
    if "group-size" in settings:
        flags += ["--rl-num-prompts", max(1, num_completions(args) // settings["group-size"])]
    return flags


def num_completions(args):
    """How many completions one rollout has, in every run of the study."""
    asked = runs.config_asked(args.flags).rl
    return asked.num_prompts * asked.group_size


def try_settings(algo, number, settings, seed, args):
    """Trains with one trial's settings and one seed for a third of the way, if it is not done.

    Returns {"trial": the settings, "right": {task: share of right answers}, "num_problems": of each task}.
    """
    name, asked = f"trial-{algo}-{number}-{seed}", runs.config_asked(args.flags)
    num_problems = min(500, asked.evaluate.num_problems)
    results = runs.ensure(
        name, "rl", "--seed", seed, "--from", runs.whole_run(seed, args, needs="cold-start"), *args.flags,
        *flags_of(algo, settings, args), "--rl-num-iterations", max(1, asked.rl.num_iterations // 3),
        "--rl-snapshots", 0, "--evaluate-seed", TUNING_PROBLEMS,
        "--evaluate-num-problems", num_problems, "--evaluate-num-programs", num_problems)
    scores = results["stages"]["rl"]
    shares = {}
    for task in tasks_of(args):
        shares[task] = scores[task]["accuracy"]["value"]
    return {"trial": settings, "right": shares, "num_problems": num_problems}


def trial_arm(algo, number, settings, seed, args):
    """What `try_settings` returns: measured, or found in the file of this arm."""
    name = f"C5-trial-{algo}-{number}-{seed}"
    arm = runs.arm(name, args, try_settings, algo, number, settings, seed, args)
    refuse_others(name, arm["trial"], settings)
    return arm


def make_trials(args):
    """Makes the arms of all trials that are not there. `tune` finds them."""
    jobs = {}
    for algo in ALGOS:
        for number, settings in enumerate(trials_of(algo)):
            for seed in tuning_seeds(args):
                jobs[algo, number, seed] = (trial_arm, algo, number, settings, seed, args)
    runs.work_off(jobs)


def result_of(algo, number, settings, args):
    """{"settings", "right": the mean over tasks and tuning seeds, "by seed", "answers"} of one trial."""
    by_seed, answers = [], 0
    for seed in tuning_seeds(args):
        arm = trial_arm(algo, number, settings, seed, args)
        by_seed.append(sum(arm["right"].values()) / len(arm["right"]))
        answers += arm["num_problems"] * len(arm["right"])
    return {"settings": settings, "right": sum(by_seed) / len(by_seed), "by seed": by_seed,
            "answers": answers}


def tune(algo, args):
    """All trials, as `result_of` returns them; and one more, `beyond`, if the best rate is on the edge."""
    tried = []
    for number, settings in enumerate(trials_of(algo)):
        tried.append(result_of(algo, number, settings, args))
    further = beyond(best_of(tried)["settings"])
    if further:
        tried.append(result_of(algo, len(tried), further, args))
    return tried


def best_of(tried):
    """The result with the largest share of right answers; of equals, the first."""
    return max(tried, key=lambda trial: trial["right"])


def best_with_one_update(tried):
    """The best of the trials that learn once from each rollout. The preset is one of them."""
    return best_of([trial for trial in tried if trial["settings"]["num-epochs"] == 1])


def rows_of_trials(tried):
    """The preset's settings and the best ones of both, with 95% Wilson intervals; and for each learning rate
    the mean, the lowest and the highest of its trials. `tried` is {algorithm: what `tune` returned}."""
    rows = []
    for algo, trials in tried.items():
        best = best_of(trials)
        for title, trial in (("preset", trials[0]), ("best", best)):
            low, high = wilson_interval(round(trial["right"] * trial["answers"]), trial["answers"])
            rows.append(row(f"{algo}, {title}", trial["right"], low, high))
        for rate in (BEYOND[RATES[0]], *RATES):
            shares = [trial["right"] for trial in trials if trial["settings"]["learning-rate"] == rate]
            if shares:
                rows.append(row(f"{algo}, rate {rate} (mean, lowest, highest trial)",
                                sum(shares) / len(shares), min(shares), max(shares)))
    return rows


def draw_trials(tried):
    """Each trial: the share right after a third of the way against its learning rate. The best has a ring."""
    figure, axis = new_figure(figsize=(7, 3.8))
    markers = {1: "o", 2: "s", 4: "^"}
    for algo, trials in tried.items():
        shift = 0.95 if algo == "grpo" else 1.05        # so that equal rates of both lie side by side
        for num_epochs, marker in markers.items():
            mine = [trial for trial in trials if trial["settings"]["num-epochs"] == num_epochs]
            rates = [shift * float(trial["settings"]["learning-rate"]) for trial in mine]
            axis.plot(rates, [100 * trial["right"] for trial in mine], marker, color=COLORS[algo], ms=7,
                      alpha=0.75, label=f"{algo.upper()}, updates a rollout: {num_epochs}")
        best = best_of(trials)
        x = shift * float(best["settings"]["learning-rate"])
        axis.plot(x, 100 * best["right"], "o", ms=14, mfc="none", mec=COLORS[algo])
    axis.set_xscale("log")
    ticks = (BEYOND[RATES[0]], *RATES)
    axis.set_xticks([float(rate) for rate in ticks], ticks)
    axis.minorticks_off()
    label(axis, "", "learning rate of the policy", "held-out problems right, %", legend=False)
    axis.legend(frameon=False, fontsize=8, loc="lower left")
    return figure


def save_trials(tried, args):
    """Writes lessons/results/tuning.json and tuning.png."""
    runs.save_rows("tuning", "PPO and GRPO, tuned with equal effort", args.command, tuning_seeds(args),
                   tried["ppo"][0]["answers"], rows_of_trials(tried), tried=tried)
    runs.save_figure(draw_trials(tried), "tuning")


def tuning_seeds(args):
    return TUNING_SEEDS[:1] if args.fast else TUNING_SEEDS


def refuse_tuning_seeds(parser, args):
    """Ends the program with 2 where the settings would be scored on seeds on which they were chosen."""
    if len(args.seeds) > min(TUNING_SEEDS):
        parser.error(f"--seeds is at most {min(TUNING_SEEDS)}: the settings were chosen on later seeds")


# -----------------------------------------------------------------------------
# Runs, and what is kept of them

def tasks_of(args):
    return list(runs.config_asked(args.flags).tasks.levels)


def train_run(name, algo, start, settings, more_flags, seed, args):
    """Trains one run, if it is not done. Returns (the name of its folder in runs/studies, its results)."""
    folder_name = f"compare-{name}-{algo}-{start}-{seed}"
    source = runs.whole_run(seed, args, needs="cold-start")         # it holds the base, too
    refuse_another_start(start, source, seed, args)
    pure = ["--pure-rl"] if start == "base" else []
    results = runs.ensure(folder_name, "rl", *pure, "--seed", seed, "--from", source, *args.flags,
                          *flags_of(algo, settings, args), "--rl-snapshots", NUM_LOOKS - 1, *more_flags)
    return folder_name, results


def compared_run(name, algo, start, settings, more_flags, seed, args):
    """Trains one run, or finds it, and scores it at its start and after each tenth of its way.

    `start` is "cold-start" or "base", `name` what the run is for, such as "whole". Returns {"trained with",
    "marks", "tokens of an answer", and curves by iteration}. A mark is what was sampled until then, and which
    held-out problems are right then: {"iteration", "completions", "tokens", "right"}.
    """
    folder_name, results = train_run(name, algo, start, settings, more_flags, seed, args)
    config, lines = from_dict(results["config"]), runs.curve(runs.STUDIES / folder_name, "rl")
    num_completions = config.rl.num_prompts * config.rl.group_size       # of an iteration
    marks = []
    for iteration, model in runs.rl_models(runs.STUDIES / folder_name):
        tokens = sum(line["completion_length"] for line in lines[:iteration]) * num_completions
        right = runs.right_answers(model, config.tasks.levels, config)
        marks.append({"iteration": iteration, "completions": iteration * num_completions,
                      "tokens": round(tokens), "right": right})
    kept = {"trained with": how(settings, more_flags), "marks": marks,
            "tokens of an answer": mean_of_reasoning(results["stages"]["rl"], "tokens")}
    for key in ("reward", "completion_length", "explained_variance"):
        if key in lines[0]:
            kept[key] = [round(line[key], 4) for line in lines]
    return kept


def preset_arm(seed, args):
    """What GRPO with the preset's settings solves after the whole of RL: the run that other studies use."""
    model, _ = runs.open_model(runs.whole_run(seed, args, needs="rl"), "rl")
    return {"right": runs.right_answers(model, tasks_of(args), runs.config_asked(args.flags))}


def run_arm(name, algo, start, settings, more_flags, seed, args):
    """What `compared_run` returns: measured, or found in the file of this arm."""
    arm_name = f"C5-{name}-{algo}-{start}-{seed}"
    arm = runs.arm(arm_name, args, compared_run, name, algo, start, settings, more_flags, seed, args)
    refuse_others(arm_name, arm["trained with"], how(settings, more_flags))
    return arm


def how(settings, more_flags):
    """The settings and flags of a run, which are kept with its numbers."""
    return [settings, [str(flag) for flag in more_flags]]


def refuse_others(name, trained_with, wanted):
    """Ends the program with 2 if an arm was trained with other settings than the trials have now chosen.

    `runs.arm` compares only the settings of the command line.
    """
    differing = ["the chosen settings"] if trained_with != wanted else []
    runs.refuse_if_any(differing, f"{runs.RESULTS / 'arms' / name}.json was trained with other settings")


def refuse_another_start(start, source, seed, args):
    """Ends the program with 2 if a kept arm of this start and seed began with another model than `source`.

    Arms may come from several machines, on which a cold start is trained to other bits. Even one model may
    answer a few problems otherwise there, since processors round differently. `source` is a run.
    """
    right = None
    for path in sorted((runs.RESULTS / "arms").glob(f"C5-*-{start}-{seed}.json")):
        if right is None:       # what the model answers before RL
            model, _ = runs.open_model(source, start)
            right = runs.right_answers(model, tasks_of(args), runs.config_asked(args.flags))
        marks = runs.or_exit(read_json, path, {"marks": list}, "delete it")["marks"]
        share = share_differing(marks[0]["right"], right)
        differing = [f"{100 * share:.1f}% of the answers before RL"] if share > ROUNDING else []
        runs.refuse_if_any(differing, f"{path} began with another model than {source} has")


def share_differing(right, others):
    """The share of problems that only one of two models solves. What each solves: {task: "0110..."}."""
    num_differing = num_problems = 0
    for task, of_task in right.items():
        num_differing += sum(one != other for one, other in zip(of_task, others[task]))
        num_problems += len(of_task)
    return num_differing / num_problems


def iterations_for(seconds_of, args):
    """How many iterations of PPO take the seconds of a whole run of GRPO. `seconds_of` is {algorithm: seconds
    of a token, for each rollout}."""
    return max(1, round(share_of_seconds(seconds_of) * runs.config_asked(args.flags).rl.num_iterations))


def share_of_seconds(seconds_of):
    """GRPO's seconds of a token over PPO's."""
    return float(np.median(seconds_of["grpo"]) / np.median(seconds_of["ppo"]))


def pace_of(clock, other_clock):
    """Seconds of a token of the PPO of another clock, as if it had been measured with the first one.

    Both clocks have {"grpo", "ppo": seconds}, maybe of two days: of the second one the ratio counts.
    """
    return float(np.median(clock["grpo"])) / share_of_seconds(other_clock)


# -----------------------------------------------------------------------------
# Seconds

def clock_arm(name, chosen, args):
    """What `measure_clock` returns: measured, or found in the file of this arm."""
    clock = runs.arm(name, args, measure_clock, chosen, 0, args)
    refuse_others(name, clock["trained with"], how(chosen, []))
    return clock


def measure_clock(chosen, seed, args):
    """Measures seconds per sampled token of both algorithms, in turn. Let nothing else run.

    Rollouts have the size that they have in the study. Each algorithm makes some with the base, with the cold
    start and with the RL model; the first one with each is not counted. RL leads from a start to an RL model,
    so what counts for a start are the rollouts of both. Returns {"trained with", "threads", and "seconds per
    token": {start: {algorithm: [seconds, for each rollout]}}}.
    """
    source, seconds = runs.whole_run(seed, args, needs="rl"), {}
    for stage in ("base", "cold-start", "rl"):
        model, state = runs.open_model(source, stage)
        config = config_of(state)
        price = 0.0 if stage == "base" else config.language_price       # as stages.py has it
        world = reasoning_world(tokenizer, config.tasks.levels, config.tasks.shares, price)
        seconds[stage] = {algo: [] for algo in ALGOS}
        steps = {}
        for algo in ALGOS:
            settings = dataclasses.replace(rl_config(algo, chosen, args), num_iterations=NUM_TIMED)
            steps[algo] = steps_of(algo, model, settings, world)
        for algo, of_iteration, metrics in runs.in_turn(steps, NUM_TIMED):
            seconds[stage][algo].append(of_iteration / metrics["num_tokens"])
    counted = {}
    for start in STARTS:
        counted[start] = {}
        for algo in ALGOS:
            counted[start][algo] = seconds[start][algo][1:] + seconds["rl"][algo][1:]
    return {"trained with": how(chosen, []), "seconds per token": counted, "threads": torch.get_num_threads()}


def rl_config(algo, chosen, args) -> RLConfig:
    """The settings of RL with which `algo` is compared."""
    flags = [str(flag) for flag in (*args.flags, *flags_of(algo, chosen[algo], args))]
    return runs.config_asked(flags).rl


def steps_of(algo, model, config, world):
    """The training of a copy of the model; each `next` is one rollout with its updates."""
    policy, seed = copy.deepcopy(model), derive_seed(0, "clock")
    if algo == "grpo":
        return grpo.train(policy, None, adamw(config, policy), world, config, seed)
    critic = make_critic(policy, config.shared_critic).to(runs.device)
    return ppo.train(policy, critic, None, adamw(config, policy, critic), world, config, seed)


# -----------------------------------------------------------------------------
# Curves: arrays of right or wrong (seeds, problems, marks)

class Curves:
    """The runs of one algorithm from one start, a seed each. `arms` are what `compared_run` returned."""

    def __init__(self, arms, seconds_per_token):
        self.right = {}                                 # by task: (seeds, problems, marks)
        for task in arms[0]["marks"][0]["right"]:
            of_task = []
            for arm in arms:
                columns = [list(mark["right"][task]) for mark in arm["marks"]]
                of_task.append(np.array(columns).T.astype(int))
            self.right[task] = np.array(of_task)
        self.all = np.concatenate(list(self.right.values()), axis=1)        # the problems of all tasks
        self.completions = [mark["completions"] for mark in arms[0]["marks"]]
        tokens = np.zeros(len(self.completions))                            # (marks,), mean of the runs
        for arm in arms:
            tokens += np.array([mark["tokens"] for mark in arm["marks"]]) / len(arms)
        self.seconds = tokens * seconds_per_token

    def of(self, task):
        """(seeds, problems, marks) of a task, or of "all tasks"."""
        return self.all if task == "all tasks" else self.right[task]


def at_end(right):
    return right[..., -1].mean()


def lead_at_end(one, other):
    return at_end(one) - at_end(other)


def area(x, right, until):
    """The mean share of right answers on the way up to `until`, an amount of x."""
    shares, places = right.mean((0, 1)), np.linspace(0, until, 201)
    return np.interp(places, x, shares).mean()


def needed(x, right, gain):
    """How much of x it takes to come `gain` above the start; infinite where that is never reached.

    Between two marks the share is a straight line.
    """
    shares = right.mean((0, 1))
    goal = shares[0] + gain
    for i in range(1, len(shares)):
        if shares[i] >= goal:
            part = (goal - shares[i - 1]) / (shares[i] - shares[i - 1])
            return x[i - 1] + part * (x[i] - x[i - 1])
    return float("inf")


def rows_of(start, seeds, curves, planned):
    """Rows of C5 for one start: the end, the way by samples and by seconds, and PPO less GRPO, in pairs.

    `curves` is {algorithm: Curves}, `planned` is {name in PLANNED: Curves} of PPO in the seconds of GRPO.
    """
    rows, title = [], start.replace("-", " ")
    of_grpo, of_ppo = curves["grpo"], curves["ppo"]
    budgets = {"completions": of_grpo.completions[-1],
               "seconds": min(of_grpo.seconds[-1], of_ppo.seconds[-1])}
    for algo in ALGOS:
        mine = curves[algo]
        for task, right in (*mine.right.items(), ("all tasks", mine.all)):
            rows.append(row(f"{title}: {algo}, {task}", *bootstrap(at_end, right)))
        rows.append(row(f"{title}: {algo}, start", *bootstrap(lambda right: right[..., 0].mean(), mine.all)))
        for unit, budget in budgets.items():
            x = getattr(mine, unit)
            rows.append(row(f"{title}: {algo}, on the way by {unit}",
                            *bootstrap(lambda right: area(x, right, budget), mine.all)))
            for gain in GOALS[start]:
                rows.append(row(f"{title}: {algo}, {unit} to {100 * gain:.0f} points more",
                                *bootstrap(lambda right: needed(x, right, gain), mine.all)))
    for task in (*of_grpo.right, "all tasks"):
        ppo_right, grpo_right = of_ppo.of(task), of_grpo.of(task)
        rows.append(row(f"{title}: ppo - grpo, {task}", *bootstrap(lead_at_end, ppo_right, grpo_right)))
        for name, its_curves in planned.items():
            words, right = PLANNED[name], its_curves.of(task)
            rows.append(row(f"{title}: {words}, {task}", *bootstrap(at_end, right)))
            rows.append(row(f"{title}: {words} - grpo, {task}", *bootstrap(lead_at_end, right, grpo_right)))
        for place, seed in enumerate(seeds):
            one_run = slice(place, place + 1)
            rows.append(row(f"{title}: ppo - grpo, seed {seed}, {task}",
                            *bootstrap(lead_at_end, ppo_right[one_run], grpo_right[one_run])))
    for unit, budget in budgets.items():
        def difference(ppo_right, grpo_right):
            return (area(getattr(of_ppo, unit), ppo_right, budget)
                    - area(getattr(of_grpo, unit), grpo_right, budget))
        rows.append(row(f"{title}: ppo - grpo, on the way by {unit}",
                        *bootstrap(difference, of_ppo.all, of_grpo.all)))
    return rows


def rows_of_preset(presets, of_grpo):
    """Rows of C5: GRPO with the preset's settings, and what the settings of the trials gain on it.

    `presets` is what `preset_arm` returned, for each seed; `of_grpo` are the Curves of the trials' choice.
    """
    by_task = {}                                        # (seeds, problems)
    for task in of_grpo.right:
        by_task[task] = np.array([list(preset["right"][task]) for preset in presets]).astype(int)
    by_task["all tasks"] = np.concatenate(list(by_task.values()), axis=1)
    rows = []
    for task, right in by_task.items():
        right = right[..., None]                        # (seeds, problems, 1): the end is the only mark
        rows.append(row(f"cold start: grpo with the preset, {task}", *bootstrap(at_end, right)))
        rows.append(row(f"cold start: grpo - grpo with the preset, {task}",
                        *bootstrap(lead_at_end, of_grpo.of(task), right)))
    return rows


def rows_of_clock(start, per_token):
    """How long 1,000 sampled tokens take, updates included."""
    rows = []
    for algo in ALGOS:
        counted = sorted(per_token[algo])
        rows.append(row(f"{start.replace('-', ' ')}: {algo}, seconds per 1,000 tokens (median, least, most)",
                        1000 * float(np.median(counted)), 1000 * counted[0], 1000 * counted[-1]))
    return rows


def draw(curves, planned, bytes_of, num_threads):
    """Held-out accuracy against completions and seconds, and at the end against bytes: the runs of one start.

    `curves` is {algorithm: Curves}, `planned` {name in PLANNED: Curves}, `bytes_of` {algorithm: bytes at the
    peak of a step}.
    """
    figure, axes = new_figure(1, 3, figsize=(10, 3.4))
    for algo, mine in curves.items():
        color, shares = COLORS[algo], shares_by_mark(mine)
        plot_band(axes[0], np.array(mine.completions) / 1000, shares, color, algo.upper())
        plot_band(axes[1], mine.seconds / 60, shares, color, algo.upper())
        _, errors = error_bars(shares[-1:])
        axes[2].errorbar(bytes_of[algo] / 2**20, shares[-1][0], errors, fmt="o", capsize=3, color=color)
    for name, mine in planned.items():
        style, more = STYLES[name]
        middles = [middle for middle, low, high in shares_by_mark(mine)]
        axes[1].plot(mine.seconds / 60, middles, style, marker="o", markevery=[-1], color=COLORS["ppo"],
                     label=f"PPO, planned for GRPO's time{more}")
    axes[1].sharey(axes[0])
    axes[2].sharey(axes[0])
    label(axes[0], "equal answers", "thousand answers", "held-out problems right, %", legend=False)
    label(axes[1], "equal time", f"minutes of training, threads: {num_threads}", legend=False)
    label(axes[2], "memory", "MiB at the peak of a step", legend=False)
    for axis in axes:
        axis.set_xlim(left=0)
    axes[2].set_xlim(right=1.15 * max(bytes_of.values()) / 2**20)
    axes[1].legend(frameon=False, fontsize=7, loc="lower right")
    return figure


def shares_by_mark(curves):
    """[(right, low end, high end) in percent, for each mark]."""
    shares = []
    for mark in range(len(curves.completions)):
        shares.append([100 * end for end in bootstrap(lambda right: right[..., mark].mean(), curves.all)])
    return shares


# -----------------------------------------------------------------------------
# Bytes. Some CPUs compute with lengths that are multiples of 16, others and GPUs with multiples of 4. These
# numbers are of the latter, wherever they are counted.

of_most_devices = mock.patch.object(kernels, "TILE", 4)


def memory_rows(config):
    """Rows of the bytes of a step, by kind and at the peak: by formula, and as `measure` counts them."""
    rows = []
    for algo in ALGORITHMS:
        formula = ledger(config.model, config.rl, algo, PROMPT_LENGTH)
        measured = measure(config.model, config.rl, algo, PROMPT_LENGTH)
        for name in formula:
            rows.append(row(f"{algo} {name}, bytes by formula", formula[name]) | {"measured": measured[name]})
        rows.append(row(f"{algo} peak, bytes by formula", peak(formula)) | {"measured": peak(measured)})
    return rows


@of_most_devices
def save_memory(args):
    """Writes C4.json: the bytes of a step with the preset's settings."""
    config = runs.config_asked(args.flags)
    config.model.vocab_size = get_tokenizer().vocab_size
    runs.save_claim(4, "PPO needs a critic as big as the policy",
                    "python lessons/studies/compare_ppo_grpo.py --memory", [], 0, memory_rows(config),
                    max_new_tokens=config.rl.max_new_tokens)


@of_most_devices
def peak_bytes(chosen, args):
    """{algorithm: the bytes at the peak of a step}, by the ledger."""
    config, found = runs.config_asked(args.flags), {}
    config.model.vocab_size = get_tokenizer().vocab_size
    for algo in ALGOS:
        found[algo] = peak(ledger(config.model, rl_config(algo, chosen, args), algo, PROMPT_LENGTH))
    return found


# -----------------------------------------------------------------------------
# The whole

def show_trials(tried, seeds):
    for algo in ALGOS:
        print(f"{algo}: held-out problems right in a run of a third of the length, seeds {list(seeds)}")
        for trial in sorted(tried[algo], key=lambda trial: -trial["right"]):
            words = ", ".join(f"{name} {value}" for name, value in trial["settings"].items())
            print(f"    {100 * trial['right']:5.1f}%  {words}")


def main():
    parser = runs.make_parser(__doc__.splitlines()[0], num_seeds=5)
    parser.add_argument("--tune", action="store_true", help="make and show the trials alone")
    parser.add_argument("--memory", action="store_true", help="count bytes alone (C4)")
    parser.add_argument("--starts", nargs="+", choices=STARTS, default=STARTS,
                        help="from where both are compared (default: both); C5.json holds these alone")
    args = runs.parse(parser)
    refuse_tuning_seeds(parser, args)
    if args.memory:
        save_memory(args)
        return
    if args.fast:
        make_small()
    make_trials(args)
    tried = {algo: tune(algo, args) for algo in ALGOS}
    show_trials(tried, tuning_seeds(args))
    save_trials(tried, args)
    if args.tune:
        return
    chosen = {algo: best_of(tried[algo])["settings"] for algo in ALGOS}
    once = best_with_one_update(tried["ppo"])["settings"]
    clock = clock_arm("C5-clock", chosen, args)
    clock_once = clock_arm("C5-clock-once", {**chosen, "ppo": once}, args)
    per_token, per_token_once = clock["seconds per token"], clock_once["seconds per token"]
    jobs = {}
    for start, algo, seed in itertools.product(args.starts, ALGOS, args.seeds):
        jobs[(start, algo), seed] = (run_arm, "whole", algo, start, chosen[algo], [], seed, args)
    if "cold-start" in args.starts:
        for seed in args.seeds:
            for name, settings, seconds in (("planned", chosen["ppo"], per_token),
                                            ("once", once, per_token_once)):
                flags = ["--rl-num-iterations", iterations_for(seconds["cold-start"], args)]
                jobs[name, seed] = (run_arm, name, "ppo", "cold-start", settings, flags, seed, args)
            arm_name = f"C5-preset-{seed}"
            jobs["preset", seed] = (runs.arm, arm_name, args, preset_arm, seed, args)
    whole = runs.by_seed(runs.work_off(jobs))
    bytes_of, rows = peak_bytes(chosen, args), []
    for start in args.starts:
        curves, planned = {}, {}
        for algo in ALGOS:
            curves[algo] = Curves(whole[start, algo], float(np.median(per_token[start][algo])))
        if start == "cold-start":
            planned["planned"] = Curves(whole["planned"], float(np.median(per_token[start]["ppo"])))
            planned["once"] = Curves(whole["once"], pace_of(per_token[start], per_token_once[start]))
        rows += rows_of(start, args.seeds, curves, planned) + rows_of_clock(start, per_token[start])
        if start == "cold-start":
            rows += rows_of_preset(whole["preset"], curves["grpo"])
        figure = draw(curves, planned, bytes_of, clock["threads"])
        runs.save_figure(figure, "C5" if start == "cold-start" else "C5-base")
    num_problems = curves["grpo"].all.shape[1]
    runs.save_claim(5, "GRPO drops the critic and learns as well", args.command, args.seeds, num_problems,
                    rows, tried=tried, chosen=chosen, once=once, bytes=bytes_of)
    for line in rows:
        ends = []
        for name in ("value", "low", "high"):
            ends.append("never" if line[name] is None else f"{line[name]:.3f}")
        print("{:70} {:>10} [{}, {}]".format(line["name"], *ends))


def make_small():
    """For --fast: fewer trials, and scores at the start, the middle and the end."""
    global NUM_TRIALS, NUM_LOOKS, NUM_TIMED
    NUM_TRIALS, NUM_LOOKS, NUM_TIMED = 2, 2, 2


if __name__ == "__main__":
    main()
