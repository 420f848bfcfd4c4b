"""How likely a model finds completions that were already written.

At position i of a row the model predicts the token at i + 1. For RL this file alone shifts by one (imitation:
`sft.collate`).

    logprobs[b, t] = log p(completion_ids[b, t] | prompt b, completion_ids[b, :t])

Shapes: B completions, L completion length, T prompt plus completion, C width, V vocabulary.
"""

import copy

import torch
import torch.nn as nn
import torch.nn.functional as F

from minireason.batch import Batch
from minireason.model import GPT
from minireason.upkeep import kernels


def padded_hidden(model: GPT, ids: torch.Tensor) -> torch.Tensor:
    """Hidden states of rows of ids (B, T), and of some padding behind them: (B, T or more, C).

    The padding is for speed alone (kernels.py). No token sees it.
    """
    T = ids.size(1)
    ids = F.pad(ids, (0, kernels.padded(T, model.config.max_length) - T))
    kernels.choose(ids.numel())
    return model.hidden(ids)


def completion_hidden(model: GPT, batch: Batch) -> torch.Tensor:
    """Hidden states (B, L, C) that predict the completion tokens: each is one position before its token."""
    B, L = batch.completion_ids.shape
    hidden = padded_hidden(model, batch.ids)                                        # (B, T or more, C)
    # token t of a completion is at position prompt_length + t, and was predicted at the position before
    positions = batch.prompt_lengths[:, None] - 1 + torch.arange(L, device=hidden.device)   # (B, L)
    return hidden.gather(1, positions[..., None].expand(B, L, hidden.size(-1)))


def completion_logprobs(model: GPT, batch: Batch, temperature: float = 1.0,
                        hidden: torch.Tensor | None = None,
                        entropy_gradient: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns (logprobs (B, L), entropy (B, L)) at the temperature that was sampled with.

    `hidden` (B, L, C) saves a pass where `completion_hidden` was called already.
    The entropy is the exact one, over the whole vocabulary. It carries a gradient only with
    `entropy_gradient`: the gradient costs memory, and only an entropy bonus needs it.
    """
    if hidden is None:
        hidden = completion_hidden(model, batch)                                    # (B, L, C)
    # `head` is linear, so this divides the logits by the temperature: the same, with fewer numbers to divide
    logits = model.head(hidden / temperature)                                       # (B, L, V)
    all_logprobs = torch.log_softmax(logits, dim=-1)                                # (B, L, V)
    logprobs = all_logprobs.gather(2, batch.completion_ids[..., None])[..., 0]      # (B, L)
    with torch.set_grad_enabled(entropy_gradient):
        entropy = -(all_logprobs.exp() * all_logprobs).sum(-1)                      # (B, L)
    return logprobs, entropy


class Critic(nn.Module):
    """Estimates, before each token, how much reward is still to come.

    It is a network of its own. It starts as a copy of the policy, and its output is one number.
    """

    def __init__(self, policy: GPT):
        super().__init__()
        self.body = copy.deepcopy(policy).requires_grad_(True)
        self.value = value_layer(policy)

    def forward(self, batch: Batch, hidden: torch.Tensor | None = None) -> torch.Tensor:
        """Values (B, L). It does not need the policy's `hidden`, which a SharedCritic takes in this place."""
        return self.value(completion_hidden(self.body, batch))[..., 0]


class SharedCritic(nn.Module):
    """A linear layer on the policy's own hidden states: half the memory, but two tasks for one body.

    No gradient is cut off: the loss of the critic trains the policy's body, too.
    """

    def __init__(self, policy: GPT):
        super().__init__()
        self.value = value_layer(policy)

    def forward(self, batch: Batch, hidden: torch.Tensor) -> torch.Tensor:
        """Values (B, L) from the policy's hidden states (B, L, C) of the batch."""
        return self.value(hidden)[..., 0]


def value_layer(policy: GPT) -> nn.Linear:
    """A linear layer from a hidden state to one number. It starts with zeros: every value is 0 at first.

    It does not start from torch's global generator, which a resumed run would find in another state.
    """
    layer = nn.Linear(policy.config.width, 1)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def make_critic(policy: GPT, shared: bool) -> Critic | SharedCritic:
    """The kind of critic that the setting shared_critic asks for."""
    if shared:
        return SharedCritic(policy)
    return Critic(policy)
