"""Two processes give the gradient of one on the same batch, and a run on two goes on with one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.multiprocessing as multiprocessing
from helpers import tiny_model, toy_world

from minireason import grpo, ppo, sft
from minireason.config import RLConfig, SFTConfig
from minireason.policy import Critic
from minireason.rollout import collect_rollout
from minireason.upkeep import checkpoint, parallel

ROOT = Path(__file__).parent.parent
CONFIG = dict(num_iterations=1, num_prompts=4, group_size=6, max_new_tokens=6, num_epochs=1,
              micro_batch_size=5, learning_rate=1.0, critic_learning_rate=1.0, warmup_iterations=1,
              max_grad_norm=1e9)
EXAMPLES = [([1, 2], [3, 4, 5]), ([1], [2, 3]), ([4, 5, 6], [7]), ([2], [6, 5, 4, 3, 2]), ([7, 7], [1, 1, 1])]


@pytest.mark.parametrize("name", [
    "meta", "mkldnn", "vulkan", "lazy", "hpu", "privateuseone", "opencl", "cpu:7", "cpu:-1", "mps:1",
    "cuda:99", "cuda:-1", "cuda:x", "CPU", "cpu ", "", "0", ":", "cuda:", "cuda:0:0"])
def test_a_device_that_is_none_is_one_line(name, recwarn):
    with pytest.raises(ValueError, match="device") as error:
        parallel.pick_device(name)
    assert repr(name) in str(error.value) and "\n" not in str(error.value) and not recwarn


def test_a_device_that_is_one_is_taken():
    assert parallel.pick_device("cpu").type == parallel.pick_device("cpu:0").type == "cpu"
    assert parallel.pick_device().type in parallel.DEVICES


def one_step(algo, settings):
    """The weights after one step of plain gradient descent on a fixed batch, and its metrics."""
    policy = tiny_model(0, vocab_size=8, sharpness=3)
    if algo == "sft":
        config = SFTConfig(num_examples=5, batch_size=5, learning_rate=1.0, warmup_steps=1, max_grad_norm=1e9)
        metrics, = sft.train(policy, torch.optim.SGD(policy.parameters(), lr=1.0), EXAMPLES, config, seed=0)
        return [p.detach() for p in policy.parameters()], metrics
    config = RLConfig(**CONFIG | settings)
    rank, size = parallel.rank(), parallel.world_size()
    # the whole batch of one process, of which each has its groups
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parallel, "share", lambda items: items)
        patch.setattr(parallel, "rank", lambda: 0)
        whole = collect_rollout(policy, policy if config.kl_coef else None, toy_world(), config, seed=0,
                                iteration=0)
    rows = [row for row in range(24) if row // 6 % size == rank]
    module = {"grpo": grpo, "ppo": ppo}[algo]
    critics = [Critic(policy)] if algo == "ppo" else []
    optimizer = torch.optim.SGD([{"params": list(m.parameters())} for m in (policy, *critics)], lr=1.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "collect_rollout", lambda *_: whole.select(torch.tensor(rows)))
        metrics, = module.train(policy, *critics, None, optimizer, toy_world(), config, seed=0)
    return [p.detach() for m in (policy, *critics) for p in m.parameters()], metrics


def worker(rank, port, algo, settings, results):
    os.environ.update(RANK=str(rank), WORLD_SIZE="2", LOCAL_RANK=str(rank), MASTER_ADDR="127.0.0.1",
                      MASTER_PORT=str(port))
    torch.set_num_threads(1)
    parallel.start(torch.device("cpu"))
    assert parallel.world_size() == 2 and parallel.total(rank + 1) == 3 and parallel.from_first(rank) == 0
    assert parallel.share([0, 1, 2]) == ([0, 2] if rank == 0 else [1])
    torch.save(one_step(algo, settings), results / f"{rank}.pt")
    torch.distributed.barrier()
    os._exit(0)      # gloo's own threads at times abort a process that winds down, whatever it has computed


def free_port():
    import socket
    with socket.socket() as connection:
        connection.bind(("127.0.0.1", 0))
        return connection.getsockname()[1]


@pytest.mark.slow
@pytest.mark.parametrize("algo, settings", [
    ("sft", {}), ("grpo", {}), ("grpo", {"kl_coef": 0.1, "normalize": "sequence"}),
    ("grpo", {"normalize": "constant"}),
    ("ppo", {}), ("ppo", {"kl_coef": 0.1}),
])
def test_two_processes_take_the_step_of_one(algo, settings, tmp_path):
    alone, metrics = one_step(algo, settings)
    multiprocessing.spawn(worker, (free_port(), algo, settings, tmp_path), nprocs=2)
    start = tiny_model(0, vocab_size=8, sharpness=3).embedding.weight
    assert not torch.allclose(alone[0], start, atol=1e-3)      # there was a gradient
    for rank in (0, 1):
        together, theirs = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        difference = max((a - b).abs().max().item() for a, b in zip(alone, together))
        assert difference < 1e-6 * max(1, metrics["grad_norm"])
        assert set(theirs) == set(metrics)
        for name in {"loss", "num_tokens", "reward", "policy_loss", "value_loss", "grad_norm",
                     "entropy"} & set(metrics):
            assert theirs[name] == pytest.approx(metrics[name], rel=1e-4, abs=1e-5), name


@pytest.mark.slow
def test_a_run_on_two_processes_goes_on_with_one(tmp_path):
    flags = ["--preset", "smoke", "--device", "cpu", "--pure-rl", "--model-width", "32",
             "--model-num-layers", "1", "--model-mlp-width", "32", "--base-num-examples", "400",
             "--rl-num-prompts", "4", "--rl-group-size", "4",
             "--rl-max-new-tokens", "16", "--rl-num-iterations", "3", "--evaluate-num-problems", "6",
             "--evaluate-num-programs", "5", "--evaluate-max-new-tokens", "8", "--out", str(tmp_path / "run")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    on_two = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--master_port",
              str(free_port()), "train.py"]
    done = subprocess.run([*on_two, "base", *flags], cwd=ROOT, env=environment, capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    lines = (tmp_path / "run" / "base" / "metrics.jsonl").read_text()
    assert lines.count("\n") == checkpoint.load(tmp_path / "run" / "base" / "checkpoint.pt")["iteration"] == 9
    done = subprocess.run([sys.executable, "train.py", "rl", *flags], cwd=ROOT, env=environment,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert checkpoint.load(tmp_path / "run" / "rl" / "checkpoint.pt")["done"]
