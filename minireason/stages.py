"""The pipeline: five stages in their order, one function each.

    base -> cold-start -> rl            An arrow is a training; it starts from the weights at its tail.
    base -> rejection -> align          Rejection imitates answers of rl. With --pure-rl: base -> rl.

Each function prepares one stage: the model it starts from, what it learns from, and the loop that trains it.
train.py runs the loop, saves and scores. Only `align` trains something here: its reward model.
"""

import functools
import math
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from tqdm import tqdm

from minireason import align as alignment
from minireason import corpus, grpo, ppo, sft
from minireason import rejection as rejection_sampling
from minireason.config import RLConfig, SFTConfig
from minireason.corpus import Document
from minireason.model import GPT
from minireason.optimizer import adamw
from minireason.policy import make_critic
from minireason.rewards import World, price_of_mixing, reasoning_world
from minireason.run import Run, blame, start_of
from minireason.settings import to_dict
from minireason.tasks import TASKS
from minireason.upkeep import checkpoint, parallel
from minireason.upkeep.belonging import check_same_run
from minireason.upkeep.command import BadInput, Fault
from minireason.upkeep.files import check_shape, read_json
from minireason.upkeep.seeding import derive_seed


@dataclass
class Stage:
    """What train.py needs to run one stage."""
    model: GPT
    optimizer: torch.optim.Optimizer
    loop: Callable[[int], Iterator[dict[str, float]]]                  # loop(first step) trains, step by step
    num_steps: int
    extra: dict[str, torch.nn.Module] = field(default_factory=dict)    # other networks to save: a critic ...
    notes: dict = field(default_factory=dict)                          # remarks for the report


def base(run: Run) -> Stage:
    """Prepares imitation of a messy toy internet, from random weights: guesses, solutions, mistakes."""
    config = run.config
    model = GPT(config.model).init_weights(derive_seed(run.seed("base"), "weights")).to(run.device)
    documents = corpus.base_documents(config, progress("writing documents", "document"))
    return imitation(run, "base", model, documents, config.base)


def cold_start(run: Run) -> Stage:
    """Prepares imitation of a few clean examples of thinking. They teach the form and a little skill."""
    config = run.config
    model = run.load(start_of("cold-start", config))
    documents = corpus.cold_start_documents(config, progress("writing examples", "document"))
    return imitation(run, "cold-start", model, documents, config.cold_start)


def rl(run: Run) -> Stage:
    """Prepares learning by trial and error. A right answer earns 1, less a price if it mixes languages."""
    return reinforcement(run, "rl", run.load(start_of("rl", run.config)), rl_world(run), run.config.rl)


def rejection(run: Run) -> Stage:
    """Prepares training the base again, on the RL model's own verified and readable answers."""
    model = run.load(start_of("rejection", run.config))
    documents, counts = parallel.from_first(rejection_documents, run)
    stage = imitation(run, "rejection", model, documents, run.config.rejection)
    stage.notes["rejection"] = counts
    return stage


def align(run: Run, saved: dict | None = None) -> Stage:
    """Prepares RL on conversations and problems. align.py says what a completion of each is worth.

    `saved` is the checkpoint to resume from, if there is one. Its reward model is not trained again: it is
    made here, and gets its weights where train.py restores all networks of the stage.
    """
    model = run.load(start_of("align", run.config))
    if saved:
        reward_model = alignment.RewardModel(model).to(run.device)
        note = saved["notes"].get("reward model", "")
    else:
        reward_model, note = trained_reward_model(run, model)
    world = alignment.alignment_world(run.tokenizer, reward_model, rl_world(run).draw,
                                      run.config.tasks.chat_share)
    stage = reinforcement(run, "align", model, world, run.config.align)
    stage.extra["reward_model"] = reward_model
    stage.notes["reward model"] = note
    return stage


def prepare(run: Run, name: str, saved: dict | None = None) -> Stage:
    """Prepares the stage `name`. `saved` is its checkpoint, if training resumes."""
    if name == "align":
        return align(run, saved)
    stages = {"base": base, "cold-start": cold_start, "rl": rl, "rejection": rejection}
    return stages[name](run)


# -----------------------------------------------------------------------------
# The two ways of learning

def imitation(run: Run, name: str, model: GPT, documents: list[Document], settings: SFTConfig) -> Stage:
    """A stage that makes these documents more likely (sft.py)."""
    examples = corpus.tokenize(run.tokenizer, progress("reading them", "document")(documents))
    longest = max(map(sft.num_tokens_of, examples)) - 1     # the last token is only predicted
    if longest > model.config.max_length:
        raise BadInput(f"{name}: a text needs {longest} positions, and the model reads "
                       f"{model.config.max_length}: begin a new run, from base on, with "
                       f"--model-max-length {longest}, or a lower --tasks-max-tries")
    optimizer = adamw(settings, model)
    seed = run.seed(name)

    def loop(start: int) -> Iterator[dict[str, float]]:
        return sft.train(model, optimizer, examples, settings, seed, start)

    return Stage(model, optimizer, loop, num_steps=sft.num_steps_of(len(examples), settings))


def reinforcement(run: Run, name: str, model: GPT, world: World, settings: RLConfig) -> Stage:
    """A stage that makes rewarded completions more likely (grpo.py or ppo.py)."""
    seed = run.seed(name)
    reference = None
    if settings.kl_coef:
        reference = run.load(start_of(name, run.config)).requires_grad_(False)
    critic, extra = None, {}
    if run.config.algo == "ppo":
        critic = make_critic(model, settings.shared_critic).to(run.device)
        extra = {"critic": critic}
    optimizer = adamw(settings, model, critic)

    def loop(start: int) -> Iterator[dict[str, float]]:
        if critic is None:
            return grpo.train(model, reference, optimizer, world, settings, seed, start)
        return ppo.train(model, critic, reference, optimizer, world, settings, seed, start)

    return Stage(model, optimizer, loop, settings.num_iterations, extra)


# -----------------------------------------------------------------------------
# What the stages learn from

def rl_world(run: Run) -> World:
    """The World (rewards.py) of training problems. tasks.draw_problem keeps test problems out of it."""
    tasks, price = run.config.tasks, price_of_mixing(run.config)
    return reasoning_world(run.tokenizer, tasks.levels, tasks.shares, price)


def rejection_world(run: Run) -> World:
    """The World of the problems that rejection sampling asks.

    The student begins at the base, and what it reads then replaces what it knew. So each task gives as many
    problems as another: programs are rare in RL, and with as few of them here they lost five points. And
    easier levels come along, as in the base corpus: without them the student answered 6 to `compute 2+2`.
    """
    tasks = run.config.tasks
    levels = {}
    for name in tasks.trained():
        levels[name] = corpus.levels_up_to(max(tasks.levels[name]), TASKS[name].levels)
    return reasoning_world(run.tokenizer, levels, dict.fromkeys(levels, 1.0))


def check_pairs(value: Any, name: str) -> None:
    """Raises ValueError if a value is not a list of pairs of texts, at least one."""
    check_shape(value, [[str]], name)
    if not value or any(len(document) != 2 for document in value):
        raise ValueError(f"{name} are not pairs of a prompt and a completion")


EXAMPLES = {"config": dict, "documents": check_pairs, "counts": {str: int}}      # what examples.json holds


def rejection_documents(run: Run) -> tuple[list[Document], dict[str, int]]:
    """The RL model's verified answers, and some conversations. Returns (documents, counts for the report).

    The first call samples them and writes rejection/examples.json; a resumed run reads that file.
    """
    path = run.folder / "rejection" / "examples.json"
    if os.path.lexists(path):
        stored = read_json(path, EXAMPLES, "delete it and go on with --resume")
        with blame(path):
            check_same_run(stored["config"], to_dict(run.config))
        return stored["documents"], stored["counts"]

    config, seed = run.config, run.seed("rejection")
    documents, counts = rejection_sampling.sample_and_filter(
        run.load("rl"), run.tokenizer, rejection_world(run).draw, config.sampling, seed,
        config.rl.max_new_tokens, progress("sampling", "piece"))
    if not documents:
        raise Fault("rejection sampling kept nothing: "
                    "the RL model has no verified, readable answer to learn from")
    documents += corpus.chat_examples(seed, config.sampling.num_chat)
    checkpoint.save_json(path, {"config": to_dict(run.config), "documents": documents, "counts": counts})
    return documents, counts


def progress(what: str, unit: str, total: int | None = None) -> Callable[[Iterable], Iterable]:
    """Returns a function that wraps an iterable, as tqdm does: a bar then shows what a preparation does."""
    is_first = parallel.rank() == 0
    return functools.partial(tqdm, desc=what, unit=unit, total=total, leave=False, disable=not is_first)


def trained_reward_model(run: Run, model: GPT) -> tuple[alignment.RewardModel, str]:
    """Trains the reward model, and measures it on pairs it never saw. Takes about a minute.

    Returns (reward model, a note for the report).
    """
    seed, longest = run.seed("align"), run.config.align.max_new_tokens
    reward_model = alignment.RewardModel(model).to(run.device)
    if parallel.rank() == 0:
        print(f"align: answers {run.config.num_preference_prompts} prompts twice, for the judge to compare",
              flush=True)
    pairs = alignment.preference_pairs(model, run.tokenizer, seed, run.config.num_preference_prompts, longest)
    optimizer = torch.optim.AdamW(reward_model.parameters(), lr=5e-4)
    steps = alignment.train_reward_model(reward_model, optimizer, run.tokenizer, pairs)
    num_steps = alignment.NUM_PASSES * math.ceil(len(pairs) / alignment.BATCH_SIZE)
    for _ in progress("reward model", "step", num_steps)(steps):
        pass        # a generator: each turn is one gradient step
    num_held_out = min(1000, run.config.num_preference_prompts)
    held_out = alignment.preference_pairs(model, run.tokenizer, seed, num_held_out, longest, test=True)
    parallel.same_weights(reward_model)      # each process trained a copy, and rounding may differ
    right, total = alignment.pair_accuracy(reward_model, run.tokenizer, held_out)
    return reward_model, f"agrees with the judge on {right} of {total} held-out pairs"
