"""A TFDS dataset of 23 rows: its builder has to live in a module of its own."""

import numpy as np
import tensorflow_datasets as tfds


class Squares(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict({"number": np.int64, "text": tfds.features.Text()}),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        for index in range(23):
            yield index, {"number": index, "text": str(index)}
