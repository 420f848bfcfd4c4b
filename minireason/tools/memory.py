"""Where the bytes go: GRPO, PPO with a separate critic, and PPO with a critic on the policy's own body.

    python -m minireason.memory [--preset laptop | --model 7B] [--group-size N ...] [--json] [--plot FILE]
    python -m minireason.memory --model qwen2.5-7b --fits 80GiB ...     (another question: see fits.py)
    python -m minireason.memory --published                             (see published.py)

One column is a formula of the configuration. The other is counted on real tensors (not for the large --model
sizes). What training holds at once, at the start of a backward pass:

    weights + gradients + optimizer + reference (if kl_coef > 0) + critic + rollout
            + activations of a micro-batch

While sampling, the key-value cache takes the place of the activations. Workspace of kernels, short-lived
copies and torch itself are not counted.
"""

import dataclasses
import json
import math
import sys
from argparse import Namespace
from collections.abc import Iterable

import torch

from minireason import grpo, ppo
from minireason.batch import Batch, weigh_tokens
from minireason.cache import KVCache
from minireason.config import PROMPT_ROOM, ModelConfig, RLConfig, preset
from minireason.model import GPT
from minireason.policy import completion_hidden, completion_logprobs, make_critic
from minireason.sampling import BLOCK
from minireason.tokenizer import get_tokenizer
from minireason.tools import fits, published
from minireason.tools.flags import Parser, like, number
from minireason.tools.shapes import find_model
from minireason.upkeep import kernels
from minireason.upkeep.command import BadInput, exit_codes
from minireason.upkeep.parallel import pick_device

ALGORITHMS = ("grpo", "ppo", "ppo-shared")
INT64, FLOAT32 = 8, 4
BYTES = {"float32": 4, "bfloat16": 2}
KINDS = {"whole batch": True, "micro-batches": False}      # does the whole batch pass at once?
IN_WORDS = {"whole batch": "if the whole batch passes at once:",
            "micro-batches": "if micro-batches pass one by one:"}
LIMIT = 4096     # the largest group size that is tried
CHUNK = 512      # rows that sampling holds at once
# Published shapes of Qwen2.5-1.5B, Llama-2-7B and Llama-2-70B, without biases and with tied embeddings.
LARGE = {
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
    """AdamW has two moments a number and a step count a tensor. Moments of 8 bits have a byte each.

    Half-precision weights keep a float32 copy, to which the updates are added.
    """
    size = 0
    if optimizer == "adamw":
        size += 2 * numbers * FLOAT32 + tensors * FLOAT32
    elif optimizer == "adam8bit":
        size += 2 * numbers + tensors * FLOAT32
    if itemsize < FLOAT32:
        size += numbers * FLOAT32
    return size


def activation_bytes(c: ModelConfig, num_rows: int, prompt_length: int, length: int, algo: str,
                     itemsize: int, device: str = "cpu") -> int:
    """What autograd keeps of one micro-batch of (num_rows, prompt + completion), until its backward pass.

    A block keeps per token:
        6C       each norm's input, scaled input and output; 4C on CUDA, whose norm scales its input again
        2C       queries, and the output of attention
        2KD      keys and values
        HT       each head's weights over all tokens
        4M       four numbers a unit of the MLP
        2        one number a norm
    With one key-value head or one row, `split` returns views, so the tensor they come from is kept as well:
    2C + KD more.
    """
    C, M, V, H, K = c.width, c.mlp_width, c.vocab_size, c.num_heads, c.num_kv_heads
    KD = K * c.head_size
    T = kernels.padded(prompt_length + length, c.max_length)
    attention = 2 * C + 2 * KD + H * T
    if num_rows == 1 or K == 1:
        attention += 2 * C + KD
    norm = 2 * C if device == "cuda" else 3 * C
    block = 2 * norm + attention + 4 * M + 2
    num_tokens = num_rows * T                           # that the body reads
    num_written = num_rows * length                     # that the head predicts
    ids = num_tokens * INT64 + num_written * INT64
    body = num_tokens * (c.num_layers * block + norm + 1) * itemsize + ids
    head = num_written * (C + V) * itemsize             # hidden states / temperature, log-probabilities
    # The factors 8, 9 and 6: what else autograd keeps of each token, such as the ratios of the loss.
    if algo == "grpo":
        return body + head + num_written * 8 * itemsize
    value = num_written * 9 * itemsize
    policy = num_written * 6 * itemsize
    if algo == "ppo-shared":
        return body + head + num_written * C * itemsize + value + policy        # the critic's input as well
    critic = body + num_written * C * itemsize
    return body + head + critic + value + policy


def rollout_bytes(settings: RLConfig, prompt_length: int, algo: str) -> int:
    """The fields of a Batch: (B, T) and (B, L) tensors and two numbers a completion."""
    B, L = settings.num_prompts * settings.group_size, settings.max_new_tokens
    T = prompt_length + L
    per_token = INT64 + 3 * FLOAT32         # completion_ids; completion_mask, old_logprobs and advantages
    if settings.kl_coef:
        per_token += FLOAT32                # ref_logprobs
    if algo != "grpo":
        per_token += 2 * FLOAT32            # old_values and returns
    if settings.normalize == "sequence":
        per_token += FLOAT32                # loss_weights, which otherwise are the mask itself
    per_completion = INT64 + FLOAT32        # prompt_lengths and rewards
    return B * (T * INT64 + L * per_token + per_completion)


def ledger(c: ModelConfig, settings: RLConfig, algo: str, prompt_length: int, dtype: str = "float32",
           optimizer: str = "adamw", device: str = "cpu") -> dict[str, int]:
    """Bytes by what they are for. Returns {row: bytes}. `device`: cpu or cuda, whose kernels keep less."""
    size = BYTES[dtype]
    numbers, tensors = count_parameters(c)
    B, S, L = settings.num_prompts * settings.group_size, prompt_length, settings.max_new_tokens
    reference = numbers if settings.kl_coef else 0
    if algo == "grpo":
        critic_numbers, critic_tensors = 0, 0
    else:
        critic_numbers, critic_tensors = c.width + 1, 2                 # the value layer: a row and its bias
    if algo == "ppo":
        critic_numbers, critic_tensors = critic_numbers + numbers, critic_tensors + tensors
    critic = 2 * critic_numbers * size                                  # weights and gradients
    critic += optimizer_bytes(critic_numbers, critic_tensors, optimizer, size)
    cache_positions = math.ceil((S + L - 1) / BLOCK) * BLOCK            # the last token is not read
    cache_numbers = 2 * c.num_layers * min(B, CHUNK) * c.num_kv_heads * c.head_size * cache_positions
    return {
        "weights": numbers * size,
        "gradients": numbers * size,
        "optimizer": optimizer_bytes(numbers, tensors, optimizer, size),
        "reference": reference * size,
        "critic": critic,
        "rollout": rollout_bytes(settings, prompt_length, algo),
        "activations": activation_bytes(c, min(B, settings.micro_batch_size), S, L, algo, size, device),
        "key-value cache": cache_numbers * size,
    }


def peak(rows: dict[str, int]) -> int:
    """The most that is held at once. Activations and cache take turns, so the larger of them counts.

    Gradients stay until the next update.
    """
    return sum(rows.values()) - min(rows["activations"], rows["key-value cache"])


# -----------------------------------------------------------------------------
# Measured

def storages_of(tensors: Iterable[torch.Tensor]) -> dict[int, int]:
    """{address: bytes} of the distinct storages behind some tensors."""
    sizes = {}
    for tensor in tensors:
        storage = tensor.untyped_storage()
        sizes[storage.data_ptr()] = storage.nbytes()
    return sizes


def bytes_of(tensors: Iterable[torch.Tensor]) -> int:
    """Bytes behind some tensors. A storage that several of them share counts once."""
    return sum(storages_of(tensors).values())


def tensors_of(batch: Batch) -> list[torch.Tensor]:
    return [value for value in vars(batch).values() if isinstance(value, torch.Tensor)]


def rollout_of(settings: RLConfig, prompt_length: int, vocab_size: int, algo: str,
               device: torch.device | str) -> Batch:
    """A full-length rollout of random ids, as training holds it once advantages and loss weights are set.

    Fields are clones where training has separate tensors: `bytes_of` counts a shared storage once.
    """
    generator = torch.Generator().manual_seed(0)
    B, L = settings.num_prompts * settings.group_size, settings.max_new_tokens
    ids = torch.randint(0, vocab_size, (B, prompt_length + L), generator=generator).to(device)
    zeros = torch.zeros(B, L, device=device)
    batch = Batch(
        ids=ids,
        prompt_lengths=torch.full((B,), prompt_length, device=device),
        completion_ids=ids[:, prompt_length:].clone(),
        completion_mask=torch.ones_like(zeros),
        old_logprobs=zeros,
        rewards=torch.rand(B, generator=generator).to(device))
    if settings.kl_coef:
        batch.ref_logprobs = zeros.clone()
    if algo == "grpo":
        grpo.compute_advantages(batch, settings)
        batch = grpo.rows_with_signal(batch, settings)
    else:
        batch.old_values = zeros.clone()
        ppo.compute_advantages(batch, settings)
        batch = ppo.rows_with_signal(batch, settings)
    batch.loss_weights, _, _ = weigh_tokens(batch.completion_mask, settings, B)
    return batch


def measure(c: ModelConfig, settings: RLConfig, algo: str, prompt_length: int,
            device: torch.device | str = "cpu") -> dict[str, int]:
    """As `ledger`, but counted on tensors: one step is taken, in float32 with AdamW. Returns {row: bytes}."""
    policy = GPT(c).init_weights(0).to(device)
    critic = None if algo == "grpo" else make_critic(policy, shared=algo == "ppo-shared").to(device)
    rollout = rollout_of(settings, prompt_length, c.vocab_size, algo, device)
    known_tensors = [*policy.parameters(), *policy.buffers(), *tensors_of(rollout)]
    if critic is not None:
        known_tensors += [*critic.parameters(), *critic.buffers()]
    known = storages_of(known_tensors)      # counted in other rows
    saved = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        """Gets each tensor that autograd keeps for the backward pass, and notes the new ones."""
        if tensor.untyped_storage().data_ptr() not in known:
            saved.append(tensor)
        return tensor

    batch = rollout.micro_batches(settings.micro_batch_size)[0]
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        hidden = completion_hidden(policy, batch)
        logprobs, _ = completion_logprobs(policy, batch, settings.temperature, hidden)
        if critic is None:
            loss, _ = grpo.compute_loss(logprobs, batch.old_logprobs, batch.ref_logprobs, batch.advantages,
                                        batch.loss_weights, settings)
        else:
            values = critic(batch, hidden)
            loss, _ = ppo.compute_loss(logprobs, batch.old_logprobs, batch.advantages, values,
                                       batch.old_values, batch.returns, batch.loss_weights, settings)
    activations = bytes_of(saved)
    loss.backward()

    weights, gradients, states = measure_state(policy)
    critic_bytes = 0 if critic is None else sum(measure_state(critic))
    reference_bytes = 0
    if settings.kl_coef:
        reference_bytes = bytes_of(GPT(c).to(device).parameters())
    num_rows = min(settings.num_prompts * settings.group_size, CHUNK)
    room = prompt_length + settings.max_new_tokens - 1              # the last token is not read
    prompt_lengths = torch.full((num_rows,), prompt_length, device=device)
    cache = KVCache(c, prompt_lengths, prompt_length, room, block=BLOCK)
    return {
        "weights": weights,
        "gradients": gradients,
        "optimizer": states,
        "reference": reference_bytes,
        "critic": critic_bytes,
        "rollout": bytes_of(tensors_of(rollout)),
        "activations": activations,
        "key-value cache": bytes_of(cache.data),
    }


def measure_state(module: torch.nn.Module) -> tuple[int, int, int]:
    """Bytes of a module's weights, gradients and optimizer, after a step."""
    parameters = list(module.parameters())
    optimizer = torch.optim.AdamW(parameters)
    optimizer.step()        # the first step makes the moments
    states = []
    for state in optimizer.state.values():
        states += state.values()
    return bytes_of(parameters), bytes_of([parameter.grad for parameter in parameters]), bytes_of(states)


# -----------------------------------------------------------------------------
# Where GRPO's saving ends

def against_group_size(c: ModelConfig, settings: RLConfig, prompt_length: int, sizes: list[int], whole: bool,
                       dtype: str = "float32", optimizer: str = "adamw",
                       device: str = "cpu") -> tuple[list[int], int]:
    """Compares the memory of GRPO, with G completions for each of P prompts, with that of PPO with one.

    `whole`: the batch passes at once. Otherwise a micro-batch holds at most P completions: only the cache and
    the rollout grow with the group. Returns ([bytes of GRPO for each of `sizes`], bytes of PPO).
    """
    def total(algo: str, group_size: int) -> int:
        P = settings.num_prompts
        micro_batch_size = P * group_size if whole else min(P, settings.micro_batch_size)
        changed = dataclasses.replace(settings, group_size=group_size, micro_batch_size=micro_batch_size)
        return peak(ledger(c, changed, algo, prompt_length, dtype, optimizer, device))

    return [total("grpo", size) for size in sizes], total("ppo", 1)


def crossover(c: ModelConfig, settings: RLConfig, prompt_length: int, whole: bool, dtype: str = "float32",
              optimizer: str = "adamw", device: str = "cpu", limit: int = LIMIT) -> int:
    """The largest group with which GRPO takes no more memory than PPO with one completion a prompt.

    Returns `limit` if no group up to it takes more, and 0 if even a group of 2 does.
    """
    largest = 0
    for size in range(2, limit + 1):
        grpo_bytes, ppo_bytes = against_group_size(c, settings, prompt_length, [size], whole, dtype,
                                                   optimizer, device)
        if grpo_bytes[0] > ppo_bytes:
            break
        largest = size
    return largest


# -----------------------------------------------------------------------------
# The page

def page(formula: dict[str, dict[str, int]], measured: dict[str, dict[str, int]]) -> list[str]:
    """The ledger as lines of at most 80 columns. Both arguments are {algorithm: {row: bytes}}.

    `measured` may be empty.
    """
    columns = []        # (algorithm, kind, {row: bytes})
    for algo in ALGORITHMS:
        columns.append((algo, "formula", formula[algo]))
        if measured:
            columns.append((algo, "measured", measured[algo]))
    unit, unit_bytes = "MiB", 2**20
    if max(peak(rows) for _, _, rows in columns) >= 10_000 * 2**20:
        unit, unit_bytes = "GiB", 2**30
    width = 10 if measured else 12      # of a column; three columns have room for a space before "ppo-shared"
    titles, kinds = f"{'':16}", f"{unit:16}"
    for algo, kind, _ in columns:
        titles += f"{algo if kind == 'formula' else '':>{width}}"
        kinds += f"{kind:>{width}}"
    lines = [titles, kinds]
    for name in [*formula["grpo"], "peak"]:
        line = f"{name:16}"
        for _, _, rows in columns:
            num_bytes = peak(rows) if name == "peak" else rows[name]
            line += f"{num_bytes / unit_bytes:{width},.2f}"
        lines.append(line)
    return lines


# -----------------------------------------------------------------------------
# The command line

def asks_whether_it_fits(args: Namespace) -> bool:
    """Whether the flags ask the question of fits.py: with --fits, a model's full name, or its measures.

    Raises BadInput if there are other flags of fits.py without any of these.
    """
    if args.fits is not None or fits.given_flags(args, fits.OF_A_MODEL):
        return True
    if args.model is not None and args.model not in LARGE:
        return True
    for name in fits.given_flags(args, fits.OF_THE_PLAN):
        flag = "--no-master" if name == "master" else f"--{name.replace('_', '-')}"
        raise BadInput(f"{flag}: is of another question; add --fits SIZE, or --model with a full name")
    return False


def ask_whether_it_fits(args: Namespace) -> None:
    """Hands the question to fits.py. Raises BadInput if the model is not known, or named twice."""
    if args.plot:
        raise BadInput("--plot: draws our own ledger; leave out --fits, and take --preset or a short name")
    by_measures = fits.given_flags(args, fits.OF_A_MODEL)
    if args.model is not None and by_measures:
        raise BadInput("--model: has a name already; leave out --hidden, --layers and so on")
    if args.model is not None:
        fits.answer(args.model, find_model(args.model, LARGE), args)
    elif by_measures:
        fits.answer("your model", fits.shape_from(args), args)
    else:
        raise BadInput("--fits: which model? Add --model qwen2.5-7b, or --hidden, --layers, --heads, --vocab")


def show_ledger(args: Namespace) -> None:
    """Prints how many bytes GRPO and PPO take in our own trainer, by formula and measured. --plot draws them.

    They are measured for a preset in float32 with AdamW: `measure` makes such tensors and no others.
    """
    prompt_length, device = args.prompt_length or 20, pick_device(args.device)
    dtype, optimizer = args.dtype or "float32", args.optimizer or "adamw"
    how = {"dtype": dtype, "optimizer": optimizer, "device": device.type}
    c, settings = asked_sizes(args, prompt_length)
    is_measured = not args.model and (dtype, optimizer) == ("float32", "adamw")

    formula, measured = {}, {}
    for algo in ALGORITHMS:
        formula[algo] = ledger(c, settings, algo, prompt_length, **how)
        if is_measured:
            measured[algo] = measure(c, settings, algo, prompt_length, device)
    largest_group = {}
    for kind, whole in KINDS.items():
        largest_group[kind] = crossover(c, settings, prompt_length, whole, **how)
    if args.plot:
        draw_ledger(args.plot, c, settings, prompt_length, how)
    if args.json:
        print(json.dumps({"formula": formula, "measured": measured,
                          "largest_group_within_ppo": largest_group}))
        return
    num_parameters, _ = count_parameters(c)
    print(f"{num_parameters:,} parameters in {dtype}, {optimizer}\n"
          f"RL (preset {args.preset}, or your flags): {settings.num_prompts} prompts x {settings.group_size} "
          f"completions of {settings.max_new_tokens} tokens,\n"
          f"micro-batches of {settings.micro_batch_size}; "
          f"lengths are padded to multiples of {kernels.TILE} on this CPU")
    print("\n".join(page(formula, measured)))
    print("\nHow large may GRPO's groups be, if it is to need no more memory than PPO\n"
          "with one completion of each prompt?")
    for kind, size in largest_group.items():
        group = f"up to {size}" if size else "not even 2"
        if size == LIMIT:
            group = f"more than {size}"
        print(f"    {IN_WORDS[kind]:40} {group}")
    if args.model:
        print(f"\nWith settings that are usual for large models: --model {args.model} --fits 80GiB")


def asked_sizes(args: Namespace, prompt_length: int) -> tuple[ModelConfig, RLConfig]:
    """The model and the settings of RL: of a preset or of --model, changed by the flags."""
    config = preset(args.preset)
    config.model.vocab_size = get_tokenizer().vocab_size
    for name in ("num_prompts", "group_size", "micro_batch_size", "max_new_tokens", "kl_coef"):
        if getattr(args, name) is not None:
            setattr(config.rl, name, getattr(args, name))
    c = LARGE.get(args.model, config.model)
    needed_length = config.rl.max_new_tokens + max(PROMPT_ROOM, prompt_length)
    return dataclasses.replace(c, max_length=max(c.max_length, needed_length)), config.rl


def draw_ledger(path: str, c: ModelConfig, settings: RLConfig, prompt_length: int,
                how: dict[str, str]) -> None:
    """The figure of --plot: the bytes of both algorithms against the size of a group."""
    from minireason.tools.plots import new_figure, plot_memory
    sizes = [2**i for i in range(1, 13)]
    curves = {}
    for kind, whole in KINDS.items():
        curves[kind] = against_group_size(c, settings, prompt_length, sizes, whole, **how)
    figure, panels = new_figure(1, 2, figsize=(7.6, 3.2))
    plot_memory(panels, sizes, curves)
    figure.savefig(path, dpi=150)


@exit_codes("memory", less_memory="lower --micro-batch-size, or --num-prompts, or --max-new-tokens")
def main(argv: list[str] | None = None) -> None:
    parser = Parser("Count the bytes of GRPO and PPO.")
    parser.add_argument("--preset", type=like("preset"), default="laptop",
                        help="smoke, laptop (default) or gpu")
    parser.add_argument("--model", metavar="NAME", help=f"{', '.join(LARGE)}: a published size instead, by "
                        "formula alone; or a full name, such as qwen2.5-7b (--model x lists them all)")
    parser.add_argument("--num-prompts", type=like("rl.num_prompts"), help="P: problems per rollout")
    parser.add_argument("--group-size", type=number(int, 2, LIMIT), help="G: completions per problem")
    parser.add_argument("--micro-batch-size", type=like("rl.micro_batch_size"),
                        help="completions per backward pass")
    parser.add_argument("--prompt-length", type=number(int, 1, 65_536), help="tokens of a prompt")
    parser.add_argument("--max-new-tokens", type=like("rl.max_new_tokens"), help="tokens of a completion")
    parser.add_argument("--kl-coef", type=like("rl.kl_coef"), help="above 0 a reference is kept")
    parser.add_argument("--dtype", choices=list(BYTES), help="of weights, gradients, activations and cache")
    parser.add_argument("--optimizer", choices=("adamw", "adam8bit", "sgd"))
    parser.add_argument("--device", default="cpu", help="where to measure: cpu, cuda or mps")
    parser.add_argument("--plot", metavar="FILE", help="draw bytes against group size into a PNG")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    parser.add_argument("--published", action="store_true", help="the errors at peaks that others measured")
    fits.add_flags(parser)
    args = parser.parse_args(argv)
    if args.published:
        print(published.as_json() if args.json else "\n".join(published.page()))
        return
    if asks_whether_it_fits(args):
        ask_whether_it_fits(args)
        return
    show_ledger(args)


if __name__ == "__main__":
    sys.exit(main())
