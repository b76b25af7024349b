"""What there is: the entries of this package, and those that other packages add."""

import difflib
from collections.abc import Iterable
from importlib.metadata import entry_points
from typing import Any

from aexp_torch.catalog.entry import Entry
from aexp_torch.errors import SpecError

__all__ = ["entries", "find", "register"]

GROUP = "aexp_torch.catalog"
_ADDED: dict[str, Entry] = {}


def register(*added: Entry) -> None:
    """Adds entries, in this process; one of the same name is replaced."""
    _ADDED.update({entry.name: entry for entry in added})


def entries() -> list[Entry]:
    """Returns all entries: built-in ones, those of installed packages, those that were registered.

    A package adds its own by an entry point of the group `aexp_torch.catalog`, which names an `Entry`, several, or a
    function that returns them.
    """
    found = {entry.name: entry for entry in _built_in()}
    for point in entry_points(group=GROUP):
        found |= {entry.name: entry for entry in _listed(point.load())}
    return list((found | _ADDED).values())


def find(name: str) -> Entry:
    """Returns the entry of a name.

    Raises:
      SpecError: there is none; it names those that look alike.
    """
    known = {entry.name: entry for entry in entries()}
    if name not in known:
        alike = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
        hint = f" Did you mean {' or '.join(map(repr, alike))}?" if alike else ""
        raise SpecError(f"catalogue: expected one of {len(known)} names (`aexp list` shows them), got {name!r}.{hint}")
    return known[name]


def _listed(thing: Any) -> Iterable[Entry]:
    thing = thing() if callable(thing) else thing
    return [thing] if isinstance(thing, Entry) else thing


def _built_in() -> list[Entry]:
    from aexp_torch.catalog.hubs import ENTRIES

    return [
        *ENTRIES,
        Entry(
            "digits",
            ("image.classification",),
            "aexp_torch.catalog.digits:digits",
            licence="CC-BY-4.0",
            instruction="Tell which digit is written in the image.",
            about="1,797 handwritten digits, 8 x 8",
        ),
    ]
