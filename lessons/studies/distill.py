"""Does distilling a large reasoner beat RL on the small one? Claim C13.

    python lessons/studies/distill.py [--seeds 3] [--longer 3]
    python lessons/studies/distill.py --fast

The teacher is a whole run as far as RL. The student is a base of half its width, which has read the same
texts. There are these ways on from the student:

    RL                     a cold start and RL, as the teacher had
    RL, four times         the same with four times as many iterations, for the first --longer seeds
    distilled              imitates the teacher's answers that are right and readable: 500, 2,000 or 8,000
    distilled, then RL     RL from the last of these
    on-policy              answers itself; at each token the teacher says how likely it finds what may follow,
                           and the reverse KL to that becomes smaller (arXiv:2306.13649)

Each arm is scored on its way. Seconds are those of a clock, and training alone. So let nothing else run, or
the same beside all arms: two workers with a thread each, on two cores.
"""

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))      # lessons/, where runs.py is

import runs
import torch
from runs import row
from shared import label

from minireason import grpo, rejection, sft
from minireason.corpus import tokenize
from minireason.inference import which_are_right
from minireason.optimizer import adamw, set_learning_rate
from minireason.policy import completion_hidden
from minireason.rewards import reasoning_world
from minireason.rollout import collect_rollout
from minireason.run import PRETRAINED, folder_of
from minireason.snapshots import snapshots_in
from minireason.stats import bootstrap_interval
from minireason.tasks import test_problems
from minireason.token_math import exact_kl
from minireason.tokenizer import get_tokenizer
from minireason.tools.flags import number
from minireason.tools.plots import new_figure
from minireason.upkeep.seeding import derive_seed

TASKS = ("arithmetic", "countdown")
WIDTH = 64                              # of the student; the teacher has 128
LONGER = 4                              # times as many iterations of RL
COLORS = {"RL": "#1b6ca8", "RL, four times": "#9ecae1", "distilled": "#e0a030",
          "distilled, then RL": "#d1495b", "on-policy": "#5a9a5a"}
tokenizer = get_tokenizer()


# -----------------------------------------------------------------------------
# Runs of train.py

def student_base(seed, args):
    """Trains the student's base, if it is not there. Returns its run. sizes.py has the same base."""
    if args.fast:
        return PRETRAINED
    return runs.sized_base(WIDTH, runs.config_asked(args.flags).base.num_examples, seed, args)


def student_run(seed, args):
    """Does cold start and RL from the student's base, if they are not done. Returns the run."""
    if args.fast:
        return PRETRAINED
    flags = ("--seed", seed, *args.flags, *runs.flags_of_width(WIDTH, args))
    cold_start, name = f"student-cold-start-{seed}", f"student-{seed}"
    runs.ensure(cold_start, "cold-start", *flags, "--from", student_base(seed, args))
    runs.ensure(name, "rl", *flags, "--from", runs.STUDIES / cold_start)
    return runs.STUDIES / name


def longer_run(seed, args, sizes):
    """Does RL from the start of `student_run` for LONGER times as many iterations. Returns the folder."""
    name, source = f"student-longer-{seed}", student_run(seed, args)
    flags = () if args.fast else runs.flags_of_width(WIDTH, args)
    runs.ensure(name, "rl", "--seed", seed, "--from", source, *args.flags, *flags,
                "--rl-num-iterations", LONGER * sizes["iterations"])
    return runs.STUDIES / name


def seconds_of(source):
    """The seconds that a run has trained: base, cold start and RL. The included weights count as 0."""
    if source == PRETRAINED:
        return 0.0
    seconds = runs.or_exit(runs.read_results, source)["seconds"]
    return sum(seconds[stage] for stage in ("base", "cold-start", "rl"))


# -----------------------------------------------------------------------------
# On-policy distillation

def reverse_kl(student, teacher, batch):
    """KL(student || teacher) over what may follow, at each token of the student's completions (B, L)."""
    with torch.no_grad():
        teacher_logits = teacher.head(completion_hidden(teacher, batch))               # (B, L, V)
    student_logits = student.head(completion_hidden(student, batch))                   # (B, L, V)
    return exact_kl(student_logits, teacher_logits) * batch.completion_mask


def distill_on_policy(student, teacher, world, config, seed):
    """Yields one dict for each iteration: the student answers, and comes nearer to the teacher there.

    The tokens are taken as they were drawn: no gradient goes through the choice of one. There is no reward;
    the verifier is not asked for anything but the log.
    """
    optimizer = adamw(config, student)
    for iteration in range(config.num_iterations):
        rollout = collect_rollout(student, None, world, config, seed, iteration)
        num_tokens = rollout.completion_mask.sum()
        set_learning_rate(optimizer, iteration, config.num_iterations, config.warmup_iterations,
                          config.learning_rate)
        optimizer.zero_grad(set_to_none=True)
        mean_kl = 0.0
        for batch in rollout.micro_batches(config.micro_batch_size):
            loss = reverse_kl(student, teacher, batch).sum() / num_tokens
            loss.backward()
            mean_kl += loss.item()
        torch.nn.utils.clip_grad_norm_(student.parameters(), config.max_grad_norm)
        optimizer.step()
        yield {"kl": mean_kl, "reward": rollout.rewards.mean().item()}


# -----------------------------------------------------------------------------
# Points: {"seconds", "samples", and for each task right or wrong, as a text such as "0110"}

def point_of(model, seconds, samples, sizes):
    """A point of an arm's way: `model` after so many seconds, and so many answers that were sampled."""
    point = {"seconds": round(seconds, 2), "samples": samples}
    for task in TASKS:
        problems = test_problems(task, (2, 3), sizes["num_problems"], seed=1234)
        right = which_are_right(model.eval(), tokenizer, problems, sizes["max_new_tokens"], seed=5)
        point[task] = runs.digits(right)
    model.train()
    return point


def follow(loop, num_steps, model, samples_per_step, seconds, samples, sizes):
    """Runs the training `loop` of `num_steps` steps. Returns its points, at even distances and at the end.

    `seconds` and `samples` are what was spent before. The seconds of scoring do not count.
    """
    looks = {num_steps * (i + 1) // sizes["num_looks"] for i in range(sizes["num_looks"])}
    points, began = [], time.monotonic()
    for step, _ in enumerate(loop, 1):
        samples += samples_per_step
        if step in looks:
            seconds += time.monotonic() - began
            points.append(point_of(model, seconds, samples, sizes))
            began = time.monotonic()
    return points


# -----------------------------------------------------------------------------
# Arms. Each returns {"points": [...]}.

def rl_arm(source, sizes):
    """The points of a run's RL: the cold start, each snapshot, and the end."""
    settings = runs.config_of_source(source).rl
    per_iteration = settings.num_prompts * settings.group_size
    model, state = runs.open_model(source, "cold-start")
    before = state["seconds"]
    points = [point_of(model, before, 0, sizes)]
    for iteration in snapshots_in(folder_of(source) / "rl"):
        model, state = runs.open_snapshot(source, iteration)
        points.append(point_of(model, before + state["seconds"], iteration * per_iteration, sizes))
    model, state = runs.open_model(source, "rl")
    end = before + state["seconds"]
    points.append(point_of(model, end, state["iteration"] * per_iteration, sizes))
    return {"points": points}


def teacher_arm(teacher, sizes):
    model, _ = runs.open_model(teacher, "rl")
    return {"points": [point_of(model, seconds_of(teacher), 0, sizes)]}


def teacher_answers(teacher, config, seed, sizes):
    """{"documents": right and readable answers, "sampled", "seconds"}."""
    model, _ = runs.open_model(teacher, "rl")
    world = reasoning_world(tokenizer, config.tasks.levels, dict.fromkeys(config.tasks.trained(), 1.0))
    config.sampling.num_problems, config.sampling.samples_per_problem = sizes["num_sampled"], 1
    began = time.monotonic()
    documents, counts = rejection.sample_and_filter(model, tokenizer, world.draw, config.sampling, seed,
                                                    config.rl.max_new_tokens)
    return {"documents": documents, "sampled": counts["sampled"], "seconds": time.monotonic() - began}


def train_distilled(model, answers, number, config, seed, sizes):
    """Imitates the first `number` of the teacher's answers. Returns {"points": [the one at the end]}."""
    documents = answers["documents"][:number]
    if len(documents) < number:
        sys.exit(f"the teacher gave {len(documents)} answers to imitate, not {number}: sample more problems")
    part = len(documents) / len(answers["documents"])                    # of what sampling cost
    settings = config.rejection
    loop = sft.train(model, adamw(settings, model), tokenize(tokenizer, documents), settings, seed)
    began = time.monotonic()
    for _ in loop:
        pass        # the model is trained while the loop runs
    seconds = part * answers["seconds"] + time.monotonic() - began
    return {"points": [point_of(model, seconds, round(part * answers["sampled"]), sizes)]}


def distilled(source, answers, number, config, seed, sizes):
    """(the model, {"points"}) of one student that imitates the teacher; trained once."""
    model = runs.open_model(source, "base")[0].train()
    name = f"C13-distilled-{number}-{config.seed}-model"
    return runs.kept_model(name, model, train_distilled, answers, number, config, seed, sizes)


def distilled_arm(*arguments):
    """{"points"} of `distilled`, which takes the same arguments, without the model."""
    _, points = distilled(*arguments)
    return points


def distilled_then_rl_arm(source, answers, number, config, seed, sizes):
    """RL from a distilled student, whose point comes first. What the student has cost counts."""
    model, before = distilled(source, answers, number, config, seed, sizes)
    [start] = before["points"]
    world = reasoning_world(tokenizer, config.tasks.levels, config.tasks.shares, config.language_price)
    config.rl.num_iterations = sizes["iterations"]
    loop = grpo.train(model.train(), None, adamw(config.rl, model), world, config.rl, seed)
    points = follow(loop, config.rl.num_iterations, model, config.rl.num_prompts * config.rl.group_size,
                    start["seconds"], start["samples"], sizes)
    return {"points": [start, *points]}


def on_policy_arm(source, teacher, config, seed, sizes):
    """On-policy distillation of the base. It samples as many answers as RL, but each to a problem of its own.

    Nothing compares the answers to one problem, so no group is needed.
    """
    student, teacher_model = runs.open_model(source, "base")[0].train(), runs.open_model(teacher, "rl")[0]
    world = reasoning_world(tokenizer, config.tasks.levels, config.tasks.shares)
    config.rl.num_iterations = sizes["iterations"]
    config.rl.num_prompts, config.rl.group_size = config.rl.num_prompts * config.rl.group_size, 1
    loop = distill_on_policy(student, teacher_model, world, config.rl, seed)
    points = follow(loop, config.rl.num_iterations, student, config.rl.num_prompts, 0.0, 0, sizes)
    return {"points": points}


def names_of_arms(sizes):
    """All arms but the longest run, which not each seed may have."""
    students = [f"distilled {number}" for number in sizes["numbers"]]
    return ["teacher", "RL", *students, "distilled, then RL", "on-policy"]


def measure(name, seed, args, sizes):
    """{"points"} of one arm; trains what it needs and is not there."""
    teacher, draws = runs.whole_run(seed, args, needs="rl"), derive_seed(seed, "distill")
    if name == "teacher":
        return teacher_arm(teacher, sizes)
    if name == "RL":
        return rl_arm(student_run(seed, args), sizes)
    if name == "RL, four times":
        return rl_arm(longer_run(seed, args, sizes), sizes)
    base = student_base(seed, args)
    if name == "on-policy":
        return on_policy_arm(base, teacher, student_settings(seed, args), draws, sizes)
    answers = runs.kept(f"C13-answers-{seed}", teacher_answers, teacher, from_flags(seed, args), draws, sizes)
    measure_arm, number = distilled_arm, sizes["numbers"][-1]
    if name == "distilled, then RL":
        measure_arm = distilled_then_rl_arm
    else:
        number = int(name.removeprefix("distilled "))
    return measure_arm(base, answers, number, student_settings(seed, args), draws, sizes)


def points_of_arm(name, seed, args, sizes):
    """The points of one arm, which are kept as an arm's numbers."""
    file = f"C13-{runs.in_file_name(name)}-{seed}"
    return runs.arm(file, args, measure, name, seed, args, sizes)["points"]


def from_flags(seed, args):
    """The settings of the command line as a Config."""
    config = runs.config_asked(args.flags)
    config.seed = seed
    return config


def student_settings(seed, args):
    """The same for the student. Its learning rates are those of its width: see runs.flags_of_width."""
    config = from_flags(seed, args)
    if not args.fast:       # where the student is as wide as any
        for settings in (config.rl, config.rejection):
            settings.learning_rate *= config.model.width / WIDTH
    return config


# -----------------------------------------------------------------------------
# Numbers

def right(points, task=None):
    """0 or 1 on each problem of a task, or of both, for each seed. `points` are one of each seed."""
    tasks = TASKS if task is None else (task,)
    by_seed = []
    for point in points:
        outcomes = "".join(point[name] for name in tasks)
        by_seed.append(runs.bits(outcomes))
    return by_seed


def rl_until(arms, seconds):
    """The best point that RL reached in so many seconds, in its usual run or in the longer one; or None.

    The best and not the last: a long run is behind a short one that has ended, since its rate is still high.
    """
    points = arms["RL"] + arms.get("RL, four times", [])
    reached = [point for point in points if point["seconds"] <= seconds]
    return max(reached, key=lambda point: sum(map(sum, right([point]))), default=None)


def ends_of(by_seed, *names):
    """The last points of some arms, a list for each name, of the seeds that have all of them."""
    having = [arms for arms in by_seed if arms.keys() >= set(names)]
    ends = []
    for name in names:
        ends.append([arms[name][-1] for arms in having])
    return ends


def rows_of(by_seed, most):
    """Each arm at its end, and the comparisons. `by_seed` has {arm: points} of each seed; `most` is the
    student of most answers. A comparison is of the seeds that have both arms. Of seconds and samples, low and
    high are the lowest and the highest run."""
    rows = []
    for name in by_seed[0]:
        [ends] = ends_of(by_seed, name)
        for task in (*TASKS, None):
            rows.append(row(f"{name}: {task or 'both'}", *bootstrap_interval(right(ends, task))))
        for key in ("seconds", "samples"):
            values = [point[key] for point in ends]
            rows.append(row(f"{name}: {key}", sum(values) / len(values), min(values), max(values)))
    pairs = [(most, "RL"), (most, "RL, four times"), (most, "teacher"), ("distilled, then RL", most),
             ("distilled, then RL", "RL"), ("on-policy", "RL"), ("on-policy", most)]
    for first, second in pairs:
        ends, others = ends_of(by_seed, first, second)
        for task in (*TASKS, None):
            if ends:
                difference = bootstrap_interval(right(ends, task), right(others, task))
                rows.append(row(f"{first} less {second}: {task or 'both'}", *difference))
    for name in (most, "distilled, then RL", "on-policy"):
        for counted in (False, True):
            rows += rows_at_equal_seconds(name, counted, by_seed)
    return rows


def rows_at_equal_seconds(name, counted, by_seed):
    """An arm at its end, less RL when it had trained for as long. With `counted` RL gets the seconds of the
    teacher's training as well, and seeds without a longer run are left out. A second row says which share
    of these seconds RL has really had."""
    ends, rivals, shares = [], [], []
    for arms in by_seed:
        if counted and "RL, four times" not in arms:
            continue
        seconds = arms[name][-1]["seconds"]
        if counted:
            seconds += arms["teacher"][-1]["seconds"]
        rival = rl_until(arms, seconds)
        if rival is None:
            continue
        ends.append(arms[name][-1])
        rivals.append(rival)
        shares.append(rival["seconds"] / seconds)
    if not ends:
        return []
    title = f"{name} less RL, equal seconds, teacher {'' if counted else 'not '}counted"
    return [row(f"{title}: both", *bootstrap_interval(right(ends), right(rivals))) | {"seeds": len(ends)},
            row(f"{title}: share that RL had", sum(shares) / len(shares), min(shares), max(shares))]


def draw(by_seed):
    """The share right of both tasks: against seconds, with and without the teacher's, and against samples."""
    figure, axes = new_figure(1, 3, figsize=(10, 3.4))
    of_teacher = sum(arms["teacher"][-1]["seconds"] for arms in by_seed) / len(by_seed)
    for name, color in COLORS.items():
        of_seeds = [curve_of(arms, name) for arms in by_seed if name in arms or name == "distilled"]
        if not of_seeds:
            continue
        shares, seconds, samples, total = [], [], [], []
        for points in zip(*of_seeds):
            shares.append(100 * bootstrap_interval(right(points))[0])
            seconds.append(sum(point["seconds"] for point in points) / len(points))
            sampled = sum(point["samples"] for point in points) / len(points)
            samples.append(sampled or float("nan"))         # a logarithmic axis has no 0
            total.append(seconds[-1] + (0 if name in ("RL", "RL, four times") else of_teacher))
        is_rare = len(of_seeds) < len(by_seed)
        for axis, x in zip(axes, (seconds, total, samples)):
            axis.plot(x, shares, "o:" if is_rare else "o-", ms=3, color=color,
                      label=f"{name} (seeds: {len(of_seeds)})" if is_rare else name)
    height = 100 * bootstrap_interval(right([arms["teacher"][-1] for arms in by_seed]))[0]
    for axis in axes:
        axis.axhline(height, color="#999999", lw=0.8, ls="--", label="the teacher")
        if axis is not axes[1]:     # there all but RL begins late, and a logarithm would press it together
            axis.set_xscale("log")
        axis.xaxis.set_major_formatter(lambda x, _: f"{x:,.0f}")
    what = "arithmetic and countdown right, %"
    label(axes[0], "the teacher not counted", "seconds of training", what, legend=False)
    label(axes[1], "the teacher's training counted", "seconds of training")
    label(axes[2], "by samples", "answers that were sampled", legend=False)
    return figure


def curve_of(arms, name):
    """The points of one curve; those of the three distilled students make one."""
    if name != "distilled":
        return arms[name]
    points = []
    for arm, of_arm in arms.items():
        if arm.removeprefix("distilled ").isdecimal():
            points += of_arm
    return points


def main():
    parser = runs.make_parser(__doc__.splitlines()[0], num_seeds=3)
    parser.add_argument("--longer", type=number(int, 0, 100_000), default=3, metavar="N",
                        help="seeds that also do RL for four times as long (default: 3)")
    args = runs.parse(parser)
    iterations = runs.config_asked(args.flags).rl.num_iterations
    sizes = {"num_problems": 1000, "max_new_tokens": 208, "num_looks": 4, "num_sampled": 12_000,
             "numbers": (500, 2000, 8000), "iterations": iterations}
    if args.fast:
        sizes = {"num_problems": 8, "max_new_tokens": 60, "num_looks": 2, "num_sampled": 24,
                 "numbers": (4, 8), "iterations": 2}
    arms = [(seed, name) for seed in args.seeds for name in names_of_arms(sizes)]
    arms += [(seed, "RL, four times") for seed in args.seeds[:args.longer]]
    done = runs.work_off({(seed, name): (points_of_arm, name, seed, args, sizes) for seed, name in arms})
    by_seed = [{} for _ in args.seeds]
    for (seed, name), points in done.items():
        by_seed[seed][name] = points
    runs.save_claim(13, "Distilling a large reasoner beats RL on the small one", args.command, args.seeds,
                    sizes["num_problems"], rows_of(by_seed, f"distilled {sizes['numbers'][-1]}"),
                    numbers=list(sizes["numbers"]), longer=len(args.seeds[:args.longer]))
    runs.save_figure(draw(by_seed), "C13")


if __name__ == "__main__":
    main()
