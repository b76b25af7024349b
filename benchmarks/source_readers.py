"""Readers of data beside their providers: the contests of `sources` that read.

To add one, write two functions `function(turns, **arguments)`, one with aexp_torch and one without, and name them in
`contests()`: `duel("Name of the work", "samples/s", f"{HERE}:ours", f"{HERE}:bare", who="Provider", needs=("module",))`.
"""

from benchmarks.contest import Contest

__all__ = ["contests"]

HERE = __name__


def contests() -> list[Contest]:
    """Returns the contests."""
    return []
