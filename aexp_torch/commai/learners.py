"""Learners as both originals know them: `next(symbol)` returns the answer, `reward(r)` comes before it."""

from typing import Any

__all__ = ["BaseLearner", "SampleMemorizingLearner", "SampleRepeatingLearner", "SampleSilentLearner"]

SPACE_BITS = "00100000"


class BaseLearner:
    """Is a learner: a subclass overrides `next` and `reward`.

    Symbols are `"0"` and `"1"` in bit mode, one character in byte mode.
    """

    def next(self, symbol: str) -> str:
        """Returns the answer to a symbol; here, the same."""
        return symbol

    def reward(self, reward: float) -> None:
        """Hears what the answers before were worth."""

    def try_reward(self, reward: float | None) -> None:
        """Passes a reward on, where there is one."""
        if reward is not None:
            self.reward(reward)

    def set_view(self, view: Any) -> None:
        """Takes what shows the session."""


class SampleRepeatingLearner(BaseLearner):
    """Repeats every symbol."""


class SampleSilentLearner(BaseLearner):
    """Says spaces."""

    def __init__(self):
        self._place = 0

    def next(self, symbol: str) -> str:
        """Returns the next bit of a space, or a space."""
        if symbol not in "01":
            return " "
        bit = SPACE_BITS[self._place]
        self._place = (self._place + 1) % 8
        return bit

    def reward(self, reward: float) -> None:
        """Starts at the first bit again, where an instance is over."""
        if reward:
            self._place = 0


class SampleMemorizingLearner(BaseLearner):
    """Is silent until it has heard two spaces, then says what it has heard before them."""

    def __init__(self):
        self._memory, self._speech = "", ""
        self._place = 0

    def next(self, symbol: str) -> str:
        """Remembers a symbol, and returns the next of what it says."""
        in_bits = symbol in "01"
        self._memory += symbol
        if self._memory.endswith(SPACE_BITS * 2 if in_bits else "  ") and not self._speech:
            self._speech, self._memory = self._memory, ""
        if self._speech:
            said, self._speech = self._speech[0], self._speech[1:]
            return said
        if not in_bits:
            return " "
        bit = SPACE_BITS[self._place]
        self._place = (self._place + 1) % 8
        return bit

    def reward(self, reward: float) -> None:
        """Forgets, where an instance is over."""
        if reward:
            self._memory = ""
