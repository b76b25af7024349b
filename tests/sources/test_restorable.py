"""Restorable: a lane that goes back to a place does again what it did there, bit for bit."""

import io

import pytest
import torch

import aexp_torch as ae
from aexp_torch.testing import CountingEnv, FakeGymEnv
from aexp_torch.testing.rollout import answer_to, values_differ

pytestmark = pytest.mark.timeout(120)


def samples(count=9):
    return {"x": torch.arange(2.0 * count).view(count, 2), "y": torch.arange(count) % 3}


def data(**options):
    return ae.DatasetEnv(samples(), batch_size=1, drop_last=True, shuffle=True, **options)


ATARI = {"max_episode_steps": 14, "repeat_action_probability": 0}
SOURCES = {
    "CartPole-v1, one lane of its own vector form": lambda: ae.GymnasiumEnv("CartPole-v1"),
    "CountingEnv": lambda: CountingEnv(3, lengths=[9, 12, 30], random=True, nested=True),
    "CartPole": lambda: ae.GymnasiumEnv("CartPole-v1", 2, "sync", max_episode_steps=14),
    "Acrobot": lambda: ae.GymnasiumEnv("Acrobot-v1", max_episode_steps=14),
    "FrozenLake": lambda: ae.GymnasiumEnv("FrozenLake8x8-v1", 2, "sync", max_episode_steps=14),
    "dict-tuple-text": lambda: ae.GymnasiumEnv(FakeGymEnv, 2, length=14),
    "HalfCheetah": lambda: ae.GymnasiumEnv("HalfCheetah-v5", 2, "sync", max_episode_steps=14),
    "InvertedPendulum": lambda: ae.GymnasiumEnv("InvertedPendulum-v5", 2, "sync", max_episode_steps=14),
    "Pong": lambda: ae.GymnasiumEnv("ale_py:ALE/Pong-v5", 2, "sync", **ATARI),
    "cartpole": lambda: ae.DmEnv("cartpole/swingup", 2, time_limit=0.14),
    "rock-paper-scissors": lambda: ae.PettingZooEnv("classic/rps-v2", 2, max_cycles=14),
    "BabyAI": lambda: ae.MiniGridEnv("BabyAI-GoToSeq-v0", 2, max_steps=14),
    "data-joint": lambda: data(episode="pass"),
    "data-delayed": lambda: data(episode="pass", loss="cross_entropy"),
    "data-split": lambda: data(episode="pass", loss="correct", mode="split"),
    "data-batch": lambda: data(loss="correct", episode="batch", name="batch"),
    "data-endless": lambda: data(),
    "data-generator": lambda: ae.DatasetEnv(Forwards(), batch_size=1, episode="pass", shuffle=True, shuffle_buffer=3),
}


class Forwards(torch.utils.data.IterableDataset):
    """Can only be read from front to back, and knows where it is."""

    def __init__(self):
        self.place = 0

    def __iter__(self):
        while self.place < 9:
            self.place += 1
            yield {"x": torch.tensor(float(self.place))}
        self.place = 0

    def state_dict(self):
        return {"place": self.place}

    def load_state_dict(self, state):
        self.place = state["place"]


def lane_of(timestep, lane):
    values = dict(zip(ae.TimeStep._fields[:4], timestep))
    take = lambda leaf: None if leaf is None else leaf[lane : lane + 1].clone()  # noqa: E731
    return {key: map_dict(take, value) if isinstance(value, dict) else take(value) for key, value in values.items()}


def map_dict(function, tree):
    return {
        key: map_dict(function, value) if isinstance(value, dict) else function(value) for key, value in tree.items()
    }


def through_a_file(state):
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


def go_back(env, lane):
    lanes = torch.zeros(len(env._outstanding.step_type), dtype=torch.bool)
    lanes[lane] = True
    return env.reset(lanes)


@pytest.mark.parametrize("make", SOURCES.values(), ids=SOURCES)
def test_the_same_actions_lead_to_the_same_timesteps(make):
    if "v5" in make().name:
        pytest.importorskip("ale_py" if "ALE" in make().name else "mujoco")
    env = make()
    timestep, lane, compared = env.reset(), env.specs[env.name].num_envs - 1, 0
    for at in range(5):
        if timestep.last()[lane]:
            timestep = env.step(answer_to(env, timestep))
        place = through_a_file(env.snapshot(lane))
        actions, shown = [], [lane_of(timestep, lane)]
        while len(actions) < 6 and not timestep.last()[lane]:
            actions.append(answer_to(env, timestep))
            timestep = env.step(actions[-1])
            shown.append(lane_of(timestep, lane))
        compared += len(actions)
        for _ in range(2):
            env.restore(place, lane)
            assert lane in env.restoring
            timestep = go_back(env, lane)
            assert timestep.first()[lane] and env.restoring == frozenset()
            assert values_differ(lane_of(timestep, lane)["observation"], shown[0]["observation"]) is None
            assert timestep.reward[lane] == 0 and timestep.discount[lane] == 1
            for action, expected in zip(actions, shown[1:]):
                timestep = env.step(action)
                assert values_differ(lane_of(timestep, lane), expected) is None, f"from place {at} on"
    assert compared >= (5 if env.name == "batch" else 15)
    env.close()


def test_a_lane_is_restored_by_autoreset_and_the_others_go_on():
    env, alone = (ae.GymnasiumEnv("CartPole-v1", 2, "sync", max_episode_steps=[9][0]) for _ in range(2))
    env.reset(), alone.reset()
    push = torch.tensor([0, 1])
    timesteps, others = [env.step(push)], [alone.step(push)]
    env.restore(env.snapshot())
    while not timesteps[-1].last()[0]:
        timesteps.append(env.step(push))
        others.append(alone.step(push))
    assert len(timesteps) > 3
    timestep, other = env.step(push), alone.step(push)
    assert timestep.first()[0] and torch.equal(
        timestep.observation["observation"][0], timesteps[0].observation["observation"][0]
    )
    assert values_differ(lane_of(timestep, 1), lane_of(other, 1)) is None
    for expected in timesteps[1:]:
        timestep, other = env.step(push), alone.step(push)
        assert values_differ(lane_of(timestep, 0), lane_of(expected, 0)) is None
        assert values_differ(lane_of(timestep, 1), lane_of(other, 1)) is None


def test_the_steps_of_a_time_limit_come_back():
    env = ae.GymnasiumEnv("MountainCar-v0", 1, "sync", max_episode_steps=6)
    env.reset()
    for _ in range(4):
        env.step(torch.tensor([1]))
    env.restore(env.snapshot())
    env.reset()
    assert [int(env.step(torch.tensor([1])).step_type) for _ in range(3)] == [1, 2, 0]


@pytest.mark.parametrize(
    "make",
    [
        lambda: CountingEnv(1, lengths=[4], random=True),
        lambda: ae.GymnasiumEnv("CartPole-v1", 1, "sync", max_episode_steps=5),
        lambda: data(epochs=9, mode="split"),
    ],
)
def test_fresh_episodes_are_those_that_would_have_come_without(make):
    def fresh_episodes(detours):
        env, episodes, places = make(), [], []
        timestep, restored = env.reset(), 0
        while len(episodes) < 5:
            if timestep.first()[0] and not restored:
                episodes.append(lane_of(timestep, 0))
            if timestep.mid()[0] and len(places) < 3:
                places.append(env.snapshot())
            if timestep.last()[0]:
                restored = (restored + 1) % (detours + 1)
                if restored:
                    env.restore(places[len(episodes) % len(places)])
            timestep = env.step(answer_to(env, timestep))
        return episodes

    for ours, theirs in zip(fresh_episodes(2), fresh_episodes(0)):
        assert values_differ(ours, theirs) is None


def test_a_restore_that_waits_is_part_of_the_state():
    env, other = (ae.GymnasiumEnv("CartPole-v1", 2, "sync") for _ in range(2))
    env.reset()
    env.step(torch.tensor([0, 1]))
    env.restore(env.snapshot(1), 1)
    other.load_state_dict(through_a_file(env.state_dict()))
    ours, theirs = [], []
    for stream, shown in ((env, ours), (other, theirs)):
        shown += [lane_of(stream.step(torch.tensor([1, 1])), 1) for _ in range(25)]
    assert other.restoring == env.restoring == frozenset()
    assert all(values_differ(one, two) is None for one, two in zip(ours, theirs))


def test_a_place_of_one_environment_can_be_shown_by_another_that_is_alike():
    env, other = (ae.GymnasiumEnv("CartPole-v1", 1, "sync", seed=seed) for seed in (1, 2))
    env.reset(), other.reset()
    expected = env.step(torch.tensor([1]))
    other.restore(env.snapshot())
    assert torch.equal(other.reset().observation["observation"], expected.observation["observation"])
    push = torch.tensor([0])
    assert torch.equal(other.step(push).observation["observation"], env.step(push).observation["observation"])


def test_slots_that_are_divided_anew_go_on_where_the_data_was_left():
    def make(slot, num_slots):
        env = ae.DatasetEnv({"x": torch.arange(8.0)}, batch_size=1, epochs=1, name="d")
        env.place(seed=0, slot=slot, num_slots=num_slots)
        return env

    env = make(0, 1)
    seen = [float(env.reset().observation["x"])]
    place = env.snapshot()
    seen += [float(env.step({}).observation["x"]) for _ in range(3)]
    env.restore(place)
    env.reset()  # a detour: 0, 1, 2 are shown again
    assert [float(env.step({}).observation["x"]) for _ in range(2)] == [1, 2]
    state = env.state_dict()
    for slot in range(2):
        other = make(slot, 2)
        other.load_state_dict(other.divide_anew([(state, 0)]))
        seen += [float(timestep.observation["x"]) for timestep in other]
    assert sorted(seen) == list(range(8))


def test_what_cannot_work_is_refused():
    env = ae.GymnasiumEnv("CartPole-v1", 2)
    env.reset()
    assert not env.snapshots
    with pytest.raises(
        ae.SpecError, match=r"'?CartPole-v1'?: expected single lanes for snapshot\(\).*vectorization='sync'"
    ):
        env.snapshot()
    env = CountingEnv(2, lengths=[1, 2])
    with pytest.raises(
        ae.SpecError, match=r"expected an episode that has begun for snapshot\(\)\. Call reset\(\) first"
    ):
        env.snapshot()
    env.reset()
    place = env.snapshot()
    with pytest.raises(ae.SpecError, match=r"expected a lane in 0\.\.1 for restore\(\), got 2"):
        env.restore(place, 2)
    env.step(torch.tensor([0, 0]))
    with pytest.raises(ae.SpecError, match=r"expected a lane within an episode for snapshot\(\), lane 0 is at LAST"):
        env.snapshot()
    with pytest.raises(ae.SpecError, match=r"batch_size=1 for a dataset"):
        ae.DatasetEnv(samples(), batch_size=2).snapshot()
