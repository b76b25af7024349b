"""draw: a picture of any pipeline, as text and as SVG."""

from collections.abc import Mapping
from pathlib import Path

from aexp_torch.drawing.as_svg import as_svg
from aexp_torch.drawing.as_text import as_text
from aexp_torch.drawing.graph import graph_of
from aexp_torch.env import Env
from aexp_torch.errors import SpecError
from aexp_torch.loading import Loader

__all__ = ["Drawing", "draw"]


class Drawing:
    """Is a picture in two forms; a terminal shows the text, a notebook the SVG.

    Args:
      text: plain characters, a line for each box and for each key on an edge.
      svg: an SVG document without scripts or references, for light and dark pages.
    """

    def __init__(self, text: str, svg: str):
        self.text, self.svg = text, svg

    def __repr__(self) -> str:
        return self.text

    def _repr_svg_(self) -> str:
        return self.svg

    def save(self, path: str | Path) -> None:
        """Writes the SVG to a file `*.svg`, or the text to a file `*.txt`.

        Raises:
          SpecError: another suffix.
        """
        forms = {".svg": self.svg, ".txt": self.text + "\n"}
        suffix = Path(path).suffix
        if suffix not in forms:
            raise SpecError(f"Drawing.save: expected a path that ends in {sorted(forms)}, got {str(path)!r}.")
        Path(path).write_text(forms[suffix], encoding="utf-8")


def draw(what: Env | Loader | Mapping[str, Env], *, max_keys: int = 8) -> Drawing:
    """Draws a pipeline: sources, stages, compositions, and what passes between them.

    Timesteps flow from the sources to the agent, answers the way back. On every edge stand, by source, its lanes and the
    keys of observation and action, for one lane: `float32 [4]`, `uint8 [84, 84, 3] 0..255`; what a stage has added or
    changed is bold in the SVG. A box has a class and those of its arguments that are not the default, as far as they are
    kept under their own names (or with `given_` or `_` in front). A loader's edges have the share of the steps.

    The environments are opened, as by asking for their specs, and nothing is reset or stepped.

    Args:
      what: an environment, a Loader (one slot of each of its environments is drawn), or `{name: environment}`.
      max_keys: the most keys of one source, and the most sources, that are written on one side of an edge.

    Raises:
      SpecError: something else was given; or what an environment itself raises when it is opened.

    >>> import aexp_torch as ae
    >>> print(ae.draw(ae.GymnasiumEnv("CartPole-v1", num_envs=16).pipe(ae.ObserveReward)))
    GymnasiumEnv('CartPole-v1', num_envs=16)
    │  CartPole-v1, 16 lanes
    │  ↓ observation  float32 [4]
    │  ↑ action       int64 [] 0..1
    ObserveReward
    │  CartPole-v1, 16 lanes
    │  ↓ observation  float32 [4]
    │  ↓ reward       float32 []
    │  ↑ action       int64 [] 0..1
    agent
    """
    if not isinstance(max_keys, int) or max_keys < 1:
        raise SpecError(f"draw: expected max_keys of at least 1, got {max_keys!r}.")
    graph = graph_of(what)
    return Drawing(as_text(graph, max_keys), as_svg(graph, max_keys))
