"""NormalizeObservation: zero mean, unit variance, learned on the way."""

from dataclasses import replace
from typing import Any

import numpy as np
from dm_env import specs
from torch import Tensor, from_numpy

from aexp_torch.env import Env
from aexp_torch.errors import SpecError
from aexp_torch.specs import Modality, describe
from aexp_torch.specs.modality import is_number, is_real
from aexp_torch.stages.augment import Augment, Keys, Leaf
from aexp_torch.stages.running_moments import fresh_moments, updated_moments

__all__ = ["NormalizeObservation"]


class NormalizeObservation(Augment):
    """Takes the running mean of each element away and divides by its running standard deviation.

    The statistics are those of all timesteps that a source has shown in this slot, this one included; they outlive
    episodes, and are part of the state. For evaluation, give what `statistics` was in training, and `frozen=True`.

    Observation: chosen values become float32 of the same shape, without bounds.  Action: unchanged.

    Args:
      env: the environment below.
      epsilon: is added to the variance, more than 0.
      frozen: uses the statistics as they are.
      statistics: to begin with, as the attribute `statistics` returns them; the default is mean 0 and variance 1.
      keys: a glob over the names of leaves (`a/b` for nested ones), or a predicate of their `Modality`; by default all
        real values.

    Raises:
      SpecError: a chosen value is not a number, or there are no statistics for it where some are given.

    >>> import aexp_torch as ae
    >>> train = ae.GymnasiumEnv("Pendulum-v1", num_envs=8).pipe(ae.NormalizeObservation)
    >>> train.reset().observation["observation"].mean(0).abs().max() < 0.01
    tensor(True)
    >>> test = ae.GymnasiumEnv("Pendulum-v1").pipe(ae.NormalizeObservation, frozen=True, statistics=train.statistics)

    Source: `NormalizeObservation` of Gymnasium; Chan et al. 1979.
    """

    def __init__(
        self,
        env: Env,
        epsilon: float = 1e-8,
        frozen: bool = False,
        statistics: dict[str, dict[str, Any]] | None = None,
        keys: Keys = is_real,
    ):
        super().__init__(env, keys)
        if not epsilon > 0:
            raise SpecError(f"NormalizeObservation: expected epsilon > 0, got {epsilon!r}.")
        if frozen and statistics is None:
            raise SpecError(
                "NormalizeObservation: expected statistics= with frozen=True, got None. Give the attribute statistics of"
                " the stage that has learned them."
            )
        self.epsilon, self.frozen, self.given_statistics = epsilon, frozen, statistics

    def on_open(self) -> None:
        """Starts with the given statistics."""
        super().on_open()
        given = self.given_statistics
        for leaf in self.leaves():
            leaf.memory = fresh_moments(leaf.spec.shape) if given is None else _check(given, leaf)

    @property
    def statistics(self) -> dict[str, dict[str, Any]]:
        """Mean and variance (float64 [...]) and count of each value, by `source:observation:key`."""
        self.open()
        return {leaf.name: dict(leaf.memory) for leaf in self.leaves()}

    def change(self, value: Tensor, leaf: Leaf, rows: Tensor | None) -> Tensor:
        """Learns, then normalizes."""
        exact = value.numpy().astype(np.float64)
        if not self.frozen:
            leaf.memory = updated_moments(leaf.memory, exact if rows is None else exact[rows.numpy()])
        exact -= leaf.memory["mean"].numpy()
        exact /= np.sqrt(leaf.memory["variance"].numpy() + self.epsilon)
        return from_numpy(exact.astype(np.float32))

    def augment_spec(self, spec: specs.Array, modality: Modality) -> tuple[specs.Array, Modality]:
        """Makes it float32 without bounds."""
        if not is_number(modality):
            raise SpecError(f"expected numbers, got {modality.representation} {describe(spec)}. Put OneHot before it.")
        return specs.Array(spec.shape, np.float32, spec.name), replace(modality, representation="real")


def _check(given: dict, leaf: Leaf) -> dict[str, Any]:
    moments = given.get(leaf.name)
    if moments is None or moments["mean"].shape != leaf.spec.shape:
        shapes = {name: list(one["mean"].shape) for name, one in given.items()}
        raise SpecError(
            f"NormalizeObservation: expected statistics of {leaf.name!r} {list(leaf.spec.shape)}, got {shapes}. Give the"
            " source the name that it had where they were learned, or choose others with keys=."
        )
    return dict(moments)
