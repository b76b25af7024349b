"""Downloads: with permission only, tried again, gone on with, whole or not at all; from a server on this machine."""

import http.server
import io
import json
import multiprocessing
import os
import re
import subprocess
import sys
import tarfile
import threading
import zipfile
from pathlib import Path

import datasets
import pytest

from aexp_torch.catalog.hubs import fetching, from_csv, from_files, from_huggingface, from_tfds, from_webdataset
from aexp_torch.catalog.hubs.fetching import Copy, cache_folder, fetch_file
from aexp_torch.errors import SpecError

TABLE = b"".join(b"%d,%d\n" % (index, index % 2) for index in range(6))
READING = {"columns": "x label", "members": {"train": "table.csv"}, "batch_size": 3, "epochs": 1}


@pytest.fixture(autouse=True)
def place(monkeypatch, tmp_path):
    monkeypatch.setenv("AEXP_DATA", str(tmp_path / "cache"))
    monkeypatch.setattr(fetching, "WAIT", 0.01)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "cache"


class Server:
    """Serves bytes by path; `troubles` are taken one by one: a status, or how many bytes come before the end."""

    def __init__(self):
        self.files: dict[str, bytes] = {}
        self.troubles: list[int] = []
        self.headers: dict[str, str] = {}
        self.asked: list[tuple[str, str | None]] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                outer.answer(self)

            do_HEAD = do_GET

            def log_message(self, *arguments):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def answer(self, request):
        wanted = request.headers.get("Range") if request.command == "GET" else None
        path = request.path.partition("?")[0]
        self.asked.append((path, wanted))
        trouble = self.troubles.pop(0) if self.troubles else 0
        if 400 <= trouble < 600 or path not in self.files:
            request.send_error(trouble if path in self.files else 404)
            return
        content = self.files[path]
        begin = int(wanted[6:-1]) if wanted else 0
        request.send_response(206 if wanted else 200)
        request.send_header("Content-Length", str(len(content) - begin))
        for name, value in self.headers.items():
            request.send_header(name, value)
        request.end_headers()
        if request.command == "GET":
            request.wfile.write(content[begin:][: trouble or None])

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def server():
    server = Server()
    yield server
    server.close()


def table(server, **options):
    return from_csv(f"{server.url}/table.csv", "x:number label:class(2)", **(READING | options))


def test_a_download_needs_permission(server, place):
    server.files["/table.csv"] = TABLE
    env = table(server, size=35, licence="CC0-1.0")
    expected = (
        f"table: expected its data in {place}/files/table, it is not there (35 B, licence CC0-1.0). Give download=True"
    )
    with pytest.raises(SpecError, match=re.escape(expected)) as refused:
        env.reset()
    assert "\n" not in str(refused.value) and not server.asked and not place.exists()


def test_a_download_is_made_once(server, place):
    server.files["/table.csv"] = TABLE
    numbers = [t.observation["x"].tolist() for t in table(server, download=True)]
    assert numbers == [[0, 1, 2], [3, 4, 5]] and server.asked == [("/table.csv", None)]
    assert [t.observation["x"].tolist() for t in table(server)] == numbers  # it is there now
    assert len(server.asked) == 1 and (place / "files" / "table" / ".complete").exists()


@pytest.mark.parametrize("troubles", [[503], [500, 429, 502]])
def test_it_is_tried_again(server, troubles):
    server.files["/table.csv"], server.troubles = TABLE, list(troubles)
    assert len(list(table(server, download=True))) == 2 and len(server.asked) == len(troubles) + 1


def test_it_goes_on_where_the_connection_ended(server, tmp_path):
    server.files["/f"], server.troubles = bytes(range(256)) * 40, [1000, 300]
    assert fetch_file(f"{server.url}/f", tmp_path / "f", "x").read_bytes() == server.files["/f"]
    assert [wanted for _, wanted in server.asked] == [None, "bytes=1000-", "bytes=1300-"]


def test_it_gives_up(server, place):
    server.files["/table.csv"], server.troubles = TABLE, [503] * 4
    with pytest.raises(
        SpecError, match=r"table: expected to download http.*/table.csv, got 4 times HTTPError: HTTP Error 503"
    ):
        table(server, download=True).reset()
    assert len(server.asked) == 4
    server.files.clear()
    with pytest.raises(SpecError, match="got HTTPError: HTTP Error 404: Not Found. Check the network"):  # at once
        table(server, download=True).reset()
    assert len(server.asked) == 5 and not (place / "files" / "table").exists()


def test_a_server_that_does_not_answer(monkeypatch):
    import socket

    monkeypatch.setattr(fetching, "TIMEOUT", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/table.csv"
        with pytest.raises(SpecError, match="4 times TimeoutError"):
            from_csv(url, "x:number label:class(2)", download=True, **READING).reset()


def test_archives_are_unpacked_within_their_folder(server, tmp_path, place):
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("../../outside.txt", "no")
    server.files["/bad.zip"] = zipped.getvalue()
    env = from_files("class_folders", "label:class(2)", urls=(f"{server.url}/bad.zip",), name="bad", download=True)
    with pytest.raises(SpecError, match="outside of the folder"):
        env.reset()
    assert not list(tmp_path.rglob("outside.txt")) and not (place / "files" / "bad" / ".complete").exists()
    tarred = io.BytesIO()
    with tarfile.open(fileobj=tarred, mode="w:gz") as archive:
        for name in ("train/a/1.png", "train/b/2.png"):
            archive.addfile(tarfile.TarInfo(name))
    server.files["/good.tar.gz"] = tarred.getvalue()
    env = from_files("class_folders", "label:class(2)", urls=(f"{server.url}/good.tar.gz",), name="good", download=True)
    timestep = next(iter(env))
    assert timestep.observation["label"][:2].tolist() == [0, 1]
    assert not list(place.rglob("*.tar.gz"))


@pytest.mark.parametrize(
    "name",
    [
        "default/train/0000.parquet",
        "default/partial-train/0000.parquet",
        "default/train-00000-of-00001.parquet",
        "data/train-00000-of-00001.parquet",
        "train/part.parquet",
        "train.parquet",
        "train.jsonl",
        "train.csv",
    ],
)
def test_files_of_the_hugging_face_hub(tmp_path, name):
    file = tmp_path / "copy" / name
    file.parent.mkdir(parents=True)
    columns = {"text": ["a", "b", "c"], "label": [0, 1, 0], "more": [1, 2, 3]}
    data = datasets.Dataset.from_dict(columns)
    if file.suffix == ".parquet":
        data.to_parquet(file)
    elif file.suffix == ".jsonl":
        data.to_json(file)
    else:
        data.to_csv(file)
    for path in (tmp_path / "copy", file):
        env = from_huggingface("a/b", "text:text(4) label:class(2)", path=path, batch_size=3, epochs=1)
        assert env.reset().observation["label"].tolist() == [0, 1, 0]
    with pytest.raises(SpecError, match="expected files of split 'test'"):
        from_huggingface("a/b", "text:text(4)", path=tmp_path / "copy", split="test").reset()


SCRIPT = """
import sys
from aexp_torch.catalog.hubs import from_huggingface
env = from_huggingface("me/mine", "text:text(4) label:class(2)", config="c", download=True, batch_size=3, epochs=1)
print(env.reset().observation["label"].tolist())
"""


def test_a_download_from_a_hugging_face_hub(server, tmp_path, place):
    """The hub's own client, from a small hub on this machine."""
    datasets.Dataset.from_dict({"text": ["a", "b", "c"], "label": [0, 1, 0]}).to_parquet(tmp_path / "0.parquet")
    files = {"c/train/0000.parquet": (tmp_path / "0.parquet").read_bytes(), "c/test/0000.parquet": b"no", "x.py": b"no"}
    sha = "a" * 40
    info = {
        "id": "me/mine",
        "sha": sha,
        "siblings": [{"rfilename": name} for name in files],
        "tags": [],
        "private": False,
    }
    for revision in ("refs%2Fconvert%2Fparquet", "refs/convert/parquet", sha):
        server.files[f"/api/datasets/me/mine/revision/{revision}"] = json.dumps(info).encode()
    tree = [{"type": "file", "path": name, "size": len(content), "oid": "b" * 40} for name, content in files.items()]
    server.files[f"/api/datasets/me/mine/tree/{sha}"] = json.dumps(tree).encode()
    for name, content in files.items():
        server.files[f"/datasets/me/mine/resolve/{sha}/{name}"] = content
    server.headers = {"X-Repo-Commit": sha, "ETag": '"one"'}
    environment = os.environ | {"HF_ENDPOINT": server.url, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_DISABLE_XET": "1"}
    ended = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=60, env=environment)
    assert ended.stdout.strip() == "[0, 1, 0]", ended.stderr
    kept = [
        file.name for file in (place / "huggingface/me/mine/c/train").rglob("*") if file.suffix in (".parquet", ".py")
    ]
    assert kept == ["0000.parquet"]  # the split that was asked for, and no script


def test_a_download_through_tfds(tmp_path, place, monkeypatch):
    pytest.importorskip("array_record")
    root = Path(__file__).parents[2]
    (tmp_path / "sitecustomize.py").write_text("import tests.sources.tfds_squares\n")  # TFDS knows it by name then
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{root}")
    env = from_tfds("squares", "text:text(4) number:number", download=True, batch_size=23, epochs=1)
    assert env.reset().observation["number"].tolist() == list(range(23))
    assert (place / "tfds/squares/.complete").exists() and not (place / "tfds/squares/downloads").exists()


def test_data_by_hand_says_what_to_do():
    env = from_files("ucf101", "class:class(2)", by_hand="Get it at https://example.org.", download=True)
    with pytest.raises(SpecError, match=r"Get it at https://example.org. Then give path= of your copy"):
        env.reset()


def test_shards_over_the_network(server):
    import webdataset

    for number in range(2):
        file = io.BytesIO()
        with webdataset.TarWriter(file) as writer:
            for index in range(3):
                writer.write({"__key__": f"{index}", "cls": number * 3 + index})
        server.files[f"/s-{number}.tar"] = file.getvalue()
    options = {"batch_size": 2, "epochs": 1}
    env = from_webdataset(f"{server.url}/s-{{0..1}}.tar", "label=cls:class(6)", **options)
    with pytest.raises(SpecError, match=r"s: expected its data on this machine, it would be read over the network"):
        env.reset()
    assert not server.asked
    env = from_webdataset(f"{server.url}/s-{{0..1}}.tar", "label=cls:class(6)", download=True, **options)
    assert [t.observation["label"].tolist() for t in env] == [[0, 1], [2, 3], [4, 5]]


def test_a_missing_copy_is_an_error(tmp_path):
    with pytest.raises(SpecError, match="expected data at .*nowhere, nothing is there. Check path="):
        from_huggingface("a/b", "x:text", path=tmp_path / "nowhere").reset()
    (tmp_path / "readme.md").touch()
    with pytest.raises(SpecError, match=r"b: expected files of split 'train' in .*got \['readme.md'\]"):
        from_huggingface("a/b", "x:text", path=tmp_path).reset()


def _download(folder, started):
    def slowly(part):
        started.set()
        (part / f"by-{os.getpid()}").touch()
        import time

        time.sleep(0.5)

    print(Copy("x", "once", cache_dir=folder, download=True).get(slowly))


def test_two_processes_download_once(tmp_path):
    context = multiprocessing.get_context("fork")
    started = context.Event()
    processes = [context.Process(target=_download, args=(tmp_path, started)) for _ in range(2)]
    for process in processes:
        process.start()
        assert started.wait(20)
    for process in processes:
        process.join(20)
        assert process.exitcode == 0
    assert len(list((tmp_path / "once").glob("by-*"))) == 1


def test_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("AEXP_DATA", str(tmp_path))
    assert cache_folder() == tmp_path and cache_folder(tmp_path / "x") == tmp_path / "x"
    monkeypatch.delenv("AEXP_DATA")
    assert cache_folder().parts[-2:] == (".cache", "aexp_torch")
