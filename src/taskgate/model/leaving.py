"""Somebody has left: who is meant, and what was ended."""

from dataclasses import dataclass, field
from typing import Final

from taskgate.model.token import Revocation

# In place of who said so: a directory, by SCIM.
DIRECTORY: Final = "scim"


@dataclass(frozen=True, slots=True)
class Leaver:
    """Who leaves. `keys` are all `Identity.key`s by which they come in, in any spelling; `users`
    the names of their local users. `by` is who said so, as records name them."""

    keys: frozenset[str]
    users: frozenset[str]
    by: str
    why: str


@dataclass(frozen=True, slots=True)
class Ended:
    """What one offboarding took away. The tuples hold ids.

    `approvals` were asked by them and are cancelled; `withdrawn` are approvals whose agreement
    of theirs no longer counts; `standing` are agreements in advance that ended.
    `sessions` were open under what was revoked.
    """

    revocations: tuple[Revocation, ...] = field(default=(), repr=False)
    logins: int = 0
    users: tuple[str, ...] = ()
    approvals: tuple[str, ...] = ()
    withdrawn: tuple[str, ...] = ()
    standing: tuple[str, ...] = ()
    sessions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Departure:
    """Somebody who may not come in any more, whatever their provider says. `at` is seconds since
    the epoch."""

    person: str
    at: float
    by: str
    why: str
