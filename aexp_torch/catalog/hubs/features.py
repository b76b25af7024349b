"""Features: what the rows of a dataset hold, as a short string, and rows of any hub as arrays of fixed shapes."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from string import punctuation
from typing import Any

import numpy as np
from dm_env import specs

from aexp_torch.catalog.hubs.media import read_audio, read_image, read_video
from aexp_torch.errors import SpecError
from aexp_torch.sources.dataset_reading.text import encode_text
from aexp_torch.specs import Modality, guess_modality

__all__ = ["Feature", "Features"]

_FEATURE = re.compile(
    r"(?P<key>[\w:-]+?)(=(?P<path>[^\s:]+))?:(?P<kind>[a-z]+)(\((?P<arguments>[^()]*)\))?(?P<partial>\?)?"
)


@dataclass(frozen=True)
class Feature:
    """Is one value of a row.

    | kind | given | becomes |
    |---|---|---|
    | `text(256)` | text | uint8 UTF-8 [256], zero-padded or cut |
    | `texts(4,128)` | texts | uint8 [4, 128]; short lists are filled up with zeros |
    | `bare(256)` | text | the same without punctuation, in small letters |
    | `class(3)`, `class(no\\|yes)` | a number, one of these words (`A/1` are two words for one) | int64, below 3 |
    | `classes(20)` | numbers | bool [20]: which are there |
    | `number`, `numbers(4)` | numbers | float32, float32 [4] |
    | `matrix(10,4)` | rows of numbers | float32 [10, 4]; short lists are filled up with zeros |
    | `tokens(16)` | integers | int64 [16], zero-padded or cut |
    | `image(64,64,3)` | a file, its bytes, a PIL image, an array | uint8 [64, 64, 3], resized where need be |
    | `audio(16000,8000)` | a file, its bytes, samples with their rate | float32 [16000, 1] in [-1, 1], 8,000 a second |
    | `video(8,64,64)` | a file, its bytes, an array | uint8 [8, 64, 64, 3]: 8 frames, evenly spread |

    Args:
      key: under which it is observed.
      path: where it is in a row: a column, or a way into nested ones, `answers.text.0`.
      kind: see the table.
      arguments: see the table.
      partial: rows in which it is none of the classes are left out.
    """

    key: str
    path: tuple[str, ...]
    kind: str
    arguments: tuple[str, ...] = ()
    partial: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """The words of a `class`, () where it is numbered."""
        return () if len(self.arguments) == 1 and self.arguments[0].isdigit() else self.arguments

    @cached_property
    def numbers(self) -> dict[str, int]:
        """The number of each word of a `class`."""
        return {word: number for number, name in enumerate(self.names) for word in name.split("/")}

    @property
    def num_classes(self) -> int:
        """How many classes there are."""
        return len(self.names) or int(self.arguments[0])

    @property
    def sizes(self) -> tuple[int, ...]:
        """The arguments as numbers, with defaults."""
        given = tuple(int(argument) for argument in self.arguments)
        return given + _KINDS[self.kind].defaults[len(given) :]

    def spec(self) -> specs.Array:
        """Describes the value of one row."""
        return _KINDS[self.kind].spec(self)

    def modality(self, context: str = "") -> Modality:
        """Says what kind of thing it is.

        Args:
          context: of text: `"text:en"`.
        """
        kind = self.kind
        if kind in ("text", "bare", "texts"):
            return Modality("sequence", "categorical", context or "text")
        if kind == "audio":
            return Modality("sequence", "real", "audio")
        if kind in ("image", "video"):
            return replace(guess_modality(self.spec()), context="natural")
        return guess_modality(self.spec())

    def read(self, row: Mapping[str, Any]) -> Any:
        """Returns the value of a row, as an array or a scalar.

        Raises:
          SpecError: the row has no such column, or something in it that is not of this kind.
        """
        value = self.find(row)
        try:
            return _KINDS[self.kind].read(value, self)
        except (TypeError, ValueError, KeyError) as error:
            came = f"{type(value).__name__} {str(value)[:60]!r}"
            raise SpecError(f"expected {'.'.join(self.path)!r} as {self.kind}, got {came} ({error})") from error

    def find(self, row: Mapping[str, Any]) -> Any:
        """Returns what the path leads to; None beyond the end of a list."""
        value: Any = row
        for part in self.path:
            if isinstance(value, Mapping):
                if part not in value:
                    raise SpecError(f"expected a column {part!r}, got {sorted(map(str, value))}")
                value = value[part]
            elif value is None or not part.isdigit() or int(part) >= len(value):
                return None
            else:
                value = value[int(part)]
        return value

    def is_there(self, value: Any) -> bool:
        """Tells whether a value is one of the classes."""
        if value is None:
            return False
        return str(value) in self.numbers if self.names else 0 <= int(value) < self.num_classes


class Features:
    """Is what rows of a dataset hold.

    Args:
      text: features one after the other: `key:kind(arguments)`, `key=path:kind`, `key:class(3)?`; see `Feature`.

    Raises:
      SpecError: it cannot be read.

    >>> features = Features("premise:text(8) label:class(no|yes)")
    >>> row = features.read({"premise": "rain", "label": "yes", "uid": 7})
    >>> row["premise"], row["label"]
    (array([114,  97, 105, 110,   0,   0,   0,   0], dtype=uint8), np.int64(1))
    """

    def __init__(self, text: str):
        self.text = text

    def __repr__(self) -> str:
        return f"Features({self.text!r})"

    @cached_property
    def all(self) -> tuple[Feature, ...]:
        """The features, parsed."""
        return tuple(_parsed(item, self.text) for item in self.text.split())

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are read."""
        return tuple(dict.fromkeys(feature.path[0] for feature in self.all))

    @property
    def partial(self) -> tuple[Feature, ...]:
        """The classes that some rows lack, which are left out."""
        return tuple(feature for feature in self.all if feature.partial)

    def read(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Returns a row as arrays that match the specs."""
        return {feature.key: feature.read(row) for feature in self.all}

    def specs(self) -> dict[str, specs.Array]:
        """Describes one row."""
        return {feature.key: feature.spec() for feature in self.all}

    def modalities(self, context: str = "") -> dict[str, Modality]:
        """Says what kind of things they are; `context` is that of text."""
        return {feature.key: feature.modality(context) for feature in self.all}


def _parsed(item: str, text: str) -> Feature:
    match = _FEATURE.fullmatch(item)
    if match is None or match["kind"] not in _KINDS:
        raise SpecError(
            f"Features: expected 'key:kind(arguments)' or 'key=path:kind' with a kind of {sorted(_KINDS)}, got {item!r}"
            f" in {text!r}."
        )
    path = tuple((match["path"] or match["key"]).split("."))
    arguments = re.split(r"[,|]", match["arguments"]) if match["arguments"] else ()
    feature = Feature(match["key"], path, match["kind"], tuple(arguments), bool(match["partial"]))
    if feature.partial and feature.kind != "class":
        raise SpecError(f"Features: expected '?' after a class, got {item!r}.")
    return feature


@dataclass(frozen=True)
class _Kind:
    spec: Callable[[Feature], specs.Array]
    read: Callable[[Any, Feature], Any]
    defaults: tuple[int, ...] = ()


def _bytes_spec(feature: Feature) -> specs.Array:
    return specs.BoundedArray(feature.sizes, np.uint8, 0, 255, feature.key)


def _image_spec(feature: Feature) -> specs.Array:
    return specs.BoundedArray(feature.sizes, np.uint8, 0, 255, feature.key)


def _text(value: Any, length: int) -> np.ndarray:
    if isinstance(value, list | tuple):  # a triple, say
        value = " | ".join(map(str, value))
    return encode_text("" if value is None else value if isinstance(value, str | bytes) else str(value), length)


def _bare(value: Any, length: int) -> np.ndarray:
    return _text("".join(letter for letter in str(value or "").lower() if letter not in punctuation), length)


def _texts(value: Any, feature: Feature) -> np.ndarray:
    count, length = feature.sizes
    result = np.zeros((count, length), np.uint8)
    for row, text in zip(result, [] if value is None else value):
        row[:] = _text(text, length)
    return result


def _class(value: Any, feature: Feature) -> np.int64:
    if not feature.is_there(value):
        known = list(feature.names) or f"0 to {feature.num_classes - 1}"
        raise ValueError(f"expected one of {known}")
    return np.int64(feature.numbers[str(value)] if feature.names else int(value))


def _classes(value: Any, feature: Feature) -> np.ndarray:
    result = np.zeros(feature.num_classes, np.bool_)
    for label in [] if value is None else value:
        result[int(_class(label, feature))] = True
    return result


def _number(value: Any) -> np.float32:
    return np.float32(value)  # a missing one is an error, which on_bad_sample="skip" masks


def _numbers(value: Any, feature: Feature) -> np.ndarray:
    array = np.array([_number(item) for item in value], np.float32)
    if array.shape != feature.sizes:
        raise ValueError(f"expected {feature.sizes[0]} numbers")
    return array


def _matrix(value: Any, feature: Feature) -> np.ndarray:
    result = np.zeros(feature.sizes, np.float32)
    rows = [] if value is None else list(value)[: len(result)]
    if rows:
        result[: len(rows)] = np.asarray(rows, np.float32)
    return result


def _tokens(value: Any, feature: Feature) -> np.ndarray:
    result = np.zeros(feature.sizes, np.int64)
    tokens = [] if value is None else list(value)[: len(result)]
    result[: len(tokens)] = tokens
    return result


_KINDS: dict[str, _Kind] = {
    "text": _Kind(_bytes_spec, lambda value, feature: _text(value, *feature.sizes), (256,)),
    "bare": _Kind(_bytes_spec, lambda value, feature: _bare(value, *feature.sizes), (256,)),
    "texts": _Kind(_bytes_spec, _texts, (4, 128)),
    "class": _Kind(lambda feature: specs.DiscreteArray(feature.num_classes, np.int64, feature.key), _class),
    "classes": _Kind(lambda feature: specs.Array((feature.num_classes,), np.bool_, feature.key), _classes),
    "number": _Kind(lambda feature: specs.Array((), np.float32, feature.key), lambda value, _: _number(value)),
    "numbers": _Kind(lambda feature: specs.Array(feature.sizes, np.float32, feature.key), _numbers, (1,)),
    "matrix": _Kind(lambda feature: specs.Array(feature.sizes, np.float32, feature.key), _matrix, (10, 4)),
    "tokens": _Kind(lambda feature: specs.Array(feature.sizes, np.int64, feature.key), _tokens, (16,)),
    "image": _Kind(_image_spec, lambda value, feature: read_image(value, *feature.sizes), (64, 64, 3)),
    "audio": _Kind(
        lambda feature: specs.BoundedArray((feature.sizes[0], 1), np.float32, -1.0, 1.0, feature.key),
        lambda value, feature: read_audio(value, *feature.sizes),
        (16000, 16000),
    ),
    "video": _Kind(
        lambda feature: specs.BoundedArray((*feature.sizes, 3), np.uint8, 0, 255, feature.key),
        lambda value, feature: read_video(value, *feature.sizes),
        (8, 64, 64),
    ),
}
