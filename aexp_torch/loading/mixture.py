"""Mixture: which source has its turn at step t, the same on every rank."""

import zlib
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from math import isfinite

import numpy as np

from aexp_torch.errors import SpecError
from aexp_torch.state import pack_generator, unpack_generator

__all__ = ["Mixture", "Weights"]

Weights = Mapping[str, float] | Sequence[float] | Callable[[int], Mapping[str, float] | Sequence[float]]


class Mixture:
    """Draws names with given weights from a generator of its own.

    Args:
      names: what is drawn from.
      weights: one per name (a mapping, or a sequence in their order), relative to each other; a function from the
        step (from 0) to such; None for equal weights.
      seed: S of the draws.

    Raises:
      SpecError: weights that are negative, not finite, all zero, or do not fit the names.
    """

    def __init__(self, names: Sequence[str], weights: Weights | None, seed: int):
        self.names = list(names)
        self._schedule = weights if callable(weights) else None
        self._seed = seed
        if callable(weights):
            self._check(weights(0))
        else:
            self._cumulative = self._check([1.0] * len(self.names) if weights is None else weights)
        self.restart()

    def restart(self) -> None:
        """Begins the draws again."""
        self.step = 0
        self._generator = np.random.default_rng(np.random.SeedSequence(self._seed, spawn_key=(zlib.crc32(b"Mixture"),)))

    def draw(self) -> str:
        """Returns the name for this step and goes on to the next."""
        cumulative = self._cumulative if self._schedule is None else self._check(self._schedule(self.step))
        self.step += 1
        if len(self.names) == 1:
            return self.names[0]
        place = bisect_right(cumulative, self._generator.random() * cumulative[-1])
        return self.names[min(place, len(self.names) - 1)]

    def _check(self, weights: Mapping[str, float] | Sequence[float]) -> list[float]:
        if isinstance(weights, Mapping):
            unknown = [name for name in weights if name not in self.names]
            missing = [name for name in self.names if name not in weights]
            if unknown or missing:
                raise SpecError(
                    f"Loader: expected one weight for each of {self.names}; no such source: {unknown}, without a"
                    f" weight: {missing}."
                )
            weights = [weights[name] for name in self.names]
        values = [float(weight) for weight in weights]
        if len(values) != len(self.names):
            raise SpecError(f"Loader: expected {len(self.names)} weights for {self.names}, got {len(values)}.")
        if not all(isfinite(value) and value >= 0 for value in values) or not any(values):
            raise SpecError(
                f"Loader: expected finite weights >= 0, not all of them 0, for {self.names} at step"
                f" {getattr(self, 'step', 0)}, got {values}."
            )
        return list(accumulate(values))

    @property
    def shares(self) -> dict[str, float]:
        """How likely each name is to be drawn at this step; together 1."""
        cumulative = self._cumulative if self._schedule is None else self._check(self._schedule(self.step))
        return {
            name: (high - low) / cumulative[-1]
            for name, low, high in zip(self.names, [0.0, *cumulative], cumulative, strict=False)
        }

    def state_dict(self) -> dict:
        """Returns the step and the generator."""
        return {"step": self.step, "generator": pack_generator(self._generator)}

    def load_state_dict(self, state: dict) -> None:
        """Goes on from `state_dict`."""
        self.step, self._generator = state["step"], unpack_generator(state["generator"])
