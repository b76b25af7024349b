"""Every dataset of a hub is read from a small copy in its hub's own format; nothing is fetched without permission."""

import importlib.util
import pickle
import re
import socket
from contextlib import closing

import numpy as np
import pytest

from aexp_torch import domains
from aexp_torch.catalog import find, matches
from aexp_torch.catalog.entry import in_bytes
from aexp_torch.catalog.hubs import ENTRIES, Features
from aexp_torch.errors import MissingDependencyError, SpecError
from aexp_torch.testing import validate
from tests.catalog.hub_files import NUM_ROWS, write, write_minari

pytestmark = pytest.mark.filterwarnings("ignore:.*(is set to None|env_spec is None|not been set):UserWarning:minari")
DATASETS = [entry for entry in ENTRIES if "features" in entry.arguments]
RECORDINGS = [entry for entry in ENTRIES if "hub:minari" in entry.tags]


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path):
    """Nobody may open a connection, and what is kept stays in the test's own folder."""

    def refuse(self, address):
        raise AssertionError(f"a connection to {address}")

    def local(self, address):
        return connect(self, address) if address[0] in ("127.0.0.1", "localhost") else refuse(self, address)

    connect = socket.socket.connect
    monkeypatch.setattr(socket.socket, "connect", local)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *arguments, **_: refuse(None, arguments))
    monkeypatch.setenv("AEXP_DATA", str(tmp_path / "cache"))


def assert_shows(timestep, features, rows):
    for index, row in enumerate(rows):
        for feature in features.all:
            came = timestep.observation[feature.key][index].numpy().astype(np.float64)
            slack = 12 if feature.kind == "video" else 0  # codecs lose something
            np.testing.assert_allclose(came, row[feature.key].astype(np.float64), atol=slack, err_msg=feature.key)


@pytest.mark.parametrize("entry", DATASETS, ids=lambda entry: entry.name)
def test_entry_reads_a_copy_and_resumes(entry, tmp_path):
    path, rows = write(entry, tmp_path / "copy")
    env = entry.make(path=path, batch_size=2, epochs=1)
    features = Features(entry.arguments["features"])
    first = next(iter(env))
    state = env.state_dict()
    second, third = env
    assert third.last().all() and len(rows) == NUM_ROWS
    for timestep, chosen in ((first, rows[:2]), (second, rows[2:4]), (third, rows[4:])):
        validate(timestep, env.specs[entry.name], entry.name)
        assert_shows(timestep, features, chosen)
    assert env.target in env.specs[entry.name].observation
    resumed = pickle.loads(pickle.dumps(env))  # a recipe: nothing that is open travels
    resumed.load_state_dict(state)
    again = list(resumed)
    assert [timestep.ticket.step for timestep in again] == [1, 2]
    assert_shows(again[0], features, rows[2:4])


@pytest.mark.every(9)
@pytest.mark.parametrize("entry", RECORDINGS, ids=lambda entry: entry.name)
def test_recording_shows_a_copy_and_resumes(entry, tmp_path):
    path, episodes = write_minari(entry, tmp_path / "minari")
    env = entry.make(path=path, on_missing="repeat")
    expected = [(kind, *step) for episode in episodes for kind, step in zip((0, 1, 2), episode, strict=True)]
    states = []
    for (kind, observation, action, reward), timestep in zip(expected, env):
        validate(timestep, env.specs[entry.name], entry.name)
        assert timestep.step_type.tolist() == [kind] and timestep.reward.tolist() == [reward]
        for key, value in observation.items():
            np.testing.assert_array_equal(timestep.observation[key][0], value)
        if kind != 2:
            np.testing.assert_array_equal(timestep.observation["action:recorded"][0], action)
        states.append(env.state_dict())
    resumed = pickle.loads(pickle.dumps(env))
    resumed.load_state_dict(states[2])
    for (_, observation, _, _), timestep in zip(expected[2:], resumed):
        for key, value in observation.items():
            np.testing.assert_array_equal(timestep.observation[key][0], value)


def test_no_entry_fetches_without_permission():
    for entry in ENTRIES:
        if entry.name == "vnc-calculator":  # which may be installed here
            continue
        reason = entry.why_not()
        assert reason is not None and "\n" not in reason, entry.name
        if not entry.download:  # a simulator
            assert re.search(r"(is|are) not installed: (Install .* as https://|pip install)", reason)
            continue
        assert reason.startswith("needs files" if entry.by_hand else "needs a download"), reason
        assert (entry.why_not(download=True) is None) == (not entry.by_hand)
        with pytest.raises(SpecError, match=rf"^{re.escape(entry.name)}: expected its data ") as refused:
            entry.make().reset()
        said = str(refused.value)
        assert "\n" not in said and (entry.by_hand or "Give download=True, or path= of a copy") in said
        assert entry.licence in said and (entry.size is None or in_bytes(entry.size) in said)


def test_entries_are_described():
    names = [entry.name for entry in ENTRIES]
    assert len(set(names)) == len(names) and len(names) > 250
    for entry in ENTRIES:
        assert entry.instruction.endswith(".") and entry.about and entry.source, entry.name
        assert any(":" not in tag for tag in entry.tags), entry.name
        if "features" in entry.arguments:
            features = Features(entry.arguments["features"])
            assert entry.arguments.get("target", features.all[-1].key) in features.specs()
    assert find("snli").instruction.startswith("Say whether")


@pytest.mark.parametrize(
    ("item", "some"),
    [
        (domains.text_commonsense, {"copa", "hellaswag", "piqa", "storycloze"}),
        ("domains.text.inference", {"anli-r1", "rte", "cb", "snli", "mnli", "qnli", "wnli"}),
        ("text/sentiment", {"imdb", "sentiment140", "sst2", "yelp-polarity"}),
        ("domains.image", {"mnist", "coco", "imagenet", "vqa-v2", "flickr30k"}),
        ("video", {"clevrer", "something-something-v2"}),
        ("audio.speech", {"speech-commands", "librispeech"}),
        ("offline", {"minari-d4rl-door-human-v2"}),
        ("language:de", {"xnli-de", "wmt14-de-en"}),
        ("hub:tfds", {"anli-r1-tfds", "clevr"}),
        ("split:dev_r1", {"anli-r1"}),
        ("control.locomotion", {"Isaac-Velocity-Flat-Anymal-C-v0"}),
    ],
)
def test_tags(item, some):
    found = {entry.name for entry in ENTRIES if matches(item, entry)}
    assert some <= found < {entry.name for entry in ENTRIES}


def test_permission_is_passed_on():
    assert find("snli").make(download=True).data._arguments["copy"].download
    assert not find("snli").make(download=False).data._arguments["copy"].download
    assert find("digits").make(download=True).name == "digits"  # which needs none


def test_simulators_that_are_not_there(monkeypatch):
    monkeypatch.setenv("PATH", "")
    reason = find("vnc-calculator").why_not()
    assert reason.startswith("Xvnc, xcalc are not installed: Install TigerVNC's server")
    with pytest.raises(
        MissingDependencyError, match="expected the package omnigibson.*as https://behavior.stanford.edu"
    ):
        find("behavior-setting_mousetraps").make().reset()
    if importlib.util.find_spec("aexp_torch.sources.torch_env"):
        with pytest.raises(
            MissingDependencyError, match="expected the package isaaclab.*as https://isaac-sim.github.io"
        ):
            find("Isaac-Velocity-Flat-Anymal-C-v0").make().reset()
    if importlib.util.find_spec("aexp_torch.sources.starcraft"):
        assert find("starcraft2-MoveToBeacon").make().name == "starcraft2-MoveToBeacon"


def test_a_calculator_on_a_desktop():
    entry = find("vnc-calculator")
    if entry.why_not() is not None:
        pytest.skip(entry.why_not())
    with closing(entry.make(on_missing="sample")) as env:
        for timestep, _ in zip(env, range(300), strict=False):  # the window takes a moment to come
            screen = timestep.observation["screen"]
            if len(screen.unique()) > 1:
                break
        assert screen.shape == (1, 396, 228, 3) and len(screen.unique()) > 1
