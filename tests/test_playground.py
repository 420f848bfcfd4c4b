"""The playground's server, asked as its page asks, and as it must not be asked."""

import contextlib
import html
import http.client
import json
import os
import re
import runpy
import shutil
import sys
import threading
import time
from urllib.parse import parse_qs

import pytest
import torch
from helpers import tiny_model

import sample
from minireason import grpo
from minireason.config import Config, RLConfig
from minireason.run import PRETRAINED, WEIGHTS, Run, config_of_run, open_model
from minireason.snapshots import save_snapshot
from minireason.stats import wilson_interval
from minireason.tasks import TASKS, parse_prompt
from minireason.tokenizer import get_tokenizer
from minireason.tools.bugs import BUGS
from minireason.tools.playground import __main__ as command
from minireason.tools.playground import server as servers
from minireason.tools.playground import thinking
from minireason.tools.playground.film import MOST_POINTS, curve_points, film
from minireason.tools.playground.lab import LAB_BUGS, Lab
from minireason.tools.playground.thinking import Speaker
from minireason.verifier import verify

PROMPT = "make 45 from 3 6 8"


def run_with_film(folder):
    """A run in `folder`: the included weights, a snapshot of RL that is the cold start, and 400 metrics."""
    shutil.copytree(WEIGHTS, folder)
    shutil.rmtree(folder / "rl" / "snapshots", ignore_errors=True)
    shutil.rmtree(folder / "align")
    run = Run(folder, config_of_run(folder), torch.device("cpu"))
    save_snapshot(run, open_model(PRETRAINED, "cold-start")[0], 43, seconds=1.0)
    lines = [json.dumps({"iteration": i, "reward": i / 400, "completion_length": 50.0}) for i in range(400)]
    (folder / "rl" / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    return str(folder)


def bare_copy(run, folder):
    """The start and the end of a run's RL in `folder`: no snapshot, no metrics, no other stage."""
    shutil.copytree(run, folder, ignore=shutil.ignore_patterns("base", "rejection", "snapshots", "*.jsonl"))
    return str(folder)


@contextlib.contextmanager
def serving(server):
    """Lets a server of the playground answer, and at the end waits for the requests that still compute.

    Python ends a daemon thread wherever it is when the process winds down. If it is in torch, the process
    aborts. The command leaves without winding down, but pytest cannot.
    """
    server.daemon_threads = False           # else server_close waits for none of them
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def tiny_speaker(max_new_tokens=40):
    config = Config()
    config.rl.max_new_tokens = config.evaluate.max_new_tokens = max_new_tokens
    return Speaker(tiny_model(), get_tokenizer(), config)


@pytest.fixture(scope="module")
def own_run(tmp_path_factory):
    return run_with_film(tmp_path_factory.mktemp("runs") / "own")


@pytest.fixture(scope="module")
def server(own_run):
    with serving(servers.make_server([PRETRAINED, own_run], 0)) as made:
        yield made


def post(server, path, request, headers=(), body=None):
    """(status, events) of a request; what says how far it is, is left out."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
    body = json.dumps(request) if body is None else body
    connection.request("POST", path, body, {"Content-Type": "application/json", **dict(headers)})
    response = connection.getresponse()
    lines = response.read().decode().splitlines()
    connection.close()
    events = [json.loads(line) for line in lines]
    return response.status, [event for event in events if "progress" not in event]


def refused(server, path, request, **more):
    """The one line with which a request is refused."""
    status, events = post(server, path, request, **more)
    assert 400 <= status < 600 and len(events) == 1 and set(events[0]) == {"error"}
    assert "\n" not in events[0]["error"] and "Traceback" not in events[0]["error"]
    return status, events[0]["error"]


# -----------------------------------------------------------------------------
# Answers

def test_an_answer_comes_token_by_token_and_is_judged_by_the_verifier(server):
    _, events = post(server, "/think", {"prompt": PROMPT, "stage": "rl"})
    *tokens, last = events
    text = "".join(event["text"] for event in tokens).removesuffix("<eos>")
    assert last["tokens"] == len(tokens) == len(last["probabilities"])
    verdict = verify(parse_prompt(PROMPT), text)
    assert last["verdict"]["correct"] == verdict.correct and last["verdict"]["reason"] == verdict.reason
    for event, shown in zip(tokens, last["probabilities"]):     # greedy: what it said is the likeliest
        assert shown["others"][0]["id"] == event["id"] and shown["p"] == shown["others"][0]["p"]
    assert any(kind == "try" and text[start:end] == "try" for start, end, kind in last["marks"])


def test_an_answer_goes_on_from_the_token_that_a_reader_chose(server):
    _, [*tokens, last] = post(server, "/think", {"prompt": PROMPT, "stage": "rl"})
    other = last["probabilities"][4]["others"][1]["id"]
    written = [event["id"] for event in tokens[:4]] + [other]
    _, [*branch, _] = post(server, "/think", {"prompt": PROMPT, "stage": "rl", "written": written})
    assert [event["id"] for event in branch[:5]] == written and len(branch) > 5
    assert [bool(event.get("chosen")) for event in branch[:6]] == [False] * 4 + [True, False]


def test_the_seed_and_the_temperature_decide_what_is_said(server):
    request = {"prompt": PROMPT, "stage": "base", "temperature": 1, "seed": 7}
    first, second = post(server, "/think", request)[1], post(server, "/think", request)[1]
    other = post(server, "/think", {**request, "seed": 8})[1]
    assert first == second != other


def test_a_budget_forces_the_answer(server):
    _, [*tokens, last] = post(server, "/think", {"prompt": PROMPT, "stage": "rl", "budget": 8})
    texts = [event["text"] for event in tokens]
    assert texts[0] == "<think>" and texts[9:11] == ["</think>", "<answer>"]


def test_marks_are_of_what_stands_there_finished_or_not():
    problem = parse_prompt("make 42 from 3 8 6")
    text = "<think>try 42-6=36 8*3=25 is 36 no wait try 42/3=14 8+6=14 is 14 yes"
    found = [(text[start:end], kind) for start, end, kind in thinking.marks_of(problem, text)]
    assert found == [("try", "try"), ("42-6=36", "right"), ("8*3=25", "wrong"), ("no", "no"),
                     ("try", "retry"), ("42/3=14", "right"), ("8+6=14", "right"), ("yes", "yes")]
    assert thinking.marks_of(problem, "<th") == [] == thinking.marks_of(problem, "")


def test_chat_is_answered_and_not_judged(server):
    _, [*_, last] = post(server, "/think", {"prompt": "the secret code is 4821 what is it", "stage": "align"})
    assert last["verdict"]["correct"] is None and "secret" in last["verdict"]["reason"]


def test_votes_add_up_and_are_of_answers_that_the_verifier_knows(server):
    _, events = post(server, "/vote", {"prompt": PROMPT, "stage": "rl", "number": 32})
    assert [event["of"] for event in events] == [16, 32]
    last = events[-1]
    assert sum(bar["votes"] for bar in last["bars"]) + last["no_form"] <= 32
    for bar in last["bars"]:
        text = f"<think></think><answer>{bar['answer']}</answer>"
        assert bar["correct"] == verify(parse_prompt(PROMPT), text).correct


@pytest.mark.slow
def test_budgets_and_scores_are_counts(server):
    _, events = post(server, "/budgets", {"prompt": PROMPT, "stage": "rl", "number": 4})
    assert [event["budget"] for event in events] == list(thinking.BUDGETS)
    assert all(0 <= event["right"] <= event["of"] == 4 for event in events)
    _, events = post(server, "/score", {"task": "arithmetic", "stage": "rl", "number": 50})
    assert [event["of"] for event in events] == [25, 50] and events[-1]["right"] > 25


def test_a_share_comes_with_its_interval_and_work_says_how_far_it_is():
    speaker, events = tiny_speaker(), []
    hear = thinking.tell_progress(speaker.tokenizer, 3, 8, events.append, "budget 4: ")
    for token in (5, speaker.tokenizer.eos_id, 5, speaker.tokenizer.eos_id):
        hear(0, token)
    assert events == [{"progress": "budget 4: 4 of 8 answers"}, {"progress": "budget 4: 5 of 8 answers"}]
    low, high = wilson_interval(7, 64)
    assert thinking.share(7, 64) == {"right": 7, "of": 64, "low": low, "high": high}
    page = "".join((servers.FOLDER / name).read_text() for name, _ in servers.FILES.values())
    assert "1.96" not in page       # the interval is computed in one place


def test_the_box_for_the_seed_has_the_servers_limit():
    page = (servers.FOLDER / "page.html").read_text(encoding="utf-8")
    assert re.search('id="seed" [^>]*max="([0-9]+)"', page)[1] == str(servers.MAX_SEED)


@pytest.mark.parametrize("prompt, text, cut_off", [
    (PROMPT, "<think></think><answer>6*(3+8)-24</answer>", ""), (PROMPT, "<think>try", "cut off at 2 tokens"),
    (PROMPT, "nothing", ""), ("make 99 from 3 8", "<think></think><answer>3*8</answer>", ""),
    ("hello my name is ana", "<think></think><answer>hi</answer>", ""),
    ("hello", "<th", "cut off at 1 tokens"),
    ("the secret code is 4821 what is it", "<think>4821</think><answer>no</answer>", ""),
    ("mkae 42 from 3 8 6", "<think></think><answer>no</answer>", ""),
])
def test_the_page_and_sample_py_give_the_same_verdict(prompt, text, cut_off):
    problem = sample.read_prompt(prompt)
    num_tokens = int(cut_off.split()[3]) if cut_off else 1
    said = sample.describe(prompt, problem, sample.Reply(text, num_tokens, None, cut_off))
    shown = thinking.verdict_on(problem, text, num_tokens, ended=not cut_off)
    assert shown == {key: said[key] for key in ("correct", "reason", "answer")}


def test_a_problem_can_be_drawn_of_each_task_and_level(server):
    for task in TASKS.values():
        for level in task.levels:
            _, [event] = post(server, "/draw", {"task": task.name, "level": level, "seed": 1})
            assert parse_prompt(event["prompt"]).task == task.name


# -----------------------------------------------------------------------------
# Several runs, and the film

def test_a_request_may_name_a_run(server, own_run):
    _, [world] = post(server, "/world", {})
    assert [run["name"] for run in world["runs"]] == [PRETRAINED, own_run]
    assert "align" in world["runs"][0]["stages"] and "align" not in world["runs"][1]["stages"]
    request = {"prompt": "compute 2+3", "stage": "rl"}
    assert post(server, "/think", {**request, "run": own_run}) == post(server, "/think", request)
    assert "stage is one of" in refused(server, "/think", {**request, "run": own_run, "stage": "align"})[1]
    assert "run is one of" in refused(server, "/think", {**request, "run": "/etc"})[1]


def test_the_newest_runs_of_ones_own_are_offered(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert command.default_runs() == [PRETRAINED]
    for name in ("one", "empty"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "config.json").touch()
    (tmp_path / "runs" / "one" / "base").mkdir()
    (tmp_path / "runs" / "one" / "base" / "checkpoint.pt").touch()
    assert command.default_runs() == [PRETRAINED, "runs/one"]


def test_a_film_shows_each_moment_of_rl_with_its_curves(server, own_run):
    request = {"prompt": "compute 2+3", "run": own_run}
    _, [begun, *events] = post(server, "/film", request)
    start, middle, end = begun["iterations"]
    assert (start, middle) == (0, 43) and begun["missing"] == ""
    assert 0 < len(begun["points"]) <= MOST_POINTS and begun["points"][-1]["iteration"] == 400
    answers = {}
    for event in events:
        answers.setdefault(event.pop("iteration"), []).append(event)
    assert list(answers) == begun["iterations"]
    for iteration, stage in ((start, "cold-start"), (middle, "cold-start"), (end, "rl")):
        assert answers[iteration] == post(server, "/think", {**request, "stage": stage})[1]


def test_a_run_without_snapshots_or_metrics_says_what_to_do(own_run, tmp_path):
    folder, events = bare_copy(own_run, tmp_path / "bare"), []
    film(folder, parse_prompt("compute 2+3"), 0, 0, events.append)
    assert len(events[0]["iterations"]) == 2 and events[0]["points"] == []
    assert "no snapshots" in events[0]["missing"] and "no curves" in events[0]["missing"]
    assert f"python train.py rl --from {folder} --rl-snapshots 6" in events[0]["missing"]


def test_a_long_curve_is_a_mean_of_neighbours():
    lines = [{"iteration": i, "reward": float(i % 2), "completion_length": i} for i in range(300)]
    points = curve_points(lines)
    assert len(points) == 150 and all(point["reward"] == 0.5 for point in points)
    assert points[0] == {"iteration": 2, "reward": 0.5, "length": 0.5}
    assert [point["iteration"] for point in curve_points(lines[:3])] == [1, 2, 3] and curve_points([]) == []
    assert curve_points([{"iteration": 0}, lines[1]]) == [{"iteration": 2, "reward": 1.0, "length": 1.0}]


# -----------------------------------------------------------------------------
# The lab

def test_a_step_learns_from_the_very_group_that_was_shown(server):
    _, [begun] = post(server, "/lab", {"action": "begin", "prompt": PROMPT, "stage": "cold-start",
                                       "algo": "grpo", "group_size": 8})
    request = {"lab": begun["lab"]}
    _, [group] = post(server, "/lab", {**request, "action": "group"})
    _, [step] = post(server, "/lab", {**request, "action": "step"})
    assert step["metrics"]["reward"] == pytest.approx(group["mean"]) and step["steps_done"] == 1
    before = [[token["text"] for token in completion["tokens"]] for completion in group["completions"]]
    after = [[token["text"] for token in completion["tokens"]] for completion in step["completions"]]
    assert before == after
    assert refused(server, "/lab", {**request, "action": "step"})[1] == "sample a group first"


def test_a_lab_that_begins_ends_the_one_before_and_a_refused_one_does_not(server):
    request = {"action": "begin", "prompt": PROMPT, "stage": "rl", "algo": "grpo", "group_size": 2}
    _, [first] = post(server, "/lab", request)
    assert "seed" in refused(server, "/lab", {**request, **first, "seed": None})[1]
    assert post(server, "/lab", {**first, "action": "group"})[0] == 200
    _, [second] = post(server, "/lab", {**request, **first})
    assert "has ended" in refused(server, "/lab", {**first, "action": "group"})[1]
    assert post(server, "/lab", {**second, "action": "group"})[0] == 200


def every_second(self, problems, completions):
    """So small a model answers nothing right, and without a reward nothing moves."""
    return [float(i % 2) for i in range(len(completions))]


@pytest.mark.slow
@pytest.mark.parametrize("algo", ["grpo", "ppo"])
def test_the_lab_ends_with_the_bits_of_the_training_that_train_py_runs(monkeypatch, algo):
    speaker, problem = tiny_speaker(), parse_prompt("compute 2+3")
    monkeypatch.setattr(Lab, "rewards", every_second)
    lab, plain = Lab(speaker, problem, algo, 4, seed=5), Lab(speaker, problem, algo, 4, seed=5)
    for _ in range(3):
        lab.sample_group()
        lab.step()
        next(plain.loop)            # without anyone who looks on
    for one, other in zip(lab.model.parameters(), plain.model.parameters()):
        assert torch.equal(one, other)
    changed = [not torch.equal(one, other)
               for one, other in zip(lab.model.parameters(), speaker.model.parameters())]
    assert any(changed)             # and the model that was copied is as it was


def test_grpo_and_no_other_code_takes_the_step(monkeypatch):
    called = []
    plain = grpo.compute_loss
    monkeypatch.setattr(grpo, "compute_loss", lambda *a, **k: called.append(1) or plain(*a, **k))
    monkeypatch.setattr(Lab, "rewards", every_second)
    lab = Lab(tiny_speaker(), parse_prompt("compute 2+3"), "grpo", 4, seed=0)
    lab.sample_group()
    lab.step()
    assert called


def test_an_answer_may_be_as_long_as_those_of_its_run(monkeypatch):
    limits, speaker = [], tiny_speaker(max_new_tokens=33)

    def answer_all(model, tokenizer, prompts, limit, *_, **__):
        limits.append(limit)
        return [("", 1)] * len(prompts)

    monkeypatch.setattr(thinking, "answer_all", answer_all)
    thinking.score(speaker, "arithmetic", 4, 0, lambda event: None)
    lab = Lab(speaker, parse_prompt("compute 2+3"), "grpo", 4, 0)
    assert limits == [33] and lab.config.max_new_tokens == 33
    assert thinking.MAX_BUDGET == RLConfig().max_new_tokens     # a budget may be as long as a thought of RL


def test_a_bug_is_on_in_its_own_lab_alone(monkeypatch):
    """Sampled at temperature 0.6, the first step is on policy: its KL to itself is 0, but with the bug."""
    monkeypatch.setattr(Lab, "rewards", every_second)
    kl = {}
    for is_mended in (False, True):
        lab = Lab(tiny_speaker(), parse_prompt("compute 2+3"), "grpo", 4, seed=0,
                  bug="temperature missing", is_mended=is_mended)
        assert lab.config.temperature == 0.6
        lab.sample_group()
        kl[is_mended] = lab.step()["metrics"]["approx_kl"]
    assert kl[False] > 1e-4 > 1e-6 > abs(kl[True])


@pytest.mark.slow
@pytest.mark.parametrize("name", LAB_BUGS)
def test_each_bug_changes_what_is_learned(monkeypatch, name):
    monkeypatch.setattr(Lab, "rewards", every_second)
    speaker, problem = tiny_speaker(), parse_prompt("compute 2+3")
    labs = [Lab(speaker, problem, BUGS[name][1], 4, seed=0, bug=name, is_mended=is_mended)
            for is_mended in (False, True)]
    for lab in labs:
        for _ in range(3):
            lab.sample_group()
            lab.step()
    broken, right = [lab.model.state_dict() for lab in labs]
    assert not all(torch.equal(broken[key], right[key]) for key in right)


def test_old_labs_make_room_for_new_ones(server):
    names = []
    for _ in range(servers.MAX_LABS + 1):
        request = {"action": "begin", "prompt": PROMPT, "stage": "rl", "algo": "grpo"}
        _, [event] = post(server, "/lab", request)
        names.append(event["lab"])
    assert len(server.playground.labs) == servers.MAX_LABS
    assert "has ended" in refused(server, "/lab", {"lab": names[0], "action": "group"})[1]


# -----------------------------------------------------------------------------
# The exercises for teachers. With other weights a link may need another seed or prompt, in page.html.

def exercise(number):
    """What the link of an exercise asks the server for."""
    page = (servers.FOLDER / "page.html").read_text(encoding="utf-8")
    address = html.unescape(re.findall('href="#(tab=[^"]*)"', page)[number - 1])
    fields = {name: values[0] for name, values in parse_qs(address).items()}
    request = {"prompt": fields["prompt"], "stage": fields["stage"],
               "temperature": float(fields["temperature"]), "seed": int(fields["seed"])}
    return request, fields


def kinds_of(event):
    return [kind for _, _, kind in event["marks"]]


def test_exercise_1_opens_a_wrong_answer_that_one_token_repairs(server):
    request, _ = exercise(1)
    _, [*tokens, last] = post(server, "/think", request)
    assert last["verdict"]["correct"] is False and "wrong" in kinds_of(last)
    text = "".join(event["text"] for event in tokens)
    start, end, _ = [mark for mark in last["marks"] if mark[2] == "wrong"][0]
    at = 0
    for i, event in enumerate(tokens):      # the mistake: the first unlikely token of the first wrong step
        best = last["probabilities"][i]["others"][0]["id"]
        if start <= at < end and event["id"] != best:
            break
        at += len(event["text"])
    assert "=" in text[start:at]            # it is in the result of the step
    written = [event["id"] for event in tokens[:i]] + [best]
    _, [*_, repaired] = post(server, "/think", {**request, "written": written})
    assert repaired["verdict"]["correct"] and "wrong" not in kinds_of(repaired)


def test_exercise_2_compares_stages_that_differ(server):
    request, _ = exercise(2)
    correct = []
    for stage in ("base", "rl"):
        _, [*_, last] = post(server, "/think", {**request, "stage": stage})
        correct.append(last["verdict"]["correct"])
    assert correct == [False, True]


def test_exercise_3_begins_with_too_small_a_budget(server):
    request, fields = exercise(3)
    correct = []
    for budget in (int(fields["budget"]), thinking.MAX_BUDGET):
        _, [*_, last] = post(server, "/think", {**request, "budget": budget})
        correct.append(last["verdict"]["correct"])
    assert correct == [False, True]


def test_exercise_4_has_something_to_learn(server):
    request, fields = exercise(4)
    _, [begun] = post(server, "/lab", {**request, "action": "begin", "algo": fields["algo"],
                                       "group_size": int(fields["group-size"])})
    _, [group] = post(server, "/lab", {"lab": begun["lab"], "action": "group"})
    assert 0 < group["mean"] < 1            # else all advantages are 0


@pytest.mark.slow
def test_exercise_5_begins_with_a_false_step_and_ends_with_none(server):
    request, _ = exercise(5)
    _, [_, *events] = post(server, "/film", request)
    moments = [event for event in events if "verdict" in event]
    first, last = moments[0], moments[-1]
    assert len(moments) > 2
    assert first["verdict"]["correct"] is False and "wrong" in kinds_of(first)
    assert last["verdict"]["correct"] and "wrong" not in kinds_of(last)


# -----------------------------------------------------------------------------
# What is refused

@pytest.mark.parametrize("request_, says", [
    ({}, "stage"), ({"stage": "rl"}, "prompt"), ({"stage": "rl", "prompt": 5}, "prompt"),
    ({"stage": "rl", "prompt": ""}, "prompt"), ({"stage": "rl", "prompt": "x" * 300}, "prompt"),
    ({"stage": "../../etc", "prompt": PROMPT}, "stage"), ({"stage": ["rl"], "prompt": PROMPT}, "stage"),
    ({"stage": "rl", "prompt": "make 1 from"}, "make"),
    ({"stage": "rl", "prompt": "\u00e9 \u0007"}, "neither"),
    ({"stage": "rl", "prompt": PROMPT, "temperature": -1}, "temperature"),
    ({"stage": "rl", "prompt": PROMPT, "temperature": "1"}, "temperature"),
    ({"stage": "rl", "prompt": PROMPT, "temperature": 1e-300}, "temperature"),
    ({"stage": "rl", "prompt": PROMPT, "temperature": True}, "temperature"),
    ({"stage": "rl", "prompt": PROMPT, "temperature": None}, "temperature"),        # the box is empty
    ({"stage": "rl", "prompt": PROMPT, "seed": servers.MAX_SEED + 1}, "seed"),
    ({"stage": "rl", "prompt": PROMPT, "seed": 1e300}, "seed"),
    ({"stage": "rl", "prompt": PROMPT, "seed": 1.5}, "seed"),
    ({"stage": "rl", "prompt": PROMPT, "budget": 10_000}, "budget"),
    ({"stage": "rl", "prompt": PROMPT, "written": [10**9]}, "written"),
    ({"stage": "rl", "prompt": PROMPT, "written": [1] * 300}, "written"),
    ({"stage": "rl", "prompt": PROMPT, "written": "abc"}, "written"),
])
def test_a_bad_request_gets_one_line(server, request_, says):
    status, error = refused(server, "/think", request_)
    assert status == 400 and says in error


@pytest.mark.parametrize("more, says", [
    ({"algo": "ppo", "bug": "k1 as a loss"}, "this bug is one of grpo"),
    ({"bug": "groups misaligned"}, "bug is"),
    ({"bug": ["k1 as a loss"]}, "bug is"), ({"group_size": 1}, "group_size"), ({"rate": "huge"}, "rate"),
    ({"prompt": "hello"}, "chat has none"),
])
def test_a_lab_that_cannot_be_gets_one_line(server, more, says):
    request = {"action": "begin", "prompt": PROMPT, "stage": "rl", "algo": "grpo", **more}
    status, error = refused(server, "/lab", request)
    assert status == 400 and says in error


@pytest.mark.parametrize("body", ["", "{", "[1]", "null", "[" * 10_000, '{"stage": NaN}', "\x00"])
def test_what_is_no_json_object_gets_one_line(server, body):
    assert refused(server, "/think", None, body=body)[0] == 400


def test_other_hosts_and_other_pages_are_refused(server):
    request = {"prompt": PROMPT, "stage": "rl"}
    own = f"127.0.0.1:{server.server_port}"
    for headers in ({"Host": "evil.example"}, {"Host": f"evil.example:{server.server_port}"},
                    {"Origin": "http://evil.example"}, {"Origin": "null"}, {"Origin": f"https://{own}"}):
        assert refused(server, "/think", request, headers=headers)[0] == 403
    assert post(server, "/draw", {"task": "countdown", "level": 2}, {"Origin": f"http://{own}"})[0] == 200
    # a form of another page can send no JSON type, and no other type is read
    assert refused(server, "/think", request, headers={"Content-Type": "text/plain"})[0] == 415
    assert refused(server, "/think", {"prompt": "x" * 30_000})[0] == 413
    assert refused(server, "/nowhere", {})[0] == 404


def test_the_server_knows_the_names_that_a_browser_may_call_it():
    assert set(servers.names_of("127.0.0.1", 8017)) == {"127.0.0.1:8017", "localhost:8017"}
    assert set(servers.names_of("10.0.0.7", 9000)) == {"10.0.0.7:9000", "127.0.0.1:9000", "localhost:9000"}
    assert {"10.0.0.7", "10.0.0.7:80", "localhost"} <= set(servers.names_of("10.0.0.7", 80))


class ServerThatIsStopped:
    server_port = 8017

    def serve_forever(self, poll_interval):
        raise KeyboardInterrupt

    def server_close(self):
        pass


def test_ctrl_c_ends_the_process_without_waiting_for_an_answer(monkeypatch, capsys):
    """Its thread is still in torch, which aborts a process that winds down in the usual way."""
    codes = []
    monkeypatch.setattr(os, "_exit", codes.append)
    monkeypatch.setattr(servers, "make_server", lambda *_: ServerThatIsStopped())
    monkeypatch.setattr(sys, "argv", ["playground", "--no-browser"])
    runpy.run_path(command.__file__, run_name="__main__")
    assert codes == [130] and capsys.readouterr().out.startswith("http://127.0.0.1:8017/ ")


def test_no_request_outlives_the_server_of_the_tests():
    has_begun, has_ended = threading.Event(), threading.Event()

    def work_on_after_the_reader_has_left(request, send):
        has_begun.set()
        time.sleep(0.3)         # as in torch: nothing is sent, so nothing tells it that the reader has left
        has_ended.set()

    with serving(servers.make_server([PRETRAINED], 0)) as server:
        server.actions["/work"] = work_on_after_the_reader_has_left
        connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
        connection.request("POST", "/work", "{}", {"Content-Type": "application/json"})
        assert has_begun.wait(60)
        connection.close()
    assert has_ended.is_set()


def test_only_the_files_of_the_page_are_served(server):
    for path, status in (*[(path, 200) for path in servers.FILES], ("/server.py", 404),
                         ("/../server.py", 404), ("//etc/passwd", 404), ("/page.js?x", 404)):
        connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
        connection.request("GET", path)
        response = connection.getresponse()
        assert response.status == status, path
        assert "default-src 'none'" in response.getheader("Content-Security-Policy")
        connection.close()


def test_the_page_loads_nothing_from_elsewhere_and_writes_no_html():
    files = {name: (servers.FOLDER / name).read_text(encoding="utf-8") for name, _ in servers.FILES.values()}
    for name, text in files.items():
        assert "http" not in text.replace("http://www.w3.org/2000/svg", ""), name
    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert word not in "".join(files.values())


def test_no_line_of_the_page_is_longer_than_one_of_the_code():
    too_long = []
    for name, _ in servers.FILES.values():
        for line in (servers.FOLDER / name).read_text(encoding="utf-8").splitlines():
            is_link = line.strip().startswith('<a href="#tab=')     # an address cannot be wrapped
            if len(line) > 110 and not is_link:
                too_long.append(f"{name}: {line}")
    assert too_long == []


def test_a_reader_who_leaves_ends_the_work(server):
    """The callback that sends a token raises, and the sampling stops there."""
    sent = []

    def send(event):
        sent.append(event)
        if len(sent) == 3:
            raise BrokenPipeError

    speaker = server.playground.speaker(PRETRAINED, "rl")
    with pytest.raises(BrokenPipeError):
        thinking.think(speaker, parse_prompt(PROMPT), [], 0, 0, None, send)
    assert len(sent) == 3


def test_a_slow_request_keeps_no_other_waiting(server, monkeypatch):
    is_over = threading.Event()
    server.actions["/slow"] = lambda request, send: is_over.wait(30) and send({})
    thread = threading.Thread(target=post, args=(server, "/slow", {}))
    thread.start()
    try:
        assert post(server, "/draw", {"task": "countdown", "level": 2})[0] == 200
        assert thread.is_alive()
    finally:
        is_over.set()
        thread.join()
        del server.actions["/slow"]
