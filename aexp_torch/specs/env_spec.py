"""EnvSpec: what one source of timesteps promises, for one lane (without the batch axis)."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from dm_env import specs

from aexp_torch.specs.modality import Modality, guess_modality
from aexp_torch.specs.tree import flatten, path_name, unflatten

__all__ = ["DISCOUNT", "REWARD", "EnvSpec", "describe"]

REWARD = specs.Array((), np.float32, "reward")
DISCOUNT = specs.BoundedArray((), np.float32, 0.0, 1.0, "discount")


@dataclass(frozen=True)
class EnvSpec:
    """Describes one source: from this, and before any data exists, an agent builds its network.

    Args:
      observation: nested dict of `dm_env.specs` arrays, one lane each.
      action: the same for actions; empty where no answer is due.
      reward: float32 scalar, in the source's own units.
      discount: float32 scalar in [0, 1].
      modalities: `{"observation": tree, "action": tree}` of `Modality`, at the same places as the specs. Places that
        are left out are guessed (`guess_modality`).
      num_envs: number of lanes, the leading axis B of everything.
      device: where tensors are made, and where answers are wanted: `"cpu"`, `"cuda:0"`.
    """

    observation: dict[str, Any]
    action: dict[str, Any]
    reward: specs.Array = field(default_factory=lambda: REWARD)
    discount: specs.BoundedArray = field(default_factory=lambda: DISCOUNT)
    modalities: dict[str, Any] = field(default_factory=dict)
    num_envs: int = 1
    device: str = "cpu"

    def __post_init__(self):
        sides = {"observation": self.observation, "action": self.action}
        complete = {side: _fill(tree, self.modalities.get(side, {})) for side, tree in sides.items()}
        object.__setattr__(self, "modalities", complete)


def _fill(spec_tree: dict, given: dict) -> dict:
    known = {path: leaf for path, leaf in flatten(given) if isinstance(leaf, Modality)}
    return unflatten([(path, known.get(path) or guess_modality(leaf)) for path, leaf in flatten(spec_tree)]) or {}


def describe(spec: Any) -> str:
    """Writes a spec (or a tree of them) for people: `{observation: float32 [4]}`."""
    if isinstance(spec, dict):
        return "{" + ", ".join(f"{path_name(path)}: {describe(leaf)}" for path, leaf in flatten(spec)) + "}"
    text = f"{np.dtype(spec.dtype).name} {list(spec.shape)}"
    if isinstance(spec, specs.DiscreteArray):
        return f"{text} in 0..{spec.num_values - 1}"
    if isinstance(spec, specs.BoundedArray):
        low, high = np.min(spec.minimum), np.max(spec.maximum)
        return f"{text} in [{low:g}, {high:g}]"
    return text
