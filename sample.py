"""Talk to a trained model.

    python sample.py "make 45 from 3 6 8"               a problem: its thinking, its answer, the verdict
    python sample.py "hello my name is ana"               or a conversation
    python sample.py                                      asks for prompts until `quit` or an empty line
    python sample.py "make 42 from 3 8 6" --votes 16      sixteen answers and a vote
    python sample.py "compute 7*7+8*3-9" --budget 20      thinks for 20 tokens, then has to answer
    python sample.py --file problems.txt                  one prompt a line, one JSON object a line

Greedy unless --votes or --temperature says otherwise. Exit codes are those of minireason/upkeep/command.py.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import NamedTuple, TextIO

from minireason.inference import MAX_ANSWER, NUM_TAGS, answer_all, answer_within, vote
from minireason.model import GPT
from minireason.run import PRETRAINED, STAGES, last_stage, newest_model, open_model
from minireason.tasks import TASKS, Problem
from minireason.tasks.chat import ChatPrompt
from minireason.tasks.prompts import read_prompt
from minireason.tokenizer import get_tokenizer, printable
from minireason.tools.flags import Parser, like, number
from minireason.tools.verdict import explain
from minireason.upkeep.command import BadInput, exit_codes, visible
from minireason.upkeep.parallel import pick_device

MAX_NEW_TOKENS = 256
LOWEST_TEMPERATURE = 1e-4       # above 0: with less, logits become infinite
MOST_CHARACTERS = 10_000        # of a line of --file; no prompt that the model can read has as many
BATCH = 256                                                     # answers per batch


class Reply(NamedTuple):
    text: str                       # the whole completion
    num_tokens: int                 # summed over all votes
    votes: dict[str, int] | None    # {answer: votes}; None without --votes
    cut_off: str = ""               # where it was cut off before its end token; "" if it was not


class Request(NamedTuple):
    prompt: str                                # as it was written
    problem: Problem | ChatPrompt | None       # None if it cannot be read
    error: str = ""                            # why it cannot be read


# -----------------------------------------------------------------------------
# Which model, and how it is asked

@exit_codes("sample.py", less_memory="ask for fewer --votes or lower --max-new-tokens")
def main(argv: list[str] | None = None) -> int | None:
    args = parse(argv)
    if args.problem is not None:
        read_prompt(args.problem)       # first, so that a typing error is reported at once
    lines = open_lines(args.file) if args.file is not None else None
    model = choose_model(args)
    if lines is not None:
        return say_file(model, lines, args)
    if args.problem is not None:
        return say(model, args.problem, args)
    converse(model, args)


def choose_model(args: argparse.Namespace) -> GPT:
    """The model of --run and --stage; by default the newest finished one. Says which one it chose."""
    run, stage = args.run, args.stage
    if run is None:
        run, stage = newest_model(stage)
    model, state = open_model(run, stage or last_stage(run), pick_device(args.device))
    place = "the weights in the repository" if run == PRETRAINED else f"{run}, stage {state['stage']}"
    if not state["done"]:
        print(visible(f"model     {place}, unfinished, at step {state['iteration']}"), file=sys.stderr)
    elif args.run is None and Path("runs").is_dir():
        hint = "" if run == PRETRAINED else f"; --run {PRETRAINED} for the one in the repository"
        print(visible(f"model     {place}{hint}"), file=sys.stderr)
    return model


# -----------------------------------------------------------------------------
# One prompt on the terminal, or many from a file

def say(model: GPT, prompt: str, args: argparse.Namespace) -> None:
    """Answers one prompt on the terminal, token by token. Raises ValueError on one that cannot be read."""
    problem, tokenizer = read_prompt(prompt), get_tokenizer()
    if args.json:
        [answer] = ask(model, [problem], args)
        print(json.dumps(describe(prompt, problem, answer)), flush=True)
        return
    is_terminal = sys.stdout and sys.stdout.isatty()
    dim, plain = ("\033[2m", "\033[0m") if is_terminal else ("", "")
    labels = {"<think>": f"thinking  {dim}", "</think>": plain, "<answer>": "\nanswer    ", "</answer>": ""}

    def show(row, token):
        if token != tokenizer.eos_id:
            text = tokenizer.encoding.decode([token])
            print(labels.get(text, printable(text)), end="", flush=True)

    try:
        [answer] = ask(model, [problem], args, show if args.votes == 1 else None)
    finally:
        print(plain, end="", flush=True)        # after an error or Ctrl-C, too
    result = describe(prompt, problem, answer)
    if args.votes > 1:
        ordered = sorted(answer.votes.items(), key=lambda item: -item[1])
        parts = [f"{count}x {printable(text)}" for text, count in ordered[:6]]
        num_more = args.votes - sum(count for _, count in ordered[:6])
        if num_more:
            parts.append(f"{num_more}x another answer or none")
        print("votes     " + ", ".join(parts))
        print(f"thinking  {printable(result['thinking'])}")
        print(f"answer    {printable(result['answer'] or '')}", end="")
    reason = printable(result["reason"])
    verdict = {True: "right" + reason.removeprefix("correct"), False: f"wrong: {reason}", None: reason}
    of_all = f" in {args.votes} answers" if args.votes > 1 else ""
    print(f"\nverdict   {verdict[result['correct']]} ({answer.num_tokens} tokens{of_all})", flush=True)


def converse(model: GPT, args: argparse.Namespace) -> None:
    """Reads prompts from the terminal until `quit`, an empty line or the end of the input."""
    editor = line_editor()
    example = next(iter(TASKS.values())).example
    print(f"Ask for example: {example}. Or type help, or quit.", file=sys.stderr)
    while True:
        try:
            prompt = input("> ").strip()
            if not sys.stdin.isatty():
                print(visible(prompt))      # from a pipe or a file; a terminal shows what is typed
        except EOFError:
            print()
            return
        except KeyboardInterrupt:
            if editor is None or not editor.get_line_buffer():
                raise
            print()         # a line that is half typed is dropped, as in a shell
            continue
        if prompt.lower() in ("", "quit", "exit"):
            return
        if prompt.lower() in ("help", "?"):
            print(help_text(), file=sys.stderr)
            continue
        try:
            say(model, prompt, args)
        except KeyboardInterrupt:       # ends this answer; at an empty prompt, the program
            print("\nstopped", file=sys.stderr)
        except ValueError as error:
            print(visible(error), file=sys.stderr)


def line_editor() -> ModuleType | None:
    """Gives `input` a history and lines to edit. Returns the module that does; None without a terminal."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return None
    try:
        import readline
    except ImportError:     # Windows has its own
        return None
    return readline


def help_text() -> str:
    lines = ["Type a problem, such as"]
    lines += [f"    {task.example}" for task in TASKS.values()]
    lines += ["or a sentence, such as", "    hello my name is ana", "    the secret code is 4321 what is it",
              "Ctrl-C ends an answer. quit, exit, Ctrl-D or an empty line end the conversation."]
    return "\n".join(lines)


def say_file(model: GPT, lines: TextIO, args: argparse.Namespace) -> int:
    """Reads one prompt a line, and prints one JSON object a line in the same order. Returns the exit code."""
    batch, has_bad_prompt = [], False
    for line in bounded(lines):
        request = read_request(model, line, args)
        has_bad_prompt = has_bad_prompt or request.problem is None
        batch.append(request)
        if len(batch) * args.votes >= BATCH:
            say_batch(model, batch, args)
            batch = []
    say_batch(model, batch, args)
    return 2 if has_bad_prompt else 0


def open_lines(name: str) -> TextIO:
    """Opens a file, or standard input for "-". Bytes that are not UTF-8 are replaced. Raises BadInput."""
    if name != "-":
        try:
            return open(name, encoding="utf-8-sig", errors="replace")
        except OSError as error:
            raise BadInput(f"--file {name}: {error.strerror}") from None
    if hasattr(sys.stdin, "reconfigure"):
        sys.stdin.reconfigure(encoding="utf-8-sig", errors="replace")
    return sys.stdin


def bounded(file: TextIO) -> Iterator[str]:
    """The lines of a file. What follows the first MOST_CHARACTERS of a line is left out."""
    while line := file.readline(MOST_CHARACTERS):
        rest = line
        while rest and not rest.endswith("\n"):
            rest = file.readline(MOST_CHARACTERS)
        yield line


def read_request(model: GPT, line: str, args: argparse.Namespace) -> Request:
    """Turns one line of a file into a Request; with an error if it cannot be read or answered."""
    prompt = line.rstrip("\r\n")
    try:
        problem = read_prompt(prompt)
        new_tokens_for(model, problem, args)        # here, so that one long prompt does not stop a batch
        return Request(prompt, problem)
    except ValueError as error:
        return Request(prompt, None, str(error))


def say_batch(model: GPT, batch: list[Request], args: argparse.Namespace) -> None:
    """Answers the requests that have a problem. Prints one JSON object for each request, in order."""
    problems = [request.problem for request in batch if request.problem is not None]
    answers = iter(ask(model, problems, args) if problems else [])
    for request in batch:
        if request.problem is None:
            result = {"prompt": request.prompt, "thinking": None, "answer": None, "correct": None,
                      "reason": request.error, "tokens": 0}
        else:
            result = describe(request.prompt, request.problem, next(answers))
        print(json.dumps(result), flush=True)


# -----------------------------------------------------------------------------
# An answer

def ask(model: GPT, problems: list, args: argparse.Namespace,
        on_token: Callable[[int, int], None] | None = None) -> list[Reply]:
    """The model's answer to each problem, in order. Raises BadInput on a prompt that is too long."""
    indices = {}        # {limit of new tokens: indices of its problems}: these are answered together
    for i, problem in enumerate(problems):
        indices.setdefault(new_tokens_for(model, problem, args), []).append(i)
    answers = {}
    for limit, rows in indices.items():
        group = [problems[i] for i in rows]
        answers.update(zip(rows, ask_within(model, group, limit, args, on_token)))
    return [answers[i] for i in range(len(problems))]


def new_tokens_for(model: GPT, problem: Problem | ChatPrompt, args: argparse.Namespace) -> int:
    """How long the answer may become: --max-new-tokens, or less if the prompt leaves less room.

    Raises BadInput if it leaves too little.
    """
    prompt_length = len(get_tokenizer().encode_prompt(problem.prompt))
    room = model.config.max_length - prompt_length
    needed = 1 if args.budget is None else args.budget + NUM_TAGS + 1
    if room < needed:
        raise BadInput(f"this model reads at most {model.config.max_length} tokens: the prompt is "
                       f"{prompt_length}, and the answer needs {needed}")
    return min(room, args.max_new_tokens)


def ask_within(model: GPT, problems: list, max_new_tokens: int, args: argparse.Namespace,
               on_token: Callable[[int, int], None] | None = None) -> list[Reply]:
    """Answers each problem in at most `max_new_tokens` tokens; with --votes, by the winner of a vote.

    Calls on_token(row, token) for each token. Problem i has the rows from i * votes on.
    """
    tokenizer, ended = get_tokenizer(), set()      # `ended`: rows that wrote their end token

    def hear(row: int, token: int) -> None:
        if token == tokenizer.eos_id:
            ended.add(row)
        if on_token:
            on_token(row, token)

    temperature = args.temperature
    if temperature is None:
        temperature = 1.0 if args.votes > 1 else 0.0
    prompts = []
    for problem in problems:
        prompts += [problem.prompt] * args.votes
    if args.budget is None:
        completions = answer_all(model, tokenizer, prompts, max_new_tokens, args.seed, temperature, hear)
    else:
        completions = answer_within(model, tokenizer, prompts, args.budget, args.seed, temperature, hear,
                                    max_new_tokens)
    answers = []
    for i, problem in enumerate(problems):
        candidates = completions[i * args.votes:(i + 1) * args.votes]
        winner, votes = vote(problem, [text for text, _ in candidates])
        text, length = candidates[winner]
        cut_off = ""
        if i * args.votes + winner not in ended:
            cut_off = f"cut off at {length} tokens"
            if max_new_tokens < args.max_new_tokens:
                cut_off += f", since the model reads at most {model.config.max_length}"
        num_tokens = sum(number for _, number in candidates)
        answers.append(Reply(text, num_tokens, votes if args.votes > 1 else None, cut_off))
    return answers


def describe(prompt: str, problem: Problem | ChatPrompt, answer: Reply) -> dict:
    """The JSON object of one answer."""
    judgement = explain(problem, answer.text, answer.cut_off)
    result = {"prompt": prompt, "thinking": judgement.thinking, "answer": judgement.answer,
              "correct": judgement.correct, "reason": judgement.reason, "tokens": answer.num_tokens}
    if answer.votes:
        result["votes"] = answer.votes
    return result


# -----------------------------------------------------------------------------
# The command line

def parse(argv: list[str] | None) -> argparse.Namespace:
    """Reads the command line, and sets max_new_tokens. Raises BadInput if flags contradict each other."""
    parser = Parser("Talk to a trained model.")
    parser.add_argument("problem", nargs="?", help='such as "make 45 from 3 6 8"; else you are asked')
    parser.add_argument("--run", help=f"folder of a run, or {PRETRAINED}; by default the newest in runs/ "
                        "that is no smoke run")
    parser.add_argument("--stage", help=f"{', '.join(STAGES)}; by default the last one trained")
    parser.add_argument("--votes", type=number(int, 1, 1024), default=1,
                        help="answers to sample; the most frequent one wins")
    parser.add_argument("--budget", type=number(int, 0, MAX_NEW_TOKENS - 1),
                        help="tokens of thinking; then an answer is forced")
    parser.add_argument("--temperature", type=number(float, 0, 10),
                        help="0 is greedy; by default 0, or 1 with --votes")
    parser.add_argument("--max-new-tokens", type=number(int, 1, MAX_NEW_TOKENS),
                        help="longest completion: thinking, tags and answer; "
                        f"by default {MAX_NEW_TOKENS}, or --budget and {MAX_ANSWER} more for the answer")
    parser.add_argument("--seed", type=like("seed"), default=0, help="of sampling")
    parser.add_argument("--file", help="one prompt a line (- for standard input), one JSON object a line")
    parser.add_argument("--json", action="store_true", help="print the answer as one JSON object")
    parser.add_argument("--device", default="cpu", help="cpu (default), cuda or mps")
    args = parser.parse_args(argv)
    longest = MAX_NEW_TOKENS if args.max_new_tokens is None else args.max_new_tokens
    if args.budget is not None and args.max_new_tokens is None:
        longest = args.budget + NUM_TAGS + MAX_ANSWER
    if args.budget is not None and longest <= args.budget + NUM_TAGS:
        raise BadInput(f"--max-new-tokens {longest} leaves no answer after --budget {args.budget} "
                       f"and {NUM_TAGS} tags: lower --budget or raise --max-new-tokens")
    args.max_new_tokens = longest
    if args.votes > 1 and args.temperature == 0:
        raise BadInput("greedy answers are all the same: leave out --temperature 0 or --votes")
    if args.temperature and args.temperature < LOWEST_TEMPERATURE:
        raise BadInput(f"--temperature must be 0, or a number from {LOWEST_TEMPERATURE} to 10")
    if args.file is not None and args.problem is not None:
        raise BadInput("give a problem or --file, not both")
    if args.stage not in (None, *STAGES):
        raise BadInput(f"unknown stage {args.stage!r}: choose from {', '.join(STAGES)}")
    return args


if __name__ == "__main__":
    sys.exit(main())
