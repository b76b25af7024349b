"""RescaleAction: actions between two numbers, whatever the environment's own are."""

import numpy as np
from dm_env import specs
from torch import Tensor

from aexp_torch.env import Env
from aexp_torch.errors import SpecError
from aexp_torch.specs import Modality, describe
from aexp_torch.specs.modality import is_real
from aexp_torch.stages.augment import Augment, Keys, Leaf
from aexp_torch.stages.clip_action import bounds_of

__all__ = ["RescaleAction"]


class RescaleAction(Augment):
    """Maps actions in [min_action, max_action] linearly to the environment's own bounds.

    Observation: unchanged.  Action: chosen values are bounded by `min_action` and `max_action`.

    Args:
      env: the environment below.
      min_action: becomes the environment's smallest action.
      max_action: becomes its largest.
      keys: a glob over the names of leaves (`a/b` for nested ones), or a predicate of their `Modality`; by default all
        real values.

    Raises:
      SpecError: a chosen value is not real, or not bounded on both sides.

    >>> import aexp_torch as ae
    >>> env = ae.GymnasiumEnv("Pendulum-v1").pipe(ae.RescaleAction, min_action=-1.0, max_action=1.0)
    >>> env.action_spec()["action"].maximum
    array([1.], dtype=float32)

    Source: `RescaleAction` of Gymnasium.
    """

    def __init__(self, env: Env, min_action: float = -1.0, max_action: float = 1.0, keys: Keys = is_real):
        super().__init__(env, keys, "action")
        if not -np.inf < min_action < max_action < np.inf:
            raise SpecError(
                f"RescaleAction: expected finite min_action < max_action, got {min_action!r} and {max_action!r}."
            )
        self.min_action, self.max_action = min_action, max_action

    def on_open(self) -> None:
        """Finds the bounds."""
        super().on_open()
        self._bounds = {leaf.name: bounds_of(leaf.spec) for leaf in self.leaves()}

    def change(self, value: Tensor, leaf: Leaf, rows: Tensor | None) -> Tensor:
        """Maps; rounding takes nothing beyond the bounds."""
        low, high = self._bounds[leaf.name]
        share = (value - self.min_action) / (self.max_action - self.min_action)
        return share.mul_(high - low).add_(low).clamp_(low, high)

    def augment_spec(self, spec: specs.Array, modality: Modality) -> tuple[specs.Array, Modality]:
        """Replaces the bounds."""
        if not is_real(modality):
            raise SpecError(f"expected real numbers, got {modality.representation} {describe(spec)}.")
        if not all(bound.isfinite().all() for bound in bounds_of(spec)):
            raise SpecError(f"expected bounds on both sides, got {describe(spec)}.")
        low, high = (np.full(spec.shape, bound) for bound in (self.min_action, self.max_action))
        return specs.BoundedArray(spec.shape, spec.dtype, low, high, spec.name), modality
