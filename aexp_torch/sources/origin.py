"""comes_from: an object is known by the modules that its classes come from, so that no provider has to be imported."""

from collections.abc import Callable
from typing import Any

__all__ = ["comes_from"]


def comes_from(*modules: str) -> Callable[[Any], bool]:
    """Returns a test: whether one of a thing's classes is defined below one of some modules."""

    def fits(thing: Any) -> bool:
        return any(f"{kind.__module__}.".startswith(f"{module}.") for kind in type(thing).__mro__ for module in modules)

    return fits
