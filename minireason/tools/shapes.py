"""The shapes of published models, to count their numbers (parameters): 20 by name, others by their measures.

Each shape is what a model's config.json says. Counted so, each of the 20 has exactly as many numbers as its
page tells (test_fits.py).
"""

import dataclasses
import difflib
import math

from minireason.config import ModelConfig
from minireason.upkeep.command import BadInput


@dataclasses.dataclass(frozen=True)
class Shape:
    """The sizes of a Llama-like model, as its config.json tells them. Its numbers are its parameters."""
    width: int                  # hidden_size
    layers: int
    heads: int
    kv_heads: int
    mlp_width: int              # intermediate_size
    vocab_size: int
    head_size: int
    tied: bool                  # the embedding is the head as well
    biases: bool = False        # of queries, keys and values
    head_norms: bool = False    # of queries and keys

    def block_matrices(self) -> int:
        """How many numbers the seven matrices of a block have."""
        queries, keys = self.heads * self.head_size, self.kv_heads * self.head_size
        attention = self.width * (2 * queries + 2 * keys)       # queries and output, keys and values
        return attention + 3 * self.width * self.mlp_width

    def block_numbers(self) -> int:
        """Numbers in a block: its matrices, two norms, and what some models have besides."""
        numbers = self.block_matrices() + 2 * self.width
        if self.biases:
            numbers += (self.heads + 2 * self.kv_heads) * self.head_size
        if self.head_norms:
            numbers += 2 * self.head_size
        return numbers

    def numbers(self) -> int:
        """How many numbers the model has: embedding and head, the blocks, and the last norm."""
        embeddings = self.vocab_size * self.width * (1 if self.tied else 2)
        return embeddings + self.layers * self.block_numbers() + self.width

    def adapter_numbers(self, rank: int) -> int:
        """How many numbers LoRA adds: for each matrix of a block, input x rank and rank x output."""
        queries, keys = self.heads * self.head_size, self.kv_heads * self.head_size
        attention = 2 * (self.width + queries) + 2 * (self.width + keys)
        return self.layers * rank * (attention + 3 * (self.width + self.mlp_width))


def llama(width: int, layers: int, heads: int, kv_heads: int, mlp_width: int, vocab_size: int,
          tied: bool = False) -> Shape:
    return Shape(width, layers, heads, kv_heads, mlp_width, vocab_size, width // heads, tied)


def qwen2(width: int, layers: int, heads: int, kv_heads: int, mlp_width: int, vocab_size: int,
          tied: bool = False) -> Shape:
    return Shape(width, layers, heads, kv_heads, mlp_width, vocab_size, width // heads, tied, biases=True)


def qwen3(width: int, layers: int, heads: int, mlp_width: int, tied: bool = False) -> Shape:
    """Every dense Qwen3 has 8 heads of keys, heads of 128 numbers, and a vocabulary of 151,936."""
    return Shape(width, layers, heads, 8, mlp_width, 151_936, 128, tied, head_norms=True)


MODELS = {
    "qwen2.5-0.5b": qwen2(896, 24, 14, 2, 4864, 151_936, tied=True),
    "qwen2.5-1.5b": qwen2(1536, 28, 12, 2, 8960, 151_936, tied=True),
    "qwen2.5-3b": qwen2(2048, 36, 16, 2, 11_008, 151_936, tied=True),
    "qwen2.5-7b": qwen2(3584, 28, 28, 4, 18_944, 152_064),
    "qwen2.5-14b": qwen2(5120, 48, 40, 8, 13_824, 152_064),
    "qwen2.5-32b": qwen2(5120, 64, 40, 8, 27_648, 152_064),
    "qwen2.5-72b": qwen2(8192, 80, 64, 8, 29_568, 152_064),
    "qwen3-0.6b": qwen3(1024, 28, 16, 3072, tied=True),
    "qwen3-1.7b": qwen3(2048, 28, 16, 6144, tied=True),
    "qwen3-4b": qwen3(2560, 36, 32, 9728, tied=True),
    "qwen3-8b": qwen3(4096, 36, 32, 12_288),
    "qwen3-14b": qwen3(5120, 40, 40, 17_408),
    "qwen3-32b": qwen3(5120, 64, 64, 25_600),
    "llama-2-7b": llama(4096, 32, 32, 32, 11_008, 32_000),
    "llama-2-13b": llama(5120, 40, 40, 40, 13_824, 32_000),
    "llama-2-70b": llama(8192, 80, 64, 8, 28_672, 32_000),
    "llama-3-8b": llama(4096, 32, 32, 8, 14_336, 128_256),
    "llama-3-70b": llama(8192, 80, 64, 8, 28_672, 128_256),
    "llama-3.2-1b": llama(2048, 16, 32, 8, 8192, 128_256, tied=True),
    "llama-3.2-3b": llama(3072, 28, 24, 8, 8192, 128_256, tied=True),
}


def shape_of(c: ModelConfig) -> Shape:
    """The Shape of one of our own models, or of one with a short name (memory.LARGE)."""
    return Shape(c.width, c.num_layers, c.num_heads, c.num_kv_heads, c.mlp_width, c.vocab_size, c.head_size,
                 tied=True)


def find_model(name: str, short_names: dict[str, ModelConfig]) -> Shape:
    """The Shape of a model by its short name, or by its name in MODELS. Raises BadInput if it is neither."""
    for short_name in short_names:
        if short_name.lower() == name.lower():
            return shape_of(short_names[short_name])
    if name.lower() in MODELS:
        return MODELS[name.lower()]
    similar = difflib.get_close_matches(name.lower(), MODELS, n=3, cutoff=0.5)
    hint = " or ".join(similar) if similar else ", ".join([*short_names, *MODELS])
    raise BadInput(f"--model: {name[:40]} is not known; there is {hint}, or give --hidden, --layers ...")


def own_shape(width: int, layers: int, heads: int, kv_heads: int | None, vocab_size: int,
              mlp_width: int | None, tied: bool) -> Shape:
    """The Shape of a model with these measures.

    Without `kv_heads` each head has keys of its own. Without `mlp_width` it is 8/3 of the width, as in Llama,
    rounded up to a multiple of 256. Raises BadInput if `heads` does not divide `width`, or `kv_heads` not
    `heads`.
    """
    kv_heads = kv_heads or heads
    if width % heads:
        raise BadInput(f"--heads: {heads} does not divide --hidden {width}")
    if heads % kv_heads:
        raise BadInput(f"--kv-heads: {kv_heads} does not divide --heads {heads}")
    mlp_width = mlp_width or math.ceil(8 * width / 3 / 256) * 256
    return Shape(width, layers, heads, kv_heads, mlp_width, vocab_size, width // heads, tied)
