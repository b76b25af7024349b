"""Modalities: the documented guesses, and what a user says instead."""

import numpy as np
import pytest
from dm_env import specs

from aexp_torch.errors import SpecError
from aexp_torch.specs import EnvSpec, Modality, guess_modality

NATURAL = Modality("grid", "integer", "natural")


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (specs.DiscreteArray(3, np.int64), Modality("flat", "categorical")),
        (specs.Array((), np.int64), Modality("flat", "categorical")),
        (specs.Array((), bool), Modality("flat", "binary")),
        (specs.Array((4,), bool), Modality("flat", "binary")),
        (specs.Array((4, 4), bool), Modality("grid", "binary")),
        (specs.BoundedArray((5,), np.int8, 0, 1), Modality("flat", "binary")),
        (specs.BoundedArray((5, 5), np.int64, 0, 1), Modality("grid", "binary")),
        (specs.Array((84, 84), np.uint8), NATURAL),
        (specs.BoundedArray((84, 84, 3), np.uint8, 0, 255), NATURAL),
        (specs.BoundedArray((4, 84, 84), np.uint8, 0, 255), NATURAL),
        (specs.BoundedArray((16, 84, 84, 3), np.uint8, 0, 255), Modality("sequence", "integer", "natural")),
        (specs.BoundedArray((16, 3, 84, 84), np.uint8, 0, 255), Modality("sequence", "integer", "natural")),
        (specs.BoundedArray((7, 7, 7, 7), np.uint8, 0, 255), Modality("grid", "integer")),
        (specs.BoundedArray((7, 7, 7), np.uint8, 0, 255), Modality("grid", "integer")),
        (specs.BoundedArray((20,), np.uint8, 0, 255), Modality("sequence", "categorical")),
        (specs.Array((20,), np.int64), Modality("sequence", "categorical")),
        (specs.BoundedArray((3,), np.int64, 0, 9), Modality("flat", "categorical")),
        (specs.Array((), np.float32), Modality("flat", "real")),
        (specs.BoundedArray((8,), np.float64, -1, 1), Modality("flat", "real")),
        (specs.Array((8, 8), np.float32), Modality("grid", "real")),
    ],
)
def test_guesses(spec, expected):
    assert guess_modality(spec) == expected


@pytest.mark.parametrize(("arguments", "match"), [(("line", "real"), "'line'"), (("flat", "float"), "'float'")])
def test_what_is_no_modality_is_refused(arguments, match):
    with pytest.raises(SpecError, match=rf"Modality: expected .* to be one of \(.*\), got {match}"):
        Modality(*arguments)


def test_every_leaf_has_one_at_its_place_and_the_users_win():
    tag = Modality("sequence", "categorical", "text:en")
    observation = {
        "a": specs.Array((4,), np.float32),
        "b": {"c": specs.Array((9,), np.uint8), "d": specs.Array((), bool)},
    }
    spec = EnvSpec(observation, {}, modalities={"observation": {"b": {"c": tag}}})
    assert spec.modalities == {
        "observation": {"a": Modality("flat", "real"), "b": {"c": tag, "d": Modality("flat", "binary")}},
        "action": {},
    }
