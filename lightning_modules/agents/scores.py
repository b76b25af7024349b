"""Scores: what a validation or test epoch is about, per source."""

from collections import defaultdict
from typing import Any

import torch
from lightning import LightningModule
from torch import Tensor

from aexp_torch import TimeStep
from aexp_torch.loading import EpisodeCounter
from lightning_modules.ranks import all_ranks

__all__ = ["Scores"]

Place = tuple[str, int]


class Scores:
    """Adds up returns and lengths of episodes, right predictions, and whatever else is given, per source.

    | name | mean over |
    |---|---|
    | `<split>/<source>/return`, `/length` | episodes that ended |
    | `<split>/<source>/accuracy` | answers `predict:y` that equal the `y` shown next, where rows count |
    | `<split>/<source>/mae` | absolute errors of real answers, in the source's units |
    """

    def __init__(self):
        self.restart()

    def restart(self) -> None:
        """Forgets everything."""
        self._sums: dict[tuple[str, str], list[float]] = {}
        self._counters: dict[Place, EpisodeCounter] = defaultdict(EpisodeCounter)
        self._predictions: dict[Place, dict[str, Tensor]] = {}

    def add(self, source: str, name: str, total: float, count: float) -> None:
        """Adds `count` values that sum up to `total`."""
        sums = self._sums.setdefault((source, name), [0.0, 0.0])
        sums[0] += float(total)
        sums[1] += float(count)

    def add_timestep(self, timestep: TimeStep, answer: dict[str, Any]) -> None:
        """Adds the episodes that end in a timestep, and the predictions whose truth it shows.

        Args:
          timestep: the next of its stream.
          answer: what was replied to it.
        """
        place = (timestep.source, timestep.ticket.slot)
        for episode in self._counters[place].update(timestep):
            self.add(timestep.source, "return", episode.episodic_return, 1)
            self.add(timestep.source, "length", episode.episodic_length, 1)
        for key, prediction in self._predictions.get(place, {}).items():
            truth = timestep.observation.get(key)
            if truth is not None and truth.shape == prediction.shape and truth.dtype == prediction.dtype:
                self.add_hits(timestep.source, prediction == truth, timestep.observation.get(f"mask:{key}"))
        self._predictions[place] = {
            key.removeprefix("predict:"): value
            for key, value in answer.items()
            if key.startswith("predict:") and not torch.is_floating_point(value)
        }

    def add_hits(self, source: str, hits: Tensor, rows: Tensor | None = None) -> None:
        """Adds right and wrong answers (bool [B, ...], right where all of a row is) of the rows that count."""
        hits = hits.flatten(1).all(1) if hits.dim() > 1 else hits
        if rows is not None:
            hits = hits[rows]
        self.add(source, "accuracy", int(hits.sum()), len(hits))

    def add_errors(self, source: str, answers: Tensor, truth: Tensor, rows: Tensor | None = None) -> None:
        """Adds the distance of real answers [B, ...] from what is true, of the rows that count (bool [B])."""
        errors = (answers.double() - truth.double()).abs().flatten(1 if answers.dim() > 1 else 0)
        errors = errors if rows is None else errors[rows]
        self.add(source, "mae", float(errors.sum()), errors.numel())

    def log(self, module: LightningModule, split: str) -> None:
        """Logs the means, over all ranks, as `<split>/<source>/<name>`."""
        sums: dict[Any, list[float]] = {}
        for rank in all_ranks(self._sums, module.trainer):
            for key, (total, count) in rank.items():
                before = sums.get(key, [0.0, 0.0])
                sums[key] = [before[0] + total, before[1] + count]
        means = {f"{split}/{source}/{name}": total / count for (source, name), (total, count) in sums.items() if count}
        module.log_dict(means, prog_bar=True, batch_size=1, sync_dist=True)  # equal on all ranks already
