# %% [markdown]
# # 8. The memory of PPO and GRPO
#
# Question: "GRPO halves the memory", people say. Which bytes go away, and when is it true? And does
# a model that you have in mind fit into your card?
#
# You need: lesson 07. Time: half a minute on a laptop's CPU.
#
# A step does not send all completions through the model at once, because that would take too much
# memory. It sends a piece at a time, a *micro-batch*, and adds up the gradients. This is what
# training holds when the backward pass of a micro-batch begins, with numbers of 4 bytes:
#
# | what | why it is there | bytes for each number |
# |---|---|---|
# | weights | the policy itself | 4 |
# | gradients | the direction of the step | 4 |
# | optimizer | Adam keeps two running means of each gradient | 8 |
# | reference | a frozen copy for the KL; only weights, because it does not learn | 4 |
# | critic | a second network that learns: weights, gradients and Adam | 16 |
# | rollout | the tokens and what is known about each | small |
# | activations | what the layers keep for the backward pass | see below |
#
# The numbers of bytes are for float32, a format that takes 4 bytes for a number. A critic is about
# as large as the policy, so it costs as much again as the first three rows together.
#
# *Activations* depend on the completions: more tokens, more bytes. A critic of its own has
# activations too. If one backward pass serves the policy's loss and the critic's loss, both are
# there at the same time. We call this *one graph*, because torch keeps what belongs to a backward
# pass in a graph.
#
# While completions are sampled, there are no activations. In their place there is a cache of keys
# and values (lesson 03). The two take turns, so only the larger one counts: memory is fullest at
# the backward pass or, where the cache is larger (see the 7B table below), while sampling. All
# other rows are there all the time: torch keeps the memory of the gradients, too.

# %%
import os
import sys
from pathlib import Path

# Where to find `shared`: in this file's folder or, in a notebook, in the working folder or its lessons/.
FOLDER = Path(globals().get("__file__", "notebook")).resolve().parent
sys.path[:0] = [str(FOLDER), str(FOLDER / "lessons")]

import torch
from shared import label, show_figure

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
#
# A matrix of 2 x 3 works on 4 tokens, in float32.
#
# - Its weights are 6 numbers: 6 * 4 = 24 bytes.
# - Its gradients take 24 bytes too.
# - Adam takes 2 * 24 bytes, and 4 for a count of the steps: 52.
# - For the backward pass the layer keeps its input, 4 tokens of 3 numbers: 4 * 3 * 4 = 48 bytes.
#
# The next cell counts the bytes of the real tensors.

# %%
layer, tokens = torch.nn.Linear(3, 2, bias=False), torch.ones(4, 3)
kept_tensors = []      # what torch keeps for the backward pass


def keep(tensor):
    kept_tensors.append(tensor)
    return tensor


def unchanged(tensor):
    return tensor


with torch.autograd.graph.saved_tensors_hooks(keep, unchanged):
    loss = layer(tokens).sum()
loss.backward()
optimizer = torch.optim.AdamW(layer.parameters())
optimizer.step()
TENSORS = {
    "weights": [layer.weight],
    "gradients": [layer.weight.grad],
    "Adam": optimizer.state[layer.weight].values(),
    "activations": kept_tensors,
}
counted = {name: memory.bytes_of(tensors) for name, tensors in TENSORS.items()}
print("one layer:", counted)
assert list(counted.values()) == [24, 24, 52, 48]
assert memory.optimizer_bytes(6, 1, "adamw", 4) == 52

# %% [markdown]
# ## By hand: one small model
#
# The model has the width 2, one block, one head, an MLP of 3 and a vocabulary of 5.
#
#     embedding   attention   MLP     norms    all
#     5 * 2       12 + 4      3 * 6   3 * 2    50 numbers in 9 tensors
#
# Queries, keys and values are one matrix of 2 by 6, and the output of attention one of 2 by 2. The
# MLP has three matrices of 2 by 3. A *norm* scales the vector of a position to a fixed size, and
# has a weight for each of its numbers. There are three, of 2 weights each. With the embedding,
# which also serves as the head, that makes 9 tensors. So weights and gradients take 200 bytes each,
# and Adam takes 2 * 200 + 9 * 4 = 436. The critic has a value layer of 2 + 1 on top, so it has 53
# numbers in 11 tensors. It takes 53 * 16 + 11 * 4 = 892 bytes.
#
# There is a cheaper critic: a value layer on the policy's own body, which is called `ppo-shared`
# (in `train.py`: `--rl-shared-critic`). It adds only the value layer, 3 * 16 + 2 * 4 = 56 bytes.
# Its price is not in bytes: the loss of the critic then changes the same weights as the loss of
# the policy, at the policy's learning rate, and each may disturb the other. (Only the value layer
# keeps the critic's rate.) How much is not measured here.

# %%
tiny = ModelConfig(vocab_size=5, width=2, num_layers=1, num_heads=1, num_kv_heads=1, mlp_width=3,
                   max_length=8)
rows = {algo: memory.ledger(tiny, RLConfig(), algo, prompt_length=4) for algo in memory.ALGORITHMS}
BY_HAND = {"weights": 200, "gradients": 200, "optimizer": 436, "critic": 0}
for name, by_hand in BY_HAND.items():
    assert rows["grpo"][name] == by_hand
assert rows["ppo"]["critic"] == 892 and rows["ppo-shared"]["critic"] == 56
for algo, row in rows.items():
    print(f"{algo:10}", {name: row[name] for name in BY_HAND})

# %% [markdown]
# ## Formula and measurement
#
# `ledger` is the formula: it computes the bytes from the settings alone. Can we trust it? `measure`
# takes one step with the code that `train.py` runs, and counts the bytes of the tensors. Weights,
# gradients and Adam agree to the byte. Activations agree within 2% in all sizes that the tests try
# (within 0.1% for our preset).
#
# We take the model of our preset, and a small rollout of 4 prompts with 4 completions each.

# %%
config = preset("smoke" if FAST else "laptop")
model, settings, prompt_length = config.model, config.rl, 20
model.vocab_size = get_tokenizer().vocab_size
small = RLConfig(num_prompts=4, group_size=4, micro_batch_size=4, max_new_tokens=60, kl_coef=0.1)
formula, measured = {}, {}
for algo in memory.ALGORITHMS:
    formula[algo] = memory.ledger(model, small, algo, prompt_length)
    measured[algo] = memory.measure(model, small, algo, prompt_length)
    for name, num_bytes in formula[algo].items():
        tolerance = 0.02 * num_bytes if name == "activations" else 0
        assert abs(num_bytes - measured[algo][name]) <= tolerance, (algo, name)
print("\n".join(memory.page(formula, measured)))

# %% [markdown]
# ## Does GRPO halve it?
#
# We compare GRPO with three kinds of PPO:
#
# - **One graph:** a separate critic whose loss shares a backward pass with the policy's loss. This
#   is what our `ppo.py` does, since it makes one loss of both and so stays like `grpo.py`, line by
#   line.
# - **Two graphs:** a separate critic whose loss has its own backward pass, after the policy's. Then
#   only the larger of the two activations counts, and not their sum. The gradients are the same.
# - **One body:** a value layer on the policy's body.
#
# And we take two sizes. One is the preset: longer completions than above, and no reference. The
# other has the shape of Llama-2-7B: 6.6 billion numbers, and each head has keys and values of its
# own, so its cache is large. It is in bfloat16, a format that takes 2 bytes for a number. It has
# long completions and a reference, and we know its bytes by the formula alone. There its optimizer
# takes 12 bytes for each number: Adam's 8, and 4 for a copy of the weights in float32 (the reason
# comes below). So a critic takes 2 + 2 + 12 = 16 bytes for each number.

# %%
long = RLConfig(num_prompts=8, group_size=8, micro_batch_size=1, max_new_tokens=1024, kl_coef=0.04)
CASES = {      # name: (model, settings, tokens of a prompt, format of a number)
    f"{config.preset} preset": (model, settings, prompt_length, "float32"),
    "7B": (memory.LARGE["7B"], long, 256, "bfloat16"),
}
ledgers = {}      # {case: {algorithm: {row: bytes}}}
for case, (c, chosen, prompt, dtype) in CASES.items():
    ledgers[case] = {}
    for algo in memory.ALGORITHMS:
        ledgers[case][algo] = memory.ledger(c, chosen, algo, prompt, dtype)
print("7B: 8 prompts with 8 completions of 1024 tokens, in micro-batches of 1")
print("\n".join(memory.page(ledgers["7B"], {})))
print()
for case, rows in ledgers.items():
    two_graphs = rows["ppo"] | {"activations": rows["grpo"]["activations"]}
    opponents = {"in one graph": rows["ppo"], "in two graphs": two_graphs,
                 "on one body": rows["ppo-shared"]}
    for name, opponent in opponents.items():
        times = memory.peak(opponent) / memory.peak(rows["grpo"])
        print(f"{case}: PPO {name:13} takes {times:.2f} times as much as GRPO")
    activations = rows["grpo"]["activations"] / memory.peak(rows["grpo"])
    print(f"{case}: activations are as large as {activations:.0%} of GRPO's peak")

# %% [markdown]
# ## The figure: `08_where_the_bytes_go`
#
# Each bar is what is held at once, so it shows only the larger of activations and cache. "PPO" is
# the kind in one graph. Compare the colors. Left, orange decides: with a separate critic in one
# graph, activations are there twice. Right, the optimizer (light blue) is the largest part of GRPO,
# and PPO has a whole critic (red) on top.

# %%
NAMES = {"grpo": "GRPO", "ppo-shared": "PPO on one body", "ppo": "PPO"}
figure, panels = new_figure(1, 2, figsize=(7.6, 3.4))
for axis, (case, rows) in zip(panels, ledgers.items()):
    dtype = CASES[case][3]
    bars = {name: rows[algo] for algo, name in NAMES.items()}
    plot_bytes(axis, bars, "")
    label(axis, f"{case}, {dtype}", "algorithm", "bytes at the peak", legend=False)
byte_legend(figure, panels[0], list(bars["PPO"]))
show_figure(figure, "08_where_the_bytes_go")

# %% [markdown]
# ## Where the saving ends
#
# GRPO needs a group, and PPO can do with one completion for each prompt. So the fair question is:
# from which group size on does GRPO need more memory than PPO with one completion? We take the PPO
# in one graph, the largest of the three. (Against the other two the saving ends far earlier.)
#
# - If the whole batch passes at once, each completion adds activations. PPO holds those of one
#   completion in two networks. A group of 2 holds those of two completions in one network, which is
#   about as much. So the saving ends at once.
# - If micro-batches of a fixed size pass, the activations stay the same, however large the group
#   is. Only the cache (up to 512 rows) and the rollout grow. (One token takes 2 * 4 layers * 2
#   key heads * 32 numbers * 4 bytes = 2,048 bytes of cache, for keys and values.) So the saving
#   lasts longer.
#
# Time is not saved: twice as many completions take about twice as long.

# %%
KINDS = {"whole batch": True, "micro-batches": False}
for case, (c, chosen, prompt, dtype) in CASES.items():
    for kind, whole in KINDS.items():
        largest = memory.crossover(c, chosen, prompt, whole, dtype)
        print(f"{case}, {kind}: GRPO needs no more than such a PPO up to groups of {largest}")
sizes = [2**i for i in range(1, 13)]
curves = {}      # {kind: (bytes of GRPO at each size, bytes of PPO)}
for kind, whole in KINDS.items():
    curves[kind] = memory.against_group_size(model, settings, prompt_length, sizes, whole)

# %% [markdown]
# ## The figure: `08_ppo_grpo_memory`
#
# Both pictures are for our preset, and their axes are logarithmic. The blue curve is GRPO with more
# and more completions for each prompt, and the red line is PPO with one. Left of the place where
# they cross GRPO saves memory. In the left picture they meet at 2, the smallest group, so no group
# saves memory there. In the right picture, look at three parts of the blue curve. Up to 16 the
# activations of a micro-batch decide. At 32 the cache is larger. There it also stops growing, since
# the sampler writes at most 512 completions at once. From there on only the rollout grows: it has a
# few numbers for each token, but of up to 24 * 4096 completions (24 is the preset's number of
# prompts).

# %%
figure, panels = new_figure(1, 2, figsize=(7.6, 3.4))
plot_memory(panels, sizes, curves)
for axes, kind in zip(panels, KINDS):
    label(axes, kind, "completions for each prompt (G)", "peak memory, by formula")
show_figure(figure, "08_ppo_grpo_memory")

# %% [markdown]
# ## Does it fit?
#
# Our trainer keeps everything. Trainers of large models use tricks, and each trick changes one line
# of the ledger. `tools/large.py` has these lines as formulas. These are the tricks whose names you
# will see below:
#
# | trick | what it does | its price |
# |---|---|---|
# | LoRA | freezes weights; thin *adapters* (of *rank* r) beside each learn | learns less |
# | QLoRA | LoRA, with the frozen weights in 4 bits | weights are rounded, too |
# | checkpointing | computes activations again instead of keeping them | a third more time |
# | flash | attention without the table of all pairs of tokens | none: the same numbers |
# | fused | one compiled program for several small operations | none: the same numbers |
# | ZeRO 1, 2, 3 | a card keeps its part of 1: Adam, 2: gradients, 3: weights, too | 3: traffic |
# | logits in pieces | the scores of all words, for some tokens at a time | none: the same numbers |
# | no master | no float32 copy (the *master*); Adam's means in bfloat16 | small updates lost |
# | micro-batches of 1 | fewer activations at a time | more passes |
# | 8-bit Adam | running means in 1 byte each | they are rounded |
# | engine | a separate program samples, faster, with its own copy of the weights | memory |
#
# **By hand.** Qwen2.5-7B has N = 7,615,616,512 numbers. In bfloat16 a weight takes 2 bytes, its
# gradient 2, its float32 copy 4 and Adam 8. That copy is there because a small update would be lost
# in the rounding of bfloat16. Together this is 16 N = 113.5 GiB. With LoRA of rank 32 the N numbers
# are frozen, and take 2 bytes each. Only the adapters, two thin matrices beside each, learn. They
# have A = 80,740,352 numbers: 2 N + 16 A = 15.4 GiB. So LoRA saves 113.5 - 15.4 = 98.1 GiB. It also
# saves the reference, 14.2 GiB: no copy is needed, since the policy without its adapters is the
# reference. Together that is the 112.3 of the list below.

# %%
shape = MODELS["qwen2.5-7b"]
N, A = shape.numbers(), shape.adapter_numbers(32)
assert (N, A) == (7_615_616_512, 80_740_352)
for name, plan, total in (("all weights learn", Plan(), 16 * N),
                          ("LoRA", Plan(lora=32), 2 * N + 16 * A)):
    lines = large_ledger(shape, plan)
    policy = sum(line.num_bytes for line in lines if line.name.startswith("policy"))
    print(f"{name}: {policy / GIB:.1f} GiB")
    assert policy == total

# %% [markdown]
# A command prints the whole answer for a model and a card:
#
#     python -m minireason.memory --model qwen2.5-7b --fits 80GiB
#
# It lists the lines, the largest first. The letters are sizes:
#
# | letter | what it counts |
# |---|---|
# | B | rows of a micro-batch: completions |
# | T | tokens of a row |
# | W | those of its tokens that belong to the completion |
# | L | layers (in other lessons: tokens of a completion) |
# | C | the width |
# | V | words of the vocabulary |
# | K | heads of keys |
# | D | numbers in a head |
# | 2 before L K D | keys and values |
# | 2 at the end | the 2 bytes of bfloat16 |
#
# For example, a layer keeps 440,320 bytes for each token. So the line `BT x L x 440,320` is 4 rows
# x 1,280 tokens x 28 layers x 440,320 bytes, which makes 58.79 GiB. `u` says that they are held
# while updating, `s` while sampling. *Moments* are the two
# running means that Adam keeps of each number. *Attention's weights* are the results of the
# softmax, and no parameters.
#
# Then it says what would make it fit. Each change has a price:
#
# | price | changes |
# |---|---|
# | 1 | the numbers stay the same: flash, fused, logits in pieces |
# | 2 | it takes time: checkpointing, micro-batches of 1 |
# | 5, 7, 10 | 8-bit Adam; without a master; LoRA |
#
# The prices are our opinion of how much a change disturbs the training. The command tries all
# combinations, and shows the one whose prices add up to the least, with the bytes that it leaves.

# %%
print("\n".join(fits.page("qwen2.5-7b", shape, Plan(), 80 * GIB)))

# %% [markdown]
# Can we believe it? Others have published the peaks that they measured, with their settings. Beside
# each of them stands what our formulas say. (FSDP and DeepSpeed are libraries that spread a
# training over several cards; their buffers and buckets hold what the cards send each other. An
# *engine* is a separate program that samples.)

# %%
print("\n".join(published.page()))

# %% [markdown]
# ## What to see
#
# - "GRPO halves the memory" holds against one kind of PPO only: a separate critic in the same
#   graph. At our size such a PPO takes 1.96 times as much. Against a value layer on the policy's
#   body, GRPO saves next to nothing: 1.01 times.
# - Against a critic with a graph of its own, GRPO saves only what the critic holds: weights,
#   gradients and Adam. At our size this is 6%, because activations are 93% of the bytes.
# - With the shape of Llama-2-7B PPO takes (151 + 98) / 151 = 1.65 times as much. A critic adds 98
#   GiB, because it doubles weights, gradients and optimizer. It doubles neither the reference (12
#   GiB) nor the cache (40 GiB). The factor is near 2 only where nearly all that is held is held
#   twice. The activations of a micro-batch are smaller than the cache here. So they do not count at
#   the peak, and one graph or two makes no difference.
#   Newer models share keys between heads (lesson 03). Their cache is several times smaller, and
#   then activations decide again.
# - The second figure: the group takes the saving back. With the whole batch at once the saving ends
#   at 2 completions for each prompt (3 at 7B). In micro-batches it ends at 1319. At 7B it ends at
#   23, because there the cache of many long completions grows large.
# - Qwen2.5-7B on a card of 80 GiB: the optimizer is the largest line, so LoRA saves most. After
#   that the activations are the largest, and with flash all fits: it takes 52 GiB. So look at the
#   first line of your list. In large models it is the optimizer: try LoRA, 8-bit Adam or, with
#   several cards, ZeRO. In smaller models with long texts it is the activations, as for 1.5B in
#   exercise 4: try checkpointing, flash or smaller micro-batches.
# - The published peaks: 23 of 32 estimates are within 15% of the measurement, and all 23 are of
#   imitation. The three of RL are off by -20, +31 and +19%. So for RL take the answer as a first
#   guess.
#
# **The trap** is to compare PPO with one completion for each prompt and GRPO with one completion
# for each prompt. There is no group of 1: its only reward is its mean, so its advantage is 0, and
# `train.py` refuses it, unless `--rl-batch-baseline` takes the mean of the whole rollout instead.
# (With PPO it is fine: `--rl-num-prompts 384 --rl-group-size 1`. The progress bar then says `no
# signal=1` all the time, since a group of one always agrees.)
#
# ## What it does not show
#
# - Pipelines, in which each card has some of the layers, and matrices that are split over cards.
# - Tensors that wait in the CPU's memory.
# - A critic that is smaller than the policy.
# - Time: bytes are not seconds.
#
# ## Exercises
#
# 1. Turn the reference off in the 7B case (set `kl_coef=0` in `long`). Does the ratio in one graph
#    rise or fall?
# 2. With plain SGD instead of AdamW (`optimizer="sgd"`), what is left of the critic's weights,
#    gradients and optimizer in float32?
# 3. Halve num_kv_heads of the 7B model. Where does the saving end in micro-batches now, and why?
# 4. What is the smallest change that makes GRPO of qwen2.5-1.5b fit into 24 GiB? And with 4096 new
#    tokens?
#
# <details><summary>Solutions</summary>
#
# 1. It rises. The reference is in both columns, so without it the critic is a larger share.
# 2. Weights and gradients: 8 bytes for each number instead of 16.
# 3. At about twice the group. The cache is half as large, and the cache is what grows with the
#    group.
# 4. `python -m minireason.memory --model qwen2.5-1.5b --fits 24GiB` says: logits in pieces,
#    checkpointing and 8-bit Adam make 58.6 GiB 22.4. (With checkpointing only one layer keeps its
#    table of attention at a time, so flash saves little more.) With `--max-new-tokens 4096` it adds
#    micro-batches of 1, and at most 32 completions that are sampled at once (`--sampled-at-once`).
# </details>
