"""What the policy did: completions, their logprobs and rewards, in one format for PPO and GRPO.

Shapes: P prompts, G group_size, B = P*G completions (a prompt's group in consecutive rows), L completion length,
S longest prompt.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from minireason.upkeep import parallel
from minireason.config import RLConfig
from minireason.model import GPT
from minireason.policy import completion_logprobs
from minireason.rewards import World
from minireason.sampling import Generation, generate
from minireason.upkeep.seeding import derive_rng, derive_seed
from minireason.stats import k3, masked_mean


@dataclass
class Rollout:
    prompt_ids: torch.Tensor                     # (B, S), padded on the left
    prompt_mask: torch.Tensor                    # (B, S)
    completion_ids: torch.Tensor                 # (B, L)
    completion_mask: torch.Tensor                # (B, L), 1 up to and including the end token
    old_logprobs: torch.Tensor                   # (B, L), of the policy that sampled
    rewards: torch.Tensor                        # (B,)
    ref_logprobs: torch.Tensor | None = None     # (B, L), of the frozen reference
    old_values: torch.Tensor | None = None       # (B, L), PPO: the critic's at the rollout
    returns: torch.Tensor | None = None          # (B, L), PPO: the critic's targets
    advantages: torch.Tensor | None = None       # (B, L)
    loss_mask: torch.Tensor | None = None        # (B, L), what each token counts in the loss: see loss_weights
    completions: list[str] = field(default_factory=list)   # B texts
    problems: list = field(default_factory=list)      # P problems

    def __len__(self):
        return len(self.rewards)

    def select(self, rows: torch.Tensor) -> "Rollout":
        """The rollout of these rows (indices or a mask), cut to their longest prompt and completion."""
        longest_prompt, longest = (int(max(mask[rows].sum(1).tolist(), default=0))
                                   for mask in (self.prompt_mask, self.completion_mask))
        chosen = {}
        for f in dataclasses.fields(self):
            value = getattr(self, f.name)
            if isinstance(value, torch.Tensor):
                value = value[rows]
                if value.dim() == 2:
                    value = value[:, -longest_prompt:] if f.name.startswith("prompt") else value[:, :longest]
            chosen[f.name] = value if isinstance(value, torch.Tensor) else None
        return Rollout(**chosen)

    def minibatches(self, size: int) -> list["Rollout"]:
        """Splits the rows into micro-batches of similar length, so that little of each is padding."""
        return [self.select(rows) for rows in self.rows_by_length(size) if len(rows)]

    def rows_by_length(self, size: int) -> tuple[torch.Tensor, ...]:
        """Row indices, shortest first, in pieces of `size`."""
        lengths = self.completion_mask.sum(1) + self.prompt_mask.sum(1)
        return lengths.argsort(stable=True).split(size)

    def summary(self, group_size: int) -> dict[str, float]:
        """What the logs show of a rollout."""
        spread = self.rewards.view(-1, group_size).std(1, unbiased=False)
        summary = {"reward": self.rewards.mean().item(),
                   "completion_length": self.completion_mask.sum(1).mean().item(),
                   "zero_std_frac": (spread < 1e-6).float().mean().item(),
                   "num_tokens": int(self.completion_mask.sum())}
        if self.ref_logprobs is not None:
            summary["kl"] = masked_mean(k3(self.old_logprobs, self.ref_logprobs), self.completion_mask).item()
        if self.returns is not None:    # 1: the critic knew what would come; 0: no better than a constant
            errors, mask = self.returns - self.old_values, self.completion_mask.bool()
            summary["explained_variance"] = 1 - (errors[mask].var() / self.returns[mask].var().clamp(min=1e-8)).item()
        return parallel.mean_of(summary) | {"num_tokens": int(parallel.total(summary["num_tokens"]))}


def learning_rate_at(iteration: int, config: RLConfig) -> float:
    """Linear warm-up, then linear decay to a tenth: large steps while much is to be learned, and small ones at the end,
    so that the noise of few samples is averaged out."""
    warmup = min(1.0, (iteration + 1) / config.warmup_iterations)
    return config.learning_rate * warmup * (1.0 - 0.9 * iteration / config.num_iterations)


def loss_weights(completion_mask: torch.Tensor, config: RLConfig) -> tuple[torch.Tensor, float]:
    """What each token counts in the loss: (weights (B, L), what their sum is divided by), from config.normalize.

        token      each token alike                          sum / number of tokens      (DAPO, arXiv:2503.14476)
        sequence   each completion alike, however long       mean over tokens, then over completions       (GRPO)
        constant   each token alike in every step            sum / (B * max_new_tokens)                 (Dr. GRPO)
    """
    if config.normalize == "sequence":
        return completion_mask / completion_mask.sum(1, keepdim=True), parallel.total(len(completion_mask))
    if config.normalize == "constant":
        return completion_mask, parallel.total(len(completion_mask) * config.max_new_tokens)
    return completion_mask, parallel.total(completion_mask.sum())


def collect_rollout(policy: GPT, reference: GPT | None, world: World, config: RLConfig, seed: int, iteration: int) -> Rollout:
    """Samples G completions for each of P problems and scores them.

    `world` has `draw(rng) -> problem` with a `.prompt`, `reward(problems, completions) -> floats`, and `tokenizer`.
    A completion that was cut off before its end token scores as the empty text does. Returns a Rollout.
    """
    rng, tokenizer = derive_rng(seed, "prompts", iteration), world.tokenizer
    problems = parallel.share([world.draw(rng) for _ in range(config.num_prompts)])     # whole groups stay together
    prompts = [tokenizer.encode_prompt(problem.prompt) for problem in problems for _ in range(config.group_size)]
    generation = generate(policy, prompts, config.max_new_tokens, config.temperature,
                          derive_seed(seed, "sampling", iteration, *[parallel.rank()] * (parallel.rank() > 0)),
                          eos_id=tokenizer.eos_id)
    return build_rollout(prompts, generation, problems, reference, world, config)


def build_rollout(prompts: list[list[int]], generation: Generation, problems: list, reference: GPT | None, world: World,
                  config: RLConfig) -> Rollout:
    completion_ids, completion_mask, logprobs = generation
    device, tokenizer = completion_ids.device, world.tokenizer
    lengths = completion_mask.sum(1).long()                                        # (B,)
    longest = int(lengths.max())
    S = max(map(len, prompts))
    prompt_ids = torch.tensor([[tokenizer.pad_id] * (S - len(p)) + p for p in prompts], device=device)
    prompt_mask = torch.tensor([[0.0] * (S - len(p)) + [1.0] * len(p) for p in prompts], device=device)
    completions = []
    for ids, length in zip(completion_ids.tolist(), lengths.tolist()):
        ended = ids[length - 1] == tokenizer.eos_id
        completions.append(tokenizer.decode(ids[:length]) if ended else "")
    rewards = world.reward([problem for problem in problems for _ in range(config.group_size)], completions)
    rollout = Rollout(
        prompt_ids=prompt_ids, prompt_mask=prompt_mask, completion_ids=completion_ids[:, :longest],
        completion_mask=completion_mask[:, :longest], old_logprobs=logprobs[:, :longest],
        rewards=torch.tensor(rewards, dtype=torch.float32, device=device),
        completions=completions, problems=problems)
    if reference is not None:
        rollout.ref_logprobs = by_micro_batch(
            rollout, config, lambda batch: completion_logprobs(reference, batch, config.temperature)[0])
    return rollout


@torch.no_grad()
def by_micro_batch(rollout: Rollout, config: RLConfig, function: Callable[[Rollout], torch.Tensor]) -> torch.Tensor:
    """Applies a function of a batch to the rollout in pieces. Returns its (B, L) result, rows in their order."""
    result = torch.zeros_like(rollout.old_logprobs)
    for rows in rollout.rows_by_length(config.micro_batch_size):
        values = function(rollout.select(rows))
        result[rows, :values.size(1)] = values
    return result
