"""aexp list, show and doctor: what they print, what they save, what they say where something is wrong."""

import contextlib
import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from dm_env import specs as dm_specs
from rich.console import Console

import aexp_torch as ae
from aexp_torch.catalog import DOMAINS, Entry, entries, register
from aexp_torch.catalog import registry as registry_module
from aexp_torch.testing import CountingEnv
from lightning_modules.__main__ import main
from lightning_modules.commands import COMMANDS
from lightning_modules.commands.sample import Leaf, as_text, picture_of
from lightning_modules.commands.terminal import draw_leaf

ROOT = str(Path(__file__).parents[2])


@pytest.fixture(autouse=True)
def _at_80_columns(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(registry_module, "_ADDED", {})


def said_by(capsys, *args):
    main(list(args))
    captured = capsys.readouterr()
    assert captured.err == "" and "\x1b" not in captured.out
    assert max(map(len, captured.out.splitlines()), default=0) <= 80 or "--names" in args
    return captured.out


def fails(capsys, *args, code=2):
    with pytest.raises(SystemExit) as raised:
        main(list(args))
    captured = capsys.readouterr()
    assert raised.value.code == code
    return captured


def error_of(capsys, *args):
    captured = fails(capsys, *args)
    assert captured.err.startswith("aexp: ") and captured.err.count("\n") == 1
    return captured.err


# list


def test_list_tells_of_everything(capsys):
    names = said_by(capsys, "list", "--names").split()
    assert sorted(names) == sorted(entry.name for entry in entries()) and names == sorted(names, key=str.lower)
    table = said_by(capsys, "list")
    assert (
        "digits" in table and "image.classification" in table and f"{len(names):,} of {len(names):,} entries" in table
    )


def test_list_filters(capsys):
    def names(*args):
        return set(said_by(capsys, "list", "--names", *args).split())

    assert "digits" in names("--tags", "image") and "iris" not in names("--tags", "image")
    both = names("--tags", "image", "tabular")
    assert {"digits", "iris"} <= both and both == names("--tags", "image,tabular") == names(
        "--tags", "tabular", "--tags=image"
    )
    assert both - names("--tags", "image", "tabular", "--exclude", "tabular") >= {"iris", "wine"}
    assert names("--tags", "domains.image/classification") <= names("--tags", "image")
    assert "addition" in names("--tags", "synthetic:true") and "digits" not in names("--tags", "synthetic:true")


def test_list_says_what_does_not_open_here(capsys):
    missing = Entry("absent", ("text.absent",), "nowhere:x", extra="atari", modules=("no_such_module",), about="x")
    remote = Entry("remote", ("text.absent",), "nowhere:x", download=True, size=1_234_567, about="x")
    register(missing, remote)
    table = said_by(capsys, "list", "--tags", "text.absent")
    rows = {line.split()[0]: line.split() for line in table.splitlines() if line.strip()}
    assert rows["absent"][-2:] == ["atari", "no"] and rows["remote"][-3:] == ["1.23", "MB", "download"]
    assert '1: no_such_module is not installed: pip install "aexp-torch[atari]"' in table
    assert (
        "1: need a download, which download=True allows" in table
        and f"2 of {len(entries())} entries, 0 open here" in table
    )
    assert said_by(capsys, "list", "--tags", "text.absent", "--installed", "--names") == ""


def test_list_does_not_repeat_what_is_special(capsys):
    special = [Entry(f"special{i}", ("text.absent",), "a:b", modules=(f"no_such_module_{i}",)) for i in range(5)]
    common = [Entry(f"common{i}", ("text.absent",), "a:b", modules=("no_such_module",)) for i in range(2)]
    register(*special, *common)
    summary = said_by(capsys, "list", "--tags", "text.absent").splitlines()[-3:]
    assert summary[1] == "2: no_such_module is not installed: pip install no_such_module"
    assert summary[2] == "5: need each something else, which `aexp show NAME` says"


def test_list_suggests_tags(capsys):
    assert "nothing has the tag 'imge', did you mean 'image'" in error_of(capsys, "list", "--tags", "imge")
    assert "nothing has the tag 'tabuler'" in error_of(capsys, "list", "--exclude", "tabuler")
    assert "list: unrecognized arguments: --tag" in error_of(capsys, "list", "--tag=x", "--tagz=y")


# show


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("digits", ["CC-BY-4.0", "float32 [8, 8]", "grid, real", "none is due", "@@@", "B = 64", "Tell which digit"]),
        ("addition", ["sequence, categorical, text", "+"]),
        ("waveforms", ["sequence, real, audio", "*****", "the first 144 of 1,000"]),
        ("mazes", ["1 1 1 1 1 1 1 1 1 1 1", "grid, categorical"]),
        ("eeg", ["float32 [32, 4]", "***"]),
        ("iris", ["float32 [4]", "flat, real"]),
        ("CartPole-v1", ["int64 [] in 0..1", "MIT", "provider:gymnasium", "Keep the pole upright."]),
        ("photo_colors", ["uint8 [16, 16, 3] in [0, 255]"]),
    ],
)
def test_show(name, parts, capsys):
    said = said_by(capsys, "show", name)
    for part in (*parts, "sample: row 0, FIRST"):
        assert part in said, part


def test_show_takes_options_of_what_is_built(capsys):
    said = said_by(capsys, "show", "digits", "split=test", "loss=correct", "batch_size=3", "--row", "2")
    assert "B = 3" in said and "predict:y" in said and "sample: row 2" in said and "absent in this timestep" in said
    assert "B = 2" in said_by(capsys, "show", "CartPole-v1", "num_envs=2", "--steps", "3")
    assert "MID, reward 1" in said_by(capsys, "show", "CartPole-v1", "--steps", "3")
    assert "E|description: " in said_by(capsys, "show", "commai_mini", "render_mode=ansi", "--steps", "20")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["digit"], "got 'digit'. Did you mean 'digits' or"),
        ([], "the following arguments are required: NAME"),
        (["digits", "--row", "64"], "--row: expected a row in 0..63, got 64"),
        (["digits", "split"], "expected OPTION=VALUE, got 'split'"),
        (["digits", "split=valid"], "expected split 'train', 'test' or 'all', got 'valid'"),
        (["digits", "colour=3"], "digits: "),
        (["digits", "epochs=1", "--steps", "100"], "--steps: expected less than the stream has"),
        (["digits", "--save", "x.nothing"], "--save: "),
        (["digits", "--save", "no/such/folder.png"], "No such file or directory"),
        (["absent"], 'absent cannot be opened here: no_such_module is not installed: pip install "aexp-torch[atari]"'),
        (["remote"], "remote has to be downloaded first (5 B, MIT): aexp show remote --download"),
        (["raising"], "RuntimeError: the simulator is out of order"),
    ],
)
def test_show_fails_in_one_line(args, said, capsys):
    register(
        Entry("absent", ("text",), "nowhere:x", extra="atari", modules=("no_such_module",)),
        Entry("remote", ("text",), "nowhere:x", download=True, size=5, licence="MIT"),
        Entry("raising", ("text",), Raising),
    )
    assert said in error_of(capsys, "show", *args)


class Raising(CountingEnv):
    """Is out of order."""

    def __init__(self, name):
        super().__init__(1)
        self.name = name

    def reset(self, lanes=None):
        raise RuntimeError("the simulator is out of order")


@pytest.mark.parametrize("name", ["digits", "addition", "waveforms", "mazes", "CartPole-v1", "iris"])
def test_show_saves_a_picture(name, capsys, tmp_path):
    from matplotlib import image

    path = tmp_path / "sample.png"
    assert "saved" in main_said(capsys, "show", name, "--save", str(path))
    pixels = image.imread(path)
    assert pixels.shape[0] > 100 and pixels.shape[1] > 100 and pixels[..., :3].std() > 0.01


def main_said(capsys, *args):
    main(list(args))
    return capsys.readouterr().out


# how samples are drawn


def drawn(leaf, **options):
    file = io.StringIO()
    console = Console(file=file, width=80, **options)
    console.print(draw_leaf(leaf, console))
    return file.getvalue()


def leaf(value, structure="grid", representation="integer", low=0, high=255):
    value = np.asarray(value)
    spec = dm_specs.BoundedArray(value.shape, value.dtype, low, high)
    return Leaf("x", spec, ae.Modality(structure, representation), value)


def test_pictures_have_two_pixels_a_cell():
    red_above_blue = np.zeros((2, 1, 3), np.uint8)
    red_above_blue[0, 0, 0] = red_above_blue[1, 0, 2] = 255
    wide = np.repeat(red_above_blue, 30, 1)
    said = drawn(leaf(wide.repeat(30, 0)), force_terminal=True, color_system="truecolor")
    lines = [line for line in said.splitlines() if "▀" in line]
    assert len(lines) == 20 and {line.count("▀") for line in lines} == {20}
    assert "38;2;255;0;0" in lines[0] and "48;2;255;0;0" in lines[0]
    assert "38;2;0;0;255" in lines[-1] and "48;2;0;0;255" in lines[-1]


def test_pictures_without_colours_are_shades():
    ramp = np.linspace(0, 255, 60).astype(np.uint8)[None].repeat(20, 0)
    lines = drawn(leaf(ramp)).splitlines()[1:-1]
    assert lines[0].strip() and lines[0].rstrip()[-1] == "@" and lines[0].count("@") < 10
    assert [lines[0].index(shade) for shade in ".:-=+*#%@"] == sorted(lines[0].index(shade) for shade in ".:-=+*#%@")


@pytest.mark.parametrize(
    ("shape", "picture"),
    [
        ((8, 8), (8, 8)),
        ((8, 9, 1), (8, 9)),
        ((8, 9, 3), (8, 9, 3)),
        ((3, 8, 9), (8, 9, 3)),
        ((1, 8, 9), (8, 9)),
        ((4, 84, 84), (84, 84)),
        ((7, 20, 30), (20, 30)),
        ((5, 8, 9, 3), (8, 9, 3)),
    ],
)
def test_what_is_a_picture(shape, picture):
    value = leaf(np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8))
    assert value.kind == "picture" and picture_of(value).shape == picture
    assert picture_of(value).min() >= 0 and picture_of(value).max() <= 1
    drawn(value)


def test_of_a_stack_of_frames_the_last_is_shown():
    frames = np.zeros((4, 20, 20), np.uint8)
    frames[3] = 255
    assert picture_of(leaf(frames)).min() == 1


def test_other_kinds():
    assert leaf(np.zeros((7, 7, 3), np.uint8), "grid", "categorical").kind == "cells"
    assert leaf(np.zeros((3, 3, 2), np.int8), "grid", "binary", 0, 1).kind == "cells"
    assert leaf(np.zeros((16, 16), np.uint8), "grid", "binary").kind == "picture"
    assert leaf(np.zeros((8, 8, 111), np.uint8), "grid", "binary").kind == "numbers"
    assert leaf(np.zeros(9, np.uint8), "sequence", "categorical").kind == "text"
    assert leaf(np.zeros((9, 2), np.float32), "sequence", "real").kind == "wave"
    assert leaf(np.zeros(9, np.float32), "flat", "real").kind == "numbers"
    assert leaf(np.zeros((), np.int64), "flat", "categorical").kind == "numbers"
    absent = Leaf("x", dm_specs.Array((), np.float32), ae.Modality("flat", "real"), None)
    assert absent.kind == "absent" and "absent in this timestep" in drawn(absent)
    cells = drawn(leaf(np.array([[[1, 10], [0, 2]]]), "grid", "categorical"))
    assert " 1 ..    10  2" in cells
    long = drawn(leaf(np.arange(1000.0), "flat", "real"))
    assert "1,000 numbers, mean 499.5, from 0 to 999" in " ".join(long.split())


def test_text_cannot_command_the_terminal():
    hostile = np.frombuffer(b"a\x1b[31mred\x07\xff \xc3\xa9\n\0\0", np.uint8)
    text = as_text(hostile)
    assert text == "a\\x1b[31mred\\x07\ufffd é\n"
    assert "\x1b" not in drawn(leaf(hostile, "sequence", "categorical"))


def test_markup_in_texts_is_no_markup():
    said = drawn(leaf(np.frombuffer(b"[bold]x[/bold] [/]", np.uint8), "sequence", "categorical"))
    assert "[bold]x[/bold] [/]" in said


# doctor


def test_doctor_tells_of_the_machine_and_the_catalogue(capsys):
    with contextlib.suppress(SystemExit):  # the core may be incomplete where the tests run
        main(["doctor"])
    said = capsys.readouterr().out
    for part in ("Python", "torch", "cores", "GPU", "shared memory", "core", f"catalogue: {len(entries())} entries"):
        assert part in said, part


def test_doctor_names_what_is_missing_and_what_to_type(capsys, tmp_path, monkeypatch):
    info = tmp_path / "aexp_torch-9.9.dist-info"
    info.mkdir()
    lines = [
        "Metadata-Version: 2.1",
        "Name: aexp-torch",
        "Version: 9.9",
        "Requires-Dist: torch>=2.0",
        'Requires-Dist: no-such-package>=1; extra == "one"',
        'Requires-Dist: numpy<1; extra == "two"',
        'Requires-Dist: rich; extra == "three"',
        'Requires-Dist: aexp-torch[one,three]; extra == "four"',
        *(f"Provides-Extra: {extra}" for extra in ("one", "two", "three", "four")),
    ]
    (info / "METADATA").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(str(tmp_path))
    said = said_by(capsys, "doctor")  # the core is complete: no error
    rows = {line.split()[0]: " ".join(line.split()[1:]) for line in said.splitlines() if line.strip()}
    assert rows["core"].startswith("complete torch") and rows["three"].startswith("complete rich")
    assert rows["one"] == rows["four"] == "missing no-such-package is missing"
    assert rows["two"] == f"missing numpy is {np.__version__}, expected <1"
    assert 'to complete: pip install "aexp-torch[one]"' in said
    (info / "METADATA").write_text("\n".join([*lines, "Requires-Dist: another-missing-package"]))
    captured = fails(capsys, "doctor")
    assert "another-missing-package is missing" in captured.out and "pip install aexp-torch\n" in captured.out


def test_doctor_names_broken_packages(capsys, tmp_path, monkeypatch):
    info = tmp_path / "sick-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: sick\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[aexp_torch.catalog]\nx = sick_package:ENTRIES\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.warns(UserWarning, match="sick"):
        captured = fails(capsys, "doctor")
    assert "broken package: sick: x raised ModuleNotFoundError" in captured.out


def test_doctor_imports_what_is_installed(capsys, tmp_path, monkeypatch):
    (tmp_path / "sick_provider.py").write_text("raise OSError('libsick.so is missing')")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.setattr(registry_module, "BUILT_IN", [])
    register(Entry("a", ("text",), "x:y", modules=("sick_provider",)), Entry("b", ("text",), "x:y", modules=("json",)))
    captured = fails(capsys, "doctor", "--imports")
    assert "import json: works" in captured.out
    assert "import sick_provider: fails, OSError: libsick.so is missing" in captured.out


# the command itself


def test_commands_start_without_lightning():
    code = "import sys\nfrom lightning_modules.__main__ import main\nmain(['list', '--names'])\n"
    code += "assert not [name for name in sys.modules if name.split('.')[0] in ('lightning', 'gymnasium', 'sklearn')]"
    environ = {**os.environ, "PYTHONPATH": ROOT}
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=environ)
    assert ended.returncode == 0, ended.stderr
    assert "digits" in ended.stdout.split()


def test_the_package_still_gives_the_datamodule():
    import lightning_modules
    from lightning_modules import ExperienceDataModule
    from lightning_modules.datamodule import ExperienceDataModule as same

    assert ExperienceDataModule is same and "ExperienceDataModule" in lightning_modules.__all__
    with pytest.raises(AttributeError, match="no attribute 'Experience'"):
        lightning_modules.Experience  # noqa: B018


def test_misspelt_commands(capsys):
    assert error_of(capsys, "showw") == "aexp: no such command 'showw'. Did you mean show?\n"
    assert "fit" in fails(capsys, "fat").err  # said by what trains


@pytest.mark.parametrize("command", COMMANDS)
def test_help(command, capsys):
    captured = fails(capsys, command, "--help", code=0)
    assert captured.out.startswith(f"usage: aexp {command}") and captured.err == ""


def test_a_reader_that_goes_away_is_no_error():
    command = f"{sys.executable} -m lightning_modules list | head -n 3"
    environ = {**os.environ, "PYTHONPATH": ROOT}
    ended = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, env=environ)
    assert ended.stdout.count("\n") == 3 and ended.stderr == ""


def test_interrupted():
    code = (
        "import time\nfrom aexp_torch.catalog import Entry, register\n"
        "def slow(name):\n    print('begun', flush=True)\n    time.sleep(60)\n"
        "register(Entry('slow', ('text',), slow))\n"
        "from lightning_modules.__main__ import main\nmain(['show', 'slow'])"
    )
    environ = {**os.environ, "PYTHONPATH": ROOT}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen([sys.executable, "-c", code], env=environ, **pipes)
    deadline = time.monotonic() + 60
    while process.stdout.readline() != "begun\n" and time.monotonic() < deadline:
        pass
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130 and said == "aexp: interrupted\n"


def test_tracebacks_on_request(monkeypatch, capsys):
    with pytest.raises(ae.SpecError, match="Did you mean 'digits'"):
        main(["show", "digit", "--traceback"])
    monkeypatch.setenv("AEXP_TRACEBACK", "1")
    with pytest.raises(ae.SpecError, match="did you mean 'image'"):
        main(["list", "--tags", "imge"])


def test_domains_are_told_in_the_help(capsys):
    said = fails(capsys, "list", "--help", code=0).out
    assert all(domain in said for domain in DOMAINS)
