"""The record that PPO and GRPO share: how it is cut, and what a token counts."""

from types import SimpleNamespace

import pytest
import torch
from helpers import ragged_rollout, unpadded

from minireason.batch import weigh_tokens

PER_TOKEN = ("completion_ids", "completion_mask", "old_logprobs", "ref_logprobs", "old_values", "returns",
             "advantages", "loss_weights")


def full_rollout():
    """A rollout with numbers in each field. Prompts have 3, 1, 5, 3 tokens, completions 4, 7, 2, 1."""
    rollout = ragged_rollout(torch.Generator().manual_seed(0))
    shape = rollout.completion_ids.shape
    for i, name in enumerate(PER_TOKEN[2:]):
        setattr(rollout, name, torch.randn(shape, generator=torch.Generator().manual_seed(i)))
    rollout.completions, rollout.problems = list("abcd"), ["x", "y"]
    return rollout


@pytest.mark.parametrize("rows", [torch.tensor([2, 0]), torch.tensor([True, False, True, False])])
def test_a_selection_has_the_rows_cut_to_the_longest_of_them(rows):
    rollout = full_rollout()
    batch, indices = rollout.select(rows), torch.arange(4)[rows].tolist()
    assert len(batch) == 2 and batch.ids.shape == (2, 5 + 4)        # longest prompt and longest completion
    for row, source in enumerate(indices):
        assert unpadded(batch, row) == unpadded(rollout, source)
        assert batch.rewards[row] == rollout.rewards[source]
        assert batch.prompt_lengths[row] == rollout.prompt_lengths[source]
    for name in PER_TOKEN:
        assert torch.equal(getattr(batch, name), getattr(rollout, name)[indices, :4]), name
    assert batch.completions == [] and batch.problems == []


def test_a_selection_is_a_copy_and_what_is_not_there_stays_so():
    rollout = ragged_rollout(torch.Generator().manual_seed(0))
    batch = rollout.select(torch.arange(4))
    batch.ids[:], batch.old_logprobs[:] = 9, 9
    assert not (rollout.ids == 9).all() and not rollout.old_logprobs.any()
    assert batch.ref_logprobs is None and batch.old_values is None and batch.loss_weights is None


def test_no_rows_are_a_batch_too():
    batch = full_rollout().select(torch.zeros(4, dtype=torch.bool))
    assert len(batch) == 0 and batch.micro_batches(3) == [] and batch.ids.shape == (0, 0)


def test_micro_batches_hold_each_row_once_and_little_padding():
    rollout = ragged_rollout(torch.Generator().manual_seed(0))
    batches = rollout.micro_batches(3)
    assert [len(batch) for batch in batches] == [3, 1]
    texts = [unpadded(batch, row) for batch in batches for row in range(len(batch))]
    assert sorted(texts) == sorted(unpadded(rollout, row) for row in range(4))
    assert batches[0].completion_ids.size(1) < rollout.completion_ids.size(1)
    lengths = [len(prompt) + len(completion) for prompt, completion in texts]
    assert lengths == sorted(lengths)


@pytest.mark.parametrize("normalize, num_tokens, weight_sum", [
    ("token", 5, 5), ("sequence", 2, 2), ("constant", 6 * 8, 5)])
def test_what_sums_are_divided_by(normalize, num_tokens, weight_sum):
    """Two rows are left of six sampled ones: the constant counts all six, and is the same in every step."""
    mask = torch.tensor([[1.0, 1, 1, 1], [1, 0, 0, 0]])
    config = SimpleNamespace(normalize=normalize, max_new_tokens=8)
    weights, *numbers = weigh_tokens(mask, config, num_sampled=6)
    assert numbers == [num_tokens, weight_sum] and weights.sum().item() == pytest.approx(weight_sum)
