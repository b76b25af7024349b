"""The catalogue: built-in entries, those of installed packages, those that are registered."""

import subprocess
import sys
import time

import pytest

import aexp_torch as ae
from aexp_torch.catalog import Entry, entries, find, register
from aexp_torch.catalog import registry as registry_module

PACKAGE = """
from aexp_torch.catalog import Entry
from aexp_torch.testing import CountingEnv

ONE = Entry("counted", ("sequence.counting",), lambda name: CountingEnv(2), about="a count", instruction="Count.")

def several():
    return [ONE, Entry("counted_too", ("sequence.counting",), "counting_package:counting")]

def counting(name):
    env = CountingEnv(3)
    env.name = name
    return env
"""


def install(folder, package, points, code):
    """Lays out a package as pip would install it."""
    (folder / f"{package}.py").write_text(code)
    info = folder / f"{package}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package.replace('_', '-')}\nVersion: 1.0\n")
    lines = "\n".join(f"{name} = {value}" for name, value in points.items())
    (info / "entry_points.txt").write_text(f"[aexp_torch.catalog]\n{lines}\n")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for module in ("counting_package", "broken_package", "leaving_package"):
        sys.modules.pop(module, None)


@pytest.mark.parametrize("value", ["counting_package:ONE", "counting_package:several"])
def test_an_installed_package_adds_entries(folder, value):
    install(folder, "counting_package", {"mine": value}, PACKAGE)
    env = find("counted").make()
    assert (
        env.tags == ("sequence.counting",) and env.instruction == "Count." and env.reset().step_type.tolist() == [0, 0]
    )
    if value.endswith("several"):
        assert find("counted_too").make().reset().ticket.source == "counted_too"


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import no_such_module_anywhere", "ModuleNotFoundError: No module named 'no_such_module_anywhere'"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("ENTRIES = [3]", "SpecError: expected entries (aexp_torch.catalog.Entry), got int"),
        ("ENTRIES = None", "TypeError: "),
        ("", "AttributeError: "),
    ],
)
def test_a_broken_package_is_left_out_and_named(folder, code, said):
    install(folder, "broken_package", {"theirs": "broken_package:ENTRIES"}, code)
    install(folder, "counting_package", {"mine": "counting_package:ONE"}, PACKAGE)
    with pytest.warns(UserWarning, match="entries of the package broken-package are left out") as warned:
        names = {entry.name for entry in entries()}
    assert said in str(warned[0].message) and "'theirs' (broken_package:ENTRIES)" in str(warned[0].message)
    assert {"counted", "digits", "CartPole-v1"} <= names
    assert list(registry_module.broken_packages()) == ["broken-package: theirs"]
    entries()  # says it once (a warning is an error here)


def test_registered_entries_replace_those_of_the_same_name(monkeypatch):
    monkeypatch.setattr(registry_module, "_ADDED", {})
    register(
        Entry("digits", ("image",), "aexp_torch.catalog:digits", {"split": "test"}), Entry("mine", ("text",), "a:b")
    )
    assert find("digits").arguments == {"split": "test"} and find("mine").tags == ("text",)
    names = [entry.name for entry in entries()]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("digit", "Did you mean 'digits'"),
        ("cartpole", "Did you mean 'CartPole-v1'"),
        ("pong", "Did you mean 'ALE/Pong-v5'"),
        ("CartPole-v2", "Did you mean 'CartPole-v1'"),
    ],
)
def test_misspelt_names(name, meant):
    with pytest.raises(ae.SpecError, match=f"expected one of .* names .*{meant}"):
        find(name)
    with pytest.raises(ae.SpecError, match="got 'qqqqqqqq'.$"):
        find("qqqqqqqq")


def test_entries_are_had_in_no_time():
    code = """if True:
        import time
        import aexp_torch.catalog as catalog
        began = time.perf_counter()
        found = catalog.entries()
        print(len(found), time.perf_counter() - began)
    """
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    number, seconds = ended.stdout.split()
    assert int(number) > 400 and float(seconds) < 0.5  # 0.02 on a quiet machine
    began = time.perf_counter()
    entries()
    assert time.perf_counter() - began < 0.1


def test_an_entry_tells_why_it_cannot_be_built():
    entry = Entry("x", ("text",), "nowhere:x", modules=("no_such_module", "json"), extra="atari")
    assert entry.why_not() == 'no_such_module is not installed: pip install "aexp-torch[atari]"'
    bare = Entry("x", ("text",), "nowhere:x", modules=("no_such_module",))
    assert bare.why_not() == "no_such_module is not installed: pip install no_such_module"
    remote = Entry("x", ("text",), "nowhere:x", download=True)
    assert remote.why_not() == "needs a download: download=True" and remote.why_not(download=True) is None
    fetched = Entry("x", ("text",), "nowhere:x", download=True, here=lambda: True)
    assert fetched.why_not() is None and find("digits").why_not() is None
