"""Body: an encoder and some layers; what a head is put on."""

import math
from typing import Literal

from torch import Tensor, nn

from lightning_modules.networks.encoders import Encoder
from lightning_modules.networks.initialization import initialize
from lightning_modules.networks.inputs import Inputs
from lightning_modules.networks.leaf_encoders import Activation, make_activation

__all__ = ["Body"]


class Body(nn.Module):
    """Turns an observation into features.

    Args:
      observation: spec tree.
      modalities: at the same places.
      width: of every layer and of the features.
      num_layers: hidden layers, the encoder's included.
      activation: after every layer.
      scheme: of the initial weights; see `initialize`.
      real_scale: as for `Encoder`.
    """

    def __init__(
        self,
        observation: dict,
        modalities: dict,
        width: int,
        num_layers: int = 2,
        activation: Activation = "tanh",
        scheme: Literal["orthogonal", "kaiming"] = "orthogonal",
        real_scale: float | None = None,
    ):
        super().__init__()
        self.encoder = Encoder(observation, modalities, width, activation, real_scale)
        more = [
            layer for _ in range(num_layers - 1) for layer in (nn.Linear(width, width), make_activation(activation))
        ]
        self.layers = nn.Sequential(*more)
        initialize(self, scheme, math.sqrt(2) if scheme == "orthogonal" else 1.0)

    def forward(self, inputs: Inputs) -> Tensor:
        """Returns float32 [N, width]."""
        return self.layers(self.encoder(inputs))
