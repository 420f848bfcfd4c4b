"""How fast training and sampling are beside other programs: with threads that sleep, threads that spin, one.

    python tests/benchmarks/neighbours.py             on a quiet machine: four minutes, quiet and busy in turn

A neighbour multiplies matrices with two threads for as long as the measurement lasts; there are two of them.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

import torch

from minireason import corpus, sft
from minireason.config import preset
from minireason.inference import answer_all
from minireason.model import GPT
from minireason.optimizer import adamw
from minireason.run import PRETRAINED, open_model
from minireason.tokenizer import get_tokenizer
from minireason.upkeep import neighbours

WAYS = ("sleep", "spin", "one thread")      # "sleep" is what every command does


def imitation(seconds):
    """Steps of the base stage per second, after the first third of the time."""
    config, tokenizer = preset("laptop"), get_tokenizer()
    config.model.vocab_size = tokenizer.vocab_size
    model = GPT(config.model).init_weights(0)
    examples = corpus.tokenize(tokenizer, corpus.base_corpus(0, 48 * 100, config.tasks))
    began, ends = time.monotonic(), []
    for _ in sft.train(model, adamw(config.base, model), examples, config.base, seed=0):
        ends.append(time.monotonic())
        if ends[-1] > began + seconds and len(ends) > 3:
            break
    first = len(ends) // 3
    return (len(ends) - 1 - first) / (ends[-1] - ends[first])


def sampling(num_rows):
    """Tokens per second of as many answers at once."""
    model, _ = open_model(PRETRAINED, "rl")
    began = time.monotonic()
    answers = answer_all(model, get_tokenizer(), ["make 42 from 3 8 6"] * num_rows, 128, seed=0)
    return sum(length for _, length in answers) / (time.monotonic() - began)


def measure_here(way, seconds):
    """Prints the three speeds of this process."""
    if way == "spin":
        neighbours.watch = lambda: None
    if way == "one thread":
        torch.set_num_threads(1)
    print(f"{imitation(seconds):.2f} {sampling(64):.0f} {sampling(1):.0f}")


def be_a_neighbour():
    torch.set_num_threads(2)
    matrix = torch.randn(256, 256)
    while True:
        torch.relu(matrix @ matrix + 1)


def measure(place, seconds, ways, repeats):
    for _ in range(repeats):
        for way in ways:
            done = subprocess.run([sys.executable, __file__, "--here", way, "--seconds", str(seconds)],
                                  capture_output=True, text=True, check=True)
            steps, many, one = done.stdout.split()
            print(f"{place:6} {way:11} {steps:>5} steps/s of imitation, tokens/s: "
                  f"{many:>6} of 64 rows, {one:>4} of one", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=15, help="of imitation, each time")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--here", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--neighbour", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.neighbour:
        be_a_neighbour()
    if args.here:
        measure_here(args.here, args.seconds)
        return
    print(f"{os.cpu_count()} cores, {torch.get_num_threads()} threads")
    measure("quiet", args.seconds, WAYS, args.repeats)
    command = [sys.executable, __file__, "--neighbour"]
    processes = [subprocess.Popen(command) for _ in range(2)]
    try:
        measure("busy", args.seconds, WAYS, args.repeats)
    finally:
        for process in processes:
            process.kill()
            process.wait()


if __name__ == "__main__":
    main()
