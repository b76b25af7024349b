"""Leaf encoders: one network per leaf of an observation, chosen by its modality.

| structure | representation | network |
|---|---|---|
| flat | real, binary, integer | one linear layer |
| flat | categorical | a sum of embeddings, one per element |
| grid | any | a small convolutional network, from 8x8 to 84x84 and beyond; video `[T, H, W, C]` counts as channels |
| sequence | categorical | an embedding, then a GRU; zeros at the end of uint8 (text) are padding |
| sequence | real, binary, integer | a GRU |
| sequence of grids `[T, H, W]`, `[T, H, W, C]` | any | a convolutional network per frame, then a GRU |
| set | any | a linear layer per element, then their mean |

Sequences of more than 64 elements (audio, long texts) are shortened by convolutions with stride 4 first.
"""

from typing import Literal

import numpy as np
import torch
from dm_env import specs
from torch import Tensor, nn
from torch.nn import functional

from aexp_torch import Modality, SpecError
from aexp_torch.specs import describe

__all__ = ["GridEncoder", "Numbers", "leaf_encoder", "make_activation", "shortenings"]

Activation = Literal["tanh", "relu"]
BUCKETS = 1024  # for categories without a known number
LARGE = 1e6  # bounds from here on say nothing about the size of numbers
MOST_INPUTS = 1_000_000  # elements of a leaf that has no structure to share weights by
MOST_ROWS = 2**17  # of a table of embeddings
MOST_STEPS = 64  # of a GRU
STRIDE = 4  # by which longer sequences are shortened, as often as it takes
MOST_PLAIN = 10.0  # real numbers without bounds beyond this grow with their logarithm


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
      SpecError: a graph, or numbers that are no tensor's, for which there is none; a vector of more than a million.
    """
    categorical, rank = modality.representation == "categorical", len(spec.shape)
    size = int(np.prod(spec.shape, dtype=int))
    if modality.structure == "graph":
        raise SpecError(
            f"leaf_encoder: expected flat, set, sequence or grid for {name!r}, got a graph. Turn it into a set or a grid"
            " with a stage, or give the leaf another modality."
        )
    if np.dtype(spec.dtype).kind not in "biuf" or not size:
        raise SpecError(f"leaf_encoder: expected numbers for {name!r}, got {describe(spec)}. Turn them into some.")
    if modality.structure == "sequence" and rank:
        if rank >= 3:
            return FramesEncoder(Numbers(spec, real_scale), spec, width, activation)
        if categorical and np.dtype(spec.dtype).kind in "iu":
            return TextEncoder(spec, width)
        return SequenceEncoder(Numbers(spec, real_scale), spec, width)
    if modality.structure == "grid" and rank >= 2:
        return GridEncoder(Numbers(spec, real_scale), spec, width, activation)
    if modality.structure == "set" and rank:
        return SetEncoder(Numbers(spec, real_scale), spec, width, activation)
    if size > MOST_INPUTS:
        raise SpecError(
            f"leaf_encoder: expected at most {MOST_INPUTS:,} elements without structure for {name!r}, got"
            f" {describe(spec)}. Say that it is a grid, a sequence or a set: Modality('grid', ...)."
        )
    if categorical and np.dtype(spec.dtype).kind in "iu" and size <= MOST_ROWS // 2:
        return ChoiceEncoder(spec, width, activation)
    layers = (nn.Flatten(1), nn.Linear(size, width), make_activation(activation))
    return nn.Sequential(Numbers(spec, real_scale), *(layers if rank else (AddAxis(), *layers[1:])))


def make_activation(name: Activation) -> nn.Module:
    """Returns the activation of that name."""
    return {"tanh": nn.Tanh, "relu": nn.ReLU}[name]()


class Numbers(nn.Module):
    """Turns any numbers into float32 of a sensible size: divided by their bounds, or their logarithm where integers
    have none. Reals without bounds are as they are up to 10, and grow with their logarithm beyond; infinite ones and NaN
    are 0."""

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
        if scale.size and (scale == scale.flat[0]).all():
            scale = scale.reshape(-1)[0]  # whatever the length of a sequence
        self.identity = bool((scale == 1).all())
        self.compress = kind == "f" and not (bounded and bool((size < LARGE).all()))
        self.register_buffer("scale", torch.from_numpy(np.array(scale)), persistent=False)

    def forward(self, value: Tensor) -> Tensor:
        value = value.float()
        if self.logarithm:
            value = value.sign() * value.abs().log1p()
        if not self.identity:
            value = value / self.scale
        if self.compress:
            beyond = value - value.clamp(-MOST_PLAIN, MOST_PLAIN)
            value = (value - beyond + beyond.sign() * beyond.abs().log1p()).nan_to_num(0.0, 0.0, 0.0)
        return value


class AddAxis(nn.Module):
    """Turns scalars [N] into [N, 1]."""

    def forward(self, value: Tensor) -> Tensor:
        return value[:, None]


class ChoiceEncoder(nn.Module):
    """Adds up one embedding per element of a categorical leaf (a linear layer on its one-hot form)."""

    def __init__(self, spec: specs.Array, width: int, activation: Activation):
        super().__init__()
        low, size = choices(spec)
        count = max(1, low.size)
        self.size = min(size, MOST_ROWS // count)  # beyond that, values share embeddings
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


class Shorten(nn.Module):
    """Makes long sequences [N, L, C] a quarter as long, several times: [N, L / 4^k, width]."""

    def __init__(self, times: int, size: int, width: int):
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Conv1d(size if i == 0 else width, width, STRIDE, stride=STRIDE) for i in range(times)
        )
        self.size = width if times else size

    def forward(self, value: Tensor) -> Tensor:
        for layer in self.layers:
            value = functional.pad(value, (0, 0, 0, -value.shape[1] % STRIDE))
            value = layer(value.transpose(1, 2)).relu().transpose(1, 2)
        return value


def shortenings(length: int) -> int:
    """Returns how often a sequence is made a quarter as long."""
    times = 0
    while length > MOST_STEPS:
        length, times = -(-length // STRIDE), times + 1
    return times


class TextEncoder(nn.Module):
    """Reads a sequence [L] (or [L, ...], one element after the other) of categories with a GRU, to the last that is not
    padding."""

    def __init__(self, spec: specs.Array, width: int, embedding: int = 32):
        super().__init__()
        self.padded = np.dtype(spec.dtype) == np.uint8
        low, self.size = choices(spec)
        self.low = int(low.min(initial=0))
        self.table = nn.Embedding(self.size, embedding, padding_idx=0 if self.padded else None)
        self.shorten = Shorten(shortenings(int(np.prod(spec.shape, dtype=int))), embedding, width)
        self.reader = nn.GRU(self.shorten.size, width, batch_first=True)

    def forward(self, value: Tensor) -> Tensor:
        places = (value.long() - self.low).remainder(self.size).flatten(1)  # [N, L]
        if not self.padded:
            return self.reader(self.shorten(self.table(places)))[1][0]
        steps = torch.arange(1, places.shape[1] + 1, device=value.device)
        length = ((places != 0) * steps).amax(1)  # [N], the place of the last byte
        window = STRIDE ** len(self.shorten.layers)
        longest = -(-max(1, int(length.max()) if len(length) else 1) // window) * window  # whole windows, for all alike
        places = functional.pad(places, (0, max(0, longest - places.shape[1])))[:, :longest]
        output = self.reader(self.shorten(self.table(places)))[0]
        for _ in self.shorten.layers:
            length = (length + STRIDE - 1).div(STRIDE, rounding_mode="floor")
        ends = output[torch.arange(len(output), device=value.device), (length - 1).clamp(min=0)]
        return ends * (length > 0)[:, None]


class SequenceEncoder(nn.Module):
    """Reads a sequence [L] or [L, C] of numbers with a GRU."""

    def __init__(self, numbers: Numbers, spec: specs.Array, width: int):
        super().__init__()
        self.numbers = numbers
        size = int(np.prod(spec.shape[1:], dtype=int))
        self.shorten = Shorten(shortenings(spec.shape[0]), size, width)
        self.reader = nn.GRU(self.shorten.size, width, batch_first=True)

    def forward(self, value: Tensor) -> Tensor:
        value = self.numbers(value)
        value = value[..., None] if value.dim() == 2 else value.flatten(2)
        return self.reader(self.shorten(value))[1][0]


class FramesEncoder(nn.Module):
    """Looks at each frame [H, W] or [H, W, C] of a video alike and reads what it saw with a GRU."""

    def __init__(self, numbers: Numbers, spec: specs.Array, width: int, activation: Activation):
        super().__init__()
        self.numbers = numbers
        frame = specs.Array(spec.shape[1:], np.float32)
        self.frame = GridEncoder(nn.Identity(), frame, width, activation)
        self.shorten = Shorten(shortenings(spec.shape[0]), width, width)
        self.reader = nn.GRU(width, width, batch_first=True)

    def forward(self, value: Tensor) -> Tensor:
        frames = self.frame(self.numbers(value).flatten(0, 1)).unflatten(0, value.shape[:2])  # [N, T, width]
        return self.reader(self.shorten(frames))[1][0]


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

    Axes are halved until at most 16 cells remain; then come two convolutions, a maximum over 2x2 cells and one layer.
    """

    def __init__(self, numbers: nn.Module, spec: specs.Array, width: int, activation: Activation, channels: int = 16):
        super().__init__()
        self.numbers = numbers
        shape = spec.shape if len(spec.shape) > 2 else (1, *spec.shape)
        # The axis of the channels is the first or the last, whichever is shorter.
        self.channels_last = len(spec.shape) > 2 and shape[-1] <= shape[-3]
        height, wide = shape[-3:-1] if self.channels_last else shape[-2:]
        count = int(np.prod(shape, dtype=int)) // (height * wide)
        layers: list[nn.Module] = []
        while max(height, wide) > 16:
            stride = 1 + (height > 16), 1 + (wide > 16)
            layers += [nn.Conv2d(count, channels, 3, stride=stride, padding=1), nn.ReLU()]
            count, height, wide = channels, -(-height // stride[0]), -(-wide // stride[1])
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
