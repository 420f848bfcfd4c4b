r"""Writes a trained model in the format of the transformers library, where it is a Llama like any other.

    python -m minireason.export [--run runs/NAME] [--stage align] --to DIR

    model = transformers.AutoModelForCausalLM.from_pretrained(DIR)
    tokenizer = transformers.AutoTokenizer.from_pretrained(DIR)
    ids = tokenizer("\nmake 42 from 3 8 6\n", return_tensors="pt")    # a line of its own, as in encode_prompt
    print(tokenizer.decode(model.generate(**ids)[0], skip_special_tokens=True))

The exported tokenizer does what our `encode` does: if a user types `<think>` or `<eos>`, it stays plain
characters. Only the model writes tags. To read text of our own, as `encode_tagged` does, call this once:

    tokenizer.add_tokens(["<think>", "</think>", "<answer>", "</answer>"])    # their ids are known already

Decoding with skip_special_tokens=True does what our `decode` does: it drops padding and end tokens, and
keeps the tags for a reward function to read.
"""

import json
import struct
import sys
from pathlib import Path

import torch

from minireason.config import ModelConfig
from minireason.model import GPT
from minireason.run import PRETRAINED, open_model
from minireason.tokenizer import EOS, PAD, TAGS, Tokenizer, get_tokenizer, pattern_of
from minireason.tools.flags import Parser
from minireason.upkeep.checkpoint import CheckpointError, save_json, write_atomically
from minireason.upkeep.command import exit_codes

# Our name of a layer in a block -> Llama's name.
LAYER_NAMES = {
    "attention_norm": "input_layernorm",
    "mlp_norm": "post_attention_layernorm",
    "attention.out": "self_attn.o_proj",
    "gate": "mlp.gate_proj",
    "up": "mlp.up_proj",
    "down": "mlp.down_proj",
}


# -----------------------------------------------------------------------------
# The model

def llama_config(config: ModelConfig, tokenizer: Tokenizer) -> dict:
    """The content of config.json.

    Llama's rotary positions pair the same halves of a head as ours, so no weight has to be permuted.
    """
    return {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "torch_dtype": "float32",
        "vocab_size": config.vocab_size,
        "hidden_size": config.width,
        "intermediate_size": config.mlp_width,
        "hidden_act": "silu",
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": config.num_heads,
        "head_dim": config.head_size,
        "num_key_value_heads": config.num_kv_heads,
        "attention_bias": False,
        "mlp_bias": False,
        "max_position_embeddings": config.max_length,
        "rope_theta": config.rope_theta,
        "rms_norm_eps": config.norm_eps,
        "tie_word_embeddings": True,        # the output layer is the embedding, so the file has no lm_head
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_id,
        "pad_token_id": tokenizer.pad_id,
    }


def llama_weights(model: GPT) -> dict[str, torch.Tensor]:
    """{Llama's name: tensor}. The numbers stay the same; the matrix qkv becomes three matrices."""
    config = model.config
    query_rows = config.num_heads * config.head_size
    key_rows = config.num_kv_heads * config.head_size
    weights = {
        "model.embed_tokens.weight": model.embedding.weight,
        "model.norm.weight": model.norm.weight,
    }
    for layer, block in enumerate(model.blocks):
        prefix = f"model.layers.{layer}"
        query, key, value = block.attention.qkv.weight.split([query_rows, key_rows, key_rows])
        weights[f"{prefix}.self_attn.q_proj.weight"] = query
        weights[f"{prefix}.self_attn.k_proj.weight"] = key
        weights[f"{prefix}.self_attn.v_proj.weight"] = value
        for our_name, llama_name in LAYER_NAMES.items():
            weights[f"{prefix}.{llama_name}.weight"] = block.get_submodule(our_name).weight
    return weights


def safetensors(tensors: dict[str, torch.Tensor]) -> bytes:
    """The bytes of a safetensors file: length of the header | header | raw numbers.

    The length is 8 bytes, little-endian. The header is JSON and has an entry for each tensor: its dtype,
    its shape, and where its bytes begin and end among the numbers. Spaces fill the header up to a multiple
    of 8 bytes, so that the numbers are aligned when the file is mapped into memory.
    """
    header = {"__metadata__": {"format": "pt"}}
    numbers = b""
    for name, tensor in tensors.items():
        tensor_bytes = tensor.detach().cpu().contiguous().numpy().astype("<f4").tobytes()
        begin, end = len(numbers), len(numbers) + len(tensor_bytes)
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [begin, end]}
        numbers += tensor_bytes
    header_bytes = json.dumps(header).encode()
    header_bytes += b" " * (-len(header_bytes) % 8)
    return struct.pack("<Q", len(header_bytes)) + header_bytes + numbers


# -----------------------------------------------------------------------------
# The tokenizer

def byte_letters() -> dict[int, str]:
    """A visible character for each of the 256 bytes, as GPT-2 chose them.

    Our tokens are bytes, but JSON holds text. A byte that is a visible character stands for itself. The
    others are numbered, and get the characters from 256 on. (0xAD would be a soft hyphen, which is not seen.)
    """
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in visible]
    letters = {byte: chr(byte) for byte in visible}
    for number, byte in enumerate(hidden):
        letters[byte] = chr(256 + number)
    return letters


def spell(token: bytes, letters: dict[int, str]) -> str:
    """A token as it is written in tokenizer.json. Example: b" so" is "\u0120so"."""
    return "".join(letters[byte] for byte in token)


def merge_pairs(ranks: dict[bytes, int], letters: dict[int, str]) -> list[str]:
    """Each way to make a token from two others, such as "s and", in the order of the tokens' ranks."""
    pairs = []
    for token in sorted(ranks, key=ranks.get):
        for cut in range(1, len(token)):
            left, right = token[:cut], token[cut:]
            if left in ranks and right in ranks:
                pairs.append(f"{spell(left, letters)} {spell(right, letters)}")
    return pairs


def tokenizer_json(tokenizer: Tokenizer) -> dict:
    """The content of tokenizer.json: byte-level BPE that cuts and merges as tiktoken does.

    tiktoken first looks a whole piece of text up in the vocabulary. `ignore_merges` makes the library do
    that too. If the piece is not a token, tiktoken merges the two neighbours whose merger has the lowest
    rank, again and again: "sand" becomes "s", "and" by way of "an". A rank is a token's id. The library has
    no ranks; it wants a list of pairs, in the order in which they are merged.
    """
    encoding, letters = tokenizer.encoding, byte_letters()
    special_ids = {name: encoding.encode_single_token(name) for name in (PAD, EOS, *TAGS)}
    ranks = {}      # of all other tokens
    for token_id in range(tokenizer.vocab_size):
        if token_id not in special_ids.values():
            ranks[encoding.decode_single_token_bytes(token_id)] = token_id
    vocabulary = {spell(token, letters): rank for token, rank in ranks.items()}
    split = {"type": "Split", "pattern": {"Regex": pattern_of(tokenizer.words)}, "behavior": "Isolated",
             "invert": False}
    to_bytes = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    return {
        "version": "1.0",
        # Only padding and end are special, so decoding can drop them. The tags are plain entries of the
        # vocabulary. The pattern never cuts a whole tag out of a text, so a tag that a user types does
        # not become one token.
        "added_tokens": [added_token(PAD, special_ids[PAD]), added_token(EOS, special_ids[EOS])],
        "decoder": to_bytes,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, to_bytes]},
        "model": {
            "type": "BPE",
            "ignore_merges": True,
            "merges": merge_pairs(ranks, letters),
            "vocab": vocabulary | special_ids,
        },
    }


def added_token(name: str, token_id: int) -> dict:
    """The entry of a special token in tokenizer.json."""
    return {"id": token_id, "content": name, "special": True, "normalized": False, "single_word": False,
            "lstrip": False, "rstrip": False}


# -----------------------------------------------------------------------------
# The folder

def export(model: GPT, folder: Path | str) -> None:
    """Writes a model into a new or empty folder, as the five files that transformers reads.

    Raises ValueError if the folder is not empty, CheckpointError if the model's vocabulary is not this
    version's, and OSError.
    """
    folder, tokenizer = Path(folder), get_tokenizer()
    if model.config.vocab_size != tokenizer.vocab_size:
        raise CheckpointError(
            f"the model has {model.config.vocab_size} tokens and this version {tokenizer.vocab_size}")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder} is there already and not an empty folder: give another name")
    # The largest file comes first: if the disk is full, the folder stays empty and can be used again.
    weights = safetensors(llama_weights(model))
    write_atomically(folder / "model.safetensors", lambda file: file.write(weights))
    save_json(folder / "config.json", llama_config(model.config, tokenizer))
    save_json(folder / "generation_config.json", {
        "eos_token_id": tokenizer.eos_id,
        "pad_token_id": tokenizer.pad_id,
        "do_sample": False,
        "max_new_tokens": model.config.max_length // 2,     # without it, transformers stops after 20 tokens
    })
    save_json(folder / "tokenizer.json", tokenizer_json(tokenizer))
    save_json(folder / "tokenizer_config.json", {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "pad_token": PAD,
        "eos_token": EOS,
        "padding_side": "left",
        "split_special_tokens": True,       # if a user types <eos>, it stays plain characters
        "model_max_length": model.config.max_length,
        # Without this list, version 4 of transformers adds token types, which a Llama refuses.
        "model_input_names": ["input_ids", "attention_mask"],
    })


@exit_codes("export")
def main(argv: list[str] | None = None) -> None:
    parser = Parser("Write a trained model in the Llama format of transformers.")
    parser.add_argument("--run", default=PRETRAINED,
                        help="the run's folder, such as runs/laptop; by default, the included weights")
    parser.add_argument("--stage", default="align", help="base, cold-start, rl, rejection or align (default)")
    parser.add_argument("--to", required=True, metavar="DIR", help="a new or empty folder")
    args = parser.parse_args(argv)
    model, _ = open_model(args.run, args.stage)
    export(model, args.to)
    num_parameters = sum(parameter.numel() for parameter in model.parameters())
    print(f"{args.to}: {num_parameters:,} parameters of {args.run}, stage {args.stage}, as a Llama")


if __name__ == "__main__":
    sys.exit(main())
