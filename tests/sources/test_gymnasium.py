"""GymnasiumEnv beside bare Gymnasium: the same numbers, in every form of vectorisation."""

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from torch.utils.data import DataLoader

import aexp_torch as ae
from aexp_torch.errors import ActionError, SpecError
from aexp_torch.testing import CountingEnv, FakeGymEnv

pytestmark = pytest.mark.timeout(60)
BYTES = {"": [0] * 6, "a": [97, 0, 0, 0, 0, 0], "bé": [98, 195, 169, 0, 0, 0], "ccc": [99, 99, 99, 0, 0, 0]}


def answers(*moves):
    return {"move": torch.tensor(moves), "aim": torch.tensor([[1, 2]] * len(moves))}


# Golden sequences


@pytest.mark.parametrize("vectorization", ["vector_entry_point", "sync"])
def test_a_vector_gives_what_bare_gymnasium_gives(vectorization):
    env = ae.GymnasiumEnv("CartPole-v1", 4, vectorization, seed=2)
    seeds = [int(env.seeds(lane).generate_state(1)[0]) for lane in range(4)]
    if vectorization == "sync":
        bare = SyncVectorEnv([lambda: gymnasium.make("CartPole-v1")] * 4, autoreset_mode=AutoresetMode.NEXT_STEP)
        observation, _ = bare.reset(seed=seeds)
    else:
        bare = gymnasium.make_vec("CartPole-v1", 4, vectorization_mode="vector_entry_point")
        observation, _ = bare.reset(seed=seeds[0])
    timestep = env.reset()
    assert timestep.observation["observation"].numpy().tobytes() == observation.tobytes()
    rng, done, ends = np.random.default_rng(0), np.zeros(4, bool), 0
    for _ in range(60):
        action = rng.integers(0, 2, 4)
        observation, reward, terminated, truncated, _ = bare.step(action)
        timestep = env.step(torch.from_numpy(action))
        assert timestep.observation["observation"].numpy().tobytes() == observation.tobytes()
        assert timestep.reward.tolist() == reward.tolist()
        assert timestep.first().tolist() == done.tolist()
        assert timestep.terminated().tolist() == terminated.tolist()
        assert timestep.truncated().tolist() == truncated.tolist()
        done = terminated | truncated
        ends += done.sum()
    assert ends >= 4
    bare.close()


@pytest.mark.parametrize("vectorization", ["vector_entry_point", "sync"])
def test_a_time_limit_truncates(vectorization):
    env = ae.GymnasiumEnv("CartPole-v1", 2, vectorization, max_episode_steps=3)
    timestep = env.reset()
    kinds, rewards = [timestep.step_type[0].item()], [timestep.reward[0].item()]
    for _ in range(4):
        timestep = env.step(torch.tensor([1, 0]))
        kinds.append(timestep.step_type[0].item())
        rewards.append(timestep.reward[0].item())
        if kinds[-1] == 2:
            assert timestep.truncated().all() and timestep.discount.tolist() == [1, 1]
    assert kinds == [0, 1, 1, 2, 0]
    assert rewards == [0, 1, 1, 1, 0]
    assert env.max_episode_steps == 3 and ae.GymnasiumEnv("CartPole-v1").max_episode_steps == 500


@pytest.mark.parametrize(("ending", "discount"), [("terminated", 0), ("truncated", 1), ("both", 0)])
def test_endings(ending, discount):
    env = ae.GymnasiumEnv(FakeGymEnv, 2, length=2, ending=ending)
    env.reset()
    middle, last, first = (env.step(answers(1, 2)) for _ in range(3))
    assert middle.mid().all() and middle.discount.tolist() == [1, 1] and middle.reward.tolist() == [11, 21]
    assert last.last().all() and last.discount.tolist() == [discount] * 2 and last.reward.tolist() == [12, 22]
    assert last.observation["count"].tolist() == [[2], [2]]
    assert first.first().all() and first.discount.tolist() == [1, 1] and first.reward.tolist() == [0, 0]
    assert first.observation["count"].tolist() == [[0], [0]]


def test_lanes_that_end_at_different_steps():
    lengths = iter([2, 3])
    env = ae.GymnasiumEnv(lambda: FakeGymEnv(length=next(lengths)), 2)
    timesteps = [env.reset()] + [env.step(answers(0, 0)) for _ in range(7)]
    assert [timestep.step_type[0].item() for timestep in timesteps] == [0, 1, 2, 0, 1, 2, 0, 1]
    assert [timestep.step_type[1].item() for timestep in timesteps] == [0, 1, 1, 2, 0, 1, 1, 2]
    assert [timestep.reward[0].item() for timestep in timesteps] == [0, 1, 2, 0, 1, 2, 0, 1]
    assert [timestep.observation["count"][1].item() for timestep in timesteps] == [0, 1, 2, 3, 0, 1, 2, 3]


# Spaces


def test_dict_tuple_and_text_come_as_nested_tensors():
    env = ae.GymnasiumEnv(FakeGymEnv, 2, length=9)
    timestep = env.reset()
    for count, word in enumerate(["", "a", "bé", "ccc", ""]):
        observation = timestep.observation
        assert observation["count"].tolist() == [[count], [count]] and observation["count"].dtype is torch.float64
        assert observation["pair"]["0"].tolist() == [count % 3] * 2
        assert observation["pair"]["1"].tolist() == [[count & 1, count >> 1 & 1, count >> 2 & 1, 0]] * 2
        assert observation["word"].tolist() == [BYTES[word]] * 2
        timestep = env.step(answers(1, 2))
    received = [simulator.env.unwrapped.received for simulator in env._lanes._simulators]
    assert received == [[{"move": move, "aim": [1, 2]}] * 5 for move in (1, 2)]


def test_specs_and_modalities_follow_the_spaces():
    spec = ae.GymnasiumEnv(FakeGymEnv, 2).specs["FakeGymEnv"]
    assert spec.num_envs == 2
    assert list(spec.observation) == ["count", "draw", "pair", "word"]
    assert spec.observation["word"].shape == (6,) and spec.observation["word"].dtype == np.uint8
    assert spec.action["move"].num_values == 3 and spec.action["aim"].maximum.tolist() == [1, 2]
    assert spec.modalities["observation"]["word"].structure == "sequence"
    assert spec.modalities["action"]["aim"] == ae.Modality("flat", "categorical")


def test_answers_are_checked_against_the_space():
    env = ae.GymnasiumEnv(FakeGymEnv, 2)
    env.reset()
    with pytest.raises(ActionError, match=r"'FakeGymEnv' \(slot 0\): .*'move' as int64 \[\] in 0..2, got 3 in lane 1"):
        env.step(answers(0, 3))


def test_discrete_spaces_that_start_elsewhere():
    env = ae.GymnasiumEnv("Blackjack-v1", 3)
    timestep = env.reset()
    assert {key: value.dtype for key, value in timestep.observation.items()} == dict.fromkeys("012", torch.int64)
    assert [spec.num_values for spec in env.observation_spec().values()] == [32, 11, 2]


# Errors


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (
            lambda: ae.GymnasiumEnv("Cartpole-v1"),
            r"expected the id of a registered environment, got 'Cartpole-v1'.*package",
        ),
        (lambda: ae.GymnasiumEnv("no_such_package:Env-v0"), "expected the id of a registered environment"),
        (lambda: ae.GymnasiumEnv("CartPole-v1", 0), "expected num_envs of at least 1, got 0"),
        (lambda: ae.GymnasiumEnv("CartPole-v1", 2.0), "expected num_envs of at least 1, got 2.0"),
        (lambda: ae.GymnasiumEnv("CartPole-v1", vectorization="async"), "got 'async'"),
        (lambda: ae.GymnasiumEnv("FrozenLake-v1", vectorization="vector_entry_point"), "'FrozenLake-v1' has none"),
        (lambda: ae.GymnasiumEnv(FakeGymEnv, vectorization="vector_entry_point"), "'FakeGymEnv' has none"),
        (lambda: ae.GymnasiumEnv(42), "expected an id, a function or a gymnasium.Env, got 42"),
        (lambda: ae.GymnasiumEnv(FakeGymEnv(), 2), "expected num_envs=1 with a live environment, got 2"),
    ],
)
def test_what_cannot_be_made_is_refused_at_once(make, match):
    with pytest.raises(SpecError, match=match):
        make()


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_rewards_that_are_not_finite_are_refused(bad):
    env = ae.GymnasiumEnv(FakeGymEnv, 2, name="fake", rewards=(1.0, bad, 1.0, 1.0))
    env.reset()
    env.step(answers(0, 0))
    with pytest.raises(
        SpecError, match=rf"'fake' \(slot 0\): expected finite rewards, got {bad} in lane 0 after step 1"
    ):
        env.step(answers(0, 0))


def test_large_rewards_are_fine():
    env = ae.GymnasiumEnv(FakeGymEnv, rewards=(1e30, -1e30, 3e38, 0.0))
    env.reset()
    assert [env.step(answers(0)).reward.item() for _ in range(3)] == [
        np.float32(1e30),
        np.float32(-1e30),
        np.float32(3e38),
    ]


def test_a_vector_environment_from_a_factory():
    def make(num_envs):
        return SyncVectorEnv([FakeGymEnv] * num_envs, autoreset_mode=AutoresetMode.NEXT_STEP)

    env = ae.GymnasiumEnv(lambda: make(2), 2, name="fakes")
    env.reset()
    assert env.step(answers(1, 2)).reward.tolist() == [11, 21]
    with pytest.raises(SpecError, match="expected a vector environment of 3 lanes with autoreset_mode NEXT_STEP"):
        ae.GymnasiumEnv(lambda: make(2), 3, name="fakes").reset()
    same_step = ae.GymnasiumEnv(
        lambda: SyncVectorEnv([FakeGymEnv], autoreset_mode=AutoresetMode.SAME_STEP), name="fakes"
    )
    with pytest.raises(SpecError, match="SAME_STEP"):
        same_step.reset()


# Live environments


def test_a_live_environment_runs_here_and_stays_open():
    live = FakeGymEnv()
    env = ae.GymnasiumEnv(live, name="live").pipe(ae.ObserveReward)
    env.reset()
    assert env.step(answers(2)).reward.tolist() == [21]
    env.close()
    assert live.count == 1
    assert env.reset().observation["count"].tolist() == [[0]]


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_a_live_environment_cannot_go_elsewhere(context):
    import copy
    import pickle

    env = ae.GymnasiumEnv(FakeGymEnv(), name="live")
    for duplicate in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(SpecError, match="'live' is a live environment, which cannot be copied, pickled or sent"):
            duplicate(env)
        with pytest.raises(SpecError, match="'live' is a live environment"):
            duplicate(env.pipe(ae.ObserveReward))
    loader = DataLoader(env, batch_size=None, num_workers=1, multiprocessing_context=context)
    with pytest.raises(SpecError, match="'live' is a live environment"):
        next(iter(loader))


@pytest.mark.slow
def test_a_loader_runs_a_live_environment_itself():
    live = FakeGymEnv()
    loader = ae.Loader(ae.GymnasiumEnv(live, name="live"), steps_per_epoch=3)
    for timestep in loader:
        timestep.reply(answers(1))
    assert live.count == 2
    with pytest.raises(SpecError, match="live"):
        ae.Loader(ae.GymnasiumEnv(live, name="live"), steps_per_epoch=3, in_flight=2)


# Names, lanes, recipes


def test_names():
    assert ae.GymnasiumEnv("CartPole-v1").name == "CartPole-v1"
    assert ae.GymnasiumEnv("gymnasium:CartPole-v1").name == "CartPole-v1"
    assert ae.GymnasiumEnv(FakeGymEnv).name == "FakeGymEnv"
    assert ae.GymnasiumEnv(FakeGymEnv()).name == "FakeGymEnv"
    assert ae.GymnasiumEnv(gymnasium.make("CartPole-v1")).name == "CartPole-v1"
    assert ae.GymnasiumEnv("CartPole-v1", name="cart").reset().source == "cart"


def test_who_can_control_lanes():
    assert ae.GymnasiumEnv("CartPole-v1").lane_control
    assert ae.GymnasiumEnv("CartPole-v1", 2, "sync").lane_control
    assert ae.GymnasiumEnv("FrozenLake-v1", 2).lane_control
    assert not ae.GymnasiumEnv("CartPole-v1", 2).lane_control


def test_held_lanes_keep_their_episode_and_their_generator():
    env, reference = (ae.GymnasiumEnv("CartPole-v1", 2, "sync", max_episode_steps=3) for _ in range(2))
    env.reset()
    expected = [reference.reset()] + [reference.step(torch.tensor([1, 0])) for _ in range(9)]
    mine = []
    for step in range(9):
        mine.append(env._outstanding)
        env.step(torch.tensor([1, 0]), torch.tensor([True, step % 2 == 0]))
    second = [env_step.observation["observation"][1].tolist() for env_step in mine]
    assert second == [expected[(step + 1) // 2].observation["observation"][1].tolist() for step in range(9)]
    first = [env_step.observation["observation"][0].tolist() for env_step in mine]
    assert first == [expected[step].observation["observation"][0].tolist() for step in range(9)]


def test_what_has_no_state_says_why():
    class WithHandle(FakeGymEnv):
        def reset(self, **options):
            self.simulator = memoryview(b"raw")
            return super().reset(**options)

    env = ae.GymnasiumEnv(WithHandle, name="handle")
    env.reset()
    assert not env.resumable
    with pytest.raises(SpecError, match="simulator") as caught:
        env.state_dict()
    assert "while taking the state of 'handle'" in caught.value.__notes__
    assert not ae.Interleave([CountingEnv(), env.pipe(ae.ObserveReward)]).resumable
    assert ae.Interleave([CountingEnv()]).resumable
