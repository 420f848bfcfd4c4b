"""Every setting of a run, three presets, and the flags of train.py made from them."""

import argparse
import dataclasses
import inspect
import math
import re
from dataclasses import dataclass, field
from typing import Any


@dataclass
class ModelConfig:
    vocab_size: int = 640        # tokens; train.py sets it to the tokenizer's
    width: int = 128             # C: size of the residual stream
    num_layers: int = 4          # blocks, each attention and MLP
    num_heads: int = 4           # H: attention heads
    num_kv_heads: int = 2        # K: key-value heads, shared by the attention heads
    mlp_width: int = 352         # inner size of the SwiGLU, about 8/3 of the width
    max_length: int = 512        # positions a row may have
    rope_theta: float = 1000.0   # base of the rotary frequencies
    norm_eps: float = 1e-5       # inside the square root of RMSNorm

    @property
    def head_size(self) -> int:
        return self.width // self.num_heads


@dataclass
class SFTConfig:
    num_examples: int = 300        # documents to learn from; rejection takes all that it kept
    num_epochs: int = 1            # passes over them
    batch_size: int = 48           # documents per gradient step
    micro_batch_tokens: int = 512  # tokens per backward pass; changes memory and speed, not the update
    learning_rate: float = 2e-3    # peak of the schedule
    warmup_steps: int = 100        # steps of linear warm-up, at most a quarter of all
    weight_decay: float = 0.05     # of AdamW
    max_grad_norm: float = 1.0     # gradients longer than this are shortened to it


@dataclass
class RLConfig:
    """Read by PPO and GRPO alike, so that a comparison changes nothing but --algo."""
    num_iterations: int = 200            # rollouts, each with its updates
    num_prompts: int = 24                # P: problems per rollout
    group_size: int = 16                 # G: completions per problem
    num_epochs: int = 2                  # updates per rollout; with 1 the ratio is 1 and never clips
    micro_batch_size: int = 16           # completions per backward pass; changes memory and speed, not the update
    learning_rate: float = 2e-4          # peak of the schedule; much more shakes what the base knows loose
    warmup_iterations: int = 5           # rollouts of linear warm-up
    clip_low: float = 0.2                # the ratio counts down to 1 - clip_low
    clip_high: float = 0.28              # and up to 1 + clip_high; higher keeps exploration (DAPO)
    kl_coef: float = 0.0                 # weight of the KL to the reference; 0 needs no reference
    max_grad_norm: float = 1.0           # gradients longer than this are shortened to it
    temperature: float = 1.0             # of sampling, and so of every logprob
    max_new_tokens: int = 160            # L: longest completion
    normalize: str = "token"             # what a token counts in the loss: token, sequence or constant
    scale_advantages: bool = True        # GRPO: divide by the group's standard deviation (Dr. GRPO does not)
    leave_one_out: bool = False          # GRPO: the baseline is the mean of the group's others (RLOO)
    gamma: float = 1.0                   # PPO: discount
    gae_lambda: float = 1.0              # PPO: 1 is the plain return less the value, 0 one step ahead
    value_coef: float = 1.0              # PPO: weight of the value loss
    value_clip: float = 0.2              # PPO: how far a value may move from its rollout's
    critic_learning_rate: float = 5e-4   # PPO: of the critic's AdamW
    shared_critic: bool = False          # PPO: the critic is one layer on the policy's body, not a network of its own


@dataclass
class RejectionConfig:
    num_problems: int = 9000       # problems the teacher answers
    samples_per_problem: int = 2   # completions of each
    max_per_problem: int = 2       # distinct completions kept of each
    max_tokens: int = 140          # longer ones are not kept
    num_chat: int = 4000           # conversations mixed in


@dataclass
class TaskConfig:
    arithmetic_levels: str = "2,3"   # levels trained on by RL and scored
    countdown_levels: str = "2,3"    # the same for countdown
    program_levels: str = "1,2"      # the same for programs
    arithmetic_share: float = 0.36   # share of RL's prompts
    countdown_share: float = 0.54    # share of RL's prompts
    program_share: float = 0.10      # share of RL's prompts
    chat_share: float = 0.60         # share of alignment's prompts; the rest are problems

    def levels(self) -> dict[str, tuple[int, ...]]:
        """{task: tuple of levels}. Raises ValueError on what is no list of levels."""
        chosen = {}
        for task in ("arithmetic", "countdown", "program"):
            text = getattr(self, f"{task}_levels")
            chosen[task] = tuple(int(word) for word in text.split(",") if word in ("1", "2", "3", "4"))
            if not chosen[task] or len(chosen[task]) != text.count(",") + 1:
                raise ValueError(f"unknown level in {text!r} for {task}: give levels from 1 to 4 such as 2,3")
        return chosen

    def trained_levels(self) -> dict[str, tuple[int, ...]]:
        """The levels of those tasks that have a share: the others are in no corpus, and only scored."""
        return {task: levels for task, levels in self.levels().items() if self.shares()[task] > 0}

    def shares(self) -> dict[str, float]:
        """{task: share}. Raises ValueError where they are no weights."""
        shares = {task: getattr(self, f"{task}_share") for task in ("arithmetic", "countdown", "program")}
        if min(shares.values()) < 0 or sum(shares.values()) <= 0 or not 0 <= self.chat_share <= 1:
            raise ValueError("shares are weights: none negative, not all zero, chat_share at most 1")
        return shares


@dataclass
class EvalConfig:
    num_problems: int = 1000       # held-out problems per task, and held-out chat prompts of each kind
    num_programs: int = 300        # held-out program problems
    max_new_tokens: int = 160      # longest completion
    seed: int = 1234               # of the held-out problems and of sampling, the same for every stage
    every: int = 0                 # steps between looks at held-out accuracy inside a stage; 0 looks at its end only
    num_quick: int = 300           # held-out problems per task at such a look


@dataclass
class Config:
    preset: str = "laptop"                                       # smoke, laptop or gpu
    seed: int = 0                                                # of everything that is drawn
    algo: str = "grpo"                                           # grpo or ppo
    pure_rl: bool = False                                        # straight from base to RL, as R1-Zero did
    expert: bool = False                                         # cold start on golden examples of all levels
    aha: bool = True                                             # base corpus with checks, repairs and retries; a control has none
    model: ModelConfig = field(default_factory=ModelConfig)
    tasks: TaskConfig = field(default_factory=TaskConfig)
    base: SFTConfig = field(default_factory=lambda: SFTConfig(num_examples=160_000))
    cold_start: SFTConfig = field(default_factory=lambda: SFTConfig(
        num_examples=300, num_epochs=10, learning_rate=5e-4, warmup_steps=10))
    # for the same seconds more rollouts, each used once, learn more than fewer used twice: two points (README)
    rl: RLConfig = field(default_factory=lambda: RLConfig(num_iterations=300, num_epochs=1, learning_rate=3e-4))
    sampling: RejectionConfig = field(default_factory=RejectionConfig)
    rejection: SFTConfig = field(default_factory=lambda: SFTConfig(num_epochs=3, learning_rate=1e-3, warmup_steps=20))
    align: RLConfig = field(default_factory=lambda: RLConfig(num_iterations=100, kl_coef=0.05, learning_rate=1.5e-4,
                                                              scale_advantages=False))
    num_preference_prompts: int = 15_000                        # prompts whose two answers the judge compares
    evaluate: EvalConfig = field(default_factory=EvalConfig)


def preset(name: str) -> Config:
    """The settings of a preset. Raises ValueError on an unknown one."""
    config = Config(preset=name)
    if name == "smoke":      # about half a minute: two-term sums are easy enough to learn in that time
        config.model.width, config.model.mlp_width, config.model.num_layers = 64, 176, 2
        config.tasks.arithmetic_levels, config.tasks.countdown_levels, config.tasks.program_levels = "1", "1,2", "1,2"
        config.tasks.arithmetic_share, config.tasks.countdown_share, config.tasks.program_share = 1.0, 0.0, 0.0
        config.base.num_examples, config.base.learning_rate = 40_000, 4e-3
        config.cold_start.num_examples, config.cold_start.num_epochs = 96, 2    # a hint of thinking; RL has to do the rest
        config.rl.num_iterations, config.rl.num_prompts, config.rl.max_new_tokens = 30, 12, 40
        config.rl.learning_rate, config.rl.num_epochs = 5e-4, 2
        config.align.num_iterations, config.align.num_prompts, config.align.max_new_tokens = 8, 12, 40
        config.sampling.num_problems, config.sampling.num_chat, config.num_preference_prompts = 600, 200, 1000
        config.evaluate.num_problems, config.evaluate.num_programs, config.evaluate.max_new_tokens = 100, 20, 60
    elif name == "gpu":      # a wider model and larger rollouts, for one GPU
        config.model.width, config.model.mlp_width, config.model.num_layers, config.model.num_heads = 256, 704, 6, 8
        config.base.num_examples, config.base.batch_size = 600_000, 64
        config.rl.num_prompts, config.rl.micro_batch_size, config.rl.num_iterations = 64, 1024, 300
        config.align.num_prompts, config.align.micro_batch_size = 64, 1024
    elif name != "laptop":
        raise ValueError(f"unknown preset {name!r}: choose smoke, laptop or gpu")
    return config


def to_dict(config: Any) -> dict:
    return dataclasses.asdict(config)


def from_dict(values: dict, kind: type = Config) -> Any:
    """The config that `to_dict` wrote; unknown or missing settings raise ValueError."""
    fields = {f.name: f for f in dataclasses.fields(kind)}
    if set(values) != set(fields):
        raise ValueError(f"settings differ from this version's: {', '.join(sorted(set(values) ^ set(fields)))}")
    default = kind()
    return kind(**{name: from_dict(value, type(getattr(default, name))) if isinstance(value, dict) else value
                   for name, value in values.items()})


def comments(kind: type) -> dict[str, str]:
    """{field: the comment behind it}, read from this file: the help of the flags is the text a reader sees."""
    found = re.findall(r"^    (\w+): [^#\n]*#\s*(.*)$", inspect.getsource(kind), re.MULTILINE)
    return dict(found)


def add_flags(parser: argparse.ArgumentParser, kind: type = Config, prefix: str = "") -> None:
    """One flag for every setting, such as --rl-learning-rate. A flag that is not given leaves no trace."""
    default = kind()
    for f in dataclasses.fields(kind):
        value, flag = getattr(default, f.name), "--" + (prefix + f.name).replace("_", "-")
        if dataclasses.is_dataclass(value):
            add_flags(parser, type(value), f"{f.name}_")
        elif prefix or f.name not in ("preset", "algo"):     # these two are declared with their choices
            text = comments(kind).get(f.name, "").replace("%", "%%")
            shape = {"action": argparse.BooleanOptionalAction} if isinstance(value, bool) else {"type": type(value)}
            parser.add_argument(flag, dest=(f"{prefix}{f.name}" if not prefix else f"{prefix[:-1]}.{f.name}"),
                                default=argparse.SUPPRESS, help=text, **shape)


def apply_flags(config: Config, given: dict[str, Any]) -> Config:
    """Sets what was given on the command line ({"seed": 1, "rl.learning_rate": 1e-4}). Raises ValueError."""
    for name, value in given.items():
        section, _, key = name.rpartition(".")
        target = getattr(config, section) if section else config
        if isinstance(value, (int, float)) and not isinstance(value, bool) and not math.isfinite(value):
            raise ValueError(f"{name} must be finite")
        setattr(target, key, value)
    check(config)
    return config


def check(config: Config) -> None:
    """Raises ValueError with one line on settings that cannot work."""
    if config.model.width % config.model.num_heads or config.model.head_size % 2:
        raise ValueError("model width must be an even multiple of num_heads")
    if config.model.num_heads % config.model.num_kv_heads:
        raise ValueError("num_heads must be a multiple of num_kv_heads")
    for name, section in dataclasses.asdict(config).items():
        for key, value in section.items() if isinstance(section, dict) else ():
            counts = key.startswith(("num_", "batch", "micro", "group", "max_", "width", "mlp", "warmup", "samples"))
            if counts and isinstance(value, (int, float)) and value < 1 and key != "max_grad_norm":
                raise ValueError(f"{name} {key} must be at least 1, not {value}")
            if key in ("learning_rate", "critic_learning_rate", "temperature", "max_grad_norm") and value <= 0:
                raise ValueError(f"{name} {key} must be above 0, not {value}")
    if config.algo == "grpo" and min(config.rl.group_size, config.align.group_size) < 2:
        raise ValueError("a group has at least 2 completions: its mean is the baseline of GRPO")
    for section in (config.rl, config.align, config.evaluate):
        if section.max_new_tokens + 100 > config.model.max_length:
            raise ValueError("max_new_tokens leaves no room for prompts: raise model max_length")
    for section in (config.rl, config.align):
        if section.normalize not in ("token", "sequence", "constant"):
            raise ValueError(f"unknown normalize {section.normalize!r}: choose token, sequence or constant")
    config.tasks.levels(), config.tasks.shares()
