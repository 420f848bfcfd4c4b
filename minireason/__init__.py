"""minireason: how reasoning models are trained, small enough to read.

A reading order: config                                             (every setting)
                 tasks/, tokenizer, verifier, behaviour, corpus     (the world; no torch)
                 model, cache, sampling, inference                  (the model and what it says)
                 token_math, batch, policy, rewards, rollout        (what it said, and what that was worth)
                 optimizer, sft, grpo, ppo, rejection, align        (the algorithms, each readable alone)
                 stages, settings, run, begin, snapshots            (the pipeline, and the folder of a run)
                 stats, evaluate                                    (how good it is)
The rest is upkeep/ (files, seeds, processes) and tools/ (reports and other ways to look at a run).
Nothing is re-exported here: every import shows where the code lives.
"""

import contextlib
import os
import signal
import sys
from pathlib import Path
from types import FrameType

# Looks for modules in tools/ too, so that users can type `python -m minireason.report`. Imports in code say
# minireason.tools.report.
__path__.append(str(Path(__file__).parent / "tools"))


def end_at_once(number: int, frame: FrameType | None) -> None:
    """Ends the process with one line and the exit code of the signal."""
    with contextlib.suppress(OSError):      # stderr may be closed
        os.write(2, b"\nstopped\n")
    os._exit(128 + number)


# Until a command has imported what it needs, which takes seconds, Ctrl-C would show a traceback, and some
# libraries swallow it. (sys.argv[0] is "-m" while `python -m minireason.x` looks for its module.)
BESIDE = Path(__file__).resolve().parent.parent          # where train.py and sample.py stand
if sys.argv[0] == "-m" or Path(sys.argv[0]).resolve() in (BESIDE / "train.py", BESIDE / "sample.py"):
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name) and signal.getsignal(getattr(signal, name)) != signal.SIG_IGN:
            signal.signal(getattr(signal, name), end_at_once)
