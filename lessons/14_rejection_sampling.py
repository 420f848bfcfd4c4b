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
import os
import sys
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))      # so that it runs from anywhere

import torch

from minireason import rejection, sft
from minireason.behaviour import observe
from minireason.config import RejectionConfig, from_dict, preset
from minireason.corpus import SCORED_LEVELS, TASK_SHARES, chat_examples, tokenize
from minireason.evaluate import rate
from minireason.inference import answer_all
from minireason.tools.plots import new_figure
from minireason.pretrained import load_pretrained
from minireason.rewards import reasoning_task
from minireason.upkeep.seeding import derive_rng
from minireason.stats import bootstrap_interval
from minireason.tasks import parse_prompt, test_problems
from minireason.tokenizer import get_tokenizer
from minireason.verifier import verify

FAST = os.environ.get("LESSON_FAST") == "1"
NUM_SAMPLED, NUM_PROBLEMS, MAX_NEW_TOKENS = (16, 6, 60) if FAST else (1500, 200, 160)
RESULTS, tokenizer = Path(__file__).resolve().parent / "results", get_tokenizer()
SHARE = "{value:.3f} [{low:.3f}, {high:.3f}] of {num_problems}"

# %% [markdown]
# ## By hand: five answers to one problem
# 3*4+2 is 14. Read them as a strict teacher would: the first is good; the second is wrong; the third is right
# and in two languages; the fourth is right and says "so" forty times; the fifth was there before. One of five
# is left.

# %%
problem, good, own = parse_prompt("compute 3*4+2"), "<think>3*4=12 so 12+2=14</think><answer>14</answer>", {}
for text, by_hand in ((good, "kept"), (good.replace("14", "15"), "wrong"), (good.replace(">3", ">luego 3"), "unreadable"),
                      (good.replace("so ", "so " * 40), "too long"), (good, "repeated")):
    assert rejection.judge(problem, text, len(tokenizer.encode_tagged(text)), own, RejectionConfig(max_tokens=50)) == by_hand
    own |= {text: (problem.prompt, text)} if by_hand == "kept" else {}       # what is kept of this problem

# %% [markdown]
# ## Two samples of each problem, and what becomes of them
# `train.py` calls this function with 9,000 problems, and it returns what is kept. A mock around its judge
# holds on to the rest as well, for a control that learns from everything.


# %%
def sample(model, task, config, seed, max_new_tokens):
    """(what is kept, as many documents that nobody filtered, how many samples each filter took)."""
    with mock.patch.object(rejection, "judge", wraps=rejection.judge) as judge:
        kept, counts = rejection.sample_and_filter(model, tokenizer, task.draw, config, seed, max_new_tokens)
    drawn = derive_rng(seed, "unfiltered").sample([call.args[:2] for call in judge.call_args_list], len(kept))
    return kept, [(problem.prompt, text) for problem, text in drawn], counts


def teach(model, documents, settings, seed):
    optimizer = torch.optim.AdamW(model.train().parameters(), betas=(0.9, 0.95), weight_decay=settings.weight_decay)
    losses = [line["loss"] for line in sft.train(model, optimizer, tokenize(tokenizer, documents), settings, seed)]
    print(f"{len(documents)} documents, {len(losses)} steps, loss {losses[0]:.3f}, then {losses[-1]:.3f}")
    return model.eval()


kept, unfiltered, counts = sample(load_pretrained("rl"), reasoning_task(tokenizer, SCORED_LEVELS, TASK_SHARES),
                                  RejectionConfig(num_problems=NUM_SAMPLED), 0, MAX_NEW_TOKENS)
fates = {fate: rate(counts[fate], counts["sampled"]) for fate in ("kept", "wrong", "repeated", "unreadable", "too long")}
print("; ".join(f"{fate} {SHARE.format(**some)}" for fate, some in fates.items()))

# %% [markdown]
# ## Three pupils
# The student: the base, afresh, taught by what was kept. The control: the base, taught by as many samples
# that nobody filtered. And the teacher itself, trained on with what was kept of its own. Settings are those
# of `train.py`.

# %%
models, right, form = {"base": load_pretrained("base"), "teacher": load_pretrained("rl")}, {}, {}
for name, start, documents in (("student", "base", kept), ("unfiltered", "base", unfiltered), ("teacher-on", "rl", kept)):
    models[name] = teach(load_pretrained(start), documents, preset("laptop").rejection, 0)
problems = [p for task in ("arithmetic", "countdown") for p in test_problems(task, SCORED_LEVELS[task], NUM_PROBLEMS, seed=1)]
for name, model in models.items():
    answers = [text for text, _ in answer_all(model, tokenizer, [p.prompt for p in problems], MAX_NEW_TOKENS, seed=1)]
    right[name] = [verify(*pair).correct for pair in zip(problems, answers)]
    seen = [observe(*pair) for pair in zip(problems, answers)]
    form[name] = {"right": rate(sum(right[name]), len(seen)), "readable": rate(sum(one.readable for one in seen), len(seen)),
                  "mixing": rate(sum(one.mixed for one in seen if one.thinks), sum(one.thinks for one in seen))}
    print(f"{name:10} " + "; ".join(f"{key} {SHARE.format(**some)}" for key, some in form[name].items()), answers[-1])
for one, other in (("student", "teacher"), ("student", "unfiltered"), ("teacher-on", "student")):
    print(f"right, {one} less {other}, one seed, {len(problems)} problems: {{:+.3f}} [{{:+.3f}}, {{:+.3f}}]".format(
        *bootstrap_interval([right[one]], [right[other]])))


# %%
def bars(axis, table, title):
    """Bars of {name: {key: {"value", "low", "high"}}}."""
    keys = list(next(iter(table.values())))
    for i, (key, color) in enumerate(zip(keys, ("#1b6ca8", "#b9c7d6", "#e0a030"))):
        middle, low, high = torch.tensor([[some[key][k] for k in ("value", "low", "high")] for some in table.values()]).T
        axis.bar(torch.arange(len(table)) + 0.27 * (i - (len(keys) - 1) / 2), middle, 0.25, color=color, label=key,
                 yerr=torch.stack([middle - low, high - middle]).clamp(min=0), error_kw={"lw": 0.8})
    axis.set_xticks(range(len(table)), table)
    axis.set(ylim=(0, 1.2), title=title)
    axis.legend(frameon=False, fontsize=8, ncols=3, loc="upper center")


figure, axes = new_figure(1, 2, figsize=(10, 3.2), width_ratios=(1, 1.5))
bars(axes[0], {fate: {"share": some} for fate, some in fates.items()}, f"{counts['sampled']} samples of the teacher")
bars(axes[1], form, f"{len(problems)} held-out problems, one seed")
figure.savefig(RESULTS / f"14_rejection_sampling{'-fast' if FAST else ''}.png", dpi=120)

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
    from runs import STUDIES, ensure, outcomes, read_results, row, save_claim, train

    SEEDS, ARMS = (0, 1, 2), {"unfiltered": ("base", "rl"), "teacher-on": ("rl", "rl"), "second-round": ("base", "rejection")}
    runs, bits, found = {name: [] for name in ("teacher", "student", *ARMS)}, {}, {}
    for seed in SEEDS:
        results = ensure(f"seed-{seed}", "--seed", seed)
        run = train.Run(STUDIES / f"seed-{seed}", from_dict(results["config"]), train.checkpoint.pick_device())
        task = reasoning_task(tokenizer, run.config.tasks.levels(), run.config.tasks.shares())
        draws = run.seed("rejection")
        for name, stage in (("teacher", "rl"), ("student", "rejection")):
            runs[name].append({"stages": {name: results["stages"][stage]}})
        for name, (start, teacher) in ARMS.items():
            path = STUDIES / f"rejection-{name}-{seed}.json"
            if not path.exists():     # with the draws of the run's own student: only the model differs, or the filter
                kept, drawn, _ = sample(run.load(teacher), task, run.config.sampling, draws, run.config.rl.max_new_tokens)
                documents = (drawn if name == "unfiltered" else kept) + chat_examples(draws, run.config.sampling.num_chat)
                pupil = teach(run.load(start), documents, run.config.rejection, draws)
                train.checkpoint.save_json(path, results | {"stages": {name: train.evaluate(pupil, tokenizer, run.config)}})
            runs[name].append(read_results(path))
    for name, some in runs.items():
        bits[name] = [outcomes(one, name, "arithmetic") + outcomes(one, name, "countdown") for one in some]
        found[name] = {"right": row(f"{name} right", *bootstrap_interval(bits[name]))}
        for key in ("readable", "mixing"):
            seen = [train.report.mean_of_reasoning(one["stages"][name], key) or 0.0 for one in some]
            found[name][key] = row(f"{name} {key}", sum(seen) / len(seen), min(seen), max(seen))
    rows = [each for some in found.values() for each in some.values()] + [
        row(f"{one} - {other}", *bootstrap_interval(bits[one], bits[other])) for one, other in (
            ("student", "teacher"), ("unfiltered", "student"), ("teacher-on", "student"), ("second-round", "student"))]
    save_claim(9, "Rejection sampling makes the model its own teacher", "python lessons/14_rejection_sampling.py --full",
               SEEDS, run.config.evaluate.num_problems, rows, intervals="readable, mixing: lowest and highest run; rest: 95%")
    figure, axis = new_figure(figsize=(7.2, 3.2))
    bars(axis, found, f"arithmetic and countdown, {len(SEEDS)} seeds (right: 95%; others: lowest, highest)")
    figure.savefig(RESULTS / "C9.png", dpi=150)
