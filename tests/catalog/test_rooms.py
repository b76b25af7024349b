"""RoomsEnv: what the sentence says is worth something, and the world is as described."""

from collections import deque

import numpy as np
import pytest
import torch

import aexp_torch as ae
from aexp_torch.catalog.rooms import COLORS, MOVES, OBJECTS, SHAPES, RoomsEnv
from aexp_torch.testing import check_env


def named(timestep, lane=0):
    """The cell that the sentence of a lane names."""
    words = bytes(timestep.observation["text:instruction"][lane]).rstrip(b"\0").decode().split()
    assert words[:3] == ["go", "to", "the"]
    return OBJECTS + len(SHAPES) * COLORS.index(words[3]) + SHAPES.index(words[4])


def way(grid, goal):
    """The moves from the agent (2) to the nearest cell that holds `goal`, over the floor."""
    start = tuple(np.argwhere(grid == 2)[0])
    ways, waiting = {start: []}, deque([start])
    while waiting:
        cell = waiting.popleft()
        for move, (down, across) in enumerate(MOVES):
            after = (cell[0] + down, cell[1] + across)
            if grid[after] == goal:
                return [*ways[cell], move]
            if grid[after] == 0 and after not in ways:
                ways[after] = [*ways[cell], move]
                waiting.append(after)
    return []


def answer(moves):
    return {"action": torch.tensor(moves)}


def test_conformance():
    check_env(RoomsEnv(3, max_steps=12), random=True, partial_ends=True)


def test_whoever_reads_is_paid():
    env = RoomsEnv(seed=4)
    timestep = env.reset()
    for _ in range(60):
        grid = timestep.observation["grid"][0].numpy()
        objects = sorted(grid[grid >= OBJECTS].tolist())
        assert len(set(objects)) == 3 and named(timestep) in objects and (grid == 2).sum() == 1
        assert (grid[[0, -1]] == 1).all() and (grid[:, [0, -1]] == 1).all()
        moves = way(grid, named(timestep))
        assert moves, grid
        for move in moves:
            assert timestep.reward.item() == 0 and not timestep.last().item()
            timestep = env.step(answer([move]))
        assert timestep.terminated().item() and timestep.reward.item() == 1
        timestep = env.step(answer([0]))
        assert timestep.first().item()


def test_whoever_goes_elsewhere_is_not():
    env = RoomsEnv(seed=1)
    timestep, wrong = env.reset(), 0
    for _ in range(40):
        grid = timestep.observation["grid"][0].numpy()
        others = [kind for kind in grid[grid >= OBJECTS] if kind != named(timestep) and way(grid, kind)]
        moves = way(grid, others[0]) if others else way(grid, named(timestep))
        for move in moves:
            timestep = env.step(answer([move]))
        assert timestep.terminated().item() and timestep.reward.item() == (0 if others else 1)
        wrong += bool(others)
        timestep = env.step(answer([0]))
    assert wrong > 30


def test_walls_stop_and_time_ends():
    env = RoomsEnv(max_steps=5)
    timestep = env.reset()
    for step in range(5):
        before = timestep.observation["grid"][0].clone()
        row, column = (before == 2).nonzero()[0].tolist()
        blocked = [move for move, (down, across) in enumerate(MOVES) if before[row + down, column + across] == 1]
        free = [move for move, (down, across) in enumerate(MOVES) if before[row + down, column + across] == 0]
        timestep = env.step(answer([blocked[0] if blocked else free[0]]))
        assert torch.equal(timestep.observation["grid"][0], before) == bool(blocked)
        assert timestep.last().item() == (step == 4)
    assert timestep.truncated().item() and timestep.discount.item() == 1


def test_options():
    assert RoomsEnv(2, size=6).specs["rooms"].observation["grid"].shape == (6, 6)
    assert RoomsEnv().max_episode_steps == 40
    with pytest.raises(ae.SpecError, match="RoomsEnv: expected size from 6 and max_steps from 1 on, got 5 and 40"):
        RoomsEnv(size=5)
