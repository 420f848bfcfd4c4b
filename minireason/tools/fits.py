"""Does training fit into the memory of a device, and what would make it fit?

    python -m minireason.memory --model qwen2.5-7b --fits 80GiB
    python -m minireason.memory --model llama-3-8b --fits 80GB --algo rlhf --lora 32 --flash
    python -m minireason.memory --hidden 2048 --layers 24 --heads 16 --vocab 50000 --fits 24GiB

The answer has four parts: the ledger of large.py, largest line first; whether it fits; what each change alone
would save; and the smallest change that fits. "Smallest" is what changes training least: every change has a
price, and all combinations are tried.
"""

import argparse
import dataclasses
import itertools
import json
import math
import re
import textwrap
from typing import Any, NamedTuple

from minireason.tools.flags import Parser, number
from minireason.tools.large import ALGORITHMS, GIB, Plan, block_parts, ledger, peak
from minireason.tools.shapes import Shape, own_shape
from minireason.upkeep.command import BadInput

UNITS = {"MiB": 2**20, "GiB": GIB, "TiB": 2**40, "MB": 10**6, "GB": 10**9, "TB": 10**12}
LEAST, MOST = 2**20, 2**50      # of a device's memory
TIGHT = 0.95                    # above this share, fragments of the allocator may need the rest


# -----------------------------------------------------------------------------
# What would make it fit

class Change(NamedTuple):
    """Something that saves memory. The price is higher for what changes training more."""
    flags: str      # as one types it
    fields: dict    # {name of a field of Plan: its new value}
    price: int      # 1 to 12
    cost: str       # what it does to training, in words


CHANGES = [
    Change("--flash", {"flash": True}, 1, "the same numbers"),
    Change("--logit-pieces 8", {"logit_pieces": 8}, 1, "the same numbers"),
    Change("--fused", {"fused": True}, 1, "the same numbers, by compiled kernels"),
    Change("--engine sleeps", {"engine": "sleeps"}, 1, "seconds a step, to wake it"),
    Change("--engine none", {"engine": "none", "engine_room": 0, "mean_new_tokens": 0}, 4,
           "the policy samples by itself, slowly"),
    Change("--micro-batch-size 1", {"micro_batch_size": 1}, 2, "more passes, each smaller"),
    Change("--checkpointing", {"checkpointing": True}, 2, "a third more time to update"),
    Change("--sampled-at-once 32", {"sampled_at_once": 32}, 2, "more time to sample"),
    Change("--zero 1", {"zero": 1}, 2, "the traffic of plain data parallelism"),
    Change("--zero 2", {"zero": 2}, 3, "the traffic of plain data parallelism"),
    Change("--zero 3", {"zero": 3}, 4, "half as much traffic again"),
    Change("--optimizer adam8bit", {"optimizer": "adam8bit"}, 5, "rounded moments"),
    Change("--no-master", {"master": False}, 7, "small updates are rounded away"),
    Change("--kl-coef 0", {"reference": False}, 9, "nothing holds the policy near its start"),
    Change("--algo ppo-shared", {"algo": "ppo-shared"}, 9, "one body for two tasks"),
    Change("--lora 32", {"lora": 32}, 10, "only adapters learn"),
    Change("--lora 32 --base-bits 4", {"lora": 32, "base_bits": 4}, 12,
           "only adapters learn, on a rounded base"),
    Change("--base-bits 4", {"base_bits": 4}, 2, "the base is rounded"),
]


def possible_changes(shape: Shape, plan: Plan) -> list[Change]:
    return [change for change in CHANGES if makes_sense(shape, plan, change)]


def makes_sense(shape: Shape, plan: Plan, change: Change) -> bool:
    """Whether a change applies to a plan: it has what is changed, and the change is not made yet."""
    fields = change.fields
    if "zero" in fields:
        return 1 < plan.devices <= shape.layers and plan.zero < fields["zero"]
    if "engine" in fields:
        return plan.engine == "stays" or (plan.engine == "sleeps" and fields["engine"] == "none")
    if "logit_pieces" in fields:
        return plan.logit_pieces < fields["logit_pieces"]
    if "sampled_at_once" in fields:
        return plan.algo != "sft" and plan.rows_at_once() > fields["sampled_at_once"]
    if "optimizer" in fields:
        return plan.optimizer == "adamw"
    if "lora" in fields:
        return not plan.lora
    if "base_bits" in fields:
        return plan.lora > 0 and plan.base_bits > fields["base_bits"]
    if "algo" in fields:
        return plan.algo == "ppo"
    if "reference" in fields:
        return plan.reference and plan.algo != "sft"
    return changed(plan, (change,)) != plan


def changed(plan: Plan, changes: tuple[Change, ...]) -> Plan:
    for change in changes:
        plan = dataclasses.replace(plan, **change.fields)
    return plan


def exclude_each_other(changes: tuple[Change, ...]) -> bool:
    """Whether two of them set the same field, as --zero 1 and --zero 3 do."""
    names = []
    for change in changes:
        names += change.fields
    return len(set(names)) < len(names)


def savings(shape: Shape, plan: Plan) -> list[tuple[int, Change]]:
    """(bytes saved at the peak, change) for each change alone, the largest first.

    A change that saves nothing alone is left out. Together with others it may save much: only the larger of
    sampling and updating counts.
    """
    before = peak(ledger(shape, plan))
    saved = []
    for change in possible_changes(shape, plan):
        num_bytes = before - peak(ledger(shape, changed(plan, (change,))))
        if num_bytes > 0:
            saved.append((num_bytes, change))
    return sorted(saved, key=lambda pair: -pair[0])


def smallest_change(shape: Shape, plan: Plan, room: float) -> tuple[tuple[Change, ...] | None, int]:
    """Finds the changes of the lowest price that make the plan fit into `room` bytes.

    Tries all combinations but those that are not cheaper than one that fits. Returns (changes, the smallest
    peak that was tried, in bytes). The changes are None if no combination fits.
    """
    best, best_price, least = None, math.inf, peak(ledger(shape, plan))
    possible = possible_changes(shape, plan)
    for count in range(1, len(possible) + 1):
        for changes in itertools.combinations(possible, count):
            if exclude_each_other(changes):
                continue
            price = sum(change.price for change in changes)
            if price >= best_price:
                continue
            total = peak(ledger(shape, changed(plan, changes)))
            least = min(least, total)
            if total <= room:
                best, best_price = changes, price
    return best, least


def on_more_devices(shape: Shape, plan: Plan, room: float) -> tuple[int, tuple[Change, ...]] | None:
    """(number of devices, changes) for the fewest devices that suffice; None if no number does.

    Tries twice as many, four times as many and so on, up to a device for each layer.
    """
    devices = 2 * plan.devices
    while devices <= shape.layers:
        wider = dataclasses.replace(plan, devices=devices)
        if peak(ledger(shape, wider)) <= room:
            return devices, ()
        changes, _ = smallest_change(shape, wider, room)
        if changes is not None:
            return devices, changes
        devices *= 2
    return None


# -----------------------------------------------------------------------------
# The page

def page(name: str, shape: Shape, plan: Plan, room: int | None) -> list[str]:
    """The answer in lines of less than 80 columns."""
    lines = ledger(shape, plan)
    tied = " (with the embedding as its head)" if shape.tied else ""
    text = [f"{name}: N = {shape.numbers():,} numbers{tied}",
            f"L = {shape.layers} layers, C = {shape.width}, K D = {shape.kv_heads * shape.head_size}, "
            f"V = {shape.vocab_size:,}", *in_words(shape, plan), "", "      GiB"]
    marks = {"always": " ", "update": "u", "sampling": "s"}
    for line in lines:
        text.append(f"{line.num_bytes / GIB:9.2f} {marks[line.when]} {line.name:21} {line.formula}")
    text.append(f"{peak(lines) / GIB:9.2f}   peak: the lines without a letter, and the larger of u and s")
    text.append(f"{'':12}(u: held while updating, s: while sampling)")
    parts = [f"{part} {num_bytes:,}" for part, num_bytes in block_parts(shape, plan).items()]
    text += textwrap.wrap(f"A block keeps bytes of each token: {', '.join(parts)}.", 79)
    if room is not None:
        text += ["", *verdict(shape, plan, room)]
    saved = savings(shape, plan)
    if saved:
        text += ["", "What each change alone saves, and what it costs:"]
    for num_bytes, change in saved:
        text.append(f"{-num_bytes / GIB:9.2f}   {change.flags:25} {change.cost}")
    return text


def in_words(shape: Shape, plan: Plan) -> list[str]:
    """The plan, in lines of less than 80 columns."""
    parts = [ALGORITHMS[plan.algo], plan.dtype]
    if plan.dtype == "bfloat16" and plan.master:
        parts[-1] += " with a float32 copy"
    parts.append(plan.optimizer)
    if plan.lora:
        A = shape.adapter_numbers(plan.lora)
        parts.append(f"LoRA of rank {plan.lora} (A = {A:,}) on a base of {plan.base_bits} bits")
    parts += [name for name in ("flash", "fused", "checkpointing") if getattr(plan, name)]
    if plan.logit_pieces > 1:
        parts.append(f"logits in {plan.logit_pieces} pieces")
    if plan.devices > 1:
        parts.append(f"ZeRO {plan.zero} over {plan.devices} devices")
    if plan.engine != "none":
        parts.append(f"an engine that {plan.engine}")
    batch = f"micro-batches of B = {min(plan.micro_batch_size, plan.rows())}"
    rows = [f"{plan.num_prompts} prompts x {plan.group_size} completions, "
            f"T = {plan.prompt_length} + W tokens, W = {plan.max_new_tokens},", batch]
    if plan.algo == "sft":
        rows = [f"{batch}, T = {plan.row_length()} tokens"]
    return [*textwrap.wrap(", ".join(parts), 79), *rows]


def verdict(shape: Shape, plan: Plan, room: int) -> list[str]:
    """Whether it fits, and if not, the smallest change that makes it fit, not tightly."""
    needed = peak(ledger(shape, plan))
    where = f"{room / GIB:.1f} GiB" + (f" on each of {plan.devices} devices" if plan.devices > 1 else "")
    if needed <= TIGHT * room:
        return [f"It fits into {where}: {(room - needed) / GIB:.1f} GiB are left."]
    if needed <= room:
        left = (room - needed) / GIB
        return [f"It fits into {where}, but tightly: fragments may need the {left:.1f} GiB left."]
    text = [f"It does not fit into {where}: {(needed - room) / GIB:.1f} GiB are missing."]
    changes, least = smallest_change(shape, plan, TIGHT * room)
    if changes is not None:
        return text + suggestion("The smallest change that fits", shape, plan, changes)
    if possible_changes(shape, plan):
        text.append(f"All changes of the list together still need {least / GIB:.1f} GiB.")
    else:
        text.append("No change is left to make.")
    more = on_more_devices(shape, plan, TIGHT * room)
    if more is None:
        return [*text, "Nor do more devices suffice: take a smaller model, or fewer tokens."]
    devices, changes = more
    return text + suggestion(f"It fits on each of {devices} devices (--devices {devices})", shape,
                             dataclasses.replace(plan, devices=devices), changes)


def suggestion(title: str, shape: Shape, plan: Plan, changes: tuple[Change, ...]) -> list[str]:
    needed = peak(ledger(shape, changed(plan, changes)))
    text = [f"{title} (then it takes {needed / GIB:.1f} GiB):"]
    return text + [f"    {change.flags:25} {change.cost}" for change in changes]


def as_json(name: str, shape: Shape, plan: Plan, room: int | None) -> dict[str, Any]:
    """What `page` tells, as a dict for --json."""
    lines = ledger(shape, plan)
    answer = {
        "model": name, "numbers": shape.numbers(), "plan": dataclasses.asdict(plan), "peak": peak(lines),
        "lines": [line._asdict() for line in lines],
        "saves": {change.flags: num_bytes for num_bytes, change in savings(shape, plan)}}
    if room is not None:
        fits = peak(lines) <= room
        changes = () if fits else smallest_change(shape, plan, TIGHT * room)[0]
        answer |= {"room": room, "fits": fits,
                   "smallest_change": None if changes is None else [change.flags for change in changes]}
    return answer


# -----------------------------------------------------------------------------
# The command line

def size(text: str) -> int:
    """For `add_argument(type=...)`: "24GiB" -> bytes."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) ?([A-Za-z]*)", text.strip())
    if not match:
        raise argparse.ArgumentTypeError(f"must be a size such as 24GiB or 80GB, not {text[:40]!r}")
    value, unit = float(match[1]), match[2]
    if not unit:
        raise argparse.ArgumentTypeError(f"needs a unit: {match[1]}GiB or {match[1]}GB")
    units = {name.lower(): num_bytes for name, num_bytes in UNITS.items()}
    if unit.lower() not in units:
        raise argparse.ArgumentTypeError(f"has no unit {unit[:20]}: there is {', '.join(UNITS)}")
    num_bytes = value * units[unit.lower()]
    if not LEAST <= num_bytes <= MOST:
        raise argparse.ArgumentTypeError(f"must be from 1MiB to 1024TiB, not {text[:40]}")
    return int(num_bytes)


def add_flags(parser: Parser) -> None:
    """Adds this file's flags to the parser of memory.py. A flag that is not given has the value None."""
    group = parser.add_argument_group("does a large model fit, and what would make it fit?")
    group.add_argument("--fits", type=size, metavar="SIZE", help="memory of a device, such as 24GiB")
    group.add_argument("--algo", choices=list(ALGORITHMS), help="grpo (default); rlhf has a reward model too")
    for name, meaning in (("hidden", "width of a model without a name"), ("layers", "its layers"),
                          ("heads", "its heads"), ("kv-heads", "its heads of keys (as many as heads)"),
                          ("mlp", "width of its MLP (8/3 of its own)"), ("vocab", "its words")):
        group.add_argument(f"--{name}", type=number(int, 1, 10_000_000), metavar="N", help=meaning)
    group.add_argument("--tied", action="store_true", default=None, help="its embedding is its head as well")
    group.add_argument("--flash", action="store_true", default=None, help="store no weights of attention")
    group.add_argument("--fused", action="store_true", default=None, help="compile norms and MLP")
    group.add_argument("--checkpointing", action="store_true", default=None,
                       help="keep each block's input, compute the rest again")
    group.add_argument("--logit-pieces", type=number(int, 1, 1024), metavar="N", help="logits in N pieces")
    group.add_argument("--no-master", dest="master", action="store_false", default=None,
                       help="no float32 copy of bfloat16 weights")
    group.add_argument("--lora", type=number(int, 1, 1024), metavar="RANK", help="train adapters alone")
    group.add_argument("--base-bits", type=int, choices=(16, 8, 4), help="of what LoRA leaves frozen")
    group.add_argument("--devices", type=number(int, 1, 1024), metavar="N", help="that share the completions")
    group.add_argument("--zero", type=int, choices=(0, 1, 2, 3),
                       help="shard optimizer (1), gradients as well (2), weights as well (3)")
    group.add_argument("--engine", choices=("none", "stays", "sleeps"),
                       help="sample with a copy of the weights, and a paged cache")
    group.add_argument("--engine-room", type=size, metavar="SIZE", help="what the engine is given")
    group.add_argument("--sampled-at-once", type=number(int, 1, 1_000_000), metavar="N", help="completions")
    group.add_argument("--mean-new-tokens", type=number(int, 1, 65_536), metavar="N",
                       help="what a paged cache holds of a completion")


OF_A_MODEL = ("hidden", "layers", "heads", "kv_heads", "mlp", "vocab", "tied")
OF_THE_PLAN = ("algo", "flash", "fused", "checkpointing", "logit_pieces", "master", "lora", "base_bits",
               "devices", "zero", "engine", "engine_room", "sampled_at_once", "mean_new_tokens")
SHARED = ("num_prompts", "group_size", "micro_batch_size", "prompt_length", "max_new_tokens", "dtype",
          "optimizer")


def given_flags(args: argparse.Namespace, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: getattr(args, name) for name in names if getattr(args, name) is not None}


def shape_from(args: argparse.Namespace) -> Shape:
    """The model that --hidden, --layers, --heads, --vocab describe. Raises BadInput if one is missing."""
    for name in ("hidden", "layers", "heads", "vocab"):
        if getattr(args, name) is None:
            raise BadInput(f"--{name}: missing; a model needs --hidden, --layers, --heads and --vocab")
    return own_shape(args.hidden, args.layers, args.heads, args.kv_heads, args.vocab, args.mlp,
                     bool(args.tied))


def plan_from(args: argparse.Namespace, shape: Shape) -> Plan:
    """The plan of the command line. Raises BadInput on flags that make no sense together."""
    plan = Plan(**given_flags(args, OF_THE_PLAN + SHARED))
    if args.kl_coef is not None:
        plan = dataclasses.replace(plan, reference=args.kl_coef > 0)
    if plan.zero and plan.devices > shape.layers:
        raise BadInput(f"--devices: {plan.devices} shards are more than the model's {shape.layers} layers")
    if plan.zero and plan.devices == 1:
        raise BadInput("--zero: shards over several devices; say how many with --devices")
    if plan.base_bits < 16 and not plan.lora:
        raise BadInput("--base-bits: only frozen weights can have fewer bits; add --lora 32")
    if plan.engine == "none" and (plan.engine_room or plan.mean_new_tokens):
        raise BadInput("--engine-room and --mean-new-tokens: are of an engine; add --engine stays")
    if plan.mean_new_tokens > plan.max_new_tokens:
        raise BadInput("--mean-new-tokens: the mean is above --max-new-tokens")
    if plan.algo == "sft" and plan.engine != "none":
        raise BadInput("--engine: imitation samples nothing")
    return plan


def answer(name: str, shape: Shape, args: argparse.Namespace) -> None:
    """Prints the answer."""
    plan = plan_from(args, shape)
    if args.json:
        print(json.dumps(as_json(name, shape, plan, args.fits)))
    else:
        print("\n".join(page(name, shape, plan, args.fits)))
