"""Optimizers, their learning rates, and what they load."""

import copy

import pytest
import torch
from helpers import tiny_model

from minireason.config import RLConfig, SFTConfig
from minireason.optimizer import adamw, learning_rate_at, set_learning_rate
from minireason.policy import Critic
from minireason.upkeep.checkpoint import load_optimizer

RL = RLConfig(learning_rate=0.5, critic_learning_rate=2.0)


def test_the_learning_rate_warms_up_to_its_peak_and_decays_to_zero():
    rates = [learning_rate_at(step, 100, 10, 3.0) for step in range(100)]
    assert rates[0] < rates[4] < rates[9] == max(rates) < 3.0
    assert rates[50:] == sorted(rates[50:], reverse=True) and rates[-1] == pytest.approx(3.0 * 0.01)
    assert learning_rate_at(0, 100, 1, 3.0) == 3.0


def test_each_group_has_a_learning_rate_of_its_own():
    model = tiny_model(0, 12)
    optimizer = adamw(RL, model, Critic(model))
    set_learning_rate(optimizer, 0, 100, 2, peak=0.5)
    assert [group["lr"] for group in optimizer.param_groups] == [0.25, 1.0]
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.0, 0.0]
    by_hand = torch.optim.SGD(model.parameters(), lr=7.0)
    set_learning_rate(by_hand, 0, 100, 2, peak=1.0)
    assert by_hand.param_groups[0]["lr"] == 0.5


def test_imitation_has_weight_decay():
    group, = adamw(SFTConfig(weight_decay=0.03), tiny_model(0, 12)).param_groups
    assert group["weight_decay"] == 0.03 and group["betas"] == (0.9, 0.95)


@pytest.mark.parametrize("saved_before_peaks", [True, False])
def test_a_saved_state_goes_on_with_the_peaks_of_today(saved_before_peaks):
    model = tiny_model(0, 12)
    critic = Critic(model)
    optimizer = adamw(RL, model, critic)
    for module in (model, critic):
        for parameter in module.parameters():
            parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    state = copy.deepcopy(optimizer.state_dict())
    if saved_before_peaks:
        for group in state["param_groups"]:
            group.pop("peak", None)
    fresh = adamw(RL, model, critic)
    load_optimizer(fresh, state)
    assert [group.get("peak") for group in fresh.param_groups] == [None, 2.0]
    first = next(model.parameters())
    assert torch.equal(fresh.state[first]["exp_avg"], optimizer.state[first]["exp_avg"])
