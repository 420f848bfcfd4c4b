"""The optimizer of every stage, and the learning rate over a training.

    rate(step) = peak * min(1, (step + 1) / warmup_steps) * (1 - 0.9 * step / num_steps)

Steps are large while there is much to learn and small at the end, where the noise of few samples
averages out.
"""

import torch

from minireason.config import RLConfig, SFTConfig
from minireason.model import GPT


def adamw(config: SFTConfig | RLConfig, model: GPT,
          critic: torch.nn.Module | None = None) -> torch.optim.AdamW:
    """AdamW for a model, and for PPO's critic with a learning rate of its own.

    Each group of parameters carries its `peak`, the learning rate that `set_learning_rate` warms up to.
    """
    groups = [{"params": list(model.parameters()), "peak": config.learning_rate}]
    if critic is not None:
        groups.append({"params": list(critic.parameters()), "peak": config.critic_learning_rate})
    weight_decay = getattr(config, "weight_decay", 0.0)      # RL has none
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.95), weight_decay=weight_decay)


def learning_rate_at(step: int, num_steps: int, warmup_steps: int, peak: float) -> float:
    """Linear warm-up to the peak, then linear decay to a tenth of it."""
    warmup = min(1.0, (step + 1) / warmup_steps)
    return peak * warmup * (1.0 - 0.9 * step / num_steps)


def set_learning_rate(optimizer: torch.optim.Optimizer, step: int, num_steps: int, warmup_steps: int,
                      peak: float) -> None:
    """Sets the learning rate of each group. `peak` is for an optimizer made by hand: its groups have none."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate_at(step, num_steps, warmup_steps, group.get("peak", peak))


def load_state(optimizer: torch.optim.Optimizer, state: dict) -> None:
    """Loads what `optimizer.state_dict()` returned, but keeps the peaks.

    torch takes all settings of a group from the saved state, and what an earlier version saved has no peak.
    """
    peaks = [group["peak"] for group in optimizer.param_groups]
    optimizer.load_state_dict(state)
    for group, peak in zip(optimizer.param_groups, peaks):
        group["peak"] = peak
