"""FrameStack: the last values together."""

from dataclasses import replace
from typing import Any, Literal

import numpy as np
from dm_env import specs
from torch import Tensor, from_numpy

from aexp_torch.env import Env
from aexp_torch.errors import SpecError
from aexp_torch.specs import Modality
from aexp_torch.stages.augment import Augment, Keys, Leaf
from aexp_torch.stages.dropout import widened

__all__ = ["FrameStack"]


class FrameStack(Augment):
    """Shows the last `stack_size` values of a key together, the newest last.

    Each episode of each lane begins anew. Where a key is absent nothing is added.

    Observation: chosen values gain an axis in front, [B, stack_size, ...], same dtype and bounds; grids stay grids,
    everything else becomes a sequence.  Action: unchanged.

    Args:
      env: the environment below.
      stack_size: how many.
      padding_type: what stands for steps before the episode: its first value (`"reset"`), or `"zero"`.
      keys: a glob over the names of leaves (`a/b` for nested ones), or a predicate of their `Modality`.

    >>> import aexp_torch as ae
    >>> env = ae.GymnasiumEnv("CartPole-v1", num_envs=2).pipe(ae.FrameStack, stack_size=3)
    >>> env.reset().observation["observation"].shape
    torch.Size([2, 3, 4])

    Source: Mnih et al. 2015; `FrameStackObservation` of Gymnasium.
    """

    def __init__(
        self, env: Env, stack_size: int = 4, padding_type: Literal["reset", "zero"] = "reset", keys: Keys = "*"
    ):
        super().__init__(env, keys)
        if not isinstance(stack_size, int) or stack_size < 1:
            raise SpecError(f"FrameStack: expected stack_size of at least 1, got {stack_size!r}.")
        if padding_type not in ("reset", "zero"):
            raise SpecError(f"FrameStack: expected padding_type 'reset' or 'zero', got {padding_type!r}.")
        self.stack_size, self.padding_type = stack_size, padding_type

    def change(self, value: Tensor, leaf: Leaf, rows: Tensor | None) -> Tensor:
        """Adds the value to the stack."""
        newest, before = value.numpy(), leaf.memory.get("stack")
        stack = np.empty((leaf.num_envs, self.stack_size, *newest.shape[1:]), newest.dtype)
        stack[:, -1] = newest
        starts = leaf.memory.pop("starts", None)
        if before is None:
            stack[:, :-1] = self._padding(newest)
        else:
            stack[:, :-1] = before.numpy()[:, 1:]
            if starts is not None:
                stack[starts.numpy(), :-1] = self._padding(newest[starts.numpy()])
        if rows is not None:
            absent = ~rows.numpy()
            stack[absent] = 0 if before is None else before.numpy()[absent]
            if before is None or starts is not None:
                leaf.memory["starts"] = ~rows if starts is None else starts & ~rows
        leaf.memory["stack"] = from_numpy(stack)
        return leaf.memory["stack"]

    def begin(self, leaf: Leaf, lanes: Tensor) -> None:
        """Starts a new stack."""
        if "stack" in leaf.memory:
            starts = leaf.memory.get(
                "starts"
            )  # lanes that have seen nothing of their episode yet; all, without a stack
            leaf.memory["starts"] = lanes if starts is None else starts | lanes

    def _padding(self, newest: np.ndarray) -> Any:
        return newest[:, None] if self.padding_type == "reset" else 0

    def augment_spec(self, spec: specs.Array, modality: Modality) -> tuple[specs.Array, Modality]:
        """Adds the axis."""
        shape = (self.stack_size, *spec.shape)
        if modality.structure != "grid":
            modality = replace(modality, structure="sequence")
        if not isinstance(spec, specs.BoundedArray):
            return specs.Array(shape, spec.dtype, spec.name), modality
        if self.padding_type == "zero":
            spec = widened(spec, 0)
        low, high = (np.broadcast_to(bound, spec.shape) for bound in (spec.minimum, spec.maximum))
        low, high = (np.broadcast_to(bound, shape) for bound in (low, high))
        return specs.BoundedArray(shape, spec.dtype, low, high, spec.name), modality
