"""The command `aexp`, and `python -m lightning_modules`: hands on to what trains, or to what tells of the catalogue."""

import difflib
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
    alike = difflib.get_close_matches(args[0], COMMANDS, 1) if args else []
    if alike and args[0] not in COMMANDS:
        print(f"aexp: no such command {args[0]!r}. Did you mean {alike[0]}?", file=sys.stderr)
        raise SystemExit(2)
    if alike:
        from lightning_modules.commands.main import main as run
    else:
        from lightning_modules.cli import main as run  # which imports Lightning
    run(args)


if __name__ == "__main__":
    main()
