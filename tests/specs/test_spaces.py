"""The border to Gymnasium's spaces: golden specs, round trips in both directions, and the data both ways."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from dm_env import specs

from aexp_torch.errors import SpecError
from aexp_torch.specs import Modality, flatten, guess_modality

pytest.importorskip("gymnasium")

from gymnasium import spaces
from gymnasium.vector.utils import batch_space, concatenate, create_empty_array, iterate

from aexp_torch.specs.space_data import action_lane_writer, action_writer, batch_reader, lane_stacker
from aexp_torch.specs.spaces import space_modalities, space_to_spec, spec_to_space

LOW, HIGH = np.array([-1.0, -np.inf], np.float32), np.array([np.inf, 2.5], np.float32)
LEAVES = [
    (spaces.Box(-1, 1, (4,)), specs.BoundedArray((4,), np.float32, -1, 1)),
    (spaces.Box(-np.inf, np.inf, (2, 3), np.float64), specs.Array((2, 3), np.float64)),
    (spaces.Box(LOW, HIGH), specs.BoundedArray((2,), np.float32, LOW, HIGH)),
    (spaces.Box(-3.5, 0, ()), specs.BoundedArray((), np.float32, -3.5, 0)),
    (spaces.Box(0, 255, (8, 8, 3), np.uint8), specs.BoundedArray((8, 8, 3), np.uint8, 0, 255)),
    (spaces.Box(0, 7, (2, 2), np.uint16), specs.BoundedArray((2, 2), np.uint16, 0, 7)),
    (spaces.Box(-np.inf, np.inf, (3,), np.int64), specs.Array((3,), np.int64)),
    (spaces.Box(-5, 2**40, (3,), np.int64), specs.BoundedArray((3,), np.int64, -5, 2**40)),
    (spaces.Box(0, 4, (), np.int64), specs.BoundedArray((), np.int64, 0, 4)),
    (spaces.Box(0, 4, (3,), np.int32), specs.BoundedArray((3,), np.int32, 0, 4)),
    (spaces.Box(-(2**63), 2**63 - 1, (), np.int64), specs.BoundedArray((), np.int64, -(2**63), 2**63 - 1)),
    (spaces.Box(0, 1, (2,), bool), specs.Array((2,), bool)),
    (spaces.Box(-np.inf, np.inf, (0,), np.int64), specs.Array((0,), np.int64)),
    (spaces.Discrete(6), specs.DiscreteArray(6, np.int64)),
    (spaces.Discrete(3, start=-1), specs.BoundedArray((), np.int64, -1, 1)),
    (spaces.MultiDiscrete([2, 300, 4]), specs.BoundedArray((3,), np.int64, 0, [1, 299, 3])),
    (spaces.MultiDiscrete([2, 3], start=[5, -1]), specs.BoundedArray((2,), np.int64, [5, -1], [6, 1])),
    (spaces.MultiBinary(5), specs.BoundedArray((5,), np.int8, 0, 1)),
    (spaces.MultiBinary([3, 2]), specs.BoundedArray((3, 2), np.int8, 0, 1)),
]
TEXT = spaces.Text(4, min_length=0, charset="aé漢")
NESTED = spaces.Dict(
    {
        "camera": spaces.Box(0, 255, (4, 4, 3), np.uint8),
        "pair": spaces.Tuple([spaces.Discrete(3, start=1), spaces.Dict({"word": TEXT, "go": spaces.MultiBinary(2)})]),
        "arm": spaces.Dict({"x": spaces.Box(-1, 1, (2,)), "grip": spaces.MultiDiscrete([2, 3])}),
    }
)
EVERY_SPACE = [space for space, _ in LEAVES if space.shape != (0,)] + [TEXT, NESTED, spaces.Tuple([TEXT, TEXT])]


def same(left, right):
    """Compares two samples of a space, dtypes included."""
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, tuple):
        return len(left) == len(right) and all(map(same, left, right))
    return np.array_equal(left, right) and np.asarray(left).dtype == np.asarray(right).dtype


def vector_batch(space, num_envs=3):
    """Batches samples the way Gymnasium's vector environments do."""
    samples = [space.sample() for _ in range(num_envs)]
    return samples, concatenate(space, samples, create_empty_array(space, num_envs))


@pytest.mark.parametrize(("space", "spec"), LEAVES, ids=lambda value: repr(value)[:40])
def test_a_leaf_goes_both_ways(space, spec):
    tree = space_to_spec(space, "action")
    assert tree == {"action": spec}
    assert type(tree["action"]) is type(spec)
    assert tree["action"].name == "action"
    assert spec_to_space(tree, "action") == space
    assert space_to_spec(spec_to_space({"action": spec}, "action"), "action") == {"action": spec}


def test_nested_spaces_are_nested_dicts():
    assert space_to_spec(NESTED, "observation") == {
        "arm": {
            "grip": specs.BoundedArray((2,), np.int64, 0, [1, 2]),
            "x": specs.BoundedArray((2,), np.float32, -1, 1),
        },
        "camera": specs.BoundedArray((4, 4, 3), np.uint8, 0, 255),
        "pair": {
            "0": specs.BoundedArray((), np.int64, 1, 3),
            "1": {"go": specs.BoundedArray((2,), np.int8, 0, 1), "word": specs.BoundedArray((12,), np.uint8, 0, 255)},
        },
    }
    assert [leaf.name for _, leaf in flatten(space_to_spec(spaces.Tuple([TEXT, TEXT]), "observation"))] == ["0", "1"]


def test_a_dict_space_keeps_its_order_both_ways():
    space = spaces.Dict([("b", spaces.Discrete(2)), ("a", spaces.Dict({"c": spaces.Box(0, 1, (2,))}))])
    assert spec_to_space(space_to_spec(space, "observation"), "observation") == space
    assert list(space_to_spec(space, "observation")) == ["b", "a"]


def test_only_a_single_leaf_called_key_is_a_bare_space():
    leaf = specs.DiscreteArray(2, np.int64)
    assert spec_to_space({"action": leaf}, "action") == spaces.Discrete(2)
    assert spec_to_space({"jump": leaf}, "action") == spaces.Dict({"jump": spaces.Discrete(2)})
    assert isinstance(spec_to_space({"action": {"a": leaf}}, "action"), spaces.Dict)
    assert spec_to_space({}, "action") == spaces.Dict({})


def test_what_cannot_be_told_apart_takes_its_first_reading():
    def there_and_back(space):
        return spec_to_space(space_to_spec(space, "observation"), "observation")

    assert there_and_back(TEXT) == spaces.Box(0, 255, (12,), np.uint8)
    assert there_and_back(spaces.Tuple([spaces.Discrete(2)])) == spaces.Dict({"0": spaces.Discrete(2)})
    assert there_and_back(spaces.Box(0, 1, (2,), np.int8)) == spaces.MultiBinary(2)
    assert there_and_back(spaces.MultiDiscrete([2], np.int32)) == spaces.MultiDiscrete([2])
    assert spec_to_space({"a": specs.Array((2,), np.uint8)}, "a") == spaces.Box(0, 255, (2,), np.uint8)
    assert spec_to_space({"a": specs.DiscreteArray(256, np.uint8)}, "a") == spaces.Discrete(256)


@pytest.mark.parametrize(
    "space", [spaces.Graph(spaces.Box(0, 1), None), spaces.Sequence(TEXT), spaces.OneOf([TEXT, TEXT])], ids=type
)
def test_spaces_without_a_fixed_shape_are_refused(space):
    message = f"space_to_spec: expected Box, Discrete.* at 'a/0', got {type(space).__name__}.* wrap the environment"
    with pytest.raises(SpecError, match=message):
        space_to_spec(spaces.Dict({"a": spaces.Tuple([space])}), "observation")


def test_dtypes_that_no_tensor_has_are_refused():
    if np.dtype(np.longdouble) == np.float64:
        pytest.skip("this platform has no longer double")
    with pytest.raises(SpecError, match="expected a dtype that torch has at 'observation'"):
        space_to_spec(spaces.Box(0, 1, (2,), np.longdouble), "observation")
    with pytest.raises(SpecError, match="expected numbers at 'word'"):
        spec_to_space({"word": specs.StringArray(())}, "action")


def test_modalities_say_what_only_the_space_knows():
    assert space_modalities(TEXT, "observation") == {"observation": Modality("sequence", "categorical", "text")}
    assert space_modalities(spaces.MultiDiscrete([300, 9]), "action")["action"] == Modality("flat", "categorical")
    assert space_modalities(spaces.MultiDiscrete([2, 2]), "action")["action"].representation == "binary"
    camera = space_to_spec(NESTED, "observation")["camera"]
    assert space_modalities(NESTED, "observation")["camera"] == guess_modality(camera)


@pytest.mark.parametrize("space", EVERY_SPACE, ids=lambda value: repr(value)[:40])
def test_data_goes_both_ways(space):
    space.seed(1)
    samples, batch = vector_batch(space)
    tree = batch_reader(space, "action")(batch)
    spec_leaves = dict(flatten(space_to_spec(space, "action")))
    for path, tensor in flatten(tree):
        assert tensor.shape == (3, *spec_leaves[path].shape)
        for row in tensor:
            spec_leaves[path].validate(row.numpy())

    written = action_writer(space, "action")(tree)
    assert same(written, batch)
    assert all(map(same, iterate(batch_space(space, 3), written), iterate(batch_space(space, 3), batch)))
    stacked = dict(flatten(lane_stacker(space, "action")(samples)))
    for path, tensor in flatten(tree):
        assert torch.equal(stacked[path], tensor)
        assert stacked[path].dtype == tensor.dtype
    for lane, sample in enumerate(samples):
        single = action_lane_writer(space, "action")(tree, lane)
        assert same(single, sample)
        assert space.contains(single)
        assert isinstance(single, np.int64) or not isinstance(space, spaces.Discrete)


def test_declared_dtypes_are_restored_where_the_spec_has_int64():
    for space in (spaces.Discrete(3, dtype=np.int16), spaces.MultiDiscrete([2, 3], np.int32)):
        samples, batch = vector_batch(space)
        tree = batch_reader(space, "action")(batch)
        assert tree["action"].dtype == torch.int64
        assert same(action_writer(space, "action")(tree), batch)
        assert same(action_lane_writer(space, "action")(tree, 1), samples[1])


def test_memory_is_shared_where_nothing_changes_and_fresh_otherwise():
    space = spaces.Box(-1, 1, (2,))
    batch = np.zeros((3, 2), np.float32)
    tensor = batch_reader(space, "observation")(batch)["observation"]
    batch += 1
    assert tensor.sum() == 6
    assert np.shares_memory(action_writer(space, "action")({"action": tensor}), batch)
    assert not np.shares_memory(action_lane_writer(space, "action")({"action": tensor}, 0), batch)
    assert not np.shares_memory(lane_stacker(space, "observation")(list(batch))["observation"].numpy(), batch)


def test_arrays_that_torch_cannot_hold_are_copied():
    read = batch_reader(spaces.Box(-1, 1, (2,)), "observation")
    base = np.arange(6, dtype=np.float32).reshape(3, 2)
    read_only = base.copy()
    read_only.setflags(write=False)
    for batch in (base[:, ::-1], read_only, base.astype(np.float64), base.tolist(), base.astype(">f4")):
        assert torch.equal(read(batch)["observation"], torch.tensor(np.asarray(batch, np.float32).copy()))


def test_writers_take_the_whole_tree():
    space = spaces.Dict({"arm": spaces.Tuple([spaces.Discrete(4)])})
    tree = {"arm": {"0": torch.tensor([3, 1])}}
    assert same(action_writer(space, "action")(tree), {"arm": (np.array([3, 1]),)})
    assert same(action_lane_writer(space, "action")(tree, 1), {"arm": (np.int64(1),)})
    with_gradient = {"action": torch.zeros(2, 3, requires_grad=True)}
    assert same(action_writer(spaces.Box(-1, 1, (3,)), "action")(with_gradient), np.zeros((2, 3), np.float32))


def test_errors_name_the_place():
    with pytest.raises(SpecError, match="expected text of at most 12 bytes at '1', got 'aaaaaaaaaaaaa'"):
        batch_reader(spaces.Tuple([TEXT, TEXT]), "observation")((("a",), ("a" * 13,)))
    with pytest.raises(SpecError, match=r"expected zero-padded UTF-8 at 'action', got b'\\xff'"):
        action_writer(TEXT, "action")({"action": torch.tensor([[255, 0, 0]], dtype=torch.uint8)})
    with pytest.raises(SpecError, match=r"expected shape \(2,\) at 'a' in every lane, got \(3,\)"):
        lane_stacker(spaces.Dict({"a": spaces.Box(0, 1, (2,))}), "observation")([{"a": [0, 0, 0]}])


def test_the_package_does_not_import_gymnasium():
    code = "import sys, aexp_torch.specs; sys.exit('gymnasium' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0
