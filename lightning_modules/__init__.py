"""Streams in Lightning: a DataModule that owns their state, agents that answer, callbacks that watch.

Every module here trains through `Trainer.fit` from an `ExperienceDataModule`, and resumes bit for bit.
To add an agent: one file in `agents/`, complete and readable alone. To add a callback: one file in `callbacks/`.
What a stream is, and how answers travel, belongs in `aexp_torch`.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightning_modules.artificial_experience import ArtificialExperience
    from lightning_modules.commai import CommAIDataModule
    from lightning_modules.datamodule import ExperienceDataModule

__all__ = ["ArtificialExperience", "CommAIDataModule", "ExperienceDataModule"]

MODULES = {
    "ArtificialExperience": "artificial_experience",
    "CommAIDataModule": "commai",
    "ExperienceDataModule": "datamodule",
}


def __getattr__(name: str) -> Any:
    """Imports Lightning when a DataModule is asked for: `aexp list` does without."""
    if name in MODULES:
        return getattr(importlib.import_module(f"lightning_modules.{MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
