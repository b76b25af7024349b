"""Commit: one word in a file that says how many rows of a recording are complete.

Rows are written first and counted afterwards, so that a process may be killed at any byte. The word is read and written
through shared memory: other processes see it at once. The file is int64 numbers: rows, rows that were flushed, two for
the boot in which it was written, then for every rewind the row at which it began.
"""

import mmap
import os
from contextlib import suppress
from pathlib import Path

import numpy as np

__all__ = ["Commit"]

ROWS, FLUSHED, BOOT = 0, 1, 2
HEAD_BYTES = 32


class Commit:
    """Counts the complete rows of a recording.

    After the machine itself went down, only the rows that were flushed count: the others may be zeros.

    Args:
      path: the file.
      writable: it is created if it is not there, and counts on.
    """

    def __init__(self, path: Path, writable: bool):
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT if writable else os.O_RDONLY, 0o644)
        if writable and os.fstat(self._fd).st_size < HEAD_BYTES:
            os.ftruncate(self._fd, HEAD_BYTES)
        access = mmap.PROT_READ | mmap.PROT_WRITE if writable else mmap.PROT_READ
        self._memory = mmap.mmap(self._fd, HEAD_BYTES, mmap.MAP_SHARED, access)
        self._words = memoryview(self._memory).cast("q")
        if writable:
            self._words[ROWS] = self.rows
            self._memory[8 * BOOT : HEAD_BYTES] = boot()

    @property
    def rows(self) -> int:
        """How many rows are complete."""
        rows = self._words[ROWS]
        if self._memory[8 * BOOT : HEAD_BYTES] != boot():
            rows = min(rows, self._words[FLUSHED])
        return rows

    @rows.setter
    def rows(self, rows: int) -> None:
        self._words[ROWS] = rows

    def flushed(self) -> None:
        """Notes that all rows are on the disk."""
        self._words[FLUSHED] = self._words[ROWS]
        self._memory.flush()
        os.fsync(self._fd)

    @property
    def rewinds(self) -> int:
        """How often the recording went on from an earlier row than its last."""
        return (os.fstat(self._fd).st_size - HEAD_BYTES) // 8

    def rewind(self, rows: int) -> None:
        """Goes back: the rows from `rows` on count no more and will be written over."""
        os.pwrite(self._fd, np.int64(rows).tobytes(), HEAD_BYTES + 8 * self.rewinds)
        self._words[FLUSHED] = min(self._words[FLUSHED], rows)
        self._words[ROWS] = rows

    def still_has(self, rows: int, rewinds: int) -> bool:
        """Whether the first `rows` rows are those of a time when there had been `rewinds` rewinds."""
        starts = np.frombuffer(os.pread(self._fd, 8 * self.rewinds, HEAD_BYTES), np.int64)
        return self.rows >= rows and bool((starts[rewinds:] >= rows).all()) and len(starts) >= rewinds

    def close(self) -> None:
        """Lets the file go."""
        if self._fd >= 0:
            self._words.release()
            self._memory.close()
            os.close(self._fd)
            self._fd = -1


def boot() -> bytes:
    """Returns 16 bytes that name this boot of the machine; zeros where the system does not tell."""
    global _boot
    if _boot is None:
        _boot = bytes(16)
        with suppress(OSError, ValueError):
            _boot = bytes.fromhex(Path("/proc/sys/kernel/random/boot_id").read_text().strip().replace("-", ""))
    return _boot


_boot: bytes | None = None
