"""Minari datasets: out, and in again, with the real package and nothing but this machine."""

import builtins

import gymnasium
import numpy as np
import pytest
import torch

import aexp_torch as ae
from aexp_torch.testing import CountingEnv, FakeGymEnv

minari = pytest.importorskip("minari")
pytest.importorskip("h5py")

from minari.data_collector import EpisodeBuffer  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:.*(is set to None|env_spec is None|not been set):UserWarning")


@pytest.fixture(autouse=True)
def on_this_machine(tmp_path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))


def recorded(env: ae.Env, num_steps: int, path) -> list[ae.TimeStep]:
    env = env.pipe(ae.ReplayBuffer, path=path)
    env.on_missing = "sample"
    timesteps = [timestep for _, timestep in zip(range(num_steps), env)]
    env.close()
    return timesteps


def transitions(buffer: ae.ReplayBuffer) -> set[tuple]:
    """Returns what is stored, bit for bit."""
    buffer.open()
    table = buffer.replay.of(None)[0]
    batch = buffer.sample(4000)
    assert len(batch.rows.unique()) == table.links.count
    leaves = [leaf for tree in (batch.observation, batch.action, batch.next_observation) for _, leaf in flat(tree)]
    fields = [*leaves, batch.reward, batch.discount]
    return {tuple(field[row].numpy().tobytes() for field in fields) for row in range(4000)}


def flat(tree: dict) -> list:
    return list(ae.specs.flatten(tree))


@pytest.mark.parametrize("make", [lambda: ae.GymnasiumEnv("CartPole-v1", 3), lambda: ae.GymnasiumEnv(FakeGymEnv, 2)])
def test_a_round_trip_keeps_every_transition(make, tmp_path):
    env = make()
    recorded(env, 60, tmp_path / "out")
    buffer = ae.ReplayBuffer(path=tmp_path / "out")
    dataset = ae.export_minari(buffer, "test/round-v0", author="somebody")
    loaded = minari.load_dataset("test/round-v0")
    assert loaded.total_steps == dataset.total_steps == buffer.replay.of(None)[0].links.count
    other = ae.import_minari("test/round-v0", tmp_path / "in")
    assert transitions(other) == transitions(buffer)
    (name,) = other.specs
    assert name == "test/round-v0"
    shown = other.reset()
    assert shown.first().all() and len(shown.step_type) == 1


def test_episodes_keep_how_they_ended(tmp_path):
    timesteps = recorded(CountingEnv(2, (3, 4)), 6, tmp_path / "out")
    ae.export_minari(ae.ReplayBuffer(path=tmp_path / "out"), "test/ends-v0")
    loaded = minari.load_dataset("test/ends-v0")
    episodes = list(loaded.iterate_episodes())
    assert [len(episode) for episode in episodes] == [3, 4, 1]  # the last one was cut off
    assert [episode.terminations[-1] for episode in episodes] == [True, False, False]
    assert [episode.truncations[-1] for episode in episodes] == [False, True, True]
    assert episodes[0].observations.tolist() == [0, 1, 2, 3]
    assert episodes[0].rewards.tolist() == [float(timestep.reward[0]) for timestep in timesteps[1:4]]
    assert episodes[0].actions.tolist() == episodes[0].rewards.tolist()  # CountingEnv pays the action
    shown = ae.import_minari(loaded, tmp_path / "in")
    shown.on_missing = "sample"
    kinds = [int(timestep.step_type[0]) for timestep, _ in zip(shown, range(11))]
    assert kinds == [0, 1, 1, 2, 0, 1, 1, 1, 2, 0, 2]


def test_images_are_exact(tmp_path):
    class Noise(gymnasium.Env):
        observation_space = gymnasium.spaces.Box(0, 255, (16, 16, 3), np.uint8)
        action_space = gymnasium.spaces.Discrete(2)

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            return self._image(), {}

        def step(self, action):
            return self._image(), 1.0, False, bool(self.np_random.random() < 0.2), {}

        def _image(self):
            return self.np_random.integers(0, 255, (16, 16, 3), np.uint8)

    recorded(ae.GymnasiumEnv(Noise), 30, tmp_path / "out")
    buffer = ae.ReplayBuffer(path=tmp_path / "out")
    dataset = ae.export_minari(buffer, "test/noise-v0")
    assert dataset.observation_space == Noise.observation_space
    assert transitions(ae.import_minari(dataset, tmp_path / "in")) == transitions(buffer)


def test_datasets_made_by_others_come_in(tmp_path):
    space = gymnasium.spaces.Tuple([gymnasium.spaces.Box(-1, 1, (2,), np.float64), gymnasium.spaces.Text(4)])
    episode = EpisodeBuffer(
        observations=([np.array([0.5, number / 4]) for number in range(3)], ["a", "bc", ""]),
        actions=[np.array([0.25], np.float32), np.array([-0.25], np.float32)],
        rewards=[1.5, 2.5],
        terminations=[False, False],
        truncations=[False, True],
    )
    dataset = minari.create_dataset_from_buffers(
        "test/tuple-v0",
        [episode, episode],
        observation_space=space,
        action_space=gymnasium.spaces.Box(-1, 1, (1,), np.float32),
    )
    buffer = ae.import_minari(dataset, tmp_path / "in", source="tuple")
    assert buffer.num_timesteps == {"tuple": 6}
    timesteps = [buffer.reset(), *(buffer.step(torch.zeros(1, 1)) for _ in range(2))]
    assert [timestep.observation["0"].tolist() for timestep in timesteps] == [[[0.5, 0.0]], [[0.5, 0.25]], [[0.5, 0.5]]]
    assert bytes(timesteps[1].observation["1"][0].tolist()) == b"bc\0\0"
    assert [float(timestep.reward) for timestep in timesteps] == [0, 1.5, 2.5] and timesteps[2].truncated().all()
    assert timesteps[1].observation["action:recorded"].tolist() == [[-0.25]]
    assert buffer.specs["tuple"].action["action"].minimum == -1


def test_what_minari_does_not_know_is_refused(tmp_path, monkeypatch: pytest.MonkeyPatch):
    data = {"x": torch.arange(14.0).view(7, 2), "y": torch.arange(7)}
    recorded(ae.DatasetEnv(data, batch_size=3, mode="delayed", epochs=1), 4, tmp_path)
    with pytest.raises(ae.SpecError, match="some lack one"):
        ae.export_minari(ae.ReplayBuffer(path=tmp_path), "test/x-v0")
    real = builtins.__import__

    def without_minari(name, *arguments, **options):
        if name == "minari":
            raise ImportError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without_minari)
    with pytest.raises(ae.MissingDependencyError, match="aexp-torch\\[minari\\]"):
        ae.import_minari("test/x-v0", tmp_path / "in")
