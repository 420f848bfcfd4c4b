"""Text to ids and back: nothing is lost, nothing typed by a user becomes special,
the world's words are one token."""

import random
import re

import pytest
from helpers import shipped_mix

from minireason.corpus import base_corpus, chat_examples, golden_examples
from minireason.tokenizer import EOS, PAD, SIGNS, SMALL_TALK, TAGS, get_tokenizer, pieces_of, tokenizer_of

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


def tokens_of(text):
    """The text of each of its tokens."""
    return [TOKENIZER.decode([token]) for token in TOKENIZER.encode(text)]


@pytest.mark.parametrize("word", TOKENIZER.words)
def test_every_word_is_one_token(word):
    for text in (word, " " + word):
        assert len(TOKENIZER.encode(text)) == 1


@pytest.mark.parametrize("word", [*SIGNS, *TOKENIZER.words])
def test_a_word_takes_the_spaces_around_it(word):
    """A word of small talk takes the one before it alone. A sign takes both or the one before it."""
    if word in SMALL_TALK:
        assert tokens_of(f"{word} ") == [word, " "] and tokens_of(f" {word} ") == [f" {word}", " "]
        return
    assert tokens_of(f" {word} ") == [f" {word} "]
    assert tokens_of(f"7 {word} 7") == ["7", f" {word} ", "7"]
    assert tokens_of(f"  {word}  ") == [" ", f" {word} ", " "]
    assert tokens_of(f"{word} 7") == ([word, " ", "7"] if word in SIGNS else [f"{word} ", "7"])


@pytest.mark.parametrize("text, tokens", [
    ("try c 70-10=60 6*13=78 is 60 no wait try d 70/6 no",
     "try |c |7|0|-|1|0|=|6|0| |6|*|1|3|=|7|8| is |6|0| no |wait |try |d |7|0|/|6| no"),
    ("make 42 from 3 8 6", "make |4|2| from |3| |8| |6"), ("compute 7*7-9", "compute |7|*|7|-|9"),
    ("try x 2 - x 1 - * 9 + 3-2=1", "try |x |2| - |x |1| - |*| |9| + |3|-|2|=|1"),
    ("hello my name is ana", "hello| my| name| is |ana"),
    ("i am in a red trap", "i |am| in| a |red| |t|r|a|p"), ("no so", "no |so"),
    ("trying", "t|r|y|in|g"), ("x2 2x", "x|2| |2|x"), ("is_yes", "is|_|yes"),
])
def test_tokens_by_hand(text, tokens):
    """A space between two words belongs to the first one, if that takes spaces."""
    assert tokens_of(text) == tokens.split("|")


def test_digits_are_bare_whatever_stands_beside_them():
    for piece in pieces_of(TOKENIZER.words)[len(TAGS) + 2:]:
        assert len(piece) == 1 or not re.search(rb"[0-9/=()<>]", piece), piece


def num_narrow(text):
    """How many tokens a text of known words has if a word takes the space before it, and a sign none."""
    return len(re.findall("</?think>|</?answer>| ?[a-z]+|[^a-z]", text))


def test_a_chat_has_as_many_tokens_as_with_words_that_take_one_space():
    """But for one fewer where a secret number follows `is`: the space between them belongs to the word."""
    for texts in chat_examples(0, 500):
        for text in texts:
            assert len(TOKENIZER.encode_tagged(text)) == num_narrow(text) - len(re.findall(" is [0-9]", text))


@pytest.mark.parametrize("task, at_most", [("compute", 0.97), ("make", 0.93), ("program", 0.86)])
def test_a_thought_is_shorter_than_with_words_that_take_one_space(task, at_most):
    texts = [text for prompt, text in golden_examples(0, 300, shipped_mix()) if prompt.startswith(task)]
    num_tokens = [len(TOKENIZER.encode_tagged(text)) for text in texts]
    assert len(texts) > 20 and sum(num_tokens) < at_most * sum(map(num_narrow, texts))
    assert all(number <= num_narrow(text) for number, text in zip(num_tokens, texts))


@pytest.mark.parametrize("words", [TOKENIZER.words, (*TOKENIZER.words, "sort", "j"), ("so",)])
def test_every_piece_round_trips_and_is_one_token(words):
    """Each piece but the special ones is what its own text is cut into. Bytes above 127 are no text."""
    tokenizer = tokenizer_of(tuple(words))
    pieces = pieces_of(words)
    assert len(set(pieces)) == len(pieces) == tokenizer.vocab_size
    for i, piece in enumerate(pieces):
        assert tokenizer.encoding.decode_single_token_bytes(i) == piece
        if i >= len(TAGS) + 2 and piece.isascii():
            text = piece.decode()
            assert tokenizer.decode([i]) == text
            if text not in ("+ ", "- ", "* "):          # a text is never cut so
                assert tokenizer.encode(text) == [i]


def test_texts_of_pieces_in_any_order_round_trip():
    """Also where spaces are doubled, as in what a model writes: ` is ` and ` no ` one after the other."""
    rng = random.Random(0)
    pieces = [TOKENIZER.decode([i]) for i in range(TOKENIZER.vocab_size)]
    for _ in range(2000):
        assert round_trips("".join(rng.choices(pieces, k=rng.randint(1, 12))))


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
