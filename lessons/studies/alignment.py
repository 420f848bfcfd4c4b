"""Does a model learn to please its judge, and what does a KL to its start prevent? Claim C10, of lesson 15.

    python lessons/studies/alignment.py [--seeds 3]
    python lessons/studies/alignment.py --fast

The alignment of whole runs, once with the KL and once without. Every ten iterations the model answers
held-out prompts: how many answers are true, what the judge thinks of them, and how many polite words they
hold.
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
from minireason.tasks import TASKS
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

    It has the arguments of `quick_accuracy`, since it takes its place: see `aligned`.
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


def aligned(kl_coef, seed, args):
    """Aligns one whole run with this weight of the KL, if it is not done.

    Returns (results of the run, the lines of its metrics.jsonl that hold what `look` returned).
    """
    source = runs.whole_run(seed, args)
    name, every = f"align-kl-{kl_coef}-{seed}", 1 if args.fast else 10
    with mock.patch.object(train, "quick_accuracy", look):      # --evaluate-every calls it
        results = runs.ensure(name, "align", "--from", source, "--seed", seed, "--align-kl-coef", kl_coef,
                              "--evaluate-every", every, *args.flags)
    return results, [line for line in runs.curve(runs.STUDIES / name, "align") if "truth" in line]


def rows_of(kl_coef, results, looks):
    """Returns the rows of one weight of the KL: the last look, and how the aligned models answer in chat.

    `results` and `looks` are what `aligned` returned, one for each seed.
    """
    rows = []
    ends = []                                                  # the last numbers of each seed
    for result, lines in zip(results, looks):
        chat = result["stages"]["align"]["chat"]
        ends.append(lines[-1] | {kind: chat[kind]["value"] for kind in KINDS})
    for key in (*TITLES, *KINDS):
        values = [end[key] for end in ends]
        rows.append(runs.row_of_runs(f"KL x {kl_coef} {key}", values))
    return rows


def change_of_reasoning(kl_coef, results, scores_before):
    """Returns a row for each task: the accuracy after alignment less that before it."""
    rows = []
    for task in TASKS:
        if task not in scores_before[0]:
            continue
        after = [bits(result["stages"]["align"], task) for result in results]
        before = [bits(scores, task) for scores in scores_before]
        rows.append(row(f"KL x {kl_coef} - rejection {task}", *bootstrap_interval(after, before)))
    return rows


def plot_looks(axes, looks, color, name):
    """Draws a line for each seed into the picture of each of TITLES. `looks` has a list for each seed."""
    for axis, key in zip(axes, TITLES):
        for i, lines in enumerate(looks):
            iterations = [line["iteration"] + 1 for line in lines]
            axis.plot(iterations, [line[key] for line in lines], color=color, label=name if i == 0 else None)


def main():
    global NUM_CHATS
    args = runs.parse(runs.make_parser(__doc__.splitlines()[0], num_seeds=3))
    if args.fast:
        NUM_CHATS = 20
    figure, axes = new_figure(1, len(TITLES), figsize=(11, 2.8))
    jobs = {}
    for kl_coef, seed in itertools.product(KL_COEFS, args.seeds):
        jobs[kl_coef, seed] = (aligned, kl_coef, seed, args)
    made = runs.by_seed(runs.work_off(jobs))
    rows, samples = [], []
    for kl_coef, color in KL_COEFS.items():
        results, looks = zip(*made[kl_coef])                     # of each seed
        before = [runs.scores_of(runs.whole_run(seed, args), "rejection") for seed in args.seeds]
        plot_looks(axes, looks, color, f"KL x {kl_coef}" if kl_coef else "no KL")
        rows += rows_of(kl_coef, results, looks) + change_of_reasoning(kl_coef, results, before)
        samples = results[0]["stages"]["align"]["chat"]["samples"]      # at the end those without the KL
    for axis, title in zip(axes, TITLES.values()):
        label(axis, title, "iteration", legend=axis is axes[0])
    runs.save_figure(figure, "C10")
    runs.save_claim(10, "Final alignment", args.command, args.seeds,
                    results[0]["config"]["evaluate"]["num_problems"], rows, without_kl=samples)


if __name__ == "__main__":
    main()
