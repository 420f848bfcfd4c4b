"""What tests share: what runs beside them, and a world with the same tasks for each test."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import second_process

import train
from minireason.tasks import TASKS

ROOT = Path(__file__).resolve().parent.parent

# a shell that starts pytest in the background lets Ctrl-C be ignored, by it and by every process of its tests
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGTERM, signal.default_int_handler)       # `kill` ends these commands, too
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


class Beside:
    """A command in a process of its own, beside the tests.

    What takes minutes of one core begins with the first test, and is done when a test asks for it.
    """

    def __init__(self, prepare):
        """prepare(folder) returns (words for Python, the folder to start in, more of the environment)."""
        self.place = tempfile.TemporaryDirectory()
        self.folder = Path(self.place.name) / "made"
        self.log = open(Path(self.place.name) / "log", "w+")
        words, start_in, environment = prepare(self.folder)
        environment = os.environ | {"OMP_NUM_THREADS": "1"} | environment
        self.process = subprocess.Popen([sys.executable, *words], cwd=start_in, env=environment,
                                        stdout=self.log, stderr=self.log)

    def finished(self):
        """(the folder that it worked in, what it said), once it has ended well."""
        code = self.process.wait()
        self.log.seek(0)
        said = self.log.read()
        assert code == 0, said[-5000:]
        return self.folder, said

    def end(self):
        self.process.kill()
        self.process.wait()
        self.log.close()
        self.place.cleanup()


def smoke(folder):
    """All five stages from random weights."""
    return ["train.py", "--preset", "smoke", "--device", "cpu", "--out", folder], ROOT, {}


def copy_with_a_task(folder):
    """The tests that look at tasks, in a copy of the repository that has one more."""
    from test_own_task import LOOK_AT_TASKS, copy_with_the_example
    copy_with_the_example(folder)
    files = [f"tests/test_{name}.py" for name in LOOK_AT_TASKS]
    words = ["-m", "pytest", "-q", "-m", "not slow", "-p", "no:cacheprovider", *files]
    return words, folder, {"PYTHONPATH": str(folder)}


BESIDE = {"smoke_run": smoke, "tests_of_a_copy": copy_with_a_task}      # fixture: what prepares its command
STARTED = pytest.StashKey[dict]()


def pytest_addoption(parser):
    parser.addoption("--second-process", metavar="FOLDER", help="only for tests/second_process.py")


@pytest.hookimpl(wrapper=True)
def pytest_runtestloop(session):
    """Starts what runs beside the tests, and at last says what the second process found."""
    options, started = session.config.option, {}
    session.config.stash[STARTED] = started
    if options.collectonly or options.setupplan or session.testsfailed:
        return (yield)
    for name, prepare in BESIDE.items():
        if any(name in item.fixturenames for item in session.items):
            started[name] = Beside(prepare)
    second = None
    if second_process.pays(session.config, session.items):
        second = started["second_process"] = second_process.SecondProcess(session)
    try:
        result = yield
    finally:
        if second:
            second.tell_new()       # after Ctrl-C, too
    if second:
        second.tell_all()
    return result


def pytest_configure(config):
    if config.getoption("second_process", None):
        config.pluginmanager.register(second_process.Writer(config))


def pytest_unconfigure(config):
    for process in config.stash.get(STARTED, {}).values():
        process.end()


@pytest.fixture(scope="session")
def smoke_run(pytestconfig):
    """The folder of `python train.py --preset smoke`."""
    folder, _ = pytestconfig.stash[STARTED]["smoke_run"].finished()
    return folder


@pytest.fixture(scope="session")
def tests_of_a_copy(pytestconfig):
    """(the copy, what pytest said of it), see `copy_with_a_task`."""
    return pytestconfig.stash[STARTED]["tests_of_a_copy"].finished()


@pytest.fixture
def no_figures(monkeypatch):
    """Runs end without a report: its figures take longer than such small trainings."""
    monkeypatch.setattr(train.report, "write_report", lambda *_: None)


@pytest.hookimpl(tryfirst=True)      # before -m "not slow" chooses
def pytest_collection_modifyitems(items):
    """Whatever needs a command of BESIDE is slow, since somebody has to run it."""
    for item in items:
        if BESIDE.keys() & set(item.fixturenames):
            item.add_marker(pytest.mark.slow)
