"""What happened: the entries of a recording."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class EventKind(StrEnum):
    SESSION_OPENED = "session.opened"
    SESSION_CLOSED = "session.closed"
    REQUEST_PREPARED = "request.prepared"
    REQUEST_PERMITTED = "request.permitted"
    REQUEST_DENIED = "request.denied"
    REQUEST_HELD = "request.held"
    REQUEST_CONTINUED = "request.continued"
    HOLD_APPROVED = "hold.approved"
    HOLD_DENIED = "hold.denied"
    HOLD_EXPIRED = "hold.expired"
    HOLD_CANCELLED = "hold.cancelled"
    REQUEST_FINISHED = "request.finished"
    CONNECTION_OPENED = "connection.opened"
    CONNECTION_CLOSED = "connection.closed"
    ROWS = "rows"
    TERMINAL_STARTED = "terminal.started"
    TERMINAL_OUTPUT = "terminal.output"
    TERMINAL_INPUT = "terminal.input"
    TERMINAL_RESIZED = "terminal.resized"
    FILE_OPENED = "file.opened"
    FILE_CONTENT = "file.content"
    FILE_RESIZED = "file.resized"
    FILE_NOT_WRITTEN = "file.not_written"
    LIMIT_REACHED = "limit.reached"
    PROTOCOL_VIOLATION = "protocol.violation"
    UPSTREAM_REACHED = "upstream.reached"
    UPSTREAM_LOST = "upstream.lost"
    HOST_KEY_TRUSTED = "host_key.trusted"
    HOST_KEY_REFUSED = "host_key.refused"
    HOST_KEY_FORGOTTEN = "host_key.forgotten"
    LOGIN_FAILED = "login.failed"
    LOGIN = "login"
    LOGIN_CHALLENGED = "login.challenged"
    LOGOUT = "logout"
    FACTOR_CHANGED = "factor.changed"
    USER_CHANGED = "user.changed"
    TOKEN_ISSUED = "token.issued"  # noqa: S105 - an event's name, not a secret
    CERTIFICATE_ISSUED = "certificate.issued"
    KEY_ADDED = "key.added"
    KEY_REMOVED = "key.removed"
    GRANT_ISSUED = "grant.issued"
    GRANT_REVOKED = "grant.revoked"
    GRANT_DERIVED = "grant.derived"
    BREAK_GLASS_ASKED = "break_glass.asked"
    BREAK_GLASS_VOTED = "break_glass.voted"
    BREAK_GLASS_USED = "break_glass.used"
    BREAK_GLASS_REVIEWED = "break_glass.reviewed"
    REVIEW_OVERDUE = "review.overdue"
    ADMINISTRATOR_BOOTSTRAPPED = "administrator.bootstrapped"
    PERSON_OFFBOARDED = "person.offboarded"
    PERSON_REINSTATED = "person.reinstated"
    USE_MAPPED = "use.mapped"
    HYGIENE_LISTED = "hygiene.listed"
    DIRECTORY_CHANGED = "directory.changed"
    SESSION_TERMINATED = "session.terminated"
    APPROVAL_VOTED = "approval.voted"
    POLICY_APPLIED = "policy.applied"
    RECORDING_READ = "recording.read"
    AUDIT_SEARCHED = "audit.searched"
    SECRET_SET = "secret.set"  # noqa: S105 - an event's name, not a secret
    RECORDING_OPENED = "recording.opened"
    RECORDING_RECOVERED = "recording.recovered"
    RECORDING_SEALED = "recording.sealed"
    GATEWAY_STARTED = "gateway.started"
    GATEWAY_STOPPED = "gateway.stopped"


@dataclass(frozen=True, slots=True)
class Event:
    """A past fact. `at` is seconds since the epoch; `facts` holds JSON values only.

    Facts that search reads (`recording.index`): `text`, `actions` (list of {verb, object, kind,
    columns, via}), `outcome`, `rule`, `reason`, `policy_version`, `parameters`, `rows`,
    `masked` ({rule: count}), `kinds` ({kind: count}), `request` (number of the request
    within its session).
    """

    kind: EventKind
    at: float
    facts: dict[str, Any] = field(default_factory=dict)
