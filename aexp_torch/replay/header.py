"""The header of a recording: what its files hold, as JSON with a fixed layout, from which nothing is ever executed."""

import json
from typing import Any

import numpy as np
from dm_env import specs

from aexp_torch.errors import SpecError
from aexp_torch.replay.schema import Schema
from aexp_torch.specs import EnvSpec, Modality, flatten, unflatten

__all__ = ["read_header", "write_header"]

FORMAT, VERSION = "aexp_torch.replay", 1
KINDS = {"array": specs.Array, "bounded": specs.BoundedArray, "discrete": specs.DiscreteArray}


def write_header(schema: Schema, slot: int) -> str:
    """Returns the JSON that describes the recording of one slot of a source."""
    spec = schema.spec
    sides = {
        side: [
            {"path": list(path), "modality": _modality(modality), **_leaf(leaf)}
            for (path, leaf), (_, modality) in zip(flatten(getattr(spec, side)), flatten(spec.modalities[side]))
        ]
        for side in ("observation", "action")
    }
    columns = [{"name": name, "dtype": dtype.str, "shape": list(shape)} for name, dtype, shape, _ in schema.columns]
    header = {"format": FORMAT, "version": VERSION, "source": schema.source, "slot": slot, "num_envs": spec.num_envs}
    return json.dumps({**header, **sides, "columns": columns}, indent=1, allow_nan=False)


def read_header(text: str, where: Any) -> tuple[Schema, int]:
    """Rebuilds what `write_header` described: the schema, and the slot.

    Raises:
      SpecError: it is no header of ours, or of a later version.
    """
    try:
        header = json.loads(text)
        known = header["format"], header["version"]
        if known != (FORMAT, VERSION):
            raise ValueError(f"format and version are {known}, known are {(FORMAT, VERSION)}")
        trees, modalities = {}, {}
        for side in ("observation", "action"):
            leaves = [(tuple(map(str, leaf["path"])), leaf) for leaf in header[side]]
            trees[side] = unflatten([(path, _spec(leaf)) for path, leaf in leaves]) or {}
            modalities[side] = unflatten([(path, Modality(*leaf["modality"])) for path, leaf in leaves]) or {}
        spec = EnvSpec(trees["observation"], trees["action"], modalities=modalities, num_envs=int(header["num_envs"]))
        schema = Schema(str(header["source"]), spec)
        columns = [(column["name"], column["dtype"], tuple(column["shape"])) for column in header["columns"]]
        if columns != [(name, dtype.str, shape) for name, dtype, shape, _ in schema.columns]:
            raise ValueError(f"columns {columns} do not follow from the specs")
        return schema, int(header["slot"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SpecError(
            f"ReplayBuffer: expected the header of a recording in {where}, got something else ({error})."
            " Give the path that was recorded to."
        ) from error


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
