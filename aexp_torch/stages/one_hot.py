"""OneHot: choices as vectors."""

from dataclasses import replace

import numpy as np
from dm_env import specs
from torch import Tensor, from_numpy

from aexp_torch.env import Env
from aexp_torch.errors import SpecError
from aexp_torch.specs import Modality, describe
from aexp_torch.specs.modality import is_choice
from aexp_torch.stages.augment import Augment, Keys, Leaf

__all__ = ["OneHot", "choices_of", "num_choices", "one_hot"]


class OneHot(Augment):
    """Shows each choice as a vector: 1 at its place, 0 elsewhere.

    Observation: chosen integers [B, ...] with n choices become float32 [B, ..., n] in [0, 1]; where elements of one
    value have unequal numbers of choices, n is the largest.  Action: unchanged.

    Args:
      env: the environment below.
      keys: a glob over the names of leaves (`a/b` for nested ones), or a predicate of their `Modality`; by default all
        flat categorical values (no text).

    Raises:
      SpecError: a chosen value is no integer, or the number of choices is not known.

    >>> import aexp_torch as ae
    >>> env = ae.GymnasiumEnv("FrozenLake-v1", num_envs=2).pipe(ae.OneHot)
    >>> env.reset().observation["observation"].shape
    torch.Size([2, 16])

    Source: `gymnasium.spaces.flatten` for a Discrete space.
    """

    def __init__(self, env: Env, keys: Keys = is_choice):
        super().__init__(env, keys)

    def on_open(self) -> None:
        """Finds the choices."""
        super().on_open()
        self._choices = {leaf.name: choices_of(leaf.spec) for leaf in self.leaves()}

    def change(self, value: Tensor, leaf: Leaf, rows: Tensor | None) -> Tensor:
        """Writes the vectors."""
        return from_numpy(one_hot(value.numpy(), self._choices[leaf.name]))

    def augment_spec(self, spec: specs.Array, modality: Modality) -> tuple[specs.Array, Modality]:
        """Adds the axis of choices."""
        shape = (*spec.shape, int(num_choices(spec).max()))
        structure = modality.structure if modality.structure != "flat" or not spec.shape else "grid"
        bounds = (np.zeros(shape, np.float32), np.ones(shape, np.float32))
        modality = replace(modality, structure=structure, representation="binary")
        return specs.BoundedArray(shape, np.float32, *bounds, spec.name), modality


def num_choices(spec: specs.Array) -> np.ndarray:
    """Returns how many choices each element of a leaf has: integers in the leaf's shape.

    Raises:
      SpecError: it has no bounds, or is no integer.
    """
    if not isinstance(spec, specs.BoundedArray) or spec.dtype.kind not in "iu":
        raise SpecError(f"expected integers with bounds, got {describe(spec)}. Tell the source how many there are.")
    low, high = (np.broadcast_to(bound, spec.shape).astype(np.int64) for bound in (spec.minimum, spec.maximum))
    if (high - low >= 2**16).any():
        raise SpecError(f"expected at most {2**16} choices, got {describe(spec)}. Use an embedding instead.")
    return high - low + 1


def choices_of(spec: specs.Array) -> np.ndarray:
    """Returns what each place of the vector stands for, element by element: int64 [..., n]."""
    places = np.arange(int(num_choices(spec).max()))
    return np.broadcast_to(spec.minimum, spec.shape).astype(np.int64)[..., None] + places


def one_hot(value: np.ndarray, choices: np.ndarray) -> np.ndarray:
    """Returns float32 [B, ..., n] for integers [B, ...]; see `choices_of`."""
    return (value[..., None] == choices).astype(np.float32)
