# %% [markdown]
# # 11. Pure RL, and the aha moment
#
# Question: R1-Zero was rewarded for right answers and for its tags, and never for how it thinks. It
# came to think longer, to check and to try again, and its authors called that an "aha moment". Does
# that come by itself here? And is what looks like a check really one?
#
# You need: lessons 04 and 07. Time: about a minute on a laptop's CPU.
#
# *Pure RL* is RL from the base, without a cold start, as in R1-Zero. A thought in two languages
# costs nothing, and the run ends with RL: no rejection, no alignment. (Random weights would be no
# start. They write no answer of the right form, so all rewards are 0, and nothing is learned.)
# The base has seen thoughts of all kinds, and it has not been told which of them are good.
#
# A thought can claim things that are not true. It may say "yes" behind a try that is wrong. So we
# do not believe its words: we check each claim by its calculations (`minireason/behaviour.py`). A
# try *has failed* if the thought itself says no to it. A wrong try to which it says yes is a *false
# yes*, and does not count as failed.
#
# | we count | which is | among |
# |---|---|---|
# | a *retry* | another try after a failed one, be it new or the same again | failed tries |
# | *giving up* | the last try has failed, and the model answers all the same | all thoughts |
# | a *false yes* | a try that is called a success, but is not one | tries called a success |
# | *won by retrying* | a right answer after a failed first try and a retry | right answers |
# | *accuracy after a failed try* | a right answer | answers whose first try had failed |
# | a *repair* | a wrong step that is calculated again, and right | wrong steps |
#
# The reward mentions none of these. If RL changes them, it is because they change the chance of a
# right answer.

# %%
import os
import statistics
import sys
from pathlib import Path

# Where to find `shared`: in this file's folder or, in a notebook, in the working folder or its lessons/.
FOLDER = Path(globals().get("__file__", "notebook")).resolve().parent
sys.path[:0] = [str(FOLDER), str(FOLDER / "lessons")]

from shared import group_bars, label, legend_above, show_figure

from minireason import grpo
from minireason.behaviour import observe, summarize
from minireason.config import RLConfig, preset
from minireason.inference import answer_all
from minireason.optimizer import adamw
from minireason.rewards import World, reasoning_world
from minireason.run import open_model
from minireason.tasks import parse_prompt, test_problems
from minireason.tokenizer import get_tokenizer
from minireason.tools.plots import new_figure
from minireason.upkeep.seeding import derive_rng
from minireason.verifier import verify

FAST = os.environ.get("LESSON_FAST") == "1"      # a quick run, for the tests
NUM_PROBLEMS = 8 if FAST else 200
NUM_ITERATIONS = 2 if FAST else 24
NUM_PROMPTS = 2 if FAST else 12
MAX_NEW_TOKENS = 40 if FAST else preset("laptop").rl.max_new_tokens
tokenizer = get_tokenizer()

# %% [markdown]
# ## By hand: five thoughts
#
# `make 42 from 3 8 6` asks for 42, made from the three numbers. A try guesses the last operation of
# the answer, undoes it, and says what the other two numbers have to make. Read the first thought so
# (lesson 01 has all letters):
#
#     try c            a letter for each move: c says that the third number is added last
#                      (and d, further on, that the first is multiplied last)
#     42-6=36          then 3 and 8 have to make 36
#     3+8=11           they make 11
#     is 36 no         11 is not 36: this try has failed
#     wait try ...     a retry
#
# Before you run the cell, decide for each thought: how many tries failed, and is there a false
# yes or a repair? The last one has no tries, since it is a sum.

# %%
FIVE = (
    ("make 42 from 3 8 6",
     "try c 42-6=36 3+8=11 is 36 no wait try d 42/3=14 8+6=14 is 14 yes", "(8+6)*3"),
    ("make 42 from 3 8 6", "try c 42-6=36 3+8=11 is 36 no enough", "(3+8)+6"),
    ("make 36 from 3 8 2", "try 3*8=24 24+2=26 yes", "3*8+2"),
    ("make 36 from 3 8 2", "try c 36-2=34 3*8=24 is 34 yes", "3*8+2"),
    ("compute 49+24", "49+24=83 check 83-24=59 no wait 49+24=73", "73"),
)
behaviours, right = [], []
for prompt, thought, answer in FIVE:
    problem = parse_prompt(prompt)
    text = f"<think>{thought}</think><answer>{answer}</answer>"
    behaviour = observe(problem, text)
    behaviours.append(behaviour)
    right.append(verify(problem, text).correct)
    print(f"{'right' if right[-1] else 'wrong'}  failed tries {behaviour.num_failed_tries}  "
          f"retries {behaviour.num_retries}  false yes {behaviour.num_false_yes}  "
          f"repairs {behaviour.num_repairs}   {thought}")

assert right == [True, False, False, False, True]
assert [behaviour.num_failed_tries for behaviour in behaviours] == [1, 1, 0, 0, 0]
assert [behaviour.num_retries for behaviour in behaviours] == [1, 0, 0, 0, 0]
assert [behaviour.num_false_yes for behaviour in behaviours] == [0, 0, 1, 1, 0]
assert behaviours[4].num_repairs == 1

# %% [markdown]
# The third thought makes 26 and says yes, but 36 was asked for. (It has no letter and no `is`: some
# texts are written so.) The fourth writes "24 is 34 yes", which contradicts itself. Both are false
# yes, so neither counts as a failed try. `enough` in the second says that it gives up. In the last
# one, a sum, `check 83-24=59` takes back what was added, and 59 is not 49.
#
# `summarize` turns such counts into rates. Of the first two thoughts, one of two failed tries is
# followed by a retry, and the only right answer was won by it:

# %%
rates = summarize(behaviours[:2], right[:2], lengths=[0, 0])
assert rates["retry_after_failure"] == 1 / 2 and rates["giving_up"] == 1 / 2
assert rates["won_by_retrying"] == 1

# %% [markdown]
# ## Pure RL from the base
#
# GRPO trains the included base on countdown. The reward is 1 for a right answer. Beside it we
# note what the texts do: `reward_and_note` returns the plain rewards, so the notes earn nothing.

# %%
plain = reasoning_world(tokenizer, {"countdown": (2, 3)}, {"countdown": 1.0})
notes = []      # what the texts of each iteration do


def reward_and_note(problems, texts):
    rewards = plain.reward(problems, texts)
    behaviours, right, lengths = [], [], []
    for problem, text, reward in zip(problems, texts, rewards):
        if text:      # a completion that was cut off comes as an empty text
            behaviours.append(observe(problem, text))
            right.append(reward)
            lengths.append(0)
    notes.append(summarize(behaviours, right, lengths))
    return rewards


model = open_model("pretrained", "base")[0].train()
settings = RLConfig(num_iterations=NUM_ITERATIONS, num_prompts=NUM_PROMPTS, num_epochs=1,
                    learning_rate=5e-4, max_new_tokens=MAX_NEW_TOKENS)
world = World(plain.draw, reward_and_note, tokenizer)
lines = list(grpo.train(model, None, adamw(settings, model), world, settings, seed=0))
for line, note in zip(lines, notes):
    print(f"iteration {line['iteration']:2}: reward {line['reward']:.2f}, "
          f"{line['completion_length']:.0f} tokens, {note['thinks'] or 0:.0%} think, "
          f"tries of a thought {note['tries_thinking'] or 0:.1f}")

# %% [markdown]
# ## Four models, the same problems
#
# Now four models answer the same held-out problems, one answer each: the base, our model after pure
# RL, the included cold start, and the included RL model, which went on from the cold start for much
# longer. `tokens_thinking` and `tries_thinking` are means over the answers that think. (Both are
# higher than in the lines above. Those left out the tries of completions that were cut off, and
# averaged the tokens over answers without a thought, too.)
#
# The intervals are a bootstrap: we draw the problems again, with repetition, 200 times, and take
# the middle 95% of what comes out. A rate has no value where there is nothing to divide by.

# %%
NUMBERS = ("right", "tokens_thinking", "tries_thinking")
SHARES = ("thinks", "retry_after_failure", "giving_up", "false_yes", "accuracy_after_failed_try",
          "won_by_retrying", "repairs")


def rates_of(rows):
    """{name: a number or None}, from (behaviour, is it right, number of tokens) of each answer."""
    behaviours, right, lengths = zip(*rows)
    rates = summarize(behaviours, right, lengths)
    rates["right"] = sum(right) / len(right)
    return {name: rates[name] for name in (*NUMBERS, *SHARES)}


def intervals_of(rows):
    """{name: (value, low, high)} of the rates that have a value."""
    rng = derive_rng(0, "resamples")
    resampled = {name: [] for name in (*NUMBERS, *SHARES)}
    for _ in range(200):
        for name, value in rates_of(rng.choices(rows, k=len(rows))).items():
            if value is not None:
                resampled[name].append(value)
    intervals = {}
    for name, value in rates_of(rows).items():
        if value is not None and len(resampled[name]) > 1:
            cuts = statistics.quantiles(resampled[name], n=40)      # 2.5%, 5%, ... 97.5%
            intervals[name] = (value, cuts[0], cuts[-1])
    return intervals


# %%
problems = test_problems("countdown", (2, 3), NUM_PROBLEMS, seed=1)
models = {"base": open_model("pretrained", "base")[0],
          "pure RL": model.eval(),
          "cold start": open_model("pretrained", "cold-start")[0],
          "cold start, RL": open_model("pretrained", "rl")[0]}
table = {}      # {model: {name: (value, low, high)}}
for arm, one_model in models.items():
    prompts = [problem.prompt for problem in problems]
    answers = answer_all(one_model, tokenizer, prompts, MAX_NEW_TOKENS, seed=1)
    rows = []
    for problem, (text, num_tokens) in zip(problems, answers):
        rows.append((observe(problem, text), verify(problem, text).correct, num_tokens))
    table[arm] = intervals_of(rows)

print(f"{'':26}" + "".join(f"{arm:>23}" for arm in table))
for name in (*NUMBERS, *SHARES):
    cells = []
    for intervals in table.values():
        has_value = name in intervals
        cells.append("{:.2f} [{:.2f}, {:.2f}]".format(*intervals[name]) if has_value else "-")
    print(f"{name:26}" + "".join(f"{cell:>23}" for cell in cells))

# %% [markdown]
# ## The figure: `11_pure_rl_and_aha`
#
# Left and middle: pure RL by iteration. Do thoughts become more frequent, and do texts become
# longer? Right: the shares of the table. Compare gray with blue, which is what pure RL changed.
# Then compare orange with red, which is what RL changed after the cold start. (Red is the included
# model. It was trained for longer, and its reward had a price on two languages: see lesson 12.)

# %%
COLORS = {"base": "#999999", "pure RL": "#1b6ca8",
          "cold start": "#e0a030", "cold start, RL": "#d1495b"}
figure, axes = new_figure(1, 3, figsize=(9.9, 3.8), width_ratios=(1, 1, 3))
axes[0].plot([line["reward"] for line in lines], color="#1b6ca8", label="mean reward")
axes[0].plot([note["thinks"] or 0 for note in notes], color="#5a9a5a", label="share that thinks")
axes[0].set_ylim(0, 1.05)
axes[1].plot([line["completion_length"] for line in lines], color="#7a4fa3")
bars = {}      # {share: {model: (value, low, high)}}
for name in SHARES:
    title = name.replace("_", "\n", 2).replace("_", " ")
    bars[title] = {arm: intervals[name] for arm, intervals in table.items() if name in intervals}
group_bars(axes[2], bars, COLORS)
label(axes[0], "pure RL: success", "iteration", "share")
label(axes[1], "pure RL: length", "iteration", "tokens of a completion")
label(axes[2], f"countdown, {NUM_PROBLEMS} held-out problems", "behavior", "share")
legend_above(axes[2], top=1.2, ncols=4)
show_figure(figure, "11_pure_rl_and_aha")

# %% [markdown]
# ## What to see
#
# - **Pure RL.** The reward rises. More and more answers think, and answers become longer. After a
#   failed try the model goes on, where the base often gave up. No text of the corpus tries more
#   than three times; in the table the mean is 3.6. Nobody rewarded any of this. It led to right
#   answers, and so it became more likely together with them. ([C12](results/C12.md) counts the
#   answers with more tries than any text has.)
# - **The corpus had the parts.** The base thinks and retries already, only less often. RL made
#   likely what was there. What if the corpus has no retries? A *control* is a run that differs in
#   one thing alone: here no text tries twice (`--tasks-max-tries 1`). With [three
#   seeds](results/C12.md#fewer-tries) its thoughts have 1.0 tries before RL, and 1.0 after it. The
#   control does learn: right answers in countdown go from 15 to 32%, since its single tries succeed
#   more often, and since it thinks where it guessed. If texts try at most twice, RL takes thoughts
#   from 1.4 to 4.0 tries. So one second try in the texts is enough. If they try up to three times,
#   as ours do, the share of failed tries that are retried rises from 52 to 99% in 100 iterations
#   ([five seeds](results/C3.md)). (In this lesson it rises from 50 to 87% in 24.) So RL makes
#   likely what it finds, and then does it more often than any text did.
# - **Trying again is useful here**: see how many right answers were won by retrying. To find the
#   right try is hard, and to check one takes only two calculations.
# - **After the cold start** most failed tries are retried already. The cold start is imitation
#   alone. Yet some of its thoughts have more tries than any text. The reason: no example gives up,
#   so the model learns to go on, but not when to stop. These further tries are often wrong, and RL
#   makes them right more often (`accuracy_after_failed_try`). In [longer runs](results/C12.md) 37%
#   of the answers with more than three tries are right before RL, and 63% after it. RL also ends
#   the giving up that was left, and there are fewer false yes.
# - **Some *yes* are false** (the row `false_yes`). Under pure RL about one *yes* in six stands
#   behind a wrong try. No difference to the base can be seen. A false yes ends a thought that
#   could have gone on. So we think that the more of them there are, the less a longer search can
#   earn, and the less RL can lengthen thoughts.
# - **Repairs** stay rare, in [longer runs](results/C3.md), too: there 4% of the wrong steps
#   of countdown are repaired after pure RL, and 1% before. In sums RL halves the wrong steps
#   instead.
#
# - **Where thoughts do not grow.** In sums there is nothing to try again: over longer runs their
#   thoughts get shorter, from 45 tokens to 40. Nor do those of countdown grow where no text tries
#   again or checks: 34.5 tokens before RL and 34.4 after (another control, of
#   [C3](results/C3.md), without the lists of comparisons, too).
#
# What it does not show: a second seed, and a world in which repairs are worth their while. In sums
# only 5% of the base's steps are wrong, so a check seldom finds one, and RL gains more by doing the
# step right at once.
#
# The trap: to count words. The next exercise is about it.
#
# ## R1-Zero beside it
#
# | | R1-Zero (arXiv:2501.12948) | `train.py --pure-rl` |
# |---|---|---|
# | reward | for a right answer, and for the form | for a right answer in the right form |
# | KL to a reference | 0.001; every 400 steps the reference is renewed | none |
# | a step of the optimizer | 32 problems, 16 answers each | 24 problems, 16 answers each |
# | updates of a rollout | one for each sixteenth of it | one |
# | learning rate | 3e-6 | 3e-4, which falls to 0 (5e-4 in this lesson) |
# | temperature | 1 | 1 |
# | longest answer, in tokens | 32,768, and 65,536 after 8,200 steps | 208 |
# | steps | 10,400 | 100 |
# | parameters | 671 billion, of which a token uses 37 | 0.8 million |
#
# ## Exercises
#
# 1. Count the word "wait" before and after RL. (In the loop over the models:
#    `sum(text.count("wait") for text, _ in answers)`.) Why does it say less than retries and false
#    yes?
# 2. Suppose each token costs 0.002 of reward. A retry takes about 20 tokens. How likely must it be
#    to help, so that RL keeps it? Does a whole thought of about 100 tokens pay? (Without one 8 to 9
#    of 100 countdown answers of an RL model are right, and 77 with one.)
#
# <details><summary>Solutions</summary>
#
# 1. Half of the base's retries say `espera`. So a model that merely turns to English seems to retry
#    more. And a text that goes in circles is full of "wait". The word does not say whether the next
#    try is a new one, nor whether its verdict is true.
# 2. 20 tokens cost 0.04, so a retry has to bring a right answer in more than 4 of 100 cases. A
#    whole thought costs about 0.20, and brings 0.68 ([C7](results/C7.md)): it pays. So with such a
#    price late retries, which help rarely, would go first.
# </details>
