"""Pictures of pipelines: what is around what, and what passes between.

A drawing says what `specs` says, starts no more than asking for them does, and steps nothing.
To add a kind of picture: a function of a `Node` in a file of its own, and a line in `Drawing`.
What happens over time is drawn by `aexp_torch.testing.timeline`.
"""

from aexp_torch.drawing.draw import Drawing, draw

__all__ = ["Drawing", "draw"]
