"""Is pure RL hard to read, and what makes it readable? Claim C6, of lesson 12.

    python lessons/studies/languages.py [--seeds 5]
    python lessons/studies/languages.py --fast

Counts languages and form in the corpus, in the base, in pure RL, in the cold start and in RL from it. Pure
RL and "RL after it" (in figures "cold start + RL") are rewarded alike, for right answers alone: so only the
cold start differs. "RL, mixing priced" is the recipe's own: an answer that mixes languages loses half of
its reward. Two more models are trained for 100 iterations on the product of two rewards, for a right answer
and for one language: one from the base, one from "RL after it". What is counted of a model is kept in
lessons/results/arms/.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))      # lessons/, where runs.py is

import runs
from runs import row
from shared import error_bars, group_bars, label

from minireason import grpo
from minireason.behaviour import observe
from minireason.config import RLConfig, preset
from minireason.corpus import base_corpus
from minireason.inference import answer_all
from minireason.optimizer import adamw
from minireason.rewards import World, correctness, language_consistency, reasoning_world
from minireason.stats import bootstrap_interval
from minireason.tasks import parse_prompt, test_problems
from minireason.tokenizer import get_tokenizer
from minireason.tools.plots import new_figure
from minireason.verifier import verify

TASKS = ("arithmetic", "countdown")
NAMES = ("well formed", "mixing", "readable", "right")
RATES = {"pure RL, one language": 5e-4, "RL, one language": 2e-4}      # learning rates of the two new models
START = {"pure RL, one language": "base", "RL, one language": "RL after it"}       # and where they begin
COLORS = {"corpus": "#cccccc", "base": "#999999", "pure RL": "#1b6ca8", "pure RL, one language": "#5a9a5a",
          "cold start": "#e0a030", "RL after it": "#d1495b", "RL, mixing priced": "#7a4fa3",
          "RL, one language": "#4fb0c6"}
COMPARED = (("pure RL", "base"), ("RL after it", "cold start"), ("RL after it", "pure RL"),
            ("RL, mixing priced", "RL after it"), ("RL, one language", "RL after it"))
tokenizer = get_tokenizer()


def right_in_one_language(problems, texts):
    """For each completion: 1 for a right answer whose thought does not mix languages, else 0."""
    return [correctness(*pair) * language_consistency(*pair) for pair in zip(problems, texts)]


def reinforce(model, rate, num_iterations, num_prompts, max_new_tokens, seed):
    """Trains the model by GRPO on the reward `right_in_one_language`. Returns the model."""
    settings = RLConfig(num_iterations=num_iterations, num_prompts=num_prompts, num_epochs=1,
                        learning_rate=rate, max_new_tokens=max_new_tokens)
    plain = reasoning_world(tokenizer, {"arithmetic": (2, 3), "countdown": (2, 3)},
                            {"arithmetic": 0.4, "countdown": 0.6})
    world = World(plain.draw, right_in_one_language, tokenizer)
    # `train` yields metrics and trains meanwhile; nobody needs the metrics
    list(grpo.train(model.train(), None, adamw(settings, model), world, settings, seed))
    return model.eval()


def shares_of(pairs):
    """A share for each of NAMES, over (problem, completion)."""
    behaviours = [observe(problem, text) for problem, text in pairs]
    thinking = [behaviour for behaviour in behaviours if behaviour.thinks]
    return [sum(behaviour.well_formed for behaviour in behaviours) / len(pairs),
            sum(behaviour.mixed for behaviour in thinking) / max(1, len(thinking)),
            sum(behaviour.readable for behaviour in behaviours) / len(pairs),
            sum(verify(problem, text).correct for problem, text in pairs) / len(pairs)]


def shares_of_corpus(seed, num_documents):
    """`shares_of` the sums and the countdown among `num_documents` documents of the base's corpus."""
    pairs = []
    for prompt, completion in base_corpus(seed, num_documents):
        if prompt.startswith(("compute", "make")):
            pairs.append((parse_prompt(prompt), completion))
    return shares_of(pairs)


def measure(arm, problems, num_documents, max_new_tokens, seed, args):
    """What is kept of an arm: {name: a share, for each of NAMES}."""
    if arm == "corpus":
        shares = shares_of_corpus(seed, num_documents)
    else:
        shares = shares_of_model(arm, problems, max_new_tokens, seed, args)
    return dict(zip(NAMES, shares))


def shares_of_model(arm, problems, max_new_tokens, seed, args):
    """`shares_of` the answers of a model. An arm of RATES is first trained further."""
    model, _ = runs.open_model(*runs.model_of_arm(START.get(arm, arm), seed, args))
    if arm in RATES:
        num_iterations, num_prompts = (1, 4) if args.fast else (100, 12)
        model = reinforce(model, RATES[arm], num_iterations, num_prompts, max_new_tokens, seed)
    prompts = [problem.prompt for problem in problems]
    answers = answer_all(model, tokenizer, prompts, max_new_tokens, seed=1)
    return shares_of([(problem, text) for problem, (text, _) in zip(problems, answers)])


def intervals(shares, *arms):
    """{name: (value, low, high)} over the seeds, of one arm or of the first less the second.

    `shares` is {arm: [what `measure` returned, for each seed]}.
    """
    by_name = {}
    for name in NAMES:
        columns = []
        for arm in arms:
            columns.append([[of_seed[name]] for of_seed in shares[arm]])
        by_name[name] = bootstrap_interval(*columns)
    return by_name


def draw(shares, title):
    """The figure of C6, from {arm: [what `measure` returned, for each seed]}.

    Left: a bar for each share and arm. Right: a point for each arm, its right and its readable answers.
    """
    figure, axes = new_figure(1, 2, figsize=(10, 3.8), width_ratios=(1.6, 1))
    table = {name: {} for name in NAMES}
    colors = {runs.title_of(arm): color for arm, color in COLORS.items()}
    for arm, (words, color) in zip(COLORS, colors.items()):
        for name, interval in intervals(shares, arm).items():
            table[name][words] = [100 * number for number in interval]
        [x], x_errors = error_bars([table["right"][words]])         # lists, here of one point
        [y], y_errors = error_bars([table["readable"][words]])
        axes[1].errorbar(x, y, y_errors, x_errors, "o", color=color)
    group_bars(axes[0], table, colors)
    label(axes[0], title, ylabel="% of the answers (mixing: of those that think)")
    axes[0].set_ylim(0, 145)
    axes[0].set_yticks(range(0, 101, 20))
    axes[0].legend(frameon=False, fontsize=8, ncols=3, loc="upper center")
    label(axes[1], "reasons well, reads well", "right, %", "readable, %", legend=False)
    axes[1].set(xlim=(0, 100), ylim=(0, 100))
    return figure


def main():
    args = runs.parse(runs.make_parser(__doc__.splitlines()[0], num_seeds=5))
    num_problems, num_documents, max_new_tokens = 1000, 20_000, preset("laptop").rl.max_new_tokens
    if args.fast:
        num_problems, num_documents, max_new_tokens = 10, 500, 60
    problems = []
    for task in TASKS:
        problems += test_problems(task, (2, 3), num_problems, seed=1234)
    jobs = {}
    for seed in args.seeds:
        for arm in COLORS:
            file = f"C6-{runs.in_file_name(arm)}-{seed}"
            jobs[arm, seed] = (runs.arm, file, args, measure, arm, problems, num_documents, max_new_tokens,
                               seed, args)
    shares = runs.by_seed(runs.work_off(jobs))
    rows = []
    for arms in [(arm,) for arm in COLORS] + list(COMPARED):
        for name, interval in intervals(shares, *arms).items():
            rows.append(row(f"{' less '.join(arms)}: {name}", *interval))
    runs.save_claim(6, "a cold start makes RL readable", args.command, args.seeds, len(problems), rows)
    title = f"sums and countdown, {num_problems:,} problems each, {len(args.seeds)} seeds"
    runs.save_figure(draw(shares, title), "C6")


if __name__ == "__main__":
    main()
