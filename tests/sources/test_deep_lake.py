"""Deep Lake datasets (version 4), local and in memory, from columns to timesteps."""

import functools
import pickle

import numpy as np
import pytest
import torch
from dm_env import specs

import aexp_torch as ae
from aexp_torch.errors import SpecError
from aexp_torch.specs import Modality
from aexp_torch.testing import check_env
from tests.sources.resuming import assert_resumes

deeplake = pytest.importorskip("deeplake")

pytestmark = pytest.mark.filterwarnings("ignore:Global variable .* of type .*deeplake:UserWarning")

NUM = 23


def fill(dataset):
    types = deeplake.types
    dataset.add_column("image", types.Image("uint8", sample_compression="png"))
    dataset.add_column("label", types.ClassLabel("int32"))
    dataset.add_column("text", types.Text())
    dataset.add_column("vector", types.Embedding(4))
    dataset.add_column("grid", types.Array("float32", dimensions=2))
    dataset.add_column("number", "int64")
    dataset.add_column("about", types.Dict())
    dataset.append(
        {
            "image": [np.full((6, 8, 3), index, np.uint8) for index in range(NUM)],
            "label": [index % 3 for index in range(NUM)],
            "text": ["ü" * (index % 4) + str(index) for index in range(NUM)],
            "vector": np.arange(4 * NUM, dtype=np.float32).reshape(NUM, 4),
            "grid": [np.full((2, 3), index, np.float32) for index in range(NUM)],
            "number": list(range(NUM)),
            "about": [{"weight": index / 2} for index in range(NUM)],
        }
    )
    dataset.commit()
    return dataset


@pytest.fixture(scope="module")
def address(tmp_path_factory) -> str:
    path = f"file://{tmp_path_factory.mktemp('lake') / 'things'}"
    fill(deeplake.create(path))
    return path


@pytest.mark.parametrize("shuffle", [False, True])
def test_columns_by_type(address, shuffle):
    env = ae.DatasetEnv(deeplake.open_read_only(address), batch_size=4, epochs=1, shuffle=shuffle)
    spec = next(iter(env.specs.values()))
    assert {key: tuple(leaf.shape) for key, leaf in spec.observation.items() if key != "about"} == {
        "image": (6, 8, 3),
        "label": (),
        "text": (8,),
        "vector": (4,),
        "grid": (2, 3),
        "number": (),
    }
    assert spec.observation["label"] == specs.DiscreteArray(3, np.int32, "label")
    assert spec.modalities["observation"]["image"] == Modality("grid", "integer", "natural")
    assert spec.modalities["observation"]["text"] == Modality("sequence", "categorical")
    numbers = []
    for timestep in env:
        seen = timestep.observation
        for row, number in enumerate(seen["number"].tolist()):
            if "mask:number" in seen and not seen["mask:number"][row]:
                continue
            numbers.append(number)
            assert (seen["image"][row] == number).all() and (seen["grid"][row] == number).all()
            assert seen["label"][row] == number % 3 and seen["about"]["weight"][row] == number / 2
            assert seen["vector"][row].tolist() == list(range(4 * number, 4 * number + 4))
            assert bytes(seen["text"][row].tolist()).rstrip(b"\0").decode() == "ü" * (number % 4) + str(number)
    assert sorted(numbers) == list(range(NUM)) and (numbers == list(range(NUM))) != shuffle


def test_in_memory_and_views():
    whole = fill(deeplake.create("mem://things"))
    assert ae.DatasetEnv(whole, batch_size=NUM).reset().observation["number"].tolist() == list(range(NUM))
    some = whole.query("SELECT * WHERE label = 1")
    assert set(ae.DatasetEnv(some, batch_size=3).reset().observation["label"].tolist()) == {1}


def open_lake(address: str):
    return deeplake.open_read_only(address)


def test_an_address_or_a_function_is_opened_where_it_is_read(address):
    for given, name in ((address, "things"), (functools.partial(open_lake, address), "open_lake")):
        env = ae.DatasetEnv(given, batch_size=4)
        assert env.name == name
        other = pickle.loads(pickle.dumps(env))
        assert (
            env.reset().observation["number"].tolist() == other.reset().observation["number"].tolist() == [0, 1, 2, 3]
        )
    with pytest.raises(SpecError, match=r"expected the address of shards .* or of a Deep Lake dataset.*'things'"):
        ae.DatasetEnv("things").reset()


@pytest.mark.timeout(100)
def test_workers_read_it(address):
    loader = ae.Loader(ae.DatasetEnv(address, batch_size=4, epochs=1), num_workers=2, in_flight=2)
    numbers = torch.cat([timestep.observation["number"] for timestep in loader]).tolist()
    assert sorted(numbers[:-1]) == list(range(NUM)) or sorted(set(numbers)) == list(range(NUM))


def test_images_of_unequal_sizes():
    dataset = deeplake.create("mem://sizes")
    dataset.add_column("image", deeplake.types.Image("uint8", sample_compression="png"))
    dataset.add_column("steps", deeplake.types.Array("float32", dimensions=2))
    sizes = [(6, 8), (6, 8), (5, 8)]
    images = [np.full((*size, 3), index, np.uint8) for index, size in enumerate(sizes)]
    dataset.append({"image": images, "steps": [np.ones((1 + row, 2), np.float32) for row in range(3)]})
    dataset.commit()
    with pytest.raises(SpecError, match="FitImage"):
        ae.DatasetEnv(dataset, batch_size=3).reset()
    options = {"transform": {"image": ae.FitImage(2, 2)}, "max_length": {"steps": 2}}
    seen = ae.DatasetEnv(dataset, batch_size=3, **options).reset().observation
    assert seen["image"][:, 0, 0, 0].tolist() == [0, 1, 2]
    assert seen["length:steps"].tolist() == [1, 2, 2] and seen["steps"].sum((1, 2)).tolist() == [2, 4, 4]


def test_it_goes_on_exactly(address):
    assert_resumes(lambda: ae.DatasetEnv(address, batch_size=4, epochs=2, shuffle=True))


def test_conformance(address):
    check_env(lambda: ae.DatasetEnv(address, batch_size=4, epochs=2, shuffle=True))
    check_env(lambda: ae.DatasetEnv(address, batch_size=4, target="label", loss="correct"))
