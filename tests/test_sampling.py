"""Generation against one-by-one decoding without a cache,
and against the distribution it should draw from."""

import copy

import pytest
import torch
from helpers import awake

from minireason.config import ModelConfig
from minireason.model import GPT
from minireason.sampling import generate, sampling_logprobs
from minireason.upkeep.command import Fault

EOS = 7
PROMPTS = [[1, 2, 3], [4], [5, 6, 8, 9, 10, 11], [1, 2, 3], [1, 2, 3]]


@pytest.fixture(scope="module")
def model():
    config = ModelConfig(vocab_size=24, width=32, num_layers=2, num_heads=4, num_kv_heads=1, mlp_width=48,
                         max_length=64)
    model = awake(GPT(config).init_weights(3)).eval()
    with torch.no_grad():
        model.embedding.weight.mul_(15)     # a sharper model, so that rows differ and end at different times
    return model


@torch.no_grad()
def slow_logprobs(model, prompt, completion, temperature=1.0):
    """log p of each completion token, each from its own whole forward pass."""
    logprobs = []
    for t, token in enumerate(completion):
        logits = model(torch.tensor([prompt + completion[:t]]))[0, -1]
        logprobs.append((logits / temperature).log_softmax(-1)[token])
    return torch.stack(logprobs)


def rows(generation):
    lengths = generation.completion_mask.sum(1).long().tolist()
    return [ids[:n] for ids, n in zip(generation.completion_ids.tolist(), lengths)]


@torch.no_grad()
def test_greedy_equals_argmax_without_a_cache(model):
    for prompt, found in zip(PROMPTS, rows(generate(model, PROMPTS, 12, 0.0, eos_id=EOS))):
        ids = list(prompt)
        while len(ids) < len(prompt) + 12:
            ids.append(int(model(torch.tensor([ids]))[0, -1].argmax()))
            if ids[-1] == EOS:
                break
        assert found == ids[len(prompt):]


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_logprobs_are_those_of_the_tempered_distribution(model, temperature):
    generation = generate(model, PROMPTS, 15, temperature, seed=1, eos_id=EOS)
    for i, completion in enumerate(rows(generation)):
        expected = slow_logprobs(model, PROMPTS[i], completion, temperature)
        assert torch.allclose(generation.logprobs[i, :len(completion)], expected, atol=1e-4)
        assert not generation.logprobs[i, len(completion):].any()


def test_a_row_ends_at_its_first_end_token_which_counts(model):
    generation = generate(model, PROMPTS * 20, 30, seed=5, eos_id=EOS)
    ended = [completion for completion in rows(generation) if EOS in completion]
    assert len(ended) > 10
    assert all(completion.index(EOS) == len(completion) - 1 for completion in ended)
    free = generate(model, PROMPTS, 30, seed=5)
    assert free.completion_mask.all()       # without an end token nothing stops


def test_the_same_seed_says_the_same_whatever_the_company(model):
    """Chunks, other rows, and rows that end early change nothing of what a row says."""
    whole = rows(generate(model, PROMPTS, 20, seed=9, eos_id=EOS))
    assert whole == rows(generate(model, PROMPTS, 20, seed=9, eos_id=EOS, chunk_size=2))
    assert whole[:2] == rows(generate(model, PROMPTS[:2], 20, seed=9, eos_id=EOS))
    assert whole != rows(generate(model, PROMPTS, 20, seed=10, eos_id=EOS))
    assert len({tuple(whole[i]) for i in (0, 3, 4)}) == 3      # equal prompts, other draws


@torch.no_grad()
def test_frequencies_match_the_model(model):
    n = 4000
    first = generate(model, [[1, 2, 3]] * n, 1, 1.0, seed=0).completion_ids[:, 0]
    expected = model(torch.tensor([[1, 2, 3]]))[0, -1].softmax(-1)
    found = torch.bincount(first, minlength=24) / n
    spread = (expected * (1 - expected) / n).sqrt()
    assert ((found - expected).abs() <= 4.5 * spread + 1e-3).all()


def test_top_p_keeps_the_smallest_set_that_reaches_it():
    probabilities = torch.tensor([[0.1, 0.5, 0.25, 0.15]])
    kept = sampling_logprobs(probabilities.log(), 1.0, 0.7).exp()
    assert torch.allclose(kept, torch.tensor([[0.0, 2 / 3, 1 / 3, 0.0]]), atol=1e-6)
    assert torch.allclose(sampling_logprobs(probabilities.log(), 1.0, 1.0).exp(), probabilities)
    one = sampling_logprobs(probabilities.log(), 1.0, 0.01).exp()
    assert torch.allclose(one, torch.tensor([[0.0, 1.0, 0.0, 0.0]]))


def test_no_token_outside_the_nucleus_is_drawn(model):
    narrow = generate(model, [[1, 2, 3]] * 500, 1, 1.0, seed=0, top_p=0.5).completion_ids[:, 0].unique()
    probabilities = model(torch.tensor([[1, 2, 3]]))[0, -1].softmax(-1)
    ordered = probabilities.sort(descending=True)
    size = int((ordered.values.cumsum(0) < 0.5).sum()) + 1
    assert set(narrow.tolist()) <= set(ordered.indices[:size].tolist())


@pytest.mark.parametrize("arguments", [
    dict(prompts=[], max_new_tokens=3), dict(prompts=[[1], []], max_new_tokens=3),
    dict(prompts=[[1] * 60], max_new_tokens=5), dict(prompts=[[1]], max_new_tokens=0),
    dict(prompts=[[1]], max_new_tokens=3, top_p=0.0),
    dict(prompts=[[1]], max_new_tokens=3, temperature=-1.0)])
def test_bad_input_is_refused(model, arguments):
    with pytest.raises(ValueError):
        generate(model, **arguments)


# -----------------------------------------------------------------------------
# Numbers that are none

NAMES = [name for name, _ in GPT(ModelConfig(vocab_size=24, num_layers=1)).named_parameters()]


def says_nothing(model, match, **settings):
    """Whether generation raises a Fault before a token is heard."""
    heard = []
    with pytest.raises(Fault, match=match):
        generate(model, PROMPTS, 12, seed=0, on_token=lambda *token: heard.append(token), **settings)
    return not heard


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", NAMES)
def test_one_weight_that_is_no_number_is_noticed_before_a_token_is_drawn(model, name, value):
    damaged = copy.deepcopy(model)
    with torch.no_grad():
        damaged.get_parameter(name).view(-1)[-1] = value        # of the embedding, a token of no prompt
    for temperature in (0.0, 1.0):
        assert says_nothing(damaged, "the model's logits", temperature=temperature)


@pytest.mark.parametrize("value", [float("inf"), float("-inf")])
def test_no_token_is_banned_by_a_damaged_weight(model, value):
    """One of the two signs makes a logit -inf: the distribution would be sound, without that token."""
    damaged = copy.deepcopy(model)
    with torch.no_grad():
        damaged.embedding.weight[-1, -1] = value
    with pytest.raises(Fault):
        generate(damaged, [[1, 2, 3]], 1, 0.0)


def test_weights_so_large_that_logits_overflow_are_noticed(model):
    damaged = copy.deepcopy(model)
    with torch.no_grad():
        damaged.norm.weight.mul_(1e38)
    assert says_nothing(damaged, "the model's logits")


@pytest.mark.parametrize("temperature", [1e-38, 1e-44, 1e-300])
def test_a_temperature_that_logits_overflow_by_is_noticed(model, temperature):
    assert says_nothing(model, "choose a higher one", temperature=temperature)


def test_a_small_temperature_is_greedy(model):
    cold, greedy = generate(model, PROMPTS, 12, 1e-30, seed=0), generate(model, PROMPTS, 12, 0.0)
    assert torch.equal(cold.completion_ids, greedy.completion_ids) and not cold.logprobs.any()


def test_what_becomes_undefined_on_the_way_is_noticed_then(model):
    """Position 20 has no angle: from what it says, no token is drawn. Those before are as they would be."""
    damaged, heard = copy.deepcopy(model), []
    damaged.cos[20:] = float("nan")
    prompt = PROMPTS[2]
    sound = generate(model, [prompt], 30, seed=0).completion_ids[0].tolist()
    with pytest.raises(Fault, match="the model's logits"):
        generate(damaged, [prompt], 30, seed=0, on_token=lambda row, token: heard.append(token))
    assert heard == sound[:21 - len(prompt)]


def test_on_token_hears_what_is_returned(model):
    heard = {}
    generation = generate(model, PROMPTS, 20, seed=2, eos_id=EOS, chunk_size=2,
                          on_token=lambda row, token: heard.setdefault(row, []).append(token))
    assert [heard[row] for row in range(len(PROMPTS))] == rows(generation)
