"""Decoders: from features to answers that fit a spec, and what their probability is.

A leaf decoder works on `raw` answers (places of choices, units of bounds), so that a log-probability is that of what was
drawn; `answer` makes what the stream takes of them, `from_answer` is the way back.

| leaf | distribution | raw |
|---|---|---|
| Discrete, integers with bounds | categorical, one per element | int64 [N, K], from 0 |
| bool, integers in 0..1 | Bernoulli, one per element | float32 [N, K] |
| floats | normal with a learned scale, in units of half the bounds | float32 [N, K]; the answer is clipped |

Every draw takes a generator of the CPU, wherever the features are.
"""

import math
from abc import ABC, abstractmethod
from functools import reduce
from operator import add

import numpy as np
import torch
from dm_env import specs
from torch import Tensor, nn
from torch.nn import functional

from aexp_torch import Modality, SpecError
from aexp_torch.specs import describe, flatten, path_name
from aexp_torch.specs.check import torch_dtype
from lightning_modules.networks.initialization import module_key
from lightning_modules.networks.inputs import leaves_of, tree_of

__all__ = ["Decoder", "LeafDecoder", "leaf_decoder"]

MOST_OUTPUTS = 1_000_000
Raw = dict[str, Tensor]


class LeafDecoder(nn.Module, ABC):
    """Decodes one leaf.

    Args:
      spec: of the leaf.
      features: width of what comes in.
      outputs: width of `forward`.
    """

    def __init__(self, spec: specs.Array, features: int, outputs: int):
        super().__init__()
        self.shape, self.dtype = tuple(spec.shape), torch_dtype(spec)
        self.linear = nn.Linear(features, outputs)

    @abstractmethod
    def forward(self, features: Tensor) -> Tensor:
        """Returns the parameters of a distribution, [N, ...]."""

    @abstractmethod
    def sample(self, parameters: Tensor, generator: torch.Generator) -> Tensor:
        """Draws raw answers [N, K]."""

    @abstractmethod
    def mode(self, parameters: Tensor) -> Tensor:
        """Returns the likeliest raw answers [N, K]."""

    @abstractmethod
    def log_prob(self, parameters: Tensor, raw: Tensor) -> Tensor:
        """Returns float32 [N]."""

    @abstractmethod
    def entropy(self, parameters: Tensor) -> Tensor:
        """Returns float32 [N], in nats."""

    @abstractmethod
    def answer(self, raw: Tensor) -> Tensor:
        """Returns what the stream takes, [N, ...] of the spec."""

    @abstractmethod
    def from_answer(self, value: Tensor) -> Tensor:
        """Returns the raw form of data that fits the spec."""

    def _shaped(self, value: Tensor) -> Tensor:
        return value.view(len(value), *self.shape).to(self.dtype)


def leaf_decoder(name: str, spec: specs.Array, modality: Modality, features: int) -> LeafDecoder:
    """Returns the decoder for one leaf.

    Raises:
      SpecError: integers whose bounds are unknown, or too many choices for one layer.
    """
    kind = np.dtype(spec.dtype).kind
    if kind == "b" or (modality.representation == "binary" and not isinstance(spec, specs.DiscreteArray)):
        return BinaryDecoder(spec, features)
    if kind == "f":
        return RealDecoder(spec, features)
    if not isinstance(spec, specs.BoundedArray) and np.dtype(spec.dtype) != np.uint8:
        raise SpecError(
            f"leaf_decoder: expected bounds for the integers of {name!r}, got {describe(spec)}. Say how many choices there"
            f" are: specs={{{name!r}: dm_env.specs.DiscreteArray(10, np.int64)}}."
        )
    return ChoiceDecoder(name, spec, features)


class ChoiceDecoder(LeafDecoder):
    """Chooses for each of K elements one of up to M values; parameters are logits [N, K, M]."""

    def __init__(self, name: str, spec: specs.Array, features: int):
        bounded = isinstance(spec, specs.BoundedArray)
        low = np.broadcast_to(spec.minimum if bounded else 0, spec.shape).astype(np.int64).reshape(-1)
        high = np.broadcast_to(spec.maximum if bounded else 255, spec.shape).astype(np.float64).reshape(-1)
        counts = high - low + 1
        count, most = len(low), float(counts.max())
        if count * most > MOST_OUTPUTS:
            raise SpecError(
                f"leaf_decoder: expected at most {MOST_OUTPUTS:,} choices for {name!r}, got {describe(spec)}."
                " Narrow its bounds with a stage."
            )
        super().__init__(spec, features, count * int(most))
        self.count, self.most = count, int(most)
        missing = np.arange(self.most) >= counts[:, None]
        self.ragged = bool(missing.any())
        self.register_buffer("low", torch.from_numpy(low), persistent=False)
        self.register_buffer("missing", torch.from_numpy(missing), persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        logits = self.linear(features).view(len(features), self.count, self.most)
        return logits.masked_fill(self.missing, -1e4) if self.ragged else logits

    def sample(self, parameters: Tensor, generator: torch.Generator) -> Tensor:
        # Of exponential variables with these rates, the first to come: the same draw as from a softmax.
        waiting = torch.empty(parameters.shape).exponential_(generator=generator)
        return (parameters - waiting.log().to(parameters.device)).argmax(-1)

    def mode(self, parameters: Tensor) -> Tensor:
        return parameters.argmax(-1)

    def log_prob(self, parameters: Tensor, raw: Tensor) -> Tensor:
        return parameters.log_softmax(-1).gather(-1, raw[..., None]).squeeze(-1).sum(-1)

    def entropy(self, parameters: Tensor) -> Tensor:
        log_probs = parameters.log_softmax(-1)
        return -(log_probs.exp() * log_probs).sum((-1, -2))

    def answer(self, raw: Tensor) -> Tensor:
        return self._shaped(raw + self.low)

    def from_answer(self, value: Tensor) -> Tensor:
        return value.reshape(len(value), -1).long() - self.low


class BinaryDecoder(LeafDecoder):
    """Says yes or no for each of K elements; parameters are logits [N, K]."""

    def __init__(self, spec: specs.Array, features: int):
        super().__init__(spec, features, int(np.prod(spec.shape, dtype=int)))

    def forward(self, features: Tensor) -> Tensor:
        return self.linear(features)

    def sample(self, parameters: Tensor, generator: torch.Generator) -> Tensor:
        drawn = torch.rand(parameters.shape, generator=generator).to(parameters.device)
        return (drawn < parameters.sigmoid()).float()

    def mode(self, parameters: Tensor) -> Tensor:
        return (parameters > 0).float()

    def log_prob(self, parameters: Tensor, raw: Tensor) -> Tensor:
        return -functional.binary_cross_entropy_with_logits(parameters, raw, reduction="none").sum(-1)

    def entropy(self, parameters: Tensor) -> Tensor:
        return functional.binary_cross_entropy_with_logits(parameters, parameters.sigmoid(), reduction="none").sum(-1)

    def answer(self, raw: Tensor) -> Tensor:
        return self._shaped(raw)

    def from_answer(self, value: Tensor) -> Tensor:
        return value.reshape(len(value), -1).float()


class RealDecoder(LeafDecoder):
    """Draws K real numbers around a mean [N, K]; the scale is a parameter that no observation changes."""

    low: Tensor
    high: Tensor

    def __init__(self, spec: specs.Array, features: int):
        super().__init__(spec, features, int(np.prod(spec.shape, dtype=int)))
        infinite = np.full(spec.shape, np.inf)
        bounded = isinstance(spec, specs.BoundedArray)
        low = np.broadcast_to(spec.minimum if bounded else -infinite, spec.shape).astype(np.float64).reshape(-1)
        high = np.broadcast_to(spec.maximum if bounded else infinite, spec.shape).astype(np.float64).reshape(-1)
        known = (low > -1e6) & (high < 1e6) & (high > low)
        center = np.where(known, np.where(known, low, 0) + np.where(known, high, 0), 0) / 2
        half = np.where(known, np.where(known, high, 1) - np.where(known, low, 0), 2) / 2
        for name, value in (("low", low), ("high", high), ("center", center), ("half_range", half)):
            self.register_buffer(name, torch.from_numpy(value.astype(np.float32)), persistent=False)
        self.log_std = nn.Parameter(torch.full((len(low),), -0.5))

    def forward(self, features: Tensor) -> Tensor:
        return self.linear(features)

    def sample(self, parameters: Tensor, generator: torch.Generator) -> Tensor:
        drawn = torch.randn(parameters.shape, generator=generator).to(parameters.device)
        return parameters + drawn * self.log_std.exp()

    def mode(self, parameters: Tensor) -> Tensor:
        return parameters

    def log_prob(self, parameters: Tensor, raw: Tensor) -> Tensor:
        distance = (raw - parameters) * (-self.log_std).exp()
        return (-0.5 * distance.square() - self.log_std - 0.5 * math.log(2 * math.pi)).sum(-1)

    def entropy(self, parameters: Tensor) -> Tensor:
        return (self.log_std + 0.5 * math.log(2 * math.pi * math.e)).sum().expand(len(parameters))

    def answer(self, raw: Tensor) -> Tensor:
        return self._shaped((self.center + raw * self.half_range).clamp(self.low, self.high))

    def from_answer(self, value: Tensor) -> Tensor:
        return (value.reshape(len(value), -1).float() - self.center) / self.half_range


class Decoder(nn.Module):
    """Decodes a tree of leaves, independent of each other given the features.

    Args:
      tree: spec tree of an action, or of a target.
      modalities: at the same places.
      features: width of what comes in.
    """

    def __init__(self, tree: dict, modalities: dict, features: int):
        super().__init__()
        kinds = dict(flatten(modalities))
        self.paths = [path for path, _ in flatten(tree)]
        self._keys = [(path_name(path), module_key(path_name(path))) for path in self.paths]
        self.leaves = nn.ModuleDict(
            {
                module_key(path_name(path)): leaf_decoder(path_name(path), spec, kinds[path], features)
                for path, spec in flatten(tree)
            }
        )

    def forward(self, features: Tensor) -> Raw:
        """Returns the parameters of every leaf's distribution."""
        return {name: self.leaves[key](features) for name, key in self._keys}

    def sample(self, parameters: Raw, generator: torch.Generator) -> Raw:
        """Draws raw answers."""
        return {name: self.leaves[key].sample(parameters[name], generator) for name, key in self._keys}

    def mode(self, parameters: Raw) -> Raw:
        """Returns the likeliest raw answers."""
        return {name: self.leaves[key].mode(parameters[name]) for name, key in self._keys}

    def log_prob(self, parameters: Raw, raw: Raw) -> Tensor:
        """Returns float32 [N], the sum over leaves."""
        return reduce(add, (self.leaves[key].log_prob(parameters[name], raw[name]) for name, key in self._keys))

    def entropy(self, parameters: Raw) -> Tensor:
        """Returns float32 [N], in nats, the sum over leaves."""
        return reduce(add, (self.leaves[key].entropy(parameters[name]) for name, key in self._keys))

    def answer(self, raw: Raw) -> dict:
        """Returns the tree of answers, as the stream takes it."""
        return tree_of({name: self.leaves[key].answer(raw[name]) for name, key in self._keys}, self.paths)

    def from_answer(self, tree: dict) -> Raw:
        """Returns the raw form of data that fits the spec."""
        values = leaves_of(tree)
        return {name: self.leaves[key].from_answer(values[name]) for name, key in self._keys}
