"""Reading a whole stream inside a DataLoader's worker, where datasets like to read only that worker's share."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch.utils.data import get_worker_info
from torch.utils.data._utils import worker

__all__ = ["as_a_whole"]


@contextmanager
def as_a_whole() -> Iterator[None]:
    """Hides the DataLoader's worker from the dataset: it is the slots that share, minibatch by minibatch."""
    info = get_worker_info()
    worker._worker_info = None
    try:
        yield
    finally:
        worker._worker_info = info
