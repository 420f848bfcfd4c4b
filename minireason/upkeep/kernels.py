"""Two tricks that make CPUs faster, and a bound on their memory.

Remove this file and its calls: every result stays the same to rounding.

1. Which library multiplies. On AMD CPUs with AVX-512, MKL uses only half the vector width. Setting the
   precision of float32 products to "bf16" lets torch use oneDNN instead. Without AMX, oneDNN still computes
   in full float32: 245 instead of 110 GFLOP/s in large products on one Zen 5 core. Small products are faster
   with MKL: 1,150 tokens a second for one row, 591 with oneDNN.
2. Shapes in sixteens. oneDNN compiles a kernel for each new shape. Lengths that change from batch to batch
   are padded to a multiple of 16, so that few shapes occur: a step of RL takes 2.10 s instead of 3.15 s
   (2.25 s in eights, 2.17 s in thirty-twos). MKL has its kernels ready: with it lengths are in fours, which
   saves 5 to 8% of imitation and 3% of an update of RL.

Together they took a step of imitation from 203 to 130 ms. How that was measured: tests/benchmarks/README.md.
"""

import math
import os

import torch

from minireason.upkeep import neighbours

CPU_CAPABILITY = torch.backends.cpu.get_cpu_capability()
# With AMX, "bf16" would mean what it says.
FASTER_WITH_ONEDNN = CPU_CAPABILITY == "AVX512" and not torch.cpu._is_amx_tile_supported()
# Lengths are padded to multiples of it. MKL compiles nothing, so longer padding would be waste there.
TILE = 16 if FASTER_WITH_ONEDNN else 4
FEW_TOKENS = 64     # below it, MKL multiplies

# oneDNN would keep 1,024 kernels of 0.6 MB each. With 256, 80 steps of imitation and a few of RL take
# 789 MiB instead of 1,040. It reads these names at its first product.
os.environ.setdefault("LRU_CACHE_CAPACITY", "256")
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "256")


def choose(num_tokens: int) -> None:
    """Selects the matmul library for a batch of this size. Affects the whole process, until the next call."""
    neighbours.watch()      # all that computes calls this function, so the watcher is started here
    if FASTER_WITH_ONEDNN:
        torch.backends.mkldnn.matmul.fp32_precision = "bf16" if num_tokens >= FEW_TOKENS else "none"


def padded(length: int, max_length: int | None = None) -> int:
    """Rounds a length up to a multiple of TILE, but not beyond the model's max_length.

    With a TILE of 16: 33 -> 48, and 33 -> 40 if max_length is 40.
    """
    multiple = math.ceil(length / TILE) * TILE
    if max_length is None or multiple <= max_length:
        return multiple
    return max(length, max_length)
