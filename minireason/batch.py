"""The record that PPO and GRPO share: prompts, completions, and what is known of each token.

A *rollout* is what the policy writes in one iteration: G completions of each of P problems. A Batch holds a
rollout, or some of its rows: those that are learned from, or a micro-batch.

A row starts in column 0 and is padded on the right. For example a prompt of 3 tokens and a completion of 2,
in a batch whose longest prompt has 4 tokens and whose longest completion has 3:

    ids              p p p c c . .       (T,)   T = 4 + 3: what the model reads
    completion_ids         c c .         (L,)   L = 3: one column for each token that was sampled
    completion_mask        1 1 0         (L,)

Shapes: B completions (the G completions of a prompt in consecutive rows), L longest completion,
T longest prompt + longest completion, P prompts.
"""

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F

from minireason.config import RLConfig
from minireason.token_math import k3, masked_mean
from minireason.upkeep import parallel


@dataclass
class Batch:
    # rollout.py fills these, when the policy writes
    ids: torch.Tensor                            # (B, T), prompt and completion
    prompt_lengths: torch.Tensor                 # (B,)
    completion_ids: torch.Tensor                 # (B, L)
    completion_mask: torch.Tensor                # (B, L), 1 up to and including the end token
    old_logprobs: torch.Tensor                   # (B, L), of the policy that sampled
    rewards: torch.Tensor                        # (B,)
    ref_logprobs: torch.Tensor | None = None     # (B, L), of the frozen reference
    # `train` and `compute_advantages` of grpo.py and ppo.py fill these
    old_values: torch.Tensor | None = None       # (B, L), PPO: the critic's estimates at the rollout
    returns: torch.Tensor | None = None          # (B, L), PPO: the critic's targets
    advantages: torch.Tensor | None = None       # (B, L)
    loss_weights: torch.Tensor | None = None     # (B, L), what each token counts in the loss
    # rollout.py again
    # (N,), what the logs call reward: of all N completions that were sampled, those that dynamic sampling
    # replaced too, and before a price of length. None: the same as `rewards`.
    logged_rewards: torch.Tensor | None = None
    # B texts, "" for one that was cut off before its end token. A selection of rows leaves them out.
    completions: list[str] = field(default_factory=list)
    problems: list = field(default_factory=list)           # P problems; likewise

    def __len__(self) -> int:
        return len(self.rewards)

    def select(self, rows: torch.Tensor) -> "Batch":
        """The batch of these rows (indices or a mask), cut to their longest prompt and completion."""
        prompt_lengths = self.prompt_lengths[rows]
        completion_lengths = self.completion_mask[rows].sum(1)
        L = longest(completion_lengths)
        T = longest(prompt_lengths) + L

        def cut(tensor: torch.Tensor | None) -> torch.Tensor | None:
            return None if tensor is None else tensor[rows, :L]

        return Batch(
            ids=self.ids[rows, :T],
            prompt_lengths=prompt_lengths,
            completion_ids=cut(self.completion_ids),
            completion_mask=cut(self.completion_mask),
            old_logprobs=cut(self.old_logprobs),
            rewards=self.rewards[rows],
            ref_logprobs=cut(self.ref_logprobs),
            old_values=cut(self.old_values),
            returns=cut(self.returns),
            advantages=cut(self.advantages),
            loss_weights=cut(self.loss_weights))

    def replace_groups(self, groups: torch.Tensor, other: "Batch") -> "Batch":
        """Returns a batch in which the groups of `other`, in order, replace those that `groups` (P,) marks.

        Only for a batch that was just sampled: the result has no advantages or values.
        """
        rows = groups.repeat_interleave(len(self) // len(groups))                          # (B,)
        L = max(self.completion_ids.size(1), other.completion_ids.size(1))
        T = max(longest(self.prompt_lengths), longest(other.prompt_lengths)) + L

        def put(tensor: torch.Tensor | None, new: torch.Tensor | None,
                length: int | None = None) -> torch.Tensor | None:
            """A copy of `tensor` with the marked rows set to `new`. A `length` pads both to it first."""
            if tensor is None:
                return None
            if length is not None:
                tensor, new = (F.pad(x, (0, length - x.size(1))) for x in (tensor, new))
            merged = tensor.clone()
            merged[rows] = new
            return merged

        completions, problems = list(self.completions), list(self.problems)
        for row, completion in zip(rows.nonzero()[:, 0].tolist(), other.completions):
            completions[row] = completion
        for group, problem in zip(groups.nonzero()[:, 0].tolist(), other.problems):
            problems[group] = problem
        return Batch(
            ids=put(self.ids, other.ids, T),
            prompt_lengths=put(self.prompt_lengths, other.prompt_lengths),
            completion_ids=put(self.completion_ids, other.completion_ids, L),
            completion_mask=put(self.completion_mask, other.completion_mask, L),
            old_logprobs=put(self.old_logprobs, other.old_logprobs, L),
            rewards=put(self.rewards, other.rewards),
            ref_logprobs=put(self.ref_logprobs, other.ref_logprobs, L),
            completions=completions,
            problems=problems)

    def micro_batches(self, size: int) -> list["Batch"]:
        """Splits the rows into batches of at most `size` and of similar length, so that little is padding."""
        if len(self) == 0:
            return []
        return [self.select(rows) for rows in self.rows_by_length(size)]

    def rows_by_length(self, size: int) -> tuple[torch.Tensor, ...]:
        """Row indices, shortest row first, in pieces of `size`."""
        lengths = self.prompt_lengths + self.completion_mask.sum(1)
        return lengths.argsort(stable=True).split(size)

    def summary(self, group_size: int) -> dict[str, float]:
        """Returns {name: number} of a rollout for the logs. Means and counts are over all processes."""
        rewards = self.rewards if self.logged_rewards is None else self.logged_rewards     # (N,)
        # If refills sampled more than there are rows, all that was sampled is compared. Else the rows are, by
        # the rewards that they are learned with, after a price of length.
        compared = rewards if len(rewards) > len(self) else self.rewards
        equal = have_equal_rewards(compared, group_size)                                   # (N / G,)
        mask = self.completion_mask
        num_tokens = int(mask.sum())
        means = {"reward": rewards.mean().item(),
                 "completion_length": mask.sum(1).mean().item(),
                 "zero_std_frac": equal.float().mean().item()}
        counts = {"reward": len(rewards), "completion_length": len(self), "zero_std_frac": len(equal)}
        if self.ref_logprobs is not None:
            means["kl"] = masked_mean(k3(self.old_logprobs, self.ref_logprobs), mask).item()
            counts["kl"] = num_tokens
        summary = parallel.average(means, counts)
        if self.returns is not None:    # 1: the critic knew what would come; 0: no better than a constant
            errors = parallel.concatenate((self.returns - self.old_values)[mask.bool()])
            returns = parallel.concatenate(self.returns[mask.bool()])
            summary["explained_variance"] = 1 - (errors.var() / returns.var().clamp(min=1e-8)).item()
        if self.logged_rewards is not None:
            summary["num_sampled"] = int(parallel.total(len(rewards)))
        return {**summary, "num_tokens": int(parallel.total(num_tokens))}


def have_equal_rewards(rewards: torch.Tensor, group_size: int) -> torch.Tensor:
    """Returns a mask of groups (P,): true where all rewards of a group, among `rewards` (B,), are equal.

    In such a group no completion is better than another, so GRPO learns nothing from it. A threshold is
    needed, since means are rounded: the advantages of 16 rewards of 0.9 would come out as 6e-4.
    """
    return rewards.view(-1, group_size).std(1, unbiased=False) < 1e-6


def longest(lengths: torch.Tensor) -> int:
    """The largest of some lengths (B,), 0 where there are no rows."""
    return int(lengths.max()) if len(lengths) else 0


def weigh_tokens(completion_mask: torch.Tensor, config: RLConfig,
                 num_sampled: int) -> tuple[torch.Tensor, float, float]:
    """The weight of each token in the loss, and what the loss is divided by, from config.normalize.

        token      each token alike                      sum / number of tokens     (DAPO, arXiv:2503.14476)
        sequence   each completion alike, short or long  mean over tokens, then over completions      (GRPO)
        constant   each token alike, in every step       sum / (num_sampled * max_new_tokens)     (Dr. GRPO)

    `num_sampled` counts the completions of the whole rollout: rows without signal may be missing here.
    Returns (weights (B, L), num_tokens, weight_sum), both numbers over all processes. The loss is divided by
    num_tokens: the number of tokens in the first row of the table, and what the table says in the others. A
    mean over tokens, such as the entropy, is divided by weight_sum.
    """
    if config.normalize == "sequence":
        weights = completion_mask / completion_mask.sum(1, keepdim=True)
        num_completions = parallel.total(len(completion_mask))
        return weights, num_completions, num_completions
    num_tokens = parallel.total(completion_mask.sum())
    if config.normalize == "constant":
        return completion_mask, parallel.total(num_sampled * config.max_new_tokens), num_tokens
    return completion_mask, num_tokens, num_tokens
