# %% [markdown]
# # 4. The cold start
#
# Question: before RL, DeepSeek-R1 was shown some thousands of clean examples, and here it is 300 short ones.
# What can so few teach, and why not more of them, longer and harder?
#
# You need: lessons 01 and 03. Time: about a minute on a laptop's CPU.
#
# An example is a prompt x and a completion y. Only y is imitated; nobody wants a model that asks questions:
#
#     loss = - sum_i sum_{t in y_i} log p(token_t | all before it) / sum_i |y_i|    (`minireason.sft.train`)
#
# The base knows sums and how to try, and bad habits too: no thought, two languages in one sentence. A few
# examples are enough to say which habit is wanted: the form. For the skill there is RL, which can only show
# what the examples left to learn.

# %%
import math
import os
import sys
from collections import OrderedDict
from pathlib import Path

# Where to find `shared`: in this file's folder or, in a notebook, in the working folder or its lessons/.
FOLDER = Path(globals().get("__file__", "notebook")).resolve().parent
sys.path[:0] = [str(FOLDER), str(FOLDER / "lessons")]

import torch
from shared import show_figure

from minireason import sft
from minireason.behaviour import observe
from minireason.config import ModelConfig, SFTConfig, TaskConfig, preset
from minireason.corpus import base_corpus, golden_examples, tokenize
from minireason.inference import answer_all
from minireason.optimizer import adamw
from minireason.run import open_model
from minireason.stats import bootstrap_interval, pass_at_k, wilson_interval
from minireason.tasks import parse_prompt, test_problems
from minireason.tokenizer import get_tokenizer
from minireason.tools.plots import new_figure
from minireason.verifier import verify

FAST = os.environ.get("LESSON_FAST") == "1"
NUM_PROBLEMS = 6 if FAST else 150        # of each task
NUM_GROUPS = 2 if FAST else 50
NUM_SAMPLES = 2 if FAST else 8           # in a group
NUM_SEEN = 48 if FAST else 3000          # examples that a cold start sees
MAX_NEW_TOKENS = 40 if FAST else 160
tokenizer = get_tokenizer()

# %% [markdown]
# ## By hand: completion-only loss
# Prompt 5 6, completion 1 2, and the smallest model there is: a table of p(next | this). p(1 | 6) = 1/2 and
# p(2 | 1) = 1/4, so the loss is (ln 2 + ln 4) / 2 = 1.040. That 6 follows 5 is a matter of the prompt: the
# row of 5 gets no gradient.

# %%
bigrams = torch.nn.Sequential(OrderedDict(embedding=torch.nn.Embedding(8, 8)))      # a row of logits a token
bigrams.config = ModelConfig()                                                      # how long a row may be
rows = bigrams.embedding.weight
with torch.no_grad():
    rows.zero_()
    rows[6, 1] = math.log(7)                                                        # 7 of 14
    rows[1, 2] = math.log(7 / 3)                                                    # 7 / 3 of 28 / 3
before = rows.detach().clone()
example = ([5, 6], [1, 2])
optimizer = torch.optim.SGD(bigrams.parameters())
line = next(sft.train(bigrams, optimizer, [example], SFTConfig(), seed=0))
moved = (rows != before).any(1).nonzero()[:, 0].tolist()
assert abs(line["loss"] - (math.log(2) + math.log(4)) / 2) < 1e-6
assert line["num_tokens"] == 2 and moved == [1, 6]
inputs, targets = sft.collate([example], "cpu")
print(f"by hand: loss {line['loss']:.3f}, inputs {inputs.tolist()}, targets {targets.tolist()}, "
      f"rows that moved {moved}")

# %% [markdown]
# ## Golden examples
# Right, English, at most two steps that matter: two results in a sum, two tries in countdown. And all are
# easier than what will be scored. The experts' set has every scored level and as many tries as it takes:
# twice the tokens.

# %%
def look(pairs):
    """What (problem, completion) pairs do: {name: (how many, of how many)}."""
    behaviours = [observe(*pair) for pair in pairs]
    right = [verify(*pair).correct for pair in pairs]
    thinking = [behaviour for behaviour in behaviours if behaviour.thinks]
    right_thinking = [correct for correct, behaviour in zip(right, behaviours) if behaviour.thinks]

    def total(name):
        return sum(getattr(behaviour, name) for behaviour in behaviours)

    return {"well formed": (total("well_formed"), len(pairs)),
            "thinks": (len(thinking), len(pairs)),
            "mixes": (sum(behaviour.mixed for behaviour in thinking), len(thinking)),
            "right": (sum(right), len(pairs)),
            "right if it thinks": (sum(right_thinking), len(thinking)),
            "wrong steps": (total("num_wrong_steps"), total("num_steps")),
            "false yes": (total("num_false_yes"), total("num_yes"))}


def share(number, total):
    """(share, low, high)."""
    return (number / max(1, total), *wilson_interval(number, total))


def cell(number, total):
    return "{:.2f} [{:.2f}, {:.2f}] of {}".format(*share(number, total), total)


def print_table(title, columns):
    print(f"\n{title:18}" + "".join(f"{name:>27}" for name in columns))
    for key in look([]):
        print(f"{key:18}" + "".join(f"{cell(*counts[key]):>27}" for counts in columns.values()))


def problems_in(documents):
    """(problem, completion) of the sums and of countdown."""
    pairs = []
    for prompt, completion in documents:
        if prompt.startswith(("compute", "make")):
            pairs.append((parse_prompt(prompt), completion))
    return pairs


SETS = {"base corpus": base_corpus(0, NUM_SEEN), "300 easy": golden_examples(0, 300),
        "3,000 expert": golden_examples(0, NUM_SEEN, expert=True)}
print_table("sums, countdown", {name: look(problems_in(documents)) for name, documents in SETS.items()})
for prompt, completion in SETS["300 easy"][:4]:
    print(f"    {prompt:28} {completion}")

# %% [markdown]
# ## Three cold starts
# From the shipped base, with the settings of `train.py`. Each sees 3,000 examples: 30 of them 100 times, 300
# of them 10 times (as in the real run), 3,000 experts' once. Then all answer the same held-out problems, once
# each.

# %%
settings = preset("laptop").cold_start
models = {"base": open_model("pretrained", "base")[0]}
EXAMPLES = {"30 easy": SETS["300 easy"][:30], "300 easy": SETS["300 easy"],
            "3,000 expert": SETS["3,000 expert"]}
for name, documents in EXAMPLES.items():
    settings.num_epochs = max(1, NUM_SEEN // len(documents))
    model = models[name] = open_model("pretrained", "base")[0].train()
    optimizer = adamw(settings, model)
    lines = sft.train(model, optimizer, tokenize(tokenizer, documents), settings, seed=0)
    losses = [line["loss"] for line in lines]
    print(f"{name}: loss {losses[0]:.3f}, then {losses[-1]:.3f} after {len(losses)} steps")


def answer(model, problems, seed):
    """(problem, completion) of each."""
    prompts = [problem.prompt for problem in problems]
    texts = [text for text, _ in answer_all(model.eval(), tokenizer, prompts, MAX_NEW_TOKENS, seed)]
    return list(zip(problems, texts))


TASKS = ("arithmetic", "countdown")
FORM = ("well formed", "thinks", "mixes")
SKILL = (("arithmetic", "right"), ("countdown", "right"), ("arithmetic", "wrong steps"),
         ("countdown", "false yes"))
levels = TaskConfig().levels                                      # those that are scored
held_out = {task: test_problems(task, levels[task], NUM_PROBLEMS, seed=1) for task in TASKS}
skill = {}                                                        # {model: {task: counts}}
bars = {}                                                         # {model: shares for each of three panels}
for name, model in models.items():
    pairs = {task: answer(model, held_out[task], 1) for task in TASKS}
    form = look(pairs["arithmetic"] + pairs["countdown"])
    skill[name] = {task: look(pairs[task]) for task in TASKS}
    form_shares = {key: share(*form[key]) for key in FORM}
    skill_shares = {f"{task}\n{key}": share(*skill[name][task][key]) for task, key in SKILL}
    bars[name] = (form_shares, skill_shares, {})
    for task in TASKS:
        problem, text = pairs[task][0]
        print(f"{name:12} {problem.prompt:20} {text:.95}")
for task in TASKS:
    print_table(task, {name: by_task[task] for name, by_task in skill.items()})

# %% [markdown]
# ## What is left for RL
# RL learns where a group holds both: a right and a wrong answer (lesson 07). So, several samples for each
# problem: how often are they of two minds, and how far is pass@1 from what one of several would reach?

# %%
def pass_at(counts, k):
    """(mean, low, high) of pass@k, from how many samples of each problem are right."""
    return bootstrap_interval([[pass_at_k(NUM_SAMPLES, count, k) for count in counts]])


for name in ("base", "300 easy", "3,000 expert"):
    for task in TASKS:
        problems = []                                             # each NUM_SAMPLES times
        for problem in held_out[task][:NUM_GROUPS]:
            problems += [problem] * NUM_SAMPLES
        right = torch.tensor([verify(*pair).correct for pair in answer(models[name], problems, 2)])
        counts = right.view(-1, NUM_SAMPLES).sum(1).tolist()
        both = sum(0 < count < NUM_SAMPLES for count in counts)
        one, several = pass_at(counts, 1), pass_at(counts, NUM_SAMPLES)
        left_for_rl = bars[name][2]
        left_for_rl[f"{task}\npass@{NUM_SAMPLES}"] = several
        left_for_rl[f"{task}\ntwo minds"] = share(both, NUM_GROUPS)
        print(f"{name:12} {task:10} groups of {NUM_SAMPLES} of two minds {cell(both, NUM_GROUPS)}; "
              + "pass@1 {:.2f} [{:.2f}, {:.2f}], ".format(*one)
              + f"pass@{NUM_SAMPLES} " + "{:.2f} [{:.2f}, {:.2f}]".format(*several))

# %%
figure, axes = new_figure(1, 3, figsize=(10.5, 3.4), width_ratios=(1, 1.25, 1))
for i, (name, color) in enumerate(zip(bars, ("#999999", "#e0a030", "#1b6ca8", "#d1495b"))):
    for axis, shares in zip(axes, bars[name]):
        if shares:
            middle, low, high = torch.tensor(list(shares.values())).T
            axis.bar(torch.arange(len(shares)) + 0.2 * (i - 1.5), middle, 0.18, color=color, label=name,
                     error_kw={"lw": 0.8}, yerr=torch.stack([middle - low, high - middle]).clamp(min=0))
            axis.set_xticks(range(len(shares)), shares)
titles = ("form", f"skill, {NUM_PROBLEMS} held-out problems a task", "what is left for RL")
for axis, title in zip(axes, titles):
    axis.set_title(title, fontsize=10)
    axis.tick_params(labelsize=8)
    axis.spines[["top", "right"]].set_visible(False)
    axis.set_ylim(0, 1.3)
axes[0].legend(frameon=False, fontsize=7, ncols=2, loc="upper center")
show_figure(figure, "04_cold_start")

# %% [markdown]
# ## What to see
# - Form comes at once, from 30 examples too: nearly all texts think, in one language. The corpus had all of
#   that, among other things. In countdown fewer texts are well formed than before: most others tried on until
#   they were cut off.
# - Skill takes more. After 30 examples no more is right than before. After 300 much more is, but compare it
#   with "right if it thinks" of the base: the intervals overlap, so much of what was taught is to think each
#   time. And "false yes", tries called a success that are none: 0.38, then 0.41 (experts 0.20). Easy examples
#   show how a yes is written, not when it holds.
# - The experts, in about as many steps, are a little ahead in pass@1, though the intervals overlap, and leave
#   as many groups of two minds, or more. But what they taught, RL cannot show any more. Hence few, easy,
#   short ones.
# - What it does not show: RL itself, and many passes over the experts' set. `lessons/results` goes on from
#   here.
# - The trap: the loss is lowest for 30 examples, known by heart. On text that was seen it says nothing about
#   new problems.
#
# ## Exercises
# 1. Let the loss count the prompts too (targets of `collate`). What can be learned there, and what does it
#    cost?
# 2. Write the 300 examples in Spanish (`Voice(rng, "es")`). Which bars change?
# 3. Give the experts' 3,000 examples five passes (a few minutes). What is left for RL now?
#
# <details><summary>Solutions</summary>
#
# 1. That numbers are drawn at random: it helps no answer, the loss stays high, and gradient is taken from
#    what is scored.
# 2. None of them, if all goes well: "mixes" counts words of both languages in one text. The language is form.
# 3. Near a pass@1 of 1, few groups are of two minds. Experts can do as well as RL does here. RL can do
#    without the experts.
# </details>
