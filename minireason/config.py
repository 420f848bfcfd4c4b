"""Every setting of a run, with its meaning and its range, and three presets.

A setting is a field of one of the dataclasses below. train.py has a flag for each, made from this file by
tools/flags.py: `learning_rate` of the section `rl` is --rl-learning-rate.
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from minireason.tasks import TASKS
from minireason.tasks.task import PRESETS

PROMPT_ROOM = 100       # tokens that the longest prompt may need
MAX_SEED = 2**63 - 1


def option(default: Any, meaning: str, low: float | None = None, high: float | None = None,
           choices: tuple[str, ...] = ()) -> Any:
    """A field with its default, the help of its flag, and its range: low <= value <= high."""
    longest = 34 if isinstance(default, bool) else 40
    if len(meaning) > longest:
        raise ValueError(f"{meaning!r} has {len(meaning)} characters: at most {longest}")
    metadata = dict(meaning=meaning, low=low, high=high, choices=choices)
    return dataclasses.field(default=default, metadata=metadata)


def section(factory: type, **changes: Any) -> Any:
    """A group of settings as a field. `changes` replace the defaults of its class."""
    return dataclasses.field(default_factory=lambda: factory(**changes))


def by_task(pattern: str, meaning: str, factory: Any, low: float | None = None,
            high: float | None = None) -> Any:
    """A field that holds {task: value}; `factory()` returns its default.

    `pattern` names the setting of each task: "{}_share" gives arithmetic_share.
    """
    metadata = dict(pattern=pattern, meaning=meaning, low=low, high=high, choices=())
    return dataclasses.field(default_factory=factory, metadata=metadata)


# A setting is   name: type = option(default, "meaning", lowest, highest).   `train.py all --help` shows it on
# one line, so a meaning has at most 40 characters, and 34 where the setting is on or off. If it begins with
# "GRPO:" or "PPO:", the other algorithm refuses the flag.

@dataclass
class ModelConfig:
    vocab_size: int = option(640, "tokens; train.py sets it", 1, 1_000_000)
    width: int = option(128, "C: size of the residual stream", 1, 16_384)
    num_layers: int = option(4, "blocks, each attention and MLP", 1, 256)
    num_heads: int = option(4, "H: attention heads", 1, 256)
    num_kv_heads: int = option(2, "K: key-value heads that the heads share", 1, 256)
    mlp_width: int = option(352, "SwiGLU's inner size, about 8/3 of width", 1, 65_536)
    max_length: int = option(512, "positions a row may have", 1, 65_536)
    rope_theta: float = option(1000.0, "base of the rotary frequencies", 1, 1e9)
    norm_eps: float = option(1e-5, "inside the square root of RMSNorm", 1e-12, 1)

    @property
    def head_size(self) -> int:
        return self.width // self.num_heads


@dataclass
class SFTConfig:
    num_examples: int = option(300, "documents; no effect in rejection", 1, 5_000_000)
    num_epochs: int = option(1, "passes over them", 1, 1000)
    batch_size: int = option(48, "documents per gradient step", 1, 100_000)
    micro_batch_tokens: int = option(512, "tokens per backward pass: memory, speed", 1, 10_000_000)
    learning_rate: float = option(2e-3, "the highest one, after warm-up", 1e-9, 10)
    warmup_steps: int = option(100, "linear warm-up, at most a quarter of all", 1, 1_000_000)
    weight_decay: float = option(0.05, "of AdamW", 0, 10)
    max_grad_norm: float = option(1.0, "longer gradients are shortened to it", 1e-6, 1e6)
    max_gap: int = option(0, "positions from prompt to text; 0: none", 0, 65_536)   # sft.draw_gaps


@dataclass
class RLConfig:
    """Read by PPO and GRPO alike, so that a comparison changes nothing but --algo.

    Config.rl and Config.align replace some of these defaults: the stage rl makes one update per rollout.
    """
    num_iterations: int = option(200, "rollouts, each with its updates", 1, 1_000_000)
    num_prompts: int = option(24, "P: problems per rollout", 1, 10_000)
    group_size: int = option(16, "G: completions per problem", 1, 4096)
    # Dynamic sampling: new problems replace those whose completions all get the same reward.
    max_refills: int = option(0, "GRPO: most new draws (DAPO); 0: none", 0, 100)
    # With one update the ratio is 1 and never clips.
    num_epochs: int = option(2, "updates per rollout", 1, 1000)
    micro_batch_size: int = option(16, "completions per backward pass: memory", 1, 1_000_000)
    learning_rate: float = option(2e-4, "the highest; much more destroys the base", 1e-9, 10)
    warmup_iterations: int = option(5, "rollouts of linear warm-up", 1, 1_000_000)
    clip_low: float = option(0.2, "the ratio is clipped at 1 - clip_low", 0, 1)
    clip_high: float = option(0.28, "and at 1 + clip_high; more explores", 0, 1000)    # as in DAPO
    objective: str = option("clip", "what the ratio does: clip, gspo or cispo",
                            choices=("clip", "gspo", "cispo"))
    kl_coef: float = option(0.0, "weight of the KL; 0: no reference", 0, 1000)
    kl_estimator: str = option("k3", "GRPO: k1, k2 or k3 estimates the KL", choices=("k1", "k2", "k3"))
    kl_in_reward: bool = option(False, "GRPO: KL in reward, not in loss")     # near the start k1 alone pulls
    entropy_coef: float = option(0.0, "weight of the entropy bonus", 0, 1000)
    max_grad_norm: float = option(1.0, "longer gradients are shortened to it", 1e-6, 1e6)
    temperature: float = option(1.0, "of sampling; logprobs use the same one", 0.01, 10)
    max_new_tokens: int = option(208, "L: tokens of the longest completion", 1, 65_536)
    normalize: str = option("token", "average by token, sequence or constant",
                             choices=("token", "sequence", "constant"))
    # A completion that comes near max_new_tokens pays: the price rises over the last tokens before it.
    overlong_penalty: float = option(0.0, "price of the longest completion (DAPO)", 0, 1000)
    overlong_buffer: int = option(32, "tokens over which that price rises", 1, 65_536)
    # Dr. GRPO does not divide.
    scale_advantages: bool = option(True, "GRPO: divide by group's deviation")
    leave_one_out: bool = option(False, "GRPO: baseline is others' mean")      # as in RLOO
    batch_baseline: bool = option(False, "GRPO: batch's mean and deviation")   # as in REINFORCE++
    gamma: float = option(1.0, "PPO: discount", 0, 1)
    gae_lambda: float = option(1.0, "PPO: 1 full return, 0 only next value", 0, 1)
    value_coef: float = option(1.0, "PPO: weight of the value loss", 0, 1000)
    value_clip: float = option(0.2, "PPO: how far a value may move at once", 0, 1e6)
    critic_learning_rate: float = option(5e-4, "PPO: learning rate of the critic", 1e-9, 10)
    critic_warmup: int = option(0, "PPO: rollouts before the policy moves", 0, 1_000_000)
    shared_critic: bool = option(False, "PPO: critic on the policy's body")    # one layer of its own


@dataclass
class RejectionConfig:
    num_problems: int = option(6000, "problems the teacher answers", 1, 100_000)
    samples_per_problem: int = option(2, "completions of each", 1, 1024)
    max_per_problem: int = option(2, "distinct completions kept of each", 1, 1024)
    max_tokens: int = option(190, "longer ones are not kept", 1, 65_536)
    num_chat: int = option(2500, "conversations added", 1, 100_000)


def preset_levels(preset: str = "laptop") -> dict[str, tuple[int, ...]]:
    return {name: task.presets[preset].levels for name, task in TASKS.items()}


def preset_shares(preset: str = "laptop") -> dict[str, float]:
    return {name: task.presets[preset].share for name, task in TASKS.items()}


def preset_test_numbers(preset: str = "laptop") -> dict[str, int]:
    """{task: number of held-out problems}, for the tasks that have a number of their own."""
    numbers = {name: task.presets[preset].num_test_problems for name, task in TASKS.items()}
    return {name: number for name, number in numbers.items() if number is not None}


@dataclass
class TaskConfig:
    """Which tasks, and at which levels. Defaults are in the tasks' own files."""
    levels: dict[str, tuple[int, ...]] = by_task(
        "{}_levels", "RL trains on them; they are scored", preset_levels)
    shares: dict[str, float] = by_task(                 # with 0 a task is only scored
        "{}_share", "share of RL's prompts and of the corpus", preset_shares, 0, 1000)
    # No text of the base corpus has more tries, nor one of a cold start without `expert`: longer thinking is
    # not imitated from them. RL solves as much with 3 as with 6, but less with 2 (lessons/results/C12.md).
    max_tries: int = option(3, "most tries in a text to imitate", 1, 10)
    chat_share: float = option(0.60, "chats among alignment's prompts", 0, 1)

    def trained(self) -> list[str]:
        """The tasks with a share above 0. The others are only scored."""
        return [task for task in self.levels if self.shares[task] > 0]


@dataclass
class EvalConfig:
    num_problems: int = option(1000, "held out, of each task and kind of chat", 1, 10_000)
    num_by_task: dict[str, int] = by_task(
        "num_{}s", "held-out problems of this task", preset_test_numbers, 1, 10_000)
    max_new_tokens: int = option(208, "tokens of the longest completion", 1, 65_536)
    # The same for every stage, so that all stages answer the same problems.
    seed: int = option(1234, "of the held-out problems and of sampling", 0, MAX_SEED)
    every: int = option(0, "steps between held-out scores; 0: at end", 0, 1_000_000)
    num_quick: int = option(300, "problems of each task for these", 1, 10_000)

    def number_of(self, task: str) -> int:
        """How many held-out problems of a task are scored."""
        return self.num_by_task.get(task, self.num_problems)


# A section's values here replace the defaults of its class.
@dataclass
class Config:
    preset: str = option("laptop", "sets several: smoke, laptop or gpu", choices=PRESETS)
    seed: int = option(0, "of all random draws", 0, MAX_SEED)
    algo: str = option("grpo", "grpo or ppo", choices=("grpo", "ppo"))
    pure_rl: bool = option(False, "straight from base to RL (R1-Zero)")
    expert: bool = option(False, "cold start on all levels")
    # aha=False makes a control corpus: it has no checks, repairs and retries.
    aha: bool = option(True, "checks and retries in base corpus")
    # language_price=0: RL after the cold start mixes languages again, since nothing else speaks against it.
    language_price: float = option(0.5, "taken off RL's reward if languages mix", 0, 1)
    model: ModelConfig = section(ModelConfig)
    tasks: TaskConfig = section(TaskConfig)
    # Small batches: with as many documents in half as many steps the model knows far fewer facts.
    # Gaps: RL's thoughts grow, and then a prompt is read from further away than in any text.
    base: SFTConfig = section(SFTConfig, num_examples=160_000, batch_size=24, max_gap=150)
    cold_start: SFTConfig = section(
        SFTConfig, num_examples=300, num_epochs=10, learning_rate=5e-4, warmup_steps=10, max_gap=150)
    # In the same time, using each rollout once teaches more than using half as many twice.
    rl: RLConfig = section(RLConfig, num_iterations=100, num_epochs=1, learning_rate=3e-4)
    rl_snapshots: int = option(6, "weights kept between RL's start and end", 0, 100)
    sampling: RejectionConfig = section(RejectionConfig)        # what the RL model is asked, and what is kept
    rejection: SFTConfig = section(SFTConfig, num_epochs=2, learning_rate=1e-3, warmup_steps=20)
    align: RLConfig = section(
        RLConfig, num_iterations=60, kl_coef=0.05, learning_rate=1.5e-4, scale_advantages=False)
    num_preference_prompts: int = option(10_000, "whose two answers the judge compares", 1, 100_000)
    evaluate: EvalConfig = section(EvalConfig)


def preset(name: str) -> Config:
    """The settings of a preset. Raises ValueError on an unknown one."""
    if name not in PRESETS:
        raise ValueError(f"unknown preset {name!r}: choose smoke, laptop or gpu")
    config = Config(preset=name)
    config.tasks.levels = preset_levels(name)
    config.tasks.shares = preset_shares(name)
    config.evaluate.num_by_task = preset_test_numbers(name)
    if name == "smoke":      # 2 to 3 minutes: the base learns half of level 0, and RL more of it
        change(config.model, width=64, mlp_width=176, num_layers=2)
        change(config.base, num_examples=48_000, batch_size=12, learning_rate=3e-3, max_gap=0)
        change(config.cold_start, num_examples=96, num_epochs=2, max_gap=0)    # just enough for the form
        # Two updates: it has so few rollouts that each has to teach more.
        change(config.rl, num_iterations=50, num_epochs=2, learning_rate=1e-3, max_new_tokens=60)
        change(config.align, num_iterations=8, num_prompts=12, max_new_tokens=40)
        # The student begins at a weak base: with half of the texts, passes and rate it learns too little.
        change(config.sampling, num_problems=1200, num_chat=200)
        change(config.rejection, num_epochs=4, learning_rate=2e-3)
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
