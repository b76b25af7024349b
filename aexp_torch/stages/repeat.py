"""Repeat: sometimes a value stays for some steps."""

from typing import Literal

import torch
from torch import Tensor, from_numpy

from aexp_torch.env import Env
from aexp_torch.stages.augment import Augment, Keys, Leaf, by_row
from aexp_torch.stages.spells import Steps, end_spells, spells, steps_drawer

__all__ = ["Repeat"]


class Repeat(Augment):
    """Sometimes holds on to a value and shows it, instead of newer ones, for some further steps.

    In each lane on its own: where nothing is held, the value passes, and with probability `p` is held for the next `n`
    steps. An episode begins with nothing held. With `side="action"` and `n="geometric"` these are sticky actions: the
    environment gets the action before once more with probability `p`, at every step but the first.

    Observation: same specs.  Action: same spec; the source may receive an older value.

    Args:
      env: the environment below.
      p: probability, in [0, 1].
      n: further steps: an int; `"geometric"`, held on with probability `p` at each of them; or a function from a
        `numpy.random.Generator` and a count to that many integers of at least 1.
      keys: a glob over the names of leaves (`a/b` for nested ones), or a predicate of their `Modality`.
      side: which way values are held.

    >>> import aexp_torch as ae
    >>> env = ae.GymnasiumEnv("CartPole-v1").pipe(ae.Repeat, p=0.25, n="geometric", side="action")
    >>> env.reset().first().item()
    True

    Source: `Repeat` of the artificial-experience project; sticky actions of Machado et al. 2018, section 5.2.
    """

    def __init__(
        self,
        env: Env,
        p: float = 0.25,
        n: Steps = 1,
        keys: Keys = "*",
        side: Literal["observation", "action", "both"] = "observation",
    ):
        super().__init__(env, keys, side, p)
        self.n = n
        self.draw_steps = steps_drawer(n, p, "Repeat")

    def change(self, value: Tensor, leaf: Leaf, rows: Tensor | None) -> Tensor:
        """Shows what is held."""
        lasting, _ = spells(leaf, self.p, self.draw_steps, rows)
        held = leaf.memory.get("value")
        if held is not None:
            if lasting.any():
                value = torch.where(by_row(from_numpy(lasting), value), held, value)
            leaf.memory["value"] = value if rows is None else torch.where(by_row(rows, value), value, held)
        else:
            leaf.memory["value"] = value
        return value

    def begin(self, leaf: Leaf, lanes: Tensor) -> None:
        """Lets go."""
        end_spells(leaf, lanes)
