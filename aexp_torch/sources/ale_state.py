"""The state of an Atari game mid-episode, for `object_state`: an `ALEInterface` as a tensor.

It is the emulator's own system state. Two things are not in it. The screen: the next frame is drawn anew, and only code
that looks at the screen *between* restoring and stepping (a renderer) sees another. And the action that was executed last,
which sticky actions repeat: with them a game would go on differently, so it is refused.
"""

from typing import Any

import numpy as np
import torch

from aexp_torch.sources.plain_state import TAG, Unstorable, module_of

__all__ = ["is_ale", "read_ale", "write_ale"]


def is_ale(value: Any) -> bool:
    """Says whether a value is an `ALEInterface`, of one or several players, without importing either."""
    kind = type(value)
    return module_of(kind).partition(".")[0] in ("ale_py", "multi_agent_ale_py") and kind.__name__ == "ALEInterface"


def _has_players(value: Any) -> bool:
    return module_of(type(value)).partition(".")[0] == "multi_agent_ale_py"


def write_ale(value: Any) -> dict:
    """Stores an `ALEInterface`."""
    players = _has_players(value)
    if value.getFloat("repeat_action_probability") > 0:
        raise Unstorable(
            value,
            "an ALEInterface with sticky actions, which keeps the last one where no state reaches (make it with"
            " repeat_action_probability=0; ae.Repeat(p=0.25, n='geometric', side='action') makes actions sticky)",
        )
    if value.getBool("color_averaging"):
        raise Unstorable(value, "an ALEInterface with color_averaging, whose frames depend on the one before")
    if players:
        handle = value.cloneSystemState()
        data = value.encodeState(handle)
        value.deleteState(handle)
    else:
        data = np.frombuffer(bytearray(value.cloneSystemState().serialize()), np.uint8)
    return {TAG: "ALEInterface", "state": torch.from_numpy(data)}


def read_ale(encoded: dict, existing: Any) -> Any:
    """Writes what was stored into an existing `ALEInterface` with the same game, and returns that."""
    if _has_players(existing):
        handle = existing.decodeState(encoded["state"].numpy().copy())
        existing.restoreSystemState(handle)
        existing.deleteState(handle)
        return existing
    from ale_py import ALEState

    existing.restoreSystemState(ALEState(encoded["state"].numpy().tobytes()))
    return existing
