"""What theory says of PPO and GRPO, checked on their own code:
REINFORCE, baselines, finite differences, a known critic."""

import copy
import math
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from helpers import ragged_rollout, tiny_model, toy_world, unpadded

from minireason import grpo, ppo
from minireason.batch import weigh_tokens
from minireason.config import RLConfig
from minireason.policy import Critic, SharedCritic, completion_hidden, completion_logprobs
from minireason.token_math import exact_kl, k1, k2, k3
from minireason.tokenizer import get_tokenizer

PLAIN = SimpleNamespace(clip_low=0.2, clip_high=0.28, kl_coef=0.0, value_coef=0.5, value_clip=0.2)


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def ragged_mask(lengths):
    return (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).double()


def numeric_gradient(function, x, step=1e-6):
    """Central differences of a function of x, one number after the other."""
    gradient = torch.zeros_like(x)
    for i in range(x.numel()):
        shifted = [x.detach().clone() for _ in range(2)]
        for sign, copy_ in zip((1, -1), shifted):
            copy_.view(-1)[i] += sign * step
        gradient.view(-1)[i] = (function(shifted[0]) - function(shifted[1])) / (2 * step)
    return gradient


# -----------------------------------------------------------------------------
# Gradients

@pytest.mark.parametrize("kl_coef", [0.0, 0.3])
def test_grpos_gradient_is_that_of_finite_differences(kl_coef):
    mask = ragged_mask([5, 2, 4])
    old, ref, advantages = random(3, 5), random(3, 5, seed=1), random(3, 5, seed=2)
    config = SimpleNamespace(clip_low=0.2, clip_high=0.28, kl_coef=kl_coef)
    logprobs = (old + 0.4 * random(3, 5, seed=3)).requires_grad_()

    def loss(x):
        return grpo.compute_loss(x, old, ref, advantages, mask, config)[0]

    found, = torch.autograd.grad(loss(logprobs), logprobs)
    assert torch.allclose(found, numeric_gradient(loss, logprobs), atol=1e-8)
    assert (found[mask.bool()] == 0).any() == (kl_coef == 0) and found.any()      # some tokens are clipped


def test_ppos_gradients_are_those_of_finite_differences():
    mask = ragged_mask([5, 2, 4])
    old, old_values, advantages, returns = (random(3, 5, seed=s) for s in range(4))
    logprobs = (old + 0.4 * random(3, 5, seed=5)).requires_grad_()
    values = (old_values + 0.4 * random(3, 5, seed=6)).requires_grad_()

    def loss(x, v):
        return ppo.compute_loss(x, old, advantages, v, old_values, returns, mask, PLAIN)[0]

    found = torch.autograd.grad(loss(logprobs, values), (logprobs, values))
    assert torch.allclose(found[0], numeric_gradient(lambda x: loss(x, values), logprobs), atol=1e-8)
    assert torch.allclose(found[1], numeric_gradient(lambda v: loss(logprobs, v), values), atol=1e-8)


def reinforce(model, rollout, weights):
    """Gradients of -sum_i weight_i log p(completion i) / number of tokens,
    row by row and without any of our losses."""
    total = torch.zeros((), dtype=torch.float64)
    for i, weight in enumerate(weights):
        prompt, completion = unpadded(rollout, i)
        logits = model(torch.tensor([prompt + completion]))[0].log_softmax(-1)
        total = total - weight * sum(logits[len(prompt) - 1 + t, token] for t, token in enumerate(completion))
    return torch.autograd.grad(total / rollout.completion_mask.sum(), list(model.parameters()))


def small_world():
    model = tiny_model(0, vocab_size=24).double()
    rollout = ragged_rollout(torch.Generator().manual_seed(0))
    with torch.no_grad():
        rollout.old_logprobs = completion_logprobs(model, rollout)[0]
    rollout.completion_mask = rollout.completion_mask.double()
    return model, rollout


@pytest.mark.parametrize("scale", [True, False])
def test_on_policy_grpos_loss_is_a_covariance_and_its_gradient_is_reinforce_with_a_baseline(scale):
    model, rollout = small_world()
    rewards = rollout.rewards.double().view(2, 2)
    advantages = grpo.group_advantages(rewards, scale).view(-1)
    logprobs, _ = completion_logprobs(model, rollout)
    loss, _ = grpo.compute_loss(logprobs, rollout.old_logprobs, None,
                                advantages[:, None] * rollout.completion_mask,
                                rollout.completion_mask, PLAIN)
    lengths = rollout.completion_mask.sum(1)
    assert loss.item() == pytest.approx(-(advantages * lengths).sum().item() / lengths.sum().item(),
                                        abs=1e-12)
    assert abs(loss.item()) > 1e-3                                    # lengths differ, so it is not 0
    baseline = [(r - sum(group) / 2) / ((max(group) - min(group)) / math.sqrt(2) + 1e-4 if scale else 1)
                for group in rewards.tolist() for r in group]
    for ours, theirs in zip(torch.autograd.grad(loss, list(model.parameters())),
                            reinforce(model, rollout, baseline)):
        assert torch.allclose(ours, theirs, atol=1e-9)


def test_with_a_critic_that_says_zero_ppo_is_plain_reinforce():
    """lambda = gamma = 1, no KL, no whitening: the advantage of every token is the final reward."""
    model, rollout = small_world()
    mask, zeros = rollout.completion_mask, torch.zeros_like(rollout.old_logprobs)
    token_rewards = zeros.clone()
    for i, n in enumerate(mask.sum(1).long().tolist()):
        token_rewards[i, n - 1] = rollout.rewards[i]
    advantages, returns = ppo.gae(token_rewards, zeros, mask, 1.0, 1.0)
    assert torch.allclose(advantages, rollout.rewards.double()[:, None] * mask)
    logprobs, _ = completion_logprobs(model, rollout)
    loss, _ = ppo.compute_loss(logprobs, rollout.old_logprobs, advantages, zeros, zeros, returns, mask, PLAIN)
    for ours, theirs in zip(torch.autograd.grad(loss, list(model.parameters())),
                            reinforce(model, rollout, rollout.rewards.tolist())):
        assert torch.allclose(ours, theirs, atol=1e-9)


@pytest.mark.parametrize("normalize", ["token", "sequence", "constant"])
@pytest.mark.parametrize("algo", ["grpo", "ppo"])
def test_micro_batches_leave_the_gradient_as_it_is(algo, normalize):
    model, rollout = small_world()
    critic = Critic(model).double()
    torch.nn.init.normal_(critic.value.weight, generator=torch.Generator().manual_seed(1))
    shape = rollout.old_logprobs.shape
    rollout.advantages, rollout.returns, rollout.old_values = (random(*shape, seed=s) for s in range(3))
    rollout.ref_logprobs = rollout.old_logprobs + 0.1 * random(*shape, seed=5)
    config = SimpleNamespace(clip_low=0.2, clip_high=0.28, kl_coef=0.1, value_coef=0.5, value_clip=0.2,
                             normalize=normalize, max_new_tokens=9)
    rollout.loss_weights, num_tokens, _ = weigh_tokens(rollout.completion_mask, config, 4)
    gradients = []
    for size in (4, 3, 1):
        modules = torch.nn.ModuleList((model, critic))
        modules.zero_grad()
        for batch in rollout.micro_batches(size):
            logprobs, _ = completion_logprobs(model, batch)
            if algo == "grpo":
                loss, _ = grpo.compute_loss(logprobs, batch.old_logprobs, batch.ref_logprobs,
                                            batch.advantages, batch.loss_weights, config, num_tokens)
            else:
                loss, _ = ppo.compute_loss(logprobs, batch.old_logprobs, batch.advantages,
                                           critic(batch), batch.old_values, batch.returns,
                                           batch.loss_weights, config, num_tokens)
            loss.backward()
        gradients.append([p.grad.clone() for p in modules.parameters() if p.grad is not None])
    for other in gradients[1:]:
        assert len(other) == len(gradients[0]) > 10
        assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(gradients[0], other))


# -----------------------------------------------------------------------------
# Rewards, weights and variants

def test_only_grpo_cannot_tell_rewards_of_0_and_1_from_minus_1_and_1():
    zero_one = torch.tensor([[1.0, 0.0, 0.0, 1.0], [0.0, 0.0, 1.0, 0.0]])
    signed = 2 * zero_one - 1
    assert torch.allclose(grpo.group_advantages(zero_one), grpo.group_advantages(signed), atol=5e-4)
    assert not torch.allclose(grpo.group_advantages(zero_one, scale=False),
                              grpo.group_advantages(signed, scale=False))
    values, mask = torch.full((8, 1), 0.3), torch.ones(8, 1)
    first, second = (ppo.gae(r.view(8, 1), values, mask, 1.0, 1.0)[0] for r in (zero_one, signed))
    assert not torch.allclose(first, second, atol=0.1)


def test_leave_one_out_compares_with_the_mean_of_the_others():
    rewards = random(5, 6)
    found = grpo.group_advantages(rewards, scale=False, leave_one_out=True)
    for p in range(5):
        for i in range(6):
            others = [rewards[p, j].item() for j in range(6) if j != i]
            assert found[p, i].item() == pytest.approx(rewards[p, i].item() - sum(others) / 5)


def test_what_a_token_counts_by_hand():
    mask = torch.tensor([[1.0, 1, 1, 1], [1, 0, 0, 0]])
    per_token = torch.tensor([[1.0, 2, 3, 6], [10, 99, 99, 99]])
    expected = {"token": 22 / 5, "sequence": (3 + 10) / 2, "constant": 22 / (2 * 8)}
    for normalize, value in expected.items():
        weights, number, _ = weigh_tokens(mask, SimpleNamespace(normalize=normalize, max_new_tokens=8), 2)
        assert (per_token * weights).sum().item() / number == pytest.approx(value)


def test_a_rollout_without_any_spread_is_no_step():
    rollout = ragged_rollout(torch.Generator().manual_seed(0))
    rollout.rewards = torch.ones(4)
    config = RLConfig(group_size=2)
    grpo.compute_advantages(rollout, config)
    empty = grpo.rows_with_signal(rollout, config)
    assert len(empty) == 0 and empty.micro_batches(2) == []
    rollout.rewards = torch.tensor([1.0, 1.0, 0.0, 1.0])
    grpo.compute_advantages(rollout, config)
    rows = grpo.rows_with_signal(rollout, config)
    assert len(rows) == 2 and torch.equal(rows.completion_ids, rollout.completion_ids[2:, :2])
    assert len(grpo.rows_with_signal(rollout, RLConfig(group_size=2, kl_coef=0.1))) == 4      # all have a KL
    assert len(ppo.rows_with_signal(rollout, config)) == 4      # the critic learns from all


# -----------------------------------------------------------------------------
# The KL estimators, over our own vocabulary

def test_estimators_over_the_vocabulary():
    """Values: E_p[k1] = E_p[k3] = KL(p||q). Gradients as losses, p held fixed as the sampler: k1 none, k2
    KL(p||q), k3 KL(q||p). All as exact sums over every token, for the next token of two models."""
    ids = torch.tensor([get_tokenizer().encode("make 42 from 3 8 6")])
    model, reference = (tiny_model(seed, sharpness=3).double() for seed in (0, 1))
    logits, ref = model(ids)[0, -1], reference(ids)[0, -1].detach()
    logp, logq = logits.log_softmax(-1), ref.log_softmax(-1)
    assert len(logp) == get_tokenizer().vocab_size
    kl, p = exact_kl(logits, ref), logp.detach().exp()
    assert kl.item() == pytest.approx(F.kl_div(logq, logp, log_target=True, reduction="sum").item())
    assert kl > 0.01
    assert (p * k1(logp, logq)).sum().item() == pytest.approx(kl.item())
    assert (p * k3(logp, logq)).sum().item() == pytest.approx(kl.item())
    assert (p * k2(logp, logq)).sum().item() != pytest.approx(kl.item(), rel=1e-3)
    parameters = list(model.parameters())

    def gradient(loss):
        return torch.cat([g.flatten() for g in torch.autograd.grad(loss, parameters, retain_graph=True)])

    backward_kl = (logq.exp() * (logq - logp)).sum()
    assert gradient((p * k1(logp, logq)).sum()).abs().max() < 1e-12
    assert torch.allclose(gradient((p * k2(logp, logq)).sum()), gradient(kl))
    assert torch.allclose(gradient((p * k3(logp, logq)).sum()), gradient(backward_kl))
    assert not torch.allclose(gradient(kl), gradient(backward_kl), rtol=0.01)


# -----------------------------------------------------------------------------
# The critic

@pytest.mark.slow
def test_a_critic_reaches_the_values_of_a_known_chain():
    """Tokens are coin flips and the reward is the share of heads:
    after n flips with h heads, (h + (L - n)/2) / L is due."""
    generator, L = torch.Generator().manual_seed(0), 4
    policy = tiny_model(0, vocab_size=8)
    critic = Critic(policy)
    optimizer = torch.optim.Adam(critic.parameters(), lr=3e-3)
    config = SimpleNamespace(**vars(PLAIN) | {"value_clip": 1e9, "value_coef": 1.0})
    rollout = ragged_rollout(generator, 8, (2,) * 256, (L,) * 256)
    rollout.ids[:, :2] = 5
    for _ in range(120):
        flips = torch.randint(0, 2, (256, L), generator=generator)
        rollout.completion_ids = rollout.ids[:, 2:] = flips
        token_rewards = torch.zeros(256, L)
        token_rewards[:, -1] = flips.float().mean(1)
        values = critic(rollout)
        _, returns = ppo.gae(token_rewards, values.detach(), rollout.completion_mask, 1.0, 1.0)
        zeros = torch.zeros(256, L)
        loss, _ = ppo.compute_loss(zeros, zeros, zeros, values, values.detach(), returns,
                                   rollout.completion_mask, config)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    heads = torch.cat((torch.zeros(256, 1), flips.cumsum(1)[:, :-1].float()), 1)          # before each flip
    due = (heads + (L - torch.arange(L)) / 2) / L
    assert (critic(rollout) - due).abs().mean() < 0.03
    assert (due - due.mean()).abs().mean() > 0.08      # a constant would not do


def test_explained_variance_of_critics_that_know_nothing_and_all():
    rollout = ragged_rollout(torch.Generator().manual_seed(0))
    mask = rollout.completion_mask
    rollout.returns = torch.randn(mask.shape, generator=torch.Generator().manual_seed(1)) * mask
    for values, expected in ((rollout.returns, 1.0), (torch.full_like(mask, 0.7), 0.0),
                             (-rollout.returns, -3.0)):
        rollout.old_values = values
        assert rollout.summary(2)["explained_variance"] == pytest.approx(expected, abs=1e-5)


def test_a_shared_critic_is_one_layer_on_the_policys_hidden_states():
    policy = tiny_model(0, vocab_size=24)
    critic, rollout = SharedCritic(policy), ragged_rollout(torch.Generator().manual_seed(0))
    assert [p.numel() for p in critic.parameters()] == [policy.config.width, 1]
    assert "body" not in str(critic.state_dict())
    torch.nn.init.normal_(critic.value.weight)
    hidden = completion_hidden(policy, rollout)
    expected = hidden @ critic.value.weight[0] + critic.value.bias
    assert torch.allclose(critic(rollout, hidden), expected)
    critic(rollout, hidden).sum().backward()
    assert policy.embedding.weight.grad.any()      # both tasks shape one body
    own = Critic(copy.deepcopy(policy))
    own(rollout, hidden.detach()).sum().backward()
    assert own.value.weight.grad.any()      # a separate one looks for itself


# -----------------------------------------------------------------------------
# The training loop's first step, by hand

def first_step(monkeypatch, module, extra=(), **settings):
    """The metrics of one on-policy step of `train`, and the rollout that it learned from."""
    seen, collect = [], module.collect_rollout
    monkeypatch.setattr(module, "collect_rollout", lambda *args: seen.append(collect(*args)) or seen[-1])
    policy = tiny_model(0, vocab_size=8, sharpness=4)
    config = RLConfig(**{"num_iterations": 1, "num_prompts": 4, "group_size": 8, "max_new_tokens": 6,
                         "num_epochs": 1, "micro_batch_size": 5, "temperature": 0.6,
                         "warmup_iterations": 1} | settings)
    modules = [make(policy) for make in extra]
    optimizer = torch.optim.SGD([{"params": list(m.parameters())} for m in (policy, *modules)], lr=0.0)
    metrics, = module.train(policy, *modules, policy, optimizer, two_kinds_of_prompt(), config, seed=0)
    return metrics, seen[0]


def two_kinds_of_prompt():
    """Half the prompts are paid for a 3, the other half for its absence: groups must not be mixed up."""
    world = toy_world()
    world.draw = lambda rng: SimpleNamespace(prompt="12", paid=rng.random() < 0.5)
    world.reward = lambda problems, texts: [float(("3" in text) == p.paid)
                                            for p, text in zip(problems, texts)]
    return world


def test_the_first_step_of_grpo_is_as_computed_by_hand(monkeypatch):
    metrics, rollout = first_step(monkeypatch, grpo)
    lengths, rewards = rollout.completion_mask.sum(1).tolist(), rollout.rewards.tolist()
    total, counted = 0.0, 0
    for p in range(4):
        group = rewards[8 * p:8 * p + 8]
        mean = sum(group) / 8
        std = (sum((r - mean) ** 2 for r in group) / 7) ** 0.5
        if std:
            total -= sum((r - mean) / (std + 1e-4) * n for r, n in zip(group, lengths[8 * p:8 * p + 8]))
            counted += sum(lengths[8 * p:8 * p + 8])
    assert len(set(lengths)) > 2 and counted and abs(total) > 0.5
    assert metrics["policy_loss"] == pytest.approx(total / counted, abs=1e-5)
    # the ratio is 1
    assert metrics["approx_kl"] == pytest.approx(0.0, abs=1e-6) and metrics["clip_frac"] == 0


def test_the_first_step_of_ppo_is_as_computed_by_hand(monkeypatch):
    metrics, rollout = first_step(monkeypatch, ppo, (Critic,), kl_coef=0.0, value_coef=1.0)
    lengths, rewards = rollout.completion_mask.sum(1).tolist(), rollout.rewards.tolist()
    count = sum(lengths)
    # a critic of zeros: every token is due its reward
    mean = sum(r * n for r, n in zip(rewards, lengths)) / count
    std = (sum(n * (r - mean) ** 2 for r, n in zip(rewards, lengths)) / count) ** 0.5
    assert std > 0.1
    policy_loss = -sum((r - mean) / std * n for r, n in zip(rewards, lengths)) / count
    value_loss = 0.5 * sum(r * r * n for r, n in zip(rewards, lengths)) / count
    assert metrics["policy_loss"] == pytest.approx(policy_loss, abs=1e-5)
    assert metrics["value_loss"] == pytest.approx(value_loss, abs=1e-5)
    assert metrics["approx_kl"] == pytest.approx(0.0, abs=1e-6) and metrics["clip_frac"] == 0


@pytest.mark.parametrize("kl_coef", [0.0, 0.1])
@pytest.mark.parametrize("module, extra", [(grpo, ()), (ppo, (Critic,))])
def test_the_logged_entropy_is_a_mean_over_tokens_whatever_the_loss_is_divided_by(monkeypatch, module,
                                                                                  extra, kl_coef):
    by_token, _ = first_step(monkeypatch, module, extra, kl_coef=kl_coef)
    constant, _ = first_step(monkeypatch, module, extra, kl_coef=kl_coef, normalize="constant")
    assert 0.5 < by_token["entropy"] < math.log(8)
    assert constant["entropy"] == pytest.approx(by_token["entropy"])
    assert constant["policy_loss"] != pytest.approx(by_token["policy_loss"], rel=0.1)


def test_the_constant_is_that_of_all_sampled_completions(monkeypatch):
    """Also where groups without signal are left out: 4 prompts, 8 completions each, of at most 6 tokens."""
    metrics, rollout = first_step(monkeypatch, grpo, normalize="constant", temperature=0.4)
    rewards = rollout.rewards.view(4, 8)
    assert 1 <= (rewards.std(1) == 0).sum() <= 3
    advantages = grpo.group_advantages(rewards).view(-1)
    total = -(advantages * rollout.completion_mask.sum(1)).sum().item()
    assert metrics["policy_loss"] == pytest.approx(total / (4 * 8 * 6), abs=1e-5) and abs(total) > 0.5


def test_ppos_value_loss_is_weighted_as_its_policy_loss_is():
    weights, zeros = torch.tensor([[0.25, 0.25, 0.25, 0.25], [1.0, 0.0, 0.0, 0.0]]), torch.zeros(2, 4)
    returns = torch.tensor([[1.0, 2.0, 3.0, 4.0], [5.0, 99.0, 99.0, 99.0]])
    _, metrics = ppo.compute_loss(zeros, zeros, zeros, zeros, zeros, returns, weights, PLAIN)
    assert metrics["value_loss"] == pytest.approx(0.5 * ((1 + 4 + 9 + 16) / 4 + 25) / 2)
