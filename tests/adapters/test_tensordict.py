"""timestep.to_tensordict: TorchRL's names, nothing lost but what is absent."""

import sys

import pytest
import torch

import aexp_torch as ae
from aexp_torch.testing import CountingEnv

BOOLS = ("done", "terminated", "truncated", "is_init")


def test_has_the_keys_of_torchrl():
    pytest.importorskip("tensordict")
    env = CountingEnv(num_envs=3, lengths=[1, 2, 1], nested=True)
    first = env.reset().to_tensordict()
    assert first.batch_size == (3,) and first["is_init"].all() and not first["done"].any()
    timestep = env.step(torch.tensor([1, 2, 3]))
    tensordict = timestep.to_tensordict()
    assert torch.equal(tensordict["reward"], torch.tensor([[1.0], [2.0], [3.0]]))
    assert {key: tensordict[key].shape for key in BOOLS} == dict.fromkeys(BOOLS, (3, 1))
    assert {key: tensordict[key].dtype for key in BOOLS} == dict.fromkeys(BOOLS, torch.bool)
    assert tensordict["terminated"].ravel().tolist() == [True, False, True]
    assert torch.equal(tensordict["step_type"], timestep.step_type)
    assert torch.equal(tensordict["discount"], timestep.discount)
    assert torch.equal(tensordict["where", "lane"], torch.arange(3))
    later = env.step(torch.tensor([0, 0, 0])).to_tensordict()
    assert later["truncated"].ravel().tolist() == [False, True, False] and torch.equal(
        later["done"], later["terminated"] | later["truncated"]
    )


def test_leaves_out_what_is_absent_and_renames_what_collides():
    pytest.importorskip("tensordict")
    x = torch.arange(4.0)
    env = ae.DatasetEnv({"x": x, "y": x}, batch_size=2, mode="delayed", loss="mse").pipe(ae.ObserveReward)
    first = env.reset().to_tensordict()
    keys = set(first.keys())
    assert "y" not in keys and {"x", "observation:reward", "reward"} <= keys
    tensordict = env.step({"predict:y": torch.ones(2)}).to_tensordict()
    assert tensordict["observation:reward"].tolist() == [-1, 0] and tensordict["reward"].tolist() == [[-1], [0]]


def test_answers_come_from_a_tensordict():
    tensordict = pytest.importorskip("tensordict").TensorDict
    env = CountingEnv(num_envs=2)
    for timestep in env:
        if timestep.ticket.step == 1:
            break
        timestep.reply(tensordict({"action": torch.tensor([3, 4])}, [2])["action"])
    assert timestep.to_tensordict()["reward"].tolist() == [[3], [4]]


def test_names_the_command_where_tensordict_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensordict", None)
    with pytest.raises(ae.MissingDependencyError, match=r'pip install "aexp-torch\[tensordict\]"'):
        CountingEnv().reset().to_tensordict()
