"""Memory and wake-up calls shared with a worker process, without a name that could be left behind.

Both are file descriptors that a forked child inherits and a spawned one is given (Linux: memfd and eventfd).
"""

import mmap
import os
import select
from multiprocessing.context import get_spawning_popen
from multiprocessing.reduction import DupFd
from typing import Any

import numpy as np

from aexp_torch.errors import AexpError

__all__ = ["SharedMemory", "Signal"]

SPINS = 20  # looks at a signal, each giving the processor away, before it sleeps in the kernel


class SharedMemory:
    """Is an array of bytes in two processes; the kernel frees it when both have gone, however they went.

    Args:
      size: bytes.
      what: for the message, if there is not enough memory.
    """

    def __init__(self, size: int, what: str):
        self.size = size
        self._fd = os.memfd_create("aexp")
        try:
            os.posix_fallocate(self._fd, 0, size)
        except OSError as error:
            raise AexpError(
                f"Loader: expected {size / 2**20:.1f} MiB of shared memory for {what}, there is less ({error})."
                " Use fewer slots (in_flight), fewer lanes, or a machine or container with more memory."
            ) from error
        self._attach()

    def _attach(self) -> None:
        self.array = np.frombuffer(mmap.mmap(self._fd, self.size), np.uint8)

    def __getstate__(self) -> dict[str, Any]:
        return {"size": self.size, "fd": _duplicate(self._fd)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.size, self._fd = state["size"], state["fd"].detach()
        self._attach()

    def __del__(self):
        os.close(self._fd)


class Signal:
    """Counts wake-up calls from one process to another."""

    def __init__(self):
        self._open(os.eventfd(0, os.EFD_SEMAPHORE | os.EFD_NONBLOCK | os.EFD_CLOEXEC))

    def _open(self, fd: int) -> None:
        self._fd = fd
        self._poll = select.poll()
        self._poll.register(fd, select.POLLIN)

    def set(self) -> None:
        """Wakes whoever waits, now or later."""
        os.eventfd_write(self._fd, 1)

    def wait(self, timeout: float) -> bool:
        """Takes one call; returns False where none came within `timeout` seconds."""
        for _ in range(SPINS):
            if self._take():
                return True
            os.sched_yield()
        return bool(self._poll.poll(timeout * 1000)) and self._take()

    def _take(self) -> bool:
        try:
            os.eventfd_read(self._fd)
        except BlockingIOError:
            return False
        return True

    def __getstate__(self) -> dict[str, Any]:
        return {"fd": _duplicate(self._fd)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._open(state["fd"].detach())

    def __del__(self):
        os.close(self._fd)


def _duplicate(fd: int) -> Any:
    if get_spawning_popen() is None:
        raise AexpError("Loader: shared memory and signals are given to worker processes only, as they start.")
    return DupFd(fd)
