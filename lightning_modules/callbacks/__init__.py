"""What watches a training run: episodes, speed, curves and a progress display, per source.

Every callback works with any loader of timesteps or trajectories, in training, validation and testing, changes nothing
of the run, and keeps what it has counted in the checkpoint as tensors and primitives.
To add one: a Callback in a file of its own, built on `StreamWatch` where it counts. What learns is an agent.
"""

from lightning_modules.callbacks.episode_statistics import EpisodeStatistics
from lightning_modules.callbacks.plots import Plots
from lightning_modules.callbacks.progress import Progress
from lightning_modules.callbacks.task_statistics import TaskStatistics
from lightning_modules.callbacks.throughput import Throughput

__all__ = ["EpisodeStatistics", "Plots", "Progress", "TaskStatistics", "Throughput"]
