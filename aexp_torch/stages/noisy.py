"""Noisy: observations or actions arrive disturbed."""

from typing import Any, Literal

import numpy as np
import torch
from dm_env import specs
from torch import Tensor

from aexp_torch.env import Env
from aexp_torch.errors import SpecError
from aexp_torch.specs import EnvSpec, Modality, describe, path_name
from aexp_torch.specs.modality import is_number
from aexp_torch.specs.sample import sample_action
from aexp_torch.stages.augment import Augment, Keys, Leaf

__all__ = ["Noisy"]


class Noisy(Augment):
    """Adds noise to values; each key of each source has its own generator.

    Real and integer values get additive noise, in units of the spec's range where both bounds are finite, absolute
    elsewhere (integers are rounded). Categorical and binary values are drawn anew, uniformly. Masks (`mask:*`) and keys
    that are absent stay as they are.

    Observation: same specs, or unbounded with `clip=False`.  Action: same spec; the source receives other values.

    Args:
      env: the environment below.
      std: standard deviation of the noise (for `"uniform"`: of the uniform distribution around 0).
      dist: `"normal"` or `"uniform"`.
      p: probability, per lane and step, that a value is disturbed at all, in [0, 1].
      clip: keeps results within the spec's bounds.
      keys: a glob over the names of leaves (`a/b` for nested ones), or a predicate of their `Modality`.
      side: which way is disturbed.

    Raises:
      SpecError: choices without a known number, or actions that leave their bounds (`clip=False`).

    >>> import aexp_torch as ae
    >>> env = ae.GymnasiumEnv("CartPole-v1", num_envs=2).pipe(ae.Noisy, std=0.1)
    >>> env.observation_spec()["observation"].shape
    (4,)

    Source: `Noisy` of the artificial-experience project.
    """

    def __init__(
        self,
        env: Env,
        std: float = 0.1,
        dist: Literal["normal", "uniform"] = "normal",
        p: float = 1.0,
        clip: bool = True,
        keys: Keys = "*",
        side: Literal["observation", "action", "both"] = "observation",
    ):
        super().__init__(env, keys, side, p)
        if not std >= 0:
            raise SpecError(f"Noisy: expected std >= 0, got {std!r}.")
        if dist not in ("normal", "uniform"):
            raise SpecError(f"Noisy: expected dist 'normal' or 'uniform', got {dist!r}.")
        self.std, self.dist, self.clip = std, dist, clip

    def on_open(self) -> None:
        """Finds the size of the noise, and the bounds."""
        super().on_open()
        self._ranges = {leaf.name: _range(leaf.spec) for leaf in self.leaves() if is_number(leaf.modality)}

    def augment_leaf(self, value: Tensor, leaf: Leaf) -> Tensor:
        """Adds noise, or draws anew."""
        if leaf.name not in self._ranges:
            return sample_action({"value": leaf.spec}, len(value), leaf.generator)["value"]
        array, (span, low, high) = value.numpy(), self._ranges[leaf.name]
        if self.dist == "normal":
            noise = leaf.generator.standard_normal(array.shape, np.float32)
        else:
            noise = (leaf.generator.random(array.shape, np.float32) - 0.5) * np.float32(12**0.5)
        result = array + noise * (span * self.std)
        if self.clip and low is not None:
            result = np.minimum(np.maximum(result, low), high)
        if array.dtype.kind in "iu":
            result = np.rint(result)
        return torch.from_numpy(result.astype(array.dtype, copy=False))

    def augment_spec(self, spec: specs.Array, modality: Modality) -> tuple[specs.Array, Modality]:
        """Widens the bounds of what is disturbed without clipping; refuses choices whose number is not known."""
        if not is_number(modality):
            if not hasattr(spec, "maximum") and spec.dtype != bool:
                raise SpecError(
                    f"expected bounds, since it is drawn anew from them, got {describe(spec)}. Tell the source how many"
                    " choices there are."
                )
        elif not self.clip:
            spec = specs.Array(spec.shape, spec.dtype, spec.name)
        return spec, modality

    def on_spec(self, spec: EnvSpec) -> EnvSpec:
        """Refuses actions that would leave their bounds."""
        above = super().on_spec(spec)
        for leaf in self.chosen(spec):
            bounded = isinstance(leaf.spec, specs.BoundedArray)
            if not self.clip and leaf.side == "action" and bounded and is_number(leaf.modality):
                raise SpecError(
                    f"Noisy: expected clip=True for the action {path_name(leaf.path)!r}, {describe(leaf.spec)}: the"
                    " environment takes nothing beyond. Or choose others with keys=."
                )
        return above


def _range(spec: specs.Array) -> tuple[Any, Any, Any]:
    """Returns what noise is multiplied by, and the bounds (None where there are none)."""
    if not isinstance(spec, specs.BoundedArray):
        return 1.0, None, None
    low, high = spec.minimum, spec.maximum
    with np.errstate(over="ignore", invalid="ignore"):  # a range may be wider than a float, which is no range
        span = np.subtract(high, low, dtype=np.float64)
    return np.where(np.isfinite(span), span, 1.0), low, high
