"""Every example runs, and shows what it says."""

import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("[0-9]*.py"))


def run(number: int, **arguments):
    (path,) = [path for path in EXAMPLES if path.name.startswith(f"{number:02d}_")]
    spec = importlib.util.spec_from_file_location(f"example_{number:02d}", path)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)  # where pickle looks its classes up
    spec.loader.exec_module(module)
    return module.main(**arguments)


def test_every_example_has_a_test():
    assert [path.name[:2] for path in EXAMPLES] == [
        "01",
        "02",
        "03",
        "04",
        "05",
        "06",
        "07",
        "08",
        "09",
        "10",
        "11",
        "12",
    ]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_short_and_documented(path):
    text = path.read_text()
    assert text.startswith('"""')
    assert text.count("\n") < 100


def test_stream_balances_the_pole():
    assert run(1) > 200


def test_dataset_is_learned():
    assert run(2) > 0.85


def test_mixture_resumes_exactly():
    assert run(3)


def test_own_parts_pass_the_conformance_suite():
    run(4)


def test_generalist_trains():
    metrics = run(5, max_steps=12)
    assert {"cartpole/return"} < set(metrics)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_generalist_learns_both():
    metrics = run(5)
    assert metrics["cartpole/return"] >= 400


@pytest.mark.filterwarnings("ignore:.*there is no last checkpoint available", "ignore:Checkpoint directory")
def test_ranks_train_and_go_on(tmp_path):
    metrics = run(6, folder=str(tmp_path), max_steps=12)
    assert (tmp_path / "last.ckpt").exists() and {"test/cartpole/return", "test/digits/accuracy"} < set(metrics)
    assert run(6, folder=str(tmp_path), max_steps=12) == metrics


def test_teacher_opens_the_lock(tmp_path):
    reached = run(9, folder=str(tmp_path))
    assert min(reached["with Teacher"]) == 20 and max(reached["without"]) < 20
    assert (tmp_path / "teacher.png").stat().st_size > 10_000


@pytest.mark.skipif(
    not (shutil.which("Xvnc") and shutil.which("xterm")),
    reason="needs the Debian packages tigervnc-standalone-server and xterm",
)
def test_the_desktop_is_clicked(tmp_path):
    rewards = run(10, episodes=2, folder=str(tmp_path))
    assert rewards["sees"] == 1
    assert (tmp_path / "desktop.png").read_bytes().startswith(b"\x89PNG")


def test_experience_goes_through_the_catalogue(tmp_path):
    shown = run(11, steps=600, folder=str(tmp_path))
    assert sum(shown.values()) == 600 and len(shown) > 10
    assert (tmp_path / "visits.png").read_bytes().startswith(b"\x89PNG")


def test_a_game_of_symbols_is_learned_beside_a_text():
    told = run(12, steps=12)
    assert told["bits per byte after"] < told["bits per byte before"] - 0.5 and told["solved before"] < 0.1


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_a_game_of_symbols_is_solved(seed):
    told = run(12, steps=150, seed=seed)
    assert told["solved after"] > 0.95 and told["bits per byte after"] < 6


@pytest.mark.slow
def test_ranks_of_torchrun(tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", str(EXAMPLES[5])]
    environment = {**os.environ, "PYTHONPATH": str(EXAMPLES[5].parents[1])}
    options = {"capture_output": True, "text": True, "timeout": 100, "env": environment}
    ended = subprocess.run([*command, f"--folder={tmp_path}", "--max_steps=200"], check=False, **options)
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "last.ckpt").exists() and ended.stdout.count("test/digits/accuracy") == 1


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_ranks_of_ray_train_go_on_after_one_is_killed(tmp_path):
    command = [sys.executable, str(EXAMPLES[6]), f"--folder={tmp_path}", "--epochs=3", "--steps_per_epoch=30"]
    with (
        tempfile.TemporaryDirectory(prefix="r", ignore_cleanup_errors=True) as short,
        open(tmp_path / "log", "w+") as log,
    ):
        environment = {**os.environ, "PYTHONPATH": str(EXAMPLES[6].parents[1]), "RAY_TMPDIR": short}  # sockets go there
        with subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment) as process:
            try:
                _wait_for(lambda: list(tmp_path.glob("generalist/checkpoint_*")), process)
                ranks = _processes("ray::RayTrainWorker")
                assert len(ranks) == 2
                os.kill(ranks[1], signal.SIGKILL)
                process.wait(200)
            finally:
                process.kill()
        log.seek(0)
        output = log.read()
    assert process.returncode == 0, output
    assert "RETRY" in output, output
    assert any(line.startswith("{") and "'epoch': 2" in line for line in output.splitlines()), output


@pytest.mark.slow
def test_a_little_imagination_beats_random_play(tmp_path):
    metrics = run(8, real_steps=5000, epochs=2, folder=str(tmp_path))
    assert metrics["return"] > 2 * metrics["random"]
    assert (tmp_path / "imaginary.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", range(5))
def test_imagination_beats_random_play_on_every_seed(seed, tmp_path):
    metrics = run(8, seed=seed, folder=str(tmp_path))
    assert metrics["random"] < 30 and metrics["return"] > 150


def _processes(title: str) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if entry.read_bytes().startswith(title.encode()):
                found.append(int(entry.parent.name))
    return found


def _wait_for(condition, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.2)
