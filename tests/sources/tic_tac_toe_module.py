"""A module as PettingZoo's environments come: with `env`."""

from pettingzoo.classic.tictactoe.tictactoe import env

__all__ = ["env"]
