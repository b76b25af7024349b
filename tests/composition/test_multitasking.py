"""Multitasking: everything at once, each environment with its own observation, action and signals."""

import pytest
import torch

import aexp_torch as ae
from aexp_torch.errors import ActionError, SpecError
from aexp_torch.testing import CountingEnv
from aexp_torch.testing.rollout import snapshot, streams_differ

pytestmark = pytest.mark.timeout(60)


def counting(*lengths, **options):
    return CountingEnv(len(lengths), lengths, **options)


def act(env, *values):
    """Gives every environment that has actions one number, in all lanes."""
    spec = next(iter(env.specs.values()))
    lanes = spec.num_envs
    return env.step({name: {"action": torch.full((lanes,), value)} for name, value in zip(spec.action, values)})


def follow(env, num_steps, *values):
    timesteps = [env.reset()]
    while len(timesteps) < num_steps:
        timesteps.append(act(env, *values))
    return timesteps


def types(timesteps, key=None, lane=0):
    rows = [t.step_type if key is None else t.observation[f"step_type:{key}"] for t in timesteps]
    return "".join("FML"[row[lane]] for row in rows)


def test_observations_actions_and_rewards_by_name():
    env = ae.Multitasking({"a": counting(9, 9), "b": counting(9, 9, nested=True)})
    env.reset()
    timestep = act(env, 1, 3)
    assert timestep.source == "Multitasking" and list(env.specs) == ["Multitasking"]
    assert timestep.observation["a"]["observation"].tolist() == [1, 1]
    assert timestep.observation["b"]["count"].tolist() == [1, 1]
    assert timestep.observation["reward:a"].tolist() == [1, 1]
    assert timestep.observation["reward:b"].tolist() == [3, 3]
    assert timestep.reward.tolist() == [4, 4]
    assert [source.received[1].tolist() for source in env.environments] == [[1, 1], [3, 3]]


def test_specs_stand_side_by_side():
    env = ae.Multitasking({"a": counting(3), "b": counting(3, num_actions=0)})
    spec = env.specs["Multitasking"]
    signals = [f"{signal}:{name}" for name in "ab" for signal in ("reward", "step_type", "discount")]
    assert list(spec.observation) == ["a", "b", *signals] and list(spec.action) == ["a"]
    assert spec.modalities["observation"]["reward:a"] == ae.Modality("flat", "real", "reward")


@pytest.mark.parametrize(
    ("reward", "expected"),
    [("sum", 5.0), ("mean", 2.5), ("dict", 0.0), (lambda rewards: rewards["a"] - rewards["b"], -3.0)],
)
def test_rewards(reward, expected):
    env = ae.Multitasking({"a": counting(9), "b": counting(9)}, reward=reward)
    env.reset()
    timestep = act(env, 1, 4)
    assert timestep.reward.tolist() == [expected]
    assert (timestep.observation["reward:a"], timestep.observation["reward:b"]) == (1.0, 4.0)


def test_without_done_each_keeps_its_own_episodes():
    env = ae.Multitasking({"a": counting(2), "b": counting(3)})
    timesteps = follow(env, 8, 1, 1)
    assert types(timesteps) == "FMMMMMMM"
    assert types(timesteps, "a") == "FMLFMLFM"
    assert types(timesteps, "b") == "FMMLFMML"
    assert [t.discount.item() for t in timesteps] == [1] * 8
    assert [t.observation["discount:a"].item() for t in timesteps] == [1, 1, 0, 1, 1, 0, 1, 1]
    assert not env.episodic


def test_done_first_ends_the_others_as_truncations():
    env = ae.Multitasking({"a": counting(2), "b": counting(3)}, done="first")
    timesteps = follow(env, 7, 1, 2)
    assert types(timesteps) == types(timesteps, "a") == types(timesteps, "b") == "FMLFMLF"
    assert [t.discount.item() for t in timesteps] == [1, 1, 0, 1, 1, 0, 1]  # a terminates
    assert [t.observation["discount:b"].item() for t in timesteps] == [1] * 7  # b is cut off
    assert [t.reward.item() for t in timesteps] == [0, 3, 3, 0, 3, 3, 0]


def test_done_all_waits_for_the_last_one():
    env = ae.Multitasking({"a": counting(2), "b": counting(4)}, done="all")
    timesteps = follow(env, 7, 1, 2)
    assert types(timesteps) == "FMMMLFM"
    assert types(timesteps, "a") == "FMLLLFM"
    assert [t.observation["a"]["observation"] is None for t in timesteps] == [
        False,
        False,
        False,
        True,
        True,
        False,
        False,
    ]
    assert [t.observation["reward:a"].item() for t in timesteps] == [0, 1, 1, 0, 0, 0, 1]
    assert [t.reward.item() for t in timesteps] == [0, 3, 3, 2, 2, 0, 3]


def test_done_all_and_freeze_keeps_the_last_observation():
    env = ae.Multitasking({"a": counting(2), "b": counting(4)}, done="all", after_done="freeze")
    timesteps = follow(env, 7, 1, 2)
    assert types(timesteps) == "FMMMLFM"
    assert [t.observation["a"]["observation"].item() for t in timesteps] == [0, 1, 2, 2, 2, 3, 4]
    assert [t.observation["reward:a"].item() for t in timesteps] == [0, 1, 1, 0, 0, 0, 1]


def test_done_all_and_reset_lets_it_start_over():
    env = ae.Multitasking({"a": counting(2), "b": counting(4)}, done="all", after_done="reset")
    timesteps = follow(env, 7, 1, 2)
    assert types(timesteps) == "FMMMLFM"
    assert types(timesteps, "a") == "FMLFLFM"  # its second episode is cut off
    assert [t.observation["discount:a"].item() for t in timesteps] == [1, 1, 0, 1, 1, 1, 1]


def test_lanes_end_on_their_own():
    env = ae.Multitasking({"a": counting(2, 4), "b": counting(5, 2)}, done="all")
    timesteps = follow(env, 7, 1, 2)
    assert types(timesteps, lane=0) == "FMMMMLF"
    assert types(timesteps, lane=1) == "FMMMLFM"
    third = timesteps[3].observation
    assert third["a"]["mask:observation"].tolist() == [False, True] and third["a"]["observation"].tolist() == [0, 3]
    assert third["b"]["mask:observation"].tolist() == [True, False]
    assert timesteps[3].reward.tolist() == [2, 1]


def test_a_lane_starts_over_while_others_go_on():
    env = ae.Multitasking({"a": counting(2, 9), "b": counting(9, 9)}, done="first")
    timesteps = follow(env, 5, 1, 2)
    assert types(timesteps, lane=0) == "FMLFM" and types(timesteps, lane=1) == "FMMMM"
    assert [t.observation["b"]["observation"].tolist() for t in timesteps] == [[0, 0], [1, 1], [2, 2], [3, 3], [4, 4]]


def test_streams_that_end():
    envs = {"data": ae.DatasetEnv({"x": torch.arange(2)}, batch_size=1, epochs=1), "b": counting(4)}
    timesteps = follow(ae.Multitasking(envs), 5, 1)
    assert [t.observation["data"]["x"].item() for t in timesteps] == [0, 1, 0, 1, 0]
    timesteps = follow(ae.Multitasking(envs, done="all"), 7, 1)
    assert types(timesteps) == "FMMMLFM"
    assert [x if x is None else x.item() for x in (t.observation["data"]["x"] for t in timesteps)] == [
        0, 1, None, None, None, 0, 1,
    ]  # fmt: skip
    endless = {"a": counting(9, stream_length=2), "b": counting(9)}
    timesteps = follow(ae.Multitasking(endless, done="first"), 5, 1, 1)
    assert types(timesteps) == "FMLFM" and types(timesteps, "a") == "FMLFM"
    assert timesteps[2].observation["a"]["observation"] is None and timesteps[2].discount.item() == 1


def test_data_goes_on_where_a_lost_process_stood():
    def data():
        return ae.DatasetEnv({"x": torch.arange(12)}, batch_size=1)

    env = ae.Multitasking({"data": data(), "inner": ae.Multitasking({"data": data(), "b": counting(4)})})
    env.place(seed=0, restarts=1)
    env.go_on_after({"Multitasking": 4})
    observation = env.reset().observation
    assert observation["data"]["x"].item() == observation["inner"]["data"]["x"].item() == 5


def test_equal_environments_in_a_list_have_names_and_seeds_of_their_own():
    env = ae.Multitasking([CountingEnv(2, random=True), CountingEnv(2, random=True)])
    observation = env.reset().observation
    assert env.names == ("CountingEnv#1", "CountingEnv#2")
    assert not torch.equal(observation[env.names[0]]["random"], observation[env.names[1]]["random"])


def test_two_of_them_in_one_pipeline_have_seeds_of_their_own():
    def pair():
        return ae.Multitasking({"x": CountingEnv(1, random=True), "y": CountingEnv(1)}, name="pair")

    env = ae.Interleave({"left": pair(), "right": pair()})
    assert list(env.specs) == ["left", "right"]
    first = env.reset()
    second = act_on(env, first)
    assert (first.source, second.source) == ("left", "right")
    assert not torch.equal(first.observation["x"]["random"], second.observation["x"]["random"])


def act_on(env, timestep):
    return env.step(env.sample_action(timestep.source))


def test_a_wrong_answer_is_refused():
    env = ae.Multitasking({"a": counting(3), "b": counting(3)})
    timestep = env.reset()
    with pytest.raises(ActionError, match=r"missing \['b/action'\]"):
        timestep.reply({"a": {"action": torch.tensor([1])}})


def test_what_does_not_fit_together_is_refused():
    with pytest.raises(SpecError, match=r"equally many lanes, got {'a': 1, 'b': 2}"):
        ae.Multitasking({"a": counting(3), "b": counting(3, 3)}).reset()
    vector = ae.GymnasiumEnv("CartPole-v1", num_envs=2)
    with pytest.raises(SpecError, match=r"lane control for done='first'.*\['a'\].*vectorization='sync'"):
        ae.Multitasking({"a": vector, "b": counting(3, 3)}, done="first")
    with pytest.raises(SpecError, match="Interleave has .*put it inside the Interleave"):
        ae.Multitasking([ae.Interleave([counting(3), counting(3)]), counting(3)])
    with pytest.raises(SpecError, match="expected done=None, 'first' or 'all'"):
        ae.Multitasking([counting(3)], done="any")
    with pytest.raises(SpecError, match="expected done='first' or 'all' with after_done='skip'"):
        ae.Multitasking([counting(3)], after_done="skip")
    with pytest.raises(SpecError, match="after_done in .*got 'stop'"):
        ae.Multitasking([counting(3)], done="all", after_done="stop")
    with pytest.raises(SpecError, match="reward 'sum', 'mean', 'dict' or a function, got 'max'"):
        ae.Multitasking([counting(3)], reward="max")
    with pytest.raises(SpecError, match=r"float32 \[1\] from reward="):
        ae.Multitasking([counting(3)], reward=lambda rewards: 1.0).reset()


def test_a_loader_gives_the_same_with_and_without_workers():
    def steps(num_workers):
        env = ae.Multitasking({"a": counting(2, 3, random=True), "b": counting(4, 2)}, done="all")
        loader = ae.Loader(env, num_workers=num_workers, in_flight=2, steps_per_epoch=20)
        seen = []
        for timestep in loader:
            seen.append(snapshot(timestep))
            lanes = {"action": torch.tensor([1, 2])}
            timestep.reply({"a": lanes, "b": lanes})
        loader.close()
        return seen

    assert streams_differ(steps(0), steps(2)) is None
