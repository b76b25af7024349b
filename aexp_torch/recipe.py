"""Recipe: a description that can be opened, and closed again, wherever it is needed.

Building, copying or pickling a recipe starts nothing and carries nothing that runs.
"""

import copy
import ctypes
import os
import weakref
from typing import Any, Self

__all__ = ["Recipe"]

_open: "weakref.WeakSet[Recipe]" = weakref.WeakSet()
_inherited: list[dict[str, Any]] = []


class Recipe:
    """Is a description until it is opened, in the process where that happens.

    The attributes that were set before `open` are the recipe. Those that `on_open` and later calls set are what runs:
    `close` takes them away, copies and pickles leave them out, and a forked child finds a recipe.
    """

    opens_children: bool = True
    _recipe: dict[str, Any] | None = None

    @property
    def children(self) -> tuple[Any, ...]:
        """The recipes that this one is built around; they are opened before it, unless it says `opens_children = False`."""
        return ()

    def on_open(self) -> None:
        """Starts what the recipe describes."""

    def on_close(self) -> None:
        """Stops what `on_open` started."""

    def open(self) -> None:
        """Makes the recipe run; does nothing where it does."""
        if self._recipe is not None:
            return
        recipe = dict(vars(self))
        try:
            for child in self.children if self.opens_children else ():
                child.open()
            self.on_open()
        except BaseException:
            self.__dict__ = recipe
            raise
        self._recipe = recipe
        _open.add(self)

    def close(self) -> None:
        """Makes it a recipe again and frees what it held."""
        if self._recipe is not None:
            try:
                self.on_close()
            finally:
                self._forget()
        for child in self.children:
            child.close()

    def _forget(self) -> None:
        self.__dict__ = dict(self._recipe or vars(self))

    def __getstate__(self) -> dict[str, Any]:
        return dict(self._recipe if self._recipe is not None else vars(self))

    def __copy__(self) -> Self:
        new = type(self).__new__(type(self))
        new.__dict__.update(self.__getstate__())
        new._copy_children()
        return new

    def __deepcopy__(self, memo: dict) -> Self:
        return copy.copy(self)

    def _copy_children(self) -> None:
        """Replaces the children of a fresh copy by copies of their own."""


def _forget_inherited() -> None:
    """Makes every running recipe a recipe again in a forked child; what it held is the parent's and is kept as it is."""
    for recipe in list(_open):
        _inherited.append(recipe.__dict__)
        recipe._forget()
    if _open:
        # Not even the interpreter's end may free it: simulators in C++ would join threads that a fork leaves behind.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(_inherited))
    _open.clear()


os.register_at_fork(after_in_child=_forget_inherited)
