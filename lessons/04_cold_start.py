# %% [markdown]
# # 4. The cold start
#
# Question: before RL, DeepSeek-R1 was shown some thousands of clean examples, and here it is 300 short ones. What can so
# few teach, and why not more of them, longer and harder?
#
# You need: lessons 01 and 03. Time: about a minute on a laptop's CPU.
#
# An example is a prompt x and a completion y. Only y is imitated; nobody wants a model that asks questions:
#
#     loss = - sum_i sum_{t in y_i} log p(token_t | all before it) / sum_i |y_i|               (`minireason.sft.train`)
#
# The base model knows sums and how to try, and it knows bad habits too: answers without a thought, two languages in one
# sentence. A few examples are enough to say which of its habits is wanted: the form. For the skill there is RL, and it
# can only show what the examples left to be learned.

# %%
import math
import os
import sys
from collections import OrderedDict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))      # so that it runs from anywhere

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import torch

from minireason import sft
from minireason.behaviour import observe
from minireason.config import SFTConfig, preset
from minireason.corpus import SCORED_LEVELS, base_corpus, golden_examples, tokenize
from minireason.inference import answer_all
from minireason.pretrained import load_pretrained
from minireason.stats import bootstrap_interval, pass_at_k, wilson_interval
from minireason.tasks import parse_prompt, test_problems
from minireason.tokenizer import get_tokenizer
from minireason.verifier import verify

FAST = os.environ.get("LESSON_FAST") == "1"
NUM_PROBLEMS, NUM_GROUPS, NUM_SAMPLES, NUM_SEEN, MAX_NEW_TOKENS = (6, 2, 2, 48, 40) if FAST else (150, 50, 8, 3000, 160)
tokenizer = get_tokenizer()

# %% [markdown]
# ## By hand: completion-only loss
# Prompt 5 6, completion 1 2, and the smallest model there is: a table of p(next | this). p(1 | 6) = 1/2 and p(2 | 1) = 1/4,
# so the loss is (ln 2 + ln 4) / 2 = 1.040. That 6 follows 5 is a matter of the prompt: the row of 5 gets no gradient.

# %%
bigrams = torch.nn.Sequential(OrderedDict(embedding=torch.nn.Embedding(8, 8)))                    # a row of logits a token
rows = bigrams.embedding.weight
with torch.no_grad():
    rows.zero_()[6, 1], rows[1, 2] = math.log(7), math.log(7 / 3)                                 # of 14, and of 28 / 3
before = rows.detach().clone()
line = next(sft.train(bigrams, torch.optim.SGD(bigrams.parameters()), [([5, 6], [1, 2])], SFTConfig(), seed=0))
moved = (rows != before).any(1).nonzero()[:, 0].tolist()
assert abs(line["loss"] - (math.log(2) + math.log(4)) / 2) < 1e-6 and line["num_tokens"] == 2 and moved == [1, 6]
inputs, targets = sft.collate([([5, 6], [1, 2])], "cpu")
print(f"by hand: loss {line['loss']:.3f}, inputs {inputs.tolist()}, targets {targets.tolist()}, rows that moved {moved}")

# %% [markdown]
# ## Golden examples
# Right, English, at most two steps that matter: two results in a sum, two tries in countdown. And all are easier than
# what will be scored. The experts' set has every scored level and as many tries as it takes. Beside them the base corpus.


# %%
def look(pairs):
    """What (problem, completion) pairs do: {name: (how many, of how many)}."""
    seen, right = [observe(*pair) for pair in pairs], [verify(*pair).correct for pair in pairs]
    count = lambda name: sum(getattr(one, name) for one in seen)
    thinks = [one.thinks for one in seen]
    return {"well formed": (count("well_formed"), len(seen)), "thinks": (sum(thinks), len(seen)),
            "mixes": (sum(one.mixed for one in seen if one.thinks), sum(thinks)), "right": (sum(right), len(seen)),
            "right if it thinks": (sum(ok for ok, t in zip(right, thinks) if t), sum(thinks)),
            "wrong steps": (count("num_wrong_steps"), count("num_steps")), "false yes": (count("num_false_yes"), count("num_yes"))}


def cell(k, n):
    """A share with its Wilson interval and what it was counted on."""
    return "{:.2f} [{:.2f}, {:.2f}] of {}".format(k / max(1, n), *wilson_interval(k, n), n)


def print_table(title, columns):
    print(f"\n{title:18}" + "".join(f"{name:>27}" for name in columns))
    for key in look([]):
        print(f"{key:18}" + "".join(f"{cell(*counts[key]):>27}" for counts in columns.values()))


SETS = {"base corpus": base_corpus(0, NUM_SEEN), "300 easy": golden_examples(0, 300),
        "3,000 expert": golden_examples(0, NUM_SEEN, expert=True)}
pairs = {name: [(parse_prompt(p), c) for p, c in documents if p.startswith(("compute", "make"))]
         for name, documents in SETS.items()}
print_table("sums, countdown", {name: look(some) for name, some in pairs.items()})
lengths = {name: [len(tokenizer.encode_tagged(c)) for _, c in some] for name, some in pairs.items()}
print("tokens each:", {name: round(sum(some) / len(some)) for name, some in lengths.items()})
for prompt, completion in SETS["300 easy"][:4]:
    print(f"    {prompt:28} {completion}")

# %% [markdown]
# ## Three cold starts
# From the shipped base, with the settings of `train.py`. Each sees 3,000 examples: 30 of them 100 times, 300 of them 10
# times (as in the real run), 3,000 experts' once. Then all answer the same held-out problems, once each.

# %%
settings = preset("laptop").cold_start
models = {"base": load_pretrained("base")}
for name, documents in (("30 easy", SETS["300 easy"][:30]), ("300 easy", SETS["300 easy"]), ("3,000 expert", SETS["3,000 expert"])):
    settings.num_epochs = max(1, NUM_SEEN // len(documents))
    model = models[name] = load_pretrained("base").train()
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.95), weight_decay=settings.weight_decay)
    losses = [line["loss"] for line in sft.train(model, optimizer, tokenize(tokenizer, documents), settings, seed=0)]
    print(f"{name}: loss {losses[0]:.3f}, then {losses[-1]:.3f} after {len(losses)} steps")

TASKS, form, skill = ("arithmetic", "countdown"), {}, {}
held_out = {task: test_problems(task, SCORED_LEVELS[task], NUM_PROBLEMS, seed=1) for task in TASKS}
for name, model in models.items():
    pairs = {task: [(problem, text) for problem, (text, _) in zip(problems, answer_all(
        model.eval(), tokenizer, [p.prompt for p in problems], MAX_NEW_TOKENS, seed=1))] for task, problems in held_out.items()}
    form[name] = look(sum(pairs.values(), []))
    skill[name] = {task: look(pairs[task]) for task in TASKS}
    for problem, text in (pairs[task][0] for task in TASKS):
        print(f"{name:12} {problem.prompt:20} {text:.95}")
for task in TASKS:
    print_table(task, {name: by_task[task] for name, by_task in skill.items()})

# %% [markdown]
# ## What is left for RL
# RL learns where a group holds both: a right and a wrong answer (lesson 07). So, several samples for each problem: how
# often are they of two minds, and how far is pass@1 from what one of several would reach?

# %%
left = {}
for name in ("base", "300 easy", "3,000 expert"):
    for task in TASKS:
        problems = held_out[task][:NUM_GROUPS]
        answers = answer_all(models[name], tokenizer, [p.prompt for p in problems for _ in range(NUM_SAMPLES)], MAX_NEW_TOKENS, 2)
        right = torch.tensor([verify(problems[i // NUM_SAMPLES], text).correct for i, (text, _) in enumerate(answers)])
        counts = right.view(-1, NUM_SAMPLES).sum(1).tolist()
        reached = [bootstrap_interval([[pass_at_k(NUM_SAMPLES, c, k) for c in counts]]) for k in (1, NUM_SAMPLES)]
        left[name, task] = reached[0][0], reached[1][0], (both := sum(0 < c < NUM_SAMPLES for c in counts))
        print(f"{name:12} {task:10} groups of {NUM_SAMPLES} of two minds {cell(both, NUM_GROUPS)}; " + ", ".join(
            f"pass@{k} {{:.2f}} [{{:.2f}}, {{:.2f}}]".format(*one) for k, one in zip((1, NUM_SAMPLES), reached)))

# %%
COLORS = {"base": "#999999", "30 easy": "#e0a030", "300 easy": "#1b6ca8", "3,000 expert": "#d1495b"}
figure, axes = plt.subplots(1, 3, figsize=(10.5, 3.4), layout="constrained", width_ratios=(1, 1.25, 1))
FORM = ("well formed", "thinks", "mixes")
SKILL = (("arithmetic", "right"), ("countdown", "right"), ("arithmetic", "wrong steps"), ("countdown", "false yes"))
for i, (name, color) in enumerate(COLORS.items()):
    for one, counts in ((axes[0], [form[name][key] for key in FORM]), (axes[1], [skill[name][task][key] for task, key in SKILL])):
        shares = torch.tensor([k / max(1, n) for k, n in counts])
        low, high = torch.tensor([wilson_interval(k, n) for k, n in counts]).T
        one.bar(torch.arange(len(counts)) + 0.2 * (i - 1.5), shares, 0.18, color=color, label=name, error_kw={"lw": 0.8},
                yerr=torch.stack([shares - low, high - shares]).clamp(min=0))
    for row, task in enumerate(TASKS):
        if (name, task) in left:
            (one, several, both), y = left[name, task], row + 0.2 * (i - 1.5)
            axes[2].plot([one, several], [y, y], "o-", color=color, lw=2, ms=5, markevery=[0])
            axes[2].text(several + 0.02, y, f"{both / NUM_GROUPS:.0%}", va="center", fontsize=8)
axes[0].set_xticks(range(len(FORM)), FORM)
axes[1].set_xticks(range(len(SKILL)), [f"{task}\n{key}" for task, key in SKILL])
axes[2].set_yticks(range(len(TASKS)), TASKS, rotation=90, va="center")
axes[2].set_xlabel(f"pass@1 (dot) to pass@{NUM_SAMPLES} (end); groups of two minds", fontsize=8)
axes[2].set_xlim(0, 1.15)
for one, title in zip(axes, ("form", f"skill, {NUM_PROBLEMS} held-out problems a task", "what is left for RL")):
    one.set_title(title, fontsize=10)
    one.tick_params(labelsize=8)
    one.spines[["top", "right"]].set_visible(False)
    one.set_ylim(*(0, 1.3) if one is not axes[2] else (1.6, -0.6))
axes[0].legend(frameon=False, fontsize=7, ncols=2, loc="upper center")
path = Path(__file__).resolve().parent / "results" / f"04_cold_start{'-fast' if FAST else ''}.png"
figure.savefig(path, dpi=120)
print(f"the figure is in {path}")

# %% [markdown]
# ## What to see
# - Form comes at once, from 30 examples too: each answer is thought about, in one language. The corpus had all of that,
#   among other things. Where fewer texts are well formed than before, tries went on until the text was cut off.
# - Skill takes more. Compare "right" after the cold start with "right if it thinks" of the base: as far as these are equal,
#   it taught nothing but to think each time. And look at "false yes", tries called a success that are none: the examples
#   show how a success is written, not how to look whether it is one.
# - The experts, in as many steps, bring a higher pass@1; whether fewer groups are of two minds, see by the intervals. Good
#   for the score, and bad for seeing what RL does: what they taught, RL cannot show any more. Hence few, easy, short ones.
# - What it does not show: RL itself, and many passes over the experts' set. The README's table goes on from here.
#
# The trap: the loss. It is lowest for 30 examples, which are known by heart after 100 passes, and theirs is not the model
# to go on with. The loss on text that was seen says nothing about problems that were not.
#
# ## Exercises
# 1. Let the loss count the prompts too (targets of `collate`). What can be learned there, and what does it cost?
# 2. Write the 300 examples in Spanish (`Voice(rng, "es")`). Which bars change?
# 3. Give the experts' 3,000 examples five passes (a few minutes). What is left for RL now?
#
# <details><summary>Solutions</summary>
#
# 1. That numbers are drawn at random: nothing that helps to answer, and a loss that stays high. In large models with few
#    examples it is a mild regularizer; here it takes gradient away from what is scored.
# 2. None of them, if all goes well: "mixes" counts words of both languages in one text. The language is form.
# 3. The higher pass@1, the fewer groups of two minds. Compare with pass@1 of the shipped "rl" model: experts can do as
#    well as RL from easy examples. What RL needs none of is the experts.
# </details>
