"""Conversation: one session, symbol by symbol, as a learner of either original meets it."""

import reprlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from aexp_torch.commai.configuration import scheduler_maker
from aexp_torch.commai.results import Results, TaskResults
from aexp_torch.commai.serializers import Mode, Serializer, rules_for
from aexp_torch.commai.sessions import Sessions
from aexp_torch.errors import EndOfStream, SpecError

__all__ = ["Conversation"]

AS_BITS = [f"{code:08b}" for code in range(256)]


class Conversation:
    """Says a symbol for every one that it hears.

    Args:
      config: as for CommAIEnv.
      mode: `"bit"`: symbols are `"0"` and `"1"`, eight for a character; `"byte"`: one character each; None: as the tasks
        were made for.
      seed: of everything that is drawn.
      max_reward_per_task: what all instances of a task may earn together; None for no limit.
      on_task: called with the class name of a task when an instance begins.
      scramble: words are said, and heard, as invented ones.
      serializer: in bit mode: `"standard"`; `"identity"`: symbols are characters; None: as the preset is made for.
      compat: keeps the defects of the originals; CommAIEnv tells which.
    """

    def __init__(
        self,
        config: str | Path | Mapping[str, Any],
        mode: Mode | None = None,
        seed: int = 0,
        max_reward_per_task: float | None = None,
        on_task: Callable[[str], Any] | None = None,
        scramble: bool = False,
        serializer: Serializer | str | None = None,
        compat: bool = False,
    ):
        self.mode, rules = rules_for(config, mode, serializer, compat)
        self._bits = rules.steps > 1
        limit = float("inf") if max_reward_per_task is None else max_reward_per_task
        announce = None if on_task is None else lambda lane, name: on_task(name)
        scheduler = scheduler_maker(config)()
        self.sessions = Sessions([scheduler], rules, [seed], limit, announce, scramble)
        self._said, self._heard, self._begun = "", "", False
        self.unanswered = 0  # symbols, the last one or none

    @property
    def results(self) -> Results:
        """What came of the tasks so far."""
        return self.sessions.results

    def so_far(self) -> Results:
        """Returns what came of the tasks, with the steps and the reward of the instance under way."""
        counted = {name: replace(task) for name, task in self.results.tasks.items()}
        results, task = replace(self.results, tasks=counted), self.sessions.tasks[0]
        if self._begun and not self.over:
            counts = results.tasks.setdefault(type(task).__name__, TaskResults())  # stopped amid a change of tasks
            counts.reward += self.sessions.earned(0)
            still = len(self._said) + self.unanswered  # bits to be said, and what the learner has not answered
            counts.steps += int(self.sessions.time[0]) - still
        return results

    @property
    def over(self) -> bool:
        """Whether the scheduler has no more tasks."""
        return bool(self.sessions.over[0])

    def next(self, symbol: str | int | None) -> tuple[str, float | None]:
        """Hears a symbol (None at the beginning) and returns the next one, and the reward.

        In bit mode a symbol may be a number, too, and there is a reward at the end of an instance only, otherwise None; in
        byte mode it is a number always.

        Raises:
          SpecError: a symbol that is none, or one before the environment has spoken.
          EndOfStream: the scheduler has no more tasks.
        """
        if self.over:
            raise EndOfStream("commai: expected no symbol after the last task, the conversation is over.")
        if not self._begun and symbol is not None:
            raise SpecError(f"commai: expected None at the beginning, as the environment speaks first, got {symbol!r}.")
        heard = self._checked(symbol) if self._begun else None
        self._begun, self.unanswered = True, 1
        if self._bits:
            return self._next_bit(heard)
        said, reward = self._step(None if heard is None else ord(heard))
        return chr(said), 0 if reward is None and self.mode == "byte" else reward

    def _next_bit(self, bit: str | None) -> tuple[str, float | None]:
        reward = None
        if bit is not None:
            self._heard += bit
        if not self._said:
            code = None if bit is None else int(self._heard, 2)
            said, reward = self._step(code)
            self._said, self._heard = AS_BITS[said], ""
        first, self._said = self._said[0], self._said[1:]
        return first, reward

    def _step(self, code: int | None) -> tuple[int, float | None]:
        said, reward = self.sessions.step(None if code is None else np.array([code], np.uint8))
        given = float(reward[0])
        if given != given:
            return int(said[0]), None
        return int(said[0]), int(given) if given.is_integer() else given  # a learner may look it up, or print it

    def _checked(self, symbol: Any) -> str:
        if self._bits and symbol in (0, 1):
            return str(int(symbol))
        if self._bits and symbol not in ("0", "1"):
            raise SpecError(f"commai: expected '0' or '1' from the learner in bit mode, got {reprlib.repr(symbol)}.")
        if not isinstance(symbol, str) or len(symbol) != 1 or ord(symbol) > 255:
            raise SpecError(
                f"commai: expected one character with a code below 256 from the learner in {self.mode} mode, got"
                f" {reprlib.repr(symbol)}."
            )
        return symbol
