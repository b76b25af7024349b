"""DropKeyValue: sometimes a key is not there."""

from dataclasses import replace

import numpy as np
from dm_env import specs
from torch import Tensor, from_numpy

from aexp_torch.env import Env
from aexp_torch.specs import Modality
from aexp_torch.stages.augment import Augment, Keys, Leaf
from aexp_torch.stages.spells import Steps, end_spells, spells, steps_drawer

__all__ = ["DropKeyValue"]


class DropKeyValue(Augment):
    """Sometimes takes a value away, with its key: what no lane has is None, what some lack is 0 there and masked.

    In each lane on its own, for `n` steps, this one included. An episode begins with nothing taken away that was before.
    An environment needs its whole action, so there is no action side: see `Dropout` and `Repeat`.

    Observation: same specs, optional; `mask:<key>` (bool [B]) where only some lanes have the key.  Action: unchanged.

    Args:
      env: the environment below.
      p: probability that it begins, in [0, 1].
      n: steps: an int; `"geometric"`, on and on with probability `p`; or a function from a `numpy.random.Generator` and a
        count to that many integers of at least 1.
      keys: a glob over the names of leaves (`a/b` for nested ones), or a predicate of their `Modality`.

    >>> import aexp_torch as ae
    >>> env = ae.GymnasiumEnv("CartPole-v1", num_envs=2).pipe(ae.ObserveReward).pipe(ae.DropKeyValue, p=1.0, keys="rew*")
    >>> env.reset().observation["reward"] is None
    True

    Source: `DropKeyValue` of the artificial-experience project.
    """

    def __init__(self, env: Env, p: float = 0.1, n: Steps = 1, keys: Keys = "*"):
        super().__init__(env, keys, "observation", p)
        self.n = n
        self.draw_steps = steps_drawer(n, p, "DropKeyValue")

    def change(self, value: Tensor, leaf: Leaf, rows: Tensor | None) -> Tensor:
        """Leaves values alone."""
        return value

    def lose(self, leaf: Leaf, rows: Tensor | None) -> Tensor | None:
        """Says where the key is gone."""
        lasting, begins = spells(leaf, self.p, self.draw_rest, rows)
        gone = lasting | begins
        return from_numpy(gone) if gone.any() else None

    def begin(self, leaf: Leaf, lanes: Tensor) -> None:
        """Gives the key back."""
        end_spells(leaf, lanes)

    def augment_spec(self, spec: specs.Array, modality: Modality) -> tuple[specs.Array, Modality]:
        """Makes it optional."""
        return spec, replace(modality, optional=True)

    def draw_rest(self, generator: np.random.Generator, count: int) -> np.ndarray:
        """Draws how many steps follow the one at which it begins."""
        return self.draw_steps(generator, count) - 1
