"""Channels: what is said and heard in many conversations at once, one symbol of each per step.

A symbol is a byte: a character of the Challenge, eight bits of CommAI-env. What happens at every symbol is arithmetic over
the lanes.
"""

import numpy as np

from aexp_torch.sources.plain_state import pack, unpack

__all__ = ["SPACE", "Channels"]

SPACE = 32
FIRST_CAPACITY = 256
MOST_HEARD = 65_536  # symbols of an instance that are kept: more than any has that ends
MOST_SAID = 65_536  # symbols of an instance that wait, or waited behind others: likewise
ARRAYS = ["quiet", "_out", "head", "tail", "_word", "_priority", "_heard", "length"]


class Channels:
    """Holds, for each of N lanes, what the environment has still to say, and what it has heard.

    Args:
      num_lanes: N.
      appends: what is said comes after what is still to be said; otherwise it takes its place.
    """

    def __init__(self, num_lanes: int, appends: bool):
        self.appends = appends
        self._rows = np.arange(num_lanes)
        self.quiet = np.full(num_lanes, SPACE, np.uint8)  # said where there is nothing to say
        self._out = np.zeros((num_lanes, FIRST_CAPACITY), np.uint8)
        self.head, self.tail = np.zeros(num_lanes, np.int64), np.zeros(num_lanes, np.int64)
        self._word = np.full(num_lanes, -1)  # the place of the last symbol to be said that is no space
        self._priority = np.zeros(num_lanes, np.int64)
        self._heard = np.zeros((num_lanes, FIRST_CAPACITY), np.uint8)
        self.length = np.zeros(num_lanes, np.int64)  # of what was heard
        self._free = 0  # symbols that can be heard for certain before there is no room

    def empty(self) -> np.ndarray:
        """Returns bool [N]: nothing is left to say."""
        return self.head == self.tail

    def speaking(self) -> np.ndarray:
        """Returns bool [N]: something that is no space is left to say."""
        return self._word >= self.head

    def is_silent(self, lane: int) -> bool:
        """Tells whether only spaces are left to say."""
        return bool(self._word[lane] < self.head[lane])

    def waiting(self, lane: int) -> int:
        """Returns how many symbols are left to say."""
        return int(self.tail[lane] - self.head[lane])

    def say(self, lane: int, data: bytes, priority: int = 1, amid_symbol: bool = False) -> bool:
        """Says something, unless something of a higher priority is being said; returns whether it will.

        Where too much is still to be said, as the Challenge's defects allow, it is left out.
        """
        pending = self.head[lane] < self.tail[lane]
        if (pending or amid_symbol) and priority < self._priority[lane]:
            return False
        self._priority[lane] = priority
        start = int(self.tail[lane]) if pending and self.appends else 0
        if start == 0:
            self.head[lane], self._word[lane] = 0, -1
        end = start + len(data)
        while end > self._out.shape[1]:
            if self._out.shape[1] >= MOST_SAID:
                return False
            self._out = np.concatenate([self._out, np.zeros_like(self._out)], 1)
        self._out[lane, start:end] = np.frombuffer(data, np.uint8)
        self.tail[lane] = end
        stripped = len(data.rstrip(b" "))
        if stripped:
            self._word[lane] = start + stripped - 1
        return True

    def pending(self, lane: int) -> bytes:
        """Returns what is left to say."""
        return self._out[lane, self.head[lane] : self.tail[lane]].tobytes()

    def say_symbols(self, lanes: np.ndarray, *symbols: np.ndarray) -> None:
        """Says symbols (uint8 [M] each) one after the other in lanes (int64 [M]) that have nothing else to say."""
        self.head[lanes], self.tail[lanes], self._priority[lanes], self._word[lanes] = 0, len(symbols), 0, -1
        for place, symbol in enumerate(symbols):
            self._out[:, place][lanes] = symbol
            self._word[lanes[symbol != SPACE]] = place

    def say_space(self, lanes: np.ndarray) -> None:
        """Says a space in lanes (bool [N]) that have nothing else to say."""
        self._out[lanes, 0] = SPACE
        self.head[lanes], self.tail[lanes], self._word[lanes] = 0, 1, -1

    def emit(self) -> np.ndarray:
        """Returns uint8 [N]: the next symbol of every lane, `quiet` where there is nothing to say."""
        pending = self.head != self.tail
        symbols = self._out.ravel().take(self._rows * self._out.shape[1] + self.head, mode="clip")
        self.head += pending
        return np.where(pending, symbols, self.quiet)

    def hear(self, symbols: np.ndarray, lanes: np.ndarray) -> None:
        """Takes symbols (uint8 [N]) in, in some lanes (bool [N])."""
        if not self._free:
            if self.length.max() >= self._heard.shape[1]:
                self._make_room()
            self._free = self._heard.shape[1] - int(self.length.max())
        self._free -= 1
        places = self._rows * self._heard.shape[1] + self.length
        self._heard.reshape(-1)[places] = symbols  # where a lane does not listen, it is written over
        self.length += lanes

    def emit_alone(self) -> np.ndarray:
        """Returns uint8 [1]: the next symbol of the only lane."""
        head = self.head[0]
        if head == self.tail[0]:
            return self.quiet.copy()
        self.head[0] = head + 1
        return self._out[0, head : head + 1].copy()

    def hear_alone(self, symbol: int) -> None:
        """Takes a symbol in, in the only lane."""
        length = self.length[0]
        if length >= self._heard.shape[1]:
            self._make_room()
            length = self.length[0]
        self._heard[0, length] = symbol
        self.length[0] = length + 1

    def _make_room(self) -> None:
        """Takes twice the room for what is heard; when that is enough for anything, drops the older half of it."""
        if self._heard.shape[1] < MOST_HEARD:
            self._heard = np.concatenate([self._heard, np.zeros_like(self._heard)], 1)
            return
        half = MOST_HEARD // 2
        full = self.length >= MOST_HEARD
        self._heard[full, :half] = self._heard[full, half:]
        self.length[full] -= half

    def blot(self, lanes: np.ndarray) -> None:
        """Makes the last symbol that was heard a space, in some lanes (bool [N])."""
        rows = np.flatnonzero(lanes & (self.length > 0))
        self._heard[rows, self.length[rows] - 1] = SPACE

    def text(self, lane: int) -> bytes:
        """Returns what was heard."""
        return self._heard[lane, : self.length[lane]].tobytes()

    def forget(self, lane: int) -> None:
        """Forgets what was heard."""
        self.length[lane] = 0

    def clear(self, lane: int) -> None:
        """Forgets what was heard and what was to be said."""
        self.head[lane] = self.tail[lane] = self.length[lane] = self._priority[lane] = 0
        self._word[lane] = -1

    def state_dict(self) -> dict:
        """Returns everything."""
        return pack(self, ARRAYS)

    def load_state_dict(self, state: dict) -> None:
        """Restores everything."""
        for name, _, shape in state["fields"]:  # buffers that had grown
            setattr(self, name, np.zeros(tuple(shape), getattr(self, name).dtype))
        self._free = 0
        unpack(self, state)
