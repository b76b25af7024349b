"""Go back, then explore (Go-Explore): the same agent opens a lock with Teacher, and does not without."""

from pathlib import Path

import gymnasium
import numpy as np
import torch
from matplotlib.figure import Figure

import aexp_torch as ae


class Lock(gymnasium.Env):
    """Has `size` wheels; the right one of four actions opens the next, a wrong one ends the episode. The last pays 1."""

    def __init__(self, size: int = 20):
        self.size, self.right = size, np.random.default_rng(0).integers(4, size=size)
        self.observation_space, self.action_space = gymnasium.spaces.Discrete(size + 1), gymnasium.spaces.Discrete(4)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.wheel = 0
        return self.wheel, {}

    def step(self, action):
        opened = action == self.right[self.wheel]
        self.wheel += int(opened)
        return self.wheel, float(self.wheel == self.size), self.wheel == self.size or not opened, False, {}


class Novelty:
    """Is the score of a place: 1 where nobody has been before, else 0."""

    def __init__(self):
        self.seen: set[int] = set()

    def __call__(self, timestep: ae.TimeStep) -> torch.Tensor:
        cells = timestep.observation["observation"].tolist()
        new = [cell not in self.seen and cell not in cells[:lane] for lane, cell in enumerate(cells)]
        self.seen.update(cells)
        return torch.tensor(new).float()

    def state_dict(self) -> dict:
        return {"seen": sorted(self.seen)}

    def load_state_dict(self, state: dict) -> None:
        self.seen = set(state["seen"])


def learn(env: ae.Env, num_steps: int, seed: int, size: int) -> tuple[list[int], int]:
    """Learns Q-values on 8 lanes; returns the farthest wheel after each step, and how far the greedy policy comes."""
    values, farthest = np.zeros((size + 1, 4)), [0]
    generator = np.random.default_rng(seed)
    timestep = env.reset()
    for _ in range(num_steps):
        cell = timestep.observation["observation"].numpy()
        noise = generator.random((len(cell), 4))  # one step in ten is random; ties are drawn
        action = np.where(noise[:, 0] < 0.1, noise[:, 1] * 4 // 1, (values[cell] + 1e-6 * noise).argmax(1)).astype(int)
        before, timestep = timestep, env.step(torch.from_numpy(action))
        after = timestep.observation["observation"].numpy()
        target = timestep.reward.numpy() + 0.99 * timestep.discount.numpy() * values[after].max(1)
        for lane in np.flatnonzero(~before.last().numpy()):  # the action that answers LAST is ignored
            values[cell[lane], action[lane]] += 0.5 * (target[lane] - values[cell[lane], action[lane]])
        farthest.append(max(farthest[-1], int(after.max())))
    wheel = 0
    while wheel < size and values[wheel].argmax() == Lock(size).right[wheel]:
        wheel += 1
    return farthest, wheel


def main(num_steps: int = 1500, num_seeds: int = 5, size: int = 20, folder: str = "runs/teacher") -> dict:
    """Trains with and without Teacher, plots both, and returns how far each seed's greedy policy comes."""
    figure, result = Figure(figsize=(7, 4), dpi=120, layout="constrained"), {}
    ax = figure.subplots()
    for label, color in (("without", "#5b6570"), ("with Teacher", "#2f6db3")):
        curves, result[label] = [], []
        for seed in range(num_seeds):
            env: ae.Env = ae.GymnasiumEnv(Lock, num_envs=8, seed=seed, size=size)
            if label == "with Teacher":
                env = env.pipe(ae.Teacher, score=Novelty(), window=None, choose="proportional", p_revert=0.9)
            for found, value in zip((curves, result[label]), learn(env, num_steps, seed, size)):
                found.append(value)
        steps = 8 * np.arange(num_steps + 1)
        ax.fill_between(steps, np.min(curves, 0), np.max(curves, 0), color=color, alpha=0.2, linewidth=0)
        ax.plot(steps, np.median(curves, 0), color=color, label=f"{label}: median and range of {num_seeds} seeds")
    ax.axhline(size, color="#d9661f", linewidth=1, linestyle=":", label="all of them open")
    ax.set(xlabel="environment steps, all lanes", ylabel="farthest wheel opened", xlim=(0, 8 * num_steps))
    ax.set(yticks=range(0, size + 1, 5), title=f"A lock with {size} wheels: one reward, at the end")
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False, loc=(0.45, 0.55))
    Path(folder).mkdir(parents=True, exist_ok=True)
    figure.savefig(Path(folder) / "teacher.png")
    print("wheels opened by the greedy policy:", result)
    return result


if __name__ == "__main__":
    main()
