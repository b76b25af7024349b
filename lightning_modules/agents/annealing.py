"""How far a fit has come, for what is annealed over it."""

from math import inf

from lightning import Trainer

__all__ = ["fit_progress", "optimizer_steps"]


def fit_progress(trainer: Trainer, num_steps: int, annealing_steps: int | None = None) -> float:
    """Returns the part of training that is done, in [0, 1].

    Args:
      trainer: whose `max_epochs` or `max_steps` (optimizer steps) ends the fit, whichever is nearer.
      num_steps: training steps done.
      annealing_steps: number of training steps to measure by instead.
    """
    if annealing_steps is not None:
        return min(1.0, num_steps / annealing_steps)
    done = [0.0]
    if trainer.max_epochs is not None and trainer.max_epochs > 0:
        done.append(num_steps / (trainer.max_epochs * max(1, trainer.num_training_batches)))
    if trainer.max_steps is not None and trainer.max_steps > 0:
        done.append(trainer.global_step / trainer.max_steps)
    return min(1.0, max(done))


def optimizer_steps(trainer: Trainer) -> float:
    """Returns how many optimizer steps a fit with automatic optimization makes; inf where nothing says."""
    limits = [inf]
    batches = trainer.num_training_batches
    if trainer.max_epochs is not None and trainer.max_epochs > 0 and batches not in (0, inf):
        limits.append(trainer.max_epochs * -(-int(batches) // trainer.accumulate_grad_batches))
    if trainer.max_steps is not None and trainer.max_steps > 0:
        limits.append(trainer.max_steps)
    return min(limits)
