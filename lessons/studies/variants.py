"""GRPO and its relatives from one cold start: what lines each needs, and what points it brings. Resumable.

    python lessons/studies/variants.py [--seeds 3] [--iterations 30]
    python lessons/studies/variants.py --fast          five of them, two iterations: to see that all works

`--only gspo dapo` does all this for these alone, and for the GRPO that they are compared with. Several
processes share the work if each is started with `--share`.

1. Each relative trains with each seed: the same cold start, number of iterations, problems and completions of
   a rollout, and learning rate. The cold start is that of the whole run with this seed. Nothing is tuned for
   any of them. GSPO and CISPO need two updates for each rollout, so they are compared with a GRPO that has
   two. GSPO's loss is a mean over completions, so its GRPO has that as well.
2. Each run answers the held-out problems at its start, at each snapshot (in half precision) and at its end.
   What is right is kept in lessons/results/arms/variants-NAME-SEED.json. A clone has these files, and makes
   the table from them without a run.
3. The clock: all relatives make a few iterations in turn, each from the middle of GRPO's first run. The
   seconds of a run are its iterations times the median of these. So runs may be trained beside each other,
   and on several devices. While the clock runs, let nothing else run.
4. A relative and its GRPO are compared with equal seeds on the same held-out problems of arithmetic and
   countdown, twice: after as many sampled completions, and after as many seconds. Where one of the two had
   more at its end, its accuracy there is read from a straight line between its two snapshots nearest to it.
5. Is it more than chance? GRPO is compared with itself, drawn anew; and `chance_of` asks how often the
   differences would be as large if all relatives were one algorithm.
6. lessons/results/variants.json and variants.png.

What is not equal:

- The learning rate falls over a run. A snapshot is from the middle of that, where the rate is still
  high, and the other run of the pair is at its end. So the one of the two that costs more looks worse at an
  equal budget than it would in a run that was planned for this budget.
- Groups with equal rewards have no gradient, and are left out before the loss is divided by its number of
  tokens or completions. An entropy bonus and a KL have a gradient in these groups too, so there they stay,
  and count. This makes the policy term smaller by their share, `zero_std_frac` in metrics.jsonl. Adam
  divides by the size of the gradient, so what remains is that a bonus or KL weighs more beside the policy
  term than its coefficient says. REINFORCE++ learns from all groups, and divides by all.
"""

import argparse
import ast
import copy
import inspect
import statistics
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))      # lessons/, where runs.py is

import numpy as np
import runs
import torch
from runs import row

from minireason import batch, grpo, policy, rollout, token_math
from minireason.optimizer import adamw
from minireason.rewards import price_of_mixing, reasoning_world
from minireason.settings import from_dict
from minireason.snapshots import snapshots_in
from minireason.stats import bootstrap_interval
from minireason.tokenizer import get_tokenizer
from minireason.tools.flags import number
from minireason.tools.plots import new_figure
from minireason.tools.scores import averaged_tasks
from minireason.upkeep.seeding import derive_seed

NUM_SNAPSHOTS = 4           # of a run: one at each fifth of its way
OTHER_DRAWS = 100           # is added to the seed of a run that draws anew
NUM_TIMED = 4               # iterations of each relative that the clock runs; the first is not counted
COLORS = {"completions": "#1b6ca8", "seconds": "#e0a030"}


# -----------------------------------------------------------------------------
# The relatives

@dataclass
class Relative:
    title: str
    flags: str                      # what train.py is given
    functions: tuple = ()           # of the package that GRPO does without
    lines: tuple = ()               # (module, line): what else GRPO does without
    less: str = "grpo"              # what it is compared with
    clock: str = ""                 # whose seconds it takes, if it computes the same
    other_draws: bool = False       # whether its RL draws other problems and answers


KL = "--rl-kl-coef 0.02 --rl-kl-estimator"
TWO = "--rl-num-epochs 2"
LOSS_LINES = (
    (grpo, "loss = policy_loss + config.kl_coef * kl_loss"),
    (grpo, "kl_loss = torch.zeros_like(policy_loss)"),
    (grpo, "if config.kl_coef and kl_estimator:"),
    (grpo, "kl = estimate_kl(kl_estimator, logprobs, ref_logprobs.where(mask != 0, logprobs))"),
    (grpo, "kl_loss = (kl * mask).sum() / num_tokens"),
)
NO_LOSS_LINE = (grpo, 'kl_estimator = "" if config.kl_in_reward else config.kl_estimator')
REWARD_LINES = (
    (grpo, "if config.kl_in_reward:"),
    (grpo, "rewards = token_returns(rollout, config)[:, 0]"),
    NO_LOSS_LINE,
)
BATCH_LINES = (
    (grpo, "if config.batch_baseline:"),
    (grpo, "rollout.advantages = masked_whiten(token_returns(rollout, config), mask)"),
    (grpo, "return"),
)
RETURNS = (grpo.token_returns, token_math.estimate_kl)
REFILL_LINES = (
    (rollout, "if config.max_refills:"),
    (rollout, "rollout = refill(rollout, policy, reference, world, config, seed, iteration)"),
)
OVERLONG_LINES = (
    (rollout, "if config.overlong_penalty:"),
    (rollout, "if rollout.logged_rewards is None:"),
    (rollout, "rollout.logged_rewards = rollout.rewards"),
    (rollout, "rollout.rewards = rollout.rewards - overlong_price(rollout.completion_mask.sum(1), config)"),
)
GSPO_LINES = (
    (grpo, 'if objective == "gspo":'),
    (grpo, "log_ratio = sequence_log_ratio(log_ratio, mask)"),
)
REFILL = (rollout.refill, batch.Batch.replace_groups)
RELATIVES = {
    "grpo": Relative("GRPO", ""),
    "grpo-2": Relative("GRPO, two updates", TWO),
    "sequence": Relative(
        "GRPO, each completion alike", "--rl-normalize sequence",
        lines=((batch, 'if config.normalize == "sequence":'),
               (batch, "weights = completion_mask / completion_mask.sum(1, keepdim=True)"),
               (batch, "num_completions = parallel.total(len(completion_mask))"),
               (batch, "return weights, num_completions, num_completions"))),
    "grpo-2-sequence": Relative(
        "GRPO, two updates, each completion alike", f"{TWO} --rl-normalize sequence"),
    "dr-grpo": Relative(
        "Dr. GRPO", "--no-rl-scale-advantages --rl-normalize constant",
        lines=((grpo, "if scale:"), (batch, 'if config.normalize == "constant":'),
               (batch, "return completion_mask, parallel.total(num_sampled * config.max_new_tokens), "
                       "num_tokens"))),
    "rloo": Relative(
        "RLOO", "--no-rl-scale-advantages --rl-leave-one-out",
        lines=((grpo, "if scale:"), (grpo, "if leave_one_out:"),
               (grpo, "advantages = advantages * rewards.size(1) / (rewards.size(1) - 1)"))),
    "reinforce++": Relative(
        "REINFORCE++", "--rl-batch-baseline",
        lines=(*BATCH_LINES, (grpo, "returns = rollout.rewards[:, None] * mask"))),
    "reinforce++-kl": Relative(
        "REINFORCE++, k1 in the reward", f"--rl-batch-baseline {KL} k1 --rl-kl-in-reward",
        (*RETURNS, token_math.k1), (*BATCH_LINES, NO_LOSS_LINE)),
    "gspo": Relative(
        "GSPO",
        f"{TWO} --rl-normalize sequence --rl-objective gspo --rl-clip-low 3e-4 --rl-clip-high 4e-4",
        (token_math.sequence_log_ratio,), GSPO_LINES, less="grpo-2-sequence"),
    "gspo-wide": Relative(
        "GSPO, borders ten times as wide",
        f"{TWO} --rl-normalize sequence --rl-objective gspo --rl-clip-low 3e-3 --rl-clip-high 4e-3",
        (token_math.sequence_log_ratio,), GSPO_LINES, less="grpo-2-sequence", clock="gspo"),
    "cispo": Relative(
        "CISPO", f"{TWO} --rl-objective cispo --rl-clip-low 1", less="grpo-2",
        lines=((grpo, 'if objective == "cispo":'),
               (grpo, "surrogate = clipped.detach() * advantages * log_ratio"))),
    "grpo-again": Relative("GRPO, drawn anew", "", clock="grpo", other_draws=True),
    "refills": Relative("dynamic sampling", "--rl-max-refills 8", REFILL, REFILL_LINES),
    "overlong": Relative(
        "price of length", "--rl-overlong-penalty 0.5", (rollout.overlong_price,), OVERLONG_LINES),
    "dapo": Relative(
        "dynamic sampling + price of length", "--rl-max-refills 8 --rl-overlong-penalty 0.5",
        (*REFILL, rollout.overlong_price), REFILL_LINES + OVERLONG_LINES),
    "entropy": Relative(
        "entropy bonus", "--rl-entropy-coef 0.001",
        lines=((policy, "with torch.set_grad_enabled(entropy_gradient):"),
               (grpo, "if config.entropy_coef:"),
               (grpo, "loss = loss - config.entropy_coef * (entropy * weights).sum() / weight_sum"))),
    "k1-loss": Relative("k1 in the loss", f"{KL} k1", (token_math.estimate_kl, token_math.k1), LOSS_LINES),
    "k2-loss": Relative("k2 in the loss", f"{KL} k2", (token_math.estimate_kl, token_math.k2), LOSS_LINES),
    "k3-loss": Relative("k3 in the loss", f"{KL} k3", (token_math.estimate_kl, token_math.k3), LOSS_LINES),
    "k1-reward": Relative(
        "k1 in the reward", f"{KL} k1 --rl-kl-in-reward", (*RETURNS, token_math.k1), REWARD_LINES),
    "k2-reward": Relative(
        "k2 in the reward", f"{KL} k2 --rl-kl-in-reward", (*RETURNS, token_math.k2), REWARD_LINES),
    "k3-reward": Relative(
        "k3 in the reward", f"{KL} k3 --rl-kl-in-reward", (*RETURNS, token_math.k3), REWARD_LINES),
}
BASELINES = ("grpo", "grpo-2", "grpo-2-sequence")
NO_RELATIVES = (*BASELINES, "grpo-again")
FAST = ("grpo", "grpo-2-sequence", "gspo", "dapo", "reinforce++")


def num_lines(relative):
    """How many lines of code a relative adds to GRPO, or changes in it.

    Comments, docstrings and the line of its setting do not count. Raises ValueError if a line is not in its
    module any more.
    """
    total = 0
    for function in relative.functions:
        definition = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
        if ast.get_docstring(definition):
            definition.body = definition.body[1:]
        total += len(ast.unparse(definition).splitlines())
    for module, line in relative.lines:
        code = [text.split("  #")[0].strip() for text in inspect.getsource(module).splitlines()]
        if line not in code:
            raise ValueError(f"{module.__name__} has no line {line!r}")
        total += 1
    return total


# -----------------------------------------------------------------------------
# Measuring: one arm for each relative and seed

def arm_of(name, seed, args):
    """What `measure` returns of a relative with one seed: measured, or found in its file."""
    flags = flags_of(name, seed, args.iterations, args.flags)

    def measure_from_its_cold_start():      # an arm that is found needs no whole run
        source = runs.whole_run(seed, args, needs="cold-start")
        return measure(name, seed, source, args.iterations, args.flags)

    return runs.arm(f"variants-{name}-{seed}", argparse.Namespace(flags=flags), measure_from_its_cold_start)


def flags_of(name, seed, num_iterations, extra_flags):
    """What train.py is given for a relative, besides the run it goes on from."""
    if RELATIVES[name].other_draws:
        seed += OTHER_DRAWS
    return [*extra_flags, "--seed", seed, "--rl-num-iterations", num_iterations,
            "--rl-snapshots", NUM_SNAPSHOTS, *RELATIVES[name].flags.split()]


def measure(name, seed, source, num_iterations, extra_flags):
    """Trains a relative from the cold start of the run `source`, or finds its run, and scores it on the way.

    Returns {"marks": [{"iteration", "completions", "right"}]}: how far the run was at its start, at each
    snapshot and at its end. "right" is {task: "0110..."}, what it then got right of the held-out problems.
    """
    folder, results = trained_run(name, seed, source, num_iterations, extra_flags)
    scores, config = results["stages"]["rl"], from_dict(results["config"])
    completions, tasks = completions_before(folder, config.rl), averaged_tasks(scores)

    def mark(iteration, right):
        return {"iteration": iteration, "completions": completions[iteration], "right": right}

    model, _ = runs.open_model(folder, "cold-start")
    marks = [mark(0, runs.right_answers(model, tasks, config))]
    for iteration in snapshots_in(folder / "rl"):
        model, _ = runs.open_snapshot(folder, iteration)
        marks.append(mark(iteration, runs.right_answers(model, tasks, config)))
    at_end = {task: scores[task]["outcomes"] for task in tasks}
    marks.append(mark(config.rl.num_iterations, at_end))
    return {"marks": marks}


def trained_run(name, seed, source, num_iterations, extra_flags):
    """Trains a relative from the cold start of the run `source`, if not done. Returns (folder, results)."""
    run_name, flags = f"variants-{name}-{seed}", flags_of(name, seed, num_iterations, extra_flags)
    return runs.STUDIES / run_name, runs.ensure(run_name, "rl", "--from", source, *flags)


def completions_before(folder, settings):
    """How many completions a run had sampled before each iteration, and at its end."""
    completions = [0]
    for line in runs.curve(folder, "rl"):         # dynamic sampling samples more than are used
        num_sampled = line.get("num_sampled", settings.num_prompts * settings.group_size)
        completions.append(completions[-1] + num_sampled)
    return completions


# -----------------------------------------------------------------------------
# The clock

def clocks_of(names):
    """The relatives whose seconds these relatives have, in the order of RELATIVES."""
    wanted = [RELATIVES[name].clock or name for name in names]
    return [name for name in RELATIVES if name in wanted]


def clock_of(names, args):
    """{name: seconds of an iteration} of each relative: measured, or found in its file."""
    seed = args.seeds[0]
    flags = flags_of("grpo", seed, args.iterations, args.flags)
    file = "variants-clock" if names == clocks_of(RELATIVES) else "-".join(["variants-clock", *names])
    measured = runs.arm(file, argparse.Namespace(flags=flags), measure_clock, names, seed, args)
    return {name: statistics.median(seconds) for name, seconds in measured["seconds"].items()}


def measure_clock(names, seed, args):
    """{"device", "threads", "seconds": {name: [of each iteration]}}, from the middle of GRPO's run."""
    source, seconds, steps = runs.whole_run(seed, args, needs="cold-start"), {}, {}
    folder, _ = trained_run("grpo", seed, source, args.iterations, args.flags)
    snapshots = snapshots_in(folder / "rl")
    model, _ = runs.open_snapshot(folder, snapshots[len(snapshots) // 2])
    for name in names:
        config = runs.config_asked(flags_of(name, seed, NUM_TIMED, args.flags))
        steps[name], seconds[name] = steps_of(model, config), []
    for name, of_iteration, _ in runs.in_turn(steps, NUM_TIMED):
        seconds[name].append(round(of_iteration, 3))
    counted = {name: measured[1:] for name, measured in seconds.items()}
    return {"device": str(runs.device), "threads": torch.get_num_threads(), "seconds": counted}


def steps_of(model, config):
    """The training of a copy of the model, as the stage rl has it; each `next` is one iteration."""
    policy = copy.deepcopy(model).train()
    reference = copy.deepcopy(model).requires_grad_(False) if config.rl.kl_coef else None
    tasks, price = config.tasks, price_of_mixing(config)
    world = reasoning_world(get_tokenizer(), tasks.levels, tasks.shares, price)
    seed = derive_seed(0, "clock")
    return grpo.train(policy, reference, adamw(config.rl, policy), world, config.rl, seed)


def with_seconds(arms, clock):
    """The arms with "seconds" in each mark."""
    timed = {}
    for name, of_seeds in arms.items():
        timed[name] = []
        for arm in of_seeds:
            of_iteration = clock[RELATIVES[name].clock or name]
            marks = [mark | {"seconds": mark["iteration"] * of_iteration} for mark in arm["marks"]]
            timed[name].append({"marks": marks})
    return timed


# -----------------------------------------------------------------------------
# Comparing. `arms` are {name: [what `measure` returned, for each seed]}, with seconds.

def bits(mark):
    """Right or wrong at a mark on the held-out problems of all tasks, as a list of 0 and 1."""
    all_bits = []
    for outcomes in mark["right"].values():
        all_bits += [int(bit) for bit in outcomes]
    return all_bits


def compare(arms, name, cost):
    """(points, low, high): a relative less its GRPO, when both have cost as much in "completions" or
    "seconds"."""
    return tuple(100 * share for share in bootstrap_interval(*at_equal_cost(arms, name, cost)))


def differences(arms, name, cost):
    """Points of a relative less its GRPO in each run, when both have cost as much. An array (seeds,)."""
    of_relative, of_grpo = at_equal_cost(arms, name, cost)
    return 100 * (np.mean(of_relative, axis=1) - np.mean(of_grpo, axis=1))


def at_equal_cost(arms, name, cost):
    """How right a relative and its GRPO are when both have cost as much: two lists (seeds, problems)."""
    of_relative, of_grpo = [], []
    for relative, its_grpo in zip(arms[name], arms[RELATIVES[name].less]):
        budget = min(relative["marks"][-1][cost], its_grpo["marks"][-1][cost])
        of_relative.append(right_at(relative, cost, budget))
        of_grpo.append(right_at(its_grpo, cost, budget))
    return of_relative, of_grpo


def chance_of(arms, num_draws=10_000):
    """Could GRPO and the relatives that are compared with it be one and the same algorithm?

    If they were, it would be chance which of them has which result in a run. So the results of each run are
    dealt out anew among them, `num_draws` times. Returns {"compared": how many relatives, "lead": how far the
    best is ahead of GRPO, in points, "as far": how often it is as far ahead in a deal, "as wide": how often
    the means scatter as widely}. None if fewer than two are compared.
    """
    names = [name for name in arms if name not in NO_RELATIVES and RELATIVES[name].less == "grpo"]
    if len(names) < 2:
        return None
    points = [differences(arms, name, "completions") for name in names]
    points = np.array([np.zeros_like(points[0]), *points])      # (1 + relatives, seeds): GRPO is the first
    means, rng, as_far, as_wide = points.mean(1), np.random.default_rng(0), 0, 0
    lead = means[1:].max() - means[0]
    for _ in range(num_draws):
        dealt = rng.permuted(points, axis=0).mean(1)            # each run's results among them all
        as_far += dealt[1:].max() - dealt[0] >= lead - 1e-9
        as_wide += dealt.std() >= means.std() - 1e-9
    return {"compared": len(names), "lead": lead, "as far": as_far / num_draws,
            "as wide": as_wide / num_draws}


def right_at(arm, cost, budget):
    """How often each problem is right when an arm has cost so much: 0, 1, or between two marks a share.

    Between two marks it is a straight line: at half of the way from wrong to right it is 0.5.
    """
    marks = arm["marks"]
    before = [mark for mark in marks if mark[cost] <= budget][-1]
    if before is marks[-1]:
        return bits(before)
    after = marks[marks.index(before) + 1]
    share = (budget - before[cost]) / (after[cost] - before[cost])      # of the way from one to the other
    return [(1 - share) * old + share * new for old, new in zip(bits(before), bits(after))]


# -----------------------------------------------------------------------------
# The table

def table_line(arms, name):
    """Returns a line of the table: a dict with the lines of code, and with accuracies (value, low, high)."""
    relative = RELATIVES[name]
    value, low, high = bootstrap_interval([bits(arm["marks"][-1]) for arm in arms[name]])
    line = {"variant": relative.title, "flags": relative.flags, "lines": num_lines(relative),
            "less": RELATIVES[relative.less].title, "at the end": [100 * value, 100 * low, 100 * high]}
    if name not in BASELINES:
        line["by completions"] = compare(arms, name, "completions")
        line["by seconds"] = compare(arms, name, "seconds")
        line["time"] = time_ratio(arms, name)
    return line


def time_ratio(arms, name):
    """How many times as long as its GRPO a relative takes, for as many iterations."""
    return arms[name][0]["marks"][-1]["seconds"] / arms[RELATIVES[name].less][0]["marks"][-1]["seconds"]


def sentence(table, cost):
    """What the differences "by completions" or "by seconds" support, in one sentence."""
    better, worse, unclear = [], [], 0
    for line in table:
        if cost not in line or line["variant"] == RELATIVES["grpo-again"].title:
            continue
        _, low, high = line[cost]
        if low > 0:
            better.append(line["variant"])
        elif high < 0:
            worse.append(line["variant"])
        else:
            unclear += 1
    number = len(better) + len(worse) + unclear
    return (f"{cost}, of {number} compared (some may look different by chance): "
            f"better than GRPO: {', '.join(better) or 'none'}; worse: {', '.join(worse) or 'none'}; "
            f"no difference that these runs could show: {unclear}")


def rows_of(table):
    """The numbers of the table as rows, as every claim has them."""
    rows = []
    for line in table:
        rows.append(row(f"{line['variant']}, at the end", *line["at the end"]))
        for cost in COLORS:
            if f"by {cost}" in line:
                rows.append(row(f"{line['variant']} less {line['less']}, by {cost}", *line[f"by {cost}"]))
    return rows


def show(table):
    """Prints the table.

    "lines" are those of code that differ from GRPO. "at the end" is held-out pass@1 in percent, mean of the
    tasks. The last two columns are points less its GRPO, after as many completions and after as many seconds.
    """
    print(f"{'':40}{'lines':>5}{'at the end':>20}{'by completions':>22}{'by seconds':>22}")
    for entry in table:
        text = f"{entry['variant']:40}{entry['lines']:5}"
        for name, width in (("at the end", 20), ("by completions", 22), ("by seconds", 22)):
            if name in entry:
                value, low, high = entry[name]
                text += f"{f'{value:.1f} [{low:.1f}, {high:.1f}]':>{width}}"
        print(text)
    for cost in COLORS:
        print(sentence(table, f"by {cost}"))


def draw(table):
    """Each relative less its GRPO, with 95% intervals."""
    compared = [line for line in table if "by seconds" in line]
    figure, axis = new_figure(figsize=(7.6, 1.2 + 0.32 * len(compared)))
    for shift, (cost, color) in zip((-0.12, 0.12), COLORS.items()):
        for y, line in enumerate(compared):
            value, low, high = line[f"by {cost}"]
            axis.plot([low, high], [y + shift] * 2, color=color, lw=1.5)
            title = f"after as many {'answers' if cost == 'completions' else cost}"
            axis.plot(value, y + shift, "o", ms=4, color=color, label=title if y == 0 else None)
    axis.axvline(0, color="#999999", lw=1)
    axis.set_yticks(range(len(compared)), [line["variant"] for line in compared], fontsize=8)
    axis.invert_yaxis()
    axis.set_xlabel("points of held-out pass@1, minus GRPO with as many updates")
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, fontsize=8)
    return figure


def save(table, arms, args):
    """Writes variants.json and variants.png."""
    claim = [sentence(table, f"by {cost}") for cost in COLORS]
    num_problems = runs.config_asked(args.flags).evaluate.num_problems
    runs.save_rows("variants", ". ".join(claim), args.command, args.seeds, num_problems, rows_of(table),
                   table=table, chance=chance_of(arms))
    runs.save_figure(draw(table), "variants")


def main():
    parser = runs.make_parser(__doc__.splitlines()[0], num_seeds=3)
    parser.add_argument("--iterations", type=number(int, 2, 100_000), help="of each run (30, with --fast 2)")
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=RELATIVES,
                        help=f"these alone: {', '.join(RELATIVES)}")
    args = runs.parse(parser)
    if args.iterations is None:
        args.iterations = 2 if args.fast else 30
    names = FAST if args.fast else RELATIVES
    if args.only:
        names = {RELATIVES[name].less for name in args.only} | set(args.only)
    jobs = {}
    for name in RELATIVES:          # in this order
        if name in names:
            for seed in args.seeds:
                jobs[name, seed] = (arm_of, name, seed, args)
    arms = runs.by_seed(runs.work_off(jobs))
    timed = names if args.fast else RELATIVES       # they run in turn, so all of them are timed at once
    arms = with_seconds(arms, clock_of(clocks_of(timed), args))
    table = [table_line(arms, name) for name in arms]
    show(table)
    save(table, arms, args)


if __name__ == "__main__":
    main()
