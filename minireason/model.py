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

# MKL uses half the width of AMD's AVX-512. "bf16" permits oneDNN instead: without AMX it multiplies in full float32 all the same,
# and there twice as fast, where products are large and of a shape that came before. The setting is the whole process's.
WIDE = torch.backends.cpu.get_cpu_capability() == "AVX512" and not torch.cpu._is_amx_tile_supported()
TILE = 16     # what changes from batch to batch comes in multiples of it: a kernel is made once for each shape


def choose_kernels(num_tokens: int) -> None:
    """Says who multiplies from here on."""
    if WIDE:
        torch.backends.mkldnn.matmul.fp32_precision = "bf16" if num_tokens >= 64 else "none"


def padded(number: int) -> int:
    """The next multiple of TILE."""
    return -(-number // TILE) * TILE


class KVCache:
    """Keys and values, (2, B, K, N, D) for each layer, and how many positions each row has filled. N grows."""

    def __init__(self, config: ModelConfig, num_rows: int, room: int, device: torch.device | str | None = None,
                 dtype: torch.dtype | None = None):
        shape = (2, num_rows, config.num_kv_heads, padded(room), config.head_size)
        self.data = [torch.zeros(shape, device=device, dtype=dtype) for _ in range(config.num_layers)]
        self.lengths = torch.zeros(num_rows, dtype=torch.long, device=device)    # (B,)

    def select(self, rows: torch.Tensor) -> None:
        """Keeps only these rows (indices), in this order; an index may repeat."""
        self.lengths = self.lengths[rows]
        for layer, data in enumerate(self.data):      # one after the other: no two copies of the whole
            self.data[layer] = data.index_select(1, rows)

    def make_room(self) -> None:
        """So that each row can take one more token."""
        if int(self.lengths.max()) == self.data[0].size(3):
            for layer, data in enumerate(self.data):
                self.data[layer] = F.pad(data, (0, 0, 0, TILE))

    def put(self, layer: int, k: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Writes the newest keys and values (B, K, T, D): a prompt's, or one token's behind each row's own length.
        Returns those of all tokens, (B, K, N, D) each."""
        B, _, T, _ = k.shape
        keys, values = self.data[layer]
        if T > 1:
            keys[:, :, :T], values[:, :, :T] = k, v
            return k, v
        rows = torch.arange(B, device=k.device)
        keys[rows, :, self.lengths], values[rows, :, self.lengths] = k[:, :, 0], v[:, :, 0]
        return keys, values


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotary positions, half-split as in Llama: pairs are (i, i + D/2). x (B, heads, T, D)."""
    left, right = x.chunk(2, dim=-1)
    return torch.cat((left * cos - right * sin, right * cos + left * sin), dim=-1)


class Attention(nn.Module):
    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        num_heads = config.num_heads + 2 * config.num_kv_heads      # of queries, then keys, then values: one product makes all
        self.qkv = nn.Linear(config.width, num_heads * config.head_size, bias=False)
        self.out = nn.Linear(config.width, config.width, bias=False)

    def forward(self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, ahead: torch.Tensor,
                cache: KVCache | None = None, layer: int = 0) -> torch.Tensor:
        c, (B, T, C) = self.config, x.shape
        heads = self.qkv(x).view(B, T, -1, c.head_size).transpose(1, 2)                        # (B, H + 2K, T, D)
        qk, v = heads.split((c.num_heads + c.num_kv_heads, c.num_kv_heads), dim=1)             # v (B, K, T, D)
        q, k = rotate(qk, cos, sin).split((c.num_heads, c.num_kv_heads), dim=1)                # (B, H, T, D), (B, K, T, D)
        if cache is not None:
            k, v = cache.put(layer, k, v)                                                      # (B, K, N, D)
        q = q.reshape(B, c.num_kv_heads, -1, c.head_size) / math.sqrt(c.head_size)             # heads that share keys: one matmul
        scores = (q @ k.transpose(2, 3)).view(B, c.num_heads, T, -1)                           # (B, H, T, N)
        weights = torch.softmax(scores.add_(ahead), dim=-1)
        y = weights.view(B, c.num_kv_heads, -1, weights.size(-1)) @ v                          # (B, K, H/K * T, D)
        return self.out(y.view(B, c.num_heads, T, -1).transpose(1, 2).reshape(B, T, C))


class Block(nn.Module):
    def __init__(self, config: ModelConfig):
        super().__init__()
        self.attention_norm = nn.RMSNorm(config.width, eps=config.norm_eps)
        self.attention = Attention(config)
        self.mlp_norm = nn.RMSNorm(config.width, eps=config.norm_eps)
        self.gate = nn.Linear(config.width, config.mlp_width, bias=False)
        self.up = nn.Linear(config.width, config.mlp_width, bias=False)
        self.down = nn.Linear(config.mlp_width, config.width, bias=False)

    def forward(self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, ahead: torch.Tensor,
                cache: KVCache | None = None, layer: int = 0) -> torch.Tensor:
        x = x + self.attention(self.attention_norm(x), cos, sin, ahead, cache, layer)
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
        angles = torch.outer(torch.arange(padded(config.max_length)).float(), frequencies)              # (max, D/2)
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
        if T > padded(self.config.max_length):
            raise ValueError(f"{T} tokens are more than the model's {self.config.max_length}")
        if cache is not None and T == 1:
            cache.make_room()
            columns = torch.arange(cache.data[0].size(3), device=ids.device)
            ahead = torch.zeros(B, 1, 1, len(columns), device=ids.device).masked_fill_(         # (B, 1, 1, N)
                (columns > cache.lengths[:, None])[:, None, None], float("-inf"))
            cos, sin = (table[cache.lengths][:, None, None] for table in (self.cos, self.sin))  # (B, 1, 1, D/2)
        else:
            ids = F.pad(ids, (0, padded(T) - T))                                                # (B, T), a little longer
            cos, sin = self.cos[:ids.size(1)], self.sin[:ids.size(1)]                           # (T, D/2)
            ahead = torch.full((ids.size(1), ids.size(1)), float("-inf"), device=ids.device).triu(1)   # (T, T)
        choose_kernels(ids.numel())
        x = self.embedding(ids)                                                                 # (B, T, C)
        for layer, block in enumerate(self.blocks):
            x = block(x, cos, sin, ahead, cache, layer)
        if cache is not None and T == 1:
            cache.lengths = cache.lengths + 1
        return self.norm(x[:, :T])

    def head(self, hidden: torch.Tensor) -> torch.Tensor:
        """Logits (..., V) of hidden states (..., C), with the embedding as the output matrix."""
        return F.linear(hidden, self.embedding.weight)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.head(self.hidden(ids))
