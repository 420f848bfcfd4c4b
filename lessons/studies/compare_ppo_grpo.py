"""PPO against GRPO from one checkpoint, with the same samples and the same tuning effort. Resumable.

    python lessons/studies/compare_ppo_grpo.py --from runs/laptop [--seeds 5] [--iterations 60]

`--from pretrained` takes the included weights. `--memory` counts bytes alone: seconds, and no run.

1. a grid of three learning rates for each, 20 iterations, one seed of its own; the best mean reward is taken
2. the same number of iterations, prompts and completions for each, from the same cold start, with each seed
3. lessons/results/C4.json (bytes), C5.json (accuracy, seconds) and C5.png
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))      # lessons/, where runs.py is

from runs import RESULTS, STUDIES, curve, ensure, outcomes, row, save_claim

from minireason.config import from_dict, preset
from minireason.evaluate import evaluate
from minireason.run import open_model
from minireason.stats import bootstrap_interval
from minireason.tokenizer import get_tokenizer
from minireason.tools.memory import ALGORITHMS, ledger, measure, peak
from minireason.tools.plots import new_figure

GRID = ("1e-4", "3e-4", "6e-4")      # of the policy; the critic's stays at 5e-4
GRID_SEED, GRID_ITERATIONS = 100, 20
TASKS = ("arithmetic", "countdown")
WINDOW = 10                          # iterations that a point of a curve is the mean of
COLORS = {"grpo": "#1b6ca8", "ppo": "#d1495b"}


def tune(source, algo):
    """The learning rate of GRID whose last ten iterations earned most, and what each earned."""
    earned = {}                      # {rate: mean reward}
    for rate in GRID:
        name = f"grid-{algo}-{rate}"
        ensure(name, "rl", "--from", source, "--algo", algo, "--seed", GRID_SEED,
               "--rl-learning-rate", rate, "--rl-num-iterations", GRID_ITERATIONS,
               "--evaluate-num-problems", 100, "--evaluate-num-programs", 20)
        earned[rate] = sum(line["reward"] for line in curve(name, "rl")[-10:]) / 10
    return max(earned, key=earned.get), earned


def smooth_rewards(names, steps, window):
    """(value, low, high) at each of the steps: the mean reward of the last iterations, with 95% over the
    seeds."""
    rewards = []                     # (seeds, iterations)
    for name in names:
        rewards.append([line["reward"] for line in curve(name, "rl")])
    intervals = []
    for step in steps:
        means = [sum(by_iteration[step - window:step]) / window for by_iteration in rewards]
        intervals.append(bootstrap_interval([[mean] for mean in means]))
    return intervals


def draw(runs, names, config, start, finals, path):
    """The mean reward of the last WINDOW rollouts against completions and seconds, with 95% over the seeds;
    and the held-out accuracy at the end against bytes.

    The reward is less than the share of right answers: one that mixes languages earns half.
    """
    figure, axes = new_figure(1, 3, figsize=(9.6, 3.2))
    num_iterations = config.rl.num_iterations
    samples, window = config.rl.num_prompts * config.rl.group_size, min(WINDOW, num_iterations)
    steps = range(window, num_iterations + 1)
    for algo, results in runs.items():
        middle, low, high = zip(*smooth_rewards(names[algo], steps, window))
        seconds = sum(result["seconds"]["rl"] for result in results) / len(results) / num_iterations
        for axis, unit in zip(axes, (samples, seconds)):
            x = [step * unit for step in steps]
            axis.fill_between(x, low, high, color=COLORS[algo], alpha=0.15, lw=0)
            axis.plot(x, middle, color=COLORS[algo], lw=2, label=algo.upper())
        value, low, high = finals[algo]
        mebibytes = peak(ledger(config.model, config.rl, algo, 20)) / 2**20
        axes[2].errorbar(mebibytes, 100 * value, fmt="o", capsize=3, color=COLORS[algo],
                         yerr=[[100 * (value - low)], [100 * (high - value)]])
    axes[1].sharey(axes[0])
    axes[2].axhline(100 * start, color="#999999", lw=1, label="cold start")
    for axis, label in zip(axes, ("completions", "seconds of training", "peak MiB, by the ledger")):
        axis.set_xlabel(label)
        axis.set_xlim(left=0)
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(frameon=False, fontsize=8, loc="center left" if axis is axes[2] else "lower right")
    axes[0].set_ylabel(f"mean reward of the last {window} rollouts")
    axes[2].set_ylabel("held-out pass@1 at the end, %")
    figure.savefig(path, dpi=150)


def score_of_start(name, results):
    """How the cold start of a run was scored. The included weights come without the single answers, so that
    the scores of their cold start are made here."""
    if "cold-start" in results["stages"]:
        return results["stages"]["cold-start"]
    model, _ = open_model(STUDIES / name, "cold-start")
    return evaluate(model, get_tokenizer(), from_dict(results["config"]))


def rows_of(runs, config, cold_start):
    """(rows, {algorithm: (value, low, high) of the mean of the tasks}). `cold_start` are the scores of the
    model that all runs began with."""
    bits, both = {}, {}              # right or wrong, for each seed: of a task, and of both
    for algo, results in runs.items():
        for task in TASKS:
            bits[algo, task] = [outcomes(result, "rl", task) for result in results]
        both[algo] = [sums + made for sums, made in zip(bits[algo, "arithmetic"], bits[algo, "countdown"])]
    finals = {algo: bootstrap_interval(both[algo]) for algo in runs}
    start = []
    for task in TASKS:
        start += [int(bit) for bit in cold_start[task]["outcomes"]]

    rows = [row("cold start, mean of the tasks", *bootstrap_interval([start]))]
    for algo in runs:
        for task in TASKS:
            rows.append(row(f"{algo} {task}", *bootstrap_interval(bits[algo, task])))
    for algo in runs:
        rows.append(row(f"{algo} mean of the tasks", *finals[algo]))
    for task in TASKS:
        rows.append(row(f"ppo - grpo {task}", *bootstrap_interval(bits["ppo", task], bits["grpo", task])))
    rows.append(row("ppo - grpo mean of the tasks", *bootstrap_interval(both["ppo"], both["grpo"])))
    for algo, results in runs.items():
        per_step = sorted(result["seconds"]["rl"] / config.rl.num_iterations for result in results)
        rows.append(row(f"{algo} seconds per iteration (median, least, most)", per_step[len(per_step) // 2],
                        per_step[0], per_step[-1]))
    return rows, finals


def memory_rows(config):
    rows = []
    for algo in ALGORITHMS:
        formula = ledger(config.model, config.rl, algo, 20)
        measured = measure(config.model, config.rl, algo, 20)
        for name in formula:
            rows.append(row(f"{algo} {name}, bytes by formula", formula[name]) | {"measured": measured[name]})
        rows.append(row(f"{algo} peak, bytes by formula", peak(formula)) | {"measured": peak(measured)})
    return rows


def save_memory(config, command):
    """Writes C4.json: the bytes of a step with these settings."""
    save_claim(4, "PPO needs a critic as big as the policy", command, [], 0, memory_rows(config),
               max_new_tokens=config.rl.max_new_tokens)


def main():
    parser = argparse.ArgumentParser(description="Compare PPO and GRPO from one cold start.")
    parser.add_argument("--from", dest="source", help="a run that holds a finished cold start")
    parser.add_argument("--memory", action="store_true", help="count bytes alone (C4), with today's settings")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--iterations", type=int, default=60)
    parser.add_argument("--only", choices=("grpo", "ppo"), help="train the runs of this one and stop")
    args = parser.parse_args()
    if args.seeds < 1 or args.iterations < 1:
        parser.error("--seeds and --iterations are at least 1")
    if args.memory:
        config = preset("laptop")
        config.model.vocab_size = get_tokenizer().vocab_size
        save_memory(config, "python lessons/studies/compare_ppo_grpo.py --memory")
        return
    if not args.source:
        parser.error("--from RUN is needed, where RUN holds a finished cold start")
    runs, names, rates = {}, {}, {}
    for algo in [args.only] if args.only else ["grpo", "ppo"]:
        rates[algo], earned = tune(args.source, algo)
        print(f"{algo}: mean reward of the last ten of {GRID_ITERATIONS} iterations "
              f"by learning rate: {earned}")
        names[algo] = [f"{algo}-{seed}" for seed in range(args.seeds)]
        runs[algo] = []
        for seed, name in enumerate(names[algo]):
            flags = ("--from", args.source, "--algo", algo, "--seed", seed,
                     "--rl-learning-rate", rates[algo], "--rl-num-iterations", args.iterations)
            runs[algo].append(ensure(name, "rl", *flags))
    if args.only:
        return
    config = from_dict(runs["grpo"][0]["config"])
    rows, finals = rows_of(runs, config, score_of_start(names["grpo"][0], runs["grpo"][0]))
    command = "python lessons/studies/compare_ppo_grpo.py --from RUN "
    command += f"--seeds {args.seeds} --iterations {args.iterations}"
    seeds, number = list(range(args.seeds)), config.evaluate.num_problems
    save_claim(5, "GRPO drops the critic and learns as well on a budget", command, seeds, number, rows,
               grid=list(GRID), chosen=rates)
    save_memory(config, command)
    draw(runs, names, config, rows[0]["value"], finals, RESULTS / "C5.png")
    for line in rows:
        print(f"{line['name']:50} {line['value']:8.3f} [{line['low']:.3f}, {line['high']:.3f}]")


if __name__ == "__main__":
    main()
