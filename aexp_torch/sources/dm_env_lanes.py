"""How the lanes of a DmEnv are stepped, and how dm_env's trees of numpy and ours of tensors become each other."""

import inspect
import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import dm_env
import numpy as np
import torch
from dm_env import specs

from aexp_torch.errors import SpecError
from aexp_torch.sources.dm_control import load
from aexp_torch.sources.lanes import Lanes, Simulator, SingleLanes
from aexp_torch.sources.object_state import restore, snapshot, why_not_resumable
from aexp_torch.specs import EnvSpec, Modality, flatten, map_tree, unflatten
from aexp_torch.specs.env_spec import DISCOUNT, REWARD
from aexp_torch.specs.tree import path_name

if TYPE_CHECKING:
    from aexp_torch.sources.dm_env import DmEnv

__all__ = ["DmSimulator", "Form", "open_lanes"]

SEED_ARGUMENTS = ("seed", "random", "random_state")
NO_LIMIT = 1e10  # mjMAXVAL: dm_control's bound of an actuator without a limit
TEXT = Modality("sequence", "categorical", "text")


class Form:
    """Knows what an environment shows and takes, for one lane.

    Args:
      env: the environment.
      source: for names, `text_length` and `pixels`.
    """

    def __init__(self, env: dm_env.Environment, source: "DmEnv"):
        self._source = source
        self._observation_form = env.observation_spec()
        self.observation = _tree(self._observation_form, "observation")
        self._action_form = env.action_spec()
        self._action = _tree(self._action_form, "action")
        self._reward, self._discount = (
            self._signal(env.reward_spec(), REWARD),
            self._signal(env.discount_spec(), DISCOUNT),
        )
        if source.pixels is not None:
            if "pixels" in self.observation:
                raise SpecError(f"{source.name!r}: expected no key 'pixels' where pixels= is given, it has one.")
            shape = render(env, source).shape
            self.observation["pixels"] = specs.BoundedArray(shape, np.uint8, 0, 255, "pixels")

    def spec(self, num_envs: int) -> EnvSpec:
        """Describes one lane."""
        sides = {"observation": self.observation, "action": self._action}
        ours = {
            side: unflatten([(path, self._leaf(path, leaf)) for path, leaf in flatten(tree)]) or {}
            for side, tree in sides.items()
        }
        kinds = {
            side: map_tree(lambda leaf: TEXT if isinstance(leaf, specs.StringArray) else None, tree)
            for side, tree in sides.items()
        }
        signals: dict[str, Any] = {"reward": self._reward, "discount": self._discount}
        return EnvSpec(ours["observation"], ours["action"], **signals, modalities=kinds, num_envs=num_envs)

    def _leaf(self, path: tuple[str, ...], spec: specs.Array) -> specs.Array:
        name = path_name(path)
        if isinstance(spec, specs.StringArray):
            if spec.shape:
                raise self._wrong(name, "a single string", spec, "Show one string for each key.")
            return specs.BoundedArray((self._source.text_length,), np.uint8, 0, 255, name)
        try:
            torch.from_numpy(np.empty(0, spec.dtype))
        except TypeError as error:
            raise self._wrong(name, "a dtype that torch has", spec, "Convert it.") from error
        if isinstance(spec, specs.DiscreteArray):
            return spec.replace(name=name)
        if not isinstance(spec, specs.BoundedArray):
            return specs.Array(spec.shape, spec.dtype, name)
        return _bounded(spec, name)

    def _signal(self, given: Any, default: specs.Array) -> Any:
        if not isinstance(given, specs.Array) or given.shape:
            raise self._wrong(str(default.name), "one number", given, "Wrap it to give a scalar.")
        if isinstance(given, specs.BoundedArray):
            low, high = np.float32(given.minimum), np.float32(given.maximum)
            return specs.BoundedArray((), np.float32, low, high, default.name)
        return default

    def _wrong(self, what: str, expected: str, came: Any, do: str) -> SpecError:
        return SpecError(f"DmEnv: expected {expected} at {what!r} of {self._source.name!r}, got {came!r}. {do}")

    def plain(self, observation: Any) -> dict[str, Any]:
        """Turns what the environment shows into nested dicts, whose leaves are those of its spec."""
        try:
            return _plain(self._observation_form, "observation", observation)
        except (KeyError, IndexError, TypeError) as error:
            keys = [path_name(path) for path, _ in flatten(self.observation) if path != ("pixels",)]
            raise SpecError(
                f"DmEnv: expected an observation with {keys} of {self._source.name!r}, got {observation!r}."[:400]
            ) from error

    def stack(self, lanes: list[Any]) -> dict[str, Any]:
        """Stacks what single lanes show, in fresh memory."""
        leaves = []
        for path, spec in flatten(self.observation):
            values = [_at(observation, path) for observation in lanes]
            leaves.append((path, torch.from_numpy(self._stacked(path, spec, values))))
        return unflatten(leaves) or {}

    def _stacked(self, path: tuple[str, ...], spec: specs.Array, values: list) -> np.ndarray:
        if isinstance(spec, specs.StringArray):
            return self._encoded(path, values)
        array = np.array(values, spec.dtype)
        if array.shape[1:] != spec.shape:
            do = "Correct the environment, or its spec."
            raise self._wrong(path_name(path), f"shape {spec.shape}", array.shape[1:], do)
        return array

    def _encoded(self, path: tuple[str, ...], values: list) -> np.ndarray:
        rows = np.zeros((len(values), self._source.text_length), np.uint8)
        for row, value in zip(rows, values, strict=True):
            text = np.asarray(value).item()
            data = text if isinstance(text, bytes) else str(text).encode()
            if len(data) > len(row):
                expected = f"at most {len(row)} bytes of text"
                raise self._wrong(path_name(path), expected, text, "Give a larger text_length.")
            row[: len(data)] = np.frombuffer(data, np.uint8)
        return rows

    def write(self, action: dict, lane: int) -> Any:
        """Returns the action of one lane as the environment wants it, in fresh memory."""
        return _like(self._action_form, action, lane, "action")


class DmSimulator(Simulator):
    """Is one `dm_env.Environment`."""

    def __init__(self, make: Callable[[int], dm_env.Environment], seed: int, source: "DmEnv"):
        self.env, self._make, self._seed, self._source = make(seed), make, seed, source
        self.form = Form(self.env, source)
        self._has_begun = source.live is not None

    def reset(self, seed: int | None) -> Any:
        """Begins an episode; a seed is given to an environment when it is made."""
        if seed not in (None, self._seed) and self._source.live is None:
            self.env.close()
            self.env, self._seed = self._make(seed), seed
        self._has_begun = True
        return self._shown(self.env.reset())

    def step(self, action: Any) -> tuple[Any, float, bool, float]:
        """Steps it."""
        timestep = self.env.step(action)
        if timestep.first() or timestep.discount is None:
            what = "FIRST within an episode" if timestep.first() else "no discount after a step"
            raise SpecError(
                f"{self._source.name!r}: expected MID or LAST with a discount from step(), got {what}. Let the"
                " environment end an episode with LAST (dm_env.termination, dm_env.truncation)."
            )
        discount = float(timestep.discount)
        if not 0 <= discount <= 1:
            raise SpecError(f"{self._source.name!r}: expected a discount in [0, 1], got {discount}. Scale it.")
        reward = 0.0 if timestep.reward is None else float(timestep.reward)
        return self._shown(timestep), reward, timestep.last(), discount

    def _shown(self, timestep: dm_env.TimeStep) -> Any:
        observation = self.form.plain(timestep.observation)
        if self._source.pixels is not None:
            observation = {**observation, "pixels": render(self.env, self._source)}
        return observation

    def why_not_resumable(self) -> str | None:
        """Says what stands in the way of a state, or None."""
        if self._has_begun:
            return why_not_resumable(self.env)
        env = self._make(self._seed)  # what it holds is known when an episode has begun
        env.reset()
        reason = why_not_resumable(env)
        env.close()
        return reason

    def state_dict(self) -> dict:
        """Returns the environment's state."""
        return snapshot(self.env)

    def load_state_dict(self, state: dict) -> None:
        """Restores the environment's state."""
        restore(self.env, state)
        self._has_begun = True

    def close(self) -> None:
        """Closes the environment."""
        self.env.close()


def open_lanes(source: "DmEnv") -> tuple[Lanes, Form]:
    """Makes the environments of a source, and says what they show."""
    make = _maker(source)
    seeds = [int(source.seeds(lane).generate_state(1)[0]) for lane in range(source.num_envs)]
    simulators = [DmSimulator(make, seed, source) for seed in seeds]
    form = simulators[0].form
    return SingleLanes(simulators, form.write, form.stack, lambda lane: DmSimulator(make, seeds[lane], source)), form


def _maker(source: "DmEnv") -> Callable[[int], dm_env.Environment]:
    given: Any = source.name_or_factory
    if source.live is not None:
        return lambda seed: given
    if isinstance(given, str):
        return lambda seed: load(given, seed, source.kwargs)
    argument = source.seed_argument
    if argument == "auto":
        takes = _parameters(given)
        argument = next((name for name in SEED_ARGUMENTS if name in takes and name not in source.kwargs), None)
        if argument is None and not takes & source.kwargs.keys() & set(SEED_ARGUMENTS):
            warnings.warn(
                f"DmEnv: {source.name!r} takes none of {', '.join(SEED_ARGUMENTS)}: if it is random, no seed of ours reaches"
                " it. Give it such an argument, or say seed_argument=None.",
                stacklevel=2,
            )
    return lambda seed: given(**source.kwargs, **({argument: seed} if argument else {}))


def _parameters(function: Callable) -> set[str]:
    try:
        return set(inspect.signature(function).parameters)
    except (TypeError, ValueError):  # of something that is written in C
        return set()


def render(env: Any, source: "DmEnv") -> np.ndarray:
    """Returns a picture of the physics, uint8 [H, W, 3]."""
    try:
        return env.physics.render(**source.pixels)
    except SpecError:
        raise
    except Exception as error:
        raise SpecError(
            f"{source.name!r}: expected an environment with a physics that draws for pixels=, got {type(error).__name__}:"
            f" {error}. It is for dm_control; without a display, set MUJOCO_GL=egl or osmesa before dm_control is imported."
        ) from error


def _bounded(spec: specs.BoundedArray, name: str) -> specs.Array:
    low, high = np.array(spec.minimum), np.array(spec.maximum)
    if spec.dtype.kind == "f":
        low = np.where(np.isnan(low) | (low <= -NO_LIMIT), -np.inf, low)
        high = np.where(np.isnan(high) | (high >= NO_LIMIT), np.inf, high)
        if np.isinf(low).all() and np.isinf(high).all():
            return specs.Array(spec.shape, spec.dtype, name)
    return specs.BoundedArray(spec.shape, spec.dtype, low, high, name)


def _tree(spec: Any, key: str) -> dict[str, Any]:
    tree = _plain(spec, key, spec)
    for path, leaf in flatten(tree):
        if not isinstance(leaf, specs.Array):
            raise SpecError(f"DmEnv: expected a tree of dm_env.specs, got {leaf!r} at {path_name(path)!r}.")
    return tree


def _plain(form: Any, key: str, value: Any) -> dict[str, Any]:
    """Turns a value in the form of a tree of specs (dicts, lists, tuples) into nested dicts; a bare leaf is named."""
    nested = _nested(form, value)
    return nested if isinstance(form, Mapping | list | tuple) else {key: nested}


def _nested(form: Any, value: Any) -> Any:
    if isinstance(form, Mapping):
        return {str(key): _nested(member, value[key]) for key, member in form.items()}
    if isinstance(form, list | tuple):
        return {str(index): _nested(member, value[index]) for index, member in enumerate(form)}
    return value


def _like(form: Any, action: Any, lane: int, key: str | None = None) -> Any:
    """Gives an action the form of the environment's own spec."""
    if isinstance(form, Mapping):
        return {name: _like(member, action[str(name)], lane) for name, member in form.items()}
    if isinstance(form, list | tuple):
        members = [_like(member, action[str(index)], lane) for index, member in enumerate(form)]
        return members if isinstance(form, list) else tuple(members)
    row = (action if key is None else action[key]).numpy(force=True)[lane]
    if isinstance(form, specs.StringArray):
        return row.tobytes().rstrip(b"\0").decode()
    return np.array(row, form.dtype)[()] if form.shape == () else np.array(row, form.dtype)


def _at(tree: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        tree = tree[key]
    return tree
