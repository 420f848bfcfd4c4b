# %% [markdown]
# # 5. The policy gradient
#
# Question: a verifier says 0 or 1, and such a number has no gradient. How can a model learn from
# it? And why does it help to subtract something from the reward first?
#
# You need: lesson 03, and the chain rule. Time: about a minute on a laptop's CPU.
#
# The reward comes from a program, and not from the model. So we cannot ask how the reward changes
# if a weight changes a little. But we can ask how the *probability* of a completion changes, and
# make the rewarded completions more probable.
#
# Let y be a completion, p(y) its probability, and R(y) its reward. RL maximizes the expected reward
# J. The chain rule says grad p = p grad log p, so
#
#     J      = sum over y of  p(y) R(y)
#     grad J = sum over y of  p(y) R(y) grad log p(y)
#            = the mean of    R(y) grad log p(y)       over completions that the policy draws
#
# (A sum with p(y) in front is a mean over draws.) This is the *policy gradient*. We can estimate
# it: draw some completions, and take the mean of R grad log p. That method is called *REINFORCE*.
# Since log p(y) is the sum of the logprobs of the tokens (lesson 03), all tokens of a completion
# share its R.
#
# From R we may subtract any number b that does not depend on y. The mean stays the same:
#
#     mean of b grad log p  =  b * sum over y of p(y) grad log p(y)
#                           =  b * grad (sum of all p)  =  b * grad 1  =  0
#
# Such a b is called a *baseline*. R - b is the *advantage*: how much more was earned than was
# expected. The baseline does not change the mean, but it changes the *variance*: how far the
# gradient of a single draw lies from the mean. With less variance, fewer draws are enough.
#
# This is the loop of reinforcement learning. Everything in lessons 05 to 10 is a part of it:
#
#     problem --> prompt --> policy --> completions --> verifier --> rewards
#                              ^                                        |
#                              |                                        v
#                            step  <--  gradient  <--  loss  <--  advantages

# %%
import os
import sys
from pathlib import Path
from unittest.mock import patch

# Where to find `shared`: in this file's folder or, in a notebook, in the working folder or its lessons/.
FOLDER = Path(globals().get("__file__", "notebook")).resolve().parent
sys.path[:0] = [str(FOLDER), str(FOLDER / "lessons")]

import torch
from shared import label, plot_band, show_figure
from toy import toy_model, toy_world

from minireason import grpo
from minireason.config import RLConfig
from minireason.policy import completion_logprobs
from minireason.rollout import collect_rollout
from minireason.tools.plots import new_figure

FAST = os.environ.get("LESSON_FAST") == "1"
NUM_ITERATIONS = 6 if FAST else 60
NUM_ROLLOUTS = 3 if FAST else 40
SEEDS = range(1 if FAST else 5)

# %% [markdown]
# ## By hand: three tokens
#
# A policy draws one token out of three. All logits are 0, so each token has p = 1/3. Only token 0
# earns a reward of 1.
#
# For the logits, grad log p(k) is a vector: 1 at place k and 0 elsewhere, minus all probabilities.
# (log p(k) is z_k minus the log of the sum of all exp z_j. The first term has the gradient 1 at
# place k. The second has exp z_j divided by the sum, which is p(j).) So for token 0 it is (2/3,
# -1/3, -1/3).
#
# - Without a baseline, only token 0 has a gradient that is not 0. The mean is 1/3 of it: (2/9,
#   -1/9, -1/9).
# - With b = 1/3, token 0 has the advantage 2/3, and the others have -1/3. All three teach now. The
#   mean is the same. Its first number is 1/3 (2/3 * 2/3 + 1/3 * 1/3 + 1/3 * 1/3) = 2/9.
#
# The variance of a vector is the mean of its squared length, less the squared length of its mean.
# The mean (2/9, -1/9, -1/9) has the squared length 6/81. Each grad log p has the squared length
# 6/9.
#
# - Without the baseline: 1/3 * 6/9 - 6/81 = 4/27.
# - With it: 1/3 (4/9 + 1/9 + 1/9) * 6/9 - 6/81 = 2/27. Half of the variance is gone.

# %%
def mean_and_variance(logits, rewards, baseline):
    """The mean (V,) and the variance of the gradient of one draw, over all that may be drawn."""
    p = logits.softmax(0)
    grad_log_p = torch.eye(len(p)) - p      # (V, V): row k is for token k
    gradients = (rewards - baseline)[:, None] * grad_log_p
    mean = p @ gradients
    variance = p @ (gradients - mean).pow(2).sum(1)
    return mean, variance.item()


three_logits, three_rewards = torch.zeros(3), torch.tensor([1.0, 0.0, 0.0])
for baseline, by_hand in ((0, 4 / 27), (1 / 3, 2 / 27)):
    mean, variance = mean_and_variance(three_logits, three_rewards, baseline)
    print(f"baseline {baseline:.2f}: mean {mean}, variance {variance:.4f}")
    assert torch.allclose(mean, torch.tensor([2.0, -1.0, -1.0]) / 9)
    assert abs(variance - by_hand) < 1e-6

# %% [markdown]
# ## Four ways to reward the same thing
#
# Now four tokens with different probabilities. Two of them are right. We compare four rewards which
# all say the same, that right is better than wrong:
#
# - "1 or 2": a wrong answer earns 1 and a right one 2.
# - "0 or 1": as our verifier does.
# - "-1 or 1": a wrong answer is punished.
# - "minus the mean": 0 or 1, minus the expected reward.
#
# Each is "0 or 1" with another baseline. "1 or 2" has b = -1. "-1 or 1" is 2 (R - 1/2): it has b =
# 1/2, and a gradient twice as long. A learning rate half as large would undo that. So we divide the
# gradient of "-1 or 1" by 2 before we compare. Then all four have the same mean gradient, and only
# the variance differs.

# %%
logits = torch.tensor([1.0, 0.0, -1.0, 0.5])
rewards = torch.tensor([1.0, 0.0, 1.0, 0.0])
leaf = logits.clone().requires_grad_()
expected_reward = leaf.softmax(0) @ rewards
[true_gradient] = torch.autograd.grad(expected_reward, leaf)      # of J itself: here we know J
BASELINES = {"1 or 2": -1, "0 or 1": 0, "-1 or 1": 0.5, "minus the mean": expected_reward.item()}
exact_variance = {}
for name, baseline in BASELINES.items():
    mean, exact_variance[name] = mean_and_variance(logits, rewards, baseline)
    print(f"{name:15} baseline {baseline:5.2f}, variance {exact_variance[name]:.3f}")
    assert torch.allclose(mean, true_gradient, atol=1e-6)      # the mean is always the same

# %% [markdown]
# ## The baseline of a group
#
# In training, nobody knows the expected reward. GRPO estimates it: it draws a group of completions
# of the same prompt, and takes the mean of their rewards. This is the function, as the package has
# it. Here we use it with `scale=False`; lesson 07 is about the rest.

# %%
# From minireason/grpo.py: group_advantages
def group_advantages(rewards: torch.Tensor, scale: bool = True, eps: float = 1e-4,
                     leave_one_out: bool = False) -> torch.Tensor:
    """Rewards (P, G) minus their group's mean, over its unbiased standard deviation if `scale`: (P, G).

    Not scaled: Dr. GRPO, arXiv:2503.20783. `leave_one_out`, minus the others' mean: RLOO, arXiv:2402.14740.
    """
    advantages = rewards - rewards.mean(1, keepdim=True)                              # (P, G)
    if leave_one_out:       # r_i minus the others' mean is G / (G - 1) times r_i minus the mean of all
        advantages = advantages * rewards.size(1) / (rewards.size(1) - 1)
    if scale:
        advantages = advantages / (rewards.std(1, keepdim=True) + eps)
    return advantages
# End of excerpt


group = torch.tensor([[1.0, 0.0, 0.0, 1.0]])      # one prompt, four completions
print(f"rewards {group[0]}, advantages {group_advantages(group, scale=False)[0]}")

# %% [markdown]
# ## The trap: "the loss is 0, is it broken?"
#
# An *optimizer* is the rule that turns a gradient into a step, and it makes a loss smaller. So we
# need a loss whose gradient is minus the policy gradient. The usual one multiplies the advantage by
# the *ratio*: the probability of a token now, over its probability when it was drawn.
#
#     ratio = p(token) / p_old(token) = exp(logprob - old_logprob)
#     loss  = - sum of ratio * advantage over all tokens / number of tokens
#
# Before the first step on a rollout both probabilities are the same, so each ratio is 1. And the
# advantages of a group sum to 0. So the loss is 0 where completions are equally long. Else it
# depends on their lengths. The loss of each iteration begins at such a value, however much is
# learned, since each rollout is drawn by the policy of that moment. The gradient of the loss is
# not 0. The gradient of a ratio is ratio * grad log p. Where the ratio is 1, that is grad log p.
# So the gradient of the loss is minus the mean of advantage * grad log p. (Imitation, in lesson
# 04, is the same gradient with an advantage of 1 for each token, on texts that somebody else
# wrote.)
#
# Why a ratio, and not just logprob * advantage, which has the same gradient here? For a second step
# on the same completions. They were drawn by the old policy, p_old, but we want the mean reward of
# the policy as it is now, p. A completion that is now twice as likely should be there twice as
# often. So it counts twice, which is what the ratio does:
#
#     sum over y of  p_old(y) * (p(y) / p_old(y)) * R(y)  =  sum over y of  p(y) R(y)  =  J
#
# One caution. This is exact if a completion has one ratio: the product of the ratios of all its
# tokens. In a long completion such a product is very noisy. So the next two lessons give each
# token a ratio of its own. That is an approximation, and it is close as long as the policy has
# moved little.

# %%
drawn = torch.tensor([0, 1, 3, 2])      # four completions of one token each
old_logprobs = logits.log_softmax(0)[drawn]
advantages = group_advantages(rewards[drawn][None], scale=False)[0]
ratio = (leaf.log_softmax(0)[drawn] - old_logprobs).exp()
loss = (-ratio * advantages).mean()
[gradient] = torch.autograd.grad(loss, leaf)
print(f"loss {loss.item():.1f}, gradient {gradient}")

reinforce = (advantages[:, None] * (torch.eye(4)[drawn] - logits.softmax(0))).mean(0)
assert loss.item() == 0 and torch.allclose(gradient, -reinforce, atol=1e-6)

# %% [markdown]
# With longer completions the loss is not exactly 0. Each token counts once, so a long completion
# counts more often than a short one, and the sum of the advantages over all tokens is not 0. The
# package's loss, which lesson 07 shows, does the same. The next cell gives the four completions the
# lengths 4, 1, 2 and 3. Their advantages are 1/2, -1/2, -1/2 and 1/2. Over all ten tokens they add
# up to 4/2 - 1/2 - 2/2 + 3/2 = 2, so the loss is -2/10.

# %%
config = RLConfig(num_iterations=NUM_ITERATIONS, num_prompts=8, group_size=8, max_new_tokens=8,
                  num_epochs=1, learning_rate=3e-3, warmup_iterations=1)
lengths = torch.tensor([4, 1, 2, 3])
mask = (torch.arange(4) < lengths[:, None]).float()      # (4, 4), a row for each completion
same = torch.zeros(4, 4)      # the same logprobs, old and new
loss, _ = grpo.compute_loss(same, same, None, advantages[:, None] * mask, mask, config)
print(f"loss with four lengths: {loss.item():.1f}")
assert abs(loss.item() + 0.2) < 1e-6

# %% [markdown]
# So do not read the loss. Read the mean reward.
#
# ## A model that learns
#
# Our toy world has two prompts. After a 1, a completion that contains a 3 is right. After a 2, a
# completion without a 3 is right. Each of the four rewards is now a function of a rollout's rewards
# (a row for each prompt, a column for each completion of its group). It takes the place of
# `group_advantages`.


# %%
def reward(prompt, text):
    return float(("3" in text) == (prompt == "1"))


def one_or_two(rewards, *_, **__):      # the settings of group_advantages do not matter here
    return rewards + 1


def zero_or_one(rewards, *_, **__):
    return rewards


def minus_one_or_one(rewards, *_, **__):
    return 2 * rewards - 1


def minus_the_mean(rewards, *_, **__):
    return group_advantages(rewards, scale=False)


WAYS = {      # name: (the function, how long its mean gradient is in units of grad J, color)
    "1 or 2": (one_or_two, 1, "#999999"),
    "0 or 1": (zero_or_one, 1, "#d1495b"),
    "-1 or 1": (minus_one_or_one, 2, "#e0a030"),
    # Each completion is one of the eight in its group's mean: an eighth of its own reward is lost.
    "minus the mean": (minus_the_mean, 7 / 8, "#1b6ca8"),
}
world = toy_world(prompts="12", reward=reward)

# %% [markdown]
# First the variance. A fresh model draws many rollouts and takes no step. Each rollout gives a
# gradient, and we measure how far these gradients lie apart.


# %%
def gradient_of(policy, rollout, advantages_of):
    """The gradient of one rollout, with all parameters in one row."""
    # a copy, as what `generate` returns takes no gradient
    batch = rollout.select(torch.arange(len(rollout)))
    mask = batch.completion_mask
    advantages = advantages_of(batch.rewards.view(8, 8)).view(64, 1) * mask
    logprobs, _ = completion_logprobs(policy, batch)
    # Divided by 64 completions, as in the formula, and not by the number of their tokens.
    loss, _ = grpo.compute_loss(logprobs, batch.old_logprobs, None, advantages, mask, config,
                                num_tokens=64)
    gradients = torch.autograd.grad(loss, list(policy.parameters()))
    return torch.cat([gradient.flatten() for gradient in gradients])


variances = {name: [] for name in WAYS}                     # of each seed
for seed in SEEDS:
    policy = toy_model(seed)
    rollouts = [collect_rollout(policy, None, world, config, seed, i) for i in range(NUM_ROLLOUTS)]
    for name, (advantages_of, length, _) in WAYS.items():
        gradients = [gradient_of(policy, rollout, advantages_of) / length for rollout in rollouts]
        variances[name].append(torch.stack(gradients).var(0).sum())
least = torch.stack(variances["minus the mean"])
for name in WAYS:
    times = torch.stack(variances[name]) / least
    print(f"{name:15} variance {times.min():.1f} to {times.max():.1f} (minus the mean: 1)")

# %% [markdown]
# Then training. `grpo.train` calls `group_advantages` by its name, so we put each of the four
# functions in its place for the time of a training. GRPO leaves out groups whose rewards are all
# equal, since they teach it nothing. Three of the four ways learn from such groups, too, so here no
# group is left out.

# %%
def none_is_equal(rewards, group_size):
    """In the place of `have_equal_rewards`: says of no group that its rewards are all equal."""
    return torch.zeros(len(rewards), dtype=torch.bool)


runs = {name: [] for name in WAYS}                          # the metrics of each seed
for name, (advantages_of, _, _) in WAYS.items():
    for seed in SEEDS:
        policy = toy_model(seed)
        optimizer = torch.optim.AdamW(policy.parameters())
        with (patch.object(grpo, "group_advantages", advantages_of),
              patch.object(grpo, "have_equal_rewards", none_is_equal)):
            runs[name].append(list(grpo.train(policy, None, optimizer, world, config, seed)))

curves = {}                                                 # (seeds, iterations): mean rewards
for name, lines_of_seeds in runs.items():
    rows = []
    for lines in lines_of_seeds:
        rows.append([line["reward"] for line in lines])
    curves[name] = torch.tensor(rows)
for name, curve in curves.items():
    means = curve.mean(1)
    num_behind = (means < curves["minus the mean"].mean(1)).sum()
    print(f"{name:15} mean reward {means.mean():.2f} (of single seeds {means.min():.2f} to "
          f"{means.max():.2f}), behind \"minus the mean\" in {num_behind} of {len(means)} seeds")

# %% [markdown]
# ## The figure: `05_policy_gradient`
#
# On the left the curve is the exact variance of the four tokens above, for every baseline. Look
# where the four dots lie on it. In the middle are the rewards of the four trainings, each a mean of
# the seeds in a band from the lowest to the highest. On the right compare the two curves of one
# training: only one of them tells you that the model learns.

# %%
figure, axes = new_figure(1, 3, figsize=(10, 3.4))
baselines = torch.linspace(-1.2, 1.4, 80).tolist()
curve = [mean_and_variance(logits, rewards, baseline)[1] for baseline in baselines]
axes[0].plot(baselines, curve, color="black", lw=1)
for name, (_, _, color) in WAYS.items():
    size = 9 if name == "-1 or 1" else 6      # two of the dots nearly cover each other
    axes[0].plot(BASELINES[name], exact_variance[name], "o", ms=size, color=color, label=name)
    curve = curves[name]
    intervals = torch.stack([curve.mean(0), curve.amin(0), curve.amax(0)], 1).tolist()
    plot_band(axes[1], range(NUM_ITERATIONS), intervals, color, name)
lines = runs["minus the mean"][0]
SHOWN = (("reward", "#1b6ca8", "mean reward"), ("policy_loss", "black", "loss (policy_loss)"))
for key, color, name in SHOWN:
    axes[2].plot([line.get(key, float("nan")) for line in lines], color=color, label=name)
label(axes[0], "four tokens: variance of one draw", "baseline b", "variance")
label(axes[1], f"the model: reward, {len(SEEDS)} seeds", "iteration", "mean reward")
label(axes[2], "minus the mean, seed 0", "iteration", "mean reward, loss")
show_figure(figure, "05_policy_gradient")

# %% [markdown]
# ## What to see
#
# - Left: the four rewards say the same, and the variance of "1 or 2" is many times as large as that
#   of the last two. The best baseline lies near the expected reward.
# - The printed lines: for the model, "0 or 1" without a baseline has about three times the variance
#   of "minus the mean". So it needs three times as many completions for an equally certain step. "1
#   or 2" needs more than ten times as many.
# - Middle: with less variance the model learns faster. "-1 or 1" and "minus the mean" lie so close
#   together that five seeds do not separate them. That is luck: at first half of the completions
#   are right, so 1/2 is a good baseline. Where only 2 of 100 are right, it would be a bad one, and
#   the mean of the group would still be good.
# - Right: the reward rises, and `policy_loss` stays near 0. The gaps in it are iterations in which
#   every group was all right or all wrong. Then all advantages are 0, and no step is taken. (The
#   gradient of "-1 or 1" is twice as long here, too. It needs no correction, since AdamW divides by
#   its size: lesson 01.)
#
# `python -m minireason.playground` shows single steps of RL on a page. The picture below shows four
# steps from the cold start, and what the fourth did to the tokens: green ones became likelier,
# yellow ones less likely. In its table *text so far* is the end of the text before a token, and
# *places* counts how often the token stands there. A wrong answer may hold green tokens, too: those
# that it shares with better answers. The advantages are +0.97 and -0.97, since GRPO also divides by
# the spread of the group (lesson 07). Four steps prove nothing: the curve of right answers goes up
# and down by chance.
#
# ![Four steps of GRPO in the playground](results/playground-step.png)
#
# ## What it does not show
#
# - A baseline for each token instead of one for each completion: lesson 06.
# - What happens if the advantages are also divided by the spread of the group: lesson 07.
# - That a completion is part of its own baseline. In a group of G its own reward is 1/G of the
#   mean, so subtracting the mean takes 1/G of that reward away again. The mean gradient keeps its
#   direction, but is only (G - 1) / G as long: 15/16 in a group of 16. Lesson 07 has a baseline
#   that leaves the completion out of the mean.
#
# ## Exercises
#
# 1. The left picture shows that the mean is not quite the best baseline. Derive the one with the
#    least variance.
# 2. With `scale=True`, a group's advantages are divided by the standard deviation of its rewards.
#    Then rewards of 0 or 1 and of -1 or 1 give the same advantages. Why? And without the scale?
# 3. Every completion earns 1. What do the four ways learn on average, and what do they do in a
#    single step?
#
# <details><summary>Solutions</summary>
#
# 1. The variance is the mean of (R - b)^2 |grad log p|^2, minus a part without b. Its derivative is
#    0 at b = mean of R |grad log p|^2 / mean of |grad log p|^2. For the four tokens that is 0.40.
# 2. -1 or 1 is 2R - 1. Subtracting the mean removes the -1, and dividing by the standard deviation
#    removes the 2. Without the scale, the advantages of -1 or 1 are twice as large. In the same way
#    rewards of 0.9 and 1 give the advantages of 0 and 1 with the scale, and a tenth without.
# 3. On average nothing, since no completion is better than another. In a single step only "minus
#    the mean" stands still. The others make likelier whatever was drawn.
# </details>
