"""LastSymbols: the end of many conversations, for people to read."""

import numpy as np

from aexp_torch.commai.channels import SPACE

__all__ = ["LastSymbols"]

KEPT = 1000  # symbols of a lane
WIDTH = 100  # columns of a line


class LastSymbols:
    """Keeps the last 1,000 symbols that were said and heard in each of N lanes, with the rewards.

    A column is one symbol: what the environment says (`E`), the reply to that (`L`), and the reward that comes with what the
    environment says (`R`: `+`, `-` or a space), which is for what was replied before.
    """

    def __init__(self, num_lanes: int):
        self._said, self._heard = (np.full((num_lanes, KEPT), SPACE, np.uint8) for _ in range(2))
        self._reward = np.zeros((num_lanes, KEPT), np.int8)
        self._count = 0

    def hear(self, symbols: np.ndarray) -> None:
        """Notes the replies (uint8 [N]) to what was said last."""
        self._heard[:, (self._count - 1) % KEPT] = symbols

    def say(self, symbols: np.ndarray, rewards: np.ndarray) -> None:
        """Notes what is said (uint8 [N]) and the rewards (float32 [N])."""
        place = self._count % KEPT
        self._said[:, place], self._heard[:, place], self._reward[:, place] = symbols, SPACE, np.sign(rewards)
        self._count += 1

    def text(self, lane: int, length: int) -> str:
        """Returns the last `length` columns of a lane, 100 on a line."""
        last = np.arange(max(0, self._count - min(length, KEPT)), self._count) % KEPT
        said, heard = ("".join(map(_shown, kept[lane, last].tolist())) for kept in (self._said, self._heard))
        rewards = "".join(" +-"[reward] for reward in self._reward[lane, last].tolist())
        blocks = [slice(start, start + WIDTH) for start in range(0, len(last), WIDTH)]
        lines = (("E", said), ("L", heard), ("R", rewards))
        return "\n\n".join("\n".join(f"{who}|{line[block]}".rstrip() for who, line in lines) for block in blocks)


def _shown(code: int) -> str:
    letter = chr(code)
    return letter if letter.isprintable() else "·"
