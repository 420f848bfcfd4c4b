"""The optimizer of every stage, and the learning rate over a training.

    rate(step) = peak * min(1, (step + 1) / warmup_steps) * (1 - step / num_steps)

Steps are large while there is much to learn and small at the end, where the noise of few samples
averages out.
"""

import torch

from minireason.config import RLConfig, SFTConfig
from minireason.model import GPT


def adamw(config: SFTConfig | RLConfig, model: GPT,
          critic: torch.nn.Module | None = None) -> torch.optim.AdamW:
    """AdamW for a model, and for PPO's critic with a learning rate of its own.

    The critic's group carries its `peak`, the highest learning rate, since it is not the policy's.
    """
    groups = [{"params": list(model.parameters())}]
    if critic is not None:
        groups.append({"params": list(critic.parameters()), "peak": config.critic_learning_rate})
    weight_decay = getattr(config, "weight_decay", 0.0)      # RL has none
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.95), weight_decay=weight_decay,
                             fused=True)     # one kernel for all: 1 instead of 5 ms


def learning_rate_at(step: int, num_steps: int, warmup_steps: int, peak: float) -> float:
    """Linear warm-up to the peak, and linear decay to zero from the start on."""
    warmup = min(1.0, (step + 1) / warmup_steps)
    return peak * warmup * (1.0 - step / num_steps)


def set_learning_rate(optimizer: torch.optim.Optimizer, step: int, num_steps: int, warmup_steps: int,
                      peak: float) -> None:
    """Sets the learning rate of each group. `peak` is the highest; PPO's critic has a peak of its own."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate_at(step, num_steps, warmup_steps, group.get("peak", peak))
