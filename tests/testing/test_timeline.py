"""A timeline shows what the sources did and what the agent saw, at the right places."""

import torch

import aexp_torch as ae
from aexp_torch.testing import CountingEnv, timeline


def test_steps_that_nobody_sees_have_places_of_their_own():
    env = CountingEnv(1, [4]).pipe(ae.StaticTimescaled, ratio=0.5)
    assert timeline(env, [1, 2, 3], num_steps=4) == (
        "before and after  sees observation float32 []; answers action int64 [] 0..4\n"
        "\n"
        "environment          F────M────M────M────L    F\n"
        "  gets                    1    1    2    2\n"
        "  shows observation  0    1    2    3    4    5\n"
        "  reward             0    1    1    2    2    0\n"
        "agent                F─────────M─────────L    F\n"
        "  sees observation   0         2         4    5\n"
        "  reward             0         2         4    0\n"
        "  answers            1         2         --   1"
    )


def test_lanes_and_absent_keys():
    env = ae.SynEnv({"a": CountingEnv(1, [2]), "b": CountingEnv(1, [2], nested=True)}, batch_size=2)
    answers = [{"next_environments": [-1, -1], "action": [1, 2]}, {"next_environments": [1, -1]}, {}]
    assert timeline(env, answers, num_steps=3, environment=False, specs=False, keys="[!a]*") == (
        "agent, lane 0                F────M────L\n"
        "  sees observation           0    1    2\n"
        "  sees count                 ·    ·    ·\n"
        "  sees where/lane            ·    ·    ·\n"
        "  sees where/age             ·    ·    ·\n"
        "  sees current_environments  0    0    0\n"
        "  reward                     0    1    0\n"
        "  answers action             1    0    --\n"
        "  answers next_environments  -1   1    --\n"
        "agent, lane 1                F────M────L\n"
        "  sees observation           ·    ·    ·\n"
        "  sees count                 0    1    2\n"
        "  sees where/lane            0    0    0\n"
        "  sees where/age             0    1    2\n"
        "  sees current_environments  1    1    1\n"
        "  reward                     0    2    0\n"
        "  answers action             2    0    --\n"
        "  answers next_environments  -1   -1   --"
    )


def test_the_environment_itself_stays_where_it_is():
    env = CountingEnv(1)
    timestep = env.reset()
    timeline(env, [1])
    assert env._outstanding is timestep and env.received == [None]
    timestep.reply(torch.tensor([1]))


def test_a_stream_that_ends():
    data = {"x": torch.tensor([[1, 2], [3, 4]]), "y": torch.tensor([True, False])}
    env = ae.DatasetEnv(data, batch_size=1, epochs=1, name="data")
    assert timeline(env) == (
        "specs  sees x int64 [2], y bool []; answers nothing\n"
        "\n"
        "agent     F──────Lt\n"
        "  sees x  [1 2]  [3 4]\n"
        "  sees y  1      0\n"
        "  reward  0      0"
    )
