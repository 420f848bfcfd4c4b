"""What PPO and GRPO compute of tokens: means under a mask, estimators of the KL, and means of what is logged.

k1, k2 and k3 estimate KL(p || q) at each token, from log p (`logprobs`) and log q (`ref_logprobs`) of a token
that was sampled from p.
Shapes: B completions, L completion length, V vocabulary.
"""

import math

import torch

from minireason.upkeep import parallel


def masked_mean(x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean of x (B, L) where the mask is 1; 0 if the mask is 0 everywhere."""
    return (x * mask).sum() / mask.sum().clamp(min=1)


def masked_whiten(x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """x (B, L) shifted and scaled to mean 0 and standard deviation 1 under the mask, 0 elsewhere.

    Mean and deviation are those of all processes that share a batch.
    """
    count = max(1.0, parallel.total(mask.sum()))
    mean = parallel.total((x * mask).sum()) / count
    variance = parallel.total(((x - mean) ** 2 * mask).sum()) / count
    return (x - mean) / math.sqrt(variance + 1e-8) * mask


def sequence_log_ratio(log_ratio: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Replaces each log-ratio (B, L) by the mean of its row. They have to be 0 where the mask is 0.

    The value is the same in the whole row. The gradient at a token is that of the token's own log-ratio, so
    that tokens may have advantages of their own. If all tokens of a row have the same advantage, the loss
    averaged over the row has the same gradient as with the mean itself. This is GSPO-token, arXiv:2507.18071,
    section 4.3.
    """
    lengths = (mask != 0).sum(1, keepdim=True).clamp(min=1)                         # (B, 1)
    mean = log_ratio.sum(1, keepdim=True) / lengths                                 # (B, 1)
    return mean.detach() + (log_ratio - log_ratio.detach())      # the bracket is 0, but it has a gradient


def k1(logprobs: torch.Tensor, ref_logprobs: torch.Tensor) -> torch.Tensor:
    """log p/q: unbiased for KL(p || q), but it can be negative.

    http://joschu.net/blog/kl-approx.html
    """
    return logprobs - ref_logprobs


def k2(logprobs: torch.Tensor, ref_logprobs: torch.Tensor) -> torch.Tensor:
    """(log p/q)^2 / 2: biased, never negative, and as a loss its on-policy gradient is that of KL(p || q)."""
    return (logprobs - ref_logprobs) ** 2 / 2


def k3(logprobs: torch.Tensor, ref_logprobs: torch.Tensor) -> torch.Tensor:
    """q/p - log(q/p) - 1: unbiased for KL(p || q) and never negative."""
    difference = ref_logprobs - logprobs
    return torch.expm1(difference) - difference     # exp(d) - 1 - d would cancel to noise near 0


def estimate_kl(estimator: str, logprobs: torch.Tensor, ref_logprobs: torch.Tensor) -> torch.Tensor:
    """The KL at each token, by the estimator of this name: k1, k2 or k3."""
    return {"k1": k1, "k2": k2, "k3": k3}[estimator](logprobs, ref_logprobs)


def exact_kl(logits: torch.Tensor, ref_logits: torch.Tensor) -> torch.Tensor:
    """The exact KL(p || q), of shape (...), over the whole vocabulary. Takes logits (..., V) of p and q."""
    logp, logq = logits.log_softmax(-1), ref_logits.log_softmax(-1)
    return (logp.exp() * (logp - logq)).sum(-1)


def mean_of(dicts: list[dict[str, float]]) -> dict[str, float]:
    """Mean of dicts with the same keys; of none, an empty dict."""
    means = {}
    for key in dicts[0] if dicts else ():
        means[key] = sum(values[key] for values in dicts) / len(dicts)
    return means
