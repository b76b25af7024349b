"""ExperienceDataModule: streams for Trainer.fit, in every split, with the trainer's rank and a state that survives.

Lightning saves a loader's state but does not restore it from a checkpoint at the end of an epoch, and under DDP keeps
rank 0's alone. A DataModule's state it restores always, before the loaders are made: so the state is kept here.
"""

import inspect
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import torch
from lightning import LightningDataModule, Trainer
from torch.nn.parallel import DistributedDataParallel

from aexp_torch import Env, EnvSpec, Loader, SpecError
from aexp_torch.loading import Drive
from lightning_modules.ranks import all_ranks, leave_at_exit

__all__ = ["ExperienceDataModule"]

# Evaluation takes these options of a Loader; training takes all that the constructor below has.
FOR_EVALUATION = ("seed", "on_bad_sample", "max_bad_samples", "on_missing", "feedback_timeout")


class ExperienceDataModule(LightningDataModule):
    """Feeds environments and datasets to a LightningModule, which answers with `timestep.reply(action)`.

    Training streams persist over epochs; validation, test and prediction start afresh every time, with seeds of their
    own. A checkpoint at any step, in the middle of an epoch or at its end, resumes at exactly the next minibatch. It has
    the streams of all ranks. So has one that is saved on an exception, where every rank raised at the same step; otherwise
    none is saved, and the last one before stays as it is. (Ranks that `ddp_fork` and `ddp_spawn` start are not told of
    exceptions by Lightning and save none: use `ddp`, torchrun or SLURM.)

    Args:
      train: one environment, or several by name to mix them.
      val: environments for validation; the names should be those of `train`.
      test: environments for testing.
      predict: environments for prediction.
      num_steps: T. With it, training steps get trajectories of T steps (`Loader.drive`), acted by the module's
        `act(timestep)`; without it, timesteps.
      weights: relative weights of the training sources by name; equal by default.
      num_workers: processes that step the training streams of a rank; 0: its own does. Evaluation runs in the trainer.
      backend: where these run: "process", on this machine, or "ray", as actors on a Ray cluster (extra `ray`).
      ray_options: what Ray's `actor.options` takes, for all actors or a list of one each.
      context: how worker processes start.
      step_timeout: seconds that a step in a worker may take; a worker that takes longer is replaced.
      max_restarts: how often a slot is started again within any 100 of its steps when its worker is lost; None for no
        limit, 0 for an error at once.
      ordered: False takes whichever slot of the source is ready first (with workers): quicker where steps take unequal
        times, but another order in every run.
      pin_memory: puts training timesteps into page-locked memory where there is a GPU, from which copies are asynchronous.
      in_flight: slots per training source on all ranks; by default one per rank, or two per worker.
      steps_per_epoch: training steps an epoch; not needed where all training streams are finite.
      episodes: episodes of every source in validation, testing and prediction; finite streams are passed through once.
      seed: S of all seeds.
      until: what ends an epoch without a given length: the first source that is over, or all of them.
      uneven: what becomes of a pass over a training dataset whose minibatches are no multiple of the number of ranks: its
        first ones come once more ("cycle"), minibatches come whose rows are all masked ("pad"), or the rest is dropped
        ("stop"). In evaluation no sample is dropped or counted twice.
      on_bad_sample: what becomes of samples of datasets that cannot be read, as for `DatasetEnv`; by default each
        dataset's own.
      max_bad_samples: with `on_bad_sample`: how many may be left out, per source on each rank.
      on_broken: what becomes of simulators that raise while they run in training; by default each one's own setting.
      max_broken: with `on_broken`: how many of them may break in a slot.
      on_missing: what follows a timestep that was not answered; by default each environment's own setting.
      feedback_timeout: seconds to wait for an answer from another thread; by default each environment's own setting.
    """

    def __init__(
        self,
        train: Env | dict[str, Env],
        val: Env | dict[str, Env] | None = None,
        test: Env | dict[str, Env] | None = None,
        predict: Env | dict[str, Env] | None = None,
        *,
        num_steps: int | None = None,
        weights: dict[str, float] | Any = None,
        num_workers: int = 0,
        backend: Literal["process", "ray"] = "process",
        ray_options: dict[str, Any] | list[dict[str, Any]] | None = None,
        context: Literal["fork", "spawn", "forkserver"] = "fork",
        step_timeout: float = 300.0,
        max_restarts: int | None = 3,
        ordered: bool = True,
        pin_memory: bool = False,
        in_flight: int | None = None,
        steps_per_epoch: int | None = None,
        episodes: int = 20,
        seed: int = 0,
        until: Literal["first", "all"] = "first",
        uneven: Literal["cycle", "pad", "stop"] = "cycle",
        on_bad_sample: Literal["raise", "skip"] | None = None,
        max_bad_samples: int | None = 100,
        on_broken: Literal["raise", "restart"] | None = None,
        max_broken: int | None = 10,
        on_missing: Literal["error", "repeat", "sample"] | None = None,
        feedback_timeout: float | None = None,
    ):
        given = locals()  # an option of Loader that is a parameter here reaches it
        super().__init__()
        self._streams: dict[str, Any] = {"train": train, "val": val, "test": test, "predict": predict}
        self._options = {name: given[name] for name in inspect.signature(Loader).parameters if name in given}
        del self._options["episodes"]
        self.num_steps, self.episodes = num_steps, episodes
        self._train: Loader | Drive | None = None
        self._train_ranks: dict[str, Any] = {}
        self._restored: list[dict] | None = None  # the states of all ranks
        # Says now what is wrong with the arguments, and what the streams will look like.
        here = {"num_workers": 0, "backend": "process", "ray_options": None}
        loader = Loader(train, **{**self._options, **here})
        self._specs = loader.specs
        loader.close()
        self._leave_out_splits()

    def _leave_out_splits(self) -> None:
        """Lightning asks whether a split's hook is overridden: of one without streams it is not."""
        for split in ("val", "test", "predict"):
            if self._streams[split] is None:
                setattr(self, f"{split}_dataloader", getattr(super(), f"{split}_dataloader"))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_specs": dict(self._specs)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._leave_out_splits()  # a method comes back as that of the class

    @property
    def specs(self) -> Mapping[str, EnvSpec]:
        """`{source name: EnvSpec}` of the training streams, known before anything runs: agents are built from this.

        Those of an experience are made when they are asked for; an agent that grows need not ask for all.
        """
        return self._specs

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that have streams: `"train"`, and which of `"val"`, `"test"` and `"predict"`."""
        return tuple(split for split, streams in self._streams.items() if streams is not None)

    def train_dataloader(self) -> "Feed":
        """Returns the training streams; the same ones each time it is asked."""
        ranks = self._ranks()
        if self._train is None or self._train_ranks != ranks:
            afresh = self.trainer is not None and self.trainer.overfit_batches > 0
            loader = Loader(self._streams["train"], **self._options, **ranks, resume_epochs=not afresh)
            self._train = loader if self.num_steps is None else loader.drive(self._act, self.num_steps)
            self._train_ranks = ranks
        if self._restored is not None:
            self._go_on(self._restored)
            self._restored = None
        return Feed(self._train)

    def _go_on(self, states: list[dict]) -> None:
        """Restores the training streams from the states of all ranks that wrote a checkpoint."""
        loader = self._train.loader if isinstance(self._train, Drive) else self._train
        if loader.own_part([state.get("loader", state) for state in states]) is not None:
            self._train.load_state_dict([_from_the_start_of_an_epoch(state) for state in states])
            return
        self._train.load_state_dict(states)  # of other ranks or slots: what is left is divided anew
        if self.trainer is not None and self.trainer.training:
            _count_batches_anew(self.trainer, len(loader), loader.position, states[0].get("loader", states[0]))

    def val_dataloader(self) -> "EvaluationFeed":
        """Returns the validation streams."""
        return self._evaluation("val")

    def test_dataloader(self) -> "EvaluationFeed":
        """Returns the test streams."""
        return self._evaluation("test")

    def predict_dataloader(self) -> "EvaluationFeed":
        """Returns the prediction streams."""
        return self._evaluation("predict")

    def _evaluation(self, split: str) -> "EvaluationFeed":
        loader = Loader(
            self._streams[split],
            **{name: self._options[name] for name in FOR_EVALUATION},
            **self._ranks(),
            episodes=self.episodes,
            resume_epochs=False,
            seed_prefix=f"{split}/",
        )
        return EvaluationFeed(loader, self.trainer)

    def _ranks(self) -> dict[str, Any]:
        if self.trainer is None:
            return {"rank": 0, "world_size": 1}
        return {"rank": self.trainer.global_rank, "world_size": self.trainer.world_size}

    def _act(self, timestep: Any) -> Any:
        module = self.trainer.lightning_module
        if not callable(getattr(module, "act", None)):
            raise SpecError(
                f"ExperienceDataModule: expected {type(module).__name__}.act(timestep), which num_steps="
                f"{self.num_steps} needs to act between training steps. Write it, or leave num_steps out."
            )
        return module.act(timestep.to(module.device))

    def state_dict(self) -> dict[str, Any]:
        """Returns the state of the training streams of every rank."""
        if self._train is None:
            return {}
        state = self._train.state_dict(replay=self._step_is_open())
        return {"train": all_ranks(state, self.trainer)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keeps the states of all ranks until the training streams are made."""
        self._restored = state_dict.get("train")

    def teardown(self, stage: str) -> None:
        """Called on every rank at the end of a run that was not interrupted: no collective is under way."""
        if self.trainer.world_size > 1:
            leave_at_exit()

    def _step_is_open(self) -> bool:
        """Tells whether the last batch was handed out but its training step has not been completed."""
        if self.trainer is None or not self.trainer.training:
            return False
        progress = self.trainer.fit_loop.epoch_loop.batch_progress.current
        return progress.ready > progress.processed


class Feed:
    """Hands streams to Lightning, but not their state, which Lightning would restore wrongly (see the module's text)."""

    def __init__(self, streams: Loader | Drive):
        self.streams = streams

    def __len__(self) -> int:
        return len(self.streams)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.streams)

    def state_dict(self) -> dict:
        """Returns nothing: the DataModule keeps the state. Without this method Lightning warns that there is none."""
        return {}

    def load_state_dict(self, state_dict: dict) -> None:
        """Does nothing."""


class EvaluationFeed(Feed):
    """Hands evaluation streams to Lightning, of which a rank may have none or fewer than another.

    Lightning leaves out an evaluation of length 0, hooks included, in which the other ranks would wait for this one; and
    DistributedDataParallel would wait in the first step for buffers, which are shared here before it.
    """

    def __init__(self, streams: Loader, trainer: Trainer | None):
        super().__init__(streams)
        self._trainer = trainer

    def __len__(self) -> int:
        return max(1, len(self.streams))

    def __iter__(self) -> Iterator[Any]:
        model = None if self._trainer is None else self._trainer.strategy.model
        if isinstance(model, DistributedDataParallel) and model.broadcast_buffers:
            for buffer in model.module.buffers():
                torch.distributed.broadcast(buffer, 0)
            model.require_forward_param_sync = False
        yield from self.streams


def _from_the_start_of_an_epoch(state: dict) -> dict:
    """Sets the place in the epoch to 0: Lightning itself counts what is left of an epoch, by its own limits."""
    if "loader" in state:
        return {**state, "loader": _from_the_start_of_an_epoch(state["loader"])}
    return {**state, "position": 0}


def _count_batches_anew(trainer: Trainer, length: int, position: int, before: dict) -> None:
    """Tells Lightning the place in an epoch of another length than that in which the checkpoint was written."""
    progress = trainer.fit_loop.epoch_loop.batch_progress
    done, late = progress.current.processed, progress.total.processed - progress.total.completed
    if done:
        done = length if done >= before["steps_per_epoch"] else position
        progress.current.ready = progress.current.started = progress.current.processed = done
        progress.current.completed = done - late  # saved before the batch was completed: Lightning adds it
