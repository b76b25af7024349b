"""extract: unpacks an archive into a folder, and nowhere else."""

import os
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from aexp_torch.errors import SpecError

__all__ = ["extract"]

MAX_BYTES = 1 << 40
_CHUNK = 1 << 20


def extract(archive: str | Path, folder: str | Path, max_bytes: int = MAX_BYTES) -> Path:
    """Unpacks a tar (plain, gzip, bzip2, xz) or a zip archive.

    Members that are or lead outside of the folder are refused: absolute paths, `..`, links that point out of it, devices.
    Permissions are plain (no setuid, nothing writable by others). The archive is unpacked beside the folder first and
    then moved there, so that the folder is either complete or does not exist.

    Args:
      archive: the file.
      folder: made by this; it must not exist, or be empty.
      max_bytes: what is unpacked may not be larger than this.

    Returns:
      The folder.

    Raises:
      SpecError: the archive is none or is damaged, a member is refused, it is too large, or the folder is not empty.

    Source: the extraction filter "data" of Python's tarfile (PEP 706).
    """
    archive, folder = Path(archive), Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SpecError(f"extract: expected a folder that is new or empty, got {folder}. Give another, or remove it.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as temporary:
        place = Path(temporary) / "content"
        place.mkdir()
        try:
            if zipfile.is_zipfile(archive):
                _extract_zip(archive, place, max_bytes)
            elif tarfile.is_tarfile(archive):
                _extract_tar(archive, place, max_bytes)
            else:
                raise SpecError(f"extract: expected a tar or zip archive, got {archive}. Download it again.")
        except (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, RuntimeError, NotImplementedError) as error:
            raise SpecError(
                f"extract: expected an archive whose members stay in their folder, got {archive}:"
                f" {type(error).__name__}: {error}. Nothing was unpacked. Download it again, from somebody you trust."
            ) from error
        if folder.exists():
            folder.rmdir()
        os.replace(place, folder)
    return folder


def _extract_tar(archive: Path, place: Path, max_bytes: int) -> None:
    total = 0
    with tarfile.open(archive, "r:*") as tar:
        for member in tar:
            total += member.size if member.isreg() else 0
            _check_size(archive, total, max_bytes)
            if PurePosixPath(member.name).is_absolute():  # the filter would make it relative
                raise tarfile.AbsolutePathError(member)
            tar.extract(member, place, filter="data")


def _extract_zip(archive: Path, place: Path, max_bytes: int) -> None:
    with zipfile.ZipFile(archive) as zipped:
        for member in zipped.infolist():
            _check_zip_member(member)
        total = 0
        for member in zipped.infolist():
            target = place / member.filename
            if member.is_dir():
                target.mkdir(parents=True, exist_ok=True)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            with zipped.open(member) as source, open(target, "xb") as file:
                while chunk := source.read(_CHUNK):  # what the directory says of sizes may be a lie
                    total += len(chunk)
                    _check_size(archive, total, max_bytes)
                    file.write(chunk)


def _check_zip_member(member: zipfile.ZipInfo) -> None:
    path = PurePosixPath(member.filename.replace("\\", "/"))
    kind = stat.S_IFMT(member.external_attr >> 16)
    if path.is_absolute() or ".." in path.parts or (path.parts and ":" in path.parts[0]):
        raise zipfile.BadZipFile(f"member {member.filename!r} is outside of the folder")
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise zipfile.BadZipFile(f"member {member.filename!r} is a link or a device")


def _check_size(archive: Path, total: int, max_bytes: int) -> None:
    if total > max_bytes:
        raise SpecError(
            f"extract: expected at most {max_bytes} bytes in {archive}, got more. Give max_bytes= if you trust it, and"
            f" have {shutil.disk_usage(archive.parent).free} bytes free."
        )
