"""How good is a model, and what does it do?

    python -m minireason.evaluate --run runs/NAME --stage STAGE [--json]

Every stage answers the same held-out problems once at temperature 1. Measured are pass@1 by task and level,
with 95% Wilson intervals, the behaviours of behaviour.py, and leaks and over-refusals in held-out chat.
"""

import json
import sys

from tqdm import tqdm

from minireason.behaviour import distributions, observe, summarize
from minireason.config import Config, EvalConfig
from minireason.inference import answer_all, answers_with_ends, which_are_right
from minireason.model import GPT
from minireason.run import config_of, open_model
from minireason.stats import wilson_interval
from minireason.tasks import test_problems
from minireason.tasks.chat import ChatPrompt, draw_chat, is_helpful
from minireason.tasks.harm import is_leak
from minireason.tokenizer import Tokenizer, get_tokenizer
from minireason.tools.flags import Parser, like
from minireason.tools.scores import screen_table
from minireason.upkeep.command import exit_codes
from minireason.upkeep.parallel import pick_device
from minireason.upkeep.seeding import derive_rng, derive_seed
from minireason.verifier import split_completion, verify

NUM_SAMPLES = 3     # right and wrong answers to show, of each task


def rate(successes: int, total: int) -> dict[str, float | None]:
    """{"value": the share, "low" and "high": its 95% Wilson interval, "num_problems": total}."""
    low, high = wilson_interval(successes, total)
    return {"value": successes / total if total else None, "low": low, "high": high, "num_problems": total}


def evaluate_task(model: GPT, tokenizer: Tokenizer, task: str, levels: tuple[int, ...], number: int,
                  config: EvalConfig, most_tries: int | None = None) -> dict:
    """pass@1 by level and over all, and the behaviours, on `number` held-out problems.

    `most_tries` is the most tries that a text of the corpus or a golden example has: see
    `behaviour.distributions`.
    """
    problems = test_problems(task, levels, number, config.seed)
    prompts = [problem.prompt for problem in problems]
    seed = derive_seed(config.seed, "answers", task)
    answers = answers_with_ends(model, tokenizer, prompts, config.max_new_tokens, seed)
    texts = [answer.text for answer in answers]
    lengths = [answer.num_tokens for answer in answers]
    ended = [answer.ended for answer in answers]
    correct = [verify(problem, text).correct for problem, text in zip(problems, texts)]
    behaviours = [observe(problem, text) for problem, text in zip(problems, texts)]
    by_level = {}
    for level in sorted(set(levels)):
        outcomes = [is_correct for problem, is_correct in zip(problems, correct) if problem.level == level]
        by_level[str(level)] = rate(sum(outcomes), len(outcomes))
    samples = []
    for problem, text, is_correct in zip(problems, texts, correct):
        samples.append({"prompt": problem.prompt, "completion": text, "correct": is_correct})
    wrong = [sample for sample in samples if not sample["correct"]]
    right = [sample for sample in samples if sample["correct"]]
    return {
        "accuracy": rate(sum(correct), len(correct)),
        "levels": by_level,
        **summarize(behaviours, correct, lengths),
        "distributions": distributions(behaviours, correct, lengths, ended, most_tries),
        "samples": wrong[:NUM_SAMPLES] + right[:NUM_SAMPLES],
        "outcomes": "".join("1" if is_correct else "0" for is_correct in correct),
    }


def chat_outcome(chat: ChatPrompt, text: str, about: str) -> bool:
    """Whether a completion does what is counted for prompts of the kind `about`.

    "secret": it tells the secret. "number", which is not secret: it fails to help, as a refusal does.
    "talk": it helps.
    """
    if about == "secret":
        return is_leak(chat.secret, text)
    parts = split_completion(text)
    helps = parts is not None and is_helpful(chat, parts[1])
    return helps if about == "talk" else not helps


def evaluate_chat(model: GPT, tokenizer: Tokenizer, config: EvalConfig) -> dict:
    """Three rates on held-out wordings and codes, and two samples of each: {name: rate, "samples": [...]}.

    "leaks": secrets that are told. "over_refusals": no help with a number that is not secret. "helpful": help
    in small talk.
    """
    rates, samples = {}, []
    for about, name in (("secret", "leaks"), ("number", "over_refusals"), ("talk", "helpful")):
        rng = derive_rng(config.seed, "chat", about)
        chats = [draw_chat(rng, test=True, about=about) for _ in range(config.num_problems)]
        prompts = [chat.prompt for chat in chats]
        seed = derive_seed(config.seed, "replies", about)
        answers = answer_all(model, tokenizer, prompts, config.max_new_tokens, seed)
        num_outcomes = sum(chat_outcome(chat, text, about) for chat, (text, _) in zip(chats, answers))
        rates[name] = rate(num_outcomes, len(chats))
        for chat, (text, _) in list(zip(chats, answers))[:2]:
            samples.append({"prompt": chat.prompt, "completion": text})
    return {**rates, "samples": samples}


def evaluate(model: GPT, tokenizer: Tokenizer, config: Config) -> dict:
    """Scores a model. Returns {task: scores, ..., "chat": scores}. `config` is the whole Config of a run."""
    results = {}
    most_tries = None if config.expert else config.tasks.max_tries        # experts try as often as they need
    with tqdm(total=len(config.tasks.levels) + 1, desc="held-out problems", unit="task", leave=False) as bar:
        for task, levels in config.tasks.levels.items():
            number = config.evaluate.number_of(task)
            results[task] = evaluate_task(model, tokenizer, task, levels, number, config.evaluate, most_tries)
            bar.update()
        results["chat"] = evaluate_chat(model, tokenizer, config.evaluate)
        bar.update()
    return results


def check_enough_problems(config: Config) -> None:
    """Raises ValueError if a task has too few held-out problems. Called before a model answers any."""
    for task, levels in config.tasks.levels.items():
        # called for its ValueError alone: the problems are drawn again to be answered
        test_problems(task, levels, config.evaluate.number_of(task), config.evaluate.seed)


def quick_accuracy(model: GPT, tokenizer: Tokenizer, config: Config) -> dict[str, float]:
    """pass@1 on fewer held-out problems: {"held_out_arithmetic": share, ...}, for curves within a stage."""
    settings = config.evaluate
    shares = {}
    for task, levels in config.tasks.levels.items():
        problems = test_problems(task, levels, settings.num_quick, settings.seed)
        seed = derive_seed(settings.seed, "quick answers", task)
        right = which_are_right(model, tokenizer, problems, settings.max_new_tokens, seed)
        shares[f"held_out_{task}"] = sum(right) / len(problems)
    return shares


@exit_codes("evaluate", less_memory="lower --num-problems")
def main(argv: list[str] | None = None) -> None:
    parser = Parser("Evaluate one stage of a run on held-out problems.")
    parser.add_argument("--run", required=True, help="the run's folder, such as runs/laptop, or pretrained")
    parser.add_argument("--stage", required=True, help="base, cold-start, rl, rejection or align")
    parser.add_argument("--num-problems", type=like("evaluate.num_problems"),
                        help="held-out problems per task")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    args = parser.parse_args(argv)
    model, state = open_model(args.run, args.stage, pick_device(args.device))
    config = config_of(state)
    if args.num_problems is not None:
        config.evaluate.num_problems = args.num_problems
        config.evaluate.num_by_task = {}        # no task has another number
    check_enough_problems(config)
    results = evaluate(model, get_tokenizer(), config)
    print(json.dumps(results) if args.json else "\n".join(screen_table({args.stage: results})), flush=True)


if __name__ == "__main__":
    sys.exit(main())
