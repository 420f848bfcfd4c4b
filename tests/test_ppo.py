"""PPO against sums over all later rewards, loops over single tokens, and a critic that must learn."""

import copy
from types import SimpleNamespace

import pytest
import torch
from helpers import ragged_rollout, tiny_model, toy_world

from minireason import grpo, ppo
from minireason.config import RLConfig
from minireason.optimizer import adamw
from minireason.policy import Critic

CONFIG = SimpleNamespace(clip_low=0.2, clip_high=0.28, value_coef=0.7, value_clip=0.3)


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def ragged_mask(B, L):
    return (torch.arange(L) < torch.tensor([1 + (3 * i) % L for i in range(B)])[:, None]).double()


@pytest.mark.parametrize("gamma, gae_lambda", [(1.0, 1.0), (0.9, 0.95), (0.97, 0.0)])
def test_gae_is_the_discounted_sum_of_all_later_errors(gamma, gae_lambda):
    rewards, values, mask = random(5, 7), random(5, 7, seed=1), ragged_mask(5, 7)
    advantages, returns = ppo.gae(rewards, values, mask, gamma, gae_lambda)
    for i in range(5):
        n = int(mask[i].sum())

        def value(t):
            return values[i, t].item() if t < n else 0.0

        for t in range(7):
            expected = sum((gamma * gae_lambda) ** (k - t)
                           * (rewards[i, k].item() + gamma * value(k + 1) - value(k))
                           for k in range(t, n))
            assert advantages[i, t].item() == pytest.approx(expected if t < n else 0.0)
            assert returns[i, t].item() == pytest.approx(expected + value(t) if t < n else 0.0)


def test_with_lambda_one_the_return_is_what_came_and_no_value_leaks_past_the_end():
    rewards, values, mask = random(5, 7), random(5, 7, seed=1) * 100, ragged_mask(5, 7)
    _, returns = ppo.gae(rewards, values, mask, 1.0, 1.0)
    expected = (rewards * mask).flip(1).cumsum(1).flip(1) * mask
    assert torch.allclose(returns, expected)


def test_loss_and_gradients_equal_a_loop_over_tokens():
    B, L = 6, 9
    mask = ragged_mask(B, L)
    old, advantages, old_values, returns = (random(B, L, seed=s) for s in range(4))
    logprobs, values = ((x + 0.5 * random(B, L, seed=9)).requires_grad_() for x in (old, old_values))
    loss, metrics = ppo.compute_loss(logprobs, old, advantages, values, old_values, returns, mask, CONFIG)
    expected = 0.0
    for i in range(B):
        for t in range(int(mask[i].sum())):
            ratio = torch.exp(logprobs[i, t] - old[i, t])
            expected = expected - min(ratio * advantages[i, t],
                                      max(0.8, min(1.28, ratio.item())) * advantages[i, t])
            v, o, r = values[i, t], old_values[i, t], returns[i, t]
            clipped = o + max(-0.3, min(0.3, (v - o).item())) if abs((v - o).item()) > 0.3 else v
            expected = expected + 0.7 * 0.5 * max((v - r) ** 2, (clipped - r) ** 2)
    expected = expected / mask.sum()
    assert torch.allclose(loss, expected)
    for leaf in (logprobs, values):
        assert torch.allclose(*(torch.autograd.grad(x, leaf, retain_graph=True)[0] for x in (loss, expected)))
    tensors = (logprobs, old, advantages, values, old_values, returns, mask)
    half = [ppo.compute_loss(*(x[rows] for x in tensors), CONFIG, mask.sum())[0]
            for rows in (slice(0, 2), slice(2, 6))]
    assert torch.allclose(loss, sum(half))


def test_anything_may_stand_under_the_mask():
    B, L = 6, 9
    mask = ragged_mask(B, L)
    clean = [random(B, L, seed=s) for s in range(6)]
    dirty = [torch.where(mask.bool(), x, torch.full_like(x, 1e30 if i % 2 else -1e30))
             for i, x in enumerate(clean)]
    leaf = dirty[0].clone().requires_grad_()
    found = ppo.compute_loss(leaf, *dirty[1:], mask.bool(), CONFIG)[0]
    assert torch.allclose(found, ppo.compute_loss(*clean, mask, CONFIG)[0])
    found.backward()
    assert leaf.grad.isfinite().all()
    assert torch.allclose(ppo.gae(dirty[0], dirty[1], mask, 0.9, 0.9)[0],
                          ppo.gae(clean[0], clean[1], mask, 0.9, 0.9)[0])


def test_the_policy_term_is_grpos():
    old, new, advantages, mask = random(4, 5), random(4, 5, seed=1), random(4, 5, seed=2), ragged_mask(4, 5)
    config = SimpleNamespace(clip_low=0.1, clip_high=0.3, kl_coef=0.0, value_coef=0.0, value_clip=0.2)
    zeros = torch.zeros_like(old)
    ours, _ = ppo.compute_loss(new, old, advantages, zeros, zeros, zeros, mask, config)
    assert torch.allclose(ours, grpo.compute_loss(new, old, None, advantages, mask, config)[0])


def test_the_reward_comes_on_the_last_token_and_the_kl_on_each():
    rollout = ragged_rollout(torch.Generator().manual_seed(0))
    rollout.old_logprobs = random(4, 7).float()
    rollout.ref_logprobs = random(4, 7, seed=1).float()
    rollout.old_values = torch.zeros(4, 7)
    ppo.compute_advantages(rollout, SimpleNamespace(kl_coef=0.5, gamma=1.0, gae_lambda=1.0))
    for i in range(4):
        n = int(rollout.completion_mask[i].sum())
        for t in range(n):
            kl = (rollout.old_logprobs[i, t:n] - rollout.ref_logprobs[i, t:n]).sum()
            assert rollout.returns[i, t].item() == pytest.approx((rollout.rewards[i] - 0.5 * kl).item(),
                                                                 abs=1e-5)
    kept = rollout.advantages[rollout.completion_mask.bool()]
    assert kept.mean().item() == pytest.approx(0.0, abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("kl_coef", [0.0, 0.01])
def test_training_raises_the_reward_and_the_critic_learns(kl_coef):
    policy = tiny_model(0, vocab_size=8)
    critic, reference = Critic(policy), copy.deepcopy(policy) if kl_coef else None
    config = RLConfig(num_iterations=30, num_prompts=4, group_size=32, max_new_tokens=6, kl_coef=kl_coef,
                      learning_rate=5e-3, critic_learning_rate=5e-3, warmup_iterations=1, value_clip=10.0)
    optimizer = adamw(config, policy, critic)
    history = list(ppo.train(policy, critic, reference, optimizer, toy_world(), config, seed=0))
    early, late = (sum(m["reward"] for m in part) / 5 for part in (history[:5], history[-5:]))
    assert late > early + 0.3
    assert history[-1]["value_loss"] < history[0]["value_loss"]


def test_the_critic_learns_alone_at_first():
    policy = tiny_model(0, vocab_size=8)
    critic, before = Critic(policy), copy.deepcopy(policy.state_dict())
    config = RLConfig(num_iterations=3, num_prompts=4, group_size=32, max_new_tokens=6, critic_warmup=2,
                      learning_rate=1e-2, critic_learning_rate=1e-2, warmup_iterations=1)
    values = [parameter.clone() for parameter in critic.parameters()]
    steps = ppo.train(policy, critic, None, adamw(config, policy, critic), toy_world(), config, seed=0)
    for _ in range(2):
        next(steps)
        assert all(torch.equal(before[name], value) for name, value in policy.state_dict().items())
    assert any(not torch.equal(old, new) for old, new in zip(values, critic.parameters()))
    next(steps)
    assert any(not torch.equal(before[name], value) for name, value in policy.state_dict().items())
