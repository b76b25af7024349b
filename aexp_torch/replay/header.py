"""The header of a recording: what its files hold, as JSON with a fixed layout, from which nothing is ever executed."""

import json
from typing import Any

from aexp_torch.errors import SpecError
from aexp_torch.replay.schema import Schema
from aexp_torch.specs import spec_from_plain, spec_to_plain

__all__ = ["read_header", "write_header"]

FORMAT, VERSION = "aexp_torch.replay", 1


def write_header(schema: Schema, slot: int) -> str:
    """Returns the JSON that describes the recording of one slot of a source."""
    columns = [{"name": name, "dtype": dtype.str, "shape": list(shape)} for name, dtype, shape, _ in schema.columns]
    header = {"format": FORMAT, "version": VERSION, "source": schema.source, "slot": slot}
    return json.dumps({**header, **spec_to_plain(schema.spec), "columns": columns}, indent=1, allow_nan=False)


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
        schema = Schema(str(header["source"]), spec_from_plain(header))
        columns = [(column["name"], column["dtype"], tuple(column["shape"])) for column in header["columns"]]
        if columns != [(name, dtype.str, shape) for name, dtype, shape, _ in schema.columns]:
            raise ValueError(f"columns {columns} do not follow from the specs")
        return schema, int(header["slot"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SpecError(
            f"ReplayBuffer: expected the header of a recording in {where}, got something else ({error})."
            " Give the path that was recorded to."
        ) from error
