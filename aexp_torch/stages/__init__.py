"""One file per idea: a stage is an Env around one Env.

Every stage changes observations on the way down and actions on the way up, and says how both specs change.
To add one: a subclass of `Stage` in a file of its own, a line here, a row in the conformance test.
What makes timesteps is a source; what joins several environments is a composition.
"""

from aexp_torch.replay.replay_buffer import ReplayBuffer
from aexp_torch.stages.lambda_ import Lambda
from aexp_torch.stages.noisy import Noisy
from aexp_torch.stages.observe_reward import ObserveReward
from aexp_torch.stages.trainer_side import TrainerSide

__all__ = ["Lambda", "Noisy", "ObserveReward", "ReplayBuffer", "TrainerSide"]
