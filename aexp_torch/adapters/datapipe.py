"""to_datapipe: the same stream as an `IterDataPipe`, with every stage in functional form.

Importing this module registers the stages, as torch's own `functional_datapipe` does for its pipes.
"""

import copy
import keyword
import re
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

from torch.utils.data import IterDataPipe, get_worker_info

from aexp_torch import stages
from aexp_torch.env import Env, Stage
from aexp_torch.errors import SpecError
from aexp_torch.feedback import Mailbox
from aexp_torch.timestep import Ticket, TimeStep

if TYPE_CHECKING:
    from aexp_torch.feedback_socket import RemoteMailbox

__all__ = ["EnvDataPipe", "functional_name", "register_stage", "to_datapipe"]


def to_datapipe(env: Env, on_missing: Literal["error", "repeat", "sample"] = "sample") -> "EnvDataPipe":
    """Returns a copy of the environment as a torch DataPipe whose items are its timesteps.

    Stages come first, in functional form (`Noisy` is `noisy`, `Lambda` is `lambda_`), then torch's own pipes: `map`,
    `filter`, `mux` and the others keep the way back as long as they hand on the timestep (or a `_replace` of it).
    A timestep that one of them drops is never answered: the stream goes on as `on_missing` says, at once in this
    process, after a second in a DataLoader's worker.

    Args:
      env: any pipeline; the datapipe runs a copy of the recipe from its beginning, with its own `on_missing`.
      on_missing: as for every Env.

    >>> import aexp_torch as ae
    >>> datapipe = ae.to_datapipe(ae.GymnasiumEnv("CartPole-v1", num_envs=2)).noisy(std=0.1).observe_reward()
    >>> def is_odd(timestep):
    ...     return timestep.ticket.step % 2 == 1
    >>> [timestep.ticket.step for timestep, _ in zip(datapipe.filter(is_odd), range(3))]
    [1, 3, 5]
    """
    if not isinstance(env, Env):
        raise SpecError(f"to_datapipe: expected an Env, got {type(env).__name__} {env!r}.")
    if on_missing not in ("error", "repeat", "sample"):
        raise SpecError(f"to_datapipe: expected on_missing='error', 'repeat' or 'sample', got {on_missing!r}.")
    env = copy.copy(env)
    env.on_missing = on_missing
    return EnvDataPipe(env)


class EnvDataPipe(IterDataPipe):
    """Is an Env as a DataPipe; see `to_datapipe`. Iterating again goes on, as for every Env."""

    def __init__(self, env: Env):
        self.env = env

    def __iter__(self) -> Iterator[TimeStep]:
        if get_worker_info() is None:
            yield from self.env
            return
        for timestep in self.env:
            mailbox = timestep.ticket._address
            address = _WatchedAddress(mailbox)
            ticket = Ticket(timestep.source, timestep.ticket.slot, timestep.ticket.step, address)
            yield timestep._replace(ticket=ticket)
            if not mailbox.settled() and address.stays():
                timestep.reply(mailbox._missing())


class _WatchedAddress:
    """Is the address of a ticket in a worker, and knows whether the ticket has left for the consumer.

    One that stays belongs to a timestep that was dropped on its way: nobody will answer it.
    """

    def __init__(self, mailbox: Mailbox):
        self.mailbox = mailbox
        self._left = threading.Event()

    def answer(self, timestep: TimeStep, action: Any) -> None:
        """Passes an answer on."""
        self.mailbox.answer(timestep, action)

    def export(self) -> "RemoteMailbox":
        """Returns the address that a pickled ticket carries."""
        address = self.mailbox.export()
        self._left.set()
        return address

    def stays(self) -> bool:
        """Waits a moment for the queue's own thread to send the ticket, and tells whether it has not."""
        # Many short waits, so that a process that was held up for long finds the time for its other thread.
        return not any(self._left.wait(0.05) for _ in range(20))


def functional_name(stage: type[Stage]) -> str:
    """Returns the name of a stage in functional form: `ObserveReward` is `observe_reward`, `Lambda` is `lambda_`."""
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", stage.__name__).lower()
    return f"{name}_" if keyword.iskeyword(name) else name


def register_stage(stage: type[Stage]) -> type[Stage]:
    """Gives datapipes a stage of your own in functional form; usable as a decorator, and more than once.

    Raises:
      SpecError: it is no Stage, or its name is taken by a pipe or another stage.
    """
    if not (isinstance(stage, type) and issubclass(stage, Stage)):
        raise SpecError(f"register_stage: expected a Stage class, got {stage!r}.")
    name = functional_name(stage)
    if not _free(name, stage):
        raise SpecError(
            f"register_stage: expected a name that is free among datapipes, {name!r} is taken. Rename the class, or use"
            f" to_datapipe(env.pipe({stage.__name__}))."
        )
    IterDataPipe.register_function(name, _FunctionalForm(stage))
    return stage


class _FunctionalForm:
    """Is what `datapipe.noisy` calls."""

    def __init__(self, stage: type[Stage]):
        self.stage, self.__doc__ = stage, stage.__doc__

    def __call__(self, datapipe: IterDataPipe, *args: Any, **kwargs: Any) -> EnvDataPipe:
        if not isinstance(datapipe, EnvDataPipe):
            raise SpecError(
                f"{functional_name(self.stage)}: expected to_datapipe(env), or a stage of it, got {datapipe}. Put"
                " stages before torch's own pipes, which know neither specs nor answers."
            )
        return EnvDataPipe(self.stage(datapipe.env, *args, **kwargs))


def _free(name: str, stage: type[Stage]) -> bool:
    """Tells whether nothing has the name, or this very stage (a module that is loaded again makes its class anew)."""
    if name in vars(IterDataPipe):
        return False
    taken = IterDataPipe.functions.get(name)
    own = getattr(taken, "stage", None)
    return taken is None or (own is not None and _origin(own) == _origin(stage))


def _origin(stage: type[Stage]) -> tuple[str, str]:
    return stage.__module__, stage.__qualname__


def _register_exported() -> None:
    """Registers every stage of this library; where another library has a name already, it keeps it."""
    for stage in (getattr(stages, name) for name in stages.__all__):
        if _free(functional_name(stage), stage):
            register_stage(stage)


_register_exported()
