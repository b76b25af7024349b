"""An environment is a stream: iterate it, answer every timestep, put stages in between."""

import torch

import aexp_torch as ae


def main(num_steps: int = 1100) -> float:
    """Pushes the cart towards the side to which the pole falls, and returns the mean length of the finished episodes."""
    env = ae.GymnasiumEnv("CartPole-v1", num_envs=4).pipe(ae.ObserveReward).pipe(ae.Noisy, std=0.01, keys="observation")
    print("the agent sees", env.observation_spec())
    print("and answers   ", env.action_spec())

    lengths, length = [], torch.zeros(4)
    for step, timestep in enumerate(env):
        pole_angle, pole_speed = timestep.observation["observation"][:, 2:].unbind(1)
        timestep.reply((pole_angle + pole_speed > 0).long())  # the answer travels back to where the timestep came from

        length = torch.where(timestep.first(), 0.0, length + 1)
        lengths += length[timestep.last()].tolist()
        if step == num_steps:
            break
    env.close()
    mean_length = sum(lengths) / len(lengths)
    print(f"{len(lengths)} episodes, mean length {mean_length:.1f}")
    return mean_length


if __name__ == "__main__":
    main()
