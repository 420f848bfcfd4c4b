"""What the algorithm sees of a completion, token by token.

    python -m minireason.inspector "make 42 from 3 8 6" [--run runs/NAME] [--stage rl] [--old cold-start]
                                                        [--html FILE]

The old policy answers a prompt G times, as in a rollout. The newer one says how likely it finds each token:

    ratio = p(token) / p_old(token)             (with GSPO one ratio for the whole completion)
    clipped: the ratio is so far from 1 that the loss has no gradient here
    kl = k3 to the old policy

With a critic in the checkpoint (a run of --algo ppo), values, returns and advantages are PPO's, else GRPO's.
"""

import dataclasses
import html
import json
import sys
from pathlib import Path

import torch

from minireason import grpo, ppo
from minireason.batch import Batch
from minireason.config import RLConfig
from minireason.model import GPT
from minireason.policy import Critic, SharedCritic, completion_hidden, completion_logprobs, make_critic
from minireason.rewards import price_of_mixing, reasoning_world
from minireason.rollout import collect_rollout
from minireason.run import PRETRAINED, STARTS_FROM, blame, config_of, open_model, start_of
from minireason.tasks import Problem, parse_prompt
from minireason.token_math import k3, sequence_log_ratio
from minireason.tokenizer import get_tokenizer, printable
from minireason.tools.flags import Parser, like, number
from minireason.upkeep.checkpoint import load_weights
from minireason.upkeep.command import BadInput, exit_codes

LIKELIER, LESS_LIKELY = "60, 160, 90", "210, 70, 70"      # red, green and blue of a token's background
CLIPPED = "border-bottom: 2px solid #333"
HEADINGS = {"old_logprob": "old", "advantage": "adv."}      # of the columns that are too narrow for a name


@torch.no_grad()
def inspect_rollout(policy: GPT, old: GPT, critic: Critic | SharedCritic | None, problem: Problem,
                    config: RLConfig, seed: int, language_price: float = 0.0) -> list[dict]:
    """`old` answers a problem G times; then computes what the algorithm sees when it trains `policy` on that.

    Returns a dict for each completion: {"reward", "text", "tokens"}. A token is a dict of its text and its
    logprob, old_logprob, ratio, clipped, advantage, kl and entropy; with a critic also value and return.
    """
    reasoning = reasoning_world(get_tokenizer(), {}, {}, language_price)
    world = dataclasses.replace(reasoning, draw=lambda rng: problem)       # this problem alone is drawn
    one_group = dataclasses.replace(config, num_prompts=1, max_refills=0)
    # `old` is the reference, too: ref_logprobs and the kl are relative to it
    rollout = collect_rollout(old, old, world, one_group, seed, iteration=0)
    hidden = completion_hidden(policy, rollout)                                        # (G, L, C)
    if critic is None:
        grpo.compute_advantages(rollout, config)
    else:
        rollout.old_values = critic(rollout, hidden)        # of the newer critic: the older is not stored
        ppo.compute_advantages(rollout, config)
    logprobs, entropy = completion_logprobs(policy, rollout, config.temperature, hidden)
    log_ratio = (logprobs - rollout.old_logprobs) * rollout.completion_mask            # (G, L)
    if config.objective == "gspo":
        log_ratio = sequence_log_ratio(log_ratio, rollout.completion_mask)
    ratio = log_ratio.exp()
    columns = {"logprob": logprobs, "old_logprob": rollout.old_logprobs, "ratio": ratio,
               "clipped": has_no_gradient(ratio, rollout.advantages, config),
               "advantage": rollout.advantages}
    if critic is not None:
        columns |= {"value": rollout.old_values, "return": rollout.returns}
    columns |= {"kl": k3(logprobs, rollout.ref_logprobs), "entropy": entropy}
    return rows_of(rollout, columns)


def has_no_gradient(ratio: torch.Tensor, advantages: torch.Tensor, config: RLConfig) -> torch.Tensor:
    """Whether the clip stops a token's gradient (G, L): the ratio is beyond it on the side of the advantage.

    Then min(ratio A, clip(ratio) A) is the clipped term, a constant. CISPO clips too, but each of its tokens
    keeps its gradient.
    """
    if config.objective == "cispo":
        return torch.zeros_like(ratio, dtype=torch.bool)
    is_too_likely = (advantages > 0) & (ratio > 1 + config.clip_high)
    is_too_unlikely = (advantages < 0) & (ratio < 1 - config.clip_low)
    return is_too_likely | is_too_unlikely


def rows_of(rollout: Batch, columns: dict[str, torch.Tensor]) -> list[dict]:
    """One dict for each completion, with the numbers of its tokens from columns {name: (G, L)}."""
    tokenizer, completions = get_tokenizer(), []
    for i, ids in enumerate(rollout.completion_ids.tolist()):
        length = int(rollout.completion_mask[i].sum())
        tokens = []
        for t, token_id in enumerate(ids[:length]):
            token_bytes = tokenizer.encoding.decode_single_token_bytes(token_id)
            numbers = {name: values[i, t].item() for name, values in columns.items()}
            tokens.append({"token": token_bytes.decode(errors="replace"), **numbers})
        completions.append({"reward": rollout.rewards[i].item(), "text": rollout.completions[i],
                            "tokens": tokens})
    return completions


def inspect_run(folder: Path | str, stage: str, problem: Problem, group_size: int, seed: int = 0,
                old: str | None = None) -> tuple[list[dict], str]:
    """Calls `inspect_rollout` with the checkpoints, settings and rewards of a run's `stage`.

    `old` is the stage that answers, by default the one that `stage` started from.
    Returns (completions, old). Raises BadInput if a checkpoint is missing, CheckpointError if one is damaged.
    """
    policy, state = open_model(folder, stage)
    config = config_of(state)
    old = old or start_of(stage, config)
    old_policy, _ = open_model(folder, old)
    settings = config.align if stage == "align" else config.rl
    settings = dataclasses.replace(settings, group_size=group_size, kl_coef=0.0)      # the KL to itself is 0
    price = price_of_mixing(config) if stage == "rl" else 0.0
    critic = None
    if "critic" in state["extra"]:
        critic = make_critic(policy, settings.shared_critic)
        with blame(f"the critic of stage {stage}"):
            load_weights(critic, state["extra"]["critic"])
    return inspect_rollout(policy, old_policy, critic, problem, settings, seed, price), old


def as_text(completion: dict) -> str:
    """A line of at most 80 columns per token. A `c` stands behind the ratio of a clipped one."""
    names = [name for name in completion["tokens"][0] if name not in ("token", "clipped")]
    headings = [HEADINGS.get(name, name) for name in names]
    lines = [f"reward {completion['reward']:g}", aligned("token", headings)]
    for token in completion["tokens"]:
        cells = []
        for name in names:
            cell = six_characters(token[name])
            if name == "ratio":
                cell += "c" if token["clipped"] else " "
            cells.append(cell)
        lines.append(aligned(printable(token["token"]), cells))
    return "\n".join(lines)


def columns_explained(names: list[str], old: str, stage: str) -> str:
    """Says what each column of `as_text` is. Stage `old` wrote the tokens, `stage` judges them."""
    meanings = {
        "logprob": f"log of the probability that {stage} gives the token",
        "old_logprob": f"the same of {old}, which wrote it",
        "ratio": "the first probability over the second; c: clipped, so it has no gradient",
        "advantage": "how much better than expected; if positive, the token is made likelier",
        "value": "what the critic expects from here on",
        "return": "what the critic is trained to say here",
        "kl": f"k3, an estimate of how far {stage} is from {old}",
        "entropy": f"how undecided {stage} is here; 0: sure",
    }
    lines = []
    for name, meaning in meanings.items():
        if name in names:
            lines.append(f"  {HEADINGS.get(name, name):8} {meaning}")
    return "\n".join(lines)


def aligned(token: str, cells: list[str]) -> str:
    return f"{token[:12]:>12}" + "".join(f"{cell:>8}" for cell in cells)


def six_characters(value: float) -> str:
    """The number with three decimals or fewer, or with an exponent where that is too long."""
    for num_decimals in (3, 1, 0):
        text = f"{value:.{num_decimals}f}"
        if len(text) <= 6:
            return text
    return f"{value:.0e}"


def legend(old: str, stage: str) -> str:
    """A paragraph that says how to read `as_html`. Stage `old` speaks, stage `stage` judges."""
    old, stage = html.escape(old), html.escape(stage)
    return (f'<p>{old} speaks and {stage} judges. {stage} finds the token '
            f'<span style="background: rgba({LIKELIER}, 0.5)">likelier</span> or '
            f'<span style="background: rgba({LESS_LIKELY}, 0.5)">less likely</span> than {old} did: '
            f'the stronger the colour, the greater the difference. '
            f'<span style="{CLIPPED}">With a line under it</span> the token is clipped. '
            "Its numbers show under the pointer.</p>")


def as_html(completions: list[dict], prompt: str) -> str:
    """A section of a page: the completions, each token with its colours. `legend` explains them."""
    parts = [f"<section><h3>{html.escape(prompt)}</h3>"]
    for completion in completions:
        advantage = completion["tokens"][0]["advantage"]
        parts.append(f"<p><b>reward {completion['reward']:g}</b>, "
                     f"advantage of the first token {advantage:.2f}<br>")
        for token in completion["tokens"]:
            strength = min(1.0, abs(token["logprob"] - token["old_logprob"]) / 2)
            color = LIKELIER if token["logprob"] > token["old_logprob"] else LESS_LIKELY
            style = f"background: rgba({color}, {strength:.2f});"
            if token["clipped"]:
                style += f" {CLIPPED}"
            text = html.escape(printable(token["token"]))
            parts.append(f'<span title="{numbers_of(token)}" style="{style}">{text}</span>')
        parts.append("</p>")
    return "\n".join([*parts, "</section>"])


def whole_page(completions: list[dict], prompt: str, old: str, stage: str) -> str:
    """The page that --html writes."""
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(prompt)}</title></head>
<body style="font: 15px/1.9 monospace; max-width: 60em; margin: 2em auto; padding: 0 1em; \
overflow-wrap: anywhere">
{legend(old, stage)}
{as_html(completions, prompt)}
</body></html>
"""


def numbers_of(token: dict) -> str:
    """A token's numbers as one text, which shows under the pointer: "logprob -0.1234 old_logprob ..."."""
    texts = []
    for name, value in token.items():
        if isinstance(value, bool):
            texts.append(f"{name} {value}")
        elif name != "token":
            texts.append(f"{name} {value:.4f}")
    return " ".join(texts)


@exit_codes("inspector", less_memory="lower --group-size")
def main(argv: list[str] | None = None) -> None:
    parser = Parser("Look at a rollout token by token.")
    parser.add_argument("prompt", help="a problem, such as: make 42 from 3 8 6")
    parser.add_argument("--run", default=PRETRAINED,
                        help="the run's folder, such as runs/laptop; by default the included weights")
    parser.add_argument("--stage", default="rl",
                        help="the newer policy: cold-start, rl (default), rejection or align")
    parser.add_argument("--old", help="the stage that answers; by default the one that --stage started from")
    parser.add_argument("--group-size", type=number(int, 2, 1024), default=8, help="completions to compare")
    parser.add_argument("--show", type=number(int, 0, 1024), default=2, help="completions to print")
    parser.add_argument("--seed", type=like("seed"), default=0, help="of sampling")
    parser.add_argument("--html", metavar="FILE", help="write the coloured page of all completions as well")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    args = parser.parse_args(argv)
    if STARTS_FROM.get(args.stage) is None or args.old not in (None, *STARTS_FROM):
        raise BadInput(f"unknown stage: choose {', '.join(STARTS_FROM)}; base is for --old alone")
    problem = parse_prompt(args.prompt.strip().lower())
    completions, old = inspect_run(args.run, args.stage, problem, args.group_size, args.seed, args.old)
    if args.html:
        page = whole_page(completions, problem.prompt, old, args.stage)
        Path(args.html).write_text(page, encoding="utf-8")
    if args.json:
        print(json.dumps(completions))
        return
    print(f"{problem.prompt}: {old} speaks, {args.stage} judges ({args.run})")
    print(columns_explained(list(completions[0]["tokens"][0]), old, args.stage) + "\n")
    print("\n\n".join(as_text(completion) for completion in completions[:args.show]))


if __name__ == "__main__":
    sys.exit(main())
