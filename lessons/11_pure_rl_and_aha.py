# %% [markdown]
# # 11. Pure RL, and the aha moment
#
# Question: R1-Zero was paid for its final answers alone, and came to think longer, to check and to try again:
# its "aha moment". Does that come by itself here? And is what looks like a check one?
#
# You need: lessons 04 and 07. Time: about a minute on a laptop's CPU.
#
# "yes" may stand after a try that failed. So no text is judged by its tone; what it does is worked out from
# its sums:
#
#     retry after failure    tries stated as failed that another try follows / all tries stated as failed
#     false yes              tries called a success that are none            / all tries called a success
#     won by retrying        right after a failed first try and another one  / all right answers
#     repair                 wrong steps that are done again, and right      / all wrong steps
#                                                                             (`minireason.behaviour`)
#
# The reward mentions none of them. Where they change, it is because they change p(right answer).

# %%
import os
import sys
from pathlib import Path

# Where to find `shared`: in this file's folder or, in a notebook, in the working folder or its lessons/.
FOLDER = Path(globals().get("__file__", "notebook")).resolve().parent
sys.path[:0] = [str(FOLDER), str(FOLDER / "lessons")]

import torch
from shared import show_figure

from minireason import grpo
from minireason.behaviour import observe, summarize
from minireason.config import RLConfig
from minireason.inference import answer_all
from minireason.optimizer import adamw
from minireason.rewards import World, reasoning_world
from minireason.run import open_model
from minireason.stats import bootstrap_interval
from minireason.tasks import parse_prompt, test_problems
from minireason.tokenizer import get_tokenizer
from minireason.tools.plots import new_figure
from minireason.upkeep.seeding import derive_rng
from minireason.verifier import verify

FAST = os.environ.get("LESSON_FAST") == "1"
NUM_PROBLEMS = 8 if FAST else 200
NUM_ITERATIONS = 2 if FAST else 24
NUM_PROMPTS = 2 if FAST else 12
MAX_NEW_TOKENS = 40 if FAST else 160
tokenizer = get_tokenizer()

# %% [markdown]
# ## By hand
# Two completions of `make 42 from 3 8 6` fail at first and say so. One tries again, and its yes is true; the
# other gives up. Then two false yes: 24+2=26 is not the 36 asked for; `24 is 34` even says that it failed.
# Last a repair: 49+24 again.

# %%
def thought(prompt, thinking, answer):
    """(problem, completion)"""
    return parse_prompt(prompt), f"<think>{thinking}</think><answer>{answer}</answer>"


pairs = [
    thought("make 42 from 3 8 6", "try c 42-6=36 3+8=11 is 36 no wait try d 42/3=14 8+6=14 is 14 yes",
            "(8+6)*3"),
    thought("make 42 from 3 8 6", "try c 42-6=36 3+8=11 is 36 no enough", "(3+8)+6"),
]
behaviours = [observe(*pair) for pair in pairs]
right = [verify(*pair).correct for pair in pairs]
summary = summarize(behaviours, right, [0, 0])
by_hand = dict(retry_after_failure=0.5, giving_up=0.5, tries_thinking=1.5, false_yes=0,
               accuracy_after_failed_try=0.5, won_by_retrying=1)
for name, value in by_hand.items():
    assert summary[name] == value
for thinking in ("try 3*8=24 24+2=26 yes", "try c 36-2=34 3*8=24 is 34 yes"):
    assert observe(*thought("make 36 from 3 8 2", thinking, "3*8+2")).num_false_yes == 1
assert observe(*thought("compute 49+24", "49+24=83 check 83-24=59 no wait 49+24=73", "73")).num_repairs == 1

# %% [markdown]
# ## Pure RL from the base
# GRPO on countdown from the shipped base: no example, a 1 for a right answer. What is noted beside the
# rewards is not paid.

# %%
plain = reasoning_world(tokenizer, {"countdown": (2, 3)}, {"countdown": 1.0})
summaries = []                                                   # of each iteration


def watched(problems, texts):
    """The rewards, and a note of what the texts do."""
    rewards = plain.reward(problems, texts)
    behaviours, paid = [], []
    for problem, text, reward in zip(problems, texts, rewards):
        if text:                                                 # one that was cut off comes as the empty one
            behaviours.append(observe(problem, text))
            paid.append(reward)
    summaries.append(summarize(behaviours, paid, [0] * len(paid)))
    return rewards


model = open_model("pretrained", "base")[0].train()
settings = RLConfig(num_iterations=NUM_ITERATIONS, num_prompts=NUM_PROMPTS, num_epochs=1, learning_rate=5e-4,
                    max_new_tokens=MAX_NEW_TOKENS)
world = World(plain.draw, watched, tokenizer)
lines = list(grpo.train(model, None, adamw(settings, model), world, settings, seed=0))
curves = {
    "reward": [line["reward"] for line in lines],
    "tokens / 100": [line["completion_length"] / 100 for line in lines],
    "thinks": [summary["thinks"] for summary in summaries],
    "tries / 5, where it thinks": [(summary["tries_thinking"] or 0) / 5 for summary in summaries],
}

# %% [markdown]
# ## Before and after
# The same held-out problems, one answer each, by difficulty: level 2 has three digits, level 3 three numbers
# up to 20. Beside it the shipped cold start, and the long RL that went on from there. 95% intervals, by
# drawing problems anew.

# %%
NUMBERS = ("accuracy", "tokens_thinking", "tries_thinking")      # printed
SHARES = ("thinks", "retry_after_failure", "giving_up", "false_yes", "accuracy_after_failed_try",
          "won_by_retrying", "repairs")                          # printed and drawn
SHOWN = (*NUMBERS, *SHARES)
LEVELS = (2, 3, 0)                                               # 0 stands for both


def rates_of(rows):
    """[a number or nan for each of SHOWN], from rows (behaviour, right, tokens)."""
    behaviours, right, num_tokens = zip(*rows)
    rates = {"accuracy": sum(right) / len(right), **summarize(behaviours, right, num_tokens)}
    return [float("nan") if rates[name] is None else rates[name] for name in SHOWN]


def intervals_of(rows, num_resamples):
    """Rows as above -> (len(SHOWN), 3): value, low, high; nan where there is nothing to divide by."""
    rng = derive_rng(0, "resamples")
    value = torch.tensor([rates_of(rows)])
    samples = [rates_of(rng.choices(rows, k=len(rows))) for _ in range(num_resamples)]
    samples = torch.cat([value, torch.tensor(samples).view(-1, len(SHOWN))])
    bounds = samples.nanquantile(torch.tensor([0.025, 0.975]), dim=0)
    return torch.cat([value, bounds]).T


def by_level(model, problems, num_resamples=200):
    """{level: what `intervals_of` says of it}."""
    prompts = [problem.prompt for problem in problems]
    answers = answer_all(model.eval(), tokenizer, prompts, MAX_NEW_TOKENS, seed=1)
    rows = []
    for problem, (text, num_tokens) in zip(problems, answers):
        rows.append((observe(problem, text), verify(problem, text).correct, num_tokens))
    intervals = {}
    for level in LEVELS:
        chosen = [row for row, problem in zip(rows, problems) if level in (0, problem.level)]
        intervals[level] = intervals_of(chosen, num_resamples)
    return intervals


def print_table(table):
    for level in LEVELS:
        print(f"\n{f'level {level or (2, 3)}':27}" + "".join(f"{arm:>22}" for arm in table))
        for i, name in enumerate(SHOWN):
            print(f"{name:27}", end="")
            for intervals in table.values():
                print("{:8.2f} [{:5.2f}, {:5.2f}]".format(*intervals[level][i]), end="")
            print()


def show(table, curves, about):
    """Prints {arm: what `by_level` returned}. Returns a figure of it, beside the curves."""
    print_table(table)
    figure, axes = new_figure(1, 2, figsize=(11, 3.5), width_ratios=(1, 1.8))
    for (label, values), color in zip(curves.items(), ("#d1495b", "#5a9a5a", "#1b6ca8", "#7a4fa3")):
        axes[0].plot(values, color=color, label=label)
    for k, (arm, color) in enumerate(zip(table, ("#999999", "#1b6ca8", "#e0a030", "#d1495b"))):
        middle, low, high = table[arm][0][len(NUMBERS):].nan_to_num().T
        error = torch.stack([middle - low, high - middle]).clamp(min=0)
        axes[1].bar(torch.arange(len(SHARES)) + 0.2 * (k - 1.5), middle, 0.18, label=arm, color=color,
                    yerr=error, error_kw={"lw": 0.8})
    labels = [name.replace("_", "\n", 2).replace("_", " ") for name in SHARES]
    axes[1].set_xticks(range(len(SHARES)), labels)
    for axis, title, ncols in zip(axes, ("pure RL from the base, by iteration", about), (2, 4)):
        axis.set(title=title, ylim=(0, 1.35))
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(frameon=False, fontsize=8, loc="upper center", ncols=ncols)
    return figure


problems = test_problems("countdown", (2, 3), NUM_PROBLEMS, seed=1)
models = {"base": open_model("pretrained", "base")[0],
          "base, RL": model,
          "cold start": open_model("pretrained", "cold-start")[0],
          "then RL": open_model("pretrained", "rl")[0]}
table = {arm: by_level(model, problems) for arm, model in models.items()}
figure = show(table, curves, f"countdown, {NUM_PROBLEMS} held-out problems")
show_figure(figure, "11_pure_rl_and_aha")

# %%
if "--full" in sys.argv:      # C3, five seeds, or --seeds N; what else stands behind --full goes to train.py
    from runs import RESULTS, STUDIES, behind_full, curve, ensure, row, save_claim

    COMMAND, FLAGS, SEEDS = behind_full(num_seeds=5)
    ARMS = {   # arm: (run, stage)
        "base": ("seed-{}", "base"),
        "base, RL": ("pure-{}", "rl"),
        "cold start": ("seed-{}", "cold-start"),
        "then RL": ("seed-{}", "rl"),
        "control": ("control-{}", "base"),
        "control, RL": ("control-{}", "rl"),
    }
    PAIRS = (("base, RL", "base"), ("then RL", "cold start"), ("control, RL", "control"))      # after, before
    for seed in SEEDS:
        ensure(f"seed-{seed}", "--seed", seed, *FLAGS, needs="rl")
        source = STUDIES / f"seed-{seed}"
        ensure(f"pure-{seed}", "rl", "--pure-rl", "--seed", seed, "--from", source, *FLAGS)
        # the control has a corpus without retries
        ensure(f"control-{seed}", "--no-aha", "--pure-rl", "--seed", seed, *FLAGS, needs="rl")

    def measure(arm, problems):
        """What `by_level` says of the arm, for each seed."""
        run, stage = ARMS[arm]
        rates = []
        for seed in SEEDS:
            model, _ = open_model(STUDIES / run.format(seed), stage)
            rates.append(by_level(model, problems, 0))
        return rates

    def over_seeds(*arms):
        """{level: (len(SHOWN), 3)}: value, low, high of one arm, or of the first less the second."""
        intervals = {}
        for level in LEVELS:
            intervals[level] = []
            for i in range(len(SHOWN)):
                values = []
                for arm in arms:
                    values.append([[rates[level][i, 0].item()] for rates in measured[arm]])
                intervals[level].append(bootstrap_interval(*values))
            intervals[level] = torch.tensor(intervals[level])
        return intervals

    def rows_of(title, intervals):
        rows = []
        for level, cells in intervals.items():
            for name, values in zip(SHOWN, cells):
                if not values.isnan().any():
                    rows.append(row(f"{task} level {level or '2, 3'}: {name}, {title}", *values.tolist()))
        return rows

    rows = []
    for task in ("arithmetic", "countdown"):
        problems = test_problems(task, (2, 3), 1000, seed=1234)
        measured = {arm: measure(arm, problems) for arm in ARMS}
        for after, before in PAIRS:
            rows += rows_of(f"{after} less {before}", over_seeds(after, before))
        table = {arm: over_seeds(arm) for arm in ARMS}
        for arm, intervals in table.items():
            rows += rows_of(arm, intervals)

    # sums with more steps that can go wrong; one seed
    longer = ensure("longer-sums", "--pure-rl", "--tasks-arithmetic-levels", "3,4",
                    "--tasks-countdown-share", 0, "--tasks-program-share", 0, *FLAGS, needs="rl")
    for stage, results in longer["stages"].items():
        arm = "base, RL" if stage == "rl" else stage
        for name in ("thinks", "wrong_steps", "repairs"):
            rows.append(row(f"sums of four to eight terms: {name}, {arm}", results["arithmetic"][name]))
    save_claim(3, "checking and retrying appear unpaid", COMMAND, [*SEEDS], 1000, rows)

    rewards, lengths = [], []                                    # (seeds, iterations)
    for seed in SEEDS:
        lines = curve(f"pure-{seed}", "rl")
        rewards.append([line["reward"] for line in lines])
        lengths.append([line["completion_length"] / 100 for line in lines])
    curves = {"reward": torch.tensor(rewards).mean(0), "tokens / 100": torch.tensor(lengths).mean(0)}
    about = f"countdown, 1,000 problems, {len(SEEDS)} seeds"
    show({arm: table[arm] for arm in models}, curves, about).savefig(RESULTS / "C3.png", dpi=120)

# %% [markdown]
# ## What to see
# - From the base: soon nearly all texts think, they get longer, and a failed try is followed by another,
#   where a third of the thinking texts had given up. Nobody paid for that; it paid. And the corpus had it
#   all: RL made likely what led to success.
# - Trying again pays here, since comparing is cheaper than finding: half of what the RL model gets right is
#   won by it. From a corpus without retries (`--full`) none ever comes: 1.0 tries after 300 iterations, and
#   countdown 0.44 instead of 0.68.
# - After the cold start RL brings no more tries, but honesty: fewer false yes, and more right answers after a
#   failed try.
# - What it does not show: a world in which repairs pay. Sums are none: RL makes steps sure instead of
#   checking them (`lessons/results`, C3).
#
# ## Exercises
# 1. The trap: count the word "wait" before and after. Why does it say less than retries and false yes?
# 2. Pay 0.002 less for each token. Which behaviour goes first?
#
# <details><summary>Solutions</summary>
#
# 1. A text that goes in circles is full of it. Whether a candidate is new and its verdict true is not in the
#    word.
# 2. Late retries should: each costs some 20 tokens and brings a small chance. Thinking at all brings more
#    than it costs.
# </details>
