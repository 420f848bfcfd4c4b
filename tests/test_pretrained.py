"""The weights in the repository: small, loadable without running code, and as good as their results say."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from helpers import NO_DISTRIBUTIONS, SHIPPED

import sample
import train
from minireason import begin, evaluate, run
from minireason.config import preset
from minireason.evaluate import evaluate_task
from minireason.model import GPT
from minireason.run import WEIGHTS, config_of, open_model
from minireason.settings import from_dict, to_dict
from minireason.snapshots import rl_models, save_snapshot, snapshot_path, snapshots_in
from minireason.stats import wilson_interval
from minireason.tokenizer import get_tokenizer, pieces_of
from minireason.tools import export, inspector, pretrained, report
from minireason.tools.playground.server import Playground
from minireason.upkeep import checkpoint, metrics
from minireason.upkeep.command import BadInput

INCLUDED = [stage for stage in run.STAGES if run.has_checkpoint(WEIGHTS, stage)]


@pytest.mark.parametrize("stage", INCLUDED)
def test_the_files_are_small_and_half_and_bring_their_settings(stage):
    path = WEIGHTS / stage / "checkpoint.pt"
    assert path.stat().st_size < 2 * 2**20
    state = checkpoint.load(path)
    assert {value.dtype for value in state["model"].values()} == {torch.float16}
    words = get_tokenizer().words       # those of a new task come last
    assert state["vocabulary"] == list(words[:len(state["vocabulary"])])
    assert set(get_tokenizer(SHIPPED).words) == set(state["vocabulary"])
    assert state["done"] and state["stage"] == stage
    config = config_of(state)
    assert config == from_dict(json.loads((WEIGHTS / "config.json").read_text()))
    assert config.model.vocab_size == len(pieces_of(state["vocabulary"])) and config.preset == "laptop"


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["base", "align"])
def test_the_models_are_as_good_as_recorded(stage):
    """On 150 of the recorded problems: within what so few can tell (99.9%)."""
    results = run.read_results(WEIGHTS)
    model, settings = open_model("pretrained", stage)[0], preset("laptop").evaluate
    for task in ("arithmetic", "countdown"):
        levels = tuple(map(int, results["config"]["tasks"][f"{task}_levels"].split(",")))
        accuracy = evaluate_task(model, get_tokenizer(), task, levels, 150, settings)["accuracy"]
        low, high = wilson_interval(round(150 * accuracy["value"]), 150, z=3.3)
        assert low < results["stages"][stage][task]["accuracy"]["value"] < high


@pytest.fixture
def stored(tmp_path, monkeypatch):
    """A finished run with two snapshots, in run/, and a place for its weights in weights/. Returns both."""
    config = preset("smoke")
    config.model.vocab_size = get_tokenizer().vocab_size
    accuracy = {"value": 0.5, "low": 0.4, "high": 0.6, "num_problems": 100}
    scores = {"accuracy": accuracy, "levels": {}, "outcomes": 50 * "01", "samples": [], "well_formed": 1.0,
              "mixing": 0.0, "tokens": 9.0, "distributions": NO_DISTRIBUTIONS}
    result = {task: scores for task in SHIPPED}
    results = {"command": "python train.py", "config": to_dict(config), "stages": {},
               "seconds": dict.fromkeys(run.STAGES, 1.0), "iterations": {}, "ran with": {}, "notes": {}}
    for i, stage in enumerate(run.STAGES):
        model = GPT(config.model).init_weights(i)
        checkpoint.save(tmp_path / "run" / stage / "checkpoint.pt", model=model.state_dict(), optimizer={},
                        config=to_dict(config), stage=stage, iteration=30, done=True, seconds=0.0, extra={},
                        vocabulary=list(get_tokenizer().words), notes={})
        chat = {"leaks": accuracy, "over_refusals": accuracy, "samples": []}
        results["stages"][stage] = result | {"chat": chat}
    for iteration in (10, 20):
        save_snapshot(run.Run(tmp_path / "run", config, torch.device("cpu")), model, iteration, seconds=1.0)
    for i in range(30):
        line = {"iteration": i, "reward": i / 30, "completion_length": 50.0}
        metrics.append(tmp_path / "run" / "rl" / "metrics.jsonl", line)
    checkpoint.save_json(tmp_path / "run" / "results.json", results)
    for module in (run, pretrained):
        monkeypatch.setattr(module, "WEIGHTS", tmp_path / "weights")
    return tmp_path / "run", tmp_path / "weights"


def test_storing_and_loading_keep_the_model_up_to_half_precision(stored):
    folder, weights = stored
    assert pretrained.main([str(folder)]) == 0
    for stage in run.STAGES:
        (loaded, state), (model, _) = open_model("pretrained", stage), open_model(folder, stage)
        assert all(torch.equal(a.half().float(), b) for a, b in zip(model.parameters(), loaded.parameters()))
        assert to_dict(config_of(state)) == state["config"]
    results = run.read_results(weights)
    assert results["config"]["seed"] == 0
    assert results["stages"]["rejection"]["countdown"]["accuracy"]["value"] == 0.5
    assert list(results["stages"]) == list(run.STAGES)
    assert "rejection" in "\n".join(pretrained.results_as_text(results))


@pytest.mark.parametrize("damage", ["missing", "no JSON", "no stages", "a stage less", "a share above 1"])
def test_damaged_results_of_the_included_weights_are_told_in_one_line(damage, tmp_path, monkeypatch, capsys):
    results = json.loads((WEIGHTS / "results.json").read_text())
    if damage == "no stages":
        results["stages"] = {}
    if damage == "a stage less":
        del results["stages"]["rl"]
    if damage == "a share above 1":
        results["stages"]["rl"]["countdown"]["accuracy"]["value"] = 5.0
    path = tmp_path / "results.json"
    if damage != "missing":
        path.write_text("{" if damage == "no JSON" else json.dumps(results))
    for module in (run, pretrained):
        monkeypatch.setattr(module, "WEIGHTS", tmp_path)
    assert report.main(["pretrained"]) == 1
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1
    assert "results.json" in captured.err and "fetch the repository's own file again" in captured.err


def test_the_results_that_lesson_16_reads_are_those_of_the_included_weights():
    read_there = Path(__file__).parents[1] / "lessons" / "results" / "laptop" / "results.json"
    assert read_there.read_bytes() == (WEIGHTS / "results.json").read_bytes()


def test_a_training_from_the_included_weights_knows_their_scores(tmp_path):
    """So its table shows what it began with. Scores on other problems would not be comparable."""
    stored, stages = run.read_results(WEIGHTS), ("base", "cold-start")
    results = run.new_results(preset("laptop"), "python train.py rl --from pretrained")
    results["config"] = stored["config"]        # what is scored changes with a task of one's own
    begin.copy_stages("pretrained", tmp_path, stages, results)
    assert results["stages"] == {stage: stored["stages"][stage] for stage in stages}
    other = run.new_results(preset("laptop"), "python train.py rl --from pretrained")
    other["config"] = stored["config"] | {"evaluate": stored["config"]["evaluate"] | {"num_problems": 7}}
    begin.copy_stages("pretrained", tmp_path / "other", stages, other)
    assert other["stages"] == {}


def test_the_curves_of_rl_are_stored_too(stored, capsys):
    folder, weights = stored
    assert pretrained.main([str(folder)]) == 0
    curves = folder / "rl" / "metrics.jsonl"
    assert (weights / "rl" / "metrics.jsonl").read_bytes() == curves.read_bytes()
    metrics.truncate(curves, 20)
    assert pretrained.main([str(folder)]) == 1 and "has 20 lines" in capsys.readouterr().err


def test_snapshots_are_stored_too_and_replace_those_of_the_run_before(stored):
    folder, weights = stored
    assert pretrained.main([str(folder)]) == 0
    assert snapshots_in(weights / "rl") == [10, 20]
    assert [iteration for iteration, _ in rl_models("pretrained")] == [0, 10, 20, 30]
    snapshot_path(folder / "rl", 10).unlink()
    assert pretrained.main([str(folder)]) == 0
    assert snapshots_in(weights / "rl") == [20]
    shutil.rmtree(folder / "rl" / "snapshots")
    assert pretrained.main([str(folder)]) == 0
    assert [iteration for iteration, _ in rl_models("pretrained")] == [0, 30]


def test_what_is_too_large_or_too_many_is_refused_before_anything_is_written(stored, monkeypatch, capsys):
    folder, weights = stored
    num_bytes = sum(path.stat().st_size for path in folder.rglob("*.pt"))
    monkeypatch.setattr(pretrained, "MOST_BYTES", num_bytes // 4)
    assert pretrained.main([str(folder)]) == 2 and "must be below" in capsys.readouterr().err
    monkeypatch.setattr(pretrained, "MOST_BYTES", num_bytes)
    monkeypatch.setattr(pretrained, "MOST_SNAPSHOTS", 1)
    assert pretrained.main([str(folder)]) == 2 and "has 2 snapshots" in capsys.readouterr().err
    assert not weights.exists()
    monkeypatch.setattr(pretrained, "MOST_SNAPSHOTS", 2)
    assert pretrained.main([str(folder)]) == 0
    assert sum(path.stat().st_size for path in weights.rglob("*.pt")) < num_bytes


def test_the_included_weights_are_few_bytes():
    assert sum(path.stat().st_size for path in WEIGHTS.rglob("*.pt")) < pretrained.MOST_BYTES == 20e6


def test_weights_with_all_stages_and_snapshots_do_everything(stored, capsys):
    """`train.py --from pretrained`, sample.py, evaluate and the playground."""
    folder, weights = stored
    assert pretrained.main([str(folder)]) == 0
    config = train.choose_run(train.parse(["align", "--preset", "smoke", "--from", "pretrained"]))[1]
    begin.check_new_run("align", config, "pretrained")
    assert sample.main(["compute 3+4", "--run", "pretrained", "--stage", "rejection"]) in (0, 2)
    assert evaluate.main(["--run", "pretrained", "--stage", "rejection", "--num-problems", "2"]) == 0
    assert Playground(["pretrained"]).stages["pretrained"] == list(run.STAGES)
    assert run.last_stage("pretrained") == "align" and "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"", b"not torch at all", {"config": {}, "model": {}}])
def test_damaged_and_missing_files_are_one_line(content, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(run, "WEIGHTS", tmp_path)
    (tmp_path / "align").mkdir()
    if isinstance(content, bytes):
        (tmp_path / "align" / "checkpoint.pt").write_bytes(content)
    else:
        torch.save(content, tmp_path / "align" / "checkpoint.pt")
    for stage, fault in (("align", checkpoint.CheckpointError), ("rl", BadInput), ("huge", BadInput)):
        with pytest.raises(fault) as error:
            open_model("pretrained", stage)
        assert "\n" not in str(error.value)
    for name in ("pretrained", str(tmp_path / "nothing")):
        assert pretrained.main([name]) == 2
    assert capsys.readouterr().err.count("\n") == 2


# -----------------------------------------------------------------------------
# --from pretrained, --run pretrained

SHORT = ["--device", "cpu", "--rl-num-iterations", "1", "--rl-num-prompts", "2", "--rl-group-size", "2",
         "--rl-max-new-tokens", "8", "--evaluate-num-problems", "4", "--evaluate-num-programs", "4",
         "--evaluate-max-new-tokens", "8"]


@pytest.mark.slow
@pytest.mark.parametrize("algo", ["grpo", "ppo"])
def test_rl_begins_with_the_included_cold_start(tmp_path, algo):
    folder = tmp_path / "run"
    assert train.main(["rl", "--algo", algo, "--from", "pretrained", *SHORT, "--out", str(folder)]) == 0
    ours, theirs = checkpoint.load(folder / "cold-start" / "checkpoint.pt")["model"], open_model(
        "pretrained", "cold-start")[0].state_dict()
    assert all(torch.equal(ours[name].float(), theirs[name]) for name in theirs)
    results = json.loads((folder / "results.json").read_text())
    assert list(results["stages"]) == ["rl"] and (folder / "report.html").exists()
    assert results["notes"]["started from"] == "base, cold-start of pretrained"


def last_line(capsys):
    """The refusal. Lines before it may name a task that was added since, and its words."""
    *others, refusal = capsys.readouterr().err.splitlines()
    assert all("before these words came" in line or "has never read" in line for line in others)
    return refusal


def test_the_stages_that_are_not_included_are_named(tmp_path, monkeypatch, capsys):
    shutil.copytree(WEIGHTS, tmp_path / "weights", ignore=shutil.ignore_patterns("rejection"))
    monkeypatch.setattr(run, "WEIGHTS", tmp_path / "weights")
    config = train.choose_run(train.parse(["base", *SHORT]))[1]
    for stage in ("cold-start", "rl", "rejection", "all"):
        begin.check_new_run(stage, config, "pretrained")      # can begin
    assert train.main(["align", *SHORT, "--from", "pretrained", "--out", str(tmp_path / "run")]) == 2
    error = last_line(capsys)
    assert "pretrained has no finished stage 'rejection'" in error
    assert error.endswith("it holds base, cold-start, rl, align")
    assert not (tmp_path / "run").exists()


def test_a_source_that_is_not_there_is_called_so(tmp_path, capsys):
    nowhere, out = str(tmp_path / "nowhere"), str(tmp_path / "run")
    assert train.main(["rl", "--preset", "smoke", "--from", nowhere, "--out", out]) == 2
    assert f"there is no {nowhere} to start from" in last_line(capsys)


def test_another_size_of_model_is_refused_with_the_flags_that_fit(tmp_path, capsys):
    arguments = ["rl", "--preset", "smoke", "--from", "pretrained", "--out", str(tmp_path / "run")]
    assert train.main(arguments) == 2
    error = last_line(capsys)
    assert error.startswith("train.py: pretrained holds another size of model")
    flags = re.search("add (.*), or", error)[1].split()
    assert flags[::2] == ["--model-width", "--model-num-layers", "--model-mlp-width"]
    _, config = train.choose_run(train.parse([*arguments, *flags]))
    assert config.preset == "smoke" and not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize("command, arguments", [
    (evaluate, ["--stage", "cold-start", "--num-problems", "2"]),
    (inspector, ["compute 3+4", "--group-size", "2"]),
    (export, ["--stage", "rl"]),
])
def test_the_commands_take_the_included_weights_by_name(tmp_path, capsys, command, arguments):
    if command is export:
        arguments = [*arguments, "--to", str(tmp_path / "exported")]
    assert command.main([*arguments, "--run", "pretrained"]) == 0
    assert capsys.readouterr().out.strip()
