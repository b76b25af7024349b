"""Small files in the format of each hub, written from what an entry says its rows hold."""

import csv
import gzip
import io
import json
import struct
import tarfile
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from aexp_torch.catalog import Entry
from aexp_torch.catalog.hubs import Features

__all__ = ["NUM_ROWS", "expected_row", "raw_rows", "write", "write_minari"]

NUM_ROWS = 5
RATE = 16000


def raw_rows(features: Features, num_rows: int = NUM_ROWS) -> list[dict]:
    """Returns `{key: value}` for each row, as people would write it."""
    rng = np.random.default_rng(0)
    rows = []
    for index in range(num_rows):
        values: dict = {}  # by path: several features may read one column
        rows.append({f.key: values.setdefault(f.path, _raw(f, index, rng)) for f in features.all})
    return rows


def _raw(feature, index: int, rng) -> object:
    kind, sizes = feature.kind, feature.sizes if feature.kind not in ("class", "classes") else ()
    match kind:
        case "text" | "bare":
            return f"ä {feature.key} {index}"[: sizes[0] // 2].strip()
        case "texts":
            return [f"{feature.key[:1]}{index}{number}"[: sizes[1]] for number in range(max(1, sizes[0] - index % 2))]
        case "class":
            return (
                feature.names[index % len(feature.names)].partition("/")[0]
                if feature.names
                else index % feature.num_classes
            )
        case "classes":
            return sorted({index % feature.num_classes, (index + 1) % feature.num_classes})
        case "number":
            return float(index) + 0.5
        case "numbers":
            return [float(index * 2 + number % 7) for number in range(sizes[0])]
        case "matrix":
            return [[float(index), 1.0, 2.0, 3.5][: sizes[1]] for _ in range(index + 1)]
        case "tokens":
            return list(range(1, index + 2))
        case "image":
            return rng.integers(0, 255, sizes, np.uint8)
        case "audio":
            return (rng.integers(-3000, 3000, min(sizes[0], 400)) / 32768).astype(np.float32)
        case "video":
            return np.stack([np.full((*sizes[1:], 3), 20 + 8 * frame + index, np.uint8) for frame in range(sizes[0])])
    raise AssertionError(kind)


def expected_row(features: Features, raw: dict) -> dict[str, np.ndarray]:
    """Returns what a row has to become."""
    return {feature.key: _expected(feature, raw[feature.key]) for feature in features.all}


def _expected(feature, value) -> np.ndarray:
    match feature.kind:
        case "bare":
            return np.frombuffer(value.lower().replace("-", "").encode().ljust(feature.sizes[0], b"\0"), np.uint8)
        case "text":
            return np.frombuffer(value.encode().ljust(feature.sizes[0], b"\0"), np.uint8)
        case "texts":
            count, length = feature.sizes
            lines = [text.encode().ljust(length, b"\0") for text in value] + [b"\0" * length] * (count - len(value))
            return np.frombuffer(b"".join(lines), np.uint8).reshape(count, length)
        case "class":
            return np.int64([name.partition("/")[0] for name in feature.names].index(value) if feature.names else value)
        case "classes":
            return np.isin(np.arange(feature.num_classes), value)
        case "matrix" | "tokens":
            array = np.asarray(value)
            result = np.zeros(feature.sizes, np.float32 if feature.kind == "matrix" else np.int64)
            result[: len(array)] = array
            return result
        case "audio":
            result = np.zeros((feature.sizes[0], 1), np.float32)
            result[: len(value), 0] = value
            return result
        case "image" | "video":
            return value
    return np.asarray(value, np.float32)


def png(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(file, "PNG")
    return file.getvalue()


def wav(samples: np.ndarray, rate: int = RATE, kind: str = "WAV") -> bytes:
    import soundfile

    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=kind, subtype="PCM_16")
    return file.getvalue()


def movie(frames: np.ndarray, file: Path) -> Path:
    """Writes a video without loss where its container can; else so that even colours come back within a few steps."""
    import av

    file.parent.mkdir(parents=True, exist_ok=True)
    codec = {".webm": "libvpx-vp9", ".mp4": "libx264", ".avi": "ffv1"}[file.suffix]
    with av.open(str(file), "w") as container:
        stream = container.add_stream(codec, rate=10)
        stream.width, stream.height = frames.shape[2], frames.shape[1]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return file


def write(entry: Entry, folder: Path) -> tuple[Path, list[dict]]:
    """Writes a small dataset; returns what to give as `path=`, and the rows that have to come out of it."""
    features = Features(entry.arguments["features"])
    hub = next(tag.partition(":")[2] for tag in entry.tags if tag.startswith("hub:"))
    folder.mkdir(parents=True, exist_ok=True)
    path, rows = _WRITERS[hub](entry, features, raw_rows(features), folder)
    return path, [expected_row(features, row) for row in rows]


def _split(entry: Entry) -> str:
    return entry.arguments.get("split", "train")


def _encoded(feature, value) -> object:
    """Returns a value as Parquet files and TFDS take it."""
    if feature.kind == "image":
        return png(value)
    if feature.kind == "audio":
        return wav(value, feature.sizes[1])
    if feature.kind == "class" and feature.names:
        words = {"True": True, "False": False}
        return words.get(value, int(value) if all(name.isdigit() for name in feature.names) else value)
    return value


def _nested(pairs: list[tuple[tuple[str, ...], object]]) -> dict:
    """Returns a row of columns, which may be nested: `answers.text.0`."""
    row: dict = {}
    for path, value in pairs:
        here = row
        for part, following in zip(path, [*path[1:], None]):
            if following is None:
                inner = value
            else:
                inner = [None] if following.isdigit() else {}
            if isinstance(here, list):
                here[int(part)] = inner if here[int(part)] is None else here[int(part)]
                here = here[int(part)]
            else:
                here = here.setdefault(part, inner)
    return row


# --- Hugging Face: Parquet files with the hub's metadata


def _huggingface(entry: Entry, features: Features, rows: list[dict], folder: Path):
    import datasets

    lines = []
    for row in rows:
        values = [(feature.path, _encoded(feature, row[feature.key])) for feature in features.all]
        media = [feature.path for feature in features.all if feature.kind in ("image", "audio")]
        lines.append(_nested([(path, {"bytes": v, "path": None} if path in media else v) for path, v in values]))
    if features.partial:  # a row without label is left out
        without = {
            feature.path: "" if feature.names and isinstance(row_value(lines[0], feature), str) else -1
            for feature in features.partial
        }
        lines.insert(2, _nested([(f.path, without.get(f.path, row_value(lines[2], f))) for f in features.all]))
    table = datasets.Dataset.from_list(lines)
    for feature in features.all:
        if len(feature.path) == 1 and feature.kind == "image":
            table = table.cast_column(feature.path[0], datasets.Image(decode=False))
        if len(feature.path) == 1 and feature.kind == "class" and not feature.names:
            table = table.cast_column(feature.path[0], datasets.ClassLabel(num_classes=feature.num_classes))
    name = f"{entry.arguments.get('config', 'default')}/{_split(entry)}/0000.parquet"
    (folder / name).parent.mkdir(parents=True)
    table.to_parquet(str(folder / name))
    return folder, rows


def row_value(row: dict, feature) -> object:
    return feature.find(row)


# --- TFDS: a prepared folder of array_record files


def _tfds(entry: Entry, features: Features, rows: list[dict], folder: Path):
    import tensorflow_datasets as tfds

    from tests.catalog.tfds_rows import Rows

    kinds = _nested([(feature.path, _tfds_feature(feature, tfds)) for feature in features.all])
    examples = [_nested([(f.path, _encoded(f, row[f.key])) for f in features.all]) for row in rows]
    for example in examples:
        for column, value in example.items():
            if isinstance(value, bytes):
                example[column] = io.BytesIO(value)
    version = folder / entry.arguments["dataset"] / "1.0.0"
    given = {column: tfds.features.Sequence(kind) if isinstance(kind, dict) else kind for column, kind in kinds.items()}
    builder = Rows(
        given=given, examples=examples, split=_split(entry), data_dir=str(folder / "made"), file_format="array_record"
    )
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(try_download_gcs=False))
    version.parent.mkdir(parents=True)
    Path(builder.data_path).rename(version)
    return folder, rows


def _tfds_feature(feature, tfds) -> object:
    match feature.kind:
        case "text":
            return tfds.features.Text()
        case "texts":
            return tfds.features.Text() if len(feature.path) > 1 else tfds.features.Sequence(tfds.features.Text())
        case "image":
            return tfds.features.Image(shape=(None, None, feature.sizes[2]))
        case "class":
            numbered = tfds.features.ClassLabel(num_classes=feature.num_classes)
            return np.int64 if feature.names else numbered
        case "classes":
            return tfds.features.Sequence(tfds.features.ClassLabel(num_classes=feature.num_classes))
        case "matrix":
            return tfds.features.Tensor(shape=(feature.sizes[1],), dtype=np.float32)
        case "tokens":
            return tfds.features.Tensor(shape=(), dtype=np.int64)
    raise AssertionError(feature.kind)


# --- Deep Lake


def _deeplake(entry: Entry, features: Features, rows: list[dict], folder: Path):
    import deeplake

    path = folder / "lake"
    lake = deeplake.create(f"file://{path}")
    for feature in features.all:
        image = feature.kind == "image"
        kind = deeplake.types.Image(sample_compression="png") if image else deeplake.types.ClassLabel("uint32")
        lake.add_column(feature.path[0], kind)
    for feature in features.all:
        if feature.kind == "class":
            lake[feature.path[0]].metadata["class_names"] = [str(number) for number in range(feature.num_classes)]
    columns = {}
    for feature in features.all:
        values = [row[feature.key] for row in rows]
        columns[feature.path[0]] = values if feature.kind == "image" else np.asarray(values, np.uint32)
    lake.append(columns)
    lake.commit()
    return path, rows


# --- WebDataset: two shards


def _webdataset(entry: Entry, features: Features, rows: list[dict], folder: Path):
    import braceexpand
    import webdataset

    url = entry.arguments["urls"].replace("{split}", entry.arguments["splits"][_split(entry)])
    names = [item.rpartition("/")[2] for item in braceexpand.braceexpand(url)][:2]
    for number, name in enumerate(names):
        with webdataset.TarWriter(str(folder / name)) as writer:
            for index, row in list(enumerate(rows))[number * 3 : number * 3 + 3]:
                members = {
                    f.path[0]: png(row[f.key]) if f.kind == "image" else row[f.key].encode() for f in features.all
                }
                writer.write({"__key__": f"{index:04d}", **members})
    return folder, rows


# --- tables of text


def _csv(entry: Entry, features: Features, rows: list[dict], folder: Path):
    given = entry.arguments
    named = {feature.path[0]: feature for feature in features.all}
    delimiter = given.get("delimiter", ",")
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator="\n")
    if given.get("header"):
        writer.writerow(["a", "b"])
    for row in rows:
        for feature in features.all:
            if feature.kind == "texts":
                row[feature.key] = [f"{number % 10}"[: feature.sizes[1]] for number in range(feature.sizes[0])]
        line: list = []
        for item in given["columns"].split():
            name, _, count = item.partition(":")
            value = row[named[name].key] if name in named else "7"
            line += value if count else [value]
        writer.writerow(line)
    member = given["members"][_split(entry)]
    content = text.getvalue().encode()
    content = gzip.compress(content) if member.endswith(".gz") else content
    archive = folder / given["url"].rpartition("/")[2]
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive, "w") as zipped:
            zipped.writestr(member, content)
    else:
        with tarfile.open(archive, "w:gz") as tar:
            info = tarfile.TarInfo(f"data/{member}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return folder, rows


# --- files with a listing of their own


def _files(entry: Entry, features: Features, rows: list[dict], folder: Path):
    _LISTINGS[entry.arguments["listing"]](rows, folder, _split(entry))
    return folder, rows


def _idx(array: np.ndarray) -> bytes:
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def _emnist(rows: list[dict], folder: Path, split: str) -> None:
    raw = folder / "EMNIST" / "raw"
    raw.mkdir(parents=True)
    images, labels = np.stack([row["image"][..., 0].T for row in rows]), np.array([row["label"] for row in rows])
    for part in ("emnist-letters-train-", "emnist-letters-test-"):
        (raw / f"{part}images-idx3-ubyte").write_bytes(_idx(images))
        (raw / f"{part}labels-idx1-ubyte").write_bytes(_idx(labels))


def _svhn(rows: list[dict], folder: Path, split: str) -> None:
    from scipy.io import savemat

    labels = np.array([[row["label"] or 10] for row in rows], np.uint8)  # 10 is the digit 0
    savemat(folder / "train_32x32.mat", {"X": np.stack([row["image"] for row in rows], -1), "y": labels})


def _stl10(rows: list[dict], folder: Path, split: str) -> None:
    root = folder / "stl10_binary"
    root.mkdir()
    images = np.stack([row["image"].transpose(2, 1, 0) for row in rows])  # [N, C, W, H]
    (root / "train_X.bin").write_bytes(images.tobytes())
    (root / "train_y.bin").write_bytes(np.array([row["label"] + 1 for row in rows], np.uint8).tobytes())


def _put(file: Path, image: np.ndarray) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(png(image))  # the readers look at what is inside, not at the name


def _pets(rows: list[dict], folder: Path, split: str) -> None:
    root = folder / "oxford-iiit-pet"
    lines = []
    for index, row in enumerate(rows):
        _put(root / "images" / f"race_{index}.jpg", row["image"])
        lines.append(f"race_{index} {row['label'] + 1} 1 1")
    (root / "annotations").mkdir()
    (root / "annotations" / "trainval.txt").write_text("\n".join(lines))


def _flowers(rows: list[dict], folder: Path, split: str) -> None:
    from scipy.io import savemat

    root = folder / "flowers-102"
    for index, row in enumerate(rows):
        _put(root / "jpg" / f"image_{index + 1:05d}.jpg", row["image"])
    savemat(root / "imagelabels.mat", {"labels": np.array([[row["label"] + 1 for row in rows]])})
    savemat(root / "setid.mat", {"trnid": np.arange(1, len(rows) + 1)[None]})


def _dtd(rows: list[dict], folder: Path, split: str) -> None:
    root = folder / "dtd" / "dtd"
    names = [f"kind{row['label']}/kind{row['label']}_{index}.jpg" for index, row in enumerate(rows)]
    for name, row in zip(names, rows):
        _put(root / "images" / name, row["image"])
    (root / "labels").mkdir()
    (root / "labels" / "train1.txt").write_text("\n".join(names))


def _aircraft(rows: list[dict], folder: Path, split: str) -> None:
    data = folder / "fgvc-aircraft-2013b" / "data"
    for index, row in enumerate(rows):
        _put(data / "images" / f"{index}.jpg", row["image"])
    (data / "variants.txt").write_text("\n".join(f"kind {index}" for index in range(len(rows))))
    (data / "images_variant_trainval.txt").write_text(
        "\n".join(f"{i} kind {row['label']}" for i, row in enumerate(rows))
    )


def _places(rows: list[dict], folder: Path, split: str) -> None:
    lines = []
    for index, row in enumerate(rows):
        _put(
            folder / "train_256_places365standard" / "data_256" / "k" / f"kind{row['label']}" / f"{index}.jpg",
            row["image"],
        )
        lines.append(f"/k/kind{row['label']}/{index}.jpg {row['label']}")
    (folder / "places365_train_standard.txt").write_text("\n".join(lines))


def _clevr_count(rows: list[dict], folder: Path, split: str) -> None:
    root = folder / "clevr" / "CLEVR_v1.0"
    scenes = []
    for index, row in enumerate(rows):
        _put(root / "images" / "train" / f"CLEVR_train_{index:06d}.png", row["image"])
        scenes.append({"image_filename": f"CLEVR_train_{index:06d}.png", "objects": [{}] * row["label"]})
    (root / "scenes").mkdir()
    (root / "scenes" / "CLEVR_train_scenes.json").write_text(json.dumps({"scenes": scenes}))


def _eurosat(rows: list[dict], folder: Path, split: str) -> None:
    names = ["AnnualCrop", "Forest", "HerbaceousVegetation", "Highway", "Industrial"]
    for index, row in enumerate(rows):
        _put(folder / "EuroSAT_RGB" / names[row["label"]] / f"{index}.jpg", row["image"])


def _mnist(rows: list[dict], folder: Path, split: str) -> None:
    images, labels = np.stack([row["image"][..., 0] for row in rows]), np.array([row["label"] for row in rows])
    (folder / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(_idx(images)))
    (folder / "train-labels-idx1-ubyte").write_bytes(_idx(labels))


def _sound(file: Path, samples: np.ndarray, kind: str = "WAV") -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(wav(samples, RATE, kind))


def _esc50(rows: list[dict], folder: Path, split: str) -> None:
    lines = ["filename,fold,target,category,esc10,src_file,take"]
    for index, row in enumerate(rows):
        _sound(folder / "ESC-50-master" / "audio" / f"1-{index}.wav", row["audio"])
        lines.append(f"1-{index}.wav,1,{row['target']},kind,False,1,A")
    lines.append("5-0.wav,5,0,kind,False,1,A")
    (folder / "ESC-50-master" / "meta").mkdir()
    (folder / "ESC-50-master" / "meta" / "esc50.csv").write_text("\n".join(lines))


def _fsd50k(rows: list[dict], folder: Path, split: str) -> None:
    truth = folder / "FSD50K.ground_truth"
    truth.mkdir()
    (truth / "vocabulary.csv").write_text("\n".join(f"{index},Kind{index},/m/{index}" for index in range(200)))
    lines = ["fname,labels,mids,split"]
    for index, row in enumerate(rows):
        _sound(folder / "FSD50K.dev_audio" / f"{index}.wav", row["audio"])
        lines.append(f'{index},"{",".join(f"Kind{label}" for label in row["classes"])}","/m/0",train')
    lines.append('99,"Kind1","/m/0",val')
    (truth / "dev.csv").write_text("\n".join(lines))


def _speech_commands(rows: list[dict], folder: Path, split: str) -> None:
    for index, row in enumerate(rows):
        _sound(folder / row["word"] / f"{index}_nohash_0.wav", row["audio"])
    _sound(folder / "_background_noise_" / "noise.wav", rows[0]["audio"])
    _sound(folder / "yes" / "test.wav", rows[0]["audio"])
    (folder / "testing_list.txt").write_text("yes/test.wav\n")
    (folder / "validation_list.txt").write_text("")
    rows.sort(key=lambda row: row["word"])


def _librispeech(rows: list[dict], folder: Path, split: str) -> None:
    chapter = folder / "LibriSpeech" / split / "19" / "198"
    lines = []
    for index, row in enumerate(rows):
        _sound(chapter / f"19-198-{index:04d}.flac", row["audio"], "FLAC")
        lines.append(f"19-198-{index:04d} {row['text']}")
    (chapter / "19-198.trans.txt").write_text("\n".join(lines))


def _common_voice(rows: list[dict], folder: Path, split: str) -> None:
    lines = ["client_id\tpath\tsentence"]
    for index, row in enumerate(rows):
        _sound(folder / "cv" / "en" / "clips" / f"{index}.wav", row["audio"])
        lines.append(f"me\t{index}.wav\t{row['sentence']}")
    (folder / "cv" / "en" / f"{split}.tsv").write_text("\n".join(lines))


def _nsynth(rows: list[dict], folder: Path, split: str) -> None:
    notes = {}
    for index, row in enumerate(rows):
        _sound(folder / f"nsynth-{split}" / "audio" / f"note_{index}.wav", row["audio"])
        notes[f"note_{index}"] = {"pitch": row["pitch"], "instrument_family": row["instrument_family"]}
    (folder / f"nsynth-{split}" / "examples.json").write_text(json.dumps(notes))


def _clevrer(rows: list[dict], folder: Path, split: str) -> None:
    scenes = []
    for index, row in enumerate(rows):
        movie(row["video"], folder / f"video_{split}" / "video_00000-01000" / f"video_{index:05d}.mp4")
        row["correct"] = [label for label in row["correct"] if label < len(row["choices"])]
        choices = [
            {"choice": text, "answer": "correct" if number in row["correct"] else "wrong"}
            for number, text in enumerate(row["choices"])
        ]
        question = {"question": row["question"], "question_type": "x", "answer": row["answer"], "choices": choices}
        scenes.append({"video_filename": f"video_{index:05d}.mp4", "questions": [question]})
    (folder / f"{split}.json").write_text(json.dumps(scenes))


def _ucf101(rows: list[dict], folder: Path, split: str) -> None:
    lists = folder / "ucfTrainTestlist"
    lists.mkdir()
    (lists / "classInd.txt").write_text("\n".join(f"{index + 1} Act{index}" for index in range(101)))
    lines = []
    for index, row in enumerate(rows):
        name = f"Act{row['class']}/v_Act{row['class']}_g01_c{index:02d}.avi"
        movie(row["video"], folder / "UCF-101" / name)
        lines.append(f"{name} {row['class'] + 1}")
    (lists / f"{split}list01.txt").write_text("\n".join(lines))


def _class_folders(rows: list[dict], folder: Path, split: str) -> None:
    for index, row in enumerate(rows):
        file = folder / "somewhere" / split / f"kind{row['label']}" / f"{index}.png"
        movie(row["video"], file.with_suffix(".avi")) if "video" in row else _put(file, row["image"])
    rows.sort(key=lambda row: row["label"])


def _kinetics(rows: list[dict], folder: Path, split: str) -> None:
    lines = ["label,youtube_id,time_start,time_end,split,is_cc"]
    for index, row in enumerate(rows):
        movie(row["video"], folder / split / f"id{index}_000010_000020.mp4")
        lines.append(f"act {row['class']},id{index},10,20,{split},0")
    (folder / f"{split}.csv").write_text("\n".join(lines))


def _something_something(rows: list[dict], folder: Path, split: str) -> None:
    listed = []
    for index, row in enumerate(rows):
        movie(row["video"], folder / "20bn-something-something-v2" / f"{index}.webm")
        listed.append({"id": str(index), "label": row["label"], "template": f"Doing [something] {row['class']}"})
    (folder / "labels").mkdir()
    (folder / "labels" / f"{split}.json").write_text(json.dumps(listed))
    names = {f"Doing something {index}": str(index) for index in range(174)}
    (folder / "labels" / "labels.json").write_text(json.dumps(names))


def _omniglot(rows: list[dict], folder: Path, split: str) -> None:
    for index, row in enumerate(rows):
        root = folder / "images_background" / "images_background" / "Greek" / f"character{row['character']:02d}"
        _put(root / f"{index:04d}_01.png", row["image"])


def _moving_mnist(rows: list[dict], folder: Path, split: str) -> None:
    grey = np.stack([row["video"][..., 0] for row in rows], 1)
    np.save(folder / "mnist_test_seq.npy", np.concatenate([grey, grey[:, :1]], 1))  # the last of six is for testing


_LISTINGS = {
    "esc50": _esc50,
    "idx": _mnist,
    "fsd50k": _fsd50k,
    "speech_commands": _speech_commands,
    "librispeech": _librispeech,
    "common_voice": _common_voice,
    "nsynth": _nsynth,
    "clevr_count": _clevr_count,
    "clevrer": _clevrer,
    "dtd": _dtd,
    "emnist": _emnist,
    "eurosat": _eurosat,
    "fgvc_aircraft": _aircraft,
    "oxford_flowers": _flowers,
    "oxford_pets": _pets,
    "places365": _places,
    "stl10": _stl10,
    "svhn": _svhn,
    "ucf101": _ucf101,
    "class_folders": _class_folders,
    "kinetics": _kinetics,
    "something_something": _something_something,
    "moving_mnist": _moving_mnist,
    "omniglot": _omniglot,
}

_WRITERS = {
    "huggingface": _huggingface,
    "tfds": _tfds,
    "deeplake": _deeplake,
    "webdataset": _webdataset,
    "csv": _csv,
    "files": _files,
}


# --- Minari: two episodes of three observations, with the spaces that the entry names


def write_minari(entry: Entry, folder: Path) -> tuple[Path, list[list[tuple]]]:
    """Writes a dataset; returns its folder, and the episodes: `(observation, action, reward that came with it)`."""
    import os
    from unittest import mock

    import gymnasium
    import minari
    from minari.data_collector import EpisodeBuffer

    sizes = {name: int(size) for name, _, size in (item.partition(":") for item in entry.arguments["spaces"].split())}
    action_size = sizes.pop("action")
    boxes = {name: gymnasium.spaces.Box(-np.inf, np.inf, (size,), np.float64) for name, size in sizes.items()}
    rng = np.random.default_rng(0)
    buffers, episodes = [], []
    for _ in range(2):
        observation = {name: rng.normal(size=(3, size)) for name, size in sizes.items()}
        actions = rng.uniform(-1, 1, (2, action_size)).astype(np.float32)
        buffers.append(
            EpisodeBuffer(
                observations=observation if len(sizes) > 1 else observation["observation"],
                actions=actions,
                rewards=np.array([1.0, 2.0]),
                terminations=np.array([False, True]),
                truncations=np.array([False, False]),
            )
        )
        rows = [{name: values[step] for name, values in observation.items()} for step in range(3)]
        episodes.append(list(zip(rows, [*actions, None], [0.0, 1.0, 2.0])))
    folder.mkdir(parents=True, exist_ok=True)
    with mock.patch.dict(os.environ, MINARI_DATASETS_PATH=str(folder)):
        minari.create_dataset_from_buffers(
            entry.arguments["dataset"],
            buffers,
            observation_space=gymnasium.spaces.Dict(boxes) if len(boxes) > 1 else boxes["observation"],
            action_space=gymnasium.spaces.Box(-1, 1, (action_size,), np.float32),
        )
    return folder, episodes
