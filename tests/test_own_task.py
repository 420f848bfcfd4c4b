"""A task of somebody's own: that of tasks/README.md, taken through corpus, imitation, RL, scoring and
sample.py; and what breaks the contract is refused with one line."""

import dataclasses
import importlib.util
import json
import os
import random
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch
from helpers import SHIPPED
from test_fuzz import HOSTILE

import sample
import train
from minireason import tasks
from minireason.begin import check_test_problems
from minireason.behaviour import observe
from minireason.config import TaskConfig, preset
from minireason.corpus import base_corpus, golden_examples, wrap
from minireason.run import open_model
from minireason.settings import to_dict
from minireason.tasks import TASKS, contract, make_problem, parse_prompt, register
from minireason.tasks.problem import Problem, is_test
from minireason.tasks.task import Habits, Mix, Task
from minireason.tasks.words import SPANISH, TAGS, Voice
from minireason.tokenizer import get_tokenizer, known_words
from minireason.tools import command_line
from minireason.upkeep import checkpoint, metrics
from minireason.verifier import canonical_answer, verify

ROOT = Path(train.__file__).parent


def example_of_the_page():
    """The file that tasks/README.md shows."""
    page = (ROOT / "minireason" / "tasks" / "README.md").read_text(encoding="utf-8")
    [code] = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    return code


@pytest.fixture(scope="module")
def task_of_the_page(tmp_path_factory):
    path = tmp_path_factory.mktemp("tasks") / "sorting.py"
    path.write_text(example_of_the_page(), encoding="utf-8")
    spec = importlib.util.spec_from_file_location("sorting", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.TASK


@pytest.fixture
def sort(task_of_the_page):
    """The TASK of the page, not yet registered, even where somebody has added that very file."""
    for task in list(TASKS.values()):
        if task.name == task_of_the_page.name or task.word == task_of_the_page.word:
            del TASKS[task.name]
    return task_of_the_page


def test_the_page_says_the_defaults_of_the_record():
    page = (ROOT / "minireason" / "tasks" / "README.md").read_text(encoding="utf-8")
    assert f"| `guess_share` | {Task.guess_share} |" in page
    assert f"`--tasks-max-tries` says ({TaskConfig().max_tries})" in page
    assert TaskConfig().max_tries == contract.USUAL_TRIES
    for field in Habits._fields:
        assert f"`habits.{field}`" in page
    assert set(re.findall("habits[.]([a-z_]+)", page)) == set(Habits._fields)


def test_a_task_is_verified_counted_and_written(sort):
    register(sort)
    problem = parse_prompt("sort 3 1 2")
    right = wrap("1 of 3 1 2 so 2 of 3 2 so 3 of 3", "1 2 3")
    assert verify(problem, right).correct and not verify(problem, wrap("", "3 1 2")).correct
    behaviour = observe(problem, right)
    assert behaviour.thinks and behaviour.readable and behaviour.num_steps == 3 and behaviour.num_tries == 0
    wrong = observe(problem, wrap("2 of 3 1 2 so 1 of 3 1 so 3 of 3", "2 1 3"))
    assert wrong.num_wrong_steps == 1 and wrong.readable
    mix = TaskConfig(levels={"sort": (1, 2)}, shares={"sort": 1.0})
    for prompt, completion in golden_examples(0, 30, mix):
        assert prompt.startswith("sort ") and verify(parse_prompt(prompt), completion).correct
        assert not is_test(parse_prompt(prompt))
    prompts = [prompt for prompt, _ in base_corpus(0, 300, mix)]
    of_other_tasks = [prompt for prompt in prompts if prompt.startswith(("compute ", "make ", "program "))]
    assert sum(prompt.startswith("sort ") for prompt in prompts) > 150 and not of_other_tasks


def test_a_task_without_a_share_leaves_all_other_draws_as_they_were(sort):
    silent = dataclasses.replace(sort, presets={name: Mix((1,), 0.0) for name in ("smoke", "laptop", "gpu")})
    corpus, golden = base_corpus(3, 400), golden_examples(3, 40)
    prompts = [draw.prompt for draw in draws_of_rl(60)]
    ids, words = get_tokenizer().encode("make 42 from 3 8 6"), known_words()
    register(silent)
    assert base_corpus(3, 400) == corpus and golden_examples(3, 40) == golden
    assert [draw.prompt for draw in draws_of_rl(60)] == prompts
    assert get_tokenizer().encode("make 42 from 3 8 6") == ids and known_words() == (*words, "sort")


def draws_of_rl(number):
    from minireason.rewards import reasoning_world
    mix, rng = TaskConfig(), random.Random(0)
    world = reasoning_world(get_tokenizer(), mix.levels, mix.shares)
    return [world.draw(rng) for _ in range(number)]


@pytest.mark.parametrize("name", ["smoke", "laptop", "gpu"])
def test_the_presets_of_the_page_ask_for_no_more_problems_than_there_are(sort, name):
    register(sort)
    check_test_problems(preset(name))


def test_a_task_has_flags_and_settings_of_its_own(sort):
    register(dataclasses.replace(sort, presets=sort.presets | {"laptop": Mix((1, 2), 0.2, 50)}))
    stored = to_dict(preset("laptop"))
    assert stored["tasks"]["sort_levels"] == "1,2" and stored["tasks"]["sort_share"] == 0.2
    assert stored["evaluate"]["num_sorts"] == 50
    args = train.parse(["--tasks-sort-levels", "2", "--tasks-sort-share", "0.5", "--evaluate-num-sorts", "7"])
    assert command_line.given_flags(args) == {"tasks.sort_levels": "2", "tasks.sort_share": 0.5,
                                              "evaluate.num_sorts": 7}


def test_models_from_before_a_task_stay_readable(sort, capsys):
    """Its words get the last ids; the shipped weights say the same as before,
    and one line says what they never read."""
    register(sort)
    model, state = open_model("pretrained", "align")
    assert model.config.vocab_size == get_tokenizer().vocab_size == len(model.embedding.weight)
    [added] = re.findall("before these words came, and cannot read them: (.*)", capsys.readouterr().err)
    assert "sort" in added.split(", ")      # beside the words of other tasks of somebody's own
    assert sample.main(["make 45 from 3 6 8", "--run", "pretrained"]) == 0
    out = capsys.readouterr().out
    assert re.search("thinking  try [a-i] .* is [0-9]+ yes\n", out) and "verdict   right (" in out
    assert state["vocabulary"][-1] == "sort"


def test_rl_from_a_model_that_never_read_a_task_is_told(sort, capsys):
    register(dataclasses.replace(sort, words=()))    # with a share of 0.2 in laptop
    for flags, is_told in (([], True), (["--tasks-sort-share", "0"], False)):
        train.choose_run(train.parse(["rl", "--from", "pretrained", *flags, "--out", "new"]))
        said = capsys.readouterr().err
        assert ("never read sort, and 17% of the problems are of this task" in said) == is_told
    assert "--tasks-sort-share 0" not in said


@pytest.mark.slow
def test_a_task_goes_through_the_pipeline_and_talks(sort, tmp_path, capsys):
    register(dataclasses.replace(sort, presets=sort.presets | {"smoke": Mix((1,), 1.0)}))
    flags = ["--preset", "smoke", "--device", "cpu", "--model-width", "32", "--model-num-layers", "1",
             "--model-mlp-width", "32", "--tasks-arithmetic-share", "0", "--base-num-examples", "400",
             "--base-batch-size", "8", "--base-learning-rate", "0.01", "--rl-num-iterations", "3",
             "--rl-num-prompts", "4", "--rl-group-size", "4", "--rl-max-new-tokens", "24",
             "--evaluate-num-problems", "12", "--evaluate-num-programs", "6",
             "--evaluate-max-new-tokens", "24"]
    folder = tmp_path / "run"
    assert train.main([*flags, "--pure-rl", "--out", str(folder)]) == 0
    results = json.loads((folder / "results.json").read_text())
    assert results["stages"]["rl"]["sort"]["accuracy"]["num_problems"] == 12
    assert "sort %" in capsys.readouterr().out and "sort" in (folder / "report.md").read_text()
    assert sample.main(["sort 3 1 2", "--run", str(folder), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["correct"] in (True, False) and answer["prompt"] == "sort 3 1 2"
    assert sample.main(["sort three", "--run", str(folder)]) == 2
    assert "expected 'sort'" in capsys.readouterr().err
    del TASKS["sort"]       # without the task, its words are unknown, and the model is refused in one line
    assert sample.main(["compute 3+4", "--run", str(folder)]) == 1
    error = capsys.readouterr().err
    assert "knows words that this version does not: sort" in error and error.count("\n") == 1
    assert train.main(["rl", "--resume", "--out", str(folder)]) == 1
    assert "tasks.sort_levels" in capsys.readouterr().err


def sorting_problem(rng, level):
    """As the example of the page makes it."""
    numbers = rng.sample(range(1, 21), level + 2)
    key = "sort " + " ".join(map(str, sorted(numbers)))
    return Problem("sort", "sort " + " ".join(map(str, numbers)), key, level, numbers=tuple(numbers))


def broken(task, **changes):
    return dataclasses.replace(task, **changes)


def raises(*_):
    raise IndexError("list index out of range")


@pytest.mark.parametrize("changes, says", [
    ({"levels": ()}, "no levels"), ({"levels": ("easy",)}, "no levels"),
    ({"word": "make"}, "the prompt word 'make' is taken"), ({"word": "Sort 1"}, "small letters"),
    ({"name": "arithmetic"}, "taken"), ({"name": "chat"}, "taken"),
    ({"name": "my task"}, "one lower-case word"),
    ({"presets": {"smoke": Mix((1,), 0.0)}}, "presets lack 'laptop'"),
    ({"presets": {name: Mix((9,), 0.5) for name in ("smoke", "laptop", "gpu")}}, "some of its levels"),
    ({"presets": {name: Mix((1,), -1.0) for name in ("smoke", "laptop", "gpu")}}, "not a weight"),
    ({"check": raises}, "check raises IndexError"), ({"check": None}, "check is not a function"),
    ({"check": lambda problem, answer: True}, "a reason or None"),
    ({"check": lambda problem, answer: None}, "accepts an empty answer"),
    ({"make_problem": raises}, "it raises IndexError: list index out of range"),
    ({"make_problem": lambda rng, level: "sort 1 2"}, "not a Problem"),
    ({"make_problem": lambda rng, level: Problem("sort", "order 1 2", "sort 1 2", level)},
     "do not begin with 'sort'"),
    ({"make_problem": lambda rng, level: Problem("sort", "sort 2 1", "1 2", level, numbers=(2, 1))},
     "does not begin with the task's name"),
    ({"parse": raises}, "IndexError"), ({"candidate": lambda problem, text: ()}, "go together"),
    ({"write_thinking": lambda problem, rng, voice: "1 2"}, "it raises ValueError"),
    ({"write_guess": lambda problem, rng: "<answer>1"}, "holds tags"),
    ({"words": ("two words",)}, "not made of letters"), ({"words": "sort"}, "not a tuple"),
    ({"words": ("sort", "sort")}, "a word twice"), ({"levels": None}, "no levels"),
    ({"presets": None}, "not a dict"),
    ({"presets": {name: (1, 0.2) for name in ("smoke", "laptop", "gpu")}}, "is not a Mix"),
    ({"presets": {name: Mix(1, 0.2) for name in ("smoke", "laptop", "gpu")}}, "as a tuple"),
    ({"presets": {name: Mix((1,), "0.2") for name in ("smoke", "laptop", "gpu")}}, "not a weight"),
    ({"presets": {name: Mix((1,), 0.2, 0) for name in ("smoke", "laptop", "gpu")}},
     "not a whole number above 0"),
    ({"guess_share": 2}, "between 0 and 1"), ({"example": "order 1"}, "it raises ValueError"),
    ({"find_steps": lambda thinking: None}, "a list of Step"),
    ({"is_short": lambda thinking: False}, "no right thought of level 1 is short: the cold start needs some"),
    ({"check": lambda problem, answer: "never"}, "refuses all answers of write_thinking"),
    ({"make_problem": lambda rng, level: sorting_problem(random.Random(), level)}, "something else than rng"),
    ({"make_problem": lambda rng, level: sorting_problem(rng, 1)}, "say level 1"),
    ({"make_problem": lambda rng, level: sorting_problem(random.Random(0), level)}, "are the same"),
])
def test_what_breaks_the_contract_is_refused_with_one_line(sort, changes, says):
    before = dict(TASKS)
    with pytest.raises(ValueError, match=re.escape(says)) as error:
        register(broken(sort, **changes))
    assert str(error.value).startswith("task ") and "\n" not in str(error.value)
    assert list(TASKS.items()) == list(before.items()) and set(SHIPPED) <= TASKS.keys()


SCORED_ALL = Mix((1, 2, 3), 0.0)


def short_below_four(thinking):
    return thinking.count(" of ") < 4


def wrong_at_level_1(task):
    def write_thinking(problem, rng, voice, slip=0.0):
        thinking, answer = task.write_thinking(problem, rng, voice)
        return thinking, answer if problem.level > 1 else "0"
    return write_thinking


def five_tries(problem, rng, voice, slip=0.0):
    return "try 1 no wait try 2 no wait try 3 no wait try 4 no wait try 5 yes", " ".join(
        map(str, sorted(problem.numbers)))


@pytest.mark.parametrize("presets, level", [
    ({}, None),                                         # level 2 is the hardest, so it needs no short ones
    ({"smoke": SCORED_ALL}, 2), ({"laptop": SCORED_ALL}, 2), ({"gpu": Mix((2, 3), 0.0)}, 2)])
def test_each_level_below_the_hardest_needs_short_thoughts(sort, presets, level):
    task = broken(sort, levels=(1, 2, 3), presets=sort.presets | presets, is_short=short_below_four)
    if level is None:
        register(task)
        return
    with pytest.raises(ValueError, match=f"no right thought of level {level} is short"):
        register(task)


def test_a_cold_start_that_would_search_without_end_is_refused(sort):
    """Its short thoughts are wrong, or each has more tries than the examples may have."""
    for changes in ({"write_thinking": wrong_at_level_1(sort)},
                    {"write_thinking": five_tries, "candidate": lambda problem, text: text,
                     "succeeds": lambda problem, text: True}):
        with pytest.raises(ValueError, match="no right thought of level 1 is short"):
            register(broken(sort, **changes))


def test_nothing_outside_tasks_names_a_task():
    """Chat is not a task, and may be named."""
    for path in [*(ROOT / "minireason").rglob("*.py"), ROOT / "train.py", ROOT / "sample.py"]:
        if "tasks" in path.relative_to(ROOT).parts:
            continue
        text = path.read_text(encoding="utf-8")
        names = "(?:arithmetic|countdown|program)"
        assert not re.findall(rf"import {names}\b|tasks\.{names}\b", text), path
        for literal in re.findall(r"([\"'])((?:(?!\1)[^\n\\]|\\.)*)\1", text):
            assert literal[1] not in TASKS, f"{path} says {literal[1]!r}: if it means another thing, " \
                                            "choose another name for the task"


def test_a_user_is_told_the_words_that_begin_a_problem():
    *others, last = [task.word for task in TASKS.values()]
    assert others[:2] == ["compute", "make"] and "program" in (*others, last)
    assert tasks.prompt_words() == f"{', '.join(others)} or {last}"


@pytest.mark.slow
def test_a_run_that_was_begun_before_a_task_was_added_ends_with_its_own_bits(sort, tmp_path, monkeypatch):
    """The word of the new task is not one of the run's."""
    flags = ["base", "--preset", "smoke", "--device", "cpu", "--model-width", "32", "--model-num-layers", "1",
             "--model-mlp-width", "32", "--base-num-examples", "240", "--base-batch-size", "8",
             "--evaluate-num-problems", "5", "--evaluate-num-programs", "5", "--evaluate-max-new-tokens", "8"]
    assert train.main([*flags, "--out", str(tmp_path / "whole")]) == 0
    monkeypatch.setattr(train, "SAVE_EVERY", 0)
    plain = metrics.append

    def stop_in_the_middle(path, values):
        if values["iteration"] == 12:
            raise KeyboardInterrupt
        plain(path, values)
    with monkeypatch.context() as first_half:
        first_half.setattr(metrics, "append", stop_in_the_middle)
        assert train.main([*flags, "--out", str(tmp_path / "broken")]) == 130
    register(sort)
    assert train.main(["base", "--resume", "--out", str(tmp_path / "broken")]) == 0
    first = checkpoint.load(tmp_path / "whole" / "base" / "checkpoint.pt")
    second = checkpoint.load(tmp_path / "broken" / "base" / "checkpoint.pt")
    assert all(torch.equal(first["model"][name], second["model"][name]) for name in first["model"])
    assert first["vocabulary"] == second["vocabulary"]


# -----------------------------------------------------------------------------
# Every task that is registered, yours too, on more problems than `register` tries

EVERY_TASK = list(TASKS)
NUM_PROBLEMS = 200      # of each level
FULL_WIDTH = {ord(digit): 0xFEE0 + ord(digit) for digit in "0123456789"}      # int() would read these, too


def problems_of(name):
    """Problems of all levels in turn, always the same ones."""
    found = []
    for level in TASKS[name].levels:
        rng = random.Random(f"{name} {level}")
        found += [make_problem(name, rng, level) for _ in range(NUM_PROBLEMS)]
    return found


@pytest.mark.parametrize("name", EVERY_TASK)
def test_every_task_draws_by_seed_and_reads_back_what_it_drew(name):
    """Its key, too, at the levels that a preset uses: else a test problem would not be known as one."""
    random.seed(3)
    before, levels = random.getstate(), TASKS[name].levels
    used = {level for mix in TASKS[name].presets.values() for level in mix.levels}
    problems = problems_of(name)
    assert problems == problems_of(name) and random.getstate() == before
    assert [problem.level for problem in problems] == [n for n in levels for _ in range(NUM_PROBLEMS)]
    for problem in problems:
        assert problem.task == name and problem.key.startswith(name), problem
        again = parse_prompt(problem.prompt)
        assert (again.task, again.prompt) == (name, problem.prompt)
        assert again.key == problem.key or problem.level not in used, problem
    assert len({problem.prompt for problem in problems}) > len(levels)


@pytest.mark.parametrize("name", EVERY_TASK)
@pytest.mark.parametrize("chosen", ["smoke", "laptop", "gpu"])
def test_every_task_has_problems_to_score_at_the_levels_of_a_preset(name, chosen):
    mix = TASKS[name].presets[chosen]
    number = min(mix.num_test_problems or 100, 100)
    problems = tasks.test_problems(name, mix.levels, number, 1234)
    assert len({problem.prompt for problem in problems}) == number and all(map(is_test, problems))


@pytest.mark.parametrize("name", EVERY_TASK)
def test_every_task_writes_by_seed_and_its_check_accepts_some_of_it(name):
    task, accepted = TASKS[name], 0
    for problem in problems_of(name):
        thinking, answer = task.write_thinking(problem, random.Random(1), Voice(random.Random(2), "en"))
        again = task.write_thinking(problem, random.Random(1), Voice(random.Random(2), "en"))
        assert (thinking, answer) == again and not any(tag in thinking + answer for tag in TAGS)
        right = task.check(problem, answer) is None
        assert verify(problem, wrap(thinking, answer)).correct is right
        if right:
            accepted += 1
            assert verify(problem, wrap("", canonical_answer(problem, answer))).correct
            assert answer.isascii() and not set(re.findall("[a-z]+", thinking)) & SPANISH
            strange = answer.translate(FULL_WIDTH)
            assert strange == answer or task.check(problem, strange), f"{strange} is no answer: not ASCII"
    assert accepted > 0


@pytest.mark.parametrize("name", EVERY_TASK)
def test_every_check_takes_any_text(name):
    """A plain text such as 0 may be right now and then; one that is not plain ASCII on one line never is."""
    problems, accepted = problems_of(name)[::10], Counter()
    for problem in problems:
        _, answer = TASKS[name].write_thinking(problem, random.Random(1), Voice(random.Random(2), "en"))
        near = [f"{answer}{text}" for text in HOSTILE] + [f"{text}{answer}" for text in HOSTILE]
        for text in dict.fromkeys((*HOSTILE, *near, f"{answer}\n", f"\t{answer}", f"{answer}\x00")):
            reason = TASKS[name].check(problem, text)
            assert reason is None or reason.isprintable() and 0 < len(reason) < 200, (problem.prompt, text)
            assert reason or text.isascii() and text.isprintable(), (problem.prompt, text)
            accepted[text] += reason is None
            canonical_answer(problem, text)
    assert all(accepted[text] < len(problems) for text in HOSTILE), accepted.most_common(3)


@pytest.mark.parametrize("name", EVERY_TASK)
def test_every_check_works_no_more_than_the_text_is_long(name):
    """Counted in lines of Python. The longest texts show what no line shows, such as a regular expression
    that goes back again and again: the test would hang."""
    rng = random.Random(name)
    for level in TASKS[name].levels:
        problem = make_problem(name, rng, level)
        _, answer = TASKS[name].write_thinking(problem, rng, Voice(rng, "en"))
        for piece in (answer, f"{answer} ", answer[:1], "9", "1 ", "(", "9**", "-", "x ", "\u0665", "\n"):
            short, longer = (lines_run(TASKS[name].check, problem, piece * (size // len(piece)))
                             for size in (1000, 8000))
            assert longer <= 8 * short + 100, (problem.prompt, piece)
            TASKS[name].check(problem, piece * (100_000 // len(piece)))


def lines_run(function, *arguments):
    count, before = 0, sys.gettrace()

    def trace(frame, event, argument):
        nonlocal count
        count += event == "line"
        return trace
    sys.settrace(trace)
    try:
        function(*arguments)
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize("name", EVERY_TASK)
def test_what_people_write_of_every_task_is_counted_whatever_happens_to_it(name):
    rng, task = random.Random(name), TASKS[name]
    for problem in problems_of(name):
        habits = Habits(rng.random() < 0.5, rng.randint(1, 10))
        voice = Voice(rng, rng.choice(("en", "es", "mixed")))
        thinking, answer = task.write_messy(problem, rng, voice, habits)
        text = wrap(thinking, answer)
        i, other = rng.randrange(len(text)), rng.choice(HOSTILE)
        broken = text[:i] + rng.choice(("", other)) + text[i + rng.choice((0, 1, 8)):]
        assert verify(problem, text).well_formed
        for completion in (text, text[:i], broken, wrap(thinking + other, other), wrap(other, answer)):
            found = observe(problem, completion)
            assert found.well_formed == verify(problem, completion).well_formed, completion
            assert 0 <= found.num_repairs <= found.num_wrong_steps <= found.num_steps, completion
            assert 0 <= found.num_retries <= found.num_failed_tries <= found.num_tries, completion
            assert 0 <= found.num_false_yes <= found.num_yes <= found.num_tries, completion


@pytest.mark.parametrize("name", EVERY_TASK)
def test_guesses_at_every_task_are_not_always_right(name):
    """Else RL finds no reason to think."""
    right = Counter()
    for problem in problems_of(name):
        guess = TASKS[name].write_guess(problem, random.Random(problem.prompt))
        assert guess == TASKS[name].write_guess(problem, random.Random(problem.prompt))
        right[problem.level] += verify(problem, wrap("", guess)).correct
    assert all(right[level] < NUM_PROBLEMS for level in TASKS[name].levels), right


# -----------------------------------------------------------------------------
# The whole way of the page

LOOK_AT_TASKS = "config corpus evaluate own_task page pretrained run sample structure style tokenizer".split()


def copy_with_the_example(copy):
    """Copies the repository, and adds the example of the page: a file and a line."""
    unneeded = shutil.ignore_patterns("__pycache__", "benchmarks")
    for folder in ("minireason", "tests", "lessons/results/laptop"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=unneeded)
    for file in ("train.py", "sample.py", "pyproject.toml"):
        shutil.copy(ROOT / file, copy)
    folder = copy / "minireason" / "tasks"
    if "sort" not in TASKS:         # else somebody has added it already
        (folder / "sorting.py").write_text(example_of_the_page(), encoding="utf-8")
        lines = (folder / "__init__.py").read_text(encoding="utf-8").splitlines()
        last = max(i for i, line in enumerate(lines) if line.startswith("register("))
        lines.insert(last + 1, "register(sorting.TASK)")
        lines.insert(lines.index("import random"), "from minireason.tasks import sorting")
        (folder / "__init__.py").write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_the_tests_are_green_with_the_example_of_the_page_in_its_place(tests_of_a_copy):
    """In a copy of the repository, where it is a file and a line as the page says."""
    copy, said = tests_of_a_copy
    command = [sys.executable, "-c", "from minireason.tasks import TASKS; print(*TASKS)"]
    tasks = subprocess.run(command, cwd=copy, env=os.environ | {"PYTHONPATH": str(copy)},
                           capture_output=True, text=True, timeout=600)
    assert tasks.stdout.split().count("sort") == 1
    num_passed = int(re.search("([0-9]+) passed", said)[1])
    assert num_passed > 400 and "failed" not in said
