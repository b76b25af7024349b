"""Every exported source, stage and composition keeps every promise that `aexp_torch.testing` knows."""

import atexit
import functools
import inspect
import shutil
import tempfile

import pytest
import torch

import aexp_torch as ae
from aexp_torch.testing import (
    CountingEnv,
    FakeGymEnv,
    check_answers,
    check_close,
    check_data,
    check_episodes,
    check_lane_control,
    check_missing_answer,
    check_no_global_generator,
    check_nothing_mutated,
    check_recipe,
    check_restore,
    check_seeds,
    check_signals,
    check_spawn,
)

pytestmark = pytest.mark.timeout(120)
BASES = {ae.Env, ae.Composition}  # abstract: nothing to run


def seven_samples() -> dict:
    return {"x": torch.arange(14.0).view(7, 2), "y": torch.tensor([0, 1, 2, 0, 1, 2, 0])}


def half(observation: dict) -> dict:
    return {key: value / 2 for key, value in observation.items()}


def turned(action: dict) -> dict:
    return {"action": 4 - action["action"]}


def with_ones(timestep: ae.TimeStep) -> ae.TimeStep:
    return timestep._replace(observation={**timestep.observation, "one": torch.ones_like(timestep.reward)})


def dataset(**options) -> ae.DatasetEnv:
    return ae.DatasetEnv(seven_samples(), name="seven", **{"batch_size": 3, **options})


def two_environments() -> dict:
    return {"narrow": CountingEnv(2, random=True), "wide": CountingEnv(3, nested=True), "data": dataset(epochs=1)}


@functools.cache
def recording() -> str:
    """Returns a folder with a recording of two slots, whose episodes end at different times."""
    path = tempfile.mkdtemp(prefix="recording-")
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    for slot in range(2):
        env = CountingEnv(3, random=True, nested=True, on_missing="sample").pipe(ae.ReplayBuffer, path=path)
        env.place(seed=0, slot=slot, num_slots=2)
        for _ in zip(range(30), env):
            pass
        env.close()
    return path


# A row: how to make it, then what is true of it: "random" (follows from the seed), "partial" (some lanes end while
# others go on), "shared" (lanes share a generator). Add one for every class that is exported.
ROWS = {
    "CountingEnv": (lambda: CountingEnv(3, random=True), "random partial"),
    "CountingEnv-one-lane": (lambda: CountingEnv(1), ""),
    "CountingEnv-finite-nested": (lambda: CountingEnv(3, stream_length=7, nested=True), "partial"),
    "CountingEnv-no-action": (lambda: CountingEnv(num_actions=0, stream_length=5), "partial"),
    "GymnasiumEnv-own-vector": (lambda: ae.GymnasiumEnv("CartPole-v1", 3), "random partial"),
    "GymnasiumEnv-sync": (lambda: ae.GymnasiumEnv("CartPole-v1", 3, "sync"), "random partial"),
    "GymnasiumEnv-one-lane": (lambda: ae.GymnasiumEnv("Acrobot-v1", max_episode_steps=5), "random"),
    "GymnasiumEnv-toy-text": (lambda: ae.GymnasiumEnv("FrozenLake-v1", 4), "random partial"),
    "GymnasiumEnv-dict-tuple-text": (lambda: ae.GymnasiumEnv(FakeGymEnv, 2), "random"),
    "DatasetEnv-joint-pass": (lambda: dataset(epochs=2), ""),
    "DatasetEnv-joint-endless": (lambda: dataset(shuffle=True), "random"),
    "DatasetEnv-joint-one-row": (lambda: dataset(batch_size=1, drop_last=True), ""),
    "DatasetEnv-delayed-pass": (lambda: dataset(epochs=2, loss="mse"), ""),
    "DatasetEnv-delayed-batch": (lambda: dataset(loss="cross_entropy", episode="batch", shuffle=True), "random"),
    "DatasetEnv-delayed-endless": (lambda: dataset(mode="delayed", drop_last=True), ""),
    "DatasetEnv-split-pass": (lambda: dataset(mode="split", epochs=1, loss="correct"), ""),
    "DatasetEnv-split-batch": (lambda: dataset(mode="split", episode="batch"), ""),
    "DatasetEnv-split-endless": (lambda: dataset(mode="split", shuffle=True), "random"),
    "Stage": (lambda: ae.Stage(CountingEnv(3)), "partial"),
    "Function": (lambda: CountingEnv(3).pipe(with_ones), "partial"),
    "Lambda": (lambda: CountingEnv(3).pipe(ae.Lambda, obs=half, action=turned, reward=torch.neg), "partial"),
    "Lambda-dataset": (lambda: dataset(epochs=1).pipe(ae.Lambda, reward=torch.neg), ""),
    "Noisy-both": (lambda: CountingEnv(3, random=True).pipe(ae.Noisy, side="both", p=0.5), "random partial shared"),
    "Noisy-gymnasium": (lambda: ae.GymnasiumEnv("CartPole-v1", 3).pipe(ae.Noisy, dist="uniform"), "random shared"),
    "TrainerSide": (lambda: CountingEnv(3).pipe(ae.ObserveReward).pipe(ae.TrainerSide), "partial shared"),
    "Noisy-dataset": (lambda: dataset(mode="delayed", epochs=1).pipe(ae.Noisy), "random shared"),
    "ObserveReward": (lambda: ae.GymnasiumEnv("CartPole-v1", 3, "sync").pipe(ae.ObserveReward), "random partial"),
    "ObserveReward-history": (lambda: CountingEnv(3).pipe(ae.ObserveReward, history=3), "partial"),
    "ObserveReward-dataset": (lambda: dataset(loss="mse").pipe(ae.ObserveReward, history=2), ""),
    "ReplayBuffer-record": (lambda: CountingEnv(3).pipe(ae.ReplayBuffer, capacity=20), "partial"),
    "ReplayBuffer-dataset": (lambda: dataset(loss="mse").pipe(ae.ReplayBuffer, capacity=20), ""),
    "ReplayBuffer-composition": (
        lambda: ae.Interleave(two_environments()).pipe(ae.ReplayBuffer, capacity=20),
        "random partial",
    ),
    "ReplayBuffer-replay": (lambda: ae.ReplayBuffer(path=recording()), "partial shared"),
    "ReplayBuffer-replay-shuffled": (
        lambda: ae.ReplayBuffer(path=recording(), capacity=70, shuffle=True),
        "random partial shared",
    ),
    "ReplayBuffer-mix": (
        lambda: CountingEnv(3, nested=True).pipe(ae.ReplayBuffer, capacity=24, mode="mix", p=0.5),
        "random partial shared",
    ),
    "ReplayBuffer-mix-sources": (
        lambda: ae.Interleave(two_environments()).pipe(ae.ReplayBuffer, capacity=30, mode="mix", p=0.7),
        "random partial shared",
    ),
    "Interleave": (lambda: ae.Interleave(two_environments(), ["narrow", "wide", "wide", "data"]), "random partial"),
    "Interleave-stages": (
        lambda: ae.Interleave([CountingEnv(1).pipe(ae.ObserveReward), CountingEnv(2)]).pipe(ae.Noisy, side="action"),
        "partial shared",
    ),
}
CHECKS = {
    "data": check_data,
    "signals": check_signals,
    "nothing_mutated": check_nothing_mutated,
    "answers": check_answers,
    "missing_answer": check_missing_answer,
    "restore": check_restore,
    "recipe": check_recipe,
    "close": check_close,
    "no_global_generator": check_no_global_generator,
}


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("check", CHECKS)
def test_promise(check, row):
    CHECKS[check](ROWS[row][0])


@pytest.mark.parametrize("row", ROWS)
def test_episodes(row):
    make, traits = ROWS[row]
    check_episodes(make, num_steps=40, partial_ends="partial" in traits)


@pytest.mark.parametrize("row", ROWS)
def test_seeds(row):
    make, traits = ROWS[row]
    check_seeds(make, random="random" in traits)


@pytest.mark.parametrize("row", ROWS)
def test_lane_control(row):
    make, traits = ROWS[row]
    check_lane_control(make, independent="shared" not in traits)


SPAWNED = [
    "GymnasiumEnv-own-vector",
    "DatasetEnv-delayed-pass",
    "Lambda",
    "Noisy-both",
    "ObserveReward",
    "ReplayBuffer-replay",
    "TrainerSide",
    "Interleave",
]


@pytest.mark.slow
@pytest.mark.parametrize("row", SPAWNED)
def test_spawn(row):
    check_spawn(ROWS[row][0])


def exported_classes() -> set[type]:
    members = {member for member in vars(ae).values() if inspect.isclass(member)}
    return {member for member in members if issubclass(member, ae.Env)} - BASES


def test_every_exported_class_has_a_row():
    rows = {type(make()) for make, _ in ROWS.values()}
    missing = sorted(cls.__name__ for cls in exported_classes() - rows)
    assert not missing, f"add a row to ROWS in {__name__} for {missing}"


def test_every_exported_class_is_spawned():
    spawned = {type(ROWS[row][0]()) for row in SPAWNED}
    missing = sorted(cls.__name__ for cls in exported_classes() - spawned - {ae.Stage})
    assert not missing, f"add a row to SPAWNED in {__name__} for {missing}"
