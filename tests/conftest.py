"""What tests share: one smoke run, made once, and a world with the same tasks for each test."""

import signal

import pytest

import train
from minireason.tasks import TASKS

# a shell that starts pytest in the background lets Ctrl-C be ignored, by it and by every process of its tests
signal.signal(signal.SIGINT, signal.default_int_handler)
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


@pytest.fixture(scope="session")
def smoke_run(tmp_path_factory):
    """`python train.py --preset smoke`, all five stages from random weights. Returns its folder."""
    folder = tmp_path_factory.mktemp("runs") / "smoke"
    assert train.main(["--preset", "smoke", "--device", "cpu", "--out", str(folder)]) == 0
    return folder


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
