"""Human learners: what a person types, symbol by symbol. They differ in when they ask for a line."""

import re
from typing import Any, Protocol

from aexp_torch.commai.learners import BaseLearner
from aexp_torch.commai.sessions import BITS, BYTES, Rules
from aexp_torch.errors import FeedbackError, SpecError

__all__ = [
    "HaltOnDotHumanLearner",
    "HumanLearner",
    "ImmediateHumanLearner",
    "ManualHumanLearner",
    "TurnHumanLearner",
    "View",
]

PERIODS = re.compile(r"\.+")
PATIENCE = 100_000  # characters after which a learner that has never asked gives up


class View(Protocol):
    """Is where lines come from."""

    def get_input(self) -> str:
        """Returns a line; raises EOFError when there are no more."""

    def skip(self) -> None:
        """Has the instance under way time out."""

    def waits(self) -> bool:
        """Tells whether the environment has nothing left to say."""


class HumanLearner(BaseLearner):
    """Asks when the environment has said two spaces.

    A line is said whole, one character after the other, then the learner is silent again. Several periods in a row are one;
    an empty line is a space. `SKIP` has the instance time out, `QUIT` ends the session.

    Args:
      rules: of the conversation.

    Raises:
      SpecError: a line is due and no view was set.
      FeedbackError: a line was never due in 100,000 characters.
      EOFError: the view has no more lines, or one was QUIT.
    """

    def __init__(self, rules: Rules = BITS):
        self._rules, self._in_bits = rules, rules.steps > 1
        self._view: Any = None
        self._unasked = 0  # characters
        self._bits, self._answer = "", ""  # of the characters that are being heard and said
        self.begin()

    def set_view(self, view: View) -> None:
        """Takes what asks the person."""
        self._view = view

    def begin(self, name: str = "") -> None:
        """Forgets what was heard and what was still to be said, because an instance begins."""
        self._heard, self._line = "", b""
        self._speaking = False

    def reward(self, reward: float) -> None:
        """Forgets likewise in CommAI-env's conversation, where a reward comes at the end of an instance only."""
        if self._rules is not BYTES:
            self.begin()

    def next(self, symbol: str) -> str:
        """Returns the next symbol of a line, or of silence."""
        if not self._in_bits:
            self._hear(symbol)
            return chr(self._character())
        if not self._answer:
            self._answer = f"{self._character():08b}"
        bit, self._answer = self._answer[0], self._answer[1:]
        self._bits += symbol
        if len(self._bits) == 8:
            self._hear(chr(int(self._bits, 2)))
            self._bits = ""
        return bit

    def _hear(self, character: str) -> None:
        self._heard = (self._heard + character)[-2:]

    def _character(self) -> int:
        """Returns the code of the next character, of a new line where one is due."""
        if not self._line and self._is_due():
            self._line, self._unasked = self._ask(), 0
        if not self._line:
            self._unasked += 1
            if self._unasked > PATIENCE:
                raise FeedbackError(
                    f"{type(self).__name__}: expected to ask for a line within {PATIENCE:,} characters, the environment"
                    " never paused as it needs. ImmediateHumanLearner asks at every character."
                )
            return ord(" ")
        code, self._line = self._line[0], self._line[1:]
        return code

    def _is_due(self) -> bool:
        """Tells whether to ask: not before the environment could react to the line before."""
        if self._speaking:
            self._speaking = False
            return False
        return self._heard == "  "

    def _ask(self) -> bytes:
        if self._view is None:
            raise SpecError(f"{type(self).__name__}: expected a view to ask, got none. `aexp commai play` has one.")
        line = self._view.get_input()
        if line == "QUIT":
            raise EOFError
        if line == "SKIP":
            self._view.skip()
            line = ""
        self._speaking = True
        return PERIODS.sub(".", line).encode(self._rules.encoding, "replace") or b" "


class ManualHumanLearner(HumanLearner):
    """Asks whenever it has nothing left to say."""

    def _is_due(self) -> bool:
        return bool(self._heard)


class ImmediateHumanLearner(ManualHumanLearner):
    """Asks whenever it has nothing left to say, under the name that the Challenge has for it."""


class HaltOnDotHumanLearner(HumanLearner):
    """Asks after every period."""

    def _is_due(self) -> bool:
        return self._heard.endswith(".")


class TurnHumanLearner(HumanLearner):
    """Asks when the environment has said all that it had to say, as a conversation goes: the default."""

    def __init__(self, rules: Rules = BITS):
        self._turn = False
        super().__init__(rules)

    def begin(self, name: str = "") -> None:
        """Forgets whose turn it was, too."""
        super().begin(name)
        self._turn = False

    def _hear(self, character: str) -> None:
        super()._hear(character)
        self._turn = self._view is not None and self._view.waits()

    def _is_due(self) -> bool:
        if self._speaking and self._in_bits:  # what was said last is answered in the character that is being said
            self._speaking = False
            return False
        return self._turn
