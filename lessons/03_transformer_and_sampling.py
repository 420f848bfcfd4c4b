# %% [markdown]
# # 3. A transformer, and how it speaks
#
# Question: what happens between a text and its next token? How is a whole completion drawn, many at a time,
# and what must be kept of it so that reinforcement learning can learn from it?
#
# You need: matrices, and lesson 01. Time: about ten seconds on a laptop's CPU.
#
#     out_t = sum_{s <= t} w_ts v_s        w_ts = softmax over s <= t of q_t . k_s / sqrt(D)      (attention)
#     q_t and k_s are turned by t and s times an angle: only t - s is left in q_t . k_s
#                                                                              (RoPE, arXiv:2104.09864)
#     p(token | before) = softmax(logits / temperature)
#     log p(y | x) = sum_t log p(y_t | x, y_1 .. y_t-1)              what a policy gradient is made of
#
# A query asks, keys say what is to be had, values are what is handed over. s <= t is the causal mask: nobody
# sees later.

# %%
import math
import os
import sys
import time
from pathlib import Path
from unittest.mock import patch

# Where to find `shared`: in this file's folder or, in a notebook, in the working folder or its lessons/.
FOLDER = Path(globals().get("__file__", "notebook")).resolve().parent
sys.path[:0] = [str(FOLDER), str(FOLDER / "lessons")]

import torch
from shared import show_figure

from minireason.config import ModelConfig, RLConfig
from minireason.inference import answer_all
from minireason.model import Attention, KVCache, rotate
from minireason.policy import completion_logprobs
from minireason.rewards import reasoning_world
from minireason.rollout import collect_rollout
from minireason.run import open_model
from minireason.sampling import generate, sampling_distribution
from minireason.stats import bootstrap_interval, pass_at_k
from minireason.tasks import test_problems
from minireason.tokenizer import get_tokenizer
from minireason.tools.plots import new_figure
from minireason.verifier import verify

FAST = os.environ.get("LESSON_FAST") == "1"
NUM_PROBLEMS = 4 if FAST else 100
NUM_SAMPLES = 2 if FAST else 4           # of each problem
TEMPERATURES = (0.5, 1.0) if FAST else (0.1, 0.4, 0.7, 1.0, 1.3, 1.6)
BATCHES = (1, 4) if FAST else (1, 16)
NUM_TOKENS = 8 if FAST else 40
model, tokenizer = open_model("pretrained", "rl")[0].requires_grad_(False), get_tokenizer()

# %% [markdown]
# ## By hand: one head, three positions
# Keys ln 1, ln 2, ln 3, values 6, 12, 0, and every query 2 with D = 4, so that q . k / sqrt(D) is the key.
# The softmax of logarithms is a share: weights 1 at first, then 1/3 2/3, then 1/6 2/6 3/6. The head hands
# over 6, then 2 + 8 = 10, then 1 + 4 + 0 = 5. Below a head whose matrices do nothing but pick these numbers,
# not turned by any position.

# %%
head = Attention(ModelConfig(width=4, num_heads=1, num_kv_heads=1)).requires_grad_(False)
head.qkv.weight.zero_()
head.out.weight.zero_()
query, key, value = head.qkv.weight.split(4)      # (4, C) each
query[0, 0] = 2.0
key[0, 1] = 1.0
value[0, 2] = 1.0
head.out.weight[0, 0] = 1.0
x = torch.tensor([[1, math.log(1), 6, 0], [1, math.log(2), 12, 0], [1, math.log(3), 0, 0]])       # (T, C)
mask = torch.full((3, 3), float("-inf")).triu(1)      # what cannot be looked at
output = head(x[None], torch.ones(3, 4), torch.zeros(3, 4), mask)
assert torch.allclose(output[0, :, 0], torch.tensor([6.0, 10.0, 5.0]))

# Positions: (1, 0) turned by a right angle is (0, 1).
turned = rotate(torch.tensor([[[[1.0, 0.0]]]]), torch.zeros(2), torch.tensor([-1.0, 1.0]))
assert torch.allclose(turned, torch.tensor([0.0, 1]))

# Query and key at 5 and 2 have the same product as at 105 and 102.
q, k = torch.randn(2, 1, 1, 1, model.config.head_size, generator=torch.Generator().manual_seed(0))


def product(t, s):
    """The query at position t times the key at position s."""
    turned_q = rotate(q, model.cos[t], model.sin[t])
    turned_k = rotate(k, model.cos[s], model.sin[s])
    return (turned_q * turned_k).sum().item()


assert abs(product(5, 2) - product(105, 102)) < 1e-4 < abs(product(5, 2) - product(5, 4))

# %% [markdown]
# ## Tokens, who looks where, and the cache
# A text is cut into ids. Attention's weights are what its softmax returns: there we look at them, in the
# model as it runs. Nothing lies right of the diagonal, and what comes later changes nothing before it.
#
# So keys and values of earlier tokens never change. They are kept, and a new token costs one position instead
# of all. Cached equals uncached, and who speaks beside it does not change what a row says.

# %%
text = tokenizer.encode_prompt("compute 7*7+8*3-9") + tokenizer.encode_tagged("<think>7*7=49 so 8*3=")
pieces = [tokenizer.decode([i]).replace("\n", "\\n") for i in text]
ids = torch.tensor([text])
softmax = torch.softmax
attention_maps = []                                                               # of each layer


def watched(scores, dim):
    """torch.softmax, and a note of what it returned."""
    weights = softmax(scores, dim)
    attention_maps.append(weights.view(1, -1, len(text), len(text)))              # (1, H, T, T)
    return weights


with patch("torch.softmax", watched):
    logits = model(ids)                                                           # (1, T, V)
looks = torch.cat(attention_maps, 1)[0]                                           # (layers * H, T, T)
assert torch.allclose(looks.sum(2), torch.ones(looks.shape[:2]), atol=1e-5)
assert looks.triu(1).abs().max() == 0
changed = model(torch.cat([ids[:, :-1], torch.tensor([tokenizer.encode("x")])], 1))
assert torch.allclose(logits[:, :-1], changed[:, :-1], atol=1e-4)
likeliest = tokenizer.decode([logits[0, -1].argmax().item()])
print(f"what comes next: {likeliest}, with p = {logits[0, -1].softmax(0).max():.3f}")

cache = KVCache(model.config, torch.tensor([5]), 5, len(text))
hidden = [model.hidden(ids[:, :5], cache)]                                        # reads five at once
hidden += [model.hidden(ids[:, t:t + 1], cache) for t in range(5, len(text))]     # then one by one
assert torch.allclose(model.head(torch.cat(hidden, 1)), logits, atol=1e-3)

for batch in BATCHES:
    prompts = [tokenizer.encode_prompt(f"compute {2 + i % 8}*7+8*3-9") for i in range(batch)]
    start = time.process_time()
    cached = generate(model, prompts, NUM_TOKENS, temperature=0).completion_ids   # (batch, NUM_TOKENS)
    uncached = torch.tensor(prompts)
    middle = time.process_time()
    for _ in range(NUM_TOKENS):                                                   # each token reads all anew
        uncached = torch.cat([uncached, model(uncached)[:, -1].argmax(-1, keepdim=True)], 1)
    end = time.process_time()
    speed_with = batch * NUM_TOKENS / (middle - start)
    speed_without = batch * NUM_TOKENS / (end - middle)
    print(f"{batch:3} rows: {speed_with:.0f} tokens in a CPU second with the cache, "
          f"{speed_without:.0f} without")
alone = generate(model, prompts[:1], NUM_TOKENS, temperature=0).completion_ids
assert torch.equal(cached[:1], alone) and torch.equal(uncached[:1, -NUM_TOKENS:], alone)

# %% [markdown]
# ## What was said, and how likely it was
# A rollout keeps the logprob of each drawn token. `completion_logprobs` computes them anew, all positions at
# once, with a gradient. The trap is the shift by one: the logits at position t speak of the token at t + 1.
# Without the shift a model is asked whether it would repeat the token that it just read. Nothing fails, and
# the loss is a number.

# %%
world = reasoning_world(tokenizer, {"arithmetic": (2,)}, {"arithmetic": 1.0})
config = RLConfig(num_prompts=4, group_size=2, max_new_tokens=60)
rollout = collect_rollout(model, None, world, config, seed=0, iteration=0)
logprobs, _ = completion_logprobs(model, rollout)
assert torch.allclose(logprobs * rollout.completion_mask, rollout.old_logprobs, atol=1e-3)

prompt = rollout.ids[0][:rollout.prompt_lengths[0]]
completion = rollout.completion_ids[0][rollout.completion_mask[0] == 1]
row = torch.cat([prompt, completion])
logprobs = model(row[None])[0].log_softmax(-1)                                    # (T, V)


def logprobs_from(position):
    """Logprobs of the completion's tokens (L,), read off the rows from `position` on."""
    rows = logprobs[position:][:len(completion)]
    return rows.gather(1, completion[:, None])[:, 0]


shifted, unshifted = logprobs_from(len(prompt) - 1), logprobs_from(len(prompt))
assert torch.allclose(shifted, rollout.old_logprobs[0, :len(completion)], atol=1e-3)
print(f"{tokenizer.decode(row)!r}: log p(y | x) = {shifted.sum():.2f} with the shift, "
      f"{unshifted.sum():.2f} without")

# %% [markdown]
# ## Hot and cold
# Logits ln 1, ln 2, ln 4: probabilities 1/7 2/7 4/7. Temperature 1/2 squares them: 1, 4, 16 over 21. top_p
# keeps the likeliest tokens until their mass reaches it: with 0.6 the 4/7 are not enough, so 2/7 comes along,
# and 1/7 is out.
#
# Then the shipped model after RL, on held-out sums of three terms. One sample is most often right when it is
# cold; several samples need variety. Training samples at 1: there the drawn distribution is the one whose
# gradient is taken.

# %%
logits = torch.tensor([[1.0, 2, 4]]).log()
BY_HAND = (      # (temperature, top_p, probabilities)
    (1.0, 1.0, [1 / 7, 2 / 7, 4 / 7]),
    (0.5, 1.0, [1 / 21, 4 / 21, 16 / 21]),
    (1.0, 0.6, [0, 1 / 3, 2 / 3]),
)
for temperature, top_p, probabilities in BY_HAND:
    computed = sampling_distribution(logits, temperature, top_p).exp()
    assert torch.allclose(computed, torch.tensor([probabilities]))

problems = []                                                                     # each NUM_SAMPLES times
for problem in test_problems("arithmetic", (2,), NUM_PROBLEMS, seed=1):
    problems += [problem] * NUM_SAMPLES
prompts = [problem.prompt for problem in problems]


def pass_at(counts, k):
    """(mean, low, high) of pass@k, from how many samples of each problem are right."""
    return bootstrap_interval([[pass_at_k(NUM_SAMPLES, count, k) for count in counts]])


scores = {}                                                                       # {temperature: {k: pass@k}}
for temperature in TEMPERATURES:
    answers = answer_all(model, tokenizer, prompts, 80, seed=1, temperature=temperature)
    right = torch.tensor([verify(problem, text).correct for problem, (text, _) in zip(problems, answers)])
    counts = right.view(-1, NUM_SAMPLES).sum(1).tolist()
    scores[temperature] = {k: pass_at(counts, k) for k in (1, NUM_SAMPLES)}
    distinct = len(set(answers)) / len(answers)
    print(f"temperature {temperature}:", end=" ")
    for k, (mean, low, high) in scores[temperature].items():
        print(f"pass@{k} {mean:.2f} [{low:.2f}, {high:.2f}],", end=" ")
    print(f"{distinct:.0%} of the completions are distinct")

# %%
figure, axes = new_figure(1, 2, figsize=(9, 3.4), width_ratios=(1.5, 1))
axes[0].imshow(looks[:, -1], cmap="Blues", aspect="auto", vmin=0)
axes[0].set_xticks(range(len(pieces)), pieces, fontsize=8, rotation=90)
layers = [f"layer {i + 1}" for i in range(model.config.num_layers)]
axes[0].set_yticks(range(0, len(looks), model.config.num_heads), layers)
axes[0].set_title("where each of the heads looks from the last =", fontsize=10)
for k, color in ((1, "#1b6ca8"), (NUM_SAMPLES, "#e0a030")):
    mean, low, high = torch.tensor([scores[temperature][k] for temperature in TEMPERATURES]).T
    error = torch.stack([mean - low, high - mean]).clamp(min=0)
    axes[1].errorbar(TEMPERATURES, mean, error, color=color, label=f"pass@{k}")
axes[1].set_title(f"{NUM_PROBLEMS} held-out sums, by temperature", fontsize=10)
axes[1].spines[["top", "right"]].set_visible(False)
axes[1].legend(frameon=False, fontsize=9)
show_figure(figure, "03_transformer_and_sampling")

# %% [markdown]
# ## What to see
# - Each row of the first panel is a head and sums to 1. Some look at the 3 just before, some at the 8, some
#   at the * between.
# - Cold samples repeat each other: at 0.1 four are worth one. pass@1 falls with the temperature long before
#   pass@4 does.
# - The cache saves work that grows with the length of the text; many rows at a time save the overhead of each
#   call.
# - What it does not show: why a head looks where it does, and the MLP, which holds most of the weights.
#
# ## Exercises
# 1. Without its positions, what could the model not tell apart in `3-8`?
# 2. A rollout is drawn with top_p 0.9, and trained on `completion_logprobs`. Why is the ratio of the first
#    update not 1?
# 3. Move the causal mask by one, so that token t sees t + 1. What would the training loss do, and what would
#    sampling do?
#
# <details><summary>Solutions</summary>
#
# 1. Which number comes first: what stands before a token is a bag. Over several layers the mask still tells a
#    little.
# 2. Truncation divides what is kept by its mass, so old logprobs are higher than those of the full
#    distribution.
# 3. The loss would fall to almost nothing, as the answer is in the input. Sampling has no t + 1 to look at:
#    nonsense.
# </details>
