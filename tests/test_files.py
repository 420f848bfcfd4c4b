"""Every file of a run, damaged in every way that we could think of, and every command that reads it.

The answer is one line and code 1, and the run stays as it was. A few damages are harmless: they are listed,
and the command says what it says of the whole run. A case is a file, a damage and a command.
"""

import importlib
import json
import os
import shutil
import sys
from pathlib import Path

import pytest
import torch
from test_train import TINY, assert_equal_weights, run, small_world, weights

import sample
import train
from minireason import align, evaluate, stages
from minireason.run import read_results
from minireason.tools import export, inspector, pretrained, report
from minireason.upkeep import metrics
from minireason.upkeep.command import exit_codes

OLD = Path(__file__).parent / "data" / "run-of-83179b8"
FLAGS = [*TINY, "--algo", "ppo", "--base-batch-size", "24", "--evaluate-num-problems", "4",
         "--evaluate-num-programs", "4", "--evaluate-max-new-tokens", "4", "--rl-num-iterations", "2",
         "--align-num-iterations", "3"]
pytestmark = [pytest.mark.slow,
              pytest.mark.skipif(sys.platform == "win32", reason="no pipes and devices among the files")]


@pytest.fixture(autouse=True)
def no_figures(monkeypatch):
    """They take longer than all the rest. What a report reads, it reads before."""
    monkeypatch.setattr(report.plots, "plot_stages", lambda *_: None)
    monkeypatch.setattr(report.plots, "plot_curves", lambda *_: None)
    monkeypatch.setattr(report.page, "as_html", lambda *_: "")


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """The runs to damage: `half`, interrupted after two iterations of align, and `whole`, the same, finished.

    `other` has another seed, and ended before rejection.
    """
    folder = tmp_path_factory.mktemp("good")
    with pytest.MonkeyPatch.context() as monkeypatch:
        small_world(monkeypatch)
        monkeypatch.setattr(train.report, "write_report", lambda *_: None)
        monkeypatch.setattr(train, "SAVE_EVERY", 0)
        monkeypatch.setattr(stages, "trained_reward_model", lambda run, model: (
            align.RewardModel(model), "agrees with the judge on 1 of 2 held-out pairs"))
        for name, last in (("half", ("align", 2)), ("other", ("rejection", 0))):
            with monkeypatch.context() as interrupted:
                interrupted.setattr(metrics, "append", interrupted_append(*last))
                seed = "1" if name == "other" else "0"
                assert run(*FLAGS, "--seed", seed, "--out", folder / name) == 130
        shutil.copytree(folder / "half", folder / "whole")
        assert run("--resume", "--out", folder / "whole") == 0
    return folder


def interrupted_append(stage, iteration):
    """`metrics.append`, but somebody presses Ctrl-C before this iteration of this stage is written."""
    def append(path, values, plain=metrics.append):
        if path.parent.name == stage and values["iteration"] == iteration:
            raise KeyboardInterrupt
        plain(path, values)
    return append


# -----------------------------------------------------------------------------
# What can happen to a file

def replaced(content):
    def damage(path, _):
        path.unlink()
        path.write_bytes(content)
    return damage


def folder_instead(path, _):
    path.unlink()
    path.mkdir()


def link_to(target):
    def damage(path, _):
        path.unlink()
        path.symlink_to(target)
    return damage


def pipe(path, _):
    path.unlink()
    os.mkfifo(path)


def huge(path, _):
    os.truncate(path, 2**32)        # 4 GiB that take no room on the disk


def cut(share):
    def damage(path, _):
        content = path.read_bytes()
        path.write_bytes(content[:int(share * len(content))])
    return damage


def gone(path, _):
    path.unlink()


def from_other(path, good):
    """The file of another run in its place."""
    shutil.copyfile(good / "other" / path.name, path)


NO_FILE = {
    "empty": replaced(b""), "noise": replaced(bytes(range(256)) * 9), "zeros": replaced(bytes(5000)),
    "a folder": folder_instead, "a link to nothing": link_to("/nowhere/at/all"), "a circle": link_to("."),
    "a pipe": pipe, "a device": link_to("/dev/zero"), "huge": huge, "the first half": cut(0.5),
    "all but the end": cut(0.9)}
NO_JSON = {
    **NO_FILE, "null": replaced(b"null"), "a number": replaced(b"7"), "a text": replaced(b'"seed"'),
    "a list": replaced(b"[]"), "an empty dict": replaced(b"{}"), "NaN": replaced(b"NaN"),
    "deep": replaced(b"[" * 100_000), "deep dicts": replaced(b'{"stages":' * 100_000),
    "UTF-16": replaced('{"seed": 0}'.encode("utf-16")), "a byte of no text": replaced(b'{"command": "\xff"}'),
    "twice": lambda path, _: path.write_bytes(2 * path.read_bytes())}


def value(place, new):
    """A JSON file whose value at a place such as "stages rl seconds" is `new`, or is left out."""
    def damage(path, _):
        content = json.loads(path.read_text())
        *way, last = [int(key) if key.isdecimal() else key for key in place.split("/")]
        holder = content
        for key in way:
            holder = holder[key]
        if new is gone:
            del holder[last]
        else:
            holder[last] = new
        path.write_text(json.dumps(content))
    return damage


def another_stage(path, _):
    content = json.loads(path.read_text())
    content["stages"]["../x"], content["seconds"]["../x"] = content["stages"]["rl"], 1.0
    path.write_text(json.dumps(content))


WRONG = {       # for a value of each type, others that it should not be
    int: [gone, None, "7", True, 1.5, [], float("nan"), 10**400],
    float: [gone, None, "7", True, [], float("inf"), 10**400],
    str: [gone, None, 7, ["a"], {"a": "b"}],
    bool: [gone, None, 1, "true"],
    dict: [gone, None, "7", [], 3],
    list: [gone, None, "7", {}, 3, [7], [None]],
}


def wrong_values(places):
    """Damages for {place: type}, by name."""
    damages = {}
    for place, kind in places.items():
        for new in WRONG[kind]:
            name = "missing" if new is gone else json.dumps(new)[:20]
            damages[f"{place} {name}"] = value(place, new)
    return damages


A_FEW_TEXTS = {name: NO_JSON[name] for name in (
    "empty", "a folder", "a link to nothing", "a pipe", "a list", "deep")}
CONFIG = NO_JSON | wrong_values({"seed": int, "model": dict, "tasks": dict, "copied": dict}) | {
    "another seed": value("seed", 3), "another rate": value("rl/learning_rate", 0.1),
    "another size": value("model/width", 64), "no heads": value("model/num_heads", 0),
    "a text for a number": value("rl/num_prompts", "4"), "a null": value("rl/gamma", None),
    "true for a number": value("rl/num_prompts", True), "NaN in it": value("rl/gamma", float("nan")),
    "an unknown setting": value("rl/momentum", 0.9), "a section too many": value("dpo", {"beta": 0.1}),
    "a list for a section": value("align", []), "a level that is none": value("tasks/program_levels", "9"),
    "a setting missing": value("rl/num_prompts", gone), "out of range": value("rl/clip_low", -1),
    "a copied stage that is none": value("copied/rl", 3), "another run's": from_other}
RESULTS = NO_JSON | wrong_values({
    "command": str, "config": dict, "config/seed": int, "config/algo": str, "config/evaluate": dict,
    "config/tasks": dict, "stages": dict, "seconds": dict, "seconds/rl": float, "notes": dict,
    "iterations": dict,
    "stages/rl/chat": dict, "stages/rl/chat/leaks": dict, "stages/rl/chat/samples": list,
    "stages/rl/arithmetic": dict,
    "stages/rl/arithmetic/accuracy": dict, "stages/rl/arithmetic/accuracy/value": float,
    "stages/rl/arithmetic/accuracy/num_problems": int, "stages/rl/arithmetic/levels": dict,
    "stages/rl/arithmetic/outcomes": str, "stages/rl/arithmetic/samples": list,
    "stages/rl/arithmetic/samples/0/correct": bool, "stages/rl/arithmetic/samples/0/prompt": str}) | {
    "threads are a number": value("ran with/rl", 2), "iterations are a list": value("iterations", []),
    "an iteration is a text": value("iterations/rl", "2"),
    "a stage that is none": another_stage,
    "a share above 1": value("stages/rl/arithmetic/accuracy/value", 5.0),
    "outcomes of nothing": value("stages/rl/arithmetic/outcomes", "yes!"),
    "too few outcomes": value("stages/rl/arithmetic/outcomes", "01"),
    "another seed": value("config/seed", 3), "another run's": from_other}
EXAMPLES = NO_JSON | wrong_values({
    "config": dict, "documents": list, "counts": dict, "documents/0": list, "documents/0/1": str}) | {
    "no documents": value("documents", []), "three texts": value("documents/0", ["a", "b", "c"]),
    "a count is a text": value("counts/kept", "4"), "another seed": value("config/seed", 3),
    "settings that are none": value("config", 7)}
EXAMPLES.pop("documents/0 missing")     # a shorter list is a good list
FLAGS_FILE = {**NO_JSON, "no texts": replaced(b"[1, 2]")}
FLAGS_FILE.pop("a list")                # no flags at all


def lines_changed(change):
    def damage(path, _):
        lines = path.read_text().splitlines(keepends=True)
        change(lines)
        path.write_text("".join(lines))
    return damage


def second_line(text):
    return lines_changed(lambda lines: lines.__setitem__(1, text + "\n"))


METRICS = NO_FILE | {
    "the first line lost": lines_changed(lambda lines: lines.pop(0)),
    "the second line lost": lines_changed(lambda lines: lines.pop(1)),
    "the last line lost": lines_changed(lambda lines: lines.pop()),
    "the last break lost": lambda path, _: path.write_bytes(path.read_bytes()[:-1]),
    "a line twice": lines_changed(lambda lines: lines.insert(1, lines[1])),
    "two lines exchanged": lines_changed(lambda lines: lines.reverse()),
    "no dict": second_line("[1]"), "no iteration": second_line('{"loss": 1.0}'), "null": second_line("null"),
    "a text": second_line('{"iteration": "1"}'), "true": second_line('{"iteration": true}'),
    "NaN": second_line('{"iteration": 1, "reward": NaN}'),
    "infinite": second_line('{"iteration": 1, "loss": 1e999}'),
    "a text for a number": second_line('{"iteration": 1, "reward": "0.5"}'),
    "a list for a number": second_line('{"iteration": 1, "reward": [0.5]}'),
    "deep": second_line('{"iteration": 1, "reward": ' + "[" * 100_000), "an empty line": second_line("")}
A_FEW_LINES = {name: METRICS[name] for name in (
    "empty", "a folder", "a link to nothing", "a pipe", "the first line lost", "the last line lost",
    "the last break lost", "a line twice", "NaN")}


# -----------------------------------------------------------------------------
# What can happen to a checkpoint that can still be read

def state(change):
    """A checkpoint whose dict was changed, and written with right checksums."""
    def damage(path, _):
        content = torch.load(path, weights_only=True)
        path.unlink()
        change(content)
        torch.save(content, path)
    return damage


def entry(place, new):
    def change(content):
        *way, last = [int(key) if key.isdecimal() else key for key in place.split("/")]
        holder = content
        for key in way:
            holder = holder[key]
        if new is gone:
            del holder[last]
        else:
            holder[last] = new(holder[last]) if callable(new) else new
    return state(change)


def all_weights(convert):
    def change(content):
        for name, weight in content["model"].items():
            content["model"][name] = convert(weight)
    return state(change)


def with_nan(weight):
    weight = weight.clone()
    weight.view(-1)[-1] = float("nan")
    return weight


def one_row_less(weight):
    return weight[:-1].clone()


def nested(depth):
    inner = []
    for _ in range(depth):
        inner = [inner]
    return inner


def stage_of(run_name, stage):
    """The checkpoint of another stage or run in its place."""
    return lambda path, good: shutil.copyfile(good / run_name / stage / "checkpoint.pt", path)


ALONE = {       # where no config.json says otherwise
    "settings of a wide model": entry("config/model/width", 10**9),
    "settings of a deep model": entry("config/model/num_layers", 10**6),
    "settings of another form": entry("config/model/mlp_width", 10**9),
    "settings without the model": entry("config/model", gone), "no settings": entry("config", {})}
PARTS = ("model", "optimizer", "extra", "config", "stage", "iteration", "done", "seconds")
CHECKPOINT = NO_FILE | {
    "another stage's": stage_of("whole", "cold-start"), "another run's": stage_of("other", "rl"),
    "a tensor": lambda path, _: torch.save(torch.zeros(3), path),
    "a list": lambda path, _: torch.save([], path),
    "weights alone": state(lambda content: [content.pop(key) for key in PARTS if key != "model"]),
    "an unknown part": state(lambda content: content.update(momentum=1)),
    "weights are whole numbers": all_weights(lambda weight: weight.int()),
    "weights are float64": all_weights(lambda weight: weight.double()),
    "weights are bfloat16": all_weights(lambda weight: weight.bfloat16()),
    "weights are float16": all_weights(lambda weight: weight.half()),
    "weights are complex": all_weights(lambda weight: weight.to(torch.complex64)),
    "weights are sparse": all_weights(lambda weight: weight.to_sparse()),
    "weights are nowhere": all_weights(lambda weight: weight.to("meta")),
    "weights are lists": all_weights(lambda weight: weight.tolist()),
    "one is float16": entry("model/norm.weight", lambda weight: weight.half()),
    "one is NaN": entry("model/embedding.weight", with_nan),
    "one is infinite": entry("model/norm.weight", lambda weight: weight / 0),
    "one is missing": entry("model/norm.weight", gone),
    "one is too many": state(lambda content: content["model"].update(head=torch.zeros(3))),
    "one has no name": state(lambda content: content["model"].update({7: torch.zeros(3)})),
    "one has another shape": entry("model/norm.weight", lambda weight: weight[None]),
    "one has fewer rows": entry("model/embedding.weight", one_row_less),
    "one is turned": entry("model/blocks.0.gate.weight", lambda weight: weight.T),
    "one repeats itself": entry("model/norm.weight", torch.zeros(1).expand(10**7, 10**7)),
    "settings without the model": entry("config/model", gone),
    "settings of a wide model": entry("config/model/width", 10**9),
    "settings of a deep model": entry("config/model/num_layers", 10**6),
    "settings of a narrow model": entry("config/model/num_heads", 0),
    "a width that is a text": entry("config/model/width", "32"),
    "another base of positions": entry("config/model/rope_theta", 500.0),
    "no base of positions": entry("config/model/rope_theta", True),
    "deep settings": entry("config/rl", nested(200)), "settings by number": entry("config", {1: 2}),
    "another seed": entry("config/seed", 3), "another rate": entry("config/rl/learning_rate", 0.1),
    "a model that is a number": entry("config/model", 3),
    "a seed that is a text": entry("config/seed", "0"), "a seed too large": entry("config/seed", 10**30),
    "a stage that is none": entry("stage", "rlhf"), "a number of a stage": entry("stage", 2),
    "an iteration before 0": entry("iteration", -1), "an iteration that is a text": entry("iteration", "2"),
    "an iteration that is true": entry("iteration", True), "half an iteration": entry("iteration", 1.5),
    "done is 1": entry("done", 1), "done is null": entry("done", None),
    "done is a text": entry("done", "yes"),
    "done is the other": entry("done", lambda done: not done),
    "seconds are NaN": entry("seconds", float("nan")), "seconds are a text": entry("seconds", "9"),
    "notes are a list": entry("notes", []), "notes hold weights": entry("notes", {"a": torch.zeros(2)}),
    "notes are deep": entry("notes", {"a": nested(200)}),
    "words are one text": entry("vocabulary", "try yes no"), "words are numbers": entry("vocabulary", [1, 2]),
    "words are missing": entry("vocabulary", lambda words: words[:-1]),
    "words are others": entry("vocabulary", lambda words: ["zebra", *words[1:]]),
    **{f"{part} is missing": entry(part, gone) for part in PARTS},
    **{f"{part} is null": entry(part, None) for part in PARTS}}
A_FEW = {name: CHECKPOINT[name] for name in (       # for commands that open it as others do
    "empty", "noise", "a folder", "a link to nothing", "a pipe", "a device", "all but the end", "a list",
    "another stage's", "another run's", "weights are whole numbers", "weights are float16", "one is NaN",
    "one is missing", "another seed", "iteration is null", "config is missing")}
UNFINISHED = {
    "noise": NO_FILE["noise"], "a pipe": pipe, "no networks": entry("extra", {}),
    "no critic": entry("extra/critic", gone),
    "a network too many": state(lambda content: content["extra"].update(judge={})),
    "a critic of nothing": entry("extra/critic", {}),
    "a critic with NaN": entry("extra/critic/body.embedding.weight", with_nan),
    "a critic of whole numbers": entry("extra/critic/value.bias", lambda weight: weight.int()),
    "a critic with a row less": entry("extra/critic/body.embedding.weight", one_row_less),
    "a critic of float16": entry("extra/critic/value.bias", lambda weight: weight.half()),
    "a reward model of nothing": entry("extra/reward_model", {}),
    "a reward model of another shape": entry("extra/reward_model/score.weight", torch.zeros(1, 3)),
    "a reward model with NaN": entry("extra/reward_model/score.bias", with_nan),
    "an optimizer of nothing": entry("optimizer", {"state": {}}),
    "no moments": entry("optimizer/state", {}),
    "the moments of one missing": entry("optimizer/state/3", gone),
    "moments of one too many": state(lambda content: content["optimizer"]["state"].update(
        {999: content["optimizer"]["state"][0]})),
    "a moment missing": entry("optimizer/state/0/exp_avg", gone),
    "a moment with NaN": entry("optimizer/state/0/exp_avg", with_nan),
    "a moment of whole numbers": entry("optimizer/state/0/exp_avg_sq", lambda moment: moment.int()),
    "a moment with a row less": entry("optimizer/state/0/exp_avg", one_row_less),
    "a step that is a number": entry("optimizer/state/0/step", 3),
    "two steps in one": entry("optimizer/state/0/step", torch.ones(2)),
    "a group missing": state(lambda content: content["optimizer"]["param_groups"].pop()),
    "groups are null": entry("optimizer/param_groups", None),
    "parameters in another order": entry("optimizer/param_groups/0/params", lambda params: params[::-1]),
    "parameters are texts": entry("optimizer/param_groups/0/params", lambda params: list(map(str, params))),
    "an iteration beyond the end": entry("iteration", 9),
    "half of a finished stage": stage_of("whole", "rl"),
    "the optimizer of another stage": lambda path, good: state(lambda content: content.update(
        optimizer=torch.load(OLD / "rl" / "checkpoint.pt", weights_only=True)["optimizer"]))(path, good)}


# -----------------------------------------------------------------------------
# Who reads it

def resume(folder, _):
    return run("--resume", "--out", folder)


def resume_rl(folder, _):
    return run("rl", "--resume", "--out", folder)


def resume_rejection(folder, _):
    return run("rejection", "--resume", "--out", folder)


def begin_from(folder, out):
    return run("align", *FLAGS, "--from", folder, "--out", out / "new")


def ask(folder, _):
    return sample.main(["compute 1+1", "--run", str(folder), "--stage", "rl", "--json",
                        "--max-new-tokens", "4"])


def score(folder, _):
    return evaluate.main(["--run", str(folder), "--stage", "rl", "--num-problems", "1", "--json"])


def inspect(folder, _):
    return inspector.main(["compute 1+1", "--run", str(folder), "--old", "rl", "--group-size", "2", "--json"])


def write_llama(folder, out):
    return export.main(["--run", str(folder), "--stage", "rl", "--to", str(out / "llama")])


def write_report(folder, _):
    return report.main([str(folder)])


def store(folder, _):
    return pretrained.main([str(folder)])


def results_of(folder, _):
    return exit_codes("reader")(lambda _: read_results(folder) and None)()


READERS = (     # of a file: the run that it is in, its damages, the commands that read it
    ("rl/checkpoint.pt", "whole", CHECKPOINT, (resume_rl, ask)),
    ("rl/checkpoint.pt", "whole", A_FEW, (begin_from, score, inspect, write_llama, store)),
    ("rl/checkpoint.pt", "alone", ALONE, (ask, write_llama)),
    ("align/checkpoint.pt", "half", UNFINISHED, (resume,)),
    ("config.json", "whole", CONFIG, (resume, ask)),
    ("results.json", "small", RESULTS, (results_of,)),
    ("results.json", "whole", A_FEW_TEXTS, (resume, begin_from, write_report, store)),
    ("rejection/examples.json", "unsampled", EXAMPLES, (resume_rejection,)),
    ("rl/metrics.jsonl", "whole", METRICS, (resume_rl, write_report)),
    ("rl/metrics.jsonl", "whole", A_FEW_LINES, (begin_from,)),
    ("align/metrics.jsonl", "half", A_FEW_LINES, (resume,)))

# A damaged config.json keeps no model closed, unless it can be read, and says that the model is another's.
CONTRADICTIONS = {"another seed", "another rate", "another size", "another run's", "a setting missing"}
HARMLESS = {
    ("config.json", "copied missing", "resume"),            # as an earlier version left it
    ("rl/checkpoint.pt", "done is the other", "ask")}       # an unfinished model can be asked
HARMLESS |= {("config.json", damage, "ask") for damage in set(CONFIG) - CONTRADICTIONS}


def cases():
    for file, kind, damages, commands in READERS:
        for damage in damages:
            for command in commands:
                yield pytest.param(file, kind, damages[damage], command, (file, damage, command.__name__),
                                   id=f"{file} {damage} {command.__name__}")


CASES = list(cases())


def copy_of(good, kind, folder):
    """A copy of a good run: of checkpoints only the names are copied, which is quick."""
    if kind == "small":
        folder.mkdir()
        for name in ("config.json", "results.json"):
            shutil.copy(good / "whole" / name, folder)
        return
    source = {"alone": "whole", "unsampled": "whole"}.get(kind, kind)

    def link(path, target):
        if path.endswith(".pt"):
            os.link(path, target)
        else:
            shutil.copy(path, target)
    shutil.copytree(good / source, folder, copy_function=link)
    if kind == "unsampled":
        (folder / "rejection" / "checkpoint.pt").unlink()
    if kind == "alone":
        (folder / "config.json").unlink()


def look(folder):
    """Every file below a folder, and what would differ if it had been written to."""
    facts = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        if not path.is_dir():
            facts[path] = (status.st_ino, status.st_mode, status.st_size, status.st_mtime_ns)
    return facts


def test_there_are_many_cases():
    assert len(CASES) >= 350 and HARMLESS <= {case.values[-1] for case in CASES}


@pytest.mark.parametrize("file, kind, damage, command, name", CASES)
def test_a_damaged_file_is_one_line_and_changes_nothing(good, tmp_path, monkeypatch, capsys,
                                                        file, kind, damage, command, name):
    monkeypatch.setattr(pretrained, "WEIGHTS", tmp_path / "weights")
    folder, out = tmp_path / "run", tmp_path / "out"
    copy_of(good, kind, folder)
    path = folder / file
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)           # a file of its own, no other name of the good one
    damage(path, good)
    before = look(tmp_path)
    code = command(folder, out)
    printed = capsys.readouterr()
    if name in HARMLESS:
        assert code == 0
        if command is ask:
            assert printed.out == answer_of(good / "whole", capsys)
        return
    assert code == 1, printed
    [line] = printed.err.splitlines()
    assert str(folder) in line and len(line) < 500
    assert look(tmp_path) == before


def answer_of(folder, capsys):
    assert ask(folder, None) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("command", [resume, begin_from, ask, score, inspect, write_llama, write_report,
                                     store])
def test_without_damage_each_of_these_commands_does_its_work(good, tmp_path, monkeypatch, command):
    """Else the table above would show nothing."""
    monkeypatch.setattr(pretrained, "WEIGHTS", tmp_path / "weights")
    copy_of(good, "whole", tmp_path / "run")
    assert command(tmp_path / "run", tmp_path / "out") == 0


# -----------------------------------------------------------------------------
# Whose file is it?

def test_a_seed_that_was_edited_is_refused_while_a_file_of_the_other_seed_is_there(good, tmp_path, capsys):
    folder = tmp_path / "run"
    copy_of(good, "whole", folder)
    text = (folder / "config.json").read_text()
    (folder / "config.json").write_text(text.replace('"seed": 0', '"seed": 3', 1))
    shutil.rmtree(folder / "rejection")
    for file in ("results.json", "base/checkpoint.pt"):
        assert run("--resume", "--out", folder) == 1
        [line] = capsys.readouterr().err.splitlines()
        assert file in line and "(seed)" in line
        (folder / "results.json").unlink(missing_ok=True)
    assert not (folder / "rejection").exists()


def test_a_copied_stage_keeps_its_own_seed_and_no_other_is_taken_for_it(good, tmp_path, capsys):
    """The copy may also be trained again: then it is the run's own."""
    folder = tmp_path / "new"
    assert run("rl", *FLAGS, "--seed", "7", "--from", good / "whole", "--out", folder) == 0
    copied = json.loads((folder / "config.json").read_text())["copied"]
    assert {stage: settings["seed"] for stage, settings in copied.items()} == {"base": 0, "cold-start": 0}
    assert run("--resume", "--out", folder, "rl") == 0 and ask(folder, None) == 0
    again = tmp_path / "again"
    assert run("align", *FLAGS, "--seed", "8", "--from", folder, "--out", again) == 2       # no rejection yet
    assert run("rl", *FLAGS, "--seed", "8", "--from", folder, "--out", again) == 0          # a copy of a copy
    capsys.readouterr()
    shutil.copy(good / "other" / "base" / "checkpoint.pt", folder / "base")
    assert run("rl", "--resume", "--out", folder) == 0      # rl is finished, and does not read its base
    assert run("base", "--resume", "--out", folder) == 1
    assert "(seed)" in capsys.readouterr().err
    shutil.rmtree(folder / "base")
    assert run("base", "--resume", "--out", folder) == 0
    assert torch.load(folder / "base" / "checkpoint.pt", weights_only=True)["config"]["seed"] == 7
    assert run("base", "--resume", "--out", folder) == 0


def test_a_stage_may_be_copied_from_weights_in_half_precision(good, tmp_path):
    """Those that are included are stored so."""
    copy_of(good, "whole", tmp_path / "source")
    (tmp_path / "source" / "config.json").unlink()
    for stage in ("base", "cold-start"):
        path = tmp_path / "source" / stage / "checkpoint.pt"
        all_weights(lambda weight: weight.half())(path, good)
        path.with_name("metrics.jsonl").unlink()
    assert run("rl", *FLAGS, "--from", tmp_path / "source", "--out", tmp_path / "new") == 0
    assert run("rl", "--resume", "--out", tmp_path / "new") == 0


def test_the_settings_of_an_optimizer_are_those_of_the_run(good, tmp_path):
    """Its moments are read from the file, and the rest is not: the same bits come out."""
    copy_of(good, "half", tmp_path / "run")
    path = tmp_path / "run" / "align" / "checkpoint.pt"
    content = torch.load(path, weights_only=True)
    path.unlink()
    content["optimizer"]["param_groups"][0].update(lr="fast", betas=(0.5, 0.5), weight_decay=None)
    torch.save(content, path)
    assert resume(tmp_path / "run", None) == 0
    assert_equal_weights(weights(good / "whole", "align"), weights(tmp_path / "run", "align"))


@pytest.mark.parametrize("damage", FLAGS_FILE)
def test_the_flags_of_a_study_are_read_through_the_same_door(tmp_path, monkeypatch, damage):
    monkeypatch.syspath_prepend(Path(train.__file__).parent / "lessons")
    study = importlib.import_module("runs")
    monkeypatch.setattr(study, "STUDIES", tmp_path)
    path = tmp_path / "a.flags.json"
    path.write_text('["base"]')
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "config.json").write_text("{}")       # a run was begun
    FLAGS_FILE[damage](path, None)
    with pytest.raises(SystemExit) as exit:
        study.ensure("a", "base")
    assert str(path) in exit.value.code and "\n" not in exit.value.code       # a text: printed, and code 1
