r"""The page of a run in one file: report.html asks nothing of the network, runs no script, and can be sent to a friend.

Its tables and figures are those of report.md. In the transcripts what behaviour.py counts is marked where it stands:

    try 42-8=35 3*6=18 is 35 no wait try 42-6=36 3*8=24 is 36 yes
    \_/ \_____/              \/      \_/                      \_/
    try wrong                no      retry                    false yes

What a model wrote is shown as text, whatever it is: every piece of it goes through `safe`.
"""

import base64
import html
import re
from pathlib import Path

from minireason.behaviour import observe
from minireason.evaluate import table
from minireason.tasks import TASKS, Problem, parse_prompt
from minireason.tasks.trace import split_tries
from minireason.tokenizer import printable
from minireason.tools import inspector
from minireason.upkeep.command import Fault
from minireason.verifier import split_completion, verify

MARKS = {   # kind -> what the legend says
    "try": "a candidate is tried", "retry": "another one, after one that was stated as failed",
    "no": "stated as failed", "yes": "stated as a success, and it is one", "false-yes": "stated as a success, and it is none",
    "wrong": "a step that evaluates wrong", "repair": "the same step later, evaluated right"}
STYLE = r"""
body { font: 16px/1.55 system-ui, sans-serif; color: #1d2733; max-width: 66rem; margin: 0 auto; padding: 0 1rem 4rem;
       overflow-wrap: anywhere }
h2 { margin-top: 3rem; border-bottom: 2px solid #1b6ca8 }
nav a { display: inline-block; margin-right: 1.2rem; padding: .3rem 0 }
.box { overflow-x: auto; margin: 1rem 0 }
.box img { display: block; width: 100%; min-width: 36rem; max-width: 54rem }
table { border-spacing: 0; font-variant-numeric: tabular-nums }
th, td { padding: .3rem .7rem; border-bottom: 1px solid #dde3ea; text-align: right; white-space: nowrap; vertical-align: top }
thead th { white-space: normal; overflow-wrap: normal }
th:first-child { text-align: left; position: sticky; left: 0; background: #fff }
td small { display: block; color: #5b6875 }
@media (max-width: 40rem) { th, td { padding: .3rem .4rem } tbody th { white-space: normal; min-width: 6rem } }
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
mark.retry::before { content: "\21BA\A0" }
mark.no { background: #dfe4ea }
mark.yes { background: #bfe5cb }
mark.yes::after { content: "\A0\2713" }
mark.false-yes { background: #c8384f; color: #fff }
mark.false-yes::after { content: "\A0\2717" }
mark.wrong { text-decoration: underline wavy #c8384f }
mark.repair { border-bottom: 3px double #2e8b57 }
.legend span { display: inline-block; margin-right: 1.2rem }
"""


def safe(value: object) -> str:
    """Any value as text that is text and nothing else in HTML."""
    return html.escape(printable(str(value)))


def grid(lines: list[str]) -> str:
    """A table of Markdown, such as `evaluate.table` writes, in a box of its own to scroll in."""
    rows = [[safe(cell.strip()) for cell in line.strip("|").split("|")] for line in lines]
    head = "".join(f'<th scope="col">{cell}</th>' for cell in rows[0])
    body = "".join(f'<tr><th scope="row">{name}</th>' + "".join(
        "<td>" + re.sub(r" (\[.*?\])", r" <small>\1</small>", cell) + "</td>" for cell in cells) + "</tr>\n"
        for name, *cells in rows[2:])
    return f'<div class="box" tabindex="0"><table><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>'


def picture(path: Path) -> str:
    """A figure, carried inside the page."""
    data = base64.b64encode(path.read_bytes()).decode()
    return f'<div class="box" tabindex="0"><img alt="{safe(path.stem)}" src="data:image/png;base64,{data}"></div>'


def find_marks(problem: Problem, thinking: str) -> list[tuple[int, int, str]]:
    """Where the thinking does what behaviour.py counts. Returns (start, end, kind) in order, none over another."""
    task, marks, asked_wrong = TASKS[problem.task], [], set()
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


def transcript(sample: dict) -> str:
    """One answer: the prompt, the verdict, and what was said, with its marks."""
    completion, parts = sample["completion"], split_completion(sample["completion"])
    thinking, at, pieces, remarks = parts[0] if parts else completion, 0, [], []
    verdict = "" if "correct" not in sample else "right" if sample["correct"] else "wrong"
    try:
        problem = parse_prompt(sample["prompt"])
    except ValueError:                                   # chat
        problem = None
    for start, end, kind in find_marks(problem, thinking) if problem else ():
        pieces += [safe(thinking[at:start]), f'<mark class="{kind}" title="{MARKS[kind]}">{safe(thinking[start:end])}</mark>']
        at = end
    said = f'<span class="thinking">{"".join(pieces)}{safe(thinking[at:])}</span>'
    if parts:
        said = (f'<i>&lt;think&gt;</i>{said}<i>&lt;/think&gt;&lt;answer&gt;</i><b class="answer">{safe(parts[1])}</b>'
                "<i>&lt;/answer&gt;</i>")
    if problem and verdict == "wrong":
        remarks.append(verify(problem, completion).reason)
    if problem and observe(problem, completion).mixed:
        remarks.append("two languages")
    remark = ": ".join(filter(None, (verdict, "; ".join(remarks))))
    return f'<article class="{verdict}"><p><b>{safe(sample["prompt"])}</b> {safe(remark)}</p><p class="said">{said}</p></article>'


def transcripts(stages: dict) -> str:
    """What each stage said, one fold a stage; the last is open."""
    legend = "".join(f'<span><mark class="{kind}">{kind.replace("-", " ")}</mark> {says}</span> ' for kind, says in MARKS.items())
    parts = [f'<p class="legend"><span><span class="thinking">thinking</span></span>{legend}'
             '<span><b class="answer">answer</b> framed green where it is right, red where it is wrong</span></p>']
    for stage, result in stages.items():
        parts.append(f"<details{' open' * (stage == list(stages)[-1])}><summary>{safe(stage)}</summary>")
        for task in (*TASKS, "chat"):
            parts += [f"<h4>{task}</h4>", *map(transcript, result[task]["samples"])]
        parts.append("</details>")
    return "\n".join(parts)


def token_by_token(run: Path | str, stages: dict) -> str:
    """The inspector's view of a held-out countdown problem: what rl thinks of what is said where it began."""
    samples, rows = stages["rl"]["countdown"]["samples"] if "rl" in stages else [], []
    try:
        for sample in sorted(samples, key=lambda sample: not sample["correct"]):
            problem = parse_prompt(sample["prompt"])
            rows, speaker = inspector.inspect_run(run, "rl", problem, group_size=4)
            if len({row["reward"] for row in rows}) > 1:     # a group that teaches something
                break
    except (ValueError, OSError, Fault):                 # missing or damaged
        rows = []
    if not rows:
        return "<p>There are no checkpoints here that can be looked at.</p>"
    return (f"<p>{safe(speaker)} speaks and rl judges: green where rl finds a token likelier, red where less likely, a line under "
            "it where its ratio is clipped. The numbers of a token show under the pointer.</p>"
            + inspector.as_html(rows, problem.prompt))


def as_html(run: Path | str, results: dict, figures: list[Path], levels: list[str], behaviours: list[list[str]]) -> str:
    """The whole page. `figures` are paths, `levels` a table of Markdown, `behaviours` one for each task."""
    stages, config = results["stages"], results["config"]
    last = list(stages.values())[-1]
    counted = ", ".join([*(f"{last[task]['accuracy']['num_problems']} of {task}" for task in TASKS),
                         f"{last['chat']['leaks']['num_problems']} chat prompts of each kind"])
    sections = {
        "stages": f"<p>Held-out problems ({counted}), one answer each at temperature 1; brackets are 95% Wilson intervals of "
                  "this one run. Tokens, form and mixing are means over arithmetic and countdown.</p>"
                  f"{grid(table(stages))}{picture(figures[0])}<h3>By level</h3>{grid(levels)}",
        "curves": "".join(map(picture, figures[1:])) or "<p>No stage of RL was trained.</p>",
        "behaviours": "<p>Shares as behaviour.py defines them; tokens and tries are means of a completion.</p>"
                      + "".join(map(grid, behaviours)),
        "transcripts": transcripts(stages),
        "tokens": token_by_token(run, stages),
        "time and notes": "<ul>" + "".join(
            [f"<li>{safe(name)}: {seconds:.0f} s</li>" for name, seconds in results["seconds"].items()]
            + [f"<li>{safe(name)}: {safe(value)}</li>" for name, value in results["notes"].items()]) + "</ul>"}
    identify = {name: name.replace(" ", "-") for name in sections}
    nav = "".join(f'<a href="#{identify[name]}">{name}</a>' for name in sections)
    body = "\n".join(f'<section id="{identify[name]}"><h2>{name.capitalize()}</h2>\n{content}</section>'
                     for name, content in sections.items())
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>A run of minireason</title><style>{STYLE}</style></head>
<body><h1>A run of minireason</h1>
<p><code>{safe(results["command"])}</code>, seed {safe(config["seed"])}, {safe(config["algo"].upper())}</p><nav>{nav}</nav>
{body}
</body></html>
"""
