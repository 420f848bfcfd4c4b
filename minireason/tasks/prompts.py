"""Reads what a user types: a problem of one of the tasks, or small talk."""

import difflib
import re

from minireason.tasks import TASKS, Problem, parse_prompt, prompt_words
from minireason.tasks.chat import ChatPrompt
from minireason.tasks.harm import secret_in

MAX_CHARACTERS = 200
PLAIN_WORDS = re.compile(r"[A-Za-z0-9 .,!?':;]*[A-Za-z][A-Za-z0-9 .,!?':;]*", re.ASCII)


def read_prompt(text: str) -> Problem | ChatPrompt:
    """Turns a user's line into a Problem or ChatPrompt. Raises ValueError with a one-line reason."""
    text = " ".join(text.split())
    if text.split(" ")[0].lower() in [task.word for task in TASKS.values()]:
        return parse_prompt(without_punctuation(text.lower()))
    if not text:
        raise ValueError(f"the text is empty: begin with {prompt_words()}, or write a sentence")
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"at most {MAX_CHARACTERS} characters, please")
    if not PLAIN_WORDS.fullmatch(text):
        strange = re.sub(r"[A-Za-z0-9 .,!?':;]", "", text)[:1]
        raise ValueError(f"neither a problem (begin with {prompt_words()}) nor a sentence in plain letters"
                         + (f" (it has {strange!r})" if strange else "")
                         + (did_you_mean(text) or without_its_word(text)))
    words = " ".join(re.findall("[a-z0-9]+", text.lower()))     # the model knows no capitals or punctuation
    return ChatPrompt(words, answer="", needed="", secret=secret_in(words), code="")


def without_punctuation(text: str) -> str:
    """A problem as tasks read it.

    `make 45 from 3, 6 and 8?` loses its commas, "and" and "?", and `program 1 -> 5 2 -> 7` the spaces at ->.
    """
    text = re.sub(r",|\band\b", " ", text).rstrip("=?. ")
    return re.sub(" ?-> ?", "->", " ".join(text.split()))


def did_you_mean(text: str) -> str:
    """A hint for a prompt that begins nearly as a problem does, such as `mkae 42 from 3 8 6`, else ""."""
    first_word = text.split(" ")[0].lower()
    words = difflib.get_close_matches(first_word, [task.word for task in TASKS.values()], n=1)
    is_about_numbers = re.search("[0-9]", text)     # in small talk, "take care" is no misspelled "make"
    return f"; did you mean {words[0]}?" if words and is_about_numbers else ""


def without_its_word(text: str) -> str:
    """A hint for a problem that lacks its first word, such as `2+2` or `what is 2+2`, else ""."""
    match = re.search("-?[0-9].+[0-9]", text)
    if not match:
        return ""
    for task in TASKS.values():
        try:
            problem = task.parse(f"{task.word} {match[0]}")
        except ValueError:
            continue
        if not (task.unseen and task.unseen(problem)):      # else the hint leads to what it cannot do
            return f"; did you mean {problem.prompt}?"
    return ""
