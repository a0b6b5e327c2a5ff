"""One exception tree. Every message says the rule, what was received, and the fix.

A user's mistake raises a `TextmillError`; the command line prints it as one line and exits with status 2.
A programmer's mistake is an `assert`.
"""


class TextmillError(Exception):
    """A mistake the user can mend.

    >>> print(ConfigError("temperature must be > 0, got -1", fix="use 0.8"))
    temperature must be > 0, got -1. Fix: use 0.8
    """

    exit_status = 2
    """What the command line ends with."""
    usual_fix = ""
    """The fix where none is given."""

    def __init__(self, problem: str, *, fix: str = "") -> None:
        self.problem = problem
        self.fix = fix or self.usual_fix
        super().__init__(f"{problem}. Fix: {self.fix}" if self.fix else problem)


class ConfigError(TextmillError):
    """A setting is unknown, of the wrong type, out of range, or contradicts another."""


class DataError(TextmillError):
    """The input cannot be used: missing, empty, undecodable, too short."""


class FormatError(TextmillError):
    """A file is not what its name or header promises: malformed, truncated, tampered with, or of an unknown version."""

    usual_fix = "fetch the file again, or make it again by the command that made it"


class OutputError(TextmillError):
    """The output cannot be written: disk full, read-only, or the folder holds something else."""


class NotSupportedError(TextmillError):
    """The request is understood and not implemented here."""
