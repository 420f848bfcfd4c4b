"""Where the bytes go: GRPO, PPO with a separate critic, and PPO with a critic on the policy's own body.

    python -m minireason.memory [--preset laptop | --model 7B] [--group-size N ...] [--json] [--plot FILE]

One column is a formula of the configuration, the other is counted on real tensors (not for the large --model sizes).
What training holds at once, at the start of a backward pass:

    weights + gradients + optimizer + reference (where kl_coef > 0) + critic + rollout + activations of a micro-batch

and while sampling the key-value cache instead of the activations. Workspace of kernels, copies of the moment
and torch itself come on top and are not counted here.
"""

import argparse
import json
import sys
from collections.abc import Iterable

import torch

from minireason.upkeep.checkpoint import pick_device
from minireason.upkeep import kernels
from minireason.upkeep.command import BadInput, Fault, exit_codes
from minireason.config import ModelConfig, RLConfig, check, preset
from minireason.grpo import compute_advantages, compute_loss
from minireason.model import GPT, KVCache
from minireason.policy import Critic, completion_hidden, completion_logprobs, completion_values
from minireason.ppo import compute_advantages as compute_ppo_advantages
from minireason.ppo import compute_loss as compute_ppo_loss
from minireason.rollout import Rollout, loss_weights
from minireason.tokenizer import get_tokenizer

ALGORITHMS = ("grpo", "ppo", "ppo-shared")
BYTES = {"float32": 4, "bfloat16": 2}
LIMIT = 4096     # group sizes looked at
CHUNK = 512      # rows that sampling holds at once
LARGE = {        # published shapes of Qwen2.5-1.5B, Llama-2-7B and Llama-2-70B; biases left out, embeddings tied as ours
    "1.5B": ModelConfig(151_936, 1536, 28, 12, 2, 8960, 4096),
    "7B": ModelConfig(32_000, 4096, 32, 32, 32, 11_008, 4096),
    "70B": ModelConfig(32_000, 8192, 80, 64, 8, 28_672, 4096),
}


# -----------------------------------------------------------------------------
# By formula

def count_parameters(c: ModelConfig) -> tuple[int, int]:
    """(numbers, tensors) of a GPT: embedding, two matrices of attention, three of the MLP, and the norms."""
    kv_width = c.num_kv_heads * c.head_size
    block = 2 * c.width + 2 * c.width * c.width + 2 * c.width * kv_width + 3 * c.width * c.mlp_width
    return c.vocab_size * c.width + c.num_layers * block + c.width, 7 * c.num_layers + 2


def optimizer_bytes(numbers: int, tensors: int, optimizer: str, itemsize: int) -> int:
    """AdamW: two moments and a step count for each tensor. Half-precision weights keep a float32 copy to add up in."""
    moments = 2 * numbers * 4 + 4 * tensors if optimizer == "adamw" else 0
    return moments + (numbers * 4 if itemsize < 4 else 0)


def activation_bytes(c: ModelConfig, num_rows: int, prompt_length: int, length: int, algo: str, itemsize: int) -> int:
    """What autograd keeps of one micro-batch of (num_rows, prompt + completion), until its backward pass.

    A block keeps per token: each norm's input, scaled input and output (6C), queries and attention's output (2C), keys and
    values of their own heads, each head's weights over all T tokens, four numbers a unit of the MLP (4M), and one a norm.
    Those of a single head, or a single row, are no copies: what they were cut out of stays (2C + KD more).
    """
    C, M, V, T = c.width, c.mlp_width, c.vocab_size, kernels.padded(prompt_length + length, c.max_length)
    tokens, written = num_rows * T, num_rows * length
    kv_width = c.num_kv_heads * c.head_size
    attention = 2 * C + 2 * kv_width + c.num_heads * T + (2 * C + kv_width if 1 in (num_rows, c.num_kv_heads) else 0)
    body = tokens * (c.num_layers * (6 * C + attention + 4 * M + 2) + 3 * C + 1) * itemsize + tokens * 8 + written * 8
    head = written * (C + V + 1) * itemsize
    if algo == "grpo":
        return body + head + written * 8 * itemsize
    value = written * 9 * itemsize
    if algo == "ppo-shared":
        return body + head + value + written * 6 * itemsize
    return 2 * body + head + written * C * itemsize + value + written * 6 * itemsize


def ledger(c: ModelConfig, settings: RLConfig, algo: str, prompt_length: int, dtype: str = "float32",
           optimizer: str = "adamw") -> dict[str, int]:
    """Bytes by what they are for. `c` is a ModelConfig, `settings` an RLConfig. Returns {row: bytes}."""
    size, (numbers, tensors) = BYTES[dtype], count_parameters(c)
    B, S, L = settings.num_prompts * settings.group_size, prompt_length, settings.max_new_tokens
    head = (c.width + 1, 2)                                             # the value layer: a row and its bias
    critic = {"grpo": (0, 0), "ppo": (numbers + head[0], tensors + head[1]), "ppo-shared": head}[algo]
    per_token = 8 + 4 + 4 + 4 + (4 if settings.kl_coef else 0) + (8 if algo != "grpo" else 0)
    own_weights = 4 if settings.normalize == "sequence" else 0          # else they are the mask itself
    return {
        "weights": numbers * size,
        "gradients": numbers * size,
        "optimizer": optimizer_bytes(numbers, tensors, optimizer, size),
        "reference": numbers * size if settings.kl_coef else 0,
        "critic": critic[0] * size * 2 + optimizer_bytes(*critic, optimizer, size),
        "rollout": B * (S * (8 + 4) + L * (per_token + own_weights) + 4),
        "activations": activation_bytes(c, min(B, settings.micro_batch_size), S, L, algo, size),
        "key-value cache": 2 * c.num_layers * min(B, CHUNK) * c.num_kv_heads * c.head_size * kernels.padded(S + L - 1) * size,
    }


def peak(rows: dict[str, int]) -> int:
    """Training and sampling take turns, so the larger of activations and cache counts; gradients stay until the next update."""
    taking_turns = rows["activations"], rows["key-value cache"]
    return sum(rows.values()) - min(taking_turns)


# -----------------------------------------------------------------------------
# Measured

def bytes_of(tensors: Iterable[torch.Tensor | None]) -> int:
    """Bytes of the distinct storages behind some tensors."""
    return sum({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors if t is not None}.values())


def rollout_of(settings: RLConfig, prompt_length: int, vocab_size: int, algo: str, device: torch.device | str) -> Rollout:
    """A full-length rollout of random ids."""
    generator = torch.Generator().manual_seed(0)
    B, S, L = settings.num_prompts * settings.group_size, prompt_length, settings.max_new_tokens
    ids = lambda length: torch.randint(0, vocab_size, (B, length), generator=generator).to(device)
    zeros = lambda: torch.zeros(B, L, device=device)
    rollout = Rollout(ids(S), torch.ones(B, S, device=device), ids(L), torch.ones(B, L, device=device), zeros(),
                      torch.rand(B, generator=generator).to(device))
    rollout.ref_logprobs = zeros() if settings.kl_coef else None
    rollout.old_values = zeros() if algo != "grpo" else None
    rollout = (compute_advantages if algo == "grpo" else compute_ppo_advantages)(rollout, settings)
    rollout.loss_mask, _ = loss_weights(rollout.completion_mask, settings)
    return rollout


def measure(c: ModelConfig, settings: RLConfig, algo: str, prompt_length: int,
            device: torch.device | str = "cpu") -> dict[str, int]:
    """As `ledger`, but counted on tensors: one step is taken, in float32 with AdamW. Returns {row: bytes}."""
    policy = GPT(c).init_weights(0).to(device)
    critic = None if algo == "grpo" else Critic(policy, algo == "ppo-shared").to(device)
    reference = GPT(c).init_weights(0).to(device) if settings.kl_coef else None
    rollout = rollout_of(settings, prompt_length, c.vocab_size, algo, device)
    known = {t.untyped_storage().data_ptr() for module in (policy, critic) if module
             for t in (*module.parameters(), *module.buffers())}
    known |= {value.untyped_storage().data_ptr() for value in vars(rollout).values() if isinstance(value, torch.Tensor)}
    batch, saved = rollout.minibatches(settings.micro_batch_size)[0], []

    def keep(tensor):
        if tensor.untyped_storage().data_ptr() not in known:
            saved.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        hidden = completion_hidden(policy, batch)
        logprobs, _ = completion_logprobs(policy, batch, settings.temperature, hidden)
        if critic is None:
            loss, _ = compute_loss(logprobs, batch.old_logprobs, batch.ref_logprobs, batch.advantages, batch.loss_mask,
                                   settings)
        else:
            loss, _ = compute_ppo_loss(logprobs, batch.old_logprobs, batch.advantages,
                                       completion_values(critic, batch, hidden), batch.old_values, batch.returns,
                                       batch.loss_mask, settings)
    activations = bytes_of(saved)
    loss.backward()
    rows = {}
    for name, module in (("policy", policy), ("critic", critic)):
        if module is None:
            rows[name] = (0, 0, 0)
            continue
        optimizer = torch.optim.AdamW(module.parameters())
        optimizer.step()
        parameters = list(module.parameters())
        states = [value for state in optimizer.state.values() for value in state.values()]
        rows[name] = bytes_of(parameters), bytes_of([p.grad for p in parameters]), bytes_of(states)
    B = settings.num_prompts * settings.group_size
    cache = KVCache(c, min(B, CHUNK), prompt_length + settings.max_new_tokens - 1, device, block=kernels.TILE)     # the last token is not read
    return {"weights": rows["policy"][0], "gradients": rows["policy"][1], "optimizer": rows["policy"][2],
            "reference": bytes_of(reference.parameters()) if reference else 0, "critic": sum(rows["critic"]),
            "rollout": bytes_of([v for v in vars(rollout).values() if isinstance(v, torch.Tensor)]),
            "activations": activations, "key-value cache": bytes_of(cache.data)}


# -----------------------------------------------------------------------------
# Where GRPO's saving ends

def against_group_size(c: ModelConfig, settings: RLConfig, prompt_length: int, sizes: list[int], whole: bool,
                       dtype: str = "float32", optimizer: str = "adamw") -> tuple[list[int], int]:
    """Bytes of GRPO with G completions for each of P prompts, and of PPO with one. Returns ([bytes of GRPO], bytes of PPO).

    `whole`: the batch is one graph; otherwise micro-batches have the same size, at most P completions, and only cache
    and rollout grow.
    """
    def total(algo, group_size):
        changed = type(settings)(**vars(settings) | {"group_size": group_size})
        P = changed.num_prompts
        changed.micro_batch_size = P * group_size if whole else min(P, changed.micro_batch_size)
        return peak(ledger(c, changed, algo, prompt_length, dtype, optimizer))
    return [total("grpo", size) for size in sizes], total("ppo", 1)


def crossover(c: ModelConfig, settings: RLConfig, prompt_length: int, whole: bool, dtype: str = "float32", optimizer: str = "adamw",
              limit: int = LIMIT) -> int:
    """The largest group with which GRPO takes no more than PPO with one completion a prompt; `limit` means at least that."""
    best = 0
    for size in range(2, limit + 1):
        (grpo_bytes,), ppo_bytes = against_group_size(c, settings, prompt_length, [size], whole, dtype, optimizer)
        if grpo_bytes > ppo_bytes:
            return best
        best = size
    return best


# -----------------------------------------------------------------------------
# The page

def amount(number: int | None) -> str:
    return "-" if number is None else f"{number / 2**30:,.2f} GiB" if number >= 2**30 else f"{number / 2**20:,.2f} MiB"


def page(columns: dict[str, dict[str, int]], measured: dict[str, dict[str, int]]) -> list[str]:
    """The ledger as lines: `columns` and `measured` are {algorithm: {row: bytes}}; measured may be empty."""
    names = [algo for algo in ALGORITHMS for _ in range(2 if measured else 1)]
    kinds = (["formula", "measured"] if measured else ["formula"]) * len(ALGORITHMS)
    lines = [f"{'':16}" + "".join(f"{name:>14}" for name in names), f"{'':16}" + "".join(f"{kind:>14}" for kind in kinds)]
    for row in [*columns["grpo"], "peak"]:
        cells = []
        for algo in ALGORITHMS:
            for table in (columns, measured) if measured else (columns,):
                cells.append(peak(table[algo]) if row == "peak" else table[algo][row])
        lines.append(f"{row:16}" + "".join(f"{amount(cell):>14}" for cell in cells))
    return lines


@exit_codes("memory")
def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Count the bytes of GRPO and PPO, by formula and on real tensors.")
    parser.add_argument("--preset", default="laptop", help="smoke, laptop (default) or gpu")
    parser.add_argument("--model", choices=list(LARGE), help="a published size instead, by formula alone")
    parser.add_argument("--num-prompts", type=int, help="P: problems per rollout")
    parser.add_argument("--group-size", type=int, help="G: completions per problem")
    parser.add_argument("--micro-batch-size", type=int, help="completions per backward pass")
    parser.add_argument("--prompt-length", type=int, default=20, help="tokens of a prompt")
    parser.add_argument("--max-new-tokens", type=int, help="tokens of a completion")
    parser.add_argument("--kl-coef", type=float, help="above 0 a reference is kept")
    parser.add_argument("--dtype", choices=list(BYTES), default="float32", help="of weights, gradients, activations, cache")
    parser.add_argument("--optimizer", choices=("adamw", "sgd"), default="adamw")
    parser.add_argument("--device", default="cpu", help="where to measure: cpu, cuda or mps")
    parser.add_argument("--plot", metavar="FILE", help="draw bytes against group size into a PNG")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    args = parser.parse_args(argv)
    config = preset(args.preset)
    config.model.vocab_size = get_tokenizer().vocab_size
    for name in ("num_prompts", "group_size", "micro_batch_size", "max_new_tokens", "kl_coef"):
        if getattr(args, name) is not None:
            setattr(config.rl, name, getattr(args, name))
    c = LARGE.get(args.model, config.model)
    config.model.max_length = c.max_length = max(c.max_length, config.rl.max_new_tokens + max(100, args.prompt_length))
    check(config)
    if args.prompt_length < 1:
        raise BadInput("a prompt has at least 1 token")
    columns = {algo: ledger(c, config.rl, algo, args.prompt_length, args.dtype, args.optimizer) for algo in ALGORITHMS}
    measurable = not args.model and (args.dtype, args.optimizer) == ("float32", "adamw")
    device = pick_device(args.device)
    try:
        measured = {algo: measure(c, config.rl, algo, args.prompt_length, device) for algo in ALGORITHMS if measurable}
    except RuntimeError as error:       # how torch says that there is no memory left
        raise Fault(str(error).splitlines()[0]) from error
    ends = {kind: crossover(c, config.rl, args.prompt_length, kind == "one graph", args.dtype, args.optimizer)
            for kind in ("one graph", "micro-batches")}
    if args.plot:
        from minireason.tools.plots import plot_memory
        sizes = [2**i for i in range(1, 13)]
        plot_memory(args.plot, sizes, {kind: against_group_size(c, config.rl, args.prompt_length, sizes,
                                                                kind == "one graph", args.dtype, args.optimizer)
                                       for kind in ends})
    if args.json:
        print(json.dumps({"formula": columns, "measured": measured, "largest_group_within_ppo": ends}))
        return
    print(f"{count_parameters(c)[0]:,} parameters, {config.rl.num_prompts} prompts x {config.rl.group_size} completions of "
          f"{config.rl.max_new_tokens} tokens, micro-batches of {config.rl.micro_batch_size}, {args.dtype}, {args.optimizer}")
    print("\n".join(page(columns, measured)))
    for kind, size in ends.items():
        print(f"{kind}: PPO answers each prompt once; GRPO needs no more memory than that with groups of up to "
              f"{'more than ' * (size == LIMIT)}{size}")


if __name__ == "__main__":
    sys.exit(main())
