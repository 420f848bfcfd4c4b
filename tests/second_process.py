"""A second pytest, in a process of its own, which runs some slow files beside the other tests.

What it reports is written to a file, a line of JSON for each report. The first pytest reads these lines when
its own tests are done, so both look like one run: one count, one list of failures, one exit code. Warnings of
the second are not told.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# About half of the time of all tests. None of them uses a command of BESIDE, which would run twice.
FILES = ("test_claims_rewards.py", "test_claims_scale.py", "test_distance.py", "test_faults.py",
         "test_files.py", "test_kill.py", "test_lessons.py", "test_studies.py")


def pays(config, items):
    """Whether a second process has something to do, and nothing that was asked for needs a single one."""
    options = config.option
    needs_one = options.maxfail or options.usepdb or options.trace or options.capture == "no"
    is_second = options.write_reports is not None
    if is_second or needs_one or (os.cpu_count() or 1) < 2:
        return False
    theirs = [item for item in items if item.path.name in FILES]
    return len(theirs) < len(items) and any(item.get_closest_marker("slow") for item in theirs)


class Writer:
    """A plugin of the second pytest: it writes each report to the file of --write-reports."""

    def __init__(self, config):
        self.config = config

    def pytest_runtest_logreport(self, report):
        values = self.config.hook.pytest_report_to_serializable(config=self.config, report=report)
        with open(self.config.option.write_reports, "a") as file:
            file.write(json.dumps(values) + "\n")


class SecondProcess:
    """Takes the tests of FILES out of `session.items`, and runs them."""

    def __init__(self, session):
        theirs = [item.nodeid for item in session.items if item.path.name in FILES]
        session.items[:] = [item for item in session.items if item.path.name not in FILES]
        self.config, self.waiting_for = session.config, set(theirs)
        self.place = tempfile.TemporaryDirectory()
        self.reports = Path(self.place.name) / "reports"
        self.reports.touch()
        self.log = open(Path(self.place.name) / "log", "w+")
        words = ["-m", "pytest", "--write-reports", self.reports, "--tb", self.config.option.tbstyle,
                 "-p", "no:cacheprovider", "--rootdir", self.config.rootpath, *theirs]
        self.process = subprocess.Popen([sys.executable, *words], cwd=self.config.invocation_params.dir,
                                        stdout=self.log, stderr=self.log)

    def report(self):
        """Tells what it has reported, and what it still reports until its end, as if these tests ran here.

        Raises RuntimeError if it ended without a report of each of its tests.
        """
        line, has_ended = "", False
        with open(self.reports) as file:
            while not has_ended:
                time.sleep(0.1)
                has_ended = self.process.poll() is not None     # what is read after this is all
                for part in file:
                    line += part
                    if line.endswith("\n"):
                        self.tell(json.loads(line))
                        line = ""
        if self.waiting_for:
            self.log.seek(0)
            raise RuntimeError(f"the second process ended with {self.process.returncode} before "
                               f"{len(self.waiting_for)} of its tests:\n{self.log.read()[-5000:]}")

    def tell(self, values):
        hook = self.config.hook
        report = hook.pytest_report_from_serializable(config=self.config, data=values)
        if isinstance(report.longrepr, list):       # where a test was skipped, and why: JSON has no tuples
            report.longrepr = tuple(report.longrepr)
        if report.when == "setup":
            hook.pytest_runtest_logstart(nodeid=report.nodeid, location=report.location)
        hook.pytest_runtest_logreport(report=report)
        if report.when == "teardown":
            self.waiting_for.discard(report.nodeid)
            hook.pytest_runtest_logfinish(nodeid=report.nodeid, location=report.location)

    def end(self):
        self.process.terminate()        # its fixtures end what they have started
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()
        self.place.cleanup()
