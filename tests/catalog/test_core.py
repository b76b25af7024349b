"""What runs with the core dependencies alone: it keeps every promise, it is what it says, and it is there at once."""

import functools
import keyword
import pickle
import subprocess
import sys
import textwrap
import unicodedata

import numpy as np
import pytest
import torch
from dm_env import specs as dm_specs

import aexp_torch as ae
from aexp_torch.catalog import find
from aexp_torch.catalog.algorithms import ROMAN
from aexp_torch.catalog.characters import CHARACTERS, FAMILIES
from aexp_torch.catalog.core import ENTRIES
from aexp_torch.catalog.language import KINDS, MODULES, SCRIPTS
from aexp_torch.catalog.prepared import part_of, rows_of, shipped
from aexp_torch.catalog.signals import HIGH, KEYS, LOW, RATE
from aexp_torch.testing import check_env

BY_NAME = {entry.name: entry for entry in ENTRIES}
DATASETS = [entry.name for entry in ENTRIES if "kind:dataset" in entry.tags]
# `all` is what there is to know by heart, or pieces of one series that overlap
OVERLAPPING = {"html_entities", "next_byte", "eeg", "mackey_glass", "linnerud", "printed_words"}


@functools.cache
def columns(name, split="all"):
    data = find(name).make(split=split).data
    return {key: np.asarray(data[key]) for key in data}


def classes_of(name):
    y = (BY_NAME[name].make().given_specs or {}).get("y")
    return y.num_values if isinstance(y, dm_specs.DiscreteArray) else 0


def text(row):
    return bytes(row).rstrip(b"\0").decode()


def texts(name, split="all"):
    found = columns(name, split)
    return [(text(x), text(y) if y.ndim else int(y)) for x, y in zip(found["x"], found["y"])]


@pytest.mark.parametrize("name", BY_NAME)
def test_every_entry_keeps_the_promises(name):
    options = {"batch_size": 8} if name in DATASETS else {}
    always_alike = ("CliffWalking-v1", "commai_mini")  # for some steps
    check_env(BY_NAME[name].make(**options), random=name not in always_alike, restore_steps=2)


def test_there_are_tasks_of_many_domains():
    domains = {tag.split(".")[0] for entry in ENTRIES for tag in entry.tags if ":" not in tag}
    assert {"control", "grid", "text", "image", "tabular"} <= domains and len(ENTRIES) >= 25
    assert not [entry for entry in ENTRIES if entry.extra or entry.modules or entry.download]


@pytest.mark.parametrize("name", DATASETS)
def test_datasets_are_recipes_that_read_alike_everywhere(name):
    env = find(name).make()
    assert env.mode == "joint" and env.data._columns is None
    env.reset()
    sent = pickle.dumps(env)
    assert len(sent) < 3000
    again = pickle.loads(sent)
    assert again.data._columns is None
    for key in env.data:
        np.testing.assert_array_equal(env.data[key], again.data[key])
    assert env.name == name and env.tags == BY_NAME[name].tags and env.instruction == BY_NAME[name].instruction


@pytest.mark.parametrize("name", DATASETS)
def test_splits_have_the_same_specs_and_nothing_in_common(name):
    splits = {split: find(name).make(split=split, batch_size=4) for split in ("train", "test", "all")}
    assert len({str(env.specs[name].observation) for env in splits.values()}) == 1
    rows = {split: {bytes(np.ascontiguousarray(x)) for x in env.data["x"]} for split, env in splits.items()}
    assert 0.1 < len(rows["test"]) / len(rows["all"]) < 0.3
    if name not in OVERLAPPING:
        shared = rows["train"] & rows["test"]
        assert len(shared) <= 0.02 * len(rows["test"]), f"{len(shared)} of {len(rows['test'])}"


@pytest.mark.parametrize("name", [name for name in DATASETS if classes_of(name)])
def test_every_class_occurs_in_every_split(name):
    classes = classes_of(name)
    for split in ("train", "test"):
        counts = np.bincount(columns(name, split)["y"], minlength=classes)
        assert len(counts) == classes and (counts.min() > 0 or name == "next_byte"), counts


def test_predictions_are_paid_where_a_loss_is_given():
    env = find("iris").make(loss="correct", batch_size=4)
    timestep = env.reset()
    told = env.step({"predict:y": torch.zeros(4, dtype=torch.int64)})
    assert told.reward.tolist() == (told.observation["y"] == 0).float().tolist() and set(timestep.observation) == {
        "x",
        "y",
    }
    logits = find("wine").make(loss="cross_entropy").specs["wine"].action["predict:y"]
    assert logits.shape == (3,)


def test_unknown_split():
    with pytest.raises(ae.SpecError, match="iris: expected split 'train', 'test' or 'all', got 'valid'"):
        find("iris").make(split="valid")


def test_rows_of_splits_by_class():
    labels = np.repeat(np.arange(3), 10)
    train, test = rows_of("train", 30, labels), rows_of("test", 30, labels)
    assert np.bincount(labels[test]).tolist() == [2, 2, 2] and sorted([*train, *test]) == list(range(30))
    part = part_of({"x": np.arange(30), "y": labels.astype(np.int64)}, "test")
    assert part["x"].tolist() == test.tolist() and part["y"].tolist() == labels[test].tolist()


# What the answers are.


def test_tables_are_standardized_on_the_training_rows():
    for name in ("iris", "wine", "breast_cancer", "diabetes", "linnerud"):
        x = columns(name, "train")["x"]
        np.testing.assert_allclose(x.mean(0), 0, atol=1e-5)
        np.testing.assert_allclose(x.std(0), 1, atol=1e-5)
    assert columns("iris")["x"].shape == (150, 4) and columns("linnerud")["y"].shape == (20, 3)


@pytest.mark.parametrize("name", ["iris", "wine", "breast_cancer", "diabetes", "linnerud"])
def test_tables_are_those_of_scikit_learn(name):
    from sklearn import datasets

    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    found, train = columns(name), columns(name, "train")
    if name in ("diabetes", "linnerud"):
        y = y.reshape(len(x), -1)
        rows = rows_of("train", len(x))
        np.testing.assert_allclose(found["y"], (y - y[rows].mean(0)) / y[rows].std(0), atol=1e-5)
    else:
        rows = rows_of("train", len(x), y)
        np.testing.assert_array_equal(found["y"], y)
    np.testing.assert_allclose(found["x"], (x - x[rows].mean(0)) / x[rows].std(0), atol=1e-5)
    assert len(train["x"]) == len(rows)


def test_files_that_are_not_there():
    with pytest.raises(ae.MissingDependencyError, match="the package no_such_package"):
        shipped("no_such_package", "x")
    with pytest.raises(ae.MissingDependencyError, match="the file no/such/file in the package sklearn"):
        shipped("sklearn", "no/such/file")


def test_algorithms_have_the_right_answers():
    assert all(x == y for x, y in texts("copy_text"))
    assert all(x[::-1] == y for x, y in texts("reverse_text"))
    assert all("".join(sorted(x)) == y for x, y in texts("sort_text"))
    assert all(sum(map(int, x.split("+"))) == int(y) for x, y in texts("addition"))
    assert all(x.count("1") % 2 == y for x, y in texts("parity"))
    assert {y for _, y in texts("parity")} == {0, 1}


def test_roman_numerals():
    known = dict(texts("roman_numerals"))
    assert (
        known["MCMXCIV"] == "1994" and known["IV"] == "4" and known["MMMDCCCLXXXVIII"] == "3888" and len(known) == 3999
    )
    values = {letters: value for value, letters in ROMAN}
    for numeral, number in known.items():
        total = sum(
            -values[a] if values[a] < values.get(b, 0) else values[a] for a, b in zip(numeral, [*numeral[1:], ""])
        )
        assert total == int(number)


def test_number_words():
    known = dict(texts("number_words"))
    assert known["0"] == "zero" and known["13"] == "thirteen"
    tens = ["ten", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
    named = {word: 10 * (place + 1) for place, word in enumerate(tens)} | {known[str(n)]: n for n in range(20)}
    for number, words in known.items():
        total = part = 0
        for word in words.replace("-", " ").split():
            if word == "thousand":
                total, part = total + part * 1000, 0
            elif word == "hundred":
                part *= 100
            else:
                part += named[word]
        assert total + part == int(number)


def test_weekdays_by_the_rule_of_zeller():
    for date, day in texts("weekdays"):
        year, month, of_month = map(int, date.split("-"))
        year, month = (year - 1, month + 12) if month < 3 else (year, month)
        zeller = (of_month + 13 * (month + 1) // 5 + year + year // 4 - year // 100 + year // 400) % 7  # 0 is Saturday
        assert (zeller + 5) % 7 == day


def test_brackets():
    found = texts("brackets")
    for brackets, right in found:
        while (shorter := brackets.replace("()", "").replace("[]", "").replace("{}", "")) != brackets:
            brackets = shorter
        assert (brackets == "") == bool(right)
    assert 0.4 < np.mean([right for _, right in found]) < 0.6


def test_game_of_life():
    found = columns("game_of_life")
    for world, later in zip(found["x"][:20], found["y"][:20]):
        for row in range(16):
            for column in range(16):
                around = sum(world[(row + i) % 16, (column + j) % 16] for i in (-1, 0, 1) for j in (-1, 0, 1))
                around -= world[row, column]
                assert later[row, column] == (around == 3 or (around == 2 and world[row, column] == 1))
    glider = np.array([[0, 1, 0], [0, 0, 1], [1, 1, 1]])
    assert found["x"].max() == 1 and glider.sum() == 5


def test_mazes_are_left_by_the_first_move_that_is_told():
    moves = ((-1, 0), (0, 1), (1, 0), (0, -1))
    for maze, move in zip(*columns("mazes").values()):
        here, goal = (tuple(int(i) for i in np.argwhere(maze == mark)[0]) for mark in (2, 3))
        distance, edge = {goal: 0}, [goal]
        while edge:  # how far each cell is from the goal
            edge = [
                cell
                for row, column in edge
                for down, across in moves
                if maze[cell := (row + down, column + across)] != 1
                and distance.setdefault(cell, distance[row, column] + 1) == distance[row, column] + 1
            ]
            edge = [cell for cell in dict.fromkeys(edge) if distance[cell] == max(distance.values())]
        down, across = moves[int(move)]
        assert distance[here[0] + down, here[1] + across] == distance[here] - 1


def test_scripts_are_those_of_the_names_of_the_letters():
    for letters, script in texts("scripts"):
        assert len(letters) == 8 and all(unicodedata.name(letter).startswith(SCRIPTS[script]) for letter in letters)


def test_words_of_python():
    known = dict(texts("python_names"))
    assert [KINDS[known[word]] for word in ("while", "len", "KeyError", "json")] == list(KINDS)


def test_docstrings_are_of_their_modules():
    import shutil

    start = " ".join(shutil.copytree.__doc__.split())[:200]
    found = [label for docstring, label in texts("docstring_modules") if docstring.startswith(start)]
    assert [MODULES[label] for label in found] == ["shutil"]


def test_next_bytes_follow():
    from pydoc_data.topics import topics

    book = "\n".join(topics.values()).encode()
    found = columns("next_byte", "test")
    for x, y in list(zip(found["x"], found["y"]))[::400]:
        assert bytes([*x, int(y)]) in book


def test_html_entities():
    import html

    assert all(html.unescape(f"&{name};") == character for name, character in texts("html_entities"))


def test_characters_are_drawn_as_written():
    every = columns("characters")["x"]
    assert len(every) == len(CHARACTERS) * 48 and every.reshape(len(every), -1).max(1).min() > 100
    x, y = columns("characters").values()
    ink = [(x[y == CHARACTERS.index(letter)] > 128).sum((1, 2)).mean() for letter in "iW"]
    assert ink[0] < ink[1] / 2
    assert len(FAMILIES) == 4 and set(columns("fonts")["y"]) == {0, 1, 2, 3}
    np.testing.assert_array_equal(columns("fonts")["x"], every)
    assert {text(y) for y in columns("printed_words", "test")["y"]} <= set(keyword.kwlist)


def test_photographs():
    colors, small = columns("photo_colors"), columns("photo_super_resolution")
    whole = columns("photos")
    np.testing.assert_array_equal(whole["x"], colors["y"])
    assert colors["x"][7, 3, 3] == round(float(colors["y"][7, 3, 3] @ [0.299, 0.587, 0.114]))
    assert small["x"][5, 1, 2].tolist() == small["y"][5, 2:4, 4:6].reshape(4, 3).mean(0).round().tolist()
    holed = columns("photo_inpainting")
    assert not holed["x"][:, 5:11, 5:11].any()
    np.testing.assert_array_equal(holed["y"], whole["x"][:, 5:11, 5:11])
    np.testing.assert_array_equal(holed["x"][:, :5], whole["x"][:, :5])
    turned = columns("photo_rotation")
    upright = np.stack([np.rot90(tile, -turn) for tile, turn in zip(turned["x"], turned["y"])])
    mended = upright[0].reshape(2, 16, 2, 16, 3).swapaxes(1, 2).reshape(4, 16, 16, 3)  # a tile is four small ones
    assert {bytes(tile) for tile in mended} <= {bytes(np.ascontiguousarray(tile)) for tile in whole["x"]}


def test_tones_are_what_they_are_called():
    found = columns("waveforms")
    assert np.abs(found["x"]).max() <= 1
    crest = [np.abs(x).max() / np.sqrt((x**2).mean()) for x in found["x"][..., 0]]
    means = [np.mean([c for c, kind in zip(crest, found["y"]) if kind == wanted]) for wanted in range(4)]
    assert means[1] < means[0] < min(means[2:])  # 1, sqrt(2), sqrt(3), sqrt(3)


def test_telephone_keys_have_their_two_tones():
    found = columns("telephone_keys")
    power = np.abs(np.fft.rfft(found["x"][..., 0] * np.hanning(800)))
    hertz = np.fft.rfftfreq(800, 1 / RATE)

    def loudest(frequencies):
        return np.argmax([power[:, np.abs(hertz - f).argmin()] for f in frequencies], 0)

    assert (4 * loudest(LOW) + loudest(HIGH) == found["y"]).mean() > 0.99 and len(KEYS) == 16


def test_series_go_on():
    for name in ("mackey_glass", "eeg"):
        found = columns(name)
        np.testing.assert_array_equal(found["x"][1:, -1], found["y"][:-1])
    x, y = columns("mackey_glass").values()
    assert y.min() > 0.2 and y.max() < 1.5 and y.std() > 0.1


def test_the_catalogue_imports_no_provider():
    code = """
        import sys
        from aexp_torch.catalog import entries
        made = [entry.make() for entry in entries() if not entry.extra and not entry.download]
        heavy = {"sklearn", "matplotlib", "ale_py", "pettingzoo", "minigrid", "dm_control", "envpool", "lightning"}
        assert len(made) > 25 and not heavy & sys.modules.keys(), heavy & sys.modules.keys()
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, timeout=60)
