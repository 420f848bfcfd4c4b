"""Four ways to go on from one cold start, for about the same computing time: claim C1 of lesson 01. Resumable.

    python lessons/compare_imitation_rl.py [--seeds 3] [--iterations 60]

    corpus             more of what the base imitated: fresh documents
    experts            3,000 golden examples of all levels, ten times as many as the cold start saw, over and over
    expert iteration   in rounds: answer fresh problems, keep what is right and readable, imitate that
    RL                 GRPO, paid for right final answers

Each seed has a whole run of its own (`runs/studies/seed-N`), from other random weights. One iteration of RL was reckoned as
STEPS steps of imitation; the CPU seconds that each arm really took are in lessons/results/C1.json. No rate was searched for.
"""

import argparse
import itertools
import json
import time

import torch
from runs import RESULTS, STUDIES, ensure, outcomes, row, save_claim

from minireason import grpo, rejection, sft
from minireason.config import RejectionConfig, SFTConfig, preset
from minireason.corpus import base_corpus, golden_examples, tokenize
from minireason.inference import answer_all
from minireason.rewards import reasoning_world
from minireason.stats import bootstrap_interval
from minireason.tasks import test_problems
from minireason.tokenizer import get_tokenizer
from minireason.tools.plots import new_figure
from minireason.upkeep.checkpoint import load_model, save_json
from minireason.upkeep.seeding import derive_seed
from minireason.verifier import verify

STEPS, ROUND, NUM_LOOKS, NUM_QUICK = 15, 6, 5, 300      # a round of expert iteration was reckoned as 6 iterations of RL
TASKS, COLORS = ("arithmetic", "countdown"), {"corpus": "#999999", "experts": "#e0a030", "expert iteration": "#5a9a5a",
                                              "RL": "#1b6ca8"}
config, tokenizer = preset("laptop"), get_tokenizer()
world = reasoning_world(tokenizer, config.tasks.levels(), config.tasks.shares())
adamw = lambda model: torch.optim.AdamW(model.parameters(), betas=(0.9, 0.95), weight_decay=0.05)


# -----------------------------------------------------------------------------
# The arms: generators that train `model`, and yield after what costs as much as so many iterations of RL

def imitate(model, documents, num_steps, seed):
    """`num_steps` steps on the documents, from the start again where they end."""
    settings = SFTConfig(learning_rate=5e-4, warmup_steps=10)
    settings.num_epochs = -(-num_steps * settings.batch_size // len(documents))
    for step, _ in zip(range(1, num_steps + 1), sft.train(model, adamw(model), tokenize(tokenizer, documents), settings, seed)):
        if step % STEPS == 0:
            yield 1


def corpus(model, iterations, seed):
    return imitate(model, base_corpus(10_000 + seed, iterations * STEPS * 48), iterations * STEPS, seed)


def experts(model, iterations, seed):
    return imitate(model, golden_examples(10_000 + seed, 3000, expert=True), iterations * STEPS, seed)


def expert_iteration(model, iterations, seed):
    sampling = RejectionConfig(num_problems=600, samples_per_problem=4, max_per_problem=4)
    for i in range(iterations // ROUND):
        kept, _ = rejection.sample_and_filter(model, tokenizer, world.draw, sampling, derive_seed(seed, "round", i), 160, pieces=5)
        for _ in imitate(model, kept, -(-len(kept) // 48), seed) if kept else ():
            pass
        yield ROUND


def rl(model, iterations, seed):
    config.rl.num_iterations = iterations
    for _ in grpo.train(model, None, adamw(model), world, config.rl, seed):
        yield 1


# -----------------------------------------------------------------------------

def right(model, name, number):
    """1 or 0 for each of so many held-out problems of a task, one answer each."""
    problems = test_problems(name, config.tasks.levels()[name], number, config.evaluate.seed)
    texts = answer_all(model.eval(), tokenizer, [problem.prompt for problem in problems], 160, config.evaluate.seed)
    model.train()
    return [int(verify(problem, text).correct) for problem, (text, _) in zip(problems, texts)]


def follow(arm, name, iterations, seed):
    """Trains one arm, or finds what was saved: {"looks": [[seconds, share right of both tasks]], task: right or wrong}."""
    kept = STUDIES / f"C1-{name.replace(' ', '-')}-{iterations}-{seed}.json"
    if not kept.exists():
        model = load_model(STUDIES / f"seed-{seed}" / "cold-start" / "checkpoint.pt")[0].train()
        look = lambda: sum(sum(right(model, each, NUM_QUICK)) for each in TASKS) / NUM_QUICK / len(TASKS)
        looks, done, seconds, started = [[0.0, look()]], 0, 0.0, time.process_time()
        for cost in arm(model, iterations, seed):
            done += cost
            if done * NUM_LOOKS // iterations > (done - cost) * NUM_LOOKS // iterations:
                seconds += time.process_time() - started
                looks.append([seconds, look()])
                print(f"seed {seed}, {name}: {done} of {iterations}, {seconds:.0f} CPU seconds, {looks[-1][1]:.3f}", flush=True)
                started = time.process_time()
        save_json(kept, {"looks": looks, **{each: right(model, each, config.evaluate.num_problems) for each in TASKS}})
    return json.loads(kept.read_text(encoding="utf-8"))


def study(num_seeds=3, iterations=60):
    """Trains the arms that are not there yet, and writes C1.json and C1.png."""
    arms, runs = dict(zip(COLORS, (corpus, experts, expert_iteration, rl))), {name: [] for name in ("cold start", *COLORS)}
    for seed in range(num_seeds):
        results = ensure(f"seed-{seed}", "--seed", seed, needs="cold-start")
        runs["cold start"].append({each: outcomes(results, "cold-start", each) for each in TASKS})
        for name, arm in arms.items():
            runs[name].append(follow(arm, name, iterations, seed))
    rows, seconds = [], {name: [round(run["looks"][-1][0]) for run in runs[name]] for name in COLORS}
    for each, name in itertools.product(TASKS, runs):
        bits = [[run[each] for run in runs[arm]] for arm in ("RL", name)]
        rows.append(row(f"{each}, {name}", *bootstrap_interval(bits[1])))
        if name != "RL":
            rows.append(row(f"{each}, RL less {name}", *bootstrap_interval(*bits)))
            rows += [row(f"{each}, RL less {name}, seed {seed}", *bootstrap_interval([one], [other]))
                     for seed, (one, other) in enumerate(zip(*bits))]
    command = f"python lessons/compare_imitation_rl.py --seeds {num_seeds} --iterations {iterations}"
    save_claim(1, "RL beats imitation", command, [*range(num_seeds)], config.evaluate.num_problems, rows, seconds=seconds)
    figure, axes = new_figure(1, 2, figsize=(9, 3.2), width_ratios=(1.3, 1))
    for i, (name, color) in enumerate(COLORS.items()):
        looks = list(zip(*(run["looks"] for run in runs[name])))                     # a look: (seconds, share) of each seed
        middle, low, high = zip(*(bootstrap_interval([[100 * share] for _, share in look]) for look in looks))
        at = [sum(second for second, _ in look) / len(look) for look in looks]
        axes[0].fill_between(at, low, high, color=color, alpha=0.15, lw=0)
        axes[0].plot(at, middle, "o-", ms=3, color=color, label=name)
        ends = [bootstrap_interval([run[each] for run in runs[name]]) for each in TASKS]
        axes[1].bar([x + 0.2 * (i - 1.5) for x in range(len(TASKS))], [100 * end[0] for end in ends], 0.18, color=color,
                    yerr=[[100 * (end[0] - end[1]) for end in ends], [100 * (end[2] - end[0]) for end in ends]], capsize=2)
    axes[0].set(xlabel="CPU seconds after the cold start", ylabel="held-out pass@1, %",
                title=f"{NUM_QUICK} problems a task, {num_seeds} seeds")
    axes[1].set(xticks=range(len(TASKS)), xticklabels=TASKS, title=f"at the end, {config.evaluate.num_problems:,} problems a task")
    axes[0].legend(frameon=False, fontsize=8)
    for axis in axes:
        axis.title.set_fontsize(10)
    figure.savefig(RESULTS / "C1.png", dpi=150)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--iterations", type=int, default=60, help=f"of RL; a multiple of {ROUND * NUM_LOOKS}")
    args = parser.parse_args()
    if args.seeds < 1 or args.iterations < 1 or args.iterations % (ROUND * NUM_LOOKS):
        parser.error(f"--seeds is at least 1, and --iterations a multiple of {ROUND * NUM_LOOKS}")
    study(args.seeds, args.iterations)
