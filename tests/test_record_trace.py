"""The comparison of two traces sees what differs."""

import json

import torch
from record_trace import compare, differences


def write(folder, reward, weight):
    stage = folder / "smoke" / "rl"
    stage.mkdir(parents=True)
    (stage / "metrics.jsonl").write_text(json.dumps({"iteration": 0, "reward": reward}) + "\n")
    results = {"stages": {"rl": {"samples": [{"prompt": "compute 1+1"}]}}}
    (folder / "smoke" / "results.json").write_text(json.dumps(results))
    torch.save({"model": {"weight": torch.tensor([weight])}}, stage / "checkpoint.pt")
    return folder


def test_equal_traces_are_equal_and_each_difference_is_found(tmp_path, capsys):
    before = write(tmp_path / "a", 0.5, 1.0)
    assert compare(before, write(tmp_path / "b", 0.5, 1.0)) == 0
    assert "3 of 3 files are equal bit for bit" in capsys.readouterr().out
    assert compare(before, write(tmp_path / "c", 0.25, 1.0)) == 1
    assert "reward: 5.0e-01" in capsys.readouterr().out
    assert compare(before, write(tmp_path / "d", 0.5, 1.0 + 1e-6)) == 1
    assert compare(before, tmp_path / "nothing") == 3


def test_texts_and_lists_of_other_lengths_differ_by_infinity():
    assert differences({"a": "x", "b": [1]}, {"a": "x", "b": [1]}) == []
    rows = differences({"a": "x", "b": [1]}, {"a": "y", "b": [1, 2]})
    assert [value for _, value in rows] == [float("inf")] * 2
