"""GRPO and its relatives from one cold start: what lines each needs, and what points it brings. Resumable.

    python lessons/studies/variants.py --from runs/laptop [--seeds 3] [--iterations 60]
    python lessons/studies/variants.py --fast          five of them, two iterations: to see that all works

`--from pretrained` takes the included weights. `--only gspo dapo` trains these and the GRPO they are compared
with, and stops: so several processes can share the work. Where two need the same run, the second waits. The
same command without it then finds the runs.

1. Each relative trains with each seed: the same cold start, number of iterations, problems and completions of
   a rollout, and learning rate. Nothing is tuned for any of them. GSPO and CISPO need two updates for each
   rollout, so they are compared with a GRPO that has two. GSPO's loss is a mean over completions, so its GRPO
   has that as well.
2. A relative and its GRPO are compared with equal seeds on the same held-out problems, twice: after as many
   sampled completions, and after as many seconds. Where one of the two had more at its end, its last snapshot
   before that is taken, in half precision.
3. lessons/results/variants.json and variants.png, renewed whenever a relative has all its seeds.

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

import ast
import inspect
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1])]

from runs import RESULTS, STUDIES, curve, ensure, kept, outcomes, row

from minireason import batch, grpo, policy, rollout, stats
from minireason.config import from_dict
from minireason.evaluate import averaged_tasks, evaluate_task
from minireason.run import open_model
from minireason.snapshots import open_snapshot, snapshots_in
from minireason.stats import bootstrap_interval
from minireason.tokenizer import get_tokenizer
from minireason.tools.flags import Parser, number
from minireason.tools.plots import new_figure
from minireason.upkeep.checkpoint import save_json
from minireason.upkeep.command import BadInput, exit_codes

NUM_SNAPSHOTS = 9           # of a run: one at each tenth of its way
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


KL = "--rl-kl-coef 0.02 --rl-kl-estimator"
TWO = "--rl-num-epochs 2"
LOSS_LINES = (
    (grpo, "loss = policy_loss + config.kl_coef * kl_loss"),
    (grpo, "kl_loss = torch.zeros_like(policy_loss)"),
    (grpo, "if config.kl_coef and kl_estimator:"),
    (grpo, "kl = estimate_kl(kl_estimator, logprobs, ref_logprobs.where(mask != 0, logprobs))"),
    (grpo, "kl_loss = (kl * mask).sum() / num_tokens"),
)
REWARD_LINES = (
    (grpo, "if config.kl_in_reward and config.kl_coef:"),
    (grpo, "kl = estimate_kl(config.kl_estimator, rollout.old_logprobs, rollout.ref_logprobs) * mask"),
    (grpo, "returns = returns - config.kl_coef * kl.flip(1).cumsum(1).flip(1)"),
    (grpo, 'kl_in_loss = "" if config.kl_in_reward else config.kl_estimator'),
)
BATCH_LINES = (
    (grpo, "if config.batch_baseline:"),
    (grpo, "rollout.advantages = masked_whiten(returns, mask, parallel.total)"),
    (grpo, "return"),
)
REFILL_LINES = (
    (rollout, "if config.max_refills:"),
    (rollout, "rollout = refill(rollout, policy, reference, world, config, seed, iteration)"),
)
OVERLONG_LINES = (
    (rollout, "if config.overlong_penalty:"),
    (rollout, "if rollout.scores is None:"),
    (rollout, "rollout.scores = rollout.rewards"),
    (rollout, "rollout.rewards = rollout.rewards - overlong_price(rollout.completion_mask.sum(1), config)"),
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
    "reinforce++": Relative("REINFORCE++", "--rl-batch-baseline", lines=BATCH_LINES),
    "reinforce++-kl": Relative(
        "REINFORCE++, k1 in the reward", f"--rl-batch-baseline {KL} k1 --rl-kl-in-reward",
        (grpo.estimate_kl, stats.k1), BATCH_LINES + REWARD_LINES),
    "gspo": Relative(
        "GSPO",
        f"{TWO} --rl-normalize sequence --rl-objective gspo --rl-clip-low 3e-4 --rl-clip-high 4e-4",
        (stats.sequence_log_ratio,), less="grpo-2-sequence",
        lines=((grpo, 'if objective == "gspo":'),
               (grpo, "log_ratio = sequence_log_ratio(log_ratio, mask)"))),
    "cispo": Relative(
        "CISPO", f"{TWO} --rl-objective cispo --rl-clip-low 1", less="grpo-2",
        lines=((grpo, 'if objective == "cispo":'),
               (grpo, "surrogate = clipped.detach() * advantages * log_ratio"))),
    "refills": Relative("dynamic sampling", "--rl-max-refills 8", REFILL, REFILL_LINES),
    "overlong": Relative(
        "price of length", "--rl-overlong-penalty 0.5", (rollout.overlong_price,), OVERLONG_LINES),
    "dapo": Relative(
        "DAPO (both)", "--rl-max-refills 8 --rl-overlong-penalty 0.5",
        (*REFILL, rollout.overlong_price), REFILL_LINES + OVERLONG_LINES),
    "entropy": Relative(
        "entropy bonus", "--rl-entropy-coef 0.001",
        lines=((policy, "with torch.set_grad_enabled(entropy_gradient):"),
               (grpo, "if config.entropy_coef:"),
               (grpo, "loss = loss - config.entropy_coef * (entropy * weights).sum() / weight_sum"))),
    "k1-loss": Relative("k1 in the loss", f"{KL} k1", (grpo.estimate_kl, stats.k1), LOSS_LINES),
    "k2-loss": Relative("k2 in the loss", f"{KL} k2", (grpo.estimate_kl, stats.k2), LOSS_LINES),
    "k3-loss": Relative("k3 in the loss", f"{KL} k3", (grpo.estimate_kl, stats.k3), LOSS_LINES),
    "k1-reward": Relative(
        "k1 in the reward", f"{KL} k1 --rl-kl-in-reward", (grpo.estimate_kl, stats.k1), REWARD_LINES),
    "k2-reward": Relative(
        "k2 in the reward", f"{KL} k2 --rl-kl-in-reward", (grpo.estimate_kl, stats.k2), REWARD_LINES),
    "k3-reward": Relative(
        "k3 in the reward", f"{KL} k3 --rl-kl-in-reward", (grpo.estimate_kl, stats.k3), REWARD_LINES),
}
BASELINES = ("grpo", "grpo-2", "grpo-2-sequence")
FAST = ("grpo", "grpo-2-sequence", "gspo", "dapo", "reinforce++")
FAST_FLAGS = ("--rl-num-prompts 2 --rl-group-size 4 --rl-max-new-tokens 60 --evaluate-num-problems 12 "
              "--evaluate-num-programs 12 --evaluate-max-new-tokens 60").split()


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
# The queue of runs

class Study:
    """What the command line asked for, and the runs."""

    def __init__(self, source, num_seeds, num_iterations, is_fast):
        self.source, self.num_seeds, self.num_iterations = source, num_seeds, num_iterations
        self.is_fast = is_fast
        self.names = FAST if is_fast else tuple(RELATIVES)
        self.results = {}           # {(name of a relative, seed): results.json of its run}

    def run_name(self, name, seed):
        return f"variants-{'fast-' if self.is_fast else ''}{name}-{seed}"

    def train(self, name, seed):
        """Trains a run, goes on with it, or finds it."""
        flags = ["rl", "--from", self.source, "--seed", seed, "--rl-num-iterations", self.num_iterations,
                 "--rl-snapshots", NUM_SNAPSHOTS, *RELATIVES[name].flags.split()]
        if self.is_fast:
            flags += FAST_FLAGS
        self.results[name, seed] = ensure(self.run_name(name, seed), *flags)

    def marks(self, name, seed):
        """What a run had cost at its start, at each snapshot and at its end.

        Returns [{"iteration", "completions", "seconds"}].
        """
        run_name, results = self.run_name(name, seed), self.results[name, seed]
        settings = from_dict(results["config"]).rl
        completions = [0]           # sampled before each iteration; with dynamic sampling more than are used
        for line in curve(run_name, "rl"):
            number_sampled = line.get("num_sampled", settings.num_prompts * settings.group_size)
            completions.append(completions[-1] + number_sampled)
        marks = [{"iteration": 0, "completions": 0, "seconds": 0.0}]
        for iteration in snapshots_in(STUDIES / run_name / "rl"):
            _, state = open_snapshot(STUDIES / run_name, iteration)
            marks.append({"iteration": iteration, "completions": completions[iteration],
                          "seconds": state["seconds"]})
        marks.append({"iteration": settings.num_iterations, "completions": completions[-1],
                      "seconds": results["seconds"]["rl"]})
        return marks

    def right(self, name, seed, iteration):
        """Right or wrong on the held-out problems of all tasks, as a list of 0 and 1, at one of the marks."""
        results, run_name = self.results[name, seed], self.run_name(name, seed)
        tasks = averaged_tasks(results["stages"]["rl"])
        config = from_dict(results["config"])
        bits = []
        if iteration == config.rl.num_iterations:
            for task in tasks:
                bits += outcomes(results, "rl", task)
            return bits
        scores = kept(f"{run_name}-at-{iteration}", scores_at, STUDIES / run_name, iteration, config, tasks)
        for task in tasks:
            bits += [int(bit) for bit in scores[task]]
        return bits

    def compare(self, name, cost):
        """(points, low, high): a relative less its GRPO, when both have cost as much in "completions" or
        "seconds"."""
        of_relative, of_grpo = [], []
        for seed in range(self.num_seeds):
            runs = (name, RELATIVES[name].less)
            marks = [self.marks(run, seed) for run in runs]
            budget = min(marks[0][-1][cost], marks[1][-1][cost])
            for run, run_marks, bits in zip(runs, marks, (of_relative, of_grpo)):
                within = [mark for mark in run_marks if mark[cost] <= budget]
                bits.append(self.right(run, seed, within[-1]["iteration"]))
        return tuple(100 * share for share in bootstrap_interval(of_relative, of_grpo))


def scores_at(folder, iteration, config, tasks):
    """{task: outcomes} of a run's model at a snapshot, or of the cold start at iteration 0."""
    if iteration:
        model, state = open_snapshot(folder, iteration)
    else:
        model, state = open_model(folder, "cold-start")
    scores = {}
    for task in tasks:
        number_of_problems = config.evaluate.number_of(task)
        found = evaluate_task(model, get_tokenizer(), task, config.tasks.levels[task], number_of_problems,
                              config.evaluate)
        scores[task] = found["outcomes"]
    return scores


# -----------------------------------------------------------------------------
# The table

def table_line(study, name):
    """What the table says of a relative whose runs are all there."""
    relative = RELATIVES[name]
    at_end = [study.right(name, seed, study.num_iterations) for seed in range(study.num_seeds)]
    value, low, high = bootstrap_interval(at_end)
    line = {"variant": relative.title, "flags": relative.flags, "lines": num_lines(relative),
            "less": RELATIVES[relative.less].title, "at the end": [100 * value, 100 * low, 100 * high]}
    if name not in BASELINES:
        line["by completions"] = study.compare(name, "completions")
        line["by seconds"] = study.compare(name, "seconds")
    return line


def sentence(table, cost):
    """What the differences "by completions" or "by seconds" support, in one sentence."""
    better, worse, unclear = [], [], 0
    for line in table:
        if cost not in line:
            continue
        _, low, high = line[cost]
        if low > 0:
            better.append(line["variant"])
        elif high < 0:
            worse.append(line["variant"])
        else:
            unclear += 1
    return (f"{cost}: better than GRPO: {', '.join(better) or 'none'}; worse: {', '.join(worse) or 'none'}; "
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
    """Prints the table: points of held-out pass@1, mean of the tasks."""
    print(f"{'':40}{'lines':>5}{'at the end':>20}{'by completions':>22}{'by seconds':>22}")
    for line in table:
        text = f"{line['variant']:40}{line['lines']:5}"
        for name, width in (("at the end", 20), ("by completions", 22), ("by seconds", 22)):
            if name in line:
                value, low, high = line[name]
                text += f"{f'{value:.1f} [{low:.1f}, {high:.1f}]':>{width}}"
        print(text)
    for cost in COLORS:
        print(sentence(table, f"by {cost}"))


def draw(table, path):
    """Each relative less its GRPO, with 95% intervals."""
    compared = [line for line in table if "by seconds" in line]
    figure, axis = new_figure(figsize=(7.6, 1.2 + 0.32 * len(compared)))
    for shift, (cost, color) in zip((-0.12, 0.12), COLORS.items()):
        for y, line in enumerate(compared):
            value, low, high = line[f"by {cost}"]
            axis.plot([low, high], [y + shift] * 2, color=color, lw=1.5)
            axis.plot(value, y + shift, "o", ms=4, color=color, label=f"by {cost}" if y == 0 else None)
    axis.axvline(0, color="#999999", lw=1)
    axis.set_yticks(range(len(compared)), [line["variant"] for line in compared], fontsize=8)
    axis.invert_yaxis()
    axis.set_xlabel("points of held-out pass@1, less GRPO with as many updates")
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=150)


def write(study, table, command):
    """Saves the table so far, and its picture. The quick study leaves the repository's own alone."""
    folder, name = (STUDIES, "variants-fast") if study.is_fast else (RESULTS, "variants")
    folder.mkdir(parents=True, exist_ok=True)
    seeds = list(range(study.num_seeds))
    config = from_dict(study.results["grpo", 0]["config"])
    claim = [sentence(table, f"by {cost}") for cost in COLORS]
    save_json(folder / f"{name}.json", {
        "claim": ". ".join(claim), "command": command, "seeds": seeds,
        "num_problems": config.evaluate.num_problems, "rows": rows_of(table), "table": table})
    if any("by seconds" in line for line in table):
        draw(table, folder / f"{name}.png")
    return folder / f"{name}.json"


@exit_codes("variants.py")
def main(argv=None):
    parser = Parser("Compare GRPO with its relatives from one cold start.")
    parser.add_argument("--from", dest="source", help="a run with a finished cold start, or pretrained")
    parser.add_argument("--seeds", type=number(int, 1, 100), default=3, help="runs of each (3)")
    parser.add_argument("--iterations", type=number(int, 2, 100_000), default=60, help="of each run (60)")
    parser.add_argument("--only", nargs="+", metavar="NAME", help=f"train these: {', '.join(RELATIVES)}")
    parser.add_argument("--fast", action="store_true", help="five of them, one seed, two iterations")
    args = parser.parse_args(argv)
    if not args.source and not args.fast:
        raise BadInput("--from is missing: give a run with a finished cold start, or pretrained")
    for name in args.only or []:
        if name not in RELATIVES:
            raise BadInput(f"--only: there is no {name!r:.40}: choose {', '.join(RELATIVES)}")
    command = f"python lessons/studies/variants.py --from RUN --seeds {args.seeds}"
    command += f" --iterations {args.iterations}"
    study = Study(args.source or "pretrained", args.seeds, args.iterations, is_fast=False)
    if args.fast:
        study = Study(args.source or "pretrained", 1, 2, is_fast=True)
        command = "python lessons/studies/variants.py --fast"
    print(command, flush=True)

    names = study.names
    if args.only:
        needed = {RELATIVES[name].less for name in args.only} | set(args.only)
        names = [name for name in RELATIVES if name in needed]
    table = []
    for position, name in enumerate(names):
        for seed in range(study.num_seeds):
            print(f"{position + 1} of {len(names)}: {RELATIVES[name].title}, seed {seed}", flush=True)
            study.train(name, seed)
        if not args.only:
            table.append(table_line(study, name))
            path = write(study, table, command)
    if not args.only:
        show(table)
        print(f"the table is in {path}")


if __name__ == "__main__":
    sys.exit(main())
