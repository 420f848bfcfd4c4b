# %% [markdown]
# # 9. Reading the curves
#
# Question: a run of RL writes some dozen numbers in each iteration. Which of them say that the run
# is healthy, and how does a sick run look?
#
# You need: lessons 05 and 07. Time: about a minute on a laptop's CPU.
#
# These are the seven that say most. `lessons/README.md` lists all under "The metrics".
#
# | name | what it is | why you look at it |
# |---|---|---|
# | `reward` | the mean reward of the rollout | it is the goal; one iteration of it is noisy |
# | `completion_length` | the mean number of tokens | at the limit, texts are cut off |
# | `entropy` | how undecided the model is about the next token | at 0 it tries nothing new |
# | `zero_std_frac` | the share of groups whose rewards are all equal | such groups teach nothing |
# | `approx_kl` | how far earlier updates moved the policy | a step may be too large, or too small |
# | `clip_frac` | the share of tokens with a ratio outside the clip | if many, a step is too large |
# | `kl` | how far the policy is from the reference, its start | how far the run has moved |
#
# The loss (`policy_loss`) is not among them. The advantages of a group add up to 0. So with one
# update for each rollout the loss does not fall, not even in a healthy run (lesson 05). It only
# shows which answers are longer: it is positive where wrong answers are longer than right ones.
# What trains is the gradient of the loss, and not its value. So read the reward.
#
# *Entropy* is the sum of -p(v) log p(v) over all tokens v that could come next. It is 0 if one
# token has probability 1. The toy model has eight tokens. If all are equally likely it is log 8 =
# 2.08, the most that is possible there.
#
# `approx_kl` and `kl` are means of k3 (lesson 07), `x - 1 - log x`. In both, x compares the
# probability of a token with p_old, its probability under the model that wrote it. For
# `approx_kl` x = p_now / p_old, which is the ratio. For `kl` x = p_reference / p_old. k3 is 0
# where a token is as likely as before, and else positive. So its mean shows every move. (The mean
# of log p_now - log p_old would not: a token that became likelier could hide one that became less
# likely.) `kl` needs the weights of the reference. We pass them to `grpo.train` in order to
# measure it. It has no effect on the training here, since `kl_coef` is 0. `train.py` loads a
# reference only if `kl_coef` is not 0.
#
# `approx_kl` and `clip_frac` are means over the updates of a rollout. In this lesson each rollout
# gets two (`num_epochs`). Both numbers are measured before each update. Before the first update
# nothing has changed, so the first measurement is 0. After the last update nothing is measured, so
# its effect is never seen. With two updates a logged 0.01 is the mean of two measurements: 0 before
# the first update, and 0.02 before the second.

# %%
import math
import os
import sys
from pathlib import Path

# Where to find `shared`: in this file's folder or, in a notebook, in the working folder or its lessons/.
FOLDER = Path(globals().get("__file__", "notebook")).resolve().parent
sys.path[:0] = [str(FOLDER), str(FOLDER / "lessons")]

import torch
from shared import label, show_figure
from toy import toy_model, toy_world

from minireason import grpo
from minireason.config import RLConfig
from minireason.tools.plots import new_figure

FAST = os.environ.get("LESSON_FAST") == "1"      # a quick run, for the tests
NUM_ITERATIONS = 8 if FAST else 60
SEEDS = range(1 if FAST else 3)
METRICS = ("reward", "completion_length", "entropy", "zero_std_frac",
           "approx_kl", "clip_frac", "kl")

# %% [markdown]
# ## By hand: two tokens
#
# One token has the ratio 1.5, another has the ratio 0.9.
#
# - k3 of the first is 1.5 - 1 - log 1.5 = 0.095. k3 of the second is 0.9 - 1 - log 0.9 = 0.005.
#   So `approx_kl` is their mean, 0.050.
# - The ratio is clipped at 0.8 and at 1.28 (`clip_low` is 0.2 and `clip_high` 0.28, as in
#   arXiv:2503.14476). Only 1.5 is outside, so `clip_frac` is 1/2.
#
# `grpo.compute_loss` has to say the same. Its arguments are the log-probabilities now (so that the
# ratios are 1.5 and 0.9), those of the rollout (0: only the difference counts here), no reference,
# advantages of 1, and a mask of 1.

# %%
logprobs = torch.tensor([[1.5, 0.9]]).log()
zeros, ones = torch.zeros(1, 2), torch.ones(1, 2)
_, metrics = grpo.compute_loss(logprobs, zeros, None, ones, ones, RLConfig())
print("approx_kl", round(metrics["approx_kl"], 3), "  clip_frac", metrics["clip_frac"])
assert abs(metrics["approx_kl"] - (0.095 + 0.005) / 2) < 1e-3
assert metrics["clip_frac"] == 1 / 2

# %% [markdown]
# ## By hand: how often a group teaches nothing
#
# A group has G completions, and each is right with probability p. The rewards are all equal if
# all are right or all are wrong. So this happens with probability
#
#     p^G + (1 - p)^G
#
# It is close to 1 for p near 0 and for p near 1. So `zero_std_frac` is high early, when the model
# fails, and late, when it succeeds. Larger groups help in between: look at the last column.

# %%
print("  p   G = 2   G = 8   G = 16")
for p in (0.02, 0.10, 0.50, 0.90):
    chances = [p**G + (1 - p)**G for G in (2, 8, 16)]
    print(f"{p:.2f}" + "".join(f"{chance:8.3f}" for chance in chances))

# %% [markdown]
# ## Five runs
#
# The toy model of lesson 05 gets another world: a prompt says 1, 2 or 3, and a completion earns 1
# if it holds as many 5s. Each run sees 64 completions in an iteration and makes two updates with
# them.
#
# The first run is healthy, with groups of 8. Each of the others changes one thing: a learning rate
# 33 times as high, one 30 times lower, groups of 2, or groups of 16. (With other groups there are
# more prompts or fewer, so an iteration still has 64 completions.)

# %%
def reward(prompt, text):
    return float(text.count("5") == int(prompt))


world = toy_world(prompts="123", reward=reward)
HEALTHY = {"num_iterations": NUM_ITERATIONS, "num_prompts": 8, "group_size": 8,
           "max_new_tokens": 12, "learning_rate": 3e-3, "warmup_iterations": 1, "num_epochs": 2}
CHANGES = {
    "healthy": {},
    "rate x 33": {"learning_rate": 0.1},
    "rate / 30": {"learning_rate": 1e-4},
    "groups of 2": {"num_prompts": 32, "group_size": 2},
    "groups of 16": {"num_prompts": 4, "group_size": 16},
}


def run(changes, seed):
    """A row of METRICS for each iteration.

    Where no group had a difference, there was no update. Then entropy, approx_kl and clip_frac are
    missing, and they are noted as nan (not a number).
    """
    config = RLConfig(**{**HEALTHY, **changes})
    policy, reference = toy_model(seed), toy_model(seed)
    optimizer = torch.optim.AdamW(policy.parameters())
    rows = []
    for line in grpo.train(policy, reference, optimizer, world, config, seed):
        rows.append([line.get(name, math.nan) for name in METRICS])
    return rows


curves = {}      # {run: (seeds, iterations, metrics)}
for name, changes in CHANGES.items():
    curves[name] = torch.tensor([run(changes, seed) for seed in SEEDS])
    print(f"{name}: done")

# %% [markdown]
# The table shows means over the seeds, first of the first ten iterations and then of the last
# ten. The row below it shows the reward of each seed: how far do equal runs lie apart?

# %%
def print_row(title, cells):
    print(f"{title:18}" + "".join(f"{cell:>16}" for cell in cells))


for title, iterations in (("first ten", slice(0, 10)), ("last ten", slice(-10, None))):
    print_row(title, curves)
    for i, metric in enumerate(METRICS):
        means = [curve[:, iterations, i].nanmean().item() for curve in curves.values()]
        print_row(metric, [f"{mean:.4g}" for mean in means])
    cells = []
    for curve in curves.values():
        reward_of_seeds = curve[:, iterations, 0].mean(1).tolist()
        cells.append(" ".join(f"{value:.2f}" for value in reward_of_seeds))
    print_row("reward by seed", cells)
    print()

# %% [markdown]
# ## The figure: `09_reading_the_curves`
#
# Seven pictures, one for each number, against the iteration. The title says what the number is, and
# its name in the log stands at the side. A thick line is the mean of a run over its seeds, and a
# thin line is one seed. All are means of four iterations, because single iterations jump. Follow
# one color through all seven pictures: blue first, then red.

# %%
COLORS = {"healthy": "#1b6ca8", "rate x 33": "#d1495b", "rate / 30": "#777777",
          "groups of 2": "#e0a030", "groups of 16": "#5a9a5a"}
TITLES = ("mean reward", "tokens of a completion", "how undecided it is",
          "share of groups all equal", "moved by an update", "share of tokens clipped",
          "distance from the start")
figure, axes = new_figure(2, 4, figsize=(9.6, 4.6))
for i, (axis, metric, title) in enumerate(zip(axes.flat, METRICS, TITLES)):
    for name, color in COLORS.items():
        blocks = curves[name][..., i].reshape(len(SEEDS), -1, 4).nanmean(2)      # (seeds, blocks)
        middles = 4 * torch.arange(blocks.size(1)) + 2
        axis.plot(middles, blocks.T, color=color, lw=0.8, alpha=0.5)
        axis.plot(middles, blocks.nanmean(0), color=color, lw=2, label=name)
    label(axis, title, "iteration", metric, legend=False)
axes.flat[4].set_yscale("log")
axes.flat[7].axis("off")
handles, names = axes.flat[0].get_legend_handles_labels()
axes.flat[7].legend(handles, names, frameon=False, loc="center", title="thin: one seed")
show_figure(figure, "09_reading_the_curves")

# %% [markdown]
# ## What to see
#
# - **Healthy (blue).** The reward rises. Entropy falls slowly: the model becomes surer, and goes
#   on trying. `approx_kl` stays between 0.001 and 0.03 until the last iterations, and a few percent
#   of the tokens are clipped.
# - **Rate x 33 (red).** In the first iterations `approx_kl` and `clip_frac` are many times as high
#   as in the healthy run, and the reward begins below that of all other runs. In the first ten
#   iterations the entropy is 1.2, and in all other runs it is about 2. So a few steps were enough
#   to destroy what the model could do. For about ten iterations nearly all groups fail alike, so
#   `zero_std_frac` is near 1. The thin red lines have gaps there: where all groups are equal there
#   is no update, so nothing is measured. One of the three seeds recovers, and ends at a reward of
#   1.00.
# - **Rate / 30 (gray).** `approx_kl` is lower by a factor of 80 at first and of thousands at the
#   end, nothing is clipped, and entropy and length stay where they were. Nothing is wrong, but it
#   hardly learns.
# - **Groups of 2 (orange).** `zero_std_frac` is high from the start, as the formula says. Most
#   prompts teach nothing, so one expects it to learn more slowly. Its seeds end between 0.60 and
#   0.81, and those of the healthy run between 0.95 and 0.98. Three seeds agree with it, which is no
#   proof.
# - **Groups of 16 (green).** Few groups are all equal, but an iteration has only four prompts. The
#   seeds end between 0.82 and 0.98. So this picture does not say whether such groups are better.
#   (These numbers are of one CPU. On another one, which rounds differently, two of the same three
#   seeds ended at 0.82 and 0.94, and one at 0.36.)
# - **completion_length** falls in the healthy run. A completion that has its 5s can only lose by
#   another one, so short ones earn more here. In the task countdown it rises instead (lesson 11).
#   So no direction of it is healthy as such. Look out for a change that the task does not explain.
# - **kl** rises in each run that learns. It is the distance from the start, and no illness by
#   itself. But in red it is about 1 at once, with hardly any reward for it: that run moved far and
#   got nothing. So compare it with the reward that it brought.
# - **At the end** `clip_frac` and `approx_kl` become smaller, where they were not 0. The learning
#   rate falls to zero by then, so the steps are smaller.
# - **The thin lines** of one color lie far apart. One curve is one draw. Of two runs that differ by
#   less than their seeds do, nobody can say which is better.
# - **A single low reward** proves nothing. Each rollout has other problems. With 24 problems and a
#   mean of 0.83 its reward scatters by up to sqrt(0.83 * 0.17 / 24) = 0.08, even if the policy
#   stands still. (In the run that lesson 16 shows it scatters by 0.04 to 0.06 within twenty
#   iterations.) In a collapse the reward stays low, and entropy changes with it.
#
# ## Symptom and cause
#
# These numbers belong to two updates for each rollout, as in this lesson. The progress bar of
# `train.py` calls `zero_std_frac` *no signal*.
#
# | symptom | cause |
# |---|---|
# | reward up, entropy slowly down, `approx_kl` 0.001 to 0.03, `clip_frac` a few percent | healthy |
# | `approx_kl` and `clip_frac` high at once, reward below its start | the rate is far too high |
# | `zero_std_frac` near 1 and a low reward | all groups fail, as after far too high a rate |
# | `completion_length` at the limit | no end token: completions are cut off and earn nothing |
# | `approx_kl` below 1e-4, `clip_frac` 0, entropy and length flat | the rate is far too low |
# | `zero_std_frac` high, reward low | take easier problems, or groups of 8 and more |
# | `zero_std_frac` up and a high reward | the problems are solved: take harder ones, or stop |
# | `zero_std_frac` up, a middling reward, entropy near 0 | it says the same each time: see below |
#
# The trap, three times:
#
# - **One update for each rollout.** Then the ratio is 1 in the only place where it is measured. So
#   `approx_kl` is 0 but for rounding, and `clip_frac` is 0, in a healthy run too. The stage `rl` of
#   `train.py` is such a run. Its flat `approx_kl` does not mean that the rate is too low. There
#   read reward and entropy together. If the reward falls and entropy changes suddenly, the rate is
#   too high. If both stand still for tens of iterations, though `zero_std_frac` is not near 1, the
#   rate is too low. (In this toy entropy begins near log 8, the highest that there is. So at first
#   it can only fall.)
# - **Certain, and half right.** The policy says the same to a prompt each time, so all groups are
#   equal, and the reward stands still below 1. You can tell by asking often: 16 answers then solve
#   hardly more problems than one (pass@k, lesson 01). Against it people use an *entropy bonus* (a
#   term of the loss that pays for being undecided), a wider upper border of the clip, or more
#   prompts.
# - **`zero_std_frac` near 1** has three causes. The reward tells them apart: it is low if all
#   groups fail, high if all succeed, and in between if the policy is certain. If `zero_std_frac`
#   rises slowly together with the reward, nothing is wrong: more problems are solved by all
#   completions. But fewer groups are left to learn from, so each step is noisier.
#
# When is a run finished? When its held-out accuracy has stood still for some tens of iterations.
# `train.py --evaluate-every 10` measures it on the way. (The reward of the training does not tell:
# it can rise while the held-out accuracy stands still.)
#
# What it does not show: a long run of a large model. There the usual end is an entropy that falls
# too early, so that nothing new is tried.
#
# ## Exercises
#
# 1. For which p does a group of 8 teach most often? What does that say about choosing problems?
# 2. Set `num_epochs` to 1 in `HEALTHY`. Which two curves become useless as warnings, and why?
# 3. Give "rate x 33" also `"max_grad_norm": 0.01`, so that long gradients are shortened much
#    more. Does it heal the run? A hint: AdamW divides by the size of the gradient.
#
# <details><summary>Solutions</summary>
#
# 1. For p = 1/2: a group is without a difference with probability 2 / 2^8. So problems that are
#    solved half of the time teach most.
# 2. `approx_kl` and `clip_frac`. With one update the ratio is 1 when they are measured: the first
#    trap.
# 3. No. A step of AdamW hardly depends on the length of the gradient, because AdamW divides by its
#    size. The rate is what sets the length of the step. (A single seed may say otherwise: of three,
#    one recovers with the lower limit, and another one without it.) </details>
