"""The ledger of large models: shapes, formulas, what others measured, and what would make it fit."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from minireason.config import ModelConfig, RLConfig
from minireason.tools import fits, memory, published
from minireason.tools.large import GIB, Line, Plan, block_parts, ledger, peak
from minireason.tools.plots import new_figure, plot_bytes
from minireason.tools.shapes import MODELS, llama, qwen2, shape_of

# What the pages of the models tell: the numbers in their safetensors.
PUBLISHED_NUMBERS = {
    "qwen2.5-0.5b": 494_032_768, "qwen2.5-1.5b": 1_543_714_304, "qwen2.5-3b": 3_085_938_688,
    "qwen2.5-7b": 7_615_616_512, "qwen2.5-14b": 14_770_033_664, "qwen2.5-32b": 32_763_876_352,
    "qwen2.5-72b": 72_706_203_648, "qwen3-0.6b": 596_049_920, "qwen3-1.7b": 1_720_574_976,
    "qwen3-4b": 4_022_468_096, "qwen3-8b": 8_190_735_360, "qwen3-14b": 14_768_307_200,
    "qwen3-32b": 32_762_123_264, "llama-2-7b": 6_738_415_616, "llama-2-13b": 13_015_864_320,
    "llama-2-70b": 68_976_648_192, "llama-3-8b": 8_030_261_248, "llama-3-70b": 70_553_706_496,
    "llama-3.2-1b": 1_235_814_400, "llama-3.2-3b": 3_212_749_824,
}
ROOT = Path(__file__).parent.parent
STATE = ("weights", "gradients", "optimizer")


def bytes_of(lines, *names):
    """The sum of the lines whose names contain one of these."""
    return sum(line.num_bytes for line in lines if any(name in line.name for name in names))


# -----------------------------------------------------------------------------
# Shapes

def test_every_model_has_the_numbers_that_its_page_tells():
    assert {name: shape.numbers() for name, shape in MODELS.items()} == PUBLISHED_NUMBERS


def test_the_short_names_are_counted_as_our_own_models_are():
    for c in memory.LARGE.values():
        assert shape_of(c).numbers() == memory.count_parameters(c)[0]


def test_adapters_are_two_thin_matrices_beside_each_of_seven():
    shape, rank = llama(8, 3, 2, 1, 20, 11), 5
    matrices = [(8, 8), (8, 4), (8, 4), (8, 8), (8, 20), (8, 20), (20, 8)]
    by_hand = 3 * sum(rank * inputs + outputs * rank for inputs, outputs in matrices)
    assert shape.adapter_numbers(rank) == by_hand


# -----------------------------------------------------------------------------
# Formulas, against numbers from elsewhere

@pytest.mark.parametrize("stage, gigabytes", [(0, 120), (1, 31.4), (2, 16.6), (3, 1.9)])
def test_sharded_state_is_that_of_the_zero_paper(stage, gigabytes):
    """Its figure 1: 7.5 billion numbers, 64 devices, mixed precision."""
    shape = MODELS["llama-2-7b"]
    lines = ledger(shape, Plan(zero=stage, devices=64))
    state = bytes_of(lines, *[f"policy: {name}" for name in STATE])
    assert state * 7.5e9 / shape.numbers() / 1e9 == pytest.approx(gigabytes, abs=0.05)


def test_cache_engine_and_logits_are_those_of_unsloth():
    """https://unsloth.ai/blog/grpo: Llama 3.1 8B, 8 completions of 20K tokens, logits and their gradient."""
    plan = Plan(num_prompts=1, group_size=8, micro_batch_size=8, prompt_length=0, max_new_tokens=20 * 1024,
                engine="stays", sampled_at_once=1, logit_bytes=4)
    lines = ledger(MODELS["llama-3-8b"], plan)
    assert bytes_of(lines, "cache") / GIB == pytest.approx(2.5, abs=0.01)
    assert bytes_of(lines, "engine") / 1e9 == pytest.approx(16, abs=0.1)
    assert bytes_of(lines, "logits") / GIB == pytest.approx(78.3, abs=0.1)


def test_the_logits_of_grpo_are_those_that_trl_measured():
    """https://github.com/huggingface/trl/issues/3678: 2 x 256 tokens, 151,665 words: 902 - 44 MB, forward."""
    shape = qwen2(8, 2, 4, 2, 32, 151_665)
    plan = Plan(num_prompts=1, group_size=2, micro_batch_size=2, max_new_tokens=256)
    assert bytes_of(ledger(shape, plan), "logits") / 1e6 == pytest.approx(902 - 44, rel=0.15)


def test_rlhf_holds_four_models_as_the_hydra_paper_estimates():
    """arXiv:2309.00754, table 1: 220 GB for PPO of Llama 7B with Adam."""
    lines = ledger(MODELS["llama-2-7b"], Plan(algo="rlhf"))
    always = sum(line.num_bytes for line in lines if line.when == "always")
    assert always / GIB == pytest.approx(220, rel=0.05)


def test_state_by_hand():
    shape = MODELS["qwen2.5-7b"]
    N, A = shape.numbers(), shape.adapter_numbers(32)
    bytes_a_number = {
        Plan(): 16, Plan(master=False): 8, Plan(dtype="float32"): 16, Plan(optimizer="adam8bit"): 10,
        Plan(optimizer="sgd"): 8, Plan(master=False, optimizer="adam8bit"): 6}
    for plan, expected in bytes_a_number.items():
        assert bytes_of(ledger(shape, plan), "policy") == expected * N
        lora = ledger(shape, dataclasses.replace(plan, lora=32))
        assert bytes_of(lora, "policy") == plan.size() * N + expected * A
        assert bytes_of(lora, "reference") == 0
    four_bits = bytes_of(ledger(shape, Plan(lora=32, base_bits=4)), "base")
    assert 0.25 * 2 * N < four_bits < 0.4 * 2 * N


def test_a_critic_costs_a_policy_without_its_head_and_a_shared_one_a_layer():
    shape = MODELS["qwen2.5-7b"]
    without_head = shape.numbers() - shape.vocab_size * shape.width
    assert bytes_of(ledger(shape, Plan(algo="ppo")), "critic") == 16 * without_head
    assert bytes_of(ledger(shape, Plan(algo="ppo-shared")), "critic") == 16 * (shape.width + 1)
    assert bytes_of(ledger(shape, Plan(algo="rlhf")), "reward") == 2 * without_head
    assert bytes_of(ledger(shape, Plan(algo="grpo")), "critic", "reward") == 0


def test_sampling_and_updating_take_turns():
    lines = [Line("a", 5, ""), Line("b", 3, "", "update"), Line("c", 1, "", "update"),
             Line("d", 7, "", "sampling")]
    assert peak(lines) == 12
    shape = MODELS["qwen2.5-7b"]
    own, stays, sleeps = (peak(ledger(shape, Plan(engine=engine))) for engine in ("none", "stays", "sleeps"))
    assert own == sleeps < stays


def test_a_paged_cache_holds_the_tokens_that_are_there_in_whole_pages():
    shape = MODELS["qwen2.5-7b"]
    plan = Plan(engine="sleeps", prompt_length=100, max_new_tokens=1000, mean_new_tokens=201)
    token_bytes = 2 * 28 * 4 * 128 * 2
    assert bytes_of(ledger(shape, plan), "cache") == 128 * 304 * token_bytes


# -----------------------------------------------------------------------------
# Formulas, against tensors

class Block(nn.Module):
    """A block as transformers computes it: norms in float32, and cast."""

    def __init__(self, shape, flash):
        super().__init__()
        C, M = shape.width, shape.mlp_width
        self.flash, self.heads = flash, shape.heads
        self.norms = nn.ParameterList([torch.ones(C), torch.ones(C)])
        self.projections = nn.ModuleList([nn.Linear(C, C, bias=False) for _ in range(4)])
        self.gate, self.up = nn.Linear(C, M, bias=False), nn.Linear(C, M, bias=False)
        self.down = nn.Linear(M, C, bias=False)

    def norm(self, x, weight):
        scaled = x.float()
        scaled = scaled * torch.rsqrt(scaled.pow(2).mean(-1, keepdim=True) + 1e-6)
        return weight * scaled.to(x.dtype)

    def forward(self, x):
        B, T, C = x.shape
        normed = self.norm(x, self.norms[0])
        q, k, v = (layer(normed).view(B, T, self.heads, -1).transpose(1, 2) for layer in self.projections[:3])
        if self.flash:
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            weights = torch.softmax((q @ k.transpose(2, 3)) * 0.5, dim=-1, dtype=torch.float32)
            y = weights.to(q.dtype) @ v
        x = x + self.projections[3](y.transpose(1, 2).reshape(B, T, C))
        normed = self.norm(x, self.norms[1])
        return x + self.down(F.silu(self.gate(normed)) * self.up(normed))


@pytest.mark.parametrize("flash", [True, False])
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_a_block_keeps_what_autograd_keeps(dtype, flash):
    shape, B, T = llama(64, 1, 4, 4, 160, 11), 2, 96
    plan = Plan(algo="sft", dtype=dtype, flash=flash, prompt_length=T, max_new_tokens=0)
    torch_dtype = getattr(torch, dtype)
    block = Block(shape, flash).to(torch_dtype)
    x = torch.zeros(B, T, 64, dtype=torch_dtype).normal_().requires_grad_()
    kept = []

    def keep(tensor):
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        block(x)
    addresses = {parameter.untyped_storage().data_ptr() for parameter in block.parameters()}
    kept = [tensor for tensor in kept if tensor.untyped_storage().data_ptr() not in addresses]
    assert B * T * sum(block_parts(shape, plan).values()) == pytest.approx(memory.bytes_of(kept), rel=0.03)


def test_our_own_trainer_is_estimated_as_it_is_counted():
    """In float32 both ledgers know the same lines; what differs is the head, and two numbers a token."""
    c = ModelConfig(97, 48, 3, 4, 2, 100, 64)
    # together 64 tokens, which no CPU pads
    settings = RLConfig(num_prompts=2, group_size=4, micro_batch_size=4, max_new_tokens=48, kl_coef=0.1)
    plan = Plan(num_prompts=2, group_size=4, micro_batch_size=4, prompt_length=16, max_new_tokens=48,
                dtype="float32", context=0)
    exact, estimated = memory.ledger(c, settings, "grpo", 16), ledger(shape_of(c), plan)
    for name in (*STATE, "reference"):
        assert bytes_of(estimated, name) == pytest.approx(exact[name], rel=0.01)
    assert bytes_of(estimated, "cache") == pytest.approx(exact["key-value cache"], rel=0.15)
    assert bytes_of(estimated, "blocks") == pytest.approx(exact["activations"], rel=0.1)


# -----------------------------------------------------------------------------
# What others have measured

def test_published_peaks_are_met_within_15_percent_or_the_reason_is_told():
    for row in published.PEAKS:
        assert row.source.startswith("https://")
        assert abs(published.error(row)) <= 0.15 or row.note, row.what
    near = [row for row in published.PEAKS if abs(published.error(row)) <= 0.15]
    assert len(near) >= 0.7 * len(published.PEAKS)
    assert len({row.source for row in near}) >= 4
    assert {"ppo", "grpo", "sft"} == {row.plan.algo for row in published.PEAKS}


def test_the_room_of_an_engine_is_no_estimate():
    """The settings name it, so to count it on both sides would make any estimate look near."""
    row = next(row for row in published.PEAKS if row.plan.engine == "stays")
    room = row.plan.engine_room / 2**30
    by_hand = (published.estimate(row) - room) / (row.gib - room) - 1
    assert published.error(row) == pytest.approx(by_hand) and abs(by_hand) > 0.15
    nothing_given = row._replace(plan=dataclasses.replace(row.plan, engine="sleeps"))
    assert published.given(nothing_given) == 0


def test_zero_spreads_the_adapters_as_it_does_all_that_learns():
    shape, plan = MODELS["qwen2.5-7b"], Plan(lora=32, devices=8)
    A = shape.adapter_numbers(32)
    for zero, whole in ((1, 4), (2, 2), (3, 0)):
        lines = ledger(shape, dataclasses.replace(plan, zero=zero))
        [adapters] = [line for line in lines if line.name.endswith("adapters")]
        assert adapters.num_bytes == pytest.approx(whole * A + (16 - whole) * A / 8, abs=8), zero
        assert adapters.formula == f"A x ({whole} + {16 - whole} / 8)"
    [adapters] = [line for line in ledger(shape, plan) if line.name.endswith("adapters")]
    assert adapters.num_bytes == 16 * A


def test_the_table_of_published_peaks(capsys):
    assert memory.main(["--published"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) < 80 and f"of {len(published.PEAKS)} within 15%" in lines[-1]
    assert memory.main(["--published", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) == len(published.PEAKS) >= 8
    saved = json.loads((ROOT / "lessons" / "results" / "published.json").read_text(encoding="utf-8"))
    assert rows == saved, "run the command of lessons/results/C4.md again"


# -----------------------------------------------------------------------------
# What would make it fit

SHAPE = MODELS["qwen2.5-1.5b"]


@pytest.mark.parametrize("plan", [
    Plan(), Plan(algo="rlhf", engine="stays"), Plan(algo="ppo", devices=4), Plan(algo="sft"),
    Plan(lora=8, engine="stays", zero=1, devices=2), Plan(dtype="float32", optimizer="sgd")])
def test_every_change_saves_what_the_ledger_says_and_none_is_made_twice(plan):
    saved = fits.savings(SHAPE, plan)
    assert [num_bytes for num_bytes, _ in saved] == sorted((n for n, _ in saved), reverse=True)
    for num_bytes, change in saved:
        after = dataclasses.replace(plan, **change.fields)
        assert after != plan and peak(ledger(SHAPE, plan)) - peak(ledger(SHAPE, after)) == num_bytes > 0
        assert change.flags not in [other.flags for other in fits.possible_changes(SHAPE, after)]


@pytest.mark.parametrize("gib, algo", [(24, "grpo"), (40, "ppo"), (12, "rlhf"), (16, "grpo")])
def test_the_smallest_change_fits_and_no_part_of_it_can_be_left_out(gib, algo):
    plan, room = Plan(algo=algo), gib * GIB
    changes, _ = fits.smallest_change(SHAPE, plan, room)
    assert peak(ledger(SHAPE, fits.changed(plan, changes))) <= room < peak(ledger(SHAPE, plan))
    for change in changes:
        without = tuple(other for other in changes if other is not change)
        assert peak(ledger(SHAPE, fits.changed(plan, without))) > room
    price = sum(change.price for change in changes)
    cheaper = [change for change in fits.possible_changes(SHAPE, plan) if change.price < price]
    for change in cheaper:
        assert peak(ledger(SHAPE, fits.changed(plan, (change,)))) > room


def test_a_harmless_change_comes_before_one_that_learns_less():
    plan = Plan()
    room = peak(ledger(SHAPE, plan)) - 2**20
    [change] = fits.smallest_change(SHAPE, plan, room)[0]
    assert change.price == 1


def test_where_nothing_suffices_the_page_tells_how_many_devices_do():
    text = "\n".join(fits.page("name", MODELS["qwen2.5-72b"], Plan(algo="rlhf"), 40 * GIB))
    assert "All changes of the list together still need" in text and "It fits on each of 8 devices" in text
    text = "\n".join(fits.page("name", MODELS["llama-3-70b"], Plan(), 2**20))
    assert "Nor do more devices suffice" in text


def test_a_plan_with_all_changes_made_has_an_answer(capsys):
    command = ("--model llama-3-70b --devices 2 --zero 3 --flash --fused --logit-pieces 8 --checkpointing "
               "--micro-batch-size 1 --sampled-at-once 32 --optimizer adam8bit --no-master --kl-coef 0 "
               "--lora 32 --base-bits 4").split()
    assert memory.main([*command, "--fits", "80GiB"]) == 0
    assert "It fits into 80.0 GiB on each of 2 devices" in capsys.readouterr().out
    assert memory.main([*command, "--fits", "4GiB"]) == 0
    assert "No change is left to make.\nNor do more devices suffice" in capsys.readouterr().out
    assert memory.main([*command, "--fits", "80GiB", "--engine", "sleeps", "--engine-room", "90GiB"]) == 0
    assert "GiB):\n    --engine none" in capsys.readouterr().out      # the smallest change that fits


def test_what_fits_is_said_to_fit():
    needed = peak(ledger(SHAPE, Plan()))
    assert "It fits into" in fits.verdict(SHAPE, Plan(), 2 * needed)[0]
    assert "but tightly" in fits.verdict(SHAPE, Plan(), needed)[0]
    assert "It does not fit" in fits.verdict(SHAPE, Plan(), needed - 1)[0]


# -----------------------------------------------------------------------------
# The command

@pytest.mark.parametrize("flags", [
    ["--model", "1.5B", "--fits", "24GiB"],
    ["--model", "Qwen2.5-7B", "--fits", "80 GB", "--algo", "rlhf", "--lora", "16", "--base-bits", "4"],
    ["--model", "qwen3-32b", "--algo", "ppo", "--devices", "8", "--zero", "3", "--engine", "stays",
     "--no-master", "--checkpointing", "--logit-pieces", "16", "--lora", "64", "--base-bits", "8",
     "--mean-new-tokens", "300"],
    ["--model", "llama-3-70b", "--fits", "0.5TiB", "--algo", "ppo-shared", "--max-new-tokens", "32768"],
    ["--hidden", "4096", "--layers", "32", "--heads", "32", "--kv-heads", "8", "--vocab", "128256", "--mlp",
     "14336", "--fits", "24GiB", "--algo", "sft", "--engine", "none", "--zero", "2", "--devices", "32"]])
def test_the_page_fits_80_columns_and_its_largest_line_is_first(flags, capsys):
    assert memory.main(flags) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) < 80
    start = lines.index("      GiB") + 1
    sizes = []
    while "peak" not in lines[start]:
        sizes.append(float(lines[start].split()[0]))
        start += 1
    assert sizes == sorted(sizes, reverse=True) and len(sizes) >= 5
    assert memory.main([*flags, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["peak"] == pytest.approx(float(lines[start].split()[0]) * GIB, rel=0.01)
    assert ("fits" in shown) == ("--fits" in flags)


def test_only_shards_are_limited_by_the_layers(capsys):
    """Without ZeRO each device holds a whole model, and there may be any number of them."""
    command = ["--model", "7B", "--devices", "33", "--fits", "80GiB"]
    assert memory.main(command) == 0
    shown = capsys.readouterr().out
    assert "The smallest change that fits" in shown and "--zero" not in shown     # it would be refused:
    assert memory.main([*command, "--zero", "3"]) == 2
    assert "33 shards are more than the model's 32 layers" in capsys.readouterr().err


def test_a_model_by_its_measures_is_the_one_with_the_name(capsys):
    measures = ["--hidden", "4096", "--layers", "32", "--heads", "32", "--kv-heads", "8", "--vocab", "128256",
                "--mlp", "14336"]
    peaks = []
    for model in (measures, ["--model", "llama-3-8b"]):
        assert memory.main([*model, "--json"]) == 0
        peaks.append(json.loads(capsys.readouterr().out)["peak"])
    assert peaks[0] == peaks[1]


@pytest.mark.parametrize("flags, says", [
    (["--fits", "3"], "needs a unit: 3GiB or 3GB"),
    (["--model", "1.5B", "--fits", "3"], "needs a unit"),
    (["--model", "1.5B", "--fits=-3GiB"], "--fits: must be a size"),
    (["--model", "1.5B", "--fits", "nanGiB"], "--fits: must be a size"),
    (["--model", "1.5B", "--fits", "24 potatoes"], "has no unit potatoes"),
    (["--model", "1.5B", "--fits", "0GiB"], "from 1MiB to 1024TiB"),
    (["--model", "1.5B", "--fits", "1" + "0" * 400 + "GiB"], "from 1MiB to 1024TiB"),
    (["--fits", "24GiB"], "which model?"),
    (["--model", "qwen2.5-8b", "--fits", "24GiB"], "qwen2.5-8b is not known; there is qwen"),
    (["--model", "abacus"], "abacus is not known"),
    (["--model", ""], "is not known"),
    (["--model", "qwen2.5-7b", "--devices", "64", "--zero", "3"],
     "64 shards are more than the model's 28 layers"),
    (["--model", "qwen2.5-7b", "--devices", "0"], "--devices: must be a"),
    (["--model", "qwen2.5-7b", "--zero", "3"], "say how many with --devices"),
    (["--model", "qwen2.5-7b", "--zero", "4", "--devices", "8"], "--zero: invalid choice"),
    (["--model", "qwen2.5-7b", "--base-bits", "4"], "add --lora 32"),
    (["--model", "qwen2.5-7b", "--lora", "0"], "--lora: must be a"),
    (["--model", "qwen2.5-7b", "--engine-room", "8GiB"], "add --engine stays"),
    (["--model", "qwen2.5-7b", "--engine", "stays", "--mean-new-tokens", "9000"], "above --max-new-tokens"),
    (["--model", "qwen2.5-7b", "--algo", "sft", "--engine", "stays"], "imitation samples nothing"),
    (["--model", "qwen2.5-7b", "--hidden", "64"], "has a name already"),
    (["--model", "qwen2.5-7b", "--plot", "x.png"], "draws our own ledger"),
    (["--hidden", "64", "--layers", "2", "--heads", "4"], "--vocab: missing"),
    (["--hidden", "64", "--layers", "2", "--heads", "3", "--vocab", "9"], "3 does not divide --hidden 64"),
    (["--hidden", "64", "--layers", "2", "--heads", "4", "--kv-heads", "3", "--vocab", "9"],
     "3 does not divide --heads 4"),
    (["--flash"], "--flash: is of another question"),
    (["--model", "7B", "--no-master"], "--no-master: is of another question"),
])
def test_an_absurd_question_is_refused_in_one_line(flags, says, capsys):
    assert memory.main(flags) == 2
    out, error = capsys.readouterr()
    assert not out and error.count("\n") == 1 and says in error and len(error) < 400


def test_a_bar_is_as_high_as_the_peak_and_labelled_with_the_ratio():
    c, settings = ModelConfig(97, 48, 3, 4, 2, 100, 64), RLConfig(num_prompts=2, kl_coef=0.1)
    ledgers = {algo: memory.ledger(c, settings, algo, 7) for algo in memory.ALGORITHMS}
    _, axes = new_figure(figsize=(4, 3))
    plot_bytes(axes, ledgers, "title")
    tops = {}
    for bar in axes.patches:
        position = round(bar.get_x() + bar.get_width() / 2)
        tops[position] = max(tops.get(position, 0), bar.get_y() + bar.get_height())
    peaks = [memory.peak(rows) for rows in ledgers.values()]
    assert [tops[i] * 2**20 for i in range(3)] == pytest.approx(peaks)
    labels = [text.get_text() for text in axes.texts]
    assert f"{peaks[1] / peaks[0]:.2f} times" in labels[1] and "times" not in labels[0]
