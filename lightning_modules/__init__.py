"""Streams in Lightning: a DataModule that owns their state, agents that answer, callbacks that watch.

Every module here trains through `Trainer.fit` from an `ExperienceDataModule`, and resumes bit for bit.
To add an agent: one file in `agents/`, complete and readable alone. To add a callback: one file in `callbacks/`.
What a stream is, and how answers travel, belongs in `aexp_torch`.
"""

from lightning_modules.datamodule import ExperienceDataModule

__all__ = ["ExperienceDataModule"]
