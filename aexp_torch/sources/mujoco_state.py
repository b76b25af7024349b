"""The physics of a MuJoCo simulation mid-episode, for `object_state`: `MjData` and `MjModel` as tensors.

The integration state is MuJoCo's own (`mj_getState`). It is not all that is read: environments compare positions and
forces of the last `mj_step` with those of the next, and `mj_forward` would compute them where the last step did not. So
the arrays of `MjData` are stored too. Contacts and constraints (the arena) are not: the next `mj_step` finds them
again; only code that reads them *between* restoring and stepping sees others.

dm_control's `Physics` makes half a step ahead (`mj_step1`), whose constraints the other half needs: they are found again
when it is restored.

Of the model, every number is stored but meshes and textures, so that randomised masses and frictions come back.
"""

from typing import Any

import numpy as np
import torch

from aexp_torch.sources.plain_state import TAG, module_of, pack, unpack

__all__ = ["is_mujoco", "is_physics", "read_mujoco", "read_physics", "write_mujoco", "write_physics"]

ARENA = ("efc_", "iefc_", "efm_", "island_", "map_", "bvh_")
ASSETS = ("tex_", "mesh_", "skin_", "bvh_", "name_", "names", "text_", "paths")
FLAGS = (
    "flg_energypos",
    "flg_energyvel",
    "flg_subtreevel",
    "flg_rnepost",
    "nbody_awake",
    "nparent_awake",
    "ntree_awake",
    "nv_awake",
)


def is_mujoco(value: Any) -> bool:
    """Says whether a value is an `MjModel` or an `MjData`, without importing MuJoCo."""
    kind = type(value)
    return module_of(kind).partition(".")[0] == "mujoco" and kind.__name__ in ("MjModel", "MjData")


def write_mujoco(value: Any) -> dict:
    """Stores an `MjData` or `MjModel`."""
    if type(value).__name__ == "MjModel":
        options = _numbers(value.opt, ())
        scalars = {name: getattr(value.opt, name) for name in _scalars(value.opt)}
        return {
            TAG: "MjModel",
            "arrays": pack(value, _numbers(value, ASSETS)),
            "options": pack(value.opt, options),
            "scalars": scalars,
        }
    import mujoco

    signature = mujoco.mjtState.mjSTATE_INTEGRATION
    state = np.empty(mujoco.mj_stateSize(value.model, signature))
    mujoco.mj_getState(value.model, value, state, signature)
    flags = {name: getattr(value, name) for name in FLAGS if hasattr(value, name)}
    return {
        TAG: "MjData",
        "state": torch.from_numpy(state),
        "arrays": pack(value, _numbers(value, ARENA)),
        "flags": flags,
    }


def read_mujoco(encoded: dict, existing: Any) -> Any:
    """Writes what was stored into an existing `MjData` or `MjModel` (a renderer holds them too) and returns that."""
    if encoded[TAG] == "MjModel":
        unpack(existing, encoded["arrays"])
        unpack(existing.opt, encoded["options"])
        for name, number in encoded["scalars"].items():
            setattr(existing.opt, name, number)
        return existing
    import mujoco

    mujoco.mj_setState(existing.model, existing, encoded["state"].numpy(), mujoco.mjtState.mjSTATE_INTEGRATION)
    unpack(existing, encoded["arrays"])
    for name, flag in encoded["flags"].items():
        setattr(existing, name, flag)
    return existing


def is_physics(value: Any) -> bool:
    """Says whether a value is dm_control's `Physics`, without importing that."""
    return any(
        (module_of(kind), kind.__name__) == ("dm_control.mujoco.engine", "Physics") for kind in type(value).__mro__
    )


def write_physics(value: Any) -> dict:
    """Stores a `Physics`; what a subclass keeps beside model and data is not in it."""
    return {TAG: "Physics", "model": write_mujoco(value.model.ptr), "data": write_mujoco(value.data.ptr)}


def read_physics(encoded: dict, existing: Any) -> Any:
    """Writes what was stored into an existing `Physics`, and returns that."""
    import mujoco

    model, data = existing.model.ptr, existing.data.ptr
    read_mujoco(encoded["model"], model)
    read_mujoco(encoded["data"], data)
    mujoco.mj_step1(model, data)
    read_mujoco(encoded["data"], data)  # which it has computed anew
    if model.nhfield and existing.contexts:  # what draws has a ground of its own
        with existing.contexts.gl.make_current() as context:
            for ground in range(model.nhfield):
                context.call(mujoco.mjr_uploadHField, model, existing.contexts.mujoco.ptr, ground)
    return existing


def _numbers(owner: Any, without: tuple[str, ...]) -> list[str]:
    names = [name for name in dir(owner) if not name.startswith(("_", *without))]
    return [name for name in names if isinstance(array := getattr(owner, name), np.ndarray) and array.size]


def _scalars(owner: Any) -> list[str]:
    return [
        name for name in dir(owner) if not name.startswith("_") and type(getattr(owner, name)) in (int, float, bool)
    ]
