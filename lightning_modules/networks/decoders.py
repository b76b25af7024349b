"""Decoder: from features to a tree of answers, one network per leaf (`leaf_decoders`), and what their probability is."""

from functools import reduce
from operator import add

import torch
from torch import Tensor, nn

from aexp_torch import SpecError
from aexp_torch.specs import describe, flatten, path_name
from lightning_modules.networks.initialization import module_key
from lightning_modules.networks.inputs import leaves_of, tree_of
from lightning_modules.networks.leaf_decoders import ConstantDecoder, LeafDecoder, RealDecoder, leaf_decoder, limits
from lightning_modules.networks.left_out import LeaveOut

__all__ = ["Decoder"]

Raw = dict[str, Tensor]


class Decoder(nn.Module):
    """Decodes a tree of leaves, independent of each other given the features.

    Args:
      tree: spec tree of an action, or of a target.
      modalities: at the same places.
      features: width of what comes in.
      leave_out: is told of leaves for which there is no network; they are answered with their smallest value. Without
        it, that is an error.
    """

    def __init__(self, tree: dict, modalities: dict, features: int, leave_out: LeaveOut | None = None):
        super().__init__()
        self.features = features
        self.leaves = nn.ModuleDict()
        self._specs: dict[str, tuple] = {}
        self.grow(tree, modalities, leave_out)

    def grow(self, tree: dict, modalities: dict, leave_out: LeaveOut | None = None) -> list[nn.Module]:
        """Goes over to another tree; leaves of the same spec keep what they have learned.

        Args:
          tree: spec tree; what it lacks is not answered any more.
          modalities: at the same places.
          leave_out: as for the constructor.

        Returns:
          The leaf decoders that are new.
        """
        kinds = dict(flatten(modalities))
        fresh: list[nn.Module] = []
        self.paths = [path for path, _ in flatten(tree)]
        self._keys = [(path_name(path), module_key(path_name(path))) for path in self.paths]
        for path, spec in flatten(tree):
            name, kind = path_name(path), kinds[path]
            key, same = module_key(name), (describe(spec), str(limits(spec)), kind.structure, kind.representation)
            if self._specs.get(key) == same:
                continue
            leaf: LeafDecoder
            try:
                leaf = leaf_decoder(name, spec, kind, self.features)
            except SpecError as error:
                if leave_out is None:
                    raise
                leave_out(name, error)
                leaf = ConstantDecoder(spec)
            self.leaves[key], self._specs[key] = leaf, same
            fresh.append(leaf)
        return fresh

    @property
    def learned(self) -> list[tuple[str, ...]]:
        """The paths of the leaves that have something to learn."""
        return [
            path
            for path, (_, key) in zip(self.paths, self._keys, strict=True)
            if not isinstance(self.leaves[key], ConstantDecoder)
        ]

    def is_real(self, path: tuple[str, ...]) -> bool:
        """Tells whether a leaf is answered with real numbers, which are near to the truth rather than right."""
        return isinstance(self.leaves[module_key(path_name(path))], RealDecoder)

    def forward(self, features: Tensor) -> Raw:
        """Returns the parameters of every leaf's distribution."""
        return {name: self.leaves[key](features) for name, key in self._keys}

    def sample(self, parameters: Raw, generator: torch.Generator) -> Raw:
        """Draws raw answers."""
        return {name: self.leaves[key].sample(parameters[name], generator) for name, key in self._keys}

    def mode(self, parameters: Raw) -> Raw:
        """Returns the likeliest raw answers."""
        return {name: self.leaves[key].mode(parameters[name]) for name, key in self._keys}

    def log_prob(self, parameters: Raw, raw: Raw, masks: Raw | None = None) -> Tensor:
        """Returns float32 [N], the sum over the leaves that there are.

        Args:
          parameters: as `forward` returned them.
          raw: raw answers; a leaf that is left out counts 0.
          masks: `{"a/b": bool [N]}` for leaves that only some rows have; they count 0 in the others.
        """
        masks = masks or {}
        terms = []
        for name, key in self._keys:
            if name in raw:
                term = self.leaves[key].log_prob(parameters[name], raw[name])
                terms.append(term * masks[name] if name in masks else term)
        return reduce(add, terms)

    def entropy(self, parameters: Raw) -> Tensor:
        """Returns float32 [N], in nats, the sum over leaves."""
        return reduce(add, (self.leaves[key].entropy(parameters[name]) for name, key in self._keys))

    def answer(self, raw: Raw) -> dict:
        """Returns the tree of answers, as the stream takes it."""
        return tree_of({name: self.leaves[key].answer(raw[name]) for name, key in self._keys}, self.paths)

    def from_answer(self, tree: dict) -> Raw:
        """Returns the raw form of data that fits the spec; what is None is left out."""
        values = leaves_of(tree)
        found = ((name, key, values.get(name)) for name, key in self._keys)
        return {name: self.leaves[key].from_answer(value) for name, key, value in found if value is not None}
