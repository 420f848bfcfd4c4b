"""The estimates of large.py beside peaks that others have measured and published.

    python -m minireason.memory --published

Each row is a configuration that its source tells whole, or nearly so; its note says what we had to assume.
The formulas count what the code keeps. None has a factor that was fitted to a row. Where a row is off by more
than 15%, the note says why, as far as we know. A source's "GB" is taken as GiB, as torch counts.
"""

import json
import textwrap
from dataclasses import replace
from typing import NamedTuple

from minireason.tools.large import CONTEXT, GIB, Plan, ledger, peak
from minireason.tools.shapes import MODELS

TORCHTUNE = "https://github.com/meta-pytorch/torchtune/blob/main/README.md"
FACTORY = "https://github.com/hiyouga/LLaMA-Factory/wiki/Performance-comparison"
DEEPSPEED = "https://gist.github.com/chenyaofo/d4cd6a20ab4b95cb3a49491747e2139a"
LOMO = "https://arxiv.org/abs/2306.09782 (Table 1)"
LONGLORA = "https://arxiv.org/abs/2309.12307 (Table 12)"
VERL = "https://github.com/dingxianzhong/play-verl/tree/main/logs"


class Peak(NamedTuple):
    """A peak of memory that others have measured on one device."""
    what: str           # the configuration in a few words
    model: str          # a name in MODELS
    plan: Plan
    gib: float          # the peak
    source: str         # where it was published
    note: str = ""      # what we assumed, or what may explain the error


# -----------------------------------------------------------------------------
# Plans

# torchtune: bfloat16 alone, without a float32 copy. It reports the memory that is active, without CUDA's own.
# The ranks of LoRA are those of its configuration files.
FULL = Plan(algo="sft", prompt_length=4096, max_new_tokens=0, micro_batch_size=2, master=False, flash=True,
            context=0)
COMPILED = replace(FULL, fused=True)
CHUNKED = replace(COMPILED, logit_pieces=8)
RECOMPUTED = replace(CHUNKED, checkpointing=True)
LORA_8B = replace(CHUNKED, prompt_length=2048, lora=8)
LORA_70B = replace(LORA_8B, lora=16, checkpointing=True, zero=3, devices=8)

# transformers, until 2024, held for each logit: bfloat16 (2 bytes), float32 (4), a copy that is shifted by
# one token (4), their log-softmax (4), and a gradient in bfloat16 (2).
HF = Plan(algo="sft", prompt_length=4096, max_new_tokens=0, micro_batch_size=1, flash=True, logit_bytes=16,
          context=0)
QLORA = replace(HF, lora=8, base_bits=4, checkpointing=True, context=CONTEXT)
LORA_4 = replace(QLORA, base_bits=16, micro_batch_size=4, prompt_length=1024)
ZERO_2 = replace(HF, zero=2, devices=8)
ZERO_2_AGAIN = replace(ZERO_2, checkpointing=True)          # computes a block's activations again
ZERO_3 = replace(HF, zero=3, devices=8, micro_batch_size=2)
ZERO_3_AGAIN = replace(ZERO_3, checkpointing=True)
ZERO_3_AGAIN_8 = replace(ZERO_3_AGAIN, micro_batch_size=8)
LORA_LONG = replace(ZERO_2_AGAIN, prompt_length=8192, lora=8, context=CONTEXT)
FULL_512 = replace(HF, prompt_length=512, micro_batch_size=8, flash=False)
FULL_512_AGAIN = replace(FULL_512, checkpointing=True)

# verl: FSDP, which shards as ZeRO 3 does, and an engine (vLLM) that is given 0.6 of a card of 79.33 GiB.
# torch goes on counting the engine's pages while they sleep, so it "stays". The loss of flash-attn writes the
# gradient over the logits: 2 + 2 bytes. The head predicts all tokens of a micro-batch: 4 rows of 768, or one
# packed row.
PPO = Plan(algo="ppo", reference=False, num_prompts=2048, group_size=1, prompt_length=0, max_new_tokens=768,
           micro_batch_size=4, flash=True, checkpointing=True, zero=3, devices=8, engine="stays",
           engine_room=int(0.6 * 79.33 * GIB), logit_bytes=4, context=0)
GRPO = replace(PPO, algo="grpo", reference=True, num_prompts=256, group_size=2, max_new_tokens=8000,
               micro_batch_size=1)
PPO_7B = replace(PPO, reference=True, num_prompts=1024, group_size=5, max_new_tokens=12_000,
                 micro_batch_size=1)

# Notes
OFFLOADED = "its activations lie in the CPU's memory, which no line knows"
AGAIN = "assumed: checkpointing"
ENGINE = "47.6 of both is the engine's room; the error is that of the rest"
LONGEST = f"{ENGINE}. Assumed: a row as long as is allowed"

PEAKS = [
    Peak("all weights, 2 x 4096 tokens", "llama-3.2-3b", FULL, 60.0, TORCHTUNE),
    Peak("the same, compiled", "llama-3.2-3b", COMPILED, 51.0, TORCHTUNE),
    Peak("and logits in pieces", "llama-3.2-3b", CHUNKED, 42.9, TORCHTUNE),
    Peak("and checkpointing", "llama-3.2-3b", RECOMPUTED, 24.9, TORCHTUNE),
    Peak("the same, LoRA", "llama-3.2-3b", replace(RECOMPUTED, lora=64), 8.5, TORCHTUNE, OFFLOADED),
    Peak("the same, QLoRA", "llama-3.2-3b", replace(RECOMPUTED, lora=64, base_bits=4), 4.6, TORCHTUNE,
         OFFLOADED),
    Peak("LoRA, 2 x 2048 tokens", "llama-3-8b", LORA_8B, 30.3, TORCHTUNE, "assumed: no checkpointing"),
    Peak("and checkpointing", "llama-3-8b", replace(LORA_8B, checkpointing=True), 16.2, TORCHTUNE, AGAIN),
    Peak("the same, QLoRA", "llama-3-8b", replace(LORA_8B, checkpointing=True, base_bits=4), 7.4, TORCHTUNE,
         AGAIN),
    Peak("LoRA, 8 devices", "llama-3-70b", LORA_70B, 27.6, TORCHTUNE, AGAIN),

    Peak("LoRA, 4 x 1024 tokens", "llama-2-7b", LORA_4, 17, FACTORY, "this source has whole gigabytes"),
    Peak("the same without flash", "llama-2-7b", replace(LORA_4, flash=False), 18, FACTORY),
    Peak("the same, QLoRA", "llama-2-7b", replace(LORA_4, flash=False, base_bits=4), 9, FACTORY),
    Peak("QLoRA, 1024 tokens", "llama-2-7b", replace(QLORA, prompt_length=1024), 6, FACTORY),
    Peak("QLoRA, 2048 tokens", "llama-2-7b", replace(QLORA, prompt_length=2048), 7, FACTORY),
    Peak("QLoRA, 4096 tokens", "llama-2-7b", QLORA, 9, FACTORY),
    Peak("QLoRA, 8192 tokens", "llama-2-7b", replace(QLORA, prompt_length=8192), 12, FACTORY),
    Peak("QLoRA, 16384 tokens", "llama-2-7b", replace(QLORA, prompt_length=16_384), 19, FACTORY),
    Peak("QLoRA, 32768 tokens", "llama-2-7b", replace(QLORA, prompt_length=32_768), 32, FACTORY),

    Peak("ZeRO 2, 1 x 4096 tokens", "llama-2-7b", ZERO_2, 44.8, DEEPSPEED),
    Peak("and checkpointing", "llama-2-7b", ZERO_2_AGAIN, 23.5, DEEPSPEED,
         "not explained: weights, gradients and optimizer alone are 23.5"),
    Peak("the same, 4 x 4096", "llama-2-7b", replace(ZERO_2_AGAIN, micro_batch_size=4), 38.6, DEEPSPEED),
    Peak("ZeRO 3, 2 x 4096 tokens", "llama-2-7b", ZERO_3, 75.7, DEEPSPEED,
         "not explained: checkpointing saves 28 GiB a row here, and 21 above under ZeRO 2"),
    Peak("and checkpointing", "llama-2-7b", ZERO_3_AGAIN, 20.4, DEEPSPEED),
    Peak("the same, 8 x 4096", "llama-2-7b", ZERO_3_AGAIN_8, 39.1, DEEPSPEED),
    Peak("the same, two passes a step", "llama-2-7b", ZERO_3_AGAIN_8, 63.9, DEEPSPEED,
         "25 GiB more than one pass; whole gradients in float32 would be 25.1, which no line knows"),

    Peak("LoRA, ZeRO 2, 1 x 8192 tokens", "llama-2-7b", LORA_LONG, 25.7, LONGLORA,
         "DeepSpeed's buckets, some GiB, are in no line"),
    Peak("all weights, 8 x 512 tokens", "llama-2-7b", FULL_512, 146.0, LOMO, "the sum of its four columns"),
    Peak("and checkpointing", "llama-2-7b", FULL_512_AGAIN, 102.2, LOMO),

    Peak("PPO, 8 devices, an engine", "qwen2.5-0.5b", PPO, 53.04, VERL,
         f"{ENGINE}. FSDP's buffers are in no line"),
    Peak("GRPO, 8 devices, an engine", "qwen2.5-0.5b", GRPO, 52.80, VERL, LONGEST),
    Peak("PPO, 8 devices, an engine", "qwen2.5-7b", PPO_7B, 83.59, VERL,
         f"{LONGEST}. It is Qwen2-7B, of the same shape. The peak is above the card's 79.3, since torch "
         "counts the engine's pages while they sleep"),
]


# -----------------------------------------------------------------------------
# The page

def estimate(row: Peak) -> float:
    """Our estimate of the peak, in GiB."""
    return peak(ledger(MODELS[row.model], row.plan)) / GIB


def given(row: Peak) -> float:
    """GiB of the peak that the settings name, so they are no estimate: the room of an engine that stays."""
    return row.plan.engine_room / GIB if row.plan.engine == "stays" else 0.0


def error(row: Peak) -> float:
    """The error of our estimate, as a share of the published peak: 0.1 if the estimate is 10% too high.

    What is `given` is taken off both.
    """
    return (estimate(row) - given(row)) / (row.gib - given(row)) - 1


def page() -> list[str]:
    """The table of all peaks, grouped by source, in lines of less than 80 columns."""
    lines = [f"{'peak of one device, GiB':30}{'model':16}{'published':>10}{'estimate':>10}{'error':>9}"]
    source = None
    for row in PEAKS:
        if row.source != source:
            source = row.source
            lines += ["", source]
        numbers = f"{row.gib:10.1f}{estimate(row):10.1f}{100 * error(row):+8.1f}%"
        lines.append(f"{row.what:30}{row.model:16}{numbers}")
        if row.note:
            lines += textwrap.wrap(f"({row.note})", 75, initial_indent="    ", subsequent_indent="     ")
    errors = sorted(abs(error(row)) for row in PEAKS)
    num_near = sum(value <= 0.15 for value in errors)
    middle = 100 * errors[len(errors) // 2]
    return [*lines, "", f"{num_near} of {len(errors)} within 15%, half of them within {middle:.1f}%"]


def as_json() -> str:
    rows = []
    for row in PEAKS:
        rows.append({"what": row.what, "model": row.model, "published_gib": row.gib,
                     "estimate_gib": estimate(row), "error": error(row), "source": row.source,
                     "note": row.note})
    return json.dumps(rows)
