"""Datasets of hubs, as entries: what there is, how it is fetched once it may be, and how its rows are read.

Every function `from_<hub>` returns a `DatasetEnv` as a recipe: nothing is imported, opened or fetched before its first
timestep, and nothing is fetched at all without `download=True`; `path=` reads a copy in the hub's own format.
To add a dataset: a line in the table of its hub. To add a hub: a file with its function, and a table.
No code of a hub is run, nothing is unpickled, and archives cannot write outside of their folder.
"""

from aexp_torch.catalog.hubs import (
    csv_table,
    huggingface_media,
    huggingface_text,
    minari_table,
    simulators,
    small_tables,
    tfds_table,
)
from aexp_torch.catalog.hubs.csv import from_csv
from aexp_torch.catalog.hubs.deeplake import from_deeplake
from aexp_torch.catalog.hubs.features import Features
from aexp_torch.catalog.hubs.files import from_files
from aexp_torch.catalog.hubs.huggingface import from_huggingface
from aexp_torch.catalog.hubs.minari import MinariRecording, from_minari
from aexp_torch.catalog.hubs.tfds import from_tfds
from aexp_torch.catalog.hubs.torchvision import from_torchvision
from aexp_torch.catalog.hubs.webdataset import from_webdataset

__all__ = [
    "ENTRIES",
    "Features",
    "MinariRecording",
    "from_csv",
    "from_deeplake",
    "from_files",
    "from_huggingface",
    "from_minari",
    "from_tfds",
    "from_torchvision",
    "from_webdataset",
]

ENTRIES = [
    *huggingface_text.ENTRIES,
    *huggingface_media.ENTRIES,
    *tfds_table.ENTRIES,
    *small_tables.ENTRIES,
    *csv_table.ENTRIES,
    *minari_table.ENTRIES,
    *simulators.ENTRIES,
]
