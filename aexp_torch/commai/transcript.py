"""Transcript: the last of a conversation in columns, one for a character: what was said, what was heard, the rewards."""

import re
from collections import deque
from dataclasses import dataclass

from aexp_torch.commai.sessions import BYTES, Rules

__all__ = ["Instance", "Transcript"]

BEYOND_ASCII = re.compile("[\x80-\xff]+")
INSTANCES, COLUMNS = 40, 4000  # that are kept


@dataclass
class Instance:
    """Is an instance of a task, or the end of a long one.

    Args:
      task: the name of its class.
      time: steps before it.
      said: by the environment.
      heard: from the learner, so many characters or one less.
      rewards: `+`, `-`, `0` or a space under the character that one came with; at the end of an instance that is the first
        of the next one, and here the column after the last.
      dropped: columns that are no longer kept.
    """

    task: str
    time: int
    said: str = ""
    heard: str = ""
    rewards: str = ""
    dropped: int = 0

    def mark(self, mark: str) -> None:
        """Puts a mark under the next character."""
        self.rewards = self.rewards.ljust(len(self.said)) + mark

    def drop(self) -> None:
        """Keeps the end."""
        self.said, self.heard, self.rewards = (
            text[COLUMNS:] for text in (self.said, self.heard, self.rewards.ljust(COLUMNS))
        )
        self.dropped += COLUMNS


class Transcript:
    """Is told of every symbol.

    Args:
      rules: of the conversation.

    Attributes:
      instances: the last ones, with the one under way at the end.
      time: steps so far.
      reward: in all.
      partial: the bits of the characters that are being said and heard.
    """

    def __init__(self, rules: Rules):
        self._rules, self._in_bits = rules, rules.steps > 1
        self.instances: deque[Instance] = deque(maxlen=INSTANCES)
        self.time, self.reward = 0, 0.0
        self.partial = ["", ""]

    def begin(self, task: str) -> None:
        """Takes the beginning of an instance."""
        self.instances.append(Instance(task, self.time))

    def rewarded(self, reward: float | None) -> None:
        """Takes a reward, which comes with the next character."""
        if reward is None:
            return
        self.reward += reward
        mark = "+" if reward > 0 else "-" if reward < 0 else "" if self._rules is BYTES else "0"
        if mark:
            ends = len(self.instances) > 1 and not self.instances[-1].said
            self.instances[-2 if ends else -1].mark(mark)

    def said(self, symbol: str) -> None:
        """Takes a symbol of the environment."""
        now = self.instances[-1]
        now.said += self._character(0, symbol)
        if len(now.said) >= 2 * COLUMNS:
            now.drop()

    def heard(self, symbol: str) -> None:
        """Takes a symbol of the learner."""
        self.time += 1
        self.instances[-1].heard += self._character(1, symbol)

    def readable(self, text: str) -> str:
        """Returns what was said or heard in as many columns, with spaces behind letters that have several bytes."""
        return BEYOND_ASCII.sub(lambda found: _letters(found[0]), text) if self._rules.encoding == "utf-8" else text

    def _character(self, side: int, symbol: str) -> str:
        """Returns the character that a symbol completes."""
        if not self._in_bits:
            return symbol
        bits = self.partial[side] + symbol
        self.partial[side] = bits if len(bits) < 8 else ""
        return chr(int(bits, 2)) if len(bits) == 8 else ""


def _letters(characters: str) -> str:
    """Returns what bytes say as UTF-8, where they do."""
    return characters.encode("latin-1").decode("utf-8", "replace").ljust(len(characters))
