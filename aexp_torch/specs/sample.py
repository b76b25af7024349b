"""Makes data that fits a spec: random answers, and zeros for a dry run."""

from typing import Any

import numpy as np
import torch
from dm_env import specs
from torch import Tensor

from aexp_torch.specs.tree import map_tree

__all__ = ["sample_action", "zeros"]


def sample_action(spec: dict, num_envs: int, generator: np.random.Generator) -> dict:
    """Draws one answer: uniform within bounds, standard normal where a leaf has none.

    Returns:
      A dict of tensors [B, ...] with the spec's dtypes.
    """
    return map_tree(lambda leaf: torch.from_numpy(_sample(leaf, (num_envs, *leaf.shape), generator)), spec)


def _sample(spec: specs.Array, shape: tuple, generator: np.random.Generator) -> np.ndarray:
    kind = np.dtype(spec.dtype).kind
    if kind == "b":
        return generator.random(shape) < 0.5
    if kind in "iu":
        limits = np.iinfo(spec.dtype)
        low, high = (spec.minimum, spec.maximum) if isinstance(spec, specs.BoundedArray) else (limits.min, limits.max)
        return np.asarray(generator.integers(low, high, shape, spec.dtype, endpoint=True))
    if not isinstance(spec, specs.BoundedArray):
        return generator.standard_normal(shape).astype(spec.dtype)
    low, high = np.broadcast_to(spec.minimum, spec.shape), np.broadcast_to(spec.maximum, spec.shape)
    normal = generator.standard_normal(shape)
    both, below = np.isfinite(low) & np.isfinite(high), np.isfinite(low)
    with np.errstate(invalid="ignore", over="ignore"):
        uniform = low + generator.random(shape) * (high - low)
        half_open = np.where(below, low + np.abs(normal), np.where(np.isfinite(high), high - np.abs(normal), normal))
    return np.clip(np.where(both, uniform, half_open), low, high).astype(spec.dtype)


def zeros(spec: Any, num_envs: int) -> Any:
    """Returns a tree of tensors [B, ...]: 0, or the smallest value where 0 is out of bounds."""

    def leaf_zeros(leaf: specs.Array) -> Tensor:
        value = np.zeros((num_envs, *leaf.shape), leaf.dtype)
        if isinstance(leaf, specs.BoundedArray):
            value = np.clip(value, leaf.minimum, leaf.maximum).astype(leaf.dtype)
        return torch.from_numpy(value)

    return map_tree(leaf_zeros, spec)
