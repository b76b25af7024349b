"""What `aexp` does beside training: it tells what there is, looks like, and is missing; and it talks.

Nothing here imports Lightning, or a provider whose source is not opened.
To add a command: a file with `add_arguments(parser)` and `run(arguments, console)`, and a line in `COMMANDS`.
What trains belongs in `lightning_modules.cli`.
"""

__all__ = ["COMMANDS"]

COMMANDS = {  # name: (module, what it does)
    "list": ("lightning_modules.commands.listing", "list what is ready-made: environments and datasets"),
    "show": ("lightning_modules.commands.show", "show one of them: its specs, and a sample"),
    "doctor": ("lightning_modules.commands.doctor", "tell what is installed, what is missing, and what to type"),
    "commai": (
        "lightning_modules.commands.commai",
        "run learners on the tasks of CommAI-env, or talk with them yourself",
    ),
}
