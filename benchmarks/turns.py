"""Turns: a contestant's side of a contest. It works while it is its turn, and waits in `turns(units)` otherwise.

Uses the standard library alone, so that a contestant can live in a Python environment of its own (see `peers`).
"""

import contextlib
import importlib
import json
import os
import sys
import time
from statistics import median
from typing import Any, TextIO

__all__ = ["Over", "Turns"]

LOOK_SECONDS = 0.002  # how often the clock is looked at


class Over(BaseException):
    """There are no more turns; raised where a contestant waits for the next, so that it cleans up and ends."""


class Turns:
    """Counts units of work, and answers the question that a contest asks each turn.

    The first call says that everything has started. A turn is a line `<seconds to warm up> <seconds to measure>`; its
    answer is a line of JSON, `{"value": units per second}`, or what `lap` or `show` say instead.

    Args:
      commands: where turns come from.
      answers: where answers go.
    """

    def __init__(self, commands: TextIO, answers: TextIO):
        self._commands, self._answers = commands, answers
        self._note = ""
        self._units, self._calls, self._left = 0, 1, 1
        self._laps: list[float] = []
        self._shown: float | None = None
        self._begin = self._until = self._looked = self._lapped = 0.0
        self._seconds: float | None = None  # to measure; None until a turn begins
        self._warm = False

    def __call__(self, units: int = 1) -> None:
        """Counts units of work; waits here where it is somebody else's turn."""
        self._units += units
        self._left -= 1
        if not self._left:
            self._look()

    def lap(self) -> None:
        """Counts a step whose time matters: the answer is the median time between calls, in microseconds."""
        now = time.perf_counter()
        self._laps.append(now - self._lapped)
        self._lapped = now
        self(1)

    def show(self, value: float) -> None:
        """Gives the answer itself."""
        self._shown = value
        self(1)

    def note(self, text: str) -> None:
        """Says something that goes into the table's last column."""
        self._note = text

    def _look(self) -> None:
        now = time.perf_counter()
        if self._seconds is None:
            self._answer({"ready": True})
        elif now < self._until:
            share = LOOK_SECONDS / max(now - self._looked, 1e-6)
            self._calls = max(1, min(10_000, round(self._calls * min(share, 2.0))))
        elif not self._warm:
            self._warm = True
            self._start(now, self._seconds)
        else:
            value = self._units / (now - self._begin)
            if self._laps:
                value = median(self._laps) * 1e6
            self._answer({"value": value if self._shown is None else self._shown})
        self._left = self._calls
        self._looked = time.perf_counter()

    def _start(self, now: float, seconds: float) -> None:
        self._begin, self._until = now, now + seconds
        self._units = 0
        self._laps.clear()

    def _answer(self, answer: dict[str, Any]) -> None:
        """Answers, and waits for the next turn."""
        print(json.dumps({**answer, "note": self._note}), file=self._answers, flush=True)
        line = self._commands.readline().split()
        if not line:
            raise Over
        warm, self._seconds = map(float, line)
        self._warm, self._calls = False, 1
        self._start(time.perf_counter(), warm)


def main() -> None:
    """Runs a contestant: `python -m benchmarks.turns module:function '{"argument": value}'`."""
    module, function = sys.argv[1].split(":")
    commands, answers = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    with open(os.devnull) as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)  # what a library prints is no answer
    with contextlib.suppress(Over):
        getattr(importlib.import_module(module), function)(Turns(commands, answers), **json.loads(sys.argv[2]))


if __name__ == "__main__":
    from benchmarks import turns  # the same classes that contestants import

    turns.main()
