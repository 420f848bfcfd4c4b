"""What an RL step costs against group size, completion length and width: sampling and update apart.

    python tests/benchmarks/cost.py [--steps 3]

The laptop preset with one number changed at a time, all completions at full length, rewards drawn at random
so that every group teaches. CPU seconds of all threads together (run it with OMP_NUM_THREADS=1), medians of
the steps after a first one. Writes lessons/results/cost.json and cost.png.
"""

import argparse
import random
import statistics
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import torch

ROOT = Path(__file__).parent.parent.parent
sys.path[:0] = [str(ROOT)]

from measure import prompt_texts

from minireason import grpo, rollout
from minireason.config import preset
from minireason.model import GPT
from minireason.rewards import World
from minireason.tokenizer import get_tokenizer
from minireason.tools.plots import new_figure
from minireason.upkeep.checkpoint import save_json

RESULTS = ROOT / "lessons" / "results"
VARIED = {"group_size": (4, 8, 16, 32), "max_new_tokens": (20, 40, 80, 160), "width": (64, 128, 192, 256)}
FIXED = {"group_size": 16, "max_new_tokens": 80, "width": 128}


def seconds_of(group_size, max_new_tokens, width, num_steps):
    """Medians (sampling, update) of one step, in CPU seconds."""
    config, tokenizer, rng, sampling = preset("laptop"), get_tokenizer(), random.Random(0), []
    config.model.vocab_size = tokenizer.vocab_size
    config.model.width, config.model.mlp_width = width, width * 352 // 128
    config.rl.group_size, config.rl.max_new_tokens = group_size, max_new_tokens
    config.rl.num_iterations = num_steps + 1
    texts = prompt_texts(config.rl.num_prompts)
    endless = SimpleNamespace(encode_prompt=tokenizer.encode_prompt, decode=tokenizer.decode, pad_id=0,
                              eos_id=None)

    def draw(rng):
        return SimpleNamespace(prompt=rng.choice(texts))

    def reward(problems, completions):
        return [float(rng.random() < 0.5) for _ in problems]

    world = World(draw, reward, endless)
    model = GPT(config.model).init_weights(0)
    optimizer = torch.optim.AdamW(model.parameters())

    def timed(*arguments, **settings):
        began = time.process_time()
        done = rollout_generate(*arguments, **settings)
        sampling.append(time.process_time() - began)
        return done
    rollout_generate, whole, began = rollout.generate, [], time.process_time()
    with mock.patch.object(rollout, "generate", timed):
        for _ in grpo.train(model, None, optimizer, world, config.rl, seed=0):
            whole.append(time.process_time() - began)
            began = time.process_time()
    updates = [step - some for step, some in zip(whole[1:], sampling[1:])]
    return statistics.median(sampling[1:]), statistics.median(updates)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=3)
    args = parser.parse_args()
    table, (figure, axes) = {}, new_figure(1, 3, figsize=(9.6, 3), sharey=True)
    for axis, (name, values) in zip(axes, VARIED.items()):
        table[name] = {value: seconds_of(**FIXED | {name: value}, num_steps=args.steps) for value in values}
        for value, (sampling, update) in table[name].items():
            print(f"{name} {value}: sampling {sampling:.2f}, update {update:.2f} CPU seconds", flush=True)
        sampling, update = zip(*table[name].values())
        axis.bar(range(len(values)), sampling, color="#1b6ca8", label="sampling")
        axis.bar(range(len(values)), update, bottom=sampling, color="#b9c7d6", label="update")
        axis.set_xticks(range(len(values)), values)
        axis.set_xlabel({"group_size": "completions a prompt", "max_new_tokens": "tokens a completion",
                         "width": "width of the model"}[name])
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("CPU seconds per RL step")
    axes[0].legend(frameon=False, fontsize=8)
    figure.savefig(RESULTS / "cost.png", dpi=150)
    save_json(RESULTS / "cost.json",
              {"command": "python tests/benchmarks/cost.py", "threads": torch.get_num_threads(),
               "fixed": FIXED, "seconds (sampling, update)": table})


if __name__ == "__main__":
    main()
