"""Figures are drawn whatever matplotlib backend a process inherits, and without pyplot."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from minireason.tools import plots
from minireason.tools.plots import new_figure

ROOT = Path(__file__).parent.parent
NOT_INSTALLED = "a-backend-of-another-environment"
DRAW = """import os, sys
sys.path.insert(0, sys.argv[1])
from minireason.tools.plots import new_figure
figure, axes = new_figure(figsize=(2, 2))
figure.savefig("figure.png")
import matplotlib
print(os.environ["MPLBACKEND"], "matplotlib.pyplot" in sys.modules, matplotlib.get_backend(auto_select=False))
"""


def run(arguments, folder, backend):
    done = subprocess.run([sys.executable, *map(str, arguments)], cwd=folder, capture_output=True, text=True,
                          env=os.environ | {"MPLBACKEND": backend}, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("backend, left", [(NOT_INSTALLED, "None"), ("svg", "svg")])
def test_figures_are_drawn_whatever_backend_is_inherited(backend, left, tmp_path):
    """Without pyplot, so no window opens. A backend that can be used stays the caller's choice."""
    assert run(["-c", DRAW, ROOT], tmp_path, backend).split() == [backend, "False", left]
    assert (tmp_path / "figure.png").stat().st_size > 500


@pytest.mark.slow
def test_a_command_draws_with_the_backend_of_a_notebook(tmp_path):
    command = ["-m", "minireason.memory", "--model", "7B", "--plot", tmp_path / "memory.png"]
    run(command, ROOT, NOT_INSTALLED)
    assert (tmp_path / "memory.png").stat().st_size > 2000


def test_no_file_of_ours_chooses_a_backend_or_uses_pyplot():
    never = re.compile(r"import matplotlib\.pyplot|matplotlib import pyplot|matplotlib\.use")
    for path in [*(ROOT / "minireason").rglob("*.py"), *(ROOT / "lessons").glob("*.py"), *ROOT.glob("*.py")]:
        assert not never.search(path.read_text(encoding="utf-8")), path


@pytest.fixture
def drawn(monkeypatch):
    """Every (figure, axes) that plots.py makes."""
    figures = []

    def kept_figure(*shape, **settings):
        figures.append(new_figure(*shape, **settings))
        return figures[-1]

    monkeypatch.setattr(plots, "new_figure", kept_figure)
    return figures


def texts_of(axes):
    return {text.get_text(): text.get_position()[1] for text in axes.texts}


def test_the_number_of_a_low_bar_stands_above_its_interval(drawn, tmp_path):
    rates = {"rl": {"sums": {"accuracy": {"value": 0.2, "low": 0.05, "high": 0.6, "num_problems": 9}}},
             "align": {"sums": {"accuracy": {"value": 0.8, "low": 0.7, "high": 0.9, "num_problems": 9}}},
             "base": {"sums": {"accuracy": {"value": 0.0, "low": 0.0, "high": 0.3, "num_problems": 9}}}}
    plots.plot_stages(rates, ["sums"], tmp_path / "stages.png")
    [(_, axes)] = drawn
    heights = texts_of(axes)
    assert heights["20"] > 60 and heights["0"] > 30     # their intervals end there
    assert heights["80"] < 10                           # inside of its bar


def test_steps_are_whole_numbers_on_the_axis(drawn, tmp_path):
    lines = [{"iteration": i, "reward": i / 3, "held_out_sums": i / 3} for i in range(3)]
    plots.plot_curves(lines, tmp_path / "rl.png", "rl")
    plots.plot_held_out(lines, tmp_path / "held-out.png", "rl")
    plots.plot_groups({"rl: reward": [[([1, 2, 3], [0, 1, 2])]]}, ["A"], tmp_path / "comparison.png")
    for _, axes in drawn:
        first = axes.flat[0] if hasattr(axes, "flat") else axes
        assert all(tick == int(tick) for tick in first.get_xticks())
