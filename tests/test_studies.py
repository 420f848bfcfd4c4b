"""The runs that lessons and studies share: made once, found again, and not blocked by a refused one."""

import json
import sys
from pathlib import Path

import pytest
from test_pretrained import SHORT
from test_train import TINY

LESSONS = Path(__file__).parent.parent / "lessons"


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """lessons/runs.py, with its folders elsewhere."""
    monkeypatch.setattr(sys, "path", [str(LESSONS), *sys.path])
    monkeypatch.delitem(sys.modules, "runs", raising=False)
    import runs
    monkeypatch.setattr(runs, "STUDIES", tmp_path / "studies")
    monkeypatch.setattr(runs, "RESULTS", tmp_path / "results")
    yield runs
    sys.modules.pop("runs")


def code_of(function, *arguments):
    with pytest.raises(SystemExit) as exit:
        function(*arguments)
    return exit.value.code


def test_a_refused_run_leaves_nothing_that_blocks_the_next(runs, capsys):
    flags = ["rl", *SHORT, "--from"]
    assert code_of(runs.ensure, "ppo-0", *flags, "nowhere") == 2
    assert not list(runs.STUDIES.iterdir())
    assert code_of(runs.ensure, "ppo-0", *flags, "nowhere-else") == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 2 and "nowhere-else has no finished stage 'base'" in errors[1]


@pytest.mark.slow
def test_flags_without_a_run_claim_nothing(runs, monkeypatch, capsys):
    """They are left by a process that was killed at its beginning, or by a reader who deletes the folder."""
    runs.STUDIES.mkdir()
    (runs.STUDIES / "a.flags.json").write_text('["rl", "--from", "elsewhere"]')
    flags = ["base", *TINY, "--base-num-examples", "8"]
    first = runs.ensure("a", *flags)
    assert list(first["stages"]) == ["base"]
    stored = json.loads((runs.STUDIES / "a.flags.json").read_text())
    assert stored == flags
    monkeypatch.setattr(runs.train, "main", None)       # found again, and not trained again
    assert runs.ensure("a", *flags) == first
    capsys.readouterr()
    assert code_of(runs.ensure, "a", *flags, "--seed", "5") == 2
    error = capsys.readouterr().err
    assert "made with other flags (base --preset smoke" in error and "delete or rename it" in error


@pytest.mark.slow
def test_ppo_and_grpo_are_compared_from_the_included_weights(runs, monkeypatch, capsys):
    """The whole study, with runs of one iteration."""
    import compare_ppo_grpo as study
    plain_main = runs.train.main

    def short_main(arguments):
        return plain_main([*arguments, *SHORT])

    monkeypatch.setattr(runs.train, "main", short_main)
    monkeypatch.setattr(runs.train.report, "write_report", lambda *_: [])      # saves half of the time
    for name in ("STUDIES", "RESULTS"):
        monkeypatch.setattr(study, name, getattr(runs, name))
    monkeypatch.setattr(study, "GRID", ("3e-4",))
    monkeypatch.setattr(study, "GRID_ITERATIONS", 1)
    monkeypatch.setattr(sys, "argv", ["compare_ppo_grpo.py", "--from", "pretrained", "--seeds", "1",
                                      "--iterations", "1"])
    study.main()
    rows = {row["name"]: row for row in json.loads((runs.RESULTS / "C5.json").read_text())["rows"]}
    assert "ppo - grpo countdown" in rows and rows["cold start, mean of the tasks"]["value"] is not None
    assert (runs.RESULTS / "C5.png").stat().st_size > 5000 and "ppo countdown" in capsys.readouterr().out
    sys.modules.pop("compare_ppo_grpo")
