# %% [markdown]
# # 8. The memory of PPO and GRPO
#
# Question: "GRPO halves the memory", they say. Which bytes go, and when is it true? And will a
# model that you have in mind fit into your card?
#
# You need: lesson 07. Time: half a minute on a laptop's CPU.
#
# A step passes through the model in pieces, the *micro-batches*. This is what training holds when
# the backward pass of one of them begins:
#
#     weights + gradients + optimizer + reference + critic + rollout + activations
#                                                                   (`minireason.tools.memory.peak`)
#
# A number of a model in float32 costs 4 bytes as a weight, 4 as a gradient and 8 for the two
# running means of Adam: 16. A critic of the policy's size costs as much again. *Activations* are
# what the layers keep for the backward pass. A critic has its own. They come on top where one
# backward pass serves both losses, which we call one graph. Sampling needs a cache of keys and
# values instead of activations. The two take turns, so only the larger counts.

# %%
import os
import sys
from pathlib import Path

# Where to find `shared`: in this file's folder or, in a notebook, in the working folder or its lessons/.
FOLDER = Path(globals().get("__file__", "notebook")).resolve().parent
sys.path[:0] = [str(FOLDER), str(FOLDER / "lessons")]

import torch
from shared import show_figure

from minireason.config import ModelConfig, RLConfig, preset
from minireason.tokenizer import get_tokenizer
from minireason.tools import fits, memory, published
from minireason.tools.large import GIB, Plan
from minireason.tools.large import ledger as large_ledger
from minireason.tools.plots import byte_legend, new_figure, plot_bytes, plot_memory
from minireason.tools.shapes import MODELS

FAST = os.environ.get("LESSON_FAST") == "1"

# %% [markdown]
# ## By hand: one layer
# A matrix of 2 x 3 works on 4 tokens, in float32. Its weights take 6 * 4 = 24 bytes, and so do its
# gradients. Adam takes 2 * 24, and 4 for a count of the steps: 52. For the backward pass the layer
# keeps its input: 4 * 3 * 4 = 48 bytes. The cell counts the bytes of the real tensors.

# %%
layer, tokens = torch.nn.Linear(3, 2, bias=False), torch.ones(4, 3)
kept_tensors = []                                     # what the graph keeps for the backward pass


def keep(tensor):
    kept_tensors.append(tensor)
    return tensor


with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
    loss = layer(tokens).sum()
loss.backward()
optimizer = torch.optim.AdamW(layer.parameters())
optimizer.step()
groups = ([layer.weight], [layer.weight.grad], optimizer.state[layer.weight].values(), kept_tensors)
counted = [memory.bytes_of(tensors) for tensors in groups]
print("one layer: weights, gradients, Adam, activations", counted)
assert counted == [24, 24, 52, 48] and memory.optimizer_bytes(6, 1, "adamw", 4) == 52

# %% [markdown]
# ## By hand: one small model
# The model has width 2, one block, one head, an MLP of 3 and a vocabulary of 5.
#
#     embedding   attention   MLP     norms    all
#     5 * 2       12 + 4      3 * 6   3 * 2    50 numbers in 9 tensors
#
# So weights and gradients take 200 bytes each, and Adam 2 * 200 + 9 * 4. The critic adds a value
# layer of 2 + 1. It has 53 numbers in 11 tensors, and takes 53 * 16 + 11 * 4 = 892 bytes.

# %%
tiny = ModelConfig(vocab_size=5, width=2, num_layers=1, num_heads=1, num_kv_heads=1, mlp_width=3,
                   max_length=8)
rows = {algo: memory.ledger(tiny, RLConfig(), algo, prompt_length=4) for algo in memory.ALGORITHMS}
assert [rows["grpo"][name] for name in ("weights", "gradients", "optimizer", "critic")] == [200, 200, 436, 0]
assert rows["ppo"]["critic"] == 892 and rows["ppo-shared"]["critic"] == 3 * 16 + 8

# %% [markdown]
# ## Formula and measurement
# `ledger` is the formula. `measure` takes one step with the code that train.py runs, and counts the
# bytes of the tensors. Weights, gradients and Adam agree to the byte, activations within 2%.

# %%
config = preset("smoke" if FAST else "laptop")
model, settings, prompt_length = config.model, config.rl, 20
model.vocab_size = get_tokenizer().vocab_size
small = RLConfig(num_prompts=4, group_size=4, micro_batch_size=4, max_new_tokens=60, kl_coef=0.1)
formula = {algo: memory.ledger(model, small, algo, prompt_length) for algo in memory.ALGORITHMS}
measured = {algo: memory.measure(model, small, algo, prompt_length) for algo in memory.ALGORITHMS}
print("\n".join(memory.page(formula, measured)))
for algo in memory.ALGORITHMS:
    for name, number in formula[algo].items():
        tolerance = 0.02 * number if name == "activations" else 0
        assert abs(number - measured[algo][name]) <= tolerance, (algo, name)

# %% [markdown]
# ## So, does GRPO halve it?
# We compare GRPO with three kinds of PPO:
#
# - a separate critic, in one graph with the policy (`ppo`);
# - a separate critic whose loss has a graph of its own, after the policy's. Then only the larger of
#   the two activations counts, and not their sum;
# - a value layer on the policy's own body (`ppo-shared`).
#
# The figure draws the first and the last beside GRPO. Each bar is what is held at once, so it has
# only the larger of activations and cache.


# %%
def times_grpo(c, settings, prompt_length, dtype):
    """Peak of each opponent over that of GRPO."""
    rows = {algo: memory.ledger(c, settings, algo, prompt_length, dtype) for algo in memory.ALGORITHMS}
    own_graph = rows["ppo"] | {"activations": rows["grpo"]["activations"]}
    opponents = (rows["ppo"], own_graph, rows["ppo-shared"])
    return [memory.peak(opponent) / memory.peak(rows["grpo"]) for opponent in opponents]


long = RLConfig(num_prompts=8, group_size=8, micro_batch_size=1, max_new_tokens=1024, kl_coef=0.04)
CASES = {f"{config.preset} preset": (model, settings, prompt_length, "float32"),
         "7B": (memory.LARGE["7B"], long, 256, "bfloat16")}
print("\n7B in bfloat16, 8 prompts x 8 completions of 1024 tokens, micro-batches of 1, a reference, "
      "by formula alone")
c, chosen, prompt, dtype = CASES["7B"]
rows = {algo: memory.ledger(c, chosen, algo, prompt, dtype) for algo in memory.ALGORITHMS}
print("\n".join(memory.page(rows, {})))
for name, case in CASES.items():
    one, two, shared = times_grpo(*case)
    print(f"{name}: PPO over GRPO: {one:.2f} in one graph, {two:.2f} in two graphs, {shared:.2f} on one body")

NAMES = {"grpo": "GRPO", "ppo-shared": "PPO on one body", "ppo": "PPO"}
figure, panels = new_figure(1, 2, figsize=(7.6, 3.2))
for axes, (name, (c, chosen, prompt, dtype)) in zip(panels, CASES.items()):
    bars = {title: memory.ledger(c, chosen, algo, prompt, dtype) for algo, title in NAMES.items()}
    plot_bytes(axes, bars, f"{name}, {dtype}")
byte_legend(figure, panels[0], list(bars["PPO"]))
show_figure(figure, "08_where_the_bytes_go")

# %% [markdown]
# ## Where the saving ends
# GRPO needs a group, and PPO can do with one completion a prompt. From which group size on does
# GRPO need more than such a PPO? If the whole batch is one graph, each completion adds activations.
# With micro-batches of a fixed size, only the cache and the rollout grow.

# %%
KINDS = {"one graph": True, "micro-batches": False}
for name, (c, chosen, prompt, dtype) in CASES.items():
    ends = [memory.crossover(c, chosen, prompt, whole, dtype) for whole in KINDS.values()]
    print(f"{name}: GRPO needs no more than PPO with one answer a prompt "
          f"up to groups of {ends[0]} in one graph, {ends[1]} in micro-batches")
sizes = [2**i for i in range(1, 13)]
curves = {}
for kind, whole in KINDS.items():
    curves[kind] = memory.against_group_size(model, settings, prompt_length, sizes, whole)
figure, panels = new_figure(1, 2, figsize=(7.6, 3.2))
plot_memory(panels, sizes, curves)
show_figure(figure, "08_ppo_grpo_memory")

# %% [markdown]
# ## Does it fit?
# Our trainer keeps everything. A trainer of large models has tricks, and each of them changes one
# line of the ledger. `tools/large.py` has the lines as formulas. By hand: Qwen2.5-7B has N =
# 7,615,616,512 numbers. In bfloat16 a weight takes 2 bytes, its gradient 2, its float32 copy 4,
# Adam 8: 16 N = 113.5 GiB. *LoRA* freezes these numbers and trains two thin matrices beside each
# large one. With rank 32 these have A = 80,740,352 numbers: 2 N + 16 A = 15.4 GiB.

# %%
shape = MODELS["qwen2.5-7b"]
N, A = shape.numbers(), shape.adapter_numbers(32)
assert (N, A) == (7_615_616_512, 80_740_352)
print(f"\n16 N = {16 * N / GIB:.1f} GiB, 2 N + 16 A = {(2 * N + 16 * A) / GIB:.1f} GiB")
for plan, total in ((Plan(), 16 * N), (Plan(lora=32), 2 * N + 16 * A)):
    policy = [line.num_bytes for line in large_ledger(shape, plan) if line.name.startswith("policy")]
    assert sum(policy) == total

# %% [markdown]
# `python -m minireason.memory --model qwen2.5-7b --fits 80GiB` prints the whole answer: the largest
# line first, then what would make it fit. Every change has a price: 1 if the numbers stay the same,
# 2 if it takes time, up to 12 if the model learns something else. All combinations are tried, and
# the cheapest is shown. *Checkpointing* computes activations again instead of keeping them.
# *Sharding* gives each card a part.

# %%
print("\n".join(fits.page("qwen2.5-7b", shape, Plan(), 80 * GIB)))

# %% [markdown]
# May we believe it? Others have published measured peaks, with their settings. Beside each stands
# what our formulas say.

# %%
print("\n" + "\n".join(published.page()))

# %% [markdown]
# ## What to see
# - "GRPO halves the memory" holds against one kind of PPO only: a separate critic of the policy's
#   size, updated in the same graph (1.96 times at our size). Against a value layer on the policy's
#   body it saves next to nothing.
# - Against a critic with a graph of its own, GRPO saves only what the critic holds: weights,
#   gradients and Adam. Here that is 6%, since activations are 93% of the bytes. At 7B activations
#   are few, and PPO takes about 1.65 times as much, with one graph or two. That is not twice as
#   much either.
# - The group takes the saving back. In one graph it ends at 2 completions a prompt (3 at 7B). In
#   micro-batches it lasts beyond a thousand here, and to two dozen at 7B, where the cache of many
#   long completions grows large.
# - With each trick of a large trainer another line becomes the largest. It is the optimizer, until
#   LoRA or sharding; the activations, until checkpointing; then weights, the cache of many
#   completions, and logits, since a vocabulary has 150,000 tokens.
#
# What it does not show: pipelines and tensors that are split over devices, tensors that wait in the
# CPU's memory, a smaller critic. Each moves these numbers. And bytes are not seconds.
#
# The trap: to compare one PPO completion a prompt with one GRPO completion a prompt. There is no
# group of 1.
#
# ## Exercises
# 1. Turn the reference off (kl_coef 0) in the 7B case. Does the ratio in one graph rise or fall?
# 2. With plain SGD instead of AdamW (`optimizer="sgd"`), what is left of the critic's state in
#    float32?
# 3. Halve num_kv_heads of the 7B model. Where does the saving end in micro-batches now, and why?
# 4. What is the smallest change that makes GRPO of qwen2.5-1.5b fit into 24 GiB? And with 4096 new
#    tokens?
#
# <details><summary>Solutions</summary>
#
# 1. It rises: the reference is in both columns, so without it the critic is a larger share.
# 2. Weights and gradients: 8 bytes a number instead of 16.
# 3. At about twice the group: the cache is half as large, and it is what grows with the group.
# 4. `python -m minireason.memory --model qwen2.5-1.5b --fits 24GiB`: logits in pieces,
#    checkpointing and 8-bit Adam. With `--max-new-tokens 4096` also micro-batches of 1, and at most
#    32 completions sampled at once.
# </details>
