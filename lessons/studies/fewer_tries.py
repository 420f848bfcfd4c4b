"""How many tries do texts need, so that thinking grows in RL? Part of C12.

    python lessons/studies/fewer_tries.py [--seeds 3]
    python lessons/studies/fewer_tries.py --fast

The texts of a base try at most three times. Here two more bases are trained for each seed, on texts that try
at most once and at most twice (--tasks-max-tries). All else is as ever: checks, repairs and sheets of facts
are in these texts, too. Pure RL goes on from each base, and base and RL answer held-out problems of countdown.
The base of three tries and pure RL from it are those of longer.py.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))      # lessons/, where runs.py is

import longer
import runs

MOST = (1, 2, 3)                    # most tries in a text
USUAL = 3                           # that of the recipe
STAGES = {"base": longer.BEFORE, "rl": longer.USUAL}        # stage: the arm of longer.py with USUAL tries


def measure(most, stage, num_problems, seed, args):
    """What is kept of a model whose texts had `most` tries: see `longer.look_at`."""
    name = f"tries-{most}-{seed}"
    runs.ensure(name, "--tasks-max-tries", most, "--pure-rl", "--seed", seed, *args.flags, needs="rl")
    return longer.look_at(runs.STUDIES / name, stage, num_problems)


def main():
    args = runs.parse(runs.make_parser(__doc__.splitlines()[0], num_seeds=3))
    num_problems, jobs = 30 if args.fast else 1000, {}
    for seed in args.seeds:
        for most in MOST:
            for stage, usual in STAGES.items():
                job = (f"tries-{most}-{stage}-{seed}", args, measure, most, stage, num_problems, seed, args)
                if most == USUAL:
                    job = (f"longer-{runs.in_file_name(usual)}-{seed}", args, longer.measure, usual,
                           num_problems, seed, args)
                jobs[(most, stage), seed] = (runs.arm, *job)
    measured = runs.by_seed(runs.work_off(jobs))        # {(most, stage): its numbers of each seed}


if __name__ == "__main__":
    main()
