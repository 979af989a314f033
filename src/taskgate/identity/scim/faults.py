"""Errors in SCIM's own form (RFC 7644 section 3.12)."""

from taskgate.model.errors import TaskgateError


class ScimFault(TaskgateError):
    """A request that SCIM refuses. `kind` is its `scimType`, empty for none."""

    def __init__(self, message: str, *, status: int = 400, kind: str = "") -> None:
        super().__init__(message)
        self.http_status = status
        self.kind = kind


def bad_filter(message: str) -> ScimFault:
    return ScimFault(message, kind="invalidFilter")


def bad_path(message: str) -> ScimFault:
    return ScimFault(message, kind="invalidPath")


def bad_value(message: str) -> ScimFault:
    return ScimFault(message, kind="invalidValue")


def bad_syntax(message: str) -> ScimFault:
    return ScimFault(message, kind="invalidSyntax")


def no_target(message: str) -> ScimFault:
    return ScimFault(message, kind="noTarget")


def immutable(message: str) -> ScimFault:
    return ScimFault(message, kind="mutability")
