"""Minibatches that cost nothing to make, so that what is measured is the way that they go."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from dm_env import specs
from torch import Tensor
from torch.utils.data import IterableDataset

from aexp_torch import Env, EnvSpec, TimeStep

__all__ = ["NUM_ENVS", "NUM_STEPS", "PAYLOADS", "Minibatches", "PayloadEnv", "burn", "make_arrays"]

NUM_ENVS = 32  # lanes of every payload but the last three
NUM_STEPS = 2**31 - 1  # an epoch that does not end

PAYLOADS: dict[str, dict[str, tuple[Any, tuple[int, ...]]]] = {
    "small": {f"sensor_{number}": (np.float32, (NUM_ENVS, 4)) for number in range(8)},
    "image": {"image": (np.uint8, (NUM_ENVS, 84, 84, 4))},  # 903,168 bytes
    "large": {"image": (np.uint8, (NUM_ENVS, 512, 512))},  # 8 MiB
    "vector": {"observation": (np.float32, (64, 4))},
    "frames": {"observation": (np.uint8, (64, 84, 84))},
    "colours": {"observation": (np.uint8, (64, 84, 84, 3))},
}


def make_arrays(payload: str) -> dict[str, np.ndarray]:
    """Returns a minibatch of random bytes."""
    generator = np.random.default_rng(0)
    return {key: generator.integers(0, 9, shape).astype(dtype) for key, (dtype, shape) in PAYLOADS[payload].items()}


def burn(loops: int) -> float:
    """Computes for a time that is proportional to `loops`."""
    array = np.arange(1000.0)
    for _ in range(loops):
        array = np.sqrt(array * array + 1.0)
    return float(array[0])


class PayloadEnv(Env):
    """Hands out one of two ready minibatches at every step, and takes an int64 [B] answer.

    Args:
      payload: a key of PAYLOADS.
      loops: of computation at every step; see `burn`.
      options: as for every Env.
    """

    episodic = False

    def __init__(self, payload: str, loops: int = 0, **options: Any):
        super().__init__(**options)
        self.payload, self.loops = payload, loops
        self.num_envs = next(iter(PAYLOADS[payload].values()))[1][0]

    def on_open(self) -> None:
        """Makes the minibatches."""
        signals = torch.ones(self.num_envs, dtype=torch.int8), torch.zeros(self.num_envs), torch.ones(self.num_envs)
        self._ready = [
            TimeStep(*signals, {key: torch.from_numpy(value) for key, value in make_arrays(self.payload).items()})
            for _ in range(2)
        ]
        self._place = 0

    def make_specs(self) -> dict[str, EnvSpec]:
        """Describes the minibatches."""
        observation = {key: specs.Array(shape[1:], dtype) for key, (dtype, shape) in PAYLOADS[self.payload].items()}
        return {self.name: EnvSpec(observation, {"action": specs.DiscreteArray(2, np.int64)}, num_envs=self.num_envs)}

    def reset(self, lanes: Tensor | None = None) -> TimeStep:
        """Begins."""
        return self._ready[0]._replace(step_type=torch.zeros(self.num_envs, dtype=torch.int8))

    def step(self, action: dict, lanes: Tensor | None = None) -> TimeStep:
        """Hands out the other minibatch."""
        if self.loops:
            burn(self.loops)
        self._place ^= 1
        return self._ready[self._place]


class Minibatches(IterableDataset):
    """Yields the same minibatches for loaders that know no environment.

    Args:
      payload: a key of PAYLOADS.
      arrays: gives NumPy arrays. Tensors are fresh at every step: torch would move a tensor's memory once and then send
        the same memory again and again.
      loops: of computation at every step.
    """

    def __init__(self, payload: str, arrays: bool = False, loops: int = 0):
        self.payload, self.arrays, self.loops = payload, arrays, loops

    def __iter__(self) -> Iterator[dict[str, Any]]:
        ready = make_arrays(self.payload)
        tensors = {key: torch.from_numpy(value) for key, value in ready.items()}
        while True:
            if self.loops:
                burn(self.loops)
            yield dict(ready) if self.arrays else clone(tensors)


def clone(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Returns fresh tensors."""
    return {key: value.clone() for key, value in tensors.items()}
