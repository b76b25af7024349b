"""PredictInputs: which predictions are scored, against what, and how."""

from math import exp, log

import numpy as np
import pytest
import torch
from dm_env import specs

import aexp_torch as ae
from aexp_torch.errors import ActionError, SpecError
from aexp_torch.testing import CountingEnv


def guess(action, *values):
    return {"action": torch.tensor(action), "predict:observation": torch.tensor(values, dtype=torch.float32)}


def test_the_squared_error_of_what_comes_next_is_taken_off_the_reward():
    env = CountingEnv(2, lengths=[9, 9]).pipe(ae.PredictInputs, weight=0.5)
    assert env.reset().reward.tolist() == [0, 0]
    assert env.step(guess([4, 4], 1, 3)).reward.tolist() == [4, 4 - 0.5 * 4]
    assert env.step(guess([4, 4], 2, 2)).reward.tolist() == [4, 4]


def test_last_is_scored_and_nothing_is_across_first():
    env = CountingEnv(2, lengths=[1, 2]).pipe(ae.PredictInputs)
    env.reset()
    timestep = env.step(guess([4, 4], 0, 1))  # lane 0 predicts LAST, which shows 1
    assert timestep.reward.tolist() == [3, 4] and timestep.last().tolist() == [True, False]
    timestep = env.step(guess([4, 4], 9, 4))
    assert timestep.reward.tolist() == [0, 0] and timestep.first().tolist() == [True, False]
    timestep = env.step(guess([4, 4], 3, 9))  # lane 1 is FIRST
    assert timestep.reward.tolist() == [4, 0]


def test_a_horizon_scores_what_was_said_so_many_steps_before():
    env = CountingEnv(2, lengths=[3, 99]).pipe(ae.PredictInputs, horizon=2, mode="replace")
    env.reset()
    seen = []
    for t in range(8):  # said at t: t, so that t + 2 is missed by 2
        seen.append(env.step(guess([4, 4], t, t)).reward.tolist())
    # lane 0: LAST at 3, FIRST at 4, LAST at 7, FIRST at 8; what was said at 2 about 4, at 3 about 5 and so on is dropped
    assert seen == [[0, 0], [-4, -4], [-4, -4], [0, -4], [0, -4], [-4, -4], [-4, -4], [0, -4]]


def test_replace_leaves_the_loss_alone():
    env = CountingEnv(1, lengths=[9]).pipe(ae.PredictInputs, mode="replace", weight=2)
    env.reset()
    assert env.step(guess([4], 0)).reward.item() == -2
    assert env.step(guess([4], 2)).reward.item() == 0


def test_each_source_above_an_interleave_is_asked_about_itself():
    env = ae.Interleave({"a": CountingEnv(1, lengths=[9]), "b": CountingEnv(2, lengths=[2, 9])})
    env = env.pipe(ae.PredictInputs, mode="replace")
    timestep, seen = env.reset(), {"a": [], "b": []}
    for _ in range(8):
        seen[timestep.source].append(timestep.reward.tolist())
        here = timestep.observation["observation"]
        off = 1 if timestep.source == "a" else 2
        timestep = env.step({"action": torch.zeros(len(here)).long(), "predict:observation": here + 1 + off})
    assert seen == {"a": [[0], [-1], [-1], [-1]], "b": [[0, 0], [-4, -4], [-4, -4], [0, -4]]}


def test_held_lanes_keep_what_they_said():
    env = CountingEnv(2, lengths=[9, 9]).pipe(ae.PredictInputs, mode="replace", horizon=2)
    env.reset()
    env.step(guess([0, 0], 5, 5))  # about 2
    only = torch.tensor([True, False])
    assert env.step(guess([0, 0], 6, 100), only).reward.tolist() == [-9, 0]
    assert env.step(guess([0, 0], 7, 7), ~only).reward.tolist() == [-9, -9]
    assert env.step(guess([0, 0], 8, 8)).reward.tolist() == [-9, -16]  # 6 about 3; 7 about 3


class Shows(ae.Env):
    """Shows every kind of value, and a number that is absent when it is even. One lane."""

    lane_control = True
    kinds = {"few": "categorical", "many": "categorical", "yes": "binary", "grey": "integer", "deep": {"real": "real"}}

    def make_specs(self):
        observation = {
            "few": specs.BoundedArray((), np.int64, 1, 3),
            "many": specs.BoundedArray((2,), np.int64, [0, 5], [1, 8]),
            "yes": specs.Array((2,), bool),
            "grey": specs.BoundedArray((1, 2), np.uint8, 0, 255),
            "deep": {"real": specs.Array((), np.float64)},
            "odd": specs.Array((), np.float32),
        }
        kinds = {"many": ae.Modality("flat", "categorical"), "grey": ae.Modality("grid", "integer", "natural")}
        action = {"action": specs.DiscreteArray(2, np.int64)}
        return {self.name: ae.EnvSpec(observation, action, modalities={"observation": kinds})}

    def on_open(self):
        self.at = 0

    def _show(self):
        return {
            "few": torch.tensor([1 + self.at % 3]),
            "many": torch.tensor([[self.at % 2, 5 + self.at % 4]]),
            "yes": torch.tensor([[True, False]]),
            "grey": torch.tensor([[[self.at, 255]]], dtype=torch.uint8),
            "deep": {"real": torch.tensor([self.at / 4], dtype=torch.float64)},
            "odd": torch.tensor([float(self.at)]) if self.at % 2 else None,
        }

    def reset(self, lanes=None):
        self.at = 0
        return ae.restart(self._show(), 1)

    def step(self, action, lanes=None):
        self.at += 1
        return ae.transition(self._show(), torch.tensor([2.0]), 0.5)


def blank(env):
    from aexp_torch.specs.sample import zeros

    return zeros(env.specs["Shows"].action, 1)


def test_predictions_look_as_their_representation_asks():
    env = Shows().pipe(ae.PredictInputs)
    spec = env.specs["Shows"]
    shapes = {"few": (3,), "many": (2, 4), "yes": (2,), "grey": (1, 2), "odd": ()}
    for key, shape in shapes.items():
        assert spec.action[f"predict:{key}"].shape == shape and spec.action[f"predict:{key}"].dtype == np.float32
    assert spec.action["predict:deep"]["real"].shape == ()
    assert spec.modalities["action"]["predict:grey"] == ae.Modality("grid", "real", "next:natural")
    assert spec.modalities["action"]["predict:few"] == ae.Modality("flat", "real", "next")
    assert spec.observation == Shows().specs["Shows"].observation


def loss_of(keys, **predictions):
    """Returns the loss of one step (to at = 1), with the given predictions and zeros elsewhere."""
    env = Shows().pipe(ae.PredictInputs, keys=keys, mode="replace")
    env.reset()
    answer = blank(env)
    answer |= {f"predict:{key}": torch.tensor([value]) for key, value in predictions.items()}
    return -env.step(answer).reward.item()


def test_losses_follow_the_representation():
    np.testing.assert_allclose(loss_of("few", few=[0.0, 0.0, 0.0]), log(3), rtol=1e-6)
    np.testing.assert_allclose(loss_of("few", few=[0.0, 2.0, 0.0]), log(2 + exp(2)) - 2, rtol=1e-6)
    sharp = [[0.0, 50.0, 0.0, 0.0], [0.0, 50.0, 0.0, 0.0]]  # 1 of 0..1, and 6 of 5..8
    np.testing.assert_allclose(loss_of("many", many=sharp), 0, atol=1e-6)
    np.testing.assert_allclose(loss_of("yes", yes=[0.0, 0.0]), log(2), rtol=1e-6)
    np.testing.assert_allclose(loss_of("yes", yes=[3.0, 3.0]), (log(1 + exp(-3)) + log(1 + exp(3))) / 2, rtol=1e-6)
    np.testing.assert_allclose(loss_of("grey", grey=[[2.0, 253.0]]), (1 + 4) / 2)
    np.testing.assert_allclose(loss_of("deep/*"), 0.25**2)


def test_losses_of_several_keys_add_up():
    np.testing.assert_allclose(loss_of(["few", "yes"]), log(3) + log(2), rtol=1e-6)


def test_what_is_absent_is_not_scored():
    env = Shows().pipe(ae.PredictInputs, keys="odd", mode="replace")
    env.reset()
    answer = {"action": torch.tensor([0]), "predict:odd": torch.tensor([0.0])}
    assert [env.step(answer).reward.item() for _ in range(4)] == [-1, 0, -9, 0]


def test_masked_rows_are_not_scored():
    data = ae.DatasetEnv({"x": torch.arange(1.0, 4.0)}, batch_size=2, epochs=1).pipe(ae.PredictInputs)
    data.reset()
    timestep = data.step(torch.tensor([0.0, 1.0]))
    assert timestep.observation["mask:x"].tolist() == [True, False] and timestep.reward.tolist() == [-9, 0]


def test_signals_are_asked_for_too():
    env = Shows().pipe(ae.PredictInputs, keys="odd", signals=True)
    env.reset()
    told = {"predict:odd": torch.tensor([1.0]), "predict:discount": torch.tensor([1.0])}
    timestep = env.step({"action": torch.tensor([0]), "predict:reward": torch.tensor([1.0]), **told})
    assert timestep.reward.item() == 2 - 1 - 0.25
    kinds = {}
    for weight, mode in ((1, "add"), (0, "add"), (0, "replace")):
        below = Shows().pipe(ae.PredictInputs, keys="odd", signals=True, weight=weight, mode=mode)
        kinds[weight, mode] = below.specs["Shows"].modalities["action"]["predict:reward"]
    shown, hidden = ae.Modality("flat", "real", "next:reward"), ae.Modality("flat", "real", "next:reward:hidden")
    assert kinds == {(1, "add"): hidden, (0, "add"): shown, (0, "replace"): hidden}
    taken = CountingEnv().pipe(ae.ObserveReward).pipe(ae.PredictInputs, signals=True)
    with pytest.raises(SpecError, match="expected no observation 'reward' with signals=True"):
        taken.action_spec()


def test_losses_of_your_own():
    def absolute(prediction, target):
        return (prediction - target).abs()

    env = CountingEnv(1, lengths=[9]).pipe(ae.PredictInputs, loss=absolute, mode="replace")
    env.reset()
    assert env.step(guess([4], 4)).reward.item() == -3
    env = Shows().pipe(ae.PredictInputs, keys=["odd", "grey"], loss={"odd": absolute}, mode="replace")
    env.reset()
    answer = blank(env) | {"predict:odd": torch.tensor([3.0]), "predict:grey": torch.tensor([[[1.0, 254.0]]])}
    assert env.step(answer).reward.item() == -2 - 0.5


def test_below_a_time_scale_and_above_one():
    env = CountingEnv(1, lengths=[9]).pipe(ae.StaticTimescaled, ratio=0.5).pipe(ae.PredictInputs, mode="replace")
    env.reset()
    assert env.step(guess([4], 2)).reward.item() == 0
    assert env.step(guess([4], 3)).reward.item() == -1


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"mode": "sum"}, "expected mode 'add' or 'replace'.*'sum'"),
        ({"horizon": 0}, "horizon of at least 1"),
        ({"weight": float("inf")}, "a finite weight"),
        ({"loss": "mse"}, "expected functions as loss="),
    ],
)
def test_options_are_checked(options, match):
    with pytest.raises(SpecError, match=match):
        CountingEnv().pipe(ae.PredictInputs, **options)


def test_keys_that_do_not_fit_are_refused():
    with pytest.raises(SpecError, match=r"expected keys= and loss= to name some of \['observation'\]"):
        CountingEnv().pipe(ae.PredictInputs, keys="picture").action_spec()
    with pytest.raises(SpecError, match=r"\['picture'\]"):
        CountingEnv().pipe(ae.PredictInputs, loss={"picture": torch.dist}).action_spec()
    delayed = ae.DatasetEnv((torch.zeros(4), torch.zeros(4)), batch_size=2, mode="delayed")
    with pytest.raises(SpecError, match=r"expected free keys, \['predict:y'\] are in the action already.*keys="):
        delayed.pipe(ae.PredictInputs).action_spec()
    assert set(delayed.pipe(ae.PredictInputs, keys="x").action_spec()) == {"predict:y", "predict:x"}
    counts = CountingEnv().pipe(ae.Lambda, obs=lambda obs: {"x": obs["observation"].long()})
    with pytest.raises(SpecError, match="expected bounds for 'x', one logit for every choice"):
        counts.pipe(ae.PredictInputs).action_spec()


def test_predictions_without_a_finite_loss_are_refused():
    env = CountingEnv(2, lengths=[9, 9]).pipe(ae.PredictInputs)
    env.reset()
    with pytest.raises(ActionError, match=r"finite loss, 'predict:observation' for step 1 has nan in lane 1"):
        env.step(guess([4, 4], 1, float("nan")))
    with pytest.raises(SpecError, match=r"expected loss= to return float32 \[2\] for 'observation' of 'CountingEnv'"):
        other = CountingEnv(2).pipe(ae.PredictInputs, loss=lambda prediction, target: prediction.sum())
        other.reset()
        other.step(guess([4, 4], 1, 1))
