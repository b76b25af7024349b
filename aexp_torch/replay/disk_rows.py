"""DiskRows: rows in a folder, one file per column, to which rows are only ever added.

The folder holds `header.json` (see `header`), `commit` (see `Commit`), `lock`, and `000.bin`, `001.bin`, ... with the
columns in the order of the header, rows one after the other without anything in between.

Rows are written with `pwrite`, and read through memory maps. So that a map need not be made anew for every row, files
are longer than their rows while somebody writes (their end takes no room on the disk); `close` cuts them. A process that
is killed loses nothing that `append` has returned from.
"""

import fcntl
import mmap
import os
import warnings
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from aexp_torch.errors import SpecError
from aexp_torch.replay.commit import Commit
from aexp_torch.replay.header import read_header, write_header
from aexp_torch.replay.schema import Column, Schema

__all__ = ["HEADER", "DiskRows"]

HEADER = "header.json"
GROWTH, LEAST_ROWS = 1.25, 1024

_writers: set[tuple[int, Path]] = set()  # of this process: its own locks do not keep it out


class DiskRows:
    """Reads, and perhaps writes, the rows of one slot of one source in a folder.

    Args:
      folder: where they are.
      schema: what is to be written, where `writable`; for reading, the header tells.
      slot: of the stream, where `writable`.
      capacity: the latest so many rows count; None for all. The files keep every row.
      writable: rows can be added; one process at a time.

    Raises:
      SpecError: somebody else writes there, or something else was recorded there.
    """

    def __init__(self, folder: Path, schema: Schema | None, slot: int, capacity: int | None, writable: bool):
        self.folder, self.capacity, self.writable = folder.resolve(), capacity, writable
        self._fds: list[int] = []
        self._lock: int | None = None
        self._commit: Commit | None = None
        try:
            if writable:
                self.folder.mkdir(parents=True, exist_ok=True)
                self._take_lock()
            self._commit = self._open(schema, slot)
        except BaseException:
            self._let_go()
            raise
        self.rewinds, self.end = self._commit.rewinds, self._commit.rows
        self._mapped, self._extended = -1, 0
        self._check_files()
        self._map()

    def _open(self, schema: Schema | None, slot: int) -> Commit:
        header = self.folder / HEADER
        fresh = self.writable and not header.exists()
        if not fresh:
            self.schema, self.slot = read_header(header.read_text(), self.folder)
        if fresh:
            self.schema, self.slot = schema, slot
            with suppress(FileNotFoundError):
                (self.folder / "commit").unlink()
        elif self.writable and header.read_text() != write_header(schema, slot):
            raise SpecError(
                f"ReplayBuffer: expected a recording of {schema.source!r}, slot {slot}, with the same specs in"
                f" {self.folder}, got another one. Give a path of its own."
            )
        access = os.O_RDWR | os.O_CREAT if self.writable else os.O_RDONLY
        for number in range(len(self.schema.columns)):
            self._fds.append(os.open(self.folder / f"{number:03d}.bin", access, 0o644))
        commit = Commit(self.folder / "commit", self.writable)
        if fresh:  # last, and at once: a folder with a header is complete
            part = self.folder / "header.part"
            part.write_text(write_header(schema, slot))
            os.replace(part, header)
        return commit

    def _take_lock(self) -> None:
        """Makes sure that nobody else writes here; the kernel lets go of the lock when the process has gone."""
        key = (os.getpid(), self.folder)
        lock = -1 if key in _writers else os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            if lock >= 0:
                fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            lock = -1
        if lock < 0:
            raise SpecError(
                f"ReplayBuffer: expected to be the only one who records to {self.folder}, somebody else does. Close that"
                " buffer, or give a path of its own."
            )
        self._lock = lock
        _writers.add(key)

    def _check_files(self) -> None:
        """Counts no row that a file does not have, as where a copy of the folder was cut off."""
        sizes = zip(self._fds, self.schema.columns)
        there = [os.fstat(fd).st_size // column.row_bytes for fd, column in sizes if column.row_bytes]
        if min(there) < self.end:
            warnings.warn(
                f"ReplayBuffer: expected {self.end} rows in {self.folder}, a file has only {min(there)}: it was cut off."
                " The others are left out.",
                stacklevel=2,
            )
            self.end = min(there)

    @property
    def begin(self) -> int:
        """The oldest row that counts."""
        return 0 if self.capacity is None else max(0, self.end - self.capacity)

    def places(self, ids: np.ndarray) -> np.ndarray:
        """Returns where rows stand in the arrays: in order."""
        return ids

    def refresh(self) -> None:
        """Looks whether somebody has written more."""
        if not self.writable:
            self.rewinds, self.end = self._commit.rewinds, self._commit.rows
            if self.end > self._mapped:
                self._check_files()
                self._map()

    def _map(self) -> None:
        """Makes `arrays`, [rows, ...] per column, over what the files have; older arrays stay as they are."""
        if self.writable and self.end >= self._extended:
            self._extended = max(LEAST_ROWS, int(GROWTH * self.end) + 1)
            for fd, column in zip(self._fds, self.schema.columns):
                os.ftruncate(fd, self._extended * column.row_bytes)
        sizes = zip(self._fds, self.schema.columns)
        self._mapped = min(os.fstat(fd).st_size // column.row_bytes for fd, column in sizes if column.row_bytes)
        self.arrays = [map_rows(fd, column, self._mapped) for fd, column in zip(self._fds, self.schema.columns)]

    def append(self, values: Sequence[np.ndarray], count: int) -> None:
        """Adds `count` rows; a value is [count, ...] or is broadcast to it."""
        for fd, column, value in zip(self._fds, self.schema.columns, values):
            if value.ndim <= len(column.shape):
                value = np.broadcast_to(value, (count, *column.shape))
            if value.dtype is not column.dtype or not value.flags.c_contiguous:
                value = np.ascontiguousarray(value, column.dtype)
            write_all(fd, value, self.end * column.row_bytes)
        self.end += count
        self._commit.rows = self.end
        if self.end > self._mapped:
            self._map()

    def flush(self) -> None:
        """Waits until all rows are on the disk, so that they survive a failure of the machine."""
        if self.writable:
            for fd in self._fds:
                os.fsync(fd)
            self._commit.flushed()

    def close(self) -> None:
        """Cuts the files to their rows, flushes, and lets go."""
        if self.writable and self._fds:
            for fd, column in zip(self._fds, self.schema.columns):
                os.ftruncate(fd, self.end * column.row_bytes)
            self.flush()
        self._let_go()

    def _let_go(self) -> None:
        for fd in self._fds:
            os.close(fd)
        self._fds, self.arrays = [], []
        if self._commit is not None:
            self._commit.close()
        if self._lock is not None:
            _writers.discard((os.getpid(), self.folder))
            os.close(self._lock)
            self._lock = None

    __del__ = _let_go

    def state_dict(self) -> dict:
        """Returns where the rows are and how many, after a `flush`."""
        self.flush()
        return {"path": str(self.folder), "rows": self.end, "rewinds": self.rewinds}

    def load_state_dict(self, state: dict) -> None:
        """Goes back to `state_dict`: what was written since is left out, and will be written over.

        Raises:
          SpecError: the rows are in another folder, or have been written over.
        """
        if state["path"] != str(self.folder):
            raise SpecError(
                f"ReplayBuffer.load_state_dict: expected the state of a buffer at {self.folder}, got one at"
                f" {state['path']}. The rows are there: give that path, or move the folder back."
            )
        if not self._commit.still_has(state["rows"], state["rewinds"]):
            raise SpecError(
                f"ReplayBuffer.load_state_dict: expected the first {state['rows']} rows in {self.folder} as they were,"
                " they have been written over by a run that went on from an earlier state. Resume from a later state of"
                " that run, or copy the folder along with a state that is to stay."
            )
        if self.writable and state["rows"] < self._commit.rows:
            self._commit.rewind(state["rows"])
        self.end, self.rewinds = state["rows"], self._commit.rewinds


def map_rows(fd: int, column: Column, rows: int) -> np.ndarray:
    """Returns the first rows of a file, read-only, [rows, ...]."""
    shape = (rows, *column.shape)
    if rows * column.row_bytes == 0:
        return np.zeros(shape, column.dtype)
    memory = mmap.mmap(fd, rows * column.row_bytes, mmap.MAP_SHARED, mmap.PROT_READ)
    return np.frombuffer(memory, column.dtype).reshape(shape)


def write_all(fd: int, array: np.ndarray, offset: int) -> None:
    """Writes an array at a place of a file, in as many pieces as the kernel likes."""
    written = os.pwrite(fd, array.data, offset)
    if written == array.nbytes:
        return
    rest, offset = memoryview(array.reshape(-1).view(np.uint8).data)[written:], offset + written
    while rest:
        written = os.pwrite(fd, rest, offset)
        rest, offset = rest[written:], offset + written
