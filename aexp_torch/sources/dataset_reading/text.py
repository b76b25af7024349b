"""Text becomes uint8 UTF-8 of a fixed length, zero-padded, because a spec has one shape."""

from typing import Any

import numpy as np

from aexp_torch.errors import SpecError

__all__ = ["DEFAULT_LENGTH", "encode_text", "is_text", "measure_text", "text_elements"]

DEFAULT_LENGTH = 256


def is_text(value: Any) -> bool:
    """Says whether `value` is a str, UTF-8 bytes, or an array of these."""
    if isinstance(value, np.ndarray):
        return value.dtype.kind in "US"
    return isinstance(value, (str, bytes))


def measure_text(value: Any) -> int:
    """Returns the length of the longest text in bytes, at least 1."""
    return max([1, *(len(_utf8(text)) for text in text_elements(value))])


def encode_text(value: Any, length: int) -> np.ndarray:
    """Returns uint8 `[..., length]`: shorter text is followed by zeros, longer text is cut at a character boundary."""
    encoded = [_cut(_utf8(text), length).ljust(length, b"\0") for text in text_elements(value)]
    return np.frombuffer(b"".join(encoded), np.uint8).reshape(*np.shape(value), length).copy()


def text_elements(value: Any) -> list:
    """Returns every single text."""
    return value.ravel().tolist() if isinstance(value, np.ndarray) else [value]


def _utf8(text: str | bytes) -> bytes:
    if isinstance(text, str):
        return text.encode("utf-8", errors="replace")
    try:
        text.decode("utf-8")
    except UnicodeDecodeError as error:
        raise SpecError(
            f"expected bytes that are UTF-8 text, got {text[:8]!r}... ({len(text)} bytes). Decode files first: "
            "images to arrays, for example WebDataset(...).decode('rgb8')"
        ) from error
    return text


def _cut(encoded: bytes, length: int) -> bytes:
    if len(encoded) <= length:
        return encoded
    return encoded[:length].decode("utf-8", errors="ignore").encode("utf-8")
