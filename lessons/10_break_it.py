# %% [markdown]
# # 10. Break it
#
# Question: reinforcement learning fails in silence. No error is raised, the reward may still
# rise, and one line is wrong. How do well-known bugs look from outside, and which test would have
# found them?
#
# You need: lessons 05 to 07. Time: about a minute on a laptop's CPU.
#
# We take seven bugs. Users of public projects have reported five of them: [the
# temperature](https://github.com/huggingface/trl/issues/3029), [a KL without a
# gradient](https://github.com/allenai/open-instruct/issues/530), [k1 as a
# loss](https://github.com/allenai/open-instruct/issues/535), [the
# denominator](https://github.com/huggingface/trl/issues/3021) and [the end of an
# episode](https://github.com/RLinf/RLinf/issues/661). For each bug we train the same small policy
# twice, with the same seed: once with the right code, once with the bug. Then we compare the
# reward, and one other number.

# %%
import os
import sys
from pathlib import Path

# Where to find `shared`: in this file's folder or, in a notebook, in the working folder or its lessons/.
FOLDER = Path(globals().get("__file__", "notebook")).resolve().parent
sys.path[:0] = [str(FOLDER), str(FOLDER / "lessons")]

import torch
from shared import label, show_figure
from toy import toy_model, toy_world

from minireason import grpo, ppo
from minireason.config import RLConfig
from minireason.policy import Critic
from minireason.tools.bugs import BUGS
from minireason.tools.plots import new_figure

FAST = os.environ.get("LESSON_FAST") == "1"      # a quick run, for the tests
NUM_ITERATIONS = 2 if FAST else 40

# %% [markdown]
# ## Seven bugs
#
# Each bug is a function in `minireason/tools/bugs.py`. It replaces one name of `grpo.py` or
# `ppo.py` while a `with` block runs, so the package itself stays right. Open that file and read all
# seven. The wrong line always looks right. (For the denominator, have `grpo.compute_loss` beside
# it: its seventh and eighth arguments are num_tokens and weight_sum.)
#
# | bug | what the wrong code does | what is right |
# |---|---|---|
# | temperature missing | samples at 0.6, then computes log-probabilities at 1 | both at 0.6 |
# | KL without gradient | adds a KL to the loss that pulls at no weight | a KL with a gradient |
# | k1 as a loss | takes k1, whose gradient is 0 on average | k3 |
# | padding in the mean | also counts positions behind the end of a completion | its tokens alone |
# | groups misaligned | compares answers to different problems | answers to one problem |
# | micro-batch denominator | divides each micro-batch by its own tokens | by all of the step |
# | bootstrap past the end | asks the critic what comes after the last token | nothing comes: 0 |
#
# The last one is a bug of PPO, the others are of GRPO. Here is the code of three of them.
# (`patch.object(grpo, "estimate_kl", detached)` means: where `grpo.py` says `estimate_kl`, it now
# gets the function `detached`.)
#
# <!-- From minireason/tools/bugs.py: no_temperature -->
# ```python
# def no_temperature() -> AbstractContextManager:
#     """Sampled at temperature 0.6, trained on the logprobs of temperature 1: the ratio is not 1 where it
#     should be."""
#     def at_temperature_1(policy, batch, temperature, **options):
#         return completion_logprobs(policy, batch, 1.0, **options)
#     return patch.object(grpo, "completion_logprobs", at_temperature_1)
# ```
# <!-- End of excerpt -->
#
# The temperature divides the logits before a token is drawn. So the probability with which the
# token was drawn belongs to that temperature. Here the log-probabilities are computed again at
# temperature 1. Then the ratio is not 1 even before the first update.
#
# <!-- From minireason/tools/bugs.py: kl_without_gradient -->
# ```python
# def kl_without_gradient() -> AbstractContextManager:
#     """The KL is computed under no_grad: it is in the loss and in the logs, and it pulls nowhere."""
#     def detached(estimator, logprobs, ref_logprobs):
#         return estimate_kl(estimator, logprobs, ref_logprobs).detach()
#     return patch.object(grpo, "estimate_kl", detached)
# ```
# <!-- End of excerpt -->
#
# `detach` cuts the gradient off. The KL is computed, added to the loss and printed, but it
# changes no weight.
#
# <!-- From minireason/tools/bugs.py: groups_misaligned -->
# ```python
# def groups_misaligned() -> AbstractContextManager:
#     """The completions of a prompt are a row. Here columns are read, so strangers are compared."""
#     def mixed(rewards, *args, **options):
#         P, G = rewards.shape
#         return right_advantages(rewards.reshape(G, P).T, *args, **options).T.reshape(P, G)
#     return patch.object(grpo, "group_advantages", mixed)
# ```
# <!-- End of excerpt -->
#
# The rewards of one prompt are a row of the matrix. The wrong code reads columns, so completions of
# different prompts are compared with each other. For two prompts a and b with three completions
# each, the six rewards a1 a2 a3 b1 b2 b3 have the rows a1 a2 a3 and b1 b2 b3. The wrong groups are
# a1 a3 b2 and a2 b1 b3.
#
# ## By hand: the wrong denominator
#
# The bug *micro-batch denominator* divides by the wrong number. To save memory, a step is cut into
# micro-batches, and their gradients are added. Take two micro-batches with one completion each, of
# 2 and of 8 tokens. All advantages are 1.
#
# - Right: each of the 10 tokens weighs 1/10.
# - Wrong: each micro-batch is divided by its own number of tokens. Then a token of the short
#   completion weighs 1/2, and a token of the long one 1/8. So short completions count more than
#   long ones.
#
# The next cell asks `compute_loss`. The gradient with respect to a log-probability is the weight
# of its token, with a minus sign.

# %%
def weight_of_a_token(length, num_tokens):
    """The weight of a token in a completion of this length. num_tokens None: its own length."""
    logprobs = torch.zeros(1, length, requires_grad=True)
    zeros, ones = torch.zeros(1, length), torch.ones(1, length)
    loss, _ = grpo.compute_loss(logprobs, zeros, None, ones, ones, RLConfig(), num_tokens)
    loss.backward()
    return round(-logprobs.grad[0, 0].item(), 3)


print("right:", [weight_of_a_token(length, num_tokens=10) for length in (2, 8)])
print("wrong:", [weight_of_a_token(length, num_tokens=None) for length in (2, 8)])
assert abs(weight_of_a_token(2, 10) - 1 / 10) < 1e-6
assert weight_of_a_token(2, None) == 1 / 2 and weight_of_a_token(8, None) == 1 / 8

# %% [markdown]
# ## Fourteen runs
#
# The world is the toy world again. For the prompt 1 a completion has to hold a 3. For the prompt
# 2 it must not hold a 3. So half of all random completions are right.
#
# `BUGS` says for each bug which algorithm it belongs to, and which settings let it show. For
# example a missing temperature shows only if the temperature is not 1. The right run and the broken
# run share these settings. They differ from bug to bug, and so do the rewards of the right runs.

# %%
def reward(prompt, text):
    return float(("3" in text) == (prompt == "1"))


world = toy_world(prompts="12", reward=reward)
SETTINGS = {"num_iterations": NUM_ITERATIONS, "num_prompts": 8, "group_size": 8,
            "max_new_tokens": 8, "micro_batch_size": 8, "learning_rate": 3e-3,
            "critic_learning_rate": 3e-3, "warmup_iterations": 1,
            "value_clip": 10.0}      # so wide that it holds no value back


def train(algo, changes, seed=0):
    """Trains a fresh policy. Returns {metric: its value in each iteration, or nan}."""
    config = RLConfig(**{**SETTINGS, **changes})
    policy = toy_model(seed)
    reference = toy_model(seed) if config.kl_coef else None
    if algo == "grpo":
        optimizer = torch.optim.AdamW(policy.parameters())
        lines = list(grpo.train(policy, reference, optimizer, world, config, seed))
    else:
        critic = Critic(policy)
        optimizer = torch.optim.AdamW([{"params": policy.parameters()},
                                       {"params": critic.parameters()}])
        lines = list(ppo.train(policy, critic, reference, optimizer, world, config, seed))
    curves = {}
    for key in lines[0]:
        curves[key] = [line.get(key, float("nan")) for line in lines]
    return curves


# %% [markdown]
# For each bug, `SHOWN_BY` names a logged number in which the bug may show, and a test of this
# repository that fails with the bug. There are three tests. None asks whether the reward rises:
#
# - `LOSS_TEST` computes the loss of a few tokens in a plain loop, and compares loss and gradient.
# - `STEP_TEST` lets `grpo.train` take one step on a small rollout of unequal lengths. It computes
#   from the rewards what `policy_loss` has to be, by the formula. (Since the lengths are unequal,
#   that is not 0, and a wrong weight or group changes it.) And since it is the first update, it
#   asks for an `approx_kl` and a `clip_frac` of 0.
# - `GAE_TEST` computes each advantage as the sum of all later errors, in a plain loop.

# %%
LOSS_TEST = "tests/test_grpo.py::test_loss_and_gradient_equal_a_loop_over_tokens"
STEP_TEST = "tests/test_rl_theory.py::test_the_first_step_of_grpo_is_as_computed_by_hand"
GAE_TEST = "tests/test_ppo.py::test_gae_is_the_discounted_sum_of_all_later_errors"
SHOWN_BY = {    # bug: (a number that is drawn, the test that finds the bug)
    "temperature missing": ("approx_kl", STEP_TEST),
    "KL without gradient": ("kl", LOSS_TEST),
    "k1 as a loss": ("kl", LOSS_TEST),
    "padding in the mean": ("clip_frac", STEP_TEST),
    "groups misaligned": ("zero_std_frac", STEP_TEST),
    "micro-batch denominator": ("grad_norm", STEP_TEST),
    "bootstrap past the end": ("value_loss", GAE_TEST),
}


def mean_of(values):
    return round(torch.tensor(values).nanmean().item(), 3) + 0.0      # + 0.0 turns -0.0 into 0.0


right_curves, broken_curves = {}, {}      # {bug: {metric: values}}
for name, (switch, algo, changes) in BUGS.items():
    right_curves[name] = train(algo, changes)
    with switch():
        broken_curves[name] = train(algo, changes)
    metric, test = SHOWN_BY[name]
    settings = ", ".join(f"{setting} {value:g}" for setting, value in changes.items())
    print(f"{name} ({algo}{', ' if settings else ''}{settings}): found by {test}")
    for key in ("reward", metric):
        right, broken = right_curves[name][key], broken_curves[name][key]
        print(f"    mean {key:13} right {mean_of(right):.3f}, broken {mean_of(broken):.3f}")

# %% [markdown]
# ## The figure: `10_break_it`
#
# Each bug has two pictures, one above the other. On top, under the name of the bug, is the reward,
# and below it the other number. Blue is the right code, red is the bug. Cover the lower pictures
# first. In which of the upper ones could you tell that something is wrong, if you saw the red line
# alone?

# %%
MEANINGS = {"approx_kl": "moved by an update", "kl": "distance from the start",
            "clip_frac": "share of tokens clipped", "zero_std_frac": "share of groups all equal",
            "grad_norm": "length of the gradient", "value_loss": "error of the critic"}
figure, axes = new_figure(4, 4, figsize=(10, 8))
for i, name in enumerate(BUGS):
    top, column = i // 4 * 2, i % 4
    metric, _ = SHOWN_BY[name]
    axis_above, axis_below = axes[top, column], axes[top + 1, column]
    for axis, key in ((axis_above, "reward"), (axis_below, metric)):
        axis.plot(right_curves[name][key], color="#1b6ca8", label="right")
        axis.plot(broken_curves[name][key], color="#d1495b", label="broken")
    label(axis_above, name, "iteration", "mean reward", legend=i == 0)
    label(axis_below, MEANINGS[metric], "iteration", metric, legend=False)
    axis_above.title.set_fontweight("bold")
    axis_above.set_ylim(0.2, 1.05)
axes[2, 3].axis("off")
axes[3, 3].axis("off")
show_figure(figure, "10_break_it")

# %% [markdown]
# ## What to see
#
# - In most upper pictures the reward rises with the bug on. So a rising reward proves nothing. The
#   reason: most of these bugs leave the average direction of learning right. Misaligned groups add
#   noise. A wrong denominator adds a factor, which AdamW divides away. A KL without a gradient
#   drops a term that held the reward back. With misaligned groups the model only learns a little
#   more slowly. Without the blue line beside it, who would notice? No logged number finds this bug,
#   but the test does. (`zero_std_frac` is counted before the groups are mixed up. It is lower only
#   because fewer prompts are solved.)
# - **"KL without gradient" and "k1 as a loss": the broken run has the higher reward.** That is no
#   advantage of the bug. These runs have `kl_coef` 1, a high price on leaving the start. The
#   right run pays it and stays near its start on purpose, so it learns less. The broken run was
#   meant to pay the same price and pays nothing. The lower pictures show it: its KL grows, and
#   nothing pulls it back. (k1 is the difference of two log-probabilities. As a value it is a good
#   estimate of the KL. As a loss it does not work: on average its gradient is 0.)
# - **"temperature missing".** This run makes one update for each rollout. The model that learns
#   is then still the model that wrote: it learns *on policy*. So the ratio has to be 1, and
#   `approx_kl` has to be 0. It is 0 in the right run. Any other number there is a bug.
# - **"padding in the mean"** shows only in the lower picture. The bug counts positions behind the
#   end of a completion. Nothing keeps a ratio near 1 there, so `clip_frac` rises. The advantage is
#   0 there, so these positions add nothing to the sum of the loss. But they are counted in the
#   number that divides the sum. So the whole gradient becomes smaller by one factor. AdamW divides
#   by the size of the gradient (lesson 01), so the factor has no effect.
# - **"micro-batch denominator"** also shows only in the lower picture. 64 completions come in 8
#   micro-batches of 8. The bug divides each micro-batch by its own tokens, so each weighs as much
#   as the whole step should. So gradients are up to eight times as large, which AdamW divides away,
#   too. One error is left: tokens of short micro-batches weigh more than those of long ones. Here
#   no completion has more than 8 tokens, so that hardly matters.
# - **"bootstrap past the end".** *Bootstrapping* means to trust the critic about what is still to
#   come. (In lesson 01 the word stood for a way to make intervals.) Behind the last token nothing
#   is to come. The broken code asks the critic there, and the critic never learned about that
#   place. Here, for once, the reward shows it.
# - **Gaps** in a curve are iterations without an update. All rewards of each group were equal
#   there, so there was nothing to learn and nothing to measure.
#
# What it does not show: how much each bug costs a large model, and other seeds than one. A toy
# forgives a lot.
#
# The trap: a test that asserts only that the reward rises. It passes with nearly all of these
# bugs. A useful test compares a loss, a gradient or an advantage with a number that was computed
# in another way.
#
# ## Exercises
#
# 1. Read `no_temperature` again. Which tokens have a ratio below 1 at the first update? Which of
#    them would be clipped?
# 2. Write a bug of your own, in a copy of the repository: at the end of `group_advantages` in
#    `minireason/grpo.py`, whiten the advantages over the whole batch. (To whiten is to subtract the
#    mean and divide by the standard deviation.) Then run the three tests that are named above, with
#    `python -m pytest` before each name. Which of them fails?
# 3. With `groups_misaligned` the reward still rises. What is the baseline then, and is the gradient
#    wrong on average?
#
# <details><summary>Solutions</summary>
#
# 1. The likely ones. A temperature of 0.6 draws likely tokens even more often, so their old
#    probability is higher than the one at temperature 1. Their ratio starts below 1. Where it is
#    below 1 - `clip_low` and the advantage is negative, the token is clipped at once and has no
#    gradient. The unlikely tokens have a ratio above 1. Where it is above 1 + `clip_high` and the
#    advantage is positive, the token is clipped, too: so a rare token of a right answer is not made
#    more likely.
# 2. `test_the_first_step_of_grpo_is_as_computed_by_hand`. The `policy_loss` no longer equals the
#    sum that the test computes.
# 3. The baseline is a mean over completions of other prompts (and of the completion itself, as in
#    every group). A baseline that does not depend on the completion leaves the gradient right on
#    average. But it is a bad one: an easy prompt looks like a good completion. So the gradient has
#    more variance, and the run learns more slowly.
# </details>
