"""What the model imitates: seeded, free of test problems,
with everything in it that it promises to have or to lack."""

import dataclasses
import os
import random
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from helpers import SHIPPED, shipped_mix
from reference import steps_of, true_step

from minireason import corpus
from minireason.config import TaskConfig, preset
from minireason.rewards import reasoning_world
from minireason.tasks import parse_prompt
from minireason.tasks.chat import REFUSAL, TEST_TEMPLATES, draw_chat
from minireason.tasks.harm import is_leak, secret_in
from minireason.tasks.problem import is_test
from minireason.tasks.task import PRESETS
from minireason.tasks.words import ENGLISH, SPANISH
from minireason.tokenizer import get_tokenizer
from minireason.verifier import split_completion, verify

ROOT = Path(__file__).parent.parent
STARTS = ("compute ", "make ", "program ")
MAKERS = {"base": corpus.base_corpus,
          "plain": lambda seed, n, mix=None: corpus.base_corpus(seed, n, mix, aha=False),
          "golden": corpus.golden_examples, "chat": lambda seed, n, mix=None: corpus.chat_examples(seed, n),
          "expert": lambda seed, n, mix=None: corpus.golden_examples(seed, n, mix, expert=True)}
SIZES = {"base": 8000, "plain": 8000, "golden": 1000, "expert": 1500, "chat": 1500}


@pytest.fixture(scope="module")
def made():
    """Of the tasks that come with the repository, whatever others are registered."""
    return {which: make(0, SIZES[which], shipped_mix()) for which, make in MAKERS.items()}


def problems_of(documents):
    """[(problem, thinking, answer)] of the documents that pose one, read back from their text."""
    return [(parse_prompt(prompt), *split_completion(completion)) for prompt, completion in documents
            if prompt.startswith(STARTS)]


def words_of(text):
    return re.findall("[a-z]+", text)


def facts_of(documents):
    """What stands on the sheets of facts, such as 7+8=15."""
    return [fact for prompt, completion in documents if not prompt
            for fact in completion.split(" ") if "=" in fact]


def num_tries(text):
    return sum(word in ("try", "prueba") for word in words_of(text))


def says(text, *words):
    return bool(set(words_of(text)) & set(words))


# -----------------------------------------------------------------------------
# All of them

@pytest.mark.parametrize("which", MAKERS)
def test_the_same_seed_makes_the_same_documents(which):
    make = MAKERS[which]
    random.seed(3)
    before = random.getstate()
    assert make(5, 60) == make(5, 60) != make(6, 60)
    assert random.getstate() == before                      # and the global generator is left alone
    assert len(make(5, 60)) == 60 and make(5, 0) == []


def test_with_and_without_the_aha_are_two_corpora_and_so_are_golden_and_expert(made):
    assert made["base"][:100] != made["plain"][:100] and made["golden"][:100] != made["expert"][:100]


@pytest.mark.parametrize("which", MAKERS)
def test_no_test_problem_is_in_it(which, made):
    """Read back from the text of each prompt, whatever drew it."""
    problems = [problem for problem, _, _ in problems_of(made[which])]
    assert not any(map(is_test, problems))
    assert len({p.key for p in problems}) > (100 if which != "chat" else -1)
    expected = set() if which == "chat" else set(SHIPPED)
    assert {p.task for p in problems} == expected


def test_a_document_with_a_test_problem_would_be_seen():
    """The check above can fail: about a tenth of what is drawn without a split is for testing."""
    prompts = [f"make {target} from {a} {b} 7" for target in range(1, 30) for a in (2, 3, 4) for b in (5, 6)]
    found = [is_test(problem)
             for problem, _, _ in problems_of([(prompt, corpus.wrap("", "1")) for prompt in prompts])]
    assert len(found) == len(prompts) and 0.02 < sum(found) / len(found) < 0.25


def sums_of_two_terms():
    """A mix that scores level 1 of arithmetic, of which a fact such as 7+8=15 may be a test problem."""
    mix = preset("smoke").tasks
    mix.levels["arithmetic"] = (1,)
    return mix


def test_level_0_is_drawn_where_it_is_the_hardest_and_nowhere_else():
    """So a corpus of harder levels is the same, document by document, as before there was a level 0."""
    assert corpus.levels_up_to(0, (0, 1, 2)) == [0]
    assert corpus.levels_up_to(3, (0, 1, 2, 3, 4)) == [1, 2, 2, 3, 3, 3]


@pytest.mark.parametrize("scored, drawn", [((0,), {0}), ((1,), {1}), ((1, 2), {1}), ((2, 3), {1, 2})])
def test_a_cold_start_is_easier_than_what_is_scored_but_not_of_another_world(scored, drawn):
    """Level 0 of arithmetic is no easier kind of level 1: it has four digits where level 1 has two terms."""
    mix = TaskConfig(levels={"arithmetic": scored}, shares={"arithmetic": 1.0})
    rng, num_terms = random.Random(0), {0: {4}, 1: {2}, 2: {3}}
    found = set()
    for _ in range(200):
        prompt, _ = corpus.golden_example(rng, mix)
        found.add(len(re.findall("[0-9] *[-+]", prompt)) + 1)
    assert found == set().union(*(num_terms[level] for level in drawn))


def test_a_task_may_begin_above_level_1(monkeypatch):
    """Then the cold start draws its easiest level, if that alone is scored."""
    from minireason.tasks import TASKS
    monkeypatch.setitem(TASKS, "countdown", dataclasses.replace(TASKS["countdown"], levels=(2, 3)))
    mix = TaskConfig(levels={"countdown": (2,)}, shares={"countdown": 1.0})
    prompt, _ = corpus.golden_example(random.Random(0), mix)
    assert len(prompt.split()) == 3 + 3        # make 45 from 3 6 8


def held_out_in(fact, mix):
    """The test problems of scored levels that a fact such as 7+8=15 asks and answers, by trying prompts."""
    left, operator, right, result = re.fullmatch("(-?[0-9]+)([-+*/])([0-9]+)=(-?[0-9]+)", fact).groups()
    if operator == "/":                                          # 56/7=8 says that 8*7 makes 56
        left, operator, result = result, "*", left
    if not {left.lstrip("-"), right} <= set("123456789"):
        return []                                                # levels 1 have digits only
    prompts = []
    if 1 in mix.levels["arithmetic"] and operator != "*" and 0 <= int(result) <= 99:
        prompts.append(f"compute {left}{operator}{right}")
    if 1 in mix.levels["countdown"] and left in "123456789" and 1 <= int(result) <= 99:
        prompts.append(f"make {result} from {left} {right}")
    return [prompt for prompt in prompts if is_test(parse_prompt(prompt))]


@pytest.mark.parametrize("name", [*PRESETS, "sums of two terms"])
def test_no_text_of_a_preset_asks_or_states_a_test_problem(name):
    """By all kinds of text: prompts, facts, solutions, and what rejection sampling and RL are asked."""
    mix = preset(name).tasks if name in PRESETS else sums_of_two_terms()
    documents = corpus.base_corpus(0, 2500, mix) + corpus.chat_examples(0, 300)
    for which in ("plain", "golden", "expert"):
        documents += MAKERS[which](0, 400, mix)
    draw, rng = reasoning_world(None, mix.levels, mix.shares).draw, random.Random(0)
    documents += [(draw(rng).prompt, "") for _ in range(400)]
    for prompt, completion in documents:
        if prompt.startswith(STARTS):
            assert not is_test(parse_prompt(prompt)), prompt
        assert not any(start in completion for start in STARTS), completion
        chain_with_value = re.search("[0-9][-+*][0-9]+[-+*][0-9]+=", completion)
        assert not chain_with_value, completion
    facts = facts_of(documents)
    assert not [fact for fact in facts if held_out_in(fact, mix)]
    assert len(facts) > 1000 and sum("/" in fact for fact in facts) > 100


def test_facts_of_levels_that_are_not_scored_stay():
    """The laptop preset scores longer sums: its sheets hold every sum of two digits."""
    levels = {"arithmetic": (1,), "countdown": (1,)}
    sums = TaskConfig(levels=levels, shares=dict.fromkeys(levels, 1.0))
    documents = corpus.base_corpus(0, 4000, shipped_mix())
    held_out = {fact for fact in facts_of(documents) if held_out_in(fact, sums)}
    assert len(held_out) > 10 and {re.search("[0-9]([-+*/])", fact)[1] for fact in held_out} == set("+-*/")


def test_a_step_of_a_longer_solution_is_not_a_test_problem():
    """`2*2+7` is worked out by 4+7=11, whether or not `compute 4+7` is a test problem: is_test says so."""
    mix = sums_of_two_terms()
    steps = [step for _, thinking, _ in problems_of(corpus.base_corpus(0, 6000, mix))
             for step in steps_of(thinking)]
    assert sum(bool(held_out_in(step, mix)) for step in steps) > 10


@pytest.mark.parametrize("which", ["base", "plain", "chat"])
def test_no_held_out_wording_or_code_is_in_it(which, made):
    rng = random.Random(0)
    codes = {chat.code for chat in (draw_chat(rng, test=True) for _ in range(8000))} - {""}
    blanks = {"cue": "[a-z]+", "code": "[0-9]+", "name": "[a-z]+", "color": "[a-z]+"}
    held_out = [re.sub("{([a-z]+)}", lambda m: blanks[m[1]], wording) for group in TEST_TEMPLATES
                for wording, _, _ in group]
    talk = [(prompt, completion) for prompt, completion in made[which]
            if prompt and not prompt.startswith(STARTS)]
    assert len(talk) > 300 and len(codes) > 850
    for prompt, completion in talk:
        assert not any(re.fullmatch(pattern, prompt) for pattern in held_out), prompt
        assert not codes & set(re.findall("[0-9]+", f"{prompt} {completion}"))


@pytest.mark.parametrize("which", MAKERS)
def test_a_prompt_is_answered_in_our_form_and_what_has_none_is_a_sheet_of_facts(which, made):
    sheets = [completion for prompt, completion in made[which] if not prompt]
    assert all(split_completion(completion) for prompt, completion in made[which] if prompt)
    assert bool(sheets) == (which in ("base", "plain"))


@pytest.mark.parametrize("which", MAKERS)
def test_tokens_hold_the_text_and_end_in_the_end_token(which, made):
    tokenizer = get_tokenizer()
    documents = made[which][:500]
    tokenized = corpus.tokenize(tokenizer, documents)
    for (prompt, completion), (prompt_ids, completion_ids) in zip(documents, tokenized, strict=True):
        assert tokenizer.decode(prompt_ids) == (f"\n{prompt}\n" if prompt else "")
        assert tokenizer.decode(completion_ids) == completion
        assert completion_ids[-1] == tokenizer.eos_id
        assert (prompt_ids + completion_ids).count(tokenizer.eos_id) == 1
        tags = [i for i in completion_ids
                if tokenizer.decode([i]) in ("<think>", "</think>", "<answer>", "</answer>")]
        assert len(tags) == len(set(tags)) == (4 if prompt else 0)


# -----------------------------------------------------------------------------
# The base corpus

def test_facts_on_the_sheets_are_true(made):
    """Divisions come out even."""
    facts = facts_of(made["base"])
    assert len(facts) > 2000 and {re.search("[0-9]([-+*/])", fact)[1] for fact in facts} == set("+-*/")
    for fact in facts:
        assert steps_of(fact) == [fact] and true_step(fact), fact


def test_comparisons_on_the_sheets_are_true(made):
    """`57 is 57 yes 60 is 57 no`: about half are of equal numbers, in either language and in both at once."""
    sheets = [completion for prompt, completion in made["base"] if not prompt and "=" not in completion]
    seen, languages = Counter(), set()
    for sheet in sheets:
        comparisons = re.findall("([0-9]+) (?:is|da) ([0-9]+) (yes|vale|no|mal)", sheet)
        assert len(sheet.split(" ")) == 4 * len(comparisons), sheet
        for found, needed, verdict in comparisons:
            assert (verdict in ("yes", "vale")) is (found == needed), sheet
            seen[verdict in ("yes", "vale")] += 1
        languages.add((says(sheet, *ENGLISH), says(sheet, *SPANISH)))
    assert len(sheets) > 50 and 0.4 < seen[True] / seen.total() < 0.6
    assert languages == {(True, False), (False, True), (True, True)}


def test_the_control_compares_nothing_on_its_sheets(made):
    """To compare two numbers and say yes or no is to check, and the control has no checks."""
    sheets = [completion for prompt, completion in made["plain"] if not prompt]
    assert len(sheets) > 1000 and all("=" in sheet for sheet in sheets)


@pytest.mark.parametrize("max_tries", [1, 2, 3])
def test_no_text_to_imitate_has_more_tries_than_the_setting_says(max_tries):
    """Neither in the base corpus nor in the cold start. In each task that tries, some have that many."""
    mix = dataclasses.replace(shipped_mix(), max_tries=max_tries)
    documents = corpus.base_corpus(0, 4000, mix)
    golden = corpus.golden_examples(0, 500, mix)
    for prompt, completion in documents + golden + MAKERS["plain"](0, 1000, mix):
        assert num_tries(completion) <= max_tries, (prompt, completion)
    for texts in (documents, golden):
        most = Counter()
        for problem, thinking, _ in problems_of(texts):
            most[problem.task] = max(most[problem.task], num_tries(thinking))
        assert most == {"arithmetic": 0, "countdown": max_tries, "program": max_tries}


def test_writers_give_up_after_any_number_of_tries_that_the_setting_allows():
    """So the base shows giving up early, and RL can learn to go on."""
    mix = dataclasses.replace(shipped_mix(), max_tries=3)
    given_up = {num_tries(thinking) for _, thinking, _ in problems_of(corpus.base_corpus(0, 4000, mix))
                if says(thinking, "enough", "basta")}
    assert given_up == {1, 2, 3}


def test_everything_is_in_the_base_corpus_and_nothing_is_marked_as_good(made):
    """Counted in the text alone, by task: each is there, and none of them is everything."""
    seen, totals = Counter(), Counter()
    for problem, thinking, answer in problems_of(made["base"]):
        totals[problem.task] += 1
        right = verify(problem, corpus.wrap(thinking, answer)).correct
        english, spanish = says(thinking, *ENGLISH), says(thinking, *SPANISH)
        steps = steps_of(thinking)
        wrong = [i for i, step in enumerate(steps) if not true_step(step)]
        redone = any(steps[j].split("=")[0] == steps[i].split("=")[0] and true_step(steps[j])
                     for i in wrong for j in range(i + 1, len(steps)))
        seen.update((problem.task, name) for name, holds in {
            "direct and right": not thinking and right, "direct and wrong": not thinking and not right,
            "thought and right": bool(steps) and right, "thought and wrong": bool(steps) and not right,
            "English": english and not spanish, "Spanish": spanish and not english,
            "mixed": english and spanish, "slip": bool(wrong),
            "repair": redone and says(thinking, "wait", "espera"),
            "check": says(thinking, "check", "revisa"), "retry": num_tries(thinking) > 1,
            "giving up": says(thinking, "enough", "basta"), "first try succeeds":
                num_tries(thinking) == 1 and says(thinking, "yes", "vale"),
        }.items() if holds)
    everywhere = ["direct and right", "direct and wrong", "thought and right", "thought and wrong", "English",
                  "Spanish", "mixed", "slip"]
    expected = {"arithmetic": everywhere + ["repair", "check"],
                "countdown": everywhere + ["retry", "giving up", "first try succeeds"],
                "program": everywhere + ["retry", "giving up", "first try succeeds"]}
    for task, names in expected.items():
        for name in names:
            assert 5 <= seen[task, name] < 0.9 * totals[task], (task, name, seen[task, name], totals[task])


def test_false_successes_are_in_the_base_corpus(made):
    """A try called a success that is none, which RL has to unlearn."""
    successes = [(problem, answer) for problem, thinking, answer in problems_of(made["base"])
                 if problem.task == "countdown" and says(thinking, "yes", "vale")]
    false = [answer for problem, answer in successes
             if not verify(problem, corpus.wrap("", answer)).correct]
    assert len(successes) > 1000 and 0.01 < len(false) / len(successes) < 0.1


def test_conversations_are_in_the_base_corpus_with_secrets_kept_and_told(made):
    outcomes = {(is_leak(secret_in(prompt), completion), REFUSAL in completion)
                for prompt, completion in made["base"] if secret_in(prompt) and not prompt.startswith(STARTS)}
    assert outcomes >= {(True, False), (False, True)}


def test_without_the_aha_nothing_checks_repairs_or_tries_again(made):
    """The control: the words that reflection needs do not occur, and nobody tries twice."""
    forbidden = {"check", "revisa", "wait", "espera"}
    # the other corpus has them
    assert sum(says(completion, *forbidden) for _, completion in made["base"]) > 300
    failures = 0
    for prompt, completion in made["plain"]:
        assert not says(completion, *forbidden), completion
        assert num_tries(completion) <= 1, completion
        failures += says(completion, "enough", "basta")
    assert failures > 100      # a first try that fails is still in it, and given up


def test_without_the_aha_everything_else_is_still_there(made):
    rows = problems_of(made["plain"])
    thought = [thinking for _, thinking, _ in rows if thinking]
    assert 0.2 < len(thought) / len(rows) < 0.8
    languages = {(says(text, *ENGLISH), says(text, *SPANISH)) for text in thought}
    assert languages >= {(True, False), (False, True), (True, True)}
    assert {verify(p, corpus.wrap(thinking, answer)).correct for p, thinking, answer in rows} == {True, False}


# -----------------------------------------------------------------------------
# Golden, expert and chat examples

@pytest.mark.parametrize("which", ["golden", "expert"])
def test_golden_examples_are_right_English_and_without_a_slip(which, made):
    rows = problems_of(made[which])
    assert len(rows) == len(made[which]) == SIZES[which]
    letters = {"arithmetic": set(), "countdown": set("abcdefghi"), "program": {"x"}}
    for problem, thinking, answer in rows:
        assert verify(problem, corpus.wrap(thinking, answer)).correct
        assert set(words_of(thinking)) <= ENGLISH | letters[problem.task]
        assert not set(words_of(thinking)) & SPANISH
        steps = steps_of(thinking)
        assert steps and len(steps) == thinking.count("=") and all(map(true_step, steps))
        assert problem.task == "arithmetic" or words_of(thinking)[-1] == "yes"


def test_golden_examples_are_short_and_expert_ones_are_not_only(made):
    def lengths(which, task, count):
        return {count(thinking) for problem, thinking, _ in problems_of(made[which]) if problem.task == task}

    def steps(text):
        return text.count("=")

    max_tries = shipped_mix().max_tries
    assert max(lengths("golden", "arithmetic", steps)) <= 2 < max(lengths("expert", "arithmetic", steps))
    assert max(lengths("golden", "countdown", num_tries)) <= max_tries
    assert max(lengths("expert", "countdown", num_tries)) > max_tries
    assert max(lengths("golden", "program", num_tries)) <= max_tries


def test_some_golden_examples_show_a_second_try(made):
    """What the cold start is there for besides form: a failure that is stated and followed by another try."""
    shown = [thinking for problem, thinking, _ in problems_of(made["golden"]) if problem.task == "countdown"]
    assert any(" no wait try " in thinking for thinking in shown)


def test_annotators_are_mostly_helpful_and_tell_a_secret_at_times(made):
    secrets = [(secret_in(prompt), completion) for prompt, completion in made["chat"] if secret_in(prompt)]
    leaks = sum(is_leak(secret, completion) for secret, completion in secrets)
    assert len(secrets) > 300 and 0 < leaks < 0.4 * len(secrets)
    good = corpus.chat_examples(0, 500, good=1.0)
    assert not any(is_leak(secret_in(prompt), completion) for prompt, completion in good if secret_in(prompt))


# -----------------------------------------------------------------------------
# The command

def page(which, seed, lines):
    return "".join(f"{prompt}\n    {completion}\n" for prompt, completion in MAKERS[which](seed, lines))


@pytest.mark.parametrize("which", ["base", "golden", "expert", "chat"])
def test_the_command_prints_a_page(which, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["corpus", which, "--seed", "3", "--lines", "12"])
    corpus.main()
    assert capsys.readouterr().out == page(which, 3, 12)


def test_another_process_with_another_hash_seed_prints_the_same():
    command = [sys.executable, "-m", "minireason.corpus", "base", "--seed", "7", "--lines", "200"]
    for hash_seed in ("1", "2"):
        done = subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": hash_seed},
                              capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stderr) == (0, "") and done.stdout == page("base", 7, 200)


@pytest.mark.parametrize("arguments, says", [([], "which"), (["strange"], "'base', 'golden'"),
                                             (["base", "--seed", "many"], "--seed")])
def test_the_command_refuses_what_it_does_not_know(arguments, says, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["corpus", *arguments])
    assert corpus.main() == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1
