"""How many tries do texts need, so that thinking grows in RL? Part of C12.

    python lessons/studies/fewer_tries.py [--seeds 3]
    python lessons/studies/fewer_tries.py --fast

The texts that the base imitates try at most three times. Here two more bases are trained for each seed, on
texts that try at most once and at most twice (--tasks-max-tries). Checks, repairs and sheets of facts are in
these texts, too, but fewer of their thoughts end right: `right_thoughts` counts that. Pure RL goes on from
each base, and the base and the model after RL answer held-out problems of countdown. The base with three
tries and pure RL from it are those of longer.py.
"""

import dataclasses
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))      # lessons/, where runs.py is

import longer
import numpy as np
import runs
from runs import bootstrap, mean_where, row
from shared import group_bars, label

from minireason.config import preset
from minireason.corpus import base_corpus
from minireason.tasks import TASKS, parse_prompt
from minireason.tools.plots import new_figure
from minireason.verifier import verify

MOST = (1, 2, 3)                                # most tries in a text
USUAL_TRIES = preset("laptop").tasks.max_tries      # of the recipe, and of all arms of longer.py
MODELS = {"base": longer.BEFORE, "rl": longer.USUAL}        # stage: the arm of longer.py that is this model
TITLES = {"base": "the base", "rl": "pure RL"}
COLORS = {"the base": "#999999", "pure RL": "#1b6ca8"}
CORPUS_COLORS = {1: "#b9d4ea", 2: "#6aa5d3", 3: "#1b6ca8"}
LONGEST = 10                                    # tries: the figure counts this many and more as one


def measure(most, stage, num_problems, seed, args):
    """What is kept of a model whose texts had `most` tries: see `longer.look_at`."""
    name = f"tries-{most}-{seed}"
    runs.ensure(name, "--tasks-max-tries", most, "--pure-rl", "--seed", seed, *args.flags, needs="rl")
    return longer.look_at(runs.STUDIES / name, stage, num_problems)


def job_of(most, stage, num_problems, seed, args):
    """The job that measures a model, for `runs.work_off`. With USUAL_TRIES it is an arm of longer.py."""
    if most == USUAL_TRIES:
        arm = MODELS[stage]
        name = f"longer-{runs.in_file_name(arm)}-{seed}"
        return runs.arm, name, args, longer.measure, arm, num_problems, seed, args
    return runs.arm, f"tries-{most}-{stage}-{seed}", args, measure, most, stage, num_problems, seed, args


def right_thoughts(most, num_documents):
    """Of the countdown thoughts in a base corpus of so many documents (seed 0), the share that ends right."""
    tasks = dataclasses.replace(preset("laptop").tasks, max_tries=most)
    num_thoughts = num_right = 0
    for prompt, completion in base_corpus(0, num_documents, tasks):
        if prompt.startswith(TASKS[longer.TASK].word) and not completion.startswith("<think></think>"):
            num_thoughts += 1
            num_right += verify(parse_prompt(prompt), completion).correct
    return num_right / num_thoughts


# -----------------------------------------------------------------------------
# Numbers. `answers` is an array (seeds, problems) of longer.NUMBERS

def share_beyond(most):
    """The statistic: of the answers that think, how many have more tries than any text."""
    def share(answers):
        return mean_where(answers["tries"] > most, answers["thinks"])
    return share


def right_beyond(most, answers):
    """Of the answers with more tries than any text, the share that is right; None if there are none."""
    is_beyond = answers["thinks"] & (answers["tries"] > most)
    return mean_where(answers["right"], is_beyond) if is_beyond.any() else None


def share_that_thinks(answers):
    return answers["thinks"].mean()


def right_if_it_thinks(answers):
    return mean_where(answers["right"], answers["thinks"])


def statistics_for(most):
    return longer.STATISTICS | {"thinks": share_that_thinks, "right if it thinks": right_if_it_thinks,
                                "beyond all texts": share_beyond(most)}


def rows_of(answers):
    """Each number of each model, and what RL changes of it, with 95% over seeds and problems.

    `answers` is {(most, stage): array}. How often an answer beyond all texts is right has no interval, and no
    row where there is no such answer.
    """
    rows = []
    for most in MOST:
        base, rl = answers[most, "base"], answers[most, "rl"]
        title = f"at most {most}"
        for name, statistic in statistics_for(most).items():
            def gain(after, before, statistic=statistic):
                return statistic(after) - statistic(before)
            rows.append(row(f"{title}, base: {name}", *bootstrap(statistic, base)))
            rows.append(row(f"{title}, rl: {name}", *bootstrap(statistic, rl)))
            rows.append(row(f"{title}, rl less base: {name}", *bootstrap(gain, rl, base)))
            if name in ("right", "tries"):
                rows.append(runs.row_of_runs(f"{title}, rl: {name}", [statistic(of_run) for of_run in rl]))
        share = right_beyond(most, rl)
        if share is not None:
            rows.append(row(f"{title}, rl: right beyond all texts", share))
    return rows


def shares_by_tries(answers):
    """Of the answers that think, the share in % with 1, 2, ... LONGEST or more tries: an array (LONGEST,).

    A thought that never says try counts as one.
    """
    tries = np.clip(answers["tries"][answers["thinks"]], 1, LONGEST)
    return 100 * np.bincount(tries, minlength=LONGEST + 1)[1:] / max(1, len(tries))


def draw(answers, rows):
    """Left: how many tries answers have after RL. Then tries and right answers, of the base and after RL."""
    found = {line["name"]: (line["value"], line["low"], line["high"]) for line in rows}
    figure, axes = new_figure(1, 3, figsize=(10, 3.6), width_ratios=(1.5, 1, 1))
    places = np.arange(1, LONGEST + 1)
    for i, most in enumerate(MOST):
        shares = shares_by_tries(answers[most, "rl"])
        axes[0].bar(places + 0.28 * (i - 1), shares, 0.26, color=CORPUS_COLORS[most],
                    label=f"texts try at most {('once', 'twice', 'three times')[most - 1]}")
    for axis, name, factor in ((axes[1], "tries", 1), (axes[2], "right", 100)):
        bars = {}
        for most in MOST:
            bars[str(most)] = {}
            for stage, title in TITLES.items():
                interval = found[f"at most {most}, {stage}: {name}"]
                bars[str(most)][title] = tuple(factor * end for end in interval)
        group_bars(axis, bars, COLORS)
    for place, most in enumerate(MOST):
        label_of_line = "most in a text" if place == 0 else None
        axes[1].plot([place - 0.45, place + 0.45], [most, most], "--", color="#333333", label=label_of_line)
    axes[0].set_xticks(places, [*map(str, places[:-1]), f"{LONGEST}+"])
    label(axes[0], "after pure RL", "tries of an answer", "% of the answers that think")
    label(axes[1], "countdown: tries", "most tries in a text", "tries of an answer that thinks")
    label(axes[2], "countdown: right answers", "most tries in a text", "held-out problems right, %",
          legend=False)
    return figure


def main():
    args = runs.parse(runs.make_parser(__doc__.splitlines()[0], num_seeds=3))
    num_problems, jobs = 30 if args.fast else 1000, {}
    for seed in args.seeds:
        for most in MOST:
            for stage in MODELS:
                jobs[(most, stage), seed] = job_of(most, stage, num_problems, seed, args)
    measured = runs.by_seed(runs.work_off(jobs))        # {(most, stage): its numbers of each seed}
    answers = {model: longer.answers_of(arms) for model, arms in measured.items()}
    rows = rows_of(answers)
    for most in MOST:
        share = right_thoughts(most, 300 if args.fast else 30_000)
        rows.append(row(f"at most {most}, texts: thoughts that end right", share))
    runs.save_rows("fewer_tries", "Thinking grows in RL if texts try again", args.command, args.seeds,
                   num_problems, rows)
    runs.save_figure(draw(answers, rows), "fewer_tries")


if __name__ == "__main__":
    main()
