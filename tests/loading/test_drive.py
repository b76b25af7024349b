"""Trajectories: joined at their ends, acted in time, and exact after a restore at any step."""

import io
from itertools import pairwise

import pytest
import torch

import aexp_torch as ae
from aexp_torch.errors import SpecError
from aexp_torch.loading import Trajectory
from aexp_torch.specs import flatten
from aexp_torch.testing import CountingEnv

pytestmark = pytest.mark.timeout(60)


def endless(**options):
    return CountingEnv(2, lengths=[99, 99], **options)


def counted(timestep):
    """Answers with what it saw, so that a wrong order shows in the rewards."""
    return (timestep.observation["observation"] % 5).long()


def test_trajectories_join_at_their_ends():
    drive = ae.Loader(endless(), steps_per_epoch=3).drive(counted, num_steps=4)
    assert len(drive) == 3
    trajectories = list(drive) + list(drive)
    for place, trajectory in enumerate(trajectories):
        assert isinstance(trajectory, Trajectory)
        assert (trajectory.source, trajectory.slot, trajectory.extras) == ("CountingEnv", 0, None)
        seen = trajectory.timesteps.observation["observation"]
        assert seen[:, 0].tolist() == list(range(4 * place, 4 * place + 5))
        assert trajectory.action.tolist() == [[k % 5, k % 5] for k in range(4 * place, 4 * place + 4)]
        assert trajectory.timesteps.reward[1:, 0].tolist() == [float(k % 5) for k in range(4 * place, 4 * place + 4)]
        assert trajectory.timesteps.step_type.shape == trajectory.timesteps.reward.shape == (5, 2)
        assert trajectory.timesteps.ticket is None
    assert trajectories[0].timesteps.first().tolist() == [[True, True]] + [[False, False]] * 4


def test_episodes_end_within_trajectories():
    drive = ae.Loader(CountingEnv(2, lengths=[2, 3]), steps_per_epoch=1).drive(counted, num_steps=7)
    (trajectory,) = drive
    assert trajectory.timesteps.step_type.T.tolist() == [[0, 1, 2, 0, 1, 2, 0, 1], [0, 1, 1, 2, 0, 1, 1, 2]]
    assert trajectory.timesteps.discount.T.tolist() == [[1, 1, 0, 1, 1, 0, 1, 1], [1] * 8]
    assert trajectory.timesteps.reward.T.tolist() == [[0, 0, 1, 0, 3, 4, 0, 1], [0, 0, 1, 2, 0, 4, 0, 1]]


def test_the_actor_is_never_ahead_and_runs_without_gradient():
    acted = []

    def actor(timestep):
        assert not torch.is_grad_enabled()
        acted.append((timestep.ticket.slot, timestep.ticket.step))
        return counted(timestep), {"value": timestep.observation["observation"] / 2}

    stream = iter(ae.Loader(endless(), steps_per_epoch=4, in_flight=2).drive(actor, num_steps=2))
    assert acted == []
    trajectory = next(stream)
    assert acted == [(0, 0), (0, 1)]
    assert trajectory.extras["value"].tolist() == [[0.0, 0.0], [0.5, 0.5]]
    assert next(stream).slot == 1
    assert acted == [(0, 0), (0, 1), (1, 0), (1, 1)]
    third = next(stream)
    assert third.slot == 0 and third.timesteps.observation["observation"][:, 0].tolist() == [2, 3, 4]
    assert acted[4:] == [(0, 2), (0, 3)]
    next(stream)
    assert next(stream, None) is None and len(acted) == 8


def test_the_first_action_of_a_trajectory_comes_from_the_newest_weights():
    weights = {"version": 0}
    drive = ae.Loader(endless(), steps_per_epoch=3).drive(lambda _: torch.full((2,), weights["version"]), num_steps=2)
    for trajectory in drive:
        assert trajectory.action.unique().tolist() == [weights["version"]]
        weights["version"] += 1


def test_sources_without_actions_give_their_timesteps():
    envs = {"data": ae.DatasetEnv({"x": torch.arange(4)}, batch_size=2, epochs=1), "rl": endless()}
    drive = ae.Loader(envs, steps_per_epoch=20, seed=1).drive(counted, num_steps=3)
    kinds = [(type(item).__name__, item.source) for item in drive]
    assert len(kinds) == 20
    assert set(kinds) == {("TimeStep", "data"), ("Trajectory", "rl")}


def test_a_composition_gives_trajectories_of_each_source():
    env = ae.Interleave({"a": endless(), "b": CountingEnv(3, lengths=[99, 99, 99], nested=True)}, ["a", "b", "b"])

    def actor(timestep):
        return torch.full((env.specs[timestep.source].num_envs,), timestep.ticket.step % 5)

    steps = {"a": [], "b": []}
    for trajectory in ae.Loader(env, steps_per_epoch=8).drive(actor, num_steps=2):
        rewards = trajectory.timesteps.reward[:, 0].tolist()
        steps[trajectory.source].append(rewards)
        assert trajectory.action.shape == (2, {"a": 2, "b": 3}[trajectory.source])
    assert steps["a"][:2] == [[0, 0, 1], [1, 2, 3]]
    assert steps["b"][:3] == [[0, 0, 1], [1, 2, 3], [3, 4, 0]]


def life(**options):
    """Visits of one to four timesteps: to two environments, of other keys and batch sizes, and to data."""
    envs = {
        "a": endless(num_actions=2),
        "b": CountingEnv(3, lengths=[3, 99, 99], nested=True, num_actions=2),
        "data": ae.DatasetEnv({"x": torch.arange(6)}, batch_size=2),
    }
    return ae.AEEnv(envs, steps=(1, 4), **options)


@pytest.mark.parametrize("in_flight", [1, 2])
def test_trajectories_are_gathered_over_visits(in_flight):
    env, answered = life(), {}

    def actor(timestep):
        answered.setdefault((timestep.source, timestep.ticket.slot), []).append(timestep.ticket.step)
        number = timestep.ticket.step % 2
        return torch.full((len(timestep.reward),), number), {"step": torch.full((1,), timestep.ticket.step)}

    loader = ae.Loader(env, steps_per_epoch=60, in_flight=in_flight, seed=2)
    drive, joined, items = loader.drive(actor, num_steps=3), {}, 0
    for _ in range(2):
        for item in drive:
            items += 1
            if item.source == "data":
                assert isinstance(item, ae.TimeStep)
                continue
            seen = item.timesteps.observation
            counts = (seen["observation"] if item.source == "a" else seen["count"])[:, 0].tolist()
            assert item.timesteps.reward.shape == (4, {"a": 2, "b": 3}[item.source])
            stream = joined.setdefault((item.source, item.slot), [(counts[0], 0, 0.0)])
            assert stream[-1][0] == counts[0]  # the last timestep begins the next trajectory
            rewards, kinds = item.timesteps.reward[:, 0].tolist(), item.timesteps.step_type[:, 0].tolist()
            stream += zip(counts[1:], kinds[1:], rewards[1:])
            steps = item.extras["step"].flatten().tolist()
            for t, kind in enumerate(kinds[1:]):  # the answer to a timestep brings the reward of the next
                assert rewards[t + 1] == (0 if kind == 0 else steps[t] % 2) or kinds[t] == 2
    assert items == 120 and len(joined) == 2 * in_flight
    for (source, slot), stream in joined.items():
        assert [count for count, _, _ in stream] == list(range(len(stream)))  # nothing lost, nothing twice
        kinds = [kind for _, kind, _ in stream]
        assert kinds.count(2) > 3 and all(after == 0 for kind, after in pairwise(kinds) if kind == 2)
        assert answered[source, slot] == sorted(set(answered[source, slot]))


def test_keys_that_only_some_timesteps_have():
    data = (torch.tensor([1.0, 2, 3]), torch.tensor([0, 1, 1]))
    env = ae.DatasetEnv(data, batch_size=2, loss="correct", epochs=1, name="data")
    drive = ae.Loader(env, steps_per_epoch=1).drive(lambda _: torch.tensor([0, 1]), num_steps=2)
    (trajectory,) = drive
    observation = trajectory.timesteps.observation
    assert observation["x"].tolist() == [[1, 2], [3, 0], [0, 0]]
    assert observation["mask:x"].tolist() == [[True, True], [True, False], [False, False]]
    assert observation["y"].tolist() == [[0, 0], [0, 1], [1, 0]]
    assert observation["mask:y"].tolist() == [[False, False], [True, True], [True, False]]
    assert trajectory.timesteps.reward.tolist() == [[0, 0], [1, 1], [0, 0]]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((counted, 0), "num_steps of at least 1, got 0"),
        ((None, 3), "a function .*, got None"),
        ((3, 3), "a function .*, got 3"),
    ],
)
def test_what_cannot_drive_is_refused(arguments, text):
    with pytest.raises(SpecError, match=f"expected {text}"):
        ae.Loader(endless(), steps_per_epoch=1).drive(*arguments)


class Actor:
    """Acts from its own generator, whose state travels too."""

    def __init__(self):
        self.generator = torch.Generator().manual_seed(0)

    def __call__(self, timestep):
        noise = torch.rand(2, generator=self.generator)
        return {"action": (noise * 2).long()}, {"noise": noise}


def rows():
    return ae.DatasetEnv({"x": torch.arange(5)}, batch_size=2)


def everything(in_flight, actor):
    envs = {
        "rl": ae.GymnasiumEnv("CartPole-v1", 2).pipe(ae.Noisy).pipe(ae.ObserveReward, history=2),
        "data": ae.DatasetEnv({"x": torch.arange(5)}, batch_size=2, shuffle=True, epochs=1),
        "both": ae.Interleave({"a": endless(num_actions=2), "b": endless(num_actions=2, random=True)}, ["a", "b", "b"]),
        "life": ae.AEEnv(
            {"c": endless(num_actions=2), "d": rows(), "e": endless(num_actions=2, random=True)}, steps=(1, 4)
        ),
    }
    return ae.Loader(envs, steps_per_epoch=14, in_flight=in_flight, seed=4).drive(actor, num_steps=3)


def leaves(item):
    timestep = item.timesteps if isinstance(item, Trajectory) else item
    tree = dict(zip(ae.TimeStep._fields[:4], timestep[:4]))
    if isinstance(item, Trajectory):
        tree |= {"action": item.action, "extras": item.extras}
    return {path: None if leaf is None else leaf.clone() for path, leaf in flatten(tree)}


def same(one, other):
    assert one.keys() == other.keys()
    assert all(torch.equal(one[path], other[path]) for path in one if one[path] is not None)


@pytest.mark.parametrize("in_flight", [1, 3])
@pytest.mark.parametrize("replay", [False, True])
def test_a_state_at_any_step_gives_the_rest(in_flight, replay):
    actor = Actor()
    drive, items, states = everything(in_flight, actor), [], []
    for _ in range(2):
        for item in drive:
            items.append((item.source, leaves(item)))
            buffer = io.BytesIO()
            torch.save((drive.state_dict(replay), actor.generator.get_state()), buffer)
            states.append(buffer.getvalue())
    assert len(items) == 28 and len({source for source, _ in items}) == 7
    for taken, state in enumerate(states, start=1):
        actor = Actor()
        resumed = everything(in_flight, actor)
        iter(resumed)
        state, generator = torch.load(io.BytesIO(state), weights_only=True)
        resumed.load_state_dict(state)
        actor.generator.set_state(generator)
        taken -= replay
        rest = []
        while len(rest) < 28 - taken:
            rest += [(item.source, leaves(item)) for item in resumed]
        assert len(rest) == 28 - taken
        for (source, expected), (resumed_source, came) in zip(items[taken:], rest, strict=True):
            assert source == resumed_source
            same(expected, came)
