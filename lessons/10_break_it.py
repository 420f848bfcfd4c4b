# %% [markdown]
# # 10. Break it
#
# Question: reinforcement learning fails in silence. The reward may still rise, no exception is raised, and a
# number is wrong in one line. What do the well-known bugs look like from outside, and which test would have
# caught them?
#
# You need: lessons 05 to 07. Time: about a minute on a laptop's CPU.
#
# Each bug below was reported by users of a public project. We switch one on at a time **from outside**, by
# replacing one name of `minireason.grpo` or `minireason.ppo`, train the same small policy with and without
# it, and look.

# %%
import inspect
import os
import sys
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
from minireason.tools.bugs import BUGS, groups_misaligned, kl_without_gradient, no_temperature
from minireason.tools.plots import new_figure

FAST = os.environ.get("LESSON_FAST") == "1"
NUM_ITERATIONS = 6 if FAST else 40

# %% [markdown]
# ## The bugs
# `minireason/tools/bugs.py` has one switch for each. It opens a `with` block in which the bug is on:
# `patch.object` puts another function in the place of one name. Open that file now and read what each switch
# puts there: the line that is wrong is always one that looks right. Three of them:

# %%
for switch in (no_temperature, kl_without_gradient, groups_misaligned):
    print(inspect.getsource(switch))

LOSS_TEST = "test_grpo.py::test_loss_and_gradient_equal_a_loop_over_tokens"
STEP_TEST = "test_rl_theory.py::test_the_first_step_of_grpo_is_as_computed_by_hand"
GAE_TEST = "test_ppo.py::test_gae_is_the_discounted_sum_of_all_later_errors"
SHOWN_BY = {    # name: (a metric that is drawn, the test that catches the bug)
    "temperature missing": ("approx_kl", STEP_TEST),
    "KL without gradient": ("kl", LOSS_TEST),
    "k1 as a loss": ("kl", LOSS_TEST),
    "padding in the mean": ("clip_frac", STEP_TEST),
    "groups misaligned": ("zero_std_frac", STEP_TEST),
    "micro-batch denominator": ("grad_norm", STEP_TEST),
    "bootstrap past the end": ("value_loss", GAE_TEST),
}

# %% [markdown]
# ## A world that is learned in seconds
# Eight tokens; 0 ends a completion. Half of the prompts are paid for a completion with a 3, half for one
# without: only the first token of the prompt, a 1 or a 2, tells which.

# %%
tokenizer = SimpleNamespace(encode_prompt=lambda text: [int(text), 4], eos_id=0, pad_id=0,
                            decode=lambda ids: "".join(map(str, ids)))


def draw_prompt(rng):
    return SimpleNamespace(prompt=rng.choice("12"))


def pay(problems, texts):
    return [float(("3" in text) == (problem.prompt == "1")) for problem, text in zip(problems, texts)]


world = World(draw_prompt, pay, tokenizer)
DEFAULTS = {"num_iterations": NUM_ITERATIONS, "num_prompts": 8, "group_size": 8, "max_new_tokens": 8,
            "micro_batch_size": 8, "learning_rate": 3e-3, "critic_learning_rate": 3e-3,
            "warmup_iterations": 1, "value_clip": 10.0}


def train(algo, settings, seed=0):
    """A run of NUM_ITERATIONS with the code that train.py runs. Returns {metric: a number an iteration}."""
    config = RLConfig(**DEFAULTS | settings)
    shape = ModelConfig(vocab_size=8, width=32, num_layers=2, mlp_width=64, max_length=32)
    policy = GPT(shape).init_weights(seed)
    reference = GPT(policy.config).init_weights(seed) if config.kl_coef else None
    if algo == "grpo":
        optimizer = torch.optim.AdamW(policy.parameters())
        lines = list(grpo.train(policy, reference, optimizer, world, config, seed))
    else:
        critic = Critic(policy)
        optimizer = torch.optim.AdamW([{"params": policy.parameters()}, {"params": critic.parameters()}])
        lines = list(ppo.train(policy, critic, reference, optimizer, world, config, seed))
    curves = {}
    for key in lines[0]:
        curves[key] = [line.get(key, float("nan")) for line in lines]
    return curves


# %% [markdown]
# ## By hand: what the wrong denominator does
# Two micro-batches, one completion each, of 2 and 8 tokens, the same advantage 1. Right: every token counts
# 1/10. Wrong: the short one's tokens count 1/2, the long one's 1/8, and the step is twice as long.

# %%
for num_tokens, expected in ((10, [0.1, 0.1]), (None, [0.5, 0.125])):
    counts = []
    for length in (2, 8):
        logprobs = torch.zeros(1, length, requires_grad=True)
        zeros, ones = torch.zeros(1, length), torch.ones(1, length)
        loss, _ = grpo.compute_loss(logprobs, zeros, None, ones, ones, RLConfig(), num_tokens)
        loss.backward()
        counts.append(-logprobs.grad[0, 0].item())
    assert torch.allclose(torch.tensor(counts), torch.tensor(expected)), counts
    rounded = [round(count, 3) for count in counts]
    print("a token counts", rounded, "where the sum is over", num_tokens or "its own micro-batch")

# %%
def mean_of(values):
    return torch.tensor(values).nanmean().item()


curves = {}
for name, (switch, algo, settings) in BUGS.items():
    metric, test = SHOWN_BY[name]
    right = train(algo, settings)
    with switch():
        broken = train(algo, settings)
    curves[name] = (metric, right, broken)
    print(f"{name:24} {metric:10} right {mean_of(right[metric]):7.4f}  "
          f"broken {mean_of(broken[metric]):7.4f}   "
          f"mean reward {mean_of(right['reward']):.2f} and {mean_of(broken['reward']):.2f}   "
          f"caught by {test.partition('::')[2]}")

# %%
figure, axes = new_figure(4, 4, figsize=(9.6, 8), sharex=True)
for i, (name, (metric, right, broken)) in enumerate(curves.items()):
    top, column = i // 4 * 2, i % 4                             # a bug has two panels, one above the other
    for axis, key in ((axes[top, column], "reward"), (axes[top + 1, column], metric)):
        axis.plot(right[key], color="#1b6ca8", label="right")
        axis.plot(broken[key], color="#d1495b", label="broken")
        axis.set_ylabel(key, fontsize=8)
        axis.tick_params(labelsize=7)
        axis.spines[["top", "right"]].set_visible(False)
    axes[top, column].set_title(name, fontsize=9)
axes[0, 0].legend(frameon=False, fontsize=8)
axes[2, 3].axis("off")
axes[3, 3].axis("off")
show_figure(figure, "10_break_it")

# %% [markdown]
# ## What to see
# - In most panels the reward rises **with the bug on**: it proves nothing. Misaligned groups show in no
#   metric at all.
# - The first update of a rollout is on policy: ratio 1, `approx_kl` 0, nothing clips. Any other number there
#   is a bug.
# - A KL that is logged is not a KL that pulls. Set `kl_coef` high once and see whether it does.
# - What it does not show: how much each bug costs on a large model. A toy forgives much.
# - The trap: a test that only asserts that the reward rises passes on nearly all of these.
#
# ## Exercises
# 1. Switch on `no_temperature` with two epochs. Which way does the clipping now go, and why?
# 2. Write a bug of your own: whiten GRPO's advantages over the batch after scaling them in their group. Which
#    test fails?
# 3. In `groups_misaligned` the reward still rises. What is the baseline then, and is the gradient biased?
#
# <details><summary>Solutions</summary>
#
# 1. At temperature 0.6 likely tokens were sampled with more probability than temperature 1 gives them, so
#    their ratio starts below 1, many below 1 - clip_low: where the advantage is negative they are clipped at
#    once and get no gradient.
# 2. `test_the_first_step_of_grpo_is_as_computed_by_hand`: `policy_loss` is no longer the sum computed there.
# 3. Any number that does not depend on the completion itself is a baseline without bias; strangers of other
#    prompts are one, and a bad one: it mixes the difficulty of prompts into the advantage.
# </details>
