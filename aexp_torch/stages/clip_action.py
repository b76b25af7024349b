"""ClipAction: actions of any size, clipped to what the environment takes."""

import numpy as np
import torch
from dm_env import specs
from torch import Tensor

from aexp_torch.env import Env
from aexp_torch.errors import SpecError
from aexp_torch.specs import Modality, describe
from aexp_torch.specs.modality import is_number
from aexp_torch.stages.augment import Augment, Keys, Leaf

__all__ = ["ClipAction"]


class ClipAction(Augment):
    """Takes actions beyond the environment's bounds, and clips them.

    Observation: unchanged.  Action: chosen values lose their bounds; the source receives clipped ones.

    Args:
      env: the environment below.
      keys: a glob over the names of leaves (`a/b` for nested ones), or a predicate of their `Modality`; by default all
        numbers.

    Raises:
      SpecError: a chosen value is no number, or has no bounds.

    >>> import aexp_torch as ae, torch
    >>> env = ae.GymnasiumEnv("Pendulum-v1").pipe(ae.ClipAction)
    >>> _ = env.reset()
    >>> env.step(torch.tensor([[100.0]])).mid().item()
    True

    Source: `ClipAction` of Gymnasium.
    """

    def __init__(self, env: Env, keys: Keys = is_number):
        super().__init__(env, keys, "action")

    def on_open(self) -> None:
        """Finds the bounds."""
        super().on_open()
        self._bounds = {leaf.name: bounds_of(leaf.spec) for leaf in self.leaves()}

    def change(self, value: Tensor, leaf: Leaf, rows: Tensor | None) -> Tensor:
        """Clips."""
        return value.clamp(*self._bounds[leaf.name])

    def augment_spec(self, spec: specs.Array, modality: Modality) -> tuple[specs.Array, Modality]:
        """Takes the bounds away."""
        if not is_number(modality):
            raise SpecError(f"expected numbers, got {modality.representation} {describe(spec)}.")
        bounds_of(spec)
        return specs.Array(spec.shape, spec.dtype, spec.name), modality


def bounds_of(spec: specs.Array) -> tuple[Tensor, Tensor]:
    """Returns the bounds of a leaf as tensors of its shape and dtype."""
    if not isinstance(spec, specs.BoundedArray):
        raise SpecError(f"expected bounds, got {describe(spec)}.")
    low, high = (np.broadcast_to(bound, spec.shape).astype(spec.dtype) for bound in (spec.minimum, spec.maximum))
    return torch.from_numpy(low), torch.from_numpy(high)
