"""Every pass has generators of its own: what they draw follows from the seed and the number of the pass."""

import numpy as np

__all__ = ["pass_rng", "pass_seed"]


def pass_rng(seed: int, pass_number: int) -> np.random.Generator:
    """Returns the generator of one pass, the same in all slots."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(pass_number,)))


def pass_seed(seed: int, pass_number: int) -> int:
    """Returns the integer that seeds a torch generator for one pass."""
    return int(np.random.SeedSequence(seed, spawn_key=(pass_number,)).generate_state(1)[0])
