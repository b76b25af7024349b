"""TimeStep and Ticket: plain data with a return address."""

import copy
import pickle

import pytest
import torch

import aexp_torch as ae
from aexp_torch.testing import CountingEnv
from aexp_torch.timestep import pack_timestep, select_lanes, unpack_timestep

STEP_TYPE = torch.tensor([0, 1, 2, 2], dtype=torch.int8)
DISCOUNT = torch.tensor([1.0, 0.0, 0.0, 0.5])


def timestep(**fields):
    given = {"step_type": STEP_TYPE, "reward": torch.arange(4.0), "discount": DISCOUNT, "observation": {}}
    return ae.TimeStep(**(given | fields))


def test_step_types_have_dm_envs_numbers():
    import dm_env

    assert [int(kind) for kind in ae.StepType] == [int(kind) for kind in dm_env.StepType]
    assert ae.TimeStep._fields[:4] == dm_env.TimeStep._fields


def test_where_episodes_start_go_on_and_end():
    assert timestep().first().tolist() == [True, False, False, False]
    assert timestep().mid().tolist() == [False, True, False, False]
    assert timestep().last().tolist() == [False, False, True, True]
    assert timestep().terminated().tolist() == [False, False, True, False]
    assert timestep().truncated().tolist() == [False, False, False, True]


@pytest.mark.parametrize(
    ("made", "step_type", "reward", "discount"),
    [
        (ae.restart({}, 2), [0, 0], [0, 0], [1, 1]),
        (ae.transition({}, torch.tensor([1.0, 2.0])), [1, 1], [1, 2], [1, 1]),
        (ae.transition({}, torch.ones(2), 0.5), [1, 1], [1, 1], [0.5, 0.5]),
        (ae.transition({}, torch.ones(2), torch.tensor([0.0, 1.0])), [1, 1], [1, 1], [0, 1]),
        (ae.termination({}, torch.ones(2)), [2, 2], [1, 1], [0, 0]),
        (ae.truncation({}, torch.ones(2)), [2, 2], [1, 1], [1, 1]),
        (ae.truncation({}, torch.ones(2), 0.25), [2, 2], [1, 1], [0.25, 0.25]),
    ],
)
def test_constructors(made, step_type, reward, discount):
    assert made.step_type.dtype is torch.int8
    assert made.reward.dtype is made.discount.dtype is torch.float32
    assert [made.step_type.tolist(), made.reward.tolist(), made.discount.tolist()] == [step_type, reward, discount]
    assert made.ticket is None and made.source == ""
    made.discount[0] = 0.75  # memory of its own
    assert made.discount[1] == discount[1]


def test_a_copy_on_another_device_keeps_structure_and_ticket():
    given = CountingEnv(nested=True).reset()
    given = given._replace(observation={**given.observation, "absent": None})
    moved = given.to("meta")
    assert moved.ticket is given.ticket
    assert moved.observation["absent"] is None
    assert moved.observation["where"]["age"].is_meta and moved.step_type.is_meta
    assert not given.observation["where"]["age"].is_meta


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
def test_a_copy_has_memory_of_its_own(duplicate):
    given = CountingEnv(nested=True).reset()
    other = duplicate(given)
    other.observation["where"]["age"] += 7
    assert given.observation["where"]["age"].tolist() == [0, 0]
    assert (other.ticket.source, other.ticket.slot, other.ticket.step) == ("CountingEnv", 0, 0)


def test_a_ticket_is_a_plain_class_that_says_where_it_is_from():
    ticket = CountingEnv(name="count").reset().ticket
    assert repr(ticket) == "Ticket('count', slot=0, step=0)"
    assert not isinstance(ticket, tuple) and not hasattr(ticket, "__dict__") and not hasattr(ticket, "to")


def test_select_lanes_mixes_rows_and_keeps_the_ticket_of_the_chosen():
    env = CountingEnv(2, nested=True)
    old = env.reset()
    new = env.step(torch.tensor([3, 4]))
    mixed = select_lanes(torch.tensor([False, True]), new, old)
    assert mixed.ticket is new.ticket
    assert mixed.reward.tolist() == [0, 4]
    assert mixed.step_type.tolist() == [0, 1]
    assert mixed.observation["where"]["age"].tolist() == [0, 1]
    assert mixed.observation["where"]["age"].dtype is torch.int64


def test_select_lanes_fills_what_one_side_lacks_with_zeros():
    picture = torch.ones(2, 3, 3, dtype=torch.uint8)
    lanes = torch.tensor([True, False])
    mixed = select_lanes(lanes, ae.restart({"a": picture, "b": None}, 2), ae.restart({"a": None, "b": None}, 2))
    assert mixed.observation["a"].sum((1, 2)).tolist() == [9, 0]
    assert mixed.observation["b"] is None


def test_a_packed_timestep_comes_back_and_answers():
    env = CountingEnv(name="count")
    given = env.reset()
    packed = pack_timestep(given)
    assert set(packed) == {"step_type", "reward", "discount", "observation", "source", "step"}
    again = unpack_timestep(packed, {"count": given.ticket._address})
    again.reply(torch.tensor([1, 1]))
    assert next(iter(env)).reward.tolist() == [1, 1]
    assert pack_timestep(None) is None and unpack_timestep(None, {}) is None


def test_it_is_a_tree_for_torch():
    from torch.utils import _pytree

    given = CountingEnv(nested=True).reset()
    doubled = _pytree.tree_map_only(torch.Tensor, lambda leaf: leaf * 2, given)
    assert doubled.ticket is given.ticket and type(doubled) is ae.TimeStep


def test_select_lanes_says_in_masks_which_rows_have_a_key():
    value, lanes = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([True, False, True])
    whole, none = ae.restart({"in": {"a": value}}, 3), ae.restart({"in": {"a": None}}, 3)
    some = ae.restart({"in": {"a": value * torch.tensor([0, 1, 1]), "mask:a": torch.tensor([False, True, True])}}, 3)
    for chosen, other, rows, mask in [
        (whole, none, [1, 0, 3], [True, False, True]),
        (none, whole, [0, 2, 0], [False, True, False]),
        (some, whole, [0, 2, 3], [False, True, True]),
        (none, some, [0, 2, 0], [False, True, False]),
        (some, none, [0, 0, 3], [False, False, True]),
    ]:
        mixed = select_lanes(lanes, chosen, other).observation["in"]
        assert mixed["a"].tolist() == rows and mixed["mask:a"].tolist() == mask
    assert "mask:a" not in select_lanes(lanes, whole, whole).observation["in"]
    subtree = ae.restart({"in": {"a": value}, "mask:in": torch.tensor([True, False, False])}, 3)
    assert select_lanes(lanes, subtree, whole).observation["mask:in"].tolist() == [True, True, False]
