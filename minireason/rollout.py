"""How a rollout is collected: sample completions, score them, and ask the reference how likely it finds them.

Shapes: P prompts, G group_size, B = P*G completions (the G of a prompt in consecutive rows),
L completion length, T prompt plus completion.
"""

from collections.abc import Callable

import torch

from minireason.batch import Batch, have_equal_rewards
from minireason.config import RLConfig
from minireason.model import GPT
from minireason.policy import completion_logprobs
from minireason.rewards import World
from minireason.sampling import Generation, generate
from minireason.upkeep import parallel
from minireason.upkeep.seeding import derive_rng, derive_seed


def collect_rollout(policy: GPT, reference: GPT | None, world: World, config: RLConfig, seed: int,
                    iteration: int) -> Batch:
    """Samples G completions for each of P problems and scores them. Returns a Batch, advantages not yet set.

    What is drawn is a function of the policy, seed and iteration, so that a resumed run draws the same.
    """
    rng = derive_rng(seed, "prompts", iteration)
    problems = [world.draw(rng) for _ in range(config.num_prompts)]
    problems = parallel.share(problems)             # of several processes, each takes whole groups
    rollout = sample_groups(policy, reference, world, config, problems, seed, [iteration])
    if config.max_refills:
        rollout = refill(rollout, policy, reference, world, config, seed, iteration)
    if config.overlong_penalty:
        # the logs show the rewards before this price
        if rollout.logged_rewards is None:
            rollout.logged_rewards = rollout.rewards
        rollout.rewards = rollout.rewards - overlong_price(rollout.completion_mask.sum(1), config)
    return rollout


def sample_groups(policy: GPT, reference: GPT | None, world: World, config: RLConfig, problems: list,
                  seed: int, draw_id: list) -> Batch:
    """Samples G completions for each problem and scores them.

    `draw_id` tells these random draws from all others of the run: [7], or [7, "refill", 0].
    """
    tokenizer, prompts = world.tokenizer, []
    for problem in problems:
        prompts += [tokenizer.encode_prompt(problem.prompt)] * config.group_size
    if parallel.rank() > 0:                         # a run of one process keeps the seeds it always had
        draw_id = [*draw_id, parallel.rank()]
    generation = generate(policy, prompts, config.max_new_tokens, config.temperature,
                          derive_seed(seed, "sampling", *draw_id), eos_id=tokenizer.eos_id)
    return build_rollout(prompts, generation, problems, reference, world, config)


def refill(rollout: Batch, policy: GPT, reference: GPT | None, world: World, config: RLConfig, seed: int,
           iteration: int) -> Batch:
    """Replaces the groups with equal rewards by groups of new problems: dynamic sampling, arXiv:2503.14476.

    Such a group has no signal for GRPO, and each one makes the step noisier. There are at most max_refills
    draws, so that an iteration ends even if every problem is too easy or too hard. Groups without signal then
    stay. `logged_rewards` of the result are those of all completions that were sampled.
    """
    logged_rewards = [rollout.rewards]
    for number in range(config.max_refills):
        equal = have_equal_rewards(rollout.rewards, config.group_size)                   # (P,)
        if not equal.any():
            break
        draw_id = [iteration, "refill", number]
        rng = derive_rng(seed, "prompts", *draw_id, parallel.rank())    # each process refills its own groups
        problems = [world.draw(rng) for _ in range(int(equal.sum()))]
        new = sample_groups(policy, reference, world, config, problems, seed, draw_id)
        logged_rewards.append(new.rewards)
        rollout = rollout.replace_groups(equal, new)
    rollout.logged_rewards = torch.cat(logged_rewards)                                   # (N,)
    return rollout


def overlong_price(lengths: torch.Tensor, config: RLConfig) -> torch.Tensor:
    """Returns the price (B,) of these lengths (B,): the soft overlong punishment of DAPO, arXiv:2503.14476.

    It is 0 up to max_new_tokens - overlong_buffer. From there it rises on a line to overlong_penalty at
    max_new_tokens, where a completion is cut off.
    """
    excess = lengths - (config.max_new_tokens - config.overlong_buffer)                  # (B,)
    return config.overlong_penalty * excess.clamp(min=0) / config.overlong_buffer


def build_rollout(prompts: list[list[int]], generation: Generation, problems: list, reference: GPT | None,
                  world: World, config: RLConfig) -> Batch:
    """Prompts (B lists of ids) and their completions as a Batch, with rewards and the reference's logprobs.

    A completion that was cut off before its end token is scored as the empty text, even if its answer is
    whole: to come to an end is part of the task.
    """
    device, tokenizer = generation.completion_ids.device, world.tokenizer
    prompt_lengths = torch.tensor([len(prompt) for prompt in prompts])                   # (B,)
    completion_lengths = generation.completion_mask.sum(1).long()                        # (B,)
    L = int(completion_lengths.max())
    T = int(prompt_lengths.max()) + L
    ids = torch.full((len(prompts), T), tokenizer.pad_id)                                # (B, T)
    completions = []
    for i, (prompt, completion) in enumerate(zip(prompts, generation.unpadded())):
        ids[i, :len(prompt) + len(completion)] = torch.tensor(prompt + completion)
        ended = completion[-1] == tokenizer.eos_id
        completions.append(tokenizer.decode(completion) if ended else "")

    problem_of_row = []
    for problem in problems:
        problem_of_row += [problem] * config.group_size
    rewards = world.reward(problem_of_row, completions)
    rollout = Batch(
        ids=ids.to(device),
        prompt_lengths=prompt_lengths.to(device),
        completion_ids=generation.completion_ids[:, :L],
        completion_mask=generation.completion_mask[:, :L],
        old_logprobs=generation.logprobs[:, :L],
        rewards=torch.tensor(rewards, dtype=torch.float32, device=device),
        completions=completions,
        problems=problems)

    if reference is not None:
        def ref_logprobs(micro_batch: Batch) -> torch.Tensor:
            return completion_logprobs(reference, micro_batch, config.temperature)[0]
        rollout.ref_logprobs = by_micro_batch(rollout, config, ref_logprobs)
    return rollout


@torch.no_grad()
def by_micro_batch(rollout: Batch, config: RLConfig,
                   function: Callable[[Batch], torch.Tensor]) -> torch.Tensor:
    """Applies a function of a batch to the rollout in pieces. Returns its results (B, L), rows in order."""
    result = torch.zeros_like(rollout.old_logprobs)                                      # (B, L)
    for rows in rollout.rows_by_length(config.micro_batch_size):
        values = function(rollout.select(rows))             # (rows, their longest completion)
        result[rows, :values.size(1)] = values
    return result
