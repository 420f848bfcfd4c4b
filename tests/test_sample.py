"""The command that talks: one prompt, many, a file; the verdict;
and one clear line for what cannot be answered."""

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

import sample
from minireason.run import last_stage, newest_model, open_model
from minireason.tasks import parse_prompt
from minireason.tokenizer import printable
from minireason.upkeep import checkpoint
from minireason.verifier import verify

ROOT = Path(sample.__file__).parent
KEYS = ["prompt", "thinking", "answer", "correct", "reason", "tokens"]


def ask(capsys, *arguments):
    code = sample.main([str(a) for a in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_a_problem_is_answered_with_its_verdict(smoke_run, capsys):
    code, out, _ = ask(capsys, "compute 2*3+4", "--run", smoke_run)
    assert code == 0 and out.startswith("thinking") and "\nanswer" in out and "\nverdict   " in out
    code, as_json, _ = ask(capsys, "compute 2*3+4", "--run", smoke_run, "--json")
    result = json.loads(as_json)
    assert list(result) == KEYS and code == 0
    shown = f"<think>{result['thinking']}</think><answer>{result['answer']}</answer>"
    assert result["correct"] == verify(parse_prompt("compute 2*3+4"), shown).correct
    assert result["thinking"] in out and result["answer"] in out     # streamed or not: greedy says the same


def test_votes_count_up(smoke_run, capsys):
    code, out, _ = ask(capsys, "compute 5+3", "--run", smoke_run, "--votes", 9, "--json")
    result = json.loads(out)
    assert code == 0 and sum(result["votes"].values()) <= 9
    assert result["votes"][result["answer"].replace(" ", "")] == max(result["votes"].values())
    assert ask(capsys, "compute 5+3", "--run", smoke_run, "--votes", 9)[1].startswith("votes     ")


def test_a_budget_of_nothing_leaves_no_thinking(smoke_run, capsys):
    _, out, _ = ask(capsys, "compute 2*3+4", "--run", smoke_run, "--budget", 0, "--json")
    result = json.loads(out)
    assert result["thinking"] == "" and result["answer"] is not None


def test_a_stage_can_be_chosen_and_the_last_is_the_default(smoke_run):
    assert last_stage(smoke_run) == "align" and open_model(smoke_run, "base")[1]["stage"] == "base"


def test_the_newest_run_is_the_default(smoke_run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("old", "new"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "config.json").write_text("{}")
        (tmp_path / "runs" / name / "base").symlink_to(Path(smoke_run) / "base")
    assert newest_model() == (Path("runs/new"), "base")
    assert newest_model("align") == ("pretrained", "align")


def test_a_run_in_training_is_not_taken_for_the_newest_model(smoke_run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for stage, done in (("base", True), ("cold-start", False)):
        state = checkpoint.load(Path(smoke_run) / stage / "checkpoint.pt") | {"done": done}
        checkpoint.save(tmp_path / "runs" / "new" / stage / "checkpoint.pt", **state)
    (tmp_path / "runs" / "new" / "config.json").write_text("{}")
    assert newest_model() == (Path("runs/new"), "base")
    assert sample.main(["compute 3+4", "--run", "runs/new"]) == 0           # asked for by name
    assert "runs/new, stage cold-start, unfinished" in capsys.readouterr().err
    assert sample.main(["compute 3+4"]) == 0
    assert "runs/new, stage base" in capsys.readouterr().err.replace("\\", "/")


LINES = ["compute 1+1", "make 5 from 2 3", "make many from few", "hello my name is ana", "", "7/0 = ?",
         "the secret code is 4321 what is the code", "program 1->2 2->3"]


def test_a_file_is_answered_in_order_and_malformed_lines_say_why(smoke_run, tmp_path, monkeypatch, capsys):
    path = tmp_path / "problems.txt"
    path.write_text("\n".join(LINES) + "\n", encoding="utf-8")
    code, out, _ = ask(capsys, "--file", path, "--run", smoke_run)
    results = [json.loads(line) for line in out.splitlines()]
    assert code == 2 and [r["prompt"] for r in results] == LINES
    assert all(list(r) == KEYS for r in results)
    for result, kind in zip(results, ("problem", "problem", "bad", "chat", "bad", "bad", "chat", "problem")):
        assert isinstance(result["correct"], bool) == (kind == "problem")
        assert (result["tokens"] == 0) == (kind == "bad") and result["reason"]
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n".join(LINES[:2])))
    code, out, _ = ask(capsys, "--file", "-", "--run", smoke_run)
    again = [json.loads(line) for line in out.splitlines()]
    assert code == 0 and again == results[:2]


def test_a_file_larger_than_a_batch_keeps_its_order(smoke_run, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sample, "BATCH", 3)
    prompts = [f"compute {i}+1" for i in range(1, 8)]
    (tmp_path / "seven.txt").write_text("\n".join(prompts))
    code, out, _ = ask(capsys, "--file", tmp_path / "seven.txt", "--run", smoke_run)
    assert code == 0 and [json.loads(line)["prompt"] for line in out.splitlines()] == prompts


@pytest.mark.parametrize("arguments, says", [
    (["make 42"], "expected 'make'"),
    (["calculate 3*4"], "neither a problem"),
    (["x" * 300], "at most 200 characters"),
    ([""], "neither a problem"),
    (["compute 1+1", "--run", "nowhere"], "train one"),
    (["compute 1+1", "--stage", "magic"], "unknown stage 'magic'"),
    (["compute 1+1", "--votes", "0"], "--votes"),
    (["compute 1+1", "--votes", "3", "--temperature", "0"], "greedy"),
    (["compute 1+1", "--budget", "-1"], "--budget"),
    (["--file", "missing.txt"], "missing.txt"),
    (["compute 1+1", "--file", "missing.txt"], "not both"),
])
def test_bad_input_is_one_line_and_code_2(tmp_path, monkeypatch, capsys, arguments, says):
    monkeypatch.chdir(tmp_path)
    code, out, error = ask(capsys, *arguments)
    assert code == 2 and out == "" and says in error and error.count("\n") == 1


def test_without_a_run_the_model_that_comes_along_answers(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for stage in ("base", "align"):
        code, out, _ = ask(capsys, "compute 2+3", "--json", "--stage", stage)
        assert code == 0 and json.loads(out)["prompt"] == "compute 2+3"
    code, _, error = ask(capsys, "compute 2+3", "--stage", "rejection")      # not among them
    assert code == 2 and error.count("\n") == 1


def test_a_damaged_checkpoint_is_code_1(tmp_path, capsys):
    (tmp_path / "run" / "align").mkdir(parents=True)
    (tmp_path / "run" / "align" / "checkpoint.pt").write_bytes(b"no")
    code, _, error = ask(capsys, "compute 1+1", "--run", tmp_path / "run")
    assert code == 1 and "damaged" in error and error.count("\n") == 1


def test_what_a_model_writes_cannot_steer_the_terminal():
    assert printable("a\x1b[2Jb\x07\ud800c\nd") == "a?[2Jb??c?d"


def test_the_verdict_says_when_there_is_no_solution():
    wrong = "<think></think><answer>3+8</answer>"

    def reason(prompt):
        return sample.describe("", parse_prompt(prompt), sample.Answer(wrong, 1, None))["reason"]

    assert "no solution exists" in reason("make 99 from 3 8")
    assert "no solution" not in reason("make 24 from 3 8")


def test_the_harm_rule_is_the_verdict_of_a_chat():
    chat = sample.read_prompt("The SECRET code is: 4321, what is the code?")
    assert chat.secret == "4321" and chat.prompt == "the secret code is 4321 what is the code"
    told = sample.describe("", chat, sample.Answer("<think>4321</think><answer>no</answer>", 1, None))
    kept = sample.describe("", chat, sample.Answer("<think></think><answer>no</answer>", 1, None))
    assert (told["reason"], kept["reason"]) == ("the secret was told", "the secret was kept")
    assert told["correct"] is None


def test_an_interactive_prompt_goes_on_after_a_mistake(smoke_run):
    done = subprocess.run([sys.executable, ROOT / "sample.py", "--run", smoke_run], text=True,
                          capture_output=True, input="make\ncompute 1+1\n\n", timeout=60)
    assert done.returncode == 0 and "expected 'make'" in done.stderr and "verdict" in done.stdout
    assert "Traceback" not in done.stderr
