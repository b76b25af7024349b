"""What a network leaves out, and who is told of it."""

from collections.abc import Callable

__all__ = ["LeaveOut"]

LeaveOut = Callable[[str, Exception], None]
"""Is told the name of a leaf, and why there is no network for it."""
