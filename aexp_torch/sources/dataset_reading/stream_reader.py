"""StreamReader: minibatches of data that can only be read from front to back."""

from typing import Any

import numpy as np

from aexp_torch.errors import SpecError
from aexp_torch.sources.dataset_reading.bad_samples import BadSamples
from aexp_torch.sources.dataset_reading.minibatches import CollatedBatches, SampleBatches
from aexp_torch.sources.dataset_reading.padding import take_rows
from aexp_torch.sources.dataset_reading.plain_values import from_plain, to_plain
from aexp_torch.sources.dataset_reading.reader import GivenBack, Minibatch, Reader, check_same
from aexp_torch.sources.dataset_reading.reading_options import ReadingOptions
from aexp_torch.sources.dataset_reading.rest import Progress, pack_numbers, unpack_numbers, what_was_read
from aexp_torch.sources.dataset_reading.sample_format import copy_leaf
from aexp_torch.specs import map_tree

__all__ = ["StreamReader"]

ENDED_KEPT = 3  # passes whose length is remembered: slots are never further apart


class StreamReader(Reader):
    """Deals the minibatches of one common order: every slot reads all of them and keeps its own, s, s + N, ...

    A minibatch has a number, which counts what the data gives in a pass, and a place, which counts what is dealt: the
    two differ where the slots were divided anew in the middle of a pass. Then the first places belong to minibatches
    that had been read ahead and come with the state, and the numbers that had been read are skipped.

    Args:
      batches: the minibatches of all slots.
      total: how many there are in a pass, None where the data has no length.
      options: whose slot this is, among others.
      bad_samples: what could not be read.
    """

    reads_again = False

    def __init__(
        self,
        batches: SampleBatches | CollatedBatches,
        total: int | None,
        options: ReadingOptions,
        bad_samples: BadSamples,
    ):
        self._batches, self._total, self._options, self.bad_samples = batches, total, options, bad_samples
        self.batch_size, self.known = batches.batch_size, batches.order.known
        self.num_batches = None if total is None else options.count_for_slot(total)
        self.pass_number, self.last = 0, (0, None)
        self._stream_pass, self._number = 0, 0  # where the data stands
        self._offset = 0  # the slot that has the first place
        self._read: dict[int, np.ndarray] = {}  # by pass: numbers that were read before the slots were divided anew
        self._again: list[dict[str, Any]] = []  # what came with the state: pass, place, number, data, mask
        self._num_again: dict[int, int] = {}  # by pass: how many of these all slots have
        self._ended: dict[int, tuple[int, int]] = {}  # by pass: the number of minibatches, and the offset
        self._begin()

    def _begin(self) -> None:
        self._place, self._taken = 0, 0  # the next place that is read, and how many this slot has been given
        self._first: dict[int, Minibatch] = {}  # by place: those that may have to come once more
        self._size = self._size_of(self.pass_number)  # places in this pass, once that is known

    def _size_of(self, pass_number: int) -> int | None:
        if self._total is not None:
            return self._total - len(self._read.get(pass_number, ()))
        return self._num_again.get(pass_number, 0) if pass_number < self._stream_pass else None

    @property
    def num_batches_here(self) -> int | None:
        return None if self._total is None else self._options.count_for_slot(self._size or 0)

    def cut_passes(self) -> list[int]:
        last = max([*self._read, *self._num_again], default=-1)
        sizes = [self._size_of(number) for number in range(self.pass_number, last + 1)]
        return [self._options.count_for_slot(size) for size in sizes if size is not None]

    def peek(self) -> dict[str, Any]:
        return map_tree(copy_leaf, self._batches.example)

    def next_batch(self, wanted: bool = True) -> Minibatch:
        num_slots = self._options.num_slots
        minibatch = self._take((self._options.slot - self._offset) % num_slots + self._taken * num_slots)
        if minibatch is None:
            while self._deal(wanted=False) is not None:  # so that a length that is wrong is noticed
                pass
            self._next_pass()
            raise StopIteration
        self._taken += 1
        return minibatch

    def _take(self, place: int) -> Minibatch | None:
        """Returns the minibatch at a place, one that was added to make the pass even, or None where the pass is over."""
        if self._size is not None and place >= self._options.evened(self._size):
            return None
        while self._place < place:
            if self._deal(wanted=False) is None:
                return self._added(place)
        dealt = self._deal(wanted=True)
        if dealt is None:
            return self._added(place)
        if self._options.uneven == "stop" and self._size is None:  # is this multiple of world_size complete?
            for _ in range(-(place + 1) % self._options.world_size):
                if self._deal(wanted=False) is None:
                    return None
        number, minibatch = dealt
        self.last = self.pass_number, number
        return minibatch

    def _added(self, place: int) -> Minibatch | None:
        size = self._size or 0
        if place >= self._options.evened(size):
            return None
        self.last = self.pass_number, None
        if self._options.uneven == "cycle":
            return _copied(self._first[place % size])
        rows = np.zeros(self.batch_size, np.int64)
        return map_tree(lambda leaf: take_rows(leaf, rows), self._batches.example), rows != 0

    def _deal(self, wanted: bool) -> tuple[int, Minibatch] | None:
        """Goes to the next place and returns its number and, where it is wanted, its minibatch; None after the last."""
        place = self._place
        kept = self._comes_again(place)
        if place < self._num_again.get(self.pass_number, 0):
            number, minibatch = self._given_back(place)
        else:
            number, batch = self._read_on()
            if batch is None:
                self._size = place
                return None
            minibatch = self._batches.collate(batch) if wanted or kept else ({}, None)
        self._place += 1
        if kept:
            self._first[place] = _copied(minibatch)
        return number, minibatch

    def _comes_again(self, place: int) -> bool:
        """Tells whether the minibatch at a place may have to make the pass even, in this slot."""
        options, size = self._options, self._size
        if options.uneven != "cycle" or place >= options.world_size - 1:
            return False
        added = range(size or 0, options.evened(size or 0))
        own = [more % (size or 1) for more in added if (more + self._offset) % options.num_slots == options.slot]
        return size is None or place in own

    def _given_back(self, place: int) -> tuple[int, Minibatch]:
        for item in self._again:
            if (item["pass"], item["place"]) == (self.pass_number, place):
                return item["number"], _copied((item["data"], item["mask"]))
        return -1, ({}, None)  # another slot has it

    def _read_on(self) -> tuple[int, Any]:
        """Reads the next minibatch that had not been read before the slots were divided anew; None at the end."""
        if self._stream_pass > self.pass_number:
            return -1, None
        read = self._read.get(self.pass_number)
        while (batch := self._batches.read()) is not None:
            number, self._number = self._number, self._number + 1
            self._check_length(at_end=False)
            if read is None or not _contains(read, number):
                return number, batch
        self._check_length(at_end=True)
        return -1, None

    def restart(self) -> None:
        if self._taken:
            self._next_pass()

    def state_dict(self) -> dict[str, Any]:
        who = self._options.who
        first = {place: to_plain(minibatch, who) for place, minibatch in self._first.items()}
        return {
            "made_with": self._made_with(),
            "pass": self.pass_number,
            "place": self._place,
            "taken": self._taken,
            "size": self._size,
            "offset": self._offset,
            "first": [{"place": place, "data": data, "mask": mask} for place, (data, mask) in first.items()],
            "again": to_plain(self._again, who),
            "num_again": dict(self._num_again),
            "read": pack_numbers(self._read),
            "ended": [{"pass": number, "size": size, "offset": at} for number, (size, at) in self._ended.items()],
            "stream_pass": self._stream_pass,
            "number": self._number,
            "order": self._batches.order.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        check_same(self._options.who, state, self._made_with())
        self.pass_number, self._place, self._taken = state["pass"], state["place"], state["taken"]
        self._size, self._offset = state["size"], state["offset"]
        self._first = {item["place"]: from_plain((item["data"], item["mask"])) for item in state["first"]}
        self._again, self._num_again = from_plain(state["again"]), dict(state["num_again"])
        self._read, self._ended = unpack_numbers(state["read"]), _ended(state)
        self._stream_pass, self._number = state["stream_pass"], state["number"]
        self._batches.order.load_state_dict(state["order"])

    def divide_anew(self, states: list[dict[str, Any]], given_back: list[GivenBack]) -> dict[str, Any]:
        who, own = self._options.who, self._made_with()
        slots = []
        for state in states:
            check_same(who, state, {key: own[key] for key in own if key not in ("slot", "num_slots")})
            slot, num_slots = state["made_with"]["slot"], state["made_with"]["num_slots"]
            read = unpack_numbers(state["read"])
            slots.append(Progress(slot, num_slots, state["pass"], state["taken"], state["offset"], read, _ended(state)))
        pass_number, read = what_was_read(slots, [minibatch[:2] for minibatch in given_back], self._total)
        # The slot that has read least has read no further than to the first minibatch that none of them has had. (Slots
        # that stand in an earlier pass had nothing in it.)
        under_way = [state for state in states if state["stream_pass"] >= pass_number]
        behind = min(under_way, key=lambda state: (state["stream_pass"], state["number"]))
        there = behind["stream_pass"], behind["number"]
        ahead = {(item.pass_number, item.number): item for item in given_back}
        ahead |= {(item["pass"], item["number"]): _as_given_back(item) for state in states for item in state["again"]}
        again, num_again = [], dict[int, int]()
        for (where, number), item in sorted(ahead.items()):
            if where < pass_number or (where, number) >= there or _contains(read.get(where), number):
                continue
            place = num_again.get(where, 0)
            num_again[where] = place + 1
            mine = place % self._options.num_slots == self._options.slot
            if mine or where > pass_number or place < self._options.world_size - 1:
                data = {"data": to_plain(item.data, who), "mask": to_plain(item.mask, who)}
                again.append({"pass": where, "place": place, "number": number, **data})
        size = num_again.get(pass_number, 0) if there[0] > pass_number else None
        if self._total is not None:
            size = self._total - len(read.get(pass_number, ()))
        return {
            "made_with": own,
            "pass": pass_number,
            "place": 0,
            "taken": 0,
            "size": size,
            "offset": 0,
            "first": [],
            "again": again,
            "num_again": num_again,
            "read": pack_numbers(read),
            "ended": [],
            "stream_pass": there[0],
            "number": there[1],
            "order": behind["order"],
        }

    def close(self) -> None:
        self._batches.order.close()

    def _next_pass(self) -> None:
        size, offset = self._size, self._offset
        self._offset = 0
        if self._total is None and size is not None:
            self._ended[self.pass_number] = size + len(self._read.get(self.pass_number, ())), offset
            self._ended.pop(self.pass_number - ENDED_KEPT, None)
            if self._options.in_turn:
                self._offset = (offset + self._options.evened(size)) % self._options.num_slots
        self._read.pop(self.pass_number, None)
        self._num_again.pop(self.pass_number, None)
        self._again = [item for item in self._again if item["pass"] > self.pass_number]
        if self._stream_pass == self.pass_number:
            self._batches.order.next_pass()
            self._stream_pass, self._number = self._stream_pass + 1, 0
        self.pass_number += 1
        self._begin()

    def _made_with(self) -> dict[str, Any]:
        return {**self._options.made_with(), "batch_size": self.batch_size, "num_batches": self._total}

    def _check_length(self, at_end: bool) -> None:
        who, total = self._options.who, self._total
        if at_end and not self._number:
            raise SpecError(
                f"{who}: expected at least one full minibatch of {self.batch_size} rows in a pass, got fewer samples, "
                "all left out by drop_last=True. Choose a smaller batch_size or drop_last=False."
            )
        if total is not None and (self._number > total or (at_end and self._number < total)):
            raise SpecError(
                f"{who}: expected {total} minibatches in a pass, from the data's len(), got {self._number}"
                f"{'' if at_end else ' and more'}. Correct its __len__, or remove it."
            )


def _contains(numbers: np.ndarray | None, number: int) -> bool:
    if numbers is None or not len(numbers):
        return False
    place = int(np.searchsorted(numbers, number))
    return place < len(numbers) and numbers[place] == number


def _copied(minibatch: Minibatch) -> Minibatch:
    data, mask = minibatch
    return map_tree(copy_leaf, data), None if mask is None else np.array(mask)


def _as_given_back(item: dict[str, Any]) -> GivenBack:
    data, mask = from_plain((item["data"], item["mask"]))
    return GivenBack(item["pass"], item["number"], data, mask)


def _ended(state: dict[str, Any]) -> dict[int, tuple[int, int]]:
    return {item["pass"]: (item["size"], item["offset"]) for item in state["ended"]}
