"""The same tensors through TRL's own code. Skipped where it is not installed:
tests/benchmarks/requirements.txt."""

from collections import defaultdict
from types import SimpleNamespace

import pytest
import torch
from helpers import ragged_rollout, tiny_model

from minireason import grpo
from minireason.batch import weigh_tokens
from minireason.policy import completion_hidden, completion_logprobs
from minireason.rollout import overlong_price

trl = pytest.importorskip("trl")


def their_loss(loss_type, logprobs, batch, beta, level="token", epsilon_high=0.28, entropies=None,
               entropy_coef=0.0):
    """`GRPOTrainer._compute_loss` on our tensors: what it asks of a model is handed to it."""
    if entropies is None:
        entropies = torch.zeros_like(logprobs)
    trainer = SimpleNamespace(
        aux_loss_enabled=False, top_entropy_quantile=1.0, off_policy_mask_threshold=None, beta=beta,
        use_vllm=False, importance_sampling_level=level, loss_type=loss_type, epsilon_low=0.2,
        epsilon_high=epsilon_high, max_completion_length=9, current_gradient_accumulation_steps=1,
        _entropy_bonus_enabled=entropy_coef > 0, entropy_coef=entropy_coef, use_adaptive_entropy=False,
        args=SimpleNamespace(use_bias_correction_kl=False, delta=None, steps_per_generation=1), tools=None,
        model=SimpleNamespace(training=True), _metrics=defaultdict(lambda: defaultdict(list)),
        accelerator=SimpleNamespace(gather=lambda x: x, reduce=lambda x, reduction: x, num_processes=1,
                                    sync_gradients=False),
        _get_per_token_logps_and_entropies=lambda *a, **k: (logprobs, entropies, None))
    unread = torch.zeros(len(batch), 1, dtype=torch.long)           # the prompts: no loss depends on them
    inputs = {"prompt_ids": unread, "prompt_mask": unread, "completion_ids": batch.completion_ids,
              "completion_mask": batch.completion_mask, "advantages": batch.advantages[:, 0],
              "old_per_token_logps": batch.old_logprobs, "ref_per_token_logps": batch.ref_logprobs,
              "num_items_in_batch": batch.completion_mask.sum()}
    return trl.GRPOTrainer._compute_loss(trainer, SimpleNamespace(training=True), inputs)


def off_policy():
    """(a rollout with a reference and advantages, logprobs that have moved since)."""
    batch, generator = ragged_rollout(torch.Generator().manual_seed(0)), torch.Generator().manual_seed(1)

    def noise(scale):
        return scale * torch.randn(batch.old_logprobs.shape, generator=generator)

    batch.old_logprobs = -noise(1.0).abs()
    batch.ref_logprobs = batch.old_logprobs + noise(0.3)
    logprobs = (batch.old_logprobs + noise(0.3)).requires_grad_()
    batch.advantages = noise(1.0)[:, :1].expand_as(logprobs)
    return batch, logprobs


@pytest.mark.parametrize("beta", [0.0, 0.04])
@pytest.mark.parametrize("loss_type, normalize",
                         [("dapo", "token"), ("grpo", "sequence"), ("dr_grpo", "constant")])
def test_grpos_loss_and_gradient_are_trls(loss_type, normalize, beta):
    batch, logprobs = off_policy()
    config = SimpleNamespace(clip_low=0.2, clip_high=0.28, kl_coef=beta, normalize=normalize,
                             max_new_tokens=9)
    weights, number, _ = weigh_tokens(batch.completion_mask, config, len(batch))
    ours, metrics = grpo.compute_loss(logprobs, batch.old_logprobs, batch.ref_logprobs, batch.advantages,
                                      weights, config, number)
    theirs = their_loss(loss_type, logprobs, batch, beta)
    assert metrics["clip_frac"] > 0 and ours.item() == pytest.approx(theirs.item(), abs=1e-5)
    gradients = [torch.autograd.grad(loss, logprobs, retain_graph=True)[0] for loss in (ours, theirs)]
    assert torch.allclose(*gradients, atol=1e-5) and gradients[0].any()


@pytest.mark.parametrize("beta", [0.0, 0.04])
@pytest.mark.parametrize("loss_type, normalize",
                         [("dapo", "token"), ("grpo", "sequence"), ("dr_grpo", "constant")])
def test_gspos_loss_and_gradient_are_those_of_trls_sequence_level(loss_type, normalize, beta):
    batch, logprobs = off_policy()
    config = SimpleNamespace(clip_low=0.2, clip_high=0.28, kl_coef=beta, normalize=normalize,
                             max_new_tokens=9)
    weights, number, _ = weigh_tokens(batch.completion_mask, config, len(batch))
    ours, metrics = grpo.compute_loss(logprobs, batch.old_logprobs, batch.ref_logprobs, batch.advantages,
                                      weights, config, number, objective="gspo")
    theirs = their_loss(loss_type, logprobs, batch, beta, level="sequence")
    assert metrics["clip_frac"] > 0 and ours.item() == pytest.approx(theirs.item(), abs=1e-5)
    gradients = [torch.autograd.grad(loss, logprobs, retain_graph=True)[0] for loss in (ours, theirs)]
    assert torch.allclose(*gradients, atol=1e-5) and gradients[0].any()


def test_cispos_gradient_is_trls():
    """TRL has no lower bound: ours with clip_low 1. Its epsilon_high is the bound itself. The losses differ
    by a constant: theirs weighs logprobs, and ours what they have changed since the rollout."""
    batch, logprobs = off_policy()
    config = SimpleNamespace(clip_low=1.0, clip_high=0.28, kl_coef=0.0)
    ours, metrics = grpo.compute_loss(logprobs, batch.old_logprobs, None, batch.advantages,
                                      batch.completion_mask, config, objective="cispo")
    theirs = their_loss("cispo", logprobs, batch, 0.0, epsilon_high=1.28)
    gradients = [torch.autograd.grad(loss, logprobs, retain_graph=True)[0] for loss in (ours, theirs)]
    assert metrics["clip_frac"] > 0 and torch.allclose(*gradients, atol=1e-6) and gradients[0].any()


def test_the_entropy_bonus_is_trls():
    """A mean over tokens, taken off the loss: its gradient is that of `grpo.train`, which adds it so."""
    batch, logprobs = off_policy()
    entropies = torch.rand(logprobs.shape, generator=torch.Generator().manual_seed(2), requires_grad=True)
    config = SimpleNamespace(normalize="token", max_new_tokens=9)
    weights, _, weight_sum = weigh_tokens(batch.completion_mask, config, len(batch))
    ours = -0.3 * (entropies * weights).sum() / weight_sum
    theirs = their_loss("dapo", logprobs, batch, 0.0, entropies=entropies, entropy_coef=0.3)
    gradients = [torch.autograd.grad(loss, entropies, retain_graph=True)[0] for loss in (ours, theirs)]
    assert torch.allclose(*gradients, atol=1e-6) and gradients[0].any()


@pytest.mark.parametrize("buffer", [1, 7, 20])
def test_the_price_of_length_is_trls(buffer):
    from trl.rewards import get_soft_overlong_punishment
    config = SimpleNamespace(max_new_tokens=20, overlong_buffer=buffer, overlong_penalty=1.0)
    ours = -overlong_price(torch.arange(1, 21), config)
    theirs = get_soft_overlong_punishment(20, buffer)([[0] * length for length in range(1, 21)])
    assert torch.allclose(ours, torch.tensor(theirs, dtype=ours.dtype))


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_logprobs_and_entropies_are_trls(temperature):
    from trl.trainer.utils import entropy_from_logits, selective_log_softmax
    model, batch = tiny_model(0, vocab_size=24).eval(), ragged_rollout(torch.Generator().manual_seed(0))
    with torch.no_grad():
        ours, entropy = completion_logprobs(model, batch, temperature)
        logits = model.head(completion_hidden(model, batch)) / temperature
    assert torch.allclose(ours, selective_log_softmax(logits, batch.completion_ids), atol=1e-5)
    assert torch.allclose(entropy, entropy_from_logits(logits), atol=1e-5)
