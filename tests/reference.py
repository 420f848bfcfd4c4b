"""A second opinion for the tests: what an expression, a program or a set of numbers comes to, worked out by other means
than the code under test (Python's parser, string rewriting, all splits)."""

import ast
import functools
import re

OPERATIONS = {ast.Add: int.__add__, ast.Sub: int.__sub__, ast.Mult: int.__mul__}


def expression_value(text):
    """The value of a text of integers, + - *, unary minus and parentheses, read by Python's own parser."""
    def walk(node):
        if isinstance(node, ast.Constant) and type(node.value) is int:
            return node.value
        if isinstance(node, ast.BinOp):
            return OPERATIONS[type(node.op)](walk(node.left), walk(node.right))
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            return -walk(node.operand)
        raise KeyError(type(node).__name__)
    return walk(ast.parse(text, mode="eval").body)


def numbers_used(text):
    return sorted(map(int, re.findall("[0-9]+", text)))


def true_step(step):
    """Whether `left op right=result` holds; a division must come out even."""
    left, result = step.split("=")
    if "/" in left:
        a, b = map(int, left.split("/"))
        return b != 0 and b * int(result) == a
    return expression_value(left) == int(result)


def steps_of(thinking):
    return re.findall(r"(?<![^ ])-?[0-9]+[-+*/][0-9]+=-?[0-9]+(?![^ ])", thinking)


def run_program(program, x, limit=10**6):
    """The value of a postfix program by rewriting its text, `2 3 +` -> `5`, or None where it is none."""
    words = program.split(" ")
    if len(words) > 100 or not all(re.fullmatch("x|[-+*]|0|[1-9][0-9]?", word) for word in words):
        return None
    text = " ".join(str(x) if word == "x" else word for word in words)
    while match := re.search(r"(?<![^ ])(-?[0-9]+) (-?[0-9]+) ([-+*])(?![^ ])", text):
        value = expression_value(f"({match[1]}){match[3]}({match[2]})")
        if abs(value) > limit:
            return None
        text = f"{text[:match.start()]}{value}{text[match.end():]}"
    return int(text) if re.fullmatch("-?[0-9]+", text) else None


@functools.cache
def reachable(numbers):
    """Every value that + - * and parentheses make of a tuple of numbers, each used once."""
    if len(numbers) == 1:
        return frozenset(numbers)
    values = set()
    for chosen in range(1, 2 ** len(numbers) - 1):
        left = tuple(n for i, n in enumerate(numbers) if chosen >> i & 1)
        right = tuple(n for i, n in enumerate(numbers) if not chosen >> i & 1)
        for a in reachable(left):
            for b in reachable(right):
                values |= {a + b, a - b, a * b}
    return frozenset(values)


def fails_with_one_line(call, *arguments, error=ValueError):
    """The message of the ValueError that `call` must raise: one line, written for a user."""
    try:
        result = call(*arguments)
    except error as problem:
        message = str(problem)
        assert message and len(message.splitlines()) == 1 and len(message) < 300, message
        assert "invalid literal" not in message and "object" not in message, message   # Python's words, not ours
        return message
    raise AssertionError(f"{str(arguments)[:80]} was accepted as {str(result)[:120]}")
