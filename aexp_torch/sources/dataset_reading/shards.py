"""ShardPasses: WebDataset's shards, read so that any place in them can be found again."""

import copy
import tarfile
from collections.abc import Iterator
from functools import partial
from itertools import chain, islice
from typing import Any, NamedTuple

import numpy as np
from torch.utils.data import DataLoader

from aexp_torch.errors import SpecError
from aexp_torch.sources.dataset_reading.bad_samples import BadSamples
from aexp_torch.sources.dataset_reading.iterable_passes import private_copy
from aexp_torch.sources.dataset_reading.pass_seed import pass_rng, pass_seed
from aexp_torch.sources.dataset_reading.remote_file import open_stream
from aexp_torch.sources.dataset_reading.retrying import Patience, Unreachable, is_transient
from aexp_torch.sources.dataset_reading.tar_stream import TarStream
from aexp_torch.sources.origin import comes_from

__all__ = ["ShardPasses", "is_sharded", "without_pickles"]

PICKLED = ("pkl", "pickle", "pyd", "pth", "pt")
# Stages that take a sample and give one, or none: what comes out follows from the last sample that went in.
_STEPWISE = {"_map", "_decode", "_rename", "_map_dict", "_to_tuple", "_map_tuple", "_select", "_extract_keys"} | {
    "_rename_keys",
    "_xdecode",
    "_info",
    "_log_keys",
    "_associate",
}
_SPLITTERS = {"single_node_only", "split_by_node", "split_by_worker"}


class Place(NamedTuple):
    """Is a place in a pass, before a sample.

    Args:
      shard: its number in the order of the pass.
      sample: how many samples of it come before.
      offset: the byte where the sample begins, or None where the shard has to be read from its beginning (compressed).
    """

    shard: int = 0
    sample: int = 0
    offset: int | None = 0


class ShardPasses:
    """Begins the passes of a `webdataset` pipeline, and goes on within them.

    What finds, opens and groups the shards is replaced: every slot reads all of them (no splitting by node or worker),
    the order of shards follows from the seed and the pass, remote ones are read on after a failure, one that cannot be
    read is a bad sample, named by its address, and samples with members that would be unpickled are refused. The other
    stages are the user's own. Where each of them handles one sample at a time, a state is a place in a shard, to which
    reading goes directly (in one that is compressed or comes from a pipe: to its beginning); else the pass is read again.

    Args:
      data: the pipeline.
      seed: of the orders of all passes.
      who: how errors name the reader.
      bad_samples: is told of shards that cannot be read.
      read_timeout: seconds without progress.
      shuffle: another order of shards in each pass.
    """

    outlives_errors = False
    begins_again = False

    def __init__(self, data: Any, seed: int, who: str, bad_samples: BadSamples, read_timeout: float, shuffle: bool):
        self._given, self._who, self.seed, self._shuffle = data, who, seed, shuffle
        self._bad_samples, self._read_timeout = bad_samples, read_timeout
        self.renew()

    def renew(self) -> None:
        """Takes a fresh copy of the pipeline, as it was given."""
        stages = private_copy(self._given, self._who).pipeline
        opens, groups = _reading_stages(stages)  # type: ignore[misc]
        self._before = [stage for stage in stages[:opens] if _name(stage) not in _SPLITTERS]
        self._reading = stages[opens : groups + 1]
        self._after = [stage for stage in stages[groups + 1 :] if _name(stage) != "check_empty"]  # the reader does that
        self._turns, self._limit = _repetitions(self._given)
        self._exact = self._turns == 1 and all(_name(stage) in _STEPWISE for stage in self._after)
        self._place = Place()

    def begin(self, pass_number: int) -> Iterator:
        """Returns an iterator over pass number `pass_number`."""
        return self._begin(pass_number, Place())

    def state(self, iterator: Iterator | None) -> dict[str, Any] | None:
        """Returns the place in the pass, or (without an iterator) that a new one begins."""
        if not self._exact:
            return None
        return {"place": list(self._place if iterator is not None else Place())}

    def resume(self, pass_number: int, state: dict[str, Any] | None) -> tuple[Iterator, bool]:
        """Returns an iterator, and whether it goes on where `state` was taken (else it is at the beginning)."""
        if state is None:
            return self.begin(pass_number), False
        return self._begin(pass_number, Place(*state["place"])), True

    def _begin(self, pass_number: int, place: Place) -> Iterator:
        if self._turns == 1:
            return self._turn(pass_number, place)
        turns = (self._turn(pass_number, Place()) for _ in range(self._turns))  # as of with_epoch() and repeat()
        return islice(chain.from_iterable(turns), self._limit)

    def _turn(self, pass_number: int, place: Place) -> Iterator:
        self._place = place
        samples: Any = self._samples(self._shards(pass_number), place)
        for stage in self._after:
            samples = _run(self._seeded(stage, pass_number), samples)
        return iter(samples)

    def _shards(self, pass_number: int) -> Iterator[str]:
        """Yields the addresses in the order of a pass."""
        first = self._before[0]
        resampled = hasattr(first, "worker_seed")
        if resampled:  # ResampledShards, which would draw its seed from the system
            first.deterministic, first.worker_seed, first.epoch = True, partial(int, self.seed), pass_number - 1
        shards: Any = iter(first)
        for stage in self._before[1:]:
            shards = _run(self._seeded(stage, pass_number), shards)
        addresses = (shard["url"] if isinstance(shard, dict) else shard for shard in shards)
        if not self._shuffle or resampled:
            return addresses
        drawn = np.array(list(addresses), object)
        return iter(drawn[pass_rng(self.seed, pass_number).permutation(len(drawn))].tolist())

    def _seeded(self, stage: Any, pass_number: int) -> Any:
        """Has a stage of the pipeline that shuffles follow from our seed."""
        if _name(stage) == "_shuffle":
            arguments = {**stage.kw, "seed": pass_seed(self.seed, pass_number), "rng": None}
            return type(stage)(stage.f, *stage.args[:2], **arguments)
        if _name(stage) == "detshuffle":
            stage.seed, stage.epoch = pass_seed(self.seed, pass_number), -1
        return stage

    def _samples(self, shards: Iterator[str], place: Place) -> Iterator[dict[str, Any]]:
        for number, address in enumerate(islice(shards, place.shard, None), place.shard):
            start = place if number == place.shard else Place(number)
            try:
                yield from self._shard(address, start)
            except Exception as error:
                if isinstance(error, SpecError) and not isinstance(error, Unreachable | _Damaged):
                    raise
                self._bad_samples.add_part(f"shard {address}", address, error)

    def _shard(self, address: str, place: Place) -> Iterator[dict[str, Any]]:
        """Yields the samples of a shard from a place on, after failures that may pass, too."""
        patience = Patience(address, self._read_timeout, self._who)
        while True:
            try:
                for sample, after in self._attempt(address, place):
                    self._place = place = after
                    patience.progress()
                    yield sample
                self._place = Place(place.shard + 1)
                return
            except tarfile.TarError as error:
                raise _Damaged(
                    f"{self._who}: expected a tar archive at {address}, got {type(error).__name__} after"
                    f" {place.sample} samples: {error}. Write it again"
                ) from error
            except Exception as error:
                if isinstance(error, Unreachable) or not is_transient(error):
                    raise
                patience.wait(error)

    def _attempt(self, address: str, place: Place) -> Iterator[tuple[dict[str, Any], Place]]:
        """Yields samples, each with the place after it."""
        offset = place.offset or 0
        stream, there = self._open(address, offset)
        skipped = 0 if there and place.offset is not None else place.sample
        with stream:
            files = _Files(stream, address, offset if there else 0, *self._selection())
            number = place.sample - skipped
            for sample in self._group(files):
                number += 1
                if skipped:
                    skipped -= 1
                    continue
                refuse_pickled(sample, self._who, address)
                yield sample, Place(place.shard, number, files.begin)

    def _open(self, address: str, offset: int) -> tuple[Any, bool]:
        opener = self._reading[0]
        if type(opener).__name__ == "FileCache":
            return next(iter(opener(iter([{"url": address}]))))["stream"], False

        def otherwise(address: str) -> Any:
            from webdataset.gopen import gopen

            return gopen(address)

        return open_stream(address, offset, self._read_timeout, self._who, otherwise)

    def _selection(self) -> tuple[Any, Any]:
        options = {key: value for stage in self._reading for key, value in getattr(stage, "kw", {}).items()}
        return options.get("select_files"), options.get("rename_files")

    def _group(self, files: "_Files") -> Iterator[dict[str, Any]]:
        from webdataset.tariterators import group_by_keys

        last = self._reading[-1]
        if _name(last) == "group_by_keys":
            return last.f(files, *last.args, **last.kw)
        return group_by_keys(files)


class _Damaged(SpecError):
    """Says that a shard is no archive, or ends too early."""


class _Files:
    """Yields the members of a tar stream, as `group_by_keys` takes them.

    Attributes:
      begin: the byte where the member that was read last begins, which is the first of the sample after the one that was
        grouped last; None in a compressed archive.
    """

    def __init__(self, stream: Any, address: str, offset: int, select: Any, rename: Any):
        self._stream, self._address, self._offset = stream, address, offset
        self._select, self._rename = select, rename
        self.begin: int | None = offset

    def __iter__(self) -> Iterator[dict[str, Any]]:
        tar = TarStream(self._stream, self._offset)
        for name, data, begin in tar:
            if name.startswith("__"):
                continue
            name = self._rename(name) if self._rename else name
            if self._select is not None and not self._select(name):
                continue
            self.begin = begin
            yield {"fname": name, "data": data, "__url__": self._address}
        self.begin = tar.offset


def refuse_pickled(sample: dict[str, Any], who: str, where: str) -> None:
    """Raises a SpecError where a member of a sample would be unpickled."""
    for key in sample:
        if not key.startswith("__") and key.rpartition(".")[2].lower() in PICKLED:
            raise SpecError(
                f"{who}: expected members that are plain data, got {sample.get('__key__')}.{key} in {where}, which would be"
                " unpickled: that runs whatever code its author put there. Write it as .npy, .npz, .json, .txt or .cls, or"
                " leave it out with select_files."
            )


def without_pickles(data: Any, who: str) -> Any:
    """Returns another webdataset pipeline, in which samples are checked before they are decoded.

    Raises:
      SpecError: a `WebLoader`, which reads in processes of its own.
    """
    if hasattr(data, "datasets"):  # RandomMix, RoundRobin
        mixed = copy.copy(data)
        mixed.datasets = [without_pickles(each, who) for each in data.datasets]
        return mixed
    if not hasattr(data, "pipeline"):
        return data
    if any(isinstance(stage, DataLoader) for stage in data.pipeline):
        raise SpecError(
            f"{who}: expected a WebDataset, got a {type(data).__name__} around one. Give the WebDataset itself: Loader has"
            " the worker processes (num_workers=)."
        )
    checked = copy.copy(data)
    checked.pipeline = []
    for stage in data.pipeline:
        if _name(stage) in ("_map", "_decode", "_xdecode"):
            checked.pipeline.append(_Refuse(who))
        checked.pipeline.append(without_pickles(stage, who) if comes_from("webdataset")(stage) else stage)
    return checked


class _Refuse:
    """Is a stage of a pipeline that checks samples."""

    def __init__(self, who: str):
        self._who = who

    def __call__(self, samples: Iterator) -> Iterator:
        for sample in samples:
            if isinstance(sample, dict):
                refuse_pickled(sample, self._who, str(sample.get("__url__", "the pipeline")))
            yield sample


def is_sharded(data: Any) -> bool:
    """Tells whether data is a `webdataset` pipeline that reads shards with webdataset's own stages."""
    return comes_from("webdataset")(data) and hasattr(data, "pipeline") and _reading_stages(data.pipeline) is not None


def _reading_stages(stages: list) -> tuple[int, int] | None:
    """Returns which stages open shards and group their members; None where that is done in another way."""
    names = [_name(stage) for stage in stages]
    for first, last in (("StreamingOpen", "group_by_keys"), ("FileCache", "group_by_keys")):
        if first in names and last in names:
            return names.index(first), names.index(last)
    if "tarfile_samples" in names[1:]:
        return names.index("tarfile_samples"), names.index("tarfile_samples")
    return None


def _repetitions(data: Any) -> tuple[int, int | None]:
    """Returns how often a pass goes through the shards, and how many samples it has at most."""
    limit = getattr(data, "nsamples", -1)
    return getattr(data, "repetitions", 1), limit if limit > 0 else None


def _name(stage: Any) -> str:
    function = getattr(stage, "f", stage)
    return getattr(function, "__name__", type(function).__name__)


def _run(stage: Any, samples: Iterator) -> Any:
    return stage.run(samples) if hasattr(stage, "run") else stage(samples)
