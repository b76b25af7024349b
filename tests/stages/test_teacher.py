"""Teacher: what is stored, who goes back where, and that a restored episode is the one that was."""

import gymnasium
import numpy as np
import pytest
import torch

import aexp_torch as ae
from aexp_torch.stages.archive import Archive
from aexp_torch.stages.performance import Performance
from aexp_torch.testing import CountingEnv
from aexp_torch.testing.rollout import answer_to, rollout

KEY = "teacher:restored_step"


def teach(env, **options):
    return env.pipe(ae.Teacher, **{"p_revert": 1.0, **options})


def play(env, actions):
    """Returns `(step type, observation, reward, restored step)` of lane 0 for every timestep."""
    timesteps = [env.reset(), *(env.step(torch.full((env.env.num_envs,), action)) for action in actions)]
    return [seen(timestep) for timestep in timesteps]


def seen(timestep, lane=0):
    restored, mask = timestep.observation[KEY], timestep.observation.get(f"mask:{KEY}")
    there = restored is not None and (mask is None or bool(mask[lane]))
    observation = timestep.observation.get("observation")
    step = int(restored[lane]) if there else None
    return int(timestep.step_type[lane]), float(observation[lane]), float(timestep.reward[lane]), step


def test_the_episode_after_last_begins_where_the_return_rose_most():
    env = teach(CountingEnv(1, lengths=[4]))
    assert play(env, [1, 3, 2, 4, 0, 0, 0, 0, 4, 0, 0, 0]) == [
        (0, 0, 0, None), (1, 1, 1, None), (1, 2, 3, None), (1, 3, 2, None), (2, 4, 4, None),
        (0, 2, 0, 2), (1, 3, 0, None), (2, 4, 0, None),
        (0, 2, 0, 2), (1, 3, 4, None), (2, 4, 0, None),  # a greater rise, one step further
        (0, 3, 0, 3), (2, 4, 0, None),
    ]  # fmt: skip


def test_of_equal_rises_the_newest_is_gone_back_to_and_without_any_there_is_no_going_back():
    assert [o for _, o, *_ in play(teach(CountingEnv(1, lengths=[3])), [2, 2, 0, 0])] == [0, 1, 2, 3, 2]
    assert [o for _, o, *_ in play(teach(CountingEnv(1, lengths=[3])), [0, 0, 0, 0])] == [0, 1, 2, 3, 4]
    assert [o for _, o, *_ in play(teach(CountingEnv(1, lengths=[3]), p_revert=0.0), [2, 2, 0, 0])] == [0, 1, 2, 3, 4]


def test_the_rise_is_taken_over_a_window():
    # Returns 0 0 4 4 4: over two steps they have risen at steps 2 and 3, over one step at step 2.
    for window, place in ((1, 2), (2, 3), (9, 4)):
        env = teach(CountingEnv(1, lengths=[5]), window=window)
        assert play(env, [0, 4, 0, 0, 0, 0])[-1] == (0, place, 0, place)


def test_performance_by_hand():
    performance = Performance(2, gamma=0.5, window=2)
    both, none = np.ones(2, bool), np.zeros(2, bool)
    for lane in range(2):
        performance.begin(lane, None)
    rises = [performance.rise(both, none)]
    for reward in ([1, 0], [1, 4], [0, -8], [0, 0]):
        performance.earn(both, np.array(reward, np.float32))
        rises.append(performance.rise(none, both))
    # Returns: 0, 1, 1.5, 1.5, 1.5 and 0, 0, 2, 0, 0.
    assert np.stack(rises).tolist() == [[0, 0], [1, 0], [1.5, 2], [0.5, 0], [0, -2]]
    assert performance.weight.tolist() == [1 / 16, 1 / 16]


def test_the_return_of_a_restored_episode_goes_on_from_that_of_its_place():
    env = teach(CountingEnv(1, lengths=[4]), gamma=0.5, buffer="top_k", capacity=1)
    rows = play(env, [3, 4, 0, 0, 0, 4, 0, 0, 0])
    # Rises: 3, 4 / 2 = 2, then from step 1 on 4 / 2 = 2 again, which a return from 0 would count as 4.
    assert [row[3] for row in rows] == [None] * 5 + [1] + [None] * 3 + [1]


def test_top_k_stores_only_what_it_keeps():
    class Counted(CountingEnv):
        def lane_state(self, lane):
            self.stored = getattr(self, "stored", 0) + 1
            return super().lane_state(lane)

    source = Counted(1, lengths=[8])
    env = teach(source, buffer="top_k", capacity=2)
    play(env, [1, 3, 2, 1, 2, 1, 0])
    assert source.stored == 4  # 1 and 3; 2 instead of 1; the later 2 instead of the first
    places = env._memories["Counted"].archive.places
    assert [(place["score"], place["start"]["step"]) for place in places] == [(3, 2), (2, 5)]


def test_a_function_says_what_is_stored():
    def odd(timestep, score):
        assert score.dtype is torch.float64 and len(score) == len(timestep.step_type)
        return timestep.observation["observation"] % 2 == 1

    env = teach(CountingEnv(2, lengths=[4, 9]), buffer=odd, capacity=3)
    assert [row[1] for row in play(env, [0, 4, 0, 0, 0])] == [0, 1, 2, 3, 4, 3]
    scores = [(place["score"], place["start"]["step"]) for place in env._memories["CountingEnv"].archive.places]
    assert scores == [(0, 3), (0, 3), (0, 5)]


class Rarity:
    """Gives a place the less the more often it was seen."""

    def __init__(self):
        self.counts: dict[float, int] = {}

    def __call__(self, timestep):
        values = []
        for cell in timestep.observation["observation"].tolist():
            self.counts[cell] = self.counts.get(cell, 0) + 1
            values.append(1 / self.counts[cell])
        return torch.tensor(values)

    def state_dict(self):
        return {"counts": dict(self.counts)}

    def load_state_dict(self, state):
        self.counts = dict(state["counts"])


def test_a_score_of_ones_own_may_remember_and_each_pipeline_has_its_own():
    rarity = Rarity()
    env = teach(CountingEnv(1, lengths=[4]), score=rarity, window=None)
    assert play(env, [0, 0, 0, 0, 0])[-1] == (0, 3, 0, 3)
    assert rarity.counts == {} and env._score.counts == {0: 1, 1: 1, 2: 1, 3: 2, 4: 1}
    state = env.state_dict()
    expected = [seen(env.step(torch.tensor([0]))) for _ in range(6)]
    other = teach(CountingEnv(1, lengths=[4]), score=Rarity(), window=None)
    other.load_state_dict(state)
    assert [seen(other.step(torch.tensor([0]))) for _ in range(6)] == expected


def test_a_function_sees_every_lane_once_where_lanes_are_held():
    env = teach(CountingEnv(2, lengths=[9, 9]), score=Rarity(), window=None)
    env.reset()
    for lanes in ([True, False], [True, False], [False, True]):
        env.step(torch.tensor([0, 0]), torch.tensor(lanes))
    assert env._score.counts == {0: 2, 1: 2, 2: 1}


def test_after_any_step_it_cuts_the_episode_off():
    env = teach(CountingEnv(1, lengths=[9]), when="step")
    timesteps = [env.reset(), *(env.step(torch.tensor([action])) for action in (2, 1, 0, 3, 0, 0, 0))]
    assert [seen(timestep) for timestep in timesteps] == [
        (0, 0, 0, None), (1, 1, 2, None), (2, 2, 1, None),  # the first that has somewhere to go back to
        (0, 1, 0, 1), (2, 2, 3, None),
        (0, 1, 0, 1), (2, 2, 0, None),
        (0, 2, 0, 2),  # where the rise of 3 was
    ]  # fmt: skip
    assert all(timestep.truncated().all() for timestep in timesteps if timestep.last().any())


def test_lanes_share_places_and_say_which_of_them_was_restored():
    env = teach(CountingEnv(3, lengths=[3, 4, 9]))
    env.reset()
    timesteps = [env.step(torch.tensor([1, 0, action])) for action in (0, 4, 0, 0, 0)]
    assert [timestep.step_type.tolist() for timestep in timesteps[2:]] == [[2, 1, 1], [0, 2, 1], [2, 0, 1]]
    assert timesteps[3].observation["observation"].tolist() == [2, 4, 4]  # lane 0 goes on as lane 2 was
    assert timesteps[3].observation[KEY].tolist() == [2, 0, 0]
    assert timesteps[3].observation[f"mask:{KEY}"].tolist() == [True, False, False]
    assert timesteps[4].observation[f"mask:{KEY}"].tolist() == [False, True, False]
    assert all(timestep.observation[KEY] is None for timestep in timesteps[:3])


def test_each_source_has_its_own_places():
    env = ae.Interleave({"a": CountingEnv(1, [3]), "b": CountingEnv(1, [4])}).pipe(ae.Teacher, p_revert=1.0)
    timestep, rows = env.reset(), {"a": [], "b": []}
    for _ in range(14):
        rows[timestep.source].append(seen(timestep))
        number = len(rows[timestep.source])
        timestep = env.step(torch.tensor([4 if number == (1 if timestep.source == "a" else 2) else 0]))
    assert [(step_type, observation, step) for step_type, observation, _, step in rows["a"]] == [
        (0, 0, None), (1, 1, None), (1, 2, None), (2, 3, None), (0, 1, 1), (1, 2, None), (2, 3, None)
    ]  # fmt: skip
    assert [(step_type, observation, step) for step_type, observation, _, step in rows["b"]][4:] == [
        (2, 4, None), (0, 2, 2), (1, 3, None)
    ]  # fmt: skip


@pytest.mark.parametrize("done", ["first", "all"])
def test_within_episodes_of_a_composition(done):
    members = {"a": CountingEnv(2, [3, 4], random=True), "b": CountingEnv(1, [5])}
    env = ae.Interleave(members, done=done, after_done="freeze" if done == "all" else None, on_missing="sample")
    env, restored = env.pipe(ae.Teacher, p_revert=0.8), 0
    for timestep, _ in zip(env, range(300)):
        restored += timestep.observation[KEY] is not None
        assert timestep.observation[KEY] is None or timestep.first().any()
    assert restored > 20


def test_places_are_drawn_in_proportion_to_their_scores():
    archive, generator = Archive(9, False, "proportional"), np.random.default_rng(0)
    assert archive.choose(generator) is None
    archive.add({"score": -1.0})
    assert archive.choose(generator) is None
    for score in (1.0, 0.0, 3.0):
        archive.add({"score": score})
    drawn = np.bincount([archive.choose(generator)["number"] for _ in range(4000)], minlength=4) / 4000
    assert drawn[0] == drawn[2] == 0 and 0.22 < drawn[1] < 0.28


def test_below_stages_that_wait_and_count():
    env = teach(CountingEnv(2, lengths=[4, 6])).pipe(ae.FrameStack, stack_size=2).pipe(ae.StaticTimescaled, ratio=0.5)
    env.reset()
    for _ in range(30):
        timestep = env.step(torch.tensor([1, 1]))
        for lane in torch.nonzero(timestep.first()).flatten().tolist():
            assert timestep.observation["observation"][lane].unique().numel() == 1  # no frame of the episode before


@pytest.mark.parametrize("limit", ["above", "below"])
def test_with_a_time_limit(limit):
    env = CountingEnv(1, lengths=[50])
    env = env.pipe(ae.TimeLimit, max_episode_steps=3) if limit == "below" else env
    env = teach(env)
    env = env.pipe(ae.TimeLimit, max_episode_steps=3) if limit == "above" else env
    timesteps = [env.reset()] + [env.step(torch.tensor([3 - (step % 4)])) for step in range(11)]
    assert [int(timestep.step_type) for timestep in timesteps] == [0, 1, 1, 2] * 3
    assert [seen(timestep)[3] for timestep in timesteps[4::4]] == [1, 2]


def test_data_goes_back_and_then_on_where_it_was():
    data = {"x": torch.arange(4.0), "y": torch.tensor([0, 1, 0, 1])}
    env = ae.DatasetEnv(data, batch_size=1, epochs=2, loss="correct", mode="split", name="d")
    env = env.pipe(ae.Teacher, p_revert=1.0, capacity=1)
    xs, rewards = [], []
    timestep, restored = env.reset(), 0
    for _ in range(20):
        if timestep.observation[KEY] is not None:
            restored += 1
        value = timestep.observation["x"]
        xs.append(None if value is None else float(value))
        rewards.append(float(timestep.reward))
        timestep = env.step(torch.tensor([int(len(xs) == 5)]))
    # 0, 2 and 3 (odd ones are 1) are predicted; the last that was right is where the next episodes begin.
    assert restored >= 2 and xs[:8] == [0, None, 1, None, 2, None, 3, None]


def test_a_finite_stream_ends_after_the_detours():
    data = {"x": torch.arange(3.0), "y": torch.tensor([0, 1, 1])}
    env = ae.DatasetEnv(data, batch_size=1, epochs=2, loss="correct", on_missing="sample", shuffle=True)
    env = env.pipe(ae.Teacher, p_revert=0.5)
    env.place(seed=3)
    timesteps = list(env)
    fresh = [t for t in timesteps if t.first().all() and t.observation[KEY] is None]
    assert len(fresh) == 2 and sum(t.observation[KEY] is not None for t in timesteps) >= 1
    assert env.stream_length is None


def test_data_starts_over_where_a_process_was_lost():
    env = ae.DatasetEnv({"x": torch.arange(5.0)}, batch_size=1, episode="pass", name="d").pipe(ae.Teacher)
    env.go_on_after({"d": 3})
    assert float(env.reset().observation["x"]) == 0  # the steps of restored episodes were no progress


def test_on_the_trainers_side_of_workers_it_is_refused():
    env = CountingEnv(2).pipe(ae.TrainerSide).pipe(ae.Teacher)
    assert env.reset().observation[KEY] is None
    with pytest.raises(ae.SpecError, match=r"Teacher has a reset or step of its own\. Put it below TrainerSide"):
        ae.Loader(env, num_workers=1, steps_per_epoch=3)


class Refused:
    """Has the kinds of environments that cannot."""

    own = staticmethod(lambda: ae.GymnasiumEnv("CartPole-v1", 4))
    rows = staticmethod(lambda: ae.DatasetEnv({"x": torch.arange(4.0)}, batch_size=2, name="rows"))
    joined = staticmethod(lambda: ae.SynEnv([CountingEnv(1)], 2, name="joined"))
    tasks = staticmethod(lambda: ae.Multitasking({"a": CountingEnv(1)}, name="tasks"))
    replay = staticmethod(lambda: CountingEnv(2).pipe(ae.ReplayBuffer, capacity=9, mode="mix"))


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (Refused.own, "CartPole-v1' \\(GymnasiumEnv"),
        (Refused.rows, "rows' \\(DatasetEnv"),
        (Refused.joined, "joined' \\(SynEnv"),
        (Refused.tasks, "tasks' \\(Multitasking"),
        (Refused.replay, "replay/CountingEnv' \\(Player"),
    ],
)
def test_sources_that_cannot_are_refused_by_name(make, name):
    with pytest.raises(
        ae.SpecError, match=f"Teacher: expected sources that can store single lanes, '{name}\\) cannot. Use"
    ):
        make().pipe(ae.Teacher)


def test_simulators_that_cannot_are_refused_when_they_open():
    pytest.importorskip("Box2D")
    env = ae.GymnasiumEnv("LunarLander-v3", 2, "sync").pipe(ae.Teacher)
    with pytest.raises(ae.SpecError, match=r"Teacher: .*'LunarLander-v3' .* cannot: .*LunarLander\."):
        env.reset()


def test_other_things_that_cannot_work_are_refused():
    env = CountingEnv()
    for options in ({"buffer": "all"}, {"score": "reward"}):
        with pytest.raises(ae.SpecError, match="expected buffer 'rolling', 'top_k' or a function, and score"):
            env.pipe(ae.Teacher, **options)
    for options in ({"when": "last"}, {"choose": "worst"}):
        with pytest.raises(ae.SpecError, match="expected when 'reset' or 'step' and choose"):
            env.pipe(ae.Teacher, **options)
    for options in ({"capacity": 0}, {"window": 0}, {"p_revert": 1.1}, {"gamma": -1}):
        with pytest.raises(ae.SpecError, match="expected capacity and window of at least 1"):
            env.pipe(ae.Teacher, **options)
    with pytest.raises(ae.SpecError, match="Teacher: expected an environment that can hold single lanes"):
        ae.Interleave([CountingEnv(), CountingEnv()]).pipe(ae.Teacher, when="step")
    with pytest.raises(ae.SpecError, match="expected a free key, 'teacher:restored_step'"):
        env.pipe(ae.Teacher).pipe(ae.Teacher).reset()
    for values in (torch.zeros(3), [0.0, 0.0], torch.tensor([0.0, float("nan")])):
        with pytest.raises(ae.SpecError, match="expected a tensor of 2 finite numbers from score= for 'CountingEnv'"):
            env.pipe(ae.Teacher, score=lambda timestep, values=values: values).reset()


class Chain(gymnasium.Env):
    """Goes right or falls back to the start; the end is worth 1. Where it starts is drawn."""

    observation_space, action_space = gymnasium.spaces.Discrete(60), gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.cell = int(self.np_random.integers(3))
        return self.cell, {}

    def step(self, action):
        self.cell += int(action)
        return self.cell, float(self.cell == 59), self.cell == 59 or not action, False, {}


def test_fresh_episodes_are_those_that_would_have_come():
    def starts(p_revert):
        env = ae.GymnasiumEnv(Chain, 2, "sync", on_missing="sample")
        env = env.pipe(ae.Teacher, score=lambda t: t.observation["observation"], p_revert=p_revert, capacity=3)
        found = ([], [])
        for timestep, _ in zip(env, range(400)):
            for lane in range(2):
                if seen(timestep, lane)[0] == 0 and seen(timestep, lane)[3] is None:
                    found[lane].append(seen(timestep, lane)[1])
        return found

    for ours, theirs in zip(starts(0.6), starts(0.0)):
        assert 10 < len(ours) < len(theirs) and ours == theirs[: len(ours)]


def test_it_reaches_what_random_steps_do_not():
    def farthest(p_revert):
        env = ae.GymnasiumEnv(Chain, 4, "sync", on_missing="sample")
        env = env.pipe(ae.Teacher, score=lambda t: t.observation["observation"], p_revert=p_revert)
        return max(int(timestep.observation["observation"].max()) for timestep, _ in zip(env, range(900)))

    assert farthest(0.0) < 20 and farthest(0.9) == 59


def test_streams_follow_from_the_seed_whatever_is_above():
    def stream(stage):
        env = teach(CountingEnv(2, lengths=[3, 5]), p_revert=0.5)
        env = env.pipe(stage) if stage else env
        timesteps = rollout(env, 40)
        assert answer_to(env, timesteps[-1])
        return [timestep.observation["observation"].tolist() for timestep in timesteps]

    assert stream(None) == stream(ae.ObserveReward)


def test_a_stream_that_is_over_starts_over_with_some_lanes_restored():
    env = CountingEnv(2, lengths=[2, 9], stream_length=3).pipe(
        ae.Teacher, score=lambda timestep: timestep.reward, p_revert=1.0
    )
    for _ in range(3):
        for timestep in env:
            timestep.reply(torch.tensor([1, 2]))
    assert "teacher:restored_step" in timestep.observation
