"""Dice: draws options, the same ones for the same seed."""

from typing import Any

import numpy as np

__all__ = ["Dice"]


class Dice:
    """Draws from what it is given.

    Args:
      seed: everything follows from it.
    """

    def __init__(self, seed: int):
        self._generator = np.random.default_rng(seed)

    def __call__(self, *choices: Any) -> Any:
        """Returns one of the choices; naming one twice makes it twice as likely."""
        return choices[self.number(0, len(choices) - 1)]

    def number(self, low: int, high: int) -> int:
        """Returns an integer in [low, high]."""
        return int(self._generator.integers(low, high, endpoint=True))

    def chance(self, p: float) -> bool:
        """Returns True with probability `p`."""
        return bool(self._generator.random() < p)

    def weighted(self, weights: dict[Any, float]) -> Any:
        """Returns a key, with a probability that goes with its value."""
        shares = np.array(list(weights.values()), float)
        return list(weights)[int(self._generator.choice(len(shares), p=shares / shares.sum()))]
