"""Small things that several tests need."""

from types import SimpleNamespace

import torch

from minireason.batch import Batch
from minireason.config import ModelConfig, TaskConfig
from minireason.model import GPT
from minireason.rewards import World
from minireason.tokenizer import get_tokenizer

# The tasks that come with the repository, which its stored runs know. Others may be registered beside them.
SHIPPED = ("arithmetic", "countdown", "program")
NO_DISTRIBUTIONS = {"tries": {}, "tries_right": {}, "tokens": {}, "tokens_right": {}}      # in scores


def shipped_mix():
    """The laptop preset's mix of these tasks: with another one in it, all draws would be others."""
    mix = TaskConfig()
    return TaskConfig(levels={task: mix.levels[task] for task in SHIPPED},
                      shares={task: mix.shares[task] for task in SHIPPED})


def awake(model, seed=0):
    """Random numbers where fresh weights are 0: else attention and MLP would do nothing, and be untested."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        if parameter.dim() > 1 and not parameter.any():
            with torch.no_grad():
                parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator))
    return model


def tiny_model(seed=0, vocab_size=None, sharpness=1.0):
    if vocab_size is None:
        vocab_size = get_tokenizer().vocab_size
    config = ModelConfig(vocab_size=vocab_size, width=32, num_layers=2, num_heads=4, num_kv_heads=1,
                         mlp_width=48, max_length=256)
    model = awake(GPT(config).init_weights(seed), seed)
    with torch.no_grad():
        model.embedding.weight.mul_(sharpness)
    return model


def ragged_rollout(generator, vocab_size=24, prompt_lengths=(3, 1, 5, 3), lengths=(4, 7, 2, 1)):
    """A rollout of random ids with rows of different prompt and completion lengths."""
    B, S, L = len(lengths), max(prompt_lengths), max(lengths)
    prompts = torch.randint(0, vocab_size, (B, S), generator=generator)
    completion_ids = torch.randint(0, vocab_size, (B, L), generator=generator)
    ids = torch.zeros(B, S + L, dtype=torch.long)
    for row, length in enumerate(prompt_lengths):
        ids[row, :length] = prompts[row, :length]
        ids[row, length:length + L] = completion_ids[row]
    return Batch(
        ids=ids, prompt_lengths=torch.tensor(prompt_lengths), completion_ids=completion_ids,
        completion_mask=(torch.arange(L) < torch.tensor(lengths)[:, None]).float(),
        old_logprobs=torch.zeros(B, L), rewards=torch.rand(B, generator=generator))


def unpadded(rollout, row):
    """(prompt ids, completion ids) of a row as plain lists."""
    prompt_length, length = int(rollout.prompt_lengths[row]), int(rollout.completion_mask[row].sum())
    text = rollout.ids[row, :prompt_length + length].tolist()
    return text[:prompt_length], text[prompt_length:]


def toy_world():
    """A world of eight tokens: 0 ends a completion, and one with a 3 is rewarded. Learnable in seconds."""
    tokenizer = SimpleNamespace(encode_prompt=lambda text: [1, 2], eos_id=0, pad_id=0,
                                decode=lambda ids: "".join(map(str, ids)))

    def reward(problems, texts):
        return [float("3" in text) for text in texts]

    return World(lambda rng: SimpleNamespace(prompt="12"), reward, tokenizer)


def last_error(capsys):
    """The last line of stderr, after the progress bars; a traceback would be many."""
    error = capsys.readouterr().err
    assert "Traceback" not in error
    return error.replace("\r", "\n").splitlines()[-1]
