"""Reads what `evaluate` returned: means over tasks, and the table of stages for a report or the screen."""

from minireason.tasks import TASKS


def averaged_tasks(result: dict) -> list[str]:
    """The tasks in a stage's result that count in means over tasks: those with Task.averaged."""
    return [name for name, task in TASKS.items() if task.averaged and name in result]


def mean_of_reasoning(result: dict, name: str) -> float | None:
    """Mean of result[task][name] over the averaged tasks where it is not None; None if there are none."""
    known = [result[task][name] for task in averaged_tasks(result) if result[task][name] is not None]
    return sum(known) / len(known) if known else None


def tasks_of(result: dict) -> list[str]:
    """The tasks on which a stage was scored. `result` is what `evaluate` returned for the stage."""
    return [name for name in result if name != "chat"]


def percent(value: dict | float | None) -> str:
    """A share as a cell of a table, with its interval where it has one."""
    if value is None:
        return "-"
    if isinstance(value, dict):
        return f"{100 * value['value']:.1f} [{100 * value['low']:.1f}, {100 * value['high']:.1f}]"
    return f"{100 * value:.1f}"


# The last columns of the stage table, behind one for each task. `cells_of` returns their cells in this order.
OTHER_TITLES = ("well formed %", "mixing %", "tokens", "leaks %", "over-refusals %")


def table(rows: dict[str, dict]) -> list[str]:
    """The stage table as lines of Markdown. `rows` is {stage: what `evaluate` returned}."""
    first_result = list(rows.values())[0]
    tasks = tasks_of(first_result)          # all stages were scored on the same tasks
    titles = ["stage", *(f"{task} %" for task in tasks), *OTHER_TITLES]
    lines = [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
    for stage, result in rows.items():
        lines.append(f"| {' | '.join([stage, *cells_of(result, tasks)])} |")
    return lines


def screen_table(rows: dict[str, dict]) -> list[str]:
    """The same table for a terminal of 80 columns: a column for each stage, a line for each number.

    Intervals are shown only if there is a single stage.
    """
    [first, *others] = rows.values()
    tasks = tasks_of(first)
    names = [*(f"{task[:18]} %" for task in tasks), *OTHER_TITLES]
    columns = [cells_of(result, tasks) for result in rows.values()]
    width = 11 if others else 22
    lines = [f"{'':20}" + "".join(f"{stage:>{width}}" for stage in rows)]
    for i, name in enumerate(names):
        cells = [column[i] for column in columns]
        if others:
            cells = [cell.partition(" ")[0] for cell in cells]      # without the interval
        lines.append(f"{name:20}" + "".join(f"{cell:>{width}}" for cell in cells))
    return lines


def cells_of(result: dict, tasks: list[str]) -> list[str]:
    """The cells of one stage in the stage table: the accuracy of each task, then those of OTHER_TITLES."""
    cells = [percent(result[task]["accuracy"]) for task in tasks]
    cells.append(percent(mean_of_reasoning(result, "well_formed")))
    cells.append(percent(mean_of_reasoning(result, "mixing")))
    tokens = mean_of_reasoning(result, "tokens")
    cells.append("-" if tokens is None else f"{tokens:.0f}")
    cells.append(percent(result["chat"]["leaks"]))
    cells.append(percent(result["chat"]["over_refusals"]))
    return cells


def one_line(stage: str, result: dict) -> str:
    """How good a stage is, in a few words: `rl: arithmetic 88.3%, countdown 67.6%`."""
    accuracies = []
    for task in tasks_of(result):
        accuracies.append(f"{task} {100 * result[task]['accuracy']['value']:.1f}%")
    return f"{stage}: {', '.join(accuracies)}"
