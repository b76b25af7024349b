"""Leaf decoders: from features to answers that fit a spec, and what their probability is.

A leaf decoder works on `raw` answers (places of choices, units of bounds), so that a log-probability is that of what was
drawn; `answer` makes what the stream takes of them, `from_answer` is the way back.

| leaf | distribution | raw |
|---|---|---|
| Discrete, integers with bounds | categorical, one per element | int64 [N, K], from 0 |
| bool, integers in 0..1 | Bernoulli, one per element | float32 [N, K] |
| floats | normal with a learned scale, in units of half the bounds | float32 [N, K]; the answer is clipped |
| grids of integers (images) | the same, and the answer is rounded | float32 [N, K] |
| sequences of categories (text) | categorical per place, independent given the features | int64 [N, L], from 0 |

Every draw takes a generator of the CPU, wherever the features are.
"""

import math
from abc import ABC, abstractmethod

import numpy as np
import torch
from dm_env import specs
from torch import Tensor, nn
from torch.nn import functional

from aexp_torch import Modality, SpecError
from aexp_torch.specs import describe
from aexp_torch.specs.check import torch_dtype

__all__ = ["ConstantDecoder", "LeafDecoder", "RealDecoder", "leaf_decoder", "limits"]

MOST_OUTPUTS = 1_000_000
IMAGE_VALUES = 64  # from here on, integers of a grid are near to one another rather than choices


class LeafDecoder(nn.Module, ABC):
    """Decodes one leaf.

    Args:
      spec: of the leaf.
      features: width of what comes in.
      outputs: of the linear layer that looks at them.
    """

    def __init__(self, spec: specs.Array, features: int, outputs: int):
        super().__init__()
        self.shape, self.dtype = tuple(spec.shape), torch_dtype(spec)
        if outputs:
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
      SpecError: a graph, integers whose bounds are unknown, or too many outputs for one layer.
    """
    kind, size = np.dtype(spec.dtype).kind, int(np.prod(spec.shape, dtype=int))
    if kind not in "biuf" or modality.structure == "graph" or not 0 < size <= MOST_OUTPUTS:
        raise SpecError(
            f"leaf_decoder: expected at most {MOST_OUTPUTS:,} numbers, and no graph, for {name!r}, got {describe(spec)},"
            f" {modality.structure}. Change it with a stage."
        )
    if kind == "b" or (modality.representation == "binary" and not isinstance(spec, specs.DiscreteArray)):
        return BinaryDecoder(spec, features)
    if kind == "f":
        return RealDecoder(spec, features)
    bounded = isinstance(spec, specs.BoundedArray) or np.dtype(spec.dtype) == np.uint8
    if modality.representation == "integer" and (not bounded or _is_image(spec, modality)):
        return RealDecoder(spec, features)
    if not bounded:
        raise SpecError(
            f"leaf_decoder: expected bounds for the integers of {name!r}, got {describe(spec)}. Say how many choices there"
            f" are: specs={{{name!r}: dm_env.specs.DiscreteArray(10, np.int64)}}."
        )
    if modality.structure == "sequence" and modality.representation == "categorical" and len(spec.shape) == 1:
        return TextDecoder(name, spec, features)
    return ChoiceDecoder(name, spec, features)


def _is_image(spec: specs.Array, modality: Modality) -> bool:
    low, high = limits(spec)
    return modality.structure == "grid" and float((high - low).max()) + 1 >= IMAGE_VALUES


def limits(spec: specs.Array) -> tuple[np.ndarray, np.ndarray]:
    """Returns the smallest and the largest values of the elements, float64 [K]; infinite where there are none."""
    low, high = -np.inf, np.inf
    if isinstance(spec, specs.BoundedArray):
        low, high = spec.minimum, spec.maximum
    elif np.dtype(spec.dtype).kind in "iu" and np.dtype(spec.dtype).itemsize < 4:
        low, high = np.iinfo(spec.dtype).min, np.iinfo(spec.dtype).max
    smallest, largest = (np.broadcast_to(bound, spec.shape).astype(np.float64).reshape(-1) for bound in (low, high))
    return smallest, largest


def _choices(name: str, spec: specs.Array) -> tuple[np.ndarray, np.ndarray]:
    """Returns the smallest value of each element (int64 [K]), and which of the most choices it lacks (bool [K, M]).

    Raises:
      SpecError: too many of them.
    """
    low, high = limits(spec)
    counts = high - low + 1
    most = float(counts.max())
    if len(low) * most > MOST_OUTPUTS:
        raise SpecError(
            f"leaf_decoder: expected at most {MOST_OUTPUTS:,} choices for {name!r}, got {describe(spec)}."
            " Narrow its bounds with a stage."
        )
    return low.astype(np.int64), np.arange(int(most)) >= counts[:, None]


def _draw(logits: Tensor, generator: torch.Generator) -> Tensor:
    # Of exponential variables with these rates, the first to come: the same draw as from a softmax.
    waiting = torch.empty(logits.shape).exponential_(generator=generator)
    return (logits - waiting.log().to(logits.device)).argmax(-1)


class ChoiceDecoder(LeafDecoder):
    """Chooses for each of K elements one of up to M values; parameters are logits [N, K, M]."""

    def __init__(self, name: str, spec: specs.Array, features: int):
        low, missing = _choices(name, spec)
        super().__init__(spec, features, missing.size)
        self.count, self.most = missing.shape
        self.ragged = bool(missing.any())
        self.register_buffer("low", torch.from_numpy(low), persistent=False)
        self.register_buffer("missing", torch.from_numpy(missing), persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        logits = self.linear(features).view(len(features), self.count, self.most)
        return logits.masked_fill(self.missing, -1e4) if self.ragged else logits

    def sample(self, parameters: Tensor, generator: torch.Generator) -> Tensor:
        return _draw(parameters, generator)

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
        low, high = limits(spec)
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
        value = (self.center + raw * self.half_range).clamp(self.low, self.high)
        return self._shaped(value if self.dtype.is_floating_point else value.round())

    def from_answer(self, value: Tensor) -> Tensor:
        return (value.reshape(len(value), -1).float() - self.center) / self.half_range


class TextDecoder(LeafDecoder):
    """Writes L categories at once; parameters are logits [N, L, M]. A text of bytes ends at its first 0.

    Each place has a way of its own to look at the features; what stands at other places it does not know. Answers leave
    out bytes that are no UTF-8.
    """

    def __init__(self, name: str, spec: specs.Array, features: int):
        low, missing = _choices(name, spec)
        super().__init__(spec, features, features)
        length, most = missing.shape
        self.padded = np.dtype(spec.dtype) == np.uint8 and not low.any()
        self.register_buffer("low", torch.from_numpy(low), persistent=False)
        self.register_buffer("missing", torch.from_numpy(missing), persistent=False)
        self.gate = nn.Parameter(torch.randn(length, features))
        self.place = nn.Parameter(torch.randn(length, features))
        self.choose = nn.Linear(features, most)

    def forward(self, features: Tensor) -> Tensor:
        hidden = (self.linear(features)[:, None] * self.gate + self.place).relu()  # [N, L, features]
        return self.choose(hidden).masked_fill(self.missing, -1e4)

    def sample(self, parameters: Tensor, generator: torch.Generator) -> Tensor:
        return self._until_end(_draw(parameters, generator))

    def mode(self, parameters: Tensor) -> Tensor:
        if not self.padded:
            return parameters.argmax(-1)
        log_probs = parameters.log_softmax(-1)
        going_on, byte = log_probs[..., 1:].max(-1)  # [N, L]
        before = going_on.cumsum(1) - going_on
        ends = torch.cat([before + log_probs[..., 0], going_on.sum(1, keepdim=True)], 1)  # [N, L + 1], by length
        inside = torch.arange(byte.shape[1], device=byte.device) < ends.argmax(1, keepdim=True)
        return (byte + 1) * inside

    def log_prob(self, parameters: Tensor, raw: Tensor) -> Tensor:
        log_probs = parameters.log_softmax(-1).gather(-1, raw[..., None]).squeeze(-1)
        return (log_probs * self._counts(raw)).sum(-1)

    def entropy(self, parameters: Tensor) -> Tensor:
        log_probs = parameters.log_softmax(-1)
        each = -(log_probs.exp() * log_probs).sum(-1)  # [N, L]
        if not self.padded:
            return each.sum(-1)
        goes_on = 1 - log_probs[..., 0].exp()
        reached = torch.cat([torch.ones_like(goes_on[:, :1]), goes_on[:, :-1].cumprod(1)], 1)
        return (reached * each).sum(-1)

    def answer(self, raw: Tensor) -> Tensor:
        value = self._shaped(raw + self.low)
        return _readable(value) if self.padded else value

    def from_answer(self, value: Tensor) -> Tensor:
        return self._until_end(value.long() - self.low)

    def _counts(self, raw: Tensor) -> Tensor:
        """Returns which places belong to a text: those up to its first 0, which says that it ends."""
        if not self.padded:
            return torch.ones_like(raw, dtype=torch.bool)
        ended = raw == 0
        return ended.long().cumsum(1) - ended.long() == 0

    def _until_end(self, raw: Tensor) -> Tensor:
        return raw * self._counts(raw)


def _readable(texts: Tensor) -> Tensor:
    """Leaves out of uint8 [N, L] the bytes that are no UTF-8."""
    if (texts < 128).all():
        return texts
    rows = [bytes(row).decode(errors="ignore").encode() for row in texts.tolist()]
    padded = b"".join(row.ljust(texts.shape[1], b"\0") for row in rows)
    return torch.frombuffer(bytearray(padded), dtype=torch.uint8).view(texts.shape).to(texts.device)


class ConstantDecoder(LeafDecoder):
    """Gives the smallest value every time: for a leaf that has to be answered, and for which there is no network."""

    value: Tensor

    def __init__(self, spec: specs.Array):
        super().__init__(spec, 1, 0)
        low, high = limits(spec)
        value = np.where(np.isfinite(low), low, np.minimum(high, 0.0))
        self.register_buffer("value", torch.from_numpy(value), persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        return features.new_zeros(len(features), 0)

    def sample(self, parameters: Tensor, generator: torch.Generator) -> Tensor:
        return parameters

    def mode(self, parameters: Tensor) -> Tensor:
        return parameters

    def log_prob(self, parameters: Tensor, raw: Tensor) -> Tensor:
        return parameters.new_zeros(len(parameters))

    def entropy(self, parameters: Tensor) -> Tensor:
        return parameters.new_zeros(len(parameters))

    def answer(self, raw: Tensor) -> Tensor:
        return self._shaped(self.value.expand(len(raw), -1))

    def from_answer(self, value: Tensor) -> Tensor:
        return torch.zeros(len(value), 0, device=value.device)
