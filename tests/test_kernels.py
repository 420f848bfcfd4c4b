"""The two tricks for CPUs change the speed and, but for rounding, nothing else."""

import pytest
import torch
from helpers import ragged_rollout, tiny_model

from minireason import sft
from minireason.align import RewardModel, collate
from minireason.config import ModelConfig, SFTConfig
from minireason.model import GPT
from minireason.policy import completion_logprobs
from minireason.sampling import generate
from minireason.upkeep import kernels


def test_padding_is_to_the_next_multiple_and_no_further_than_the_model(monkeypatch):
    monkeypatch.setattr(kernels, "TILE", 16)
    assert [kernels.padded(n) for n in (1, 15, 16, 17, 33)] == [16, 16, 16, 32, 48]
    assert [kernels.padded(n, 40) for n in (1, 32, 33, 40)] == [16, 32, 40, 40]
    assert kernels.padded(41, 40) == 41             # never shorter: the model says that this is too long


@torch.no_grad()
def test_a_batch_says_what_its_rows_say_alone():
    """Large products and small ones may be the work of two libraries: in float32 they agree to rounding."""
    model, ids = tiny_model(), torch.randint(0, 50, (32, 24), generator=torch.Generator().manual_seed(0))
    alone = []
    for row in ids:
        kernels.choose(len(row))
        alone.append(model(row[None]))
    alone = torch.cat(alone)
    kernels.choose(ids.numel())
    assert (model(ids) - alone).abs().max() < 1e-5 * alone.abs().max()


SETTINGS = SFTConfig(learning_rate=0.0)


def everything(model):
    """What each caller of the tricks returns: sampling, imitation, logprobs with their gradients, scores."""
    model.zero_grad()
    generation = generate(model, [[1, 2, 3], [4], [5] * 6] * 8, 30, seed=0, eos_id=7)
    one_token_prompts = generate(model, [[4], [5]], 10, seed=1)
    batch = ragged_rollout(torch.Generator().manual_seed(0))
    logprobs, entropy = completion_logprobs(model, batch)
    logprobs = logprobs * batch.completion_mask
    logprobs.sum().backward()
    gradients = [parameter.grad.clone() for parameter in model.parameters()]
    examples = [([1, 2], [3] * n) for n in (1, 4, 20)]
    metrics = next(sft.train(model, torch.optim.SGD(model.parameters()), examples, SETTINGS, seed=0))
    torch.manual_seed(0)
    reward_model = RewardModel(model)
    torch.nn.init.normal_(reward_model.score.weight)
    scores = reward_model(*collate([[1, 2, 3], [4] * 20], "cpu"))
    entropy = entropy * batch.completion_mask
    loss = torch.tensor(metrics["loss"])
    return [*generation, *one_token_prompts, logprobs, entropy, *gradients, scores, loss]


@pytest.mark.parametrize("max_length", [256, 41])
def test_without_the_tricks_every_result_stays_the_same_to_rounding(monkeypatch, max_length):
    monkeypatch.setattr(kernels, "TILE", 16)
    config = ModelConfig(vocab_size=24, width=32, num_layers=2, num_heads=4, num_kv_heads=1, mlp_width=48,
                         max_length=max_length)
    model = GPT(config)
    model.load_state_dict(tiny_model(0, 24, sharpness=10).state_dict())
    with_tricks = everything(model)
    monkeypatch.setattr(kernels, "choose", lambda num_tokens: None)
    monkeypatch.setattr(kernels, "padded", lambda length, max_length=None: length)
    monkeypatch.setattr(kernels, "TILE", 1)
    without = everything(model)
    for ours, plain in zip(with_tricks, without, strict=True):
        assert ours.shape == plain.shape
        assert torch.allclose(ours, plain, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("has_it", [True, False])
def test_the_library_is_chosen_by_size_and_only_where_it_helps(monkeypatch, has_it):
    setting = torch.backends.mkldnn.matmul
    before = setting.fp32_precision
    monkeypatch.setattr(kernels, "FASTER_WITH_ONEDNN", has_it)
    setting.fp32_precision = "none"        # where it helps, an earlier test has left "bf16"
    try:
        kernels.choose(kernels.FEW_TOKENS)
        assert (setting.fp32_precision == "bf16") == has_it
        kernels.choose(kernels.FEW_TOKENS - 1)
        assert setting.fp32_precision != "bf16"
    finally:
        setting.fp32_precision = before
