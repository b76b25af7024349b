"""One tree of keys for several sources: equal specs share a key, unequal ones become `key@source`."""

from typing import Any

from aexp_torch.specs.tree import flatten, unflatten

__all__ = ["places_in", "union_of"]

Path = tuple[str, ...]


def union_of(trees: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Merges the spec trees of several sources.

    Args:
      trees: `{source name: tree}`.

    Returns:
      A tree in which a leaf that all sources with that key agree on keeps its key, and one that they do not becomes
      `key@source` (the last key of its path) for each of them; so does a leaf whose key is a whole tree elsewhere.
    """
    if len(trees) == 1:
        return next(iter(trees.values()))
    leaves: dict[tuple, dict[str, Any]] = {}
    for source, tree in trees.items():
        for path, leaf in flatten(tree):
            leaves.setdefault(path, {})[source] = leaf
    items = []
    for path, by_source in leaves.items():
        first = next(iter(by_source.values()))
        equal = all(type(leaf) is type(first) and leaf == first for leaf in by_source.values())
        also_a_tree = any(other[: len(path)] == path for other in leaves if other != path)
        if equal and not also_a_tree:
            items.append((path, first))
        else:
            items += [((*path[:-1], f"{path[-1]}@{source}"), leaf) for source, leaf in by_source.items()]
    return unflatten(items) or {}


def places_in(union: dict[str, Any], tree: dict[str, Any], source: str) -> dict[Path, Path]:
    """Returns where the leaves of one source stand in the union: `{path in the union: path in its own tree}`."""
    known = {path for path, _ in flatten(union)}
    own = [path for path, _ in flatten(tree)]
    return {path if path in known else (*path[:-1], f"{path[-1]}@{source}"): path for path in own}
