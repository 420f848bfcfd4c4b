"""The weights that come along: small, loadable without running code, and as good as their record says."""

import json

import pytest
import torch
from helpers import tiny_model

from minireason import pretrained
from minireason.config import preset, to_dict
from minireason.evaluate import evaluate_task
from minireason.model import GPT
from minireason.stats import wilson_interval
from minireason.tokenizer import get_tokenizer
from minireason.upkeep import checkpoint
from minireason.upkeep.command import BadInput


@pytest.mark.parametrize("stage", pretrained.STAGES)
def test_the_files_are_small_and_half(stage):
    path = pretrained.FOLDER / f"{stage}.pt"
    assert path.stat().st_size < 2 * 2**20
    stored = torch.load(path, map_location="cpu", weights_only=True)
    assert {value.dtype for value in stored["model"].values()} == {torch.float16}
    assert stored["config"]["vocab_size"] == get_tokenizer().vocab_size


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["base", "align"])
def test_the_models_are_as_good_as_recorded(stage):
    """On 150 of the recorded problems: within what so few can tell (99.9%)."""
    record = pretrained.read_record()
    model, settings = pretrained.load_pretrained(stage), preset("laptop").evaluate
    for task in ("arithmetic", "countdown"):
        levels = tuple(map(int, record["tasks"][f"{task}_levels"].split(",")))
        found = evaluate_task(model, get_tokenizer(), task, levels, 150, settings)["accuracy"]
        low, high = wilson_interval(round(150 * found["value"]), 150, z=3.3)
        assert low < record["scores"][stage][task]["value"] < high


def test_storing_and_loading_keep_the_model_up_to_half_precision(tmp_path, monkeypatch):
    config = preset("smoke")
    config.model.vocab_size = get_tokenizer().vocab_size
    accuracy = {"value": 0.5, "low": 0.4, "high": 0.6, "num_problems": 100}
    result = {task: {"accuracy": accuracy} for task in ("arithmetic", "countdown", "program")}
    results = {"command": "python train.py", "config": to_dict(config), "stages": {}}
    for i, stage in enumerate(pretrained.STAGES):
        model = GPT(config.model).init_weights(i)
        checkpoint.save(tmp_path / "run" / stage / "checkpoint.pt", model=model.state_dict(), optimizer={},
                        config=to_dict(config), stage=stage, iteration=1, done=True, seconds=0.0, extra={})
        results["stages"][stage] = result | {"chat": {"leaks": accuracy, "over_refusals": accuracy}}
    checkpoint.save_json(tmp_path / "run" / "results.json", results)
    monkeypatch.setattr(pretrained, "FOLDER", tmp_path / "weights")
    assert pretrained.main([str(tmp_path / "run")]) == 0
    loaded = pretrained.load_pretrained("align")
    assert all(torch.equal(a.half().float(), b) for a, b in zip(model.parameters(), loaded.parameters()))
    record = json.loads((tmp_path / "weights" / "record.json").read_text())
    assert record["seed"] == 0 and record["scores"]["rl"]["countdown"] == accuracy


@pytest.mark.parametrize("content", [b"", b"not torch at all", None])
def test_damaged_and_missing_files_are_one_line(content, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(pretrained, "FOLDER", tmp_path)
    if content is not None:
        (tmp_path / "align.pt").write_bytes(content)
    else:
        torch.save({"config": {}, "model": tiny_model().state_dict()}, tmp_path / "align.pt")
    for stage, fault in (("align", checkpoint.CheckpointError), ("rl", checkpoint.CheckpointError),
                         ("huge", BadInput)):
        with pytest.raises(fault) as error:
            pretrained.load_pretrained(stage)
        assert "\n" not in str(error.value)
    assert pretrained.main([]) == 2 and pretrained.main([str(tmp_path / "nothing")]) == 1
    assert capsys.readouterr().err.count("\n") == 2
