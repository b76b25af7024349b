"""How close does a source come to its provider, stepped or read bare?

Both do the same work with the same options, and answers are the same random actions: what differs is what a timestep
costs. `python -m benchmarks sources` asks it.
"""

from benchmarks.contest import Contest, Contestant, Figure

__all__ = ["AT_LEAST", "contests", "duel"]

AT_LEAST = 0.9  # of the bare provider's rate


def duel(
    title: str,
    unit: str,
    ours: str,
    bare: str,
    *,
    who: str,
    needs: tuple[str, ...] = (),
    longer: float = 1.0,
    **arguments,
) -> Contest:
    """Returns a contest between a source of aexp_torch and its provider.

    Args:
      title: the work: `"Pong, 8 lanes"`.
      unit: of the rates: `"frames/s"`, `"samples/s"`.
      ours: `module:function` of a contestant that uses aexp_torch: `function(turns, **arguments)` works for ever, calls
        `turns(units)` after every step, and cleans up in a `finally`.
      bare: the same without aexp_torch.
      who: the provider, for the table.
      needs: modules without which neither can run.
      longer: how many times as long as others its turns are.
      arguments: JSON, for both functions.
    """
    mine, theirs = f"aexp_torch, {who}", f"{who}, bare"
    contestants = [
        Contestant(mine, ours, arguments, "ours", needs),
        Contestant(theirs, bare, arguments, "limit", needs),
    ]
    figure = Figure(f"{title}: aexp_torch over {who}, bare", mine, theirs, at_least=AT_LEAST)
    return Contest(f"{title} ({who})", unit, contestants, [figure], longer=longer)


def contests() -> list[Contest]:
    """Returns the contests."""
    from benchmarks import source_readers

    return [*source_readers.contests()]
