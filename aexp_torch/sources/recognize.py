"""to_source: whatever somebody holds, environment or data, as the source that reads it."""

import importlib
import re
from collections.abc import Callable
from types import ModuleType
from typing import Any

import dm_env

from aexp_torch.env import Env
from aexp_torch.errors import SpecError
from aexp_torch.sources.dataset_reading.given_data import is_address
from aexp_torch.sources.origin import comes_from

__all__ = ["to_source"]


def to_source(thing: Any, **options: Any) -> Env:
    """Returns an Env around a live environment, a dataset or an id.

    | what | becomes |
    |---|---|
    | an `Env` | itself |
    | a batched simulator of tensors: `num_envs`, `device`, `reset` and `step` | `TorchEnv` |
    | an environment of MiniGrid or BabyAI, or its id | `MiniGridEnv` |
    | a `dm_env.Environment`, or a task of dm_control by name (`"dm_control/cartpole/swingup"`) | `DmEnv` |
    | an environment of PettingZoo, its module, or its id (`"atari.mario_bros_v3"`) | `PettingZooEnv` |
    | the id of a registered Gymnasium environment, a `gymnasium.Env` or `VectorEnv` | `GymnasiumEnv` |
    | an environment of PySC2 | `StarCraft2Env` |
    | a `minari.MinariDataset` | `MinariEnv` |
    | anything that is read sample by sample, and addresses of data: see `DatasetEnv` | `DatasetEnv` |

    No provider is imported to find out: an object is known by the modules that its classes come from.

    Args:
      thing: see above.
      options: for the source.

    Raises:
      SpecError: nothing reads it.

    >>> import gymnasium, torch, aexp_torch as ae
    >>> ae.to_source(gymnasium.make("CartPole-v1")).name, ae.to_source({"x": torch.zeros(3, 2)}, batch_size=3).name
    ('CartPole-v1', 'dict')
    """
    if isinstance(thing, Env):
        return thing
    for fits, source in _KINDS:
        if fits(thing):
            module, _, name = source.partition(":")
            return getattr(importlib.import_module(module), name)(thing, **options)
    raise SpecError(
        f"to_source: expected an Env, an environment of a provider that is known here, or data, got"
        f" {type(thing).__name__} {thing!r}. Write a source for it (a subclass of Env), or wrap it in a gymnasium.Env or a"
        " torch.utils.data.Dataset."
    )


def _is_text(thing: Any) -> bool:
    return isinstance(thing, str)


def _is_simulator_of_tensors(thing: Any) -> bool:
    core = getattr(thing, "unwrapped", thing)
    return all(hasattr(core, attribute) for attribute in ("num_envs", "device", "reset", "step"))


def _is_minigrid(thing: Any) -> bool:
    if isinstance(thing, str):
        return thing.startswith(("MiniGrid-", "BabyAI-", "minigrid:"))
    return comes_from("gymnasium")(thing) and comes_from("minigrid")(getattr(thing, "unwrapped", None))


def _is_dm_env(thing: Any) -> bool:
    if isinstance(thing, str):
        return re.fullmatch(r"dm_control/\w+/\w+", thing) is not None  # Gymnasium may know dm_control/hopper-hop-v0
    return isinstance(thing, dm_env.Environment)


def _is_pettingzoo(thing: Any) -> bool:
    if isinstance(thing, ModuleType):
        return hasattr(thing, "parallel_env") or hasattr(thing, "env")
    if isinstance(thing, str):
        parts = thing.removeprefix("pettingzoo.").replace("/", ".").split(".")
        return thing.startswith("pettingzoo.") or parts[0] in ("atari", "butterfly", "classic", "mpe", "sisl")
    return comes_from("pettingzoo")(thing)


def _is_data(thing: Any) -> bool:
    readable = hasattr(thing, "__getitem__") or hasattr(thing, "__iter__")
    return readable and not isinstance(thing, str | bytes | type)


# Who fits first takes it: the special before the general.
_KINDS: list[tuple[Callable[[Any], bool], str]] = [
    (is_address, "aexp_torch.sources.dataset:DatasetEnv"),
    (_is_dm_env, "aexp_torch.sources.dm_env:DmEnv"),
    (_is_pettingzoo, "aexp_torch.sources.pettingzoo:PettingZooEnv"),
    (_is_minigrid, "aexp_torch.sources.minigrid:MiniGridEnv"),
    (_is_text, "aexp_torch.sources.gymnasium:GymnasiumEnv"),
    (_is_simulator_of_tensors, "aexp_torch.sources.torch_env:TorchEnv"),
    (comes_from("gymnasium"), "aexp_torch.sources.gymnasium:GymnasiumEnv"),
    (comes_from("pysc2"), "aexp_torch.sources.starcraft:StarCraft2Env"),
    (comes_from("minari"), "aexp_torch.sources.minari:MinariEnv"),
    (_is_data, "aexp_torch.sources.dataset:DatasetEnv"),
]
