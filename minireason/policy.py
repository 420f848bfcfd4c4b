"""What a model says about completions that were already written. The only shift-by-one of the project is here.

    logprobs[b, t] = log p(completion_ids[b, t] | prompt b, completion_ids[b, :t])

Shapes: B completions, L completion length, T prompt plus completion, C width, V vocabulary.
"""

import copy

import torch
import torch.nn as nn


def completion_hidden(model, batch):
    """Hidden states (B, L, C) from which each completion token was predicted: those one position before it."""
    ids = torch.cat([batch.prompt_ids, batch.completion_ids], dim=1)                # (B, T), prompts left-padded
    B, T = ids.shape
    num_padding = (1 - batch.prompt_mask).sum(1, keepdim=True).long()               # (B, 1)
    columns = (torch.arange(T, device=ids.device) + num_padding) % T                # (B, T), padding moves to the end
    hidden = model.hidden(ids.gather(1, columns))                                   # (B, T, C)
    first = batch.prompt_mask.sum(1, keepdim=True).long() - 1                       # (B, 1), the prompt's last token
    positions = first + torch.arange(batch.completion_ids.size(1), device=ids.device)   # (B, L)
    return hidden.gather(1, positions[..., None].expand(-1, -1, hidden.size(-1)))


def completion_logprobs(model, batch, temperature=1.0):
    """Returns (logprobs (B, L), entropy (B, L)) at the temperature that was sampled with.

    The entropy is the exact one, over the whole vocabulary, and carries no gradient.
    """
    logits = model.head(completion_hidden(model, batch)) / temperature              # (B, L, V)
    log_normalizer = logits.logsumexp(-1)                                           # (B, L)
    logprobs = logits.gather(2, batch.completion_ids[..., None])[..., 0] - log_normalizer
    with torch.no_grad():   # H = log Z - sum p * logit
        entropy = log_normalizer - ((logits - log_normalizer[..., None]).exp() * logits).sum(-1)
    return logprobs, entropy


class Critic(nn.Module):
    """A separate network of the policy's size with one number a position: how much reward is still to come."""

    def __init__(self, policy):
        super().__init__()
        self.body = copy.deepcopy(policy)
        self.body.requires_grad_(True)
        self.value = nn.Linear(policy.config.width, 1)
        nn.init.zeros_(self.value.weight)
        nn.init.zeros_(self.value.bias)

    def forward(self, batch):
        """Values (B, L): what is expected before each completion token is written."""
        return self.value(completion_hidden(self.body, batch))[..., 0]


def completion_values(critic, batch):
    """Values (B, L) of the states from which each completion token was drawn."""
    return critic(batch)
