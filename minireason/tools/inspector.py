"""What the algorithm sees of a completion, token by token.

    python -m minireason.inspector "make 42 from 3 8 6" [--run runs/NAME] [--stage rl] [--old cold-start] [--html FILE]

The old policy answers a prompt G times, as in a rollout, and the newer one says how likely it finds each token:

    ratio = p(token) / p_old(token)      clipped where the algorithm would stop listening      kl = k3 to the old policy

With a critic in the checkpoint (a run of --algo ppo) values, returns and advantages are PPO's, otherwise GRPO's.
"""

import argparse
import html
import json
import sys
from pathlib import Path

import torch

from minireason import grpo, ppo
from minireason.upkeep.command import BadInput, exit_codes
from minireason.config import RLConfig, from_dict
from minireason.model import GPT
from minireason.policy import Critic, completion_logprobs, completion_values
from minireason.pretrained import PRETRAINED, load_stage
from minireason.rewards import World, correctness
from minireason.rollout import build_rollout
from minireason.sampling import generate
from minireason.stats import k3
from minireason.tasks import Problem, parse_prompt
from minireason.tokenizer import get_tokenizer, printable

STARTS = {"cold-start": "base", "rl": "cold-start", "rejection": "base", "align": "rejection"}    # the default of --old


@torch.no_grad()
def inspect_rollout(policy: GPT, old: GPT, critic: Critic | None, problem: Problem, config: RLConfig, seed: int) -> list[dict]:
    """`config` is an RLConfig. Returns one dict per completion: reward, correct, and tokens, a list of dicts of numbers."""
    tokenizer = get_tokenizer()
    world = World(None, lambda problems, texts: list(map(correctness, problems, texts)), tokenizer)
    prompts = [tokenizer.encode_prompt(problem.prompt)] * config.group_size
    generation = generate(old, prompts, config.max_new_tokens, config.temperature, seed, eos_id=tokenizer.eos_id)
    rollout = build_rollout(prompts, generation, [problem], old, world, config)
    if critic is None:
        grpo.compute_advantages(rollout, config)
    else:
        rollout.old_values = completion_values(critic, rollout)
        ppo.compute_advantages(rollout, config)
    logprobs, entropy = completion_logprobs(policy, rollout, config.temperature)
    ratio = (logprobs - rollout.old_logprobs).exp()                                    # (G, L)
    # min(ratio A, clip(ratio) A): no gradient where the ratio has already gone as far as the advantage wants
    clipped = torch.where(rollout.advantages > 0, ratio > 1 + config.clip_high, ratio < 1 - config.clip_low)
    columns = {"logprob": logprobs, "old_logprob": rollout.old_logprobs, "ratio": ratio, "clipped": clipped,
               "advantage": rollout.advantages, "value": rollout.old_values, "return": rollout.returns,
               "kl": k3(logprobs, rollout.ref_logprobs), "entropy": entropy}
    rows = []
    for i, ids in enumerate(rollout.completion_ids.tolist()):
        length = int(rollout.completion_mask[i].sum())
        names = [tokenizer.encoding.decode_single_token_bytes(token).decode(errors="replace") for token in ids[:length]]
        rows.append({"reward": rollout.rewards[i].item(), "text": rollout.completions[i],
                     "tokens": [{"token": name} | {key: values[i, t].item() for key, values in columns.items()
                                                   if values is not None} for t, name in enumerate(names)]})
    return rows


def inspect_run(folder: Path | str, stage: str, problem: Problem, group_size: int, seed: int = 0,
                old: str | None = None) -> tuple[list[dict], str]:
    """The same with the checkpoints of a run. `old` is by default the stage that `stage` started from. Returns (rows, old);
    raises BadInput where a checkpoint is missing, CheckpointError where one is damaged."""
    policy, state = load_stage(folder, stage)
    config = from_dict(state["config"])
    old = old or ("base" if config.pure_rl and stage == "rl" else STARTS[stage])
    speaker, _ = load_stage(folder, old)
    settings = RLConfig(**vars(config.align if stage == "align" else config.rl) | {"group_size": group_size, "kl_coef": 0.0})
    critic = None
    if "critic" in state["extra"]:
        critic = Critic(policy, settings.shared_critic)
        critic.load_state_dict(state["extra"]["critic"])
    return inspect_rollout(policy, speaker, critic, problem, settings, seed), old


def as_text(row: dict) -> str:
    """A line per token."""
    keys = list(row["tokens"][0])[1:]
    lines = [f"reward {row['reward']:g}", f"{'token':>12} " + " ".join(f"{key:>11}" for key in keys)]
    for token in row["tokens"]:
        cells = [f"{'clipped' if token[key] else '':>11}" if key == "clipped" else f"{token[key]:11.4f}" for key in keys]
        lines.append(f"{printable(token['token']):>12} " + " ".join(cells))
    return "\n".join(lines)


def as_html(rows: list[dict], prompt: str) -> str:
    """A section of a page: each token on green where the newer policy finds it likelier, on red where less; its numbers
    show under the pointer, and a line under it says that it is clipped."""
    parts = [f"<section><h3>{html.escape(prompt)}</h3>"]
    for row in rows:
        parts.append(f"<p><b>reward {row['reward']:g}</b>, advantage of the first token {row['tokens'][0]['advantage']:.2f}<br>")
        for token in row["tokens"]:
            strength = min(1.0, abs(token["logprob"] - token["old_logprob"]) / 2)
            color = "60, 160, 90" if token["ratio"] > 1 else "210, 70, 70"
            numbers = " ".join(f"{key} {value}" if isinstance(value, bool) else f"{key} {value:.4f}"
                               for key, value in token.items() if key != "token")
            line = "border-bottom: 2px solid #333" if token["clipped"] else ""
            parts.append(f'<span title="{numbers}" style="background: rgba({color}, {strength:.2f}); {line}">'
                         f'{html.escape(printable(token["token"]))}</span>')
        parts.append("</p>")
    return "\n".join([*parts, "</section>"])


@exit_codes("inspector")
def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Look at a rollout token by token.")
    parser.add_argument("prompt", help="a problem, such as: make 42 from 3 8 6")
    parser.add_argument("--run", default=PRETRAINED, help="the run's folder, such as runs/laptop; by default what comes along")
    parser.add_argument("--stage", default="rl", help="whose opinion: cold-start, rl (default), rejection or align")
    parser.add_argument("--old", help="who speaks: the stage that it started from by default")
    parser.add_argument("--group-size", type=int, default=8, help="completions to compare")
    parser.add_argument("--show", type=int, default=2, help="completions to print")
    parser.add_argument("--seed", type=int, default=0, help="of sampling")
    parser.add_argument("--html", metavar="FILE", help="write the coloured page of all completions as well")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    args = parser.parse_args(argv)
    if args.group_size < 2 or args.show < 0:
        raise BadInput("a group has at least 2 completions, and --show is not negative")
    if args.stage not in STARTS or args.old not in (None, "base", *STARTS):
        raise BadInput(f"unknown stage: choose {', '.join(STARTS)}, and for --old also base")
    problem = parse_prompt(args.prompt.strip().lower())
    rows, old = inspect_run(args.run, args.stage, problem, args.group_size, args.seed, args.old)
    if args.html:
        Path(args.html).write_text(f'<!doctype html><meta charset="utf-8"><title>{html.escape(problem.prompt)}</title>'
                                   f'<body style="font: 15px/1.9 monospace; max-width: 60em; margin: 2em auto">'
                                   f'{as_html(rows, problem.prompt)}</body>\n', encoding="utf-8")
    if args.json:
        print(json.dumps(rows))
        return
    print(f"{problem.prompt}: {old} speaks, {args.stage} judges ({args.run})")
    print("\n\n".join(as_text(row) for row in rows[:args.show]))


if __name__ == "__main__":
    sys.exit(main())
