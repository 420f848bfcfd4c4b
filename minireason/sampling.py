"""Batched generation with a cache: ids in, ids out.

Equal prompts are read once and their cache shared out, rows that ended are dropped, and each row draws from
its own stream of uniform numbers, so that what one row says never depends on when another one stops.
Shapes: B rows, L new tokens at most, V vocabulary.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch

from minireason.model import GPT, KVCache, padded


class Generation(NamedTuple):
    completion_ids: torch.Tensor    # (B, L), 0 beyond the mask
    completion_mask: torch.Tensor   # (B, L), 1 up to and including the end token
    logprobs: torch.Tensor          # (B, L), of the distribution that was sampled from, 0 beyond the mask


def sampling_distribution(logits: torch.Tensor, temperature: float, top_p: float) -> torch.Tensor:
    """Log-probabilities (B, V) after temperature and nucleus truncation (arXiv:1904.09751)."""
    logprobs = torch.log_softmax(logits.float() / (temperature or 1.0), dim=-1)
    if top_p < 1.0:
        ordered, order = logprobs.sort(dim=-1, descending=True)
        before = ordered.exp().cumsum(-1) - ordered.exp()        # mass of the more likely tokens
        ordered = ordered.masked_fill(before >= top_p, float("-inf"))
        logprobs = torch.log_softmax(torch.empty_like(ordered).scatter(-1, order, ordered), dim=-1)
    return logprobs


@torch.inference_mode()
def generate(model: GPT, prompts: list[list[int]], max_new_tokens: int, temperature: float = 1.0, seed: int | None = None, *,
             eos_id: int | None = None, top_p: float = 1.0, chunk_size: int = 512,
             on_token: Callable[[int, int], None] | None = None) -> Generation:
    """Samples one completion for each prompt (a list of ids). Returns Generation(completion_ids, completion_mask, logprobs).

    Temperature 0 is greedy. No token is banned; without `eos_id` nothing stops early. `on_token(row, id)` is told
    each token as it is drawn. Raises ValueError on an empty prompt or one that leaves no room in the model.
    """
    if not prompts or not all(prompts):
        raise ValueError("generate needs at least one prompt, and no empty ones")
    if max(map(len, prompts)) + max_new_tokens > model.config.max_length:
        raise ValueError(f"a prompt of {max(map(len, prompts))} tokens and {max_new_tokens} new ones "
                         f"are more than the model's {model.config.max_length}")
    if not 0 < top_p <= 1 or temperature < 0 or max_new_tokens < 1:
        raise ValueError("generate needs 0 < top_p <= 1, temperature >= 0 and max_new_tokens >= 1")
    device, num_rows = model.embedding.weight.device, len(prompts)
    generator = torch.Generator().manual_seed(seed) if seed is not None else None
    uniforms = torch.rand(num_rows, max_new_tokens, generator=generator, dtype=torch.float64)  # (B, L)
    if device.type == "mps":        # which has no float64
        uniforms = uniforms.float()
    chunks = [generate_chunk(model, prompts[start:start + chunk_size], max_new_tokens, temperature, top_p, eos_id,
                             uniforms[start:start + chunk_size].to(device), start, on_token)
              for start in range(0, num_rows, chunk_size)]
    return Generation(*(torch.cat(parts) for parts in zip(*chunks)))


def generate_chunk(model: GPT, prompts: list[list[int]], max_new_tokens: int, temperature: float, top_p: float,
                   eos_id: int | None, uniforms: torch.Tensor, first_row: int,
                   on_token: Callable[[int, int], None] | None) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    device, num_rows = uniforms.device, len(prompts)
    distinct = {tuple(prompt): None for prompt in prompts}
    distinct = {prompt: i for i, prompt in enumerate(distinct)}
    lengths = torch.tensor([len(prompt) for prompt in distinct], device=device)
    prompt_ids = torch.zeros(len(distinct), int(lengths.max()), dtype=torch.long)
    for i, prompt in enumerate(distinct):
        prompt_ids[i, :len(prompt)] = torch.tensor(prompt)

    # read each distinct prompt once, then hand every row its copy
    cache = KVCache(model.config, len(distinct), int(lengths.max()), device, model.embedding.weight.dtype)
    hidden = model.hidden(prompt_ids.to(device), cache)                                # (distinct, T, C)
    logits = model.head(hidden[torch.arange(len(distinct), device=device), lengths - 1])
    source = torch.tensor([distinct[tuple(prompt)] for prompt in prompts], device=device)
    cache.lengths = lengths
    cache.select(source)
    logits = logits[source]                                                            # (B, V)

    completion_ids = torch.zeros(num_rows, max_new_tokens, dtype=torch.long, device=device)
    completion_mask = torch.zeros(num_rows, max_new_tokens, device=device)
    logprobs = torch.zeros(num_rows, max_new_tokens, device=device)
    alive = torch.arange(num_rows, device=device)                                      # rows still computed
    going = torch.ones(num_rows, dtype=torch.bool, device=device)                      # and not yet ended
    for t in range(max_new_tokens):
        distribution = sampling_distribution(logits, temperature, top_p)               # (alive, V)
        if temperature == 0:
            tokens = distribution.argmax(-1)
        else:
            # inverse transform: the first token whose cumulative probability passes the row's uniform number
            cumulative = distribution.to(uniforms.dtype).exp().cumsum(-1)
            draw = uniforms[alive, t, None] * cumulative[:, -1:]
            tokens = torch.searchsorted(cumulative, draw, right=True)[:, 0].clamp(max=logits.size(1) - 1)
        speaking = alive[going]
        completion_ids[speaking, t] = tokens[going]
        completion_mask[speaking, t] = 1
        logprobs[speaking, t] = distribution.gather(1, tokens[:, None])[going, 0]
        if on_token:
            for row, token in zip(speaking.tolist(), tokens[going].tolist()):
                on_token(first_row + row, token)
        if eos_id is not None:
            going &= tokens != eos_id
        num_going = int(going.sum())
        if t == max_new_tokens - 1 or num_going == 0:
            break
        if padded(num_going) < 0.75 * len(alive):   # copying the cache costs, so only when it pays
            kept = going.int().argsort(descending=True, stable=True)[:padded(num_going)]
            alive, tokens, going = alive[kept], tokens[kept], going[kept]
            cache.select(kept)
        logits = model.head(model.hidden(tokens[:, None], cache))[:, 0]
    return completion_ids, completion_mask, logprobs
