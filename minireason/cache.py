"""What sampling keeps of each row: the keys and values of its tokens. `GPT.hidden` reads and fills it.

Shapes: B rows, T positions, N positions in the cache, K key-value heads, D head size.
"""

import math

import torch
import torch.nn.functional as F

from minireason.config import ModelConfig

# Added to a score, it leaves a weight of 0. With -inf, a position that sees no token would become NaN.
NEVER = -1e30


class KVCache:
    """Keys and values of each layer, (2, B, K, N, D). Prompts are padded on the left, to end in one column.

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
        `GPT.hidden` calls `count` after the last layer.
        """
        keys, values = self.data[layer]                                         # (B, K, N, D) each
        start, end = self.num_filled, self.num_filled + k.size(2)
        keys[:, :, start:end] = k
        values[:, :, start:end] = v
        return (k, v) if start == 0 else (keys, values)

    def count(self) -> None:
        """Counts the columns that every layer has filled: those of the prompts, later one more token a row.

        Prompts may be padded behind column `longest` - 1, for speed. The next tokens overwrite that padding,
        so it is not counted.
        """
        if self.num_filled == 0:
            self.num_filled = self.longest
        else:
            self.num_filled += 1


def join(caches: list[KVCache]) -> KVCache:
    """Puts the rows of several caches, whose columns are the same, into the first one. Returns it."""
    joined = caches[0]
    joined.mask = torch.cat([cache.mask for cache in caches])
    for layer in range(len(joined.data)):
        joined.data[layer] = torch.cat([cache.data[layer] for cache in caches], dim=1)
    return joined
