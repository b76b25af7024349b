"""Every environment and every dataset is a stream, one minibatch is one step, and the answer finds its way home."""
from aexp_torch.env import Env, Stage
from aexp_torch.timestep import TimeStep, Ticket, StepType
