"""Token by token: the numbers against a forward pass of the row alone,
and the page in a parser of its own."""

import dataclasses
import html.parser
import json
import math
import re

import pytest
import torch
from helpers import awake, tiny_model

from minireason import grpo
from minireason.config import RLConfig, preset
from minireason.model import GPT
from minireason.policy import Critic
from minireason.settings import to_dict
from minireason.tasks import parse_prompt
from minireason.tokenizer import get_tokenizer
from minireason.tools import inspector
from minireason.upkeep import checkpoint

PROBLEM = parse_prompt("compute 2+3")
SETTINGS = RLConfig(group_size=6, max_new_tokens=12, temperature=0.8)


@pytest.fixture(scope="module")
def models():
    return tiny_model(0, sharpness=3).eval(), tiny_model(1, sharpness=3).eval()


def test_the_numbers_are_those_of_each_row_alone(models):
    policy, old = models
    rows = inspector.inspect_rollout(policy, old, None, PROBLEM, SETTINGS, seed=0)
    tokenizer = get_tokenizer()
    prompt = tokenizer.encode_prompt(PROBLEM.prompt)
    index = {tokenizer.encoding.decode_single_token_bytes(i).decode(errors="replace"): i
             for i in range(tokenizer.vocab_size)}
    assert len(rows) == 6
    for row in rows[:3]:
        ids = [index[t["token"]] for t in row["tokens"]]
        if any("�" in t["token"] for t in row["tokens"]):
            continue
        for model, key in ((policy, "logprob"), (old, "old_logprob")):
            logp = (model(torch.tensor([prompt + ids]))[0] / 0.8).log_softmax(-1)
            for t, (token, numbers) in enumerate(zip(ids, row["tokens"])):
                assert numbers[key] == pytest.approx(logp[len(prompt) - 1 + t, token].item(), abs=1e-4)
        for numbers in row["tokens"]:
            assert numbers["ratio"] == pytest.approx(math.exp(numbers["logprob"] - numbers["old_logprob"]),
                                                     rel=1e-3)
            q = numbers["old_logprob"] - numbers["logprob"]
            assert numbers["kl"] == pytest.approx(math.exp(q) - q - 1, rel=1e-2, abs=1e-4)
            gone = numbers["ratio"] > 1.28 if numbers["advantage"] > 0 else numbers["ratio"] < 0.8
            assert numbers["clipped"] == gone and "value" not in numbers


@pytest.mark.parametrize("objective", ["clip", "gspo", "cispo"])
def test_clipped_means_that_the_loss_has_no_gradient(objective):
    generator = torch.Generator().manual_seed(0)
    old_logprobs = -torch.rand(6, 5, generator=generator)
    moved = torch.tensor([0.5, -0.5, 0.5, -0.5, 0.5, -0.5])[:, None]
    logprobs = (old_logprobs + moved + 0.4 * torch.randn(6, 5, generator=generator)).requires_grad_()
    advantages = torch.tensor([1.0, 1.0, -1.0, -1.0, 0.0, 0.0])[:, None].expand(6, 5)
    mask, config = torch.ones(6, 5), RLConfig(objective=objective)
    loss, _ = grpo.compute_loss(logprobs, old_logprobs, None, advantages, mask, config, objective=objective)
    [gradient] = torch.autograd.grad(loss, logprobs)
    ratio = (logprobs - old_logprobs).detach().exp()
    if objective == "gspo":
        ratio = ratio.log().mean(1, keepdim=True).exp().expand(6, 5)
    clipped = inspector.has_no_gradient(ratio, advantages, config)
    assert not clipped[4:].any()        # where the advantage is 0, no clip is the reason
    assert clipped[:4].tolist() == (gradient[:4] == 0).tolist()
    assert clipped.any() == (objective != "cispo")


def test_the_rewards_are_those_of_the_stage(tmp_path, monkeypatch):
    """In rl, mixed languages cost half of the reward. In alignment, and in pure RL, they cost nothing."""
    config = preset("smoke")
    config.model.vocab_size = get_tokenizer().vocab_size
    config.rl.max_new_tokens = config.align.max_new_tokens = 10
    for seed, stage in enumerate(("base", "cold-start", "rl", "rejection", "align")):
        save(tmp_path / "run", stage, config, seed=seed)
    config.pure_rl = True
    for seed, stage in enumerate(("base", "rl")):
        save(tmp_path / "pure", stage, config, seed=seed)
    mixed = "<think>2+3=5 luego so</think><answer>5</answer>"
    rewards, world = {}, inspector.reasoning_world

    def mixing_world(*arguments):
        its_world = world(*arguments)
        return dataclasses.replace(
            its_world, reward=lambda problems, texts: its_world.reward(problems, [mixed] * len(texts)))

    monkeypatch.setattr(inspector, "reasoning_world", mixing_world)
    for folder, stage in (("run", "rl"), ("run", "align"), ("pure", "rl")):
        rows, _ = inspector.inspect_run(tmp_path / folder, stage, PROBLEM, 2)
        rewards[folder, stage] = rows[0]["reward"]
    assert rewards == {("run", "rl"): 0.5, ("run", "align"): 1.0, ("pure", "rl"): 1.0}


def test_with_a_critic_there_are_values_and_returns(models):
    policy, old = models
    critic = Critic(policy)
    torch.nn.init.constant_(critic.value.bias, 0.25)
    rows = inspector.inspect_rollout(policy, old, critic, PROBLEM, SETTINGS, seed=0)
    for row in rows:
        assert all(t["value"] == pytest.approx(0.25) and t["return"] == pytest.approx(row["reward"])
                   for t in row["tokens"])


class Page(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.spans = [], 0

    def handle_starttag(self, tag, attributes):
        self.spans += tag == "span"
        assert not any("<" in (value or "") for _, value in attributes)
        if tag not in ("br", "meta"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_closes_what_it_opens_and_escapes_the_model(models):
    rows = inspector.inspect_rollout(*models, None, PROBLEM, SETTINGS, seed=0)
    rows[0]["tokens"][0]["token"] = "<script>alert(1)</script>\x1b[31m"
    page, text = Page(), inspector.as_html(rows, "compute 2+3")
    page.feed(text)
    assert page.open == [] and page.spans == sum(len(row["tokens"]) for row in rows)
    assert "<script>" not in text and "\x1b" not in text + inspector.as_text(rows[0])


def test_a_color_is_that_of_the_token_where_the_ratio_is_of_the_completion(models):
    """GSPO has one ratio for all tokens. A token that became likelier is green all the same."""
    settings = RLConfig(group_size=2, max_new_tokens=12, objective="gspo")
    rows = inspector.inspect_rollout(*models, None, PROBLEM, settings, seed=0)
    tokens = [token for row in rows for token in row["tokens"]]
    assert all(len({round(token["ratio"], 4) for token in row["tokens"]}) == 1 for row in rows)
    colors = re.findall(r"background: rgba\(([^)]*), [0-9.]+\)", inspector.as_html(rows, "compute 2+3"))
    green = [token["logprob"] > token["old_logprob"] for token in tokens]
    assert [color == inspector.LIKELIER for color in colors] == green and len(set(green)) == 2


def save(folder, stage, config, critic=None, seed=0):
    model = awake(GPT(config.model).init_weights(seed), seed)
    checkpoint.save(folder / stage / "checkpoint.pt", model=model.state_dict(), optimizer={},
                    config=to_dict(config), stage=stage, iteration=1, done=True, seconds=0.0,
                    extra={"critic": Critic(model).state_dict()} if critic else {},
                    vocabulary=list(get_tokenizer().words), notes={})


@pytest.mark.slow
def test_without_a_run_it_shows_what_comes_along(capsys):
    problem = "make 45 from 3 6 8"
    assert inspector.main([problem, "--group-size", "4", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert any(row["reward"] for row in rows)
    assert any(abs(t["ratio"] - 1) > 0.01 for row in rows for t in row["tokens"])
    assert inspector.main([problem, "--group-size", "2"]) == 0
    assert "cold-start speaks, rl judges (pretrained)" in capsys.readouterr().out
    assert inspector.main([problem, "--group-size", "2", "--stage", "align"]) == 0
    assert "rejection speaks, align judges (pretrained)" in capsys.readouterr().out
    for old, code in (("rl", 0), ("bogus", 2)):
        assert inspector.main(["compute 7*7+1", "--stage", "align", "--old", old, "--group-size", "2",
                               "--json"]) == code
    capsys.readouterr()


def test_after_pure_rl_the_base_speaks(tmp_path):
    config = preset("smoke")
    config.model.vocab_size = get_tokenizer().vocab_size
    config.rl.max_new_tokens = config.align.max_new_tokens = 10
    config.pure_rl = True
    for seed, stage in enumerate(("base", "rl", "rejection", "align")):
        save(tmp_path, stage, config, seed=seed)
    assert [inspector.inspect_run(tmp_path, stage, PROBLEM, 2)[1]
            for stage in ("rl", "align")] == ["base", "rejection"]


def test_the_command(tmp_path, capsys):
    config = preset("smoke")
    config.model.vocab_size = get_tokenizer().vocab_size
    config.rl.max_new_tokens = 10
    save(tmp_path, "cold-start", config)
    save(tmp_path, "rl", config, critic=True, seed=1)
    run = ["--run", str(tmp_path)]
    assert inspector.main(["compute 2+3", *run, "--html", str(tmp_path / "page.html")]) == 0
    shown = capsys.readouterr().out
    assert "cold-start speaks, rl judges" in shown and shown.count("reward") == 2
    headings = next(line for line in shown.splitlines() if line.split()[:1] == ["token"]).split()[1:]
    assert "value" in headings and "return" in headings
    for heading in headings:                            # each column is explained above the table
        assert f"\n  {heading} " in shown
    page = (tmp_path / "page.html").read_text()
    assert page.startswith("<!doctype html>") and '<meta name="viewport"' in page
    legend = page[page.index("<body"):page.index("<section>")]
    for style in (inspector.LIKELIER, inspector.LESS_LIKELY, inspector.CLIPPED):
        assert style in legend
    assert "cold-start speaks and rl judges" in legend
    closed = Page()
    closed.feed(page)
    assert closed.open == []
    assert inspector.main(["compute 2+3", *run, "--group-size", "3", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 3
    for flags, code in ((["compute"], 2), (["compute 2+3", "--group-size", "1"], 2),
                        (["compute 2+3", "--stage", "x"], 2),
                        (["compute 2+3", "--old", "base"], 2)):
        assert inspector.main([*flags, *run]) == code
        assert capsys.readouterr().err.count("\n") == 1
