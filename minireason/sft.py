"""Imitation: make the next token of somebody's text more likely.

Pretraining, cold start and rejection use it.

    loss = -mean_t log p(token_t | tokens before it)          over the completion's tokens

An example is (prompt_ids, completion_ids). In some examples the numbers of the positions jump between prompt
and completion, as if the prompt were further away: see `draw_gaps`.
Shapes: B rows of a micro-batch, T tokens of its longest row, V vocabulary.
"""

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F

from minireason.config import SFTConfig
from minireason.model import GPT
from minireason.optimizer import set_learning_rate
from minireason.upkeep import kernels, parallel
from minireason.upkeep.seeding import derive_rng

IGNORED = -100      # a target that cross_entropy leaves out
GAP_SHARE = 0.25    # of the examples have a gap, where SFTConfig.max_gap allows one

Example = tuple[list[int], list[int]]           # ids of the prompt and of the completion
WithGap = tuple[list[int], list[int], int]      # and how many positions are skipped between the two


def num_steps_of(num_examples: int, config: SFTConfig) -> int:
    """Gradient steps of the whole training."""
    return config.num_epochs * math.ceil(num_examples / config.batch_size)


def indices_of_steps(num_examples: int, config: SFTConfig, seed: int, start: int = 0) -> Iterator[list[int]]:
    """Yields the examples of each step from `start` on, as indices, in a new order each epoch."""
    steps_per_epoch = math.ceil(num_examples / config.batch_size)
    for epoch in range(start // steps_per_epoch, config.num_epochs):
        order = list(range(num_examples))
        derive_rng(seed, "epoch", epoch).shuffle(order)
        for step in range(steps_per_epoch):
            if epoch * steps_per_epoch + step >= start:
                yield order[step * config.batch_size:(step + 1) * config.batch_size]


def draw_gaps(num_examples: int, max_gap: int, seed: int) -> list[int]:
    """How many positions are skipped between the prompt and the completion of each example; mostly 0.

        prompt and completion     p p p p c  c  c
        positions, no gap         0 1 2 3 4  5  6
        positions, gap of 90      0 1 2 3 94 95 96

    Texts to imitate are short, and in RL thoughts grow longer than any of them. Then the prompt is further
    away than it ever was, and a model that never saw such a distance misreads the prompt. Large models read
    longer texts at the end of pretraining instead. Randomized positions: arXiv:2305.16843.
    """
    rng = derive_rng(seed, "gaps")
    gaps = [0] * num_examples
    if max_gap:
        for i in range(num_examples):
            if rng.random() < GAP_SHARE:
                gaps[i] = rng.randint(1, max_gap)
    return gaps


def positions_of(examples: list[WithGap], length: int, max_length: int) -> torch.Tensor:
    """Positions (B, length) of the tokens of each example, all below the model's limit."""
    positions = torch.arange(length).repeat(len(examples), 1)
    for i, (prompt, _, gap) in enumerate(examples):
        positions[i, len(prompt):] += min(gap, max_length - length)
    return positions


def num_tokens_of(example: Example | WithGap) -> int:
    return len(example[0]) + len(example[1])


def micro_batches(examples: list, max_tokens: int) -> list[list]:
    """Splits examples, with gaps or without, into pieces of similar length, so that little is padding.

    A piece has at most `max_tokens` tokens, padding included, or a single example.
    """
    pieces = []
    for example in sorted(examples, key=num_tokens_of):     # each is the longest of its piece so far
        row_length = kernels.padded(num_tokens_of(example) - 1)     # the last token is only predicted
        if not pieces or (len(pieces[-1]) + 1) * row_length > max_tokens:
            pieces.append([])
        pieces[-1].append(example)
    return pieces


def collate(examples: list, device: torch.device | str,
            max_length: int | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """Examples as tensors, padded on the right, to at most the model's `max_length`.

    Returns inputs (B, T-1) and targets (B, T-1): [5, 6] and [7, 8] become 5 6 7 and -100 7 8.
    """
    longest = max(num_tokens_of(example) for example in examples)
    T = 1 + kernels.padded(longest - 1, max_length)
    ids = torch.zeros(len(examples), T, dtype=torch.long)
    targets = torch.full((len(examples), T), IGNORED)
    for i, (prompt, completion, *_) in enumerate(examples):
        text = torch.tensor(prompt + completion)
        ids[i, :len(text)] = text
        targets[i, len(prompt):len(text)] = text[len(prompt):]
    return ids[:, :-1].to(device), targets[:, 1:].to(device)


def train(model: GPT, optimizer: torch.optim.Optimizer, examples: list[Example], config: SFTConfig, seed: int,
          start_iteration: int = 0) -> Iterator[dict[str, float]]:
    """Yields one dict of metrics per gradient step; the caller logs, evaluates and saves."""
    device, max_length = model.embedding.weight.device, model.config.max_length
    num_steps = num_steps_of(len(examples), config)
    warmup_steps = max(1, min(config.warmup_steps, num_steps // 4))      # a short training is not all warm-up
    gaps = draw_gaps(len(examples), config.max_gap, seed)
    steps = indices_of_steps(len(examples), config, seed, start_iteration)
    for step, indices in enumerate(steps, start_iteration):
        # 1) collect: a batch of somebody's text
        batch = [(*examples[i], gaps[i]) for i in parallel.share(indices)]
        pieces = micro_batches(batch, config.micro_batch_tokens)
        tensors = [collate(piece, device, max_length) for piece in pieces]
        num_tokens = sum(int((targets != IGNORED).sum()) for _, targets in tensors)
        num_tokens = int(parallel.total(num_tokens))                          # of all processes

        # 2) update: one step of the optimizer, accumulated over micro-batches
        set_learning_rate(optimizer, step, num_steps, warmup_steps, config.learning_rate)
        optimizer.zero_grad(set_to_none=True)
        step_loss = 0.0
        for piece, (inputs, targets) in zip(pieces, tensors):                 # (B, T-1), (B, T-1)
            kernels.choose(inputs.numel())                                    # for speed alone
            if config.max_gap:
                positions = positions_of(piece, inputs.size(1), max_length)   # (B, T-1)
                logits = model(inputs, positions.to(device))                  # (B, T-1, V)
            else:
                logits = model(inputs)                                        # (B, T-1, V)
            loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED,
                                   reduction="sum") / num_tokens
            loss.backward()
            step_loss += loss.item()
        parallel.add_gradients(model)
        grad_norm = torch.nn.utils.clip_grad_norm_(model.parameters(), config.max_grad_norm)
        optimizer.step()

        # 3) report
        yield {"iteration": step, "loss": parallel.total(step_loss), "grad_norm": grad_norm.item(),
               "num_tokens": num_tokens, "learning_rate": optimizer.param_groups[0]["lr"]}
