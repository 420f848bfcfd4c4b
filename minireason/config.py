"""Every setting of a run, with its meaning and its range, and three presets.

A setting is a field of one of the dataclasses below. train.py has a flag for each, made from this file by
tools/flags.py: `learning_rate` of the section `rl` is --rl-learning-rate. settings.py stores, compares and
checks them.
"""

import dataclasses
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
