"""Every setting of a run, with its meaning and its range, and three presets.

A setting is a field of one of the dataclasses below. train.py has a flag for each, made from this file by
tools/flags.py: `learning_rate` of the section `rl` is --rl-learning-rate.
"""

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from minireason.tasks import TASKS
from minireason.tasks.task import PRESETS

PROMPT_ROOM = 100       # tokens that the longest prompt may need


def option(default: Any, meaning: str, low: float | None = None, high: float | None = None,
           above: float | None = None, choices: tuple[str, ...] = ()) -> Any:
    """A field with its default, the help of its flag, and its range: low <= value <= high, value > above."""
    metadata = dict(meaning=meaning, low=low, high=high, above=above, choices=choices)
    return dataclasses.field(default=default, metadata=metadata)


def section(factory: type, **changes: Any) -> Any:
    """A group of settings as a field. `changes` replace the defaults of its class."""
    return dataclasses.field(default_factory=lambda: factory(**changes))


def by_task(pattern: str, meaning: str, factory: Any, low: float | None = None) -> Any:
    """A field with one value for each task. `pattern` makes the names: "{}_share" gives arithmetic_share."""
    metadata = dict(pattern=pattern, meaning=meaning, low=low, high=None, above=None, choices=())
    return dataclasses.field(default_factory=factory, metadata=metadata)


@dataclass
class ModelConfig:
    vocab_size: int = option(640, "tokens; train.py sets it to the tokenizer's", low=1)
    width: int = option(128, "C: size of the residual stream", low=1)
    num_layers: int = option(4, "blocks, each attention and MLP", low=1)
    num_heads: int = option(4, "H: attention heads", low=1)
    num_kv_heads: int = option(2, "K: key-value heads, shared by the attention heads", low=1)
    mlp_width: int = option(352, "inner size of the SwiGLU, about 8/3 of the width", low=1)
    max_length: int = option(512, "positions a row may have", low=1)
    rope_theta: float = option(1000.0, "base of the rotary frequencies", above=0)
    norm_eps: float = option(1e-5, "inside the square root of RMSNorm", above=0)

    @property
    def head_size(self) -> int:
        return self.width // self.num_heads


@dataclass
class SFTConfig:
    num_examples: int = option(300, "documents to learn from; rejection takes all that it kept", low=1)
    num_epochs: int = option(1, "passes over them", low=1)
    batch_size: int = option(48, "documents per gradient step", low=1)
    micro_batch_tokens: int = option(512, "tokens per backward pass; decides memory and speed", low=1)
    learning_rate: float = option(2e-3, "highest one, after warm-up", above=0)
    warmup_steps: int = option(100, "steps of linear warm-up, at most a quarter of all", low=1)
    weight_decay: float = option(0.05, "weight decay of AdamW", low=0)
    max_grad_norm: float = option(1.0, "gradients longer than this are shortened to it", above=0)


@dataclass
class RLConfig:
    """Read by PPO and GRPO alike, so that a comparison changes nothing but --algo."""
    num_iterations: int = option(200, "rollouts, each with its updates", low=1)
    num_prompts: int = option(24, "P: problems per rollout", low=1)
    group_size: int = option(16, "G: completions per problem", low=1)
    num_epochs: int = option(2, "updates per rollout; with 1 the ratio is 1 and never clips", low=1)
    micro_batch_size: int = option(16, "completions per backward pass; decides memory and speed", low=1)
    learning_rate: float = option(2e-4, "highest one, after warm-up; much more destroys the base", above=0)
    warmup_iterations: int = option(5, "rollouts of linear warm-up", low=1)
    clip_low: float = option(0.2, "the ratio is clipped below at 1 - clip_low", low=0, high=1)
    clip_high: float = option(0.28, "and above at 1 + clip_high; more keeps exploration (DAPO)", low=0)
    kl_coef: float = option(0.0, "weight of the KL to the reference; 0 needs no reference", low=0)
    max_grad_norm: float = option(1.0, "gradients longer than this are shortened to it", above=0)
    temperature: float = option(1.0, "of sampling; logprobs use the same one", above=0)
    max_new_tokens: int = option(160, "L: longest completion", low=1)
    normalize: str = option("token", "average of the loss: per token, per sequence, by a constant",
                             choices=("token", "sequence", "constant"))
    scale_advantages: bool = option(True, "GRPO: divide by the group's deviation (Dr. GRPO does not)")
    leave_one_out: bool = option(False, "GRPO: the baseline is the mean of the other completions (RLOO)")
    gamma: float = option(1.0, "PPO: discount", low=0, high=1)
    gae_lambda: float = option(1.0, "PPO: 1 uses the full return, 0 only the next value", low=0, high=1)
    value_coef: float = option(1.0, "PPO: weight of the value loss", low=0)
    value_clip: float = option(0.2, "PPO: how far a value may move from that at the rollout", low=0)
    critic_learning_rate: float = option(5e-4, "PPO: learning rate of the critic", above=0)
    shared_critic: bool = option(False, "PPO: the critic is one layer on the policy's body")


@dataclass
class RejectionConfig:
    num_problems: int = option(9000, "problems the teacher answers", low=1)
    samples_per_problem: int = option(2, "completions of each", low=1)
    max_per_problem: int = option(2, "distinct completions kept of each", low=1)
    max_tokens: int = option(140, "longer ones are not kept", low=1)
    num_chat: int = option(4000, "conversations added", low=1)


def preset_levels(preset: str = "laptop") -> dict[str, tuple[int, ...]]:
    return {name: task.presets[preset].levels for name, task in TASKS.items()}


def preset_shares(preset: str = "laptop") -> dict[str, float]:
    return {name: task.presets[preset].share for name, task in TASKS.items()}


def preset_test_numbers(preset: str = "laptop") -> dict[str, int]:
    """Tasks with their own number of held-out problems."""
    numbers = {name: task.presets[preset].num_test_problems for name, task in TASKS.items()}
    return {name: number for name, number in numbers.items() if number is not None}


@dataclass
class TaskConfig:
    """Which tasks, and at which levels. Defaults are in the tasks' own files."""
    levels: dict[str, tuple[int, ...]] = by_task(
        "{}_levels", "levels that RL trains on and that are scored", preset_levels)
    shares: dict[str, float] = by_task(
        "{}_share", "share of RL's prompts and of the corpus; 0: not trained on", preset_shares, low=0)
    chat_share: float = option(0.60, "share of alignment's prompts; the rest are problems", low=0, high=1)

    def trained(self) -> list[str]:
        """The tasks with a share above 0. The others are only scored."""
        return [task for task in self.levels if self.shares[task] > 0]


@dataclass
class EvalConfig:
    num_problems: int = option(1000, "held-out problems per task, and chat prompts of each kind", low=1)
    num_by_task: dict[str, int] = by_task(
        "num_{}s", "held-out problems of this task", preset_test_numbers, low=1)
    max_new_tokens: int = option(160, "longest completion", low=1)
    seed: int = option(1234, "of the held-out problems and of sampling, the same for every stage")
    every: int = option(0, "steps between measurements of held-out accuracy; 0: at the end only", low=0)
    num_quick: int = option(300, "held-out problems per task, per measurement", low=1)

    def number_of(self, task: str) -> int:
        """How many held-out problems of a task are scored."""
        return self.num_by_task.get(task, self.num_problems)


# A section's values here replace the defaults of its class.
@dataclass
class Config:
    preset: str = option("laptop", "several settings at once: smoke, laptop or gpu", choices=PRESETS)
    seed: int = option(0, "of all random draws")
    algo: str = option("grpo", "grpo or ppo", choices=("grpo", "ppo"))
    pure_rl: bool = option(False, "straight from base to RL, as R1-Zero did")
    expert: bool = option(False, "cold start on examples of all levels, long ones too")
    aha: bool = option(True, "base corpus with checks, repairs and retries; without: a control")
    model: ModelConfig = section(ModelConfig)
    tasks: TaskConfig = section(TaskConfig)
    base: SFTConfig = section(SFTConfig, num_examples=160_000)
    cold_start: SFTConfig = section(
        SFTConfig, num_examples=300, num_epochs=10, learning_rate=5e-4, warmup_steps=10)
    # In the same time, using each rollout once teaches more than using half as many twice.
    rl: RLConfig = section(RLConfig, num_iterations=300, num_epochs=1, learning_rate=3e-4)
    sampling: RejectionConfig = section(RejectionConfig)
    rejection: SFTConfig = section(SFTConfig, num_epochs=3, learning_rate=1e-3, warmup_steps=20)
    align: RLConfig = section(
        RLConfig, num_iterations=100, kl_coef=0.05, learning_rate=1.5e-4, scale_advantages=False)
    num_preference_prompts: int = option(15_000, "prompts whose two answers the judge compares", low=1)
    evaluate: EvalConfig = section(EvalConfig)


def preset(name: str) -> Config:
    """The settings of a preset. Raises ValueError on an unknown one."""
    if name not in PRESETS:
        raise ValueError(f"unknown preset {name!r}: choose smoke, laptop or gpu")
    config = Config(preset=name)
    config.tasks.levels = preset_levels(name)
    config.tasks.shares = preset_shares(name)
    config.evaluate.num_by_task = preset_test_numbers(name)
    if name == "smoke":      # about half a minute: two-term sums are easy enough to learn in that time
        change(config.model, width=64, mlp_width=176, num_layers=2)
        change(config.base, num_examples=40_000, learning_rate=4e-3)
        change(config.cold_start, num_examples=96, num_epochs=2)    # just enough to show the form
        change(config.rl, num_iterations=30, num_epochs=2, learning_rate=5e-4)
        change(config.rl, num_prompts=12, max_new_tokens=40)
        change(config.align, num_iterations=8, num_prompts=12, max_new_tokens=40)
        change(config.sampling, num_problems=600, num_chat=200)
        change(config, num_preference_prompts=1000)
        change(config.evaluate, num_problems=100, max_new_tokens=60)
    if name == "gpu":        # a wider model and larger rollouts, for one GPU
        change(config.model, width=256, mlp_width=704, num_layers=6, num_heads=8)
        change(config.base, num_examples=600_000, batch_size=64)
        change(config.rl, num_prompts=64, micro_batch_size=1024, num_iterations=300)
        change(config.align, num_prompts=64, micro_batch_size=1024)
    return config


def change(settings: Any, **values: Any) -> None:
    """Sets several settings of one section."""
    for name, value in values.items():
        if not hasattr(settings, name):
            raise AttributeError(f"there is no setting {name}")
        setattr(settings, name, value)


# -----------------------------------------------------------------------------
# All settings of a config as one list: what is stored, compared, checked, and what flags are made of

@dataclass
class Setting:
    name: str           # such as "rl.learning_rate", or "tasks.arithmetic_levels"
    holder: Any         # the dataclass that has it, or the dict of a setting by task
    key: str            # its name there
    metadata: Any       # meaning and range

    def get(self) -> Any:
        """Its value; a tuple of levels as the text that a flag takes, such as "2,3"."""
        value = self.holder[self.key] if isinstance(self.holder, dict) else getattr(self.holder, self.key)
        return ",".join(map(str, value)) if isinstance(value, tuple) else value

    def set(self, value: Any) -> None:
        """Sets the value. Raises ValueError if it has the wrong type."""
        if isinstance(self.holder, dict) and isinstance(self.holder[self.key], tuple):
            self.holder[self.key] = read_levels(self.key, value)
        elif isinstance(self.holder, dict):
            self.holder[self.key] = value_like(self.get(), value, self.name)
        else:
            setattr(self.holder, self.key, value_like(self.get(), value, self.name))


def settings_of(config: Any, prefix: str = "") -> Iterator[Setting]:
    """Every setting of a config or a section, in order."""
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            yield from settings_of(value, f"{prefix}{field.name}.")
        elif isinstance(value, dict):
            for task in value:
                yield Setting(prefix + field.metadata["pattern"].format(task), value, task, field.metadata)
        else:
            yield Setting(prefix + field.name, config, field.name, field.metadata)


def read_levels(task: str, text: Any) -> tuple[int, ...]:
    """"2,3" -> (2, 3). Raises ValueError on anything but levels of the task."""
    known = TASKS[task].levels
    words = str(text).split(",")
    if not set(words) <= set(map(str, known)):
        raise ValueError(f"unknown level in {text!r} for {task}: "
                         f"give levels from {min(known)} to {max(known)} such as 2,3")
    return tuple(int(word) for word in words)


def value_like(old: Any, value: Any, name: str) -> Any:
    """The value, if it has the type of `old`. An int is accepted, and converted, if `old` is a float."""
    if isinstance(old, float) and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not type(old):
        raise ValueError(f"{name} is {type(value).__name__}, not {type(old).__name__}")
    return value


def to_dict(config: Any) -> dict:
    """All settings as plain values, a dict for each section: {"seed": 0, "rl": {"gamma": 1.0, ...}, ...}."""
    values = {}
    for setting in settings_of(config):
        section_name, _, key = setting.name.rpartition(".")
        holder = values.setdefault(section_name, {}) if section_name else values
        holder[key] = setting.get()
    return values


def from_dict(values: dict, kind: type = Config) -> Any:
    """Rebuilds a config from what `to_dict` returned.

    A setting that is missing is newer and gets its default. A task that is missing is newer and is left out.
    Raises ValueError if a setting is unknown, and names it.
    """
    config = kind()
    stored = {}
    for name, value in values.items():
        if isinstance(value, dict):
            stored |= {f"{name}.{key}": inner for key, inner in value.items()}
        else:
            stored[name] = value
    if "tasks" in values and kind is Config:
        forget_new_tasks(config, stored)
    known = {setting.name: setting for setting in settings_of(config)}
    if unknown := sorted(set(stored) - set(known)):
        raise ValueError(f"settings that this version does not know: {', '.join(unknown)}")
    for name, value in stored.items():
        known[name].set(value)
    return config


def forget_new_tasks(config: Config, stored: dict) -> None:
    """Leaves out the tasks that stored settings do not mention."""
    for task in list(config.tasks.levels):
        if f"tasks.{task}_levels" not in stored:
            del config.tasks.levels[task], config.tasks.shares[task]
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
        check_range(setting)
    shares = config.tasks.shares
    if sum(shares.values()) <= 0 or not math.isfinite(sum(shares.values())):
        raise ValueError("shares are weights of the tasks: they cannot all be zero, or add up to infinity")
    check_model(config.model)
    if config.algo == "grpo" and min(config.rl.group_size, config.align.group_size) < 2:
        raise ValueError("a group has at least 2 completions: its mean is the baseline of GRPO")
    for settings in (config.rl, config.align, config.evaluate):
        if settings.max_new_tokens + PROMPT_ROOM > config.model.max_length:
            raise ValueError("max_new_tokens leaves no room for prompts: raise model max_length")


def check_model(model: ModelConfig) -> None:
    """Raises ValueError with one line if there is no model of these sizes."""
    for setting in settings_of(model):
        check_range(setting)
    if model.width % model.num_heads or model.head_size % 2:
        raise ValueError("model width / num_heads must be an even whole number")
    if model.num_heads % model.num_kv_heads:
        raise ValueError("num_heads must be a multiple of num_kv_heads")


def check_range(setting: Setting) -> None:
    """Raises ValueError if a setting is outside its range."""
    name = setting.name.replace(".", " ")
    value = setting.get()
    limits = setting.metadata
    if limits["choices"] and value not in limits["choices"]:
        *others, last = limits["choices"]
        raise ValueError(f"unknown {setting.key} {value!r}: choose {', '.join(others)} or {last}")
    if isinstance(value, str | bool):
        return
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{name} must be finite")
    if limits["low"] is not None and value < limits["low"]:
        raise ValueError(f"{name} must be at least {limits['low']}, not {value}")
    if limits["high"] is not None and value > limits["high"]:
        raise ValueError(f"{name} must be at most {limits['high']}, not {value}")
    if limits["above"] is not None and value <= limits["above"]:
        raise ValueError(f"{name} must be above {limits['above']}, not {value}")
