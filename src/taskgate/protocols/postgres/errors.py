"""The gate's own errors and notices in PostgreSQL's form.

Source: PostgreSQL documentation, "Error and Notice Message Fields".
"""

from enum import StrEnum
from typing import Final

from taskgate.model.errors import TaskgateError
from taskgate.protocols.postgres import tags
from taskgate.protocols.postgres.messages import encode_report

# What a terminal or a log can take in one message; the rest of a text adds nothing.
_MAX_FIELD_CHARS: Final = 8_000
SUCCESSFUL: Final = "00000"
WARNING: Final = "01000"


class Sqlstate(TaskgateError):
    """An error that PostgreSQL itself would give here, with its own code (appendix "PostgreSQL
    Error Codes")."""

    def __init__(self, sqlstate: str, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.sqlstate = sqlstate


class Severity(StrEnum):
    ERROR = "ERROR"
    FATAL = "FATAL"
    NOTICE = "NOTICE"
    WARNING = "WARNING"
    INFO = "INFO"


def encode_error(
    error: TaskgateError,
    *,
    severity: Severity = Severity.ERROR,
    detail: str = "",
    position: int = 0,
) -> bytes:
    """An ErrorResponse for `error`: its SQLSTATE, message and hint.

    FATAL tells the client that its connection ends. `position` counts characters into the
    statement's text from 1; 0 for none.
    """
    return _encode(
        tags.ERROR_RESPONSE, severity, error.sqlstate, error.message, detail, error.hint, position
    )


def encode_notice(
    message: str,
    *,
    severity: Severity = Severity.NOTICE,
    sqlstate: str = SUCCESSFUL,
    detail: str = "",
    hint: str = "",
) -> bytes:
    """A NoticeResponse; it may stand between any two messages of the server."""
    return _encode(tags.NOTICE_RESPONSE, severity, sqlstate, message, detail, hint, 0)


def _encode(
    tag: int,
    severity: Severity,
    sqlstate: str,
    message: str,
    detail: str,
    hint: str,
    position: int,
) -> bytes:
    fields = [
        ("S", severity.value),
        ("V", severity.value),
        ("C", sqlstate),
        ("M", _clean(message) or "unknown error"),
    ]
    if detail:
        fields.append(("D", _clean(detail)))
    if hint:
        fields.append(("H", _clean(hint)))
    if position > 0:
        fields.append(("P", str(position)))
    return encode_report(tag, fields)


def _clean(text: str) -> str:
    """A NUL would end the field early and let the text after it pass for another field."""
    return text.replace("\0", "\ufffd")[:_MAX_FIELD_CHARS]
