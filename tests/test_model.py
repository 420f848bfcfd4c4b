"""The model against plain loops, and its cache against the whole forward pass."""

import math

import pytest
import torch
from helpers import awake

from minireason.cache import KVCache
from minireason.config import ModelConfig
from minireason.model import GPT, rotate

CONFIG = dict(vocab_size=50, width=32, num_layers=2, num_heads=4, num_kv_heads=2, mlp_width=48, max_length=40)


def tiny(**changes):
    return awake(GPT(ModelConfig(**{**CONFIG, **changes})).init_weights(0)).double().eval()


def loop_forward(model, ids, positions):
    """The same network for one row, token by token and head by head,
    with Python complex numbers as rotary."""
    c, D = model.config, model.config.head_size

    def norm(x, w):
        return x / torch.sqrt((x * x).mean() + c.norm_eps) * w

    def turn(x, position):
        out = torch.empty_like(x)
        for i in range(D // 2):
            angle = position * c.rope_theta ** (-2 * i / D)
            z = complex(x[i], x[i + D // 2]) * complex(math.cos(angle), math.sin(angle))
            out[i], out[i + D // 2] = z.real, z.imag
        return out

    xs = [model.embedding.weight[i] for i in ids]
    for block in model.blocks:
        a = block.attention
        query, key, value = a.qkv.weight.split([c.num_heads * D, c.num_kv_heads * D, c.num_kv_heads * D])
        hs = [norm(x, block.attention_norm.weight) for x in xs]
        new = []
        for t, x in enumerate(xs):
            heads = []
            for head in range(c.num_heads):
                kv = head // (c.num_heads // c.num_kv_heads)
                q = turn((query @ hs[t])[head * D:(head + 1) * D], positions[t])
                keys = [turn((key @ hs[s])[kv * D:(kv + 1) * D], positions[s]) for s in range(t + 1)]
                values = [(value @ hs[s])[kv * D:(kv + 1) * D] for s in range(t + 1)]
                weights = torch.softmax(torch.stack([q @ k / math.sqrt(D) for k in keys]), 0)
                heads.append(sum(w * v for w, v in zip(weights, values)))
            x = x + a.out.weight @ torch.cat(heads)
            h = norm(x, block.mlp_norm.weight)
            gate = block.gate.weight @ h
            new.append(x + block.down.weight @ (gate * torch.sigmoid(gate) * (block.up.weight @ h)))
        xs = new
    return torch.stack([model.embedding.weight @ norm(x, model.norm.weight) for x in xs])


@torch.no_grad()
@pytest.mark.parametrize("num_kv_heads", [1, 2, 4])
def test_forward_equals_a_plain_loop(num_kv_heads):
    model, ids = tiny(num_kv_heads=num_kv_heads), [3, 1, 4, 1, 5, 9, 2, 6]
    assert torch.allclose(model(torch.tensor([ids]))[0], loop_forward(model, ids, range(8)), atol=1e-5)


@torch.no_grad()
def test_tokens_may_stand_at_other_positions_than_their_columns():
    model, rows = tiny(), torch.tensor([[3, 1, 4, 1, 5, 9], [2, 6, 5, 3, 5, 8]])
    positions = torch.tensor([[0, 1, 2, 23, 24, 25], [0, 31, 32, 33, 34, 35]])
    for ids, logits, where in zip(rows, model(rows, positions), positions):
        assert torch.allclose(logits, loop_forward(model, ids.tolist(), where.tolist()), atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("block", [1, 16])
def test_cached_decoding_of_ragged_rows_equals_the_whole_forward(block):
    model, generator = tiny(), torch.Generator().manual_seed(0)
    lengths = torch.tensor([3, 7, 5])
    ids = torch.randint(0, 50, (3, 40), generator=generator)
    prompts = torch.zeros(3, 9, dtype=torch.long)                            # two columns more than needed
    for row, length in enumerate(lengths):
        prompts[row, 7 - length:7] = ids[row, :length]
    cache = KVCache(model.config, lengths, 7, 9, dtype=torch.float64, block=block)     # has to grow
    model.hidden(prompts, cache)
    for step in range(33):
        tokens = ids[torch.arange(3), lengths + step]                        # the next token of each row
        logits = model.head(model.hidden(tokens[:, None], cache))[:, 0]
        for row in range(3):
            whole = model(ids[row:row + 1, :lengths[row] + step + 1])[0, -1]
            assert torch.allclose(logits[row], whole, atol=1e-6)             # angles are rounded to float32


@torch.no_grad()
def test_dropping_and_repeating_cache_rows():
    model, ids = tiny(), torch.arange(12).view(2, 6)
    cache = KVCache(model.config, torch.tensor([6, 6]), 6, 9, dtype=torch.float64)
    model.hidden(ids, cache)
    cache.select(torch.tensor([1, 1, 0]))
    logits = model.head(model.hidden(torch.tensor([[20], [21], [22]]), cache))[:, 0]
    for row, (source, token) in enumerate([(1, 20), (1, 21), (0, 22)]):
        whole = model(torch.cat([ids[source], torch.tensor([token])])[None])[0, -1]
        assert torch.allclose(logits[row], whole, atol=1e-9)


@torch.no_grad()
def test_nothing_sees_the_future():
    model, ids = tiny(), torch.arange(10)[None]
    changed = ids.clone()
    changed[0, 6:] = 49
    assert torch.equal(model(ids)[0, :6], model(changed)[0, :6])


def test_rotation_keeps_lengths_and_depends_on_distance_alone():
    model = tiny()
    x = torch.randn(1, 1, 1, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def at(position):
        return rotate(x, model.cos[position], model.sin[position])

    assert torch.allclose(at(9).norm(), x.norm())
    assert torch.allclose((at(3) * at(7)).sum(), (at(20) * at(24)).sum())


def test_the_head_is_the_embedding_and_nothing_has_a_bias():
    model = GPT(ModelConfig(**CONFIG))
    names = [name for name, _ in model.named_parameters()]
    assert not [name for name in names if "bias" in name or "head" in name]
    C, M, kv = 32, 48, 2 * 8
    in_a_block = 2 * C * C + 2 * C * kv + 3 * C * M + 2 * C
    assert sum(p.numel() for p in model.parameters()) == 50 * C + 2 * in_a_block + C


def test_weights_follow_from_the_seed():
    first, again, other = (GPT(ModelConfig(**CONFIG)).init_weights(seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[k], again[k]) for k in first)
    assert not torch.equal(first["embedding.weight"], other["embedding.weight"])


def test_too_long_a_row_is_refused():
    tiny()(torch.zeros(1, 40, dtype=torch.long))
    with pytest.raises(ValueError, match="41 tokens"):
        tiny()(torch.zeros(1, 41, dtype=torch.long))
