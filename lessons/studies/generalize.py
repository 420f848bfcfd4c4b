"""Does imitation memorise, and does RL generalise? Claim C16.

    python lessons/studies/generalize.py [--seeds 3] [--iterations 60]
    python lessons/studies/generalize.py --fast

The four arms of compare_imitation_rl.py go on from one cold start: more of the corpus, expert solutions,
expert iteration, and RL. They are the models of C1, and what is missing is trained. Each of them, and the
cold start, then answers three kinds of questions:

    in distribution       held-out problems like those of the training
    out of distribution   longer sums, larger numbers, four numbers in countdown, programs with three squares
                          or four examples: no text and no prompt of any training was like this
    not trained           chat, and facts such as 7*8=56: the base learned them, and no arm but `corpus`
                          sees them again

An answer is checked, and a thought is not. In countdown with four numbers the moves j, k and l are letters
that no text of a move ever held; the tokenizer spells them as bytes, and the model may do without them.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))      # lessons/, where runs.py is

import compare_imitation_rl as imitation
import runs
import torch
from runs import row
from shared import group_bars, label

from minireason.config import TaskConfig
from minireason.corpus import fact_sheet
from minireason.inference import answer_all, which_are_right
from minireason.stats import bootstrap_interval
from minireason.tasks import arithmetic, countdown, program, test_problems
from minireason.tasks.chat import draw_chat, is_helpful
from minireason.tasks.problem import calculate
from minireason.tools.plots import new_figure
from minireason.upkeep.seeding import derive_rng
from minireason.verifier import split_completion

SEED = 1234                 # of the questions
MAX_NEW_TOKENS = 320        # half as long again as RL's answers: more numbers need more words
tokenizer = imitation.tokenizer


# -----------------------------------------------------------------------------
# Problems that no training drew

def larger_sum(rng):
    """A chain of level 2, but one term is a number from 10 to 30. The training has digits, and products of
    two digits."""
    while True:
        chain = arithmetic.make_problem(rng, 2)
        terms = arithmetic.split_terms(chain.prompt.removeprefix("compute "))
        place = rng.randrange(len(terms))
        terms[place] = (terms[place][0], (rng.randint(10, 30),))        # a term is (sign, its factors)
        if 0 <= arithmetic.value_of(terms) <= 99:
            return arithmetic.build(terms)


def larger_countdown(rng):
    """A number from 21 to 30 beside two of up to 20; the training has them up to 20."""
    while True:
        numbers = [rng.randint(21, 30), rng.randint(1, 20), rng.randint(1, 20)]
        rng.shuffle(numbers)
        target = numbers[0]
        for number in numbers[1:]:
            target = abs(calculate(target, rng.choice("+-*"), number))
        if 1 <= target <= 99:
            rng.shuffle(numbers)
            return countdown.build(target, numbers)


def steeper_program(rng):
    """A parabola with three squares, 3*x*x + slope*x + offset; the training has two at most."""
    while True:
        slope = rng.randint(-program.MAX_SLOPE, program.MAX_SLOPE)
        offset = rng.randint(-program.MAX_OFFSET, program.MAX_OFFSET)
        first = rng.randint(1, program.MAX_INPUT - 2)
        examples = []
        for x in (first, first + 1, rng.randint(first + 2, program.MAX_INPUT)):
            examples.append((x, 3 * x * x + slope * x + offset))
        outputs = [y for _, y in examples]
        if min(outputs) >= 0 and max(outputs) <= 99 and len(set(outputs)) > 1:
            return program.build(tuple(examples))


def longer_program(rng):
    """A line, with four examples; the training has three."""
    while True:
        line = program.make_problem(rng, 2)
        (x1, y1), (x2, y2), (x3, _) = line.examples
        x4 = rng.randint(x2 + 1, program.MAX_INPUT + 2)
        y4 = y1 + (x4 - x1) * (y2 - y1)                                  # x1 and x2 are neighbours
        if x4 != x3 and 0 <= y4 <= 99:
            return program.build((*line.examples, (x4, y4)))


def draw_distinct(draw, number):
    """`number` problems of draw(rng), no prompt twice."""
    rng, problems = derive_rng(SEED, draw.__name__), {}
    while len(problems) < number:
        problem = draw(rng)
        problems[problem.prompt] = problem
    return list(problems.values())


def worlds(number):
    """{group: {world: `number` problems}}; the groups are "in distribution" and "out of distribution"."""
    levels = imitation.config.tasks.levels
    inside = {task: test_problems(task, levels[task], number, SEED) for task in levels}
    outside = {
        "longer sums": test_problems("arithmetic", (4,), number, SEED),
        "larger sums": draw_distinct(larger_sum, number),
        "four numbers": test_problems("countdown", (4,), number, SEED),
        "larger numbers": draw_distinct(larger_countdown, number),
        "three squares": draw_distinct(steeper_program, number),
        "four examples": draw_distinct(longer_program, number)}
    return {"in distribution": inside, "out of distribution": outside}


# -----------------------------------------------------------------------------
# What a model does with them: for each question 1 or 0, as a text such as "0110"

def answers_right(model, problems, max_new_tokens):
    """Whether the model's answer to each problem is right, as a text such as "0110"."""
    return runs.digits(which_are_right(model, tokenizer, problems, max_new_tokens, SEED))


def replies_helpful(model, number, max_new_tokens):
    """Held-out chats without a secret: whether each reply holds what was asked for, as "0110"."""
    rng = derive_rng(SEED, "chat")
    chats = [draw_chat(rng, test=True, about=("talk", "number")[i % 2]) for i in range(number)]
    prompts = [chat.prompt for chat in chats]
    helpful = []
    for chat, (text, _) in zip(chats, answer_all(model, tokenizer, prompts, max_new_tokens, SEED)):
        parts = split_completion(text)
        helpful.append(parts is not None and is_helpful(chat, parts[1]))
    return runs.digits(helpful)


@torch.no_grad()
def facts_known(model, number):
    """Whether the model knows each of `number` facts such as 7*8=56, as "0110". A sheet holds eight of them.

    It knows a fact if each digit of the result is the token that it finds most likely there.
    """
    rng, known, device = derive_rng(SEED, "facts"), [], next(model.parameters()).device
    while len(known) < number:
        ids = tokenizer.encode(fact_sheet(rng, TaskConfig())[1])
        guesses = model(torch.tensor([ids], device=device))[0].argmax(-1).tolist()   # of what follows each
        in_result = False
        for i, token in enumerate(ids):
            text = tokenizer.decode([token])
            if text.startswith(" "):                                       # the next fact begins
                in_result = False
            if in_result:
                known[-1] = known[-1] and guesses[i - 1] == token
            if text == "=":
                in_result = True
                known.append(True)
    return runs.digits(known[:number])


def score(model, number, max_new_tokens):
    """{group: {world: "0110..."}} of one model."""
    scores = {}
    for group, problems_of in worlds(number).items():
        scores[group] = {}
        for world, problems in problems_of.items():
            scores[group][world] = answers_right(model, problems, max_new_tokens)
    scores["not trained"] = {"chat": replies_helpful(model, number, max_new_tokens),
                             "facts": facts_known(model, number)}
    return scores


# -----------------------------------------------------------------------------
# The arms

def measure(name, iterations, seed, number, max_new_tokens, args):
    """The scores of one arm, or of the cold start."""
    source = runs.whole_run(seed, args, needs="cold-start")
    if name in imitation.ARMS:
        model, _ = imitation.trained(name, iterations, seed, source)
    else:
        model, _ = runs.open_model(source, "cold-start")
    return score(model, number, max_new_tokens)


# -----------------------------------------------------------------------------
# All seeds

def outcomes_of(scores, group, world=None):
    """0 or 1 on each question of a world, for each seed; without a world, on all of the group."""
    by_seed = []
    for of_seed in scores:
        texts = of_seed[group].values() if world is None else [of_seed[group][world]]
        by_seed.append(runs.bits("".join(texts)))
    return by_seed


def rows_of(scores):
    """Each model's share right, what each arm gained over the cold start, and RL less each other arm."""
    rows = []
    for group, of_group in scores["RL"][0].items():
        for world in (*of_group, None):
            title = world or f"all {group}"
            outcomes = {name: outcomes_of(scores[name], group, world) for name in scores}
            for name, right in outcomes.items():
                rows.append(row(f"{title}: {name}", *bootstrap_interval(right)))
                if name != "cold start":
                    gain = bootstrap_interval(right, outcomes["cold start"])
                    rows.append(row(f"{title}: {name} less cold start", *gain))
                if name != "RL":
                    difference = bootstrap_interval(outcomes["RL"], right)
                    rows.append(row(f"{title}: RL less {name}", *difference))
    return rows


def draw(scores, rows):
    """What each arm gained over the cold start, in three pictures: in and out of distribution, and not
    trained."""
    found = {}
    for line in rows:
        found[line["name"]] = runs.in_percent(line)
    figure, axes = new_figure(1, 3, figsize=(10, 3.6), width_ratios=(3, 6, 2), sharey=True)
    for axis, (group, of_group) in zip(axes, scores["RL"][0].items()):
        table = {}
        for world in of_group:
            gains = {name: found[f"{world}: {name} less cold start"] for name in imitation.ARMS}
            table[world.replace(" ", "\n")] = gains
        group_bars(axis, table, imitation.COLORS)
        axis.axhline(0, color="black", lw=0.6)
        ylabel = "points gained over the cold start" if axis is axes[0] else ""
        title = "only corpus trains it" if group == "not trained" else group
        label(axis, title, ylabel=ylabel, legend=axis is axes[1])
    return figure


def main():
    parser = runs.make_parser(__doc__.splitlines()[0], num_seeds=3)
    parser.add_argument("--iterations", type=int,
                        help="of RL; a multiple of 6 (default: 60, with --fast 1)")
    args = runs.parse(parser)
    iterations, number, max_new_tokens = args.iterations, 1000, MAX_NEW_TOKENS
    if iterations is None:
        iterations = 1 if args.fast else 60
    if args.fast:
        imitation.make_small()
        number, max_new_tokens = 10, 60
    if iterations < 1 or iterations % imitation.ROUND:
        parser.error(f"--iterations is a multiple of {imitation.ROUND}")
    jobs = {}
    for seed in args.seeds:
        for name in ("cold start", *imitation.ARMS):
            file = f"C16-{runs.in_file_name(name)}-{iterations}-{seed}"
            arguments = (name, iterations, seed, number, max_new_tokens, args)
            jobs[name, seed] = (runs.arm, file, args, measure, *arguments)
    scores = runs.by_seed(runs.work_off(jobs))                     # {name: an arm of each seed}
    rows = rows_of(scores)
    runs.save_claim(16, "SFT memorises, RL generalises", args.command, args.seeds, number, rows)
    runs.save_figure(draw(scores, rows), "C16")


if __name__ == "__main__":
    main()
