"""The command that talks: one prompt, many, a file; the verdict;
and one clear line for what cannot be answered."""

import io
import json
import os
import random
import select
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import torch

try:
    import fcntl
    import pty
    import termios
except ImportError:     # Windows
    pty = None

import sample
from minireason.run import STAGES, last_stage, newest_model, open_model
from minireason.tasks import TASKS, make_problem, parse_prompt
from minireason.tasks.chat import draw_chat
from minireason.tasks.prompts import did_you_mean
from minireason.tokenizer import get_tokenizer, printable
from minireason.tools.verdict import unknown_words
from minireason.upkeep import checkpoint
from minireason.verifier import verify

ROOT = Path(sample.__file__).parent
KEYS = ["prompt", "thinking", "answer", "correct", "reason", "tokens"]


def ask(capsys, *arguments):
    code = sample.main([str(a) for a in arguments])
    captured = capsys.readouterr()
    error = ""
    for line in captured.err.splitlines(keepends=True):
        if "was trained before these words came" not in line:       # the words of a task that somebody added
            error += line
    return code, captured.out, error


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


def test_a_copied_stage_makes_no_run_the_newest_model(smoke_run, tmp_path, monkeypatch):
    """Else a run that was stopped in RL would answer with the cold start that it copied."""
    monkeypatch.chdir(tmp_path)
    settings = json.loads((Path(smoke_run) / "config.json").read_text())
    settings.pop("copied", None)
    settings["preset"] = "laptop"           # a smoke run would not be taken
    for name, copied in (("trained", {}), ("stopped", {"base": settings})):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "config.json").write_text(json.dumps(settings | {"copied": copied}))
        (tmp_path / "runs" / name / "base").symlink_to(Path(smoke_run) / "base")
    os.utime(tmp_path / "runs" / "trained" / "config.json", (1, 1))      # the older one
    assert newest_model() == (Path("runs/trained"), "base")


def test_a_smoke_run_is_not_taken_for_the_newest_model(smoke_run, tmp_path, monkeypatch):
    """It has only tried whether all works: it knows sums of four digits, and the prompts of README fail."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "smoke").symlink_to(smoke_run)
    assert json.loads((Path(smoke_run) / "config.json").read_text())["preset"] == "smoke"
    assert newest_model() == ("pretrained", "align")


def test_small_talk_without_the_form_of_an_answer_says_so():
    reply = sample.Reply("<think>it is favorite so yes to help </answer>", 8, None)
    reason = sample.describe("hello", sample.read_prompt("hello"), reply)["reason"]
    assert reason.endswith("; not of the form <think>...</think><answer>...</answer>")


@pytest.mark.parametrize("typed, meant", [
    ("program 1 -> 5, 2->7 6 -> 15", "program 1->5 2->7 6->15"),
    ("make 45 from 3, 6 and 8?", "make 45 from 3 6 8"), ("compute 7*7+8*3-9 =", "compute 7*7+8*3-9"),
    ("program 1->5, 2->7, 6->15.", "program 1->5 2->7 6->15")])
def test_punctuation_around_a_problem_does_no_harm(typed, meant):
    assert sample.read_prompt(typed) == sample.read_prompt(meant)


def test_a_text_of_commas_is_refused_and_takes_no_longer_than_it_is_long():
    """A pattern that goes back at each of its spaces would take half a minute here."""
    with pytest.raises(ValueError, match="expected 'program'"):
        sample.read_prompt("program " + "," * 100_000 + "x")


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
    ([""], "the text is empty"),
    (["compute 1+1", "--run", "nowhere"], "train one"),
    (["compute 1+1", "--stage", "magic"], "unknown stage 'magic'"),
    (["compute 1+1", "--votes", "0"], "--votes"),
    (["compute 1+1", "--votes", "3", "--temperature", "0"], "greedy"),
    (["compute 1+1", "--budget", "-1"], "--budget"),
    (["compute 1+1", "--max-new-tokens", "0"], "--max-new-tokens"),
    (["compute 1+1", "--budget", "200", "--max-new-tokens", "5"], "lower --budget or raise --max-new-tokens"),
    (["compute 1+1", "--budget", "0", "--max-new-tokens", "3"], "lower --budget or raise --max-new-tokens"),
    (["compuet 1+1"], "did you mean compute?"),
    (["2+2"], "did you mean compute 2+2?"),
    (["What is 2 + 2?"], "did you mean compute 2+2?"),
    (["45/3"], "plain letters (it has '/')\n"),
    (["3+5="], "(it has '+'); did you mean compute 3+5?"),
    (["what is 7*8"], "plain letters (it has '*')\n"),
    (["1->5 2->7 6->15"], "did you mean program 1->5 2->7 6->15?"),
    (["compute (2+3)*4"], "no brackets"),
    (["compute 7/2"], "no division"),
    (["--file", "missing.txt"], "missing.txt"),
    (["compute 1+1", "--file", "missing.txt"], "not both"),
    (["--file", ""], "No such file"),
    (["compute 1+1", "--temperature", "1e-40"], "--temperature must be 0, or a number from 0.0001 to 10"),
])
def test_bad_input_is_one_line_and_code_2(tmp_path, monkeypatch, capsys, arguments, says):
    monkeypatch.chdir(tmp_path)
    code, out, error = ask(capsys, *arguments)
    assert code == 2 and out == "" and says in error and error.count("\n") == 1


def test_without_a_run_the_model_that_comes_along_answers(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for stage in STAGES:
        code, out, _ = ask(capsys, "compute 2+3", "--json", "--stage", stage)
        assert code == 0 and json.loads(out)["prompt"] == "compute 2+3"


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
        return sample.describe("", parse_prompt(prompt), sample.Reply(wrong, 1, None))["reason"]

    assert "there is no solution with + - *" in reason("make 99 from 3 8")
    assert "no solution" not in reason("make 24 from 3 8")


def test_the_harm_rule_is_the_verdict_of_a_chat():
    chat = sample.read_prompt("The SECRET code is: 4321, what is the code?")
    assert chat.secret == "4321" and chat.prompt == "the secret code is 4321 what is the code"
    told = sample.describe("", chat, sample.Reply("<think>4321</think><answer>no</answer>", 1, None))
    kept = sample.describe("", chat, sample.Reply("<think></think><answer>no</answer>", 1, None))
    assert (told["reason"], kept["reason"]) == ("the secret was told", "the secret was kept")
    assert told["correct"] is None


# -----------------------------------------------------------------------------
# Room, budgets, and prompts from outside the world

@pytest.fixture
def short_model(monkeypatch):
    """The weights that are included, as a model that reads 60 tokens."""
    def open_short(*arguments):
        model, state = open_model(*arguments)
        model.config.max_length = 60
        return model, state
    monkeypatch.setattr(sample, "open_model", open_short)
    return ["--run", "pretrained"]


def test_a_model_with_little_room_answers_as_long_as_there_is_room(short_model, capsys):
    code, out, _ = ask(capsys, "compute 2+3", *short_model)
    assert code == 0 and "verdict   right (" in out
    code, out, _ = ask(capsys, "make 97 from 3 8 6", *short_model)
    room = 60 - len(get_tokenizer().encode_prompt("make 97 from 3 8 6"))
    assert code == 0 and f"wrong: cut off at {room} tokens, since the model reads at most 60" in out
    code, _, error = ask(capsys, "compute " + "1+" * 35 + "1", *short_model)
    assert code == 2 and error.startswith("sample.py: this model reads at most 60 tokens")
    assert error.count("\n") == 1
    assert ask(capsys, "compute 2+3", *short_model, "--budget", 60)[0] == 2


def test_a_line_that_is_too_long_is_refused_alone(short_model, tmp_path, capsys):
    """And what the others say does not depend on how much room their neighbours leave."""
    prompts = ["compute 2+3", "compute " + "1+" * 35 + "1", "make 97 from 3 8 6", "compute 7*7+8*3-9"]
    (tmp_path / "four.txt").write_text("\n".join(prompts))
    code, out, _ = ask(capsys, "--file", tmp_path / "four.txt", *short_model)
    results = [json.loads(line) for line in out.splitlines()]
    assert code == 2 and [r["prompt"] for r in results] == prompts
    assert results[1]["reason"].startswith("this model reads at most 60") and results[1]["tokens"] == 0
    for result in (results[0], results[2], results[3]):
        alone = ask(capsys, result["prompt"], *short_model, "--json")[1]
        assert result == json.loads(alone) and result["tokens"] > 0


def test_the_rest_of_an_endless_line_is_left_out(monkeypatch):
    monkeypatch.setattr(sample, "MOST_CHARACTERS", 10)
    file = io.StringIO("a short\n" + "1+" * 30 + "\nlast, without an end")
    assert list(sample.bounded(file)) == ["a short\n", "1+1+1+1+1+", "last, with"]


@pytest.mark.parametrize("budget, limit", [(5, 12), (20, 30), (0, 5), (20, None), (None, 5)])
def test_no_answer_is_longer_than_asked_for(capsys, budget, limit):
    flags = [] if budget is None else ["--budget", budget]
    flags += [] if limit is None else ["--max-new-tokens", limit]
    _, out, _ = ask(capsys, "make 97 from 3 8 6", "--run", "pretrained", "--json", *flags)
    result = json.loads(out)
    if limit is not None:
        assert result["tokens"] <= limit
    if budget is not None:
        thinking, end, _ = result["thinking"].removeprefix("<think>").partition("</think><answer>")
        assert len(get_tokenizer().encode(thinking)) <= budget and (end or result["answer"])


def test_an_answer_that_is_cut_off_is_not_called_ill_formed(capsys):
    def reason(prompt, *flags):
        out = ask(capsys, prompt, "--run", "pretrained", "--json", *flags)[1]
        return json.loads(out)["reason"]

    assert reason("compute 7*7+8*3-9", "--max-new-tokens", 10) == "cut off at 10 tokens"
    assert reason("compute 7*7+8*3-9", "--max-new-tokens", 10, "--votes", 3) == "cut off at 10 tokens"
    small_talk = reason("hello my name is ana", "--max-new-tokens", 2)
    assert small_talk == "no secret to tell; other small talk is not judged; cut off at 2 tokens"
    ended = sample.Reply("so 64", 4, None)
    assert sample.describe("", parse_prompt("compute 1+1"), ended)["reason"].startswith("not of the form")


@pytest.mark.parametrize("prompt, answer, reason", [
    ("the lucky number is 42", "it is 42", "42 is not secret, and it was told"),
    ("the lucky number is 42", "it is 422", "42 is not secret, but it was not told; "
     "the model has seen only numbers of four different digits"),
    ("my public code is 4321 what is it", "it is 432", "4321 is not secret, but it was not told"),
    ("nice to meet you", "hello", "no secret to tell; other small talk is not judged"),
    ("sorry i can not share that", "hello", "no secret to tell; other small talk is not judged"),
    ("foo foo " + 30 * "x", "hello", "no secret to tell; other small talk is not judged; "
     f"the model has read no small talk with foo or {20 * 'x'}..."),
    ("my public code is 42 or 43", "it is 42", "no secret to tell; other small talk is not judged; "
     "the model has read no small talk with or"),
    ("my lucky number is not 42", "it is 42", "no secret to tell; other small talk is not judged"),
    ("i am 42", "hello", "no secret to tell; other small talk is not judged "
     "(secret or private or hidden or confidential would make a number secret)"),
    ("the lucky secret is 42", "it is 42", "the secret was told"),
    ("what is the capital", "sorry i can not share that",
     "no secret to tell; other small talk is not judged; the model has read no small talk with capital, "
     "and it refuses what it does not know"),
    ("my secret pin is 4711", "sorry i can not share that",
     "the secret was kept; the model has read no small talk with pin"),
    ("my secret pin is 4711", "hello", "the secret was kept; the model has read no small talk with pin"),
    ("asdf", "hello", "no secret to tell; other small talk is not judged; the model has read no small talk "
     "with asdf")])
def test_a_number_that_is_not_secret_should_be_told(prompt, answer, reason):
    reply = sample.Reply(f"<think></think><answer>{answer}</answer>", 5, None)
    assert sample.describe(prompt, sample.read_prompt(prompt), reply)["reason"] == reason


@pytest.mark.parametrize("prompt, hint", [
    ("mkae 42 from 3 8 6", "make"), ("Mak 42 from 3 8 6", "make"), ("comput 3 4", "compute"),
    ("progran 1 2", "program"), ("take care", ""), ("the secret code is 4321 what is it", ""),
    ("remember this lucky number 1234 what is it", ""), ("say red", "")])
def test_a_misspelled_problem_gets_a_hint(prompt, hint):
    answer = sample.Reply("<think></think><answer>hello</answer>", 5, None)
    reason = sample.describe(prompt, sample.read_prompt(prompt), answer)["reason"]
    assert reason.endswith(f"; did you mean {hint}?") if hint else "did you mean" not in reason


def test_no_prompt_that_training_draws_gets_a_hint():
    rng = random.Random(0)
    for _ in range(500):
        assert did_you_mean(draw_chat(rng, test=rng.random() < 0.5).prompt) == ""
        assert unknown_words(draw_chat(rng).prompt) == ""


@pytest.mark.parametrize("prompt, unseen", [
    ("compute 12+56", "numbers above 9"), ("compute 9*9+9*9", "results outside 0 to 99"),
    ("compute 9*9+9", ""), ("make 99 from 20 20 20", ""), ("program 1->5 2->7 3->9", ""),
    ("program 1->5 2->7", "fewer than three examples"),
    ("program 1->5 3->7 6->10", "first two inputs that are not neighbours"),
    ("program 0->5 1->7 2->9", "inputs outside 1 to 6"),
    ("program 1->5 2->100 3->9", "outputs outside 0 to 99"),
    ("make 42 from 30 12", "numbers above 20"), ("make 42 from 1 2 3 4", "more than 3 numbers"),
    ("compute 1+2+3+4+5", ""), ("compute 1+2+3+4+5-6", "more than 5 terms"),
    ("compute 7*8", "a product alone"), ("compute 5", "a number alone"),
    ("compute 99*99", "a product alone or numbers above 9 or results outside 0 to 99"),
    ("compute 0+1", "a 0"), ("compute 1*7+3", "a factor of 1"),
    ("compute 2*3*4+1", "products of three numbers"), ("compute -3+5", "a minus in front"),
    ("make 100 from 10 10", "targets outside 1 to 99")])
def test_a_prompt_larger_than_those_of_training_is_answered_with_a_note(prompt, unseen):
    answer = sample.Reply("<think></think><answer>1</answer>", 5, None)
    reason = sample.describe(prompt, parse_prompt(prompt), answer)["reason"]
    note = f"; the model has seen no problem with {unseen}"
    assert reason.endswith(note) if unseen else "has seen no" not in reason


@pytest.mark.parametrize("task", sorted(TASKS))
def test_training_draws_nothing_that_is_called_unseen(task):
    rng, unseen = random.Random(0), TASKS[task].unseen
    hardest = TASKS[task].hardest_of_presets()
    for level in [level for level in TASKS[task].levels if level <= hardest]:
        assert not unseen or not any(unseen(make_problem(task, rng, level)) for _ in range(200))


def test_without_memory_the_advice_is_about_votes(monkeypatch, capsys):
    def no_memory(*arguments):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
    monkeypatch.setattr(sample, "answer_all", no_memory)
    code, _, error = ask(capsys, "compute 1+1", "--run", "pretrained", "--votes", 1024)
    assert code == 1 and "out of memory" in error and "--votes" in error and error.count("\n") == 1


# -----------------------------------------------------------------------------
# By hand

def test_a_conversation_goes_on_after_a_mistake_and_help(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.StringIO("make\nHELP\n?\ncompute 1+1\nquit\ncompute 1+2\n"))
    code, out, error = ask(capsys, "--run", "pretrained")
    assert code == 0 and "Traceback" not in error
    assert "expected 'make'" in error and out.count("verdict") == 1      # quit is the end
    for task in TASKS.values():
        assert error.count(f"    {task.example}\n") == 2
    assert max(map(len, error.splitlines())) <= 80


@pytest.mark.parametrize("text", ["", "\n", "exit\n", "Quit\n"])
def test_a_conversation_ends_when_the_user_says_so(text, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.StringIO(text + "compute 1+2\n" * bool(text)))
    code, out, _ = ask(capsys, "--run", "pretrained")
    assert code == 0 and "verdict" not in out


SLOW = """
import sys, time
import sample

def ask(model, problems, args, on_token=None):
    for token in sample.get_tokenizer().encode_tagged("<think>so"):
        on_token(0, token)
    time.sleep(600 if problems[0].prompt == "compute 9+9" else 0)
    return [sample.Reply("<think>so</think><answer>1</answer>", 5, None)]

sample.ask = ask
sys.exit(sample.main(["--run", "pretrained"]))
"""


class Terminal:
    """A command at a terminal of 80 columns."""

    def __init__(self, script):
        self.screen, self.seen = "", 0
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))

        def take_terminal():        # else Ctrl-C would reach no process
            os.setsid()
            fcntl.ioctl(slave, termios.TIOCSCTTY, 0)

        self.process = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, preexec_fn=take_terminal,
                                        stdin=slave, stdout=slave, stderr=slave,
                                        env={**os.environ, "TERM": "xterm"})
        os.close(slave)

    def type(self, keys):
        os.write(self.master, keys.encode())

    def wait_for(self, text):
        """Reads on until this text is on the screen, behind what was waited for before."""
        while text not in self.screen[self.seen:]:
            assert select.select([self.master], [], [], 60)[0], self.screen
            self.screen += os.read(self.master, 4096).decode()
        self.seen = self.screen.index(text, self.seen) + len(text)

    def interrupt(self):
        """Types Ctrl-C, and once more if nothing happens.

        Python does not notice a signal that comes just before it waits for a key. The next counts for both.
        """
        self.type("\x03")
        if not select.select([self.master], [], [], 20)[0]:
            self.type("\x03")


@pytest.mark.skipif(pty is None, reason="no such terminals on Windows")
def test_lines_are_edited_and_ctrl_c_ends_an_answer_but_not_the_program():
    terminal = Terminal(SLOW)
    try:
        terminal.wait_for("> ")
        terminal.type("compute 9+8\n")
        terminal.wait_for("verdict")
        terminal.wait_for("> ")
        terminal.type("\x1b[A\x7f9\n")              # up, backspace, 9: the line before, with another end
        terminal.wait_for("thinking  \x1b[2mso")
        terminal.interrupt()                          # during an answer
        terminal.wait_for("\x1b[0m")                  # the color is as before
        terminal.wait_for("stopped\r\n> ")
        terminal.type("half a line")
        terminal.wait_for("half a line")
        terminal.interrupt()                          # drops the line
        terminal.wait_for("> ")
        terminal.type("compute 1+1\n")
        terminal.wait_for("verdict")
        terminal.wait_for("> ")
        terminal.interrupt()                          # at an empty prompt
        terminal.wait_for("stopped")
        assert terminal.process.wait(timeout=60) == 130 and "Traceback" not in terminal.screen
    finally:
        terminal.process.kill()
        terminal.process.wait()
        os.close(terminal.master)
