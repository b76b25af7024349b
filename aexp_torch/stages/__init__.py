"""One file per idea: a stage is an Env around one Env.

Every stage changes observations on the way down and actions on the way up, and says how both specs change.
To add one: a subclass of `Stage` in a file of its own, a line here, a row in the conformance test.
What makes timesteps is a source; what joins several environments is a composition.
"""

from aexp_torch.stages.advantage import Advantage
from aexp_torch.stages.dynamic_timescaled import DynamicTimescaled
from aexp_torch.stages.lambda_ import Lambda
from aexp_torch.stages.noisy import Noisy
from aexp_torch.stages.observe_actions import ObserveActions
from aexp_torch.stages.observe_reward import ObserveReward
from aexp_torch.stages.penalize_compute import PenalizeCompute
from aexp_torch.stages.predict_inputs import PredictInputs
from aexp_torch.stages.static_timescaled import StaticTimescaled
from aexp_torch.stages.trainer_side import TrainerSide

__all__ = [
    "Advantage",
    "DynamicTimescaled",
    "Lambda",
    "Noisy",
    "ObserveActions",
    "ObserveReward",
    "PenalizeCompute",
    "PredictInputs",
    "StaticTimescaled",
    "TrainerSide",
]
