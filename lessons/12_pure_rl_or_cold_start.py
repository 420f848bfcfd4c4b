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

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))      # so that it runs from anywhere

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import torch

from minireason import grpo
from minireason.behaviour import observe
from minireason.upkeep.checkpoint import load_model, save_json
from minireason.config import RLConfig
from minireason.corpus import base_corpus
from minireason.inference import answer_all
from minireason.pretrained import load_pretrained
from minireason.rewards import Task, correctness, language_consistency, reasoning_task
from minireason.stats import bootstrap_interval, wilson_interval
from minireason.tasks import parse_prompt, test_problems
from minireason.tokenizer import get_tokenizer
from minireason.verifier import verify

FAST = os.environ.get("LESSON_FAST") == "1"
NUM_DOCUMENTS, NUM_PROBLEMS, NUM_ITERATIONS, NUM_PROMPTS, MAX_TOKENS = (60, 6, 2, 2, 40) if FAST else (3000, 150, 16, 12, 160)
TASKS, NAMES, tokenizer = ("arithmetic", "countdown"), ("well formed", "mixing", "readable", "right"), get_tokenizer()

# %% [markdown]
# ## By hand: what to pay
# Four answers to `compute 7*2+8`: right in one language, right in two, wrong in one, and wrong without a
# thought. The last mixes nothing, as it says nothing. The sum of both rewards pays 2, 1, 1, 1: a right answer
# in two languages is then worth no more than a wrong one, and in a group of these three all advantages are 0.
# The product pays 1, 0, 0, 0.

# %%
problem = parse_prompt("compute 7*2+8")
texts = [f"<think>{thinking}</think><answer>{answer}</answer>" for thinking, answer in (
    ("7*2=14 so 14+8=22", 22), ("7*2=14 luego 14+8=22 check 22-8=14 ok", 22), ("7*2=14 so 14+8=21", 21), ("", 25))]
added = [correctness(problem, text) + language_consistency(problem, text) for text in texts]
assert [observe(problem, text).readable for text in texts] == [True, False, True, True] and added == [2, 1, 1, 1]
assert not grpo.group_advantages(torch.tensor([added[1:]])).any()
assert not observe(problem, texts[0].replace("<answer>22", "<answer>23")).readable                # not what was worked out
assert language_consistency(problem, "") == 1.0                                                   # silence is consistent

plain = reasoning_task(tokenizer, {"arithmetic": (2, 3), "countdown": (2, 3)}, {"arithmetic": 0.4, "countdown": 0.6})
both = lambda problems, texts: [correctness(*pair) * language_consistency(*pair) for pair in zip(problems, texts)]
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
    optimizer = torch.optim.AdamW(model.train().parameters(), betas=(0.9, 0.95), weight_decay=0.0)
    list(grpo.train(model, None, optimizer, Task(plain.draw, reward, tokenizer), settings, seed))
    return model


models = {"base": load_pretrained("base"), "base, RL": reinforce(load_pretrained("base"), plain.reward, 5e-4),
          "base, RL on both": reinforce(load_pretrained("base"), both, 5e-4), "cold start": load_pretrained("cold-start"),
          "then RL": load_pretrained("rl"), "then RL on both": reinforce(load_pretrained("rl"), both, 2e-4)}

# %% [markdown]
# ## Side by side
# The same held-out problems for all models, half sums, half countdown, one answer each at temperature 1; and
# the corpus that the base imitates. 95% Wilson intervals.


# %%
def look(pairs):
    """(how many, of how many) for each of NAMES, in (problem, completion) pairs."""
    seen, n = [observe(*pair) for pair in pairs], len(pairs)
    return [(sum(one.well_formed for one in seen), n),
            (sum(one.mixed and one.thinks for one in seen), sum(one.thinks for one in seen)),
            (sum(one.readable for one in seen), n), (sum(verify(*pair).correct for pair in pairs), n)]


def answers(model, problems):
    texts = answer_all(model.eval(), tokenizer, [problem.prompt for problem in problems], MAX_TOKENS, seed=1)
    return [(problem, text) for problem, (text, _) in zip(problems, texts)]


corpus = lambda seed, number: [(parse_prompt(p), c) for p, c in base_corpus(seed, number) if p.startswith(("compute", "make"))]
problems = sum((test_problems(task, (2, 3), NUM_PROBLEMS, seed=1) for task in TASKS), [])
table = {"corpus": look(corpus(0, NUM_DOCUMENTS)), **{arm: look(answers(model, problems)) for arm, model in models.items()}}
print(f"{'':16}" + "".join(f"{name:>28}" for name in NAMES))
for arm, counts in table.items():
    print(f"{arm:16}" + "".join("{:>28}".format("{:.2f} [{:.2f}, {:.2f}] of {}".format(
        k / max(1, n), *wilson_interval(k, n), n)) for k, n in counts))

# %%
COLORS = ("#cccccc", "#777777", "#e0a030", "#5a9a5a", "#1b6ca8", "#7a4fa3", "#d1495b")


def draw(values, about, path):
    figure, axes = plt.subplots(1, 2, figsize=(11, 3.8), layout="constrained", width_ratios=(1.6, 1))
    for i, ((name, rows), color) in enumerate(zip(values.items(), COLORS)):
        middle, low, high = torch.tensor(rows).T
        errors = torch.stack([middle - low, high - middle]).clamp(min=0)
        axes[0].bar(torch.arange(4) + 0.12 * (i - 3), middle, 0.11, color=color, label=name, yerr=errors, error_kw={"lw": 0.8})
        axes[1].errorbar(middle[3].item(), middle[2].item(), errors[:, 2:3].numpy(), errors[:, 3:].numpy(), "o", color=color)
    axes[0].set_xticks(range(4), NAMES)
    axes[0].set(title=about, ylim=(0, 1.4))
    axes[0].legend(frameon=False, fontsize=8, ncols=4, loc="upper center")
    axes[1].set(title="reasons well, reads well", xlim=(0, 1), ylim=(0, 1), xlabel="right", ylabel="readable")
    plt.setp([one.spines[side] for one in axes for side in ("top", "right")], visible=False)
    figure.savefig(path, dpi=120)


draw({name: [(k / max(1, n), *wilson_interval(k, n)) for k, n in counts] for name, counts in table.items()},
     f"sums and countdown, {NUM_PROBLEMS} held-out problems each",
     Path(__file__).resolve().parent / "results" / f"12_pure_rl_or_cold_start{'-fast' if FAST else ''}.png")

# %%
if "--full" in sys.argv:      # C6, five seeds, or --seeds N; what else stands behind --full goes to train.py
    from runs import RESULTS, STUDIES, behind_full, ensure, row, save_claim
    (COMMAND, FLAGS, SEEDS), seen = behind_full(num_seeds=5), {name: [] for name in table}
    STARTS = dict(zip(models, (("seed-{}/base", 0), ("pure-{}/rl", 0), ("seed-{}/base", 5e-4), ("seed-{}/cold-start", 0),
                               ("seed-{}/rl", 0), ("seed-{}/rl", 2e-4))))      # a learning rate where 100 iterations follow
    problems = sum((test_problems(task, (2, 3), 1000, seed=1234) for task in TASKS), [])
    for seed in SEEDS:
        ensure(f"seed-{seed}", "--seed", seed, *FLAGS, needs="rl")
        ensure(f"pure-{seed}", "rl", "--pure-rl", "--seed", seed, "--from", STUDIES / f"seed-{seed}", *FLAGS)
        seen["corpus"].append([k / n for k, n in look(corpus(seed, 20_000))])
        for name, (stage, rate) in STARTS.items():
            if not (kept := STUDIES / f"C6-{name.replace(' ', '-')}-{seed}.json").exists():
                model = load_model(STUDIES / stage.format(seed) / "checkpoint.pt")[0]
                save_json(kept, look(answers(reinforce(model, both, rate, 100, seed) if rate else model, problems)))
            seen[name].append([k / max(1, n) for k, n in json.loads(kept.read_text())])
    spread = lambda *arms: [bootstrap_interval(*([[by_seed[i]] for by_seed in seen[arm]] for arm in arms)) for i in range(4)]
    rows = [row(f"{' less '.join(arms)}: {name}", *values) for arms in (*zip(seen), ("base, RL", "base"), (
        "then RL", "cold start"), ("then RL on both", "then RL")) for name, values in zip(NAMES, spread(*arms))]
    save_claim(6, "a cold start makes RL readable", COMMAND, [*SEEDS], 2000, rows)
    draw({name: spread(name) for name in seen}, f"sums and countdown, 1,000 problems each, {len(SEEDS)} seeds", RESULTS / "C6.png")

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
