"""One file per provider: a source is an Env that makes timesteps from something outside.

Every source yields batched timesteps that match its specs, starts with FIRST, restarts after LAST, and imports its
provider only when opened.
To add one: a subclass of `SimulatorEnv` (or of `Env`, where there is no simulator) in a file of its own, a line here and in
`recognize.py`, a row in the conformance test.
What changes the timesteps of another environment is a stage.
"""

from aexp_torch.sources.atari import AtariEnv
from aexp_torch.sources.dataset import DatasetEnv
from aexp_torch.sources.dataset_reading import FitImage
from aexp_torch.sources.dm_env import DmEnv
from aexp_torch.sources.envpool import EnvPoolEnv
from aexp_torch.sources.gymnasium import GymnasiumEnv
from aexp_torch.sources.imaginary import Imaginary
from aexp_torch.sources.minari import MinariEnv
from aexp_torch.sources.minigrid import MiniGridEnv
from aexp_torch.sources.pettingzoo import PettingZooEnv
from aexp_torch.sources.recognize import to_source
from aexp_torch.sources.restorable import Restorable
from aexp_torch.sources.simulator import SimulatorEnv
from aexp_torch.sources.starcraft import StarCraft2Env
from aexp_torch.sources.torch_env import BatchedSimulator, TorchEnv
from aexp_torch.sources.vnc import VNCEnv

__all__ = [
    "AtariEnv",
    "BatchedSimulator",
    "DatasetEnv",
    "DmEnv",
    "EnvPoolEnv",
    "FitImage",
    "GymnasiumEnv",
    "Imaginary",
    "MinariEnv",
    "MiniGridEnv",
    "PettingZooEnv",
    "Restorable",
    "SimulatorEnv",
    "StarCraft2Env",
    "TorchEnv",
    "VNCEnv",
    "to_source",
]
