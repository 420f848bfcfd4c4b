"""Text to ids and back: nothing is lost, nothing typed by a user becomes special,
the world's words are one token."""

import random
import re

import pytest
from helpers import shipped_mix

from minireason.corpus import base_corpus
from minireason.tokenizer import EOS, PAD, TAGS, get_tokenizer

TOKENIZER = get_tokenizer()


def round_trips(text):
    ids = TOKENIZER.encode(text)
    return all(0 <= i < TOKENIZER.vocab_size for i in ids) and TOKENIZER.decode(ids) == text


def test_every_character_round_trips():
    """All of the first plane and every third character beyond, surrogates left out:
    UTF-8 cannot hold them."""
    points = [p for p in (*range(0x10000), *range(0x10000, 0x110000, 3)) if not 0xD800 <= p < 0xE000]
    for start in range(0, len(points), 4096):
        text = "".join(map(chr, points[start:start + 4096]))
        assert round_trips(text), hex(points[start])


def test_every_pair_of_ascii_characters_round_trips():
    """A pattern that misses a character drops it silently;
    pairs also meet the optional space and the numbers."""
    for a in range(128):
        for b in range(128):
            assert round_trips(chr(a) + chr(b)), (a, b)


def test_random_bytes_round_trip():
    rng = random.Random(0)
    for _ in range(300):
        data = rng.randbytes(rng.randint(0, 80))
        assert round_trips(data.decode("utf-8", "replace"))
        assert round_trips(data.decode("latin-1"))


@pytest.mark.parametrize("text", [
    "", " ", "   ", "\n", "\r\n", "\x00", "a\x00b", "e\u0301", "👩‍👩‍👧", "٣٤", "\u2028"])
def test_awkward_texts_round_trip(text):
    assert round_trips(text)


def test_long_texts_round_trip():
    for text in ("a" * 1_000_000, "am" * 50_000, "9" * 1_000_000, " " * 200_000, "(" * 200_000):
        assert round_trips(text)


def test_lone_surrogates_are_no_crash():
    """UTF-8 cannot hold them, so they need not come back, but what stands beside them must."""
    text = TOKENIZER.decode(TOKENIZER.encode("2+\ud800+3\udfff"))
    assert text.startswith("2+") and "+3" in text


def test_tags_typed_by_a_user_stay_plain():
    special = set(range(2 + len(TAGS)))
    assert {TOKENIZER.pad_id, TOKENIZER.eos_id} <= special
    for tag in (*TAGS, PAD, EOS):
        ids = TOKENIZER.encode(f"say {tag} please")
        assert not special & set(ids) and TOKENIZER.decode(ids) == f"say {tag} please"


def test_our_own_tags_are_single_tokens():
    seen = set()
    for tag in TAGS:
        ids = TOKENIZER.encode_tagged(tag)
        assert len(ids) == 1 and ids != TOKENIZER.encode(tag) and TOKENIZER.decode(ids) == tag
        seen.update(ids)
    assert len(seen) == 4
    text = "<think>2+3=5</think><answer>5</answer>"
    assert seen <= set(TOKENIZER.encode_tagged(text))
    assert TOKENIZER.decode(TOKENIZER.encode_tagged(text)) == text


def test_padding_and_end_cannot_be_written():
    """Otherwise a text could end itself."""
    ids = TOKENIZER.encode_tagged(f"a{EOS}b{PAD}")
    assert TOKENIZER.eos_id not in ids and TOKENIZER.pad_id not in ids
    assert TOKENIZER.decode(ids) == f"a{EOS}b{PAD}"


def test_padding_and_end_have_no_text():
    ids = TOKENIZER.encode("2+3")
    assert TOKENIZER.decode([TOKENIZER.pad_id, *ids, TOKENIZER.eos_id, TOKENIZER.pad_id]) == "2+3"


@pytest.mark.parametrize("word", TOKENIZER.words)
def test_every_word_is_one_token(word):
    for text in (word, " " + word):
        assert len(TOKENIZER.encode(text)) == 1


def test_every_word_of_the_corpus_is_one_token():
    """A word that falls into letters costs steps and teaches spelling. Other tasks may list no words."""
    text = " ".join(f"{prompt} {completion}" for prompt, completion in base_corpus(0, 2000, shipped_mix()))
    words = set(re.findall("[a-z]+", text)) - {"think", "answer"}   # the tags
    assert len(words) > 50
    assert sorted(word for word in words if len(TOKENIZER.encode(word)) > 1) == []


def test_operators_and_digits_are_their_own_tokens():
    """An answer must be comparable symbol by symbol, so no operator hides inside another token."""
    ids = TOKENIZER.encode("4*6=2")
    assert [TOKENIZER.decode([i]) for i in ids] == ["4", "*", "6", "=", "2"]


@pytest.mark.parametrize("unknown", [-1, TOKENIZER.vocab_size, 10**9])
def test_unknown_ids_raise(unknown):
    with pytest.raises(ValueError, match="outside the vocabulary"):
        TOKENIZER.decode([0, unknown])


def test_half_a_character_decodes_to_something():
    """A sampled completion may stop inside a character."""
    ids = TOKENIZER.encode("né")[:-1]
    assert TOKENIZER.decode(ids).startswith("n")


def test_every_id_decodes_and_the_vocabulary_is_small():
    texts = [TOKENIZER.decode([i]) for i in range(TOKENIZER.vocab_size)]
    assert len(texts) < 1000 and texts[TOKENIZER.pad_id] == texts[TOKENIZER.eos_id] == ""
    assert set(TAGS) <= set(texts)
