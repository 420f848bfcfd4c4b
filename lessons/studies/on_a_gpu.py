"""What one GPU says of this repository: memory, agreement with the CPU, seconds a step, tokens a second.

    python lessons/studies/on_a_gpu.py [--minutes 5] [--out lessons/results/GPU.json]
    python lessons/studies/on_a_gpu.py --device cpu --tiny --out FILE       the same parts, small, anywhere

Needs no installation and no network. Each part prints its results as they come, and the JSON file is written
after each part. A part that fails is one line of the file, and the next part begins. A part that would begin
after --minutes is left out.

    memory      PPO and GRPO: what the allocator holds, beside the ledger of minireason.tools.memory
    agreement   the same rollout on the CPU and on the GPU: losses, and weights after five steps
    seconds     one step of each, sampling and update apart
    minute      the gpu preset from random weights: imitation, then RL
"""

import copy
import dataclasses
import gc
import os
import platform
import statistics
import sys
import time
import traceback
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT)]

import torch

from minireason import grpo, ppo, sft
from minireason.config import ModelConfig, RLConfig, preset
from minireason.corpus import base_corpus, tokenize
from minireason.model import GPT
from minireason.optimizer import adamw
from minireason.policy import make_critic
from minireason.rewards import World, reasoning_world
from minireason.rollout import collect_rollout
from minireason.tokenizer import get_tokenizer
from minireason.tools import memory
from minireason.tools.flags import Parser, number
from minireason.upkeep import kernels
from minireason.upkeep.checkpoint import save_json
from minireason.upkeep.command import BadInput, exit_codes, is_out_of_memory
from minireason.upkeep.parallel import pick_device

MODULES = {"grpo": grpo, "ppo": ppo}
PROMPT_LENGTH = 20
SAME_LOSS = 1e-4            # how far the losses of CPU and GPU may be apart


def sizes(tiny):
    """{name: (ModelConfig, RLConfig)}. At 300M few prompts are sampled, and a micro-batch has 8 rows."""
    if tiny:
        c = ModelConfig(get_tokenizer().vocab_size, 32, 2, 4, 2, 48, 128)
        return {"tiny": (c, RLConfig(num_prompts=2, micro_batch_size=4, max_new_tokens=12))}
    named = {}
    for name in ("laptop", "gpu"):
        config = preset(name)
        config.model.vocab_size = get_tokenizer().vocab_size
        named[name] = (config.model, config.rl)
    large = ModelConfig(vocab_size=32_000, width=1024, num_layers=24, num_heads=16, num_kv_heads=4,
                        mlp_width=2816, max_length=512)
    named["300M"] = (large, RLConfig(num_prompts=4, micro_batch_size=8))
    return named


# -----------------------------------------------------------------------------
# Steps that are watched

class MasterAdamW:
    """AdamW for bfloat16 weights: it updates a copy in float32, which is then rounded into the weights."""

    def __init__(self, parameters, learning_rate):
        self.parameters = parameters
        self.masters = [parameter.detach().float() for parameter in parameters]
        self.adamw = torch.optim.AdamW(self.masters, lr=learning_rate, fused=True)
        self.param_groups = self.adamw.param_groups

    def zero_grad(self, set_to_none=True):
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self):
        for master, parameter in zip(self.masters, self.parameters):
            master.grad = parameter.grad.float()
        self.adamw.step()
        for master, parameter in zip(self.masters, self.parameters):
            parameter.copy_(master)
            master.grad = None


def build(c, settings, algo, dtype, device):
    """Returns ([policy] or [policy, critic], optimizer), with random weights made on the device."""
    with torch.device(device):
        policy = GPT(c)
    randomize(policy)
    policy = policy.to(dtype)
    networks = [policy]
    if algo == "ppo":
        critic = make_critic(policy, shared=False).to(device, dtype)
        if dtype != torch.float32:
            critic.register_forward_hook(lambda module, inputs, values: values.float())
        networks.append(critic)
    if dtype == torch.float32:
        return networks, adamw(settings, *networks)
    parameters = []
    for network in networks:
        parameters += network.parameters()
    return networks, MasterAdamW(parameters, settings.learning_rate)


@torch.no_grad()
def randomize(network):
    """Random matrices everywhere: fresh weights are 0 where a block writes, and would hide mistakes."""
    for parameter in network.parameters():
        if parameter.dim() > 1:
            parameter.normal_(0, 0.02)


def endless_world():
    """A World without text, in which no completion ends early, so that each step has the same size.

    Prompts are PROMPT_LENGTH random ids. Every second completion is rewarded: each group has a signal.
    """
    # a prompt is a list of ids already; without an end token, sampling goes on to max_new_tokens
    tokenizer = SimpleNamespace(encode_prompt=list, decode=lambda ids: "", pad_id=0, eos_id=None)

    def draw(rng):
        return SimpleNamespace(prompt=[rng.randrange(1, 256) for _ in range(PROMPT_LENGTH)])

    def reward(problems, completions):
        return [float(row % 2) for row in range(len(completions))]

    return World(draw, reward, tokenizer)


def now(device):
    """Seconds, after all that was asked of the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def held_bytes(device):
    """Bytes of the tensors that the device holds; 0 on a CPU, which does not count them."""
    return torch.cuda.memory_allocated() if device.type == "cuda" else 0


def most_bytes(device):
    """The largest `held_bytes` since the last call."""
    if device.type != "cuda":
        return 0
    torch.cuda.synchronize()
    most = torch.cuda.max_memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    return most


def watched_steps(algo, networks, optimizer, world, settings, device, seed=0):
    """Trains settings.num_iterations steps with the code that train.py runs, and watches it.

    Two functions of the algorithm's module are replaced for that. Returns a dict for each step: "seconds",
    "rollout_seconds", "update_seconds"; "rollout_peak" and "update_peak", in bytes; "at_backward", the most
    bytes that were held when a backward pass was about to begin; "num_tokens" and "reward".
    """
    module = MODULES[algo]
    collect, compute_loss = module.collect_rollout, module.compute_loss
    step, steps = {}, []

    def watched_collect(*arguments):
        most_bytes(device)          # the peak is counted from here on
        began = now(device)
        rollout = collect(*arguments)
        step.update(began=began, at_backward=0, rollout_seconds=now(device) - began,
                    num_tokens=int(rollout.completion_mask.sum()), rollout_peak=most_bytes(device))
        return rollout

    def watched_loss(*arguments, **options):
        result = compute_loss(*arguments, **options)
        step["at_backward"] = max(step["at_backward"], held_bytes(device))
        return result

    with (mock.patch.object(module, "collect_rollout", watched_collect),
          mock.patch.object(module, "compute_loss", watched_loss)):
        for metrics in module.train(*networks, None, optimizer, world, settings, seed):     # no reference
            step["seconds"] = now(device) - step.pop("began")
            step["update_seconds"] = step["seconds"] - step["rollout_seconds"]
            step["update_peak"] = most_bytes(device)
            step["reward"] = metrics["reward"]
            steps.append(dict(step))
    return steps


# -----------------------------------------------------------------------------
# What a study knows, and how it goes on after a fault

class Study:
    """The device, the time that is left, and the results so far."""

    def __init__(self, device, tiny, minutes, out):
        self.device, self.tiny, self.out = device, tiny, out
        self.counts_bytes = device.type == "cuda"       # a CPU has no allocator to ask
        self.began = time.monotonic()
        self.deadline = self.began + 60 * minutes
        self.results, self.num_faults = {}, 0

    def seconds_left(self):
        return self.deadline - time.monotonic()

    def add(self, part, row, line):
        """Adds one row to the results of a part, prints it as a line, and saves all."""
        self.results.setdefault(part, []).append(row)
        print(f"{time.monotonic() - self.began:6.1f} s  {part}: {line}", flush=True)
        save_json(self.out, self.results)


def attempt(study, part, what, function, *arguments):
    """Calls function(study, ...), unless the time is over. An error in it becomes a row of the results.

    `what` names the measurement in that row. Too little memory is a result; any other error is a fault.
    """
    if study.seconds_left() <= 0:
        study.add(part, {"what": what, "skipped": "no time was left"}, f"{what} is left out: no time")
        return
    try:
        function(study, *arguments)
    except Exception as error:      # any error: the machine is rented, so the other parts are still measured
        if not is_out_of_memory(error):
            traceback.print_exc()
            study.num_faults += 1
        text = f"{type(error).__name__}: {error}".splitlines()[0][:300]
        study.add(part, {"what": what, "error": text}, f"{what} failed: {text}")
    give_memory_back(study.device)


def give_memory_back(device):
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


# -----------------------------------------------------------------------------
# Memory

def memory_part(study):
    """The allocator's peaks beside the ledger."""
    use_everything_once(study.device)
    for size, (c, settings) in sizes(study.tiny).items():
        for dtype in ("float32", "bfloat16"):
            for algo in MODULES:
                attempt(study, "memory", f"{size} {algo} {dtype}", allocator_rows, size, c, settings, algo,
                        dtype)
        for algo in MODULES:
            attempt(study, "memory", f"{size} {algo} counted", counted_row, size, c, settings, algo)


def use_everything_once(device):
    """Runs both algorithms once on a tiny model.

    The libraries of the card then hold their workspace. Measurements leave out what was held before them.
    """
    c, settings = sizes(tiny=True)["tiny"]
    settings = dataclasses.replace(settings, group_size=4, num_iterations=1)
    for dtype in (torch.float32, torch.bfloat16):
        for algo in MODULES:
            networks, optimizer = build(c, settings, algo, dtype, device)
            watched_steps(algo, networks, optimizer, endless_world(), settings, device)


def allocator_rows(study, size, c, settings, algo, dtype):
    """One row for each group size. The networks stay; a first step makes the optimizer's moments."""
    before = held_bytes(study.device)
    settings = dataclasses.replace(settings, group_size=4, num_iterations=1)
    networks, optimizer = build(c, settings, algo, getattr(torch, dtype), study.device)
    watched_steps(algo, networks, optimizer, endless_world(), settings, study.device)
    for group_size in (4, 16, 64):
        what = f"{size} {algo} {dtype} group {group_size}"
        changed = dataclasses.replace(settings, group_size=group_size)
        attempt(study, "memory", what, allocator_row, what, c, changed, algo, dtype, networks, optimizer,
                before)


def allocator_row(study, what, c, settings, algo, dtype, networks, optimizer, before):
    """One step, and the most bytes that it held at three places, without those held `before`."""
    formula = memory.ledger(c, settings, algo, PROMPT_LENGTH, dtype, device=study.device.type)
    total = sum(formula.values())
    expected = {"at backward": total - formula["key-value cache"],
                "sampling": total - formula["activations"],
                "peak": memory.peak(formula)}
    row = {"what": what, "algo": algo, "dtype": dtype, "group_size": settings.group_size,
           "num_prompts": settings.num_prompts, "micro_batch_size": settings.micro_batch_size,
           "formula": formula, "expected": expected}
    [step] = watched_steps(algo, networks, optimizer, endless_world(), settings, study.device)
    if not study.counts_bytes:
        study.add("memory", row, f"{what}: {in_mib(expected['peak'])} by formula")
        return
    measured = {"at backward": step["at_backward"] - before,
                "sampling": step["rollout_peak"] - before,
                "peak": max(step["rollout_peak"], step["update_peak"]) - before}
    errors = {name: expected[name] / measured[name] - 1 for name in measured}
    row.update({"allocator": measured, "held before": before, "relative error": errors})
    line = f"{what}, by formula and allocator"
    for name in measured:
        line += f"; {name} {in_mib(expected[name])}, {in_mib(measured[name])} ({100 * errors[name]:+.1f}%)"
    study.add("memory", row, line)


def in_mib(num_bytes):
    return f"{num_bytes / 2**20:,.1f} MiB"


def counted_row(study, size, c, settings, algo):
    """The ledger beside what `memory.measure` counts on the tensors of this device, in float32."""
    settings = dataclasses.replace(settings, group_size=16)
    formula = memory.ledger(c, settings, algo, PROMPT_LENGTH, device=study.device.type)
    counted = memory.measure(c, settings, algo, PROMPT_LENGTH, study.device)
    errors = {}
    for name, num_bytes in formula.items():
        if counted[name]:
            errors[name] = num_bytes / counted[name] - 1
    row = {"what": f"{size} {algo} counted", "algo": algo, "dtype": "float32", "group_size": 16,
           "formula": formula, "counted": counted, "relative error": errors}
    study.add("memory", row,
              f"{size} {algo} counted on tensors: activations {in_mib(formula['activations'])} by formula, "
              f"{in_mib(counted['activations'])} counted ({100 * errors['activations']:+.1f}%)")


# -----------------------------------------------------------------------------
# Agreement

def agreement_part(study):
    """One rollout made on the CPU; from the same weights, five steps on it on the CPU and on the device."""
    torch.backends.cuda.matmul.allow_tf32 = False       # with it, products would keep 10 bits of a fraction
    for algo in MODULES:
        attempt(study, "agreement", algo, agreement_row, algo)


def agreement_row(study, algo):
    """How far the losses, and the weights after five steps, of CPU and device are apart."""
    c, _ = sizes(study.tiny)["tiny" if study.tiny else "laptop"]
    settings = RLConfig(num_iterations=5, num_prompts=4, group_size=4, micro_batch_size=8,
                        max_new_tokens=8 if study.tiny else 40)
    cpu = torch.device("cpu")
    torch.manual_seed(0)
    networks, _ = build(c, settings, algo, torch.float32, cpu)
    for network in networks:
        randomize(network)
    rollout = collect_rollout(networks[0], None, endless_world(), settings, 0, 0)
    noise = torch.randn(rollout.old_logprobs.shape)
    rollout.old_logprobs = rollout.old_logprobs + 0.3 * noise       # so that some ratios are clipped
    losses_here, weights_here = five_steps(algo, networks, rollout, settings, cpu)
    losses_there, weights_there = five_steps(algo, networks, rollout, settings, study.device)
    loss_difference = max(abs(here - there) for here, there in zip(losses_here, losses_there))
    difference = (weights_here - weights_there).abs()
    change = (weights_here - all_weights(networks)).abs()
    row = {"algo": algo, "losses on the CPU": losses_here, "losses on the device": losses_there,
           "largest difference of a loss": loss_difference, "losses agree": loss_difference <= SAME_LOSS,
           "largest difference of a weight": difference.max().item(),
           "mean difference of a weight": difference.mean().item(),
           "largest change of a weight": change.max().item(),
           "mean change of a weight": change.mean().item()}
    study.add("agreement", row,
              f"{algo}: losses differ by at most {loss_difference:.1e}, weights after five steps by "
              f"{difference.max():.1e} (mean {difference.mean():.1e}); they moved by up to "
              f"{change.max():.1e} (mean {change.mean():.1e})")


def five_steps(algo, networks, rollout, settings, device):
    """Returns (the loss of each step, all weights at the end, on the CPU). `networks` stay as they are."""
    networks = [copy.deepcopy(network).to(device) for network in networks]
    moved = {}
    for name, value in vars(rollout).items():
        moved[name] = value.to(device) if isinstance(value, torch.Tensor) else value
    module, optimizer, losses = MODULES[algo], adamw(settings, *networks), []
    # nothing is sampled: each step gets this rollout, in a new object, since a step sets some of its fields
    with mock.patch.object(module, "collect_rollout", lambda *_: dataclasses.replace(rollout, **moved)):
        for metrics in module.train(*networks, None, optimizer, None, settings, 0):
            losses.append(metrics["policy_loss"] + settings.value_coef * metrics.get("value_loss", 0.0))
    return losses, all_weights(networks)


def all_weights(networks):
    """Every weight of some networks as one vector on the CPU."""
    weights = []
    for network in networks:
        weights += [parameter.detach().cpu().flatten() for parameter in network.parameters()]
    return torch.cat(weights)


# -----------------------------------------------------------------------------
# Seconds

def seconds_part(study):
    """PPO and GRPO at the sizes of the presets."""
    for name, (c, settings) in sizes(study.tiny).items():
        if name != "300M":
            for algo in MODULES:
                attempt(study, "seconds", f"{name} {algo}", seconds_row, name, c, settings, algo)


def seconds_row(study, name, c, settings, algo):
    """Medians of a step, after a first one. All completions have full length."""
    settings = dataclasses.replace(settings, num_iterations=3 if study.tiny else 6)
    networks, optimizer = build(c, settings, algo, torch.float32, study.device)
    steps = watched_steps(algo, networks, optimizer, endless_world(), settings, study.device)[1:]
    row = {"preset": name, "algo": algo, "completions": settings.num_prompts * settings.group_size,
           "tokens a completion": settings.max_new_tokens, "updates": settings.num_epochs, "steps": steps}
    for key in ("seconds", "rollout_seconds", "update_seconds"):
        row[key] = statistics.median(step[key] for step in steps)
    row["sampled tokens a second"] = steps[0]["num_tokens"] / row["rollout_seconds"]
    study.add("seconds", row,
              f"{name} {algo}: {row['seconds']:.3f} s a step, rollout {row['rollout_seconds']:.3f}, "
              f"update {row['update_seconds']:.3f}; {row['sampled tokens a second']:,.0f} sampled tokens/s")


# -----------------------------------------------------------------------------
# The first minute

def minute_part(study):
    """The gpu preset: imitation from random weights, with two sizes of a micro-batch, then RL."""
    config, tokenizer = preset("gpu"), get_tokenizer()
    config.model.vocab_size = tokenizer.vocab_size
    num_documents, seconds = 40_000, min(20.0, study.seconds_left() / 4)
    if study.tiny:
        config.model, config.rl = sizes(study.tiny)["tiny"]
        config.model.max_length = 512
        num_documents, seconds = 300, 0.5
    examples = tokenize(tokenizer, base_corpus(0, num_documents, config.tasks))
    for micro_batch_tokens in (config.base.micro_batch_tokens, 16_384):
        settings = dataclasses.replace(config.base, micro_batch_tokens=micro_batch_tokens)
        model = GPT(config.model).init_weights(0).to(study.device)
        attempt(study, "minute", f"base {micro_batch_tokens}", base_row, model, examples, settings, seconds)
    attempt(study, "minute", "rl", rl_row, model, config)


def base_row(study, model, examples, settings, seconds):
    """Imitates for three steps and then for some seconds, or until the examples end."""
    device, losses, num_tokens, num_steps = study.device, [], 0, 0
    for metrics in sft.train(model, adamw(settings, model), examples, settings, seed=0):
        losses.append(metrics["loss"])
        if len(losses) <= 3:
            began = now(device)
            continue
        num_tokens, num_steps = num_tokens + metrics["num_tokens"], num_steps + 1
        passed = now(device) - began
        if passed > seconds:
            break
    row = {"stage": "base", "micro_batch_tokens": settings.micro_batch_tokens,
           "batch_size": settings.batch_size, "tokens a second": num_tokens / passed,
           "steps a second": num_steps / passed, "seconds": passed, "losses": losses}
    study.add("minute", row,
              f"base, micro-batches of {settings.micro_batch_tokens} tokens: "
              f"{row['tokens a second']:,.0f} tokens/s, {row['steps a second']:.1f} steps/s, "
              f"loss {losses[0]:.2f} to {losses[-1]:.2f} in {len(losses)} steps")


def rl_row(study, model, config):
    """GRPO on the problems of the preset, after the imitation above. Without signal there is no update."""
    world = reasoning_world(get_tokenizer(), config.tasks.levels, config.tasks.shares)
    settings = dataclasses.replace(config.rl, num_iterations=3 if study.tiny else 8)
    steps = watched_steps("grpo", [model], adamw(settings, model), world, settings, study.device)[1:]
    num_tokens = sum(step["num_tokens"] for step in steps)
    row = {"stage": "rl", "algo": "grpo", "steps": steps,
           "sampled tokens a second": num_tokens / sum(step["rollout_seconds"] for step in steps),
           "tokens a second": num_tokens / sum(step["seconds"] for step in steps)}
    study.add("minute", row, f"RL after that: {row['sampled tokens a second']:,.0f} sampled tokens/s, "
                             f"{row['tokens a second']:,.0f} with the update")


# -----------------------------------------------------------------------------
# The whole

def facts(device):
    """What the numbers depend on."""
    found = {"device": str(device), "torch": torch.__version__, "python": platform.python_version(),
             "CPU": kernels.CPU_CAPABILITY, "cores": os.cpu_count(), "threads": torch.get_num_threads(),
             "tile": kernels.TILE, "vocabulary": get_tokenizer().vocab_size,
             "float32 products": "full precision, TF32 off"}
    if device.type == "cuda":
        card = torch.cuda.get_device_properties(device)
        found |= {"card": card.name, "memory bytes": card.total_memory, "CUDA": torch.version.cuda,
                  "capability": f"{card.major}.{card.minor}", "multiprocessors": card.multi_processor_count}
    return found


PARTS = {       # the most wanted first
    "memory": memory_part, "agreement": agreement_part, "seconds": seconds_part, "minute": minute_part}


@exit_codes("on_a_gpu")
def main(argv=None):
    parser = Parser("Measure memory, agreement and speed on one GPU.")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--tiny", action="store_true", help="small sizes, to try the script")
    parser.add_argument("--minutes", type=number(float, 0, 1000), default=5.0,
                        help="no part begins later than this (5)")
    parser.add_argument("--only", choices=list(PARTS), help="this part alone")
    parser.add_argument("--out", default=str(ROOT / "lessons" / "results" / "GPU.json"),
                        help="the JSON file (lessons/results/GPU.json)")
    args = parser.parse_args(argv)
    if args.device == "cuda" and not torch.cuda.is_available():
        raise BadInput("there is no GPU here: add --device cpu --tiny to try the script without one")
    device = pick_device(args.device)
    study = Study(device, args.tiny, args.minutes, args.out)
    words = sys.argv[1:] if argv is None else argv
    study.results.update({
        "command": " ".join(["python lessons/studies/on_a_gpu.py", *words]), "facts": facts(device),
        "sizes": {}, "seconds of each part": {}})
    for name, (c, settings) in sizes(args.tiny).items():
        study.results["sizes"][name] = {"parameters": memory.count_parameters(c)[0],
                                        "model": dataclasses.asdict(c), "rl": dataclasses.asdict(settings)}
    print(", ".join(f"{key}: {value}" for key, value in study.results["facts"].items()), flush=True)
    save_json(args.out, study.results)
    for name in [args.only] if args.only else list(PARTS):
        began = time.monotonic()
        attempt(study, name, f"the part {name}", PARTS[name])
        study.results["seconds of each part"][name] = time.monotonic() - began
        save_json(args.out, study.results)
    print(f"{study.num_faults} faults; the results are in {args.out}", flush=True)
    return 1 if study.num_faults else 0


if __name__ == "__main__":
    sys.exit(main())
