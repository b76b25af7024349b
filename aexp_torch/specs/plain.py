"""An EnvSpec as lists, dicts, strings and numbers, for headers and checkpoints, from which nothing is ever executed."""

from typing import Any

import numpy as np
from dm_env import specs

from aexp_torch.specs.env_spec import EnvSpec
from aexp_torch.specs.modality import Modality
from aexp_torch.specs.tree import flatten, unflatten

__all__ = ["spec_from_plain", "spec_to_plain"]


def spec_to_plain(spec: EnvSpec) -> dict[str, Any]:
    """Returns the observation, the action and the number of lanes as what JSON can hold."""
    sides = {
        side: [
            {"path": list(path), "modality": _modality(modality), **_leaf(leaf)}
            for (path, leaf), (_, modality) in zip(flatten(getattr(spec, side)), flatten(spec.modalities[side]))
        ]
        for side in ("observation", "action")
    }
    return {"num_envs": spec.num_envs, **sides}


def spec_from_plain(plain: dict[str, Any]) -> EnvSpec:
    """Rebuilds what `spec_to_plain` described; reward and discount are the usual ones.

    Raises:
      ValueError, KeyError, TypeError, AttributeError: it is something else.
    """
    trees, modalities = {}, {}
    for side in ("observation", "action"):
        leaves = [(tuple(map(str, leaf["path"])), leaf) for leaf in plain[side]]
        trees[side] = unflatten([(path, _spec(leaf)) for path, leaf in leaves]) or {}
        modalities[side] = unflatten([(path, Modality(*leaf["modality"])) for path, leaf in leaves]) or {}
    observation, action = trees["observation"], trees["action"]
    return EnvSpec(observation, action, modalities=modalities, num_envs=int(plain["num_envs"]))


def _leaf(leaf: specs.Array) -> dict[str, Any]:
    head = {"name": leaf.name, "dtype": np.dtype(leaf.dtype).str, "shape": list(leaf.shape)}
    if isinstance(leaf, specs.DiscreteArray):
        return {"kind": "discrete", **head, "num_values": int(leaf.num_values)}
    if isinstance(leaf, specs.BoundedArray):
        return {"kind": "bounded", **head, "minimum": _bound(leaf.minimum), "maximum": _bound(leaf.maximum)}
    return {"kind": "array", **head}


def _spec(leaf: dict[str, Any]) -> specs.Array:
    dtype, name, shape = np.dtype(str(leaf["dtype"])), leaf["name"], tuple(map(int, leaf["shape"]))
    if dtype.kind not in "biuf":
        raise ValueError(f"dtype {dtype}")
    if leaf["kind"] == "discrete":
        return specs.DiscreteArray(int(leaf["num_values"]), dtype, name)
    if leaf["kind"] == "bounded":
        low, high = (np.array(_number(leaf[bound]), dtype) for bound in ("minimum", "maximum"))
        return specs.BoundedArray(shape, dtype, low, high, name)
    if leaf["kind"] != "array":
        raise ValueError(f"kind {leaf['kind']!r}")
    return specs.Array(shape, dtype, name)


def _bound(bound: Any) -> Any:
    """Returns numbers as JSON; what is not finite as text, one number where all are equal."""
    array = np.asarray(bound)
    if array.size and (array == array.flat[0]).all():
        array = array.flat[0]
    return _text(array.tolist())


def _text(value: Any) -> Any:
    if isinstance(value, list):
        return [_text(item) for item in value]
    return value if np.isfinite(value) else str(value)


def _number(value: Any) -> Any:
    if isinstance(value, list):
        return [_number(item) for item in value]
    return float(value) if isinstance(value, str) else value


def _modality(modality: Modality) -> list[Any]:
    return [modality.structure, modality.representation, modality.context, modality.optional]
