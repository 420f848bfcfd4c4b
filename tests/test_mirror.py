"""ppo.py and grpo.py are one text but for what makes them two algorithms: their diff is the lesson."""

import difflib
import inspect
import re

import pytest

from minireason import grpo, ppo

SOURCES = [inspect.getsource(module).splitlines() for module in (ppo, grpo)]


def section(lines, first, last):
    """The lines from one that starts with `first` to before one that starts with `last`."""
    texts = [line.strip() for line in lines]
    start = next(i for i, text in enumerate(texts) if text.startswith(first))
    return lines[start:next(i for i, text in enumerate(texts) if i > start and text.startswith(last))]


def test_less_than_35_percent_differ():
    matcher = difflib.SequenceMatcher(None, *SOURCES, autojunk=False)
    equal = sum(block.size for block in matcher.get_matching_blocks())
    share = 1 - 2 * equal / sum(map(len, SOURCES))
    assert share < 0.35, f"{share:.1%} differ: write what both have in the same words, or raise this number"


@pytest.mark.parametrize("first, last", [
    ("# policy term", "# "),                        # the clipped surrogate
    ("mask = completion_mask.to(log", "# policy"),  # what a token counts
    ("# 2) credit", "# 3) update"),
    ("# 4) report", "never"),
])
def test_what_is_shared_is_equal_word_for_word(first, last):
    if last == "never":
        mirrored = [lines[next(i for i, line in enumerate(lines) if line.strip().startswith(first)):]
                    for lines in SOURCES]
    else:
        mirrored = [section(lines, first, last) for lines in SOURCES]
    assert mirrored[0] == mirrored[1] and len(mirrored[0]) >= 2


def test_the_same_sections_in_the_same_order():
    def order(lines):
        return [line.strip() for line in lines
                if re.match(r"# [A-Z]|        # [1-4]\)|def (compute|train)|    # policy", line)]
    names = [[re.sub(r"\(.*", "", line) if line.startswith("def") else line for line in order(lines)]
             for lines in SOURCES]
    assert names[0] == names[1] and len(names[0]) == 11, names
