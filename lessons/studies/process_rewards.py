"""Are process rewards better, or do they get hacked? Claim C18.

    python lessons/studies/process_rewards.py [--seeds 3]
    python lessons/studies/process_rewards.py --fast

RL goes on from the base, without a cold start, with as many answers in each arm. All arms pay 1 for a right
final answer. What they pay for the way there differs:

    outcome         nothing: the run `pure-N` that other studies share
    each step       STEP_PAY for each right step, by the exact checker of behaviour.py
    no wrong step   1 where there are steps and all are right: the worst step decides (arXiv:2504.15275)
    learned         STEP_PAY times the chance that each step is right, in the eyes of a learned scorer

The scorer is the base with one number on top, as reward models are. It reads the steps of NUM_LABELLED
answers of the base, and the exact checker tells it which are right. So its mistakes can be counted, before RL
and after.

A reward is hacked where it rises and what it stands for does not. So this counts the steps of an answer, and
those that repeat an earlier one. And of each arm the answer that earned most by its steps is kept.
"""

import sys
from pathlib import Path

import torch
import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))      # lessons/, where runs.py is

import runs
from runs import bits, row
from shared import group_bars, label, plot_band

from minireason.align import RewardModel, collate
from minireason.inference import answer_all, answers_with_ends
from minireason.rewards import correctness, reasoning_world
from minireason.stats import bootstrap_interval
from minireason.tasks import TASKS, test_problems
from minireason.tokenizer import get_tokenizer
from minireason.tools.plots import new_figure
from minireason.upkeep.seeding import derive_rng, derive_seed
from minireason.verifier import split_completion

STEP_PAY = 0.1
NUM_LABELLED = 3000     # answers whose steps the scorer learns from
NUM_PASSES = 3          # over these answers
NUM_TEXTS = 300         # held-out answers of each task whose steps are looked at
BATCH_SIZE = 32         # answers that the scorer reads at once
COLORS = {"base": "#999999", "outcome": "#1b6ca8", "each step": "#d1495b", "no wrong step": "#5a9a5a",
          "learned": "#8a6fb0"}
ARMS = tuple(COLORS)[1:]
COUNTS = ("tokens", "right_steps", "wrong_steps", "repeated")     # two per answer, two shares of the steps
tokenizer = get_tokenizer()


# -----------------------------------------------------------------------------
# Steps, and what they are paid

def steps_of(problem, completion):
    """(thinking, steps) of a completion; all of it counts as thinking where it is not well formed."""
    parts = split_completion(completion)
    thinking = parts[0] if parts else completion
    return thinking, TASKS[problem.task].find_steps(thinking)


def each_step(problem, completion):
    """STEP_PAY for each right step. A step that cannot be evaluated is not right."""
    _, steps = steps_of(problem, completion)
    return STEP_PAY * sum(bool(step.right) for step in steps)


def no_wrong_step(problem, completion):
    """1 where there are steps and all of them are right."""
    _, steps = steps_of(problem, completion)
    return float(bool(steps) and all(step.right for step in steps))


def count_repeated(steps):
    """How many steps ask what an earlier step asked."""
    questions = [step.question for step in steps]
    return len(questions) - len(set(questions))


# -----------------------------------------------------------------------------
# The learned scorer

def encode_steps(problem, completion):
    """What the scorer reads, up to the last step. Returns (ids, the place of each step's last token)."""
    thinking, steps = steps_of(problem, completion)
    ids = tokenizer.encode_prompt(problem.prompt) + tokenizer.encode_tagged("<think>")
    ends, position = [], 0
    for step in steps:
        ids += tokenizer.encode(thinking[position:step.span[1]])
        ends.append(len(ids) - 1)
        position = step.span[1]
    return ids, ends


def step_logits(scorer, rows):
    """A number for each step of each row (ids, ends), in order; above 0 where a step looks right."""
    device = next(scorer.parameters()).device
    ids, _ = collate([ids for ids, _ in rows], device)                   # (B, T)
    hidden = scorer.body.hidden(ids)                                     # (B, T, C)
    row_of_step, place_of_step = [], []
    for number, (_, ends) in enumerate(rows):
        row_of_step += [number] * len(ends)
        place_of_step += ends
    return scorer.score(hidden[row_of_step, place_of_step])[:, 0]        # (steps,)


@torch.no_grad()
def chances(scorer, problems, completions):
    """For each completion the chances, in the eyes of the scorer, that its steps are right."""
    encoded = [encode_steps(problem, text) for problem, text in zip(problems, completions)]
    by_row = []
    for start in range(0, len(encoded), BATCH_SIZE):
        rows = encoded[start:start + BATCH_SIZE]
        values = step_logits(scorer, rows).sigmoid().tolist()
        for _, ends in rows:
            by_row.append(values[:len(ends)])
            values = values[len(ends):]
    return by_row


def train_scorer(scorer, model, config, seed):
    """Trains the scorer on the steps of the model's own answers to training problems.

    Returns how many of these were right, and how many wrong.
    """
    world = reasoning_world(tokenizer, config.tasks.levels, config.tasks.shares)
    rng = derive_rng(seed, "labelled problems")
    problems = [world.draw(rng) for _ in range(NUM_LABELLED)]
    prompts = [problem.prompt for problem in problems]
    answers = answer_all(model, tokenizer, prompts, config.rl.max_new_tokens, derive_seed(seed, "labelled"))
    rows, labels = [], []
    for problem, (text, _) in zip(problems, answers):
        _, steps = steps_of(problem, text)
        if steps:
            rows.append(encode_steps(problem, text))
            labels.append([float(bool(step.right)) for step in steps])
    num_right = sum(sum(of_row) for of_row in labels)
    num_wrong = sum(len(of_row) for of_row in labels) - num_right
    optimizer, device = torch.optim.AdamW(scorer.parameters(), lr=5e-4), next(scorer.parameters()).device
    for start in list(range(0, len(rows), BATCH_SIZE)) * NUM_PASSES:
        labels_of_steps = sum(labels[start:start + BATCH_SIZE], [])    # joins the lists of the rows
        targets = torch.tensor(labels_of_steps, device=device)
        # Wrong steps are rare. All of them together weigh as much as all right ones.
        weights = torch.where(targets == 1, 1.0, num_right / max(1, num_wrong))
        logits = step_logits(scorer, rows[start:start + BATCH_SIZE])
        loss = F.binary_cross_entropy_with_logits(logits, targets, weights)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return {"right": num_right, "wrong": num_wrong}


def scorer_of(seed, args):
    """The scorer of one seed. It is trained once, so that a resumed run is paid by the same one."""
    model, _ = runs.open_model(runs.whole_run(seed, args, needs="rl"), "base")
    config = runs.config_asked(args.flags)
    scorer = RewardModel(model).to(runs.device)
    return runs.kept_model(f"step-scorer-{seed}", scorer, train_scorer, model, config, seed)[0]


# -----------------------------------------------------------------------------
# The arms

def reward_of(name, seed, args):
    """What an arm pays: a function of (problems, completions), as a World takes it."""
    if name == "learned":
        scorer = scorer_of(seed, args)

        def learned(problems, completions):
            pays = []
            of_steps = chances(scorer, problems, completions)
            for problem, text, values in zip(problems, completions, of_steps):
                pays.append(correctness(problem, text) + STEP_PAY * sum(values))
            return pays
        return learned

    pay_of_steps = {"each step": each_step, "no wrong step": no_wrong_step}[name]

    def checked(problems, completions):
        pays = []
        for problem, text in zip(problems, completions):
            pays.append(correctness(problem, text) + pay_of_steps(problem, text))
        return pays
    return checked


def measure(name, seed, args):
    """What is kept of one arm: `runs.rl_numbers`, what its answers hold, and the one that was paid best."""
    if name == "base":
        folder, stage, kept = runs.whole_run(seed, args, "rl"), "base", runs.base_numbers(seed, args)
    else:
        if name == "outcome":
            folder = runs.pure_run(seed, args)
        else:
            run_name = f"process-{runs.in_file_name(name)}"
            folder = runs.rewarded_run(run_name, reward_of(name, seed, args), seed, args)
        kept, stage = runs.rl_numbers(folder), "rl"
    model, _ = runs.open_model(folder, stage)
    config = runs.config_asked(args.flags)
    scorer = scorer_of(seed, args) if name in ("base", "learned") else None
    return {**kept, **look_at_texts(model, config, name, scorer)}


def look_at_texts(model, config, name, scorer):
    """What the answers to held-out problems hold: {"steps", "best_paid", "scorer"}.

    These are the COUNTS of each task; the answer that earned most by its steps; and how the scorer judged:
    {"right": [steps, of these called right], "wrong": the same}. An answer that was cut off earns nothing.
    All arms but `learned` are judged as `each step` pays, so that their answers can be compared.
    """
    counts, best, judged = {}, None, {"right": [0, 0], "wrong": [0, 0]}
    for task, levels in config.tasks.levels.items():
        number = min(NUM_TEXTS, config.evaluate.number_of(task))
        problems = test_problems(task, levels, number, config.evaluate.seed)
        prompts = [problem.prompt for problem in problems]
        seed = derive_seed(config.evaluate.seed, "steps", task)
        answers = answers_with_ends(model, tokenizer, prompts, config.evaluate.max_new_tokens, seed)
        texts = [answer.text for answer in answers]
        of_steps = chances(scorer, problems, texts) if scorer else [None] * number
        counts[task] = count_steps(problems, answers)
        for problem, answer, values in zip(problems, answers, of_steps):
            _, steps = steps_of(problem, answer.text)
            if values is not None:
                judge(judged, steps, values)
            pay = STEP_PAY * sum(values) if name == "learned" else each_step(problem, answer.text)
            if answer.ended and (best is None or pay > best["pay"]):
                best = {"prompt": problem.prompt, "text": answer.text, "pay": round(pay, 2),
                        "steps": len(steps), "repeated": count_repeated(steps),
                        "right": bool(correctness(problem, answer.text))}
    return {"steps": counts, "best_paid": best, "scorer": judged if scorer else None}


def count_steps(problems, answers):
    """The COUNTS over the answers to the problems of one task; None where there is nothing to divide by."""
    num_right = num_steps = num_repeated = 0
    for problem, answer in zip(problems, answers):
        _, steps = steps_of(problem, answer.text)
        num_steps += len(steps)
        num_right += sum(bool(step.right) for step in steps)
        num_repeated += count_repeated(steps)
    return {"tokens": sum(answer.num_tokens for answer in answers) / len(answers),
            "right_steps": num_right / len(answers),
            "wrong_steps": (num_steps - num_right) / num_steps if num_steps else None,
            "repeated": num_repeated / num_steps if num_steps else None}


def judge(judged, steps, values):
    """Adds the steps of one answer to `judged`, {"right": [steps, of these called right], "wrong": the same}.

    `values` are the chances, in the eyes of the scorer, that the steps are right.
    """
    for step, chance in zip(steps, values):
        counts = judged["right" if step.right else "wrong"]
        counts[0] += 1
        counts[1] += chance > 0.5


# -----------------------------------------------------------------------------
# Results

def rows_of(measured):
    """Accuracies, their differences from the arm `outcome`, the COUNTS, and how the scorer judged.

    `measured` is {arm: [what `measure` returned, for each seed]}.
    """
    rows = []
    for task in measured["base"][0]["scores"]:
        of_outcome = [bits(arm["scores"][task]["outcomes"]) for arm in measured["outcome"]]
        for name, arms in measured.items():
            right = [bits(arm["scores"][task]["outcomes"]) for arm in arms]
            rows.append(row(f"{task}, {name}", *bootstrap_interval(right)))
            if name not in ("base", "outcome"):
                difference = bootstrap_interval(right, of_outcome)
                rows.append(row(f"{task}, {name} less outcome", *difference))
            counts = {"well_formed": [arm["scores"][task]["well_formed"] for arm in arms]}
            for count in COUNTS:
                counts[count] = [arm["steps"][task][count] or 0.0 for arm in arms]
            for count, values in counts.items():
                rows.append(runs.row_of_runs(f"{task}, {name}: {count}", values))
    for name in ("base", "learned"):
        for kind in ("right", "wrong"):
            shares = []
            for arm in measured[name]:
                number, called_right = arm["scorer"][kind]
                shares.append(called_right / max(1, number))
            rows.append(runs.row_of_runs(f"scorer: {kind} steps called right, {name}", shares))
    return rows


def curve_of(arms, key):
    """(iterations, intervals) of a metric of RL: its mean over the seeds, the lowest and the highest."""
    intervals = []
    for values in zip(*(arm["curves"][key] for arm in arms)):
        intervals.append((sum(values) / len(values), min(values), max(values)))
    return range(len(intervals)), intervals


def draw(measured, rows):
    """Reward, accuracy and length by iteration, and the right steps of an answer at the end."""
    found = {}
    for line in rows:
        found[line["name"].split(" (")[0]] = (line["value"], line["low"], line["high"])
    figure, axes = new_figure(2, 2, figsize=(9, 6.6))
    axes = axes.flatten()
    for name in ARMS:
        plot_band(axes[0], *curve_of(measured[name], "reward"), COLORS[name], name)
        plot_band(axes[1], *runs.held_out_curve(measured[name]), COLORS[name], name)
        plot_band(axes[2], *curve_of(measured[name], "completion_length"), COLORS[name], name)
    label(axes[0], "what the arm itself pays", "iteration of RL", "mean reward")
    label(axes[1], "held-out accuracy, mean of the tasks", "iteration of RL", "right, %", legend=False)
    label(axes[2], "length in RL", "iteration of RL", "tokens of an answer", legend=False)
    table = {}
    for task in measured["base"][0]["scores"]:
        table[task] = {name: found[f"{task}, {name}: right_steps"] for name in COLORS}
    group_bars(axes[3], table, COLORS)
    label(axes[3], "held-out answers, at the end", ylabel="right steps of an answer")
    return figure


def main():
    args = runs.parse(runs.make_parser(__doc__.splitlines()[0], num_seeds=3))
    if args.fast:
        make_small()
    jobs = {}
    for seed in args.seeds:
        for name in COLORS:
            file = f"C18-{runs.in_file_name(name)}-{seed}"
            jobs[name, seed] = (runs.arm, file, args, measure, name, seed, args)
    measured = runs.by_seed(runs.work_off(jobs))                   # {name: an arm of each seed}
    rows = rows_of(measured)
    transcripts = {name: measured[name][0]["best_paid"] for name in COLORS}
    seconds = {}
    for name in ARMS:
        seconds[name] = [arm["seconds"] for arm in measured[name]]
    num_problems = len(measured["base"][0]["scores"]["arithmetic"]["outcomes"])
    runs.save_claim(18, "process rewards are better, or get hacked", args.command, args.seeds, num_problems,
                    rows, transcripts=transcripts, seconds=seconds)
    runs.save_figure(draw(measured, rows), "C18")


def make_small():
    """For --fast: fewer answers for the scorer to learn from, and fewer to look at."""
    global NUM_LABELLED, NUM_TEXTS
    NUM_LABELLED, NUM_TEXTS = 64, 10


if __name__ == "__main__":
    main()
