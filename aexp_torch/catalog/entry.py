"""Entry: something ready-made, by name; what it is, what it needs, and how it is built."""

import importlib
import importlib.util
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aexp_torch.env import Env

__all__ = ["Entry", "in_bytes"]


@dataclass(frozen=True)
class Entry:
    """Describes an environment or a dataset that can be built with one call.

    Args:
      name: unique; the name of the source, too.
      tags: dotted paths from the broad to the narrow (`"image.classification"`), any number, and `key:value` pairs.
      factory: returns the source as a recipe, or `"module:function"`, imported when it is called.
      arguments: for the factory.
      version: of the environment or dataset.
      extra: the extra of `aexp-torch` that installs the provider; None where the core is enough.
      modules: what has to be there to import.
      licence: SPDX identifier or name; "" where nobody says.
      size: bytes to download; None where unknown.
      download: whether the data comes over the network, once.
      here: tells whether a download has been made; None where that cannot be known without trying.
      instruction: what to do, in one sentence, for agents that read.
      about: one line for people.
      source: where it comes from: a paper or an address.
      programs: what has to be there to run, on the PATH.
      by_hand: what somebody has to do before it works, where no extra and no download does it: a registration, a licence,
        an installation.
    """

    name: str
    tags: tuple[str, ...]
    factory: Callable[..., Env] | str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    version: int = 0
    extra: str | None = None
    modules: tuple[str, ...] = ()
    licence: str = ""
    size: int | None = None
    download: bool = False
    here: Callable[[], bool] | None = None
    instruction: str = ""
    about: str = ""
    source: str = ""
    programs: tuple[str, ...] = ()
    by_hand: str = ""

    def make(self, *, download: bool | None = None, **options: Any) -> Env:
        """Returns the source as a recipe, which knows its tags, version and instruction.

        Args:
          download: whether data may be downloaded, when it is opened; where there is none to download, it is nothing.
          options: for the factory; they win over the entry's arguments.
        """
        if self.download and download is not None:
            options["download"] = download
        factory = self.factory
        if isinstance(factory, str):
            module, _, function = factory.partition(":")
            factory = getattr(importlib.import_module(module), function)
        env = factory(**{"name": self.name, **self.arguments, **options})
        env.tags, env.version, env.instruction = self.tags, self.version, self.instruction
        return env

    def why_not(self, download: bool = False) -> str | None:
        """Says why it cannot be built here, and what to type; None where it can, as far as that is known beforehand.

        Args:
          download: whether data may be downloaded.
        """
        missing = [module for module in self.modules if not _is_installed(module)]
        missing += [program for program in self.programs if shutil.which(program) is None]
        if missing:
            remedy = f'pip install "aexp-torch[{self.extra}]"' if self.extra else f"pip install {' '.join(missing)}"
            are = "is" if len(missing) == 1 else "are"
            return f"{', '.join(missing)} {are} not installed: {self.by_hand or remedy}"
        if not self.download or (self.here is not None and self.here()):
            return None
        if self.by_hand:
            return "needs files that are not downloaded from here: path="
        return None if download else "needs a download: download=True"


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):  # a parent that does not import
        return False


def in_bytes(size: int) -> str:
    """Returns a size as people write it.

    >>> in_bytes(11_594_722), in_bytes(1_500)
    ('11.6 MB', '1.5 kB')
    """
    value, unit = float(size), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{value:.3g} {unit}"
