"""The check of an answer: bounds of every dtype, at their very edges."""

import numpy as np
import pytest
import torch
from dm_env import specs

from aexp_torch.errors import ActionError
from aexp_torch.specs.check import action_checker

GOING_ON = torch.tensor([False, True])
CASES = [
    (specs.DiscreteArray(5, np.int64), [0, 4], [[0, 5], [-1, 0], [2**62, 0], [-(2**63), 0], [2**63 - 1, 0]]),
    (specs.DiscreteArray(5, np.int32), [0, 4], [[0, 5], [-1, 0]]),
    (specs.BoundedArray((), np.int64, -2, 3), [-2, 3], [[-3, 0], [0, 4]]),
    (specs.BoundedArray((2,), np.int64, 0, [1, 2]), [[1, 2], [0, 0]], [[[2, 2], [0, 0]], [[0, 0], [0, 3]]]),
    (specs.BoundedArray((2,), np.int64, 0, 3), [[3, 3], [0, 0]], [[[4, 0], [0, 0]], [[0, 0], [0, -1]]]),
    (specs.BoundedArray((), np.uint8, 0, 255), [0, 255], []),
    (specs.BoundedArray((), np.uint8, 1, 7), [1, 7], [[0, 1], [1, 8]]),
    (specs.BoundedArray((), np.int8, 0, 1), [0, 1], [[0, 2], [-1, 0]]),
    (specs.BoundedArray((), np.float32, 0, 1), [0.0, 1.0], [[1.0000001, 0], [-1e-30, 0], [np.nan, 0], [np.inf, 0]]),
    (specs.BoundedArray((), np.float64, -np.inf, 0), [-np.inf, 0.0], [[1e-300, 0], [np.nan, 0]]),
    (specs.Array((), np.float32), [np.nan, np.inf], []),
]


def tensor(values, spec):
    return torch.from_numpy(np.array(values, spec.dtype))


@pytest.mark.parametrize(("spec", "good", "bad"), CASES, ids=lambda value: str(value)[:40])
def test_bounds(spec, good, bad):
    check = action_checker({"action": spec}, 2)
    assert torch.equal(
        check(tensor(good, spec), lambda: GOING_ON)["action"].nan_to_num(), tensor(good, spec).nan_to_num()
    )
    for values in bad:
        with pytest.raises(ActionError, match="'action' as .*got .* in lane [01]"):
            check(tensor(values, spec), lambda: GOING_ON)
        ignored = check(tensor(values, spec), lambda: torch.tensor([True, True]))["action"]
        check(ignored, lambda: GOING_ON)


def test_what_comes_back_is_memory_of_its_own():
    check = action_checker({"action": specs.Array((), np.float32)}, 2)
    for given in (torch.zeros(2), torch.zeros(2, requires_grad=True), np.zeros(2, np.float32)):
        checked = check(given, lambda: GOING_ON)["action"]
        assert not checked.requires_grad
        checked += 1
        assert not given.any()


@pytest.mark.parametrize("given", [1, "right", [0, 1], (0, 1), object()])
def test_what_is_no_tensor_is_named(given):
    with pytest.raises(
        ActionError, match=r"expected a tensor torch.int64 \[2\] for 'action', got (int|str|list|tuple|object)"
    ):
        action_checker({"action": specs.DiscreteArray(2, np.int64)}, 2)(given, lambda: GOING_ON)
