"""DropKeyValue: None for the batch, a mask where only some rows lack the key."""

import copy

import pytest
import torch

import aexp_torch as ae
from aexp_torch.testing import CountingEnv


def rollout(env, num_steps):
    timesteps = [env.reset()]
    for _ in range(num_steps):
        timesteps.append(env.step(torch.zeros(len(timesteps[0].reward), dtype=torch.int64)))
    return timesteps


def test_one_lane_has_a_key_or_none():
    shown = [t.observation for t in rollout(CountingEnv(1, lengths=[99]).pipe(ae.DropKeyValue, p=0.5), 60)]
    assert all(set(observation) == {"observation"} for observation in shown)
    values = [None if o["observation"] is None else o["observation"].item() for o in shown]
    assert all(value in (None, step) for step, value in enumerate(values))
    assert 15 < values.count(None) < 45


def test_some_lanes_lack_what_a_mask_says():
    kinds = set()
    for timestep in rollout(CountingEnv(3, lengths=[99] * 3).pipe(ae.DropKeyValue, p=0.4), 60)[1:]:
        value, mask = timestep.observation["observation"], timestep.observation.get("mask:observation")
        kinds.add((value is None, mask is None))
        if mask is not None:
            assert not mask.all() and mask.any()
            assert ((value > 0) == mask).all()
    assert kinds == {(True, True), (False, True), (False, False)}


def test_a_spell_lasts_n_steps_and_ends_with_its_episode():
    env = CountingEnv(1, lengths=[3]).pipe(ae.DropKeyValue, p=0.2, n=10)
    gone = "".join("-" if t.observation["observation"] is None else "x" for t in rollout(env, 400))
    episodes = [gone[start : start + 4] for start in range(0, 400, 4)]
    assert set(episodes) == {"xxxx", "xxx-", "xx--", "x---", "----"}
    assert episodes.count("----") == pytest.approx(20, abs=12)


def test_nested_keys_have_masks_beside_them_and_earlier_masks_stay():
    env = CountingEnv(4, lengths=[99] * 4, nested=True)
    once = env.pipe(ae.DropKeyValue, p=0.5, keys="where/age")
    twice = copy.copy(once).pipe(ae.DropKeyValue, p=0.5, keys="where/age")
    fewer = 0
    for one, other in zip(rollout(once, 30), rollout(twice, 30)):
        below, above = one.observation["where"], other.observation["where"]
        if below["age"] is None:
            assert above["age"] is None
        elif above["age"] is not None and "mask:age" in below:
            assert (above["mask:age"] <= below["mask:age"]).all()
            fewer += (above["mask:age"] < below["mask:age"]).any().item()
    assert fewer
    assert once.observation_spec() == env.observation_spec()


def test_a_held_lane_keeps_what_it_showed_whatever_the_others_lose():
    env = CountingEnv(2, lengths=[99] * 2).pipe(ae.DropKeyValue, p=0.5)
    timestep = env.reset()
    zeros, lanes = torch.zeros(2, dtype=torch.int64), torch.tensor([True, False])

    def lane(timestep, number):
        value, mask = timestep.observation["observation"], timestep.observation.get("mask:observation")
        present = value is not None and (mask is None or mask[number].item())
        return value[number].item() if present else None

    kept, moved = lane(timestep, 1), []
    for _ in range(20):
        timestep = env.step(zeros, lanes)
        assert lane(timestep, 1) == kept
        moved.append(lane(timestep, 0))
    assert None in moved and 20 > len([value for value in moved if value is not None]) > 3


def test_a_loader_with_workers_carries_it():
    def stream(num_workers):
        env = CountingEnv(2, nested=True).pipe(ae.DropKeyValue, p=0.4)
        loader = ae.Loader(env, steps_per_epoch=12, num_workers=num_workers, in_flight=2)
        shown = []
        for timestep in loader:
            shown.append(
                {k: None if v is None else v.tolist() for k, v in timestep.observation.items() if k != "where"}
            )
            timestep.reply(torch.zeros(2, dtype=torch.int64))
        return shown

    assert stream(0) == stream(1)


def test_gymnasium_is_told_what_is_gone():
    env = ae.to_gymnasium(CountingEnv(1).pipe(ae.DropKeyValue, p=0.5))
    shown, _ = env.reset()
    seen = {bool(shown["mask:observation"])}
    for _ in range(20):
        shown, *_ = env.step(0)
        seen.add(bool(shown["mask:observation"]))
    assert seen == {True, False}
    env.close()
