# %% [markdown]
# # 18. The relatives of GRPO
#
# Question: many algorithms came after GRPO, and each changes a little of it. What does that change
# in the gradient of one token?
#
# You need: lesson 07. No other lesson needs this one. Time: a few seconds on a laptop's CPU.
#
# Our runs could not tell eighteen relatives from GRPO: they ended within 1.4 points of it, after
# equally many answers, and runs of one algorithm could scatter as much ([the
# results](results/kin.md)). So read this lesson for the ideas, not for better scores. Each relative
# takes one decision in another way and keeps the rest. So each is a setting here, of a few lines.

# %%
import sys
from pathlib import Path

# Where to find `shared`: in this file's folder or, in a notebook, in the working folder or its lessons/.
FOLDER = Path(globals().get("__file__", "notebook")).resolve().parent
sys.path[:0] = [str(FOLDER), str(FOLDER / "lessons")]

import torch
from shared import label, show_figure

from minireason import grpo
from minireason.batch import Batch, weigh_tokens
from minireason.config import RLConfig
from minireason.rollout import overlong_price
from minireason.token_math import k1, k2, k3
from minireason.tools.plots import new_figure

# %% [markdown]
# ## One number for each token
#
# To compare the relatives, look at a single token. Its part of the gradient is
#
#     weight * gradient of the logprob of this token
#
# The model makes the second factor, and the algorithm makes the first. So the *weight* of a token
# is all that an algorithm decides. A positive weight makes the token more likely. A negative weight
# makes it less likely. A weight of 0 leaves it alone. In REINFORCE (lesson 05) the weight is the
# advantage A. In PPO and GRPO it is ratio * A, and it is 0 where the clip stops the token (lesson
# 06).
#
# ### Which ratio, and what the clip does
#
# These two relatives need at least two updates for each rollout: before the first update every
# ratio is 1.
#
# - *GSPO* (group sequence policy optimization, arXiv:2507.18071) gives a completion one ratio, the
#   geometric mean of the ratios of its tokens: the n-th root of the product of all n. The reason: a
#   reward is for a whole completion, so the ratio should be too. All its tokens share one weight
#   and are clipped together. Its authors clip at 1 - 0.0003 and 1 + 0.0004, because a mean over
#   many tokens moves little. Their loss is a mean over completions, so a long completion counts as
#   much as a short one.
# - *CISPO* (clipped importance sampling policy optimization, arXiv:2506.13585) cuts the weight
#   off at the border, where the clip of PPO makes it 0. So in CISPO no token loses its gradient,
#   not even a rare one that turned a thought around. (Its authors have no lower bound. The
#   pictures below have our default, 0.8.)
#
# ### Which baseline
#
# - RLOO takes the mean of the other completions of the group (arXiv:2402.14740). Dr. GRPO does not
#   divide by the std (arXiv:2503.20783). Lesson 07 trained both. In groups of one size RLOO's
#   advantages are G / (G - 1) times those without the std. AdamW nearly cancels such a factor.
# - *REINFORCE++* (arXiv:2501.03262) takes the mean and the std of the whole batch. It needs no
#   groups. The price is that hard and easy prompts have one baseline.
#
# ### Which completions, and what they earn
#
# - *Dynamic sampling* replaces a group whose rewards are all equal by a new problem, because such a
#   group has only advantages of 0. A rollout is filled up in this way at most `max_refills` times.
#   Where nearly all problems are solved, or hardly any, the new one most probably teaches nothing
#   either, and each try costs samples.
# - The *soft overlong punishment* takes a part of the reward of a completion that comes near the
#   limit of tokens. The part grows evenly over the last tokens before the limit, so a completion
#   that is a little too long is not punished like a much too long one.
# - *DAPO* (decoupled clip and dynamic sampling policy optimization, arXiv:2503.14476) is four
#   ideas: these two, and two that are defaults here. The upper border of the clip is further away
#   than the lower one (with one update for each rollout this does nothing). And all tokens of a
#   batch count alike.
#
# ### What else is in the loss
#
# - *Entropy* says how undecided the model is about the next token: it is 0 if the model is sure. An
#   *entropy bonus* adds the mean entropy to what is maximized. It works against a policy that
#   becomes certain too early and tries nothing new. With it, as with a KL, groups of equal rewards
#   have a gradient, so GRPO leaves none out.
# - The KL to the reference can be estimated in three ways. k1 and k3 are known from lesson 07.
#   The third is *k2*, half the square of k1. It is never negative. As a number it is wrong: its
#   mean is not the KL. But in a loss only the gradient counts, and k2's is that of the KL:
#
#       the gradient of k2         = k1 grad k1 = k1 grad log p       (the reference stays fixed)
#       the KL                     = sum of p k1                      (over all tokens)
#       the gradient of the KL     = sum of k1 grad p  +  sum of p grad k1
#         its first sum            = sum of p k1 grad log p           (as grad p = p grad log p)
#                                  = the mean gradient of k2
#         its second sum           = sum of grad p = 0                (all p add up to 1)
#
#   (This is exact in the first update of a rollout alone. Only there the policy that learns is
#   the one that drew the tokens.)
# - Each of the three can stand in the loss, or be taken off the reward. But k1 in the loss does
#   not pull, and k2 and k3 in the reward hardly do near the reference: *Which prices pull* below
#   computes it.
#
# ### The settings
#
# These are the flags of `train.py`:
#
#     GSPO               --rl-objective gspo --rl-normalize sequence --rl-num-epochs 2
#                        --rl-clip-low 3e-4 --rl-clip-high 4e-4
#     CISPO              --rl-objective cispo --rl-clip-low 1 --rl-num-epochs 2
#     RLOO               --rl-leave-one-out --no-rl-scale-advantages
#     Dr. GRPO           --no-rl-scale-advantages --rl-normalize constant
#     REINFORCE++        --rl-batch-baseline
#     dynamic sampling   --rl-max-refills 8
#     overlong           --rl-overlong-penalty 0.5 --rl-overlong-buffer 32
#     entropy bonus      --rl-entropy-coef 0.001
#     KL in the reward   --rl-kl-coef 0.02 --rl-kl-estimator k1 --rl-kl-in-reward
#
# ### By hand: the price of length
#
# The limit is 208 tokens, and the price rises to 0.5 over the last 32. A completion of 176 tokens
# loses nothing. One of 200 tokens loses 0.5 * 24 / 32 = 0.375. One that was cut off at 208 loses
# 0.5: it earns -0.5, less than a short wrong one. That is meant: to give up in time is better.

# %%
priced = RLConfig(max_new_tokens=208, overlong_penalty=0.5, overlong_buffer=32)
prices = overlong_price(torch.tensor([176, 200, 208]), priced)
print("prices:", prices.tolist())
assert torch.allclose(prices, torch.tensor([0.0, 0.375, 0.5]))

# %% [markdown]
# ### By hand: the weight of one token
#
# A completion has four tokens and the advantage 1. The first token became twice as likely, and the
# other three are as they were. So the ratios are 2, 1, 1 and 1. The clip is at 0.8 and at 1.28.
#
# - GRPO: the ratio 2 is above 1.28, so the weight of the first token is 0.
# - CISPO: its weight is cut off at 1.28.
# - GSPO: all four tokens have the weight 2 ** (1/4) = 1.189. That is inside the clip. (Were the
#   first ratio 3, it would be 3 ** (1/4) = 1.316, outside, and none of the four would learn.)
#
# The next cell asks the loss of `grpo.py`. The gradient with respect to a logprob is the weight of
# its token, with a minus sign.


# %%
def token_weights(ratios, advantages, objective):
    """The weight of each token, by the code of grpo.py. All tensors (B, L)."""
    logprobs = ratios.log().requires_grad_()
    old_logprobs, mask = torch.zeros_like(ratios), torch.ones_like(ratios)
    loss, _ = grpo.compute_loss(logprobs, old_logprobs, None, advantages, mask, RLConfig(),
                                num_tokens=1, objective=objective)
    return -torch.autograd.grad(loss, logprobs)[0] + 0.0      # + 0.0 turns -0.0 into 0.0


BY_HAND = {"clip": [0, 1, 1, 1], "cispo": [1.28, 1, 1, 1], "gspo": [1.189, 1.189, 1.189, 1.189]}
for objective, by_hand in BY_HAND.items():
    [weights] = token_weights(torch.tensor([[2.0, 1, 1, 1]]), torch.ones(1, 4), objective)
    print(f"{objective:6}" + "".join(f"{weight:7.3f}" for weight in weights))
    assert torch.allclose(weights, torch.tensor(by_hand).float(), atol=1e-3)

# %% [markdown]
# ### All weights of a step
#
# A group has two completions. The first has six tokens and earns 1. The second has two tokens and
# earns 0. The policy has moved since it wrote them, so not all ratios are 1. What weight does
# each of the eight tokens get from each relative? All clips are at 0.8 and 1.28. (With the
# borders of GSPO's authors both completions would be clipped here, and all weights of GSPO would
# be 0.) First the group, and the settings of the relatives.

# %%
RATIOS = torch.tensor([[1.0, 0.7, 1.5, 1.1, 0.9, 1.0], [0.6, 1.2, 1, 1, 1, 1]])
MASK = torch.tensor([[1.0, 1, 1, 1, 1, 1], [1, 1, 0, 0, 0, 0]])
RELATIVES = {
    "GRPO, each completion alike": {"normalize": "sequence"},
    "GRPO, each token alike": {},
    "Dr. GRPO": {"normalize": "constant", "scale_advantages": False},
    "GSPO": {"objective": "gspo", "normalize": "sequence"},
    "CISPO": {"objective": "cispo"},
    "REINFORCE++": {"batch_baseline": True},
    "REINFORCE++, KL in reward": {"batch_baseline": True, "kl_coef": 0.1, "kl_in_reward": True,
                                  "kl_estimator": "k1"},
}


def two_completions(rewards):
    """A rollout as `collect_rollout` returns it, without the ids: no weight depends on them."""
    no_ids = torch.zeros(2, 6, dtype=torch.long)
    # how far the logprob of each token lies above the reference's
    drift = torch.tensor([[0.5, 1.5, -0.5, 1.0, 0.5, 2.0], [0.5, 1.0, 0, 0, 0, 0]])
    return Batch(ids=no_ids, prompt_lengths=torch.zeros(2), completion_ids=no_ids,
                 completion_mask=MASK, old_logprobs=torch.zeros(2, 6), ref_logprobs=-drift,
                 rewards=torch.tensor(rewards))


# %% [markdown]
# The weights come from the code that trains: `compute_advantages`, `weigh_tokens` and
# `compute_loss`. We divide each row by its largest weight. The reason is that the optimizer AdamW
# takes steps of the same length whatever the size of the whole gradient. So only proportions
# matter: how much one token weighs beside the others of the step.


# %%
def weights_of_a_step(settings):
    """The weight of each token (2, 6), divided by the largest."""
    config, rollout = RLConfig(group_size=2, **settings), two_completions([1.0, 0.0])
    grpo.compute_advantages(rollout, config)
    weights, num_tokens, _ = weigh_tokens(MASK, config, len(rollout))
    logprobs = RATIOS.log().requires_grad_()
    loss, _ = grpo.compute_loss(logprobs, rollout.old_logprobs, rollout.ref_logprobs,
                                rollout.advantages, weights, config, num_tokens,
                                kl_estimator="", objective=config.objective)
    weights = -torch.autograd.grad(loss, logprobs)[0]
    return weights / weights.abs().max() + 0.0


table = {name: weights_of_a_step(settings)[MASK > 0] for name, settings in RELATIVES.items()}
print(f"{'ratio':28}" + "".join(f"{ratio:6.1f}" for ratio in RATIOS[MASK > 0]))
for name, weights in table.items():
    print(f"{name:28}" + "".join(f"{weight:6.2f}" for weight in weights))

# %% [markdown]
# How to read the rows:
#
# - *Each completion alike* gives a token of the short completion three times the weight that it
#   gives to a token of the long one, at the same ratio. So does GSPO. *Each token alike* and Dr.
#   GRPO do not. Their rows are equal here, since there is one step and one group. With several
#   groups they differ, since GRPO alone divides by the std. Over several steps they differ, too:
#   GRPO divides by the tokens of each step, so a token counts more in a step with few tokens. Dr.
#   GRPO always divides by the same number.
# - GRPO's clip leaves out the third token, whose ratio 1.5 is above 1.28. It also leaves out the
#   first token of the bad completion, whose ratio 0.6 is below 0.8. Both have moved as far as the
#   advantage wants. CISPO keeps them with a bounded weight.
# - In GSPO all tokens of a completion share one weight.
# - REINFORCE++ compares with the mean over *tokens*. Six of the eight tokens earned 1. So the
#   good completion has a small advantage, 1/4, and the bad one a large one, -3/4. That this row
#   equals the first one is chance.
# - With a KL in the reward, a token pays for its own KL and for that of all tokens after it. So
#   weights differ within a completion, even where ratios are equal.
#
# ### The KL in the loss
#
# The KL pulls at a token too. Its pull is minus the gradient of the estimator. The next cell lets
# the distance between the policy and the reference go from -2 to 2: the logprob of the token under
# the policy, minus its logprob under the reference.

# %%
distance = torch.linspace(-2, 2, 101)
kl_pulls = {}      # {estimator: (101,)}
for name, estimator in (("k1", k1), ("k2", k2), ("k3", k3)):
    logprobs = distance.clone().requires_grad_()
    estimator(logprobs, torch.zeros(101)).sum().backward()
    kl_pulls[name] = -logprobs.grad
    at = ", ".join(f"{kl_pulls[name][i]:5.2f} at {distance[i]:+.0f}" for i in (0, 25, 75, 100))
    print(f"{name} pulls {at}")

# %% [markdown]
# - k1 pulls every token down alike, whatever the reference says. On average it pulls nowhere, as
#   lesson 05 derived.
# - k2 pulls each token back to the logprob of the reference, harder with the distance.
# - k3 pulls a token up very hard where the policy has left it behind. It never pulls down by more
#   than 1. As a number k3 is on average our KL, which is called the *reverse KL*. Its mean
#   gradient is that of another one, the *forward KL*: the sum of p_reference log(p_reference / p)
#   over all tokens. Why do the two differ? With other weights other tokens would be drawn, and
#   the gradient of a loss leaves that out. Both gradients pull towards the reference.
#
# ### By hand: which prices pull
#
# That was one token. But tokens are drawn: likely ones more often than others. What counts is the
# mean over all of them, so the next cell computes it exactly, for five tokens. It makes 1,000
# pairs of a policy and a reference at random, and puts each estimator in the loss and in the
# reward. Then it compares the mean gradient with the true gradient of the KL, and prints the
# median over the pairs and the share of pairs below 0. Here 1 means that the price pulls as the
# KL does, 0 that it does not pull at all, and below 0 that it pulls away from the reference.

# %%
generator = torch.Generator().manual_seed(0)
for apart in (0.3, 2.0):             # how far the reference is from the policy
    shares = {}                         # {price: [a number for each of 1,000 pairs]}
    for _ in range(1000):
        logits = torch.randn(5, generator=generator, requires_grad=True)
        reference = (logits.detach() + apart * torch.randn(5, generator=generator)).log_softmax(0)
        logprobs = logits.log_softmax(0)                                # (5,)
        kl = (logprobs.exp() * (logprobs - reference)).sum()
        true = torch.autograd.grad(kl, logits, retain_graph=True)[0]    # (5,)
        drawn = logprobs.exp().detach()                 # (5,), how often each token is drawn
        for name, estimator in (("k1", k1), ("k2", k2), ("k3", k3)):
            estimate = estimator(logprobs, reference)
            in_loss = (drawn * estimate).sum()
            in_reward = (drawn * estimate.detach() * logprobs).sum()    # R grad log p, lesson 05
            for place, mean in (("loss", in_loss), ("reward", in_reward)):
                gradient = torch.autograd.grad(mean, logits, retain_graph=True)[0]
                share = (gradient @ true / (true @ true)).item()
                shares.setdefault(f"{name} in the {place}", []).append(share)
    print(f"distance {apart}: pull (1: as the KL), and how often it is away from the reference")
    for price, of_pairs in shares.items():
        pulls = torch.tensor(of_pairs)
        print(f"    {price:16}  {pulls.median():5.2f}  {(pulls < -1e-3).float().mean():4.0%}")

# %% [markdown]
# - k1 in the reward and k2 in the loss pull exactly as the KL does. k3 in the loss pulls as the
#   forward KL does: near the reference that is the same, and further away it is less.
# - k1 in the loss does not pull. k2 and k3 in the reward hardly pull near the reference, and in
#   four of ten cases they pull away from it. (The mean gradient of k3 in the reward is that of the
#   KL minus that of the forward KL. Near the reference the two are equal, so nothing is left.) Far
#   from it k2 pulls nearly as the KL does, and k3 a third as hard.
# - So an estimator with the right value need not have the right gradient. k3 estimates the KL well,
#   and taken off the reward it is no price on it.
#
# ## The figure: `18_the_family`
#
# The upper pictures draw the weight of one token over its ratio, in a completion of four tokens
# whose other ratios are 1. Look where a line lies at 0: there the clip has stopped the token. Lower
# left is the table from above: look which tokens have the same color. Lower right is the pull of
# the KL in the loss: above 0 it makes the token more likely.

# %%
figure, panels = new_figure(2, 2, figsize=(9.6, 6.8))
ratios = torch.linspace(0.02, 2, 199)
in_a_completion = torch.ones(199, 4)      # four tokens each: only the first one moves
in_a_completion[:, 0] = ratios
WEIGHTS = (("GRPO (clip)", "clip", "#1b6ca8"), ("GSPO (one of 4 tokens)", "gspo", "#e0a030"),
           ("CISPO", "cispo", "#5a9a5a"))
for axis, advantage in zip(panels[0], (1.0, -1.0)):
    axis.axhline(advantage, color="#999999", ls="--", lw=1, label="REINFORCE")
    for name, objective, color in WEIGHTS:
        weights = token_weights(in_a_completion, torch.full((199, 4), advantage), objective)
        axis.plot(ratios, weights[:, 0], color=color, label=name)
    axis.set_ylim(sorted((-0.1 * advantage, 2.1 * advantage)))

grid = panels[1, 0]
rows = torch.stack(list(table.values()))      # (relatives, 8 tokens)
grid.imshow(rows.numpy(), cmap="RdBu", vmin=-1, vmax=1, aspect="auto")
for y, row in enumerate(rows.tolist()):
    for x, weight in enumerate(row):
        grid.text(x, y, f"{weight:.1f}", ha="center", va="center", fontsize=8,
                  color="white" if abs(weight) > 0.6 else "black")
grid.axvline(5.5, color="black", lw=2)
grid.set_yticks(range(len(table)), table)
grid.set_xticks(range(8), [f"{ratio:.1f}" for ratio in RATIOS[MASK > 0]])
for (name, pull), color in zip(kl_pulls.items(), ("#999999", "#7a4fa3", "#d1495b")):
    panels[1, 1].plot(distance, pull, color=color, label=name)
for axis, advantage in zip(panels[0], ("+1", "-1")):
    label(axis, f"advantage {advantage}", "ratio of this token", "weight of this token")
label(panels[1, 0], "all weights of a step", "ratio of a token (right: bad completion)", "relative")
label(panels[1, 1], "the KL in the loss", "log p - log p of the reference", "pull on the logprob")
show_figure(figure, "18_the_family")

# %% [markdown]
# ## The trap: the KL in the reward of a group
#
# Two completions of a group are both right, and the first one is further from the reference. With
# the KL in the loss, such a group has advantages of 0. With the KL in the reward, the two rewards
# differ a little. Then the division by the std makes this small difference nearly as large as that
# between right and wrong, even at a coefficient of 0.001. `--no-rl-scale-advantages` leaves the
# division out.

# %%
for coefficient in (0.1, 0.001):
    rollout = two_completions([1.0, 1.0])
    config = RLConfig(group_size=2, kl_coef=coefficient, kl_in_reward=True, kl_estimator="k1")
    grpo.compute_advantages(rollout, config)
    first, second = rollout.advantages[:, 0].tolist()
    print(f"KL in the reward, coefficient {coefficient}: advantages {first:.2f} and {second:.2f}")

# %% [markdown]
# ## What to see
#
# - The figure: the relatives differ in which tokens count, and in how much. With one update for
#   each rollout, which is the default of `train.py`, all ratios are 1. Then it makes no difference
#   which ratio is taken and how it is clipped. So `train.py` refuses `--rl-objective gspo` and
#   `cispo` there.
# - The trap: with a coefficient of 0.001 the KL still gives one right completion an advantage of
#   -0.68 and the other 0.68. A coefficient that is a hundred times as large gives -0.71 and 0.71.
#
# ## What it does not show
#
# - Which relative learns best. In runs of 30 iterations of the recipe, with three seeds, none of
#   them could be told from GRPO, not even a KL that does not pull ([the results](results/kin.md)).
# - How the weights of tokens change during a training: this is one step on one group.
#
# ## Exercises
#
# 1. A completion of 100 tokens has the advantage 1. One token has the ratio 3, all others have the
#    ratio 1. Which tokens have which weight in GRPO, in CISPO and in GSPO, with the clip at 0.8 and
#    1.28?
# 2. Dynamic sampling keeps only groups with both right and wrong answers. `train.py` logs the
#    mean reward of all that was sampled, not of the kept groups. Why?
# 3. A completion of 190 tokens is right. The limit is 208, and the price rises to 0.5 over the
#    last 32 tokens. What does it earn? Is there a length from which on a right completion earns
#    less than a short wrong one?
#
# <details><summary>Solutions</summary>
#
# 1. GRPO: 0 for the one token, 1 for the others. CISPO: 1.28 for the one, 1 for the others. GSPO: 3
#    ** (1/100) = 1.011 for all. With the narrow clip of its authors, at 1.0004, it would be 0 for
#    all.
# 2. They were chosen for their rewards. Each has a right and a wrong answer, however good or bad
#    the policy is. Only the mean of all that was sampled says how good it is.
# 3. It earns 1 - 0.5 * 14 / 32 = 0.78. There is none: a completion may end at exactly 208 tokens,
#    and a right one still earns 0.5 there. A short wrong one earns 0.
# </details>
