"""RemoteDesktop: a small client of VNC servers (the RFB protocol), in which every wait has a limit.

It shows the desktop as an array and sends pointer and keys; no thread, no event loop, one socket. It knows raw pixels and
copied rectangles, and no security but a password: made for servers on this machine, or behind a tunnel.

Source: RFC 6143.
"""

import re
import socket
import struct
import time
from collections.abc import Callable
from contextlib import suppress

import numpy as np

from aexp_torch.errors import SpecError
from aexp_torch.sources.vnc_password import answer_challenge

__all__ = ["RemoteDesktop", "socket_address"]

RAW, COPY, DESKTOP_SIZE = 0, 1, -223  # encodings
LARGEST = 64 * 2**20  # pixels
NO_SECURITY, PASSWORD = 1, 2


class RemoteDesktop:
    """Is a connection to a VNC server.

    Args:
      address: `"host:display"` (port 5900 + display), `"host::port"`, or the path of a Unix socket.
      password: for servers that ask for one.
      timeout: seconds that the server may take for an answer.
      who: names the owner, for messages.

    Raises:
      ConnectionError: there is no server, it speaks something else, or it goes away.
      PermissionError: it refuses the password, or wants another kind of security.
      TimeoutError: it does not answer in time.
    """

    def __init__(self, address: str, password: str | None = None, timeout: float = 10.0, who: str = "RemoteDesktop"):
        self._address, self._timeout = address, timeout
        self._who = f"{who}: the VNC server at {address}:"
        self._begin("a connection")
        family, place = socket_address(address)
        self._socket = socket.socket(family)
        try:
            self._socket.settimeout(timeout)
            self._talk(lambda: self._socket.connect(place))
            if family != socket.AF_UNIX:
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._shake_hands(password)
        except BaseException:
            self.close()
            raise

    # What an environment does with it.

    def look(self) -> np.ndarray:
        """Returns the screen as it is now: uint8 [H, W, 3], red, green and blue, in memory of its own."""
        self._begin("the screen")
        # The server answers what has changed if anything has, and the pixel in the corner in any case.
        self._send(
            struct.pack(">BBHHHH", 3, 1, 0, 0, self.width, self.height) + struct.pack(">BBHHHH", 3, 0, 0, 0, 1, 1)
        )
        while not self._read_message():
            pass
        return np.ascontiguousarray(self._frame[:, :, :3])

    def point(self, x: int, y: int, buttons: int) -> None:
        """Moves the pointer, and has those buttons down: bit 0 left, 1 middle, 2 right, 3 and 4 the wheel up and down."""
        self._begin("to take a pointer's place")
        self._send(struct.pack(">BBHH", 5, buttons, x, y))

    def press(self, keysym: int, down: bool) -> None:
        """Presses or releases a key."""
        self._begin("to take a key")
        self._send(struct.pack(">BBHI", 4, down, 0, keysym))

    def close(self) -> None:
        """Ends the connection."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # children that were forked hold it, too
        self._socket.close()

    # The beginning.

    def _shake_hands(self, password: str | None) -> None:
        greeting = self._read(12)
        version = re.fullmatch(rb"RFB (\d{3})\.(\d{3})\n", greeting)
        if version is None:
            raise ConnectionError(
                f"{self._who} expected a greeting 'RFB 003.008', got {greeting!r}. Is it a VNC server?"
            )
        told = int(version[1]), int(version[2])
        if told < (3, 7):
            raise ConnectionError(f"{self._who} expected version 3.7 of the protocol or a later one, got {told}.")
        self._send(b"RFB 003.008\n" if told >= (3, 8) else b"RFB 003.007\n")
        self._authenticate(password, told)
        self._send(b"\x01")  # others may watch
        self.width, self.height, _, name = struct.unpack(">HH16sI", self._read(24))
        if not 0 < self.width * self.height <= LARGEST:
            raise ConnectionError(
                f"{self._who} expected a screen of up to {LARGEST} pixels, got {self.width}x{self.height}."
            )
        self._skip(name)
        self._frame = np.zeros((self.height, self.width, 4), np.uint8)
        # 32 bits a pixel, of which 24 count, the lowest byte red: then memory has R, G, B and nothing in this order
        pixel_format = struct.pack(">BBBBHHHBBB3x", 32, 24, 0, 1, 255, 255, 255, 0, 8, 16)
        encodings = COPY, RAW, DESKTOP_SIZE
        self._send(b"\0\0\0\0" + pixel_format + struct.pack(f">BxH{len(encodings)}i", 2, len(encodings), *encodings))

    def _authenticate(self, password: str | None, version: tuple[int, int]) -> None:
        offered = self._read(self._read(1)[0])
        if not offered:
            raise ConnectionError(f"{self._who} refused the connection: {self._reason()}.")
        if PASSWORD in offered and password is not None:
            self._send(bytes([PASSWORD]))
            self._send(answer_challenge(self._read(16), password))
        elif NO_SECURITY in offered:
            self._send(bytes([NO_SECURITY]))
            if version < (3, 8):
                return
        elif PASSWORD in offered:
            raise PermissionError(f"{self._who} expected a password, got none. Give password=.")
        else:
            raise PermissionError(
                f"{self._who} expected security of type 1 (none) or 2 (a password), it offers {list(offered)}. Start it"
                " so on this machine, with a tunnel to it, for example: Xvnc -localhost -SecurityTypes None,VncAuth"
            )
        if struct.unpack(">I", self._read(4))[0] != 0:
            reason = self._reason() if version >= (3, 8) else "no reason given"
            raise PermissionError(f"{self._who} refused the password: {reason}.")

    def _reason(self) -> str:
        return self._read(min(struct.unpack(">I", self._read(4))[0], 1000)).decode(errors="replace").rstrip(".")

    # What the server says.

    def _read_message(self) -> bool:
        """Reads one message; returns whether it had the pixel in the corner."""
        kind = self._read(1)[0]
        if kind == 0:
            (count,) = struct.unpack(">xH", self._read(3))
            return max([self._read_rectangle() for _ in range(count)], default=False)
        if kind == 1:  # a table of colours, which has no meaning here
            self._skip(6 * struct.unpack(">x2xH", self._read(5))[0])
        elif kind == 3:  # something was copied to the clipboard
            self._skip(struct.unpack(">3xI", self._read(7))[0])
        elif kind != 2:  # a bell
            raise ConnectionError(f"{self._who} expected a message of type 0 to 3, got {kind}.")
        return False

    def _read_rectangle(self) -> bool:
        x, y, width, height, encoding = struct.unpack(">HHHHi", self._read(12))
        if encoding == DESKTOP_SIZE and (width, height) == (self.width, self.height):
            return False
        if encoding == DESKTOP_SIZE:
            raise ConnectionError(
                f"{self._who} expected a screen of {self.width}x{self.height}, as at the beginning, it became"
                f" {width}x{height}. The size is part of the spec: start the server with -AcceptSetDesktopSize=0."
            )
        fits = self._fits(x, y, width, height)
        if fits and encoding == RAW:
            self._read_pixels(self._frame[y : y + height, x : x + width])
        elif fits and encoding == COPY:
            left, top = struct.unpack(">HH", self._read(4))
            if not self._fits(left, top, width, height):
                raise ConnectionError(f"{self._who} copied from {left}, {top}, outside the screen.")
            copied = self._frame[top : top + height, left : left + width].copy()
            self._frame[y : y + height, x : x + width] = copied
        else:
            raise ConnectionError(
                f"{self._who} expected rectangles within {self.width}x{self.height}, raw (0) or copied (1), got"
                f" {width}x{height} at {x}, {y} of encoding {encoding}."
            )
        return encoding == RAW and x == y == 0 and width > 0 and height > 0

    def _fits(self, x: int, y: int, width: int, height: int) -> bool:
        return x + width <= self.width and y + height <= self.height

    def _read_pixels(self, part: np.ndarray) -> None:
        if part.flags.c_contiguous:
            self._read_into(part.reshape(-1).data)
        else:
            pixels = np.empty(part.size, np.uint8)
            self._read_into(pixels.data)
            part[:] = pixels.reshape(part.shape)

    # The socket.

    def _begin(self, awaited: str) -> None:
        self._awaited, self._deadline = awaited, time.monotonic() + self._timeout

    def _read(self, count: int) -> bytes:
        data = bytearray(count)
        self._read_into(memoryview(data))
        return bytes(data)

    def _skip(self, count: int) -> None:
        while count > 0:
            count -= len(self._read(min(count, 65536)))

    def _read_into(self, memory: memoryview) -> None:
        while len(memory):
            memory = memory[self._talk(lambda: self._socket.recv_into(memory)) or self._gone() :]  # noqa: B023 (called at once)

    def _send(self, data: bytes) -> None:
        while data:
            data = data[self._talk(lambda: self._socket.send(data)) :]  # noqa: B023 (called at once)

    def _talk(self, action: Callable) -> int:
        """Does something with the socket, within what is left of the time."""
        try:
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self._socket.settimeout(left)
            return action()
        except TimeoutError:
            raise TimeoutError(
                f"{self._who} expected {self._awaited} within {self._timeout:g} s, it does not answer. Give timeout= if it"
                " may take longer."
            ) from None
        except OSError as error:
            raise ConnectionError(
                f"{self._who} expected {self._awaited}, got {type(error).__name__}: {error}."
            ) from error

    def _gone(self) -> int:
        raise ConnectionError(f"{self._who} expected {self._awaited}, it has closed the connection.")


def socket_address(address: str) -> tuple[socket.AddressFamily, str | tuple[str, int]]:
    """Returns the family and place of a VNC server's socket.

    >>> socket_address("localhost:1"), socket_address("::5977"), socket_address("/run/desktop")[1]
    ((<AddressFamily.AF_INET: 2>, ('localhost', 5901)), (<AddressFamily.AF_INET: 2>, ('localhost', 5977)), '/run/desktop')
    """
    if address.startswith("/"):
        return socket.AF_UNIX, address
    found = re.fullmatch(r"(\[[^\]]+\]|[^:\[\]]*)(?:(::?)(\d{1,5}))?", address)
    if found is None:
        raise SpecError(
            "VNCEnv: expected the address of a VNC server as 'host:display', 'host::port' or '/path/of/a/socket', got"
            f" {address!r}."
        )
    host, colons, number = found[1].strip("[]") or "localhost", found[2], int(found[3] or 0)
    return socket.AF_INET6 if ":" in host else socket.AF_INET, (host, number if colons == "::" else 5900 + number)
