"""Every environment and every dataset is a stream, one minibatch is one step, and the answer finds its way home."""

from aexp_torch.adapters import register_stage, to_datapipe, to_dm_env, to_gymnasium, to_gymnasium_vector, to_node
from aexp_torch.catalog import digits
from aexp_torch.composition import Composition, Interleave
from aexp_torch.env import Env, Stage
from aexp_torch.errors import ActionError, AexpError, EndOfStream, FeedbackError, MissingDependencyError, SpecError
from aexp_torch.loading import Loader, Trajectory, evaluate
from aexp_torch.replay import (
    PrioritizedSampler,
    ReplayBuffer,
    SequenceSampler,
    UniformSampler,
    export_minari,
    import_minari,
)
from aexp_torch.sources import DatasetEnv, GymnasiumEnv
from aexp_torch.specs import EnvSpec, Modality
from aexp_torch.stages import Lambda, Noisy, ObserveReward, TrainerSide
from aexp_torch.timestep import StepType, Ticket, TimeStep, restart, termination, transition, truncation

__all__ = [
    "ActionError",
    "AexpError",
    "Composition",
    "DatasetEnv",
    "EndOfStream",
    "Env",
    "EnvSpec",
    "FeedbackError",
    "GymnasiumEnv",
    "Interleave",
    "Lambda",
    "Loader",
    "MissingDependencyError",
    "Modality",
    "Noisy",
    "ObserveReward",
    "PrioritizedSampler",
    "ReplayBuffer",
    "SequenceSampler",
    "SpecError",
    "Stage",
    "StepType",
    "Ticket",
    "TimeStep",
    "TrainerSide",
    "Trajectory",
    "UniformSampler",
    "digits",
    "evaluate",
    "export_minari",
    "import_minari",
    "register_stage",
    "restart",
    "termination",
    "to_datapipe",
    "to_dm_env",
    "to_gymnasium",
    "to_gymnasium_vector",
    "to_node",
    "transition",
    "truncation",
]
