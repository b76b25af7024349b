"""Runs one of the commands that tell of the catalogue, and says in one line what was wrong."""

import argparse
import importlib
import os
import sys
from typing import Any, NoReturn

from rich.console import Console

from aexp_torch.errors import AexpError, SpecError
from lightning_modules.cli_errors import in_one_line
from lightning_modules.commands import COMMANDS

__all__ = ["main"]

WRONG, INTERRUPTED = 2, 130  # exit codes, as for training


class Parser(argparse.ArgumentParser):
    """Says in one line what is wrong."""

    def error(self, message: str) -> NoReturn:
        """Raises instead of printing."""
        raise SpecError(f"{self.prog.removeprefix('aexp ')}: {message}. `{self.prog} --help` shows what there is")


def main(args: list[str]) -> None:
    """Runs a command.

    Args:
      args: its name and its options. `--traceback` (or AEXP_TRACEBACK=1) shows where an error came from.

    Raises:
      SystemExit: with code 2 where something was wrong, 130 where it was interrupted.
    """
    wants_traceback = "--traceback" in args or bool(os.environ.get("AEXP_TRACEBACK"))
    name, *options = [arg for arg in args if arg != "--traceback"]
    module, summary = COMMANDS[name]
    command: Any = importlib.import_module(module)
    parser = Parser(prog=f"aexp {name}", description=f"{summary[0].upper()}{summary[1:]}.")
    command.add_arguments(parser)
    try:
        code = command.run(parser.parse_args(options), Console())
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("aexp: interrupted", file=sys.stderr)
        raise SystemExit(INTERRUPTED) from None
    except BrokenPipeError:  # `aexp list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0) from None
    except (AexpError, OSError) as error:
        if wants_traceback:
            raise
        print(f"aexp: {in_one_line(error)}", file=sys.stderr)
        raise SystemExit(WRONG) from None
    if code:
        raise SystemExit(code)
