"""Can a model be its own teacher? Claim C9, of lesson 14.

    python lessons/studies/own_teacher.py [--seeds 3]
    python lessons/studies/own_teacher.py --fast

The teacher is the RL model of a whole run, and the student is its stage `rejection`: the base, taught by the
teacher's filtered answers. Three more pupils differ in one thing each:

    unfiltered      the base, taught by as many answers that nobody filtered
    teacher-on      the teacher itself, trained on with its filtered answers
    second-round    the base, taught by the student's filtered answers

What is counted of a model is kept in lessons/results/arms/.
"""

import sys
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))      # lessons/, where runs.py is

import runs
from runs import bits, row
from shared import group_bars, label

from minireason import rejection, sft, stages
from minireason.corpus import chat_examples, tokenize
from minireason.evaluate import evaluate
from minireason.optimizer import adamw
from minireason.run import Run
from minireason.stats import bootstrap_interval
from minireason.tokenizer import get_tokenizer
from minireason.tools.plots import new_figure
from minireason.tools.scores import mean_of_reasoning, tasks_of
from minireason.upkeep.seeding import derive_rng, derive_seed

STAGES = {"teacher": "rl", "student": "rejection"}      # of the whole run
PUPILS = {   # name: (the stage it begins with, the stage that teaches it)
    "unfiltered": ("base", "rl"), "teacher-on": ("rl", "rl"), "second-round": ("base", "rejection")}
COMPARED = (("student", "teacher"), ("unfiltered", "student"), ("teacher-on", "student"),
            ("second-round", "student"))
TITLES = {"teacher": "teacher", "student": "student", "unfiltered": "student of\nunfiltered",
          "teacher-on": "teacher,\ntrained on", "second-round": "student's\nstudent"}
COLORS = {"arithmetic": "#1b6ca8", "countdown": "#d1495b", "program": "#5a9a5a"}
tokenizer = get_tokenizer()


def documents_of(source, teacher, config, seed, filtered):
    """What a pupil learns from: answers of a teacher, drawn as the stage `rejection` draws them, and chats.

    The teacher is a stage of the run `source`. If `filtered`, only answers that the filters keep; else as
    many are drawn from all that it gave, right or wrong. Returns [(prompt, completion)].
    """
    model, _ = runs.open_model(source, teacher)
    world = stages.rejection_world(Run(source, config, runs.device))
    # `fate_of` does its work, and the mock records its calls: these hold the refused answers, too
    with mock.patch.object(rejection, "fate_of", wraps=rejection.fate_of) as fate_of:
        kept, _ = rejection.sample_and_filter(model, tokenizer, world.draw, config.sampling, seed,
                                              config.rl.max_new_tokens)
    if not filtered:
        judged = [call.args[:2] for call in fate_of.call_args_list]      # (problem, completion)
        drawn = derive_rng(seed, "unfiltered").sample(judged, len(kept))
        kept = [(problem.prompt, text) for problem, text in drawn]
    return kept + chat_examples(seed, config.sampling.num_chat)


def scores_of_pupil(name, source, config):
    """Trains one of PUPILS from the run `source`. Returns what `evaluate` says of it."""
    start, teacher = PUPILS[name]
    seed = derive_seed(config.seed, "rejection")      # the draws of the stage `rejection` of this run
    documents = documents_of(source, teacher, config, seed, filtered=name != "unfiltered")
    pupil = runs.open_model(source, start)[0].train()
    examples = tokenize(tokenizer, documents)
    for _ in sft.train(pupil, adamw(config.rejection, pupil), examples, config.rejection, seed):
        pass        # the pupil is trained while the loop runs
    return evaluate(pupil.eval(), tokenizer, config)


def measure(name, seed, args):
    """What is kept of one model: for each task the outcomes by problem, and two rates."""
    source = runs.whole_run(seed, args)
    if name in STAGES:
        scores = runs.scores_of(source, STAGES[name])
    else:
        scores = scores_of_pupil(name, source, runs.config_of_source(source))
    kept = {}
    for task in tasks_of(scores):
        kept[task] = {key: scores[task][key] for key in ("outcomes", "readable", "mixing")}
    return kept


def rows_of(scores):
    """Rows of each model, and of each pair in COMPARED; `scores` is {model: scores of each seed}.

    Of readable and mixing, low and high are the lowest and the highest run.
    """
    rows = []
    for name, by_seed in scores.items():
        rows.append(row(f"{name} right", *bootstrap_interval(right_of(by_seed))))
        for key in ("readable", "mixing"):
            shares = [mean_of_reasoning(stage, key) or 0.0 for stage in by_seed]
            mean = sum(shares) / len(shares)
            rows.append(row(f"{name} {key}", mean, min(shares), max(shares)))
    for one, other in COMPARED:
        for task in (None, *tasks_of(scores[one][0])):
            difference = bootstrap_interval(right_of(scores[one], task), right_of(scores[other], task))
            rows.append(row(f"{one} - {other}, {task or 'all tasks'}", *difference))
    return rows


def right_of(by_seed, task=None):
    """Right or wrong on each problem of a task, or of all tasks, for each seed."""
    by_problem = []
    for stage in by_seed:
        outcomes = []
        for name in tasks_of(stage):
            if task in (None, name):
                outcomes += bits(stage[name]["outcomes"])
        by_problem.append(outcomes)
    return by_problem


def draw(rows, num_seeds):
    """Left: how much more often each model is right than another one. Right: how many of its thoughts mix."""
    found = {line["name"]: runs.in_percent(line) for line in rows}
    gains, mixing = {}, {}
    for one, other in COMPARED:
        title = f"{TITLES[one]}\nminus {other}"
        gains[title] = {task: found[f"{one} - {other}, {task}"] for task in COLORS}
    for name, title in TITLES.items():
        mixing[title] = {"mixing": found[f"{name} mixing"]}
    figure, axes = new_figure(1, 2, figsize=(11, 3.6), width_ratios=(1.2, 1))
    group_bars(axes[0], gains, COLORS)
    group_bars(axes[1], mixing, {"mixing": "#e0a030"})
    axes[0].axhline(0, color="black", lw=0.6)
    label(axes[0], f"right answers, {num_seeds} seeds", ylabel="percentage points")
    label(axes[1], "thoughts in two languages", ylabel="% of the thoughts", legend=False)
    for axis in axes:
        axis.tick_params(axis="x", labelsize=7)
    return figure


def main():
    args = runs.parse(runs.make_parser(__doc__.splitlines()[0], num_seeds=3))
    jobs = {}
    for seed in args.seeds:
        for name in (*STAGES, *PUPILS):
            jobs[name, seed] = (runs.arm, f"C9-{name}-{seed}", args, measure, name, seed, args)
    rows = rows_of(runs.by_seed(runs.work_off(jobs)))
    num_problems = runs.config_asked(args.flags).evaluate.num_problems
    runs.save_claim(9, "Rejection sampling makes the model its own teacher", args.command, args.seeds,
                    num_problems, rows,
                    intervals="readable, mixing: lowest and highest run; rest: 95%")
    runs.save_figure(draw(rows, len(args.seeds)), "C9")


if __name__ == "__main__":
    main()
