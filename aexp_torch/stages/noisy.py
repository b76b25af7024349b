"""Noisy: observations or actions arrive disturbed."""

import zlib
from fnmatch import fnmatch
from typing import Any, Literal

import numpy as np
import torch
from dm_env import specs
from torch import Tensor

from aexp_torch.env import Env, Stage
from aexp_torch.errors import SpecError
from aexp_torch.specs import EnvSpec, Modality, describe, flatten, path_name, unflatten
from aexp_torch.specs.infer import with_sides
from aexp_torch.specs.sample import sample_action
from aexp_torch.state import pack_generator, unpack_generator
from aexp_torch.timestep import TimeStep

__all__ = ["Noisy"]


class Noisy(Stage):
    """Adds noise to values; each key of each source has its own generator.

    Real and integer values get additive noise, in units of the spec's range where both bounds are finite, absolute
    elsewhere (integers are rounded). Categorical and binary values are drawn anew, uniformly. Masks (`mask:*`) and keys
    that are absent stay as they are.

    Observation: same specs, or unbounded with `clip=False`.  Action: same spec; the source receives other values.

    Args:
      env: the environment below.
      std: standard deviation of the noise (for `"uniform"`: of the uniform distribution around 0).
      dist: `"normal"` or `"uniform"`.
      p: probability, per lane and step, that a value is disturbed at all, in [0, 1].
      clip: keeps results within the spec's bounds.
      keys: glob over the names of leaves (`a/b` for nested ones).
      side: which way is disturbed.

    >>> import aexp_torch as ae
    >>> env = ae.GymnasiumEnv("CartPole-v1", num_envs=2).pipe(ae.Noisy, std=0.1)
    >>> env.observation_spec()["observation"].shape
    (4,)

    Source: `Noisy` of the artificial-experience project.
    """

    def __init__(
        self,
        env: Env,
        std: float = 0.1,
        dist: Literal["normal", "uniform"] = "normal",
        p: float = 1.0,
        clip: bool = True,
        keys: str = "*",
        side: Literal["observation", "action", "both"] = "observation",
    ):
        super().__init__(env)
        if not std >= 0 or not 0 <= p <= 1:
            raise SpecError(f"Noisy: expected std >= 0 and p in [0, 1], got std={std!r}, p={p!r}.")
        if dist not in ("normal", "uniform") or side not in ("observation", "action", "both"):
            raise SpecError(
                f"Noisy: expected dist 'normal' or 'uniform' and side 'observation', 'action' or 'both', got {dist!r},"
                f" {side!r}."
            )
        self.std, self.dist, self.p, self.clip, self.keys, self.side = std, dist, p, clip, keys, side

    def on_open(self) -> None:
        """Starts with fresh generators, made when a key is first seen."""
        self._generators: dict[str, np.random.Generator] = {}

    def on_timestep(self, timestep: TimeStep) -> TimeStep:
        """Disturbs the observation."""
        if self.side == "action":
            return timestep
        return timestep._replace(observation=self._disturb(timestep.observation, timestep.source, "observation"))

    def on_action(self, action: dict, timestep: TimeStep) -> dict:
        """Disturbs the action."""
        return action if self.side == "observation" else self._disturb(action, timestep.source, "action")

    def on_spec(self, spec: EnvSpec) -> EnvSpec:
        """Widens the bounds of what is disturbed without clipping; refuses choices whose number is not known."""
        self._refuse_endless_choices(spec)
        if self.clip or self.side == "action":
            return spec
        leaves = []
        for path, leaf in flatten(spec.observation):
            modality = dict(flatten(spec.modalities["observation"]))[path]
            additive = self._chosen(path) and modality.representation in ("real", "integer")
            leaves.append((path, specs.Array(leaf.shape, leaf.dtype, leaf.name) if additive else leaf))
        return with_sides(spec, observation=unflatten(leaves))

    def _refuse_endless_choices(self, spec: EnvSpec) -> None:
        for side in ("observation", "action") if self.side == "both" else (self.side,):
            modalities = dict(flatten(spec.modalities[side]))
            for path, leaf in flatten(getattr(spec, side)):
                drawn = modalities[path].representation in ("categorical", "binary")
                if self._chosen(path) and drawn and not hasattr(leaf, "maximum") and leaf.dtype != bool:
                    raise SpecError(
                        f"Noisy: expected bounds for {path_name(path)!r}, from which it is drawn anew, got {describe(leaf)}."
                        " Leave it out with keys=, or tell the source how many choices there are."
                    )

    def _chosen(self, path: tuple) -> bool:
        return fnmatch(path_name(path), self.keys) and not path[-1].startswith("mask:")

    def _disturb(self, tree: dict, source: str, side: str) -> dict:
        spec = self.env.specs[source]
        known = dict(flatten(getattr(spec, side)))
        modalities = dict(flatten(spec.modalities[side]))
        leaves = []
        for path, value in flatten(tree):
            if value is not None and self._chosen(path):
                generator = self._generator(source, f"{side}:{path_name(path)}")
                value = self._noise(value, known[path], modalities[path], generator)
            leaves.append((path, value))
        return unflatten(leaves)

    def _generator(self, source: str, key: str) -> np.random.Generator:
        name = f"{source}:{key}"
        if name not in self._generators:
            use = (zlib.crc32(b"Noisy"), self._depth(), zlib.crc32(key.encode()))
            self._generators[name] = np.random.default_rng(self.seeds(*use, source=source))
        return self._generators[name]

    def _depth(self) -> int:
        """Counts the Noisy stages below, so that two of them draw differently and one more above changes neither."""
        below, depth = self.env, 0
        while isinstance(below, Stage):
            depth, below = depth + isinstance(below, Noisy), below.env
        return depth

    def _noise(self, value: Tensor, spec: Any, modality: Modality, generator: np.random.Generator) -> Tensor:
        shape = tuple(value.shape)
        if modality.representation in ("categorical", "binary"):
            noisy = sample_action({"value": spec}, len(value), generator)["value"]
        else:
            noisy = torch.from_numpy(self._additive(value.numpy(), spec, generator))
        if self.p == 1.0:
            return noisy
        hit = torch.from_numpy(generator.random(len(value)) < self.p)
        return torch.where(hit.view(-1, *[1] * (len(shape) - 1)), noisy, value)

    def _additive(self, value: np.ndarray, spec: Any, generator: np.random.Generator) -> np.ndarray:
        if self.dist == "normal":
            noise = generator.standard_normal(value.shape, np.float32)
        else:
            noise = (generator.random(value.shape, np.float32) - 0.5) * np.float32(12**0.5)
        low, high = getattr(spec, "minimum", -np.inf), getattr(spec, "maximum", np.inf)
        with np.errstate(over="ignore", invalid="ignore"):  # a range may be wider than a float, which is no range
            span = np.subtract(high, low, dtype=np.float64)
        scale = np.where(np.isfinite(span), span, 1.0) * self.std
        result = value + noise * scale
        if self.clip:
            result = np.clip(result, low, high)
        return (np.rint(result) if value.dtype.kind in "iu" else result).astype(value.dtype)

    def state_dict(self) -> dict:
        """Adds the generators, one per source and key."""
        return super().state_dict() | {
            "generators": {name: pack_generator(generator) for name, generator in self._generators.items()}
        }

    def load_state_dict(self, state: dict) -> None:
        """Restores the generators."""
        super().load_state_dict(state)
        self._generators = {name: unpack_generator(packed) for name, packed in state["generators"].items()}
