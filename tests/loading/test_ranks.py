"""Ranks: every sample once a pass over all of them, equal numbers of steps, and going on with other slots and ranks."""

import os
import signal
from collections import Counter

import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset
from torch.utils.data.datapipes.iter import IterableWrapper

import aexp_torch as ae
from aexp_torch.errors import SpecError
from aexp_torch.testing import CountingEnv
from aexp_torch.testing.rollout import snapshot, streams_differ
from tests.loading.mixed import snapshots, through_disk

pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.filterwarnings("ignore:.*has no state_dict"),
    pytest.mark.filterwarnings("ignore:.*more than the .* cores"),
]
NUM_SAMPLES = 23


class Rows(Dataset):
    def __init__(self, num_samples=NUM_SAMPLES):
        self.num_samples = num_samples

    def __len__(self):
        return self.num_samples

    def __getitem__(self, index):
        if index >= self.num_samples:
            raise IndexError(index)
        return {"x": float(index), "y": index}


class Stream(IterableDataset):
    def __init__(self, num_samples=NUM_SAMPLES):
        self.num_samples = num_samples

    def __iter__(self):
        return (Rows()[index % NUM_SAMPLES] for index in range(self.num_samples))


class CountingStream(Stream):
    """Has a state of its own: it goes on once where one was loaded."""

    def __init__(self, num_samples=NUM_SAMPLES):
        super().__init__(num_samples)
        self.index, self.start = 0, 0

    def __iter__(self):
        start, self.start = self.start, 0
        for index in range(start, self.num_samples):
            self.index = index + 1
            yield {"x": float(index), "y": index}

    def state_dict(self):
        return {"index": self.index}

    def load_state_dict(self, state):
        self.start = self.index = state["index"]


def columns(num_samples=NUM_SAMPLES):
    return {"x": torch.arange(float(num_samples)), "y": torch.arange(num_samples)}


@pytest.fixture(scope="module")
def tfds_source(tmp_path_factory):
    tfds = pytest.importorskip("tensorflow_datasets")
    from tests.sources.tfds_squares import Squares

    builder = Squares(data_dir=str(tmp_path_factory.mktemp("tfds")), file_format="array_record")
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(try_download_gcs=False))
    return builder.as_data_source(split="train")


SIZED = {
    "columns": (columns, {"batch_size": 4}),
    "shuffled columns": (columns, {"batch_size": 4, "shuffle": True}),
    "map style": (Rows, {"batch_size": 4, "shuffle": True}),
    "loader": (lambda: DataLoader(Rows(), batch_size=4), {}),
    "shuffling loader": (lambda: DataLoader(Rows(), batch_size=4, shuffle=True), {}),
}
UNSIZED = {
    "stream": (Stream, {"batch_size": 4}),
    "shuffled stream": (Stream, {"batch_size": 4, "shuffle": True, "shuffle_buffer": 7}),
    "stateful stream": (CountingStream, {"batch_size": 4}),
    "datapipe": (lambda: IterableWrapper([Rows()[i] for i in range(NUM_SAMPLES)]).shuffle(), {"batch_size": 4}),
    "loader of a stream": (lambda: DataLoader(Stream(), batch_size=4, num_workers=0), {}),
}


def make(kind, **options):
    data, given = {**SIZED, **UNSIZED}[kind]
    return ae.DatasetEnv(data(), **given, name="rows", seed=5, **options)


def shown(timesteps):
    """Lists what was shown in full, row by row: numbers, None for a row that only fills up."""
    found = []
    for timestep in timesteps:
        y = timestep.observation.get("y")
        if y is not None:
            mask = timestep.observation.get("mask:y", torch.ones(len(y), dtype=torch.bool))
            found += [row if real else None for row, real in zip(y.tolist(), mask.tolist(), strict=True)]
    return found


def samples(timesteps):
    return [row for row in shown(timesteps) if row is not None]


def all_ranks(env, world_size, **options):
    return [ae.Loader(env, rank=rank, world_size=world_size, **options) for rank in range(world_size)]


def close(loaders):
    for loader in loaders:
        loader.close()


# Passes that do not divide

# 23 samples in minibatches of 4 are 6 minibatches, the last one short.
EXPECTED = {  # (world_size, uneven): steps a rank, samples a pass (how often the first and the last ones come)
    (2, "cycle"): (3, {0: 1, 22: 1}),
    (4, "cycle"): (2, {0: 2, 7: 2, 8: 1, 22: 1}),
    (4, "pad"): (2, {0: 1, 7: 1, 8: 1, 22: 1}),
    (4, "stop"): (1, {0: 1, 15: 1, 16: 0, 22: 0}),
    (5, "cycle"): (2, {0: 2, 15: 2, 16: 1, 22: 1}),
    (8, "cycle"): (1, {0: 2, 7: 2, 8: 1, 22: 1}),
    (8, "pad"): (1, {0: 1, 22: 1}),
}


@pytest.mark.parametrize("slots_each", [1, 2, 3])
@pytest.mark.parametrize("case", EXPECTED, ids=str)
@pytest.mark.parametrize("kind", ["columns", "loader", "stream", "stateful stream"])
def test_a_pass_is_made_even(kind, case, slots_each):
    (world_size, uneven), (steps, times) = case, EXPECTED[case]
    options = {"steps_per_epoch": steps, "uneven": uneven, "in_flight": world_size * slots_each}
    loaders = all_ranks(make(kind), world_size, **options)
    for number in range(4):
        found = [snapshots(loader) for loader in loaders]
        assert [len(timesteps) for timesteps in found] == [steps] * world_size
        counts = Counter(row for timesteps in found for row in samples(timesteps))
        assert {row: counts[row] for row in times} == times, f"pass {number}"
        if uneven != "stop":
            assert set(counts) == set(range(NUM_SAMPLES))


@pytest.mark.parametrize("slots_each", [1, 2, 5])
@pytest.mark.parametrize("world_size", [1, 2, 4])
@pytest.mark.parametrize("kind", [*SIZED, *UNSIZED])
def test_a_rank_sees_every_world_size_th_minibatch_of_the_common_order(kind, world_size, slots_each):
    env = make(kind)
    alone = [samples([timestep]) for timestep in snapshots(ae.Loader(env, steps_per_epoch=18))]
    passes = [alone[:6], alone[6:12], alone[12:]]
    if world_size == 4:
        passes = [minibatches + minibatches[:2] for minibatches in passes]
    common = [minibatch for minibatches in passes for minibatch in minibatches]
    steps = len(common) // world_size
    for rank, loader in enumerate(all_ranks(env, world_size, steps_per_epoch=steps, in_flight=world_size * slots_each)):
        assert [samples([timestep]) for timestep in snapshots(loader)] == common[rank::world_size]


@pytest.mark.parametrize("uneven", ["cycle", "pad", "stop"])
@pytest.mark.parametrize("mode", ["joint", "delayed", "split"])
@pytest.mark.parametrize("epochs", [1, 3])
@pytest.mark.parametrize("kind", ["shuffled columns", "map style", "shuffling loader"])
def test_an_epoch_of_a_finite_dataset_is_its_passes_on_every_rank(kind, epochs, mode, uneven):
    for slots_each in (1, 2, 3):
        loaders = all_ranks(make(kind, epochs=epochs, mode=mode), 4, uneven=uneven, in_flight=4 * slots_each)
        assert len({len(loader) for loader in loaders}) == 1
        for _ in range(2):
            found = [snapshots(loader) for loader in loaders]
            assert {len(timesteps) for timesteps in found} == {len(loaders[0])}
            counts = Counter(row for timesteps in found for row in samples(timesteps))
            kept = {"cycle": 23 + 8, "pad": 23, "stop": 16}[uneven]
            assert sum(counts.values()) == epochs * kept
            if uneven != "stop":
                assert set(counts) == set(range(NUM_SAMPLES))
            if uneven == "pad":
                assert set(counts.values()) == {epochs}
        close(loaders)


@pytest.mark.parametrize("mode", ["delayed", "split"])
@pytest.mark.parametrize("kind", ["columns", "stream"])
def test_rows_that_were_added_to_pad_are_worth_nothing(kind, mode):
    env = make(kind, mode=mode, loss=lambda prediction, y: torch.ones(len(y)), episode="pass", epochs=1)
    steps = {"delayed": 3, "split": 4}[mode]
    found = [snapshots(loader) for loader in all_ranks(env, 4, uneven="pad", steps_per_epoch=steps)]
    assert sum(float(timestep.reward.sum()) for timesteps in found for timestep in timesteps) == -NUM_SAMPLES
    assert all(timesteps[-1].last().all() for timesteps in found)
    added = [timestep for timestep in found[3] if not any(row is not None for row in shown([timestep]))]
    assert len(added) >= 1
    for timestep in found[3][-1:]:
        assert timestep.observation["mask:y"].tolist() == [False] * 4
        assert timestep.observation["y"].tolist() == [0] * 4


def test_a_tfds_source_over_ranks(tfds_source):
    env = ae.DatasetEnv(tfds_source, batch_size=4, shuffle=True, epochs=2)
    for uneven, times in (("pad", {2}), ("cycle", {2, 3, 4})):
        loaders = all_ranks(env, 4, uneven=uneven, in_flight=8)
        seen = []
        for loader in loaders:
            assert len(loader) == 4
            for timestep in loader:
                mask = timestep.observation.get("mask:number", torch.ones(4, dtype=torch.bool))
                seen += timestep.observation["number"][mask].tolist()
        close(loaders)
        assert set(Counter(seen).values()) <= times and set(seen) == set(range(23))


@pytest.mark.every(5)
@pytest.mark.parametrize("num_workers", [1, 2])
@pytest.mark.parametrize("uneven", ["cycle", "pad", "stop"])
@pytest.mark.parametrize("kind", ["shuffled columns", "loader", "shuffled stream"])
def test_workers_give_what_this_process_gives(kind, uneven, num_workers):
    for rank in range(2):
        found = []
        for workers in (0, num_workers):
            options = {"rank": rank, "world_size": 2, "in_flight": 8, "steps_per_epoch": 11, "uneven": uneven}
            env = make(kind, drop_last=kind == "shuffled columns")  # 5 minibatches there, 6 elsewhere
            loader = ae.Loader(env, num_workers=workers, **options)
            found.append(snapshots(loader))
            loader.close()
        assert streams_differ(*found) is None


def test_every_slot_is_the_same_for_every_division_of_the_same_slots():
    def slots(env, world_size, num_workers):
        found = {}
        for loader in all_ranks(
            env, world_size, in_flight=6, steps_per_epoch=24 // world_size, num_workers=num_workers
        ):
            for timestep in snapshots(loader):
                found.setdefault((timestep.source, timestep.ticket.slot), []).append(timestep)
            loader.close()
        return found

    for env in (make("map style"), make("shuffled stream"), ae.GymnasiumEnv("CartPole-v1", num_envs=3)):
        alone = slots(env, 1, 0)
        assert len(alone) == 6
        for division in ((1, 2), (2, 0), (2, 1), (3, 0), (6, 0)):
            others = slots(env, *division)
            assert others.keys() == alone.keys()
            for slot in alone:
                assert streams_differ(alone[slot], others[slot]) is None, division


def test_evaluation_counts_no_sample_twice_and_has_as_many_steps_on_every_rank():
    env = {"rows": make("columns", epochs=1), "judged": make("map style", epochs=1, loss="correct")}
    for options in ({}, {"uneven": "cycle"}, {"uneven": "pad"}):
        loaders = all_ranks(env, 4, episodes=3, **options)
        for _ in range(2):
            found = [snapshots(loader) for loader in loaders]
            assert [len(timesteps) for timesteps in found] == [2 + 3] * 4
            counts = Counter(row for timesteps in found for row in samples(timesteps))
            assert counts == dict.fromkeys(range(NUM_SAMPLES), 2)
    dropped = [snapshots(loader) for loader in all_ranks(env, 4, episodes=3, uneven="stop")]
    assert [len(timesteps) for timesteps in dropped] == [1 + 2] * 4


# What is the same on every rank


def test_every_rank_draws_the_same_sources_and_a_schedule_follows_the_step():
    def mixed(**options):
        envs = {"rl": CountingEnv(2, lengths=[9, 9]), "columns": make("columns"), "stream": make("stream")}
        return ae.Loader(envs, steps_per_epoch=40, seed=3, **options)

    alone = [timestep.source for timestep in snapshots(mixed(in_flight=6))]
    for world_size in (2, 3):
        for rank in range(world_size):
            loader = mixed(rank=rank, world_size=world_size, in_flight=6)
            assert [timestep.source for timestep in snapshots(loader)] == alone

    def schedule(step):
        return {"rl": step < 10, "columns": 10 <= step < 30, "stream": step >= 30}

    expected = ["rl"] * 10 + ["columns"] * 20 + ["stream"] * 10
    for rank in range(2):
        loader = mixed(rank=rank, world_size=2, weights=schedule)
        assert [timestep.source for timestep in snapshots(loader)] == expected
        resumed = mixed(rank=rank, world_size=2, weights=schedule)
        half = mixed(rank=rank, world_size=2, weights=schedule)
        snapshots(half, 25)
        resumed.load_state_dict(through_disk(half.state_dict()))
        assert [timestep.source for timestep in snapshots(resumed)] == expected[25:]


# Seeds


@pytest.mark.parametrize("vectorization", ["auto", "sync"])
def test_256_lanes_start_256_episodes_the_same_for_every_division(vectorization):
    def first_observations(world_size, num_workers):
        env = ae.GymnasiumEnv("CartPole-v1", num_envs=64, vectorization=vectorization)
        options = {"in_flight": 4, "steps_per_epoch": 4 // world_size, "num_workers": num_workers, "seed": 11}
        starts, lanes = set(), {}
        for loader in all_ranks(env, world_size, **options):
            for timestep in snapshots(loader):
                assert timestep.first().all()
                rows = [tuple(row) for row in timestep.observation["observation"].tolist()]
                starts.update(rows)
                lanes[timestep.ticket.slot] = rows
            loader.close()
        assert len(lanes) == 4
        return starts, lanes

    starts, lanes = first_observations(1, 0)
    assert len(starts) == 256
    for world_size in (1, 2):
        for num_workers in (0, 1, 2):
            assert first_observations(world_size, num_workers) == (starts, lanes)


# Going on with other slots and ranks

DIVISIONS = [  # (ranks, slots, workers) before and after
    ((1, 1, 0), (2, 2, 0)),
    ((2, 2, 0), (1, 1, 0)),
    ((2, 4, 0), (1, 3, 0)),
    ((1, 3, 0), (4, 8, 0)),
    ((2, 8, 0), (2, 2, 0)),
    ((4, 4, 0), (3, 6, 0)),
]


def divide(env, division, **options):
    world_size, in_flight, num_workers = division
    return all_ranks(env, world_size, in_flight=in_flight, num_workers=num_workers, **options)


def go_on(loaders, env, division, replay=False, **options):
    """Loads the states of all ranks into loaders of another division."""
    states = [through_disk(loader.state_dict(replay=replay)) for loader in loaders]
    new = divide(env, division, **options)
    for loader in new:
        iter(loader)
        loader.load_state_dict(states)
    return new


def check_rest(env, before, after, taken, passes, replay=False):
    """Checks, where an epoch is all passes of a dataset, that its rest and the next one are what they should be."""
    old = divide(env, before, uneven="pad")
    shown_before = []
    for loader in old:
        timesteps = snapshots(loader, taken)
        shown_before += samples(timesteps[:-1] if replay else timesteps)
    new = go_on(old, env, after, replay, uneven="pad")
    close(old)
    rest = [snapshots(loader) for loader in new]
    assert len({len(timesteps) for timesteps in rest}) == 1, "every rank has as many steps"
    counts = Counter(shown_before + [row for timesteps in rest for row in samples(timesteps)])
    assert counts == dict.fromkeys(range(NUM_SAMPLES), passes)
    usual = [snapshots(loader) for loader in new]
    assert [len(timesteps) for timesteps in usual] == [len(new[0])] * len(new)
    counts = Counter(row for timesteps in usual for row in samples(timesteps))
    assert counts == dict.fromkeys(range(NUM_SAMPLES), passes)
    close(new)


@pytest.mark.every(5)
@pytest.mark.parametrize("replay", [False, True])
@pytest.mark.parametrize(
    ("kind", "mode"),
    [(kind, "joint") for kind in SIZED]
    + [(kind, mode) for kind in ("shuffled columns", "shuffling loader") for mode in ("delayed", "split")],
)
@pytest.mark.parametrize(("before", "after"), DIVISIONS, ids=str)
def test_a_dataset_goes_on_with_other_slots_and_ranks(before, after, kind, mode, replay):
    length = len(ae.Loader(make(kind, mode=mode, epochs=2), in_flight=before[1], world_size=before[0], uneven="pad"))
    for taken in range(1, length):
        check_rest(make(kind, mode=mode, epochs=2), before, after, taken, 2, replay)


@pytest.mark.parametrize("kind", ["shuffled columns", "shuffling loader"])
@pytest.mark.parametrize("options", [{"mode": "delayed", "episode": None}, {"mode": "delayed", "episode": "batch"}])
def test_other_episodes_go_on_too(kind, options):
    for taken in (1, 2, 3, 5):
        check_rest(make(kind, epochs=2, **options), (2, 4, 0), (1, 3, 0), taken, 2)


@pytest.mark.every(5)
@pytest.mark.parametrize(
    ("kind", "mode"),
    [(kind, "joint") for kind in (*SIZED, *UNSIZED)] + [("shuffled columns", "split"), ("shuffled stream", "split")],
)
@pytest.mark.parametrize(("before", "after"), DIVISIONS, ids=str)
def test_an_endless_dataset_goes_on_with_other_slots_and_ranks(before, after, kind, mode):
    env, per = make(kind, mode=mode), 1 if mode == "joint" else 2
    for taken in range(1, 9):
        options = {"uneven": "pad", "steps_per_epoch": 1000}
        old = divide(env, before, **options)
        done = Counter(row for loader in old for row in samples(snapshots(loader, per * taken)))
        new = go_on(old, env, after, **options)
        pass_steps = per * -(-6 // after[0])
        passes = taken * before[0] // 6 if 6 % before[0] == 0 else taken // 2  # of them, whole ones have been shown
        left = -(-((passes + 1) * NUM_SAMPLES - sum(done.values())) // 4)
        rest = [snapshots(loader, per * -(-left // after[0])) for loader in new]
        counts = done + Counter(row for timesteps in rest for row in samples(timesteps))
        if mode == "joint" or after[0] == after[1]:  # else the slots of a rank are half a minibatch apart
            assert counts == dict.fromkeys(range(NUM_SAMPLES), passes + 1), f"after {taken}"
            usual = [snapshots(loader, 2 * pass_steps) for loader in new]
            counts = Counter(row for timesteps in usual for row in samples(timesteps))
            assert counts == dict.fromkeys(range(NUM_SAMPLES), 2)


@pytest.mark.parametrize("mode", ["joint", "delayed"])
@pytest.mark.parametrize(
    ("before", "after"), [((1, 4, 2), (2, 2, 0)), ((2, 4, 1), (1, 2, 2)), ((1, 2, 0), (1, 4, 2))], ids=str
)
def test_worker_processes_go_on_with_other_slots_and_ranks(before, after, mode):
    for taken in (1, 3):
        check_rest(make("map style", mode=mode, epochs=2), before, after, taken, 2)


@pytest.mark.slow
def test_minibatches_that_workers_had_read_ahead_from_a_stream_come_again():
    for before, after in (((1, 4, 2), (2, 4, 0)), ((2, 4, 1), (1, 1, 0)), ((1, 2, 1), (2, 2, 1))):
        for taken in (1, 2, 3):
            for kind in ("stateful stream", "shuffled stream"):
                old = divide(make(kind), before, uneven="pad", steps_per_epoch=99)
                done = Counter(row for loader in old for row in samples(snapshots(loader, taken)))
                new = go_on(old, make(kind), after, uneven="pad", steps_per_epoch=99)
                close(old)
                passes = 1 + (taken * before[0]) // 6
                left = -(-(NUM_SAMPLES * passes - sum(done.values())) // 4)
                steps = -(-left // after[0])
                rest = [row for loader in new for row in samples(snapshots(loader, steps))]
                close(new)
                assert done + Counter(rest) == dict.fromkeys(range(NUM_SAMPLES), passes)


def test_stages_on_the_trainers_side_go_on_with_other_slots():
    env = make("map style", mode="delayed", epochs=2).pipe(ae.TrainerSide).pipe(ae.ObserveReward)
    for taken, replay in ((1, False), (3, True), (4, False)):
        check_rest(env, (1, 4, 2), (2, 2, 1), taken, 2, replay)


@pytest.mark.parametrize("taken", [1, 2, 3])
def test_a_batch_that_was_interrupted_in_a_worker_comes_again(taken):
    for mode in ("joint", "split"):
        check_rest(make("columns", mode=mode, epochs=2), (1, 4, 2), (2, 2, 0), taken, 2, replay=True)


@pytest.mark.parametrize("kind", ["columns", "loader", "stream"])
@pytest.mark.parametrize("uneven", ["cycle", "stop"])
def test_the_rest_of_a_pass_is_made_even_too(kind, uneven):
    for taken in range(1, 6):
        (old,) = divide(make(kind), (1, 1, 0), steps_per_epoch=99)
        done = samples(snapshots(old, taken))
        new = go_on([old], make(kind), (4, 8, 0), steps_per_epoch=99, uneven=uneven)
        left = 6 - taken
        steps = -(-left // 4) if uneven == "cycle" else left // 4
        rest = Counter(row for loader in new for row in samples(snapshots(loader, steps)) if steps)
        if uneven == "cycle":
            assert set(rest) | set(done) == set(range(NUM_SAMPLES)) and not set(rest) & set(done)
        else:
            assert sorted(rest) == list(range(4 * taken, min(4 * taken + 16 * steps, NUM_SAMPLES)))
        if steps or uneven == "stop":
            usual = Counter(row for loader in new for row in samples(snapshots(loader, 1)))
            assert set(range(16)) == set(usual), "the next pass, from its beginning"


@pytest.mark.parametrize("kind", ["shuffled columns", "shuffled stream"])
def test_a_worker_that_is_lost_after_a_division_goes_on_within_the_pass(kind):
    (old,) = divide(make(kind), (1, 1, 0), steps_per_epoch=99)
    timesteps = snapshots(old, 1)
    (new,) = go_on([old], make(kind), (1, 2, 2), steps_per_epoch=99)
    stream = iter(new)
    timesteps += [snapshot(next(stream)), snapshot(next(stream))]
    for worker in new._workers:
        os.kill(worker.pid, signal.SIGKILL)
    with pytest.warns(UserWarning, match="Restarted"):  # two may have been made before, the third was not
        timesteps += [snapshot(next(stream)) for _ in range(3)]
    new.close()
    assert Counter(samples(timesteps)) == dict.fromkeys(range(NUM_SAMPLES), 1)


def test_a_dataset_may_be_divided_anew_again_and_again():
    env = make("shuffled columns")
    for taken in ((1, 1, 1), (2, 1, 1), (1, 2, 1)):
        done = Counter()
        loaders = divide(env, (1, 2, 0), steps_per_epoch=99, uneven="pad")
        for steps, division in zip(taken, ((1, 3, 0), (2, 2, 0), (1, 1, 0)), strict=True):
            done += Counter(row for loader in loaders for row in samples(snapshots(loader, steps)))
            loaders = go_on(loaders, env, division, steps_per_epoch=99, uneven="pad")
        left = -(-(NUM_SAMPLES - sum(done.values())) // 4)
        done += Counter(samples(snapshots(loaders[0], left)))
        assert done == dict.fromkeys(range(NUM_SAMPLES), 1)


def test_stages_patterns_and_mixtures_of_datasets_go_on():
    def envs():
        first = make("shuffled columns").pipe(ae.ObserveReward).pipe(ae.Noisy, keys="x")
        second = ae.DatasetEnv(columns(), batch_size=2, shuffle=True, name="other", mode="split").pipe(
            ae.Noisy, keys="x"
        )
        third = ae.DatasetEnv(CountingStream(), batch_size=3, name="third")
        return {"mixed": ae.Interleave([first, second, third], pattern=[0, 1, 1, 2]), "rows": make("map style")}

    options = {"weights": {"mixed": 3, "rows": 1}, "seed": 4, "steps_per_epoch": 400, "uneven": "pad"}
    sources = [timestep.source for timestep in snapshots(divide(envs(), (1, 1, 0), **options)[0])]
    for taken in range(1, 20):
        old = divide(envs(), (2, 2, 0), **options)
        done = {}
        for loader in old:
            for timestep in snapshots(loader, taken):
                done.setdefault(timestep.source, []).extend(samples([timestep]))
        (new,) = go_on(old, envs(), (1, 1, 0), **options)
        assert new.state_dict()["position"] == taken
        rest = {}
        for timestep in snapshots(new):
            rest.setdefault(timestep.source, []).extend(samples([timestep]))
        for source, rows in rest.items():
            before = Counter(done.get(source, []))
            passes = max(before.values(), default=0)
            short = [row for row in range(NUM_SAMPLES) for _ in range(passes - before[row])]
            assert sorted(rows[: len(short)]) == short, f"the rest of the pass of {source} after {taken} steps"
            assert sorted(rows[len(short) :][:NUM_SAMPLES]) == list(range(NUM_SAMPLES)), "and a usual one after it"
        again = [timestep.source for timestep in snapshots(go_on(old, envs(), (1, 1, 0), **options)[0])]
        kinds = [source if source == "rows" else "mixed" for source in again]
        assert kinds == [source if source == "rows" else "mixed" for source in sources][taken:], "draws go on"


def test_the_place_in_an_epoch_is_kept():
    env = make("columns", epochs=1)
    (loader,) = all_ranks(env, 1)
    snapshots(loader, 3)
    new = go_on([loader], env, (2, 2, 0))
    assert [len(snapshots(rank)) for rank in new] == [2, 2], "three of six minibatches are left"
    assert [len(snapshots(rank)) for rank in new] == [3, 3]
    (loader,) = all_ranks(make("columns"), 1, steps_per_epoch=20)
    snapshots(loader, 8)
    new = go_on([loader], make("columns"), (2, 2, 0), steps_per_epoch=10)
    assert [len(snapshots(rank)) for rank in new] == [6, 6], "the same share of an epoch"


def test_the_same_slots_go_on_bit_for_bit_from_the_states_of_all_ranks():
    def build(num_workers):
        envs = {
            "rl": CountingEnv(2, random=True),
            "rows": make("shuffled stream"),
            "judged": make("columns", mode="split"),
        }
        return all_ranks(envs, 2, in_flight=4, steps_per_epoch=30, num_workers=num_workers)

    loaders = build(0)
    for loader in loaders:
        snapshots(loader, 11)
    states = [through_disk(loader.state_dict()) for loader in loaders]
    expected = [snapshots(loader, 19) for loader in loaders]
    for num_workers in (0, 1):
        for given in (states, states[::-1]):
            resumed = build(num_workers)
            for loader, timesteps in zip(resumed, expected, strict=True):
                loader.load_state_dict(given)
                assert streams_differ(timesteps, snapshots(loader)) is None
            close(resumed)


def test_trajectories_of_other_slots_begin_between_two():
    def drives(division):
        loaders = divide(env, division, steps_per_epoch=50)
        return [loader.drive(lambda timestep: torch.zeros(4, dtype=torch.long), 2) for loader in loaders]

    def rows(trajectory):
        y, mask = trajectory.timesteps.observation["y"], trajectory.timesteps.observation["mask:y"]
        return y[mask].tolist()

    env = ae.DatasetEnv(columns(92), batch_size=4, mode="delayed")
    (old,) = drives((1, 2, 0))
    stream = iter(old)
    seen = rows(next(stream))
    assert seen == [0, 1, 2, 3, 8, 9, 10, 11]
    state = through_disk(old.state_dict())
    new = drives((2, 2, 0))
    for drive in new:
        drive.load_state_dict([state])
    seen = [rows(next(iter(drive))) for drive in new]
    assert seen == [[4, 5, 6, 7, 16, 17, 18, 19], [12, 13, 14, 15, 20, 21, 22, 23]]
    with pytest.raises(SpecError, match="expected a state between two trajectories"):
        new[0].load_state_dict([old.state_dict(replay=True)])


# What may be done wrong


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"uneven": "foo"}, "expected uneven='cycle', 'pad' or 'stop', got 'foo'"),
        ({"in_flight": 3, "world_size": 2}, "in_flight as a multiple of world_size=2, got 3"),
        ({"rank": 2, "world_size": 2}, "expected 0 <= rank < world_size"),
        ({"context": "thread"}, "expected context='fork', 'spawn' or 'forkserver', got 'thread'"),
        ({"step_timeout": 0}, "expected step_timeout in seconds, more than 0, got 0"),
        ({"step_timeout": "1"}, "expected step_timeout in seconds, more than 0, got '1'"),
        ({"max_restarts": -1}, "expected max_restarts of at least 0, or None, got -1"),
    ],
)
def test_options_that_cannot_be(options, match):
    with pytest.raises(SpecError, match=match):
        ae.Loader(make("columns"), steps_per_epoch=5, **options)


def test_more_ranks_than_minibatches_with_stop():
    with pytest.raises(SpecError, match="at least 8 minibatches in a pass over dict.*because of uneven='stop', got 6"):
        ae.Loader(make("columns", epochs=1), world_size=8, uneven="stop")


def test_states_that_do_not_fit():
    options = {"steps_per_epoch": 50}
    env = {"rl": CountingEnv(2), "rows": make("columns")}
    states = [loader.state_dict() for loader in divide(env, (2, 4, 0), **options)]
    (alone,) = divide(env, (1, 1, 0), **options)
    with pytest.raises(SpecError, match=r"the slots of \['rl'\] are copies of an environment.*Resume with the same"):
        alone.load_state_dict(states)
    states = [loader.state_dict() for loader in divide(make("columns"), (2, 4, 0), **options)]
    (alone,) = divide(make("columns"), (1, 1, 0), **options)
    with pytest.raises(SpecError, match=r"expected .* the states of all ranks .* got those of ranks \[0\] of 2"):
        alone.load_state_dict(states[0])
    (shorter,) = divide(ae.DatasetEnv(columns(9), batch_size=4, name="rows"), (1, 1, 0), **options)
    with pytest.raises(SpecError, match="expected a state taken with num_samples 9, got 23"):
        shorter.load_state_dict(states)
    (other,) = divide(ae.DatasetEnv(columns(), batch_size=5, name="rows"), (1, 1, 0), **options)
    with pytest.raises(SpecError, match="expected a state taken with batch_size 5, got 4"):
        other.load_state_dict(states)
    sized = divide(ae.DatasetEnv(DataLoader(Rows(), batch_size=4), name="rows"), (2, 2, 0), **options)
    (shorter,) = divide(ae.DatasetEnv(DataLoader(Rows(9), batch_size=4), name="rows"), (1, 1, 0), **options)
    with pytest.raises(SpecError, match="expected a state taken with num_batches 3, got 6"):
        shorter.load_state_dict([loader.state_dict() for loader in sized])
