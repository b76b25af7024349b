"""What is given as data, as people write it."""

import functools

import numpy as np
import pytest
import torch

import aexp_torch as ae
from aexp_torch.errors import SpecError

DATA = {"x": torch.arange(12.0).view(6, 2), "y": torch.arange(6) % 3}


def load(rows: int = 6) -> dict:
    return {key: value[:rows] for key, value in DATA.items()}


class Squares(torch.utils.data.Dataset):
    def __init__(self, num: int = 6):
        self.num = num

    def __len__(self):
        return self.num

    def __getitem__(self, index):
        return {"x": index**2}


def test_the_default_is_one_row():
    env = ae.DatasetEnv(DATA)
    assert env.specs["dict"].num_envs == 1 and env.reset().observation["x"].tolist() == [[0, 1]]
    assert ae.DatasetEnv(Squares()).reset().observation["x"].tolist() == [0]


def test_a_function_is_called_where_the_env_is_opened():
    calls = []

    def open_data():
        calls.append(1)
        return load()

    env = ae.DatasetEnv(open_data, batch_size=3)
    assert env.name == "open_data" and not calls
    assert env.reset().observation["y"].tolist() == [0, 1, 2] and len(calls) == 1
    assert ae.DatasetEnv(functools.partial(load, 2)).name == "load"
    assert len(list(ae.DatasetEnv(functools.partial(load, 2), epochs=1))) == 2


@pytest.mark.timeout(60)
def test_a_function_is_called_in_workers():
    loader = ae.Loader(ae.DatasetEnv(load, batch_size=2, epochs=1), num_workers=1, in_flight=1)
    assert torch.cat([timestep.observation["y"] for timestep in loader]).tolist() == DATA["y"].tolist()


def test_splits_are_datasets_by_name():
    splits = {"train": Squares(5), "test": Squares(2)}
    for data in (splits, lambda: splits):
        assert len(list(ae.DatasetEnv(data, epochs=1))) == 5
        assert len(list(ae.DatasetEnv(data, split="test", epochs=1))) == 2
    assert ae.DatasetEnv(splits).name == "Squares"
    assert len(list(ae.DatasetEnv({"only": Squares(3)}, epochs=1))) == 3
    with pytest.raises(SpecError, match=r"expected split= to be one of \['test', 'valid'\], got None"):
        ae.DatasetEnv({"test": Squares(), "valid": Squares()}).reset()
    with pytest.raises(SpecError, match=r"one of \['test', 'train'\], got 'tset'"):
        ae.DatasetEnv(splits, split="tset").reset()
    nested = {"inner": {"x": np.zeros((4, 2))}, "outer": np.zeros(4)}  # arrays are no splits
    assert ae.DatasetEnv(nested, batch_size=2).reset().observation["inner"]["x"].shape == (2, 2)


def test_addresses():
    for address in ("al://org/name", "hub://activeloop/mnist-train", "a/b-{000..010}.tar", "https://host/a.tar?key=1"):
        assert isinstance(ae.to_source(address), ae.DatasetEnv)
    assert ae.to_source("hub://activeloop/mnist-train").name == "mnist-train"
    assert isinstance(ae.to_source("CartPole-v1"), ae.GymnasiumEnv)
    with pytest.raises(SpecError, match=r"expected the address of shards .* or of a Deep Lake dataset .*got 'words'"):
        ae.DatasetEnv("words").reset()
