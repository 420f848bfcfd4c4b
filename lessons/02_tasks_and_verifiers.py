# %% [markdown]
# # 2. Tasks and verifiers
#
# Question: lesson 01 rewarded right answers and nothing else. Who says what is right? How do we
# know that training never saw a problem of the test? And what does a learner do with a grader that
# can be fooled?
#
# You need: lesson 01. Time: ten seconds on a laptop's CPU. This lesson needs no model.
#
# RL makes likely whatever earns a reward. If a wrong answer earns one, then RL teaches the wrong
# answer. So the verifier has to be *exact*: it accepts every right answer and no other.
#
# It also has to be *total*: it gives a verdict on any text, and quickly. A model in training writes
# every kind of nonsense, and none of it may stop the run.
#
# In the first lessons the whole reward of a completion is one line. There are no points for
# thinking or for trying (and none for a completion that is cut off before its end: lesson 03):
#
#     reward(problem, completion) = 1 if verify(problem, completion).correct else 0

# %%
import os
import random
import re
import sys
import time
import warnings
from collections import Counter
from pathlib import Path

# Where to find `shared`: in this file's folder or, in a notebook, in the working folder or its lessons/.
FOLDER = Path(globals().get("__file__", "notebook")).resolve().parent
sys.path[:0] = [str(FOLDER), str(FOLDER / "lessons")]

from shared import label, show_figure

from minireason.config import preset_levels
from minireason.corpus import wrap
from minireason.tasks import TASKS, is_test, make_problem, parse_prompt, program, test_problems
from minireason.tools.plots import new_figure
from minireason.verifier import verify

FAST = os.environ.get("LESSON_FAST") == "1"
NUM_DRAWS = 300 if FAST else 5000
NUM_NOISY = 600 if FAST else 30_000
rng = random.Random(0)

# %% [markdown]
# ## By hand: three problems
#
# There are three kinds of problems, called tasks.
#
# - *Arithmetic*: `compute 7*7+8*3-9` is 49 + 24 - 9 = 64.
# - *Countdown*: `make 42 from 3 8 6` asks for an expression that uses each number once, with `+`,
#   `-`, `*` and parentheses. `(8+6)*3` is 42, so it is right. `8+6*3` is only 26. `6*8-6` is 42,
#   but it uses 6 twice and leaves out 3. The form counts, too: no division, no sign before the
#   first number, no leading zero, and no space at either end. (Between its signs an answer may
#   have single spaces, and more parentheses than it needs.) An answer that breaks it is wrong,
#   whatever its value.
# - *Programs*: `program 1->3 2->5 4->9` asks for a program that makes 3 of 1, 5 of 2, and 9 of 4.
#   One answer is `x 2 * 1 +`. Read it from left to right: take x, take 2, multiply, take 1, add.
#   Each sign joins the two values before it. So it computes 2x + 1. It also has to be right on
#   hidden inputs, which the prompt does not show. There the verifier expects what the line or the
#   parabola through the three examples makes. (Three points fix exactly one, so the hidden outputs
#   are known.)
#
# The texts from which our models learn show a way to find such a program. You will see thoughts
# like this one:
#
#     5-3=2             the first two outputs differ by 2, so each step of x adds 2
#     1*2=2 3-2=1       at x = 1 that makes 2, and 1 is missing
#     try x 2 * 1 +     so this is the program; the third example tells whether it is right
#     4*2=8 8+1=9       at x = 4 the program makes 9
#     is 9 yes          and it should make 9
#
# Some programs are parabolas. (You may skip how they are written, and come back when a printed
# program puzzles you.) Our thoughts write a parabola in a special form. For first inputs of 1 and
# 2 it is ((x-2)*c + d) * (x-1) + y. Here y is the first output, d is the second output minus the
# first, and c has to be found. At x = 1 and at x = 2 the term with c is 0, so every c fits the
# first two examples, and the third one decides. With the examples `1->3 2->5` the form makes 6c+9
# at x = 4. So 4->9 needs c = 0, which is the line 2x + 1, and 4->21 needs c = 2, which is a
# parabola.

# %%
sums = parse_prompt("compute 7*7+8*3-9")
numbers = parse_prompt("make 42 from 3 8 6")
line = parse_prompt("program 1->3 2->5 4->9")
print("the sum is", sums.target)
print("the program makes", [program.run("x 2 * 1 +", x) for x in (1, 2, 4)])

EXAMPLES = [      # (problem, right answers, wrong answers)
    (sums, ["64"], ["46", "64.0", ""]),
    (numbers, ["(8+6)*3", "3 * (8+6)"], ["8+6*3", "6*8-6", "6*8"]),
    (line, ["x 2 * 1 +", "x x + 1 +"], ["x 2 +", "x 2 *1 +"]),
]
for problem, right_answers, wrong_answers in EXAMPLES:
    for answer in right_answers + wrong_answers:
        verdict = verify(problem, f"<think>any thought</think><answer>{answer}</answer>")
        print(f"{problem.prompt:24} {answer:12} {verdict.reason}")
        assert verdict.correct == (answer in right_answers)

# %% [markdown]
# This is the whole verifier. It splits the completion at its tags and hands the answer to the task.
# Each task reads the answer with a small parser of its own, from left to right, and refuses at the
# first symbol that has no place. No text of a model is ever run as Python.
#
# <!-- From minireason/verifier.py: split_completion -->
# ```python
# def split_completion(completion: str) -> tuple[str, str] | None:
#     """(thinking, answer) of a well-formed completion, else None."""
#     if not (completion.startswith("<think>") and completion.endswith("</answer>")):
#         return None
#     if any(completion.count(tag) != 1 for tag in TAGS):
#         return None
#     thinking, middle, answer = completion[len("<think>"):-len("</answer>")].partition("</think><answer>")
#     return (thinking, answer) if middle else None
# ```
# <!-- End of excerpt -->
#
# <!-- From minireason/verifier.py: verify -->
# ```python
# def verify(problem: Problem, completion: str) -> Verdict:
#     """Checks a completion of a problem. Returns Verdict(correct, well_formed, reason); never raises."""
#     parts = split_completion(completion)
#     if parts is None:
#         return Verdict(False, False, MALFORMED)
#     task = TASKS[problem.task]
#     refusal = task.check(problem, parts[1])
#     if refusal is not None:
#         return Verdict(False, True, refusal)
#     caveat = task.caveat(problem) if task.caveat else ""
#     return Verdict(True, True, f"correct; {caveat}" if caveat else "correct")
# ```
# <!-- End of excerpt -->
#
# `task.check` is the task's own: it returns None for a right answer, and otherwise says what is
# wrong. It never raises either. When a task is added, the package tries its `check` on a list of
# strange answers, and refuses the task if one of them is too much for it. (A task is one file: how
# its problems are drawn, written, solved and checked. Lesson 17 adds one.)
#
# The thought is not judged. A wrong step before a right answer costs nothing, and a lucky guess
# earns as much as a proof. That is on purpose. Whoever grades the steps has to decide what a good
# step is. A model would then learn to please that opinion, for example with many correct and
# useless steps.
#
# ## Which problems are kept for the test
#
# `compute 7*7+8*3-9` and `compute 3*8-9+7*7` are the same problem in another order. So each problem
# has a *key*: one form that all its spellings share. A hash of the key, a number that looks random
# and is always the same, decides which problems are kept for the test: one in ten. Why not a list
# of test problems? Every stage and every machine would need a copy of the list. A hash gives the
# same answer everywhere, also about a problem that nobody has drawn before.

# %%
again = parse_prompt("compute 3*8-9+7*7")
print(f"{sums.prompt}: key {sums.key}, kept for the test: {is_test(sums)}")
print(f"{again.prompt}: key {again.key}, kept for the test: {is_test(again)}")
print(f"{numbers.prompt}: key {numbers.key}")
assert sums.key == again.key and numbers.key == parse_prompt("make 42 from 6 3 8").key

# %% [markdown]
# ## How many problems there are
#
# Each task has levels from 1 (trivial) to 4 (hard):
#
#     level          1              2               3                      4
#     arithmetic     2 terms        3 terms         4 or 5 terms           6 to 8 terms
#     countdown      2 digits       3 digits        3 numbers up to 20     4 digits
#     program        x + b or a*x   a*x + b         x*x + a*x + b          2*x*x + a*x + b
#
# If many draws of a level give the same few problems, a model may learn them by heart, and that is
# not reasoning. So we count how many of our draws are new problems. RL is trained and scored on the
# levels that the last line prints.

# %%
LEVELS = range(1, 5)
new_share = {}      # the share of draws that are new problems, of each (task, level)
for task in TASKS:
    for level in LEVELS:
        problems = [make_problem(task, rng, level) for _ in range(NUM_DRAWS)]
        by_key = {problem.key: problem for problem in problems}
        new_share[task, level] = len(by_key) / NUM_DRAWS
        num_test = sum(is_test(problem) for problem in by_key.values())
        print(f"{task:10} level {level}: {len(by_key):5} problems in {NUM_DRAWS} draws, "
              f"{num_test:4} for the test. One is {problems[0].prompt}")
print("scored levels:", preset_levels("laptop"))

# %% [markdown]
# ## The trap: splitting by the prompt
#
# Suppose that we draw a training set, and take as test problems all those whose prompts are not in
# it. Is such a test held out? We count how many of its problems were trained on in another order.
# Then we split by the key, and count again.

# %%
training = [make_problem("countdown", rng, 2) for _ in range(NUM_DRAWS)]
training_prompts = {problem.prompt for problem in training}
training_keys = {problem.key for problem in training}
drawn = [make_problem("countdown", rng, 2) for _ in range(NUM_DRAWS)]
unseen = [problem for problem in drawn if problem.prompt not in training_prompts]
num_leaked = sum(problem.key in training_keys for problem in unseen)
share_leaked = num_leaked / len(unseen)
print(f"split by prompt: {share_leaked:.0%} of {len(unseen)} test problems were trained on")

training_keys = {problem.key for problem in training if not is_test(problem)}
tested = test_problems("countdown", (2,), 50, seed=0)
num_leaked = sum(problem.key in training_keys for problem in tested)
print(f"split by key: {num_leaked} of {len(tested)} test problems were trained on")
assert num_leaked == 0

# %% [markdown]
# ## A grader that can be fooled
#
# Many public graders use a regular expression and Python's `eval`. Here is such a grader. Each of
# its lines looks harmless. Read it, and look for an answer that it accepts and should not.

# %%
warnings.filterwarnings("ignore", category=SyntaxWarning)      # what `eval` says about nonsense


def naive(problem, completion):
    """Whether a grader of a common kind accepts a completion. Do not use this."""
    answers = re.findall(r"<answer>(.*?)</answer>", completion, re.DOTALL)
    try:
        text = answers[-1].strip()      # the last answer counts
        if problem.task == "arithmetic":
            return text in str(problem.target) or int(text) == problem.target      # "be lenient"
        if problem.task == "program":
            return program.fits(text, problem.examples)      # tried on the examples that are shown
        numbers_used = sorted(int(number) for number in re.findall(r"\d+", text))
        has_other_symbols = not re.fullmatch(r"[\d+\-*/().\s]+", text)
        if has_other_symbols or numbers_used != sorted(problem.numbers):
            return False
        return abs(eval(text) - problem.target) < 1e-6
    except Exception:
        return False


# %% [markdown]
# It has many holes. The first two completions below are a right and a wrong one, on which both
# graders agree. The twelve others are wrong, by their value or by their form, and the naive grader
# accepts each of them.

# %%
def answered(answer):
    return wrap("", answer)      # <think></think><answer>...</answer>


# 2x + 1, and on top (x-1)(x-2)(x-4), which is 0 at the inputs 1, 2 and 4.
fits_the_examples_only = "x 2 * 1 + x 1 - x 2 - * x 4 - * +"
ATTACKS = {      # name: (problem, completion)
    "right: (8+6)*3": (numbers, answered("(8+6)*3")),
    "wrong: 8+6*3": (numbers, answered("8+6*3")),
    "a power, 5**2": (parse_prompt("make 25 from 5 2"), answered("5**2")),
    "rounded down, 7//2": (parse_prompt("make 3 from 7 2"), answered("7//2")),
    "a division, 8/2": (parse_prompt("make 4 from 8 2"), answered("8/2")),
    "a sign, -3+8": (parse_prompt("make 5 from 3 8"), answered("-3+8")),
    "empty answer": (sums, answered("")),
    "6 where 64 is right": (sums, answered("6")),
    "two answers": (sums, answered("46") + "<answer>64</answer>"),
    "text after the answer": (sums, answered("64") + " or 46"),
    "digits of other scripts": (sums, answered("\uff16\uff14")),
    "underscore, 6_4": (sums, answered("6_4")),
    "leading zero, 064": (sums, answered("064")),
    "right on 3 inputs only": (line, answered(fits_the_examples_only)),
}
accepted = []      # (by naive, by ours) of each completion
for name, (problem, completion) in ATTACKS.items():
    verdict = verify(problem, completion)
    accepted.append((naive(problem, completion), verdict.correct))
    assert accepted[-1] == (not name.startswith("wrong"), name.startswith("right:"))
    print(f"{name:24} naive accepts: {accepted[-1][0]!s:5}  ours: {verdict.reason}")

# %% [markdown]
# ## Nonsense must not stop the run
#
# Asked to `make 27 from 9 9 9`, the naive grader would call `eval` on the answer `9**9**9`. It is 9
# to the power 387,420,489, and `eval` would not come back in any useful time. One such completion
# stops a whole training. So the cell below asks our verifier alone. It reads each text once, so its
# time grows no faster than the length of the text.

# %%
for text in ("9**9**9", "(" * 1000, "9" * 1000):
    start = time.perf_counter()
    verdict = verify(numbers, answered(text))
    milliseconds = 1000 * (time.perf_counter() - start)
    print(f"{text[:9]:9} ({len(text)} characters): {verdict.reason}, {milliseconds:.2f} ms")

# %% [markdown]
# ## Noise finds more holes
#
# Now both graders get answers with small mistakes: we take right answers and change one to three
# characters. Nearly all are wrong then. A model in training does much the same. We count the
# answers that are right, and those that only the naive grader accepts.


# %%
def mistype(answer):
    """The answer with one to three characters added, changed or left out."""
    characters = list(answer)
    for _ in range(rng.randint(1, 3)):
        place = rng.randrange(len(characters) + 1)
        num_removed = rng.randint(0, 1)
        # in the place of one character or none: none, or one of these (the last is an Arabic 3)
        characters[place:place + num_removed] = rng.choice(["", *"0123456789+-*/()x _.\u0663"])
    return "".join(characters)


num_right, fooled, reasons = 0, [], Counter()
for _ in range(NUM_NOISY):
    problem = make_problem(rng.choice(list(TASKS)), rng, 2)
    answer = mistype(TASKS[problem.task].write_guess(problem, rng, right=1.0))
    if answer.count("**") >= 2:      # two powers may take for ever
        continue
    verdict, naive_accepts = verify(problem, answered(answer)), naive(problem, answered(answer))
    assert naive_accepts or not verdict.correct
    num_right += verdict.correct
    if naive_accepts and not verdict.correct:
        fooled.append(f"    {problem.prompt:30} {answer!r:22} {verdict.reason}")
        reasons[re.sub("[0-9]+|'.*'", "...", verdict.reason)] += 1
print(f"of {NUM_NOISY} answers {num_right} are right. Naive accepts {len(fooled)} more, such as:")
print("\n".join(fooled[:8]))
print("Why ours refuses them, most often:")
for reason, count in reasons.most_common(8):
    print(f"    {count:4} {reason}")

# %% [markdown]
# ## The figure: `02_tasks_and_verifiers`
#
# On the left follow each task from level 1 to 4: a curve near 1 means that nearly every draw is a
# new problem. On the right each row is one of the completions above. A dark field means that the
# grader accepts it. A grader without holes has a single dark field: the first row.

# %%
figure, axes = new_figure(1, 2, figsize=(9, 3.6))
for task, color in zip(TASKS, ("#1b6ca8", "#d1495b", "#5a9a5a")):
    shares = [new_share[task, level] for level in LEVELS]
    axes[0].plot(LEVELS, shares, "o-", color=color, label=task)
axes[0].set(xticks=range(1, 5), ylim=(0, 1.05))
axes[1].imshow(accepted, cmap="Blues", aspect="auto", vmin=-0.1, vmax=1.4)
axes[1].set_xticks((0, 1), ("naive", "ours"))
axes[1].set_yticks(range(len(ATTACKS)), ATTACKS)
label(axes[0], f"new problems in {NUM_DRAWS} draws", "level", "share of new problems")
label(axes[1], "what each grader accepts (dark)", "grader", "completion")
show_figure(figure, "02_tasks_and_verifiers")

# %% [markdown]
# ## What to see
#
# - Left: low levels run out of problems. Thousands of draws from the easiest level of countdown are
#   a small number of problems, again and again. Such a level is for warming up, not for a test.
#   Programs repeat most: even on the scored levels, only a quarter of the draws are new. To know
#   them by heart would not help in the test: no program of the test is ever trained on.
# - The printed lines: a test that is split by the prompt leaks, because many of its problems were
#   trained on in another order. Split by the key, none was.
# - Right: the naive grader accepts twelve wrong completions. Any of these holes earns a reward, so
#   a model in training would find it, and learn it.
# - The noise: without any plan, random mistakes find hundreds of answers that only the naive grader
#   accepts. Most break a rule of form, such as `+43`. 41 keep the form, and are plainly wrong: 7 in
#   place of 75. A training would find some of them too.
#
# ## What it does not show
#
# - That our verifier has no holes. [A study](studies/compare_verifiers.py) compares it with a
#   second verifier, written in another way, on a million answers: [the results](results/C2.md).
# - How to grade an essay. Lesson 15 rewards what no exact rule can check, and shows what goes
#   wrong.
#
# ## Exercises
#
# 1. Find one more answer that `naive` accepts and should not. Try it with `naive(problem,
#    answered("..."))` and `verify(problem, answered("..."))`.
# 2. A completion is cut off before its end, and the right number stands in it. Why does it earn
#    nothing?
# 3. Somebody wants to add 0.1 to the reward for each correct step of the thought, such as `7*7=49`.
#    What could a model learn from that?
#
# <details><summary>Solutions</summary>
#
# 1. `make 4 from 5 8`: `5*.8`. `make 10 from 4 6`: `4.+6`. `compute 7*7+8*3-9`: `+64`.
# 2. Otherwise a model would be rewarded for writing on and on, or for a list of all numbers.
# 3. To write many easy steps that are correct, such as `1+1=2 1+1=2`, and never to come to an
#    answer: ten of them earn as much as a right answer. A reward is what you will get, not what you
#    meant.
# </details>
