"""From specs and modalities to networks, before any data exists.

Every encoder turns leaves of an observation into `[N, width]`, absent keys included; every decoder turns `[N, width]`
into answers that fit a spec, with their log-probabilities. To add one: a class here and a line in `leaf_encoder` or
`leaf_decoder`. No algorithm, no loss and no loader belongs here.
"""

from lightning_modules.networks.body import Body
from lightning_modules.networks.decoders import Decoder
from lightning_modules.networks.encoders import Encoder
from lightning_modules.networks.initialization import initialize, module_key, seeded
from lightning_modules.networks.inputs import Inputs, merge_time, policy_inputs, read_inputs, select_rows
from lightning_modules.networks.leaf_decoders import LeafDecoder
from lightning_modules.networks.leaf_encoders import leaf_encoder
from lightning_modules.networks.scale import Scale
from lightning_modules.networks.symbol_net import State, SymbolNet

__all__ = [
    "Body",
    "Decoder",
    "Encoder",
    "Inputs",
    "LeafDecoder",
    "Scale",
    "State",
    "SymbolNet",
    "initialize",
    "leaf_encoder",
    "merge_time",
    "module_key",
    "policy_inputs",
    "read_inputs",
    "seeded",
    "select_rows",
]
