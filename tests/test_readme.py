"""What the README shows exists: its files, its commands, its figures and its metrics."""

import inspect
import re
from pathlib import Path

import pytest
from helpers import SHIPPED

import sample
import train
from minireason.tasks import TASKS

ROOT = Path(train.__file__).parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_file_it_names_is_there():
    named = set(re.findall(r"`((?:minireason|lessons|tests)/[\w./-]*|[\w-]+\.py)`", README))
    assert len(named) > 15
    for name in named:
        inside = [ROOT / "minireason" / name, *(ROOT / "minireason").glob(f"*/{name}")]
        assert any(path.exists() for path in [ROOT / name, *inside]), name


def test_every_module_is_in_the_reading_order_or_called_upkeep():
    for path in (ROOT / "minireason").glob("*.py"):
        assert path.name == "__init__.py" or re.search(rf"`(minireason/)?{path.name}`", README), path.name


def test_the_reading_order_says_how_long_each_file_is():
    """Within a tenth, so that mending a line does not break it. A task of somebody's own does not count."""
    added = [Path(inspect.getfile(TASKS[task].check)) for task in TASKS.keys() - set(SHIPPED)]
    rows = re.findall(r"^\| ((?:`[\w./]+`(?:, )?)+) \| ([\d, ]+) \|", README, re.MULTILINE)
    assert len(rows) > 15
    for names, counts in rows:
        for name, count in zip(re.findall("`([^`]+)`", names), counts.split(", "), strict=True):
            files = (ROOT / name).glob("*.py") if (ROOT / name).is_dir() else [ROOT / name]
            lines = sum(len(path.read_text(encoding="utf-8").splitlines())
                        for path in files if path not in added)
            assert abs(lines - int(count)) <= 0.1 * lines, f"{name} has {lines} lines"


def test_every_figure_is_there():
    figures = re.findall(r"!\[[^]]*\]\(([^)]+)\)", README)
    assert figures and all((ROOT / figure).stat().st_size > 2000 for figure in figures)


def test_the_two_commands_are_those_that_ci_runs():
    assert "pip install -r requirements.txt && python train.py" in README
    test_command = "pip install -r requirements.txt && python -m pytest"
    assert test_command in README and test_command in (ROOT / ".ci" / "run").read_text()


def commands(script):
    found = re.findall(rf"python {script}((?: +(?:\"[^\"]*\"|(?!#)[\w./=-]+))*)", README)
    shown = [re.findall(r'"[^"]*"|[^ ]+', arguments) for arguments in found]
    return [arguments for arguments in shown if "--help" not in arguments]      # it prints and exits


@pytest.mark.parametrize("arguments", commands("train.py"), ids=" ".join)
def test_train_knows_the_flags_that_are_shown(arguments):
    train.parse(arguments)


@pytest.mark.parametrize("arguments", commands("sample.py"), ids=" ".join)
def test_sample_knows_the_prompts_and_flags_that_are_shown(arguments):
    args = sample.parse([argument.strip('"') for argument in arguments])
    if args.problem is not None:
        sample.read_prompt(args.problem)


def test_there_are_such_commands():
    assert len(commands("train.py")) >= 4 and len(commands("sample.py")) >= 4


def test_nothing_was_left_to_fill_in():
    assert "@@" not in README and "TODO" not in README
