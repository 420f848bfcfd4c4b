"""What there is to say about an answer: one verdict with its reason, for sample.py and for the playground."""

from typing import NamedTuple

from minireason.tasks import TASKS, Problem
from minireason.tasks.chat import ChatPrompt
from minireason.tasks.harm import verdict_on_secret
from minireason.tasks.prompts import did_you_mean
from minireason.verifier import split_completion, verify


class Judgement(NamedTuple):
    correct: bool | None    # None for chat, which is not judged
    reason: str
    thinking: str           # the whole text if it is not well formed
    answer: str | None      # None if it is not well formed


def explain(problem: Problem | ChatPrompt, text: str, cut_off: str = "") -> Judgement:
    """The verifier's verdict on a completion, or for chat whether a secret was told.

    `cut_off` says where the completion was cut off before its end token; "" if it was not.
    """
    thinking, answer = split_completion(text) or (text, None)
    if problem.task == "chat":
        reason = "no secret to tell; other small talk is not judged"
        if problem.secret:
            reason = verdict_on_secret(problem.secret, text)
        if answer is None and cut_off:
            reason += f"; {cut_off}"
        return Judgement(None, reason + did_you_mean(problem.prompt), thinking, answer)
    task, verdict = TASKS[problem.task], verify(problem, text)
    reason = verdict.reason
    if answer is None and cut_off:
        reason = cut_off
    remark = task.remark(problem) if task.remark and not verdict.correct else ""
    if remark:
        reason += f"; {remark}"
    unseen = task.unseen(problem) if task.unseen else ""
    if unseen:
        reason += f"; the model has seen no problem with {unseen}"
    return Judgement(verdict.correct, reason, thinking, answer)
