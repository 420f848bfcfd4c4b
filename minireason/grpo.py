"""Group Relative Policy Optimization: the group of completions is its own baseline.

    A_t   = (r_i - mean(r_group)) / (std(r_group) + eps), for each token of completion i   arXiv:2402.03300
    rho_t = p(token_t) / p_old(token_t), where p_old is the policy that sampled
    loss  = -sum_t min(rho_t A_t, clip(rho_t, 1 - clip_low, 1 + clip_high) A_t) / num_tokens
            + kl_coef * sum_t k3_t / num_tokens
    k3_t  = x - 1 - log x with x = p_ref(token_t) / p(token_t): it estimates the KL to the reference

num_tokens is the number of tokens that are summed over; batch.weigh_tokens has two other divisors.
A completion whose reward is its group's mean has the advantage 0, so no gradient without a KL or an entropy
bonus. It is left out (`rows_with_signal`), and num_tokens does not count it; the papers count it.
With one update of each rollout, as RL has in the preset laptop, p is still p_old: rho_t is 1, and nothing is
clipped. The gradient is then that of -A_t log p(token_t).
Its kin, such as GSPO, CISPO, DAPO and REINFORCE++, are settings: lesson 18 shows what each changes.
Read ppo.py and grpo.py side by side: same sections, order and names; lines are broken where they differ.
What `parallel` does matters to runs of several processes alone.
Shapes: P prompts, G group_size, B = P*G completions, L completion length.
"""

from collections.abc import Iterator

import torch

from minireason.batch import Batch, have_equal_rewards, weigh_tokens
from minireason.config import RLConfig
from minireason.model import GPT
from minireason.optimizer import set_learning_rate
from minireason.policy import completion_logprobs
from minireason.rewards import World
from minireason.rollout import collect_rollout
from minireason.token_math import estimate_kl, masked_whiten, mean_of, sequence_log_ratio
from minireason.upkeep import parallel

# -----------------------------------------------------------------------------
# Advantages

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


@torch.no_grad()
def compute_advantages(rollout: Batch, config: RLConfig) -> None:
    """Sets rollout.advantages (B, L): every token gets the advantage of its completion, in equal groups 0."""
    mask = rollout.completion_mask                                                    # (B, L)
    rewards = rollout.rewards                                                         # (B,)
    if config.batch_baseline:           # REINFORCE++, arXiv:2501.03262: a baseline of all tokens of the batch
        rollout.advantages = masked_whiten(token_returns(rollout, config), mask)
        return
    if config.kl_in_reward:             # what is to come at the first token: the reward less the whole KL
        rewards = token_returns(rollout, config)[:, 0]
    rewards = rewards.view(-1, config.group_size)                                     # (P, G)
    advantages = group_advantages(rewards, config.scale_advantages, leave_one_out=config.leave_one_out)
    advantages = advantages.masked_fill(have_equal_rewards(rewards, config.group_size)[:, None], 0.0)
    rollout.advantages = advantages.view(-1, 1) * mask                                # (B, L)


def token_returns(rollout: Batch, config: RLConfig) -> torch.Tensor:
    """What is still to come at each token (B, L): the reward, less the KL from this token to the last."""
    mask = rollout.completion_mask                                                    # (B, L)
    returns = rollout.rewards[:, None] * mask
    if config.kl_in_reward and config.kl_coef:
        kl = estimate_kl(config.kl_estimator, rollout.old_logprobs, rollout.ref_logprobs) * mask
        returns = returns - config.kl_coef * kl.flip(1).cumsum(1).flip(1)
    return returns


def rows_with_signal(rollout: Batch, config: RLConfig) -> Batch:
    """The rows with a gradient: with a KL or an entropy bonus all rows, and then all count in num_tokens."""
    if config.kl_coef or config.entropy_coef:
        return rollout
    return rollout.select(rollout.advantages.any(1))


# -----------------------------------------------------------------------------
# Loss

def compute_loss(logprobs: torch.Tensor, old_logprobs: torch.Tensor, ref_logprobs: torch.Tensor | None,
                 advantages: torch.Tensor,
                 completion_mask: torch.Tensor, config: RLConfig, num_tokens: float | None = None,
                 weight_sum: float | None = None, kl_estimator: str = "k3",
                 objective: str = "clip") -> tuple[torch.Tensor, dict[str, float]]:
    """Clipped surrogate plus the KL to the reference, summed over tokens, over num_tokens.

    All tensors (B, L). `completion_mask` is 0/1, or what each token counts (`batch.weigh_tokens`), of any
    dtype. Anything finite may stand where it is 0. `num_tokens` is what the sum is divided by: by default the
    sum of the mask. Where the batch is one of several micro-batches, it is the number of the whole step, so
    that their losses add up. The logged means over tokens are divided by `weight_sum`, by default num_tokens.
    `objective` "gspo" gives a completion one ratio (arXiv:2507.18071); "cispo" makes the clipped ratio a
    constant weight of the gradient (arXiv:2506.13585).
    `ref_logprobs` may be None where kl_coef is 0. `kl_estimator` is "" where the rewards hold the KL already.
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

    # KL term: keeps the policy near the reference
    kl_loss = torch.zeros_like(policy_loss)
    if config.kl_coef and kl_estimator:
        # behind the end both are made equal: exp of a large difference would be infinite, and inf * 0 is NaN
        kl = estimate_kl(kl_estimator, logprobs, ref_logprobs.where(mask != 0, logprobs))      # (B, L)
        kl_loss = (kl * mask).sum() / num_tokens

    loss = policy_loss + config.kl_coef * kl_loss
    metrics = {
        "policy_loss": policy_loss.item(),
        "kl_loss": kl_loss.item(),
        # KL(p_old || p), estimated by k3: how far this rollout's updates have moved p; 0 before the first
        "approx_kl": ((ratio - 1 - log_ratio) * mask).sum().item() / float(weight_sum),
        "clip_frac": ((ratio != clipped) * mask).sum().item() / float(weight_sum),
    }
    return loss, metrics


# -----------------------------------------------------------------------------
# Training loop

def train(policy: GPT,
          reference: GPT | None, optimizer: torch.optim.Optimizer, world: World, config: RLConfig, seed: int,
          start_iteration: int = 0) -> Iterator[dict[str, float]]:
    """Yields one dict of metrics per iteration; the caller logs, evaluates and saves."""
    kl_estimator = "" if config.kl_in_reward else config.kl_estimator    # "": the rewards hold the KL already
    for iteration in range(start_iteration, config.num_iterations):
        # 1) collect: sample completions and score them
        rollout = collect_rollout(policy, reference, world, config, seed, iteration)

        # 2) credit: turn rewards into advantages
        compute_advantages(rollout, config)
        batch = rows_with_signal(rollout, config)
        batch.loss_weights, num_tokens, weight_sum = weigh_tokens(batch.completion_mask, config, len(rollout))

        # 3) update: each epoch is one step of the optimizer on the whole rollout. Usual PPO takes a step for
        # each of several minibatches; here micro-batches only save memory, and their gradients are added.
        set_learning_rate(optimizer, iteration, config.num_iterations, config.warmup_iterations,
                          config.learning_rate)
        history = []
        num_epochs = config.num_epochs if weight_sum else 0      # nothing to learn from: no step
        for _ in range(num_epochs):
            optimizer.zero_grad(set_to_none=True)
            pieces = []
            for micro_batch in batch.micro_batches(config.micro_batch_size):
                weights = micro_batch.loss_weights                                    # (B, L)
                logprobs, entropy = completion_logprobs(policy, micro_batch, config.temperature,
                                                        entropy_gradient=config.entropy_coef > 0)
                loss, metrics = compute_loss(logprobs, micro_batch.old_logprobs, micro_batch.ref_logprobs,
                                             micro_batch.advantages,
                                             weights, config, num_tokens, weight_sum, kl_estimator,
                                             objective=config.objective)
                if config.entropy_coef:
                    loss = loss - config.entropy_coef * (entropy * weights).sum() / weight_sum
                loss.backward()
                metrics["entropy"] = (entropy * weights).sum().item() / weight_sum
                pieces.append(metrics)
            parallel.add_gradients(policy)
            grad_norm = torch.nn.utils.clip_grad_norm_(policy.parameters(), config.max_grad_norm)
            optimizer.step()
            history.append({"grad_norm": grad_norm.item(), **parallel.add_up(pieces)})

        # 4) report
        yield {"iteration": iteration, **rollout.summary(config.group_size), **mean_of(history)}
