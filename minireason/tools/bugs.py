"""Seven well-known bugs of GRPO and PPO, each to be switched on from outside.

Users of public projects reported five of them (lesson 10 has the links). A switch opens a `with` block in
which the bug is on: `patch.object` puts another function in the place of one name of grpo.py or ppo.py. Read
what it puts there: the line that is wrong is always one that looks right. Lesson 10 and the playground train
with them.

The name is replaced for the whole process: no other training may go on within the block.
"""

from contextlib import AbstractContextManager
from unittest.mock import patch

import torch

from minireason import grpo, ppo
from minireason.policy import completion_logprobs
from minireason.token_math import estimate_kl, k1

right_advantages, right_loss = grpo.group_advantages, grpo.compute_loss


def no_temperature() -> AbstractContextManager:
    """Sampled at temperature 0.6, trained on the logprobs of temperature 1: the ratio is not 1 where it
    should be."""
    def at_temperature_1(policy, batch, temperature, **options):
        return completion_logprobs(policy, batch, 1.0, **options)
    return patch.object(grpo, "completion_logprobs", at_temperature_1)


def kl_without_gradient() -> AbstractContextManager:
    """The KL is computed under no_grad: it is in the loss and in the logs, and it pulls nowhere."""
    def detached(estimator, logprobs, ref_logprobs):
        return estimate_kl(estimator, logprobs, ref_logprobs).detach()
    return patch.object(grpo, "estimate_kl", detached)


def k1_as_loss() -> AbstractContextManager:
    """k1 = log p - log q is unbiased as a value. Its gradient, on average, is 0: it pulls nowhere either."""
    def always_k1(estimator, logprobs, ref_logprobs):
        return k1(logprobs, ref_logprobs)
    return patch.object(grpo, "estimate_kl", always_k1)


def padding_in_the_mean() -> AbstractContextManager:
    """Every position counts, what follows the end of a completion too."""
    def all_positions(mask, config, num_sampled):
        return torch.ones_like(mask), float(mask.numel()), float(mask.numel())
    return patch.object(grpo, "weigh_tokens", all_positions)


def denominator_of_the_micro_batch() -> AbstractContextManager:
    """Each micro-batch is divided by its own tokens instead of the step's: short completions count more than
    long ones."""
    # Behind six arguments come num_tokens and weight_sum. With None they are the micro-batch's own.
    def own_denominator(*args, **options):
        return right_loss(*args[:6], None, None, *args[8:], **options)
    return patch.object(grpo, "compute_loss", own_denominator)


def groups_misaligned() -> AbstractContextManager:
    """The completions of a prompt are a row. Here columns are read, so strangers are compared."""
    def mixed(rewards, *args, **options):
        P, G = rewards.shape
        return right_advantages(rewards.reshape(G, P).T, *args, **options).T.reshape(P, G)
    return patch.object(grpo, "group_advantages", mixed)


def bootstrap_past_the_end() -> AbstractContextManager:
    """Behind the last token nothing is to come. Here the critic's opinion of the padding counts as if it
    were."""
    def leaking(token_rewards, values, mask, gamma, gae_lambda):
        advantages = torch.zeros_like(values)
        next_advantage, next_value = torch.zeros_like(values[:, 0]), values[:, -1]
        for t in reversed(range(values.size(1))):
            delta = token_rewards[:, t] + gamma * next_value - values[:, t]
            next_advantage = delta + gamma * gae_lambda * next_advantage
            advantages[:, t], next_value = next_advantage, values[:, t]
        return advantages * mask, (advantages + values) * mask
    return patch.object(ppo, "gae", leaking)


BUGS = {   # name: (the switch, algorithm, changed settings that let the bug show)
    "temperature missing": (no_temperature, "grpo", {"temperature": 0.6, "num_epochs": 1}),
    "KL without gradient": (kl_without_gradient, "grpo", {"kl_coef": 1.0}),
    "k1 as a loss": (k1_as_loss, "grpo", {"kl_coef": 1.0}),
    "padding in the mean": (padding_in_the_mean, "grpo", {}),
    "groups misaligned": (groups_misaligned, "grpo", {}),
    "micro-batch denominator": (denominator_of_the_micro_batch, "grpo", {"max_grad_norm": 1e9}),
    "bootstrap past the end": (bootstrap_past_the_end, "ppo", {}),
}
