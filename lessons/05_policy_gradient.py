# %% [markdown]
# # 5. The policy gradient
#
# Question: a verifier says 0 or 1, and that number has no gradient. How can a model learn from it? And why
# does it help to subtract something from the reward first?
#
# You need: lesson 03, and the chain rule. Time: about a minute on a laptop's CPU.
#
# We cannot push a reward up. We can push up the probability of what was rewarded. As grad p = p grad log p,
#
#     J = sum_y p(y) R(y)      grad J = sum_y p(y) R(y) grad log p(y) = E[R grad log p]    (REINFORCE)
#                              grad J = E[(R - b) grad log p]     for any b that does not depend on y
#
# The last line holds because the probabilities sum to 1: E[grad log p] = grad 1 = 0. So b, the baseline, does
# not move the mean. It changes the variance: how far the gradient of one sample lies from that mean.

# %%
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

# Where to find `shared`: in this file's folder or, in a notebook, in the working folder or its lessons/.
FOLDER = Path(globals().get("__file__", "notebook")).resolve().parent
sys.path[:0] = [str(FOLDER), str(FOLDER / "lessons")]

import torch
from shared import show_figure

from minireason import grpo
from minireason.config import ModelConfig, RLConfig
from minireason.model import GPT
from minireason.policy import completion_logprobs
from minireason.rewards import World
from minireason.rollout import collect_rollout
from minireason.tools.plots import new_figure

FAST = os.environ.get("LESSON_FAST") == "1"
NUM_ITERATIONS = 6 if FAST else 60
NUM_ROLLOUTS = 3 if FAST else 40
SEEDS = range(1 if FAST else 5)

# %% [markdown]
# ## By hand, then over every outcome
# Three tokens, all logits 0, so p = 1/3 each, and only token 0 is paid. In the logits, grad log p(k) = e_k -
# p. With b = 0 only token 0 teaches: grad J = 1/3 (2/3, -1/3, -1/3) = (2/9, -1/9, -1/9). With b = 1/3 all
# three teach, and the sum is the same: it begins with 1/3 (2/3 2/3 + 1/3 1/3 + 1/3 1/3) = 2/9. The variance
# is 4/27, then 2/27.
#
# Below also four tokens of unequal probability, two of them right. A reward of -1 or 1 is 2(R - 1/2): the
# reward of 0 or 1 with a baseline of 1/2, in steps twice as long. A reward of 1 or 2 is one with a baseline
# of -1.


# %%
def mean_and_variance(logits, rewards, baseline):
    """Mean (V,) and total variance of the gradient of one sample, over every token that can be drawn."""
    p = logits.softmax(0)
    gradients = (rewards - baseline)[:, None] * (torch.eye(len(p)) - p)                    # (V, V)
    mean = p @ gradients
    return mean, (p * (gradients - mean).pow(2).sum(1)).sum().item()


for baseline, expected in ((0, 4 / 27), (1 / 3, 2 / 27)):
    mean, variance = mean_and_variance(torch.zeros(3), torch.tensor([1.0, 0, 0]), baseline)
    assert torch.allclose(mean, torch.tensor([2.0, -1, -1]) / 9) and abs(variance - expected) < 1e-6

logits = torch.tensor([1.0, 0.0, -1.0, 0.5])
rewards = torch.tensor([1.0, 0, 1, 0])
p = logits.softmax(0)
leaf = logits.clone().requires_grad_()
gradient, = torch.autograd.grad(leaf.softmax(0) @ rewards, leaf)                           # of J itself
points = {"reward 1 or 2": -1, "reward 0 or 1": 0, "reward -1 or 1": 0.5,
          "less the mean": (p @ rewards).item()}                                           # name: baseline
for name, baseline in points.items():
    mean, variance = mean_and_variance(logits, rewards, baseline)
    assert torch.allclose(mean, gradient, atol=1e-6)                                       # it never moves
    print(f"exact: {name:14} baseline {baseline:5.2f}, variance {variance:.3f}")

# J is not known. `group_advantages` takes the mean of a group of samples of one prompt. The sample's own
# reward is part of it, so this b does depend on y: the gradient keeps its direction and shrinks to
# (G - 1) / G. The mean of the others (`leave_one_out`) gives all of it. Here over each
# of the 64 groups of G = 3 that can be drawn:
tokens = torch.arange(4)
groups = torch.cartesian_prod(tokens, tokens, tokens)                                      # (64, 3)
for leave_one_out, share in ((False, 2 / 3), (True, 1.0)):
    advantages = grpo.group_advantages(rewards[groups], scale=False, leave_one_out=leave_one_out)
    gradients = (advantages[..., None] * (torch.eye(4)[groups] - p)).mean(1)               # (64, 4)
    assert torch.allclose(p[groups].prod(1) @ gradients, share * gradient, atol=1e-6)

# %% [markdown]
# ## The trap: "the loss is 0, is it broken?"
# No. `compute_loss` multiplies advantages by p / p_old, which is 1 before the first update, and the
# advantages of a group sum to 0. So its value is 0 where lengths are equal, and minus the covariance of
# advantage and length over the mean length where they are not. Its gradient is REINFORCE's, and not 0.

# %%
drawn, config = torch.tensor([0, 1, 3, 2]), RLConfig()
logprobs = leaf.log_softmax(0)[drawn][:, None]                                             # (4, 1)
advantages = grpo.group_advantages(rewards[drawn][None], scale=False).view(-1, 1)        # 1/2 or -1/2 each
loss, _ = grpo.compute_loss(logprobs, logprobs.detach(), None, advantages, torch.ones(4, 1), config)
loss.backward()
reinforce = (advantages * (torch.eye(4)[drawn] - p)).mean(0)
assert loss.item() == 0 and torch.allclose(leaf.grad, -reinforce, atol=1e-6)
lengths = torch.tensor([4, 1, 2, 3])
mask = (torch.arange(4) < lengths[:, None]).float()
ragged, _ = grpo.compute_loss(mask, mask, None, advantages * mask, mask, config)
assert abs(ragged.item() + (4 - 1 - 2 + 3) / 2 / 10) < 1e-6
print(f"loss {loss.item():.1f}, gradient {leaf.grad.tolist()}; "
      f"with lengths 4 1 2 3 the loss is {ragged.item():.1f}")

# %% [markdown]
# ## A model
# Eight tokens; 0 ends a completion. After a 1 a completion with a 3 is paid, after a 2 one without. Four
# arms: how much the gradient of a fresh model scatters over the same rollouts, and training with each in
# place of `group_advantages`.

# %%
tokenizer = SimpleNamespace(encode_prompt=lambda text: [int(text), 4], eos_id=0, pad_id=0,
                            decode=lambda ids: "".join(map(str, ids)))


def draw_prompt(rng):
    return SimpleNamespace(prompt=rng.choice("12"))


def pay(problems, texts):
    return [float(("3" in text) == (problem.prompt == "1")) for problem, text in zip(problems, texts)]


world = World(draw_prompt, pay, tokenizer)
group_advantages = grpo.group_advantages


def one_or_two(rewards, *args, **options):
    return rewards + 1


def zero_or_one(rewards, *args, **options):
    return rewards


def minus_one_or_one(rewards, *args, **options):
    return 2 * rewards - 1


def less_the_mean(rewards, *args, **options):
    return group_advantages(rewards, scale=False)


ARMS = {   # name: (what stands for the advantages, how many times grad J they give, color)
    "reward 1 or 2": (one_or_two, 1, "#999999"),
    "reward 0 or 1": (zero_or_one, 1, "#d1495b"),
    "reward -1 or 1": (minus_one_or_one, 2, "#e0a030"),
    "less the mean": (less_the_mean, 7 / 8, "#1b6ca8"),
}
shape = ModelConfig(vocab_size=8, width=32, num_layers=2, mlp_width=64, max_length=32)
config = RLConfig(num_iterations=NUM_ITERATIONS, num_prompts=8, group_size=8, max_new_tokens=8, num_epochs=1,
                  learning_rate=3e-3, warmup_iterations=1)


def gradient_of(policy, rollout, advantages_of, times):
    """The gradient of one rollout, all parameters in a row, over how many times grad J it is."""
    batch = rollout.select(torch.arange(64))                                # a copy that autograd may keep
    advantages = advantages_of(batch.rewards.view(8, 8)).view(64, 1) * batch.completion_mask / times
    logprobs, _ = completion_logprobs(policy, batch)
    loss, _ = grpo.compute_loss(logprobs, batch.old_logprobs, None, advantages, batch.completion_mask, config,
                                64)
    gradients = torch.autograd.grad(loss, list(policy.parameters()))
    return torch.cat([gradient.flatten() for gradient in gradients])


variances = {name: [] for name in ARMS}                                     # of each seed
runs = {name: [] for name in ARMS}                                          # the lines of each seed
for seed in SEEDS:
    policy = GPT(shape).init_weights(seed)
    rollouts = [collect_rollout(policy, None, world, config, seed, i) for i in range(NUM_ROLLOUTS)]
    for name, (advantages_of, times, _) in ARMS.items():
        gradients = [gradient_of(policy, rollout, advantages_of, times) for rollout in rollouts]
        variances[name].append(torch.stack(gradients).var(0).sum())
        with patch.object(grpo, "group_advantages", advantages_of):
            model = GPT(shape).init_weights(seed)
            optimizer = torch.optim.AdamW(model.parameters())
            runs[name].append(list(grpo.train(model, None, optimizer, world, config, seed)))


def rewards_of(lines):
    return [line["reward"] for line in lines]


curves = {}
for name in ARMS:
    curves[name] = torch.tensor([rewards_of(lines) for lines in runs[name]])     # (seeds, iterations)
last_means = curves["less the mean"].mean(1)
for name in ARMS:
    times = torch.stack(variances[name]) / torch.stack(variances["less the mean"])
    means = curves[name].mean(1)
    print(f"model: {name:14} variance {times.min():.1f} to {times.max():.1f} times the last, "
          f"reward {means.mean():.2f} ({means.min():.2f} to {means.max():.2f}), "
          f"less in {(means < last_means).sum()} seeds")

# %%
figure, axes = new_figure(1, 3, figsize=(9, 3.2))
baselines = torch.linspace(-1.2, 1.4, 80).tolist()
exact = [mean_and_variance(logits, rewards, baseline)[1] for baseline in baselines]
axes[0].plot(baselines, exact, color="black", lw=1)
for name, (_, _, color) in ARMS.items():
    _, variance = mean_and_variance(logits, rewards, points[name])
    least, most = torch.aminmax(curves[name], dim=0)
    axes[0].plot(points[name], variance, "o", color=color)
    axes[1].fill_between(range(NUM_ITERATIONS), least, most, color=color, alpha=0.2, lw=0)
    axes[1].plot(curves[name].mean(0), color=color, label=name)
for key, color in (("reward", "#1b6ca8"), ("policy_loss", "black")):
    values = [line.get(key, float("nan")) for line in runs["less the mean"][0]]
    axes[2].plot(values, color=color, label=key)
titles = ("exact: variance of one sample", f"reward, seeds: {len(SEEDS)} (mean, range)",
          "less the mean, seed 0")
for axis, title, label in zip(axes, titles, ("baseline b", "iteration", "iteration")):
    axis.set_title(title, fontsize=10)
    axis.set_xlabel(label)
    axis.spines[["top", "right"]].set_visible(False)
    if axis is not axes[0]:
        axis.legend(frameon=False, fontsize=8)
show_figure(figure, "05_policy_gradient")

# %% [markdown]
# ## What to see
# - The four arms have one mean gradient, up to a factor. A reward of 0 or 1 without a baseline has about 3
#   times the variance of the last arm: it needs 3 times the samples for the same certainty. A reward of 1 or
#   2 needs 13 or more.
# - Over 5 seeds, 0 or 1 is behind the group's mean in all, -1 or 1 in 3: those two do not separate. Half of
#   the completions are right at first, so 1/2 is a good baseline by luck. Where 2% are right it is a bad one.
# - The reward rises while `policy_loss` stays around 0. Its gaps are steps in which no group had a spread.
# - What it does not show: a baseline for each token (lesson 06), and what dividing by the spread does (lesson
#   07).
#
# ## Exercises
# 1. The mean is not the best b (see "exact"). Derive the one of least variance.
# 2. With `scale=True` rewards of 0 or 1 and of -1 or 1 give equal advantages. Why? And without a scale?
# 3. Pay every completion 1. What do the arms learn on average, and in one step?
#
# <details><summary>Solutions</summary>
#
# 1. b = E[R |grad log p|^2] / E[|grad log p|^2], the zero of the derivative of E[(R - b)^2 |grad log p|^2]:
#    here 0.40.
# 2. Mean and standard deviation move along with the rewards. Without a scale those of -1 or 1 are twice as
#    large.
# 3. On average nothing. In one step only the last arm stands still; the others push up whatever was drawn.
# </details>
