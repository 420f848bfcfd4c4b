"""How fast the playground answers, and whether ten steps of GRPO on one prompt help.

    python tests/benchmarks/playground.py speed          first token, and the longest gap between two tokens
    python tests/benchmarks/playground.py learn          the pass rate before and after ten steps, ten seeds
"""

import argparse
import http.client
import json
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

from minireason.run import PRETRAINED
from minireason.tasks import parse_prompt
from minireason.tools.playground.lab import FRESH, Lab
from minireason.tools.playground.server import make_server

PROMPT = "make 42 from 3 8 6"
NUM_STEPS = 10


def times_of_tokens(port: int, stage: str, seed: int) -> list[float]:
    """Seconds from a request to each of its tokens, as a browser would see them."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    begun = time.perf_counter()
    body = json.dumps({"prompt": PROMPT, "stage": stage, "temperature": 1, "seed": seed})
    connection.request("POST", "/think", body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    seconds = []
    while line := response.readline():
        if "text" in json.loads(line):
            seconds.append(time.perf_counter() - begun)
    connection.close()
    return seconds


def longest_gap(seconds: list[float]) -> float:
    return max(after - before for before, after in zip(seconds, seconds[1:]))


def measure_speed(number: int) -> None:
    server = make_server([PRETRAINED], 0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    stages = server.playground.stages[PRETRAINED]
    alone = [times_of_tokens(server.server_port, "rl", seed) for seed in range(number)]
    report("one answer", alone)
    together = []

    def ask(stage, seed):
        together.append(times_of_tokens(server.server_port, stage, seed))

    for seed in range(number):
        threads = [threading.Thread(target=ask, args=(stage, seed)) for stage in stages]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    report(f"{len(stages)} stages at once", together)
    server.shutdown()


def report(what: str, answers: list[list[float]]) -> None:
    firsts = sorted(seconds[0] for seconds in answers)
    gaps = sorted(longest_gap(seconds) for seconds in answers if len(seconds) > 1)
    print(f"{what}: {len(answers)} answers; first token after {firsts[len(firsts) // 2]:.3f} s, at most "
          f"{firsts[-1]:.3f}; longest gap {gaps[len(gaps) // 2]:.3f} s, at most {gaps[-1]:.3f}", flush=True)


def measure_learning(stage: str, prompt: str, group_size: int, num_seeds: int) -> None:
    server = make_server([PRETRAINED], 0)       # never asked: it chooses the kernels, as the page's does
    speaker = server.playground.speaker(PRETRAINED, stage)
    num_higher = 0
    for seed in range(num_seeds):
        lab = Lab(speaker, parse_prompt(prompt), "grpo", group_size, seed)
        before = lab.pass_rate(lambda event: None)["right"]
        for _ in range(NUM_STEPS):
            lab.sample_group()
            lab.step()
        after = lab.pass_rate(lambda event: None)["right"]
        num_higher += after > before
        print(f"seed {seed}: {before} of {FRESH} right before, {after} after {NUM_STEPS} steps", flush=True)
    print(f"{stage}, {prompt}, groups of {group_size}: higher in {num_higher} of {num_seeds} seeds",
          flush=True)
    server.server_close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("speed", "learn"))
    parser.add_argument("--stage", default="cold-start")
    parser.add_argument("--prompt", default=PROMPT)
    parser.add_argument("--group-size", type=int, default=16)
    parser.add_argument("--number", type=int, default=10, help="of answers, or of seeds")
    args = parser.parse_args()
    if args.what == "speed":
        measure_speed(args.number)
    else:
        measure_learning(args.stage, args.prompt, args.group_size, args.number)
