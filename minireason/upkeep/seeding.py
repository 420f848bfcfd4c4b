"""Every random draw comes from a generator made here, named by what it is for.

A generator is a function of (seed, names), for example ("rl", step 17): nothing has to be saved
to resume a run exactly, since step 17 draws the same numbers whether or not step 16 ran just before.
"""

import hashlib
import random


def derive_seed(seed: int | str, *names) -> int:
    """Returns a 63-bit integer that depends on the seed and on every name."""
    text = "/".join(str(part) for part in (seed, *names))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def derive_rng(seed: int | str, *names) -> random.Random:
    """Returns a random.Random of its own for (seed, *names)."""
    return random.Random(derive_seed(seed, *names))
