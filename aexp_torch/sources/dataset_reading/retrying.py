"""retrying: what fails for a moment is tried again, with longer and longer pauses, and never for ever."""

import errno
import http.client
import time
import urllib.error
from collections.abc import Callable
from typing import TypeVar

from aexp_torch.errors import SpecError
from aexp_torch.sources.dataset_reading.bad_samples import in_short

__all__ = ["Patience", "Unreachable", "is_transient", "retrying"]

T = TypeVar("T")

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0  # seconds
_CODES = {408, 425, 429, 500, 502, 503, 504}
_NUMBERS = {
    getattr(errno, name)
    for name in ("EAGAIN", "ECONNABORTED", "ECONNREFUSED", "ECONNRESET", "EHOSTUNREACH", "EIO", "ENETDOWN")
    + ("ENETRESET", "ENETUNREACH", "EPIPE", "EREMOTEIO", "ESTALE", "ETIMEDOUT")
    if hasattr(errno, name)
}
# Errors of HTTP clients that are not imported here, by module and name.
_CLIENTS = {
    "requests": ("ConnectionError", "Timeout", "ChunkedEncodingError"),
    "httpx": ("TransportError",),
    "httpcore": ("NetworkError", "TimeoutException", "RemoteProtocolError"),
    "httpx2": ("TransportError",),
    "httpcore2": ("NetworkError", "TimeoutException", "RemoteProtocolError"),
    "aiohttp": ("ClientConnectionError", "ClientPayloadError", "ServerTimeoutError"),
    "urllib3": ("ProtocolError", "TimeoutError", "NewConnectionError"),
    "botocore": ("ConnectionError", "HTTPClientError"),
}


class Unreachable(SpecError):
    """Says that something was tried again and again, and that the time for it is over."""


def is_transient(error: BaseException) -> bool:
    """Tells whether an error may pass: connections that break, timeouts, servers that are busy. Missing files do not."""
    if isinstance(error, urllib.error.HTTPError):
        return error.code in _CODES
    if isinstance(error, ConnectionError | TimeoutError | http.client.HTTPException | urllib.error.URLError):
        return True
    if type(error).__name__ in ("HTTPError", "HTTPStatusError", "HfHubHTTPError"):
        return getattr(getattr(error, "response", None), "status_code", None) in _CODES
    if any(kind.__name__ in _CLIENTS.get(kind.__module__.partition(".")[0], ()) for kind in type(error).__mro__):
        return True
    return isinstance(error, OSError) and error.errno in _NUMBERS


class Patience:
    """Waits between attempts, until too much time has passed without progress.

    Args:
      what: what is read, for messages: its address.
      seconds: how long without progress.
      who: the reader, for messages.
    """

    def __init__(self, what: str, seconds: float, who: str):
        self._what, self.seconds, self._who = what, seconds, who
        self.progress()

    @property
    def failing(self) -> bool:
        """Whether the last attempt failed."""
        return self._attempts > 0

    def progress(self) -> None:
        """Says that something was read."""
        self._deadline, self._pause, self._attempts = time.monotonic() + self.seconds, FIRST_PAUSE, 0

    def extend(self, seconds: float) -> None:
        """Allows more time, as long as reading what had been read before has taken."""
        self._deadline += seconds

    def left(self) -> float:
        """Returns the seconds that are left, at least a hundredth."""
        return max(0.01, self._deadline - time.monotonic())

    def wait(self, error: Exception) -> None:
        """Waits before another attempt.

        Raises:
          Unreachable: there is no time left.
        """
        self._attempts += 1
        if time.monotonic() + self._pause >= self._deadline:
            raise Unreachable(
                f"{self._who}: expected to read {self._what} within {self.seconds:g} s, {self._attempts} attempt(s)"
                f" failed, the last one with {in_short(error)}. Check the address and the network, or allow more time with"
                " read_timeout=."
            ) from error
        time.sleep(self._pause)
        self._pause = min(2 * self._pause, LONGEST_PAUSE)


def retrying(function: Callable[[], T], what: str, seconds: float, who: str) -> T:
    """Calls a function until it raises no error that may pass.

    Raises:
      Unreachable: it raised such errors for `seconds`.
    """
    try:
        return function()
    except Exception as error:
        if not is_transient(error):
            raise
        patience = Patience(what, seconds, who)
        while True:
            patience.wait(error)
            try:
                return function()
            except Exception as another:
                if not is_transient(another):
                    raise
                error = another
