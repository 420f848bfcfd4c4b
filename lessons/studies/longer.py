"""Why do thoughts grow in RL: because long ones are right more often, or by a bias of the loss? Part of C12.

    python lessons/studies/longer.py [--seeds 3]
    python lessons/studies/longer.py --fast

GRPO averages the loss of a completion over its own tokens. So a wrong completion loses less for each of its
tokens the longer it is. That is one explanation of why wrong answers grow in RL (Dr. GRPO, arXiv:2503.20783).
It also divides advantages by the standard deviation of the group, so hard problems, whose answers are long,
count more. Here pure RL goes on from the base six times for each seed:

    averaged over    all tokens | each completion by itself | the most tokens that all could have had
    divided by std   yes | no

The first, all tokens and yes, is what train.py does: the run `pure-N` that other studies share. Each run then
answers the held-out problems, and its tries and tokens in countdown are counted. If the loss were the reason,
thoughts would not grow where it has no such bias.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))      # lessons/, where runs.py is

import runs
from runs import row
from shared import group_bars, label

from minireason.run import read_results
from minireason.stats import bootstrap_interval
from minireason.tools.plots import new_figure, smooth
from minireason.upkeep.checkpoint import save_json

TASK = "countdown"      # the only task of which an answer may have many tries
FLAGS = {               # arm: what train.py is told
    "all tokens": [],
    "each completion": ["--rl-normalize", "sequence"],
    "a constant": ["--rl-normalize", "constant"],
    "all tokens, no std": ["--no-rl-scale-advantages"],
    "each completion, no std": ["--rl-normalize", "sequence", "--no-rl-scale-advantages"],
    "a constant, no std": ["--rl-normalize", "constant", "--no-rl-scale-advantages"],
}
USUAL = "all tokens"
BEFORE = "the base"
COLORS = {"the base": "#999999",        # without std: the pale color of the same average
          "all tokens": "#1b6ca8", "each completion": "#d1495b", "a constant": "#5a9a5a",
          "all tokens, no std": "#8fbbdc", "each completion, no std": "#eda5ae",
          "a constant, no std": "#a9d3a9"}


def trained_run(arm, seed, args):
    """Does pure RL with the loss of an arm, if it is not done. Returns the folder of the run."""
    if arm == USUAL:
        return runs.pure_run(seed, args)
    name = f"longer-{runs.in_file_name(arm)}-{seed}"
    runs.ensure(name, "rl", "--pure-rl", "--seed", seed, "--from", runs.whole_run(seed, args, "rl"),
                *args.flags, *FLAGS[arm])
    return runs.STUDIES / name


def measure(arm, seed, args):
    """What is kept of one model: how it answers the held-out problems of countdown.

    {"outcomes": "0110...", "tokens": mean, "cut off": share, "tries": histogram over answers that think,
    "tries of right ones": the same of the right ones, "length": [mean tokens of a completion, by iteration]}.
    """
    if arm == BEFORE:
        scores, lengths = runs.scores_of(runs.whole_run(seed, args, "rl"), "base")[TASK], []
    else:
        folder = trained_run(arm, seed, args)
        scores = runs.or_exit(read_results, folder)["stages"]["rl"][TASK]
        lengths = [round(line["completion_length"], 2) for line in runs.curve(folder, "rl")]
    counted = scores["distributions"]
    return {"outcomes": scores["outcomes"], "tokens": scores["tokens"], "cut off": counted["cut_off"],
            "tries": counted["tries"], "tries of right ones": counted["tries_right"], "length": lengths}


# -----------------------------------------------------------------------------
# Numbers

def mean_tries(histogram):
    """The mean of a histogram {"1": how many, "2": how many, ...}; 0 if it is empty."""
    total = sum(int(tries) * times for tries, times in histogram.items())
    return total / max(1, sum(histogram.values()))


def tries_of(arm):
    """{"right": mean tries of right answers, "wrong": of wrong ones, "all"}, of the answers that think."""
    of_wrong = {}
    for tries, times in arm["tries"].items():
        of_wrong[tries] = times - arm["tries of right ones"].get(tries, 0)
    return {"right": mean_tries(arm["tries of right ones"]), "wrong": mean_tries(of_wrong),
            "all": mean_tries(arm["tries"])}


def rows_of(measured):
    """Accuracy with an interval over problems and seeds; tries and tokens as mean, lowest and highest run.

    `measured` is {arm: what `measure` returned, for each seed}.
    """
    rows, right = [], {}
    for name, arms in measured.items():
        right[name] = [[int(bit) for bit in arm["outcomes"]] for arm in arms]
        rows.append(row(f"{name}: right", *bootstrap_interval(right[name])))
        for kind in ("all", "right", "wrong"):
            rows.append(runs.row_of_runs(f"{name}: tries, {kind}", [tries_of(arm)[kind] for arm in arms]))
        for number in ("tokens", "cut off"):
            rows.append(runs.row_of_runs(f"{name}: {number}", [arm[number] for arm in arms]))
    for name, arms in measured.items():
        if name in (BEFORE, USUAL):
            continue
        rows.append(row(f"{name} less {USUAL}: right", *bootstrap_interval(right[name], right[USUAL])))
        for kind in ("all", "right", "wrong"):
            differences = []
            for arm, usual in zip(arms, measured[USUAL]):
                differences.append(tries_of(arm)[kind] - tries_of(usual)[kind])
            rows.append(runs.row_of_runs(f"{name} less {USUAL}: tries, {kind}", differences))
    return rows


def draw(measured, rows):
    """Left: the length of completions on the way. Right: tries of right and of wrong answers at the end."""
    found = {}
    for line in rows:
        found[line["name"].split(" (")[0]] = (line["value"], line["low"], line["high"])
    figure, axes = new_figure(1, 2, figsize=(10, 3.8))
    for name in FLAGS:
        lengths = [arm["length"] for arm in measured[name]]
        means = [sum(of_iteration) / len(lengths) for of_iteration in zip(*lengths)]
        axes[0].plot(range(1, len(means) + 1), smooth(means), color=COLORS[name], label=name)
    bars = {}
    for kind in ("right", "wrong"):
        bars[f"{kind} answers"] = {name: found[f"{name}: tries, {kind}"] for name in COLORS}
    group_bars(axes[1], bars, COLORS)
    label(axes[0], "answers get longer with every loss", "iteration of RL", "tokens of an answer, all tasks")
    label(axes[1], "countdown, after RL", ylabel="tries of an answer that thinks", legend=False)
    axes[1].legend(frameon=False, fontsize=7, loc="upper left")
    return figure


def main():
    args = runs.parse(runs.make_parser(__doc__.splitlines()[0], num_seeds=3))
    jobs = {}
    for seed in args.seeds:
        for name in (BEFORE, *FLAGS):
            file = f"longer-{runs.in_file_name(name)}-{seed}"
            jobs[name, seed] = (runs.arm, file, args, measure, name, seed, args)
    measured = runs.by_seed(runs.work_off(jobs))                   # {arm: its numbers of each seed}
    rows = rows_of(measured)
    path = runs.RESULTS / "longer.json"
    save_json(path, {"claim": "Thoughts grow by a bias of the loss", "command": args.command,
                     "seeds": list(args.seeds), "num_problems": len(measured[USUAL][0]["outcomes"]),
                     "rows": rows})
    print(f"wrote {path}")
    runs.save_figure(draw(measured, rows), "longer")


if __name__ == "__main__":
    main()
