"""What there is: the entries of this package, and those that other packages add."""

import difflib
import functools
import importlib
import sys
import warnings
from collections.abc import Iterable
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from aexp_torch.catalog.entry import Entry
from aexp_torch.errors import SpecError

__all__ = ["BUILT_IN", "broken_packages", "entries", "find", "register"]

GROUP = "aexp_torch.catalog"
BUILT_IN = [  # "module:ENTRIES", imported when the catalogue is first asked for
    "aexp_torch.catalog.core:ENTRIES",
    "aexp_torch.catalog.simulators:ENTRIES",
    "aexp_torch.catalog.hubs:ENTRIES",
]
_ADDED: dict[str, Entry] = {}


def register(*added: Entry) -> None:
    """Adds entries, in this process; one of the same name is replaced."""
    _ADDED.update({entry.name: entry for entry in added})


def entries() -> list[Entry]:
    """Returns all entries: built-in ones, those of installed packages, those that were registered.

    A package adds its own by an entry point of the group `aexp_torch.catalog`, which names an `Entry`, several, or a
    function that returns them. One that fails is left out, with a warning that names the package, once.
    """
    found = {entry.name: entry for name in BUILT_IN for entry in _built_in(name)}
    installed, _ = _installed(tuple(sys.path))
    return list((found | installed | _ADDED).values())


def broken_packages() -> dict[str, str]:
    """Returns the entry points whose entries could not be had, `{"package: point": why}`."""
    return dict(_installed(tuple(sys.path))[1])


def find(name: str) -> Entry:
    """Returns the entry of a name.

    Raises:
      SpecError: there is none; it names those that look alike.
    """
    known = {entry.name: entry for entry in entries()}
    if name not in known:
        folded = {known_name.lower(): known_name for known_name in known}
        inside = [full for folded_name, full in folded.items() if name.lower() in folded_name and len(name) > 2]
        alike = [folded[match] for match in difflib.get_close_matches(name.lower(), folded, n=3, cutoff=0.5)]
        meant = list(dict.fromkeys([*sorted(inside, key=len)[:2], *alike]))[:3]
        hint = f" Did you mean {' or '.join(map(repr, meant))}?" if meant else ""
        raise SpecError(f"catalogue: expected one of {len(known)} names (`aexp list` shows them), got {name!r}.{hint}")
    return known[name]


@functools.cache
def _built_in(name: str) -> list[Entry]:
    module, _, attribute = name.partition(":")
    return list(getattr(importlib.import_module(module), attribute))


@functools.lru_cache(maxsize=1)
def _installed(path: tuple[str, ...]) -> tuple[dict[str, Entry], dict[str, str]]:
    """Returns the entries of the packages on a path, and which of these packages fail."""
    found: dict[str, Entry] = {}
    broken: dict[str, str] = {}
    for point in entry_points(group=GROUP):
        try:
            found |= {entry.name: entry for entry in _listed(point.load())}
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # whatever somebody's package does, SystemExit included
            package = _package(point)
            broken[f"{package}: {point.name}"] = f"{type(error).__name__}: {error}"
            warnings.warn(
                f"catalogue: the entries of the package {package} are left out, its entry point {point.name!r}"
                f" ({point.value}) raised {type(error).__name__}: {error}. Update or remove the package.",
                stacklevel=3,
            )
    return found, broken


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else point.module


def _listed(thing: Any) -> Iterable[Entry]:
    if callable(thing):
        thing = thing()
    listed = [thing] if isinstance(thing, Entry) else list(thing)
    for entry in listed:
        if not isinstance(entry, Entry):
            raise SpecError(f"expected entries (aexp_torch.catalog.Entry), got {type(entry).__name__}")
    return listed
