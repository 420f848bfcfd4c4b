"""What tests share: one smoke run, made once, and a world with the same tasks for each test."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import train
from minireason.tasks import TASKS

ROOT = Path(__file__).resolve().parent.parent

# a shell that starts pytest in the background lets Ctrl-C be ignored, by it and by every process of its tests
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGTERM, signal.default_int_handler)       # `kill` ends the smoke run, too
# nohup does so with SIGHUP; what has a handler here is not ignored by the processes of the tests
if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda *_: None)


@pytest.fixture(autouse=True)
def tasks_as_before():
    """Takes out again what a test registered, such as the task of lesson 17."""
    before = dict(TASKS)
    yield
    TASKS.clear()
    TASKS.update(before)


class SmokeRun:
    """`python train.py --preset smoke`, all five stages from random weights, in a process of its own.

    It takes minutes of one core. So it begins with the first test, and is done when a test asks for it.
    """

    def __init__(self):
        self.place = tempfile.TemporaryDirectory()
        self.folder = Path(self.place.name) / "smoke"
        self.log = open(Path(self.place.name) / "log", "w+")
        command = [sys.executable, "train.py", "--preset", "smoke", "--device", "cpu", "--out", self.folder]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=self.log, stderr=self.log,
                                        env=os.environ | {"OMP_NUM_THREADS": "1"})

    def finished(self):
        """Its folder, once it is done."""
        code = self.process.wait()
        self.log.seek(0)
        assert code == 0, self.log.read()
        return self.folder

    def end(self):
        self.process.kill()
        self.process.wait()
        self.log.close()
        self.place.cleanup()


SMOKE_RUN = pytest.StashKey[SmokeRun]()


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session):
    options = session.config.option
    needs_it = any("smoke_run" in item.fixturenames for item in session.items)
    if needs_it and not (options.collectonly or options.setupplan or session.testsfailed):
        session.config.stash[SMOKE_RUN] = SmokeRun()


def pytest_unconfigure(config):
    if SMOKE_RUN in config.stash:
        config.stash[SMOKE_RUN].end()


@pytest.fixture(scope="session")
def smoke_run(pytestconfig):
    """The folder of `SmokeRun`."""
    return pytestconfig.stash[SMOKE_RUN].finished()


@pytest.fixture
def no_figures(monkeypatch):
    """Runs end without a report: its figures take longer than such small trainings."""
    monkeypatch.setattr(train.report, "write_report", lambda *_: None)


@pytest.hookimpl(tryfirst=True)      # before -m "not slow" chooses
def pytest_collection_modifyitems(items):
    """Whatever looks at the smoke run is slow, since somebody has to make it."""
    for item in items:
        if "smoke_run" in item.fixturenames:
            item.add_marker(pytest.mark.slow)
