"""import_provider: a package of somebody else, imported when it is needed, or named with what installs it."""

import importlib
from typing import Any

from aexp_torch.errors import MissingDependencyError

__all__ = ["import_provider"]


def import_provider(module: str, extra: str, who: str, remedy: str | None = None) -> Any:
    """Returns a module of an optional package.

    Args:
      module: its full name, `"pettingzoo.utils"`.
      extra: the extra of `aexp-torch` that installs the package.
      who: who needs it, for the message.
      remedy: what to do where no extra installs it.

    Raises:
      MissingDependencyError: it, or something that it imports, is not installed.
    """
    try:
        return importlib.import_module(module)
    except Exception as error:  # a package that was built for another version raises whatever it likes
        package = module.partition(".")[0]
        raise MissingDependencyError(
            f"{who}: expected the package {package}, it is not installed or does not import here ({error})."
            + (f" {remedy}" if remedy else f' Install it: pip install "aexp-torch[{extra}]"')
        ) from error
