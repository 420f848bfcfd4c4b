"""A compact GPT with the structure of Llama: RMSNorm, rotary positions, grouped attention, SwiGLU, tied embeddings.

    x = x + attention(norm(x));  x = x + mlp(norm(x));  logits = norm(x) @ embedding^T

Shapes: B rows, T positions, C width, H heads, K key-value heads, D head size, V vocabulary.
Llama: arXiv:2302.13971. Rotary positions: arXiv:2104.09864. SwiGLU: arXiv:2002.05202. Grouped heads: arXiv:2305.13245.
"""

import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from minireason.config import ModelConfig


class KVCache:
    """Keys and values of every layer, (layers, 2, B, K, capacity, D), and how many positions each row has filled."""

    def __init__(self, config: ModelConfig, num_rows: int, capacity: int, device: torch.device | str | None = None,
                 dtype: torch.dtype | None = None):
        shape = (config.num_layers, 2, num_rows, config.num_kv_heads, capacity, config.head_size)
        self.data = torch.zeros(shape, device=device, dtype=dtype)
        self.lengths = torch.zeros(num_rows, dtype=torch.long, device=device)    # (B,)

    def select(self, rows: torch.Tensor) -> None:
        """Keeps only these rows (indices), in this order; an index may repeat."""
        self.data, self.lengths = self.data.index_select(2, rows), self.lengths[rows]


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotary positions, half-split as in Llama: pairs are (i, i + D/2). x (B, heads, T, D)."""
    left, right = x.chunk(2, dim=-1)
    return torch.cat((left * cos - right * sin, right * cos + left * sin), dim=-1)


class Attention(nn.Module):
    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        kv_width = config.num_kv_heads * config.head_size
        self.query = nn.Linear(config.width, config.width, bias=False)
        self.key = nn.Linear(config.width, kv_width, bias=False)
        self.value = nn.Linear(config.width, kv_width, bias=False)
        self.out = nn.Linear(config.width, config.width, bias=False)

    def forward(self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, cache: KVCache | None = None,
                layer: int = 0) -> torch.Tensor:
        c, (B, T, C) = self.config, x.shape
        q = rotate(self.query(x).view(B, T, c.num_heads, -1).transpose(1, 2), cos, sin)        # (B, H, T, D)
        k = rotate(self.key(x).view(B, T, c.num_kv_heads, -1).transpose(1, 2), cos, sin)       # (B, K, T, D)
        v = self.value(x).view(B, T, c.num_kv_heads, -1).transpose(1, 2)                       # (B, K, T, D)
        if cache is not None and T == 1:
            return self.out(self.attend_one(q, k, v, cache, layer))
        if cache is not None:   # prefill: the cache was empty, so attention is over the new tokens alone
            cache.data[layer, 0, :, :, :T], cache.data[layer, 1, :, :, :T] = k, v
        shared = c.num_heads // c.num_kv_heads
        k, v = k.repeat_interleave(shared, 1), v.repeat_interleave(shared, 1)                  # (B, H, T, D)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)                            # (B, H, T, D)
        return self.out(y.transpose(1, 2).reshape(B, T, C))

    def attend_one(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, cache: KVCache, layer: int) -> torch.Tensor:
        """One new token a row, written behind the row's own length; heads that share keys go as one matmul."""
        B, K, _, D = k.shape
        rows, length = torch.arange(B, device=k.device), cache.lengths
        cache.data[layer, 0, rows, :, length] = k[:, :, 0]
        cache.data[layer, 1, rows, :, length] = v[:, :, 0]
        filled = cache.filled
        keys, values = cache.data[layer, :, :, :, :filled]                                     # (B, K, filled, D)
        scores = (q.reshape(B, K, -1, D) / math.sqrt(D)) @ keys.transpose(2, 3)                # (B, K, H/K, filled)
        scores = scores.masked_fill_(cache.beyond, float("-inf"))
        return (scores.softmax(-1) @ values).reshape(B, 1, -1)                                 # (B, 1, C)


class Block(nn.Module):
    def __init__(self, config: ModelConfig):
        super().__init__()
        self.attention_norm = nn.RMSNorm(config.width, eps=config.norm_eps)
        self.attention = Attention(config)
        self.mlp_norm = nn.RMSNorm(config.width, eps=config.norm_eps)
        self.gate = nn.Linear(config.width, config.mlp_width, bias=False)
        self.up = nn.Linear(config.width, config.mlp_width, bias=False)
        self.down = nn.Linear(config.mlp_width, config.width, bias=False)

    def forward(self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, cache: KVCache | None = None,
                layer: int = 0) -> torch.Tensor:
        x = x + self.attention(self.attention_norm(x), cos, sin, cache, layer)
        h = self.mlp_norm(x)
        return x + self.down(F.silu(self.gate(h)) * self.up(h))


class GPT(nn.Module):
    """`model(ids (B, T)) -> logits (B, T, V)`. Rows start at column 0; what follows a row's end cannot be seen by it."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.width)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.num_layers))
        self.norm = nn.RMSNorm(config.width, eps=config.norm_eps)
        frequencies = config.rope_theta ** -(torch.arange(0, config.head_size, 2) / config.head_size)   # (D/2,)
        angles = torch.outer(torch.arange(config.max_length).float(), frequencies)                      # (max, D/2)
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)

    def init_weights(self, seed: int) -> "GPT":
        """Fresh weights from a seed: std 0.7/sqrt(inputs), and 0 where a block writes into the residual stream, so that
        training starts from plain embeddings: it learns a quarter faster than with small random numbers there."""
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

    def hidden(self, ids: torch.Tensor, cache: KVCache | None = None) -> torch.Tensor:
        """Last hidden states (B, T, C). With a cache: the prompt when it is empty, afterwards one token a row."""
        B, T = ids.shape
        if T > self.config.max_length:
            raise ValueError(f"{T} tokens are more than the model's {self.config.max_length}")
        if cache is not None and T == 1:
            cache.filled = int(cache.lengths.max()) + 1
            columns = torch.arange(cache.filled, device=ids.device)
            cache.beyond = (columns > cache.lengths[:, None])[:, None, None]                    # (B, 1, 1, filled)
            cos, sin = (table[cache.lengths][:, None, None] for table in (self.cos, self.sin))  # (B, 1, 1, D/2)
        else:
            cos, sin = self.cos[:T], self.sin[:T]                                               # (T, D/2)
        x = self.embedding(ids)                                                                 # (B, T, C)
        for layer, block in enumerate(self.blocks):
            x = block(x, cos, sin, cache, layer)
        if cache is not None and T == 1:
            cache.lengths = cache.lengths + 1
        return self.norm(x)

    def head(self, hidden: torch.Tensor) -> torch.Tensor:
        """Logits (..., V) of hidden states (..., C), with the embedding as the output matrix."""
        return F.linear(hidden, self.embedding.weight)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.head(self.hidden(ids))
