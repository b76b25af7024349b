"""Your own source and your own stage, checked by the shipped conformance suite."""

import numpy as np
import torch
from dm_env import specs

import aexp_torch as ae
from aexp_torch.testing import check_env


class RandomWalk(ae.Env):
    """Walks left or right on a line from 0 to `size`; the ends end the episode, the right one with reward 1.

    Observation: `place`, int64 [B] in 0..size.  Action: `action`, 0 left, 1 right.
    """

    def __init__(self, size: int = 8, num_envs: int = 4, name: str | None = None):
        super().__init__(name)
        self.size, self.num_envs = size, num_envs

    def make_specs(self) -> dict[str, ae.EnvSpec]:
        place = specs.DiscreteArray(self.size + 1, np.int64, "place")
        action = specs.DiscreteArray(2, np.int64, "action")
        return {self.name: ae.EnvSpec({"place": place}, {"action": action}, num_envs=self.num_envs)}

    def on_open(self) -> None:  # what changes while it runs is set here, and gone again after close()
        self._place = torch.full((self.num_envs,), self.size // 2)
        self._over = torch.zeros(self.num_envs, dtype=torch.bool)

    def reset(self, lanes=None) -> ae.TimeStep:
        self.on_open()
        return ae.restart({"place": self._place}, self.num_envs)

    def step(self, action, lanes=None) -> ae.TimeStep:
        started = self._over  # next-step autoreset: these lanes begin anew, their action is ignored
        moved = self._place + 2 * action["action"] - 1
        self._place = torch.where(started, self.size // 2, moved)
        self._over = ((self._place == 0) | (self._place == self.size)) & ~started
        step_type = torch.where(started, ae.StepType.FIRST, torch.where(self._over, ae.StepType.LAST, ae.StepType.MID))
        reward = (self._over & (self._place == self.size)).float()
        return ae.TimeStep(step_type.to(torch.int8), reward, (~self._over).float(), {"place": self._place})

    def state_dict(self) -> dict:
        return super().state_dict() | {"place": self._place, "over": self._over}

    def load_state_dict(self, state: dict) -> None:
        super().load_state_dict(state)
        self._place, self._over = state["place"], state["over"]


class StickyAction(ae.Stage):
    """Repeats the previous action with probability `p`, per lane; never right after FIRST (Machado et al. 2018).

    Observation: unchanged.  Action: same spec; the source may receive an older value.
    """

    def __init__(self, env: ae.Env, p: float = 0.25):
        super().__init__(env)
        self.p = p

    def on_open(self) -> None:
        self._generator, self._before = torch.Generator().manual_seed(self.seed), {}

    def on_action(self, action: dict, timestep: ae.TimeStep) -> dict:
        before = self._before.get(timestep.source, action["action"])
        stick = (torch.rand(len(before), generator=self._generator) < self.p) & timestep.mid()
        self._before[timestep.source] = sent = torch.where(stick, before, action["action"])
        return {"action": sent}

    def state_dict(self) -> dict:
        return super().state_dict() | {"generator": self._generator.get_state(), "before": dict(self._before)}

    def load_state_dict(self, state: dict) -> None:
        super().load_state_dict(state)
        self._generator.set_state(state["generator"])
        self._before = dict(state["before"])


def main() -> None:
    """Checks both as anyone would check theirs, and walks a little."""
    check_env(RandomWalk)
    check_env(lambda: RandomWalk(num_envs=2).pipe(StickyAction, p=0.5))
    walk = RandomWalk(num_envs=6).pipe(StickyAction)
    result = ae.evaluate(lambda timestep: torch.ones(6, dtype=torch.int64), walk, episodes=12)
    print("always right:", result["RandomWalk"])


if __name__ == "__main__":
    main()
