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

from minireason.cache import NEVER, KVCache
from minireason.config import ModelConfig


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
        num_projections = config.num_heads + 2 * config.num_kv_heads    # one product for q, k and v
        self.qkv = nn.Linear(config.width, num_projections * config.head_size, bias=False)
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

        # Written out: F.scaled_dot_product_attention was not faster on CPUs (tests/benchmarks/README.md).
        # Heads that share a key are stacked along T, so that one product serves them all. The plain form is
        # k, v = (x.repeat_interleave(H // K, dim=1) for x in (k, v)), and a mask of (T, N) for every head.
        q = q.reshape(B, K, -1, D) / math.sqrt(D)                               # (B, K, H/K * T, D)
        # the mask's last two sizes are (H/K * T, N) or (1, N): NEVER where a query must not look
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
    """`model(ids (B, T)) -> logits (B, T, V)`. Rows start at column 0, except with a cache (cache.py).

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
            # Positions are columns: in a row with a shorter prompt all are shifted, but no distance changes.
            cos, sin = self.cos[cache.num_filled], self.sin[cache.num_filled]   # (D,) each
        x = self.embedding(ids)                                                 # (B, T, C)
        for layer, block in enumerate(self.blocks):
            x = block(x, cos, sin, mask, cache, layer)
        if cache is not None:
            cache.count()
        return self.norm(x)

    def head(self, hidden: torch.Tensor) -> torch.Tensor:
        """Logits (..., V) of hidden states (..., C), with the embedding as the output matrix."""
        return F.linear(hidden, self.embedding.weight)

    def forward(self, ids: torch.Tensor, positions: torch.Tensor | None = None) -> torch.Tensor:
        return self.head(self.hidden(ids, positions=positions))
