"""How a conformance check fails: who, what was expected, where, what came, what to do."""

from typing import Any

__all__ = ["require"]


def require(holds: Any, who: object, expected: str, where: str, came: object, do: str) -> None:
    """Raises an AssertionError that says what to do, unless `holds`."""
    if not holds:
        name = who if isinstance(who, str) else f"{type(who).__name__}({getattr(who, 'name', '')!r})"
        raise AssertionError(f"{name}: expected {expected} {where}, got {came}. {do}")
