"""The trained runs that the studies share: each is made once, found again, and gone on with where it was
interrupted.

A study is a script in lessons/studies/, and all of them are used alike:

    python lessons/studies/aha.py             trains what is missing in runs/studies/, and writes
                                              lessons/results/C3.json and C3.png
    python lessons/studies/aha.py --fast      a minute: tiny runs from the included weights, in
                                              runs/studies/fast/; lessons/results/ stays as it is
    python lessons/studies/aha.py --help      what else there is

What is kept was measured with the constants that a study had then. Who turns a constant of a study, such as a
number of problems, deletes its arms in lessons/results/arms/, or uses --fast and deletes runs/studies/fast/:
only the settings of train.py are compared.

A study may be started twice at once, in two terminals for example: each process takes what the other is not
making. `python lessons/run_studies.py` starts as many processes as you like, for all studies.

`python lessons/runs.py` lists the runs that are there, and the seconds of their stages. `python
lessons/runs.py keep 1` copies the base of seed 1 to lessons/results/bases/. A new whole run of seed 1 then
starts from it.
"""

import argparse
import contextlib
import dataclasses
import inspect
import json
import math
import os
import sys
import time
from pathlib import Path
from unittest import mock

import numpy as np
import shared
import torch
from shared import ROOT

import train
from minireason import run, snapshots, stages
from minireason.config import Config, preset
from minireason.evaluate import evaluate, evaluate_task, quick_accuracy
from minireason.run import PRETRAINED, config_of_run, folder_of, read_results
from minireason.settings import changed_settings, check_variants, from_dict, quoted, settings_of, to_dict
from minireason.stats import bootstrap_interval
from minireason.tokenizer import get_tokenizer
from minireason.tools import command_line
from minireason.tools.flags import apply_flags
from minireason.tools.scores import tasks_of
from minireason.upkeep import checkpoint, metrics
from minireason.upkeep.belonging import different_settings
from minireason.upkeep.checkpoint import load_weights, save_json, write_atomically
from minireason.upkeep.command import BadInput, Fault, exit_codes
from minireason.upkeep.files import read_json
from minireason.upkeep.parallel import pick_device

STUDIES = ROOT / "runs" / "studies"      # trained runs, and what was measured of them
RESULTS = shared.RESULTS                 # the numbers and figures of the claims
BASES = RESULTS / "bases"                # bases that are kept, as folders of runs
PAUSE = 5                                # seconds between two looks at what other processes are making
BUSY = 3                                 # exit code with --share: other processes are making the rest
# settings outside of any section that do not change how a base is trained
AFTER_THE_BASE = ("preset", "algo", "pure_rl", "language_price", "rl_snapshots", "num_preference_prompts")
# studies that have settings of their own
OWN_SETTINGS = ("compare_imitation_rl", "compare_verifiers", "generalize", "guess", "languages")
PIECES = ("micro_batch_size", "micro_batch_tokens")      # how much is computed at once; only rounding differs
FAST_FLAGS = (                           # for train.py, in a study with --fast
    "--base-num-examples", 500, "--rl-num-iterations", 2, "--rl-num-prompts", 4, "--rl-group-size", 4,
    "--align-num-iterations", 2, "--align-num-prompts", 4, "--align-group-size", 4,
    "--num-preference-prompts", 200, "--sampling-num-problems", 30, "--sampling-num-chat", 10,
    "--rejection-num-epochs", 1, "--evaluate-num-problems", 20, "--evaluate-num-programs", 20,
    "--evaluate-num-quick", 20)
# What figures call the models of C3 and C6, where that is not the name of their arm.
TITLES = {"RL after it": "cold start + RL", "RL, mixing priced": "cold start + RL, mixing priced",
          "RL, one language": "cold start + RL, one language", "control, RL": "control + RL"}


# `parse` sets these for its process, and `work_off` the last one.
device = "cpu"      # where models answer: the device on which train.py trains
study = None        # such as "study-aha". The process holds this lock, except during `work_off`
shares = False      # --share: where it would wait for another process, it ends
study_lock = contextlib.ExitStack()     # what holds the lock of the study; closed, it is free
may_wait = True     # False, in `work_off`: `alone` raises Busy where it would wait


# -----------------------------------------------------------------------------
# The command line of a study

def make_parser(description, num_seeds):
    """Returns a parser with the flags of all studies, to which a study adds its own.

    `num_seeds` is the default of --seeds.
    """
    epilog = "Any other flag goes to train.py, such as --rl-num-iterations 100."
    if has_own_settings():
        epilog = "Its settings are its own: of train.py's flags it takes --device and the sizes of pieces."
    parser = argparse.ArgumentParser(description=description, allow_abbrev=False, epilog=epilog)
    parser.add_argument("--seeds", type=int, metavar="N",
                        help=f"runs from so many other random weights (default: {num_seeds}, with --fast 1)")
    parser.add_argument("--fast", action="store_true",
                        help="a minute, with tiny runs from the included weights; changes no result")
    parser.add_argument("--share", action="store_true",
                        help="leave to other processes what they are making: then write nothing, end with 3")
    parser.set_defaults(num_seeds=num_seeds)
    return parser


def parse(parser):
    """Reads the command line, sets the globals above, and takes the lock of the study.

    Returns .seeds (a range), .fast, .command (the whole line), .given_flags (those for train.py), and .flags:
    the given ones, after those that --fast adds.
    """
    args, args.given_flags = parser.parse_known_args()
    if args.seeds is None:
        args.seeds = 1 if args.fast else args.num_seeds
    if args.seeds < 1:
        parser.error("--seeds is at least 1")
    args.seeds = range(args.seeds)
    args.flags = [*FAST_FLAGS, *args.given_flags] if args.fast else args.given_flags
    global device, shares, study
    shares = args.share
    try:
        given = train.parse(args.given_flags)
        refuse_what_a_study_sets(given, args.given_flags)
        if has_own_settings():
            refuse_settings(given)
        check_variants(config_asked(args.flags))    # what no run can have is refused before one begins
        device = pick_device(given.device)
    except ValueError as error:      # BadInput is a ValueError, too
        parser.error(str(error))
    words = [word for word in sys.argv[1:] if word != "--share"]
    args.command = " ".join([f"python lessons/studies/{Path(sys.argv[0]).name}", *words])
    if args.fast:
        write_elsewhere()
    study = f"study-{Path(sys.argv[0]).stem}"
    study_lock.close()
    study_lock.enter_context(alone(study))
    return args


def has_own_settings():
    """Whether the study that runs has settings of its own, and cannot follow those of train.py."""
    return Path(sys.argv[0]).stem in OWN_SETTINGS


def refuse_what_a_study_sets(given, words):
    """Raises BadInput for what a study tells train.py itself: stage, seed, and where a run starts and lies.

    `given` is what train.py reads in the `words` of the command line.
    """
    if given.stage != "all" or "all" in words:
        raise BadInput(f"a study has no stage {quoted(given.stage)}: it names the stages of its runs itself")
    if hasattr(given, "seed"):
        raise BadInput("--seed: a study has --seeds N, for the seeds 0 to N-1")
    if given.source or given.out or given.resume:
        raise BadInput("--from, --out and --resume: a study knows its runs, and goes on by itself")


def refuse_settings(given):
    """Raises BadInput for settings of train.py. The studies of OWN_SETTINGS would not follow all of them.

    What is computed at a time (PIECES) may be given: it changes no number but by rounding.
    """
    names = [name for name in command_line.given_flags(given) if name.rpartition(".")[2] not in PIECES]
    if hasattr(given, "preset"):
        names.append("preset")
    if names:
        raise BadInput(f"this study has settings of its own, and cannot take: {', '.join(names)}")


def write_elsewhere():
    """From here on, runs, numbers and figures go to runs/studies/fast/."""
    global STUDIES, RESULTS
    STUDIES = STUDIES / "fast"
    RESULTS = STUDIES
    STUDIES.mkdir(parents=True, exist_ok=True)


def config_asked(flags):
    """The settings that train.py makes of its flags today. Raises ValueError where it would refuse them."""
    given = train.parse([str(flag) for flag in flags])
    return apply_flags(preset(getattr(given, "preset", "laptop")), command_line.given_flags(given))


def asked_or_exit(flags):
    """The settings that train.py makes of its flags today. Ends the program with 2 where it refuses them."""
    try:
        return config_asked(flags)
    except ValueError as error:
        print(error, file=sys.stderr)
        sys.exit(2)


# -----------------------------------------------------------------------------
# Runs that studies share

def whole_run(seed, args, needs="align"):
    """Makes the run of `python train.py --seed N` as far as the stage `needs`, if it is not there yet.

    Returns what `open_model` takes: the folder of the run, or "pretrained". The run starts from the base in
    lessons/results/bases/ if that one fits, since training a base takes most of the time. With --fast
    "pretrained", the included weights, replaces the run, or the run goes on from them for a few steps.
    """
    if args.fast and needs in ("cold-start", "rl"):
        return PRETRAINED
    if args.fast:
        name = f"rejection-{seed}"
        ensure(name, "rejection", "--from", PRETRAINED, "--seed", seed, *args.flags)
    else:
        name = f"seed-{seed}"
        ensure(name, "--seed", seed, *args.flags, needs=needs, base=BASES / name)
    return STUDIES / name


def keep_base(seed):
    """Puts the base of a whole run into lessons/results/bases/, in half precision, with its scores."""
    source, kept_at = STUDIES / f"seed-{seed}", BASES / f"seed-{seed}"
    state, results = run.open_model(source, "base")[1], read_results(source)
    if results is None or "base" not in results["stages"]:
        raise BadInput(f"{source} has no finished base")
    for name in run.BY_STAGE:
        results[name] = {stage: value for stage, value in results[name].items() if stage == "base"}
    # `trained` names the whole path of --out, and what is kept is for every machine
    results["command"] = results["command"].replace(f"{ROOT}/", "")
    state |= {"model": checkpoint.halved(state["model"]), "optimizer": {}, "extra": {}}
    checkpoint.save(run.checkpoint_path(kept_at, "base"), **state)
    save_json(kept_at / "config.json", to_dict(config_of_run(source)))
    save_json(kept_at / "results.json", results)


def fits(base, flags):
    """Whether the folder `base` holds a base that a run with these flags would train in the same way."""
    if not (base / "config.json").exists():
        return False
    stored, wanted = or_exit(config_of_run, base), config_asked(flags)
    wanted.model.vocab_size = stored.model.vocab_size       # more words are no difference: they are added
    differing = {*changed_settings(stored, wanted), *changed_settings(wanted, stored)}     # a task may be new
    for name in differing:
        group, _, setting = name.rpartition(".")
        if group in ("", "model", "tasks", "base") and setting not in (*PIECES, *AFTER_THE_BASE):
            return False
    return True


def pure_run(seed, args):
    """Does RL from the base of `whole_run`, without a cold start, if it is not done. Returns its folder."""
    name = f"pure-{seed}"
    ensure(name, "rl", "--pure-rl", "--seed", seed, "--from", whole_run(seed, args, "rl"), *args.flags)
    return STUDIES / name


def unpriced_run(seed, args):
    """Does RL from the cold start of `whole_run`, if it is not done, without a price on mixing languages.

    So it is rewarded as `pure_run` is: for right answers alone. Returns the folder of the run.
    """
    name = f"unpriced-{seed}"
    ensure(name, "rl", "--language-price", 0, "--seed", seed, "--from", whole_run(seed, args, "rl"),
           *args.flags)
    return STUDIES / name


def title_of(arm):
    return TITLES.get(arm, arm)


def model_of_arm(arm, seed, args):
    """The run and the stage of a model that both C3 and C6 ask, by its name there; trains what is missing."""
    if arm == "pure RL":
        return pure_run(seed, args), "rl"
    if arm == "RL after it":
        return unpriced_run(seed, args), "rl"
    stage = {"base": "base", "cold start": "cold-start", "RL, mixing priced": "rl"}[arm]
    return whole_run(seed, args, needs="rl"), stage


def sized_base(width, num_documents, seed, args):
    """Trains a base of this width on so many documents, if it is not there. Returns the run's folder."""
    name = f"base-{width}-{num_documents}-{seed}"
    ensure(name, "base", "--seed", seed, *args.flags, *flags_of_width(width, args),
           "--base-num-examples", num_documents)
    return STUDIES / name


def sized_run(width, num_documents, seed, args):
    """Does RL from a `sized_base`, without a cold start, if it is not done. Returns its folder.

    A base of the usual size is that of `pure_run`, a run that other studies need as well.
    """
    config = config_asked(args.flags)
    if (width, num_documents) == (config.model.width, config.base.num_examples):
        return pure_run(seed, args)
    name, base = f"size-{width}-{num_documents}-{seed}", sized_base(width, num_documents, seed, args)
    ensure(name, "rl", "--pure-rl", "--seed", seed, "--from", base, *args.flags,
           *flags_of_width(width, args), "--base-num-examples", num_documents)
    return STUDIES / name


def flags_of_width(width, args):
    """Returns the flags of a model of this width, for train.py.

    Learning rates are the usual ones times usual width / width: the best rate of Adam falls with the width.
    """
    config, flags = config_asked(args.flags), ["--model-width", width, "--model-mlp-width", mlp_width(width)]
    for stage, settings in (("base", config.base), ("cold-start", config.cold_start), ("rl", config.rl)):
        rate = settings.learning_rate * config.model.width / width
        flags += [f"--{stage}-learning-rate", f"{rate:g}"]
    return flags


def mlp_width(width):
    """SwiGLU's inner size: 352 at width 128, and in proportion."""
    return width * 11 // 4


def rewarded_run(name, reward, seed, args):
    """Does RL as `pure_run` does, but with this reward, if it is not done. Returns its folder.

    reward(problems, completions) returns one number for each completion; those of a group are consecutive.
    A random reward must take its seed from its arguments: a resumed run computes some rewards a second time.
    """
    source = whole_run(seed, args, "rl")        # before the reward is replaced
    usual_world = stages.rl_world

    def rewarded_world(its_run):
        return dataclasses.replace(usual_world(its_run), reward=reward)

    # train.py has no flag for a reward, so the function that makes the World of RL is replaced meanwhile
    with mock.patch.object(stages, "rl_world", rewarded_world):
        ensure(f"{name}-{seed}", "rl", "--pure-rl", "--seed", seed, "--from", source, *args.flags)
    return STUDIES / f"{name}-{seed}"


# -----------------------------------------------------------------------------
# A run is made, or found

def ensure(name, *flags, needs=None, base=None):
    """Makes what is missing of the run runs/studies/`name` by `python train.py *flags`. Returns its results.

    `needs` is the stage that has to be there (default: the first of the flags, or align). A new run starts
    from the base in the folder `base`, if there is one that fits. If another process is making the same
    run, this one waits, or goes to its next job (see `work_off`). Ends the program with the exit code of
    train.py if that fails, and with 2 if the run was made with other flags, or with settings that these
    flags do not mean any more.
    """
    stage = needs
    if stage is None:
        stage = "align"
        if flags and not str(flags[0]).startswith("-"):
            stage = flags[0]
    results = found(name, flags, stage)
    if results is None:
        with alone(name):
            results = found(name, flags, stage)      # another process may have made it by now
            if results is None:
                results = trained(name, flags, needs, base)
    return results


def found(name, flags, stage):
    """Returns the results of a run, or None if it lacks this stage.

    Ends the program with 2 if the run was made with other flags or settings.
    """
    folder, flags_path = STUDIES / name, STUDIES / f"{name}.flags.json"
    if not (folder / "config.json").exists():
        return None
    if os.path.lexists(flags_path):
        begun_with = or_exit(read_json, flags_path, [str], "delete it")
        if begun_with != as_text(flags):
            print(f"{folder} was made with other flags ({' '.join(begun_with)}): delete or rename it",
                  file=sys.stderr)
            sys.exit(2)
    refuse_another_recipe(folder, as_text(flags))
    results = or_exit(read_results, folder)
    return results if results and stage in results["stages"] else None


def as_text(flags):
    """Returns flags as texts. Paths in the repository start at its root, so they are equal in any clone."""
    texts = []
    for flag in flags:
        if isinstance(flag, Path) and flag.is_relative_to(ROOT):
            flag = flag.relative_to(ROOT).as_posix()
        texts.append(str(flag))
    return texts


def trained(name, flags, needs, base):
    """Lets train.py make what is missing of a run. Returns its results. The caller holds the run's lock."""
    folder, flags_path = STUDIES / name, STUDIES / f"{name}.flags.json"
    has_begun, config = (folder / "config.json").exists(), asked_or_exit(as_text(flags))
    if not has_begun or not os.path.lexists(flags_path):
        save_json(flags_path, as_text(flags))      # flags without a run are those of one that was refused
    parts = [[]]                    # the stages that each call of train.py names; [[]]: one, as the flags say
    if needs not in (None, "align"):
        stages = run.stages_of(config)
        parts = [[stage] for stage in stages[:stages.index(needs) + 1]] if needs in stages else [[needs]]
    start = []
    if has_begun and "--from" in flags:            # the stages before were copied when it began
        at = flags.index("--from")
        flags = flags[:at] + flags[at + 2:]
    elif not has_begun and base and fits(base, as_text(flags)):
        start, parts = ["--from", str(base)], [part for part in parts if part != ["base"]]
    for part in parts:
        how = ["--resume"] if has_begun else start
        code = train.main([*part, *map(str, flags), "--out", str(folder), *how])
        has_begun = (folder / "config.json").exists()
        if code and not has_begun:
            flags_path.unlink()
        if code:
            sys.exit(code)
    return or_exit(read_results, folder)


def refuse_another_recipe(folder, flags):
    """Ends the program with 2 if a run's settings are not those that train.py makes of its flags today.

    A flag that was not given means the recipe's default, and the recipe changes.
    """
    wanted = asked_or_exit(flags)
    wanted.model.vocab_size = get_tokenizer(wanted.tasks.levels).vocab_size     # as in `config_of_run`
    refuse_if_any(changed_settings(or_exit(config_of_run, folder), wanted),
                  f"{folder} was made with settings that these flags do not mean today")


def refuse_if_any(differing, reason, advice="delete or rename it"):
    """Ends the program with 2, in one line, if there are names of settings that differ."""
    if differing:
        more = " and others" if len(differing) > 4 else ""
        print(f"{reason} ({', '.join(differing[:4])}{more}): {advice}", file=sys.stderr)
        sys.exit(2)


def or_exit(read, *arguments):
    """What `read` returns. A damaged file ends the program with one line."""
    try:
        return read(*arguments)
    except Fault as error:
        sys.exit(str(error))


# -----------------------------------------------------------------------------
# Several processes beside each other

class Busy(Exception):
    """Another process is making this run or arm, and there may be something else to do."""


@contextlib.contextmanager
def alone(name):
    """Makes other processes wait for `name` while the block runs. If another one was first, waits for it.

    Instead of waiting, raises Busy if `may_wait` is False; else ends the program with BUSY if `shares`.
    """
    STUDIES.mkdir(parents=True, exist_ok=True)
    with open(STUDIES / f"{name}.lock", "ab") as file:
        try:
            import fcntl
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not may_wait:
                raise Busy(name) from None
            if shares:
                sys.exit(BUSY)
            print(f"{STUDIES / name}: another process is making this; waiting until it is done", flush=True)
            try:
                fcntl.flock(file, fcntl.LOCK_EX)
            except KeyboardInterrupt:
                sys.exit(130)
        except (ImportError, OSError):      # Windows, or a file system without locks: nobody waits
            pass
        yield


def once(path, name, make):
    """Calls make() if the file `path` is not there. Of several processes one does, and the others wait."""
    if path.exists():
        return
    with alone(name):
        if not path.exists():       # another process may have made it by now
            make()


def work_off(jobs):
    """Calls the functions of `jobs`, {key: (function, *arguments)}. Returns {key: what it returned}.

    A job that needs what another process is making is put off, and the next one comes first. So a study that
    is started twice is done in half of the time. With --share a process does not wait for what others have
    taken: it ends with the exit code BUSY.
    """
    global may_wait
    study_lock.close()         # other processes may work on the same study meanwhile
    done, has_waited = {}, False
    while len(done) < len(jobs):
        num_before = len(done)
        for key, (function, *arguments) in jobs.items():
            if key in done:
                continue
            may_wait = False
            try:
                done[key] = function(*arguments)
            except Busy:
                continue
            finally:
                may_wait = True
        if len(done) < len(jobs) and len(done) == num_before:
            if shares:
                sys.exit(BUSY)
            if not has_waited:
                print(f"other processes make the last {len(jobs) - len(done)} of {len(jobs)} arms; waiting",
                      flush=True)
                has_waited = True
            time.sleep(PAUSE)
    if study:           # what follows, such as writing results, is done by one process at a time
        study_lock.enter_context(alone(study))
    return {key: done[key] for key in jobs}


def by_seed(done):
    """Turns {(name, seed): value}, as `work_off` returns it, into {name: [the value of each seed]}."""
    measured = {}
    for (name, _), of_seed in done.items():
        measured.setdefault(name, []).append(of_seed)
    return measured


# -----------------------------------------------------------------------------
# What a run holds

def open_model(source, stage):
    """Loads a stage of a run on the device where train.py would train it. Returns (model, its state)."""
    return run.open_model(source, stage, device)


def open_snapshot(source, iteration):
    """Loads a snapshot of a run's RL on the device of `open_model`. Returns (model, its state)."""
    model, state = snapshots.open_snapshot(source, iteration)
    return model.to(device), state


def rl_models(source):
    """Yields (iteration, model) of a run's RL on the device of `open_model`: start, snapshots, end."""
    return snapshots.rl_models(source, device)


def config_of_source(source) -> Config:
    """The settings with which a whole run was made."""
    if source == PRETRAINED:
        return preset("laptop")
    return from_dict(or_exit(read_results, source)["config"])


def scores_of(source, stage, num_problems=20):
    """Returns what `evaluate` says of a stage of a run: read from its results, or measured if they lack it.

    They lack it only with --fast. The included weights answer `num_problems` of each task.
    """
    config = config_of_source(source)
    if source == PRETRAINED:
        config.evaluate.num_problems, config.evaluate.num_by_task = num_problems, {}
    else:
        stages = or_exit(read_results, source)["stages"]
        if stage in stages:
            return stages[stage]
    model, _ = open_model(source, stage)
    return kept(f"scores-{Path(source).name}-{stage}", evaluate, model, get_tokenizer(), config)


def base_numbers(seed, args):
    """Returns {"scores": those of the base of a whole run, as `short_scores` has them}."""
    source, number = whole_run(seed, args, "rl"), config_asked(args.flags).evaluate.num_problems
    return {"scores": short_scores(scores_of(source, "base", number))}


def short_scores(scores):
    """Of the scores of a stage, what is kept for each task: outcomes by problem, and a few rates."""
    short = {}
    for task in tasks_of(scores):
        names = ("outcomes", "well_formed", "thinks", "tokens", "wrong_steps")
        short[task] = {name: scores[task][name] for name in names}
    return short


def rl_numbers(folder):
    """Returns what is kept of a run's stage rl.

    {"scores": see `short_scores`, "curves": {metric: [a number for each iteration]}, "looks": [held-out
    accuracies at the start, at each snapshot and at the end], "seconds"}.
    """
    results, config = or_exit(read_results, folder), config_of_source(folder)
    curves = {}
    for name in ("reward", "completion_length"):
        curves[name] = [round(line[name], 4) for line in curve(folder, "rl")]
    looks = []
    for iteration, model in rl_models(folder):
        looks.append({"iteration": iteration, **quick_accuracy(model, get_tokenizer(), config)})
    return {"scores": short_scores(results["stages"]["rl"]), "curves": curves, "looks": looks,
            "seconds": round(results["seconds"]["rl"])}


def curve(source, stage):
    """metrics.jsonl of a stage of a run, as a list of dicts."""
    return or_exit(metrics.read, folder_of(source) / stage / "metrics.jsonl")


def right_answers(model, tasks, config):
    """{task: "0110..."}: which of the held-out problems a model gets right, on the device where it is."""
    right = {}
    for task in tasks:
        num_problems = config.evaluate.number_of(task)
        scores = evaluate_task(model, get_tokenizer(), task, config.tasks.levels[task], num_problems,
                               config.evaluate)
        right[task] = scores["outcomes"]
    return right


# -----------------------------------------------------------------------------
# What is measured or trained once, and kept in runs/studies/

def kept(name, measure, *arguments):
    """What `measure` returns. It is kept in runs/studies/`name`.json, and found there the next time.

    Ends the program with 2 if what is kept was measured of other runs, or with other sizes.
    """
    path, settings = STUDIES / f"{name}.json", settings_measured(measure, arguments)
    once(path, name, lambda: save_json(path, {"settings": settings, "measured": measure(*arguments)}))
    return content_of(path, settings, "was measured with other settings")["measured"]


def content_of(path, settings, reason):
    """Reads a JSON file that was kept with its settings. Returns all of it, as a dict.

    Ends the program with 2, and says the `reason`, if its settings are not these.
    """
    content = or_exit(read_json, path, {"settings": dict}, "delete it")
    differing = [key for key in settings if content["settings"].get(key) != settings[key]]
    refuse_if_any(differing, f"{path} {reason}")
    return content


def settings_measured(measure, arguments):
    """{name: value} of what a measurement depends on: the settings of its runs, and its numbers and texts."""
    named = inspect.signature(measure).bind(*arguments).arguments       # {parameter: argument}
    return settings_among(named)


def settings_among(values):
    """Returns the settings among some values, {name: value}, as JSON has them.

    A path is the folder of a run, and stands for the settings of that run. What is not a setting, such as a
    model or a list of problems, is left out.
    """
    settings = {}
    for name, value in values.items():
        if isinstance(value, Path):
            value = or_exit(config_of_run, value)
        if isinstance(value, Config):
            for setting in settings_of(value):
                settings[f"{name}.{setting.name}"] = setting.get()
        elif isinstance(value, (int, float, str, dict)):
            settings[name] = value
    return json.loads(json.dumps(settings))     # as they are read again: tuples become lists


def kept_model(name, model, train, *arguments, start=None):
    """Trains `model` by train(model, *arguments). Returns (model, what `train` returned).

    Both are kept in runs/studies/, as `name`.pt and `name`.json, and found there the next time. Ends the
    program with 2 if it was trained with other settings or sizes, or from another run than `start`.
    """
    weights, notes = STUDIES / f"{name}.pt", STUDIES / f"{name}.json"
    settings = settings_measured(train, (model, *arguments))
    if start is not None:
        settings |= settings_among({"start": start})

    def make():
        value = train(model, *arguments)
        write_atomically(weights, lambda file: torch.save(model.state_dict(), file))
        save_json(notes, {"settings": settings, "value": value})      # last: who finds it finds the weights

    once(notes, name, make)
    content = content_of(notes, settings, "is of a model that was trained with other settings")
    load_weights(model, torch.load(weights, map_location=device, weights_only=True))
    return model.eval(), content["value"]


# -----------------------------------------------------------------------------
# Arms. An arm is one way to train, with one seed; a study compares several of them.

def arm(name, args, measure, *arguments):
    """Returns what measure(*arguments) returns: a dict, the numbers of one arm.

    It is kept in lessons/results/arms/ as one line of JSON, and is never measured again. So a clone of the
    repository has the numbers of all finished arms, and goes on from there. Ends the program with 2 if the
    arm was measured with other settings of train.py. What is computed at a time (PIECES) may differ. The
    constants of a study are not compared: who turns one deletes the arms. So is it with --fast, whose arms
    are in runs/studies/fast/.
    """
    path, settings = RESULTS / "arms" / f"{name}.json", to_dict(config_asked(args.flags))

    def make():
        text = json.dumps({"settings": settings, **measure(*arguments)}, separators=(",", ":"))
        write_atomically(path, lambda file: file.write(f"{text}\n".encode()))
        print(f"wrote {path}", flush=True)

    once(path, f"arm-{name}", make)
    measured = or_exit(read_json, path, {"settings": dict}, "delete it")
    differing = []
    for name_of_setting in different_settings(measured.pop("settings"), settings):
        if name_of_setting.rpartition(".")[2] not in PIECES:
            differing.append(name_of_setting)
    refuse_if_any(differing, f"{path} was measured with other settings",
                  "leave these out, or move the file away to measure it anew")
    return measured


def in_file_name(arm):
    """The name of an arm as a part of a file name: "RL, mixing priced" -> "RL-mixing-priced"."""
    return arm.replace(",", "").replace(" ", "-")


def bits(text):
    """Right or wrong on each problem, as it is kept: "0110" -> [0, 1, 1, 0]."""
    return [int(bit) for bit in text]


def digits(outcomes):
    """The reverse of `bits`: of each outcome a 1 if it is true, else a 0, as a text such as "0110"."""
    return "".join("1" if outcome else "0" for outcome in outcomes)


def in_turn(trainings, num_iterations):
    """Yields (name, seconds, metrics) of each iteration of the generators `trainings`, {name: generator}.

    They run in turn, so that a slow minute of the machine hits all of them. Let nothing else run.
    """
    for _ in range(num_iterations):
        for name, training in trainings.items():
            began = time.perf_counter()
            metrics = next(training)
            yield name, time.perf_counter() - began, metrics


def held_out_curve(arms):
    """Held-out accuracy in the course of RL, the mean of all tasks, in percent.

    `arms` are what `rl_numbers` returned, one for each seed. Returns (iterations, intervals): for each
    iteration that was scored, (mean, low, high) over the seeds.
    """
    iterations, intervals = [], []
    for looks in zip(*(arm["looks"] for arm in arms)):
        shares = []
        for look in looks:
            of_tasks = [value for key, value in look.items() if key != "iteration"]
            shares.append([100 * sum(of_tasks) / len(of_tasks)])
        iterations.append(looks[0]["iteration"])
        intervals.append(bootstrap_interval(shares))
    return iterations, intervals


# -----------------------------------------------------------------------------
# Results

def save_claim(number, claim, command, seeds, num_problems, rows, **more):
    """Writes lessons/results/C<number>.json: see `save_rows`."""
    save_rows(f"C{number}", claim, command, seeds, num_problems, rows, **more)


def save_rows(name, claim, command, seeds, num_problems, rows, **more):
    """Writes lessons/results/<name>.json; `rows` are {"name", "value", "low", "high"}.

    `num_problems` is how many problems a row is about: of one task, or of all where a row is about all tasks.
    It is 0 where none is answered.
    """
    path = RESULTS / f"{name}.json"
    save_json(path, {"claim": claim, "command": command, "seeds": list(seeds),
                     "num_problems": num_problems, "rows": rows, **more})
    print(f"wrote {path}")
    if RESULTS == STUDIES:      # see `write_elsewhere`
        print("these runs are tiny, so their numbers mean nothing: without --fast the claim is measured")


def save_figure(figure, name):
    """Writes lessons/results/<name>.png."""
    path = RESULTS / f"{name}.png"
    figure.savefig(path, dpi=120)
    print(f"wrote {path}")


def bootstrap(statistic, *columns, num_resamples=500):
    """95% interval of statistic(*columns), which need not be a mean. Returns (value, low, high).

    Columns are arrays (seeds, problems, ...). Seeds and problems are drawn anew with replacement, the same
    for each column, as in `stats.bootstrap_interval`. The statistic may be infinite. A draw in
    which it is NaN, since nothing is left of what it counts, does not count.
    """
    generator = np.random.default_rng(0)
    num_seeds, num_problems = columns[0].shape[:2]
    values = []
    for _ in range(num_resamples):
        seeds = generator.integers(0, num_seeds, num_seeds)
        problems = generator.integers(0, num_problems, num_problems)
        values.append(statistic(*[column[seeds][:, problems] for column in columns]))
    values = [value for value in values if not math.isnan(value)] or [math.nan]
    low, high = np.quantile(values, (0.025, 0.975), method="nearest")     # interpolation with infinity is NaN
    return float(statistic(*columns)), float(low), float(high)


def mean_where(values, chosen):
    """The mean of the values that are chosen; NaN if there are none. Both are arrays of one shape."""
    return float(values[chosen].mean()) if chosen.any() else float("nan")


def row(name, value, low=None, high=None):
    """A row of a claim. What is infinite, as a goal that is never reached, is None: JSON has no infinity."""
    line = {"name": name}
    for key, end in (("value", value), ("low", low), ("high", high)):
        line[key] = None if end == math.inf else end
    return line


def row_of_runs(name, values):
    """A row of a number that each run has: its mean, and the lowest and the highest run."""
    return row(f"{name} (mean, lowest, highest run)", sum(values) / len(values), min(values), max(values))


def in_percent(line):
    """(value, low, high) of a row of shares."""
    return tuple(100 * line[end] for end in ("value", "low", "high"))


@exit_codes("runs.py")
def main(argv=None):
    """Lists the runs and the seconds of their stages. With `keep SEED`: keeps the base of that whole run."""
    words = sys.argv[1:] if argv is None else argv
    if words[:1] == ["keep"] and len(words) == 2 and words[1].isdecimal():
        keep_base(int(words[1]))
        return
    if words:
        raise BadInput("usage: python lessons/runs.py, or python lessons/runs.py keep SEED")
    for path in sorted(STUDIES.glob("*/results.json")):
        results = read_results(path.parent)
        seconds = results["seconds"]        # of "rl", which is its training, and of "rl evaluation"
        for stage in results["stages"]:
            seconds[stage] = round(seconds.get(stage, 0) + seconds.pop(f"{stage} evaluation", 0))
        print(path.parent.name, {stage: seconds[stage] for stage in results["stages"]})


if __name__ == "__main__":
    sys.exit(main())
