"""A second opinion for the tests: what an expression, a program or a set of numbers comes to, worked out by
other means than the code under test (Python's parser, string rewriting, all splits)."""

import ast
import functools
import re
import unicodedata

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
        # Python's words, not ours
        assert "invalid literal" not in message and "object" not in message, message
        return message
    raise AssertionError(f"{str(arguments)[:80]} was accepted as {str(result)[:120]}")


# -----------------------------------------------------------------------------
# The verifier, the prompts and the tokenizer once more

def form(text):
    """A second opinion: (thinking, answer) or None, by cutting the text at every tag."""
    pieces = re.split("(</?(?:think|answer)>)", text)
    tags, between = pieces[1::2], pieces[::2]
    outside = [between[i] for i in (0, 2, 4)] if len(between) == 5 else [None]
    good = tags == ["<think>", "</think>", "<answer>", "</answer>"] and outside == [""] * 3
    return (between[1], between[3]) if good else None


def second_opinion(problem, answer):
    """Whether the answer is right, by Python's parser and by rewriting,
    and as the grammar is told in words. A task of your own gets a branch here."""
    if problem.task == "arithmetic":
        value = expression_value(problem.prompt.removeprefix("compute "))
        return answer == str(value) or value == 0 and answer == "-0"
    if problem.task == "program":
        return all(run_program(answer, x) == y for x, y in problem.examples + problem.hidden)
    if problem.task != "countdown":
        raise NotImplementedError(f"second_opinion knows no task {problem.task!r}: give it a branch")
    target, numbers = re.fullmatch("make (-?[0-9]+) from (.*)", problem.prompt).groups()
    symbols = set(answer) <= set("0123456789+-*() ")
    spaces = answer == answer.strip() and "  " not in answer
    signs = re.search(r"(^|[-+*(]) ?[-+]", answer)                       # Python would read these as signs
    zeros = re.search("(?<![0-9])0[0-9]", answer)
    if not symbols or not spaces or signs or zeros:
        return False
    try:
        return expression_value(answer) == int(target) and numbers_used(answer) == numbers_used(numbers)
    except (SyntaxError, KeyError):
        return False


def number(word, sign=True):
    """The number of a word of at most four digits as a user may type it, else None."""
    digits = word.removeprefix("-") if sign else word
    plain = digits == "0" or not digits.startswith("0")
    good = digits.isascii() and digits.isdigit() and len(digits) <= 4 and plain
    return int(word) if good else None


def read_prompt(text):
    """(task, target, numbers, examples) of a prompt of a task in helpers.SHIPPED, or None where it is none:
    with Python's parser, and by cutting."""
    text = text.strip()
    task, _, rest = text.partition(" ")
    if task == "compute":
        return read_chain(rest.strip(" ")) if len(text) <= 200 else None
    words = rest.split(" ")
    if len(text) > 100 or task not in ("make", "program"):
        return None
    if task == "make":
        numbers = [number(word, sign=False) for word in words[2:]]
        good = 2 <= len(numbers) <= 6 and words[1] == "from" and None not in (number(words[0]), *numbers)
        return ("countdown", number(words[0]), tuple(numbers), ()) if good else None
    pairs = [tuple(map(number, word.split("->"))) for word in words]
    good = all(len(pair) == 2 and None not in pair for pair in pairs) and "-0" not in re.split("->| ", rest)
    good = good and len(pairs) == len({pair[0] for pair in pairs}) <= 6
    return ("program", 0, (), tuple(pairs)) if good else None


def read_chain(text):
    if not text or set(text) - set("0123456789+-* ") or re.search("(?<![0-9])0[0-9]", text):
        return None
    try:
        tree = ast.parse(text, mode="eval").body
    except SyntaxError:
        return None
    signs = [node for node in ast.walk(tree) if isinstance(node, ast.UnaryOp)]
    kinds = {type(node.op) for node in ast.walk(tree) if isinstance(node, ast.BinOp)}
    numbers = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    first = all(node.col_offset == 0 and isinstance(node.op, ast.USub)
                and isinstance(node.operand, ast.Constant)
                for node in signs)
    terms = re.split("[-+]", text.removeprefix("-"))
    small = max(numbers) <= 9999 and len(terms) <= 40 and all(term.count("*") < 6 for term in terms)
    if not (first and kinds <= set(OPERATIONS) and small):
        return None
    return "arithmetic", expression_value(text), (), ()


def is_of_a_word(text, i):
    """Whether a letter, digit, mark or the like stands at i, as `\\b` of a Unicode pattern sees it."""
    if not 0 <= i < len(text):
        return False
    character = text[i]
    kind = unicodedata.category(character)
    return character.isalnum() or kind[0] == "M" or kind == "Pc" or character in "\u200c\u200d"


def cut(text, ranks):
    """A text in pieces: words of ASCII letters with the space before them, signs behind a space, and single
    characters. A sign, and a word that has a token with a space behind it, takes that space too."""
    pieces, i = [], 0
    while i < len(text):
        start = i + (text[i] == " ")
        end = start
        while end < len(text) and text[end].isascii() and text[end].isalpha():
            end += 1
        word = text[start:end]
        stands_alone = not is_of_a_word(text, start - 1) and not is_of_a_word(text, end)
        takes_space = word and stands_alone and f"{word} ".encode() in ranks
        if not word and start > i and text[start:start + 1] in ("+", "-", "*"):
            end, takes_space = start + 1, True
        elif not word:
            end = i + 1
        if takes_space and text[end:end + 1] == " ":
            end += 1
        pieces.append(text[i:end])
        i = end
    return pieces


def encode(text, ranks):
    """Ids of a text by the rule of byte pairs, from {bytes: id} alone: a listed piece is whole, of any other
    the neighbours that make the token of the lowest id are joined until none do."""
    ids = []
    for piece in cut(text, ranks):
        parts = [bytes([byte]) for byte in piece.encode()]
        if piece.encode() in ranks:
            parts = [piece.encode()]
        while joined := [(ranks[a + b], i) for i, (a, b) in enumerate(zip(parts, parts[1:]))
                         if a + b in ranks]:
            i = min(joined)[1]
            parts[i:i + 2] = [parts[i] + parts[i + 1]]
        ids += [ranks[part] for part in parts]
    return ids
