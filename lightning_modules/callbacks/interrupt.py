"""Interrupt: Ctrl-C ends a run between two steps."""

import signal
import threading
from typing import Any

from lightning import Callback, LightningModule, Trainer

from lightning_modules.ranks import anywhere

__all__ = ["Interrupt"]


class Interrupt(Callback):
    """Lets the training step that Ctrl-C falls into be completed, on all ranks the same, so that a resumed run is the run.

    A second Ctrl-C, or one in validation, ends at once.
    """

    def __enter__(self) -> None:
        self.asked, self.training = False, False
        self._before = None
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._ask)

    def __exit__(self, *exception: Any) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _ask(self, number: int, frame: Any) -> None:
        if self.asked or not self.training:
            raise KeyboardInterrupt
        self.asked = True

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """From here on a step is under way."""
        self.training = True

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Ends here, where Lightning expects checkpoints to be made."""
        if anywhere(self.asked, trainer):
            raise KeyboardInterrupt

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Validation can be ended at once."""
        self.training = False
        if self.asked:
            raise KeyboardInterrupt
