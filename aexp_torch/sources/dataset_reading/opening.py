"""open_reader: one door for every kind of data."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from aexp_torch.errors import SpecError
from aexp_torch.sources.dataset_reading.bad_samples import BadSamples
from aexp_torch.sources.dataset_reading.columns import Columns
from aexp_torch.sources.dataset_reading.indexed_reader import IndexedReader
from aexp_torch.sources.dataset_reading.iterable_passes import IterablePasses
from aexp_torch.sources.dataset_reading.loader_passes import LoaderPasses
from aexp_torch.sources.dataset_reading.map_style import MapStyle
from aexp_torch.sources.dataset_reading.minibatches import CollatedBatches, SampleBatches
from aexp_torch.sources.dataset_reading.reader import Reader
from aexp_torch.sources.dataset_reading.reading_options import ReadingOptions
from aexp_torch.sources.dataset_reading.resumable_stream import ResumableStream
from aexp_torch.sources.dataset_reading.sample_format import SampleFormat
from aexp_torch.sources.dataset_reading.shuffle_buffer import ShuffleBuffer
from aexp_torch.sources.dataset_reading.stream_reader import StreamReader

__all__ = ["open_reader"]


def open_reader(
    data: Any,
    *,
    batch_size: int | None,
    shuffle: bool,
    seed: int,
    slot: int = 0,
    num_slots: int = 1,
    drop_last: bool = False,
    shuffle_buffer: int = 1000,
    text_length: int | None = None,
    world_size: int = 1,
    uneven: Literal["cycle", "pad", "stop"] = "cycle",
    in_turn: bool = False,
    on_bad_sample: Literal["raise", "skip"] = "raise",
    max_bad_samples: int | None = 100,
    who: str = "DatasetEnv",
) -> Reader:
    """Opens data for reading, in this process, and checks its first sample.

    | data | keys | order |
    |---|---|---|
    | dict (nested) or tuple of arrays, one array, TensorDataset | its own; `x`, `y` | a permutation of each pass |
    | `__len__` and `__getitem__`: torch, TFDS data source, Hugging Face, a list of samples | the samples' | the same |
    | iterable (IterableDataset, IterDataPipe, WebDataset) of samples | the samples' | its own, or a shuffle buffer |
    | DataLoader, StatefulDataLoader | its batches' | its own |

    An iterable has to give the whole stream to every slot (no splitting by node). One with a `state_dict`, or whose
    iterators have one, goes on from there; another is read again and skipped, with a UserWarning. Text is uint8 UTF-8,
    zero-padded.

    Args:
      data: see above. It is neither changed nor, where it is iterable, iterated itself: a copy is.
      batch_size: rows of a minibatch; None for a DataLoader, which keeps its own batching.
      shuffle: a new order in each pass.
      seed: of the orders of all passes, with the number of the pass; the same in all slots.
      slot: number of this reader among `num_slots`, which share a pass: minibatches slot, slot + num_slots, ...
      num_slots: number of readers that share a pass.
      drop_last: leave out the short last minibatch, instead of padding it.
      shuffle_buffer: samples held to draw from, where an iterable is shuffled.
      text_length: bytes of every text; longer ones are cut at a character boundary. None takes the longest of each key
        where the data has at most 100,000 samples (by reading all), else 256.
      world_size: a pass is made even: its minibatches become a multiple of this.
      uneven: how. "cycle": its first minibatches come once more, in order; "pad": minibatches come whose rows are all
        masked; "stop": the rest is dropped. Where the data has no length, a slot reads on to the end of the multiple
        ("stop"), or keeps the first `world_size - 1` minibatches of the pass ("cycle").
      in_turn: where the data has no length, a pass begins at the slot after the one that had the end of the pass before,
        so that slots that are asked in turn give the common order.
      on_bad_sample: "raise", or "skip": a sample that raises or does not look like the first is left out: its row is
        masked. A DataLoader's bad batch is left out as a whole. An iterable that raises cannot go on.
      max_bad_samples: how many may be left out, each counted once; None for any number.
      who: how errors name the reader.

    Raises:
      SpecError: data of another kind or without samples, arguments that do not fit it, ragged samples, bad samples.
    """
    options = ReadingOptions(
        batch_size,
        shuffle,
        seed,
        slot,
        num_slots,
        drop_last,
        shuffle_buffer,
        text_length,
        who,
        world_size,
        uneven,
        in_turn,
        on_bad_sample,
        max_bad_samples,
    )
    for _, fits, read in _KINDS:
        if fits(data):
            return read(data, options)
    kinds = "; ".join(kind for kind, _, _ in _KINDS)
    raise SpecError(f"{who}: expected data to be one of: {kinds}; got {type(data).__name__}. {_remedy(data)}")


def _read_columns(data: Any, options: ReadingOptions) -> Reader:
    data = data.tensors if isinstance(data, TensorDataset) else data
    return _read_indexed(Columns(data, options.who, options.text_length), data, options)


def _read_map_style(data: Any, options: ReadingOptions) -> Reader:
    bad_samples = _bad_samples(data, "sample", options)
    return _read_indexed(MapStyle(data, options.who, options.text_length, bad_samples), data, options)


def _read_indexed(samples: Columns | MapStyle, data: Any, options: ReadingOptions) -> Reader:
    _check_batch_size(options)
    _check_length(len(samples), data, options)
    _check_even(options.count_batches(len(samples), options.batch_size or 1), data, options)
    return IndexedReader(samples, options)


def _read_iterable(data: Any, options: ReadingOptions) -> Reader:
    _check_batch_size(options)
    num_samples = _length(data)
    _check_length(num_samples, data, options)
    total = None if num_samples is None else options.count_batches(num_samples, options.batch_size or 1)
    _check_even(total, data, options)
    passes = IterablePasses(data, options.seed, options.who)
    bad_samples = _bad_samples(data, "sample", options)
    stream = ResumableStream(passes, _format(options), "sample", type(data).__name__, options.who, bad_samples)
    order = ShuffleBuffer(stream, options.shuffle_buffer, options.seed, options.who) if options.shuffle else stream
    return StreamReader(SampleBatches(order, stream.example, options), total, options, bad_samples)


def _read_loader(data: DataLoader, options: ReadingOptions) -> Reader:
    own = {"batch_size": options.batch_size is not None, "shuffle": options.shuffle, "drop_last": options.drop_last}
    if any(own.values()):
        given = ", ".join(f"{name}={getattr(options, name)!r}" for name, is_given in own.items() if is_given)
        raise SpecError(
            f"{options.who}: expected batch_size=None, shuffle=False, drop_last=False with a {type(data).__name__}, "
            f"which keeps its own batching, got {given}. Give these to the {type(data).__name__}."
        )
    exact = not (isinstance(data.dataset, IterableDataset) and data.num_workers)
    total = _length(data) if exact else None
    _check_length(total, data, options)
    _check_even(total, data, options)
    passes = LoaderPasses(data, options.seed, options.who)
    bad_samples = _bad_samples(data, "batch", options)
    stream = ResumableStream(passes, _format(options, True), "batch", type(data).__name__, options.who, bad_samples)
    batch_size = data.batch_size or getattr(data.batch_sampler, "batch_size", None)
    return StreamReader(CollatedBatches(stream, batch_size, options.who), total, options, bad_samples)


def _bad_samples(data: Any, noun: str, options: ReadingOptions) -> BadSamples:
    return BadSamples(options.on_bad_sample, options.max_bad_samples, type(data).__name__, noun, options.who)


def _format(options: ReadingOptions, batched: bool = False) -> Callable[[Any], SampleFormat]:
    return lambda first: SampleFormat(first, options.who, options.text_length, batched=batched)


def _check_batch_size(options: ReadingOptions) -> None:
    if options.batch_size is None:
        raise SpecError(
            f"{options.who}: expected batch_size to be an integer from 1 on, got None, which is for data that is a "
            "DataLoader. Say how many samples a minibatch has."
        )


def _check_length(length: int | None, data: Any, options: ReadingOptions) -> None:
    if length == 0:
        raise SpecError(
            f"{options.who}: expected at least one sample in {type(data).__name__}, got none. Check its path."
        )
    if length is not None and options.drop_last and length < (options.batch_size or 1):
        raise SpecError(
            f"{options.who}: expected at least {options.batch_size} samples, because of drop_last=True, got {length}. "
            "Choose a smaller batch_size or drop_last=False."
        )


def _check_even(total: int | None, data: Any, options: ReadingOptions) -> None:
    if total is not None and not options.evened(total):
        raise SpecError(
            f"{options.who}: expected at least {options.world_size} minibatches in a pass over {type(data).__name__},"
            f" one for each rank, because of uneven='stop', got {total}. Choose a smaller batch_size, or 'cycle' or 'pad'."
        )


def _length(data: Any) -> int | None:
    try:
        return len(data)
    except (TypeError, NotImplementedError):
        return None


def _remedy(data: Any) -> str:
    if isinstance(data, Iterator):
        return "An iterator can be read only once: give what it was made from, or a class with __iter__."
    return "Wrap it in a torch.utils.data.Dataset."


def _is_columns(data: Any) -> bool:
    if isinstance(data, tuple):
        return bool(data) and all(_is_columns(member) for member in data)
    if isinstance(data, list):  # [x, y]; any other list is one of samples
        return len(data) == 2 and all(isinstance(member, np.ndarray | torch.Tensor) for member in data)
    return isinstance(data, Mapping | np.ndarray | torch.Tensor | TensorDataset)


def _is_map_style(data: Any) -> bool:
    has_both = hasattr(data, "__len__") and hasattr(data, "__getitem__")
    return has_both and not isinstance(data, str | bytes | IterableDataset | type)


def _is_iterable(data: Any) -> bool:
    one_shot = isinstance(data, Iterator) and not isinstance(data, IterableDataset)
    return hasattr(data, "__iter__") and not one_shot and not isinstance(data, str | bytes | type)


# name, what makes it out, who reads it; the first that fits is taken
_KINDS: list[tuple[str, Callable[[Any], bool], Callable[[Any, ReadingOptions], Reader]]] = [
    ("a torch DataLoader", lambda data: isinstance(data, DataLoader), _read_loader),
    ("a dict, tuple or TensorDataset of arrays", _is_columns, _read_columns),
    ("a map-style dataset (__len__ and __getitem__)", _is_map_style, _read_map_style),
    ("an iterable that can be iterated again (__iter__)", _is_iterable, _read_iterable),
]
