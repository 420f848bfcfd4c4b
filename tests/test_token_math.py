"""Means under a mask, and estimators of the KL, against closed forms and exact sums."""

import math

import pytest
import torch

from minireason.token_math import exact_kl, k1, k2, k3, masked_mean, masked_whiten, mean_of


def two_policies():
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(6, generator=generator, dtype=torch.float64) for _ in range(2)]


def test_k1_and_k3_average_to_the_kl():
    """Expectations taken as exact sums over the vocabulary."""
    logits, ref = two_policies()
    logp, logq = logits.log_softmax(-1), ref.log_softmax(-1)
    kl = sum(math.exp(a) * (a - b) for a, b in zip(logp.tolist(), logq.tolist()))
    assert exact_kl(logits, ref).item() == pytest.approx(kl)
    assert (logp.exp() * k1(logp, logq)).sum().item() == pytest.approx(kl)
    assert (logp.exp() * k3(logp, logq)).sum().item() == pytest.approx(kl)
    assert (k3(logp, logq) >= 0).all()


def test_gradients_of_the_estimators_as_losses():
    """k1's is zero, k2's that of KL(p||q), k3's that of KL(q||p): exact sums, p held fixed as the sampler."""
    logits, ref = two_policies()
    logits.requires_grad_()
    logq = ref.log_softmax(-1)

    def gradient(value):
        return torch.autograd.grad(value, logits, retain_graph=True)[0]

    logp = logits.log_softmax(-1)
    p = logp.detach().exp()
    forward, backward = (logp.exp() * (logp - logq)).sum(), (logq.exp() * (logq - logp)).sum()
    assert torch.allclose(gradient((p * k1(logp, logq)).sum()), torch.zeros(6, dtype=torch.float64),
                          atol=1e-12)
    assert torch.allclose(gradient((p * k2(logp, logq)).sum()), gradient(forward))
    assert torch.allclose(gradient((p * k3(logp, logq)).sum()), gradient(backward))


def test_masked_mean_and_whiten():
    x, mask = torch.tensor([[1.0, 2.0, 99.0], [6.0, -7.0, 3.0]]), torch.tensor([[1, 1, 0], [1, 0, 1]])
    assert masked_mean(x, mask).item() == pytest.approx(3.0)
    whitened = masked_whiten(x, mask)
    kept = whitened[mask.bool()]
    assert kept.mean().item() == pytest.approx(0.0, abs=1e-6)
    assert kept.std(unbiased=False).item() == pytest.approx(1.0, abs=1e-5)
    assert not whitened[mask == 0].any()
    assert masked_mean(x, torch.zeros(2, 3)).item() == 0.0


def test_mean_of():
    assert mean_of([{"a": 1.0}, {"a": 4.0}]) == {"a": 2.5}
    assert mean_of([]) == {}


def test_k3_is_never_negative_and_right_where_models_nearly_agree():
    """q/p - log(q/p) - 1 is about d^2 / 2: written with exp, float32 loses all of it for small d."""
    d = torch.tensor([0.0, 1e-4, -1e-4, 3e-3, -3e-3])
    estimates = k3(torch.zeros(5), d)
    assert (estimates >= 0).all()
    assert torch.allclose(estimates, d ** 2 / 2, rtol=2e-3, atol=0)
