"""Imitation: how it is cut, what is counted in the loss, and that it learns."""

import torch
import torch.nn.functional as F
from helpers import awake, tiny_model

from minireason import sft
from minireason.config import ModelConfig, SFTConfig
from minireason.model import GPT
from minireason.upkeep import kernels


def examples(number=40):
    """Copying: the completion repeats the prompt's token; lengths differ."""
    return [([2 + i % 5] * (1 + i % 3), [2 + i % 5] * (2 + i % 4) + [1]) for i in range(number)]


def test_each_epoch_holds_every_example_once():
    config = SFTConfig(num_epochs=3, batch_size=7)
    steps = list(sft.indices_of_steps(40, config, seed=0))
    order = [i for step in steps for i in step]
    for epoch in range(3):
        assert sorted(order[40 * epoch:40 * epoch + 40]) == list(range(40))
    assert order[:40] != order[40:80]
    assert all(len(step) <= 7 for step in steps) and len(steps) == 3 * 6
    assert steps == list(sft.indices_of_steps(40, config, seed=0))
    assert steps != list(sft.indices_of_steps(40, config, seed=1))
    assert len(steps) == sft.num_steps_of(40, config)
    for start in (0, 5, 6, 7, 17, 18):
        assert list(sft.indices_of_steps(40, config, 0, start)) == steps[start:]


def test_micro_batches_hold_every_example_once_within_their_size():
    def size(piece):       # of the inputs: the last token of a row is only a target
        return len(piece) * (max(len(prompt) + len(completion) for prompt, completion in piece) - 1)

    for max_tokens in (1, 12, 40, 1000):
        pieces = sft.micro_batches(examples(), max_tokens)
        assert sorted(example for piece in pieces for example in piece) == sorted(examples())
        assert all(size(piece) <= max_tokens or len(piece) == 1 for piece in pieces)
    tokens = sum(len(p) + len(c) - 1 for p, c in examples())
    padding = sum(map(size, sft.micro_batches(examples(), 40))) - tokens
    assert padding < 0.2 * size(examples())                      # in one piece half of it would be padding


def test_targets_are_the_next_tokens_of_completions():
    inputs, targets = sft.collate([([5, 6], [7, 8]), ([9], [3])], "cpu")
    ignored = sft.IGNORED
    assert inputs.shape == targets.shape == (2, kernels.padded(3))
    assert inputs[:, :4].tolist() == [[5, 6, 7, 8], [9, 3, 0, 0]] and not inputs[:, 4:].any()
    assert targets[:, :3].tolist() == [[ignored, 7, 8], [3, ignored, ignored]]
    assert (targets[:, 3:] == ignored).all()


def test_a_row_as_long_as_the_model_takes_has_room_for_its_padding():
    model = GPT(ModelConfig(12, 16, 1, 2, 1, 16, max_length=40)).init_weights(0)
    inputs, targets = sft.collate([([1, 2], [3] * 38)], "cpu", max_length=40)
    assert inputs.shape == targets.shape == (1, 40) and model(inputs).shape == (1, 40, 12)


def test_loss_and_gradient_are_those_of_the_mean_over_counted_tokens():
    data = examples(6)
    for max_tokens in (1, 20, 1000):                             # however the batch is cut
        config = SFTConfig(num_epochs=1, batch_size=10, micro_batch_tokens=max_tokens, max_grad_norm=1e9)
        model, alone = tiny_model(0, 12), tiny_model(0, 12)
        first = next(sft.train(model, torch.optim.SGD(model.parameters(), lr=0.0), data, config, 0))
        losses = []
        for prompt, completion in data:
            logits = alone(torch.tensor([prompt + completion]))[0, len(prompt) - 1:-1]
            losses.append(F.cross_entropy(logits, torch.tensor(completion), reduction="none"))
        loss = torch.cat(losses).mean()
        loss.backward()
        assert first["num_tokens"] == sum(map(len, losses)) and abs(first["loss"] - loss.item()) < 1e-5
        for ours, theirs in zip(model.parameters(), alone.parameters()):
            assert torch.allclose(ours.grad, theirs.grad, atol=1e-6)


def test_a_quarter_of_the_completions_is_moved_away_from_its_prompt():
    gaps = sft.draw_gaps(4000, 20, seed=3)
    moved = [gap for gap in gaps if gap]
    assert 900 < len(moved) < 1100 and set(moved) == set(range(1, 21))
    assert gaps == sft.draw_gaps(4000, 20, seed=3) != sft.draw_gaps(4000, 20, seed=4)
    assert not any(sft.draw_gaps(4000, 0, seed=3))


def test_a_gap_stands_between_prompt_and_completion_and_ends_at_the_last_position():
    piece = [([5, 6], [7, 8, 9], 0), ([5], [7, 8], 3), ([5, 6, 7], [8], 100)]
    positions = sft.positions_of(piece, 4, max_length=40)
    assert positions.tolist() == [[0, 1, 2, 3], [0, 4, 5, 6], [0, 1, 2, 39]]


def test_training_uses_the_gaps_that_were_drawn():
    data = [([2 + i % 7, 9, 3], [4, 2 + i % 5, 11, 1]) for i in range(16)]
    config = SFTConfig(batch_size=16, max_grad_norm=1e9, max_gap=20)
    model, alone = awake(tiny_model(0, 12)), awake(tiny_model(0, 12))
    for parameter in [*model.parameters(), *alone.parameters()]:
        parameter.data.mul_(3)          # else attention is so flat that positions hardly matter
    first = next(sft.train(model, torch.optim.SGD(model.parameters(), lr=0.0), data, config, 1))
    gaps, losses = sft.draw_gaps(16, 20, seed=1), []
    assert any(gaps)
    for (prompt, completion), gap in zip(data, gaps):
        start, end = len(prompt) + gap, len(prompt) + gap + len(completion)
        positions = torch.tensor([[*range(len(prompt)), *range(start, end)]])
        logits = alone(torch.tensor([prompt + completion]), positions)[0, len(prompt) - 1:-1]
        losses.append(F.cross_entropy(logits, torch.tensor(completion), reduction="none"))
    assert abs(first["loss"] - torch.cat(losses).mean().item()) < 1e-5


def test_a_short_training_is_not_all_warm_up():
    config = SFTConfig(learning_rate=1.0, warmup_steps=10, batch_size=10, num_epochs=1)
    model = tiny_model(0, 12)
    steps = list(sft.train(model, torch.optim.SGD(model.parameters()), examples(), config, 0))
    assert len(steps) == 4 and steps[0]["learning_rate"] == 1.0


def test_it_learns_to_copy_and_goes_on_exactly_where_it_stopped():
    config = SFTConfig(num_epochs=30, batch_size=8, learning_rate=1e-2, warmup_steps=5)

    def run(stop=None):
        model = tiny_model(0, 12)
        optimizer = torch.optim.AdamW(model.parameters())
        loop, losses = sft.train(model, optimizer, examples(), config, 0), []
        for metrics in loop:
            losses.append(metrics["loss"])
            if metrics["iteration"] + 1 == stop:
                break
        if stop:     # a new model and optimizer, as a new process would have them
            fresh = tiny_model(1, 12)
            fresh.load_state_dict(model.state_dict())
            other = torch.optim.AdamW(fresh.parameters())
            other.load_state_dict(optimizer.state_dict())
            rest = sft.train(fresh, other, examples(), config, 0, start_iteration=stop)
            losses += [m["loss"] for m in rest]
            model = fresh
        return model, losses

    model, losses = run()
    resumed, resumed_losses = run(stop=7)
    assert losses[-1] < losses[0] / 3          # how often a token is repeated cannot be known
    assert losses == resumed_losses
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), resumed.parameters()))
