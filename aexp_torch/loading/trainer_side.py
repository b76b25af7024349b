"""Slots whose outermost stages run in the trainer's process; see `TrainerSide`, which marks where those begin."""

import copy
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from aexp_torch.env import Env, Stage
from aexp_torch.errors import SpecError
from aexp_torch.feedback import Mailbox
from aexp_torch.loading.forwarding_mailbox import ForwardingMailbox
from aexp_torch.loading.slots import SlotTurns
from aexp_torch.specs import EnvSpec
from aexp_torch.stages import TrainerSide
from aexp_torch.timestep import TimeStep, pack_timestep

__all__ = ["TrainerSideSlots", "border_of"]


def border_of(env: Env) -> TrainerSide | None:
    """Returns the innermost `TrainerSide` of a pipeline, or None where all of it runs in the worker."""
    border, stage = None, env
    while isinstance(stage, Stage):
        if isinstance(stage, TrainerSide):
            border = stage
        stage = stage.env
    return border


class Elsewhere(Env):
    """Stands for the part of a pipeline that runs in a worker, below the part that runs here.

    Args:
      part: that part, open here too, so that its specs are known.
    """

    def __init__(self, part: Env):
        super().__init__(part.name)
        self.known_specs = dict(part.specs)
        self.known_classes = {source: [type(part), *part.classes_below(source)] for source in part.specs}

    def on_open(self) -> None:
        """Starts without a state."""
        self.state: dict[str, Any] = {}
        self._boxes: list[Mailbox] = []

    def make_specs(self) -> dict[str, EnvSpec]:
        """Returns what the worker's part promises."""
        return self.known_specs

    def classes_below(self, source: str) -> list[type]:
        """Returns those of the worker's part."""
        return self.known_classes[source]

    def reset(self, lanes: Any = None) -> TimeStep:
        """Raises a SpecError: timesteps come from the worker, through `Chain`."""
        raise SpecError(f"{self.name}: expected to be stepped by its Loader, since it runs in a worker.")

    step: Any = reset

    def state_dict(self) -> dict:
        """Returns the state of the worker's part."""
        return self.state

    def load_state_dict(self, state: dict) -> None:
        """Keeps the state of the worker's part, where no answer is waiting: those wait here."""
        self.open()
        self._boxes = []
        self.state = self._without_answers(state)

    def _without_answers(self, state: dict) -> dict:
        children = [self._without_answers(child) for child in state["children"]]
        mailbox = state["mailbox"]
        if mailbox is not None:
            box = Mailbox(state["name"], self.slot)
            box.load_state_dict(mailbox)
            self._boxes.append(box)
            mailbox = {**mailbox, "action": None}
        return {**state, "mailbox": mailbox, "children": children}

    def _mailboxes(self) -> Iterator[Mailbox]:
        return iter(self._boxes)


class Chain:
    """Is the part of one slot's pipeline that runs here.

    Args:
      env: the whole pipeline, a placed recipe; its innermost `TrainerSide` is where this part begins.
      part: what is below, where its specs are known.
    """

    def __init__(self, env: Env, part: Env):
        self.env = copy.copy(env)
        border = border_of(self.env)
        border.env = Elsewhere(part)
        border.env.slot = env.slot
        self.below = border.env
        self._stages: list[Stage] = []  # from the outermost
        stage = self.env
        while isinstance(stage, Stage):
            if type(stage).step is not Stage.step or type(stage).reset is not Stage.reset:
                raise SpecError(
                    f"Loader: expected stages with on_timestep, on_action and on_spec around TrainerSide,"
                    f" {type(stage).__name__} has a reset or step of its own. Put it below TrainerSide."
                )
            self._stages.append(stage)
            stage = stage.env
        self._mailboxes: dict[str, ForwardingMailbox] = {}
        self._inner: TimeStep | None = None  # the worker's timestep under the outstanding one
        self._must_fetch = False  # it is still with the worker, after a load
        self._saved: dict | None = None  # the worker's state while the outstanding one is ahead
        self.outstanding: TimeStep | None = None
        self.ahead = False  # the outstanding one is still to be handed out
        self.shown: TimeStep | None = None  # handed out last

    def hand_out(self, timestep: TimeStep) -> TimeStep:
        """Takes a timestep from the worker through the stages."""
        self.env.open()
        self._inner, self._saved = timestep, None
        for stage in reversed(self._stages):
            timestep = stage._outstanding = stage.on_timestep(timestep)
        return self._with_ticket(timestep)

    def _with_ticket(self, timestep: TimeStep) -> TimeStep:
        source, slot, step = timestep.source, timestep.ticket.slot, timestep.ticket.step
        mailbox = self._mailboxes.get(source)
        if mailbox is None:
            mailbox = self._mailboxes[source] = ForwardingMailbox(source, slot, self.env, self._answer)
        self.outstanding = timestep._replace(ticket=mailbox.ticket(step))
        return self.outstanding

    def fetch(self, next_below: Callable[[], TimeStep]) -> None:
        """After a load, takes the worker's timestep under the outstanding one, and answers it if that was answered."""
        if self._must_fetch:
            self._must_fetch = False
            self._inner = next_below()
            mailbox = self.outstanding.ticket._address
            if mailbox.action is not None:
                self._answer(mailbox.action)

    def state_dict(self, below: dict, ahead: bool, next_below: Callable[[], TimeStep]) -> tuple[dict, bool]:
        """Returns the state of the whole pipeline, and whether its outstanding timestep is still to be handed out.

        Args:
          below: the state of the worker's part.
          ahead: whether the outstanding timestep of that part has not been taken yet.
          next_below: takes it.
        """
        if ahead and not self.ahead:
            self.hand_out(next_below())
            self.ahead, self._saved = True, below
        self.env.open()
        self.below.state = below if self._saved is None else self._saved
        return self.env.state_dict(), self.ahead

    def load_state_dict(self, state: dict, ahead: bool) -> tuple[dict, bool]:
        """Goes on from a state of the whole pipeline; returns what the worker's part is to go on from."""
        self.forget()
        self.env.load_state_dict(state)
        outstanding = self.env._outstanding
        if outstanding is None:
            return self.below.state, ahead
        answer = outstanding.ticket._address.action
        self._with_ticket(outstanding).ticket._address.action = answer
        self.ahead = ahead
        if ahead:
            self._saved = self.below.state
        self._must_fetch = ahead or bool(self.env.specs[outstanding.source].action)
        return self.below.state, self._must_fetch

    def _answer(self, action: dict) -> None:
        for stage in self._stages:
            action = stage.on_action(action, stage._outstanding)
        self._inner.reply(action)

    def unanswered(self) -> bool:
        """Whether a timestep was handed out that needs an answer and has none."""
        return self.outstanding is not None and not self.outstanding.ticket._address.settled()

    def go_on(self) -> None:
        """Answers as `on_missing` says."""
        mailbox = self.outstanding.ticket._address
        mailbox._keep(mailbox.step, mailbox._missing())

    def forget(self) -> None:
        """Makes the stages recipes again."""
        for mailbox in self._mailboxes.values():
            mailbox.close()
        self.env.close()
        self._mailboxes, self._inner, self._must_fetch, self._saved = {}, None, False, None
        self.outstanding, self.ahead, self.shown = None, False, None


class TrainerSideSlots(SlotTurns):
    """Puts the stages on the trainer's side around slots that run elsewhere.

    States are those of the whole pipeline, as where all of it runs in one process.

    Args:
      env: the whole pipeline.
      make: builds the slots of the part below, as `WorkerSlots` does.
      place: seed, numbers, num_slots and so on, as for every SlotTurns.
    """

    def __init__(self, env: Env, make: Callable[[Env], SlotTurns], **place: Any):
        super().__init__(env, **place)
        self.begin()
        self._below = make(border_of(self.envs[0]).env)
        self._chains = [Chain(member, self._below.envs[0]) for member in self.envs]
        self._show_again: set[int] = set()

    def begin(self) -> None:
        """Makes every environment a recipe with its place."""
        super().begin()
        for chain in getattr(self, "_chains", []):
            chain.forget()

    def restart(self) -> None:
        """Makes every slot a recipe again: its stream starts over with the same seeds."""
        self.begin()
        self._below.restart()

    def choose(self, places: list[int]) -> int:
        """Leaves it to the slots below."""
        return self._below.choose(places)

    def next(self, place: int) -> TimeStep:
        """Returns the next timestep of the slot at `place`; a finite stream that is over starts over."""
        chain, again = self._chains[place], place in self._show_again
        self._show_again.discard(place)
        chain.fetch(partial(self._below.next, place))
        if chain.ahead:
            chain.ahead = False
        elif not chain.unanswered():
            chain.hand_out(self._below.next(place))
        elif not again:
            chain.go_on()
            chain.hand_out(self._below.next(place))
        chain.shown = chain.outstanding
        return chain.outstanding

    def again(self, *places: int) -> None:
        """Lets slots (all of them by default) show their outstanding timesteps once more, where they are unanswered."""
        self._show_again.update(places or range(len(self._chains)))

    def show_again(self, place: int) -> TimeStep:
        """Returns the outstanding timestep of the slot at `place`; an answer that it was given is dropped."""
        chain = self._chains[place]
        chain.outstanding.ticket._address.action = None
        chain.fetch(partial(self._below.next, place))
        chain.ahead, chain.shown = False, chain.outstanding
        return chain.outstanding

    def left_behind(self, place: int) -> dict | None:
        """Returns the timestep that was handed out last, where the slot below has gone on."""
        chain = self._chains[place]
        gone_on = chain.ahead or self._below.left_behind(place) is not None
        return pack_timestep(chain.shown) if gone_on else None

    def num_bad_samples(self) -> int:
        """Returns how many samples of datasets the slots have left out; one that two of them met counts twice."""
        return self._below.num_bad_samples()

    def read(self, noted: str) -> list[dict[str, Any]]:
        """Returns what every slot has noted, by source: the property `noted` of its Env."""
        return self._below.read(noted)

    def states(self) -> list[tuple[dict, bool]]:
        """Returns the state of every slot, and whether its outstanding timestep is still to be handed out."""
        for place, chain in enumerate(self._chains):
            chain.fetch(partial(self._below.next, place))
        return [
            chain.state_dict(state, ahead, partial(self._below.next, place))
            for place, (chain, (state, ahead)) in enumerate(zip(self._chains, self._below.states(), strict=True))
        ]

    def load_states(self, states: list[tuple[dict, bool]]) -> None:
        """Restores every slot."""
        pairs = zip(self._chains, states, strict=True)
        self._below.load_states([chain.load_state_dict(state, ahead) for chain, (state, ahead) in pairs])

    def close(self) -> None:
        """Ends the processes, and the stages here."""
        self._below.close()
        for chain in self._chains:
            chain.forget()
        for env in self.envs:
            env.close()
