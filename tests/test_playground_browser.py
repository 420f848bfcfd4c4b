"""The playground in a real browser: typed into, clicked, branched, compared, voted, trained.

pip install -r tests/browser/requirements.txt, and an installed Chromium; else these tests are skipped.
"""

import shutil

import pytest
from test_playground import bare_copy, run_with_film, serving

from minireason.run import PRETRAINED
from minireason.tools.playground.server import make_server

playwright = pytest.importorskip("playwright.sync_api", reason="needs tests/browser/requirements.txt")
BROWSER = (shutil.which("chromium") or shutil.which("chromium-browser")
           or shutil.which("google-chrome") or shutil.which("chrome"))
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not BROWSER, reason="no Chromium is installed")]


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    own = run_with_film(folder / "own")
    with serving(make_server([PRETRAINED, own, bare_copy(own, folder / "bare")], 0)) as server:
        yield f"http://127.0.0.1:{server.server_port}/"


@pytest.fixture(scope="module")
def browser(address):
    """Closed before the server is: then its requests end, and the server waits for them."""
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def page(browser, address):
    """The page as it opens, with its first answer. What the console says against it fails the test."""
    complaints = []
    context = browser.new_context(viewport={"width": 380, "height": 800})
    page = context.new_page()
    page.set_default_timeout(600_000)        # a busy machine is not a bug

    def hear(message):
        if message.type in ("error", "warning"):
            complaints.append(message.text)

    page.on("console", hear)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(address)
    page.wait_for_selector("#answer [role=button]")
    yield page
    # a prompt that cannot be read is answered with status 400, which Chromium always mentions
    assert [text for text in complaints if "status of 400" not in text] == []
    context.close()


def ask(page, prompt):
    page.fill("#prompt", prompt)
    page.press("#prompt", "Enter")
    page.wait_for_selector("#verdict:not(:empty)")
    page.wait_for_selector("#answer [role=button]")


def test_a_typed_prompt_is_answered_and_a_token_leads_elsewhere(page):
    ask(page, "make 45 from 3 6 8")
    first = page.inner_text("#answer")
    assert page.inner_text("#verdict").startswith(("Right", "Wrong"))
    buttons = page.locator("#others button")
    page.locator("#answer .token", has_text="-").first.hover()
    assert buttons.count() == 6
    page.hover("h1")
    assert buttons.count() == 0         # what is only pointed at leaves with the pointer
    page.locator("#answer .token", has_text="-").first.click()
    page.locator("#answer .token").nth(3).hover()
    page.hover("h1")
    assert buttons.count() == 6 and page.locator("#answer [aria-pressed=true]").inner_text() == "-"
    buttons.nth(1).click()
    page.wait_for_selector("#answer .chosen")
    page.wait_for_selector("#own:not([hidden])")
    page.wait_for_selector("#answer [role=button]")
    assert page.inner_text("#answer") != first
    page.click("#own")
    page.wait_for_selector("#answer .chosen", state="detached")
    page.wait_for_selector("#answer [role=button]")
    assert page.inner_text("#answer") == first


def test_what_was_typed_is_answered_once_when_the_reader_leaves_the_box(page):
    asked = []
    page.on("request", lambda request: asked.append(request.url.rsplit("/", 1)[1]))
    page.click("#ask summary")
    for box, text in (("#prompt", "compute 7*7+8*3-9"), ("#temperature", "1"), ("#seed", "12")):
        page.locator(box).fill("")
        page.locator(box).press_sequentially(text)
        assert asked == [] and page.inner_text("#answer") == ""
        page.click("h1")
        page.wait_for_selector("#answer [role=button]")
        assert asked == ["think"]
        asked.clear()
    assert "temperature=1&seed=12" in page.url
    page.fill("#seed", "13")
    page.click("#answer-button")            # which is also a way to leave the box
    page.wait_for_selector("#answer [role=button]")
    page.fill("#seed", "14")
    page.click("#tab-compare")              # the open tab answers, not the one that was left
    page.locator("#columns article:last-child .verdict:not(:empty)").wait_for()
    assert asked == ["think"] * (1 + page.locator("#columns article").count())


def test_a_value_that_was_typed_and_taken_back_is_answered_too(page):
    text = page.inner_text("#answer")
    page.focus("#prompt")
    page.keyboard.press("End")
    page.keyboard.type("1")
    page.keyboard.press("Backspace")
    assert page.inner_text("#answer") == ""
    page.click("h1")
    page.wait_for_selector("#answer [role=button]")
    assert page.inner_text("#answer") == text


def test_the_page_says_what_the_included_weights_are(page):
    said = page.inner_text("#about")
    assert page.inner_text("#run option:checked") == "the included weights"
    assert said.startswith("The included weights come with the repository") and "python train.py" in said


def test_keys_alone_are_enough(page):
    page.focus("#answer [role=button]")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    assert page.locator("#answer [aria-pressed=true]").count() == 1
    page.wait_for_selector("#others button")
    word = page.locator("#answer .try").first
    assert word.get_attribute("aria-label").startswith("try, ")         # what a screen reader says of it
    assert word.get_attribute("aria-label").endswith("a candidate")
    page.focus("#tab-think")
    page.keyboard.press("ArrowRight")
    assert page.locator("#compare").is_visible() and not page.locator("#think").is_visible()


def test_a_link_shows_the_same_again(page, address):
    ask(page, "compute 3+4*2")
    page.locator("#answer .token").nth(3).click()
    page.locator("#others button").nth(1).click()
    page.wait_for_selector("#answer .chosen")
    page.wait_for_selector("#answer [role=button]")
    link, text = page.url, page.inner_text("#answer")
    page.goto("about:blank")
    page.goto(link)
    page.wait_for_selector("#answer [role=button]")
    assert page.input_value("#prompt") == "compute 3+4*2" and page.inner_text("#answer") == text


def test_a_stage_chosen_from_the_list_answers_at_once(page):
    page.select_option("#stage", "base")
    page.wait_for_selector("#answer [role=button]")
    assert "stage=base" in page.url
    page.click("#tab-compare")          # all stages answer here, and in the film
    assert page.is_disabled("#stage")
    page.select_option("#compare-by", "runs")
    page.wait_for_selector("#columns article:nth-child(2) .verdict:not(:empty)")
    assert not page.is_disabled("#stage")
    page.click("#tab-film")
    assert page.is_disabled("#stage") and page.inner_text("#answer-button") == "Answer"
    page.click("#tab-lab")
    assert not page.is_disabled("#stage") and page.inner_text("#answer-button") == "Begin"


def test_all_stages_answer_side_by_side(page):
    page.click("#tab-compare")
    page.click("#score")        # which lets them answer first
    assert "Scoring base, cold-start" in page.inner_text("#working-said")
    num_stages = page.locator("#stage option").count()
    assert page.locator("#columns .score").all_inner_texts() == ["scoring\u2026"] * num_stages
    for i in range(num_stages):
        page.wait_for_selector(f"#columns article:nth-child({i + 1}) .verdict:not(:empty)")
        page.locator(f"#columns article:nth-child({i + 1}) .score", has_text="of 100 right").wait_for()


def test_one_stage_of_several_runs_answers_side_by_side(page):
    page.click("#tab-compare")
    page.select_option("#compare-by", "runs")
    page.click("#ask .primary")
    page.wait_for_selector("#columns article:nth-child(2) .verdict:not(:empty)")
    page.wait_for_selector("#columns article:nth-child(3) .verdict:not(:empty)")
    texts = page.locator("#columns .answer").all_inner_texts()
    assert len(texts) == 3 and len(set(texts)) == 1         # two are copies of the first


def test_the_film_moves_by_its_slider_and_by_its_buttons(page):
    page.select_option("#run", index=1)
    page.click("#tab-film")
    page.wait_for_selector("#moments button:nth-child(3).good, #moments button:nth-child(3).bad")
    assert page.locator("#film-charts svg").count() == 2 and page.inner_text("#film-missing") == ""
    assert page.inner_text("#moment-shown") == "before RL"
    before = page.locator("#film-charts .mark").first.get_attribute("x1")
    page.focus("#moment")
    page.keyboard.press("ArrowRight")
    assert page.inner_text("#moment-shown") == "after 43 iterations of RL"
    assert page.locator("#film-answers article:visible").count() == 1
    assert float(page.locator("#film-charts .mark").first.get_attribute("x1")) > float(before)
    page.click("#moments button:nth-child(3)")
    assert page.input_value("#moment") == "2" and "moment=2" in page.url
    page.click("#play")
    page.locator("#moment-shown", has_text="after 43").wait_for()


def test_a_run_without_snapshots_shows_the_start_and_the_end_of_its_rl(page):
    page.select_option("#run", index=2)
    page.fill("#prompt", "compute 2+3")
    page.click("#tab-film")
    page.wait_for_selector("#moments button:nth-child(2).good, #moments button:nth-child(2).bad")
    assert page.locator("#moments button").count() == 2 and page.locator("#film-charts svg").count() == 0
    said = page.inner_text("#film-missing")
    assert "no snapshots" in said and "no curves" in said and "--rl-snapshots 6" in said
    page.focus("#moment")
    page.keyboard.press("ArrowRight")
    assert page.inner_text("#moment-shown").startswith("after ")
    assert page.locator("#film-answers article:visible").count() == 1


def test_the_included_run_has_a_film(page):
    page.click("#tab-film")
    page.locator("#film-answers article:visible").first.wait_for()
    assert page.inner_text("#film-missing") == ""


def test_long_work_says_how_far_it_is_and_is_stopped(page):
    page.click("#tab-more")
    page.wait_for_selector("#stop[hidden]", state="attached")
    page.select_option("#votes", "256")
    page.click("#vote")
    page.locator("#working-said", has_text="of 256 answers").wait_for()
    page.click("#stop")
    page.wait_for_selector("#stop[hidden]", state="attached")
    assert page.inner_text("#working-said") == "" and not page.inner_text("#vote-said").startswith("256")


def test_a_link_that_is_pasted_into_the_open_page_is_followed(page):
    page.evaluate("location.hash = 'tab=think&prompt=compute+3%2B4&stage=base&temperature=1&seed=3'")
    playwright.expect(page.locator("#prompt")).to_have_value("compute 3+4")
    page.wait_for_selector("#answer [role=button]")
    assert page.input_value("#stage") == "base" and page.input_value("#seed") == "3"
    links = page.locator("#exercises a")
    page.click("#exercises summary")
    assert links.count() == 5
    links.nth(3).click()
    assert page.locator("#lab").is_visible() and page.input_value("#stage") == "cold-start"


@pytest.mark.parametrize("width, height", [(390, 844), (1280, 800)])
def test_the_answer_is_in_sight_on_a_phone_and_on_a_desk(page, width, height):
    page.set_viewport_size({"width": width, "height": height})
    box = page.locator("#verdict").bounding_box()
    assert box["y"] + box["height"] < height
    assert not page.locator("#seed").is_visible()       # what few need is folded
    page.click("#ask summary")
    page.wait_for_selector("#seed")


def test_a_finger_on_a_token_brings_what_else_it_might_have_said_into_sight(browser, address):
    context = browser.new_context(viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True)
    page = context.new_page()
    page.set_default_timeout(600_000)
    page.goto(address)
    page.wait_for_selector("#answer [role=button]")
    page.locator("#answer .token").last.tap()
    assert page.locator("#others button").count() == 6
    box = page.locator("#others").bounding_box()
    assert 0 < box["y"] and box["y"] + box["height"] <= 844
    context.close()


def test_a_vote_and_a_budget(page):
    page.click("#tab-more")
    page.select_option("#votes", "16")
    page.click("#vote")
    page.wait_for_selector("#bars .bar")
    assert page.inner_text("#vote-said").startswith("16 answers")
    page.wait_for_selector("#forced-verdict:not(:empty)")       # of the budget that the page begins with
    page.focus("#budget")
    page.keyboard.press("End")
    page.wait_for_selector("#forced-verdict.good")
    assert "budget=208" in page.url and page.inner_text("#budget-shown") == "208 tokens"


def test_chat_is_told_what_it_cannot_do_before_it_asks(page):
    ask(page, "hello my name is ana")
    assert page.inner_text("#verdict").startswith("No secret")
    for tab, button in (("more", "#vote"), ("lab", "#reset")):
        page.click(f"#tab-{tab}")
        assert "need" in page.inner_text(f"#{tab}-note") and page.is_disabled(button)
        page.fill("#prompt", "compute 2+3")
        assert page.inner_text(f"#{tab}-note") == "" and not page.is_disabled(button)
        page.fill("#prompt", "hello my name is ana")
    assert page.inner_text("#error") == ""


def test_an_empty_box_is_refused(page):
    page.click("#ask summary")
    page.fill("#temperature", "")
    page.press("#temperature", "Enter")
    page.locator("#error", has_text="Temperature is a number").wait_for()
    page.click("#tab-lab")
    page.fill("#seed", "")
    page.click("#reset")
    page.locator("#error", has_text="Seed is a number").wait_for()
    page.wait_for_selector("#reset:not([disabled])")
    assert page.inner_text("#reset") == "Begin"         # nothing has begun


def test_a_lab_whose_boxes_were_changed_takes_no_step(page):
    page.fill("#prompt", "compute 2+3")
    page.click("#tab-lab")
    page.click("#reset")
    page.wait_for_selector("#step:not([disabled])")
    for _ in range(2):          # the second one samples its group itself
        page.click("#step")
        page.wait_for_selector("#sample:not([disabled])")
    assert page.inner_text("#lab-said").startswith("Step 2")
    page.select_option("#algo", "ppo")
    assert "Begin again" in page.inner_text("#lab-note")
    assert page.is_disabled("#step") and page.is_disabled("#ten") and page.is_disabled("#sample")
    page.select_option("#algo", "grpo")
    assert page.inner_text("#lab-note") == "" and not page.is_disabled("#step")


def test_a_lab_that_has_learned_is_ended_only_if_the_reader_says_so(page):
    questions = []
    page.once("dialog", lambda dialog: questions.append(dialog.message) or dialog.dismiss())
    page.fill("#prompt", "compute 2+3")
    page.click("#tab-lab")
    page.click("#ask summary")
    page.click("#answer-button")
    page.wait_for_selector("#step:not([disabled])")
    page.click("#step")
    page.wait_for_selector("#sample:not([disabled])")
    name, said = page.evaluate("lab"), page.inner_text("#lab-said")
    assert questions == [] and page.inner_text("#answer-button") == "Begin again"
    page.press("#prompt", "Enter")          # a slip
    assert len(questions) == 1 and "1 of 30 steps" in questions[0]
    page.once("dialog", lambda dialog: dialog.accept())
    page.fill("#seed", "")
    page.click("#reset")                    # this one is refused
    page.locator("#error", has_text="Seed is a number").wait_for()
    page.fill("#seed", "0")
    assert page.evaluate("[lab, stepsDone]") == [name, 1] and page.inner_text("#lab-said") == said
    page.click("#step")                     # so the lab goes on
    page.wait_for_selector("#sample:not([disabled])")
    assert page.evaluate("stepsDone") == 2
    page.once("dialog", lambda dialog: dialog.accept())
    page.click("#reset")
    page.wait_for_selector("#step:not([disabled])")
    assert page.evaluate("stepsDone") == 0 and page.evaluate("lab") != name
    assert page.locator("#lab-chart .line.former").count() == 1


def test_a_lab_learns_with_a_bug_and_shows_the_critics_curve(page):
    page.click("#tab-lab")
    page.click("#lab summary:has-text('bugs')")
    page.select_option("#bug", "bootstrap past the end")
    assert page.input_value("#algo") == "ppo" and "padding" in page.inner_text("#bug-said")
    page.select_option("#group-size", "8")
    page.click("#reset")
    page.wait_for_selector("#step:not([disabled])")
    assert page.locator("#group svg text").count() == 0     # a new critic expects 0 of every token
    page.click("#step")
    page.wait_for_selector("#sample:not([disabled])")
    assert "The critic expected 0 everywhere" in page.inner_text("#lab-said")
    page.click("#sample")
    page.wait_for_selector("#group svg text")
    assert page.locator("#group svg text").count() > 8 and "bug" in page.inner_text("#lab-chart h3")
    for width, most in ((1280, 1.3), (390, 1.5)):           # how much longer the curves make the page
        page.set_viewport_size({"width": width, "height": 800})
        hidden, shown = page.evaluate(HEIGHTS)
        assert hidden < shown < most * hidden
        assert page.evaluate("document.documentElement.scrollWidth") <= width


HEIGHTS = """() => {
  const heights = [], curves = [...document.querySelectorAll("#group svg")];
  for (const display of ["none", ""]) {
    for (const curve of curves) curve.style.display = display;
    heights.push(document.getElementById("group").offsetHeight);
  }
  return heights;
}"""


def test_ten_steps_of_grpo_make_a_prompt_easier(page):
    page.click("#tab-lab")
    page.select_option("#stage", "cold-start")
    page.click("#reset")
    page.wait_for_selector("#step:not([disabled])")
    assert page.locator("#group article").count() == 16
    page.click("#step")
    page.wait_for_selector("#group .up")
    assert page.locator("#group table tr").count() == 9      # eight tokens under a heading
    page.check("#numbers")
    numbers = page.locator("#group .token").evaluate_all("tokens => tokens.map(t => t.dataset.numbers)")
    assert any("\u2192" in number for number in numbers)        # before and after the step
    page.emulate_media(color_scheme="dark")
    assert page.evaluate(CONTRAST) == []
    page.wait_for_selector("#ten:not([disabled])")
    page.click("#ten")
    page.locator("#lab-chart circle").nth(10).wait_for()
    before, now = page.evaluate("[passRates[0].right, passRates[10].right]")
    assert now > before


@pytest.mark.parametrize("prompt", ["<b>bold</b>", "\"'>&amp;", "make <script> from 1", "a" * 200])
def test_whatever_is_typed_stays_text(page, prompt):
    page.fill("#prompt", prompt)
    page.press("#prompt", "Enter")
    page.wait_for_selector("#error:not(:empty), #verdict:not(:empty)")
    assert page.locator("#answer b, #answer script, #error b, #error script").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [380, 1280])
def test_nothing_is_wider_than_the_window(page, width, scheme):
    page.set_viewport_size({"width": width, "height": 800})
    page.emulate_media(color_scheme=scheme)
    for tab in ("think", "compare", "more", "lab", "film"):
        page.click(f"#tab-{tab}")
        assert page.evaluate("document.documentElement.scrollWidth") <= width


CONTRAST = """() => {
  const channels = color => color.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(c => c / 255)
    .map(c => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const paper = place => {
    for (let at = place; at; at = at.parentElement) {
      const color = channels(getComputedStyle(at).backgroundColor);
      if (color.length === 3 || color[3] > 0) return color;
    }
  };
  const low = [];
  for (const place of document.querySelectorAll("body *")) {
    const hasText = [...place.childNodes].some(node => node.nodeType === 3 && node.textContent.trim());
    if (!hasText || place.disabled || !place.offsetParent) continue;
    const one = light(channels(getComputedStyle(place).color)), other = light(paper(place));
    const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    if (ratio < 4.5) low.push(`${place.className || place.tagName} ${ratio.toFixed(2)}`);
  }
  return low;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_stands_out_from_its_ground(page, scheme):
    """The ratio of WCAG 2.1, at least 4.5."""
    page.emulate_media(color_scheme=scheme)
    for tab in ("think", "compare", "more", "lab", "film"):
        page.click(f"#tab-{tab}")
        assert page.evaluate(CONTRAST) == []
