"""from_minari: a Minari dataset of offline reinforcement learning, as the stream that was recorded."""

import os
import zlib
from pathlib import Path
from typing import Any

from aexp_torch.catalog.hubs.fetching import Copy, cache_folder, retried
from aexp_torch.errors import SpecError
from aexp_torch.provider import import_provider
from aexp_torch.replay import ReplayBuffer, import_minari

__all__ = ["MinariRecording", "from_minari"]


def from_minari(
    dataset: str,
    *,
    name: str | None = None,
    path: str | os.PathLike | None = None,
    cache_dir: str | os.PathLike | None = None,
    download: bool = False,
    size: int | None = None,
    licence: str = "",
    home: str = "https://minari.farama.org/",
    spaces: str = "",
    **options: Any,
) -> "MinariRecording":
    """Streams the recorded episodes of a Minari dataset, one lane (extra `minari`); answers are checked and ignored.

    At the first use it is downloaded to Minari's own folder, and copied to files that are read with random access.

    Observation: the recorded one, and `action:recorded`, what was answered to it.
    Action: that of the environment.

    Args:
      dataset: `"D4RL/door/human-v2"`.
      name: names the source; the default is the dataset.
      path: a folder that has the dataset, as Minari's own (`MINARI_DATASETS_PATH`) has.
      cache_dir: see `cache_folder`.
      download: whether it may be downloaded.
      size: bytes to download, for messages.
      licence: for messages.
      home: for messages.
      spaces: for people: the sizes of observations and actions.
      options: of `ReplayBuffer`.

    Raises:
      SpecError: when it is opened: it is not there and may not be downloaded.
      MissingDependencyError: when it is opened: Minari is not installed.
    """
    name = name or dataset
    copy = Copy(name, f"minari/{dataset}", path, cache_dir, download, size, licence, home, streamed=True)
    return MinariRecording(copy, dataset, name, **options)


class MinariRecording(ReplayBuffer):
    """Shows the episodes of a Minari dataset, which it imports when it is opened for the first time.

    Args:
      copy: what may be read.
      dataset: its id.
      name: names the source.
      options: of `ReplayBuffer`.
    """

    def __init__(self, copy: Copy, dataset: str, name: str, **options: Any):
        origin = "" if copy.path is None else f"-{zlib.crc32(str(copy.folder.absolute()).encode()):08x}"
        self.copy, self.dataset = copy, dataset
        self.recording = Copy(name, f"recordings/{dataset}{origin}", None, copy.cache_dir, download=True)
        super().__init__(path=self.recording.folder, source=name, **options)

    def on_open(self) -> None:
        """Imports the dataset where that was not done before."""
        minari = import_provider("minari", "minari", self.copy.who)
        self.recording.get(lambda part: import_minari(self._found(minari), part, source=self.source))
        super().on_open()

    def _found(self, minari: Any) -> Any:
        """Returns the dataset."""
        root = self.copy.folder if self.copy.path is not None else minari_folder()
        data = next((place for place in (root / self.dataset / "data", root / "data") if place.exists()), None)
        if data is not None:
            return minari.MinariDataset(data)
        if self.copy.path is not None:
            raise SpecError(
                f"{self.copy.who}: expected {self.dataset}/data in {root}, it is not there. Check path=; Minari keeps its"
                f" datasets in {minari_folder()}."
            )
        if not self.copy.download:
            raise SpecError(self.copy.refusal())
        return retried(lambda: minari.load_dataset(self.dataset, download=True), self.copy.who, self.dataset)


def minari_folder() -> Path:
    """Returns where Minari keeps its datasets."""
    return Path(os.environ.get("MINARI_DATASETS_PATH") or Path.home() / ".minari" / "datasets")


def is_here(dataset: str) -> bool:
    """Tells whether Minari has a dataset, or it was imported before."""
    imported = cache_folder() / "recordings" / dataset / ".complete"
    return imported.exists() or (minari_folder() / dataset / "data").exists()
