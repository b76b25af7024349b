"""ReplayBuffer as a stage: a transparent tap, what it shows again, and both mixed."""

import copy
import itertools
import pickle
from dataclasses import replace

import pytest
import torch

import aexp_torch as ae
from aexp_torch.testing import CountingEnv
from aexp_torch.testing.rollout import difference, snapshot


def step_types(timesteps: list[ae.TimeStep]) -> list[list[int]]:
    return [timestep.step_type.tolist() for timestep in timesteps]


def record(
    path, num_steps: int, lengths=(2, 3), name: str = "CountingEnv", slot: int = 0, **options
) -> list[ae.TimeStep]:
    env = CountingEnv(len(lengths), lengths, name=name, **options).pipe(ae.ReplayBuffer, path=path)
    env.place(seed=0, slot=slot, num_slots=2)
    timesteps = [env.reset()]
    for step in range(1, num_steps):
        timesteps.append(env.step(torch.arange(len(lengths)) + step % 3))
    env.close()
    return timesteps


def play(env: ae.Env, num_steps: int) -> list[ae.TimeStep]:
    env.on_missing = "sample"
    return [timestep for _, timestep in zip(range(num_steps), env)]


def test_a_tap_changes_nothing():
    plain, tapped = CountingEnv(3, random=True), CountingEnv(3, random=True).pipe(ae.ReplayBuffer, capacity=100)
    assert tapped.specs == plain.specs
    ours, theirs = tapped.reset(), plain.reset()
    for step in range(20):
        assert difference(ours, theirs) is None
        ours, theirs = tapped.step(torch.full((3,), step % 5)), plain.step(torch.full((3,), step % 5))
    assert [action.tolist() for action in tapped.env.received[1:]] == [a.tolist() for a in plain.received[1:]]


def test_a_recording_is_shown_as_it_was(tmp_path):
    recorded = record(tmp_path, 12)
    env = ae.ReplayBuffer(path=tmp_path, source="CountingEnv")
    shown = play(env, 12)
    # Lane 0 ends after 2 transitions, lane 1 after 3.
    assert step_types(shown) == step_types(recorded)
    assert step_types(shown)[:5] == [[0, 0], [1, 1], [2, 1], [0, 2], [1, 0]]
    for ours, theirs in zip(shown, recorded):
        assert (ours.source, ours.ticket.slot) == ("CountingEnv", 0)
        assert (ours.observation["observation"] == theirs.observation["observation"]).all()
        assert (ours.reward == theirs.reward).all() and (ours.discount == theirs.discount).all()
    assert [timestep.observation["action:recorded"].tolist() for timestep in shown[:5]] == [
        [1, 2],
        [2, 3],
        [0, 1],
        [1, 0],
        [2, 3],
    ]
    assert [timestep.observation["mask:action:recorded"].tolist() for timestep in shown[:4]] == [
        [True, True],
        [True, True],
        [False, True],  # LAST has no answer
        [True, False],
    ]
    spec = env.specs["CountingEnv"]
    assert spec.observation["action:recorded"] == spec.action["action"]
    modality = spec.modalities["action"]["action"]
    assert spec.modalities["observation"]["action:recorded"] == replace(modality, optional=True)


def test_what_was_cut_off_ends_with_truncated_and_all_begins_again(tmp_path):
    record(tmp_path, 6, lengths=(2, 9))
    shown = play(ae.ReplayBuffer(path=tmp_path), 9)
    # Lane 0: 0 1 2 | 3 4 5; lane 1 is cut off after 5. Then lane 0 takes the first episode again, and lane 1 the second.
    assert step_types(shown) == [[0, 0], [1, 1], [2, 1], [0, 1], [1, 1], [2, 2], [0, 0], [1, 1], [2, 1]]
    assert shown[5].truncated().tolist() == [False, True]
    assert shown[6].observation["observation"].tolist() == [0, 0]


def test_answers_are_checked_and_ignored(tmp_path):
    record(tmp_path, 12)
    one, other = ae.ReplayBuffer(path=tmp_path), ae.ReplayBuffer(path=tmp_path)
    ours, theirs = one.reset(), other.reset()
    for step in range(15):
        assert difference(ours, theirs) is None
        ours, theirs = one.step(torch.tensor([0, 0])), other.step(torch.tensor([step % 5, 4]))
    with pytest.raises(ae.ActionError):
        one.step(torch.tensor([0, 5]))


def test_slots_share_the_episodes(tmp_path):
    for slot in range(2):
        record(tmp_path, 8, lengths=(3,), slot=slot)
    begins = []
    for slot in range(2):
        env = ae.ReplayBuffer(path=tmp_path)
        env.place(seed=0, slot=slot, num_slots=2)
        shown = play(env, 8)
        begins.append([int(t.observation["observation"]) for t in shown if t.first()])
    assert begins == [[0, 0], [4, 4]]  # of four episodes, the first of each recording and the second of each


def test_shuffled_episodes_are_whole_and_follow_the_seed(tmp_path):
    record(tmp_path, 40)

    def show(seed: int) -> list:
        env = ae.ReplayBuffer(path=tmp_path, shuffle=True, seed=seed)
        return [(t.step_type.tolist(), t.observation["observation"].tolist()) for t in play(env, 30)]

    assert show(1) == show(1) != show(2)
    for (_, before), (step_type, after) in zip(show(1), show(1)[1:]):
        for lane in range(2):
            assert step_type[lane] == 0 or after[lane] == before[lane] + 1


def delayed_dataset() -> ae.Env:
    data = {"x": torch.arange(14.0).view(7, 2), "y": torch.tensor([0, 1, 2, 0, 1, 2, 0])}
    return ae.DatasetEnv(data, batch_size=3, epochs=2, mode="delayed")


def rows_of_several() -> ae.Env:
    environments = {"long": CountingEnv(1, [4]), "short": CountingEnv(1, [2], nested=True), "other": CountingEnv(1)}
    return ae.SynEnv(environments, batch_size=2, transition="agent")


@pytest.mark.parametrize("make", [delayed_dataset, rows_of_several])
def test_keys_that_come_and_go_are_shown_with_their_masks(make, tmp_path):
    env = make().pipe(ae.ReplayBuffer, path=tmp_path)
    env.on_missing = "sample"
    recorded = [snapshot(timestep) for timestep, _ in zip(env, range(25))]
    env.close()
    absent = [v is None or (k.startswith("mask:") and not v.all()) for t in recorded for k, v in t.observation.items()]
    assert any(absent)
    shown = play(ae.ReplayBuffer(path=tmp_path, source=env.name), len(recorded))
    for number, (ours, theirs) in enumerate(zip(shown, recorded)):
        observation = {key: value for key, value in ours.observation.items() if "action" not in key}
        ours = ours._replace(observation=observation)
        if number == len(recorded) - 1:  # what is cut off ends with truncated
            ours, theirs = (t._replace(step_type=t.step_type.new_zeros(len(t.step_type))) for t in (ours, theirs))
        assert difference(ours, theirs) is None


def test_mixing_draws_from_both(tmp_path):
    env = CountingEnv(2, (2, 3)).pipe(ae.ReplayBuffer, capacity=100, mode="mix", p=0.3, path=tmp_path)
    assert list(env.specs) == ["CountingEnv", "replay/CountingEnv"]
    shown = play(env, 400)
    share = sum(timestep.source == "replay/CountingEnv" for timestep in shown) / 400
    assert 0.2 < share < 0.4
    live = [timestep for timestep in shown if timestep.source == "CountingEnv"]
    assert [int(timestep.observation["observation"][0]) for timestep in live] == list(range(len(live)))
    assert env.num_timesteps == {"CountingEnv": 2 * min(50, len(live))}  # what is shown again is not stored again
    stored = [timestep for timestep in shown if timestep.source != "CountingEnv"]
    for before, after in itertools.pairwise(stored):
        for lane in range(2):
            assert after.first()[lane] == before.last()[lane]
    assert play(CountingEnv().pipe(ae.ReplayBuffer, capacity=50, mode="mix", p=0), 9)[-1].source == "CountingEnv"
    env.close()


def test_lanes_whose_episode_makes_room_are_truncated():
    env = CountingEnv(1, (50,)).pipe(ae.ReplayBuffer, capacity=5, mode="mix", p=0.25)
    shown = [timestep for timestep in play(env, 600) if timestep.source.startswith("replay")]
    for before, after in itertools.pairwise(shown):
        count = int(after.observation["observation"])
        if not after.first():
            assert count in (int(before.observation["observation"]), int(before.observation["observation"]) + 1)
        if not after.first() and count == int(before.observation["observation"]):  # it was gone
            assert after.truncated() and after.reward == 0 and not after.observation["mask:action:recorded"]
        assert after.first() == before.last()
    assert any(timestep.truncated() for timestep in shown)


def test_hooks_hear_of_everything_that_is_stored():
    heard: list = []
    counts: list = []
    env = CountingEnv(2).pipe(
        ae.ReplayBuffer, capacity=50, on_append=[heard.append, lambda record: counts.append(len(record.rows))]
    )
    env.reset()
    timestep = env.step(torch.tensor([3, 4]))
    env.step(torch.tensor([1, 2]), torch.tensor([False, True]))
    assert heard[0].action is None and heard[1].action["action"].tolist() == [3, 4]
    assert difference(heard[1].timestep, timestep) is None
    assert [record.rows.tolist() for record in heard] == [[0, 1], [2, 3], [4]] and counts == [2, 2, 1]


def test_an_agent_keeps_a_buffer_of_its_own():
    buffer = ae.ReplayBuffer(capacity=500, sampler=ae.UniformSampler(2, 0.5))
    environments = {"a": CountingEnv(2), "b": CountingEnv(2, nested=True)}
    loader = ae.Loader(environments, in_flight=2, steps_per_epoch=60)
    for number, timestep in enumerate(loader):
        action = torch.full((2,), number % 5)
        timestep.reply(action)
        buffer.append(timestep, action)
    loader.close()
    assert sum(buffer.num_timesteps.values()) == 120
    batch = buffer.sample(64, source="a")
    assert (batch.next_observation["observation"] == batch.observation["observation"] + batch.num_steps).all()
    state = buffer.state_dict()
    other = ae.ReplayBuffer(capacity=500, sampler=ae.UniformSampler(2, 0.5))
    other.load_state_dict(state)
    for _ in range(3):
        assert buffer.sample(8, "b").rows.tolist() == other.sample(8, "b").rows.tolist()


def test_what_was_appended_is_shown_again():
    buffer = ae.ReplayBuffer(capacity=100)
    timestep = ae.restart({"observation": torch.tensor([[1.0]])}, 1)
    buffer.append(timestep, torch.tensor([7]))
    buffer.append(ae.termination({"observation": torch.tensor([[2.0]])}, torch.tensor([3.0])), torch.tensor([0]))
    shown = play(buffer, 3)
    assert step_types(shown) == [[0], [2], [0]] and shown[1].reward.tolist() == [3] and shown[1].terminated().all()
    assert shown[0].observation["action:recorded"].tolist() == [7]
    with pytest.raises(ae.SpecError, match=r"expected 'observation/observation'"):
        buffer.append(timestep._replace(observation={"observation": torch.zeros(1, 2)}), torch.tensor([7]))


def test_on_the_trainers_side_of_workers():
    kept: list = []
    env = CountingEnv(2).pipe(ae.TrainerSide).pipe(ae.ReplayBuffer, capacity=100, on_append=kept.append)
    loader = ae.Loader(env, num_workers=1, in_flight=1, steps_per_epoch=10)
    for number, timestep in enumerate(loader):
        timestep.reply(torch.full((2,), number % 5))
    loader.close()
    assert [int(record.timestep.observation["observation"][0]) for record in kept] == list(range(len(kept)))
    assert len(kept) >= 10 and kept[5].action["action"].tolist() == [4, 4]


def test_recipes_carry_no_content():
    env = CountingEnv(2).pipe(ae.ReplayBuffer, capacity=100, sampler=ae.PrioritizedSampler())
    play(env, 20)
    env.sample(8)
    for other in (copy.copy(env), pickle.loads(pickle.dumps(env))):
        assert other.num_timesteps == {"CountingEnv": 0}
    env.close()
    assert env.num_timesteps == {"CountingEnv": 0}


def test_it_is_registered_as_a_datapipe():
    datapipe = ae.to_datapipe(CountingEnv(2)).replay_buffer(capacity=10)
    assert [timestep.ticket.step for timestep, _ in zip(datapipe, range(3))] == [0, 1, 2]


@pytest.mark.parametrize(
    "options, text",
    [
        ({}, "expected capacity="),
        ({"capacity": 1}, "capacity of at least 2"),
        ({"capacity": 9, "mode": "both"}, r"one of \('record', 'replay', 'mix'\)"),
        ({"capacity": 9, "mode": "mix", "p": 1.5}, r"p in \[0, 1\]"),
        ({"capacity": 9, "mode": "replay"}, "expected path="),
        ({"capacity": 9, "name": "x"}, "environment below"),
        ({"capacity": 9, "env": None, "mode": "record"}, "expected an environment"),
    ],
)
def test_wrong_arguments_are_refused(options: dict, text: str):
    options = {"env": CountingEnv(2), **options}
    with pytest.raises(ae.SpecError, match=text):
        ae.ReplayBuffer(**options)


def test_what_cannot_work_is_refused_with_a_remedy(tmp_path):
    with pytest.raises(ae.SpecError, match="at least two timesteps of 'CountingEnv', which has 8 lanes"):
        CountingEnv(8).pipe(ae.ReplayBuffer, capacity=15).reset()
    with pytest.raises(ae.SpecError, match="Record something first"):
        ae.ReplayBuffer(path=tmp_path / "nothing").reset()
    record(tmp_path, 5, name="one")
    record(tmp_path, 5, name="two")
    with pytest.raises(ae.SpecError, match=r"there are \['one', 'two'\]. Name one"):
        ae.ReplayBuffer(path=tmp_path).reset()
    reader = ae.ReplayBuffer(path=tmp_path, source="two")
    with pytest.raises(ae.SpecError, match="was opened to read"):
        reader.append(reader.reset(), None)
    assert CountingEnv(name="one").pipe(ae.ReplayBuffer, path=tmp_path, mode="replay").reset().source == "one"
