"""RemoteLearner: a learner in any language, over ZeroMQ, in the protocol of both originals.

The environment binds a PAIR socket and waits for `hello`. Then, in every step, it sends the reward in decimal text (`0`
where there is none), then the symbol, and receives the answer, one symbol.
"""

import contextlib
import os
import shlex
import signal
import subprocess
import time
from typing import Any

from aexp_torch.errors import FeedbackError, SpecError
from aexp_torch.provider import import_provider

__all__ = ["RemoteLearner"]

LOOK = 100  # milliseconds after which a process that we started is looked at
LONGEST = 64  # bytes of a message; a peer that sends more is cut off
LONGEST_WAIT = 1_000_000  # seconds
GRACE = 5.0  # seconds that a process has to end


class RemoteLearner:
    """Asks a learner on the other side of a socket.

    Args:
      command: starts the learner; the port is added as the last argument. None: somebody else starts it.
      port: to bind, 1..65535.
      address: to bind; only this machine reaches the default.
      timeout: seconds to wait for `hello`, and for every answer.

    Raises:
      MissingDependencyError: pyzmq is not installed.
      SpecError: a port that is none, or is taken; a command that does not start.
      FeedbackError: no answer in time, an answer that is no symbol, or the process that was started has ended.
    """

    def __init__(self, command: str | None = None, port: int = 5556, address: str = "127.0.0.1", timeout: float = 60.0):
        if not isinstance(port, int) or not 1 <= port <= 65535:
            raise SpecError(f"RemoteLearner: expected a port in 1..65535, got {port!r}.")
        if not isinstance(timeout, int | float) or not 0 < timeout < LONGEST_WAIT:
            raise SpecError(f"RemoteLearner: expected a timeout of 0 to {LONGEST_WAIT} seconds, got {timeout!r}.")
        self._zmq = import_provider("zmq", "commai", "RemoteLearner")
        self._timeout = timeout
        self._process: subprocess.Popen | None = None
        self._context = self._zmq.Context()
        self._socket = self._context.socket(self._zmq.PAIR)
        self._socket.setsockopt(self._zmq.LINGER, 0)
        self._socket.setsockopt(self._zmq.MAXMSGSIZE, LONGEST)
        try:
            self._begin(command, f"tcp://{address}:{port}", port)
        except BaseException:
            self.close()
            raise

    def _begin(self, command: str | None, endpoint: str, port: int) -> None:
        try:
            self._socket.bind(endpoint)
        except self._zmq.ZMQError as error:
            raise SpecError(f"RemoteLearner: expected to bind {endpoint}, {error}. Choose another port.") from error
        if command is not None:
            try:
                arguments = [*shlex.split(command), str(port)]
                self._process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, start_new_session=True)
            except (OSError, ValueError) as error:
                raise SpecError(
                    f"RemoteLearner: expected a command that starts, {command!r} does not: {error}."
                ) from error
        hello = self._received("'hello'")
        if hello != b"hello":
            raise FeedbackError(f"RemoteLearner: expected 'hello' as the first message, got {hello!r}.")

    def try_reward(self, reward: float | None) -> None:
        """Sends the reward."""
        self._send(b"0" if not reward else str(int(reward) if reward == int(reward) else reward).encode())

    def reward(self, reward: float) -> None:
        """Sends the reward."""
        self.try_reward(reward)

    def next(self, symbol: str) -> str:
        """Sends a symbol, and returns the answer to it."""
        self._send(symbol.encode())
        answer = self._received("an answer")
        with contextlib.suppress(UnicodeDecodeError):
            text = answer.decode()
            if len(text) == 1:
                return text
        if len(answer) == 1:
            return answer.decode("latin-1")
        raise FeedbackError(f"RemoteLearner: expected one symbol as the answer to {symbol!r}, got {answer!r}.")

    def _send(self, message: bytes) -> None:
        self._wait(self._zmq.POLLOUT, "a learner that takes messages")
        self._socket.send(message)

    def _received(self, what: str) -> bytes:
        self._wait(self._zmq.POLLIN, what)
        message = self._socket.recv()
        if self._socket.getsockopt(self._zmq.RCVMORE):
            raise FeedbackError(
                f"RemoteLearner: expected {what} in a message of one part, got several, the first {message!r}."
            )
        return message

    def _wait(self, event: int, what: str) -> None:
        """Waits until something can be sent, or was received."""
        until = time.monotonic() + self._timeout
        while not self._socket.poll(LOOK, event):
            ended = None if self._process is None else self._process.poll()
            if ended is not None and not self._socket.poll(LOOK, event):
                raise FeedbackError(
                    f"RemoteLearner: expected {what}, the learner that was started has ended with exit code {ended}."
                )
            if time.monotonic() > until:
                raise FeedbackError(
                    f"RemoteLearner: expected {what} within {self._timeout} s, nothing came. Is the learner running? It has"
                    " to connect, send 'hello', then answer every reward and symbol with one symbol."
                )

    def close(self) -> None:
        """Closes the socket, and ends the process that was started."""
        self._socket.close()
        self._context.term()
        process, self._process = self._process, None
        if process is None:
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError, PermissionError):  # none is left
                os.killpg(process.pid, number)  # and those that it has started
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(GRACE)

    def __enter__(self) -> "RemoteLearner":
        return self

    def __exit__(self, *error: Any) -> None:
        self.close()
