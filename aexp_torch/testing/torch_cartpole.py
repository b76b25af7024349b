"""TorchCartPole: the cart and the pole for thousands of lanes at once, in torch, on any device."""

from typing import Any, Literal

import torch
from torch import Tensor

__all__ = ["TorchCartPole"]

GRAVITY, CART_MASS, POLE_MASS, HALF_LENGTH, FORCE, SECONDS = 9.8, 1.0, 0.1, 0.5, 10.0, 0.02
MOST_ANGLE, MOST_PLACE = 12 * torch.pi / 180, 2.4  # radians, metres
TOTAL_MASS = CART_MASS + POLE_MASS


class TorchCartPole:
    """Is a `BatchedSimulator`: an example of one, and what `TorchEnv` is tested with.

    Observation: float32 [B, 4]: place, speed, angle, speed of the angle, in metres, radians and seconds.
    Action: int64 [B]: 0 pushes to the left, 1 to the right. The reward is 1.
    It terminates where the pole falls or the cart leaves the track, and truncates after `max_episode_steps`.

    Args:
      num_envs: number of lanes B.
      device: where everything is.
      autoreset_mode: whether a lane that has ended starts again in the same step or in the next.
      max_episode_steps: transitions until truncation.
      final_observation: tells the final observation of lanes that start again in the same step.

    Source: Barto, Sutton & Anderson 1983, with the constants of Gymnasium's CartPole-v1.
    """

    def __init__(
        self,
        num_envs: int,
        device: str = "cpu",
        autoreset_mode: Literal["same_step", "next_step"] = "same_step",
        max_episode_steps: int = 500,
        final_observation: bool = True,
    ):
        from gymnasium import spaces

        self.num_envs, self.device = num_envs, torch.device(device)
        self.metadata = {"autoreset_mode": autoreset_mode}
        self.max_episode_steps, self.final_observation = max_episode_steps, final_observation
        self.single_observation_space = spaces.Box(-float("inf"), float("inf"), (4,))
        self.single_action_space = spaces.Discrete(2)
        self._generator = torch.Generator(self.device)

    def reset(self, *, seed: int | None = None) -> tuple[Tensor, dict]:
        """Stands the poles up, almost."""
        if seed is not None:
            self._generator.manual_seed(seed)
        self._state = self._draw()
        self._age = torch.zeros(self.num_envs, dtype=torch.int64, device=self.device)
        self._ended = torch.zeros(self.num_envs, dtype=torch.bool, device=self.device)
        return self._state, {}

    def step(self, action: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, dict[str, Any]]:
        """Pushes the carts."""
        state, fresh = self._pushed(action), self._draw()
        age = self._age + 1
        terminated = (state[:, 0].abs() > MOST_PLACE) | (state[:, 2].abs() > MOST_ANGLE)
        truncated = (age >= self.max_episode_steps) & ~terminated
        if self.metadata["autoreset_mode"] == "next_step":
            restarted, goes_on = self._ended, ~self._ended
            terminated, truncated = terminated & goes_on, truncated & goes_on
            self._ended = terminated | truncated
        else:
            restarted = terminated | truncated
        self._state = torch.where(restarted[:, None], fresh, state)
        self._age = torch.where(restarted, 0, age)
        extras = {"final_observation": state} if self.final_observation else {}
        return self._state, torch.ones_like(state[:, 0]), terminated, truncated, extras

    def _draw(self) -> Tensor:
        noise = torch.rand((self.num_envs, 4), generator=self._generator, device=self.device)
        return noise * 0.1 - 0.05

    def _pushed(self, action: Tensor) -> Tensor:
        place, speed, angle, spin = self._state.unbind(1)
        force = FORCE * (2 * action - 1)
        cosine, sine = angle.cos(), angle.sin()
        pull = (force + POLE_MASS * HALF_LENGTH * spin**2 * sine) / TOTAL_MASS
        turn = (GRAVITY * sine - cosine * pull) / (HALF_LENGTH * (4 / 3 - POLE_MASS * cosine**2 / TOTAL_MASS))
        gain = pull - POLE_MASS * HALF_LENGTH * turn * cosine / TOTAL_MASS
        change = torch.stack([speed, gain, spin, turn], 1)  # [B, 4]
        return self._state + SECONDS * change

    def state_dict(self) -> dict:
        """Returns all that changes."""
        state = {"state": self._state, "age": self._age, "ended": self._ended}
        return state | {"generator": self._generator.get_state()}

    def load_state_dict(self, state: dict) -> None:
        """Goes on from `state_dict`."""
        self._state, self._age, self._ended = (state[key].to(self.device) for key in ("state", "age", "ended"))
        self._generator.set_state(state["generator"].cpu())
