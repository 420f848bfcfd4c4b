"""Proximal Policy Optimization: a learned critic is the baseline.

    r_t   = kl_coef * log(p_ref(token_t) / p_old(token_t)); at the last token plus the completion's reward
    delta_t = r_t + gamma Vold_{t+1} - Vold_t, where Vold is what the critic said at the rollout
    A_t   = delta_t + gamma lambda A_{t+1},   R_t = A_t + Vold_t                        arXiv:1506.02438 (GAE)
    rho_t = p(token_t) / p_old(token_t), where p_old is the policy that sampled
    loss  = -sum_t min(rho_t A_t, clip(rho_t, 1 - clip_low, 1 + clip_high) A_t) / num_tokens
            + value_coef * sum_t max((V_t - R_t)^2, (Vclip_t - R_t)^2) / 2 / num_tokens   arXiv:1707.06347

num_tokens is the number of tokens that are summed over; batch.weigh_tokens has two other divisors.
With one update of each rollout, as RL has in the preset laptop, p is still p_old: rho_t is 1, and nothing is
clipped. The gradient is then that of -A_t log p(token_t).
In the loss A_t is whitened: of mean 0 and deviation 1. Vclip_t is V_t, kept within value_clip of Vold_t.
Read ppo.py and grpo.py side by side: same sections, order and names; lines are broken where they differ.
What `parallel` does matters to runs of several processes alone.
Shapes: P prompts, G group_size, B = P*G completions, L completion length.
"""

from collections.abc import Iterator

import torch

from minireason.batch import Batch, weigh_tokens
from minireason.config import RLConfig
from minireason.model import GPT
from minireason.optimizer import set_learning_rate
from minireason.policy import Critic, SharedCritic, completion_hidden, completion_logprobs
from minireason.rewards import World
from minireason.rollout import by_micro_batch, collect_rollout
from minireason.token_math import k1, masked_whiten, mean_of, sequence_log_ratio
from minireason.upkeep import parallel

# -----------------------------------------------------------------------------
# Advantages

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


@torch.no_grad()
def compute_advantages(rollout: Batch, config: RLConfig) -> None:
    """Sets rollout.advantages and rollout.returns (B, L): the reward is at the last token, the KL at each."""
    mask = rollout.completion_mask                                                    # (B, L)
    last_token = mask.sum(1).long() - 1                                               # (B,)
    token_rewards = torch.zeros_like(rollout.old_logprobs)                            # (B, L)
    if config.kl_coef:
        token_rewards -= config.kl_coef * k1(rollout.old_logprobs, rollout.ref_logprobs) * mask
    token_rewards[torch.arange(len(rollout)), last_token] += rollout.rewards
    advantages, returns = gae(token_rewards, rollout.old_values, mask, config.gamma, config.gae_lambda)
    rollout.returns = returns                                                         # (B, L)
    rollout.advantages = masked_whiten(advantages, mask)                              # (B, L)


def rows_with_signal(rollout: Batch, config: RLConfig) -> Batch:
    """The rows to learn from: all of them, since the critic learns from each."""
    return rollout


# -----------------------------------------------------------------------------
# Loss

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


# -----------------------------------------------------------------------------
# Training loop

def train(policy: GPT, critic: Critic | SharedCritic,
          reference: GPT | None, optimizer: torch.optim.Optimizer, world: World, config: RLConfig, seed: int,
          start_iteration: int = 0) -> Iterator[dict[str, float]]:
    """Yields one dict of metrics per iteration; the caller logs, evaluates and saves."""
    def values_at_rollout(micro_batch: Batch) -> torch.Tensor:
        if isinstance(critic, SharedCritic):
            return critic(micro_batch, completion_hidden(policy, micro_batch))
        return critic(micro_batch)

    for iteration in range(start_iteration, config.num_iterations):
        # 1) collect: sample completions and score them
        rollout = collect_rollout(policy, reference, world, config, seed, iteration)
        rollout.old_values = by_micro_batch(rollout, config, values_at_rollout)

        # 2) credit: turn rewards into advantages
        compute_advantages(rollout, config)
        batch = rows_with_signal(rollout, config)
        batch.loss_weights, num_tokens, weight_sum = weigh_tokens(batch.completion_mask, config, len(rollout))

        # 3) update: each epoch is one step of the optimizer on the whole rollout. Usual PPO takes a step for
        # each of several minibatches; here micro-batches only save memory, and their gradients are added.
        set_learning_rate(optimizer, iteration, config.num_iterations, config.warmup_iterations,
                          config.learning_rate)
        if iteration < config.critic_warmup:         # at first the critic learns alone: it knows nothing yet
            optimizer.param_groups[0]["lr"] = 0.0    # the first group is the policy, the second the critic
        history = []
        num_epochs = config.num_epochs if weight_sum else 0      # nothing to learn from: no step
        for _ in range(num_epochs):
            optimizer.zero_grad(set_to_none=True)
            pieces = []
            for micro_batch in batch.micro_batches(config.micro_batch_size):
                weights = micro_batch.loss_weights                                    # (B, L)
                hidden = completion_hidden(policy, micro_batch)                       # (B, L, C)
                logprobs, entropy = completion_logprobs(policy, micro_batch, config.temperature, hidden,
                                                        entropy_gradient=config.entropy_coef > 0)
                values = critic(micro_batch, hidden)                                  # (B, L)
                loss, metrics = compute_loss(logprobs, micro_batch.old_logprobs,
                                             micro_batch.advantages,
                                             values, micro_batch.old_values, micro_batch.returns,
                                             weights, config, num_tokens, weight_sum,
                                             objective=config.objective)
                if config.entropy_coef:
                    loss = loss - config.entropy_coef * (entropy * weights).sum() / weight_sum
                loss.backward()
                metrics["entropy"] = (entropy * weights).sum().item() / weight_sum
                pieces.append(metrics)
            parallel.add_gradients(policy, critic)
            grad_norm = torch.nn.utils.clip_grad_norm_(policy.parameters(), config.max_grad_norm)
            torch.nn.utils.clip_grad_norm_(critic.parameters(), config.max_grad_norm)
            optimizer.step()
            history.append({"grad_norm": grad_norm.item(), **parallel.add_up(pieces)})

        # 4) report
        yield {"iteration": iteration, **rollout.summary(config.group_size), **mean_of(history)}
