"""Tags and filters: `domains.image.classification`, "domains.image", "language:en", or any predicate."""

import difflib
import re
from collections.abc import Callable, Iterable
from typing import Any

from aexp_torch.env import Env
from aexp_torch.errors import SpecError

__all__ = ["DOMAINS", "Filter", "FilterItem", "Tag", "domains", "matches", "near", "tags_of", "unmatched"]

DOMAINS = {  # what a tag begins with; a thing may have several tags
    "audio": "sounds: speech, music, tones",
    "control": "physical systems to be controlled, robots among them",
    "desktop": "programs and screens, to be used with pointer and keys",
    "game": "games against the rules, a machine or others",
    "grid": "worlds and puzzles of cells",
    "image": "pictures, also as what an environment shows",
    "multiagent": "several agents at once, or in turn",
    "offline": "recorded interaction, to learn from without an environment",
    "sequence": "series of numbers",
    "tabular": "rows of features",
    "text": "language, code and other strings",
    "video": "moving pictures",
}

SEPARATORS = re.compile(r"[._/]")


class Tag:
    """Is a place in the hierarchy of tags: attributes go down.

    >>> from aexp_torch import domains
    >>> domains.image.classification
    domains.image.classification
    """

    def __init__(self, path: str = ""):
        self._path = path

    def __getattr__(self, name: str) -> "Tag":
        if name.startswith("_"):
            raise AttributeError(name)
        return Tag(f"{self._path}.{name}" if self._path else name)

    def __repr__(self) -> str:
        return f"domains.{self._path}" if self._path else "domains"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tag) and other._path == self._path

    def __hash__(self) -> int:
        return hash(self._path)


domains = Tag()
FilterItem = Tag | str | Callable[[Any], Any]


def tags_of(thing: Any) -> tuple[str, ...]:
    """Returns the tags of an entry, or of an Env: its own and those of all that it is made of."""
    own = tuple(getattr(thing, "tags", ()))
    children = thing.children if isinstance(thing, Env) else ()
    return tuple(dict.fromkeys([*own, *(tag for child in children for tag in tags_of(child))]))


def matches(item: FilterItem, thing: Any) -> bool:
    """Tells whether a filter item fits an entry or an Env.

    Args:
      item: a tag or its string (`domains.text_commonsense`, `"domains.text.commonsense"`, `"text/commonsense"`), which
        fits every tag that begins with it; `"key:value"`; or a predicate of the entry or Env, which fits where it is true.
      thing: an `Entry`, an Env, or anything with `tags`.
    """
    if callable(item) and not isinstance(item, Tag | str):
        return bool(item(thing))
    key, value = _parsed(item)
    if key is not None and key != "domain":
        return any(tag.lower() == f"{key}:{value}" for tag in tags_of(thing))
    wanted = _parts(value)
    return any(_parts(tag)[: len(wanted)] == wanted for tag in tags_of(thing) if ":" not in tag)


def near(item: FilterItem, things: Iterable[Any]) -> list[str]:
    """Returns up to three tags that things have and that look like a filter item, for "did you mean".

    Args:
      item: a tag or its string; a predicate is near to nothing.
      things: entries, Envs, or anything with `tags`.

    >>> from aexp_torch.catalog import entries
    >>> near("txet", entries())
    ['text']
    """
    if not isinstance(item, Tag | str):
        return []
    key, value = _parsed(item)
    tags = {tag.lower() for thing in things for tag in tags_of(thing)}
    if key is not None and key != "domain":
        return difflib.get_close_matches(f"{key}:{value}", [tag for tag in tags if ":" in tag], 3, 0.6)
    wanted = ".".join(_parts(value))
    paths = {
        ".".join(parts[:depth]) for tag in tags if ":" not in tag for parts in [_parts(tag)] for depth in (1, 2, 3)
    }
    same_end = sorted(path for path in paths if path.rpartition(".")[2] == wanted.rpartition(".")[2])
    alike = difflib.get_close_matches(wanted, sorted(paths), 3, 0.6)
    return list(dict.fromkeys([*alike, *same_end]))[:3]


def unmatched(items: Iterable[FilterItem], things: Iterable[Any], raises: bool = False) -> list[str]:
    """Returns a sentence for every tag that no thing has, which says what was perhaps meant; none for predicates.

    Args:
      items: filter items.
      things: entries, Envs, or anything with `tags`.
      raises: whether to raise a SpecError with these sentences instead.

    >>> from aexp_torch.catalog import entries
    >>> unmatched(["image", "txet", "language:fr"], entries())[0]
    "nothing has the tag 'txet', did you mean 'text'?"
    """
    things, said = list(things), []
    for item in items:
        if isinstance(item, Tag | str) and not any(matches(item, thing) for thing in things):
            alike = " or ".join(map(repr, near(item, things)))
            hint = f", did you mean {alike}?" if alike else ". `aexp list` shows all tags."
            said.append(f"nothing has the tag {str(item)!r}{hint}")
    if said and raises:
        raise SpecError(f"filter: {'; '.join(said)}")
    return said


def _parsed(item: Tag | str) -> tuple[str | None, str]:
    text = str(item).strip().lower()
    key, colon, value = text.partition(":")
    if colon:
        return key, value
    path = text.removeprefix("domains").lstrip(".")
    if not path and not text.startswith("domains"):
        raise SpecError(f"filter: expected a tag, 'key:value' or a predicate, got {item!r}.")
    return None, path


def _parts(path: str) -> list[str]:
    return [part for part in SEPARATORS.split(path.lower()) if part]


class Filter:
    """Says what is wanted: what fits an item of `include` (None: everything) and none of `exclude`.

    Args:
      include: items, see `matches`. What has no tags fits no tag.
      exclude: items; they win.
    """

    def __init__(self, include: Iterable[FilterItem] | None = None, exclude: Iterable[FilterItem] = ()):
        self.include = None if include is None else _checked(include, "include")
        self.exclude = _checked(exclude, "exclude")

    def admits(self, thing: Any) -> bool:
        """Tells whether an entry or Env is wanted."""
        included = self.include is None or any(matches(item, thing) for item in self.include)
        return included and not any(matches(item, thing) for item in self.exclude)


def _checked(items: Iterable[FilterItem], what: str) -> tuple[FilterItem, ...]:
    if isinstance(items, Tag | str) or callable(items):
        items = (items,)
    items = tuple(items)
    for item in items:
        if not isinstance(item, Tag | str) and not callable(item):
            raise SpecError(f"{what}: expected tags, strings and predicates, got {item!r}.")
    return items
