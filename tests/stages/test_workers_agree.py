"""Stages that count, wait and remember give the same stream in worker processes, and go on from a state taken there."""

import io

import numpy as np
import pytest
import torch

import aexp_torch as ae
from aexp_torch.specs import flatten
from aexp_torch.specs.sample import sample_action
from aexp_torch.testing import CountingEnv

pytestmark = pytest.mark.timeout(120)


def half(values: torch.Tensor, timestep: ae.TimeStep) -> torch.Tensor:
    return values / 2


def cart(**options) -> ae.Env:
    return ae.GymnasiumEnv("CartPole-v1", 3, "sync", **options)


def count(**options) -> ae.Env:
    return CountingEnv(3, lengths=[2, 3, 7], random=True, **options)


def make_loader(num_workers: int) -> ae.Loader:
    slow = {"ratio": 0.4, "hold": "noop", "pool_observation": "random"}
    fast = {"ratio": 2.5, "input": "drop", "pool_action": "random", "observe_phase": True}
    envs = {
        "slow": count(nested=True).pipe(ae.StaticTimescaled, **slow),
        "fast": cart().pipe(ae.StaticTimescaled, **fast).pipe(ae.PenalizeCompute, observe=True),
        "dynamic": cart().pipe(ae.DynamicTimescaled, pool_observation="mean").pipe(ae.PenalizeCompute, meter="action"),
        "predict": count(nested=True).pipe(ae.PredictInputs, horizon=2, signals=True),
        "advantage": count().pipe(ae.Advantage, order=2).pipe(ae.Advantage, key="other", baseline=half),
        "teacher": cart(max_episode_steps=2)
        .pipe(ae.Teacher, choose="proportional", capacity=9)
        .pipe(ae.FrameStack, stack_size=2),
        "back": count().pipe(ae.Teacher, buffer="top_k", window=2, p_revert=0.3, when="step"),
        "actions": count().pipe(ae.StaticTimescaled, ratio=0.5).pipe(ae.ObserveActions, which="executed", history=2),
        "both": ae.Interleave([count(name="a"), cart(name="b").pipe(ae.StaticTimescaled, ratio=2)])
        .pipe(ae.ObserveActions)
        .pipe(ae.PredictInputs, keys="observation"),
    }
    return ae.Loader(envs, num_workers=num_workers, in_flight=2, steps_per_epoch=150, seed=5)


def run(loader: ae.Loader, num_steps: int) -> list[tuple]:
    seen = []
    for timestep in loader:
        leaves = [(path, None if leaf is None else leaf.tolist()) for path, leaf in flatten(timestep.observation)]
        signals = [field.tolist() for field in timestep[:3]]
        ticket = timestep.ticket
        seen.append((ticket.source, ticket.slot, ticket.step, *signals, sorted(leaves)))
        spec = loader.specs[timestep.source]
        draws = np.random.default_rng([ticket.slot, ticket.step])
        timestep.reply(sample_action(spec.action, spec.num_envs, draws))
        if len(seen) == num_steps:
            break
    return seen


@pytest.mark.slow
def test_workers_give_the_stream_of_one_process_and_states_go_both_ways():
    alone, workers, other = make_loader(0), make_loader(2), make_loader(0)
    try:
        expected = run(alone, 150)
        sources = {source for source, *_ in expected}
        assert sources >= {"slow", "fast", "dynamic", "predict", "advantage", "actions", "teacher", "back"}
        restored = [dict(leaves).get(("teacher:restored_step",)) for *_, leaves in expected]
        assert sum(step is not None for step in restored[71:]) >= 3
        assert run(workers, 71) == expected[:71]
        state = io.BytesIO()
        torch.save(workers.state_dict(), state)
        state.seek(0)
        other.load_state_dict(torch.load(state, weights_only=True))
        rest = run(other, 79)
        assert run(workers, 79) == rest == expected[71:]
    finally:
        for loader in (alone, workers, other):
            loader.close()
