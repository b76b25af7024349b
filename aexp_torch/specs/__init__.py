"""What a stream promises: trees of dm_env specs, with a modality for every leaf.

A spec says what a tensor will look like before it exists; nothing here touches data except the checks.
To add one: a function from a provider's own description (a space, a feature type) to a tree of `dm_env.specs`.
No environment, no provider and no network belongs here.
"""

from aexp_torch.specs.env_spec import EnvSpec, describe
from aexp_torch.specs.modality import Modality, guess_modality
from aexp_torch.specs.plain import spec_from_plain, spec_to_plain
from aexp_torch.specs.tree import flatten, map_tree, path_name, unflatten

__all__ = [
    "EnvSpec",
    "Modality",
    "describe",
    "flatten",
    "guess_modality",
    "map_tree",
    "path_name",
    "spec_from_plain",
    "spec_to_plain",
    "unflatten",
]
