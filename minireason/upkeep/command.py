"""How every command ends: with an exit code, and after an error with one line on stderr that says why.

    0    done
    1    a fault: a full disk, a damaged file, no memory, a loss that is not a number
    2    bad input: a setting, a prompt, or a run that does not exist
    130  Ctrl-C
"""

import errno
import functools
import os
import signal
import sys
import unicodedata
from collections.abc import Callable
from typing import TextIO


class BadInput(ValueError):
    """An error in the user's input. Like every ValueError it ends a command with one line and exit code 2."""


class Fault(RuntimeError):
    """An error that no other input would fix. It ends a command with one line and exit code 1."""


# How torch says that memory is short: on Linux, on Windows, on a GPU, and where no machine has so much.
NO_MEMORY = ("can't allocate memory", "not enough memory", "out of memory", "std::bad_alloc",
             "Storage size calculation overflowed")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the memory does not suffice. No Fault does: it says what to do already."""
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
    """Says what happens to characters that do not fit the stream's encoding."""
    if hasattr(stream, "reconfigure"):    # a stream that captures output, as in a test, may lack it
        stream.reconfigure(errors=errors)


def flush() -> None:
    """Writes out what was printed, as long as an error can still be reported. Raises OSError."""
    try:
        sys.stdout.flush()
    except OSError:
        # Python flushes again when it exits, and would report the same error a second time.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise


def exit_codes(name: str, less_memory: str = "") -> Callable:
    """Decorates a `main(argv)`: an error in it becomes an exit code and a line that begins with `name`.

    `less_memory` says what to do where the memory does not suffice.
    """
    def say(error: object) -> None:
        print(f"{name}: {visible(error)}", file=sys.stderr)

    def decorate(main):
        @functools.wraps(main)
        def command(argv=None):
            try:
                open_streams()
                refuse_control_characters(sys.argv[1:] if argv is None else argv)
                try:
                    return main(argv) or 0
                finally:
                    flush()
            except KeyboardInterrupt as error:
                print(f"\n{visible(error) or 'stopped'}", file=sys.stderr)
                return 130
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
        return command
    return decorate


class CtrlC:
    """Lets an iteration end before Ctrl-C stops the run, so that what is saved is never half an update.

    A second Ctrl-C stops at once, with the last checkpoint as it was.
    """

    def __enter__(self):
        self.pressed = False
        self.handler_before = signal.signal(signal.SIGINT, self.press)
        return self

    def press(self, *_) -> None:
        if self.pressed:
            raise KeyboardInterrupt
        self.pressed = True

    def __exit__(self, *_):
        signal.signal(signal.SIGINT, self.handler_before)


def peak_memory() -> float | None:
    """MiB of memory that this process ever held; None where the system does not say."""
    try:
        import resource
    except ImportError:     # Windows
        return None
    units_per_mib = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / units_per_mib
