"""Memory and wake-up calls shared with a worker process, without a name that could be left behind.

Both are file descriptors that a forked child inherits and a spawned one is given (Linux: memfd and eventfd).
"""

import errno
import mmap
import os
import select
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.context import get_spawning_popen
from multiprocessing.reduction import DupFd
from pathlib import Path
from typing import Any

import numpy as np

from aexp_torch.errors import AexpError

__all__ = ["Bell", "SharedMemory"]

SPIN_SECONDS = (
    50e-6  # how long a waiter looks again and again, giving the processor away, before it sleeps in the kernel
)


class SharedMemory:
    """Is bytes in two processes; the kernel frees them when both have gone, however they went.

    Attributes:
      array: uint8 [size].
      words: int64 [size / 8], as a memoryview: the quickest to read and write one by one.

    Args:
      size: bytes, a multiple of 8.
      what: for the message, if there is not enough memory.
    """

    def __init__(self, size: int, what: str):
        self.size = size
        self._fd = os.memfd_create("aexp")
        try:
            if size > (free := free_memory()):  # to take it would end some process, not raise an error
                raise OSError(errno.ENOMEM, f"{free / 2**20:,.1f} MiB are free")
            os.posix_fallocate(self._fd, 0, size)
        except OSError as error:
            raise AexpError(
                f"Loader: expected {size / 2**20:,.1f} MiB of shared memory for {what}, there is less ({error.strerror})."
                " Use fewer slots (in_flight), fewer lanes, or a machine or container with more memory."
            ) from error
        self._attach()

    def _attach(self) -> None:
        memory = mmap.mmap(self._fd, self.size)
        self.array = np.frombuffer(memory, np.uint8)
        self.words = memoryview(memory).cast("q")

    def __getstate__(self) -> dict[str, Any]:
        return {"size": self.size, "fd": _duplicate(self._fd)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.size, self._fd = state["size"], state["fd"].detach()
        self._attach()

    def __del__(self):
        os.close(self._fd)


class Bell:
    """Wakes the one process that waits for words of shared memory to change, which others write.

    The waiter spins for some microseconds, then says that it is asleep and sleeps in the kernel; who rings makes a
    system call only if it is.
    """

    def __init__(self):
        self._memory = SharedMemory(8, "a bell")
        self._open(os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC))

    def _open(self, fd: int) -> None:
        self._fd = fd
        self._asleep = self._memory.words
        self._poll = select.poll()
        self._poll.register(fd, select.POLLIN)
        self._fence = threading.Lock()

    def ring(self) -> None:
        """Wakes the waiter, after the word that it waits for was written."""
        self._keep_order()
        if self._asleep[0]:
            os.eventfd_write(self._fd, 1)

    def wait(self, ready: Callable[[], Any], timeout: float) -> bool:
        """Waits until `ready()`; may come back early, as it does when a watched descriptor has something to tell.

        Args:
          ready: looks at shared memory.
          timeout: seconds.

        Returns:
          What `ready()` says now.
        """
        if ready():
            return True
        spun = time.perf_counter() + SPIN_SECONDS
        while time.perf_counter() < spun:
            os.sched_yield()
            if ready():
                return True
        self._asleep[0] = 1
        self._keep_order()
        try:
            if not ready():
                for fd, _ in self._poll.poll(timeout * 1000):
                    if fd == self._fd:
                        os.eventfd_read(fd)
                    else:
                        self._poll.unregister(fd)
        finally:
            self._asleep[0] = 0
        return bool(ready())

    def watch(self, fd: int) -> None:
        """Wakes the waiter once, too, when `fd` becomes readable."""
        self._poll.register(fd, select.POLLIN)

    def forget(self, fd: int) -> None:
        """Ends `watch`."""
        with suppress(KeyError):  # it has told
            self._poll.unregister(fd)

    def _keep_order(self) -> None:
        """Lets no processor put off the write before it behind the read after it: a lock's atomic operation does that."""
        with self._fence:
            pass

    def __getstate__(self) -> dict[str, Any]:
        return {"memory": self._memory, "fd": _duplicate(self._fd)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._memory = state["memory"]
        self._open(state["fd"].detach())

    def __del__(self):
        os.close(self._fd)


def free_memory(system: Path = Path("/")) -> int:
    """Returns how many bytes this process may still take: what the machine has, or less where its control group says so.

    Args:
      system: where /proc and /sys are.
    """
    lines = (system / "proc/meminfo").read_text().splitlines()
    free = [1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]
    for group in (system / "proc/self/cgroup").read_text().splitlines():
        _, controllers, path = group.split(":", 2)
        if controllers not in ("", "memory"):
            continue
        root, limit, used, cache = (
            ("sys/fs/cgroup", "memory.max", "memory.current", "inactive_file")
            if not controllers
            else ("sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        )
        for folder in {system / root / path.strip("/"), system / root}:  # within a container the path may not be there
            with suppress(OSError, ValueError):  # no such group, or "max": no limit
                stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
                taken = int((folder / used).read_text()) - int(stat.get(cache, 0))
                free.append(int((folder / limit).read_text()) - taken)
    return min(free)


def _duplicate(fd: int) -> Any:
    if get_spawning_popen() is None:
        raise AexpError("Loader: shared memory and bells are given to worker processes only, as they start.")
    return DupFd(fd)
