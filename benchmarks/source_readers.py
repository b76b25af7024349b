"""Readers of data beside their providers: the contests of `sources` that read.

A minibatch is 128 images of 32 x 32 (PNG) with their labels, as tensors; the order is that of the files, or a permutation.
Every contestant writes the same small dataset in the provider's own format first, and reads it again and again. Bare is
the loop that the provider's documentation has, with what it takes to stack a minibatch.
To add one, write two functions `function(turns, **arguments)`, one with aexp_torch and one without, and name them in
`contests()`.
"""

import io
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

import aexp_torch as ae
from benchmarks.contest import Contest
from benchmarks.turns import Turns

__all__ = ["contests"]

HERE = __name__
NUM, BATCH, SIDE, CLASSES = 2048, 128, 32, 10


def contests() -> list[Contest]:
    """Returns the contests."""
    from benchmarks.sources import duel

    readers = [
        ("TFDS", "tfds", ("tensorflow_datasets", "array_record"), (False, True)),
        ("WebDataset", "webdataset", ("webdataset",), (False,)),
        ("Deep Lake", "deep_lake", ("deeplake",), (False, True)),
        ("Hugging Face", "hugging_face", ("datasets",), (False, True)),
        ("Hugging Face streaming", "streaming", ("datasets",), (False,)),
    ]
    found = []
    for who, name, needs, orders in readers:
        for shuffle in orders:
            title = "Images, shuffled" if shuffle else "Images"
            both = {"ours": f"{HERE}:ours_{name}", "bare": f"{HERE}:bare_{name}"}
            found.append(duel(title, "samples/s", **both, who=who, needs=needs, longer=3.0, shuffle=shuffle))
    numbers = {"ours": f"{HERE}:ours_numbers", "bare": f"{HERE}:bare_numbers"}
    for shuffle in (False, True):
        title = "Numbers, shuffled" if shuffle else "Numbers"
        found.append(duel(title, "samples/s", **numbers, who="Hugging Face", needs=("datasets",), shuffle=shuffle))
    return found


# What is read


def pictures() -> Iterator[tuple[np.ndarray, int]]:
    """Yields images, uint8 [32, 32, 3], and labels."""
    generator = np.random.default_rng(0)
    for number in range(NUM):
        coarse = generator.integers(0, 256, (8, 8, 3), np.uint8)
        yield np.kron(coarse, np.ones((4, 4, 1), np.uint8)), number % CLASSES


def encoded(image: np.ndarray) -> bytes:
    """Returns an image as PNG."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(image).save(file, format="PNG")
    return file.getvalue()


def ours(turns: Turns, data: Any, shuffle: bool, **options: Any) -> None:
    """Iterates a DatasetEnv."""
    env = ae.DatasetEnv(data, batch_size=BATCH, shuffle=shuffle, drop_last=True, name="images", **options)
    try:
        for timestep in env:
            assert len(timestep.reward) == BATCH
            turns(BATCH)
    finally:
        env.close()


def bare(turns: Turns, batches: Callable[[], Iterator[tuple[torch.Tensor, torch.Tensor]]]) -> None:
    """Iterates passes."""
    while True:
        for images, _ in batches():
            assert len(images) == BATCH
            turns(BATCH)


def orders(shuffle: bool) -> Iterator[list[int]]:
    """Yields the numbers of a pass, minibatch by minibatch."""
    numbers = np.random.default_rng().permutation(NUM) if shuffle else np.arange(NUM)
    for start in range(0, NUM, BATCH):
        yield numbers[start : start + BATCH].tolist()


# TFDS


def tfds_source(folder: str) -> Any:
    """Writes array_record files and opens them."""
    import tensorflow_datasets as tfds

    from benchmarks.tfds_images import Images

    builder = Images(data_dir=folder, file_format="array_record")
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(try_download_gcs=False))
    return builder.as_data_source(split="train")


def ours_tfds(turns: Turns, shuffle: bool) -> None:
    """Reads a data source with DatasetEnv."""
    with tempfile.TemporaryDirectory() as folder:
        ours(turns, tfds_source(folder), shuffle)


def bare_tfds(turns: Turns, shuffle: bool) -> None:
    """Reads a data source by index."""
    with tempfile.TemporaryDirectory() as folder:
        source = tfds_source(folder)

        def batches() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
            for numbers in orders(shuffle):
                rows = source.__getitems__(numbers)
                images = torch.from_numpy(np.stack([row["image"] for row in rows]))
                yield images, torch.from_numpy(np.stack([row["label"] for row in rows]))

        bare(turns, batches)


# WebDataset


def write_shards(folder: str) -> str:
    """Writes four tar files and returns their address."""
    import webdataset

    writers = [webdataset.TarWriter(f"{folder}/images-{shard}.tar") for shard in range(4)]
    for number, (image, label) in enumerate(pictures()):
        sample = {"__key__": f"{number:06d}", "png": encoded(image), "cls": label}
        writers[number * len(writers) // NUM].write(sample)
    for writer in writers:
        writer.close()
    return f"{folder}/images-{{0..{len(writers) - 1}}}.tar"


def shards_pipeline(folder: str) -> Any:
    """Opens the shards."""
    import webdataset

    data = webdataset.WebDataset(write_shards(folder), shardshuffle=False)
    return data.decode("rgb8").to_tuple("png", "cls")


def ours_webdataset(turns: Turns, shuffle: bool) -> None:
    """Reads shards with DatasetEnv."""
    with tempfile.TemporaryDirectory() as folder:
        ours(turns, shards_pipeline(folder), shuffle)


def bare_webdataset(turns: Turns, shuffle: bool) -> None:
    """Reads shards with WebDataset's own batching."""
    with tempfile.TemporaryDirectory() as folder:
        data = shards_pipeline(folder).batched(BATCH)

        def batches() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
            for images, labels in data:
                yield torch.as_tensor(images), torch.as_tensor(labels)

        bare(turns, batches)


# Deep Lake


def lake(folder: str) -> Any:
    """Writes a local dataset and opens it."""
    import deeplake

    address = f"file://{folder}/images"
    made = deeplake.create(address)
    made.add_column("image", deeplake.types.Image("uint8", sample_compression="png"))
    made.add_column("label", deeplake.types.ClassLabel("int64"))
    images, labels = zip(*pictures())
    made.append({"image": list(images), "label": list(labels)})
    made.commit()
    return deeplake.open_read_only(address)


def ours_deep_lake(turns: Turns, shuffle: bool) -> None:
    """Reads a lake with DatasetEnv."""
    with tempfile.TemporaryDirectory() as folder:
        ours(turns, lake(folder), shuffle)


def bare_deep_lake(turns: Turns, shuffle: bool) -> None:
    """Reads the columns of a lake a minibatch at a time."""
    with tempfile.TemporaryDirectory() as folder:
        data = lake(folder)

        def batches() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
            for numbers in orders(shuffle):
                rows = numbers if shuffle else slice(numbers[0], numbers[-1] + 1)
                images, labels = np.array(data["image"][rows]), np.array(data["label"][rows])
                yield torch.from_numpy(images), torch.from_numpy(labels)

        bare(turns, batches)


# Hugging Face


def table(folder: str) -> Any:
    """Writes an Arrow table and maps it."""
    import datasets

    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(CLASSES)})
    columns = {"image": [], "label": []}
    for image, label in pictures():
        columns["image"].append({"bytes": encoded(image), "path": None})
        columns["label"].append(label)
    datasets.disable_progress_bars()
    datasets.Dataset.from_dict(columns, features=features).save_to_disk(folder)
    return datasets.load_from_disk(folder)


def ours_hugging_face(turns: Turns, shuffle: bool) -> None:
    """Reads a table with DatasetEnv."""
    with tempfile.TemporaryDirectory() as folder:
        ours(turns, table(folder), shuffle)


def bare_hugging_face(turns: Turns, shuffle: bool) -> None:
    """Reads a table by index."""
    with tempfile.TemporaryDirectory() as folder:
        bare_table(turns, table(folder).with_format("numpy"), "image", shuffle)


def bare_table(turns: Turns, data: Any, key: str, shuffle: bool) -> None:
    """Reads the rows of a formatted table a minibatch at a time."""

    def batches() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for numbers in orders(shuffle):
            rows = data[numbers] if shuffle else data[numbers[0] : numbers[-1] + 1]
            yield torch.as_tensor(np.stack(rows[key])), torch.as_tensor(rows["label"])

    bare(turns, batches)


def ours_streaming(turns: Turns, shuffle: bool) -> None:
    """Reads a stream with DatasetEnv."""
    with tempfile.TemporaryDirectory() as folder:
        ours(turns, table(folder).to_iterable_dataset(), shuffle)


def bare_streaming(turns: Turns, shuffle: bool) -> None:
    """Reads a stream sample by sample, and stacks them."""
    with tempfile.TemporaryDirectory() as folder:
        data = table(folder).to_iterable_dataset()

        def batches() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
            images, labels = [], []
            for row in data:
                images.append(np.asarray(row["image"]))
                labels.append(row["label"])
                if len(images) == BATCH:
                    yield torch.from_numpy(np.stack(images)), torch.as_tensor(labels)
                    images, labels = [], []

        bare(turns, batches)


def vectors(folder: str) -> Any:
    """Writes an Arrow table of numbers and maps it."""
    import datasets

    generator = np.random.default_rng(0)
    features = {"x": datasets.List(datasets.Value("float32"), length=784), "label": datasets.ClassLabel(CLASSES)}
    columns = {
        "x": list(generator.random((NUM, 784), np.float32)),
        "label": [number % CLASSES for number in range(NUM)],
    }
    datasets.disable_progress_bars()
    datasets.Dataset.from_dict(columns, features=datasets.Features(features)).save_to_disk(folder)
    return datasets.load_from_disk(folder)


def ours_numbers(turns: Turns, shuffle: bool) -> None:
    """Reads numbers with DatasetEnv."""
    with tempfile.TemporaryDirectory() as folder:
        ours(turns, vectors(folder), shuffle)


def bare_numbers(turns: Turns, shuffle: bool) -> None:
    """Reads numbers by index."""
    with tempfile.TemporaryDirectory() as folder:
        bare_table(turns, vectors(folder).with_format("numpy"), "x", shuffle)
