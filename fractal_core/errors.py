"""Errors a user can act on: each is one sentence saying what is wrong, where, and what to do."""


class FractalError(Exception):
    """Something the user can mend; the message is one sentence and is shown without a traceback."""

    exit_code = 1


class UsageError(FractalError):
    """A wrong command line or configuration (exit code 2)."""

    exit_code = 2


class InputError(FractalError):
    """The input data cannot be used as it is."""


class StoreError(FractalError):
    """The workspace is damaged, locked, unwritable or of another version."""


class QueryError(FractalError):
    """A query that is not valid SQL or is not allowed."""
