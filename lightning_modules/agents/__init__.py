"""Agents: LightningModules that answer the streams they are trained on.

Each algorithm is one file, complete and readable alone; what they share is pure functions and small plain objects. An
agent is built from `specs` alone, draws from a generator of its own, and has everything it needs in its checkpoint: a
resumed run is the run. To add one: a file here, a line below, a row in the tests.
Networks belong in `networks/`, what only watches in `callbacks/`.
"""

from lightning_modules.agents.classifier import Classifier
from lightning_modules.agents.dqn import DQN
from lightning_modules.agents.generalist import Generalist
from lightning_modules.agents.ppo import PPO
from lightning_modules.agents.recurrent_ppo import RecurrentPPO
from lightning_modules.agents.world_model import WorldModel

__all__ = ["DQN", "PPO", "Classifier", "Generalist", "RecurrentPPO", "WorldModel"]
