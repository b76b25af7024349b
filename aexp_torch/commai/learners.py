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
        self._place, self._in_bits = 0, True  # until something else is heard

    def next(self, symbol: str) -> str:
        """Returns the next bit of a space, or a space."""
        self._in_bits = self._in_bits and symbol in "01"
        if not self._in_bits:
            return " "
        bit = SPACE_BITS[self._place]
        self._place = (self._place + 1) % 8
        return bit

    def reward(self, reward: float) -> None:
        """Starts anew where an instance is over: at every reward; in bytes, where one comes in every step, unless 0."""
        if reward or self._in_bits:
            self.forget()

    def forget(self) -> None:
        """Starts at the first bit again."""
        self._place = 0


class SampleMemorizingLearner(SampleSilentLearner):
    """Is silent until it has heard two spaces, then says what it has heard up to them."""

    def __init__(self):
        super().__init__()
        self._memory, self._speech = "", ""

    def next(self, symbol: str) -> str:
        """Remembers a symbol, and returns the next of what it says."""
        said = super().next(symbol)
        before = self._memory
        self._memory += symbol
        # In bits it answers the first bit after the spaces, so that its bits make the same characters.
        heard = before.endswith(SPACE_BITS * 2) if self._in_bits else self._memory.endswith("  ")
        if heard and not self._speech:
            self._speech, self._memory = (before, symbol) if self._in_bits else (self._memory, "")
        if self._speech:
            said, self._speech = self._speech[0], self._speech[1:]
        return said

    def forget(self) -> None:
        """Forgets all that was heard, and what it was about to say."""
        super().forget()
        self._memory = self._speech = ""
