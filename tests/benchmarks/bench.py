"""How fast, beside what one would use instead: transformers' generate, TRL's trainers,
a plain matrix product.

    python tests/benchmarks/bench.py [generation|sft|grpo|ppo|startup|all] [--repeats N] [--json FILE]

Prints a Markdown table. Each measurement is a fresh process, ours and theirs in turn. README.md says what is
compared and where it is not equal. No torch in this file: a child's peak memory counts from its parent's.
"""

import argparse
import importlib.metadata
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
KINDS = ("generation", "sft", "grpo", "ppo", "startup")
# modules that need neither torch nor matplotlib
NO_TORCH = "config upkeep.seeding tokenizer tasks verifier behaviour corpus upkeep.metrics".split()


def rows_of(kind, args):
    """[(name, our side, their side or None, settings)];
    a side is a function of measure.py or peers.py or a command."""
    if kind == "generation":
        shapes = [(f"{B} rows of 64 tokens", {"rows": B, "length": 64, "ragged": False})
                  for B in (1, 32, args.rows)]
        shapes.append((f"{args.rows} ragged rows", {"rows": args.rows, "length": 110, "ragged": True}))
        return [(f"generation, {name}", "measure.generation", "peers.generation", shape)
                for name, shape in shapes]
    if kind == "sft":
        return [("SFT step", "measure.sft_step", "measure.matrix_product", {})]
    shape = {"prompts": args.rows // 16, "group": 16, "length": 110, "steps": args.steps}
    if kind == "grpo":
        return [(f"GRPO step, KL weight {weight}", "measure.grpo_step", "peers.grpo_step",
                 shape | {"kl_coef": weight})
                for weight in (0.0, 0.04)]
    if kind == "ppo":
        theirs = "peers.ppo_step" if args.trl_ppo else None
        return [("PPO step, KL weight 0.04", "measure.ppo_step", theirs, shape | {"kl_coef": 0.04})]
    python, modules = [sys.executable, "-c"], ", ".join(f"minireason.{name}" for name in NO_TORCH)
    rows = [("import without torch", [*python, f"import {modules}; print()"], [*python, "print()"], {})]
    if args.run_folder:
        ask = [sys.executable, "sample.py", "compute 2+3", "--run", args.run_folder]
        rows.append(("first token of sample.py", ask, [*python, "import torch; print()"], {}))
    return rows


def measure(side, settings, args):
    """{what: number} of one measurement in a fresh process; empty, with a message, where it failed."""
    folder = args.trl_ppo if side == "peers.ppo_step" else None     # stands before what is installed
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(str(part) for part in (folder, ROOT) if part),
        "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false",
        "TRL_EXPERIMENTAL_SILENCE": "1"}
    script = [sys.executable, str(Path(__file__).with_name("measure.py"))]
    command = side if isinstance(side, list) else [*script, side, json.dumps(settings)]
    began = time.perf_counter()
    with tempfile.TemporaryFile("w+") as errors, subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=errors, bufsize=0) as process:
        output = process.stdout.read(1)
        seconds = time.perf_counter() - began       # until the first byte
        output += process.stdout.read()
        if process.wait():
            errors.seek(0)
            print(f"{command[1:]} failed: {errors.read().strip().splitlines()[-1:]}", file=sys.stderr)
            return {}
    return {"seconds": seconds} if isinstance(side, list) else json.loads(output.splitlines()[-1])


def spread(values):
    """median (lowest to highest), to three digits."""

    def digits(x):
        return f"{x:,.0f}" if x >= 100 else f"{x:.3g}"

    if not values:
        return "-"
    return f"{digits(statistics.median(values))} ({digits(min(values))} to {digits(max(values))})"


def table_lines(name, pairs):
    """One line for each number that was measured in [(our numbers, their numbers)];
    a ratio is that of a pair."""
    measured = []       # names of numbers; some sides have some of them
    for our_numbers, their_numbers in pairs:
        measured += [*our_numbers, *their_numbers]
    for what in dict.fromkeys(measured):
        ours = [numbers[what] for numbers, _ in pairs if what in numbers]
        theirs = [numbers[what] for _, numbers in pairs if what in numbers]
        ratios = [a[what] / b[what] for a, b in pairs if what in a and what in b]
        yield f"| {name} | {what} | {spread(ours)} | {spread(theirs)} | {spread(ratios)} |"


def main():
    parser = argparse.ArgumentParser(description="Measure minireason beside its peers.")
    parser.add_argument("what", nargs="?", choices=(*KINDS, "all"), default="all", help="all by default")
    parser.add_argument("--repeats", type=int, default=5, help="fresh processes of each side")
    parser.add_argument("--seconds", type=float, default=5.0,
                        help="generation, sft: time in each process, at least")
    parser.add_argument("--steps", type=int, default=3,
                        help="grpo, ppo: steps in each process, after a first one")
    parser.add_argument("--rows", type=int, default=256,
                        help="completions of the large batch, a multiple of 16")
    parser.add_argument("--run-folder", metavar="RUN", type=os.path.abspath,
                        help="startup: a run, for sample.py")
    parser.add_argument("--trl-ppo", metavar="FOLDER", type=os.path.abspath,
                        help="ppo: a TRL that has it, see README")
    parser.add_argument("--json", metavar="FILE", help="write every single number here")
    args = parser.parse_args()
    versions = {each.name: each.version for each in importlib.metadata.distributions()}
    everything = {"command": " ".join(["python", *sys.argv]), "cores": os.cpu_count(),
                  "threads": os.environ.get("OMP_NUM_THREADS", "as torch chooses"),
                  **{name: versions.get(name) for name in ("torch", "transformers", "trl")}}
    print(", ".join(f"{key}: {value}" for key, value in everything.items()) +
          f"; median (lowest to highest) of {args.repeats}\n\n"
          "| what | number | minireason | peer | minireason / peer |\n|---|---|---|---|---|", flush=True)
    for kind in KINDS if args.what == "all" else (args.what,):
        for name, ours, theirs, settings in rows_of(kind, args):
            # another seed for each pair: what is drawn should not favour a side for good
            asked = [settings | {"seconds": args.seconds, "seed": seed} for seed in range(args.repeats)]
            pairs = [(measure(ours, each, args), measure(theirs, each, args) if theirs else {})
                     for each in asked]
            everything[name] = pairs
            print("\n".join(table_lines(name, pairs)), flush=True)
    if args.json:
        Path(args.json).write_text(json.dumps(everything, indent=1) + "\n")


if __name__ == "__main__":
    main()
