"""Worker: a process that runs slots, as the trainer sees it. Started when it is needed, replaced when it is lost."""

import multiprocessing
import os
import signal
import time
import warnings
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from aexp_torch import errors
from aexp_torch.errors import AexpError
from aexp_torch.loading.shared import Bell, SharedMemory
from aexp_torch.loading.worker import CALL, Line, pack, run, unpack

if TYPE_CHECKING:
    from aexp_torch.loading.worker_slots import RemoteSlot

__all__ = ["Failure", "RestartBudget", "Worker"]

ALIVE_SECONDS = 0.5  # how often a trainer that waits looks whether its worker is still there
BUDGET_STEPS = 100
LEAVE = pack({"method": "leave"})
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
            error.add_note(f"in a worker process:\n{self.details}")
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


class Worker:
    """Is one worker process.

    Args:
      number: names it in messages.
      context: `fork`, `spawn` or `forkserver`.
      step_timeout: seconds that it may take for a step.
      bell: wakes the trainer.
    """

    def __init__(self, number: int, context: str, step_timeout: float, bell: Bell):
        self.number, self.step_timeout, self.restarts = number, step_timeout, 0
        self._context: Any = multiprocessing.get_context(context)
        self._owner = os.getpid()
        self._trainer_bell = bell
        self._lines: list[Line] = []
        self._slots: list[weakref.ref[RemoteSlot]] = []
        self._process: Any = None

    def add(self, line: Line, slot: "RemoteSlot") -> int:
        """Gives it one more slot to run, and returns the slot's place."""
        self._lines.append(line)
        self._slots.append(weakref.ref(slot))
        return len(self._lines) - 1

    @property
    def running(self) -> bool:
        """Whether the process has been started and not stopped."""
        return self._process is not None

    def start(self) -> None:
        """Starts the process; does nothing where it runs."""
        if self._process is not None:
            return
        self._bell = Bell()
        self._board = SharedMemory(8 * (len(self._lines) + 2), f"worker {self.number}")
        self._words = self._board.words
        self.connection, theirs = self._context.Pipe()
        arguments = (self._lines, self._board, self._bell, self._trainer_bell, theirs)
        self._process = self._context.Process(
            target=run, args=arguments, name=f"aexp-worker-{self.number}", daemon=True
        )
        self._process.start()
        theirs.close()
        self._trainer_bell.watch(self._process.sentinel)

    def ask(self, line: int) -> None:
        """Has a slot take the step that its control words describe."""
        if self._process is None:
            self.start()
        words = self._words
        asked = words[0]
        words[1 + asked % (len(words) - 1)] = line
        words[0] = asked + 1
        self._bell.ring()

    def call(self, line: int, method: str, who: str, **arguments: Any) -> Any:
        """Has the worker do something that is no step, once more if it is lost meanwhile, and returns the result."""
        while True:
            try:
                return self.call_once(line, method, who, **arguments)
            except Failure as failure:
                self.replace(failure)

    def call_once(self, line: int, method: str, who: str, **arguments: Any) -> Any:
        """Does the same, without replacing a worker that is lost."""
        self.start()
        try:
            self.connection.send_bytes(pack({"line": line, "method": method, "arguments": arguments}))
            self.ask(CALL)
            self.wait_for(self.connection.poll, who)
            reply = unpack(self.connection.recv_bytes())
        except (OSError, EOFError):
            self._process.join(ALIVE_SECONDS)
            raise self._lost(who) from None
        if "error" in reply:
            raise Failure.from_worker(reply["error"], who).error()
        return reply["result"]

    def wait_for(self, ready: Callable[[], Any], who: str) -> None:
        """Waits until `ready()`.

        Raises:
          Failure: the process has ended, or `step_timeout` seconds are over.
        """
        deadline = 0.0
        while not self._trainer_bell.wait(ready, ALIVE_SECONDS):
            if not self._process.is_alive():
                if ready():
                    return
                raise self._lost(who)
            now = time.monotonic()
            deadline = deadline or now + self.step_timeout
            if now > deadline:
                raise Failure(
                    who,
                    f"expected worker {self.number} to take a step within {self.step_timeout:g} s, it is still at it."
                    " Give step_timeout= where a step may take longer; num_workers=0 shows where it hangs.",
                )

    def _lost(self, who: str) -> Failure:
        code = self._process.exitcode
        how = f"exit code {code}" if code is None or code >= 0 else f"exit code {code}, {signal.Signals(-code).name}"
        return Failure(
            who,
            f"expected worker {self.number} to run, it ended with {how}. Too little memory is a common cause of SIGKILL;"
            " num_workers=0 shows what happens in it.",
        )

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
            f"Loader: {failure} Restarted, for the {self.restarts}. time in worker {self.number}: {names}. Lanes amid an"
            f" episode are cut off (LAST, discount 1).{failure.details and chr(10) + failure.details}",
            stacklevel=2,
        )

    def replace(self, failure: Failure) -> None:
        """Starts another process in place of one that is lost, and has its slots go on there."""
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

    def kill(self) -> None:
        """Ends the process at once."""
        if self._process is not None:
            self._process.kill()
            self._end()

    def stop(self) -> None:
        """Ends the process."""
        if self._process is not None and self._owner == os.getpid():  # not in a child that was forked meanwhile
            try:
                self.connection.send_bytes(LEAVE)
                self.ask(CALL)
            except OSError:  # it has just gone
                pass
            self._process.join(2.0)
            self._process.kill()
            self._end()

    def _end(self) -> None:
        process, self._process = self._process, None
        self._trainer_bell.forget(process.sentinel)
        process.join()
        process.close()
        self.connection.close()

    def __del__(self):
        self.stop()
