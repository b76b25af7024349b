"""FrameStack: the last values together."""

from typing import Literal

import numpy as np
import torch
from dm_env import specs
from torch import Tensor

from aexp_torch.env import Env
from aexp_torch.errors import SpecError
from aexp_torch.specs import Modality
from aexp_torch.stages.augment import Augment, Keys, Leaf, by_row
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
        newest = value[:, None]
        before = leaf.memory.get("stack")
        starts = leaf.memory.get("starts")  # lanes that have seen nothing of their episode yet; None for all
        if before is None:
            stack = self._padded(newest)
        else:
            stack = torch.cat([before[:, 1:], newest], 1)
            if starts is None or starts.any():
                padded = self._padded(newest)
                stack = padded if starts is None else torch.where(by_row(starts, stack), padded, stack)
        if rows is None:
            leaf.memory["starts"] = torch.zeros(leaf.num_envs, dtype=torch.bool)
        else:
            stack = torch.where(by_row(rows, stack), stack, 0 if before is None else before)
            leaf.memory["starts"] = ~rows if starts is None else starts & ~rows
        leaf.memory["stack"] = stack
        return stack

    def begin(self, leaf: Leaf, lanes: Tensor) -> None:
        """Starts a new stack."""
        if "starts" in leaf.memory:
            leaf.memory["starts"] = leaf.memory["starts"] | lanes

    def _padded(self, newest: Tensor) -> Tensor:
        if self.padding_type == "reset":
            return newest.repeat_interleave(self.stack_size, 1)
        return torch.cat([newest.new_zeros(len(newest), self.stack_size - 1, *newest.shape[2:]), newest], 1)

    def augment_spec(self, spec: specs.Array, modality: Modality) -> tuple[specs.Array, Modality]:
        """Adds the axis."""
        shape = (self.stack_size, *spec.shape)
        if modality.structure != "grid":
            modality = Modality("sequence", modality.representation, modality.context)
        if not isinstance(spec, specs.BoundedArray):
            return specs.Array(shape, spec.dtype, spec.name), modality
        if self.padding_type == "zero":
            spec = widened(spec, 0)
        low, high = (np.broadcast_to(bound, spec.shape) for bound in (spec.minimum, spec.maximum))
        low, high = (np.broadcast_to(bound, shape) for bound in (low, high))
        return specs.BoundedArray(shape, spec.dtype, low, high, spec.name), modality
