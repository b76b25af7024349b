"""Serializers: how many symbols a character is, by the names that CommAI-env has for it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from aexp_torch.commai.configuration import scheduler_maker
from aexp_torch.commai.sessions import BITS, BYTES, CHARACTERS, Rules
from aexp_torch.errors import SpecError

__all__ = ["Mode", "Serializer", "rules_for"]

Mode = Literal["bit", "byte"]
Serializer = Literal["standard", "identity"]

SERIALIZERS = {"standard": BITS, "identity": CHARACTERS}
# As CommAI-env's option -s has them.
RENAMED = {"core.serializer.StandardSerializer": "standard", "core.serializer.IdentitySerializer": "identity"}
SCRAMBLING = "core.serializer.ScramblingSerializerWrapper"


def rules_for(
    config: str | Path | Mapping[str, Any], mode: Mode | None, serializer: Serializer | str | None, compat: bool = False
) -> tuple[Mode, Rules]:
    """Returns the mode and the rules of conversation.

    Args:
      config: whose own mode and serializer are taken where none is given: those of its tasks.
      mode: `"bit"`, CommAI-env's conversation, or `"byte"`, that of the General AI Challenge, which has no serializer.
      serializer: in bit mode, `"standard"`: a character is eight bits; `"identity"`: it is one symbol, and all limits
        count characters. CommAI-env's class paths are taken, too.
      compat: with the defects of the original.

    Raises:
      SpecError: no such mode or serializer.

    >>> rules_for("commai", "bit", "core.serializer.IdentitySerializer")[1].steps
    1
    """
    tasks = scheduler_maker(config)().tasks
    usual = "identity" if any(task.usual_serializer == "identity" for task in tasks) else "standard"
    if mode not in ("bit", "byte", None):
        raise SpecError(f"commai: expected mode 'bit' or 'byte', got {mode!r}.")
    serializer = RENAMED.get(str(serializer), serializer or usual)
    if serializer == SCRAMBLING:
        raise SpecError(
            f"commai: expected a serializer without words of its own, got {serializer!r}. Set scramble=True."
        )
    if serializer not in SERIALIZERS:
        raise SpecError(f"commai: expected one of the serializers {[*SERIALIZERS, *RENAMED]}, got {serializer!r}.")
    mode = mode or ("byte" if any(task.usual_mode == "byte" for task in tasks) else "bit")
    rules = BYTES if mode == "byte" else SERIALIZERS[serializer]
    return mode, rules.with_defects() if compat else rules
