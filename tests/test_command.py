"""How commands end: an exit code and one line on stderr, whatever the terminal can do.

Each command runs in its own process. The commands here are small ones that `exit_codes` decorates, since they
start at once. A test checks that every real command is decorated too.
"""

import ast
import errno
import importlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import sample
import train
from minireason.config import Config
from minireason.run import STAGES, WEIGHTS
from minireason.settings import settings_of
from minireason.upkeep import checkpoint
from minireason.upkeep.command import (
    STOP_SIGNALS,
    BadInput,
    Fault,
    Stopped,
    exit_codes,
    is_out_of_memory,
    stop_after_step,
    visible,
)

ROOT = Path(__file__).parent.parent
PATHS = {path.relative_to(ROOT).with_suffix(""): path
         for path in [*(ROOT / "minireason").rglob("*.py"), *ROOT.glob("*.py")]}
SOURCES = {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
           for path in PATHS.values()}
COMMANDS = sorted(".".join(name.parts) for name, path in PATHS.items()
                  if "\n@exit_codes(" in path.read_text(encoding="utf-8"))
SCRIPT = """
import signal, sys
from minireason.upkeep.command import BadInput, Fault, exit_codes

@exit_codes("toy")
def main(argv=None):
    {body}

sys.exit(main(sys.argv[1:]))
"""
ASCII = {"PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
BUFFERED = {"PYTHONUNBUFFERED": ""}       # as it is unless somebody asks otherwise


def toy(body, shell="", environment=ASCII):
    """Runs a command with this body. `shell` redirects its streams. Returns (code, stdout, stderr)."""
    command = ["sh", "-c", f'exec "$0" -c "$1" {shell}', sys.executable, SCRIPT.format(body=body)]
    done = subprocess.run(command, cwd=ROOT, stdin=subprocess.PIPE, capture_output=True, timeout=120,
                          env={**os.environ, **BUFFERED, **environment})
    return done.returncode, done.stdout.decode("ascii"), done.stderr.decode("ascii")


@pytest.mark.parametrize("body, code, says", [
    ("print('done')", 0, ""),
    ("return 2", 2, ""),
    ("raise BadInput('no such thing')", 2, "toy: no such thing\n"),
    ("int('many')", 2, "toy: invalid literal for int() with base 10: 'many'\n"),
    ("raise Fault('worn out')", 1, "toy: worn out\n"),
    ("raise MemoryError", 1, "toy: out of memory\n"),
    ("open('/nowhere/file')", 1, "toy: [Errno 2] No such file or directory: '/nowhere/file'\n"),
    ("raise BrokenPipeError", 1, ""),
    ("signal.raise_signal(signal.SIGINT)", 130, "\nstopped\n"),
    ("raise KeyboardInterrupt('saved; go on')", 130, "\nsaved; go on\n"),
    ("sys.exit(2)", 2, ""),
])
def test_what_is_raised_becomes_a_line_and_a_code(body, code, says):
    assert toy(body)[::2] == (code, says)


def test_a_mistake_of_ours_shows_where_it_is():
    """Bugs are not to be hidden behind a line."""
    code, _, error = toy("[][0]")
    assert code == 1 and "Traceback" in error and "IndexError" in error


@pytest.mark.parametrize("environment", [
    ASCII, {"PYTHONIOENCODING": "utf-8"}, {**ASCII, "PYTHONIOENCODING": "latin-1"}])
def test_whatever_is_printed_is_no_crash(environment):
    """A letter that the terminal lacks, half a character that all lack, a file's name that is not text."""
    text = r"'\u00e9 \u2028 \ud800 \udcff ' + chr(0x1F600)"
    body = f"print({text}); print({text}, file=sys.stderr); raise BadInput({text})"
    done = subprocess.run([sys.executable, "-c", SCRIPT.format(body=body)], cwd=ROOT, capture_output=True,
                          timeout=120, env={**os.environ, **environment})
    assert done.returncode == 2 and done.stdout.endswith(b"\n") and rb"\ud800" in done.stdout
    assert done.stderr.count(b"\n") == 2 and b"Traceback" not in done.stderr
    assert (rb"\xe9" in done.stdout) == (environment is ASCII)


def test_what_is_typed_in_any_bytes_is_no_crash():
    script = SCRIPT.format(body="print(ascii(input()))")
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, timeout=120, capture_output=True,
                          input="é\n".encode() + b"\xff\n", env={**os.environ, **ASCII})
    assert done.returncode == 0 and done.stdout.startswith(b"'\\u") and not done.stderr


@pytest.mark.parametrize("shell", ["<&-", ">&-", "2>&-", "<&- >&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_crash(shell):
    """And the next file to be opened does not get the descriptor of a closed stream, and what is printed."""
    body = ("file = open(__import__('os').devnull); code = 0 if file.fileno() > 2 else 9; print('told'); "
            "print('told', file=sys.stderr); sys.stdin.read(); return code")
    code, out, error = toy(body, shell)
    stderr_is_closed = "2>&-" in shell
    stdout_is_closed = ">&-" in shell.replace("2>&-", "")
    assert code == 0
    assert out == ("" if stdout_is_closed else "told\n")
    assert error == ("" if stderr_is_closed else "told\n")


def test_the_end_of_input_at_a_question_is_an_error_that_commands_can_catch():
    assert toy("\n    try: input()\n    except EOFError: return 0", "<&-")[::2] == (0, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no full device here")
@pytest.mark.parametrize("body", ["print('x')", "print('x', flush=True)", "print('x' * 10**6)"])
def test_a_full_disk_behind_stdout_is_said_once(body):
    assert toy(body, ">/dev/full")[::2] == (1, "toy: [Errno 28] No space left on device\n")


@pytest.mark.parametrize("body", [
    "print('x')", "print('x', flush=True)", "print('x' * 10**6)", "raise BadInput('no')"])
def test_a_reader_that_left_is_no_traceback(body):
    """What `command | head -1` does, once head has its line."""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([sys.executable, "-c", SCRIPT.format(body=body)], cwd=ROOT, stdout=writer,
                          stderr=subprocess.PIPE, timeout=120, env={**os.environ, **BUFFERED})
    os.close(writer)
    assert (done.returncode, done.stderr) == ((2, b"toy: no\n") if "BadInput" in body else (1, b""))


SIGNALS = [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]


@pytest.mark.parametrize("number, code", SIGNALS)
def test_a_signal_from_outside_is_a_line_and_its_code(number, code):
    script = SCRIPT.format(body="print('here', flush=True); sys.stdin.read()")
    process = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout.readline() == b"here\n"
    process.send_signal(number)
    assert process.communicate(timeout=120)[1] == b"\nstopped\n" and process.returncode == code


def test_what_nohup_ignores_stays_ignored():
    script = SCRIPT.format(body="signal.raise_signal(signal.SIGHUP); print('goes on')")
    done = subprocess.run(["sh", "-c", 'trap "" HUP; exec "$0" -c "$1"', sys.executable, script], cwd=ROOT,
                          capture_output=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"goes on\n", b"")


@pytest.mark.parametrize("command, number, code", [
    *[(["train.py"], number, code) for number, code in SIGNALS], (["sample.py"], *SIGNALS[0]),
    *[(["-m", f"minireason.{name}"], *SIGNALS[0]) for name in ("memory", "evaluate", "report", "inspector")]])
def test_a_signal_while_modules_are_imported_is_a_line_and_its_code(tmp_path, command, number, code):
    """It comes in the middle of `import torch`, which swallows Ctrl-C at some of its lines."""
    (tmp_path / "torch.py").write_text(
        "import signal, time\n"
        "try:\n"
        f"    signal.raise_signal({int(number)})\n"
        "except BaseException: pass\n"
        "print('swallowed')\n"
        "raise SystemExit(9)\n")
    done = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, timeout=120,
                          env={**os.environ, "PYTHONPATH": str(tmp_path)})
    assert (done.returncode, done.stdout, done.stderr) == (code, b"", b"\nstopped\n")


def test_an_import_in_another_program_leaves_its_signals_alone():
    script = ("import signal\nbefore = signal.getsignal(signal.SIGINT)\nimport minireason.upkeep.command\n"
              "assert signal.getsignal(signal.SIGINT) == before == signal.default_int_handler\n"
              "assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL")
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, timeout=120, check=True)


def test_a_command_gives_the_signals_back_and_runs_outside_the_main_thread_too():
    before = [signal.getsignal(number) for number in STOP_SIGNALS]

    @exit_codes("toy")
    def main(argv=None):
        return 7
    assert main() == 7
    codes = []
    thread = threading.Thread(target=lambda: codes.append(main()))
    thread.start()
    thread.join()
    assert codes == [7] and [signal.getsignal(number) for number in STOP_SIGNALS] == before


def test_a_step_ends_before_a_signal_stops_it_and_a_second_one_does_not_wait():
    steps = []
    with pytest.raises(Stopped) as error, stop_after_step() as request:
        signal.raise_signal(signal.SIGTERM)
        steps.append(request.signal)
        signal.raise_signal(signal.SIGINT)
        steps.append("never")
    assert steps == [signal.SIGTERM] and error.value.number == signal.SIGINT


def test_a_signal_that_nobody_looked_at_stops_the_run_all_the_same():
    with pytest.raises(Stopped) as error, stop_after_step():
        signal.raise_signal(signal.SIGHUP)
    assert error.value.number == signal.SIGHUP


# -----------------------------------------------------------------------------
# Messages that cannot be written

@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no full device here")
@pytest.mark.parametrize("body, code, out", [
    ("print('told')", 0, "told\n"),
    ("print('lost', file=sys.stderr); print('told')", 0, "told\n"),
    ("print('lost' * 10**6, file=sys.stderr, flush=True); print('told')", 0, "told\n"),
    ("raise BadInput('lost')", 2, ""), ("raise Fault('lost')", 1, ""),
    ("signal.raise_signal(signal.SIGTERM)", 143, "")])
def test_a_full_disk_behind_stderr_changes_nothing(body, code, out):
    assert toy(body, "2>/dev/full") == (code, out, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no full device here")
@pytest.mark.parametrize("body, code", [
    ("print('lost' * 10**6)", 0), ("print('lost')", 0), ("print('lost', flush=True); return 2", 2)])
def test_a_command_whose_result_is_not_its_stdout_goes_on_without_it(body, code):
    script = SCRIPT.replace('"toy"', '"toy", prints_results=False').format(body=body)
    with open("/dev/full", "wb") as full:
        done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, stdout=full, stderr=subprocess.PIPE,
                              timeout=120, env={**os.environ, **BUFFERED})
    assert (done.returncode, done.stderr) == (code, b"")


# -----------------------------------------------------------------------------
# Memory

def raising(error, less_memory=""):
    @exit_codes("toy", less_memory=less_memory)
    def main(argv=None):
        raise error
    return main


NO_MEMORY = [
    MemoryError(), MemoryError("Unable to allocate 8.0 GiB for an array"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: "
                 "you tried to allocate 400000000000000 bytes. Error code 12 (Cannot allocate memory)"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:80] data. DefaultCPUAllocator: not enough memory: you ..."),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has"),
    RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be reported later"),
    RuntimeError("MPS backend out of memory (MPS allocated: 18.00 GB)"),
    OSError(errno.ENOMEM, "Cannot allocate memory")]


@pytest.mark.parametrize("error", NO_MEMORY, ids=repr)
def test_without_memory_a_command_names_the_setting_that_helps(capsys, error):
    assert raising(error)([]) == 1 and capsys.readouterr().err == "toy: out of memory\n"
    assert raising(error, "lower --size")([]) == 1
    assert capsys.readouterr().err == "toy: out of memory: lower --size\n"


def test_what_torch_raises_without_memory_is_known(capsys):
    for size in (10**14, (10**12, 10**12)):
        with pytest.raises(RuntimeError) as caught:
            torch.empty(size)
        assert is_out_of_memory(caught.value)
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="mat1"):
        raising(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))([])


@pytest.mark.parametrize("error", NO_MEMORY, ids=repr)
def test_a_checkpoint_that_memory_does_not_suffice_for_is_not_called_damaged(tmp_path, monkeypatch, error):
    def fail(path):
        raise error
    monkeypatch.setattr(checkpoint, "read", fail)
    (tmp_path / "checkpoint.pt").touch()
    with pytest.raises(type(error)):
        checkpoint.load(tmp_path / "checkpoint.pt")


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_without_memory_names_its_own_settings(stage):
    run = SimpleNamespace(config=Config())
    with pytest.raises(Fault, match=f"{stage}: out of memory") as caught, train.memory_advice(run, stage):
        raise torch.OutOfMemoryError("CUDA out of memory")
    flags = re.findall("--[a-z-]+", str(caught.value))
    settings = {f"--{setting.name.replace('.', '-').replace('_', '-')}" for setting in settings_of(Config())}
    assert len(flags) == 3 and set(flags) <= settings and flags[0].startswith(f"--{stage}-micro-batch")
    assert ("--sampling-num-problems" in flags) == (stage == "rejection")      # it reads no num_examples


# -----------------------------------------------------------------------------
# What steers a terminal

RED = "\x1b[31mred"


def test_what_is_said_of_an_error_stays_on_its_line_and_in_its_color(capsys):
    for error in (BadInput(f"no {RED}\n\u202e"), Fault(f"no {RED}\n\u202e")):
        raising(error)([])
        assert capsys.readouterr().err == "toy: no \\x1b[31mred\\n\\u202e\n"
    assert visible("\u00e9 \U0001f600") == "\u00e9 \U0001f600"


@pytest.mark.parametrize("module", COMMANDS)
@pytest.mark.parametrize("arguments", [["--run", RED], [RED], ["--device", RED], ["--out", RED], [f"--{RED}"],
                                       ["\x9b31mred"]])
def test_no_argument_steers_the_terminal(capsys, tmp_path, monkeypatch, module, arguments):
    monkeypatch.chdir(tmp_path)
    assert importlib.import_module(module).main(arguments) == 2
    out, error = capsys.readouterr()
    assert out == "" and error.count("\n") == 1 and error.isascii() and "\x1b" not in error
    assert not list(tmp_path.iterdir())


def test_a_runs_folder_cannot_steer_the_terminal(capsys, tmp_path, monkeypatch):
    """Its name is read from runs/, not from an argument."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "runs" / RED
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "base").symlink_to(WEIGHTS / "base")
    assert sample.main(["compute 1+1"]) == 0
    out, error = capsys.readouterr()
    assert "\\x1b[31mred" in error and "\x1b" not in out + error


# -----------------------------------------------------------------------------
# Without asserts and docstrings

OPTIMIZED = """
import importlib, json, sys
from importlib.machinery import SourceFileLoader

root, calls = sys.argv[1], json.loads(sys.argv[2])
plain = SourceFileLoader.get_code

def get_code(loader, name):
    path = loader.get_filename(name)
    if "site-packages" in path or not path.startswith(root):
        return plain(loader, name)
    return compile(loader.get_data(path), path, "exec", optimize=2)

SourceFileLoader.get_code = get_code
import minireason
assert minireason.__doc__ is None
failed = []
for module, arguments in calls:
    try:
        code = importlib.import_module(module).main(arguments)
    except SystemExit as end:       # what argparse does after --help
        code = end.code or 0
    if code != 0:
        failed.append((module, arguments, code))
print("failed:", failed)
"""


@pytest.mark.slow
def test_every_command_works_without_asserts_and_docstrings(tmp_path):
    """`python -OO` leaves both out. Each command shows its help and does something.

    Only our own files are compiled in this way: to compile those of torch anew takes ten seconds.
    """
    run, page = str(tmp_path / "run"), str(tmp_path / "page.html")
    tiny = ["base", "--preset", "smoke", "--base-num-examples", "50", "--evaluate-num-problems", "2",
            "--evaluate-num-programs", "2", "--model-width", "16", "--model-mlp-width", "16", "--out", run]
    actions = {
        "train": tiny,
        "sample": ["compute 1+1", "--run", "pretrained"],
        "minireason.evaluate": ["--run", "pretrained", "--stage", "rl", "--num-problems", "2"],
        "minireason.corpus": ["base", "--lines", "2"],
        "minireason.tools.inspector": ["compute 1+1", "--group-size", "2", "--html", page],
        "minireason.tools.memory": ["--preset", "smoke", "--num-prompts", "2", "--group-size", "2"],
        "minireason.tools.export": ["--to", str(tmp_path / "llama")],
        "minireason.tools.report": [run],
        "minireason.tools.thinking": ["--run", run, "--num-problems", "2", "--documents", "20"],
    }
    calls = [(module, ["--help"]) for module in COMMANDS]
    calls += list(actions.items())
    assert set(COMMANDS) - set(actions) == {
        "minireason.tools.pretrained",                  # writes into the repository
        "minireason.tools.playground.__main__"}         # answers until it is ended
    done = subprocess.run([sys.executable, "-c", OPTIMIZED, str(ROOT), json.dumps(calls)], cwd=ROOT,
                          timeout=300, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.endswith("failed: []\n"), done.stdout + done.stderr
    assert Path(page).exists() and "Traceback" not in done.stderr


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_no_assert_guards_anything(name):
    """`python -O` would leave the check out."""
    assert not [node.lineno for node in ast.walk(SOURCES[name]) if isinstance(node, ast.Assert)]


# -----------------------------------------------------------------------------
# Every command and every file

def test_every_command_ends_this_way():
    mains = {}
    for name, tree in SOURCES.items():
        for node in tree.body:
            if isinstance(node, ast.FunctionDef) and node.name == "main":
                mains[name] = node
    assert len(mains) >= 7
    for name, main in mains.items():
        [decorator] = main.decorator_list
        assert ast.unparse(decorator.func) == "exit_codes", name
        path = Path(name)
        own_name = path.parent.name if path.stem == "__main__" else path.stem
        assert ast.literal_eval(decorator.args[0]) in (name, own_name)
        prints_messages_alone = "prints_results=False" in ast.unparse(decorator)
        assert prints_messages_alone == (name == "train.py")


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_every_file_of_text_is_opened_with_its_encoding(name):
    """Else it is the terminal's, and a run that was saved under one cannot be read under another."""
    for node in ast.walk(SOURCES[name]):
        if not isinstance(node, ast.Call):
            continue
        function = ast.unparse(node.func)
        if function.split(".")[-1] in ("open", "read_text", "write_text") and function != "os.open":
            modes = [ast.unparse(argument) for argument in node.args[1:]]
            is_binary = any(mode in ("'rb'", "'wb'", "'ab'", "'r+b'") for mode in modes)
            has_encoding = any(keyword.arg == "encoding" for keyword in node.keywords)
            assert is_binary or has_encoding, f"{name}:{node.lineno}"
