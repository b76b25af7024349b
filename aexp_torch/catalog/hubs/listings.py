"""How authors list their files: each function finds the rows of a split in a folder, wherever below it they are.

A function takes the folder and the split, and returns rows: mappings whose files are paths.
To add one: a function here, and an entry in a table that names it.
"""

import csv
import gzip
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

__all__ = [
    "class_folders",
    "clevr_count",
    "clevrer",
    "common_voice",
    "dtd",
    "emnist",
    "esc50",
    "eurosat",
    "fgvc_aircraft",
    "fsd50k",
    "idx",
    "kinetics",
    "librispeech",
    "moving_mnist",
    "nsynth",
    "omniglot",
    "oxford_flowers",
    "oxford_pets",
    "places365",
    "something_something",
    "speech_commands",
    "stl10",
    "svhn",
    "ucf101",
]

MEDIA = (".wav", ".flac", ".ogg", ".mp3", ".avi", ".mp4", ".webm", ".mkv", ".jpg", ".jpeg", ".png", ".ppm")
Rows = Sequence[Mapping[str, Any]]


def _find(folder: Path, pattern: str) -> Path:
    """Returns the first file or folder of a pattern below a folder."""
    found = next(iter(sorted(folder.rglob(pattern))), None)
    if found is None:
        raise FileNotFoundError(f"nothing is there like {pattern}")
    return found


def _table(file: Path, delimiter: str = ",") -> list[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines, delimiter=delimiter, quoting=csv.QUOTE_MINIMAL))


def _lines(file: Path) -> list[str]:
    return [line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]


def class_folders(folder: Path, split: str) -> Rows:
    """Lists `split/class/file`: rows with `file`, `class` (the name) and `label` (its place in the alphabet)."""
    return _classes(folder / split if (folder / split).is_dir() else _find(folder, split))


def _classes(root: Path) -> Rows:
    names = sorted(item.name for item in root.iterdir() if item.is_dir())
    files = [file for name in names for file in sorted((root / name).iterdir()) if file.suffix.lower() in MEDIA]
    return [{"file": file, "class": file.parent.name, "label": names.index(file.parent.name)} for file in files]


def esc50(folder: Path, split: str) -> Rows:
    """Lists ESC-50: `audio`, `target`, `category`; fold 5 is the test split."""
    table = _find(folder, "esc50.csv")
    audio = table.parent.parent / "audio"
    rows = [row for row in _table(table) if (row["fold"] == "5") == (split == "test")]
    return [{"audio": audio / row["filename"], "target": row["target"], "category": row["category"]} for row in rows]


def fsd50k(folder: Path, split: str) -> Rows:
    """Lists FSD50K: `audio`, `labels` (names), `mids`, `classes` (places in the vocabulary)."""
    truth = _find(folder, "vocabulary.csv").parent
    names = [line.split(",")[1] for line in _lines(truth / "vocabulary.csv")]
    part = "eval" if split == "test" else "dev"
    rows = _table(truth / f"{part}.csv")
    if part == "dev":
        rows = [row for row in rows if row["split"] == ("val" if split == "validation" else "train")]
    audio = _find(folder, f"FSD50K.{part}_audio")
    return [
        {
            "audio": audio / f"{row['fname']}.wav",
            "labels": row["labels"].split(","),
            "classes": [names.index(label) for label in row["labels"].split(",")],
        }
        for row in rows
    ]


def idx(folder: Path, split: str) -> Rows:
    """Lists MNIST and what is laid out like it: `image` uint8 [28, 28], `label`; files may be gzipped."""
    part = "t10k" if split == "test" else "train"
    images, labels = (_idx(_find(folder, f"{part}-{kind}-ubyte*")) for kind in ("images-idx3", "labels-idx1"))
    return [{"image": image, "label": label} for image, label in zip(images, labels, strict=True)]


def emnist(folder: Path, split: str) -> Rows:
    """Lists the letters of EMNIST: `image` uint8 [28, 28], upright, `label` 1 to 26."""
    name = f"emnist-letters-{split}"
    images, labels = (_idx(_find(folder, f"{name}-{kind}-ubyte*")) for kind in ("images-idx3", "labels-idx1"))
    return [{"image": image.T, "label": label} for image, label in zip(images, labels, strict=True)]


def _idx(file: Path) -> np.ndarray:
    """Returns the array of an IDX file of bytes: two zeros, the type 8, the rank, the sizes, the values."""
    content = file.read_bytes()
    content = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    if content[:3] != b"\0\0\x08":
        raise FileNotFoundError(f"{file} is no IDX file of bytes")
    sizes = np.frombuffer(content, ">u4", count=content[3], offset=4).astype(int)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * content[3]).reshape(sizes)


def speech_commands(folder: Path, split: str) -> Rows:
    """Lists Speech Commands: `audio`, `word`; what two lists do not name is for training."""
    root = _find(folder, "testing_list.txt").parent
    listed = {part: set(_lines(root / f"{name}_list.txt")) for part, name in _SPEECH_LISTS.items()}
    if split != "train":
        names = sorted(listed[split])
    else:
        every = (
            file.relative_to(root).as_posix() for file in root.glob("*/*.wav") if not file.parent.name.startswith("_")
        )
        names = sorted(set(every) - listed["validation"] - listed["test"])
    return [{"audio": root / name, "word": name.partition("/")[0]} for name in names]


_SPEECH_LISTS = {"validation": "validation", "test": "testing"}


def librispeech(folder: Path, split: str) -> Rows:
    """Lists LibriSpeech: `audio`, `text`, `speaker`."""
    root = _find(folder, split)
    rows = []
    for transcript in sorted(root.rglob("*.trans.txt")):
        for line in _lines(transcript):
            name, _, text = line.partition(" ")
            rows.append({"audio": transcript.parent / f"{name}.flac", "text": text, "speaker": name.partition("-")[0]})
    return rows


def nsynth(folder: Path, split: str) -> Rows:
    """Lists NSynth: `audio` and what `examples.json` says of each note."""
    listing = _find(folder, f"nsynth-{split}/examples.json")
    notes = json.loads(listing.read_text())
    return [{"audio": listing.parent / "audio" / f"{name}.wav", **notes[name]} for name in sorted(notes)]


def common_voice(folder: Path, split: str) -> Rows:
    """Lists Common Voice: `audio`, `sentence` and the other columns of `<split>.tsv`."""
    table = _find(folder, f"{split}.tsv")
    return [{**row, "audio": table.parent / "clips" / row["path"]} for row in _table(table, "\t")]


def clevrer(folder: Path, split: str) -> Rows:
    """Lists CLEVRER: a row for each question: `video`, `question`, `answer`, `question_type`, `choices` (texts).

    A question with choices has the answers of its choices, `correct` or `wrong`, as `answers`; the descriptive ones,
    `answer` alone.
    """
    listing = _find(folder, f"{split}.json")
    videos = {file.name: file for file in folder.rglob("video_*.mp4")}
    rows = []
    for scene in json.loads(listing.read_text()):
        name = scene["video_filename"]
        if name not in videos:
            raise FileNotFoundError(f"{name} is missing")
        for question in scene["questions"]:
            choices = question.get("choices", [])
            rows.append(
                {
                    "video": videos[name],
                    "question": question["question"],
                    "question_type": question["question_type"],
                    "answer": question.get("answer", ""),
                    "choices": [choice["choice"] for choice in choices],
                    "correct": [index for index, choice in enumerate(choices) if choice.get("answer") == "correct"],
                }
            )
    return rows


def something_something(folder: Path, split: str) -> Rows:
    """Lists Something-Something v2: `video`, `label` (the caption), `template`, `class` (the template's number)."""
    names = {key.replace("[", "").replace("]", ""): value for key, value in _json(folder, "labels.json").items()}
    videos = _find(folder, "20bn-something-something-v2")
    rows = _json(folder, f"{split}.json")
    return [
        {
            "video": videos / f"{row['id']}.webm",
            "label": row["label"],
            "template": row["template"],
            "class": int(names[row["template"].replace("[", "").replace("]", "")]),
        }
        for row in rows
    ]


def _json(folder: Path, name: str) -> Any:
    return json.loads(_find(folder, name).read_text())


def kinetics(folder: Path, split: str) -> Rows:
    """Lists Kinetics: `video`, `label` (the name), `class` (its place in the alphabet), from `<split>.csv`."""
    rows = _table(_find(folder, f"{split}.csv"))
    names = sorted({row["label"] for row in rows})
    videos = {file.stem: file for file in folder.rglob("*.mp4")}
    found = [
        (row, videos.get(f"{row['youtube_id']}_{int(row['time_start']):06d}_{int(row['time_end']):06d}"))
        for row in rows
    ]
    return [
        {"video": file, "label": row["label"], "class": names.index(row["label"])}
        for row, file in found
        if file is not None
    ]


def ucf101(folder: Path, split: str) -> Rows:
    """Lists UCF101, its first division: `video`, `label` (the name), `class` (0 to 100)."""
    numbers = {
        name: int(number) - 1 for number, name in (line.split() for line in _lines(_find(folder, "classInd.txt")))
    }
    names = [line.split()[0] for line in _lines(_find(folder, f"{split}list01.txt"))]
    videos = {file.name: file for file in folder.rglob("v_*.avi")}
    rows = []
    for name in names:
        action, _, file = name.rpartition("/")
        if file not in videos:
            raise FileNotFoundError(f"{file} is missing")
        rows.append({"video": videos[file], "label": action, "class": numbers[action]})
    return rows


def omniglot(folder: Path, split: str) -> Rows:
    """Lists Omniglot: `image`, `alphabet`, `character` (a number among all of the split)."""
    root = _find(folder, "images_evaluation" if split == "test" else "images_background")
    characters = sorted(item for item in root.rglob("character*") if item.is_dir())
    return [
        {"image": file, "alphabet": character.parent.name, "character": number}
        for number, character in enumerate(characters)
        for file in sorted(character.glob("*.png"))
    ]


def moving_mnist(folder: Path, split: str) -> Rows:
    """Lists Moving MNIST: `video` uint8 [20, 64, 64]; the last tenth is the test split."""
    file = folder if folder.is_file() else _find(folder, "mnist_test_seq.npy")
    videos = np.load(file, mmap_mode="r", allow_pickle=False)  # [20, N, 64, 64]
    border = videos.shape[1] * 9 // 10
    chosen = range(border) if split == "train" else range(border, videos.shape[1])
    return [{"video": videos[:, index]} for index in chosen]


def svhn(folder: Path, split: str) -> Rows:
    """Lists SVHN: `image` uint8 [32, 32, 3], `label` (its 10 is the digit 0)."""
    from scipy.io import loadmat

    data = loadmat(_find(folder, f"{split}_32x32.mat"))
    return [{"image": data["X"][..., index], "label": label % 10} for index, label in enumerate(data["y"][:, 0])]


def stl10(folder: Path, split: str) -> Rows:
    """Lists STL-10: `image` uint8 [96, 96, 3], `label` (0 to 9)."""
    images = np.memmap(_find(folder, f"{split}_X.bin"), np.uint8, "r").reshape(-1, 3, 96, 96)  # [N, C, W, H]
    labels = np.fromfile(_find(folder, f"{split}_y.bin"), np.uint8)
    return [
        {"image": image.transpose(2, 1, 0), "label": label - 1} for image, label in zip(images, labels, strict=True)
    ]


def oxford_pets(folder: Path, split: str) -> Rows:
    """Lists the Oxford-IIIT pets: `image`, `label` (0 to 36); the split train is its own `trainval`."""
    listed = [line.split() for line in _lines(_find(folder, f"{'trainval' if split == 'train' else split}.txt"))]
    images = {file.stem: file for file in folder.rglob("*.jpg")}
    return [{"image": images[name], "label": int(label) - 1} for name, label, *_ in listed]


def oxford_flowers(folder: Path, split: str) -> Rows:
    """Lists the Oxford flowers: `image`, `label` (0 to 101)."""
    from scipy.io import loadmat

    key = {"train": "trnid", "validation": "valid", "test": "tstid"}[split]
    numbers, labels = (
        loadmat(_find(folder, "setid.mat"))[key][0],
        loadmat(_find(folder, "imagelabels.mat"))["labels"][0],
    )
    images = _find(folder, "image_*.jpg").parent
    return [{"image": images / f"image_{number:05d}.jpg", "label": int(labels[number - 1]) - 1} for number in numbers]


def dtd(folder: Path, split: str) -> Rows:
    """Lists the first division of DTD: `image`, `label` (the place of its texture in the alphabet)."""
    names = _lines(_find(folder, f"{'val' if split == 'validation' else split}1.txt"))
    images = _find(folder, "images")
    textures = sorted(item.name for item in images.iterdir() if item.is_dir())
    return [{"image": images / name, "label": textures.index(name.partition("/")[0])} for name in names]


def fgvc_aircraft(folder: Path, split: str) -> Rows:
    """Lists FGVC aircraft: `image`, `variant`, `label` (0 to 99)."""
    data = _find(folder, "variants.txt").parent
    variants = _lines(data / "variants.txt")
    listed = [line.partition(" ") for line in _lines(data / f"images_variant_{split}.txt")]
    return [
        {"image": data / "images" / f"{name}.jpg", "variant": variant, "label": variants.index(variant)}
        for name, _, variant in listed
    ]


def eurosat(folder: Path, split: str) -> Rows:
    """Lists EuroSAT, which has one split: `image`, `label` (the place of its class in the alphabet)."""
    root = _find(folder, "AnnualCrop").parent
    return [{"image": row["file"], "label": row["label"]} for row in _classes(root)]


def places365(folder: Path, split: str) -> Rows:
    """Lists Places365: `image`, `label` (0 to 364)."""
    name, images = ("train_standard", "data_256") if split == "train" else ("val", "val_256")
    listed = [line.split() for line in _lines(_find(folder, f"places365_{name}.txt"))]
    root = _find(folder, images)
    root = root / images if (root / images).is_dir() else root
    return [{"image": root / file.lstrip("/"), "label": int(label)} for file, label in listed]


def clevr_count(folder: Path, split: str) -> Rows:
    """Lists CLEVR: `image`, `label`: how many things there are."""
    root = _find(folder, f"CLEVR_{split}_scenes.json").parent.parent
    scenes = json.loads((root / "scenes" / f"CLEVR_{split}_scenes.json").read_text())["scenes"]
    images = root / "images" / split
    return [{"image": images / scene["image_filename"], "label": len(scene["objects"])} for scene in scenes]
