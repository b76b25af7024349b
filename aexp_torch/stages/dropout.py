"""Dropout: sometimes another value stands in a value's place."""

from typing import Literal

import numpy as np
import torch
from dm_env import specs
from torch import Tensor

from aexp_torch.env import Env
from aexp_torch.errors import SpecError
from aexp_torch.specs import EnvSpec, Modality, describe
from aexp_torch.stages.augment import Augment, Granularity, Keys

__all__ = ["Dropout"]


class Dropout(Augment):
    """Sometimes replaces a value with 0, or another number.

    Observation: same specs; bounds are widened where `value` is beyond them.  Action: same spec; the source receives
    `value` instead of the answer.

    Args:
      env: the environment below.
      p: probability, in [0, 1].
      value: what stands in its place.
      granularity: what is replaced at once: a `"key"` in all lanes, a `"row"` (the key in one lane), or an `"element"`.
      keys: a glob over the names of leaves (`a/b` for nested ones), or a predicate of their `Modality`.
      side: which way values are replaced.

    Raises:
      SpecError: the dtype of a chosen value does not have `value`, or the environment does not take it as an action.

    >>> import aexp_torch as ae
    >>> env = ae.GymnasiumEnv("CartPole-v1", num_envs=2).pipe(ae.Dropout, p=1.0, value=0.5)
    >>> env.reset().observation["observation"][0]
    tensor([0.5000, 0.5000, 0.5000, 0.5000])

    Source: `Dropout` of the artificial-experience project.
    """

    def __init__(
        self,
        env: Env,
        p: float = 0.1,
        value: float = 0.0,
        granularity: Granularity = "key",
        keys: Keys = "*",
        side: Literal["observation", "action", "both"] = "observation",
    ):
        super().__init__(env, keys, side, p, granularity)
        self.value = value

    def augment(self, value: Tensor, spec: specs.Array, modality: Modality, generator: np.random.Generator) -> Tensor:
        """Returns the replacement."""
        return torch.full_like(value, self.value)

    def augment_spec(self, spec: specs.Array, modality: Modality) -> tuple[specs.Array, Modality]:
        """Widens the bounds."""
        with np.errstate(invalid="ignore", over="ignore"):
            fill = np.asarray(self.value).astype(spec.dtype)
        fits = fill == self.value if spec.dtype.kind != "f" else np.isfinite(fill) or np.isinf(self.value)
        if not fits:
            raise SpecError(f"expected value= as {spec.dtype.name}, got {self.value!r}.")
        return widened(spec, fill), modality

    def on_spec(self, spec: EnvSpec) -> EnvSpec:
        """Refuses a value that the environment does not take."""
        above = super().on_spec(spec)
        for leaf in self.chosen(spec):
            if leaf.side == "action" and widened(leaf.spec, self.value) is not leaf.spec:
                raise SpecError(
                    f"Dropout: expected value= that the environment takes as {leaf.path[-1]!r}, {describe(leaf.spec)},"
                    f" got {self.value!r}. Give one within the bounds, or choose others with keys=."
                )
        return above


def widened(spec: specs.Array, value: float | np.ndarray) -> specs.Array:
    """Returns a spec whose bounds have `value` within; the same object where they do already."""
    if not isinstance(spec, specs.BoundedArray) or spec.dtype.kind == "b":
        return spec
    if np.all(spec.minimum <= value) and np.all(value <= spec.maximum):
        return spec
    low, high = np.minimum(spec.minimum, value), np.maximum(spec.maximum, value)
    if isinstance(spec, specs.DiscreteArray) and low == 0:
        return specs.DiscreteArray(int(high) + 1, spec.dtype, spec.name)
    return specs.BoundedArray(spec.shape, spec.dtype, low, high, spec.name)
