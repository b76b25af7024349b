"""AtariEnv: ALE's own vector environment, as ALE itself steps it."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from ale_py.vector_env import AtariVectorEnv

import aexp_torch as ae
from aexp_torch.errors import SpecError
from aexp_torch.testing.rollout import rollout, snapshot, streams_differ
from tests.loading.mixed import snapshots

SHORT = {"img_height": 21, "img_width": 28, "noop_max": 3}


def random_actions(steps: int, lanes: int, count: int) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [generator.integers(0, count, lanes) for _ in range(steps)]


def test_it_shows_what_ale_shows_and_its_final_observations():
    env = ae.AtariEnv("breakout", 3, episodic_life=True, **SHORT)
    bare = AtariVectorEnv("breakout", 3, episodic_life=True, reward_clipping=False, **SHORT)
    seeds = np.array([int(env.seeds(lane).generate_state(1)[0]) % 2**31 for lane in range(3)])
    expected, _ = bare.reset(seed=seeds)
    timestep, before, ends = env.reset(), np.zeros(3, bool), 0
    assert np.array_equal(timestep.observation["observation"], expected) and timestep.first().all()
    for action in random_actions(150, 3, 4):
        expected, reward, terminated, truncated, _ = bare.step(action)
        timestep = env.step(torch.from_numpy(action))
        assert np.array_equal(timestep.observation["observation"], expected)
        assert np.array_equal(timestep.first(), before)
        assert timestep.reward.dtype == torch.float32 and np.array_equal(timestep.reward, reward)
        assert np.array_equal(timestep.terminated(), terminated) and np.array_equal(timestep.truncated(), truncated)
        ended = terminated | truncated
        before, ends = ended, ends + int(ended.sum())
    assert ends > 2


def test_a_time_limit_truncates_and_the_next_timestep_is_first():
    env = ae.AtariEnv("pong", 2, max_num_frames_per_episode=20, **SHORT)
    timesteps = rollout(env, 8)
    assert [timestep.step_type.tolist() for timestep in timesteps[4:8]] == [[1, 1], [2, 2], [0, 0], [1, 1]]
    assert timesteps[5].truncated().all() and (timesteps[6].reward == 0).all()


def test_each_lane_has_a_seed_and_nothing_that_was_shown_changes():
    env = ae.AtariEnv("pong", 2, repeat_action_probability=0.25, **SHORT)
    shown = rollout(env, 30)
    kept = [snapshot(timestep) for timestep in shown]
    rollout(env, 100, shown[-1])
    env.close()
    assert streams_differ(shown, kept) is None
    assert streams_differ(shown, rollout(ae.AtariEnv("pong", 2, repeat_action_probability=0.25, **SHORT), 30)) is None
    one, two = shown[20].observation["observation"]
    assert not torch.equal(one, two)


def test_options_shape_what_is_shown():
    env = ae.AtariEnv("pong", grayscale=False, stack_num=2, full_action_space=True)
    spec = env.specs["pong"]
    assert spec.observation["observation"].shape == (2, 84, 84, 3) and spec.action["action"].num_values == 18
    continuous = ae.AtariEnv("pong", 2, continuous=True, name="paddles")
    assert continuous.specs["paddles"].action["action"].shape == (3,)
    assert continuous.reset().source == "paddles" and len(rollout(continuous, 3)) == 3


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: ae.AtariEnv("MsPacman"), r"got 'MsPacman'\. Near it: \['ms_pacman'"),
        (lambda: ae.AtariEnv("ALE/Pong-v5"), r"Near it: \['pong'.*GymnasiumEnv takes ids"),
        (lambda: ae.AtariEnv("pong", frame_skip=4), r"expected options among .*'frameskip'.*got \['frame_skip'\]"),
        (lambda: ae.AtariEnv("pong", batch_size=1), r"got \['batch_size'\]"),
        (lambda: ae.AtariEnv("pong", 0), "expected num_envs of at least 1, got 0"),
    ],
)
def test_what_cannot_be_made_is_refused(make, match):
    with pytest.raises(SpecError, match=match):
        make().reset()


def test_it_has_no_state_and_says_what_has():
    for env in (ae.AtariEnv("pong", 2), ae.GymnasiumEnv("ALE/Pong-v5", 2)):
        env.reset()
        assert not env.resumable and not env.lane_control
        with pytest.raises(
            SpecError, match="gives no state of them.*vectorization='sync', repeat_action_probability=0"
        ):
            env.state_dict()
        with pytest.raises(SpecError, match="expected lane control"):
            env.step(torch.zeros(2, dtype=torch.int64), torch.tensor([True, False]))
    with pytest.raises(SpecError):
        ae.AtariEnv("pong").pipe(ae.Teacher)


def test_gymnasium_ids_run_in_ales_own_form_with_any_seed():
    small = {"img_height": 21, "img_width": 28}
    seeds = (seed for seed in range(99) if min(ae.GymnasiumEnv("ALE/Pong-v5", 2, seed=seed).lane_seeds()) >= 2**31)
    options = {"num_envs": 2, "seed": next(seeds), **small}
    own = {"reward_clipping": True, "repeat_action_probability": 0.25}  # as the id is registered
    env, other = ae.GymnasiumEnv("ALE/Pong-v5", **options), ae.AtariEnv("pong", name="ALE/Pong-v5", **own, **options)
    assert streams_differ(rollout(env, 20), rollout(other, 20)) is None


def test_ids_need_no_import():
    program = """
import sys, aexp_torch as ae
assert "ale_py" not in sys.modules
for name in ("ALE/Pong-v5", "Pong-v4", "MiniGrid-Empty-5x5-v0"):
    assert ae.GymnasiumEnv(name).name == name
try:
    ae.GymnasiumEnv("ALE/Pogn-v5")
except ae.SpecError as error:
    assert "'ALE/Pogn-v5'" in str(error) and "package:Name" in str(error), error
else:
    raise AssertionError
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_a_live_vector_environment():
    env = ae.to_source(AtariVectorEnv("pong", 3, **SHORT))
    timestep = env.reset()
    assert timestep.step_type.shape == (3,) and env.specs[timestep.source].num_envs == 3
    with pytest.raises(SpecError, match="expected num_envs=3 with a live environment, got 2"):
        ae.GymnasiumEnv(AtariVectorEnv("pong", 3), 2)


def test_a_worker_gives_the_same_stream():
    loaders = [
        ae.Loader(ae.AtariEnv("pong", 2, **SHORT), num_workers=count, in_flight=2, steps_per_epoch=40)
        for count in (0, 1)
    ]
    streams = [snapshots(loader) for loader in loaders]
    for loader in loaders:
        loader.close()
    assert streams_differ(*streams) is None
