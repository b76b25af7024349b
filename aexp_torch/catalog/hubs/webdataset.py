"""from_webdataset: shards of WebDataset, read one after the other; nothing in them is unpickled."""

import json
import os
import time
from collections.abc import Iterator, Mapping
from typing import Any

from torch.utils.data import IterableDataset

from aexp_torch.catalog.hubs.features import Features
from aexp_torch.catalog.hubs.fetching import TRIES, WAIT, Copy
from aexp_torch.errors import SpecError
from aexp_torch.sources.dataset import DatasetEnv

__all__ = ["Shards", "from_webdataset"]


def from_webdataset(
    urls: str,
    features: str,
    *,
    splits: Mapping[str, str] | None = None,
    split: str = "train",
    target: str | None = None,
    name: str | None = None,
    language: str = "",
    path: str | os.PathLike | None = None,
    download: bool = False,
    size: int | None = None,
    licence: str = "",
    home: str = "",
    **options: Any,
) -> DatasetEnv:
    """Streams the shards of a WebDataset: tar files whose members of one name are one sample.

    Of the members `.txt` is text, `.cls` a number, `.json` an object; others are files, whose bytes the features read.
    What comes over the network is not kept. It goes on exactly where a state was taken: at its shard.

    Args:
      urls: shards, with braces: `"https://host/train-{0000..0575}.tar"`; `{split}` stands for one of `splits`.
      features: what is read of a sample: `"image=jpg:image(64,64) caption=txt:text(128)"`; see `Features`.
      splits: what to write for `{split}`: `{"train": "train-{0000..0575}"}`.
      split: one of them.
      target: the key of y; None for the last feature.
      name: names the source; the default is the name of the shards.
      language: of its text.
      path: a folder with the shards, or a shard.
      download: whether they may be read over the network.
      size: bytes, for messages.
      licence: for messages.
      home: for messages.
      options: of `DatasetEnv`; `shuffle` draws from a buffer.

    Raises:
      SpecError: there is no such split; when it is opened: no shards and no permission to read them over the network.
    """
    if splits is not None:
        if split not in splits:
            raise SpecError(f"{name}: expected split to be one of {sorted(splits)}, got {split!r}.")
        urls = urls.replace("{split}", splits[split])
    name = name or urls.rpartition("/")[2].partition("{")[0].strip("-_")
    copy = Copy(name, "", path, None, download, size, licence, home, streamed=True)
    parsed = Features(features)
    options = {"batch_size": 32} | options
    options["specs"] = parsed.specs() | dict(options.get("specs") or {})
    context = f"text:{language}" if language else "text"
    options["modalities"] = parsed.modalities(context) | dict(options.get("modalities") or {})
    return DatasetEnv(Shards(copy, urls, features), target=target or parsed.all[-1].key, name=name, **options)


class Shards(IterableDataset):
    """Iterates over the samples of shards, all of them in every process.

    Args:
      copy: what may be read.
      urls: shards, with braces.
      features: what is read of a sample.
    """

    def __init__(self, copy: Copy, urls: str, features: str):
        self._copy, self._urls, self._features = copy, urls, features

    def __iter__(self) -> "_Samples":
        return _Samples(self._shards(), Features(self._features), self._copy.who)

    def _shards(self) -> list[str]:
        import braceexpand

        urls = list(braceexpand.braceexpand(self._urls))
        if self._copy.path is not None:
            folder = self._copy.folder
            names = [url.rpartition("/")[2] for url in urls]
            found = [folder] if folder.is_file() else [folder / name for name in names if (folder / name).exists()]
            if not found:
                raise SpecError(
                    f"{self._copy.who}: expected shards {names[0]} ... {names[-1]} in {folder}, there are none. Check"
                    " path= and split=."
                )
            return [str(file) for file in found]
        if "://" in self._urls and not self._copy.download:
            raise SpecError(self._copy.refusal())
        return urls


class _Samples:
    """Is one pass over shards, which knows its place: a shard, and how many samples of it are read."""

    def __init__(self, shards: list[str], features: Features, who: str):
        self._shards, self._features, self._who = shards, features, who
        self._shard, self._read = 0, 0
        self._samples: Iterator[dict] | None = None

    def __iter__(self) -> "_Samples":
        return self

    def __next__(self) -> dict[str, Any]:
        while self._shard < len(self._shards):
            if self._samples is None:
                self._samples = self._opened(self._read)
            sample = next(self._samples, None)
            if sample is not None:
                self._read += 1
                return self._features.read({key: _decoded(key, value) for key, value in sample.items()})
            self._shard, self._read, self._samples = self._shard + 1, 0, None
        raise StopIteration

    def state_dict(self) -> dict[str, int]:
        return {"shard": self._shard, "read": self._read}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self._shard, self._read, self._samples = state["shard"], state["read"], None

    def _opened(self, skip: int) -> Iterator[dict]:
        """Yields samples of a shard from some place on; where the connection fails, the shard is opened anew."""
        import webdataset

        url, failures = self._shards[self._shard], 0
        while True:
            try:
                for index, sample in enumerate(webdataset.tariterators.tarfile_samples([{"url": url}])):
                    if index >= skip:
                        yield sample
                        skip, failures = index + 1, 0
                return
            except OSError as error:
                failures += 1
                problem = error
            if failures >= TRIES:
                raise SpecError(
                    f"{self._who}: expected to read {url}, got {TRIES} times {type(problem).__name__}: {problem}. Check"
                    " the network, or give path= of a copy."
                ) from problem
            time.sleep(WAIT * 2 ** (failures - 1))


def _decoded(key: str, value: Any) -> Any:
    """Returns text, numbers and objects of a sample's members; files stay bytes."""
    if key.startswith("__") or not isinstance(value, bytes):
        return value
    kind = key.rpartition(".")[2]
    if kind in ("txt", "text", "cls", "id"):
        text = value.decode()
        return int(text) if kind == "cls" else text
    return json.loads(value) if kind == "json" else value
