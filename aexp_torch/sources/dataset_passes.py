"""Passes over data: which minibatch is the first and the last of its pass, and when the stream is over."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from aexp_torch.errors import EndOfStream, SpecError
from aexp_torch.sources.dataset_reading import GivenBack, Reader
from aexp_torch.specs.tree import map_tree

__all__ = ["Minibatch", "Passes", "gives_back"]


class Minibatch(NamedTuple):
    """One minibatch of one slot.

    Args:
      data: nested dict of tensors [B, ...]; rows that only fill up are 0.
      mask: bool [B], False on those rows; None where all rows are real.
      opens: it is the first of its pass.
      closes: it is the last of its pass.
      place: its pass, and its number in the order of the pass that is common to all slots (None where it was added).
    """

    data: dict[str, Any] | None
    mask: Tensor | None
    opens: bool
    closes: bool
    place: tuple[int, int | None]


class Passes:
    """Counts passes over a reader; where the data has no length it reads one minibatch ahead.

    Args:
      reader: gives the minibatches of this slot.
      epochs: number of passes, None for ever.
      who: the source, for messages.
      num_slots: number of slots that share a pass.
    """

    def __init__(self, reader: Reader, epochs: int | None, who: str, num_slots: int = 1):
        self.reader, self.epochs, self.who, self.num_slots = reader, epochs, who, num_slots
        self._begin_at = 0
        self.begin()

    def begin(self) -> None:
        """Starts the stream over with a new pass; after `divide_anew` it goes on within the pass under way."""
        self._passes, self._place = self._begin_at, 0
        self._begin_at = 0
        self._ahead: tuple[dict, Tensor | None, tuple[int, int | None]] | None = None
        self.reader.restart()

    def next(self, wanted: bool = True) -> Minibatch:
        """Returns the next minibatch, of the next pass where one is over.

        Args:
          wanted: False need not read its data.

        Raises:
          EndOfStream: after the last pass.
          SpecError: no pass has a minibatch for this slot.
        """
        data, mask, place = self._ahead or self._read_on(wanted)
        self._ahead = None
        opens = self._place == 0
        self._place += 1
        closes = self._is_last()
        if closes:
            self._passes, self._place = self._passes + 1, 0
        return Minibatch(data, mask, opens, closes, place)

    def _read_on(self, wanted: bool) -> tuple[dict, Tensor | None, tuple[int, int | None]]:
        """Reads a minibatch, in a later pass where one has none for this slot."""
        for _ in range(self.num_slots + 1):
            if self.epochs is not None and self._passes >= self.epochs:
                raise EndOfStream(f"{self.who}: {self.epochs} passes over the data are done.")
            minibatch = self._read(wanted)
            if minibatch is not None:
                return minibatch
            self._passes += 1
        if self.epochs is not None:
            self._passes = self.epochs
            raise EndOfStream(f"{self.who}: no minibatches for this slot.")
        raise SpecError(
            f"{self.who}: expected at least one minibatch per slot, this slot has none. Use a smaller batch_size or"
            " fewer slots (in_flight)."
        )

    def _read(self, wanted: bool = True) -> tuple[dict, Tensor | None, tuple[int, int | None]] | None:
        try:
            data, mask = self.reader.next_batch(wanted)
        except StopIteration:
            return None
        real = None if mask is None else torch.as_tensor(mask)
        return map_tree(lambda leaf: _blank(torch.as_tensor(leaf), real), data), real, self.reader.last

    def _is_last(self) -> bool:
        if self.reader.num_batches_here is not None:
            last = self._place == self.reader.num_batches_here
            if last:
                self.reader.restart()
            return last
        self._ahead = self._read()
        return self._ahead is None

    @property
    def number(self) -> int:
        """The pass of the stream that is read, from 0; after `divide_anew` that in which it begins."""
        return self._begin_at or self._passes

    def state_dict(self) -> dict:
        """Returns the reader's state, the place in the pass, and a minibatch that was read ahead."""
        return {
            "reader": self.reader.state_dict(),
            "passes": self._passes,
            "place": self._place,
            "begin_at": self._begin_at,
            "ahead": self._ahead and dict(zip(("data", "mask", "place"), self._ahead, strict=True)),
        }

    def load_state_dict(self, state: dict) -> None:
        """Goes on from `state_dict`."""
        self.reader.load_state_dict(state["reader"])
        self._passes, self._place, self._begin_at = state["passes"], state["place"], state["begin_at"]
        ahead = state["ahead"]
        self._ahead = ahead and (ahead["data"], ahead["mask"], tuple(ahead["place"]))

    def divide_anew(self, states: list[dict], given_back: list[GivenBack]) -> dict:
        """Returns the state of this slot, from those of all slots of another division; see `Reader.divide_anew`."""
        for state in states:
            if state["ahead"] is not None:
                given_back = [*given_back, *gives_back(**state["ahead"])]
        reader = self.reader.divide_anew([state["reader"] for state in states], given_back)
        number = reader["pass"] - states[0]["reader"]["pass"] + (states[0]["passes"] or states[0]["begin_at"])
        number = number % self.epochs if self.epochs is not None else max(number, 0)
        return {"reader": reader, "passes": 0, "place": 0, "begin_at": number, "ahead": None}


def gives_back(data: dict | None, mask: Tensor | None, place: tuple[int, int | None], **_: Any) -> list[GivenBack]:
    """Returns a minibatch that is to be dealt out again, unless it was only added to make the pass even."""
    real = None if mask is None else torch.as_tensor(mask).numpy()
    return [] if place[1] is None else [GivenBack(place[0], place[1], data, real)]


def _blank(leaf: Tensor, mask: Tensor | None) -> Tensor:
    return leaf if mask is None else torch.where(mask.view(-1, *[1] * (leaf.dim() - 1)), leaf, torch.zeros_like(leaf))
