"""Random generators as tensors and primitives, so that a checkpoint loads with `weights_only=True`."""

import numpy as np

__all__ = ["pack_generator", "unpack_generator"]


def pack_generator(generator: np.random.Generator) -> dict:
    """Returns the state of a PCG64 generator as primitives."""
    return dict(generator.bit_generator.state)


def unpack_generator(state: dict) -> np.random.Generator:
    """Rebuilds the generator that `pack_generator` described."""
    generator = np.random.Generator(np.random.PCG64())
    generator.bit_generator.state = state
    return generator
