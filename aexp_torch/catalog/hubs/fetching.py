"""What is downloaded, when it may be, and where it is kept: `Copy` is one dataset of a hub on this machine."""

import http.client
import os
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aexp_torch.catalog.entry import in_bytes
from aexp_torch.errors import SpecError

__all__ = ["Copy", "cache_folder", "fetch_file", "retried"]

TRIES = 4
WAIT = 1.0  # seconds before the second try; doubled before each further one
TIMEOUT = 30.0  # seconds in which something has to arrive
LOCK_TIMEOUT = 6 * 3600.0  # seconds for another process to finish the same download
CHUNK = 1 << 20
CLIENTS = ("httpx", "httpcore", "requests", "urllib3", "aiohttp")  # whose errors are of the network
FINAL_STATUS = (400, 401, 403, 404, 410, 451)


def cache_folder(cache_dir: str | os.PathLike | None = None) -> Path:
    """Returns where downloads are kept.

    Args:
      cache_dir: the folder; None for that of the environment variable `AEXP_DATA`, else `~/.cache/aexp_torch`.
    """
    return Path(cache_dir or os.environ.get("AEXP_DATA") or "~/.cache/aexp_torch").expanduser()


@dataclass(frozen=True)
class Copy:
    """Is the copy of a dataset on this machine: one that somebody has, or a download, made once and kept.

    Args:
      who: the dataset, for messages.
      place: where a download is kept, below the cache folder: `"huggingface/stanfordnlp/snli/plain_text/train"`.
      path: a copy that is there already, in the provider's own format; None for the download.
      cache_dir: see `cache_folder`.
      download: whether it may be downloaded.
      size: bytes to download, None where unknown.
      licence: of the data, "" where nobody says.
      home: where people get it themselves.
      by_hand: why it cannot be downloaded here: a registration, say; "" where it can.
      streamed: nothing is kept: what is read comes over the network each time.
    """

    who: str
    place: str
    path: str | os.PathLike | None = None
    cache_dir: str | os.PathLike | None = None
    download: bool = False
    size: int | None = None
    licence: str = ""
    home: str = ""
    by_hand: str = ""
    streamed: bool = False

    @property
    def folder(self) -> Path:
        """Where it is, or will be."""
        return Path(self.path).expanduser() if self.path is not None else cache_folder(self.cache_dir) / self.place

    @property
    def here(self) -> bool:
        """Whether it is there, whole."""
        return self.folder.exists() if self.path is not None else (self.folder / ".complete").exists()

    def get(self, download: Callable[[Path], Any]) -> Path:
        """Returns where it is; it is downloaded first where it is not there, and may be.

        Args:
          download: puts the files into an empty folder.

        Raises:
          SpecError: it is not there; the message says what to do.
        """
        if self.here:
            return self.folder
        if self.path is not None:
            raise SpecError(f"{self.who}: expected data at {self.folder}, nothing is there. Check path=.")
        if self.by_hand or not self.download:
            raise SpecError(self.refusal())
        self._download(download)
        return self.folder

    def refusal(self) -> str:
        """Says in one line that it is not there, what it would take, and what to do."""
        size = "size unknown" if self.size is None else in_bytes(self.size)
        licence = f"licence {self.licence}" if self.licence else "licence unknown"
        where = "on this machine" if self.streamed else f"in {self.folder}"
        came = "it would be read over the network" if self.streamed else "it is not there"
        home = f" (see {self.home})" if self.home else ""
        remedy = (
            f"{self.by_hand} Then give path= of your copy" if self.by_hand else "Give download=True, or path= of a copy"
        )
        return f"{self.who}: expected its data {where}, {came} ({size}, {licence}). {remedy}{home}."

    def _download(self, download: Callable[[Path], Any]) -> None:
        """Downloads to a folder beside, which gets its name when it is whole."""
        import filelock

        self.folder.parent.mkdir(parents=True, exist_ok=True)
        part = self.folder.with_name(f"{self.folder.name}.part")
        try:
            with filelock.FileLock(f"{self.folder}.lock", timeout=LOCK_TIMEOUT):
                if self.here:  # another process was faster
                    return
                part.mkdir(exist_ok=True)
                download(part)
                (part / ".complete").touch()
                shutil.rmtree(self.folder, ignore_errors=True)
                part.rename(self.folder)
        except filelock.Timeout as error:
            raise SpecError(
                f"{self.who}: expected another process to finish its download to {self.folder} within"
                f" {LOCK_TIMEOUT:.0f} s, it has not. Remove {self.folder}.lock if there is none."
            ) from error


def retried(
    action: Callable[[], Any], who: str, what: str, worth: Callable[[Exception], bool] = lambda error: True
) -> Any:
    """Returns what an action returns; it is tried four times, with a pause of 1, 2 and 4 seconds, while the network fails.

    Args:
      action: to be done.
      who: who wants it, for messages.
      what: what is downloaded, for messages.
      worth: tells of an error whether another try may help.

    Raises:
      SpecError: it fails for good, or every time.
    """
    for attempt in range(TRIES):
        try:
            return action()
        except Exception as error:
            if not _is_of_the_network(error):
                raise
            final = _status(error) in FINAL_STATUS or not worth(error)
            if final or attempt == TRIES - 1:
                tries = "" if final else f" {TRIES} times"
                said = " ".join(str(error).split())[:300].rstrip(".")
                raise SpecError(
                    f"{who}: expected to download {what}, got{tries} {type(error).__name__}: {said}. Check the network,"
                    " and whether it is still there; or give path= of a copy."
                ) from error
            time.sleep(WAIT * 2**attempt)
    raise AssertionError


def _status(error: BaseException | None) -> int | None:
    """Returns the status of HTTP that led to an error."""
    if error is None:
        return None
    status = getattr(error, "code", None) or getattr(getattr(error, "response", None), "status_code", None)
    return status or _status(error.__cause__)


def _is_of_the_network(error: Exception) -> bool:
    modules = {kind.__module__.partition(".")[0] for kind in type(error).__mro__}
    return isinstance(error, OSError | http.client.HTTPException) or not modules.isdisjoint(CLIENTS)


def fetch_file(url: str, file: Path, who: str) -> Path:
    """Downloads a file, and goes on where a failed try has left it.

    Args:
      url: where it is.
      file: where it goes; it is there only when it is whole.
      who: who needs it, for messages.

    Raises:
      SpecError: see `retried`.
    """
    if file.exists():
        return file
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f"{file.name}.part")
    retried(lambda: _fetch_rest(url, part), who, url)
    part.rename(file)
    return file


def _fetch_rest(url: str, part: Path) -> None:
    begun = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": "aexp-torch"} | ({"Range": f"bytes={begun}-"} if begun else {})
    try:
        answer = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416 and begun:  # nothing is left, or it is another file now
            part.unlink()
        raise
    with answer:
        goes_on = answer.status == 206
        expected = answer.headers.get("Content-Length")
        with part.open("ab" if goes_on else "wb") as file:
            before = file.tell()
            while chunk := answer.read1(CHUNK):  # `read` drops what came of a chunk before the connection ended
                file.write(chunk)
            came = file.tell() - before
    if expected is not None and came != int(expected):
        raise ConnectionError(f"the connection ended after {came} of {expected} bytes")
