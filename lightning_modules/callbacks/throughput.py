"""Throughput: interactions and samples per second."""

import time
from collections import Counter
from typing import Any

from lightning import Callback, LightningModule, Trainer

from lightning_modules.callbacks.stream_watch import StreamWatch, specs_of
from lightning_modules.ranks import all_ranks, own_rank

__all__ = ["Throughput"]


class Throughput(Callback):
    """Logs how fast training goes on all ranks together, in seconds of training (validation is left out).

    | name | unit |
    |---|---|
    | `env_steps`, `<source>/env_steps` | interactions with environments since the run began |
    | `env_steps_per_s`, `<source>/env_steps_per_s` | interactions per second since the last log |
    | `samples_per_s`, `<source>/samples_per_s` | rows learned from per second since the last log |

    An interaction is one transition of one lane. A sample is a transition, or a row of a dataset's minibatch that is not
    masked out.

    Args:
      every_n_steps: batches between two logs.
    """

    def __init__(self, every_n_steps: int = 50):
        super().__init__()
        self.every_n_steps = every_n_steps
        self._watch = StreamWatch()
        self._batches = 0
        self._logged: dict[str, float] = {}
        self._log_again = False
        self._seconds = 0.0  # of training since the last log, without what runs now
        self._since: float | None = None
        self._totals: dict[str, dict[str, int]] = {"env_steps": {}, "samples": {}}  # of all ranks
        self._before = self._totals
        self._trainer: Trainer | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Learns of which rank it is."""
        self._trainer = trainer

    @property
    def env_steps(self) -> dict[str, int]:
        """Interactions so far, by source, when they were last logged."""
        return self._totals["env_steps"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts the clock."""
        self._watch.specs = specs_of(trainer.train_dataloader)
        self._log_again = True
        self._add_up()
        self._restart_clock()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Lightning forgets what was logged at the end of an epoch: the total is to be said again."""
        self._log_again = True

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stops the clock."""
        if self._since is not None:
            self._seconds += time.perf_counter() - self._since
            self._since = None

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Lets the clock go on."""
        self._since = time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Counts a training batch."""
        self._watch.update(batch)
        self._batches += 1
        if self._batches % self.every_n_steps == 0:
            self._log(pl_module)
        elif self._log_again:
            self._log_totals(pl_module)
        self._log_again = False

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Logs the total at the end of an epoch."""
        self._add_up()
        self._logged = self._sums()
        self._log_totals(pl_module, sync_dist=True)  # equal on all ranks already

    def _log_totals(self, pl_module: LightningModule, **options: Any) -> None:
        for name, value in self._logged.items():
            pl_module.log(name, value, prog_bar=name == "env_steps", batch_size=1, **options)

    def _log(self, pl_module: LightningModule) -> None:
        self._add_up()
        if not self._totals["samples"]:
            return
        now = time.perf_counter()
        seconds = max(self._seconds + now - (self._since or now), 1e-9)
        values: dict[str, float] = {}
        for what, counts in self._totals.items():
            if not counts:
                continue
            gained = {source: count - self._before[what].get(source, 0) for source, count in counts.items()}
            values[f"{what}_per_s"] = sum(gained.values()) / seconds
            values |= {f"{source}/{what}_per_s": count / seconds for source, count in gained.items()}
        self._logged = self._sums()
        # One that is shown stays so: Lightning takes no other options for the same name. Lazy specs are not asked for all.
        specs = self._watch.specs
        interactive = isinstance(specs, dict) and any(map(self._watch.is_interactive, specs or self._totals["samples"]))
        shown = "env_steps_per_s" if interactive else "samples_per_s"
        self._log_totals(pl_module)
        for name, value in values.items():
            pl_module.log(name, value, prog_bar=name == shown, batch_size=1)
        self._restart_clock()

    def _add_up(self) -> None:
        """Adds up the counts of all ranks; called on all of them."""
        totals: dict[str, Counter] = {"env_steps": Counter(), "samples": Counter()}
        for counts in all_ranks({what: dict(getattr(self._watch, what)) for what in totals}, self._trainer):
            for what, total in totals.items():
                total.update(counts[what])
        self._totals = {what: dict(total) for what, total in totals.items()}

    def _sums(self) -> dict[str, float]:
        steps = self._totals["env_steps"]
        total = {"env_steps": float(sum(steps.values()))} if steps else {}
        return total | {f"{source}/env_steps": float(count) for source, count in steps.items()}

    def _restart_clock(self) -> None:
        self._seconds, self._since = 0.0, time.perf_counter()
        self._before = self._totals

    def state_dict(self) -> dict[str, Any]:
        """Returns the counts of every rank."""
        state = {"watch": self._watch.state_dict(), "batches": self._batches, "logged": dict(self._logged)}
        return {"ranks": all_ranks(state, self._trainer)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on from this rank's part."""
        state = own_rank(state_dict["ranks"], self._trainer)
        self._watch.load_state_dict(state["watch"])
        self._batches, self._logged = state["batches"], dict(state["logged"])
