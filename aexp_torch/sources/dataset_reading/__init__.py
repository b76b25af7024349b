"""Reading datasets in minibatches: arrays, map-style, iterables and DataLoaders, behind one `Reader`.

Every reader follows from its seed, deals each sample of a pass to exactly one slot, and goes on exactly from a state.
To add a kind of data: a row in `opening.py`, with what makes it out and who reads it.
No timesteps, rewards or modes belong here, and no global generator.
"""

from aexp_torch.sources.dataset_reading.opening import open_reader
from aexp_torch.sources.dataset_reading.reader import GivenBack, Minibatch, Reader

__all__ = ["GivenBack", "Minibatch", "Reader", "open_reader"]
