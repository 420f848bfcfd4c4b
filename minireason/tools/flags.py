"""The flags of train.py, one for each setting of config.py: `rl.learning_rate` is --rl-learning-rate."""

import argparse
from typing import Any

from minireason.config import Config, check, settings_of


def add_flags(parser: argparse.ArgumentParser, config: Config) -> None:
    """Adds one flag for every setting. Flags are grouped by section.

    A flag that is not given is absent from the parsed arguments.
    """
    groups = {}
    for setting in settings_of(config):
        section = setting.name.rpartition(".")[0] or "the run"
        if section not in groups:
            groups[section] = parser.add_argument_group(f"settings of {section}")
        flag = "--" + setting.name.replace(".", "-").replace("_", "-")
        value = setting.get()
        meaning = f"{setting.metadata['meaning']} ({value})".replace("%", "%%")
        if isinstance(value, bool):
            options = {"action": argparse.BooleanOptionalAction}
        else:
            options = {"type": type(value), "metavar": type(value).__name__.upper()}
        groups[section].add_argument(
            flag, dest=setting.name, default=argparse.SUPPRESS, help=meaning, **options)


def apply_flags(config: Config, given: dict[str, Any]) -> Config:
    """Sets what was given on the command line, and checks all settings. Raises ValueError on a bad value.

    Example of `given`: {"seed": 1, "rl.learning_rate": 1e-4}.
    """
    known = {setting.name: setting for setting in settings_of(config)}
    for name, value in given.items():
        if name not in known:
            raise ValueError(f"this run has no setting {name}: its task was added after the run was begun")
        known[name].set(value)
    check(config)
    return config
