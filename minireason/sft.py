"""Imitation: make the next token of somebody's text more likely. Pretraining, cold start and rejection use it.

    loss = -mean_t log p(token_t | tokens before it)          over the completion's tokens

An example is (prompt_ids, completion_ids). Shapes: B rows of a micro-batch, T tokens of its longest row.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F

from minireason.upkeep import parallel
from minireason.config import SFTConfig
from minireason.model import GPT, padded
from minireason.upkeep.seeding import derive_rng

IGNORED = -100   # a target that cross_entropy leaves out

Example = tuple[list[int], list[int]]     # ids of the prompt and of the completion


def plan(num_examples: int, config: SFTConfig, seed: int) -> list[list[int]]:
    """The whole training as a list of steps, each a list of indices of examples; each epoch in a new order."""
    steps = []
    for epoch in range(config.num_epochs):
        order = list(range(num_examples))
        derive_rng(seed, "epoch", epoch).shuffle(order)
        steps += [order[start:start + config.batch_size] for start in range(0, num_examples, config.batch_size)]
    return steps


def micro_batches(examples: list[Example], max_tokens: int) -> list[list[Example]]:
    """Splits a batch into pieces of similar length, at most `max_tokens` with their padding, so that little is padding."""
    pieces, longest = [], 0
    for example in sorted(examples, key=lambda example: len(example[0]) + len(example[1])):
        longest = padded(len(example[0]) + len(example[1]) - 1)
        if not pieces or (len(pieces[-1]) + 1) * longest > max_tokens:
            pieces.append([])
        pieces[-1].append(example)
    return pieces


def collate(examples: list[Example], device: torch.device | str) -> tuple[torch.Tensor, torch.Tensor]:
    """Examples as tensors, padded on the right. Returns inputs (B, T-1) and targets (B, T-1)."""
    T = 1 + padded(max(len(prompt) + len(completion) for prompt, completion in examples) - 1)
    ids = torch.zeros(len(examples), T, dtype=torch.long)
    targets = torch.full((len(examples), T), IGNORED)
    for i, (prompt, completion) in enumerate(examples):
        text, first = torch.tensor(prompt + completion), len(prompt)
        ids[i, :len(text)] = text
        targets[i, first:len(text)] = text[first:]
    return ids[:, :-1].to(device), targets[:, 1:].to(device)


def learning_rate_at(step: int, total: int, config: SFTConfig) -> float:
    """Linear warm-up, then linear decay to a tenth."""
    warmup = min(1.0, (step + 1) / max(1, min(config.warmup_steps, total // 4)))
    return config.learning_rate * warmup * (1.0 - 0.9 * step / max(1, total))


def train(model: GPT, optimizer: torch.optim.Optimizer, examples: list[Example], config: SFTConfig, seed: int,
          start_iteration: int = 0) -> Iterator[dict[str, float]]:
    """Yields one dict of metrics per gradient step; the caller logs, evaluates and saves."""
    device, steps = model.embedding.weight.device, plan(len(examples), config, seed)
    for step in range(start_iteration, len(steps)):
        # 1) collect: a batch of somebody's text
        batches = [collate(piece, device)
                   for piece in micro_batches([examples[i] for i in parallel.share(steps[step])], config.micro_batch_tokens)]
        num_tokens = int(parallel.total(sum(int((targets != IGNORED).sum()) for _, targets in batches)))

        # 2) update: one step of the optimizer, accumulated over micro-batches
        for group in optimizer.param_groups:
            group["lr"] = learning_rate_at(step, len(steps), config)
        optimizer.zero_grad(set_to_none=True)
        total = 0.0
        for inputs, targets in batches:                                               # (B, T-1), (B, T-1)
            logits = model(inputs)                                                    # (B, T-1, V)
            loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED,
                                   reduction="sum") / num_tokens
            loss.backward()
            total += loss.item()
        parallel.add_gradients(model)
        grad_norm = torch.nn.utils.clip_grad_norm_(model.parameters(), config.max_grad_norm)
        optimizer.step()

        # 3) report
        yield {"iteration": step, "loss": parallel.total(total), "grad_norm": grad_norm.item(), "num_tokens": num_tokens,
               "learning_rate": optimizer.param_groups[0]["lr"]}
