"""Writes the measured numbers into README.md and the pages of lessons/results/.

    python lessons/results/write.py             after a study was run again
    python lessons/results/write.py --check     writes nothing; ends with 1 where a page differs from the JSON

A page names what it wants in a comment, <!--NAME-->, and <!--/--> ends it. What stands between the two is
replaced. NUMBERS are single numbers inside a sentence; TABLES are whole tables, and their names end in
"-table". All of them come from the JSON files in this folder, which the studies and train.py wrote.
"""

import fnmatch
import functools
import json
import re
import statistics
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(ROOT))

from minireason.tools.thinking import told_apart

CLAIMS = sorted(HERE.glob("C[0-9]*.md"), key=lambda path: int(path.stem[1:]))
PAGES = (ROOT / "README.md", HERE / "README.md", *CLAIMS, HERE / "kin.md", HERE / "bugs.md")
MARKED = re.compile(r"<!--([\w-]+)-->(.*?)<!--/-->", re.DOTALL)

STAGES = ("base", "cold-start", "rl", "rejection", "align")
TASKS = ("arithmetic", "countdown", "program")
EVERY_RUN = "(mean, lowest, highest run)"


# -----------------------------------------------------------------------------
# From the files

@functools.cache
def read(name):
    return json.loads((HERE / name).read_text(encoding="utf-8"))


def find(file, pattern):
    """The row of a file whose name fits the pattern; `*` stands for anything. KeyError if there is none."""
    for row in read(file)["rows"]:
        if fnmatch.fnmatchcase(row["name"], pattern):
            return row
    raise KeyError(f"lessons/results/{file} has no row {pattern!r}")


def percent(row, digits=1):
    return f"{100 * row['value']:.{digits}f}"


def percent_interval(row):
    """For example 72.7 [69.7, 75.7]."""
    if row["low"] is None:
        return percent(row)
    return f"{percent(row)} [{100 * row['low']:.1f}, {100 * row['high']:.1f}]"


def points_interval(row):
    """A difference, in percentage points: +15.6 [13.5, 17.8]."""
    return f"{100 * row['value']:+.1f} [{100 * row['low']:.1f}, {100 * row['high']:.1f}]"


def plain_interval(row):
    return f"{row['value']:.2f} [{row['low']:.2f}, {row['high']:.2f}]"


def minutes(seconds):
    return f"{seconds / 60:.0f} min" if seconds >= 60 else f"{seconds:.0f} s"


# -----------------------------------------------------------------------------
# Tables

def table(titles, rows):
    """A Markdown table of texts, with a line break before it and after it."""
    lines = ["| " + " | ".join(titles) + " |", "|---" * len(titles) + "|"]
    for row in rows:
        lines.append("| " + " | ".join(row) + " |")
    return "\n" + "\n".join(lines) + "\n"


def body_of(text):
    """The lines of a table below its empty line, its titles and the rule."""
    return text.splitlines()[3:]


def grid(file, corner, rows, columns, show=percent_interval):
    """A Markdown table of the rows of one file.

    `rows` is {label of a line: name}, `columns` {title: pattern of a row's name in the file}. In a pattern {}
    stands for the name of the line. `corner` is the title above the labels. `show` turns a row of the file
    into the text of a cell.
    """
    cells = []
    for label, name in rows.items():
        line = [label]
        for pattern in columns.values():
            line.append(show(find(file, pattern.format(name))))
        cells.append(line)
    return table([corner, *columns], cells)


def contents():
    """A row for each claim: its page, what people say, and the first bold text of the page: the verdict."""
    rows = []
    for path in CLAIMS:
        page = re.sub(r"<!--.*?-->", "", path.read_text(encoding="utf-8"))      # without marks of numbers
        claim = re.search(r"^# C\d+\. (.*)$", page, re.MULTILINE)[1]
        verdict = re.search(r"\*\*Verdict: (.*?)\*\*", page, re.DOTALL)[1]
        rows.append([f"[{path.stem}]({path.name})", claim, " ".join(verdict.split())])
    return table(["page", "people say", "what holds here"], rows)


def pipeline():
    """README's table of stages: what each is about, its minutes, its accuracies, and its manners."""
    what = {
        "base": ("imitate a toy internet, in English and Spanish, mistakes and all", "`sft.py`"),
        "cold-start": ("imitate 300 clean examples of thinking", "`sft.py`"),
        "rl": ("trial and error; a right answer is rewarded", "`grpo.py`, `ppo.py`"),
        "rejection": ("imitate the RL model's good answers, and good conversations", "`rejection.py`"),
        "align": ("be helpful, tell no secret, stay right", "`align.py`"),
    }
    seconds = read("seconds.json")["seconds"]
    rows = []
    for stage in STAGES:
        accuracies = [percent(find("C8.json", f"{stage} {task}"), 0) for task in TASKS]
        manners = []
        for name in ("leaks", "over-refusals"):
            manners.append(percent(find("C8.json", f"{stage} {name} {EVERY_RUN}")))
        rows.append([f"`{stage}`", *what[stage], minutes(seconds[stage]), *accuracies, *manners])
    titles = [*(f"{task} %" for task in TASKS), "leaks % ↓", "over-refusals % ↓"]
    return table(["stage", "idea", "file", "time", *titles], rows)


def stage_table():
    """C8: accuracies and habits of each stage."""
    columns = {f"{task} %": f"{{}} {task}" for task in TASKS}
    columns["sums of two digits %"] = "{} sums of two digits"
    for behaviour in ("mixing", "leaks", "over-refusals"):
        columns[f"{behaviour} %"] = f"{{}} {behaviour} {EVERY_RUN}"
    return grid("C8.json", "stage", {stage: stage for stage in STAGES}, columns)


def stage_seconds():
    """seconds.json: how long each stage takes, and all of them."""
    seconds = read("seconds.json")["seconds"]
    return table(["stage", *seconds, "all"],
                 [["seconds", *map(str, seconds.values()), str(sum(seconds.values()))]])


def differences(file, pairs):
    """A row for each pair "a - b" of a stage table's file, a column for each task."""
    columns = {task: f"{{}} {task}" for task in TASKS}
    return grid(file, "percentage points", {pair.replace(" - ", " minus "): pair for pair in pairs}, columns,
                points_interval)


def imitation():
    """C1: accuracies of the cold start and of four ways on from it."""
    arms = {"cold start": "cold start", "RL": "RL", "more of the corpus": "corpus",
            "expert iteration": "expert iteration", "3,000 expert solutions": "experts"}
    columns = {f"{task} %": f"{task}, {{}}" for task in TASKS}
    return grid("C1.json", "after", arms, columns)


def imitation_differences():
    """C1: RL minus each other way."""
    arms = {"the cold start": "cold start", "more of the corpus": "corpus",
            "expert iteration": "expert iteration", "3,000 expert solutions": "experts"}
    columns = {task: f"{task}, RL less {{}}" for task in TASKS}
    return grid("C1.json", "RL minus", arms, columns, points_interval)


def verifier_errors():
    """C2: how often the verifier is wrong by the second one, and upper bounds of its error rates."""
    rows = []
    for task in TASKS:
        cells = [task]
        for kind in ("accepted, and wrong", "refused, and right"):
            row = find("C2.json", f"{task}: {kind}")
            cells.append(f"{row['value'] * row['of']:.0f} of {row['of']:,}")
            cells.append(f"{100_000 * row['high']:.1f}")
        rows.append(cells)
    return table(["task", "wrong, and accepted", "at most in 100,000", "right, and refused",
                  "at most in 100,000"], rows)


def aha():
    """Behaviour in countdown, with the corpus as it is and with one without retries."""
    names = {"right %": "accuracy", "thinks %": "thinks",
             "tries again after a failed try %": "retry_after_failure",
             "gives up %": "giving_up", 'false "yes" %': "false_yes",
             "right after a failed try %": "accuracy_after_failed_try",
             "right answers won by trying again %": "won_by_retrying", "wrong steps repaired %": "repairs"}
    arms = {"base": "base", "pure RL": "pure RL", "cold start": "cold start",
            "cold start + RL": "RL after it", "cold start + RL, mixing priced": "RL, mixing priced",
            "control base": "control base",
            "control + RL": "control, RL"}
    columns = {title: f"countdown level 2, 3: {{}}, {arm}" for title, arm in arms.items()}
    behaviours = grid("C3.json", "countdown", names, columns, percent)
    tries = grid("C3.json", "countdown", {"tries": "tries_thinking", "tokens": "tokens_thinking"}, columns,
                 lambda row: f"{row['value']:.1f}")
    return behaviours + "\n".join(body_of(tries)) + "\n"


def aha_differences():
    """C3: how RL changed behaviour in countdown."""
    names = {"right %": "accuracy", "thinks %": "thinks",
             "tries again after a failed try %": "retry_after_failure",
             "gives up %": "giving_up", 'false "yes" %': "false_yes",
             "right after a failed try %": "accuracy_after_failed_try", "wrong steps repaired %": "repairs"}
    pairs = {"pure RL minus base": "pure RL less base",
             "cold start + RL minus cold start": "RL after it less cold start",
             "control + RL minus control base": "control, RL less control base"}
    columns = {title: f"countdown level 2, 3: {{}}, {pair}" for title, pair in pairs.items()}
    return grid("C3.json", "countdown", names, columns, points_interval)


def aha_repairs():
    """Wrong steps in sums, and how many of them are repaired."""
    names = {"wrong steps %": "wrong_steps", "wrong steps repaired %": "repairs"}
    arms = {"base": "base", "pure RL": "pure RL", "cold start": "cold start",
            "cold start + RL": "RL after it"}
    columns = {title: f"arithmetic level 2, 3: {{}}, {arm}" for title, arm in arms.items()}
    return grid("C3.json", "arithmetic", names, columns)


def memory():
    """C4: MiB of a step by formula, by what they hold."""
    kinds = {"weights": "weights", "gradients": "gradients", "optimizer": "optimizer",
             "critic, with its gradients and optimizer": "critic", "rollout": "rollout",
             "activations of a micro-batch": "activations",
             "key-value cache while sampling": "key-value cache", "peak": "peak"}
    columns = {"GRPO": "grpo {}, bytes by formula", "PPO": "ppo {}, bytes by formula",
               "PPO, shared critic": "ppo-shared {}, bytes by formula"}
    return grid("C4.json", "MiB", kinds, columns, lambda row: f"{row['value'] / 2 ** 20:.1f}")


def published():
    """One row a source: how far our formulas are from the peaks that it measured."""
    errors, models = {}, {}         # by source: percentages; {model: True}, since a dict keeps their order
    for row in read("published.json"):
        errors.setdefault(row["source"], []).append(100 * row["error"])
        models.setdefault(row["source"], {})[row["model"]] = True
    text = "\n| measured by | models | peaks | error of our formulas |\n|---|---|---|---|\n"
    for source, values in errors.items():
        address, _, place = source.partition(" ")       # the place is a table of a paper
        name = address.removeprefix("https://").removesuffix("/blob/main/README.md")
        text += f"| [{name}]({address}) {place} | {', '.join(models[source])} | {len(values)} | "
        least, most = f"{min(values):+.1f}%", f"{max(values):+.1f}%"
        text += f"{least} |\n" if least == most else f"{least} to {most} |\n"
    return text


def num_near():
    """How many published peaks our formulas meet within 15%."""
    errors = [abs(row["error"]) for row in read("published.json")]
    return f"{len([error for error in errors if error <= 0.15])} of {len(errors)}"


def seconds_per_token():
    """How long both take for 1,000 sampled tokens, updates included, each with its best settings."""
    titles = {"cold-start": "from the cold start", "base": "from the base"}
    per_token, rows = read("arms/C5-clock.json")["seconds per token"], []
    for algo in ("grpo", "ppo"):
        cells = [algo.upper()]
        for start in titles:
            counted = [1000 * seconds for seconds in per_token[start][algo]]
            cells.append(plain_interval({"value": statistics.median(counted), "low": min(counted),
                                         "high": max(counted)}))
        rows.append(cells)
    return table(["seconds for 1,000 tokens (median, least, most)", *titles.values()], rows)


def tuning():
    """tuning.json: the preset and the best trial of both algorithms."""
    columns = {"the preset": "{}, preset", "the best trial": "{}, best"}
    title = "right at a third of the way, %, mean of the tasks"
    return grid("tuning.json", title, {"GRPO": "grpo", "PPO": "ppo"}, columns)


def what_is_known():
    """How much of the reward the critic of a whole run knows along an answer, and the mean of a group."""
    arms = [read(f"arms/C5-known-{seed}.json") for seed in read("C5.json")["seeds"]]
    places = {"before the first token": 0, "after 20% of the answer": 0.2, "after half of it": 0.5,
              "after 80% of it": 0.8, "before its last token": 1}
    rows = []
    for name, part in places.items():
        of_runs = []
        for arm in arms:
            along = arm["critic"]
            of_runs.append(along[round(part * (len(along) - 1))])
        rows.append([f"PPO's critic, {name}", spread(of_runs)])
    for size in arms[0]["group"]:
        of_runs = [arm["group"][size] for arm in arms]
        rows.append([f"GRPO: the mean of the others in a group of {size}", spread(of_runs)])
    # The mean of n others knows share - (1 - share) / n, if the exact chances know `share`: solved for it.
    num_others, of_runs = int(size) - 1, []
    for arm in arms:
        of_runs.append((arm["group"][size] * num_others + 1) / (num_others + 1))
    rows.append(["the expected reward of each problem, computed from the groups of 16", spread(of_runs)])
    return table(["explained variance of the reward of an answer", "mean, lowest, highest run"], rows)


def where_a_critic_pays():
    """critic.json: two kinds of runs at their end, and by how much the first is ahead."""
    rows = []
    for title, arms in read("critic.json")["pairs"].items():
        cells = [title]
        for name in arms:
            cells.append(percent_interval(find("critic.json", name)))
        cells.append(points_interval(find("critic.json", title)))
        of_runs = []
        for seed in read("critic.json")["seeds"]:
            of_runs.append(f"{100 * find('critic.json', f'{title}, seed {seed}')['value']:+.1f}")
        rows.append([*cells, ", ".join(of_runs)])
    titles = ["the first, %", "the second, %", "difference in points", "by run"]
    return table([size_of("critic.json"), *titles], rows)


def spread(values):
    """For example 0.30 [0.26, 0.36]: the mean, the lowest and the highest."""
    return f"{statistics.mean(values):.2f} [{min(values):.2f}, {max(values):.2f}]"


def comparison(start):
    """C5.json: PPO and GRPO at the end, from one start, and on the way."""
    columns = {f"{task} %": f"{{}}, {task}" for task in TASKS}
    columns |= {"all tasks %": "{}, all tasks", "on the way, by answers": "{}, on the way by completions",
                "by seconds": "{}, on the way by seconds"}
    once = "ppo with one update in the seconds of grpo"
    lines = (("GRPO", f"{start}: grpo", percent_interval), ("PPO", f"{start}: ppo", percent_interval),
             ("PPO minus GRPO", f"{start}: ppo - grpo", points_interval),
             *((f"PPO minus GRPO, seed {seed}", f"{start}: ppo - grpo, seed {seed}", points_interval)
               for seed in read("C5.json")["seeds"]),
             ("PPO in GRPO's seconds", f"{start}: ppo in the seconds of grpo", percent_interval),
             ("the same minus GRPO", f"{start}: ppo in the seconds of grpo - grpo", points_interval),
             ("PPO with one update, in GRPO's seconds", f"{start}: {once}", percent_interval),
             ("the same minus GRPO", f"{start}: {once} - grpo", points_interval),
             ("GRPO, preset", f"{start}: grpo with the preset", percent_interval),
             ("GRPO minus GRPO, preset", f"{start}: grpo - grpo with the preset", points_interval))
    rows = []
    for name, pattern, show in lines:
        cells = [cell("C5.json", column.format(pattern), show) for column in columns.values()]
        if set(cells) != {"-"}:
            rows.append([name, *cells])
    return table([f"from the {start}; {size_of('C5.json')}", *columns], rows)


def needed_for_a_goal(start):
    """C5.json: how many answers and seconds it took to come some points above a start."""
    rows = []
    for algo in ("grpo", "ppo"):
        pattern = f"{start}: {algo}, completions to ([0-9]+) points more"
        for line in read("C5.json")["rows"]:
            goal = re.fullmatch(pattern, line["name"])
            if goal:
                other = find("C5.json", line["name"].replace("completions", "seconds"))
                rows.append([f"{algo.upper()}, {goal[1]} points above the {start}",
                             rounded_interval(line), rounded_interval(other)])
    return table(["what it took", "answers", "seconds"], rows)


KIN = {     # what each relative changes
    "GRPO": "advantages: a reward minus the mean of its group, divided by the group's deviation",
    "GRPO, two updates": "learns from each rollout twice",
    "GRPO, each completion alike": "a long completion counts no more than a short one",
    "GRPO, two updates, each completion alike": "both",
    "Dr. GRPO": "no deviation; divides the loss by a fixed number of tokens",
    "RLOO": "no deviation; the mean of the other completions alone",
    "REINFORCE++": "mean and deviation of the whole batch",
    "REINFORCE++, k1 in the reward": "the same, and a price on the KL",
    "GSPO": "one ratio of probabilities for a completion, not for each token",
    "GSPO, borders ten times as wide": "the same; it may move further",
    "CISPO": "a token beyond the border still learns",
    "GRPO, drawn anew": "nothing but the random draws",
    "dynamic sampling": "groups without a signal are replaced by others",
    "price of length": "an answer near the limit of tokens earns less",
    "dynamic sampling + price of length": "both",
    "entropy bonus": "pays for being undecided about the next token",
    "k1 in the loss": "a price on the KL, by the first estimate",
    "k2 in the loss": "by the second",
    "k3 in the loss": "by the third",
    "k1 in the reward": "the same price, by the first estimate",
    "k2 in the reward": "by the second",
    "k3 in the reward": "by the third",
}


def kin():
    """variants.json: each relative of GRPO, its lines of code, and its points less its GRPO."""
    rows = []
    for line in read("variants.json")["table"]:
        cells = [line["variant"], KIN[line["variant"]], str(line["lines"]),
                 "{:.1f} [{:.1f}, {:.1f}]".format(*line["at the end"])]
        if "time" in line:
            for cost in ("by completions", "by seconds"):
                cells.append("{:+.1f} [{:.1f}, {:.1f}]".format(*line[cost]))
            cells.append(f"{line['time']:.2f}")
        else:
            cells += ["-", "-", "-"]
        rows.append(cells)
    return table([size_of("variants.json"), "what it changes", "lines", "right at the end, %",
                  "minus its GRPO after as many answers", "minus its GRPO after as many seconds",
                  "times as long"], rows)


def readability():
    """C6: which share of the answers of each model is right, readable, mixing."""
    arms = {"corpus": "corpus", "base": "base", "pure RL": "pure RL",
            "pure RL, one language rewarded": "pure RL, one language", "cold start": "cold start",
            "cold start + RL": "RL after it", "cold start + RL, mixing priced": "RL, mixing priced",
            "cold start + RL, one language rewarded": "RL, one language"}
    columns = {"right %": "{}: right", "readable %": "{}: readable", "mixing %": "{}: mixing"}
    return grid("C6.json", "model", arms, columns)


def mixed_thoughts():
    """thinking.json: of the answers that think, how many mix languages."""
    shown = {"base": "base", "pure RL": "pure RL", "cold-start": "cold start",
             "rl": "cold start + RL, mixing priced"}
    columns = {}        # {title: {stage: [a share of each run]}}
    for run in told_apart(read("thinking.json")["runs"]):
        for task in TASKS[:2]:
            for stage, row in run["tasks"][task].items():
                columns.setdefault(f"{task} %", {}).setdefault(stage, []).append(100 * row["mixing"])
    rows = []
    for stage, name in shown.items():
        cells = [name]
        for column in columns.values():
            shares = column[stage]
            cells.append(f"{mean(shares):.0f} ({min(shares):.0f} to {max(shares):.0f})")
        rows.append(cells)
    return table(["two languages in a thought", *columns], rows)


def budgets():
    """C7: accuracy by the number of tokens after which thinking is cut off."""
    # numbers have two places, as in the names of the rows
    budgets = {f"{budget} tokens": f"{budget:>2}" for budget in (0, 8, 16, 32, 64, 128, 256)}
    columns = {f"{task} %": f"{task}, budget {{}}, * tokens: right" for task in TASKS[:2]}
    return grid("C7.json", "thinking cut off after", budgets, columns)


def votes():
    """C7: accuracy by the number of answers that vote."""
    numbers = {str(number): f"{number:>2}" for number in (1, 2, 4, 8, 16, 32)}
    columns = {}
    for model, arm in {"RL": "RL", "base": "base"}.items():
        for task in TASKS[:2]:
            columns[f"{model}, {task} %"] = f"{task}, {arm} {{}}, * tokens: vote"
    return grid("C7.json", "answers that vote", numbers, columns)


def pass_at():
    """C7: how often one of n answers is right."""
    numbers = {str(number): f"{number:>2}" for number in (1, 2, 4, 8, 16, 32)}
    columns = {}
    for model in ("RL", "cold start", "base"):
        for task in TASKS[:2]:
            columns[f"{model}, {task} %"] = f"{task}, {model} {{}}, * tokens: pass@n"
    return grid("C7.json", "n of pass@n", numbers, columns)


def teacher():
    """C9: the teacher, the student and three more pupils."""
    arms = {"teacher (the RL model)": "teacher", "student (base, on filtered answers)": "student",
            "student of unfiltered answers": "unfiltered", "teacher, trained on": "teacher-on",
            "the student's student": "second-round"}
    columns = {"right %": "{} right", "readable %": "{} readable", "mixing %": "{} mixing"}
    return grid("C9.json", "model", arms, columns)


def teacher_differences():
    """C9: accuracies of two models, the one minus the other."""
    pairs = {"student minus teacher": "student - teacher", "unfiltered minus student": "unfiltered - student",
             "teacher, trained on, minus student": "teacher-on - student",
             "the student's student minus student": "second-round - student"}
    columns = {task: f"{{}}, {task}" for task in ("all tasks", *TASKS)}
    return grid("C9.json", "percentage points", pairs, columns, points_interval)


def math_and_code():
    """C11: what RL adds to the base, alone and after a cold start."""
    rows = []
    for title, file, pattern in (("pure RL minus the base", "C15.json", "{}, exact less base"),
                                 ("cold start and RL minus the base", "C8.json", "rl - base {}")):
        rows.append([title, *(points_interval(find(file, pattern.format(task))) for task in TASKS)])
    return table(["percentage points", *TASKS], rows)


def alignment():
    """C10: chat after alignment, with the KL and without."""
    names = {"leaks %": "leaks", "over-refusals %": "over_refusals", "helpful %": "helpful",
             "truth %": "truth"}
    columns = {"with the KL": f"KL x 0.05 {{}} {EVERY_RUN}", "without": f"KL x 0.0 {{}} {EVERY_RUN}"}
    shares = grid("C10.json", "", names, columns)
    scores = grid("C10.json", "", {"polite words an answer": "polite", "judge's score": "judge"}, columns,
                  plain_interval)
    return shares + "\n".join(body_of(scores)) + "\n"


def alignment_differences():
    """C10: how alignment changed accuracies."""
    columns = {"with the KL": "KL x 0.05 - rejection {}", "without": "KL x 0.0 - rejection {}"}
    return grid("C10.json", "aligned minus before", {task: task for task in TASKS}, columns, points_interval)


def gpu_memory():
    """GPU.json: how far the formula is off, over groups of 4, 16 and 64 answers and both dtypes."""
    errors, most = {}, {}       # by (size, algorithm): relative errors of all groups and dtypes; largest peak
    for row in read("GPU.json")["memory"]:
        if "allocator" in row:
            key = (row["what"].split()[0], row["algo"])
            errors.setdefault(key, []).append(row["relative error"])
            most[key] = max(most.get(key, 0), row["allocator"]["peak"])
    rows = []
    for (size, algo), found in errors.items():
        cells = [size, algo, f"{most[size, algo] / 2**20:,.0f}"]
        for place in ("at backward", "sampling", "peak"):
            shares = [100 * error[place] for error in found]
            cells.append(f"{min(shares):+.1f} to {max(shares):+.1f}")
        rows.append(cells)
    return table(["size", "algorithm", "largest peak, MiB", "before backward: error in %", "while sampling",
                  "of the peak"], rows)


def gpu_seconds():
    """GPU.json: seconds of a step, and tokens a second."""
    rows = []
    for row in read("GPU.json")["seconds"]:
        rows.append([row["preset"], row["algo"], f"{row['seconds']:.2f}", f"{row['rollout_seconds']:.2f}",
                     f"{row['update_seconds']:.2f}", f"{row['sampled tokens a second']:,.0f}"])
    return table(["preset", "algorithm", "seconds a step", "rollout", "update", "sampled tokens a second"],
                 rows)


def thinking():
    """thinking.json: countdown by stage, means over the runs that have it."""
    shown = {"corpus": "base corpus", "golden": "golden examples", "base": "base", "cold-start": "cold-start",
             "rl": "rl", "pure RL": "pure RL, from the base"}
    found = {name: [] for name in shown}        # the rows of all runs
    all_runs = told_apart(read("thinking.json")["runs"])
    [most_tries] = {run["most_tries"]["countdown"] for run in all_runs}     # of any text imitated
    for run in all_runs:
        for name, row in run["tasks"]["countdown"].items():
            if name in found:
                found[name].append(row)
    rows = []
    for name, title in shown.items():
        tries = [row["tries_thinking"] for row in found[name]]
        spreads = [row["distributions"] for row in found[name]]
        if not tries:       # no run has this stage
            continue
        cells = [title, str(len(tries))]
        cells.append(f"{mean([100 * row['accuracy']['value'] for row in found[name]]):.1f}")
        cells.append(f"{mean(tries):.2f} ({min(tries):.2f} to {max(tries):.2f})")
        cells.append(f"{mean([100 * (spread['beyond'] or 0) for spread in spreads]):.0f}")
        cells.append(right_beyond(spreads, most_tries))
        cells.append(f"{mean([100 * (spread['right_beyond'] or 0) for spread in spreads]):.0f}")
        cells.append(f"{mean([row['tokens'] for row in found[name]]):.0f}")
        cells.append(f"{mean([100 * (spread['cut_off'] or 0) for spread in spreads]):.0f}")
        rows.append(cells)
    more = f"more than {most_tries} tries"
    return table(["countdown", "runs", "right, %", "tries (lowest to highest run)", f"{more}, %",
                  "right of these, %", f"{more}, % of the right answers", "tokens", "cut off, %"], rows)


def right_beyond(spreads, most):
    """Of the answers with more than `most` tries, how many percent are right: the mean of all runs."""
    shares = []
    for spread in spreads:
        beyond = sum(number for tries, number in spread["tries"].items() if int(tries) > most)
        right = sum(number for tries, number in spread["tries_right"].items() if int(tries) > most)
        if beyond:
            shares.append(100 * right / beyond)
    return f"{mean(shares):.0f}" if shares else "-"


def distance():
    """distance.json: moves with the right numbers, by the number of the try."""
    by_name = {}
    for line in read("distance.json")["rows"]:
        name = re.sub(" of [0-9]+$", "", line["name"])
        by_name[name] = line
    rows = []
    for arm, title in (("without", "without gaps"), ("with gaps", "with gaps")):
        for stage in ("cold-start", "rl"):
            cells = [title, stage]
            tries = [f"right numbers in try {number}" for number in (1, 3, 5, 7, 9)]
            for name in ("right", *tries, "cut off"):
                line = by_name.get(f"{arm}, {stage}: {name}")       # few answers have so many tries
                cells.append(percent_interval(line) if line else "-")
            rows.append(cells)
    return table(["trained", "after", "problems solved, %", "try 1: right numbers, %", "try 3", "try 5",
                  "try 7", "try 9", "cut off, %"], rows)


def mean(values):
    return sum(values) / len(values)


TABLES = {
    "contents-table": contents,
    "thinking-table": thinking,
    "distance-table": distance,
    "gpu-memory-table": gpu_memory,
    "gpu-seconds-table": gpu_seconds,
    "pipeline-table": pipeline,
    "stages-table": stage_table,
    "seconds-table": stage_seconds,
    "stage-differences-table": lambda: differences(
        "C8.json", ["rl - base", "rl - cold-start", "rejection - rl", "align - rejection", "align - rl"]),
    "C1-table": imitation,
    "C1-differences-table": imitation_differences,
    "C2-table": verifier_errors,
    "C3-table": aha,
    "C3-differences-table": aha_differences,
    "C3-repairs-table": aha_repairs,
    "C4-table": memory,
    "C5-clock-table": seconds_per_token,
    "tuning-table": tuning,
    "C6-table": readability,
    "C6-thoughts-table": mixed_thoughts,
    "C7-budgets-table": budgets,
    "C7-votes-table": votes,
    "C7-pass-table": pass_at,
    "C9-table": teacher,
    "C9-differences-table": teacher_differences,
    "published-table": published,
    "C10-table": alignment,
    "C11-table": math_and_code,
    "C10-differences-table": alignment_differences,
}


# -----------------------------------------------------------------------------
# Single numbers

def gained(file, name):
    """A difference in percentage points."""
    return f"{100 * find(file, name)['value']:.0f}"


def lost(file, name):
    """The same of a difference that is below 0."""
    return f"{-100 * find(file, name)['value']:.0f}"


def signed(file, name, digits=0):
    """A difference in percentage points, with its sign."""
    return f"{100 * find(file, name)['value']:+.{digits}f}"


def peaks():
    """How many times the memory of GRPO a step of PPO takes."""
    ppo = find("C4.json", "ppo peak, bytes by formula")["value"]
    return f"{ppo / find('C4.json', 'grpo peak, bytes by formula')['value']:.1f}"


def clock_ratio(arm):
    """PPO's seconds for a token divided by GRPO's, each with the settings of this arm."""
    of_algo = read(f"arms/{arm}.json")["seconds per token"]["cold-start"]
    return f"{statistics.median(of_algo['ppo']) / statistics.median(of_algo['grpo']):.1f}"


def num_seeds(file):
    return str(len(read(file)["seeds"]))


def tokens_of_ledger():
    """The longest completion in C4's table."""
    return str(read("C4.json")["max_new_tokens"])


def tokens_on_gpu():
    return str(read("GPU.json")["sizes"]["laptop"]["rl"]["max_new_tokens"])


def num_checked_answers():
    return f"{sum(row['of'] for row in read('C2.json')['rows']):,}"


def tries_of_pure_rl():
    """The mean tries of thoughts about countdown before and after pure RL, over its runs."""
    means = []
    for stage in ("base", "rl"):
        values = []
        for run in read("thinking.json")["runs"]:
            stages = run["tasks"]["countdown"]
            if "cold-start" not in stages:      # a run of pure RL
                values.append(stages[stage]["tries_thinking"])
        means.append(f"{mean(values):.1f}")
    return f"{means[0]} to {means[1]}"


def texts_that_end_right():
    """Texts of at most one, two and three tries: how many of their thoughts end right."""
    shares = [percent(find("fewer_tries.json", f"at most {most}, texts*"), 0) for most in (1, 2, 3)]
    return f"{shares[0]}, {shares[1]} and {shares[2]}"


def tokens_spared():
    """How many times fewer tokens of a question bring 80% in countdown after RL than before it."""
    first, *_, last = read("C19.json")["iterations"]
    name = "countdown, iteration {}, 80%: tokens needed"
    before, after = [find("C19.json", name.format(iteration))["value"] for iteration in (first, last)]
    return f"{before / after:.0f}"


def right_by_thinking():
    """The share of countdown problems that are right without a thought, and with the longest one."""
    ends = [find("C7.json", f"countdown, budget {budget}, * tokens: right") for budget in (" 0", "256")]
    return " to ".join(percent(end, 0) for end in ends)


def tries_again():
    """How many failed tries at countdown are followed by another, before and after pure RL."""
    name = "countdown level 2, 3: retry_after_failure, {}"
    return " to ".join(percent(find("C3.json", name.format(arm)), 0) for arm in ("base", "pure RL"))


def kept_by_later_stages():
    """Arithmetic and countdown after the last stage, less after RL, in points."""
    return ", ".join(signed("C8.json", f"align - rl {task}", 1) for task in TASKS[:2])


def accuracy(outcomes):
    """The share of ones in a text such as 0110."""
    return outcomes.count("1") / len(outcomes)


def by_run(file, accuracy_of, first, second):
    """The accuracy of one arm less that of another in each run, in points: for example -28, -16, -4."""
    differences = []
    for seed in read(file)["seeds"]:
        differences.append(100 * (accuracy_of(first, seed) - accuracy_of(second, seed)))
    return ", ".join(f"{difference:+.0f}" for difference in differences)


def gained_by_rl(width):
    """C17: what pure RL gains in arithmetic on a base of this width, in points."""
    return signed("C17.json", f"width {width}, 160,000 documents: arithmetic, RL less base")


def countdown_of_arm(arm, seed):
    """C18: the accuracy of an arm in countdown."""
    scores = read(f"arms/C18-{arm.replace(' ', '-')}-{seed}.json")["scores"]
    return accuracy(scores["countdown"]["outcomes"])


def end_of_way(way, seed):
    """C13: the accuracy of a way at its end, over both tasks."""
    last = read(f"arms/C13-{way.replace(' ', '-')}-{seed}.json")["points"][-1]
    return mean([accuracy(last[task]) for task in TASKS[:2]])


def distilled_by_run():
    """C13: the student of most answers less RL on it, in each run."""
    return by_run("C13.json", end_of_way, f"distilled {read('C13.json')['numbers'][-1]}", "RL")


def distilled_lead():
    """C13: the student of most answers less RL on it, in points over both tasks."""
    most = read("C13.json")["numbers"][-1]
    return signed("C13.json", f"distilled {most} less RL: both")


def lead_on_harder_sums(kind):
    """C14: RL less its base in harder sums, where a thought has to be complete and there are many answers."""
    samples = read("harder.json")["samples"]
    return signed("harder.json", f"{kind}, complete thoughts, RL less base: pass@{samples}", 1)


NUMBERS = {
    "minutes": lambda: f"{sum(read('seconds.json')['seconds'].values()) / 60:.0f}",
    "runs": lambda: str(len(read("C8.json")["seeds"])),
    "C1": lambda: gained("C1.json", "arithmetic, RL less expert iteration"),
    "C2": num_checked_answers,
    "C3": tries_again,
    "C4": peaks,
    "C4-tokens": tokens_of_ledger,
    "GPU-tokens": tokens_on_gpu,
    "published": num_near,
    "C5": lambda: signed("C5.json", "cold start: ppo - grpo, all tasks", 1),
    "C5-seconds": lambda: signed(
        "C5.json", "cold start: ppo with one update in the seconds of grpo - grpo, all tasks", 1),
    "C5-seconds-best": lambda: signed(
        "C5.json", "cold start: ppo in the seconds of grpo - grpo, all tasks", 1),
    "C5-clock": lambda: clock_ratio("C5-clock"),
    "C5-clock-once": lambda: clock_ratio("C5-clock-once"),
    "kin-wide": lambda: f"{100 * read('variants.json')['chance']['as wide']:.0f}",
    "kin-high": lambda: f"{100 * read('variants.json')['chance']['as far']:.0f}",
    "right-texts": texts_that_end_right,
    "one-try": lambda: signed("fewer_tries.json", "at most 1, rl less base: right"),
    "C6": lambda: percent(find("C6.json", "pure RL: mixing"), 0),
    "C6-base": lambda: percent(find("C6.json", "base: mixing"), 0),
    "C6-after": lambda: percent(find("C6.json", "RL after it: mixing"), 0),
    "C10-rl": lambda: percent(find("C8.json", f"rl leaks {EVERY_RUN}"), 0),
    "C10-rejection": lambda: percent(find("C8.json", f"rejection leaks {EVERY_RUN}")),
    "C7": right_by_thinking,
    "C8": kept_by_later_stages,
    "C9": lambda: points_interval(find("C9.json", "student - teacher, all tasks")).split()[0],
    "C10": lambda: percent(find("C8.json", f"align leaks {EVERY_RUN}")),
    "C11": lambda: gained("C15.json", "program, exact less base"),
    "C12": tries_of_pure_rl,
    "C13": distilled_lead,
    "C13-runs": distilled_by_run,
    "C14": lambda: lead_on_harder_sums("longer sums"),
    "C14-larger": lambda: lead_on_harder_sums("larger sums"),
    "C15-coin": lambda: signed("C15.json", "all problems, coin less base"),
    "C15-vote": lambda: signed("C15.json", "all problems, vote less base"),
    "C16": lambda: lost("C16.json", "chat: experts less cold start"),
    "C17-64": lambda: gained_by_rl(64),
    "C17-32": lambda: gained_by_rl(32),
    "C18": lambda: signed("C18.json", "countdown, each step less outcome"),
    "C18-runs": lambda: by_run("C18.json", countdown_of_arm, "each step", "outcome"),
    "C18-sums": lambda: signed("C18.json", "arithmetic, each step less outcome"),
    "C19": tokens_spared,
    "C20": lambda: percent(find("C20.json", "countdown: went on after a success")),
}

for claim in ("C1", "C3", "C6", "C7", "C8", "C9", "C10", "C11"):
    NUMBERS[f"{claim}-seeds"] = functools.partial(num_seeds, f"{claim}.json")


# -----------------------------------------------------------------------------
# Claims about size, cost and length: C5, C13, C16, C17, C19, C20.

def cell(file, name, show):
    """What `show` makes of a row, or a dash where the file has none of this name."""
    try:
        return show(find(file, name))
    except KeyError:
        return "-"


def rounded_interval(row):
    """For example 1,205 [1,100, 1,310]."""
    texts = []
    for end in ("value", "low", "high"):
        texts.append("never" if row[end] is None else f"{row[end]:,.0f}")
    value, low, high = texts
    has_interval = row["low"] is not None
    return f"{value} [{low}, {high}]" if has_interval else value


def size_of(file):
    """For the corner of a table: `3 seeds, 1,000 problems`."""
    return f"{len(read(file)['seeds'])} seeds, {read(file)['num_problems']:,} problems"


GROUPS = ("in distribution", "out of distribution")
WORLDS = (*TASKS, "longer sums", "larger sums", "four numbers", "larger numbers", "three squares",
          "four examples", "chat", "facts")


def generalization():
    """C16: accuracies of five models on known problems, new ones, chat and facts."""
    models = {name: f"{{}}: {name}" for name in
              ("cold start", "corpus", "experts", "expert iteration", "RL")}
    return grid("C16.json", f"right %, {size_of('C16.json')}", {world: world for world in WORLDS}, models)


def generalization_differences():
    """C16: RL minus each other way, and two ways minus the cold start."""
    rows = {f"all {group}": f"all {group}" for group in GROUPS} | {"chat": "chat", "facts": "facts"}
    columns = {f"RL minus {arm}": f"{{}}: RL less {arm}" for arm in ("corpus", "experts", "expert iteration")}
    columns |= {f"{arm} minus cold start": f"{{}}: {arm} less cold start" for arm in ("experts", "RL")}
    return grid("C16.json", "percentage points", rows, columns, points_interval)


def trade():
    """How many tokens of a question reach so many percent, by iteration of RL."""
    rows = []
    for iteration in read("C19.json")["iterations"]:
        title = f"countdown, iteration {iteration}"
        training = find("C19.json", f"{title}: training tokens")["value"]
        cells = [str(iteration), f"{training / 1e6:.1f}"]
        for level in ("50%", "60%", "70%", "80%", "90%"):
            cells.append(cell("C19.json", f"{title}, {level}: tokens needed", rounded_interval))
        rows.append(cells)
    titles = [f"iteration, {size_of('C19.json')}", "cost of RL, million tokens", "50% right", "60%", "70%",
              "80%", "90%"]
    return table(titles, rows)


def trade_differences():
    """C19: one answer after RL minus a vote of several before it."""
    names = {f"{number} votes before" if number > 1 else "one answer before": str(number)
             for number in (1, 2, 4, 8, 16)}
    columns = {task: f"{task}: one answer at the end less vote {{}} at the start" for task in TASKS[:2]}
    return grid("C19.json", "one answer after RL, minus", names, columns, points_interval)


def lengths():
    """C20: tokens of right answers and of wrong ones."""
    rows = []
    for task in TASKS[:2]:
        cells = [task]
        for level in (2, 3):
            for kind in ("right", "wrong"):
                cells.append(cell("C20.json", f"{task}, level {level}: tokens, {kind}", rounded_interval))
        cells.append(cell("C20.json", f"{task}, same problem: tokens, wrong less right", plain_interval))
        cells.append(cell("C20.json", f"{task}: went on after a success", percent_interval))
        rows.append(cells)
    return table([f"tokens, {size_of('C20.json')}", "level 2, right", "level 2, wrong", "level 3, right",
                  "level 3, wrong", "same problem: wrong minus right", "went on after a success, %"], rows)


def prices():
    """C20: accuracy and tokens by the price of length."""
    rows = []
    for price in read("C20.json")["prices"]:
        cells = [f"{price:g}"]
        for task in TASKS[:2]:
            title = f"{task}, price {price:g}"
            cells.append(cell("C20.json", f"{title}: right", percent_interval))
            cells.append(cell("C20.json", f"{title}: tokens", rounded_interval))
        rows.append(cells)
    return table(["price of the longest answer", "arithmetic %", "its tokens", "countdown %", "its tokens"],
                 rows)


def spared():
    """C20: which share of the tokens can go, by the points of accuracy that it may cost."""
    rows = {f"{drop} points": str(drop) for drop in (0, 1, 2, 5)}
    columns = {}
    for task in TASKS[:2]:
        columns[f"{task}: tokens saved, %"] = f"{task}: share of tokens that can go for {{}} points"
    return grid("C20.json", "accuracy given up", rows, columns)


def sizes():
    """C17: for each size of a base its pass@1, what RL gains, and groups without a signal."""
    rows = []
    for size in read("C17.json")["sizes"]:
        cells = [size, f"{find('C17.json', f'{size}: parameters')['value'] / 1e6:.2f}"]
        for task in TASKS[:2]:
            cells.append(percent_interval(find("C17.json", f"{size}: {task}, base")))
            cells.append(points_interval(find("C17.json", f"{size}: {task}, RL less base")))
        cells.append(percent_interval(find("C17.json", f"{size}: no signal at first")))
        rows.append(cells)
    return table([size_of("C17.json"), "million parameters", "arithmetic: base %", "RL minus base",
                  "countdown: base %", "RL minus base", "no signal at first, %"], rows)


def thoughts_by_size():
    """C17, a table for each task: how many answers have a thought, and how many of its steps are wrong."""
    sizes, tables = {size: size for size in read("C17.json")["sizes"]}, []
    for task in TASKS[:2]:
        columns = {}
        for what in ("answers that think", "wrong steps"):
            for stage, title in (("base", "base"), ("rl", "RL")):
                columns[f"{what}, {title} %"] = f"{{}}: {task}, {what}, {stage} {EVERY_RUN}"
        tables.append(grid("C17.json", task, sizes, columns))
    return "".join(tables)


def distilling():
    """C13: accuracy and costs of each way at its end."""
    claim = read("C13.json")
    names = ["teacher", "RL", *(["RL, four times"] if claim["longer"] else [])]
    names += [f"distilled {number}" for number in claim["numbers"]]
    rows = []
    for name in (*names, "distilled, then RL", "on-policy"):
        is_rare = name == "RL, four times" and claim["longer"] < len(claim["seeds"])
        cells = [f"{name} (seeds: {claim['longer']})" if is_rare else name]
        for task in (*TASKS[:2], "both"):
            cells.append(percent_interval(find("C13.json", f"{name}: {task}")))
        for cost in ("seconds", "samples"):
            cells.append(rounded_interval(find("C13.json", f"{name}: {cost}")))
        if name == "teacher":
            cells[-1] = "not counted"
        rows.append(cells)
    return table([size_of("C13.json"), "arithmetic %", "countdown %", "both %", "seconds", "samples"], rows)


def distilling_differences():
    """C13: accuracies of two ways at their ends, the one minus the other."""
    most = f"distilled {read('C13.json')['numbers'][-1]}"
    pairs = [(most, "RL"), (most, "RL, four times"), (most, "teacher"), ("distilled, then RL", most),
             ("distilled, then RL", "RL"), ("on-policy", "RL"), ("on-policy", most)]
    if not read("C13.json")["longer"]:
        pairs.remove((most, "RL, four times"))
    rows = {f"{first} minus {second}": f"{first} less {second}" for first, second in pairs}
    columns = {task: f"{{}}: {task}" for task in (*TASKS[:2], "both")}
    return grid("C13.json", "percentage points, at the ends", rows, columns, points_interval)


def distilling_seconds():
    """Each way less RL that had the same seconds; and the share of them that RL really had."""
    claim = read("C13.json")
    most = f"distilled {claim['numbers'][-1]}"
    rows = []
    for name in (most, "distilled, then RL", "on-policy"):
        cells = [name]
        for counted in ("not counted", "counted"):
            title = f"{name} less RL, equal seconds, teacher {counted}"
            cells.append(cell("C13.json", f"{title}: both", points_interval))
            cells.append(cell("C13.json", f"{title}: share that RL had", percent))
        rows.append(cells)
    return table(["minus the best of RL in as many seconds", "the teacher is free", "RL's best came after, %",
                  f"the teacher is paid for (seeds: {claim['longer']})", "RL's best came after, %"], rows)


TABLES |= {
    "C13-table": distilling,
    "C13-differences-table": distilling_differences,
    "C13-seconds-table": distilling_seconds,
    "C16-table": generalization,
    "C16-differences-table": generalization_differences,
    "C17-table": sizes,
    "C17-thoughts-table": thoughts_by_size,
    "C5-whole-table": functools.partial(comparison, "cold start"),
    "C5-goal-table": functools.partial(needed_for_a_goal, "cold start"),
    "C5-base-table": functools.partial(comparison, "base"),
    "C5-base-goal-table": functools.partial(needed_for_a_goal, "base"),
    "C5-critic-table": what_is_known,
    "C5-critic-pays-table": where_a_critic_pays,
    "kin-table": kin,
    "C19-table": trade,
    "C19-differences-table": trade_differences,
    "C20-table": lengths,
    "C20-price-table": prices,
    "C20-spared-table": spared,
}


# -----------------------------------------------------------------------------
# Claims about rewards: C14, C15, C18.

def columns_of_tasks(pattern):
    """{title: pattern of a row's name} for each task; `pattern` has {task} for it."""
    # not `format`: a pattern may also hold {}, which `grid` fills in
    return {f"{task} %": pattern.replace("{task}", task) for task in TASKS}


def models_beyond_the_base():
    """The models of C14 that were measured: the longer RL can be left out."""
    named = {row["name"].partition(": pass@1")[0] for row in read("C14.json")["rows"]}
    return [model for model in ("base", "cold start", "RL", "longer RL") if f"{TASKS[0]}, {model}" in named]


def pass_at_many():
    """C14: a row for each model and some k."""
    samples, rows = read("C14.json")["samples"], []
    for k in sorted({1, min(16, samples), samples}):
        for model in models_beyond_the_base():
            cells = [f"pass@{k:,}, {model}"]
            for task in TASKS:
                cells.append(percent_interval(find("C14.json", f"{task}, {model}: pass@{k}")))
            rows.append(cells)
    return table([size_of("C14.json"), *columns_of_tasks("")], rows)


def longer_rl():
    """C14: what RL of twice the length is ahead of RL, with some k. No rows where it was left out."""
    rows, columns, samples = {}, {}, read("C14.json")["samples"]
    if "longer RL" in models_beyond_the_base():
        rows = {f"longer RL minus RL, pass@{k:,}": k for k in (1, 16, 128, 1024) if k <= samples}
    for task in TASKS:
        columns[f"{task}, points"] = f"{task}, longer RL less RL: pass@{{}}"
    return grid("C14.json", size_of("C14.json"), rows, columns, points_interval)


def place_of(crossing, largest):
    """The k where two curves cross, with its interval: 36 [25, 67]."""
    ends = []
    for name in ("k", "low", "high"):
        ends.append(f"above {largest:,}" if crossing[name] is None else f"{crossing[name]:,.0f}")
    return "{} [{}, {}]".format(*ends)


def crossings():
    """C14: from which k on the first curve is above the second."""
    largest, rows = read("C14.json")["samples"], []
    for pair in ("base and RL", "base and longer RL", "cold start and RL"):
        if f"{TASKS[0]}, {pair}" not in read("C14.json")["crossings"]:
            continue
        cells = [pair.replace(" and ", " passes ")]
        for task in TASKS:
            cells.append(place_of(read("C14.json")["crossings"][f"{task}, {pair}"], largest))
        rows.append(cells)
    return table(["from this k on", *TASKS], rows)


def solved_alone():
    """C14: what one model solves and another never does."""
    rows = []
    for pair in (("RL", "base"), ("longer RL", "base"), ("RL", "cold start")):
        if not set(pair) <= set(models_beyond_the_base()):
            continue
        for first, second in (pair, pair[::-1]):
            cells = [f"solved by {first}, never by {second}"]
            for task in TASKS:
                cells.append(percent_interval(find("C14.json", f"{task}: {cells[0]}")))
            rows.append(cells)
    return table(["of the problems", *columns_of_tasks("")], rows)


def harder():
    """harder.json: base and pure RL on sums that are harder than those of the training, by both counts."""
    samples, rows, columns = read("harder.json")["samples"], {}, {}
    crossing = ["base passes RL, from this k on"]
    for kind in ("longer sums", "larger sums"):
        for thoughts in ("complete thoughts", "all right answers"):
            title = f"{kind}, {thoughts}"
            columns[f"{title} %"] = f"{title}{{}}"
            crossing.append(place_of(read("harder.json")["crossings"][f"{title}, base and RL"], samples))
    for k in sorted({1, min(16, samples), samples}):
        for model in ("base", "RL"):
            rows[f"pass@{k:,}, {model}"] = f", {model}: pass@{k}"
    for first, second in (("RL", "base"), ("base", "RL")):
        title = f"solved by {first}, never by {second}"
        rows[title] = f": {title}"
    return grid("harder.json", size_of("harder.json"), rows, columns) + f"| {' | '.join(crossing)} |\n"


REWARDS = {"right answers": "exact", "a coin": "coin", "wrong answers": "inverted", "form alone": "form",
           "the group's vote": "vote"}


def random_rewards():
    """C15: accuracies of the base, and after RL with each reward."""
    rows = {"the base, before RL": "base"} | REWARDS
    return grid("C15.json", f"paid for; {size_of('C15.json')}", rows, columns_of_tasks("{task}, {}"))


def random_reward_gains():
    """C15: what RL with each reward gained over the base."""
    columns = {f"{task}, minus the base": f"{task}, {{}} less base" for task in TASKS}
    columns["all problems, minus the base"] = "all problems, {} less base"
    return grid("C15.json", "paid for", REWARDS, columns, points_interval)


def random_reward_habits():
    """C15: form, thinking, wrong steps and length, before RL and after each reward."""
    rows = {"the base, before RL": "base"} | REWARDS
    columns = {"well formed %": f"{{}} well_formed {EVERY_RUN}", "thinks %": f"{{}} thinks {EVERY_RUN}",
               "wrong steps %": f"{{}} wrong_steps {EVERY_RUN}"}
    shares = grid("C15.json", "paid for", rows, columns)
    tokens = grid("C15.json", "paid for", rows, {"tokens": f"{{}} tokens {EVERY_RUN}"}, plain_interval)
    return beside(shares, tokens)


def beside(first, second):
    """Two tables with the same rows as one: the columns of the second follow those of the first."""
    lines = []
    for line, other in zip(first.strip().splitlines(), second.strip().splitlines()):
        cells_after_the_first = other.removeprefix("|").partition("|")[2]
        lines.append(line + cells_after_the_first)
    return "\n" + "\n".join(lines) + "\n"


LOSSES = {"the loss of `train.py`": "all tokens", "GRPO as published": "each completion",
          "the loss of `train.py`, no std": "all tokens, no std", "Dr. GRPO": "Dr. GRPO"}
COUNTED = {"tries": "tries", "of right answers": "tries of right answers",
           "of wrong ones": "tries of wrong answers", "tokens": "tokens"}


def longer():
    """longer.json: accuracy, tries and tokens of the base, and after RL with each loss."""
    rows = {"the base, before RL": "the base"} | LOSSES
    shares = grid("longer.json", f"countdown; {size_of('longer.json')}", rows,
                  {"right %": "{}: right", "cut off %": "{}: cut off"})
    columns = {title: f"{{}}: {name}" for title, name in COUNTED.items()}
    numbers = grid("longer.json", "countdown", rows, columns, plain_interval)
    return beside(shares, numbers)


def longer_differences():
    """longer.json: each loss minus that of train.py."""
    rows = {title: name for title, name in LOSSES.items() if name != "all tokens"}
    shares = grid("longer.json", "minus the loss of `train.py`", rows,
                  {"right, points": "{} less all tokens: right"}, points_interval)
    columns = {title: f"{{}} less all tokens: {name}" for title, name in COUNTED.items()}
    numbers = grid("longer.json", "minus", rows, columns, signed_interval)
    return beside(shares, numbers)


def fewer_tries():
    """fewer_tries.json: the base and pure RL, for texts of at most one, two and three tries."""
    rows = {}
    for most, title in ((1, "once"), (2, "twice"), (3, "three times")):
        rows[f"{title}: the base"] = f"at most {most}, base"
        rows[f"{title}: pure RL"] = f"at most {most}, rl"
    shares = grid("fewer_tries.json", f"texts try at most; {size_of('fewer_tries.json')}", rows,
                  {"right %": "{}: right", "thinks %": "{}: thinks",
                   "right if it thinks %": "{}: right if it thinks",
                   "more tries than any text %": "{}: beyond all texts"})
    columns = {title: f"{{}}: {COUNTED[title]}" for title in ("tries", "of right answers", "tokens")}
    return beside(shares, grid("fewer_tries.json", "countdown", rows, columns, plain_interval))


def signed_interval(row):
    return f"{row['value']:+.2f} [{row['low']:.2f}, {row['high']:.2f}]"


PROCESS = {"outcome (nothing for the way)": "outcome", "each step": "each step",
           "no wrong step": "no wrong step", "learned (a scorer's pay)": "learned"}


def process_rewards():
    """C18: accuracies of the base and of each arm."""
    rows = {"the base, before RL": "base"} | PROCESS
    return grid("C18.json", f"paid for the way; {size_of('C18.json')}", rows, columns_of_tasks("{task}, {}"))


def process_differences():
    """C18: each arm minus the one that pays for the outcome alone."""
    rows = {name: arm for name, arm in PROCESS.items() if arm != "outcome"}
    columns = {task: f"{task}, {{}} less outcome" for task in TASKS}
    return grid("C18.json", "minus the outcome alone", rows, columns, points_interval)


def process_counts():
    """C18: tokens, steps and form of the answers of the base and of each arm."""
    rows = {"the base, before RL": "base"} | PROCESS
    numbers = {"countdown: tokens": f"countdown, {{}}: tokens {EVERY_RUN}",
               "countdown: right steps": f"countdown, {{}}: right_steps {EVERY_RUN}",
               "arithmetic: right steps": f"arithmetic, {{}}: right_steps {EVERY_RUN}"}
    shares = {"arithmetic: wrong steps %": f"arithmetic, {{}}: wrong_steps {EVERY_RUN}",
              "countdown: wrong steps %": f"countdown, {{}}: wrong_steps {EVERY_RUN}",
              "countdown: repeated steps %": f"countdown, {{}}: repeated {EVERY_RUN}",
              "countdown: well formed %": f"countdown, {{}}: well_formed {EVERY_RUN}"}
    return beside(grid("C18.json", "in an answer", rows, numbers, plain_interval),
                  grid("C18.json", "in an answer", rows, shares))


def scorer():
    """C18: how many right steps, and how many wrong ones, the scorer calls right."""
    rows = {"of the base": "base", "of the model that it paid": "learned"}
    columns = {}
    for kind in ("right", "wrong"):
        title = f"{kind} steps that it calls right, %"
        columns[title] = f"scorer: {kind} steps called right, {{}} {EVERY_RUN}"
    return grid("C18.json", "answers", rows, columns)


def transcripts():
    """C18: of each arm the answer that earned most by its steps, one seed; the text of one of them."""
    rows = []
    for name, arm in ({"the base, before RL": "base"} | PROCESS).items():
        best = read("C18.json")["transcripts"][arm]
        verdict = "right" if best["right"] else "wrong"
        rows.append([name, f"`{best['prompt']}`", str(best["steps"]), str(best["repeated"]), verdict])
    titles = ["paid for the way", "problem", "steps", "of these repeated", "answer"]
    best = read("C18.json")["transcripts"]["each step"]
    tries = re.sub(r" (?=(wait|espera) )", "\n    ", best["text"])      # each on a line of its own
    words = "(*prueba* is try, *espera* wait, *da* is, *mal* no)"
    text = f"The answer to `{best['prompt']}`, of the model that is paid for steps {words}:\n\n    {tries}\n"
    return f"{table(titles, rows)}\n{text}"


TABLES |= {
    "C14-table": pass_at_many,
    "C14-longer-table": longer_rl,
    "C14-crossings-table": crossings,
    "C14-alone-table": solved_alone,
    "harder-table": harder,
    "longer-table": longer,
    "longer-differences-table": longer_differences,
    "fewer-tries-table": fewer_tries,
    "C15-table": random_rewards,
    "C15-gains-table": random_reward_gains,
    "C15-habits-table": random_reward_habits,
    "C18-table": process_rewards,
    "C18-differences-table": process_differences,
    "C18-steps-table": process_counts,
    "C18-scorer-table": scorer,
    "C18-transcripts-table": transcripts,
}


def filled(text):
    """The text with every marked place filled in. Raises KeyError for a name that is not known."""
    def value(match):
        name = match[1]
        write = TABLES[name] if name.endswith("-table") else NUMBERS[name]
        return f"<!--{name}-->{write()}<!--/-->"
    return MARKED.sub(value, text)


def main():
    old_pages = [page.relative_to(ROOT) for page in PAGES
                 if page.read_text(encoding="utf-8") != filled(page.read_text(encoding="utf-8"))]
    if "--check" in sys.argv:
        for page in old_pages:
            print(f"{page} differs from the saved numbers: run python lessons/results/write.py")
        return 1 if old_pages else 0
    for page in old_pages:
        path = ROOT / page
        path.write_text(filled(path.read_text(encoding="utf-8")), encoding="utf-8")
        print(f"wrote {page}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
