"""Several runs side by side: which are averaged, which are compared, and which are refused."""

import functools
import json
import random
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers import NO_DISTRIBUTIONS, SHIPPED

from minireason.config import Config
from minireason.run import WEIGHTS
from minireason.settings import to_dict
from minireason.stats import bootstrap_interval
from minireason.tools import compare, plots, report
from minireason.upkeep import metrics

TASKS = ("arithmetic", "countdown", "program")
STAGES = ("base", "rl")


FEW = functools.partial(bootstrap_interval, num_resamples=50)


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch):
    """2,000 for each number would take seconds."""
    monkeypatch.setattr(compare, "bootstrap_interval", FEW)


def store(folder, seed=0, outcomes=None, stages=STAGES, **changes):
    """A run's folder with results and curves, without models. `outcomes` are those of every stage and task.

    A change such as rl_learning_rate=0.1 sets a setting.
    """
    config = Config(seed=seed)
    for name, value in changes.items():
        section, _, key = name.partition("_")
        if hasattr(getattr(config, section, None), key):
            setattr(getattr(config, section), key, value)
        else:
            setattr(config, name, value)
    rng = random.Random(f"{folder.name} {seed}")
    rate = {"value": 0.25, "low": 0.2, "high": 0.3, "num_problems": 40}
    results = {"command": f"python train.py --out {folder}", "config": to_dict(config), "stages": {},
               "seconds": dict.fromkeys(stages, 1.0), "iterations": {}, "ran with": {}, "notes": {}}
    for stage in stages:
        scores = {}
        for task in TASKS:
            bits = outcomes or "".join(rng.choice("01") for _ in range(40))
            scores[task] = {"accuracy": rate | {"num_problems": len(bits)}, "outcomes": bits, "mixing": 0.5,
                            "well_formed": 1.0, "tokens": 9.0, "levels": {}, "samples": [],
                            "distributions": NO_DISTRIBUTIONS}
        results["stages"][stage] = scores | {"chat": {"leaks": rate, "over_refusals": rate, "samples": []}}
        (folder / stage).mkdir(parents=True)
        for step in range(12):
            reward = 0.5 if stage == "base" else rng.random()
            metrics.append(folder / stage / "metrics.jsonl", {"iteration": step, "reward": reward})
    (folder / "results.json").write_text(json.dumps(results))
    return str(folder)


@pytest.fixture
def pairs(tmp_path):
    """Two seeds each of GRPO and PPO."""
    folders = []
    for algo in ("grpo", "ppo"):
        for seed in (0, 1):
            folders.append(store(tmp_path / f"{algo}-{seed}", seed, algo=algo))
    return folders


def printed(capsys, *arguments):
    """What the command prints; it has to fit a terminal of 80 columns."""
    assert report.main(list(map(str, arguments))) == 0
    text = capsys.readouterr().out
    paths = "|".join(re.escape(str(Path(name).parent)) for name in arguments)
    for line in text.splitlines():
        assert len(re.sub(rf"({paths})/", "", line)) <= 80, line
    return text


def refused(capsys, *arguments):
    """The one line of a refusal."""
    assert report.main(list(map(str, arguments))) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1
    return captured.err


def read(folder):
    return json.loads((Path(folder) / "results.json").read_text())


# -----------------------------------------------------------------------------
# Averages and comparisons

def test_runs_that_differ_in_the_seed_alone_are_averaged(pairs, capsys):
    text = printed(capsys, *pairs[:2])
    solved = "".join(read(folder)["stages"]["rl"]["countdown"]["outcomes"] for folder in pairs[:2])
    assert re.search(rf"^rl countdown +{100 * solved.count('1') / 80:.1f} \[", text, re.MULTILINE)
    assert "rl - base countdown" in text and "differs in" not in text
    assert not Path(pairs[0]).with_name("comparison.png").exists()


def test_how_often_a_run_looks_at_held_out_problems_makes_no_other_recipe(tmp_path, capsys):
    folders = [store(tmp_path / "a", 0), store(tmp_path / "b", 1, evaluate_every=10)]
    assert "differs in" not in printed(capsys, *folders)


def test_seeds_of_one_recipe_are_compared_with_those_of_another(pairs, tmp_path, capsys):
    """Whatever their order. The mean of the paired differences is that of the differences, problem by
    problem."""
    given = [pairs[0], pairs[3], pairs[1], pairs[2]]
    numbers = tmp_path / "numbers.json"
    text = printed(capsys, *given, "--json", numbers)
    assert re.search(r"^algo +grpo +ppo$", text, re.MULTILINE)
    stored = json.loads(numbers.read_text())
    assert stored["groups"] == {"A": pairs[:2], "B": pairs[2:]} and stored["seeds"] == [0, 1]
    rows = {row["name"]: row for row in stored["rows"]}
    bits = [[int(bit) for bit in read(folder)["stages"]["rl"]["program"]["outcomes"]] for folder in pairs]
    row = rows["B - A rl program"]
    assert row["value"] == pytest.approx((sum(bits[2] + bits[3]) - sum(bits[0] + bits[1])) / 80)
    assert (row["value"], row["low"], row["high"]) == pytest.approx(FEW(bits[2:], bits[:2]))
    assert rows["A rl program"]["value"] == pytest.approx(sum(bits[0] + bits[1]) / 80)
    assert rows["A rl well formed"]["value"] == 1.0
    assert f"{100 * row['value']:+.1f} [{100 * row['low']:+.1f}, {100 * row['high']:+.1f}]" in text


def test_the_differences_are_paired_by_seed(tmp_path, capsys):
    """The second recipe does as the first with each seed: no chance is left in the difference."""
    folders = []
    for algo in ("grpo", "ppo"):
        folders.append(store(tmp_path / f"{algo}-7", 7, "1" * 40, algo=algo))
        folders.append(store(tmp_path / f"{algo}-8", 8, "0" * 40, algo=algo))
    for order in ([0, 1, 2, 3], [0, 1, 3, 2]):
        text = printed(capsys, *(folders[number] for number in order))
        assert re.search(r"^ countdown +50.0 \[0.0, 100.0\] +50.0 \[0.0, 100.0\] +\+0.0 \[\+0.0, \+0.0\]$",
                         text, re.MULTILINE)


def test_a_third_recipe_is_compared_with_the_first(pairs, tmp_path, capsys):
    third = [store(tmp_path / f"fast-{seed}", seed, rl_learning_rate=0.1) for seed in (0, 1)]
    text = printed(capsys, *pairs, *third)
    assert "B - A" in text and "C - A" in text and "C - B" not in text
    assert re.search(r"^rl.learning_rate +0.0003 +0.1$", text, re.MULTILINE)


def test_the_widest_numbers_fit_eighty_columns(tmp_path, capsys):
    worst = [store(tmp_path / "a", 0, "1" * 40), store(tmp_path / "b", 0, "0" * 40, algo="ppo")]
    text = printed(capsys, *worst)
    assert "-100.0 [-100.0, -100.0]" in text and "one seed each" in text


def test_seconds_are_compared_where_a_stage_was_trained_in_both(tmp_path, capsys):
    folders = [store(tmp_path / "a", 0), store(tmp_path / "b", 0, algo="ppo")]
    for folder, seconds in zip(folders, (40.0, 100.0)):
        results = read(folder)
        results["seconds"] = {"base": 500.0, "rl": seconds}      # the base was copied from one run
        (Path(folder) / "results.json").write_text(json.dumps(results))
    text = printed(capsys, *folders)
    assert re.search(r"^ rl +40 +100 +2\.5$", text, re.MULTILINE)
    of_seconds = text[text.index("seconds"):]
    assert not re.search("^ base ", of_seconds, re.MULTILINE)
    assert "B / A" in text
    results["device"] = "cuda"
    (Path(folders[1]) / "results.json").write_text(json.dumps(results))
    assert "B / A" not in printed(capsys, *folders)


def test_where_the_runs_began_is_said_if_it_differs(tmp_path, capsys):
    folders = [store(tmp_path / "a", 0), store(tmp_path / "b", 0, algo="ppo")]
    assert "started from" not in printed(capsys, *folders)
    results = read(folders[1])
    results["notes"]["started from"] = "base, cold-start of pretrained"
    (tmp_path / "b" / "results.json").write_text(json.dumps(results))
    text = printed(capsys, *folders)
    assert "A  seed 0 started from random weights" in text
    assert "B  seed 0 started from base, cold-start of pretrained" in text


# -----------------------------------------------------------------------------
# The curves

def test_the_curves_are_the_numbers_of_metrics_and_copied_stages_are_left_out(pairs):
    groups = compare.group_runs(pairs, [read(folder) for folder in pairs])
    panels = compare.curves_of(groups, ["base", "rl"])
    assert list(panels) == ["rl: reward"]                # the base's curve is one and the same
    for group, folders in zip(panels["rl: reward"], (pairs[:2], pairs[2:])):
        for (steps, values), folder in zip(group, folders):
            lines = metrics.read(Path(folder) / "rl" / "metrics.jsonl")
            assert steps == list(range(1, 13))
            assert values == plots.smooth([line["reward"] for line in lines])
    assert compare.label(groups[1], groups) == "B: algo ppo"


def test_held_out_scores_are_drawn_as_they_were_measured():
    lines = [{"iteration": step, plots.HELD_OUT + "arithmetic": step / 10} for step in range(10)]
    [(steps, values)] = compare.curves([lines], plots.HELD_OUT + "arithmetic")
    assert steps == list(range(1, 11)) and values == [step / 10 for step in range(10)]


def test_the_axis_says_which_curves_are_means(tmp_path, monkeypatch):
    """Titles as `curves_of` makes them: the stage stands before the metric."""
    grids, new_figure = [], plots.new_figure

    def watched(*arguments, **settings):
        figure, grid = new_figure(*arguments, **settings)
        grids.append(grid)
        return figure, grid

    monkeypatch.setattr(plots, "new_figure", watched)
    lines = [{"iteration": step, "reward": 0.5, plots.HELD_OUT + "countdown": step / 2} for step in range(2)]
    for folder, reward in (("a", 0.5), ("b", 0.6)):
        (tmp_path / folder / "rl").mkdir(parents=True)
        text = "".join(json.dumps(line | {"reward": reward}) + "\n" for line in lines)
        (tmp_path / folder / "rl" / "metrics.jsonl").write_text(text)
    groups = [SimpleNamespace(folders=[tmp_path / folder]) for folder in ("a", "b")]
    panels = compare.curves_of(groups, ["rl"])
    plots.plot_groups(panels, ["A", "B"], tmp_path / "curves.png")
    labels = {title: axis.get_xlabel() for title, axis in zip(panels, grids[0].flat)}
    assert labels.pop("rl: held-out countdown") == "step"
    assert labels and set(labels.values()) == {f"step (means of the last {plots.WINDOW})"}


def test_the_mean_of_a_group_is_over_runs_at_the_same_step():
    """An iteration without signal writes no entropy, so one run's third number may be of its fifth step."""
    drawn = []
    axes = SimpleNamespace(plot=lambda x, y, **style: drawn.append((list(x), list(y))))
    plots.draw_group(axes, [([1, 2, 3, 4], [1, 2, 3, 4]), ([3, 4], [3, 4])], "black")
    assert drawn[-1] == ([3, 4], [3, 4])


def test_stages_that_both_copied_are_named_and_not_subtracted(pairs, capsys):
    """Here the base has equal scores in both runs, and the other stages have not."""
    read = [json.loads((Path(folder) / "results.json").read_text()) for folder in (pairs[0], pairs[2])]
    read[1]["stages"]["base"] = read[0]["stages"]["base"]
    (Path(pairs[2]) / "results.json").write_text(json.dumps(read[1]))
    lines = printed(capsys, pairs[0], pairs[2]).splitlines()
    assert "equal in both: base" in lines and "base" not in lines
    others = [stage for stage in read[0]["stages"] if stage != "base"]
    assert others and all(stage in lines for stage in others)


def test_the_figure_lies_beside_the_first_run_or_where_it_is_wanted(pairs, tmp_path, capsys):
    text = printed(capsys, pairs[0], pairs[2])
    assert f"curves: {tmp_path / 'comparison.png'}" in text
    assert (tmp_path / "comparison.png").stat().st_size > 5000
    (tmp_path / "comparison.png").unlink()
    printed(capsys, pairs[0], pairs[2], "--figure", tmp_path / "elsewhere.png")
    assert (tmp_path / "elsewhere.png").exists() and not (tmp_path / "comparison.png").exists()


# -----------------------------------------------------------------------------
# Refusals

def test_the_same_run_twice_is_refused(pairs, tmp_path, capsys):
    """Also through a link, another spelling, or a copy."""
    (tmp_path / "link").symlink_to(pairs[0])
    shutil.copytree(pairs[0], tmp_path / "copy")
    for again in (pairs[0], tmp_path / "link", tmp_path / "link" / ".." / "grpo-0"):
        assert "give each run once" in refused(capsys, *pairs, again)
    assert "same seed 0: give one of them" in refused(capsys, *pairs, tmp_path / "copy")


def test_other_seeds_are_no_pair(pairs, capsys):
    error = refused(capsys, pairs[0], pairs[3])
    assert "algo" in error and "their seeds are 0 and 1" in error
    assert "their seeds are 0, 1 and 0" in refused(capsys, *pairs[:3])


OTHER_LEVELS = {"arithmetic": (2, 3), "countdown": (1,), "program": (2, 3, 4)}


@pytest.mark.parametrize("name, changes", [
    ("evaluate.seed", {"evaluate_seed": 5}), ("evaluate.num_problems", {"evaluate_num_problems": 5}),
    ("tasks.countdown_levels", {"tasks_levels": OTHER_LEVELS}),
])
def test_runs_that_were_scored_on_other_problems_are_refused(pairs, tmp_path, capsys, name, changes):
    other = store(tmp_path / "other", 0, algo="ppo", **changes)
    error = refused(capsys, pairs[0], other)
    assert "different problems" in error and error.rstrip().endswith(name)


def test_runs_without_a_common_stage_are_refused(tmp_path, capsys):
    folders = [store(tmp_path / "a", 0, stages=("base",)), store(tmp_path / "b", 1, stages=("rl",))]
    assert "no stage" in refused(capsys, *folders)


def test_what_is_for_several_runs_is_refused_for_one(pairs, capsys):
    assert "for several runs" in refused(capsys, pairs[0], "--json", "numbers.json")
    assert "there is no nowhere/results.json" in refused(capsys, pairs[0], "nowhere")


# -----------------------------------------------------------------------------
# The included weights

def test_the_scores_of_the_included_weights_are_shown_and_nothing_is_written(capsys):
    before = sorted(WEIGHTS.rglob("*"))
    text = printed(capsys, "pretrained")
    results = json.loads((WEIGHTS / "results.json").read_text())
    for stage, result in results["stages"].items():
        rates = [result[name]["accuracy"] for name in SHIPPED]
        for rate in [*rates, result["chat"]["leaks"], result["chat"]["over_refusals"]]:
            interval = f"{100 * rate['value']:.1f} [{100 * rate['low']:.1f}, {100 * rate['high']:.1f}]"
            assert re.search(rf"^{stage} .*{re.escape(interval)}", text, re.MULTILINE)
    assert sorted(WEIGHTS.rglob("*")) == before


def test_the_included_weights_cannot_be_compared(pairs, capsys):
    assert "but not compared" in refused(capsys, "pretrained", pairs[0])
