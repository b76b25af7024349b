"""A TFDS dataset of images, boxes and text: its builder has to live in a module of its own."""

import io

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image


def picture(height: int, width: int, value: int) -> io.BytesIO:
    file = io.BytesIO()
    Image.fromarray(np.full((height, width, 3), value, np.uint8)).save(file, format="PNG")
    file.seek(0)
    return file


class Things(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = tfds.features
        objects = features.Sequence({"box": features.Tensor(shape=(4,), dtype=np.float32), "kind": np.int64})
        return self.dataset_info_from_configs(
            features=features.FeaturesDict(
                {
                    "image": features.Image(shape=(6, 8, 3)),
                    "photo": features.Image(shape=(None, None, 3)),
                    "label": features.ClassLabel(num_classes=3),
                    "text": features.Text(),
                    "objects": objects,
                }
            ),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(11), "test": self._generate_examples(3)}

    def _generate_examples(self, num):
        for index in range(num):
            boxes = [{"box": [index / 16] * 4, "kind": index}] * (index % 4)
            image, photo = picture(6, 8, index), picture(5 + index, 9, index)
            yield (
                index,
                {"image": image, "photo": photo, "label": index % 3, "text": "thing " * (index % 3), "objects": boxes},
            )
