r"""The page of a run in one file: report.html loads nothing from the network and runs no script.

So it can be sent to a friend. Its tables and figures are those of report.md. In the transcripts, what
behaviour.py counts is marked in its place:

    try b 42-8=35 3*6=18 is 35 no wait try c 42-6=36 3*8=24 is 36 yes
    \_/   \_____/              \/      \_/                        \_/
    try   wrong                no      retry                      false yes

A model may write anything, HTML included. Every piece of its text goes through `safe`, which makes it plain.
"""

import base64
import html
import re
from pathlib import Path

from minireason.behaviour import observe
from minireason.tasks import TASKS, Problem, parse_prompt
from minireason.tasks.trace import split_tries
from minireason.tokenizer import printable
from minireason.tools import inspector
from minireason.tools.scores import table
from minireason.upkeep.command import Fault
from minireason.verifier import split_completion, verify

MARKS = {       # kind -> what the legend says
    "try": "a candidate is tried",
    "retry": "another one, after one that was stated as failed",
    "no": "stated as failed",
    "yes": "stated as a success, and it is one",
    "false-yes": "stated as a success, but it is not one",
    "wrong": "a step that evaluates wrong",
    "repair": "the same step later, evaluated right",
}
STYLE = """
body { font: 16px/1.55 system-ui, sans-serif; color: #1d2733; max-width: 66rem; margin: 0 auto; \
padding: 0 1rem 4rem;
       overflow-wrap: anywhere }
h2 { margin-top: 3rem; border-bottom: 2px solid #1b6ca8 }
nav a { display: inline-block; margin-right: 1.2rem; padding: .3rem 0 }
.box { overflow-x: auto; margin: 1rem 0 }
.box img { display: block; width: 100%; min-width: 36rem; max-width: 54rem }
table { border-spacing: 0; font-variant-numeric: tabular-nums }
th, td { padding: .3rem .7rem; border-bottom: 1px solid #dde3ea; text-align: right; \
white-space: nowrap; vertical-align: top }
thead th { white-space: normal; overflow-wrap: normal }
th:first-child { text-align: left; position: sticky; left: 0; background: #fff }
td small { display: block; color: #5b6875 }
@media (max-width: 40rem) { th, td { padding: .3rem .4rem } \
tbody th { white-space: normal; min-width: 6rem } }
summary { cursor: pointer; font-weight: 600; padding: .5rem 0 }
article { border-left: 4px solid #8a96a3; padding: 0 .8rem; margin: 1rem 0 }
article p { margin: .2rem 0 }
article.right { border-color: #2e8b57 }
article.wrong { border-color: #c8384f }
.said, #tokens section p { font-family: ui-monospace, Consolas, monospace; font-size: .9rem }
.said i { color: #7c8894; font-size: .75rem; font-style: normal }
.thinking { background: #e9eef4 }
.answer { border: 2px solid #8a96a3; border-radius: 4px; padding: 0 .3rem; background: #fff;
          display: inline-block }
.right .answer { border-color: #2e8b57 }
.wrong .answer { border-color: #c8384f }
mark { color: inherit; background: none; border-radius: 3px; padding: 0 .15rem }
mark.try { background: #cfe3f5 }
mark.retry { background: #ffe09a }
mark.retry::before { content: "\\21BA\\A0" }
mark.no { background: #dfe4ea }
mark.yes { background: #bfe5cb }
mark.yes::after { content: "\\A0\\2713" }
mark.false-yes { background: #c8384f; color: #fff }
mark.false-yes::after { content: "\\A0\\2717" }
mark.wrong { text-decoration: underline wavy #c8384f }
mark.repair { border-bottom: 3px double #2e8b57 }
.legend span { display: inline-block; margin-right: 1.2rem }
"""


# -----------------------------------------------------------------------------
# Pieces

def safe(value: object) -> str:
    """Returns any value as escaped text: a browser shows its tags, and does not obey them."""
    return html.escape(printable(str(value)))


def table_row(cells: list[str]) -> str:
    """A row of an HTML table, of cells that are safe HTML. The first one is its heading.

    An interval in a cell, such as [61.2, 67.1], gets small print.
    """
    heading, *values = cells
    columns = [f'<th scope="row">{heading}</th>']
    for value in values:
        columns.append("<td>" + re.sub(r" (\[.*?\])", r" <small>\1</small>", value) + "</td>")
    return "<tr>" + "".join(columns) + "</tr>\n"


def grid(lines: list[str]) -> str:
    """A Markdown table, such as `scores.table` writes, as an HTML table in a box that scrolls by itself."""
    rows = []
    for line in lines:
        rows.append([safe(cell.strip()) for cell in line.strip("|").split("|")])
    titles, _, *others = rows      # Markdown's second line only rules off the first
    head = "".join(f'<th scope="col">{title}</th>' for title in titles)
    body = "".join(table_row(cells) for cells in others)
    return ('<div class="box" tabindex="0">'
            f"<table><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>")


def picture(path: Path) -> str:
    """The PNG file at `path` as an HTML image that contains the bytes of the file."""
    data = base64.b64encode(path.read_bytes()).decode()
    image = f'<img alt="{safe(path.stem)}" src="data:image/png;base64,{data}">'
    return f'<div class="box" tabindex="0">{image}</div>'


def bullet_list(items: list[str]) -> str:
    return "<ul>" + "".join(f"<li>{item}</li>" for item in items) + "</ul>"


# -----------------------------------------------------------------------------
# Transcripts

def find_marks(problem: Problem, thinking: str) -> list[tuple[int, int, str]]:
    """Where the thinking does what behaviour.py counts: (start, end, kind) in order, without overlap."""
    task = TASKS[problem.task]
    marks = []
    asked_wrong = set()     # questions that were answered wrong
    for step in task.find_steps(thinking):
        if not step.right:
            marks.append((*step.span, "wrong"))
            asked_wrong.add(step.question)
        elif step.question in asked_wrong:
            marks.append((*step.span, "repair"))
            asked_wrong.remove(step.question)
    if task.succeeds is None:
        return marks
    last_failed = False
    for attempt in split_tries(thinking):
        marks.append((*attempt.word, "retry" if last_failed else "try"))
        last_failed = attempt.verdict is False
        if last_failed:
            marks.append((*attempt.verdict_span, "no"))
        elif attempt.verdict is True:
            is_success = task.succeeds(problem, attempt.text)
            marks.append((*attempt.verdict_span, "yes" if is_success else "false-yes"))
    return sorted(marks)


def thinking_with_marks(problem: Problem | None, thinking: str) -> str:
    """The thinking as HTML, with its marks. Chat has no problem, and no marks."""
    marks = find_marks(problem, thinking) if problem else []
    pieces, shown = [], 0       # thinking[:shown] is in the pieces
    for start, end, kind in marks:
        pieces.append(safe(thinking[shown:start]))
        pieces.append(f'<mark class="{kind}" title="{MARKS[kind]}">{safe(thinking[start:end])}</mark>')
        shown = end
    pieces.append(safe(thinking[shown:]))
    return f'<span class="thinking">{"".join(pieces)}</span>'


def completion_with_marks(problem: Problem | None, completion: str) -> str:
    """The whole completion as HTML. If it is well formed, its tags are small and its answer has a frame."""
    parts = split_completion(completion)
    if parts is None:
        return thinking_with_marks(problem, completion)
    thinking, answer = parts
    return (f"<i>&lt;think&gt;</i>{thinking_with_marks(problem, thinking)}<i>&lt;/think&gt;&lt;answer&gt;</i>"
            f'<b class="answer">{safe(answer)}</b><i>&lt;/answer&gt;</i>')


def verdict_of(sample: dict) -> str:
    """"right" or "wrong"; chat is neither, and has an empty verdict."""
    if "correct" not in sample:
        return ""
    return "right" if sample["correct"] else "wrong"


def remarks_on(problem: Problem, sample: dict) -> list[str]:
    """Short texts about an answer to a problem: why it is wrong, and whether its thought mixes languages."""
    remarks = []
    if verdict_of(sample) == "wrong":
        remarks.append(verify(problem, sample["completion"]).reason)
    if observe(problem, sample["completion"]).mixed:
        remarks.append("two languages")
    return remarks


def transcript(sample: dict) -> str:
    """One answer as HTML: the prompt, the verdict with its remarks, and what the model said.

    `sample` is {"prompt", "completion", "correct"}; chat has no "correct".
    """
    try:
        problem = parse_prompt(sample["prompt"])
    except ValueError:      # a conversation
        problem = None
    verdict = verdict_of(sample)
    remarks = "; ".join(remarks_on(problem, sample)) if problem else ""
    judgement = ": ".join(part for part in (verdict, remarks) if part)
    return (f'<article class="{verdict}"><p><b>{safe(sample["prompt"])}</b> {safe(judgement)}</p>'
            f'<p class="said">{completion_with_marks(problem, sample["completion"])}</p></article>')


def legend() -> str:
    """A paragraph of HTML that explains the marks."""
    entries = ['<span><span class="thinking">thinking</span></span>']
    for kind, meaning in MARKS.items():
        entries.append(f'<span><mark class="{kind}">{kind.replace("-", " ")}</mark> {meaning}</span> ')
    entries.append('<span><b class="answer">answer</b> framed green where it is right, '
                   "red where it is wrong</span>")
    return f'<p class="legend">{"".join(entries)}</p>'


def transcripts(stages: dict, tasks: list[str]) -> str:
    """What each stage said, as HTML. Each stage can be unfolded; the last one is open.

    `stages` is {stage: what `evaluate.evaluate` returned}.
    """
    last_stage = list(stages)[-1]
    parts = [legend()]
    for stage, result in stages.items():
        opening = "<details open>" if stage == last_stage else "<details>"
        parts.append(f"{opening}<summary>{safe(stage)}</summary>")
        for task in (*tasks, "chat"):
            parts.append(f"<h4>{task}</h4>")
            parts += [transcript(sample) for sample in result[task]["samples"]]
        parts.append("</details>")
    return "\n".join(parts)


# -----------------------------------------------------------------------------
# Token by token

def most_tried_task(result: dict, tasks: list[str]) -> str:
    """The task with the most tries per answer: there is most to see in its answers.

    Of tasks with equally many, such as none after a very short run, it is the one with the lowest accuracy.
    """
    def order(task):
        num_tries = result[task].get("tries") or 0.0
        return -num_tries, result[task]["accuracy"]["value"]
    return min(tasks, key=order)


def token_by_token(run: Path | str, stages: dict, tasks: list[str]) -> str:
    """The inspector's view of one held-out problem: how rl judges each token of the stage it started from.

    The problem is the first one whose four answers get different rewards, or else the last one.
    """
    rows = []
    if "rl" in stages:
        samples = stages["rl"][most_tried_task(stages["rl"], tasks)]["samples"]
        solved = [sample for sample in samples if sample["correct"]]
        unsolved = [sample for sample in samples if not sample["correct"]]
        try:
            for sample in solved + unsolved:
                problem = parse_prompt(sample["prompt"])
                rows, speaker = inspector.inspect_run(run, "rl", problem, group_size=4)
                rewards = {row["reward"] for row in rows}
                if len(rewards) > 1:    # a group with equal rewards has no advantages to look at
                    break
        except (ValueError, OSError, Fault):    # a checkpoint is missing or damaged
            rows = []
    if not rows:
        return "<p>There are no checkpoints here that can be looked at.</p>"
    return inspector.legend(speaker, "rl") + inspector.as_html(rows, problem.prompt)


# -----------------------------------------------------------------------------
# The page

def stages_section(stages: dict, figure: Path, levels: list[str], tasks: list[str],
                   means_sentence: str) -> str:
    """The scores of all stages, as HTML: a table, the figure, a table by level. Arguments as in `as_html`."""
    last_result = list(stages.values())[-1]
    counts = [f"{last_result[task]['accuracy']['num_problems']} of {task}" for task in tasks]
    counts.append(f"{last_result['chat']['leaks']['num_problems']} chat prompts of each kind")
    return (f"<p>Held-out problems ({', '.join(counts)}), one answer each at temperature 1; "
            f"brackets are 95% Wilson intervals of this one run. {means_sentence}</p>"
            f"{grid(table(stages))}{picture(figure)}<h3>By level</h3>{grid(levels)}")


def curves_section(figures: list[Path]) -> str:
    if not figures:
        return "<p>No stage of RL was trained.</p>"
    return "".join(picture(path) for path in figures)


def behaviours_section(tables: list[list[str]]) -> str:
    explanation = "<p>Shares as behaviour.py defines them; tokens and tries are means of a completion.</p>"
    return explanation + "".join(grid(lines) for lines in tables)


TIME_COUNTS = ("Training and scoring. Writing texts, sampling for rejection and training the reward model "
               "are not counted.")


def note_as_text(note: str | float | dict) -> str:
    """A note of a stage in words: of counts, "sampled 2320, wrong 106"."""
    if not isinstance(note, dict):
        return str(note)
    return ", ".join(f"{name} {value}" for name, value in note.items())


def notes_section(results: dict) -> str:
    """How long each stage took, and what train.py noted."""
    items = [f"{safe(stage)}: {seconds:.0f} s" for stage, seconds in results["seconds"].items()]
    items += [f"{safe(name)}: {safe(note_as_text(value))}" for name, value in results["notes"].items()]
    return f"<p>{TIME_COUNTS}</p>" + bullet_list(items)


def as_html(run: Path | str, results: dict, figures: list[Path], levels: list[str],
            behaviours: dict[str, list[str]], means_sentence: str) -> str:
    """The whole page.

    `figures` are paths; the first compares the stages. `levels` is a Markdown table, and `behaviours` has one
    for each task. `means_sentence` says over which tasks some columns are means.
    """
    stages, config, tasks = results["stages"], results["config"], list(behaviours)
    sections = {
        "stages": stages_section(stages, figures[0], levels, tasks, means_sentence),
        "curves": curves_section(figures[1:]),
        "behaviours": behaviours_section(list(behaviours.values())),
        "transcripts": transcripts(stages, tasks),
        "tokens": token_by_token(run, stages, tasks),
        "time and notes": notes_section(results),
    }
    links, parts = [], []
    for name, content in sections.items():
        identifier = name.replace(" ", "-")
        links.append(f'<a href="#{identifier}">{name}</a>')
        parts.append(f'<section id="{identifier}"><h2>{name.capitalize()}</h2>\n{content}</section>')
    navigation, body = "".join(links), "\n".join(parts)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">\
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" \
content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>A run of minireason</title><style>{STYLE}</style></head>
<body><h1>A run of minireason</h1>
<p><code>{safe(results["command"])}</code>, seed {safe(config["seed"])}, {safe(config["algo"].upper())}</p>\
<nav>{navigation}</nav>
{body}
</body></html>
"""
