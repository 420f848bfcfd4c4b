"""Text to ids and back: a vocabulary of a few hundred tokens, handed to tiktoken.

    256 bytes | our words, each bare and with a leading space | six special tokens

tiktoken cuts the text with `PATTERN` and looks each piece up whole before it merges bytes, so a listed
word is one token, and anything else falls apart into bytes and shorter words: every text has an encoding.
Digits stay single: a small model that reads 42-6=36 digit by digit learns to calculate in fewer tokens
than one that has to get to know ninety numbers as ninety names.
"""

import functools
from collections.abc import Iterable

import tiktoken

from minireason.tasks.words import VOCABULARY
from minireason.verifier import TAGS

# A word with the space before it, or any other single character.
PATTERN = r" ?[A-Za-z]+|[\s\S]"
PAD, EOS = "<pad>", "<eos>"


class Tokenizer:
    """encode, encode_tagged and decode over lists of ids; `vocab_size`, `pad_id`, `eos_id`."""

    def __init__(self):
        pieces = [bytes([byte]) for byte in range(256)]
        pieces += [(space + word).encode() for word in VOCABULARY for space in ("", " ")]
        ranks = {piece: rank for rank, piece in enumerate(dict.fromkeys(pieces))}
        special = {name: len(ranks) + i for i, name in enumerate((PAD, EOS, *TAGS))}
        self.encoding = tiktoken.Encoding(
            "minireason", pat_str=PATTERN, mergeable_ranks=ranks, special_tokens=special,
            explicit_n_vocab=len(ranks) + len(special))
        self.vocab_size = self.encoding.n_vocab
        self.pad_id, self.eos_id = special[PAD], special[EOS]

    def encode(self, text: str) -> list[int]:
        """Ids of any text. A `<think>` typed by a user stays plain characters here."""
        return self.encoding.encode_ordinary(text)

    def encode_prompt(self, text: str) -> list[int]:
        """Ids of a prompt as the model reads it: the text on a line of its own.

        The end makes plain where the prompt stops. The start is there to be looked at: the first token of a row attends to
        nothing but itself, and a number that stood there was often copied wrong.
        """
        return self.encode(f"\n{text}\n")

    def encode_tagged(self, text: str) -> list[int]:
        """Ids of our own text, in which the four tags are single special tokens."""
        return self.encoding.encode(text, allowed_special=set(TAGS), disallowed_special=())

    def decode(self, ids: Iterable[int]) -> str:
        """Text of a list of ids; padding and the end token have none. Raises ValueError on an unknown id."""
        kept = [int(i) for i in ids if int(i) not in (self.pad_id, self.eos_id)]
        for i in kept:
            if not 0 <= i < self.vocab_size:
                raise ValueError(f"token id {i} is outside the vocabulary of {self.vocab_size}")
        return self.encoding.decode(kept)


@functools.cache
def get_tokenizer() -> Tokenizer:
    """The one tokenizer of the project."""
    return Tokenizer()


def printable(text: str) -> str:
    """What a model wrote, safe for a terminal or a page: no line breaks, no control characters or escape sequences."""
    return "".join(c if c.isprintable() else "?" for c in text)
