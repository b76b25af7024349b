"""Hugging Face datasets, from Arrow tables and local files to timesteps."""

import io
import json
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

datasets = pytest.importorskip("datasets")
soundfile = pytest.importorskip("soundfile")

NUM = 23
NAMES = ["cat", "dog", "owl"]


def wave(length: int) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.linspace(-1, 1, length, dtype=np.float32), 8000, format="WAV", subtype="FLOAT")
    return file.getvalue()


def picture(index: int, size: tuple[int, int] = (6, 8)) -> np.ndarray:
    return np.full((*size, 3), index, np.uint8)


FEATURES = {
    "number": (datasets.Value("int64"), lambda i: i),
    "label": (datasets.ClassLabel(names=NAMES), lambda i: i % 3),
    "flag": (datasets.Value("bool"), lambda i: i % 2 == 0),
    "vector": (datasets.List(datasets.Value("float32"), length=3), lambda i: [i, i + 0.5, -i]),
    "text": (datasets.Value("string"), lambda i: "ü" * (i % 4) + str(i)),
    "tokens": (datasets.List(datasets.Value("int32")), lambda i: list(range(i % 5))),
    "tags": (datasets.List(datasets.ClassLabel(names=NAMES)), lambda i: [i % 3] * (i % 3)),
    "words": (datasets.List(datasets.Value("string")), lambda i: ["a", "bcd"][: i % 3]),
    "grid": (datasets.Array2D((2, 3), "float32"), lambda i: np.full((2, 3), i, np.float32)),
    "frames": (datasets.Array2D((None, 3), "float32"), lambda i: np.full((1 + i % 3, 3), i, np.float32)),
    "nested": (
        {"a": datasets.Value("float64"), "b": datasets.List(datasets.Value("int64"))},
        lambda i: {"a": i / 2, "b": [i] * (i % 3)},
    ),
    "image": (datasets.Image(), picture),
    "audio": (
        {"bytes": datasets.Value("binary"), "path": datasets.Value("string")},
        lambda i: {"bytes": wave(10 + i), "path": None},
    ),
}


def make_dataset(*names: str, num: int = NUM) -> datasets.Dataset:
    names = names or tuple(FEATURES)
    features = datasets.Features({name: FEATURES[name][0] for name in names})
    columns = {name: [FEATURES[name][1](index) for index in range(num)] for name in names}
    made = datasets.Dataset.from_dict(columns, features=features)
    return made.cast_column("audio", datasets.Audio(sampling_rate=8000)) if "audio" in names else made


@pytest.fixture(scope="module")
def everything() -> datasets.Dataset:
    return make_dataset()


def read_pass(env: ae.DatasetEnv) -> dict[str, torch.Tensor]:
    timesteps = [timestep.observation for timestep in env]
    return {key: torch.cat([each[key] for each in timesteps])[:NUM] for key in timesteps[0] if key != "nested"}


def test_every_feature_has_its_spec(everything):
    spec = ae.DatasetEnv(everything, batch_size=4).specs["Dataset"]
    told = {key: (tuple(leaf.shape), np.dtype(leaf.dtype)) for key, leaf in spec.observation.items() if key != "nested"}
    assert told == {
        "number": ((), np.int64),
        "label": ((), np.int64),
        "flag": ((), np.bool_),
        "vector": ((3,), np.float32),
        "text": ((8,), np.uint8),  # three ü and two digits
        "tokens": ((4,), np.int32),
        "length:tokens": ((), np.int64),
        "tags": ((2,), np.int64),
        "length:tags": ((), np.int64),
        "words": ((2, 3), np.uint8),
        "length:words": ((), np.int64),
        "grid": ((2, 3), np.float32),
        "frames": ((3, 3), np.float32),
        "length:frames": ((), np.int64),
        "image": ((6, 8, 3), np.uint8),
        "audio": ((32, 1), np.float32),
        "length:audio": ((), np.int64),
    }
    assert spec.observation["label"] == specs.DiscreteArray(3, np.int64, "label")
    assert spec.observation["tags"].maximum == 2
    assert spec.observation["nested"].keys() == {"a", "b", "length:b"}
    modalities = spec.modalities["observation"]
    assert modalities["audio"] == Modality("sequence", "real", "audio")
    assert modalities["image"] == Modality("grid", "integer", "natural")
    assert modalities["text"] == modalities["tags"] == Modality("sequence", "categorical")
    assert modalities["length:tokens"] == modalities["nested"]["length:b"] == Modality("flat", "integer")


@pytest.mark.parametrize("shuffle", [False, True])
def test_values_are_those_of_the_dataset(everything, shuffle):
    seen = read_pass(ae.DatasetEnv(everything, batch_size=4, epochs=1, shuffle=shuffle))
    assert sorted(seen["number"].tolist()) == list(range(NUM))
    for row, number in enumerate(seen["number"].tolist()):
        one = {key: value[row] for key, value in seen.items()}
        assert one["label"] == number % 3 and one["flag"] == (number % 2 == 0)
        assert one["vector"].tolist() == [number, number + 0.5, -number]
        assert bytes(one["text"].tolist()).rstrip(b"\0").decode() == "ü" * (number % 4) + str(number)
        assert one["tokens"][: one["length:tokens"]].tolist() == list(range(number % 5))
        assert one["tags"][: one["length:tags"]].tolist() == [number % 3] * (number % 3)
        words = [bytes(word.tolist()).rstrip(b"\0").decode() for word in one["words"][: one["length:words"]]]
        assert words == ["a", "bcd"][: number % 3]
        assert (one["grid"] == number).all() and (one["image"] == number).all()
        assert (one["frames"][: one["length:frames"]] == number).all() and one["length:frames"] == 1 + number % 3
        assert one["length:audio"] == 10 + number
        expected = torch.linspace(-1, 1, 10 + number)
        assert (
            torch.allclose(one["audio"][: 10 + number, 0], expected, atol=1e-6)
            and (one["audio"][10 + number :] == 0).all()
        )


@pytest.mark.parametrize("kind", ["parquet", "json", "csv", "arrow"])
def test_local_files(tmp_path, kind):
    made = make_dataset("number", "text") if kind == "csv" else make_dataset("number", "text", "tokens")
    if kind == "arrow":
        made.save_to_disk(tmp_path / "saved")
        loaded = datasets.load_from_disk(tmp_path / "saved")
    else:
        path = str(tmp_path / f"data.{kind}")
        getattr(made, f"to_{kind}")(path)
        loaded = datasets.load_dataset(kind, data_files=path, cache_dir=str(tmp_path / "cache"))  # a DatasetDict
    seen = read_pass(ae.DatasetEnv(loaded, batch_size=5, epochs=1))
    assert seen["number"].tolist() == list(range(NUM))
    assert bytes(seen["text"][7].tolist()).rstrip(b"\0").decode() == "üüü7"


def test_a_selection_is_read_as_it_is():
    chosen = make_dataset("number", "text", "image").filter(lambda row: row["number"] % 2).shuffle(seed=3)
    env = ae.DatasetEnv(chosen, batch_size=4, epochs=1)
    seen = torch.cat([t.observation["number"][t.observation.get("mask:number", t.reward == 0)] for t in env])
    assert seen.tolist() == chosen["number"]
    columns = make_dataset("number", "label").with_format("torch", columns=["label"])
    assert set(ae.DatasetEnv(columns).observation_spec()) == {"label"}


def test_a_function_of_the_users_is_asked():
    made = make_dataset("number")
    made.set_transform(lambda rows: {"double": [2 * number for number in rows["number"]]})
    env = ae.DatasetEnv(made, batch_size=4)
    assert env.reset().observation["double"].tolist() == [0, 2, 4, 6]


def test_transforms_and_tokenizers():
    made = make_dataset("number", "text", "image", "tokens")
    env = ae.DatasetEnv(
        made,
        batch_size=3,
        transform={"image": ae.FitImage(4, 5)},
        tokenizer=lambda text: [ord(letter) for letter in text],
        max_length={"tokens": 2},
    )
    observation = env.reset().observation
    assert observation["image"].shape == (3, 4, 5, 3) and (observation["image"][2] == 2).all()
    assert observation["text"][1].tolist() == [252, 49, 0, 0, 0] and observation["text"].dtype == torch.int64
    assert observation["length:text"].tolist() == [1, 2, 3]
    assert observation["tokens"].tolist() == [[0, 0], [0, 0], [0, 1]]
    assert observation["length:tokens"].tolist() == [0, 1, 2]


def test_what_is_missing_or_unlike_is_a_bad_sample():
    numbers = datasets.Dataset.from_dict({"x": [1, 2, None, 4], "y": ["a", "b", "c", "d"]})
    with pytest.raises(SpecError, match=r"sample 2 .*on_bad_sample|expected a value in every row.*'x'"):
        [timestep.observation for timestep in ae.DatasetEnv(numbers, batch_size=4, epochs=1)]
    env = ae.DatasetEnv(numbers, batch_size=4, epochs=1, on_bad_sample="skip")
    with pytest.warns(UserWarning, match="sample 2|expected a value in every row"):
        (timestep,) = list(env)
    assert timestep.observation["mask:x"].tolist() == [True, True, False, True]
    assert timestep.observation["x"].tolist() == [1, 2, 0, 4]

    sizes = [(6, 8), (6, 8), (5, 8), (6, 8)]
    images = datasets.Dataset.from_dict(
        {"image": [picture(i, size) for i, size in enumerate(sizes)]},
        features=datasets.Features({"image": datasets.Image()}),
    )
    with pytest.raises(SpecError, match=r"expected 'image' to be uint8 \[6, 8, 3\].*FitImage"):
        ae.DatasetEnv(images, batch_size=4).reset()
    fitted = ae.DatasetEnv(images, batch_size=4, transform={"image": ae.FitImage(2, 2)})
    assert fitted.reset().observation["image"][:, 0, 0, 0].tolist() == [0, 1, 2, 3]


def test_labels_that_a_test_split_hides_are_refused():
    hidden = make_dataset("number", "label").map(lambda row: {"label": -1})
    with pytest.raises(SpecError, match=r"expected classes in 0\.\.2, got -1\.\.-1"):
        ae.DatasetEnv(hidden, batch_size=4).reset()


def test_splits():
    both = datasets.DatasetDict({"train": make_dataset("number"), "test": make_dataset("number", num=3)})
    assert len(list(ae.DatasetEnv(both, epochs=1))) == NUM  # batch_size is 1, as a DataLoader's
    assert len(list(ae.DatasetEnv(both, split="test", epochs=1))) == 3
    with pytest.raises(SpecError, match=r"split= to be one of \['test', 'train'\], got 'valid'"):
        ae.DatasetEnv(both, split="valid").reset()
    with pytest.raises(SpecError, match="expected a mapping of splits because of split='test'"):
        ae.DatasetEnv(both["train"], split="test").reset()
    with pytest.raises(SpecError, match=r"one of \['a', 'b'\], got None"):
        ae.DatasetEnv({"a": both["train"], "b": both["test"]}).reset()


def test_conformance(everything):
    check_env(lambda: ae.DatasetEnv(everything, batch_size=4, epochs=2, shuffle=True, name="everything"))
    number_label = make_dataset("image", "label").rename_columns({"image": "x", "label": "y"})
    check_env(lambda: ae.DatasetEnv(number_label, batch_size=4, loss="cross_entropy", name="classes"))


def test_it_goes_on_exactly(everything):
    assert_resumes(lambda: ae.DatasetEnv(everything, batch_size=4, epochs=2, shuffle=True))


# Streaming


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> list[str]:
    folder, paths = tmp_path_factory.mktemp("stream"), []
    for shard in range(3):
        path = folder / f"{shard}.jsonl"
        rows = [{"number": 10 * shard + row, "text": f"row {row}"} for row in range(7)]
        path.write_text("\n".join(map(json.dumps, rows)))
        paths.append(str(path))
    return paths


def stream(files: list[str], shuffle: bool = False):
    made = datasets.load_dataset("json", data_files={"train": files}, streaming=True)["train"]
    return made.shuffle(seed=5, buffer_size=6) if shuffle else made


ALL = [10 * shard + row for shard in range(3) for row in range(7)]


def test_streams_go_on_exactly(files):
    seen = assert_resumes(lambda: ae.DatasetEnv(stream(files), batch_size=4, epochs=2), 12)
    assert [number for each in seen[:5] for number in each["number"]] + seen[5]["number"][:1] == ALL


def test_a_shuffled_stream_has_another_order_in_each_pass(files):
    env = ae.DatasetEnv(stream(files, shuffle=True), batch_size=3, epochs=2)
    numbers = torch.cat([timestep.observation["number"] for timestep in env]).tolist()
    assert sorted(numbers[:21]) == sorted(numbers[21:]) == ALL
    assert numbers[:21] != numbers[21:]
    ours = ae.DatasetEnv(stream(files), batch_size=3, epochs=2, shuffle=True, shuffle_buffer=6)
    assert sorted(torch.cat([timestep.observation["number"] for timestep in ours]).tolist()[:21]) == ALL


def test_our_shuffled_streams_go_on_exactly(files):
    assert_resumes(lambda: ae.DatasetEnv(stream(files), batch_size=4, epochs=2, shuffle=True, shuffle_buffer=5), 8)


def test_streams_of_images_audio_and_lists():
    def make():
        data = make_dataset("number", "image", "audio", "tokens", "label").to_iterable_dataset(num_shards=2)
        return ae.DatasetEnv(data, batch_size=4, epochs=1, max_length={"audio": 20})

    spec = make().specs["IterableDataset"]
    assert spec.observation["audio"].shape == (20, 1) and spec.observation["tokens"].shape == (256,)
    assert spec.observation["tokens"].dtype == np.int32 and spec.observation["audio"].dtype == np.float32
    assert spec.observation["label"].num_values == 3 and spec.observation["image"].shape == (6, 8, 3)
    assert spec.modalities["observation"]["audio"] == Modality("sequence", "real", "audio")
    seen = make().reset().observation
    assert seen["length:audio"].tolist() == [10, 11, 12, 13] and seen["length:tokens"].tolist() == [0, 1, 2, 3]
    assert torch.allclose(seen["audio"][3, :13, 0], torch.linspace(-1, 1, 13), atol=1e-6)
    assert_resumes(make, 6)


def test_slots_share_a_stream(files):
    loader = ae.Loader(ae.DatasetEnv(stream(files), batch_size=3, epochs=1), in_flight=2, steps_per_epoch=7)
    assert sorted(torch.cat([timestep.observation["number"] for timestep in loader]).tolist()) == ALL


def test_a_dataset_travels_to_other_processes(everything):
    env = ae.DatasetEnv(everything, batch_size=4)
    other = pickle.loads(pickle.dumps(env))
    assert torch.equal(env.reset().observation["image"], other.reset().observation["image"])
