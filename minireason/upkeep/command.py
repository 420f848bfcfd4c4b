"""How every command ends: with an exit code, and after an error with one line on stderr that says why.

    0    done
    1    a fault: a full disk, a damaged file, no memory, a loss that is not a number
    2    bad input: a setting, a prompt, or a run that does not exist
    130  Ctrl-C
    143  SIGTERM: a container or a batch system ends the command
    129  SIGHUP: its terminal is closed
"""

import contextlib
import errno
import functools
import os
import signal
import sys
import threading
import unicodedata
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, TextIO

STOP_SIGNALS = [signal.SIGINT, signal.SIGTERM]      # SIGINT is Ctrl-C
if hasattr(signal, "SIGHUP"):                       # Windows has none
    STOP_SIGNALS.append(signal.SIGHUP)


class BadInput(ValueError):
    """An error in the user's input. Like every ValueError it ends a command with one line and exit code 2."""


class Fault(RuntimeError):
    """An error that no other input would fix. It ends a command with one line and exit code 1."""


class Stopped(BaseException):
    """A signal asked the command to stop. It ends with exit code 128 + the signal's number."""

    def __init__(self, number: int, message: str = "stopped"):
        super().__init__(message)
        self.number = number


# How torch says that memory is short: on Linux, on Windows, on a GPU, and where no machine has so much.
NO_MEMORY = ("can't allocate memory", "not enough memory", "out of memory", "std::bad_alloc",
             "Storage size calculation overflowed")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory is short. A Fault never does: its message says what to do."""
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    is_from_torch = isinstance(error, RuntimeError) and not isinstance(error, Fault)
    return is_from_torch and any(text in str(error) for text in NO_MEMORY)


def visible(text: object) -> str:
    """A text on one line, its control characters written out (`\\x1b`): it cannot steer a terminal."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(text))


def refuse_control_characters(argv: list[str]) -> None:
    """Raises BadInput if an argument holds an escape sequence, since paths and names are printed later.

    Line breaks and tabs may stand in a prompt.
    """
    for argument in argv:
        if any(unicodedata.category(c) == "Cc" and not c.isspace() for c in argument):
            raise BadInput(f"a control character in an argument: {argument}")


# -----------------------------------------------------------------------------
# Streams

def open_streams() -> None:
    """Redirects closed streams to the null device, and escapes what the terminal cannot show (`\\xe9`)."""
    # A closed stream leaves its file descriptor free. The next open() would reuse the number, and what is
    # printed would go into that file. The order matters: each open() here takes the lowest free number.
    if sys.stdin is None:
        sys.stdin = open(os.devnull, encoding="utf-8")
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8", errors="backslashreplace")
    set_error_handler(sys.stdin, "replace")
    set_error_handler(sys.stdout, "backslashreplace")    # Python itself does this for stderr


def set_error_handler(stream: TextIO, errors: str) -> None:
    """Sets what a stream does with characters that do not fit its encoding. `errors` is as for open()."""
    if hasattr(stream, "reconfigure"):    # a stream that captures output, as in a test, may lack it
        stream.reconfigure(errors=errors)


def flush() -> None:
    """Writes out what was printed, while the command can still report an error. Raises OSError."""
    try:
        sys.stdout.flush()
    except OSError:
        silence(sys.stdout)
        raise


def silence(stream: TextIO) -> None:
    """Redirects a stream to the null device, after an error.

    Python flushes each stream when it exits. What is left to write would raise the same error again.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


class MessageStream:
    """A stream for messages. When one cannot be written, it and all later ones are dropped.

    The disk may be full, the reader may have left (`2>&1 | head -1`), the terminal may be closed. None of
    these is a reason to stop an hour of training.
    """

    def __init__(self, stream: TextIO):
        self.stream = stream

    def write(self, text: str) -> int:
        try:
            self.stream.write(text)
        except OSError:
            silence(self.stream)
        return len(text)

    def flush(self) -> None:
        try:
            self.stream.flush()
        except OSError:
            silence(self.stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextlib.contextmanager
def message_streams(stdout_too: bool) -> Iterator[None]:
    """Within the block, stderr is a MessageStream. So is stdout, if it shows messages and not results."""
    stdout, stderr = sys.stdout, sys.stderr
    sys.stderr = MessageStream(stderr)
    if stdout_too:
        sys.stdout = MessageStream(stdout)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = stdout, stderr


# -----------------------------------------------------------------------------
# Signals

@contextlib.contextmanager
def on_stop_signals(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Within the block, Ctrl-C, SIGTERM and SIGHUP call `handler`.

    A signal that is ignored stays so: nohup lets a command ignore SIGHUP.
    """
    handlers_before = {}
    if threading.current_thread() is threading.main_thread():     # Python allows it there alone
        for number in STOP_SIGNALS:
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                handlers_before[number] = signal.signal(number, handler)
    try:
        yield
    finally:
        for number, handler_before in handlers_before.items():
            signal.signal(number, handler_before)


def raise_stopped(number: int, frame: FrameType | None) -> None:
    """A signal's handler that stops the command at once. Ctrl-C stays Python's own KeyboardInterrupt."""
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise Stopped(number)


class StopRequest:
    """`signal` is the number of the signal that asked to stop, 0 as long as there was none."""
    signal = 0


@contextlib.contextmanager
def stop_after_step() -> Iterator[StopRequest]:
    """Lets a step end before a signal stops the run, so that what is saved is never half an update.

    The caller looks at the StopRequest after each step. A second signal stops at once. A signal that comes
    after the caller's last look stops the run at the end of the block.
    """
    request = StopRequest()

    def receive(number, frame):
        if request.signal:
            raise Stopped(number)
        request.signal = number

    with on_stop_signals(receive):
        yield request
    if request.signal:
        raise Stopped(request.signal)


@contextlib.contextmanager
def signals_wait() -> Iterator[None]:
    """Holds stop signals back, and raises them when the block ends.

    Torch would report a signal within torch.save as a full disk.
    """
    numbers = []
    try:
        with on_stop_signals(lambda number, frame: numbers.append(number)):
            yield
    finally:
        for number in numbers:
            signal.raise_signal(number)


# -----------------------------------------------------------------------------
# Exit codes

def always() -> bool:
    """The default of `speaks` below: a process that is alone prints its error."""
    return True


def exit_codes(name: str, less_memory: str = "", prints_results: bool = True,
               speaks: Callable[[], bool] = always) -> Callable:
    """Decorates a `main(argv)`: an error in it becomes an exit code and a line that begins with `name`.

    `less_memory` says what to do where the memory does not suffice. A command that prints its results fails
    if they cannot be written; one that prints messages alone does not. `speaks()` says whether the line is to
    be printed: of several processes that end together, one prints it.
    """
    def decorate(main):
        @functools.wraps(main)
        def command(argv=None):
            open_streams()
            with message_streams(stdout_too=not prints_results):
                return exit_code(name, main, argv, less_memory, speaks)
        return command
    return decorate


def exit_code(name: str, main: Callable, argv: list[str] | None, less_memory: str,
              speaks: Callable[[], bool]) -> int:
    """Calls main(argv). Returns the exit code, after a line on stderr if there was an error."""
    def say(error: object, start: str = f"{name}: ") -> None:
        if speaks():
            print(start + visible(error), file=sys.stderr)

    try:
        with on_stop_signals(raise_stopped):
            refuse_control_characters(sys.argv[1:] if argv is None else argv)
            try:
                return main(argv) or 0
            finally:
                flush()
    except (KeyboardInterrupt, Stopped) as error:
        say(str(error) or "stopped", start="\n")
        return 128 + getattr(error, "number", signal.SIGINT)
    except BrokenPipeError:     # the program that read our output, such as head, has ended
        return 1
    except (RuntimeError, OSError, MemoryError) as error:
        if is_out_of_memory(error):
            say(f"out of memory: {less_memory}" if less_memory else "out of memory")
        elif isinstance(error, (Fault, OSError)):
            say(error)
        else:
            raise
        return 1
    except ValueError as error:
        say(error)
        return 2


def peak_memory() -> float | None:
    """MiB of memory that this process ever held; None where the system does not say."""
    try:
        import resource
    except ImportError:     # Windows
        return None
    units_per_mib = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / units_per_mib
