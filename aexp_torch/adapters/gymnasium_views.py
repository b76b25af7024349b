"""The classes behind `to_gymnasium` and `to_gymnasium_vector`. Imports Gymnasium: import it where one is asked for."""

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from aexp_torch.adapters.single_stream import SingleStream, Step
from aexp_torch.env import Env
from aexp_torch.errors import SpecError
from aexp_torch.specs import describe, flatten
from aexp_torch.specs.spaces import spec_to_space
from aexp_torch.timestep import StepType

__all__ = ["GymnasiumVectorView", "GymnasiumView"]


class GymnasiumView(gymnasium.Env):
    """Is a pipeline of one lane as a `gymnasium.Env`; see `to_gymnasium`."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 30}

    def __init__(self, env: Env, render_mode: str | None = None):
        self.stream = SingleStream(env, "to_gymnasium", unbatched=True)
        structure = self.stream.structure
        self.observation_space = spec_to_space(structure.observation_spec, "observation")
        self.action_space = _action_space(structure.action_spec)
        self.render_mode = render_mode
        self._image = None if render_mode is None else _find_image(structure.observation_spec, render_mode)
        self._shown: Step | None = None
        self._read = _reader(self.observation_space, lambda space, value: _single(space, value[0]))

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[Any, dict]:
        """Starts an episode; with a seed the stream starts over. There are no options."""
        super().reset(seed=seed)
        self._shown = self.stream.reset(seed)
        return self._read(self._shown.observation), {"source": self._shown.source}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict]:
        """Answers the last timestep and returns the next."""
        step = self._shown = self.stream.step(action if self.stream.structure.action_spec else {})
        last, terminated = step.step_type[0] == StepType.LAST, step.discount[0] == 0
        flags = bool(last and terminated), bool(last and not terminated)
        return self._read(step.observation), float(step.reward[0]), *flags, {"source": step.source}

    def render(self) -> np.ndarray | None:
        """Returns the image of the last observation, uint8 [H, W, 3], or None where nothing is rendered."""
        if self._image is None or self._shown is None:
            return None
        frame = dict(flatten(self._shown.observation))[self._image][0]
        return np.ascontiguousarray(frame if frame.shape[-1] == 3 else frame.transpose(1, 2, 0))

    def close(self) -> None:
        """Closes the pipeline."""
        self.stream.close()


class GymnasiumVectorView(VectorEnv):
    """Is a pipeline as a `gymnasium.vector.VectorEnv`; see `to_gymnasium_vector`."""

    metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}

    def __init__(self, env: Env):
        self.stream = SingleStream(env, "to_gymnasium_vector", unbatched=False)
        structure = self.stream.structure
        self.num_envs = structure.num_envs
        self.single_observation_space = spec_to_space(structure.observation_spec, "observation")
        self.single_action_space = _action_space(structure.action_spec)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._read = _reader(self.single_observation_space, lambda space, value: value.astype(space.dtype, copy=False))

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[Any, dict]:
        """Starts an episode in every lane, or in those of `options["reset_mask"]`; a seed starts the stream over."""
        if seed is not None and not isinstance(seed, int | np.integer):
            raise SpecError(f"to_gymnasium_vector: expected one seed, from which the lanes get theirs, got {seed!r}.")
        super().reset(seed=seed)
        step = self.stream.reset(seed, (options or {}).get("reset_mask"))
        return self._read(step.observation), {}

    def step(self, actions: Any) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict]:
        """Answers the last timestep and returns the next: float32 rewards, bool flags, [B] each."""
        step = self.stream.step(actions if self.stream.structure.action_spec else {})
        last, terminated = step.step_type == StepType.LAST, step.discount == 0
        return self._read(step.observation), step.reward, last & terminated, last & ~terminated, {}

    def close_extras(self, **kwargs: Any) -> None:
        """Closes the pipeline."""
        self.stream.close()


def _action_space(spec: dict[str, Any]) -> spaces.Space:
    """Returns the space of answers; Gymnasium refuses an empty one, so to do nothing is the only choice there."""
    return spec_to_space(spec, "action") if spec else spaces.Discrete(1)


def _reader(space: spaces.Space, leaf: Callable[[spaces.Space, np.ndarray], Any]) -> Callable[[dict], Any]:
    """Returns the function from a tree of arrays [B, ...] to a member of the space."""

    def read(member: spaces.Space, tree: Any) -> Any:
        if isinstance(member, spaces.Dict):
            return {key: read(inner, tree[key]) for key, inner in member.spaces.items()}
        return leaf(member, tree)

    if isinstance(space, spaces.Dict):
        return lambda tree: read(space, tree)
    return lambda tree: leaf(space, tree["observation"])  # a space without names


def _single(space: spaces.Space, value: Any) -> Any:
    return space.dtype.type(value) if isinstance(space, spaces.Discrete) else np.asarray(value)


def _find_image(spec: dict[str, Any], render_mode: str) -> tuple[str, ...]:
    if render_mode != "rgb_array":
        raise SpecError(f"to_gymnasium: expected render_mode None or 'rgb_array', got {render_mode!r}.")
    for path, leaf in flatten(spec):
        if leaf.dtype == np.uint8 and len(leaf.shape) == 3 and 3 in (leaf.shape[0], leaf.shape[-1]):
            return path
    raise SpecError(
        f"to_gymnasium: expected an image (uint8 [H, W, 3]) to render, got {describe(spec)}. Build the environment with"
        " one (gymnasium.wrappers.AddRenderObservation), or leave out render_mode."
    )
