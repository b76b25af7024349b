"""Supervised data and reinforcement learning in one loader, with an exact state."""

from collections import Counter

import torch

import aexp_torch as ae


def answer(timestep: ae.TimeStep) -> None:
    """Pushes at random where an answer is due (its generator is not the point here)."""
    if timestep.source == "cartpole":
        timestep.reply((timestep.observation["observation"][:, 2] > 0).long())


def make_loader() -> ae.Loader:
    """Mixes two sources two to one; three copies of CartPole are under way at a time."""
    envs = {"cartpole": ae.GymnasiumEnv("CartPole-v1", num_envs=8), "digits": ae.digits(batch_size=64)}
    return ae.Loader(envs, weights={"cartpole": 2, "digits": 1}, in_flight=3, steps_per_epoch=60, seed=7)


def main() -> bool:
    """Stops in the middle of an epoch, goes on in a new loader, and returns whether nothing was lost or repeated."""
    loader = make_loader()
    steps = []
    for timestep in loader:
        answer(timestep)
        steps.append((timestep.source, timestep.ticket.slot, timestep.ticket.step))
        if len(steps) == 25:
            state = loader.state_dict()  # tensors and primitives: torch.save, torch.load(weights_only=True)
    print(len(loader), "steps:", dict(Counter(source for source, _, _ in steps)))

    resumed = make_loader()
    resumed.load_state_dict(state)
    rest = []
    for timestep in resumed:
        answer(timestep)
        rest.append((timestep.source, timestep.ticket.slot, timestep.ticket.step))
    print("the rest is the same:", rest == steps[25:])
    return rest == steps[25:] and isinstance(state, dict) and torch.is_tensor(timestep.reward)


if __name__ == "__main__":
    main()
