# %% [markdown]
# # 1. Imitation and exploration
#
# Question: a language model has read right and wrong answers alike. What has it learned from them?
# And what can trial and error add, if nobody shows the model anything new?
#
# You need: Python, probabilities and logarithms. Time: about a minute on a laptop's CPU.
#
# A language model reads a text in pieces, called *tokens*. Here a token is a digit, a sign or a
# short word. After each token the model gives a probability to every token that could come next. To
# write, it draws one of them, appends it, and asks itself again. The text that it is given is the
# *prompt*. What it writes after the prompt is the *completion*.
#
# Training changes the numbers inside the model, its weights, in many small steps. There are two
# ways to do it, and this lesson compares them.
#
# - *Imitation*: somebody collects many texts, the *corpus*. Training makes each next token of these
#   texts more likely. It does not know which texts are right.
# - *Reinforcement learning* (RL): the model writes completions itself. Each one earns a *reward*:
#   here 1 if its answer is right, and 0 if not. Training makes the rewarded completions more
#   likely.

# %% [markdown]
# ## By hand: four texts
#
# A tiny corpus holds four texts. All have the same prompt. One text answers 2, and three texts
# answer 3. The right answer is 2.
#
# Let p be the probability that the model gives to 2, so that 3 gets 1 - p. Imitation minimizes a
# loss, the mean of -log(probability) over the texts (log is the natural logarithm, also written
# ln):
#
#     loss(p) = -(1/4) log p - (3/4) log(1 - p)
#
# The next cell prints it for some p. Run it, and look for the p with the lowest loss.

# %%
import math


def loss(p):
    return -1 / 4 * math.log(p) - 3 / 4 * math.log(1 - p)


for p in (0.10, 0.20, 0.25, 0.30, 0.50, 0.90):
    print(f"p = {p:.2f}   loss {loss(p):.3f}")

# %% [markdown]
# The loss is lowest at p = 1/4. That is the share of the right answer in the corpus, and it is no
# accident: the derivative -1/(4p) + 3/(4(1 - p)) is 0 just there. So imitation aims at the shares
# of its corpus, however long it goes on.
#
# RL maximizes the expected reward, which we call J. An answer 2 earns 1 and an answer 3 earns 0, so
#
#     J(p) = p * 1 + (1 - p) * 0 = p
#
# J has no best point in the middle: more is always better. Now we check both on a real model. This
# cell finds the repository and imports what the lesson needs. Each lesson has one like it.

# %%
import itertools
import os
import sys
import time
from pathlib import Path

# Where to find `shared`: in this file's folder or, in a notebook, in the working folder or its lessons/.
FOLDER = Path(globals().get("__file__", "notebook")).resolve().parent
sys.path[:0] = [str(FOLDER), str(FOLDER / "lessons")]

import torch
from shared import error_bars, label, plot_band, show_figure
from toy import toy_model, toy_world

from minireason import grpo, sft
from minireason.config import RLConfig, SFTConfig, TaskConfig, preset
from minireason.corpus import base_corpus, levels_up_to, tokenize
from minireason.inference import answer_all
from minireason.optimizer import adamw
from minireason.rewards import reasoning_world
from minireason.run import open_model
from minireason.stats import bootstrap_interval, wilson_interval
from minireason.tasks import TASKS, parse_prompt, test_problems
from minireason.tokenizer import get_tokenizer
from minireason.tools.plots import new_figure
from minireason.verifier import verify

FAST = os.environ.get("LESSON_FAST") == "1"      # a quick run, for the tests
NUM_DOCUMENTS = 200 if FAST else 4000
NUM_PROBLEMS = 4 if FAST else 60
NUM_SAMPLES = 4 if FAST else 16          # completions of each problem
NUM_ITERATIONS = 2 if FAST else 20
NUM_PROMPTS = 2 if FAST else 12
MAX_NEW_TOKENS = 40 if FAST else preset("laptop").rl.max_new_tokens

# %% [markdown]
# ## The same four texts, and a model that learns them
#
# The toy model of `lessons/toy.py` knows eight tokens, 0 to 7. The prompt is the digit 1 and a 4,
# which ends every prompt. A 0 ends a completion. First `sft.train` lets the model imitate the four
# texts. (SFT stands for *supervised fine-tuning*, another name for imitation.) Then `grpo.train`
# lets the same model try for itself, with a reward of 1 for each completion that begins with 2.
#
# Some words of every training, here and later. Come back to them when you need them.
#
# | word | meaning |
# |---|---|
# | *batch* | the examples that are looked at together |
# | *step* | all weights change a little, against the gradient of the loss on a batch |
# | *learning rate* | how long steps are |
# | *epoch* | a pass over all examples |
# | *warm-up* | in the first steps the learning rate rises; after it, it falls to 0 at the end |
# | *AdamW* | the rule that turns a gradient into a step |
# | *weight decay* | in imitation each step also makes all weights a little smaller |
# | *preset* | a set of values for all settings; `train.py` uses the preset laptop |
#
# AdamW divides each number of the gradient by its usual size. So doubling all gradients changes no
# step. A single gradient that is much longer than usual is shortened to a limit first
# (`max_grad_norm`).

# %%
corpus = [([1, 4], [2, 0]), ([1, 4], [3, 0]), ([1, 4], [3, 0]), ([1, 4], [3, 0])]
toy = toy_model(seed=0, width=16, num_layers=1)


def p_right():
    """The probability that the toy model writes a 2 after the prompt."""
    logits = toy(torch.tensor([[1, 4]]))[0, -1]
    return logits.softmax(0)[2].item()


settings = SFTConfig(num_epochs=80, batch_size=4, learning_rate=1e-2, warmup_steps=1)
optimizer = torch.optim.AdamW(toy.parameters(), weight_decay=0.0)      # `train` sets the rate
lines = list(sft.train(toy, optimizer, corpus, settings, seed=0))
# The loss is a mean over two tokens a text. The second is the end: nearly certain, it adds 0.02.
loss_of_a_text = 2 * lines[-1]["loss"]
print(f"by hand:   p = 0.250, loss {loss(1 / 4):.3f}")
print(f"imitation: p = {p_right():.3f}, loss {loss_of_a_text:.3f}")
assert abs(p_right() - 1 / 4) < 0.02 and abs(loss_of_a_text - loss(1 / 4)) < 0.02


def reward(prompt, text):
    return float(text.startswith("2"))


settings = RLConfig(num_iterations=30, num_prompts=2, group_size=16, max_new_tokens=2,
                    learning_rate=1e-2, warmup_iterations=1)
optimizer = torch.optim.AdamW(toy.parameters())
# None: there is no reference, a model to stay near to (lesson 07)
list(grpo.train(toy, None, optimizer, toy_world(prompts="1", reward=reward), settings, seed=0))
print(f"RL:        p = {p_right():.3f}")
assert p_right() > 0.9

# %% [markdown]
# ## What RL needs: pass@k
#
# RL can only reward a completion that was written. A model that is never right earns nothing and
# learns nothing. So we want to know whether several attempts contain a right one. That chance is
# called *pass@k*: the probability that at least one of k completions is right. *pass@1* is the
# usual accuracy.
#
# We estimate it from n completions of a problem, of which c are right. C(n, k) is the number of
# ways to choose k of n. C(n - c, k) of these choices contain only wrong completions. So pass@k is
# 1 - C(n - c, k) / C(n, k).

# %%
# From minireason/stats.py: pass_at_k
def pass_at_k(num_samples: int, num_correct: int, k: int) -> float:
    """Unbiased chance that one of k samples is right: 1 - C(n-c, k) / C(n, k). arXiv:2107.03374."""
    if not 0 <= num_correct <= num_samples or not 1 <= k <= num_samples:
        raise ValueError("pass_at_k needs 0 <= num_correct <= num_samples and 1 <= k <= num_samples")
    return 1.0 - math.comb(num_samples - num_correct, k) / math.comb(num_samples, k)
# End of excerpt


four = [1, 0, 0, 0]      # four completions of a problem, and one is right
pairs = [max(pair) for pair in itertools.combinations(four, 2)]
print(f"of {len(pairs)} pairs {sum(pairs)} contain the right one: pass@2 = {pass_at_k(4, 1, 2)}")
assert pass_at_k(4, 1, 2) == sum(pairs) / len(pairs) == 1 / 2

# %% [markdown]
# The trap: one of four is right, so p looks like 1/4, and pass@2 like 1 - (1 - 1/4)^2 = 7/16. With
# the true p this formula is exact. With p estimated as c/n it is too low on average, because it
# lets the same completion count twice, and a repeated one brings nothing new.
#
# ## What there is to imitate
#
# The *base* is a model that has imitated a toy internet and nothing else. Its documents contain
# answers without a thought, which are mostly wrong. They also contain worked solutions, with
# slips, in two languages, and thoughts that give up. There are conversations as well, with good
# and bad replies, which lesson 15 needs. Nothing in a document says whether it is right. We can
# tell, because a program checks each answer: the *verifier*, which lesson 02 explains. The flaws
# are there on purpose. The real internet is like that, too: right and wrong texts, in many
# languages, and no mark says which is which. RL chooses among the habits that a model has, so the
# model needs good and bad ones. The answers without a thought are an example: about one in three
# of them is right, and two in three of the thoughts. So RL can find by comparison that thinking
# pays. If both were right as often, a reward could not tell them apart.

# %%
documents = base_corpus(0, NUM_DOCUMENTS)
outcomes = {"arithmetic": [], "countdown": []}      # whether each document is right
for prompt, completion in documents:
    if prompt.startswith(("compute", "make")):
        problem = parse_prompt(prompt)
        right = verify(problem, completion).correct
        outcomes[problem.task].append(right)
        if len(outcomes[problem.task]) <= 3:
            print(f"{'right' if right else 'wrong'}  {prompt:24} {completion:.75}")

in_corpus = {}      # (share of right documents, low, high) of each task
for task, rights in outcomes.items():
    in_corpus[task] = (sum(rights) / len(rights), *wilson_interval(sum(rights), len(rights)))
    print("{}: {:.2f} of the documents are right [{:.2f}, {:.2f}]".format(task, *in_corpus[task]))

# %% [markdown]
# This is how to read a document. The thought stands between the tags `think`, the
# answer behind it. The model writes these tags itself: it learns them from the documents, like
# all other words. A sum is worked out step by step. In countdown, such as `make 70 from 6 13 10`,
# a thought tries things:
#
#     try c 70-10=60       suppose that 10 is added last: then 6 and 13 have to make 60
#     6*13=78 is 60 no     6 times 13 is 78; is that the 60 we need? no, this try has failed
#     wait try d 70/6 no   the next letter: is 6 multiplied last? no, 6 does not divide 70
#     wait try e 70/13 no  or 13? no, neither
#     wait try f 70/10=7   or 10? then 6 and 13 have to make 7
#     13-6=7 is 7 yes      13 minus 6 is the 7 that we need, so the answer is (13-6)*10
#
# In `6*13=78 is 60 no` the text repeats the 60, so that the model can compare two neighbours.
# Much hangs on this comparison. A wrong yes ends the search, and then its answer is wrong,
# however many tries could follow. So one document in twenty-five is nothing but comparisons, half
# of them of equal numbers, such as `57 is 57 yes 60 is 57 no`. Why 6 times 13, and not 6 plus 13?
# Of sum, difference and product, a try writes the one that comes nearest to 60. If the nearest is
# not 60, the others are not 60 either. (One try in twelve is careless, and writes any of the
# three.)
#
# No document tries more than three times. So a model that tries a fourth time has not copied that
# from a text. (It can come to it all the same: after each failure it may go on, and under RL what
# ends well becomes likelier.) The letters count the moves. A thought begins with a letter that is
# drawn, and goes on in their order; after i comes a. If each began with a, no text would show
# what comes after c. But so the model sees each step from one letter to the next, and can go on
# for longer than any text. A move guesses the last operation, and undoes it:
#
#     move      the guess about the 1st, 2nd or 3rd number     what the other two have to make
#     a b c     it is added last                               target - number
#               (if it is too large: they are taken from it)   number - target
#     d e f     it is multiplied last                          target / number
#     g h i     it is subtracted last                          target + number
#
# For 10 from 2 12 1, the 12 is too large to be added last. So `try b 12-10=2` says that 2 and 1
# have to make 2, and the answer is 12-(2*1). A try of two numbers has no letter.
#
# One document in seven is a list of plain facts, such as `7*8=56`. The steps of a thought are
# such facts. If each step is right with 90%, a thought of seven steps is free of mistakes in 48%
# of the cases. With 98% it is 87%. Where most steps are wrong, RL does not mend them
# ([C17](results/C17.md)).
#
# The second language is Spanish: `prueba` means try, `luego` so, `da` is, `vale` yes, `mal` no,
# `espera` wait, and `basta` enough, with which a thought gives up. Some sums are checked: after
# `3+1=4`, the words `check 4-1=3 ok` undo the step and come back to the 3. In Spanish they are
# `revisa` and `bien`.
#
# The numbers in brackets are a *Wilson interval*. If we drew many corpora, such an interval would
# contain the true share in 95% of the cases.
#
# ## What the base says
#
# Now the base answers problems. They are *held-out*: kept for testing, so that no document asks
# them in any form. (An exception: the lists of plain facts, such as 7+8=15. Such a fact answers a
# sum of two terms, or a countdown of two numbers. The pipeline does not score these, and this
# lesson asks some.) They have the same *levels* as the corpus. A level, from 1 up, says how hard
# a problem is. Sums of level 1 have two terms, and those of level 4 have six to eight (lesson 02
# has all levels). The base answers each problem several times, and draws its tokens anew each
# time. All draws of a run follow from one number, the *seed*, so that a second run gives the
# same.
#
# The interval of a mean over problems is a *bootstrap*: it draws the same problems many times, with
# repetition, and looks how far the mean moves. So it tells how much depends on the problems that we
# happened to choose.

# %%
tokenizer = get_tokenizer()
ks = [2**i for i in range(NUM_SAMPLES.bit_length())]      # 1, 2, 4, 8, 16


def answer(model, problems):
    """NUM_SAMPLES completions of each problem. Returns (how many are right of each, all texts)."""
    prompts = []
    for problem in problems:
        prompts += [problem.prompt] * NUM_SAMPLES
    texts = [text for text, _ in answer_all(model, tokenizer, prompts, MAX_NEW_TOKENS, seed=1)]
    num_right = []
    for i, problem in enumerate(problems):
        own_texts = texts[i * NUM_SAMPLES:(i + 1) * NUM_SAMPLES]
        num_right.append(sum(verify(problem, text).correct for text in own_texts))
    return num_right, texts


def pass_at(num_right, k):
    """pass@k over all problems: (mean, low, high)."""
    return bootstrap_interval([[pass_at_k(NUM_SAMPLES, count, k) for count in num_right]])


def print_pass_at(name, num_right):
    for k in (1, 4, NUM_SAMPLES):
        print(f"{name:15} pass@{k:<2} " + "{:.2f} [{:.2f}, {:.2f}]".format(*pass_at(num_right, k)))


base = open_model("pretrained", "base")[0]
right_of_base = {}      # how many completions of each problem are right, by task
for task in in_corpus:
    problems = test_problems(task, levels_up_to(3, TASKS[task].levels), NUM_PROBLEMS, seed=1)
    right_of_base[task], _ = answer(base, problems)
    print_pass_at(f"base, {task}", right_of_base[task])

# %% [markdown]
# ## Trial and error, or more of the same?
#
# Two copies of the base go on with one kind of problem: sums of two terms.
#
# The first copy learns by RL. A model that learns by RL is called a *policy*: a rule for what to
# write. The method is *GRPO*, group relative policy optimization, which lesson 07 explains. In each
# *iteration* the policy writes a *group* of twelve completions for each of twelve prompts. Each
# completion earns its reward, and the policy is updated. Nobody shows it a solution.

# %%
def fresh_base():
    return open_model("pretrained", "base")[0].train()


sums = TaskConfig(levels={"arithmetic": (1,)}, shares={"arithmetic": 1.0})
world = reasoning_world(tokenizer, sums.levels, sums.shares)
explorer = fresh_base()
settings = RLConfig(num_iterations=NUM_ITERATIONS, num_prompts=NUM_PROMPTS, group_size=12,
                    max_new_tokens=60, learning_rate=5e-4, micro_batch_size=48)
start = time.process_time()
for line in grpo.train(explorer, None, adamw(settings, explorer), world, settings, seed=0):
    print(f"iteration {line['iteration']:2}: mean reward {line['reward']:.2f}")
print(f"{time.process_time() - start:.0f} CPU seconds")

# %% [markdown]
# The second copy imitates more of the corpus: fresh documents, three of four about such sums, the
# others small talk, facts and comparisons of numbers. It makes 80 steps, which takes about as long.

# %%
imitator = fresh_base()
# 48 documents make a batch, and there are four batches for each iteration of RL
more_documents = tokenize(tokenizer, base_corpus(1, 48 * 4 * NUM_ITERATIONS, sums))
settings = SFTConfig(learning_rate=5e-4, warmup_steps=10, weight_decay=0.0)
start = time.process_time()
for line in sft.train(imitator, adamw(settings, imitator), more_documents, settings, seed=0):
    pass        # a generator: each turn is one gradient step
print(f"imitation: {line['iteration'] + 1} steps, loss {line['loss']:.3f}, "
      f"{time.process_time() - start:.0f} CPU seconds")

# %% [markdown]
# Then the base and its two copies answer the same held-out sums.

# %%
problems = test_problems("arithmetic", (1,), NUM_PROBLEMS, seed=1)
right_after = {}      # how many completions of each problem are right, by model
for name, model in (("base", base), ("more imitation", imitator), ("RL", explorer)):
    right_after[name], texts = answer(model.eval(), problems)
    print_pass_at(name, right_after[name])
    num_thoughts = sum("<think></think>" not in text for text in texts)
    print(f"{name:15} {num_thoughts / len(texts):.0%} of the texts hold a thought")
    print(f"{name:15} to {problems[0].prompt!r}: {texts[0]}")

# %% [markdown]
# ## The figure: `01_imitation_and_exploration`
#
# Three pictures. On the left compare each pale bar with the darker bar beside it: the corpus, and
# the base that imitated it. In the middle follow a curve from k = 1 to the right: how much do more
# attempts help? On the right compare the three curves at k = 1, and then at the largest k.

# %%
figure, axes = new_figure(1, 3, figsize=(10, 3.6))
places = torch.arange(len(in_corpus))
middles, errors = error_bars(list(in_corpus.values()))
axes[0].bar(places, middles, 0.34, yerr=errors, capsize=3, color="#cccccc", label="corpus")
middles, errors = error_bars([pass_at(right_of_base[task], 1) for task in in_corpus])
axes[0].bar(places + 0.36, middles, 0.34, yerr=errors, capsize=3, color="#999999",
            label="base, one attempt")
axes[0].set_xticks(places + 0.18, list(in_corpus))


def plot_pass_at_k(axis, right, colors):
    for (name, num_right), color in zip(right.items(), colors):
        plot_band(axis, ks, [pass_at(num_right, k) for k in ks], color, name)
    axis.set_xscale("log", base=2)
    axis.set_xticks(ks, ks)


plot_pass_at_k(axes[1], right_of_base, ("#1b6ca8", "#d1495b"))
plot_pass_at_k(axes[2], right_after, ("#999999", "#e0a030", "#1b6ca8"))
label(axes[0], "imitation and its corpus", "task", "share that is right")
label(axes[1], "the base, several attempts", "k, number of attempts", "share solved (pass@k)")
label(axes[2], "sums of two terms", "k, number of attempts", "share solved (pass@k)")
for axis in axes:
    axis.set_ylim(0, 1.05)
show_figure(figure, "01_imitation_and_exploration")

# %% [markdown]
# ## What to see
#
# - Left: imitation aims at the shares of its corpus, errors included. The base stays below even
#   that. The reason: whoever wrote the corpus could calculate. The base has to calculate for
#   itself, and one wrong step spoils an answer. In theory imitation ends at the shares. In practice
#   it ends where the model's own skill ends.
# - Middle: one attempt of the base is often wrong, but among sixteen attempts there is nearly
#   always a right one. So the right answers are in the model already. They are just not likely
#   enough.
# - Right: RL lifts pass@1 far above the base. More imitation of the same corpus does not. Its
#   documents are no better than those before. Here pass@1 even falls, mostly since the copy thinks
#   less often. The base thought in 74% of its texts. These documents think in 69% of the cases, and
#   so the copy comes down to 68%. At large k all three curves come to 1. So RL made likely what was
#   there already. These sums are too easy to show whether it can also find something new. [Claim
#   C14](results/C14.md) asks it with harder sums: with 1,024 answers each RL has no clear
#   lead over its base.
# - Thoughts: the printed lines say how many texts hold a thought. RL makes nearly all of them
#   think, although the reward never asked for it. Thoughts led to right answers more often, so they
#   became more likely together with the answers.
#
# ## What it does not show
#
# - Harder problems. Where a whole group is wrong, there is nothing to make more likely (exercise
#   3).
# - Better texts to imitate. With the solutions of an *expert*, a program that solves each problem
#   well, imitation can be ahead of RL. There is also a middle way, *expert iteration*: the model
#   imitates those of its own answers that were right, again and again. [The
#   results](results/C1.md) compare these ways with RL. RL is for the case in which nobody can
#   write good solutions, but somebody can check them.
#
# ## Exercises
#
# 1. A corpus is right in 90 of 100 cases. Would you still want RL? Where does imitation end at
#    best, and what does RL add?
# 2. Two problems have 16 completions each. Either 8 are right of each, or 16 of the first and 0 of
#    the second. Compare pass@1 and pass@2 of the two cases.
# 3. Long sums: put `(4,)` in place of `(1,)` in `sums` and in the last `test_problems`, and
#    `MAX_NEW_TOKENS` in place of 60, since long completions would be cut off. What does a low
#    pass@1 do to RL?
#
# <details><summary>Solutions</summary>
#
# 1. One draw of imitation is right in 90% at best. (Votes can do better: lesson 13.) RL can go on
#    towards pass@k of the same model, so it still removes errors, if the reward is exact.
# 2. pass@1 is 1/2 in both cases. pass@2 is 1 - C(8, 2) / C(16, 2) = 0.77 in the first case, and
#    still 1/2 in the second. The first model is unsure of everything, and a second attempt helps
#    it. The second model knows one problem and not the other.
# 3. Most groups are all wrong. They have no difference between good and bad, so they teach nothing.
#    The reward rises late or not at all. Easier levels first would help.
# </details>
