"""What was experienced, stored: recorded in passing, sampled by agents, shown again as a stream.

Nothing here ever joins two episodes, bootstraps across a termination, or hands out memory that somebody still holds.
To add a way to draw: a subclass of `Sampler` in a file of its own, and a line here.
Loss functions and exploration belong to agents; how rows lie in files is known to `disk_rows` alone.
"""

from aexp_torch.replay.batches import Sequences, Transitions
from aexp_torch.replay.minari import export_minari, import_minari
from aexp_torch.replay.prioritized import PrioritizedSampler
from aexp_torch.replay.replay_buffer import ReplayBuffer
from aexp_torch.replay.samplers import Sampler, UniformSampler
from aexp_torch.replay.sequences import SequenceSampler
from aexp_torch.replay.store import Record, Replay

__all__ = [
    "PrioritizedSampler",
    "Record",
    "Replay",
    "ReplayBuffer",
    "Sampler",
    "SequenceSampler",
    "Sequences",
    "Transitions",
    "UniformSampler",
    "export_minari",
    "import_minari",
]
