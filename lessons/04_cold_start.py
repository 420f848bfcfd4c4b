# %% [markdown]
# # 4. The cold start
#
# Question: before RL, a model is shown a few hundred clean examples. What can so few teach? And why
# not more of them, longer and harder?
#
# You need: lessons 01 and 03. Time: about a minute on a laptop's CPU.
#
# The base knows some arithmetic and how to try things. It also has bad habits: it answers without a
# thought, or writes two languages in one sentence. All that is in its corpus.
#
# The *cold start* is a short stage of imitation between the base and RL. DeepSeek-R1 was shown some
# thousands of clean examples, and our model sees 300. A few examples are enough to say which of its
# habits is wanted. More skill is left for RL to find.

# %%
import math
import os
import sys
from pathlib import Path

# Where to find `shared`: in this file's folder or, in a notebook, in the working folder or its lessons/.
FOLDER = Path(globals().get("__file__", "notebook")).resolve().parent
sys.path[:0] = [str(FOLDER), str(FOLDER / "lessons")]

import torch
from shared import error_bars, label, show_figure

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
NUM_GROUPS = 2 if FAST else 40
NUM_SAMPLES = 2 if FAST else 8           # completions in a group
NUM_SEEN = 48 if FAST else 3000          # examples that a cold start sees, repetitions included
MAX_NEW_TOKENS = 40 if FAST else preset("laptop").rl.max_new_tokens

# %% [markdown]
# ## By hand: only the completion counts
#
# An example is a prompt and a completion. Only the completion is imitated. We want a model that
# answers questions, not one that asks them:
#
#     loss = - sum of log p(token) over the tokens of the completions / number of these tokens
#
# Take the smallest model there is: a table of the probabilities p(next token | this token). The
# prompt is 5 6 and the completion is 1 2. Let p(1 | 6) = 1/2 and p(2 | 1) = 1/4. Then the loss is
# (ln 2 + ln 4) / 2 = 1.040. That 6 follows 5 belongs to the prompt, so the row of 5 gets no
# gradient.
#
# This function puts examples into the form that the loss needs. What is not to be imitated gets the
# target -100, which the loss leaves out. So does the *padding* behind a text, which fills the rows
# up to a length at which the processor is fast.
#
# <!-- From minireason/sft.py: collate -->
# ```python
# def collate(examples: list, device: torch.device | str,
#             max_length: int | None = None) -> tuple[torch.Tensor, torch.Tensor]:
#     """Examples as tensors, padded on the right, to at most the model's `max_length`.
#
#     Returns inputs (B, T-1) and targets (B, T-1): [5, 6] and [7, 8] become 5 6 7 and -100 7 8.
#     """
#     longest = max(num_tokens_of(example) for example in examples)
#     T = 1 + kernels.padded(longest - 1, max_length)
#     ids = torch.zeros(len(examples), T, dtype=torch.long)
#     targets = torch.full((len(examples), T), IGNORED)
#     for i, (prompt, completion, *_) in enumerate(examples):
#         text = torch.tensor(prompt + completion)
#         ids[i, :len(text)] = text
#         targets[i, len(prompt):len(text)] = text[len(prompt):]
#     return ids[:, :-1].to(device), targets[:, 1:].to(device)
# ```
# <!-- End of excerpt -->


# %%
class Table(torch.nn.Module):
    """A row of logits for each token: scores of what may come next. It knows nothing else."""

    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(8, 8)
        self.config = ModelConfig()      # says how long a text may be

    def forward(self, ids):
        return self.embedding(ids)


table = Table()
rows = table.embedding.weight
with torch.no_grad():
    rows.zero_()                         # then exp(logit) is 1 for each of the eight tokens
    rows[6, 1] = math.log(7)             # p(1 | 6) = 7 / (7 + 7 others) = 1/2
    rows[1, 2] = math.log(7 / 3)         # p(2 | 1) = 7/3 / (7/3 + 7 others) = 1/4
rows_before = rows.detach().clone()
example = ([5, 6], [1, 2])
inputs, targets = sft.collate([example], "cpu")
print("inputs", inputs.tolist(), "targets", targets.tolist())

optimizer = torch.optim.SGD(table.parameters())
line = next(sft.train(table, optimizer, [example], SFTConfig(), seed=0))
changed_rows = (rows != rows_before).any(1).nonzero()[:, 0].tolist()
print(f"loss {line['loss']:.3f}, rows that changed: {changed_rows}")
assert abs(line["loss"] - (math.log(2) + math.log(4)) / 2) < 1e-6 and changed_rows == [1, 6]

# %% [markdown]
# Behind the 2 stands padding (how much depends on the processor): nothing is to be predicted there.
#
# ## Three sets of examples
#
# - *Easy*: right, in English, short, and below the hardest level that is scored. The pipeline uses
#   300 of these.
# - *Thirty*: the first 30 of them.
# - *Expert*: 3,000 examples of all scored levels, with as many tries as it takes (`--expert` for
#   train.py).
#
# We print some of the easy ones. Then we count what the documents of the base's corpus, of the easy
# and of the expert set do. Two words of the
# table are new. A completion is *well formed* if it has its thought and its answer between the
# right tags, and nothing else. A *false yes* is a try that the text calls a success although it is
# not one, such as `3*8=24 is 42 yes`.

# %%
SETS = {
    "base corpus": base_corpus(0, NUM_SEEN),
    "300 easy": golden_examples(0, 300),
    "3,000 expert": golden_examples(0, NUM_SEEN, expert=True),
}
for prompt, completion in SETS["300 easy"][:4]:
    print(f"{prompt:26} {completion}")


def count_behaviour(pairs):
    """What (problem, completion) pairs do: {name: (how many, of how many)}."""
    behaviours = [observe(problem, text) for problem, text in pairs]
    right = [verify(problem, text).correct for problem, text in pairs]
    thinking = [behaviour for behaviour in behaviours if behaviour.thinks]
    right_thinking = [correct for correct, behaviour in zip(right, behaviours) if behaviour.thinks]
    num_yes = sum(behaviour.num_yes for behaviour in behaviours)
    num_steps = sum(behaviour.num_steps for behaviour in behaviours)
    return {
        "well formed": (sum(behaviour.well_formed for behaviour in behaviours), len(pairs)),
        "thinks": (len(thinking), len(pairs)),
        "two languages": (sum(behaviour.mixed for behaviour in thinking), len(thinking)),
        "right": (sum(right), len(pairs)),
        "right if it thinks": (sum(right_thinking), len(right_thinking)),
        "wrong steps": (sum(behaviour.num_wrong_steps for behaviour in behaviours), num_steps),
        "false yes": (sum(behaviour.num_false_yes for behaviour in behaviours), num_yes),
    }


# %%
def share(count, total):
    """A share with its Wilson interval: (share, low, high)."""
    return (count / max(1, total), *wilson_interval(count, total))


BEHAVIOURS = ("well formed", "thinks", "two languages", "right", "right if it thinks",
              "wrong steps", "false yes")


def print_table(title, columns):
    """One row for each behaviour, one column for each {name: counts}."""
    print(f"\n{title:18}" + "".join(f"{name:>21}" for name in columns))
    for behaviour in BEHAVIOURS:
        cells = ""
        for counts in columns.values():
            count, total = counts[behaviour]      # nobody claims success in a sum: 0 of 0
            text = "{:.2f} [{:.2f}, {:.2f}]".format(*share(count, total)) if total else "-"
            cells += f"{text:>21}"
        print(f"{behaviour:18}" + cells)


def with_problems(documents):
    """(problem, completion) of the documents on arithmetic and countdown."""
    pairs = []
    for prompt, completion in documents:
        if prompt.startswith(("compute", "make")):
            pairs.append((parse_prompt(prompt), completion))
    return pairs


columns = {name: count_behaviour(with_problems(documents)) for name, documents in SETS.items()}
print_table("documents", columns)

# %% [markdown]
# ## Three cold starts
#
# Each starts from the base, with the settings of `train.py`. A cold start is short and gentle: 63
# to 100 steps of at most 48 examples, at a highest learning rate of 5e-4. The base took 6,667
# steps of 24 texts, at 2e-3. So little of what the base knows is lost. Each sees about 3,000
# examples: 30 of them 100 times, 300 of them 10 times as in the pipeline, or 3,000 once.

# %%
tokenizer = get_tokenizer()
settings = preset("laptop").cold_start
models = {"base": open_model("pretrained", "base")[0]}
EXAMPLES = {
    "30 easy": SETS["300 easy"][:30],
    "300 easy": SETS["300 easy"],
    "3,000 expert": SETS["3,000 expert"],
}
for name, documents in EXAMPLES.items():
    settings.num_epochs = max(1, NUM_SEEN // len(documents))
    model = open_model("pretrained", "base")[0].train()
    optimizer = adamw(settings, model)
    lines = list(sft.train(model, optimizer, tokenize(tokenizer, documents), settings, seed=0))
    models[name] = model.eval()
    losses = [line["loss"] for line in lines]
    print(f"{name:13} {len(losses)} steps, first loss {losses[0]:.3f}, last {losses[-1]:.3f}")

# %% [markdown]
# (The first loss is low already. In a clean thought most tokens follow from the tokens before them,
# and the base can predict those. Guesses and small talk cannot be predicted, but only its corpus
# has them.)
#
# Then all models answer the same held-out problems, each of them once.

# %%
TASKS = ("arithmetic", "countdown")
levels = TaskConfig().levels             # the levels that are scored
held_out = {task: test_problems(task, levels[task], NUM_PROBLEMS, seed=1) for task in TASKS}


def answer(model, problems, seed):
    """(problem, completion) of each problem."""
    prompts = [problem.prompt for problem in problems]
    answers = answer_all(model, tokenizer, prompts, MAX_NEW_TOKENS, seed)
    return [(problem, text) for problem, (text, _) in zip(problems, answers)]


form, skill = {}, {}                     # {model: counts} of both tasks; {task: {model: counts}}
for name, model in models.items():
    all_pairs = []
    for task in TASKS:
        pairs = answer(model, held_out[task], seed=1)
        skill.setdefault(task, {})[name] = count_behaviour(pairs)
        all_pairs += pairs
        print(f"{name:13} {pairs[0][0].prompt:20} {pairs[0][1]:.85}")
    form[name] = count_behaviour(all_pairs)
for task in TASKS:
    print_table(task, skill[task])

# %% [markdown]
# ## What is left for RL
#
# RL learns from a group only if it holds right and wrong completions: otherwise there is nothing to
# prefer. So we draw a group for each of some problems, and count the groups that hold both. pass@k
# says how far RL could go with what is in the model.

# %%
pass_at_most, both = {}, {}              # {task: {model: (share, low, high)}}
for task in TASKS:
    pass_at_most[task], both[task] = {}, {}
    problems = []                        # each one NUM_SAMPLES times
    for problem in held_out[task][:NUM_GROUPS]:
        problems += [problem] * NUM_SAMPLES
    for name, model in models.items():
        right = [verify(problem, text).correct for problem, text in answer(model, problems, seed=2)]
        counts = torch.tensor(right).view(-1, NUM_SAMPLES).sum(1).tolist()
        chances = [pass_at_k(NUM_SAMPLES, count, NUM_SAMPLES) for count in counts]
        pass_at_most[task][name] = bootstrap_interval([chances])
        both[task][name] = share(sum(0 < count < NUM_SAMPLES for count in counts), NUM_GROUPS)
        print(f"{name:13} {task:10} pass@1 {sum(right) / len(right):.2f}, "
              f"pass@{NUM_SAMPLES} {pass_at_most[task][name][0]:.2f}, "
              f"groups with right and wrong {both[task][name][0]:.2f}")

# %% [markdown]
# ## The figure: `04_cold_start`
#
# In each picture the four colors are the base and the three cold starts. On the left is form, how
# an answer is written: compare gray with the others. In the middle is skill, whether it is right:
# compare orange (30 examples) with blue (300) and red (the experts'). For two languages, wrong
# steps and false yes, lower is better. On the right is what is left for RL.

# %%
form_bars, skill_bars, rl_bars = {}, {}, {}      # {label of a place: {model: (share, low, high)}}
for behaviour in ("well formed", "thinks", "two languages"):
    form_bars[behaviour] = {name: share(*form[name][behaviour]) for name in models}
SHOWN = (("arithmetic", "right"), ("countdown", "right"), ("arithmetic", "wrong steps"),
         ("countdown", "false yes"))
for task, behaviour in SHOWN:
    counts = skill[task]
    skill_bars[f"{task}\n{behaviour}"] = {name: share(*counts[name][behaviour]) for name in models}
for task in TASKS:
    rl_bars[f"{task}\nany right\n(pass@{NUM_SAMPLES})"] = pass_at_most[task]
    rl_bars[f"{task}\nright and\nwrong"] = both[task]

figure, axes = new_figure(1, 3, figsize=(10, 3.8), width_ratios=(1, 1.25, 1.25))
COLORS = ("#999999", "#e0a030", "#1b6ca8", "#d1495b")
for axis, bars in zip(axes, (form_bars, skill_bars, rl_bars)):
    for i, (name, color) in enumerate(zip(models, COLORS)):
        middles, errors = error_bars([by_model[name] for by_model in bars.values()])
        places = torch.arange(len(bars)) + 0.2 * (i - 1.5)
        axis.bar(places, middles, 0.18, yerr=errors, color=color, error_kw={"lw": 0.8}, label=name)
    axis.set_xticks(range(len(bars)), bars)
    axis.set_ylim(0, 1.05)
label(axes[0], "form", "behaviour", "share of the completions", legend=False)
label(axes[1], "skill", "task and behaviour", "share", legend=False)
label(axes[2], "what is left for RL", "task and group", "share of the groups", legend=False)
handles, names = axes[0].get_legend_handles_labels()
figure.legend(handles, names, frameon=False, fontsize=8, ncols=4, loc="outside upper center")
show_figure(figure, "04_cold_start")

# %% [markdown]
# ## What to see
#
# - Left: form comes at once, even from 30 examples. Nearly all completions think, and in one
#   language. (2 to 6% of the completions still mix. The printed sum is such a case in all three
#   cold starts. *revisa* (check) or *prueba* (try) stands between English words.) The base could do
#   all of that, among other things. The examples only say which habit is wanted. (RL may bring two
#   languages back, because it rewards nothing but right answers. Lesson 12 puts a price on them.)
# - Left, first bars: a cold start may make fewer completions well formed than before. The base
#   often gives up or guesses. After a cold start the model goes on trying, and some completions are
#   cut off before they come to an answer.
# - Middle, arithmetic: more answers are right even after 30 examples. Nearly all of that is form.
#   Where the base thinks, it is right about as often as the new model (the row *right if it
#   thinks*). The new model just thinks each time.
# - Middle, countdown: thinking alone helps less, so skill takes more examples. After 300 many more
#   answers are right than after 30.
# - Middle, false yes: after 300 easy examples about the same share of *yes* is false as in the
#   base, and after 30 a larger one. All verdicts of these examples are true. But in the countdown
#   examples among the 30, 82% of the verdicts are *yes*, so a model that reads them a hundred times
#   learns to say *yes*. In the base's corpus it is 33%. In the experts' examples it is 30%, and
#   they help.
# - Right, orange: a model that knows 30 examples by heart has lost variety. It repeats itself, so
#   several completions help it less than they help the base.
# - Right: the base has many groups that hold right and wrong completions, so RL can start from it
#   directly. Lesson 12 does so. The cold start does not make RL possible. It gives RL a good form
#   to start from, and saves the time that RL would need to find it.
#
# So why few, easy and short examples? Not because they train better: the experts' 3,000 lead to at
# least as many right answers. But somebody has to write the examples, and few easy ones are less
# work. And what imitation has taught already cannot be credited to RL. With few easy examples we
# see what RL finds by itself.
#
# The trap: the final loss is lowest for 30 examples, because the model knows them by heart. A loss
# on texts that were trained on says nothing about new problems.
#
# ## What it does not show
#
# - RL after each of these cold starts, and many passes over the experts' examples. [The
#   results](results/C1.md) go on from here.
#
# **Examples of your own?** Let `corpus.cold_start_documents` return them: a list of (prompt, text),
# where a text is `<think>...</think><answer>...</answer>`. Line breaks and the end token are added.
# A word that the tokenizer does not know becomes shorter pieces. A text of more than 512 tokens is
# refused. Nothing checks whether a problem is held out: leave those out with `tasks.is_test`.
#
# ## Exercises
#
# 1. (To think about.) Suppose the loss counts the prompts too. What can be learned from them, and
#    what does it cost?
# 2. (To think about.) Suppose the 300 examples were in Spanish. Which bars of the figure would
#    change?
# 3. Give the experts' 3,000 examples five passes instead of one (a few minutes). What is left for
#    RL then?
#
# <details><summary>Solutions</summary>
#
# 1. The model would learn that the numbers of a problem are random, which helps no answer. The loss
#    stays high, since nobody can predict them, and part of each step is spent on them.
# 2. None, if all goes well. "Two languages" counts words of both languages in one text. The
#    language is form, as the tags are.
# 3. pass@1 comes close to 1 on many problems, so few groups hold right and wrong completions. There
#    is little left for RL.
# </details>
