# %% [markdown]
# # 6. PPO: a critic and a clip
#
# Question: in lesson 05 each token of a completion got the same credit, and a rollout was good for
# one step. How does each token get its own credit? And how can one rollout be used for several
# steps?
#
# You need: lesson 05. Time: about a minute on a laptop's CPU.
#
# *PPO* (proximal policy optimization) answers both questions. This lesson takes them one after the
# other.
#
# ## Credit for each token: the critic
#
# Before each token t, a second network estimates how much reward is still to come. This network is
# the *critic*, and its estimate is the *value* V_t of that place. The critic is a copy of the
# policy, made at the start of RL, with another last layer: it reads the prompt and all tokens
# before t, and its output is one number in place of the logits. That layer begins with zeros, so at
# first the critic says 0 everywhere. After the last token nothing is to
# come, so the value there is 0.
#
# After a good token the critic expects more than before. So the credit of a token is this change,
# the *surprise* delta. Let r_t be the reward at token t: in our worlds it is 0, except at the
# last token. And let *gamma* be a factor by which later rewards count less: in our presets it is
# 1, since a right answer is worth as much after a long thought. Then the surprise is
#
#     delta_t = r_t + gamma V_{t+1} - V_t
#
# The next value is an estimate too, and may be wrong. So *GAE* (generalized advantage estimation,
# arXiv:1506.02438) adds the surprises of later tokens:
#
#     A_t = delta_t + gamma lambda A_{t+1}
#
# *Lambda* says how much they count. With lambda = 0 only the token's own surprise counts: we trust
# the critic for all that comes later. With lambda = 1 all later surprises count fully. If gamma is
# 1, too, this is their plain sum, and the values in between cancel:
#
#     A_t = (r_t + V_{t+1} - V_t) + (r_{t+1} + V_{t+2} - V_{t+1}) + ... + (r_T - V_T)
#
# What is left is the reward that really came, minus V_t. With lambda = 1, which is our setting,
# the critic is a baseline and nothing else. The advantage of a token is the final reward minus
# the value at that token. The final reward is the same for all tokens of a completion, and only
# the value differs. So a single completion does not tell which of its tokens was good. But a good
# token is in right completions more often than in wrong ones, so over many completions it gains.
# With a good critic fewer completions are enough.
#
# The critic learns from what came. Its target is the *return* R_t = A_t + V_t. With lambda = gamma
# = 1 that is just the reward, which was R in lesson 05.
#
# A price on moving far from the start may also be part of r_t. It is off here, since `kl_coef` is
# 0. Lesson 07 explains it.

# %%
import os
import sys
from pathlib import Path

# Where to find `shared`: in this file's folder or, in a notebook, in the working folder or its lessons/.
FOLDER = Path(globals().get("__file__", "notebook")).resolve().parent
sys.path[:0] = [str(FOLDER), str(FOLDER / "lessons")]

import torch
from shared import label, legend_above, plot_band, show_figure
from toy import toy_model, toy_world

from minireason import ppo
from minireason.batch import Batch
from minireason.config import RLConfig
from minireason.policy import Critic
from minireason.token_math import sequence_log_ratio
from minireason.tools.plots import new_figure

FAST = os.environ.get("LESSON_FAST") == "1"
NUM_UPDATES = 5 if FAST else 120
NUM_ITERATIONS = 3 if FAST else 20
SEEDS = range(1 if FAST else 5)

# %% [markdown]
# ## By hand: three tokens
#
# The rewards are 0, 0, 1 and the values 0.5, 0.6, 0.8. With gamma = 1 the surprises are
#
#     delta = 0.6 - 0.5, 0.8 - 0.6, 1 - 0.8 = 0.1, 0.2, 0.2
#
# - lambda = 0: the advantages are the surprises.
# - lambda = 1/2: from the back, 0.2, then 0.2 + 0.5 * 0.2 = 0.3, then 0.1 + 0.5 * 0.3 = 0.25.
# - lambda = 1: the reward 1 minus each value, 0.5, 0.4, 0.2.
#
# With lambda = 1 the first token gets 0.5, although its own surprise is only 0.1: it also gets
# the surprises of the two tokens after it. In a single completion these later surprises are
# noise. Over many completions the noise averages out, and the token's own credit is left. This
# holds for a wrong critic, too: V_t is said before token t is drawn, so it does not depend on
# that token. It is a baseline, as in lesson 05. A bad one costs noise, and shifts nothing on
# average.
#
# This is the function of the package. It goes from the back, as we did.

# %%
# From minireason/ppo.py: gae
def gae(token_rewards: torch.Tensor, values: torch.Tensor, completion_mask: torch.Tensor, gamma: float,
        gae_lambda: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Generalized advantage estimation over (B, L). Past the last token nothing is to come: the value is 0.

    Returns (advantages (B, L), returns (B, L)), both 0 beyond the mask.
    """
    mask = completion_mask.to(values.dtype)                                           # (B, L)
    token_rewards = token_rewards.masked_fill(mask == 0, 0.0)
    values = values.masked_fill(mask == 0, 0.0)
    advantages = torch.zeros_like(values)                                             # (B, L)
    next_advantage = torch.zeros_like(values[:, 0])                                   # (B,), A_{t+1}
    next_value = torch.zeros_like(next_advantage)                                     # (B,), V_{t+1}
    for t in reversed(range(values.size(1))):
        delta = token_rewards[:, t] + gamma * next_value - values[:, t]               # (B,)
        advantages[:, t] = (delta + gamma * gae_lambda * next_advantage) * mask[:, t]
        next_advantage = advantages[:, t]
        next_value = values[:, t]
    return advantages, advantages + values
# End of excerpt


token_rewards = torch.tensor([[0.0, 0.0, 1.0]])
values = torch.tensor([[0.5, 0.6, 0.8]])
BY_HAND = {0.0: [0.1, 0.2, 0.2], 0.5: [0.25, 0.3, 0.2], 1.0: [0.5, 0.4, 0.2]}      # by lambda
for gae_lambda, by_hand in BY_HAND.items():
    advantages, returns = gae(token_rewards, values, torch.ones(1, 3), 1.0, gae_lambda)
    print(f"lambda {gae_lambda}: advantages {advantages[0]}, returns {returns[0]}")
    assert torch.allclose(advantages, torch.tensor([by_hand]))

# %% [markdown]
# ## A world whose values are known
#
# Is lambda = 0 or 1 better? To see it, we need a world in which we know the truth. A completion is
# four flips of a coin, and its reward is the share of heads. After h heads in t flips, the expected
# reward is (h + (4 - t) / 2) / 4, because half of the remaining flips are heads on average. That is
# the true value. A flip of heads raises it by 1/8, and tails lowers it by 1/8. That is the true
# credit of the flip.
#
# First three critics that do not learn: one that is right, and two that are wrong. The cell takes
# all 16 possible completions. It takes the advantages apart: a multiple of the true credit, and a
# rest, which is noise. It prints the factor (1 would be all of the credit, 0 nothing of it) and
# the size of the noise.

# %%
L = 4                                                          # flips
coin = torch.arange(2)
every_completion = torch.cartesian_prod(coin, coin, coin, coin)            # (16, L), 1 is heads
heads_before = every_completion.cumsum(1) - every_completion
true_values = (heads_before + (L - torch.arange(L)) / 2) / L               # (16, L)
true_credit = (every_completion - 0.5) / L                                 # (16, L): 1/8 or -1/8
token_rewards = torch.zeros(16, L)
token_rewards[:, -1] = every_completion.float().mean(1)                    # at the last flip

CRITICS = {
    "right": true_values,
    "always 1/2": torch.full((16, L), 0.5),
    "always 0": torch.zeros(16, L),
}
for name, values in CRITICS.items():
    for gae_lambda in (0.0, 1.0):
        advantages, _ = gae(token_rewards, values, torch.ones(16, L), 1.0, gae_lambda)
        # by which factor the true credit comes nearest to the advantages (least squares)
        part = (advantages * true_credit).sum() / (true_credit * true_credit).sum()
        noise = (advantages - part * true_credit).std(unbiased=False)
        print(f"critic {name:10} lambda {gae_lambda:.0f}: "
              f"{part:.2f} of the true credit, noise {noise:.3f}")

# %% [markdown]
# With the right critic, lambda = 0 is perfect: each flip gets its credit and no noise. With a
# wrong critic it goes wrong: only the last flip gets its credit, because only there the reward
# comes in. The other three get none. One flip in four is a quarter of the credit, hence the
# printed 0.25. Lambda = 1 is right on average with any critic, and noisier than lambda = 0 with a
# right one. A critic is wrong at the start of a training, so our presets use lambda = 1.
#
# With lambda = 1 "always 1/2" and "always 0" have the same noise. Each advantage under "always 0"
# is 1/2 larger than under "always 1/2", and a standard deviation does not see such a shift. The
# shift still adds variance to the gradient, as lesson 05 showed. PPO removes it, because it
# subtracts the mean of all advantages (lesson 07).
#
# ## Several steps on one rollout: the clip
#
# Drawing a rollout is expensive, so we want to take more than one step on it. But after the first
# step the policy is not the one that drew it. The ratio of a token, its probability now over its
# probability at the draw, has moved away from 1. Nothing in ratio * advantage would stop it from
# moving further. Why should it stop? The advantages come from a few completions of the old policy.
# They say what was better there, and partly by luck. About a policy that writes other completions
# they say little. A large move on few completions follows their noise, and a policy that has become
# worse draws worse completions to learn from.
#
# PPO *clips* the ratio, which means that it cuts it off at two borders. What it maximizes is called
# the *surrogate*, since it stands in the place of the reward:
#
#     surrogate = min(ratio * A, clip(ratio, 1 - clip_low, 1 + clip_high) * A)
#
# The lower border is 0.2 below 1, and the upper one 0.28 above it (arXiv:2503.14476). So a token
# gets no further push once it is 28% likelier than at the draw. Why is the upper border wider? It
# lets rare tokens grow more in a rollout, so the policy keeps trying new things for longer. (A
# token of probability 0.9 never reaches the border, since 0.9 * 1.28 is above 1.)
#
# By hand, with clip_low = 0.2 and clip_high = 0.28:
#
#     ratio    A    ratio * A    clipped * A    surrogate    what happens
#      1.5    +1       1.5          1.28          1.28       far enough: no gradient
#      1.5    -1      -1.5         -1.28         -1.5        the wrong way: full gradient
#      0.5    +1       0.5          0.8           0.5        the wrong way: full gradient
#      0.5    -1      -0.5         -0.8          -0.8        far enough: no gradient
#
# So a token that went the wrong way can always be pulled back. A token that passed its border the
# right way gets no further push. (`clip_frac` counts all tokens beyond a border, also those that
# went the wrong way.) The critic is held in the same way: its value may move by value_clip from the
# value that it gave at the rollout.
#
#     V_clipped  = V_old + clip(V - V_old, -value_clip, value_clip)
#     value loss = max((V - R)^2, (V_clipped - R)^2) / 2
#
# For example V = 0.9, V_old = 0.5, R = 1 and value_clip = 0.2. Then V_clipped is 0.7, and the
# loss is max(0.01, 0.09) / 2 = 0.045. The value has moved far enough, so its gradient is 0. With
# R = 0.2 the loss is max(0.49, 0.25) / 2, and the gradient stays, since the value went the wrong
# way. (With one update for each rollout V is V_old, and `value_clip` does nothing.) The whole
# loss of PPO adds value_coef (1 by default) times this to the policy's loss.
#
# In the code, read past `objective` and `approx_kl`, and past `num_tokens` and `weight_sum`, by
# which sums are divided. Lesson 07 explains them. Micro-batches only save memory (lesson 08).

# %%
# From minireason/ppo.py: compute_loss
def compute_loss(logprobs: torch.Tensor, old_logprobs: torch.Tensor,
                 advantages: torch.Tensor,
                 values: torch.Tensor, old_values: torch.Tensor, returns: torch.Tensor,
                 completion_mask: torch.Tensor, config: RLConfig, num_tokens: float | None = None,
                 weight_sum: float | None = None,
                 objective: str = "clip") -> tuple[torch.Tensor, dict[str, float]]:
    """Clipped surrogate plus the clipped value loss, summed over tokens, over num_tokens.

    All tensors (B, L). `completion_mask` is 0/1, or what each token counts (`batch.weigh_tokens`), of any
    dtype. Anything finite may stand where it is 0. `num_tokens` is what the sum is divided by: by default the
    sum of the mask. Where the batch is one of several micro-batches, it is the number of the whole step, so
    that their losses add up. The logged means over tokens are divided by `weight_sum`, by default num_tokens.
    `objective` "gspo" gives a completion one ratio (arXiv:2507.18071); "cispo" makes the clipped ratio a
    constant weight of the gradient (arXiv:2506.13585).
    Of `config` it reads the bounds of clipping and the coefficients alone. Variants are arguments, so that
    without them this is the plain loss.
    Returns (loss, metrics).
    """
    mask = completion_mask.to(logprobs.dtype)                                         # (B, L)
    if num_tokens is None:
        num_tokens = mask.sum()
    if weight_sum is None:
        weight_sum = num_tokens

    # policy term
    log_ratio = (logprobs - old_logprobs).masked_fill(mask == 0, 0.0)                 # (B, L)
    if objective == "gspo":
        log_ratio = sequence_log_ratio(log_ratio, mask)
    ratio = log_ratio.exp()
    clipped = ratio.clamp(1 - config.clip_low, 1 + config.clip_high)
    surrogate = torch.min(ratio * advantages, clipped * advantages)                   # (B, L), to maximise
    if objective == "cispo":
        surrogate = clipped.detach() * advantages * log_ratio       # a clipped token keeps its gradient
    policy_loss = -(surrogate * mask).sum() / num_tokens

    # value term: the critic regresses on the returns, in small steps from its estimate at the rollout
    values_clipped = old_values + (values - old_values).clamp(-config.value_clip, config.value_clip)
    error = (values - returns).masked_fill(mask == 0, 0.0)                            # (B, L)
    error_clipped = (values_clipped - returns).masked_fill(mask == 0, 0.0)            # (B, L)
    value_loss = 0.5 * (torch.max(error ** 2, error_clipped ** 2) * mask).sum() / num_tokens

    loss = policy_loss + config.value_coef * value_loss
    metrics = {
        "policy_loss": policy_loss.item(),
        "value_loss": value_loss.item(),
        # KL(p_old || p), estimated by k3: how far this rollout's updates have moved p; 0 before the first
        "approx_kl": ((ratio - 1 - log_ratio) * mask).sum().item() / float(weight_sum),
        "clip_frac": ((ratio != clipped) * mask).sum().item() / float(weight_sum),
    }
    return loss, metrics
# End of excerpt


# %%
def loss_of_one_token(ratio, advantage, value=0.0, old_value=0.0, target=0.0):
    """(surrogate, its gradient with respect to the logprob, value loss)."""
    old_logprob = torch.zeros(1, 1)
    logprob = torch.tensor([[ratio]]).log().requires_grad_()
    loss, metrics = compute_loss(logprob, old_logprob, torch.tensor([[advantage]]),
                                 torch.tensor([[value]]), torch.tensor([[old_value]]),
                                 torch.tensor([[target]]), torch.ones(1, 1), RLConfig())
    loss.backward()
    return -metrics["policy_loss"], -logprob.grad.item(), metrics["value_loss"]


BY_HAND = [      # (ratio, advantage, surrogate, gradient)
    (1.5, 1.0, 1.28, 0.0),
    (1.5, -1.0, -1.5, -1.5),
    (0.5, 1.0, 0.5, 0.5),
    (0.5, -1.0, -0.8, 0.0),
]
for ratio, advantage, *by_hand in BY_HAND:
    surrogate, gradient, _ = loss_of_one_token(ratio, advantage)
    print(f"ratio {ratio}, advantage {advantage:+.0f}: "
          f"surrogate {surrogate:.2f}, gradient {gradient + 0:.2f}")
    assert torch.allclose(torch.tensor([surrogate, gradient]), torch.tensor(by_hand))
_, _, value_loss = loss_of_one_token(1.0, 0.0, value=0.9, old_value=0.5, target=1.0)
print(f"value loss {value_loss:.3f}")
assert abs(value_loss - 0.045) < 1e-6

# %% [markdown]
# ## A critic that learns
#
# Back to the coins. Now a critic starts from values of 0 and learns with the package's own
# functions, from 256 completions at each update. The policy does not learn here: a coin is a coin.
# We note the values of all 16 completions before each update.


# %%
def rollout_of(flips):
    """A rollout of these completions (B, L), each after a prompt of one token."""
    B = len(flips)
    prompts = torch.full((B, 1), 5)
    return Batch(ids=torch.cat([prompts, flips], 1), prompt_lengths=torch.ones(B, dtype=torch.long),
                 completion_ids=flips, completion_mask=torch.ones(B, L),
                 old_logprobs=torch.zeros(B, L), rewards=flips.float().mean(1))


def learned_values(gae_lambda, seed):
    """The values of all 16 completions before each update: (updates + 1, 16, L)."""
    generator = torch.Generator().manual_seed(seed)
    critic = Critic(toy_model(seed))
    optimizer = torch.optim.AdamW(critic.parameters(), lr=3e-3)
    config = RLConfig(gae_lambda=gae_lambda)
    history = []
    for _ in range(NUM_UPDATES + 1):
        history.append(critic(rollout_of(every_completion)).detach())
        rollout = rollout_of(torch.randint(0, 2, (256, L), generator=generator))
        values = critic(rollout)
        rollout.old_values = values.detach()
        ppo.compute_advantages(rollout, config)
        logprobs = rollout.old_logprobs
        loss, _ = compute_loss(logprobs, logprobs, rollout.advantages, values, rollout.old_values,
                               rollout.returns, rollout.completion_mask, config)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return torch.stack(history)


# %%
values_of_lambda_1 = learned_values(1.0, seed=0)
errors = {}                                                    # {lambda: (seeds, updates + 1)}
for gae_lambda in (0.0, 1.0):
    rows = []
    for seed in SEEDS:
        distance = (learned_values(gae_lambda, seed) - true_values).abs()
        rows.append(distance.mean((1, 2)))
    errors[gae_lambda] = torch.stack(rows)
    last = errors[gae_lambda][:, -20:].mean(1)
    print(f"lambda {gae_lambda:.0f}: mean error in the last 20 updates {last.mean():.3f} "
          f"(of single seeds {last.min():.3f} to {last.max():.3f})")
print(f"a constant value of 1/2 would have an error of {(true_values - 0.5).abs().mean():.3f}")

# %% [markdown]
# ## The trap: with one update for each rollout nothing is ever clipped
#
# The first step on a rollout is taken at a ratio of 1, inside both borders. So with one update for
# each rollout the clip does nothing at all, whatever its settings. `clip_frac`, the share of tokens
# whose ratio is beyond a border, is then exactly 0. We train in the toy world of lesson 05, once
# with one update and once with four.


# %%
def reward(prompt, text):
    return float(("3" in text) == (prompt == "1"))


world = toy_world(prompts="12", reward=reward)
clip_fracs = {}                                                # {updates: (seeds, iterations)}
for num_epochs in (1, 4):
    config = RLConfig(num_iterations=NUM_ITERATIONS, num_prompts=8, group_size=8, max_new_tokens=8,
                      warmup_iterations=1, num_epochs=num_epochs, learning_rate=3e-3,
                      critic_learning_rate=3e-3)
    clip_rows, reward_rows = [], []
    for seed in SEEDS:
        policy = toy_model(seed)
        critic = Critic(policy)
        both = [{"params": policy.parameters()}, {"params": critic.parameters()}]
        optimizer = torch.optim.AdamW(both)
        # None: there is no reference, a model to stay near to (lesson 07)
        lines = list(ppo.train(policy, critic, None, optimizer, world, config, seed))
        clip_rows.append([line["clip_frac"] for line in lines])
        reward_rows.append([line["reward"] for line in lines])
    clip_fracs[num_epochs] = torch.tensor(clip_rows)
    last = torch.tensor(reward_rows)[:, -5:].mean(1)
    print(f"{num_epochs} updates: mean clip_frac {clip_fracs[num_epochs].mean():.3f}, "
          f"last rewards {last.mean():.2f} (of single seeds {last.min():.2f} to {last.max():.2f})")
    assert (clip_fracs[num_epochs].max() == 0) == (num_epochs == 1)

# %% [markdown]
# ## The figure: `06_ppo`
#
# Four pictures. Top left: one completion, and what the critic expects before each of its flips.
# Watch the blue curves come closer to the dashed truth. Top right: the mean error of the critic,
# with lambda = 0 and with lambda = 1. Bottom left: the surrogate over the ratio; the dotted lines
# are the two borders of the clip, and the curves are flat where the gradient is 0. Bottom right:
# how many tokens are beyond a border with one and with four updates.

# %%
figure, axes = new_figure(2, 2, figsize=(9, 6.6))
example = every_completion.tolist().index([1, 1, 0, 1])        # heads heads tails heads
BLUES = ((0, "#c9d8e6"), (5, "#8fb3d1"), (20, "#5590bd"), (120, "#1b4f8a"))
for update, color in BLUES:
    if update <= NUM_UPDATES:
        values = values_of_lambda_1[update, example]
        axes[0, 0].plot(values, "o-", ms=4, color=color, label=f"after {update} updates")
axes[0, 0].plot(true_values[example], "k--", label="true value")
axes[0, 0].set_xticks(range(L), ["heads", "heads", "tails", "heads"])
axes[0, 0].set_ylim(bottom=-0.05)


def plot_seeds(axis, rows, color, name):
    """A curve for the mean of the seeds (seeds, n), in a band from the lowest to the highest."""
    intervals = torch.stack([rows.mean(0), rows.amin(0), rows.amax(0)], 1).tolist()
    plot_band(axis, range(rows.size(1)), intervals, color, name)


for gae_lambda, color in ((0.0, "#d1495b"), (1.0, "#1b6ca8")):
    plot_seeds(axes[0, 1], errors[gae_lambda], color, f"lambda {gae_lambda:.0f}")
ratios = [x / 25 for x in range(10, 46)]
for advantage, color in ((1.0, "#5a9a5a"), (-1.0, "#d1495b")):
    surrogates = [loss_of_one_token(ratio, advantage)[0] for ratio in ratios]
    axes[1, 0].plot(ratios, surrogates, color=color, label=f"advantage {advantage:+.0f}")
for border in (0.8, 1.28):
    axes[1, 0].axvline(border, color="black", lw=0.8, ls=":")
for num_epochs, color in ((1, "#e0a030"), (4, "#1b6ca8")):
    plot_seeds(axes[1, 1], clip_fracs[num_epochs], color, f"updates for each rollout: {num_epochs}")
label(axes[0, 0], "a critic that learns", "the flip before which it is asked", "value")
legend_above(axes[0, 0], top=1.35, ncols=2)
label(axes[0, 1], f"error of the critic, {len(SEEDS)} seeds", "update", "mean error of a value")
label(axes[1, 0], "the clipped surrogate", "ratio", "surrogate of one token")
label(axes[1, 1], f"clipped tokens, {len(SEEDS)} seeds", "iteration", "share (clip_frac)")
axes[0, 1].set_ylim(bottom=0)
axes[1, 1].set_xticks(range(0, NUM_ITERATIONS, 5))
show_figure(figure, "06_ppo")

# %% [markdown]
# ## What to see
#
# - The printed lines on the three critics: with lambda = 1 each flip gets all of its credit, under
#   every critic. With lambda = 0 it does so under the right critic alone.
# - Top left: after five updates the critic says the same number everywhere, about the mean reward.
#   After that it learns what each flip changes.
# - Top right: both critics learn. (In the log it is `explained_variance`: which part of the
#   targets' spread the critic foresees.) With lambda = 1 the target is the real reward. With
#   lambda = 0 the target contains the critic's own next value, so its error comes back into what
#   it learns. The bands of the seeds overlap a little, so these seeds hardly tell the two apart.
#   Both curves rise once, near update 10: the first steps are large, and the values shoot past
#   the mean reward of 1/2 before they come back.
# - Bottom left: each curve is flat on one side only, where the ratio went far enough in the wanted
#   direction.
# - Bottom right: with one update `clip_frac` is exactly 0. With four it is not. (It falls because
#   the learning rate falls.) And the printed rewards are higher after as many rollouts, since each
#   was used four times. That costs four times the seconds of learning. Here it pays: 20 steps are
#   few for a fresh model, and four updates make 80 of them. It need not pay in a longer run, from a
#   model that knows the task already ([the results](results/C5.md)).
#
# ## What it does not show
#
# - Whether a critic is worth its memory on long completions, where values are hard to learn. Lesson
#   07 leaves it out, and lesson 08 counts the bytes.
#
# ## Exercises
#
# 1. A ratio of 1.5 with A = -1 is not clipped. What would go wrong if it were?
# 2. All rewards are 100 times as large, and value_clip stays at 0.2. What does it hold back in a
#    second update on the same rollout?
# 3. Suppose that after the last token we take the critic's own estimate in place of 0. What does
#    the critic learn? (Lesson 10 tries it.)
# 4. Close `ppo.py`, and write its GAE for one completion: `my_gae(rewards, values, gamma,
#    gae_lambda)`, from the last token back. On random numbers, compare it with
#    `ppo.gae(rewards[None], values[None], torch.ones(1, n), gamma, gae_lambda)[0][0]`.
#
# <details><summary>Solutions</summary>
#
# 1. A bad token became likelier by mistake. If it were clipped, it would have no gradient, and
#    nothing would take the mistake back.
# 2. Once a value has moved by 0.2 towards its target, it gets no further gradient from this
#    rollout, with up to 99 still to go. Scale the rewards down, or value_clip up. (With rewards
#    of 100 the policy hardly notices, since its advantages are whitened. But another price in the
#    reward weighs only a hundredth beside them.)
# 3. Its own opinion becomes a part of its target. An error there feeds itself, and nothing ties the
#    values to the real rewards.
# 4. Nothing comes after the last token, so both begin with 0:
#
#        advantage, next_value, advantages = 0.0, 0.0, []
#        for reward, value in zip(rewards.flip(0), values.flip(0)):
#            delta = reward + gamma * next_value - value
#            advantage = delta + gamma * gae_lambda * advantage
#            next_value = value
#            advantages.insert(0, advantage)
#        return torch.stack(advantages)
# </details>
