"""Imaginary: what is predicted is what happens."""

import io

import numpy as np
import pytest
import torch
from dm_env import specs

import aexp_torch as ae
from aexp_torch.errors import SpecError
from aexp_torch.prediction import find_targets
from aexp_torch.specs import flatten
from aexp_torch.specs.sample import sample_action
from aexp_torch.testing import CountingEnv

pytestmark = pytest.mark.timeout(120)
COUNTER = ae.EnvSpec(
    {"count": specs.BoundedArray((), np.float32, 0, 9)}, {"action": specs.DiscreteArray(3, np.int64)}, num_envs=2
)
MANY = ae.EnvSpec(
    {
        "few": specs.BoundedArray((), np.int64, 1, 3),
        "ragged": specs.BoundedArray((2,), np.int64, [0, 5], [1, 8]),
        "yes": specs.Array((2,), bool),
        "grey": specs.BoundedArray((1, 2), np.uint8, 0, 255),
        "deep": {"real": specs.BoundedArray((), np.float64, -1.0, 1.0)},
    },
    {"action": specs.DiscreteArray(2, np.int64)},
    modalities={"observation": {"ragged": ae.Modality("flat", "categorical")}},
    num_envs=2,
)
MANY_START = {
    "few": torch.tensor([1]),
    "ragged": torch.tensor([[0, 5]]),
    "yes": torch.tensor([[True, False]]),
    "grey": torch.tensor([[[0, 255]]], dtype=torch.uint8),
    "deep": {"real": torch.tensor([0.5], dtype=torch.float64)},
}


def add(observation, action):
    """Adds the action; 5 is the end."""
    count = observation["count"] + action["action"]
    return {"predict:count": count, "predict:reward": 10 * count, "predict:discount": (count < 5).float()}


def imaginary(predictor=add, spec=COUNTER, start=None, horizon=4, **options) -> ae.Imaginary:
    start = {"count": torch.tensor([1.0])} if start is None else start
    return ae.Imaginary(predictor, start, horizon, specs=spec, **options)


def shown(timestep) -> list:
    signals = (timestep.step_type, timestep.reward, timestep.discount)
    return [timestep.observation["count"].tolist(), *(signal.tolist() for signal in signals)]


def test_a_counter_ends_at_five_or_at_the_horizon():
    env = imaginary()
    seen = [shown(env.reset())]
    for answer in ([2, 0], [2, 0], [0, 1], [1, 1], [1, 2]):
        seen.append(shown(env.step(torch.tensor(answer))))
    assert seen == [
        [[1, 1], [0, 0], [0, 0], [1, 1]],
        [[3, 1], [1, 1], [30, 10], [1, 1]],
        [[5, 1], [2, 1], [50, 10], [0, 1]],  # lane 0: terminated
        [[1, 2], [0, 1], [0, 20], [1, 1]],  # its answer is ignored
        [[2, 3], [1, 2], [20, 30], [1, 1]],  # lane 1: four transitions, truncated
        [[3, 1], [1, 0], [30, 0], [1, 1]],
    ]


def test_predictions_stay_within_bounds_and_discounts_are_signals():
    def wild(observation, action):
        return {
            "predict:count": observation["count"] + 100,
            "predict:reward": torch.tensor([-7.0, 7.0]),
            "predict:discount": torch.tensor([0.8, 1.3]),
        }

    env = imaginary(wild, horizon=2, threshold=0.75)
    env.reset()
    assert shown(env.step(torch.tensor([0, 0])))[0] == [9, 9]
    timestep = env.step(torch.tensor([0, 0]))
    assert timestep.discount.tolist() == pytest.approx([0.8, 1.0]) and timestep.truncated().all()
    env = imaginary(wild, horizon=2, threshold=0.9)
    env.reset()
    timestep = env.step(torch.tensor([0, 0]))
    assert timestep.terminated().tolist() == [True, False] and timestep.discount.tolist() == [0, 1]


def certain(observation, action):
    """Predicts: few is 3, ragged is 1 and 7, yes is False and True."""
    rows = len(action["action"])
    return {
        "predict:few": torch.tensor([0.0, 1.0, 50.0]).expand(rows, 3),
        "predict:ragged": torch.tensor([[0.0, 50.0, 99.0, 99.0], [0.0, 0.0, 50.0, 0.0]]).expand(rows, 2, 4),
        "predict:yes": torch.tensor([-50.0, 50.0]).expand(rows, 2),
        "predict:grey": torch.tensor([[7.6, 300.0]]).expand(rows, 1, 2),
        "predict:deep": {"real": torch.full((rows,), -3.0)},
        "predict:reward": torch.zeros(rows),
        "predict:discount": torch.ones(rows),
    }


@pytest.mark.parametrize("stochastic", [False, True])
def test_each_representation_says_something(stochastic):
    env = imaginary(certain, MANY, MANY_START, stochastic=stochastic)
    env.reset()
    now = env.step(torch.tensor([0, 1])).observation
    assert now["few"].tolist() == [3, 3]
    assert now["ragged"].tolist() == [[1, 7]] * 2  # there is no 2 or 3 in its first element
    assert now["yes"].tolist() == [[False, True]] * 2 and now["yes"].dtype is torch.bool
    assert now["grey"].tolist() == [[[8, 255]]] * 2 and now["grey"].dtype is torch.uint8
    assert now["deep"]["real"].tolist() == [-1, -1] and now["deep"]["real"].dtype is torch.float64


def unsure(observation, action):
    rows = len(action["action"])
    shares = torch.tensor([0.2, 0.5, 0.3]).log()
    return certain(observation, action) | {
        "predict:few": shares.expand(rows, 3),
        "predict:ragged": torch.zeros(rows, 2, 4),
        "predict:yes": torch.tensor([0.0, -1.0986123]).expand(rows, 2),  # 1/2 and 1/4
    }


def test_draws_follow_the_logits():
    env = imaginary(unsure, MANY, MANY_START, horizon=10_000, stochastic=True, num_envs=8)
    env.reset()
    seen = [env.step(torch.zeros(8, dtype=torch.int64)).observation for _ in range(500)]
    few = torch.cat([each["few"] for each in seen]).bincount(minlength=4) / 4000
    assert few.tolist() == pytest.approx([0, 0.2, 0.5, 0.3], abs=0.04)
    yes = torch.cat([each["yes"] for each in seen]).float().mean(0)
    assert yes.tolist() == pytest.approx([0.5, 0.25], abs=0.04)
    ragged = torch.cat([each["ragged"] for each in seen])
    assert ragged[:, 0].unique().tolist() == [0, 1] and ragged[:, 1].unique().tolist() == [5, 6, 7, 8]
    assert not torch.equal(ragged[0::8], ragged[1::8])  # every lane draws its own


def test_starts_are_drawn_from_the_rows_or_by_a_function():
    rows = {"count": torch.arange(4.0)}
    env = imaginary(start=rows, num_envs=400)
    counts = env.reset().observation["count"].long().bincount(minlength=4)
    assert (counts > 60).all()
    again = imaginary(start=rows, num_envs=400)
    first = again.reset().observation["count"]
    assert torch.equal(first.long().bincount(minlength=4), counts)
    assert not torch.equal(again.reset().observation["count"], first)
    assert again.specs["Imaginary"].num_envs == 400

    def draw(generator, n):
        return {"count": torch.from_numpy(generator.random(n, np.float32))}

    drawn = imaginary(start=draw, num_envs=50).reset().observation["count"]
    assert len(drawn.unique()) == 50

    def wrong(generator, n):
        return {"count": torch.zeros(n + 1)}

    with pytest.raises(SpecError, match="start= as tensors .* for each of 1 rows, got .*2"):
        imaginary(start=wrong).reset()


def test_starts_come_from_a_replay_buffer():
    real = ae.GymnasiumEnv("CartPole-v1", num_envs=4, on_missing="sample").pipe(ae.ReplayBuffer, capacity=200)
    for _ in zip(range(50), real):
        pass

    def still(observation, action):
        ones = torch.ones(4)
        return {"predict:observation": observation["observation"], "predict:reward": ones, "predict:discount": ones}

    env = ae.Imaginary(still, real.sample(64).observation, horizon=3, specs=real.specs)
    assert env.reset().observation["observation"].shape == (4, 4)
    real.close()


def test_the_spec_of_predict_inputs_is_stripped():
    below = CountingEnv(3, nested=True)
    asked = below.pipe(ae.PredictInputs, signals=True)
    env = ae.Imaginary(add, below.reset().observation, horizon=3, specs=asked.specs)
    assert env.action_spec() == below.action_spec() and env.observation_spec() == below.observation_spec()
    assert env.specs["Imaginary"].modalities == below.specs["CountingEnv"].modalities
    assert env.max_episode_steps == 3 and env.specs["Imaginary"].num_envs == 3
    delayed = ae.DatasetEnv({"x": torch.zeros(4), "y": torch.zeros(4)}, batch_size=2, mode="delayed")
    asked = delayed.pipe(ae.PredictInputs, keys="x", signals=True)
    start = {"x": torch.zeros(1), "y": torch.zeros(1)}
    assert set(ae.Imaginary(add, start, 3, specs=asked.specs).action_spec()) == {"predict:y"}


class Half(torch.nn.Module):
    """Keeps half of the count; in training it would drop it out."""

    def __init__(self):
        super().__init__()
        self.share = torch.nn.Parameter(torch.tensor(0.5))
        self.dropout = torch.nn.Dropout(0.9)

    def forward(self, observation, action):
        count = self.dropout(observation["count"] * self.share)
        return {"predict:count": count, "predict:reward": count, "predict:discount": torch.ones_like(count)}


def test_a_module_is_copied_in_eval_mode_and_gives_no_gradient():
    module = Half()
    env = imaginary(module, start={"count": torch.tensor([8.0])})
    with torch.no_grad():
        module.share.fill_(0.0)
    env.reset()
    timestep = env.step(torch.tensor([0, 0]))
    assert timestep.observation["count"].tolist() == [4, 4] and not timestep.reward.requires_grad
    assert module.training and module.share.requires_grad


def test_writing_into_a_timestep_changes_nothing():
    env = imaginary()
    env.reset().observation["count"].add_(3)
    assert env.step(torch.tensor([1, 1])).observation["count"].tolist() == [2, 2]


def test_lanes_are_held():
    env = imaginary()
    env.reset()
    only = torch.tensor([True, False])
    assert shown(env.step(torch.tensor([1, 1]), only))[0] == [2, 1]
    assert shown(env.step(torch.tensor([3, 1]) - 1, ~only))[0] == [2, 1]
    assert shown(env.reset(~only)) == [[2, 1], [1, 0], [20, 0], [1, 1]]


def stream(env, num_steps) -> list:
    seen = []
    for timestep in env:
        seen.append(
            (
                [(path, leaf.tolist()) for path, leaf in flatten(timestep.observation)],
                *[field.tolist() for field in timestep[:3]],
            )
        )
        if len(seen) == num_steps:
            return seen
        draws = np.random.default_rng([timestep.ticket.slot, timestep.ticket.step])
        timestep.reply(sample_action(env.action_spec(), len(timestep.reward), draws))


def test_it_goes_on_from_every_step():
    def make():
        starts = {**MANY_START, "few": torch.tensor([1, 2, 3])}
        starts = {key: value.expand(3, *value.shape[1:]) for key, value in starts.items() if key != "deep"}
        starts["deep"] = {"real": torch.linspace(-1, 1, 3, dtype=torch.float64)}
        return imaginary(unsure, MANY, starts, horizon=3, stochastic=True, seed=4)

    whole = stream(make(), 12)
    for stop in range(1, 11):
        env = make()
        stream(env, stop)
        state = io.BytesIO()
        torch.save(env.state_dict(), state)
        state.seek(0)
        other = make()
        other.load_state_dict(torch.load(state, weights_only=True))
        assert stream(other, 13 - stop) == whole[stop - 1 :]


def test_predict_inputs_composes_over_it():
    env = imaginary(horizon=9).pipe(ae.PredictInputs, signals=True)
    env.reset()
    told = {"predict:count": torch.tensor([2.0, 4.0]), "predict:reward": torch.tensor([20.0, 20.0])}
    timestep = env.step({"action": torch.tensor([1, 1]), **told, "predict:discount": torch.ones(2)})
    assert timestep.reward.tolist() == [20, 20 - 4]
    inner = ae.Imaginary(add, {"count": torch.tensor([1.0])}, 2, specs=env.specs)
    assert list(inner.action_spec()) == ["action"]


def run_loader(num_workers: int) -> list:
    both = {
        "count": imaginary(start={"count": torch.arange(4.0)}, num_envs=3),
        "many": imaginary(unsure, MANY, MANY_START, stochastic=True),
        "module": imaginary(Half(), start={"count": torch.arange(4.0)}),
    }
    loader = ae.Loader(both, num_workers=num_workers, in_flight=2, steps_per_epoch=60, seed=3)
    seen = []
    try:
        for timestep in loader:
            leaves = [(path, leaf.tolist()) for path, leaf in flatten(timestep.observation)]
            ticket = timestep.ticket
            seen.append((ticket.source, ticket.slot, ticket.step, leaves, *(field.tolist() for field in timestep[:3])))
            draws = np.random.default_rng([ticket.slot, ticket.step])
            timestep.reply(sample_action(loader.specs[ticket.source].action, len(timestep.reward), draws))
    finally:
        loader.close()
    return seen


def test_workers_imagine_the_same():
    assert run_loader(2) == run_loader(0)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"horizon": 0}, "horizon and num_envs of at least 1"),
        ({"threshold": 0.0}, r"threshold in \(0, 1\]"),
        ({"num_envs": 1.5}, "horizon and num_envs"),
        ({"predictor": "add"}, r"a function of observation and action, or an agent that predicts .*, got 'add'"),
        ({"spec": {"a": COUNTER, "b": COUNTER}}, r"EnvSpec of one source.*\['a', 'b'\]"),
        ({"spec": ae.EnvSpec({}, {})}, "something to observe"),
        ({"start": {"count": torch.zeros(0)}}, "for each of N rows"),
        ({"start": {"counts": torch.zeros(2)}}, r"count: float32 \[\] in \[0, 9\].*counts"),
        ({"start": {"count": None}}, "absent"),
        ({"start": [1.0]}, "got list"),
        ({"start": {"count": torch.zeros(2, dtype=torch.float64)}}, r"'count' as float32 \[\].*float64 \[2\]"),
        ({"start": {"count": torch.tensor([0.0, 10.0])}}, "within bounds.*from 0.0 to 10.0"),
        ({"start": {"count": torch.tensor([float("nan")])}}, "finite"),
        (
            {"spec": ae.EnvSpec({"reward": specs.Array((), np.float32)}, {}), "start": {"reward": torch.zeros(1)}},
            "no observation 'reward'.*Give it another key",
        ),
    ],
)
def test_options_are_checked(options, match):
    with pytest.raises(SpecError, match=f"Imaginary: expected.*{match}"):
        imaginary(**options)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (
            {"predict:reward": None},
            r"expected predictions \['predict:count'.*missing \['predict:reward'\].*signals=True",
        ),
        ({"predict:count": torch.zeros(2, 1)}, r"'predict:count' as float32 \[2\], got torch.float32 \[2, 1\]"),
        ({"predict:count": torch.zeros(2).long()}, r"as float32 \[2\], got torch.int64"),
        ({"predict:discount": 1.0}, "'predict:discount' as float32 .*got float"),
        (
            {"predict:reward": torch.tensor([0.0, float("inf")])},
            "finite predictions, 'predict:reward' .*step 0 has inf in lane 1",
        ),
    ],
)
def test_predictions_are_checked(change, match):
    def changed(observation, action):
        return {key: value for key, value in (add(observation, action) | change).items() if value is not None}

    env = imaginary(changed)
    env.reset()
    with pytest.raises(SpecError, match=rf"'Imaginary' \(Imaginary, slot 0\): .*{match}"):
        env.step(torch.tensor([0, 0]))


def test_predictions_of_lanes_that_start_may_be_anything():
    def lost(observation, action):
        told = add(observation, action)
        return told | {"predict:count": torch.where(observation["count"] >= 5, torch.nan, told["predict:count"])}

    env = imaginary(lost)
    env.reset()
    env.step(torch.tensor([2, 1]))
    env.step(torch.tensor([2, 1]))
    assert shown(env.step(torch.tensor([2, 1])))[0] == [1, 4]


def test_what_a_predictor_raises_is_named():
    def broken(observation, action):
        raise KeyError("weights")

    env = imaginary(broken, name="dream")
    env.reset()
    with pytest.raises(KeyError) as raised:
        env.step(torch.tensor([0, 0]))
    assert "'dream' (Imaginary, slot 0) asked its predictor what follows step 0" in raised.value.__notes__[0]
    env = imaginary(lambda observation, action: [1])
    env.reset()
    with pytest.raises(SpecError, match="return a dict of predictions, got list"):
        env.step(torch.tensor([0, 0]))


def test_targets_are_those_of_predict_inputs():
    asked = CountingEnv(2, nested=True).pipe(ae.PredictInputs, signals=True)
    targets = find_targets(CountingEnv(2, nested=True).specs["CountingEnv"], signals=True)
    spec = asked.specs["CountingEnv"]
    assert {path: target.spec for path, target in targets.items()} == {
        path: leaf for path, leaf in flatten(spec.action) if path[0] != "action"
    }
