"""Reading datasets: every sample once, the same order for the same seed, and restoring at every step."""

import io
import random
import tarfile
from typing import NamedTuple

import numpy as np
import pytest
import torch
import webdataset
from PIL import Image
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset, WeightedRandomSampler
from torch.utils.data.datapipes.iter import IterableWrapper

from aexp_torch.errors import SpecError
from aexp_torch.sources.dataset_reading import open_reader
from aexp_torch.specs import flatten

pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.filterwarnings("ignore:'set_vital' is deprecated"),  # torchdata's StatefulDataLoader calls it
    pytest.mark.filterwarnings("ignore:unclosed file <_io.BufferedReader name='.*tar'>"),  # webdataset leaves them open
]
NUM_SAMPLES = 23


class Squares(Dataset):
    def __init__(self, num_samples=NUM_SAMPLES):
        self.num_samples = num_samples

    def __len__(self):
        return self.num_samples

    def __getitem__(self, index):
        return {"x": np.float32(index), "inner": {"square": index * index}}


class Stream(IterableDataset):
    def __iter__(self):
        return (Squares()[index] for index in range(NUM_SAMPLES))


class StatefulStream(Stream):
    """Goes on once where a state was loaded, and counts its passes: each begins at another sample."""

    def __init__(self):
        self.index, self.num_passes, self.num_reads = 0, 0, 0

    def __iter__(self):
        while self.index < NUM_SAMPLES:
            self.index += 1
            self.num_reads += 1
            yield {"x": np.float32((self.index - 1 + self.num_passes) % NUM_SAMPLES)}
        self.index = 0
        self.num_passes += 1

    def state_dict(self):
        return {"index": self.index, "num_passes": np.int64(self.num_passes)}

    def load_state_dict(self, state):
        self.index, self.num_passes = state["index"], int(state["num_passes"])


class ResumesOnce(StatefulStream):
    """Is left at its end after a pass: a loaded state of the end gives nothing, the pass after that begins afresh."""

    def __init__(self):
        self.index, self.start = 0, 0

    def __iter__(self):
        start, self.start = self.start, 0
        for index in range(start, NUM_SAMPLES):
            self.index = index + 1
            yield {"x": np.float32(index)}

    def state_dict(self):
        return {"index": self.index}

    def load_state_dict(self, state):
        self.start = self.index = state["index"]


class StatefulIterator(Stream):
    class Iterator:
        def __init__(self):
            self.index = 0

        def __iter__(self):
            return self

        def __next__(self):
            if self.index == NUM_SAMPLES:
                raise StopIteration
            self.index += 1
            return (np.float32(self.index - 1),)

        def state_dict(self):
            return {"index": torch.tensor(self.index)}

        def load_state_dict(self, state):
            self.index = int(state["index"])

    def __iter__(self):
        return StatefulIterator.Iterator()


class Reiterable:
    def __iter__(self):
        return (float(index) for index in range(NUM_SAMPLES))


@pytest.fixture(scope="session")
def shard(tmp_path_factory):
    path = tmp_path_factory.mktemp("shards") / "squares-000000.tar"
    with webdataset.TarWriter(str(path)) as writer:
        for index in range(NUM_SAMPLES):
            writer.write({"__key__": f"{index:06d}", "cls": index, "json": {"square": index * index}})
    return str(path)


@pytest.fixture(scope="session")
def tfds_builder(tmp_path_factory):
    import tensorflow_datasets as tfds

    from tests.sources.tfds_squares import Squares as Builder

    builder = Builder(data_dir=str(tmp_path_factory.mktemp("tfds")), file_format="array_record")
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(try_download_gcs=False))
    return builder


def columns():
    x = np.arange(NUM_SAMPLES, dtype=np.float32)
    return {"x": x, "inner": {"square": torch.from_numpy(x * x).long()}}


def stateful_loader(data, **kwargs):
    from torchdata.stateful_dataloader import StatefulDataLoader

    return StatefulDataLoader(data, batch_size=4, **kwargs)


def with_replacement():
    from torchdata.stateful_dataloader.sampler import RandomSampler

    return RandomSampler(Squares(), replacement=True, num_samples=70, generator=generator())


def generator():
    return torch.Generator().manual_seed(7)


INDEXED = {
    "columns": columns,
    "tuple": lambda: (np.arange(NUM_SAMPLES), torch.arange(NUM_SAMPLES)),
    "tensor_dataset": lambda: TensorDataset(torch.arange(NUM_SAMPLES)),
    "map_style": Squares,
    "subset": lambda: Subset(Squares(100), range(50, 50 + NUM_SAMPLES)),
    "list": lambda: [(index, str(index)) for index in range(NUM_SAMPLES)],
}
ITERABLE = {
    "stream": Stream,
    "stateful": StatefulStream,
    "resumes_once": ResumesOnce,
    "stateful_iterator": StatefulIterator,
    "datapipe": lambda: IterableWrapper(range(NUM_SAMPLES)).shuffle(buffer_size=5).map(float),
    "reiterable": Reiterable,
}
LOADERS = {
    "loader": lambda: DataLoader(Squares(), batch_size=4),
    "shuffling": lambda: DataLoader(Squares(), batch_size=4, shuffle=True),
    "with_generator": lambda: DataLoader(Squares(), batch_size=4, shuffle=True, generator=generator(), drop_last=True),
    "of_iterable": lambda: DataLoader(Stream(), batch_size=4),
    "weighted": lambda: DataLoader(
        Squares(), batch_size=4, sampler=WeightedRandomSampler([1.0] * NUM_SAMPLES, 70, generator=generator())
    ),
    "stateful_loader": lambda: stateful_loader(Squares()),
    "stateful_shuffling": lambda: stateful_loader(Squares(), shuffle=True),
    "stateful_with_generator": lambda: stateful_loader(Squares(), shuffle=True, generator=generator()),
    "stateful_weighted": lambda: stateful_loader(
        Squares(), sampler=WeightedRandomSampler([1.0] * NUM_SAMPLES, 70, generator=generator()), generator=generator()
    ),
    "stateful_with_replacement": lambda: stateful_loader(Squares(), sampler=with_replacement(), generator=generator()),
    "stateful_of_stateful": lambda: stateful_loader(ResumesOnce()),
}
KINDS = {**INDEXED, **ITERABLE, **LOADERS}
WITHOUT_STATE = pytest.mark.filterwarnings("ignore:.*has no state_dict")


def arguments(kind, shuffle=False):
    return {"batch_size": None if kind in LOADERS else 4, "shuffle": shuffle, "seed": 0}


def read(reader, num_steps):
    """Takes steps, of which the end of a pass is one: None."""
    steps = []
    while len(steps) < num_steps:
        try:
            steps.append(reader.next_batch())
        except StopIteration:
            steps.append(None)
    return steps


def read_pass(reader):
    batches = []
    while (batch := read(reader, 1)[0]) is not None:
        batches.append(batch)
    return batches


def real_rows(batches, key="x"):
    rows = [np.asarray(tree[key])[... if mask is None else mask] for tree, mask in batches]
    return np.concatenate(rows).tolist() if rows else []


def assert_same(some, others):
    assert len(some) == len(others)
    for one, other in zip(some, others):
        assert (one is None) == (other is None)
        if one is not None:
            assert_same_batch(one, other)


def assert_same_batch(one, other):
    assert (one[1] is None) == (other[1] is None)
    assert one[1] is None or np.array_equal(one[1], other[1])
    leaves, others = list(flatten(one[0])), list(flatten(other[0]))
    assert [path for path, _ in leaves] == [path for path, _ in others]
    for (_, a), (_, b) in zip(leaves, others):
        assert type(a) is type(b) and a.dtype == b.dtype and np.array_equal(np.asarray(a), np.asarray(b))


def saved(state):
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def assert_restores_everywhere(open_one, num_steps=20, stride=1):
    reader, states, steps = open_one(), [], []
    for _ in range(num_steps):
        states.append(saved(reader.state_dict()))
        steps += read(reader, 1)
    assert steps.count(None) >= 2 and any(steps), "two passes belong to the test"
    for start in range(0, num_steps, stride):
        restored = open_one()
        read(restored, start % 3)  # wherever it stands
        restored.load_state_dict(states[start])
        again = saved(restored.state_dict())
        assert_same(read(restored, num_steps - start), steps[start:])
        restored.load_state_dict(again)
        assert_same(read(restored, num_steps - start), steps[start:])


OPTIONS = [
    {"shuffle": shuffle, "drop_last": drop_last, "slot": slot, "num_slots": num_slots}
    for shuffle in (False, True)
    for drop_last in (False, True)
    for slot, num_slots in ((0, 1), (1, 3))
]


@WITHOUT_STATE
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("kind", [*INDEXED, *ITERABLE])
def test_restore_at_every_step(kind, options):
    data = KINDS[kind]()
    assert_restores_everywhere(lambda: open_reader(data, batch_size=4, seed=3, shuffle_buffer=6, **options))


@WITHOUT_STATE
@pytest.mark.parametrize("slot, num_slots", [(0, 1), (1, 3)])
@pytest.mark.parametrize("kind", LOADERS)
def test_restore_at_every_step_of_a_loader(kind, slot, num_slots):
    options = {"batch_size": None, "shuffle": False, "slot": slot, "num_slots": num_slots}
    num_steps = 45 if kind in ("weighted", "stateful_weighted", "stateful_with_replacement") else 20
    assert_restores_everywhere(lambda: open_reader(LOADERS[kind](), seed=3, **options), num_steps, num_steps // 20)


@WITHOUT_STATE
@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("kind", [*INDEXED, *ITERABLE])
def test_slots_deal_every_sample_once(kind, shuffle):
    data = KINDS[kind]()
    key = next(iter(open_reader(data, batch_size=4, shuffle=False, seed=0).peek()))
    whole = open_reader(data, batch_size=4, shuffle=shuffle, seed=1)
    slots = [open_reader(data, batch_size=4, shuffle=shuffle, seed=1, slot=slot, num_slots=4) for slot in range(4)]
    for _ in range(2):
        dealt, common = [read_pass(slot) for slot in slots], read_pass(whole)
        for number, batch in enumerate(common):
            assert_same_batch(dealt[number % 4][number // 4], batch)
        assert sum(map(len, dealt)) == len(common) == 6
        assert len(set(real_rows(common, key))) == len(real_rows(common, key)) == NUM_SAMPLES
        assert slots[1].num_batches in (None, len(dealt[1])) and slots[3].num_batches in (None, len(dealt[3]))


@pytest.mark.parametrize("kind", LOADERS)
def test_slots_deal_every_batch_of_a_loader_once(kind):
    options = {"batch_size": None, "shuffle": False, "seed": 1}
    whole = open_reader(LOADERS[kind](), **options)
    slots = [open_reader(LOADERS[kind](), slot=slot, num_slots=4, **options) for slot in range(4)]
    for _ in range(2):
        dealt, common = [read_pass(slot) for slot in slots], read_pass(whole)
        for number, batch in enumerate(common):
            assert_same_batch(dealt[number % 4][number // 4], batch)
        assert [slot.num_batches for slot in slots] in ([len(some) for some in dealt], [None] * 4)


@pytest.mark.parametrize("kind", KINDS)
def test_the_order_follows_from_the_seed_and_no_global_generator_is_touched(kind):
    options = arguments(kind, shuffle=kind not in LOADERS)
    runs = []
    for global_seed, seed in ((1, 5), (2, 5), (3, 6)):
        torch.manual_seed(global_seed)
        np.random.seed(global_seed)
        data = KINDS[kind]()
        before = torch.get_rng_state(), str(np.random.get_state()), random.getstate()
        reader = open_reader(data, **{**options, "seed": seed})
        reader.peek()
        runs.append(read(reader, 2 * NUM_SAMPLES))
        saved(reader.state_dict())
        assert torch.equal(before[0], torch.get_rng_state()) and before[1:] == (
            str(np.random.get_state()),
            random.getstate(),
        )
    assert_same(runs[0], runs[1])
    if kind not in LOADERS or kind in ("shuffling", "stateful_shuffling"):
        with pytest.raises(AssertionError):
            assert_same(runs[0], runs[2])


@pytest.mark.parametrize("shuffle", [False, True])
def test_passes_are_shuffled_anew(shuffle):
    reader = open_reader(columns(), batch_size=NUM_SAMPLES, shuffle=shuffle, seed=0)
    first, second = real_rows(read_pass(reader)), real_rows(read_pass(reader))
    assert (first == second) is not shuffle and sorted(first) == sorted(second) == list(range(NUM_SAMPLES))


def test_the_short_minibatch_is_padded_with_its_own_rows():
    batches = read_pass(open_reader(columns(), batch_size=5, shuffle=False, seed=0))
    tree, mask = batches[-1]
    assert tree["x"].tolist() == [20, 21, 22, 20, 21] and mask.tolist() == [True, True, True, False, False]
    assert all(mask is None for _, mask in batches[:-1])
    (tree, mask), *_ = read_pass(open_reader(columns(), batch_size=50, shuffle=True, seed=0))
    assert tree["inner"]["square"].shape == (50,) and mask.sum() == NUM_SAMPLES


def test_drop_last_leaves_the_short_minibatch_out():
    reader = open_reader(columns(), batch_size=5, shuffle=False, seed=0, drop_last=True)
    assert reader.num_batches == 4 and real_rows(read_pass(reader)) == list(range(20))


def test_a_slot_without_minibatches_ends_at_once():
    reader = open_reader(columns(), batch_size=20, shuffle=False, seed=0, slot=3, num_slots=4)
    assert reader.num_batches == 0 and reader.peek()["x"].shape == (20,)
    with pytest.raises(StopIteration):
        reader.next_batch()


@WITHOUT_STATE
@pytest.mark.parametrize("kind", KINDS)
def test_peek_moves_nothing_and_tells_the_truth(kind):
    options = arguments(kind)
    reader, peeked = open_reader(KINDS[kind](), **options), open_reader(KINDS[kind](), **options)
    for _ in range(10):
        example = dict(flatten(peeked.peek()))
        (batch,), (other,) = read(reader, 1), read(peeked, 1)
        assert_same([batch], [other])
        for path, leaf in flatten(batch[0] if batch else {}):
            if path:
                assert example[path].shape[1:] == leaf.shape[1:] and example[path].dtype == leaf.dtype
                assert len(leaf) == reader.batch_size


@pytest.mark.parametrize("kind", KINDS)
def test_batches_are_fresh_memory(kind):
    options = arguments(kind)
    reader, untouched = open_reader(KINDS[kind](), **options), open_reader(KINDS[kind](), **options)
    for _ in range(12):
        for tree in (reader.peek(), (read(reader, 1)[0] or ({}, None))[0]):
            for path, leaf in flatten(tree):
                if path:
                    leaf[...] = 1
        read(untouched, 1)
    assert_same(read(reader, 6), read(untouched, 6))


@WITHOUT_STATE
@pytest.mark.parametrize("kind", ["columns", "stream", "stateful", "resumes_once", "datapipe"])
def test_restart_begins_a_new_pass_and_is_nothing_at_a_beginning(kind):
    data = KINDS[kind]()
    reader, other = (open_reader(data, batch_size=4, shuffle=True, seed=0) for _ in range(2))
    reader.restart()
    first = read(reader, 2)
    assert_same(first, read(other, 2))
    reader.restart()
    reader.restart()
    key = next(iter(reader.peek()))
    rows = real_rows(second := read_pass(reader), key)
    assert sorted(set(rows)) == sorted(rows) and len(rows) == NUM_SAMPLES
    with pytest.raises(AssertionError):
        assert_same(second[:2], first)
    other.restart()
    other.load_state_dict(saved(other.state_dict()))
    assert_same(read_pass(other), second)


def test_the_seed_travels_with_the_state():
    reader, other = (open_reader(Squares(), batch_size=4, shuffle=True, seed=seed) for seed in (1, 2))
    read(reader, 3)
    other.load_state_dict(saved(reader.state_dict()))
    assert_same(read(reader, 20), read(other, 20))


def test_a_state_of_other_arguments_is_refused():
    state = open_reader(columns(), batch_size=4, shuffle=True, seed=0).state_dict()
    with pytest.raises(SpecError, match="expected a state taken with batch_size 5, got 4"):
        open_reader(columns(), batch_size=5, shuffle=True, seed=0).load_state_dict(state)
    with pytest.raises(SpecError, match="num_samples 5, got 23"):
        open_reader({"x": np.zeros(5)}, batch_size=4, shuffle=True, seed=0).load_state_dict(state)


def test_a_stream_with_a_state_is_not_read_again_and_the_users_object_stays():
    data = StatefulStream()
    reader = open_reader(data, batch_size=4, shuffle=False, seed=0)
    read(reader, 5)
    other = open_reader(data, batch_size=4, shuffle=False, seed=0)
    other.load_state_dict(reader.state_dict())  # a warning would be an error
    assert_same(read(other, 9), read(reader, 9))
    assert (data.index, data.num_reads) == (0, 0)


def test_a_stream_without_a_state_warns_who_and_how_many():
    reader = open_reader(Stream(), batch_size=4, shuffle=False, seed=0, who="DatasetEnv('squares')")
    read(reader, 2)
    with pytest.warns(UserWarning, match=r"DatasetEnv\('squares'\): Stream has no state_dict.*9 sample\(s\)"):
        reader.load_state_dict(reader.state_dict())


def test_a_stream_that_became_shorter_is_an_error():
    reader = open_reader(Reiterable(), batch_size=4, shuffle=False, seed=0)
    read(reader, 4)
    state = reader.state_dict()
    shorter = open_reader(IterableWrapper([1.0, 2.0]).map(float), batch_size=4, shuffle=False, seed=0)
    state["made_with"] = shorter.state_dict()["made_with"]
    with (
        pytest.warns(UserWarning, match="read again"),
        pytest.raises(SpecError, match=r"expected 17 samples to skip .* got 2"),
    ):
        shorter.load_state_dict(state)


def test_a_loaders_own_generator_gives_the_order_that_it_gives_outside():
    reader = open_reader(LOADERS["with_generator"](), batch_size=None, shuffle=False, seed=99)
    loader = LOADERS["with_generator"]()
    for _ in range(3):
        assert real_rows(read_pass(reader)) == [x for batch in loader for x in batch["x"].tolist()]


def test_a_loader_is_left_as_it_was():
    loader = DataLoader(Squares(), batch_size=4, shuffle=True, generator=generator())
    sampler, state = loader.sampler, loader.generator.get_state()
    read(open_reader(loader, batch_size=None, shuffle=False, seed=0), 9)
    assert loader.sampler is sampler and sampler.generator is loader.generator
    assert torch.equal(loader.generator.get_state(), state)


@pytest.mark.slow
@WITHOUT_STATE
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("make", [stateful_loader, lambda data, **kwargs: DataLoader(data, batch_size=4, **kwargs)])
def test_a_loader_with_workers(make):
    loader = make(Squares(), shuffle=True, num_workers=2)
    assert_restores_everywhere(
        lambda: open_reader(loader, batch_size=None, shuffle=False, seed=0), num_steps=16, stride=5
    )


def test_text_in_a_loader_and_batches_without_collation():
    reader = open_reader(
        DataLoader([("a", 1), ("bcd", 2)], batch_size=2), batch_size=None, shuffle=False, seed=0, text_length=3
    )
    tree, _ = reader.next_batch()
    assert tree["x"].tolist() == [[97, 0, 0], [98, 99, 100]] and tree["y"].tolist() == [1, 2]
    arrays = [np.zeros((3, 2)), np.zeros((2, 2))]
    reader = open_reader(DataLoader(arrays, batch_size=None), batch_size=None, shuffle=False, seed=0)
    next_one, (tree, mask) = read(reader, 2)
    assert next_one[1] is None and tree["x"].shape == (3, 2) and mask.tolist() == [True, True, False]
    tree["x"][...] = 1
    assert not arrays[1].any()
    with pytest.raises(SpecError, match="expected batches of 1 to 2 rows"):
        read(open_reader(DataLoader(arrays[::-1], batch_size=None), batch_size=None, shuffle=False, seed=0), 2)


class Point(NamedTuple):
    left: int
    right: float


@pytest.mark.parametrize(
    "sample, expected",
    [
        ((1, 2.0), {"x": "int64 [2]", "y": "float32 [2]"}),
        ((1, 2, True), {"0": "int64 [2]", "1": "int64 [2]", "2": "bool [2]"}),
        (Point(1, 2.0), {"left": "int64 [2]", "right": "float32 [2]"}),
        (np.float64(1), {"x": "float64 [2]"}),
        (torch.zeros(3, dtype=torch.bfloat16), {"x": "bfloat16 [2, 3]"}),
        ([1.0, 2.0], {"x": "float32 [2, 2]"}),
        ({"a": {"b": (np.uint8(1), [1, 2])}}, {"a/b/0": "uint8 [2]", "a/b/1": "int64 [2, 2]"}),
        ({"image": Image.new("RGB", (4, 3)), "__key__": "0"}, {"image": "uint8 [2, 3, 4, 3]"}),
        ({"words": ["ab", "c"]}, {"words": "uint8 [2, 2, 2]"}),
        ({"text": b"abc", 5: np.zeros(2, ">i4")}, {"text": "uint8 [2, 3]", "5": "int32 [2, 2]"}),
    ],
)
def test_kinds_of_samples(sample, expected):
    def described(reader):
        leaves = {"/".join(path): leaf for path, leaf in flatten(reader.next_batch()[0])}
        return {key: f"{str(leaf.dtype).removeprefix('torch.')} {list(leaf.shape)}" for key, leaf in leaves.items()}

    data = [sample, sample, sample]
    assert described(open_reader(data, batch_size=2, shuffle=True, seed=0)) == expected
    length = next((int(text[-2]) for key, text in expected.items() if key in ("words", "text")), None)
    pipe = IterableWrapper(data)
    assert described(open_reader(pipe, batch_size=2, shuffle=True, seed=0, text_length=length)) == expected


def test_text_takes_the_longest_length_or_the_given_one_cut_at_a_character():
    data = [{"a": "x" * index, "b": "aä€"} for index in range(4)]
    tree, _ = open_reader(data, batch_size=4, shuffle=False, seed=0).next_batch()
    assert tree["a"].shape == (4, 3) and bytes(tree["b"][0]).decode() == "aä€"
    for length, text in ((5, "aä\0\0"), (2, "a\0"), (8, "aä€\0\0")):
        tree, _ = open_reader(data, batch_size=4, shuffle=False, seed=0, text_length=length).next_batch()
        assert bytes(tree["b"][3]).decode() == text
    tree, _ = open_reader(IterableWrapper(data), batch_size=4, shuffle=False, seed=0).next_batch()
    assert tree["a"].shape == (4, 256)
    tree, _ = open_reader({"t": ["ab", "ä"]}, batch_size=2, shuffle=False, seed=0).next_batch()
    assert tree["t"].tolist() == [[97, 98], [195, 164]]


def test_arrays_and_tensors_keep_their_kind_and_dtype():
    data = {"a": np.zeros((3, 2), np.float64), "b": np.zeros(3, np.uint16), "c": torch.zeros(3, dtype=torch.bfloat16)}
    tree, _ = open_reader(data, batch_size=2, shuffle=True, seed=0).next_batch()
    assert (tree["a"].dtype, tree["b"].dtype, tree["c"].dtype) == (np.float64, np.uint16, torch.bfloat16)
    assert list(open_reader(np.zeros(3), batch_size=2, shuffle=True, seed=0).peek()) == ["x"]
    assert list(open_reader([np.zeros(3), np.ones(3)], batch_size=2, shuffle=True, seed=0).peek()) == ["x", "y"]


class Untidy(Dataset):
    def __init__(self, *samples):
        self.samples = samples

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        return self.samples[index]


class Unfaithful(Stream):
    def __init__(self, length):
        self.length = length

    def __len__(self):
        return self.length


class Once:
    def __init__(self):
        self.rest = [1, 2, 3]

    def __iter__(self):
        while self.rest:
            yield self.rest.pop()


@pytest.mark.parametrize(
    "data, match",
    [
        ({"a": np.zeros(3), "b": {"c": torch.zeros(4)}}, r"\{'a': 3, 'b/c': 4\}"),
        ({"a": np.zeros(3), "b": np.float32(1)}, "'b': 'a scalar'"),
        ({"a": np.array([None, 1])}, "under 'a', got ndarray of dtype object"),
        ({"a": [[1], [2, 3]]}, "values of one shape under 'a'"),
        ({"a": np.zeros(0)}, "at least one sample in dict, got none"),
        ({}, "at least one value"),
        ([], "at least one sample in list"),
        (IterableWrapper([]), "at least one sample in IterableWrapperIterDataPipe"),
        (Untidy({"a": 1, "b": 2}, {"a": 1, "c": 2}), r"sample 1 without \['b'\] and with the additional \['c'\]"),
        (Untidy({"a": np.zeros(2)}, {"a": np.zeros(3)}), r"'a' to be float64 \[2\] .* got float64 \[3\] in sample 1"),
        (Untidy({"a": 1}, {"a": 1.5}), r"'a' to be int64 \[\] .* got float32 \[\] in sample 1"),
        (Untidy({"a": 1}, {"a": "one"}), "got text in sample 1"),
        (Untidy({"a": np.zeros(2)}, {"a": torch.zeros(2).double()}), "in a ndarray as .* in a Tensor in sample 1"),
        (Untidy({"a": 1}, {"a": None}), "under 'a', got NoneType of dtype object.* in sample 1"),
        (Untidy({"a": b"\xff\xd8"}), "bytes that are UTF-8 text"),
        (IterableWrapper([{"a": 1}, {"a": [1, 2]}]), r"got int64 \[2\] in sample 1"),
        (
            iter([1, 2]),
            "expected data to be one of: a torch DataLoader; .* list_iterator. An iterator can be read only",
        ),
        (Squares, "got type"),
        ("data.csv", "got str"),
        (5, "got int. Wrap it"),
        (DataLoader(Squares()), "which keeps its own batching, got batch_size=2"),
        (Unfaithful(30), "expected 15 minibatches in a pass, .* got 12"),
        (Unfaithful(20), "expected 10 minibatches in a pass, .* got 11 and more"),
        (Once(), None),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else "",
)
def test_errors_say_what_to_do(data, match):
    if match is None:
        with pytest.raises(SpecError, match="DatasetEnv: .* in pass 1. Give something that can be iterated again"):
            read(open_reader(data, batch_size=2, shuffle=False, seed=0), 5)
        return
    with pytest.raises(SpecError, match=match) as caught:
        read(open_reader(data, batch_size=2, shuffle=False, seed=0), 30)
    assert str(caught.value).startswith("DatasetEnv: expected ") and str(caught.value).endswith(".")


@pytest.mark.parametrize(
    "options, match",
    [
        ({"batch_size": 0}, "batch_size to be an integer from 1 on, got 0"),
        ({"batch_size": 2.0}, "batch_size to be an integer"),
        ({"text_length": 0}, "text_length"),
        ({"slot": 2, "num_slots": 2}, r"slot in 0\.\.1, got 2"),
        ({"seed": -1}, "seed to be an integer from 0 on"),
        ({"batch_size": 24, "drop_last": True}, "at least 24 samples, because of drop_last=True, got 23"),
    ],
)
@pytest.mark.parametrize("make", [columns, Squares, Stream])
def test_wrong_arguments(make, options, match):
    match = "full minibatch of 24 rows" if make is Stream and "drop_last" in options else match
    with pytest.raises(SpecError, match=match):
        read(open_reader(make(), **{"batch_size": 4, "shuffle": False, "seed": 0, **options}), 1)


def test_what_cannot_be_stored_is_named():
    class Live(StatefulStream):
        def state_dict(self):
            return {"rows": [1, object()]}

    reader = open_reader(Live(), batch_size=2, shuffle=False, seed=0)
    with pytest.raises(SpecError, match="got object at state/rows/1"):
        reader.state_dict()


def test_what_cannot_be_copied_is_read_itself_with_a_warning():
    class Files(Reiterable):
        def __init__(self):
            self.generator = (index for index in range(3))

    with pytest.warns(UserWarning, match="DatasetEnv: Files cannot be copied"):
        reader = open_reader(Files(), batch_size=4, shuffle=False, seed=0)
    assert real_rows(read_pass(reader)) == list(range(NUM_SAMPLES))


class ReadInWorkers(IterableDataset):
    """Reads one slot in each worker, a stream that splits itself by worker."""

    def __iter__(self):
        worker = torch.utils.data.get_worker_info()
        data = IterableWrapper(SplitsByWorker())
        reader = open_reader(data, batch_size=2, shuffle=False, seed=0, slot=worker.id, num_slots=worker.num_workers)
        return (tree["x"][... if mask is None else mask] for tree, mask in read_pass(reader))


class SplitsByWorker(IterableDataset):
    def __iter__(self):
        worker = torch.utils.data.get_worker_info()
        share = (worker.id, worker.num_workers) if worker else (0, 1)
        return iter(range(share[0], NUM_SAMPLES, share[1]))


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_slots_in_workers_share_a_stream_that_would_split_itself():
    rows = np.concatenate([*DataLoader(ReadInWorkers(), batch_size=None, num_workers=2)])
    assert sorted(rows.tolist()) == list(range(NUM_SAMPLES))


@WITHOUT_STATE
@pytest.mark.parametrize("shuffle", [False, True])
def test_webdataset(shard, shuffle):
    def open_one(**slots):
        data = webdataset.WebDataset(shard, shardshuffle=False).decode()
        return open_reader(data, batch_size=4, shuffle=shuffle, seed=0, shuffle_buffer=8, **slots)

    tree = open_one().peek()
    assert {path: leaf.dtype for path, leaf in flatten(tree)} == {("cls",): np.int64, ("json", "square"): np.int64}
    assert_restores_everywhere(open_one, num_steps=16, stride=3)
    slots = [open_one(slot=slot, num_slots=3) for slot in range(3)]
    assert sorted(row for slot in slots for row in real_rows(read_pass(slot), "cls")) == list(range(NUM_SAMPLES))
    pairs = webdataset.WebDataset(shard, shardshuffle=False).decode().to_tuple("cls", "json")
    assert open_reader(pairs, batch_size=4, shuffle=False, seed=0).peek()["y"]["square"].shape == (1,)
    with tarfile.open(shard) as tar:
        assert len(tar.getnames()) == 2 * NUM_SAMPLES


def test_tfds_data_source(tfds_builder):
    source = tfds_builder.as_data_source(split="train")
    assert_restores_everywhere(lambda: open_reader(source, batch_size=4, shuffle=True, seed=0), stride=4)
    reader = open_reader(source, batch_size=4, shuffle=False, seed=0)
    tree, _ = reader.next_batch()
    assert tree["number"].tolist() == [0, 1, 2, 3] and bytes(tree["text"][3]).rstrip(b"\0") == b"3"
    assert source.data_source._readers == [None], "the user's files are not opened"
    reader.close()
    reader.close()


@pytest.mark.parametrize("kind", KINDS)
def test_closing_twice_does_no_harm(kind):
    reader = open_reader(KINDS[kind](), **arguments(kind))
    reader.next_batch()
    reader.close()
    reader.close()
