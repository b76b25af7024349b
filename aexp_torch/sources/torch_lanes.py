"""How a batched simulator of tensors is spoken to: resets, steps, specs and state."""

import copy
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from aexp_torch.errors import SpecError
from aexp_torch.sources.lanes import Lanes, Outcome
from aexp_torch.specs import EnvSpec, flatten, map_tree, path_name
from aexp_torch.specs.check import torch_dtype
from aexp_torch.specs.sample import zeros
from aexp_torch.timestep import TimeStep

__all__ = ["TorchLanes"]

FINAL = ("final_observation", "final_obs")
NEEDS = ("reset", "step", "num_envs", "device")
MODES = {"samestep": "same_step", "nextstep": "next_step"}
STATE = ("state_dict", "load_state_dict")


class TorchLanes(Lanes):
    """Steps a `BatchedSimulator`, perhaps below Gymnasium's wrappers; what it returns are tensors, signals included.

    Args:
      simulator: to step.
      name: for messages.
      specs: what its data are, or None where it has spaces.
      autoreset: "same_step", "next_step", or "auto": as its metadata say, else "same_step".
    """

    def __init__(self, simulator: Any, name: str, specs: EnvSpec | None = None, autoreset: str = "auto"):
        self._simulator, self._name = simulator, name
        self._core = getattr(simulator, "unwrapped", simulator)
        missing = [attribute for attribute in NEEDS if not hasattr(self._core, attribute)]
        if missing:
            raise SpecError(
                f"TorchEnv: expected a simulator with {', '.join(NEEDS)} for {name!r}, {type(simulator).__name__} lacks"
                f" {', '.join(missing)}. See BatchedSimulator."
            )
        self.num_envs, self.device = int(self._core.num_envs), torch.device(self._core.device)
        self._same_step = (_mode(self._core) if autoreset == "auto" else autoreset) == "same_step"
        self.spec = self._describe(specs)
        self._bare = list(self.spec.action) == ["action"] and not isinstance(self.spec.action["action"], dict)
        self._zeros = map_tree(lambda leaf: leaf.to(self.device), zeros(self.spec.action, self.num_envs))
        self.shown: dict = {}  # the last observation

    def _describe(self, specs: EnvSpec | None) -> EnvSpec:
        if specs is None:
            from aexp_torch.specs.spaces import space_modalities, space_to_spec

            sides = ("observation", "action")
            spaces = {side: getattr(self._core, f"single_{side}_space", None) for side in sides}
            if None in spaces.values():
                raise SpecError(
                    f"TorchEnv: expected single_observation_space and single_action_space of {self._name!r}, it has"
                    f" {spaces}. Give specs=EnvSpec(observation, action)."
                )
            observation, action = (space_to_spec(spaces[side], side) for side in sides)
            modalities = {side: space_modalities(spaces[side], side) for side in sides}
            specs = EnvSpec(observation, action, modalities=modalities)
        return replace(specs, num_envs=self.num_envs, device=str(self.device))

    def reset(self, seeds: list[int] | None, active: Any) -> dict:
        """Resets all lanes; the simulator takes one seed for the whole batch, lane 0's."""
        result = self._simulator.reset() if seeds is None else self._simulator.reset(seed=seeds[0])
        observation = result[0] if isinstance(result, tuple) else result
        self.shown = map_tree(torch.clone, _tree(observation))
        return self.shown

    def step(self, action: dict, done: Any, active: Any) -> Outcome:
        """Steps all lanes."""
        if self._same_step:
            action = map_tree(lambda answer, zero: _where(done, zero, answer), action, self._zeros)
        result = self._simulator.step(action["action"] if self._bare else action)
        observation, reward, terminated, truncated, extras = self._five(result)
        over = (terminated | truncated) & ~done
        if self._same_step:
            final = next((extras[key] for key in FINAL if extras.get(key) is not None), None)
            last = self.shown if final is None else _tree(final)
            observation = map_tree(lambda new, old: _where(over, old, new), _tree(observation), last)
        else:
            observation = map_tree(torch.clone, _tree(observation))
        self.shown = observation
        reward = torch.where(done, 0.0, reward.to(torch.float32))
        signals: Any = (reward, over, (~(terminated & over)).to(torch.float32))
        return Outcome(observation, *signals)

    def _five(self, result: Any) -> Any:
        if not isinstance(result, tuple) or len(result) != 5:
            came = f"{len(result)} values" if isinstance(result, tuple) else type(result).__name__
            raise SpecError(
                f"TorchEnv: expected observation, reward, terminated, truncated and extras from the step of {self._name!r},"
                f" got {came}. Wrap it in a class that returns these."
            )
        for signal, value in zip(("reward", "terminated", "truncated"), result[1:4], strict=True):
            if not isinstance(value, Tensor) or value.shape != (self.num_envs,):
                came = f"{value.dtype} {list(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
                raise SpecError(
                    f"TorchEnv: expected {signal} as a tensor [{self.num_envs}] from the step of {self._name!r}, got {came}."
                )
        return result

    def check(self, timestep: TimeStep) -> None:
        """Requires that a timestep is what the spec says, but for its values."""
        wanted = {
            path: (torch_dtype(leaf), (self.num_envs, *leaf.shape)) for path, leaf in flatten(self.spec.observation)
        }
        came = {path: (leaf.dtype, tuple(leaf.shape)) for path, leaf in flatten(timestep.observation)}
        for path in wanted.keys() | came.keys():
            if wanted.get(path) != came.get(path):
                raise SpecError(
                    f"TorchEnv: expected {path_name(path)!r} in the observations of {self._name!r} as"
                    f" {_words(wanted.get(path))}, got {_words(came.get(path))}. Correct its spaces, or give specs=."
                )
        places = {path_name(path): leaf.device for path, leaf in flatten(timestep.observation)}
        elsewhere = {name: str(place) for name, place in places.items() if place != timestep.reward.device}
        if elsewhere or timestep.reward.device.type != self.device.type:
            raise SpecError(
                f"TorchEnv: expected everything of {self._name!r} on its device {self.device}, got"
                f" {elsewhere or timestep.reward.device}."
            )

    def close(self) -> None:
        """Closes the simulator, where it can be."""
        if hasattr(self._simulator, "close"):
            self._simulator.close()

    def why_not_resumable(self) -> str | None:
        """Says what stands in the way of a state, or None."""
        missing = [method for method in STATE if not hasattr(self._core, method)]
        return f"{type(self._core).__name__} has no {' and no '.join(missing)}" if missing else None

    def state_dict(self) -> dict:
        """Returns the simulator's state; before the first reset, which seeds it, there is none."""
        if self.why_not_resumable() is not None:
            return super().state_dict()
        return {"simulator": copy.deepcopy(self._core.state_dict()) if self.shown else None}

    def load_state_dict(self, state: dict) -> None:
        """Restores the simulator's state."""
        if state["simulator"] is not None:
            self._core.load_state_dict(copy.deepcopy(state["simulator"]))


def _mode(core: Any) -> str:
    mode = (getattr(core, "metadata", None) or {}).get("autoreset_mode", "SameStep")
    words = str(getattr(mode, "value", mode)).lower().replace("_", "")
    if words not in MODES:
        raise SpecError(
            f"TorchEnv: expected a simulator that resets lanes which have ended, {type(core).__name__} has"
            f" metadata['autoreset_mode'] = {mode!r}. Make it with SAME_STEP or NEXT_STEP, or give autoreset=."
        )
    return MODES[words]


def _tree(data: Any) -> dict:
    return dict(data) if isinstance(data, dict) else {"observation": data}


def _where(lanes: Tensor, chosen: Tensor, other: Tensor) -> Tensor:
    return torch.where(lanes.view(-1, *[1] * (other.dim() - 1)), chosen, other)


def _words(kind: tuple | None) -> str:
    return "no such key" if kind is None else f"{kind[0]} {list(kind[1])}"
