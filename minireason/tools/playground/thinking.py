"""What one request of the page computes. Each function hands its results to `send`, one dict at a time.

`send` raises when the reader has left, and that ends the work: a page that is closed costs nothing more.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from minireason.batch import Batch
from minireason.config import Config, RLConfig
from minireason.inference import MAX_ANSWER, NUM_TAGS, answer_all, answer_within, vote
from minireason.model import GPT
from minireason.policy import completion_hidden
from minireason.sampling import generate
from minireason.stats import wilson_interval
from minireason.tasks import TASKS, Problem, test_problems
from minireason.tasks.chat import ChatPrompt
from minireason.tokenizer import Tokenizer
from minireason.tools.page import find_marks
from minireason.tools.verdict import explain
from minireason.upkeep.seeding import derive_seed
from minireason.verifier import verify

Send = Callable[[dict], None]       # writes one event, a dict, to the browser

MAX_NEW_TOKENS = 256
NUM_ALTERNATIVES = 6                            # other tokens that are shown for each one
VOTES_AT_ONCE = 16                              # answers per batch
MAX_BUDGET = RLConfig.max_new_tokens            # tokens of thinking: RL trains on no longer answers
BUDGETS = (0, 8, 16, 24, 32, 48, 64, 96, 128, 160, MAX_BUDGET)      # that are measured


@dataclass
class Speaker:
    """A model, and what has to be known to let it speak."""
    model: GPT
    tokenizer: Tokenizer
    config: Config = field(default_factory=Config)      # the settings of its run


def token_text(tokenizer: Tokenizer, token: int) -> str:
    """A token as text. A byte that is part of a longer character is shown as a question mark."""
    return tokenizer.encoding.decode_single_token_bytes(token).decode(errors="replace")


def room_for(speaker: Speaker, ids: list[int], wanted: int) -> int:
    """How many of the `wanted` new tokens fit behind `ids`. Raises ValueError if none fits."""
    room = speaker.model.config.max_length - len(ids)
    if room < 1:
        raise ValueError("the prompt is longer than this model can read")
    return min(wanted, room)


# -----------------------------------------------------------------------------
# One answer

def think(speaker: Speaker, problem: Problem | ChatPrompt, written: list[int], temperature: float, seed: int,
          budget: int | None, send: Send) -> None:
    """Sends one answer token by token, then its probabilities and the verdict.

    `written` are the first tokens of the answer, if the reader has chosen some. If there are none, a `budget`
    limits the tokens of thinking: then the model has to answer.
    """
    tokenizer, answer, sent_marks = speaker.tokenizer, list(written), None

    def show(token: int) -> None:
        nonlocal sent_marks
        event = {"id": token, "text": token_text(tokenizer, token)}
        marks = marks_of(problem, tokenizer.decode(answer))
        if marks != sent_marks:
            sent_marks = event["marks"] = marks
        send(event)

    def on_token(row: int, token: int) -> None:
        answer.append(token)
        show(token)

    for i, token in enumerate(written):     # the last one is what the reader chose
        send({"id": token, "text": token_text(tokenizer, token), "chosen": i == len(written) - 1})
    prompt_ids = tokenizer.encode_prompt(problem.prompt)
    if budget is not None and not written:
        room_for(speaker, prompt_ids, 1)    # raises ValueError if the prompt is too long
        answer_within(speaker.model, tokenizer, [problem.prompt], budget, seed, temperature, on_token)
    elif len(written) < MAX_NEW_TOKENS and written[-1:] != [tokenizer.eos_id]:
        # what was written does not end the answer, so the model goes on
        limit = room_for(speaker, prompt_ids + written, MAX_NEW_TOKENS - len(written))
        generate(speaker.model, [prompt_ids + written], limit, temperature, seed, eos_id=tokenizer.eos_id,
                 on_token=on_token)
    text, ended = tokenizer.decode(answer), answer[-1] == tokenizer.eos_id
    send({"marks": marks_of(problem, text),
          "probabilities": probabilities(speaker, prompt_ids, answer, temperature),
          "verdict": verdict_on(problem, text, len(answer), ended),
          "tokens": len(answer)})


@torch.no_grad()
def probabilities(speaker: Speaker, prompt_ids: list[int], answer: list[int],
                  temperature: float) -> list[dict]:
    """For each token of an answer: its probability, and the most likely tokens in its place.

    Greedy answers are shown with the probabilities at temperature 1.
    """
    model, tokenizer = speaker.model, speaker.tokenizer
    length = len(answer)
    # A Batch has to have old_logprobs and rewards. They are not read here, so they are 0.
    batch = Batch(ids=torch.tensor([prompt_ids + answer]), prompt_lengths=torch.tensor([len(prompt_ids)]),
                  completion_ids=torch.tensor([answer]), completion_mask=torch.ones(1, length),
                  old_logprobs=torch.zeros(1, length), rewards=torch.zeros(1))
    logits = model.head(completion_hidden(model, batch))[0]                      # (L, V)
    distribution = torch.softmax(logits / (temperature or 1.0), dim=-1)          # (L, V)
    best, ids = distribution.topk(NUM_ALTERNATIVES, dim=-1)                      # (L, NUM_ALTERNATIVES)
    shown = []
    for t, token in enumerate(answer):
        others = []
        for p, other in zip(best[t].tolist(), ids[t].tolist()):
            others.append({"id": other, "text": token_text(tokenizer, other), "p": round(p, 4)})
        shown.append({"p": round(distribution[t, token].item(), 4), "others": others})
    return shown


def marks_of(problem: Problem | ChatPrompt, text: str) -> list[list]:
    """What behaviour.py finds in an answer, finished or not: [[start, end, kind], ...] in characters.

    The kinds are those of the run's page, and "right" for a step that evaluates right.
    """
    if problem.task == "chat":
        return []
    start = text.find("<think>") + len("<think>") if "<think>" in text else 0
    thinking = text[start:].split("</think>")[0]
    marks = find_marks(problem, thinking)
    taken = {(begin, end) for begin, end, _ in marks}
    for step in TASKS[problem.task].find_steps(thinking):
        if step.right and step.span not in taken:
            marks.append((*step.span, "right"))
    return [[start + begin, start + end, kind] for begin, end, kind in sorted(marks)]


def verdict_on(problem: Problem | ChatPrompt, text: str, num_tokens: int, ended: bool) -> dict:
    """The verdict with its reason, in the words of sample.py. `correct` is None for chat."""
    judgement = explain(problem, text, "" if ended else f"cut off at {num_tokens} tokens")
    return {"correct": judgement.correct, "reason": judgement.reason, "answer": judgement.answer}


def share(right: int, of: int) -> dict:
    """{"right", "of", "low", "high"}: two counts, and Wilson's 95% interval of the share right / of."""
    low, high = wilson_interval(right, of)
    return {"right": right, "of": of, "low": low, "high": high}


# -----------------------------------------------------------------------------
# More thought, and many problems

def tell_progress(tokenizer: Tokenizer, done: int, of: int, send: Send, what: str = "") -> Callable:
    """Returns an `on_token` for sampling: it sends a text that says how many of `of` answers have ended.

    `done` of them had ended before. `what` begins the text.
    """
    num_ended = done

    def count_ended(row: int, token: int) -> None:
        nonlocal num_ended
        if token == tokenizer.eos_id:
            num_ended += 1
            send({"progress": f"{what}{num_ended} of {of} answers"})

    return count_ended


def vote_on(speaker: Speaker, problem: Problem, number: int, temperature: float, seed: int,
            send: Send) -> None:
    """Samples `number` answers, and sends the votes after each batch of them."""
    texts, num_right = [], 0
    limit = room_for(speaker, speaker.tokenizer.encode_prompt(problem.prompt), MAX_NEW_TOKENS)
    for start in range(0, number, VOTES_AT_ONCE):
        size = min(VOTES_AT_ONCE, number - start)
        answers = answer_all(speaker.model, speaker.tokenizer, [problem.prompt] * size, limit,
                             derive_seed(seed, "votes", start), temperature,
                             tell_progress(speaker.tokenizer, start, number, send))
        texts += [text for text, _ in answers]
        num_right += sum(verify(problem, text).correct for text, _ in answers)
        winner, votes = vote(problem, texts)      # the index of a text, {answer: votes}
        bars = []
        for answer, count in sorted(votes.items(), key=lambda item: -item[1])[:12]:      # the most frequent
            # the verifier reads whole completions, so the answer gets its tags
            correct = verify(problem, f"<think></think><answer>{answer}</answer>").correct
            bars.append({"answer": answer, "votes": count, "correct": correct})
        send({"bars": bars, "no_form": len(texts) - sum(votes.values()), **share(num_right, len(texts)),
              "winner_is_right": bool(votes) and verify(problem, texts[winner]).correct})


def try_budgets(speaker: Speaker, problem: Problem, number: int, temperature: float, seed: int,
                send: Send) -> None:
    """For each budget of thinking: how many of `number` answers are right, and how long they are."""
    prompt_ids = speaker.tokenizer.encode_prompt(problem.prompt)
    for budget in BUDGETS:
        if budget + NUM_TAGS + MAX_ANSWER > room_for(speaker, prompt_ids, MAX_NEW_TOKENS):
            break       # no room for this budget, nor for larger ones
        answers = answer_within(speaker.model, speaker.tokenizer, [problem.prompt] * number, budget,
                                derive_seed(seed, "budget", budget), temperature,
                                tell_progress(speaker.tokenizer, 0, number, send, f"budget {budget}: "))
        num_right = sum(verify(problem, text).correct for text, _ in answers)
        send({"budget": budget, "tokens": sum(length for _, length in answers) / number,
              **share(num_right, number)})


def score(speaker: Speaker, task: str, number: int, seed: int, send: Send) -> None:
    """Sends how many of `number` held-out problems get a right answer at temperature 1, after each 25."""
    levels, limit = speaker.config.tasks.levels[task], speaker.config.evaluate.max_new_tokens
    problems = test_problems(task, levels, number, seed)
    num_right = 0
    for start in range(0, number, 25):      # in parts: the page shows the result so far
        some = problems[start:start + 25]
        answers = answer_all(speaker.model, speaker.tokenizer, [problem.prompt for problem in some], limit,
                             derive_seed(seed, "score", start),
                             on_token=tell_progress(speaker.tokenizer, start, number, send))
        for problem, (text, _) in zip(some, answers):
            num_right += verify(problem, text).correct
        send({"levels": list(levels), **share(num_right, start + len(some))})
