"""Small sources of four kinds, with random options, for random pipelines."""

from collections.abc import Callable

import numpy as np
import torch

from aexp_torch.env import Env
from aexp_torch.sources import DatasetEnv, GymnasiumEnv, Imaginary
from aexp_torch.testing.counting import CountingEnv
from aexp_torch.testing.dice import Dice
from aexp_torch.testing.fake_gym import FakeGymEnv

__all__ = ["SOURCES"]

NUM_SAMPLES = 30  # enough for some minibatches in every slot
WORDS = ("", "a", "bé", "ccc", "dd d", "12 €")


def reinforcement_learning(dice: Dice, num_envs: int) -> Env:
    """Draws a Gymnasium environment, with lane control or without, or an imagined one."""
    if dice.chance(0.2):
        start = {"observation": torch.arange(4.0)}
        return Imaginary(counted_on, start, dice.number(1, 6), specs=CountingEnv(num_envs).specs, name="imagined")
    env_id = dice("CartPole-v1", "Pendulum-v1", "FrozenLake-v1")
    limit = dice({}, {"max_episode_steps": dice.number(2, 6)})
    return GymnasiumEnv(env_id, num_envs, dice("auto", "sync"), **limit)


def counted_on(observation: dict, action: dict) -> dict:
    """Predicts what CountingEnv shows next; the discount ends some episodes."""
    count = observation["observation"] + 1
    discount = (count % 4 != 3).float()
    return {"predict:observation": count, "predict:reward": action["action"].float(), "predict:discount": discount}


def dataset(dice: Dice, num_envs: int) -> Env:
    """Draws vectors, images or nested dicts, with classes to predict."""
    rows = torch.arange(NUM_SAMPLES)
    vectors = rows[:, None] / torch.tensor([1.0, 7.0])
    images = (rows.view(-1, 1, 1, 1) * 8 + torch.arange(4 * 6 * 3).view(4, 6, 3)).to(torch.uint8)
    x = dice(vectors, images, images, {"left": vectors, "right": {"age": rows, "old": rows > 9}})
    return labelled(dice, {"x": x, "y": rows % 3}, num_envs, name="samples")


def mixed_keys(dice: Dice, num_envs: int) -> Env:
    """Draws a source with nested keys, keys of every dtype, and keys that some lanes lack."""
    if dice.chance(0.3):
        ending = dice("terminated", "truncated", "both")
        return GymnasiumEnv(FakeGymEnv, num_envs, length=dice.number(1, 4), ending=ending)
    return CountingEnv(
        num_envs,
        [dice.number(1, 6) for _ in range(num_envs)],
        stream_length=dice(None, None, None, dice.number(5, 9)),
        num_actions=dice(5, 5, 5, 0),
        nested=dice(True, False),
        random=dice(True, False),
        optional=dice(True, False),
    )


def text(dice: Dice, num_envs: int) -> Env:
    """Draws sentences with their classes."""
    words = np.array([WORDS[row % len(WORDS)] for row in range(NUM_SAMPLES)])
    return labelled(
        dice, {dice("x", "text:sentence"): words, "y": torch.arange(NUM_SAMPLES) % 4}, num_envs, name="text"
    )


def labelled(dice: Dice, data: dict, num_envs: int, name: str) -> Env:
    """Draws how a dataset with the target `y` is shown."""
    mode = dice("joint", "delayed", "split")
    loss = None if mode == "joint" else dice(None, "mse", "correct", "cross_entropy")
    epochs = dice(None, 1, 2)
    endings = ["auto", None] if mode == "joint" else ["auto", None, "batch"]
    return DatasetEnv(
        data,
        batch_size=num_envs,
        epochs=epochs,
        mode=mode,
        loss=loss,
        episode=dice(*endings),
        shuffle=dice(True, False),
        drop_last=dice(True, False),
        name=name,
    )


SOURCES: dict[str, Callable[[Dice, int], Env]] = {
    "reinforcement learning": reinforcement_learning,
    "dataset": dataset,
    "mixed keys": mixed_keys,
    "text": text,
}
