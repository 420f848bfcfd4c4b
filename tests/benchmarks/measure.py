"""Our side, and what both sides get.

`python measure.py measure.grpo_step '{"prompts": 16, ...}'` prints its numbers.

bench.py starts it, in a fresh process each time. Read next to peers.py: same names, same arguments.
"""

import functools
import importlib
import itertools
import json
import math
import random
import resource
import sys
import time
from types import SimpleNamespace

import torch

from minireason import grpo, ppo, sft
from minireason.config import RLConfig, preset
from minireason.corpus import base_corpus, tokenize
from minireason.model import GPT
from minireason.policy import Critic
from minireason.rewards import World
from minireason.sampling import generate
from minireason.tokenizer import get_tokenizer
from minireason.upkeep import kernels

END_CHANCE = 0.0185     # of each token to be the end: 47 tokens on average where 110 are the most
MICRO_BATCH = 64        # completions per backward pass
LEARNING_RATE = 1e-6    # too small to change the lengths within a few steps


def benchmark_model():
    """The laptop preset's model with made-up weights, and an end token of the same chance after every prefix.

    The first number of the residual stream carries a constant through the network: every embedding has it and
    no block writes there. The end token's embedding differs in it alone, which adds a constant to its logit.
    So the weights themselves make ragged completions, and nobody's code has to be patched.
    """
    tokenizer, config, generator = get_tokenizer(), preset("laptop").model, torch.Generator().manual_seed(0)
    config.vocab_size = tokenizer.vocab_size
    model = GPT(config).init_weights(0)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            # 0 in fresh weights: then no copy could be wrong
            if name.endswith(("out.weight", "down.weight")):
                weight.normal_(0, 0.002, generator=generator)
                weight[0] = 0
        embedding = model.embedding.weight                                                 # (V, C)
        embedding[:, 0] = 0.5
        embedding[tokenizer.eos_id, 1:] = 0
        hidden = model.hidden(torch.randint(0, 256, (32, 64), generator=generator))        # (32, 64, C)
        carried = hidden[..., 0].mean()     # what the constant has become behind the last norm
        others = model.head(hidden).logsumexp(-1).mean() - 0.5 * carried
        embedding[tokenizer.eos_id, 0] += (math.log(END_CHANCE / (1 - END_CHANCE)) + others) / carried
        embedding[tokenizer.pad_id, 0] -= 20 / carried                                     # never drawn
    return model


def prompt_texts(number):
    """Different prompts of 16 tokens each, the line's end included."""
    rng = random.Random(0)
    return ["compute " + "".join(rng.choices("123456789+-*", k=13)) for _ in range(number)]


def reward(text):
    """0 or 1, as good as at random: hardly a group in which all are alike."""
    return float(len(text) % 2)


def rate(unit, call, seconds):
    """Numbers of call(0) to warm up, then call(1), call(2), ... until the time is over;
    each returns its units."""
    call(0)
    units, number, began = 0, 0, time.perf_counter()
    while (passed := time.perf_counter() - began) < seconds or not number:
        number += 1
        units += call(number)
    return {f"{unit}/s": units / passed, f"{unit} a call": units / number}


def step_numbers(marks, tokens):
    """Numbers from the time at each step's end and each step's completion tokens;
    the first step is a warm-up."""
    steps, unit = len(marks) - 1, 2**20 if sys.platform == "darwin" else 2**10      # of ru_maxrss
    return {"seconds a step": (marks[-1] - marks[0]) / steps,
            "new tokens a step": sum(tokens[-steps:]) / steps,
            "peak MiB of the process": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit}


def generation(rows, length, ragged, seconds, seed):
    model, tokenizer = benchmark_model(), get_tokenizer()
    prompts = [tokenizer.encode_prompt(text) for text in prompt_texts(rows)]

    def call(number):
        done = generate(model, prompts, length, 1.0, 1000 * seed + number,
                        eos_id=tokenizer.eos_id if ragged else None)
        return int(done.completion_mask.sum())
    return rate("new tokens", call, seconds)


def sft_step(seconds, seed):
    """sft.train on the base corpus, as train.py does it. Real tokens are counted;
    padding is work for nothing."""
    config, model = preset("laptop").base, benchmark_model()
    examples, config.num_epochs = tokenize(get_tokenizer(), base_corpus(seed, 4800)), 100
    lengths = [len(prompt) + len(completion) - 1 for prompt, completion in examples]
    steps = list(sft.indices_of_steps(len(examples), config, seed))
    optimizer = torch.optim.AdamW(model.parameters())
    loop = sft.train(model, optimizer, examples, config, seed)
    numbers = rate("tokens", lambda step: next(loop) and sum(lengths[i] for i in steps[step]), seconds)
    # a token's operations, forward and backward: 6 a weight of the matrices, 12C a layer and token that it
    # attends to
    context = sum(n * n / 2 for n in lengths) / sum(lengths)        # half of its row on average
    matrices = sum(weight.numel() for weight in model.parameters() if weight.dim() > 1)
    operations = 6 * matrices + 12 * model.config.num_layers * model.config.width * context
    return numbers | {"GFLOP/s": numbers["tokens/s"] * operations / 1e9}


def matrix_product(seconds, seed, size=2048):
    """The most that this machine does in float32."""
    kernels.choose(size)
    a, b = torch.randn(size, size), torch.randn(size, size)
    return rate("GFLOP", lambda _: torch.mm(a, b).numel() * 2 * size / 1e9, seconds)


def grpo_step(prompts, group, length, steps, kl_coef, seconds, seed, algorithm=grpo):
    policy, tokenizer = benchmark_model(), get_tokenizer()
    reference = benchmark_model().requires_grad_(False) if kl_coef else None
    models = [policy, Critic(policy)] if algorithm is ppo else [policy]
    optimizer = torch.optim.AdamW([{"params": list(model.parameters())} for model in models])
    config = RLConfig(num_iterations=1 + steps, num_prompts=prompts, group_size=group, num_epochs=1,
                      kl_coef=kl_coef, micro_batch_size=MICRO_BATCH, max_new_tokens=length,
                      learning_rate=LEARNING_RATE, critic_learning_rate=LEARNING_RATE)
    texts, marks, tokens = itertools.cycle(prompt_texts(prompts)), [], []

    def draw(rng):
        return SimpleNamespace(prompt=next(texts))

    def rewards_of(problems, completions):
        return [reward(text) for text in completions]

    world = World(draw, rewards_of, tokenizer)
    for metrics in algorithm.train(*models, reference, optimizer, world, config, seed):
        marks.append(time.perf_counter())
        tokens.append(metrics["num_tokens"])
    return step_numbers(marks, tokens)


ppo_step = functools.partial(grpo_step, algorithm=ppo)

if __name__ == "__main__":
    module, function = sys.argv[1].split(".")
    print(json.dumps(getattr(importlib.import_module(module), function)(**json.loads(sys.argv[2]))))
