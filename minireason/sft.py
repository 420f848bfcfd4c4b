"""Imitation: make the next token of somebody's text more likely. Pretraining, cold start and rejection use it.

    loss = -mean_t log p(token_t | tokens before it)          over the completion's tokens, or all of them

An example is (prompt_ids, completion_ids). Shapes: B rows, T tokens of the longest row.
"""

import torch
import torch.nn.functional as F

from minireason.seeding import derive_rng

IGNORED = -100   # a target that cross_entropy leaves out


def plan(examples, config, seed):
    """The whole training as a list of steps; a step is a list of rows, a row a list of indices of examples.

    Each epoch is in a new order. Rows are packed: examples stand one behind the other until the next would not fit,
    so that nearly nothing is padding. What stands before an example in its row is noise that it learns to ignore.
    """
    steps = []
    for epoch in range(config.num_epochs):
        order = list(range(len(examples)))
        derive_rng(seed, "epoch", epoch).shuffle(order)
        rows, room = [], 0
        for i in order:
            size = sum(map(len, examples[i]))
            if size > room:
                rows.append([])
                room = config.row_length
            rows[-1].append(i)
            room -= size
        steps += [rows[start:start + config.batch_size] for start in range(0, len(rows), config.batch_size)]
    return steps


def collate(rows, train_on_prompt, device):
    """Rows of examples as tensors. Returns inputs (B, T-1) and targets (B, T-1)."""
    T = max(sum(len(prompt) + len(completion) for prompt, completion in row) for row in rows)
    ids = torch.zeros(len(rows), T, dtype=torch.long)
    targets = torch.full((len(rows), T), IGNORED)
    for i, row in enumerate(rows):
        text = [token for prompt, completion in row for token in prompt + completion]
        wanted = [token for prompt, completion in row
                  for token in (prompt if train_on_prompt else [IGNORED] * len(prompt)) + completion]
        ids[i, :len(text)], targets[i, :len(text)] = torch.tensor(text), torch.tensor(wanted)
    return ids[:, :-1].to(device), targets[:, 1:].to(device)


def learning_rate_at(step, total, config):
    """Linear warm-up, then linear decay to a tenth."""
    warmup = min(1.0, (step + 1) / max(1, min(config.warmup_steps, total // 4)))
    return config.learning_rate * warmup * (1.0 - 0.9 * step / max(1, total))


def train(model, optimizer, examples, config, seed, start_iteration=0):
    """Yields one dict of metrics per gradient step; the caller logs, evaluates and saves."""
    device, steps = model.embedding.weight.device, plan(examples, config, seed)
    for step in range(start_iteration, len(steps)):
        # 1) collect: a batch of somebody's text
        rows = [[examples[i] for i in row] for row in steps[step]]
        inputs, targets = collate(rows, config.train_on_prompt, device)               # (B, T-1), (B, T-1)

        # 2) update
        for group in optimizer.param_groups:
            group["lr"] = learning_rate_at(step, len(steps), config)
        loss = F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten(), ignore_index=IGNORED)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        grad_norm = torch.nn.utils.clip_grad_norm_(model.parameters(), config.max_grad_norm)
        optimizer.step()

        # 3) report
        yield {"iteration": step, "loss": loss.item(), "grad_norm": grad_norm.item(),
               "num_tokens": int((targets != IGNORED).sum()), "learning_rate": optimizer.param_groups[0]["lr"]}
