# %% [markdown]
# # 13. Inference-time scaling
#
# Question: o1 got better the longer it was left to think, with the same weights. What can be bought with more
# tokens here: by thinking longer, by voting, by trying often? And which of these can be had without knowing
# the answer?
#
# You need: lessons 01 and 07. Time: about a minute and a half on a laptop's CPU.
#
#     budget      the thinking is cut off after b tokens and `</think><answer>` is written: a forced answer
#     vote        the answer that most of n samples give                                   arXiv:2203.11171
#     pass@n      1 - C(N - c, n) / C(N, n): one of n is right, where c of N samples were  arXiv:2107.03374
#
# Best-of-n with our verifier is pass@n. It is an oracle: it needs somebody who knows what is right.

# %%
import itertools
import json
import os
import sys
from pathlib import Path

# Where to find `shared`: in this file's folder or, in a notebook, in the working folder or its lessons/.
FOLDER = Path(globals().get("__file__", "notebook")).resolve().parent
sys.path[:0] = [str(FOLDER), str(FOLDER / "lessons")]

from shared import show_figure

from minireason.inference import answer_all, answer_within, vote
from minireason.run import open_model
from minireason.stats import bootstrap_interval, pass_at_k
from minireason.tasks import parse_prompt, test_problems
from minireason.tokenizer import get_tokenizer
from minireason.tools.plots import new_figure
from minireason.upkeep.checkpoint import save_json
from minireason.verifier import verify

FAST = os.environ.get("LESSON_FAST") == "1"
NUM_PROBLEMS = 4 if FAST else 100        # of each task
NUM_SAMPLES = 4 if FAST else 32          # of each problem
BUDGETS = (0, 16, 40) if FAST else (0, 8, 16, 32, 64, 128, 256)
TASKS = ("arithmetic", "countdown")
COLORS = {"base": "#999999", "cold start": "#e0a030", "RL": "#7a4fa3"}
tokenizer = get_tokenizer()
problems = {task: test_problems(task, (2, 3), NUM_PROBLEMS, seed=1) for task in TASKS}

# %% [markdown]
# ## By hand
# Of four samples two are right. Two of them hold a right one in 5 of 6 cases: 1 - C(2, 2) / C(4, 2). "Is one
# of the first two right?" is a coin, 0 or 1. Over all orders it comes to the same: not biased, but noise
# where a count was to be had. Biased is 1 - (1 - 2/4)^2 = 3/4: it draws the same sample twice. A vote: 7, 9
# and 7 elect 7; what is not well formed has none.

# %%
orders = list(itertools.permutations([1, 1, 0, 0]))
share = sum(max(order[:2]) for order in orders) / len(orders)
assert pass_at_k(4, 2, 2) == 5 / 6 and abs(share - 5 / 6) < 1e-12


def say(*answers):
    return [f"<think></think><answer>{answer}</answer>" for answer in answers]


sevens = [*say(9, 7, 7), "<think>9", "9"]
assert vote(parse_prompt("compute 3+4"), sevens) == (1, {"9": 1, "7": 2})
products = say("3 * 2", "2*3", "3*2")
assert vote(parse_prompt("make 6 from 2 3"), products)[1] == {"3*2": 2, "2*3": 1}          # as it is written

# %% [markdown]
# With no budget the answer comes at once; with plenty, a text that ends by itself is that of plain sampling,
# token for token.

# %%
model = open_model("pretrained", "rl")[0]
prompts = [problem.prompt for problem in problems["countdown"][:20]]
for text, _ in answer_within(model, tokenizer, prompts, 0, seed=0):
    assert text.startswith("<think></think><answer>")
budgeted = answer_within(model, tokenizer, prompts, 300, seed=0)
unbudgeted = answer_all(model, tokenizer, prompts, 301, seed=0)
for within, plainly in zip(budgeted, unbudgeted):
    if plainly[0].endswith("</answer>"):
        assert within == plainly

# %% [markdown]
# ## More tokens
# The same problems with each budget and a forced answer; beside it texts without a budget, cut off at that
# length. And many answers to each problem, from three models. 95% intervals by a bootstrap over problems,
# paired where two are compared.

# %%
def by_budget(model, problems):
    """[(budget, mean tokens, right or wrong of each problem, the same where nothing is forced)]."""
    prompts = [problem.prompt for problem in problems]
    points = []
    unforced = answer_all(model, tokenizer, prompts, BUDGETS[-1] + 1, seed=2)
    for budget in BUDGETS:
        forced = answer_within(model, tokenizer, prompts, budget, seed=2)
        mean_tokens = sum(num_tokens for _, num_tokens in forced) / len(forced)
        right = [float(verify(problem, text).correct) for problem, (text, _) in zip(problems, forced)]
        right_unforced = []
        for problem, (text, num_tokens) in zip(problems, unforced):
            right_unforced.append(float(verify(problem, text).correct and num_tokens <= budget + 1))
        points.append((budget, mean_tokens, right, right_unforced))
    return points


def share_of_votes(problem, texts, right, n):
    """Of the votes among n of the texts: the share that elects a right one."""
    num_right = 0
    for first in range(0, len(texts), n):
        elected, _ = vote(problem, texts[first:first + n])
        num_right += right[first + elected]
    return n / len(texts) * num_right


def by_samples(model, problems, number):
    """[(n, mean tokens of n answers, share of right votes and pass@n by problem)] for n = 1, 2, 4 .."""
    prompts = []
    for problem in problems:
        prompts += [problem.prompt] * number
    answers = answer_all(model, tokenizer, prompts, BUDGETS[-1], seed=3)
    mean_tokens = sum(num_tokens for _, num_tokens in answers) / len(answers)
    texts, right = [], []                                            # of each problem
    for i, problem in enumerate(problems):
        texts.append([text for text, _ in answers[i * number:(i + 1) * number]])
        right.append([verify(problem, text).correct for text in texts[i]])
    points = []
    for exponent in range(number.bit_length()):
        n = 2**exponent
        votes = [share_of_votes(*sampled, n) for sampled in zip(problems, texts, right)]
        passes = [pass_at_k(number, sum(rights), n) for rights in right]
        points.append((n, n * mean_tokens, votes, passes))
    return points


def measure(models, problems, number):
    """{"budget": what the last model does with each, and for each of {stage: model} its samples}."""
    curves = {"budget": by_budget(models["RL"], problems)}
    for stage, model in models.items():
        curves[stage] = by_samples(model, problems, number)
    return curves


class Point:
    """A point of a curve: for each seed one tuple, as `by_budget` or `by_samples` made it."""

    def __init__(self, seeds):
        self.seeds = seeds
        self.x = seeds[0][0]                                         # the budget, or n
        self.tokens = self.mean(1)

    def mean(self, column):
        return sum(seed[column] for seed in self.seeds) / len(self.seeds)

    def right(self, column):
        """For each seed, the numbers of all problems; column 2 or 3."""
        return [seed[column] for seed in self.seeds]

    def interval(self, column, other=None):
        """(value, low, high) of the column, or of its difference from another point's."""
        if other is None:
            return bootstrap_interval(self.right(column))
        return bootstrap_interval(self.right(column), other.right(column))


def points_of(runs, kind):
    """The points of a curve; runs holds what `measure` returned, once for each seed."""
    curves = [run[kind] for run in runs]
    return [Point(seeds) for seeds in zip(*curves)]


def compared_with(i, points, points_of_rl, kind):
    """[(name, column, point)] that the i-th point is compared with."""
    if kind in ("base", "cold start"):
        return [("one answer of RL", 2, points_of_rl[0]), ("that of RL", 3, points_of_rl[i])]
    earlier = sorted({0, max(0, i - 1)} - {i})                       # the first point, and the one before
    return [(f"that of {points[j].x}", 2, points[j]) for j in earlier]


def rows_of(runs):
    """(what, value, low, high) of every point; runs[task] is what `measure` returned, once for each seed."""
    for task, kind in itertools.product(TASKS, ("budget", *COLORS)):
        points, points_of_rl = points_of(runs[task], kind), points_of(runs[task], "RL")
        names = {2: "vote", 3: "pass@n"}
        if kind == "budget":
            names = {2: "right", 3: "right, nothing forced"}
        for i, point in enumerate(points):
            title = f"{task}, {kind} {point.x:2}, {point.tokens:.0f} tokens"
            for column in (2, 3):
                yield f"{title}: {names[column]}", *point.interval(column)
            for other_name, column, other in compared_with(i, points, points_of_rl, kind):
                yield f"{title}: {names[column]}, less {other_name}", *point.interval(column, other)


def draw(runs, about):
    figure, axes = new_figure(1, 3, figsize=(11, 3.6))

    def plot(axis, task, kind, x, y, style, color, label):
        """Column y of a curve against column x."""
        points = points_of(runs[task], kind)
        middle, low, high = zip(*(point.interval(y) for point in points))
        xs = [point.mean(x) for point in points]
        axis.fill_between(xs, low, high, color=color, alpha=0.15, lw=0)
        axis.plot(xs, middle, style, ms=3, color=color, label=label)

    for task, color in (("arithmetic", "#1b6ca8"), ("countdown", "#d1495b")):
        plot(axes[0], task, "budget", 1, 2, "o-", color, task)
        plot(axes[0], task, "budget", 1, 3, ":", color, "nothing forced")
        plot(axes[1], task, "RL", 1, 2, "o-", color, f"{task}, vote")
        plot(axes[1], task, "RL", 1, 3, "--", color, "best of n (oracle)")
    for stage, color in COLORS.items():
        plot(axes[2], "countdown", stage, 0, 3, "o-", color, stage)
    titles = ("a budget of thinking", about, "countdown: pass@k, before and after RL")
    labels = ("tokens of an answer, mean", "tokens of n = 1, 2, 4 .. answers", "k")
    for axis, title, label in zip(axes, titles, labels):
        axis.set_xscale("log", base=2)
        axis.xaxis.set_major_formatter(lambda x, _: f"{x:g}")
        axis.set(xlabel=label, ylim=(0, 1.02))
        axis.set_title(title, fontsize=10)
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(frameon=False, fontsize=7.5, loc="upper left" if axis is axes[0] else "lower right")
    return figure


models = {"base": open_model("pretrained", "base")[0],
          "cold start": open_model("pretrained", "cold-start")[0],
          "RL": model}
runs = {task: [measure(models, problems[task], NUM_SAMPLES)] for task in TASKS}
for name, *interval in rows_of(runs):
    print(f"{name:70}" + "{:6.2f} [{:5.2f}, {:5.2f}]".format(*interval))
figure = draw(runs, f"many answers ({NUM_PROBLEMS} problems a task)")
show_figure(figure, "13_inference_time")

# %%
if "--full" in sys.argv:      # C7, three seeds, or --seeds N; what else stands behind --full goes to train.py
    from runs import RESULTS, STUDIES, behind_full, ensure, row, save_claim

    command, flags, seeds = behind_full(num_seeds=3)
    STAGES = {"base": "base", "cold start": "cold-start", "RL": "rl"}

    def measure_seed(task, seed):
        """What `measure` says of the run with this seed; measured once, and found again."""
        path = STUDIES / f"C7-{task}-{seed}.json"
        if not path.exists():
            for name, stage in STAGES.items():
                models[name] = open_model(STUDIES / f"seed-{seed}", stage)[0]
            save_json(path, measure(models, test_problems(task, (2, 3), 1000, seed=1234), 32))
        return json.loads(path.read_text("utf-8"))

    for seed in seeds:
        ensure(f"seed-{seed}", "--seed", seed, *flags, needs="rl")
    for task in TASKS:
        runs[task] = [measure_seed(task, seed) for seed in seeds]
    rows = [row(*cells) for cells in rows_of(runs)]
    save_claim(7, "more thought is more often right", command, [*seeds], 1000, rows)
    figure = draw(runs, f"many answers (1,000 problems a task, {len(seeds)} seeds)")
    figure.savefig(RESULTS / "C7.png", dpi=120)

# %% [markdown]
# ## What to see
# - A budget: without thought hardly anything is right, a thought cut short is worth little, and beyond what
#   the model uses of itself there is nothing to gain: it never learned to fill a budget.
# - Votes help, most where single answers are poor. Best of n is above them: the right one is there, and
#   nobody knows which.
# - pass@k: RL leads at k = 1, and in the full study the base at k = 32 of countdown: RL made likely what was
#   there. Training or inference? 32 votes of the base are worth about one answer of RL, at 14 to 21 times the
#   tokens, for ever.
# - What it does not show: a model trained for long budgets, as o1 was; k beyond 32; other seeds (`--full` has
#   three).
# - The trap: a budget without a forced answer (dotted). It measures how many texts were cut off, not what
#   thought is worth.
#
# ## Exercises
# 1. Where the thinking ends early, write "wait" in the place of its end. Does more of that help?
# 2. Let countdown vote by the value of the expression. Whom does that elect, and what does it make use of?
# 3. Four votes of texts within a budget of 32, or one text of 128: which is better?
#
# <details><summary>Solutions</summary>
#
# 1. After a true yes it can only harm. A model would have to learn what to do after a "wait" that is not its
#    own.
# 2. All right answers together, as they share the target: the verifier once more, an oracle by the back door.
# 3. Count it with `answer_within` and `vote`. Where 32 tokens reach no answer, there is nothing to be
#    elected.
# </details>
