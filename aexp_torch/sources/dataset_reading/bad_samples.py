"""BadSamples: what of a dataset could not be read, and when that is too much."""

import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from aexp_torch.errors import SpecError

__all__ = ["BadSamples", "in_short", "too_many"]


class BadSamples:
    """Keeps the indices of samples that could not be read; each counts once, however often it is met.

    Args:
      on_bad_sample: what such a sample is: an error, or left out.
      limit: how many may be left out, None for any number.
      name: what the data is, for messages.
      noun: what is left out: "sample", or "batch" of a DataLoader.
      who: how errors name the reader.
    """

    def __init__(self, on_bad_sample: Literal["raise", "skip"], limit: int | None, name: str, noun: str, who: str):
        self._skips, self._limit = on_bad_sample == "skip", limit
        self._name, self._noun, self._who = name, noun, who
        self._has_warned = False
        self.indices: set[int | str] = set()

    @contextmanager
    def uncounted(self) -> Iterator[None]:
        """Does not count what is met while something is only looked at: its turn comes."""
        before = set(self.indices)
        try:
            yield
        finally:
            self.indices = before

    def add(self, index: int, error: Exception) -> None:
        """Takes note of a sample that could not be read.

        Raises:
          SpecError: bad samples are not left out, or there are too many.
        """
        self._add(index, f"{self._noun} {index}", f"such {self._noun}s", error)

    def add_part(self, part: str, key: str, error: Exception) -> None:
        """Takes note of a whole part of the data that could not be read; it counts as one.

        Args:
          part: what it is, for messages: "shard" and its address.
          key: what tells it from others.
          error: what was raised.
        """
        self._add(key, part, "such parts", error)

    def _add(self, index: int | str, which: str, such: str, error: Exception) -> None:
        what = (
            f"{self._who}: expected to read {which} of {self._name}, got {in_short(error)}"
            if not isinstance(error, SpecError)
            else str(error)
        ).rstrip(".")
        if not self._skips:
            if isinstance(error, SpecError):
                raise error
            raise SpecError(f"{what}. Repair it, or leave {such} out with on_bad_sample='skip'.") from error
        if index in self.indices:
            return
        if not self._has_warned:
            self._has_warned = True
            text = "".join(traceback.format_exception(error))
            warnings.warn(
                f"{what}. It is left out (on_bad_sample='skip'), and so are others without a further word.\n{text}",
                stacklevel=2,
            )
        self.indices.add(index)
        if self._limit is not None and len(self.indices) > self._limit:
            raise SpecError(too_many(self._who, len(self.indices), self._limit, f"the last one: {what}")) from error


def in_short(error: Exception) -> str:
    """Returns the type of an error and what it says, in one line: its first one and, of a traceback, its last."""
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {' ... '.join(dict.fromkeys((lines[0], lines[-1])))}".rstrip(": .")


def too_many(who: str, count: int, limit: int, more: str) -> str:
    """Returns the text of the error."""
    return (
        f"{who}: expected at most max_bad_samples={limit} bad samples, got {count}; {more}. Repair the data, or allow"
        " more of them (None: any number)."
    )
