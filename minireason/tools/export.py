r"""A trained model in the format of the transformers library, where it is a Llama like any other.

    python -m minireason.export [--run runs/NAME] [--stage align] --to DIR

    model = transformers.AutoModelForCausalLM.from_pretrained(DIR)
    tokenizer = transformers.AutoTokenizer.from_pretrained(DIR)
    ids = tokenizer("\nmake 42 from 3 8 6\n", return_tensors="pt")    a prompt is a line of its own, as in encode_prompt
    print(tokenizer.decode(model.generate(**ids)[0], skip_special_tokens=True))

The exported tokenizer does what `encode` does: a `<think>` that somebody types stays plain characters, and so does an
`<eos>`. Only the model writes tags. For text of our own, as `encode_tagged` reads it, say once
`tokenizer.add_tokens(["<think>", "</think>", "<answer>", "</answer>"])`: it finds their ids in the vocabulary.
Decoding with skip_special_tokens=True is our `decode`: padding and end are dropped, tags stay for a reward to read.
"""

import argparse
import json
import struct
import sys
from pathlib import Path

import torch

from minireason.config import ModelConfig
from minireason.model import GPT
from minireason.run import PRETRAINED, open_model
from minireason.tokenizer import EOS, PAD, PATTERN, TAGS, Tokenizer, get_tokenizer
from minireason.upkeep.checkpoint import CheckpointError, save_json, write_atomically
from minireason.upkeep.command import exit_codes

BLOCK = {"attention_norm": "input_layernorm", "mlp_norm": "post_attention_layernorm",    # our name -> Llama's
         "attention.out": "self_attn.o_proj",
         "gate": "mlp.gate_proj", "up": "mlp.up_proj", "down": "mlp.down_proj"}


def llama_config(c: ModelConfig, tokenizer: Tokenizer) -> dict:
    """config.json of a ModelConfig. Its half-split rotary positions are ours, so no weight is permuted."""
    return {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "torch_dtype": "float32",
            "vocab_size": c.vocab_size, "hidden_size": c.width, "intermediate_size": c.mlp_width, "hidden_act": "silu",
            "num_hidden_layers": c.num_layers, "num_attention_heads": c.num_heads, "head_dim": c.head_size,
            "num_key_value_heads": c.num_kv_heads, "attention_bias": False, "mlp_bias": False,
            "max_position_embeddings": c.max_length, "rope_theta": c.rope_theta, "rms_norm_eps": c.norm_eps,
            "tie_word_embeddings": True,        # so the file has no lm_head
            "bos_token_id": None, "eos_token_id": tokenizer.eos_id, "pad_token_id": tokenizer.pad_id}


def llama_weights(model: GPT) -> dict[str, torch.Tensor]:
    """{Llama's name: tensor} of a GPT: the same numbers under other names. One matrix of ours is three of Llama's."""
    weights, c = {"model.embed_tokens.weight": model.embedding.weight, "model.norm.weight": model.norm.weight}, model.config
    for layer, block in enumerate(model.blocks):
        parts = block.attention.qkv.weight.split([heads * c.head_size for heads in (c.num_heads, c.num_kv_heads, c.num_kv_heads)])
        weights |= {f"model.layers.{layer}.self_attn.{name}_proj.weight": part for name, part in zip("qkv", parts)}
        for ours, llama in BLOCK.items():
            weights[f"model.layers.{layer}.{llama}.weight"] = block.get_submodule(ours).weight
    return weights


def safetensors(tensors: dict[str, torch.Tensor]) -> bytes:
    """The bytes of a safetensors file: length of the header | header | raw numbers.

    The length is 8 bytes, little-endian. The header is JSON, {name: dtype, shape, [begin, end) in the numbers}, and is
    padded with spaces to a multiple of 8, so that the numbers are aligned where the file is mapped into memory.
    """
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for name, tensor in tensors.items():
        raw = tensor.detach().cpu().contiguous().numpy().astype("<f4").tobytes()
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def byte_letters() -> dict[int, str]:
    """A visible character for each of the 256 bytes, as GPT-2 chose them: JSON holds text, and our tokens are bytes."""
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in visible]
    return {byte: chr(byte) for byte in visible} | {byte: chr(256 + i) for i, byte in enumerate(hidden)}


def tokenizer_json(tokenizer: Tokenizer) -> dict:
    """tokenizer.json, byte-level BPE that cuts and merges as tiktoken does.

    tiktoken first looks a piece up whole: that is `ignore_merges`. Otherwise it merges the neighbours that form the
    token of lowest rank until none do: "sand" is "s", "and" by way of "an". The library wants those merges as pairs, so
    each token is listed, in the order of the ranks, with every cut of it into two tokens.
    """
    letters = byte_letters()
    spell = lambda piece: "".join(letters[byte] for byte in piece)
    encoding = tokenizer.encoding
    ranks = {encoding.decode_single_token_bytes(i): i for i in range(tokenizer.pad_id)}    # the special tokens follow
    merges = [f"{spell(piece[:cut])} {spell(piece[cut:])}" for piece in ranks for cut in range(1, len(piece))
              if piece[:cut] in ranks and piece[cut:] in ranks]
    special = {name: encoding.encode_single_token(name) for name in (PAD, EOS, *TAGS)}
    # Only padding and end are special. The tags are plain entries of the vocabulary: no text is cut into a whole tag.
    added = [{"id": special[name], "content": name, "special": True, "normalized": False, "single_word": False,
              "lstrip": False, "rstrip": False} for name in (PAD, EOS)]
    split = {"type": "Split", "pattern": {"Regex": PATTERN}, "behavior": "Isolated", "invert": False}
    to_bytes = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    return {"version": "1.0", "added_tokens": added, "decoder": to_bytes,
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, to_bytes]},
            "model": {"type": "BPE", "ignore_merges": True, "merges": merges,
                      "vocab": {spell(piece): rank for piece, rank in ranks.items()} | special}}


def export(model: GPT, folder: Path | str) -> None:
    """Writes the five files. Raises ValueError where the folder holds something already, and OSError."""
    folder, tokenizer = Path(folder), get_tokenizer()
    if model.config.vocab_size != tokenizer.vocab_size:
        raise CheckpointError(f"the model has {model.config.vocab_size} tokens and this version {tokenizer.vocab_size}")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder} is there already and not an empty folder: give another name")
    ends = {"eos_token_id": tokenizer.eos_id, "pad_token_id": tokenizer.pad_id}
    # The largest file first: where the disk is full, the folder stays empty and can be used again.
    write_atomically(folder / "model.safetensors", lambda file: file.write(safetensors(llama_weights(model))))
    save_json(folder / "config.json", llama_config(model.config, tokenizer))
    save_json(folder / "generation_config.json", ends | {
        "do_sample": False, "max_new_tokens": model.config.max_length // 2})    # transformers stops after 20 by itself
    save_json(folder / "tokenizer.json", tokenizer_json(tokenizer))
    save_json(folder / "tokenizer_config.json", {
        "tokenizer_class": "PreTrainedTokenizerFast", "pad_token": PAD, "eos_token": EOS, "padding_side": "left",
        "split_special_tokens": True,   # a typed <eos> stays plain characters
        "model_max_length": model.config.max_length,
        "model_input_names": ["input_ids", "attention_mask"]})  # versions 4 add token types, which a Llama refuses


@exit_codes("export")
def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Write a trained model in the Llama format of transformers.")
    parser.add_argument("--run", default=PRETRAINED, help="the run's folder, such as runs/laptop; by default what comes along")
    parser.add_argument("--stage", default="align", help="base, cold-start, rl, rejection or align (default)")
    parser.add_argument("--to", required=True, metavar="DIR", help="a new or empty folder")
    args = parser.parse_args(argv)
    model, _ = open_model(args.run, args.stage)
    export(model, args.to)
    print(f"{args.to}: {sum(p.numel() for p in model.parameters()):,} parameters of {args.run}, stage {args.stage}, as a Llama")


if __name__ == "__main__":
    sys.exit(main())
