"""Reads the text files of a run, and checks each one, so that its values can be used without another check.

A file may come back damaged, edited by hand, or replaced by a folder or a pipe. So it is refused unless it
is a regular file of bounded size, it can be parsed, and its content has the shape that was written.

A shape is written like the value it describes:

    int, float, str ...   a value of this type. No bool counts as a number, and no NaN or infinity does.
    None                  null
    [int]                 a list of whole numbers
    {"a": int}            a dict with a key "a"; it may have others
    {str: int}            a dict whose other keys are texts, with whole numbers behind them
    (int, None)           one of these shapes
    a function            for what types cannot say: it gets (value, name), and raises ValueError
"""

import json
import os
import stat
import sys
from pathlib import Path
from typing import Any

from minireason.upkeep.command import Fault

MOST_BYTES = 2**28      # 256 MiB; the text files of a run hold a few
MOST_CHARACTERS = 60    # of a name in a message
KIND_NAMES = {
    None: "null", bool: "true or false", int: "a whole number", float: "a finite number", str: "a text",
    list: "a list", dict: "a dict"}


# -----------------------------------------------------------------------------
# Reading

def why_unreadable(path: Path | str) -> str:
    """Why a path cannot be read as a file, such as "is not there"; an empty text for a regular file.

    Ask before opening: opening a pipe waits for its other end, and a device such as /dev/zero never ends.
    """
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return "is a link to nothing" if os.path.islink(path) else "is not there"
    except OSError as error:        # for example a circle of links
        return f"cannot be read: {error.strerror}"
    if stat.S_ISDIR(mode):
        return "is a folder, not a file"
    if not stat.S_ISREG(mode):
        return "is a pipe or a device, not a file"
    return ""


def read_bytes(path: Path | str, advice: str) -> bytes:
    """The content of a text file. Raises Fault: what is wrong with it, and the advice."""
    reason = why_unreadable(path)
    if not reason and os.path.getsize(path) > MOST_BYTES:
        reason = f"is larger than {MOST_BYTES // 2**20} MiB"
    if reason:
        raise Fault(f"{path} {reason}: {advice}")
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise Fault(f"{path} cannot be read ({error.strerror}): {advice}") from None


def read_json(path: Path | str, shape: Any, advice: str) -> Any:
    """The value in a JSON file. Raises Fault with the advice if it cannot be read or has another shape."""
    content = read_bytes(path, advice)
    try:
        value = parse_json(content)
        check_shape(value, shape)
    except ValueError as error:
        raise Fault(f"{path} is damaged ({error}): {advice}") from None
    return value


def parse_json(content: bytes) -> Any:
    """The value of a JSON text. Raises ValueError, also for the NaN and Infinity that Python would accept."""
    try:
        return json.loads(content.decode("utf-8"), parse_constant=refuse_constant)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def refuse_constant(word: str) -> None:
    """json calls this for NaN, Infinity and -Infinity."""
    raise ValueError(f"it holds {word}")


# -----------------------------------------------------------------------------
# Shapes

def check_shape(value: Any, shape: Any, name: str = "it") -> None:
    """Raises ValueError if a value does not have a shape. The top of this file says what a shape is.

    `name` is what the message calls the value, such as "optimizer.state".
    """
    if shape is None or isinstance(shape, type):
        if not is_of_kind(value, shape):
            kind = KIND_NAMES.get(shape) or shape.__name__
            raise ValueError(f"{short(name)} should be {kind} and is {describe(value)}")
    elif isinstance(shape, tuple):
        check_one_of(value, shape, name)
    elif isinstance(shape, list):
        check_shape(value, list, name)
        for i, item in enumerate(value):
            check_shape(item, shape[0], f"{name}[{i}]")
    elif isinstance(shape, dict):
        check_dict(value, shape, name)
    else:
        shape(value, name)


def check_one_of(value: Any, shapes: tuple, name: str) -> None:
    """Raises ValueError if a value has none of these shapes. The message is that of the last shape."""
    for shape in shapes[:-1]:
        try:
            check_shape(value, shape, name)
            return
        except ValueError:
            pass
    check_shape(value, shapes[-1], name)


def check_dict(value: Any, shape: dict, name: str) -> None:
    """`check_shape` for a dict. Keys that `shape` names must be there. A type stands for all other keys."""
    check_shape(value, dict, name)
    for key in shape:
        if not isinstance(key, type) and key not in value:
            raise ValueError(f"{short(name)} lacks {key}")
    kinds = [key for key in shape if isinstance(key, type)]      # the type of the other keys: none, or one
    for key, item in value.items():
        if key in shape:
            check_shape(item, shape[key], f"{name}.{key}")
        elif kinds:
            check_shape(key, kinds[0], f"a key of {name}")
            check_shape(item, shape[kinds[0]], f"{name}.{key}")


def is_of_kind(value: Any, kind: type | None) -> bool:
    """Whether a value is of a type. Here a bool is not a number, and a whole number is a float as well."""
    if kind is None:
        return value is None
    if kind is bool or isinstance(value, bool):
        return kind is bool and isinstance(value, bool)
    if kind is int:
        return isinstance(value, int) and abs(value) < 2**64        # a seed may have 64 bits
    if kind is float:
        return isinstance(value, int | float) and abs(value) <= sys.float_info.max     # false for NaN
    return isinstance(value, kind)


def describe(value: Any) -> str:
    """How a message names a wrong value: "null", the value itself if it is a float, else its type."""
    if value is None:
        return "null"
    return str(value) if isinstance(value, float) else type(value).__name__


def short(text: str) -> str:
    return text if len(text) <= MOST_CHARACTERS else text[:MOST_CHARACTERS] + "..."
