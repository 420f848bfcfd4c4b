"""Command lines: a flag for each setting of config.py, numbers within ranges, hints after a typing error.

`rl.learning_rate` is --rl-learning-rate in train.py. Other commands have a few of these settings, under
shorter names, and numbers of their own.
"""

import argparse
import difflib
import sys
from collections.abc import Callable
from typing import Any

from minireason.config import Config
from minireason.settings import Setting, check, in_range, quoted, range_of, settings_of
from minireason.upkeep.command import BadInput

# What people change first: `train.py --help` lists these.
FIRST = ("preset", "seed", "algo", "pure_rl", "model.width", "base.num_examples", "rl.num_iterations",
         "rl.group_size", "rl.learning_rate", "rl.kl_coef")
# `train.py STAGE --help` lists the settings whose names begin so.
OF_STAGE = {
    "base": ("aha", "model.", "base."),
    "cold-start": ("expert", "cold_start."),
    "rl": ("algo", "pure_rl", "language_price", "tasks.", "rl.", "rl_snapshots"),
    "rejection": ("sampling.", "rejection."),
    "align": ("num_preference_prompts", "tasks.chat_share", "align."),
}
NICKNAMES = {"lr": "learning-rate", "steps": "iterations", "beta": "kl", "dim": "width"}
MAX_HINTS = 6


# -----------------------------------------------------------------------------
# Any command

class Parser(argparse.ArgumentParser):
    """An argument parser that raises BadInput where argparse would print its usage and exit.

    It accepts no abbreviated flags: argparse would replace one by a longer flag without a word.
    """

    def __init__(self, description: str, **options: Any):
        super().__init__(description=description, allow_abbrev=False, **options)

    def parse_args(self, argv: list[str] | None = None) -> argparse.Namespace:
        args, unknown = self.parse_known_args(without_traps(sys.argv[1:] if argv is None else argv))
        if unknown:
            raise BadInput(self.hint(unknown[0].partition("=")[0]))
        return args

    def error(self, message: str) -> None:
        raise BadInput(message.removeprefix("argument "))

    def hint(self, word: str) -> str:
        """What to say of a word that the command does not know."""
        if not word.startswith("-"):
            return (f"{quoted(word)} is one argument too many: is a flag missing before it, or "
                    "quotes around a text with spaces?")
        similar = similar_flags(word, list(self._option_string_actions))
        if similar:
            return f"there is no flag {word[:40]}: did you mean {any_of(similar)}?"
        return f"there is no flag {word[:40]}: --help lists them"


def without_traps(words: list[str]) -> list[str]:
    """The command line in a form that argparse reads rightly: it would take -inf and -1e-3 for flags."""
    joined = []
    for word in words:
        is_value = joined and joined[-1].startswith("--") and "=" not in joined[-1]
        if is_value and is_negative_number(word):
            joined[-1] += f"={word}"
        elif word.endswith("=--"):
            joined.append(f"{word} ")       # argparse would drop the value "--", and not check it
        else:
            joined.append(word)
    return joined


def is_negative_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return word.startswith("-")


def similar_flags(wrong: str, flags: list[str]) -> list[str]:
    """The flags that are meant by one that does not exist: "--lr" -> ["--base-learning-rate", ...].

    First those with all of its words, else those with nearly its letters.
    """
    wrong = wrong.strip("-").lower().replace("_", "-")
    if not wrong:
        return []
    words = []
    for word in wrong.split("-"):
        words += NICKNAMES.get(word, word).split("-")
    extra_words = {}        # of the flags that have all of its words
    for flag in flags:
        flag_words = flag.strip("-").split("-")
        if all(begins_one(word, flag_words) for word in words):
            extra_words[flag] = len(flag_words) - len(words)
    with_all = sorted(extra_words, key=extra_words.get)
    return with_all[:MAX_HINTS] or difflib.get_close_matches(f"--{wrong}", flags, n=3, cutoff=0.7)


def any_of(names: list[str]) -> str:
    """["a", "b", "c"] -> "a, b or c"."""
    *others, last = names
    return f"{', '.join(others)} or {last}" if others else last


def begins_one(word: str, flag_words: list[str]) -> bool:
    """Whether one of a flag's words begins with `word`."""
    return any(flag_word.startswith(word) for flag_word in flag_words)


def number(kind: type, low: float, high: float) -> Callable[[str], Any]:
    """For `add_argument(type=...)`: a function that reads an int or a float from `low` to `high`."""
    def read(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            value = None
        if not in_range(value, kind, low, high):
            raise argparse.ArgumentTypeError(f"must be {range_of(kind, low, high)}, not {quoted(text)}")
        return value
    return read


def like(name: str) -> Callable[[str], Any]:
    """For `add_argument(type=...)`: a function that reads a value of a setting, such as "rl.group_size"."""
    [setting] = [setting for setting in settings_of(Config()) if setting.name == name]
    return reader(setting)


def reader(setting: Setting) -> Callable[[str], Any]:
    """For `add_argument(type=...)`: a function that reads a value of this setting, or refuses the text."""
    kind = type(setting.get())
    if kind in (int, float):
        return number(kind, setting.metadata["low"], setting.metadata["high"])

    def read(text: str) -> str:
        if not setting.allows(text):
            raise argparse.ArgumentTypeError(f"must be {setting.allowed()}, not {quoted(text)}")
        return text
    return read


# -----------------------------------------------------------------------------
# train.py

def settings_to_show(stage: str | None) -> list[str]:
    """The names of the settings that help lists: of a stage, of "all" stages, or with None the FIRST."""
    names = [setting.name for setting in settings_of(Config())]
    if stage is None:
        return list(FIRST)
    if stage == "all":
        return names
    return [name for name in names if name.startswith(OF_STAGE[stage])]


def help_formatter(prog: str) -> argparse.HelpFormatter:
    """Keeps the line breaks of descriptions, and has room for one line a setting in 80 columns."""
    return argparse.RawDescriptionHelpFormatter(prog, max_help_position=39, width=79)


def add_flags(parser: argparse.ArgumentParser, config: Config, shown: list[str]) -> None:
    """Adds one flag for every setting. Help lists those in `shown`, with their values in `config`.

    A flag that is not given is absent from the parsed arguments. A setting that is on or off has a second
    flag, --no-NAME.
    """
    groups = {}
    for setting in settings_of(config):
        section = setting.name.rpartition(".")[0] or "the run"
        if section not in groups:
            groups[section] = parser.add_argument_group(f"settings of {section.replace('_', '-')}")
        value = setting.get()
        meaning = setting.metadata["meaning"].replace("%", "%%")        # argparse formats a help text with %
        options = {"dest": setting.name, "default": argparse.SUPPRESS}
        if isinstance(value, bool):
            meaning = f"({'on' if value else 'off'}) {meaning}"
            groups[section].add_argument(setting.flag.replace("--", "--no-", 1), action="store_false",
                                         help=argparse.SUPPRESS, **options)
            options["action"] = "store_true"
        else:
            options |= {"type": reader(setting), "metavar": str(value)}
        options["help"] = meaning if setting.name in shown else argparse.SUPPRESS
        groups[section].add_argument(setting.flag, **options)


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
