"""What `python -m minireason.thinking` counts, against counts made in another way."""

import json
import re
import shutil

import pytest

from minireason.config import preset
from minireason.corpus import base_corpus, base_documents, cold_start_documents, golden_examples
from minireason.run import PRETRAINED, config_of_run, folder_of
from minireason.settings import from_dict
from minireason.tasks import parse_prompt
from minireason.tokenizer import get_tokenizer
from minireason.tools import thinking
from minireason.upkeep.belonging import read_settings

NUM_DOCUMENTS = 400
OWN_TEXT = "<think>" + 11 * "try 1+1=3 no wait " + "try 3+8=11 yes</think><answer>3+8</answer>"


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """What the command wrote of two included stages, and of texts of rejection: (JSON, figure)."""
    folder = tmp_path_factory.mktemp("thinking")
    for stage in ("base", "cold-start"):
        shutil.copytree(folder_of(PRETRAINED) / stage, folder / "run" / stage)
    settings, _ = read_settings(folder_of(PRETRAINED))
    own_texts = {"config": settings, "documents": 3 * [["make 11 from 3 8", OWN_TEXT]], "counts": {}}
    (folder / "run" / "rejection").mkdir()
    (folder / "run" / "rejection" / "examples.json").write_text(json.dumps(own_texts))
    command = ["--run", str(folder / "run"), "--num-problems", "4", "--documents", str(NUM_DOCUMENTS),
               "--json", str(folder / "numbers.json"), "--figure", str(folder / "figure.png")]
    assert thinking.main(command) == 0
    [run] = json.loads((folder / "numbers.json").read_text())["runs"]
    return run, folder / "figure.png"


def tries_in(documents, word):
    """How often each text of a task says `try` or `prueba`, in its thinking."""
    texts = [completion.partition("</think>")[0] for prompt, completion in documents
             if prompt.startswith(f"{word} ")]
    return [len(re.findall(r"\b(?:try|prueba)\b", text)) for text in texts]


@pytest.mark.slow
def test_the_texts_are_those_of_the_run_and_their_tries_are_counted(measured):
    run, _ = measured
    settings, _ = read_settings(folder_of(PRETRAINED))
    mix = from_dict(settings).tasks
    corpus = base_corpus(settings["seed"], NUM_DOCUMENTS, mix)
    golden = golden_examples(settings["seed"], settings["cold_start"]["num_examples"], mix)
    assert (run["documents"], run["documents_counted"]) == (settings["base"]["num_examples"], NUM_DOCUMENTS)
    for task, word in (("countdown", "make"), ("program", "program")):
        of_corpus, of_golden = tries_in(corpus, word), tries_in(golden, word)
        assert max(of_corpus) > 1
        assert run["most_tries"][task] == max(of_corpus + of_golden)
        for name, tries in (("corpus", of_corpus), ("golden", of_golden)):
            row = run["tasks"][task][name]
            assert row["accuracy"]["num_problems"] == len(tries)
            assert row["tries"] == pytest.approx(sum(tries) / len(tries))
            assert row["distributions"]["most_tries"] == max(tries)
    assert run["most_tries"]["arithmetic"] is None


@pytest.mark.slow
def test_what_rejection_learned_from_is_counted_apart(measured):
    """It has twelve tries, more than any text, and that does not raise the most of any text."""
    run, _ = measured
    spread = run["tasks"]["countdown"]["own texts"]["distributions"]
    assert spread["tries"] == {"12": 3} and run["most_tries"]["countdown"] < 12


@pytest.mark.slow
def test_every_stage_is_there_and_the_figure_is_drawn(measured):
    run, figure = measured
    for task, rows in run["tasks"].items():
        own_texts = ["own texts"] if task == "countdown" else []
        assert list(rows) == ["corpus", "golden", *own_texts, "base", "cold-start"]
        for stage in ("base", "cold-start"):
            assert sum(rows[stage]["distributions"]["tokens"].values()) == 4
    assert figure.stat().st_size > 10_000


def test_what_is_printed_fits_a_terminal_and_adds_up(capsys):
    texts = thinking.texts_by_task(base_corpus(0, 300))
    tasks = {task: {"corpus": thinking.count_texts(pairs, get_tokenizer())} for task, pairs in texts.items()}
    most_tries = {task: thinking.most_tries_of(task, rows) for task, rows in tasks.items()}
    lines = thinking.as_text({"run": "runs/a", "seed": 0, "documents": 300, "documents_counted": 300,
                              "most_tries": most_tries, "tasks": tasks})
    assert max(map(len, [*lines, *thinking.LEGEND.splitlines()])) <= 80
    tables = [i for i, line in enumerate(lines) if "percent of" in line]
    assert len(tables) == 5     # tries of two tasks, tokens of three
    for i in tables:
        assert sum(map(float, lines[i + 2].split()[1:])) == pytest.approx(100, abs=0.6)


def test_a_run_that_has_no_texts_of_a_task_yet_is_told_without_them():
    """As a base that was stopped before its end, with tasks that its corpus leaves out."""
    lines = thinking.as_text({"run": "runs/a", "seed": 0, "documents": 0, "documents_counted": 0,
                              "most_tries": {"arithmetic": {}}, "tasks": {"arithmetic": {}}})
    assert "arithmetic" in lines


def test_the_end_token_counts_as_one_of_the_answer():
    problem = parse_prompt("make 11 from 3 8")
    row = thinking.count_texts([(problem, "<think>try 3+8=11 yes</think><answer>3+8</answer>")],
                               get_tokenizer())
    words = ["<think>", "try ", "3", "+", "8", "=", "1", "1", " yes", "</think>",
             "<answer>", "3", "+", "8", "</answer>", "the end"]
    assert row["tokens"] == len(words) and row["distributions"]["tries"] == {"1": 1}


def test_the_documents_of_a_run_are_what_its_stages_learn_from():
    config = preset("smoke")
    config.seed, config.base.num_examples, config.cold_start.num_examples, config.aha = 3, 40, 20, False
    assert base_documents(config) == base_corpus(3, 40, config.tasks, aha=False)
    assert cold_start_documents(config) == golden_examples(3, 20, config.tasks)
    assert config_of_run(folder_of(PRETRAINED)).seed == 0


def test_histograms_of_several_runs_are_added_up():
    def one(histogram, mean):
        return {"tasks": {"countdown": {"rl": {"tokens": mean, "distributions": {"tokens": histogram}}}}}
    runs = [one({"0": 2, "10": 1}, 4.0), one({"10": 5}, 15.0), {"tasks": {"countdown": {}}}]
    assert thinking.pooled(runs, "countdown", "rl", "tokens") == {0: 2, 10: 6}
    assert thinking.mean_over(runs, "countdown", "rl", "tokens") == 9.5
    assert thinking.mean_over(runs, "countdown", "align", "tokens") is None


def test_pure_rl_is_told_apart_and_a_base_counts_once():
    whole = {"seed": 0, "tasks": {"countdown": {"corpus": 1, "base": 2, "cold-start": 3, "rl": 4}}}
    pure = {"seed": 0, "tasks": {"countdown": {"corpus": 1, "base": 2, "rl": 5}}}
    alone = {**pure, "seed": 1}
    found = [run["tasks"]["countdown"] for run in thinking.told_apart([whole, pure, alone])]
    assert found == [whole["tasks"]["countdown"], {"pure RL": 5}, {"corpus": 1, "base": 2, "pure RL": 5}]


def test_the_figure_has_a_row_of_pure_rl(monkeypatch, tmp_path):
    """It is not pooled with the RL that follows a cold start."""
    def row(tries):
        spread = {"tries": {str(tries): 1}, "tokens": {"0": 1}}
        return {"tries_thinking": tries, "tokens": 9.0,
                "distributions": spread | {"tries_right": {}, "tokens_right": {}}}

    whole = {"seed": 0, "most_tries": {"countdown": 3},
             "tasks": {"countdown": {"base": row(1), "cold-start": row(2), "rl": row(5)}}}
    pure = {**whole, "tasks": {"countdown": {"base": row(1), "rl": row(4)}}}
    drawn = []
    monkeypatch.setattr(thinking.plots, "plot_thinking", lambda panels, path: drawn.extend(panels))
    thinking.draw([whole, pure], tmp_path / "figure.png")
    tries = {name: histogram for name, (histogram, _, _) in drawn[0]["rows"].items()}
    assert tries == {"base": {1: 1}, "cold-start": {2: 1}, "rl": {5: 1}, "pure RL": {4: 1}}


def test_a_run_that_is_not_there_is_one_line(tmp_path, capsys):
    assert thinking.main(["--run", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
