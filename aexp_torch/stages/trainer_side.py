"""TrainerSide: a border in a pipeline, between what a worker runs and what the trainer's process runs."""

from aexp_torch.env import Stage

__all__ = ["TrainerSide"]


class TrainerSide(Stage):
    """Has the stages around it run in the trainer's process, where a Loader has workers; what is below runs there.

    For a stage that needs the trainer's GPU, a model that is being trained, or a window to draw in. Where there are no
    workers it changes nothing. Stages on the trainer's side may use `on_timestep`, `on_action` and `on_spec`.

    Observation: unchanged.  Action: unchanged.

    Args:
      env: the environment below.

    >>> import aexp_torch as ae
    >>> env = ae.GymnasiumEnv("CartPole-v1", num_envs=2).pipe(ae.Noisy, std=0.1)  # in a worker
    >>> env = env.pipe(ae.TrainerSide).pipe(ae.ObserveReward)  # in the trainer's process
    >>> sorted(env.reset().observation)
    ['observation', 'reward']
    """
