"""What a trainer of large models holds, with the tricks that it may use.

memory.py counts what our own small trainer holds, to the byte. Here each line is an estimate, and a formula
that can be checked on paper:

    N  numbers of the model       C  its width        H  heads of attention    D  numbers of a head
    A  numbers of the adapters    M  width of MLP     K  heads of keys         V  words of the vocabulary
    L  layers                     B  rows of a micro-batch
    T  tokens of a row: a prompt and its completion                W  tokens of the completion

Sampling and updating take turns. So do policy and critic: a large trainer updates one after the other.
published.py compares the sums with peaks that others have measured.
"""

import dataclasses
import math
from typing import NamedTuple

from minireason.tools.shapes import Shape

GIB = 2**30
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
# The plan

@dataclasses.dataclass(frozen=True)
class Plan:
    """The settings of a training that decide its memory. fits.py makes them from the command line."""
    algo: str = "grpo"
    num_prompts: int = 16               # over all devices
    group_size: int = 8
    micro_batch_size: int = 4           # on one device
    prompt_length: int = 256
    max_new_tokens: int = 1024
    mean_new_tokens: int = 0            # what a paged cache has to hold; 0: all completions are full
    reference: bool = True              # a frozen copy of the start, for the KL
    dtype: str = "bfloat16"             # of weights and gradients
    master: bool = True                 # a float32 copy of bfloat16 weights, to which updates are added
    optimizer: str = "adamw"            # or adam8bit, sgd
    flash: bool = False                 # attention's weights are not stored
    fused: bool = False                 # norms and MLP in one kernel each, by a compiler or by hand
    checkpointing: bool = False         # only the input of each block is kept; the rest is computed again
    lora: int = 0                       # rank of the adapters; 0: every number learns
    base_bits: int = 16                 # of the frozen weights under LoRA
    zero: int = 0                       # stage of ZeRO: see `shards`
    devices: int = 1
    engine: str = "none"                # a sampling engine with a copy of the weights: none, stays or sleeps
    engine_room: int = 0                # bytes that it is given, full or not; 0: what it needs
    sampled_at_once: int = 0            # completions; 0: all
    logit_pieces: int = 1               # logits are computed in so many pieces, one after the other
    logit_bytes: int = 0                # of a logit with its log-softmax and gradient; 0: see `head_line`
    context: int = CONTEXT

    def rows(self) -> int:
        """Completions that one device samples."""
        return math.ceil(self.num_prompts * self.group_size / self.devices)

    def rows_at_once(self) -> int:
        return min(self.rows(), self.sampled_at_once or self.rows())

    def row_length(self) -> int:
        return self.prompt_length + self.max_new_tokens

    def size(self) -> int:
        """Bytes of a number of the type `dtype`."""
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
    body = dataclasses.replace(shape, tied=True)        # a critic and a reward model predict no words
    lines = trained_model("policy", shape, plan)
    if plan.algo in ("ppo", "rlhf"):
        lines += trained_model("critic", body, plan)
    if plan.algo == "ppo-shared":
        num_bytes, _ = state_bytes(plan)
        lines.append(Line("critic: a layer", num_bytes * (shape.width + 1), f"(C + 1) x {num_bytes}"))
    if plan.algo == "rlhf":
        lines.append(frozen_model("reward model", body, plan))
    if plan.reference and plan.algo != "sft":
        lines.append(reference(shape, plan))
    if plan.zero == 3 and plan.devices > 1:
        lines.append(gathered(shape, plan))
    lines += activations(shape, plan)
    if plan.algo != "sft":
        lines += sampling(shape, plan)
        # T ids of 8 bytes; for each of W sampled tokens another id, and its mask, logprob and advantage
        row_bytes = plan.row_length() * 8 + plan.max_new_tokens * 20
        lines.append(Line("rollout", plan.rows() * row_bytes,
                          f"{plan.rows()} rows x (8T + 20W): ids and numbers"))
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
    """Bytes of an optimizer's moments for each number. AdamW's two have the type of what it updates."""
    if plan.optimizer == "sgd":
        return 0
    if plan.optimizer == "adam8bit":
        return 2
    return 8 if plan.dtype == "float32" or plan.master else 4


def master_bytes(plan: Plan) -> int:
    """Bytes of the float32 copy for each number; 0 without a copy."""
    return 4 if plan.dtype == "bfloat16" and plan.master else 0


def state_bytes(plan: Plan) -> tuple[int, str]:
    """(bytes for each number that learns, the same in words: "16: weight 2, gradient 2, optimizer 12")."""
    size, rest = plan.size(), master_bytes(plan) + moment_bytes(plan)
    return 2 * size + rest, f"{2 * size + rest}: weight {size}, gradient {size}, optimizer {rest}"


def shards(plan: Plan, stage: int) -> int:
    """Over how many devices a part is spread. `stage` is the lowest stage of ZeRO that spreads this part.

    Stage 1 spreads the optimizer, stage 2 the gradients as well, stage 3 the weights as well.
    """
    return plan.devices if plan.zero >= stage else 1


def over(devices: int) -> str:
    """The division in a formula: " / 8"; nothing for one device."""
    return f" / {devices}" if devices > 1 else ""


def trained_model(whose: str, shape: Shape, plan: Plan) -> list[Line]:
    """Weights, gradients and optimizer of a model that learns."""
    N, size = shape.numbers(), plan.size()
    master, moments = master_bytes(plan), moment_bytes(plan)
    rest = f"float32 copy {master}, moments {moments}" if master else f"moments {moments}"
    # (name, bytes for each number, lowest stage of ZeRO that spreads it, end of the formula)
    parts = [("weights", size, 3, ""), ("gradients", size, 2, ""),
             ("optimizer", master + moments, 1, f": {rest}")]
    if plan.lora:
        whole, spread = 0, 0        # bytes for each number of the adapters, on each device and over all
        for _, num_bytes, stage, _ in parts:
            if shards(plan, stage) == 1:
                whole += num_bytes
            else:
                spread += num_bytes
        how = f"({whole} + {spread}{over(plan.devices)})" if spread else state_bytes(plan)[1]
        num_bytes = math.ceil(shape.adapter_numbers(plan.lora) * (whole + spread / plan.devices))
        return [frozen_model(f"{whose}: base", shape, plan),
                Line(f"{whose}: adapters", num_bytes, f"A x {how}")]
    lines = []
    for name, num_bytes, stage, meaning in parts:
        count = shards(plan, stage)
        formula = f"N x {num_bytes}{over(count)}{meaning}"
        lines.append(Line(f"{whose}: {name}", math.ceil(N * num_bytes / count), formula))
    return lines


def frozen_model(name: str, shape: Shape, plan: Plan) -> Line:
    """A model that does not learn: weights alone.

    Under LoRA, `base_bits` below 16 round the matrices of its blocks. Embeddings and norms stay as they are.
    """
    N, count = shape.numbers(), shards(plan, 3)
    if plan.base_bits == 16 or not plan.lora:
        return Line(name, math.ceil(N * plan.size() / count), f"N x {plan.size()}{over(count)}")
    matrices = shape.layers * shape.block_matrices()
    num_bytes = FOUR_BITS if plan.base_bits == 4 else 1
    total = matrices * num_bytes + (N - matrices) * plan.size()
    return Line(name, math.ceil(total / count),
                f"matrices x {num_bytes}, the rest x {plan.size()}{over(count)}")


def reference(shape: Shape, plan: Plan) -> Line:
    """The frozen reference. Under LoRA it takes no memory: it is the policy without its adapters."""
    if plan.lora:
        return Line("reference", 0, "the base, with the adapters switched off")
    return frozen_model("reference", shape, plan)


def gathered(shape: Shape, plan: Plan) -> Line:
    """ZeRO 3 collects the weights of a layer when it is needed, and those of the next one meanwhile."""
    largest = max(shape.block_numbers(), shape.vocab_size * shape.width)
    return Line("collected layers", 2 * largest * plan.size(),
                f"2 x the largest, {largest:,} x {plan.size()}")


def block_parts(shape: Shape, plan: Plan) -> dict[str, int]:
    """Bytes of one token that a block keeps for the backward pass, by what they are for.

    norms        twice C numbers: the input in float32, scaled, and the output; fused: input and output
    projections  queries and the output, HD numbers each; keys and values, KD each
    weights      of each head over all T tokens, in float32 and cast; flash stores none
    MLP          M numbers each: the outputs of two matrices, one of these through SiLU, and the product;
                 fused: without SiLU's
    """
    size = plan.size()
    HD, KD = shape.heads * shape.head_size, shape.kv_heads * shape.head_size
    norm_bytes = 2 * size if plan.fused else 4 + 2 * size
    weight_bytes = 4 if size == 4 else 4 + size
    parts = {"norms": 2 * norm_bytes * shape.width, "projections": 2 * size * (HD + KD)}
    if shape.head_norms:
        parts["norms"] += norm_bytes * (HD + KD)
    if not plan.flash:
        parts["attention's weights"] = shape.heads * plan.row_length() * weight_bytes
    parts["MLP"] = (3 if plan.fused else 4) * size * shape.mlp_width
    return parts


def activations(shape: Shape, plan: Plan) -> list[Line]:
    """What the backward pass of a micro-batch needs: of the blocks, and of the head."""
    B = min(plan.micro_batch_size, plan.rows())
    tokens, one_block = B * plan.row_length(), sum(block_parts(shape, plan).values())
    if plan.checkpointing:
        blocks = tokens * (shape.layers * shape.width * plan.size() + one_block)
        how = f"BT x (L C x {plan.size()} + {one_block:,} of one block)"
    else:
        blocks = tokens * shape.layers * one_block
        how = f"BT x L x {one_block:,} (below)"
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
                f"{letters} x V x {num_bytes}{pieces}: with their gradient", "update")


def sampling(shape: Shape, plan: Plan) -> list[Line]:
    """The key-value cache, and the engine's copy of the weights.

    Our own sampler makes room for full completions. An engine's paged cache holds the tokens that are there.
    """
    when = "always" if plan.engine == "stays" else "sampling"
    if plan.engine != "none" and plan.engine_room:
        return [Line("sampling engine", plan.engine_room, "the room that it is given", when)]
    rows = plan.rows_at_once()
    length = plan.row_length()
    if plan.engine != "none":
        length = plan.prompt_length + (plan.mean_new_tokens or plan.max_new_tokens)
        length = math.ceil(length / PAGE) * PAGE
    token_bytes = 2 * shape.layers * shape.kv_heads * shape.head_size * plan.size()
    lines = [Line("key-value cache", rows * length * token_bytes,
                  f"{rows} rows x {length} tokens x 2 L K D x {plan.size()}", when)]
    if plan.engine != "none":
        lines.append(Line("engine's weights", shape.numbers() * plan.size(), f"N x {plan.size()}", when))
    return lines
