# %% [markdown]
# # 14. Rejection sampling
#
# Question: after RL a model is right more often than anything it was ever shown. Can its own answers teach
# its successor?
#
# You need: lessons 02, 04 and 07. Time: about a minute and a half on a laptop's CPU.
#
# For each problem x the teacher q draws k answers. Those that a filter f lets pass are imitated, as any text
# is:
#
#     data = {(x, y): y ~ q(y | x), f(x, y) = 1}        loss = -mean log p(y | x)
#                                                       third step of R1, arXiv:2501.12948
#
# With f = 1 for right answers, imitation aims at q(y | x, right). f may ask for more, which RL never paid:
# one language.

# %%
import json
import os
import sys
from pathlib import Path
from unittest import mock

# Where to find `shared`: in this file's folder or, in a notebook, in the working folder or its lessons/.
FOLDER = Path(globals().get("__file__", "notebook")).resolve().parent
sys.path[:0] = [str(FOLDER), str(FOLDER / "lessons")]

import torch
from shared import RESULTS, show_figure

from minireason import rejection, sft
from minireason.behaviour import observe
from minireason.config import RejectionConfig, TaskConfig, from_dict, preset
from minireason.corpus import chat_examples, tokenize
from minireason.evaluate import rate
from minireason.inference import answer_all
from minireason.optimizer import adamw
from minireason.rewards import reasoning_world
from minireason.run import open_model
from minireason.stats import bootstrap_interval
from minireason.tasks import parse_prompt, test_problems
from minireason.tokenizer import get_tokenizer
from minireason.tools.plots import new_figure
from minireason.upkeep.seeding import derive_rng
from minireason.verifier import verify

FAST = os.environ.get("LESSON_FAST") == "1"
NUM_SAMPLED = 16 if FAST else 1500       # problems that the teacher answers
NUM_PROBLEMS = 6 if FAST else 200        # held-out ones of each task
MAX_NEW_TOKENS = 60 if FAST else 160
tokenizer = get_tokenizer()
SHARE = "{value:.3f} [{low:.3f}, {high:.3f}] of {num_problems}"

# %% [markdown]
# ## By hand: five answers to one problem
# 3*4+2 is 14. Read them as a strict teacher would: the first is good; the second is wrong; the third is right
# and in two languages; the fourth is right and says "so" forty times; the fifth was there before. One of five
# is left.

# %%
problem, good = parse_prompt("compute 3*4+2"), "<think>3*4=12 so 12+2=14</think><answer>14</answer>"
JUDGED = ((good, "kept"), (good.replace("14", "15"), "wrong"), (good.replace(">3", ">luego 3"), "unreadable"),
          (good.replace("so ", "so " * 40), "too long"), (good, "repeated"))
kept = {}                                                       # what is kept of this problem, by its text
for text, by_hand in JUDGED:
    num_tokens = len(tokenizer.encode_tagged(text))
    assert rejection.judge(problem, text, num_tokens, kept, RejectionConfig(max_tokens=50)) == by_hand
    if by_hand == "kept":
        kept[text] = (problem.prompt, text)

# %% [markdown]
# ## Two samples of each problem, and what becomes of them
# `train.py` calls this function with 9,000 problems, and it returns what is kept. A mock around its judge
# holds on to the rest as well, for a control that learns from everything.


# %%
def sample(model, world, config, seed, max_new_tokens):
    """(what is kept, as many documents that nobody filtered, how many samples each filter took)."""
    with mock.patch.object(rejection, "judge", wraps=rejection.judge) as judge:
        kept, counts = rejection.sample_and_filter(model, tokenizer, world.draw, config, seed, max_new_tokens)
    judged = [call.args[:2] for call in judge.call_args_list]   # (problem, completion)
    drawn = derive_rng(seed, "unfiltered").sample(judged, len(kept))
    return kept, [(problem.prompt, text) for problem, text in drawn], counts


def teach(model, documents, settings, seed):
    examples = tokenize(tokenizer, documents)
    lines = sft.train(model.train(), adamw(settings, model), examples, settings, seed)
    losses = [line["loss"] for line in lines]
    print(f"{len(documents)} documents, {len(losses)} steps, loss {losses[0]:.3f}, then {losses[-1]:.3f}")
    return model.eval()


mix, config = TaskConfig(), RejectionConfig(num_problems=NUM_SAMPLED)
world = reasoning_world(tokenizer, mix.levels, mix.shares)
kept, unfiltered, counts = sample(open_model("pretrained", "rl")[0], world, config, 0, MAX_NEW_TOKENS)
FATES = ("kept", "wrong", "repeated", "unreadable", "too long")
fates = {fate: rate(counts[fate], counts["sampled"]) for fate in FATES}
print("; ".join(f"{fate} {SHARE.format(**share)}" for fate, share in fates.items()))

# %% [markdown]
# ## Three pupils
# The student: the base, afresh, taught by what was kept. The control: the base, taught by as many samples
# that nobody filtered. And the teacher itself, trained on with what was kept of its own. Settings are those
# of `train.py`.

# %%
models = {"base": open_model("pretrained", "base")[0], "teacher": open_model("pretrained", "rl")[0]}
PUPILS = (("student", "base", kept), ("unfiltered", "base", unfiltered), ("teacher-on", "rl", kept))
for name, start, documents in PUPILS:
    model, _ = open_model("pretrained", start)
    models[name] = teach(model, documents, preset("laptop").rejection, 0)

problems = []
for task in ("arithmetic", "countdown"):
    problems += test_problems(task, mix.levels[task], NUM_PROBLEMS, seed=1)
prompts = [problem.prompt for problem in problems]
right = {}                                                      # {model: right or wrong of each problem}
form = {}                                                       # {model: {what: a share and its interval}}
for name, model in models.items():
    texts = [text for text, _ in answer_all(model, tokenizer, prompts, MAX_NEW_TOKENS, seed=1)]
    pairs = list(zip(problems, texts))
    right[name] = [verify(*pair).correct for pair in pairs]
    behaviours = [observe(*pair) for pair in pairs]
    thinking = [behaviour for behaviour in behaviours if behaviour.thinks]
    form[name] = {
        "right": rate(sum(right[name]), len(pairs)),
        "readable": rate(sum(behaviour.readable for behaviour in behaviours), len(pairs)),
        "mixing": rate(sum(behaviour.mixed for behaviour in thinking), len(thinking)),
    }
    cells = [f"{key} {SHARE.format(**share)}" for key, share in form[name].items()]
    print(f"{name:10} " + "; ".join(cells), texts[-1])
for one, other in (("student", "teacher"), ("student", "unfiltered"), ("teacher-on", "student")):
    difference = bootstrap_interval([right[one]], [right[other]])
    print(f"right, {one} less {other}, one seed, {len(problems)} problems: "
          + "{:+.3f} [{:+.3f}, {:+.3f}]".format(*difference))


# %%
def bars(axis, table, title):
    """Bars of {name: {key: {"value", "low", "high"}}}."""
    keys = list(next(iter(table.values())))
    for i, (key, color) in enumerate(zip(keys, ("#1b6ca8", "#b9c7d6", "#e0a030"))):
        intervals = []
        for shares in table.values():
            share = shares[key]
            intervals.append([share["value"], share["low"], share["high"]])
        middle, low, high = torch.tensor(intervals).T
        x = torch.arange(len(table)) + 0.27 * (i - (len(keys) - 1) / 2)
        axis.bar(x, middle, 0.25, color=color, label=key, error_kw={"lw": 0.8},
                 yerr=torch.stack([middle - low, high - middle]).clamp(min=0))
    axis.set_xticks(range(len(table)), table)
    axis.set(ylim=(0, 1.2), title=title)
    axis.legend(frameon=False, fontsize=8, ncols=3, loc="upper center")


figure, axes = new_figure(1, 2, figsize=(10, 3.2), width_ratios=(1, 1.5))
fate_bars = {fate: {"share": share} for fate, share in fates.items()}
bars(axes[0], fate_bars, f"{counts['sampled']} samples of the teacher")
bars(axes[1], form, f"{len(problems)} held-out problems, one seed")
show_figure(figure, "14_rejection_sampling")

# %% [markdown]
# ## What to see
# - Left: most samples are right. An easy problem is often answered twice in the same words: that counts once.
# - Right: a filter takes most of the mixing away, which no reward did; unfiltered samples leave it where the
#   teacher has it.
# - With enough data (`--full`, C9, three seeds) the student is as right as its teacher, -0.6 [-1.7, 0.5]
#   points, and more readable, 0.88 and 0.80; unfiltered it is worse by 3.4 [2.1, 4.7]. A second round brings
#   1.0 [-0.1, 2.1].
# - Why afresh? R1 wanted nothing left of habits that no filter looks for. It buys nothing that we count: the
#   teacher, trained on, is right as often as the student, +0.7 [-0.8, 2.0], and mixes as little.
# - What it does not show: what gets lost. Easy problems pass more often, and programs (not drawn here) lose
#   five points.
# - The trap: the loss. It is lower on filtered text because that is more alike. Ask held-out problems.
#
# ## Exercises
# 1. A teacher is right with chance p. How many of k samples pass, and what is missing from the data where p
#    is small?
# 2. Let only "wrong" take samples (wrap `rejection.judge` once more). Which bar of the student's changes?
# 3. Is a right answer after a wrong step kept? Look at `kept` with `parse_prompt` and
#    `observe(...).num_wrong_steps`.
#
# <details><summary>Solutions</summary>
#
# 1. k p of them. With chance (1 - p)^k the problem is not in the data at all: they are easier than the world.
# 2. "mixing" goes back towards the teacher's; the verifier reads no thoughts, so "right" hardly changes.
# 3. Yes: f reads the answer, the language and the last step. A failed try may hold a wrong one.
# </details>

# %%
if "--full" in sys.argv:      # C9: teacher and student of three whole runs, and three more pupils of each
    from runs import STUDIES, ensure, outcomes, row, save_claim

    from minireason.evaluate import evaluate, mean_of_reasoning
    from minireason.run import Run
    from minireason.upkeep.checkpoint import save_json
    from minireason.upkeep.parallel import pick_device

    SEEDS = (0, 1, 2)
    ARMS = {"unfiltered": ("base", "rl"), "teacher-on": ("rl", "rl"), "second-round": ("base", "rejection")}

    def pupil_of(run, name, seed, results):
        """Results of one more pupil of a run, with the draws of its own student: only the model or the filter
        differs."""
        path = STUDIES / f"rejection-{name}-{seed}.json"
        if not path.exists():
            start, teacher = ARMS[name]
            world = reasoning_world(tokenizer, run.config.tasks.levels, run.config.tasks.shares)
            draws = run.seed("rejection")
            kept, drawn, _ = sample(run.load(teacher), world, run.config.sampling, draws,
                                    run.config.rl.max_new_tokens)
            documents = drawn if name == "unfiltered" else kept
            documents = documents + chat_examples(draws, run.config.sampling.num_chat)
            pupil = teach(run.load(start), documents, run.config.rejection, draws)
            stages = {name: evaluate(pupil, tokenizer, run.config)}
            save_json(path, results | {"stages": stages})
        return json.loads(path.read_text(encoding="utf-8"))

    stages = {name: [] for name in ("teacher", "student", *ARMS)}          # what was measured, for each seed
    bits = {name: [] for name in stages}                                   # right or wrong, for each seed
    for seed in SEEDS:
        results = ensure(f"seed-{seed}", "--seed", seed)
        folder, config = STUDIES / f"seed-{seed}", from_dict(results["config"])
        run = Run(folder, config, pick_device())
        by_name = {"teacher": (results, "rl"), "student": (results, "rejection")}
        for name in ARMS:
            by_name[name] = (pupil_of(run, name, seed, results), name)
        for name, (results, stage) in by_name.items():
            stages[name].append(results["stages"][stage])
            bits[name].append(outcomes(results, stage, "arithmetic") + outcomes(results, stage, "countdown"))

    table, rows = {}, []                                                   # {name: {what: a row}}
    for name in stages:
        table[name] = {"right": row(f"{name} right", *bootstrap_interval(bits[name]))}
        for key in ("readable", "mixing"):
            shares = [mean_of_reasoning(stage, key) or 0.0 for stage in stages[name]]
            table[name][key] = row(f"{name} {key}", sum(shares) / len(shares), min(shares), max(shares))
        rows += table[name].values()
    for one, other in (("student", "teacher"), ("unfiltered", "student"), ("teacher-on", "student"),
                       ("second-round", "student")):
        rows.append(row(f"{one} - {other}", *bootstrap_interval(bits[one], bits[other])))
    command, num_problems = "python lessons/14_rejection_sampling.py --full", run.config.evaluate.num_problems
    save_claim(9, "Rejection sampling makes the model its own teacher", command, SEEDS, num_problems, rows,
               intervals="readable, mixing: lowest and highest run; rest: 95%")
    figure, axis = new_figure(figsize=(7.2, 3.2))
    title = f"arithmetic and countdown, {len(SEEDS)} seeds (right: 95%; others: lowest, highest)"
    bars(axis, table, title)
    figure.savefig(RESULTS / "C9.png", dpi=150)
