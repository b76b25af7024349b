"""Encoders: one network per leaf of an observation, chosen by its modality, and one for the whole tree.

| structure | representation | network |
|---|---|---|
| flat | real, binary, integer | one linear layer |
| flat | categorical | a sum of embeddings, one per element |
| grid | any | a small convolutional network, from 8x8 to 84x84 and beyond |
| sequence | categorical | an embedding, then a GRU; zeros at the end of uint8 (text) are padding |
| sequence | real, binary, integer | a GRU |
| set | any | a linear layer per element, then their mean |
"""

from typing import Literal

import numpy as np
import torch
from dm_env import specs
from torch import Tensor, nn

from aexp_torch import Modality, SpecError
from aexp_torch.specs import flatten, path_name
from lightning_modules.networks.initialization import module_key
from lightning_modules.networks.inputs import Inputs

__all__ = ["Encoder", "leaf_encoder", "make_activation"]

Activation = Literal["tanh", "relu"]
BUCKETS = 1024  # for categories without a known number
LARGE = 1e6  # bounds from here on say nothing about the size of numbers


class Encoder(nn.Module):
    """Encodes a nested observation as one vector per row; what is absent counts as zeros.

    Args:
      observation: spec tree.
      modalities: at the same places.
      width: of the result.
      activation: after every layer.
      real_scale: divides real elements by half their bounds, and by this where they have none. Without it, only those
        with bounds beyond 10 are divided, by their bounds.
      shared: leaf encoders that other sources have; leaves whose meaning does not hang on their place in a vector
        (grids, sequences, sets) of the same spec and modality use the same one.
    """

    def __init__(
        self,
        observation: dict,
        modalities: dict,
        width: int,
        activation: Activation = "tanh",
        real_scale: float | None = None,
        shared: dict[tuple, nn.Module] | None = None,
    ):
        super().__init__()
        shared = {} if shared is None else shared
        self.paths = [path for path, _ in flatten(observation)]
        if not self.paths:
            raise SpecError("Encoder: expected an observation with at least one key to look at, got none.")
        kinds = dict(flatten(modalities))
        self.leaves = nn.ModuleDict()
        for path, spec in flatten(observation):
            kind, name = kinds[path], path_name(path)
            key = (
                kind,
                spec.shape,
                np.dtype(spec.dtype).str,
                *(str(getattr(spec, m, "")) for m in ("minimum", "maximum")),
            )
            leaf = shared.get(key) or leaf_encoder(name, spec, kind, width, activation, real_scale)
            if kind.structure != "flat":
                shared[key] = leaf
            self.leaves[module_key(name)] = leaf
        self._keys = [(path_name(path), module_key(path_name(path))) for path in self.paths]
        joined = (
            [] if len(self.paths) == 1 else [nn.Linear(width * len(self.paths), width), make_activation(activation)]
        )
        self.join = nn.Sequential(*joined)
        self.register_buffer("blank", torch.zeros(1, width), persistent=False)

    def forward(self, inputs: Inputs) -> Tensor:
        """Returns float32 [N, width]."""
        parts = []
        for name, key in self._keys:
            value, mask = inputs.values.get(name), inputs.masks.get(name)
            if value is None:
                parts.append(self.blank.expand(inputs.num_rows, -1))
                continue
            features = self.leaves[key](value)
            parts.append(features if mask is None else features * mask[:, None])
        return parts[0] if len(parts) == 1 else self.join(torch.cat(parts, -1))


def leaf_encoder(
    name: str,
    spec: specs.Array,
    modality: Modality,
    width: int,
    activation: Activation = "tanh",
    real_scale: float | None = None,
) -> nn.Module:
    """Returns the network for one leaf: from [N, ...] of its spec to float32 [N, width].

    Raises:
      SpecError: a graph, for which there is none.
    """
    categorical, rank = modality.representation == "categorical", len(spec.shape)
    if modality.structure == "graph":
        raise SpecError(
            f"leaf_encoder: expected flat, set, sequence or grid for {name!r}, got a graph. Turn it into a set or a grid"
            " with a stage, or give the leaf another modality."
        )
    if modality.structure == "sequence" and rank:
        return TextEncoder(spec, width) if categorical else SequenceEncoder(Numbers(spec, real_scale), spec, width)
    if modality.structure == "grid" and rank >= 2:
        return GridEncoder(Numbers(spec, real_scale), spec, width, activation)
    if modality.structure == "set" and rank:
        return SetEncoder(Numbers(spec, real_scale), spec, width, activation)
    if categorical and np.dtype(spec.dtype).kind in "iu":
        return ChoiceEncoder(spec, width, activation)
    size = int(np.prod(spec.shape, dtype=int))
    layers = (nn.Flatten(1), nn.Linear(size, width), make_activation(activation))
    return nn.Sequential(Numbers(spec, real_scale), *(layers if rank else (AddAxis(), *layers[1:])))


def make_activation(name: Activation) -> nn.Module:
    """Returns the activation of that name."""
    return {"tanh": nn.Tanh, "relu": nn.ReLU}[name]()


class Numbers(nn.Module):
    """Turns any numbers into float32 of a sensible size: divided by their bounds, or their logarithm where integers
    have none."""

    def __init__(self, spec: specs.Array, real_scale: float | None = None):
        super().__init__()
        kind, bounded = np.dtype(spec.dtype).kind, isinstance(spec, specs.BoundedArray)
        scale = np.ones(spec.shape)
        self.logarithm = not bounded and kind == "i"
        if bounded and kind != "b":
            size = np.maximum(np.abs(np.float64(spec.minimum)), np.abs(np.float64(spec.maximum)))
            if kind != "f":
                self.logarithm = bool((size >= LARGE).any())
                scale = np.where((size > 0) & (size < LARGE), size, 1.0)
            elif real_scale is not None:
                scale = np.where((size > 0) & (size < LARGE), size / 2, real_scale)
            else:
                scale = np.where((size > 10) & (size < LARGE), size, 1.0)
        elif kind == "u":
            scale = np.full(spec.shape, float(np.iinfo(spec.dtype).max))
        elif kind == "f" and real_scale is not None:
            scale = np.full(spec.shape, real_scale)
        scale = np.broadcast_to(scale, spec.shape).astype(np.float32)
        self.identity = bool((scale == 1).all())
        self.register_buffer("scale", torch.from_numpy(np.array(scale)), persistent=False)

    def forward(self, value: Tensor) -> Tensor:
        value = value.float()
        if self.logarithm:
            value = value.sign() * value.abs().log1p()
        return value if self.identity else value / self.scale


class AddAxis(nn.Module):
    """Turns scalars [N] into [N, 1]."""

    def forward(self, value: Tensor) -> Tensor:
        return value[:, None]


class ChoiceEncoder(nn.Module):
    """Adds up one embedding per element of a categorical leaf (a linear layer on its one-hot form)."""

    def __init__(self, spec: specs.Array, width: int, activation: Activation):
        super().__init__()
        low, self.size = choices(spec)
        count = max(1, low.size)
        self.register_buffer("low", torch.from_numpy(low.reshape(-1)), persistent=False)
        self.register_buffer("offset", torch.arange(count) * self.size, persistent=False)
        self.table = nn.Embedding(count * self.size, width)
        self.activation = make_activation(activation)

    def forward(self, value: Tensor) -> Tensor:
        places = (value.flatten(1) if value.dim() > 1 else value[:, None]).long() - self.low  # [N, K]
        return self.activation(self.table(places.remainder(self.size) + self.offset).sum(1))


def choices(spec: specs.Array) -> tuple[np.ndarray, int]:
    """Returns the smallest value of every element, and how many values (at most) they have."""
    if isinstance(spec, specs.BoundedArray):
        low = np.broadcast_to(spec.minimum, spec.shape).astype(np.int64)
        span = int(np.max(np.float64(spec.maximum) - np.float64(spec.minimum))) + 1
        return low, min(span, 65_536)
    return np.zeros(spec.shape, np.int64), 256 if np.dtype(spec.dtype) == np.uint8 else BUCKETS


class TextEncoder(nn.Module):
    """Reads a sequence of categories with a GRU, to the last that is not padding."""

    def __init__(self, spec: specs.Array, width: int, embedding: int = 32):
        super().__init__()
        self.padded = np.dtype(spec.dtype) == np.uint8
        low, self.size = choices(spec)
        self.low = int(low.min(initial=0))
        self.table = nn.Embedding(self.size, embedding, padding_idx=0 if self.padded else None)
        self.reader = nn.GRU(embedding, width, batch_first=True)

    def forward(self, value: Tensor) -> Tensor:
        places = (value.long() - self.low).remainder(self.size).flatten(1)  # [N, L]
        output, final = self.reader(self.table(places))
        if not self.padded:
            return final[0]
        steps = torch.arange(1, places.shape[1] + 1, device=value.device)
        length = ((value.flatten(1) != 0) * steps).amax(1)  # [N], the place of the last byte
        ends = output[torch.arange(len(output), device=value.device), (length - 1).clamp(min=0)]
        return ends * (length > 0)[:, None]


class SequenceEncoder(nn.Module):
    """Reads a sequence [L] or [L, ...] of numbers with a GRU."""

    def __init__(self, numbers: Numbers, spec: specs.Array, width: int):
        super().__init__()
        self.numbers = numbers
        self.reader = nn.GRU(int(np.prod(spec.shape[1:], dtype=int)), width, batch_first=True)

    def forward(self, value: Tensor) -> Tensor:
        value = self.numbers(value)
        return self.reader(value[..., None] if value.dim() == 2 else value.flatten(2))[1][0]


class SetEncoder(nn.Module):
    """Looks at every element [...] of a set alike and takes the mean.

    Source: Zaheer et al. 2017, Deep Sets.
    """

    def __init__(self, numbers: Numbers, spec: specs.Array, width: int, activation: Activation):
        super().__init__()
        self.numbers = numbers
        size = int(np.prod(spec.shape[1:], dtype=int))
        self.layers = nn.Sequential(nn.Linear(size, width), make_activation(activation))

    def forward(self, value: Tensor) -> Tensor:
        value = self.numbers(value)
        return self.layers(value[..., None] if value.dim() == 2 else value.flatten(2)).mean(1)


class GridEncoder(nn.Module):
    """Looks at a grid [H, W], [H, W, C] or [C, H, W] with convolutions; axes before those count as channels.

    Large grids are halved until 16 cells remain; then come two convolutions, a maximum over 2x2 cells and one layer.
    """

    def __init__(self, numbers: Numbers, spec: specs.Array, width: int, activation: Activation, channels: int = 16):
        super().__init__()
        self.numbers = numbers
        shape = spec.shape if len(spec.shape) > 2 else (1, *spec.shape)
        # The axis of the channels is the first or the last, whichever is shorter.
        self.channels_last = len(spec.shape) > 2 and shape[-1] <= shape[-3]
        height, wide = shape[-3:-1] if self.channels_last else shape[-2:]
        count = int(np.prod(shape, dtype=int)) // (height * wide)
        layers: list[nn.Module] = []
        while min(height, wide) > 16:
            layers += [nn.Conv2d(count, channels, 3, stride=2, padding=1), nn.ReLU()]
            count, height, wide = channels, (height + 1) // 2, (wide + 1) // 2
        layers += [nn.Conv2d(count, channels, 3, padding=1), nn.ReLU()]
        layers += [nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU()]
        if min(height, wide) >= 4:
            layers.append(nn.MaxPool2d(2))
            height, wide = height // 2, wide // 2
        self.layers = nn.Sequential(
            *layers, nn.Flatten(), nn.Linear(channels * height * wide, width), make_activation(activation)
        )

    def forward(self, value: Tensor) -> Tensor:
        grid = self.numbers(value)
        if grid.dim() == 3:
            grid = grid[:, None]
        if self.channels_last:
            grid = grid.movedim(-1, -3)
        return self.layers(grid.flatten(1, -3) if grid.dim() > 4 else grid)  # [N, C, H, W]
