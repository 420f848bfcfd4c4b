"""The kin of GRPO, each against its formula on single tokens: GSPO, CISPO, DAPO, REINFORCE++, an entropy
bonus, and the KL in the loss or in the reward. test_trl.py compares them with TRL's code."""

import copy
import inspect
import math
import random
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from helpers import ragged_rollout, tiny_model, toy_world, unpadded
from test_settings import never, refused

import train
from minireason import grpo, ppo, rollout
from minireason.batch import weigh_tokens
from minireason.config import RLConfig
from minireason.config import option as config_option
from minireason.optimizer import adamw
from minireason.policy import completion_logprobs, make_critic
from minireason.rollout import collect_rollout, overlong_price
from minireason.tokenizer import get_tokenizer
from minireason.tools import bugs
from minireason.upkeep import parallel

# No more than the contract: clip_low, clip_high, kl_coef, value_coef and value_clip.
CONFIG = SimpleNamespace(clip_low=0.2, clip_high=0.28, kl_coef=0.0, value_coef=0.0, value_clip=0.2)
LENGTHS = (9, 1, 4, 6, 2)


def draws(seed=0):
    """(logprobs, old, ref, advantages by row, mask): float64 tensors (5, 9), of which LENGTHS count."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    old = -draw(5, 9).abs()
    logprobs, ref = old + 0.3 + 0.4 * draw(5, 9), old + 0.5 * draw(5, 9)
    mask = (torch.arange(9) < torch.tensor(LENGTHS)[:, None]).double()
    return logprobs.requires_grad_(), old, ref, draw(5, 1).expand(5, 9), mask


def gradient(loss, leaf):
    return torch.autograd.grad(loss, leaf, retain_graph=True)[0]


def clip(ratio):
    return max(0.8, min(1.28, ratio))


# -----------------------------------------------------------------------------
# GSPO and CISPO

def loop_gspo(logprobs, old, advantages):
    """One ratio for a completion, the geometric mean of its tokens' ratios, and a mean over completions
    (arXiv:2507.18071, equation 5)."""
    total = 0.0
    for i, n in enumerate(LENGTHS):
        ratio = torch.exp(sum(logprobs[i, t] - old[i, t] for t in range(n)) / n)
        total = total - min(ratio * advantages[i, 0], clip(ratio.item()) * advantages[i, 0])
    return total / len(LENGTHS)


def loop_cispo(logprobs, old, advantages):
    """REINFORCE, where a token's weight is its clipped ratio as a number."""
    total = 0.0
    for i, n in enumerate(LENGTHS):
        for t in range(n):
            weight = clip(math.exp((logprobs[i, t] - old[i, t]).item()))
            total = total - weight * advantages[i, t] * (logprobs[i, t] - old[i, t])
    return total / sum(LENGTHS)


@pytest.mark.parametrize("objective, loop", [("gspo", loop_gspo), ("cispo", loop_cispo)])
@pytest.mark.parametrize("algo", ["grpo", "ppo"])
def test_loss_and_gradient_equal_a_loop_over_tokens(algo, objective, loop):
    logprobs, old, _, advantages, mask = draws()
    settings = RLConfig(normalize="sequence" if objective == "gspo" else "token")
    weights, num_tokens, _ = weigh_tokens(mask, settings, len(LENGTHS))
    if algo == "grpo":
        loss, metrics = grpo.compute_loss(logprobs, old, None, advantages, weights, CONFIG, num_tokens,
                                          objective=objective)
    else:
        zeros = torch.zeros_like(old)
        loss, metrics = ppo.compute_loss(logprobs, old, advantages, zeros, zeros, zeros, weights, CONFIG,
                                         num_tokens, objective=objective)
    expected = loop(logprobs, old, advantages)
    assert 0 < metrics["clip_frac"] < 1 and torch.allclose(loss, expected)
    assert torch.allclose(gradient(loss, logprobs), gradient(expected, logprobs))


def test_with_a_critic_gspo_gives_each_token_its_own_advantage():
    """The gradient of a token: ratio of its completion, times its advantage, unless this ratio is clipped."""
    logprobs, old, _, _, mask = draws()
    advantages = torch.randn(5, 9, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    zeros = torch.zeros_like(old)
    loss, _ = ppo.compute_loss(logprobs, old, advantages, zeros, zeros, zeros, mask, CONFIG, objective="gspo")
    found = gradient(loss, logprobs)
    for i, n in enumerate(LENGTHS):
        ratio = math.exp((logprobs - old)[i, :n].mean().item())
        for t in range(9):
            advantage = advantages[i, t].item()
            is_clipped = ratio > 1.28 if advantage > 0 else ratio < 0.8
            expected = 0.0 if is_clipped or t >= n else -ratio * advantage / sum(LENGTHS)
            assert found[i, t].item() == pytest.approx(expected)


@pytest.mark.parametrize("objective", ["clip", "gspo", "cispo"])
def test_before_the_first_update_all_objectives_have_the_gradient_of_reinforce(objective):
    _, old, _, advantages, mask = draws()
    logprobs = old.clone().requires_grad_()
    loss, _ = grpo.compute_loss(logprobs, old, None, advantages, mask, CONFIG, objective=objective)
    assert torch.allclose(gradient(loss, logprobs), -advantages * mask / mask.sum())


def test_the_default_objective_and_estimator_are_those_of_grpo():
    logprobs, old, ref, advantages, mask = draws()
    config = SimpleNamespace(**vars(CONFIG) | {"kl_coef": 0.1})
    plain, _ = grpo.compute_loss(logprobs, old, ref, advantages, mask, config)
    named, _ = grpo.compute_loss(logprobs, old, ref, advantages, mask, config, None, None, "k3", "clip")
    assert torch.equal(plain, named)
    assert torch.equal(gradient(plain, logprobs), gradient(named, logprobs))


@pytest.mark.parametrize("objective", ["gspo", "cispo"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_anything_may_stand_under_the_mask(objective, dtype):
    logprobs, old, _, advantages, mask = (x.detach().to(dtype) for x in draws())
    expected, _ = grpo.compute_loss(logprobs, old, None, advantages, mask, CONFIG, objective=objective)
    off = mask == 0
    leaf = logprobs.masked_fill(off, 1e30).requires_grad_()
    loss, _ = grpo.compute_loss(leaf, old.masked_fill(off, -1e30), None, advantages.masked_fill(off, 1e30),
                                mask, CONFIG, objective=objective)
    assert loss.dtype == dtype and torch.allclose(loss, expected)
    assert gradient(loss, leaf).isfinite().all() and not gradient(loss, leaf)[off].any()


# -----------------------------------------------------------------------------
# The KL, in the loss or in the reward

def k_of(estimator, logprob, ref):
    if estimator == "k1":
        return logprob - ref
    if estimator == "k2":
        return (logprob - ref) ** 2 / 2
    return math.e ** (ref - logprob) - 1 - (ref - logprob)


@pytest.mark.parametrize("estimator", ["k1", "k2", "k3"])
def test_each_estimator_in_the_loss_equals_a_loop_over_tokens(estimator):
    logprobs, old, ref, advantages, mask = draws()
    config = SimpleNamespace(**vars(CONFIG) | {"kl_coef": 0.3})
    loss, _ = grpo.compute_loss(logprobs, old, ref, advantages, mask, config, kl_estimator=estimator)
    without, _ = grpo.compute_loss(logprobs, old, None, advantages, mask, CONFIG)
    expected = 0.0
    for i, n in enumerate(LENGTHS):
        for t in range(n):
            expected = expected + 0.3 * k_of(estimator, logprobs[i, t], ref[i, t]) / sum(LENGTHS)
    assert torch.allclose(loss - without, expected)
    assert torch.allclose(gradient(loss - without, logprobs), gradient(expected, logprobs))


def sampled(seed=0):
    """A rollout of two groups of two, with a reference and rewards."""
    batch = ragged_rollout(torch.Generator().manual_seed(seed))
    generator = torch.Generator().manual_seed(seed + 1)
    batch.old_logprobs = -torch.rand(batch.completion_mask.shape, generator=generator)
    batch.ref_logprobs = -torch.rand(batch.completion_mask.shape, generator=generator)
    return batch


def returns_of(batch, estimator, coef):
    """Of each token: the reward of its completion, less the price of the KL from this token on."""
    returns = []
    for i, reward in enumerate(batch.rewards.tolist()):
        n = int(batch.completion_mask[i].sum())
        kl = [k_of(estimator, batch.old_logprobs[i, t].item(), batch.ref_logprobs[i, t].item())
              for t in range(n)]
        returns.append([reward - coef * sum(kl[t:]) for t in range(n)])
    return returns


@pytest.mark.parametrize("estimator", ["k1", "k2", "k3"])
def test_in_the_reward_a_completion_pays_for_the_kl_of_all_its_tokens(estimator):
    batch = sampled()
    config = RLConfig(group_size=2, kl_coef=0.2, kl_in_reward=True, kl_estimator=estimator,
                      scale_advantages=False)
    grpo.compute_advantages(batch, config)
    returns = returns_of(batch, estimator, 0.2)
    for i in range(4):
        group = [returns[j][0] for j in range(4) if j // 2 == i // 2]
        for t in range(7):
            expected = returns[i][0] - sum(group) / 2 if t < len(returns[i]) else 0.0
            assert batch.advantages[i, t].item() == pytest.approx(expected, abs=1e-6)


def test_the_kl_is_never_in_the_loss_and_in_the_reward(monkeypatch):
    estimators = []
    plain = grpo.compute_loss

    def watched(*args, **options):
        estimators.append(args[8])
        return plain(*args, **options)

    monkeypatch.setattr(grpo, "compute_loss", watched)
    for kl_in_reward, expected in ((True, ""), (False, "k2")):
        estimators.clear()
        lines, _ = trained("grpo", kl_coef=0.1, kl_in_reward=kl_in_reward, kl_estimator="k2")
        assert set(estimators) == {expected} and lines[-1]["kl"] > 0
        assert (lines[-1]["kl_loss"] > 0) != kl_in_reward


# -----------------------------------------------------------------------------
# REINFORCE++

@pytest.mark.parametrize("kl_coef", [0.0, 0.2])
def test_reinforce_plus_plus_shifts_and_scales_the_returns_of_all_tokens(kl_coef):
    batch = sampled()
    config = RLConfig(group_size=2, batch_baseline=True, kl_coef=kl_coef, kl_in_reward=True,
                      kl_estimator="k1")
    grpo.compute_advantages(batch, config)
    returns = returns_of(batch, "k1", kl_coef)
    tokens = [value for row in returns for value in row]
    mean = sum(tokens) / len(tokens)
    deviation = (sum((value - mean) ** 2 for value in tokens) / len(tokens)) ** 0.5
    for i, row in enumerate(returns):
        for t in range(7):
            expected = (row[t] - mean) / deviation if t < len(row) else 0.0
            assert batch.advantages[i, t].item() == pytest.approx(expected, abs=1e-5)


def test_reinforce_plus_plus_learns_from_a_group_with_equal_rewards():
    batch = sampled()
    batch.rewards = torch.tensor([1.0, 1.0, 0.0, 1.0])
    for batch_baseline, num_rows in ((False, 2), (True, 4)):
        config = RLConfig(group_size=2, batch_baseline=batch_baseline)
        grpo.compute_advantages(batch, config)
        assert len(grpo.rows_with_signal(batch, config)) == num_rows


# -----------------------------------------------------------------------------
# The entropy bonus

@pytest.mark.parametrize("algo", ["grpo", "ppo"])
def test_the_bonus_pulls_along_the_gradient_of_the_mean_entropy(algo, monkeypatch):
    """All rewards are 0, so nothing else pulls. The expected step is worked out row by row."""
    world, seen = toy_world(), []
    world.reward = lambda problems, texts: [0.0] * len(texts)
    module = {"grpo": grpo, "ppo": ppo}[algo]
    monkeypatch.setattr(module, "collect_rollout", lambda *a: seen.append(collect_rollout(*a)) or seen[-1])
    policy = tiny_model(0, vocab_size=8, sharpness=3)
    before = copy.deepcopy(policy)
    config = RLConfig(num_iterations=1, num_prompts=2, group_size=4, max_new_tokens=6, num_epochs=1,
                      micro_batch_size=3, entropy_coef=0.5, max_grad_norm=1e6, learning_rate=1.0,
                      warmup_iterations=1, temperature=0.7)
    critic = make_critic(policy, shared=False) if algo == "ppo" else None
    groups = [{"params": list(m.parameters())} for m in (policy, critic) if m is not None]
    networks = [policy] if critic is None else [policy, critic]
    line, = module.train(*networks, None, torch.optim.SGD(groups, lr=1.0), world, config, seed=0)

    entropies = []
    for row in range(8):
        prompt, completion = unpadded(seen[0], row)
        logits = before(torch.tensor([prompt + completion]))[0] / 0.7
        for t in range(len(completion)):
            p = logits[len(prompt) - 1 + t].softmax(-1)
            entropies.append(-(p * p.log()).sum())
    mean = sum(entropies) / len(entropies)
    assert line["entropy"] == pytest.approx(mean.item(), abs=1e-5)
    pulls = torch.autograd.grad(0.5 * mean, list(before.parameters()))
    for old, new, pull in zip(before.parameters(), policy.parameters(), pulls):
        assert torch.allclose(new - old, pull, atol=1e-5)
    assert max(pull.abs().max() for pull in pulls) > 1e-3


def test_the_entropy_has_a_gradient_only_where_it_is_asked_for():
    model, batch = tiny_model(0, vocab_size=24), sampled()
    assert not completion_logprobs(model, batch)[1].requires_grad
    assert completion_logprobs(model, batch, entropy_gradient=True)[1].requires_grad


# -----------------------------------------------------------------------------
# DAPO: the price of length

@pytest.mark.parametrize("buffer", [1, 7, 20])
def test_the_price_of_length_is_the_soft_overlong_punishment(buffer):
    config = RLConfig(max_new_tokens=20, overlong_buffer=buffer, overlong_penalty=0.5)
    found = overlong_price(torch.arange(1, 21), config).tolist()
    for length, price in zip(range(1, 21), found):
        expected = 0.0 if length <= 20 - buffer else 0.5 * (length - (20 - buffer)) / buffer
        assert price == pytest.approx(expected)
    assert found[-1] == pytest.approx(0.5)


def test_the_price_is_taken_off_the_rewards_and_the_log_shows_them_without_it():
    policy = tiny_model(0, vocab_size=8)
    config = RLConfig(num_prompts=6, group_size=8, max_new_tokens=6)
    plain = collect_rollout(policy, None, toy_world(), config, seed=0, iteration=0)
    config.overlong_penalty, config.overlong_buffer = 0.5, 4
    paid = collect_rollout(policy, None, toy_world(), config, seed=0, iteration=0)
    for row, length in enumerate(plain.completion_mask.sum(1).tolist()):
        price = 0.5 * max(0.0, (length - 2) / 4)
        assert paid.rewards[row].item() == pytest.approx(plain.rewards[row].item() - price)
    assert paid.summary(8)["reward"] == plain.summary(8)["reward"]
    assert paid.rewards.mean() < plain.rewards.mean() - 0.01


def test_a_group_that_differs_in_its_prices_alone_has_a_signal():
    policy = tiny_model(0, vocab_size=8)
    config = RLConfig(num_prompts=2, group_size=8, max_new_tokens=6, overlong_penalty=0.5, overlong_buffer=6)
    world = toy_world()
    world.reward = lambda problems, texts: [1.0] * len(texts)
    paid = collect_rollout(policy, None, world, config, seed=0, iteration=0)
    grpo.compute_advantages(paid, config)
    assert len(grpo.rows_with_signal(paid, config)) > 0
    assert paid.summary(8)["zero_std_frac"] == 0 and paid.summary(8)["reward"] == 1


# -----------------------------------------------------------------------------
# DAPO: dynamic sampling

def many_prompts(hopeless=0.5):
    """A toy world whose prompts have one to four tokens. A share of them is never paid."""
    world = toy_world()
    world.tokenizer = SimpleNamespace(encode_prompt=lambda text: [int(token) for token in text], eos_id=0,
                                      pad_id=0, decode=lambda ids: "".join(map(str, ids)))
    world.draws = 0

    def draw(rng):
        world.draws += 1
        prompt = "".join(rng.choice("1234567") for _ in range(rng.randint(1, 4)))
        return SimpleNamespace(prompt=prompt, hopeless=rng.random() < hopeless)

    def reward(problems, texts):
        return [float("3" in text and not problem.hopeless) for problem, text in zip(problems, texts)]

    world.draw, world.reward = draw, reward
    return world


SAMPLING = {"num_prompts": 6, "group_size": 4, "max_new_tokens": 6}


def test_groups_without_signal_are_replaced_and_the_others_stay():
    policy, world = tiny_model(0, vocab_size=8), many_prompts()
    plain = collect_rollout(policy, None, world, RLConfig(**SAMPLING), 3, 0)
    filled = collect_rollout(policy, None, world, RLConfig(**SAMPLING, max_refills=50), 3, 0)
    has_spread = [len(set(group)) > 1 for group in plain.rewards.view(6, 4).tolist()]
    assert 1 <= sum(has_spread) <= 5
    for group, stays in enumerate(has_spread):
        rewards = filled.rewards.view(6, 4)[group].tolist()
        assert len(set(rewards)) == 2
        assert (filled.problems[group].prompt == plain.problems[group].prompt) == stays
        if stays:
            rows = range(4 * group, 4 * group + 4)
            assert [filled.completions[row] for row in rows] == [plain.completions[row] for row in rows]
            assert [unpadded(filled, row) for row in rows] == [unpadded(plain, row) for row in rows]


def test_a_replaced_row_is_what_was_sampled_for_its_problem():
    """Its prompt, text and reward belong together, and its logprobs are the policy's, although prompts and
    completions of the draws have other lengths."""
    policy, reference, world = tiny_model(0, vocab_size=8), tiny_model(1, vocab_size=8), many_prompts()
    for seed in range(4):
        batch = collect_rollout(policy, reference, world, RLConfig(**SAMPLING, max_refills=50), seed, 0)
        for row in range(24):
            prompt, completion = unpadded(batch, row)
            problem = batch.problems[row // 4]
            assert "".join(map(str, prompt)) == problem.prompt
            text = "".join(map(str, completion))
            ended = completion[-1] == 0
            assert batch.completions[row] == (text if ended else "")
            assert batch.rewards[row] == float("3" in text and ended and not problem.hopeless)
            assert completion == batch.completion_ids[row, :len(completion)].tolist()
        mask = batch.completion_mask.bool()
        with torch.no_grad():
            for model, logprobs in ((policy, batch.old_logprobs), (reference, batch.ref_logprobs)):
                assert torch.allclose(completion_logprobs(model, batch)[0][mask], logprobs[mask], atol=1e-4)
        assert len(batch.micro_batches(5)) == 5


def test_replaced_groups_may_have_longer_completions_than_those_with_the_longest_prompts():
    """A row needs room for the longest prompt and the longest completion, which stand in different rows."""
    generator = torch.Generator().manual_seed(0)
    long_prompts = ragged_rollout(generator, prompt_lengths=(9, 9, 1, 1), lengths=(2, 1, 2, 2))
    long_completions = ragged_rollout(generator, prompt_lengths=(1, 2), lengths=(8, 5))
    merged = long_prompts.replace_groups(torch.tensor([False, True]), long_completions)
    expected = [*(unpadded(long_prompts, row) for row in (0, 1)),
                *(unpadded(long_completions, row) for row in (0, 1))]
    assert merged.ids.size(1) == 9 + 8 and merged.completion_ids.size(1) == 8
    pieces = merged.select(torch.tensor([0, 2]))
    assert [unpadded(merged, row) for row in range(4)] == expected
    assert [unpadded(pieces, row) for row in range(2)] == expected[::2] and pieces.ids.size(1) == 17
    assert merged.rewards.tolist() == [*long_prompts.rewards[:2].tolist(), *long_completions.rewards.tolist()]
    completion_logprobs(tiny_model(0, vocab_size=24), pieces)       # reads nothing beyond a row's end


def test_there_is_an_end_where_every_problem_is_hopeless():
    policy, world = tiny_model(0, vocab_size=8), many_prompts(hopeless=1.0)
    config = RLConfig(**SAMPLING, max_refills=3, num_iterations=2)
    batch = collect_rollout(policy, None, world, config, 0, 0)
    assert world.draws == 6 * (1 + 3) and len(batch) == 24 and not batch.rewards.any()
    lines = list(grpo.train(policy, None, adamw(config, policy), world, config, 0))
    assert [line["num_sampled"] for line in lines] == [96, 96]
    assert all(line["zero_std_frac"] == 1 and "policy_loss" not in line for line in lines)


@pytest.mark.parametrize("price", [{}, {"overlong_penalty": 0.5, "overlong_buffer": 2}])
def test_the_log_counts_all_that_was_sampled(monkeypatch, price):
    """A rollout of chosen groups would flatter the policy, or the opposite."""
    groups, plain = [], rollout.sample_groups

    def watched(*args):
        batch = plain(*args)
        groups.extend(batch.rewards.view(-1, 4).tolist())
        return batch

    monkeypatch.setattr(rollout, "sample_groups", watched)
    config = RLConfig(**SAMPLING, max_refills=9, **price)
    batch = collect_rollout(tiny_model(0, vocab_size=8), None, many_prompts(), config, seed=3, iteration=0)
    summary = batch.summary(4)
    assert summary["num_sampled"] == 4 * len(groups) > 24
    assert summary["reward"] == pytest.approx(sum(map(sum, groups)) / (4 * len(groups)))
    silent = sum(len(set(group)) == 1 for group in groups)
    assert summary["zero_std_frac"] == pytest.approx(silent / len(groups)) and silent


def test_what_is_drawn_anew_is_a_function_of_seed_and_iteration(monkeypatch):
    policy, config = tiny_model(0, vocab_size=8), RLConfig(**SAMPLING, max_refills=9)

    def prompts(seed, iteration):
        batch = collect_rollout(policy, None, many_prompts(), config, seed, iteration)
        return [problem.prompt for problem in batch.problems]

    first = prompts(3, 0)
    random.random(), torch.rand(1)              # the global generators play no part
    assert prompts(3, 0) == first != prompts(3, 1) != prompts(4, 0)
    world, drawn = many_prompts(hopeless=1.0), []
    plain_draw = world.draw
    world.draw = lambda rng: drawn.append(plain_draw(rng)) or drawn[-1]
    collect_rollout(policy, None, world, RLConfig(**SAMPLING, max_refills=2), 3, 0)
    texts = [problem.prompt for problem in drawn]
    assert texts[:6] != texts[6:12] != texts[12:18] != texts[:6]      # no refill repeats another one
    monkeypatch.setattr(parallel, "rank", lambda: 1)                  # nor does another process
    drawn.clear()
    collect_rollout(policy, None, world, RLConfig(**SAMPLING, max_refills=2), 3, 0)
    assert [problem.prompt for problem in drawn][6:11] != texts[6:11]


def test_a_resumed_run_with_refills_ends_with_the_same_bits():
    config = RLConfig(**SAMPLING, max_refills=9, overlong_penalty=0.5, overlong_buffer=3, num_iterations=4,
                      learning_rate=5e-3, warmup_iterations=1)
    world = many_prompts()
    whole = tiny_model(0, vocab_size=8)
    lines = list(grpo.train(whole, None, adamw(config, whole), world, config, 0))
    half = tiny_model(0, vocab_size=8)
    optimizer = adamw(config, half)
    loop = grpo.train(half, None, optimizer, world, config, 0)
    assert [next(loop), next(loop)] == lines[:2]
    resumed = tiny_model(1, vocab_size=8)       # another process: only what a checkpoint holds comes along
    resumed.load_state_dict(copy.deepcopy(half.state_dict()))
    new_optimizer = adamw(config, resumed)
    new_optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    rest = list(grpo.train(resumed, None, new_optimizer, many_prompts(), config, 0, start_iteration=2))
    assert rest == lines[2:] and all(line["num_sampled"] >= 24 for line in lines)
    for one, other in zip(whole.parameters(), resumed.parameters()):
        assert torch.equal(one, other)


# -----------------------------------------------------------------------------
# Each setting reaches the training, and those that exclude each other are refused

def trained(algo, **settings):
    """(metrics, weights) of two iterations of training, with a step that is large enough to be clipped."""
    policy = tiny_model(0, vocab_size=8, sharpness=3)
    reference = tiny_model(1, vocab_size=8, sharpness=3)
    config = RLConfig(**{"num_iterations": 2, "num_prompts": 4, "group_size": 4, "max_new_tokens": 6,
                         "num_epochs": 2, "learning_rate": 2e-2, "warmup_iterations": 1} | settings)
    critic = make_critic(policy, shared=False) if algo == "ppo" else None
    optimizer = adamw(config, policy, critic)
    if critic is None:
        loop = grpo.train(policy, reference, optimizer, many_prompts(), config, seed=0)
    else:
        loop = ppo.train(policy, critic, reference, optimizer, many_prompts(), config, seed=0)
    lines = list(loop)
    return lines, torch.cat([parameter.detach().flatten() for parameter in policy.parameters()])


@pytest.mark.parametrize("algo, plain, settings", [
    ("grpo", {}, {"objective": "gspo"}),
    ("grpo", {}, {"objective": "cispo"}),
    ("grpo", {}, {"entropy_coef": 0.1}),
    ("grpo", {}, {"max_refills": 5}),
    ("grpo", {}, {"overlong_penalty": 0.5, "overlong_buffer": 4}),
    ("grpo", {}, {"batch_baseline": True}),
    ("grpo", {"kl_coef": 0.1}, {"kl_estimator": "k1"}),
    ("grpo", {"kl_coef": 0.1}, {"kl_estimator": "k2"}),
    ("grpo", {"kl_coef": 0.1}, {"kl_in_reward": True}),
    ("ppo", {}, {"objective": "gspo"}),
    ("ppo", {}, {"objective": "cispo"}),
    ("ppo", {}, {"entropy_coef": 0.1}),
    ("ppo", {}, {"overlong_penalty": 0.5, "overlong_buffer": 4}),
])
def test_each_setting_changes_what_is_learned(algo, plain, settings):
    _, before = trained(algo, **plain)
    lines, after = trained(algo, **plain, **settings)
    assert after.isfinite().all() and len(lines) == 2
    assert (before - after).abs().max() > 1e-4


def test_with_the_batch_as_baseline_a_group_of_one_is_learned_from():
    """REINFORCE++ needs no groups. What a completion gets depends on the batch and not on its division."""
    lines, after = trained("grpo", group_size=1, num_prompts=32, batch_baseline=True, num_iterations=1)
    assert after.isfinite().all() and all(line["grad_norm"] > 0 for line in lines)
    batch = sampled()
    advantages = []
    for group_size in (1, 2, 4):
        grpo.compute_advantages(batch, RLConfig(group_size=group_size, batch_baseline=True))
        advantages.append(batch.advantages)
    assert advantages[0].any() and all(torch.equal(advantages[0], other) for other in advantages)


@pytest.mark.parametrize("arguments, says", [
    ("--rl-objective gspo --rl-num-epochs 1", "--rl-objective gspo needs --rl-num-epochs 2 or more"),
    ("--align-objective cispo --align-num-epochs 1", "--align-objective cispo needs --align-num-epochs 2"),
    ("--algo ppo --rl-max-refills 3", "--rl-max-refills 3 is for GRPO and not for PPO"),
    ("--algo ppo --rl-batch-baseline", "--rl-batch-baseline is for GRPO and not for PPO"),
    ("--rl-gae-lambda 0.9", "--rl-gae-lambda 0.9 is for PPO and not for GRPO"),
    ("--align-shared-critic", "--align-shared-critic is for PPO and not for GRPO: leave it out, or choose"),
    ("--algo ppo --rl-leave-one-out", "--rl-leave-one-out is for GRPO and not for PPO"),
    ("--algo ppo --no-rl-scale-advantages", "--no-rl-scale-advantages is for GRPO and not for PPO"),
    ("--algo ppo --rl-kl-coef 0.1 --rl-kl-in-reward", "--rl-kl-in-reward is for GRPO and not for PPO"),
    ("--algo ppo --align-kl-estimator k2", "--align-kl-estimator k2 is for GRPO and not for PPO"),
    ("--rl-kl-in-reward", "--rl-kl-in-reward has no effect without a KL: give --rl-kl-coef"),
    ("--rl-kl-estimator k1", "--rl-kl-estimator k1 has no effect without a KL: give --rl-kl-coef"),
    ("--rl-batch-baseline --rl-leave-one-out", "--rl-batch-baseline and --rl-leave-one-out are two base"),
    ("--rl-batch-baseline --rl-max-refills 2", "--rl-max-refills 2 would replace it"),
    ("--rl-overlong-penalty 0.5 --rl-overlong-buffer 5000 --rl-max-new-tokens 60",
     "--rl-overlong-buffer 5000 is more than a completion has: at most --rl-max-new-tokens 60"),
    ("--rl-objective ppo", "--rl-objective: must be clip, gspo or cispo"),
    ("--rl-kl-estimator k4", "--rl-kl-estimator: must be k1, k2 or k3"),
])
def test_settings_that_contradict_each_other_are_refused_in_one_line(arguments, says, tmp_path, monkeypatch,
                                                                     capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(train, "train_stages", never)
    assert says in refused(train.main, ["--preset", "smoke", *arguments.split()], capsys)
    assert not list(tmp_path.iterdir())


def test_settings_that_go_together_are_not_refused(tmp_path, monkeypatch):
    class Begun(Exception):
        pass

    def begin(*_):
        raise Begun

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(train, "train_stages", begin)
    for number, arguments in enumerate([
            "--rl-objective gspo --rl-num-epochs 2 --rl-kl-coef 0.1 --rl-kl-estimator k2",
            "--rl-max-refills 4 --rl-overlong-penalty 0.5 --rl-entropy-coef 0.01",
            "--rl-batch-baseline --rl-kl-coef 0.01 --rl-kl-in-reward --rl-kl-estimator k1",
            "--rl-batch-baseline --rl-group-size 1",
            "--algo ppo --rl-objective cispo --rl-num-epochs 4 --rl-overlong-penalty 1"]):
        with pytest.raises(Begun):
            train.main(["--preset", "smoke", "--out", f"run-{number}", *arguments.split()])


def test_the_included_tokenizer_and_model_can_be_trained_with_all_of_dapo():
    """One step in the real world: prompts of several lengths, and texts that the verifier reads."""
    from minireason.rewards import reasoning_world
    tokenizer = get_tokenizer()
    policy = tiny_model(0)
    config = RLConfig(num_iterations=1, num_prompts=2, group_size=2, max_new_tokens=12, num_epochs=2,
                      max_refills=1, overlong_penalty=0.5, overlong_buffer=6)
    world = reasoning_world(tokenizer, {"arithmetic": (2,)}, {"arithmetic": 1.0})
    line, = grpo.train(policy, None, adamw(config, policy), world, config, 0)
    assert line["num_sampled"] == 8 and line["reward"] == 0.0


def test_the_variant_that_the_page_shows_can_be_typed_in():
    """The lines of tests/README.md, where it says, subtract the median. Without the flag nothing is new."""
    page = (Path(__file__).parent / "README.md").read_text(encoding="utf-8")
    example = page.split("### A worked example: the median as the baseline\n")[1].split("\n### ")[0]
    setting, lines, call = re.findall("```python\n(.*?)```", example, re.DOTALL)
    name, _, option = setting.strip().partition(": bool = ")
    assert name == "median_baseline" and eval(option, {"option": config_option}).default is False
    source = inspect.getsource(grpo.group_advantages)
    first_line = next(line for line in source.splitlines(keepends=True) if "advantages = rewards - " in line)
    source = source.replace(first_line, lines).replace(") -> torch", ", median: bool = False) -> torch", 1)
    assert call.splitlines()[0].rstrip(",") + ")" in inspect.getsource(grpo.compute_advantages)
    names = {"torch": torch}
    exec(source, names)
    rewards = torch.tensor([[0.0, 1.0, 5.0], [2.0, 2.0, 9.0]])
    middle = torch.tensor([[1.0], [2.0]])
    advantages = names["group_advantages"](rewards, scale=False, median=True)
    assert advantages.tolist() == (rewards - middle).tolist()
    assert names["group_advantages"](rewards).tolist() == grpo.group_advantages(rewards).tolist()


def test_the_bug_of_the_micro_batch_changes_the_denominator_and_nothing_else():
    logprobs, old, ref, advantages, mask = draws()
    config = SimpleNamespace(**{**vars(CONFIG), "kl_coef": 0.5})
    arguments = (logprobs, old, ref, advantages, mask, config)
    for estimator in ("k1", "k3", ""):
        own, _ = grpo.compute_loss(*arguments, mask.sum(), mask.sum(), estimator)
        with bugs.denominator_of_the_micro_batch():
            loss, _ = grpo.compute_loss(*arguments, 999.0, 888.0, estimator)
        assert loss.item() == own.item()
