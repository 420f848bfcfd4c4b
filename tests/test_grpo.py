"""GRPO against loops over single tokens, and the properties that users ask about."""

import copy
from types import SimpleNamespace

import pytest
import torch
from helpers import ragged_rollout, tiny_model, toy_world

from minireason import grpo
from minireason.config import RLConfig

CONFIG = SimpleNamespace(clip_low=0.2, clip_high=0.28, kl_coef=0.1)


def batch(seed=0, B=6, L=9, spread=0.5):
    generator = torch.Generator().manual_seed(seed)

    def draw():
        return torch.randn(B, L, generator=generator, dtype=torch.float64)

    old = -draw().abs()
    logprobs, ref = old + spread * draw(), old + spread * draw()
    mask = (torch.arange(L) < torch.randint(1, L + 1, (B, 1), generator=generator)).double()
    return logprobs, old, ref, draw(), mask


def loop_loss(logprobs, old, ref, advantages, mask, config, num_tokens=None):
    total = 0.0
    for i in range(mask.size(0)):
        for t in range(mask.size(1)):
            if mask[i, t]:
                ratio = torch.exp(logprobs[i, t] - old[i, t])
                clipped = max(1 - config.clip_low, min(1 + config.clip_high, ratio.item()))
                total = total - min(ratio * advantages[i, t], clipped * advantages[i, t])
                if config.kl_coef:
                    q_over_p = torch.exp(ref[i, t] - logprobs[i, t])
                    total = total + config.kl_coef * (q_over_p - torch.log(q_over_p) - 1)
    return total / (mask.sum() if num_tokens is None else num_tokens)


def test_group_advantages():
    rewards = torch.tensor([[1.0, 0.0, 0.0, 1.0], [1.0, 1.0, 1.0, 1.0]])
    std = (4 * 0.25 / 3) ** 0.5                                  # unbiased
    expected = torch.tensor([0.5, -0.5, -0.5, 0.5]) / (std + 1e-4)
    advantages = grpo.group_advantages(rewards)
    assert torch.allclose(advantages[0], expected)
    assert not advantages[1].any()                               # a group without spread teaches nothing
    assert torch.allclose(grpo.group_advantages(rewards, scale=False)[0],
                          torch.tensor([0.5, -0.5, -0.5, 0.5]))


@pytest.mark.parametrize("reward", [0.7, 0.1, 1 / 3, 1.0, 0.0])
@pytest.mark.parametrize("group_size", [3, 12, 16])
def test_a_group_of_equal_rewards_is_left_out_whatever_the_reward(reward, group_size):
    """The mean of sixteen times 0.7 is 0.7 plus a rounding error, which the division by the std enlarges."""
    config = RLConfig(group_size=group_size)
    rewards = [reward] * group_size + [0.0] * (group_size - 1) + [1.0]
    lengths = (3,) * len(rewards)
    rollout = ragged_rollout(torch.Generator().manual_seed(0), prompt_lengths=lengths, lengths=lengths)
    rollout.rewards = torch.tensor(rewards)
    grpo.compute_advantages(rollout, config)
    assert not rollout.advantages[:group_size].any() and rollout.advantages[group_size:].any()
    assert len(grpo.rows_with_signal(rollout, config)) == group_size


@pytest.mark.parametrize("kl_coef", [0.0, 0.1])
@pytest.mark.parametrize("num_tokens", [None, 100])
def test_loss_and_gradient_equal_a_loop_over_tokens(kl_coef, num_tokens):
    logprobs, old, ref, advantages, mask = batch()
    config = SimpleNamespace(clip_low=0.2, clip_high=0.28, kl_coef=kl_coef)
    logprobs.requires_grad_()
    loss, metrics = grpo.compute_loss(logprobs, old, ref if kl_coef else None, advantages, mask, config,
                                      num_tokens)
    expected = loop_loss(logprobs, old, ref, advantages, mask, config, num_tokens)
    assert torch.allclose(loss, expected)
    assert torch.allclose(*(torch.autograd.grad(x, logprobs, retain_graph=True)[0] for x in (loss, expected)))
    ratio = (logprobs - old).exp()[mask.bool()]
    outside = ((ratio < 0.8) | (ratio > 1.28)).double().sum() / (num_tokens or mask.sum())
    assert metrics["clip_frac"] == pytest.approx(outside.item())


def test_anything_may_stand_under_the_mask():
    logprobs, old, ref, advantages, mask = batch()
    expected = grpo.compute_loss(logprobs, old, ref, advantages, mask, CONFIG)[0]
    for filler in (1e30, -1e30):
        filled = [torch.where(mask.bool(), x, torch.tensor(filler, dtype=x.dtype))
                  for x in (logprobs, old, ref, advantages)]
        # opposite signs: exp of the difference would overflow
        filled[0] = -filled[0].where(~mask.bool(), -filled[0])
        leaf = filled[0].clone().requires_grad_()
        loss = grpo.compute_loss(leaf, *filled[1:], mask.bool(), CONFIG)[0]
        assert torch.allclose(loss, expected)
        loss.backward()
        assert leaf.grad.isfinite().all() and not leaf.grad[~mask.bool()].any()


def test_micro_batches_add_up_to_the_whole_step():
    tensors = batch()
    mask = tensors[-1]
    whole = grpo.compute_loss(*tensors, CONFIG)[0]
    parts = [grpo.compute_loss(*(x[rows] for x in tensors), CONFIG, mask.sum())[0]
             for rows in (slice(0, 1), slice(1, 6))]
    assert torch.allclose(whole, sum(parts))


def test_a_loss_of_zero_is_no_bug_and_its_gradient_is_reinforce():
    """On policy, no KL, equal lengths: loss 0, gradient -A / num_tokens on each token."""
    _, old, ref, _, _ = batch()
    mask = torch.ones_like(old)
    advantages = grpo.group_advantages(torch.rand(2, 3, dtype=torch.float64)).view(-1, 1) * mask
    logprobs = old.clone().requires_grad_()
    loss, _ = grpo.compute_loss(logprobs, old, None, advantages, mask,
                                SimpleNamespace(clip_low=0.2, clip_high=0.2, kl_coef=0))
    loss.backward()
    assert loss.item() == pytest.approx(0.0, abs=1e-12)
    assert torch.allclose(logprobs.grad, -advantages / mask.sum())


def test_dtype_is_kept():
    for dtype in (torch.float32, torch.float64):
        assert grpo.compute_loss(*(x.to(dtype) for x in batch()), CONFIG)[0].dtype == dtype


@pytest.mark.slow
@pytest.mark.parametrize("kl_coef", [0.0, 0.01])
def test_training_raises_the_reward(kl_coef):
    policy = tiny_model(0, vocab_size=8)
    reference = copy.deepcopy(policy) if kl_coef else None
    config = RLConfig(num_iterations=25, num_prompts=4, group_size=32, max_new_tokens=6, kl_coef=kl_coef,
                      learning_rate=5e-3, warmup_iterations=1)
    optimizer = torch.optim.AdamW(policy.parameters(), lr=5e-3)
    history = list(grpo.train(policy, reference, optimizer, toy_world(), config, seed=0))
    assert [m["iteration"] for m in history] == list(range(25))
    early, late = (sum(m["reward"] for m in part) / 5 for part in (history[:5], history[-5:]))
    assert late > early + 0.3
    if kl_coef:
        assert history[0]["kl"] < history[-1]["kl"]   # 0 in the first of two epochs


@pytest.mark.slow
def test_one_epoch_never_clips_and_two_do():
    """With one update a rollout the ratio is 1: the clip range is then without effect."""
    for num_epochs, expected in ((1, False), (4, True)):
        policy = tiny_model(0, vocab_size=8)
        config = RLConfig(num_iterations=3, num_prompts=4, group_size=32, max_new_tokens=6,
                          num_epochs=num_epochs, learning_rate=2e-2, warmup_iterations=1)
        optimizer = torch.optim.AdamW(policy.parameters(), lr=2e-2)
        history = list(grpo.train(policy, None, optimizer, toy_world(), config, seed=0))
        assert any(m["clip_frac"] > 0 for m in history) == expected


def test_micro_batch_size_changes_memory_and_not_the_update():
    weights = []
    for size in (4, 1000):
        policy = tiny_model(0, vocab_size=8)
        config = RLConfig(num_iterations=2, num_prompts=4, group_size=8, max_new_tokens=6,
                          micro_batch_size=size, learning_rate=20.0)
        optimizer = torch.optim.SGD(policy.parameters())
        list(grpo.train(policy, None, optimizer, toy_world(), config, seed=0))
        weights.append(policy.embedding.weight)
    assert torch.allclose(*weights, atol=1e-5)
    assert not torch.allclose(weights[0], tiny_model(0, vocab_size=8).embedding.weight, atol=1e-3)


def test_logged_means_have_a_denominator_of_their_own():
    """Where the loss is divided by a constant, approx_kl and clip_frac are still means over tokens."""
    tensors = batch()
    expected_loss, expected = grpo.compute_loss(*tensors, CONFIG)
    num_tokens = tensors[-1].sum().item()
    loss, metrics = grpo.compute_loss(*tensors, CONFIG, 100, weight_sum=num_tokens)
    assert loss.item() == pytest.approx(expected_loss.item() * num_tokens / 100)
    for name in ("approx_kl", "clip_frac"):
        assert metrics[name] == pytest.approx(expected[name]) and metrics[name] > 0
