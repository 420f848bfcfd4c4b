"""Group Relative Policy Optimization: the group of completions is its own baseline.

    A_i   = (r_i - mean(r_group)) / (std(r_group) + eps)                                arXiv:2402.03300
    rho_t = p(token_t) / p_old(token_t)
    loss  = -sum_t min(rho_t A_t, clip(rho_t, 1 - clip_low, 1 + clip_high) A_t) / num_tokens
            + kl_coef * sum_t k3_t / num_tokens

Read side by side with ppo.py: same sections, same order, same names; lines are broken where the two differ.
Shapes: P prompts, G group_size, B = P*G completions, L completion length.
"""

from collections.abc import Iterator

import torch

from minireason.upkeep import parallel
from minireason.config import RLConfig
from minireason.model import GPT
from minireason.policy import completion_logprobs
from minireason.rewards import World
from minireason.rollout import Rollout, collect_rollout, learning_rate_at, loss_weights
from minireason.stats import k3, mean_of

# -----------------------------------------------------------------------------
# Advantages

def group_advantages(rewards: torch.Tensor, scale: bool = True, eps: float = 1e-4,
                     leave_one_out: bool = False) -> torch.Tensor:
    """Rewards (P, G) less their group's mean, over its unbiased standard deviation where `scale`. Returns (P, G).

    Not scaled: Dr. GRPO, arXiv:2503.20783. `leave_one_out`, the mean of the others: RLOO, arXiv:2402.14740.
    """
    advantages = rewards - rewards.mean(1, keepdim=True)                              # (P, G)
    if leave_one_out:
        advantages = advantages * rewards.size(1) / (rewards.size(1) - 1)
    if scale:
        advantages = advantages / (rewards.std(1, keepdim=True) + eps)
    return advantages


@torch.no_grad()
def compute_advantages(rollout: Rollout, config: RLConfig) -> Rollout:
    """Sets rollout.advantages (B, L): each token of a completion gets its completion's number.

    Returns the rows of the rollout to learn from.
    """
    mask, rewards = rollout.completion_mask, rollout.rewards.view(-1, config.group_size)    # (B, L), (P, G)
    advantages = group_advantages(rewards, config.scale_advantages, leave_one_out=config.leave_one_out)
    rollout.advantages = advantages.view(-1, 1) * mask                                # (B, L)
    # without a KL term, a group of equal rewards has no gradient
    return rollout if config.kl_coef else rollout.select(rollout.advantages.any(1))


# -----------------------------------------------------------------------------
# Loss

def compute_loss(logprobs: torch.Tensor, old_logprobs: torch.Tensor, ref_logprobs: torch.Tensor | None,
                 advantages: torch.Tensor,
                 completion_mask: torch.Tensor, config: RLConfig,
                 num_tokens: float | None = None) -> tuple[torch.Tensor, dict[str, float]]:
    """Clipped surrogate plus the KL to the reference, summed over tokens, over num_tokens.

    All tensors (B, L). `num_tokens` is the whole step's count when micro-batches accumulate. Returns (loss, metrics).
    `ref_logprobs` may be None where kl_coef is 0.
    """
    mask = completion_mask.to(logprobs.dtype)                                         # (B, L)
    num_tokens = mask.sum() if num_tokens is None else num_tokens

    # policy term
    log_ratio = (logprobs - old_logprobs).masked_fill(mask == 0, 0.0)                 # (B, L)
    ratio = log_ratio.exp()
    clipped = ratio.clamp(1 - config.clip_low, 1 + config.clip_high)
    surrogate = torch.min(ratio * advantages, clipped * advantages)                   # (B, L), to maximise
    policy_loss = -(surrogate * mask).sum() / num_tokens

    # KL term: keeps the policy near the reference
    kl_loss = torch.zeros_like(policy_loss)
    if config.kl_coef:
        kl = k3(*(x.masked_fill(mask == 0, 0.0) for x in (logprobs, ref_logprobs)))   # (B, L)
        kl_loss = (kl * mask).sum() / num_tokens

    loss = policy_loss + config.kl_coef * kl_loss
    metrics = {
        "policy_loss": policy_loss.item(),
        "kl_loss": kl_loss.item(),
        "approx_kl": ((ratio - 1 - log_ratio) * mask).sum().item() / float(num_tokens),
        "clip_frac": ((ratio != clipped) * mask).sum().item() / float(num_tokens),
    }
    return loss, metrics


# -----------------------------------------------------------------------------
# Training loop

def train(policy: GPT,
          reference: GPT | None, optimizer: torch.optim.Optimizer, world: World, config: RLConfig, seed: int,
          start_iteration: int = 0) -> Iterator[dict[str, float]]:
    """Yields one dict of metrics per iteration; the caller logs, evaluates and saves."""
    for iteration in range(start_iteration, config.num_iterations):
        # 1) collect: sample completions and score them with the verifier
        rollout = collect_rollout(policy, reference, world, config, seed, iteration)

        # 2) credit: turn rewards into advantages
        trained = compute_advantages(rollout, config)
        trained.loss_mask, num_tokens = loss_weights(trained.completion_mask, config)

        # 3) update: each epoch is one step of the optimizer, accumulated over micro-batches
        history = []
        for group in optimizer.param_groups:
            group["lr"] = learning_rate_at(iteration, config)
        for _ in range(config.num_epochs if num_tokens else 0):
            optimizer.zero_grad(set_to_none=True)
            step = []
            for batch in trained.minibatches(config.micro_batch_size):
                logprobs, entropy = completion_logprobs(policy, batch, config.temperature)
                loss, metrics = compute_loss(logprobs, batch.old_logprobs, batch.ref_logprobs, batch.advantages,
                                             batch.loss_mask, config, num_tokens)
                loss.backward()
                metrics["entropy"] = (entropy * batch.loss_mask).sum().item() / num_tokens
                step.append(metrics)
            parallel.add_gradients(policy)
            grad_norm = torch.nn.utils.clip_grad_norm_(policy.parameters(), config.max_grad_norm)
            optimizer.step()
            history.append({"grad_norm": grad_norm.item(), **parallel.sum_of(step)})

        # 4) report
        yield {"iteration": iteration, **rollout.summary(config.group_size), **mean_of(history)}
