"""The page of a run: every number on it comes from the saved files."""

import json
import re
import shutil

import pytest

from minireason.run import BY_STAGE
from minireason.tools import plots, report
from minireason.upkeep import metrics
from minireason.upkeep.command import Fault


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


def test_a_run_without_scores_is_told_how_to_go_on(copy, capsys):
    results = json.loads((copy / "results.json").read_text())
    for kind in BY_STAGE:
        results[kind] = {}
    (copy / "results.json").write_text(json.dumps(results))
    assert report.main([str(copy)]) == 2
    error = capsys.readouterr().err
    assert f"go on with python train.py --resume --out {copy}" in error and error.count("\n") == 1


def test_the_table_shows_what_the_results_hold(copy):
    results = json.loads((copy / "results.json").read_text())
    rows = [line for line in (copy / "report.md").read_text().splitlines() if line.startswith("| rl |")]
    accuracy = results["stages"]["rl"]["arithmetic"]["accuracy"]
    value, low, high = 100 * accuracy["value"], 100 * accuracy["low"], 100 * accuracy["high"]
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


def test_the_report_shows_whatever_tasks_the_results_have(copy):
    """Here also two tasks under names that the package does not know."""
    results = json.loads((copy / "results.json").read_text())
    for result in results["stages"].values():
        result |= {"sorting": result["countdown"], "riddles": result["program"]}
    report.write_report(copy, results)
    for name in ("report.md", "report.html"):
        text = (copy / name).read_text()
        assert "sorting level 1 (n=" in text and "riddles level 2 (n=" in text
        assert text.count("sorting") >= 2 and text.count("riddles") >= 2     # also above their behaviours
    last_result = list(results["stages"].values())[-1]
    assert report.tasks_of(last_result) == ["arithmetic", "countdown", "program", "sorting", "riddles"]


@pytest.mark.parametrize("num_tasks", range(1, 7))
def test_the_bars_of_a_stage_stand_side_by_side_around_its_middle(num_tasks):
    offsets, width = plots.bar_offsets(num_tasks)
    assert len(offsets) == num_tasks and sum(offsets) == pytest.approx(0)
    assert all(left + width < right for left, right in zip(offsets, offsets[1:]))
    assert offsets[-1] + width / 2 < 0.5, "the bars of the next stage begin here"
    if num_tasks == 3:
        assert offsets == [-0.26, 0, 0.26] and width == pytest.approx(0.24)


def test_held_out_curves_are_found_by_their_keys(tmp_path):
    lines = [{"iteration": 0, "loss": 1.0},
             {"iteration": 1, "held_out_sorting": 0.25, "held_out_arithmetic": 0.5},
             {"iteration": 2, "held_out_riddles": 0.5}]
    assert plots.held_out_tasks(lines) == ["sorting", "arithmetic", "riddles"]
    assert plots.held_out_tasks(lines[:1]) == []
    plots.plot_held_out(lines, tmp_path / "figure.png", "within rl")
    assert (tmp_path / "figure.png").stat().st_size > 2000


@pytest.mark.parametrize("line", [
    b"{}", b"[1]", b"null", b'{"iteration": "1"}', b'{"iteration": 1', b"\xff\xfe"])
def test_a_line_that_nobody_here_wrote_is_a_fault(line, tmp_path):
    (tmp_path / "metrics.jsonl").write_bytes(b'{"iteration": 0}\n' + line + b"\n")
    with pytest.raises(Fault, match="damaged"):
        metrics.read(tmp_path / "metrics.jsonl")


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
