"""Sampling: every transition, none that joins two episodes, with the right targets, in memory that is safe to keep."""

import gc
import itertools

import numpy as np
import pytest
import torch

import aexp_torch as ae
from aexp_torch.replay.links import Links
from aexp_torch.replay.sum_tree import SumTree
from aexp_torch.testing import CountingEnv

LENGTHS = (3, 4, 7)


def filled(sampler: ae.UniformSampler | None = None, num_steps: int = 60, capacity: int = 1000, **options):
    """Returns a buffer whose reward at count c is 10 c + lane, and the timesteps that passed."""
    env = CountingEnv(3, LENGTHS, nested=True, num_actions=10_000).pipe(
        ae.ReplayBuffer, capacity=capacity, sampler=sampler, **options
    )
    timesteps = [env.reset()]
    for step in range(1, num_steps):
        timesteps.append(env.step(torch.tensor([10 * step, 10 * step + 1, 10 * step + 2])))
    return env, timesteps


def true_transitions(timesteps: list[ae.TimeStep]) -> set[tuple[int, int]]:
    """Returns (lane, count) of every timestep that another of its episode follows."""
    return {
        (lane, int(before.observation["count"][lane]))
        for before, after in itertools.pairwise(timesteps)
        for lane in range(3)
        if not after.first()[lane]
    }


def keys_of(observation: dict) -> list[tuple[int, int]]:
    return list(zip(observation["where"]["lane"].tolist(), observation["count"].int().tolist()))


def test_every_transition_is_drawn_alike_and_no_other():
    env, timesteps = filled()
    drawn = [key for _ in range(60) for key in keys_of(env.sample(256).observation)]
    known = true_transitions(timesteps)
    assert set(drawn) == known
    counts = np.array([drawn.count(key) for key in known])
    expected = len(drawn) / len(known)
    chi2 = float(((counts - expected) ** 2 / expected).sum())
    assert abs(chi2 - len(known)) < 5 * np.sqrt(2 * len(known))


def test_a_transition_has_the_answer_and_what_it_led_to():
    env, timesteps = filled()
    batch = env.sample(256)
    for row, (lane, count) in enumerate(keys_of(batch.observation)):
        after = timesteps[count + 1]
        assert batch.action["action"][row] == 10 * (count + 1) + lane == batch.reward[row] == after.reward[lane]
        assert batch.discount[row] == after.discount[lane]
        assert batch.next_observation["count"][row] == count + 1
        assert batch.next_observation["where"]["age"][row] == batch.observation["where"]["age"][row] + 1
    assert batch.source == "CountingEnv" and (batch.num_steps == 1).all() and (batch.weight == 1).all()


@pytest.mark.parametrize("n_step", [2, 3, 20])
def test_several_steps_end_with_the_episode_and_bootstrap_at_truncation(n_step: int):
    gamma = 0.9
    env, timesteps = filled(ae.UniformSampler(n_step=n_step, gamma=gamma))
    batch = env.sample(512)
    kinds = set()
    for row, (lane, count) in enumerate(keys_of(batch.observation)):
        reward, discount, steps = 0.0, 1.0, 0
        while steps < n_step and not timesteps[count + steps].last()[lane] and count + steps + 1 < len(timesteps):
            steps += 1
            after = timesteps[count + steps]
            reward += discount * float(after.reward[lane])
            discount *= gamma * float(after.discount[lane])
        assert batch.num_steps[row] == steps
        assert batch.reward[row] == pytest.approx(reward, rel=1e-5)
        assert batch.discount[row] == pytest.approx(discount, rel=1e-5)
        assert batch.next_observation["count"][row] == count + steps
        end = timesteps[count + steps]
        kinds.add("terminated" if end.terminated()[lane] else "truncated" if end.truncated()[lane] else "going on")
        assert (batch.discount[row] == 0) == bool(end.terminated()[lane])
    assert {"terminated", "truncated"} <= kinds


def test_a_ring_keeps_the_latest():
    env, timesteps = filled(capacity=31, num_steps=100)
    seen = {key for _ in range(20) for key in keys_of(env.sample(64).observation)}
    rows = [(lane, step) for step in range(100) for lane in range(3)][-31:]
    assert seen == true_transitions(timesteps) & set(rows)
    assert env.num_timesteps == {"CountingEnv": 31}


def test_held_lanes_are_stored_once():
    env = CountingEnv(2, (3, 4)).pipe(ae.ReplayBuffer, capacity=100)
    env.reset()
    moving = [[True, True], [True, False], [False, True], [True, False], [False, False], [True, True]]
    for step, lanes in enumerate(moving):
        env.step(torch.tensor([step % 5, (step + 1) % 5]), torch.tensor(lanes))
    env.reset(torch.tensor([False, True]))
    assert env.num_timesteps == {"CountingEnv": 2 + 2 + 1 + 1 + 1 + 2 + 1}
    batch = env.sample(200)
    steps = set(zip(batch.observation["observation"].int().tolist(), batch.action["action"].tolist()))
    # Lane 0 moved with steps 0, 1, 3 (LAST) and 5 (FIRST); lane 1 with 0, 2 and 5.
    assert steps == {(0, 0), (1, 1), (2, 3), (0, 1), (1, 3), (2, 1)}
    assert (batch.next_observation["observation"] == batch.observation["observation"] + 1).all()


def test_sources_are_stored_apart():
    env = ae.Interleave({"narrow": CountingEnv(2), "wide": CountingEnv(3, nested=True)}, [0, 1, 1])
    env = env.pipe(ae.ReplayBuffer, capacity=100)
    env.on_missing = "sample"
    for _ in zip(range(30), env):
        pass
    assert env.num_timesteps == {"narrow": 20, "wide": 60}
    with pytest.raises(ae.SpecError, match=r"\['narrow', 'wide'\]"):
        env.sample(4)
    batch = env.sample(64, source="wide")
    assert batch.source == "wide" and (batch.next_observation["count"] == batch.observation["count"] + 1).all()


def test_keys_that_some_lack_are_masked():
    data = {"x": torch.arange(14.0).view(7, 2), "y": torch.tensor([0, 1, 2, 0, 1, 2, 0])}
    env = ae.DatasetEnv(data, batch_size=3, epochs=2, mode="delayed").pipe(ae.ReplayBuffer, capacity=100)
    env.on_missing = "sample"
    timesteps = list(env)
    assert timesteps[-1].observation["x"] is None
    batch = env.sample(64)
    assert "mask:y" in batch.observation and not batch.observation["mask:y"].all()  # FIRST has none
    assert (batch.observation["y"][~batch.observation["mask:y"]] == 0).all()
    assert "mask:x" in batch.next_observation  # LAST has none, the end of a pass is padded


def test_without_an_answer_data_can_be_sampled():
    data = {"x": torch.arange(20.0).view(10, 2), "y": torch.arange(10)}
    env = ae.DatasetEnv(data, batch_size=5).pipe(ae.ReplayBuffer, capacity=100)
    for _ in zip(range(10), env):
        pass
    batch = env.sample(16)
    assert batch.action == {} and (batch.observation["x"][:, 0] == 2 * batch.observation["y"]).all()


def test_batches_are_safe_to_keep_and_memory_is_used_again():
    env, _ = filled()
    kept = [env.sample(32) for _ in range(40)]
    copies = [batch.observation["count"].clone() for batch in kept]
    for _ in range(40):
        env.sample(32)
    assert all((batch.observation["count"] == copy).all() for batch, copy in zip(kept, copies))
    del kept
    gc.collect()
    places = set()
    for _ in range(50):
        batch = env.sample(32)
        places.add(batch.observation["count"].data_ptr())
    assert len(places) <= 2
    part = batch.next_observation["where"]["age"][5:7]
    values, place = part.clone(), batch.observation["count"].data_ptr()
    del batch
    for _ in range(50):
        assert env.sample(32).observation["count"].data_ptr() != place
    assert (part == values).all()


def test_nothing_to_draw_says_so():
    env = CountingEnv(2).pipe(ae.ReplayBuffer, capacity=50)
    with pytest.raises(ae.SpecError, match="0 timesteps and no two of one episode"):
        env.sample(4)
    env.reset()
    for sampler in (ae.UniformSampler(), ae.PrioritizedSampler(), ae.SequenceSampler(3)):
        env = CountingEnv(2).pipe(ae.ReplayBuffer, capacity=50, sampler=sampler)
        env.reset()
        with pytest.raises(ae.SpecError, match="2 timesteps and no two of one episode"):
            env.sample(4)
    env.step(torch.tensor([1, 1]))
    with pytest.raises(ae.SpecError, match="batch_size of at least 1"):
        env.sample(0)


def test_few_valid_rows_among_many_are_found():
    links = Links(None)
    links.append(np.zeros(100_000, np.int32), np.zeros(100_000, np.int8), 0)  # FIRST, FIRST, ...
    assert links.count == 0
    links.append(np.zeros(1, np.int32), np.ones(1, np.int8), 0)
    assert links.count == 1 and links.linked().tolist() == [99_999]


def test_priorities_are_probabilities():
    env, timesteps = filled(ae.PrioritizedSampler(alpha=1.0, beta=1.0, epsilon=1e-9))
    known = true_transitions(timesteps)
    rows = {}
    while len(rows) < len(known):
        batch = env.sample(256)
        assert (batch.weight == 1).all()  # all are new
        rows |= dict(zip(batch.rows.tolist(), keys_of(batch.observation)))
    priorities = {row: 1.0 + row % 4 for row in rows}
    env.update_priorities(torch.tensor(list(priorities)), torch.tensor(list(priorities.values())))
    drawn = []
    for _ in range(100):
        batch = env.sample(256)
        drawn += batch.rows.tolist()
        for row, weight in zip(batch.rows.tolist(), batch.weight.tolist()):
            assert weight == pytest.approx(1.0 / priorities[row])  # the largest weight has priority 1
    shares = np.array([drawn.count(row) / len(drawn) for row in priorities])
    expected = np.array(list(priorities.values())) / sum(priorities.values())
    assert np.abs(shares / expected - 1).max() < 0.25
    env.step(torch.tensor([7, 7, 7]))
    newest = [row for row in env.sample(4096).rows.tolist() if row not in priorities]
    assert newest  # as likely as the most likely


def test_priorities_leave_with_their_rows():
    env, _ = filled(ae.PrioritizedSampler(alpha=1.0), num_steps=20, capacity=30)
    batch = env.sample(64)
    env.update_priorities(batch.rows, torch.full((64,), 1e6))
    for step in range(40):
        env.step(torch.tensor([step, step, step]))
        if step % 3 == 0:
            later = env.sample(64)
            assert (later.rows >= env.replay.of(None)[0].links.begin).all()
            assert (later.next_observation["count"] == later.observation["count"] + 1).all()
    env.update_priorities(batch.rows, torch.full((64,), 1e6))  # of rows that are gone: passed over
    assert len(env.sample(256).rows.unique()) > 10


def test_wrong_priorities_are_refused():
    env, _ = filled(ae.PrioritizedSampler())
    rows = env.sample(4).rows
    for wrong in (torch.tensor([1.0, -1.0, 1.0, 1.0]), torch.tensor([1.0, float("nan"), 1.0, 1.0]), torch.ones(3)):
        with pytest.raises(ae.SpecError, match="finite priorities of at least 0"):
            env.update_priorities(rows, wrong)
    uniform, _ = filled()
    with pytest.raises(ae.SpecError, match="Give sampler=PrioritizedSampler"):
        uniform.update_priorities(rows, torch.ones(4))


def test_wrong_options_are_refused():
    for make in (
        lambda: ae.UniformSampler(n_step=0),
        lambda: ae.UniformSampler(n_step=3),
        lambda: ae.UniformSampler(gamma=1.5),
        lambda: ae.PrioritizedSampler(alpha=-1),
        lambda: ae.PrioritizedSampler(beta=2),
        lambda: ae.SequenceSampler(0),
        lambda: ae.SequenceSampler(3, draw=ae.SequenceSampler(3)),
    ):
        with pytest.raises(ae.SpecError, match="expected"):
            make()


@pytest.mark.parametrize("draw", [None, ae.PrioritizedSampler()])
@pytest.mark.parametrize("pad", [True, False])
def test_sequences_stay_within_an_episode(pad: bool, draw: ae.PrioritizedSampler | None):
    env, timesteps = filled(ae.SequenceSampler(4, pad=pad, draw=draw))
    batch = env.sample(256)
    assert batch.timesteps.step_type.shape == (5, 256) and batch.action["action"].shape == (4, 256)
    count, lane = batch.timesteps.observation["count"].int(), batch.timesteps.observation["where"]["lane"]
    assert (lane == lane[0]).all() and (batch.mask[:-1] | ~batch.mask[1:]).all() and batch.mask[0].all()
    assert bool(batch.mask.all()) == (not pad)
    for column in range(256):
        length = int(batch.mask[:, column].sum())
        begin, where = int(count[0, column]), int(lane[0, column])
        for step in range(5):
            real = timesteps[begin + min(step, length)]
            assert count[step, column] == begin + min(step, length)
            if step <= length:
                assert batch.timesteps.step_type[step, column] == real.step_type[where]
                assert batch.timesteps.reward[step, column] == real.reward[where]
                assert batch.timesteps.discount[step, column] == real.discount[where]
            else:
                assert batch.timesteps.last()[step, column]
                assert batch.timesteps.reward[step, column] == batch.timesteps.discount[step, column] == 0
            if 0 < step <= length:
                assert batch.action["action"][step - 1, column] == real.reward[where]
                assert not real.first()[where]
        at_end = timesteps[begin + length]
        assert length == 4 or at_end.last()[where] or begin + length == len(timesteps) - 1
    if draw is not None:
        env.update_priorities(batch.rows, torch.rand(256, generator=torch.Generator().manual_seed(0)))
        assert env.sample(8).weight.max() == 1


def test_too_short_episodes_do_not_hang():
    env, _ = filled(ae.SequenceSampler(50, pad=False))
    with pytest.raises(ae.SpecError, match="next to none"):
        env.sample(4)


@pytest.mark.parametrize("size", [1, 16, 17, 300, 5000])
def test_a_sum_tree_finds_what_a_running_sum_finds(size: int):
    generator = np.random.default_rng(size)
    tree, values = SumTree(size), np.zeros(size)
    for _ in range(20):
        places = generator.integers(0, size, 50)
        new = generator.random(50) * (generator.random(50) < 0.7)
        tree.set(places, new)
        values[places] = new
        assert (tree.values == values).all() and tree.total == pytest.approx(values.sum())
        if values.sum() == 0:
            continue
        sums = np.sort(generator.random(100)) * tree.total
        found = tree.find(sums)
        assert (values[found] > 0).all()
        running = np.cumsum(values)
        assert (running[found] >= sums - 1e-9).all() and (running[found] - values[found] <= sums + 1e-9).all()
    tree.set(np.array([0]), 1.0)
    values[0] = 1.0
    assert (values[tree.find(np.array([np.nextafter(tree.total, 0), tree.total]))] > 0).all()


@pytest.mark.parametrize(
    "sampler",
    [ae.UniformSampler(2, 0.9), ae.PrioritizedSampler(), ae.SequenceSampler(3, draw=ae.PrioritizedSampler())],
    ids=["uniform", "prioritized", "sequences"],
)
@pytest.mark.parametrize("disk", [False, True], ids=["memory", "disk"])
def test_draws_go_on_exactly(sampler, disk: bool, tmp_path):
    options = {"capacity": 40, "sampler": sampler, "path": tmp_path if disk else None}

    def make() -> ae.ReplayBuffer:
        return CountingEnv(3, random=True).pipe(ae.ReplayBuffer, **options)

    def go_on(env: ae.ReplayBuffer, steps: range) -> list:
        drawn = []
        for step in steps:
            env.step(torch.full((3,), step % 5))
            batch = env.sample(8)
            drawn.append(batch.rows.tolist())
            drawn.append(batch.weight.tolist())
            if not isinstance(sampler, ae.UniformSampler):
                env.update_priorities(batch.rows, batch.weight + step)
        return drawn

    env = make()
    env.reset()
    env.step(torch.zeros(3, dtype=torch.int64))
    go_on(env, range(20))
    torch.save(env.state_dict(), tmp_path / "state")
    expected = go_on(env, range(20, 40))
    env.close()
    resumed = make()
    resumed.load_state_dict(torch.load(tmp_path / "state", weights_only=True))
    assert go_on(resumed, range(20, 40)) == expected
    resumed.close()
