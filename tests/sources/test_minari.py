"""Minari datasets as the stream that was recorded, with the real package and nothing but this machine."""

import pickle

import gymnasium
import numpy as np
import pytest
import torch

import aexp_torch as ae
from aexp_torch.testing import check_env
from tests.sources.resuming import saved, values

minari = pytest.importorskip("minari")
pytest.importorskip("h5py")

from minari.data_collector import EpisodeBuffer  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:.*(is set to None|env_spec is None|not been set):UserWarning")

LENGTHS = [3, 5, 1, 4]


@pytest.fixture(autouse=True)
def on_this_machine(tmp_path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))


def make_dataset(name: str = "test/steps-v0"):
    """Observations are 100 * episode + step, actions their halves, rewards the steps."""
    episodes = []
    for number, length in enumerate(LENGTHS):
        ends = [False] * (length - 1) + [True]
        episodes.append(
            EpisodeBuffer(
                observations=np.arange(length + 1, dtype=np.float32)[:, None] + 100 * number,
                actions=(np.arange(length, dtype=np.float32)[:, None] + 100 * number) / 2,
                rewards=[1.0 + step for step in range(length)],
                terminations=ends if number % 2 else [False] * length,
                truncations=[False] * length if number % 2 else ends,
            )
        )
    box = gymnasium.spaces.Box(-1000, 1000, (1,), np.float32)
    return minari.create_dataset_from_buffers(name, episodes, observation_space=box, action_space=box)


def drawn(env: ae.Env, num: int) -> list[ae.TimeStep]:
    env.on_missing = "sample"
    return [timestep for _, timestep in zip(range(num), env)]


def test_a_dataset_is_recognised_and_shown_as_it_was():
    env = ae.to_source(make_dataset())
    assert isinstance(env, ae.MinariEnv) and env.name == "test/steps-v0"
    timesteps = drawn(env, sum(LENGTHS) + len(LENGTHS) + 1)
    assert [int(t.observation["observation"]) for t in timesteps] == [
        100 * number + step for number, length in enumerate(LENGTHS) for step in range(length + 1)
    ] + [0]
    for timestep in timesteps:
        number, step = divmod(int(timestep.observation["observation"]), 100)
        assert timestep.first() == (step == 0) and timestep.last() == (step == LENGTHS[number])
        assert timestep.reward == step
        assert timestep.discount == (0 if timestep.last() and number % 2 else 1)
        recorded = timestep.observation["action:recorded"]
        assert timestep.observation["mask:action:recorded"] == ~timestep.last()
        assert recorded is None if timestep.last() else recorded == (100 * number + step) / 2


def test_lanes_and_slots_deal_episodes_out():
    dataset = make_dataset()
    loader = ae.Loader(ae.MinariEnv(dataset, 2, on_missing="sample"), in_flight=2, steps_per_epoch=12)
    begun = [int(t.observation["observation"][lane, 0]) for t in loader for lane in range(2) if t.first()[lane]]
    assert set(begun[:4]) == {0, 100, 200, 300}
    shuffled = drawn(ae.MinariEnv(dataset, shuffle=True, seed=3), 34)
    firsts = [int(t.observation["observation"]) for t in shuffled if t.first()]
    assert sorted(firsts[:4]) == sorted(firsts[4:8]) == [0, 100, 200, 300] and firsts[:4] != firsts[4:8]


def test_it_goes_on_exactly():
    dataset = make_dataset()

    def make():
        return ae.MinariEnv(dataset, 3, shuffle=True, on_missing="repeat")

    env, states, seen = make(), [], []
    for _, timestep in zip(range(12), env):
        timestep.reply(torch.zeros(3, 1))
        seen.append(values(timestep))
        states.append(saved(env))
    for place, state in enumerate(states):
        other = make()
        other.load_state_dict(state)
        assert [values(t) for _, t in zip(range(11 - place), other)] == seen[place + 1 :]


def test_by_id_and_in_another_process():
    make_dataset()
    env = ae.MinariEnv("test/steps-v0", 2)
    other = pickle.loads(pickle.dumps(env))
    assert torch.equal(env.reset().observation["observation"], other.reset().observation["observation"])


def test_conformance():
    dataset = make_dataset()
    check_env(lambda: ae.MinariEnv(dataset))
    check_env(lambda: ae.MinariEnv(dataset, 3, shuffle=True))
