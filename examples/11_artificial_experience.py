"""ArtificialExperience: everything that can be opened here, one thing at a time, for life; filters change on the way."""

from collections import Counter
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

import aexp_torch as ae
from aexp_torch.specs.sample import sample_action


class RandomAgent:
    """Answers each environment at random."""

    def __init__(self, env: ae.Env):
        self.env, self.generator = env, np.random.default_rng(0)

    def forward(self, timestep: ae.TimeStep) -> dict:
        spec = self.env.specs[timestep.source]
        return sample_action(spec.action, spec.num_envs, self.generator)


def live(env: ae.AEEnv, agent: RandomAgent, steps: int) -> tuple[list[str], Counter]:
    """Runs the loop that the project began with, and returns the source of each timestep and the rewards."""
    sources, rewards = [], Counter()
    timestep = env.reset()
    for _ in range(steps):
        sources.append(timestep.source)
        rewards[timestep.source] += timestep.reward.mean().item()
        action = agent.forward(timestep)
        timestep = env.step(action)
    return sources, rewards


def draw(sources: list[str], switch: int, path: Path) -> None:
    """Draws which environment had its turn when."""
    names = list(dict.fromkeys(sources))
    figure = Figure(figsize=(9, 1 + 0.22 * len(names)), layout="constrained")
    axes = figure.add_subplot()
    axes.scatter(range(len(sources)), [names.index(source) for source in sources], s=3, marker="|")
    axes.axvline(switch, color="black", linewidth=0.8, linestyle="--")
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel="timestep", title="Whose turn it is; behind the line, tables take no part any more")
    axes.invert_yaxis()
    figure.savefig(path, dpi=120)


def main(steps: int = 3000, folder: str = "runs/artificial_experience") -> dict[str, int]:
    """Returns how many timesteps each environment has shown."""
    env = ae.ArtificialExperience(exclude=[lambda thing: getattr(thing, "entry", thing).extra], steps=20)
    console = Console()
    console.print(env.summary())
    agent = RandomAgent(env)
    sources, rewards = live(env, agent, steps // 2)
    env.exclude = [*env.exclude, ae.domains.tabular]
    more, more_rewards = live(env, agent, steps // 2)
    sources, rewards = sources + more, rewards + more_rewards

    table = Table("environment", "tags", "visits", "timesteps", "mean reward")
    members = {member.name: member for member in env.environments}
    for name, count in Counter(sources).most_common():
        tags = ", ".join(tag for tag in members[name].tags if ":" not in tag)
        table.add_row(name, tags, str(env.visits[name]), str(count), f"{rewards[name] / count:.3f}")
    console.print(table)
    Path(folder).mkdir(parents=True, exist_ok=True)
    draw(sources, steps // 2, Path(folder) / "visits.png")
    torch.save(env.state_dict(), Path(folder) / "experience.pt")  # to go on from here another day
    env.close()
    return dict(Counter(sources))


if __name__ == "__main__":
    main()
