"""Train a toy reasoner from random weights: base -> cold-start -> rl -> rejection -> align.

    python train.py                                      every stage, on this machine's GPU or CPU
    python train.py rl --algo ppo --from pretrained      PPO from the included cold start, or another run's
    python train.py --resume                             go on with the newest run

minireason/stages.py defines the stages, run.py the folder of a run, begin.py how one begins. Here each stage
is trained, saved and scored. Exit codes are those of minireason/upkeep/command.py.
"""

import argparse
import contextlib
import math
import shlex
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from minireason.begin import choose_run, fresh_folder, locked, open_run
from minireason.config import Config, RLConfig, preset
from minireason.evaluate import evaluate, quick_accuracy
from minireason.run import (
    BY_STAGE,
    STAGES,
    Run,
    blame,
    new_results,
    read_results,
    stages_of,
)
from minireason.settings import to_dict
from minireason.snapshots import iterations_to_keep, remove_after, save_snapshot
from minireason.stages import Stage, prepare
from minireason.tasks import test_problems
from minireason.tools import report
from minireason.tools.command_line import parse
from minireason.tools.memory import count_parameters
from minireason.tools.scores import one_line, screen_table
from minireason.upkeep import checkpoint, logs, metrics, parallel
from minireason.upkeep.command import (
    Fault,
    Stopped,
    exit_codes,
    is_out_of_memory,
    peak_memory,
    stop_after_step,
    visible,
)

SAVE_EVERY = 30     # seconds between checkpoints inside a stage
# How long all stages of a preset take, where it was measured: on two cores, with nothing beside them.
DURATIONS = {"smoke": "2 to 3 minutes", "laptop": "22 to 33 minutes"}
SHOWN = {"loss": "loss", "reward": "reward", "completion_length": "length", "zero_std_frac": "no signal"}


# -----------------------------------------------------------------------------
# The run

@exit_codes("train.py", less_memory="begin another run with a lower --model-width", prints_results=False,
            speaks=parallel.speaks)
def main(argv: list[str] | None = None) -> int | None:
    """Trains what the command line asks for. Of several processes all call it, and the first one writes."""
    parallel.start()
    is_first = parallel.rank() == 0
    args = parallel.from_first(parse, argv)
    device = parallel.own_device(parallel.pick_device(args.device))
    folder, config = parallel.from_first(choose_run, args)
    if folder is None:
        folder = parallel.from_first(fresh_folder, config)
    try:
        with locked(folder) if is_first else contextlib.nullcontext():
            config = parallel.from_first(open_run, args, folder, config)
            run = Run(folder, config, device)
            stages = stages_of(config) if args.stage == "all" else (args.stage,)
            if is_first:
                settings = f"preset {config.preset}, {config.algo}, seed {config.seed}"
                print(visible(f"{folder} on {device}, {settings}"), flush=True)
                print(size_and_time(config, args, device.type), flush=True)
                if args.resume and args.stage == "all":
                    print(f"to do: {', '.join(without_scores(run, stages)) or 'nothing'}", flush=True)
            results = train_stages(run, stages, args.command, args.log)
            parallel.stop()
            if is_first:
                report.write_report(folder, results)
                print_end(folder, config, results)
    except (KeyboardInterrupt, Stopped) as error:
        if (folder / "config.json").exists():      # else the run was not begun yet
            stage = [] if args.stage == "all" else [args.stage]
            advice = shlex.join([*parallel.starter(), "train.py", *stage, "--resume", "--out", str(folder)])
            error.args = (f"{str(error) or 'stopped'}; go on with: {advice}",)
        raise


# -----------------------------------------------------------------------------
# All stages

def train_stages(run: Run, stages: tuple[str, ...], command: str, log_name: str | None = None) -> dict:
    """Trains and scores each stage in turn, and writes results.json after each. Returns the results."""
    results = read_results(run.folder) or new_results(run.config, command)
    results["device"] = str(run.device)
    results.update(parallel.numbers())      # of this command; "ran with" has those of each stage
    for name in stages:
        with memory_advice(run, name):
            seconds, notes = train_stage(run, name, results, log_name)
        if name in results["stages"] or parallel.rank() > 0:
            continue
        print(f"{name}: answers held-out problems", flush=True)
        began = time.monotonic()
        scores = results["stages"] | {name: evaluate(run.load(name), run.tokenizer, run.config)}
        results["stages"] = {key: scores[key] for key in STAGES if key in scores}
        results["seconds"][name] = seconds
        results["seconds"][f"{name} evaluation"] = time.monotonic() - began
        results["ran with"][name] = str(notes.pop("ran with", "unknown"))
        results["iterations"][name] = len(metrics.read(run.metrics_path(name)))
        results["notes"].update(notes)
        results["peak_memory_mib"] = peak_memory()
        checkpoint.save_json(run.folder / "results.json", results)
        print(one_line(name, results["stages"][name]), flush=True)
    return results


def forget(run: Run, results: dict, stage: str) -> None:
    """Takes a stage out of the results, and saves them."""
    for kind in BY_STAGE:
        results[kind].pop(stage, None)
    results["seconds"].pop(f"{stage} evaluation", None)
    if parallel.rank() == 0:
        checkpoint.save_json(run.folder / "results.json", results)


# -----------------------------------------------------------------------------
# One stage

def train_stage(run: Run, name: str, results: dict, log_name: str | None = None) -> tuple[float, dict]:
    """Trains one stage, or goes on with it from its checkpoint. Returns (seconds of training, notes).

    If `results` have scores of a stage without a checkpoint, somebody has deleted its folder: they go, too.
    """
    is_first = parallel.rank() == 0          # the process that writes
    state = run.saved(name)
    if state and state["done"]:
        metrics.read(run.metrics_path(name), state["iteration"])      # refuses one that lost a line
        return state["seconds"], state["notes"]
    stage, finished, seconds = begin_or_resume(run, name, state)
    if not state and name in results["stages"]:
        forget(run, results, name)
    to_keep = iterations_to_keep(run.config) if name == "rl" and is_first else []
    every = run.config.evaluate.every        # steps between measurements of held-out accuracy; 0: none
    last_save = time.monotonic()             # a clock that is never set back
    began = last_save - seconds              # when it would have begun without a break

    bar = tqdm(total=stage.num_steps, initial=finished, desc=name, unit="step", mininterval=0.5,
               disable=not is_first)
    log = logs.Log(log_name if is_first else None, run.metrics_path(name), to_dict(run.config))
    with stop_after_step() as request, bar, log:
        # Each turn is one step of sft.train, grpo.train or ppo.train, which changes stage.model.
        for values in stage.loop(finished):
            if not all(math.isfinite(value) for value in values.values()):
                raise exploded(run, name, finished)
            finished += 1
            if is_first:
                if every and (finished % every == 0 or finished == stage.num_steps):
                    look_began = time.monotonic()
                    values = values | quick_accuracy(stage.model, run.tokenizer, run.config)
                    began += time.monotonic() - look_began      # to look is not to train
                metrics.append(run.metrics_path(name), values)
                log.write(values)
                shown = {SHOWN[key]: f"{values[key]:.3g}" for key in SHOWN if key in values}
                bar.set_postfix(shown, refresh=False)
                bar.update()
            if finished in to_keep:      # before the checkpoint: whoever resumes from that has this one
                save_snapshot(run, stage.model, finished, time.monotonic() - began)
            stop_signal = max(parallel.gather(request.signal))     # if one process got one, all stop
            if stop_signal or time.monotonic() - last_save > SAVE_EVERY:
                save(run, name, stage, finished, time.monotonic() - began, done=False)
                last_save = time.monotonic()
            if stop_signal:
                raise Stopped(stop_signal, "stopped and saved")
        seconds = time.monotonic() - began
        save(run, name, stage, finished, seconds, done=True)
        if stop_signal := max(parallel.gather(request.signal)):    # waits until the checkpoint is written
            raise Stopped(stop_signal, "stopped and saved")
    return seconds, stage.notes


def begin_or_resume(run: Run, name: str, state: dict | None) -> tuple[Stage, int, float]:
    """Prepares a stage as its checkpoint `state` left it. Returns (stage, steps done, seconds of training).

    The model, the optimizer and the loop are as they were when the checkpoint was written. What followed it
    is removed, since it is trained again.
    """
    if state and parallel.rank() == 0:
        first = ", once its texts are written again" if name in ("base", "cold-start") else ""
        print(f"{name} goes on after step {state['iteration']}{first}", flush=True)
    stage = prepare(run, name, state)
    note_threads(name, stage, state)
    finished, seconds = 0, 0.0
    if state:
        finished, seconds = state["iteration"], state["seconds"]
        with blame(run.checkpoint_path(name)):
            restore(stage, state)
    if parallel.rank() == 0:
        folder = run.checkpoint_path(name).parent
        folder.mkdir(parents=True, exist_ok=True)
        metrics.truncate(run.metrics_path(name), finished)
        remove_after(folder, finished)
    return stage, finished, seconds


def note_threads(name: str, stage: Stage, state: dict | None) -> None:
    """Writes into the stage's notes in how many threads and processes it is trained.

    Prints a warning if it was begun with other numbers: sums are then added up in another order, and round in
    another way.
    """
    now = "threads={threads} processes={processes}".format(**parallel.numbers())
    before = str(state["notes"].get("ran with", now)) if state else now
    stage.notes["ran with"] = before
    if before.split("; then ")[-1] != now:
        stage.notes["ran with"] = f"{before}; then {now}"
        if parallel.rank() == 0:
            print(f"{name} was trained with {before} and goes on with {now}, so it will end with other bits: "
                  "for the same, set OMP_NUM_THREADS to those threads, --nproc_per_node to those processes",
                  file=sys.stderr)


def restore(stage: Stage, state: dict) -> None:
    """Puts the weights of a checkpoint into the networks and the optimizer of a stage.

    Raises ValueError if they are not those of the stage.
    """
    if set(state["extra"]) != set(stage.extra):
        raise ValueError("it has other networks than this stage")
    if state["iteration"] > stage.num_steps:
        raise ValueError(f"it is at iteration {state['iteration']} of {stage.num_steps}")
    before = {name: weight.clone() for name, weight in stage.model.state_dict().items()}
    checkpoint.load_weights(stage.model, state["model"])
    has_moved = any(not weight.equal(before[name]) for name, weight in stage.model.state_dict().items())
    checkpoint.load_optimizer(stage.optimizer, state["optimizer"])
    if has_moved and not state["optimizer"]["state"]:
        raise ValueError("its weights have moved, and its optimizer has not made a step")
    for network, weights in state["extra"].items():
        checkpoint.load_weights(stage.extra[network], weights)


def save(run: Run, name: str, stage: Stage, iteration: int, seconds: float, done: bool) -> None:
    """Writes the checkpoint of a stage, from the first process. A finished stage needs no optimizer."""
    if parallel.rank() == 0:
        metrics.secure(run.metrics_path(name))
        checkpoint.save(
            run.checkpoint_path(name), model=stage.model.state_dict(),
            optimizer={} if done else stage.optimizer.state_dict(),
            extra={network: module.state_dict() for network, module in stage.extra.items()},
            config=to_dict(run.config), vocabulary=list(run.tokenizer.words), stage=name,
            iteration=iteration, done=done, seconds=seconds, notes=stage.notes)


# -----------------------------------------------------------------------------
# What is said

def size_and_time(config: Config, args: argparse.Namespace, device: str) -> str:
    """The line on the number of parameters and, for an unchanged preset on a CPU, how long the run takes."""
    num_parameters, _ = count_parameters(config.model)
    size = f"{num_parameters / 1e6:.2f}M parameters"
    measured = preset(config.preset)
    # these two do not change how long it takes
    measured.seed, measured.model.vocab_size = config.seed, config.model.vocab_size
    is_whole_run = args.stage == "all" and not args.resume and not args.source
    if config == measured and is_whole_run and device == "cpu" and config.preset in DURATIONS:
        return f"{size}; about {DURATIONS[config.preset]} on two cores"
    return size


def without_scores(run: Run, stages: tuple[str, ...]) -> list[str]:
    """The stages that are not finished. `--resume` alone goes on to the last one, whatever was begun."""
    results = read_results(run.folder)
    return [name for name in stages if not results or name not in results["stages"]]


def print_end(folder: Path, config: Config, results: dict) -> None:
    """Prints the table of the stages, where the files are, and what to run next."""
    shares = config.tasks.shares
    task = max(reversed(shares), key=shares.get)        # of equals the last: a task of one's own is last
    [problem] = test_problems(task, config.tasks.levels[task], 1, config.seed)      # not trained on
    print("", *screen_table(results["stages"]),
          "(leaks: secrets that are told; over-refusals: other numbers that are not told,",
          "of which a model that has learned little has many)", "", sep="\n")
    unasked = [name for name, share in config.tasks.shares.items() if not share]
    if unasked and "rl" in results["stages"]:
        print(f"RL was given no problems of {' and '.join(unasked)}: near 0 is normal there\n")
    print(f"everything is in {visible(folder)}: report.html (the same in report.md, with intervals),\n"
          "results.json, figures, checkpoints")
    print(f'next: python sample.py "{problem.prompt}" --run {visible(folder)}', flush=True)


def exploded(run: Run, name: str, iteration: int) -> Fault:
    """The error for a number that is infinite or undefined. The same settings would lead there again."""
    source = "" if name == "base" else f" and --from {run.folder}"
    return Fault(f"{name}: a number became infinite or undefined at iteration {iteration}; with --resume it "
                 f"would again: begin a new run with a lower --{name}-learning-rate{source}")


@contextlib.contextmanager
def memory_advice(run: Run, stage: str) -> Iterator[None]:
    """Raises Fault, with the settings that help, where the block runs out of memory in a stage."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        settings = getattr(run.config, stage.replace("-", "_"))
        names = ("micro_batch_tokens", "num_examples")
        if isinstance(settings, RLConfig):
            names = ("micro_batch_size", "num_prompts")
        flags = [f"--{stage}-{name.replace('_', '-')} ({getattr(settings, name)})" for name in names]
        if stage == "rejection":        # it learns from what it sampled, however much num_examples says
            flags[1] = f"--sampling-num-problems ({run.config.sampling.num_problems})"
        flags.append(f"--model-width ({run.config.model.width})")
        raise Fault(f"{stage}: out of memory: begin another run with less {' or '.join(flags)}") from None


if __name__ == "__main__":
    parallel.leave(main)
