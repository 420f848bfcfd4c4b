"""Four ways to go on from one cold start, for about the same computing time: claim C1, of lesson 01.

    python lessons/studies/compare_imitation_rl.py [--seeds 3] [--iterations 60]
    python lessons/studies/compare_imitation_rl.py --fast

    corpus             more of what the base imitated: fresh documents
    experts            3,000 golden examples of all levels, ten times as many as the cold start saw,
                       over and over
    expert iteration   in rounds: answer fresh problems, keep what is right and readable, imitate that
    RL                 GRPO, rewarded for right final answers

Each seed has a whole run of its own (`runs/studies/seed-N`), from other random weights. One iteration of RL
was reckoned as STEPS steps of imitation; the CPU seconds that each arm really took are in
lessons/results/C1.json. No rate was searched for.
"""

import itertools
import math
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))      # lessons/, where runs.py is

import runs
from runs import bits, row
from shared import group_bars, label, plot_band

from minireason import grpo, rejection, sft
from minireason.config import RejectionConfig, SFTConfig, preset
from minireason.corpus import base_corpus, golden_examples, tokenize
from minireason.inference import which_are_right
from minireason.optimizer import adamw
from minireason.rewards import reasoning_world
from minireason.stats import bootstrap_interval
from minireason.tasks import test_problems
from minireason.tokenizer import get_tokenizer
from minireason.tools.plots import new_figure
from minireason.upkeep.seeding import derive_seed

STEPS = 15              # of imitation, reckoned as one iteration of RL
ROUND = 6               # iterations of RL that a round of expert iteration was reckoned as
NUM_LOOKS = 5           # at held-out problems, on the way
NUM_QUICK = 300         # problems of each task in such a look
NUM_SAMPLED = 600       # problems that expert iteration answers in a round
TASKS = ("arithmetic", "countdown", "program")
COLORS = {"corpus": "#999999", "experts": "#e0a030", "expert iteration": "#5a9a5a", "RL": "#1b6ca8"}
config, tokenizer = preset("laptop"), get_tokenizer()
MAX_NEW_TOKENS = config.rl.max_new_tokens
world = reasoning_world(tokenizer, config.tasks.levels, config.tasks.shares)


# -----------------------------------------------------------------------------
# The arms: generators that train `model`. They yield what they cost since the last time, in iterations of RL.

def imitate(model, documents, num_steps, seed):
    """Trains `model` for `num_steps` steps on the documents, which are repeated if they end before that.

    Yields 1 after every STEPS steps, which were reckoned as one iteration of RL.
    """
    settings = SFTConfig(learning_rate=5e-4, warmup_steps=10)
    settings.num_epochs = math.ceil(num_steps * settings.batch_size / len(documents))
    lines = sft.train(model, adamw(settings, model), tokenize(tokenizer, documents), settings, seed)
    for step, _ in zip(range(1, num_steps + 1), lines):
        if step % STEPS == 0:
            yield 1


def corpus(model, iterations, seed):
    """Imitates fresh documents of the corpus, each once: 48 a step, the batch size of SFTConfig."""
    return imitate(model, base_corpus(10_000 + seed, iterations * STEPS * 48), iterations * STEPS, seed)


def experts(model, iterations, seed):
    """Imitates 3,000 expert solutions, over and over."""
    return imitate(model, golden_examples(10_000 + seed, 3000, expert=True), iterations * STEPS, seed)


def expert_iteration(model, iterations, seed):
    """In rounds: answers fresh problems, and imitates the right and readable answers, each once.

    `imitate` rounds the number of passes up to two, and one is made. So in each round the rate falls to half
    of its peak, and not to 0. That costs about a point (lessons/results/CHANGES.md).
    """
    sampling = RejectionConfig(num_problems=NUM_SAMPLED, samples_per_problem=4, max_per_problem=4)
    for i in range(iterations // ROUND):
        round_seed = derive_seed(seed, "round", i)
        kept, _ = rejection.sample_and_filter(model, tokenizer, world.draw, sampling, round_seed,
                                              MAX_NEW_TOKENS, pieces=5)
        if kept:
            for _ in imitate(model, kept, math.ceil(len(kept) / 48), seed):
                pass        # the model is trained while the loop runs; the cost is yielded below
        yield ROUND


def rl(model, iterations, seed):
    config.rl.num_iterations = iterations
    for _ in grpo.train(model, None, adamw(config.rl, model), world, config.rl, seed):
        yield 1


ARMS = {"corpus": corpus, "experts": experts, "expert iteration": expert_iteration, "RL": rl}


# -----------------------------------------------------------------------------

def right(model, name, number):
    """1 or 0 for each of so many held-out problems of a task, one answer each."""
    problems = test_problems(name, config.tasks.levels[name], number, config.evaluate.seed)
    outcomes = which_are_right(model.eval(), tokenizer, problems, MAX_NEW_TOKENS, config.evaluate.seed)
    model.train()
    return [int(outcome) for outcome in outcomes]


def quick_share(model):
    """The share of right answers to NUM_QUICK problems of each task."""
    counts = [sum(right(model, name, NUM_QUICK)) for name in TASKS]
    return sum(counts) / NUM_QUICK / len(TASKS)


def train_arm(model, name, iterations, seed):
    """Trains `model`. Returns [[CPU seconds, share right of all tasks]], a pair for each look on the way."""
    looks, done, seconds = [[0.0, quick_share(model)]], 0, 0.0
    started = time.process_time()
    for cost in ARMS[name](model, iterations, seed):
        looks_before = done * NUM_LOOKS // iterations
        done += cost
        if done * NUM_LOOKS // iterations > looks_before:
            seconds += time.process_time() - started        # the looks do not count
            share = quick_share(model)
            looks.append([seconds, share])
            print(f"seed {seed}, {name}: {done} of {iterations}, {seconds:.0f} CPU seconds, {share:.3f}",
                  flush=True)
            started = time.process_time()
    return looks


def trained(name, iterations, seed, source):
    """Trains the cold start of the run `source` by one arm, if it is not done. generalize.py uses it, too.

    Returns (model, looks), the looks as `train_arm` returns them.
    """
    model, _ = runs.open_model(source, "cold-start")
    file = f"C1-{runs.in_file_name(name)}-{iterations}-{seed}-model"
    return runs.kept_model(file, model.train(), train_arm, name, iterations, seed, start=source)


def measure(name, iterations, seed, args):
    """{"looks": see `train_arm`, and for each task: 1 or 0 on each held-out problem, after the training}."""
    model, looks = trained(name, iterations, seed, runs.whole_run(seed, args, needs="cold-start"))
    result = {"looks": looks}
    for task_name in TASKS:
        result[task_name] = right(model, task_name, config.evaluate.num_problems)
    return result


def of_cold_start(seed, args):
    """{task: 1 or 0 on each held-out problem} of the cold start, before any arm."""
    source = runs.whole_run(seed, args, needs="cold-start")
    scores = runs.scores_of(source, "cold-start", config.evaluate.num_problems)
    return {name: bits(scores[name]["outcomes"]) for name in TASKS}


def rows_of(measured):
    """Each arm, and RL less each other arm, over the seeds and by seed."""
    rows = []
    for task_name, name in itertools.product(TASKS, measured):
        of_rl = [run[task_name] for run in measured["RL"]]               # right or wrong, for each seed
        of_arm = [run[task_name] for run in measured[name]]
        rows.append(row(f"{task_name}, {name}", *bootstrap_interval(of_arm)))
        if name != "RL":
            title = f"{task_name}, RL less {name}"
            rows.append(row(title, *bootstrap_interval(of_rl, of_arm)))
            for seed, (first, second) in enumerate(zip(of_rl, of_arm)):
                rows.append(row(f"{title}, seed {seed}", *bootstrap_interval([first], [second])))
    return rows


def looks_of(measured):
    """(CPU seconds, share right in percent as (value, low, high) over the seeds) of each look of an arm."""
    seconds, intervals = [], []
    for look in zip(*(run["looks"] for run in measured)):                # (seconds, share) of each seed
        seconds.append(sum(second for second, _ in look) / len(look))
        intervals.append(bootstrap_interval([[100 * share] for _, share in look]))
    return seconds, intervals


def draw(measured, num_seeds):
    """Left: the share right on the way, of all tasks. Right: at the end, by task. An arm has one color."""
    num_problems = config.evaluate.num_problems
    figure, axes = new_figure(1, 2, figsize=(9, 3.2), width_ratios=(1.3, 1))
    ends = {task: {} for task in TASKS}
    for name, color in COLORS.items():
        plot_band(axes[0], *looks_of(measured[name]), color, name, ".-")
        for task in TASKS:
            interval = bootstrap_interval([run[task] for run in measured[name]])
            ends[task][name] = [100 * end for end in interval]
    group_bars(axes[1], ends, COLORS)
    label(axes[0], f"{NUM_QUICK} problems a task, {num_seeds} seeds", "CPU seconds after the cold start",
          "held-out pass@1, %")
    label(axes[1], f"at the end, {num_problems:,} problems a task", legend=False)
    return figure


def make_small():
    """For --fast: fewer of everything. The numbers then say nothing about the arms."""
    global STEPS, ROUND, NUM_LOOKS, NUM_QUICK, NUM_SAMPLED, MAX_NEW_TOKENS
    STEPS, ROUND, NUM_LOOKS, NUM_QUICK, NUM_SAMPLED, MAX_NEW_TOKENS = 1, 1, 2, 10, 8, 60
    config.rl.num_prompts, config.rl.group_size, config.rl.max_new_tokens = 2, 4, 60
    config.evaluate.num_problems = 10


def main():
    parser = runs.make_parser(__doc__.splitlines()[0], num_seeds=3)
    parser.add_argument("--iterations", type=int,
                        help=f"of RL; a multiple of {ROUND * NUM_LOOKS} (default: 60, with --fast 2)")
    args = runs.parse(parser)
    iterations = args.iterations
    if iterations is None:
        iterations = 2 if args.fast else 60
    if args.fast:
        make_small()
    if iterations < 1 or iterations % (ROUND * NUM_LOOKS):
        parser.error(f"--iterations is a multiple of {ROUND * NUM_LOOKS}")

    jobs = {}
    for seed in args.seeds:
        jobs["cold start", seed] = (runs.arm, f"C1-cold-start-{seed}", args, of_cold_start, seed, args)
        for name in ARMS:
            file = f"C1-{runs.in_file_name(name)}-{iterations}-{seed}"
            jobs[name, seed] = (runs.arm, file, args, measure, name, iterations, seed, args)
    measured = runs.by_seed(runs.work_off(jobs))                         # {name: an arm of each seed}
    seconds = {}
    for name in ARMS:
        last_looks = [run["looks"][-1] for run in measured[name]]
        seconds[name] = [round(second) for second, _ in last_looks]
    runs.save_claim(1, "RL beats imitation", args.command, args.seeds, config.evaluate.num_problems,
                    rows_of(measured), seconds=seconds)
    runs.save_figure(draw(measured, len(args.seeds)), "C1")


if __name__ == "__main__":
    main()
