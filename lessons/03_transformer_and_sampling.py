# %% [markdown]
# # 3. A transformer, and how it speaks
#
# Question: what happens between a text and its next token? How is a whole completion written? And
# what must be kept of it, so that reinforcement learning can learn from it?
#
# You need: matrices, and lesson 01. Time: half a minute on a laptop's CPU.
#
# A transformer is the model that gives each next token its probability. Its last step works like
# this. Each token that could come next gets a score, a *logit*, which may be any number. *Softmax*
# makes probabilities of the logits: it takes the exponential of each, and divides by their sum. So
# all are positive, and their sum is 1.
#
# Before that, positions have to exchange information. The part that does this is called
# *attention*, and this lesson looks at it first. Here is the whole path, from top to bottom. (Each
# part of a block adds what it finds to the vector of its position.)
#
#     text             compute 7*7
#     tokens           each piece of text gets its number
#     embedding        each number gets a vector that was learned
#     four blocks      attention: each position takes information from earlier positions
#                      MLP: a small network works on each position by itself
#     logits           a score for each token that could come next
#     softmax          makes probabilities of the scores
#     draw             one token is drawn and appended; then everything starts again

# %%
import os
import sys
import time
from pathlib import Path
from unittest.mock import patch

# Where to find `shared`: in this file's folder or, in a notebook, in the working folder or its lessons/.
FOLDER = Path(globals().get("__file__", "notebook")).resolve().parent
sys.path[:0] = [str(FOLDER), str(FOLDER / "lessons")]

import torch
from shared import error_bars, label, show_figure

from minireason import sft
from minireason.cache import KVCache
from minireason.config import RLConfig
from minireason.inference import answer_all
from minireason.model import rotate
from minireason.policy import completion_logprobs
from minireason.rewards import reasoning_world
from minireason.rollout import collect_rollout
from minireason.run import open_model
from minireason.sampling import generate, sampling_logprobs
from minireason.stats import bootstrap_interval, pass_at_k
from minireason.tasks import test_problems
from minireason.tokenizer import get_tokenizer
from minireason.tools.plots import new_figure
from minireason.verifier import verify

FAST = os.environ.get("LESSON_FAST") == "1"
NUM_PROBLEMS = 4 if FAST else 100
NUM_SAMPLES = 2 if FAST else 4           # completions of each problem
TEMPERATURES = (0.5, 1.0) if FAST else (0.1, 0.4, 0.7, 1.0, 1.3, 1.6)
NUM_TOKENS = 8 if FAST else 40

# %% [markdown]
# ## By hand: attention on three positions
#
# Attention works with three vectors for each position. Three matrices, which were learned, make
# them of the vector that the position has. The *query* says what this position looks for. The *key*
# says what a position has to offer. The *value* is what it hands over. Query and key are compared
# by their product: the larger it is, the more of the value is taken.
#
#     weight of position s  =  softmax over s of  query . key_s / sqrt(D)      (D: length of a key)
#     output                =  sum over s of  weight_s * value_s
#
# Position t may look only at itself and at what came before. This is the *causal mask*. Without it,
# the model could look at the very token that it has to predict.
#
# In the example the scores are ln 1, ln 2, ln 3 and the values 6, 12, 0. Exponentials of logarithms
# are the numbers themselves, so softmax gives shares: position 1 sees only itself and outputs 6.
# Position 2 weighs 1/3 and 2/3, so it outputs 2 + 8 = 10. Position 3 weighs 1/6, 2/6 and 3/6, so it
# outputs 5, which is 1 + 4 + 0.

# %%
scores = torch.tensor([1.0, 2.0, 3.0]).log().repeat(3, 1)      # (3, 3): a row for each position
values = torch.tensor([6.0, 12.0, 0.0])
causal_mask = torch.full((3, 3), float("-inf")).triu(1)        # -inf right of the diagonal
weights = torch.softmax(scores + causal_mask, dim=1)
print(weights)
print("outputs:", weights @ values)
assert torch.allclose(weights @ values, torch.tensor([6.0, 10.0, 5.0]))

# %% [markdown]
# The code of the model does the same for all heads at once. A *head* is one such attention, with
# its own queries, keys and values. Each block, also called layer, has several. The letters are
# sizes:
#
#     B   texts                   H   heads                       N   positions to look at
#     T   positions               K   heads of keys and values    L   tokens of a completion
#     C   numbers in a vector     D   numbers in a key            V   words of the vocabulary
#
# K is smaller than H, since several heads share keys and values, which saves memory. Read the code
# as if K were H. Find the lines of the example: the scores, the mask, the softmax, and the product
# with the values.
#
# <!-- From minireason/model.py: Attention.forward -->
# ```python
# def forward(self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, mask: torch.Tensor,
#             cache: KVCache | None = None, layer: int = 0) -> torch.Tensor:
#     B, T, C = x.shape
#     H, K, D = self.config.num_heads, self.config.num_kv_heads, self.config.head_size
#     qkv = self.qkv(x).view(B, T, H + 2 * K, D).transpose(1, 2)              # (B, H + 2K, T, D)
#     qk, v = qkv.split((H + K, K), dim=1)                                    # v (B, K, T, D)
#     q, k = rotate(qk, cos, sin).split((H, K), dim=1)                        # (B, H, T, D), (B, K, T, D)
#     if cache is not None:
#         k, v = cache.put(layer, k, v)           # (B, K, T, D) of the prompts, later (B, K, N, D) of all
#
#     # Written out: F.scaled_dot_product_attention was not faster on CPUs (tests/benchmarks/README.md).
#     # Heads that share a key are stacked along T, so that one product serves them all. The plain form is
#     # k, v = (x.repeat_interleave(H // K, dim=1) for x in (k, v)), and a mask of (T, N) for every head.
#     q = q.reshape(B, K, -1, D) / math.sqrt(D)                               # (B, K, H/K * T, D)
#     # the mask's last two sizes are (H/K * T, N) or (1, N): NEVER where a query must not look
#     scores = (q @ k.transpose(2, 3)).add_(mask)                             # (B, K, H/K * T, N)
#     y = torch.softmax(scores, dim=-1) @ v                                   # (B, K, H/K * T, D)
#     y = y.view(B, H, T, D).transpose(1, 2).reshape(B, T, C)                 # heads side by side
#     return self.out(y)
# ```
# <!-- End of excerpt -->
#
# One step is new: `rotate`. It is there because nothing in the example says in which order the
# positions stand. `rotate` takes the numbers of a query or a key in pairs. Each pair is a point in
# a plane, and the plane is turned by an angle that grows with the position. Then the product of
# query and key depends on how far apart two positions are, and not on where they stand (RoPE,
# arXiv:2104.09864).
#
# (For the curious, the heads that share: take H = 4 heads of queries and K = 2 heads of keys. Heads
# 1 and 2 use the same keys. So the code puts the T queries of head 1, a matrix (T, D), and those of
# head 2 below each other, into one matrix (2T, D), and one product with the N keys serves both.)

# %%
model = open_model("pretrained", "rl")[0].requires_grad_(False)      # the included model, after RL
tokenizer = get_tokenizer()
generator = torch.Generator().manual_seed(0)
query, key = torch.randn(2, 1, 1, 1, model.config.head_size, generator=generator)


def product(t, s):
    """The query at position t times the key at position s."""
    rotated_query = rotate(query, model.cos[t], model.sin[t])
    rotated_key = rotate(key, model.cos[s], model.sin[s])
    return (rotated_query * rotated_key).sum().item()


for t, s in ((5, 2), (105, 102), (5, 4)):
    print(f"query at {t:3}, key at {s:3}: product {product(t, s):.4f}")
assert abs(product(5, 2) - product(105, 102)) < 1e-4 < abs(product(5, 2) - product(5, 4))

# %% [markdown]
# ## A distance that no text had
#
# Rotation has a price. The texts that a model imitates are short. Later, RL makes thoughts longer
# than any of them. Then the prompt is further away than it ever was, and the angle between the two
# is new. A model that was trained without a remedy misread its prompt there: after RL, at the
# seventh try of a thought, half of its moves had wrong numbers ([the
# results](results/C12.md#distance)). The included model was trained with the remedy that
# follows.
#
# The way out needs no long texts. In a quarter of the texts, imitation skips some positions between
# the prompt and the completion: a *gap*. The text is as short as before, but its positions say that
# the prompt is as far away as in a long thought. Below, a prompt of four tokens and a completion of
# three have a gap of 90: the completion begins at position 94 instead of 4. There is one gap only,
# between prompt and completion. So neighbours in the completion, such as the digits of a sum, keep
# their distance of 1. A quarter of the texts is enough, and the base learns all else as well as
# before. Large models learn such distances in another way: they read longer texts at the end of
# their pretraining.

# %%
one_example = ([1, 2, 3, 4], [5, 6, 7], 90)      # prompt, completion, gap
print(sft.positions_of([one_example], length=7, max_length=model.config.max_length))

# %% [markdown]
# ## Where the model looks
#
# Now the real model reads the beginning of a thought. We want to see its attention weights, which
# are what `torch.softmax` returns inside it. So we put another function in its place for a moment:
# it calls the real one, and notes the result.

# %%
ids = tokenizer.encode_prompt("compute 7*7+8*3-9")
ids += tokenizer.encode_tagged("<think>7*7=49 so 8*3=")
# A line break is shown as \n, and a space as an open box.
pieces = [tokenizer.decode([i]).replace("\n", "\\n").replace(" ", "\u2423") for i in ids]
print(len(ids), "tokens:", pieces)
real_softmax = torch.softmax
noted = []      # the weights of each layer


def noting_softmax(scores, dim):
    weights = real_softmax(scores, dim)
    noted.append(weights.view(-1, len(ids), len(ids)))            # (heads, T, T)
    return weights


with patch("torch.softmax", noting_softmax):
    logits = model(torch.tensor([ids]))                           # (1, T, V)
weights = torch.cat(noted)                                        # (all heads, T, T)
assert weights.triu(1).abs().max() == 0                           # nobody looks at later positions
assert torch.allclose(weights.sum(2), torch.ones(weights.shape[:2]), atol=1e-5)

probabilities = logits[0, -1].softmax(0)
best = probabilities.argmax().item()
print(f"after 8*3= comes {tokenizer.decode([best])}, with probability {probabilities[best]:.3f}")

# %% [markdown]
# ## How text is cut
#
# The printed pieces show it. There are 591 different tokens. A digit is a token of its own: so
# the model calculates digit by digit, as on paper, and needs no name for each number. A word
# takes the spaces around it along, which makes thoughts a sixth shorter. So `try c 70-10=60` is
# `try `, `c `, and then digit by digit. The line break behind a prompt says where it ends. The
# one before it protects the first number: the first token of a row can attend to nothing but
# itself, and a number that stood there was often copied wrong. A word that the tokenizer does not
# know is cut into shorter words and letters, so every text can be written in tokens.
#
# ## The cache
#
# Because of the causal mask, a later token changes nothing at earlier positions. So their keys and
# values can be kept, in a *cache*. A new token then costs the work of one position instead of all.
# A step of training changes the weights, and with them all keys and values. So a cache is of no use
# after a step of training. We check that the logits are the same with a cache, and measure what it
# saves.

# %%
row = torch.tensor([ids])
# One prompt of 5 tokens, 5 in the longest prompt too, and room for the whole text.
cache = KVCache(model.config, torch.tensor([5]), 5, len(ids))
hidden = [model.hidden(row[:, :5], cache)]
for t in range(5, len(ids)):
    hidden.append(model.hidden(row[:, t:t + 1], cache))           # and then one at a time
assert torch.allclose(model.head(torch.cat(hidden, 1)), logits, atol=1e-3)

prompts = [tokenizer.encode_prompt(f"compute {first}*7+8*3-9") for first in range(2, 10)]
start = time.process_time()
with_cache = generate(model, prompts, NUM_TOKENS, temperature=0).completion_ids
seconds_with = time.process_time() - start

start = time.process_time()
texts = torch.tensor(prompts)
for _ in range(NUM_TOKENS):                                       # each new token reads all again
    texts = torch.cat([texts, model(texts)[:, -1].argmax(-1, keepdim=True)], 1)
seconds_without = time.process_time() - start
assert torch.equal(with_cache, texts[:, -NUM_TOKENS:])
num_tokens = len(prompts) * NUM_TOKENS
print(f"tokens in a CPU second: {num_tokens / seconds_with:.0f} with the cache, "
      f"{num_tokens / seconds_without:.0f} without")

# %% [markdown]
# ## What RL keeps of a completion
#
# Each drawn token had a probability. Its logarithm is the token's *logprob*. The logprobs of a
# completion add up to the logarithm of its probability:
#
#     log p(completion | prompt) = sum over t of  log p(token_t | prompt and the tokens before t)
#
# One iteration of RL begins with a *rollout*: all completions of that iteration, with their
# rewards. These fields of a rollout are what the next lessons learn from:
#
#     ids                prompt and completion of each row, filled up at the right
#     completion_ids     the tokens that were drawn
#     completion_mask    1 for a drawn token, 0 for what only fills the row
#     old_logprobs       the logprob of each drawn token, when it was drawn
#     rewards            a number for each completion
#
# The filling does no harm: no token looks to the right, and the mask leaves it out of the loss.
# (While texts are written, short prompts are filled up at the left instead, so that all rows go
# on in the same column. That moves a whole row. No distance changes, so no probability does.) The
# *end token* closes a completion. It was drawn like any other, so its mask is 1: else nothing
# would teach the model when to stop.
#
# A completion that is cut off before its end token has the reward 0 in RL, even if its answer is
# there and right. So the model learns to come to an end. (Held-out scores look at the text alone,
# so there such an answer counts.)
#
# The logprobs are needed twice. At the draw they are a number. For a training step they are
# computed again, this time with a gradient. One pass through the model is enough for all positions:
# all tokens are known by now, and the mask lets no position look ahead.
#
# Before the first update both logprobs of a token are the same, but for rounding, since the same
# model reads the same tokens. (Large trainers often sample with a separate program that rounds
# otherwise, or has older weights. There the two differ from the start, so such trainers compute the
# old logprobs once more, or correct for the difference.)
#
# Four names in the code below:
#
# - The *hidden state* of a position is its vector after the last block and the last norm.
# - `head` is here the last layer of the model, which makes logits of a hidden state.
# - `gather` takes hidden[b, positions[b]] of each row b.
# - `padded_hidden` is about speed. Read past it, and past `kernels` and `parallel` later.
#
# The second result of `completion_logprobs` is for the curves of lesson 09.
#
# <!-- From minireason/policy.py: completion_hidden -->
# ```python
# def completion_hidden(model: GPT, batch: Batch) -> torch.Tensor:
#     """Hidden states (B, L, C) that predict the completion tokens: each is one position before its token."""
#     B, L = batch.completion_ids.shape
#     hidden = padded_hidden(model, batch.ids)                                        # (B, T or more, C)
#     # token t of a completion is at position prompt_length + t, and was predicted at the position before
#     positions = batch.prompt_lengths[:, None] - 1 + torch.arange(L, device=hidden.device)   # (B, L)
#     return hidden.gather(1, positions[..., None].expand(B, L, hidden.size(-1)))
# ```
# <!-- End of excerpt -->
#
# <!-- From minireason/policy.py: completion_logprobs -->
# ```python
# def completion_logprobs(model: GPT, batch: Batch, temperature: float = 1.0,
#                         hidden: torch.Tensor | None = None,
#                         entropy_gradient: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
#     """Returns (logprobs (B, L), entropy (B, L)) at the temperature that was sampled with.
#
#     `hidden` (B, L, C) saves a pass where `completion_hidden` was called already.
#     The entropy is the exact one, over the whole vocabulary. It carries a gradient only with
#     `entropy_gradient`: the gradient costs memory, and only an entropy bonus needs it.
#     """
#     if hidden is None:
#         hidden = completion_hidden(model, batch)                                    # (B, L, C)
#     # `head` is linear, so this divides the logits by the temperature: the same, with fewer numbers to divide
#     logits = model.head(hidden / temperature)                                       # (B, L, V)
#     all_logprobs = torch.log_softmax(logits, dim=-1)                                # (B, L, V)
#     logprobs = all_logprobs.gather(2, batch.completion_ids[..., None])[..., 0]      # (B, L)
#     with torch.set_grad_enabled(entropy_gradient):
#         entropy = -(all_logprobs.exp() * all_logprobs).sum(-1)                      # (B, L)
#     return logprobs, entropy
# ```
# <!-- End of excerpt -->

# %%
world = reasoning_world(tokenizer, {"arithmetic": (2,)}, {"arithmetic": 1.0})
config = RLConfig(num_prompts=4, group_size=2, max_new_tokens=60)
rollout = collect_rollout(model, None, world, config, seed=0, iteration=0)
logprobs, _ = completion_logprobs(model, rollout)
print(f"{len(rollout)} completions, rewards {rollout.rewards.tolist()}")
print(f"the first: {rollout.problems[0].prompt}, {rollout.completions[0]}")
assert torch.allclose(logprobs * rollout.completion_mask, rollout.old_logprobs, atol=1e-3)

# %% [markdown]
# ## The trap: the shift by one
#
# The logits at position t speak about the token at t + 1. So the first token of a completion is
# judged by the last position of the prompt. Without the shift you would read how likely it is that
# a token follows itself. There would be no error. The number would just be wrong.

# %%
num_prompt = rollout.prompt_lengths[0]
completion = rollout.completion_ids[0][rollout.completion_mask[0] == 1]
text = torch.cat([rollout.ids[0][:num_prompt], completion])
distribution = model(text[None])[0].log_softmax(-1)               # (T, V)


def logprobs_from(position):
    """The logprobs of the completion's tokens, if the first is judged by this position."""
    rows = distribution[position:position + len(completion)]
    return rows.gather(1, completion[:len(rows), None])[:, 0]


print(f"log p(completion): {logprobs_from(num_prompt - 1).sum():.2f}")
print(f"without the shift: {logprobs_from(num_prompt).sum():.2f}")
old_logprobs = rollout.old_logprobs[0, :len(completion)]
assert torch.allclose(logprobs_from(num_prompt - 1), old_logprobs, atol=1e-3)

# %% [markdown]
# ## Temperature
#
# Before the softmax, the logits are divided by the *temperature*. Temperature 1 leaves them as they
# are. A lower one makes the likely tokens likelier, and a higher one makes all tokens more alike.
#
# By hand: logits ln 1, ln 2, ln 4 have the probabilities 1/7, 2/7, 4/7. Temperature 1/2 doubles the
# logits, which squares the exponentials: 1, 4, 16, so the probabilities are 1/21, 4/21, 16/21.

# %%
logits = torch.tensor([[1.0, 2.0, 4.0]]).log()
for temperature, by_hand in ((1.0, [1 / 7, 2 / 7, 4 / 7]), (0.5, [1 / 21, 4 / 21, 16 / 21])):
    probabilities = sampling_logprobs(logits, temperature, top_p=1.0).exp()
    print(f"temperature {temperature}: {probabilities}")
    assert torch.allclose(probabilities, torch.tensor([by_hand]))

# %% [markdown]
# The included model answers held-out sums at several temperatures. We ask for pass@1 and for
# pass@4.

# %%
problems = []                                                     # each one NUM_SAMPLES times
for problem in test_problems("arithmetic", (2,), NUM_PROBLEMS, seed=1):
    problems += [problem] * NUM_SAMPLES
prompts = [problem.prompt for problem in problems]
pass_at_1, pass_at_all = [], []      # (mean, low, high) of each temperature
for temperature in TEMPERATURES:
    answers = answer_all(model, tokenizer, prompts, 80, seed=1, temperature=temperature)
    right = [verify(problem, text).correct for problem, (text, _) in zip(problems, answers)]
    counts = torch.tensor(right).view(-1, NUM_SAMPLES).sum(1).tolist()
    pass_at_1.append(bootstrap_interval([[count / NUM_SAMPLES for count in counts]]))
    several = [pass_at_k(NUM_SAMPLES, count, NUM_SAMPLES) for count in counts]
    pass_at_all.append(bootstrap_interval([several]))
    num_distinct = len(set(answers))
    print(f"temperature {temperature}: pass@1 {pass_at_1[-1][0]:.2f}, pass@{NUM_SAMPLES} "
          f"{pass_at_all[-1][0]:.2f}, {num_distinct} of {len(answers)} completions are distinct")

# %% [markdown]
# ## The figure: `03_transformer_and_sampling`
#
# On the left each row is one head, and each column one token of the text. The row says where this
# head looks from the last token, the second `=`: the darker, the more. Look for rows with one dark
# field. On the right follow the two curves from cold (left) to hot, and see which one falls first.

# %%
figure, axes = new_figure(1, 2, figsize=(9.6, 4.2), width_ratios=(1.7, 1))
image = axes[0].imshow(weights[:, -1].numpy(), cmap="Blues", aspect="auto", vmin=0, vmax=1)
scale = figure.colorbar(image, ax=axes[0])
scale.set_label("attention weight", fontsize=9)
scale.ax.tick_params(labelsize=8)
label(axes[0], "where each head looks from the last =", "token", "head (layer.head)")
axes[0].set_xticks(range(len(pieces)), pieces, fontsize=8, rotation=90)
heads = []
for layer in range(model.config.num_layers):
    heads += [f"{layer + 1}.{head + 1}" for head in range(model.config.num_heads)]
axes[0].set_yticks(range(len(heads)), heads, fontsize=8)
ONE, ALL = "one answer (pass@1)", f"any of {NUM_SAMPLES} (pass@{NUM_SAMPLES})"
for name, intervals, color in ((ONE, pass_at_1, "#1b6ca8"), (ALL, pass_at_all, "#e0a030")):
    middles, errors = error_bars(intervals)
    axes[1].errorbar(TEMPERATURES, middles, errors, color=color, capsize=3, label=name)
axes[1].set(xticks=TEMPERATURES, ylim=(0, 1.05))
label(axes[1], f"{NUM_PROBLEMS} held-out sums", "temperature", "share that is right")
show_figure(figure, "03_transformer_and_sampling")

# %% [markdown]
# ## What to see
#
# - Left: the model is about to write the result of `8*3`. Several heads look at just one of the
#   last tokens: the two digits, or the sign between them (two heads of the first layer look at the
#   word `so` before them). Together they carry what a multiplication needs. Other rows are pale,
#   because their head spreads its weight over many tokens.
# - Right: a single completion is best when it is cold. Hot completions take unlikely tokens, and
#   one wrong token spoils an answer. But cold completions are copies of each other: at temperature
#   0.1 only 101 of the 400 completions of 100 problems are distinct. So pass@1 and pass@4 are both
#   0.98. At temperature 1 pass@1 is 0.95, and pass@4 is 0.99. These sums are easy, so the gain is
#   small; in countdown it is larger (lesson 13).
# - Training draws at temperature 1. Colder draws would be copies, and a group of copies has no
#   differences to learn from. Hotter draws are wrong more often. (At any other temperature the
#   logprobs that learn have to be of that temperature, too: lesson 10 shows what happens else.)
#
# ## What it does not show
#
# - Why a head looks where it does. We see only that it does.
# - The MLP, which holds most of the weights. It works on one position at a time, so there is
#   nothing to see between positions. `minireason/model.py` has it in a few lines.
#
# ## Exercises
#
# 1. Without `rotate`, what could the model not tell apart in `3-8`?
# 2. Draw with `top_p=0.6` from the logits ln 1, ln 2, ln 4 (by hand, or with
#    `sampling_logprobs(logits, 1.0, top_p=0.6).exp()`). It keeps the likeliest tokens until their
#    probabilities reach 0.6, and divides by their sum. What comes out? Why does training with such
#    a draw need care?
# 3. (To think about.) Suppose the causal mask is moved by one, so that position t sees t + 1. What
#    does the training loss do, and what does the model write?
#
# <details><summary>Solutions</summary>
#
# 1. Which number comes first. Without positions, what stands before a token is a bag of tokens.
#    (Over several layers, the causal mask still tells a little.)
# 2. 4/7 is below 0.6, so 2/7 is kept too, and 1/7 is dropped: 0, 1/3, 2/3. The drawn tokens are
#    then likelier than the model says: they were drawn with 1/3 and 2/3, and `old_logprobs` holds
#    these. `completion_logprobs` computes 2/7 and 4/7, so the two logprobs differ before any
#    update. And what is never drawn can never be rewarded.
# 3. The loss falls to almost nothing, since the answer is in the input. When it writes, there is no
#    t + 1 to look at, so the model writes nonsense.
# </details>
