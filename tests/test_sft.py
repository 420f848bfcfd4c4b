"""Imitation: what is packed, what is counted in the loss, and that it learns."""

import torch
import torch.nn.functional as F
from helpers import tiny_model

from minireason import sft
from minireason.config import SFTConfig


def examples(number=40):
    """Copying: the completion repeats the prompt's token; lengths differ."""
    return [([2 + i % 5] * (1 + i % 3), [2 + i % 5] * (2 + i % 4) + [1]) for i in range(number)]


def test_each_epoch_holds_every_example_once_in_rows_that_fit():
    config = SFTConfig(num_epochs=3, batch_size=4, row_length=20)
    steps = sft.plan(examples(), config, seed=0)
    rows = [row for step in steps for row in step]
    order = [i for row in rows for i in row]
    for epoch in range(3):
        assert sorted(order[40 * epoch:40 * epoch + 40]) == list(range(40))
    assert order[:40] != order[40:80]
    assert all(sum(sum(map(len, examples()[i])) for i in row) <= 20 for row in rows)
    assert all(len(step) <= 4 for step in steps)
    assert steps == sft.plan(examples(), config, seed=0) != sft.plan(examples(), config, seed=1)


def test_an_example_longer_than_a_row_gets_a_row_of_its_own():
    steps = sft.plan([([1] * 30, [2] * 30), ([1], [2])], SFTConfig(row_length=20, num_epochs=1), seed=0)
    assert sorted(row for step in steps for row in step) == [[0], [1]]


def test_targets_are_the_next_tokens_of_completions():
    inputs, targets = sft.collate([[([5, 6], [7, 8]), ([9], [3])], [([4], [2])]], False, "cpu")
    assert inputs.tolist() == [[5, 6, 7, 8, 9], [4, 2, 0, 0, 0]]
    ignored = sft.IGNORED
    assert targets.tolist() == [[ignored, 7, 8, ignored, 3], [2, ignored, ignored, ignored, ignored]]
    assert sft.collate([[([5, 6], [7, 8]), ([9], [3])]], True, "cpu")[1].tolist() == [[6, 7, 8, 9, 3]]


def test_loss_is_the_mean_over_counted_tokens():
    model, data = tiny_model(0, 12), examples(6)
    config = SFTConfig(num_epochs=1, batch_size=10, row_length=1)      # one example a row: nothing else in its context
    first = next(sft.train(tiny_model(0, 12), torch.optim.SGD(model.parameters(), lr=0.0), data, config, 0))
    total = count = 0
    for prompt, completion in data:
        logits = model(torch.tensor([prompt + completion]))[0, len(prompt) - 1:-1]
        total += F.cross_entropy(logits, torch.tensor(completion), reduction="sum").item()
        count += len(completion)
    assert first["num_tokens"] == count
    assert abs(first["loss"] - total / count) < 1e-5


def test_learning_rate_warms_up_and_decays_to_a_tenth():
    config = SFTConfig(learning_rate=1.0, warmup_steps=10)
    rates = [sft.learning_rate_at(step, 100, config) for step in range(100)]
    assert rates[0] < rates[4] < rates[9] == max(rates)
    assert abs(rates[-1] - 0.109) < 1e-3
    assert sft.learning_rate_at(0, 4, config) > 0.5                    # a short training is not all warm-up


def test_it_learns_to_copy_and_goes_on_exactly_where_it_stopped():
    config = SFTConfig(num_epochs=30, batch_size=8, row_length=20, learning_rate=1e-2, warmup_steps=5)

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
            losses += [m["loss"] for m in sft.train(fresh, other, examples(), config, 0, start_iteration=stop)]
            model = fresh
        return model, losses

    model, losses = run()
    resumed, resumed_losses = run(stop=7)
    assert losses[-1] < losses[0] / 3          # how often a token is repeated cannot be known
    assert losses == resumed_losses
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), resumed.parameters()))
