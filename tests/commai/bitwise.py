"""CommAI-env's step as its description has it, bit by bit, to compare ours with, which goes by whole symbols."""

import random
from collections.abc import Callable

from aexp_torch.commai.schedulers import Scheduler
from aexp_torch.commai.sessions import BITS

SPACE = "00100000"


def as_bits(text: str) -> str:
    return "".join(f"{byte:08b}" for byte in text.encode())


def as_text(bits: str) -> str:
    """Reads as much as can be read: without the bits of an incomplete byte, and the first bytes where those are none."""
    data = int(bits[: len(bits) // 8 * 8] or "0", 2).to_bytes(len(bits) // 8, "big")
    for start in range(len(data)):
        try:
            return data[start:].decode()
        except UnicodeDecodeError:
            continue
    return ""


class Bitwise:
    """Is one conversation; what a task does to its sessions, it does to this."""

    def __init__(self, make: Callable[[], Scheduler], seed: int, compat: bool):
        self.scheduler, self.rng, self.compat, self.rules = (
            make(),
            random.Random(seed),
            compat,
            BITS.with_defects() if compat else BITS,
        )
        self.scheduler.rng = self.rng
        self.task = self.world = None

    def next(self, bit: str | None) -> tuple[str, float | None]:
        """Hears a bit, and returns the next, and the reward."""
        reward = None
        if self.task is None:
            self._switch()
        if not self.ended:
            if self.time >= self.task.max_time and not self.out:
                self.timing_out = True
                self.task.time_out()
                self.timing_out, self.ended = False, True
            if bit is not None and (self.compat or not self.ended):
                self._push(bit)
        elif not self.out and self.separated:
            reward = self._switch()
        elif not self.out:
            self.out, self.separated = SPACE, True
        elif self.compat:
            self._push(bit)
        self.out = self.out or SPACE
        said, self.out = self.out[0], self.out[1:]
        self.time += 1
        return said, reward

    def _switch(self) -> float:
        reward = 0.0 if self.task is None else self.stored
        if self.task is not None:
            self.task.end()
        self.task = self.scheduler.next_task()
        if self.task.world is not self.world:
            self.world = self.task.world
            if self.world is not None:
                self.world.begin(self, 0)
        self.time, self.stored, self.priority = 0, 0.0, 0
        self.out, self.pending, self.text = "", "", ""
        self.ended = self.separated = self.timing_out = False
        self.task.lane, self.task.sessions, self.task.rng = 0, self, self.rng
        self.hears = self.task.hears
        self.task.start()
        return reward

    def _push(self, bit: str) -> None:
        self.pending += bit
        if len(self.pending) < 8 or not as_text(self.pending):
            return
        self.text += as_text(self.pending)
        self.pending = ""
        if self.world is not None and self.text.endswith("."):
            self.world.hear(self.text)
        if (self.compat or not self.ended) and (self.hears is None or self.text[-1] in self.hears.decode("latin-1")):
            self.task.hear(self.text)
        if self.task.blots and not self.is_silent() and self.text[-1] != " ":
            self.text = self.text[:-1] + " "

    def is_silent(self) -> bool:
        rest = len(self.out) % 8
        return self.out == SPACE[8 - rest :] * bool(rest) + SPACE * (len(self.out) // 8)

    # What tasks and worlds do.

    def say(self, lane: int, text: str, priority: int = 1) -> None:
        late = self.time >= self.task.max_time and not (self.timing_out or self.ended or self.compat)
        if late or (self.out and priority < self.priority):
            return
        kept = next((place for place in range(len(self.out)) if as_text(self.out[place:])), len(self.out))
        self.out, self.priority = self.out[:kept] + as_bits(text), priority

    def listen(self, lane: int, hears: bytes | None) -> None:
        self.hears = hears

    def finish(self, lane: int, reward: float, result: bool, text: str) -> None:
        if not self.ended or self.compat:
            self.ended, self.stored = True, float(reward)
            if text:
                self.say(lane, text)

    def look(self, lane: int) -> None:
        if self.compat or not self.ended:
            self.task.look()
