"""Bad samples: an error that names them, or left out in their place, counted, and not too many."""

import io
import warnings

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset
from torch.utils.data.datapipes.iter import IterableWrapper
from torchdata.stateful_dataloader import StatefulDataLoader

import aexp_torch as ae
from aexp_torch.errors import SpecError
from aexp_torch.testing import CountingEnv

pytestmark = [pytest.mark.timeout(60)]
BAD = (3, 10, 11)


class Spoilt(Dataset):
    """Raises at some indices, and gives another shape at others."""

    def __init__(self, bad=BAD, ragged=(), num_samples=12):
        self.bad, self.ragged, self.num_samples = bad, ragged, num_samples

    def __repr__(self):
        return f"{type(self).__name__}({self.bad}, {self.ragged})"

    def __len__(self):
        return self.num_samples

    def __getitem__(self, index):
        if index in self.bad:
            raise OSError(f"sample {index} cannot be decoded")
        return {"x": np.zeros(2, np.float32) if index in self.ragged else np.float32(index), "y": index}


class ManyAtOnce(Spoilt):
    def __getitems__(self, indices):
        return [self[index] for index in indices]


class Stream(IterableDataset):
    def __init__(self, ragged=(), raises_at=None):
        self.ragged, self.raises_at = ragged, raises_at

    def __iter__(self):
        for index in range(12):
            if index == self.raises_at:
                raise OSError("the connection is gone")
            yield {"x": torch.zeros(2) if index in self.ragged else torch.tensor(float(index)), "y": index}


def make(data, **options):
    batching = {} if isinstance(data, DataLoader) else {"batch_size": 4}
    return ae.DatasetEnv(data, name="spoilt", **{"epochs": 1, "on_bad_sample": "skip", **batching, **options})


def rows(timesteps):
    """Lists y, None where a row is masked."""
    found = []
    for timestep in timesteps:
        y = timestep.observation["y"]
        if y is not None:
            mask = timestep.observation.get("mask:y", torch.ones(len(y), dtype=torch.bool))
            assert all(value == 0 for value, real in zip(y.tolist(), mask.tolist(), strict=True) if not real)
            found += [value if real else None for value, real in zip(y.tolist(), mask.tolist(), strict=True)]
    return found


def expected(bad):
    return [None if index in bad else index for index in range(12)]


def run(env, stop=None):
    timesteps = []
    for timestep in env:
        timesteps.append(timestep)
        if env.action_spec():
            timestep.reply(torch.zeros(4, dtype=torch.int64))
        if len(timesteps) == stop:
            break
    return timesteps


@pytest.mark.parametrize("data", [Spoilt(), ManyAtOnce(), Spoilt((), BAD), Spoilt((3,), (10, 11))], ids=repr)
@pytest.mark.parametrize("mode", ["joint", "delayed", "split"])
def test_a_bad_sample_leaves_its_row_and_moves_no_other(data, mode):
    env = make(data, mode=mode, **({} if mode == "joint" else {"loss": lambda prediction, y: torch.ones(len(y))}))
    with pytest.warns(UserWarning, match=r"DatasetEnv\('spoilt'\): expected .* 3.*It is left out"):
        timesteps = run(env)
    assert rows(timesteps) == expected(BAD)
    assert env.bad_samples == {"spoilt": set(BAD)}
    if mode != "joint":
        assert sum(float(timestep.reward.sum()) for timestep in timesteps) == -(12 - len(BAD))


def test_the_first_warning_has_the_traceback_and_there_is_no_second():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        env = make(Spoilt(), epochs=3)
        run(env)
    (warning,) = caught
    assert "sample 3 cannot be decoded" in str(warning.message) and "__getitem__" in str(warning.message)
    assert env.bad_samples == {"spoilt": set(BAD)}, "each counts once"


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (
            Spoilt(),
            r"DatasetEnv\('spoilt'\): expected to read sample 3 of Spoilt, got OSError: sample 3 cannot.*'skip'",
        ),
        (ManyAtOnce(), r"expected to read sample 3 of ManyAtOnce, got OSError"),
        (Spoilt((), BAD), r"expected 'x' to be float32 \[\] as in the first sample, got float32 \[2\] in sample 3"),
        (Stream(BAD), r"expected 'x' to be float32 \[\] as in the first sample, got float32 \[2\] in sample 3"),
        (DataLoader(Spoilt(), batch_size=4), r"expected to read batch 0 of DataLoader, got OSError"),
        (DataLoader(Spoilt((7,)), batch_size=4), r"expected to read batch 1 of DataLoader, got OSError"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else "",
)
def test_by_default_a_bad_sample_is_an_error_that_names_it(data, match):
    with pytest.raises(SpecError, match=match) as caught:
        run(make(data, on_bad_sample="raise"))
    if "OSError" in match:
        assert isinstance(caught.value.__cause__, OSError)


@pytest.mark.parametrize("shuffle", [False, True])
def test_samples_of_a_stream_that_do_not_fit_are_left_out(shuffle):
    env = make(Stream(BAD), shuffle=shuffle, shuffle_buffer=5)
    with pytest.warns(UserWarning, match="It is left out"):
        found = rows(run(env))
    assert found.count(None) == 3 and sorted(row for row in found if row is not None) == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    if not shuffle:
        assert found == expected(BAD)
    assert env.bad_samples == {"spoilt": set(BAD)}


@pytest.mark.parametrize("on_bad_sample", ["raise", "skip"])
@pytest.mark.parametrize(
    "data",
    [Stream(raises_at=5), IterableWrapper(Stream(raises_at=5)), DataLoader(Stream(raises_at=5), batch_size=2)],
    ids=lambda data: type(data).__name__,
)
def test_an_iterable_that_raises_cannot_go_on(data, on_bad_sample):
    with pytest.raises(
        SpecError, match="(?s)got OSError: the connection is gone.*it cannot go on after an error"
    ) as caught:
        run(make(data, on_bad_sample=on_bad_sample))
    assert isinstance(caught.value.__cause__, OSError)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_bad_batch_of_a_loader_is_left_out_as_a_whole(num_workers):
    env = make(DataLoader(Spoilt((6,)), batch_size=4, num_workers=num_workers), epochs=2)
    with pytest.warns(UserWarning, match="expected to read batch 1 of DataLoader, got OSError"):
        timesteps = run(env)
    assert rows(timesteps) == 2 * expected((4, 5, 6, 7))
    assert env.bad_samples == {"spoilt": {1}}


def test_what_the_first_sample_of_a_stream_or_loader_must_be():
    with pytest.raises(SpecError, match="expected to read batch 0.*its first one says what all look like"):
        run(make(DataLoader(Spoilt((0,)), batch_size=4)))


def test_the_first_samples_of_a_map_style_dataset_may_be_bad():
    with pytest.warns(UserWarning, match="expected to read sample 0"):
        assert rows(run(make(Spoilt((0, 1, 2, 3, 4))))) == expected((0, 1, 2, 3, 4))
    with (
        pytest.warns(match="left out"),
        pytest.raises(SpecError, match="expected at least one sample that can be read"),
    ):
        run(make(Spoilt(range(12))))


def test_text_may_be_bad():
    class Texts(Spoilt):
        def __getitem__(self, index):
            return {"text": b"\xff\xfe" if index == 5 else "a" * (index + 1), "y": super().__getitem__(index)["y"]}

    with pytest.warns(UserWarning, match="It is left out"):
        assert rows(run(make(Texts()))) == expected((3, 5, 10, 11))


def test_more_than_the_budget_is_an_error():
    env = make(Spoilt(), max_bad_samples=2)
    with (
        pytest.warns(match="left out"),
        pytest.raises(SpecError, match="at most max_bad_samples=2 bad samples, got 3; the last one: .* sample 11"),
    ):
        run(env)
    for limit in (3, None):
        with pytest.warns(match="left out"):
            assert len(run(make(Spoilt(), max_bad_samples=limit))) == 3
    with pytest.raises(SpecError, match="max_bad_samples=0 bad samples, got 1"), pytest.warns(match="left out"):
        run(make(Spoilt(), max_bad_samples=0))


@pytest.mark.parametrize(
    "data",
    [
        Spoilt(),
        Stream(BAD),
        DataLoader(Spoilt((5,)), batch_size=4),
        StatefulDataLoader(Spoilt((5,)), batch_size=4),
        StatefulDataLoader(Spoilt((5,)), batch_size=4, num_workers=1),
    ],
    ids=lambda data: type(data).__name__,
)
@pytest.mark.filterwarnings("ignore:(?s).*It is left out", "ignore:.*has no state_dict", "ignore:'set_vital'")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_states_keep_the_count_and_what_is_masked(data):
    shuffle = not isinstance(data, DataLoader)
    env = make(data, epochs=2, shuffle=shuffle, **({"shuffle_buffer": 6} if isinstance(data, Stream) else {}))
    whole = rows(run(env))
    for taken in (1, 2, 4):
        part = make(data, epochs=2, shuffle=shuffle, **({"shuffle_buffer": 6} if isinstance(data, Stream) else {}))
        run(part, taken)
        buffer = io.BytesIO()
        torch.save(part.state_dict(), buffer)
        buffer.seek(0)
        resumed = make(data, epochs=2, shuffle=shuffle, **({"shuffle_buffer": 6} if isinstance(data, Stream) else {}))
        resumed.load_state_dict(torch.load(buffer, weights_only=True))
        assert resumed.bad_samples == part.bad_samples
        assert rows(run(resumed)) == whole[4 * taken :]
        assert resumed.bad_samples == env.bad_samples


@pytest.mark.filterwarnings("ignore:(?s).*It is left out")
@pytest.mark.parametrize("num_workers", [0, 1, 2])
@pytest.mark.parametrize("data", [Spoilt(), Stream(BAD)], ids=lambda data: type(data).__name__)
def test_a_loader_counts_over_slots_and_processes(data, num_workers):
    seen = []
    for rank in range(2):
        options = {"num_workers": num_workers, "in_flight": 4, "rank": rank, "world_size": 2, "uneven": "pad"}
        loader = ae.Loader(
            make(data, on_bad_sample="raise", epochs=None), on_bad_sample="skip", steps_per_epoch=4, **options
        )
        assert loader.bad_samples == 0
        timesteps = [timestep.observation["y"].clone() for timestep in loader]
        assert len(timesteps) == 4, "the others move no rank"
        seen.append(loader.bad_samples)
        state = loader.state_dict()
        loader.close()
        resumed = ae.Loader(make(data, epochs=None), steps_per_epoch=4, **options)
        resumed.load_state_dict(state)
        assert resumed.bad_samples == seen[-1]
        resumed.close()
    if isinstance(data, Stream):
        assert seen == [3, 3], "every rank reads the whole stream"
    else:
        assert seen == [3, 0], "minibatches 0 and 2 are the first rank's"


@pytest.mark.filterwarnings("ignore:(?s).*It is left out")
def test_a_loader_mixes_datasets_that_skip_with_sources_that_do_not():
    envs = {"spoilt": make(Spoilt(), on_bad_sample="skip", epochs=None), "counting": CountingEnv(num_actions=0)}
    loader = ae.Loader(envs, steps_per_epoch=12)
    assert {timestep.source for timestep in loader} == {"spoilt", "counting"}
    assert loader.bad_samples == 3


@pytest.mark.filterwarnings("ignore:(?s).*It is left out")
@pytest.mark.parametrize("num_workers", [0, 1])
def test_the_budget_is_for_all_slots_of_a_loader_together(num_workers):
    data = Spoilt((2, 5, 9), num_samples=12)  # one in each of three slots
    options = {"in_flight": 3, "num_workers": num_workers, "steps_per_epoch": 3, "on_bad_sample": "skip"}
    loader = ae.Loader(make(data), max_bad_samples=2, **options)
    with pytest.raises(SpecError, match="Loader: spoilt: expected at most max_bad_samples=2 bad samples, got 3"):
        list(loader)
    loader.close()
    loader = ae.Loader(make(data), max_bad_samples=3, **options)
    assert len(list(loader)) == 3 and loader.bad_samples == 3
    loader.close()


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_loader_hands_the_error_on(num_workers):
    loader = ae.Loader(make(Spoilt((9,)), on_bad_sample="raise"), num_workers=num_workers)
    with pytest.raises(SpecError, match=r"DatasetEnv\('spoilt'\): expected to read sample 9 of Spoilt, got OSError"):
        list(loader)
    loader.close()


def test_wrong_options():
    with pytest.raises(SpecError, match="expected on_bad_sample='raise' or 'skip', got 'drop'"):
        make(Spoilt(), on_bad_sample="drop")
    with pytest.raises(SpecError, match="expected max_bad_samples of at least 0, or None, got -1"):
        make(Spoilt(), max_bad_samples=-1)
    with pytest.raises(SpecError, match="Loader: expected on_bad_sample='raise' or 'skip', got 'drop'"):
        ae.Loader(make(Spoilt()), on_bad_sample="drop")
    with pytest.raises(SpecError, match="expected a dataset among"):
        ae.Loader(ae.GymnasiumEnv("CartPole-v1"), steps_per_epoch=3, on_bad_sample="skip")
