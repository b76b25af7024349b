"""One file per idea: a stage is an Env around one Env.

Every stage changes observations on the way down and actions on the way up, and says how both specs change.
To add one: a subclass of `Stage` in a file of its own, a line here, a row in the conformance test.
What makes timesteps is a source; what joins several environments is a composition.
"""

from aexp_torch.replay.replay_buffer import ReplayBuffer
from aexp_torch.stages.advantage import Advantage
from aexp_torch.stages.augment import Augment
from aexp_torch.stages.clip_action import ClipAction
from aexp_torch.stages.clip_observation import ClipObservation
from aexp_torch.stages.clip_reward import ClipReward
from aexp_torch.stages.drop_key_value import DropKeyValue
from aexp_torch.stages.dropout import Dropout
from aexp_torch.stages.dynamic_timescaled import DynamicTimescaled
from aexp_torch.stages.flatten import Flatten
from aexp_torch.stages.frame_skip import FrameSkip
from aexp_torch.stages.frame_stack import FrameStack
from aexp_torch.stages.grayscale import Grayscale
from aexp_torch.stages.lambda_ import Lambda
from aexp_torch.stages.noisy import Noisy
from aexp_torch.stages.normalize_observation import NormalizeObservation
from aexp_torch.stages.normalize_reward import NormalizeReward
from aexp_torch.stages.observe_actions import ObserveActions
from aexp_torch.stages.observe_reward import ObserveReward
from aexp_torch.stages.one_hot import OneHot
from aexp_torch.stages.penalize_compute import PenalizeCompute
from aexp_torch.stages.predict_inputs import PredictInputs
from aexp_torch.stages.repeat import Repeat
from aexp_torch.stages.rescale_action import RescaleAction
from aexp_torch.stages.resize import Resize
from aexp_torch.stages.static_timescaled import StaticTimescaled
from aexp_torch.stages.teacher import Teacher
from aexp_torch.stages.time_limit import TimeLimit
from aexp_torch.stages.trainer_side import TrainerSide

__all__ = [
    "Advantage",
    "Augment",
    "ClipAction",
    "ClipObservation",
    "ClipReward",
    "DropKeyValue",
    "Dropout",
    "DynamicTimescaled",
    "Flatten",
    "FrameSkip",
    "FrameStack",
    "Grayscale",
    "Lambda",
    "Noisy",
    "NormalizeObservation",
    "NormalizeReward",
    "ObserveActions",
    "ObserveReward",
    "OneHot",
    "PenalizeCompute",
    "PredictInputs",
    "Repeat",
    "ReplayBuffer",
    "RescaleAction",
    "Resize",
    "StaticTimescaled",
    "Teacher",
    "TimeLimit",
    "TrainerSide",
]
