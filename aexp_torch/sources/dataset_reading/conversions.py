"""Conversions: what is done to single values before they are stacked to minibatches."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from aexp_torch.errors import SpecError

__all__ = ["Conversions", "Tokens"]


@dataclass(frozen=True)
class Conversions:
    """Collects the options of DatasetEnv that change values; keys are names of leaves, `a/b` where they are nested.

    Args:
      text_length: bytes of every text, None to measure.
      max_length: by key, the size of a first axis that varies.
      tokenizer: turns text into integers: one for all, or by key; see `Tokens`.
      transform: by key, a function of a value as the dataset gives it.
    """

    text_length: int | None = None
    max_length: Mapping[str, int] = field(default_factory=dict)
    tokenizer: Any = None
    transform: Mapping[str, Callable[[Any], Any]] = field(default_factory=dict)

    def with_defaults(self, transform: Mapping[str, Callable[[Any], Any]]) -> "Conversions":
        """Returns others, with functions for keys that have none."""
        return replace(self, transform={**transform, **self.transform})

    def tokens(self, name: str) -> "Tokens | None":
        """Returns what turns the text of a key into integers, if anything does."""
        given = self.tokenizer.get(name) if isinstance(self.tokenizer, Mapping) else self.tokenizer
        return None if given is None else Tokens(given)

    def replaces(self, name: str) -> bool:
        """Whether a function of the user's is given for values of this key, or below it."""
        tokenized = self.tokenizer if isinstance(self.tokenizer, Mapping) else ()
        return any(each == name or each.startswith(f"{name}/") for each in (*self.transform, *tokenized))

    def check_names(self, names: list[str], who: str) -> None:
        """Raises a SpecError where an option names a key that the data does not have."""
        tokenizer = self.tokenizer if isinstance(self.tokenizer, Mapping) else {}
        for option, given in (("transform", self.transform), ("max_length", self.max_length), ("tokenizer", tokenizer)):
            unknown = [key for key in given if not any(name == key or name.startswith(f"{key}/") for name in names)]
            if unknown:
                raise SpecError(f"{who}: expected keys {names} in {option}=, got {unknown}.")


class Tokens:
    """Turns text into integers.

    Args:
      tokenizer: a `tokenizers.Tokenizer`, a tokenizer in the manner of `transformers` (called with a text, it gives
        `"input_ids"`), or any function from str to a sequence of integers. An attribute `vocab_size` says how many
        there are.
    """

    def __init__(self, tokenizer: Any):
        self._tokenizer = tokenizer
        if hasattr(tokenizer, "get_vocab_size"):
            self.size: int | None = int(tokenizer.get_vocab_size())
        else:
            # what was added to a vocabulary counts in len(), not in vocab_size
            sizes = [getattr(tokenizer, "vocab_size", None), len(tokenizer) if hasattr(tokenizer, "__len__") else None]
            self.size = max((int(size) for size in sizes if size is not None), default=None)  # type: ignore[type-var]

    def __call__(self, text: str | bytes) -> np.ndarray:
        """Returns int64 [L]."""
        text = text.decode("utf-8", errors="replace") if isinstance(text, bytes) else str(text)
        found = self._tokenizer.encode(text) if hasattr(self._tokenizer, "get_vocab_size") else self._tokenizer(text)
        found = getattr(found, "ids", found)
        found = found["input_ids"] if isinstance(found, Mapping) or hasattr(found, "input_ids") else found
        tokens = np.asarray(found)
        if tokens.ndim != 1 or (tokens.size and tokens.dtype.kind not in "iu"):
            raise SpecError(
                f"expected integers [L] from the tokenizer {type(self._tokenizer).__name__}, got"
                f" {tokens.dtype} {list(tokens.shape)}"
            )
        if self.size is not None and tokens.size and not 0 <= tokens.min() <= tokens.max() < self.size:
            raise SpecError(
                f"expected integers in 0..{self.size - 1} from the tokenizer {type(self._tokenizer).__name__}, got"
                f" {int(tokens.min())}..{int(tokens.max())}"
            )
        return tokens.astype(np.int64)
