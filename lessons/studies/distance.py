"""Why could thoughts not grow? How well a model reads its prompt, the further away it is.

    python lessons/studies/distance.py [--seeds 2]
    python lessons/studies/distance.py --fast

Each countdown try begins with a move, such as `b 42-6=36`. The letter says which move it is, so we know the
numbers that should stand there: the target and one given number. Here is counted, by the number of the try,
how many moves ask for the right numbers. Models that trained with gaps between prompt and text (the default)
are compared with models that trained without (--base-max-gap 0 --cold-start-max-gap 0).
"""

import itertools
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))      # lessons/, where runs.py is

import numpy as np
import runs
from shared import label, plot_band

from minireason.inference import answers_with_ends
from minireason.tasks import test_problems
from minireason.tasks.countdown import moves_back
from minireason.tasks.trace import split_tries
from minireason.tokenizer import get_tokenizer
from minireason.tools.plots import new_figure
from minireason.verifier import verify

TASK = "countdown"
ARMS = {"with gaps": (), "without": ("--base-max-gap", 0, "--cold-start-max-gap", 0)}
STAGES = ("cold-start", "rl")
COLORS = {"with gaps": "#1b6ca8", "without": "#d1495b"}
MOST = 10       # tries are counted up to this one
ENOUGH = 20     # moves, for a share of them
NO_MOVE = -1    # where an answer has fewer tries


def run_of(arm, seed, args):
    """Makes the run of an arm as far as RL, if it is not there. Returns what `open_model` takes."""
    if args.fast or arm == "with gaps":
        return runs.whole_run(seed, args, "rl")
    name = f"no-gap-{seed}"
    runs.ensure(name, "--seed", seed, *ARMS[arm], *args.flags, needs="rl")
    return runs.STUDIES / name


def right_moves(problem, text):
    """For each try of an answer, whether its move asks for the right numbers: `b 42-6` for 42 from 3 6 8."""
    moves = moves_back(problem.target, list(problem.numbers))
    expected = {step.split("=")[0] for step, *_ in moves}               # such as "b 42-6"
    outcomes = []
    for attempt in split_tries(text):
        asked = attempt.text.strip().split("=")[0]
        words = asked.split(" ")[:2]                                    # the letter, and what is asked
        outcomes.append(" ".join(words) in expected)
    return outcomes


def measure(arm, stage, num_problems, seed, args):
    """What is kept of one model's answers to countdown, for each problem.

    {"solved", "ended": "0110...", "moves": [of each answer a text such as "110": its first and its second
    move ask for the right numbers, and the third one does not]}.
    """
    source = run_of(arm, seed, args)
    model, _ = runs.open_model(source, stage)
    config = runs.config_of_source(source)
    problems = test_problems(TASK, config.tasks.levels[TASK], num_problems, config.evaluate.seed)
    prompts = [problem.prompt for problem in problems]
    answers = answers_with_ends(model, get_tokenizer(), prompts, config.evaluate.max_new_tokens, seed=5)
    all_moves = []
    for problem, answer in zip(problems, answers):
        moves = right_moves(problem, answer.text)
        if not answer.ended:
            moves = moves[:-1]      # the last one was cut off
        all_moves.append(runs.digits(moves[:MOST]))
    solved = [verify(problem, answer.text).correct for problem, answer in zip(problems, answers)]
    return {"solved": runs.digits(solved), "ended": runs.digits(answer.ended for answer in answers),
            "moves": all_moves}


# -----------------------------------------------------------------------------
# Numbers

def as_arrays(arms, name):
    """One of "solved" and "ended" of all seeds: an array (seeds, problems) of 0 and 1."""
    return np.array([runs.bits(arm[name]) for arm in arms])


def moves_of(arms):
    """The moves of all seeds: an array (seeds, problems, MOST) of 1 (right numbers), 0 and NO_MOVE."""
    moves = np.full((len(arms), len(arms[0]["moves"]), MOST), NO_MOVE)
    for seed, arm in enumerate(arms):
        for problem, text in enumerate(arm["moves"]):
            moves[seed, problem, :len(text)] = runs.bits(text)
    return moves


def share_right(moves):
    """The share of right ones among the moves that were made, all of one place in their thoughts."""
    return runs.mean_where(moves, moves != NO_MOVE)


def by_try(arms):
    """[(try, how many answers have it, share whose move asks for the right numbers, low, high)].

    Left out are tries that fewer than ENOUGH answers have. Intervals are over seeds and problems.
    """
    moves, points = moves_of(arms), []
    for place in range(MOST):
        of_try = moves[:, :, place]
        number = int((of_try != NO_MOVE).sum())
        if number >= ENOUGH:
            points.append((place + 1, number, *runs.bootstrap(share_right, of_try)))
    return points


def rows_of(arm, stage, arms):
    """Shares: of solved problems, of answers that were cut off, of right moves by the number of the try."""
    solved, ended = as_arrays(arms, "solved"), as_arrays(arms, "ended")
    rows = [runs.row(f"{arm}, {stage}: right", *runs.bootstrap(np.mean, solved)),
            runs.row(f"{arm}, {stage}: cut off", *runs.bootstrap(np.mean, 1 - ended))]
    for number_of_try, number, *interval in by_try(arms):
        rows.append(runs.row(f"{arm}, {stage}: right numbers in try {number_of_try} of {number}", *interval))
    return rows


def draw(measured):
    """A panel for each stage: the share of moves with the right numbers, by try."""
    figure, axes = new_figure(1, len(STAGES), figsize=(10, 3.6), sharey=True)
    titles = {"cold-start": "after the cold start", "rl": "after RL"}
    for axis, stage in zip(axes, STAGES):
        axis.axvspan(0.5, 3.5, color="#eeeeee")
        axis.text(2, 50, "as many tries\nas a text\nmay have", fontsize=8, ha="center", va="center")
        for arm in ARMS:
            tries, intervals = [], []
            for number_of_try, _, *interval in by_try(measured[arm, stage]):
                tries.append(number_of_try)
                intervals.append([100 * end for end in interval])
            plot_band(axis, tries, intervals, COLORS[arm], arm)
        axis.set_ylim(0, 102)
        axis.set_xticks(range(1, MOST + 1))
        label(axis, titles[stage], "the number of the try", "moves with the right numbers (%)", legend=False)
        axis.legend(frameon=False, fontsize=8, loc="lower left", bbox_to_anchor=(0.33, 0))  # beside the grey
    return figure


def main():
    parser = runs.make_parser("How well a model reads its prompt when its thought is long.", num_seeds=2)
    args = runs.parse(parser)
    num_problems = 60 if args.fast else 1000
    jobs, rows = {}, []
    for arm, stage, seed in itertools.product(ARMS, STAGES, args.seeds):
        file = f"distance-{num_problems}-{runs.in_file_name(arm)}-{stage}-{seed}"
        jobs[(arm, stage), seed] = (runs.arm, file, args, measure, arm, stage, num_problems, seed, args)
    measured = runs.by_seed(runs.work_off(jobs))                   # {(arm, stage): an arm of each seed}
    for (arm, stage), arms in measured.items():
        rows += rows_of(arm, stage, arms)
    runs.save_rows("distance", "a prompt that stands far away is misread, unless training moved it away",
                   args.command, args.seeds, num_problems, rows)
    runs.save_figure(draw(measured), "distance")
    for line in rows:
        value, low, high = runs.in_percent(line)
        print(f"{line['name']:60} {value:5.1f} [{low:.1f}, {high:.1f}]")


if __name__ == "__main__":
    main()
