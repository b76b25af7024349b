"""Nested dicts of leaves: the shape of every observation, action and spec.

A tree is a dict of trees, or a leaf (anything that is no dict). A path is the tuple of keys that leads to a leaf.
"""

from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["flatten", "map_tree", "path_name", "unflatten"]

Path = tuple[str, ...]


def map_tree(function: Callable, tree: Any, *others: Any) -> Any:
    """Returns a new tree with `function` applied to every leaf (and to the leaves at the same place in `others`)."""
    if isinstance(tree, dict):
        return {key: map_tree(function, value, *(other[key] for other in others)) for key, value in tree.items()}
    return function(tree, *others)


def flatten(tree: Any, prefix: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Yields `(path, leaf)` for every leaf, in the order of the keys."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from flatten(value, (*prefix, key))
    else:
        yield prefix, tree


def unflatten(items: Iterator[tuple[Path, Any]] | list[tuple[Path, Any]]) -> Any:
    """Rebuilds the tree that `flatten` took apart."""
    tree: dict = {}
    for path, leaf in items:
        if not path:
            return leaf
        node = tree
        for key in path[:-1]:
            node = node.setdefault(key, {})
        node[path[-1]] = leaf
    return tree


def path_name(path: Path) -> str:
    """Names a leaf for people: `a/b`, or `value` for a tree that is a single leaf."""
    return "/".join(path) or "value"
