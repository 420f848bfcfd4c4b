"""Takes the README's two pictures of the playground. Run it again when the included weights change.

    pip install -r tests/browser/requirements.txt       and a Chromium
    python tests/browser/screenshots.py                 writes lessons/results/playground-{think,step}.png

think   an answer that is right at its third try or later, with what else the model might have said at the
        token of which it was least sure
step    a prompt that the cold start solves now and then, after four steps of GRPO

Which problems these are is looked for among the held-out ones, so that the pictures suit any weights.
"""

import argparse
import io
import shutil
import sys
import threading
from pathlib import Path
from urllib.parse import urlencode

from PIL import Image
from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT))

from minireason.behaviour import observe
from minireason.inference import answer_all
from minireason.run import PRETRAINED
from minireason.tasks import Problem, test_problems
from minireason.tools.playground.server import make_server
from minireason.tools.playground.thinking import Speaker
from minireason.verifier import verify

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
WIDTH = 900             # of the window; README.md shows a picture a little smaller
SCALE = 1.5             # pixels of the picture for each of the window
MAX_BYTES = 150_000
NUM_CANDIDATES = 100    # held-out problems that are looked at
MIN_TRIES, MAX_TOKENS = 3, 110
GROUP = 16
STEPS = 4


# -----------------------------------------------------------------------------
# Which problems

def candidates(speaker: Speaker) -> list[Problem]:
    levels = speaker.config.tasks.levels["countdown"]
    return test_problems("countdown", levels, NUM_CANDIDATES, seed=0)


def problem_that_takes_several_tries(speaker: Speaker) -> Problem:
    """The first held-out problem whose greedy answer is right, has three tries or more, and is short."""
    problems = candidates(speaker)
    prompts = [problem.prompt for problem in problems]
    answers = answer_all(speaker.model, speaker.tokenizer, prompts, MAX_TOKENS, seed=0, temperature=0)
    for problem, (text, _) in zip(problems, answers):
        if verify(problem, text).correct and observe(problem, text).num_tries >= MIN_TRIES:
            return problem
    raise ValueError(f"no answer of {NUM_CANDIDATES} is right after {MIN_TRIES} tries: raise NUM_CANDIDATES")


def problem_with_room(speaker: Speaker) -> Problem:
    """The first held-out problem to which a quarter to a half of 16 sampled answers are right."""
    limit = speaker.config.rl.max_new_tokens
    for problem in candidates(speaker):
        answers = answer_all(speaker.model, speaker.tokenizer, [problem.prompt] * GROUP, limit, seed=0)
        num_right = sum(verify(problem, text).correct for text, _ in answers)
        if GROUP / 4 <= num_right <= GROUP / 2:
            return problem
    raise ValueError(f"no problem of {NUM_CANDIDATES} is solved now and then: raise NUM_CANDIDATES")


# -----------------------------------------------------------------------------
# The pictures

def show_several_tries(page: Page, address: str, problem: Problem) -> None:
    """Opens the answer, and chooses the token of which the model was least sure."""
    state = {"tab": "think", "stage": "rl", "temperature": 0, "seed": 0, "prompt": problem.prompt}
    page.goto(f"{address}#{urlencode(state)}")
    page.wait_for_selector("#answer [role=button]")
    sureness = page.evaluate("shown.map(token => token.p)")
    page.locator("#answer .token").nth(sureness.index(min(sureness))).click()
    page.mouse.move(0, 0)


# The first right answer of the group stays, and the first wrong one: sixteen are too many for a picture.
HIDE_OTHERS = """() => {
  for (const kind of ["good", "bad"]) {
    for (const other of [...document.querySelectorAll(`#group .${kind}`)].slice(1)) other.hidden = true;
  }
}"""


def show_steps(page: Page, address: str, problem: Problem) -> None:
    """Opens the lab and takes some steps. A group that is equally good throughout would show nothing."""
    state = {"tab": "lab", "stage": "cold-start", "seed": 0, "algo": "grpo", "group-size": GROUP,
             "rate": "normal", "prompt": problem.prompt}
    page.goto(f"{address}#{urlencode(state)}")
    page.click("#reset")
    for step in range(STEPS):
        page.click("#step")
        page.locator("#lab-chart circle").nth(step + 1).wait_for()      # the pass rate after it
        page.wait_for_selector("#ten:not([disabled])")
        print(f"step {step + 1} of {STEPS}: {page.inner_text('#lab-said')[:60]}", flush=True)
    page.evaluate(HIDE_OTHERS)


def save_picture(page: Page, first: str, last: str, path: Path) -> None:
    """Saves what is from the top of one element to the end of another. Raises ValueError if it is large."""
    page.evaluate("scrollTo(0, 0)")
    top = page.locator(first).first.bounding_box()["y"]
    box = page.locator(last).bounding_box()
    clip = {"x": 0, "y": top - 12, "width": WIDTH, "height": box["y"] + box["height"] - top + 24}
    picture = Image.open(io.BytesIO(page.screenshot(full_page=True, clip=clip)))
    picture.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)
    size = path.stat().st_size
    print(f"{path}: {picture.width} x {picture.height} pixels, {size:,} bytes", flush=True)
    if size > MAX_BYTES:
        raise ValueError(f"{path} has more than {MAX_BYTES:,} bytes")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "lessons" / "results", help="folder")
    folder = parser.parse_args().out
    server = make_server([PRETRAINED], 0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}/"
    tries = problem_that_takes_several_tries(server.playground.speaker(PRETRAINED, "rl"))
    room = problem_with_room(server.playground.speaker(PRETRAINED, "cold-start"))
    print(f"think: {tries.prompt}\nstep: {room.prompt}", flush=True)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": 900}, device_scale_factor=SCALE,
                                color_scheme="light")
        page.set_default_timeout(600_000)
        show_several_tries(page, address, tries)
        save_picture(page, "#answer", "#others", folder / "playground-think.png")
        page.goto("about:blank")
        show_steps(page, address, room)
        save_picture(page, "#lab .row", "#lab", folder / "playground-step.png")
        browser.close()
    server.shutdown()


if __name__ == "__main__":
    main()
