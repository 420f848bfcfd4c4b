"""Logprobs, entropy and values of padded batches against each row alone, unpadded."""

import torch
from helpers import ragged_rollout, tiny_model, toy_world, unpadded

from minireason.config import RLConfig
from minireason.policy import Critic, SharedCritic, completion_hidden, completion_logprobs, make_critic
from minireason.rollout import build_rollout
from minireason.sampling import generate

VOCAB = 24


def setup(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return tiny_model(seed, VOCAB, sharpness=10).eval(), ragged_rollout(generator, VOCAB)


@torch.no_grad()
def test_logprobs_and_entropy_of_each_row_alone():
    model, rollout = setup()
    for temperature in (1.0, 0.7):
        logprobs, entropy = completion_logprobs(model, rollout, temperature)
        for row in range(4):
            prompt, completion = unpadded(rollout, row)
            for t, token in enumerate(completion):
                logits = model(torch.tensor([prompt + completion[:t]]))[0, -1]
                distribution = (logits / temperature).softmax(-1)
                assert torch.allclose(logprobs[row, t], distribution[token].log(), atol=1e-4)
                assert torch.allclose(entropy[row, t], -(distribution * distribution.log()).sum(), atol=1e-4)


@torch.no_grad()
def test_training_reads_what_sampling_wrote():
    """The classic mismatch: temperature, padding or a shift between the sampler's logprobs and the
    trainer's."""
    model, rollout = setup()
    prompts = [unpadded(rollout, row)[0] for row in range(4)]
    generation = generate(model, prompts, 12, 0.8, seed=0, eos_id=5)
    rollout = build_rollout(prompts, generation, [None], None, toy_world(), RLConfig(group_size=4))
    sampled = rollout.old_logprobs
    logprobs, _ = completion_logprobs(model, rollout, 0.8)
    mask = rollout.completion_mask.bool()
    assert torch.allclose(logprobs[mask], sampled[mask], atol=1e-4)
    assert not torch.allclose(completion_logprobs(model, rollout, 1.0)[0][mask], sampled[mask], atol=1e-2)


@torch.no_grad()
def test_the_critic_is_a_copy_that_starts_at_zero_and_sees_the_state_before_each_token():
    model, rollout = setup()
    critic = Critic(model)
    assert not critic(rollout).any()
    critic.value.weight.copy_(torch.randn(critic.value.weight.shape,
                                          generator=torch.Generator().manual_seed(1)))
    values = critic(rollout)
    for row in range(4):
        prompt, completion = unpadded(rollout, row)
        for t in range(len(completion)):
            hidden = model.hidden(torch.tensor([prompt + completion[:t]]))[0, -1]
            assert torch.allclose(values[row, t], critic.value(hidden)[0], atol=1e-4)
    critic.body.embedding.weight.zero_()
    assert model.embedding.weight.any()      # nothing is shared with the policy


def test_entropy_carries_no_gradient_and_logprobs_do():
    model, rollout = setup()
    logprobs, entropy = completion_logprobs(model, rollout)
    assert logprobs.requires_grad and not entropy.requires_grad


def test_a_shared_critic_says_what_its_layer_says_of_the_policys_hidden_states():
    model, rollout = setup()
    critic = make_critic(model, shared=True)
    assert isinstance(critic, SharedCritic) and isinstance(make_critic(model, shared=False), Critic)
    hidden = completion_hidden(model, rollout)
    assert not critic(rollout, hidden).any()
    torch.nn.init.normal_(critic.value.weight)
    assert torch.allclose(critic(rollout, hidden), hidden @ critic.value.weight[0])


def test_critics_keep_the_names_that_checkpoints_have():
    model, _ = setup()
    assert list(SharedCritic(model).state_dict()) == ["value.weight", "value.bias"]
    names = list(Critic(model).state_dict())
    assert names[-2:] == ["value.weight", "value.bias"]
    assert names[:-2] == [f"body.{name}" for name in model.state_dict()]
