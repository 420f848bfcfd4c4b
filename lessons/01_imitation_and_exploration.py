# %% [markdown]
# # 1. Imitation and exploration
#
# Question: a model that has read a toy internet has read right and wrong answers alike. What has it learned
# from them? And what can trial and error add, if nobody shows it anything new?
#
# You need: probabilities and logarithms. Time: about a minute on a laptop's CPU.
#
# Imitation makes each next token of somebody's text likely. Reinforcement learning (RL) makes what is right
# likely:
#
#     imitation    loss = -mean log p(text)           least where p is the share of each text in the corpus
#     RL           J = sum_y p(y) R(y)                greatest where every y is right; R is 0 or 1
#     pass@k       1 - C(n - c, k) / C(n, k)          chance that one of k samples is right, c of n were:
#                                                     arXiv:2107.03374
#
# So imitation of a corpus that is right in half of all cases aims at one half, however long it goes on. RL
# pushes up what it has drawn: it needs a model that is right at times, and pass@k says whether it is.

# %%
import math
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

from minireason import grpo, sft
from minireason.config import ModelConfig, RLConfig, SFTConfig, TaskConfig
from minireason.corpus import base_corpus, tokenize, up_to
from minireason.inference import answer_all
from minireason.model import GPT
from minireason.optimizer import adamw
from minireason.rewards import World, reasoning_world
from minireason.run import open_model
from minireason.stats import bootstrap_interval, pass_at_k, wilson_interval
from minireason.tasks import TASKS, parse_prompt, test_problems
from minireason.tokenizer import get_tokenizer
from minireason.tools.plots import new_figure
from minireason.verifier import verify

FAST = os.environ.get("LESSON_FAST") == "1"
NUM_DOCUMENTS = 200 if FAST else 4000
NUM_PROBLEMS = 4 if FAST else 60
NUM_SAMPLES = 4 if FAST else 16          # of each problem
NUM_ITERATIONS = 2 if FAST else 20
NUM_PROMPTS = 2 if FAST else 12
MAX_NEW_TOKENS = 40 if FAST else 160
tokenizer = get_tokenizer()

# %% [markdown]
# ## By hand: four texts
# After one prompt the corpus says 2 once and 3 three times; 2 is right. With p = p(2) the loss per text is
# -(1/4) log p - (3/4) log(1 - p). Its derivative -1/(4p) + 3/(4(1 - p)) is 0 at p = 1/4, where the loss is
# 0.562: nothing that imitation does can go lower. J = p has no such point: more is always better. Both on a
# model of eight tokens.
#
# pass@2 where 1 of 4 samples is right: 1 - C(3, 2) / C(4, 2) = 1 - 3/6, as three of the six pairs hold the
# right one.
# The trap: 1 - (1 - 1/4)^2 = 7/16 looks just as good, and is too low on average. It draws one sample twice.

# %%
corpus = [([1, 4], [2, 0])] + 3 * [([1, 4], [3, 0])]      # (prompt, completion); 0 is the end
shape = ModelConfig(vocab_size=8, width=16, num_layers=1, num_heads=2, num_kv_heads=1, mlp_width=32,
                    max_length=16)
toy = GPT(shape).init_weights(0)


def draw_prompt(rng):
    return SimpleNamespace(prompt="1")


def pay_a_2(problems, texts):
    return [float(text[:1] == "2") for text in texts]


toy_tokenizer = SimpleNamespace(encode_prompt=lambda text: [int(text), 4], eos_id=0, pad_id=0,
                                decode=lambda ids: "".join(map(str, ids)))
world = World(draw_prompt, pay_a_2, toy_tokenizer)


def p_right():
    """The probability that the toy model writes a 2 after the prompt."""
    logits = toy(torch.tensor([[1, 4]]))[0, -1]
    return logits.softmax(0)[2].item()


settings = SFTConfig(num_epochs=80, batch_size=4, learning_rate=1e-2, warmup_steps=1)
optimizer = torch.optim.AdamW(toy.parameters(), weight_decay=0.0)
lines = list(sft.train(toy, optimizer, corpus, settings, seed=0))
loss = 2 * lines[-1]["loss"]                                         # two tokens a text, the end is sure
least = -(math.log(1 / 4) + 3 * math.log(3 / 4)) / 4
imitated = p_right()
assert abs(imitated - 1 / 4) < 0.02 and abs(loss - least) < 0.02

settings = RLConfig(num_iterations=30, num_prompts=2, group_size=16, max_new_tokens=2, learning_rate=1e-2,
                    warmup_iterations=1)
list(grpo.train(toy, None, torch.optim.AdamW(toy.parameters()), world, settings, seed=0))
assert p_right() > 0.9
print(f"by hand: imitation ends at p = {imitated:.3f}, the loss at {loss:.3f}; RL takes p to {p_right():.3f}")

pairs = torch.combinations(torch.tensor([1.0, 0, 0, 0]), 2)
assert pass_at_k(4, 1, 2) == pairs.amax(1).mean() == 1 / 2

# %% [markdown]
# ## What there is to imitate, and what the base model says
# Answers without a thought, mostly wrong; worked solutions in two languages and in both at once; slips;
# giving up. The shipped base model imitated 160,000 such documents. It answers held-out problems of the
# corpus's own mix of levels, several times each at temperature 1. Intervals are 95%: Wilson's for documents,
# a bootstrap over problems for samples.

# %%
documents = base_corpus(0, NUM_DOCUMENTS)
outcomes = {}                                                        # {task: right or wrong of each document}
for prompt, completion in documents:
    if prompt.startswith(("compute", "make", "program")):
        problem = parse_prompt(prompt)
        right = verify(problem, completion).correct
        outcomes.setdefault(problem.task, []).append(right)
        if len(outcomes[problem.task]) <= 3:
            print(f"{prompt:30} {completion:100.100} {'right' if right else 'wrong'}")
in_corpus = {}                                                       # {task: (share right, low, high)}
for task, rights in outcomes.items():
    in_corpus[task] = (sum(rights) / len(rights), *wilson_interval(sum(rights), len(rights)))


def sample(model, problems):
    """How many of NUM_SAMPLES completions are right, by problem; and the completions."""
    repeated = []
    for problem in problems:
        repeated += [problem] * NUM_SAMPLES
    prompts = [problem.prompt for problem in repeated]
    texts = [text for text, _ in answer_all(model, tokenizer, prompts, MAX_NEW_TOKENS, seed=1)]
    right = torch.tensor([verify(problem, text).correct for problem, text in zip(repeated, texts)])
    return right.view(-1, NUM_SAMPLES).sum(1).tolist(), texts


def pass_at(counts, k):
    """(mean, low, high) of pass@k, from how many samples of each problem are right."""
    return bootstrap_interval([[pass_at_k(NUM_SAMPLES, count, k) for count in counts]])


def show(interval):
    return "{:.2f} [{:.2f}, {:.2f}]".format(*interval)


def show_all(counts):
    return ", ".join(f"pass@{k} {show(pass_at(counts, k))}" for k in ks[::2])


ks = [2**i for i in range(NUM_SAMPLES.bit_length())]
base = open_model("pretrained", "base")[0]
by_base = {}                                                         # {task: right samples of each problem}
for task in ("arithmetic", "countdown"):
    by_base[task], _ = sample(base, test_problems(task, up_to(3, TASKS[task].levels), NUM_PROBLEMS, seed=1))
    print(f"{task}: right in the corpus {show(in_corpus[task])} ({len(outcomes[task])} documents); "
          f"base, {NUM_PROBLEMS} problems: {show_all(by_base[task])}")

# %% [markdown]
# ## Once more the same, or trial and error?
# From the base, on sums of two terms: GRPO (lesson 07) for a few iterations, paid for right answers alone.
# Against it more of the corpus, fresh documents about the same sums, for the same CPU time.

# %%
explorer, imitator = open_model("pretrained", "base")[0].train(), open_model("pretrained", "base")[0].train()
mix = TaskConfig(levels={"arithmetic": (1,)}, shares={"arithmetic": 1.0})
sums = reasoning_world(tokenizer, mix.levels, mix.shares)
settings = RLConfig(num_iterations=NUM_ITERATIONS, num_prompts=NUM_PROMPTS, group_size=12, max_new_tokens=60,
                    learning_rate=5e-4, micro_batch_size=48)
start = time.process_time()
optimizer = adamw(settings, explorer)
curve = [line["reward"] for line in grpo.train(explorer, None, optimizer, sums, settings, seed=0)]
seconds = time.process_time() - start
rewards = " ".join(f"{reward:.2f}" for reward in curve)
print(f"reward by iteration: {rewards} in {seconds:.0f} CPU seconds")

more_documents = base_corpus(1, 48 * 12 * NUM_ITERATIONS, mix)                      # more than time allows
more = tokenize(tokenizer, more_documents)
start = time.process_time()
settings = SFTConfig(learning_rate=5e-4, warmup_steps=10, weight_decay=0.0)
for line in sft.train(imitator, adamw(settings, imitator), more, settings, seed=0):
    if time.process_time() - start > seconds:
        break
print(f"imitation: {line['iteration'] + 1} steps, loss {line['loss']:.3f}")

problems = test_problems("arithmetic", (1,), NUM_PROBLEMS, seed=1)
after = {}                                                           # {arm: right samples of each problem}
for name, model in (("base", base), ("more imitation", imitator), ("RL", explorer)):
    after[name], texts = sample(model.eval(), problems)
    thinks = sum("<think></think>" not in text for text in texts) / len(texts)
    print(f"{name:15} {NUM_PROBLEMS} sums of two terms: {show_all(after[name])}; "
          f"{thinks:.0%} think, such as {texts[0]}")


def shares(counts):
    return [count / NUM_SAMPLES for count in counts]


difference = bootstrap_interval([shares(after["RL"])], [shares(after["more imitation"])])
print("RL - imitation", show(difference))

# %%
figure, axes = new_figure(1, 3, figsize=(11, 3.4))
intervals = []
for task in by_base:
    intervals += [in_corpus[task], pass_at(by_base[task], 1)]
middle, low, high = torch.tensor(intervals).T
error = torch.stack([middle - low, high - middle]).clamp(min=0)
labels = ["right in the corpus", "base, pass@1", "", ""]
axes[0].bar([0, 0.36, 1, 1.36], middle, 0.34, yerr=error, capsize=3, label=labels,
            color=["#b9c7d6", "#1b6ca8"] * 2)
axes[0].set_xticks([0.18, 1.18], list(by_base))


def plot_pass_at_k(axis, arms, colors):
    for (name, counts), color in zip(arms.items(), colors):
        middle, low, high = torch.tensor([pass_at(counts, k) for k in ks]).T
        axis.fill_between(ks, low, high, color=color, alpha=0.2, lw=0)
        axis.semilogx(ks, middle, "o-", base=2, ms=3, color=color, label=name)
    axis.set(xlabel="k", xticks=ks, xticklabels=ks)


plot_pass_at_k(axes[1], by_base, ("#1b6ca8", "#d1495b"))
plot_pass_at_k(axes[2], after, ("#999999", "#e0a030", "#1b6ca8"))
titles = ("imitation and its corpus", "base: right in one of k", "sums of two terms: right in one of k")
for axis, title in zip(axes, titles):
    axis.set(title=title, ylim=(0, 1.05))
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, fontsize=8)
show_figure(figure, "01_imitation_and_exploration")
if "--full" in sys.argv:      # C1: four ways to go on from three cold starts
    from compare_imitation_rl import study
    study()

# %% [markdown]
# ## What to see
# - Left: imitation aims at its corpus, errors and all. Middle: one sample of the base is right in a quarter
#   of all cases, one of 16 in nine of ten. The right answers are there already.
# - Right: RL takes pass@1 from 0.38 to 0.86, towards the base's own pass@k, more of the corpus to about 0.5.
#   At large k the curves meet: RL made likely what was there. It found nothing that many samples of the base
#   would not have found.
# - Nobody paid for a thought. It led to right answers, so RL made it likely too: in 45% of the texts before,
#   in all after.
# - What it does not show: harder problems, where a group without a right answer teaches nothing; and an
#   expert to imitate: with 3,000 of his solutions imitation is ahead of RL for about the same time
#   (`--full`). RL can do without them.
#
# ## Exercises
# 1. A corpus is right in 90 cases of 100. Would you still want RL? Where does imitation end, and what does RL
#    add?
# 2. c of 16 samples are right on each of two problems: 8 and 8, or 16 and 0. Compare pass@1 and pass@2.
# 3. Put `{"arithmetic": (4,)}` into both arms: sums of six to eight terms. What does a low pass@1 do to RL?
#
# <details><summary>Solutions</summary>
#
# 1. Imitation ends at 90. RL takes the same model towards its pass@k, so it still removes errors, if R is
#    exact.
# 2. pass@1 is 1/2 for both pairs. pass@2: 1 - C(8, 2) / C(16, 2) = 0.77 against (1 + 0) / 2: chance against
#    ability.
# 3. Most groups are all wrong and have no gradient. The reward starts slowly, if at all; easier levels first
#    would help.
# </details>
