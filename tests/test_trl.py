"""The same tensors through TRL's own code. Skipped where it is not installed:
tests/benchmarks/requirements.txt."""

from collections import defaultdict
from types import SimpleNamespace

import pytest
import torch
from helpers import ragged_rollout, tiny_model

from minireason import grpo
from minireason.batch import loss_weights
from minireason.policy import completion_hidden, completion_logprobs

trl = pytest.importorskip("trl")


def their_loss(loss_type, logprobs, batch, beta):
    """`GRPOTrainer._compute_loss` on our tensors: what it asks of a model is handed to it."""
    trainer = SimpleNamespace(
        aux_loss_enabled=False, top_entropy_quantile=1.0, off_policy_mask_threshold=None, beta=beta,
        use_vllm=False, importance_sampling_level="token", loss_type=loss_type, epsilon_low=0.2,
        epsilon_high=0.28, max_completion_length=9, current_gradient_accumulation_steps=1,
        _entropy_bonus_enabled=False,
        args=SimpleNamespace(use_bias_correction_kl=False, delta=None, steps_per_generation=1), tools=None,
        model=SimpleNamespace(training=True), _metrics=defaultdict(lambda: defaultdict(list)),
        accelerator=SimpleNamespace(gather=lambda x: x, reduce=lambda x, reduction: x, num_processes=1),
        _get_per_token_logps_and_entropies=lambda *a, **k: (logprobs, torch.zeros_like(logprobs), None))
    unread = torch.zeros(len(batch), 1, dtype=torch.long)           # the prompts: no loss depends on them
    inputs = {"prompt_ids": unread, "prompt_mask": unread, "completion_ids": batch.completion_ids,
              "completion_mask": batch.completion_mask, "advantages": batch.advantages[:, 0],
              "old_per_token_logps": batch.old_logprobs, "ref_per_token_logps": batch.ref_logprobs,
              "num_items_in_batch": batch.completion_mask.sum()}
    return trl.GRPOTrainer._compute_loss(trainer, SimpleNamespace(training=True), inputs)


@pytest.mark.parametrize("beta", [0.0, 0.04])
@pytest.mark.parametrize("loss_type, normalize",
                         [("dapo", "token"), ("grpo", "sequence"), ("dr_grpo", "constant")])
def test_grpos_loss_and_gradient_are_trls(loss_type, normalize, beta):
    batch, generator = ragged_rollout(torch.Generator().manual_seed(0)), torch.Generator().manual_seed(1)

    def noise(scale):
        return scale * torch.randn(batch.old_logprobs.shape, generator=generator)

    batch.old_logprobs = -noise(1.0).abs()
    batch.ref_logprobs = batch.old_logprobs + noise(0.3)
    logprobs = (batch.old_logprobs + noise(0.3)).requires_grad_()
    batch.advantages = noise(1.0)[:, :1].expand_as(logprobs)
    config = SimpleNamespace(clip_low=0.2, clip_high=0.28, kl_coef=beta, normalize=normalize,
                             max_new_tokens=9)
    weights, number, _ = loss_weights(batch.completion_mask, config, len(batch))
    ours, metrics = grpo.compute_loss(logprobs, batch.old_logprobs, batch.ref_logprobs, batch.advantages,
                                      weights, config, number)
    theirs = their_loss(loss_type, logprobs, batch, beta)
    assert metrics["clip_frac"] > 0 and ours.item() == pytest.approx(theirs.item(), abs=1e-5)
    gradients = [torch.autograd.grad(loss, logprobs, retain_graph=True)[0] for loss in (ours, theirs)]
    assert torch.allclose(*gradients, atol=1e-5) and gradients[0].any()


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_logprobs_and_entropies_are_trls(temperature):
    from trl.trainer.utils import entropy_from_logits, selective_log_softmax
    model, batch = tiny_model(0, vocab_size=24).eval(), ragged_rollout(torch.Generator().manual_seed(0))
    with torch.no_grad():
        ours, entropy = completion_logprobs(model, batch, temperature)
        logits = model.head(completion_hidden(model, batch)) / temperature
    assert torch.allclose(ours, selective_log_softmax(logits, batch.completion_ids), atol=1e-5)
    assert torch.allclose(entropy, entropy_from_logits(logits), atol=1e-5)
