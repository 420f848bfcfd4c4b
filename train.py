"""Train a toy reasoner from random weights: base -> cold-start -> rl -> rejection -> align.

    python train.py                              every stage, on this machine's GPU or CPU
    python train.py rl --algo ppo --from runs/laptop     PPO from the cold start of another run
    python train.py --resume                     go on with the newest run

A run's folder holds config.json, <stage>/checkpoint.pt and metrics.jsonl, results.json, report.html, report.md and figures,
and a file that is locked while the run is trained. Exit codes are those of command.py.
"""

import argparse
import contextlib
import json
import math
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from tqdm import tqdm

from minireason import align, corpus, grpo, ppo, rejection, sft
from minireason.tools import report
from minireason.upkeep import checkpoint, metrics, parallel
from minireason.upkeep.command import BadInput, Fault, exit_codes
from minireason.config import Config, add_flags, apply_flags, from_dict, preset, to_dict
from minireason.evaluate import evaluate, quick_accuracy, scored_on, table
from minireason.model import GPT
from minireason.optimizer import adamw, load_state
from minireason.policy import make_critic
from minireason.rewards import reasoning_world
from minireason.upkeep.seeding import derive_seed
from minireason.tasks import test_problems
from minireason.tokenizer import get_tokenizer

STAGES = ("base", "cold-start", "rl", "rejection", "align")
SAVE_EVERY = 30     # seconds between checkpoints inside a stage
LOCK = "lock"       # in a run's folder, held by the train.py that is at work there
SHOWN = {"loss": "loss", "reward": "reward", "completion_length": "length", "zero_std_frac": "no signal"}


# -----------------------------------------------------------------------------
# One stage: its model, its data, its loop

class Run:
    """A run's folder, its configuration, and the device it trains on."""

    def __init__(self, folder: Path | str, config: Config, device: torch.device):
        self.folder, self.config, self.device = Path(folder), config, device
        self.tokenizer = get_tokenizer()

    def path(self, stage: str) -> Path:
        return self.folder / stage / "checkpoint.pt"

    def seed(self, stage: str) -> int:
        return derive_seed(self.config.seed, stage)

    def load(self, stage: str) -> GPT:
        """The model that a finished stage left. Raises BadInput where there is none."""
        if not self.path(stage).exists():
            raise BadInput(f"{self.folder} has no finished stage {stage!r}: run 'python train.py {stage} "
                           f"--out {self.folder}' first")
        model, state = checkpoint.load_model(self.path(stage), self.device)
        if not state["done"]:
            raise BadInput(f"stage {stage!r} of {self.folder} is unfinished: add --resume")
        return model


def previous_stage(stage: str, config: Config) -> str | None:
    """Whose weights a stage starts from. Rejection starts from the base afresh; its data come from RL."""
    return {"base": None, "cold-start": "base", "rl": "base" if config.pure_rl else "cold-start",
            "rejection": "base", "align": "rejection"}[stage]


def prepare(run: Run, stage: str) -> tuple:
    """Returns (model, optimizer, loop, total, extra, notes): `loop(start)` is the stage's generator of metrics."""
    config, tokenizer, seed, notes = run.config, run.tokenizer, run.seed(stage), {}
    extra = {}
    if stage == "base":
        model = GPT(config.model).init_weights(derive_seed(seed, "weights")).to(run.device)
        documents = corpus.base_corpus(config.seed, config.base.num_examples, config.tasks.trained_levels(),
                                       config.aha)
    else:
        model = run.load(previous_stage(stage, config))
    if stage == "cold-start":
        documents = corpus.golden_examples(config.seed, config.cold_start.num_examples, config.tasks.trained_levels(),
                                           config.expert)
    if stage == "rejection":
        documents, notes["rejection"] = parallel.from_first(own_examples(run, seed) if parallel.rank() == 0 else None)
    if stage in ("base", "cold-start", "rejection"):
        settings = getattr(config, stage.replace("-", "_"))
        examples = corpus.tokenize(tokenizer, documents)
        optimizer = adamw(settings, model)
        return (model, optimizer, lambda start: sft.train(model, optimizer, examples, settings, seed, start),
                len(sft.plan(len(examples), settings, seed)), extra, notes)

    settings = config.rl if stage == "rl" else config.align
    world = reasoning_world(tokenizer, config.tasks.levels(), config.tasks.shares())
    if stage == "align":
        reward_model, notes["reward model"] = helpfulness(run, model, seed)
        world = align.alignment_world(tokenizer, reward_model, world, config.tasks.chat_share)
    reference = run.load(previous_stage(stage, config)).requires_grad_(False) if settings.kl_coef else None
    if config.algo == "grpo":
        optimizer = adamw(settings, model)
        loop = lambda start: grpo.train(model, reference, optimizer, world, settings, seed, start)
    else:
        critic = extra["critic"] = make_critic(model, settings.shared_critic).to(run.device)
        optimizer = adamw(settings, model, critic)
        loop = lambda start: ppo.train(model, critic, reference, optimizer, world, settings, seed, start)
    return model, optimizer, loop, settings.num_iterations, extra, notes


def own_examples(run: Run, seed: int) -> tuple[list, dict[str, int]]:
    """The RL model's verified answers and some conversations, made once and kept beside the stage's checkpoint."""
    config, saved = run.config, run.folder / "rejection" / "examples.json"
    if saved.exists():
        try:
            kept = json.loads(saved.read_text(encoding="utf-8"))
            return kept["documents"], kept["counts"]
        except (ValueError, KeyError, TypeError):
            raise Fault(f"{saved} is damaged: delete it and go on with --resume") from None
    world = reasoning_world(run.tokenizer, config.tasks.levels(), config.tasks.shares())
    documents, counts = rejection.sample_and_filter(
        run.load("rl"), run.tokenizer, world.draw, config.sampling, seed, config.rl.max_new_tokens,
        progress=lambda pieces: tqdm(pieces, desc="sampling", unit="piece", leave=False))
    if not documents:
        raise Fault("rejection sampling kept nothing: the RL model has no verified, readable answer to learn from")
    documents += corpus.chat_examples(seed, config.sampling.num_chat)
    checkpoint.save_json(saved, {"documents": documents, "counts": counts})
    return documents, counts


def helpfulness(run: Run, model: GPT, seed: int) -> tuple[align.RewardModel, str]:
    """Trains the reward model, again where the stage goes on (about a minute), and measures it on pairs it never saw."""
    reward_model = align.RewardModel(model).to(run.device)
    longest = run.config.align.max_new_tokens
    pairs = align.preference_pairs(model, run.tokenizer, seed, run.config.num_preference_prompts, longest)
    optimizer = torch.optim.AdamW(reward_model.parameters(), lr=5e-4)
    for _ in tqdm(align.train_reward_model(reward_model, optimizer, run.tokenizer, pairs), desc="reward model",
                  total=align.NUM_PASSES * -(-len(pairs) // 64), leave=False):
        pass
    held_out = align.preference_pairs(model, run.tokenizer, seed, 1000, longest, test=True)
    parallel.same_weights(reward_model)
    right, total = align.pair_accuracy(reward_model, run.tokenizer, held_out)
    return reward_model, f"orders {right} of {total} held-out pairs as the judge did"


class CtrlC:
    """Lets an iteration end before Ctrl-C stops the run, so that what is saved is never half an update.

    A second Ctrl-C stops at once, with the last checkpoint as it was.
    """

    def __enter__(self):
        self.pressed, self.before = False, signal.signal(signal.SIGINT, self.press)
        return self

    def press(self, *_) -> None:
        if self.pressed:
            raise KeyboardInterrupt
        self.pressed = True

    def __exit__(self, *_):
        signal.signal(signal.SIGINT, self.before)


def run_stage(run: Run, stage: str) -> tuple[GPT, float, dict]:
    """Trains one stage, from where its checkpoint stands. Returns (model, seconds of training, notes).

    That a checkpoint is there means that the user wants to go on from it: `open_run` has seen to that.
    """
    path, lines = run.path(stage), run.folder / stage / "metrics.jsonl"
    began, start = time.time(), 0      # `began` is moved so that now - began is the time of training alone
    if path.exists():
        state = checkpoint.load(path)
        if state["done"]:
            return run.load(stage), state["seconds"], {}
        start, began = state["iteration"], began - state["seconds"]
    path.parent.mkdir(parents=True, exist_ok=True)
    model, optimizer, loop, total, extra, notes = prepare(run, stage)
    if start:
        model.load_state_dict(state["model"])
        load_state(optimizer, state["optimizer"])
        for name, module in extra.items():
            module.load_state_dict(state["extra"][name])
    first = parallel.rank() == 0          # the one that writes
    if first:
        metrics.truncate(lines, start)

    def save(iteration, done):
        if first:
            checkpoint.save(path, model=model.state_dict(), optimizer={} if done else optimizer.state_dict(),
                            config=to_dict(run.config), stage=stage, iteration=iteration, done=done,
                            seconds=time.time() - began,
                            extra={name: module.state_dict() for name, module in extra.items()})

    finished, saved = start, time.time()
    with CtrlC() as ctrl_c, tqdm(total=total, initial=start, desc=stage, unit="step", mininterval=0.5,
                                 disable=not first) as bar:
        for values in loop(start):
            if not all(math.isfinite(v) for v in values.values()):
                raise Fault(f"{stage}: a number became infinite or undefined at iteration {finished}; the checkpoint "
                            f"before it is kept in {path.parent}: try a lower learning rate")
            finished += 1
            if run.config.evaluate.every and (finished % run.config.evaluate.every == 0 or finished == total) and first:
                looked = time.time()
                values = values | quick_accuracy(model, run.tokenizer, run.config)
                began += time.time() - looked
            if first:
                metrics.append(lines, values)
            bar.set_postfix({SHOWN[k]: f"{values[k]:.3g}" for k in SHOWN if k in values}, refresh=False)
            bar.update()
            stopping = parallel.total(ctrl_c.pressed)      # any of the processes: they stop at the same iteration
            if stopping or time.time() - saved > SAVE_EVERY:
                save(finished, done=False)
                saved = time.time()
            if stopping:
                raise KeyboardInterrupt
    save(finished, done=True)
    parallel.gather(None)                 # nobody goes on before the checkpoint is there
    return model.eval(), time.time() - began, notes


# -----------------------------------------------------------------------------
# The whole run

def stages_of(config: Config) -> tuple[str, ...]:
    return ("base", "rl") if config.pure_rl else STAGES


def read_results(folder: Path) -> dict | None:
    """What results.json of a run holds, None where there is no such file. Raises Fault on a damaged one."""
    path = folder / "results.json"
    try:
        return report.read_results(path) if path.exists() else None
    except Fault as error:
        raise Fault(f"{error}: delete it and go on with --resume") from None


def new_results(config: Config) -> dict:
    return {"command": "", "config": to_dict(config), "threads": torch.get_num_threads(), "stages": {}, "seconds": {},
            "notes": {}}


def peak_memory() -> float | None:
    """MiB of memory that this process ever held; None where the system does not say."""
    try:
        import resource
    except ImportError:     # Windows
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def run_stages(run: Run, stages: tuple[str, ...], command: str) -> dict:
    """Trains and evaluates each stage in turn, and writes results.json after each."""
    results = read_results(run.folder) or new_results(run.config)
    results["device"] = str(run.device)
    results["command"], printed = results["command"] or command, False
    for stage in stages:
        model, seconds, notes = run_stage(run, stage)
        if stage in results["stages"] or parallel.rank() > 0:
            continue
        began = time.time()
        results["stages"][stage] = evaluate(model, run.tokenizer, run.config)
        results["stages"] = {s: results["stages"][s] for s in STAGES if s in results["stages"]}
        results["seconds"][stage] = seconds
        results["seconds"][f"{stage} evaluation"] = time.time() - began
        results["notes"].update(notes)
        results["peak_memory_mib"] = peak_memory()
        checkpoint.save_json(run.folder / "results.json", results)
        head, _, row = table({stage: results["stages"][stage]})
        print(row if printed else f"{head}\n{row}", flush=True)
        printed = True
    return results


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train a toy reasoner from random weights.",
                                     usage="python train.py [STAGE] [--preset NAME] [--SETTING VALUE ...]; -h lists them",
                                     epilog="Every setting below can be changed; the presets set several at once.")
    parser.add_argument("stage", nargs="?", default="all", help=f"all (default), {', '.join(STAGES)}")
    parser.add_argument("--preset", default=argparse.SUPPRESS, help="smoke (half a minute), laptop (default) or gpu")
    parser.add_argument("--algo", default=argparse.SUPPRESS, help="grpo (default) or ppo")
    parser.add_argument("--out", help="folder of the run; a fresh runs/PRESET by default")
    parser.add_argument("--from", dest="source", metavar="RUN",
                        help="copy the finished stages before STAGE from this run (all: its base)")
    parser.add_argument("--resume", action="store_true", help="go on where the run (the newest, or --out) stopped")
    parser.add_argument("--device", help="cuda, mps or cpu; the best there is by default")
    add_flags(parser)
    return parser.parse_args(argv)


def open_run(args: argparse.Namespace, stack: contextlib.ExitStack) -> tuple[Config, Path]:
    """The run that the command line means: a new folder, or one to go on with, locked as long as `stack` is open. Raises
    BadInput."""
    given = {k: v for k, v in vars(args).items() if k not in ("stage", "out", "source", "resume", "device", "preset")}
    preset_name = getattr(args, "preset", None)
    if args.stage not in ("all", *STAGES):
        raise BadInput(f"unknown stage {args.stage!r}: choose all, {', '.join(STAGES)}")
    if given.get("algo", "grpo") not in ("grpo", "ppo"):
        raise BadInput(f"unknown algo {given['algo']!r}: choose grpo or ppo")
    wanted = preset(preset_name or "laptop")
    apply_flags(wanted, given)
    wanted.model.vocab_size = get_tokenizer().vocab_size
    folder = Path(args.out) if args.out else newest_run() if args.resume else fresh_folder(wanted)
    stored_path = folder / "config.json"
    if folder.exists() and not folder.is_dir():
        raise BadInput(f"{folder} is a file: choose another --out")
    if not stored_path.exists():
        if args.resume:
            raise BadInput(f"{folder} holds no run to resume: leave out --resume to start one")
        if folder.exists() and any(path.name != LOCK for path in folder.iterdir()):
            raise BadInput(f"{folder} is not empty and holds no run: choose another --out")
        if args.stage not in ("all", "base") and not args.source:
            raise BadInput(f"stage {args.stage} needs a run with the stages before it: give its folder with --out")
        for task, levels in wanted.tasks.levels().items():      # that there are so many is found out now, not in an hour
            number = wanted.evaluate.num_programs if task == "program" else wanted.evaluate.num_problems
            test_problems(task, levels, max(number, wanted.evaluate.num_quick if wanted.evaluate.every else 1),
                          wanted.evaluate.seed)
        if args.source and args.stage == "base":
            raise BadInput("--from copies the stages before STAGE, and nothing comes before base: leave it out")
        needed = finished_stages(Path(args.source), args.stage, wanted) if args.source else ()
        stack.enter_context(locked(folder))
        if stored_path.exists():
            raise BadInput(f"another train.py has just begun a run in {folder}: choose another --out")
        if needed:
            copy_stages(Path(args.source), folder, needed, wanted)
        checkpoint.save_json(stored_path, to_dict(wanted))
        return wanted, folder
    stack.enter_context(locked(folder))
    if args.source and not args.resume:
        raise BadInput(f"{folder} holds a run already: --from is for a new one, choose another --out")
    try:
        stored = from_dict(json.loads(stored_path.read_text(encoding="utf-8")))
    except (ValueError, TypeError, AttributeError) as error:
        raise Fault(f"{stored_path} is damaged or of another version: {error}") from None
    wanted = apply_flags(wanted if preset_name else from_dict(to_dict(stored)), given)
    differing = [f"{a}.{k}" if isinstance(old, dict) else a
                 for a, old, new in ((a, v, to_dict(wanted)[a]) for a, v in to_dict(stored).items()) if old != new
                 for k in (old if isinstance(old, dict) else [a]) if not isinstance(old, dict) or old[k] != new[k]]
    if differing:
        raise BadInput(f"{folder} was made with other settings ({', '.join(differing[:4])}): choose another --out")
    done = [s for s in (stages_of(stored) if args.stage == "all" else [args.stage])
            if (folder / s / "checkpoint.pt").exists()]
    if done and not args.resume:
        raise BadInput(f"{folder} already holds {', '.join(done)}: go on with --resume or choose another --out")
    return stored, folder


def finished_stages(source: Path, stage: str, config: Config) -> tuple[str, ...]:
    """The stages that must be there before `stage`, all finished in another run. Raises BadInput."""
    stages = stages_of(config)
    needed = stages[:max(1, stages.index(stage))] if stage in stages else ("base",)
    for name in needed:
        path = source / name / "checkpoint.pt"
        if not path.exists() or not (state := checkpoint.load(path))["done"]:
            raise BadInput(f"{source} has no finished stage {name!r} to start from")
        if state["config"]["model"] != to_dict(config.model):
            raise BadInput(f"{source} holds another size of model: give the same --model flags or another --from")
    return needed


def copy_stages(source: Path, folder: Path, needed: tuple[str, ...], config: Config) -> None:
    """Copies finished stages of another run: checkpoints, curves and results."""
    results = read_results(source)
    try:
        for name in needed:
            shutil.copytree(source / name, folder / name, ignore=shutil.ignore_patterns("*.tmp"))
    except BaseException:       # a full disk, Ctrl-C: what is half there is no run, and in the way of one
        for name in needed:
            shutil.rmtree(folder / name, ignore_errors=True)
        raise
    if results and scored_on(results["config"]) == scored_on(to_dict(config)):      # else they are scored by `train.py all`
        kept = {s: results["stages"][s] for s in needed if s in results["stages"]}
        checkpoint.save_json(folder / "results.json", new_results(config) | {
            "stages": kept, "seconds": {s: results["seconds"][s] for s in kept},
            "notes": {"started from": f"{', '.join(needed)} of {source}"}})


def newest_run() -> Path:
    runs = sorted(Path("runs").glob("*/config.json"), key=lambda path: path.stat().st_mtime)
    if not runs:
        raise BadInput("there is no run to resume in runs/")
    return runs[-1].parent


def fresh_folder(config: Config) -> Path:
    name = config.preset + ("-ppo" if config.algo == "ppo" else "") + ("-pure" if config.pure_rl else "")
    number = 1
    while (folder := Path("runs") / (name if number == 1 else f"{name}-{number}")).exists():
        number += 1
    return folder


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keeps any other train.py out of a folder until the block ends, or the process does: the system opens the lock of
    one that was killed. Raises BadInput where another holds it."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / LOCK, "ab") as file:
        try:
            import fcntl
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BadInput(f"another train.py is at work in {folder}: let it finish or choose another --out") from None
        except (ImportError, OSError):      # Windows, or a file system without locks: nobody is kept out
            pass
        yield


@exit_codes("train.py")
def main(argv: list[str] | None = None) -> int | None:
    command = "python train.py " + " ".join(sys.argv[1:] if argv is None else argv)
    args, folder = parse(argv), None
    device = parallel.start(checkpoint.pick_device(args.device))
    with contextlib.ExitStack() as stack:
        try:
            config, folder = parallel.from_first(open_run(args, stack) if parallel.rank() == 0 else None)
            run = Run(folder, config, device)
            stages = stages_of(config) if args.stage == "all" else (args.stage,)
            if parallel.rank() > 0:
                run_stages(run, stages, command)
                return parallel.stop()
            print(f"{folder} on {device}, preset {config.preset}, {config.algo}, seed {config.seed}", flush=True)
            results = run_stages(run, stages, command.strip())
            parallel.stop()
            report.write_report(folder, results)
            try_out = '"make 42 from 3 8 6" --votes 8' if config.tasks.countdown_share else '"compute 3+4"'
            print("\n".join(["", *table(results["stages"]), "",
                             f"everything is in {folder}: report.html (the same in report.md), results.json, figures, checkpoints",
                             f'next: python sample.py {try_out} --run {folder}']), flush=True)
        except KeyboardInterrupt:
            if folder:
                raise KeyboardInterrupt(f"stopped and saved; go on with: python train.py --resume --out {folder}") from None
            raise


if __name__ == "__main__":
    parallel.leave(main())
