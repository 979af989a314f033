"""The commands' exit codes, and the one way a command ends early."""

from __future__ import annotations

from enum import IntEnum
from typing import NoReturn

from taskgate.model.errors import (
    BadConfig,
    Conflict,
    Denied,
    NotAuthenticated,
    NotFound,
    TaskgateError,
    UpstreamFault,
)


class Exit(IntEnum):
    """`exec` and `connect` end with the status of the command they ran; 125 means that it was
    never started, 126 and 127 are the shell's own (cannot execute, not found)."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_SIGNED_IN = 3
    REFUSED = 4
    NOT_FOUND = 5
    UNREACHABLE = 6
    INVALID = 7
    TAMPERED = 8
    NOT_STARTED = 125
    CANNOT_EXECUTE = 126
    COMMAND_NOT_FOUND = 127


class Stop(Exception):
    """Ends a command: what happened, which rule said so, what to do next."""

    def __init__(
        self, message: str, code: Exit = Exit.FAILED, *, rule: str = "", hint: str = ""
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.rule = rule
        self.hint = hint


def stop(message: str, code: Exit = Exit.FAILED, *, rule: str = "", hint: str = "") -> NoReturn:
    raise Stop(message, code, rule=rule, hint=hint)


def code_of(error: TaskgateError) -> Exit:
    """The exit code that tells a script what kind of failure this is."""
    match error:
        case Denied():
            return Exit.REFUSED
        case NotAuthenticated():
            return Exit.NOT_SIGNED_IN
        case NotFound() | Conflict():
            return Exit.NOT_FOUND
        case BadConfig():
            return Exit.INVALID
        case UpstreamFault():
            return Exit.UNREACHABLE
        case _:
            return Exit.FAILED


def code_of_status(status: int) -> Exit:
    """The same for an answer of the API, by its HTTP status."""
    match status:
        case 401:
            return Exit.NOT_SIGNED_IN
        case 403:
            return Exit.REFUSED
        case 404 | 409 | 410:
            return Exit.NOT_FOUND
        case 400 | 413 | 415 | 422:
            return Exit.INVALID
        case 502 | 503 | 504:
            return Exit.UNREACHABLE
        case _:
            return Exit.FAILED
