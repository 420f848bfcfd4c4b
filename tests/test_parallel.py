"""Two processes take the step of one on the same batch and log its numbers; they come and end together."""

import contextlib
import io
import os
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.multiprocessing as multiprocessing
from helpers import tiny_model, toy_world

import train
from minireason import grpo, ppo, sft
from minireason.config import RLConfig, SFTConfig
from minireason.policy import Critic
from minireason.rollout import collect_rollout
from minireason.upkeep import checkpoint, parallel
from minireason.upkeep.command import BadInput, Fault

ROOT = Path(__file__).parent.parent
CONFIG = dict(num_iterations=1, num_prompts=4, group_size=6, max_new_tokens=6, num_epochs=1,
              micro_batch_size=5, learning_rate=1.0, critic_learning_rate=1.0, warmup_iterations=1,
              max_grad_norm=1e9)
EXAMPLES = [([1, 2], [3, 4, 5]), ([1], [2, 3]), ([4, 5, 6], [7]), ([2], [6, 5, 4, 3, 2]), ([7, 7], [1, 1, 1])]
CASES = {       # three prompts on two processes: the shares are unequal. A single example: one has nothing.
    "imitation": ("sft", {}),
    "imitation of one": ("sft", {"num_examples": 1}),
    "grpo": ("grpo", {}),
    "grpo, a mean of sequences": ("grpo", {"kl_coef": 0.1, "normalize": "sequence"}),
    "grpo by a constant": ("grpo", {"normalize": "constant"}),
    "grpo, three prompts": ("grpo", {"num_prompts": 3}),
    "grpo, three prompts, kl": ("grpo", {"num_prompts": 3, "kl_coef": 0.1}),
    "grpo, the batch's mean": ("grpo", {"num_prompts": 3, "batch_baseline": True, "kl_coef": 0.1,
                                        "kl_in_reward": True, "kl_estimator": "k1"}),
    "grpo, entropy": ("grpo", {"num_prompts": 3, "entropy_coef": 0.1, "normalize": "sequence"}),
    "cispo, two updates": ("grpo", {"num_prompts": 3, "objective": "cispo", "num_epochs": 2}),
    "gspo, two updates": ("grpo", {"num_prompts": 3, "objective": "gspo", "num_epochs": 2}),
    "ppo": ("ppo", {}),
    "ppo, kl": ("ppo", {"kl_coef": 0.1}),
    "ppo, three prompts": ("ppo", {"num_prompts": 3}),
    "ppo, three prompts, kl": ("ppo", {"num_prompts": 3, "kl_coef": 0.1, "normalize": "sequence"}),
}


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
        examples = EXAMPLES[:settings.get("num_examples", 5)]
        config = SFTConfig(batch_size=5, learning_rate=1.0, warmup_steps=1, max_grad_norm=1e9)
        metrics, = sft.train(policy, torch.optim.SGD(policy.parameters(), lr=1.0), examples, config, seed=0)
        return [p.detach() for p in policy.parameters()], metrics
    config = RLConfig(**CONFIG | settings)
    rank, size = parallel.rank(), parallel.world_size()
    # the whole batch of one process, of which each has its groups
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parallel, "share", lambda items: items)
        patch.setattr(parallel, "rank", lambda: 0)
        reference = tiny_model(1, vocab_size=8, sharpness=3) if config.kl_coef else None
        whole = collect_rollout(policy, reference, toy_world(), config, seed=0, iteration=0)
    rows = [row for row in range(len(whole)) if row // 6 % size == rank]
    module = {"grpo": grpo, "ppo": ppo}[algo]
    critics = [Critic(policy)] if algo == "ppo" else []
    optimizer = torch.optim.SGD([{"params": list(m.parameters())} for m in (policy, *critics)], lr=1.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "collect_rollout", lambda *_: whole.select(torch.tensor(rows)))
        metrics, = module.train(policy, *critics, None, optimizer, toy_world(), config, seed=0)
    return [p.detach() for m in (policy, *critics) for p in m.parameters()], metrics


def fail(text):
    raise BadInput(text)


def message_of(function, *arguments):
    """What a function says that is to fail."""
    try:
        function(*arguments)
    except (BadInput, Fault) as error:
        return f"{type(error).__name__}: {error}"


def said_by(arguments):
    """What train.py says of arguments that it refuses."""
    with contextlib.redirect_stderr(io.StringIO()) as error:
        assert train.main(arguments) == 2
    return error.getvalue()


def worker(rank, port, results):
    """All that needs two processes, in one go: it takes seconds to start them."""
    os.environ.update(RANK=str(rank), WORLD_SIZE="2", LOCAL_RANK=str(rank), MASTER_ADDR="127.0.0.1",
                      MASTER_PORT=str(port), MINIREASON_JOIN_SECONDS="60")
    torch.set_num_threads(1)
    parallel.start()
    assert parallel.world_size() == 2 and parallel.total(rank + 1) == 3
    assert parallel.share([0, 1, 2]) == ([0, 2] if rank == 0 else [1])
    assert parallel.from_first(parallel.rank) == 0
    seen = {name: one_step(*case) for name, case in CASES.items()}
    seen["refusal"] = message_of(parallel.from_first, fail, "no such thing")
    seen["speaks"] = parallel.speaks()
    parallel.gather(None)
    if rank == 0:
        parallel.store.delete_key("minireason/ended")       # as if nobody had spoken yet
    parallel.gather(None)
    seen["said"] = said_by(["base", "--device", "cuda:99", "--out", str(results / "run")])
    parallel.gather(None)
    if rank == 0:       # killed, in the middle of the other's step
        torch.save(seen, results / "0.pt")
        os._exit(0)
    seen["lost"] = message_of(parallel.total, 1)
    torch.save(seen, results / "1.pt")
    os._exit(0)      # gloo's own threads at times abort a process that winds down, whatever it has computed


def free_port():
    import socket
    with socket.socket() as connection:
        connection.bind(("127.0.0.1", 0))
        return connection.getsockname()[1]


def on_two():
    return [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--master_port",
            str(free_port()), "train.py"]


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """What each of two processes saw."""
    folder = tmp_path_factory.mktemp("two")
    multiprocessing.spawn(worker, (free_port(), folder), nprocs=2)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in (0, 1)]


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_two_processes_take_the_step_of_one_and_log_its_numbers(two, name):
    alone, metrics = one_step(*CASES[name])
    start = tiny_model(0, vocab_size=8, sharpness=3).embedding.weight
    assert not torch.allclose(alone[0], start, atol=1e-3)      # there was a gradient
    for seen in two:
        together, theirs = seen[name]
        difference = max((a - b).abs().max().item() for a, b in zip(alone, together))
        assert difference < 1e-6 * max(1, metrics["grad_norm"])
        assert theirs == pytest.approx(metrics, rel=1e-4, abs=1e-5)


@pytest.mark.slow
def test_an_error_of_the_first_process_is_raised_in_all_and_said_by_one(two):
    assert [seen["refusal"] for seen in two] == ["BadInput: no such thing"] * 2
    assert sorted(seen["speaks"] for seen in two) == [False, True]


@pytest.mark.slow
def test_what_all_processes_find_out_is_said_by_one(two):
    silence, line = sorted(seen["said"] for seen in two)
    assert not silence and line.startswith("train.py: ") and "cuda:99" in line and line.count("\n") == 1


@pytest.mark.slow
def test_a_process_that_ends_is_a_fault_of_the_others(two):
    assert two[1]["lost"].startswith("Fault: another process has ended, or cannot be reached")


def wait_for_the_first(rank, port, results):
    os.environ.update(RANK=str(rank), WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    parallel.PATIENCE = timedelta(seconds=0.5)
    parallel.start()
    if rank == 0:       # works alone, as when it scores a stage, until the other has had enough
        for _ in range(400):
            if not (results / "message").exists():
                time.sleep(0.05)
    else:
        (results / "message").write_text(message_of(parallel.total, 1))
    os._exit(0)


@pytest.mark.slow
def test_one_that_works_alone_for_days_does_not_end_the_others(tmp_path):
    """The limit is `PATIENCE` and no other: with half a second in its place the other gives up."""
    assert parallel.PATIENCE >= timedelta(days=1)
    multiprocessing.spawn(wait_for_the_first, (free_port(), tmp_path), nprocs=2)
    assert "Timed out" in (tmp_path / "message").read_text()


# -----------------------------------------------------------------------------
# Coming together

@pytest.mark.parametrize("environment, kind, says", [
    ({"RANK": "0", "WORLD_SIZE": "2"}, Fault, "only 1 of 2 processes came within 1 seconds"),
    ({"RANK": "1", "WORLD_SIZE": "2"}, Fault, "process 0 did not answer at 127.0.0.1:"),
    ({"WORLD_SIZE": "2"}, BadInput, "there is no RANK: start with torchrun"),
    ({"RANK": "0"}, BadInput, "there is no WORLD_SIZE: start with torchrun"),
    ({"RANK": "2", "WORLD_SIZE": "2"}, BadInput, "RANK is '2', and must be a whole number from 0 to 1"),
    ({"RANK": "x", "WORLD_SIZE": "2"}, BadInput, "RANK is 'x', and must be"),
    ({"RANK": "0", "WORLD_SIZE": "-2"}, BadInput, "WORLD_SIZE is '-2', and must be"),
    ({"RANK": "0", "WORLD_SIZE": "2", "MASTER_PORT": "9" * 8}, BadInput, "MASTER_PORT is '99999999'"),
    ({"RANK": "0", "WORLD_SIZE": "2", "MINIREASON_JOIN_SECONDS": "inf"}, BadInput, "JOIN_SECONDS is 'inf'"),
])
def test_if_the_others_do_not_come_it_says_so_after_a_wait(monkeypatch, environment, kind, says):
    for name in parallel.PLACE:
        monkeypatch.delenv(name, raising=False)
    environment = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()),
                   "MINIREASON_JOIN_SECONDS": "1"} | environment
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(kind, match=says) as caught:
        parallel.start()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("stage, flags, says", [
    ("all", ["--rl-num-prompts", "2"], "--rl-num-prompts 2 is too few for 3 processes"),
    ("all", ["--align-num-prompts", "2"], "--align-num-prompts 2 is too few for 3 processes"),
    ("all", ["--cold-start-batch-size", "1"], "--cold-start-batch-size 1 is too few for 3 processes"),
    ("base", ["--base-batch-size", "2"], "--base-batch-size 2 is too few for 3 processes"),
])
def test_fewer_prompts_than_processes_are_refused_before_anything_is_written(tmp_path, monkeypatch, capsys,
                                                                           stage, flags, says):
    flags = ["--preset", "smoke", "--device", "cpu", *flags]
    monkeypatch.setattr(parallel, "world_size", lambda: 3)
    monkeypatch.setattr(parallel, "gather", lambda value: [value])
    assert train.main([stage, *flags, "--out", str(tmp_path / "run")]) == 2
    assert says in capsys.readouterr().err and not list(tmp_path.iterdir())


@pytest.mark.slow
def test_bad_input_to_several_processes_is_said_once(tmp_path):
    """The first process finds it out. torchrun adds a summary of its own, and ends with 1 whatever the
    processes end with."""
    flags = ["base", "--preset", "smoke", "--base-batch-size", "1", "--out", str(tmp_path / "run")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*on_two(), *flags], cwd=ROOT, env=environment, capture_output=True, text=True)
    ours = done.stderr[:done.stderr.index("torch/distributed/elastic")].splitlines()[:-1]
    assert len(ours) == 1 and ours[0].startswith("train.py: --base-batch-size 1 is too few")
    assert "exitcode  : 2 " in done.stderr and not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_run_on_two_processes_goes_on_with_one(tmp_path, monkeypatch):
    flags = ["--preset", "smoke", "--device", "cpu", "--pure-rl", "--model-width", "32",
             "--model-num-layers", "1", "--model-mlp-width", "32", "--base-num-examples", "96",
             "--base-batch-size", "24", "--rl-num-prompts", "4", "--rl-group-size", "4",
             "--rl-max-new-tokens", "16", "--rl-num-iterations", "3", "--evaluate-num-problems", "6",
             "--evaluate-num-programs", "5", "--evaluate-max-new-tokens", "8", "--out", str(tmp_path / "run")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*on_two(), "base", *flags], cwd=ROOT, env=environment, capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    lines = (tmp_path / "run" / "base" / "metrics.jsonl").read_text()
    state = checkpoint.load(tmp_path / "run" / "base" / "checkpoint.pt")
    assert lines.count("\n") == state["iteration"] == 4       # of 24 documents each
    monkeypatch.setattr(train.report, "write_report", lambda *_: None)      # its figures take seconds
    assert train.main(["rl", *flags]) == 0
    assert checkpoint.load(tmp_path / "run" / "rl" / "checkpoint.pt")["done"]
