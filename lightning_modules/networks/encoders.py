"""Encoder: one network per leaf of an observation (`leaf_encoders`), and one for the whole tree."""

import numpy as np
import torch
from dm_env import specs
from torch import Tensor, nn

from aexp_torch import Modality, SpecError
from aexp_torch.specs import flatten, path_name
from lightning_modules.networks.initialization import module_key
from lightning_modules.networks.inputs import Inputs
from lightning_modules.networks.leaf_encoders import Activation, leaf_encoder, make_activation, shortenings
from lightning_modules.networks.left_out import LeaveOut

__all__ = ["Encoder"]


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
        (grids, sequences, sets) of the same spec and modality use the same one, sequences and sets of any length.
      leave_out: is told of leaves for which there is no network; they are left out. Without it, that is an error.

    Raises:
      SpecError: nothing to look at, or a leaf for which there is no network.
    """

    def __init__(
        self,
        observation: dict,
        modalities: dict,
        width: int,
        activation: Activation = "tanh",
        real_scale: float | None = None,
        shared: dict[tuple, nn.Module] | None = None,
        leave_out: LeaveOut | None = None,
    ):
        super().__init__()
        self.width, self.activation, self.real_scale = width, activation, real_scale
        self.leaves = nn.ModuleDict()
        self.paths: list[tuple[str, ...]] = []
        self._specs: dict[str, tuple] = {}
        self.register_buffer("blank", torch.zeros(1, width), persistent=False)
        self._add_leaves(observation, modalities, {} if shared is None else shared, leave_out)
        if not self.paths and leave_out is None:
            raise SpecError("Encoder: expected an observation with at least one key to look at, got none.")
        self._joined = [module_key(path_name(path)) for path in self.paths]  # by `join`; others came later
        size = len(self._joined)
        self.join = nn.Sequential(*([] if size < 2 else [nn.Linear(width * size, width), make_activation(activation)]))
        self.later = nn.ModuleDict()

    def grow(
        self,
        observation: dict,
        modalities: dict,
        shared: dict[tuple, nn.Module] | None = None,
        leave_out: LeaveOut | None = None,
    ) -> list[nn.Module]:
        """Takes up leaves that are new, or have another spec; what comes of them begins with no influence.

        Args:
          observation: spec tree, with old and new leaves; old ones that it lacks stay, as absent ones.
          modalities: at the same places.
          shared: as for the constructor.
          leave_out: as for the constructor.

        Returns:
          The leaf encoders that are new, to be initialized.
        """
        fresh, added = self._add_leaves(observation, modalities, {} if shared is None else shared, leave_out)
        for key in added:
            if key not in self._joined and key not in self.later:
                layer = self.later[key] = nn.Linear(self.width, self.width, bias=False)
                nn.init.zeros_(layer.weight)
        return fresh

    def _add_leaves(
        self, observation: dict, modalities: dict, shared: dict[tuple, nn.Module], leave_out: LeaveOut | None
    ) -> tuple[list[nn.Module], list[str]]:
        kinds, fresh, added = dict(flatten(modalities)), [], []
        for path, spec in flatten(observation):
            kind, name = kinds[path], path_name(path)
            key, same = module_key(name), _same(spec, kind)
            if self._specs.get(key) == same:
                continue
            leaf = shared.get(same) if kind.structure != "flat" else None
            if leaf is None:
                try:
                    leaf = leaf_encoder(name, spec, kind, self.width, self.activation, self.real_scale)
                except SpecError as error:
                    if leave_out is None:
                        raise
                    leave_out(name, error)
                    continue
                fresh.append(leaf)
                if kind.structure != "flat":
                    shared[same] = leaf
            self.leaves[key], self._specs[key] = leaf, same
            added.append(key)
            if path not in self.paths:
                self.paths.append(path)
        self._keys = [(path_name(path), module_key(path_name(path))) for path in self.paths]
        return fresh, added

    def forward(self, inputs: Inputs) -> Tensor:
        """Returns float32 [N, width]."""
        parts = {key: self._leaf(name, key, inputs) for name, key in self._keys}
        joined = [parts[key] for key in self._joined]
        if not joined:
            features = self.blank.expand(inputs.num_rows, -1)
        else:
            features = joined[0] if len(joined) == 1 else self.join(torch.cat(joined, -1))
        for key, layer in self.later.items():
            features = features + layer(parts[key])
        return features

    def _leaf(self, name: str, key: str, inputs: Inputs) -> Tensor:
        value, mask = inputs.values.get(name), inputs.masks.get(name)
        if value is None:
            return self.blank.expand(inputs.num_rows, -1)
        features = self.leaves[key](value)
        return features if mask is None else features * mask[:, None]


def _same(spec: specs.Array, kind: Modality) -> tuple:
    """Returns what two leaves have in common that can use one encoder."""
    shape: tuple = spec.shape
    bounds = [np.asarray(getattr(spec, name)) for name in ("minimum", "maximum") if hasattr(spec, name)]
    alike = all((bound == bound.reshape(-1)[:1]).all() for bound in bounds)
    context = kind.context
    if kind.structure in ("sequence", "set") and shape and alike:
        shape = (shortenings(shape[0]) if kind.structure == "sequence" else None, *shape[1:])
        if kind.representation == "categorical" and np.dtype(spec.dtype) == np.uint8:
            context = ""  # bytes are bytes, whatever they say
    limits = tuple(str(bound.reshape(-1)[:1] if alike else bound) for bound in bounds)
    return kind.structure, kind.representation, context, shape, np.dtype(spec.dtype).str, *limits
