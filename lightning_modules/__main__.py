"""The command `aexp`, and `python -m lightning_modules`: hands on to what trains, or to what tells of the catalogue."""

import sys

from lightning_modules.commands import COMMANDS

__all__ = ["main"]


def main(args: list[str] | None = None) -> None:
    """Runs the command.

    Args:
      args: the command line; by default that of the process.

    Raises:
      SystemExit: with code 2 where something was wrong, 130 where it was interrupted.
    """
    args = list(sys.argv[1:] if args is None else args)
    if args and args[0] in COMMANDS:
        from lightning_modules.commands.main import main as run
    else:
        from lightning_modules.cli import main as run  # which imports Lightning
    run(args)


if __name__ == "__main__":
    main()
