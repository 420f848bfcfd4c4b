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

import runs
from shared import label, plot_band

from minireason.inference import answers_with_ends
from minireason.stats import wilson_interval
from minireason.tasks import test_problems
from minireason.tasks.countdown import moves_back
from minireason.tasks.trace import split_tries
from minireason.tokenizer import get_tokenizer
from minireason.tools.plots import new_figure
from minireason.verifier import verify

ARMS = {"with gaps": (), "without": ("--base-max-gap", 0, "--cold-start-max-gap", 0)}
STAGES = ("cold-start", "rl")
COLORS = {"with gaps": "#1b6ca8", "without": "#d1495b"}
MOST = 10       # tries are counted up to this one
ENOUGH = 20     # moves, for a point in the figure


def run_of(arm, seed, args):
    """Makes the run of an arm as far as RL, if it is not there. Returns what `open_model` takes."""
    if args.fast or arm == "with gaps":
        return runs.whole_run(seed, args, "rl")
    name = f"no-gap-{seed}"
    runs.ensure(name, "--seed", seed, *ARMS[arm], *args.flags, needs="rl")
    return runs.STUDIES / name


def right_moves(problem, thinking):
    """For each try of a thought, whether its move asks for the right numbers: `b 42-6` for 42 from 3 6 8."""
    moves = moves_back(problem.target, list(problem.numbers))
    expected = {step.split("=")[0] for step, *_ in moves}               # such as "b 42-6"
    outcomes = []
    for attempt in split_tries(thinking):
        asked = attempt.text.strip().split("=")[0]
        words = asked.split(" ")[:2]                                    # the letter, and what is asked
        outcomes.append(" ".join(words) in expected)
    return outcomes


def measure(arm, stage, num_problems, seed, args):
    """Counts of one model's answers to countdown.

    {"moves": [how many answers have a first try, a second ...], "right": [in how many its move asks for the
    right numbers], "num_problems", "solved", "cut_off"}.
    """
    source = run_of(arm, seed, args)
    model, _ = runs.open_model(source, stage)
    config = runs.config_of_source(source)
    problems = test_problems("countdown", (2, 3), num_problems, config.evaluate.seed)
    prompts = [problem.prompt for problem in problems]
    answers = answers_with_ends(model, get_tokenizer(), prompts, config.evaluate.max_new_tokens, seed=5)
    counts = {"moves": [0] * MOST, "right": [0] * MOST,
              "num_problems": len(problems), "solved": 0, "cut_off": 0}
    for problem, answer in zip(problems, answers):
        counts["solved"] += verify(problem, answer.text).correct
        counts["cut_off"] += not answer.ended
        moves = right_moves(problem, answer.text)
        if not answer.ended:
            moves = moves[:-1]      # the last one was cut off
        for i, is_right in enumerate(moves[:MOST]):
            counts["moves"][i] += 1
            counts["right"][i] += is_right
    return counts


def added(several):
    """The sum of the counts of several seeds."""
    total = {}
    for name, first in several[0].items():
        values = [counts[name] for counts in several]
        total[name] = [sum(numbers) for numbers in zip(*values)] if isinstance(first, list) else sum(values)
    return total


def rows_of(arm, stage, counts):
    """Shares with Wilson's interval over the answers of all seeds."""
    rows = []
    number = counts["num_problems"]
    for name, title in (("solved", "right"), ("cut_off", "cut off")):
        share = counts[name] / number
        rows.append(runs.row(f"{arm}, {stage}: {title}", share, *wilson_interval(counts[name], number)))
    for i, (right, moves) in enumerate(zip(counts["right"], counts["moves"])):
        if moves:
            title = f"{arm}, {stage}: right numbers in try {i + 1} of {moves}"
            rows.append(runs.row(title, right / moves, *wilson_interval(right, moves)))
    return rows


def draw(totals):
    """A panel for each stage: the share of moves with the right numbers, by try."""
    figure, axes = new_figure(1, len(STAGES), figsize=(10, 3.6), sharey=True)
    titles = {"cold-start": "after the cold start", "rl": "after RL"}
    for axis, stage in zip(axes, STAGES):
        axis.axvspan(0.5, 3.5, color="#eeeeee")
        axis.text(2, 50, "as many tries\nas a text\nmay have", fontsize=8, ha="center", va="center")
        for arm in ARMS:
            counts = totals[arm, stage]
            tries, intervals = [], []
            for i, (right, moves) in enumerate(zip(counts["right"], counts["moves"])):
                if moves >= ENOUGH:
                    tries.append(i + 1)
                    low, high = wilson_interval(right, moves)
                    intervals.append((100 * right / moves, 100 * low, 100 * high))
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
    jobs, totals, rows = {}, {}, []
    for arm, stage, seed in itertools.product(ARMS, STAGES, args.seeds):
        file = f"distance-{num_problems}-{runs.in_file_name(arm)}-{stage}-{seed}"
        jobs[(arm, stage), seed] = (runs.arm, file, args, measure, arm, stage, num_problems, seed, args)
    for key, counts in runs.by_seed(runs.work_off(jobs)).items():
        totals[key] = added(counts)
        rows += rows_of(*key, totals[key])
    runs.save_rows("distance", "a prompt that stands far away is misread, unless training moved it away",
                   args.command, args.seeds, num_problems, rows)
    runs.save_figure(draw(totals), "distance")
    for line in rows:
        value, low, high = runs.in_percent(line)
        print(f"{line['name']:60} {value:5.1f} [{low:.1f}, {high:.1f}]")


if __name__ == "__main__":
    main()
