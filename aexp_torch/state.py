"""Random generators as tensors and primitives, so that a checkpoint loads with `weights_only=True`."""

import numpy as np

__all__ = ["pack_generator", "unpack_generator"]


def pack_generator(generator: np.random.Generator) -> dict:
    """Returns the state of a PCG64 generator as primitives."""
    return generator.bit_generator.state


def unpack_generator(state: dict) -> np.random.Generator:
    """Rebuilds the generator that `pack_generator` described."""
    bit_generator = np.random.PCG64()
    bit_generator.state = state
    return np.random.Generator(bit_generator)
