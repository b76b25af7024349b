"""A TFDS dataset of images for the benchmarks: its builder has to live in a module of its own."""

import io
from collections.abc import Iterator

import tensorflow_datasets as tfds

from benchmarks.source_readers import CLASSES, SIDE, encoded, pictures


class Images(tfds.core.GeneratorBasedBuilder):
    """Makes the images of `source_readers`."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        features = tfds.features
        return self.dataset_info_from_configs(
            features=features.FeaturesDict(
                {"image": features.Image(shape=(SIDE, SIDE, 3)), "label": features.ClassLabel(num_classes=CLASSES)}
            ),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict:
        return {"train": self._generate_examples()}

    def _generate_examples(self) -> Iterator:
        for number, (image, label) in enumerate(pictures()):
            yield number, {"image": io.BytesIO(encoded(image)), "label": label}
