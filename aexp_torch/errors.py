"""The exception tree: few types, so that a caller can tell a wrong description from a lost answer.

Every message says who, what was expected, where, what came, and what to do.
"""

__all__ = ["ActionError", "AexpError", "EndOfStream", "FeedbackError", "MissingDependencyError", "SpecError"]


class AexpError(Exception):
    """Is the base of everything that this library raises on purpose."""


class SpecError(AexpError, ValueError):
    """Says that data, an argument or an environment does not match what its spec promises."""


class FeedbackError(AexpError):
    """Says that an answer is missing, late, given twice, or does not fit the action spec."""


class ActionError(FeedbackError, SpecError):
    """Says that an answer has a wrong key, shape, dtype or value: it is wrong as an answer and against its spec."""


class EndOfStream(AexpError):
    """Ends a finite stream: raised by `step`, the normal end of a `for`."""


class MissingDependencyError(AexpError, ImportError):
    """Says that a provider is not installed, and names the command that installs it."""
