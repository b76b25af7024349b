"""Joined: several sources described as one, whose lanes are in one or the other of them."""

from collections import Counter
from dataclasses import replace
from typing import Any

from torch import Tensor

from aexp_torch.env import Env
from aexp_torch.specs import EnvSpec, flatten, map_tree, unflatten
from aexp_torch.specs.union import places_in, union_of
from aexp_torch.timestep import TimeStep

__all__ = ["Joined", "leaves_of", "spec_of"]

Path = tuple[str, ...]
Leaf = tuple[Path, Tensor | None, Tensor | None]


class Joined:
    """Knows where the keys of several sources stand in the union of their keys.

    Equal specs (of equal modality) share a key, unequal ones become `key@source`, for observations and answers alike.

    Args:
      specs: `{source name: EnvSpec}`.
    """

    def __init__(self, specs: dict[str, EnvSpec]):
        self.observation, observed = _union(specs, "observation")
        self.action, answered = _union(specs, "action")
        self._observed = {
            name: {own: place for place, own in places_in(self.observation, spec.observation, name).items()}
            for name, spec in specs.items()
        }
        self._answered = {name: places_in(self.action, spec.action, name) for name, spec in specs.items()}
        count = Counter(place for places in self._observed.values() for place in places.values())
        leaves = [
            (path, modality if count[path] == len(specs) else replace(modality, optional=True))
            for path, modality in flatten(observed)
        ]
        self.modalities = {"observation": unflatten(leaves) or {}, "action": answered}

    def leaves(self, timestep: TimeStep) -> list[Leaf]:
        """Returns `(place in the union, value [B, ...] or None, mask [B] or None)` for every leaf of a timestep."""
        places = self._observed[timestep.source]
        return [(places[path], value, mask) for path, value, mask in leaves_of(timestep.observation)]

    def answer(self, action: dict[Path, Tensor], source: str, rows: Any) -> dict:
        """Returns the answer to a timestep of `source`: its part of an answer by the union, at some rows.

        Args:
          action: the leaves of the answer, [B, ...] each.
          source: the name of the source.
          rows: a slice, or int64 [N].
        """
        return unflatten([(own, action[place][rows]) for place, own in self._answered[source].items()]) or {}


def _union(specs: dict[str, EnvSpec], side: str) -> tuple[dict, dict]:
    """Returns the union of one side's specs, and of its modalities; leaves with unequal modalities are unequal."""
    described = {}
    for name, spec in specs.items():
        modalities = dict(flatten(spec.modalities[side]))
        leaves = [
            (path, (type(leaf), leaf, modalities[path]))
            for path, leaf in flatten(getattr(spec, side))
            if not path[-1].startswith("mask:")
        ]
        described[name] = unflatten(leaves) or {}
    union = union_of(described)
    return map_tree(lambda leaf: leaf[1], union), map_tree(lambda leaf: leaf[2], union)


def leaves_of(observation: dict, prefix: Path = (), above: Tensor | None = None) -> list[Leaf]:
    """Returns `(path, value or None, mask or None)` for every leaf; the mask of a whole tree is that of its leaves."""
    leaves: list[Leaf] = []
    for key, value in observation.items():
        if key.startswith("mask:") and key[5:] in observation:
            continue
        mask = observation.get(f"mask:{key}")
        if above is not None:
            mask = above if mask is None else mask & above
        if isinstance(value, dict):
            leaves += leaves_of(value, (*prefix, key), mask)
        else:
            leaves.append(((*prefix, key), value, mask))
    return leaves


def spec_of(env: Env) -> EnvSpec:
    """Returns the spec of an environment that has one source."""
    return next(iter(env.specs.values()))
