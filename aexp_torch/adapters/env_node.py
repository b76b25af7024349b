"""The class behind `to_node`. Imports torchdata: import it where one is asked for."""

from torchdata.nodes import BaseNode

from aexp_torch.env import Env
from aexp_torch.errors import EndOfStream, SpecError
from aexp_torch.timestep import TimeStep

__all__ = ["EnvNode"]


class EnvNode(BaseNode[TimeStep]):
    """Is a pipeline as a node; see `to_node`.

    Its state is the pipeline's, and which of these holds: the next timestep starts the stream over (`fresh`), the
    stream has ended (`over`), or it goes on.
    """

    def __init__(self, env: Env):
        super().__init__()
        if not isinstance(env, Env):
            raise SpecError(f"to_node: expected an Env, got {type(env).__name__} {env!r}.")
        self.env = env
        self._timestep: TimeStep | None = None

    def reset(self, initial_state: dict | None = None) -> None:
        """Starts the stream over, at the next timestep, or goes on from a state."""
        super().reset(initial_state)
        self._fresh, self._over, self._again = True, False, False
        if initial_state is not None:
            self.env.load_state_dict(initial_state["env"])
            self._timestep = self.env._outstanding
            self._fresh, self._over = initial_state["fresh"], initial_state["over"]
            self._again = not self._fresh

    def next(self) -> TimeStep:
        """Returns the next timestep; the last one must have been answered."""
        if self._over:
            raise StopIteration
        timestep = self._timestep
        if timestep is None or not self._again or timestep.ticket._address.settled():
            timestep = self._timestep = self._advance()
        self._fresh = self._again = False
        return timestep

    def _advance(self) -> TimeStep:
        if self._fresh:
            return self.env.reset()
        try:
            return self.env.step(self._timestep.ticket._address.take())
        except EndOfStream:
            self._over = True
            raise StopIteration from None

    def get_state(self) -> dict:
        """Returns the state, as tensors and primitives.

        Raises:
          SpecError: the pipeline is not resumable; the text says why.
        """
        return {"env": self.env.state_dict(), "fresh": self._fresh, "over": self._over}
