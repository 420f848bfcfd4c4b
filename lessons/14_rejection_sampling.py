# %% [markdown]
# # 14. Rejection sampling
#
# Question: after RL a model is right more often than the toy internet that it imitated. Can its
# own answers teach its successor?
#
# You need: lessons 02, 04 and 07. Time: about a minute and a half on a laptop's CPU.
#
# In *rejection sampling* a model answers many problems, a filter rejects the poor answers, and
# another model imitates the rest. The model that answers is the *teacher*, the one that imitates
# is the *student*. This is the third step of R1
# ([arXiv:2501.12948](https://arxiv.org/abs/2501.12948)).
#
# Two questions are asked here. Does a filter help? It can ask for more than the reward of RL did:
# it rejects thoughts in two languages, which RL only rewarded half, and answers of more than 190
# tokens, which nearly ran into the limit of 208. And does a fresh start help? The student begins
# at the base again, as in R1. RL may have harmed what the kept texts do not ask for, such as
# small talk. A student that begins at the base has no such harm. (No small talk is measured here,
# so this reason stays untested in this lesson.) What RL had added it learns again, from the kept
# texts.

# %%
import os
import random
import sys
from pathlib import Path

# Where to find `shared`: in this file's folder or, in a notebook, in the working folder or its lessons/.
FOLDER = Path(globals().get("__file__", "notebook")).resolve().parent
sys.path[:0] = [str(FOLDER), str(FOLDER / "lessons")]

from shared import group_bars, label, legend_above, show_figure

from minireason import rejection, sft
from minireason.behaviour import observe
from minireason.config import RejectionConfig, TaskConfig, preset
from minireason.corpus import tokenize
from minireason.inference import answer_all
from minireason.optimizer import adamw
from minireason.rewards import reasoning_world
from minireason.run import open_model
from minireason.stats import bootstrap_interval, wilson_interval
from minireason.tasks import parse_prompt, test_problems
from minireason.tokenizer import get_tokenizer
from minireason.tools.plots import new_figure
from minireason.verifier import verify

FAST = os.environ.get("LESSON_FAST") == "1"      # a quick run, for the tests
NUM_SAMPLED = 16 if FAST else 1500       # problems that the teacher answers, twice each
NUM_PROBLEMS = 6 if FAST else 200        # held-out ones of each task
MAX_NEW_TOKENS = 60 if FAST else preset("laptop").rl.max_new_tokens
tokenizer = get_tokenizer()

# %% [markdown]
# ## The filter
#
# This is the whole filter, from `minireason/rejection.py`. It returns the fate of one answer.
# *Readable* means: well formed, in one language, and the answer is what the last step came to.
# `kept_texts` are the answers to the same problem that were kept before. Each problem may keep
# `max_per_problem` of them, by default 2, and the next ones are "enough".
#
# <!-- From minireason/rejection.py: fate_of -->
# ```python
# def fate_of(problem: Problem, text: str, num_tokens: int, kept_texts: Collection[str],
#             config: RejectionConfig) -> str:
#     """What becomes of one sample: "kept", or the filter that took it.
#
#     `kept_texts` are those that were kept of the same problem before. A text that was cut off is "wrong", as
#     it is not well formed. One exception: if nothing but the end token is missing, it may stay, since
#     `corpus.tokenize` writes that token. (RL pays nothing for such a text.)
#     """
#     if not verify(problem, text).correct:
#         return "wrong"
#     if not observe(problem, text).readable:
#         return "unreadable"
#     if num_tokens > config.max_tokens:
#         return "too long"
#     if text in kept_texts:
#         return "repeated"
#     return "kept" if len(kept_texts) < config.max_per_problem else "enough"
# ```
# <!-- End of excerpt -->
#
# ## By hand: five answers to one problem
#
# All five answer `compute 3*4+2`, which is 14. Be the filter yourself before you run the cell.
#
# 1. A good one.
# 2. The same with the answer 15.
# 3. The same with the Spanish word *luego* in the thought.
# 4. The same with "so" forty times.
# 5. The first one again.

# %%
problem = parse_prompt("compute 3*4+2")
good = "<think>3*4=12 so 12+2=14</think><answer>14</answer>"
five = [good, good.replace("14</answer>", "15</answer>"), good.replace(">3", ">luego 3"),
        good.replace("so ", "so " * 40), good]
fates, kept_texts = [], []
for text in five:
    num_tokens = len(tokenizer.encode_tagged(text))
    fate = rejection.fate_of(problem, text, num_tokens, kept_texts, RejectionConfig(max_tokens=50))
    if fate == "kept":
        kept_texts.append(text)
    fates.append(fate)
print(fates)
assert fates == ["kept", "wrong", "unreadable", "too long", "repeated"]

# %% [markdown]
# ## The teacher answers
#
# The included RL model answers training problems, each of them twice, and each answer meets the
# filter. In 1,500 draws there are 1,477 different problems, so there are 2,954 answers. (The
# printed percents are rounded.) `rejection.sample_and_filter` does the same for `train.py`. Here
# we write it out, since we want to keep all answers as well: a control will learn from those.
#
# Four things are different in `train.py`. It asks more problems, and easier ones among them. It
# mixes conversations into the texts (lesson 16 shows what they do). And it draws each task equally
# often, since the student begins at the base, and all that RL had added has to come from the kept
# texts. We draw as RL does, one program in ten. So our student gains little in programs, and we do
# not test them.

# %%
tasks = TaskConfig()
world = reasoning_world(tokenizer, tasks.levels, tasks.shares)
problems = rejection.distinct_problems(world.draw, NUM_SAMPLED, random.Random(0))
each_twice = []
for problem in problems:
    each_twice += [problem, problem]
prompts = [problem.prompt for problem in each_twice]
teacher = open_model("pretrained", "rl")[0]
answers = answer_all(teacher, tokenizer, prompts, MAX_NEW_TOKENS, seed=0)

everything, kept = [], []      # (prompt, text)
counts = dict.fromkeys(("kept", "wrong", "unreadable", "too long", "repeated", "enough"), 0)
texts_of = {}                  # {prompt: the texts kept so far}
for problem, (text, num_tokens) in zip(each_twice, answers):
    kept_texts = texts_of.setdefault(problem.prompt, [])
    fate = rejection.fate_of(problem, text, num_tokens, kept_texts, RejectionConfig())
    counts[fate] += 1
    everything.append((problem.prompt, text))
    if fate == "kept":
        kept_texts.append(text)
        kept.append((problem.prompt, text))
for fate, count in counts.items():
    print(f"{fate:11} {count:5}  {count / len(everything):.0%}")

# %% [markdown]
# ## Three trainings
#
# All imitate the same number of texts, with the settings of `train.py`:
#
# - The *student* is the base, taught by the kept answers.
# - The *unfiltered* pupil is the base, taught by as many answers that nobody filtered. It is the
#   control: it differs in the filter alone.
# - The *teacher-on* pupil is the teacher itself, trained further on its own kept answers. It
#   differs from the student in the start alone.

# %%
def teach(start, documents):
    """A model that begins as an included one, and imitates documents."""
    model = open_model("pretrained", start)[0].train()
    settings = preset("laptop").rejection
    examples = tokenize(tokenizer, documents)
    steps = sft.train(model, adamw(settings, model), examples, settings, seed=0)
    losses = [step["loss"] for step in steps]
    print(f"{len(documents)} documents, {len(losses)} steps: "
          f"loss {losses[0]:.3f}, then {losses[-1]:.3f}")
    return model.eval()


unfiltered = random.Random(0).sample(everything, len(kept))
models = {"base": open_model("pretrained", "base")[0],
          "teacher": teacher,
          "student": teach("base", kept),
          "unfiltered": teach("base", unfiltered),
          "teacher-on": teach("rl", kept)}

# %% [markdown]
# Now all five answer the same held-out problems.

# %%
problems = []
for task in ("arithmetic", "countdown"):
    problems += test_problems(task, tasks.levels[task], NUM_PROBLEMS, seed=1)
prompts = [problem.prompt for problem in problems]


def with_interval(number, total):
    return (number / max(1, total), *wilson_interval(number, total))


right = {}       # {model: for each problem, whether it is right}
shares = {}      # {model: {what: (share, low, high)}}
for name, model in models.items():
    texts = [text for text, _ in answer_all(model, tokenizer, prompts, MAX_NEW_TOKENS, seed=1)]
    behaviours = [observe(problem, text) for problem, text in zip(problems, texts)]
    thinking = [behaviour for behaviour in behaviours if behaviour.thinks]
    right[name] = [verify(problem, text).correct for problem, text in zip(problems, texts)]
    num_readable = sum(behaviour.readable for behaviour in behaviours)
    num_mixed = sum(behaviour.mixed for behaviour in thinking)
    shares[name] = {"right": with_interval(sum(right[name]), len(problems)),
                    "readable": with_interval(num_readable, len(problems)),
                    "mixing": with_interval(num_mixed, len(thinking))}
    cells = ["{} {:.2f} [{:.2f}, {:.2f}]".format(key, *shares[name][key]) for key in shares[name]]
    print(f"{name:11} " + "  ".join(cells))

# %% [markdown]
# The differences, paired by problem:

# %%
PAIRS = (("student", "teacher"), ("student", "unfiltered"), ("teacher-on", "student"))
for one, other in PAIRS:
    difference = bootstrap_interval([right[one]], [right[other]])
    print(f"right, {one} less {other}: " + "{:+.3f} [{:+.3f}, {:+.3f}]".format(*difference))

# %% [markdown]
# ## The figure: `14_rejection_sampling`
#
# Left: what became of the teacher's answers. Which filter takes most? Right: the five models. First
# compare "right" of student and unfiltered, which is what the filter does. Then compare "right" of
# teacher and student. A 0 stands where a share is exactly 0.

# %%
figure, axes = new_figure(1, 2, figsize=(9.9, 3.5), width_ratios=(1.15, 1.35))
fates = {}
for fate, count in counts.items():
    fates[fate] = {"answers": with_interval(count, len(everything))}
group_bars(axes[0], fates, {"answers": "#1b6ca8"})
group_bars(axes[1], shares, {"right": "#1b6ca8", "readable": "#b9c7d6", "mixing": "#8a6fb0"})
label(axes[0], f"{len(everything):,} answers of the teacher", "fate", "share", legend=False)
label(axes[1], f"{len(problems)} held-out problems", "model", "share")
legend_above(axes[1], top=1.2, ncols=3)
show_figure(figure, "14_rejection_sampling")

# %% [markdown]
# ## What to see
#
# - **Left.** Most answers are right. An easy problem is often answered twice in the same words.
#   That counts once, since else easy problems would fill the data. What is wrong or unreadable is
#   rejected.
# - **The filter works.** The unfiltered pupil is right less often than the student, by 8 points
#   here. In longer trainings it is 5 points in sums, 8 in countdown and 13 in programs ([the
#   results](results/C9.md)). We think that imitated mistakes are the reason. The filter also
#   asks for one language, short texts and no repetition, and nobody tested these apart. Mixing is
#   rare in all pupils, since RL's price had ended it in the teacher's texts.
# - **The student is about as often right as its teacher**, although it starts at the base, which
#   was right half as often, and although 1,477 problems are few. In whole runs, which ask 6,000
#   problems, it equals its teacher in sums and countdown. In programs it is better, but of these
#   it reads more than RL did: [the results](results/C9.md). How can the student of a whole run
#   pass its teacher at all? It imitates only what was found right: of a problem that the teacher
#   solves in one of two answers, it reads the right one alone.
# - **Was it worth to start afresh?** Not by what we count: teacher-on is right a little more often
#   here, and as often in [whole runs](results/C9.md). R1 started afresh, too.
#
# What it does not show: other seeds, and what gets lost. Problems that the teacher finds hard give
# few kept answers, so the student sees an easier world. And what nobody asks can be unlearned: the
# student of a whole run, to which only sums of three terms and more were shown, answered 6 to
# `compute 2+2`. So `train.py` now asks easier problems, too
# ([the trial](results/CHANGES.md#what-rejection-does-not-ask)).
#
# The trap: to compare losses. The unfiltered pupil ends with the lower loss here, and is right less
# often. The two imitate different texts, so their losses cannot be compared. Compare their answers
# to held-out problems.
#
# ## Exercises
#
# 1. A teacher is right with probability p. How many of k answers to a problem are kept, if
#    rightness is the only filter? How often is a problem missing in the data, and which problems
#    are those?
# 2. Keep all right answers, readable or not: in "The teacher answers" keep an answer if `fate in
#    ("kept", "unreadable")`. Which bar of the student changes?
# 3. Is a right answer kept that has a wrong step in its thought? Look with
#    `observe(parse_prompt(prompt), text).num_wrong_steps` for (prompt, text) in `kept`.
#
# <details><summary>Solutions</summary>
#
# 1. k p of them, on average. The problem is missing with probability (1 - p)^k, which is high for
#    hard problems. So the data are easier than the world.
# 2. Hardly any, since few answers are unreadable. With a teacher that mixes it would be "mixing",
#    and not "right", since the verifier reads the answer and not the thought.
# 3. Yes: 241 of the 1,156 kept texts of countdown have one, so about one in five, and 20 of 157
#    programs, but only 1 of 544 sums. One says `64/9=7 8-8=0 is 7 no`. The filter reads the
#    answer, the language, the last step and the length. A wrong step in a try that failed is none
#    of these.
# </details>
