"""Works off the studies with several processes beside each other. Each takes what no other is making.

    python lessons/run_studies.py                                    all of them
    python lessons/run_studies.py process_rewards sizes              these two
    python lessons/run_studies.py sizes --workers 8 --seeds 5        other flags are the study's own

Three studies are made only if they are named: distill, compare_ppo_grpo and variants. They compare seconds of
training, and workers disturb each other. Give these --workers 1 where seconds matter; distill also allows two
workers with a thread each, on two cores.

What is finished is kept, so after a stop the same command goes on from there. What a worker says, and how far
its training is, stands in runs/studies/worker-N.log.
"""

import argparse
import contextlib
import itertools
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))      # lessons/, where runs.py is

import runs

import train
from minireason.settings import quoted
from minireason.upkeep.command import BadInput, Fault, Stopped, exit_codes, stop_after_step

FOLDER = Path(__file__).resolve().parent / "studies"
# In this order: a study uses the runs of those before it, and critic the trials of compare_ppo_grpo.
STUDIES = (
    "pipeline", "compare_imitation_rl", "compare_verifiers", "guess", "aha", "languages", "more_tokens",
    "own_teacher", "alignment", "two_plots", "distance", "longer", "fewer_tries", "beyond_the_base", "harder",
    "random_rewards", "generalize", "process_rewards", "trade", "overthink", "sizes", "critic")
TIMED = ("distill", "compare_ppo_grpo", "variants")       # they compare seconds: see above
PAUSE = 60        # seconds, before a worker looks again at studies whose rest is with others


class Worker(threading.Thread):
    """Runs each study with --share, again and again, until all that belongs to them is made."""

    def __init__(self, number, remaining, flags, num_threads):
        """`remaining` are the studies to do. All workers have the same list, and take out what is done."""
        super().__init__(daemon=True)
        self.remaining, self.flags = remaining, flags
        self.environment = os.environ | {"OMP_NUM_THREADS": str(num_threads)}
        self.log = runs.STUDIES / f"worker-{number}.log"
        self.process = None         # of the study that it runs
        self.told = None            # the process that was asked to end
        self.failure = None         # what to say of a study that failed
        self.stopped = threading.Event()

    def run(self):
        """Runs the remaining studies in turn. Those whose rest other processes make are run again later."""
        while self.remaining:
            for study in list(self.remaining):
                if study in self.remaining:     # no other worker has finished it meanwhile
                    self.run_study(study)
                if self.failure or self.stopped.is_set():
                    return
            if self.remaining and self.stopped.wait(PAUSE):
                return

    def run_study(self, study):
        """Runs a study once. If it is finished it leaves `remaining`; if it failed, `failure` is set."""
        command = [sys.executable, str(FOLDER / f"{study}.py"), "--share", *self.flags]
        try:
            with open(self.log, "ab") as log:
                # in a session of its own, so that Ctrl-C reaches it once, from `stop`
                self.process = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log,
                                                start_new_session=True)
                code = self.process.wait()
        except OSError as error:
            self.failure = f"{study} could not be started: {error}"
            return
        if code == 0:
            with contextlib.suppress(ValueError):       # another worker has taken it out
                self.remaining.remove(study)
                say(f"{study} is done")
        elif code != runs.BUSY and not self.stopped.is_set():
            self.failure = f"{study} ended with exit code {code}: {self.log} says why"

    def stop(self):
        """Asks its study to end, once: it finishes its step and saves."""
        self.stopped.set()
        if self.process is not self.told:
            self.told = self.process
            self.told.terminate()       # nothing happens to one that has ended


def say(text):
    print(time.strftime("%H:%M:%S"), text, flush=True)


def made(is_fast):
    """The names of all arms that are finished."""
    folder = runs.STUDIES / "fast" if is_fast else runs.RESULTS
    return {path.stem for path in (folder / "arms").glob("*.json")}


@exit_codes("run_studies.py", prints_results=False)
def main(argv=None):
    words = sys.argv[1:] if argv is None else argv
    studies = list(itertools.takewhile(lambda word: not word.startswith("-"), words))
    parser = argparse.ArgumentParser(
        usage="python lessons/run_studies.py [STUDY ...] [--workers N] [--seeds N] [--SETTING VALUE ...]",
        description=__doc__.splitlines()[0], allow_abbrev=False,
        epilog=f"Studies: {', '.join(STUDIES)}. Without any: all of these. To be named: {', '.join(TIMED)}, "
               "which compare seconds. Other flags go to the studies, and from there to train.py.")
    parser.add_argument("--workers", type=int, default=2, metavar="N",
                        help="processes beside each other (default: 2)")
    args, flags = parser.parse_known_args(words[len(studies):])
    for name in studies:
        if name not in STUDIES + TIMED:
            raise BadInput(f"unknown study {quoted(name)}: choose {', '.join(STUDIES + TIMED)}")
    misplaced = [word for word in flags if word in STUDIES + TIMED]
    if misplaced:
        raise BadInput(f"name the studies first: {misplaced[0]} comes after a flag")
    if args.workers < 1:
        raise BadInput("--workers is at least 1")
    studies = that_take(flags, studies)
    runs.STUDIES.mkdir(parents=True, exist_ok=True)
    num_threads = max(1, (os.cpu_count() or 1) // args.workers)
    remaining, workers = studies, []
    for number in range(args.workers):
        workers.append(Worker(number, remaining, flags, num_threads))
    say(f"{args.workers} workers with {num_threads} threads each; more in {runs.STUDIES}/worker-*.log")
    follow(workers, "--fast" in flags)


def that_take(flags, named):
    """The studies to run: those that are named, or all. Without the ones that cannot follow these flags.

    Raises BadInput for a flag that train.py does not know, and if such a study is named.
    """
    settings = runs.make_parser("", 1).parse_known_args(flags)[1]       # those for train.py
    given = train.parse(settings)
    studies = list(named or STUDIES)
    own = [name for name in studies if name in runs.OWN_SETTINGS]
    if not own:
        return studies
    try:
        runs.refuse_settings(given)
    except BadInput as error:
        if named:
            raise BadInput(f"{own[0]}: {error}") from error
        say(f"left out, since they have settings of their own: {', '.join(own)}")
        return [name for name in studies if name not in own]
    return studies


def follow(workers, is_fast):
    """Runs the workers to their end, and says what they make. Raises Stopped, and Fault if a study failed."""
    seen = made(is_fast)
    with stop_after_step() as request:
        for worker in workers:
            worker.start()
        try:
            while any(worker.is_alive() for worker in workers):
                time.sleep(0.2)
                for name in sorted(made(is_fast) - seen):
                    say(f"made {name}")
                    seen.add(name)
                if request.signal or any(worker.failure for worker in workers):
                    for worker in workers:
                        worker.stop()
        finally:            # a second signal ends this at once: no study may go on alone
            for worker in workers:
                worker.stop()
        if request.signal:
            raise Stopped(request.signal, "stopped; the same command goes on")
    failures = [worker.failure for worker in workers if worker.failure]
    if failures:
        raise Fault("; ".join(failures))


if __name__ == "__main__":
    sys.exit(main())
