"""Trees of specs: flattened, joined, and learned from a function."""

import numpy as np
import pytest
import torch
from dm_env import specs

from aexp_torch.errors import SpecError
from aexp_torch.specs import EnvSpec, Modality, describe, flatten, map_tree, path_name, unflatten
from aexp_torch.specs.infer import infer_spec, with_sides
from aexp_torch.specs.union import union_of

FLOAT, CHOICE = specs.Array((4,), np.float32), specs.DiscreteArray(3, np.int64)


def test_a_tree_goes_both_ways():
    tree = {"a": 1, "b": {"c": 2, "d": {"e": 3}}}
    assert list(flatten(tree)) == [(("a",), 1), (("b", "c"), 2), (("b", "d", "e"), 3)]
    assert unflatten(list(flatten(tree))) == tree
    assert unflatten(list(flatten(7))) == 7
    assert map_tree(lambda one, two: one + two, tree, tree) == {"a": 2, "b": {"c": 4, "d": {"e": 6}}}
    assert [path_name(path) for path, _ in flatten(tree)] == ["a", "b/c", "b/d/e"] and path_name(()) == "value"


def test_describe_is_for_people():
    bounded = specs.BoundedArray((2,), np.float32, [-1, 0], [1, 5])
    assert describe({"a": FLOAT, "b": {"c": CHOICE, "d": bounded}}) == (
        "{a: float32 [4], b/c: int64 [] in 0..2, b/d: float32 [2] in [-1, 5]}"
    )


def test_equal_specs_share_a_key_and_unequal_ones_do_not():
    other = specs.DiscreteArray(4, np.int64)
    assert union_of({"one": {"x": FLOAT, "y": CHOICE}}) == {"x": FLOAT, "y": CHOICE}
    assert union_of({"one": {"x": FLOAT, "y": CHOICE}, "two": {"x": FLOAT, "y": other}, "three": {"z": FLOAT}}) == {
        "x": FLOAT,
        "y@one": CHOICE,
        "y@two": other,
        "z": FLOAT,
    }
    assert union_of({"one": {"in": {"y": CHOICE}}, "two": {"in": {"y": other}}}) == {
        "in": {"y@one": CHOICE, "y@two": other}
    }
    assert union_of({"one": {}, "two": {}}) == {}


def test_bounds_make_specs_unequal():
    narrow, wide = (specs.BoundedArray((2,), np.float32, 0, top) for top in (1, 2))
    assert list(union_of({"one": {"x": narrow}, "two": {"x": wide}})) == ["x@one", "x@two"]
    plain = specs.Array((2,), np.float32)
    assert list(union_of({"one": {"x": narrow}, "two": {"x": plain}})) == ["x@one", "x@two"]


def test_a_function_shows_its_spec():
    spec = {"a": FLOAT, "b": {"c": CHOICE}}

    def function(tree):
        return {"kept": tree["b"]["c"], "sum": tree["a"].sum(1), "b": tree["b"], "bits": tree["a"] > 0}

    assert infer_spec(function, spec, 3, "Mine") == {
        "kept": CHOICE,
        "sum": specs.Array((), np.float32),
        "b": {"c": CHOICE},
        "bits": specs.Array((4,), bool),
    }
    with pytest.raises(SpecError, match=r"Mine: expected 'a' as a tensor \[3, ...\], got a tensor \[4\]"):
        infer_spec(lambda tree: {"a": tree["a"][0]}, spec, 3, "Mine")


def test_sides_change_and_modalities_stay_where_leaves_do():
    tag = Modality("flat", "real", "joint angles")
    spec = EnvSpec({"a": FLOAT, "b": CHOICE}, {"go": CHOICE}, modalities={"observation": {"a": tag}}, num_envs=5)
    bounded = specs.BoundedArray((4,), np.float32, 0, 1)
    new = with_sides(spec, observation={"a": bounded, "c": specs.Array((2, 2), np.float32)})
    assert new.modalities["observation"] == {"a": tag, "c": Modality("grid", "real")}
    assert new.action is spec.action and new.num_envs == 5 and new.modalities["action"] == spec.modalities["action"]
    assert with_sides(spec, observation={"a": specs.Array((5,), np.float32)}).modalities["observation"]["a"] != tag


def test_torch_dtypes_follow_the_specs():
    from aexp_torch.specs.check import torch_dtype

    assert [torch_dtype(specs.Array((), dtype)) for dtype in (bool, np.uint8, np.int64, np.float32)] == [
        torch.bool,
        torch.uint8,
        torch.int64,
        torch.float32,
    ]
