"""to_datapipe: stages in functional form, torch's own pipes on top, and the way back through all of them."""

import importlib
import itertools

import pytest
import torch
from torch.utils.data import DataLoader, IterDataPipe
from torch.utils.data.graph import traverse_dps

import aexp_torch as ae
from aexp_torch import stages
from aexp_torch.adapters import datapipe as module
from aexp_torch.testing import CountingEnv


def counting(**options) -> ae.Env:
    return CountingEnv(num_envs=1, lengths=[1000], feedback_timeout=30, **options)


def answered(pipe, count, pick=lambda item: item):
    """Takes items and answers each with its step modulo 5; returns `(slot, step, reward)` of each."""
    seen = []
    for item in pipe:
        timestep = pick(item)
        seen.append((timestep.ticket.slot, timestep.ticket.step, timestep.reward.item()))
        timestep.reply(torch.tensor([timestep.ticket.step % 5]))
        if len(seen) == count:
            break
    return seen


def is_even(timestep) -> bool:
    return timestep.ticket.step % 2 == 0


def negate(timestep):
    return timestep._replace(observation={"negative": -timestep.observation["observation"]})


def test_every_stage_has_a_functional_form():
    for name in stages.__all__:
        assert IterDataPipe.functions[module.functional_name(getattr(stages, name))].stage is getattr(stages, name)
    names = {
        name: module.functional_name(type(name, (ae.Stage,), {})) for name in ("Lambda", "ObserveReward", "UCBTask")
    }
    assert names == {"Lambda": "lambda_", "ObserveReward": "observe_reward", "UCBTask": "ucb_task"}


def test_stages_in_functional_form_are_the_pipeline():
    env = ae.GymnasiumEnv("CartPole-v1", num_envs=2, on_missing="sample")
    pipe = ae.to_datapipe(env).noisy(std=0.1).observe_reward(history=2)
    assert isinstance(pipe, IterDataPipe)
    piped = env.pipe(ae.Noisy, std=0.1).pipe(ae.ObserveReward, history=2)
    for one, other in itertools.islice(zip(pipe, piped), 20):
        assert one.observation.keys() == other.observation.keys() == {"observation", "reward"}
        assert all(torch.equal(one.observation[key], other.observation[key]) for key in one.observation)
    pipe = ae.to_datapipe(env).lambda_(obs=lambda tree: {"pole": tree["observation"][:, 2:]})
    assert next(iter(pipe)).observation["pole"].shape == (2, 2)
    assert "Noisy" in type(pipe.noisy(0.1).env).__name__  # positional too


def test_the_environment_of_the_user_stays_as_it_is():
    env = CountingEnv(num_envs=1)
    timestep = env.reset()
    pipe = ae.to_datapipe(env)
    assert (env.on_missing, pipe.env.on_missing) == ("error", "sample")
    assert next(iter(pipe)).ticket.step == 0
    assert next(iter(env)) is timestep


def test_answers_go_home_through_map_filter_and_mux():
    rewards = [(0, 0, 0)] + [(0, step, (step - 1) % 5) for step in range(1, 8)]
    assert answered(ae.to_datapipe(counting()), 8) == rewards
    assert answered(ae.to_datapipe(counting()).map(negate), 8) == rewards
    both = ae.to_datapipe(counting(name="a")).mux(ae.to_datapipe(counting(name="b")).map(negate))
    assert answered(both, 8) == [row for row in rewards[:4] for _ in range(2)]
    one, other = ae.to_datapipe(counting()).fork(num_instances=2, buffer_size=10)
    assert answered(one.zip(other), 8, pick=lambda pair: pair[1]) == rewards


@pytest.mark.parametrize("num_workers", [0, 1])
def test_what_a_filter_drops_is_answered_by_chance(num_workers):
    pipe = ae.to_datapipe(counting()).filter(is_even)
    loader = DataLoader(pipe, batch_size=None, num_workers=num_workers)
    assert [step for _, step, _ in answered(loader, 3)] == [0, 2, 4]


def test_on_missing_can_be_chosen():
    pipe = ae.to_datapipe(counting(), on_missing="error").filter(is_even)
    with pytest.raises(ae.FeedbackError, match="expected an answer to step 1"):
        answered(pipe, 3)
    with pytest.raises(ae.SpecError, match="expected on_missing="):
        ae.to_datapipe(counting(), on_missing="never")


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("on_top", [lambda pipe: pipe, lambda pipe: pipe.map(negate)])
def test_answers_go_home_from_a_dataloader(num_workers, on_top):
    loader = DataLoader(on_top(ae.to_datapipe(counting())), batch_size=None, num_workers=num_workers)
    seen = answered(loader, 12)
    for slot in range(max(num_workers, 1)):
        mine = [(step, reward) for worker, step, reward in seen if worker == slot]
        assert mine == [(step, max(step - 1, 0) % 5) for step in range(12 // max(num_workers, 1))]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_dataset_is_dealt_out_to_the_workers(num_workers):
    env = ae.DatasetEnv({"x": torch.arange(8.0)}, batch_size=2, epochs=1)
    loader = DataLoader(ae.to_datapipe(env), batch_size=None, num_workers=num_workers)
    for _ in range(2):
        assert sorted(torch.cat([timestep.observation["x"] for timestep in loader]).tolist()) == list(range(8))


def test_the_graph_of_torch_can_be_walked():
    pipe = ae.to_datapipe(counting()).lambda_(reward=lambda reward: 2 * reward).map(negate)
    assert len(traverse_dps(pipe)) == 1


def test_iterating_again_goes_on():
    pipe = ae.to_datapipe(counting())
    assert [[step for _, step, _ in answered(pipe, 2)] for _ in range(2)] == [[0, 1], [2, 3]]


class Foreign(ae.Stage):
    """Changes nothing."""


def test_a_stage_of_ones_own_is_registered_once():
    try:
        assert ae.register_stage(Foreign) is ae.register_stage(Foreign) is Foreign
        assert isinstance(ae.to_datapipe(counting()).foreign().env, Foreign)
        with pytest.raises(ae.SpecError, match="'foreign' is taken"):
            ae.register_stage(type("Foreign", (ae.Stage,), {"__module__": "another"}))
    finally:
        IterDataPipe.functions.pop("foreign")


@pytest.mark.parametrize("name", ["Filter", "Mux", "Reset", "Functions"])
def test_the_names_of_torch_stay_torchs(name):
    before = dict(IterDataPipe.functions)
    with pytest.raises(ae.SpecError, match=f"'{name.lower()}' is taken"):
        ae.register_stage(type(name, (ae.Stage,), {}))
    assert IterDataPipe.functions == before


def test_loading_the_module_again_changes_nothing():
    before = set(IterDataPipe.functions)
    importlib.reload(module)
    assert set(IterDataPipe.functions) == before
    importlib.reload(ae.adapters)
    assert next(iter(module.to_datapipe(counting()).observe_reward())).observation["reward"] == 0


def test_refusals():
    with pytest.raises(ae.SpecError, match="noisy: expected to_datapipe\\(env\\)"):
        module.to_datapipe(counting()).map(negate).noisy()
    with pytest.raises(ae.SpecError, match="register_stage: expected a Stage class"):
        module.register_stage(CountingEnv)
    with pytest.raises(ae.SpecError, match="to_datapipe: expected an Env"):
        module.to_datapipe([1])
