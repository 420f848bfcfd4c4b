"""A run's folder, opening models of it, and runs of earlier versions.

That in tests/data is of 83179b8, with its settings. Its files were brought to today's form once. A word took
no space behind it then: a piece that it never read got the row of the padding. And what a file has to say
today was added. Its words keep the order that they had, so that its rows are moved each time that it is
opened.
"""

import json
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from helpers import SHIPPED, last_error

import sample
import train
from minireason.begin import fresh_folder, stages_before
from minireason.config import Config, ModelConfig
from minireason.inference import answer_all
from minireason.model import GPT
from minireason.run import (
    STAGES,
    Run,
    checkpoint_path,
    folder_of,
    last_stage,
    new_results,
    open_model,
    open_state,
    read_results,
    scored_on,
    stages_of,
    start_of,
)
from minireason.settings import from_dict, to_dict
from minireason.tokenizer import get_tokenizer, pieces_of, tokenizer_of
from minireason.upkeep import checkpoint
from minireason.upkeep.command import BadInput, Fault
from minireason.upkeep.vocabulary import move_to_vocabulary

OLD = Path(__file__).parent / "data" / "run-of-83179b8"


def shipped_words():
    """Today's words, without those of any other task: the vocabulary of the weights in the repository."""
    return get_tokenizer(SHIPPED).words


def old_words():
    """The same words in another order."""
    return tuple(checkpoint.load(OLD / "base" / "checkpoint.pt")["vocabulary"])


# -----------------------------------------------------------------------------
# Stages

def test_stages_and_where_they_start_from():
    plain, pure = Config(), Config(pure_rl=True)
    assert stages_of(plain) == STAGES == ("base", "cold-start", "rl", "rejection", "align")
    assert stages_of(pure) == ("base", "rl")
    assert [start_of(stage, plain) for stage in STAGES] == [None, "base", "cold-start", "base", "rejection"]
    assert start_of("rl", pure) == "base"
    assert stages_before("rl", plain) == ("base", "cold-start") and stages_before("rl", pure) == ("base",)
    assert stages_before("all", plain) == ("base",)


def test_a_fresh_folder_is_named_after_what_is_special(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert fresh_folder(Config()) == Path("runs/laptop") and Path("runs/laptop").is_dir()
    assert fresh_folder(Config(algo="ppo", pure_rl=True)) == Path("runs/laptop-ppo-pure")
    assert fresh_folder(Config()) == Path("runs/laptop-2")
    Path("runs/laptop-3").write_text("a file")
    assert fresh_folder(Config()) == Path("runs/laptop-4")


def test_three_that_begin_at_once_get_three_folders(tmp_path, monkeypatch):
    """Each believes that a name is free, since none of them has made its folder yet."""
    monkeypatch.chdir(tmp_path)
    at_once = threading.Barrier(3)
    plain = Path.mkdir

    def mkdir(path, **kwargs):
        if path.name == "laptop":
            at_once.wait(60)
        plain(path, **kwargs)
    monkeypatch.setattr(Path, "mkdir", mkdir)
    with ThreadPoolExecutor(3) as pool:
        folders = list(pool.map(fresh_folder, [Config()] * 3))
    assert sorted(folders) == [Path("runs/laptop"), Path("runs/laptop-2"), Path("runs/laptop-3")]


def test_what_is_not_there_is_named_with_what_is(tmp_path):
    (tmp_path / "run" / "base").mkdir(parents=True)
    included = checkpoint_path(folder_of("pretrained"), "base")
    shutil.copyfile(included, tmp_path / "run" / "base" / "checkpoint.pt")
    with pytest.raises(BadInput, match="no checkpoint of a stage 'rejection': choose base"):
        open_model(tmp_path / "run", "rejection")
    with pytest.raises(BadInput, match="no checkpoint: train one"):
        open_model(tmp_path, "rl")
    with pytest.raises(BadInput, match="no checkpoint"):
        last_stage(tmp_path)
    with pytest.raises(BadInput, match="no finished stage 'rl'"):
        Run(tmp_path, Config(), torch.device("cpu")).load("rl")
    assert last_stage("pretrained") == "align" and folder_of("runs/a") == Path("runs/a")


def test_results_that_are_damaged_are_a_fault(tmp_path):
    assert read_results(tmp_path) is None
    for content in ("{", "[]", '{"stages": {}}'):
        (tmp_path / "results.json").write_text(content)
        with pytest.raises(Fault, match="is damaged .* delete it, and"):
            read_results(tmp_path)


def test_runs_are_comparable_if_they_are_scored_on_the_same_problems():
    one, other = Config(), Config()
    other.rl.learning_rate, other.evaluate.every = 1e-5, 10
    assert scored_on(to_dict(one)) == scored_on(to_dict(other))
    changed = [Config(), Config(), Config()]
    changed[0].evaluate.seed = 7
    changed[1].evaluate.num_by_task["program"] = 7
    changed[2].tasks.levels["countdown"] = (2,)
    for other in changed:
        assert scored_on(to_dict(one)) != scored_on(to_dict(other))


# -----------------------------------------------------------------------------
# Runs of earlier versions

def test_a_run_of_before_says_what_it_said(capsys):
    """Its ids stand in another order. 83179b8 itself gave three of these answers, greedily.

    The first and the fourth are others, since it never read the tokens `compute ` and ` is ` of its prompts.
    """
    stored = [json.loads(line) for line in (OLD / "answers.jsonl").read_text().splitlines()]
    for answer in stored:
        code = sample.main([answer["prompt"], "--run", str(OLD), "--stage", "base", "--json",
                            "--max-new-tokens", "60"])
        again = json.loads(capsys.readouterr().out)
        assert code == 0
        for key in ("thinking", "answer", "correct", "tokens"):
            assert again[key] == answer[key]
    assert len(stored) == 5


@pytest.mark.slow
def test_a_run_of_before_is_gone_on_with(tmp_path, capsys):
    """Two of four iterations of PPO are done: the critic and the optimizer have embeddings too."""
    shutil.copytree(OLD, tmp_path / "run")
    assert train.main(["rl", "--resume", "--out", str(tmp_path / "run")]) == 0
    lines = (tmp_path / "run" / "rl" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["iteration"] for line in lines] == [0, 1, 2, 3]
    state = checkpoint.load(tmp_path / "run" / "rl" / "checkpoint.pt")
    assert state["done"] and state["vocabulary"] == list(get_tokenizer(SHIPPED).words)
    assert sample.main(["compute 3+4", "--run", str(tmp_path / "run")]) == 0


def test_unknown_settings_are_named_and_do_not_keep_a_model_closed(tmp_path, capsys):
    shutil.copytree(OLD, tmp_path / "run")
    state = checkpoint.load(OLD / "base" / "checkpoint.pt")
    state["config"]["rl"]["momentum"] = 0.9
    checkpoint.save(tmp_path / "run" / "base" / "checkpoint.pt", **state)
    (tmp_path / "run" / "config.json").write_text(json.dumps(state["config"]))
    assert open_model(tmp_path / "run", "base", words=shipped_words())[0].config.width == 16
    assert train.main(["base", "--resume", "--out", str(tmp_path / "run")]) == 1
    error = capsys.readouterr().err
    assert "rl.momentum" in error and error.count("\n") == 1
    state["config"]["model"]["depth"] = 3
    checkpoint.save(tmp_path / "run" / "base" / "checkpoint.pt", **state)
    with pytest.raises(checkpoint.CheckpointError, match="depth"):
        open_model(tmp_path / "run", "base")


def test_missing_settings_take_their_defaults(tmp_path):
    state = checkpoint.load(OLD / "base" / "checkpoint.pt")
    del state["config"]["model"]["rope_theta"], state["config"]["evaluate"], state["config"]["aha"]
    checkpoint.save(tmp_path / "run" / "base" / "checkpoint.pt", **state)
    model, state = open_model(tmp_path / "run", "base")
    assert model.config.rope_theta == 1000.0 and from_dict(state["config"]).evaluate.num_problems == 1000


# -----------------------------------------------------------------------------
# Files that are damaged, or of something else

@pytest.mark.parametrize("name, change", [
    ("a matrix", lambda state: state["model"].update({"norm.weight": torch.zeros(3)})),
    ("a critic", lambda state: state.update(extra={"critic": {}})),
    ("no critic", lambda state: state.update(extra={})),
    ("no optimizer", lambda state: state.update(optimizer={})),
    ("a group", lambda state: state["optimizer"]["param_groups"].pop()),
    ("seconds", lambda state: state.update(seconds=None)),
    ("iteration", lambda state: state.update(iteration="x")),
    ("extra", lambda state: state.update(extra=None)), ("notes", lambda state: state.update(notes=[])),
    ("no settings", lambda state: state.update(config={})),
])
def test_an_unfinished_checkpoint_that_does_not_fit_is_one_line_and_code_1(tmp_path, capsys, name, change):
    """Nothing of it is taken silently: a critic that is missing is not replaced by a fresh one."""
    shutil.copytree(OLD, tmp_path / "run")
    state = checkpoint.load(OLD / "rl" / "checkpoint.pt")
    change(state)
    torch.save(state, tmp_path / "run" / "rl" / "checkpoint.pt")
    assert train.main(["rl", "--resume", "--out", str(tmp_path / "run")]) == 1
    assert "checkpoint.pt" in last_error(capsys)


@pytest.mark.parametrize("section, key, value", [
    ("rl", "num_prompts", -5), ("rl", "learning_rate", float("nan")), ("rl", "learning_rate", 10**400),
    ("model", "width", 0), ("model", "num_heads", 0), ("tasks", "arithmetic_share", 0.0),
    ("tasks", "program_levels", "9"),
    ("", "preset", "foo"), ("", "algo", "xx"), ("", "seed", None), ("", "rl", []), ("", "tasks", {}),
])
def test_settings_that_are_damaged_are_one_line_and_code_1(tmp_path, capsys, section, key, value):
    shutil.copytree(OLD, tmp_path / "run")
    settings = json.loads((OLD / "config.json").read_text())
    (settings[section] if section else settings)[key] = value
    (tmp_path / "run" / "config.json").write_text(json.dumps(settings))
    assert train.main(["rl", "--resume", "--out", str(tmp_path / "run")]) == 1
    assert "config.json" in last_error(capsys)


@pytest.mark.parametrize("change", [
    {"stages": []}, {"config": {}}, {"notes": []}, {"seconds": None}, {"stages": {"rl": {}}},
    {"stages": {"rl": 3}}])
def test_results_of_another_form_are_a_fault(tmp_path, change):
    good = new_results(Config(), "")
    (tmp_path / "results.json").write_text(json.dumps(good))
    assert read_results(tmp_path) == good
    (tmp_path / "results.json").write_text(json.dumps(good | change))
    with pytest.raises(Fault, match="results.json is damaged"):
        read_results(tmp_path)


def test_a_source_with_unknown_words_is_refused_before_anything_is_written(tmp_path, capsys):
    shutil.copytree(OLD, tmp_path / "source")
    state = checkpoint.load(OLD / "base" / "checkpoint.pt") | {"vocabulary": [*get_tokenizer().words,
                                                                              "zebra"]}
    state["model"]["embedding.weight"] = torch.zeros(len(pieces_of(state["vocabulary"])), 16)
    checkpoint.save(tmp_path / "source" / "base" / "checkpoint.pt", **state)
    arguments = ["rl", "--preset", "smoke", "--device", "cpu", "--pure-rl", "--from",
                 str(tmp_path / "source")]
    assert train.main([*arguments, "--out", str(tmp_path / "new")]) == 1
    assert "zebra" in last_error(capsys) and not (tmp_path / "new").exists()


# -----------------------------------------------------------------------------
# Vocabularies

def old_state(seed=0):
    """A checkpoint with its words in another order: a model, a critic, and an optimizer of both."""
    words = old_words()
    config = ModelConfig(vocab_size=len(pieces_of(words)), width=16, num_layers=1, num_heads=2,
                         num_kv_heads=1, mlp_width=16)
    model = GPT(config).init_weights(seed)
    critic = torch.nn.ModuleDict({"body": GPT(config).init_weights(seed + 1)})
    optimizer = torch.optim.AdamW([{"params": [*module.parameters()]} for module in (model, critic)])
    for module in (model, critic["body"]):
        module(torch.arange(40)[None]).logsumexp(-1).sum().backward()
    optimizer.step()
    return {"model": model.state_dict(), "extra": {"critic": critic.state_dict()},
            "optimizer": optimizer.state_dict(), "config": {"model": to_dict(config)},
            "vocabulary": list(words)}


def test_each_row_moves_to_where_its_token_is_now():
    before, after = old_state(), old_state()
    pieces, now = pieces_of(old_words()), pieces_of(shipped_words())
    assert set(pieces) == set(now) and pieces != now and move_to_vocabulary(after, pieces, now) == []
    embeddings = {0: "embedding.weight", len(before["model"]): "body.embedding.weight"}
    for piece in (b"<pad>", b"</answer>", b"\n", b"7", b"make", b" make", b"wait ", b" is ", b"hugo"):
        old, new = pieces.index(piece), now.index(piece)
        assert torch.equal(before["model"]["embedding.weight"][old], after["model"]["embedding.weight"][new])
        assert torch.equal(before["extra"]["critic"]["body.embedding.weight"][old],
                           after["extra"]["critic"]["body.embedding.weight"][new])
        for number in embeddings:
            for name in ("exp_avg", "exp_avg_sq"):
                assert torch.equal(before["optimizer"]["state"][number][name][old],
                                   after["optimizer"]["state"][number][name][new])
    assert before["optimizer"]["state"][0]["exp_avg"].any()          # else the comparison above shows nothing
    for number, moments in before["optimizer"]["state"].items():
        if number not in embeddings:
            assert torch.equal(moments["exp_avg"], after["optimizer"]["state"][number]["exp_avg"])


def test_a_new_word_gets_the_row_of_the_padding_and_moments_of_nothing():
    state, words = old_state(), (*shipped_words(), "sort")
    now = pieces_of(words)
    assert move_to_vocabulary(state, pieces_of(old_words()), now) == ["sort"]
    embedding = state["model"]["embedding.weight"]
    assert len(embedding) == len(now) == state["config"]["model"]["vocab_size"]
    sort = [b"sort", b" sort", b"sort ", b" sort "]
    for piece in sort:
        assert torch.equal(embedding[now.index(piece)], embedding[now.index(b"<pad>")])
        assert not state["optimizer"]["state"][0]["exp_avg"][now.index(piece)].any()
    assert now[-4:] == sort


def test_a_word_that_is_gone_is_refused_by_name(tmp_path):
    state = checkpoint.load(OLD / "base" / "checkpoint.pt")
    state["vocabulary"] = [*get_tokenizer().words, "zebra", "okapi"]
    state["model"]["embedding.weight"] = torch.zeros(len(pieces_of(state["vocabulary"])), 16)
    checkpoint.save(tmp_path / "base" / "checkpoint.pt", **state)
    says = "knows words that this version does not: okapi, zebra"
    with pytest.raises(checkpoint.CheckpointError, match=says) as error:
        open_state(tmp_path, "base")
    assert "\n" not in str(error.value)


def test_an_embedding_that_is_too_short_for_its_words_is_one_line_and_code_1(tmp_path, capsys):
    shutil.copytree(OLD, tmp_path / "run")
    state = checkpoint.load(OLD / "base" / "checkpoint.pt")
    state["model"]["embedding.weight"] = state["model"]["embedding.weight"][1:]
    state["config"]["model"]["vocab_size"] -= 1
    checkpoint.save(tmp_path / "run" / "base" / "checkpoint.pt", **state)
    assert sample.main(["compute 3+4", "--run", str(tmp_path / "run"), "--stage", "base"]) == 1
    error = capsys.readouterr().err
    assert "rows for" in error and "by another version" in error and error.count("\n") == 1
    begin = ["rl", "--preset", "smoke", "--device", "cpu", "--pure-rl", "--from", str(tmp_path / "run")]
    assert train.main([*begin, "--out", str(tmp_path / "new")]) == 1
    assert "by another version" in last_error(capsys) and not (tmp_path / "new").exists()


@pytest.mark.parametrize("vocabulary", ["try yes no", ["try", 3], [None], {"try": 1}, 7])
def test_a_vocabulary_that_is_none_is_one_line(tmp_path, vocabulary):
    state = checkpoint.load(OLD / "base" / "checkpoint.pt") | {"vocabulary": vocabulary}
    checkpoint.save(tmp_path / "run" / "base" / "checkpoint.pt", **state)
    with pytest.raises(checkpoint.CheckpointError, match="does not fit|damaged") as error:
        open_model(tmp_path / "run", "base")
    assert "\n" not in str(error.value)


def test_a_new_word_changes_nothing_of_what_a_model_says():
    """The logit of a word that was never read is that of the padding, which is never the largest."""
    words = shipped_words()
    model = open_model("pretrained", "rl", words=words)[0]
    state = checkpoint.load(folder_of("pretrained") / "rl" / "checkpoint.pt")
    move_to_vocabulary(state, pieces_of(words), pieces_of((*words, "sort")))
    wider = GPT(from_dict(state["config"]["model"], ModelConfig))
    wider.load_state_dict(state["model"])
    prompts = ["make 45 from 3 6 8", "compute 7*7+8*3-9", "program 1->5 2->7 6->15"]
    answers = answer_all(model, tokenizer_of(words), prompts, 80, 0, temperature=0.0)
    with_sort = tokenizer_of((*words, "sort"))
    assert answer_all(wider.eval(), with_sort, prompts, 80, 0, temperature=0.0) == answers
    assert "yes" in answers[0][0]
