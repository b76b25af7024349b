"""Initial weights from a seed of their own, and names that torch accepts for modules."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import nn

__all__ = ["initialize", "module_key", "seeded"]


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Lets modules that are made inside draw their weights from `seed`; the global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(seed)
        yield


def initialize(
    module: nn.Module,
    scheme: Literal["orthogonal", "kaiming"] = "orthogonal",
    gain: float = 1.0,
    but: Iterable[nn.Module] = (),
) -> None:
    """Draws the weights of linear and convolutional layers anew, and sets their biases to 0.

    Args:
      module: whose layers.
      scheme: orthogonal, or uniform for ReLU (He et al. 2015).
      gain: multiplies the weights.
      but: modules whose layers keep the weights that they have.
    """
    kept = {id(layer) for other in but for layer in other.modules()}
    for layer in module.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.Conv1d) and id(layer) not in kept:
            if scheme == "orthogonal":
                nn.init.orthogonal_(layer.weight, gain)
            else:
                nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
                with torch.no_grad():
                    layer.weight.mul_(gain)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def module_key(name: str) -> str:
    """Returns a key for `nn.ModuleDict`, which takes no dots and no names of its own methods."""
    return ":" + name.replace("%", "%25").replace(".", "%2E")
