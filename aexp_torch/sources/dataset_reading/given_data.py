"""What a user gives as data: a dataset, several splits of one, a function that opens it, or an address."""

from collections.abc import Callable, Mapping
from typing import Any

from torch.utils.data import Dataset

from aexp_torch.errors import SpecError
from aexp_torch.provider import import_provider

__all__ = ["given_name", "is_address", "open_given", "pick_split"]


def open_given(data: Any, split: str | None, who: str) -> Any:
    """Returns the dataset that is to be read, in this process.

    | data | becomes |
    |---|---|
    | a function without arguments | what it returns, by these rules |
    | `"al://..."`, `"hub://..."`, `"mem://..."` and other addresses that Deep Lake knows | `deeplake.open_read_only(data)` |
    | `"...tar"`, also compressed, remote, `pipe:` and with braces | a `WebDataset` of these shards, decoded |
    | a mapping of datasets, as TFDS and Hugging Face give without `split` | the one that `split` names |

    Args:
      data: see above; everything else is returned as it is.
      split: None for "train", else for the only one.
      who: the source, for messages.

    Raises:
      SpecError: no such split, or an address that nobody knows.
      MissingDependencyError: what would open it is not installed.
    """
    if isinstance(data, str):
        data = _open_address(data, who)
    elif is_recipe(data):
        data = open_given(data(), None, who) if split is None else data()
    return pick_split(data, split, who)


def pick_split(data: Any, split: str | None, who: str) -> Any:
    """Returns one of several splits."""
    if not _is_splits(data):
        if split is not None:
            raise SpecError(
                f"{who}: expected a mapping of splits because of split={split!r}, got {type(data).__name__}. Leave split"
                " out, or name it where the dataset is loaded."
            )
        return data
    chosen = (
        split if split is not None else "train" if "train" in data else next(iter(data)) if len(data) == 1 else None
    )
    if chosen not in data:
        raise SpecError(f"{who}: expected split= to be one of {sorted(map(str, data))}, got {split!r}.")
    return data[chosen]


def is_recipe(data: Any) -> bool:
    """Tells whether data is a function that returns data."""
    return callable(data) and not isinstance(data, type | Dataset) and not _is_readable(data)


def is_address(data: Any) -> bool:
    """Tells whether data is the address of something that is read."""
    return isinstance(data, str) and any(fits(data) for fits, _ in _ADDRESSES)


def given_name(data: Any, split: str | None) -> str:
    """Returns the name of a dataset, where it says one, or of its class; opens nothing."""
    if isinstance(data, str):
        return data.rstrip("/").rpartition("/")[2] or data
    if is_recipe(data):
        function = getattr(data, "func", data)  # of a functools.partial
        return getattr(function, "__name__", type(data).__name__)
    if _is_splits(data):
        data = data.get(split or "train", next(iter(data.values())))
    info = getattr(data, "dataset_info", None) or getattr(data, "info", None)
    names = (getattr(info, "name", None), getattr(info, "dataset_name", None), getattr(data, "name", None))
    return next((name for name in names if isinstance(name, str) and name), type(data).__name__)


def _is_splits(data: Any) -> bool:
    # Any other mapping may have to be read to say what it holds.
    return isinstance(data, dict) and bool(data) and all(_is_dataset(member) for member in data.values())


def _is_dataset(member: Any) -> bool:
    plain = isinstance(member, Mapping | list | tuple | str | bytes | int | float)
    return _is_readable(member) and not plain and not hasattr(member, "__array__")


def _is_readable(data: Any) -> bool:
    return hasattr(data, "__getitem__") or hasattr(data, "__iter__")


_DEEP_LAKE = ("al://", "hub://", "mem://", "s3://", "gs://", "gcs://", "azure://", "az://", "file://")
_TAR = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")


def _open_address(address: str, who: str) -> Any:
    for fits, open_address in _ADDRESSES:
        if fits(address):
            return open_address(address, who)
    raise SpecError(
        f"{who}: expected the address of shards (*.tar, also with braces and pipe:) or of a Deep Lake dataset"
        f" ({', '.join(_DEEP_LAKE)}), got {address!r}. For other data give a function that opens it."
    )


def _is_tar(address: str) -> bool:
    plain = address.partition("?")[0] if "://" in address else address
    return address.startswith("pipe:") or plain.endswith(_TAR)


def _open_shards(address: str, who: str) -> Any:
    webdataset = import_provider("webdataset", "webdataset", who)
    options = {"shardshuffle": False, "nodesplitter": None, "workersplitter": None, "seed": 0}
    return webdataset.WebDataset(address, **options).decode("pilrgb")


def _open_deep_lake(address: str, who: str) -> Any:
    deeplake = import_provider("deeplake", "deeplake", who)
    if address.startswith("hub://"):  # as of version 3
        address = f"al://{address.removeprefix('hub://')}"
    return deeplake.open_read_only(address)


_ADDRESSES: list[tuple[Callable[[str], bool], Callable[[str, str], Any]]] = [
    (_is_tar, _open_shards),
    (lambda address: address.startswith(_DEEP_LAKE), _open_deep_lake),
]
