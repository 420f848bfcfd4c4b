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

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))      # so that it runs from anywhere

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from minireason.upkeep.checkpoint import load_model, save_json
from minireason.inference import answer_all, answer_within, vote
from minireason.pretrained import load_pretrained
from minireason.stats import bootstrap_interval, pass_at_k
from minireason.tasks import parse_prompt, test_problems
from minireason.tokenizer import get_tokenizer
from minireason.verifier import verify

FAST, tokenizer = os.environ.get("LESSON_FAST") == "1", get_tokenizer()
NUM_PROBLEMS, NUM_SAMPLES, BUDGETS = (4, 4, (0, 16, 40)) if FAST else (100, 32, (0, 8, 16, 32, 64, 128, 256))
TASKS, COLORS = ("arithmetic", "countdown"), {"base": "#999999", "cold start": "#e0a030", "RL": "#7a4fa3"}
problems = {task: test_problems(task, (2, 3), NUM_PROBLEMS, seed=1) for task in TASKS}

# %% [markdown]
# ## By hand
# Of four samples two are right. Two of them hold a right one in 5 of 6 cases: 1 - C(2, 2) / C(4, 2). "Is one
# of the first two right?" is a coin, 0 or 1. Over all orders it comes to the same: not biased, but noise
# where a count was to be had. Biased is 1 - (1 - 2/4)^2 = 3/4: it draws the same sample twice. A vote: 7, 9
# and 7 elect 7; what is not well formed has none.

# %%
orders = list(itertools.permutations([1, 1, 0, 0]))
assert pass_at_k(4, 2, 2) == 5 / 6 and abs(sum(max(order[:2]) for order in orders) / len(orders) - 5 / 6) < 1e-12
say = lambda *answers: [f"<think></think><answer>{answer}</answer>" for answer in answers]
assert vote(parse_prompt("compute 3+4"), [*say(9, 7, 7), "<think>9", "9"]) == (1, {"9": 1, "7": 2})
assert vote(parse_prompt("make 6 from 2 3"), say("3 * 2", "2*3", "3*2"))[1] == {"3*2": 2, "2*3": 1}    # as it is written

# %% [markdown]
# With no budget the answer comes at once; with plenty, a text that ends by itself is that of plain sampling,
# token for token.

# %%
model, prompts = load_pretrained("rl"), [problem.prompt for problem in problems["countdown"][:20]]
assert all(text.startswith("<think></think><answer>") for text, _ in answer_within(model, tokenizer, prompts, 0, seed=0))
pairs = zip(answer_within(model, tokenizer, prompts, 300, seed=0), answer_all(model, tokenizer, prompts, 301, seed=0))
assert all(within == plainly for within, plainly in pairs if plainly[0].endswith("</answer>"))

# %% [markdown]
# ## More tokens
# The same problems with each budget and a forced answer; beside it texts without a budget, cut off at that
# length. And many answers to each problem, from three models. 95% intervals by a bootstrap over problems,
# paired where two are compared.

# %%
def by_budget(model, problems):
    """[(budget, mean tokens, right or wrong of each problem, the same where nothing is forced)]."""
    prompts, found = [problem.prompt for problem in problems], []
    free = answer_all(model, tokenizer, prompts, BUDGETS[-1] + 1, seed=2)
    for budget in BUDGETS:
        texts = answer_within(model, tokenizer, prompts, budget, seed=2)
        right = [float(verify(problem, text).correct) for problem, (text, _) in zip(problems, texts)]
        cut = [float(verify(problem, text).correct and n <= budget + 1) for problem, (text, n) in zip(problems, free)]
        found.append((budget, sum(n for _, n in texts) / len(texts), right, cut))
    return found


def by_samples(model, problems, number):
    """[(n, mean tokens of n answers, share of votes that elect a right one, pass@n)] for n = 1, 2, 4 .., by problem."""
    answers = answer_all(model, tokenizer, [p.prompt for p in problems for _ in range(number)], BUDGETS[-1], seed=3)
    right = [verify(problems[i // number], text).correct for i, (text, _) in enumerate(answers)]
    voted = lambda at, n: right[at + vote(problems[at // number], [text for text, _ in answers[at:at + n]])[0]]
    mean, starts = sum(tokens for _, tokens in answers) / len(answers), range(0, len(answers), number)
    return [(n, n * mean, [n / number * sum(voted(at, n) for at in range(i, i + number, n)) for i in starts],
             [pass_at_k(number, sum(right[i:i + number]), n) for i in starts])
            for n in (2**e for e in range(number.bit_length()))]


def measure(models, problems, number):
    """{"budget": what the last model does with each, and for each of {stage: model} its samples}."""
    return {"budget": by_budget(models["RL"], problems),
            **{stage: by_samples(each, problems, number) for stage, each in models.items()}}


def rows_of(runs):
    """(what, value, low, high) of every point; runs[task] is what `measure` returned, once for each seed."""
    for task, kind in itertools.product(TASKS, ("budget", *COLORS)):
        points = list(zip(*(run[kind] for run in runs[task])))        # a point: a tuple of the above for each seed
        names = ("right", "right, nothing forced") if kind == "budget" else ("vote", "pass@n")
        for i, point in enumerate(points):
            at = f"{task}, {kind} {point[0][0]:2}, {sum(seed[1] for seed in point) / len(point):.0f} tokens"
            for y in (2, 3):
                yield f"{at}: {names[y - 2]}", *bootstrap_interval([seed[y] for seed in point])
            of_rl = list(zip(*(run["RL"] for run in runs[task])))
            others = [("one answer of RL", 2, of_rl[0]), ("that of RL", 3, of_rl[i])] if kind in ("base", "cold start") else [
                (f"that of {points[j][0][0]}", 2, points[j]) for j in sorted({0, max(0, i - 1)} - {i})]
            for what, y, other in others:
                yield f"{at}: {names[y - 2]}, less {what}", *bootstrap_interval(*([s[y] for s in each] for each in (point, other)))


def draw(runs, about, path):
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.6), layout="constrained")
    lines = [(*line, task, color) for task, color in (("arithmetic", "#1b6ca8"), ("countdown", "#d1495b")) for line in (
        (0, "budget", 1, 2, "o-", task), (0, "budget", 1, 3, ":", "nothing forced"), (1, "RL", 1, 2, "o-", f"{task}, vote"),
        (1, "RL", 1, 3, "--", "best of n (oracle)"))]
    for panel, kind, x, y, style, label, task, color in [*lines, *(
            (2, stage, 0, 3, "o-", stage, "countdown", color) for stage, color in COLORS.items())]:
        points = list(zip(*(run[kind] for run in runs[task])))
        middle, low, high = zip(*(bootstrap_interval([seed[y] for seed in point]) for point in points))
        xs = [sum(seed[x] for seed in point) / len(point) for point in points]
        axes[panel].fill_between(xs, low, high, color=color, alpha=0.15, lw=0)
        axes[panel].plot(xs, middle, style, ms=3, color=color, label=label)
    for one, title, label in zip(axes, ("a budget of thinking", about, "countdown: pass@k, before and after RL"),
                                 ("tokens of an answer, mean", "tokens of n = 1, 2, 4 .. answers", "k")):
        one.set_xscale("log", base=2)
        one.xaxis.set_major_formatter(lambda x, _: f"{x:g}")
        one.set(xlabel=label, ylim=(0, 1.02))
        one.set_title(title, fontsize=10)
        one.spines[["top", "right"]].set_visible(False)
        one.legend(frameon=False, fontsize=7.5, loc="upper left" if one is axes[0] else "lower right")
    figure.savefig(path, dpi=120)


models = dict(zip(COLORS, (load_pretrained("base"), load_pretrained("cold-start"), model)))
runs = {task: [measure(models, problems[task], NUM_SAMPLES)] for task in TASKS}
for what, *interval in rows_of(runs):
    print(f"{what:70}" + "{:6.2f} [{:5.2f}, {:5.2f}]".format(*interval))
draw(runs, f"many answers ({NUM_PROBLEMS} problems a task)",
     Path(__file__).resolve().parent / "results" / f"13_inference_time{'-fast' if FAST else ''}.png")

# %%
if "--full" in sys.argv:      # C7, three seeds, or --seeds N; what else stands behind --full goes to train.py
    from runs import RESULTS, STUDIES, behind_full, ensure, row, save_claim
    command, flags, seeds = behind_full(num_seeds=3)
    for task, seed in itertools.product(TASKS, seeds):
        ensure(f"seed-{seed}", "--seed", seed, *flags, needs="rl")
        if not (kept := STUDIES / f"C7-{task}-{seed}.json").exists():
            for name, stage in zip(models, ("base", "cold-start", "rl")):
                models[name] = load_model(STUDIES / f"seed-{seed}" / stage / "checkpoint.pt")[0]
            save_json(kept, measure(models, test_problems(task, (2, 3), 1000, seed=1234), 32))
        runs[task] = [*runs[task][:seed], json.loads(kept.read_text("utf-8"))]      # the first takes the place of the lesson's
    save_claim(7, "more thought is more often right", command, [*seeds], 1000, [row(*each) for each in rows_of(runs)])
    draw(runs, f"many answers (1,000 problems a task, {len(seeds)} seeds)", RESULTS / "C7.png")

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
