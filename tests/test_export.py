"""The exported folder, read by small readers of our own, by transformers and by TRL.

transformers has to give the same numbers, tokens and answers as our model, and TRL takes one training step.
Those tests are skipped if the libraries are not installed: tests/benchmarks/requirements.txt.
"""

import json
import os
import random
import re
import struct

import numpy as np
import pytest
import tiktoken
import torch
from helpers import awake

from minireason.config import ModelConfig, preset
from minireason.model import GPT
from minireason.run import open_model
from minireason.sampling import generate
from minireason.settings import to_dict
from minireason.tasks import make_problem
from minireason.tokenizer import EOS, PAD, TAGS, Tokenizer, get_tokenizer, pattern_of
from minireason.tools import export
from minireason.upkeep import checkpoint

os.environ.setdefault("HF_HUB_OFFLINE", "1")
TOKENIZER = get_tokenizer()
FILES = {"model.safetensors", "config.json", "generation_config.json", "tokenizer.json",
         "tokenizer_config.json"}


def unlike_any_default():
    """A model in which no two parts are alike and no setting is what transformers would take by itself."""
    config = ModelConfig(vocab_size=TOKENIZER.vocab_size, width=32, num_layers=2, num_heads=4, num_kv_heads=2,
                         mlp_width=48, max_length=256, rope_theta=300.0, norm_eps=1e-3)
    model = awake(GPT(config).init_weights(0)).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(3)
            else:
                parameter.mul_(0.5 + torch.rand(parameter.shape, generator=generator))
        model.embedding.weight[TOKENIZER.eos_id] *= 3    # so that some answers end by themselves
    return model


def save(folder, model, stage="align"):
    config = preset("smoke")
    config.model = model.config
    checkpoint.save(folder / stage / "checkpoint.pt", model=model.state_dict(), optimizer={},
                    config=to_dict(config), vocabulary=list(get_tokenizer().words), stage=stage,
                    iteration=1, done=True, seconds=0.0, extra={"critic": {"value": torch.ones(2)}}, notes={})


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder, model = tmp_path_factory.mktemp("run"), unlike_any_default()
    save(folder, model)
    return folder, model


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory):
    """(our model, the folder that the command wrote)."""
    folder = tmp_path_factory.mktemp("to") / "deep" / "llama"
    assert export.main(["--run", str(run[0]), "--to", str(folder)]) == 0
    return run[1], folder


# -----------------------------------------------------------------------------
# The files, without transformers

def read_safetensors(path):
    """({name: array}, header, its length): by the format's description, with nothing of ours."""
    raw = path.read_bytes()
    length, = struct.unpack("<Q", raw[:8])
    header, numbers = json.loads(raw[8:8 + length]), raw[8 + length:]
    assert raw[8:9] == b"{" and raw[8:8 + length].rstrip(b" ").endswith(b"}")
    arrays, end = {}, 0
    for name, entry in header.items():
        if name != "__metadata__":
            assert entry["dtype"] == "F32" and entry["data_offsets"][0] == end, "no gap and no overlap"
            end = entry["data_offsets"][1]
            arrays[name] = np.frombuffer(numbers[entry["data_offsets"][0]:end], "<f4").reshape(entry["shape"])
    assert end == len(numbers)
    return arrays, header, length


def test_an_independent_reader_finds_every_weight(exported):
    model, folder = exported
    arrays, header, length = read_safetensors(folder / "model.safetensors")
    assert length % 8 == 0 and header["__metadata__"] == {"format": "pt"}
    assert len(arrays) == 2 + 9 * 2 and "lm_head.weight" not in arrays
    first, last = model.blocks
    for name, weight in {"model.embed_tokens": model.embedding, "model.norm": model.norm,
                         "model.layers.0.input_layernorm": first.attention_norm,
                         "model.layers.1.post_attention_layernorm": last.mlp_norm,
                         "model.layers.1.self_attn.o_proj": last.attention.out,
                         "model.layers.0.mlp.gate_proj": first.gate, "model.layers.1.mlp.up_proj": last.up,
                         "model.layers.1.mlp.down_proj": last.down}.items():
        assert np.array_equal(arrays[f"{name}.weight"], weight.weight.detach().numpy()), name
    # 4 heads of 8 rows for the queries, then 2 for the keys and 2 for the values
    for layer, block in enumerate((first, last)):
        whole = block.attention.qkv.weight.detach().numpy()
        for name, rows in (("q", slice(0, 32)), ("k", slice(32, 48)), ("v", slice(48, 64))):
            assert np.array_equal(arrays[f"model.layers.{layer}.self_attn.{name}_proj.weight"], whole[rows])


@pytest.mark.parametrize("name", ["x", "xy", "a name of some length", "\u00e9"])
def test_numbers_begin_at_a_multiple_of_eight_whatever_the_header_holds(name, tmp_path):
    values = torch.tensor([[1.5, -2.0], [float("inf"), 1e-40], [0.0, 3e38]])
    (tmp_path / "file").write_bytes(export.safetensors({name: values.t(), "b": torch.ones(1)}))
    arrays, _, length = read_safetensors(tmp_path / "file")
    assert length % 8 == 0
    assert np.array_equal(arrays[name], values.t().numpy()) and np.array_equal(arrays["b"], [1.0])


def test_the_config_says_what_the_model_is(exported):
    _, folder = exported
    assert {path.name for path in folder.iterdir()} == FILES
    config = json.loads((folder / "config.json").read_text())
    ends = {"eos_token_id": TOKENIZER.eos_id, "pad_token_id": TOKENIZER.pad_id}
    wanted = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "torch_dtype": "float32",
              "vocab_size": TOKENIZER.vocab_size, "hidden_size": 32, "intermediate_size": 48,
              "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8,
              "hidden_act": "silu",
              "max_position_embeddings": 256, "rope_theta": 300.0, "rms_norm_eps": 1e-3,
              "tie_word_embeddings": True, "bos_token_id": None} | ends
    assert {name: config[name] for name in wanted} == wanted
    generation = json.loads((folder / "generation_config.json").read_text())
    assert generation == ends | {"do_sample": False, "max_new_tokens": 128}


def read_tokens(spec, text):
    """Ids of a text by byte-level BPE, as tokenizer.json describes it. Uses nothing of ours."""
    visible = [byte for byte in range(256) if chr(byte).isprintable() and byte != 32]
    letters = {byte: chr(byte) for byte in visible}
    hidden = [byte for byte in range(256) if byte not in letters]
    letters |= {byte: chr(256 + i) for i, byte in enumerate(hidden)}
    split, to_bytes = spec["pre_tokenizer"]["pretokenizers"]
    vocab = spec["model"]["vocab"]
    order = {tuple(pair.split(" ")): i for i, pair in enumerate(spec["model"]["merges"])}
    assert spec["model"]["ignore_merges"] and split["behavior"] == "Isolated" and not to_bytes["use_regex"]
    ids = []
    for piece in re.findall(split["pattern"]["Regex"], text):
        parts = ["".join(letters[byte] for byte in piece.encode())]
        if parts[0] not in vocab:
            parts = list(parts[0])
            while True:
                neighbours = enumerate(zip(parts, parts[1:]))
                mergers = [(order[pair], i) for i, pair in neighbours if pair in order]
                if not mergers:
                    break
                _, i = min(mergers)
                parts[i:i + 2] = [parts[i] + parts[i + 1]]
        ids += [vocab[part] for part in parts]
    return ids


def special_ids():
    return {TOKENIZER.encoding.encode_single_token(name) for name in (PAD, EOS, *TAGS)}


def ordinary_tokens():
    """The bytes of every token that is not special, in the order of their ids."""
    ids = [i for i in range(TOKENIZER.vocab_size) if i not in special_ids()]
    return TOKENIZER.encoding.decode_tokens_bytes(ids)


def texts(kind):
    """Some hundred texts of one kind, always the same."""
    rng = random.Random(kind)
    words = [token.decode() for token in ordinary_tokens() if len(token) > 1]
    choices = {     # pieces that a text of this kind is put together from
        "words": words,
        "digits": "0123456789+-*/()=.",
        "control characters": [chr(i) for i in (*range(33), *range(127, 161), 0x2028, 0xFEFF)],
        "spaces": [" ", "  ", "\t", "\n", "\r\n", "a", " so", ".", "\u00a0"],
        "tags": [*TAGS, PAD, EOS, " ", "so", "7", "<", "</", "think>", "\n"],
    }

    def piece():
        if kind == "letters":       # words run into one another, so tiktoken merges: "sand" is "s", "and"
            if rng.random() < 0.3:
                return rng.choice(words).strip()
            return rng.choice("abdeikmnostuxyTZ ")
        if kind == "unicode":
            latin, low, high = rng.randrange(0x250), rng.randrange(0xD800), rng.randrange(0xE000, 0x110000)
            return chr(rng.choice([latin, low, high]))
        return rng.choice(choices[kind])

    def text():
        if kind == "problems":
            task = rng.choice(["arithmetic", "countdown", "program"])
            return make_problem(task, rng, rng.randint(1, 2)).prompt
        if kind == "random bytes":
            return rng.randbytes(20).decode(rng.choice(["latin-1", "utf-8"]), "replace")
        return "".join(piece() for _ in range(rng.randint(0, 8 if kind == "tags" else 20)))

    return ["", *(text() for _ in range(200))]


KINDS = ("words", "letters", "problems", "digits", "unicode", "control characters", "random bytes", "spaces",
         "tags")


@pytest.mark.parametrize("kind", KINDS)
def test_an_independent_reader_of_the_tokenizer_finds_our_tokens(exported, kind):
    spec = json.loads((exported[1] / "tokenizer.json").read_text())
    assert sorted(spec["model"]["vocab"].values()) == list(range(TOKENIZER.vocab_size))
    assert {t["content"]: t["id"] for t in spec["added_tokens"] if t["special"]} == {
        PAD: TOKENIZER.pad_id, EOS: TOKENIZER.eos_id}
    for text in texts(kind):
        assert read_tokens(spec, text) == TOKENIZER.encode(text), repr(text)


class Renumbered(Tokenizer):
    """Our tokens under other ids: the special ones come first, last, or some of them in between."""

    def __init__(self, special_ids):
        tokens, names, self.words = ordinary_tokens(), (PAD, EOS, *TAGS), TOKENIZER.words
        self.vocab_size = len(tokens) + len(names)
        special = dict(zip(names, special_ids))
        other_ids = [i for i in range(self.vocab_size) if i not in special_ids]
        self.encoding = tiktoken.Encoding(
            "renumbered", pat_str=pattern_of(self.words), special_tokens=special,
            mergeable_ranks=dict(zip(tokens, other_ids)))
        self.pad_id, self.eos_id = special[PAD], special[EOS]


@pytest.mark.parametrize("ids", [range(6), (3, 100, 256, 5, 300, 0)])
def test_special_tokens_may_have_any_ids(ids):
    tokenizer = Renumbered(list(ids))
    spec = export.tokenizer_json(tokenizer)
    assert sorted(spec["model"]["vocab"].values()) == list(range(tokenizer.vocab_size))
    assert [token["id"] for token in spec["added_tokens"]] == list(ids[:2])
    assert spec["model"]["merges"] == export.tokenizer_json(TOKENIZER)["model"]["merges"]
    for text in texts("letters") + texts("tags"):
        assert read_tokens(spec, text) == tokenizer.encode(text), repr(text)


def test_a_folder_with_something_in_it_is_left_alone(run, tmp_path, capsys):
    (tmp_path / "notes").write_text("mine")
    for to in (tmp_path, tmp_path / "notes"):
        assert export.main(["--run", str(run[0]), "--to", str(to)]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and "empty" in error
    assert [path.name for path in tmp_path.iterdir()] == ["notes"]
    assert (tmp_path / "notes").read_text() == "mine"
    (tmp_path / "fresh").mkdir()
    assert export.main(["--run", str(run[0]), "--to", str(tmp_path / "fresh")]) == 0


def test_without_a_run_it_exports_the_included_weights(tmp_path, capsys):
    for flags, stage in (([], "align"), (["--stage", "rl"], "rl")):
        assert export.main([*flags, "--to", str(tmp_path / stage)]) == 0
        arrays, _, _ = read_safetensors(tmp_path / stage / "model.safetensors")
        ours = open_model("pretrained", stage)[0]
        assert np.array_equal(arrays["model.embed_tokens.weight"], ours.embedding.weight.detach().numpy())
        up = ours.blocks[3].up.weight.detach().numpy()
        assert np.array_equal(arrays["model.layers.3.mlp.up_proj.weight"], up)


def test_what_cannot_be_exported_is_said_in_one_line(run, tmp_path, capsys):
    (tmp_path / "rl").mkdir()
    (tmp_path / "rl" / "checkpoint.pt").write_bytes(b"no checkpoint")
    save(tmp_path, GPT(ModelConfig(vocab_size=640, width=32, num_layers=1)), "base")
    cases = ((run[0], "rl", 2), (run[0], "bogus", 2), (tmp_path, "rl", 1), (tmp_path, "base", 1))
    for folder, stage, code in cases:
        assert export.main(["--run", str(folder), "--stage", stage, "--to", str(tmp_path / "to")]) == code
        error = capsys.readouterr().err
        assert error.startswith("export: ") and error.count("\n") == 1
        assert not (tmp_path / "to").exists()


def room_for_small_files(file):
    if os.fstat(file).st_size > 50_000:
        raise OSError(28, "No space left on device")


def test_after_a_full_disk_the_folder_can_be_used_again(run, tmp_path, capsys, monkeypatch):
    command = ["--run", str(run[0]), "--to", str(tmp_path / "to")]
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", room_for_small_files)
        assert export.main(command) == 1
    assert "No space left" in capsys.readouterr().err and not list((tmp_path / "to").iterdir())
    assert export.main(command) == 0


# -----------------------------------------------------------------------------
# In transformers

@pytest.fixture(scope="module")
def theirs(exported):
    """(our model, theirs, their tokenizer): theirs come from the folder alone."""
    transformers = pytest.importorskip("transformers")
    model = transformers.AutoModelForCausalLM.from_pretrained(exported[1]).eval()
    return exported[0], model, transformers.AutoTokenizer.from_pretrained(exported[1])


def prompts(number):
    rng = random.Random(0)
    return [make_problem(rng.choice(["arithmetic", "countdown", "program"]), rng, rng.randint(1, 3)).prompt
            for _ in range(number)]


@torch.no_grad()
def test_logits_are_ours_on_a_hundred_prompts(theirs):
    ours, model, tokenizer = theirs
    assert model.dtype == torch.float32 and model.lm_head.weight is model.model.embed_tokens.weight
    rng = random.Random(0)
    for prompt in prompts(100):
        ids = TOKENIZER.encode_prompt(prompt)
        assert tokenizer(f"\n{prompt}\n")["input_ids"] == ids
        ids = torch.tensor([ids + [rng.randrange(TOKENIZER.vocab_size) for _ in range(rng.randrange(150))]])
        assert (ours(ids) - model(ids).logits).abs().max() < 1e-4


def test_greedy_answers_are_ours(theirs):
    ours, model, tokenizer = theirs
    asked = prompts(32)
    ids = [TOKENIZER.encode_prompt(p) for p in asked]
    wanted = generate(ours, ids, 30, temperature=0, eos_id=TOKENIZER.eos_id)
    batch = tokenizer([f"\n{p}\n" for p in asked], padding=True, return_tensors="pt")
    answers = model.generate(**batch, max_new_tokens=30)[:, batch["input_ids"].size(1):]
    lengths = wanted.completion_mask.sum(1).long().tolist()
    assert min(lengths) < 30 == max(lengths), "some answers end by themselves and some do not"
    for answer, ids, length in zip(answers.tolist(), wanted.completion_ids.tolist(), lengths):
        assert answer[:length] == ids[:length] and set(answer[length:]) <= {TOKENIZER.pad_id}


@pytest.mark.parametrize("kind", KINDS)
def test_tokens_are_ours(exported, kind):
    tokenizer = pytest.importorskip("transformers").AutoTokenizer.from_pretrained(exported[1])
    for text in texts(kind):
        ids = tokenizer(text)["input_ids"]
        assert ids == TOKENIZER.encode(text), repr(text)
        assert tokenizer(f"\n{text}\n")["input_ids"] == TOKENIZER.encode_prompt(text), repr(text)
        assert tokenizer.decode(ids) == tokenizer.decode(ids, skip_special_tokens=True) == text
    tokenizer.add_tokens(list(TAGS))        # what the module's docstring says for text of our own
    assert len(tokenizer) == TOKENIZER.vocab_size
    for text in texts(kind):
        assert tokenizer(text)["input_ids"] == TOKENIZER.encode_tagged(text), repr(text)


def test_special_tokens_and_decoding_are_ours(theirs):
    _, _, tokenizer = theirs
    assert (tokenizer.pad_token, tokenizer.eos_token) == (PAD, EOS)
    assert tokenizer.bos_token is None and tokenizer.unk_token is None
    assert set(tokenizer("7")) == {"input_ids", "attention_mask"} and tokenizer.model_max_length == 256
    assert (tokenizer.pad_token_id, tokenizer.eos_token_id) == (TOKENIZER.pad_id, TOKENIZER.eos_id)
    for name in (PAD, EOS, *TAGS):
        token = TOKENIZER.encoding.encode_single_token(name)
        assert tokenizer.convert_tokens_to_ids(name) == token and tokenizer.decode([token]) == name
    rng = random.Random(0)
    some = [[rng.randrange(TOKENIZER.vocab_size) for _ in range(12)] for _ in range(300)]
    for ids in [*([i] for i in range(TOKENIZER.vocab_size)), *some]:
        assert tokenizer.decode(ids, skip_special_tokens=True) == TOKENIZER.decode(ids)


# -----------------------------------------------------------------------------
# In TRL

@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_trl_takes_a_step_of_grpo_from_the_folder(exported, tmp_path):
    trl, datasets = pytest.importorskip("trl"), pytest.importorskip("datasets")
    seen = []

    def reward(completions, completion_ids, **_):
        seen.extend(zip(completions, completion_ids))
        return [float(len(text)) for text in completions]
    config = trl.GRPOConfig(
        output_dir=str(tmp_path), max_steps=1, per_device_train_batch_size=8, num_generations=4,
        max_completion_length=12, learning_rate=1e-3, use_cpu=True, bf16=False, report_to="none",
        save_strategy="no", disable_tqdm=True)
    dataset = datasets.Dataset.from_dict({"prompt": [f"\n{p}\n" for p in prompts(8)]})
    trainer = trl.GRPOTrainer(str(exported[1]), reward_funcs=reward, args=config, train_dataset=dataset)
    before = {name: p.detach().clone() for name, p in trainer.model.named_parameters()}
    trainer.train()
    assert len(seen) == 8 and all(text == TOKENIZER.decode(ids) for text, ids in seen)
    assert trainer.state.global_step == 1 and trainer.state.log_history[0]["reward"] > 0
    assert all(not torch.equal(before[name], p) for name, p in trainer.model.named_parameters())
