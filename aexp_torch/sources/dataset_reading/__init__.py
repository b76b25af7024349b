"""Reading datasets in minibatches: arrays, map-style, iterables, tables, shards and DataLoaders, behind one `Reader`.

Every reader follows from its seed, deals each sample of a pass to exactly one slot, and goes on exactly from a state.
To add a kind of data: a row in `opening.py`, with what makes it out and who reads it.
No timesteps, rewards or modes belong here, and no global generator.
"""

from aexp_torch.sources.dataset_reading.fit_image import FitImage
from aexp_torch.sources.dataset_reading.given_data import given_name, open_given
from aexp_torch.sources.dataset_reading.known import Known, length_path
from aexp_torch.sources.dataset_reading.opening import open_reader
from aexp_torch.sources.dataset_reading.reader import GivenBack, Minibatch, Reader

__all__ = [
    "FitImage",
    "GivenBack",
    "Known",
    "Minibatch",
    "Reader",
    "given_name",
    "length_path",
    "open_given",
    "open_reader",
]
