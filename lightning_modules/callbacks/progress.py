"""Progress: where a run stands, one line per source."""

import math
import time
from collections.abc import Mapping
from typing import Any

import rich
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar as Bar
from rich.table import Table
from rich.text import Text

__all__ = ["Progress", "clock", "compact"]

MOST_SOURCES = 6  # in a plain line
WIDTH_OF_PLACE = 23  # "epoch 1/8, step 195/195": so that the bar stays where it is during validation


class Progress(ProgressBar):
    """Shows a bar over the whole run, and under it the metrics of the progress bar, one line per source.

    A metric `<source>/<name>` goes to the line of its source, `val/<source>/<name>` too. Of more sources than there is room
    for, those that were trained last are shown. Where there is no terminal, one plain line is printed now and then.

    Args:
      refresh_seconds: time between two updates in a terminal.
      print_seconds: time between two lines where there is no terminal.
    """

    def __init__(self, refresh_seconds: float = 0.2, print_seconds: float = 5.0):
        super().__init__()
        self.refresh_seconds, self.print_seconds = refresh_seconds, print_seconds
        self._enabled = True
        self._live: Live | None = None
        self._began = self._shown = 0.0
        self._note = ""
        self._done_before = 0.0  # more than 0 where a run is resumed
        self._started = False  # training has begun and not ended
        self._recent: dict[str, None] = {}  # sources, that of the last batch last

    def disable(self) -> None:
        """Shows nothing, as on all ranks but the first."""
        self._enabled = False

    def enable(self) -> None:
        """Shows something again."""
        self._enabled = True

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Starts the clock."""
        super().setup(trainer, pl_module, stage)
        if not trainer.is_global_zero:
            self.disable()
        self._began, self._note = time.monotonic(), ""
        self._shown = self._began if stage == "fit" else float("-inf")

    def print(self, *args: Any, **kwargs: Any) -> None:
        """Prints above the bar."""
        if self._enabled:
            rich.get_console().print(*args, **kwargs)

    # When something happened.

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Opens the display."""
        self._started = True
        self._done_before = _share_done(trainer) or 0.0
        console = rich.get_console()
        if self._enabled and console.is_terminal:
            self._live = Live(console=console, auto_refresh=False)
            self._live.start()
            self._show(trainer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Shows training."""
        self._note = ""
        source = getattr(batch, "source", None)
        if source is not None:
            self._recent.pop(source, None)
            self._recent[source] = None
        self._show_if_due(trainer)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Shows validation."""
        self._note = f"validation, step {batch_idx + 1}"
        self._show_if_due(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Shows what validation gave."""
        self._note = ""
        if trainer.training and self._live is not None:
            self._show(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Shows the end."""
        self._stop(trainer)
        self._started = False

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Closes the display, so that what went wrong is readable."""
        self._stop(trainer)

    # What is shown.

    def _show_if_due(self, trainer: Trainer) -> None:
        pause = self.refresh_seconds if self._live is not None else self.print_seconds
        if self._enabled and trainer.state.fn == "fit" and time.monotonic() - self._shown >= pause:
            self._show(trainer)

    def _stop(self, trainer: Trainer) -> None:
        if self._enabled and self._started:
            self._show(trainer)
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _show(self, trainer: Trainer) -> None:
        self._shown = time.monotonic()
        logged = {name: float(value) for name, value in trainer.callback_metrics.items() if _is_supervised(name)}
        console = rich.get_console()
        groups = _by_source(logged | self.get_metrics(trainer, trainer.lightning_module))
        groups = _that_fit(groups, self._recent, MOST_SOURCES if self._live is None else max(4, console.height - 5))
        done = _share_done(trainer)
        if self._live is None:
            parts = [f"{name}: {', '.join(texts)}" if name else ", ".join(texts) for name, texts in groups.items()]
            percent = "" if done is None else f" ({done:.0%})"
            console.print(
                " · ".join([f"{_place(trainer)}{percent}, {self._elapsed()}", *parts]),
                markup=False, highlight=False, soft_wrap=True,
            )  # fmt: skip
            return
        self._live.update(Group(self._head(trainer, done), _body(groups)), refresh=True)

    def _head(self, trainer: Trainer, done: float | None) -> Table:
        rate = ((done or 0.0) - self._done_before) / max(self._shown - self._began, 1e-9)
        left = f" · {clock((1 - done) / rate)} left" if done is not None and done < 1 and rate > 0 else ""
        head = Table.grid(padding=(0, 1))
        bar = Bar(total=100, completed=int(100 * (done or 0.0)), width=24, pulse=done is None)
        place = self._note or _place(trainer)
        head.add_row(
            Text(f"{place:<{WIDTH_OF_PLACE}}"),
            bar,
            Text("" if done is None else f"{done:.0%}"),
            Text(self._elapsed() + left, "dim"),
        )
        return head

    def _elapsed(self) -> str:
        return clock(time.monotonic() - self._began)


def compact(value: Any) -> str:
    """Writes a number in few characters: `0.978`, `42.1`, `1,205`, `51.2k`."""
    if not isinstance(value, int | float) or not math.isfinite(value):
        return str(value)
    size = abs(value)
    if size >= 1e6:
        return f"{value / 1e6:.2f}M"
    if size >= 1e4:
        return f"{value / 1e3:.1f}k"
    if size >= 1e3 or (size >= 10 and value == int(value)):
        return f"{value:,.0f}"
    return f"{value:.1f}" if size >= 10 else f"{value:.3g}"


def _by_source(metrics: Mapping[str, Any]) -> dict[str, list[str]]:
    """Sorts `name value` texts by source; the line of those without a source is the last."""
    groups: dict[str, list[str]] = {}

    def has_return(name: str) -> bool:
        source = name.removeprefix("val/").removesuffix("/loss")
        return f"{source}/return" in metrics or f"val/{source}/return" in metrics

    for name, value in metrics.items():
        if name == "v_num" or name.endswith("/length") or (name.endswith("/loss") and has_return(name)):
            continue
        split, _, rest = name.partition("/") if name.startswith(("val/", "test/")) else ("", "", name)
        source, _, metric = rest.rpartition("/")
        text = metric.replace("_per_s", "/s").replace("_", " ")
        groups.setdefault(source, []).append(f"{split} {text} {compact(value)}".strip())
    return {source: groups[source] for source in sorted(groups, key=lambda source: (not source, source))}


def _that_fit(groups: dict[str, list[str]], recent: Mapping[str, None], most: int) -> dict[str, list[str]]:
    """Returns the groups that there is room for: those of the sources that were trained last, and what is of no source."""
    sources = [source for source in groups if source]
    if len(sources) <= most:
        return groups
    shown = {"", *[source for source in recent if source in groups][-most:]}
    left = len(sources) - len(shown) + 1
    rest = {"": [*groups.get("", []), f"{left} more sources"]}
    return {source: texts for source, texts in groups.items() if source in shown} | rest


def _is_supervised(name: str) -> bool:
    return name.endswith(("/accuracy", "/loss")) and not name.startswith("test/")


def _body(groups: dict[str, list[str]]) -> Table:
    body = Table.grid(padding=(0, 2))
    for source, texts in groups.items():
        body.add_row(Text(source or "all", "bold" if source else "dim"), Text("   ".join(texts)))
    return body


def _place(trainer: Trainer) -> str:
    epochs = trainer.max_epochs
    of_epochs = f"/{epochs}" if epochs is not None and epochs > 0 else ""
    number = max(1, trainer.fit_loop.epoch_progress.current.ready)
    batch = trainer.fit_loop.epoch_loop.batch_progress.current.ready
    return f"epoch {number}{of_epochs}, step {batch}/{trainer.num_training_batches}"


def _share_done(trainer: Trainer) -> float | None:
    """Returns how much of the run is over, in [0, 1]; None where nothing says when it ends."""
    shares = []
    batches, epochs = trainer.num_training_batches, trainer.max_epochs
    if epochs is not None and epochs > 0 and math.isfinite(batches):
        shares.append((trainer.fit_loop.epoch_loop.total_batch_idx + 1) / (batches * epochs))
    if trainer.max_steps > 0:
        shares.append(trainer.global_step / trainer.max_steps)
    return min(max(shares), 1.0) if shares else None


def clock(seconds: float) -> str:
    """Writes a time: `0:42`, `1:02:03`."""
    minutes, seconds = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}" if minutes >= 60 else f"{minutes}:{seconds:02d}"
