"""ResumableStream: the items of an iterable or a DataLoader, pass after pass, from any point of which it can go on."""

import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from torch.utils.data import get_worker_info

from aexp_torch.errors import AexpError, SpecError
from aexp_torch.sources.dataset_reading.bad_samples import BadSamples, in_short
from aexp_torch.sources.dataset_reading.known import Known
from aexp_torch.sources.dataset_reading.plain_values import from_plain, to_plain
from aexp_torch.sources.dataset_reading.retrying import Patience, is_transient
from aexp_torch.sources.dataset_reading.sample_format import Blank, SampleFormat, copy_leaf
from aexp_torch.sources.dataset_reading.whole_stream import as_a_whole
from aexp_torch.specs import map_tree

__all__ = ["Passes", "ResumableStream"]


class Passes(Protocol):
    """Is what can be read in passes: `IterablePasses`, `LoaderPasses`."""

    seed: int
    outlives_errors: bool  # after one the iterator goes on with the next item

    @property
    def begins_again(self) -> bool:
        """Whether `begin`, after `renew`, gives the same pass as before."""

    def renew(self) -> None: ...
    def begin(self, pass_number: int) -> Iterator: ...
    def state(self, iterator: Iterator | None) -> dict[str, Any] | None: ...
    def resume(self, pass_number: int, state: Any) -> tuple[Iterator, bool]: ...


class ResumableStream:
    """Reads one item ahead, so that the end of a pass is known with its last item, also by whoever loads a state.

    Args:
      passes: the data.
      make_format: makes the SampleFormat from the first item.
      noun: what one item is, for messages: "sample" or "batch".
      name: what the data is, for messages.
      who: how errors name the reader.
      bad_samples: is told of items that cannot be read or do not look like the first; by default they are errors.
      read_timeout: seconds for which reading is tried again where an error may pass.

    Raises:
      SpecError: the data is empty, or gives nothing in a later pass; it raises where it cannot go on; a bad item.
    """

    def __init__(
        self,
        passes: Passes,
        make_format: Callable[[Any], SampleFormat],
        noun: str,
        name: str,
        who: str,
        bad_samples: BadSamples | None = None,
        read_timeout: float = 60.0,
    ):
        self.bad_samples = bad_samples or BadSamples("raise", None, name, noun, who)
        self._passes, self._noun, self._name, self._who = passes, noun, name, who
        self._patience = Patience(f"{noun}s of {name}", read_timeout, who)
        self._iterator: Iterator | None = None
        self._pass_number, self._num_read = 0, 0
        self._between: dict[str, Any] | None = None  # the state, as loaded, in which the pass before left the data
        self._held: dict[str, Any] | None = None
        self._held_raised = False
        self._make_format = make_format
        self._format: SampleFormat | None = None
        self._begin()
        self.example = map_tree(copy_leaf, self._held)

    @property
    def known(self) -> dict[tuple[str, ...], Known]:
        """What is known of leaves, by path, beyond what `example` shows."""
        return self._format.known if self._format is not None else {}

    def has_next(self) -> bool:
        """Says whether this pass has another item; begins it if that was not done yet."""
        if not self._num_read:
            self._begin()
        return self._held is not None

    def next(self) -> dict[str, Any]:
        """Returns the next item of this pass, converted; only after `has_next` said so."""
        item, self._held = self._held, self._read()
        assert item is not None
        return item

    def next_pass(self) -> None:
        """Goes to the next pass, dropping what is left of this one."""
        if self._held is not None:
            self._passes.renew()  # an iterable with a state of its own would otherwise go on in the middle
        self._pass_number, self._num_read, self._held, self._iterator = self._pass_number + 1, 0, None, None

    def state_dict(self) -> dict[str, Any]:
        running = self._iterator if self._held is not None else None
        data = self._between if self._between is not None else self._passes.state(running)
        if self._held_raised and data is not None:
            data.pop("dataset", None)  # StatefulDataLoader's own state does not count an item that raised
        return {
            "seed": self._passes.seed,
            "pass": self._pass_number,
            "num_read": self._num_read,
            "held": to_plain(self._held, self._who),
            "held_is_blank": isinstance(self._held, Blank),
            "held_raised": self._held_raised,
            "data": to_plain(data, self._who),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.close()
        self._passes.renew()
        self._passes.seed = state["seed"]
        self._pass_number, self._num_read = state["pass"], state["num_read"]
        self._held, self._between, self._held_raised = from_plain(state["held"]), None, state["held_raised"]
        if state["held_is_blank"]:
            self._held = Blank(self._held)
        if self._held is None:
            self._between = from_plain(state["data"])
            return
        with as_a_whole():
            self._iterator, there = self._passes.resume(self._pass_number, from_plain(state["data"]))
            if not there:
                self._skip()

    def close(self) -> None:
        """Drops the iterator, and with it the processes of a DataLoader."""
        self._iterator = None

    def _begin(self) -> None:
        with as_a_whole():
            if self._between is not None:
                self._iterator, _ = self._passes.resume(self._pass_number, self._between)
                self._held, self._between = self._read(), None
            for _ in range(2):  # some data, to which the state of an ended pass was loaded, only ends it once more
                if self._held is None:
                    self._iterator = self._passes.begin(self._pass_number)
                    self._held = self._read()
        if self._held is None:
            self._complain_about_nothing()

    def _read(self) -> dict[str, Any] | None:
        index = self._num_read
        item = self._next_item(index)
        if item is _END:
            return None
        self._num_read += 1
        self._held_raised = isinstance(item, _Unreadable)
        if isinstance(item, _Unreadable):
            self.bad_samples.add(index, item.error)
            return self._format.blank()  # type: ignore[union-attr]
        if self._format is None:
            self._format = self._make_format(item)
        try:
            return self._format.convert(item, index, fresh=True)
        except SpecError as error:
            self.bad_samples.add(index, error)
            return self._format.blank()

    def _next_item(self, index: int) -> Any:
        assert self._iterator is not None
        while True:
            try:
                if get_worker_info() is None:  # the common case, without the cost of the other
                    item = next(self._iterator, _END)
                else:
                    with as_a_whole():
                        item = next(self._iterator, _END)
                if self._patience.failing:
                    self._patience.progress()
                return item
            except AexpError:
                raise
            except Exception as error:  # whatever is wrong with the data
                if self._passes.begins_again and is_transient(error):
                    self._read_again(index, error)
                    continue
                if self._passes.outlives_errors and self._format is not None:
                    return _Unreadable(error)
                why = (
                    "its first one says what all look like"
                    if self._format is None
                    else "it cannot go on after an error"
                )
                raise SpecError(
                    f"{self._who}: expected to read {self._noun} {index} of {self._name}, got {in_short(error)}. Catch it"
                    f" in {self._name}, on_bad_sample='skip' does not help here: {why}."
                ) from error

    def _read_again(self, index: int, error: Exception) -> None:
        """Waits, begins the pass once more, and passes over what was read of it."""
        if not self._patience.failing:
            self._patience.progress()  # its clock starts with the first failure
        while True:
            self._patience.wait(error)
            started = time.monotonic()
            try:
                self._passes.renew()
                with as_a_whole():
                    self._iterator = self._passes.begin(self._pass_number)
                    for _ in range(index):
                        next(self._iterator, _END)
            except Exception as another:
                if not is_transient(another):
                    raise
                error = another
            else:
                self._patience.extend(time.monotonic() - started)
                return

    def _skip(self) -> None:
        warnings.warn(
            f"{self._who}: {self._name} has no state_dict(), so {self._num_read} {self._noun}(s) are read again and "
            "skipped. Give it state_dict() and load_state_dict() to go on without reading.",
            stacklevel=2,
        )
        for index in range(self._num_read):
            if self._next_item(index) is _END:
                raise SpecError(
                    f"{self._who}: expected {self._num_read} {self._noun}s to skip in {self._name}, got {index}. "
                    "Load the state with the data it was taken with."
                )

    def _complain_about_nothing(self) -> None:
        where = f"{self._who}: expected at least one {self._noun} in {self._name}, got none"
        if self._pass_number:
            raise SpecError(
                f"{where} in pass {self._pass_number}. Give something that can be iterated again and again."
            )
        raise SpecError(f"{where}. Check the path or the filter that it was made with.")


class _Unreadable:
    """Stands for an item that could not be read."""

    def __init__(self, error: Exception):
        self.error = error


_END = object()
