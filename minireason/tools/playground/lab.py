"""One prompt, and one step of learning after the other: `grpo.train` or `ppo.train`, as train.py runs them.

A group is shown before it is learned from. Both come from the same seed and iteration, so `train` samples the
very completions that the reader has seen.

With a bug of lesson 10, a name of grpo.py or ppo.py is replaced while this lab learns. All labs share these
modules, so one of them learns at a time.
"""

import contextlib
import copy
import threading

import torch

from minireason import grpo, ppo
from minireason.batch import Batch
from minireason.config import RLConfig
from minireason.inference import answer_all
from minireason.optimizer import adamw
from minireason.policy import completion_hidden, completion_logprobs, make_critic
from minireason.rewards import World, correctness
from minireason.rollout import collect_rollout
from minireason.tasks import Problem
from minireason.tools.bugs import BUGS
from minireason.tools.playground.thinking import Send, Speaker, share, tell_progress, token_text
from minireason.upkeep.seeding import derive_seed
from minireason.verifier import verify

MAX_STEPS = 30
FRESH = 64              # samples that a pass rate is measured on
# A group of one prompt says less than a rollout of many, so steps are smaller than in training (3e-4). At
# 3e-4 one step can take a prompt from 63 right answers of 64 to none, before later steps repair it.
LEARNING_RATES = {"low": 5e-5, "normal": 1e-4, "too high": 1e-3}
WARMUP = 3              # steps of linear warm-up
# The bug that is left out compares answers to different prompts, and a lab has one prompt.
LAB_BUGS = {name: bug for name, bug in BUGS.items() if name != "groups misaligned"}
LEARNING = threading.Lock()


class Lab:
    """A copy of a model that learns from one prompt."""

    def __init__(self, speaker: Speaker, problem: Problem, algo: str, group_size: int, seed: int,
                 learning_rate: float = LEARNING_RATES["normal"], bug: str = "", is_mended: bool = False):
        """`bug` is a name of LAB_BUGS, or "".

        With `is_mended` the bug is off, but the settings that let it show are still changed: to compare.
        """
        self.problem, self.tokenizer, self.seed = problem, speaker.tokenizer, seed
        self.switch, settings = contextlib.nullcontext, {}      # in `with self.switch()` the bug is on
        if bug:
            self.switch, _, settings = LAB_BUGS[bug]
        if is_mended:
            self.switch = contextlib.nullcontext
        self.config = RLConfig(**{
            "num_prompts": 1, "group_size": group_size, "num_iterations": MAX_STEPS, "num_epochs": 1,
            "micro_batch_size": group_size // 2, "learning_rate": learning_rate, "warmup_iterations": WARMUP,
            "max_new_tokens": speaker.config.rl.max_new_tokens} | settings)
        self.model = copy.deepcopy(speaker.model).requires_grad_(True)
        self.reference = speaker.model if self.config.kl_coef else None
        self.critic = make_critic(self.model, shared=False) if algo == "ppo" else None
        optimizer = adamw(self.config, self.model, self.critic)
        world = World(lambda rng: problem, self.rewards, self.tokenizer)
        self.world, self.steps_done = world, 0
        # `train` is a generator: a turn of it, next(self.loop), is one step
        if self.critic is None:
            self.loop = grpo.train(self.model, self.reference, optimizer, world, self.config, seed)
        else:
            self.loop = ppo.train(self.model, self.critic, self.reference, optimizer, world, self.config,
                                  seed)
        self.shown_group = None     # what the reader has seen of the group that the next step learns from

    def rewards(self, problems: list[Problem], completions: list[str]) -> list[float]:
        return [correctness(problem, text) for problem, text in zip(problems, completions)]

    def sample_group(self) -> dict:
        """Samples the group that the next step learns from. Returns it as the page shows it."""
        rollout = collect_rollout(self.model, self.reference, self.world, self.config, self.seed,
                                  self.steps_done)
        with LEARNING, self.switch():
            if self.critic is None:
                grpo.compute_advantages(rollout, self.config)
            else:
                with torch.no_grad():
                    rollout.old_values = self.critic(rollout, completion_hidden(self.model, rollout))
                ppo.compute_advantages(rollout, self.config)
        self.shown_group = rollout
        return self.describe(rollout, None)

    def step(self) -> dict:
        """Learns from the group. Returns the metrics, and the group with how likely each token is now."""
        if self.shown_group is None:
            raise ValueError("sample a group first")
        if self.steps_done == MAX_STEPS:
            raise ValueError(f"{MAX_STEPS} steps are done: reset to begin again")
        rollout, self.shown_group = self.shown_group, None
        with LEARNING, self.switch():
            metrics = next(self.loop)   # samples the same group again: same seed, iteration and weights
        self.steps_done += 1
        with torch.no_grad():
            logprobs, _ = completion_logprobs(self.model, rollout, self.config.temperature)
        return {"metrics": metrics, "steps_done": self.steps_done, **self.describe(rollout, logprobs)}

    def pass_rate(self, send: Send) -> dict:
        """Measures how many of FRESH new answers are right. Sends its progress, and returns the result."""
        answers = answer_all(self.model, self.tokenizer, [self.problem.prompt] * FRESH,
                             self.config.max_new_tokens, derive_seed(self.seed, "fresh", self.steps_done),
                             self.config.temperature, tell_progress(self.tokenizer, 0, FRESH, send))
        num_right = sum(verify(self.problem, text).correct for text, _ in answers)
        tokens = sum(length for _, length in answers) / FRESH
        return {"tokens": tokens, "steps_done": self.steps_done, **share(num_right, FRESH)}

    def describe(self, rollout: Batch, logprobs: torch.Tensor | None) -> dict:
        """The group as the page shows it. `logprobs` (B, L) are those after the step, None before it.

        Returns {"completions": [{"reward", "tokens"}], "mean", "std"}, the last two of the rewards. A token
        is {"text", "old", "advantage"}, where "old" is its logprob when it was sampled. With a critic it has
        the critic's "value". After the step it has a "new" logprob too.
        """
        completions = []
        for i, ids in enumerate(rollout.completion_ids.tolist()):
            length = int(rollout.completion_mask[i].sum())
            tokens = []
            for t, token in enumerate(ids[:length]):
                shown = {"text": token_text(self.tokenizer, token),
                         "old": round(rollout.old_logprobs[i, t].item(), 4),
                         "advantage": round(rollout.advantages[i, t].item(), 4)}
                if logprobs is not None:
                    shown["new"] = round(logprobs[i, t].item(), 4)
                if rollout.old_values is not None:
                    shown["value"] = round(rollout.old_values[i, t].item(), 4)
                tokens.append(shown)
            completions.append({"reward": rollout.rewards[i].item(), "tokens": tokens})
        rewards = rollout.rewards
        return {"completions": completions, "mean": rewards.mean().item(), "std": rewards.std().item()}
