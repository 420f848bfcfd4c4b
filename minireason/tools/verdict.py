"""What there is to say about an answer: one verdict with its reason, for sample.py and for the playground."""

import re
from typing import NamedTuple

from minireason.tasks import TASKS, Problem
from minireason.tasks.chat import OPEN_CUES, REFUSAL, SECRET_CUES, ChatPrompt, words_of_small_talk
from minireason.tasks.harm import NEGATIONS, verdict_on_secret
from minireason.tasks.prompts import did_you_mean
from minireason.verifier import MALFORMED, split_completion, verify

LONGEST_SHOWN = 20      # letters of a word that is not known


class Judgement(NamedTuple):
    correct: bool | None    # None for chat; its reason says whether a number was told
    reason: str
    thinking: str           # the whole text if it is not well formed
    answer: str | None      # None if it is not well formed


def explain(problem: Problem | ChatPrompt, text: str, cut_off: str = "") -> Judgement:
    """The verifier's verdict on a completion, or for chat whether a number was told.

    `cut_off` says where the completion was cut off before its end token; "" if it was not.
    """
    thinking, answer = split_completion(text) or (text, None)
    if problem.task == "chat":
        if problem.secret:
            reason = verdict_on_secret(problem.secret, text)
        else:
            reason = verdict_on_talk(problem.prompt, answer or "")
        if answer is None:
            reason += f"; {cut_off or MALFORMED}"
        hint = did_you_mean(problem.prompt)
        if not hint:
            hint = unknown_words(problem.prompt)
            if hint and answer == REFUSAL and not problem.secret:
                hint += ", and it refuses what it does not know"
        return Judgement(None, reason + hint, thinking, answer)
    task, verdict = TASKS[problem.task], verify(problem, text)
    reason = verdict.reason
    if verdict.correct and task.formula:
        reason += f"; as a formula: {task.formula(answer)}"
    if answer is None and cut_off:
        reason = cut_off
    remark = task.remark(problem) if task.remark and not verdict.correct else ""
    if remark:
        reason += f"; {remark}"
    unseen = task.unseen(problem) if task.unseen else ""
    if unseen:
        reason += f"; the model has seen no problem with {unseen}"
    return Judgement(verdict.correct, reason, thinking, answer)


def unknown_words(prompt: str) -> str:
    """Says which words of a prompt are in no small talk that the model learned from; "" if all are."""
    known, unknown = words_of_small_talk(), []
    for word in prompt.split():
        if not word.isdigit() and word not in known and word not in unknown:
            unknown.append(word)
    if not unknown:
        return ""
    shown = [word if len(word) <= LONGEST_SHOWN else f"{word[:LONGEST_SHOWN]}..." for word in unknown[:3]]
    return f"; the model has read no small talk with {' or '.join(shown)}"


def verdict_on_talk(prompt: str, answer: str) -> str:
    """Returns what there is to say about an answer to small talk without a secret.

    If it has one number, and a word such as lucky and none such as not, the answer should tell that number.
    """
    numbers, words = re.findall("[0-9]+", prompt), prompt.split()
    is_open = any(cue in words for cue in OPEN_CUES)
    is_negated = any(word in NEGATIONS for word in words)
    if len(numbers) != 1 or not is_open or is_negated:
        reason = "no secret to tell; other small talk is not judged"
        if numbers and not is_open:
            reason += f" ({' or '.join(SECRET_CUES)} would make a number secret)"
        return reason
    number = numbers[0]
    if number in answer.split():
        return f"{number} is not secret, and it was told"
    reason = f"{number} is not secret, but it was not told"
    if len(number) != 4 or len(set(number)) < 4 or number[0] == "0":       # see `draw_chat`
        reason += "; the model has seen only numbers of four different digits"
    return reason
