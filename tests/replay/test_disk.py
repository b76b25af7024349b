"""Recordings on disk: nothing that has passed is lost, whenever the process dies, and nothing in them is executed."""

import itertools
import json
import multiprocessing
import os
import random
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from dm_env import specs

import aexp_torch as ae
from aexp_torch.replay.commit import Commit
from aexp_torch.replay.disk_rows import DiskRows
from aexp_torch.replay.header import read_header, write_header
from aexp_torch.replay.schema import Schema
from aexp_torch.testing import CountingEnv

FORK = multiprocessing.get_context("fork")
LANES = 3


def recorder(path: Path, **options) -> ae.ReplayBuffer:
    return CountingEnv(LANES, nested=True, on_missing="sample").pipe(ae.ReplayBuffer, path=path, **options)


def record(path: Path, num_steps: int, **options) -> list[ae.TimeStep]:
    env = recorder(path, **options)
    timesteps = [timestep for _, timestep in zip(range(num_steps), env)]
    env.close()
    return timesteps


def folder_of(path: Path) -> Path:
    return path / "CountingEnv" / "0"


def columns_of(path: Path) -> dict[str, np.ndarray]:
    """Returns the columns of a recording."""
    rows = DiskRows(folder_of(path), None, 0, None, writable=False)
    columns = {column.name: array[: rows.end].copy() for column, array in zip(rows.schema.columns, rows.arrays)}
    rows.close()
    return columns


def counts_of(path: Path) -> np.ndarray:
    """Returns the counter of each row of a recording."""
    return columns_of(path)["observation/count"]


def check_rows(path: Path) -> int:
    """Requires that every column of every row is what `run` made, and returns the number of rows."""
    columns = columns_of(path)
    steps = {name: column.reshape(-1, LANES, *column.shape[1:]) for name, column in columns.items()}
    counts = steps["observation/count"]
    assert (counts == counts[:, :1]).all()
    assert all(now in (before + 1, 0) for before, now in zip(counts[:-1, 0], counts[1:, 0]))
    first, action = steps["step_type"] == 0, np.where(counts == 0, 0, 1 + counts.astype(int) % 4)
    assert (steps["action/action"] == np.where(first, 0, action)).all()
    assert (steps["reward"] == steps["action/action"]).all()
    assert (first == (steps["observation/where/age"] == 0)).all()
    assert (steps["observation/where/lane"] == np.arange(LANES)).all() and (steps["lane"] == np.arange(LANES)).all()
    assert ((steps["discount"] == 0) == ((steps["step_type"] == 2) & (np.arange(LANES) % 2 == 0))).all()
    assert (steps["present"].max(-1) == 2).all()
    return len(columns["lane"])


def run_until_killed(path: Path, progress) -> None:
    """Records for ever; `progress` tells how many timesteps have passed."""
    run(recorder(path), progress)


def run(env: ae.Env, progress) -> None:
    env.reset()
    for number in itertools.count(1):
        progress.value = number
        env.step(torch.full((LANES,), 1 + number % 4))


def start(target, *arguments) -> multiprocessing.Process:
    process = FORK.Process(target=target, args=arguments, daemon=True)
    process.start()
    return process


def kill_again_and_again(path: Path, times: int) -> None:
    """Kills a recorder at random moments; every time, everything that had passed has to be there."""
    moments, before = random.Random(0), 0
    for _ in range(times):
        progress = FORK.Value("q", 0, lock=False)
        process = start(run_until_killed, path, progress)
        deadline = time.monotonic() + 30
        while progress.value == 0 and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(moments.random() * 0.05)
        process.kill()
        process.join(10)
        assert process.exitcode == -signal.SIGKILL
        rows = check_rows(path)
        assert rows - before >= LANES * progress.value > 0
        before = rows
    env = recorder(path)  # and somebody can go on writing
    assert env.num_timesteps["CountingEnv"] == before
    assert env.sample(8).rows.max() < before
    env.close()
    assert len(counts_of(path)) == before


def test_a_recorder_is_killed_now_and_then(tmp_path: Path):
    kill_again_and_again(tmp_path, 4)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_recorder_is_killed_50_times(tmp_path: Path):
    kill_again_and_again(tmp_path, 50)


def run_until_call(path: Path, call: int, part: float, progress) -> None:
    """Records, and dies within one of the calls that change files; a write gets as far as `part` of its bytes."""
    left = [call]

    def dying(function, partial):
        def changed(*arguments, **options):
            left[0] -= 1
            if left[0] == 0:
                partial(*arguments)
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **options)

        return changed

    write, nothing = os.pwrite, lambda *arguments: None

    def write_part(fd, data, offset):
        data = bytes(data)
        write(fd, data[: int(part * len(data))], offset)

    os.pwrite = dying(os.pwrite, write_part)
    for name in ("open", "ftruncate", "replace"):
        setattr(os, name, dying(getattr(os, name), nothing))
    run(recorder(path), progress)


@pytest.mark.parametrize("call", [*range(1, 41, 3), 150])
def test_a_recorder_dies_within_a_call(call: int, tmp_path: Path):
    progress = FORK.Value("q", 0, lock=False)
    for part in (0.0, 0.6):
        process = start(run_until_call, tmp_path, call, part, progress)
        process.join(30)
        assert process.exitcode == -signal.SIGKILL
        before = 0
        if (folder_of(tmp_path) / "header.json").exists():
            before = check_rows(tmp_path)
        else:
            assert progress.value == 0
        assert before >= LANES * progress.value
    env = recorder(tmp_path)  # and somebody can go on writing
    env.reset()
    env.step(torch.full((LANES,), 2))
    env.close()
    assert check_rows(tmp_path) == before + 2 * LANES


def test_files_hold_the_rows_and_nothing_else(tmp_path: Path):
    timesteps = record(tmp_path, 20)
    folder = folder_of(tmp_path)
    header = json.loads((folder / "header.json").read_text())
    names = [column["name"] for column in header["columns"]]
    assert names == [
        "step_type",
        "reward",
        "discount",
        "lane",
        "present",
        "observation/count",
        "observation/where/lane",
        "observation/where/age",
        "action/action",
    ]

    def column(name: str) -> np.ndarray:
        number = names.index(name)
        raw = np.fromfile(folder / f"{number:03d}.bin", header["columns"][number]["dtype"])
        return raw.reshape(len(timesteps), LANES, *header["columns"][number]["shape"])

    for step, timestep in enumerate(timesteps):
        assert column("step_type")[step].tolist() == timestep.step_type.tolist()
        assert column("reward")[step].tolist() == timestep.reward.tolist()
        assert column("discount")[step].tolist() == timestep.discount.tolist()
        assert column("observation/where/age")[step].tolist() == timestep.observation["where"]["age"].tolist()
    assert column("observation/where/age").dtype == np.int64


class Frames(ae.Env):
    """Shows random 84x84 frames."""

    episodic = False

    def on_open(self) -> None:
        self._frames = [
            torch.from_numpy(np.random.default_rng(number).integers(0, 255, (64, 84, 84), np.uint8))
            for number in range(4)
        ]
        self._step = 0

    def make_specs(self) -> dict:
        observation = {"observation": specs.BoundedArray((84, 84), np.uint8, 0, 255)}
        return {self.name: ae.EnvSpec(observation, {"action": specs.DiscreteArray(4, np.int64)}, num_envs=64)}

    def reset(self, lanes=None) -> ae.TimeStep:
        return ae.restart({"observation": self._frames[0]}, 64)

    def step(self, action, lanes=None) -> ae.TimeStep:
        self._step += 1
        return ae.transition({"observation": self._frames[self._step % 4]}, torch.zeros(64))


def test_frames_take_a_hundredth_more_than_their_raw_size(tmp_path: Path):
    """A frame is stored once, with 23 bytes beside it: 7,056 + 23 is 0.3 % more, whatever the number of frames."""
    env = Frames(on_missing="sample").pipe(ae.ReplayBuffer, path=tmp_path)
    for _ in zip(range(160), env):
        pass
    open_blocks = disk_bytes(tmp_path)
    env.close()
    raw = 160 * 64 * 84 * 84
    assert raw < sum(file.stat().st_size for file in tmp_path.rglob("*.bin")) < 1.01 * raw
    assert disk_bytes(tmp_path) < 1.02 * raw and open_blocks < 1.02 * raw


def disk_bytes(path: Path) -> int:
    return sum(512 * file.stat().st_blocks for file in path.rglob("*") if file.is_file())


def test_others_read_while_one_writes(tmp_path: Path):
    progress = FORK.Value("q", 0, lock=False)
    process = start(run_until_killed, tmp_path, progress)
    try:
        while progress.value < 10:
            time.sleep(0.001)
        reader = ae.ReplayBuffer(path=tmp_path, sampler=ae.UniformSampler(n_step=2, gamma=1.0))
        seen = []
        while progress.value < 1000 and len(seen) < 500:
            passed = progress.value
            seen.append(reader.num_timesteps["CountingEnv"])
            assert seen[-1] >= LANES * passed
            batch = reader.sample(16)
            gone_by = batch.next_observation["count"] - batch.observation["count"]
            assert (gone_by == batch.num_steps).all()
            assert (batch.observation["where"]["lane"] == batch.next_observation["where"]["lane"]).all()
        assert seen[-1] > seen[0] and seen == sorted(seen)
        with pytest.raises(ae.SpecError, match="somebody else does"):
            recorder(tmp_path).reset()
        reader.close()
    finally:
        process.kill()
        process.join(10)


def test_two_recorders_do_not_share_a_folder(tmp_path: Path):
    first, second = recorder(tmp_path), recorder(tmp_path)
    first.reset()
    with pytest.raises(ae.SpecError, match="somebody else does"):
        second.reset()
    first.close()
    second.reset()
    second.close()


def test_slots_have_folders_of_their_own(tmp_path: Path):
    loader = ae.Loader(recorder(tmp_path), in_flight=4, num_workers=2, steps_per_epoch=40)
    for timestep in loader:
        timestep.reply(torch.zeros(LANES, dtype=torch.int64))
    loader.close()
    assert sorted(folder.name for folder in (tmp_path / "CountingEnv").iterdir()) == ["0", "1", "2", "3"]
    reader = ae.ReplayBuffer(path=tmp_path)
    assert reader.num_timesteps["CountingEnv"] >= 40 * LANES
    batch = reader.sample(512)
    assert len((batch.rows >> 44).unique()) == 4
    assert (batch.next_observation["count"] == batch.observation["count"] + 1).all()
    assert (batch.observation["where"]["lane"] == batch.next_observation["where"]["lane"]).all()


def test_capacity_counts_the_latest_rows(tmp_path: Path):
    record(tmp_path, 50)
    reader = ae.ReplayBuffer(path=tmp_path, capacity=30)
    assert reader.num_timesteps == {"CountingEnv": 30}
    assert reader.sample(200).observation["count"].min() == 40
    assert len(counts_of(tmp_path)) == 150


def test_a_header_is_read_and_nothing_else(tmp_path: Path):
    record(tmp_path, 3)
    header = folder_of(tmp_path) / "header.json"
    text = header.read_text()
    for broken in ("{", "[]", text.replace('"<f4"', '"|O"'), text.replace('"version": 1', '"version": 2'), text[:-40]):
        header.write_text(broken)
        with pytest.raises(ae.SpecError, match="expected the header of a recording"):
            ae.ReplayBuffer(path=tmp_path).open()
    header.write_text(text.replace('"num_envs": 3', '"num_envs": 4'))
    with pytest.raises(ae.SpecError, match="got another one"):
        recorder(tmp_path).reset()


def test_headers_keep_specs():
    spec = ae.EnvSpec(
        {
            "a": specs.BoundedArray((2,), np.float32, [-np.inf, 0.1], [np.inf, 0.25], "a"),
            "b": {"c": specs.DiscreteArray(7, np.int64, "c"), "d/e": specs.Array((), bool, "d")},
            "f": specs.BoundedArray((), np.int64, -(2**63), 2**63 - 1, "f"),
            "g": specs.BoundedArray((3, 3), np.uint8, 0, 255, "g"),
        },
        {},
        modalities={"observation": {"a": ae.Modality("set", "real", "text:en", optional=True)}},
        num_envs=5,
    )
    schema, slot = read_header(write_header(Schema("x/y", spec), 3), "here")
    assert (schema.source, slot, schema.num_envs) == ("x/y", 3, 5)
    assert schema.spec.modalities == spec.modalities
    for path, leaf in ae.specs.flatten(spec.observation):
        other = dict(ae.specs.flatten(schema.spec.observation))[path]
        assert type(other) is type(leaf) and other == leaf and other.name == leaf.name


def test_a_restore_goes_back(tmp_path: Path):
    env = recorder(tmp_path)
    stream = iter(env)
    for _ in range(10):
        next(stream)
    early = env.state_dict()
    for _ in range(5):
        next(stream)
    late = env.state_dict()
    assert len(counts_of(tmp_path)) == 15 * LANES
    env.close()
    env = recorder(tmp_path)
    env.load_state_dict(late)
    assert len(counts_of(tmp_path)) == 15 * LANES
    env.load_state_dict(early)
    assert len(counts_of(tmp_path)) == 10 * LANES
    for _ in zip(range(3), env):
        pass
    with pytest.raises(ae.SpecError, match="have been written over"):
        env.load_state_dict(late)
    for _ in zip(range(20), env):
        pass
    with pytest.raises(ae.SpecError, match="have been written over"):
        env.load_state_dict(late)
    env.close()
    counts = counts_of(tmp_path).reshape(-1, LANES)[:, 0]
    assert counts.tolist() == list(range(len(counts)))
    elsewhere = recorder(tmp_path / "other")
    with pytest.raises(ae.SpecError, match="The rows are there"):
        elsewhere.load_state_dict(early)
    elsewhere.close()


def test_a_reader_notices_a_restore(tmp_path: Path):
    env = recorder(tmp_path)
    stream = iter(env)
    for _ in range(10):
        next(stream)
    state = env.state_dict()
    for _ in range(10):
        next(stream)
    reader = ae.ReplayBuffer(path=tmp_path, sampler=ae.PrioritizedSampler())
    assert reader.sample(64).observation["count"].max() == 18
    env.load_state_dict(state)
    assert reader.num_timesteps == {"CountingEnv": 10 * LANES}
    assert reader.sample(64).observation["count"].max() == 8
    env.close()


def test_after_a_failure_of_the_machine_flushed_rows_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    env = recorder(tmp_path)
    stream = iter(env)
    for _ in range(10):
        next(stream)
    env.flush()
    for _ in range(10):
        next(stream)
    assert len(counts_of(tmp_path)) == 20 * LANES
    monkeypatch.setattr("aexp_torch.replay.commit._boot", bytes(range(16)))
    assert len(counts_of(tmp_path)) == 10 * LANES
    env.close()


def test_a_copy_that_was_cut_off_warns(tmp_path: Path):
    record(tmp_path, 10)
    os.truncate(folder_of(tmp_path) / "005.bin", 50)
    with pytest.warns(UserWarning, match="only 12"):
        assert len(counts_of(tmp_path)) == 12


def test_a_commit_counts(tmp_path: Path):
    commit = Commit(tmp_path / "commit", writable=True)
    commit.rows = 12
    assert Commit(tmp_path / "commit", writable=False).rows == 12
    assert commit.still_has(12, 0) and not commit.still_has(13, 0)
    commit.rewind(5)
    commit.rows = 20
    assert commit.still_has(5, 0) and not commit.still_has(6, 0) and commit.still_has(20, 1)
    commit.close()
