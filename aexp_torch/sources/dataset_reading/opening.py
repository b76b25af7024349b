"""open_reader: one door for every kind of data."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from aexp_torch.errors import SpecError
from aexp_torch.sources.dataset_reading.arrow_rows import ArrowRows
from aexp_torch.sources.dataset_reading.bad_samples import BadSamples
from aexp_torch.sources.dataset_reading.columns import Columns
from aexp_torch.sources.dataset_reading.conversions import Conversions
from aexp_torch.sources.dataset_reading.declared import NOTHING, Declared
from aexp_torch.sources.dataset_reading.deep_lake_rows import DeepLakeRows
from aexp_torch.sources.dataset_reading.features import as_featured
from aexp_torch.sources.dataset_reading.indexed_reader import IndexedReader
from aexp_torch.sources.dataset_reading.iterable_passes import IterablePasses
from aexp_torch.sources.dataset_reading.loader_passes import LoaderPasses
from aexp_torch.sources.dataset_reading.map_style import MapStyle
from aexp_torch.sources.dataset_reading.minibatches import CollatedBatches, SampleBatches
from aexp_torch.sources.dataset_reading.reader import Reader
from aexp_torch.sources.dataset_reading.reading_options import ReadingOptions
from aexp_torch.sources.dataset_reading.resumable_stream import Passes, ResumableStream
from aexp_torch.sources.dataset_reading.rows import Rows, SampleRows
from aexp_torch.sources.dataset_reading.sample_format import SampleFormat
from aexp_torch.sources.dataset_reading.shards import ShardPasses, is_sharded, without_pickles
from aexp_torch.sources.dataset_reading.shuffle_buffer import ShuffleBuffer
from aexp_torch.sources.dataset_reading.stream_reader import StreamReader
from aexp_torch.sources.dataset_reading.tensorflow_data import TensorFlowData
from aexp_torch.sources.origin import comes_from

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
    max_length: Mapping[str, int] | None = None,
    tokenizer: Any = None,
    transform: Mapping[str, Callable[[Any], Any]] | None = None,
    read_timeout: float = 60.0,
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
    | Hugging Face `Dataset`, Deep Lake dataset | its columns | the same |
    | `__len__` and `__getitem__`: torch, TFDS data source, a list of samples | the samples' | the same |
    | WebDataset | its samples' | its own; shuffled: shards in another order, and a shuffle buffer |
    | iterable (IterableDataset, IterDataPipe, Hugging Face streaming, tf.data) | the samples' | its own, or a buffer |
    | DataLoader, StatefulDataLoader | its batches' | its own |

    An iterable has to give the whole stream to every slot (no splitting by node). One with a `state_dict`, or whose
    iterators have one, goes on from there, and so does WebDataset, within its shard; another is read again and skipped,
    with a UserWarning. Text is uint8 UTF-8, zero-padded. Nothing is unpickled.

    Args:
      data: see above. It is neither changed nor, where it is iterable, iterated itself: a copy is.
      batch_size: rows of a minibatch, None for 1; None for a DataLoader, which keeps its own batching.
      shuffle: a new order in each pass.
      seed: of the orders of all passes, with the number of the pass; the same in all slots.
      slot: number of this reader among `num_slots`, which share a pass: minibatches slot, slot + num_slots, ...
      num_slots: number of readers that share a pass.
      drop_last: leave out the short last minibatch, instead of padding it.
      shuffle_buffer: samples held to draw from, where an iterable is shuffled.
      text_length: bytes of every text; longer ones are cut at a character boundary. None takes the longest of each key
        where the data has at most 100,000 samples (by reading all) or knows it, else 256.
      max_length: by key (`a/b` below others), the size of a first axis that varies: shorter ones are zero-padded, longer
        ones are cut, and `length:<key>` (int64) says how much is real. Where the data says that a key varies, None takes
        the longest, as for text.
      tokenizer: integers (int64 [L], padded like these) instead of bytes: a `tokenizers.Tokenizer`, one in the manner of
        `transformers`, or a function from str to integers; one for all texts, or by key.
      transform: by key, a function that a value goes through before anything else: `FitImage(64, 64)`. Images that TFDS
        or tf.data declare without a size are made 224 x 224, unless another function is given.
      read_timeout: seconds without progress for which what fails for a moment (connections that break, busy servers) is
        tried again, with longer and longer pauses.
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
        batch_size=batch_size,
        shuffle=shuffle,
        seed=seed,
        slot=slot,
        num_slots=num_slots,
        drop_last=drop_last,
        shuffle_buffer=shuffle_buffer,
        who=who,
        world_size=world_size,
        uneven=uneven,
        in_turn=in_turn,
        on_bad_sample=on_bad_sample,
        max_bad_samples=max_bad_samples,
        read_timeout=read_timeout,
        conversions=Conversions(text_length, dict(max_length or {}), tokenizer, dict(transform or {})),
    )
    for _, fits, read in _KINDS:
        if fits(data):
            return read(data, options)
    kinds = "; ".join(kind for kind, _, _ in _KINDS)
    raise SpecError(f"{who}: expected data to be one of: {kinds}; got {type(data).__name__}. {_remedy(data)}")


def _read_columns(data: Any, options: ReadingOptions) -> Reader:
    data = data.tensors if isinstance(data, TensorDataset) else data
    return _read_indexed(Columns(data, options.who, options.conversions), data, options)


def _read_map_style(data: Any, options: ReadingOptions) -> Reader:
    return _read_rows(SampleRows(data), data, options)


def _read_arrow(data: Any, options: ReadingOptions) -> Reader:
    return _read_rows(ArrowRows(data, options.conversions, options.who), data, options)


def _read_deep_lake(data: Any, options: ReadingOptions) -> Reader:
    return _read_rows(DeepLakeRows(data, options.conversions, options.who), data, options)


def _read_rows(rows: Rows, data: Any, options: ReadingOptions) -> Reader:
    _check_length(len(rows), data, options)
    bad_samples = _bad_samples(data, "sample", options)
    name = type(data).__name__
    samples = MapStyle(rows, name, options.who, options.conversions, bad_samples, options.read_timeout)
    return _read_indexed(samples, data, options)


def _read_indexed(samples: Columns | MapStyle, data: Any, options: ReadingOptions) -> Reader:
    _check_length(len(samples), data, options)
    _check_even(options.count_batches(len(samples), options.batch_size or 1), data, options)
    return IndexedReader(samples, options)


def _read_shards(data: Any, options: ReadingOptions) -> Reader:
    bad_samples = _bad_samples(data, "sample", options)
    passes = ShardPasses(data, options.seed, options.who, bad_samples, options.read_timeout, options.shuffle)
    return _read_stream(passes, None, data, bad_samples, options)


def _read_pipeline(data: Any, options: ReadingOptions) -> Reader:
    return _read_iterable(without_pickles(data, options.who), options)


def _read_tensorflow(data: Any, options: ReadingOptions) -> Reader:
    data = TensorFlowData(data)
    return _read_iterable(data, options, data.declared())


def _read_streaming(data: Any, options: ReadingOptions) -> Reader:
    data, declared = as_featured(data, options.conversions.transform, options.who)
    return _read_iterable(data, options, declared)


def _read_iterable(data: Any, options: ReadingOptions, declared: Declared = NOTHING) -> Reader:
    num_samples = _length(data)
    _check_length(num_samples, data, options)
    total = None if num_samples is None else options.count_batches(num_samples, options.batch_size or 1)
    _check_even(total, data, options)
    passes = IterablePasses(data, options.seed, options.who)
    return _read_stream(passes, total, data, _bad_samples(data, "sample", options), options, declared)


def _read_stream(
    passes: Passes,
    total: int | None,
    data: Any,
    bad_samples: BadSamples,
    options: ReadingOptions,
    declared: Declared = NOTHING,
) -> Reader:
    name, timeout = type(data).__name__, options.read_timeout
    make_format = _format(options, declared=declared)
    stream = ResumableStream(passes, make_format, "sample", name, options.who, bad_samples, timeout)
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


def _format(
    options: ReadingOptions, batched: bool = False, declared: Declared = NOTHING
) -> Callable[[Any], SampleFormat]:
    conversions = options.conversions.with_defaults(declared.transform)
    return lambda first: SampleFormat(first, options.who, conversions, batched=batched, varying=declared.varying)


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


def _is_arrow(data: Any) -> bool:
    # One with a function of the user's (set_transform) is read through that.
    is_dataset = (
        comes_from("datasets.arrow_dataset")(data) and hasattr(data, "with_format") and hasattr(data, "__len__")
    )
    return is_dataset and data.format["type"] in (None, "numpy", "torch", "arrow", "python", "tensorflow", "jax")


def _is_tensorflow(data: Any) -> bool:
    return comes_from("tensorflow")(data) and hasattr(data, "as_numpy_iterator")


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
    ("a Hugging Face Dataset", _is_arrow, _read_arrow),
    ("a Deep Lake dataset", comes_from("deeplake"), _read_deep_lake),
    ("a WebDataset", is_sharded, _read_shards),
    ("a webdataset pipeline", comes_from("webdataset"), _read_pipeline),
    ("a Hugging Face IterableDataset", comes_from("datasets.iterable_dataset"), _read_streaming),
    ("a tf.data.Dataset", _is_tensorflow, _read_tensorflow),
    ("a map-style dataset (__len__ and __getitem__)", _is_map_style, _read_map_style),
    ("an iterable that can be iterated again (__iter__)", _is_iterable, _read_iterable),
]
