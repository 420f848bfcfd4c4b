"""The rollout that PPO and GRPO share: what is in it, and how it is cut."""

import torch
from helpers import ragged_rollout, tiny_model, unpadded

from minireason.config import RLConfig
from minireason.policy import completion_logprobs
from minireason.rewards import World
from minireason.rollout import by_micro_batch, collect_rollout
from minireason.tasks import make_problem
from minireason.tokenizer import get_tokenizer

CONFIG = RLConfig(num_prompts=3, group_size=4, max_new_tokens=20, micro_batch_size=5)


def world(seen):
    def reward(problems, completions):
        seen.extend((problem.prompt, completion)
                    for problem, completion in zip(problems, completions, strict=True))
        return [float(i + 1) for i in range(len(completions))]
    return World(lambda rng: make_problem("arithmetic", rng, 2), reward, get_tokenizer())


def test_what_a_rollout_holds():
    model, reference, seen = tiny_model(0, sharpness=6).eval(), tiny_model(1).eval(), []
    tokenizer = get_tokenizer()
    with torch.no_grad():     # so that some completions end and some do not
        model.embedding.weight[tokenizer.eos_id] = model.embedding.weight.abs().mean(0)
    rollout = collect_rollout(model, reference, world(seen), CONFIG, seed=3, iteration=0)
    assert rollout.rewards.tolist() == [float(i + 1) for i in range(12)]
    for row in range(12):
        prompt, completion = unpadded(rollout, row)
        assert tokenizer.decode(prompt) == f"\n{seen[row][0]}\n" == f"\n{rollout.problems[row // 4].prompt}\n"
        ended = completion[-1] == tokenizer.eos_id
        # cut off: nothing to be paid for
        assert seen[row][1] == (tokenizer.decode(completion) if ended else "")
    assert rollout.completion_mask.size(1) == int(rollout.completion_mask.sum(1).max())
    mask = rollout.completion_mask.bool()
    with torch.no_grad():
        assert torch.allclose(completion_logprobs(model, rollout)[0][mask], rollout.old_logprobs[mask],
                              atol=1e-4)
        assert torch.allclose(completion_logprobs(reference, rollout)[0][mask], rollout.ref_logprobs[mask],
                              atol=1e-5)
    summary = rollout.summary(4)
    assert summary["reward"] == 6.5 and summary["zero_std_frac"] == 0.0
    assert summary["num_tokens"] == int(mask.sum())


def test_an_iteration_is_a_function_of_seed_and_number():
    model = tiny_model(0, sharpness=6).eval()

    def draw(seed, iteration):
        return collect_rollout(model, None, world([]), CONFIG, seed, iteration).completion_ids

    first = draw(3, 1)
    assert torch.equal(first, draw(3, 1))
    for other in (draw(3, 2), draw(4, 1)):
        assert first.shape != other.shape or not torch.equal(first, other)


def test_by_micro_batch_puts_rows_back_in_their_order():
    rollout = ragged_rollout(torch.Generator().manual_seed(0))
    found = by_micro_batch(rollout, RLConfig(micro_batch_size=3),
                           lambda batch: batch.completion_ids * batch.completion_mask)
    assert torch.equal(found, rollout.completion_ids * rollout.completion_mask)
