"""The same streams at every border: dm_env, Gymnasium, torchdata's nodes, DataPipes, TensorDict.

Every adapter is a function of an Env that loses neither a reward, nor the end of an episode, nor the way back.
To add one: a file with the function (the other side's package is imported in it, not on top), a line here, a test.
What turns a foreign environment into an Env is a source.
"""

from aexp_torch.adapters.datapipe import register_stage, to_datapipe
from aexp_torch.adapters.dm_env import to_dm_env
from aexp_torch.adapters.gymnasium import to_gymnasium, to_gymnasium_vector
from aexp_torch.adapters.node import to_node

__all__ = ["register_stage", "to_datapipe", "to_dm_env", "to_gymnasium", "to_gymnasium_vector", "to_node"]
