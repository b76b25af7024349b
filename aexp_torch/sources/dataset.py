"""DatasetEnv: a dataset as an environment; one minibatch is one step."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from aexp_torch.env import seed_sequence
from aexp_torch.errors import EndOfStream, SpecError
from aexp_torch.sources.dataset_loss import checked, prediction_spec_for, reward_function
from aexp_torch.sources.dataset_passes import Minibatch, Passes, gives_back
from aexp_torch.sources.dataset_reading import GivenBack, given_name, length_path, open_given, open_reader
from aexp_torch.sources.dataset_spec import guess_specs
from aexp_torch.sources.restorable import Restorable
from aexp_torch.specs import EnvSpec, Modality
from aexp_torch.specs.tree import flatten, map_tree, unflatten
from aexp_torch.timestep import StepType, TimeStep, restart

__all__ = ["DatasetEnv"]

Mode = Literal["joint", "delayed", "split"]


class DatasetEnv(Restorable):
    """Streams the minibatches of a dataset; the agent sees x and y together, or predicts y and is told.

    | mode | timesteps for minibatches 0..N-1 | answer |
    |---|---|---|
    | joint | N: x_t and y_t together, reward 0 | none is due |
    | delayed | N + 1: x_0, then x_t with y_{t-1} and its reward, last y_{N-1} with its reward and no x | `predict:y` |
    | split | 2 N: x_t, then y_t and its reward | `predict:y` to x_t; the answer to y_t is ignored |

    Observation: the dataset's keys; (x, y) samples give `x` and `y`. The short last minibatch of a pass is filled up
    with rows of 0, reward 0, where `mask:<key>` is False.
    Action: `predict:y`, like y itself, or float32 [C] logits for the loss `"cross_entropy"`; empty in mode joint.
    LAST has discount 1: data that ends is truncated.

    Args:
      data: dict or tuple of arrays or tensors, torch map-style or iterable dataset, `DataLoader` (it keeps its own
        batching), `IterDataPipe`, TFDS (`data_source`, `load`), WebDataset, Hugging Face `Dataset` (also streaming), Deep
        Lake dataset, or any other re-iterable of samples. A mapping of such (splits). The address of `.tar` shards or of
        a Deep Lake dataset. A function that returns any of these: it is called where the Env is opened.
      batch_size: rows B of a minibatch, 1 unless given; not with a `DataLoader`.
      split: which of several splits; None is "train", or the only one.
      epochs: passes over the data, None for ever.
      mode: see the table; the default is delayed where a loss is given, else joint.
      loss: `(prediction, y) -> float32 [B]` (reward = -loss), `"cross_entropy"`, `"mse"`, or `"correct"` (reward 1 or 0).
      episode: where LAST stands: at the end of a pass, of every minibatch (`"batch"`, not in mode joint), or nowhere.
        The default is `"pass"` with `epochs`, else None.
      target: the key of y.
      shuffle: another order in each pass, from the seed.
      drop_last: leaves out the short last minibatch of a pass.
      specs: specs of keys that are known better than they can be guessed, at their places.
      modalities: likewise for modalities.
      prediction_spec: the spec of `predict:y`.
      name: names the source; the default is the dataset's name or class.
      seed: S of the order.
      on_missing: as for every Env.
      feedback_timeout: as for every Env, in seconds.
      on_bad_sample: what becomes of a sample that raises when it is read, or does not look like the others: an error
        ("raise"), or ("skip") its row is filled up like those of the short last minibatch, `mask:<key>` is False there,
        and nothing else moves. Of a `DataLoader`, a bad batch is left out as a whole. An iterable that raises cannot go
        on: that is always an error.
      max_bad_samples: more bad samples than this are an error; None: any number. Each counts once, in however many
        passes it comes.
      reading: more options of the reader, see `open_reader`: `shuffle_buffer` for iterables, `text_length` and
        `tokenizer` for strings, `max_length` for keys whose first axis varies (they come with `length:<key>`),
        `transform` by key (`FitImage` for images of all sizes), `read_timeout` for remote data.

    Raises:
      SpecError: empty or ragged data, missing keys, options that do not fit together.

    >>> import torch
    >>> data = {"x": torch.arange(6.0).view(6, 1), "y": torch.tensor([0, 1, 0, 1, 0, 1])}
    >>> for timestep in DatasetEnv(data, batch_size=4, epochs=1):
    ...     print(timestep.observation["y"].tolist(), timestep.observation.get("mask:y"))
    [0, 1, 0, 1] None
    [0, 1, 0, 0] tensor([ True,  True, False, False])
    """

    divisible = True

    def __init__(
        self,
        data: Any,
        *,
        batch_size: int | None = None,
        split: str | None = None,
        epochs: int | None = None,
        mode: Mode | None = None,
        loss: str | Callable[[Any, Any], Tensor] | None = None,
        episode: Literal["pass", "batch", "auto"] | None = "auto",
        target: str = "y",
        shuffle: bool = False,
        drop_last: bool = False,
        specs: Mapping[str, Any] | None = None,
        modalities: Mapping[str, Modality] | None = None,
        prediction_spec: Any = None,
        name: str | None = None,
        seed: int = 0,
        on_missing: Literal["error", "repeat", "sample"] = "error",
        feedback_timeout: float = 60.0,
        on_bad_sample: Literal["raise", "skip"] = "raise",
        max_bad_samples: int | None = 100,
        **reading: Any,
    ):
        super().__init__(name, seed=seed, on_missing=on_missing, feedback_timeout=feedback_timeout)
        mode = mode or ("joint" if loss is None else "delayed")
        self.given_episode = episode
        if episode == "auto":
            episode = None if epochs is None else "pass"
        _check_options(mode, loss, episode, epochs)
        check_bad_sample_options(on_bad_sample, max_bad_samples, "DatasetEnv")
        self.on_bad_sample, self.max_bad_samples = on_bad_sample, max_bad_samples
        self.data, self.batch_size, self.epochs, self.drop_last, self.shuffle = (
            data,
            batch_size,
            epochs,
            drop_last,
            shuffle,
        )
        self.mode, self.loss, self.episode, self.target = mode, loss, episode, target
        self.given_specs, self.given_modalities, self.prediction_spec = specs, modalities, prediction_spec
        self.split, self.reading = split, reading
        self._reward = reward_function(loss)

    @property
    def name(self) -> str:
        """The given name, the dataset's own, or its class."""
        if self._name is not None:
            return self._name
        return given_name(self.data, self.split)

    @name.setter
    def name(self, name: str) -> None:
        self.close()
        self._name = name

    @property
    def episodic(self) -> bool:
        """Whether there is LAST."""
        return self.episode is not None

    @property
    def lane_control(self) -> bool:
        """Whether there is but one lane."""
        return self.batch_size == 1

    @property
    def snapshots(self) -> bool:
        """Whether the place in the data can be stored: with one lane, which has it for itself."""
        return self.batch_size == 1

    @property
    def stream_length(self) -> int | None:
        """The number of timesteps of all passes, where the data has a length."""
        if self.epochs is None or self.pass_length is None:
            return None
        last = self.mode == "delayed" and self.episode is None and self.pass_length > 0  # the last y comes alone
        return self.epochs * self.pass_length + last

    @property
    def pass_length(self) -> int | None:
        """The number of timesteps of a pass in this slot, where the data has a length."""
        self.open()
        return self._num_timesteps(self._passes.reader.num_batches)

    @property
    def cut_passes(self) -> tuple[int, list[int]]:
        """The pass of the stream in which it stands, and the timesteps of the passes of which only a rest is left."""
        self.open()
        lengths = [self._num_timesteps(batches) for batches in self._passes.reader.cut_passes()]
        return self._passes.number, [length for length in lengths if length is not None]

    def _num_timesteps(self, batches: int | None) -> int | None:
        """Returns how many timesteps some minibatches of one pass are."""
        if not batches or self.mode == "joint":
            return batches
        if self.mode == "split" or self.episode == "batch":
            return batches * 2
        return batches + 1 if self.episode == "pass" else batches

    @property
    def skips_bad_samples(self) -> bool:
        """Whether bad samples are left out."""
        return self.on_bad_sample == "skip"

    @property
    def bad_samples(self) -> dict[str, set[int | str]]:
        """What was left out in this slot, by source: indices of samples (of batches of a `DataLoader`), addresses of
        shards."""
        return {self.name: self._passes.reader.bad_samples.indices} if self._recipe is not None else {}

    def on_open(self) -> None:
        """Opens the data."""
        order = int(seed_sequence(self.seed, self.seed_prefix + self.name).generate_state(1)[0])
        who = f"DatasetEnv({self.name!r})"
        self._opened = open_given(self.data, self.split, who)
        reader = open_reader(
            self._opened,
            batch_size=self.batch_size,
            shuffle=self.shuffle,
            seed=order,
            slot=self.slot,
            num_slots=self.num_slots,
            drop_last=self.drop_last,
            world_size=self.world_size,
            uneven=self.uneven,
            in_turn=True,
            on_bad_sample=self.on_bad_sample,
            max_bad_samples=self.max_bad_samples,
            who=who,
            **self.reading,
        )
        self._passes = Passes(reader, self.epochs, who, self.num_slots)
        self._keys = list(reader.peek())
        self._asked: Minibatch | None = None  # its x was shown, its y is still owed
        self._pass_over = True  # the next x opens an episode
        self._shown_before = 0  # timesteps that a process showed which was lost
        self._origin: dict | None = None  # where the stream began, if not at the first minibatch
        self._completed: list[Minibatch | None] = [None, None]  # what the last two timesteps have shown in full
        self._specs = self.make_specs()  # what does not fit together is refused before the first timestep

    def on_close(self) -> None:
        """Closes the data."""
        self._passes.reader.close()

    def make_specs(self) -> dict[str, EnvSpec]:
        """Guesses the specs from an example and the dataset's feature types."""
        who, reader = f"DatasetEnv({self.name!r})", self._passes.reader
        observation, known = guess_specs(self._opened, reader.peek(), dict(self.given_specs or {}), reader.known, who)
        modalities: dict[str, dict] = {"observation": self._modalities(known), "action": {}}
        action = {}
        if self.mode != "joint":
            if self.target not in observation or len(observation) < 2:
                raise SpecError(
                    f"{who}: expected the target {self.target!r} and something to predict it from, the data has"
                    f" {sorted(observation)}. Name the target with target=."
                )
            prediction = self.prediction_spec or prediction_spec_for(self.loss, observation[self.target], who)
            action = {f"predict:{self.target}": prediction}
            if prediction is observation[self.target] and self.target in modalities["observation"]:
                modalities["action"] = {f"predict:{self.target}": modalities["observation"][self.target]}
        return {self.name: EnvSpec(observation, action, modalities=modalities, num_envs=reader.batch_size)}

    def _modalities(self, known: dict[tuple[str, ...], Modality]) -> dict:
        """Returns those that the data knows, and in their places those that were given."""
        given = dict(flatten(dict(self.given_modalities or {})))
        return unflatten(list({**known, **given}.items())) or {}

    def reset(self, lanes: Tensor | None = None) -> TimeStep:
        """Starts over with a new pass."""
        return self._restored() or self._start_over()

    def _restored(self) -> TimeStep | None:
        """Goes to the place where the next episode begins; returns FIRST of a stored one, else None."""
        rows, _ = self.begin_episodes(torch.ones(1, dtype=torch.bool))
        return restart(rows[0], 1) if rows else None

    def _start_over(self) -> TimeStep:
        self._passes.begin()
        self._asked, self._pass_over = None, True
        self._skip(self._shown_before)
        self._shown_before = 0
        return self._show(self._passes.next())

    def step(self, action: dict, lanes: Tensor | None = None) -> TimeStep:
        """Returns the next minibatch, and what the prediction before was worth."""
        if self.detours and self._outstanding.last().any():
            if (restored := self._restored()) is not None:
                return restored
            if self._asked is not None or not self._pass_over:  # it was restored in the middle of an episode
                return self._start_over()
        if self.mode == "joint":
            return self._show(self._passes.next())
        if self._asked is None:
            return self._show(self._passes.next())
        told, self._asked = self._asked, None
        reward = self._worth(action, told)
        closes = self.episode == "batch" or (self.episode == "pass" and told.closes)
        if self.mode == "split" or closes:
            return self._tell(told, reward, last=closes)
        try:
            return self._show(self._passes.next(), told, reward)
        except EndOfStream:
            return self._tell(told, reward, last=False)

    def _show(self, minibatch: Minibatch, told: Minibatch | None = None, reward: Tensor | None = None) -> TimeStep:
        """Shows x (in mode joint y too), together with the y and the reward that are owed."""
        first = self._pass_over
        self._pass_over = self.episode == "pass" and minibatch.closes
        joint = self.mode == "joint"
        step_type = StepType.FIRST if first else StepType.LAST if joint and self._pass_over else StepType.MID
        hidden = {} if joint else {key: None for key in minibatch.data if self._is_target(key)}
        observation = {**self._with_masks(minibatch, lambda key: joint or not self._is_target(key)), **hidden}
        if not joint:
            self._asked = minibatch
        if told is not None:
            observation |= self._with_masks(told, self._is_target)
        self._complete(minibatch if joint else told)
        return self._timestep(step_type, observation, reward)

    def _tell(self, told: Minibatch, reward: Tensor | None, last: bool) -> TimeStep:
        """Shows y and the reward alone."""
        absent = {key: map_tree(lambda _: None, value) for key, value in told.data.items()}
        observation = absent | self._with_masks(told, self._is_target)
        if last:
            self._pass_over = True
        self._complete(told)
        return self._timestep(StepType.LAST if last else StepType.MID, observation, reward)

    def _is_target(self, key: str) -> bool:
        """Tells whether a key is y, or says how long y is."""
        return key in (self.target, *length_path((self.target,)))

    def _complete(self, minibatch: Minibatch | None) -> None:
        """Remembers what a timestep has shown in full, in case that nobody sees it."""
        if minibatch is not None and self._passes.reader.reads_again:
            minibatch = minibatch._replace(data=None, mask=None)
        self._completed = [self._completed[1], minibatch]

    def _with_masks(self, minibatch: Minibatch, wanted: Callable[[str], bool]) -> dict:
        chosen = {key: value for key, value in minibatch.data.items() if wanted(key)}
        masks = {} if minibatch.mask is None else {f"mask:{key}": minibatch.mask for key in chosen}
        return chosen | masks

    def _worth(self, action: dict, told: Minibatch) -> Tensor | None:
        if self._reward is None:
            return None
        num_envs = self._passes.reader.batch_size
        reward = self._reward(action[f"predict:{self.target}"], told.data[self.target])
        reward = checked(reward, num_envs, f"DatasetEnv({self.name!r})")
        return reward if told.mask is None else torch.where(told.mask, reward, 0.0)

    def _timestep(self, step_type: StepType, observation: dict, reward: Tensor | None) -> TimeStep:
        num_envs = self._passes.reader.batch_size
        reward = torch.zeros(num_envs) if reward is None or step_type == StepType.FIRST else reward
        return TimeStep(torch.full((num_envs,), step_type, dtype=torch.int8), reward, torch.ones(num_envs), observation)

    def go_on_after(self, steps: dict[str, int], origin: dict | None = None) -> None:
        """Goes on at the next unread minibatch; a y that was still owed is not told."""
        self.open()
        if origin is not None:
            self._origin = origin["origin"]
            self._passes.load_state_dict(self._origin)
        self._shown_before = steps.get(self.name, -1) + 1

    def _skip(self, timesteps: int) -> None:
        """Passes over the minibatches that were shown in so many timesteps."""
        two_each = self.mode == "split" or self.episode == "batch"
        told_alone = self.mode == "delayed" and self.episode == "pass"
        while timesteps > 0:
            try:
                minibatch = self._passes.next(wanted=False)
            except EndOfStream:
                timesteps -= self.mode == "delayed" and self.episode is None  # the last y came alone
                self._passes.begin()
                self._pass_over = True
                continue
            self._pass_over = self.episode == "batch" or (self.episode == "pass" and minibatch.closes)
            timesteps -= 2 if two_each or (told_alone and minibatch.closes) else 1

    def lane_state(self, lane: int) -> dict:
        """Returns the place in the data, and the minibatch whose y is owed."""
        return {
            "passes": self._passes.state_dict(),
            "asked": self._asked and self._asked._asdict(),
            "pass_over": self._pass_over,
            "completed": [minibatch and minibatch._asdict() for minibatch in self._completed],
        }

    def load_lane_state(self, lane: int, state: dict) -> None:
        """Goes back to a place in the data."""
        self._passes.load_state_dict(state["passes"])
        self._asked = state["asked"] and Minibatch(**state["asked"])
        self._pass_over = state["pass_over"]
        self._completed = [completed and Minibatch(**completed) for completed in state["completed"]]

    def state_dict(self) -> dict:
        """Adds the place in the data, the minibatch whose y is owed, and what the last two timesteps have shown."""
        self.open()
        return (
            super().state_dict()
            | self.lane_state(0)
            | {
                "shown_before": self._shown_before,
                "origin": self._origin,
                "bad_samples": sorted(self._passes.reader.bad_samples.indices, key=str),
            }
        )

    def load_state_dict(self, state: dict) -> None:
        """Restores the place in the data."""
        super().load_state_dict(state)
        self.load_lane_state(0, state)
        self._shown_before, self._origin = state["shown_before"], state["origin"]
        self._passes.reader.bad_samples.indices = set(state["bad_samples"])

    def divide_anew(self, states: list[tuple[dict, int]]) -> dict:
        """Deals the minibatches that no slot has shown in full out among the slots of this division."""
        self.open()
        given_back: list[GivenBack] = []
        for state, _ in states:
            self.check_state(state)
        # What a restored episode shows does not count: data goes on where it was left.
        states = [(state | state["left"][0], 0) if state["left"] else (state, unseen) for state, unseen in states]
        for state, unseen in states:
            items = [*state["completed"][max(0, len(state["completed"]) - unseen) :], state["asked"]]
            given_back += [found for item in items if item is not None for found in gives_back(**item)]
        passes = self._passes.divide_anew([state["passes"] for state, _ in states], given_back)
        return self.state_dict() | {
            "passes": passes,
            "origin": passes,
            "bad_samples": sorted({index for state, _ in states for index in state["bad_samples"]}, key=str),
        }


def check_bad_sample_options(on_bad_sample: str, max_bad_samples: int | None, who: str) -> None:
    """Raises a SpecError where they are none."""
    if on_bad_sample not in ("raise", "skip"):
        raise SpecError(f"{who}: expected on_bad_sample='raise' or 'skip', got {on_bad_sample!r}.")
    if max_bad_samples is not None and (not isinstance(max_bad_samples, int) or max_bad_samples < 0):
        raise SpecError(f"{who}: expected max_bad_samples of at least 0, or None, got {max_bad_samples!r}.")


def _check_options(mode: str, loss: Any, episode: str | None, epochs: int | None) -> None:
    if mode not in ("joint", "delayed", "split"):
        raise SpecError(f"DatasetEnv: expected mode 'joint', 'delayed' or 'split', got {mode!r}.")
    if episode not in ("pass", "batch", None):
        raise SpecError(f"DatasetEnv: expected episode 'pass', 'batch' or None, got {episode!r}.")
    if mode == "joint" and loss is not None:
        raise SpecError(
            "DatasetEnv: expected no loss in mode 'joint', where nothing is predicted: the agent has x and y and its own"
            " loss. Use mode='delayed' or 'split' for a reward."
        )
    if mode == "joint" and episode == "batch":
        raise SpecError(
            "DatasetEnv: expected episode 'pass' or None in mode 'joint': one timestep cannot be FIRST and LAST. Use"
            " mode='split'."
        )
    if epochs is not None and (not isinstance(epochs, int) or epochs < 1):
        raise SpecError(f"DatasetEnv: expected epochs of at least 1, or None, got {epochs!r}.")
