"""RemoteWorker: what runs slots elsewhere, as the trainer sees it. Asked for steps, waited for, replaced when lost.

A worker is a process on this machine (`Worker`) or an actor on a Ray cluster (`RayWorker`); slots know no difference.
"""

import os
import warnings
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from aexp_torch import errors
from aexp_torch.errors import AexpError
from aexp_torch.loading.worker import Line, pack, unpack

if TYPE_CHECKING:
    from aexp_torch.loading.worker_slots import RemoteSlot

__all__ = ["Failure", "RemoteWorker", "RestartBudget"]

BUDGET_STEPS = 100
WITHOUT_A_STEP = 10  # restarts in a row, with max_restarts=None


class Failure(Exception):
    """Says how a worker, or one of its slots, was lost.

    Args:
      who: the source and slot where it was noticed.
      text: what happened.
      details: the traceback, if there is one.
      kind: the class of this library's own errors, which starting again does not cure; None for any other.
    """

    def __init__(self, who: str, text: str, details: str = "", kind: type | None = None):
        super().__init__(f"{who}: {text}")
        self.text, self.details, self.kind = text, details, kind

    @classmethod
    def from_worker(cls, told: dict[str, str], who: str) -> "Failure":
        """Builds it from what a worker wrote about an exception."""
        kind = getattr(errors, told["type"], None)
        failure = cls(who, told["text"] if kind else f"{told['type']}: {told['text']}", told["traceback"], kind)
        if kind:
            failure.args = (told["text"],)
        return failure

    def error(self, advice: str = "") -> AexpError:
        """Returns what to raise where it is not tried again."""
        error = (self.kind or AexpError)(f"{self}{advice}")
        if self.details:
            error.add_note(f"in a worker:\n{self.details}")
        return error


class RestartBudget:
    """Counts the restarts of one slot, and says when there are too many.

    Args:
      max_restarts: within any 100 steps of the slot; None for no limit, as long as there is a step now and then.
    """

    def __init__(self, max_restarts: int | None):
        self.max_restarts = max_restarts
        self.forget()

    def forget(self) -> None:
        """Begins to count again."""
        self.restarts, self.steps = 0, 0
        self._recent: list[int] = []

    def spend(self) -> bool:
        """Counts one restart; returns False where it is one too many."""
        self.restarts += 1
        self._recent = [step for step in self._recent if step > self.steps - BUDGET_STEPS] + [self.steps]
        if self.max_restarts is None:
            return self._recent.count(self.steps) <= WITHOUT_A_STEP
        return len(self._recent) <= self.max_restarts


class RemoteWorker(ABC):
    """Is one worker.

    Args:
      number: names it in messages.
      step_timeout: seconds that it may take for a step.
    """

    def __init__(self, number: int, step_timeout: float):
        self.number, self.step_timeout, self.restarts = number, step_timeout, 0
        self._owner = os.getpid()
        self._lines: list[Line] = []
        self._slots: list[weakref.ref[RemoteSlot]] = []

    def add(self, line: Line, slot: "RemoteSlot") -> int:
        """Gives it one more slot to run, and returns the slot's place."""
        self._lines.append(line)
        self._slots.append(weakref.ref(slot))
        return len(self._lines) - 1

    @property
    @abstractmethod
    def running(self) -> bool:
        """Whether it has been started and not stopped."""

    @abstractmethod
    def ask(self, line: int) -> None:
        """Has a slot take the step that its control words describe; starts the worker where that is needed."""

    @abstractmethod
    def wait_for(self, ready: Callable[[], Any], who: str) -> None:
        """Waits until `ready()`.

        Raises:
          Failure: the worker has ended, or `step_timeout` seconds are over.
        """

    @abstractmethod
    def exchange(self, message: bytes, who: str) -> bytes:
        """Sends a message and returns the reply (see `worker.reply`).

        Raises:
          Failure: the worker is lost.
        """

    @abstractmethod
    def kill(self) -> None:
        """Ends it at once."""

    @abstractmethod
    def stop(self) -> None:
        """Ends it, if this process has started it."""

    def call_once(self, line: int, method: str, who: str, **arguments: Any) -> Any:
        """Has the worker do something that is no step (see `Runner.call`), and returns the result.

        Raises:
          Failure: the worker is lost.
          AexpError: what was asked cannot be done.
        """
        reply = unpack(self.exchange(pack({"line": line, "method": method, "arguments": arguments}), who))
        if "error" in reply:
            raise Failure.from_worker(reply["error"], who).error()
        return reply["result"]

    def call(self, line: int, method: str, who: str, **arguments: Any) -> Any:
        """Does the same, once more if the worker is lost meanwhile."""
        while True:
            try:
                return self.call_once(line, method, who, **arguments)
            except Failure as failure:
                self.replace(failure)

    def settle(self, done: Callable[[], Any], who: str) -> None:
        """Waits until a step that is under way is over, one way or the other."""
        try:
            if self.running:
                self.wait_for(done, who)
        except Failure:
            self.kill()

    def restarting(self, slots: "list[RemoteSlot]", failure: Failure) -> None:
        """Counts a restart of slots and warns of it.

        Raises:
          AexpError: it is one too many.
        """
        spent = [slot.budget.spend() for slot in slots]  # every slot counts
        if not all(spent):
            limit = slots[0].budget.max_restarts
            raise failure.error(
                "" if limit == 0 else f" It was restarted {self.restarts} times before (max_restarts={limit})."
            ) from None
        self.restarts += 1
        names = ", ".join(slot.who for slot in slots)
        warnings.warn(
            f"Loader: {failure} Restarted, for the {self.restarts}. time in {self}: {names}. Lanes amid an episode are"
            f" cut off (LAST, discount 1).{failure.details and chr(10) + failure.details}",
            stacklevel=2,
        )

    def replace(self, failure: Failure) -> None:
        """Starts another worker in place of one that is lost, and has its slots go on there."""
        while True:
            slots = [slot for reference in self._slots if (slot := reference()) is not None]
            self.kill()
            self.restarting(slots, failure)
            try:
                for slot in slots:
                    slot.revive()
            except Failure as again:
                failure = again
            else:
                return

    def too_slow(self, who: str) -> Failure:
        """Returns what to raise when `step_timeout` is over."""
        return Failure(
            who,
            f"expected {self} to take a step within {self.step_timeout:g} s, it is still at it. Give step_timeout= where"
            " a step may take longer; num_workers=0 shows where it hangs.",
        )

    def __str__(self) -> str:
        return f"worker {self.number}"
