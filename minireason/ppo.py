"""Proximal Policy Optimization: a learned critic is the baseline.

    r_t   = -kl_coef * k1_t, and the reward of the completion on top at its last token
    delta_t = r_t + gamma V_{t+1} - V_t,   A_t = sum_k (gamma lambda)^k delta_{t+k}     arXiv:1506.02438 (GAE)
    rho_t = p(token_t) / p_old(token_t)
    loss  = -sum_t min(rho_t A_t, clip(rho_t, 1 - clip_low, 1 + clip_high) A_t) / num_tokens
            + value_coef * sum_t max((V_t - R_t)^2, (Vclip_t - R_t)^2) / 2 / num_tokens   arXiv:1707.06347

Read side by side with grpo.py: same sections, same order, same names; lines are broken where the two differ.
Shapes: P prompts, G group_size, B = P*G completions, L completion length.
"""

from collections.abc import Iterator

import torch

from minireason.upkeep import parallel
from minireason.config import RLConfig
from minireason.model import GPT
from minireason.policy import Critic, completion_hidden, completion_logprobs, completion_values
from minireason.rewards import World
from minireason.rollout import Rollout, by_micro_batch, collect_rollout, learning_rate_at, loss_weights
from minireason.stats import k1, masked_whiten, mean_of

# -----------------------------------------------------------------------------
# Advantages

def gae(token_rewards: torch.Tensor, values: torch.Tensor, completion_mask: torch.Tensor, gamma: float,
        gae_lambda: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Generalized advantage estimation over (B, L). Past the last token nothing is to come: no bootstrap.

    Returns (advantages (B, L), returns (B, L)), both 0 beyond the mask.
    """
    mask = completion_mask.to(values.dtype)                                           # (B, L)
    token_rewards, values = (x.masked_fill(mask == 0, 0.0) for x in (token_rewards, values))
    advantages, running = torch.zeros_like(values), torch.zeros_like(values[:, 0])    # (B, L), (B,)
    next_value = torch.zeros_like(running)
    for t in reversed(range(values.size(1))):
        delta = token_rewards[:, t] + gamma * next_value - values[:, t]               # (B,)
        running = (delta + gamma * gae_lambda * running) * mask[:, t]
        advantages[:, t], next_value = running, values[:, t]
    return advantages, advantages + values


@torch.no_grad()
def compute_advantages(rollout: Rollout, config: RLConfig) -> Rollout:
    """Sets rollout.advantages and rollout.returns (B, L): the reward comes on the last token, the KL on each.

    Returns the rows of the rollout to learn from.
    """
    mask, last = rollout.completion_mask, rollout.completion_mask.sum(1).long() - 1   # (B, L), (B,)
    token_rewards = torch.zeros_like(rollout.old_logprobs)                            # (B, L)
    if config.kl_coef:
        token_rewards -= config.kl_coef * k1(rollout.old_logprobs, rollout.ref_logprobs) * mask
    token_rewards[torch.arange(len(last)), last] += rollout.rewards
    advantages, rollout.returns = gae(token_rewards, rollout.old_values, mask, config.gamma, config.gae_lambda)
    rollout.advantages = masked_whiten(advantages, mask, parallel.total)              # (B, L)
    return rollout


# -----------------------------------------------------------------------------
# Loss

def compute_loss(logprobs: torch.Tensor, old_logprobs: torch.Tensor,
                 advantages: torch.Tensor, values: torch.Tensor, old_values: torch.Tensor, returns: torch.Tensor,
                 completion_mask: torch.Tensor, config: RLConfig,
                 num_tokens: float | None = None) -> tuple[torch.Tensor, dict[str, float]]:
    """Clipped surrogate plus the clipped value loss, summed over tokens, over num_tokens.

    All tensors (B, L). `num_tokens` is the whole step's count when micro-batches accumulate. Returns (loss, metrics).
    """
    mask = completion_mask.to(logprobs.dtype)                                         # (B, L)
    num_tokens = mask.sum() if num_tokens is None else num_tokens

    # policy term
    log_ratio = (logprobs - old_logprobs).masked_fill(mask == 0, 0.0)                 # (B, L)
    ratio = log_ratio.exp()
    clipped = ratio.clamp(1 - config.clip_low, 1 + config.clip_high)
    surrogate = torch.min(ratio * advantages, clipped * advantages)                   # (B, L), to maximise
    policy_loss = -(surrogate * mask).sum() / num_tokens

    # value term: the critic regresses on the returns, and never far from what it said at the rollout
    values_clipped = old_values + (values - old_values).clamp(-config.value_clip, config.value_clip)
    value_error = torch.max((values - returns) ** 2, (values_clipped - returns) ** 2)  # (B, L)
    value_loss = 0.5 * value_error.masked_fill(mask == 0, 0.0).sum() / num_tokens

    loss = policy_loss + config.value_coef * value_loss
    metrics = {
        "policy_loss": policy_loss.item(),
        "value_loss": value_loss.item(),
        "approx_kl": ((ratio - 1 - log_ratio) * mask).sum().item() / float(num_tokens),
        "clip_frac": ((ratio != clipped) * mask).sum().item() / float(num_tokens),
    }
    return loss, metrics


# -----------------------------------------------------------------------------
# Training loop

def train(policy: GPT, critic: Critic,
          reference: GPT | None, optimizer: torch.optim.Optimizer, world: World, config: RLConfig, seed: int,
          start_iteration: int = 0) -> Iterator[dict[str, float]]:
    """Yields one dict of metrics per iteration; the caller logs, evaluates and saves."""
    for iteration in range(start_iteration, config.num_iterations):
        # 1) collect: sample completions and score them with the verifier
        rollout = collect_rollout(policy, reference, world, config, seed, iteration)
        rollout.old_values = by_micro_batch(rollout, config, lambda batch: completion_values(critic, batch))

        # 2) credit: turn rewards into advantages
        trained = compute_advantages(rollout, config)
        trained.loss_mask, num_tokens = loss_weights(trained.completion_mask, config)

        # 3) update: each epoch is one step of the optimizer, accumulated over micro-batches
        history = []
        for group in optimizer.param_groups:
            group["lr"] = learning_rate_at(iteration, config)
        optimizer.param_groups[1]["lr"] *= config.critic_learning_rate / config.learning_rate
        for _ in range(config.num_epochs if num_tokens else 0):
            optimizer.zero_grad(set_to_none=True)
            step = []
            for batch in trained.minibatches(config.micro_batch_size):
                hidden = completion_hidden(policy, batch)                             # (B, L, C)
                logprobs, entropy = completion_logprobs(policy, batch, config.temperature, hidden)
                values = completion_values(critic, batch, hidden)
                loss, metrics = compute_loss(logprobs, batch.old_logprobs, batch.advantages, values,
                                             batch.old_values, batch.returns, batch.loss_mask, config, num_tokens)
                loss.backward()
                metrics["entropy"] = (entropy * batch.loss_mask).sum().item() / num_tokens
                step.append(metrics)
            parallel.add_gradients(policy, critic)
            grad_norm = torch.nn.utils.clip_grad_norm_(policy.parameters(), config.max_grad_norm)
            torch.nn.utils.clip_grad_norm_(critic.parameters(), config.max_grad_norm)
            optimizer.step()
            history.append({"grad_norm": grad_norm.item(), **parallel.sum_of(step)})

        # 4) report
        yield {"iteration": iteration, **rollout.summary(config.group_size), **mean_of(history)}
