"""Batched generation with a cache: ids in, ids out.

Equal prompts are read once and their cache is copied to each row. Rows that ended are dropped. Each row has
its own uniform random numbers, uniforms[row, t] for its token t, all drawn before the first one is used. So
what one row says never depends on when another one stops.
Shapes: B rows, L new tokens at most, C width, V vocabulary.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch

from minireason.cache import KVCache, join
from minireason.model import GPT
from minireason.upkeep import kernels
from minireason.upkeep.command import Fault

PROMPT_TOKENS = 512     # tokens of prompts that are read at once: few enough for the processor's cache
BLOCK = 16              # columns by which the key-value cache grows


class Generation(NamedTuple):
    completion_ids: torch.Tensor    # (B, L), 0 beyond the mask
    completion_mask: torch.Tensor   # (B, L), 1 up to and including the end token
    logprobs: torch.Tensor          # (B, L), after temperature and top_p; 0 beyond the mask

    def unpadded(self) -> list[list[int]]:
        """The ids of each completion, up to and including its end token, as lists."""
        lengths = self.completion_mask.sum(1).long().tolist()
        return [ids[:length] for ids, length in zip(self.completion_ids.tolist(), lengths)]


def sampling_logprobs(logits: torch.Tensor, temperature: float, top_p: float) -> torch.Tensor:
    """Log-probabilities (B, V) after temperature and nucleus truncation (arXiv:1904.09751).

    The truncation keeps the most likely tokens, as few as reach a probability of `top_p` together.
    """
    # temperature 0 takes the most likely token, which is the same without a division
    logprobs = torch.log_softmax(logits.float() / (temperature or 1.0), dim=-1)
    if top_p < 1.0:
        ordered, order = logprobs.sort(dim=-1, descending=True)
        mass_before = ordered.exp().cumsum(-1) - ordered.exp()       # of the more likely tokens
        ordered = ordered.masked_fill(mass_before >= top_p, float("-inf"))
        truncated = torch.empty_like(ordered).scatter(-1, order, ordered)
        logprobs = torch.log_softmax(truncated, dim=-1)
    return logprobs


@torch.inference_mode()
def generate(model: GPT, prompts: list[list[int]], max_new_tokens: int, temperature: float = 1.0,
             seed: int | None = None, *, eos_id: int | None = None, top_p: float = 1.0, chunk_size: int = 512,
             on_token: Callable[[int, int], None] | None = None) -> Generation:
    """Samples one completion for each prompt (a list of ids). Returns a Generation.

    Temperature 0 is greedy. No token is banned; without `eos_id` nothing stops early. `on_token(row, id)` is
    called with each token as it is drawn. Raises ValueError on an empty prompt, or one that leaves no room;
    Fault if logits are infinite or undefined, or become so when they are divided by the temperature.
    """
    if not prompts or not all(prompts):
        raise ValueError("generate needs at least one prompt, and no empty ones")
    longest = max(len(prompt) for prompt in prompts)
    if longest + max_new_tokens > model.config.max_length:
        raise ValueError(f"a prompt of {longest} tokens and {max_new_tokens} new ones "
                         f"are more than the model's {model.config.max_length}")
    if not 0 < top_p <= 1 or temperature < 0 or max_new_tokens < 1:
        raise ValueError("generate needs 0 < top_p <= 1, temperature >= 0 and max_new_tokens >= 1")
    device, num_rows = model.embedding.weight.device, len(prompts)
    generator = torch.Generator().manual_seed(seed) if seed is not None else None
    uniforms = torch.rand(num_rows, max_new_tokens, generator=generator, dtype=torch.float64)   # (B, L)
    if device.type == "mps":        # which has no float64
        uniforms = uniforms.float()

    chunks = []
    for start in range(0, num_rows, chunk_size):
        end = start + chunk_size
        chunks.append(generate_chunk(model, prompts[start:end], max_new_tokens, temperature, top_p, eos_id,
                                     uniforms[start:end].to(device), start, on_token))
    return Generation(completion_ids=torch.cat([chunk.completion_ids for chunk in chunks]),
                      completion_mask=torch.cat([chunk.completion_mask for chunk in chunks]),
                      logprobs=torch.cat([chunk.logprobs for chunk in chunks]))


def read_prompts(model: GPT, prompts: list[list[int]], device: torch.device) -> tuple[torch.Tensor, KVCache]:
    """Reads each distinct prompt once. Returns (logits (B, V) of the first new token, cache of B rows)."""
    distinct = list(dict.fromkeys(tuple(prompt) for prompt in prompts))      # in the order of their first row
    lengths = torch.tensor([len(prompt) for prompt in distinct], device=device)
    longest = int(lengths.max())
    T = kernels.padded(longest, model.config.max_length)
    prompt_ids = torch.zeros(len(distinct), T, dtype=torch.long)
    # They end in the same column: . . p p . and p p p p . with longest = 4. Behind it is padding, for speed.
    for i, prompt in enumerate(distinct):
        prompt_ids[i, longest - len(prompt):longest] = torch.tensor(prompt)

    num_at_once = max(1, PROMPT_TOKENS // T)
    caches, logits = [], []
    for ids, some_lengths in zip(prompt_ids.split(num_at_once), lengths.split(num_at_once)):
        kernels.choose(ids.numel())                                          # for speed alone
        cache = KVCache(model.config, some_lengths, longest, T, model.embedding.weight.dtype, BLOCK)
        hidden = model.hidden(ids.to(device), cache)                         # (some, T, C)
        logits.append(model.head(hidden[:, longest - 1]))                    # (some, V)
        caches.append(cache)
    cache, logits = join(caches), torch.cat(logits)

    # each row gets a copy of what its prompt left
    index_of = {prompt: i for i, prompt in enumerate(distinct)}
    source = torch.tensor([index_of[tuple(prompt)] for prompt in prompts], device=device)     # (B,)
    cache.select(source)
    return logits[source], cache


def draw_tokens(logprobs: torch.Tensor, uniforms: torch.Tensor) -> torch.Tensor:
    """Inverse transform: the first token whose cumulative probability passes the row's uniform number.

    Takes log-probabilities (B, V) and numbers in 0..1 (B,). Returns ids (B,).
    """
    cumulative = logprobs.exp().cumsum(-1, dtype=uniforms.dtype)             # (B, V)
    # rounding leaves the last sum a little off 1
    threshold = uniforms[:, None] * cumulative[:, -1:]                       # (B, 1)
    ids = torch.searchsorted(cumulative, threshold, right=True)[:, 0]
    return ids.clamp(max=logprobs.size(1) - 1)


def not_finite(logits: torch.Tensor, temperature: float) -> Fault:
    """The error for logits that no token can be drawn from, with what to do."""
    if logits.isfinite().all():
        return Fault(f"logits are infinite or undefined at temperature {temperature}: choose a higher one")
    return Fault("the model's logits are infinite or undefined, so its weights are of no use: "
                 "take another checkpoint, or train again with a lower learning rate")


def generate_chunk(model: GPT, prompts: list[list[int]], max_new_tokens: int, temperature: float,
                   top_p: float, eos_id: int | None, uniforms: torch.Tensor, first_row: int,
                   on_token: Callable[[int, int], None] | None) -> Generation:
    """`generate` for rows that share a cache. The first of them is row `first_row` of all.

    `uniforms` (B, L) holds the random number of each row and step. Without what makes it fast this would be:

        logits = the model's for the first new token, after reading the prompts
        for t in range(max_new_tokens):
            tokens = draw_tokens(sampling_logprobs(logits), uniforms[:, t])
            if each row has had its end token: stop
            logits = the model's for the next token, after reading `tokens`

    The rest drops rows that have ended, and tells what was drawn.
    """
    device, num_rows = uniforms.device, len(prompts)
    completion_ids = torch.zeros(num_rows, max_new_tokens, dtype=torch.long, device=device)
    logprobs = torch.zeros(num_rows, max_new_tokens, device=device)

    logits, cache = read_prompts(model, prompts, device)                     # (B, V)
    if not logits.isfinite().all():
        raise not_finite(logits, temperature)
    kernels.choose(num_rows)
    rows = torch.arange(num_rows, device=device)                             # those still in the batch
    unfinished = torch.ones(num_rows, dtype=torch.bool, device=device)       # a mask over `rows`
    for t in range(max_new_tokens):
        all_logprobs = sampling_logprobs(logits, temperature, top_p)         # (rows, V)
        if temperature == 0:
            tokens = all_logprobs.argmax(-1)                                 # (rows,)
        else:
            tokens = draw_tokens(all_logprobs, uniforms[:, t])
        chosen = all_logprobs.gather(1, tokens[:, None])[:, 0]               # (rows,)
        # One logit of NaN or +inf makes its whole row NaN. The sum asks all rows at once. A finished row may
        # be NaN: what it says is left out.
        if chosen.sum().isnan() and chosen[unfinished].isnan().any():
            raise not_finite(logits, temperature)
        completion_ids[rows, t] = tokens        # of finished rows as well: what they say is left out below
        logprobs[rows, t] = chosen
        if on_token:
            for row, token in zip(rows[unfinished].tolist(), tokens[unfinished].tolist()):
                on_token(first_row + row, token)

        if eos_id is not None:
            unfinished &= tokens != eos_id
        num_unfinished = int(unfinished.sum())
        if t == max_new_tokens - 1 or num_unfinished == 0:
            break
        # Dropping rows copies the cache. So finished rows stay until a quarter of the batch can go.
        num_kept = kernels.padded(num_unfinished)
        if num_kept < 0.75 * len(rows):
            unfinished_first = unfinished.int().argsort(descending=True, stable=True)
            kept = unfinished_first[:num_kept]
            rows, tokens, unfinished, uniforms = rows[kept], tokens[kept], unfinished[kept], uniforms[kept]
            cache.select(kept)
            kernels.choose(len(rows))
        logits = model.head(model.hidden(tokens[:, None], cache))[:, 0]      # (rows, V)

    completion_mask = torch.ones_like(completion_ids)
    if eos_id is not None:
        is_end = (completion_ids == eos_id).long()
        num_ends_before = is_end.cumsum(1) - is_end
        completion_mask = (num_ends_before == 0).long()
    return Generation(completion_ids * completion_mask, completion_mask.float(),
                      logprobs.masked_fill(completion_mask == 0, 0.0))
