"""Do even random rewards help? Claim C15.

    python lessons/studies/random_rewards.py [--seeds 3]
    python lessons/studies/random_rewards.py --fast

RL goes on from the base, without a cold start, five times for each seed. Only the reward differs:

    exact       1 for a right answer, as ever: the run `pure-N` that other studies share
    coin        1 by chance, as often as an answer of the same rollout is right
    inverted    1 for an answer that is not right
    form        1 for the right tags around a thought that is not empty; the answer is not looked at
    vote        1 for the answer that most of the group gave; no solution is known (arXiv:2504.16084)

Each run then answers the same held-out problems. What `form` gains is bought by form alone, and what `exact`
gains beyond it, by rightness.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))      # lessons/, where runs.py is

import runs
from runs import bits, row
from shared import group_bars, label, legend_above, plot_band

from minireason.inference import vote
from minireason.rewards import correctness
from minireason.stats import bootstrap_interval
from minireason.tools.plots import new_figure
from minireason.tools.scores import mean_of_reasoning
from minireason.upkeep.seeding import derive_rng
from minireason.verifier import canonical_answer, split_completion

COLORS = {"base": "#999999", "exact": "#1b6ca8", "coin": "#e0a030", "inverted": "#d1495b",
          "form": "#8a6fb0", "vote": "#5a9a5a"}
WORDS = {"base": "the base", "exact": "right answers", "coin": "a coin", "inverted": "wrong answers",
         "form": "form alone", "vote": "the vote"}
RATES = ("well_formed", "thinks", "wrong_steps", "tokens")      # of arithmetic and countdown
ALL = "all problems"


# -----------------------------------------------------------------------------
# Rewards: functions of (problems, completions), as a World takes them

def exact(problems, completions):
    """1 for a right answer."""
    return [correctness(problem, text) for problem, text in zip(problems, completions)]


def inverted(problems, completions):
    """1 for an answer that is not right."""
    return [1.0 - value for value in exact(problems, completions)]


def coin(problems, completions):
    """1 by chance, whatever the answer is, with the share of right answers among all of these.

    The draws depend on the prompts alone, so a run that is resumed tosses the same coins.
    """
    right = exact(problems, completions)
    share = sum(right) / len(right)
    rng = derive_rng("coin", *[problem.prompt for problem in problems])
    return [float(rng.random() < share) for _ in problems]


def form(problems, completions):
    """1 for the right tags around a thought that is not empty."""
    rewards = []
    for text in completions:
        parts = split_completion(text)
        rewards.append(float(parts is not None and parts[0].strip() != ""))
    return rewards


def majority(problems, completions):
    """1 for the answer that most of its group gave. If no two agree, all get 0. Nothing is verified."""
    rewards = []
    for problem, texts in groups_of(problems, completions):
        elected, votes = vote(problem, texts)
        winner = None
        if max(votes.values(), default=0) > 1:
            winner = answer_of(problem, texts[elected])
        for text in texts:
            rewards.append(float(winner is not None and answer_of(problem, text) == winner))
    return rewards


def groups_of(problems, completions):
    """[(problem, its completions)]. The rows of a group follow one another and hold the very same problem."""
    groups, last_problem = [], None
    for problem, text in zip(problems, completions):
        if problem is not last_problem:
            groups.append((problem, []))
            last_problem = problem
        groups[-1][1].append(text)
    return groups


def answer_of(problem, text):
    """The answer as votes count it, None where the text is not well formed."""
    parts = split_completion(text)
    return canonical_answer(problem, parts[1]) if parts else None


REWARDS = {"exact": exact, "coin": coin, "inverted": inverted, "form": form, "vote": majority}


# -----------------------------------------------------------------------------
# Measuring

def measure(name, seed, args):
    """What is kept of the base, or of one reward: see `runs.rl_numbers`."""
    if name == "base":
        return runs.base_numbers(seed, args)
    if name == "exact":
        return runs.rl_numbers(runs.pure_run(seed, args))
    return runs.rl_numbers(runs.rewarded_run(f"reward-{name}", REWARDS[name], seed, args))


def right_of(arms, task):
    """Right or wrong on each problem of a task, or of all tasks, for each seed."""
    by_seed = []
    for arm in arms:
        outcomes = []
        for name in arm["scores"]:
            if task in (name, ALL):
                outcomes += bits(arm["scores"][name]["outcomes"])
        by_seed.append(outcomes)
    return by_seed


def rows_of(measured):
    """Each reward's accuracy, what it gained over the base, and what exact rewards gained over it."""
    rows = []
    for task in (*measured["base"][0]["scores"], ALL):
        right = {name: right_of(arms, task) for name, arms in measured.items()}
        for name in measured:
            rows.append(row(f"{task}, {name}", *bootstrap_interval(right[name])))
            if name != "base":
                gain = bootstrap_interval(right[name], right["base"])
                rows.append(row(f"{task}, {name} less base", *gain))
            if name not in ("base", "exact"):
                difference = bootstrap_interval(right["exact"], right[name])
                rows.append(row(f"{task}, exact less {name}", *difference))
    for name, arms in measured.items():
        for rate in RATES:
            values = [mean_of_reasoning(arm["scores"], rate) or 0.0 for arm in arms]
            rows.append(runs.row_of_runs(f"{name} {rate}", values))
    return rows


def draw(measured, rows):
    """Left: accuracy on the way. Middle: what each reward gained. Right: form and thinking."""
    found = {}
    for line in rows:
        found[line["name"].split(" (")[0]] = runs.in_percent(line)
    figure, axes = new_figure(1, 3, figsize=(10, 3.4))
    for name in REWARDS:
        plot_band(axes[0], *runs.held_out_curve(measured[name]), COLORS[name], WORDS[name])
    gains, habits = {}, {}
    for task in measured["base"][0]["scores"]:
        gains[task] = {name: found[f"{task}, {name} less base"] for name in REWARDS}
    for rate in ("well_formed", "thinks"):
        habits[rate.replace("_", " ")] = {name: found[f"{name} {rate}"] for name in measured}
    group_bars(axes[1], gains, {name: COLORS[name] for name in REWARDS})
    group_bars(axes[2], habits, COLORS)
    axes[1].axhline(0, color="black", lw=0.6)
    at_start = runs.held_out_curve(measured["exact"])[1][0][0]
    axes[0].axhline(at_start, ls=":", color=COLORS["base"], label=WORDS["base"])
    label(axes[0], "held-out accuracy, mean of the tasks", "iteration of RL", "right, %")
    label(axes[1], "at the end", ylabel="points gained over the base", legend=False)
    label(axes[2], "what the answers look like", ylabel="% of the answers (grey: the base)", legend=False)
    axes[0].set_ylim(bottom=-4)
    legend_above(axes[0], 125, ncols=3, end=100)
    return figure


def main():
    args = runs.parse(runs.make_parser(__doc__.splitlines()[0], num_seeds=3))
    jobs = {}
    for seed in args.seeds:
        for name in ("base", *REWARDS):
            jobs[name, seed] = (runs.arm, f"C15-{name}-{seed}", args, measure, name, seed, args)
    measured = runs.by_seed(runs.work_off(jobs))                   # {name: an arm of each seed}
    rows = rows_of(measured)
    num_problems = len(right_of(measured["base"], "arithmetic")[0])
    runs.save_claim(15, "even random rewards help", args.command, args.seeds, num_problems, rows)
    runs.save_figure(draw(measured, rows), "C15")


if __name__ == "__main__":
    main()
