# %% [markdown]
# # 7. GRPO is a diff
#
# Question: GRPO drops the critic of lesson 06. What exactly is different, what does it cost, and
# what does it bring? And what do its relatives change: GSPO, CISPO, DAPO, REINFORCE++?
#
# You need: lessons 05 and 06. Time: about a minute on a laptop's CPU.
#
# GRPO draws G completions of one prompt. They earn the rewards r_1 .. r_G. Each token of completion
# i gets the same advantage, in which std is the standard deviation, a measure of spread:
#
#     A_i = (r_i - mean(r)) / (std(r) + eps)             arXiv:2402.03300; std with G - 1, eps 1e-4
#
# So the group takes the place of the critic. Nearly everything else is PPO, and the diff of the two
# files shows it best.

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
from minireason.batch import Batch, loss_weights
from minireason.config import ModelConfig, RLConfig
from minireason.model import GPT
from minireason.policy import Critic
from minireason.rewards import World
from minireason.rollout import overlong_price
from minireason.stats import k1, k2, k3
from minireason.tools.plots import new_figure

FAST = os.environ.get("LESSON_FAST") == "1"
NUM_ITERATIONS = 4 if FAST else 50
SEEDS = range(2 if FAST else 5)

# %% [markdown]
# ## By hand
# The std of 1 0 0 1 is sqrt(4 * 1/4 / 3) = 0.577. *RLOO* compares with the mean of the others.
#
#     rewards    mean    std     over the std     without std      RLOO
#     1 0 0 1    1/2    0.577    +-0.866          +-1/2            +-2/3
#     1 0 0 0    1/4    1/2      1.5 and -0.5     3/4 and -1/4     1 and -1/3

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
# Four differences make two algorithms. Two smaller ones are not in the table. PPO *whitens* its
# advantages: it subtracts the mean of the whole batch and divides by its std. GRPO does so in each
# group. And only GRPO leaves out groups whose rewards are all equal.
#
# `train.py` has lambda = 1 and gamma = 1. Then PPO's advantage of a token is the final reward less
# the critic's value at that token. So three of the four differences are left: the baseline, the
# value loss, and where the KL goes, which is off by default.
#
# Each estimates the KL in its own way. In a reward its value counts, and k1 is right on average. In
# a loss its gradient counts, and that of k1 is 0 on average. So GRPO takes *k3*: x - 1 - log x,
# with x the probability under the reference over that under the policy. The lines below are looked
# up, so they are those of today's files.

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
# The world is that of lesson 05: after a 1 a completion with a 3 is right, after a 2 one without.
# For one seed, all start with the same weights, prompts and first 64 completions. Dr. GRPO and RLOO
# are settings of `grpo.py`.

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
# A group pulls at the policy by the sum of its |A_i|. Let a share p of it be right. Then the pull
# is 2 G p (1 - p) without the std, and about 2 G sqrt(p (1 - p)) with it. The first is the pull of
# the expected reward. So the division makes hard and easy prompts, with p near 0 or 1, count more.

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
# ## The family: one number for each token
# GRPO has many relatives. Each takes one decision in another way and keeps the rest, so each is a
# setting here, of a few lines. To compare them, look at a single token. Its part of the gradient is
#
#     weight * gradient of the logprob of this token
#
# The model makes the second factor, and the algorithm makes the first. So the *weight* of a token
# is all that an algorithm decides. A positive weight makes the token more likely, a negative weight
# makes it less likely, and a weight of 0 leaves it alone. In REINFORCE (lesson 05) the weight is
# the advantage A. In PPO and GRPO the weight is ratio * A, and 0 where the clip stops it (lesson
# 06). The *ratio* is p(token) / p_old(token): how much more likely the token became since it was
# sampled.
#
# **Which ratio, and what the clip does.** These two need at least two updates for each rollout:
# before the first update every ratio is 1.
#
# - *GSPO* (group sequence policy optimization): a completion has one ratio, the geometric mean of
#   the ratios of its tokens. All its tokens share one weight and are clipped together. Its authors
#   clip at 1 - 0.0003 and 1 + 0.0004, since a mean over many tokens moves little. Their loss is a
#   mean over completions, so a long one counts as much as a short one. `--rl-objective gspo
#   --rl-normalize sequence --rl-clip-low 3e-4 --rl-clip-high 4e-4`, arXiv:2507.18071.
# - *CISPO* (clipped importance sampling policy optimization): the clip bounds the weight and does
#   not set it to 0. So no token loses its gradient. Its authors have no lower bound:
#   `--rl-objective cispo --rl-clip-low 1`, arXiv:2506.13585.
#
# **Which baseline.** The baseline is what a reward is compared with.
#
# - *RLOO* (REINFORCE leave-one-out): the mean of the other completions of the group.
#   `--rl-leave-one-out --no-rl-scale-advantages`, arXiv:2402.14740.
# - *Dr. GRPO* (GRPO done right): no division by the std, and every step divides its loss by the
#   same constant. `--no-rl-scale-advantages --rl-normalize constant`, arXiv:2503.20783.
# - *REINFORCE++*: mean and standard deviation of the whole batch. It needs no groups, but hard and
#   easy prompts have one baseline. `--rl-batch-baseline`, arXiv:2501.03262.
#
# **Which completions, and what they earn.** *DAPO* (decoupled clip and dynamic sampling policy
# optimization, arXiv:2503.14476) is four ideas. Two are defaults here: the upper end of the clip is
# further away than the lower one, and all tokens of a batch count alike. The other two are
# settings:
#
# - *Dynamic sampling*: a group whose completions all get the same reward has only advantages of 0.
#   New problems take the place of such groups, at most `--rl-max-refills 8` times.
# - The *soft overlong punishment*: a completion that comes near the limit of tokens loses a part of
#   its reward. The part grows evenly over the last tokens before the limit. `--rl-overlong-penalty
#   0.5 --rl-overlong-buffer 32`
#
# **What else is in the loss.**
#
# - An *entropy bonus* adds the mean entropy of the next-token distributions to what is maximized.
#   It works against a policy that becomes certain too early. `--rl-entropy-coef 0.001`
# - The *KL* to the reference can be estimated in three ways (k1, k2, k3, see `stats.py`), and it
#   can stand in the loss or be taken off the reward. `--rl-kl-coef 0.05 --rl-kl-estimator k1
#   --rl-kl-in-reward`
#
# ### By hand
# The limit is 208 tokens, and the price rises to 0.5 over the last 32. A completion of 176 tokens
# loses nothing, one of 200 loses 0.5 * 24 / 32 = 0.375, and one that was cut off at 208 loses 0.5.

# %%
priced = RLConfig(max_new_tokens=208, overlong_penalty=0.5, overlong_buffer=32)
prices = overlong_price(torch.tensor([176, 200, 208]), priced)
assert torch.allclose(prices, torch.tensor([0.0, 0.375, 0.5]))

# %% [markdown]
# A completion has four tokens and the advantage 1. The first token became twice as likely, the
# other three are as they were. GRPO: the ratio 2 is above 1.28, so the first weight is 0. CISPO: it
# is 1.28. GSPO: all four tokens have the weight 2 ** (1/4) = 1.19, which is inside the clip.

# %%
def token_weights(ratios, advantages, objective):
    """What each token counts in the gradient, by the code of grpo.py. All tensors (B, L)."""
    logprobs = ratios.log().requires_grad_()
    old_logprobs, mask = torch.zeros_like(ratios), torch.ones_like(ratios)
    loss, _ = grpo.compute_loss(logprobs, old_logprobs, None, advantages, mask, RLConfig(),
                                num_tokens=1, objective=objective)
    return -torch.autograd.grad(loss, logprobs)[0]


EXPECTED = {"clip": [0, 1, 1, 1], "cispo": [1.28, 1, 1, 1], "gspo": [1.189, 1.189, 1.189, 1.189]}
for objective, weights in EXPECTED.items():
    found = token_weights(torch.tensor([[2.0, 1, 1, 1]]), torch.ones(1, 4), objective)
    assert torch.allclose(found, torch.tensor([weights]).float(), atol=1e-3)

# %% [markdown]
# ### Two completions, and all weights of a step
# In a group of two, the first completion has six tokens and earns 1, and the second has two tokens
# and earns 0. The policy has moved since, so not all ratios are 1. Each line of the table is one
# relative. Its weights come from the code that trains: `compute_advantages`, `loss_weights` and
# `compute_loss`. They are divided by the largest of the line: the optimizer Adam takes steps of the
# same length whatever the size of the gradient, so only proportions matter.

# %%
RATIOS = torch.tensor([[1.0, 0.7, 1.5, 1.1, 0.9, 1.0], [0.6, 1.2, 1, 1, 1, 1]])
MASK = torch.tensor([[1.0, 1, 1, 1, 1, 1], [1, 1, 0, 0, 0, 0]])
RELATIVES = {
    "GRPO, each completion alike": {"normalize": "sequence"},
    "GRPO, each token alike": {},
    "Dr. GRPO": {"normalize": "constant", "scale_advantages": False},
    "GSPO": {"objective": "gspo", "normalize": "sequence"},
    "CISPO": {"objective": "cispo"},
    "REINFORCE++": {"batch_baseline": True},
    "REINFORCE++, KL in reward": {"batch_baseline": True, "kl_coef": 0.1, "kl_in_reward": True,
                                  "kl_estimator": "k1"},
}


def two_completions():
    """A rollout as `collect_rollout` returns it, without the ids, which no weight depends on."""
    no_ids = torch.zeros(2, 6, dtype=torch.long)
    drift = torch.tensor([[0.5, 1.5, -0.5, 1.0, 0.5, 2.0], [0.5, 1.0, 0, 0, 0, 0]])
    return Batch(ids=no_ids, prompt_lengths=torch.zeros(2), completion_ids=no_ids, completion_mask=MASK,
                 old_logprobs=torch.zeros(2, 6), ref_logprobs=-drift, rewards=torch.tensor([1.0, 0.0]))


def weights_of_a_step(settings):
    """The weight of each token (2, 6), divided by the largest."""
    config, rollout = RLConfig(group_size=2, **settings), two_completions()
    grpo.compute_advantages(rollout, config)
    weights, num_tokens, _ = loss_weights(MASK, config, len(rollout))
    logprobs = RATIOS.log().requires_grad_()
    loss, _ = grpo.compute_loss(logprobs, rollout.old_logprobs, rollout.ref_logprobs,
                                rollout.advantages, weights, config, num_tokens,
                                kl_estimator="", objective=config.objective)
    weights = -torch.autograd.grad(loss, logprobs)[0]
    return weights / weights.abs().max() + 0.0                  # + 0.0 turns -0.0 into 0.0


table = {name: weights_of_a_step(settings) for name, settings in RELATIVES.items()}
print(f"{'ratio':28}" + "".join(f"{ratio:6.1f}" for ratio in RATIOS[MASK > 0]))
for name, weights in table.items():
    print(f"{name:28}" + "".join(f"{weight:6.2f}" for weight in weights[MASK > 0]))

# %% [markdown]
# How to read it:
#
# - *Each completion alike* gives a token of the short completion three times the weight that it
#   gives to one of the long completion, at the same ratio. So does GSPO. *Each token alike* and Dr.
#   GRPO do not. The last two differ only between groups.
# - GRPO's clip leaves out the third token, whose ratio 1.5 is above 1.28, and the first token of
#   the bad completion, whose ratio 0.6 is below 0.8. Both have moved as far as the advantage wants.
#   CISPO keeps them with a bounded weight.
# - In GSPO all tokens of a completion share one weight.
# - REINFORCE++ compares with the mean over *tokens*. Six of the eight tokens earned 1, so the good
#   completion has a small advantage and the bad one a large one.
# - With a KL in the reward, a token pays for its own KL and for that of all tokens after it. So
#   weights differ within a completion.
#
# The upper pictures of `07_the_family` draw the weight of one token over its ratio. Where a line
# lies at 0, the clip has stopped the token. Lower left is the table above.

# %%
ratios = torch.linspace(0.02, 2, 199)
in_a_completion = torch.ones(199, 4)            # four tokens each: only the first one moves
in_a_completion[:, 0] = ratios
COLORS = {"GRPO (clip)": "#1b6ca8", "GSPO (one of 4 tokens)": "#e0a030", "CISPO": "#5a9a5a"}
family, panels = new_figure(2, 2, figsize=(9.6, 6.8))
for axis, advantage in zip(panels[0], (1.0, -1.0)):
    axis.axhline(advantage, color="#999999", ls="--", lw=1, label="REINFORCE")
    for (name, color), objective in zip(COLORS.items(), ("clip", "gspo", "cispo")):
        weights = token_weights(in_a_completion, torch.full((199, 4), advantage), objective)
        axis.plot(ratios, weights[:, 0], color=color, label=name)
    axis.set_title(f"advantage {advantage:+.0f}", fontsize=10)
    axis.set_xlabel("ratio of this token")
    axis.set_ylabel("weight of this token")
    axis.set_ylim(sorted((-0.1 * advantage, 2.1 * advantage)))
panels[0][0].legend(frameon=False, fontsize=8, loc="upper left")

# %% [markdown]
# The last picture is of the KL in the loss. Its pull on a token is minus the gradient of the
# estimator.
#
# - k1 pulls every token down alike, whatever the reference says. On average it pulls nowhere
#   (lesson 10).
# - k2 pulls each token back to the logprob of the reference, harder with the distance.
# - k3 pulls a token up very hard where the policy has left it behind, and never down by more than
#   1.

# %%
distance = torch.linspace(-2, 2, 101)                                           # log p - log p_ref
for name, estimator, color in (("k1", k1, "#999999"), ("k2", k2, "#7a4fa3"), ("k3", k3, "#d1495b")):
    logprobs = distance.clone().requires_grad_()
    estimator(logprobs, torch.zeros(101)).sum().backward()
    panels[1][1].plot(distance, -logprobs.grad, color=color, label=name)
panels[1][1].set(xlabel="log p - log p of the reference", ylabel="pull on the logprob")
panels[1][1].set_title("the KL in the loss", fontsize=10)
panels[1][1].legend(frameon=False, fontsize=8)

grid = panels[1][0]
rows = torch.stack([weights[MASK > 0] for weights in table.values()])           # (relatives, 8 tokens)
grid.imshow(rows, cmap="RdBu", vmin=-1, vmax=1, aspect="auto")
for y, row in enumerate(rows.tolist()):
    for x, weight in enumerate(row):
        grid.text(x, y, f"{weight:.1f}", ha="center", va="center", fontsize=7,
                  color="white" if abs(weight) > 0.6 else "black")
grid.axvline(5.5, color="black", lw=2)
grid.set_yticks(range(len(table)), table, fontsize=7)
grid.set_xticks(range(8), [f"{ratio:.1f}" for ratio in RATIOS[MASK > 0]], fontsize=7)
grid.set_xlabel("ratio of each token: six of the good completion, two of the bad one", fontsize=8)
grid.set_title("which tokens share a weight", fontsize=10)
for axis in (*panels[0], panels[1][1]):
    axis.spines[["top", "right"]].set_visible(False)
show_figure(family, "07_the_family")

# %% [markdown]
# ### A trap: the KL in the reward of a group
# Two completions of a group are both right, and the first one is further from the reference. With
# the KL in the loss such a group has advantages of 0. With the KL in the reward, the division by
# the std makes this difference as large as that between right and wrong, however small the
# coefficient is. `--no-rl-scale-advantages` leaves the division out.

# %%
for coefficient in (0.1, 0.001):
    rollout = two_completions()
    rollout.rewards = torch.tensor([1.0, 1.0])
    config = RLConfig(group_size=2, kl_coef=coefficient, kl_in_reward=True, kl_estimator="k1")
    grpo.compute_advantages(rollout, config)
    first, second = rollout.advantages[:, 0].tolist()
    print(f"KL in the reward, coefficient {coefficient}: advantages {first:.2f} and {second:.2f}")

# %% [markdown]
# ## What to see
# - By completions (left) PPO and GRPO do not separate: the ranges of 5 seeds overlap. By time
#   (middle) they do. A step of PPO runs two networks. And GRPO leaves out groups whose rewards are
#   all equal. Once the reward is near 1, most groups are such.
# - The std and the leave-one-out mean change nothing that 5 seeds could show here.
# - The relatives differ in which tokens count, and by how much. With one update for each rollout,
#   which is the default of `train.py`, all ratios are 1. Then GRPO, GSPO and CISPO are one
#   algorithm, and `train.py` refuses the last two.
# - The trap: equal curves do not mean equal goals. Beside a group with 8 of 16 right, the division
#   doubles the weight of one with 1 or 15 right (right picture). In a mix of hard and easy prompts
#   that is another goal than the mean reward.
#
# What it does not show: which relative learns best (`lessons/studies/variants.py` trains them all),
# prompts of unequal difficulty, long completions, a KL (off here), or a learning rate tuned for
# each: all have 3e-3. A critic could pay off where groups are costly.
#
# ## Exercises
# 1. A group of 2 with one right: what are its advantages with and without the std? And if both are
#    right?
# 2. Dividing by sqrt(p (1 - p)) is the gradient of another function of p than p itself. Which?
# 3. PPO whitens its advantages over the whole batch. Why is that not the same as dividing in each
#    group?
# 4. A completion of 100 tokens has advantage 1. One token has ratio 3, all others have ratio 1.
#    Which tokens have which weight in GRPO, in CISPO and in GSPO, with the clip at 0.8 and 1.28?
# 5. Dynamic sampling finds only groups with both right and wrong answers. Why does the log not show
#    the mean reward of these groups?
#
# <details><summary>Solutions</summary>
#
# 1. +-0.707 and +-1/2. If both are right, all are 0: the group costs samples and teaches nothing.
# 2. 2 arcsin(sqrt(p)): its derivative is 1 / sqrt(p (1 - p)), steep at both ends.
# 3. One number for all prompts: their weights among each other stay as they are.
# 4. GRPO: 0 for the one, 1 for the others. CISPO: 1.28 for the one, 1 for the others. GSPO: 3 **
#    (1/100) = 1.011 for all. With the narrow clip of its authors, 1.0004, it would be 0 for all.
# 5. They were chosen for their rewards. Each holds a right and a wrong answer, however good or bad
#    the policy is. The log shows the mean of all that was sampled, and their number.
# </details>
