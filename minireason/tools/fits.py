"""Does the training of a large model fit into a device's memory, and what would make it fit?

    python -m minireason.memory --model qwen2.5-7b --fits 80GiB [--algo rlhf] [--flash] [--lora 32] ...

memory.py counts what our own small trainer holds, to the byte. This file estimates what a trainer of large
models holds, with the tricks that it may use. Each line is a formula that can be checked on paper:

    N  numbers of the model       C  its width      H  heads of attention    D  numbers of a head
    A  numbers of the adapters    M  of the MLP     K  heads of keys         V  words of the vocabulary
    L  layers                     R  completions    B  of them in a micro-batch
    T  tokens of a completion with its prompt       W  tokens of a completion alone

Sampling and updating take turns. So do policy and critic: a large trainer updates one after the other.
published.py compares these formulas with peaks that others have measured.
"""

import dataclasses
import difflib
import itertools
import math
import re
from typing import NamedTuple

from minireason.config import ModelConfig
from minireason.upkeep.command import BadInput

GIB = 2**30
UNITS = {"MiB": 2**20, "GiB": GIB, "TiB": 2**40, "MB": 10**6, "GB": 10**9, "TB": 10**12}
PAGE = 16                       # tokens in a page of a paged cache
CONTEXT = int(0.8 * GIB)        # CUDA and its kernels: 0.4 to 1 GiB before the first tensor
FOUR_BITS = 0.516               # bytes of a number in 4 bits, with its share of the scales (QLoRA)
ALGORITHMS = {
    "grpo": "GRPO",
    "ppo": "PPO with a critic of the policy's size",
    "ppo-shared": "PPO with a value layer on the policy's body",
    "rlhf": "PPO with a critic and a reward model of the policy's size",
    "sft": "imitation",
}


# -----------------------------------------------------------------------------
# Models

@dataclasses.dataclass(frozen=True)
class Shape:
    """The shape of a Llama-like model, as its config.json tells it."""
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
        """Numbers in the seven matrices of a block."""
        queries, keys = self.heads * self.head_size, self.kv_heads * self.head_size
        return self.width * (2 * queries + 2 * keys) + 3 * self.width * self.mlp_width

    def block_numbers(self) -> int:
        """Numbers in a block: its matrices, two norms, and what some models have besides."""
        numbers = self.block_matrices() + 2 * self.width
        if self.biases:
            numbers += (self.heads + 2 * self.kv_heads) * self.head_size
        if self.head_norms:
            numbers += 2 * self.head_size
        return numbers

    def numbers(self) -> int:
        embeddings = self.vocab_size * self.width * (1 if self.tied else 2)
        return embeddings + self.layers * self.block_numbers() + self.width

    def adapter_numbers(self, rank: int) -> int:
        """LoRA gives each matrix of a block two thin ones: from its input to `rank`, and to its output."""
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
    """One of our own models, or of the three short names."""
    return Shape(c.width, c.num_layers, c.num_heads, c.num_kv_heads, c.mlp_width, c.vocab_size, c.head_size,
                 tied=True)


def find_model(name: str, short_names: dict[str, ModelConfig]) -> Shape:
    """A model by one of the short names, or by its full name. Raises BadInput where there is none."""
    if name in short_names:
        return shape_of(short_names[name])
    if name.lower() in MODELS:
        return MODELS[name.lower()]
    similar = difflib.get_close_matches(name.lower(), MODELS, n=3, cutoff=0.5)
    hint = " or ".join(similar) if similar else ", ".join([*short_names, *MODELS])
    raise BadInput(f"--model: {name[:40]} is not known; there is {hint}, or give --hidden, --layers and so on")


def own_shape(width: int, layers: int, heads: int, kv_heads: int | None, vocab_size: int,
              mlp_width: int | None, tied: bool) -> Shape:
    """A model by its numbers. Raises BadInput if its heads do not divide what they have to divide.

    Without `kv_heads` each head has keys of its own; without `mlp_width` it is 8/3 of the width, as in Llama.
    """
    kv_heads = kv_heads or heads
    if width % heads:
        raise BadInput(f"--heads: {heads} does not divide --hidden {width}")
    if heads % kv_heads:
        raise BadInput(f"--kv-heads: {kv_heads} does not divide --heads {heads}")
    mlp_width = mlp_width or math.ceil(8 * width / 3 / 256) * 256
    return Shape(width, layers, heads, kv_heads, mlp_width, vocab_size, width // heads, tied)


# -----------------------------------------------------------------------------
# What is asked

@dataclasses.dataclass(frozen=True)
class Plan:
    """How one trains. The names of the flags are in CHANGES and in add_flags."""
    algo: str = "grpo"
    num_prompts: int = 16               # over all devices
    group_size: int = 8
    micro_batch_size: int = 4           # on one device
    prompt_length: int = 256
    max_new_tokens: int = 1024
    mean_new_tokens: int = 0            # what a paged cache has to hold; 0: all completions are full
    reference: bool = True
    dtype: str = "bfloat16"             # of weights and gradients
    master: bool = True                 # a float32 copy of bfloat16 weights, to which updates are added
    optimizer: str = "adamw"            # or adam8bit, sgd
    flash: bool = False                 # attention's weights are not stored
    fused: bool = False                 # norms and MLP in one kernel each, by a compiler or by hand
    checkpointing: bool = False
    lora: int = 0                       # rank of the adapters; 0: every number learns
    base_bits: int = 16                 # of the frozen weights under LoRA
    zero: int = 0
    devices: int = 1
    engine: str = "none"                # a sampling engine with a copy of the weights: none, stays or sleeps
    sampled_at_once: int = 0            # completions; 0: all
    logit_pieces: int = 1
    logit_bytes: int = 0                # 0: see head_line
    context: int = CONTEXT

    def rows(self) -> int:
        """Completions that one device samples."""
        return math.ceil(self.num_prompts * self.group_size / self.devices)

    def row_length(self) -> int:
        return self.prompt_length + self.max_new_tokens

    def size(self) -> int:
        """Bytes of a number that is computed with."""
        return 4 if self.dtype == "float32" else 2


class Line(NamedTuple):
    """One line of the ledger."""
    name: str
    num_bytes: int
    formula: str
    when: str = "always"        # or "update", "sampling": those two take turns


# -----------------------------------------------------------------------------
# The ledger

def ledger(shape: Shape, plan: Plan) -> list[Line]:
    """What one device holds, largest line first."""
    lines = trained_model("policy", shape, plan)
    if plan.algo in ("ppo", "rlhf"):
        lines += trained_model("critic", shape, plan)
    if plan.algo == "ppo-shared":
        num_bytes, how = state_bytes(plan)
        lines.append(Line("critic: a layer", num_bytes * (shape.width + 1), f"(C + 1) x {how}"))
    lines += frozen_models(shape, plan)
    if plan.zero == 3 and plan.devices > 1:
        lines.append(gathered(shape, plan))
    lines += activations(shape, plan)
    if plan.algo != "sft":
        lines += sampling(shape, plan)
        row_bytes = plan.row_length() * 8 + plan.max_new_tokens * 20
        lines.append(Line("rollout", plan.rows() * row_bytes, "R x (8T + 20W): ids, and five numbers a token"))
    if plan.context:
        lines.append(Line("CUDA itself", plan.context, "0.4 to 1 GiB before the first tensor"))
    return sorted(lines, key=lambda line: -line.num_bytes)


def peak(lines: list[Line]) -> int:
    """The most that is held at once: what is always there, and the larger of the two that take turns."""
    totals = {"always": 0, "update": 0, "sampling": 0}
    for line in lines:
        totals[line.when] += line.num_bytes
    return totals["always"] + max(totals["update"], totals["sampling"])


def moment_bytes(plan: Plan) -> int:
    """Bytes of an optimizer's moments a number. They have the type of what the updates are added to."""
    if plan.optimizer == "sgd":
        return 0
    if plan.optimizer == "adam8bit":
        return 2
    return 8 if plan.dtype == "float32" or plan.master else 4


def master_bytes(plan: Plan) -> int:
    return 4 if plan.dtype == "bfloat16" and plan.master else 0


def state_bytes(plan: Plan) -> tuple[int, str]:
    """Bytes of a number that learns, and how they come about."""
    size, rest = plan.size(), master_bytes(plan) + moment_bytes(plan)
    return 2 * size + rest, f"{2 * size + rest}: weight {size}, gradient {size}, optimizer {rest}"


def shards(plan: Plan, stage: int) -> int:
    """Over how many devices a part is spread: ZeRO 1 optimizer, 2 gradients as well, 3 weights as well."""
    return plan.devices if plan.zero >= stage else 1


def over(count: int) -> str:
    return f" / {count} devices" if count > 1 else ""


def trained_model(whose: str, shape: Shape, plan: Plan) -> list[Line]:
    """Weights, gradients and optimizer of a model that learns."""
    N, size = shape.numbers(), plan.size()
    if plan.lora:
        adapters, (num_bytes, how) = shape.adapter_numbers(plan.lora), state_bytes(plan)
        return [frozen_model(f"{whose}: base", shape, plan),
                Line(f"{whose}: adapters", adapters * num_bytes, f"A = {adapters:,} x {how}")]
    master, moments = master_bytes(plan), moment_bytes(plan)
    rest = f"float32 copy {master}, moments {moments}" if master else f"moments {moments}"
    parts = [("weights", size, 3, ""), ("gradients", size, 2, ""), ("optimizer", master + moments, 1, f": {rest}")]
    lines = []
    for name, num_bytes, stage, meaning in parts:
        count = shards(plan, stage)
        formula = f"N x {num_bytes}{over(count)}{meaning}"
        lines.append(Line(f"{whose}: {name}", math.ceil(N * num_bytes / count), formula))
    return lines


def frozen_model(name: str, shape: Shape, plan: Plan) -> Line:
    """Weights alone. Fewer bits are for the matrices of the blocks; embeddings and norms keep theirs."""
    N, count = shape.numbers(), shards(plan, 3)
    if plan.base_bits == 16 or not plan.lora:
        return Line(name, math.ceil(N * plan.size() / count), f"N x {plan.size()}{over(count)}")
    matrices = shape.layers * shape.block_matrices()
    num_bytes = FOUR_BITS if plan.base_bits == 4 else 1
    total = matrices * num_bytes + (N - matrices) * plan.size()
    return Line(name, math.ceil(total / count),
                f"blocks' matrices x {num_bytes}, the rest x {plan.size()}{over(count)}")


def frozen_models(shape: Shape, plan: Plan) -> list[Line]:
    """The reference and the reward model. Under LoRA the policy without its adapters is the reference."""
    lines = []
    if plan.reference and plan.algo != "sft":
        if plan.lora:
            lines.append(Line("reference", 0, "the base, with the adapters switched off"))
        else:
            lines.append(frozen_model("reference", shape, plan))
    if plan.algo == "rlhf":
        lines.append(frozen_model("reward model", shape, plan))
    return lines


def gathered(shape: Shape, plan: Plan) -> Line:
    """ZeRO 3 collects the weights of a layer when it is needed, and those of the next one meanwhile."""
    largest = max(shape.block_numbers(), shape.vocab_size * shape.width)
    return Line("collected layers", 2 * largest * plan.size(), f"2 x the largest layer, {largest:,} x {plan.size()}")


def block_bytes(shape: Shape, plan: Plan) -> int:
    """What a block keeps of one token for the backward pass.

    norms        input in float32, scaled, and output, C each, twice; fused: input and output
    attention    queries and its output, HD each; keys and values, KD each
                 each head's weights over all T tokens, in float32 and cast, unless they are not stored (flash)
    MLP          4 M: two matrices' outputs, one of them through SiLU, and the product; fused: without SiLU's
    """
    size = plan.size()
    HD, KD = shape.heads * shape.head_size, shape.kv_heads * shape.head_size
    norm_bytes = 2 * size if plan.fused else 4 + 2 * size
    total = 2 * norm_bytes * shape.width + 2 * size * (HD + KD)
    if shape.head_norms:
        total += norm_bytes * (HD + KD)
    if not plan.flash:
        total += shape.heads * plan.row_length() * (4 if size == 4 else 4 + size)
    return total + (3 if plan.fused else 4) * size * shape.mlp_width


def activations(shape: Shape, plan: Plan) -> list[Line]:
    """What the backward pass of a micro-batch needs: of the blocks, and of the head."""
    B = min(plan.micro_batch_size, plan.rows())
    tokens, one_block = B * plan.row_length(), block_bytes(shape, plan)
    if plan.checkpointing:
        blocks = tokens * (shape.layers * shape.width * plan.size() + one_block)
        how = f"BT x (L x C x {plan.size()} + one block, {one_block:,})"
    else:
        blocks = tokens * shape.layers * one_block
        how = f"BT x L x {one_block:,} bytes a token"
    return [Line("activations: blocks", blocks, how, "update"), head_line(shape, plan, B)]


def head_line(shape: Shape, plan: Plan, B: int) -> Line:
    """The logits, their log-softmax in float32, and its gradient. RL needs them of the completion alone."""
    if plan.algo == "sft":
        length, letters = plan.row_length(), "BT"
    else:
        length, letters = plan.max_new_tokens, "BW"
    num_bytes = plan.logit_bytes or plan.size() + 4 + 4
    length = math.ceil(length / plan.logit_pieces)
    pieces = f" / {plan.logit_pieces} pieces" if plan.logit_pieces > 1 else ""
    return Line("activations: logits", B * length * shape.vocab_size * num_bytes,
                f"{letters} x V x {num_bytes}{pieces}: logits, log-softmax, gradient", "update")


def sampling(shape: Shape, plan: Plan) -> list[Line]:
    """The key-value cache, and the engine's copy of the weights.

    Our own sampler makes room for full completions. An engine's paged cache holds the tokens that are there.
    """
    rows = min(plan.rows(), plan.sampled_at_once or plan.rows())
    length = plan.row_length()
    if plan.engine != "none":
        length = plan.prompt_length + (plan.mean_new_tokens or plan.max_new_tokens)
        length = math.ceil(length / PAGE) * PAGE
    token_bytes = 2 * shape.layers * shape.kv_heads * shape.head_size * plan.size()
    when = "always" if plan.engine == "stays" else "sampling"
    lines = [Line("key-value cache", rows * length * token_bytes,
                  f"{rows} rows x {length} tokens x 2 L K D x {plan.size()}", when)]
    if plan.engine != "none":
        lines.append(Line("engine's weights", shape.numbers() * plan.size(), f"N x {plan.size()}", when))
    return lines


# -----------------------------------------------------------------------------
# What would make it fit

class Change(NamedTuple):
    """Something that saves memory. A higher price is one that changes training more."""
    flags: str
    fields: dict
    price: int
    cost: str


CHANGES = [
    Change("--flash", {"flash": True}, 1, "nothing: the same numbers"),
    Change("--logit-pieces 8", {"logit_pieces": 8}, 1, "nothing: the same numbers"),
    Change("--fused", {"fused": True}, 1, "a compiler, or kernels by hand"),
    Change("--engine sleeps", {"engine": "sleeps"}, 1, "seconds a step"),
    Change("--micro-batch-size 1", {"micro_batch_size": 1}, 2, "more passes, each smaller"),
    Change("--checkpointing", {"checkpointing": True}, 2, "a third more time to update"),
    Change("--sampled-at-once 32", {"sampled_at_once": 32}, 2, "time to sample"),
    Change("--zero 1", {"zero": 1}, 2, "traffic between devices"),
    Change("--zero 2", {"zero": 2}, 3, "traffic between devices"),
    Change("--zero 3", {"zero": 3}, 4, "half as much traffic again"),
    Change("--optimizer adam8bit", {"optimizer": "adam8bit"}, 5, "rounded moments"),
    Change("--no-master", {"master": False}, 7, "small updates are rounded away"),
    Change("--kl-coef 0", {"reference": False}, 9, "nothing holds the policy near its start"),
    Change("--algo ppo-shared", {"algo": "ppo-shared"}, 9, "one body for two tasks"),
    Change("--lora 32", {"lora": 32}, 10, "only adapters learn"),
    Change("--lora 32 --base-bits 4", {"lora": 32, "base_bits": 4}, 12, "the same, on a rounded base"),
]


def possible_changes(plan: Plan) -> list[Change]:
    """The changes that this plan has not made yet, and that mean something for it."""
    possible = []
    for change in CHANGES:
        current = {name: getattr(plan, name) for name in change.fields}
        makes_sense = current != change.fields
        if "zero" in change.fields:
            makes_sense = plan.devices > 1 and plan.zero < change.fields["zero"]
        elif "engine" in change.fields:
            makes_sense = plan.engine == "stays"
        elif "logit_pieces" in change.fields:
            makes_sense = plan.logit_pieces < change.fields["logit_pieces"]
        elif "optimizer" in change.fields:
            makes_sense = plan.optimizer == "adamw"
        elif "lora" in change.fields:
            makes_sense = not plan.lora or plan.base_bits > change.fields.get("base_bits", 16)
        elif "algo" in change.fields:
            makes_sense = plan.algo == "ppo"
        if makes_sense:
            possible.append(change)
    return possible


def changed(plan: Plan, changes: tuple[Change, ...]) -> Plan:
    for change in changes:
        plan = dataclasses.replace(plan, **change.fields)
    return plan


def savings(shape: Shape, plan: Plan) -> list[tuple[int, Change]]:
    """(bytes saved at the peak, change) for each change alone, the largest first. Those that save nothing are
    left out."""
    before = peak(ledger(shape, plan))
    saved = []
    for change in possible_changes(plan):
        num_bytes = before - peak(ledger(shape, changed(plan, (change,))))
        if num_bytes > 0:
            saved.append((num_bytes, change))
    return sorted(saved, key=lambda pair: -pair[0])


def smallest_change(shape: Shape, plan: Plan, room: int) -> tuple[Change, ...] | None:
    """The changes that make it fit for the lowest price, or None if all of them do not suffice.

    All subsets are tried. Two that set the same field exclude each other.
    """
    best, best_price = None, math.inf
    possible = possible_changes(plan)
    for count in range(1, len(possible) + 1):
        for changes in itertools.combinations(possible, count):
            price = sum(change.price for change in changes)
            if price >= best_price or exclude_each_other(changes):
                continue
            if peak(ledger(shape, changed(plan, changes))) <= room:
                best, best_price = changes, price
    return best


def exclude_each_other(changes: tuple[Change, ...]) -> bool:
    names = []
    for change in changes:
        names += change.fields
    return len(set(names)) < len(names)


def smallest_total(shape: Shape, plan: Plan) -> int:
    """The least that can be reached with the changes that CHANGES knows, on the same number of devices."""
    least = peak(ledger(shape, plan))
    possible = possible_changes(plan)
    for count in range(1, len(possible) + 1):
        for changes in itertools.combinations(possible, count):
            if not exclude_each_other(changes):
                least = min(least, peak(ledger(shape, changed(plan, changes))))
    return least
