"""TorchEnv: batched simulators of tensors, on the CPU, on a device whose data nobody can read, and on a GPU."""

import io

import gymnasium
import numpy as np
import pytest
import torch
from dm_env import specs
from torch import Tensor

import aexp_torch as ae
from aexp_torch.errors import ActionError, SpecError
from aexp_torch.specs import flatten
from aexp_torch.testing import CountingEnv, TorchCartPole, check_env
from aexp_torch.testing.rollout import rollout, snapshot, streams_differ
from tests.loading.mixed import snapshots

LANES = 4
COUNTS = ae.EnvSpec(
    {"policy": {"count": specs.Array((), np.float32)}, "pair": specs.Array((2,), np.float32)},
    {"action": specs.DiscreteArray(2, np.int64)},
)
MODES = pytest.mark.parametrize("mode", ["same_step", "next_step"])


class Counter:
    """Counts answers up; a lane ends at its number, the even ones for good. Its buffers are written over at every step."""

    def __init__(self, num_envs: int, device: str = "cpu", mode: str = "same_step", final: bool = True):
        self.num_envs, self.device = num_envs, torch.device(device)
        self.metadata, self.final = {"autoreset_mode": mode}, final
        self.count = torch.zeros(num_envs, device=device)
        self.reward = torch.zeros(num_envs, device=device)
        self.length = torch.arange(num_envs, device=device) + 2
        self.even = self.length % 2 == 0
        self.received: list[Tensor] = []
        self.ended = torch.zeros(num_envs, dtype=torch.bool, device=device)

    def observe(self) -> dict:
        return {"policy": {"count": self.count}, "pair": self.count[:, None].expand(-1, 2)}

    def reset(self, *, seed: int | None = None) -> tuple[dict, dict]:
        self.count.zero_()
        return self.observe(), {}

    def step(self, action: Tensor) -> tuple:
        self.received.append(action)
        next_step = self.metadata["autoreset_mode"] == "next_step"
        self.count.add_(action)
        if next_step:
            self.count.masked_fill_(self.ended, 0)
        self.reward.copy_(self.count)
        over = self.count >= self.length
        extras = {"final_obs": {"policy": {"count": self.count.clone()}, "pair": self.observe()["pair"].clone()}}
        if next_step:
            self.ended = over
        else:
            self.count.masked_fill_(over, 0)
        return self.observe(), self.reward, over & self.even, over & ~self.even, extras if self.final else {}


def ones(device: str = "cpu") -> Tensor:
    return torch.ones(LANES, dtype=torch.int64, device=device)


def counts(env: ae.Env, steps: int) -> list[tuple]:
    """Returns what each timestep shows of lane 0, which ends after 2, when all are answered with 1."""
    timesteps = [env.reset(), *(env.step(ones()) for _ in range(steps))]
    return [
        (int(t.step_type[0]), t.reward[0].item(), t.discount[0].item(), t.observation["policy"]["count"][0].item())
        for t in timesteps
    ]


def test_next_step_autoreset_is_shown_as_it_is():
    env = ae.TorchEnv(Counter, LANES, specs=COUNTS, mode="next_step")
    episode = [(0, 0, 1, 0), (1, 1, 1, 1), (2, 2, 0, 2)]
    assert counts(env, 5) == episode + episode


def test_same_step_autoreset_is_shown_as_next_step():
    env = ae.TorchEnv(Counter, LANES, specs=COUNTS)
    episode = [(0, 0, 1, 0), (1, 1, 1, 1), (2, 2, 0, 2)]
    assert counts(env, 5) == episode + episode
    received = [int(action[0]) for action in env._lanes._simulator.received]
    assert received == [1, 1, 0, 1, 1]  # the lane's first step after its end is taken without an answer


def test_a_final_observation_that_is_lost_is_that_before():
    env = ae.TorchEnv(Counter, LANES, specs=COUNTS, final=False)
    assert counts(env, 3) == [(0, 0, 1, 0), (1, 1, 1, 1), (2, 2, 0, 1), (0, 0, 1, 0)]


def test_the_mode_is_gymnasiums_too():
    lanes = [ae.TorchEnv(Counter, LANES, specs=COUNTS, mode=mode) for mode in gymnasium.vector.AutoresetMode][:2]
    assert [env.open() or env._lanes._same_step for env in lanes] == [False, True]


@MODES
def test_lanes_end_on_their_own_and_nothing_that_was_shown_changes(mode):
    env = ae.TorchEnv(Counter, LANES, specs=COUNTS, mode=mode)
    timesteps = [env.reset(), *(env.step(ones()) for _ in range(12))]
    kept = [snapshot(timestep) for timestep in timesteps]
    assert [t.step_type.tolist() for t in timesteps[1:6]] == [
        [1, 1, 1, 1],
        [2, 1, 1, 1],
        [0, 2, 1, 1],
        [1, 0, 2, 1],
        [2, 1, 0, 2],
    ]
    assert timesteps[3].truncated().tolist() == [False, True, False, False]
    for _ in range(5):
        env.step(ones())
    assert streams_differ(timesteps, kept) is None


@MODES
def test_it_keeps_every_promise(mode):
    make = {"autoreset_mode": mode, "max_episode_steps": 13}
    check_env(lambda: ae.TorchEnv(TorchCartPole, 3, **make), random=True, independent_lanes=False)


def test_its_physics_are_gymnasiums():
    env, other = TorchCartPole(1), gymnasium.make("CartPole-v1")
    state, _ = env.reset(seed=0)
    other.reset()
    other.unwrapped.state = state[0].tolist()
    for push in [1, 0, 1, 1, 1, 0, 1, 1]:
        state, *_ = env.step(torch.tensor([push]))
        expected, *_ = other.step(push)
        assert torch.allclose(state[0], torch.from_numpy(expected), atol=1e-5)


@MODES
def test_cart_poles_end_where_gymnasiums_do(mode):
    env = ae.TorchEnv(TorchCartPole, 64, autoreset_mode=mode, max_episode_steps=30)
    for timestep in rollout(env, 100):
        place, _, angle, _ = timestep.observation["observation"].abs().unbind(1)
        out = (place > 2.4) | (angle > 0.2095)
        assert torch.equal(timestep.terminated(), out)


def test_a_run_goes_on_from_its_state():
    def make():
        return ae.TorchEnv(TorchCartPole, 5, max_episode_steps=20).pipe(ae.ObserveReward)

    env, other = make(), make()
    rollout(env, 30)
    file = io.BytesIO()
    torch.save(env.state_dict(), file)
    file.seek(0)
    rollout(other, 3)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert streams_differ(rollout(env, 40, env._outstanding), rollout(other, 40, other._outstanding)) is None


def test_what_has_no_state_says_why():
    env = ae.TorchEnv(Counter, LANES, specs=COUNTS)
    env.reset()
    assert not env.resumable
    with pytest.raises(SpecError, match="Counter has no state_dict and no load_state_dict"):
        env.state_dict()


def test_a_worker_gives_the_same_stream():
    env = ae.TorchEnv(TorchCartPole, 3, max_episode_steps=9)
    loaders = [ae.Loader(env, num_workers=count, in_flight=2, steps_per_epoch=50) for count in (0, 1)]
    streams = [snapshots(loader) for loader in loaders]
    for loader in loaders:
        loader.close()
    assert streams_differ(*streams) is None


# On a device


def on_device(timestep: ae.TimeStep, device: str) -> bool:
    leaves = [*timestep[:3], *(leaf for _, leaf in flatten(timestep.observation))]
    return {leaf.device.type for leaf in leaves} == {device}


def shifted(timestep: ae.TimeStep) -> ae.TimeStep:
    return timestep._replace(reward=timestep.reward - 1)


PIPELINES = {
    "alone": lambda env: env,
    "stages": lambda env: env.pipe(ae.ObserveReward).pipe(ae.ClipReward, max_reward=1).pipe(shifted),
    "more-stages": lambda env: env.pipe(ae.ClipObservation, minimum=0, maximum=3).pipe(ae.Lambda, reward=torch.neg),
    "trainer-side": lambda env: env.pipe(ae.TrainerSide).pipe(ae.ObserveReward),
    "two": lambda env: ae.Interleave([env, Counted(device="cpu")]),
    "loader": lambda env: ae.Loader(env, in_flight=2, steps_per_epoch=20),
}


def Counted(device: str, mode: str = "same_step", final: bool = True) -> ae.TorchEnv:
    return ae.TorchEnv(Counter, LANES, specs=COUNTS, device=device, mode=mode, final=final, name=device)


@MODES
@pytest.mark.parametrize("final", [True, False])
@pytest.mark.parametrize("pipeline", PIPELINES)
def test_nothing_is_read_by_the_host(pipeline, final, mode):
    # Tensors on "meta" have no data: every look at a value, every copy to the host raises an error.
    env = PIPELINES[pipeline](Counted("meta", mode, final))
    seen = 0
    for _, timestep in zip(range(15), env):
        if timestep.source == "meta":
            assert on_device(timestep, "meta")
            assert timestep.first().shape == timestep.terminated().shape == timestep.truncated().shape == (LANES,)
            seen += 1
        timestep.reply(ones(timestep.reward.device.type))
    assert seen > 6


def test_trajectories_stay_on_the_device():
    loader = ae.Loader(Counted("meta"), steps_per_epoch=3)
    for trajectory in loader.drive(lambda timestep: ones("meta"), num_steps=4):
        assert trajectory.timesteps.reward.shape == (5, LANES) and on_device(trajectory.timesteps, "meta")


def test_answers_from_elsewhere_are_moved_and_checked_but_for_values():
    env = Counted("meta")
    env.reset()
    env.step(ones("cpu"))
    env.step(ones("cpu").numpy())
    assert [action.device.type for action in env._lanes._simulator.received] == ["meta", "meta"]
    with pytest.raises(ActionError, match=r"expected 'action' as torch.int64 \[4\], got torch.float32 \[4\]"):
        env.step(torch.ones(LANES, device="meta"))
    with pytest.raises(ActionError, match=r"missing \['action'\], unknown \['push'\]"):
        env.step({"push": ones("meta")})


def test_workers_say_that_they_want_the_cpu():
    with pytest.raises(SpecError, match=r"expected sources on the CPU.*'meta': 'meta'.*num_workers=0"):
        next(iter(ae.Loader(Counted("meta"), num_workers=1, steps_per_epoch=3)))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@MODES
def test_a_gpu_gives_the_stream_of_the_cpu_without_waiting(mode):
    env, other = Counted("cuda", mode), Counted("cpu", mode)
    mine = [env.reset(), env.step(ones("cuda"))]
    torch.cuda.set_sync_debug_mode("error")  # whatever waits for the GPU, a copy to the host above all, is an error
    try:
        mine += [env.step(action) for action in ones("cuda").repeat(20, 1).unbind()]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    theirs = [other.reset(), *(other.step(ones()) for _ in range(21))]
    assert all(on_device(timestep, "cuda") for timestep in mine)
    found = [timestep.to("cpu")._replace(ticket=other.ticket) for timestep, other in zip(mine, theirs, strict=True)]
    assert streams_differ(found, theirs) is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_goes_on_from_its_state():
    env, other = (ae.TorchEnv(TorchCartPole, 1024, device="cuda", max_episode_steps=20) for _ in range(2))
    rollout(env, 30)
    other.load_state_dict(env.state_dict())
    assert streams_differ(rollout(env, 30, env._outstanding), rollout(other, 30, other._outstanding)) is None


# What is given


def test_a_live_simulator():
    live = TorchCartPole(6)
    env = ae.to_source(live)
    assert isinstance(env, ae.TorchEnv) and env.name == "TorchCartPole" and env.reset().reward.shape == (6,)
    assert not env.lane_control and env.resumable
    env.close()
    assert env.reset().first().all()
    with pytest.raises(SpecError, match="expected num_envs=6 with a live environment, got 2"):
        ae.TorchEnv(live, 2)
    with pytest.raises(SpecError, match="live environment, which cannot be copied"):
        ae.Loader(env, in_flight=2, steps_per_epoch=3)


def test_simulators_below_gymnasiums_wrappers():
    class Below(gymnasium.Env, Counter):
        def __init__(self):
            Counter.__init__(self, LANES)
            self.single_observation_space = self.observation_space = gymnasium.spaces.Dict(
                policy=gymnasium.spaces.Dict(count=gymnasium.spaces.Box(-np.inf, np.inf, ())),
                pair=gymnasium.spaces.Box(-np.inf, np.inf, (2,)),
            )
            self.single_action_space = self.action_space = gymnasium.spaces.Discrete(2)

        def reset(self, *, seed=None, options=None):
            return Counter.reset(self, seed=seed)

        def step(self, action):
            return Counter.step(self, action)

    env = ae.to_source(gymnasium.Wrapper(Below()), name="below")
    assert isinstance(env, ae.TorchEnv)
    assert streams_differ(rollout(env, 9), rollout(ae.TorchEnv(Counter, LANES, specs=COUNTS, name="below"), 9)) is None


class FourValues(Counter):
    def step(self, action):
        return super().step(action)[:4]


class Columns(Counter):
    def step(self, action):
        observation, reward, *rest = super().step(action)
        return observation, reward[:, None], *rest


class OtherKeys(Counter):
    def observe(self):
        return {"policy": self.count}


class Doubles(Counter):
    def observe(self):
        return {**super().observe(), "pair": torch.zeros(self.num_envs, 2, dtype=torch.float64)}


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: ae.TorchEnv(3), "expected a simulator, or a function that makes one, got 3"),
        (
            lambda: ae.TorchEnv(Counter, 2, autoreset="no"),
            "expected autoreset 'auto', 'same_step' or 'next_step', got 'no'",
        ),
        (lambda: ae.TorchEnv(Counter, 2), "expected single_observation_space and single_action_space of 'Counter'"),
        (lambda: ae.TorchEnv(lambda num_envs: CountingEnv(num_envs), 2), "CountingEnv lacks device"),
        (
            lambda: ae.TorchEnv(lambda num_envs: Counter(3), 2, specs=COUNTS),
            "expected 2 lanes of '<lambda>', it made 3",
        ),
        (
            lambda: ae.TorchEnv(Counter, 2, specs=COUNTS, mode="disabled"),
            "a simulator that resets lanes .* = 'disabled'",
        ),
        (lambda: ae.TorchEnv(FourValues, 2, specs=COUNTS), "expected observation, reward, .* got 4 values"),
        (
            lambda: ae.TorchEnv(Columns, 2, specs=COUNTS),
            r"expected reward as a tensor \[2\] .* got torch.float32 \[2, 1\]",
        ),
        (lambda: ae.TorchEnv(OtherKeys, 2, specs=COUNTS), "expected 'p.*' in the observations of 'OtherKeys' as"),
        (lambda: ae.TorchEnv(Doubles, 2, specs=COUNTS), r"'pair' .* as torch.float32 \[2, 2\], got torch.float64"),
    ],
)
def test_what_does_not_fit_is_refused(make, match):
    with pytest.raises(SpecError, match=match):
        rollout(make(), 2)
