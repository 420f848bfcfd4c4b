"""Which samples become the next model's data."""

import random
from collections import Counter

import torch
from helpers import shipped_mix, tiny_model

from minireason import inference, rejection, sampling, stages
from minireason.config import RejectionConfig, TaskConfig, preset
from minireason.run import Run
from minireason.tasks import is_test, parse_prompt
from minireason.tokenizer import get_tokenizer
from minireason.verifier import verify

PROMPTS = ["compute 2+3", "compute 4*5", "compute 9-9"]
ANSWERS = {   # what the stand-in for a model says, sample by sample
    "compute 2+3": ["<think>2+3=5</think><answer>5</answer>", "<think>2+3=5</think><answer>5</answer>",
                    "<think>2+3=5 ok</think><answer>5</answer>", "<think>so 2+3=5</think><answer>5</answer>"],
    "compute 4*5": ["<think>4*5=20</think><answer>21</answer>",
                    "<think>so luego 4*5=20</think><answer>20</answer>",
                    "no tags", "<think>4*5=20</think><answer>20</answer>"],
    "compute 9-9": ["<think>" + "so " * 40 + "9-9=0</think><answer>0</answer>"] * 4,
}


def test_each_filter_takes_what_it_is_for(monkeypatch):
    tokenizer, said = get_tokenizer(), Counter()

    def scripted(model, prompts, max_new_tokens, temperature, seed, *, eos_id, on_token):
        rows = []
        for ids in prompts:
            prompt = tokenizer.decode(ids).strip("\n")
            rows.append(tokenizer.encode_tagged(ANSWERS[prompt][said[prompt]]) + [eos_id])
            said[prompt] += 1
        longest = max(map(len, rows))
        ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
        mask = torch.tensor([[1.0] * len(row) + [0.0] * (longest - len(row)) for row in rows])
        return sampling.Generation(ids, mask, torch.zeros_like(mask))

    monkeypatch.setattr(inference, "generate", scripted)
    queue = iter([*PROMPTS, PROMPTS[0]])                # a problem drawn twice is asked once
    config = RejectionConfig(num_problems=4, samples_per_problem=4, max_per_problem=2, max_tokens=30)
    examples, counts = rejection.sample_and_filter(None, tokenizer, lambda rng: parse_prompt(next(queue)),
                                                   config, 0, 200)
    assert examples == [("compute 2+3", ANSWERS["compute 2+3"][0]),
                        ("compute 2+3", ANSWERS["compute 2+3"][2]),
                        ("compute 4*5", ANSWERS["compute 4*5"][3])]
    assert counts["sampled"] == 12 and counts["kept"] == 3 and counts["wrong"] == 2
    assert counts["unreadable"] == 1
    assert counts["too long"] == 4 and sum(counts.values()) == 24
    assert all(verify(parse_prompt(prompt), completion).correct for prompt, completion in examples)


def test_it_is_a_function_of_the_seed():
    config = RejectionConfig(num_problems=5, samples_per_problem=2)
    model, tokenizer = tiny_model().eval(), get_tokenizer()
    asked = []

    def draw(rng):
        asked.append(rng.random())
        return parse_prompt(f"compute {1 + int(100 * asked[-1]) % 9}+3")
    first = rejection.sample_and_filter(model, tokenizer, draw, config, 1, 10)
    assert first == rejection.sample_and_filter(model, tokenizer, draw, config, 1, 10)
    assert asked[:5] == asked[5:]


def test_it_asks_each_task_as_often_and_easier_levels_too():
    """Without the easier levels the student unlearned sums of two terms."""
    config = preset("laptop")
    config.tasks = shipped_mix()
    world = stages.rejection_world(Run("nowhere", config, torch.device("cpu")))
    rng, asked = random.Random(0), Counter()
    for _ in range(6000):
        problem = world.draw(rng)
        assert not is_test(problem)
        asked[problem.task, problem.level] += 1
    for task, hardest in (("arithmetic", 3), ("countdown", 3), ("program", 4)):
        of_task = [asked[task, level] for level in range(hardest + 2)]
        assert of_task[0] == 0 and of_task[-1] == 0
        assert abs(sum(of_task) - 2000) < 150
        parts = sum(range(hardest + 1))
        for level in range(1, hardest + 1):
            assert abs(of_task[level] - 2000 * level / parts) < 100


def test_a_task_that_is_only_scored_is_not_asked():
    config = preset("smoke")
    config.tasks = TaskConfig(levels={"arithmetic": (0,), "countdown": (1,)},
                              shares={"arithmetic": 1.0, "countdown": 0.0})
    world = stages.rejection_world(Run("nowhere", config, torch.device("cpu")))
    rng = random.Random(0)
    problems = [world.draw(rng) for _ in range(50)]
    assert {(problem.task, problem.level) for problem in problems} == {("arithmetic", 0)}
