"""Do checking and trying again appear although nobody rewards them? Claim C3, of lesson 11.

    python lessons/studies/aha.py [--seeds 5]
    python lessons/studies/aha.py --fast

Seven models for each seed: the base, pure RL from it, the cold start, RL from that, and a control: a base
whose corpus has no checks, repairs and retries, and pure RL from it. All of these are rewarded for right
answers alone. The seventh is RL from the cold start as the recipe has it, in which mixed languages cost half
of the reward. Each answers 1,000 held-out problems of both tasks. What is counted of a model is kept in
lessons/results/arms/.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))      # lessons/, where runs.py is

import runs
from runs import row
from shared import group_bars, label

from minireason.behaviour import observe, summarize
from minireason.config import preset
from minireason.inference import answer_all
from minireason.stats import bootstrap_interval
from minireason.tasks import test_problems
from minireason.tokenizer import get_tokenizer
from minireason.tools.plots import new_figure
from minireason.verifier import verify

TASKS = ("arithmetic", "countdown")
LEVELS = (2, 3, 0)      # 0 stands for both
DRAWN = {"thinks": "thinks", "retry_after_failure": "tries again\nafter a failure", "giving_up": "gives up",
         "false_yes": "false \"yes\"", "accuracy_after_failed_try": "right after\na failed try",
         "won_by_retrying": "right answers won\nby trying again"}
NAMES = ("accuracy", "tokens_thinking", "tries_thinking", *DRAWN, "wrong_steps", "repairs")
ARMS = {"base": "#999999", "pure RL": "#1b6ca8", "cold start": "#e0a030", "RL after it": "#d1495b",
        "RL, mixing priced": "#7a4fa3", "control base": "#cccccc", "control, RL": "#5a9a5a"}
CURVES = ("reward", "completion_length")        # of pure RL, by iteration
PAIRS = (("pure RL", "base"), ("RL after it", "cold start"), ("RL, mixing priced", "RL after it"),
         ("control, RL", "control base"))      # after, before


def control_run(seed, args):
    """Does pure RL from a base without checks, comparisons, repairs and retries. Returns the run's folder."""
    runs.ensure(f"control-{seed}", "--no-aha", "--pure-rl", "--seed", seed, *args.flags, needs="rl")
    return runs.STUDIES / f"control-{seed}"


def model_of(arm, seed, args):
    """The run and the stage of the model of an arm; trains what is missing."""
    if arm.startswith("control"):
        return control_run(seed, args), "base" if arm == "control base" else "rl"
    return runs.model_of_arm(arm, seed, args)


def measure(arm, seed, args, num_problems, max_new_tokens):
    """What is counted of one model: {task: see `rates_by_level`}. Of pure RL it has "curves", too."""
    source, stage = model_of(arm, seed, args)
    model, _ = runs.open_model(source, stage)
    counted = {}
    for task in TASKS:
        problems = test_problems(task, (2, 3), num_problems, seed=1234)
        counted[task] = rates_by_level(model, problems, max_new_tokens)
    if arm == "pure RL":
        steps, counted["curves"] = runs.curve(source, "rl"), {}
        for key in CURVES:
            counted["curves"][key] = [round(step[key], 4) for step in steps]
    return counted


def rates_by_level(model, problems, max_new_tokens):
    """{level: {name: a number, or None where there is nothing to divide by}} of one model."""
    prompts = [problem.prompt for problem in problems]
    answers = answer_all(model, get_tokenizer(), prompts, max_new_tokens, seed=1)
    rates = {}
    for level in LEVELS:
        behaviours, right, lengths = [], [], []
        for problem, (text, num_tokens) in zip(problems, answers):
            if level in (0, problem.level):
                behaviours.append(observe(problem, text))
                right.append(verify(problem, text).correct)
                lengths.append(num_tokens)
        accuracy = sum(right) / len(right) if right else None
        summary = {"accuracy": accuracy, **summarize(behaviours, right, lengths)}
        rates[str(level)] = {name: summary[name] for name in NAMES}
    return rates


def interval_over_seeds(after, before, level, name):
    """(value, low, high) over the seeds of the number `name`: of `after`, or of `after` less `before`.

    Both are lists of what `rates_by_level` returned, one for each seed; `before` may be None. Returns None if
    some seed lacks the number.
    """
    columns = []
    for rates_of_arm in (after, before):
        if rates_of_arm is not None:
            columns.append([[rates[str(level)][name]] for rates in rates_of_arm])
    if [None] in columns[0] or [None] in columns[-1]:
        return None
    return bootstrap_interval(*columns)


def rows_of(task, title, after, before=None):
    """The rows of one arm, or of `after` less `before`."""
    rows = []
    for level in LEVELS:
        for name in NAMES:
            interval = interval_over_seeds(after, before, level, name)
            if interval is not None:
                rows.append(row(f"{task} level {level or '2, 3'}: {name}, {title}", *interval))
    return rows


def mean_curve(measured, key):
    """The mean over the seeds of a metric of pure RL, by iteration. `measured` has an arm of each seed."""
    curves = [counted["curves"][key] for counted in measured]
    return [sum(values) / len(values) for values in zip(*curves)]


def draw(measured):
    """Above: what each arm does on countdown, with 95% over the seeds. Below: pure RL by iteration.

    `measured` is {arm: [what `measure` returned, for each seed]}.
    """
    figure, axes = new_figure(2, 2, figsize=(10, 6.4), height_ratios=(1.5, 1))
    for axis, key in zip(axes[1], CURVES):
        axis.plot(mean_curve(measured["pure RL"], key), color=ARMS["pure RL"])
    label(axes[1][0], "pure RL: reward, all tasks", "iteration of RL", "mean reward")
    label(axes[1][1], "pure RL: length, all tasks", "iteration of RL", "tokens of an answer")
    for axis in axes[0]:
        axis.remove()
    bars = figure.add_subplot(axes[0][0].get_gridspec()[0, :])       # the whole upper row
    table = {}
    for name, title in DRAWN.items():
        table[title] = {}
        for arm in ARMS:
            countdown = [counted["countdown"] for counted in measured[arm]]
            interval = interval_over_seeds(countdown, None, 0, name)
            if interval is not None:
                table[title][runs.title_of(arm)] = [100 * number for number in interval]
    group_bars(bars, table, {runs.title_of(arm): color for arm, color in ARMS.items()})
    bars.set_ylim(0, 122)
    bars.set_yticks(range(0, 101, 20))
    label(bars, f"countdown, held-out problems, {len(measured['base'])} seeds", ylabel="%")
    bars.legend(frameon=False, fontsize=8, ncols=4, loc="upper center", columnspacing=1.2, handlelength=1)
    return figure


def main():
    args = runs.parse(runs.make_parser(__doc__.splitlines()[0], num_seeds=5))
    num_problems, max_new_tokens = 1000, preset("laptop").evaluate.max_new_tokens
    if args.fast:
        num_problems, max_new_tokens = 10, 60
    jobs = {}
    for seed in args.seeds:
        for arm in ARMS:
            file = f"C3-{runs.in_file_name(arm)}-{seed}"
            jobs[arm, seed] = (runs.arm, file, args, measure, arm, seed, args, num_problems, max_new_tokens)
    measured = runs.by_seed(runs.work_off(jobs))
    rows = []
    for task in TASKS:
        rates = {}
        for arm, of_arm in measured.items():
            rates[arm] = [counted[task] for counted in of_arm]
        for after, before in PAIRS:
            rows += rows_of(task, f"{after} less {before}", rates[after], rates[before])
        for arm in ARMS:
            rows += rows_of(task, arm, rates[arm])
    runs.save_claim(3, "checking and retrying appear unpaid", args.command, args.seeds, num_problems, rows)
    runs.save_figure(draw(measured), "C3")


if __name__ == "__main__":
    main()
