"""TaskStatistics: which tasks of conversations are solved."""

import re
from pathlib import Path
from typing import Any

import numpy as np
from lightning import Callback, LightningModule, Trainer

from aexp_torch import CommAIEnv, Loader
from aexp_torch.commai import Results
from aexp_torch.commai.curves import write_curves
from lightning_modules.ranks import all_ranks, own_rank

__all__ = ["TaskStatistics"]

Tally = dict[str, np.ndarray]  # finished instances, solved ones and reward, float64 [3], by `<source>/<task>`


class TaskStatistics(Callback):
    """Logs, for every source that is a `CommAIEnv`, which share of the instances was solved, and by task their mean reward.

    | name | over the instances that ended |
    |---|---|
    | `<source>/solved` | since the log before, of all tasks |
    | `<source>/<task>/solved`, `<source>/<task>/reward` | since the log before, of one task |
    | `val/...`, `test/...` | in the validation or test |

    When training ends, also when it is interrupted, the course of every task is written and drawn into the run's folder:
    `plots/<source>/curves.csv` and `curves.png` (of the first slot on the first rank; see `write_curves`); nothing is
    written without a logger or under `fast_dev_run`.

    Training is followed where the trainer's process steps the conversations (`num_workers=0`): their results stay there.
    With several ranks training means are those of rank 0, the others are of all ranks.

    Args:
      every_n_steps: batches between two logs.
    """

    def __init__(self, every_n_steps: int = 10):
        super().__init__()
        self.every_n_steps = every_n_steps
        self._batches = 0
        self._before: Tally = {}
        self._evaluation: dict[str, list[Results]] = {}
        self._trainer: Trainer | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Learns of which rank it is."""
        self._trainer = trainer

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Logs what has ended since the last time, every so many batches."""
        self._batches += 1
        if self._batches % self.every_n_steps:
            return
        now = _tally(_results_in(trainer.train_dataloader))
        news = {name: counts - self._before.get(name, 0) for name, counts in now.items()}
        self._before = now
        self._log(pl_module, news, "")

    def _log(self, pl_module: LightningModule, tally: Tally, prefix: str, **options: Any) -> None:
        totals: Tally = {}
        means: dict[str, float] = {}
        for name, counts in tally.items():
            _add(totals, name.rpartition("/")[0], counts)
            finished, solved, reward = counts.tolist()
            if finished:
                means |= {f"{prefix}{name}/solved": solved / finished, f"{prefix}{name}/reward": reward / finished}
        shares = {
            f"{prefix}{name}/solved": solved / finished for name, (finished, solved, _) in totals.items() if finished
        }
        pl_module.log_dict(means, batch_size=1, **options)
        pl_module.log_dict(shares, prog_bar=True, batch_size=1, **options)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draws the training's course."""
        if not trainer.is_global_zero or trainer.fast_dev_run or not trainer.loggers:
            return
        for source, (results, *_) in _results_in(trainer.train_dataloader).items():
            if any(task.finished for task in results.tasks.values()):
                folder = Path(trainer.log_dir or trainer.default_root_dir) / "plots"
                write_curves(results, folder / re.sub(r"[^A-Za-z0-9._-]+", "_", source))

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Draws what there is."""
        self.on_train_end(trainer, pl_module)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Finds the results of a validation or a test, which are counted as it goes on."""
        if batch_idx == 0:
            loaders = trainer.test_dataloaders if trainer.testing else trainer.val_dataloaders
            loader = loaders[dataloader_idx] if isinstance(loaders, list | tuple) else loaders
            self._evaluation |= _results_in(loader)

    on_test_batch_end = on_validation_batch_end

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Logs a validation."""
        self._report(trainer, pl_module, "val/")

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Logs a test."""
        self._report(trainer, pl_module, "test/")

    def _report(self, trainer: Trainer, pl_module: LightningModule, prefix: str) -> None:
        own = {name: counts.tolist() for name, counts in _tally(self._evaluation).items()}
        self._evaluation = {}
        total: Tally = {}
        for part in all_ranks(own, trainer):
            for name, counts in part.items():
                _add(total, name, np.array(counts))
        if not trainer.sanity_checking:
            self._log(pl_module, total, prefix, sync_dist=True)

    def state_dict(self) -> dict[str, Any]:
        """Returns what was counted up to the last log, of every rank."""
        state = {"batches": self._batches, "before": {name: counts.tolist() for name, counts in self._before.items()}}
        return {"ranks": all_ranks(state, self._trainer)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on from this rank's part."""
        state = own_rank(state_dict["ranks"], self._trainer)
        self._batches = state.get("batches", 0)
        self._before = {name: np.array(counts) for name, counts in state.get("before", {}).items()}


def _results_in(feed: Any) -> dict[str, list[Results]]:
    """Returns the results of conversations that are stepped here, by the name of the source."""
    for name in ("streams", "loader"):  # a DataModule's feed, a drive
        feed = getattr(feed, name, feed)
    found: dict[str, list[Results]] = {}
    for source in feed.sources_here if isinstance(feed, Loader) else ():
        if isinstance(source, CommAIEnv):
            found.setdefault(source.name, []).append(source.results)
    return found


def _tally(results: dict[str, list[Results]]) -> Tally:
    tally: Tally = {}
    for source, slots in results.items():
        for slot in slots:
            for task, counts in slot.tasks.items():
                _add(tally, f"{source}/{task}", np.array([counts.finished, counts.solved, counts.reward], float))
    return tally


def _add(tally: Tally, name: str, counts: np.ndarray) -> None:
    tally[name] = tally.get(name, 0) + counts
