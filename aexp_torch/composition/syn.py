"""SynEnv: one batch in which every row is in an environment of its own, and the agent says which is next."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from dm_env import specs as dm_specs
from torch import Tensor, from_numpy

from aexp_torch.composition.composition import JoinedComposition
from aexp_torch.composition.joined import Joined, spec_of
from aexp_torch.composition.row_copies import RowCopies
from aexp_torch.composition.rows import Rows
from aexp_torch.env import Env
from aexp_torch.errors import EndOfStream, SpecError
from aexp_torch.specs import EnvSpec, Modality, flatten, map_tree, unflatten
from aexp_torch.specs.sample import zeros
from aexp_torch.timestep import StepType, TimeStep, select_lanes

__all__ = ["SynEnv"]

Transition = Literal["agent", "on_done"] | Callable[[int, Tensor, Tensor], Any]
NONE = -1
OFFER, CURRENT, NEXT, INSTRUCTION = "all_environments", "current_environments", "next_environments", "text:instruction"
ROW_STATE = ("current", "pending", "to_tell", "begun")


class SynEnv(JoinedComposition):
    """Has an environment of its own on every row of the batch, and changes it when the agent says so.

    A row shows its environment's own timesteps. When it is given another one, within an episode, that episode's next
    timestep is LAST (truncated, unless it ended by itself), and the new environment's FIRST follows. A choice that is not
    offered counts as none.

    Observation: the union of all keys (equal specs share a key, unequal ones become `key@source`); a key that a row's
    environment does not have is masked, and None where no row has it. Besides, always there: `all_environments`, int64 [B,
    N]: at place n the number n where that environment is offered to the row, -1 where it is done; `current_environments`,
    int64 [B]: that of the row, -1 for none. With instructions, `text:instruction`, uint8 [B, L], UTF-8, padded with 0.
    Action: the union likewise; with `transition="agent"` also `next_environments`, int64 [B], -1 to stay. Numbers are
    places in `environments`.

    A finite stream that has ended is done for its row. A row for which nothing else was chosen then has no environment: it
    shows nothing, in an episode with reward 0. When all are done on all rows, every row shows LAST, and the stream ends.
    Streams that are finite or have no episodes go on where a row has left them; others begin a new episode when they are
    entered.

    Args:
      envs: the environments, or `{name: environment}`; one source each. Every row has a copy of its own, opened when the row
        first comes to it. One with n lanes and lane control serves n rows.
      batch_size: rows B.
      transition: who chooses: "agent" (`next_environments`); "on_done", the next one in turn at the end of every episode; or
        a function `(step, current [B], available [B, N]) -> int64 [B]`, called with what was shown. It may be set anew at
        any time.
      transition_fn: called as `transition_fn(old, new)` with two numbers whenever a row changes, with old -1 at first; it
        may be set anew at any time. Here a policy can be given new inputs and outputs.
      instruction_steps: timesteps that show the instruction, and nothing else, before a new environment's first.
      instructions: the texts, in order or by name.
      name: names the composition, and with it its timesteps.
      options: `seed`, `on_missing` and `feedback_timeout`, as for every Env.

    Row r begins in environment r modulo N.

    Raises:
      SpecError: several lanes without lane control, an environment with several sources or one that cannot be copied,
        missing instructions.

    >>> import torch, aexp_torch as ae
    >>> cart, lake = ae.GymnasiumEnv("CartPole-v1"), ae.GymnasiumEnv("FrozenLake-v1")
    >>> env = ae.SynEnv({"cart": cart, "lake": lake}, batch_size=2, on_missing="sample")
    >>> timestep = env.reset()
    >>> timestep.observation["current_environments"], timestep.observation["mask:observation@lake"]
    (tensor([0, 1]), tensor([False,  True]))

    Source: `SynEnv` of the artificial-experience project.
    """

    lane_control = True

    def __init__(
        self,
        envs: Sequence[Env] | Mapping[str, Env],
        batch_size: int = 1,
        transition: Transition = "agent",
        transition_fn: Callable[[int, int], Any] | None = None,
        *,
        instruction_steps: int = 0,
        instructions: Sequence[str] | Mapping[str, str] | None = None,
        name: str | None = None,
        **options: Any,
    ):
        super().__init__(envs, name, **options)
        for what, number, least in (("batch_size", batch_size, 1), ("instruction_steps", instruction_steps, 0)):
            if not isinstance(number, int) or number < least:
                raise SpecError(f"SynEnv: expected {what} of at least {least}, got {number!r}.")
        self.batch_size, self.instruction_steps = batch_size, instruction_steps
        self._agent_chooses = transition == "agent"
        self.transition, self.transition_fn = transition, transition_fn
        names = list(envs) if isinstance(envs, Mapping) else [env.name for env in self.environments]
        self.instructions = _texts(instructions, names) if instruction_steps else ()
        for env in self.environments:
            self._place_row(env, 0)

    @property
    def transition(self) -> Transition:
        """Who chooses; set it anew at any time."""
        return self._transition

    @transition.setter
    def transition(self, transition: Transition) -> None:
        if transition not in ("agent", "on_done") and not callable(transition):
            raise SpecError(f"SynEnv: expected transition 'agent', 'on_done' or a function, got {transition!r}.")
        if transition == "agent" and not self._agent_chooses:
            raise SpecError(
                "SynEnv: expected transition='agent' from the start, so that next_environments is in the action spec. Build"
                " it with transition='agent'; from there it can be changed to another and back."
            )
        self._keep("_transition", transition)

    @property
    def transition_fn(self) -> Callable[[int, int], Any] | None:
        """What is called on every change; set it anew at any time."""
        return self._transition_fn

    @transition_fn.setter
    def transition_fn(self, function: Callable[[int, int], Any] | None) -> None:
        if function is not None and not callable(function):
            raise SpecError(f"SynEnv: expected transition_fn as a function of two numbers, got {function!r}.")
        self._keep("_transition_fn", function)

    def _keep(self, name: str, value: Any) -> None:
        """Sets an attribute of the recipe, even while it runs."""
        setattr(self, name, value)
        if self._recipe is not None:
            self._recipe[name] = value

    @property
    def children(self) -> tuple[Env, ...]:
        """The environments, and the copies of them that rows have come to."""
        copies = vars(self).get("_copies")
        return self.environments if copies is None else (*self.environments, *copies.added)

    def place(self, **options: Any) -> None:
        """Says which running copy of the pipeline this is; its rows count as slots of the environments."""
        super().place(**options)
        for env in self.environments:
            self._place_row(env, 0)

    def _place_row(self, env: Env, first: int) -> None:
        """Makes an environment's slots those of rows: row r of slot s is slot `s * batch_size + r`."""
        env.place(
            seed=env.seed,
            slot=self.slot * self.batch_size + first,
            num_slots=self.num_slots * self.batch_size,
            seed_prefix=env.seed_prefix,
            restarts=env.restarts,
        )

    def on_open(self) -> None:
        """Starts with no row in any environment."""
        self._joined = Joined({env.name: spec_of(env) for env in self.environments})
        for env in self.environments:
            lanes = spec_of(env).num_envs
            if lanes > 1 and not env.lane_control:
                raise SpecError(
                    f"SynEnv: expected one lane, or lane control, {env.name!r} has {lanes} lanes and steps all at once. Use"
                    " num_envs=1 (batch_size=1 for a dataset): every row has a copy of its own."
                )
        fill = dict(flatten(self._joined.observation))
        self._blank = {path: zeros(leaf, self.batch_size) for path, leaf in fill.items()}
        self._texts = _encoded(self.instructions)
        self._copies = RowCopies(self.environments, self.batch_size, self._place_row)
        self._specs = self.make_specs()  # what does not fit together is refused before the first timestep
        self._start()

    def on_close(self) -> None:
        """Closes the copies."""
        self._copies.close()

    def _start(self) -> None:
        rows = self.batch_size
        self._copies.start_over()
        self._current = np.full(rows, NONE)
        self._pending = np.full(rows, NONE)  # comes when the episode under way has ended
        self._to_tell = np.zeros(rows, np.int64)  # instruction steps still to come
        self._begun = np.zeros(rows, bool)  # the environment itself has shown something
        self._told = np.zeros(rows, bool)  # shows the instruction in this step

    def make_specs(self) -> dict[str, EnvSpec]:
        """Joins the keys of all environments, and adds those of the composition."""
        count = len(self.environments)
        one = dm_specs.BoundedArray((), np.int64, NONE, count - 1)
        own = {OFFER: dm_specs.BoundedArray((count,), np.int64, NONE, count - 1, OFFER), CURRENT: one}
        modalities = {OFFER: Modality("set", "categorical"), CURRENT: Modality("flat", "categorical")}
        if self.instructions:
            own[INSTRUCTION] = dm_specs.BoundedArray((self._texts.shape[1],), np.uint8, 0, 255, INSTRUCTION)
            modalities[INSTRUCTION] = Modality("sequence", "categorical", "text", optional=True)
        chosen = {NEXT: one} if self._agent_chooses else {}
        clash = sorted((set(own) & set(self._joined.observation)) | (set(chosen) & set(self._joined.action)))
        if clash:
            raise SpecError(
                f"SynEnv: expected environments without the keys {clash}, which are its own. Rename theirs; give the"
                " environments of a SynEnv to the outer one instead."
            )
        finite = self.instructions or any(env.stream_length is not None for env in self.environments)
        observed = self._joined.modalities["observation"]
        if finite:  # there are rows that show nothing
            observed = map_tree(lambda modality: replace(modality, optional=True), observed)
        sides = {
            "observation": {**observed, **modalities},
            "action": {**self._joined.modalities["action"], **{key: Modality("flat", "categorical") for key in chosen}},
        }
        observation, action = {**self._joined.observation, **own}, {**self._joined.action, **chosen}
        return {self.name: EnvSpec(observation, action, modalities=sides, num_envs=self.batch_size)}

    def reset(self, lanes: Tensor | None = None) -> TimeStep:
        """Starts every row over in its first environment; single rows begin an episode in that where they are."""
        shown, before = Rows(self.batch_size), self._outstanding
        if lanes is None:
            self._start()
            places = np.arange(self.batch_size)
            self._enter(shown, places, places % len(self.environments))
            return self._show(shown)
        rows = lanes.numpy()
        self._told[:] = False
        self._pending[rows] = NONE
        here = self._is_offered(self._current, rows)
        self._leave(shown, rows & ~here)
        self._begin(shown, here, StepType.FIRST)
        return select_lanes(lanes, self._show(shown), before)

    def step(self, action: dict, lanes: Tensor | None = None) -> TimeStep:
        """Steps every row in its environment, or moves it to the next."""
        before, done = self._outstanding, self._copies.done
        rows = np.ones(self.batch_size, bool) if lanes is None else lanes.numpy()
        last = before.last().numpy()
        if done.all() and last.all():
            raise EndOfStream(f"{self.name}: every environment is done on every row.")
        choice = self._choose(action, last)
        self._pending = np.where(rows & (choice >= 0), choice, self._pending)
        self._told[:] = False
        shown = Rows(self.batch_size)
        over = rows & last
        enter = self._is_offered(self._pending, over)
        gone = over & ~enter & ~self._is_offered(self._current, over)
        stay = rows & ~enter & ~gone & (self._current != NONE)
        telling = stay & ~self._begun
        self._leave(shown, gone)
        self._tell_on(shown, telling, last)
        self._run(shown, stay & ~telling, last, action)
        late = enter & ~self._is_offered(self._pending, enter)  # that stream has ended in this step, on another row
        self._leave(shown, late)
        enter, gone = enter & ~late, gone | late
        self._enter(shown, np.flatnonzero(enter), self._pending[enter])
        self._pending[gone] = NONE
        shown.end(rows & ~over & (self._pending >= 0))  # a live row that is replaced
        if done.all() and not (shown.step_type == StepType.FIRST).any():
            shown.end(rows)  # all at once, so that nothing remains open
        timestep = self._show(shown)
        return timestep if lanes is None else select_lanes(lanes, timestep, before)

    def _is_offered(self, envs: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Returns bool [B]: which of the rows (bool [B]) have a number that is not none, of an environment not done."""
        return rows & (envs >= 0) & ~self._copies.done[envs, np.arange(self.batch_size)]

    def _offers(self) -> np.ndarray:
        return np.where(self._copies.done.T, NONE, np.arange(len(self.environments)))  # [B, N]

    def _choose(self, action: dict, last: np.ndarray) -> np.ndarray:
        """Returns int64 [B]: what comes next on each row; -1 for none."""
        everywhere = np.ones(self.batch_size, bool)
        if self._transition == "agent":
            choice = action[NEXT].numpy()
        elif self._transition == "on_done":
            choice = self._next_in_turn(last | (self._current == NONE))
        else:
            seen = self._outstanding.observation
            given = self._transition(self._outstanding.ticket.step, seen[CURRENT].clone(), seen[OFFER].clone())
            choice = self._checked(given)
        return np.where(self._is_offered(choice, everywhere), choice, NONE)

    def _next_in_turn(self, rows: np.ndarray) -> np.ndarray:
        """Returns, for some rows, the next environment that is offered, unless it is the one where they are."""
        count, choice = len(self.environments), np.full(self.batch_size, NONE)
        for ahead in range(count - 1, 0, -1):
            then = (self._current + ahead) % count
            choice = np.where(self._is_offered(then, rows), then, choice)
        return choice

    def _checked(self, given: Any) -> np.ndarray:
        choice = torch.as_tensor(given).numpy()
        count = len(self.environments)
        fits = choice.dtype.kind in "iu" and choice.shape == (self.batch_size,)
        if not fits or choice.min() < NONE or choice.max() >= count:
            raise SpecError(
                f"SynEnv: expected int64 [{self.batch_size}] in -1..{count - 1} from transition=, got {given!r}. -1 lets a"
                " row stay where it is."
            )
        return choice.astype(np.int64)

    def _enter(self, shown: Rows, rows: np.ndarray, envs: np.ndarray) -> None:
        """Moves rows (int64 [M]) to environments (int64 [M])."""
        if not len(rows):
            return
        if self._transition_fn is not None:
            for old, new in zip(self._current[rows].tolist(), envs.tolist(), strict=True):
                self._transition_fn(old, new)
        self._current[rows], self._pending[rows], self._begun[rows] = envs, NONE, False
        self._to_tell[rows] = self.instruction_steps
        entering = np.zeros(self.batch_size, bool)
        entering[rows] = True
        self._tell(shown, entering, StepType.FIRST)

    def _leave(self, shown: Rows, rows: np.ndarray) -> None:
        """Takes rows (bool [B]) out of their environment, with none to go to."""
        self._current[rows], self._begun[rows] = NONE, False
        shown.step_type[rows] = StepType.FIRST

    def _tell(self, shown: Rows, rows: np.ndarray, step_type: StepType) -> None:
        """Shows the instruction, or, where it has been shown, lets the environment begin."""
        tell = rows & (self._to_tell > 0)
        self._to_tell[tell] -= 1
        self._told |= tell
        shown.step_type[tell] = step_type
        self._begin(shown, rows & ~tell, step_type)

    def _tell_on(self, shown: Rows, rows: np.ndarray, last: np.ndarray) -> None:
        """Goes on with instructions; a row that is replaced sees the last one once more."""
        replaced = rows & (self._pending >= 0)
        self._told |= replaced
        self._to_tell[rows & last] = self.instruction_steps  # what was to replace it is not offered any more
        self._tell(shown, rows & ~replaced & ~last, StepType.MID)
        self._tell(shown, rows & ~replaced & last, StepType.FIRST)

    def _begin(self, shown: Rows, rows: np.ndarray, step_type: StepType) -> None:
        """Shows the first timestep of the environments that rows (bool [B]) have come to."""
        for key, members in self._copies.groups(rows, self._current):
            timestep = self._copies.begin(key, members)._outstanding
            if timestep is not None:
                shown.take_observation(members, timestep, members - key[1], self._joined)
        self._begun |= rows
        shown.step_type[rows] = step_type

    def _run(self, shown: Rows, rows: np.ndarray, last: np.ndarray, action: dict) -> None:
        """Steps the environments that rows (bool [B]) are in."""
        leaves = dict(flatten(action))
        for key, members in self._copies.groups(rows, self._current):
            answer = self._joined.answer(leaves, self.environments[key[0]].name, self._copies.rows_of(key))
            env = self._copies.step(key, members, answer)
            if env is None:
                shown.step_type[members] = StepType.LAST
                continue
            shown.take_observation(members, env._outstanding, members - key[1], self._joined)
            shown.take_signals(members, env._outstanding, members - key[1])
        anew = rows & ~last & (shown.step_type == StepType.FIRST)
        shown.step_type[anew] = StepType.MID  # a pass over data so short that it has no LAST
        shown.end(rows & ~self._is_offered(self._current, rows))  # their streams have ended with this step

    def _show(self, shown: Rows) -> TimeStep:
        """Puts the rows together."""
        leaves: list[tuple[tuple, Any]] = []
        for path, blank in self._blank.items():
            leaves += shown.leaf(path, blank)
        leaves += [((OFFER,), from_numpy(self._offers())), ((CURRENT,), from_numpy(self._current.copy()))]
        if self.instructions:
            leaves += self._instruction()
        return shown.timestep(unflatten(leaves))

    def _instruction(self) -> list[tuple[tuple, Tensor | None]]:
        told = self._told.copy()
        if not told.any():
            return [((INSTRUCTION,), None)]
        text = from_numpy(np.where(told[:, None], self._texts[self._current], 0).astype(np.uint8))
        mask = [] if told.all() else [((f"mask:{INSTRUCTION}",), from_numpy(told))]
        return [((INSTRUCTION,), text), *mask]

    def go_on_after(self, steps: dict[str, int], origin: dict | None = None) -> None:
        """Has every row start over, data too: what each of them had seen is lost with the process."""

    def divide_anew(self, states: list[tuple[dict, int]]) -> dict:
        """Is refused: what rows have been in cannot be dealt out among others."""
        raise SpecError(
            f"{self.name}: expected as many slots and ranks as the state was taken with. The rows of SynEnv are streams of"
            " their own, what goes on in them cannot be dealt out among others. Resume with the same in_flight and"
            " world_size, or start it afresh."
        )

    def state_dict(self) -> dict:
        """Adds where every row is, and the copies that there are."""
        return super().state_dict() | {
            "copies": self._copies.state_dict(),
            "rows": {name: from_numpy(getattr(self, f"_{name}").copy()) for name in ROW_STATE},
        }

    def load_state_dict(self, state: dict) -> None:
        """Restores every row."""
        self.open()
        self._copies.load_state_dict(state["copies"])
        super().load_state_dict(state)
        for name in ROW_STATE:
            setattr(self, f"_{name}", state["rows"][name].numpy().copy())


def _texts(given: Sequence[str] | Mapping[str, str] | None, names: list[str]) -> tuple[str, ...]:
    """Returns an instruction for every environment."""
    if isinstance(given, Mapping):
        texts = tuple(given.get(name) for name in names)
    else:
        texts = tuple(given or ()) if not isinstance(given, str) else ()
    if len(texts) != len(names) or not all(isinstance(text, str) and text for text in texts):
        raise SpecError(
            f"SynEnv: expected an instruction for each of {names} with instruction_steps=, got {given!r}. Give them with"
            " instructions=, in order or by name."
        )
    return texts


def _encoded(texts: Sequence[str]) -> np.ndarray:
    """Returns uint8 [N, L]: UTF-8, padded with 0."""
    encoded = [text.encode() for text in texts]
    length = max(map(len, encoded), default=0)
    return (
        np.stack([np.frombuffer(text.ljust(length, b"\0"), np.uint8) for text in encoded])
        if encoded
        else np.zeros((0, 0))
    )
