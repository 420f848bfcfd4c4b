"""Four ways to go on from one cold start, for about the same computing time: claim C1 of lesson 01.
Resumable.

    python lessons/compare_imitation_rl.py [--seeds 3] [--iterations 60]

    corpus             more of what the base imitated: fresh documents
    experts            3,000 golden examples of all levels, ten times as many as the cold start saw,
                       over and over
    expert iteration   in rounds: answer fresh problems, keep what is right and readable, imitate that
    RL                 GRPO, paid for right final answers

Each seed has a whole run of its own (`runs/studies/seed-N`), from other random weights. One iteration of RL
was reckoned as STEPS steps of imitation; the CPU seconds that each arm really took are in
lessons/results/C1.json. No rate was searched for.
"""

import argparse
import itertools
import json
import math
import time

import torch
from runs import RESULTS, STUDIES, ensure, outcomes, row, save_claim

from minireason import grpo, rejection, sft
from minireason.config import RejectionConfig, SFTConfig, preset
from minireason.corpus import base_corpus, golden_examples, tokenize
from minireason.inference import answer_all
from minireason.optimizer import adamw
from minireason.rewards import reasoning_world
from minireason.run import open_model
from minireason.stats import bootstrap_interval
from minireason.tasks import test_problems
from minireason.tokenizer import get_tokenizer
from minireason.tools.plots import new_figure
from minireason.upkeep.checkpoint import save_json
from minireason.upkeep.seeding import derive_seed
from minireason.verifier import verify

STEPS = 15              # of imitation, reckoned as one iteration of RL
ROUND = 6               # iterations of RL that a round of expert iteration was reckoned as
NUM_LOOKS = 5           # at held-out problems, on the way
NUM_QUICK = 300         # problems of each task in such a look
TASKS = ("arithmetic", "countdown")
COLORS = {"corpus": "#999999", "experts": "#e0a030", "expert iteration": "#5a9a5a", "RL": "#1b6ca8"}
config, tokenizer = preset("laptop"), get_tokenizer()
world = reasoning_world(tokenizer, config.tasks.levels, config.tasks.shares)


# -----------------------------------------------------------------------------
# The arms: generators that train `model`, and yield after what costs as much as so many iterations of RL

def imitate(model, documents, num_steps, seed):
    """`num_steps` steps on the documents, from the start again where they end."""
    settings = SFTConfig(learning_rate=5e-4, warmup_steps=10)
    settings.num_epochs = math.ceil(num_steps * settings.batch_size / len(documents))
    lines = sft.train(model, adamw(settings, model), tokenize(tokenizer, documents), settings, seed)
    for step, _ in zip(range(1, num_steps + 1), lines):
        if step % STEPS == 0:
            yield 1


def corpus(model, iterations, seed):
    return imitate(model, base_corpus(10_000 + seed, iterations * STEPS * 48), iterations * STEPS, seed)


def experts(model, iterations, seed):
    return imitate(model, golden_examples(10_000 + seed, 3000, expert=True), iterations * STEPS, seed)


def expert_iteration(model, iterations, seed):
    sampling = RejectionConfig(num_problems=600, samples_per_problem=4, max_per_problem=4)
    for i in range(iterations // ROUND):
        round_seed = derive_seed(seed, "round", i)
        kept, _ = rejection.sample_and_filter(model, tokenizer, world.draw, sampling, round_seed, 160,
                                              pieces=5)
        if kept:
            for _ in imitate(model, kept, math.ceil(len(kept) / 48), seed):
                pass
        yield ROUND


def rl(model, iterations, seed):
    config.rl.num_iterations = iterations
    # as in imitation, with a decay of the weights, which RL has none of elsewhere
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.95), weight_decay=0.05)
    for _ in grpo.train(model, None, optimizer, world, config.rl, seed):
        yield 1


# -----------------------------------------------------------------------------

def right(model, name, number):
    """1 or 0 for each of so many held-out problems of a task, one answer each."""
    problems = test_problems(name, config.tasks.levels[name], number, config.evaluate.seed)
    prompts = [problem.prompt for problem in problems]
    texts = answer_all(model.eval(), tokenizer, prompts, 160, config.evaluate.seed)
    model.train()
    return [int(verify(problem, text).correct) for problem, (text, _) in zip(problems, texts)]


def quick_share(model):
    """The share right of both tasks, on few problems."""
    counts = [sum(right(model, name, NUM_QUICK)) for name in TASKS]
    return sum(counts) / NUM_QUICK / len(TASKS)


def train_arm(arm, name, iterations, seed):
    """{"looks": [[seconds, share right of both tasks]], task: right or wrong}."""
    model = open_model(STUDIES / f"seed-{seed}", "cold-start")[0].train()
    looks, done, seconds = [[0.0, quick_share(model)]], 0, 0.0
    started = time.process_time()
    for cost in arm(model, iterations, seed):
        looks_before = done * NUM_LOOKS // iterations
        done += cost
        if done * NUM_LOOKS // iterations > looks_before:
            seconds += time.process_time() - started        # the looks do not count
            share = quick_share(model)
            looks.append([seconds, share])
            print(f"seed {seed}, {name}: {done} of {iterations}, {seconds:.0f} CPU seconds, {share:.3f}",
                  flush=True)
            started = time.process_time()
    result = {"looks": looks}
    for task_name in TASKS:
        result[task_name] = right(model, task_name, config.evaluate.num_problems)
    return result


def follow(arm, name, iterations, seed):
    """Trains one arm, or finds what was saved."""
    path = STUDIES / f"C1-{name.replace(' ', '-')}-{iterations}-{seed}.json"
    if not path.exists():
        save_json(path, train_arm(arm, name, iterations, seed))
    return json.loads(path.read_text(encoding="utf-8"))


def rows_of(runs):
    """Each arm, and RL less each other arm, over the seeds and by seed."""
    rows = []
    for task_name, name in itertools.product(TASKS, runs):
        of_rl = [run[task_name] for run in runs["RL"]]                   # right or wrong, for each seed
        of_arm = [run[task_name] for run in runs[name]]
        rows.append(row(f"{task_name}, {name}", *bootstrap_interval(of_arm)))
        if name != "RL":
            title = f"{task_name}, RL less {name}"
            rows.append(row(title, *bootstrap_interval(of_rl, of_arm)))
            for seed, (first, second) in enumerate(zip(of_rl, of_arm)):
                rows.append(row(f"{title}, seed {seed}", *bootstrap_interval([first], [second])))
    return rows


def plot_looks(axis, runs, color, label):
    """The share right against CPU seconds, with 95% over the seeds."""
    seconds, intervals = [], []
    for look in zip(*(run["looks"] for run in runs)):                    # (seconds, share) of each seed
        seconds.append(sum(second for second, _ in look) / len(look))
        intervals.append(bootstrap_interval([[100 * share] for _, share in look]))
    middle, low, high = zip(*intervals)
    axis.fill_between(seconds, low, high, color=color, alpha=0.15, lw=0)
    axis.plot(seconds, middle, "o-", ms=3, color=color, label=label)


def plot_ends(axis, runs, color, shift):
    """Bars of the share right at the end, by task, with 95%."""
    heights, below, above = [], [], []
    for name in TASKS:
        value, low, high = bootstrap_interval([run[name] for run in runs])
        heights.append(100 * value)
        below.append(100 * (value - low))
        above.append(100 * (high - value))
    x = [i + shift for i in range(len(TASKS))]
    axis.bar(x, heights, 0.18, color=color, yerr=[below, above], capsize=2)


def study(num_seeds=3, iterations=60):
    """Trains the arms that are not there yet, and writes C1.json and C1.png."""
    arms = {"corpus": corpus, "experts": experts, "expert iteration": expert_iteration, "RL": rl}
    runs = {name: [] for name in ("cold start", *arms)}                  # what was measured, for each seed
    for seed in range(num_seeds):
        results = ensure(f"seed-{seed}", "--seed", seed, needs="cold-start")
        runs["cold start"].append({name: outcomes(results, "cold-start", name) for name in TASKS})
        for name, arm in arms.items():
            runs[name].append(follow(arm, name, iterations, seed))
    seconds = {}
    for name in arms:
        last_looks = [run["looks"][-1] for run in runs[name]]
        seconds[name] = [round(second) for second, _ in last_looks]
    num_problems = config.evaluate.num_problems
    command = f"python lessons/compare_imitation_rl.py --seeds {num_seeds} --iterations {iterations}"
    save_claim(1, "RL beats imitation", command, [*range(num_seeds)], num_problems, rows_of(runs),
               seconds=seconds)
    figure, axes = new_figure(1, 2, figsize=(9, 3.2), width_ratios=(1.3, 1))
    for i, (name, color) in enumerate(COLORS.items()):
        plot_looks(axes[0], runs[name], color, name)
        plot_ends(axes[1], runs[name], color, 0.2 * (i - 1.5))
    axes[0].set(xlabel="CPU seconds after the cold start", ylabel="held-out pass@1, %",
                title=f"{NUM_QUICK} problems a task, {num_seeds} seeds")
    axes[1].set(xticks=range(len(TASKS)), xticklabels=TASKS,
                title=f"at the end, {num_problems:,} problems a task")
    axes[0].legend(frameon=False, fontsize=8)
    for axis in axes:
        axis.title.set_fontsize(10)
    figure.savefig(RESULTS / "C1.png", dpi=150)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--iterations", type=int, default=60,
                        help=f"of RL; a multiple of {ROUND * NUM_LOOKS}")
    args = parser.parse_args()
    if args.seeds < 1 or args.iterations < 1 or args.iterations % (ROUND * NUM_LOOKS):
        parser.error(f"--seeds is at least 1, and --iterations a multiple of {ROUND * NUM_LOOKS}")
    study(args.seeds, args.iterations)
