"""Text to ids and back: a vocabulary of a few hundred tokens, handed to tiktoken.

    six special tokens | 256 bytes | the signs + - * with spaces | our words, each with and without spaces

tiktoken cuts the text with a pattern and looks each piece up whole before it merges bytes. So a listed word
is one token, and anything else falls apart into bytes and shorter words: every text has an encoding.

    |try |c |7|0|-|1|0|=|6|0| |6|*|1|3|=|7|8| is |6|0| no |wait |          23 tokens

A word takes the spaces around it: a thought is then a sixth shorter than with spaces of their own, and so is
the time to train. Digits stay single and bare: a small model that reads 70-10=60 digit by digit learns to
calculate in fewer tokens than one that has to learn ninety numbers as ninety names, or each digit twice.

Ids never move: the special tokens come first, and new words, such as those of a new task, come last.
"""

import functools
import re
from collections.abc import Iterable

import tiktoken

from minireason.tasks import TASKS
from minireason.tasks.words import CHAT, ENGLISH, SPANISH, TAGS

SIGNS = "+-*"
# Words of small talk take only the space before them: they stand beside each other, where one is enough.
SMALL_TALK = {word for word in CHAT if word not in ENGLISH and len(word) > 1}
PAD, EOS = "<pad>", "<eos>"
SPECIAL = (PAD, EOS, *TAGS)


def known_words(tasks: Iterable[str] | None = None) -> tuple[str, ...]:
    """Every word that is a token, in the order of their ids: thinking, chat, then each task's own."""
    words = [*sorted(ENGLISH), *sorted(SPANISH), *CHAT]
    for name in TASKS if tasks is None else tasks:
        words += TASKS[name].words
    return tuple(dict.fromkeys(words))      # the first of equal ones stays


def pieces_of(words: Iterable[str]) -> list[bytes]:
    """The texts that the ids stand for, as bytes: piece i has id i."""
    pieces = [name.encode() for name in SPECIAL]
    pieces += [bytes([byte]) for byte in range(256)]
    for word in (*SIGNS, *words):
        pieces += [word.encode(), f" {word}".encode()]
        if word not in SMALL_TALK:
            pieces += [f"{word} ".encode(), f" {word} ".encode()]
    return list(dict.fromkeys(pieces))      # a word of one letter is a byte already


def pattern_of(words: Iterable[str]) -> str:
    """The regular expression that cuts a text into pieces, which tiktoken then looks up.

    A piece is one of `words` with the spaces around it; another word, or one of small talk, with the space
    before it; a sign that follows a space, with the spaces around it; or else a single character.
    """
    spaced = "|".join(word for word in words if word not in SMALL_TALK)
    signs = re.escape(SIGNS)
    return rf" ?\b(?:{spaced})\b ?| ?[A-Za-z]+| [{signs}] ?|[\s\S]"


class Tokenizer:
    """Turns text into a list of ids (`encode`, `encode_prompt`, `encode_tagged`) and back (`decode`).

    It also has `vocab_size`, `pad_id` and `eos_id`.
    """

    def __init__(self, words: tuple[str, ...]):
        self.words = words
        ranks = {piece: i for i, piece in enumerate(pieces_of(words))}
        special = {name: ranks.pop(name.encode()) for name in SPECIAL}      # tiktoken wants them apart
        self.vocab_size = len(ranks) + len(special)
        self.encoding = tiktoken.Encoding(
            "minireason", pat_str=pattern_of(words), mergeable_ranks=ranks, special_tokens=special,
            explicit_n_vocab=self.vocab_size)
        self.pad_id = special[PAD]
        self.eos_id = special[EOS]

    def encode(self, text: str) -> list[int]:
        """Ids of any text. A `<think>` typed by a user stays plain characters here."""
        return self.encoding.encode_ordinary(text)

    def encode_prompt(self, text: str) -> list[int]:
        """Ids of a prompt as the model reads it: the text on a line of its own.

        The line break at the end shows where the prompt stops. The one at the start keeps numbers from the
        first place of a row: a token there attends to itself alone, and was often copied wrong.
        """
        return self.encode(f"\n{text}\n")

    def encode_tagged(self, text: str) -> list[int]:
        """Ids of our own text, in which the four tags are single special tokens."""
        return self.encoding.encode(text, allowed_special=set(TAGS), disallowed_special=())

    def decode(self, ids: Iterable[int]) -> str:
        """Text of a list of ids; padding and the end token have none. Raises ValueError on an unknown id."""
        written = []
        for token in map(int, ids):
            if not 0 <= token < self.vocab_size:
                raise ValueError(f"token id {token} is outside the vocabulary of {self.vocab_size}")
            if token not in (self.pad_id, self.eos_id):
                written.append(token)
        return self.encoding.decode(written)


@functools.cache
def tokenizer_of(words: tuple[str, ...]) -> Tokenizer:
    return Tokenizer(words)


def get_tokenizer(tasks: Iterable[str] | None = None) -> Tokenizer:
    """The one tokenizer of the project. It knows the words of these tasks;
    by default of all that are registered."""
    return tokenizer_of(known_words(tasks))


def printable(text: str) -> str:
    """What a model wrote, safe for a terminal or a page: "?" for line breaks and control characters."""
    return "".join(c if c.isprintable() else "?" for c in text)
