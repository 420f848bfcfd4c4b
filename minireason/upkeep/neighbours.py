"""Sharing the cores with other programs.

torch splits an operation among its threads, and each thread waits for the others thousands of times a second.
They wait by spinning: a thread looks again and again until the others are ready. On a quiet machine that is
fastest. Beside a busy program it is a disaster: a spinning thread keeps its core from the thread that
it waits for. Imitation fell from 5.5 steps a second to 0.3, and one thread alone would have made 1.3.

Here a watcher asks Linux, twice a second, how long our threads had to wait for a core. Where that is long,
the threads are made to sleep while they wait for each other. When the neighbours are gone, they spin again.
The number of threads stays as it is, and so does every bit of the result.

How: torch's Linux builds use libgomp, which spins for 300,000 rounds, but for 100 only while it manages more
threads than there are cores. So a second team of threads, which does nothing, is enough.
(gcc.gnu.org/onlinedocs/libgomp, GOMP_SPINCOUNT; the environment variable is read once, before any program can
know its neighbours.) Where the system does not tell how long threads wait, nothing is done.
"""

import math
import os
import threading
import time
from pathlib import Path

import torch

EVERY = 0.5         # seconds between two looks
CROWDED = 0.25      # seconds without a core, per second: with more the threads sleep
ALONE = 0.05        # with less we seem to be alone
CALM_LOOKS = 10     # so many looks in a row must find us alone before the threads spin again

watcher: threading.Thread | None = None
starting = threading.Lock()


def watch() -> None:
    """Starts the watcher, if there is something to watch. Later calls do nothing."""
    global watcher
    with starting:      # several threads may compute
        if watcher is None and torch.get_num_threads() > 1 and waited() is not None:
            watcher = threading.Thread(target=keep_watch, name="neighbours", daemon=True)
            watcher.start()


def waited() -> float | None:
    """Total seconds until now in which threads of this process were ready to run but had no core.

    None where the system does not say. The second number of a thread's schedstat is that time in nanoseconds.
    """
    try:
        total = 0
        for task in os.listdir("/proc/self/task"):
            total += int(Path(f"/proc/self/task/{task}/schedstat").read_text(encoding="ascii").split()[1])
        return total / 1e9
    except (OSError, ValueError, IndexError):       # no Linux, or a thread that has just ended
        return None


def keep_watch() -> None:
    """The watcher's endless loop. Makes an IdleTeam when our threads lack cores, ends it when they do not."""
    team, calm_looks = None, 0
    last_waited, last_look = waited(), time.monotonic()
    while True:
        time.sleep(EVERY)
        now_waited, now = waited(), time.monotonic()
        if last_waited is not None and now_waited is not None:
            share = (now_waited - last_waited) / (now - last_look)      # seconds without a core, per second
            calm_looks = calm_looks + 1 if share < ALONE else 0
            if team is None and share > CROWDED and torch.get_num_threads() > 1:
                team = IdleTeam()
            elif team is not None and calm_looks >= CALM_LOOKS:
                team.leave()
                team = None
        last_waited, last_look = now_waited, now


class IdleTeam:
    """Threads that do nothing. While they exist, all threads of this process sleep where they would spin."""

    def __init__(self):
        self.is_over = threading.Event()
        num_threads, num_cores = torch.get_num_threads(), len(os.sched_getaffinity(0))
        num_missing = max(1, num_cores - num_threads + 1)       # libgomp has to count more than the cores
        # Each thread that computes, as `idle` does, gets num_threads - 1 helpers, which libgomp counts.
        for _ in range(math.ceil(num_missing / (num_threads - 1))):
            threading.Thread(target=self.idle, name="idle team", daemon=True).start()

    def idle(self) -> None:
        torch.ones(2**20).sum()     # long enough to be split: the team is made here
        self.is_over.wait()         # and dissolved when this thread ends

    def leave(self) -> None:
        self.is_over.set()
