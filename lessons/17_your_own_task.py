# %% [markdown]
# # 17. Your own task, and your own reward
#
# Question: what does it take to teach the model something new, and to reward what *you* want?
#
# You need: lessons 02 and 07. Time: about two minutes on a laptop's CPU.
#
# A *task* is a kind of problem, such as sums or countdown. Everything that the project knows of a
# task is one record, `Task`: how a problem is drawn, how an answer is checked, and how people write
# about it. This lesson writes such a record for sorting numbers, registers it, and trains a small
# model on it from random weights. In the package, the same code would be a file
# `minireason/tasks/sorting.py`, and one line in `minireason/tasks/__init__.py`:
# `register(sorting.TASK)` ([how](../minireason/tasks/README.md)).
#
# Three things decide whether RL can teach a task:
#
# - *Its answers cannot be guessed.* The greatest common divisor of two numbers is 1 more often than
#   not. RL would learn to say 1, without a thought. Where every second guess is right, luck is
#   rewarded and thinking hardly pays.
# - *Each step needs only what stands near it.* `3 of 7 3 9 4` shows the numbers that it is about,
#   so a small model can do it right. RL never looks at steps. But where many steps are wrong, a
#   thought is right no more often than a guess, and RL has no reason to prefer it
#   ([C17](results/C17.md)).
# - *The base is right in some cases, and not in all*: in 20 to 60%, say. Near 0 and near 1 all
#   completions of a group earn the same, and equal rewards teach nothing.

# %%
import math
import os
import random
import re
import sys
from pathlib import Path

# Where to find `shared`: in this file's folder or, in a notebook, in the working folder or its lessons/.
FOLDER = Path(globals().get("__file__", "notebook")).resolve().parent
sys.path[:0] = [str(FOLDER), str(FOLDER / "lessons")]

from shared import group_bars, label, legend_above, show_figure
from tqdm import tqdm

from minireason import grpo, sft
from minireason.behaviour import observe
from minireason.config import ModelConfig, RLConfig, SFTConfig, TaskConfig
from minireason.corpus import base_corpus, tokenize
from minireason.inference import answer_all
from minireason.model import GPT
from minireason.optimizer import adamw
from minireason.rewards import World, reasoning_world
from minireason.stats import wilson_interval
from minireason.tasks import TASKS, register, test_problems
from minireason.tasks.problem import Problem
from minireason.tasks.task import Mix, Task
from minireason.tasks.trace import WORD, Step
from minireason.tasks.words import ENGLISH, SPANISH, Voice
from minireason.tokenizer import get_tokenizer
from minireason.tools.plots import new_figure
from minireason.verifier import split_completion, verify

FAST = os.environ.get("LESSON_FAST") == "1"
NUM_DOCUMENTS = 600 if FAST else 20_000
NUM_ITERATIONS = 2 if FAST else 80
NUM_PROBLEMS = 20 if FAST else 300
MAX_NEW_TOKENS = 64

# %% [markdown]
# ## Problems
#
# `sort 7 3 9 4`. The *key* of a problem is its canonical form: problems with equal keys are the
# same problem. Here the key is the sorted list: somebody who has practised `sort 3 4 7 9` knows
# the answer to `sort 7 3 9 4`, so these two are one problem. About one key in ten is kept for
# testing. `is_test` in `minireason/tasks/problem.py` decides it by a hash of the key, a number
# made of its text, so it is the same in every run. `make_problem` need not know which keys these
# are. It draws from the `rng` that it is given and from nothing else, so a seed gives the same
# problems in every run, and after `--resume`. Whoever asks it for training problems throws a draw
# away if its key is one for testing, and draws again.
#
# Of the 330 keys 35 are for testing. `train.py` wants 1,000 test problems of a task, and refuses
# to begin if there are fewer. So the record further down does two things. Its field
# `test_by_prompt` lets a test ask for one key in several orders: 642 prompts. And its field
# `presets` asks for only 600 of them (60 in smoke).

# %%
PROMPT = re.compile(r"sort ([0-9](?: [0-9]){1,7})", re.ASCII)


def build(numbers, level=0):
    prompt = "sort " + " ".join(map(str, numbers))
    key = "sort " + " ".join(map(str, sorted(numbers)))
    return Problem("sort", prompt, key, level, numbers=tuple(numbers))


def make_problem(rng, level):
    """Level 1: three digits; level 2: four."""
    return build(rng.sample(range(10), level + 2), level)


def parse(prompt):
    """The problem that a user typed."""
    match = PROMPT.fullmatch(prompt)
    if not match:
        raise ValueError("expected 'sort' and two to eight digits, such as: sort 3 1 2")
    return build([int(word) for word in match[1].split()])


# %% [markdown]
# ## What is right
#
# The check gets whatever the model wrote. It has to accept each right answer and nothing else, and
# it must never evaluate the text. RL finds each answer that is accepted by mistake, and makes it
# likely. This one compares text with text. The cell below `By hand` tries a few answers on it: the
# right one, another order, a number too few, a space too many, and the prompt itself.

# %%
def check(problem, answer):
    """Why an answer is refused, or None where it is right."""
    right = " ".join(map(str, sorted(problem.numbers)))
    return None if answer == right else f"the right answer is {right}"


# %% [markdown]
# ## How people write about it
#
# The model first imitates texts, and RL can only strengthen what it has seen. So somebody has to
# write a thought down. Three functions write:
#
# | function | writes | for |
# |---|---|---|
# | `write_thinking` | a right thought and its answer | the cold start |
# | `write_messy` | the same with mistakes | three of four texts of the base |
# | `write_guess` | an answer without a thought, often wrong | the others (`guess_share`) |
#
# Our thought takes the smallest number that is left, again and again:
#
#     3 of 7 3 9 4 so 4 of 7 9 4 so 7 of 7 9 so 9 of 9
#
# Read it so: 3 is the smallest of 7 3 9 4, so 4 is the smallest of what is left, and so on. Each
# step shows the numbers that it is about, so the model need not remember which ones are gone.
# `voice("so")` says *so* or, in Spanish, *luego*, and in a mixed text one of them at random.
#
# `write_messy` is also given `habits`: whether the writer of this text checks sums, and how many
# tries they make before they give up. Other tasks need that. A sort has no sums and no tries, so
# ours does not read it. In the base corpus one step in ten takes any number. The guesses are
# random orders: of three numbers one in 6 is right, of four one in 24. That is what makes
# thinking worth something.

# %%
def write_thinking(problem, rng, voice, slip=0.0):
    """Selection sort, written out. `slip`: the chance that a step takes any number."""
    left, taken, steps = list(problem.numbers), [], []
    while left:
        number = rng.choice(left) if rng.random() < slip else min(left)
        steps.append(f"{number} of {' '.join(map(str, left))}")
        left.remove(number)
        taken.append(number)
    return f" {voice('so')} ".join(steps), " ".join(map(str, taken))


def write_messy(problem, rng, voice, habits):
    return write_thinking(problem, rng, voice, slip=0.1)


def write_guess(problem, rng):
    numbers = list(problem.numbers)
    rng.shuffle(numbers)
    return " ".join(map(str, numbers))


# %% [markdown]
# ## What a step is
#
# To count how often the model thinks, and how often a step is wrong, the project has to find
# steps in a text. A step is right if its number is the smallest of the list that the step itself
# shows. So `4 of 7 4` counts as right, though its list has lost the 9.

# %%
STEP = re.compile(r"([0-9]) of ([0-9](?: [0-9])*)", re.ASCII)


def find_steps(thinking):
    steps = []
    for match in STEP.finditer(thinking):
        smallest = min(int(number) for number in match[2].split())
        is_right = int(match[1]) == smallest
        steps.append(Step(match.span(), question=(match[2],), result=match[1], right=is_right))
    return steps


def follows(problem, thinking, answer):
    """Whether the answer is what the steps took, in their order."""
    taken = [step.result for step in find_steps(thinking)]
    return not taken or answer == " ".join(taken)


# %% [markdown]
# ## The record, registered
#
# `register` tries the functions of the record on a few problems of each level. It refuses a record
# that breaks a rule, and says why in one line. Each of `words` becomes one token. All fields here
# are needed, except `follows`, `test_by_prompt` and `words`. (`find_steps` is needed since our
# steps are not sums.) A `Mix` holds levels, a share, and how many held-out problems are scored. The
# share is the weight of this task beside the other tasks. With 0, as in smoke, it is not trained
# on. From here on the verifier, the corpus, RL and the counting of behaviour know the task.

# %%
TASKS.pop("sort", None)      # so that this cell can be run a second time
SORT = register(Task(
    name="sort", word="sort", example="sort 3 1 2", words=("sort",), levels=(1, 2),
    presets={"smoke": Mix((1,), 0.0, 60), "laptop": Mix((1, 2), 0.2, 600),
             "gpu": Mix((1, 2), 0.2, 600)},
    make_problem=make_problem, parse=parse, check=check,
    write_thinking=write_thinking, write_messy=write_messy, write_guess=write_guess,
    find_steps=find_steps, follows=follows, test_by_prompt=True))

# %% [markdown]
# ## By hand
#
# `sort 7 3 9 4`: the thought above has four steps, and none is wrong. A guess is one order of 24. A
# writer who takes any number in one step of ten still takes the smallest of four with chance 1/4.
# So all steps are right with chance (1 - 0.1 * 3/4) (1 - 0.1 * 2/3) (1 - 0.1 * 1/2) = 0.82, and
# with three numbers with 0.89. With the guesses, about two in three answers of the corpus are
# right. The base will come out lower: who wrote the corpus could compare numbers, and the base
# makes mistakes of its own (lesson 01).

# %%
problem = parse("sort 7 3 9 4")
thought = "3 of 7 3 9 4 so 4 of 7 9 4 so 7 of 7 9 so 9 of 9"
assert verify(problem, f"<think>{thought}</think><answer>3 4 7 9</answer>").correct
for wrong in ("3 7 4 9", "3 4 7", "3 4  7 9", "7 3 9 4"):
    assert not verify(problem, f"<think></think><answer>{wrong}</answer>").correct
behaviour = observe(problem, f"<think>{thought}</think><answer>3 4 7 9</answer>")
assert (behaviour.num_steps, behaviour.num_wrong_steps) == (4, 0)
rng = random.Random(0)
answers = [write_thinking(problem, rng, Voice(rng, "en"), slip=0.1)[1] for _ in range(5000)]
assert abs(answers.count("3 4 7 9") / len(answers) - 0.82) < 0.02
try:
    register(SORT)
except ValueError as error:
    print("a second one of that name is refused:", error)

# %% [markdown]
# ## A base that has read about sorting
#
# The same functions that `train.py` uses: a toy internet (here sorting alone, with some small talk,
# plain sums and comparisons), and imitation of it. A `TaskConfig` says which tasks there are in
# this world.

# %%
tokenizer = get_tokenizer()      # after `register`: the word "sort" is one token of it
MIX = TaskConfig(levels={"sort": (1, 2)}, shares={"sort": 1.0})
documents = base_corpus(seed=0, num_documents=NUM_DOCUMENTS, tasks=MIX)
for prompt, completion in documents[:6]:
    print(prompt, completion, sep="  ")

shape = ModelConfig(vocab_size=tokenizer.vocab_size, width=64, num_layers=2, mlp_width=176)
policy = GPT(shape).init_weights(0)
imitation = SFTConfig(batch_size=24, learning_rate=4e-3)
examples = tokenize(tokenizer, documents)
steps = sft.train(policy, adamw(imitation, policy), examples, imitation, seed=0)
num_steps = math.ceil(len(examples) / imitation.batch_size)
for metrics in tqdm(steps, desc="base", total=num_steps, leave=False):      # a progress bar
    pass
print(f"loss at the end of imitation: {metrics['loss']:.2f}")

# %% [markdown]
# ## How good is it?
#
# Held-out prompts, whose keys were in no text, one answer each.

# %%
held_out = test_problems("sort", (1, 2), NUM_PROBLEMS, seed=1)


def measure(model):
    """{"right", "thinks", "Spanish": (how many answers, of how many)}.

    Spanish: of the answers that think, those whose words are Spanish alone.
    """
    prompts = [problem.prompt for problem in held_out]
    answers = answer_all(model, tokenizer, prompts, MAX_NEW_TOKENS, seed=2)
    num_right, num_thinking, num_spanish = 0, 0, 0
    for problem, (text, _) in zip(held_out, answers):
        num_right += verify(problem, text).correct
        if observe(problem, text).thinks:
            num_thinking += 1
            num_spanish += is_spanish(text)
    return {"right": (num_right, NUM_PROBLEMS), "thinks": (num_thinking, NUM_PROBLEMS),
            "Spanish": (num_spanish, num_thinking)}


def is_spanish(text):
    words = set(WORD.findall(text))
    return bool(words & SPANISH) and not words & ENGLISH


def share(number, total):
    return number / max(1, total)


def show(title, counts):
    cells = [f"{name} {share(*pair):.0%} of {pair[1]}" for name, pair in counts.items()]
    print(f"{title:21}" + ", ".join(cells))


before = measure(policy)
show("after imitation:", before)

# %% [markdown]
# ## RL lifts it
#
# `reasoning_world` draws training problems of our task and rewards an answer that the verifier
# finds right: 1, or else 0. (The price on mixed languages, which `train.py` has, is left out here.)

# %%
RL = RLConfig(num_iterations=NUM_ITERATIONS, num_prompts=16, group_size=8, num_epochs=1,
              learning_rate=1e-3, max_new_tokens=MAX_NEW_TOKENS)


def train(world, model):
    """GRPO in a world. Returns the mean reward of each iteration."""
    rewards = []
    steps = grpo.train(model, None, adamw(RL, model), world, RL, seed=0)
    for metrics in tqdm(steps, desc="RL", total=NUM_ITERATIONS, leave=False):
        rewards.append(metrics["reward"])
    return rewards


def copy_of(model):
    copy = GPT(model.config)
    copy.load_state_dict(model.state_dict())
    return copy


sorter = copy_of(policy)
world = reasoning_world(tokenizer, MIX.levels, MIX.shares)
rewards = train(world, sorter)
after = measure(sorter)
show("after RL:", after)
if not FAST:
    assert share(*after["right"]) > share(*before["right"]) + 0.4

# %% [markdown]
# ## A reward of your own
#
# A `World` has three parts: what draws a problem, what an answer is worth, and the tokenizer. The
# worth is any function of (problems, completions) that returns as many numbers. Here is one that
# pays for being right *in Spanish*. The base thinks in English, in Spanish, or in both at once;
# nothing but this function says which of them is wanted.

# %%
def right_in_spanish(problems, completions):
    """1 for a right answer whose thinking is Spanish alone, a third for any other right answer."""
    rewards = []
    for problem, completion in zip(problems, completions):
        if not verify(problem, completion).correct:
            rewards.append(0.0)
        elif is_spanish(completion):
            rewards.append(1.0)
        else:
            rewards.append(1 / 3)
    return rewards


spanish_world = World(draw=world.draw, reward=right_in_spanish, tokenizer=tokenizer)
spaniard = copy_of(policy)
spanish_rewards = train(spanish_world, spaniard)
in_spanish = measure(spaniard)
show("after RL in Spanish:", in_spanish)
if not FAST:
    assert share(*in_spanish["Spanish"]) > share(*before["Spanish"]) + 0.3

answers = answer_all(spaniard, tokenizer, ["sort 7 3 9 4"], MAX_NEW_TOKENS, seed=0, temperature=0.0)
text, _ = answers[0]
print(text)
assert FAST or split_completion(text)

# %% [markdown]
# ## The figure: `17_your_own_task`
#
# Left: the share of right answers on held-out problems, and how many of the answers think. Why do
# both rise together? Right: of the answers that think, how many think in Spanish alone. Compare
# the middle bar with the last one. They differ in the reward alone.

# %%
ARMS = {
    "imitation": before,
    "RL, rewarded\nfor being right": after,
    "RL, rewarded for being\nright in Spanish": in_spanish,
}
shares = {}      # {arm: {name: (share, low, high)}}
for arm, counts in ARMS.items():
    shares[arm] = {}
    for name, (number, total) in counts.items():
        shares[arm][name] = (share(number, total), *wilson_interval(number, total))

figure, axes = new_figure(1, 2, figsize=(10, 3.6))
group_bars(axes[0], shares, {"right": "#1b6ca8", "thinks": "#b9c7d6"})
group_bars(axes[1], shares, {"Spanish": "#d1495b"})
label(axes[0], "held-out problems", "training", "share of the answers")
label(axes[1], "thoughts in Spanish alone", "training", "share of thoughts", legend=False)
for axis in axes:
    legend_above(axis, 1.2, ncols=2)
show_figure(figure, "17_your_own_task")

# %% [markdown]
# ## What to see
#
# - **Left.** A thought is right more often than a guess, and most often where no step is wrong.
#   So RL makes thoughts more likely than guesses, and right steps more likely than slips.
# - **Right.** Where Spanish is rewarded, nearly all thoughts are Spanish in the end. Where it is
#   not, the share fell from 49% to 23%. All languages earn the same there, so no reward holds the
#   share, and another seed may end elsewhere. So may another CPU, which rounds differently: on one
#   the same lesson went from 19% to 1%.

# %% [markdown]
# ## The trap
#
# A reward is taken literally. Suppose it asked for "no English word" and for nothing else. A guess
# has no words, so the model would earn all of it without a thought. And had the check accepted the
# numbers in any order, the prompt itself would be an answer. [C15](results/C15.md) tries five
# rewards, among them a coin and the vote of the group.
#
# Suppose you paid 1 for a right answer and 0.1 more for each right step. Then a text earns more
# with many easy steps. In a group of wrong answers only the steps differ, and GRPO divides by the
# std. So their advantages are as large as those between right and wrong. [C18](results/C18.md)
# tried it: the steps became more, and the right answers fewer.
#
# How would you notice? Not by the scores: the held-out problems are judged by the same check, so
# reward and held-out accuracy both rise to 1. But thoughts vanish, answers become short and alike,
# and entropy falls to 0. So read some answers. Better, try the check before you train: with wrong
# answers written by hand, and with a thousand right ones in which one character is changed.
#
# ## What it does not show
#
# One seed, one small model, and a task that a program solves in a line. The 300 held-out prompts
# are of 35 keys, and prompts of one key are mostly right or wrong together, so the intervals are
# too narrow. And the base had read 20,000 texts, most of them about sorting. RL made its best habit
# the only one. It did not invent sorting.
#
# ## Exercises
#
# 1. How well do the trained models sort five numbers? Keep them, and make level 3 in a new cell:
#
#        import dataclasses
#        TASKS.pop("sort")
#        register(dataclasses.replace(SORT, levels=(1, 2, 3)))
#
# 2. Write a reward that takes 0.002 off for each character of the thinking. Does it still think?
# 3. Change `check` so that it accepts the numbers in descending order as well. What does RL make
#    of it?
#
# <details><summary>Solutions</summary>
#
# 1. `held_out = test_problems("sort", (3,), NUM_PROBLEMS, seed=1)`, then `measure(sorter)`. In a
#    run of ours none of 300 was right. The limit is not the reason: an English text takes 57 of
#    the 64 tokens. The model has learned to copy lists of up to four numbers, and goes astray in
#    the first step.
# 2. Yes. A thought of four numbers has 48 characters and costs 0.10. A guess is right one time in
#    6 (three numbers) or 24 (four), and an answer after RL is right in 85% of the cases. So the
#    thought pays. In a run of ours all answers still had a thought, and 89% were right.
# 3. Little. No thought that it has read goes downwards, and what is never sampled is never
#    rewarded. A guess is right twice as often as before, but still far less often than a thought.
# </details>
