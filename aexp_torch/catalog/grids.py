"""Grids: cells that follow rules: the game of life, and mazes to find a way through."""

from collections import deque
from typing import Any

import numpy as np
from dm_env import specs as dm_specs

from aexp_torch.catalog.prepared import Columns, Split, part_of, prepared
from aexp_torch.sources.dataset import DatasetEnv
from aexp_torch.specs import Modality

__all__ = ["game_of_life", "mazes"]

SIDE = 16
MAZE = 11


def game_of_life(split: Split = "train", name: str = "game_of_life", **options: Any) -> DatasetEnv:
    """Streams worlds of Conway's game of life: x uint8 [16, 16], 1 where a cell lives, y the same a step later.

    The world has no edge: left of the first column is the last. The first half of the 2,000 worlds is random, each
    of the others is what became of one of these.

    Args:
      split: four fifths for training, one for testing, or all.
      name: names the source.
      options: everything else that DatasetEnv takes.

    Source: M. Gardner (1970), The fantastic combinations of John Conway's new solitaire game "life".
    """
    cells = {key: dm_specs.BoundedArray((SIDE, SIDE), np.uint8, 0, 1, key) for key in "xy"}
    return prepared(_worlds, split, name, specs=cells, **options)


def mazes(split: Split = "train", name: str = "mazes", **options: Any) -> DatasetEnv:
    """Streams mazes: x uint8 [11, 11] (0 way, 1 wall, 2 here, 3 goal), y int64, the first move of the shortest way.

    Moves are 0 up, 1 right, 2 down, 3 left. There is one way from everywhere to everywhere.

    Args:
      split: four fifths of 1,000 for training, one for testing, stratified by class; or all.
      name: names the source.
      options: everything else that DatasetEnv takes.

    Source: A. Tamar et al. (2016), Value iteration networks, for the task.
    """
    cells = {"x": dm_specs.BoundedArray((MAZE, MAZE), np.uint8, 0, 3, "x")}
    symbols = {"x": Modality("grid", "categorical")}
    return prepared(_mazes, split, name, classes=4, specs=cells, modalities=symbols, **options)


def _worlds(split: str) -> Columns:
    rng = np.random.default_rng(0)
    density = rng.uniform(0.1, 0.6, (1000, 1, 1))
    first = (rng.random((1000, SIDE, SIDE)) < density).astype(np.uint8)
    worlds = np.concatenate([first, _later(_later(first))])
    return part_of({"x": worlds, "y": _later(worlds)}, split)


def _later(worlds: np.ndarray) -> np.ndarray:
    shifts = [(down, across) for down in (-1, 0, 1) for across in (-1, 0, 1) if (down, across) != (0, 0)]
    neighbours = sum(np.roll(worlds, shift, (1, 2)) for shift in shifts)
    return ((neighbours == 3) | ((worlds == 1) & (neighbours == 2))).astype(np.uint8)


def _mazes(split: str) -> Columns:
    rng = np.random.default_rng(0)
    made = [_maze(rng) for _ in range(1000)]
    y = np.array([move for _, move in made], np.int64)
    return part_of({"x": np.stack([maze for maze, _ in made]), "y": y}, split)


MOVES = ((-1, 0), (0, 1), (1, 0), (0, -1))


def _maze(rng: np.random.Generator) -> tuple[np.ndarray, int]:
    """Carves ways from room to room (depth first), and asks for the way between two rooms."""
    maze = np.ones((MAZE, MAZE), np.uint8)
    trail = [(1, 1)]
    maze[1, 1] = 0
    while trail:
        row, column = trail[-1]
        for move in rng.permutation(4):
            down, across = MOVES[move]
            room = (row + 2 * down, column + 2 * across)
            if 0 < room[0] < MAZE and 0 < room[1] < MAZE and maze[room] == 1:
                maze[row + down, column + across] = maze[room] = 0
                trail.append(room)
                break
        else:
            trail.pop()
    rooms = MAZE // 2
    here, goal = rng.choice(rooms * rooms, 2, replace=False)
    start, end = ((2 * (place // rooms) + 1, 2 * (place % rooms) + 1) for place in (here, goal))
    move = _first_move(maze, start, end)
    maze[start], maze[end] = 2, 3
    return maze, move


def _first_move(maze: np.ndarray, start: tuple[int, int], end: tuple[int, int]) -> int:
    """Returns the move that leads from a start towards an end, by looking from the end (breadth first)."""
    seen, waiting = {end}, deque([end])
    while waiting:
        row, column = waiting.popleft()
        for move, (down, across) in enumerate(MOVES):
            cell = (row + down, column + across)
            if cell == start:
                return (move + 2) % 4
            if maze[cell] == 0 and cell not in seen:
                seen.add(cell)
                waiting.append(cell)
    raise AssertionError("a maze without a way")
