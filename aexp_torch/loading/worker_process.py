"""Worker: a process that runs slots, as the trainer sees it. Started when it is needed, replaced when it is lost."""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from typing import Any

from aexp_torch.loading.remote import Failure, RemoteWorker
from aexp_torch.loading.shared import Bell, SharedMemory
from aexp_torch.loading.worker import CALL, pack, run

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

    _process: Any = None

    def __init__(self, number: int, context: str, step_timeout: float, bell: Bell):
        super().__init__(number, step_timeout)
        self._context: Any = multiprocessing.get_context(context)
        self._trainer_bell = bell

    @property
    def running(self) -> bool:
        """Whether it has been started and not stopped."""
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
        """Has a slot take the step that its control words describe; starts the worker where that is needed."""
        if self._process is None:
            self.start()
        words = self._words
        asked = words[0]
        words[1 + asked % (len(words) - 1)] = line
        words[0] = asked + 1
        self._bell.ring()

    def exchange(self, message: bytes, who: str) -> bytes:
        """Sends a message and returns the reply."""
        self.start()
        try:
            self.connection.send_bytes(message)
            self.ask(CALL)
            self.wait_for(self.connection.poll, who)
            return self.connection.recv_bytes()
        except (OSError, EOFError):
            self._process.join(ALIVE_SECONDS)
            raise self._lost(who) from None

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
                raise self.too_slow(who)

    def _lost(self, who: str) -> Failure:
        code = self._process.exitcode
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
            self._end()

    def stop(self) -> None:
        """Ends it, if this process has started it."""
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
