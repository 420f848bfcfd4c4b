"""What a completion does, counted exactly from its text: thinking, trying, checking, repairing, mixing.

tasks/trace.py says what a step and a try are, with a picture; the task says which of them are right.
    thinks        at least one step with a value: 36/7=6 has none. Without any it may still have tries
    retry         another try after one that was stated as failed
    giving up     an answer after a failed try, without another try
    false yes     a candidate that was stated as a success and is not one
    repair        a step that is wrong, and the same question answered right before the end
    mixing        words of both languages in the thinking
    readable      well formed, one language, and the answer follows from the last step
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from minireason.tasks import TASKS
from minireason.tasks.problem import Problem
from minireason.tasks.trace import WORD, Step, split_tries
from minireason.tasks.words import ENGLISH, SPANISH
from minireason.verifier import split_completion

BIN = 10        # tokens: the histogram of lengths counts in tens


@dataclass
class Behaviour:
    well_formed: bool
    thinks: bool = False
    num_steps: int = 0
    num_wrong_steps: int = 0        # those without a value among them
    num_repairs: int = 0
    num_tries: int = 0
    num_distinct_tries: int = 0
    num_failed_tries: int = 0       # tries stated as failed
    num_retries: int = 0            # of these, followed by another try
    num_yes: int = 0                # tries stated as a success
    num_false_yes: int = 0          # of these, tries that do not succeed
    first_try_failed: bool = False
    mixed: bool = False
    readable: bool = False


def observe(problem: Problem, completion: str) -> Behaviour:
    """Counts what one completion does. Returns a Behaviour; never raises."""
    task, parts = TASKS[problem.task], split_completion(completion)
    thinking = parts[0] if parts else completion
    behaviour = Behaviour(well_formed=parts is not None)
    steps = task.find_steps(thinking)
    behaviour.thinks = any(step.right is not None for step in steps)
    behaviour.num_steps = len(steps)
    behaviour.num_wrong_steps = sum(not step.right for step in steps)
    behaviour.num_repairs = count_repairs(steps)
    if task.candidate is not None:      # else the task's thoughts have no tries
        count_tries(problem, thinking, behaviour)
    words = set(WORD.findall(thinking))
    behaviour.mixed = bool(words & ENGLISH) and bool(words & SPANISH)
    if parts and not behaviour.mixed:
        behaviour.readable = follows(problem, thinking, parts[1], steps)
    return behaviour


def follows(problem: Problem, thinking: str, answer: str, steps: list[Step]) -> bool:
    """Whether the answer is what the thinking arrived at: by the task's rule, or from its last step."""
    rule = TASKS[problem.task].follows
    if rule is not None:
        return rule(problem, thinking, answer)
    return not steps or answer == steps[-1].result


def count_repairs(steps: list[Step]) -> int:
    """How many wrong steps are followed by the same question with a right result."""
    num_repairs = 0
    answered_later = set()
    for step in reversed(steps):        # from the end, so that it is known what is still to come
        if step.right:
            answered_later.add(step.question)
        elif step.question in answered_later:
            num_repairs += 1
    return num_repairs


def count_tries(problem: Problem, thinking: str, behaviour: Behaviour) -> None:
    """Sets the counts of tries, of their verdicts and of retries in `behaviour`."""
    task, tries = TASKS[problem.task], split_tries(thinking)
    candidates = {task.candidate(problem, attempt.text) for attempt in tries}
    behaviour.num_tries = len(tries)
    behaviour.num_distinct_tries = len(candidates)
    for i, attempt in enumerate(tries):
        if attempt.verdict is False:
            behaviour.num_failed_tries += 1
            if i + 1 < len(tries):
                behaviour.num_retries += 1
        elif attempt.verdict is True:
            behaviour.num_yes += 1
            if not task.succeeds(problem, attempt.text):
                behaviour.num_false_yes += 1
    behaviour.first_try_failed = bool(tries) and tries[0].verdict is False


def share(numerator: float, denominator: float) -> float | None:
    return numerator / denominator if denominator else None


def total(behaviours: Iterable[Behaviour], name: str) -> int:
    """The sum of one count over some completions."""
    return sum(getattr(behaviour, name) for behaviour in behaviours)


def summarize(behaviours: list[Behaviour], correct: Sequence[bool],
              lengths: Sequence[int]) -> dict[str, float | None]:
    """Rates over many completions: a dict of name -> number, None where there is nothing to divide by."""
    thinking = []               # the behaviours of those that think
    thinking_tokens = 0         # in all of these
    num_gave_up = 0
    after_failure = []          # is the answer right, although the first try failed?
    num_won_by_retrying = 0
    for behaviour, is_correct, length in zip(behaviours, correct, lengths):
        if not behaviour.thinks:
            continue
        thinking.append(behaviour)
        thinking_tokens += length
        # more failures than retries: its last try failed, and yet it answered
        if behaviour.well_formed and behaviour.num_failed_tries > behaviour.num_retries:
            num_gave_up += 1
        if behaviour.first_try_failed:
            after_failure.append(is_correct)
            if behaviour.num_retries and is_correct:
                num_won_by_retrying += 1
    number = len(behaviours)
    return {
        "well_formed": share(total(behaviours, "well_formed"), number),
        "thinks": share(len(thinking), number),
        "tokens": share(sum(lengths), number),
        "tokens_thinking": share(thinking_tokens, len(thinking)),
        "tries": share(total(behaviours, "num_tries"), number),
        "tries_thinking": share(total(thinking, "num_tries"), len(thinking)),
        "distinct_tries": share(total(behaviours, "num_distinct_tries"), number),
        "retry_after_failure": share(total(behaviours, "num_retries"), total(behaviours, "num_failed_tries")),
        "giving_up": share(num_gave_up, len(thinking)),
        "false_yes": share(total(behaviours, "num_false_yes"), total(behaviours, "num_yes")),
        "first_try_failed": share(len(after_failure), len(thinking)),
        "accuracy_after_failed_try": share(sum(after_failure), len(after_failure)),
        "won_by_retrying": share(num_won_by_retrying, sum(correct)),     # of the right answers
        "wrong_steps": share(total(behaviours, "num_wrong_steps"), total(behaviours, "num_steps")),
        "repairs": share(total(behaviours, "num_repairs"), total(behaviours, "num_wrong_steps")),
        "mixing": share(total(thinking, "mixed"), len(thinking)),
        "readable": share(total(behaviours, "readable"), number),
    }


def distributions(behaviours: Sequence[Behaviour], correct: Sequence[bool], lengths: Sequence[int],
                  ended: Sequence[bool], most_tries: int | None = None) -> dict:
    """How many tries and tokens the completions have: whole histograms, where `summarize` has means.

    Returns {name: histogram or number}. A histogram is {"0": how many, "1": how many, ...}. Tokens are
    counted in tens: "20" is from 20 to 29. Histograms of tries hold only completions that think.
    The argument `most_tries` is the most tries that a text of the corpus or a golden example has: "beyond" is
    the share of completions with more, and "right_beyond" the same among the right ones. (The stage rejection
    imitates the model's own answers, which may have more.) "most_tries" of the result is the most tries of
    these completions.
    """
    thinking = [behaviour for behaviour in behaviours if behaviour.thinks]
    right = [behaviour for behaviour, is_correct in zip(behaviours, correct) if is_correct]
    right_thinking = [behaviour for behaviour in right if behaviour.thinks]
    right_lengths = [length for length, is_correct in zip(lengths, correct) if is_correct]
    return {
        "tries": histogram(behaviour.num_tries for behaviour in thinking),
        "tries_right": histogram(behaviour.num_tries for behaviour in right_thinking),
        "tokens": histogram(length - length % BIN for length in lengths),
        "tokens_right": histogram(length - length % BIN for length in right_lengths),
        "distinct_tries_thinking": share(total(thinking, "num_distinct_tries"), len(thinking)),
        "most_tries": max((behaviour.num_tries for behaviour in behaviours), default=0),
        "longest": max(lengths, default=0),
        "longest_right": max(right_lengths, default=0),
        "cut_off": share(len(ended) - sum(ended), len(ended)),
        "beyond": share_beyond(behaviours, most_tries),
        "right_beyond": share_beyond(right, most_tries),
    }


def histogram(values: Iterable[int]) -> dict[str, int]:
    """How often each value is there, in order. The keys are texts, as JSON would make them."""
    return {str(value): number for value, number in sorted(Counter(values).items())}


def share_beyond(behaviours: Sequence[Behaviour], most_tries: int | None) -> float | None:
    """The share with more tries than `most_tries`; None where that is not known."""
    if most_tries is None:
        return None
    num_beyond = sum(behaviour.num_tries > most_tries for behaviour in behaviours)
    return share(num_beyond, len(behaviours))
