"""Augment: what is chosen, from which generator it draws, and what absent values and held lanes do."""

import numpy as np
import pytest
import torch
from dm_env import specs

import aexp_torch as ae
from aexp_torch.testing import CountingEnv


class AddDraw(ae.Augment):
    """Adds a number in [1, 2)."""

    def augment(self, value, spec, modality, generator):
        draws = torch.from_numpy(1 + generator.random(len(value)))
        return (value + draws).to(value.dtype)


class Halve(ae.Augment):
    """Halves; on the way up, doubles."""

    def augment(self, value, spec, modality, generator):
        assert spec.dtype == np.int64 or modality.representation == "real"
        return value // 2

    def augment_spec(self, spec, modality):
        if not isinstance(spec, specs.BoundedArray):
            raise ae.SpecError("expected bounds, got none.")
        return specs.BoundedArray((), spec.dtype, 0, 9), ae.Modality("flat", "integer", "halves")


def nested(num_envs=2, **options):
    return CountingEnv(num_envs, lengths=[99] * num_envs, nested=True, random=True, **options)


def added(env, plain=None):
    """Returns what was added to each value, by name."""
    one, other = (plain or nested()).reset().observation, env.reset().observation
    return {
        "count": (other["count"] - one["count"]).tolist(),
        "random": (other["random"] - one["random"]).tolist(),
        "age": (other["where"]["age"] - one["where"]["age"]).tolist(),
    }


@pytest.mark.parametrize(
    ("keys", "chosen"),
    [
        ("*", {"count", "random", "age"}),
        ("where/*", {"age"}),
        ("[cr]*", {"count", "random"}),
        (lambda modality: modality.representation == "real", {"count", "random"}),
        (lambda modality: modality.representation == "categorical", {"age"}),
    ],
)
def test_keys_choose(keys, chosen):
    assert {name for name, values in added(nested().pipe(AddDraw, keys=keys)).items() if any(values)} == chosen


def test_a_key_draws_the_same_whatever_else_is_chosen():
    alone, among = added(nested().pipe(AddDraw, keys="count")), added(nested().pipe(AddDraw))
    assert alone["count"] == among["count"] != among["random"]


def test_stages_of_one_class_draw_differently_even_across_a_composition():
    below = ae.Interleave([nested(name="a").pipe(AddDraw, keys="count"), nested(name="b")])
    once = ae.Interleave([nested(name="a").pipe(AddDraw, keys="count"), nested(name="b")]).reset()
    twice = below.pipe(AddDraw, keys="count").reset()
    assert not torch.allclose(twice.observation["count"], 2 * once.observation["count"])


def test_the_spec_follows_the_hook_and_names_the_key_where_that_refuses():
    env = nested().pipe(Halve, keys="where/age", side="observation")
    assert env.specs["CountingEnv"].observation["where"]["age"].maximum == 9
    assert env.specs["CountingEnv"].modalities["observation"]["where"]["age"].context == "halves"
    with pytest.raises(ae.SpecError, match="Halve: observation 'count': expected bounds, got none. keys= chooses"):
        nested().pipe(Halve).observation_spec()


def test_the_action_side_gives_the_source_other_values():
    env = nested().pipe(Halve, side="action")
    env.reset()
    assert env.action_spec()["action"].maximum == 9
    assert env.step(torch.tensor([8, 5])).reward.tolist() == [4, 2]


@pytest.mark.parametrize(("granularity", "possible"), [("key", {0, 8}), ("row", {0, 2, 4, 6, 8})])
def test_granularity_says_what_p_is_drawn_for(granularity, possible):
    env = ae.GymnasiumEnv("CartPole-v1", 4).pipe(ae.Dropout, p=0.5, value=9, granularity=granularity)
    env.reset()
    rows = [(env.step(torch.zeros(4, dtype=torch.int64)).observation["observation"] == 9) for _ in range(40)]
    assert all((hit.all(1) == hit.any(1)).all() for hit in rows)
    assert {2 * int(hit.all(1).sum()) for hit in rows} == possible


def test_nothing_chosen_is_refused_unless_everything_is_asked_for():
    with pytest.raises(ae.SpecError, match=r"keys='vison' to choose something, there is \(by source\) .*'count'"):
        nested().pipe(ae.Augment, keys="vison").reset()
    ae.DatasetEnv({"x": torch.zeros(4)}, batch_size=2).pipe(ae.Augment, side="action").reset()
    mixed = ae.Interleave([nested(name="a"), CountingEnv(name="b")]).pipe(AddDraw, keys="count")
    assert mixed.reset().observation["count"].all()


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"keys": 3}, "expected keys= as a glob or a function of a Modality, got 3"),
        ({"p": 1.5}, r"expected p in \[0, 1\], got 1.5"),
        ({"side": "up"}, "expected side 'observation', 'action' or 'both', got 'up'"),
        ({"granularity": "bit"}, "expected granularity 'key', 'row' or 'element', got 'bit'"),
    ],
)
def test_options_are_checked(options, match):
    with pytest.raises(ae.SpecError, match=match):
        nested().pipe(ae.Augment, **options)


def test_rows_that_are_absent_stay_absent():
    env = nested(8).pipe(ae.DropKeyValue, p=0.5, keys="count").pipe(AddDraw, keys="count")
    observation = env.reset().observation
    assert ((observation["count"] > 0) == observation["mask:count"]).all()
    assert observation["mask:count"].any() and not observation["mask:count"].all()


def test_a_value_that_some_lanes_lack_keeps_its_dtype():
    rows = {"x": {"old": torch.arange(5) > 2, "name": torch.arange(5)}, "y": torch.arange(5)}
    env = ae.DatasetEnv(rows, batch_size=3, epochs=1).pipe(ae.Repeat, p=0.0)
    env.reset()
    last = env.step(None).observation  # its third row is filled up
    assert last["x"]["old"].dtype is torch.bool and last["x"]["old"].tolist() == [True, True, False]
