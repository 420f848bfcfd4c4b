"""Several runs: means over their seeds, and the differences between groups of them.

    python -m minireason.report runs/ppo-0 runs/ppo-1 runs/grpo-0 runs/grpo-1

Runs that differ in nothing but the seed are one group. One group is averaged. If there are more, each is
compared with the first: seed by seed and problem by problem, since the runs answered the same problems.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minireason.run import blame, scored_on
from minireason.settings import from_dict, settings_of
from minireason.stats import bootstrap_interval
from minireason.tokenizer import printable
from minireason.tools import plots
from minireason.tools.scores import mean_of_reasoning, tasks_of
from minireason.upkeep import metrics
from minireason.upkeep.command import BadInput

# Later stage, earlier stage: what the later one changed.
DIFFERENCES = (
    ("rl", "base"), ("rl", "cold-start"), ("rejection", "rl"), ("align", "rejection"), ("align", "rl"))
# Settings that change neither what is trained nor the scores at the end of a stage.
NOT_COMPARED = ("seed", "evaluate.every", "evaluate.num_quick")
CURVES = {"loss": "loss", **plots.CURVES}


def shared_stages(runs: list[dict]) -> list[str]:
    """The stages that were scored in every run. `runs` are the contents of their results.json."""
    stages = list(runs[0]["stages"])
    for run in runs[1:]:
        stages = [stage for stage in stages if stage in run["stages"]]
    return stages


def outcomes(runs: list[dict], stage: str, task: str) -> list[list[int]]:
    """1 for each problem that a run solved, 0 for each that it did not: (runs, problems)."""
    rows = []
    for run in runs:
        bits = run["stages"][stage][task]["outcomes"]      # such as "0110"
        rows.append([int(bit) for bit in bits])
    return rows


def other_rates(results: list[dict]) -> dict[str, list[float]]:
    """{name: [value of each run]} for the rates that are stored without the single answers.

    `results` holds what each run scored at one stage.
    """
    return {
        "well formed": [mean_of_reasoning(result, "well_formed") or 0.0 for result in results],
        "mixing": [mean_of_reasoning(result, "mixing") or 0.0 for result in results],
        "leaks": [result["chat"]["leaks"]["value"] for result in results],
        "over-refusals": [result["chat"]["over_refusals"]["value"] for result in results],
    }


def interval_row(name: str, value: float, low: float | None, high: float | None) -> dict:
    return {"name": name, "value": value, "low": low, "high": high}


# -----------------------------------------------------------------------------
# Groups of runs

@dataclass
class Group:
    """Runs that differ in nothing but the seed, in the order of their seeds."""
    letter: str                    # its name: A, B ...
    folders: list[str]
    runs: list[dict]               # the contents of their results.json
    settings: dict[str, Any]       # such as {"rl.learning_rate": 0.0003}, without those of NOT_COMPARED

    def seeds(self) -> list[int]:
        return [run["config"]["seed"] for run in self.runs]


def compared_settings(folder: str, run: dict) -> dict[str, Any]:
    """{name: value} of all settings but NOT_COMPARED. Raises CheckpointError if a setting is unknown."""
    with blame(Path(folder) / "results.json"):
        config = from_dict(run["config"])
    return {setting.name: setting.get() for setting in settings_of(config)
            if setting.name not in NOT_COMPARED}


def differing_settings(first: Group, second: Group) -> list[str]:
    """The names of the settings in which two groups differ."""
    names = list(first.settings) + [name for name in second.settings if name not in first.settings]
    return [name for name in names if first.settings.get(name) != second.settings.get(name)]


def group_runs(folders: list[str], runs: list[dict]) -> list[Group]:
    """Puts runs with the same settings into one group. Raises BadInput if they cannot be compared."""
    groups = []
    for folder, run in sorted(zip(folders, runs), key=lambda pair: pair[1]["config"]["seed"]):
        settings = compared_settings(folder, run)
        same = [group for group in groups if group.settings == settings]
        if same:
            same[0].folders.append(folder)
            same[0].runs.append(run)
        else:
            letter = chr(ord("A") + len(groups))
            groups.append(Group(letter, [folder], [run], settings))
    check_given_once(folders, groups)
    for group in groups[1:]:
        check_pairs(groups[0], group)
    if not shared_stages(all_runs(groups)):
        raise BadInput("no stage was scored in all of these runs")
    return groups


def check_given_once(folders: list[str], groups: list[Group]) -> None:
    """Raises BadInput if a run was given twice: by a link or another spelling, or as a copy."""
    places = [Path(folder).resolve() for folder in folders]
    for number, place in enumerate(places):
        if place in places[:number]:
            first = folders[places.index(place)]
            raise BadInput(f"{first} and {folders[number]} are one run: give each run once")
    for group in groups:
        seeds = group.seeds()       # sorted, so that equal seeds stand side by side
        for number in range(1, len(seeds)):
            if seeds[number] == seeds[number - 1]:
                raise BadInput(f"{group.folders[number - 1]} and {group.folders[number]} have the same "
                               f"settings and the same seed {seeds[number]}: give one of them")


def check_pairs(first: Group, second: Group) -> None:
    """Raises BadInput if the runs of two groups cannot be paired, seed by seed and problem by problem."""
    both, differing = f"{first.folders[0]} and {second.folders[0]}", differing_settings(first, second)
    if scored_on(first.runs[0]["config"]) != scored_on(second.runs[0]["config"]):
        about_problems = [name for name in differing
                          if name.startswith("evaluate.") or name.endswith("_levels")]
        raise BadInput(f"{both} were scored on different problems and cannot be compared: they differ in "
                       f"{', '.join(about_problems)}")
    if first.seeds() != second.seeds():
        raise BadInput(f"{both} differ in {', '.join(differing[:4])}, and their seeds are "
                       f"{numbers(first.seeds())} and {numbers(second.seeds())}: "
                       "give both with the same seeds")


def all_runs(groups: list[Group]) -> list[dict]:
    """The results of all runs of all groups."""
    runs = []
    for group in groups:
        runs += group.runs
    return runs


def numbers(values: list[int]) -> str:
    """[0, 1, 2] -> "0, 1, 2"."""
    return ", ".join(str(value) for value in values)


# -----------------------------------------------------------------------------
# One group: means over seeds

def over_seeds(runs: list[dict]) -> list[dict]:
    """Means over runs by stage and task, and the differences that a stage makes.

    `runs` are the contents of their results.json. All runs are scored on the same held-out problems, so the
    intervals come from a paired bootstrap over problems and runs. Raises ValueError if the problems differ.

    Returns rows {"name", "value", "low", "high"}.
    """
    for run in runs:
        if scored_on(run["config"]) != scored_on(runs[0]["config"]):
            raise ValueError("these runs were scored on different problems and cannot be put together")
    rows = []
    for stage in shared_stages(runs):
        results = [run["stages"][stage] for run in runs]
        for task in tasks_of(results[0]):
            rows.append(interval_row(f"{stage} {task}", *bootstrap_interval(outcomes(runs, stage, task))))
        for name, values in other_rates(results).items():
            rows.append(interval_row(f"{stage} {name} (mean, lowest, highest run)",
                                     sum(values) / len(values), min(values), max(values)))
    for later, earlier in DIFFERENCES:
        if later not in shared_stages(runs) or earlier not in shared_stages(runs):
            continue
        for task in tasks_of(runs[0]["stages"][later]):
            interval = bootstrap_interval(outcomes(runs, later, task), outcomes(runs, earlier, task))
            rows.append(interval_row(f"{later} - {earlier} {task}", *interval))
    return rows


def means_as_text(rows: list[dict]) -> list[str]:
    """The rows of `over_seeds` in percent, for a terminal of 80 columns."""
    lines = []
    for row in rows:
        value, low, high = 100 * row["value"], 100 * row["low"], 100 * row["high"]
        lines.append(f"{row['name']:55} {value:6.1f} [{low:6.1f}, {high:6.1f}]")
    return lines


# -----------------------------------------------------------------------------
# Two groups: paired differences

def differences(first: Group, second: Group, stages: list[str]) -> list[dict]:
    """What each group reached, and the second less the first, by stage and task.

    Returns rows {"stage", "of", "first", "second", "difference"}. Each of the last three is (value, low,
    high), from a bootstrap over problems and seeds. The difference is paired: both groups get the same
    draws. For a rate that is stored without the single answers, low and high are None.
    """
    rows = []
    for stage in stages:
        for task in tasks_of(first.runs[0]["stages"][stage]):
            first_solved = outcomes(first.runs, stage, task)
            second_solved = outcomes(second.runs, stage, task)
            rows.append({
                "stage": stage, "of": task,
                "first": bootstrap_interval(first_solved), "second": bootstrap_interval(second_solved),
                "difference": bootstrap_interval(second_solved, first_solved)})
        first_rates = other_rates([run["stages"][stage] for run in first.runs])
        second_rates = other_rates([run["stages"][stage] for run in second.runs])
        for name in first_rates:
            first_mean = sum(first_rates[name]) / len(first_rates[name])
            second_mean = sum(second_rates[name]) / len(second_rates[name])
            rows.append({
                "stage": stage, "of": name, "first": (first_mean, None, None),
                "second": (second_mean, None, None), "difference": (second_mean - first_mean, None, None)})
    return rows


def as_rows(rows: list[dict], first: Group, second: Group) -> list[dict]:
    """Turns rows of `differences` into rows {"name", "value", "low", "high"}, as results are stored."""
    columns = {"first": first.letter, "second": second.letter,
               "difference": f"{second.letter} - {first.letter}"}
    named = []
    for row in rows:
        for column, title in columns.items():
            named.append(interval_row(f"{title} {row['stage']} {row['of']}", *row[column]))
    return named


def groups_as_text(groups: list[Group]) -> list[str]:
    """Lines that say which run is in which group: "A  seed 0  runs/ppo-0"."""
    lines = []
    for group in groups:
        for folder, seed in zip(group.folders, group.seeds()):
            lines.append(f"{group.letter}  seed {seed}  {printable(folder)}")
    return lines


def settings_as_text(first: Group, second: Group) -> list[str]:
    """The settings in which two groups differ, and where their runs started if that differs too."""
    lines = [f"{'differs in':32} {first.letter:23} {second.letter}".rstrip()]
    for name in differing_settings(first, second):
        values = [str(group.settings.get(name, "-")) for group in (first, second)]
        lines.append(f"{name:32} {values[0]:23} {values[1]}")
    for run, other in zip(first.runs, second.runs):
        starts = [each["notes"].get("started from", "random weights") for each in (run, other)]
        if starts[0] != starts[1]:
            seed = run["config"]["seed"]
            lines.append(f"{first.letter}  seed {seed} started from {printable(starts[0])}")
            lines.append(f"{second.letter}  seed {seed} started from {printable(starts[1])}")
    return lines


def differences_as_text(rows: list[dict], first: Group, second: Group) -> list[str]:
    """The rows of `differences` in percent, for a terminal of 80 columns."""
    difference = f"{second.letter} - {first.letter}"
    lines, stage = [f"{'%':15}{first.letter:21}{second.letter:21}{difference}"], None
    for row in rows:
        if row["stage"] != stage:
            stage = row["stage"]
            lines.append(stage)
        cells = percent(*row["first"]), percent(*row["second"]), percent(*row["difference"], sign="+")
        lines.append(f" {row['of']:13} {cells[0]:20} {cells[1]:20} {cells[2]}")
    return lines


def equal_stages(first: Group, second: Group, stages: list[str]) -> list[str]:
    """The stages whose scores are equal in both groups, since both copied them from one run.

    Empty if all stages are equal: then that is what there is to show.
    """
    equal = []
    for stage in stages:
        scores_of_first = [run["stages"][stage] for run in first.runs]
        if scores_of_first == [run["stages"][stage] for run in second.runs]:
            equal.append(stage)
    return equal if len(equal) < len(stages) else []


def seconds_as_text(first: Group, second: Group, stages: list[str]) -> list[str]:
    """How long training took on average, for each stage that was not copied from one run; without what was
    sampled for scores. Seconds of several devices are not compared: then nothing is said."""
    if len({run.get("device") for run in (*first.runs, *second.runs)}) > 1:
        return []
    lines = []
    for stage in stages:
        of_first, of_second = mean_seconds(first, stage), mean_seconds(second, stage)
        if of_first and of_second and of_first != of_second:
            lines.append(f" {stage:13} {of_first:<20.0f} {of_second:<20.0f} {of_second / of_first:.1f}")
    title = f"{'seconds':15}{first.letter:21}{second.letter:21}{second.letter} / {first.letter}"
    return [title, *lines] if lines else []


def mean_seconds(group: Group, stage: str) -> float:
    """Seconds of training of a stage, a mean over the group's runs; 0 where a run does not know."""
    seconds = [run["seconds"].get(stage, 0.0) for run in group.runs]
    return sum(seconds) / len(seconds) if all(seconds) else 0.0


def percent(value: float, low: float | None, high: float | None, sign: str = "") -> str:
    """A share in percent with its interval; `sign` "+" shows the sign of numbers above 0."""
    text = f"{100 * value:{sign}.1f}"
    return text if low is None else f"{text} [{100 * low:{sign}.1f}, {100 * high:{sign}.1f}]"


# -----------------------------------------------------------------------------
# Curves of all groups in one figure

def label(group: Group, groups: list[Group]) -> str:
    """A group's name in the legend, such as "B: algo ppo": at most two settings in which it differs."""
    names = []
    for other in groups:
        names += [name for name in differing_settings(group, other) if name not in names]
    values = [f"{name} {group.settings.get(name, '-')}" for name in names[:2]]
    return f"{group.letter}: {', '.join(values)}"


def curves_of(groups: list[Group], stages: list[str]) -> dict[str, list[list[plots.Curve]]]:
    """{title of a panel: a list for each group, with a curve (steps, values) for each of its runs}.

    A stage with the same numbers in all runs was copied from one run, and is left out.
    """
    panels = {}
    for stage in stages:
        groups_lines, all_lines = [], []       # the metrics.jsonl of each run: by group, and in one list
        for group in groups:
            lines = [metrics.read(Path(folder) / stage / "metrics.jsonl") for folder in group.folders]
            groups_lines.append(lines)
            all_lines += lines
        if all(lines == all_lines[0] for lines in all_lines):
            continue
        titles = dict(CURVES)
        for lines in all_lines:
            titles |= {plots.HELD_OUT + task: plots.HELD_OUT_TITLE + task
                       for task in plots.held_out_tasks(lines)}
        for key, title in titles.items():
            if any(plots.has_curve(lines, key) for lines in all_lines):
                panels[f"{stage}: {title}"] = [curves(lines, key) for lines in groups_lines]
    return panels


def curves(lines_of_runs: list[list[dict]], key: str) -> list[plots.Curve]:
    """The curve (steps, values) of a metric in each run that has it. All but held-out scores are smoothed."""
    curves_of_runs = []
    for lines in lines_of_runs:
        measured = [line for line in lines if key in line]
        if measured:
            steps = [line["iteration"] + 1 for line in measured]
            values = [line[key] for line in measured]
            if not key.startswith(plots.HELD_OUT):      # a metric of one small rollout jumps
                values = plots.smooth(values)
            curves_of_runs.append((steps, values))
    return curves_of_runs


def compare(groups: list[Group], figure: Path) -> tuple[list[str], list[dict]]:
    """Compares each group with the first, and draws the curves of all into `figure`.

    Returns (the lines to print, rows {"name", "value", "low", "high"}).
    """
    first, stages = groups[0], shared_stages(all_runs(groups))
    lines, rows = groups_as_text(groups), []
    for group in groups[1:]:
        paired = differences(first, group, stages)
        rows += as_rows(paired, first, group)
        copied = equal_stages(first, group, stages)
        shown = [row for row in paired if row["stage"] not in copied]
        lines += ["", *settings_as_text(first, group), "", *differences_as_text(shown, first, group)]
        if copied:
            lines.append(f"equal in both: {', '.join(copied)}")
        lines += seconds_as_text(first, group, stages)
    lines += ["", "[low, high]: 95%, paired bootstrap over problems and seeds"]
    if len(first.runs) == 1:
        lines.append("one seed each: the chance of training itself is not in these intervals")
    panels = curves_of(groups, stages)
    if panels:
        plots.plot_groups(panels, [label(group, groups) for group in groups], figure)
        lines.append(f"curves: {printable(str(figure))} (bumps that all share come from the problems drawn)")
    return lines, rows
