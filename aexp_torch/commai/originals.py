"""Names of the originals' modules, which learners and configurations that were written for them import."""

import importlib
import importlib.abc
import importlib.util
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

__all__ = ["importable"]


@contextmanager
def importable(modules: Mapping[str, str], renamed: Mapping[str, str] | None = None) -> Iterator[None]:
    """Within, modules of the originals can be imported: each is the one of ours with the same classes.

    What can be imported without is left alone, as in a copy of an original.

    Args:
      modules: names there, and dotted paths here.
      renamed: names of classes there, and here.

    >>> with importable({"core.scheduler": "aexp_torch.commai.schedulers"}):
    ...     from core.scheduler import RandomTaskScheduler
    >>> RandomTaskScheduler.__module__
    'aexp_torch.commai.schedulers'
    """
    finder = _Finder(modules, renamed or {})
    sys.meta_path.append(finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in finder.made:
            sys.modules.pop(name, None)


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Is asked last."""

    def __init__(self, modules: Mapping[str, str], renamed: Mapping[str, str]):
        self._modules, self._renamed = modules, renamed
        parents = [name.split(".")[:depth] for name in modules for depth in range(1, name.count(".") + 1)]
        self._packages = {".".join(parts) for parts in parents}
        self.made: list[str] = []

    def find_spec(self, name: str, path: Any, target: ModuleType | None = None) -> ModuleSpec | None:
        if name not in self._modules and name not in self._packages:
            return None
        return importlib.util.spec_from_loader(name, self, is_package=name in self._packages)

    def exec_module(self, module: ModuleType) -> None:
        self.made.append(module.__name__)
        if module.__name__ in self._modules:
            ours = vars(importlib.import_module(self._modules[module.__name__]))
            vars(module).update({name: value for name, value in ours.items() if not name.startswith("_")})
            vars(module).update({there: ours[here] for there, here in self._renamed.items() if here in ours})
