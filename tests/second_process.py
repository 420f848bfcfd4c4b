"""A second pytest, in a process of its own, which runs some slow files beside the other tests.

It writes what it reports to a file, a line of JSON for each report. The first pytest reads these lines when
its own tests are done. So both look like one run: one count, one list of failures, one exit code. Warnings of
the second process are not shown.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

# About half of the time of all tests. None of them uses a command of BESIDE, which would run twice.
FILES = ("test_claims_rewards.py", "test_claims_scale.py", "test_distance.py", "test_faults.py",
         "test_files.py", "test_kill.py", "test_lessons.py", "test_studies.py")
# Options that need all tests in one process, or that only one process would get.
SINGLE = ("maxfail", "stepwise", "usepdb", "trace", "pythonwarnings", "inifilename", "runxfail",
          "setupshow", "showlocals", "fulltrace", "basetemp", "second_process")


def pays(config, items):
    """Whether there is slow work for a second process, and no option that needs a single one."""
    needs_one = any(config.getoption(name, None) for name in SINGLE) or config.getoption("capture") == "no"
    if needs_one or (os.cpu_count() or 1) < 2:
        return False
    for_second = [item for item in items if item.path.name in FILES]
    return len(for_second) < len(items) and any(item.get_closest_marker("slow") for item in for_second)


class Writer:
    """A plugin of the second pytest: it runs the chosen tests, and writes each report to a file."""

    def __init__(self, config):
        self.config, self.folder, self.parent = config, Path(config.option.second_process), os.getppid()

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items):
        chosen = set(json.loads((self.folder / "chosen").read_text()))
        items[:] = [item for item in items if item.nodeid in chosen]

    def pytest_runtest_logreport(self, report):
        values = self.config.hook.pytest_report_to_serializable(config=self.config, report=report)
        with open(self.folder / "reports", "a") as file:
            file.write(json.dumps(values) + "\n")

    def pytest_runtest_logfinish(self):
        if (self.folder / "stop").exists() or os.getppid() != self.parent:
            pytest.exit("the first process has ended")


class SecondProcess:
    """Takes the tests of FILES out of `session.items`, and runs them."""

    def __init__(self, session):
        for_second = [item for item in session.items if item.path.name in FILES]
        session.items[:] = [item for item in session.items if item.path.name not in FILES]
        self.config = session.config
        self.missing = {item.nodeid: item.location for item in for_second}      # tests without a result
        self.place = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        folder = Path(self.place.name)
        (folder / "chosen").write_text(json.dumps(list(self.missing)))
        (folder / "reports").touch()
        self.stop_file = folder / "stop"
        self.reports, self.line = open(folder / "reports"), ""
        self.log = open(folder / "log", "w+", errors="replace")
        files = dict.fromkeys(str(item.path) for item in for_second)
        command = [sys.executable, "-m", "pytest", "--second-process", folder, "-p", "no:cacheprovider",
                   "--rootdir", self.config.rootpath, "--tb", self.config.option.tbstyle,
                   "--verbosity", str(self.config.option.verbose), *files]
        self.process = subprocess.Popen(command, cwd=self.config.rootpath, stdout=self.log, stderr=self.log,
                                        env=os.environ | {"PYTEST_ADDOPTS": ""})

    def tell_new(self):
        """Tells what it has reported since the last time, as if these tests ran here."""
        for part in self.reports:
            self.line += part
            if self.line.endswith("\n"):        # else the other process is still writing it
                self.tell(json.loads(self.line))
                self.line = ""

    def tell_all(self):
        """Waits for its end. A test without a result has failed. Raises RuntimeError if all have one, but the
        process ended as if it had crashed."""
        has_ended = False
        while not has_ended:
            time.sleep(0.1)
            has_ended = self.process.poll() is not None     # what is read after this is all
            self.tell_new()
        self.log.seek(0)
        reason = f"the second process ended with exit code {self.process.returncode}"
        if not self.missing and self.process.returncode not in (0, 1):
            raise RuntimeError(f"{reason}:\n{self.log.read()[-5000:]}")
        for nodeid, location in self.missing.items():
            text = f"{reason}, and this test has no result\n{self.log.read()[-5000:]}"      # the log once
            report = pytest.TestReport(nodeid, location, {}, "failed", text, "call")
            self.config.hook.pytest_runtest_logreport(report=report)

    def tell(self, values):
        hook = self.config.hook
        report = hook.pytest_report_from_serializable(config=self.config, data=values)
        if isinstance(report.longrepr, list):       # where a test was skipped, and why: JSON has no tuples
            report.longrepr = tuple(report.longrepr)
        if report.when == "setup":
            hook.pytest_runtest_logstart(nodeid=report.nodeid, location=report.location)
        hook.pytest_runtest_logreport(report=report)
        if report.when == "teardown":
            self.missing.pop(report.nodeid)
            hook.pytest_runtest_logfinish(nodeid=report.nodeid, location=report.location)

    def end(self):
        """Ends the process: first it may end by itself, as after Ctrl-C, then its fixtures may clean up."""
        self.stop_file.touch()
        for ask, seconds in ((lambda: None, 2), (self.process.terminate, 10), (self.process.kill, None)):
            if self.process.poll() is None:
                ask()
                wait(self.process, seconds)
        self.reports.close()
        self.log.close()
        self.place.cleanup()


def wait(process, seconds):
    """Waits so many seconds for the end of a process, or until it ends."""
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        pass
