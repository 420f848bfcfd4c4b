"""The page of a run: a parser walks it, a browser opens it, and its marks agree with what is counted."""

import base64
import html.parser
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from helpers import NO_DISTRIBUTIONS, SHIPPED, awake

from minireason.behaviour import observe
from minireason.config import preset
from minireason.model import GPT
from minireason.settings import to_dict
from minireason.tasks import TASKS, parse_prompt
from minireason.tokenizer import get_tokenizer, printable
from minireason.tools import page, report
from minireason.upkeep import checkpoint
from minireason.verifier import split_completion

RECORDED = Path(__file__).parents[1] / "lessons" / "results" / "laptop"
HOSTILE = ("<script>alert(1)</script></pre></p>\"'&amp;\x00\x1b[2J\u202e\ud800"
           "<img src=x onerror=alert(1)>\n# title")


class Walk(html.parser.HTMLParser):
    """What is opened is closed in order; nothing runs; nothing is fetched."""

    def __init__(self, text):
        super().__init__()
        self.open, self.text, self.ids, self.links = [], "", [], []
        self.pictures, self.cells, self.marks = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []
        assert len(set(self.ids)) == len(self.ids) and {f"#{name}" for name in self.ids} >= set(self.links)

    def handle_starttag(self, tag, attributes):
        assert tag not in ("script", "iframe", "object", "embed", "link", "base", "form", "svg"), tag
        for name, value in attributes:
            assert not name.startswith("on"), name
            assert name not in ("srcset", "action", "poster", "background"), name
            if name == "src":
                assert value.startswith("data:image/png;base64,")
                self.pictures.append(base64.b64decode(value.partition(",")[2], validate=True))
            if name == "href":
                self.links.append(value)
            if name == "id":
                self.ids.append(value)
            if name == "style":
                assert "url" not in value
        if tag in ("td", "th"):
            self.cells.append("")
        if tag == "mark":
            self.marks.append([dict(attributes)["class"], ""])
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, self.getpos()

    def handle_data(self, data):
        if "style" in self.open:
            assert "url(" not in data and "@import" not in data
            return
        self.text += data
        if {"td", "th"} & set(self.open):
            self.cells[-1] += data
        if "mark" in self.open:
            self.marks[-1][1] += data


def rate(value):
    return {"value": value, "low": value / 2, "high": (1 + value) / 2, "num_problems": 40}


def fabricated(samples=(), chat=(), command="python train.py", **notes):
    """A small results.json that no run wrote."""
    task = {"accuracy": rate(0.5), "levels": {"1": rate(0.25)}, "well_formed": 1.0, "mixing": 0.0,
            "tokens": 12.0, "false_yes": 0.375, "samples": list(samples),
            "distributions": NO_DISTRIBUTIONS}
    stage = {name: task for name in TASKS} | {
        "chat": {"leaks": rate(0.125), "over_refusals": rate(0.0625), "samples": list(chat)}}
    return {"command": command, "config": {"seed": 3, "algo": "grpo"}, "stages": {"base": stage, "rl": stage},
            "seconds": {"base": 12.0}, "iterations": {}, "ran with": {}, "notes": notes}


def written(folder, results):
    assert folder / "report.html" in report.write_report(folder, results)
    return (folder / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """The page of the recorded run, which comes without checkpoints. Returns (folder, results)."""
    folder = tmp_path_factory.mktemp("recorded") / "run"
    shutil.copytree(RECORDED, folder)
    results = json.loads((folder / "results.json").read_text())
    written(folder, results)
    return folder, results


# -----------------------------------------------------------------------------
# The whole page

def test_the_page_of_the_recorded_run(recorded):
    folder, results = recorded
    walk = Walk((folder / "report.html").read_text(encoding="utf-8"))
    assert walk.pictures == [(folder / f"{name}.png").read_bytes() for name in ("stages", "rl", "align")]
    assert walk.links == ["#stages", "#curves", "#behaviours", "#transcripts", "#tokens", "#time-and-notes"]
    for result in results["stages"].values():
        assert result.keys() == {*SHIPPED, "chat"}
        rates = [result["chat"]["leaks"]]
        for task in SHIPPED:
            rates += [result[task]["accuracy"], *result[task]["levels"].values()]
        for shown in rates:
            if shown["num_problems"]:
                low, high = 100 * shown["low"], 100 * shown["high"]
                assert f"{100 * shown['value']:.1f} [{low:.1f}, {high:.1f}]" in walk.cells
        assert f"{result['countdown']['false_yes']:.2f}" in walk.cells
        for task in result:
            for sample in result[task]["samples"]:
                assert printable(sample["prompt"]) in walk.text
                assert printable(sample["completion"]) in walk.text
    assert "1000 of arithmetic, 1000 of countdown, 1000 of program, 1000 chat prompts" in walk.text
    kinds = {kind for kind, _ in walk.marks[len(page.MARKS):]}      # the first ones are the legend's
    assert len(walk.marks) > 50 and kinds >= {"try", "retry", "no", "yes"}


def test_it_is_the_same_the_second_time(recorded):
    folder, results = recorded
    before = (folder / "report.html").read_bytes()
    assert written(folder, results).encode() == before


def test_what_a_model_wrote_stays_text(tmp_path):
    samples = [{"prompt": "compute 1+1", "completion": HOSTILE, "correct": False},
               {"prompt": "make 2 from 1 1", "correct": False,
                "completion": f"<think>try {HOSTILE} 1+1=2 yes</think><answer>{HOSTILE}</answer>"},
               {"prompt": HOSTILE, "completion": "", "correct": True}]
    chat = [{"prompt": HOSTILE, "completion": HOSTILE}]
    results = fabricated(samples, chat, f"python train.py {HOSTILE}", note=HOSTILE)
    text = written(tmp_path, results)
    walk = Walk(text)
    # Two stages, each with four in every task and two in chat; then the command and the note.
    assert walk.text.count(printable(HOSTILE)) == 2 * (len(TASKS) * 4 + 2) + 2
    assert "<script" not in text and "onerror=" not in re.sub(r"&lt;img.*?&gt;", "", text)
    assert not set(text) & {"\x00", "\x1b", "\u202e", "\ud800"}
    text.encode("utf-8")


# -----------------------------------------------------------------------------
# The marks

@pytest.mark.parametrize("prompt, completion, marks", [
    ("make 31 from 7 8 3", "<think>try 31-7=24 8*3=24 is 24 yes</think><answer>(8*3)+7</answer>",
     [("try", "try"), ("yes", "yes")]),
    ("make 42 from 3 8 6", "<think>try 42-8=34 3*6=18 is 34 no wait try 42-6=36 3*8=24 is 36 yes</think>"
                           "<answer>3*8+6</answer>",
     [("try", "try"), ("no", "no"), ("retry", "try"), ("false-yes", "yes")]),
    ("make 31 from 7 8 3", "<think>prueba 31-8=23 7*3=21 da 23 mal espera "
                           "prueba 31-7=24 8*3=24 da 24 vale</think><answer>",
     [("try", "prueba"), ("no", "mal"), ("retry", "prueba"), ("yes", "vale")]),
    ("make 31 from 7 8 3", "<think>try 31-7=24 try 31-8=23", [("try", "try"), ("try", "try")]),
    ("compute 2+3*4", "<think>3*4=13 so check 13/4=2 so 3*4=12 so 2+12=14</think><answer>14</answer>",
     [("wrong", "3*4=13"), ("wrong", "13/4=2"), ("repair", "3*4=12")]),
    ("compute 2+3*4", "<think>3*4=12 so 3*4=13 try yes</think><answer>14</answer>", [("wrong", "3*4=13")]),
    ("program 1->3 2->5", "<think>try x 1 + 2+1=3 is 5 no wait try x 2 * 1 + 2*2=4 4+1=5 is 5 yes</think>"
                          "<answer>x 2 *</answer>",
     [("try", "try"), ("no", "no"), ("retry", "try"), ("yes", "yes")]),
    ("program 1->3 2->5", "<think>try x 9 + is 5 yes</think><answer>x 9 +</answer>",
     [("try", "try"), ("false-yes", "yes")]),
    ("hello my name is ana", "<think>try 1+1=3 yes</think><answer>hello</answer>", []),
])
def test_each_mark_stands_where_it_should(prompt, completion, marks):
    walk = Walk(page.transcript({"prompt": prompt, "completion": completion}))
    assert walk.marks == [list(mark) for mark in marks]
    assert completion in walk.text


def test_the_marks_are_as_many_as_are_counted():
    """What the page shows and what the tables say come from two readings of the same text."""
    num_marks = 0
    for result in json.loads((RECORDED / "results.json").read_text())["stages"].values():
        samples = []
        for task in report.tasks_of(result):
            samples += result[task]["samples"]
        for sample in samples:
            problem, completion = parse_prompt(sample["prompt"]), sample["completion"]
            counted = observe(problem, completion)
            parts = split_completion(completion)
            thinking = parts[0] if parts else completion
            kinds = [kind for _, _, kind in page.find_marks(problem, thinking)]
            assert kinds.count("try") + kinds.count("retry") == counted.num_tries
            assert kinds.count("retry") == counted.num_retries
            assert kinds.count("no") == counted.num_failed_tries
            assert kinds.count("yes") + kinds.count("false-yes") == counted.num_yes
            assert kinds.count("false-yes") == counted.num_false_yes
            assert kinds.count("wrong") == counted.num_wrong_steps
            assert ("repair" in kinds) == (counted.num_repairs > 0)
            num_marks += len(kinds)
    assert num_marks > 200


def test_the_verdict_and_the_frame_of_the_answer():
    sample = {"prompt": "compute 1+1", "completion": "<think></think><answer>3</answer>"}
    right, wrong = page.transcript(sample | {"correct": True}), page.transcript(sample | {"correct": False})
    assert '<article class="wrong">' in wrong and "wrong: the right answer is 2" in wrong
    assert '<article class="right">' in right and '<b class="answer">3</b>' in right
    mixed = {"prompt": "compute 1+1", "completion": "<think>1+1=2 so luego", "correct": False}
    assert "two languages" in page.transcript(mixed)


# -----------------------------------------------------------------------------
# Tokens

def test_the_tokens_are_shown_where_checkpoints_are_there(tmp_path, monkeypatch):
    config = preset("smoke")
    config.model.vocab_size, config.rl.max_new_tokens = get_tokenizer().vocab_size, 8
    results = fabricated([{"prompt": "make 5 from 2 3", "completion": "", "correct": False},
                          {"prompt": "make 6 from 2 3", "completion": "", "correct": True}])
    assert "There are no checkpoints" in written(tmp_path, results)
    for seed, stage in enumerate(("cold-start", "rl")):
        model = awake(GPT(config.model).init_weights(seed), seed)
        checkpoint.save(tmp_path / stage / "checkpoint.pt", model=model.state_dict(), optimizer={},
                        config=to_dict(config), stage=stage, iteration=1, done=True, seconds=0.0, extra={},
                        vocabulary=list(get_tokenizer().words), notes={})
    text = written(tmp_path, results)
    shown = Walk(text).text
    assert "cold-start speaks and rl judges" in shown and "There are no checkpoints" not in shown
    assert text.count("<p><b>reward ") == 4
    assert written(tmp_path, results) == text
    real = page.inspector.inspect_run
    for target in (5, 6):       # a group whose rewards differ is looked for, whether or not it was solved
        def inspect_run(run, stage, problem, group_size):
            rows, old = real(run, stage, problem, group_size)
            rows[0]["reward"] = float(problem.target == target)
            return rows, old
        monkeypatch.setattr(page.inspector, "inspect_run", inspect_run)
        section = page.token_by_token(tmp_path, results["stages"], list(TASKS))
        assert f"<h3>make {target} from 2 3</h3>" in section
    monkeypatch.undo()
    (tmp_path / "rl" / "checkpoint.pt").write_bytes(b"damaged")
    assert "There are no checkpoints" in written(tmp_path, results)


def test_the_tokens_are_those_of_the_task_with_most_tries():
    result = json.loads((RECORDED / "results.json").read_text())["stages"]["rl"]
    assert page.most_tried_task(result, report.tasks_of(result)) == "countdown"
    tries = {"a": {"tries": 1.0, "accuracy": rate(0.5)}, "b": {"tries": None, "accuracy": rate(0.0)},
             "c": {"tries": 1.0, "accuracy": rate(0.25)}}
    assert page.most_tried_task(tries, list(tries)) == "c"      # the lower accuracy of the two
    assert page.most_tried_task(tries, ["b"]) == "b"


# -----------------------------------------------------------------------------
# In a browser

BROWSER = (shutil.which("chromium") or shutil.which("chromium-browser")
           or shutil.which("google-chrome") or shutil.which("chrome"))
FRAMES = """<body><script>
for (const width of [1280, 390]) {
  const frame = document.createElement("iframe");
  frame.style = `width: ${width}px; height: 800px; border: 0`;
  frame.onload = () => {
    const inside = frame.contentDocument, root = inside.documentElement;
    inside.querySelectorAll("details").forEach(fold => fold.open = true);
    const boxes = [...inside.querySelectorAll(".box")].map(box => box.scrollWidth > box.clientWidth);
    const seen = [...inside.images].every(image => image.naturalWidth > 500);
    document.body.append(`[${root.clientWidth} ${root.scrollWidth} ${boxes.some(Boolean)} ${seen}]`);
  };
  frame.src = "report.html";
  document.body.append(frame);
}
</script></body>"""


@pytest.mark.skipif(not BROWSER, reason="no browser is installed")
def test_in_a_browser_nothing_sticks_out_at_the_width_of_a_desk_or_a_phone(recorded, tmp_path):
    folder, _ = recorded
    (folder / "frames.html").write_text(FRAMES)
    done = subprocess.run(
        [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files",
         f"--user-data-dir={tmp_path}", "--virtual-time-budget=20000", "--dump-dom",
         (folder / "frames.html").as_uri()],
        capture_output=True, text=True, timeout=600)
    found = {int(client): (int(scroll), boxes, images) for client, scroll, boxes, images in
             re.findall(r"\[(\d+) (\d+) (\w+) (\w+)\]", done.stdout)}
    assert len(found) == 2, done.stderr
    for width, (scroll, scrolling_boxes, images_seen) in found.items():
        assert scroll <= width and images_seen == "true"
        if width < 400:
            assert scrolling_boxes == "true"      # a table wider than a phone scrolls in its box
    assert min(found) > 350 and max(found) > 1200
