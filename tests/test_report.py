"""The page of a run: every number on it comes from the saved files."""

import json
import re
import shutil

import pytest

from minireason.tools import plots, report
from minireason.upkeep import metrics


@pytest.fixture
def copy(smoke_run, tmp_path):
    shutil.copytree(smoke_run, tmp_path / "run")
    return tmp_path / "run"


def test_the_page_is_made_again_from_the_saved_numbers_alone(copy):
    page = (copy / "report.md").read_bytes()
    for path in [copy / "report.md", *copy.glob("*.png"), *copy.glob("*/checkpoint.pt")]:
        path.unlink()
    written = report.write_report(copy, json.loads((copy / "results.json").read_text()))
    assert (copy / "report.md").read_bytes() == page
    assert all(path.stat().st_size > 2000 for path in written)


def test_the_table_shows_what_the_results_hold(copy):
    results = json.loads((copy / "results.json").read_text())
    rows = [line for line in (copy / "report.md").read_text().splitlines() if line.startswith("| rl |")]
    accuracy = results["stages"]["rl"]["arithmetic"]["accuracy"]
    value, low, high = (100 * accuracy[name] for name in ("value", "low", "high"))
    assert f"{value:.1f} [{low:.1f}, {high:.1f}]" in rows[0]


def test_every_figure_on_the_page_is_there(copy):
    figures = re.findall(r"!\[\]\(([^)]+)\)", (copy / "report.md").read_text())
    assert {"stages.png", "rl.png", "align.png"} <= set(figures)
    assert all((copy / name).exists() for name in figures)


def test_what_a_model_wrote_cannot_break_the_page(copy):
    results = json.loads((copy / "results.json").read_text())
    results["stages"]["rl"]["arithmetic"]["samples"] = [
        {"prompt": "compute 1+1", "completion": "```\n# not a heading\x1b[2J", "correct": False}]
    report.write_report(copy, results)
    text = (copy / "report.md").read_text()
    assert "\n# not a heading" not in text and "\x1b" not in text
    assert text.count("\n```") % 2 == 0


def test_a_running_mean_by_hand():
    assert plots.smooth([1.0, 3.0, 5.0, 9.0], window=2) == [1.0, 2.0, 4.0, 7.0]


def test_a_line_that_was_half_written_is_not_read(tmp_path):
    path = tmp_path / "metrics.jsonl"
    assert metrics.read(path) == []
    for i in range(3):
        metrics.append(path, {"iteration": i, "loss": 0.5})
    with open(path, "a") as file:
        file.write('{"iteration": 3, "lo')
    assert [line["iteration"] for line in metrics.read(path)] == [0, 1, 2]
    metrics.truncate(path, 2)
    assert [line["iteration"] for line in metrics.read(path)] == [0, 1]
    metrics.append(path, {"iteration": 2})
    assert path.read_text().count("\n") == 3
