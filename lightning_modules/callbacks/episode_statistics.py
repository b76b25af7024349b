"""EpisodeStatistics: episodic return and length per source."""

from collections import deque
from collections.abc import Mapping
from typing import Any

from lightning import Callback, LightningModule, Trainer

from aexp_torch import EnvSpec
from lightning_modules.callbacks.stream_watch import FinishedEpisode, StreamWatch, specs_of
from lightning_modules.ranks import all_ranks, own_rank

__all__ = ["EpisodeStatistics"]


class EpisodeStatistics(Callback):
    """Logs the mean return and length of finished episodes, per source.

    | name | over |
    |---|---|
    | `<source>/return`, `<source>/length` | the last `window` training episodes |
    | `val/<source>/return`, `val/<source>/length` | the validation loader's episodes |
    | `test/<source>/return`, `test/<source>/length` | the test loader's episodes |

    A source that is in several evaluation loaders gets `/dataloader_idx_<i>` at the end. With several processes the
    training means are those of rank 0, the others are of all episodes on all ranks.

    Args:
      window: number of training episodes that the mean runs over.
      every_n_steps: batches between two logs of training episodes, at least; nothing is logged unless one has finished.
    """

    def __init__(self, window: int = 100, every_n_steps: int = 10):
        super().__init__()
        self.window, self.every_n_steps = window, every_n_steps
        self._watch = StreamWatch()
        self._recent: dict[str, deque[FinishedEpisode]] = {}
        self._news: list[str] = []  # sources with episodes that have not been logged
        self._logged: dict[str, float] = {}
        self._batches_since_log = 0
        self._log_again = False
        self._trainer: Trainer | None = None
        self._evaluation_specs: Mapping[str, EnvSpec] = {}
        self._evaluation: dict[int, StreamWatch] = {}
        self._finished: list[tuple[int, FinishedEpisode]] = []

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Learns of which rank it is."""
        self._trainer = trainer

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Learns which sources have episodes."""
        self._watch.specs = specs_of(trainer.train_dataloader)
        self._log_again = True

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Lightning forgets what was logged at the end of an epoch: it is to be said again."""
        self._log_again = True

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Counts a training batch."""
        for episode in self._watch.update(batch):
            self._recent.setdefault(episode.source, deque(maxlen=self.window)).append(episode)
            if episode.source not in self._news:
                self._news.append(episode.source)
        self._batches_since_log += 1
        if self._news and self._batches_since_log >= self.every_n_steps:
            for source in self._news:
                self._logged |= _means(source, list(self._recent[source]))
            self._news, self._batches_since_log, self._log_again = [], 0, True
        if self._log_again:
            self._log_again = False
            _log(pl_module, self._logged)

    def _begin(self, loaders: Any) -> None:
        self._evaluation_specs = specs_of(loaders)
        self._evaluation, self._finished = {}, []

    def _count(self, batch: Any, dataloader_idx: int) -> None:
        watch = self._evaluation.setdefault(dataloader_idx, StreamWatch(self._evaluation_specs))
        self._finished += [(dataloader_idx, episode) for episode in watch.update(batch)]

    def _report(self, trainer: Trainer, pl_module: LightningModule, split: str) -> None:
        own = [(idx, tuple(episode)) for idx, episode in self._finished]
        finished = [(idx, FinishedEpisode(*episode)) for part in all_ranks(own, trainer) for idx, episode in part]
        if trainer.sanity_checking:
            return
        streams = sorted({(episode.source, idx) for idx, episode in finished})
        for source, idx in streams:
            alone = sum(source == other for other, _ in streams) == 1
            episodes = [episode for i, episode in finished if (episode.source, i) == (source, idx)]
            means = _means(f"{split}/{source}", episodes)
            if alone:
                _log(pl_module, means, sync_dist=True)
            else:
                means = {f"{key}/dataloader_idx_{idx}": value for key, value in means.items()}
                _log(pl_module, means, sync_dist=True, add_dataloader_idx=False)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts a validation's count."""
        self._begin(trainer.val_dataloaders)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Counts a batch of a validation or a test."""
        self._count(batch, dataloader_idx)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Logs the validation's episodes."""
        self._report(trainer, pl_module, "val")

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts a test's count."""
        self._begin(trainer.test_dataloaders)

    on_test_batch_end = on_validation_batch_end

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Logs the test's episodes."""
        self._report(trainer, pl_module, "test")

    def state_dict(self) -> dict[str, Any]:
        """Returns the counters, the window and what was logged last, of every rank."""
        state = {
            "watch": self._watch.state_dict(),
            "recent": {source: [tuple(episode) for episode in episodes] for source, episodes in self._recent.items()},
            "news": list(self._news),
            "logged": dict(self._logged),
            "batches_since_log": self._batches_since_log,
        }
        return {"ranks": all_ranks(state, self._trainer)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on from this rank's part."""
        state = own_rank(state_dict["ranks"], self._trainer)
        self._watch.load_state_dict(state["watch"])
        self._recent = {
            source: deque((FinishedEpisode(*episode) for episode in episodes), maxlen=self.window)
            for source, episodes in state["recent"].items()
        }
        self._news, self._logged = list(state["news"]), dict(state["logged"])
        self._batches_since_log = state["batches_since_log"]


def _means(name: str, episodes: list[FinishedEpisode]) -> dict[str, float]:
    return {
        f"{name}/return": sum(episode.episodic_return for episode in episodes) / len(episodes),
        f"{name}/length": sum(episode.episodic_length for episode in episodes) / len(episodes),
    }


def _log(pl_module: LightningModule, values: dict[str, float], **options: Any) -> None:
    pl_module.log_dict(values, prog_bar=True, batch_size=1, **options)  # as `Scores` does, whose names these are, too
