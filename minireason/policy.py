"""What a model says about completions that were already written. The only shift-by-one of the project is here.

    logprobs[b, t] = log p(completion_ids[b, t] | prompt b, completion_ids[b, :t])

Shapes: B completions, L completion length, T prompt plus completion, C width, V vocabulary. A batch is a Rollout.
"""

import copy

import torch
import torch.nn as nn
import torch.nn.functional as F

from minireason.model import GPT
from minireason.upkeep import kernels


def completion_hidden(model: GPT, batch) -> torch.Tensor:
    """Hidden states (B, L, C) from which each completion token was predicted: those one position before it."""
    ids = torch.cat([batch.prompt_ids, batch.completion_ids], dim=1)                # (B, T), prompts left-padded
    B, T = ids.shape
    num_padding = (1 - batch.prompt_mask).sum(1, keepdim=True).long()               # (B, 1)
    columns = (torch.arange(T, device=ids.device) + num_padding) % T                # (B, T), padding moves to the end
    ids = ids.gather(1, columns)
    ids = F.pad(ids, (0, kernels.padded(T, model.config.max_length) - T))
    kernels.choose(ids.numel())
    hidden = model.hidden(ids)                                                      # (B, T, C)
    first = batch.prompt_mask.sum(1, keepdim=True).long() - 1                       # (B, 1), the prompt's last token
    positions = first + torch.arange(batch.completion_ids.size(1), device=ids.device)   # (B, L)
    return hidden.gather(1, positions[..., None].expand(-1, -1, hidden.size(-1)))


def completion_logprobs(model: GPT, batch, temperature: float = 1.0,
                        hidden: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns (logprobs (B, L), entropy (B, L)) at the temperature that was sampled with.

    `hidden` (B, L, C) saves a pass where `completion_hidden` was called already.

    The entropy is the exact one, over the whole vocabulary, and carries no gradient.
    """
    hidden = completion_hidden(model, batch) if hidden is None else hidden          # (B, L, C)
    logits = model.head(hidden) / temperature                                       # (B, L, V)
    log_normalizer = logits.logsumexp(-1)                                           # (B, L)
    logprobs = logits.gather(2, batch.completion_ids[..., None])[..., 0] - log_normalizer
    with torch.no_grad():   # H = log Z - sum p * logit
        entropy = log_normalizer - ((logits - log_normalizer[..., None]).exp() * logits).sum(-1)
    return logprobs, entropy


class Critic(nn.Module):
    """One number a position: how much reward is still to come. A separate network of the policy's size, or with
    `shared_trunk` one more linear layer on the policy's own hidden states: half the memory, and two tasks for one body."""

    def __init__(self, policy: GPT, shared_trunk: bool = False):
        super().__init__()
        self.trunk = (policy,) if shared_trunk else None      # in a tuple: the policy's weights are not the critic's
        self.body = None if shared_trunk else copy.deepcopy(policy).requires_grad_(True)
        self.value = nn.Linear(policy.config.width, 1)
        nn.init.zeros_(self.value.weight)
        nn.init.zeros_(self.value.bias)

    def forward(self, batch, hidden: torch.Tensor | None = None) -> torch.Tensor:
        """Values (B, L): what is expected before each completion token is written."""
        if self.trunk is None or hidden is None:
            hidden = completion_hidden(self.trunk[0] if self.trunk else self.body, batch)    # (B, L, C)
        return self.value(hidden)[..., 0]


def completion_values(critic: Critic, batch, hidden: torch.Tensor | None = None) -> torch.Tensor:
    """Values (B, L) of the states from which each completion token was drawn; `hidden` (B, L, C) are the policy's."""
    return critic(batch, hidden)
