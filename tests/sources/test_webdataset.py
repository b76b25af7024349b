"""WebDataset: shards from files, commands and servers that fail, and the way back to any place in them."""

import http.server
import io
import pickle
import tarfile
import threading
import time

import numpy as np
import pytest
import torch

import aexp_torch as ae
from aexp_torch.errors import SpecError
from aexp_torch.testing import check_env
from tests.sources.resuming import assert_resumes, saved

webdataset = pytest.importorskip("webdataset")

PER_SHARD, NUM_SHARDS = 7, 3
ALL = list(range(PER_SHARD * NUM_SHARDS))


def write_shards(folder, suffix="tar", **more) -> str:
    for shard in range(NUM_SHARDS):
        with webdataset.TarWriter(str(folder / f"a-{shard:03d}.{suffix}")) as writer:
            for row in range(PER_SHARD):
                number = PER_SHARD * shard + row
                sample = {"__key__": f"{number:04d}", "x.npy": np.full(3, number, np.float32), "y.cls": number}
                writer.write(sample | {key: make(number) for key, make in more.items()})
    return f"{folder}/a-{{000..{NUM_SHARDS - 1:03d}}}.{suffix}"


@pytest.fixture(scope="module")
def shards(tmp_path_factory) -> str:
    return write_shards(tmp_path_factory.mktemp("shards"))


def pipeline(address, **options):
    return webdataset.WebDataset(address, shardshuffle=options.pop("shardshuffle", False), seed=0, **options).decode()


def read(env: ae.DatasetEnv) -> list[int]:
    numbers = []
    for timestep in env:
        values, mask = timestep.observation["y.cls"], timestep.observation.get("mask:y.cls")
        numbers += (values if mask is None else values[mask]).tolist()
    return numbers


class CountedReads:
    """Counts the bytes that are read from files."""

    def __init__(self, monkeypatch):
        from aexp_torch.sources.dataset_reading import shards

        self.count, opened = 0, shards.open_stream

        def counting(address, offset, *rest):
            stream, there = opened(address, offset, *rest)
            plain = stream.read

            class Stream(io.RawIOBase):
                def readable(_):
                    return True

                def close(_):
                    stream.close()

                def readinto(_, buffer):
                    data = plain(len(buffer))
                    buffer[: len(data)] = data
                    self.count += len(data)
                    return len(data)

            return Stream(), there

        monkeypatch.setattr(shards, "open_stream", counting)


def test_every_sample_once(shards):
    assert read(ae.DatasetEnv(pipeline(shards), batch_size=4, epochs=1)) == ALL
    assert sorted(read(ae.DatasetEnv(pipeline(shards), batch_size=4, epochs=1, shuffle=True))) == ALL
    by_address = ae.DatasetEnv(shards, batch_size=4, epochs=1)
    assert read(by_address) == ALL and by_address.reset().observation["x.npy"].shape == (4, 3)


def test_shuffled_passes_follow_from_the_seed(shards):
    def order(seed, **options):
        return read(ae.DatasetEnv(pipeline(shards, **options), batch_size=3, epochs=2, shuffle=not options, seed=seed))

    for options in ({}, {"shardshuffle": 10}, {"shardshuffle": 10, "detshuffle": True}):
        one = order(1, **options)
        assert one == order(1, **options)
        assert sorted(one[:21]) == sorted(one[21:]) == ALL and one[:21] != one[21:]
    assert order(1) != order(2)


STAGES = {
    "as written": lambda data: data,
    "tuple": lambda data: data.to_tuple("x.npy", "y.cls"),
    "select": lambda data: data.select(lambda sample: sample["y.cls"] % 3),
    "map": lambda data: data.map_dict(**{"x.npy": lambda x: x * 2}).rename(x="x.npy", y="y.cls"),
}


@pytest.mark.parametrize("stages", STAGES)
@pytest.mark.parametrize("shuffle", [False, True])
def test_it_goes_on_exactly(shards, stages, shuffle):
    def make():
        data = STAGES[stages](pipeline(shards, shardshuffle=10))
        return ae.DatasetEnv(data, batch_size=4, epochs=2, shuffle=shuffle, shuffle_buffer=5)

    assert_resumes(make, 12)


def test_it_goes_on_in_compressed_shards(tmp_path):
    address = write_shards(tmp_path, "tar.gz")
    assert_resumes(lambda: ae.DatasetEnv(pipeline(address), batch_size=4, epochs=2), 10)


def test_what_was_read_is_not_read_again(tmp_path, monkeypatch):
    address = write_shards(tmp_path, **{"pad.npy": lambda number: np.zeros(100_000)})

    def make():
        return ae.DatasetEnv(pipeline(address), batch_size=1, epochs=1)

    counted = CountedReads(monkeypatch)
    env = make()
    iterator = iter(env)
    seen = [next(iterator).observation["y.cls"].item() for _ in range(19)]
    state, whole = saved(env), counted.count
    env.close()
    counted.count = 0
    env = make()
    env.open()  # which reads the first sample, to know what all look like
    looked = counted.count
    env.load_state_dict(state)
    assert seen + [timestep.observation["y.cls"].item() for timestep in env] == ALL
    assert counted.count - looked < 0.25 * whole


def test_other_stages_are_read_again(shards):
    def make():
        return ae.DatasetEnv(pipeline(shards).shuffle(8), batch_size=4, epochs=2)

    with pytest.warns(UserWarning, match="are read again and skipped"):
        seen = assert_resumes(make, 10)
    first = [number for each in seen[:5] for number in each["y.cls"]]
    assert first != sorted(first)


def test_pipelines_of_stages(shards):
    data = webdataset.DataPipeline(
        webdataset.SimpleShardList(shards),
        webdataset.split_by_worker,
        webdataset.tarfile_to_samples(),
        webdataset.decode(),
        webdataset.to_tuple("x.npy", "y.cls"),
    )
    seen = assert_resumes(lambda: ae.DatasetEnv(data, batch_size=4, epochs=1), 5)
    assert [number for each in seen for number in each["y"]][:20] == ALL[:20]


def test_passes_of_a_given_length(shards):
    data = pipeline(shards).with_epoch(15)
    with pytest.warns(UserWarning, match="read again and skipped"):
        seen = assert_resumes(lambda: ae.DatasetEnv(data, batch_size=5, epochs=2), 6)
    assert [number for each in seen for number in each["y.cls"]] == [*range(15)] * 2
    resampled = ae.DatasetEnv(pipeline(shards, resampled=True).with_epoch(30), batch_size=30)
    assert len(set(resampled.reset().observation["y.cls"].tolist())) <= 21


def test_slots_share_a_pass(shards):
    loader = ae.Loader(ae.DatasetEnv(pipeline(shards), batch_size=3, epochs=1), in_flight=2, steps_per_epoch=7)
    assert sorted(torch.cat([timestep.observation["y.cls"] for timestep in loader]).tolist()) == ALL


def test_conformance(shards):
    check_env(lambda: ae.DatasetEnv(pipeline(shards), batch_size=4, epochs=2, shuffle=True, name="shards"))


# Commands and servers


@pytest.mark.parametrize("command", ["cat {}", "sleep 0.01; cat {}"])
def test_commands(shards, command):
    address = [f"pipe:{command.format(path)}" for path in webdataset.shardlists.expand_urls(shards)]
    assert_resumes(lambda: ae.DatasetEnv(pipeline(address), batch_size=4, epochs=1), 5)


def test_a_command_that_fails_is_tried_again_and_one_that_hangs_is_ended(shards, tmp_path):
    once = tmp_path / "here"
    path = webdataset.shardlists.expand_urls(shards)[0]
    fails_once = f"pipe:if [ -e {once} ]; then cat {path}; else touch {once}; head -c 4000 {path}; exit 3; fi"
    assert read(ae.DatasetEnv(pipeline([fails_once]), batch_size=1, epochs=1)) == ALL[:PER_SHARD]
    started = time.monotonic()
    with pytest.raises(SpecError, match=r"pipe:sleep 100 within 0\.5 s.*nothing came from 'sleep 100'.*read_timeout="):
        ae.DatasetEnv(pipeline(["pipe:sleep 100"]), batch_size=1, read_timeout=0.5).reset()
    with pytest.raises(SpecError, match=r"exit code 7"):
        ae.DatasetEnv(pipeline(["pipe:exit 7"]), batch_size=1, read_timeout=0.5).reset()
    assert time.monotonic() - started < 10


class Server(http.server.ThreadingHTTPServer):
    """Serves a folder; what it does wrong is decided by `fault(path, number of the request)`."""

    daemon_threads = True

    def __init__(self, folder, fault=lambda path, number: None, ranges=True):
        self.folder, self.fault, self.ranges = folder, fault, ranges
        self.requests: list[tuple[str, int]] = []
        self.stopping = threading.Event()
        super().__init__(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stopping.set()
        self.shutdown()
        self.server_close()
        self.thread.join(5)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request, client_address):
        """Says nothing: clients that go away are part of the tests."""


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server: Server = self.server
        start = int(self.headers.get("Range", "bytes=0-")[6:].rstrip("-")) if server.ranges else 0
        server.requests.append((self.path, start))
        fault = server.fault(self.path, sum(path == self.path for path, _ in server.requests))
        if isinstance(fault, int):
            return self.send_error(fault)
        if fault == "silent":
            server.stopping.wait(30)
            return None
        content = (server.folder / self.path[1:]).read_bytes()
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        half = len(content) // 2 if fault == "half" else len(content)
        self.wfile.write(content[start : max(start, half)])
        return None

    def log_message(self, *_):
        pass


@pytest.fixture
def folder(shards):
    from pathlib import Path

    return Path(shards).parent


def remote(server, **options):
    data = pipeline(f"{server.address}/a-{{000..002}}.tar")
    return ae.DatasetEnv(data, batch_size=4, epochs=1, **options)


def test_a_server(folder):
    with Server(folder) as server:
        assert read(remote(server)) == ALL
        assert_resumes(lambda: remote(server), 6)
        middle = [start for _, start in server.requests if start]
        assert middle and all(start % 512 == 0 for start in middle)  # it went on where the samples begin


@pytest.mark.parametrize("fault, ranges", [(503, True), (429, False), ("half", True), ("half", False)])
def test_a_server_that_fails_twice(folder, fault, ranges):
    with Server(folder, lambda path, number: fault if number <= 2 else None, ranges) as server:
        assert read(remote(server, read_timeout=20)) == ALL
        assert len(server.requests) == 9


def test_a_server_that_never_answers(folder):
    with Server(folder, lambda path, number: "silent") as server:
        started = time.monotonic()
        with pytest.raises(SpecError, match=rf"{server.address}/a-000.tar within 1 s, \d+ attempt.*read_timeout="):
            remote(server, read_timeout=1.0).reset()
        assert time.monotonic() - started < 8


def test_nobody_listens():
    with pytest.raises(SpecError, match=r"127\.0\.0\.1:9/a\.tar within 0\.5 s.*refused"):
        ae.DatasetEnv(pipeline("http://127.0.0.1:9/a.tar"), read_timeout=0.5).reset()


def test_shards_that_cannot_be_read_are_skipped_counted_and_named(folder, tmp_path):
    with Server(folder, lambda path, number: 404 if "001" in path else None) as server:
        with pytest.raises(
            SpecError, match=r"shard http.*a-001.tar.*404.*leave such parts out with on_bad_sample='skip'"
        ):
            read(remote(server))
        env = remote(server, on_bad_sample="skip")
        with pytest.warns(UserWarning, match=r"shard http.*a-001.tar.*404"):
            assert read(env) == [*range(7), *range(14, 21)]
        assert env.bad_samples == {env.name: {f"{server.address}/a-001.tar"}}
        with (
            pytest.warns(UserWarning, match="a-001"),
            pytest.raises(SpecError, match="max_bad_samples=0 bad samples, got 1"),
        ):
            read(remote(server, on_bad_sample="skip", max_bad_samples=0))
    for shard in range(NUM_SHARDS):
        content = (folder / f"a-{shard:03d}.tar").read_bytes()
        (tmp_path / f"a-{shard:03d}.tar").write_bytes(content[:13000] if shard == 1 else content)
    broken = f"{tmp_path}/a-{{000..002}}.tar"
    with pytest.raises(SpecError, match=r"a-001.tar.*after \d samples"):
        read(ae.DatasetEnv(pipeline(broken), epochs=1))
    with pytest.warns(UserWarning, match=r"a-001.tar"):
        numbers = read(ae.DatasetEnv(pipeline(broken), epochs=1, on_bad_sample="skip"))
    assert numbers[:7] == [*range(7)] and numbers[-7:] == [*range(14, 21)] and 14 < len(numbers) < 21


def test_bad_shards_are_counted_over_workers(folder, tmp_path):
    with Server(folder, lambda path, number: 404 if "001" in path else None) as server:
        env = remote(server, on_bad_sample="skip")
        loader = ae.Loader(env, in_flight=2, steps_per_epoch=4)
        with pytest.warns(UserWarning, match=r"a-001.tar"):
            numbers = torch.cat([timestep.observation["y.cls"] for timestep in loader]).tolist()
        assert set(numbers) - {0} == {*range(1, 7), *range(14, 21)} and loader.bad_samples == 1


# Code in data


class Evil:
    ran = False

    def __reduce__(self):
        return exec, ("import tests.sources.test_webdataset as here; here.Evil.ran = True",)


@pytest.mark.parametrize("suffix", ["pyd", "pkl", "pickle", "pth", "pt", "left.pyd"])
@pytest.mark.parametrize("stages", ["plain", "mixed", "shuffled first"])
def test_nothing_is_unpickled(tmp_path, suffix, stages):
    path = str(tmp_path / "evil.tar")
    with tarfile.open(path, "w") as tar:
        content = pickle.dumps(Evil())
        info = tarfile.TarInfo(f"0.{suffix}")
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
    data = {
        "plain": lambda: pipeline(path),
        "mixed": lambda: webdataset.RandomMix([pipeline(path)], [1.0]),
        "shuffled first": lambda: webdataset.WebDataset(path, shardshuffle=False).shuffle(3).decode(),
    }[stages]()
    with pytest.raises(SpecError, match=rf"got 0.{suffix} in .*evil.tar, which would be unpickled"):
        ae.DatasetEnv(data).reset()
    assert not Evil.ran


def test_loaders_of_webdataset_are_refused(shards):
    loader = webdataset.WebLoader(pipeline(shards), batch_size=None)
    with pytest.raises(SpecError, match="Give the WebDataset itself"):
        ae.DatasetEnv(loader).reset()
