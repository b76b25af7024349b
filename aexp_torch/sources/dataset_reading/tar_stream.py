"""Members of a tar stream with the places where they begin, several times as fast as Python's tarfile finds them."""

import bz2
import gzip
import io
import lzma
import tarfile
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

__all__ = ["Member", "TarStream"]

BLOCK = tarfile.BLOCKSIZE
_EMPTY = bytes(BLOCK)
_REGULAR = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)
_UNPACK: dict[bytes, Any] = {b"\x1f\x8b": gzip.open, b"BZ": bz2.open, b"\xfd7": lzma.open}
_ENDS_EARLY = "unexpected end of data"


class Member(NamedTuple):
    """Is a regular file of an archive.

    Args:
      name: its path.
      data: its content.
      offset: the byte where its headers begin; None in a compressed archive.
    """

    name: str
    data: bytes
    offset: int | None


class TarStream:
    """Reads regular files from a stream, to its end; links, folders and devices are passed over.

    Args:
      stream: has `read(size)`, which gives less than it is asked for only at the end.
      offset: the place in the archive where the stream stands.

    Raises:
      tarfile.ReadError: from iterating: it is no archive, is damaged, or ends in the middle of a file.

    Source: POSIX.1-2001 pax interchange format, with the long names and large sizes of GNU tar.
    """

    def __init__(self, stream: Any, offset: int = 0):
        self._stream: Any = stream if hasattr(stream, "peek") else io.BufferedReader(stream, 1 << 18)
        unpack = _UNPACK.get(self._stream.peek(2)[:2])
        self.compressed = unpack is not None
        if unpack is not None:
            self._stream = unpack(self._stream)
        self._at = offset

    @property
    def offset(self) -> int | None:
        """The place in the archive that is read next; None in a compressed archive."""
        return None if self.compressed else self._at

    def __iter__(self) -> Iterator[Member]:
        try:
            yield from self._members()
        except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, tarfile.HeaderError) as error:
            raise tarfile.ReadError(str(error)) from error

    def _members(self) -> Iterator[Member]:
        begin, more = self.offset, dict[str, str]()
        while (header := self._header()) is not None:
            kind, size = header[156:157], int(more.get("size", 0)) or tarfile.nti(header[124:136])  # type: ignore[attr-defined]
            if kind in (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE):
                more |= _pax(self._data(size))
                continue
            if kind == tarfile.GNUTYPE_LONGNAME:
                more["path"] = _text(self._data(size))
                continue
            if kind == tarfile.GNUTYPE_SPARSE or any(key.startswith("GNU.sparse") for key in more):
                raise tarfile.ReadError("sparse files are not read; write the archive without --sparse")
            name = more.get("path") or _name(header)
            data = self._data(size)
            if kind in _REGULAR and not name.endswith("/"):
                yield Member(name, data, begin)
            begin, more = self.offset, {}
        if more:
            raise tarfile.ReadError(_ENDS_EARLY)

    def _header(self) -> bytes | None:
        """Returns the next header, None at the end."""
        header = self._stream.read(BLOCK)
        if not header or header == _EMPTY:
            return None
        if len(header) < BLOCK:
            raise tarfile.ReadError(_ENDS_EARLY)
        # signed sums, which some old programs write, are not looked for
        if sum(header) - sum(header[148:156]) + 256 != tarfile.nti(header[148:156]):  # type: ignore[attr-defined]
            raise tarfile.ReadError("a header is damaged")
        self._at += BLOCK
        return header

    def _data(self, size: int) -> bytes:
        padded = size + -size % BLOCK
        data = self._stream.read(padded)
        if len(data) < padded:
            raise tarfile.ReadError(_ENDS_EARLY)
        self._at += padded
        return data[:size] if padded != size else data


def _name(header: bytes) -> str:
    name = _text(header[:100])
    prefix = _text(header[345:500]) if header[257:263] == tarfile.POSIX_MAGIC[:6] else ""
    return f"{prefix}/{name}" if prefix else name


def _text(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode("utf-8", "surrogateescape")


def _pax(data: bytes) -> dict[str, str]:
    """Reads records `length key=value`, of which the name and the size matter."""
    found, place = {}, 0
    while place < len(data):
        length, space, _ = data[place : place + 20].partition(b" ")
        if not space or not length.isdigit() or not int(length):
            raise tarfile.ReadError("an extended header is damaged")
        record = data[place + len(length) + 1 : place + int(length) - 1]
        key, _, value = record.partition(b"=")
        if key in (b"path", b"size") or key.startswith(b"GNU.sparse"):
            found[key.decode()] = value.decode("utf-8", "surrogateescape")
        place += int(length)
    return found
