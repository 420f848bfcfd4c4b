"""The verifier against a second one that shares no line with it: claim C2 of lesson 02.

    python lessons/studies/compare_verifiers.py [--cases 1000000]
    python lessons/studies/compare_verifiers.py --fast

Both judge right answers, seven mutations of each, random strings and hostile ones (`answers` of
tests/test_fuzz.py). A third of these belong to each task. The second verifier is tests/reference.py. If one
of the two crashes, the study stops.
"""

import collections
import math
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))      # lessons/, where runs.py is

import runs
from runs import ROOT, row

from minireason.corpus import wrap
from minireason.stats import wilson_interval
from minireason.tasks import TASKS
from minireason.verifier import verify

sys.path.insert(0, str(ROOT / "tests"))
from reference import form, second_opinion
from test_fuzz import answers


def study(num_cases):
    """Has both verifiers judge about `num_cases` answers. Returns two rows for each task.

    One is the share of the answers that are wrong by the second verifier, but accepted by ours; the other the
    share of those that are right by the second one, but refused by ours.
    """
    rows = []
    for task in TASKS:
        counts = collections.Counter()      # {(right by the second one, right by ours): how many answers}
        for problem, answer, _ in answers(task, math.ceil(num_cases / len(TASKS))):
            text = wrap("", answer)
            theirs = form(text) is not None and second_opinion(problem, answer)
            ours = verify(problem, text).correct
            counts[theirs, ours] += 1
        for name, theirs, ours in (("accepted, and wrong", False, True), ("refused, and right", True, False)):
            num_mistakes, total = counts[theirs, ours], counts[theirs, True] + counts[theirs, False]
            low, high = wilson_interval(num_mistakes, total)
            rows.append(row(f"{task}: {name}", num_mistakes / total, low, high) | {"of": total})
            print(f"{task}: {name}: {num_mistakes} of {total:,}, 95% [{low:.7f}, {high:.7f}]", flush=True)
    return rows


def main():
    parser = runs.make_parser(__doc__.splitlines()[0], num_seeds=1)
    parser.add_argument("--cases", type=int, help="answers to judge (default: 1,000,000, with --fast 3,000)")
    args = runs.parse(parser)
    num_cases = args.cases
    if num_cases is None:
        num_cases = 3000 if args.fast else 1_000_000
    if num_cases < 1000:
        parser.error("--cases is at least 1000")
    runs.save_claim(2, "only the final answer is rewarded, and checked exactly", args.command, [], num_cases,
                    study(num_cases))


if __name__ == "__main__":
    main()
