"""Rows of the tables of hubs become entries."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from aexp_torch.catalog.entry import Entry
from aexp_torch.catalog.hubs.fetching import Copy

__all__ = ["Group", "Row", "entries_of", "hub_entry"]


class Row(NamedTuple):
    """Is one dataset of a table.

    Args:
      name: of the entry.
      place: in its hub.
      features: what is read of a row; see `Features`.
      licence: SPDX identifier or name, "" where nobody says.
      size: bytes to download, None where unknown.
      about: one line for people.
      source: a paper or an address.
      more: arguments for the hub's function, and `splits`, `language`, `tags` of this one.
    """

    name: str
    place: str
    features: str
    licence: str
    size: int | None
    about: str
    source: str
    more: Mapping[str, Any] = {}


class Group(NamedTuple):
    """Is a group of datasets of one kind.

    Args:
      tags: of all.
      instruction: what to do, for agents that read.
      rows: the datasets.
    """

    tags: str
    instruction: str
    rows: Iterable[Row | tuple]


def entries_of(
    hub: str, factory: str, extra: str | None, modules: tuple[str, ...], groups: Iterable[Group]
) -> list[Entry]:
    """Returns the entries of a hub.

    Args:
      hub: `"huggingface"`: the tag `hub:huggingface`.
      factory: `"module:function"`.
      extra: what installs the provider.
      modules: what has to be there to import.
      groups: of datasets.
    """
    return [hub_entry(hub, factory, extra, modules, group, Row(*row)) for group in groups for row in group.rows]


def hub_entry(hub: str, factory: str, extra: str | None, modules: tuple[str, ...], group: Group, row: Row) -> Entry:
    """Returns one entry."""
    more = dict(row.more)
    tags = [*group.tags.split(), *more.pop("tags", "").split()]
    splits = more.get("splits", "")
    names = splits.split() if isinstance(splits, str) else list(splits)
    if isinstance(splits, str):
        more.pop("splits", None)
    names = names or list(more.get("members", ("train", "validation", "test")))
    language = more.get("language", "en" if any(tag.startswith("text") for tag in tags) else "")
    first = {"split": names[0]} if names[0] != "train" else {}
    shown = {"licence": row.licence, "size": row.size} | ({"language": language} if language else {})
    needed = _decoders(row.features)
    return Entry(
        row.name,
        (
            *tags,
            "kind:dataset",
            f"hub:{hub}",
            *([f"language:{language}"] if language else []),
            *(f"split:{name.lower()}" for name in names),
        ),
        factory,
        {_PLACES.get(hub, "path"): row.place, "features": row.features, **first, **shown, **more},
        extra=extra or next((name for name, _ in needed), None),
        modules=(*modules, *(module for _, module in needed)),
        licence=row.licence,
        size=row.size,
        download=True,
        here=_Here(row.name, hub, row.place, names[0], more.get("config", "default")),
        instruction=group.instruction,
        about=row.about,
        source=row.source,
        by_hand=more.get("by_hand", ""),
    )


_PLACES = {
    "huggingface": "repo",
    "tfds": "dataset",
    "deeplake": "url",
    "webdataset": "urls",
    "csv": "url",
    "files": "listing",
}


def _decoders(features: str) -> list[tuple[str, str]]:
    """Returns the extras and modules that decode what a row holds."""
    return [(kind, module) for kind, module in (("audio", "soundfile"), ("video", "av")) if f":{kind}(" in features]


class _Here:
    """Tells whether a dataset was downloaded to the usual place."""

    def __init__(self, name: str, hub: str, place: str, split: str, config: str):
        folders = {
            "huggingface": f"huggingface/{place}/{config}/{split}",
            "tfds": f"tfds/{place}",
        }
        self._name, self._place = name, folders.get(hub, f"files/{name}")

    def __call__(self) -> bool:
        return Copy(self._name, self._place).here
