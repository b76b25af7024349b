"""Worker: a process that runs slots, as the trainer sees it. Started when it is needed, replaced when it is lost."""

import multiprocessing
import os
import signal
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from aexp_torch.loading.remote import Failure, RemoteWorker
from aexp_torch.loading.shared import Bell, SharedMemory
from aexp_torch.loading.worker import CALL, NUMBER_BYTES, Line, pack, run

__all__ = ["Worker"]

ALIVE_SECONDS = 0.5  # how often a trainer that waits looks whether its worker is still there
LEAVE = pack({"method": "leave"})


class Worker(RemoteWorker):
    """Is one worker process.

    Args:
      number: names it in messages.
      context: `fork`, `spawn` or `forkserver`.
      step_timeout: seconds that it may take for a step.
      bell: wakes the trainer.
    """

    _process: "Process | None" = None

    def __init__(self, number: int, context: str, step_timeout: float, bell: Bell):
        super().__init__(number, step_timeout)
        self._context: Any = multiprocessing.get_context(context)
        self._trainer_bell = bell

    @property
    def running(self) -> bool:
        """Whether it has been started and not stopped."""
        return self._process is not None

    @property
    def pid(self) -> int | None:
        """The number of the process; None where it does not run."""
        return None if self._process is None else self._process.process.pid

    def start(self) -> "Process":
        """Starts the process where it does not run, and returns it."""
        if self._process is None:
            board = SharedMemory(8 * (len(self._lines) + 2), f"worker {self.number}")
            name = f"aexp-worker-{self.number}"
            self._process = Process(self._context, name, self._lines, board, self._trainer_bell)
            # When this object is garbage, what the process needs to be ended is not yet.
            self._finalizer = weakref.finalize(self, self._process.stop)
        return self._process

    def ask(self, line: int) -> None:
        """Has a slot take the step that its control words describe; starts the worker where that is needed."""
        (self._process or self.start()).ask(line)

    def exchange(self, message: bytes, who: str) -> bytes:
        """Sends a message and returns the reply."""
        process = self.start()
        try:
            number = process.send(message)
            while True:
                self.wait_for(process.connection.poll, who)
                reply = process.connection.recv_bytes()
                if reply.startswith(number):  # not to a call that was broken off by an exception, such as Ctrl-C
                    return reply[len(number) :]
        except (OSError, EOFError):
            process.process.join(ALIVE_SECONDS)
            raise self._lost(who) from None

    def wait_for(self, ready: Callable[[], Any], who: str) -> None:
        """Waits until `ready()`.

        Raises:
          Failure: the process has ended, or `step_timeout` seconds are over.
        """
        deadline = 0.0
        while not self._trainer_bell.wait(ready, ALIVE_SECONDS):
            if not self._process.process.is_alive():
                if ready():
                    return
                raise self._lost(who)
            now = time.monotonic()
            deadline = deadline or now + self.step_timeout
            if now > deadline:
                raise self.too_slow(who)

    def _lost(self, who: str) -> Failure:
        code = self._process.process.exitcode
        how = f"exit code {code}" if code is None or code >= 0 else f"exit code {code}, {signal.Signals(-code).name}"
        return Failure(
            who,
            f"expected {self} to run, it ended with {how}. Too little memory is a common cause of SIGKILL;"
            " num_workers=0 shows what happens in it.",
        )

    def kill(self) -> None:
        """Ends it at once."""
        if self._process is not None:
            self._process.kill()
            self._forget()

    def stop(self) -> None:
        """Ends it, if this process has started it."""
        if self._process is not None:
            self._process.stop()
            self._forget()

    def _forget(self) -> None:
        self._finalizer.detach()
        self._process = None


class Process:
    """Is a process that runs slots, and all that reaches it.

    Args:
      context: of multiprocessing, which starts it.
      name: of the process.
      lines: its slots.
      board: where it is asked; see `worker.run`.
      trainer_bell: wakes the trainer.
    """

    def __init__(self, context: Any, name: str, lines: list[Line], board: SharedMemory, trainer_bell: Bell):
        self._bell, self._board, self._trainer_bell = Bell(), board, trainer_bell
        self._words = board.words
        self._owner = os.getpid()
        self.connection, theirs = context.Pipe()
        arguments = (lines, board, self._bell, trainer_bell, theirs)
        self.process = context.Process(target=run, args=arguments, name=name, daemon=True)
        self.process.start()
        theirs.close()
        trainer_bell.watch(self.process.sentinel)
        self._ended, self._sent = False, 0

    def ask(self, line: int) -> None:
        """Puts a slot, or `CALL`, on the board."""
        words = self._words
        asked = words[0]
        words[1 + asked % (len(words) - 1)] = line
        words[0] = asked + 1
        self._bell.ring()

    def send(self, message: bytes) -> bytes:
        """Sends a message and returns its number, with which the reply begins."""
        self._sent += 1
        number = self._sent.to_bytes(NUMBER_BYTES)
        self.connection.send_bytes(number + message)
        self.ask(CALL)
        return number

    def stop(self) -> None:
        """Asks it to leave, and ends it where it does not; does nothing in a child that was forked meanwhile."""
        if self._ended or self._owner != os.getpid():
            return
        with suppress(OSError):  # it has just gone
            self.send(LEAVE)
        self.process.join(2.0)
        self.kill()

    def kill(self) -> None:
        """Ends it at once."""
        if not self._ended:
            self._ended = True
            self.process.kill()
            self._trainer_bell.forget(self.process.sentinel)
            self.process.join()
            self.process.close()
            self.connection.close()
