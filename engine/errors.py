"""Errors that a person can cause: one sentence that says what, where, and what would be right."""

from __future__ import annotations


def described(error: BaseException) -> str:
    """Type and text of an error of somebody else's code; the type alone where there is no text."""
    return f"{type(error).__name__}: {error}".strip(": ")


class UserError(Exception):
    """A failure whose message is written for the person at the terminal.

    The message is one sentence (two at most) and needs no traceback. The commands print it on
    stderr and leave with exit code 2, or 1 once training has begun.
    """


class ConfigError(UserError):
    """A configuration value that cannot be used.

    Args:
        message: the whole sentence.
        key: dotted name of the field at fault (``moco.queue_size``), empty when no single one is.
    """

    def __init__(self, message: str, key: str = "") -> None:
        super().__init__(message)
        self.key = key


class DataError(UserError):
    """Images or labels that are missing, unreadable or do not fit the request."""


class RunError(UserError):
    """A run folder, index or checkpoint that cannot be used as asked."""


class DamagedFileError(RunError):
    """A file of a run that does not hold what was written into it.

    One that cannot be read, or that a newer version wrote, is none: it is kept as it is.
    """


class RunBusyError(RunError):
    """Another process owns the run, or holds the index or the storage lock; try again later."""


class TrainingError(UserError):
    """Training began and cannot go on (a loss that is not finite, memory that ran out)."""
