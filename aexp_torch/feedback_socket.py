"""Answers from other processes, over a private Unix socket.

A pickled ticket carries the address of its process's `PostOffice`, which reads raw tensor bytes under a fixed header
(nothing is unpickled), puts them into the mailbox, and says whether the mailbox took them.
"""

import atexit
import contextlib
import itertools
import json
import os
import secrets
import socket
import struct
import sys
import tempfile
import threading
import weakref
from collections.abc import Callable
from multiprocessing.connection import wait
from typing import Any

import numpy as np
import torch

from aexp_torch.errors import ActionError, FeedbackError
from aexp_torch.feedback import Mailbox
from aexp_torch.specs.tree import flatten, unflatten
from aexp_torch.timestep import TimeStep

__all__ = ["PostOffice", "RemoteMailbox"]

HEADER = struct.Struct("!4sQqIQ")  # magic, mailbox number, step, bytes of description, bytes of data
REPLY = struct.Struct("!BI")  # 0 accepted, 1 ActionError, 2 FeedbackError; bytes of text
MAGIC = b"AEX1"
MAX_DESCRIPTION, MAX_DATA = 1 << 20, 1 << 31


class PostOffice:
    """Listens on this process's private socket and puts what arrives into the mailboxes."""

    _here: "PostOffice | None" = None
    _opening = threading.Lock()

    def __init__(self):
        self.token = secrets.token_hex(16)
        self._boxes: weakref.WeakValueDictionary[int, Mailbox] = weakref.WeakValueDictionary()
        self._numbers: weakref.WeakKeyDictionary[Mailbox, int] = weakref.WeakKeyDictionary()
        self._next_number = itertools.count()
        self._listener, self.path = _listen(self.token)
        self._connections: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._start(self._accept)
        atexit.register(self.close)  # a thread that is still in C++ when the interpreter ends would abort the process

    @classmethod
    def of_this_process(cls) -> "PostOffice":
        """Returns the office of this process, opened on first use."""
        with cls._opening:
            if cls._here is None:
                cls._here = cls()
            return cls._here

    @classmethod
    def forget(cls) -> None:
        """Leaves the office of the parent alone (in a forked child)."""
        cls._here, cls._opening = None, threading.Lock()

    def close(self) -> None:
        """Takes no more answers, and waits for the threads that are at it."""
        if PostOffice._here is self:
            PostOffice._here = None
            for connection in (self._listener, *self._connections):
                with contextlib.suppress(OSError):  # the other side was faster
                    connection.shutdown(socket.SHUT_RDWR)
            for thread in self._threads:
                thread.join(timeout=1.0)
            self._listener.close()

    def _start(self, target: Callable, *arguments: Any) -> None:
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        self._threads.append(threading.Thread(target=target, args=arguments, name="aexp-feedback", daemon=True))
        self._threads[-1].start()

    def address_of(self, box: Mailbox) -> "RemoteMailbox":
        """Registers a mailbox and returns how to reach it from elsewhere."""
        with self._opening:
            number = self._numbers.get(box)
            if number is None:  # never used again, so that no answer reaches a stream that came later
                number = self._numbers[box] = next(self._next_number)
                self._boxes[number] = box
        return RemoteMailbox(self.token, self.path, number, str(box))

    def box(self, number: int) -> Mailbox | None:
        """Returns a registered mailbox, or None where its stream has gone."""
        return self._boxes.get(number)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:  # closed
                return
            if _is_own_user(connection):
                self._connections.add(connection)
                self._start(self._serve, connection)
            else:
                connection.close()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError, ValueError):  # it has gone, or does not speak this protocol
            while (message := _receive_answer(connection)) is not None:
                status, text = self._deliver(*message)
                encoded = text.encode()
                connection.sendall(REPLY.pack(status, len(encoded)) + encoded)
        self._connections.discard(connection)

    def _deliver(self, number: int, step: int, action: Any, all_last: bool) -> tuple[int, str]:
        box = self.box(number)
        if box is None:
            return 2, f"expected an open stream, it was closed before the answer to step {step} came."
        try:
            box.post(step, action, lambda: torch.tensor(all_last))
        except ActionError as error:
            return 1, str(error)
        except FeedbackError as error:
            return 2, str(error)
        return 0, ""


class RemoteMailbox:
    """Reaches a mailbox in another process; in the mailbox's own process it is that mailbox.

    Args:
      token: names the process's post office.
      path: address of its socket.
      number: names the mailbox there.
      stream: the stream's name, for messages.
    """

    def __init__(self, token: str, path: str, number: int, stream: str):
        self.token, self.path, self.number, self.stream = token, path, number, stream

    def __reduce__(self):
        return resolve, (self.token, self.path, self.number, self.stream)

    def export(self) -> "RemoteMailbox":
        """Passes the address on."""
        return self

    def answer(self, timestep: TimeStep, action: Any) -> None:
        """Sends the answer over the socket and waits until it has been accepted or refused."""
        try:
            message = _encode(self.number, timestep, action)
        except ActionError as error:
            raise ActionError(
                f"{self.stream}: the answer to step {timestep.ticket.step} does not fit: {error}"
            ) from None
        try:
            status, text = _exchange(self.path, message)
        except OSError as error:
            raise FeedbackError(
                f"{self.stream}: expected an open stream, the process that runs it no longer takes answers ({error}):"
                f" it ended, or its loader was left, before the answer to step {timestep.ticket.step} came."
            ) from error
        if status:
            raise (ActionError if status == 1 else FeedbackError)(text)


def resolve(token: str, path: str, number: int, stream: str) -> Mailbox | RemoteMailbox:
    """Rebuilds an address from a pickled ticket."""
    office = PostOffice._here
    box = office.box(number) if office is not None and office.token == token else None
    return box if box is not None else RemoteMailbox(token, path, number, stream)


def _listen(token: str) -> tuple[socket.socket, str]:
    """Opens a socket that only this user can reach and that leaves nothing behind where the platform allows it."""
    if sys.platform == "linux":
        path = f"\0aexp-{os.getpid()}-{token}"  # an abstract address: no file; the peer's user is checked
    else:
        path = os.path.join(tempfile.mkdtemp(prefix="aexp-"), "feedback")  # a directory of mode 0700
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(path)
    listener.listen()
    return listener, path


def _is_own_user(connection: socket.socket) -> bool:
    if sys.platform != "linux":
        return True
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return struct.unpack("3i", credentials)[1] == os.geteuid()


def _encode(number: int, timestep: TimeStep, action: Any) -> list[bytes | memoryview]:
    """Describes the tensors in JSON and lays their raw bytes behind it."""
    tree = None if action is None else action if isinstance(action, dict) else {"": action}
    bare = not isinstance(action, dict)
    arrays = [(path, _as_array(leaf)) for path, leaf in flatten(tree)] if tree else []
    description = {
        "bare": bare,
        "leaves": [[list(path), array.dtype.str, list(array.shape)] for path, array in arrays],
        "all_last": bool(timestep.last().all()),
    }
    text = json.dumps(description).encode()
    data = [array.reshape(-1).view(np.uint8).data for _, array in arrays]
    header = HEADER.pack(MAGIC, number, timestep.ticket.step, len(text), sum(len(part) for part in data))
    return [header, text, *data]


def _as_array(leaf: Any) -> np.ndarray:
    if isinstance(leaf, torch.Tensor):
        leaf = leaf.detach().cpu().numpy()
    if not isinstance(leaf, np.ndarray | np.generic):
        raise ActionError(f"expected tensors in the answer, got {type(leaf).__name__} {leaf!r}.")
    return np.asarray(leaf, order="C")


def _receive_answer(connection: socket.socket) -> tuple[int, int, Any, bool] | None:
    header = _read(connection, HEADER.size)
    if header is None:
        return None
    magic, number, step, description_size, data_size = HEADER.unpack(header)
    if magic != MAGIC or description_size > MAX_DESCRIPTION or data_size > MAX_DATA:
        raise ValueError("not an answer")
    description = json.loads(_read(connection, description_size) or b"")
    data = _read(connection, data_size) if data_size else bytearray()
    if data is None:
        return None
    return number, step, _decode(description, data), bool(description["all_last"])


def _decode(description: dict, data: bytearray) -> Any:
    leaves, offset = [], 0
    for path, dtype, shape in description["leaves"]:
        if np.dtype(dtype).hasobject:
            raise ValueError("not plain data")
        count = int(np.prod(shape))
        array = np.frombuffer(data, dtype, count, offset).reshape(shape)
        offset += array.nbytes
        leaves.append((tuple(path), torch.from_numpy(array)))
    if description["bare"]:
        return leaves[0][1] if leaves else None
    return unflatten(leaves)


def _read(connection: socket.socket, size: int) -> bytearray | None:
    buffer = bytearray(size)
    view = memoryview(buffer)
    while len(view):
        count = connection.recv_into(view)
        if not count:
            return None
        view = view[count:]
    return buffer


_connections: dict[str, tuple[socket.socket, threading.Lock]] = {}
_connecting = threading.Lock()


def _exchange(path: str, parts: list[bytes | memoryview]) -> tuple[int, str]:
    connection, lock = _connection_to(path)
    try:
        with lock:
            connection.sendall(b"".join(parts))
            status, size = REPLY.unpack(_expect(connection, REPLY.size))
            return status, bytes(_expect(connection, size)).decode()
    except OSError:
        _connections.pop(path, None)
        connection.close()
        raise


def _expect(connection: socket.socket, size: int) -> bytearray:
    data = _read(connection, size)
    if data is None:
        raise ConnectionResetError("connection closed")
    return data


def _connection_to(path: str) -> tuple[socket.socket, threading.Lock]:
    with _connecting:
        if path not in _connections:
            _close_connections(left_only=True)
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connection.settimeout(60.0)
            connection.connect(path)
            _connections[path] = connection, threading.Lock()
        return _connections[path]


def _close_connections(left_only: bool = False) -> None:
    """Closes the connections to processes that have gone, or all."""
    for path, (connection, lock) in list(_connections.items()):
        if not left_only or (not lock.locked() and wait([connection], timeout=0)):  # readable, unasked: it has gone
            del _connections[path]
            connection.close()


def _after_fork() -> None:
    global _connecting
    _connecting = threading.Lock()
    for connection, _ in _connections.values():
        connection.close()
    _connections.clear()
    PostOffice.forget()


atexit.register(_close_connections)
os.register_at_fork(after_in_child=_after_fork)
