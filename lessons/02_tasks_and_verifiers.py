# %% [markdown]
# # 2. Tasks and verifiers
#
# Question: lesson 01 paid right answers and nothing else. Who says what is right, how do we know that a
# problem of the test was never seen in training, and what does a learner do with a grader that can be fooled?
#
# You need: lesson 01. Time: ten seconds on a laptop's CPU; no model and no torch is needed here.
#
# A problem x has a prompt, which the model reads, and a key, which is the same for every way to write the
# problem. A completion y is text. Two functions rule the world:
#
#     R(x, y)    = 1 if verify(x, y).correct else 0    the whole reward: no points for thinking or trying
#     is_test(x) = SHA-256("test-split", key of x) mod 10 == 0    one problem in ten is kept for the test
#
# Reinforcement learning pushes up whatever R pays. If R pays a mistake, the mistake is what will be learned.
# So R must be exact, and total: a model under training writes every kind of nonsense, and none of it may stop
# the run.

# %%
import os
import random
import re
import sys
import time
import warnings
from pathlib import Path

# Where to find `shared`: in this file's folder or, in a notebook, in the working folder or its lessons/.
FOLDER = Path(globals().get("__file__", "notebook")).resolve().parent
sys.path[:0] = [str(FOLDER), str(FOLDER / "lessons")]

from shared import show_figure

from minireason.corpus import wrap
from minireason.tasks import TASKS, is_test, make_problem, parse_prompt, program, test_problems
from minireason.tools.plots import new_figure
from minireason.verifier import verify

FAST = os.environ.get("LESSON_FAST") == "1"
NUM_DRAWS = 300 if FAST else 5000
NUM_FUZZED = 600 if FAST else 30_000
rng = random.Random(0)
warnings.filterwarnings("ignore", category=SyntaxWarning)            # what `eval` has to say of nonsense

# %% [markdown]
# ## By hand: three problems and their keys
# `compute 7*7+8*3-9` is 49 + 24 - 9 = 64, and `compute 3*8-9+7*7` is the same problem: terms and factors in
# order. `make 42 from 3 8 6` is solved by (8+6)*3. 8+6*3 is 26, 6*8-6 uses a 6 that is not there, and 3 must
# not be left over. `program 1->3 2->5 4->9` is x times 2 plus 1, written `x 2 * 1 +`: push x, push 2,
# multiply, push 1, add.

# %%
chain, again = parse_prompt("compute 7*7+8*3-9"), parse_prompt("compute 3*8-9+7*7")
made, tiny = parse_prompt("make 42 from 3 8 6"), parse_prompt("program 1->3 2->5 4->9")
assert chain.target == 64 and chain.key == again.key and chain.prompt != again.prompt
assert made.key == parse_prompt("make 42 from 6 3 8").key == "countdown 42 3 6 8"
assert [program.run("x 2 * 1 +", x) for x in (1, 2, 4)] == [3, 5, 9]
EXAMPLES = (      # (problem, right answers, wrong answers)
    (chain, ["64"], ["46", "64.0", ""]),
    (tiny, ["x 2 * 1 +", "x x + 1 +"], ["x 2 +", "x 2 *1 +"]),
    (made, ["(8+6)*3", "3 * (8+6)"], ["8+6*3", "6*8-6", "6*8"]),
)
for problem, right, wrong in EXAMPLES:
    for answer in right + wrong:
        verdict = verify(problem, wrap("any thinking, or none", answer))
        assert verdict.correct == (answer in right)
        print(f"{problem.prompt:26} {answer:12} {verdict.reason}")
assert wrap("7*7=49", "64") == "<think>7*7=49</think><answer>64</answer>"
assert not verify(chain, "64").well_formed

# %% [markdown]
# ## Levels, and how many problems there are
# Each task has levels from 1 (trivial) to 4 (hard). Where draws repeat, the level is small: a model may learn
# such problems by heart, and that is no reasoning. We score levels 2 and 3 (programs: 2 to 4).
#
# The trap: to split by the prompt. Draw a training set, then test problems whose prompts are not in it. Is
# that held out? Count how many are training problems in another order. With keys the count is 0, by
# construction.

# %%
fresh = {}                                                       # {(task, level): share of new problems}
for task in TASKS:
    for level in TASKS[task].levels:
        problems = [make_problem(task, rng, level) for _ in range(NUM_DRAWS)]
        keys = {problem.key: problem for problem in problems}
        fresh[task, level] = len(keys) / NUM_DRAWS
        num_test = sum(map(is_test, keys.values()))
        print(f"{task:10} level {level}: {NUM_DRAWS} draws, {len(keys):5} problems, {num_test:4} "
              f"kept for the test, such as {problems[0].prompt}")

train = [make_problem("countdown", rng, 2) for _ in range(NUM_DRAWS)]
prompts = {problem.prompt for problem in train}
keys = {problem.key for problem in train}
drawn = [make_problem("countdown", rng, 2) for _ in range(NUM_DRAWS)]
unseen = [problem for problem in drawn if problem.prompt not in prompts]
leaked = sum(problem.key in keys for problem in unseen) / len(unseen)
print(f"split by prompt: {leaked:.0%} of {len(unseen)} test problems of countdown level 2 "
      "were trained on in another order")

train_keys = {problem.key for problem in train if not is_test(problem)}
test_keys = {problem.key for problem in test_problems("countdown", (2,), 50, seed=0)}
assert not train_keys & test_keys

# %% [markdown]
# ## Red team: a grader as one finds it
# A regular expression and `eval`, as in more than one public grader. Each line of it looks harmless. It meets
# attacks, then noise: right answers with one to three characters changed. `9**9**9` it does not get: 9 to the
# power 387,420,489 does not come back in any useful time, and one such sample stops a run. Ours reads the
# text once, from left to right, and refuses at the first symbol that has no place.

# %%
def naive(problem, completion):
    """Is the last answer right? Do not use this."""
    answers = re.findall(r"<answer>(.*?)</answer>", completion, re.DOTALL)
    try:
        text = answers[-1].strip()
        if problem.task == "arithmetic":
            return text in str(problem.target) or int(text) == problem.target      # "be lenient"
        if problem.task == "program":
            return program.fits(text, problem.examples)                            # only the examples shown
        numbers = sorted(int(number) for number in re.findall(r"\d+", text))
        return (bool(re.fullmatch(r"[\d+\-*/().\s]+", text)) and numbers == sorted(problem.numbers)
                and abs(eval(text) - problem.target) < 1e-6)
    except Exception:
        return False


ATTACKS = {   # name: (problem, completion); the first is right, the second wrong
    "(8+6)*3": (made, wrap("", "(8+6)*3")),
    "8+6*3": (made, wrap("", "8+6*3")),
    "power": (parse_prompt("make 25 from 5 2"), wrap("", "5**2")),
    "floor": (parse_prompt("make 3 from 7 2"), wrap("", "7//2")),
    "divide": (parse_prompt("make 4 from 8 2"), wrap("", "8/2")),
    "unary minus": (parse_prompt("make 5 from 3 8"), wrap("", "-3+8")),
    "empty answer": (chain, wrap("", "")),
    "half of it": (chain, wrap("", "6")),
    "two answers": (chain, wrap("", "46") + "<answer>64</answer>"),
    "text after it": (chain, wrap("", "64") + " or 46"),
    "Unicode digits": (chain, wrap("", "\uff16\uff14")),
    "underscore": (chain, wrap("", "6_4")),
    "leading zero": (chain, wrap("", "064")),
    "fits what is shown": (tiny, wrap("", "x 2 * 1 + x 1 - x 2 - * x 4 - * +")),
}
verdicts = []                                                    # (naive, ours) of each attack
for name, (problem, completion) in ATTACKS.items():
    verdict, lenient = verify(problem, completion), naive(problem, completion)
    assert verdict.correct == (name == "(8+6)*3") and lenient == (name != "8+6*3")
    verdicts.append((lenient, verdict.correct))
    print(f"{name:18} {problem.prompt:22} {completion:67} naive {lenient!s:5}  ours: {verdict.reason}")

for text in ("9**9**9", "(" * 1000, "9" * 1000):
    start = time.perf_counter()
    verdict = verify(made, wrap("", text))
    milliseconds = 1000 * (time.perf_counter() - start)
    print(f"{text[:9]:9} of {len(text):4} characters: {verdict.reason}, {milliseconds:.2f} ms")


def mistype(answer):
    """The answer with one to three characters more, other or less."""
    characters = list(answer)
    for _ in range(rng.randint(1, 3)):
        place = rng.randrange(len(characters) + 1)
        characters[place:place + rng.randint(0, 1)] = rng.choice(["", *"0123456789+-*/()x _.\u0663"])
    return "".join(characters)


disagreements, num_right = [], 0
for _ in range(NUM_FUZZED):
    problem = make_problem(rng.choice(list(TASKS)), rng, 2)
    answer = mistype(TASKS[problem.task].write_guess(problem, rng, right=1.0))
    completion = wrap("", answer)
    if completion.count("**") >= 2:                              # two powers are what may hang
        continue
    verdict, lenient = verify(problem, completion), naive(problem, completion)
    assert lenient or not verdict.correct
    num_right += verdict.correct
    if lenient and not verdict.correct:
        disagreements.append(f"    {problem.prompt:30} {answer!r:22} {verdict.reason}")
print(f"of {NUM_FUZZED} answers {num_right} are right, naive accepts {len(disagreements)} more:")
print(*disagreements[:8], sep="\n")

# %%
figure, axes = new_figure(1, 2, figsize=(9, 3.4))
for task, color in zip(TASKS, ("#1b6ca8", "#d1495b", "#5a9a5a")):
    axes[0].plot(range(1, 5), [fresh[task, level] for level in range(1, 5)], "o-", color=color, label=task)
axes[0].set(xlabel="level", xticks=range(1, 5), ylim=(0, 1.05))
axes[0].legend(frameon=False, fontsize=8)
axes[1].imshow(verdicts, cmap="Blues", aspect="auto", vmin=-0.1, vmax=1.4)
axes[1].set(xticks=(0, 1), xticklabels=("naive", "ours"), yticks=range(len(ATTACKS)), yticklabels=ATTACKS)
titles = (f"share of {NUM_DRAWS} draws that are new problems", "what each takes for right (dark)")
for axis, title in zip(axes, titles):
    axis.set_title(title, fontsize=10)
    axis.tick_params(labelsize=8)
    axis.spines[["top", "right"]].set_visible(False)
show_figure(figure, "02_tasks_and_verifiers")
if "--full" in sys.argv:      # C2: a million answers against a second checker
    from compare_verifiers import study
    study(1_000_000)

# %% [markdown]
# ## What to see
# - The verifier looks at the answer, not at the thinking: wrong steps before a right answer are paid, and so
#   is luck.
# - Low levels run out: 5,000 draws of countdown level 1 are 125 problems. Split by prompt, 82% of level 2
#   were trained on.
# - Of 30,000 noisy answers 658 are right, and the naive grader pays for 550 more. What is paid will be found,
#   and learned.
# - What it does not show: that ours is right (`--full` asks a second, independent one), nor how to grade an
#   essay.
#
# ## Exercises
# 1. Find one more answer that `naive` accepts and should not.
# 2. Why is a completion that is cut off before its end paid as nothing, even when the right number stands in
#    it?
# 3. Pay -1 and 1 instead of 0 and 1. What changes for GRPO, whose advantages are (r - mean) / std? For PPO?
#    (Lessons 05 to 07)
#
# <details><summary>Solutions</summary>
#
# 1. `make 8 from 2 3`: `2**3`; `make 10 from 4 6`: `4.+6`; `compute 7*7+8*3-9`: `+64`.
# 2. Otherwise a model that runs on for ever, or lists all numbers, would be paid for it.
# 3. Nothing for GRPO: mean and std move along. PPO's returns have twice the spread, and beside them the KL
#    weighs half as much.
# </details>
