"""TaskStatistics: which tasks of conversations are solved."""

import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from lightning import Callback, LightningModule, Trainer

from aexp_torch import AexpError, Loader, SpecError
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

    Conversations may be stepped in this process or in workers. Where a worker was lost, what its conversations came to since
    the log before is lost with it, and the course of its tasks begins anew. With several ranks training means are those of
    rank 0, the others are of all ranks.

    Args:
      every_n_steps: batches between two logs.

    Raises:
      SpecError: an `every_n_steps` below 1.
    """

    def __init__(self, every_n_steps: int = 10):
        super().__init__()
        if every_n_steps < 1:
            raise SpecError(f"TaskStatistics: expected every_n_steps of at least 1, got {every_n_steps!r}.")
        self.every_n_steps = every_n_steps
        self._batches = 0
        self._before: dict[str, dict[str, Any]] = {}  # by source and slot, what was logged: see `_counts_of`
        self._trainer: Trainer | None = None
        self._into: Path | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Learns of which rank it is; in another fit conversations begin anew."""
        self._trainer = trainer
        if stage == "fit":
            self._before = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Learns the run's folder, of which the first rank tells all others."""
        self._into = Path(trainer.log_dir or trainer.default_root_dir) / "plots"

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Logs what has ended since the last time, every so many batches."""
        self._batches += 1
        if self._batches % self.every_n_steps:
            return
        news: Tally = {}
        for source, slots in _statistics_of(trainer.train_dataloader).items():
            for slot, state in slots.items():
                now, before = _counts_of(state), self._before.get(f"{source}/{slot}", {"time": 0, "tasks": {}})
                known = before["tasks"] if now["time"] >= before["time"] else {}  # else it began anew in another worker
                for task, counts in now["tasks"].items():
                    _add(news, f"{source}/{task}", np.subtract(counts, known.get(task, 0)))
                self._before[f"{source}/{slot}"] = now
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
        if not trainer.is_global_zero or trainer.fast_dev_run or not trainer.loggers or self._into is None:
            return
        for source, slots in _statistics_of(trainer.train_dataloader).items():
            results = Results()
            results.load_state_dict(slots[min(slots)])
            if any(task.finished for task in results.tasks.values()):
                write_curves(results, self._into / re.sub(r"[^A-Za-z0-9._-]+", "_", source))

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Draws what there is."""
        with suppress(AexpError):  # of workers that are lost, too: the exception is to be seen
            self.on_train_end(trainer, pl_module)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Logs a validation."""
        self._report(trainer, pl_module, trainer.val_dataloaders, "val/")

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Logs a test."""
        self._report(trainer, pl_module, trainer.test_dataloaders, "test/")

    def _report(self, trainer: Trainer, pl_module: LightningModule, loaders: Any, prefix: str) -> None:
        own = [
            (source, _counts_of(state)["tasks"])
            for loader in (loaders if isinstance(loaders, list | tuple) else [loaders])
            for source, slots in _statistics_of(loader).items()
            for state in slots.values()
        ]
        total: Tally = {}
        for part in all_ranks(own, trainer):
            for source, tasks in part:
                for task, counts in tasks.items():
                    _add(total, f"{source}/{task}", counts)
        if not trainer.sanity_checking:
            self._log(pl_module, total, prefix, sync_dist=True)

    def state_dict(self) -> dict[str, Any]:
        """Returns what was counted up to the last log, of every rank."""
        state = {"batches": self._batches, "before": dict(self._before)}
        return {"ranks": all_ranks(state, self._trainer)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on from this rank's part."""
        state = own_rank(state_dict["ranks"], self._trainer)
        self._batches, self._before = state["batches"], dict(state["before"])


def _statistics_of(feed: Any) -> dict[str, dict[int, dict]]:
    """Returns the states of the `Results` of this rank's slots, by the name of the source and the number of the slot."""
    for name in ("streams", "loader"):  # a DataModule's feed, a drive
        feed = getattr(feed, name, feed)
    statistics = feed.statistics if isinstance(feed, Loader) else {}
    return {
        source: slots for source, slots in statistics.items() if all("tasks" in counts for counts in slots.values())
    }


def _counts_of(state: dict) -> dict[str, Any]:
    """Returns the time of a state of `Results`, and `{task: [finished instances, solved ones, reward]}`."""
    tasks = {name: [task["finished"], task["solved"], task["reward"]] for name, task in state["tasks"].items()}
    return {"time": state["time"], "tasks": tasks}


def _add(tally: Tally, name: str, counts: Any) -> None:
    tally[name] = tally.get(name, 0.0) + np.asarray(counts, float)
