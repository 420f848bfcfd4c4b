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

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))      # so that it runs from anywhere

import torch

from minireason import grpo
from minireason.behaviour import observe, summarize
from minireason.upkeep.checkpoint import load_model
from minireason.config import RLConfig
from minireason.inference import answer_all
from minireason.tools.plots import new_figure
from minireason.pretrained import load_pretrained
from minireason.rewards import Task, reasoning_task
from minireason.upkeep.seeding import derive_rng
from minireason.stats import bootstrap_interval
from minireason.tasks import parse_prompt, test_problems
from minireason.tokenizer import get_tokenizer
from minireason.verifier import verify

FAST, tokenizer = os.environ.get("LESSON_FAST") == "1", get_tokenizer()
NUM_PROBLEMS, NUM_ITERATIONS, NUM_PROMPTS, MAX_NEW_TOKENS = (8, 2, 2, 40) if FAST else (200, 24, 12, 160)

# %% [markdown]
# ## By hand
# Two completions of `make 42 from 3 8 6` fail at first and say so. One tries again, and its yes is true; the
# other gives up. Then two false yes: 24+2=26 is not the 36 asked for; `24 is 34` even says that it failed.
# Last a repair: 49+24 again.

# %%
thought = lambda prompt, thinking, answer: (parse_prompt(prompt), f"<think>{thinking}</think><answer>{answer}</answer>")
two = [thought("make 42 from 3 8 6", "try 42-6=36 3+8=11 is 36 no wait try 42/3=14 8+6=14 is 14 yes", "(8+6)*3"),
       thought("make 42 from 3 8 6", "try 42-6=36 3+8=11 is 36 no enough", "(3+8)+6")]
found = summarize([observe(*one) for one in two], [verify(*one).correct for one in two], [0, 0])
assert found == found | dict(retry_after_failure=0.5, giving_up=0.5, tries_thinking=1.5, false_yes=0,
                             accuracy_after_failed_try=0.5, won_by_retrying=1)
for thinking in ("try 3*8=24 24+2=26 yes", "try 36-2=34 3*8=24 is 34 yes"):
    assert observe(*thought("make 36 from 3 8 2", thinking, "3*8+2")).num_false_yes == 1
assert observe(*thought("compute 49+24", "49+24=83 check 83-24=59 no wait 49+24=73", "73")).num_repairs == 1

# %% [markdown]
# ## Pure RL from the base
# GRPO on countdown from the shipped base: no example, a 1 for a right answer. What is noted beside the
# rewards is not paid.

# %%
plain, noted = reasoning_task(tokenizer, {"countdown": (2, 3)}, {"countdown": 1.0}), []


def watched(problems, texts):
    rewards = plain.reward(problems, texts)                            # a text that was cut off comes as the empty one
    noted.append(summarize(*zip(*((observe(*pair), pay, 0) for *pair, pay in zip(problems, texts, rewards) if pair[1]))))
    return rewards


model, settings = load_pretrained("base").train(), RLConfig(
    num_iterations=NUM_ITERATIONS, num_prompts=NUM_PROMPTS, num_epochs=1, learning_rate=5e-4, max_new_tokens=MAX_NEW_TOKENS)
optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.95), weight_decay=0.0)
lines = list(grpo.train(model, None, optimizer, Task(plain.draw, watched, tokenizer), settings, seed=0))
curves = {label: [(line[name] or 0) / over for line in each] for label, each, name, over in (
    ("reward", lines, "reward", 1), ("tokens / 100", lines, "completion_length", 100),
    ("thinks", noted, "thinks", 1), ("tries / 5, where it thinks", noted, "tries_thinking", 5))}

# %% [markdown]
# ## Before and after
# The same held-out problems, one answer each, by difficulty: level 2 has three digits, level 3 three numbers
# up to 20. Beside it the shipped cold start, and the long RL that went on from there. 95% intervals, by
# drawing problems anew.

# %%
SHOWN = ("accuracy", "tokens_thinking", "tries_thinking",     # and the shares that are drawn
         "thinks", "retry_after_failure", "giving_up", "false_yes", "accuracy_after_failed_try", "won_by_retrying", "repairs")


def rates_of(rows, num_resamples):
    """Rows (behaviour, right, tokens) -> (len(SHOWN), 3): value, low, high; nan where there is nothing to divide by."""
    rng, found = derive_rng(0, "resamples"), []
    for i in range(num_resamples + 1):
        drawn = rng.choices(rows, k=len(rows)) if i else rows
        rates = {"accuracy": sum(right for _, right, _ in drawn) / len(drawn), **summarize(*zip(*drawn))}
        found.append([float("nan") if rates[name] is None else rates[name] for name in SHOWN])
    return torch.cat([torch.tensor(found[:1]), torch.tensor(found).nanquantile(torch.tensor([0.025, 0.975]), dim=0)]).T


def by_level(model, problems, num_resamples=200):
    """{level 2, 3, or 0 for both: what `rates_of` says of it}."""
    answers = answer_all(model.eval(), tokenizer, [problem.prompt for problem in problems], MAX_NEW_TOKENS, seed=1)
    rows = [(p.level, (observe(p, text), verify(p, text).correct, n)) for p, (text, n) in zip(problems, answers)]
    return {level: rates_of([row for at, row in rows if level in (0, at)], num_resamples) for level in (2, 3, 0)}


def show(table, curves, about, path):      # table is {arm: what `by_level` returned}
    for level in (2, 3, 0):
        print(f"\n{f'level {level or (2, 3)}':27}" + "".join(f"{arm:>22}" for arm in table))
        for i, name in enumerate(SHOWN):
            print(f"{name:27}" + "".join("{:8.2f} [{:5.2f}, {:5.2f}]".format(*cells[level][i]) for cells in table.values()))
    figure, axes = new_figure(1, 2, figsize=(11, 3.5), width_ratios=(1, 1.8))
    for (label, values), color in zip(curves.items(), ("#d1495b", "#5a9a5a", "#1b6ca8", "#7a4fa3")):
        axes[0].plot(values, color=color, label=label)
    for k, ((arm, cells), color) in enumerate(zip(table.items(), ("#999999", "#1b6ca8", "#e0a030", "#d1495b"))):
        middle, low, high = cells[0][3:].nan_to_num().T
        axes[1].bar(torch.arange(len(middle)) + 0.2 * (k - 1.5), middle, 0.18, label=arm, color=color,
                    yerr=torch.stack([middle - low, high - middle]).clamp(min=0), error_kw={"lw": 0.8})
    axes[1].set_xticks(range(len(SHOWN) - 3), [name.replace("_", "\n", 2).replace("_", " ") for name in SHOWN[3:]])
    for one, title in zip(axes, ("pure RL from the base, by iteration", about)):
        one.set(title=title, ylim=(0, 1.35))
        one.spines[["top", "right"]].set_visible(False)
        one.legend(frameon=False, fontsize=8, loc="upper center", ncols=2 + 2 * (one is axes[1]))
    figure.savefig(path, dpi=120)


problems = test_problems("countdown", (2, 3), NUM_PROBLEMS, seed=1)
base, cold, rl = map(load_pretrained, ("base", "cold-start", "rl"))
models = {"base": base, "base, RL": model, "cold start": cold, "then RL": rl}
show({arm: by_level(each, problems) for arm, each in models.items()}, curves, f"countdown, {NUM_PROBLEMS} held-out problems",
     Path(__file__).resolve().parent / "results" / f"11_pure_rl_and_aha{'-fast' if FAST else ''}.png")

# %%
if "--full" in sys.argv:      # C3, five seeds, or --seeds N; what else stands behind --full goes to train.py
    from runs import RESULTS, STUDIES, behind_full, curve, ensure, row, save_claim
    (COMMAND, FLAGS, SEEDS), rows = behind_full(num_seeds=5), []
    PATHS = dict(zip((*models, "control", "control, RL"), ("seed-{}/base", "pure-{}/rl", "seed-{}/cold-start", "seed-{}/rl",
                                                           "control-{}/base", "control-{}/rl")))
    for seed in SEEDS:
        ensure(f"seed-{seed}", "--seed", seed, *FLAGS, needs="rl")
        ensure(f"pure-{seed}", "rl", "--pure-rl", "--seed", seed, "--from", STUDIES / f"seed-{seed}", *FLAGS)
        ensure(f"control-{seed}", "--no-aha", "--pure-rl", "--seed", seed, *FLAGS, needs="rl")    # a corpus without retries
    for task in ("arithmetic", "countdown"):
        problems, table = test_problems(task, (2, 3), 1000, seed=1234), dict.fromkeys(PATHS)
        seen = {arm: [by_level(load_model(STUDIES / path.format(seed) / "checkpoint.pt")[0], problems, 0) for seed in SEEDS]
                for arm, path in PATHS.items()}
        for arms in ("base, RL", "base"), ("then RL", "cold start"), ("control, RL", "control"), *zip(PATHS):
            table[arms[0]] = {level: torch.tensor([bootstrap_interval(*([[by[level][i, 0].item()] for by in seen[arm]]
                              for arm in arms)) for i in range(len(SHOWN))]) for level in (2, 3, 0)}
            rows += [row(f"{task} level {level or '2, 3'}: {name}, {' less '.join(arms)}", *values.tolist()) for level, cells
                     in table[arms[0]].items() for name, values in zip(SHOWN, cells) if not values.isnan().any()]
    longer = ensure("longer-sums", "--pure-rl", "--tasks-arithmetic-levels", "3,4", "--tasks-countdown-share", 0,
                    "--tasks-program-share", 0, *FLAGS, needs="rl")["stages"]      # more steps that can go wrong; one seed
    rows += [row(f"sums of four to eight terms: {name}, {'base, RL' if arm == 'rl' else arm}", stage["arithmetic"][name])
             for arm, stage in longer.items() for name in ("thinks", "wrong_steps", "repairs")]
    save_claim(3, "checking and retrying appear unpaid", COMMAND, [*SEEDS], 1000, rows)
    lines = [[(line["reward"], line["completion_length"] / 100) for line in curve(f"pure-{seed}", "rl")] for seed in SEEDS]
    show({arm: table[arm] for arm in models}, dict(zip(curves, torch.tensor(lines).mean(0).T)),
         f"countdown, 1,000 problems, {len(SEEDS)} seeds", RESULTS / "C3.png")

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
#   checking them (README).
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
