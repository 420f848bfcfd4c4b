# %% [markdown]
# # 7. GRPO is a diff
#
# Question: GRPO drops the critic of lesson 06. What exactly is different, what does it cost, and what does it
# bring?
#
# You need: lessons 05 and 06. Time: about a minute on a laptop's CPU.
#
# G completions of one prompt, with rewards r_1 .. r_G. Each token of completion i gets the same advantage:
#
#     A_i = (r_i - mean(r)) / (std(r) + eps)             arXiv:2402.03300; std with G - 1, eps 1e-4
#
# The group is its own critic. Everything else is PPO, so the best explanation is the diff of the two files.

# %%
import difflib
import inspect
import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace

# Where to find `shared`: in this file's folder or, in a notebook, in the working folder or its lessons/.
FOLDER = Path(globals().get("__file__", "notebook")).resolve().parent
sys.path[:0] = [str(FOLDER), str(FOLDER / "lessons")]

import torch
from shared import show_figure

from minireason import grpo, ppo
from minireason.config import ModelConfig, RLConfig
from minireason.model import GPT
from minireason.policy import Critic
from minireason.rewards import World
from minireason.tools.plots import new_figure

FAST = os.environ.get("LESSON_FAST") == "1"
NUM_ITERATIONS = 4 if FAST else 50
SEEDS = range(2 if FAST else 5)

# %% [markdown]
# ## By hand
# Rewards 1 0 0 1: mean 1/2, std sqrt(4 * 1/4 / 3) = 0.577, advantages +-0.866. Rewards 1 0 0 0: mean 1/4, std
# 1/2, advantages 1.5 and -0.5. Without the std: +-1/2, and 3/4 and -1/4. Against the others (RLOO): 2/3, and
# 1 and -1/3.

# %%
rewards = torch.tensor([[1.0, 0, 0, 1], [1, 0, 0, 0]])
BY_HAND = (      # (flags, advantages)
    ({}, [[0.866, -0.866, -0.866, 0.866], [1.5, -0.5, -0.5, -0.5]]),
    ({"scale": False}, [[0.5, -0.5, -0.5, 0.5], [0.75, -0.25, -0.25, -0.25]]),
    ({"scale": False, "leave_one_out": True}, [[2 / 3, -2 / 3, -2 / 3, 2 / 3], [1, -1 / 3, -1 / 3, -1 / 3]]),
)
for flags, advantages in BY_HAND:
    assert torch.allclose(grpo.group_advantages(rewards, **flags), torch.tensor(advantages), atol=1e-3)

# %% [markdown]
# ## The diff, as the files are now

# %%
ppo_lines = inspect.getsource(ppo).splitlines()
grpo_lines = inspect.getsource(grpo).splitlines()
print("\n".join(difflib.unified_diff(ppo_lines, grpo_lines, "ppo.py", "grpo.py", lineterm="", n=0)))
blocks = difflib.SequenceMatcher(None, ppo_lines, grpo_lines, autojunk=False).get_matching_blocks()
num_equal = sum(block.size for block in blocks)
share = 1 - 2 * num_equal / (len(ppo_lines) + len(grpo_lines))
print(f"\nppo.py {len(ppo_lines)} lines, grpo.py {len(grpo_lines)}; "
      f"{share:.0%} of the lines differ, words and all\n")

# %% [markdown]
# Four differences make two algorithms, and two smaller ones: PPO whitens over the batch where GRPO divides in
# each group, and only GRPO leaves out groups without spread. In a reward the KL's value counts, so k1 serves;
# in a loss its gradient does, and k1's is 0 on average: so k3. The lines below are looked up, so that this
# table cannot grow old.

# %%
DIFFERENCES = {   # name: (the line in ppo.py, the line in grpo.py)
    "the baseline": ("delta = token_rewards[:, t] + gamma * next_value - values[:, t]",
                     "advantages = rewards - rewards.mean(1, keepdim=True)"),
    "the spread of credit": ("running = (delta + gamma * gae_lambda * running) * mask[:, t]",
                             "rollout.advantages = advantages.view(-1, 1) * mask"),
    "where the KL goes": (
        "token_rewards -= config.kl_coef * k1(rollout.old_logprobs, rollout.ref_logprobs) * mask",
        "loss = policy_loss + config.kl_coef * kl_loss"),
    "the value loss": ("loss = policy_loss + config.value_coef * value_loss", None)}


def print_line(file, line, source, other):
    """Looks a line up in `source`, where it stands once, and in `other`, where it does not stand."""
    if line is None:
        print(f"    {file:7} {'':>3}  (none)")
        return
    code = [text.split("   #")[0].strip() for text in source]          # without the comments
    assert code.count(line) == 1
    assert not any(text.strip().startswith(line) for text in other)
    print(f"    {file:7} {code.index(line) + 1:>3}  {line}")


for name, (ppo_line, grpo_line) in DIFFERENCES.items():
    print(f"{name}:")
    print_line("ppo.py", ppo_line, ppo_lines, grpo_lines)
    print_line("grpo.py", grpo_line, grpo_lines, ppo_lines)

# %% [markdown]
# ## Both, from the same weights, on as many samples
# The world of lessons 05 and 10: after a 1 a completion with a 3 is paid, after a 2 one without. A seed gives
# the same weights, the same prompts and the same first 64 completions to all. Flags make Dr. GRPO and RLOO.

# %%
tokenizer = SimpleNamespace(encode_prompt=lambda text: [int(text), 4], eos_id=0, pad_id=0,
                            decode=lambda ids: "".join(map(str, ids)))


def draw_prompt(rng):
    return SimpleNamespace(prompt=rng.choice("12"))


def pay(problems, texts):
    return [float(("3" in text) == (problem.prompt == "1")) for problem, text in zip(problems, texts)]


world = World(draw_prompt, pay, tokenizer)
ARMS = {"ppo": {}, "grpo": {},
        "grpo, no std (Dr. GRPO)": {"scale_advantages": False, "normalize": "constant"},
        "grpo, RLOO": {"scale_advantages": False, "leave_one_out": True}}


def run(name, seed, num_iterations=NUM_ITERATIONS):
    """[(reward, seconds of this process so far)] of each iteration."""
    config = RLConfig(num_iterations=num_iterations, num_prompts=8, group_size=8, max_new_tokens=8,
                      learning_rate=3e-3, critic_learning_rate=3e-3, warmup_iterations=1, **ARMS[name])
    shape = ModelConfig(vocab_size=8, width=32, num_layers=2, mlp_width=64, max_length=32)
    policy = GPT(shape).init_weights(seed)
    if name == "ppo":
        critic = Critic(policy)
        optimizer = torch.optim.AdamW([{"params": policy.parameters()}, {"params": critic.parameters()}])
        lines = ppo.train(policy, critic, None, optimizer, world, config, seed)
    else:
        lines = grpo.train(policy, None, torch.optim.AdamW(policy.parameters()), world, config, seed)
    start = time.process_time()
    return [(line["reward"], time.process_time() - start) for line in lines]


for name in ARMS:
    run(name, 0, 2)                                             # torch's first calls are slow: not counted
curves = {}                                                     # {arm: (seeds, iterations, 2)}
for name in ARMS:
    curves[name] = torch.tensor([run(name, seed) for seed in SEEDS])
for curve in curves.values():
    assert torch.equal(curve[:, 0, 0], curves["ppo"][:, 0, 0])  # the first rollout is the same in all
for name, curve in curves.items():
    means, seconds = curve[..., 0].mean(1), curve[..., 1].mean(0)
    num_above = (means > curves["ppo"][..., 0].mean(1)).sum()
    first = seconds[:10]
    print(f"{name:24} mean reward of a run {means.mean():.3f} ({means.min():.3f} to {means.max():.3f}), "
          f"above ppo's in {num_above} of {len(SEEDS)} seeds; {seconds[-1]:.2f} CPU seconds, "
          f"{first[-1]:.2f} for the first {len(first)}")

# %% [markdown]
# ## What the division does
# The pull of a group is the sum of its |A_i|: 2 G p (1 - p) without the std, about 2 G sqrt(p (1 - p)) with
# it, where a share p is right. So hard and easy prompts, with p near 0 or 1, count more than the expected
# reward gives them.

# %%
right = torch.arange(1, 16)
groups = (torch.arange(16) < right[:, None]).float()                                              # (15, 16)
pulls = {scale: grpo.group_advantages(groups, scale=scale).abs().sum(1) for scale in (True, False)}
for scale, pull in pulls.items():
    print(f"scale {scale!s:5}: a group with 1 of 16 right pulls {pull[0] / pull[7]:.2f} "
          "as much as one with 8 of 16")

# %%
figure, axes = new_figure(1, 3, figsize=(9, 3.2))
for name, color in (("ppo", "#d1495b"), ("grpo", "#1b6ca8")):
    reward, seconds = curves[name].unbind(2)
    samples = 64 * torch.arange(1, NUM_ITERATIONS + 1)
    least, most = torch.aminmax(reward, dim=0)
    axes[0].fill_between(samples, least, most, color=color, alpha=0.2, lw=0)
    axes[0].plot(samples, reward.mean(0), color=color, label=name)
    axes[1].plot(seconds.T, reward.T, color=color, alpha=0.25, lw=0.8)
    axes[1].plot(seconds.mean(0), reward.mean(0), color=color, label=name)
for (scale, pull), color in zip(pulls.items(), ("#1b6ca8", "#5a9a5a")):
    axes[2].plot(right, pull / pull[7], "o-", ms=3, color=color, label="over the std" if scale else "no std")
titles = (f"reward, seeds: {len(SEEDS)} (mean, range)", "the same, by time", "pull of a group, 8 right = 1")
for axis, title, label in zip(axes, titles, ("completions", "CPU seconds", "right of 16")):
    axis.set_title(title, fontsize=10)
    axis.set_xlabel(label)
    axis.set_ylim(0, 1.05)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, fontsize=8, loc="lower right")
show_figure(figure, "07_grpo_is_a_diff")

# %% [markdown]
# ## What to see
# - By samples the two do not separate: the ranges of 5 seeds overlap. By time they do. A step of PPO runs two
#   networks. GRPO also leaves out groups without any spread, which are most of them once the reward is near
#   1.
# - The std and the leave-one-out mean change nothing that 5 seeds could show here.
# - The trap: equal curves say nothing about equal objectives. The division doubles the weight of a group with
#   1 of 16 right, and of one with 15 of 16. In a mix of hard and easy prompts that is another goal than the
#   mean reward.
#
# What it does not show: prompts of unequal difficulty, long completions, a KL (off here), or settings tuned
# for each: both have one learning rate, 3e-3. A critic could pay where groups are costly.
#
# ## Exercises
# 1. A group of 2 with one right: what are its advantages with and without the std? And in a group without
#    spread?
# 2. Dividing by sqrt(p (1 - p)) is the gradient of another function of p than p itself. Which?
# 3. PPO whitens its advantages over the whole batch. Why is that not the same as dividing in each group?
#
# <details><summary>Solutions</summary>
#
# 1. +-0.707 and +-1/2. Without spread all are 0: the group costs samples and teaches nothing.
# 2. 2 arcsin(sqrt(p)): its derivative is 1 / sqrt(p (1 - p)), steep at both ends.
# 3. One number for all prompts: their weights among each other stay as they are.
# </details>
