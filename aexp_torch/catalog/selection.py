"""Who takes part: filters over everything that there is, and a summary of what is left out and why."""

import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from aexp_torch.catalog.tags import Filter, FilterItem, matches, near
from aexp_torch.env import Env
from aexp_torch.errors import MissingDependencyError, SpecError

__all__ = ["plain_items", "reason_of", "select", "summary"]

SHOWN = 3  # names of a group
LONGEST = 300  # characters of a reason


def select(chosen: Filter, members: Sequence[Env], absent: Iterable[Any], who: str) -> tuple[bool, ...]:
    """Returns which members a filter admits, and says where an item fits nothing.

    Args:
      chosen: the filter.
      members: what can be opened, as far as that is known.
      absent: entries of what cannot.
      who: for messages.

    Raises:
      SpecError: no item of `include` fits anything; the text names tags that look alike. A predicate that raises has a
        note that names what it was asked about.
    """
    everything = [*members, *absent]
    fitting = {}
    for what, items in (("include", chosen.include or ()), ("exclude", chosen.exclude)):
        for item in items:
            fitting[what, item] = [_fits(item, thing, what) for thing in everything]
    idle = [(what, item) for (what, item), fits in fitting.items() if not any(fits)]
    included = chosen.include is None or any(any(fitting["include", item]) for item in chosen.include)
    texts = [f"{what}: {item!r} fits nothing.{_alike(item, everything)}" for what, item in idle if not callable(item)]
    if not included:
        raise SpecError(
            f"{who}: expected filters that fit something, got {' '.join(texts) or f'include={chosen.include!r}'}"
        )
    if texts:
        warnings.warn(f"{who}: {' '.join(texts)}", stacklevel=4)
    rows = range(len(members))
    wanted = [chosen.include is None or any(fitting["include", item][row] for item in chosen.include) for row in rows]
    return tuple(wanted[row] and not any(fitting["exclude", item][row] for item in chosen.exclude) for row in rows)


def _fits(item: FilterItem, thing: Any, what: str) -> bool:
    try:
        return matches(item, thing)
    except Exception as error:
        error.add_note(f"while {what} asked {item!r} about {thing.name!r}")
        raise


def _alike(item: FilterItem, things: Iterable[Any]) -> str:
    alike = " or ".join(map(repr, near(item, things)))
    return f" Did you mean {alike}?" if alike else ""


def plain_items(chosen: Filter) -> dict[str, list[str] | None] | None:
    """Returns a filter as strings, for a state; None where an item is a predicate."""
    if any(callable(item) for item in (*(chosen.include or ()), *chosen.exclude)):
        return None
    include = None if chosen.include is None else [str(item) for item in chosen.include]
    return {"include": include, "exclude": [str(item) for item in chosen.exclude]}


def reason_of(error: BaseException) -> str:
    """Says in one line why something could not be opened."""
    text = " ".join(str(error).split())
    if isinstance(error, MissingDependencyError):
        return text
    return f"raised {type(error).__name__}: {text}"[:LONGEST]


def summary(who: str, count: int, excluded: int, left_out: Mapping[str, str]) -> str:
    """Says in a few lines how many environments there are, and what has to be done for the others.

    Args:
      who: the name of the composition.
      count: environments that take part.
      excluded: environments that filters keep out.
      left_out: `{name: reason}`.
    """
    groups: dict[str, list[str]] = {}
    for name, reason in left_out.items():
        groups.setdefault(_remedy(reason), []).append(name)
    lines = [f"{who}: {count} of {count + excluded + len(left_out)} environments take part."]
    if excluded:
        lines.append(f"  {excluded} left out by include and exclude")
    for remedy, names in sorted(groups.items(), key=lambda group: -len(group[1])):
        more = f", and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        lines.append(f"  {len(names)} {remedy}: {', '.join(names[:SHOWN])}{more}")
    return "\n".join(lines)


def _remedy(reason: str) -> str:
    """Returns what has to be done, which many have in common, or where nothing is known, the reason."""
    command = re.search("pip install .*", reason)
    if command:
        return f"need {command[0]}"
    return "need a download (download=True)" if reason.startswith("needs a download") else reason
