"""What the pages show exists: files, links, commands, figures. README.md is one page, and its numbers are
those of the JSON files. PAGES are the pages that a visitor reads."""

import importlib.util
import inspect
import re
from pathlib import Path

import pytest
from helpers import SHIPPED

import sample
import train
from minireason.tasks import TASKS

ROOT = Path(train.__file__).parent
CLAIMS = sorted((ROOT / "lessons" / "results").glob("C[0-9]*.md"), key=lambda path: int(path.stem[1:]))
RESULTS = ["lessons/results/README.md", *(f"lessons/results/{path.name}" for path in CLAIMS),
           "lessons/results/kin.md", "lessons/results/bugs.md"]
NAMES = ["README.md", "lessons/README.md", *RESULTS, "tests/README.md", "tests/benchmarks/README.md",
         "minireason/tasks/README.md"]
PAGES = {name: (ROOT / name).read_text(encoding="utf-8") for name in NAMES}
README = PAGES["README.md"]
COURSE = PAGES["lessons/README.md"]
ALL = "\n".join(PAGES.values())
CODE_BLOCK = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(!?)\[[^]]*\]\(([^)\s]+)\)")


# -----------------------------------------------------------------------------
# One page

def test_the_readme_is_one_page():
    lines = README.splitlines()
    assert len(lines) <= 150
    assert all(len(line) <= 100 for line in lines if not line.startswith("|"))
    # without the targets of links, and without markers
    shown = re.sub(r"\]\([^)]*\)|<!--.*?-->", "", README).splitlines()
    assert max(len(line) for line in shown if line.startswith("|")) <= 135
    assert len(README.split()) <= 1800
    assert 1 <= README.count("![") <= 5


def prose(text):
    """The paragraphs of a page: no tables, no code, no headings."""
    paragraphs = re.split(r"\n\s*\n", CODE_BLOCK.sub("", text))
    return [part for part in paragraphs if not part.startswith(("|", "    ", "#", "![", "<!--"))]


def test_no_paragraph_of_the_readme_is_a_table_in_disguise():
    for paragraph in prose(README):
        assert paragraph.count("<!--/-->") <= 3, paragraph


def test_the_terms_of_the_readme_are_explained_where_they_are_first_used():
    """An explained term is in italics. No prose and no table uses it before that."""
    text = "\n".join(line for line in README.splitlines() if not line.startswith(("    ", "#", "![")))
    for term in ("held out", "verifier", "reward", "completion", "token", "advantage", "group",
                 "critic", "KL"):
        first = re.search(rf"\*?\b{term}\b", text)
        assert first and first[0].startswith("*"), term


def test_nothing_was_left_to_fill_in():
    assert "@@" not in ALL and "TODO" not in ALL


# -----------------------------------------------------------------------------
# Numbers

@pytest.fixture
def write(monkeypatch):
    """lessons/results/write.py, as a module."""
    path = ROOT / "lessons" / "results" / "write.py"
    spec = importlib.util.spec_from_file_location("write_results", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr("sys.argv", [str(path), "--check"])
    return module


def test_the_numbers_of_all_pages_are_those_of_the_json_files(write, capsys):
    assert write.main() == 0, capsys.readouterr().out


def test_a_number_that_is_not_that_of_its_file_is_found_and_put_right(write, tmp_path, monkeypatch, capsys):
    page = tmp_path / "README.md"
    page.write_text("It takes <!--minutes-->1234<!--/--> minutes.\n", encoding="utf-8")
    monkeypatch.setattr(write, "PAGES", [page])
    monkeypatch.setattr(write, "ROOT", tmp_path)
    assert write.main() == 1 and "README.md" in capsys.readouterr().out
    monkeypatch.setattr("sys.argv", ["write.py"])
    assert write.main() == 0 and "1234" not in page.read_text(encoding="utf-8")
    monkeypatch.setattr("sys.argv", ["write.py", "--check"])
    assert write.main() == 0


def test_an_arm_that_no_run_has_is_left_out_of_its_table(write, monkeypatch):
    """Thoughts of a single run have no other stages."""
    plain_read, run = write.read, write.read("thinking.json")["runs"][0]
    run = run | {"tasks": {"countdown": {"base": run["tasks"]["countdown"]["base"]}}}
    files = {"thinking.json": {"runs": [run]}}
    monkeypatch.setattr(write, "read", lambda name: files.get(name) or plain_read(name))
    lines = write.thinking().strip().splitlines()
    assert len(lines) == 3 and lines[2].startswith("| base | 1 |")


@pytest.mark.parametrize("name", NAMES)
def test_no_line_of_prose_begins_with_a_comment(name):
    """Markdown takes such a line for HTML: links and italics in it would stay as they are typed."""
    assert not re.search(r"^ *<!--[\w-]+-->.", PAGES[name], re.MULTILINE)


def test_each_number_that_the_script_can_write_is_asked_for(write):
    text = README + "\n".join(PAGES[name] for name in RESULTS)
    for name in [*write.NUMBERS, *write.TABLES]:
        assert f"<!--{name}-->" in text, name


# -----------------------------------------------------------------------------
# Files, links, figures

def anchors(text):
    """The places of a page that a link can name: its headings as GitHub spells them, and `<a id=...>`."""
    found = set(re.findall(r'<a id="([^"]+)">', text))
    for heading in re.findall(r"^#+ (.*)$", CODE_BLOCK.sub("", text), re.MULTILINE):
        found.add(re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-"))
    return found


def test_the_pages_of_the_claims_are_linked_in_their_order():
    """Each page of the results has the way back and on, and mostly to a lesson. README's row leads to it."""
    order = [*RESULTS[1:6], "lessons/results/kin.md", *RESULTS[6:-2], "lessons/results/bugs.md"]
    for place, name in enumerate(order):
        bar = PAGES[name].splitlines()[0]
        links = [target for _, target in LINK.findall(bar) if "rendered" not in target]
        around = [Path(other).name for other in order[max(0, place - 1):place + 2] if other != name]
        assert links == ["README.md", "README.md#words", *around], name
    rows = re.findall(r"^\| \[(C\d+)\]\(([^)]*)\)", README, re.MULTILINE)
    assert [target for _, target in rows] == [f"lessons/results/{path.name}" for path in CLAIMS]
    assert all(target.endswith(f"/{number}.md") for number, target in rows)


@pytest.mark.parametrize("name", NAMES)
def test_every_link_leads_somewhere(name):
    for image, target in LINK.findall(CODE_BLOCK.sub("", PAGES[name])):
        if target.startswith("https://"):
            continue
        file, _, place = target.partition("#")
        path = (ROOT / name).parent / file if file else ROOT / name
        assert path.exists(), target
        if image:
            assert path.stat().st_size > 2000, target
        if place:
            assert place in anchors(path.read_text(encoding="utf-8")), target


def test_every_file_that_is_named_is_there():
    named = set(re.findall(r"`((?:minireason|lessons|tests)/[\w./-]*|[\w-]+\.py)`", README + COURSE))
    assert len(named) > 15
    for name in named:
        inside = [ROOT / "minireason" / name, *(ROOT / "minireason").glob(f"*/{name}")]
        assert any(path.exists() for path in [ROOT / name, *inside]), name


def test_the_tree_of_the_readme_names_files_that_are_there():
    tree = README.split("## The tree")[1].split("##")[0]
    names = re.findall(r"\b\w+(?:\.py|/)", tree)
    assert len(names) > 12
    for name in names:
        assert (ROOT / name).exists() or (ROOT / "minireason" / name).exists(), name


def test_every_module_is_in_the_reading_order_or_called_upkeep():
    for path in (ROOT / "minireason").glob("*.py"):
        assert path.name == "__init__.py" or re.search(rf"`(minireason/)?{path.name}`", COURSE), path.name


def test_the_reading_order_says_how_long_each_file_is():
    """Within a tenth, so that mending a line does not break it. A task of somebody's own does not count."""
    added = [Path(inspect.getfile(TASKS[task].check)) for task in TASKS.keys() - set(SHIPPED)]
    rows = re.findall(r"^\| ((?:`[\w./]+`(?:, )?)+) \| ([\d, ]+) \|", COURSE, re.MULTILINE)
    assert len(rows) > 15
    for names, counts in rows:
        for name, count in zip(re.findall("`([^`]+)`", names), counts.split(", "), strict=True):
            files = (ROOT / name).glob("*.py") if (ROOT / name).is_dir() else [ROOT / name]
            lines = sum(len(path.read_text(encoding="utf-8").splitlines())
                        for path in files if path not in added)
            assert abs(lines - int(count)) <= 0.1 * lines, f"{name} has {lines} lines"


# -----------------------------------------------------------------------------
# Lessons and glossary

def lesson_texts():
    """The prose of each lesson, under its number. An excerpt of the source is not prose."""
    texts = {}
    for path in sorted((ROOT / "lessons").glob("[0-9][0-9]_*.py")):
        text = path.read_text(encoding="utf-8")
        text = re.sub(r"(?ms)^# <!-- From .*?^# <!-- End of excerpt -->$", "", text)
        cells = re.split(r"^# %%", text, flags=re.MULTILINE)
        texts[path.name[:2]] = "\n".join(cell for cell in cells if cell.startswith(" [markdown]"))
    return texts


def glossary():
    """The rows of the glossary: (word, meaning, number of a lesson)."""
    table = COURSE.split("## Glossary")[1].split("\n##")[0]
    return re.findall(r"^\| ([^|]+) \| ([^|]+) \| (\d\d) \|$", table, re.MULTILINE)


def test_each_lesson_has_a_row_and_a_picture():
    for path in (ROOT / "lessons").glob("[0-9][0-9]_*.py"):
        row = re.search(rf"^\| \[{path.name[:2]}\]\(rendered/{path.stem}.md\) .*$", COURSE, re.MULTILINE)
        assert row and f"({path.name})" in row[0] and f"(results/{path.stem}.png)" in row[0], path.name


def test_the_glossary_is_in_the_order_of_the_lessons():
    words = glossary()
    numbers = [number for word, meaning, number in words]
    assert len(words) > 50 and numbers == sorted(numbers)
    assert len({word for word, meaning, number in words}) == len(words)


def test_no_lesson_uses_a_word_before_the_lesson_that_the_glossary_names():
    """A word with something in parentheses is left out: plain English uses it too."""
    texts = lesson_texts()
    for word, meaning, number in glossary():
        if "(" in word:
            continue
        for earlier, text in texts.items():
            if earlier < number:
                assert not re.search(rf"\b{re.escape(word)}(?!\w)", text, re.IGNORECASE), f"{word}: {earlier}"


@pytest.mark.parametrize("word, number", [(word, number) for word, meaning, number in glossary()])
def test_a_word_of_the_glossary_is_explained_where_it_is_first_used(word, number):
    """It stands in italics there, in the sentence that explains it. Headings are left out, and of a word with
    something in parentheses, which plain English uses too, only the italics are looked for."""
    prose = re.sub(r"^# #.*$", "", lesson_texts()[number], flags=re.MULTILINE)
    prose = re.sub(r"\n# ?", " ", prose)      # a term may stand on two lines
    prose = re.sub(r"`[^`]*`", "", prose)      # the names of the code
    name, _, homonym = word.partition(" (")
    name = re.escape(name)
    if homonym:
        assert re.search(rf"\*{name}s?\*", prose, re.IGNORECASE), word
    else:
        first = re.search(rf"\*?\b{name}s?(?!\w)", prose, re.IGNORECASE)      # \b fails after REINFORCE++
        assert first and first[0].startswith("*"), word


# -----------------------------------------------------------------------------
# Commands, and what they say

def test_the_two_commands_are_those_that_ci_runs():
    assert "pip install -r requirements.txt && python train.py" in README
    test_command = "pip install -r requirements.txt && python -m pytest"
    assert test_command in README and test_command in (ROOT / ".ci" / "run").read_text()


def commands(script):
    found = re.findall(rf"python {script}((?: +(?:\"[^\"]*\"|(?!#)[\w./=-]+))*)", ALL)
    shown = [re.findall(r'"[^"]*"|[^ ]+', arguments) for arguments in sorted(set(found))]
    return [arguments for arguments in shown if "--help" not in arguments]      # it prints and exits


# The worked examples of minireason/tasks/README.md and of tests/README.md add these first.
NOT_HERE = {"--tasks-sort-share", '"sort 3 1 2"', "--rl-median-baseline"}


@pytest.mark.parametrize("arguments", commands("train.py"), ids=" ".join)
def test_train_knows_the_flags_that_are_shown(arguments):
    if not NOT_HERE & set(arguments):
        train.parse(["1" if argument == "N" else argument for argument in arguments])


@pytest.mark.parametrize("arguments", commands("sample.py"), ids=" ".join)
def test_sample_knows_the_prompts_and_flags_that_are_shown(arguments):
    if not NOT_HERE & set(arguments):
        args = sample.parse([argument.strip('"') for argument in arguments])
        if args.problem is not None:
            sample.read_prompt(args.problem)


def test_there_are_such_commands():
    assert len(commands("train.py")) >= 4 and len(commands("sample.py")) >= 4


MODULES = set(re.findall(r"python\s+-m\s+(minireason[\w.]*)", ALL))


@pytest.mark.parametrize("module", sorted(MODULES))
def test_every_module_that_is_run_is_there(module):
    assert importlib.util.find_spec(module) is not None


@pytest.mark.parametrize("script", sorted(set(re.findall(r"python ((?:lessons|tests)/[\w/]+\.py)", ALL))))
def test_every_script_that_is_run_is_there(script):
    assert (ROOT / script).exists()


def test_the_thought_that_is_explained_is_what_the_included_model_says(capsys):
    shown = re.search(r'python sample\.py ("[^"]*")\n\n(?:\S.*\n)+\n((?:    .*\n)+)', README)
    sample.main([shown[1].strip('"'), "--run", "pretrained"])
    said = capsys.readouterr().out
    for line in shown[2].splitlines():
        assert line.strip() in said
    explained = README.split("Read the model's thought so:")[1].split("\n\n")[1]
    pieces = [line[4:23].strip() for line in explained.splitlines()]
    assert f"thinking  {' '.join(pieces)}\n" in said
