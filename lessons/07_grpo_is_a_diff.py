# %% [markdown]
# # 7. GRPO is a diff
#
# Question: GRPO drops the critic of lesson 06. What exactly is different, what does that cost, and
# what does it bring?
#
# You need: lessons 05 and 06. Time: about a minute on a laptop's CPU. GRPO has many relatives.
# [Lesson 18](18_the_family.py) is about them.
#
# PPO needs the critic because a reward alone says little: 1 is good on a hard problem, and nothing
# special on an easy one. The critic learns what to expect. GRPO finds it out by trying. It draws a
# group of G completions of the same prompt, and their mean reward is what to expect there.
#
# The completions earn the rewards r_1 .. r_G. Each token of completion i gets the same advantage:
#
#     A_i = (r_i - mean(r)) / (std(r) + eps)                                    arXiv:2402.03300
#
# Here std is the standard deviation of the group's rewards, a measure of their spread: add up the
# squared distances from the mean, divide by G - 1, and take the root. The division gives the
# advantages of all groups the same spread. So a group in which one answer of 16 is right still
# counts beside one in which eight are. (That has a price, which this lesson comes to.) The small
# number eps is 1e-4. It is there because the std is 0 if all rewards are equal, and nothing can be
# divided by 0.
#
# Nearly everything else is PPO. So this lesson reads the two files side by side.

# %%
import dataclasses
import difflib
import inspect
import os
import sys
import time
from pathlib import Path

# Where to find `shared`: in this file's folder or, in a notebook, in the working folder or its lessons/.
FOLDER = Path(globals().get("__file__", "notebook")).resolve().parent
sys.path[:0] = [str(FOLDER), str(FOLDER / "lessons")]

import torch
from shared import label, plot_band, show_figure
from toy import toy_model, toy_world

from minireason import grpo, ppo
from minireason.config import RLConfig
from minireason.optimizer import adamw
from minireason.policy import Critic, completion_logprobs
from minireason.rewards import reasoning_world
from minireason.rollout import collect_rollout
from minireason.run import open_model
from minireason.tasks import parse_prompt
from minireason.tokenizer import get_tokenizer
from minireason.tools.plots import new_figure

FAST = os.environ.get("LESSON_FAST") == "1"
NUM_ITERATIONS = 4 if FAST else 50
SEEDS = range(2 if FAST else 5)

# %% [markdown]
# ## By hand: two groups of four
#
# In the first group two of four completions are right, in the second group one is.
#
# - The rewards 1 0 0 1 have the mean 1/2. Each is 1/2 away from it. So the std is sqrt(4 * 1/4 / 3)
#   = 0.577, and the advantages are 0.5 / 0.577 = 0.866 and -0.866.
# - The rewards 1 0 0 0 have the mean 1/4. The std is sqrt((9/16 + 3 * 1/16) / 3) = 1/2. So the
#   advantages are 0.75 / 0.5 = 1.5 and -0.25 / 0.5 = -0.5.
#
# Two settings change the formula. The first leaves out the division by the std. The second is
# *RLOO* (REINFORCE leave-one-out): it compares a completion with the mean of the others, and does
# not divide either. The reason is that the mean of the whole group contains the completion's own
# reward, and so takes a part of it back.
#
#     rewards    with the std    without the std    RLOO
#     1 0 0 1    +-0.866         +-1/2              +-2/3
#     1 0 0 0    1.5 and -0.5    3/4 and -1/4       1 and -1/3
#
# The next cell asks `group_advantages`, the function of lesson 05, for all of them.

# %%
rewards = torch.tensor([[1.0, 0, 0, 1], [1, 0, 0, 0]])
BY_HAND = [      # (name, settings, advantages)
    ("with the std", {},
     [[0.866, -0.866, -0.866, 0.866], [1.5, -0.5, -0.5, -0.5]]),
    ("without the std", {"scale": False},
     [[0.5, -0.5, -0.5, 0.5], [0.75, -0.25, -0.25, -0.25]]),
    ("RLOO", {"scale": False, "leave_one_out": True},
     [[2 / 3, -2 / 3, -2 / 3, 2 / 3], [1, -1 / 3, -1 / 3, -1 / 3]]),
]
for name, settings, by_hand in BY_HAND:
    advantages = grpo.group_advantages(rewards, **settings)
    print(f"{name:15}" + "".join(f"{advantage:8.3f}" for advantage in advantages.flatten()))
    assert torch.allclose(advantages, torch.tensor(by_hand), atol=1e-3)

# %% [markdown]
# ## The diff
#
# The two files have the same sections in the same order. Four functions have the same name in both,
# and we read three of them line by line. A line with `-` stands only in `ppo.py`. A line with `+`
# stands only in `grpo.py`. All other lines stand in both. The settings `batch_baseline`,
# `kl_in_reward`, `kl_estimator`, `objective` and `entropy_coef` belong to relatives of GRPO (lesson
# 18). Read past them now.
#
# Both know a price on moving far from the start, which the setting `kl_coef` turns on. It is in the
# code that you read next.
#
# The *KL* is a distance between the probabilities of two models, here between the policy and the
# *reference*, a frozen copy of the policy from the start of the stage. It is the mean of log p -
# log p_reference over the tokens that the policy draws. So one token gives an estimate of the KL,
# *k1*: its logprob under the policy, minus its logprob under the reference. The price is kl_coef
# times the KL.
#
# Why should a policy stay near its start? Some judges have learned from examples, and such a judge
# makes mistakes. A policy that moves far finds answers that the judge likes and people do not. An
# exact verifier makes no such mistakes, so the stage `rl` puts no price on the KL.
#
# By hand: let the policy give two tokens 0.2 and 0.8, and the reference 0.1 and 0.9. Then k1 is
# log(0.2 / 0.1) = 0.693 for the first and log(0.8 / 0.9) = -0.118 for the second. Their mean under
# the policy, 0.2 * 0.693 - 0.8 * 0.118 = 0.044, is the KL.
#
# ### From rewards to advantages
#
# Look first at the lines with `-`. Then look at the line `rewards = rollout.rewards` and at the
# last four lines with `+`. Those five are all that GRPO needs. The lines between them begin with
# an `if` that is false by default: each serves a relative of GRPO, and lesson 18 comes to them. P
# prompts have G completions each, so `view` puts the rewards of a prompt in one row:
#
#     advantages = group_advantages(rewards)            (P, G)
#     each token of a completion gets the advantage of the completion
#
# PPO makes a reward for each token, and `gae` turns these into a credit for each token. GRPO
# takes one reward for each completion, and all tokens of the completion share one advantage. So a
# wrong step in a right completion is made more likely as well. GRPO learns right steps all the
# same: a right step is more often in right completions than in wrong ones, and over many groups
# that is what adds up.
#
# <!-- From minireason/ppo.py to minireason/grpo.py: compute_advantages -->
# ```diff
#   @torch.no_grad()
#   def compute_advantages(rollout: Batch, config: RLConfig) -> None:
# -     """Sets rollout.advantages and rollout.returns (B, L): the reward is at the last token, the KL at each."""
# +     """Sets rollout.advantages (B, L): every token gets the advantage of its completion, in equal groups 0."""
#       mask = rollout.completion_mask                                                    # (B, L)
# -     last_token = mask.sum(1).long() - 1                                               # (B,)
# -     token_rewards = torch.zeros_like(rollout.old_logprobs)                            # (B, L)
# -     if config.kl_coef:
# -         token_rewards -= config.kl_coef * k1(rollout.old_logprobs, rollout.ref_logprobs) * mask
# -     token_rewards[torch.arange(len(rollout)), last_token] += rollout.rewards
# -     advantages, returns = gae(token_rewards, rollout.old_values, mask, config.gamma, config.gae_lambda)
# -     rollout.returns = returns                                                         # (B, L)
# -     rollout.advantages = masked_whiten(advantages, mask)                              # (B, L)
# +     rewards = rollout.rewards                                                         # (B,)
# +     if config.batch_baseline:           # REINFORCE++, arXiv:2501.03262: a baseline of all tokens of the batch
# +         rollout.advantages = masked_whiten(token_returns(rollout, config), mask)
# +         return
# +     if config.kl_in_reward:             # what is to come at the first token: the reward less the whole KL
# +         rewards = token_returns(rollout, config)[:, 0]
# +     rewards = rewards.view(-1, config.group_size)                                     # (P, G)
# +     advantages = group_advantages(rewards, config.scale_advantages, leave_one_out=config.leave_one_out)
# +     advantages = advantages.masked_fill(have_equal_rewards(rewards, config.group_size)[:, None], 0.0)
# +     rollout.advantages = advantages.view(-1, 1) * mask                                # (B, L)
# ```
# <!-- End of excerpt -->
#
# PPO *whitens* its advantages: it subtracts the mean of the whole batch, and divides by the std of
# the whole batch. If rewards and values are all 100 times as large, the advantages stay the same.
# In GRPO the division by the std does the same, inside each group.
#
# ### The loss
#
# Look at the policy term in the middle: it is the same in both, line by line. So the ratio and the
# clip of lesson 06 are GRPO's too. Below it, one term takes the place of another. PPO has the loss
# of its critic. GRPO has the KL.
#
# <!-- From minireason/ppo.py to minireason/grpo.py: compute_loss -->
# ```diff
# - def compute_loss(logprobs: torch.Tensor, old_logprobs: torch.Tensor,
# + def compute_loss(logprobs: torch.Tensor, old_logprobs: torch.Tensor, ref_logprobs: torch.Tensor | None,
#                    advantages: torch.Tensor,
# -                  values: torch.Tensor, old_values: torch.Tensor, returns: torch.Tensor,
#                    completion_mask: torch.Tensor, config: RLConfig, num_tokens: float | None = None,
# -                  weight_sum: float | None = None,
# +                  weight_sum: float | None = None, kl_estimator: str = "k3",
#                    objective: str = "clip") -> tuple[torch.Tensor, dict[str, float]]:
# -     """Clipped surrogate plus the clipped value loss, summed over tokens, over num_tokens.
# +     """Clipped surrogate plus the KL to the reference, summed over tokens, over num_tokens.
#
#       All tensors (B, L). `completion_mask` is 0/1, or what each token counts (`batch.weigh_tokens`), of any
#       dtype. Anything finite may stand where it is 0. `num_tokens` is what the sum is divided by: by default the
#       sum of the mask. Where the batch is one of several micro-batches, it is the number of the whole step, so
#       that their losses add up. The logged means over tokens are divided by `weight_sum`, by default num_tokens.
#       `objective` "gspo" gives a completion one ratio (arXiv:2507.18071); "cispo" makes the clipped ratio a
#       constant weight of the gradient (arXiv:2506.13585).
# +     `ref_logprobs` may be None where kl_coef is 0. `kl_estimator` is "" where the rewards hold the KL already.
#       Of `config` it reads the bounds of clipping and the coefficients alone. Variants are arguments, so that
#       without them this is the plain loss.
#       Returns (loss, metrics).
#       """
#       mask = completion_mask.to(logprobs.dtype)                                         # (B, L)
#       if num_tokens is None:
#           num_tokens = mask.sum()
#       if weight_sum is None:
#           weight_sum = num_tokens
#
#       # policy term
#       log_ratio = (logprobs - old_logprobs).masked_fill(mask == 0, 0.0)                 # (B, L)
#       if objective == "gspo":
#           log_ratio = sequence_log_ratio(log_ratio, mask)
#       ratio = log_ratio.exp()
#       clipped = ratio.clamp(1 - config.clip_low, 1 + config.clip_high)
#       surrogate = torch.min(ratio * advantages, clipped * advantages)                   # (B, L), to maximise
#       if objective == "cispo":
#           surrogate = clipped.detach() * advantages * log_ratio       # a clipped token keeps its gradient
#       policy_loss = -(surrogate * mask).sum() / num_tokens
#
# -     # value term: the critic regresses on the returns, in small steps from its estimate at the rollout
# -     values_clipped = old_values + (values - old_values).clamp(-config.value_clip, config.value_clip)
# -     error = (values - returns).masked_fill(mask == 0, 0.0)                            # (B, L)
# -     error_clipped = (values_clipped - returns).masked_fill(mask == 0, 0.0)            # (B, L)
# -     value_loss = 0.5 * (torch.max(error ** 2, error_clipped ** 2) * mask).sum() / num_tokens
# +     # KL term: keeps the policy near the reference
# +     kl_loss = torch.zeros_like(policy_loss)
# +     if config.kl_coef and kl_estimator:
# +         # behind the end both are made equal: exp of a large difference would be infinite, and inf * 0 is NaN
# +         kl = estimate_kl(kl_estimator, logprobs, ref_logprobs.where(mask != 0, logprobs))      # (B, L)
# +         kl_loss = (kl * mask).sum() / num_tokens
#
# -     loss = policy_loss + config.value_coef * value_loss
# +     loss = policy_loss + config.kl_coef * kl_loss
#       metrics = {
#           "policy_loss": policy_loss.item(),
# -         "value_loss": value_loss.item(),
# +         "kl_loss": kl_loss.item(),
#           # KL(p_old || p), estimated by k3: how far this rollout's updates have moved p; 0 before the first
#           "approx_kl": ((ratio - 1 - log_ratio) * mask).sum().item() / float(weight_sum),
#           "clip_frac": ((ratio != clipped) * mask).sum().item() / float(weight_sum),
#       }
#       return loss, metrics
# ```
# <!-- End of excerpt -->
#
# PPO takes the KL off the reward of each token. GRPO adds it to the loss. The two need different
# estimates:
#
# - In the reward the estimate is a number. It becomes a part of the advantage, and the advantage
#   multiplies grad log p. So a token with a high k1 gets a lower advantage, and becomes less
#   likely. For that only the *value* counts, and that of k1 is right on average.
# - In a loss only its *gradient* counts. The gradient of k1 is grad log p, since log p_reference is
#   a constant. The mean of grad log p over what the policy draws is 0 (lesson 05). So k1 would pull
#   nowhere.
# - So GRPO takes *k3*, which is x - 1 - log x with x = p_reference / p. (So log x is -k1.) For the
#   first token above x is 0.1 / 0.2 = 0.5, and k3 is 0.5 - 1 + 0.693 = 0.193. For the second it is
#   0.007. Their mean under the policy, 0.2 * 0.193 + 0.8 * 0.007 = 0.044, is the KL again: k3 is
#   right on average, too. And it is never negative.
#
# In the trainings of this lesson kl_coef is 0, as in the stage `rl`. Lesson 15, whose judge has
# learned, needs the KL.
#
# ### The training loop
#
# Look at the lines with `-`: nearly all are work for the critic. It estimates values for the whole
# rollout before the advantages are computed. In each update it estimates them again, now with a
# gradient. And the length of its gradient is limited separately, so that a large error of the
# critic does not shorten the step of the policy.
#
# The setting `critic_warmup` is a number of rollouts at the start. During these the learning rate
# of the policy is 0, so the critic learns alone. The reason is that a fresh critic knows nothing
# yet, and its baseline is of little use. By default the setting is 0. A `SharedCritic` is a critic
# that is one more output of the policy (lesson 08).
#
# `weigh_tokens` returns three things: how much each token counts in the loss, by what the loss is
# divided, and by what the curves are divided. Here they are 1, the number of all tokens, and the
# same number. (The setting `normalize` changes them, below.)
#
# <!-- From minireason/ppo.py to minireason/grpo.py: train -->
# ```diff
# - def train(policy: GPT, critic: Critic | SharedCritic,
# + def train(policy: GPT,
#             reference: GPT | None, optimizer: torch.optim.Optimizer, world: World, config: RLConfig, seed: int,
#             start_iteration: int = 0) -> Iterator[dict[str, float]]:
#       """Yields one dict of metrics per iteration; the caller logs, evaluates and saves."""
# -     def values_at_rollout(micro_batch: Batch) -> torch.Tensor:
# -         if isinstance(critic, SharedCritic):
# -             return critic(micro_batch, completion_hidden(policy, micro_batch))
# -         return critic(micro_batch)
# -
# +     kl_estimator = "" if config.kl_in_reward else config.kl_estimator    # "": the rewards hold the KL already
#       for iteration in range(start_iteration, config.num_iterations):
#           # 1) collect: sample completions and score them
#           rollout = collect_rollout(policy, reference, world, config, seed, iteration)
# -         rollout.old_values = by_micro_batch(rollout, config, values_at_rollout)
#
#           # 2) credit: turn rewards into advantages
#           compute_advantages(rollout, config)
#           batch = rows_with_signal(rollout, config)
#           batch.loss_weights, num_tokens, weight_sum = weigh_tokens(batch.completion_mask, config, len(rollout))
#
#           # 3) update: each epoch is one step of the optimizer on the whole rollout. Usual PPO takes a step for
#           # each of several minibatches; here micro-batches only save memory, and their gradients are added.
#           set_learning_rate(optimizer, iteration, config.num_iterations, config.warmup_iterations,
#                             config.learning_rate)
# -         if iteration < config.critic_warmup:         # at first the critic learns alone: it knows nothing yet
# -             optimizer.param_groups[0]["lr"] = 0.0    # the first group is the policy, the second the critic
#           history = []
#           num_epochs = config.num_epochs if weight_sum else 0      # nothing to learn from: no step
#           for _ in range(num_epochs):
#               optimizer.zero_grad(set_to_none=True)
#               pieces = []
#               for micro_batch in batch.micro_batches(config.micro_batch_size):
#                   weights = micro_batch.loss_weights                                    # (B, L)
# -                 hidden = completion_hidden(policy, micro_batch)                       # (B, L, C)
# -                 logprobs, entropy = completion_logprobs(policy, micro_batch, config.temperature, hidden,
# +                 logprobs, entropy = completion_logprobs(policy, micro_batch, config.temperature,
#                                                           entropy_gradient=config.entropy_coef > 0)
# -                 values = critic(micro_batch, hidden)                                  # (B, L)
# -                 loss, metrics = compute_loss(logprobs, micro_batch.old_logprobs,
# +                 loss, metrics = compute_loss(logprobs, micro_batch.old_logprobs, micro_batch.ref_logprobs,
#                                                micro_batch.advantages,
# -                                              values, micro_batch.old_values, micro_batch.returns,
# -                                              weights, config, num_tokens, weight_sum,
# +                                              weights, config, num_tokens, weight_sum, kl_estimator,
#                                                objective=config.objective)
#                   if config.entropy_coef:
#                       loss = loss - config.entropy_coef * (entropy * weights).sum() / weight_sum
#                   loss.backward()
#                   metrics["entropy"] = (entropy * weights).sum().item() / weight_sum
#                   pieces.append(metrics)
# -             parallel.add_gradients(policy, critic)
# +             parallel.add_gradients(policy)
#               grad_norm = torch.nn.utils.clip_grad_norm_(policy.parameters(), config.max_grad_norm)
# -             torch.nn.utils.clip_grad_norm_(critic.parameters(), config.max_grad_norm)
#               optimizer.step()
#               history.append({"grad_norm": grad_norm.item(), **parallel.add_up(pieces)})
#
#           # 4) report
#           yield {"iteration": iteration, **rollout.summary(config.group_size), **mean_of(history)}
# ```
# <!-- End of excerpt -->
#
# The fourth function is short enough to say in words. `rows_with_signal` selects the completions
# to learn from. PPO takes all, because its critic learns from each: if a whole group earns 0, the
# critic learns to expect less. GRPO leaves out each group whose rewards are all equal: its
# advantages are all 0, so it has no gradient. (A completion that earned exactly the mean of its
# group goes, too: its advantage is 0.) With a KL in the loss such a group has a gradient, so then
# GRPO takes all, too.
#
# How much of the two files is the same? The next cell compares all their lines, comments included.

# %%
ppo_lines = inspect.getsource(ppo).splitlines()
grpo_lines = inspect.getsource(grpo).splitlines()
share = difflib.SequenceMatcher(None, ppo_lines, grpo_lines, autojunk=False).ratio()
print(f"ppo.py has {len(ppo_lines)} lines, grpo.py has {len(grpo_lines)}. "
      f"{share:.0%} of them are equal")

# %% [markdown]
# ## Four differences
#
# The rest is details. Four differences make two algorithms:
#
# | difference | PPO | GRPO |
# |---|---|---|
# | the baseline | the critic's value | the mean of the group |
# | the spread of credit | each token has its own | all tokens of a completion share one |
# | where the KL goes | into the rewards | into the loss |
# | the value loss | is added | there is no critic |
#
# In our presets lambda and gamma are 1. Then PPO's advantage of a token is the final reward minus
# the critic's value of that token (lesson 06). So all tokens get the same final reward in PPO, too.
# Only what is subtracted differs: PPO's baseline changes from token to token, and GRPO's does not.
# With a lambda below 1 credit is less noisy, but a wrong critic then gives wrong credit.
#
# The next cell looks up the line of each difference, so it shows today's files.

# %%
DIFFERENCES = {      # name: (the line in ppo.py, the line in grpo.py)
    "the baseline": (
        "delta = token_rewards[:, t] + gamma * next_value - values[:, t]",
        "advantages = rewards - rewards.mean(1, keepdim=True)"),
    "the spread of credit": (
        "advantages[:, t] = (delta + gamma * gae_lambda * next_advantage) * mask[:, t]",
        "rollout.advantages = advantages.view(-1, 1) * mask"),
    "where the KL goes": (
        "token_rewards -= config.kl_coef * k1(rollout.old_logprobs, rollout.ref_logprobs) * mask",
        "loss = policy_loss + config.kl_coef * kl_loss"),
    "the value loss": (
        "loss = policy_loss + config.value_coef * value_loss",
        None),
}


def print_line(file, line, source, other):
    """Prints where the line stands in `source`. It stands there once, and not in `other`."""
    if line is None:
        print(f"    {file:7} {'':>3}  (none)")
        return
    code = [text.split("   #")[0].strip() for text in source]      # without the comments
    assert code.count(line) == 1
    assert not any(text.strip().startswith(line) for text in other)
    print(f"    {file:7} {code.index(line) + 1:>3}  {line}")


for name, (ppo_line, grpo_line) in DIFFERENCES.items():
    print(f"{name}:")
    print_line("ppo.py", ppo_line, ppo_lines, grpo_lines)
    print_line("grpo.py", grpo_line, grpo_lines, ppo_lines)

# %% [markdown]
# ## One real group, one step
#
# The included model after its cold start writes eight completions for `make 45 from 3 6 8`. GRPO
# makes a single step with them, at the rate of the preset's first step. *Before* is the probability
# of the whole completion. The *factor* behind it says by how much the step changed it: 2 is twice
# as likely.

# %%
tokenizer, problem = get_tokenizer(), parse_prompt("make 45 from 3 6 8")
world = dataclasses.replace(reasoning_world(tokenizer, {}, {}), draw=lambda rng: problem)
config = RLConfig(num_prompts=1, group_size=8, learning_rate=6e-5)
model = open_model("pretrained", "cold-start")[0].train()
group = collect_rollout(model, None, world, config, seed=0, iteration=0)
texts = group.completions
grpo.compute_advantages(group, config)

optimizer = adamw(config, model)
group = group.select(torch.arange(8))      # a copy, as what `generate` returns takes no gradient
logprobs, _ = completion_logprobs(model, group)                                     # (8, L)
loss, _ = grpo.compute_loss(logprobs, group.old_logprobs, None, group.advantages,
                            group.completion_mask, config)
loss.backward()
optimizer.step()

after = completion_logprobs(model, group)[0]                                        # (8, L)
change = ((after - logprobs).detach() * group.completion_mask).sum(1).exp()         # (8,)
before = (logprobs.detach() * group.completion_mask).sum(1).exp()                   # (8,)
print("reward  advantage   before       factor  end of the completion")
for i, text in enumerate(texts):
    print(f"{group.rewards[i]:6.0f}{group.advantages[i, 0]:11.2f}{before[i]:9.0e}{change[i]:13.2g}"
          f"  {text[-46:]}")
print("The third and the fourth in full:")
print(texts[2])
print(texts[3])

# %% [markdown]
# Four are right and four are wrong, so the advantages are +0.94 and -0.94. All wrong completions
# become less likely. Two of the right ones become likelier: those that were the least likely
# before. A token that is nearly certain can hardly gain, and a rare one can gain much. The other
# two right ones lose a little. All tokens share the weights, and the wrong completions hold some
# of the same moves: the two that are printed in full, one right and one wrong, both try d, e and
# f. Making these moves less likely also hits the right ones. Over many groups such side effects
# average out. (`python -m minireason.inspector "make 45 from 3 6 8"` shows such numbers token by
# token. It lets the cold start write, and asks the model after RL. So its `ratio` and `kl` span
# the whole of RL, and `c` marks tokens that the clip would stop if all of it were one update. In
# RL itself, with one update for each rollout, none is clipped. Of a run of PPO it also shows
# `value`, what the critic says at the end of the stage.)

# %% [markdown]
# ## Both, from the same weights, on as many samples
#
# The world is the toy world of lesson 05: after a 1 a completion with a 3 is right, after a 2 one
# without a 3. We train four *arms*, as the variants of an experiment are called. The last two are
# GRPO with the settings from above: without the std, which is *Dr. GRPO* (GRPO done right), and
# RLOO. Dr. GRPO also divides the loss by another number.
#
# By what is the sum over all tokens of a step divided? There are three ways:
#
# - `token`, our default: by the number of tokens in all completions whose advantage is not 0.
# - `sequence`, as in the paper on GRPO: each completion by its own length, and the sum by the
#   number of completions (here again of those whose advantage is not 0; the paper counts all).
# - `constant`, as in Dr. GRPO: by the number of completions times the most tokens that one may
#   have.
#
# By hand: a right completion of 10 tokens has the advantage 1, a wrong one of 40 tokens has -1, and
# 208 tokens are allowed. The ratio is 1. How much does a token weigh, and what is `policy_loss`?
#
#     normalize    a token of the first    of the second    policy_loss
#     token        1/50                    1/50             -(10 - 40) / 50  = 0.6    (default)
#     sequence     1/(2 * 10)              1/(2 * 40)       -(1 - 1) / 2     = 0
#     constant     1/(2 * 208)             1/(2 * 208)      -(10 - 40) / 416 = 0.072  (Dr. GRPO)
#
# With `sequence` a token of the long wrong completion weighs a quarter of one of the short right
# completion. This is the *length bias*: a wrong completion loses less for each token the longer it
# is, and a right one gains more for each token the shorter it is. So wrong completions may grow
# longer than they would, and right ones shorter. A constant ends that: all tokens are divided by
# one number, whatever the length of their completion. An average by token does so too. So the
# constant of Dr. GRPO changes little for us: our default has no length bias either. (This lesson
# does not measure lengths. In longer runs thoughts grew as much with each of these losses:
# [C12](results/C12.md#longer).)
#
# The comparison is fair in this sense: with the same seed, all four start from the same weights and
# see the same prompts. So their first 64 completions are the same too. Each rollout gets two
# updates.


# %%
def reward(prompt, text):
    return float(("3" in text) == (prompt == "1"))


world = toy_world(prompts="12", reward=reward)
ARMS = {
    "ppo": {},
    "grpo": {},
    "grpo, no std (Dr. GRPO)": {"scale_advantages": False, "normalize": "constant"},
    "grpo, RLOO": {"scale_advantages": False, "leave_one_out": True},
}


def train(name, seed, num_iterations=NUM_ITERATIONS):
    """[(reward, seconds that the CPU has worked so far)] of each iteration."""
    config = RLConfig(num_iterations=num_iterations, num_prompts=8, group_size=8, max_new_tokens=8,
                      num_epochs=2, learning_rate=3e-3, critic_learning_rate=3e-3,
                      warmup_iterations=1, **ARMS[name])
    policy = toy_model(seed)
    if name == "ppo":
        critic = Critic(policy)
        both = [{"params": policy.parameters()}, {"params": critic.parameters()}]
        optimizer = torch.optim.AdamW(both)
        lines = ppo.train(policy, critic, None, optimizer, world, config, seed)
    else:
        optimizer = torch.optim.AdamW(policy.parameters())
        lines = grpo.train(policy, None, optimizer, world, config, seed)
    start = time.process_time()
    return [(line["reward"], time.process_time() - start) for line in lines]


# %% [markdown]
# Each arm trains once with each seed. Before that, each trains for two iterations that do not
# count, because the first calls of torch are slow.

# %%
for name in ARMS:
    train(name, 0, 2)
curves = {}      # {arm: (seeds, iterations, 2)}
for name in ARMS:
    curves[name] = torch.tensor([train(name, seed) for seed in SEEDS])
for curve in curves.values():
    assert torch.equal(curve[:, 0, 0], curves["ppo"][:, 0, 0])      # the first rollout is the same

ppo_means = curves["ppo"][..., 0].mean(1)      # (seeds,): the mean reward of each training
for name, curve in curves.items():
    means, seconds = curve[..., 0].mean(1), curve[..., 1].mean(0)
    print(f"{name:24} mean reward {means.mean():.3f} ({means.min():.3f} to {means.max():.3f}), "
          f"above ppo in {(means > ppo_means).sum()} of {len(SEEDS)} seeds")
    first = seconds[:10]
    print(f"{'':24} {seconds[-1]:.2f} CPU seconds, "
          f"{first[-1]:.2f} in the first {len(first)} iterations")

# %% [markdown]
# ## The trap: the division by the std changes the goal
#
# Why does Dr. GRPO leave out the std? Let a share p of a group be right. Without the division, the
# G p right completions have the advantage 1 - p, and the G (1 - p) wrong ones have -p. A right
# completion is made more likely, and a wrong one less likely. Both raise p. So the sizes of all
# advantages add up, and their sum says how hard the group pulls:
#
#     without the std    G p (1 - p) + G (1 - p) p = 2 G p (1 - p)
#     with the std       about 2 G sqrt(p (1 - p)), because the std is about sqrt(p (1 - p))
#
# With the std the pull falls more slowly towards both ends. So hard prompts (p near 0) and easy
# prompts (p near 1) count more than without the division, though still less than middle ones.
#
# Which of the two is the gradient of the mean reward? Let the policy have a single logit z, so p =
# sigmoid(z). The mean reward is p, and its slope over z is p (1 - p). The pull without the std is
# this slope, times a constant. So steps without the std climb the mean reward. The pull with the
# std is about sqrt(p (1 - p)), times a constant. That is the slope of another function. (Exercise 2
# asks for it.) So steps with the std climb that one. The next cell takes groups of 16 with 1 to 15
# right completions.

# %%
num_right = torch.arange(1, 16)
groups = (torch.arange(16) < num_right[:, None]).float()      # (15, 16), a row for each group
pulls = {}      # {name: (15,)}: that of a group with 8 right is 1
for name, scale in (("with the std", True), ("without the std", False)):
    pull = grpo.group_advantages(groups, scale=scale).abs().sum(1)
    pulls[name] = pull / pull[7]
    print(f"{name:15}: a group with 1 of 16 right pulls {pulls[name][0]:.2f} times as hard "
          "as one with 8 of 16")

# %% [markdown]
# ## The figure: `07_grpo_is_a_diff`
#
# Left: the reward of PPO and of GRPO over the number of completions. Look whether the bands
# overlap; each goes from the lowest seed to the highest. Middle: the same rewards over the time
# that the CPU worked; a thin line is a seed. Look which curve ends first. Right: how hard a group
# pulls. Look at both ends, where prompts are hard or easy.

# %%
figure, axes = new_figure(1, 3, figsize=(9, 3.4))
completions = [64 * (iteration + 1) for iteration in range(NUM_ITERATIONS)]
for name, color in (("ppo", "#d1495b"), ("grpo", "#1b6ca8")):
    rewards, seconds = curves[name].unbind(2)      # both (seeds, iterations)
    intervals = torch.stack([rewards.mean(0), rewards.amin(0), rewards.amax(0)], 1).tolist()
    plot_band(axes[0], completions, intervals, color, name.upper())
    axes[1].plot(seconds.T, rewards.T, color=color, alpha=0.25, lw=0.8)
    axes[1].plot(seconds.mean(0), rewards.mean(0), color=color, label=name.upper())
for (name, pull), color in zip(pulls.items(), ("#1b6ca8", "#5a9a5a")):
    axes[2].plot(num_right, pull, "o-", ms=3, color=color, label=name)
for axis in axes:
    axis.set_ylim(0, 1.05)
for axis in axes[:2]:
    axis.set_xlim(left=0)
axes[2].set_xticks([1, 4, 8, 12, 15])
label(axes[0], f"as many completions, {len(SEEDS)} seeds", "completions", "mean reward")
label(axes[1], "the same, by time", "CPU seconds", "mean reward")
label(axes[2], "pull of a group of 16", "right completions of 16", "pull (8 right = 1)")
show_figure(figure, "07_grpo_is_a_diff")

# %% [markdown]
# ## What to see
#
# - Left: over the number of completions, PPO and GRPO do not separate. The bands of 5 seeds overlap
#   nearly everywhere, and the means are 0.889 and 0.893.
# - Middle: over time they do separate. In the first ten iterations, PPO takes about twice as long
#   as GRPO, because it runs two networks. In the whole training it takes between three and four
#   times as long. The reason is that GRPO leaves out groups whose rewards are all equal, and once
#   the reward is near 1, most groups are such. The times are those of the computer that made this
#   page.
# - The printed lines: without the std, and with RLOO, the mean rewards are 0.893 and 0.897. Their
#   ranges overlap with those of the others, so 5 seeds show no difference here.
# - Right: without the division a group with 1 or 15 right completions pulls 0.23 times as hard as
#   one with 8 right, and with the division 0.48 times. So the division gives more weight to hard
#   and easy prompts, and its goal is not the mean reward.
#
# ## What it does not show
#
# - Prompts of unequal difficulty, long completions, and a KL, which is off here.
# - Learning rates that are tuned for each arm: all have 3e-3. In [a larger
#   comparison](results/C5.md) PPO and GRPO had 17 trials each. There the learning rate decided more
#   than the algorithm: from 5e-5 to 2e-4 nearly all trials of both lie within three points, and
#   higher rates harm both ([picture](results/tuning.png), [numbers](results/tuning.json)).
# - Where a critic is worth its price. One would think: where a problem has only one completion,
#   and so no group. In [short runs](results/C5.md#where-a-critic-should-pay) PPO was ahead by 0.8
#   points there [-0.1, 1.7]. But with eight completions it was ahead by 1.2 [0.1, 2.0], and it
#   took several times as long. In the same comparison we measured how well each baseline foresees
#   the reward. The mean of seven other answers explains 31% of the spread of the rewards, at
#   every token. PPO's critic (in its tuned setting) explains 6% at the first token, and more than
#   the group only in the last tenth of an answer, on average. So over most of an answer the group
#   is the better baseline ([the results](results/C5.md)).
#
# ## Exercises
#
# 1. A group of 2 has one right completion. What are its advantages with and without the std? And if
#    both are right?
# 2. Dividing by sqrt(p (1 - p)) gives the gradient of another function of p than p itself. Which
#    function? (Look for an f with f'(p) = 1 / sqrt(p (1 - p)).)
# 3. PPO whitens its advantages over the whole batch. Why is that not the same as dividing in each
#    group?
# 4. Close `grpo.py`, and write its loss: `my_loss(logprobs, old_logprobs, advantages, mask)`. It
#    takes the ratio, the ratio cut off at 0.8 and 1.28, the smaller of their two products with the
#    advantage, and minus its mean over the tokens. On random tensors, compare it with
#    `grpo.compute_loss(logprobs, old_logprobs, None, advantages, mask, RLConfig())[0]`.
#
# <details><summary>Solutions</summary>
#
# 1. With the std they are +-0.707, without it +-1/2. If both are right, all advantages are 0: the
#    group costs samples and teaches nothing.
# 2. It is 2 arcsin(sqrt(p)). Its derivative is 1 / sqrt(p (1 - p)), which is steep at both ends.
# 3. Whitening divides all prompts by one number. So it does not change how much one prompt counts
#    beside another.
# 4. Three lines:
#
#        ratio = (logprobs - old_logprobs).exp()
#        smaller = torch.min(ratio * advantages, ratio.clamp(0.8, 1.28) * advantages)
#        return -(smaller * mask).sum() / mask.sum()
# </details>
