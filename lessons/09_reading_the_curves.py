# %% [markdown]
# # 9. Reading the curves
#
# Question: a run writes seven numbers a step. Which of them say that it is healthy, and what does illness
# look like?
#
# You need: lessons 05 and 07. Time: about a minute on a laptop's CPU.
#
#     reward             mean reward of the rollout: the goal, noisy
#     completion_length  tokens per completion, the end token included
#     entropy            -sum_v p(v) log p(v) of the next token, whole vocabulary: how much is still tried
#     zero_std_frac      share of groups with equal rewards: they teach nothing
#     approx_kl          k3 = x - 1 - log x, x = p / p_old: how far one rollout's updates moved the policy
#     clip_frac          share of tokens whose ratio left the leash
#     kl                 mean k3 to the reference, here the start: how far the whole run has moved
#
# None of them is read alone. The one equation to have in mind is that of a group without spread, whose G
# completions are each right with chance p: it comes with chance p^G + (1 - p)^G, so early (p near 0) and late
# (p near 1) alike.

# %%
import math
import os
import sys
from pathlib import Path
from types import SimpleNamespace

# Where to find `shared`: in this file's folder or, in a notebook, in the working folder or its lessons/.
FOLDER = Path(globals().get("__file__", "notebook")).resolve().parent
sys.path[:0] = [str(FOLDER), str(FOLDER / "lessons")]

import torch
from shared import show_figure

from minireason import grpo
from minireason.batch import Batch
from minireason.config import ModelConfig, RLConfig
from minireason.model import GPT
from minireason.rewards import World
from minireason.tools.plots import new_figure

FAST = os.environ.get("LESSON_FAST") == "1"
NUM_ITERATIONS = 4 if FAST else 60
SEEDS = range(1 if FAST else 3)

# %% [markdown]
# ## By hand
# Two tokens of ratio 1.5 and 0.9. k3: 1.5 - 1 - 0.405 = 0.095 and 0.9 - 1 + 0.105 = 0.005, mean 0.050. The
# leash is 0.8 to 1.28, so one of two left it. Then two groups of two, rewards 1 1 and 0 1: half of them have
# no spread. With p = 1/2 a group of 2 has none with chance 1/2, one of 16 with 2 / 2^16; with p = 0.02 it is
# 0.96 and 0.72.

# %%
logprobs, ones = torch.tensor([[1.5, 0.9]]).log(), torch.ones(1, 2)
_, metrics = grpo.compute_loss(logprobs, torch.zeros(1, 2), None, ones, ones, RLConfig())
assert abs(metrics["approx_kl"] - (0.5 - math.log(1.5) - 0.1 - math.log(0.9)) / 2) < 1e-6
assert metrics["clip_frac"] == 0.5
ids = torch.zeros(4, 3, dtype=torch.long)
mask = torch.tensor([[1.0, 0, 0], [1, 1, 0], [1, 1, 1], [1, 1, 0]])
rollout = Batch(ids=ids, prompt_lengths=torch.zeros(4, dtype=torch.long), completion_ids=ids,
                completion_mask=mask, old_logprobs=torch.zeros(4, 3), rewards=torch.tensor([1.0, 1, 0, 1]))
summary = rollout.summary(group_size=2)
assert (summary["reward"], summary["zero_std_frac"], summary["completion_length"]) == (0.75, 0.5, 2.0)
for p, G, by_hand in ((0.5, 2, 0.5), (0.5, 16, 2 / 2**16), (0.02, 2, 0.96), (0.02, 16, 0.72)):
    assert abs(p**G + (1 - p)**G - by_hand) < 0.005

# %% [markdown]
# ## Five runs
# A prompt says 1, 2 or 3, and a completion with as many 5s is paid. Each run sees 64 completions a step.

# %%
tokenizer = SimpleNamespace(encode_prompt=lambda text: [int(text), 4], eos_id=0, pad_id=0,
                            decode=lambda ids: "".join(map(str, ids)))


def draw_prompt(rng):
    return SimpleNamespace(prompt=rng.choice("123"))


def pay(problems, texts):
    return [float(text.count("5") == int(problem.prompt)) for problem, text in zip(problems, texts)]


world = World(draw_prompt, pay, tokenizer)
METRICS = ("reward", "completion_length", "entropy", "zero_std_frac", "approx_kl", "clip_frac", "kl")
ARMS = {"healthy": ({}, "#1b6ca8"), "rate x 33": ({"learning_rate": 0.1}, "#d1495b"),
        "rate / 30": ({"learning_rate": 1e-4}, "#999999"),
        "groups of 2": ({"num_prompts": 32, "group_size": 2}, "#e0a030"),
        "groups of 16": ({"num_prompts": 4, "group_size": 16}, "#5a9a5a")}
DEFAULTS = {"num_iterations": NUM_ITERATIONS, "num_prompts": 8, "group_size": 8, "max_new_tokens": 12,
            "learning_rate": 3e-3, "warmup_iterations": 1}


def run(settings, seed):
    """A row of METRICS for each iteration; nan where a step had nothing to learn from."""
    config = RLConfig(**DEFAULTS | settings)
    shape = ModelConfig(vocab_size=8, width=32, num_layers=2, mlp_width=64, max_length=32)
    policy, reference = GPT(shape).init_weights(seed), GPT(shape).init_weights(seed)
    rows = []
    for line in grpo.train(policy, reference, torch.optim.AdamW(policy.parameters()), world, config, seed):
        rows.append([line.get(name, math.nan) for name in METRICS])
    return rows


curves = {}                                                     # {arm: (seeds, iterations, metrics)}
for name, (settings, _) in ARMS.items():
    curves[name] = torch.tensor([run(settings, seed) for seed in SEEDS])


def print_row(title, cells):
    print(f"{title:18}" + "".join(f"{cell:>16}" for cell in cells))


for part, steps in (("first", slice(0, 10)), ("last", slice(-10, None))):
    print_row(f"{part} 10 steps", ARMS)
    for i, metric in enumerate(METRICS):
        print_row(metric, [f"{curve[:, steps, i].nanmean():.4g}" for curve in curves.values()])
    rewards_by_seed = []
    for curve in curves.values():
        rewards = curve[:, steps, 0].mean(1)
        rewards_by_seed.append(" ".join(f"{reward:.2f}" for reward in rewards))
    print_row("reward by seed", rewards_by_seed)
    print()

# %%
figure, axes = new_figure(2, 4, figsize=(9.6, 4.8))
for i, (axis, metric) in enumerate(zip(axes.flat, METRICS)):
    for name, (_, color) in ARMS.items():
        curve = curves[name][..., i].reshape(len(SEEDS), -1, 4).nanmean(2)      # (seeds, blocks of 4)
        x = 4 * torch.arange(curve.size(1)) + 2
        axis.plot(x, curve.T, color=color, lw=0.7, alpha=0.35)
        axis.plot(x, curve.nanmean(0), color=color, lw=1.8, label=name)
    axis.set_title(metric, fontsize=10)
    axis.spines[["top", "right"]].set_visible(False)
axes.flat[4].set_yscale("log")
axes.flat[7].axis("off")
axes.flat[7].legend(*axes.flat[0].get_legend_handles_labels(), frameon=False, fontsize=9, loc="center",
                    title=f"mean of 4 steps,\nseeds: {len(SEEDS)} (thin: each)")
show_figure(figure, "09_reading_the_curves")

# %% [markdown]
# ## Symptom and cause
#
# | symptom | cause |
# |---|---|
# | reward up, entropy slowly down, approx_kl 0.003 to 0.02, clip_frac a few percent | none: health |
# | approx_kl and clip_frac near 0.4 at once, reward below its start | rate far too high |
# | zero_std_frac near 1 with a low reward, gaps in entropy | all groups fail alike, as after such a rate |
# | completion_length runs to the limit | no end token: cut off, and paid as nothing |
# | approx_kl under 1e-4, clip_frac 0, entropy and length flat | rate far too low |
# | zero_std_frac near 0.8 with a low reward, all else healthy | groups too small, or problems too hard |
# | zero_std_frac up with a high reward | solved |
#
# - Groups of 2 waste most of their prompts early on (0.81 of them against 0.23 for groups of 16). The reward
#   at the end does not separate them: 3 seeds, and the ranges overlap.
# - One healthy seed of three falls back to 0.74 at the end. A single curve is one draw.
# - kl rises in every run that learns. It is the distance travelled, no illness; compare it with the reward it
#   bought.
# - clip_frac shrinks in all runs, and approx_kl plainly at "rate / 30": the learning rate decays to zero
#   as well.
#
# What it does not show: a long run of a large model, where entropy that is gone too early is the usual end.
#
# The trap: zero_std_frac of 1 is what both death and success look like. Entropy, approx_kl and clip_frac are
# missing then, because no group is left to train on. Only the reward tells them apart.
#
# ## Exercises
# 1. Which chance p makes a group of 8 least likely to have no spread? What does that say about choosing
#    problems?
# 2. Set num_epochs to 1 in `run`. Which two curves become useless as warnings, and why?
# 3. Give "rate x 33" a max_grad_norm of 0.01. Does it heal? (AdamW divides by the size of the gradient.)
#
# <details><summary>Solutions</summary>
#
# 1. p = 1/2: 2 / 2^8. Problems that are solved about half of the time teach most per sample.
# 2. approx_kl and clip_frac: with one update per rollout the ratio is 1 where they are measured.
# 3. Not by that: AdamW's step hardly depends on the gradient's length. The rate is what sets the step.
# </details>
