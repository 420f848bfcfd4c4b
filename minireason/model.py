"""A compact GPT with the structure of Llama.

RMSNorm, rotary positions, grouped attention, SwiGLU, tied embeddings:

    x = x + attention(norm(x));  x = x + mlp(norm(x));  logits = norm(x) @ embedding^T

Shapes: B rows, T positions, N positions in the cache, C width, H heads, K key-value heads, D head size,
V vocabulary.
Llama: arXiv:2302.13971. Rotary positions: arXiv:2104.09864. SwiGLU: arXiv:2002.05202.
Grouped heads: arXiv:2305.13245.
"""

import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from minireason.config import ModelConfig

# Added to a score, it leaves a weight of 0. With -inf, a position that sees no token would become NaN.
NEVER = -1e30


class KVCache:
    """Keys and values of each layer, (2, B, K, N, D). Prompts are padded on the left.

    So the next token of every row goes into the same column:

        p p p p c c . .     rotary positions are columns: only the distance of two tokens matters
        . . p p c c . .     mask (B, 1, 1, N): 0 where a row has a token, NEVER elsewhere

    N grows by `block` columns whenever all are filled.
    """

    def __init__(self, config: ModelConfig, lengths: torch.Tensor, longest: int, room: int,
                 dtype: torch.dtype | None = None, block: int = 1):
        """For prompts of these lengths (B,), whose last tokens are in column `longest` - 1.

        At first there are `room` columns, rounded up to a multiple of `block`.
        """
        device = lengths.device
        num_columns = math.ceil(room / block) * block
        shape = (2, len(lengths), config.num_kv_heads, num_columns, config.head_size)
        self.data = [torch.zeros(shape, device=device, dtype=dtype) for _ in range(config.num_layers)]
        self.longest, self.block = longest, block
        self.num_filled = 0                                                     # columns that have been read
        columns = torch.arange(num_columns, device=device)                      # (N,)
        is_token = (columns >= longest - lengths[:, None]) & (columns < longest)        # (B, N)
        self.mask = torch.where(is_token, 0.0, NEVER)[:, None, None]

    def select(self, rows: torch.Tensor) -> None:
        """Keeps only these rows (indices), in this order; an index may repeat."""
        self.mask = self.mask[rows]
        for layer, data in enumerate(self.data):      # layer by layer: never two copies of the whole cache
            self.data[layer] = data.index_select(1, rows)

    def make_room(self) -> None:
        """Makes sure that each row has room for one more token, and lets its column be attended to."""
        if self.num_filled == self.mask.size(-1):
            self.mask = F.pad(self.mask, (0, self.block), value=NEVER)
            for layer, data in enumerate(self.data):
                self.data[layer] = F.pad(data, (0, 0, 0, self.block))
        self.mask[..., self.num_filled] = 0.0

    def put(self, layer: int, k: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Adds the keys and values (B, K, T, D) of the prompts, or of one more token a row.

        Returns those to attend to: the prompts' own (B, K, T, D), or the whole cache (B, K, N, D).
        `GPT.hidden` counts the new columns in `num_filled` after the last layer.
        """
        keys, values = self.data[layer]                                         # (B, K, N, D) each
        start, end = self.num_filled, self.num_filled + k.size(2)
        keys[:, :, start:end] = k
        values[:, :, start:end] = v
        return (k, v) if start == 0 else (keys, values)


def join(caches: list[KVCache]) -> KVCache:
    """Puts the rows of several caches, whose columns are the same, into the first one. Returns it."""
    joined = caches[0]
    joined.mask = torch.cat([cache.mask for cache in caches])
    for layer in range(len(joined.data)):
        joined.data[layer] = torch.cat([cache.data[layer] for cache in caches], dim=1)
    return joined


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotary positions, half-split as in Llama: pairs are (i, i + D/2). x (B, heads, T, D).

    The sines of the left half are negative: (left, right) becomes
    (left * cos - right * sin, right * cos + left * sin).
    """
    swapped = x.roll(x.size(-1) // 2, dims=-1)                                  # (right, left)
    return x * cos + swapped * sin


class Attention(nn.Module):
    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        num_heads = config.num_heads + 2 * config.num_kv_heads    # one product for q, k and v
        self.qkv = nn.Linear(config.width, num_heads * config.head_size, bias=False)
        self.out = nn.Linear(config.width, config.width, bias=False)

    def forward(self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, mask: torch.Tensor,
                cache: KVCache | None = None, layer: int = 0) -> torch.Tensor:
        B, T, C = x.shape
        H, K, D = self.config.num_heads, self.config.num_kv_heads, self.config.head_size
        qkv = self.qkv(x).view(B, T, H + 2 * K, D).transpose(1, 2)              # (B, H + 2K, T, D)
        qk, v = qkv.split((H + K, K), dim=1)                                    # v (B, K, T, D)
        q, k = rotate(qk, cos, sin).split((H, K), dim=1)                        # (B, H, T, D), (B, K, T, D)
        if cache is not None:
            k, v = cache.put(layer, k, v)           # (B, K, T, D) of the prompts, later (B, K, N, D) of all

        # heads that share a key are stacked along T, so that one product serves them all
        q = q.reshape(B, K, -1, D) / math.sqrt(D)                               # (B, K, H/K * T, D)
        scores = (q @ k.transpose(2, 3)).add_(mask)                             # (B, K, H/K * T, N)
        y = torch.softmax(scores, dim=-1) @ v                                   # (B, K, H/K * T, D)
        y = y.view(B, H, T, D).transpose(1, 2).reshape(B, T, C)                 # heads side by side
        return self.out(y)


class Block(nn.Module):
    def __init__(self, config: ModelConfig):
        super().__init__()
        self.attention_norm = nn.RMSNorm(config.width, eps=config.norm_eps)
        self.attention = Attention(config)
        self.mlp_norm = nn.RMSNorm(config.width, eps=config.norm_eps)
        self.gate = nn.Linear(config.width, config.mlp_width, bias=False)
        self.up = nn.Linear(config.width, config.mlp_width, bias=False)
        self.down = nn.Linear(config.mlp_width, config.width, bias=False)

    def forward(self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, mask: torch.Tensor,
                cache: KVCache | None = None, layer: int = 0) -> torch.Tensor:
        x = x + self.attention(self.attention_norm(x), cos, sin, mask, cache, layer)
        h = self.mlp_norm(x)
        return x + self.down(F.silu(self.gate(h)) * self.up(h))


class GPT(nn.Module):
    """`model(ids (B, T)) -> logits (B, T, V)`. Rows start at column 0.

    No token sees those after it, so it does not matter what a row is padded with on the right.
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.width)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.num_layers))
        self.norm = nn.RMSNorm(config.width, eps=config.norm_eps)
        exponents = torch.arange(0, config.head_size, 2) / config.head_size     # (D/2,)
        frequencies = config.rope_theta ** -exponents                           # (D/2,)
        positions = torch.arange(config.max_length).float()                     # (max_length,)
        angles = torch.outer(positions, frequencies)                            # (max_length, D/2)
        cos, sin = angles.cos(), angles.sin()
        # both halves of a head, (max_length, D)
        self.register_buffer("cos", torch.cat((cos, cos), dim=1), persistent=False)
        self.register_buffer("sin", torch.cat((-sin, sin), dim=1), persistent=False)

    def init_weights(self, seed: int) -> "GPT":
        """Fresh weights from a seed: std 0.7/sqrt(inputs), but 0 where a block writes into the residual
        stream. Training then starts from plain embeddings, and learns a quarter faster.
        """
        generator = torch.Generator().manual_seed(seed)
        for name, parameter in self.named_parameters():
            if parameter.dim() > 1:
                std = 0.7 / math.sqrt(parameter.size(1))
                if name == "embedding.weight":
                    std = 0.02
                elif name.endswith(("out.weight", "down.weight")):
                    std = 0.0
                with torch.no_grad():
                    parameter.copy_(torch.randn(parameter.shape, generator=generator) * std)
        return self

    def hidden(self, ids: torch.Tensor, cache: KVCache | None = None,
               positions: torch.Tensor | None = None) -> torch.Tensor:
        """Last hidden states (B, T, C). A cache takes the prompts first, then one token a row each call.

        Without a cache the tokens may have other `positions` (B, T) than their columns, from 0 to
        max_length - 1: imitation moves prompts away from their texts (sft.py).
        """
        B, T = ids.shape
        if T > self.config.max_length:
            raise ValueError(f"{T} tokens are more than the model's {self.config.max_length}")
        if cache is None or cache.num_filled == 0:
            # (T, T), NEVER where a token would look ahead
            mask = torch.full((T, T), NEVER, device=ids.device).triu(1)
            cos, sin = self.cos[:T], self.sin[:T]                               # (T, D) each
            if cache is not None:
                mask = mask + cache.mask[..., :T]                               # (B, 1, T, T)
            if positions is not None:
                cos, sin = self.cos[positions][:, None], self.sin[positions][:, None]     # (B, 1, T, D) each
            # Attention stacks the heads that share a key along T: one copy of the mask for each of them
            repeats = self.config.num_heads // self.config.num_kv_heads
            mask = torch.cat([mask] * repeats, dim=-2)                          # (..., H/K * T, T)
        else:
            cache.make_room()
            mask = cache.mask                                                   # (B, 1, 1, N)
            cos, sin = self.cos[cache.num_filled], self.sin[cache.num_filled]   # (D,) each
        x = self.embedding(ids)                                                 # (B, T, C)
        for layer, block in enumerate(self.blocks):
            x = block(x, cos, sin, mask, cache, layer)
        if cache is not None:
            cache.num_filled += 1 if cache.num_filled else cache.longest     # one more token, or the prompts
        return self.norm(x)

    def head(self, hidden: torch.Tensor) -> torch.Tensor:
        """Logits (..., V) of hidden states (..., C), with the embedding as the output matrix."""
        return F.linear(hidden, self.embedding.weight)

    def forward(self, ids: torch.Tensor, positions: torch.Tensor | None = None) -> torch.Tensor:
        return self.head(self.hidden(ids, positions=positions))
