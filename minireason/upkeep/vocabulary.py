"""A checkpoint brings its vocabulary along, so that a word that was added later never turns weights into nonsense.

Row i of an embedding belongs to token i. Where today's ids are others than the checkpoint's, the rows are moved to
where their tokens are now, and the optimizer's moments with them. A word that the checkpoint never read gets the row
of the padding, which a model learns never to say.
"""

import torch

from minireason.tokenizer import PAD, SPECIAL, pieces_of
from minireason.upkeep.checkpoint import CheckpointError

# Checkpoints of before November 2026 hold no vocabulary: their ids are the bytes, these words, then the special tokens.
FIRST_WORDS = """
    compute make from program x check enough is no ok so try wait yes basta bien da espera luego mal prueba revisa
    vale hello hi hey good morning evening day night there friend please thank thanks you your my me i am it the a
    an this that what which can could would not do to tell say repeat give show share keep write read again number
    code word secret private hidden lucky public favorite open confidential name color of for and help happy glad
    welcome sorry with how are fine today here in one red blue green yellow black white ana ben carla david eva
    hugo did remember now know anyone nobody just said must may about let meet nice pleasure course sure sir like
""".split()


def first_pieces() -> list[bytes]:
    """What each id stood for in a checkpoint without a vocabulary."""
    special = [name.encode() for name in SPECIAL]
    return [piece for piece in pieces_of(FIRST_WORDS) if piece not in special] + special


def fit_vocabulary(state: dict, words: tuple[str, ...]) -> list[str]:
    """Changes the state of a checkpoint so that its ids are those of `words`. Returns the words that it never read.

    Raises CheckpointError where it knows a word that is not among `words`.
    """
    stored = state["vocabulary"]
    pieces, pieces_now = first_pieces() if stored is None else pieces_of(stored), pieces_of(words)
    state["vocabulary"] = list(words)
    if pieces == pieces_now:
        return []
    id_of = {piece: i for i, piece in enumerate(pieces)}
    unknown = sorted(piece.decode().strip() for piece in set(pieces) - set(pieces_now))
    if unknown:
        raise CheckpointError(f"the model knows words that this version does not: {', '.join(dict.fromkeys(unknown))} "
                              "(a task that was registered when it was trained?)")
    padding = id_of[PAD.encode()]
    rows = torch.tensor([id_of.get(piece, padding) for piece in pieces_now])
    never_read = torch.tensor([piece not in id_of for piece in pieces_now])
    move_rows(state, rows, never_read, len(pieces))
    new_words = [piece.decode().strip() for piece in pieces_now if piece not in id_of]
    return list(dict.fromkeys(new_words))


def move_rows(state: dict, rows: torch.Tensor, never_read: torch.Tensor, vocab_size: int) -> None:
    """Puts row rows[i] of each embedding, and of its two moments in the optimizer, into place i. Those of words that
    were never read begin at 0."""
    names = []      # of all parameters, in the order in which the optimizer numbers them
    for weights in (state["model"], *state["extra"].values()):
        for name, tensor in weights.items():
            if name.endswith("embedding.weight") and len(tensor) == vocab_size:
                weights[name] = tensor[rows]
            names.append(name)
    state["config"]["model"]["vocab_size"] = len(rows)
    for number, moments in state["optimizer"].get("state", {}).items():
        if names[number].endswith("embedding.weight"):
            for name in ("exp_avg", "exp_avg_sq"):
                moments[name] = moments[name][rows].masked_fill(never_read[:, None], 0.0)
