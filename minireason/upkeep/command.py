"""How every command ends: one line on stderr that says why, and an exit code.

    0 done      2 bad input      1 a fault: a full disk, a damaged file, a loss that is no number      130 Ctrl-C
"""

import functools
import os
import signal
import sys
from collections.abc import Callable


class BadInput(ValueError):
    """Something to tell the user in one line, as every ValueError that reaches the end of a command."""


class Fault(RuntimeError):
    """Something went wrong that no flag mends."""


def open_streams() -> None:
    """Gives a terminal that has no letter for an e with an accent `\\xe9` instead, and a closed stream a place to go."""
    for name, mode, errors in (("stdin", "r", "replace"), ("stdout", "w", "backslashreplace"), ("stderr", "w", None)):
        if getattr(sys, name) is None:      # else the next file to be opened takes its number, and what is printed
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8", errors=errors or "backslashreplace"))
        elif errors and hasattr(getattr(sys, name), "reconfigure"):
            getattr(sys, name).reconfigure(errors=errors)


def flush() -> None:
    """Writes out what was printed, while an error can still be told. Raises OSError."""
    try:
        sys.stdout.flush()
    except OSError:     # Python would try once more at its end, and complain
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise


def exit_codes(name: str) -> Callable:
    """Decorates a `main(argv)`: whatever it raises becomes a line that begins with `name`, and an exit code."""
    def decorate(main):
        @functools.wraps(main)
        def ended(argv=None):
            try:
                open_streams()
                try:
                    return main(argv) or 0
                finally:
                    flush()
            except KeyboardInterrupt as error:
                print(f"\n{str(error) or 'stopped'}", file=sys.stderr)
                return 130
            except BrokenPipeError:     # whoever read our output left: there is nobody to tell
                return 1
            except (Fault, OSError, MemoryError) as error:
                print(f"{name}: {str(error) or 'out of memory'}", file=sys.stderr)
                return 1
            except ValueError as error:
                print(f"{name}: {error}", file=sys.stderr)
                return 2
        return ended
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
