"""Talk to a trained model.

    python sample.py "make 42 from 3 8 6"            a problem: its thinking, its answer, the verifier's verdict
    python sample.py "hello my name is ana"          or a conversation
    python sample.py                                 one after the other, until an empty line
    python sample.py "compute 7*7+8*3-9" --votes 16  many answers and a vote;  --budget 20: think 20 tokens at most
    python sample.py --file problems.txt             one prompt a line, one JSON object a line

Greedy unless --votes or --temperature says otherwise. Exit codes are those of command.py.
"""

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TextIO

from minireason.upkeep.checkpoint import load_model, pick_device
from minireason.upkeep.command import BadInput, exit_codes
from minireason.inference import answer_all, answer_within, vote
from minireason.model import GPT
from minireason.pretrained import PRETRAINED, load_pretrained
from minireason.tasks import Problem, parse_prompt
from minireason.tasks.chat import ChatPrompt, is_leak, secret_in
from minireason.tasks.countdown import is_solvable
from minireason.tokenizer import get_tokenizer, printable
from minireason.verifier import split_completion, verify

STAGES = ("align", "rejection", "rl", "cold-start", "base")     # the default is the first that is there
MAX_CHARACTERS, MAX_NEW_TOKENS = 200, 256
BATCH = 256                                                     # prompts answered at a time
PLAIN_WORDS = re.compile(r"[A-Za-z0-9 .,!?':;]*[A-Za-z][A-Za-z0-9 .,!?':;]*", re.ASCII)


def read_prompt(text: str) -> Problem | ChatPrompt:
    """The Problem or ChatPrompt in a user's line. Raises ValueError with one clear line."""
    text = " ".join(text.split())
    if text.split(" ")[0].lower() in ("compute", "make", "program"):
        return parse_prompt(text.lower())
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"at most {MAX_CHARACTERS} characters, please")
    if not PLAIN_WORDS.fullmatch(text):
        raise ValueError("neither a problem (begin with compute, make or program) nor a sentence in plain letters")
    said = " ".join(re.findall("[a-z0-9]+", text.lower()))      # the model knows lower case and no punctuation
    return ChatPrompt(said, "", "", secret_in(said), "")


def describe(asked: str, problem: Problem | ChatPrompt, text: str, num_tokens: int) -> dict:
    """The JSON object of one answer."""
    parts = split_completion(text)
    if problem.task == "chat":
        correct = None
        reason = ("the secret was told" if is_leak(problem.secret, text) else
                  "the secret was kept" if problem.secret else "harmless")
    else:
        verdict = verify(problem, text)
        correct, reason = verdict.correct, verdict.reason
        if problem.task == "countdown" and not correct and len(problem.numbers) < 6 and not is_solvable(
                problem.target, list(problem.numbers)):
            reason += "; no solution exists"
    return {"prompt": asked, "thinking": parts[0] if parts else text, "answer": parts[1] if parts else None,
            "correct": correct, "reason": reason, "tokens": num_tokens}


class Speaker:
    """A model and how it is asked."""

    def __init__(self, model: GPT, args: argparse.Namespace):
        self.model, self.args, self.tokenizer = model, args, get_tokenizer()
        self.temperature = args.temperature if args.temperature is not None else 1.0 if args.votes > 1 else 0.0

    def answer(self, problems: list, on_token: Callable[[int, int], None] | None = None) -> list:
        """[(text, number of tokens, votes or None)] for some problems; the tokens are those of all votes."""
        prompts = [p.prompt for p in problems for _ in range(self.args.votes)]
        if self.args.budget is None:
            answers = answer_all(self.model, self.tokenizer, prompts, self.args.max_new_tokens, self.args.seed,
                                 self.temperature, on_token)
        else:
            answers = answer_within(self.model, self.tokenizer, prompts, self.args.budget, self.args.seed,
                                    self.temperature, on_token)
        chosen = []
        for i, problem in enumerate(problems):
            own = answers[i * self.args.votes:(i + 1) * self.args.votes]
            index, votes = vote(problem, [text for text, _ in own])
            chosen.append((own[index][0], sum(n for _, n in own), votes if self.args.votes > 1 else None))
        return chosen


def say(speaker: Speaker, asked: str, as_json: bool) -> None:
    """Answers one prompt on the terminal, its thinking as it comes. Raises ValueError on a prompt that is none."""
    problem = read_prompt(asked)
    tokenizer = speaker.tokenizer
    dim, plain = ("\033[2m", "\033[0m") if sys.stdout and sys.stdout.isatty() else ("", "")
    labels = {"<think>": f"thinking  {dim}", "</think>": plain, "<answer>": "\nanswer    ", "</answer>": ""}

    def show(_, token):
        text = tokenizer.encoding.decode([token]) if token != tokenizer.eos_id else ""
        print(labels.get(text, printable(text)), end="", flush=True)
    stream = not as_json and speaker.args.votes == 1
    (text, num_tokens, votes), = speaker.answer([problem], show if stream else None)
    result = describe(asked, problem, text, num_tokens)
    if as_json:
        print(json.dumps(result | ({"votes": votes} if votes else {})), flush=True)
        return
    if not stream:
        ordered = sorted(votes.items(), key=lambda item: -item[1])
        print("votes     " + ", ".join(f"{count}x {printable(answer)}" for answer, count in ordered[:6]))
        print(f"thinking  {printable(result['thinking'])}\nanswer    {printable(result['answer'] or '')}", end="")
    mark = {True: "right: ", False: "wrong: ", None: ""}[result["correct"]]
    print(f"{plain}\nverdict   {mark}{printable(result['reason'])} ({num_tokens} tokens)", flush=True)


def say_file(speaker: Speaker, lines: Iterable[str]) -> int:
    """Answers one prompt a line, one JSON object a line in the order of the input. Returns the exit code."""
    code = 0

    def flush(batch):
        problems = [problem for _, problem in batch if not isinstance(problem, ValueError)]
        answers = iter(speaker.answer(problems) if problems else ())
        for asked, problem in batch:
            if isinstance(problem, ValueError):
                result = {"prompt": asked, "thinking": None, "answer": None, "correct": None,
                          "reason": str(problem), "tokens": 0}
            else:
                text, num_tokens, votes = next(answers)
                result = describe(asked, problem, text, num_tokens) | ({"votes": votes} if votes else {})
            print(json.dumps(result), flush=True)

    batch = []
    for line in lines:
        asked = line.rstrip("\r\n")
        try:
            batch.append((asked, read_prompt(asked)))
        except ValueError as error:
            batch.append((asked, error))
            code = 2
        if len(batch) * speaker.args.votes >= BATCH:
            flush(batch)
            batch = []
    flush(batch)
    return code


def open_lines(name: str) -> TextIO:
    """The lines of a file or of standard input, whatever bytes are in it. Raises BadInput."""
    if name != "-":
        try:
            return open(name, encoding="utf-8-sig", errors="replace")
        except OSError as error:
            raise BadInput(error) from None
    if hasattr(sys.stdin, "reconfigure"):
        sys.stdin.reconfigure(encoding="utf-8-sig", errors="replace")
    return sys.stdin


def open_model(run: str | None, stage: str | None, device: str | None) -> tuple[GPT, Path | str]:
    """The model of --run and --stage, by default the last finished stage of the newest run in runs/, and where there is
    none the one that comes with the package. Returns (model, where it is from). Raises BadInput."""
    if stage and stage not in STAGES:
        raise BadInput(f"unknown stage {stage!r}: choose from {', '.join(reversed(STAGES))}")
    age = lambda folder: -(folder / "config.json").stat().st_mtime
    folders = [] if run == PRETRAINED else [Path(run)] if run else sorted(
        (path.parent for path in Path("runs").glob("*/config.json")), key=age)
    for folder in folders:
        for name in [stage] if stage else STAGES:
            if (path := folder / name / "checkpoint.pt").exists():
                model, state = load_model(path, pick_device(device))
                if run and not state["done"]:
                    print(f"model     {path} is unfinished, at step {state['iteration']}", file=sys.stderr)
                if run or state["done"]:
                    return model, path
    if folders and run:
        raise BadInput(f"{run} has no checkpoint{f' of stage {stage}' if stage else ''}: train one with python train.py")
    return load_pretrained(stage or "align", pick_device(device)), "the recorded run's model"


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Talk to a trained model.")
    parser.add_argument("problem", nargs="?", help='such as "make 42 from 3 8 6"; without it you are asked for one')
    parser.add_argument("--run", help=f"the run's folder, or {PRETRAINED} for what comes along; the newest in runs/")
    parser.add_argument("--stage", help="base, cold-start, rl, rejection or align; the last there is by default")
    parser.add_argument("--votes", type=int, default=1, help="answers to sample; the most frequent one is given")
    parser.add_argument("--budget", type=int, help="tokens of thinking after which an answer is forced")
    parser.add_argument("--temperature", type=float, help="0 is greedy, the default; with --votes 1")
    parser.add_argument("--max-new-tokens", type=int, default=MAX_NEW_TOKENS, help="longest completion")
    parser.add_argument("--seed", type=int, default=0, help="of sampling")
    parser.add_argument("--file", help="one prompt a line, - for standard input; prints one JSON object a line")
    parser.add_argument("--json", action="store_true", help="print the answer as one JSON object")
    parser.add_argument("--device", default="cpu", help="cpu (default), cuda or mps")
    args = parser.parse_args(argv)
    if not 1 <= args.votes <= 1024 or not 1 <= args.max_new_tokens <= MAX_NEW_TOKENS:
        raise BadInput(f"--votes is 1 to 1024, --max-new-tokens 1 to {MAX_NEW_TOKENS}")
    if args.budget is not None and not 0 <= args.budget < MAX_NEW_TOKENS:
        raise BadInput(f"--budget is 0 to {MAX_NEW_TOKENS - 1} tokens")
    if args.temperature is not None and not 0 <= args.temperature <= 10:
        raise BadInput("--temperature is 0 to 10")
    if args.votes > 1 and args.temperature == 0:
        raise BadInput("greedy answers are all the same: leave out --temperature 0 or --votes")
    if args.file and args.problem:
        raise BadInput("give a problem or --file, not both")
    return args


@exit_codes("sample.py")
def main(argv: list[str] | None = None) -> int | None:
    args = parse(argv)
    if args.problem is not None:
        read_prompt(args.problem)       # before the model is loaded: a typing error should cost nothing
    lines = open_lines(args.file) if args.file else None
    model, path = open_model(args.run, args.stage, args.device)
    if not args.run and Path("runs").is_dir() and (args.file or args.problem is not None):
        hint = f"; --run {PRETRAINED} for the one that comes along" if isinstance(path, Path) else ""
        print(f"model     {path}{hint}", file=sys.stderr)
    speaker = Speaker(model, args)
    if lines:
        return say_file(speaker, lines)
    if args.problem is not None:
        return say(speaker, args.problem, args.json)
    print(f"{path}. Ask for example: make 70 from 6 13 10, compute 7*7+8*3-9, program 1->5 2->7 6->15, hello. "
          "An empty line ends.", file=sys.stderr)
    try:
        while asked := input("> ").strip():
            try:
                say(speaker, asked, args.json)
            except ValueError as error:
                print(error, file=sys.stderr)
    except EOFError:
        pass


if __name__ == "__main__":
    sys.exit(main())
