"""EnvPoolEnv: pools as EnvPool itself steps them."""

import gc
import os
import subprocess
import sys
import warnings

import envpool
import numpy as np
import pytest
import torch

import aexp_torch as ae
from aexp_torch.errors import SpecError
from aexp_torch.testing import check_env
from aexp_torch.testing.rollout import rollout, snapshot, streams_differ
from tests.loading.mixed import snapshots

CART = ("CartPole-v1", 3)
ENDS_AT = {"max_episode_steps": 9}


def bare(env: ae.EnvPoolEnv, **options):
    """Returns the pool that a source opens."""
    seeds = [int(env.seeds(lane).generate_state(1)[0]) % 2**31 for lane in range(env.num_envs)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pool = envpool.make_gymnasium(env.task_id, num_envs=env.num_envs, seed=seeds, **options)
        pool.single_observation_space  # noqa: B018 (its bounds warn once)
    return pool


def num_threads() -> int:
    return len(os.listdir("/proc/self/task"))


@pytest.mark.parametrize("task", ["CartPole-v1", "Pong-v5"])
def test_it_shows_what_the_pool_shows_and_its_final_observations(task):
    options = (
        {"max_episode_steps": 16}
        if task == "CartPole-v1"
        else {"max_episode_steps": 6, "img_height": 21, "img_width": 21}
    )
    env = ae.EnvPoolEnv(task, 3, **options)
    pool, generator = bare(env, **options), np.random.default_rng(0)
    expected, _ = pool.reset()
    timestep, before, ends = env.reset(), np.zeros(3, bool), [0, 0]
    assert np.array_equal(timestep.observation["observation"], expected) and timestep.first().all()
    for _ in range(60):
        action = generator.integers(0, 2, 3)
        expected, reward, terminated, truncated, _ = pool.step(action)
        timestep = env.step(torch.from_numpy(action))
        assert np.array_equal(timestep.observation["observation"], expected)
        assert np.array_equal(timestep.first(), before)
        assert timestep.reward.dtype == torch.float32 and np.array_equal(timestep.reward, reward)
        assert np.array_equal(timestep.terminated(), terminated) and np.array_equal(timestep.truncated(), truncated)
        before = terminated | truncated
        ends = [ends[0] + int(terminated.sum()), ends[1] + int(truncated.sum())]
    assert ends[1] > 1 and (ends[0] or task == "Pong-v5")


def test_final_observations_are_those_of_the_episode():
    env = ae.EnvPoolEnv(*CART)
    timestep, last = env.reset(), None
    while not timestep.terminated().any():
        last, timestep = timestep, env.step(torch.ones(3, dtype=torch.int64))
    lane = timestep.terminated().nonzero()[0, 0]
    place, speed, angle, spin = last.observation["observation"][lane].tolist()
    shown = timestep.observation["observation"][lane]
    assert shown[0] == pytest.approx(place + 0.02 * speed, abs=1e-6)
    assert shown[2] == pytest.approx(angle + 0.02 * spin, abs=1e-6)
    assert abs(shown[2]) > 0.2095


def test_nested_spaces_come_as_nested_tensors():
    env = ae.EnvPoolEnv("CartpoleBalance-v1", 2)
    timestep = env.reset()
    assert {key: list(value.shape) for key, value in timestep.observation.items()} == {
        "position": [2, 3],
        "velocity": [2, 2],
    }
    timestep = env.step(torch.zeros(2, 1, dtype=torch.float64))
    pool = bare(env)
    pool.reset()
    expected = pool.step(np.zeros((2, 1)))[0]
    assert all(np.array_equal(timestep.observation[key], expected[key]) for key in expected)


def test_bounds_that_are_none_are_taken_away():
    spec = ae.EnvPoolEnv("LunarLander-v3").specs["LunarLander-v3"].observation["observation"]
    assert not hasattr(spec, "minimum")  # EnvPool says 1.2e-38
    cart = ae.EnvPoolEnv("CartPole-v1").specs["CartPole-v1"].observation["observation"]
    assert cart.maximum[0] == pytest.approx(4.8) and np.isinf(cart.maximum[1])


def test_single_lanes_are_stepped_and_reset():
    env, other = (ae.EnvPoolEnv(*CART, **ENDS_AT) for _ in range(2))
    env.reset()
    other.reset()
    push, middle = torch.ones(3, dtype=torch.int64), torch.tensor([False, True, False])
    held = env.step(push, ~middle)
    assert held.step_type.tolist() == [1, 0, 1]
    moved = env.step(push, middle)
    expected = other.step(push)
    assert torch.equal(moved.observation["observation"], expected.observation["observation"])
    again = env.reset(middle)
    assert again.step_type.tolist() == [1, 0, 1]
    assert torch.equal(again.observation["observation"][[0, 2]], moved.observation["observation"][[0, 2]])
    assert not torch.equal(again.observation["observation"][1], moved.observation["observation"][1])
    check_env(lambda: ae.EnvPoolEnv(*CART), random=True, partial_ends=True)


def test_stages_that_hold_lanes_work_around_it():
    env = ae.EnvPoolEnv(*CART).pipe(ae.TimeLimit, max_episode_steps=4).pipe(ae.FrameSkip, skip=2)
    types = [timestep.step_type.tolist() for timestep in rollout(env, 6)]
    assert types == [[0] * 3, [1] * 3, [2] * 3, [0] * 3, [1] * 3, [2] * 3]


@pytest.mark.slow
def test_nothing_that_was_shown_changes_and_threads_end():
    gc.collect()
    before = num_threads()
    env = ae.EnvPoolEnv(*CART, num_threads=2)
    shown = rollout(env, 20)
    assert num_threads() > before
    kept = [snapshot(timestep) for timestep in shown]
    rollout(env, 200, shown[-1])
    env.close()
    gc.collect()
    assert num_threads() == before
    assert streams_differ(shown, kept) is None
    assert streams_differ(kept, rollout(ae.EnvPoolEnv(*CART, num_threads=1), 20)) is None


def test_a_worker_gives_the_same_stream():
    loaders = [
        ae.Loader(ae.EnvPoolEnv(*CART, **ENDS_AT), num_workers=count, in_flight=2, steps_per_epoch=60)
        for count in (0, 1)
    ]
    streams = [snapshots(loader) for loader in loaders]
    for loader in loaders:
        loader.close()
    assert streams_differ(*streams) is None


@pytest.mark.slow
def test_a_fork_of_an_open_pool_goes_on_and_ends():
    program = """
import os, sys, torch, aexp_torch as ae
env = ae.EnvPoolEnv("CartPole-v1", 2)
env.reset()
child = os.fork()
if not child:
    env.reset()
    env.step(torch.zeros(2, dtype=torch.int64))
    sys.exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
env.step(torch.zeros(2, dtype=torch.int64))
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: ae.EnvPoolEnv("Pong"), r"got 'Pong'\. Near it: \['Pong-v5'\]"),
        (lambda: ae.EnvPoolEnv("TicTacToe-v1"), "expected a task of one player, 'TicTacToe-v1' has 2 in a lane"),
        (
            lambda: ae.EnvPoolEnv("CartPole-v1", frame_skip=4),
            r"'CartPole-v1' among \['num_threads'.*got \['frame_skip'\]",
        ),
        (lambda: ae.EnvPoolEnv("CartPole-v1", batch_size=1), "got 'batch_size': a pool that returns whichever"),
        (lambda: ae.EnvPoolEnv("CartPole-v1", env_seed=[1]), "got 'env_seed': give seed="),
    ],
)
def test_what_cannot_be_made_is_refused(make, match):
    with pytest.raises(SpecError, match=match):
        make().reset()


def test_it_has_no_state_and_says_so():
    env = ae.EnvPoolEnv(*CART)
    env.reset()
    assert not env.resumable and not env.snapshots and env.max_episode_steps == 500
    with pytest.raises(SpecError, match="EnvPool keeps its environments in C\\+\\+ and gives no state"):
        env.state_dict()


@pytest.mark.parametrize(
    "make", [lambda **options: ae.EnvPoolEnv(*CART, **options), lambda **options: ae.AtariEnv("pong", 3, **options)]
)
def test_what_breaks_is_made_anew(make):
    env = make(on_broken="restart")
    push = torch.ones(3, dtype=torch.int64)
    env.reset()
    env.step(push)

    def breaks(*arguments):
        raise RuntimeError("the pool is empty")

    env._lanes._lanes.step = breaks
    with pytest.warns(UserWarning, match="the pool is empty"):
        types = [env.step(push).step_type.tolist() for _ in range(3)]
    assert types == [[2] * 3, [0] * 3, [1] * 3] and env.broken == {env.name: 1}
    with pytest.raises(SpecError, match="gives no state"):
        env.state_dict()


def test_a_live_pool():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pool = envpool.make_gymnasium("CartPole-v1", num_envs=4, seed=1)
        pool.single_observation_space  # noqa: B018 (it warns once)
    env = ae.to_source(pool, name="pool")
    assert [timestep.reward.shape for timestep in rollout(env, 3)] == [(4,)] * 3
