"""The ledger: what the formula says and what is on the tensors."""

import json

import pytest
import torch
from helpers import tiny_model

from minireason.config import ModelConfig, RLConfig
from minireason.model import GPT
from minireason.tools import memory

SHAPES = [ModelConfig(24, 32, 2, 4, 1, 48, 256), ModelConfig(97, 48, 3, 4, 4, 100, 64),
          ModelConfig(511, 64, 1, 8, 2, 30, 256)]
SETTINGS = [RLConfig(num_prompts=2, group_size=4, micro_batch_size=3, max_new_tokens=20),
            RLConfig(num_prompts=2, group_size=2, micro_batch_size=1, max_new_tokens=40),
            RLConfig(num_prompts=3, group_size=2, micro_batch_size=64, max_new_tokens=9, kl_coef=0.1,
                     normalize="sequence")]


@pytest.mark.parametrize("c", SHAPES)
def test_parameters_are_counted_right(c):
    parameters = list(GPT(c).parameters())
    assert memory.count_parameters(c) == (sum(p.numel() for p in parameters), len(parameters))


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("c", SHAPES)
@pytest.mark.parametrize("algo", memory.ALGORITHMS)
def test_state_is_exact_and_activations_within_two_percent(c, settings, algo):
    formula, measured = memory.ledger(c, settings, algo, 7), memory.measure(c, settings, algo, 7)
    assert list(formula) == list(measured)
    for row in formula:
        if row == "activations":
            assert formula[row] == pytest.approx(measured[row], rel=0.02)
        else:
            assert formula[row] == measured[row], row
    assert memory.peak(formula) == pytest.approx(memory.peak(measured), rel=0.02)


def test_the_ledger_of_a_model_by_hand():
    """One layer of width 2, one head, MLP of 3, vocabulary of 5:
    10 + 2+2 + 4*4 + 18 + 2 numbers in 9 tensors."""
    c = ModelConfig(5, 2, 1, 1, 1, 3, 8)
    rows = memory.ledger(c, RLConfig(num_prompts=1, group_size=2, max_new_tokens=3), "grpo", 4)
    assert memory.count_parameters(c) == (50, 9)
    assert (rows["weights"], rows["gradients"], rows["optimizer"], rows["critic"]) == (200, 200, 436, 0)
    assert rows["rollout"] == 2 * ((4 + 3) * 8 + 3 * 20 + 12)
    assert rows["key-value cache"] == 2 * 2 * 2 * 16 * 4
    half = memory.ledger(c, RLConfig(num_prompts=1, group_size=2), "grpo", 4, "bfloat16", "sgd")
    assert (half["weights"], half["optimizer"]) == (100, 200)          # the float32 copy


def test_a_separate_critic_doubles_what_a_shared_one_does_not():
    c, settings = SHAPES[2], SETTINGS[0]
    grpo, ppo, shared = (memory.peak(memory.ledger(c, settings, algo, 7)) for algo in memory.ALGORITHMS)
    assert 1.6 < ppo / grpo < 2.2 and shared / grpo < 1.05


@pytest.mark.parametrize("whole", [True, False])
def test_the_crossover_is_where_the_curves_cross(whole):
    c, settings = SHAPES[0], RLConfig(num_prompts=4, micro_batch_size=64, max_new_tokens=40)
    best = memory.crossover(c, settings, 7, whole, limit=200)
    (at, beyond), ppo = memory.against_group_size(c, settings, 7, [best, best + 1], whole)
    assert 2 <= best < 200 and at <= ppo < beyond


def test_on_cuda_the_crossover_is_that_of_the_ledger_of_cuda(monkeypatch, capsys):
    """Its norms keep less, so the curves are other ones than the CPU's."""
    c, settings = SHAPES[0], RLConfig(num_prompts=4, micro_batch_size=4, max_new_tokens=40, group_size=8)
    on_cpu, ppo_on_cpu = memory.against_group_size(c, settings, 7, [8], False)
    on_cuda, ppo_on_cuda = memory.against_group_size(c, settings, 7, [8], False, device="cuda")
    assert on_cuda == [memory.peak(memory.ledger(c, settings, "grpo", 7, device="cuda"))]
    assert on_cuda < on_cpu and ppo_on_cuda < ppo_on_cpu
    monkeypatch.setattr(memory, "pick_device", lambda name: torch.device("cuda"))
    asked = []
    monkeypatch.setattr(memory, "crossover", lambda *_, **how: asked.append(how["device"]) or 2)
    assert memory.main(["--model", "7B", "--device", "cuda"]) == 0
    assert asked == ["cuda", "cuda"]


def test_a_group_of_two_may_already_take_more(capsys):
    """PPO's two networks of the laptop preset are small beside the cache of 128 long completions."""
    flags = ["--preset", "laptop", "--num-prompts", "512", "--dtype", "bfloat16"]
    assert memory.main([*flags, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["largest_group_within_ppo"]["whole batch"] == 0
    assert memory.main(flags) == 0
    text = capsys.readouterr().out
    assert "not even 2" in text and "up to 0" not in text


def test_a_large_model_is_told_where_its_usual_settings_are(capsys):
    assert memory.main(["--model", "7B"]) == 0
    text = capsys.readouterr().out
    assert f"more than {memory.LIMIT}" in text and "--model 7B --fits 80GiB" in text
    assert memory.main(["--model", "7B", "--fits", "80GiB"]) == 0
    assert "(with the embedding as its head)\n" in capsys.readouterr().out
    sizes = {"--hidden": 64, "--layers": 2, "--heads": 4, "--kv-heads": 2, "--vocab": 99}
    assert memory.main([f"{flag}={size}" for flag, size in sizes.items()]) == 0
    text = capsys.readouterr().out
    assert "embedding as its head" not in text and "C = 64, K D = 32, V = 99\n" in text


def test_the_command(capsys, tmp_path):
    flags = ["--preset", "smoke", "--num-prompts", "2", "--group-size", "4", "--micro-batch-size", "4"]
    assert memory.main([*flags, "--plot", str(tmp_path / "memory.png")]) == 0
    text = capsys.readouterr().out
    assert "key-value cache" in text and "measured" in text
    assert (tmp_path / "memory.png").stat().st_size > 5000
    assert memory.main([*flags, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["formula"]["grpo"]["weights"] == shown["measured"]["grpo"]["weights"]
    assert memory.main(["--model", "70B", "--dtype", "bfloat16"]) == 0
    assert "measured" not in capsys.readouterr().out


@pytest.mark.parametrize("flags", [["--group-size", "0"], ["--preset", "huge"], ["--prompt-length", "0"],
                                   ["--device", "abacus"]])
def test_bad_input(flags, capsys):
    assert memory.main(flags) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_measuring_leaves_a_model_of_the_same_size_alone():
    before = tiny_model()
    memory.measure(SHAPES[0], SETTINGS[0], "ppo", 7)
    assert all(torch.equal(a, b) for a, b in zip(before.parameters(), tiny_model().parameters()))
