"""torch and torchvision datasets, TFDS, and tf.data: images, text, audio and video of all sizes."""

import gzip
import importlib
import io
import struct
import types

import numpy as np
import pytest
import torch
from dm_env import specs
from torch.utils.data import Dataset, IterableDataset

import aexp_torch as ae
from aexp_torch.errors import SpecError
from aexp_torch.specs import Modality
from aexp_torch.testing import check_env
from tests.catalog.torch_operators import can_import_torchvision
from tests.sources.resuming import assert_resumes

NUM = 11
VIDEO = Modality("sequence", "integer", "natural")
AUDIO = Modality("sequence", "real", "audio")
TEXT = Modality("sequence", "categorical")


class Rows(Dataset):
    """Makes each sample with a function of its number."""

    def __init__(self, make, num: int = NUM):
        self.make, self.num = make, num

    def __len__(self):
        return self.num

    def __getitem__(self, index):
        if index >= self.num:
            raise IndexError(index)
        return self.make(index)


class Stream(IterableDataset):
    def __init__(self, make):
        self.make = make

    def __iter__(self):
        return map(self.make, range(NUM))


def first(env: ae.DatasetEnv) -> dict:
    return env.reset().observation


# torchvision


@pytest.fixture(scope="module")
def torchvision():
    if not can_import_torchvision():
        pytest.skip("torchvision is not installed")
    return importlib.import_module("torchvision")


def test_fake_data(torchvision):
    fake = torchvision.datasets.FakeData(NUM, (3, 8, 8), num_classes=4, transform=torchvision.transforms.ToTensor())
    env = ae.DatasetEnv(fake, batch_size=4, epochs=1)
    spec = env.specs["FakeData"]
    assert spec.observation["x"].shape == (3, 8, 8) and spec.observation["x"].dtype == np.float32
    assert torch.equal(first(env)["x"][2], fake[2][0])
    pictures = ae.DatasetEnv(torchvision.datasets.FakeData(NUM, (3, 8, 8), num_classes=4), batch_size=4)
    assert first(pictures)["x"].shape == (4, 8, 8, 3) and first(pictures)["x"].dtype == torch.uint8
    assert pictures.specs["FakeData"].modalities["observation"]["x"] == Modality("grid", "integer", "natural")
    check_env(lambda: ae.DatasetEnv(fake, batch_size=4, epochs=1))


def test_image_folder_with_images_of_all_sizes(tmp_path, torchvision):
    from PIL import Image

    modes = ["RGB", "L", "RGBA", "P"]
    for name, count in (("cat", 4), ("dog", 3)):
        (tmp_path / name).mkdir()
        for index in range(count):
            Image.new(modes[index], (5 + index, 9), 100).save(tmp_path / name / f"{index}.png")
    folder = torchvision.datasets.ImageFolder(str(tmp_path))
    with pytest.raises(SpecError, match=r"'x' to be uint8 \[9, 5, 3\].*transform=\{'x': function\}.*FitImage"):
        first(ae.DatasetEnv(folder, batch_size=4))
    env = ae.DatasetEnv(folder, batch_size=7, transform={"x": ae.FitImage(6, 4)}, loss="cross_entropy")
    spec = env.specs["ImageFolder"]
    assert spec.observation["x"] == specs.BoundedArray((6, 4, 3), np.uint8, 0, 255, "x")
    assert spec.observation["y"] == specs.DiscreteArray(2, np.int64, "y")
    assert first(env)["x"].shape == (7, 6, 4, 3)
    skipping = ae.DatasetEnv(folder, batch_size=7, epochs=1, on_bad_sample="skip")
    with pytest.warns(UserWarning, match=r"got uint8 \[9, 6, 3\] in sample 1"):
        seen = first(skipping)
    assert seen["mask:x"].tolist() == [True, False, False, False, True, False, False]


def test_mnist_from_its_own_files(tmp_path, torchvision):
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    pixels = np.arange(NUM * 28 * 28, dtype=np.uint32).astype(np.uint8).reshape(NUM, 28, 28)
    for name, header, content in (
        ("train-images-idx3-ubyte", struct.pack(">IIII", 2051, NUM, 28, 28), pixels),
        ("train-labels-idx1-ubyte", struct.pack(">II", 2049, NUM), np.arange(NUM, dtype=np.uint8) % 10),
    ):
        for other in (name, name.replace("train", "t10k")):
            (folder / other).write_bytes(header + content.tobytes())
            (folder / f"{other}.gz").write_bytes(gzip.compress(header + content.tobytes()))
    env = ae.DatasetEnv(torchvision.datasets.MNIST(str(tmp_path)), batch_size=4, epochs=1, name="mnist")
    assert env.specs["mnist"].observation["y"].num_values == 10
    assert torch.equal(first(env)["x"], torch.from_numpy(pixels[:4]))
    assert_resumes(
        lambda: ae.DatasetEnv(torchvision.datasets.MNIST(str(tmp_path)), batch_size=4, epochs=2, shuffle=True), 6
    )


@pytest.mark.parametrize(
    "image, expected",
    [
        (np.full((4, 6), 9, np.uint8), [9, 9, 9]),
        (np.full((4, 6, 1), 9, np.uint8), [9, 9, 9]),
        (np.full((4, 6, 4), 9, np.uint8), [9, 9, 9]),
        (torch.tensor([1, 2, 3], dtype=torch.uint8).view(3, 1, 1).expand(3, 5, 5), [1, 2, 3]),
    ],
)
def test_fit_image(image, expected):
    fitted = ae.FitImage(3, 2)(image)
    assert fitted.shape == (3, 2, 3) and fitted.dtype == np.uint8 and fitted[1, 1].tolist() == expected
    assert ae.FitImage(3, 2, channels=1)(image).shape == (3, 2, 1)


def test_fit_image_keeps_the_picture():
    from PIL import Image

    gradient = np.tile(np.linspace(0, 255, 64).astype(np.uint8)[:, None, None], (1, 64, 3))
    for image in (gradient, Image.fromarray(gradient), torch.from_numpy(gradient).movedim(-1, 0)):
        column = ae.FitImage(4, 4)(image)[:, 2, 0].astype(int)
        assert np.allclose(column, [32, 96, 160, 223], atol=8)
    with pytest.raises(SpecError, match="expected a PIL image or uint8"):
        ae.FitImage(2, 2)(np.zeros(3))
    with pytest.raises(SpecError, match="height and width from 1 on"):
        ae.FitImage(0, 2)


# Text


def test_text_is_bytes_unless_somebody_makes_tokens_of_it():
    rows = Rows(lambda index: ("ab " * index, index % 2))
    env = ae.DatasetEnv(rows, batch_size=NUM)
    assert first(env)["x"].dtype == torch.uint8 and first(env)["x"].shape == (NUM, 30)
    tokens = ae.DatasetEnv(rows, batch_size=NUM, tokenizer=lambda text: [len(word) for word in text.split()])
    assert first(tokens)["x"].tolist()[3] == [2, 2, 2] + [0] * 7
    assert first(tokens)["length:x"].tolist() == list(range(NUM))
    spec = tokens.specs["Rows"]
    assert spec.observation["x"].shape == (10,) and spec.modalities["observation"]["x"] == TEXT
    cut = ae.DatasetEnv(rows, batch_size=NUM, tokenizer=lambda text: [1] * len(text), max_length={"x": 4})
    assert first(cut)["x"].shape == (NUM, 4) and first(cut)["length:x"].tolist() == [0, 3] + [4] * 9


def word_level():
    tokenizers = pytest.importorskip("tokenizers")
    vocabulary = {"[UNK]": 0, "a": 1, "cat": 2, "sat": 3}
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="[UNK]"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    return made


class TransformersLike:
    """Speaks as tokenizers of the package transformers do."""

    vocab_size = 4

    def __init__(self):
        self.inner = word_level()

    def __len__(self):
        return 6  # with what was added

    def __call__(self, text):
        ids = self.inner.encode(text).ids
        return {"input_ids": ids, "attention_mask": [1] * len(ids)}


@pytest.mark.parametrize("make, size", [(word_level, 4), (TransformersLike, 6)])
@pytest.mark.parametrize("by_key", [False, True])
def test_tokenizers_of_others(make, size, by_key):
    texts = ["a cat sat", "a dog", "cat"]
    data = [{"text": text, "id": f"id {index}"} for index, text in enumerate(texts)]
    tokenizer = {"text": make()} if by_key else make()
    env = ae.DatasetEnv(data, batch_size=3, tokenizer=tokenizer)
    spec = env.specs["list"].observation
    assert spec["text"] == specs.BoundedArray((3,), np.int64, 0, size - 1, "text")
    assert first(env)["text"].tolist() == [[1, 2, 3], [1, 0, 0], [2, 0, 0]]
    assert first(env)["length:text"].tolist() == [3, 2, 1]
    assert (first(env)["id"].dtype == torch.uint8) == by_key
    for other in (Stream(lambda index: {"text": texts[index % 3]}), {"text": np.array(texts * 4)}):
        seen = first(ae.DatasetEnv(other, batch_size=3, tokenizer=make(), text_length=2))
        assert seen["text"].tolist() == [[1, 2], [1, 0], [2, 0]] and seen["length:text"].tolist() == [2, 2, 1]
    check_env(lambda: ae.DatasetEnv(data, batch_size=2, epochs=2, tokenizer=tokenizer))


def test_tokens_that_are_none_are_refused():
    data = Rows(lambda index: {"text": "a"})
    with pytest.raises(SpecError, match=r"expected integers \[L\] from the tokenizer function, got <U1 \[1\]"):
        first(ae.DatasetEnv(data, batch_size=2, tokenizer=lambda text: list(text)))
    for option in ({"tokenizer": {"txt": ord}}, {"max_length": {"txt": 3}}, {"transform": {"txt": len}}):
        with pytest.raises(SpecError, match=rf"expected keys \['text'\] in {next(iter(option))}=, got \['txt'\]"):
            first(ae.DatasetEnv(data, batch_size=2, **option))


# What varies in length


def clip(index: int) -> dict:
    length = 2 + index % 3
    return {"video": torch.full((length, 4, 5, 3), index, dtype=torch.uint8), "label": index % 2}


@pytest.mark.parametrize("make", [Rows, Stream])
def test_videos_of_unequal_lengths(make):
    with pytest.raises(SpecError, match=r"'video' to be uint8 \[2, 4, 5, 3\].*max_length=\{'video': 3\}"):
        first(ae.DatasetEnv(make(clip), batch_size=4))
    env = ae.DatasetEnv(make(clip), batch_size=4, epochs=2, max_length={"video": 3}, name="clips")
    spec = env.specs["clips"]
    assert spec.observation["video"].shape == (3, 4, 5, 3)
    assert spec.observation["length:video"] == specs.BoundedArray((), np.int64, 0, 3, "length:video")
    assert spec.modalities["observation"] == {
        "video": VIDEO,
        "length:video": Modality("flat", "integer"),
        "label": Modality("flat", "categorical"),
    }
    seen = first(env)
    assert seen["length:video"].tolist() == [2, 3, 3, 2]
    assert seen["video"][1].eq(1).all() and seen["video"][3, 2].eq(0).all() and seen["video"][3, :2].eq(3).all()
    if make is Rows:
        check_env(lambda: ae.DatasetEnv(make(clip), batch_size=4, epochs=2, max_length={"video": 3}, name="clips"))


def test_the_length_of_the_target_is_told_with_it():
    data = Rows(lambda index: (float(index), torch.arange(index % 3)))
    env = ae.DatasetEnv(data, batch_size=4, mode="delayed", max_length={"y": 2}, epochs=1)
    timestep = env.reset()
    assert timestep.observation["y"] is None and timestep.observation["length:y"] is None
    timestep = env.step(torch.zeros(4, 2, dtype=torch.int64))
    assert timestep.observation["length:y"].tolist() == [0, 1, 2, 0]


def test_lengths_that_do_not_fit():
    with pytest.raises(SpecError, match="max_length for a key with an axis, 'label' is a scalar"):
        first(ae.DatasetEnv(Rows(clip), batch_size=2, max_length={"label": 3}))
    with pytest.raises(SpecError, match=r"expected max_length\['video'\] to be an integer from 1 on, got 0"):
        first(ae.DatasetEnv(Rows(clip), batch_size=2, max_length={"video": 0}))
    with pytest.raises(SpecError, match="expected no transform and no max_length for arrays"):
        first(ae.DatasetEnv({"x": torch.zeros(3, 2)}, batch_size=2, max_length={"x": 3}))
    loader = torch.utils.data.DataLoader(Rows(lambda index: {"x": torch.zeros(3)}), batch_size=2)
    with pytest.raises(SpecError, match="Pad in its collate_fn"):
        first(ae.DatasetEnv(loader, max_length={"x": 3}))


def test_audio_from_open_files():
    soundfile = pytest.importorskip("soundfile")

    def sound(index: int) -> dict:
        file = io.BytesIO()
        wave = np.full((10 + index, 2), index / 20, np.float32)
        soundfile.write(file, wave, 8000, format="WAV", subtype="FLOAT")
        file.seek(0)
        return {"audio": soundfile.SoundFile(file), "label": index % 2}

    options = {"max_length": {"audio": 16}, "modalities": {"audio": AUDIO}}
    env = ae.DatasetEnv(Rows(sound), batch_size=NUM, **options)
    spec = env.specs["Rows"]
    assert spec.observation["audio"].shape == (16, 2) and spec.observation["audio"].dtype == np.float32
    assert spec.modalities["observation"]["audio"] == AUDIO
    seen = first(env)
    assert seen["length:audio"].tolist() == [min(10 + index, 16) for index in range(NUM)]
    assert torch.allclose(seen["audio"][3, :13], torch.tensor(3 / 20)) and (seen["audio"][3, 13:] == 0).all()


def test_encoders_take_what_is_guessed():
    from lightning_modules.networks.encoders import leaf_encoder

    for shape, dtype, modality in (((4, 6, 6, 3), np.uint8, VIDEO), ((40, 2), np.float32, AUDIO)):
        spec = specs.BoundedArray(shape, dtype, 0, 255) if dtype == np.uint8 else specs.Array(shape, dtype)
        features = leaf_encoder("leaf", spec, modality, 8)(
            torch.zeros(2, *shape, dtype=torch.from_numpy(np.zeros(1, dtype)).dtype)
        )
        assert features.shape == (2, 8)


# Errors that pass


class Flaky(Dataset):
    """Fails at some reads, as remote storage does."""

    def __init__(self, error, times: int):
        self.error, self.times, self.failed = error, times, 0

    def __len__(self):
        return NUM

    def __getitem__(self, index):
        if index == 5 and self.failed < self.times:
            self.failed += 1
            raise self.error
        return {"x": float(index)}


class FlakyStream(IterableDataset):
    def __init__(self, flaky):
        self.flaky = flaky

    def __iter__(self):
        return (self.flaky[index] for index in range(NUM))

    def __deepcopy__(self, memo):
        return self


@pytest.mark.parametrize("error", [ConnectionResetError("reset"), TimeoutError("slow"), OSError(5, "input/output")])
@pytest.mark.parametrize("stream", [False, True])
def test_errors_that_pass_are_waited_for(error, stream):
    flaky = Flaky(error, 2)
    env = ae.DatasetEnv(FlakyStream(flaky) if stream else flaky, batch_size=4, epochs=1, read_timeout=5)
    seen = torch.cat([timestep.observation["x"] for timestep in env])
    assert flaky.failed == 2 and seen[:NUM].tolist() == list(range(NUM))


@pytest.mark.parametrize("stream", [False, True])
def test_errors_that_do_not_pass_end_it(stream):
    flaky = Flaky(ConnectionResetError("reset by peer"), 10**9)
    env = ae.DatasetEnv(FlakyStream(flaky) if stream else flaky, epochs=1, read_timeout=0.4, on_bad_sample="skip")
    with pytest.raises(SpecError, match=r"within 0\.4 s, \d attempt\(s\) failed.*reset by peer.*read_timeout="):
        list(env)
    missing = Flaky(FileNotFoundError("gone"), 10**9)
    with pytest.raises(SpecError, match="FileNotFoundError: gone"):
        list(ae.DatasetEnv(missing, epochs=1))
    assert missing.failed <= 3


# TFDS and tf.data


@pytest.fixture(scope="module")
def things(tmp_path_factory):
    tfds = pytest.importorskip("tensorflow_datasets")
    from tests.sources.tfds_things import Things

    builder = Things(data_dir=str(tmp_path_factory.mktemp("tfds")), file_format="array_record")
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(try_download_gcs=False))
    return builder.as_data_source()


@pytest.mark.slow
def test_all_splits_of_a_data_source(things):
    env = ae.DatasetEnv(things, epochs=4, batch_size=1024)
    assert env.name == "things" and len(list(env)) == 4
    assert len(list(ae.DatasetEnv(things, split="test", epochs=1))) == 3
    spec = env.specs["things"]
    assert spec.observation["label"] == specs.DiscreteArray(3, np.int64, "label")
    assert spec.observation["image"].shape == (6, 8, 3)
    assert spec.observation["photo"].shape == (224, 224, 3)  # of all sizes, as COCO's
    assert spec.observation["objects"]["box"].shape == (3, 4) and "length:box" in spec.observation["objects"]
    assert spec.observation["objects"]["kind"].shape == (3,)
    seen = first(env)
    for row in range(NUM):
        assert seen["image"][row].eq(row).all() and seen["label"][row] == row % 3
        assert seen["objects"]["length:box"][row] == seen["objects"]["length:kind"][row] == row % 4
        assert seen["objects"]["box"][row, : row % 4].eq(row / 16).all()
        assert bytes(seen["text"][row].tolist()).rstrip(b"\0") == b"thing " * (row % 3)
    assert_resumes(lambda: ae.DatasetEnv(things, batch_size=3, epochs=2, shuffle=True), 8)


class TensorFlowDataset:
    """Speaks the part of tf.data.Dataset that is read; TensorFlow is not installed here."""

    __module__ = "tensorflow.python.data.ops.dataset_ops"

    def __init__(self, num: int | None):
        self.num, self.passes = num, 0

    def __iter__(self):
        raise AssertionError("tensors of TensorFlow are not asked for")

    def __len__(self):
        raise TypeError("the cardinality is unknown")

    def as_numpy_iterator(self):
        self.passes += 1
        return (
            {
                "x": np.float32(index),
                "text": f"row {index}".encode(),
                "image": np.full((4 + index, 5, 3), index, np.uint8),
                "objects": {"box": np.full((index % 3, 4), index, np.float32)},
            }
            for index in range(NUM)
        )

    @property
    def element_spec(self):
        def tensor(shape, dtype):
            return types.SimpleNamespace(shape=shape, dtype=np.dtype(dtype))

        image, box = tensor((None, None, 3), np.uint8), tensor((None, 4), np.float32)
        return {"x": tensor((), np.float32), "image": image, "objects": {"box": box}}

    def cardinality(self):
        return np.int64(-2 if self.num is None else self.num)

    def __deepcopy__(self, memo):
        raise AssertionError("graphs are not copied")


@pytest.mark.parametrize("num", [None, NUM])
def test_tf_data(num):
    data = TensorFlowDataset(num)
    env = ae.DatasetEnv({"train": data, "test": TensorFlowDataset(3)}, batch_size=4, epochs=2)
    assert env.pass_length == (None if num is None else 3)
    timesteps = list(env)
    seen = timesteps[1].observation
    assert seen["image"].shape == (4, 224, 224, 3) and seen["image"][:, 9, 9, 0].tolist() == [4, 5, 6, 7]
    assert seen["objects"]["length:box"].tolist() == [1, 2, 0, 1] and seen["objects"]["box"].shape == (4, 256, 4)
    assert torch.cat([t.observation["x"] for t in timesteps])[:NUM].tolist() == list(range(NUM)) and data.passes == 2
    with pytest.warns(UserWarning, match="read again and skipped"):
        assert_resumes(lambda: ae.DatasetEnv(data, epochs=2, transform={"image": ae.FitImage(2, 2)}), 3)
