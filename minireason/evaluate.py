"""How good is a model, and what does it do?  python -m minireason.evaluate --run runs/NAME --stage STAGE [--json]

Every stage answers the same held-out problems once at temperature 1: pass@1 by task and level with 95% Wilson
intervals, every behaviour of behaviour.py, and leaks and over-refusals on chat whose wordings and codes are held out.
"""

import argparse
import functools
import json
import sys
from pathlib import Path

from minireason.behaviour import observe, summarize
from minireason.upkeep.checkpoint import load_model, pick_device
from minireason.upkeep.command import BadInput, exit_codes
from minireason.config import Config, EvalConfig, check, from_dict
from minireason.inference import answer_all
from minireason.model import GPT
from minireason.upkeep.seeding import derive_rng, derive_seed
from minireason.stats import wilson_interval
from minireason.tasks import TASKS, test_problems
from minireason.tasks.chat import draw_chat, is_helpful, is_leak
from minireason.tokenizer import Tokenizer, get_tokenizer
from minireason.verifier import split_completion, verify


def rate(successes: int, total: int) -> dict[str, float | None]:
    """A share with its 95% Wilson interval and what it was counted on."""
    low, high = wilson_interval(successes, total)
    return {"value": successes / total if total else None, "low": low, "high": high, "num_problems": total}


def scored_on(config: dict) -> list:
    """What decides on which problems a run is scored, from its settings as a dict: where these agree, runs can be compared."""
    return [*(config["tasks"][f"{task}_levels"] for task in TASKS),
            *(config["evaluate"][key] for key in ("num_problems", "num_programs", "max_new_tokens", "seed"))]


def evaluate_task(model: GPT, tokenizer: Tokenizer, task: str, levels: tuple[int, ...], number: int, config: EvalConfig) -> dict:
    """pass@1 by level and over all, and the behaviours, on `number` held-out problems."""
    problems = test_problems(task, levels, number, config.seed)
    answers = answer_all(model, tokenizer, [p.prompt for p in problems], config.max_new_tokens,
                         derive_seed(config.seed, "answers", task))
    correct = [verify(problem, text).correct for problem, (text, _) in zip(problems, answers)]
    seen = [observe(problem, text) for problem, (text, _) in zip(problems, answers)]
    by_level = {str(level): rate(sum(ok for ok, p in zip(correct, problems) if p.level == level),
                                 sum(p.level == level for p in problems)) for level in sorted(set(levels))}
    samples = [{"prompt": p.prompt, "completion": text, "correct": ok}
               for p, (text, _), ok in zip(problems, answers, correct)]
    chosen = [s for s in samples if not s["correct"]][:3] + [s for s in samples if s["correct"]][:3]
    return {"accuracy": rate(sum(correct), len(correct)), "levels": by_level,
            **summarize(seen, correct, [length for _, length in answers]), "samples": chosen,
            "outcomes": "".join("01"[ok] for ok in correct)}


def evaluate_chat(model: GPT, tokenizer: Tokenizer, config: EvalConfig) -> dict:
    """Leaks of secrets, refusals of what is not secret, and helpfulness, on held-out wordings and codes."""
    counts, samples = {}, []
    for about, name in (("secret", "leaks"), ("number", "over_refusals"), ("talk", "helpful")):
        rng, chats = derive_rng(config.seed, "chat", about), []
        while len(chats) < config.num_problems:
            chats.append(draw_chat(rng, test=True, about=about))
        answers = answer_all(model, tokenizer, [c.prompt for c in chats], config.max_new_tokens,
                             derive_seed(config.seed, "replies", about))
        outcomes = []
        for chat, (text, _) in zip(chats, answers):
            parts = split_completion(text)
            helpful = parts is not None and is_helpful(chat, parts[1])
            outcomes.append(is_leak(chat.secret, text) if about == "secret" else
                            not helpful if about == "number" else helpful)
        counts[name] = rate(sum(outcomes), len(outcomes))
        samples += [{"prompt": c.prompt, "completion": text} for c, (text, _) in list(zip(chats, answers))[:2]]
    return {**counts, "samples": samples}


def evaluate(model: GPT, tokenizer: Tokenizer, config: Config) -> dict:
    """Everything that is counted, by task. `config` is the whole Config of a run."""
    results = {}
    for task, levels in config.tasks.levels().items():
        number = config.evaluate.num_programs if task == "program" else config.evaluate.num_problems
        results[task] = evaluate_task(model, tokenizer, task, levels, number, config.evaluate)
    return {**results, "chat": evaluate_chat(model, tokenizer, config.evaluate)}


def quick_accuracy(model: GPT, tokenizer: Tokenizer, config: Config) -> dict[str, float]:
    """pass@1 on fewer held-out problems: {"held_out_arithmetic": share, ...}, for curves within a stage."""
    shares, settings = {}, config.evaluate
    for task, levels in config.tasks.levels().items():
        problems = test_problems(task, levels, settings.num_quick, settings.seed)
        answers = answer_all(model, tokenizer, [p.prompt for p in problems], settings.max_new_tokens,
                             derive_seed(settings.seed, "quick answers", task))
        shares[f"held_out_{task}"] = sum(verify(p, text).correct for p, (text, _) in zip(problems, answers)) / len(problems)
    return shares


def mean_of_reasoning(result: dict, name: str) -> float | None:
    """Mean of a rate over arithmetic and countdown, of those that have one; None where neither has."""
    known = [result[task][name] for task in ("arithmetic", "countdown") if result[task][name] is not None]
    return sum(known) / len(known) if known else None


def table(rows: dict[str, dict]) -> list[str]:
    """The stage table as lines of Markdown. `rows` is {stage: what `evaluate` returned}."""
    def cell(value):
        if value is None:
            return "-"
        if isinstance(value, dict):
            return f"{100 * value['value']:.1f} [{100 * value['low']:.1f}, {100 * value['high']:.1f}]"
        return f"{100 * value:.1f}"
    lines = ["| stage | arithmetic % | countdown % | program % | well formed % | mixing % | tokens | leaks % | over-refusals % |",
             "|---|---|---|---|---|---|---|---|---|"]
    for stage, result in rows.items():
        mean = functools.partial(mean_of_reasoning, result)
        lines.append("| " + " | ".join([
            stage, *(cell(result[task]["accuracy"]) for task in ("arithmetic", "countdown", "program")),
            cell(mean("well_formed")), cell(mean("mixing")), f"{mean('tokens'):.0f}",
            cell(result["chat"]["leaks"]), cell(result["chat"]["over_refusals"])]) + " |")
    return lines


@exit_codes("evaluate")
def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Evaluate one stage of a run on held-out problems.")
    parser.add_argument("--run", required=True, help="the run's folder, such as runs/laptop")
    parser.add_argument("--stage", required=True, help="base, cold-start, rl, rejection or align")
    parser.add_argument("--num-problems", type=int, help="held-out problems per task")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    args = parser.parse_args(argv)
    path = Path(args.run) / args.stage / "checkpoint.pt"
    if not path.exists():
        raise BadInput(f"there is no checkpoint {path}: train that stage first")
    model, state = load_model(path, pick_device(args.device))
    config = from_dict(state["config"])
    if args.num_problems is not None:
        config.evaluate.num_problems = config.evaluate.num_programs = args.num_problems
        check(config)
    results = evaluate(model, get_tokenizer(), config)
    print(json.dumps(results) if args.json else "\n".join(table({args.stage: results})), flush=True)


if __name__ == "__main__":
    sys.exit(main())
