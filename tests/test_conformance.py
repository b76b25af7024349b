"""Every exported source, stage and composition keeps every promise that `aexp_torch.testing` knows."""

import atexit
import functools
import inspect
import shutil
import tempfile
import warnings
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from dm_env import specs
from gymnasium.spaces import Box, Discrete

import aexp_torch as ae
from aexp_torch.testing import (
    CountingEnv,
    FakeDmEnv,
    FakeGymEnv,
    TorchCartPole,
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
from aexp_torch.testing.fake_starcraft import fake_starcraft, uninstall_fake_pysc2

pytestmark = [pytest.mark.timeout(120), pytest.mark.usefixtures("no_fake_left")]
BASES = {ae.Env, ae.Composition, ae.Restorable, ae.SimulatorEnv}  # abstract: nothing to run


@pytest.fixture
def no_fake_left():
    """Takes the fake of PySC2 away that its source may have brought."""
    yield
    uninstall_fake_pysc2()


def seven_samples() -> dict:
    return {"x": torch.arange(14.0).view(7, 2), "y": torch.tensor([0, 1, 2, 0, 1, 2, 0])}


def half(observation: dict) -> dict:
    return {key: value / 2 for key, value in observation.items()}


def turned(action: dict) -> dict:
    return {"action": 4 - action["action"]}


def half_of_values(values: torch.Tensor, timestep: ae.TimeStep) -> torch.Tensor:
    return values / 2


class Rarity:
    """Gives a timestep the less the more often it was seen."""

    def __init__(self):
        self.counts: dict[float, int] = {}

    def __call__(self, timestep: ae.TimeStep) -> torch.Tensor:
        cells = timestep.observation["observation"].tolist()
        self.counts |= {cell: self.counts.get(cell, 0) + 1 for cell in cells}
        return torch.tensor([1 / self.counts[cell] for cell in cells])

    def state_dict(self) -> dict:
        return {"counts": dict(self.counts)}

    def load_state_dict(self, state: dict) -> None:
        self.counts = dict(state["counts"])


def every_other(timestep: ae.TimeStep, score: torch.Tensor) -> torch.Tensor:
    return timestep.observation["observation"] % 2 == 1


def with_ones(timestep: ae.TimeStep) -> ae.TimeStep:
    return timestep._replace(observation={**timestep.observation, "one": torch.ones_like(timestep.reward)})


def dataset(**options) -> ae.DatasetEnv:
    return ae.DatasetEnv(seven_samples(), name="seven", **{"batch_size": 3, **options})


def stopped() -> float:
    return 0.0


def cart() -> ae.Env:
    return ae.GymnasiumEnv("CartPole-v1", 3, "sync")


def counters() -> ae.Env:
    return ae.Interleave({"narrow": CountingEnv(2, random=True), "wide": CountingEnv(3, nested=True)})


def two_environments() -> dict:
    return {"narrow": CountingEnv(2, random=True), "wide": CountingEnv(3, nested=True), "data": dataset(epochs=1)}


def nested() -> CountingEnv:
    return CountingEnv(3, nested=True, random=True)


def holes() -> ae.Env:
    return nested().pipe(ae.DropKeyValue, p=0.4)


def atari(num_envs: int = 2, **options) -> ae.AtariEnv:
    return ae.AtariEnv("breakout", num_envs, img_height=12, img_width=10, noop_max=4, **options)


def poles(**options) -> ae.TorchEnv:
    return ae.TorchEnv(TorchCartPole, 3, **options)


def images() -> ae.DatasetEnv:
    return ae.DatasetEnv({"x": torch.arange(7 * 6 * 8 * 3).view(7, 6, 8, 3).to(torch.uint8)}, batch_size=3)


@functools.cache
def recorded_folder() -> str:
    """Returns a folder with a Minari dataset of four episodes, which is removed at the end."""
    folder = tempfile.TemporaryDirectory(prefix="minari-")
    atexit.register(folder.cleanup)
    return folder.name


def recorded_dataset(folder: str) -> Any:
    minari = pytest.importorskip("minari")
    from minari.data_collector import EpisodeBuffer

    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that authors and algorithms are not named
        patch.setenv("MINARI_DATASETS_PATH", folder)
        if minari.list_local_datasets():
            return minari.load_dataset("test/steps-v0")
        episodes = [
            EpisodeBuffer(
                observations=np.arange(length + 1, dtype=np.float32)[:, None] + 10 * length,
                actions=np.arange(length) % 3,
                rewards=[1.0] * length,
                terminations=[step == length - 1 and length % 2 == 0 for step in range(length)],
                truncations=[step == length - 1 and length % 2 == 1 for step in range(length)],
            )
            for length in (3, 4, 1, 6)
        ]
        spaces = {"observation_space": Box(0, 99, (1,), np.float32), "action_space": Discrete(3)}
        return minari.create_dataset_from_buffers("test/steps-v0", episodes, **spaces)


def recorded(num_envs: int, **options) -> ae.MinariEnv:
    return ae.MinariEnv(partial(recorded_dataset, recorded_folder()), num_envs, name="recorded", **options)


def pendulum() -> ae.GymnasiumEnv:
    return ae.GymnasiumEnv("Pendulum-v1", 3)


def desktop(num_envs: int = 1, **options) -> ae.VNCEnv:
    """Is an empty desktop, in which nothing changes but the pointer."""
    xvnc = ["Xvnc", ":{display}", "-rfbport", "{port}", "-localhost", "-SecurityTypes", "None"]
    xvnc += ["-geometry", "40x30", "-depth", "24"]
    options = {"num_buttons": 5, "max_episode_steps": 4, "step_seconds": 0.0, **options}
    return ae.VNCEnv(num_envs=num_envs, start_command=xvnc, **options)


def frozen() -> ae.Env:
    moments = {"mean": torch.tensor(2.0), "variance": torch.tensor(4.0), "count": 9.0}
    learned = {"CountingEnv:observation:observation": moments}
    return CountingEnv(3).pipe(ae.NormalizeObservation, frozen=True, statistics=learned)


class Doubling(torch.nn.Module):
    """Imagines counters that double, and add the action."""

    def __init__(self):
        super().__init__()
        self.factor = torch.nn.Parameter(torch.tensor(2.0))

    def forward(self, observation: dict, action: dict) -> dict:
        count = self.factor * observation["count"] + action["action"]
        return {"predict:count": count, "predict:reward": count, "predict:discount": (count < 20).float()}


def unsure(observation: dict, action: dict) -> dict:
    rows = len(action["action"])
    signals = {"predict:reward": action["action"].float(), "predict:discount": torch.full((rows,), 0.9)}
    return {"predict:yes": torch.zeros(rows, 4), "predict:choice": torch.zeros(rows, 3), **signals}


def some_count(generator: np.random.Generator, n: int) -> dict:
    return {"count": torch.from_numpy(generator.random(n, np.float32))}


def imagined_counts(start=None, **options) -> ae.Imaginary:
    spec = ae.EnvSpec({"count": specs.Array((), np.float32)}, {"action": specs.DiscreteArray(3, np.int64)}, num_envs=3)
    return ae.Imaginary(Doubling(), start or {"count": torch.arange(5.0)}, 6, specs=spec, **options)


def imagined_choices() -> ae.Imaginary:
    observation = {"yes": specs.Array((4,), bool), "choice": specs.DiscreteArray(3, np.int64)}
    spec = ae.EnvSpec(observation, {"action": specs.DiscreteArray(3, np.int64)})
    start = {"yes": torch.eye(4, dtype=torch.bool), "choice": torch.tensor([0, 1, 2, 0])}
    return ae.Imaginary(unsure, start, 4, stochastic=True, specs=spec, num_envs=3)


def unequal_lanes() -> dict:
    return {"one": CountingEnv(1, random=True), "two": CountingEnv(2, [1, 3], nested=True).pipe(ae.ObserveReward)}


def equal_lanes(num_envs: int = 2) -> dict:
    lengths = (4, 6)[:num_envs]
    return {"a": CountingEnv(num_envs, random=True), "b": CountingEnv(num_envs, lengths, nested=True)}


def one_lane_each(**options) -> dict:
    options = {"drop_last": True, **options}
    return {
        "count": CountingEnv(1, random=True),
        "nest": CountingEnv(1, nested=True).pipe(ae.ObserveReward),
        "data": dataset(batch_size=1, **options),
    }


def onwards(step: int, current: torch.Tensor, available: torch.Tensor) -> torch.Tensor:
    return (current + 1) % 3 if step % 3 == 2 else torch.full_like(current, -1)


def onto(old: int, new: int) -> None:
    assert -1 <= old < 3 and 0 <= new < 3


def of_many_kinds() -> dict:
    return {
        "count": CountingEnv(1, [4], random=True),
        "nest": CountingEnv(3, nested=True).pipe(ae.ObserveReward),
        "data": dataset(epochs=1),
        "asked": dataset(mode="delayed", loss="mse"),
        "pair": ae.Interleave({"x": CountingEnv(1), "y": CountingEnv(2, optional=True)}),
    }


def introduced(env: ae.Env, text: str) -> ae.Env:
    env.instruction = text
    return env


def few_steps(place: int) -> int:
    return 5 + place


def two_on(step: int, current: int, available: torch.Tensor) -> int:
    return (current + 2) % len(available)


def is_digits(entry) -> bool:
    return entry.name == "digits"


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
# others go on), "shared" (lanes share a generator), "xvnc" (needs that program). Add one for every class that is exported.
ROWS = {
    "CountingEnv": (lambda: CountingEnv(3, random=True), "random partial"),
    "MinariEnv": (lambda: recorded(3), "partial"),
    "MinariEnv-shuffled-one-lane": (lambda: recorded(1, shuffle=True), "random"),
    "CountingEnv-one-lane": (lambda: CountingEnv(1), ""),
    "CountingEnv-finite-nested": (lambda: CountingEnv(3, stream_length=7, nested=True), "partial"),
    "CountingEnv-no-action": (lambda: CountingEnv(num_actions=0, stream_length=5), "partial"),
    "CommAIEnv-bit": (lambda: ae.CommAIEnv("commai", num_envs=3), "random"),
    "CommAIEnv-byte": (lambda: ae.CommAIEnv("mini", num_envs=3), ""),
    "CommAIEnv-one-lane": (lambda: ae.CommAIEnv("challenge", scramble=True), ""),
    "CommAIEnv-cut-off": (lambda: ae.CommAIEnv("commai", num_envs=3, max_episode_steps=15), "random"),
    "CommAIEnv-instructions": (lambda: ae.CommAIEnv("mini", max_episode_steps=9, instructions=True), "random"),
    "GymnasiumEnv-own-vector": (lambda: ae.GymnasiumEnv("CartPole-v1", 3), "random partial"),
    "GymnasiumEnv-sync": (lambda: ae.GymnasiumEnv("CartPole-v1", 3, "sync"), "random partial"),
    "GymnasiumEnv-one-lane": (lambda: ae.GymnasiumEnv("Acrobot-v1", max_episode_steps=5), "random"),
    "GymnasiumEnv-toy-text": (lambda: ae.GymnasiumEnv("FrozenLake-v1", 4), "random partial"),
    "GymnasiumEnv-dict-tuple-text": (lambda: ae.GymnasiumEnv(FakeGymEnv, 2), "random"),
    "AtariEnv": (lambda: atari(max_num_frames_per_episode=40), "random shared"),
    "AtariEnv-one-lane-sticky": (lambda: atari(1, repeat_action_probability=0.25, stack_num=1), "random shared"),
    "EnvPoolEnv": (lambda: ae.EnvPoolEnv("CartPole-v1", 3), "random partial"),
    "EnvPoolEnv-nested": (lambda: ae.EnvPoolEnv("CartpoleBalance-v1", 2, max_episode_steps=7), "random"),
    "TorchEnv-same-step": (poles, "random partial shared"),
    "TorchEnv-next-step": (lambda: poles(autoreset_mode="next_step"), "random partial shared"),
    "TorchEnv-one-lane": (lambda: ae.TorchEnv(TorchCartPole, max_episode_steps=5), "random shared"),
    "VNCEnv": (lambda: desktop(), "xvnc"),
    "VNCEnv-lanes": (lambda: desktop(2, keys=["a", "ctrl+c"]), "xvnc"),
    "StarCraft2Env": (lambda: ae.StarCraft2Env(fake_starcraft, 2), ""),
    "StarCraft2Env-one-lane": (lambda: ae.StarCraft2Env(fake_starcraft, game_steps_per_episode=24), ""),
    "DmEnv": (lambda: ae.DmEnv(FakeDmEnv, 2), "random"),
    "PettingZooEnv-in-turn": (lambda: ae.PettingZooEnv("classic/tictactoe-v3", 3), "partial"),
    "PettingZooEnv-cards": (lambda: ae.PettingZooEnv("classic.leduc_holdem_v4", 3), "random partial"),
    "PettingZooEnv-parallel": (lambda: ae.PettingZooEnv("classic.rps_v2", 2, max_cycles=4), ""),
    "MiniGridEnv": (lambda: ae.MiniGridEnv("MiniGrid-DoorKey-5x5-v0", 2, max_steps=7), "random"),
    "MiniGridEnv-BabyAI": (lambda: ae.MiniGridEnv("BabyAI-GoToSeq-v0", 2), "random"),
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
    "Augment": (lambda: nested().pipe(ae.Augment, side="both"), "random partial"),
    "Dropout": (lambda: nested().pipe(ae.Dropout, p=0.3, value=-1, side="observation"), "random partial shared"),
    "Dropout-rows-both": (
        lambda: CountingEnv(3).pipe(ae.Dropout, p=0.3, granularity="row", side="both"),
        "partial shared",
    ),
    "Dropout-elements": (lambda: pendulum().pipe(ae.Dropout, p=0.3, granularity="element"), "random shared"),
    "Repeat": (lambda: nested().pipe(ae.Repeat, p=0.3, n=2, side="both"), "random partial shared"),
    "Repeat-sticky": (lambda: CountingEnv(3).pipe(ae.Repeat, n="geometric", side="action"), "partial shared"),
    "Repeat-dataset": (lambda: dataset(mode="delayed", epochs=1).pipe(ae.Repeat, p=0.5, n=3), "random shared"),
    "DropKeyValue": (lambda: nested().pipe(ae.DropKeyValue, p=0.4, n=2), "random partial shared"),
    "DropKeyValue-one-lane": (lambda: CountingEnv(1).pipe(ae.DropKeyValue, p=0.4, n="geometric"), "random shared"),
    "DropKeyValue-twice": (lambda: nested().pipe(ae.DropKeyValue).pipe(ae.DropKeyValue), "random partial shared"),
    "DropKeyValue-dataset": (lambda: dataset(epochs=1).pipe(ae.DropKeyValue, p=0.5), "random shared"),
    "FrameStack": (lambda: nested().pipe(ae.FrameStack, stack_size=3), "random partial"),
    "FrameStack-zero": (lambda: holes().pipe(ae.FrameStack, padding_type="zero"), "random partial shared"),
    "FrameStack-dataset": (lambda: dataset(mode="split", epochs=1).pipe(ae.FrameStack, stack_size=2), ""),
    "FrameSkip": (lambda: nested().pipe(ae.FrameSkip, skip=2, keys="*"), "random partial"),
    "FrameSkip-holes": (lambda: holes().pipe(ae.FrameSkip, skip=3, keys="c*"), "random partial shared"),
    "FrameSkip-one-lane": (lambda: CountingEnv(1).pipe(ae.FrameSkip, skip=2), ""),
    "Grayscale": (lambda: images().pipe(ae.Grayscale), ""),
    "Resize": (lambda: images().pipe(ae.Grayscale, keep_dim=True).pipe(ae.Resize, shape=(5, 3)), ""),
    "NormalizeObservation": (lambda: nested().pipe(ae.NormalizeObservation), "random partial shared"),
    "NormalizeObservation-holes": (lambda: holes().pipe(ae.NormalizeObservation), "random partial shared"),
    "NormalizeObservation-frozen": (frozen, "partial"),
    "NormalizeReward": (lambda: CountingEnv(3).pipe(ae.NormalizeReward), "partial shared"),
    "ClipReward": (lambda: CountingEnv(3).pipe(ae.ClipReward, min_reward=1, max_reward=2), "partial"),
    "ClipObservation": (lambda: nested().pipe(ae.ClipObservation, minimum=0.2, maximum=5), "random partial"),
    "ClipAction": (lambda: pendulum().pipe(ae.ClipAction), "random"),
    "RescaleAction": (lambda: pendulum().pipe(ae.RescaleAction, min_action=0, max_action=3), "random"),
    "TimeLimit": (lambda: CountingEnv(3).pipe(ae.TimeLimit, max_episode_steps=4), "partial"),
    "TimeLimit-one-lane": (lambda: CountingEnv(1, random=True).pipe(ae.TimeLimit, max_episode_steps=2), "random"),
    "TimeLimit-skip": (
        lambda: CountingEnv(3, lengths=[9, 4, 6]).pipe(ae.TimeLimit, max_episode_steps=5).pipe(ae.FrameSkip, skip=2),
        "partial",
    ),
    "OneHot": (lambda: nested().pipe(ae.OneHot), "random partial"),
    "Flatten": (lambda: nested().pipe(ae.Flatten), "random partial"),
    "Flatten-holes": (lambda: holes().pipe(ae.Flatten, keys="where/*", key="place"), "random partial shared"),
    "Flatten-gymnasium": (lambda: ae.GymnasiumEnv(FakeGymEnv, 2).pipe(ae.Flatten), "random"),
    "Wrappers-over-Interleave": (
        lambda: (
            ae.Interleave(two_environments())
            .pipe(ae.Repeat, p=0.5, side="both")
            .pipe(ae.DropKeyValue, p=0.3, keys="c*")
            .pipe(ae.NormalizeObservation)
            .pipe(ae.FrameStack, stack_size=2)
            .pipe(ae.NormalizeReward)
        ),
        "random partial shared",
    ),
    "StaticTimescaled-zero": (lambda: CountingEnv(3).pipe(ae.StaticTimescaled, ratio=0), ""),
    "StaticTimescaled-half": (lambda: cart().pipe(ae.StaticTimescaled, ratio=0.5), "random partial"),
    "StaticTimescaled-pools": (
        lambda: CountingEnv(3, lengths=[3, 5, 9], random=True, nested=True).pipe(
            ae.StaticTimescaled, ratio=0.4, hold="noop", pool_observation="random", pool_action="mean"
        ),
        "random partial shared",
    ),
    "StaticTimescaled-one": (lambda: CountingEnv(3).pipe(ae.StaticTimescaled), "partial"),
    "StaticTimescaled-drop": (
        lambda: CountingEnv(3, nested=True).pipe(ae.StaticTimescaled, ratio=1.5, input="drop", observe_phase=True),
        "partial",
    ),
    "StaticTimescaled-four": (
        lambda: CountingEnv(3, lengths=[1, 2, 3]).pipe(ae.StaticTimescaled, ratio=4, pool_action="random"),
        "partial shared",
    ),
    "StaticTimescaled-inf": (lambda: CountingEnv(3).pipe(ae.StaticTimescaled, ratio=float("inf")), ""),
    "StaticTimescaled-dataset": (
        lambda: dataset(batch_size=1, epochs=1, loss="correct").pipe(ae.StaticTimescaled, ratio=2),
        "",
    ),
    "StaticTimescaled-interleave": (
        lambda: ae.Interleave(
            [
                CountingEnv(2).pipe(ae.StaticTimescaled, ratio=2).pipe(ae.ObserveReward, history=2),
                CountingEnv(3).pipe(ae.StaticTimescaled, ratio=0.5, pool_observation="max"),
            ]
        ),
        "partial",
    ),
    "DynamicTimescaled": (
        lambda: CountingEnv(3, lengths=[3, 5, 9]).pipe(ae.DynamicTimescaled, observe_phase=True),
        "partial",
    ),
    "DynamicTimescaled-pools": (
        lambda: cart().pipe(ae.DynamicTimescaled, pool_observation="mean", pool_action="max", input="drop"),
        "random partial",
    ),
    "DynamicTimescaled-skip": (
        lambda: (
            CountingEnv(3, lengths=[3, 5, 9])
            .pipe(ae.ObserveActions)
            .pipe(ae.DynamicTimescaled, min_ratio=0.0, max_skip=4, hold="noop")
        ),
        "partial",
    ),
    "PenalizeCompute": (lambda: CountingEnv(3).pipe(ae.PenalizeCompute, observe=True), "partial"),
    "PenalizeCompute-flops": (lambda: CountingEnv(3).pipe(ae.PenalizeCompute, meter="flops"), "partial"),
    "PenalizeCompute-seconds": (
        lambda: cart().pipe(ae.StaticTimescaled, ratio=2).pipe(ae.PenalizeCompute, meter="seconds", clock=stopped),
        "random",
    ),
    "PenalizeCompute-action": (lambda: counters().pipe(ae.PenalizeCompute, meter="action"), "random partial"),
    "PredictInputs": (lambda: cart().pipe(ae.PredictInputs, weight=0.5), "random partial"),
    "PredictInputs-horizon": (
        lambda: CountingEnv(3, nested=True).pipe(ae.PredictInputs, horizon=3, signals=True, mode="replace"),
        "partial",
    ),
    "PredictInputs-dataset": (
        lambda: dataset(mode="delayed", epochs=1).pipe(ae.PredictInputs, keys="x", horizon=2),
        "",
    ),
    "PredictInputs-interleave": (lambda: counters().pipe(ae.PredictInputs), "random partial"),
    "Imaginary": (imagined_counts, "random partial"),
    "Imaginary-start": (lambda: imagined_counts(some_count, threshold=1.0), "random partial"),
    "Imaginary-stochastic": (imagined_choices, "random"),
    "Imaginary-predicted": (
        lambda: imagined_counts().pipe(ae.PredictInputs, signals=True, weight=0.1).pipe(ae.ObserveReward),
        "random partial",
    ),
    "Imaginary-interleave": (
        lambda: ae.Interleave({"live": CountingEnv(2), "imagined": imagined_counts()}).pipe(ae.PredictInputs),
        "random partial",
    ),
    "Advantage": (lambda: cart().pipe(ae.Advantage, order=2), "random partial"),
    "Advantage-difference": (
        lambda: counters().pipe(ae.Advantage, order=3, baseline="difference", reset=True),
        "random partial",
    ),
    "Advantage-function": (
        lambda: CountingEnv(3).pipe(ae.Advantage, baseline=half_of_values, last_only=True),
        "partial",
    ),
    "ObserveActions": (lambda: cart().pipe(ae.ObserveActions), "random partial"),
    "ObserveActions-history": (lambda: counters().pipe(ae.ObserveActions, history=3), "random partial"),
    "ObserveActions-executed": (
        lambda: (
            CountingEnv(3, nested=True)
            .pipe(ae.Lambda, action=turned)
            .pipe(ae.StaticTimescaled, ratio=1.5, hold="noop")
            .pipe(ae.ObserveActions, which="executed", history=2)
        ),
        "partial",
    ),
    "ObserveActions-executed-interleave": (
        lambda: ae.Interleave(
            [CountingEnv(2).pipe(ae.Noisy, side="action"), CountingEnv(3).pipe(ae.StaticTimescaled, ratio=0.5)]
        ).pipe(ae.ObserveActions, which="executed"),
        "partial shared",
    ),
    "ObserveActions-dataset": (lambda: dataset(mode="split").pipe(ae.ObserveActions), ""),
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
    "ReplayBuffer-mix-syn": (
        lambda: ae.SynEnv(one_lane_each(), batch_size=3).pipe(ae.ReplayBuffer, capacity=30, mode="mix", p=0.5),
        "random partial shared",
    ),
    "ReplayBuffer-multitasking": (
        lambda: ae.Multitasking(equal_lanes()).pipe(ae.ReplayBuffer, capacity=30),
        "random shared",
    ),
    "ReplayBuffer-mix-sources": (
        lambda: ae.Interleave(two_environments()).pipe(ae.ReplayBuffer, capacity=30, mode="mix", p=0.7),
        "random partial shared",
    ),
    "Teacher": (lambda: CountingEnv(3, [3, 5, 9], random=True).pipe(ae.Teacher, p_revert=0.7), "random partial shared"),
    "Teacher-step": (
        lambda: nested().pipe(
            ae.Teacher,
            buffer="top_k",
            capacity=3,
            window=2,
            gamma=0.9,
            p_revert=0.4,
            when="step",
            choose="proportional",
        ),
        "random partial shared",
    ),
    "Teacher-gymnasium": (lambda: cart().pipe(ae.Teacher, capacity=9, choose="proportional"), "random partial shared"),
    "Teacher-own-form": (
        lambda: ae.GymnasiumEnv("CartPole-v1", max_episode_steps=12).pipe(ae.Teacher, when="step"),
        "random shared",
    ),
    "Teacher-functions": (
        lambda: CountingEnv(3, [3, 5, 9]).pipe(ae.Teacher, buffer=every_other, score=Rarity(), window=None),
        "partial shared",
    ),
    "Teacher-dataset": (
        lambda: dataset(batch_size=1, drop_last=True, epochs=2, loss="correct").pipe(ae.Teacher, p_revert=0.7),
        "shared",
    ),
    "Teacher-composition": (
        lambda: (
            ae.Interleave([CountingEnv(2).pipe(ae.TimeLimit, max_episode_steps=2), cart()])
            .pipe(ae.Teacher, p_revert=0.7)
            .pipe(ae.FrameStack, stack_size=2)
        ),
        "random partial shared",
    ),
    "Teacher-below": (
        lambda: ae.SynEnv([CountingEnv(1, random=True).pipe(ae.Teacher), CountingEnv(1, [2])], 2, "on_done"),
        "random partial shared",
    ),
    "Interleave": (lambda: ae.Interleave(two_environments(), ["narrow", "wide", "wide", "data"]), "random partial"),
    "Interleave-stages": (
        lambda: ae.Interleave([CountingEnv(1).pipe(ae.ObserveReward), CountingEnv(2)]).pipe(ae.Noisy, side="action"),
        "partial shared",
    ),
    "Interleave-first": (lambda: ae.Interleave(unequal_lanes(), ["one", "two", "two"], done="first"), "random"),
    "Interleave-all": (lambda: ae.Interleave(unequal_lanes(), ["one", "two", "two"], done="all"), "random"),
    "Interleave-all-reset": (
        lambda: ae.Interleave(unequal_lanes(), ["one", "two", "two"], done="all", after_done="reset"),
        "random partial",
    ),
    "Multitasking": (lambda: ae.Multitasking(equal_lanes(), reward="mean"), "random"),
    "Multitasking-data": (lambda: ae.Multitasking([dataset(epochs=1), CountingEnv(3, num_actions=0)]), ""),
    "Multitasking-first": (lambda: ae.Multitasking(equal_lanes(), done="first"), "random partial"),
    "Multitasking-all": (lambda: ae.Multitasking(equal_lanes(), done="all"), "random partial"),
    "Multitasking-all-freeze": (
        lambda: ae.Multitasking(equal_lanes(), done="all", after_done="freeze").pipe(ae.ObserveReward),
        "random partial",
    ),
    "Multitasking-all-reset": (
        lambda: ae.Multitasking(equal_lanes(), done="all", after_done="reset"),
        "random partial",
    ),
    "SynEnv": (lambda: ae.SynEnv(one_lane_each(), batch_size=3), "random partial"),
    "SynEnv-one-row": (
        lambda: ae.SynEnv(one_lane_each(), instruction_steps=1, instructions=["c", "nest", "x"]),
        "random",
    ),
    "SynEnv-in-turn": (
        lambda: ae.SynEnv(
            one_lane_each(epochs=2), 3, "on_done", instruction_steps=2, instructions=["é", "nest", "x, y"]
        ),
        "random partial",
    ),
    "SynEnv-all-finite": (
        lambda: ae.SynEnv(
            [CountingEnv(1, stream_length=7, random=True), dataset(batch_size=1, epochs=1)], 2, "on_done"
        ),
        "random",
    ),
    "SynEnv-lanes": (
        lambda: ae.SynEnv([CountingEnv(2, random=True), CountingEnv(1), CountingEnv(4, nested=True)], 5),
        "random partial",
    ),
    "SynEnv-function": (
        lambda: ae.SynEnv(one_lane_each(), 2, onwards, onto).pipe(ae.ObserveReward, key="paid", history=2),
        "random shared",
    ),
    "AEEnv-in-turn": (lambda: ae.AEEnv(of_many_kinds(), next_env_fn="in_turn", steps=6), "random partial"),
    "AEEnv-random": (lambda: ae.AEEnv(of_many_kinds(), steps=(1, 5), max_open=1), "random partial"),
    "AEEnv-agent": (
        lambda: ae.AEEnv(
            [introduced(CountingEnv(2, random=True), "é"), introduced(dataset(epochs=1), "y"), CountingEnv(1)],
            next_env_fn="agent",
            instruction_steps=2,
        ),
        "",
    ),
    "AEEnv-function": (
        lambda: ae.AEEnv(
            [*(introduced(env, "do") for env in equal_lanes().values()), introduced(dataset(mode="split"), "y")],
            next_env_fn=two_on,
            steps=few_steps,
            env_transition_fn=onto,
            instruction_steps=1,
        ).pipe(ae.FrameStack, stack_size=2),
        "random partial",
    ),
    "ArtificialExperience": (lambda: ae.ArtificialExperience(include=is_digits), "random"),
    "Interleave-of-AEEnv": (
        lambda: ae.Interleave({"life": ae.AEEnv(of_many_kinds(), steps=3), "lone": CountingEnv(1)}).pipe(
            ae.ObserveReward, key="paid"
        ),
        "random",
    ),
    "Interleave-of-SynEnv": (
        lambda: ae.Interleave({"syn": ae.SynEnv(one_lane_each(), 2), "lone": CountingEnv(1)}).pipe(
            ae.ObserveReward, key="paid"
        ),
        "random",
    ),
    "SynEnv-of-Multitasking": (
        lambda: ae.SynEnv([ae.Multitasking(equal_lanes(1), done="first"), CountingEnv(1, [2])], 2, "on_done"),
        "random partial",
    ),
    "Multitasking-of-SynEnv": (
        lambda: ae.Multitasking({"syn": ae.SynEnv(one_lane_each(), 2), "two": CountingEnv(2)}, done="first"),
        "random partial",
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


def made_by(row: str):
    """Returns what makes the environment of a row; skips where a program is missing."""
    make, traits = ROWS[row]
    if "xvnc" in traits and shutil.which("Xvnc") is None:
        pytest.skip("needs the Debian package tigervnc-standalone-server")
    return make


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("check", CHECKS)
def test_promise(check, row):
    CHECKS[check](made_by(row))


@pytest.mark.parametrize("row", ROWS)
def test_episodes(row):
    make, traits = made_by(row), ROWS[row][1]
    check_episodes(make, num_steps=40, partial_ends="partial" in traits)


@pytest.mark.parametrize("row", ROWS)
def test_seeds(row):
    make, traits = made_by(row), ROWS[row][1]
    check_seeds(make, random="random" in traits)


@pytest.mark.parametrize("row", ROWS)
def test_lane_control(row):
    make, traits = made_by(row), ROWS[row][1]
    check_lane_control(make, independent="shared" not in traits)


SPAWNED = [
    "CommAIEnv-bit",
    "MinariEnv",
    "GymnasiumEnv-own-vector",
    "AtariEnv",
    "EnvPoolEnv",
    "TorchEnv-same-step",
    "VNCEnv",
    "StarCraft2Env",
    "DmEnv",
    "PettingZooEnv-in-turn",
    "MiniGridEnv",
    "DatasetEnv-delayed-pass",
    "Lambda",
    "Noisy-both",
    "ObserveReward",
    "ReplayBuffer-replay",
    "TrainerSide",
    "Augment",
    "Dropout",
    "Repeat",
    "DropKeyValue",
    "FrameStack",
    "FrameSkip",
    "Grayscale",
    "Resize",
    "NormalizeObservation",
    "NormalizeReward",
    "ClipReward",
    "ClipObservation",
    "ClipAction",
    "RescaleAction",
    "TimeLimit",
    "OneHot",
    "Flatten",
    "StaticTimescaled-pools",
    "DynamicTimescaled-pools",
    "PenalizeCompute-action",
    "PredictInputs-horizon",
    "Imaginary",
    "Imaginary-stochastic",
    "Advantage-difference",
    "ObserveActions-executed",
    "Interleave",
    "Multitasking-all",
    "SynEnv-in-turn",
    "Teacher-functions",
    "AEEnv-random",
    "ArtificialExperience",
]


@pytest.mark.slow
@pytest.mark.parametrize("row", SPAWNED)
def test_spawn(row):
    check_spawn(made_by(row))


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
