"""Evaluation: the first N episodes in the order (round, slot, lane), counted by hand."""

import pytest
import torch

import aexp_torch as ae
from aexp_torch.errors import SpecError
from aexp_torch.loading import EpisodeCounter
from aexp_torch.testing import CountingEnv

pytestmark = pytest.mark.timeout(60)


def ones(timestep):
    return torch.ones(len(timestep.reward), dtype=torch.int64)


def count(loader):
    """Returns (source, slot, lane, length) of all episodes that a loader shows, as they end, and the steps it took."""
    counters, ended, steps = {}, [], 0
    for timestep in loader:
        steps += 1
        stream = (timestep.source, timestep.ticket.slot)
        episodes = counters.setdefault(stream, EpisodeCounter()).update(timestep)
        ended += [(*stream, episode.lane, episode.episodic_length) for episode in episodes]
        if loader.specs[timestep.source].action:
            timestep.reply(ones(timestep))
    return ended, steps


def test_a_counter_adds_up_rewards_and_transitions_per_lane():
    env, counter = CountingEnv(2, lengths=[2, 3]), EpisodeCounter()
    found = [counter.update(env.reset())]
    for answer in ([1, 4], [2, 3], [9 % 5, 2], [3, 0], [1, 1]):
        found.append(counter.update(env.step(torch.tensor(answer))))
    assert found == [[], [], [(0, 3.0, 2)], [(1, 9.0, 3)], [], [(0, 4.0, 2)]]
    state = counter.state_dict()
    other = EpisodeCounter()
    other.load_state_dict(state)
    timestep = env.step(torch.tensor([0, 2]))
    assert counter.update(timestep) == other.update(timestep) == []
    assert other.update(env.step(torch.tensor([0, 2]))) == [(1, 5.0, 3)]


@pytest.mark.parametrize(
    ("episodes", "lanes"),
    [(1, [0]), (2, [0, 1]), (3, [0, 1, 2]), (4, [0, 0, 1, 2]), (5, [0, 0, 1, 1, 2]), (7, [0, 0, 0, 1, 1, 2, 2])],
)
def test_every_lane_has_its_share_however_long_its_episodes_are(episodes, lanes):
    env = CountingEnv(3, lengths=[2, 5, 9])
    ended, _ = count(ae.Loader(env, episodes=episodes))
    assert sorted(lane for _, _, lane, _ in ended) == lanes
    assert all(length == (2, 5, 9)[lane] for _, _, lane, length in ended)


def test_slots_share_the_episodes_in_the_order_round_slot_lane():
    env = CountingEnv(2, lengths=[2, 4])
    ended, steps = count(ae.Loader(env, episodes=6, in_flight=2))
    assert sorted((slot, lane) for _, slot, lane, _ in ended) == [(0, 0), (0, 0), (0, 1), (0, 1), (1, 0), (1, 1)]
    assert steps == 10 + 5  # slot 0: two episodes of 4 transitions; slot 1: one


def test_ranks_share_the_episodes():
    env = CountingEnv(2, lengths=[2, 4])
    loaders = [ae.Loader(env, episodes=6, in_flight=2, rank=rank, world_size=2) for rank in range(2)]
    found = [[(slot, lane) for _, slot, lane, _ in count(loader)[0]] for loader in loaders]
    assert [sorted(episodes) for episodes in found] == [[(0, 0), (0, 0), (0, 1), (0, 1)], [(1, 0), (1, 1)]]
    assert len(loaders[0]) == len(loaders[1]) == 2 * 5
    assert count(ae.Loader(env, episodes=2, in_flight=2, rank=1, world_size=2)) == ([], 0)


def test_lanes_that_have_had_their_share_show_first_with_reward_0():
    seen = []
    for timestep in (loader := ae.Loader(CountingEnv(2, lengths=[2, 4]), episodes=2)):
        seen.append((timestep.step_type.tolist(), timestep.reward.tolist(), timestep.discount.tolist()))
        timestep.reply(torch.tensor([3, 3]))
    assert seen == [
        ([0, 0], [0, 0], [1, 1]),
        ([1, 1], [3, 3], [1, 1]),
        ([2, 1], [3, 3], [0, 1]),
        ([0, 1], [0, 3], [1, 1]),
        ([0, 2], [0, 3], [1, 1]),
    ]
    assert len(loader) >= len(seen)


def test_an_evaluation_starts_afresh_each_time():
    loader = ae.Loader(CountingEnv(2, lengths=[2, 4], random=True), episodes=3, resume_epochs=False)
    first = [(timestep.observation["random"].tolist(), timestep.reply(ones(timestep))) for timestep in loader]
    second = [(timestep.observation["random"].tolist(), timestep.reply(ones(timestep))) for timestep in loader]
    assert first == second


def test_a_finite_source_is_shown_once():
    data = ae.DatasetEnv({"x": torch.arange(5)}, batch_size=2, epochs=1, name="data")
    loader = ae.Loader({"data": data, "rl": CountingEnv(1, lengths=[3])}, episodes=2, resume_epochs=False)
    for _ in range(2):
        sources = []
        for timestep in loader:
            sources.append(timestep.source)
            if timestep.source == "rl":
                timestep.reply(ones(timestep))
        assert sources == ["data"] * 3 + ["rl"] * 8
        assert len(loader) == 3 + 8


def test_episodes_that_never_end_are_refused():
    endless = ae.DatasetEnv({"x": torch.arange(5)}, batch_size=2, name="data")
    with pytest.raises(SpecError, match="expected episodes that end for episodes=3, 'data' never shows LAST"):
        ae.Loader(endless, episodes=3)
    with pytest.raises(SpecError, match="never shows LAST"):
        ae.Loader(ae.Interleave([CountingEnv(), endless]), episodes=3)


def test_evaluate_reports_returns_and_lengths_in_order():
    env = CountingEnv(3, lengths=[2, 5, 9], name="counter")
    running = env.reset()
    result = ae.evaluate(lambda timestep: torch.tensor([1, 2, 3]), env, episodes=7)
    assert set(result) == {"counter"}
    assert result["counter"]["length"].tolist() == [2, 5, 9, 2, 5, 9, 2]
    assert result["counter"]["return"].tolist() == [2, 10, 27, 2, 10, 27, 2]
    assert result["counter"]["return"].dtype is torch.float32 and result["counter"]["length"].dtype is torch.int64
    assert env._outstanding is running


def test_evaluate_runs_several_sources_without_gradient():
    def policy(timestep):
        assert not torch.is_grad_enabled()
        return ones(timestep)

    envs = {"a": CountingEnv(1, lengths=[2]), "b": CountingEnv(2, lengths=[3, 4])}
    result = ae.evaluate(policy, envs, episodes=3)
    assert {source: found["length"].tolist() for source, found in result.items()} == {"a": [2, 2, 2], "b": [3, 4, 3]}


def test_evaluate_follows_from_its_seed():
    def returns(seed):
        env = ae.GymnasiumEnv("CartPole-v1", num_envs=3)
        return ae.evaluate(ones, env, episodes=5, seed=seed)["CartPole-v1"]["return"].tolist()

    assert returns(0) == returns(0)
    assert [returns(0), returns(1), returns(2)].count(returns(0)) < 3
