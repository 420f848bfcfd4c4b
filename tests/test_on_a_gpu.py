"""The study of one GPU, tried on a CPU with tiny sizes."""

import importlib.util
import json
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).parent.parent / "lessons" / "studies" / "on_a_gpu.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("on_a_gpu", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def run(script, tmp_path):
    """Calls the script with tiny sizes. Returns (exit code, its JSON)."""
    def call(*flags):
        out = tmp_path / "GPU.json"
        code = script.main(["--device", "cpu", "--tiny", "--out", str(out), *flags])
        return code, json.loads(out.read_text())
    return call


def test_without_a_gpu_one_line_says_what_to_do(script, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert script.main(["--out", str(tmp_path / "GPU.json")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "--device cpu --tiny" in error
    assert not list(tmp_path.iterdir())


def test_a_device_agrees_with_itself_and_learns(run):
    code, results = run("--only", "agreement")
    assert code == 0 and [row["algo"] for row in results["agreement"]] == ["grpo", "ppo"]
    for row in results["agreement"]:
        assert row["losses agree"] and row["largest difference of a weight"] == 0
        assert row["largest change of a weight"] > 1e-4
        assert len(set(row["losses on the CPU"])) == 5      # each step has a loss of its own


def test_a_fault_is_a_row_and_the_next_part_begins(script, run, monkeypatch):
    def faulty(study):
        raise RuntimeError("no such kernel")

    def fine(study):
        study.add("seconds", {"seen": True}, "seen")

    monkeypatch.setattr(script, "PARTS", {"memory": faulty, "seconds": fine})
    code, results = run()
    assert code == 1 and results["seconds"] == [{"seen": True}]
    assert results["memory"] == [{"what": "the part memory", "error": "RuntimeError: no such kernel"}]


def test_a_lack_of_memory_is_a_result_and_no_fault(script, run, monkeypatch):
    def too_large(study):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 TiB")

    monkeypatch.setattr(script, "PARTS", {"memory": too_large})
    code, results = run()
    assert code == 0 and "out of memory" in results["memory"][0]["error"]


def test_no_part_begins_after_the_time_is_over(script, run):
    code, results = run("--minutes", "0")
    assert code == 0
    for name in script.PARTS:
        assert results[name] == [{"what": f"the part {name}", "skipped": "no time was left"}]


@pytest.mark.slow
@pytest.mark.parametrize("algo, dtype", [("grpo", "float32"), ("ppo", "bfloat16")])
def test_what_the_allocator_held_before_is_taken_off(script, monkeypatch, tmp_path, algo, dtype):
    """With a made-up allocator that always holds 1,000 bytes, and 5,000 more once it was asked."""
    asked = []

    def held(device):
        asked.append(device)
        return 1000 if len(asked) == 1 else 6000

    monkeypatch.setattr(script, "held_bytes", held)
    monkeypatch.setattr(script, "most_bytes", lambda device: 9000)
    study = script.Study(torch.device("cpu"), True, 1.0, tmp_path / "GPU.json")
    study.counts_bytes = True
    c, settings = script.sizes(tiny=True)["tiny"]
    script.allocator_rows(study, "tiny", c, settings, algo, dtype)
    rows = study.results["memory"]
    assert [row["group_size"] for row in rows] == [4, 16, 64]
    for row in rows:
        assert row["allocator"] == {"at backward": 5000, "sampling": 8000, "peak": 8000}
        assert row["relative error"]["peak"] == row["expected"]["peak"] / 8000 - 1


def test_bfloat16_weights_follow_a_copy_in_float32(script):
    """Updates too small to change a bfloat16 number add up in the copy, as in plain AdamW."""
    weight = torch.nn.Parameter(torch.full((3,), 1.0, dtype=torch.bfloat16))
    plain = torch.nn.Parameter(torch.full((3,), 1.0))
    optimizer = script.MasterAdamW([weight], 1e-3)
    expected = torch.optim.AdamW([plain], lr=1e-3)
    for _ in range(5):
        optimizer.zero_grad()
        weight.grad = torch.ones(3, dtype=torch.bfloat16)
        plain.grad = torch.ones(3)
        optimizer.step()
        expected.step()
    assert torch.allclose(optimizer.masters[0], plain, atol=1e-6)
    assert torch.equal(weight, plain.to(torch.bfloat16)) and weight[0] < 1


@pytest.mark.slow
def test_the_other_parts_fill_their_rows(run):
    code, results = run("--only", "seconds")
    assert code == 0 and [row["algo"] for row in results["seconds"]] == ["grpo", "ppo"]
    for row in results["seconds"]:
        assert row["sampled tokens a second"] > 0 and len(row["steps"]) == 2
    code, results = run("--only", "minute")
    assert code == 0 and [row["stage"] for row in results["minute"]] == ["base", "base", "rl"]
