"""How timesteps and answers travel between streams and a trainer.

A loader runs slots of one or several environments, mixes them, and counts epochs; no reinforcement-learning meaning
lives here. To add one: an iterable with `__len__`, `state_dict` and `load_state_dict`.
What changes timesteps is a stage, what learns from them an agent.
"""

from aexp_torch.loading.episodes import EpisodeCounter
from aexp_torch.loading.evaluate import evaluate
from aexp_torch.loading.loader import Loader
from aexp_torch.loading.trajectory import Drive, Trajectory

__all__ = ["Drive", "EpisodeCounter", "Loader", "Trajectory", "evaluate"]
