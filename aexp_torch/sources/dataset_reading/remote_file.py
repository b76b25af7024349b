"""Shards as streams of bytes: files, http(s) addresses that are read on after a failure, and the output of commands."""

import io
import os
import select
import subprocess
import urllib.request
from collections.abc import Callable
from typing import Any, BinaryIO

from aexp_torch.sources.dataset_reading.retrying import Patience, is_transient

__all__ = ["CommandOutput", "RemoteFile", "open_stream"]

SOCKET_TIMEOUT = 20.0  # seconds without a byte, per attempt
END_SECONDS = 5.0


def open_stream(
    address: str, offset: int, read_timeout: float, who: str, otherwise: Callable[[str], BinaryIO]
) -> tuple[BinaryIO, bool]:
    """Opens an address for reading, at an offset where that is possible.

    Args:
      address: a path, `file:`, `http:`, `https:`, `pipe:command`, or something else.
      offset: bytes from the beginning.
      read_timeout: seconds without progress.
      who: the reader, for messages.
      otherwise: opens everything else.

    Returns:
      The stream, and whether it stands at the offset; else it stands at the beginning.
    """
    if address.startswith(("http://", "https://")):
        return io.BufferedReader(RemoteFile(address, read_timeout, who, offset), 1 << 16), True
    if address.startswith("pipe:"):
        return io.BufferedReader(CommandOutput(address.removeprefix("pipe:"), read_timeout), 1 << 16), False
    path = address.removeprefix("file://").removeprefix("file:")
    if "://" not in path:
        file = open(path, "rb")  # noqa: SIM115 - its reader closes it
        file.seek(offset)
        return file, True
    return otherwise(address), False


class RemoteFile(io.RawIOBase):
    """Reads an http(s) address from front to back; where the connection fails it goes on at the byte where it stood.

    Args:
      address: the URL.
      read_timeout: seconds without a byte before it is an error.
      who: the reader, for messages.
      offset: the first byte.
    """

    def __init__(self, address: str, read_timeout: float, who: str, offset: int = 0):
        self._address, self._position = address, offset
        self._patience = Patience(address, read_timeout, who)
        self._response: Any = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Fills the buffer; 0 at the end.

        Raises:
          Unreachable: too long without progress.
          OSError: an answer that will not change, such as 404.
        """
        while True:
            try:
                if self._response is None:
                    self._connect()
                count = self._response.readinto(buffer)
                if not count and len(buffer) and self._missing():
                    raise ConnectionError(f"the connection ended {self._missing()} bytes too early")
            except Exception as error:
                self._disconnect()
                if not is_transient(error):
                    raise
                self._patience.wait(error)
                continue
            self._position += count
            self._patience.progress()
            return count

    def _connect(self) -> None:
        headers = {"Range": f"bytes={self._position}-"} if self._position else {}
        request = urllib.request.Request(self._address, headers=headers)
        timeout = min(SOCKET_TIMEOUT, self._patience.left())
        try:
            response = urllib.request.urlopen(request, timeout=timeout)
        except urllib.error.HTTPError as error:
            with error:
                if error.code == 416 and self._position:  # it begins behind the last byte
                    self._response, self._end = io.BytesIO(), self._position
                    return
                raise
        length = response.headers.get("Content-Length")
        skip = self._position if self._position and response.status != 206 else 0  # a server that knows no ranges
        self._response = response
        self._end = None if length is None else int(length) + self._position - skip
        while skip:
            passed = len(response.read(min(skip, 1 << 20)))
            if not passed:
                raise ConnectionError(f"the connection ended before byte {self._position}")
            skip -= passed
            self._patience.progress()

    def _missing(self) -> int:
        return 0 if self._end is None else self._end - self._position

    def _disconnect(self) -> None:
        if self._response is not None:
            self._response.close()
            self._response = None

    def close(self) -> None:
        self._disconnect()
        super().close()


class CommandOutput(io.RawIOBase):
    """Reads what a shell command prints, as WebDataset's `pipe:` does.

    Args:
      command: for the shell; it is the user's own.
      read_timeout: seconds without a byte before it is an error.
    """

    def __init__(self, command: str, read_timeout: float):
        self._command, self._read_timeout = command, read_timeout
        self._process = subprocess.Popen(
            command, shell=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True
        )

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Fills the buffer; 0 at the end.

        Raises:
          TimeoutError: nothing came.
          ConnectionError: the command failed.
        """
        output = self._process.stdout
        if not select.select([output], [], [], self._read_timeout)[0]:
            raise TimeoutError(f"nothing came from {self._command!r} within {self._read_timeout:g} s")
        count = os.readv(output.fileno(), [buffer])
        if not count and (code := self._process.wait(self._read_timeout)):
            raise ConnectionError(f"{self._command!r} ended with exit code {code}")
        return count

    def close(self) -> None:
        """Ends the command if it still runs."""
        if not self.closed:
            self._process.stdout.close()
            if self._process.poll() is None:
                self._process.terminate()
                try:
                    self._process.wait(END_SECONDS)
                except subprocess.TimeoutExpired:
                    self._process.kill()
                    self._process.wait()
        super().close()
