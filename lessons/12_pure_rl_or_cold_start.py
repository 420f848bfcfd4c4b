# %% [markdown]
# # 12. Pure RL or a cold start
#
# Question: R1-Zero reasoned well, but people could hardly read it. R1 got a cold start and a
# second reward, so as to have both. What of that is true here? And what do we have to reward, so
# that a thought can be read?
#
# You need: lessons 04 and 11. Time: about a minute and a half on a laptop's CPU.
#
# Our toy internet is written in English and in Spanish, and half of its writers choose the language
# anew at each word. (A short thought of theirs may still keep to one: 41% of the thoughts are
# mixed.) We count two things (`minireason/behaviour.py`):
#
# - *Mixing*: the thought holds words of both languages. It is counted among the answers that think,
#   since an answer without a thought has nothing to mix.
# - *Readable*: the text is well formed, its thought keeps to one language, and its answer follows
#   from the last step. In a sum the answer is then the result of that step. In countdown it is the
#   expression to which the last try leads. (A text without a thought contradicts no step, so it can
#   be readable.) It is counted among all answers.
#
# A reward for the right answer alone does not see any of this. A right answer earns 1 whether its
# thought is in one language or in two. So one would expect RL to leave the share of mixed thoughts
# as it is. Watch whether it does. R1's remedy was a second reward, for keeping to one language.

# %%
import os
import sys
from pathlib import Path

# Where to find `shared`: in this file's folder or, in a notebook, in the working folder or its lessons/.
FOLDER = Path(globals().get("__file__", "notebook")).resolve().parent
sys.path[:0] = [str(FOLDER), str(FOLDER / "lessons")]

import torch
from shared import error_bars, group_bars, label, legend_above, show_figure

from minireason import grpo
from minireason.behaviour import observe
from minireason.config import RLConfig, preset
from minireason.corpus import base_corpus
from minireason.inference import answer_all
from minireason.optimizer import adamw
from minireason.rewards import World, correctness, language_consistency, reasoning_world
from minireason.run import open_model
from minireason.stats import wilson_interval
from minireason.tasks import parse_prompt, test_problems
from minireason.tokenizer import get_tokenizer
from minireason.tools.plots import new_figure
from minireason.verifier import verify

FAST = os.environ.get("LESSON_FAST") == "1"      # a quick run, for the tests
NUM_DOCUMENTS = 60 if FAST else 3000
NUM_PROBLEMS = 6 if FAST else 150        # of each task
NUM_ITERATIONS = 2 if FAST else 16
NUM_PROMPTS = 2 if FAST else 12
MAX_NEW_TOKENS = 40 if FAST else preset("laptop").rl.max_new_tokens
tokenizer = get_tokenizer()

# %% [markdown]
# ## By hand: add two rewards, or multiply them?
#
# Four completions answer `compute 7*2+8`. The first is right, in one language. The second is right,
# and mixes: *luego* is Spanish, *check* and *ok* are English. The third is wrong, in one language.
# The fourth is wrong and says nothing, so it mixes nothing.
#
# | completion | correct | one language | sum | product |
# |---|---|---|---|---|
# | `7*2=14 so 14+8=22` | 1 | 1 | 2 | 1 |
# | `7*2=14 luego 14+8=22 check 22-8=14 ok` | 1 | 0 | 1 | 0 |
# | `7*2=14 so 14+8=21` | 0 | 1 | 1 | 0 |
# | (no thought; the answer 25) | 0 | 1 | 1 | 0 |
#
# With the sum, a right answer in two languages earns as much as a wrong one in one, and as much as
# silence. In a group of the last three all rewards are equal, so all advantages are 0: nobody
# learns that one of them is right. With the product only what is right *and* in one language earns
# something.

# %%
problem = parse_prompt("compute 7*2+8")
FOUR = (("7*2=14 so 14+8=22", 22), ("7*2=14 luego 14+8=22 check 22-8=14 ok", 22),
        ("7*2=14 so 14+8=21", 21), ("", 25))
texts = [f"<think>{thought}</think><answer>{answer}</answer>" for thought, answer in FOUR]
sums, products = [], []
for text in texts:
    is_right, is_consistent = correctness(problem, text), language_consistency(problem, text)
    sums.append(is_right + is_consistent)
    products.append(is_right * is_consistent)
print("sums", sums, "products", products)
assert sums == [2, 1, 1, 1] and products == [1, 0, 0, 0]
assert not grpo.group_advantages(torch.tensor([sums[1:]])).any()
assert [observe(problem, text).readable for text in texts] == [True, False, True, True]

# %% [markdown]
# The last line of the cell may surprise you. A wrong answer can be readable, and so can an answer
# without a thought. But an answer that is not what the thought came to is not readable:

# %%
other_answer = texts[0].replace("<answer>22", "<answer>23")
assert not observe(problem, other_answer).readable

# %% [markdown]
# ## Two short runs of pure RL
#
# Both start with the included base, and see the same problems. They differ in what is rewarded:
# right answers alone, or the product of both rewards.
#
# Beside them stand three included models: the base, the cold start, and RL after the cold start.
# The last model had another reward. In the pipeline a right answer that mixes languages earns
# 0.5, and not 1 (`--language-price 0.5`). So "cold start, RL" had a cold start *and* a price on
# mixing. "Pure RL" had neither. (A wrong answer earns 0 in any case. If mixing cost it something,
# a group of wrong answers could earn more by writing fewer words, and be no nearer to a right
# one.) To reward something else, change `worth` in `minireason/rewards.py`. With 0.2 more for
# good form, for example, the logged `reward` is no share of right answers any more: then look at
# held-out problems (`--evaluate-every 10`).

# %%
plain = reasoning_world(tokenizer, {"arithmetic": (2, 3), "countdown": (2, 3)},
                        {"arithmetic": 0.4, "countdown": 0.6})


def reward_both(problems, texts):
    rewards = []
    for problem, text in zip(problems, texts):
        rewards.append(correctness(problem, text) * language_consistency(problem, text))
    return rewards


def pure_rl(name, reward):
    """The base after GRPO with a reward."""
    model = open_model("pretrained", "base")[0].train()
    settings = RLConfig(num_iterations=NUM_ITERATIONS, num_prompts=NUM_PROMPTS, num_epochs=1,
                        learning_rate=5e-4, max_new_tokens=MAX_NEW_TOKENS)
    world = World(plain.draw, reward, tokenizer)
    for line in grpo.train(model, None, adamw(settings, model), world, settings, seed=0):
        pass
    print(f"{name}: mean reward of the last rollout {line['reward']:.2f}")
    return model.eval()


models = {"base": open_model("pretrained", "base")[0],
          "pure RL": pure_rl("right answers", plain.reward),
          "pure RL, both rewards": pure_rl("right and in one language", reward_both),
          "cold start": open_model("pretrained", "cold-start")[0],
          "cold start, RL": open_model("pretrained", "rl")[0]}

# %% [markdown]
# ## Side by side
#
# All models answer the same held-out problems, half of them sums and half countdown. Beside them
# stand the documents of the corpus that the base imitated. The intervals are Wilson's.

# %%
NAMES = ("well formed", "mixing", "readable", "right")


def count(pairs):
    """{name: (how many, of how many)}, from (problem, completion) pairs."""
    behaviours = [observe(problem, text) for problem, text in pairs]
    thinking = [behaviour for behaviour in behaviours if behaviour.thinks]
    number = len(pairs)
    return {"well formed": (sum(behaviour.well_formed for behaviour in behaviours), number),
            "mixing": (sum(behaviour.mixed for behaviour in thinking), len(thinking)),
            "readable": (sum(behaviour.readable for behaviour in behaviours), number),
            "right": (sum(verify(problem, text).correct for problem, text in pairs), number)}


documents = []      # (problem, completion) of the sums and the countdown in the corpus
for prompt, completion in base_corpus(0, NUM_DOCUMENTS):
    if prompt.startswith(("compute", "make")):
        documents.append((parse_prompt(prompt), completion))
problems = []
for task in ("arithmetic", "countdown"):
    problems += test_problems(task, (2, 3), NUM_PROBLEMS, seed=1)

counts = {"corpus": count(documents)}      # {arm: {name: (how many, of how many)}}
for arm, model in models.items():
    prompts = [problem.prompt for problem in problems]
    answers = answer_all(model, tokenizer, prompts, MAX_NEW_TOKENS, seed=1)
    counts[arm] = count([(problem, text) for problem, (text, _) in zip(problems, answers)])

# %%
shares = {name: {} for name in NAMES}      # {name: {arm: (share, low, high)}}
print(f"{'':23}" + "".join(f"{name:>28}" for name in NAMES))
for arm, by_name in counts.items():
    cells = []
    for name, (number, total) in by_name.items():
        shares[name][arm] = (number / max(1, total), *wilson_interval(number, total))
        cells.append("{:.2f} [{:.2f}, {:.2f}]".format(*shares[name][arm]) + f" of {total}")
    print(f"{arm:23}" + "".join(f"{cell:>28}" for cell in cells))

# %% [markdown]
# ## The figure: `12_pure_rl_or_cold_start`
#
# Left: for each of the four words, one bar for the corpus and one for each model. Look at
# "mixing" first. Right: the corpus and the models as points. Further right means more right
# answers, further up means easier to read. Where would you like to be, and who gets there?

# %%
COLORS = {"corpus": "#cccccc", "base": "#999999", "pure RL": "#1b6ca8",
          "pure RL, both rewards": "#5a9a5a", "cold start": "#e0a030", "cold start, RL": "#d1495b"}
figure, axes = new_figure(1, 2, figsize=(9.6, 4), width_ratios=(1.5, 1))
group_bars(axes[0], shares, COLORS)
for arm, color in COLORS.items():
    [x], x_errors = error_bars([shares["right"][arm]])
    [y], y_errors = error_bars([shares["readable"][arm]])
    axes[1].errorbar(x, y, y_errors, x_errors, "o", color=color)
    side, shift = ("right", (-4, 5)) if x > 0.8 else ("left", (4, -11))      # where the name fits
    axes[1].annotate(arm, (x, y), shift, textcoords="offset points", ha=side, fontsize=8)
label(axes[0], f"{NUM_PROBLEMS} sums and {NUM_PROBLEMS} countdowns", "what is counted", "share")
legend_above(axes[0], top=1.3, ncols=3)
label(axes[1], "reasons well, reads well", "share right", "share readable")
axes[1].set(xlim=(0, 1.05), ylim=(0, 1.05))
show_figure(figure, "12_pure_rl_or_cold_start")

# %% [markdown]
# ## What to see
#
# - **Pure RL** is right more often than the base, and less readable. Why less? The base often
#   says nothing, and an answer without a thought is readable. After RL nearly all texts think,
#   and a text that thinks can mix.
# - **Mixing seems to rise under pure RL**: from 40 to 51%, but the intervals overlap. Thoughts in
#   one language and in two earn the same, so the reward favors neither. But RL makes thoughts
#   longer, and a longer thought has more words that can mix. In the longer runs of [the
#   results](results/C6.md) it does rise where thoughts grow: in countdown, from 49 to 78%.
#   In sums they do not grow, and 49% of them mix before and 47% after.
# - **Both rewards** (here a right answer that mixes earns nothing, so the two mean rewards above
#   cannot be compared): the same base soon keeps to one language. It seems to learn more slowly to
#   be right (the intervals overlap), since right answers in two languages do not help it now. R1's
#   authors, too, saw that the second reward cost them a little.
# - **The cold start** removes nearly all of the mixing, with 300 examples, all in English. (Most of
#   its answers that are not readable come from thoughts that gave up: they do not follow from the
#   last step.) RL after it is right more often, and the price in its reward keeps mixing away. A
#   reward for right answers alone does so less well, since nothing in it speaks against mixing. In
#   a longer study ([C6](results/C6.md)) 4% of the thoughts mix after the cold start, and 8% after
#   RL without the price. After pure RL 63% do.
# - **Well formed** is 1, or nearly, until thoughts grow in "cold start, RL", which was trained for
#   longest. Some of them go in circles until they are cut off. A reward for one language does not
#   help there.
#
# What it does not show: whether a human could follow the thoughts. `readable` is a script's idea of
# it. And it is one seed.
#
# The trap: the sum of the two rewards. Then the reward for one language can be earned by saying
# nothing, or by being cut off: a text that is cut off counts as empty, and mixes nothing. (Sixteen
# iterations do not go that far: see exercise 1.) R1 took a sum all the same: it added the share of
# words in the wanted language. We think that silence did not pay there, since its problems can
# hardly be guessed.
#
# ## Exercises
#
# 1. Write `reward_sum`, and call `pure_rl("the sum", reward_sum)`. What happens to the share of
#    texts that think, and to mixing? (`behaviour.thinks` says whether a text thinks.)
# 2. In which language does "pure RL, both rewards" think? (Count "so" and "luego" in ten thoughts.)
#    Would another seed choose the same one?
# 3. Suppose the examples of the cold start were in Spanish. What would `readable` say of the
#    model then?
#
# <details><summary>Solutions</summary>
#
# 1. With one seed and 200 problems, mixing among the texts that think falls to 0.05. 84% of the
#    texts think: more than in the base (71%), fewer than with the product (91%). Fewer answers are
#    right than with the product (45 against 55%). Silence and wrong thoughts in one language earn
#    1, too, so being right pays less.
# 2. In the one that happened to be ahead. Both earn the same, and what is drawn more often
#    becomes more likely faster. Another seed may choose the other one.
# 3. The same. `readable` asks for one language, and not for which.
# </details>
