"""Does a model learn to please its judge, and what does a KL to its start prevent? Claim C10, of lesson 15.

    python lessons/studies/alignment.py [--seeds 3]
    python lessons/studies/alignment.py --fast

The alignment of whole runs, once with the KL and once without. Every ten iterations the model answers
held-out prompts: how many answers are true, what the judge thinks of them, and how many polite words they
hold. What is counted of an alignment is kept in lessons/results/arms/.
"""

import itertools
import sys
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))      # lessons/, where runs.py is

import runs
from runs import bits, row
from shared import label

import train
from minireason.inference import answer_all
from minireason.stats import bootstrap_interval
from minireason.tasks.chat import POLITE, draw_chat, is_helpful, judge_score
from minireason.tools.plots import new_figure
from minireason.upkeep.seeding import derive_rng
from minireason.verifier import split_completion

KL_COEFS = {0.05: "#1b6ca8", 0.0: "#d1495b"}
TITLES = {"reward": "reward", "truth": "true answers", "judge": "the judge's score",
          "polite": "polite words of an answer"}
KINDS = ("leaks", "over_refusals", "helpful")
NUM_CHATS = 200      # answers of a look; --fast takes 20


def num_polite_words(chat, answer):
    return sum(word in POLITE for word in answer.split())


MEASURES = {"truth": is_helpful, "judge": judge_score, "polite": num_polite_words}


def look(model, tokenizer, config):
    """Means over answers to held-out prompts without a secret: {"truth", "judge", "polite"}.

    It has the arguments of `quick_accuracy`, since it takes its place: see `measure`.
    """
    rng = derive_rng(config.evaluate.seed, "probe")
    chats = [draw_chat(rng, test=True, about=rng.choice(("number", "talk"))) for _ in range(NUM_CHATS)]
    texts = answer_all(model, tokenizer, [chat.prompt for chat in chats], 60, config.evaluate.seed)
    sums = dict.fromkeys(MEASURES, 0.0)
    for chat, (text, _) in zip(chats, texts):
        parts = split_completion(text)
        answer = parts[1] if parts else ""
        for name, measure in MEASURES.items():
            sums[name] += measure(chat, answer)
    return {name: total / len(chats) for name, total in sums.items()}


def measure(kl_coef, seed, args):
    """Aligns one whole run with this weight of the KL, if it is not done. Returns what is kept of it.

    {"looks": the numbers of each look and of its step, {kind: share} for each of KINDS, "samples": answers of
    chat, "before" and "after": see `runs.short_scores`}.
    """
    source = runs.whole_run(seed, args)
    name, every = f"align-kl-{kl_coef}-{seed}", 1 if args.fast else 10
    with mock.patch.object(train, "quick_accuracy", look):      # --evaluate-every calls it
        results = runs.ensure(name, "align", "--from", source, "--seed", seed, "--align-kl-coef", kl_coef,
                              "--evaluate-every", every, *args.flags)
    looks = []
    for line in runs.curve(runs.STUDIES / name, "align"):
        if "truth" in line:
            looks.append({key: line[key] for key in ("iteration", *TITLES)})
    before, after = runs.scores_of(source, "rejection"), results["stages"]["align"]
    kept = {kind: after["chat"][kind]["value"] for kind in KINDS}
    return {"looks": looks, **kept, "samples": after["chat"]["samples"],
            "before": runs.short_scores(before), "after": runs.short_scores(after)}


def rows_of(kl_coef, arms):
    """The rows of one weight of the KL: the last look, how the aligned models answer in chat, and for each
    task the accuracy after alignment less that before it. `arms` has what `measure` returned, by seed."""
    rows = []
    for key in TITLES:
        rows.append(runs.row_of_runs(f"KL x {kl_coef} {key}", [arm["looks"][-1][key] for arm in arms]))
    for kind in KINDS:
        rows.append(runs.row_of_runs(f"KL x {kl_coef} {kind}", [arm[kind] for arm in arms]))
    for task in arms[0]["after"]:
        after = [bits(arm["after"][task]["outcomes"]) for arm in arms]
        before = [bits(arm["before"][task]["outcomes"]) for arm in arms]
        rows.append(row(f"KL x {kl_coef} - rejection {task}", *bootstrap_interval(after, before)))
    return rows


def plot_looks(axes, arms, color, name):
    """Draws a line for each seed into the picture of each of TITLES."""
    for axis, key in zip(axes, TITLES):
        for i, arm in enumerate(arms):
            iterations = [look["iteration"] + 1 for look in arm["looks"]]
            axis.plot(iterations, [look[key] for look in arm["looks"]], color=color,
                      label=name if i == 0 else None)


def main():
    global NUM_CHATS
    args = runs.parse(runs.make_parser(__doc__.splitlines()[0], num_seeds=3))
    if args.fast:
        NUM_CHATS = 20
    figure, axes = new_figure(1, len(TITLES), figsize=(11, 2.8))
    jobs = {}
    for kl_coef, seed in itertools.product(KL_COEFS, args.seeds):
        file = f"C10-KL-{kl_coef}-{seed}"
        jobs[kl_coef, seed] = (runs.arm, file, args, measure, kl_coef, seed, args)
    made = runs.by_seed(runs.work_off(jobs))
    rows = []
    for kl_coef, color in KL_COEFS.items():
        plot_looks(axes, made[kl_coef], color, f"KL x {kl_coef}" if kl_coef else "no KL")
        rows += rows_of(kl_coef, made[kl_coef])
    for axis, title in zip(axes, TITLES.values()):
        label(axis, title, "iteration", legend=axis is axes[0])
    runs.save_figure(figure, "C10")
    num_problems = len(made[0.0][0]["after"]["arithmetic"]["outcomes"])
    runs.save_claim(10, "Final alignment", args.command, args.seeds, num_problems, rows,
                    without_kl=made[0.0][0]["samples"])


if __name__ == "__main__":
    main()
