"""The flags of train.py, one for each setting of config.py: `rl.learning_rate` is --rl-learning-rate."""

import argparse
from typing import Any

from minireason.config import Config, check, settings_of


def add_flags(parser: argparse.ArgumentParser, config: Config) -> None:
    """Adds one flag for every setting. A flag that is not given leaves no trace in the parsed arguments."""
    for setting in settings_of(config):
        flag = "--" + setting.name.replace(".", "-").replace("_", "-")
        meaning = setting.metadata["meaning"].replace("%", "%%")
        options = {"type": type(setting.get())}
        if isinstance(setting.get(), bool):
            options = {"action": argparse.BooleanOptionalAction}
        parser.add_argument(flag, dest=setting.name, default=argparse.SUPPRESS, help=meaning, **options)


def apply_flags(config: Config, given: dict[str, Any]) -> Config:
    """Sets what was given on the command line, and checks all settings. Raises ValueError.

    `given` is such as {"seed": 1, "rl.learning_rate": 1e-4}.
    """
    known = {setting.name: setting for setting in settings_of(config)}
    for name, value in given.items():
        known[name].set(value)
    check(config)
    return config
