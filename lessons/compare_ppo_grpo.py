"""PPO against GRPO from one checkpoint, with the same samples and the same tuning effort. Resumable.

    python lessons/compare_ppo_grpo.py --from runs/laptop [--seeds 5] [--iterations 60] [--only grpo|ppo]

1. a grid of three learning rates for each, 20 iterations, one seed of its own; the best mean reward is taken
2. the same number of iterations, prompts and completions for each, from the same cold start, with each seed
3. lessons/results/C4.json (bytes), C5.json (accuracy, seconds) and C5.png
"""

import argparse

import matplotlib.pyplot as plt
from runs import RESULTS, curve, ensure, outcomes, row, save_claim

from minireason.config import from_dict
from minireason.stats import bootstrap_interval
from minireason.tools.memory import ALGORITHMS, ledger, measure, peak

GRID = ("1e-4", "3e-4", "6e-4")      # of the policy; the critic's stays at 5e-4
GRID_SEED, GRID_ITERATIONS = 100, 20
TASKS = ("arithmetic", "countdown")
WINDOW = 10                          # iterations that a point of a curve is the mean of
COLORS = {"grpo": "#1b6ca8", "ppo": "#d1495b"}


def tune(source, algo):
    """The learning rate of GRID whose last ten iterations earned most, and what each earned."""
    earned = {}
    for rate in GRID:
        name = f"grid-{algo}-{rate}"
        ensure(name, "rl", "--from", source, "--algo", algo, "--seed", GRID_SEED, "--rl-learning-rate", rate,
               "--rl-num-iterations", GRID_ITERATIONS, "--evaluate-num-problems", 100, "--evaluate-num-programs", 20)
        earned[rate] = sum(line["reward"] for line in curve(name, "rl")[-10:]) / 10
    return max(earned, key=earned.get), earned


def draw(runs, names, config, start, finals, path):
    """The share of right answers in the rollouts (mean of the last WINDOW iterations) against completions and seconds, with
    95% over the seeds; and the held-out accuracy at the end against bytes."""
    figure, axes = plt.subplots(1, 3, figsize=(9.6, 3.2), layout="constrained")
    samples, window = config.rl.num_prompts * config.rl.group_size, min(WINDOW, config.rl.num_iterations)
    for algo, results in runs.items():
        rewards = [[line["reward"] for line in curve(name, "rl")] for name in names[algo]]           # (seeds, iterations)
        steps = range(window, config.rl.num_iterations + 1)
        smooth = [[100 * sum(each[i - window:i]) / window for i in steps] for each in rewards]
        middle, low, high = zip(*(bootstrap_interval([[value] for value in column]) for column in zip(*smooth)))
        seconds = sum(result["seconds"]["rl"] for result in results) / len(results) / config.rl.num_iterations
        for ax, unit in zip(axes, (samples, seconds)):
            at = [step * unit for step in steps]
            ax.fill_between(at, low, high, color=COLORS[algo], alpha=0.15, lw=0)
            ax.plot(at, middle, color=COLORS[algo], lw=2, label=algo.upper())
        value, low, high = finals[algo]
        axes[2].errorbar(peak(ledger(config.model, config.rl, algo, 20)) / 2**20, 100 * value, fmt="o", capsize=3,
                         yerr=[[100 * (value - low)], [100 * (high - value)]], color=COLORS[algo])
    axes[1].sharey(axes[0])
    axes[2].axhline(100 * start, color="#999999", lw=1, label="cold start")
    for ax, label in zip(axes, ("completions", "seconds of training", "peak MiB, by the ledger")):
        ax.set_xlabel(label)
        ax.set_xlim(left=0)
        ax.spines[["top", "right"]].set_visible(False)
        ax.legend(frameon=False, fontsize=8, loc="center left" if ax is axes[2] else "lower right")
    axes[0].set_ylabel(f"right in the last {window} rollouts, %")
    axes[2].set_ylabel("held-out pass@1 at the end, %")
    figure.savefig(path, dpi=150)
    plt.close(figure)


def main():
    parser = argparse.ArgumentParser(description="Compare PPO and GRPO from one cold start.")
    parser.add_argument("--from", dest="source", required=True, help="a run that holds a finished cold start")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--iterations", type=int, default=60)
    parser.add_argument("--only", choices=("grpo", "ppo"), help="train the runs of this one and stop")
    args = parser.parse_args()
    runs, names, rates = {}, {}, {}
    for algo in [args.only] if args.only else ["grpo", "ppo"]:
        rates[algo], earned = tune(args.source, algo)
        print(f"{algo}: mean reward of the last ten of {GRID_ITERATIONS} iterations by learning rate: {earned}")
        names[algo] = [f"{algo}-{seed}" for seed in range(args.seeds)]
        runs[algo] = [ensure(name, "rl", "--from", args.source, "--algo", algo, "--seed", seed,
                             "--rl-learning-rate", rates[algo], "--rl-num-iterations", args.iterations)
                      for seed, name in enumerate(names[algo])]
    if args.only:
        return
    config = from_dict(runs["grpo"][0]["config"])
    bits = {(algo, task): [outcomes(result, "rl", task) for result in results]
            for algo, results in runs.items() for task in TASKS}
    both = {algo: [a + b for a, b in zip(bits[algo, "arithmetic"], bits[algo, "countdown"])] for algo in runs}
    finals = {algo: bootstrap_interval(both[algo]) for algo in runs}
    start = [outcomes(result, "cold-start", task) for result in runs["grpo"][:1] for task in TASKS]
    rows = [row("cold start, mean of the tasks", *bootstrap_interval([start[0] + start[1]]))]
    rows += [row(f"{algo} {task}", *bootstrap_interval(bits[algo, task])) for algo in runs for task in TASKS]
    rows += [row(f"{algo} mean of the tasks", *finals[algo]) for algo in runs]
    rows += [row(f"ppo - grpo {task}", *bootstrap_interval(bits["ppo", task], bits["grpo", task])) for task in TASKS]
    rows.append(row("ppo - grpo mean of the tasks", *bootstrap_interval(both["ppo"], both["grpo"])))
    for algo, results in runs.items():
        per_step = sorted(result["seconds"]["rl"] / config.rl.num_iterations for result in results)
        rows.append(row(f"{algo} seconds per iteration (median, least, most)", per_step[len(per_step) // 2],
                        per_step[0], per_step[-1]))
    command = f"python lessons/compare_ppo_grpo.py --from RUN --seeds {args.seeds} --iterations {args.iterations}"
    seeds, number = list(range(args.seeds)), config.evaluate.num_problems
    save_claim(5, "GRPO drops the critic and learns as well on a budget", command, seeds, number, rows,
               grid=list(GRID), chosen=rates)
    memory = []
    for algo in ALGORITHMS:
        formula, measured = (count(config.model, config.rl, algo, 20) for count in (ledger, measure))
        memory += [row(f"{algo} {name}, bytes by formula", formula[name]) | {"measured": measured[name]} for name in formula]
        memory.append(row(f"{algo} peak, bytes by formula", peak(formula)) | {"measured": peak(measured)})
    save_claim(4, "PPO needs a critic as big as the policy", command, [], 0, memory)
    draw(runs, names, config, rows[0]["value"], finals, RESULTS / "C5.png")
    for each in rows:
        print(f"{each['name']:50} {each['value']:8.3f} [{each['low']:.3f}, {each['high']:.3f}]")


if __name__ == "__main__":
    main()
