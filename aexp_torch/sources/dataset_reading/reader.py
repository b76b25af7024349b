"""Reader: minibatches of one slot, pass after pass. All that DatasetEnv knows about its data."""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from aexp_torch.errors import SpecError

__all__ = ["Minibatch", "Reader"]

Minibatch = tuple[dict[str, Any], np.ndarray | None]


class Reader(ABC):
    """Hands out the minibatches of one slot, in an order that follows from the seed and the number of the pass.

    Attributes:
      batch_size: rows of every minibatch. Short ones are padded by repeating their own rows.
      num_batches: minibatches of this slot in one pass, None where the data has no length.
    """

    batch_size: int
    num_batches: int | None

    @abstractmethod
    def peek(self) -> dict[str, Any]:
        """Returns example data (leading axis 1 or more) for building specs. Nothing moves and nothing is consumed."""

    @abstractmethod
    def next_batch(self) -> Minibatch:
        """Returns the next minibatch of this slot.

        Returns:
          The nested dict of numpy arrays or torch tensors `[B, ...]`, in fresh memory, and the mask: bool `[B]`, False
          on rows that were added to fill up, or None where all rows are real.

        Raises:
          StopIteration: at the end of a pass. The next call begins the next pass.
        """

    @abstractmethod
    def restart(self) -> None:
        """Drops what is left of this pass, so that `next_batch` begins a new one. At a beginning it does nothing."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Returns tensors and primitives from which `load_state_dict` goes on at exactly the next minibatch."""

    @abstractmethod
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on where `state` was taken, by a reader of the same data with the same arguments.

        The seed is part of the state and replaces the reader's own.

        Raises:
          SpecError: the state was taken with other arguments or other data.
        """

    def close(self) -> None:  # noqa: B027 - most readers hold nothing that has to be closed
        """Gives back files and processes. Closing twice does no harm."""


def check_same(who: str, state: dict[str, Any], own: dict[str, Any]) -> None:
    """Raises a SpecError where a state was taken with other arguments than the reader that shall load it has."""
    taken = state["made_with"]
    if taken != own:
        unequal = ", ".join(f"{key} {own[key]!r}, got {taken.get(key)!r}" for key in own if taken.get(key) != own[key])
        raise SpecError(f"{who}: expected a state taken with {unequal}. Read the same data with the same arguments.")
