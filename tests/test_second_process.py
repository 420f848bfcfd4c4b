"""Slow files run in a second pytest, beside the others: what both find is told as of one run."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import second_process
from conftest import BESIDE
from second_process import FILES

ROOT = Path(__file__).resolve().parent.parent
HERE = """
import os
def test_which_process(): open("../first", "w").write(str(os.getpid()))
"""
THERE = """
import os, pytest
@pytest.mark.slow
def test_which_process(): open("second", "w").write(str(os.getpid()))
@pytest.mark.parametrize("text", ["a", "b :: c", "\\u00e9"])
def test_of_parts(text): pass
@pytest.mark.skip(reason="a reason")
def test_skipped(): pass
def test_red(): assert 1 == 2
"""
CRASH = """
def test_that_ends_the_process(): os._exit(9)
"""


def pytest_of(folder, there, *flags):
    """Runs the tests of HERE and those of a file that the second process takes. Returns (exit code, text)."""
    for name in ("conftest.py", "second_process.py"):
        shutil.copy(ROOT / "tests" / name, folder)
    (folder / "pytest.ini").write_text("[pytest]\naddopts = --strict-markers\nmarkers = slow: takes long")
    (folder / "test_here.py").write_text(HERE)
    (folder / FILES[0]).write_text(there)
    (folder / "elsewhere").mkdir()
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *flags, ".."]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTEST_ADDOPTS": "-m ''"}
    done = subprocess.run(command, cwd=folder / "elsewhere", env=environment, text=True, capture_output=True)
    return done.returncode, done.stdout


@pytest.mark.slow
def test_two_processes_are_told_as_one_run(tmp_path):
    code, told = pytest_of(tmp_path, THERE, "-v", "-rs")
    assert code == 1 and "1 failed, 5 passed, 1 skipped" in told and "assert 1 == 2" in told
    assert "a reason" in told and "[100%]" in told
    if os.cpu_count() > 1:
        assert (tmp_path / "first").read_text() != (tmp_path / "second").read_text()


@pytest.mark.slow
@pytest.mark.skipif(os.cpu_count() == 1, reason="one core has one process")
def test_tests_that_the_second_process_did_not_come_to_have_failed(tmp_path):
    code, told = pytest_of(tmp_path, THERE + CRASH)
    assert code == 1 and "2 failed, 5 passed, 1 skipped" in told and "assert 1 == 2" in told
    assert "the second process ended with exit code 9, and this test has no result" in told


def test_what_looks_into_one_process_gets_one(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    mine = SimpleNamespace(path=Path("test_here.py"), get_closest_marker=lambda name: None)
    theirs = SimpleNamespace(path=Path(FILES[0]), get_closest_marker=lambda name: name)

    def pays(items, **options):
        usual = {"capture": "fd", "maxfail": 0}
        config = SimpleNamespace(getoption=lambda name, *_: (usual | options).get(name))
        return second_process.pays(config, items)
    assert pays([mine, theirs])
    assert not pays([mine, mine]) and not pays([theirs, theirs])
    assert not pays([mine, theirs], maxfail=1)                      # -x
    assert not pays([mine, theirs], usepdb=True)                    # --pdb
    assert not pays([mine, theirs], showlocals=True)                # -l
    assert not pays([mine, theirs], capture="no")                   # -s
    assert not pays([mine, theirs], second_process="a folder")      # it is the second itself
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    assert not pays([mine, theirs])


def test_the_files_of_the_second_process_need_no_command_of_the_first():
    for name in FILES:
        text = (ROOT / "tests" / name).read_text()
        assert not any(fixture in text for fixture in BESIDE), name
