"""Language: tasks on the text that comes with Python: documentation, names and the characters of Unicode."""

import builtins
import importlib
import keyword
import sys
import unicodedata
from functools import partial
from typing import Any

import numpy as np

from aexp_torch.catalog.prepared import Columns, Split, part_of, prepared, text_column
from aexp_torch.errors import SpecError
from aexp_torch.sources.dataset import DatasetEnv
from aexp_torch.specs import Modality

__all__ = ["KINDS", "MODULES", "SCRIPTS", "docstring_modules", "html_entities", "next_byte", "python_names", "scripts"]

MODULES = (
    "argparse",
    "ast",
    "collections",
    "configparser",
    "csv",
    "datetime",
    "decimal",
    "difflib",
    "email.message",
    "fractions",
    "http.client",
    "inspect",
    "ipaddress",
    "logging",
    "os",
    "pathlib",
    "pickletools",
    "random",
    "shutil",
    "smtplib",
    "socket",
    "statistics",
    "subprocess",
    "tarfile",
    "threading",
    "unittest.case",
    "urllib.request",
    "xml.dom.minidom",
    "zipfile",
)
KINDS = ("keyword", "built-in function or type", "exception", "module")
SCRIPTS = (
    "ARABIC",
    "ARMENIAN",
    "BENGALI",
    "CHEROKEE",
    "CYRILLIC",
    "DEVANAGARI",
    "ETHIOPIC",
    "GEORGIAN",
    "GREEK",
    "GUJARATI",
    "HANGUL",
    "HEBREW",
    "HIRAGANA",
    "KATAKANA",
    "KHMER",
    "LAO",
    "LATIN",
    "MONGOLIAN",
    "MYANMAR",
    "SINHALA",
    "TAMIL",
    "TELUGU",
    "THAI",
    "TIBETAN",
)
ENGLISH = {"x": Modality("sequence", "categorical", "text:en")}
NAMES = {"x": Modality("sequence", "categorical", "text:python")}


def docstring_modules(split: Split = "train", name: str = "docstring_modules", **options: Any) -> DatasetEnv:
    """Streams documentation of Python's standard library: x uint8 [256], y int64, the index in `MODULES`.

    x is the docstring of a class, method or function, zero-padded UTF-8, cut at 256 bytes. How many there are depends on
    the version of Python that runs.

    Args:
      split: four fifths for training, one for testing, stratified by class; or all.
      name: names the source.
      options: everything else that DatasetEnv takes.

    Source: the Python Software Foundation.
    """
    return prepared(_docstrings, split, name, classes=len(MODULES), modalities=ENGLISH, **options)


def next_byte(split: Split = "train", name: str = "next_byte", context: int = 64, **options: Any) -> DatasetEnv:
    """Streams pieces of the reference of the Python language: x uint8 [64], y int64 in 0..255, the byte that follows.

    The text is that of `help()` on topics, some 460,000 bytes; every sixteenth place begins a piece. One chapter of five
    is for testing.

    Args:
      split: `"train"`, `"test"` or `"all"`.
      name: names the source.
      context: bytes of x.
      options: everything else that DatasetEnv takes.

    Source: the Python Software Foundation, The Python language reference.
    """
    return prepared(partial(_pieces, context), split, name, classes=256, modalities=ENGLISH, **options)


def python_names(split: Split = "train", name: str = "python_names", **options: Any) -> DatasetEnv:
    """Streams the words that Python knows: x uint8 [32], y int64 in 0..3, the index in `KINDS`.

    Args:
      split: four fifths for training, one for testing, stratified by class; or all.
      name: names the source.
      options: everything else that DatasetEnv takes.

    Source: the modules keyword, builtins and sys of the Python that runs.
    """
    return prepared(_names, split, name, classes=len(KINDS), modalities=NAMES, **options)


def scripts(split: Split = "train", name: str = "scripts", **options: Any) -> DatasetEnv:
    """Streams letters in 24 writing systems: x uint8 [24] (eight letters in UTF-8), y int64, the index in `SCRIPTS`.

    200 strings of random letters (from a fixed seed) for each. Which letters there are depends on the version of Python;
    marks and letters beyond the basic plane are left out.

    Args:
      split: four fifths for training, one for testing, stratified by class; or all.
      name: names the source.
      options: everything else that DatasetEnv takes.

    Source: The Unicode Character Database, as it comes with Python.
    """
    text = {"x": Modality("sequence", "categorical", "text")}
    return prepared(_scripts, split, name, classes=len(SCRIPTS), modalities=text, **options)


def html_entities(split: Split = "all", name: str = "html_entities", **options: Any) -> DatasetEnv:
    """Streams the named characters of HTML: x uint8 [32] (`eacute`), y uint8 [8] (`é` in UTF-8).

    Args:
      split: what is to be known by heart has no test split of its own: the default is all.
      name: names the source.
      options: everything else that DatasetEnv takes.

    Source: W3C, HTML5, named character references, as they come with Python.
    """
    return prepared(_entities, split, name, modalities=NAMES, **options)


def _docstrings(split: str) -> Columns:
    texts: dict[str, int] = {}
    for label, module_name in enumerate(MODULES):
        module = importlib.import_module(module_name)
        for thing in _defined_in(module):
            docstring = getattr(thing, "__doc__", None)
            if isinstance(docstring, str) and len(docstring) > 20:
                texts.setdefault(" ".join(docstring.split()), label)
    if not texts:
        raise SpecError("docstring_modules: expected docstrings, this Python runs without them (-OO). Leave out -OO.")
    y = np.array(list(texts.values()), np.int64)
    return part_of({"x": text_column(list(texts), 256), "y": y}, split)


def _defined_in(module: Any) -> list[Any]:
    """Returns what a module defines, in order: its classes and functions, and the methods of the classes."""
    own = [value for value in vars(module).values() if getattr(value, "__module__", None) == module.__name__]
    return own + [member for value in own if isinstance(value, type) for member in vars(value).values()]


def _pieces(context: int, split: str) -> Columns:
    from pydoc_data.topics import topics

    chapters = [topics[title].encode() for title in sorted(topics)]
    if split != "all":
        chapters = [chapter for place, chapter in enumerate(chapters) if (place % 5 == 0) == (split == "test")]
    windows = [_windows(chapter, context) for chapter in chapters if len(chapter) > context]
    pieces = np.concatenate(windows)
    return {"x": pieces[:, :context], "y": pieces[:, context].astype(np.int64)}


def _windows(chapter: bytes, context: int) -> np.ndarray:
    return np.lib.stride_tricks.sliding_window_view(np.frombuffer(chapter, np.uint8), context + 1)[::16]


def _names(split: str) -> Columns:
    public = {name: value for name, value in vars(builtins).items() if not name.startswith("_")}
    exceptions = [
        name for name, value in public.items() if isinstance(value, type) and issubclass(value, BaseException)
    ]
    modules = [name for name in sys.stdlib_module_names if not name.startswith("_")]
    kinds = ([*keyword.kwlist, *keyword.softkwlist], list(public), exceptions, modules)
    known = {}
    for label in (3, 1, 2, 0):  # a word that is of several kinds is of the last of these
        known.update(dict.fromkeys(sorted(kinds[label]), label))
    known.pop("_", None)
    words = sorted(known)
    y = np.array([known[word] for word in words], np.int64)
    return part_of({"x": text_column(words, 32), "y": y}, split)


def _scripts(split: str) -> Columns:
    letters: dict[str, list[str]] = {script: [] for script in SCRIPTS}
    for code in range(0x10000):
        character = chr(code)
        if unicodedata.category(character) in ("Lu", "Ll", "Lo"):
            script = unicodedata.name(character, "").partition(" ")[0]
            if script in letters:
                letters[script].append(character)
    rng = np.random.default_rng(0)
    strings = ["".join(rng.choice(known, 8)) for known in letters.values() for _ in range(200)]
    y = np.repeat(np.arange(len(SCRIPTS)), 200)
    return part_of({"x": text_column(strings, 24), "y": y}, split)


def _entities(split: str) -> Columns:
    from html.entities import html5

    known = {name.removesuffix(";"): character for name, character in sorted(html5.items())}
    return part_of({"x": text_column(list(known), 32), "y": text_column(list(known.values()), 8)}, split)
