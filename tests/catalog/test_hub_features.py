"""What rows hold: feature strings, values, pictures, sounds and videos; and streams of hubs under conformance."""

from contextlib import closing

import numpy as np
import pytest
import torch
from PIL import Image

import aexp_torch as ae
from aexp_torch.catalog.hubs import ENTRIES, Features, from_files, from_tfds, from_torchvision
from aexp_torch.catalog.hubs.media import read_audio, read_image, read_video
from aexp_torch.errors import SpecError
from aexp_torch.specs import Modality
from aexp_torch.testing import check_env
from tests.catalog.hub_files import movie, png, wav, write, write_minari
from tests.catalog.torch_operators import can_import_torchvision

BY_NAME = {entry.name: entry for entry in ENTRIES}


@pytest.fixture(autouse=True)
def place(monkeypatch, tmp_path):
    monkeypatch.setenv("AEXP_DATA", str(tmp_path / "cache"))


def test_a_feature_string():
    features = Features("text:instruction=a.b.0:text(8) label:class(no|yes)? n:number box:matrix(2,4)")
    keys = [(feature.key, feature.path, feature.kind, feature.partial) for feature in features.all]
    assert keys[0] == ("text:instruction", ("a", "b", "0"), "text", False) and keys[1][3]
    assert features.columns == ("a", "label", "n", "box")
    row = features.read({"a": {"b": ["hi"]}, "label": "yes", "n": 2, "box": [[1, 2, 3, 4]]})
    assert bytes(row["text:instruction"]) == b"hi" + b"\0" * 6 and row["label"] == 1 and row["n"].dtype == np.float32
    assert row["box"].tolist() == [[1, 2, 3, 4], [0, 0, 0, 0]]
    assert features.read({"a": {"b": []}, "label": "no", "n": "2.5", "box": []})["text:instruction"].tolist() == [0] * 8
    specs = features.specs()
    assert specs["label"].num_values == 2 and specs["text:instruction"].shape == (8,)
    assert features.modalities("text:en")["text:instruction"] == Modality("sequence", "categorical", "text:en")


def test_words_and_bare_text():
    features = Features("input=text:bare(16) text:text(16) answer:class(A/1|B/2)")
    row = features.read({"text": "Well, it's so!", "answer": 2})
    assert bytes(row["input"]).rstrip(b"\0") == b"well its so" and bytes(row["text"]).startswith(b"Well, it's so!")
    assert row["answer"] == 1 == features.read({"text": None, "answer": "B"})["answer"]
    assert features.specs()["answer"].num_values == 2


@pytest.mark.parametrize("text", ["x", "x:words", "x:text(3", "x:text?", ":text", "x=:text"])
def test_a_feature_string_that_is_none(text):
    with pytest.raises(SpecError, match="Features: expected"):
        Features(text).specs()


@pytest.mark.parametrize(
    ("text", "row", "expected"),
    [
        ("x:text", {"y": "a"}, r"expected a column 'x', got \['y'\]"),
        ("x:class(3)", {"x": 3}, "expected 'x' as class, got int '3' .expected one of 0 to 2"),
        ("x:class(a|b)", {"x": "c"}, r"expected one of \['a', 'b'\]"),
        ("x:number", {"x": "?"}, "expected 'x' as number, got str"),
        ("x:numbers(2)", {"x": [1, 2, 3]}, "expected 2 numbers"),
        ("x:image", {"x": np.zeros((2, 2, 3))}, "expected uint8, got float64"),
        ("x:image", {"x": 3}, "expected an image"),
    ],
)
def test_a_row_that_does_not_fit(text, row, expected):
    with pytest.raises(SpecError, match=expected):
        Features(text).read(row)


def test_rows_without_label_are_left_out_and_bad_ones_masked(tmp_path):
    from aexp_torch.catalog.hubs import from_csv

    (tmp_path / "t.csv").write_text("1,0\n2,-1\n3,1\nx,0\n5,0\n")
    reading = {"columns": "x y", "members": {"train": "t.csv"}, "path": tmp_path, "batch_size": 4, "epochs": 1}
    env = from_csv("http://nowhere/t.csv", "x:number y:class(2)?", on_bad_sample="skip", **reading)
    with pytest.warns(UserWarning, match="It is left out"):
        timestep = env.reset()
    assert timestep.observation["x"].tolist() == [1, 3, 0, 5]
    assert timestep.observation["mask:x"].tolist() == [True, True, False, True]


def test_pictures():
    image = np.random.default_rng(0).integers(0, 255, (6, 4, 3), np.uint8)
    for given in (image, png(image), {"bytes": png(image), "path": None}, Image.fromarray(image), torch.tensor(image)):
        np.testing.assert_array_equal(read_image(given, 6, 4), image)
    assert read_image(image, 3, 2).shape == (3, 2, 3) and read_image(image, 6, 4, 1).shape == (6, 4, 1)
    grey = Image.fromarray(image[..., 0])
    assert (read_image(grey, 6, 4) == image[..., :1]).all()
    even = read_image(np.full((6, 4, 3), 7, np.uint8), 12, 9)
    assert even.shape == (12, 9, 3) and (even == 7).all()


def test_sounds(tmp_path):
    tone = np.sin(np.arange(8000) / 8000 * 2 * np.pi * 50).astype(np.float32) / 2
    same = read_audio(wav(tone, 8000), 8000, 8000)
    assert same.shape == (8000, 1) and np.abs(same[:, 0] - tone).max() < 1e-4
    half = read_audio({"array": tone, "sampling_rate": 8000}, 4000, 4000)
    assert np.abs(half[100:-100, 0] - tone[200:-200:2]).max() < 0.01
    double = read_audio({"array": tone, "sampling_rate": 8000}, 1000, 16000)  # cut before it is resampled
    assert np.abs(double[100:900:2, 0] - tone[50:450]).max() < 0.01
    stereo = read_audio({"array": np.stack([tone, -tone], 1), "sampling_rate": 8000}, 9000, 8000)
    assert stereo.shape == (9000, 1) and (stereo == 0).all()
    (tmp_path / "a.wav").write_bytes(wav(tone, 8000))
    assert (read_audio(tmp_path / "a.wav", 8000, 8000) == same).all()


def test_videos(tmp_path):
    frames = np.stack([np.full((16, 16, 3), 10 * index, np.uint8) for index in range(9)])
    assert read_video(frames, 3, 16, 16)[:, 0, 0, 0].tolist() == [0, 40, 80]
    assert read_video(frames[..., 0], 9, 8, 8).shape == (9, 8, 8, 3)
    assert read_video(frames[:2], 4, 16, 16)[:, 0, 0, 0].tolist() == [0, 0, 10, 10]
    for suffix in (".avi", ".mp4", ".webm"):
        file = movie(frames, tmp_path / f"v{suffix}")
        for given in (file, file.read_bytes()):
            came = read_video(given, 3, 16, 16)[:, 8, 8, 0].astype(int)
            assert np.abs(came - [0, 40, 80]).max() <= 12, suffix
    (tmp_path / "no.mp4").write_bytes(b"no video")
    with pytest.raises(Exception, match="Invalid data"):
        read_video(tmp_path / "no.mp4", 3, 16, 16)


def test_files_that_would_be_unpickled_are_refused():
    for dataset in ("CIFAR10", "LSUN"):
        with pytest.raises(SpecError, match="without pickled files"):
            from_torchvision(dataset, "image=x:image label=y:class(10)", splits={"train": {}})


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_torchvision_reads_folders(tmp_path):
    if not can_import_torchvision():
        pytest.skip("torchvision is not installed")
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "0.png").write_bytes(png(np.full((8, 8, 3), ord(name), np.uint8)))
    given = {"splits": {"train": {}}, "batch_size": 2, "epochs": 1}
    env = from_torchvision("ImageFolder", "image=x:image(8,8,3) label=y:class(2)", path=tmp_path, **given)
    timestep = env.reset()
    assert timestep.observation["label"].tolist() == [0, 1] and (timestep.observation["image"][1] == ord("b")).all()
    env = from_torchvision("EuroSAT", "image=x:image(8,8,3) label=y:class(2)", path=tmp_path, **given)
    with pytest.raises(SpecError, match="EuroSAT: expected the files of EuroSAT in .*Dataset not found"):
        env.reset()
    env = from_torchvision("EuroSAT", "image=x:image(8,8,3) label=y:class(2)", **given)
    with pytest.raises(SpecError, match="Give download=True"):
        env.reset()


def test_splits_are_named():
    with pytest.raises(SpecError, match=r"esc50: expected split to be one of \['train', 'test'\], got 'dev'"):
        from_files("esc50", "target:class(50)", split="dev")
    with pytest.raises(SpecError, match=r"stl10: expected split to be one of \['train', 'test'\], got 'all'"):
        BY_NAME["stl10"].make(split="all")


def test_what_tfds_cannot_prepare():
    env = from_tfds("no_such_dataset", "text:text", download=True)
    with pytest.raises(SpecError, match="got OSError: .*DatasetNotFoundError: "):
        env.reset()


ONE_OF_EACH = ["rte", "anli-r1-tfds", "adult", "mnist-deeplake", "esc50", "conceptual-captions"]


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_conformance(name, tmp_path):
    path, _ = write(BY_NAME[name], tmp_path / "copy")
    check_env(
        lambda: BY_NAME[name].make(path=path, batch_size=2, epochs=2, shuffle=name != "conceptual-captions"),
        random=name != "conceptual-captions",
    )


@pytest.mark.filterwarnings("ignore:.*(is set to None|env_spec is None|not been set):UserWarning:minari")
def test_conformance_of_recordings(tmp_path):
    path, _ = write_minari(BY_NAME["minari-d4rl-pointmaze-umaze-v2"], tmp_path / "minari")
    check_env(lambda: BY_NAME["minari-d4rl-pointmaze-umaze-v2"].make(path=path))


def test_a_prediction_task(tmp_path):
    path, rows = write(BY_NAME["rte"], tmp_path / "copy")
    env = BY_NAME["rte"].make(path=path, batch_size=5, epochs=1, mode="delayed", loss="correct")
    timestep = env.reset()
    assert timestep.observation["label"] is None and env.action_spec()["predict:label"].num_values == 2
    timestep = env.step(torch.tensor([row["label"] for row in rows]))
    assert timestep.last().all() and timestep.reward.tolist() == [1.0] * 5


@pytest.mark.parametrize("name", ["rte", pytest.param("anli-r1-tfds", marks=pytest.mark.slow), "mnist-deeplake"])
def test_workers_read_what_one_process_reads(name, tmp_path):
    path, _ = write(BY_NAME[name], tmp_path / "copy")
    env = BY_NAME[name].make(path=path, batch_size=1)
    env.reset()  # files that are open here are opened anew there
    key = env.target
    # This process has written the copy: after array_record has written, a forked process cannot read.
    context = "spawn" if "tfds" in name else "fork"

    def shown(num_workers):
        with closing(
            ae.Loader(env, num_workers=num_workers, in_flight=2, steps_per_epoch=8, seed=1, context=context)
        ) as loader:
            return [timestep.observation[key].tolist() for timestep in loader]

    assert shown(2) == shown(0)
