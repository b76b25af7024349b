"""ClipObservation: observations within bounds."""

import numpy as np
from dm_env import specs
from torch import Tensor

from aexp_torch.env import Env
from aexp_torch.errors import SpecError
from aexp_torch.specs import Modality, describe
from aexp_torch.specs.modality import is_number
from aexp_torch.stages.augment import Augment, Keys

__all__ = ["ClipObservation"]


class ClipObservation(Augment):
    """Clips numbers in the observation.

    Observation: chosen values have these bounds, or their own where those are narrower.  Action: unchanged.

    Args:
      env: the environment below.
      minimum: the smallest value, or None.
      maximum: the largest, or None.
      keys: a glob over the names of leaves (`a/b` for nested ones), or a predicate of their `Modality`; by default all
        numbers.

    Raises:
      SpecError: a chosen value is no number, or does not have these bounds (its dtype, or its own bounds).

    >>> import aexp_torch as ae
    >>> env = ae.GymnasiumEnv("CartPole-v1").pipe(ae.NormalizeObservation).pipe(ae.ClipObservation, minimum=-10, maximum=10)
    >>> env.observation_spec()["observation"].maximum
    array([10., 10., 10., 10.], dtype=float32)

    Source: `VecNormalize` of OpenAI Baselines, which clips what it has normalized.
    """

    def __init__(self, env: Env, minimum: float | None = None, maximum: float | None = None, keys: Keys = is_number):
        super().__init__(env, keys)
        low, high = -np.inf if minimum is None else minimum, np.inf if maximum is None else maximum
        if not low < high or (low == -np.inf and high == np.inf):
            raise SpecError(
                f"ClipObservation: expected minimum, maximum or both, the first below the second, got {minimum!r} and"
                f" {maximum!r}."
            )
        self.minimum, self.maximum = minimum, maximum

    def augment(self, value: Tensor, spec: specs.Array, modality: Modality, generator: np.random.Generator) -> Tensor:
        """Clips."""
        return value.clamp(self.minimum, self.maximum)

    def augment_spec(self, spec: specs.Array, modality: Modality) -> tuple[specs.Array, Modality]:
        """Narrows the bounds."""
        given = [bound for bound in (self.minimum, self.maximum) if bound is not None]
        integers = spec.dtype.kind in "iu"
        if not is_number(modality) or (integers and any(np.asarray(b).astype(spec.dtype) != b for b in given)):
            raise SpecError(f"expected numbers that can have the bounds {given}, got {describe(spec)}.")
        widest = (np.iinfo(spec.dtype).min, np.iinfo(spec.dtype).max) if integers else (-np.inf, np.inf)
        own = (getattr(spec, "minimum", widest[0]), getattr(spec, "maximum", widest[1]))
        low, high = (np.broadcast_to(np.clip(bound, self.minimum, self.maximum), spec.shape) for bound in own)
        return specs.BoundedArray(spec.shape, spec.dtype, low, high, spec.name), modality
