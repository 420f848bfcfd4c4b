# %% [markdown]
# # 12. Pure RL or a cold start
#
# Question: R1-Zero reasons well and reads badly, R1 got a cold start so as to have both. What of that is true
# here? And what can be paid for, so that it reads well?
#
# You need: lessons 04 and 11. Time: about a minute and a half on a laptop's CPU.
#
#     mixing      completions with words of both languages in the thinking / completions that think
#     readable    well formed, in one language, and the answer is that of the last step / all completions
#
# RL on the answer alone is blind to both: r(x, y) has the same value for a text in one language and in two,
# so no gradient goes from one to the other, and what was there stays or drifts. The remedy of R1 is a second
# reward, for consistency.

# %%
import json
import os
import sys
from pathlib import Path

# Where to find `shared`: in this file's folder or, in a notebook, in the working folder or its lessons/.
FOLDER = Path(globals().get("__file__", "notebook")).resolve().parent
sys.path[:0] = [str(FOLDER), str(FOLDER / "lessons")]

import torch
from shared import show_figure

from minireason import grpo
from minireason.behaviour import observe
from minireason.config import RLConfig
from minireason.corpus import base_corpus
from minireason.inference import answer_all
from minireason.optimizer import adamw
from minireason.rewards import World, correctness, language_consistency, reasoning_world
from minireason.run import open_model
from minireason.stats import bootstrap_interval, wilson_interval
from minireason.tasks import parse_prompt, test_problems
from minireason.tokenizer import get_tokenizer
from minireason.tools.plots import new_figure
from minireason.upkeep.checkpoint import save_json
from minireason.verifier import verify

FAST = os.environ.get("LESSON_FAST") == "1"
NUM_DOCUMENTS = 60 if FAST else 3000
NUM_PROBLEMS = 6 if FAST else 150        # of each task
NUM_ITERATIONS = 2 if FAST else 16
NUM_PROMPTS = 2 if FAST else 12
MAX_TOKENS = 40 if FAST else 160
TASKS = ("arithmetic", "countdown")
NAMES = ("well formed", "mixing", "readable", "right")
tokenizer = get_tokenizer()

# %% [markdown]
# ## By hand: what to pay
# Four answers to `compute 7*2+8`: right in one language, right in two, wrong in one, and wrong without a
# thought. The last mixes nothing, as it says nothing. The sum of both rewards pays 2, 1, 1, 1: a right answer
# in two languages is then worth no more than a wrong one, and in a group of these three all advantages are 0.
# The product pays 1, 0, 0, 0.

# %%
problem = parse_prompt("compute 7*2+8")
ANSWERS = (("7*2=14 so 14+8=22", 22), ("7*2=14 luego 14+8=22 check 22-8=14 ok", 22),
           ("7*2=14 so 14+8=21", 21), ("", 25))
texts = [f"<think>{thinking}</think><answer>{answer}</answer>" for thinking, answer in ANSWERS]
added = [correctness(problem, text) + language_consistency(problem, text) for text in texts]
assert added == [2, 1, 1, 1]
assert [observe(problem, text).readable for text in texts] == [True, False, True, True]
assert not grpo.group_advantages(torch.tensor([added[1:]])).any()
other_answer = texts[0].replace("<answer>22", "<answer>23")
assert not observe(problem, other_answer).readable                   # not what was worked out
assert language_consistency(problem, "") == 1.0                      # silence is consistent

levels = {"arithmetic": (2, 3), "countdown": (2, 3)}
plain = reasoning_world(tokenizer, levels, {"arithmetic": 0.4, "countdown": 0.6})


def both(problems, texts):
    """The product of the two rewards."""
    return [correctness(*pair) * language_consistency(*pair) for pair in zip(problems, texts)]


assert both([problem] * 4, texts) == [1, 0, 0, 0] and plain.reward([problem] * 4, texts) == [1, 1, 0, 0]

# %% [markdown]
# ## Two short runs from the base, and one that goes on from the shipped RL model
# The same problems and seeds; what differs is what is paid. The last one starts with much to lose: at a lower
# rate.


# %%
def reinforce(model, reward, rate, steps=NUM_ITERATIONS, seed=0):
    """GRPO on the scored sums and countdown, in place. Returns the model."""
    settings = RLConfig(num_iterations=steps, num_prompts=NUM_PROMPTS, num_epochs=1, learning_rate=rate,
                        max_new_tokens=MAX_TOKENS)
    world = World(plain.draw, reward, tokenizer)
    list(grpo.train(model.train(), None, adamw(settings, model), world, settings, seed))
    return model


models = {"base": open_model("pretrained", "base")[0],
          "base, RL": reinforce(open_model("pretrained", "base")[0], plain.reward, 5e-4),
          "base, RL on both": reinforce(open_model("pretrained", "base")[0], both, 5e-4),
          "cold start": open_model("pretrained", "cold-start")[0],
          "then RL": open_model("pretrained", "rl")[0],
          "then RL on both": reinforce(open_model("pretrained", "rl")[0], both, 2e-4)}

# %% [markdown]
# ## Side by side
# The same held-out problems for all models, half sums, half countdown, one answer each at temperature 1; and
# the corpus that the base imitates. 95% Wilson intervals.


# %%
def look(pairs):
    """(how many, of how many) for each of NAMES, in (problem, completion) pairs."""
    behaviours = [observe(*pair) for pair in pairs]
    thinking = [behaviour for behaviour in behaviours if behaviour.thinks]
    return [(sum(behaviour.well_formed for behaviour in behaviours), len(pairs)),
            (sum(behaviour.mixed for behaviour in thinking), len(thinking)),
            (sum(behaviour.readable for behaviour in behaviours), len(pairs)),
            (sum(verify(*pair).correct for pair in pairs), len(pairs))]


def answers(model, problems):
    texts = answer_all(model.eval(), tokenizer, [problem.prompt for problem in problems], MAX_TOKENS, seed=1)
    return [(problem, text) for problem, (text, _) in zip(problems, texts)]


def corpus(seed, number):
    """(problem, completion) of the sums and of countdown in so many documents."""
    pairs = []
    for prompt, completion in base_corpus(seed, number):
        if prompt.startswith(("compute", "make")):
            pairs.append((parse_prompt(prompt), completion))
    return pairs


def share(number, total):
    """(share, low, high)."""
    return (number / max(1, total), *wilson_interval(number, total))


problems = []
for task in TASKS:
    problems += test_problems(task, (2, 3), NUM_PROBLEMS, seed=1)
table = {"corpus": look(corpus(0, NUM_DOCUMENTS))}                   # {arm: counts}
for arm, model in models.items():
    table[arm] = look(answers(model, problems))
print(f"{'':16}" + "".join(f"{name:>28}" for name in NAMES))
for arm, counts in table.items():
    cells = ["{:.2f} [{:.2f}, {:.2f}] of {}".format(*share(number, total), total) for number, total in counts]
    print(f"{arm:16}" + "".join(f"{cell:>28}" for cell in cells))

# %%
COLORS = ("#cccccc", "#777777", "#e0a030", "#5a9a5a", "#1b6ca8", "#7a4fa3", "#d1495b")


def draw(values, about):
    """Bars and a scatter of {arm: (value, low, high) for each of NAMES}."""
    figure, axes = new_figure(1, 2, figsize=(11, 3.8), width_ratios=(1.6, 1))
    for i, ((arm, intervals), color) in enumerate(zip(values.items(), COLORS)):
        middle, low, high = torch.tensor(intervals).T
        errors = torch.stack([middle - low, high - middle]).clamp(min=0)
        axes[0].bar(torch.arange(4) + 0.12 * (i - 3), middle, 0.11, color=color, label=arm, yerr=errors,
                    error_kw={"lw": 0.8})
        right, readable = NAMES.index("right"), NAMES.index("readable")
        axes[1].errorbar(middle[right].item(), middle[readable].item(), errors[:, [readable]].numpy(),
                         errors[:, [right]].numpy(), "o", color=color)
    axes[0].set_xticks(range(4), NAMES)
    axes[0].set(title=about, ylim=(0, 1.4))
    axes[0].legend(frameon=False, fontsize=8, ncols=4, loc="upper center")
    axes[1].set(title="reasons well, reads well", xlim=(0, 1), ylim=(0, 1), xlabel="right", ylabel="readable")
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
    return figure


values = {}
for arm, counts in table.items():
    values[arm] = [share(number, total) for number, total in counts]
figure = draw(values, f"sums and countdown, {NUM_PROBLEMS} held-out problems each")
show_figure(figure, "12_pure_rl_or_cold_start")

# %%
if "--full" in sys.argv:      # C6, five seeds, or --seeds N; what else stands behind --full goes to train.py
    from runs import RESULTS, STUDIES, behind_full, ensure, row, save_claim

    COMMAND, FLAGS, SEEDS = behind_full(num_seeds=5)
    STARTS = {   # arm: (run, stage, the learning rate where 100 iterations on both rewards follow, or None)
        "base": ("seed-{}", "base", None),
        "base, RL": ("pure-{}", "rl", None),
        "base, RL on both": ("seed-{}", "base", 5e-4),
        "cold start": ("seed-{}", "cold-start", None),
        "then RL": ("seed-{}", "rl", None),
        "then RL on both": ("seed-{}", "rl", 2e-4),
    }
    problems = []
    for task in TASKS:
        problems += test_problems(task, (2, 3), 1000, seed=1234)

    def count(arm, seed):
        """Counts of an arm with one seed; measured once, and found again."""
        path = STUDIES / f"C6-{arm.replace(' ', '-')}-{seed}.json"
        if not path.exists():
            run, stage, rate = STARTS[arm]
            model, _ = open_model(STUDIES / run.format(seed), stage)
            if rate is not None:
                model = reinforce(model, both, rate, 100, seed)
            save_json(path, look(answers(model, problems)))
        return json.loads(path.read_text())

    shares = {arm: [] for arm in ("corpus", *STARTS)}         # for each seed, a share for each of NAMES
    for seed in SEEDS:
        ensure(f"seed-{seed}", "--seed", seed, *FLAGS, needs="rl")
        source = STUDIES / f"seed-{seed}"
        ensure(f"pure-{seed}", "rl", "--pure-rl", "--seed", seed, "--from", source, *FLAGS)
        shares["corpus"].append([number / total for number, total in look(corpus(seed, 20_000))])
        for arm in STARTS:
            shares[arm].append([number / max(1, total) for number, total in count(arm, seed)])

    def over_seeds(*arms):
        """(value, low, high) for each of NAMES: of one arm, or of the first less the second."""
        intervals = []
        for i in range(len(NAMES)):
            samples = []
            for arm in arms:
                samples.append([[by_name[i]] for by_name in shares[arm]])
            intervals.append(bootstrap_interval(*samples))
        return intervals

    rows = []
    comparisons = (("base, RL", "base"), ("then RL", "cold start"), ("then RL on both", "then RL"))
    for arms in [(arm,) for arm in shares] + list(comparisons):
        for name, interval in zip(NAMES, over_seeds(*arms)):
            rows.append(row(f"{' less '.join(arms)}: {name}", *interval))
    save_claim(6, "a cold start makes RL readable", COMMAND, [*SEEDS], 2000, rows)
    about = f"sums and countdown, 1,000 problems each, {len(SEEDS)} seeds"
    figure = draw({arm: over_seeds(arm) for arm in shares}, about)
    figure.savefig(RESULTS / "C6.png", dpi=120)

# %% [markdown]
# ## What to see
# - Pure RL: right far more often, and less readable. Mixing stays about where the corpus put it, but nearly
#   all texts think now, and a text that thinks can mix. The base was readable where it said nothing.
# - The cold start takes nearly all of the mixing away, with 300 examples. RL after it is right more often
#   still, and lets some of the mixing come back, as was reported of R1. Nothing in its reward speaks against
#   it.
# - The second reward does: the base, paid for both, soon keeps to one language. It learns to be right more
#   slowly, as R1 too lost a little. No language reward helps where texts are not well formed: they go in
#   circles until they are cut off.
# - What it does not show: a human reader, and other seeds. `--full`, five of them: pure RL mixes in 0.63, the
#   corpus in 0.40.
# - The trap: the sum. Paid apart, consistency is earned most easily by saying nothing, or by being cut off.
#
# ## Exercises
# 1. Train on the sum from the base, for a few iterations. What do thinking and mixing do?
# 2. Which language does "base, RL on both" end up with? Would another seed choose the same?
# 3. Give the golden examples a Spanish voice. What is readable then?
#
# <details><summary>Solutions</summary>
#
# 1. Mixing can fall by thinking less: silence earns a 1 at once. Compare "thinks" with that of the product.
# 2. Whichever happened to be ahead: both are paid alike, and what is drawn more often grows faster.
# 3. All the same: readable asks for one language, not for which.
# </details>
