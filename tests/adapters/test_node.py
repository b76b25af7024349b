"""to_node: torchdata's Loader over every source, restarted and resumed at every step."""

import pytest
import torch
from torchdata.nodes import BaseNode, Loader, Mapper, Prefetcher

import aexp_torch as ae
from aexp_torch.specs import flatten
from aexp_torch.testing import CountingEnv
from tests.adapters.pipelines import PIPELINES, dataset


def answer(env, timestep):
    """Answers by a rule, not by chance, so that two runs are the same."""
    spec = env.specs[timestep.source].action
    if spec:
        drawn = ae.specs.sample.zeros(spec, len(timestep.step_type))
        first = next(leaf for _, leaf in flatten(drawn))
        first += torch.tensor(timestep.ticket.step % 2).to(first.dtype)
        timestep.reply(drawn)


def record(timestep):
    leaves = [(path, None if leaf is None else leaf.tolist()) for path, leaf in flatten(timestep.observation)]
    signals = [part.tolist() for part in timestep[:3]]
    return timestep.source, timestep.ticket.step, signals, leaves


def run(loader, env, steps):
    """Runs a loader and answers; returns the timesteps, and the loader's state after each answer."""
    records, states = [], []
    for timestep in loader:
        records.append(record(timestep))
        answer(env, timestep)
        states.append(loader.state_dict())
        if len(records) == steps:
            break
    return records, states


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_loader_resumes_after_every_step(pipeline):
    make = PIPELINES[pipeline]
    env = make()
    records, states = run(Loader(ae.to_node(env)), env, steps=12)
    for step in range(len(records) - 1):
        again = make()
        loader = Loader(ae.to_node(again))
        loader.load_state_dict(states[step])
        assert run(loader, again, steps=11 - step)[0] == records[step + 1 :]


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_loader_gives_what_the_stream_gives(pipeline):
    env, loaded = PIPELINES[pipeline](), PIPELINES[pipeline]()
    expected = []
    for timestep in env:
        expected.append(record(timestep))
        answer(env, timestep)
        if len(expected) == 9:
            break
    seen = []
    for timestep in Loader(ae.to_node(loaded)):
        seen.append(record(timestep))
        answer(loaded, timestep)
        if len(seen) == 9:
            break
    assert seen == expected


def test_a_second_iter_starts_over():
    env = dataset(mode="joint", epochs=1)
    loader = Loader(ae.to_node(env))
    assert [[timestep.observation["x"].item() for timestep in loader] for _ in range(2)] == [[0, 1, 2, 3, 4]] * 2
    env = CountingEnv(num_envs=1, lengths=[9])
    loader = Loader(ae.to_node(env))
    for _ in range(2):
        shown = []
        for timestep, _ in zip(loader, range(3)):
            shown.append(int(timestep.step_type))
            timestep.reply(torch.tensor([0]))
        assert shown == [0, 1, 1]


def test_the_state_of_an_ended_stream_starts_over_or_stays_ended():
    loader = Loader(ae.to_node(dataset(mode="joint", epochs=1)))
    assert len(list(loader)) == 5
    state = loader.state_dict()
    for restart, count in ((True, 5), (False, 0)):
        other = Loader(ae.to_node(dataset(mode="joint", epochs=1)), restart_on_stop_iteration=restart)
        other.load_state_dict(state)
        assert len(list(other)) == count


def test_a_state_from_before_the_first_timestep():
    state = Loader(ae.to_node(CountingEnv(num_envs=1, random=True))).state_dict()
    loader = Loader(ae.to_node(CountingEnv(num_envs=1, random=True)))
    loader.load_state_dict(state)
    first = next(iter(loader))
    assert first.first() and first.observation == next(iter(CountingEnv(num_envs=1, random=True))).observation


def test_a_state_from_before_the_answer_gives_the_timestep_again():
    loader = Loader(ae.to_node(CountingEnv(num_envs=1)))
    steps = []
    for timestep in loader:
        steps.append(timestep.ticket.step)
        if len(steps) == 3:
            break
        timestep.reply(torch.tensor([1]))
    other = Loader(ae.to_node(CountingEnv(num_envs=1)))
    other.load_state_dict(loader.state_dict())
    for timestep in other:
        steps.append(timestep.ticket.step)
        timestep.reply(torch.tensor([1]))
        if len(steps) == 5:
            break
    assert steps == [0, 1, 2, 2, 3]


def test_a_state_goes_through_torch_save(tmp_path):
    env = PIPELINES["cartpole"]()
    loader = Loader(ae.to_node(env))
    _, states = run(loader, env, steps=3)
    torch.save(states[-1], tmp_path / "state.pt")
    again = PIPELINES["cartpole"]()
    other = Loader(ae.to_node(again))
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert run(other, again, 1)[0][0][1] == 3


def test_without_an_answer_the_stream_says_so():
    loader = iter(Loader(ae.to_node(CountingEnv(num_envs=1))))
    next(loader)
    with pytest.raises(ae.FeedbackError, match="expected an answer to step 0"):
        next(loader)


def test_nodes_on_top():
    node = ae.to_node(CountingEnv(num_envs=1, num_actions=0))
    assert isinstance(node, BaseNode)
    count = Mapper(node, lambda timestep: timestep.observation["observation"].item())
    assert [value for value, _ in zip(Loader(count), range(3))] == [0, 1, 2]
    env = CountingEnv(num_envs=1, lengths=[9])
    loader, shown = Loader(Prefetcher(ae.to_node(env), prefetch_factor=2)), []  # its thread waits for the answers
    for timestep in loader:
        shown.append(timestep.reward.item())
        if len(shown) == 4:
            break
        timestep.reply(torch.tensor([len(shown)]))
    timestep.reply(torch.tensor([0]))
    loader._it.root.reset()
    assert shown == [0, 1, 2, 3]


def test_expects_an_env():
    with pytest.raises(ae.SpecError, match="to_node: expected an Env, got int 3"):
        ae.to_node(3)
