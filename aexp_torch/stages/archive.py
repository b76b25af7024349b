"""Archive: the places that a `Teacher` has stored of one source."""

from typing import Any, Literal

import numpy as np

__all__ = ["Archive", "Choice"]

Choice = Literal["best", "proportional"]


class Archive:
    """Keeps some places, and says which one to go back to.

    A place is a dict with `score` (float) and whatever else belongs to it; `number` is added, which counts them.

    Args:
      capacity: the most that are kept.
      keeps_best: the lowest score makes room, the oldest of equal ones; else the oldest.
      choice: "best" chooses the highest score, the newest of equal ones; "proportional" draws in proportion to scores, as
        far as they are above 0.

    Source: the archive of Go-Explore, Ecoffet et al. 2021.
    """

    def __init__(self, capacity: int, keeps_best: bool, choice: Choice):
        self.capacity, self.keeps_best, self.choice = capacity, keeps_best, choice
        self.places: list[dict[str, Any]] = []
        self._count = 0

    def wants(self, score: float) -> bool:
        """Tells whether a place of that score would be kept."""
        return (
            not self.keeps_best
            or len(self.places) < self.capacity
            or score >= min(place["score"] for place in self.places)
        )

    def add(self, place: dict[str, Any]) -> None:
        """Keeps a place; the one that makes room is forgotten."""
        if len(self.places) == self.capacity:
            worst = min(range(self.capacity), key=lambda index: _rank(self.places[index])) if self.keeps_best else 0
            del self.places[worst]
        self.places.append(place | {"number": self._count})
        self._count += 1

    def choose(self, generator: np.random.Generator) -> dict[str, Any] | None:
        """Returns a place; None where there is none to choose."""
        if not self.places:
            return None
        if self.choice == "best":
            return max(self.places, key=_rank)
        shares = np.cumsum([max(place["score"], 0.0) for place in self.places])
        if shares[-1] <= 0:
            return None
        return self.places[int(np.searchsorted(shares, generator.random() * shares[-1], side="right"))]

    def state_dict(self) -> dict:
        """Returns the places and their number."""
        return {"places": list(self.places), "count": self._count}

    def load_state_dict(self, state: dict) -> None:
        """Restores them."""
        self.places, self._count = list(state["places"]), state["count"]


def _rank(place: dict[str, Any]) -> tuple[float, int]:
    return place["score"], place["number"]
