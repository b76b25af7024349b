"""Scrambler: every word of the language is another one, so that English is of no help."""

import random
import re
import string

__all__ = ["Scrambler"]

PIECES = re.compile(r"(\W)")
KEPT = frozenset(" ,.:;'\"?")
VOWELS = "aeiouy"
CONSONANTS = "".join(sorted(set(string.ascii_lowercase) - set(VOWELS)))
MOST_WORDS = 8192  # in both directions together; what was not said for longest is forgotten
MOST_TRIES = 1000


class Scrambler:
    """Replaces words by invented ones of the same length, always the same for a word, and back.

    Args:
      rng: invents words, in which vowels and consonants take turns.

    >>> scrambler = Scrambler(random.Random(1))
    >>> said = scrambler.scramble("Repeat cat.")
    >>> len(said), scrambler.unscramble(said)
    (11, 'Repeat cat.')
    """

    def __init__(self, rng: random.Random):
        self._rng = rng
        self.invented: dict[str, str] = {}  # in both directions

    def scramble(self, text: str) -> str:
        """Returns what is said instead of a text."""
        return "".join(self._instead(piece, invent=True) for piece in PIECES.split(text))

    def unscramble(self, text: str) -> str:
        """Returns what was meant: words that nothing stands for mean themselves."""
        return "".join(self._instead(piece, invent=False) for piece in PIECES.split(text))

    def _instead(self, piece: str, invent: bool) -> str:
        if not piece or piece in KEPT:
            return piece
        word = piece.lower()
        if invent:
            other = self.invented.pop(word, None) or self._invent(len(word))
            self.invented.pop(other, None)
            self.invented |= {word: other, other: word}  # the latest words come last
            if len(self.invented) > MOST_WORDS:
                oldest = next(iter(self.invented))
                self.invented.pop(self.invented.pop(oldest), None)
        return _in_case_of(piece, self.invented.get(word, word))

    def _invent(self, length: int) -> str:
        for _ in range(MOST_TRIES):
            sorts = self._rng.sample((VOWELS, CONSONANTS), 2)
            word = "".join(self._rng.choice(sorts[place % 2]) for place in range(length))
            if word not in self.invented:
                break
        return word


def _in_case_of(piece: str, word: str) -> str:
    """Returns a word with the capitals of another."""
    if len(word) != len(piece):
        return word.capitalize() if piece[:1].isupper() else word
    return "".join(letter.upper() if like.isupper() else letter for letter, like in zip(word, piece, strict=True))
