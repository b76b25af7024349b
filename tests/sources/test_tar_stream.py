"""Tar streams: the same members as Python's tarfile, and the places where they begin."""

import io
import tarfile

import pytest

from aexp_torch.sources.dataset_reading.tar_stream import TarStream

FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}
NAMES = ["a.txt", "folder/b.bin", "x" * 60 + "/" + "y" * 90 + ".txt", "späßchen.cls", "empty", "block"]


def archive(kind: str, compression: str = "") -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=f"w:{compression}", format=FORMATS[kind]) as tar:
        folder = tarfile.TarInfo("folder/")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        for number, name in enumerate(NAMES):
            info = tarfile.TarInfo(name)
            info.size, info.mtime = {"empty": 0, "block": 1024}.get(name, 100 + number), 1.5
            tar.addfile(info, io.BytesIO(bytes([number]) * info.size))
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "a.txt"
        tar.addfile(link)
    return file.getvalue()


def expected(content: bytes) -> list[tuple[str, bytes]]:
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        return [(member.name, tar.extractfile(member).read()) for member in tar if member.isreg()]


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("compression", ["", "gz", "bz2", "xz"])
def test_members_are_those_of_tarfile(kind, compression):
    content = archive(kind, compression)
    stream = TarStream(io.BytesIO(content))
    found = list(stream)
    assert [(member.name, member.data) for member in found] == expected(content)
    assert stream.compressed == bool(compression)
    assert all((member.offset is None) == bool(compression) for member in found)


@pytest.mark.parametrize("kind", FORMATS)
def test_reading_goes_on_at_any_member(kind):
    content = archive(kind)
    whole = list(TarStream(io.BytesIO(content)))
    for place, member in enumerate(whole):
        assert list(TarStream(io.BytesIO(content[member.offset :]), member.offset)) == whole[place:]


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("compression", ["", "gz"])
def test_what_is_cut_off_is_noticed(kind, compression):
    content, last = archive(kind, compression), list(TarStream(io.BytesIO(archive(kind))))[-1].offset
    for end in (last + 700, last + 100) if not compression else (len(content) // 3, len(content) // 2):
        with pytest.raises(tarfile.ReadError):
            list(TarStream(io.BytesIO(content[:end])))


def test_damage_is_noticed():
    content = bytearray(archive("ustar"))
    content[3 * 512 + 3] ^= 1  # in the second header of a file
    with pytest.raises(tarfile.ReadError, match="header is damaged"):
        list(TarStream(io.BytesIO(bytes(content))))
    with pytest.raises(tarfile.ReadError):
        list(TarStream(io.BytesIO(b"no archive at all" * 100)))
    assert list(TarStream(io.BytesIO(b""))) == []


def test_numbers_of_any_size_and_extended_headers():
    info = tarfile.TarInfo("big")
    info.size = 9 * 2**30  # in base 256
    header = info.tobuf(tarfile.GNU_FORMAT)
    with pytest.raises(tarfile.ReadError, match="unexpected end"):
        list(TarStream(io.BytesIO(header + bytes(512))))
    bad = tarfile.TarInfo("pax")
    bad.type, bad.size = tarfile.XHDTYPE, 12
    with pytest.raises(tarfile.ReadError, match="extended header is damaged"):
        list(TarStream(io.BytesIO(bad.tobuf(tarfile.USTAR_FORMAT) + b"no numbers !".ljust(512, b"\0"))))
