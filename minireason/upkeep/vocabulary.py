"""A checkpoint includes its vocabulary, so that words that were added later never spoil its weights.

Row i of an embedding belongs to token i. Where today's ids differ from the checkpoint's, each row is moved to
the id that its token has now, and the optimizer's moments with it. A word that the checkpoint never read gets
the row of the padding, which a model learns never to say.
"""

import torch

from minireason.upkeep.checkpoint import CheckpointError

PADDING = b"<pad>"


def move_to_vocabulary(state: dict, pieces: list[bytes], pieces_now: list[bytes]) -> list[str]:
    """Changes a checkpoint's state from the ids of `pieces` to those of `pieces_now`.

    Returns the words that it never read. Raises CheckpointError if it knows a word that is not there now, or
    has not a row for each piece.
    """
    for weights in (state["model"], *state["extra"].values()):
        for name, weight in weights.items():
            if is_embedding(name) and len(weight) != len(pieces):
                raise CheckpointError(f"{name} has {len(weight)} rows for {len(pieces)} tokens: the file is "
                                      "damaged, or made by another version of minireason")
    if pieces == pieces_now:
        return []
    unknown = words_of(set(pieces) - set(pieces_now))[:4]
    if unknown:
        raise CheckpointError(f"the model knows words that this version does not: {', '.join(unknown)} "
                              "(was a task registered when it was trained?)")
    id_of = {piece: i for i, piece in enumerate(pieces)}
    rows = torch.tensor([id_of.get(piece, id_of[PADDING]) for piece in pieces_now])
    is_new = torch.tensor([piece not in id_of for piece in pieces_now])
    move_rows(state, rows, is_new)
    return words_of(set(pieces_now) - set(pieces))


def is_embedding(name: str) -> bool:
    """Whether weights of this name have a row for each token."""
    return name.endswith("embedding.weight")


def words_of(pieces: set[bytes]) -> list[str]:
    """The pieces as words, without spaces."""
    return sorted({piece.decode(errors="replace").strip() for piece in pieces})


def move_rows(state: dict, rows: torch.Tensor, is_new: torch.Tensor) -> None:
    """Reorders each embedding and its two optimizer moments: new row i is old row rows[i].

    The moments of new words are 0.
    """
    state["config"]["model"]["vocab_size"] = len(rows)
    names = []      # of parameters, in the optimizer's order
    for weights in (state["model"], *state["extra"].values()):
        for name in weights:
            names.append(name)
            if is_embedding(name):
                weights[name] = weights[name][rows]
    for number, moments in state["optimizer"].get("state", {}).items():
        if is_embedding(names[number]):
            for name in ("exp_avg", "exp_avg_sq"):
                moments[name] = moments[name][rows].masked_fill(is_new[:, None], 0.0)
