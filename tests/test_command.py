"""How commands end: an exit code and one line on stderr, whatever the terminal can do.

Each command runs in its own process. The commands here are small ones that `exit_codes` decorates, since they
start at once. A test checks that every real command is decorated too.
"""

import ast
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
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


def test_ctrl_c_from_outside_is_130():
    script = SCRIPT.format(body="print('here', flush=True); sys.stdin.read()")
    process = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout.readline() == b"here\n"
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=120)[1] == b"\nstopped\n" and process.returncode == 130


# -----------------------------------------------------------------------------
# Every command and every file

SOURCES = {path.name: ast.parse(path.read_text(encoding="utf-8"))
           for path in [*(ROOT / "minireason").rglob("*.py"), *ROOT.glob("*.py")]}


def test_every_command_ends_this_way():
    mains = {}
    for name, tree in SOURCES.items():
        for node in tree.body:
            if isinstance(node, ast.FunctionDef) and node.name == "main":
                mains[name] = node
    assert len(mains) >= 7
    for name, main in mains.items():
        decorators = [ast.unparse(each) for each in main.decorator_list]
        assert decorators in ([f"exit_codes('{name}')"], [f"exit_codes('{name.removesuffix('.py')}')"]), name


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
