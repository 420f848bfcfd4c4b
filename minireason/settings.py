"""All settings of a config as one list: what is stored, compared, checked, and what flags are made of.

config.py says which settings there are.
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from minireason.config import PROMPT_ROOM, Config, ModelConfig, RLConfig, preset
from minireason.tasks import TASKS


@dataclass
class Setting:
    name: str           # such as "rl.learning_rate", or "tasks.arithmetic_levels"
    holder: Any         # the dataclass that has it, or the dict of a setting by task
    key: str            # its name there
    metadata: Any       # meaning and range

    @property
    def flag(self) -> str:
        return "--" + self.name.replace(".", "-").replace("_", "-")

    def get(self) -> Any:
        """Its value; a tuple of levels as the text that a flag takes, such as "2,3"."""
        value = self.holder[self.key] if isinstance(self.holder, dict) else getattr(self.holder, self.key)
        return ",".join(map(str, value)) if isinstance(value, tuple) else value

    def set(self, value: Any) -> None:
        """Sets the value. Raises ValueError if it has the wrong type or is outside of its range."""
        self.check(value)
        if self.is_levels():
            self.holder[self.key] = tuple(int(level) for level in value.split(","))
            return
        value = type(self.get())(value)         # an int becomes a float where the setting is one
        if isinstance(self.holder, dict):
            self.holder[self.key] = value
        else:
            setattr(self.holder, self.key, value)

    def check(self, value: Any) -> None:
        """Raises ValueError with one line if the setting cannot have this value."""
        if not self.allows(value):
            raise ValueError(f"{self.flag} must be {self.allowed()}, not {quoted(value)}")

    def is_levels(self) -> bool:
        """Whether the value is a task's tuple of levels, such as that of tasks.arithmetic_levels."""
        return isinstance(self.holder, dict) and isinstance(self.holder[self.key], tuple)

    def allows(self, value: Any) -> bool:
        kind = type(self.get())
        if self.is_levels():
            return isinstance(value, str) and set(value.split(",")) <= set(map(str, TASKS[self.key].levels))
        if self.metadata["choices"]:
            return value in self.metadata["choices"]
        if kind is bool:
            return isinstance(value, bool)
        return in_range(value, kind, self.metadata["low"], self.metadata["high"])

    def allowed(self) -> str:
        """Its range in words, such as "a whole number from 1 to 4096"."""
        if self.is_levels():
            levels = TASKS[self.key].levels
            return f"levels from {min(levels)} to {max(levels)}, such as 1 or 1,2"
        if self.metadata["choices"]:
            *others, last = self.metadata["choices"]
            return f"{', '.join(others)} or {last}"
        if isinstance(self.get(), bool):
            return "true or false"
        return range_of(type(self.get()), self.metadata["low"], self.metadata["high"])


def in_range(value: Any, kind: type, low: float, high: float) -> bool:
    """Whether a value is a number from low to high: a whole one if `kind` is int."""
    is_number = isinstance(value, (int, kind)) and not isinstance(value, bool)
    return is_number and low <= value <= high           # NaN is in no range


def range_of(kind: type, low: float, high: float) -> str:
    return f"{'a whole number' if kind is int else 'a number'} from {low} to {high}"


def quoted(value: Any) -> str:
    """The beginning of a value for an error message: what was typed may be endless."""
    return f"{value!r:.40}"


def settings_of(config: Any, prefix: str = "") -> Iterator[Setting]:
    """Every setting of a config or a section, in order. `prefix` begins their names, such as "rl."."""
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            yield from settings_of(value, f"{prefix}{field.name}.")
        elif isinstance(value, dict):
            for task in value:
                yield Setting(prefix + field.metadata["pattern"].format(task), value, task, field.metadata)
        else:
            yield Setting(prefix + field.name, config, field.name, field.metadata)


def to_dict(config: Any) -> dict:
    """All settings as plain values, a dict for each section: {"seed": 0, "rl": {"gamma": 1.0, ...}, ...}."""
    values = {}
    for setting in settings_of(config):
        section_name, _, key = setting.name.rpartition(".")
        holder = values.setdefault(section_name, {}) if section_name else values
        holder[key] = setting.get()
    return values


def from_dict(values: dict, kind: type = Config, skip_unknown: bool = False) -> Any:
    """Rebuilds a config from what `to_dict` returned.

    `values` may come from an older version. A setting that they lack gets its default, so a default has to be
    what happened before. A task that they lack is left out.
    Raises ValueError if a setting is unknown, and names it, unless unknown ones are to be skipped.
    """
    config = kind()
    stored = {}
    for name, value in values.items():
        if dataclasses.is_dataclass(getattr(config, name, None)) and isinstance(value, dict):
            stored |= {f"{name}.{key}": inner for key, inner in value.items()}
        else:
            stored[name] = value
    if "tasks" in values and kind is Config:
        forget_new_tasks(config, stored)
    known = {setting.name: setting for setting in settings_of(config)}
    unknown = sorted(set(stored) - set(known))
    if unknown and not skip_unknown:
        raise ValueError(f"settings that this version does not know: {', '.join(unknown)[:200]}")
    for name, setting in known.items():
        if name in stored:
            setting.set(stored[name])
    return config


def forget_new_tasks(config: Config, stored: dict) -> None:
    """Removes from `config` the tasks, and their numbers of problems, that an older run did not have.

    `stored` is {name of a setting: value}, such as {"tasks.countdown_levels": "2,3", ...}.
    """
    for task in list(config.tasks.levels):
        if f"tasks.{task}_levels" not in stored:
            del config.tasks.levels[task], config.tasks.shares[task]
        if f"evaluate.num_{task}s" not in stored:
            config.evaluate.num_by_task.pop(task, None)


def changed_settings(old: Config, new: Config) -> list[str]:
    """Names of the settings of `old` that differ in `new`, such as rl.learning_rate."""
    before = {setting.name: setting.get() for setting in settings_of(old)}
    after = {setting.name: setting.get() for setting in settings_of(new)}
    return [name for name in before if before[name] != after.get(name)]


# -----------------------------------------------------------------------------
# Checks, before anything is written

def check(config: Config) -> None:
    """Raises ValueError with one line if the settings cannot work."""
    for setting in settings_of(config):
        setting.check(setting.get())
    if not config.tasks.trained():
        flags = " ".join(f"--tasks-{task}-share" for task in config.tasks.shares)
        raise ValueError(f"{flags}: they cannot all be 0")
    check_model(config.model)
    for name, settings in (("rl", config.rl), ("align", config.align)):
        if config.algo == "grpo" and settings.group_size < 2 and not settings.batch_baseline:
            raise ValueError(f"--{name}-group-size must be at least 2 with --algo grpo: the mean of a group "
                             f"is the baseline (--{name}-batch-baseline takes the mean of all instead)")
        if settings.batch_baseline and settings.group_size * settings.num_prompts < 2:
            raise ValueError(f"--{name}-batch-baseline needs at least 2 completions: "
                             f"add --{name}-num-prompts 2")
    longest = config.model.max_length - PROMPT_ROOM
    for name, settings in (("rl", config.rl), ("align", config.align), ("evaluate", config.evaluate)):
        if settings.max_new_tokens > longest:
            raise ValueError(f"--{name}-max-new-tokens {settings.max_new_tokens} leaves no room for prompts: "
                             f"at most {longest}, or raise --model-max-length")


def check_variants(config: Config) -> None:
    """Raises ValueError if two settings of RL exclude each other, if one has no effect without another, or if
    one is of the other algorithm.

    Only a new run is checked: an older one that has such settings can still be opened.
    """
    for stage in ("rl", "align"):
        settings = getattr(config, stage)
        other = "ppo" if config.algo == "grpo" else "grpo"
        if flag := flag_of(other, stage, config):
            raise ValueError(f"{flag} is for {other.upper()} and not for {config.algo.upper()}: "
                             f"leave it out, or choose --algo {other}")
        if contradiction := find_contradiction(f"--{stage}", settings):
            raise ValueError(contradiction)


def flag_of(algo: str, stage: str, config: Config) -> str:
    """The first flag of a stage that is for `algo` alone and has not the preset's value; "" if none is."""
    usual = {setting.name: setting.get() for setting in settings_of(getattr(preset(config.preset), stage))}
    for setting in settings_of(getattr(config, stage)):
        value = setting.get()
        if value == usual[setting.name] or not setting.metadata["meaning"].startswith(f"{algo.upper()}:"):
            continue
        flag = f"{stage}-{setting.name}".replace("_", "-")
        if isinstance(value, bool):
            return f"--{flag}" if value else f"--no-{flag}"
        return f"--{flag} {value}"
    return ""


def find_contradiction(prefix: str, settings: RLConfig) -> str:
    """The first contradiction among the variants in one line, "" if there is none.

    Flags begin with `prefix`.
    """
    kl_flag = ""        # the flag that chooses how the KL enters, if one was given
    if settings.kl_in_reward:
        kl_flag = f"{prefix}-kl-in-reward"
    elif settings.kl_estimator != "k3":
        kl_flag = f"{prefix}-kl-estimator {settings.kl_estimator}"
    baseline, refills = f"{prefix}-batch-baseline", f"{prefix}-max-refills {settings.max_refills}"

    if settings.objective != "clip" and settings.num_epochs == 1:
        return (f"{prefix}-objective {settings.objective} needs {prefix}-num-epochs 2 or more: "
                "with one update per rollout every ratio is 1, and all objectives are the same")
    if kl_flag and not settings.kl_coef:
        return f"{kl_flag} has no effect without a KL: give {prefix}-kl-coef, or leave it out"
    if settings.batch_baseline and settings.leave_one_out:
        return f"{baseline} and {prefix}-leave-one-out are two baselines: choose one"
    if settings.batch_baseline and settings.max_refills:
        return (f"{baseline} learns from a group with equal rewards too, and {refills} would replace it: "
                "choose one")
    if settings.overlong_penalty and settings.overlong_buffer > settings.max_new_tokens:
        return (f"{prefix}-overlong-buffer {settings.overlong_buffer} is more than a completion has: "
                f"at most {prefix}-max-new-tokens {settings.max_new_tokens}")
    return ""


def check_model(model: ModelConfig) -> None:
    """Raises ValueError with one line if these sizes, each within its range, do not fit each other."""
    if model.width % model.num_heads or model.head_size % 2:
        raise ValueError("--model-width / --model-num-heads must be an even whole number, "
                         f"not {model.width} / {model.num_heads}")
    if model.num_heads % model.num_kv_heads:
        raise ValueError("--model-num-heads must be a multiple of --model-num-kv-heads, "
                         f"not {model.num_heads} with {model.num_kv_heads}")
