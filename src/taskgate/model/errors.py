"""Errors by whose fault they are. Each carries what a wire needs to say it natively."""

from taskgate.model.authentication import SignInDemand


class TaskgateError(Exception):
    """What happened, and what to do next. `sqlstate` and `http_status` are its wire forms."""

    sqlstate = "XX000"
    http_status = 500

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class Denied(TaskgateError):
    """The policy, or its absence, says no. `rule` names it."""

    sqlstate = "42501"
    http_status = 403

    def __init__(self, message: str, *, rule: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.rule = rule


class StepUpNeeded(Denied):
    """The caller may, but not with this sign-in: `demand` says what it must be like. The HTTP form
    is RFC 9470's."""

    http_status = 401

    def __init__(self, message: str, demand: SignInDemand, *, rule: str, hint: str = "") -> None:
        super().__init__(message, rule=rule, hint=hint)
        self.demand = demand


class NotAuthenticated(TaskgateError):
    """Nobody known. The message is the same whatever was wrong."""

    sqlstate = "28000"
    http_status = 401


class SecondFactorNeeded(NotAuthenticated):
    """The password was right, and is not enough."""


class Unreadable(TaskgateError):
    """The input cannot be framed, parsed or attributed; it is refused."""

    sqlstate = "42601"
    http_status = 400


class ProtocolViolation(Unreadable):
    """The peer broke its protocol; the session ends."""

    sqlstate = "08P01"


class OverLimit(TaskgateError):
    """A cap was reached."""

    sqlstate = "54000"
    http_status = 413


class NotRecorded(TaskgateError):
    """The recording cannot be written, so the request is refused."""

    sqlstate = "58030"
    http_status = 503


class UpstreamFault(TaskgateError):
    """The resource is gone, refuses, or misbehaves."""

    sqlstate = "08006"
    http_status = 502


class BadConfig(TaskgateError):
    """A configuration or policy file is wrong. `where` is `file:line`, empty if unknown."""

    http_status = 422

    def __init__(self, message: str, *, where: str = "", hint: str = "") -> None:
        super().__init__(f"{where}: {message}" if where else message, hint=hint)
        self.where = where


class NotFound(TaskgateError):
    http_status = 404


class Conflict(TaskgateError):
    """The thing changed, or is spent: someone was first."""

    http_status = 409


class StoreUnavailable(TaskgateError):
    """The state store is locked, gone or too slow. Nothing was changed; trying again may help."""

    sqlstate = "57P03"
    http_status = 503
